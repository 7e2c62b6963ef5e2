//! Sigma clipping, and the statistics that collapse an axis, for 16 lines at a time.
//!
//! | file | what |
//! |---|---|
//! | `scalar` | the definition: one line, in float64, step by step as astropy does it |
//! | `sort`, `net` | 16 lines sorted at once, by a network |
//! | `rounds` | rounds of clipping on sorted lines, and what they cannot tell |
//! | `band` | long float32 lines without sorting: the band about the median, the ends |
//! | `values` | whole numbers about the median, counted instead of sorted |
//! | `means` | what is summed in the order of rows, and lists of what is rejected |
//! | `collapse` | median, mean, sum, least, greatest and standard deviation of lines |
//! | `isa` | the same loops in the instructions of several machines |
//! | `rows` | rows that begin where cache lines begin |
//!
//! Which samples are rejected is what `astropy.stats.sigma_clip` 8.0.2 rejects on
//! x86-64, sample by sample; `scalar` has its bounds bit for bit. Anything faster
//! may round sums in another order, so it hands a line to `scalar` whenever a
//! sample lies too near a bound to be sure. Why it is made so, and how fast it is:
//! `docs/decisions/005-clip.md`.

#![allow(
    clippy::cast_possible_truncation,
    reason = "rows times lanes fit 32 bits: that is asked of callers"
)]

mod band;
mod collapse;
mod isa;
#[cfg(test)]
mod lines;
mod means;
mod net;
mod rounds;
mod rows;
pub mod scalar;
mod sort;
#[cfg(test)]
mod tests;
mod values;

use std::ops::{Add, Mul};

use band::{Band, Parts};
use isa::{Isa, run};
use means::{Between, List, MeanRounds};
use rounds::{Core, Found, Lines, Sums};
use sort::sort;

pub use collapse::{Collapser, Statistic};
pub use rows::Rows;

/// Lines that lie side by side in a block: sample k of line l is `rows[k][l]`.
pub const LANES: usize = 16;

/// What deviations are measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Center {
    /// The middle sample, or half the sum of the two middle ones.
    Median,
    /// The sum over the count.
    Mean,
}

/// What deviations are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Standard deviation about the mean, over n.
    Std,
    /// `MAD_TO_STD` times the median of the distances from the median.
    Mad,
}

/// The statistic of what was kept that is wanted beside the decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// None.
    None,
    /// Of an even count, half the sum of the two middle samples.
    Median,
    /// The sum, taken in the order of rows, over the count.
    Mean,
}

/// What makes the median absolute deviation of normal noise its standard
/// deviation: `1 / Phi^-1(3/4)`.
pub const MAD_TO_STD: f64 = 1.482602218505602;

/// How to clip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Spreads below the centre at which samples are still kept.
    pub lower: f64,
    /// Spreads above it.
    pub upper: f64,
    /// Rounds at most, at least 1; `None`: until nothing changes.
    pub rounds: Option<u32>,
    /// What deviations are measured from.
    pub center: Center,
    /// What they are measured in.
    pub spread: Spread,
    /// What is wanted of the samples that were kept.
    pub fill: Fill,
}

impl Rule {
    /// Between what samples are kept. A side without a limit has none where the spread is 0,
    /// either, and infinity times 0 is no number.
    #[inline(always)]
    fn bounds(&self, center: f64, spread: f64) -> (f64, f64) {
        let reach = |times: f64| match times == f64::INFINITY && spread == 0.0 {
            true => times,
            false => times * spread,
        };
        (center - reach(self.lower), center + reach(self.upper))
    }

    /// How many spreads one outlier among `n` samples is from the centre at most, however
    /// far it is from the others: the spread grows with it.
    ///
    /// Of `n - 1` samples at 0 and one at `d` the mean is `d / n`, and the standard
    /// deviation over `n` is `d * sqrt(n - 1) / n`.
    #[must_use]
    pub fn reach(&self, n: u64) -> f64 {
        let (n, others) = (n as f64, n.saturating_sub(1) as f64);
        match (self.spread, self.center) {
            (Spread::Mad, _) => f64::INFINITY,
            (Spread::Std, Center::Mean) => others.sqrt(),
            (Spread::Std, Center::Median) => n / others.sqrt(),
        }
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Finite samples.
    pub counted: u32,
    /// Of those, the ones that were not rejected.
    pub kept: u32,
    /// Samples below are rejected; NaN when nothing was counted. The last digits
    /// of both bounds depend on the level; what they reject does not.
    pub low: f64,
    /// Samples above are rejected; NaN when nothing was counted.
    pub high: f64,
    /// The statistic of the kept samples; NaN if there are none, and for a line
    /// of which nothing was rejected.
    pub fill: f64,
}

/// The instructions that loops are made of. All give the same decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The definition, line by line.
    Scalar,
    /// What every machine of this kind has.
    Plain,
    /// AVX2.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Level {
    /// The levels that this machine has, the fastest last.
    pub fn available() -> Vec<Level> {
        #[allow(unused_mut, reason = "other machines have no more")]
        let mut levels = vec![Level::Scalar, Level::Plain];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                levels.push(Level::Avx2);
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    levels.push(Level::Avx512);
                }
            }
        }
        levels
    }

    /// The level asked for, or the best below it that this machine has.
    fn or_less(self) -> Level {
        let levels = Level::available();
        let most = levels.into_iter().filter(|level| *level <= self).max();
        most.unwrap_or(Level::Scalar)
    }
}

/// A sample, which is a float64 or exactly one.
trait Sample: Copy + PartialOrd + Into<f64> + Add<Output = Self> + Mul<Output = Self> {
    const ZERO: Self;
    const NAN: Self;
    const INFINITY: Self;
    const MAX: Self;
    fn negated(self) -> Self;
    fn magnitude(self) -> Self;
    /// The least sample that is not below a bound, but no infinity below all, so
    /// that the negative one is below.
    fn from_low(bound: f64) -> Self;
    /// The greatest sample that is not above a bound, and likewise.
    fn from_high(bound: f64) -> Self;
    /// A bit for every lane with `x < low || x > high`.
    fn outside<I: Isa>(row: &[Self; LANES], low: &[Self; LANES], high: &[Self; LANES]) -> u16;
    /// Sorts rows, lane by lane.
    fn network<I: Isa>(rows: &mut [[Self; LANES]]);
    /// The parts of long lines, if there is a way for samples of this type.
    fn parts(
        band: &mut Band,
        level: Level,
        rows: &[[Self; LANES]],
        rule: Option<&Rule>,
    ) -> Option<Parts>;
    /// The samples that `parts` left in `band`: at the ends, and in the middle.
    fn left(band: &Band) -> [&[[Self; LANES]]; 2];
}

impl Sample for f32 {
    const ZERO: f32 = 0.0;
    const NAN: f32 = f32::NAN;
    const INFINITY: f32 = f32::INFINITY;
    const MAX: f32 = f32::MAX;

    fn negated(self) -> f32 {
        -self
    }

    fn magnitude(self) -> f32 {
        self.abs()
    }

    fn from_low(bound: f64) -> f32 {
        let near = bound as f32;
        let least = if f64::from(near) < bound {
            near.next_up()
        } else {
            near
        };
        least.max(-f32::MAX)
    }

    fn from_high(bound: f64) -> f32 {
        -f32::from_low(-bound)
    }

    #[inline(always)]
    fn outside<I: Isa>(row: &[f32; LANES], low: &[f32; LANES], high: &[f32; LANES]) -> u16 {
        I::outside(row, low, high)
    }

    #[inline(always)]
    fn network<I: Isa>(rows: &mut [[f32; LANES]]) {
        net::network::<I, f32>(rows);
    }

    fn parts(
        band: &mut Band,
        level: Level,
        rows: &[[f32; LANES]],
        rule: Option<&Rule>,
    ) -> Option<Parts> {
        Some(band.find(level, rows, rule))
    }

    fn left(band: &Band) -> [&[[f32; LANES]]; 2] {
        [band.ends(), band.middle()]
    }
}

impl Sample for f64 {
    const ZERO: f64 = 0.0;
    const NAN: f64 = f64::NAN;
    const INFINITY: f64 = f64::INFINITY;
    const MAX: f64 = f64::MAX;

    fn negated(self) -> f64 {
        -self
    }

    fn magnitude(self) -> f64 {
        self.abs()
    }

    fn from_low(bound: f64) -> f64 {
        bound.max(-f64::MAX)
    }

    fn from_high(bound: f64) -> f64 {
        bound.min(f64::MAX)
    }

    #[inline(always)]
    fn outside<I: Isa>(row: &[f64; LANES], low: &[f64; LANES], high: &[f64; LANES]) -> u16 {
        isa::bits(std::array::from_fn(|lane| {
            (row[lane] < low[lane]) | (row[lane] > high[lane])
        }))
    }

    #[inline(always)]
    fn network<I: Isa>(rows: &mut [[f64; LANES]]) {
        net::network::<I, f64>(rows);
    }

    fn parts(_: &mut Band, _: Level, _: &[[f64; LANES]], _: Option<&Rule>) -> Option<Parts> {
        None
    }

    fn left(_: &Band) -> [&[[f64; LANES]]; 2] {
        [&[], &[]]
    }
}

/// Longer blocks are not sorted, as sorting takes ever longer for a sample.
const LONGEST_SORTED: usize = 1 << 15;

/// Clips blocks of lines. It keeps its buffers, so there is one per thread.
pub struct Clipper {
    rule: Rule,
    level: Level,
    scalar: scalar::Buffers,
    narrow: Sorted<f32>,
    wide: Sorted<f64>,
    band: Band,
    patience: Patience,
    medians: Collapser,
    list: Vec<u32>,
}

impl Clipper {
    /// With the best instructions of this machine.
    pub fn new(rule: Rule) -> Clipper {
        Clipper::with_level(rule, Level::Avx512)
    }

    /// With the instructions of a level, or of the best below it that this
    /// machine has.
    pub fn with_level(rule: Rule, level: Level) -> Clipper {
        Clipper {
            rule,
            level: level.or_less(),
            scalar: scalar::Buffers::default(),
            narrow: Sorted::default(),
            wide: Sorted::default(),
            band: Band::default(),
            patience: Patience::default(),
            medians: Collapser::with_level(level),
            list: Vec::new(),
        }
    }

    /// With samples of which all that are finite are whole numbers, as promised by
    /// the caller, or not: they are clipped faster.
    #[must_use]
    pub fn of_integers(mut self, are_integers: bool) -> Clipper {
        self.band.are_integers = are_integers;
        self.medians = self.medians.of_integers(are_integers);
        self
    }

    /// The level in use.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Clips 16 lines. NaN does not count and is never rejected; an infinity does
    /// not count and always is. `rejected` is cleared and receives
    /// `row * LANES + lane` of every rejected sample, ascending. A block has fewer
    /// than 2^28 rows.
    pub fn clip_f32(&mut self, rows: &[[f32; LANES]], rejected: &mut Vec<u32>) -> [Line; LANES] {
        let mut sorted = std::mem::take(&mut self.narrow);
        let lines = self.clip(rows, &mut sorted, rejected);
        self.narrow = sorted;
        lines
    }

    /// As `clip_f32`.
    pub fn clip_f64(&mut self, rows: &[[f64; LANES]], rejected: &mut Vec<u32>) -> [Line; LANES] {
        let mut sorted = std::mem::take(&mut self.wide);
        let lines = self.clip(rows, &mut sorted, rejected);
        self.wide = sorted;
        lines
    }

    fn clip<T: Sample>(
        &mut self,
        rows: &[[T; LANES]],
        sorted: &mut Sorted<T>,
        rejected: &mut Vec<u32>,
    ) -> [Line; LANES] {
        rejected.clear();
        let mut lines = [scalar::NOTHING; LANES];
        let rule = self.rule;
        // Lines that the definition is to decide.
        let mut undecided = u16::MAX;
        let mut is_sorted = false;
        let mut is_banded = false;
        if self.level == Level::Scalar {
            // All of them.
        } else if rule.center == Center::Mean && rule.spread == Spread::Std {
            let (low, high, counted) = run(self.level, MeanRounds { rule: &rule, rows });
            for (lane, line) in lines.iter_mut().enumerate() {
                (line.low, line.high) = (low[lane], high[lane]);
                line.counted = counted[lane];
            }
            undecided = 0;
        } else if let Some((counted, found, by_band)) = self.decide(rows, sorted) {
            is_banded = by_band;
            (is_sorted, undecided) = (true, found.given_up);
            for (lane, line) in lines.iter_mut().enumerate() {
                *line = Line {
                    counted: counted[lane],
                    kept: found.kept[lane],
                    low: found.low[lane],
                    high: found.high[lane],
                    fill: found.fill[lane],
                };
            }
        }
        for (lane, line) in lines.iter_mut().enumerate() {
            if undecided >> lane & 1 == 1 {
                let samples = rows.iter().map(|row| row[lane].into());
                *line = self.scalar.clip(&rule, samples);
            }
        }
        // Where all samples are finite and were counted as kept, there is none.
        let is_clean = |line: &Line| line.kept == line.counted && line.counted == rows.len() as u32;
        if !(is_sorted && lines.iter().all(is_clean)) {
            let (mut low, mut high) = ([T::MAX.negated(); LANES], [T::MAX; LANES]);
            for (lane, line) in lines.iter().enumerate() {
                // What keeps all needs no bounds; bounds that are no numbers keep all.
                if is_sorted && line.kept == line.counted || line.low.is_nan() {
                    continue;
                }
                low[lane] = T::from_low(line.low);
                high[lane] = T::from_high(line.high);
            }
            let listed = match is_banded {
                true => self.band.listed(&low.map(T::into), &high.map(T::into)),
                false => None,
            };
            if let Some(listed) = listed {
                let samples = rows.as_flattened();
                let is_out = |at: &u32| {
                    let (x, lane) = (samples[*at as usize], *at as usize % LANES);
                    (x < low[lane]) | (x > high[lane])
                };
                // Whether one is out is hard to foretell, so there is no branch.
                rejected.resize(listed.len(), 0);
                let mut n = 0;
                for at in listed {
                    rejected[n] = *at;
                    n += usize::from(is_out(at));
                }
                rejected.truncate(n);
            } else {
                let list = List {
                    rows,
                    low: &low,
                    high: &high,
                    list: &mut self.list,
                };
                let n = run(self.level, list);
                rejected.extend_from_slice(&self.list[..n]);
            }
        }
        let samples = rows.as_flattened();
        let mut has_rejected = 0u16;
        let mut n_rejected = [0; LANES];
        for &at in rejected.iter() {
            let lane = at as usize % LANES;
            has_rejected |= 1 << lane;
            n_rejected[lane] += u32::from(samples[at as usize].into().is_finite());
        }
        for (lane, line) in lines.iter_mut().enumerate() {
            line.kept = line.counted - n_rejected[lane];
            if has_rejected >> lane & 1 == 0 {
                line.fill = f64::NAN;
            }
        }
        if has_rejected == 0 {
            return lines;
        }
        match rule.fill {
            Fill::Mean => {
                let between = Between {
                    rows,
                    from: &lines.map(|line| line.low.max(-f64::MAX)),
                    to: &lines.map(|line| line.high.min(f64::MAX)),
                };
                let (n, sum) = run(self.level, between);
                for (lane, line) in lines.iter_mut().enumerate() {
                    if has_rejected >> lane & 1 == 1 {
                        line.fill = sum[lane] / n[lane];
                    }
                }
            }
            Fill::Median if !is_sorted && undecided == 0 => {
                // What was rejected is left out as NaN is.
                let mut left = std::mem::take(&mut sorted.left);
                left.truncate(rows.len());
                left.resize(rows.len(), T::ZERO);
                left.copy_from_slice(rows);
                for &at in rejected.iter() {
                    left.as_flattened_mut()[at as usize] = T::NAN;
                }
                let medians = self.medians.median(&left, &mut sorted.rows);
                sorted.left = left;
                for (lane, line) in lines.iter_mut().enumerate() {
                    if has_rejected >> lane & 1 == 1 {
                        line.fill = medians[lane].0;
                    }
                }
            }
            _ => {}
        }
        lines
    }

    /// Clips by sorting, whole lines or what is near their medians, and tells
    /// whether it was the latter. `None` if there are too many rows for that.
    fn decide<T: Sample>(
        &mut self,
        rows: &[[T; LANES]],
        sorted: &mut Sorted<T>,
    ) -> Option<([u32; LANES], Found, bool)> {
        let rule = &self.rule;
        let is_long = rows.len() >= band::shortest(self.level).0
            && rule.center == Center::Median
            && rule.spread == Spread::Std
            && Band::suits(rule);
        if is_long
            && self.patience.is_left()
            && let Some(parts) = T::parts(&mut self.band, self.level, rows, Some(rule))
        {
            let [ends, middle] = T::left(&self.band);
            let lines = Lines {
                rule,
                ends: [ends, &[]],
                middle,
                first: parts.first,
                n_middle: parts.n_middle,
                counted: parts.counted,
                is_full: parts.counted == [rows.len() as u32; LANES],
                core: parts.core,
            };
            let mut found = run(self.level, &lines);
            found.given_up |= parts.given_up;
            // The definition takes as long for two lines as sorting takes for 16.
            let is_good = found.given_up.count_ones() <= 2;
            self.patience.tell(is_good);
            if is_good || rows.len() > LONGEST_SORTED {
                return Some((lines.counted, found, true));
            }
        }
        if rows.is_empty() || rows.len() > LONGEST_SORTED {
            return None;
        }
        let (counted, found) = sorted.decide(self.level, rows, rule);
        Some((counted, found, false))
    }
}

/// Sorted rows, kept from one block to the next.
#[derive(Default)]
struct Sorted<T: Sample> {
    rows: Rows<T>,
    /// A block without what was rejected.
    left: Rows<T>,
}

impl<T: Sample> Sorted<T> {
    fn decide(&mut self, level: Level, rows: &[[T; LANES]], rule: &Rule) -> ([u32; LANES], Found) {
        let counted = sort(level, rows, &mut self.rows, false);
        let sorted = &self.rows[..];
        let some = counted.into_iter().filter(|n| *n > 0);
        let least = some.min().unwrap_or(0) as usize;
        let pivot = std::array::from_fn(|lane| match counted[lane] {
            0 => 0.0,
            n => sorted[n as usize / 2][lane].into(),
        });
        // How many rows at each end may be rejected, more each time, until there is
        // no core.
        let mut margin = rows.len() / 32 + 3;
        loop {
            let (from, to) = if 2 * margin < least {
                (margin, least - margin)
            } else {
                (0, 0)
            };
            margin *= 6;
            let core = &sorted[from..to];
            let needs_sums = rule.spread == Spread::Std || rule.center == Center::Mean;
            let (sum, squares) = match needs_sums {
                true => run(
                    level,
                    Sums {
                        rows: core,
                        pivot: &pivot,
                    },
                ),
                false => ([0.0; LANES], [0.0; LANES]),
            };
            let edge = |row: Option<&[T; LANES]>| match row {
                Some(row) => row.map(T::into),
                None => [f64::NAN; LANES],
            };
            let lines = Lines {
                rule,
                ends: [&sorted[..from], &sorted[to..]],
                middle: sorted,
                first: [0; LANES],
                n_middle: counted,
                counted,
                is_full: counted == [rows.len() as u32; LANES],
                core: Core {
                    n: [core.len() as f64; LANES],
                    low: edge(core.first()),
                    high: edge(core.last()),
                    pivot,
                    sum,
                    squares,
                    error: [(rows.len() + 8) as f64 * f64::EPSILON; LANES],
                },
            };
            let found = run(level, &lines);
            if found.touched == 0 || core.is_empty() {
                return (counted, found);
            }
        }
    }
}

/// Whether the way that is fast for noise is worth a try: after a block for which
/// it was none, not for a while.
#[derive(Default)]
struct Patience {
    failures: u32,
    pause: u32,
}

impl Patience {
    fn is_left(&mut self) -> bool {
        self.pause = self.pause.saturating_sub(1);
        self.pause == 0
    }

    fn tell(&mut self, is_good: bool) {
        self.failures = if is_good {
            0
        } else {
            (self.failures + 1).min(6)
        };
        self.pause = (1 << self.failures) - 1;
    }
}
