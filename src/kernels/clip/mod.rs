//! Sigma clipping, and the statistics that collapse an axis, for 16 lines at a time.
//!
//! | file | what |
//! |---|---|
//! | `scalar` | the definition: one line, in float64, step by step as astropy does it |
//! | `collapse` | median, mean, sum, least, greatest and standard deviation of lines |
//!
//! Which samples are rejected is what `astropy.stats.sigma_clip` 8.0.2 rejects on
//! x86-64, sample by sample; `scalar` has its bounds bit for bit. Anything faster
//! may round sums in another order, so it hands a line to `scalar` whenever a
//! sample lies too near a bound to be sure.

#![allow(
    clippy::cast_possible_truncation,
    reason = "rows times lanes fit 32 bits: that is asked of callers"
)]

mod collapse;
#[cfg(test)]
mod lines;
pub mod scalar;
#[cfg(test)]
mod tests;

pub use collapse::{Collapser, Statistic};

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
trait Sample: Copy + Into<f64> {}
impl Sample for f32 {}
impl Sample for f64 {}

/// Clips blocks of lines. It keeps its buffers, so there is one per thread.
pub struct Clipper {
    rule: Rule,
    level: Level,
    scalar: scalar::Buffers,
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
        }
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
        self.clip(rows, rejected)
    }

    /// As `clip_f32`.
    pub fn clip_f64(&mut self, rows: &[[f64; LANES]], rejected: &mut Vec<u32>) -> [Line; LANES] {
        self.clip(rows, rejected)
    }

    fn clip<T: Sample>(&mut self, rows: &[[T; LANES]], rejected: &mut Vec<u32>) -> [Line; LANES] {
        rejected.clear();
        let mut lines = [scalar::NOTHING; LANES];
        for (lane, line) in lines.iter_mut().enumerate() {
            let samples = rows.iter().map(|row| row[lane].into());
            *line = self.scalar.clip(&self.rule, samples);
        }
        list(rows, &lines, rejected);
        lines
    }
}

/// Lists the samples that the bounds of their lines reject.
fn list<T: Sample>(rows: &[[T; LANES]], lines: &[Line; LANES], rejected: &mut Vec<u32>) {
    for (row, samples) in rows.iter().enumerate() {
        for (lane, (sample, line)) in samples.iter().zip(lines).enumerate() {
            if scalar::is_rejected((*sample).into(), line.low, line.high) {
                rejected.push((row * LANES + lane) as u32);
            }
        }
    }
}
