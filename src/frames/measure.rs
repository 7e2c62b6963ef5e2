//! Measured values of a frame's samples: sum, mean, median, std, min, max, and how
//! many samples are missing.
//!
//! The frame is streamed in runs, once for everything, and up to three times more
//! for the median of samples of more than 16 bits; no frame is ever held whole,
//! and memory stays below 4 MiB. Of samples of up to 16 bits it is counted how often
//! each value is there, which tells all. Others become float64 first, but for the
//! median: those of 64-bit integers are rounded once there, all others are exact.
//!
//! NaN and the frame's BLANK are missing: they are counted and left out of
//! everything else. Infinities are numbers. A value that does not exist (no
//! sample left, the spread of an infinity) is `None`.
//!
//! Mean and variance are computed by blocks and joined as in Chan, Golub &
//! LeVeque 1979, so that a large level does not drown a small spread; `std`
//! divides by the number of samples. The median is exact.

mod median;

use super::Frame;
use crate::dtype::DType;
use crate::error::Result;
use crate::kernels::cast::floats;
use crate::region::volume;
use median::{Keys, Select, median};

/// Samples of one run: with their float64 twins at most 2 MiB.
const RUN: u64 = 128 << 10;

/// Samples whose sums are taken before they are joined to the others'.
const BLOCK: usize = 4096;

/// Sums that are taken side by side.
const LANES: usize = 8;

/// A value that is measured.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Mean,
    Median,
    Std,
    Min,
    Max,
    Sum,
    /// How many samples are NaN or BLANK.
    Nan,
}

const NAMES: [(&str, Measure); 7] = [
    ("mean", Measure::Mean),
    ("median", Measure::Median),
    ("std", Measure::Std),
    ("min", Measure::Min),
    ("max", Measure::Max),
    ("sum", Measure::Sum),
    ("nan", Measure::Nan),
];

impl Measure {
    /// The measure of this name.
    pub fn from_name(name: &str) -> Option<Measure> {
        let found = NAMES.iter().find(|&&(known, _)| known == name);
        found.map(|&(_, measure)| measure)
    }
}

/// Which values are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures(u8);

impl Measures {
    /// Every value there is.
    pub fn all() -> Measures {
        let mut all = Measures::default();
        for (_, measure) in NAMES {
            all.add(measure);
        }
        all
    }

    /// Wants this one too.
    pub fn add(&mut self, measure: Measure) {
        self.0 |= 1 << measure as u8;
    }

    /// Is it wanted?
    pub fn has(self, measure: Measure) -> bool {
        self.0 & (1 << measure as u8) != 0
    }

    /// Is none wanted?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What either wants.
    #[must_use]
    pub fn and(self, other: Measures) -> Measures {
        Measures(self.0 | other.0)
    }
}

/// What was measured; a value that does not exist or was not wanted is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// The mean.
    pub mean: Option<f64>,
    /// The median: of an even number of samples the mean of the two in the middle.
    pub median: Option<f64>,
    /// The standard deviation, dividing by the number of samples.
    pub std: Option<f64>,
    /// The least sample.
    pub min: Option<f64>,
    /// The greatest sample.
    pub max: Option<f64>,
    /// The sum.
    pub sum: Option<f64>,
    /// How many samples are NaN or BLANK.
    pub nan: Option<u64>,
}

impl Measured {
    /// One value.
    pub fn get(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Mean => self.mean,
            Measure::Median => self.median,
            Measure::Std => self.std,
            Measure::Min => self.min,
            Measure::Max => self.max,
            Measure::Sum => self.sum,
            Measure::Nan => self.nan.map(|count| count as f64),
        }
    }
}

/// Measures a frame. Reads nothing when nothing is wanted that needs samples.
///
/// # Errors
/// When the frame cannot be read.
pub fn measure(frame: &mut dyn Frame, needs: Measures) -> Result<Measured> {
    let mut measured = Measured::default();
    if needs.is_empty() {
        return Ok(measured);
    }
    let mut none_missing = Measures::default();
    none_missing.add(Measure::Nan);
    let facts = frame.facts();
    if needs == none_missing && !facts.dtype.is_float() && facts.blank.is_none() {
        measured.nan = Some(0);
        return Ok(measured);
    }
    let of = |measure, value: Option<f64>| value.filter(|_| needs.has(measure));
    let mut stream = Stream::new(frame)?;
    if stream.dtype.size() <= 2 {
        let counts = stream.counts()?;
        measured.mean = of(Measure::Mean, counts.mean());
        measured.sum = of(Measure::Sum, counts.sum());
        measured.std = of(Measure::Std, counts.std());
        measured.median = of(Measure::Median, counts.median());
        let value = |&(value, _): &(i128, u64)| value as f64;
        measured.min = of(Measure::Min, counts.valued.first().map(value));
        measured.max = of(Measure::Max, counts.valued.last().map(value));
        measured.nan = needs.has(Measure::Nan).then_some(counts.missing);
        return Ok(measured);
    }
    let keys = Keys::of(stream.dtype, stream.blank);
    let wants_median = needs.has(Measure::Median);
    let mut moments = Moments::default();
    let mut select = Select::new(keys.width());
    stream.each(&mut |stored, values| {
        moments.add(values);
        if wants_median {
            keys.each(stored, &mut |key| select.count(key));
        }
    })?;
    let number = |value: f64| (!value.is_nan()).then_some(value);
    measured.mean = of(Measure::Mean, moments.mean().and_then(number));
    measured.sum = of(Measure::Sum, moments.sum().and_then(number));
    measured.std = of(Measure::Std, moments.std().and_then(number));
    if moments.count() > 0 {
        measured.min = of(Measure::Min, Some(moments.min));
        measured.max = of(Measure::Max, Some(moments.max));
    }
    measured.nan = needs.has(Measure::Nan).then_some(moments.missing);
    if wants_median && moments.count() > 0 {
        measured.median = number(median(&mut stream, keys, select, moments.count())?);
    }
    Ok(measured)
}

/// A frame as runs of float64 in which missing samples are NaN.
struct Stream<'a> {
    frame: &'a mut dyn Frame,
    dtype: DType,
    blank: Option<u64>,
    n_samples: u64,
    stored: Vec<u8>,
}

impl<'a> Stream<'a> {
    fn new(frame: &'a mut dyn Frame) -> Result<Stream<'a>> {
        let facts = frame.facts();
        let blank = facts.blank.and_then(|blank| facts.dtype.bits_of_int(blank));
        Ok(Stream {
            dtype: facts.dtype,
            blank,
            n_samples: volume(&facts.shape)?,
            frame,
            stored: Vec::new(),
        })
    }

    /// How often each value is there, of a type of up to 16 bits.
    fn counts(&mut self) -> Result<Counts> {
        let mut by_bits = vec![0u64; 1 << (8 * self.dtype.size())];
        self.each_stored(&mut |dtype, stored| match dtype.size() {
            1 => stored
                .iter()
                .for_each(|&bits| by_bits[usize::from(bits)] += 1),
            _ => {
                let samples = stored.as_chunks::<2>().0.iter();
                samples.for_each(|bits| by_bits[usize::from(u16::from_le_bytes(*bits))] += 1);
            }
        })?;
        let missing = self
            .blank
            .and_then(|bits| by_bits.get_mut(usize::try_from(bits).ok()?));
        let missing = missing.map_or(0, std::mem::take);
        let valued = (0u64..).zip(by_bits).filter(|&(_, count)| count > 0);
        let valued =
            valued.filter_map(|(bits, count)| Some((self.dtype.int_of_bits(bits)?, count)));
        let mut valued: Vec<(i128, u64)> = valued.collect();
        valued.sort_unstable();
        Ok(Counts {
            total: valued.iter().map(|&(_, count)| count).sum(),
            valued,
            missing,
        })
    }

    /// Reads the whole frame once, as it is stored and as float64.
    fn each(&mut self, take: &mut dyn FnMut(&[u8], &[f64])) -> Result<()> {
        let blank = self.blank;
        let mut values = Vec::new();
        self.each_stored(&mut |dtype, stored| {
            values.clear();
            floats(dtype, blank, stored, &mut |block| {
                values.extend_from_slice(block);
            });
            take(stored, &values);
        })
    }

    /// Reads the whole frame once, run by run.
    fn each_stored(&mut self, take: &mut dyn FnMut(DType, &[u8])) -> Result<()> {
        let mut first = 0;
        while first < self.n_samples {
            let count = RUN.min(self.n_samples - first);
            #[allow(clippy::cast_possible_truncation, reason = "a run is short")]
            self.stored.resize(count as usize * self.dtype.size(), 0);
            self.frame.read(first, &mut self.stored)?;
            take(self.dtype, &self.stored);
            first += count;
        }
        Ok(())
    }
}

/// Integers of a few values: each with how often it is there, ascending.
struct Counts {
    valued: Vec<(i128, u64)>,
    total: u64,
    missing: u64,
}

impl Counts {
    fn sum(&self) -> Option<f64> {
        // Below 2^16 times 2^64: nothing is rounded before the end.
        let products = self
            .valued
            .iter()
            .map(|&(value, count)| value * i128::from(count));
        (self.total > 0).then(|| products.sum::<i128>() as f64)
    }

    fn mean(&self) -> Option<f64> {
        Some(self.sum()? / self.total as f64)
    }

    fn std(&self) -> Option<f64> {
        let mean = self.mean()?;
        let squares = self
            .valued
            .iter()
            .map(|&(value, count)| (value as f64 - mean).powi(2) * count as f64);
        Some((squares.sum::<f64>() / self.total as f64).sqrt())
    }

    fn median(&self) -> Option<f64> {
        let last = self.total.checked_sub(1)?;
        Some((self.at_rank(last / 2)? + self.at_rank(self.total / 2)?) / 2.0)
    }

    /// The value that `rank` are before when all are in order.
    fn at_rank(&self, rank: u64) -> Option<f64> {
        let mut before = 0;
        let found = self.valued.iter().find(|(_, count)| {
            before += count;
            rank < before
        });
        found.map(|&(value, _)| value as f64)
    }
}

/// Sums of the finite samples, and counts of the others.
struct Moments {
    /// Finite samples, their sum and mean, and the sum of squared distances from that.
    finite: u64,
    sum: f64,
    mean: f64,
    squares: f64,
    min: f64,
    max: f64,
    /// Samples that are -inf, and inf.
    infinite: [u64; 2],
    missing: u64,
}

impl Default for Moments {
    fn default() -> Moments {
        Moments {
            finite: 0,
            sum: 0.0,
            mean: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            infinite: [0; 2],
            missing: 0,
        }
    }
}

impl Moments {
    fn add(&mut self, values: &[f64]) {
        for block in values.chunks(BLOCK) {
            self.add_block(block);
        }
    }

    fn add_block(&mut self, block: &[f64]) {
        // Lane by lane, for a sum in one order waits for each sample in turn.
        let (mut finite, mut sum) = ([0u64; LANES], [0.0; LANES]);
        let (mut min, mut max) = ([self.min; LANES], [self.max; LANES]);
        for lanes in block.chunks(LANES) {
            for (k, &value) in lanes.iter().enumerate() {
                // Neither comparison holds for NaN, so it never gets in.
                min[k] = if value < min[k] { value } else { min[k] };
                max[k] = if value > max[k] { value } else { max[k] };
                let counts = value.is_finite();
                finite[k] += u64::from(counts);
                sum[k] += if counts { value } else { 0.0 };
            }
        }
        self.min = min.into_iter().fold(self.min, f64::min);
        self.max = max.into_iter().fold(self.max, f64::max);
        let (finite, sum) = (finite.iter().sum::<u64>(), sum.iter().sum::<f64>());
        if finite < block.len() as u64 {
            for &value in block {
                self.missing += u64::from(value.is_nan());
                self.infinite[0] += u64::from(value == f64::NEG_INFINITY);
                self.infinite[1] += u64::from(value == f64::INFINITY);
            }
        }
        if finite == 0 {
            return;
        }
        let mean = sum / finite as f64;
        let mut squares = [0.0; LANES];
        for lanes in block.chunks(LANES) {
            for (sum, &value) in squares.iter_mut().zip(lanes) {
                let distance = if value.is_finite() { value - mean } else { 0.0 };
                *sum += distance * distance;
            }
        }
        let squares: f64 = squares.iter().sum();
        self.sum += sum;
        let both = self.finite + finite;
        if self.finite == 0 {
            (self.finite, self.mean, self.squares) = (finite, mean, squares);
            return;
        }
        let (distance, part) = (mean - self.mean, finite as f64 / both as f64);
        self.squares += squares + distance * distance * part * self.finite as f64;
        self.mean += distance * part;
        self.finite = both;
    }

    /// Samples that are not missing.
    fn count(&self) -> u64 {
        self.finite + self.infinite[0] + self.infinite[1]
    }

    fn sum(&self) -> Option<f64> {
        match self.infinite {
            [0, 0] => (self.finite > 0).then_some(self.sum),
            _ => self.mean(),
        }
    }

    fn mean(&self) -> Option<f64> {
        match self.infinite {
            // What is alike is its own mean, to the bit.
            [0, 0] if self.min == self.max => Some(self.min),
            [0, 0] => (self.finite > 0).then_some(self.mean),
            [_, 0] => Some(f64::NEG_INFINITY),
            [0, _] => Some(f64::INFINITY),
            _ => None,
        }
    }

    fn std(&self) -> Option<f64> {
        let exists = self.infinite == [0, 0] && self.finite > 0;
        let variance = match self.min == self.max {
            true => 0.0,
            false => self.squares / self.finite as f64,
        };
        exists.then(|| variance.sqrt())
    }
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
