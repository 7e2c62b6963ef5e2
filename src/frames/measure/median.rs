//! The exact median of a stream that is never held whole.
//!
//! Samples are mapped to integers of the same order, and the one of the wanted
//! rank is found 16 bits at a time: one pass counts how often each digit stands
//! behind those that are known. When few samples are left they are collected and
//! sorted instead.

use super::Stream;
use crate::dtype::DType;
use crate::error::Result;

/// Bits of a key that one pass counts.
const DIGIT: u32 = 16;

/// So many candidates are collected and sorted instead of counted.
const COLLECTED: u64 = 128 << 10;

/// Samples as unsigned integers of the same order, as narrow as the type allows.
#[derive(Clone, Copy)]
pub(super) enum Keys {
    /// Integers of up to 32 bits, less the least of the type.
    Int {
        least: i64,
        width: u32,
    },
    Float32,
    Float64,
}

impl Keys {
    pub(super) fn of(dtype: DType) -> Keys {
        match dtype {
            DType::F32 => Keys::Float32,
            DType::U8 | DType::U16 | DType::U32 => Keys::int(0, dtype),
            DType::I8 => Keys::int(i8::MIN.into(), dtype),
            DType::I16 => Keys::int(i16::MIN.into(), dtype),
            DType::I32 => Keys::int(i32::MIN.into(), dtype),
            DType::F64 | DType::I64 | DType::U64 => Keys::Float64,
        }
    }

    fn int(least: i64, dtype: DType) -> Keys {
        let width = dtype.mask().count_ones();
        Keys::Int { least, width }
    }

    /// Bits of a key.
    pub(super) fn width(self) -> u32 {
        match self {
            Keys::Int { width, .. } => width,
            Keys::Float32 => 32,
            Keys::Float64 => 64,
        }
    }

    /// Hands out the keys of the samples that are not missing.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the values were of the narrower type before they were float64"
    )]
    pub(super) fn each(self, values: &[f64], take: &mut impl FnMut(u64)) {
        let values = values.iter().copied().filter(|value| !value.is_nan());
        match self {
            Keys::Int { least, .. } => {
                values.for_each(|value| take((value as i64 - least) as u64));
            }
            Keys::Float32 => values.for_each(|value| {
                let bits = (value as f32).to_bits();
                let flip = if bits >> 31 == 1 { u32::MAX } else { 1 << 31 };
                take(u64::from(bits ^ flip));
            }),
            Keys::Float64 => values.for_each(|value| {
                let bits = value.to_bits();
                let flip = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
                take(bits ^ flip);
            }),
        }
    }

    /// The sample of a key.
    #[allow(clippy::cast_possible_truncation, reason = "keys are as wide as said")]
    fn value(self, key: u64) -> f64 {
        match self {
            Keys::Int { least, .. } => (key as i64 + least) as f64,
            Keys::Float32 => {
                let bits = key as u32;
                let flip = if bits >> 31 == 0 { u32::MAX } else { 1 << 31 };
                f64::from(f32::from_bits(bits ^ flip))
            }
            Keys::Float64 => {
                let flip = if key >> 63 == 0 { u64::MAX } else { 1 << 63 };
                f64::from_bits(key ^ flip)
            }
        }
    }
}

/// The search for the key of a rank: its leading digits so far, and how often
/// each next digit stands behind them.
pub(super) struct Select {
    counts: Vec<u64>,
    /// The digits that are known, in the high bits of the key.
    prefix: u64,
    /// Bits of the key that are not known.
    open: u32,
    /// The least key above all that begin with `prefix`.
    above: Option<u64>,
}

impl Select {
    pub(super) fn new(width: u32) -> Select {
        Select {
            counts: vec![0; 1 << DIGIT],
            prefix: 0,
            open: width,
            above: None,
        }
    }

    /// How far a key is shifted for its next digit to be its low bits.
    fn shift(&self) -> u32 {
        self.open.saturating_sub(DIGIT)
    }

    /// Is it among the keys that are still looked at? Remembers the nearest above.
    #[inline]
    fn is_open(&mut self, key: u64) -> bool {
        let leading = key.checked_shr(self.open).unwrap_or(0);
        if leading > self.prefix {
            self.above = Some(self.above.map_or(key, |above| above.min(key)));
        }
        leading == self.prefix
    }

    #[inline]
    pub(super) fn count(&mut self, key: u64) {
        if self.is_open(key) {
            let digit = (key >> self.shift()) & ((1 << DIGIT) - 1);
            #[allow(clippy::cast_possible_truncation, reason = "a digit has 16 bits")]
            let digit = digit as usize;
            self.counts[digit] += 1;
        }
    }

    /// Goes on to the keys that hold the one of `rank`; returns its rank among
    /// them, and how many they are.
    fn narrow(&mut self, mut rank: u64) -> (u64, u64) {
        let mut digit = 0;
        while digit + 1 < self.counts.len() && self.counts[digit] <= rank {
            rank -= self.counts[digit];
            digit += 1;
        }
        let held = self.counts[digit];
        let taken = self.open - self.shift();
        let more = &self.counts[digit + 1..];
        let next = more.iter().position(|&count| count > 0);
        let next = next.map(|more| (self.prefix << taken) | (digit + 1 + more) as u64);
        self.prefix = (self.prefix << taken) | digit as u64;
        self.open -= taken;
        // Before the last digit the next pass looks for what is above.
        self.above = next.or(self.above).filter(|_| self.open == 0);
        self.counts.fill(0);
        (rank, held)
    }
}

/// The median of `count` samples, the first of whose digits `select` has counted.
pub(super) fn median(
    stream: &mut Stream<'_>,
    keys: Keys,
    mut select: Select,
    count: u64,
) -> Result<f64> {
    // Of an even number the lower of the two in the middle.
    let (mut rank, mut held) = select.narrow((count - 1) / 2);
    let mut sorted = Vec::new();
    while select.open > 0 && held > COLLECTED {
        stream.each(&mut |values| keys.each(values, &mut |key| select.count(key)))?;
        (rank, held) = select.narrow(rank);
    }
    // Keys without open bits are all alike.
    let alike = select.open == 0;
    if !alike {
        stream.each(&mut |values| {
            keys.each(values, &mut |key| {
                if select.is_open(key) && (sorted.len() as u64) < held {
                    sorted.push(key);
                }
            });
        })?;
        sorted.sort_unstable();
    }
    let at = |rank: u64| match alike {
        true => (rank < held).then_some(select.prefix),
        false => usize::try_from(rank)
            .ok()
            .and_then(|rank| sorted.get(rank).copied()),
    };
    // A file that changes between two passes has no median.
    let lower = at(rank).map_or(f64::NAN, |key| keys.value(key));
    if !count.is_multiple_of(2) {
        return Ok(lower);
    }
    let upper = at(rank + 1).or(select.above);
    let upper = upper.map_or(f64::NAN, |key| keys.value(key));
    let sum = lower + upper;
    Ok(match sum.is_finite() {
        true => sum / 2.0,
        false => lower / 2.0 + upper / 2.0,
    })
}
