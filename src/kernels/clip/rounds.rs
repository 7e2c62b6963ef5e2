//! The rounds of clipping for 16 lines whose samples are sorted, or whose middle is.
//!
//! Only samples near the ends can be rejected. The others, the core, are summed
//! once; a round looks at the ends alone. Sums are of distances from a pivot near
//! the median and in another order than the definition takes, so each bound
//! carries the width of what it cannot tell. A line with a sample within that
//! width is given up, for the definition to decide; so is a line where the core
//! itself would be touched.

use super::isa::{Isa, Kernel};
use super::{Center, Fill, LANES, MAD_TO_STD, Rule, Sample, Spread, scalar};

/// A number for every lane.
pub(super) type Wide = [f64; LANES];

/// Lines, cut into what can be rejected and what cannot.
pub(super) struct Lines<'a, T> {
    pub(super) rule: &'a Rule,
    /// Rows of the samples at the ends, in any order, with infinity for none.
    pub(super) ends: [&'a [[T; LANES]]; 2],
    /// Sorted rows about the middle.
    pub(super) middle: &'a [[T; LANES]],
    /// The rank of the first row of the middle in all samples.
    pub(super) first: [u32; LANES],
    /// Samples in the middle.
    pub(super) n_middle: [u32; LANES],
    /// Finite samples.
    pub(super) counted: [u32; LANES],
    /// Whether no line has an infinity.
    pub(super) is_full: bool,
    /// What is not at the ends.
    pub(super) core: Core,
}

/// What is never rejected: the samples from `low` to `high`.
#[derive(Clone)]
pub(super) struct Core {
    pub(super) n: Wide,
    pub(super) low: Wide,
    pub(super) high: Wide,
    /// What distances are measured from, and the sums of distances and squares.
    pub(super) pivot: Wide,
    pub(super) sum: Wide,
    pub(super) squares: Wide,
    /// The greatest relative error of sums.
    pub(super) error: Wide,
}

/// What was found.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) low: Wide,
    pub(super) high: Wide,
    pub(super) kept: [u32; LANES],
    /// The median of what was kept, if it is the fill.
    pub(super) fill: Wide,
    /// A bit for every line that was given up.
    pub(super) given_up: u16,
    /// Of those, the ones whose core was touched.
    pub(super) touched: u16,
}

/// Counts and sums of the samples at the ends.
#[derive(Clone, Copy)]
struct Tally {
    /// Samples inside the bounds of this round and of all rounds before.
    kept: Wide,
    /// Samples below them.
    below: Wide,
    sum: Wide,
    squares: Wide,
    /// Whether there is a sample within the doubtful width of a bound.
    doubts: Mask,
}

/// The bounds of a round.
struct Bounds {
    low: Wide,
    high: Wide,
    /// The middle of both, and half their distance.
    middle: Wide,
    half: Wide,
    /// Half the width about a bound within which a sample is in doubt; negative for
    /// none.
    doubt: Wide,
    /// A value that is never in doubt, or NaN.
    certain: Wide,
}

/// All bits or none for every lane: what vectors make of a condition.
pub(super) type Mask = [u64; LANES];

#[inline(always)]
pub(super) fn mask(condition: bool) -> u64 {
    if condition { u64::MAX } else { 0 }
}

#[inline(always)]
pub(super) fn select(mask: u64, yes: f64, no: f64) -> f64 {
    f64::from_bits(yes.to_bits() & mask | no.to_bits() & !mask)
}

#[inline(always)]
pub(super) fn any(masks: &[u64]) -> bool {
    masks.iter().fold(0, |all, mask| all | mask) != 0
}

/// A bit for every lane.
#[inline(always)]
fn bits(masks: &Mask) -> u16 {
    let bit = |lane: usize| u16::from(masks[lane] != 0) << lane;
    (0..LANES).fold(0, |bits, lane| bits | bit(lane))
}

impl<T: Sample> Kernel for &Lines<'_, T> {
    type Out = Found;

    #[inline(always)]
    fn run<I: Isa>(self) -> Found {
        let rule = self.rule;
        let core = &self.core;
        let (mut last_low, mut last_high) = ([f64::NAN; LANES], [f64::NAN; LANES]);
        // What every round so far left.
        let mut from = [-f64::MAX; LANES];
        let mut to = [f64::MAX; LANES];
        // Lanes that go on, lanes whose core was touched, other lanes given up.
        let mut active: Mask = self.counted.map(|n| mask(n > 0));
        let (mut touched, mut lost): (Mask, Mask) = ([0; LANES], [0; LANES]);
        let mut bounds = Bounds {
            low: from,
            high: to,
            middle: [0.0; LANES],
            half: [0.0; LANES],
            doubt: [-1.0; LANES],
            certain: [f64::NAN; LANES],
        };
        let mut tally = self.begin();
        let mut widened: Mask = [0; LANES];
        let mut rounds = 0;
        while any(&active) {
            self.bound(&tally, &active, rounds == 0, &mut bounds);
            for lane in 0..LANES {
                let (low, high) = (bounds.low[lane], bounds.high[lane]);
                let doubt = bounds.doubt[lane];
                let certain = bounds.certain[lane];
                let is_certain = (core.low[lane] == certain) & (core.high[lane] == certain);
                let some = if doubt > 0.0 { doubt } else { 0.0 };
                let (low_end, high_end) = (low + some, high - some);
                let is_inside = (low_end <= core.low[lane]) & (core.high[lane] <= high_end);
                let is_clear = (core.n[lane] == 0.0) | is_certain | is_inside;
                // 0 times what is not finite is NaN.
                let all = (low + high) * 0.0 + doubt * 0.0;
                let (clear, finite) = (mask(is_clear), mask(all == 0.0));
                let go = active[lane];
                touched[lane] |= go & finite & !clear;
                lost[lane] |= go & !finite;
                let go = go & finite & clear;
                last_low[lane] = select(active[lane], low, last_low[lane]);
                last_high[lane] = select(active[lane], high, last_high[lane]);
                widened[lane] |= go & mask((low < from[lane]) | (high > to[lane]));
                let nearer = if low > from[lane] { low } else { from[lane] };
                from[lane] = select(go, nearer, from[lane]);
                let nearer = if high < to[lane] { high } else { to[lane] };
                to[lane] = select(go, nearer, to[lane]);
                active[lane] = go;
            }
            // The first bounds are narrower than none.
            if rounds == 0 {
                widened = [0; LANES];
            }
            let mut next = tally;
            self.tally(&from, &to, &bounds, &active, &mut next);
            rounds += 1;
            for lane in 0..LANES {
                if next.doubts[lane] & active[lane] != 0 && !bounds.certain[lane].is_nan() {
                    next.doubts[lane] = mask(self.is_in_doubt(lane, &bounds));
                }
            }
            let is_last = mask(rule.rounds == Some(rounds));
            for lane in 0..LANES {
                let go = active[lane];
                let doubt = next.doubts[lane];
                let same = mask(next.kept[lane] == tally.kept[lane]);
                let none = mask(core.n[lane] + next.kept[lane] == 0.0);
                lost[lane] |= go & doubt;
                active[lane] = go & !(doubt | same | none | is_last);
            }
            tally = next;
        }
        // The last bounds hold alone: what an earlier round removed may be back.
        if any(&widened) {
            let none = Bounds {
                doubt: [-1.0; LANES],
                ..bounds
            };
            self.tally(&last_low, &last_high, &none, &widened, &mut tally);
        }
        let touched = bits(&touched);
        let mut found = Found {
            low: last_low,
            high: last_high,
            kept: std::array::from_fn(|lane| (core.n[lane] + tally.kept[lane]) as u32),
            fill: [f64::NAN; LANES],
            given_up: bits(&lost) | touched,
            touched,
        };
        for lane in 0..LANES {
            let counted = self.counted[lane];
            if counted == 0 {
                found.kept[lane] = 0;
                continue;
            }
            let kept = found.kept[lane];
            let is_whole = kept == counted && self.is_full;
            if rule.fill == Fill::Median && kept > 0 && !is_whole {
                match self.two(lane, tally.below[lane] as u32, kept) {
                    Some((lower, upper)) => found.fill[lane] = scalar::between(lower, upper),
                    None => found.given_up |= 1 << lane,
                }
            }
        }
        found
    }
}

impl<T: Sample> Lines<'_, T> {
    /// Counts and sums all that the ends have.
    #[inline(always)]
    fn begin(&self) -> Tally {
        let zero = [0.0; LANES];
        let mut tally = Tally {
            kept: zero,
            below: zero,
            sum: zero,
            squares: zero,
            doubts: [0; LANES],
        };
        let pivot = &self.core.pivot;
        let mut out = [0u64; LANES];
        for row in self.ends.into_iter().flatten() {
            for lane in 0..LANES {
                let x: f64 = row[lane].into();
                let is_kept = mask(x <= f64::MAX);
                let distance = f64::from_bits((x - pivot[lane]).to_bits() & is_kept);
                out[lane] = out[lane].wrapping_sub(!is_kept);
                tally.sum[lane] += distance;
                tally.squares[lane] += distance * distance;
            }
        }
        let rows: usize = self.ends.iter().map(|rows| rows.len()).sum();
        tally.kept = out.map(|out| (rows as u64 - out) as f64);
        tally
    }

    /// Counts and sums what the ends have from `from` to `to`, where lanes are
    /// active; the tally of others stays.
    #[inline(always)]
    fn tally(&self, from: &Wide, to: &Wide, bounds: &Bounds, active: &Mask, tally: &mut Tally) {
        let rows: usize = self.ends.iter().map(|rows| rows.len()).sum();
        // Four lanes at a time, for which a machine has registers.
        for at in (0..LANES).step_by(4) {
            if !any(&active[at..at + 4]) {
                continue;
            }
            let four = |wide: &Wide| -> [f64; 4] { std::array::from_fn(|k| wide[at + k]) };
            let (from, to, pivot) = (four(from), four(to), four(&self.core.pivot));
            let (middle, half, doubt) = (
                four(&bounds.middle),
                four(&bounds.half),
                four(&bounds.doubt),
            );
            // Counts go down by all bits, which is -1.
            let (mut below, mut out, mut doubts) = ([0u64; 4], [0u64; 4], [0u64; 4]);
            let (mut sum, mut squares) = ([0.0; 4], [0.0; 4]);
            for row in self.ends.into_iter().flatten() {
                for k in 0..4 {
                    let x: f64 = row[at + k].into();
                    let is_below = mask(x < from[k]);
                    let is_out = is_below | mask(x > to[k]);
                    let distance = f64::from_bits((x - pivot[k]).to_bits() & !is_out);
                    below[k] = below[k].wrapping_sub(is_below);
                    out[k] = out[k].wrapping_sub(is_out);
                    sum[k] += distance;
                    squares[k] += distance * distance;
                    let from_bound = ((x - middle[k]).abs() - half[k]).abs();
                    doubts[k] |= mask(from_bound <= doubt[k]);
                }
            }
            for k in 0..4 {
                tally.kept[at + k] = (rows as u64 - out[k]) as f64;
                tally.below[at + k] = below[k] as f64;
            }
            tally.sum[at..at + 4].copy_from_slice(&sum);
            tally.squares[at..at + 4].copy_from_slice(&squares);
            tally.doubts[at..at + 4].copy_from_slice(&doubts);
        }
    }

    /// Whether a sample at the ends of a line is in doubt, other than the one value
    /// that is certain.
    #[inline(always)]
    fn is_in_doubt(&self, lane: usize, bounds: &Bounds) -> bool {
        let mut samples = self.ends.into_iter().flatten().map(|row| row[lane].into());
        samples.any(|x: f64| {
            let from_bound = ((x - bounds.middle[lane]).abs() - bounds.half[lane]).abs();
            from_bound <= bounds.doubt[lane] && x != bounds.certain[lane]
        })
    }

    /// The bounds that follow from what is kept. A bound that cannot be had is NaN.
    #[inline(always)]
    fn bound(&self, tally: &Tally, active: &Mask, is_first: bool, bounds: &mut Bounds) {
        /// Half the distance of 1 from the next number.
        const UNIT: f64 = f64::EPSILON / 2.0;
        let rule = self.rule;
        let core = &self.core;
        let needs_median = rule.center == Center::Median || rule.spread == Spread::Mad;
        let needs_sums = rule.center == Center::Mean || rule.spread == Spread::Std;
        let mut medians = [f64::NAN; LANES];
        let mut mads = [f64::NAN; LANES];
        let rows = self.counted[0];
        if is_first && self.is_full && self.first == [0; LANES] && rule.spread == Spread::Std {
            // All medians are in the same rows.
            let pair = self
                .middle
                .get((rows as usize - 1) / 2..rows as usize / 2 + 1);
            if let Some([lower, .., upper]) = pair {
                for lane in 0..LANES {
                    let (lower, upper): (f64, f64) = (lower[lane].into(), upper[lane].into());
                    medians[lane] = 0.5 * (upper + lower);
                }
            } else if let Some([middle]) = pair {
                medians = middle.map(T::into);
            }
        } else {
            for lane in 0..LANES {
                if active[lane] == 0 {
                    continue;
                }
                let below = tally.below[lane] as u32;
                let n = (core.n[lane] + tally.kept[lane]) as u32;
                if needs_median && let Some((lower, upper)) = self.two(lane, below, n) {
                    medians[lane] = if n % 2 == 1 {
                        upper
                    } else {
                        0.5 * (upper + lower)
                    };
                }
                if rule.spread == Spread::Mad {
                    mads[lane] = self.mad(lane, below, n, medians[lane]) * MAD_TO_STD;
                }
            }
        }
        // Plain loops from here on, one after the other, which become vectors.
        let zero = [0.0; LANES];
        let (mut means, mut mean_doubts) = (zero, zero);
        let (mut deviations, mut spread_doubts) = (zero, zero);
        for lane in 0..LANES {
            let n = core.n[lane] + tally.kept[lane];
            let offset = (core.sum[lane] + tally.sum[lane]) / n;
            let square = (core.squares[lane] + tally.squares[lane]) / n;
            let variance = square - offset * offset;
            let deviation = if variance > 0.0 { variance } else { 0.0 }.sqrt();
            // The error of our sums; of the definition's, from its plain sum of
            // samples on; and of the last steps.
            let pivot = core.pivot[lane];
            let steps = (n + 8.0) * UNIT;
            let root = square.sqrt();
            let mean_doubt = steps * (pivot.abs() + root);
            let error = core.error[lane];
            let ours = error * root * (root + 2.0 * offset.abs()) + mean_doubt * mean_doubt;
            // Of roots that are near: their squares' distance over their sum.
            let doubt = ours / (1.7 * deviation) + 4.0 * steps * deviation;
            let doubt = if 2.0 * ours < variance {
                doubt
            } else {
                f64::NAN
            };
            // All kept samples are the pivot, or squares vanished: the definition
            // finds at most the error of its mean.
            let is_constant = square == 0.0;
            let is_lost = !is_constant & (variance < 1e-290);
            spread_doubts[lane] = if is_constant {
                mean_doubt + 1e-150
            } else {
                doubt
            };
            deviations[lane] = if is_lost { f64::NAN } else { deviation };
            means[lane] = pivot + offset;
            mean_doubts[lane] = 2.0 * mean_doubt + core.error[lane] * root;
            // About a median the samples of a constant line are surely kept.
            bounds.certain[lane] = if is_constant { pivot } else { f64::NAN };
        }
        if rule.center == Center::Mean {
            bounds.certain = [f64::NAN; LANES];
        }
        let (centers, center_doubts) = match rule.center {
            Center::Median => (medians, zero),
            Center::Mean => (means, mean_doubts),
        };
        let (spreads, spread_doubts) = match rule.spread {
            Spread::Std => (deviations, spread_doubts),
            Spread::Mad => (mads, zero),
        };
        // A side without a limit leaves nothing in doubt.
        let finite = |value: f64| match value.is_infinite() {
            true => 0.0,
            false => value,
        };
        let times = finite(rule.lower).max(finite(rule.upper));
        for lane in 0..LANES {
            let (center, spread) = (centers[lane], spreads[lane]);
            let (low, high) = rule.bounds(center, spread);
            bounds.low[lane] = low;
            bounds.high[lane] = high;
            (bounds.middle[lane], bounds.half[lane]) = match (low.is_infinite(), high.is_infinite())
            {
                (false, false) => (0.5 * (low + high), 0.5 * (high - low)),
                (true, _) => (high, 0.0),
                (false, true) => (low, 0.0),
            };
            // The last steps round, ours more often than the definition's.
            let size = finite(low).abs() + finite(high).abs() + center.abs() + spread;
            let doubt = times * spread_doubts[lane] + 8.0 * UNIT * size;
            bounds.doubt[lane] = center_doubts[lane] + doubt;
        }
        // Without sums nothing is rounded in another order.
        if !needs_sums {
            bounds.doubt = [-1.0; LANES];
        }
    }

    /// The two samples about the middle of `n`, of which `below` are smaller: the
    /// same one twice if n is odd. `None` if they are not in the sorted rows.
    #[inline(always)]
    fn two(&self, lane: usize, below: u32, n: u32) -> Option<(f64, f64)> {
        let upper = (below + n / 2).wrapping_sub(self.first[lane]);
        let lower = (below + n.wrapping_sub(1) / 2).wrapping_sub(self.first[lane]);
        let n_middle = self.n_middle[lane];
        if n == 0 || upper >= n_middle || lower >= n_middle {
            return None;
        }
        let at = |rank: u32| Some(self.middle.get(rank as usize)?[lane].into());
        Some((at(lower)?, at(upper)?))
    }

    /// The median of distances from `median` of the `n` samples from rank `below`
    /// on. All samples have to be in the sorted rows.
    #[inline(always)]
    fn mad(&self, lane: usize, below: u32, n: u32, median: f64) -> f64 {
        let at = |rank: u32| -> f64 { self.middle[rank as usize][lane].into() };
        if below + n > self.n_middle[lane] || n == 0 {
            return f64::NAN;
        }
        // The rank + 1 nearest samples stand together: from where is to be found.
        let nearest = |rank: u32| -> f64 {
            let (mut from, mut to) = (below, below + n - 1 - rank);
            let far = |from: u32| (median - at(from), at(from + rank) - median);
            while from < to {
                let half = from + (to - from) / 2;
                let (left, right) = far(half);
                if right >= left {
                    to = half;
                } else {
                    from = half + 1;
                }
            }
            let reach = |from: u32| {
                let (left, right) = far(from);
                left.max(right)
            };
            let here = reach(from);
            if from > below {
                here.min(reach(from - 1))
            } else {
                here
            }
        };
        let upper = nearest(n / 2);
        if n % 2 == 1 {
            return upper;
        }
        0.5 * (upper + nearest(n / 2 - 1))
    }
}

/// The sums of distances from a pivot, and of their squares, of whole rows.
pub(super) struct Sums<'a, T> {
    pub(super) rows: &'a [[T; LANES]],
    pub(super) pivot: &'a Wide,
}

impl<T: Sample> Kernel for Sums<'_, T> {
    type Out = (Wide, Wide);

    #[inline(always)]
    fn run<I: Isa>(self) -> (Wide, Wide) {
        let mut sum = [0.0; LANES];
        let mut squares = [0.0; LANES];
        for row in self.rows {
            for lane in 0..LANES {
                let x: f64 = row[lane].into();
                let distance = x - self.pivot[lane];
                sum[lane] += distance;
                squares[lane] += distance * distance;
            }
        }
        (sum, squares)
    }
}
