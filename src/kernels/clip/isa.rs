//! The same loops in the instructions of several machines.
//!
//! A loop is written once, over arrays of 16 lanes, as a `Kernel`; `run` compiles
//! it for every level. What compilers do not find in plain loops is in `Isa`:
//! lanes to bits, and bits to a list.

#![allow(
    unsafe_code,
    reason = "vectors are loaded by address, and a machine is asked what it has"
)]

use std::ops::Add;

use super::band::{Cuts, Sifted};
use super::net::Exchange;
use super::{LANES, Level};

/// A loop, with what it works on.
pub(super) trait Kernel {
    /// What it finds.
    type Out;
    /// Whether AVX-512 helps: it does where `Isa` has it, while plain loops come
    /// out best as AVX2.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    const IS_WIDE: bool = false;
    /// Runs it. Implementations are `inline(always)`, or they would be compiled
    /// for the least machine.
    fn run<I: Isa>(self) -> Self::Out;
}

/// Runs a loop at a level that `Level::or_less` gave.
pub(super) fn run<K: Kernel>(level: Level, kernel: K) -> K::Out {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 if K::IS_WIDE => {
            // SAFETY: `Level::or_less` gives the level only where detected.
            unsafe { avx512(kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => {
            // SAFETY: `Level::or_less` gives the levels only where detected.
            unsafe { avx2(kernel) }
        }
        _ => kernel.run::<Plain>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi1,bmi2,popcnt,lzcnt")]
fn avx512<K: Kernel>(kernel: K) -> K::Out {
    kernel.run::<Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
fn avx2<K: Kernel>(kernel: K) -> K::Out {
    kernel.run::<Avx2>()
}

/// What plain loops do not become by themselves.
pub(super) trait Isa: Exchange<f32> + Exchange<f64> {
    /// A bit for every lane with `low <= x && x <= high`.
    fn inside(row: &[f32; LANES], low: &[f32; LANES], high: &[f32; LANES]) -> u16;
    /// A bit for every lane with `x < low || x > high`.
    fn outside(row: &[f32; LANES], low: &[f32; LANES], high: &[f32; LANES]) -> u16;
    /// Writes `base + lane` for every bit to `list`, from `at` on, and tells where
    /// the next goes. Beyond those, the list is overwritten up to `at + LANES`,
    /// which it must have room for.
    fn push(list: &mut [u32], at: usize, base: u32, bits: u16) -> usize;
    /// As `push`, to a list of shorter numbers.
    fn push_short(list: &mut [u16], at: usize, base: u16, bits: u16) -> usize;

    /// Sifts rows for the second pass of `band`: counts samples below the band, and
    /// with `ENDS` appends those beyond the cuts to `ends`, numbered from `base` on,
    /// else it counts those above the band. Lists where the ones in the band are
    /// and tells how many. Lists have room as for `push`.
    #[inline(always)]
    fn sift<const ENDS: bool>(
        rows: &[[f32; LANES]],
        cuts: &Cuts,
        found: &mut Sifted,
        in_band: &mut [u16],
        ends: &mut [u32],
        base: u32,
    ) -> usize {
        let mut n = 0;
        for (k, row) in rows.iter().enumerate() {
            for lane in 0..LANES {
                found.below[lane] += u32::from(row[lane] < cuts.band_from[lane]);
                if !ENDS {
                    found.above[lane] += u32::from(row[lane] > cuts.band_to[lane]);
                }
            }
            let bits = Self::inside(row, &cuts.band_from, &cuts.band_to);
            n = Self::push_short(in_band, n, (k * LANES) as u16, bits);
            if ENDS {
                let bits = Self::outside(row, &cuts.from, &cuts.to);
                if bits != 0 {
                    let base = base + (k * LANES) as u32;
                    found.n_ends = Self::push(ends, found.n_ends, base, bits);
                }
            }
        }
        n
    }

    /// How many samples lie within `radius` of `pivot`, and the sums of their
    /// distances and of the squares of those, in any order.
    #[inline(always)]
    fn near(
        rows: &[[f32; LANES]],
        pivot: &[f32; LANES],
        radius: &[f32; LANES],
    ) -> ([u32; LANES], [f32; LANES], [f32; LANES]) {
        let (mut n, mut sum, mut squares) = ([0; LANES], [0.0; LANES], [0.0; LANES]);
        // Eight lanes at a time, for which a machine has registers.
        for at in (0..LANES).step_by(8) {
            let (mut some_n, mut some_sum, mut some_squares) =
                ([0u32; 8], [0.0f32; 8], [0.0f32; 8]);
            for row in rows {
                for k in 0..8 {
                    let distance = row[at + k] - pivot[at + k];
                    let is_near = distance.abs() <= radius[at + k];
                    let distance = if is_near { distance } else { 0.0 };
                    some_n[k] += u32::from(is_near);
                    some_sum[k] += distance;
                    some_squares[k] += distance * distance;
                }
            }
            n[at..at + 8].copy_from_slice(&some_n);
            sum[at..at + 8].copy_from_slice(&some_sum);
            squares[at..at + 8].copy_from_slice(&some_squares);
        }
        (n, sum, squares)
    }
}

/// Lanes to bits, by plain means.
#[inline(always)]
pub(super) fn bits(lanes: [bool; LANES]) -> u16 {
    let mut bits = 0;
    for lane in 0..LANES {
        bits |= u16::from(lanes[lane]) << lane;
    }
    bits
}

/// Gives a list room for `push` to add all lanes of so many rows from `at` on, so
/// that a loop over them need not look.
#[inline(always)]
pub(super) fn make_room(list: &mut Vec<u32>, at: usize, rows: usize) {
    let room = at + (rows + 1) * LANES;
    if list.len() < room {
        list.resize(room + at, 0);
    }
}

/// The bits of a byte, as the positions of those that are set, first of all.
static POSITIONS: [[u8; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut at) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                table[byte][at] = bit as u8;
                at += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    table
};

#[inline(always)]
fn push_by_table<T>(list: &mut [T], at: usize, base: T, bits: u16) -> usize
where
    T: Copy + From<u8> + Add<Output = T>,
{
    let room = &mut list[at..at + LANES];
    let [low, high] = bits.to_le_bytes();
    let n_low = low.count_ones() as usize;
    for (out, position) in room[..8].iter_mut().zip(&POSITIONS[usize::from(low)]) {
        *out = base + T::from(*position);
    }
    for (out, position) in room[n_low..n_low + 8]
        .iter_mut()
        .zip(&POSITIONS[usize::from(high)])
    {
        *out = base + T::from(8) + T::from(*position);
    }
    at + n_low + high.count_ones() as usize
}

/// What every machine of this kind has.
pub(super) struct Plain;

#[cfg(not(target_arch = "x86_64"))]
impl Isa for Plain {
    #[inline(always)]
    fn inside(row: &[f32; LANES], low: &[f32; LANES], high: &[f32; LANES]) -> u16 {
        bits(std::array::from_fn(|lane| {
            (row[lane] >= low[lane]) & (row[lane] <= high[lane])
        }))
    }

    #[inline(always)]
    fn outside(row: &[f32; LANES], low: &[f32; LANES], high: &[f32; LANES]) -> u16 {
        bits(std::array::from_fn(|lane| {
            (row[lane] < low[lane]) | (row[lane] > high[lane])
        }))
    }

    #[inline(always)]
    fn push(list: &mut [u32], at: usize, base: u32, bits: u16) -> usize {
        push_by_table(list, at, base, bits)
    }

    #[inline(always)]
    fn push_short(list: &mut [u16], at: usize, base: u16, bits: u16) -> usize {
        push_by_table(list, at, base, bits)
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Cuts, Isa, LANES, Plain, Sifted, push_by_table};
    use std::arch::x86_64::*;

    type Row = [f32; LANES];

    impl Isa for Plain {
        #[inline(always)]
        fn inside(row: &Row, low: &Row, high: &Row) -> u16 {
            quarters(row, low, high, |x, low, high| {
                // SAFETY: every x86-64 machine has SSE2.
                unsafe { _mm_and_ps(_mm_cmpge_ps(x, low), _mm_cmple_ps(x, high)) }
            })
        }

        #[inline(always)]
        fn outside(row: &Row, low: &Row, high: &Row) -> u16 {
            quarters(row, low, high, |x, low, high| {
                // SAFETY: every x86-64 machine has SSE2.
                unsafe { _mm_or_ps(_mm_cmplt_ps(x, low), _mm_cmpgt_ps(x, high)) }
            })
        }

        #[inline(always)]
        fn push(list: &mut [u32], at: usize, base: u32, bits: u16) -> usize {
            push_by_table(list, at, base, bits)
        }

        #[inline(always)]
        fn push_short(list: &mut [u16], at: usize, base: u16, bits: u16) -> usize {
            push_by_table(list, at, base, bits)
        }
    }

    #[inline(always)]
    fn quarters(
        row: &Row,
        low: &Row,
        high: &Row,
        test: impl Fn(__m128, __m128, __m128) -> __m128,
    ) -> u16 {
        // SAFETY: every x86-64 machine has SSE2; the four lanes at `4 * k` lie
        // within arrays of 16, and loads need no alignment.
        let quarter = |k: usize| unsafe {
            let load = |row: &Row| _mm_loadu_ps(row.as_ptr().add(4 * k));
            _mm_castps_si128(test(load(row), load(low), load(high)))
        };
        // SAFETY: every x86-64 machine has SSE2.
        unsafe {
            let left = _mm_packs_epi32(quarter(0), quarter(1));
            let right = _mm_packs_epi32(quarter(2), quarter(3));
            _mm_movemask_epi8(_mm_packs_epi16(left, right)) as u16
        }
    }

    /// AVX2.
    pub(in super::super) struct Avx2;

    impl Isa for Avx2 {
        #[inline(always)]
        fn inside(row: &Row, low: &Row, high: &Row) -> u16 {
            halves(row, low, high, |x, low, high| {
                // SAFETY: only `isa::avx2` runs kernels with this type.
                unsafe {
                    let from = _mm256_cmp_ps::<_CMP_GE_OQ>(x, low);
                    _mm256_and_ps(from, _mm256_cmp_ps::<_CMP_LE_OQ>(x, high))
                }
            })
        }

        #[inline(always)]
        fn outside(row: &Row, low: &Row, high: &Row) -> u16 {
            halves(row, low, high, |x, low, high| {
                // SAFETY: only `isa::avx2` runs kernels with this type.
                unsafe {
                    let below = _mm256_cmp_ps::<_CMP_LT_OQ>(x, low);
                    _mm256_or_ps(below, _mm256_cmp_ps::<_CMP_GT_OQ>(x, high))
                }
            })
        }

        #[inline(always)]
        fn push(list: &mut [u32], at: usize, base: u32, bits: u16) -> usize {
            push_by_table(list, at, base, bits)
        }

        #[inline(always)]
        fn push_short(list: &mut [u16], at: usize, base: u16, bits: u16) -> usize {
            push_by_table(list, at, base, bits)
        }
    }

    #[inline(always)]
    fn halves(
        row: &Row,
        low: &Row,
        high: &Row,
        test: impl Fn(__m256, __m256, __m256) -> __m256,
    ) -> u16 {
        // SAFETY: only `isa::avx2` runs kernels with `Avx2`; the eight lanes at
        // `8 * k` lie within arrays of 16, and loads need no alignment.
        let half = |k: usize| unsafe {
            let load = |row: &Row| _mm256_loadu_ps(row.as_ptr().add(8 * k));
            _mm256_movemask_ps(test(load(row), load(low), load(high)))
        };
        (half(0) | half(1) << 8) as u16
    }

    /// AVX-512.
    pub(in super::super) struct Avx512;

    impl Isa for Avx512 {
        #[inline(always)]
        fn inside(row: &Row, low: &Row, high: &Row) -> u16 {
            // SAFETY: only `isa::avx512` runs kernels with this type; arrays of 16
            // are whole vectors, and loads need no alignment.
            unsafe {
                let x = _mm512_loadu_ps(row.as_ptr());
                let from = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, _mm512_loadu_ps(low.as_ptr()));
                let high = _mm512_loadu_ps(high.as_ptr());
                _mm512_mask_cmp_ps_mask::<_CMP_LE_OQ>(from, x, high)
            }
        }

        #[inline(always)]
        fn outside(row: &Row, low: &Row, high: &Row) -> u16 {
            // SAFETY: as in `inside`.
            unsafe {
                let x = _mm512_loadu_ps(row.as_ptr());
                let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, _mm512_loadu_ps(low.as_ptr()));
                let high = _mm512_loadu_ps(high.as_ptr());
                below | _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, high)
            }
        }

        #[inline(always)]
        fn push(list: &mut [u32], at: usize, base: u32, bits: u16) -> usize {
            let room = &mut list[at..at + LANES];
            // SAFETY: only `isa::avx512` runs kernels with this type; there is
            // room for a whole vector. It is compressed in a register, as some
            // machines are slow at compressing into memory.
            unsafe {
                let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                let list = _mm512_add_epi32(lanes, _mm512_set1_epi32(base.cast_signed()));
                let list = _mm512_maskz_compress_epi32(bits, list);
                _mm512_storeu_si512(room.as_mut_ptr().cast(), list);
            }
            at + bits.count_ones() as usize
        }

        #[inline(always)]
        fn push_short(list: &mut [u16], at: usize, base: u16, bits: u16) -> usize {
            let room = &mut list[at..at + LANES];
            // SAFETY: as in `push`, where sixteen shorter numbers are half a vector.
            unsafe {
                let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                let list = _mm512_maskz_compress_epi32(bits, lanes);
                let list = _mm512_cvtepi32_epi16(list);
                let list = _mm256_add_epi16(list, _mm256_set1_epi16(base.cast_signed()));
                _mm256_storeu_si256(room.as_mut_ptr().cast(), list);
            }
            at + bits.count_ones() as usize
        }

        #[inline(always)]
        fn sift<const ENDS: bool>(
            rows: &[Row],
            cuts: &Cuts,
            found: &mut Sifted,
            in_band: &mut [u16],
            ends: &mut [u32],
            base: u32,
        ) -> usize {
            let (mut n, mut n_ends) = (0, found.n_ends);
            // SAFETY: only `isa::avx512` runs kernels with this type; arrays of 16
            // are whole vectors, and neither loads nor stores need alignment.
            unsafe {
                let band_from = _mm512_loadu_ps(cuts.band_from.as_ptr());
                let band_to = _mm512_loadu_ps(cuts.band_to.as_ptr());
                let from = _mm512_loadu_ps(cuts.from.as_ptr());
                let to = _mm512_loadu_ps(cuts.to.as_ptr());
                let mut below = _mm512_loadu_si512(found.below.as_ptr().cast());
                let mut above = _mm512_loadu_si512(found.above.as_ptr().cast());
                let one = _mm512_set1_epi32(1);
                for (k, row) in rows.iter().enumerate() {
                    let x = _mm512_loadu_ps(row.as_ptr());
                    let is_below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, band_from);
                    below = _mm512_mask_add_epi32(below, is_below, below, one);
                    let bits = _mm512_mask_cmp_ps_mask::<_CMP_LE_OQ>(!is_below, x, band_to);
                    n = Self::push_short(in_band, n, (k * LANES) as u16, bits);
                    if ENDS {
                        let is_out = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, from)
                            | _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, to);
                        if is_out != 0 {
                            let base = base + (k * LANES) as u32;
                            n_ends = Self::push(ends, n_ends, base, is_out);
                        }
                    } else {
                        let is_above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, band_to);
                        above = _mm512_mask_add_epi32(above, is_above, above, one);
                    }
                }
                _mm512_storeu_si512(found.below.as_mut_ptr().cast(), below);
                _mm512_storeu_si512(found.above.as_mut_ptr().cast(), above);
            }
            found.n_ends = n_ends;
            n
        }

        #[inline(always)]
        fn near(rows: &[Row], pivot: &Row, radius: &Row) -> ([u32; LANES], Row, Row) {
            let mut out = ([0; LANES], [0.0; LANES], [0.0; LANES]);
            // SAFETY: only `isa::avx512` runs kernels with this type; arrays of 16
            // are whole vectors, and neither loads nor stores need alignment.
            unsafe {
                let pivot = _mm512_loadu_ps(pivot.as_ptr());
                let radius = _mm512_loadu_ps(radius.as_ptr());
                let one = _mm512_set1_epi32(1);
                let zero = (
                    _mm512_setzero_si512(),
                    _mm512_setzero_ps(),
                    _mm512_setzero_ps(),
                );
                // Adding takes several cycles, so two rows are added side by side.
                let (mut even, mut odd) = (zero, zero);
                let add = |(n, sum, squares), row: &Row| {
                    let distance = _mm512_sub_ps(_mm512_loadu_ps(row.as_ptr()), pivot);
                    let near = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(_mm512_abs_ps(distance), radius);
                    (
                        _mm512_mask_add_epi32(n, near, n, one),
                        _mm512_mask_add_ps(sum, near, sum, distance),
                        _mm512_mask3_fmadd_ps(distance, distance, squares, near),
                    )
                };
                let (pairs, rest) = rows.as_chunks::<2>();
                for [first, second] in pairs {
                    even = add(even, first);
                    odd = add(odd, second);
                }
                for row in rest {
                    even = add(even, row);
                }
                let n = _mm512_add_epi32(even.0, odd.0);
                let sum = _mm512_add_ps(even.1, odd.1);
                let squares = _mm512_add_ps(even.2, odd.2);
                _mm512_storeu_si512(out.0.as_mut_ptr().cast(), n);
                _mm512_storeu_ps(out.1.as_mut_ptr(), sum);
                _mm512_storeu_ps(out.2.as_mut_ptr(), squares);
            }
            out
        }
    }
}
