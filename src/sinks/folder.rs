//! An output that is a folder: made under another name beside its own, renamed when
//! it is whole, and taken away again when it never gets there.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::TempDir;

use super::output::{Target, exists, folder_of};
use crate::error::{Context, Error, IoContext, Result};

/// A file that every Zarr store has: only a folder with one is replaced.
const MARK: &str = "zarr.json";

/// A folder that is being filled.
pub(super) struct Folder {
    beside: TempDir,
    to: PathBuf,
    overwrite: bool,
}

impl Folder {
    /// Makes a folder that gets its name in [`Folder::finish`].
    pub(super) fn create(target: &Target) -> Result<Folder> {
        let Target::File { path, overwrite } = target else {
            return Err(Error::input("zarr is a folder, which cannot go to a pipe")
                .hint("-o NAME.zarr makes one"));
        };
        check(path, *overwrite).at(path)?;
        let parent = folder_of(path);
        if !parent.is_dir() {
            return Err(
                Error::input(format!("there is no folder {}", parent.display()))
                    .hint("make the folder first")
                    .at(path),
            );
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".cube-").suffix(".part");
        // The umask applies to this as to any folder that is made.
        builder.permissions(Permissions::from_mode(0o777));
        let beside = builder.tempdir_in(parent);
        Ok(Folder {
            beside: beside
                .doing("cannot create a folder in its folder")
                .at(path)?,
            to: path.clone(),
            overwrite: *overwrite,
        })
    }

    /// Where it is now.
    pub(super) fn path(&self) -> &Path {
        self.beside.path()
    }

    /// The name that messages use.
    pub(super) fn name(&self) -> &Path {
        &self.to
    }

    /// Gives the folder its name; what had it before is removed.
    pub(super) fn finish(self) -> Result<()> {
        let from = self.beside.path();
        let rename = |flags| renameat_with(CWD, from, CWD, &self.to, flags);
        let is_replaced = self.overwrite && fs::symlink_metadata(&self.to).is_ok();
        if is_replaced {
            check(&self.to, true).at(&self.to)?;
        }
        let done = match is_replaced {
            // Afterwards the old store has the temporary name, and goes with it.
            true => rename(RenameFlags::EXCHANGE).map(|()| false),
            false => rename(RenameFlags::NOREPLACE).map(|()| true),
        };
        let moved = match done {
            Ok(moved) => moved,
            Err(Errno::EXIST) => return Err(exists().at(&self.to)),
            // Some network file systems know neither; the look just taken must do.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if is_replaced {
                    let removed = fs::remove_dir_all(&self.to);
                    removed.doing("cannot remove the old store").at(&self.to)?;
                }
                let renamed = fs::rename(from, &self.to);
                renamed.doing("cannot give it its name").at(&self.to)?;
                true
            }
            Err(error) => {
                let error = Error::io("cannot give it its name", error.into());
                return Err(error.at(&self.to));
            }
        };
        if moved {
            // The temporary name is free again: nothing is to be removed.
            let _ = self.beside.keep();
        }
        Ok(())
    }
}

/// Is it a Zarr store?
pub(super) fn is_store(path: &Path) -> bool {
    path.is_dir() && path.join(MARK).is_file()
}

/// Refuses what is there and may not be replaced.
pub(super) fn check(path: &Path, overwrite: bool) -> Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("cannot write there", error)),
    };
    if found.is_dir() && is_store(path) {
        return if overwrite { Ok(()) } else { Err(exists()) };
    }
    let what = if found.is_dir() {
        "is a folder, but not of a Zarr store"
    } else {
        "is not a folder, which a Zarr store is"
    };
    Err(Error::input(what).hint("name another one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    fn make(path: &Path, overwrite: bool, text: &str) -> Result<()> {
        let folder = Folder::create(&Target::from_path(path, overwrite))?;
        fs::write(folder.path().join(MARK), text).unwrap();
        folder.finish()
    }

    #[test]
    fn a_folder_gets_its_name_when_it_is_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a.zarr");
        drop(Folder::create(&Target::from_path(&path, false)).unwrap());
        assert!(names(scratch.path()).is_empty());
        make(&path, false, "one").unwrap();
        assert!(make(&path, false, "two").is_err());
        assert_eq!(fs::read(path.join(MARK)).unwrap(), b"one");
        make(&path, true, "three").unwrap();
        assert_eq!(fs::read(path.join(MARK)).unwrap(), b"three");
        assert_eq!(names(scratch.path()), ["a.zarr"]);
    }

    #[test]
    fn what_is_no_store_is_never_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("home");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("thesis"), "x").unwrap();
        for overwrite in [false, true] {
            assert!(make(&path, overwrite, "").is_err());
            assert!(make(&path.join("thesis"), overwrite, "").is_err());
        }
        // A store that appears while another is made is kept.
        let late = scratch.path().join("late");
        let folder = Folder::create(&Target::from_path(&late, false)).unwrap();
        make(&late, false, "theirs").unwrap();
        assert!(folder.finish().is_err());
        assert_eq!(fs::read(late.join(MARK)).unwrap(), b"theirs");
        assert!(Folder::create(&Target::Stdout).is_err());
    }
}
