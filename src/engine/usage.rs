//! What a commit uses of its file, and what compacting would give back.

use super::pieces::{Pieces, Runs, holds, joined};
use super::snapshot::Snapshot;
use super::verify::each_entry;
use crate::error::Result;
use crate::format::catalog::{IndexBox, Piece};
use crate::format::entry::Entry;
use crate::format::superblock::FIRST_FREE;
use crate::region::MAX_RANK;

/// Use of a file by one of its commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tiles that hold a slot of some position on every axis.
    pub tiles: u64,
    /// About how many there would be if slots were positions: exact unless the
    /// cube is ragged.
    pub compacted_tiles: u64,
    /// About how many bytes these would take, up to their last layers, and everything
    /// else that the commit refers to.
    pub compacted_bytes: u64,
    /// About how many more they take where disk is taken for frames to come.
    pub room_bytes: u64,
}

impl Snapshot {
    /// Bytes of the index: what [`Snapshot::usage`] reads.
    pub fn index_bytes(&self) -> u64 {
        let bytes = self.catalog.index.iter().map(IndexBox::bytes);
        bytes.fold(0, |sum, bytes| sum.saturating_add(bytes.unwrap_or(0)))
    }

    /// Goes through the index, 16 bytes for a tile. Damaged entries are not
    /// counted.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn usage(&self) -> Result<Usage> {
        let mut tiles = 0;
        let live: [Runs; MAX_RANK] =
            std::array::from_fn(|axis| live(&self.pieces[axis], self.geometry.tile[axis]));
        for index in &self.catalog.index {
            each_entry(self.storage.as_ref(), index, &mut |_, tile, entry| {
                let is_live = |axis: usize| holds(&live[axis], tile[axis]);
                let is_tile = matches!(entry, Ok(Entry::Tile { .. }));
                tiles += u64::from(is_tile && (0..MAX_RANK).all(is_live));
                Ok(())
            })?;
        }
        // Of the tiles that could be, as many are void now as would be then.
        let count = |runs: &Runs| runs.iter().map(|(lo, hi)| hi - lo).sum::<u64>();
        let grid = |axis: usize| count(&live[axis]) as f64;
        let packed =
            |axis: usize| self.pieces[axis].len().div_ceil(self.geometry.tile[axis]) as f64;
        let shrinks: f64 = (0..MAX_RANK)
            .map(|axis| packed(axis) / grid(axis).max(1.0))
            .product();
        let compacted_tiles = (tiles as f64 * shrinks).round() as u64;
        let tile_bytes = compacted_tiles.saturating_mul(self.geometry.pitch());
        // Tiles fill along their slowest axis.
        let slowest = self.geometry.tile.iter().rposition(|&len| len > 1);
        let layers = |axis: usize| packed(axis) * self.geometry.tile[axis] as f64;
        let filled = slowest.map_or(1.0, |axis| {
            self.pieces[axis].len() as f64 / layers(axis).max(1.0)
        });
        let filled_bytes = (tile_bytes as f64 * filled).round() as u64;
        Ok(Usage {
            tiles,
            compacted_tiles,
            compacted_bytes: filled_bytes.saturating_add(self.metadata_bytes()),
            room_bytes: tile_bytes.saturating_sub(filled_bytes),
        })
    }

    /// Bytes of the tables, records, patches and the catalog.
    fn metadata_bytes(&self) -> u64 {
        let catalog = &self.catalog;
        let ledger = catalog.ledger.iter().map(|block| block.extent.bytes);
        let patches = catalog.patches.iter().map(|set| set.extent.bytes);
        let tables = catalog.axes.iter().filter_map(|axis| axis.table);
        let tables = tables.map(|table| table.extent.bytes);
        let parts = ledger.chain(patches).chain(tables);
        let sum = parts.fold(self.extent.bytes, u64::saturating_add);
        sum.saturating_add(self.index_bytes())
            .saturating_add(FIRST_FREE)
    }
}

/// The tiles of an axis that have slots of positions.
fn live(pieces: &Pieces, tile: u64) -> Runs {
    let pieces = pieces.as_slice().iter();
    joined(
        pieces
            .map(|&Piece(slot, len)| (slot / tile, (slot + len - 1) / tile + 1))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryStorage;
    use std::sync::Arc;

    fn usage(name: &str) -> Usage {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden/format-2");
        let bytes = std::fs::read(format!("{folder}/{name}.cube")).unwrap();
        let snapshot = Snapshot::open(Arc::new(MemoryStorage::new(bytes))).unwrap();
        snapshot.usage().unwrap()
    }

    #[test]
    fn tiles_that_compacting_would_leave_are_counted() {
        let whole = usage("uint16");
        assert!(whole.tiles > 0);
        assert_eq!(whole.tiles, whole.compacted_tiles);
        assert_eq!(usage("empty").tiles, 0);
        let deleted = usage("deleted");
        assert!(deleted.compacted_tiles < deleted.tiles, "{deleted:?}");
    }

    #[test]
    fn tiles_that_two_pieces_share_count_once() {
        let pieces = |list: &[(u64, u64)]| {
            let list: Vec<Piece> = list.iter().map(|&(slot, len)| Piece(slot, len)).collect();
            live(&Pieces::new(&list), 4)
        };
        assert_eq!(pieces(&[]), []);
        assert_eq!(pieces(&[(0, 4)]), [(0, 1)]);
        assert_eq!(pieces(&[(9, 1), (0, 1), (2, 1), (11, 2)]), [(0, 1), (2, 4)]);
        assert_eq!(pieces(&[(3, 9), (1, 1), (40, 1)]), [(0, 3), (10, 11)]);
    }
}
