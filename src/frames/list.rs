//! What the user named, as a list of inputs in the order they were named.
//!
//! Names are bytes, not text: whatever the file system holds can be named. A file
//! that is missing is found out when it is opened; directories are walked here.
//! What comes on standard input is spooled to a file that has no name. Relative names are relative to the current directory,
//! also those in a list that lies elsewhere.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Context, Error, IoContext, Result};

use super::gzip::Unpacked;
use super::magic::Magic;
use super::source::{Source, nameless_file};

/// No system knows longer names; what is longer is not a list of names.
pub const MAX_NAME_BYTES: usize = 1 << 14;

/// Names that one list can hold: far above what a cube is made of, and low
/// enough that an endless list ends in an error before memory does.
pub const MAX_NAMES: usize = 1 << 26;

/// Bytes that an editor may write at the head of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One input, as the user named it.
#[derive(Clone, Debug)]
pub struct Input {
    /// The file's name; relative to the current directory if it is relative.
    pub path: PathBuf,
    /// What came on standard input, which has no name.
    pub stream: Option<Arc<File>>,
}

impl Input {
    /// A file by its name.
    pub fn named(path: impl Into<PathBuf>) -> Input {
        Input {
            path: path.into(),
            stream: None,
        }
    }
}

/// Directories that lie in each other, at most.
const MAX_DEPTH: usize = 256;

/// Puts the frames that lie in a directory in its place, those in directories of
/// its own too: files whose first bytes are those of a frame, or whose names say so: an
/// empty one is a bad frame, and not to be passed over in silence (with `takes_all` any
/// files). In natural order (frame2 before frame10). Hidden ones are left out, and
/// links to directories are not followed.
///
/// # Errors
/// When a directory cannot be read, or no frame is in it, unless it `may_be_empty`.
pub fn walk(inputs: Vec<Input>, takes_all: bool, may_be_empty: bool) -> Result<Vec<Input>> {
    let mut walked = Vec::with_capacity(inputs.len());
    for input in inputs {
        if input.stream.is_some() || !input.path.is_dir() {
            walked.push(input);
            continue;
        }
        let n_before = walked.len();
        let mut n_others = 0u64;
        let mut stack = listed(&input.path, 0)?;
        while let Some((path, depth, is_dir)) = stack.pop() {
            if is_dir {
                stack.extend(listed(&path, depth)?);
            } else if takes_all
                || is_called_frame(&path)
                || !is_unfinished(&path) && is_frame(&path)
            {
                walked.push(Input::named(path));
            } else {
                n_others += 1;
            }
        }
        if walked.len() == n_before && !may_be_empty {
            return Err(Error::input(match n_others {
                0 => "is a directory without files".to_string(),
                _ => format!("is a directory without frames: none of its {n_others} files is one"),
            })
            .hint("frames are FITS, TIFF and NumPy files; hidden files are left out, and cubes are named themselves")
            .at(&input.path));
        }
    }
    Ok(walked)
}

/// Leaves out files that are named again, by whatever name.
pub fn once(mut inputs: Vec<Input>) -> Vec<Input> {
    let mut named = HashSet::new();
    inputs.retain(|input| {
        let path = fs::canonicalize(&input.path);
        input.stream.is_some() || named.insert(path.unwrap_or_else(|_| input.path.clone()))
    });
    inputs
}

/// What lies in a directory: the last comes first, to be taken last. Each with its
/// depth, and whether it is a directory.
fn listed(folder: &Path, depth: usize) -> Result<Vec<(PathBuf, usize, bool)>> {
    if depth >= MAX_DEPTH {
        return Err(Error::input(format!(
            "lies in {depth} directories, and {MAX_DEPTH} are the most"
        ))
        .at(folder));
    }
    let entries = fs::read_dir(folder)
        .doing("cannot read the directory")
        .at(folder)?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.doing("cannot read the directory").at(folder)?;
        let name = entry.file_name();
        if name.as_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry
            .file_type()
            .doing("cannot read the directory")
            .at(folder)?;
        // Of links only those to files; a link that leads nowhere is not a frame.
        let is_file = kind.is_file() || kind.is_symlink() && entry.path().is_file();
        if is_file || kind.is_dir() {
            found.push((name, entry.path(), kind.is_dir()));
        }
    }
    found.sort_by(|(a, ..), (b, ..)| natural(b.as_bytes(), a.as_bytes()));
    let found = found.into_iter();
    Ok(found
        .map(|(_, path, is_dir)| (path, depth + 1, is_dir))
        .collect())
}

/// Compares names with the numbers in them as numbers: frame2 before frame10.
fn natural(a: &[u8], b: &[u8]) -> Ordering {
    let (mut left, mut right) = (a, b);
    while let (Some(&x), Some(&y)) = (left.first(), right.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (x, y) = (number(&mut left), number(&mut right));
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
            if order.is_ne() {
                return order;
            }
        } else if x == y {
            (left, right) = (&left[1..], &right[1..]);
        } else {
            return x.cmp(&y);
        }
    }
    // Equal but for zeros in front of numbers, or one is the head of the other.
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// Takes the digits off the head of a text; zeros in front do not count.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let n_digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(n_digits);
    *text = rest;
    let n_zeros = digits.iter().take_while(|&&byte| byte == b'0').count();
    &digits[n_zeros..]
}

/// Extensions of FITS files, which may be gzipped.
const FITS: [&str; 3] = ["fits", "fit", "fts"];

/// Those of other frames.
const OTHERS: [&str; 4] = ["fz", "tif", "tiff", "npy"];

/// Does the name of a file say that it is a frame?
fn is_called_frame(path: &Path) -> bool {
    let extension = |path: &Path| {
        let extension = path.extension().unwrap_or_default();
        extension.to_string_lossy().to_ascii_lowercase()
    };
    let last = extension(path);
    match last.as_str() {
        "gz" => FITS.contains(&extension(&path.with_extension("")).as_str()),
        last => FITS.contains(&last) || OTHERS.contains(&last),
    }
}

/// Does the name of a file say that it is being copied? It will have another one.
fn is_unfinished(path: &Path) -> bool {
    let name = path
        .file_name()
        .unwrap_or_default()
        .as_bytes()
        .to_ascii_lowercase();
    let ends: [&[u8]; 6] = [b".part", b".partial", b".filepart", b".tmp", b".temp", b"~"];
    ends.iter().any(|end| name.ends_with(end))
}

/// A file's name without what says that it is a frame, and how it is compressed.
pub fn bare_name(name: &str) -> &str {
    fn without<'a>(name: &'a str, known: &[&str]) -> &'a str {
        let is_known = |last: &str| known.iter().any(|it| last.eq_ignore_ascii_case(it));
        match name.rsplit_once('.') {
            Some((rest, last)) if is_known(last) => rest,
            _ => name,
        }
    }
    let known = [&FITS[..], &OTHERS[..], &["btf", "raw"]].concat();
    without(without(name, &["gz", "fz"]), &known)
}

/// Does a file begin as a frame? One that cannot be opened counts: it is to be an
/// error, and not to be missing.
fn is_frame(path: &Path) -> bool {
    let magic = |source: &Source| source.head().map(|head| Magic::of(&head));
    let Ok(source) = Source::open(path) else {
        return fs::metadata(path).map_or(true, |about| about.len() > 0);
    };
    match magic(&source) {
        Ok(Magic::Fits | Magic::Tiff | Magic::Npy) | Err(_) => true,
        Ok(Magic::Gzip) => {
            let inside = source
                .inflated(&Unpacked::default())
                .and_then(|source| magic(&source));
            inside.map_or(true, |magic| magic == Magic::Fits)
        }
        Ok(_) => false,
    }
}

/// Standard input as an input. What cannot be read at positions is spooled to a file
/// without a name in `folder`, or where that cannot be, among temporary files.
///
/// # Errors
/// When standard input is a terminal, or cannot be read or spooled.
pub fn standard_input(folder: &Path) -> Result<Input> {
    let stdin = io::stdin();
    let path = PathBuf::from("-");
    if stdin.is_terminal() {
        return Err(Error::input("standard input is a terminal")
            .hint("`-` reads frames from it, as in: cat *.fits | cube append CUBE -"));
    }
    let mut input = stdin.lock();
    let file = (|| {
        let own = File::from(stdin.as_fd().try_clone_to_owned()?);
        let mut at_start = &own;
        if own.metadata()?.is_file() && at_start.stream_position()? == 0 {
            return Ok(own);
        }
        let mut spool = nameless_file(folder)?;
        io::copy(&mut input, &mut spool)?;
        Ok(spool)
    })();
    Ok(Input {
        stream: Some(Arc::new(file.doing("cannot read standard input")?)),
        path,
    })
}

/// The inputs that arguments name; `@list` stands for the names in `list`. A file
/// that is really called `@x` is named by `./@x`.
///
/// # Errors
/// When an argument is empty, or a list cannot be read or is not one.
pub fn expand<I>(arguments: I) -> Result<Vec<Input>>
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let mut inputs = Vec::new();
    for argument in arguments {
        let argument: OsString = argument.into();
        match argument.as_bytes() {
            [] => return Err(Error::input("the name of a frame is empty")),
            [b'@', list @ ..] => inputs.extend(expand_list(OsStr::from_bytes(list))?),
            _ => inputs.push(Input::named(argument)),
        }
    }
    Ok(inputs)
}

fn expand_list(list: &OsStr) -> Result<Vec<Input>> {
    if list.is_empty() {
        return Err(Error::input("`@` names no list")
            .hint("@FILE reads names from FILE; ./@ is the file called @"));
    }
    let path = Path::new(list);
    read_list(path, false).map_err(|error| {
        if error.io_source().map(io::Error::kind) == Some(io::ErrorKind::NotFound) {
            return error.hint("@FILE reads names from FILE; a file called @FILE is ./@FILE");
        }
        error
    })
}

/// The inputs named in the file `list`, or on standard input if that is `-`.
///
/// # Errors
/// When it cannot be read, or is not a list of names.
pub fn files_from(list: &OsStr, nul_separated: bool) -> Result<Vec<Input>> {
    if list == "-" {
        return read_names(io::stdin().lock(), nul_separated).at(Path::new("standard input"));
    }
    read_list(Path::new(list), nul_separated)
}

/// A list may be a pipe: it is read once, from its head to its end.
fn read_list(path: &Path, nul_separated: bool) -> Result<Vec<Input>> {
    let file = File::open(path).doing("cannot open the list").at(path)?;
    read_names(file, nul_separated).at(path)
}

/// The inputs named in a text: one on each line, blank lines and those that begin
/// with `#` left out, lines ending in LF or CRLF. With `nul_separated` each name
/// ends in a zero byte and is taken as it is.
///
/// # Errors
/// When the text cannot be read, is not a list of names, or holds more than
/// [`MAX_NAMES`].
pub fn read_names(reader: impl Read, nul_separated: bool) -> Result<Vec<Input>> {
    let mut reader = BufReader::new(reader);
    let head = reader.fill_buf().doing("cannot read the list")?;
    refuse_frame(head)?;
    if !nul_separated && head.starts_with(BYTE_ORDER_MARK) {
        reader.consume(BYTE_ORDER_MARK.len());
    }
    let separator = if nul_separated { 0 } else { b'\n' };
    let mut inputs = Vec::new();
    let mut name = Vec::new();
    for number in 1u64.. {
        name.clear();
        // One byte more, to see that a name is too long, and the separator.
        let mut limited = reader.by_ref().take(MAX_NAME_BYTES as u64 + 2);
        let n_read = limited.read_until(separator, &mut name);
        if n_read.doing("cannot read the list")? == 0 {
            break;
        }
        if name.last() == Some(&separator) {
            name.pop();
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(Error::input(format!(
                "name {number} is longer than {MAX_NAME_BYTES} bytes: this is not a list of names"
            )));
        }
        let name = if nul_separated {
            name.as_slice()
        } else {
            match name_on_line(&name, number)? {
                Some(name) => name,
                None => continue,
            }
        };
        if name.is_empty() {
            continue;
        }
        if inputs.len() == MAX_NAMES {
            return Err(Error::input(format!(
                "the list holds more than {MAX_NAMES} names"
            )));
        }
        inputs.push(Input::named(OsString::from_vec(name.to_vec())));
    }
    Ok(inputs)
}

/// The name on a line; `None` on a blank line or a comment.
fn name_on_line(line: &[u8], number: u64) -> Result<Option<&[u8]>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.contains(&0) {
        return Err(
            Error::input(format!("line {number} holds a zero byte: no name does"))
                .hint("names that end in zero bytes, as find -print0 writes them, need -0"),
        );
    }
    let text = line.trim_ascii_start();
    Ok((!text.is_empty() && !text.starts_with(b"#")).then_some(line))
}

/// A frame given as a list is a slip worth a message of its own. Kinds that a name
/// could begin as (`BZhang.fits`) are left to the search for zero bytes.
fn refuse_frame(head: &[u8]) -> Result<()> {
    match Magic::of(head) {
        Magic::Known(_) | Magic::Unknown => Ok(()),
        kind => Err(kind
            .refuse(head, "a list of names")
            .hint("a frame is named without @ and without --files-from")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(text: &[u8], nul_separated: bool) -> Vec<Vec<u8>> {
        let inputs = read_names(text, nul_separated).unwrap();
        let bytes = inputs
            .into_iter()
            .map(|input| input.path.into_os_string().into_vec());
        bytes.collect()
    }

    #[test]
    fn lines_are_names_and_comments_and_blanks_are_left_out() {
        let text = b"\xef\xbb\xbfa.fits\r\n\n  \n# no\n  # no\nb c#1 .fits\n@x\n\xff\xe9.fits";
        let expected: [&[u8]; 4] = [b"a.fits", b"b c#1 .fits", b"@x", b"\xff\xe9.fits"];
        assert_eq!(names(text, false), expected);
        assert_eq!(names(b"BZhang.fits", false), [b"BZhang.fits"]);
        assert!(names(b"", false).is_empty() && names(b"\n", false).is_empty());
    }

    #[test]
    fn names_that_end_in_zero_bytes_are_taken_as_they_are() {
        let expected: [&[u8]; 3] = [b"a\nb\r", b"#c", b" "];
        assert_eq!(names(b"a\nb\r\0#c\0\0 \0", true), expected);
    }

    #[test]
    fn what_is_not_a_list_is_refused() {
        let says = |text: &[u8]| read_names(text, false).unwrap_err().to_string();
        assert_eq!(says(b"a\nb\0c\n"), "line 2 holds a zero byte: no name does");
        assert_eq!(
            says(b"SIMPLE  =    T"),
            "is not a list of names: it is a FITS file"
        );
        let long = vec![b'x'; MAX_NAME_BYTES + 1];
        assert!(says(&long).starts_with("name 1 is longer than 16384 bytes"));
        assert_eq!(names(&long[1..], false)[0].len(), MAX_NAME_BYTES);
        // An endless line ends.
        assert!(read_names(io::repeat(b'x'), false).is_err());
    }

    #[test]
    fn arguments_are_files_or_lists() {
        let mut list = tempfile::NamedTempFile::new().unwrap();
        list.write_all(b"b\nc\n").unwrap();
        let mut at = OsString::from("@");
        at.push(list.path());
        let inputs = expand([OsString::from("a"), at, "./@x".into()]).unwrap();
        let paths: Vec<_> = inputs
            .iter()
            .map(|input| input.path.to_str().unwrap())
            .collect();
        assert_eq!(paths, ["a", "b", "c", "./@x"]);
        assert!(expand([""]).is_err() && expand(["@"]).is_err());
        let error = expand(["@no/such/list"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no/such/list: cannot open the list: no such file or directory"
        );
        assert!(error.hint_text().is_some());
        let error = files_from(OsStr::new("/"), false).unwrap_err().to_string();
        assert_eq!(error, "/: cannot read the list: is a directory");
    }

    #[test]
    fn names_are_in_natural_order() {
        let mut names = [
            "b1", "a10", "a2", "a02", "a", "a1b", "a1a", "A3", "a100", "a\u{e9}",
        ];
        names.sort_by(|a, b| natural(a.as_bytes(), b.as_bytes()));
        let sorted = [
            "A3", "a", "a1a", "a1b", "a02", "a2", "a10", "a100", "a\u{e9}", "b1",
        ];
        assert_eq!(names, sorted);
    }

    #[test]
    fn a_million_names_are_read_quickly() {
        let text: String = (0..1_000_000)
            .map(|i| format!("frames/{i:07}.fits\n"))
            .collect();
        let started = std::time::Instant::now();
        assert_eq!(read_names(text.as_bytes(), false).unwrap().len(), 1_000_000);
        assert!(started.elapsed().as_secs() < 10);
    }
}
