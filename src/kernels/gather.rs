//! Samples out of tiles into lanes: 16 lines side by side, a row per sample.
//!
//! A line is a row of samples along one axis; the kernels that clip and collapse
//! work on 16 of them at once, `rows[k][lane]`. What is in a tile is strided by
//! powers of two, which caches take badly, so lines are copied into a compact
//! buffer first: XOR undone, BLANK made NaN, integers of 8 and 16 bits and
//! float32 as `f32`, which holds them exactly, the rest as `f64`.

#![allow(unsafe_code, reason = "a processor is asked to fetch by address")]
#![allow(
    clippy::cast_precision_loss,
    reason = "64-bit integers are compared as f64, as docs/guide.md says"
)]

use super::clip::LANES;
use crate::dtype::DType;

/// How samples stand in a tile.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// Their type.
    pub dtype: DType,
    /// What they are XORed with.
    pub mask: u64,
    /// Bits of the value that means "no data".
    pub blank: Option<u64>,
}

/// Rows of a tile: which layers of it, in samples.
#[derive(Clone, Copy, Debug)]
pub struct Layers {
    /// Where the first layer begins.
    pub first: usize,
    /// From one to the next; may be negative.
    pub step: isize,
    /// How many.
    pub count: usize,
}

/// Where the lines of a block stand in a layer, in samples.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Side by side from here on.
    Run(u32),
    /// Each at its own place.
    Each([u32; LANES]),
}

/// What a line is made of: `f32` or `f64`.
pub trait Lane: Copy + PartialOrd + Send + Sync + 'static {
    /// What does not count.
    const NAN: Self;

    /// Copies rows of a tile into blocks of lanes. Row `k` of block `b` becomes
    /// `out[b * pitch + row + k]`.
    ///
    /// # Panics
    /// When a layer does not lie inside the tile, or a row inside `out`.
    fn gather(
        stored: &Stored,
        tile: &[u8],
        layers: &Layers,
        places: &[Place],
        out: &mut [[Self; LANES]],
        pitch: usize,
        row: usize,
    );

    /// The value of a sample.
    fn of_bits(stored: &Stored, bits: u64) -> Self;

    /// As `f64`, exactly.
    fn wide(self) -> f64;
}

/// Are lines of this type made of `f64`?
pub const fn is_wide(dtype: DType) -> bool {
    dtype.size() >= 4 && !matches!(dtype, DType::F32)
}

/// Layers are a page or more apart, which the processor does not look ahead over,
/// so what comes so many layers later is asked for; into the second cache, as there
/// is more of it at once than the first waits for.
const FETCHED_LAYERS: isize = 4;

/// Has the processor fetch the sample at this place, if there is one.
#[inline(always)]
fn fetch<T>(samples: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(sample) = samples.get(at) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch only hints, and the address is that of a sample.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(sample).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (samples, at);
}

/// The loop: `value` makes a lane of stored bytes.
#[inline(always)]
fn walk<const SIZE: usize, L: Lane>(
    tile: &[u8],
    layers: &Layers,
    places: &[Place],
    (out, pitch, row): (&mut [[L; LANES]], usize, usize),
    value: impl Fn([u8; SIZE]) -> L + Copy,
) {
    let samples = tile.as_chunks::<SIZE>().0;
    let mut layer = layers.first;
    for k in 0..layers.count {
        let next = layer.wrapping_add_signed(FETCHED_LAYERS * layers.step);
        for (block, place) in places.iter().enumerate() {
            let to = &mut out[block * pitch + row + k];
            match place {
                Place::Run(first) => {
                    let from = &samples[layer + *first as usize..][..LANES];
                    fetch(samples, next.wrapping_add(*first as usize));
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = value(*from);
                    }
                }
                Place::Each(offsets) => {
                    for (to, offset) in to.iter_mut().zip(offsets) {
                        *to = value(samples[layer + *offset as usize]);
                    }
                }
            }
        }
        layer = layer.wrapping_add_signed(layers.step);
    }
}

macro_rules! lanes {
    ($lane:ty: [$($int:ty, $dtype:ident;)+] $float:ty, $bits:ty, $own:ident) => {
        impl Lane for $lane {
            const NAN: Self = <$lane>::NAN;

            fn gather(
                stored: &Stored,
                tile: &[u8],
                layers: &Layers,
                places: &[Place],
                out: &mut [[Self; LANES]],
                pitch: usize,
                row: usize,
            ) {
                let to = (out, pitch, row);
                // The low bytes are the sample.
                #[allow(clippy::cast_possible_truncation)]
                match (stored.dtype, stored.blank) {
                    $((DType::$dtype, None) => {
                        let mask = stored.mask as $int;
                        walk(tile, layers, places, to, |bytes| {
                            (<$int>::from_le_bytes(bytes) ^ mask) as $lane
                        });
                    }
                    (DType::$dtype, Some(blank)) => {
                        let (mask, blank) = (stored.mask as $int, blank as $int);
                        walk(tile, layers, places, to, |bytes| {
                            let sample = <$int>::from_le_bytes(bytes) ^ mask;
                            let value = sample as $lane;
                            if sample == blank { Self::NAN } else { value }
                        });
                    })+
                    (DType::$own, _) => {
                        let mask = stored.mask as $bits;
                        walk(tile, layers, places, to, |bytes| {
                            <$float>::from_bits(<$bits>::from_le_bytes(bytes) ^ mask)
                        });
                    }
                    _ => debug_assert!(false, "lines of {} are others", stored.dtype),
                }
            }

            fn of_bits(stored: &Stored, bits: u64) -> Self {
                if stored.blank == Some(bits) {
                    return Self::NAN;
                }
                #[allow(clippy::cast_possible_truncation)]
                match stored.dtype {
                    $(DType::$dtype => bits as $int as $lane,)+
                    _ => <$float>::from_bits(bits as $bits),
                }
            }

            fn wide(self) -> f64 {
                self.into()
            }
        }
    };
}

lanes!(f32: [u8, U8; i8, I8; u16, U16; i16, I16;] f32, u32, F32);
lanes!(f64: [u32, U32; i32, I32; u64, U64; i64, I64;] f64, u64, F64);

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, one sample at a time, with the library's own idea of types.
    fn naive(stored: &Stored, tile: &[u8], at: usize) -> f64 {
        let size = stored.dtype.size();
        let bits = stored.dtype.bits_at(&tile[at * size..]) ^ stored.mask;
        #[allow(clippy::cast_possible_truncation)]
        match stored.dtype {
            DType::F32 => f32::from_bits(bits as u32).into(),
            DType::F64 => f64::from_bits(bits),
            _ if stored.blank == Some(bits) => f64::NAN,
            dtype => dtype.int_of_bits(bits).unwrap() as f64,
        }
    }

    fn hold<L: Lane>(dtype: DType) {
        let size = dtype.size();
        let tile: Vec<u8> = (0..4096u32)
            .map(|k| (k.wrapping_mul(2_654_435_761) >> 21).to_le_bytes()[0])
            .collect();
        let mut offsets = [0; LANES];
        for (lane, offset) in (0u32..).zip(&mut offsets) {
            *offset = lane * lane % 37;
        }
        let places = [Place::Run(3), Place::Each(offsets), Place::Run(16)];
        for mask in [0, 0x8f12_34ab_7fc0_8000 & dtype.mask()] {
            let blank = (!dtype.is_float()).then(|| dtype.bits_at(&tile[40 * size..]) ^ mask);
            for (first, step) in [(0, 32), (5, 1), (400, -40)] {
                let stored = Stored { dtype, mask, blank };
                let layers = Layers {
                    first,
                    step,
                    count: 9,
                };
                let (pitch, row) = (12, 2);
                let mut out = vec![[L::NAN; LANES]; places.len() * pitch];
                L::gather(&stored, &tile, &layers, &places, &mut out, pitch, row);
                let mut blanks = 0;
                for (block, place) in places.iter().enumerate() {
                    for k in 0..layers.count {
                        for lane in 0..LANES {
                            let offset = match place {
                                Place::Run(first) => *first as usize + lane,
                                Place::Each(offsets) => offsets[lane] as usize,
                            };
                            let layer = first.wrapping_add_signed(step * k as isize);
                            let expected = naive(&stored, &tile, layer + offset);
                            let found = out[block * pitch + row + k][lane].wide();
                            assert!(
                                found == expected || (found.is_nan() && expected.is_nan()),
                                "{dtype}: {found}, expected {expected}"
                            );
                            blanks += usize::from(found.is_nan());
                            let bits = dtype.bits_at(&tile[(layer + offset) * size..]) ^ mask;
                            let one = L::of_bits(&stored, bits).wide();
                            assert!(one == found || (one.is_nan() && found.is_nan()));
                        }
                    }
                    assert!(
                        out[block * pitch][0].wide().is_nan(),
                        "rows before are left"
                    );
                }
                assert!(
                    step != 1 || dtype.is_float() || blanks > 0,
                    "{dtype}: no BLANK"
                );
            }
        }
    }

    #[test]
    fn rows_hold_the_samples_of_every_type() {
        for dtype in DType::all() {
            match is_wide(dtype) {
                true => hold::<f64>(dtype),
                false => hold::<f32>(dtype),
            }
        }
    }
}
