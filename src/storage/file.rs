//! A cube's file: one writer holds its lock, readers take none.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use rustix::fs::{Advice, FallocateFlags, OFlags, SeekFrom};
use rustix::io::{ReadWriteFlags, preadv2};

use super::map::Map;
use super::{Bytes, PIECE_BYTES, Storage};
use crate::error::{Error, IoContext, Result};

/// Reads up to this are copied; a map would cost more in page faults.
const COPIED_BYTES: u64 = 64 << 10;

/// Opening a FIFO waits for its other end without this; to files it means nothing.
#[allow(clippy::cast_possible_wrap)]
const DO_NOT_WAIT: i32 = OFlags::NONBLOCK.bits() as i32;

/// A file as storage.
pub struct FileStorage {
    file: File,
    /// What messages call it.
    name: PathBuf,
    /// Covers the file's length at some moment; made when first needed and
    /// made anew when a read goes past it.
    map: RwLock<Option<Map>>,
    /// Whether a sync waits for the disk.
    is_synced: bool,
}

/// What a writer does when another one holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Fail and name the holder.
    Fail,
    /// Wait until it is done.
    Wait,
}

impl FileStorage {
    /// Opens a file for reading.
    pub fn open(path: &Path) -> Result<FileStorage> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(DO_NOT_WAIT)
            .open(path)
            .doing("cannot open")?;
        Self::new(file, path)
    }

    /// Opens a file for writing and takes its lock.
    pub fn open_locked(path: &Path, busy: Busy) -> Result<FileStorage> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(DO_NOT_WAIT)
                .open(path)
                .doing("cannot open for writing")?;
            let storage = Self::new(file, path)?;
            storage.lock(busy)?;
            // Whoever held the lock may have put another file in its place: what
            // would be written to this one would be lost with it.
            let ours = storage.file.metadata().doing("cannot examine")?;
            let named = std::fs::metadata(path).doing("cannot examine")?;
            if (ours.dev(), ours.ino()) == (named.dev(), named.ino()) {
                return Ok(storage);
            }
        }
    }

    /// Takes a file that is already open; `name` is what messages call it.
    pub fn new(file: File, name: &Path) -> Result<FileStorage> {
        let about = file.metadata().doing("cannot examine")?;
        if about.is_dir() {
            return Err(Error::input("is a directory, not a cube"));
        }
        if !about.is_file() {
            return Err(Error::input(
                "is not a regular file, so it cannot be a cube",
            ));
        }
        Ok(FileStorage {
            file,
            name: name.to_path_buf(),
            map: RwLock::new(None),
            is_synced: true,
        })
    }

    /// Says whether a sync waits for the disk. Where it does not, what is stored is as
    /// safe as the system's memory.
    #[must_use]
    pub fn synced(mut self, is_synced: bool) -> FileStorage {
        self.is_synced = is_synced;
        self
    }

    /// Takes the writer's lock, which ends with the process.
    pub fn lock(&self, busy: Busy) -> Result<()> {
        match (self.file.try_lock(), busy) {
            (Ok(()), _) => Ok(()),
            (Err(TryLockError::WouldBlock), Busy::Wait) => {
                self.file.lock().doing("cannot wait for the lock")
            }
            (Err(TryLockError::WouldBlock), Busy::Fail) => {
                let holder = self.holder();
                Err(
                    Error::input(format!("another program is writing to this cube{holder}"))
                        .hint("--wait waits until it is done"),
                )
            }
            (Err(TryLockError::Error(error)), _) => Err(Error::io("cannot lock", error)),
        }
    }

    /// Who holds the lock, as far as the kernel tells: ` (process 1234: cube)`.
    fn holder(&self) -> String {
        let find = || {
            let about = self.file.metadata().ok()?;
            let inode = format!(":{}", about.ino());
            let locks = std::fs::read_to_string("/proc/locks").ok()?;
            let line = locks.lines().find(|line| {
                let mut words = line.split_whitespace();
                words.nth(1) == Some("FLOCK") && words.any(|word| word.ends_with(&inode))
            })?;
            let process = line.split_whitespace().nth(4)?;
            let name = std::fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
            Some(format!(" (process {process}: {})", name.trim()))
        };
        find().unwrap_or_default()
    }

    /// How many bytes the file takes on the disk.
    pub fn disk_bytes(&self) -> Result<u64> {
        let about = self.file.metadata().doing("cannot examine")?;
        Ok(about.blocks().saturating_mul(512))
    }

    fn ends(&self, at: u64, bytes: u64) -> Error {
        let len = self.len().unwrap_or(0);
        Error::damaged(format!(
            "the file ends at byte {len}, but bytes {at} to {} are needed",
            at.saturating_add(bytes)
        ))
        .hint("it was cut short, or is damaged: cube check says more")
    }

    fn mapped(&self, end: u64) -> Result<Option<Map>> {
        let Ok(needed) = usize::try_from(end) else {
            return Ok(None);
        };
        if let Ok(guard) = self.map.read()
            && let Some(map) = guard.as_ref().filter(|map| needed <= map.len())
        {
            return Ok(Some(map.clone()));
        }
        let len = usize::try_from(self.len()?).unwrap_or(usize::MAX);
        if len < needed {
            return Ok(None);
        }
        let map = Map::new(&self.file, &self.name, len)?;
        if let Ok(mut guard) = self.map.write() {
            *guard = Some(map.clone());
        }
        Ok(Some(map))
    }
}

/// Makes the names in a folder survive a loss of power.
///
/// # Errors
/// When the disk fails. A folder that may not be read, or a file system that
/// knows no such sync, is no error: there is nothing more to do for it.
pub fn sync_folder(folder: &Path) -> Result<()> {
    let done = match File::open(folder) {
        Ok(folder) => folder.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    };
    match done {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        done => done.doing("cannot sync its folder"),
    }
}

impl Storage for FileStorage {
    fn len(&self) -> Result<u64> {
        Ok(self.file.metadata().doing("cannot examine")?.len())
    }

    fn read(&self, at: u64, bytes: u64) -> Result<Bytes> {
        let ends = || self.ends(at, bytes);
        if bytes <= COPIED_BYTES {
            let mut copy = vec![0; usize::try_from(bytes).map_err(|_| ends())?];
            return match self.file.read_exact_at(&mut copy, at) {
                Ok(()) => Ok(Bytes::Owned(copy)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ends()),
                Err(error) => Err(Error::io(format!("cannot read at byte {at}"), error)),
            };
        }
        self.borrow(at, bytes)
    }

    fn read_in_memory(&self, at: u64, bytes: u64, out: &mut Vec<u8>) -> bool {
        let Some(bytes) = usize::try_from(bytes)
            .ok()
            .filter(|_| bytes <= COPIED_BYTES)
        else {
            return false;
        };
        out.resize(bytes, 0);
        // What goes wrong is told by whoever waits for the bytes.
        let read = preadv2(
            &self.file,
            &mut [IoSliceMut::new(out)],
            at,
            ReadWriteFlags::NOWAIT,
        );
        read == Ok(bytes)
    }

    fn borrow(&self, at: u64, bytes: u64) -> Result<Bytes> {
        let ends = || self.ends(at, bytes);
        let end = at.checked_add(bytes).ok_or_else(ends)?;
        let map = self.mapped(end)?.ok_or_else(ends)?;
        let (Ok(start), Ok(end)) = (usize::try_from(at), usize::try_from(end)) else {
            return Err(ends());
        };
        map.view(start, end).map(Bytes::Mapped).ok_or_else(ends)
    }

    fn read_into(&self, at: u64, out: &mut [u8]) -> Result<()> {
        match self.file.read_exact_at(out, at) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.ends(at, out.len() as u64))
            }
            Err(error) => Err(Error::io(format!("cannot read at byte {at}"), error)),
        }
    }

    fn next_data(&self, at: u64) -> Result<u64> {
        // Reading and writing is by offset, so that this moves the file's own
        // offset matters to nobody.
        match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
            Ok(data) => Ok(data),
            Err(rustix::io::Errno::NXIO) => self.len(),
            // A file system that does not know its holes.
            Err(_) => Ok(at),
        }
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<()> {
        let (mut at, mut data) = (at, data);
        while !data.is_empty() {
            let left = usize::try_from(PIECE_BYTES - at % PIECE_BYTES);
            let (piece, later) =
                data.split_at(left.map_or(data.len(), |left| left.min(data.len())));
            let done = self.file.write_all_at(piece, at);
            done.map_err(|error| Error::io(format!("cannot write at byte {at}"), error))?;
            at += piece.len() as u64;
            data = later;
        }
        Ok(())
    }

    fn extend(&self, bytes: u64) -> Result<()> {
        if self.len()? < bytes {
            self.file.set_len(bytes).doing("cannot grow the file")?;
        }
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> Result<()> {
        if let Ok(mut guard) = self.map.write() {
            *guard = None;
        }
        self.file.set_len(bytes).doing("cannot shorten the file")
    }

    fn allocate(&self, at: u64, bytes: u64) -> Result<()> {
        let reserve = || rustix::fs::fallocate(&self.file, FallocateFlags::empty(), at, bytes);
        match rustix::io::retry_on_intr(reserve) {
            Ok(()) => Ok(()),
            // A file system that cannot reserve still stores, and so may one that
            // has too little room for what is to come later: holes read as zero,
            // and a full disk shows when they are written.
            Err(
                rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::NOSPC,
            ) => self.extend(at.saturating_add(bytes)),
            Err(error) => Err(Error::io(
                format!("cannot reserve {bytes} bytes on the disk"),
                error.into(),
            )),
        }
    }

    fn sync(&self) -> Result<()> {
        match self.is_synced {
            true => self.file.sync_data().doing("cannot sync to the disk"),
            false => Ok(()),
        }
    }

    fn will_need(&self, ranges: &[(u64, u64)]) {
        let Some(end) = ranges
            .iter()
            .map(|&(at, bytes)| at.saturating_add(bytes))
            .max()
        else {
            return;
        };
        if let Ok(Some(map)) = self.mapped(end) {
            for &(at, bytes) in ranges {
                if let (Ok(start), Ok(len)) = (usize::try_from(at), usize::try_from(bytes)) {
                    map.will_need(start, len);
                }
            }
        }
    }

    fn written(&self, at: u64, bytes: u64) {
        if !self.is_synced {
            return;
        }
        // Of what is not on the disk yet Linux makes this the beginning of its writing,
        // and keeps it in memory; so the sync in the end finds little left to do.
        let _ = rustix::fs::fadvise(&self.file, at, NonZeroU64::new(bytes), Advice::DontNeed);
    }
}
