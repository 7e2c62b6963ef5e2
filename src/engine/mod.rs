//! The cube itself: how commits are read, grown and made.
//!
//! In reading order:
//! * [`pieces`]: the piece table of an axis.
//! * `tables`: piece tables on disk.
//! * [`tiles`]: where a sample stands in its tile, and how runs of slots are cut
//!   at tile edges.
//! * [`index`]: from a tile's coordinates to its bytes.
//! * [`snapshot`]: one commit, readable for ever.
//! * [`edit`]: what a command does to a cube until it commits.
//! * [`mod@write`]: samples into tiles, a row of tiles at a time.
//! * `cuts`: the frames that go into them, cut at tile edges.
//! * `running`: a check of bytes that arrive in any order.
//! * [`stored`]: samples that another cube holds as this one is to hold them.
//! * [`commit`]: the one order in which things reach the disk.
//! * [`records`]: the frames' records, block by block.
//! * [`usage`]: what a commit uses of its file.
//! * `patched`: how many samples of a cut were replaced.
//! * [`lines`]: lines along an axis, a column of tiles at a time.
//! * `coverage`: which samples a frame brought.
//! * [`verify`]: does the structure hold?
//! * [`reread`]: do the samples? Frames held against their checks.
//! * [`void`]: is what no frame brought still void?
//! * [`rewrite`]: a commit written again, in the order it is read.
//! * [`chunks`]: tiles as chunks that other programs read in place.

#![allow(
    clippy::cast_possible_truncation,
    reason = "pointers have 64 bits (lib.rs), so usize and u64 hold the same numbers"
)]

pub mod chunks;
pub mod commit;
mod coverage;
mod cuts;
pub mod edit;
pub mod index;
pub mod lines;
mod patched;
pub mod pieces;
pub mod records;
pub mod reread;
pub mod rewrite;
mod running;
pub mod snapshot;
pub mod stored;
mod tables;
pub mod tiles;
pub mod usage;
pub mod verify;
pub mod void;
pub mod write;

#[cfg(test)]
mod lines_test;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod verify_test;

use crate::region::MAX_RANK;

/// One number per axis, x first; axes beyond the cube's last have length 1.
pub type Coordinates = [u64; MAX_RANK];
