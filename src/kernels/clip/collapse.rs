//! Statistics that make one sample of a line.

use super::band::{Band, shortest};
use super::isa::run;
use super::means::{Squares, Totals};
use super::scalar::{Buffers, between};
use super::sort::sort;
use super::{LANES, LONGEST_SORTED, Level, Patience, Rows, Sample};

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
    narrow: Rows<f32>,
    wide: Rows<f64>,
    band: Band,
    patience: Patience,
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
            narrow: Rows::new(),
            wide: Rows::new(),
            band: Band::default(),
            patience: Patience::default(),
        }
    }

    /// With samples of which all that are finite are whole numbers, as promised by
    /// the caller, or not: medians are found faster.
    #[must_use]
    pub fn of_integers(mut self, are_integers: bool) -> Collapser {
        self.band.are_integers = are_integers;
        self
    }

    /// The level in use.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The statistic of 16 lines and the count of samples behind each. NaN is left
    /// out; the value is NaN where nothing else is.
    pub fn collapse_f32(&mut self, rows: &[[f32; LANES]], what: Statistic) -> [(f64, u32); LANES] {
        let mut sorted = std::mem::take(&mut self.narrow);
        let out = self.collapse(rows, &mut sorted, what);
        self.narrow = sorted;
        out
    }

    /// As `collapse_f32`.
    pub fn collapse_f64(&mut self, rows: &[[f64; LANES]], what: Statistic) -> [(f64, u32); LANES] {
        let mut sorted = std::mem::take(&mut self.wide);
        let out = self.collapse(rows, &mut sorted, what);
        self.wide = sorted;
        out
    }

    fn collapse<T: Sample>(
        &mut self,
        rows: &[[T; LANES]],
        sorted: &mut Rows<T>,
        what: Statistic,
    ) -> [(f64, u32); LANES] {
        if self.level == Level::Scalar || rows.is_empty() {
            return std::array::from_fn(|lane| self.line(rows, lane, what));
        }
        if what == Statistic::Median {
            return self.median(rows, sorted);
        }
        let totals = run(self.level, Totals { rows });
        let (n, sum) = (totals.n, totals.sum);
        let mean = std::array::from_fn(|lane| sum[lane] / n[lane]);
        let values = match what {
            Statistic::Median | Statistic::Mean => mean,
            Statistic::Sum => sum,
            Statistic::Min => totals.least.map(|least| 0.0 + least),
            Statistic::Max => totals.most.map(|most| 0.0 + most),
            Statistic::Std => {
                let squares = run(self.level, Squares { rows, mean: &mean });
                std::array::from_fn(|lane| (squares[lane] / n[lane]).sqrt())
            }
        };
        std::array::from_fn(|lane| match n[lane] {
            0.0 => (f64::NAN, 0),
            n => (values[lane], n as u32),
        })
    }

    /// A line, by the definition.
    fn line<T: Sample>(&mut self, rows: &[[T; LANES]], lane: usize, what: Statistic) -> (f64, u32) {
        let line = rows.iter().map(|row| row[lane].into());
        self.scalar.collapse(line, what)
    }

    /// Medians, at a level that is not the definition.
    pub(super) fn median<T: Sample>(
        &mut self,
        rows: &[[T; LANES]],
        sorted: &mut Rows<T>,
    ) -> [(f64, u32); LANES] {
        if rows.len() >= shortest(self.level).1
            && self.patience.is_left()
            && let Some(parts) = T::parts(&mut self.band, self.level, rows, None)
        {
            let [_, middle] = T::left(&self.band);
            let mut given_up = parts.given_up;
            let mut out = [(f64::NAN, 0); LANES];
            for (lane, out) in out.iter_mut().enumerate() {
                let n = parts.counted[lane];
                let at = |rank: u32| -> Option<f64> {
                    let rank = rank.checked_sub(parts.first[lane])?;
                    (rank < parts.n_middle[lane]).then(|| middle[rank as usize][lane].into())
                };
                match (n, at(n.saturating_sub(1) / 2), at(n / 2)) {
                    (0, ..) => {}
                    (_, Some(lower), Some(upper)) => *out = (between(lower, upper), n),
                    _ => given_up |= 1 << lane,
                }
            }
            // A line alone takes as long as sorting takes for two or three.
            let is_good = given_up.count_ones() <= 4;
            self.patience.tell(is_good);
            if is_good || rows.len() > LONGEST_SORTED {
                for (lane, out) in out.iter_mut().enumerate() {
                    if given_up >> lane & 1 == 1 {
                        *out = self.line(rows, lane, Statistic::Median);
                    }
                }
                return out;
            }
        }
        if rows.len() > LONGEST_SORTED {
            return std::array::from_fn(|lane| self.line(rows, lane, Statistic::Median));
        }
        let counted = sort(self.level, rows, sorted, true);
        std::array::from_fn(|lane| {
            let n = counted[lane] as usize;
            if n == 0 {
                return (f64::NAN, 0);
            }
            let at = |rank: usize| sorted[rank][lane].into();
            (between(at((n - 1) / 2), at(n / 2)), counted[lane])
        })
    }
}
