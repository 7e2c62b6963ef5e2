//! A regular file, read at positions: what every format of this folder reads from.
//! A gzipped one can be read as what is inside.
//!
//! The invariant: a read delivers all of its bytes as they were when the file was
//! opened, or fails. A file that shrinks or is written to in between is an error.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use rustix::fs::OFlags;

use crate::error::{Context, Error, IoContext, Result};
use crate::turns::lock;

use super::gzip::{self, Inflater, Unpacked};

/// Bytes at the head of a file that tell its kind.
pub const HEAD_BYTES: usize = 64;

/// An open regular file that is not empty.
#[derive(Debug)]
pub struct Source {
    file: File,
    path: PathBuf,
    len: u64,
    modified: Option<SystemTime>,
    inside: Option<Mutex<Inflater>>,
    /// It came through a pipe: files may follow each other in it.
    is_stream: bool,
}

impl Source {
    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// When there is no such file, it may not be read, it is empty, or it is not
    /// a regular file: reading at positions needs one.
    pub fn open(path: &Path) -> Result<Source> {
        // Looked at before it is opened: opening a device can do something.
        let before = path.metadata().doing("cannot open");
        before.and_then(|found| refuse_irregular(&found)).at(path)?;
        // Should it have become a FIFO since, opening must not wait for a writer.
        #[expect(clippy::cast_possible_wrap, reason = "a set of flags, as C has it")]
        let flags = OFlags::NONBLOCK.bits() as i32;
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = opened.doing("cannot open").at(path)?;
        Source::of(file, path, false)
    }

    /// What came on standard input, spooled; `path` is how messages name it.
    ///
    /// # Errors
    /// Those of [`Source::open`].
    pub fn stream(file: &File, path: &Path) -> Result<Source> {
        Source::of(file.try_clone().doing("cannot open").at(path)?, path, true)
    }

    fn of(file: File, path: &Path, is_stream: bool) -> Result<Source> {
        let metadata = file.metadata().doing("cannot open").at(path)?;
        refuse_irregular(&metadata).at(path)?;
        if metadata.len() == 0 {
            return Err(match is_stream {
                true => Error::input("nothing came on standard input").at(path),
                false => Error::damaged("the file is empty (0 bytes)").at(path),
            });
        }
        Ok(Source {
            file,
            path: path.to_path_buf(),
            len: metadata.len(),
            modified: metadata.modified().ok(),
            inside: None,
            is_stream,
        })
    }

    /// The same file on a descriptor of its own; a gzipped one from its head on.
    ///
    /// # Errors
    /// When no descriptor can be had.
    pub fn again(&self) -> Result<Source> {
        let inside = self.inside.as_ref();
        let inside = inside.map(|inside| lock(inside).again().map(Mutex::new));
        Ok(Source {
            file: self.file.try_clone().doing("cannot open").at(&self.path)?,
            path: self.path.clone(),
            len: self.len,
            modified: self.modified,
            inside: inside.transpose().doing("cannot open").at(&self.path)?,
            is_stream: self.is_stream,
        })
    }

    /// May files follow each other in it?
    pub fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// The same file, read as what is gzipped in it.
    ///
    /// # Errors
    /// When no descriptor can be had.
    pub fn inflated(mut self, unpacked: &Unpacked) -> Result<Source> {
        let again = self.file.try_clone();
        let again = again.and_then(|file| Inflater::new(file, unpacked));
        self.inside = Some(Mutex::new(again.doing("cannot open").at(&self.path)?));
        Ok(self)
    }

    /// Is it read as what is gzipped in it?
    pub fn is_inflated(&self) -> bool {
        self.inside.is_some()
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file when it was opened.
    pub fn file_bytes(&self) -> u64 {
        self.len
    }

    /// Bytes that can be read; of a gzipped file, the most that there can be.
    pub fn len(&self) -> u64 {
        match self.inside {
            Some(_) => gzip::most_inside(self.len),
            None => self.len,
        }
    }

    /// Where the file ends, as a message says it.
    pub fn show_end(&self) -> String {
        match self.inside {
            Some(_) => format!("{} gzipped bytes cannot hold that", self.len),
            None => format!("the file ends at byte {}", self.len),
        }
    }

    /// Never: empty files are refused.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When the file was last modified before it was opened.
    pub fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    /// The first bytes of the file, up to [`HEAD_BYTES`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn head(&self) -> Result<Vec<u8>> {
        let mut head = vec![0; HEAD_BYTES];
        let there = self.read_at_most(0, &mut head)?;
        head.truncate(there);
        Ok(head)
    }

    /// Fills `out` with the bytes from `offset` on.
    ///
    /// # Errors
    /// When the file cannot be read, ends too early, or was changed.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let there = self.read_at_most(offset, out)?;
        if there < out.len() {
            let end = match self.inside {
                Some(_) => "what is gzipped in the file",
                None => "the file",
            };
            return Err(Error::damaged(format!(
                "{} bytes from byte {offset} are needed, but {end} ends at byte {}",
                out.len(),
                offset.saturating_add(there as u64).min(self.len())
            ))
            .at(&self.path));
        }
        Ok(())
    }

    /// Fills `out` with as many bytes as there are from `offset` on, and says how
    /// many.
    ///
    /// # Errors
    /// When the file cannot be read, or was changed.
    pub fn read_at_most(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let read = match &self.inside {
            Some(inside) => lock(inside).read_at(offset, out),
            None => read_file(&self.file, offset, out)
                .map_err(|error| Error::io(format!("cannot read at byte {offset}"), error)),
        };
        // A changed file explains more than what became of reading it.
        self.check_unchanged().at(&self.path)?;
        read.at(&self.path)
    }

    /// Called after the last sample: reads on to the checksums of a gzipped file.
    ///
    /// # Errors
    /// When they are wrong.
    pub fn finish(&self) -> Result<()> {
        let Some(inside) = &self.inside else {
            return Ok(());
        };
        lock(inside).finish().at(&self.path)
    }

    /// Fails when the file is no longer what it was when it was opened.
    ///
    /// Asked after each read: what was read before a write that it shows is whole.
    ///
    /// # Errors
    /// When it was changed, or cannot be asked.
    pub fn check_unchanged(&self) -> Result<()> {
        let now = self.file.metadata().doing("cannot read")?;
        if now.len() != self.len {
            return Err(Error::input(format!(
                "the file changed while it was read: it had {} bytes, now it has {}",
                self.len,
                now.len()
            )));
        }
        if now.modified().ok() != self.modified {
            return Err(Error::input("the file changed while it was read"));
        }
        Ok(())
    }
}

/// A file without a name in `folder`, or where that cannot be, among temporary files.
pub(super) fn nameless_file(folder: &Path) -> io::Result<File> {
    tempfile::tempfile_in(folder).or_else(|_| tempfile::tempfile())
}

pub(super) fn read_file(file: &File, offset: u64, out: &mut [u8]) -> io::Result<usize> {
    let mut n_done = 0;
    while n_done < out.len() {
        match file.read_at(&mut out[n_done..], offset.saturating_add(n_done as u64)) {
            Ok(0) => break,
            Ok(n_read) => n_done += n_read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n_done)
}

fn refuse_irregular(metadata: &Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    if metadata.is_dir() {
        return Err(Error::input("is a directory, not a frame")
            .hint("cube append walks directories that are named to it"));
    }
    let kind = kind_of(metadata.file_type());
    Err(Error::input(format!("is a {kind}, not a regular file"))
        .hint("frames are read twice and at positions: save it to a file first"))
}

fn kind_of(file_type: FileType) -> &'static str {
    if file_type.is_fifo() {
        "pipe"
    } else if file_type.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_regular_files_with_bytes_in_them_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let says = |path: &Path| Source::open(path).unwrap_err().to_string();
        assert!(says(folder.path()).ends_with("is a directory, not a frame"));
        assert!(
            says(&folder.path().join("no")).ends_with("cannot open: no such file or directory")
        );
        assert!(says(Path::new("/dev/null")).ends_with("is a device, not a regular file"));
        let empty = folder.path().join("empty.fits");
        File::create(&empty).unwrap();
        assert!(says(&empty).ends_with("the file is empty (0 bytes)"));
        let fifo = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        assert!(says(&fifo).ends_with("is a pipe, not a regular file"));
    }

    #[test]
    fn a_file_that_shrinks_or_grows_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[7; 100]).unwrap();
        let source = Source::open(file.path()).unwrap();
        let mut out = [0; 50];
        source.read_at(50, &mut out).unwrap();
        assert_eq!(out, [7; 50]);
        let error = source.read_at(60, &mut out).unwrap_err().to_string();
        assert!(
            error.ends_with("50 bytes from byte 60 are needed, but the file ends at byte 100"),
            "{error}"
        );
        file.as_file().set_len(80).unwrap();
        let error = source.read_at(50, &mut out).unwrap_err().to_string();
        assert!(
            error.ends_with("it had 100 bytes, now it has 80"),
            "{error}"
        );
        file.as_file().set_len(200).unwrap();
        assert!(source.read_at(50, &mut out).is_err());
    }
}
