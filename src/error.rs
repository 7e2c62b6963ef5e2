//! The one error type of the library.
//!
//! An error says what is wrong, where, with both numbers, and what to do. Its
//! kind says who must act: the file lies ([`Kind::Damaged`]), the request is
//! wrong ([`Kind::Input`]), the program cannot do it yet
//! ([`Kind::Unsupported`]), the machine failed ([`Kind::Io`]), or somebody
//! asked to stop ([`Kind::Interrupted`]).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Results of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who must act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file does not hold what it claims.
    Damaged,
    /// The request cannot be met as asked.
    Input,
    /// A valid request or file that this version does not handle.
    Unsupported,
    /// The operating system reported a failure.
    Io,
    /// The user asked the program to stop.
    Interrupted,
}

/// What is wrong, where, and what to do about it.
///
/// Displayed as `PATH: WHAT: CAUSE`, lower case and without a full stop. The
/// hint is kept apart so that a terminal can set it on its own line.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    path: Option<PathBuf>,
    what: String,
    hint: Option<String>,
    source: Option<io::Error>,
}

impl Error {
    fn new(kind: Kind, what: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            path: None,
            what: what.into(),
            hint: None,
            source: None,
        }))
    }

    /// A file does not hold what it claims.
    pub fn damaged(what: impl Into<String>) -> Self {
        Self::new(Kind::Damaged, what)
    }

    /// The request cannot be met as asked.
    pub fn input(what: impl Into<String>) -> Self {
        Self::new(Kind::Input, what)
    }

    /// This version does not handle the request or the file.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, what)
    }

    /// The operating system failed while `doing` (such as "cannot open").
    pub fn io(doing: impl Into<String>, source: io::Error) -> Self {
        let mut error = Self::new(Kind::Io, doing);
        error.0.hint = advice(&source).map(str::to_string);
        error.0.source = Some(source);
        error
    }

    /// The user asked the program to stop.
    pub fn interrupted(what: impl Into<String>) -> Self {
        Self::new(Kind::Interrupted, what)
    }

    /// Names the file the error is about, unless a deeper layer already did.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Self {
        self.0.path.get_or_insert_with(|| path.to_path_buf());
        self
    }

    /// Says in which part of the file it is.
    #[must_use]
    pub fn within(mut self, part: &str) -> Self {
        self.0.what = format!("{part}: {}", self.0.what);
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The file that it is about.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// What is wrong, without the name of the file.
    pub fn why(&self) -> String {
        let Some(source) = &self.0.source else {
            return self.0.what.clone();
        };
        // The operating system's own words, without Rust's "(os error N)".
        let text = source.to_string();
        let text = text.split(" (os error").next().unwrap_or(&text);
        let mut chars = text.chars();
        let first = chars.next().map(|c| c.to_lowercase().to_string());
        let (what, first) = (&self.0.what, first.unwrap_or_default());
        format!("{what}: {first}{}", chars.as_str())
    }

    /// Who must act.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What to do, where there is something to say.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The operating system's error behind this one.
    pub fn io_source(&self) -> Option<&io::Error> {
        self.0.source.as_ref()
    }

    /// Did the reader of a pipe go away? Whoever wrote to it then has nothing
    /// left to do, and nothing to complain about.
    pub fn is_closed_pipe(&self) -> bool {
        self.io_source()
            .is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What to do about a failure of the system, where that is always the same.
fn advice(source: &io::Error) -> Option<&'static str> {
    const EIO: i32 = 5;
    const EMFILE: i32 = 24;
    Some(match (source.kind(), source.raw_os_error()) {
        (io::ErrorKind::StorageFull, _) => "make room on the disk, and try again",
        (io::ErrorKind::QuotaExceeded, _) => "make room in your quota, and try again",
        (io::ErrorKind::FileTooLarge, _) => {
            "a limit on the size of files was met: that of the file system, or ulimit -f"
        }
        (io::ErrorKind::ReadOnlyFilesystem, _) => "it can be read there, but not written",
        (_, Some(EIO)) => "the disk fails, or the way to it: see to that before going on",
        (_, Some(EMFILE)) => "raise the limit on open files: ulimit -n",
        _ => return None,
    })
}

/// Shows a path as a message can carry it: control characters escaped, and those that
/// turn the direction of text.
pub fn show_path(path: &Path) -> String {
    path.to_string_lossy()
        .chars()
        .flat_map(|c| {
            let turns = matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let escaped = c.is_control() || turns;
            let plain = (!escaped).then_some(c);
            plain
                .into_iter()
                .chain(escaped.then(|| c.escape_default()).into_iter().flatten())
        })
        .collect()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.0.path {
            write!(f, "{}: ", show_path(path))?;
        }
        f.write_str(&self.why())
    }
}

impl std::error::Error for Error {}

/// Adds the file's path to errors that pass by.
pub trait Context<T> {
    /// Names the file the result is about.
    fn at(self, path: &Path) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|error| error.at(path))
    }
}

/// Turns the operating system's results into ours.
pub trait IoContext<T> {
    /// Says what was being done, such as "cannot open".
    fn doing(self, what: &str) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn doing(self, what: &str) -> Result<T> {
        self.map_err(|source| Error::io(what, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_path_the_fault_and_the_cause() {
        let cause = io::Error::from_raw_os_error(2);
        let error = Error::io("cannot open", cause).at(Path::new("a\nb.fits"));
        assert_eq!(
            error.to_string(),
            "a\\nb.fits: cannot open: no such file or directory"
        );
    }

    #[test]
    fn a_full_disk_has_a_hint_unless_somebody_knows_better() {
        let full = || Error::io("cannot write", io::Error::from_raw_os_error(28));
        let hint = full().hint_text().map(str::to_string);
        assert!(hint.is_some_and(|hint| hint.contains("make room")));
        assert_eq!(full().hint("x").hint_text(), Some("x"));
        let missing = Error::io("cannot open", io::Error::from_raw_os_error(2));
        assert_eq!(missing.hint_text(), None);
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_failures() {
        let of = |kind: io::ErrorKind| Error::io("cannot write", io::Error::from(kind));
        assert!(of(io::ErrorKind::BrokenPipe).is_closed_pipe());
        assert!(!of(io::ErrorKind::StorageFull).is_closed_pipe());
        assert!(!Error::input("x").is_closed_pipe());
    }

    #[test]
    fn the_deepest_path_wins() {
        let error = Error::damaged("x").at(Path::new("in")).at(Path::new("out"));
        assert_eq!(error.to_string(), "in: x");
    }
}
