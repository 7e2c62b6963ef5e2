//! What is stored of a row of samples, made little-endian samples of a type.
//!
//! Samples of 8, 16, 32 and 64 bits come through bit for bit. Integers of other
//! depths are widened to the next type, signs kept; floats of 16 and 24 bits to
//! float32, which holds each of them exactly.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernels::swap::swap_in_place;

/// How a sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Bits of a sample, 1 to 64.
    pub(super) bits: u32,
    /// Its type once it is unpacked.
    pub(super) dtype: DType,
    /// Are numbers of whole bytes big-endian?
    pub(super) is_big_endian: bool,
    /// What was subtracted before it was compressed.
    pub(super) predictor: Predictor,
}

/// What was done to rows before they were compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predictor {
    /// Nothing.
    None,
    /// Each sample less the one before it: TIFF 6.0, section 14.
    Horizontal,
    /// The bytes of floats sorted by weight, each less the one before: TIFF
    /// Technical Note 3.
    Float,
}

impl Stored {
    /// How samples of so many bits and this SampleFormat are stored.
    pub(super) fn new(
        bits: u64,
        format: u64,
        predictor: u64,
        is_big_endian: bool,
    ) -> Result<Stored> {
        let refuse = |what: &str| {
            Error::unsupported(format!(
                "its samples are {what} of {bits} bits, which are not read"
            ))
        };
        let dtype = match (format, bits) {
            (1 | 4, 1..=8) => DType::U8,
            (1 | 4, 9..=16) => DType::U16,
            (1 | 4, 17..=32) => DType::U32,
            (1 | 4, 64) => DType::U64,
            (2, 1..=8) => DType::I8,
            (2, 9..=16) => DType::I16,
            (2, 17..=32) => DType::I32,
            (2, 64) => DType::I64,
            (3, 16 | 24 | 32) => DType::F32,
            (3, 64) => DType::F64,
            (1 | 4, _) => return Err(refuse("unsigned integers")),
            (2, _) => return Err(refuse("integers")),
            (3, _) => return Err(refuse("floats")),
            (5 | 6, _) => return Err(refuse("complex numbers")),
            _ => {
                return Err(Error::damaged(format!(
                    "SampleFormat is {format}, expected 1 to 6"
                )));
            }
        };
        let is_whole = matches!(bits, 8 | 16 | 32 | 64);
        let predictor = match predictor {
            1 => Predictor::None,
            2 if is_whole || format != 3 => Predictor::Horizontal,
            3 if format == 3 => Predictor::Float,
            other => {
                return Err(Error::unsupported(format!(
                    "Predictor is {other} for samples of {bits} bits, which is not read"
                )));
            }
        };
        Ok(Stored {
            bits: u32::try_from(bits).unwrap_or_default(),
            dtype,
            is_big_endian,
            predictor,
        })
    }

    /// Is a stored sample, but for its byte order, what it becomes?
    pub(super) fn is_plain(self) -> bool {
        self.bits as usize == 8 * self.dtype.size() && self.predictor == Predictor::None
    }

    /// Bytes of a row of so many samples; `None` beyond 2^64.
    pub(super) fn row_bytes(self, n_samples: u64) -> Option<u64> {
        Some(n_samples.checked_mul(u64::from(self.bits))?.div_ceil(8))
    }

    /// Unpacks a row, or the part of it that `out` holds. `per_pixel` samples lie
    /// side by side; `raw` is used up.
    pub(super) fn unpack(self, raw: &mut [u8], per_pixel: usize, out: &mut [u8]) {
        let mut is_big_endian = self.is_big_endian;
        match self.predictor {
            Predictor::None => {}
            // Odd depths are added up while they are unpacked.
            Predictor::Horizontal if !self.bits.is_power_of_two() || self.bits < 8 => {}
            Predictor::Horizontal => {
                let size = self.bits as usize / 8;
                if is_big_endian {
                    swap_in_place(raw, size);
                    is_big_endian = false;
                }
                add_up(raw, size, per_pixel);
            }
            Predictor::Float => {
                undo_float(raw, self.bits as usize / 8, per_pixel);
                is_big_endian = true;
            }
        }
        let size = self.dtype.size();
        match (self.bits as usize, self.dtype.is_float()) {
            (bits, _) if bits == 8 * size => {
                let n_bytes = out.len().min(raw.len());
                out[..n_bytes].copy_from_slice(&raw[..n_bytes]);
                if is_big_endian {
                    swap_in_place(out, size);
                }
            }
            (bits, true) => {
                let whole = raw.chunks_exact(bits / 8);
                for (raw, out) in whole.zip(out.chunks_exact_mut(size)) {
                    let mut word = [0; 4];
                    word[..raw.len()].copy_from_slice(raw);
                    if is_big_endian {
                        word[..raw.len()].reverse();
                    }
                    let value = u32::from_le_bytes(word);
                    let value = match bits {
                        16 => widen_float(value, 5, 10),
                        _ => widen_float(value, 7, 16),
                    };
                    out.copy_from_slice(&value.to_le_bytes()[..size]);
                }
            }
            // A stream of bits, the highest first, whatever the byte order. (tifffile
            // does so with 24 bits as well, but swaps them in big-endian files.)
            (bits, false) => {
                let mut before = vec![0; per_pixel];
                for (number, out) in out.chunks_exact_mut(size).enumerate() {
                    let mut value = bits_at(raw, number * bits, bits);
                    if self.predictor == Predictor::Horizontal {
                        let before = &mut before[number % per_pixel];
                        value = (value + *before) & ((1 << bits) - 1);
                        *before = value;
                    }
                    let value = self.extend_sign(value);
                    out.copy_from_slice(&value.to_le_bytes()[..size]);
                }
            }
        }
    }

    /// Fills the bits above a negative number, where the type is signed.
    fn extend_sign(self, value: u64) -> u32 {
        let is_negative = self.dtype.is_signed_int() && value >> (self.bits - 1) & 1 == 1;
        let above = if is_negative {
            u64::MAX << self.bits
        } else {
            0
        };
        #[allow(clippy::cast_possible_truncation, reason = "32 bits or fewer are kept")]
        let value = (value | above) as u32;
        value
    }
}

/// `n_bits` of up to 32 from the bit `first` on, the highest first.
fn bits_at(bytes: &[u8], first: usize, n_bits: usize) -> u64 {
    let mut word = 0u64;
    let start = first / 8;
    for k in 0..5 {
        word = word << 8 | u64::from(bytes.get(start + k).copied().unwrap_or(0));
    }
    word >> (40 - first % 8 - n_bits) & ((1 << n_bits) - 1)
}

/// The bits of the float32 that equals a float of 16 bits.
pub(in crate::frames) fn widen_half(bits: u16) -> u32 {
    widen_float(u32::from(bits), 5, 10)
}

/// The bits of the float32 that equals a float with so many bits of exponent and
/// of fraction.
fn widen_float(bits: u32, exponent_bits: u32, fraction_bits: u32) -> u32 {
    let sign = bits >> (exponent_bits + fraction_bits) << 31;
    let exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
    let fraction = bits & ((1 << fraction_bits) - 1);
    let bias = (1 << (exponent_bits - 1)) - 1;
    if exponent == (1 << exponent_bits) - 1 {
        return sign | 0xff << 23 | fraction << (23 - fraction_bits);
    }
    if exponent > 0 {
        return sign | (exponent + 127 - bias) << 23 | fraction << (23 - fraction_bits);
    }
    if fraction == 0 {
        return sign;
    }
    // A subnormal is a normal number of float32: its highest bit becomes implied.
    let shift = fraction.leading_zeros() + fraction_bits - 31;
    let fraction = fraction << shift & ((1 << fraction_bits) - 1);
    sign | (128 - bias - shift) << 23 | fraction << (23 - fraction_bits)
}

/// Undoes the horizontal predictor on little-endian samples.
fn add_up(row: &mut [u8], size: usize, per_pixel: usize) {
    macro_rules! add_up {
        ($type:ty) => {{
            const SIZE: usize = size_of::<$type>();
            let samples = row.as_chunks_mut::<SIZE>().0;
            for k in per_pixel..samples.len() {
                let before = <$type>::from_le_bytes(samples[k - per_pixel]);
                let sum = <$type>::from_le_bytes(samples[k]).wrapping_add(before);
                samples[k] = sum.to_le_bytes();
            }
        }};
    }
    match size {
        1 => add_up!(u8),
        2 => add_up!(u16),
        4 => add_up!(u32),
        _ => add_up!(u64),
    }
}

/// Undoes the float predictor; the samples are big-endian afterwards.
fn undo_float(row: &mut [u8], size: usize, per_pixel: usize) {
    add_up(row, 1, per_pixel);
    let n_samples = row.len() / size;
    let sorted = row.to_vec();
    for (k, sample) in row.chunks_exact_mut(size).enumerate() {
        for (weight, byte) in sample.iter_mut().enumerate() {
            *byte = sorted[weight * n_samples + k];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bits: u64, format: u64, is_big_endian: bool) -> Stored {
        Stored::new(bits, format, 1, is_big_endian).unwrap()
    }

    #[test]
    fn odd_depths_are_unpacked_from_the_highest_bit_on() {
        let mut out = [0; 6];
        stored(12, 1, false).unpack(&mut [0xab, 0xcd, 0xef, 0x12, 0x30], 1, &mut out);
        assert_eq!(out, [0xbc, 0x0a, 0xef, 0x0d, 0x23, 0x01]);
        let mut out = [0; 4];
        stored(2, 2, false).unpack(&mut [0b01_10_11_00], 1, &mut out);
        assert_eq!(out, [1, 0xfe, 0xff, 0]);
        let mut out = [0; 4];
        stored(24, 2, false).unpack(&mut [0xff, 0xff, 0xfe], 1, &mut out);
        assert_eq!(i32::from_le_bytes(out), -2);
    }

    #[test]
    fn small_floats_become_the_float32_that_equals_them() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x7c00, f32::INFINITY),
            (0x0000, 0.0),
        ] {
            assert_eq!(f32::from_bits(widen_float(bits, 5, 10)), value, "{bits:x}");
        }
        assert!(f32::from_bits(widen_float(0x7e00, 5, 10)).is_nan());
        assert_eq!(widen_float(0x8000, 5, 10), (-0.0f32).to_bits());
        assert_eq!(f32::from_bits(widen_float(0x3f_0000, 7, 16)), 1.0);
        assert_eq!(f32::from_bits(widen_float(0xc0_8000, 7, 16)), -3.0);
        // Every half is wider, in order, and different.
        let all: Vec<f32> = (0..0x7c01)
            .map(|bits| f32::from_bits(widen_float(bits, 5, 10)))
            .collect();
        assert!(all.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn predictors_are_undone() {
        let horizontal = Stored::new(16, 1, 2, true).unwrap();
        let mut out = [0; 8];
        horizontal.unpack(&mut [0, 5, 1, 0, 0xff, 0xff, 0, 1], 2, &mut out);
        assert_eq!(out, [5, 0, 0, 1, 4, 0, 1, 1]);
        let odd = Stored::new(12, 1, 2, false).unwrap();
        odd.unpack(&mut [0x06, 0x40, 0x01, 0xff, 0xf0, 0x02], 2, &mut out);
        assert_eq!(out, [0x64, 0, 1, 0, 0x63, 0, 3, 0]);
        let float = Stored::new(32, 3, 3, false).unwrap();
        let samples = [1.5f32, -2.25, 1e10];
        let mut sorted: Vec<u8> = (0..4)
            .flat_map(|weight| samples.map(|sample| sample.to_be_bytes()[weight]))
            .collect();
        for k in (1..sorted.len()).rev() {
            sorted[k] = sorted[k].wrapping_sub(sorted[k - 1]);
        }
        let mut out = [0; 12];
        float.unpack(&mut sorted, 1, &mut out);
        assert_eq!(out.as_slice(), samples.map(f32::to_le_bytes).concat());
    }
}
