//! Is void still void? Samples that no frame brought have no checksum, but what
//! they are is known: they read as pad.
//!
//! A command writes to slots that it was the first to be handed, on the axis it
//! grows. So where the slots on every axis belong to some frame or position, only
//! frames have written; and frames do not overlap. It is therefore enough to
//! count: in those slots stand as many samples other than pad as in all frames.

use std::sync::Arc;

use super::Coordinates;
use super::pieces::{Runs, joined};
use super::snapshot::Snapshot;
use super::tiles::Geometry;
use super::verify::{Fault, each_entry};
use crate::error::Result;
use crate::format::catalog::Piece;
use crate::format::entry::Entry;
use crate::format::ledger::Record;
use crate::region::MAX_RANK;
use crate::storage::copied::Copied;

/// Runs are joined when so many have gathered since they were last.
const GATHERED: usize = 1 << 16;

/// The slots that belong to some frame or position.
pub struct Owned {
    runs: [Runs; MAX_RANK],
    joined: [usize; MAX_RANK],
    /// Samples of all frames.
    samples: u128,
}

impl Owned {
    /// Those of a commit's positions.
    pub fn new(snapshot: &Snapshot) -> Owned {
        let runs: [Runs; MAX_RANK] = std::array::from_fn(|axis| {
            let pieces = snapshot.pieces[axis].as_slice().iter();
            joined(pieces.map(|&Piece(slot, len)| (slot, slot + len)).collect())
        });
        Owned {
            joined: std::array::from_fn(|axis| runs[axis].len()),
            runs,
            samples: 0,
        }
    }

    /// Those of a frame too.
    pub fn add(&mut self, record: &Record) {
        self.samples += u128::from(record.samples().unwrap_or(0));
        for (axis, slots) in record.slots.iter().enumerate().take(MAX_RANK) {
            let runs = &mut self.runs[axis];
            for &Piece(slot, len) in slots {
                let end = slot.saturating_add(len);
                match runs.last_mut() {
                    Some(last) if last.0 <= slot && slot <= last.1 => last.1 = last.1.max(end),
                    _ => runs.push((slot, end)),
                }
            }
            if runs.len() > self.joined[axis] + GATHERED {
                *runs = joined(std::mem::take(runs));
                self.joined[axis] = runs.len();
            }
        }
    }

    /// Do the frames fill all of it, so that there is no void to look at?
    pub fn is_filled(&mut self) -> bool {
        for runs in &mut self.runs {
            *runs = joined(std::mem::take(runs));
        }
        let lens = self.runs.iter().map(|runs| {
            let lens = runs.iter().map(|(lo, hi)| u128::from(hi - lo));
            lens.sum::<u128>()
        });
        let all = lens.fold(1, u128::saturating_mul);
        self.samples == all
    }

    /// Holds what stands in the tiles against the samples other than pad that the
    /// frames have. `go_on` is told of bytes as they are read, and says whether to.
    ///
    /// # Errors
    /// When a tile cannot be read, or it is not to go on.
    pub fn fault(
        &self,
        snapshot: &Snapshot,
        brought: u64,
        go_on: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Option<Fault>> {
        let storage = Copied(Arc::clone(&snapshot.storage));
        let geometry = snapshot.geometry;
        let catalog = &snapshot.catalog;
        let mut buffer = Vec::new();
        let mut found = 0;
        for index in &catalog.index {
            each_entry(&storage, index, &mut |_, tile, entry| {
                let Ok(Entry::Tile { at, is_plain }) = entry else {
                    return Ok(());
                };
                let inside = std::array::from_fn(|axis| {
                    within(&self.runs[axis], tile[axis], geometry.tile[axis])
                });
                if inside.iter().all(|runs: &Runs| !runs.is_empty()) {
                    buffer.resize(geometry.bytes, 0);
                    crate::storage::Storage::read_into(&storage, at, &mut buffer)?;
                    let bits = catalog.pad ^ catalog.mask_of(is_plain);
                    found += count(&buffer, &geometry, &inside, bits);
                    go_on(geometry.bytes as u64)?;
                }
                Ok(())
            })?;
        }
        let what = match found.checked_sub(brought) {
            Some(0) => return Ok(None),
            Some(more) => format!("{more} samples that no frame brought are not void"),
            None => format!(
                "the tiles hold {found} samples that are not void, the frames {brought}: some overlap"
            ),
        };
        Ok(Some(Fault {
            what,
            ..Fault::default()
        }))
    }
}

/// The runs that lie in a tile, as coordinates inside it.
fn within(runs: &Runs, tile: u64, len: u64) -> Runs {
    // An index may lie about tiles that no slot is in.
    let from = tile.saturating_mul(len);
    let upto = from.saturating_add(len);
    let first = runs.partition_point(|run| run.1 <= from);
    let here = runs[first..].iter().take_while(|run| run.0 < upto);
    here.map(|&(lo, hi)| (lo.max(from) - from, hi.min(upto) - from))
        .collect()
}

/// How many samples of a tile are not `bits`, in these runs.
fn count(tile: &[u8], geometry: &Geometry, runs: &[Runs; MAX_RANK], bits: u64) -> u64 {
    let mut which = [0; MAX_RANK];
    let mut inner: Coordinates = std::array::from_fn(|axis| runs[axis][0].0);
    let mut sum = 0;
    loop {
        for &(lo, hi) in &runs[0] {
            inner[0] = lo;
            let from = geometry.offset(&inner);
            let row = &tile[from..from + (hi - lo) as usize * geometry.size];
            sum += count_other(row, bits, geometry.size);
        }
        let step = (1..MAX_RANK).find(|&axis| {
            inner[axis] += 1;
            if inner[axis] == runs[axis][which[axis]].1 {
                which[axis] = (which[axis] + 1) % runs[axis].len();
                inner[axis] = runs[axis][which[axis]].0;
                return which[axis] > 0;
            }
            true
        });
        if step.is_none() {
            return sum;
        }
    }
}

/// How many of these samples are not `bits`.
pub(super) fn count_other(samples: &[u8], bits: u64, size: usize) -> u64 {
    fn others<const N: usize>(samples: &[u8], bits: u64) -> u64 {
        let bits = bits.to_le_bytes();
        let same = |sample: &&[u8; N]| sample[..] != bits[..N];
        samples.as_chunks::<N>().0.iter().filter(same).count() as u64
    }
    match size {
        1 => others::<1>(samples, bits),
        2 => others::<2>(samples, bits),
        4 => others::<4>(samples, bits),
        _ => others::<8>(samples, bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;

    #[test]
    fn samples_are_counted_in_the_runs_alone() {
        let geometry = Geometry::new(&[4, 3, 2], DType::U16);
        let tile: Vec<u8> = (0..24u16).flat_map(u16::to_le_bytes).collect();
        let mut runs: [Runs; MAX_RANK] = std::array::from_fn(|_| vec![(0, 1)]);
        runs[0] = vec![(0, 1), (2, 4)];
        runs[1] = vec![(0, 1), (2, 3)];
        runs[2] = vec![(1, 2)];
        // z 1: elements 12 to 23; of rows 0 and 2 the columns 0, 2 and 3.
        assert_eq!(count(&tile, &geometry, &runs, 0), 6);
        assert_eq!(count(&tile, &geometry, &runs, 14), 5);
        assert_eq!(count(&tile, &geometry, &runs, 13), 6);
        runs[2] = vec![(0, 2)];
        assert_eq!(count(&tile, &geometry, &runs, 0), 11);
        assert_eq!(within(&vec![(1, 3), (5, 9)], 1, 4), [(1, 4)]);
        assert_eq!(within(&vec![(1, 3), (5, 9)], 0, 4), [(1, 3)]);
        assert_eq!(
            within(&vec![(0, 2), (5, 9)], crate::format::MAX_OFFSET, 64),
            []
        );
        assert_eq!(within(&vec![(0, 2), (6, 7), (7, 20)], 1, 8), [(0, 8)]);
    }
}
