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

/// Samples of 32 or 64 bits as unsigned integers of the same order.
#[derive(Clone, Copy)]
pub(super) struct Keys {
    dtype: DType,
    blank: Option<u64>,
}

impl Keys {
    /// Of samples of this type, those of the bits `blank` missing.
    pub(super) fn of(dtype: DType, blank: Option<u64>) -> Keys {
        Keys { dtype, blank }
    }

    /// Bits of a key.
    pub(super) fn width(self) -> u32 {
        self.dtype.mask().count_ones()
    }

    /// The bit that is the sign, where there is one.
    fn sign(self) -> u64 {
        1 << (self.width() - 1)
    }

    /// Hands out the keys of the stored samples that are not missing.
    pub(super) fn each(self, stored: &[u8], take: &mut impl FnMut(u64)) {
        // Each type has a loop of its own, which asks nothing twice.
        let words = stored.as_chunks::<4>().0.iter();
        let words = words.map(|word| u64::from(u32::from_le_bytes(*word)));
        let longs = stored.as_chunks::<8>().0.iter();
        let longs = longs.map(|long| u64::from_le_bytes(*long));
        let blank = self.blank;
        let is_there = |bits: &u64| Some(*bits) != blank;
        match self.dtype {
            DType::F32 => words
                .filter(|bits| bits & 0x7fff_ffff <= 0x7f80_0000)
                .for_each(|bits| take(turned(bits, 1 << 31))),
            DType::F64 => longs
                .filter(|bits| bits & !(1 << 63) <= 0x7ff << 52)
                .for_each(|bits| take(turned(bits, 1 << 63))),
            DType::I32 => words.filter(is_there).for_each(|bits| take(bits ^ 1 << 31)),
            DType::I64 => longs.filter(is_there).for_each(|bits| take(bits ^ 1 << 63)),
            DType::U64 => longs.filter(is_there).for_each(take),
            _ => words.filter(is_there).for_each(take),
        }
    }

    /// The sample of a key.
    fn value(self, key: u64) -> f64 {
        let sign = self.sign();
        match self.dtype {
            #[allow(clippy::cast_possible_truncation, reason = "keys are as wide as said")]
            DType::F32 => f64::from(f32::from_bits(turned_back(key, sign) as u32)),
            DType::F64 => f64::from_bits(turned_back(key, sign)),
            DType::I32 | DType::I64 => self.number(key ^ sign),
            _ => self.number(key),
        }
    }

    fn number(self, bits: u64) -> f64 {
        self.dtype
            .int_of_bits(bits)
            .map_or(f64::NAN, |value| value as f64)
    }
}

/// The bits of a float as an unsigned integer that orders as the float does; `sign` is
/// its topmost bit.
#[inline]
fn turned(bits: u64, sign: u64) -> u64 {
    match bits & sign {
        0 => bits | sign,
        _ => !bits & (sign | (sign - 1)),
    }
}

/// What [`turned`] was given.
fn turned_back(key: u64, sign: u64) -> u64 {
    match key & sign {
        0 => !key & (sign | (sign - 1)),
        _ => key & !sign,
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
    /// The least key above all that begin with `prefix`; the greatest there is, if none.
    above: u64,
}

impl Select {
    pub(super) fn new(width: u32) -> Select {
        Select {
            counts: vec![0; 1 << DIGIT],
            prefix: 0,
            open: width,
            above: u64::MAX,
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
        // Half of the keys are above, and nobody can guess which.
        let above = if leading > self.prefix { key } else { u64::MAX };
        self.above = self.above.min(above);
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
        self.above = match self.open {
            0 => next.unwrap_or(self.above),
            _ => u64::MAX,
        };
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
        stream.each_stored(&mut |_, stored| keys.each(stored, &mut |key| select.count(key)))?;
        (rank, held) = select.narrow(rank);
    }
    // Keys without open bits are all alike.
    let alike = select.open == 0;
    if !alike {
        stream.each_stored(&mut |_, stored| {
            keys.each(stored, &mut |key| {
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
    let upper = keys.value(at(rank + 1).unwrap_or(select.above));
    let sum = lower + upper;
    Ok(match sum.is_finite() {
        true => sum / 2.0,
        false => lower / 2.0 + upper / 2.0,
    })
}
