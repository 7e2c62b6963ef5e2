//! Where the bytes are: one trait, so that tests can *be* the disk.
//!
//! * [`mod@file`]: a file, locked by its one writer, written by offset.
//! * [`copied`]: any storage, read without the map.
//! * [`map`]: the only memory map, read-only.
//! * [`memory`]: the twin in memory, stricter than a disk: it forgets what was
//!   not synced when the power is cut.
//!
//! Writing is always by offset and never through a map, so a full disk is an
//! error and not a signal, and no slice aliases bytes that are being written.

pub mod copied;
pub mod file;
pub mod map;
pub mod memory;

use std::ops::Deref;

use crate::error::Result;

/// Most bytes given to the system in one write, which ends at a multiple of it. The page
/// cache takes memory for a write in one piece, aligned in the file; beyond this pieces
/// get so large that a virtual machine may have given them back to its host, and clearing
/// them again takes longer than the write (`docs/decisions/002`).
pub const PIECE_BYTES: u64 = 128 << 10;

/// Bytes of a storage: borrowed from the map where there is one.
pub enum Bytes {
    /// A part of the map, kept alive by it.
    Mapped(map::View),
    /// A copy.
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(view) => view,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// A growing array of bytes that survives, once synced, a loss of power.
///
/// What is assumed of it is SQLite's *powersafe overwrite*: a write cut short
/// touches nothing outside its range. Bytes never written read as zero.
pub trait Storage: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> Result<u64>;

    /// Is it empty?
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The bytes `at..at + bytes`.
    ///
    /// # Errors
    /// When the storage ends before, or cannot be read.
    fn read(&self, at: u64, bytes: u64) -> Result<Bytes>;

    /// Makes `out` the bytes `at..at + bytes` where the system has them in memory; false
    /// where they would have to be waited for, or that is not known.
    fn read_in_memory(&self, _at: u64, _bytes: u64, _out: &mut Vec<u8>) -> bool {
        false
    }

    /// The bytes `at..at + bytes`, borrowed where there is a map however few
    /// they are: for what is looked at many times.
    ///
    /// # Errors
    /// When the storage ends before, or cannot be read.
    fn borrow(&self, at: u64, bytes: u64) -> Result<Bytes> {
        self.read(at, bytes)
    }

    /// Fills `out` with the bytes from `at`, without a map.
    ///
    /// # Errors
    /// When the storage ends before, or cannot be read.
    fn read_into(&self, at: u64, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(&self.read(at, out.len() as u64)?);
        Ok(())
    }

    /// The first byte from `at` on that may be other than zero; the length when
    /// there is none.
    fn next_data(&self, at: u64) -> Result<u64> {
        Ok(at)
    }

    /// Writes `data` at `at`, growing the storage when it ends before.
    fn write(&self, at: u64, data: &[u8]) -> Result<()>;

    /// Makes the storage at least `bytes` long; new bytes are zero and cost no
    /// disk.
    fn extend(&self, bytes: u64) -> Result<()>;

    /// Cuts everything from `bytes` on off again: what a command wrote that
    /// nothing refers to.
    fn truncate(&self, bytes: u64) -> Result<()>;

    /// Makes sure that `at..at + bytes` has disk under it, in one piece where
    /// the file system can; reads as zero until written.
    fn allocate(&self, at: u64, bytes: u64) -> Result<()>;

    /// Makes everything written so far survive a loss of power. A sync that
    /// failed is final: the bytes may be gone although a second one succeeds.
    fn sync(&self) -> Result<()>;

    /// Says that these ranges, `(at, bytes)`, will be read soon.
    fn will_need(&self, ranges: &[(u64, u64)]);

    /// Says that this range is written for good and may go to the disk now.
    fn written(&self, at: u64, bytes: u64);
}
