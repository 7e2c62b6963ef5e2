//! Which samples a frame brought, by the frames' boxes.
//!
//! Where the value that void reads as is a possible one, a sample cannot tell
//! whether it is data; the frames' records can. A frame is a run of slots on each
//! axis, or a few; what they span is covered.

use std::collections::HashMap;

use super::pieces::{Runs, holds, joined};
use super::snapshot::Snapshot;
use super::tiles::Segment;
use crate::error::Result;
use crate::format::catalog::Piece;
use crate::kernels::clip::LANES;
use crate::region::MAX_RANK;

/// What the frames of a commit cover of a region, seen along one axis.
pub(super) struct Coverage {
    /// Sets of runs that frames have across the axis, by number.
    runs: Vec<Runs>,
    /// Which of them a class of frames has on each axis.
    classes: Vec<[u32; MAX_RANK]>,
    /// Numbers of samples along lines, `lo..hi`, that a class covers.
    spans: Vec<(u64, u64, u32)>,
}

/// What frames cover of the lines of one column.
pub(super) struct ColumnCoverage {
    /// Rows `lo..hi` and the class that covers them.
    spans: Vec<(usize, usize, u32)>,
    /// Sets of runs on the axes that must be looked at, by class that occurs.
    classes: Vec<(u32, Vec<(usize, Runs)>)>,
}

fn meet(runs: &Runs, wanted: &Runs) -> bool {
    runs.iter().any(|&(lo, hi)| {
        let next = wanted.partition_point(|run| run.1 <= lo);
        wanted.get(next).is_some_and(|run| run.0 < hi)
    })
}

/// Slots that a segment reaches over, those stepped over included.
pub(super) fn slots_of(segment: &Segment, tile: u64) -> (u64, u64) {
    let first = segment.tile * tile + segment.inner;
    let last = first.wrapping_add_signed(segment.step * (segment.len as i64 - 1));
    (first.min(last), first.max(last) + 1)
}

impl Coverage {
    /// Looks through the frames' records; `None` when they cover the region
    /// wholly. `segments` are those of the region on each axis.
    pub(super) fn of(
        snapshot: &Snapshot,
        axis: usize,
        segments: &[Vec<Segment>; MAX_RANK],
    ) -> Result<Option<Coverage>> {
        let tile = snapshot.geometry.tile;
        let wanted: [Runs; MAX_RANK] = std::array::from_fn(|other| {
            let runs = segments[other].iter();
            joined(runs.map(|segment| slots_of(segment, tile[other])).collect())
        });
        let bounds = wanted
            .each_ref()
            .map(|runs| match (runs.first(), runs.last()) {
                (Some(first), Some(last)) => first.0..last.1,
                _ => 0..0,
            });
        let mut numbers: HashMap<Runs, u32> = HashMap::new();
        let mut runs: Vec<Runs> = Vec::new();
        let mut class_numbers: HashMap<[u32; MAX_RANK], u32> = HashMap::new();
        let mut classes: Vec<[u32; MAX_RANK]> = Vec::new();
        // Slots on the axis, and the class that covers them.
        let mut along: Vec<(u64, u64, u32)> = Vec::new();
        snapshot.for_each_record_of(&bounds, &mut |record| {
            let mut key = [0; MAX_RANK];
            let mut own = Runs::new();
            for (other, slots) in record.slots.iter().enumerate() {
                let slots = slots.iter();
                let slots = slots.map(|&Piece(slot, len)| (slot, slot.saturating_add(len)));
                let slots = joined(slots.collect());
                if !meet(&slots, &wanted[other]) {
                    return Ok(());
                }
                if other == axis {
                    own = slots;
                    continue;
                }
                key[other] = match numbers.get(&slots) {
                    Some(&number) => number,
                    None => {
                        let number = runs.len() as u32;
                        runs.push(slots.clone());
                        numbers.insert(slots, number);
                        number
                    }
                };
            }
            let class = *class_numbers.entry(key).or_insert_with(|| {
                classes.push(key);
                classes.len() as u32 - 1
            });
            for (lo, hi) in own {
                match along.last_mut() {
                    Some(last) if last.2 == class && last.1 == lo => last.1 = hi,
                    _ => along.push((lo, hi, class)),
                }
            }
            Ok(())
        })?;
        // Frames have no sample in common: all are covered when as many as all are.
        let by_slot: [SegmentsBySlot; MAX_RANK] =
            std::array::from_fn(|other| SegmentsBySlot::new(&segments[other], tile[other]));
        let across = |class: &[u32; MAX_RANK]| {
            let others = (0..MAX_RANK).filter(|&other| other != axis);
            others.fold(1, |samples: u128, other| {
                samples.saturating_mul(by_slot[other].count(&runs[class[other] as usize]))
            })
        };
        let across: Vec<u128> = classes.iter().map(across).collect();
        let spans = by_slot[axis].numbers_of(&along);
        let covered = spans.iter().fold(0, |samples: u128, &(lo, hi, class)| {
            samples.saturating_add(u128::from(hi - lo).saturating_mul(across[class as usize]))
        });
        let lens = segments.iter().map(|segments| {
            let lens = segments.iter().map(|segment| u128::from(segment.len));
            lens.sum::<u128>()
        });
        if covered == lens.fold(1, u128::saturating_mul) {
            return Ok(None);
        }
        Ok(Some(Coverage {
            runs,
            classes,
            spans,
        }))
    }

    /// What is covered of a column whose lines lie in these slots, and whose rows
    /// are these samples of a line, ascending.
    pub(super) fn of_column(
        &self,
        axis: usize,
        slots: &[Vec<u64>; MAX_RANK],
        rows: &dyn Fn(u64) -> usize,
    ) -> ColumnCoverage {
        let mut seen: HashMap<u32, bool> = HashMap::new();
        let mut classes = Vec::new();
        let mut spans = Vec::new();
        for &(lo, hi, class) in &self.spans {
            let occurs = *seen.entry(class).or_insert_with(|| {
                let mut partly = Vec::new();
                for other in (0..MAX_RANK).filter(|&other| other != axis) {
                    let runs = &self.runs[self.classes[class as usize][other] as usize];
                    let inside = slots[other].iter().filter(|&&slot| holds(runs, slot));
                    match inside.count() {
                        0 => return false,
                        n if n == slots[other].len() => {}
                        _ => partly.push((other, runs.clone())),
                    }
                }
                classes.push((class, partly));
                true
            });
            let (lo, hi) = (rows(lo), rows(hi));
            if occurs && lo < hi {
                spans.push((lo, hi, class));
            }
        }
        classes.sort_unstable_by_key(|&(class, _)| class);
        ColumnCoverage { spans, classes }
    }
}

/// The segments of an axis with the slots that they reach over, sorted by these.
struct SegmentsBySlot<'a>(Vec<(u64, u64, &'a Segment)>);

impl SegmentsBySlot<'_> {
    fn new(segments: &[Segment], tile: u64) -> SegmentsBySlot<'_> {
        let segments = segments.iter().map(|segment| {
            let (lo, hi) = slots_of(segment, tile);
            (lo, hi, segment)
        });
        let mut sorted: Vec<(u64, u64, &Segment)> = segments.collect();
        sorted.sort_unstable_by_key(|&(lo, ..)| lo);
        SegmentsBySlot(sorted)
    }

    /// How many samples of a line lie in these slots.
    fn count(&self, runs: &Runs) -> u128 {
        let runs: Vec<(u64, u64, u32)> = runs.iter().map(|&(lo, hi)| (lo, hi, 0)).collect();
        let spans = self.numbers_of(&runs);
        spans.iter().map(|&(lo, hi, _)| u128::from(hi - lo)).sum()
    }

    /// Spans of slots as numbers of the samples of a line.
    fn numbers_of(&self, along: &[(u64, u64, u32)]) -> Vec<(u64, u64, u32)> {
        let sorted = &self.0;
        let mut out: Vec<(u64, u64, u32)> = Vec::new();
        for &(lo, hi, class) in along {
            let mut next = sorted.partition_point(|&(_, end, _)| end <= lo);
            while let Some(&(start, end, segment)) = sorted.get(next).filter(|run| run.0 < hi) {
                // Of the slots `start + n * step`, those from `lo` to `hi`.
                let step = segment.step.unsigned_abs();
                let from = lo.max(start).abs_diff(start).div_ceil(step);
                let upto = (hi.min(end) - start).div_ceil(step);
                let (from, upto) = match segment.step > 0 {
                    true => (from, upto),
                    // The first sample has the greatest slot.
                    false => (segment.len - upto, segment.len - from),
                };
                let span = (segment.first + from, segment.first + upto, class);
                match out.last_mut() {
                    Some(last) if last.2 == class && last.1 == span.0 => last.1 = span.1,
                    _ if span.0 < span.1 => out.push(span),
                    _ => {}
                }
                next += 1;
            }
        }
        out
    }
}

impl ColumnCoverage {
    /// Says, row by row, which lanes of a block are covered: bit `l` for lane `l`.
    /// `slots` are those of the lanes.
    pub(super) fn of_block(
        &self,
        slots: &[[u64; MAX_RANK]; LANES],
        rows: usize,
        out: &mut Vec<u16>,
    ) {
        out.clear();
        out.resize(rows, 0);
        let lanes: Vec<u16> = self
            .classes
            .iter()
            .map(|(_, partly)| {
                let inside = |lane: usize| {
                    let mut axes = partly.iter();
                    axes.all(|(axis, runs)| holds(runs, slots[lane][*axis]))
                };
                (0..LANES).fold(0, |bits, lane| bits | u16::from(inside(lane)) << lane)
            })
            .collect();
        for &(lo, hi, class) in &self.spans {
            let found = self.classes.binary_search_by_key(&class, |entry| entry.0);
            let bits = found.map_or(0, |number| lanes[number]);
            for row in &mut out[lo..hi] {
                *row |= bits;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::pieces::Pieces;
    use crate::engine::tiles::cut_span;
    use crate::region::Span;

    #[test]
    fn runs_are_joined_and_found() {
        let runs = joined(vec![(7, 9), (0, 3), (3, 5), (8, 12)]);
        assert_eq!(runs, [(0, 5), (7, 12)]);
        for slot in 0..14 {
            assert_eq!(holds(&runs, slot), slot < 5 || (7..12).contains(&slot));
        }
        assert!(meet(&runs, &vec![(5, 8)]) && !meet(&runs, &vec![(5, 7), (12, 20)]));
    }

    #[test]
    fn spans_of_slots_become_samples_of_a_line_whatever_the_pieces() {
        let pieces = Pieces::default()
            .insert(0, 0, 20)
            .insert(7, 30, 5)
            .insert(3, 41, 9);
        let along = [(2, 9, 0), (9, 11, 1), (31, 33, 2), (40, 60, 3), (15, 16, 2)];
        for span in [
            Span::run(0, 34),
            Span {
                start: 33,
                step: -1,
                len: 34,
            },
            Span {
                start: 31,
                step: -3,
                len: 10,
            },
            Span {
                start: 1,
                step: 4,
                len: 8,
            },
        ] {
            let segments = cut_span(&pieces, &span, 4);
            let mut expected = vec![None; span.len as usize];
            for (k, class) in expected.iter_mut().enumerate() {
                let slot = pieces.slot(span.at(k as u64)).unwrap();
                let found = along.iter().find(|run| run.0 <= slot && slot < run.1);
                *class = found.map(|run| run.2);
            }
            let mut found = vec![None; span.len as usize];
            for (lo, hi, class) in SegmentsBySlot::new(&segments, 4).numbers_of(&along) {
                found[lo as usize..hi as usize].fill(Some(class));
            }
            assert_eq!(found, expected, "{span:?}");
        }
    }
}
