//! The piece table of an axis: which slots its positions are, in order.
//!
//! The order in which positions are read is kept apart from the order in which
//! they were written, so inserting, deleting and moving change this table and
//! nothing else. Neighbouring pieces whose slots follow each other are always
//! one piece.

use crate::error::{Error, Result};
use crate::format::catalog::Piece;
use crate::format::{MAX_AXIS_TILES, MAX_PIECES};
use crate::region::AXIS_NAMES;

/// The pieces of one axis, with the position at which each begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    pieces: Vec<Piece>,
    /// Position of the first slot of each piece, and the axis's length at the end.
    starts: Vec<u64>,
}

/// Slots or positions `lo..hi` of one axis, sorted and apart.
pub type Runs = Vec<(u64, u64)>;

/// The runs that all of these make, sorted and joined.
pub fn joined(mut runs: Runs) -> Runs {
    runs.sort_unstable();
    let mut out: Runs = Vec::with_capacity(runs.len());
    for (lo, hi) in runs {
        match out.last_mut() {
            Some(last) if lo <= last.1 => last.1 = last.1.max(hi),
            _ => out.push((lo, hi)),
        }
    }
    out
}

/// Is the slot in one of these runs, which are sorted and apart?
pub(super) fn holds(runs: &Runs, slot: u64) -> bool {
    let next = runs.partition_point(|&(lo, _)| lo <= slot);
    next.checked_sub(1).is_some_and(|run| slot < runs[run].1)
}

/// Consecutive positions in consecutive slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first position, relative to what was asked for.
    pub position: u64,
    /// Its slot.
    pub slot: u64,
    /// How many.
    pub len: u64,
}

impl Default for Pieces {
    /// An axis of no length.
    fn default() -> Pieces {
        Pieces::new(&[])
    }
}

impl Pieces {
    /// Takes the pieces of a catalog that has been validated.
    pub fn new(pieces: &[Piece]) -> Pieces {
        let pieces = merged(pieces);
        let mut starts = Vec::with_capacity(pieces.len() + 1);
        let mut position = 0;
        for &Piece(_, len) in &pieces {
            starts.push(position);
            position += len;
        }
        starts.push(position);
        Pieces { pieces, starts }
    }

    /// An axis of length 1 that nobody has touched: what every cube has beyond
    /// its last axis.
    pub fn single() -> Pieces {
        Pieces::new(&[Piece(0, 1)])
    }

    /// The pieces, in order.
    pub fn as_slice(&self) -> &[Piece] {
        &self.pieces
    }

    /// How many positions the axis has.
    pub fn len(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Has the axis no position?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Can an axis with tiles of this length have these pieces? What is read of a cube
    /// is held tile by tile and piece by piece.
    ///
    /// # Errors
    /// `Unsupported`, with both numbers.
    pub(super) fn check(&self, axis: usize, tile: u64) -> Result<()> {
        let name = AXIS_NAMES[axis];
        let (tiles, pieces) = (self.len().div_ceil(tile), self.pieces.len() as u64);
        if tiles > MAX_AXIS_TILES {
            return Err(Error::unsupported(format!(
                "axis {name} has {} positions, {tiles} tiles of {tile}: no more than \
                 {MAX_AXIS_TILES} can be read",
                self.len()
            )));
        }
        if pieces > MAX_PIECES {
            return Err(Error::unsupported(format!(
                "axis {name} is in {pieces} pieces: no more than {MAX_PIECES} can be read"
            )));
        }
        Ok(())
    }

    /// Index of the piece that holds `position`; how many there are, at the end.
    fn piece_of(&self, position: u64) -> usize {
        self.starts.partition_point(|&start| start <= position) - 1
    }

    /// The slot of a position, and how many positions from it on have slots that follow
    /// each other; `None` outside the axis.
    pub fn run_from(&self, position: u64) -> Option<(u64, u64)> {
        (position < self.len()).then(|| {
            let piece = self.piece_of(position);
            let slot = self.pieces[piece].0 + (position - self.starts[piece]);
            (slot, self.starts[piece + 1] - position)
        })
    }

    /// The slot of a position, `None` outside the axis.
    pub fn slot(&self, position: u64) -> Option<u64> {
        self.run_from(position).map(|(slot, _)| slot)
    }

    /// The runs that the positions `start..start + len` are made of.
    pub fn runs(&self, start: u64, len: u64) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut done = 0;
        while done < len
            && let Some((slot, left)) = self.run_from(start.saturating_add(done))
        {
            let len = left.min(len - done);
            runs.push(Run {
                position: done,
                slot,
                len,
            });
            done += len;
        }
        runs
    }

    /// Takes `removed` positions from `position` away and puts `len` slots from
    /// `slot` in there. Only the pieces around it are joined anew; those behind are
    /// moved. It is for a few changes: many at once are [`Pieces::without`] and
    /// [`Pieces::moved`].
    pub fn splice(&mut self, position: u64, removed: u64, slot: u64, len: u64) {
        let end = position.saturating_add(removed).min(self.len());
        let position = position.min(end);
        // At the axis's end these are one past the last piece.
        let (first, last) = (self.piece_of(position), self.piece_of(end));
        // What is put in may go on where the piece before it ends.
        let from = first.saturating_sub(1);
        let mut around = self.pieces[from..first].to_vec();
        if let Some(&Piece(slot, _)) = self.pieces.get(first) {
            around.push(Piece(slot, position - self.starts[first]));
        }
        around.push(Piece(slot, len));
        if let Some(&Piece(slot, len)) = self.pieces.get(last) {
            let gone = end - self.starts[last];
            around.push(Piece(slot + gone, len - gone));
        }
        let around = merged(&around);
        let upto = self.pieces.len().min(last + 1);
        let mut start = self.starts[from];
        let starts: Vec<u64> = around
            .iter()
            .map(|&Piece(_, len)| {
                let here = start;
                start += len;
                here
            })
            .collect();
        for later in &mut self.starts[upto..] {
            *later = *later - (end - position) + len;
        }
        self.starts.splice(from..upto, starts);
        self.pieces.splice(from..upto, around);
    }

    /// What is left without these positions, in one pass.
    #[must_use]
    pub fn without(&self, positions: &Runs) -> Pieces {
        let mut left = Vec::with_capacity(self.pieces.len() + positions.len());
        let mut next = 0;
        for &(lo, hi) in positions.iter().chain([&(self.len(), 0)]) {
            let kept = self.runs(next, lo.saturating_sub(next));
            left.extend(kept.into_iter().map(|run| Piece(run.slot, run.len)));
            next = hi;
        }
        Pieces::new(&left)
    }

    /// The positions `first..first + len` put where the first of them stands at `to`, in
    /// one pass.
    #[must_use]
    pub fn moved(&self, first: u64, len: u64, to: u64) -> Pieces {
        let rest = self.without(&vec![(first, first + len)]);
        let behind = rest.runs(to, rest.len().saturating_sub(to));
        let order = [rest.runs(0, to), self.runs(first, len), behind].concat();
        let pieces: Vec<Piece> = order.iter().map(|run| Piece(run.slot, run.len)).collect();
        Pieces::new(&pieces)
    }

    /// A table that finds positions by slot.
    pub fn by_slot(&self) -> BySlot {
        let mut pieces: Vec<(u64, u64, u64)> = self
            .pieces
            .iter()
            .zip(&self.starts)
            .map(|(&Piece(slot, len), &start)| (slot, len, start))
            .collect();
        pieces.sort_unstable();
        BySlot(pieces)
    }
}

/// Pieces with neighbours joined whose slots follow each other.
fn merged(pieces: &[Piece]) -> Vec<Piece> {
    let mut merged: Vec<Piece> = Vec::with_capacity(pieces.len());
    for &Piece(slot, len) in pieces.iter().filter(|piece| piece.1 > 0) {
        match merged.last_mut() {
            Some(last) if last.0 + last.1 == slot => last.1 += len,
            _ => merged.push(Piece(slot, len)),
        }
    }
    merged
}

/// Finds the position of a slot: `(slot, len, position)`, sorted by slot.
pub struct BySlot(Vec<(u64, u64, u64)>);

impl BySlot {
    /// The position of a slot; `None` when it is not on the axis.
    pub fn position(&self, slot: u64) -> Option<u64> {
        let before = self.0.partition_point(|&(first, _, _)| first <= slot);
        let &(first, len, position) = self.0.get(before.checked_sub(1)?)?;
        (slot - first < len).then(|| position + (slot - first))
    }

    /// The slots `slot..slot + len` as runs: the position of the first, `None`
    /// when they are not on the axis, and how many.
    pub fn runs(&self, slot: u64, len: u64) -> Vec<(Option<u64>, u64)> {
        let mut runs = Vec::new();
        let (mut slot, mut left) = (slot, len);
        while left > 0 {
            let next = self.0.partition_point(|&(first, _, _)| first <= slot);
            let here = next.checked_sub(1).map(|piece| self.0[piece]);
            let (position, most) = match here {
                Some((first, len, position)) if slot - first < len => {
                    (Some(position + (slot - first)), len - (slot - first))
                }
                _ => (None, self.0.get(next).map_or(left, |piece| piece.0 - slot)),
            };
            let len = most.min(left);
            runs.push((position, len));
            slot = slot.saturating_add(len);
            left -= len;
        }
        runs
    }
}

#[cfg(test)]
impl Pieces {
    /// This with `len` slots from `slot` before what stands at `position`.
    pub fn insert(mut self, position: u64, slot: u64, len: u64) -> Pieces {
        self.splice(position, 0, slot, len);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(pieces: &Pieces) -> Vec<u64> {
        (0..pieces.len())
            .map(|position| pieces.slot(position).unwrap())
            .collect()
    }

    #[test]
    fn random_edits_agree_with_a_plain_list() {
        let mut seed = 42u64;
        let mut below = |n: u64| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        for _ in 0..200 {
            let (mut list, mut pieces, mut next) = (Vec::new(), Pieces::default(), 0);
            for _ in 0..40 {
                let len = 1 + below(5);
                if below(3) > 0 || list.is_empty() {
                    let at = below(list.len() as u64 + 1);
                    let new = next..next + len;
                    list.splice(at as usize..at as usize, new);
                    pieces = pieces.insert(at, next, len);
                    next += len + below(2);
                } else {
                    let at = below(list.len() as u64);
                    let end = (at + len).min(list.len() as u64);
                    let early = below(at + 1);
                    let gone = joined(vec![(at, end), (early, early + 1)]);
                    let mut spliced = pieces.clone();
                    for &(lo, hi) in gone.iter().rev() {
                        list.drain(lo as usize..hi as usize);
                        spliced.splice(lo, hi - lo, 0, 0);
                    }
                    pieces = pieces.without(&gone);
                    assert_eq!(pieces, spliced);
                }
                if below(3) == 0 && !list.is_empty() {
                    let from = below(list.len() as u64);
                    let len = (1 + below(5)).min(list.len() as u64 - from);
                    let to = below(list.len() as u64 - len + 1);
                    pieces = pieces.moved(from, len, to);
                    let moved: Vec<u64> =
                        list.drain(from as usize..(from + len) as usize).collect();
                    list.splice(to as usize..to as usize, moved);
                }
                assert_eq!(slots(&pieces), list);
                assert_eq!(pieces, Pieces::new(pieces.as_slice()), "joined");
                let by_slot = pieces.by_slot();
                for slot in 0..next {
                    let expected = list.iter().position(|&found| found == slot);
                    assert_eq!(by_slot.position(slot), expected.map(|p| p as u64));
                }
                let start = below(list.len() as u64 + 1);
                let read = pieces.runs(start, 7).into_iter().flat_map(|run| {
                    assert!(run.len > 0);
                    run.slot..run.slot + run.len
                });
                let expected: Vec<u64> =
                    list.iter().skip(start as usize).take(7).copied().collect();
                assert_eq!(read.collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn a_cube_that_was_only_appended_to_has_one_piece_per_axis() {
        let pieces = Pieces::default()
            .insert(0, 0, 3)
            .insert(3, 3, 4)
            .insert(7, 7, 1);
        assert_eq!(pieces.as_slice(), [Piece(0, 8)]);
    }
}
