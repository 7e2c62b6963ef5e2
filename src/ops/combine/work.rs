//! What a thread of `combine` does with a column of tiles.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Reject, Statistic};
use crate::engine::lines::{Column, Lines};
use crate::error::Result;
use crate::kernels::clip::{Clipper, Collapser, LANES, Rows};
use crate::ops::Stop;
use crate::ops::crew::Worker;
use crate::ops::lanes::{Gathered, Group, Sample, Shares, TOLD_SAMPLES};

/// Patches that a thread holds at once, in bytes.
const HELD: u64 = 4 << 20;

/// What becomes of every line.
pub(super) struct Plan {
    pub(super) method: Statistic,
    pub(super) reject: Reject,
    /// By number along the axis: what samples are multiplied by, then what is
    /// added.
    pub(super) factors: Option<Vec<(f64, f64)>>,
    pub(super) weights: Option<Vec<f64>>,
    pub(super) wants_error: bool,
}

/// What became of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Collapsed {
    pub(super) value: f64,
    pub(super) count: u32,
    pub(super) error: f64,
}

/// Counts of samples that were left out.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct LeftOut {
    pub(super) rejected: u64,
    /// A mask says so.
    pub(super) bad: u64,
}

impl LeftOut {
    pub(super) fn add(&mut self, other: LeftOut) {
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.bad = self.bad.saturating_add(other.bad);
    }
}

/// Bytes of a line in a part: value, count, error.
pub(super) const LINE_BYTES: usize = 20;

impl Collapsed {
    pub(super) fn to_bytes(self) -> [u8; LINE_BYTES] {
        let mut bytes = [0; LINE_BYTES];
        bytes[..8].copy_from_slice(&self.value.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..].copy_from_slice(&self.error.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; LINE_BYTES]) -> Collapsed {
        let number = |at: usize| {
            bytes[at..]
                .first_chunk()
                .map_or(f64::NAN, |b| f64::from_le_bytes(*b))
        };
        Collapsed {
            value: number(0),
            count: bytes[8..]
                .first_chunk()
                .map_or(0, |bytes| u32::from_le_bytes(*bytes)),
            error: number(12),
        }
    }
}

/// One thread.
pub(super) struct Combiner<'a, L> {
    lines: &'a Lines<'a>,
    plan: &'a Plan,
    shares: Shares<'a>,
    stop: &'a Stop,
    /// Absent when nothing is clipped.
    clipper: Option<Clipper>,
    collapser: Collapser,
    gathered: Gathered<L>,
    /// The same, scaled and shifted.
    level: Rows<f64>,
    hits: Vec<u32>,
    ranked: Vec<(f64, u32)>,
    pub(super) left_out: LeftOut,
}

impl<'a, L: Sample> Combiner<'a, L> {
    pub(super) fn new(
        lines: &'a Lines<'a>,
        plan: &'a Plan,
        shares: Shares<'a>,
        stop: &'a Stop,
    ) -> Combiner<'a, L> {
        Combiner {
            lines,
            plan,
            shares,
            stop,
            clipper: match plan.reject {
                Reject::Sigma(rule) => Some(Clipper::new(rule).of_integers(lines.has_integers())),
                _ => None,
            },
            collapser: Collapser::new().of_integers(lines.has_integers()),
            gathered: Gathered::default(),
            level: Rows::new(),
            hits: Vec::new(),
            ranked: Vec::new(),
            left_out: LeftOut::default(),
        }
    }

    /// Collapses one block of lines, of which some lanes of rows may be bad.
    fn block(
        &mut self,
        column: &Column,
        rows: &mut [[L; LANES]],
        bad: &[u16],
        lines: Range<usize>,
    ) -> [Collapsed; LANES] {
        let bad = bad.iter().map(|bad| u64::from(bad.count_ones()));
        self.left_out.bad += bad.sum::<u64>();
        let mut tools = Tools {
            plan: self.plan,
            clipper: self.clipper.as_mut(),
            collapser: &mut self.collapser,
            hits: &mut self.hits,
            ranked: &mut self.ranked,
            positions: self.lines.len(),
            rejected: 0,
        };
        let used = lines.len();
        let sample = |row: usize| column.sample(row) as usize;
        let collapsed = match &self.plan.factors {
            None => tools.collapse(rows, used, &sample),
            Some(factors) => {
                self.level.truncate(rows.len());
                self.level.resize(rows.len(), f64::NAN);
                for (row, (level, samples)) in self.level.iter_mut().zip(&*rows).enumerate() {
                    let (times, plus) = factors[sample(row)];
                    *level = samples.map(|sample| sample.wide() * times + plus);
                }
                tools.collapse(&mut self.level, used, &sample)
            }
        };
        self.left_out.rejected += tools.rejected;
        collapsed
    }
}

/// What collapsing a block takes, whatever its lanes are made of.
struct Tools<'t> {
    plan: &'t Plan,
    clipper: Option<&'t mut Clipper>,
    collapser: &'t mut Collapser,
    hits: &'t mut Vec<u32>,
    ranked: &'t mut Vec<(f64, u32)>,
    /// Samples of a line that has all.
    positions: usize,
    rejected: u64,
}

impl Tools<'_> {
    fn collapse<S: Sample>(
        &mut self,
        rows: &mut [[S; LANES]],
        used: usize,
        sample: &dyn Fn(usize) -> usize,
    ) -> [Collapsed; LANES] {
        if let Some(clipper) = &mut self.clipper {
            S::clip(clipper, rows, self.hits);
            for &number in self.hits.iter() {
                rows[number as usize / LANES][number as usize % LANES] = S::NAN;
            }
            self.rejected += self.hits.len() as u64;
        } else if self.plan.reject != Reject::None {
            for lane in 0..used {
                self.cut_ends(rows, lane);
            }
        }
        let mut collapsed = match &self.plan.weights {
            Some(weights) => {
                std::array::from_fn(|lane| self.weighted(rows, lane, &|row| weights[sample(row)]))
            }
            None => {
                let found = S::collapse(self.collapser, rows, self.plan.method);
                found.map(|(value, count)| Collapsed {
                    value,
                    count,
                    error: f64::NAN,
                })
            }
        };
        if self.plan.wants_error && self.plan.weights.is_none() {
            let found = S::collapse(self.collapser, rows, Statistic::Std);
            for (line, (std, count)) in collapsed.iter_mut().zip(found) {
                // Over n - 1, and that of a mean: std * sqrt(n / (n - 1)) / sqrt(n).
                if count > 1 {
                    line.error = std / f64::from(count - 1).sqrt();
                }
            }
        }
        collapsed
    }

    /// Takes the least and greatest samples of a line out.
    fn cut_ends<S: Sample>(&mut self, rows: &mut [[S; LANES]], lane: usize) {
        self.ranked.clear();
        let samples = rows.iter().map(|row| row[lane].wide()).zip(0..);
        self.ranked
            .extend(samples.filter(|(sample, _)| !sample.is_nan()));
        let n = self.ranked.len();
        let (low, high) = match self.plan.reject {
            // Of a line that is shorter, the same share.
            Reject::MinMax { low, high } => {
                let share = |count: u32| count as usize * n / self.positions.max(1);
                (share(low), share(high))
            }
            Reject::Percentile { low, high } => {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let share = |percent: f64| (n as f64 * percent / 100.0).floor() as usize;
                (share(low), share(high))
            }
            _ => (0, 0),
        };
        let by_value = |a: &(f64, u32), b: &(f64, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        self.ranked.sort_unstable_by(by_value);
        let low = low.min(n);
        let upto = n - high.min(n - low);
        for &(_, row) in self.ranked[..low].iter().chain(&self.ranked[upto..]) {
            rows[row as usize][lane] = S::NAN;
            self.rejected += 1;
        }
    }

    /// Weighted sum or mean of a line.
    fn weighted<S: Sample>(
        &self,
        rows: &[[S; LANES]],
        lane: usize,
        weight: &dyn Fn(usize) -> f64,
    ) -> Collapsed {
        let (mut count, mut sum, mut weights) = (0u32, 0.0, 0.0);
        for (row, samples) in rows.iter().enumerate() {
            let sample = samples[lane].wide();
            if !sample.is_nan() {
                count += 1;
                sum += weight(row) * sample;
                weights += weight(row);
            }
        }
        let mean = sum / weights;
        let mut error = f64::NAN;
        if self.plan.wants_error && count > 1 {
            let line = rows.iter().map(|samples| samples[lane].wide()).enumerate();
            let squares = line.filter(|(_, sample)| !sample.is_nan());
            let squares = squares.map(|(row, sample)| (weight(row) * (sample - mean)).powi(2));
            let n = f64::from(count);
            error = squares.sum::<f64>().sqrt() / weights * (n / (n - 1.0)).sqrt();
        }
        let value = match (count, self.plan.method) {
            (0, _) => f64::NAN,
            (_, Statistic::Sum) => sum,
            _ => mean,
        };
        Collapsed {
            value,
            count,
            error,
        }
    }
}

impl<L: Sample> Worker for Combiner<'_, L> {
    type Found = Vec<(u64, Collapsed)>;

    fn unit(&mut self, unit: u64, send: &mut dyn FnMut(Self::Found) -> bool) -> Result<()> {
        let (lines, shares, stop) = (self.lines, self.shares, self.stop);
        let lens = *lines.lens();
        let mut gathered = std::mem::take(&mut self.gathered);
        let mut found: Self::Found = Vec::new();
        let mut each = |column: &Column, group: Group<'_, L>| {
            group.for_each_block(column.rows(), |of_block, rows, bad| {
                let collapsed = self.block(column, rows, bad, of_block.clone());
                for (line, value) in of_block.zip(collapsed) {
                    let place = column.place(line);
                    let others = (0..lens.len()).rev().filter(|&axis| axis != lines.axis());
                    let at = others.fold(0, |at, axis| at * lens[axis] + place[axis]);
                    found.push((at, value));
                }
            });
            match (found.len() * lines.len()) as u64 >= TOLD_SAMPLES {
                true => send(std::mem::take(&mut found)),
                false => true,
            }
        };
        let done = shares.for_each_group(lines, unit, HELD, stop, &mut gathered, &mut each);
        self.gathered = gathered;
        done?;
        send(found);
        Ok(())
    }
}
