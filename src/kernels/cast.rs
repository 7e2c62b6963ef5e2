//! Samples of one type to samples of another: all pairs of the ten types.
//!
//! What cannot be kept is clipped and counted, never wrapped: an integer beyond
//! the target's range becomes the nearest end of it. Rounding is to nearest, ties
//! to even. Between equal types bits are copied, so NaN payloads and -0 survive.

#![allow(
    clippy::cast_possible_truncation,
    reason = "every cast stands behind a clamp, or rounds on purpose"
)]

use crate::dtype::DType;

/// What to do with "no data". All are bits in the low bytes of the sample type:
/// `blank_from` of the source's, the others of the target's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What NaN becomes in an integer target; without it NaN becomes 0 and is
    /// counted.
    pub nan_as: Option<u64>,
    /// The integer source's "no data"; only matters together with `blank_to`.
    pub blank_from: Option<u64>,
    /// What `blank_from` becomes.
    pub blank_to: Option<u64>,
}

/// What a conversion could not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Samples beyond the target's range; they became its nearest end, or an
    /// infinity where float64 went to float32.
    pub clipped: u64,
    /// NaN samples that had no value to become.
    pub nan: u64,
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Outcome) {
        self.clipped += other.clipped;
        self.nan += other.nan;
    }
}

/// Converts little-endian samples `src` into little-endian samples `dst`. The
/// slices hold the same number of samples; what one has in excess is left alone.
pub fn convert(from: DType, src: &[u8], to: DType, dst: &mut [u8], rules: &Rules) -> Outcome {
    match from {
        DType::U8 => convert_from::<u8>(src, to, dst, rules),
        DType::I8 => convert_from::<i8>(src, to, dst, rules),
        DType::U16 => convert_from::<u16>(src, to, dst, rules),
        DType::I16 => convert_from::<i16>(src, to, dst, rules),
        DType::U32 => convert_from::<u32>(src, to, dst, rules),
        DType::I32 => convert_from::<i32>(src, to, dst, rules),
        DType::U64 => convert_from::<u64>(src, to, dst, rules),
        DType::I64 => convert_from::<i64>(src, to, dst, rules),
        DType::F32 => convert_from::<f32>(src, to, dst, rules),
        DType::F64 => convert_from::<f64>(src, to, dst, rules),
    }
}

/// Samples that become float64 at once.
const BLOCK: usize = 2048;

/// Gives the values of little-endian samples in order, some at a time: NaN where a
/// sample is `blank`.
pub fn floats(from: DType, blank: Option<u64>, samples: &[u8], take: &mut dyn FnMut(&[f64])) {
    let rules = Rules {
        blank_from: blank,
        blank_to: Some(f64::NAN.to_bits()),
        ..Rules::default()
    };
    let (mut converted, mut values) = ([0; BLOCK * 8], [0.0; BLOCK]);
    for block in samples.chunks(BLOCK * from.size()) {
        let n = block.len() / from.size();
        convert(from, block, DType::F64, &mut converted[..n * 8], &rules);
        let words = converted.as_chunks::<8>().0.iter();
        for (value, word) in values[..n].iter_mut().zip(words) {
            *value = f64::from_le_bytes(*word);
        }
        take(&values[..n]);
    }
}

fn convert_from<S: CastAll>(src: &[u8], to: DType, dst: &mut [u8], rules: &Rules) -> Outcome {
    match to {
        DType::U8 => convert_pair::<S, u8>(src, dst, rules),
        DType::I8 => convert_pair::<S, i8>(src, dst, rules),
        DType::U16 => convert_pair::<S, u16>(src, dst, rules),
        DType::I16 => convert_pair::<S, i16>(src, dst, rules),
        DType::U32 => convert_pair::<S, u32>(src, dst, rules),
        DType::I32 => convert_pair::<S, i32>(src, dst, rules),
        DType::U64 => convert_pair::<S, u64>(src, dst, rules),
        DType::I64 => convert_pair::<S, i64>(src, dst, rules),
        DType::F32 => convert_pair::<S, f32>(src, dst, rules),
        DType::F64 => convert_pair::<S, f64>(src, dst, rules),
    }
}

fn convert_pair<S: Cast<T>, T: Sample>(src: &[u8], dst: &mut [u8], rules: &Rules) -> Outcome {
    let blank = match (rules.blank_from, rules.blank_to) {
        (Some(from), Some(to)) if !S::FLOAT => Some((S::of_bits(from), T::of_bits(to))),
        _ => None,
    };
    if S::DTYPE == T::DTYPE && blank.is_none() {
        let whole = src.len().min(dst.len()) / S::SIZE * S::SIZE;
        dst[..whole].copy_from_slice(&src[..whole]);
        return Outcome::default();
    }
    let nan_as = rules.nan_as.map(T::of_bits);
    let mut outcome = run::<S, T>(src, dst, blank, nan_as.unwrap_or(T::of_bits(0)));
    if nan_as.is_some() {
        outcome.nan = 0;
    }
    outcome
}

/// The loop. The blank is looked at outside the arithmetic, and both counts are
/// sums of booleans, so that nothing in it branches.
fn run<S: Cast<T>, T: Sample>(
    src: &[u8],
    dst: &mut [u8],
    blank: Option<(S, T)>,
    nan_as: T,
) -> Outcome {
    let mut outcome = Outcome::default();
    let pairs = S::values(src).zip(dst.chunks_exact_mut(T::SIZE));
    match blank {
        None => {
            for (value, out) in pairs {
                let (cast, clipped, nan) = value.cast(nan_as);
                cast.store(out);
                outcome.clipped += u64::from(clipped);
                outcome.nan += u64::from(nan);
            }
        }
        Some((blank_from, blank_to)) => {
            for (value, out) in pairs {
                let is_blank = value == blank_from;
                let (cast, clipped, nan) = value.cast(nan_as);
                let cast = if is_blank { blank_to } else { cast };
                cast.store(out);
                outcome.clipped += u64::from(clipped & !is_blank);
                outcome.nan += u64::from(nan & !is_blank);
            }
        }
    }
    outcome
}

/// A sample as the machine holds it.
trait Sample: Copy + PartialEq {
    const DTYPE: DType;
    const SIZE: usize;
    const FLOAT: bool;
    fn of_bits(bits: u64) -> Self;
    fn values(bytes: &[u8]) -> impl Iterator<Item = Self>;
    fn store(self, out: &mut [u8]);
}

/// A conversion: the value, whether it was clipped, whether it was a NaN that
/// the target cannot hold and became `nan_as`.
trait Cast<T: Sample>: Sample {
    fn cast(self, nan_as: T) -> (T, bool, bool);
}

/// Samples that convert to every type.
trait CastAll:
    Cast<u8>
    + Cast<i8>
    + Cast<u16>
    + Cast<i16>
    + Cast<u32>
    + Cast<i32>
    + Cast<u64>
    + Cast<i64>
    + Cast<f32>
    + Cast<f64>
{
}

macro_rules! samples {
    ($($type:ty, $bits:ty, $dtype:ident;)+) => {$(
        impl Sample for $type {
            const DTYPE: DType = DType::$dtype;
            const SIZE: usize = size_of::<$type>();
            const FLOAT: bool = DType::$dtype.is_float();

            fn of_bits(bits: u64) -> Self {
                // The low bytes are the sample, as `Rules` says.
                Self::from_le_bytes((bits as $bits).to_le_bytes())
            }

            #[inline(always)]
            fn values(bytes: &[u8]) -> impl Iterator<Item = Self> {
                let chunks = bytes.as_chunks::<{ size_of::<$type>() }>().0;
                chunks.iter().map(|chunk| Self::from_le_bytes(*chunk))
            }

            #[inline(always)]
            fn store(self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_le_bytes());
            }
        }

        impl CastAll for $type {}
    )+};
}

macro_rules! int_to_int {
    ($($from:ty => $($to:ty)+;)+) => {$($(
        impl Cast<$to> for $from {
            #[inline(always)]
            fn cast(self, _: $to) -> ($to, bool, bool) {
                // The part of the source's range that the target has.
                const LEAST: $from = if (<$to>::MIN as i128) < <$from>::MIN as i128 {
                    <$from>::MIN
                } else {
                    <$to>::MIN as $from
                };
                const GREATEST: $from = if (<$to>::MAX as i128) > <$from>::MAX as i128 {
                    <$from>::MAX
                } else {
                    <$to>::MAX as $from
                };
                let kept = self.clamp(LEAST, GREATEST);
                (kept as $to, kept != self, false)
            }
        }
    )+)+};
}

macro_rules! int_to_float {
    ($($from:ty => $($to:ty)+;)+) => {$($(
        impl Cast<$to> for $from {
            #[inline(always)]
            fn cast(self, _: $to) -> ($to, bool, bool) {
                // `as` rounds to nearest, ties to even.
                (self as $to, false, false)
            }
        }
    )+)+};
}

macro_rules! float_to_int {
    ($($from:ty, $whole:expr => $($to:ty)+;)+) => {$($(
        impl Cast<$to> for $from {
            #[inline(always)]
            fn cast(self, nan_as: $to) -> ($to, bool, bool) {
                // Powers of two, so exact: the least value, and the first too large.
                const LEAST: $from = <$to>::MIN as $from;
                const LIMIT: $from = (<$to>::MAX / 2 + 1) as $from * 2.0;
                // Adding and taking away the power of two from which on floats
                // are whole rounds half to even, in two instructions that every
                // processor has; `round_ties_even` is a call on plain x86-64.
                const WHOLE: $from = $whole;
                let push = WHOLE.copysign(self);
                let near = self.abs() < WHOLE;
                let rounded = if near { (self + push) - push } else { self };
                let nan = self.is_nan();
                let clipped = !nan & !(LEAST..LIMIT).contains(&rounded);
                // `as` clips.
                (if nan { nan_as } else { rounded as $to }, clipped, nan)
            }
        }
    )+)+};
}

samples! {
    u8, u8, U8;
    i8, u8, I8;
    u16, u16, U16;
    i16, u16, I16;
    u32, u32, U32;
    i32, u32, I32;
    u64, u64, U64;
    i64, u64, I64;
    f32, u32, F32;
    f64, u64, F64;
}

int_to_int! {
    u8 => u8 i8 u16 i16 u32 i32 u64 i64;
    i8 => u8 i8 u16 i16 u32 i32 u64 i64;
    u16 => u8 i8 u16 i16 u32 i32 u64 i64;
    i16 => u8 i8 u16 i16 u32 i32 u64 i64;
    u32 => u8 i8 u16 i16 u32 i32 u64 i64;
    i32 => u8 i8 u16 i16 u32 i32 u64 i64;
    u64 => u8 i8 u16 i16 u32 i32 u64 i64;
    i64 => u8 i8 u16 i16 u32 i32 u64 i64;
}

int_to_float! {
    u8 => f32 f64;
    i8 => f32 f64;
    u16 => f32 f64;
    i16 => f32 f64;
    u32 => f32 f64;
    i32 => f32 f64;
    u64 => f32 f64;
    i64 => f32 f64;
}

float_to_int! {
    f32, 8_388_608.0 => u8 i8 u16 i16 u32 i32 u64 i64;
    f64, 4_503_599_627_370_496.0 => u8 i8 u16 i16 u32 i32 u64 i64;
}

impl Cast<f32> for f32 {
    fn cast(self, _: f32) -> (f32, bool, bool) {
        (self, false, false)
    }
}

impl Cast<f64> for f64 {
    fn cast(self, _: f64) -> (f64, bool, bool) {
        (self, false, false)
    }
}

impl Cast<f64> for f32 {
    #[inline(always)]
    fn cast(self, _: f64) -> (f64, bool, bool) {
        (f64::from(self), false, false)
    }
}

impl Cast<f32> for f64 {
    #[inline(always)]
    fn cast(self, _: f32) -> (f32, bool, bool) {
        let cast = self as f32;
        (cast, cast.is_infinite() & self.is_finite(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, one sample at a time, by way of 128-bit integers.
    fn naive(from: DType, bits: u64, to: DType, rules: &Rules) -> (u64, Outcome) {
        let mut outcome = Outcome::default();
        if let (Some(blank), Some(target)) = (rules.blank_from, rules.blank_to)
            && !from.is_float()
            && bits == blank
        {
            return (target, outcome);
        }
        if from == to {
            return (bits, outcome);
        }
        let float = match from {
            DType::F32 => Some(f64::from(f32::from_bits(bits as u32))),
            DType::F64 => Some(f64::from_bits(bits)),
            _ => None,
        };
        let out = match (float, to.int_range()) {
            (Some(value), Some(_)) if value.is_nan() => {
                outcome.nan = u64::from(rules.nan_as.is_none());
                rules.nan_as.unwrap_or(0)
            }
            (Some(value), Some((least, greatest))) => {
                let whole = value.round_ties_even() as i128;
                outcome.clipped = u64::from(whole < least || whole > greatest);
                to.bits_of_int(whole.clamp(least, greatest)).unwrap()
            }
            (Some(value), None) if to == DType::F64 => value.to_bits(),
            (Some(value), None) => {
                let cast = value as f32;
                outcome.clipped = u64::from(cast.is_infinite() && value.is_finite());
                u64::from(cast.to_bits())
            }
            (None, Some((least, greatest))) => {
                let value = from.int_of_bits(bits).unwrap();
                outcome.clipped = u64::from(value < least || value > greatest);
                to.bits_of_int(value.clamp(least, greatest)).unwrap()
            }
            (None, None) => {
                let value = from.int_of_bits(bits).unwrap();
                match to {
                    DType::F32 => u64::from((value as f32).to_bits()),
                    _ => (value as f64).to_bits(),
                }
            }
        };
        (out, outcome)
    }

    /// Awkward samples of a type, and pseudo-random ones.
    fn samples(dtype: DType) -> Vec<u64> {
        let mut samples = vec![0, 1, 7, dtype.mask(), dtype.mask() >> 1];
        for power in 0..64 {
            for near in [-1i64, 0, 1] {
                let whole = (1i128 << power) + i128::from(near);
                for value in [whole, -whole] {
                    samples.extend(dtype.bits_of_int(value));
                    match dtype {
                        DType::F32 => samples.push(u64::from((value as f32).to_bits())),
                        DType::F64 => samples.push((value as f64).to_bits()),
                        _ => {}
                    }
                }
            }
        }
        for value in [
            0.5,
            1.5,
            2.5,
            -0.5,
            -1.5,
            254.5,
            255.5,
            -128.5,
            32767.5,
            -32768.5,
            0.49999999999999994,
            65535.5,
            f64::NAN,
            f64::INFINITY,
            -f64::INFINITY,
            -0.0,
            1e300,
            1e-300,
            3.4028235e38,
            3.402_823_6e38,
        ] {
            match dtype {
                DType::F32 => samples.push(u64::from((value as f32).to_bits())),
                DType::F64 => samples.push(value.to_bits()),
                _ => {}
            }
        }
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..2000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            samples.push(state & dtype.mask());
        }
        samples
    }

    fn is_nan_pair(dtype: DType, left: u64, right: u64) -> bool {
        dtype.is_nan(left) && dtype.is_nan(right)
    }

    #[test]
    fn every_pair_converts_as_the_definition_says() {
        for from in DType::all() {
            let samples = samples(from);
            let src: Vec<u8> = samples
                .iter()
                .flat_map(|bits| bits.to_le_bytes()[..from.size()].to_vec())
                .collect();
            for to in DType::all() {
                for rules in [
                    Rules::default(),
                    Rules {
                        nan_as: Some(9),
                        blank_from: Some(7),
                        blank_to: Some(11),
                    },
                ] {
                    let mut expected = Outcome::default();
                    let mut dst = vec![0xaa; samples.len() * to.size()];
                    let outcome = convert(from, &src, to, &mut dst, &rules);
                    for (bits, out) in samples.iter().zip(dst.chunks_exact(to.size())) {
                        let (wanted, more) = naive(from, *bits, to, &rules);
                        expected += more;
                        let got = to.bits_at(out);
                        assert!(
                            got == wanted || (from != to && is_nan_pair(to, got, wanted)),
                            "{from} {} to {to}: {} is not {}",
                            from.show(*bits),
                            to.show(got),
                            to.show(wanted)
                        );
                    }
                    assert_eq!(outcome, expected, "{from} to {to}");
                }
            }
        }
    }

    #[test]
    fn nan_payloads_and_negative_zero_survive() {
        let bits = [0x7fc1_2345u32, 0xff80_0001, 0x8000_0000];
        let src: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let mut dst = vec![0; 12];
        convert(DType::F32, &src, DType::F32, &mut dst, &Rules::default());
        assert_eq!(dst, src);
        let mut wide = vec![0; 24];
        convert(DType::F32, &src, DType::F64, &mut wide, &Rules::default());
        assert_eq!(DType::F64.bits_at(&wide), 0x7ff8_2468_a000_0000);
        assert_eq!(DType::F64.bits_at(&wide[16..]), 1 << 63);
    }

    #[test]
    fn the_blank_of_an_integer_becomes_nan() {
        let src: Vec<u8> = [-32768i16, 5]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let mut dst = [0; 8];
        let rules = Rules {
            blank_from: Some(0x8000),
            blank_to: Some(u64::from(f32::NAN.to_bits())),
            ..Rules::default()
        };
        convert(DType::I16, &src, DType::F32, &mut dst, &rules);
        assert!(DType::F32.is_nan(DType::F32.bits_at(&dst)));
        assert_eq!(DType::F32.bits_at(&dst[4..]), u64::from(5f32.to_bits()));
    }

    #[test]
    fn unequal_lengths_convert_what_both_have() {
        let mut dst = [1; 5];
        convert(DType::U8, &[9; 3], DType::U16, &mut dst, &Rules::default());
        assert_eq!(dst, [9, 0, 9, 0, 1]);
        convert(DType::U16, &[7; 9], DType::U16, &mut dst, &Rules::default());
        assert_eq!(dst, [7, 7, 7, 7, 1]);
    }
}
