//! Where the bytes of an output go: a file, a pipe, a device or stdout.
//!
//! A regular file is written beside ([`super::beside`]) and gets its name when it
//! is whole, so its name never stands for a part of it, and a file that appears
//! meanwhile is not clobbered. What cannot be renamed (a pipe, a device) is
//! written straight, and what was written there is out of reach.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, IoSlice, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::aligned::Aligned;
use super::beside::Beside;
use super::folder;
use super::gzip::Gzip;
use crate::error::{Context, Error, IoContext, Result};

/// As many links in a row as Linux follows.
const MAX_LINKS: usize = 40;

/// What messages call stdout.
const STDOUT_NAME: &str = "standard output";

/// Where a user wants an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file, which replaces an existing one only with `overwrite`.
    File {
        /// Its name.
        path: PathBuf,
        /// May an existing file be replaced?
        overwrite: bool,
    },
    /// Standard output.
    Stdout,
}

impl Target {
    /// The target a user names; `-` is stdout.
    pub fn from_path(path: &Path, overwrite: bool) -> Target {
        // Opening /dev/stdout anew would lose the offset of a redirected file.
        if path == Path::new("-") || path == Path::new("/dev/stdout") {
            return Target::Stdout;
        }
        Target::File {
            path: path.to_path_buf(),
            overwrite,
        }
    }

    /// The name that messages use.
    pub(super) fn name(&self) -> &Path {
        match self {
            Target::File { path, .. } => path,
            Target::Stdout => Path::new(STDOUT_NAME),
        }
    }
}

/// Refuses, before long work, a target that could not be written after it.
///
/// # Errors
/// When the folder is missing or not writable, the target is a folder, or a
/// file exists and may not be replaced.
pub fn check(target: &Target) -> Result<()> {
    let Target::File { path, overwrite } = target else {
        return Ok(());
    };
    // A store may take the place of another; whether this is to be one is not
    // known here.
    if folder::is_store(path) {
        return folder::check(path, *overwrite).at(path);
    }
    match place(path, *overwrite).at(path)? {
        Place::Straight => Ok(()),
        // Making the file is the only test that no mount option, quota or
        // access list can prove wrong.
        Place::Beside { file, .. } => temporary(&file, None).map(drop).at(path),
    }
}

/// An output that is being written.
pub struct Output {
    writer: Stream,
    rename: Option<Rename>,
    name: PathBuf,
}

/// What becomes of a temporary file that is whole.
struct Rename {
    to: PathBuf,
    overwrite: bool,
}

/// Bytes as they come, or compressed on the way.
enum Stream {
    Plain(Aligned<Writer>),
    Gzip(Box<Gzip<Aligned<Writer>>>),
}

impl Stream {
    /// Writes what is buffered.
    fn finish(self) -> io::Result<Writer> {
        let writer = match self {
            Stream::Plain(writer) => writer,
            Stream::Gzip(writer) => writer.finish()?,
        };
        writer.into_inner()
    }
}

enum Writer {
    Straight(File),
    Beside(Beside),
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Writer::Straight(file) => file.write(bytes),
            Writer::Beside(beside) => beside.file().write(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Writer::Straight(file) => file.write_vectored(parts),
            Writer::Beside(beside) => beside.file().write_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Writer::Straight(file) => file.flush(),
            Writer::Beside(beside) => beside.file().flush(),
        }
    }
}

impl Output {
    /// Opens a target for writing; a file gets its name in [`Output::finish`].
    ///
    /// # Errors
    /// As [`check`].
    pub fn create(target: &Target) -> Result<Output> {
        let (writer, rename) = open(target).at(target.name())?;
        Ok(Output {
            writer: Stream::Plain(Aligned::new(writer)),
            rename,
            name: target.name().to_path_buf(),
        })
    }

    /// Opens a target for what is written to be compressed by gzip.
    ///
    /// # Errors
    /// As [`check`].
    pub fn create_gzip(target: &Target) -> Result<Output> {
        let mut output = Output::create(target)?;
        if let Stream::Plain(writer) = output.writer {
            let writer = Gzip::new(writer).doing("cannot write").at(target.name())?;
            output.writer = Stream::Gzip(Box::new(writer));
        }
        Ok(output)
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// When the disk is full, the pipe was closed
    /// ([`Error::is_closed_pipe`]), or the system refuses otherwise.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let done = match &mut self.writer {
            Stream::Plain(writer) => writer.write_all(bytes),
            Stream::Gzip(writer) => writer.write_all(bytes),
        };
        done.doing("cannot write").at(&self.name)
    }

    /// Can bytes that were written still be changed?
    pub fn can_patch(&self) -> bool {
        match &self.writer {
            Stream::Plain(writer) => matches!(writer.get_ref(), Writer::Beside(_)),
            Stream::Gzip(_) => false,
        }
    }

    /// Writes `bytes` over those that stand at `at`, all of which were written
    /// before.
    ///
    /// # Errors
    /// As [`Output::write`], and where [`Output::can_patch`] says no.
    pub fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let over = |writer: &mut Aligned<Writer>| {
            writer.flush()?;
            let Writer::Beside(file) = writer.get_mut() else {
                return Err(io::Error::from(ErrorKind::NotSeekable));
            };
            let mut file = file.file();
            file.seek(SeekFrom::Start(at))?;
            file.write_all(bytes)?;
            file.seek(SeekFrom::End(0)).map(drop)
        };
        let done = match &mut self.writer {
            Stream::Plain(writer) => over(writer),
            Stream::Gzip(_) => Err(io::Error::from(ErrorKind::NotSeekable)),
        };
        done.doing("cannot write").at(&self.name)
    }

    /// Writes what is buffered and gives a file its name.
    ///
    /// # Errors
    /// As [`Output::write`], and when a file of that name has appeared.
    pub fn finish(self) -> Result<()> {
        let Output {
            writer,
            rename,
            name,
        } = self;
        let writer = writer.finish().doing("cannot write").at(&name)?;
        match (writer, rename) {
            (Writer::Beside(file), Some(rename)) => persist(file, &rename).at(&name),
            _ => Ok(()),
        }
    }

    /// The name that messages use.
    pub fn name(&self) -> &Path {
        &self.name
    }
}

enum Place {
    /// Something that is not a regular file is there.
    Straight,
    /// `file`, links followed, is to be made or replaced.
    Beside {
        file: PathBuf,
        replaced: Option<Metadata>,
    },
}

/// Decides how `path` is to be written, and whether it may be.
fn place(path: &Path, overwrite: bool) -> Result<Place> {
    let replaced = match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            return Err(Error::input("is a folder").hint("give the name of a file in it"));
        }
        Ok(found) if !found.is_file() => return Ok(Place::Straight),
        // The name of an open file is not a name that can be given away.
        Ok(_) if path.starts_with("/dev/fd") || path.starts_with("/proc") => {
            return Ok(Place::Straight);
        }
        Ok(_) if !overwrite => return Err(exists()),
        Ok(found) => Some(found),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("cannot write there", error)),
    };
    let file = follow_links(path)?;
    if file.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(Error::input("is not the name of a file"));
    }
    Ok(Place::Beside { file, replaced })
}

pub(super) fn exists() -> Error {
    Error::input("exists").hint("--overwrite replaces it")
}

/// The file that a link leads to, also where that file does not exist yet.
fn follow_links(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let is_link = fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
        if !is_link {
            return Ok(path);
        }
        let leads_to = fs::read_link(&path).doing("cannot read the link")?;
        path = folder_of(&path).join(leads_to);
    }
    Err(Error::input(format!("is more than {MAX_LINKS} links deep")))
}

/// The folder that a file is in, or is to be in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A file beside `path`, with the mode of the file it will replace or the mode
/// that any new file gets.
fn temporary(path: &Path, replaced: Option<&Metadata>) -> Result<Beside> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(
            Error::input(format!("there is no folder {}", folder.display()))
                .hint("make the folder first"),
        );
    }
    // The umask applies to this as to any file that is created.
    let file = Beside::new(folder, 0o666).doing("cannot create a file in its folder")?;
    if let Some(replaced) = replaced {
        let mode = replaced.permissions().mode() & 0o777;
        let kept = file.file().set_permissions(Permissions::from_mode(mode));
        kept.doing("cannot keep its permissions")?;
    }
    Ok(file)
}

fn open(target: &Target) -> Result<(Writer, Option<Rename>)> {
    let (path, overwrite) = match target {
        Target::Stdout => {
            // A handle of its own: that of `std` scans every byte for line ends.
            let stdout = io::stdout().as_fd().try_clone_to_owned();
            let stdout = stdout.doing("cannot open")?;
            return Ok((Writer::Straight(File::from(stdout)), None));
        }
        Target::File { path, overwrite } => (path, *overwrite),
    };
    match place(path, overwrite)? {
        Place::Straight => {
            let file = File::options().write(true).open(path);
            Ok((Writer::Straight(file.doing("cannot open")?), None))
        }
        Place::Beside { file, replaced } => {
            let writer = temporary(&file, replaced.as_ref())?;
            let to = file;
            Ok((Writer::Beside(writer), Some(Rename { to, overwrite })))
        }
    }
}

fn persist(file: Beside, rename: &Rename) -> Result<()> {
    match file.put(&rename.to, rename.overwrite) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(exists()),
        Err(error) => Err(Error::io("cannot give it its name", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn file(path: &Path, overwrite: bool) -> Target {
        Target::from_path(path, overwrite)
    }

    fn write(target: &Target, bytes: &[u8]) -> Result<()> {
        check(target)?;
        let mut output = Output::create(target)?;
        output.write(bytes)?;
        output.finish()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_dropped_output_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let target = file(&folder.path().join("a"), false);
        check(&target).unwrap();
        let mut output = Output::create(&target).unwrap();
        output.write(b"part").unwrap();
        drop(output);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn an_existing_file_is_replaced_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&file(&path, false), b"one").unwrap();
        let error = write(&file(&path, false), b"two").unwrap_err();
        assert_eq!(error.to_string(), format!("{}: exists", path.display()));
        assert_eq!(error.hint_text(), Some("--overwrite replaces it"));
        assert_eq!(fs::read(&path).unwrap(), b"one");

        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write(&file(&path, true), b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let output = Output::create(&file(&path, false)).unwrap();
        fs::write(&path, b"theirs").unwrap();
        let error = output.finish().unwrap_err();
        assert!(error.to_string().ends_with(": exists"));
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_new_file_has_the_mode_of_any_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| {
            let found = fs::metadata(folder.path().join(name)).unwrap();
            found.permissions().mode()
        };
        fs::write(folder.path().join("plain"), b"").unwrap();
        write(&file(&folder.path().join("ours"), false), b"x").unwrap();
        assert_eq!(mode("ours"), mode("plain"));
    }

    #[test]
    fn a_link_stays_and_its_file_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        symlink("real", &link).unwrap();
        write(&file(&link, false), b"one").unwrap();
        assert!(write(&file(&link, false), b"two").is_err());
        write(&file(&link, true), b"three").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(folder.path().join("real")).unwrap(), b"three");

        let circle = folder.path().join("circle");
        symlink("circle", &circle).unwrap();
        assert!(write(&file(&circle, true), b"x").is_err());
    }

    #[test]
    fn folders_and_names_without_a_folder_are_refused_early() {
        let folder = tempfile::tempdir().unwrap();
        let error = check(&file(folder.path(), true)).unwrap_err();
        assert!(error.to_string().ends_with(": is a folder"));
        let error = check(&file(&folder.path().join("no/a"), false)).unwrap_err();
        assert!(error.to_string().contains("there is no folder"), "{error}");
        assert!(check(&file(&folder.path().join("no/"), false)).is_err());
        assert!(check(&file(Path::new(""), false)).is_err());
    }

    #[test]
    fn devices_are_written_straight_and_a_full_one_says_so() {
        write(&file(Path::new("/dev/null"), false), b"x").unwrap();
        let full = Path::new("/dev/full");
        if full.exists() {
            let error = write(&file(full, false), b"x").unwrap_err();
            assert_eq!(
                error.to_string(),
                "/dev/full: cannot write: no space left on device"
            );
        }
    }

    #[test]
    fn a_pipe_that_closes_is_a_condition_of_its_own() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut output = Output {
            writer: Stream::Plain(Aligned::new(Writer::Straight(File::from(
                std::os::fd::OwnedFd::from(writer),
            )))),
            rename: None,
            name: PathBuf::from("pipe"),
        };
        output.write(b"x").unwrap();
        assert!(output.finish().unwrap_err().is_closed_pipe());
    }
}
