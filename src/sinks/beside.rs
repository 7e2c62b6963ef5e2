//! A file that is written beside the one it is to be, and gets its name when it
//! is whole.
//!
//! Until then it has no name at all where the system can make such files, so
//! whatever ends the program leaves nothing behind. Elsewhere it has another name,
//! which is removed when the program ends by itself.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use tempfile::TempPath;

/// Where the system keeps names of files that have none.
const DESCRIPTORS: &str = "/proc/self/fd";

/// A file without its name.
pub struct Beside {
    file: File,
    /// Its name meanwhile, where it must have one.
    name: Option<TempPath>,
}

impl Beside {
    /// Makes an empty file in a folder. The umask is taken off `mode`.
    ///
    /// # Errors
    /// When no file can be made there.
    pub fn new(folder: &Path, mode: u32) -> io::Result<Beside> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        if Path::new(DESCRIPTORS).exists()
            && let Ok(file) = rustix::fs::open(folder, flags, Mode::from_raw_mode(mode))
        {
            let file = File::from(file);
            return Ok(Beside { file, name: None });
        }
        let permissions = std::fs::Permissions::from_mode(mode);
        let file = names().permissions(permissions).tempfile_in(folder)?;
        let (file, name) = file.into_parts();
        Ok(Beside {
            file,
            name: Some(name),
        })
    }

    /// The file, for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, in the folder that it was made in.
    ///
    /// # Errors
    /// When the name cannot be given: [`ErrorKind::AlreadyExists`] when a file has
    /// it that is not to be replaced.
    pub fn put(self, to: &Path, replace: bool) -> io::Result<()> {
        let Some(name) = self.name else {
            return put_unnamed(&self.file, to, replace);
        };
        if replace {
            return name.persist(to).map_err(|refused| refused.error);
        }
        match name.persist_noclobber(to) {
            Ok(()) => Ok(()),
            Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists || to.exists() => {
                Err(ErrorKind::AlreadyExists.into())
            }
            // Some network file systems know neither a rename that spares an
            // existing file nor hard links; there the look just taken must do.
            Err(refused) => refused.path.persist(to).map_err(|refused| refused.error),
        }
    }
}

fn put_unnamed(file: &File, to: &Path, replace: bool) -> io::Result<()> {
    let unnamed = CString::new(format!("{DESCRIPTORS}/{}", file.as_raw_fd()))?;
    let link = |to: &Path| -> io::Result<()> {
        Ok(rustix::fs::linkat(
            CWD,
            unnamed.as_c_str(),
            CWD,
            to,
            AtFlags::SYMLINK_FOLLOW,
        )?)
    };
    match link(to) {
        Err(error) if replace && error.kind() == ErrorKind::AlreadyExists => {}
        done => return done,
    }
    // A link does not replace; a rename does, and needs a name.
    let folder = super::output::folder_of(to);
    let named = names().make_in(folder, link)?;
    named.persist(to).map(drop).map_err(|refused| refused.error)
}

/// What the names are like that files have meanwhile.
fn names<'a>() -> tempfile::Builder<'a, 'a> {
    let mut names = tempfile::Builder::new();
    names.prefix(".cube-").suffix(".part");
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    fn both(folder: &Path) -> [Beside; 2] {
        let (file, name) = names().tempfile_in(folder).unwrap().into_parts();
        let named = Beside {
            file,
            name: Some(name),
        };
        [Beside::new(folder, 0o666).unwrap(), named]
    }

    #[test]
    fn a_file_gets_its_name_when_it_is_whole_and_replaces_only_when_asked() {
        for number in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            let made = || {
                let [first, second] = both(folder.path());
                if number == 0 { first } else { second }
            };
            let to = folder.path().join("a");
            let file = made();
            file.file().write_all(b"one").unwrap();
            file.put(&to, false).unwrap();
            assert_eq!(fs::read(&to).unwrap(), b"one");
            let refused = made().put(&to, false).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
            let file = made();
            file.file().write_all(b"two").unwrap();
            file.put(&to, true).unwrap();
            assert_eq!(fs::read(&to).unwrap(), b"two");
            drop(made());
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
