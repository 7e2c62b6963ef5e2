//! The sorting network of 16 lines at once: what it does to rows, in vectors.
//!
//! Rows of eight are sorted in registers, then merged as Batcher merges (Knuth, *The
//! Art of Computer Programming* 3, 5.2.2 and 5.3.4). Storing rows is what takes the
//! time, so that two steps of a merge are taken together where that can be.

#![allow(unsafe_code, reason = "vectors are loaded and stored by address")]

use super::LANES;
use super::isa::Isa;

/// Steps of a network on rows of samples of a type. All put the lesser of two into
/// the earlier row.
pub(super) trait Exchange<T: Copy + PartialOrd> {
    /// Orders two rows. Compilers make masked stores of the plain loop, which some
    /// machines are slow at.
    #[inline(always)]
    fn order(low: &mut [T; LANES], high: &mut [T; LANES]) {
        for lane in 0..LANES {
            let (a, b) = (low[lane], high[lane]);
            low[lane] = if a < b { a } else { b };
            high[lane] = if a < b { b } else { a };
        }
    }

    /// Sorts eight rows.
    #[inline(always)]
    fn eight(rows: &mut [[T; LANES]; 8]) {
        for (i, j) in EIGHT {
            let (left, right) = rows.split_at_mut(j);
            Self::order(&mut left[i], &mut right[0]);
        }
    }

    /// Orders rows 0 and 2, 1 and 3, then 1 and 2.
    #[inline(always)]
    fn four([a, b, c, d]: [&mut [T; LANES]; 4]) {
        Self::order(a, c);
        Self::order(b, d);
        Self::order(b, c);
    }

    /// The last two steps of a merge, over four rows or more: orders rows 2 and 4, 3
    /// and 5, 6 and 8 and so on, then 1 and 2, 3 and 4 and so on.
    #[inline(always)]
    fn last(rows: &mut [[T; LANES]]) {
        step::<Self, T>(rows, 2, 2);
        step::<Self, T>(rows, 1, 1);
    }
}

/// Batcher's network for eight.
const EIGHT: [(usize, usize); 19] = [
    (0, 1),
    (2, 3),
    (4, 5),
    (6, 7),
    (0, 2),
    (1, 3),
    (4, 6),
    (5, 7),
    (1, 2),
    (5, 6),
    (0, 4),
    (1, 5),
    (2, 6),
    (3, 7),
    (2, 4),
    (3, 5),
    (1, 2),
    (3, 4),
    (5, 6),
];

/// Sorts rows, lane by lane.
#[inline(always)]
pub(super) fn network<I: Isa + Exchange<T>, T: Copy + PartialOrd>(rows: &mut [[T; LANES]]) {
    let mut eights = rows.chunks_exact_mut(8);
    for rows in &mut eights {
        if let Ok(rows) = rows.try_into() {
            I::eight(rows);
        }
    }
    merges::<I, T>(eights.into_remainder(), 1);
    merges::<I, T>(rows, 8);
}

/// Merges sorted runs of `run` rows, and those of twice as many, until all are one.
#[inline(always)]
fn merges<I: Exchange<T>, T: Copy + PartialOrd>(rows: &mut [[T; LANES]], mut run: usize) {
    while run < rows.len() {
        for rows in rows.chunks_mut(2 * run) {
            let mut distance = run;
            if run >= 2 && rows.len() == 2 * run {
                let (left, right) = rows.split_at_mut(run);
                let (a, b) = left.split_at_mut(run / 2);
                let (c, d) = right.split_at_mut(run / 2);
                for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                    I::four([a, b, c, d]);
                }
                distance = run / 4;
            }
            while distance > 0 {
                if distance == 2 && run > 2 && rows.len() >= 4 {
                    I::last(rows);
                    break;
                }
                step::<I, T>(rows, distance % run, distance);
                distance /= 2;
            }
        }
        run *= 2;
    }
}

/// A step of a merge: orders rows that are `distance` apart, as many in a row as
/// that, every other time, from row `first` on.
#[inline(always)]
fn step<I: Exchange<T> + ?Sized, T: Copy + PartialOrd>(
    rows: &mut [[T; LANES]],
    first: usize,
    distance: usize,
) {
    let mut start = first;
    while start + distance < rows.len() {
        let (left, right) = rows.split_at_mut(start + distance);
        for (low, high) in left[start..].iter_mut().zip(right) {
            I::order(low, high);
        }
        start += 2 * distance;
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Exchange<f32> for super::isa::Plain {}
#[cfg(not(target_arch = "x86_64"))]
impl Exchange<f64> for super::isa::Plain {}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::isa::{Avx2, Avx512, Plain};
    use super::{Exchange, LANES};
    use std::arch::x86_64::*;

    macro_rules! exchange {
        ($isa:ty, $t:ty, $width:literal, $load:ident, $store:ident, $min:ident, $max:ident) => {
            impl Exchange<$t> for $isa {
                #[inline(always)]
                fn order(low: &mut [$t; LANES], high: &mut [$t; LANES]) {
                    for at in (0..LANES).step_by($width) {
                        // SAFETY: a kernel runs with a type only where its machine was
                        // detected; the lanes from `at` on lie within rows, and
                        // nothing needs alignment.
                        unsafe {
                            let low = low.as_mut_ptr().add(at);
                            let high = high.as_mut_ptr().add(at);
                            let (a, b) = ($load(low), $load(high));
                            $store(low, $min(a, b));
                            $store(high, $max(b, a));
                        }
                    }
                }

                #[inline(always)]
                fn eight(rows: &mut [[$t; LANES]; 8]) {
                    for at in (0..LANES).step_by($width) {
                        // SAFETY: as in `order`, for each of the eight rows.
                        unsafe {
                            let row = |k: usize| rows[k].as_ptr().add(at);
                            let a = $load(row(0));
                            let b = $load(row(1));
                            let c = $load(row(2));
                            let d = $load(row(3));
                            let e = $load(row(4));
                            let f = $load(row(5));
                            let g = $load(row(6));
                            let h = $load(row(7));
                            let (a, b) = ($min(a, b), $max(b, a));
                            let (c, d) = ($min(c, d), $max(d, c));
                            let (e, f) = ($min(e, f), $max(f, e));
                            let (g, h) = ($min(g, h), $max(h, g));
                            let (a, c) = ($min(a, c), $max(c, a));
                            let (b, d) = ($min(b, d), $max(d, b));
                            let (e, g) = ($min(e, g), $max(g, e));
                            let (f, h) = ($min(f, h), $max(h, f));
                            let (b, c) = ($min(b, c), $max(c, b));
                            let (f, g) = ($min(f, g), $max(g, f));
                            let (a, e) = ($min(a, e), $max(e, a));
                            let (b, f) = ($min(b, f), $max(f, b));
                            let (c, g) = ($min(c, g), $max(g, c));
                            let (d, h) = ($min(d, h), $max(h, d));
                            let (c, e) = ($min(c, e), $max(e, c));
                            let (d, f) = ($min(d, f), $max(f, d));
                            let (b, c) = ($min(b, c), $max(c, b));
                            let (d, e) = ($min(d, e), $max(e, d));
                            let (f, g) = ($min(f, g), $max(g, f));
                            for (row, sorted) in rows.iter_mut().zip([a, b, c, d, e, f, g, h]) {
                                $store(row.as_mut_ptr().add(at), sorted);
                            }
                        }
                    }
                }

                #[inline(always)]
                fn four([a, b, c, d]: [&mut [$t; LANES]; 4]) {
                    for at in (0..LANES).step_by($width) {
                        // SAFETY: as in `order`, for each of the four rows.
                        unsafe {
                            let (a, b) = (a.as_mut_ptr().add(at), b.as_mut_ptr().add(at));
                            let (c, d) = (c.as_mut_ptr().add(at), d.as_mut_ptr().add(at));
                            let (w, x, y, z) = ($load(a), $load(b), $load(c), $load(d));
                            let (w, y) = ($min(w, y), $max(y, w));
                            let (x, z) = ($min(x, z), $max(z, x));
                            $store(a, w);
                            $store(b, $min(x, y));
                            $store(c, $max(y, x));
                            $store(d, z);
                        }
                    }
                }

                #[inline(always)]
                fn last(rows: &mut [[$t; LANES]]) {
                    let n = rows.len();
                    if n < 4 {
                        return;
                    }
                    let samples = rows.as_flattened_mut().as_mut_ptr();
                    for at in (0..LANES).step_by($width) {
                        // SAFETY: as in `order`; `row` is asked for rows below n alone.
                        unsafe {
                            let row = |k: usize| samples.add(k * LANES + at);
                            // The row before the next four waits for its partner.
                            let mut held = $load(row(1));
                            let mut k = 2;
                            while k + 3 < n {
                                let (w, x) = ($load(row(k)), $load(row(k + 1)));
                                let (y, z) = ($load(row(k + 2)), $load(row(k + 3)));
                                let (w, y) = ($min(w, y), $max(y, w));
                                let (x, z) = ($min(x, z), $max(z, x));
                                $store(row(k - 1), $min(held, w));
                                $store(row(k), $max(w, held));
                                $store(row(k + 1), $min(x, y));
                                $store(row(k + 2), $max(y, x));
                                held = z;
                                k += 4;
                            }
                            // Up to three are left.
                            let mut w = held;
                            let mut v = held;
                            if k + 2 < n {
                                let (x, y) = ($load(row(k)), $load(row(k + 2)));
                                $store(row(k + 2), $max(y, x));
                                w = $min(x, y);
                            } else if k < n {
                                w = $load(row(k));
                            }
                            if k < n {
                                v = $min(held, w);
                                $store(row(k), $max(w, held));
                            }
                            $store(row(k - 1), v);
                            if k + 2 < n {
                                let (x, y) = ($load(row(k + 1)), $load(row(k + 2)));
                                $store(row(k + 1), $min(x, y));
                                $store(row(k + 2), $max(y, x));
                            }
                        }
                    }
                }
            }
        };
    }

    exchange!(
        Plain,
        f32,
        4,
        _mm_loadu_ps,
        _mm_storeu_ps,
        _mm_min_ps,
        _mm_max_ps
    );
    exchange!(
        Plain,
        f64,
        2,
        _mm_loadu_pd,
        _mm_storeu_pd,
        _mm_min_pd,
        _mm_max_pd
    );
    exchange!(
        Avx2,
        f32,
        8,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_min_ps,
        _mm256_max_ps
    );
    exchange!(
        Avx2,
        f64,
        4,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_min_pd,
        _mm256_max_pd
    );
    exchange!(
        Avx512,
        f32,
        16,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_min_ps,
        _mm512_max_ps
    );
    exchange!(
        Avx512,
        f64,
        8,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_min_pd,
        _mm512_max_pd
    );
}
