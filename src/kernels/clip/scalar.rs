//! The definition of clipping and of the statistics, for one line of float64.
//!
//! It is slow and meant to be read. Sums are taken in the order in which astropy
//! takes them, so that bounds agree to the last bit; where its median is asked
//! for, that is the order in which the selection leaves the samples.

use super::{Center, Fill, Line, MAD_TO_STD, Rule, Spread, Statistic};

/// A line without samples.
pub(super) const NOTHING: Line = Line {
    counted: 0,
    kept: 0,
    low: f64::NAN,
    high: f64::NAN,
    fill: f64::NAN,
};

/// Room for a line, kept from one to the next.
#[derive(Default)]
pub struct Buffers {
    samples: Vec<f64>,
    distances: Vec<f64>,
}

impl Buffers {
    /// Clips a line.
    pub fn clip(&mut self, rule: &Rule, line: impl Iterator<Item = f64> + Clone) -> Line {
        self.samples.clear();
        self.samples
            .extend(line.clone().filter(|sample| sample.is_finite()));
        let counted = self.samples.len();
        if counted == 0 {
            return NOTHING;
        }
        let (low, high) = self.bounds(rule);
        let is_out = |sample: &f64| is_rejected(*sample, low, high);
        let has_rejected = line.clone().any(|sample| is_out(&sample));
        self.samples.clear();
        self.samples.extend(
            line.filter(|sample| sample.is_finite())
                .filter(|sample| !is_out(sample)),
        );
        let fill = match rule.fill {
            Fill::Median if has_rejected => middle(&mut self.samples),
            Fill::Mean if has_rejected => mean(&self.samples),
            _ => f64::NAN,
        };
        Line {
            counted: counted as u32,
            kept: self.samples.len() as u32,
            low,
            high,
            fill,
        }
    }

    /// The last bounds of the samples, of which there are some. A round that
    /// removes nothing or everything is the last.
    fn bounds(&mut self, rule: &Rule) -> (f64, f64) {
        let mut rounds = 0;
        loop {
            let (low, high) = self.round(rule);
            let before = self.samples.len();
            self.samples
                .retain(|sample| low <= *sample && *sample <= high);
            let after = self.samples.len();
            rounds += 1;
            if after == before || after == 0 || rule.rounds == Some(rounds) {
                return (low, high);
            }
        }
    }

    /// The bounds about the samples that are left.
    fn round(&mut self, rule: &Rule) -> (f64, f64) {
        let samples = &mut self.samples;
        // First the median, as it moves samples and so decides on sums.
        let median = match (rule.center, rule.spread) {
            (Center::Mean, Spread::Std) => f64::NAN,
            _ => half_of_two(samples),
        };
        let center = match rule.center {
            Center::Median => median,
            Center::Mean => mean(samples),
        };
        let spread = match rule.spread {
            Spread::Std => deviation(samples),
            Spread::Mad => {
                self.distances.clear();
                let distances = samples.iter().map(|sample| (sample - median).abs());
                self.distances.extend(distances);
                half_of_two(&mut self.distances) * MAD_TO_STD
            }
        };
        rule.bounds(center, spread)
    }

    /// A statistic of a line and the count of what went into it. NaN is left out.
    pub fn collapse(&mut self, line: impl Iterator<Item = f64>, what: Statistic) -> (f64, u32) {
        self.samples.clear();
        self.samples.extend(line.filter(|sample| !sample.is_nan()));
        let samples = &mut self.samples;
        let counted = samples.len() as u32;
        if samples.is_empty() {
            return (f64::NAN, 0);
        }
        let value = match what {
            Statistic::Median => middle(samples),
            Statistic::Mean => mean(samples),
            Statistic::Sum => samples.iter().fold(0.0, |sum, sample| sum + sample),
            Statistic::Min => 0.0 + samples.iter().copied().fold(f64::INFINITY, f64::min),
            Statistic::Max => 0.0 + samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Statistic::Std => deviation(samples),
        };
        (value, counted)
    }
}

/// Whether a sample is rejected by the last bounds of its line.
pub fn is_rejected(sample: f64, low: f64, high: f64) -> bool {
    sample < low || sample > high || sample.is_infinite()
}

fn mean(samples: &[f64]) -> f64 {
    // Not `sum`, which begins at -0.
    let sum = samples.iter().fold(0.0, |sum, sample| sum + sample);
    sum / samples.len() as f64
}

/// The standard deviation about the mean, over n.
fn deviation(samples: &[f64]) -> f64 {
    let mean = mean(samples);
    let square = |sample: &f64| (sample - mean) * (sample - mean);
    let sum = samples.iter().fold(0.0, |sum, sample| sum + square(sample));
    (sum / samples.len() as f64).sqrt()
}

/// The median; 0 has no sign, and half the sum of two large samples is no
/// infinity. NaN of no samples.
fn middle(samples: &mut [f64]) -> f64 {
    let n = samples.len();
    if n == 0 {
        return f64::NAN;
    }
    let (below, upper, _) = samples.select_nth_unstable_by(n / 2, f64::total_cmp);
    let upper = *upper;
    if n % 2 == 1 {
        return 0.0 + upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    between(lower, upper)
}

/// Half the sum of two samples, as a median has it.
pub(super) fn between(lower: f64, upper: f64) -> f64 {
    let sum = lower + upper;
    if sum.is_infinite() {
        return 0.5 * lower + 0.5 * upper;
    }
    0.0 + 0.5 * sum
}

/// The median of one sample or more, which leaves them in the order in which
/// astropy leaves them.
fn half_of_two(samples: &mut [f64]) -> f64 {
    let n = samples.len();
    if n % 2 == 1 {
        return select(samples, n / 2);
    }
    let upper = select(samples, n / 2);
    0.5 * (upper + select(samples, n / 2 - 1))
}

/// The sample of rank `rank`, which ends up at that index.
///
/// Hoare's FIND (Communications of the ACM 4, 1961, p. 321) as Wirth gives it in
/// *Algorithms + Data Structures = Programs* (1976): which samples are exchanged
/// decides on the order in which they are summed afterwards.
fn select(samples: &mut [f64], rank: usize) -> f64 {
    let (mut from, mut to) = (0, samples.len() - 1);
    while from < to {
        let pivot = samples[rank];
        // `end` is one past the index on the right, which may fall below 0.
        let (mut start, mut end) = (from, to + 1);
        loop {
            while samples[start] < pivot {
                start += 1;
            }
            while pivot < samples[end - 1] {
                end -= 1;
            }
            if start < end {
                samples.swap(start, end - 1);
                start += 1;
                end -= 1;
            }
            if start >= end {
                break;
            }
        }
        if end <= rank {
            from = start;
        }
        if rank < start {
            to = end.saturating_sub(1);
        }
    }
    samples[rank]
}
