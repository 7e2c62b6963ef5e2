//! Floats that are kept as scaled integers, as the FITS Standard 4.0, section 10.2, has them.
//!
//! An integer is `ZZERO + ZSCALE * I`. With dithering it is `ZZERO + ZSCALE * (I - R + 0.5)`
//! where R is one of 10,000 random numbers (appendix I): those of S. Park and K. Miller,
//! "Random number generators: good ones are hard to find" (CACM 31, 1988, page 1192).
//! Computed in float64 and rounded once.

use std::sync::LazyLock;

/// How many random numbers there are.
const N_RANDOM: usize = 10_000;

/// A tile begins at one of the first so many, and goes on from another one at the end.
const N_STARTS: f32 = 500.0;

/// With the second way to dither, samples that are 0 are kept as this.
const EXACT_ZERO: i32 = -2_147_483_646;

static RANDOM: LazyLock<Vec<f32>> = LazyLock::new(|| {
    const FACTOR: u64 = 16_807;
    const MODULUS: u64 = 2_147_483_647;
    let mut seed = 1;
    let number = |_| {
        seed = FACTOR * seed % MODULUS;
        (seed as f64 / MODULUS as f64) as f32
    };
    (0..N_RANDOM).map(number).collect()
});

/// ZQUANTIZ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dither {
    /// NO_DITHER.
    None,
    /// SUBTRACTIVE_DITHER_1, and ZDITHER0.
    Subtractive(u64),
    /// SUBTRACTIVE_DITHER_2, which leaves 0 as it is.
    ButZero(u64),
}

/// What the integers of a tile mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantized {
    pub(super) scale: f64,
    pub(super) zero: f64,
    /// The one that means NaN.
    pub(super) null: Option<i32>,
    pub(super) dither: Dither,
}

impl Quantized {
    /// Stores floats of this many bytes, little-endian.
    pub(super) fn store(&self, tile_idx: u64, ints: &[i32], out: &mut [u8], size: usize) {
        match size {
            4 => self.store_as(tile_idx, ints, out, |v| (v as f32).to_le_bytes()),
            _ => self.store_as(tile_idx, ints, out, f64::to_le_bytes),
        }
    }

    fn store_as<const N: usize>(
        &self,
        tile_idx: u64,
        ints: &[i32],
        out: &mut [u8],
        encode: impl Fn(f64) -> [u8; N],
    ) {
        let Quantized { scale, zero, .. } = *self;
        let null = self.null.unwrap_or_default();
        let is_null = |v| self.null.is_some() && v == null;
        let out = out.as_chunks_mut::<N>().0;
        let (seed, keeps_zero) = match self.dither {
            Dither::None => {
                for (&v, out) in ints.iter().zip(out) {
                    let value = f64::from(v) * scale + zero;
                    *out = encode(if is_null(v) { f64::NAN } else { value });
                }
                return;
            }
            Dither::Subtractive(seed) => (seed, false),
            Dither::ButZero(seed) => (seed, true),
        };
        let random = RANDOM.as_slice();
        let first = (tile_idx % N_RANDOM as u64 + seed - 1) % N_RANDOM as u64;
        let mut start = usize::try_from(first).unwrap_or_default();
        let (mut ints, mut out) = (ints, out);
        while !ints.is_empty() {
            let numbers = &random[(random[start] * N_STARTS) as usize..];
            let n_now = numbers.len().min(ints.len());
            let (now, later) = std::mem::take(&mut out).split_at_mut(n_now);
            for ((&v, &random), out) in ints.iter().zip(numbers).zip(now) {
                let value = (f64::from(v) - f64::from(random) + 0.5) * scale + zero;
                let value = if keeps_zero && v == EXACT_ZERO {
                    0.0
                } else {
                    value
                };
                *out = encode(if is_null(v) { f64::NAN } else { value });
            }
            (ints, out) = (&ints[n_now..], later);
            start = (start + 1) % N_RANDOM;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_random_numbers_are_those_of_the_standard() {
        // It gives the last seed.
        let last = 1_043_618_065.0 / 2_147_483_647.0;
        assert_eq!(RANDOM[N_RANDOM - 1], last as f32);
        assert!(RANDOM.iter().all(|&v| 0.0 < v && v < 1.0));
    }
}
