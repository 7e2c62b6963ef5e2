//! What the bytes of a cube file are: pure, without input or output.
//!
//! The layout is told once, in `docs/format.md`; a test holds that text against
//! the constants here.
//!
//! * [`superblock`]: the two blocks at the head of the file that name the newest commit.
//! * [`catalog`]: the JSON text that says everything a commit holds.
//! * [`entry`]: one entry of the index, from a tile's coordinates to its bytes.
//! * [`ledger`]: records of the frames, in compressed blocks.
//! * [`patches`]: replaced samples, beside the data.

#![allow(
    clippy::cast_possible_truncation,
    reason = "pointers have 64 bits (lib.rs), so usize and u64 hold the same numbers"
)]

pub mod catalog;
pub mod entry;
pub mod ledger;
pub mod patches;
pub mod superblock;

use serde::{Deserialize, Serialize};

/// Version of the file format that this program writes; it reads those before, too.
pub const FORMAT: u32 = 2;

/// Everything that is written as a whole starts at a multiple of this.
pub const PAGE: u64 = 4096;

/// Metadata inside one commit's page run starts at a multiple of this.
pub const METADATA_ALIGN: u64 = 64;

/// No offset, length or slot is larger: sums of two stay inside 64 bits.
pub const MAX_OFFSET: u64 = 1 << 62;

/// An axis is at most so many tiles long, in positions: whoever reads along it holds
/// about 100 bytes for each, which a file of holes would else not pay for.
pub const MAX_AXIS_TILES: u64 = 1 << 23;

/// An axis has at most so many pieces.
pub const MAX_PIECES: u64 = 1 << 24;

/// A tile is at most this large.
pub const MAX_TILE_BYTES: u64 = 64 << 20;

/// A catalog is at most this large.
pub const MAX_CATALOG_BYTES: u64 = 256 << 20;

/// Where a run of bytes stands, and its CRC-32C.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Offset of the first byte.
    pub at: u64,
    /// How many bytes.
    pub bytes: u64,
    /// CRC-32C (Castagnoli) of them.
    pub check: u32,
}

impl Extent {
    /// The byte after the last; `None` when that is past [`MAX_OFFSET`].
    pub fn end(&self) -> Option<u64> {
        self.at
            .checked_add(self.bytes)
            .filter(|&end| end <= MAX_OFFSET)
    }
}

/// The next multiple of `align`, a power of two; `at` is at most [`MAX_OFFSET`].
pub const fn align_up(at: u64, align: u64) -> u64 {
    (at + align - 1) & !(align - 1)
}

/// Reads a little-endian number of `N` bytes at `at`; `None` when `bytes` ends before.
pub(crate) fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

pub(crate) fn take_u32(bytes: &[u8], at: usize) -> Option<u32> {
    take(bytes, at).map(u32::from_le_bytes)
}

pub(crate) fn take_u64(bytes: &[u8], at: usize) -> Option<u64> {
    take(bytes, at).map(u64::from_le_bytes)
}
