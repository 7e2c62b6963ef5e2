//! Samples of tiles on their way into those of the image.

use std::array::from_fn;

use crate::dtype::DType;

/// Bytes that are the samples of a tile, big-endian.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    pub(super) bytes: &'a [u8],
    /// Do all first bytes of samples come first, then all second ones, and so on?
    pub(super) is_sorted: bool,
}

impl Raw<'_> {
    /// Writes samples of this size little-endian; false when they have another one.
    pub(super) fn store(self, size: usize, out: &mut [u8]) -> bool {
        if self.bytes.len() != out.len() {
            return false;
        }
        match size {
            1 => out.copy_from_slice(self.bytes),
            2 => self.each::<2, _>(out.as_chunks_mut().0, reversed),
            4 => self.each::<4, _>(out.as_chunks_mut().0, reversed),
            _ => self.each::<8, _>(out.as_chunks_mut().0, reversed),
        }
        true
    }

    /// Takes integers of 1 (without a sign), 2 or 4 bytes; false when they are none.
    pub(super) fn ints(self, out: &mut [i32]) -> bool {
        let n_samples = out.len();
        let sizes = [1, 2, 4].map(|size| size * n_samples);
        match sizes.iter().position(|&size| size == self.bytes.len()) {
            Some(0) => self.each::<1, _>(out, |[byte]| i32::from(byte)),
            Some(1) => self.each::<2, _>(out, |bytes| i16::from_be_bytes(bytes).into()),
            Some(2) => self.each::<4, _>(out, i32::from_be_bytes),
            _ => return false,
        }
        true
    }

    fn each<const N: usize, T>(self, out: &mut [T], take: impl Fn([u8; N]) -> T) {
        if !self.is_sorted {
            for (out, &bytes) in out.iter_mut().zip(self.bytes.as_chunks().0) {
                *out = take(bytes);
            }
            return;
        }
        let n_samples = out.len().min(self.bytes.len() / N);
        let parts: [&[u8]; N] = from_fn(|k| &self.bytes[k * n_samples..][..n_samples]);
        for (k, out) in out.iter_mut().enumerate().take(n_samples) {
            *out = take(from_fn(|part| parts[part][k]));
        }
    }
}

fn reversed<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    bytes.reverse();
    bytes
}

/// Writes integers as samples of this type, little-endian.
///
/// # Errors
/// Says which of them is none.
pub(super) fn store(ints: &[i32], dtype: DType, out: &mut [u8]) -> Result<(), String> {
    macro_rules! store_as {
        ($int:ty, $wide:ty) => {{
            let mut lost = 0;
            for (&v, out) in ints.iter().zip(out.as_chunks_mut().0) {
                let sample = v as $int;
                lost |= <$wide>::from(sample) ^ <$wide>::from(v);
                *out = sample.to_le_bytes();
            }
            lost == 0
        }};
    }
    let is_whole = match dtype {
        DType::U8 => store_as!(u8, i32),
        DType::I16 => store_as!(i16, i32),
        DType::I32 => store_as!(i32, i32),
        DType::I64 => store_as!(i64, i64),
        _ => false,
    };
    let (least, greatest) = dtype.int_range().unwrap_or((1, 0));
    let is_none = |v: &i32| !(least..=greatest).contains(&i128::from(*v));
    match ints.iter().find(|v| !is_whole && is_none(v)) {
        Some(v) => Err(format!("holds {v}, which is no {dtype}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_bytes_are_put_together() {
        let bytes: Vec<u8> = (1..=8).collect();
        let plain = Raw {
            bytes: &bytes,
            is_sorted: false,
        };
        let sorted = Raw {
            is_sorted: true,
            ..plain
        };
        let mut out = [0; 8];
        for (raw, size, expected) in [
            (plain, 1, [1, 2, 3, 4, 5, 6, 7, 8]),
            (sorted, 1, [1, 2, 3, 4, 5, 6, 7, 8]),
            (plain, 2, [2, 1, 4, 3, 6, 5, 8, 7]),
            (sorted, 2, [5, 1, 6, 2, 7, 3, 8, 4]),
            (plain, 4, [4, 3, 2, 1, 8, 7, 6, 5]),
            (sorted, 4, [7, 5, 3, 1, 8, 6, 4, 2]),
            (sorted, 8, [8, 7, 6, 5, 4, 3, 2, 1]),
        ] {
            assert!(raw.store(size, &mut out));
            assert_eq!(out, expected);
        }
        let mut ints = [0; 2];
        assert!(sorted.ints(&mut ints));
        assert_eq!(ints, [0x0103_0507, 0x0204_0608]);
        assert!(!sorted.ints(&mut [0; 3]) && !plain.store(4, &mut [0; 4]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut out = [0; 2];
        assert!(store(&[255, 0], DType::U8, &mut out).is_ok());
        let error = store(&[255, -1], DType::U8, &mut out);
        assert_eq!(error, Err("holds -1, which is no uint8".to_string()));
        assert!(store(&[1 << 15], DType::I16, &mut out).is_err());
        assert!(store(&[-32768], DType::I16, &mut out).is_ok());
        assert_eq!(out, [0, 0x80]);
    }
}
