//! Piece tables on disk: short ones in the catalog, long ones beside it.
//!
//! A table of thousands of pieces is written once in a while; the catalogs after
//! it hold the changes since. So a commit costs a few KiB however many pieces an
//! axis has.

use super::pieces::Pieces;
use super::snapshot::read_checked;
use crate::error::{Error, Result};
use crate::format::catalog::{Axis, PIECE_BYTES, Piece, PieceTable, Splice, check_pieces};
use crate::format::{Extent, take_u64};
use crate::storage::Storage;

/// So many pieces stand in the catalog itself.
const INLINE: usize = if cfg!(test) { 2 } else { 64 };

/// Reads the pieces of an axis.
pub(super) fn load(storage: &dyn Storage, axis: &Axis) -> Result<Pieces> {
    let Some(table) = &axis.table else {
        return Ok(Pieces::new(&axis.pieces));
    };
    let bytes = read_checked(storage, &table.extent, "piece table")?;
    let numbers = bytes.chunks_exact(PIECE_BYTES as usize);
    let read = |chunk: &[u8]| Some(Piece(take_u64(chunk, 0)?, take_u64(chunk, 8)?));
    let listed: Vec<Piece> = numbers.filter_map(read).collect();
    let wrong = |error: Error| {
        Error::damaged(format!(
            "piece table of {} at byte {}: {error}",
            axis.name, table.extent.at
        ))
    };
    check_pieces(&listed, axis.slots).map_err(wrong)?;
    let mut pieces = Pieces::new(&listed);
    for &Splice(position, removed, slot, len) in &axis.splices {
        let before = pieces.len();
        let end = position.checked_add(removed);
        if end.is_none_or(|end| end > before) {
            return Err(wrong(Error::damaged(format!(
                "splice at {position} of {removed}, past the length {before}"
            ))));
        }
        // No slot stands twice, so the axis is never longer than its slots.
        let slots = slot.checked_add(len).filter(|&end| end <= axis.slots);
        let after = (before - removed).checked_add(len);
        if slots.is_none() || after.is_none_or(|after| after > axis.slots) {
            return Err(wrong(Error::damaged(format!(
                "splice of [{slot}, {len}] into {before} positions, of {} slots",
                axis.slots
            ))));
        }
        pieces.splice(position, removed, slot, len);
    }
    // Slots of the splices are checked with all others.
    check_pieces(pieces.as_slice(), axis.slots).map_err(wrong)?;
    Ok(pieces)
}

/// How one axis changed since its table was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    table: Option<PieceTable>,
    splices: Vec<Splice>,
}

impl Changes {
    pub(super) fn of(axis: Option<&Axis>) -> Changes {
        axis.map_or_else(Changes::default, |axis| Changes {
            table: axis.table,
            splices: axis.splices.clone(),
        })
    }

    /// Remembers a change.
    pub(super) fn splice(&mut self, position: u64, removed: u64, slot: u64, len: u64) {
        if self.table.is_none() {
            return;
        }
        match self.splices.last_mut() {
            // What follows the last change, in position and in slots, extends it.
            Some(Splice(at, _, first, count))
                if removed == 0
                    && *count > 0
                    && *at + *count == position
                    && *first + *count == slot =>
            {
                *count += len;
            }
            _ => self.splices.push(Splice(position, removed, slot, len)),
        }
    }

    /// Forgets the table: the pieces are others altogether.
    pub(super) fn reset(&mut self) {
        *self = Changes::default();
    }

    /// Puts the pieces into an axis of the catalog. `store` finds a place for a
    /// new table.
    pub(super) fn save(
        &mut self,
        pieces: &Pieces,
        axis: &mut Axis,
        store: &mut dyn FnMut(&[u8]) -> Extent,
    ) {
        let list = pieces.as_slice();
        if list.len() <= INLINE {
            self.reset();
            axis.pieces = list.to_vec();
        } else {
            // A change costs a catalog some 20 bytes in every commit until the
            // table is written anew, which costs 16 bytes a piece: the sum is
            // least when changes number about the root of the pieces.
            let most = INLINE + list.len().isqrt();
            if self.table.is_none() || self.splices.len() > most {
                let numbers = list.iter().flat_map(|&Piece(slot, len)| [slot, len]);
                let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
                self.splices.clear();
                self.table = Some(PieceTable {
                    pieces: list.len() as u64,
                    extent: store(&bytes),
                });
            }
            axis.pieces = Vec::new();
        }
        axis.table = self.table;
        axis.splices = self.splices.clone();
    }
}
