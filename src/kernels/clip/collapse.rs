//! Statistics that make one sample of a line.

use super::scalar::Buffers;
use super::{LANES, Level, Sample};

/// What a line becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// Of an even count, half the sum of the two middle samples.
    Median,
    /// The sum over the count.
    Mean,
    /// The sum, taken in the order of rows.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The square root of the mean of squared distances from the mean.
    Std,
}

/// Collapses blocks of lines. It keeps its buffers, so there is one per thread.
pub struct Collapser {
    level: Level,
    scalar: Buffers,
}

impl Default for Collapser {
    fn default() -> Collapser {
        Collapser::new()
    }
}

impl Collapser {
    /// With the best instructions of this machine.
    pub fn new() -> Collapser {
        Collapser::with_level(Level::Avx512)
    }

    /// With the instructions of a level, or of the best below it that this
    /// machine has.
    pub fn with_level(level: Level) -> Collapser {
        Collapser {
            level: level.or_less(),
            scalar: Buffers::default(),
        }
    }

    /// The level in use.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The statistic of 16 lines and the count of samples behind each. NaN is left
    /// out; the value is NaN where nothing else is.
    pub fn collapse_f32(&mut self, rows: &[[f32; LANES]], what: Statistic) -> [(f64, u32); LANES] {
        self.collapse(rows, what)
    }

    /// As `collapse_f32`.
    pub fn collapse_f64(&mut self, rows: &[[f64; LANES]], what: Statistic) -> [(f64, u32); LANES] {
        self.collapse(rows, what)
    }

    fn collapse<T: Sample>(&mut self, rows: &[[T; LANES]], what: Statistic) -> [(f64, u32); LANES] {
        std::array::from_fn(|lane| {
            let line = rows.iter().map(|row| row[lane].into());
            self.scalar.collapse(line, what)
        })
    }
}
