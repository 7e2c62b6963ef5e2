//! The one order in which things reach the disk.
//!
//! Tiles and patches, sync; index, ledger, pieces, catalog, sync; superblock, sync. Each
//! step refers only to what the syncs before it made durable, so a loss of power
//! at any moment leaves the old commit or the new one. A sync that failed is
//! never tried again: the writer is spent, and the last good commit stays.

use std::sync::Arc;

use super::snapshot::{Snapshot, choose_superblock};
use crate::error::{Error, Result};
use crate::format::catalog::Catalog;
use crate::format::entry::ENTRY_BYTES;
use crate::format::superblock::{FIRST_FREE, SUPERBLOCK_AT, SUPERBLOCK_BYTES, Superblock};
use crate::format::{Extent, PAGE, align_up};
use crate::region::MAX_RANK;
use crate::storage::Storage;

/// The one writer of a cube. Its storage holds the lock.
pub struct Writer {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) superblock: Superblock,
    /// Which of the two superblocks is the current one.
    slot: usize,
    notice: Option<String>,
    /// A write or sync failed: nothing more may be committed.
    spent: bool,
    /// A commit has begun to store what refers to new tiles, and is not whole.
    committing: bool,
}

/// What a commit stores before its superblock.
pub(super) struct Prepared {
    /// Entries of the index, sorted by place.
    pub(super) entries: Vec<(u64, [u8; 16])>,
    /// Where the ledger block, piece tables and catalog go, in one piece.
    pub(super) metadata_at: u64,
    pub(super) metadata: Vec<u8>,
    /// The catalog, in that piece.
    pub(super) catalog: Extent,
    pub(super) generation: u64,
    pub(super) marks: [u64; MAX_RANK],
}

impl Writer {
    /// Makes a cube that holds nothing in an empty storage.
    pub fn create(storage: Arc<dyn Storage>, id: [u8; 16], catalog: &Catalog) -> Result<Writer> {
        let bytes = catalog.encode()?;
        let extent = Extent {
            at: FIRST_FREE,
            bytes: bytes.len() as u64,
            check: crc32c::crc32c(&bytes),
        };
        let committed = align_up(FIRST_FREE + extent.bytes, PAGE);
        storage.extend(committed)?;
        storage.write(extent.at, &bytes)?;
        // An axis that every cube has but nobody has touched is slot 0.
        let touched = catalog.axes.len();
        let mut writer = Writer {
            storage,
            superblock: Superblock {
                id,
                sequence: 0,
                generation: catalog.generation,
                catalog: extent,
                committed,
                marks: std::array::from_fn(|axis| u64::from(axis >= touched)),
            },
            slot: 1,
            notice: None,
            spent: false,
            committing: false,
        };
        writer.sync()?;
        writer.flip(writer.superblock.clone())?;
        Ok(writer)
    }

    /// Opens a cube for writing; the caller holds the lock.
    pub fn open(storage: Arc<dyn Storage>) -> Result<Writer> {
        let chosen = choose_superblock(storage.as_ref())?;
        if let Some(error) = chosen.unread {
            // What is written would be written over the newest commit.
            return Err(error);
        }
        let slot = chosen.slot;
        let mut writer = Writer {
            storage,
            superblock: chosen.superblock,
            slot,
            notice: chosen.notice,
            spent: false,
            committing: false,
        };
        // What was read may so far be in the page cache alone: a writer that died
        // between storing and syncing it leaves it so. It must be on the disk
        // before the other superblock is touched, or a loss of power takes both.
        let bytes = writer.superblock.encode();
        writer.write(SUPERBLOCK_AT[slot], &bytes)?;
        writer.sync()?;
        Ok(writer)
    }

    /// What the user should know of the file, although it can be written.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// The newest commit.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::at(
            self.storage.clone(),
            &self.superblock.catalog,
            self.superblock.committed,
        )
    }

    /// Hands out slots for ever, up to `marks`, before anything is written to them.
    pub(super) fn reserve(&mut self, marks: [u64; MAX_RANK]) -> Result<()> {
        if marks == self.superblock.marks {
            return Ok(());
        }
        let mut superblock = self.superblock.clone();
        superblock.marks = marks;
        self.flip(superblock)
    }

    /// Makes a new state the cube's state.
    pub(super) fn commit(&mut self, prepared: &Prepared) -> Result<()> {
        // Entries that adjoin are stored together.
        let adjoin = |a: &(u64, [u8; 16]), b: &(u64, [u8; 16])| a.0 + ENTRY_BYTES == b.0;
        for run in prepared.entries.chunk_by(adjoin) {
            // All of them are void. One that is not zero was cut short by a loss of
            // power; cut short again, at its other end, it would look damaged.
            let bytes = run.len() as u64 * ENTRY_BYTES;
            let found = self.storage.read(run[0].0, bytes)?;
            if found.iter().any(|&byte| byte != 0) {
                self.write(run[0].0, &vec![0; found.len()])?;
            }
        }
        // A tile that is stored in part is whole as far as the file reaches: an entry
        // that is kept must not name one that ends past the end.
        self.extend(prepared.metadata_at)?;
        self.sync()?;
        self.committing = true;
        for run in prepared.entries.chunk_by(adjoin) {
            let bytes: Vec<u8> = run.iter().flat_map(|(_, entry)| *entry).collect();
            self.write(run[0].0, &bytes)?;
        }
        self.write(prepared.metadata_at, &prepared.metadata)?;
        let committed = align_up(self.storage.len()?, PAGE);
        self.extend(committed)?;
        self.sync()?;
        let mut superblock = self.superblock.clone();
        superblock.generation = prepared.generation;
        superblock.catalog = prepared.catalog;
        superblock.committed = committed;
        superblock.marks = prepared.marks;
        self.flip(superblock)?;
        self.committing = false;
        Ok(())
    }

    /// Where the newest commit ends: a whole number of pages.
    pub(super) fn committed(&self) -> u64 {
        self.superblock.committed
    }

    pub(super) fn is_committing(&self) -> bool {
        self.committing
    }

    /// Stores a superblock in the place of the older one.
    fn flip(&mut self, mut superblock: Superblock) -> Result<()> {
        superblock.sequence += 1;
        let slot = 1 - self.slot;
        let at = SUPERBLOCK_AT[slot];
        let before = self.storage.read(at, SUPERBLOCK_BYTES as u64)?;
        let bytes = superblock.encode();
        let stored = self.write(at, &bytes).and_then(|()| self.sync());
        if let Err(error) = stored {
            // Whoever opens the cube next is to find what the disk has for sure. It
            // is not synced: either of the two is whole.
            let _ = self.storage.write(at, &before);
            return Err(error);
        }
        self.superblock = superblock;
        self.slot = slot;
        Ok(())
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        self.alive()?;
        let done = self.storage.write(at, bytes);
        self.spent |= done.is_err();
        done
    }

    pub(super) fn extend(&mut self, bytes: u64) -> Result<()> {
        self.alive()?;
        let done = self.storage.extend(bytes);
        self.spent |= done.is_err();
        done
    }

    fn sync(&mut self) -> Result<()> {
        self.alive()?;
        let done = self.storage.sync();
        self.spent |= done.is_err();
        done.map_err(|error| {
            let generation = self.superblock.generation;
            error.hint(format!(
                "generation {generation} is safe; check the disk before going on"
            ))
        })
    }

    /// Remembers that a write made elsewhere failed.
    pub(super) fn spend(&mut self) {
        self.spent = true;
    }

    fn alive(&self) -> Result<()> {
        match self.spent {
            true => Err(Error::input(
                "an earlier write failed, so nothing more is written",
            )),
            false => Ok(()),
        }
    }
}
