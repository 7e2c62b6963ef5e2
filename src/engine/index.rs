//! From a tile's coordinates to its bytes.
//!
//! Entries stand in tables for disjoint ranges of tile coordinates. A table's
//! place never changes; when an axis outgrows the tables, one more is added that
//! doubles the range, so their number stays logarithmic and nothing is copied.
//! A new table is a hole in the file: it costs no disk until entries come.

use super::Coordinates;
use super::tiles::Tile;
use crate::error::{Error, Result};
use crate::format::catalog::{Catalog, IndexBox};
use crate::format::entry::{self, ENTRY_BYTES, Entry};
use crate::region::MAX_RANK;
use crate::storage::{Bytes, Storage};

/// Entries are fetched in blocks of this many bytes.
const BLOCK: u64 = 4096;

/// Where the entry of a tile stands; `None` when no table covers it.
pub fn locate(boxes: &[IndexBox], tile: &Coordinates) -> Option<u64> {
    let holds = |b: &&IndexBox| {
        let ranges = b.lo.iter().zip(&b.hi).zip(tile);
        ranges
            .into_iter()
            .all(|((&lo, &hi), &at)| lo <= at && at < hi)
    };
    let found = boxes.iter().find(holds)?;
    let (mut number, mut pitch) = (0, 1);
    for ((&lo, &hi), &at) in found.lo.iter().zip(&found.hi).zip(tile) {
        number += (at - lo) * pitch;
        pitch *= hi - lo;
    }
    Some(found.at + number * ENTRY_BYTES)
}

/// Reads entries, a block of the file at a time.
pub struct IndexReader<'a> {
    storage: &'a dyn Storage,
    catalog: &'a Catalog,
    block: Option<(u64, Bytes)>,
}

impl<'a> IndexReader<'a> {
    /// Reads the entries in the tables of this catalog.
    pub fn new(storage: &'a dyn Storage, catalog: &'a Catalog) -> Self {
        IndexReader {
            storage,
            catalog,
            block: None,
        }
    }

    /// Where a tile is; `None` when it is void. A tile may lie past the end of
    /// the commit that is read: a later command filled the void, in slots that
    /// this commit does not have.
    ///
    /// # Errors
    /// When the entry is damaged.
    pub fn tile(&mut self, tile: &Coordinates) -> Result<Option<Tile>> {
        let Some(at) = locate(&self.catalog.index, tile) else {
            return Ok(None);
        };
        match entry::decode(tile, &self.entry(at)?) {
            Entry::Void => Ok(None),
            Entry::Tile { at, is_plain } => {
                let mask = self.catalog.mask_of(is_plain);
                Ok(Some(Tile { at, mask }))
            }
            Entry::Damaged => Err(Error::damaged(format!(
                "index entry at byte {at}, of tile {}: its checksum does not hold",
                show_tile(tile)
            ))),
        }
    }

    fn entry(&mut self, at: u64) -> Result<[u8; ENTRY_BYTES as usize]> {
        let start = at - at % BLOCK;
        if self.block.as_ref().is_none_or(|&(have, _)| have != start) {
            // Tables are whole pages, so a block never reaches past the file.
            self.block = Some((start, self.storage.read(start, BLOCK)?));
        }
        let bytes = self
            .block
            .as_ref()
            .map(|(_, bytes)| &bytes[(at - start) as usize..]);
        let found = bytes.and_then(|bytes| bytes.first_chunk().copied());
        found.ok_or_else(|| Error::damaged(format!("index entry at byte {at} is cut short")))
    }
}

/// A tile's coordinates as messages write them.
pub fn show_tile(tile: &Coordinates) -> String {
    let used = tile
        .iter()
        .rposition(|&at| at > 0)
        .map_or(3, |last| last + 1)
        .max(3);
    format!("{:?}", &tile[..used])
}

/// The tables to add so that the tiles `0..upto` are covered. `allocate` finds
/// room for so many bytes of zeros.
pub fn grow(
    boxes: &mut Vec<IndexBox>,
    upto: &Coordinates,
    allocate: &mut dyn FnMut(u64) -> Result<u64>,
) -> Result<()> {
    let mut extent = [0; MAX_RANK];
    for b in boxes.iter() {
        for (axis, extent) in extent.iter_mut().enumerate() {
            *extent = b.hi[axis].max(*extent);
        }
    }
    let mut add = |lo: Coordinates, hi: Coordinates| -> Result<()> {
        let mut new = IndexBox {
            lo: lo.to_vec(),
            hi: hi.to_vec(),
            at: 0,
        };
        let bytes = new.bytes().ok_or_else(|| {
            Error::input(format!("an index of {} tiles is too large", show_tile(&hi)))
        })?;
        new.at = allocate(bytes)?;
        boxes.push(new);
        Ok(())
    };
    if extent == [0; MAX_RANK] {
        return match upto.contains(&0) {
            true => Ok(()),
            false => add([0; MAX_RANK], *upto),
        };
    }
    for axis in 0..MAX_RANK {
        if upto[axis] > extent[axis] {
            let mut lo = [0; MAX_RANK];
            lo[axis] = extent[axis];
            extent[axis] = upto[axis].max(extent[axis].saturating_mul(2));
            add(lo, extent)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tile_has_one_entry_however_the_axes_grew() {
        let mut boxes = Vec::new();
        let mut end = 8192;
        let mut allocate = |bytes: u64| {
            let at = end;
            end += bytes;
            Ok(at)
        };
        let mut upto = [1; MAX_RANK];
        for (axis, len) in [
            (0, 3),
            (2, 2),
            (1, 2),
            (2, 9),
            (0, 4),
            (3, 2),
            (2, 40),
            (1, 11),
        ] {
            upto[axis] = len;
            grow(&mut boxes, &upto, &mut allocate).unwrap();
        }
        assert!(boxes.len() < 10);
        let mut seen = std::collections::HashSet::new();
        for x in 0..upto[0] {
            for y in 0..upto[1] {
                for z in 0..upto[2] {
                    for w in 0..upto[3] {
                        let at = locate(&boxes, &[x, y, z, w, 0, 0, 0, 0]).unwrap();
                        assert!(8192 <= at && at + ENTRY_BYTES <= end && seen.insert(at));
                    }
                }
            }
        }
        assert_eq!(locate(&boxes, &[0, 0, 0, 0, 1, 0, 0, 0]), None);
    }
}
