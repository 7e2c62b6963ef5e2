//! Long lines of whole numbers: which values lie about a median is counted, as many
//! samples share few of them, instead of dealing samples and sorting.

use super::isa::{Isa, Kernel, make_room, run};
use super::{LANES, Level, Rows};

/// Rows that are looked at while they are near the processor.
const BLOCK: usize = 32;

/// Bounds below it, and above as much below 0, are exact.
const GREATEST: f32 = 4e6;

/// Most values that are counted: more take too long.
const MOST: f32 = 3.0;

/// Bounds to hold samples against: the first value, and the one after each.
const BOUNDS: usize = 4;

type Row = [f32; LANES];

/// Values to count, one after the other from these on.
pub(super) struct Values(Row);

/// What was counted.
pub(super) struct Counted {
    /// Samples below each bound.
    below: [[u32; LANES]; BOUNDS],
    /// Samples that are not NaN, if no ends are listed.
    pub(super) counted: [u32; LANES],
    /// How many of the ends are listed.
    pub(super) n_ends: usize,
}

impl Values {
    /// The values in bands, unless they are too many. A band may be empty.
    pub(super) fn between(from: &Row, to: &Row) -> Option<Values> {
        let mut first = [f32::NEG_INFINITY; LANES];
        let mut most = 0.0f32;
        for lane in 0..LANES {
            if from[lane] > to[lane] {
                continue;
            }
            if !(from[lane] > -GREATEST && to[lane] < GREATEST) {
                return None;
            }
            first[lane] = from[lane].ceil();
            most = most.max(to[lane].floor() - first[lane] + 1.0);
        }
        (most <= MOST).then_some(Values(first))
    }

    /// Counts samples of these values; lists ends, or else counts all samples.
    pub(super) fn count(&self, level: Level, rows: &[Row], ends: Option<Ends<'_>>) -> Counted {
        run(level, Count(&self.0, rows, ends))
    }
}

/// Where to list samples outside bounds.
pub(super) struct Ends<'a> {
    pub(super) from: &'a Row,
    pub(super) to: &'a Row,
    pub(super) list: &'a mut Vec<u32>,
}

/// Counts samples below bounds from a first one on.
struct Count<'a>(&'a Row, &'a [Row], Option<Ends<'a>>);

impl Kernel for Count<'_> {
    type Out = Counted;

    #[inline(always)]
    fn run<I: Isa>(self) -> Counted {
        let Count(first, rows, mut ends) = self;
        let mut below = [[0; LANES]; BOUNDS];
        let mut counted = [0; LANES];
        let mut n_ends = 0;
        for (number, block) in rows.chunks(BLOCK).enumerate() {
            count(block, first, &mut below);
            if let Some(Ends { from, to, list }) = &mut ends {
                make_room(list, n_ends, BLOCK);
                for (k, row) in block.iter().enumerate() {
                    let bits = I::outside(row, from, to);
                    if bits != 0 {
                        let base = (number * BLOCK + k) * LANES;
                        n_ends = I::push(list, n_ends, base as u32, bits);
                    }
                }
            } else {
                for at in (0..LANES).step_by(8) {
                    let mut some = [0u32; 8];
                    for row in block {
                        for k in 0..8 {
                            some[k] += u32::from(!row[at + k].is_nan());
                        }
                    }
                    for k in 0..8 {
                        counted[at + k] += some[k];
                    }
                }
            }
        }
        Counted {
            below,
            counted,
            n_ends,
        }
    }
}

/// Counts samples below `first`, below the next whole number, and so on.
#[inline(always)]
fn count(rows: &[Row], first: &Row, below: &mut [[u32; LANES]; BOUNDS]) {
    // Eight lanes at a time, for which a machine has registers.
    for at in (0..LANES).step_by(8) {
        let mut some = [[0u32; 8]; BOUNDS];
        for row in rows {
            for bound in 0..BOUNDS {
                for k in 0..8 {
                    let is_below = row[at + k] < first[at + k] + bound as f32;
                    some[bound][k] += u32::from(is_below);
                }
            }
        }
        for bound in 0..BOUNDS {
            for k in 0..8 {
                below[bound][at + k] += some[bound][k];
            }
        }
    }
}

impl Counted {
    /// Writes sorted samples about the medians, as many rows as asked for at most.
    /// `lowest` samples below are left out of ranks, of `counted`. Tells the rank of
    /// the first sample of each lane, and how many follow that are there.
    pub(super) fn middle(
        &self,
        values: &Values,
        counted: &[u32; LANES],
        lowest: &[u32; LANES],
        rows: usize,
        into: &mut Rows<f32>,
    ) -> ([u32; LANES], [u32; LANES]) {
        into.fill_with(rows, f32::INFINITY);
        let (mut first, mut n) = ([0; LANES], [0; LANES]);
        for lane in 0..LANES {
            let below = |bound: usize| self.below[bound][lane].saturating_sub(lowest[lane]);
            let start = (counted[lane] / 2).saturating_sub(rows as u32 / 2);
            let from = below(0).max(start);
            let to = below(BOUNDS - 1).min(start + rows as u32);
            first[lane] = from;
            n[lane] = to.saturating_sub(from);
            let mut value = 0;
            for k in 0..n[lane] {
                while from + k >= below(value + 1) {
                    value += 1;
                }
                into[k as usize][lane] = values.0[lane] + value as f32;
            }
        }
        (first, n)
    }
}
