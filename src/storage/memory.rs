//! The twin of a file in memory, stricter than a disk: what was not synced is
//! lost, kept or torn when the power is cut, write by write.

use std::sync::{Mutex, PoisonError};

use super::{Bytes, Storage};
use crate::error::{Error, Result};

/// A storage in memory that can lose its power and refuse operations.
#[derive(Default)]
pub struct MemoryStorage(Mutex<State>);

#[derive(Clone, Default)]
struct State {
    /// What a reader sees: every write so far.
    now: Vec<u8>,
    /// What the last sync made durable.
    synced: Vec<u8>,
    /// Writes since, in order; `None` is a change of length alone.
    pending: Vec<(u64, Option<Vec<u8>>)>,
    /// Operations left before one fails, and whether every further one does.
    fuse: Option<(u64, bool)>,
    /// A byte that cannot be read.
    unreadable: Option<u64>,
    /// Syncs succeed, and do nothing.
    lies: bool,
}

impl MemoryStorage {
    /// A storage that holds `bytes`, all durable.
    pub fn new(bytes: Vec<u8>) -> MemoryStorage {
        MemoryStorage(Mutex::new(State {
            now: bytes.clone(),
            synced: bytes,
            ..State::default()
        }))
    }

    /// Fails every write and sync after `operations` more of them.
    pub fn set_fuse(&self, operations: Option<u64>) {
        self.lock().fuse = operations.map(|operations| (operations, true));
    }

    /// Fails the write or sync after `operations` more of them, and no other.
    pub fn set_fault(&self, operations: u64) {
        self.lock().fuse = Some((operations, false));
    }

    /// Succeeds in every sync from here on, and does nothing: for tests of tests.
    pub fn set_lies(&self) {
        self.lock().lies = true;
    }

    /// Fails every read of a range that has this byte in it.
    pub fn set_unreadable(&self, byte: Option<u64>) {
        self.lock().unreadable = byte;
    }

    /// What a reader sees now.
    pub fn contents(&self) -> Vec<u8> {
        self.lock().now.clone()
    }

    /// What could be on the disk after a power cut at this moment. `choose(n)`
    /// returns a number below `n`; each write since the last sync is kept, lost
    /// or cut short at either end.
    pub fn after_power_cut(&self, choose: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
        let state = self.lock();
        let mut disk = state.synced.clone();
        for (at, data) in &state.pending {
            let at = usize::try_from(*at).unwrap_or(usize::MAX);
            let Some(data) = data else {
                // A new length may or may not have reached the disk.
                if choose(2) == 0 && disk.len() < at {
                    disk.resize(at, 0);
                }
                continue;
            };
            let (from, to) = match choose(5) {
                0 | 1 => (0, data.len()),
                2 => (0, choose(data.len() + 1)),
                3 => (choose(data.len() + 1), data.len()),
                _ => continue,
            };
            put(&mut disk, at + from, &data[from..to]);
        }
        disk
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn burn(&mut self) -> Result<()> {
        match &mut self.fuse {
            Some((0, for_good)) => {
                if !*for_good {
                    self.fuse = None;
                }
                Err(failed("cannot write"))
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn failed(doing: &str) -> Error {
    Error::io(doing, std::io::Error::from_raw_os_error(5))
}

fn put(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    let end = at + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(data);
}

impl Storage for MemoryStorage {
    fn len(&self) -> Result<u64> {
        Ok(self.lock().now.len() as u64)
    }

    fn read(&self, at: u64, bytes: u64) -> Result<Bytes> {
        let state = self.lock();
        let bad = |byte: u64| at <= byte && byte < at.saturating_add(bytes);
        if state.unreadable.is_some_and(bad) {
            return Err(failed("cannot read"));
        }
        let range = usize::try_from(at).ok().zip(usize::try_from(bytes).ok());
        let found = range.and_then(|(at, bytes)| state.now.get(at..at.checked_add(bytes)?));
        found
            .map(|found| Bytes::Owned(found.to_vec()))
            .ok_or_else(|| {
                Error::damaged(format!(
                    "the file ends at byte {}, but bytes {at} to {} are needed",
                    state.now.len(),
                    at.saturating_add(bytes)
                ))
            })
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<()> {
        let mut state = self.lock();
        state.burn()?;
        let start = usize::try_from(at).map_err(|_| Error::input("too large for memory"))?;
        put(&mut state.now, start, data);
        state.pending.push((at, Some(data.to_vec())));
        Ok(())
    }

    fn extend(&self, bytes: u64) -> Result<()> {
        let mut state = self.lock();
        state.burn()?;
        let len = usize::try_from(bytes).map_err(|_| Error::input("too large for memory"))?;
        if state.now.len() < len {
            state.now.resize(len, 0);
            state.pending.push((bytes, None));
        }
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> Result<()> {
        let mut state = self.lock();
        state.burn()?;
        let len = usize::try_from(bytes).unwrap_or(usize::MAX);
        state.now.truncate(len);
        state.pending.push((bytes, Some(Vec::new())));
        for (at, data) in &mut state.pending {
            let keep = len.saturating_sub(usize::try_from(*at).unwrap_or(usize::MAX));
            if let Some(data) = data {
                data.truncate(keep);
            }
        }
        state.synced.truncate(len);
        Ok(())
    }

    fn allocate(&self, at: u64, bytes: u64) -> Result<()> {
        self.extend(at.saturating_add(bytes))
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.lock();
        if state.lies {
            return state.burn();
        }
        let pending = std::mem::take(&mut state.pending);
        // As file systems do: what a failed sync did not store is read as if it
        // were stored, and no later sync stores it.
        state.burn()?;
        for (at, data) in pending {
            let at = usize::try_from(at).map_err(|_| Error::input("too large for memory"))?;
            match data {
                Some(data) => put(&mut state.synced, at, &data),
                None if state.synced.len() < at => state.synced.resize(at, 0),
                None => {}
            }
        }
        Ok(())
    }

    fn will_need(&self, _ranges: &[(u64, u64)]) {}

    fn written(&self, _at: u64, _bytes: u64) {}
}
