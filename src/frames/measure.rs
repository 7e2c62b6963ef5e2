//! Measured values of a frame's samples: mean, median, std, min, max, and how
//! many samples are missing.
//!
//! The frame is streamed in runs, once for everything, and up to three times more
//! for the median of samples of more than 16 bits; no frame is ever held whole,
//! and memory stays below 4 MiB. Samples become float64 first: those of 64-bit
//! integers are rounded once there, all others are exact.
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
use crate::kernels::cast::{Rules, convert};
use crate::region::volume;
use median::{Keys, Select, median};

/// Samples of one run: with their float64 twins at most 2 MiB.
const RUN: u64 = 128 << 10;

/// Samples whose sums are taken before they are joined to the others'.
const BLOCK: usize = 4096;

/// A value that is measured.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Mean,
    Median,
    Std,
    Min,
    Max,
    /// How many samples are NaN or BLANK.
    Nan,
}

const NAMES: [(&str, Measure); 6] = [
    ("mean", Measure::Mean),
    ("median", Measure::Median),
    ("std", Measure::Std),
    ("min", Measure::Min),
    ("max", Measure::Max),
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
    let mut stream = Stream::new(frame)?;
    let keys = Keys::of(stream.dtype);
    let wants_median = needs.has(Measure::Median);
    let mut moments = Moments::default();
    let mut select = Select::new(keys.width());
    stream.each(&mut |values| {
        moments.add(values);
        if wants_median {
            keys.each(values, &mut |key| select.count(key));
        }
    })?;
    let number = |value: f64| (!value.is_nan()).then_some(value);
    let of = |measure, value: Option<f64>| value.filter(|_| needs.has(measure));
    measured.mean = of(Measure::Mean, moments.mean().and_then(number));
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
    rules: Rules,
    n_samples: u64,
    stored: Vec<u8>,
    values: Vec<f64>,
}

impl<'a> Stream<'a> {
    fn new(frame: &'a mut dyn Frame) -> Result<Stream<'a>> {
        let facts = frame.facts();
        let blank = facts.blank.and_then(|blank| facts.dtype.bits_of_int(blank));
        Ok(Stream {
            dtype: facts.dtype,
            rules: Rules {
                blank_from: blank,
                blank_to: Some(f64::NAN.to_bits()),
                ..Rules::default()
            },
            n_samples: volume(&facts.shape)?,
            frame,
            stored: Vec::new(),
            values: Vec::new(),
        })
    }

    /// Reads the whole frame once.
    fn each(&mut self, take: &mut dyn FnMut(&[f64])) -> Result<()> {
        let mut converted = [0; BLOCK * 8];
        let mut first = 0;
        while first < self.n_samples {
            let count = RUN.min(self.n_samples - first);
            #[allow(clippy::cast_possible_truncation, reason = "a run is short")]
            self.stored.resize(count as usize * self.dtype.size(), 0);
            self.frame.read(first, &mut self.stored)?;
            self.values.clear();
            for stored in self.stored.chunks(BLOCK * self.dtype.size()) {
                let out = &mut converted[..stored.len() / self.dtype.size() * 8];
                convert(self.dtype, stored, DType::F64, out, &self.rules);
                let words = out.as_chunks::<8>().0.iter();
                self.values
                    .extend(words.map(|word| f64::from_le_bytes(*word)));
            }
            take(&self.values);
            first += count;
        }
        Ok(())
    }
}

/// Sums of the finite samples, and counts of the others.
struct Moments {
    /// Finite samples, their mean, and the sum of squared distances from it.
    finite: u64,
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
        let (mut finite, mut sum) = (0u64, 0.0);
        for &value in block {
            // Neither comparison holds for NaN, so it never gets in.
            self.min = if value < self.min { value } else { self.min };
            self.max = if value > self.max { value } else { self.max };
            let counts = value.is_finite();
            finite += u64::from(counts);
            sum += if counts { value } else { 0.0 };
        }
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
        let mut squares = 0.0;
        for &value in block {
            let distance = if value.is_finite() { value - mean } else { 0.0 };
            squares += distance * distance;
        }
        let both = self.finite + finite;
        let (distance, part) = (mean - self.mean, finite as f64 / both as f64);
        self.squares += squares + distance * distance * part * self.finite as f64;
        self.mean += distance * part;
        self.finite = both;
    }

    /// Samples that are not missing.
    fn count(&self) -> u64 {
        self.finite + self.infinite[0] + self.infinite[1]
    }

    fn mean(&self) -> Option<f64> {
        match self.infinite {
            [0, 0] => (self.finite > 0).then_some(self.mean),
            [_, 0] => Some(f64::NEG_INFINITY),
            [0, _] => Some(f64::INFINITY),
            _ => None,
        }
    }

    fn std(&self) -> Option<f64> {
        let exists = self.infinite == [0, 0] && self.finite > 0;
        exists.then(|| (self.squares / self.finite as f64).sqrt())
    }
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
