//! The inner loops, each beside `copy_from_slice` of the bytes it writes: once
//! for as many as a tile has, once for more than caches hold.

#![allow(clippy::print_stdout, reason = "a bench prints what it found")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{Rival, compare, is_wanted, noise, rounds};
use cube::dtype::DType;
use cube::kernels::cast::{Rules, convert};
use cube::kernels::copy::{Layout, copy_box, repeat, xor_copy};
use cube::kernels::swap::swap_in_place;
use cube::region::MAX_RANK;

/// Bytes of a tile of 64 x 64 x 32 samples of 4 bytes.
const TILE: usize = 512 << 10;

/// Bytes that one measurement moves.
const WORK: usize = 64 << 20;

/// NaN, which float cubes store their samples XORed with.
const MASK: u64 = 0x7fc0_0000;

fn main() {
    if !is_wanted() {
        return;
    }
    for bytes in [TILE, WORK] {
        lines(bytes);
    }
    boxes();
}

/// Calls `work` until `WORK` bytes went through it.
fn repeated(bytes: usize, mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..WORK.div_ceil(bytes) {
        work();
    }
    start.elapsed()
}

/// Loops over consecutive samples.
fn lines(bytes: usize) {
    let from = noise(1, bytes);
    let half = noise(2, bytes / 2);
    let (mut a, mut b, mut c, mut d) = (from.clone(), from.clone(), from.clone(), from.clone());
    let mut swapped = [from.clone(), from.clone(), from.clone()];
    let [two, four, eight] = &mut swapped;
    let in_place = |bytes: &mut [u8], size| {
        let len = bytes.len();
        repeated(len, || swap_in_place(black_box(&mut *bytes), size))
    };
    let rules = Rules::default();
    let title = format!("{} KiB, {} MiB in all", bytes >> 10, WORK >> 20);
    compare(
        &title,
        rounds(25),
        &mut [
            Rival::new("copy_from_slice", || {
                repeated(bytes, || a.copy_from_slice(black_box(&from)))
            }),
            Rival::new("xor_copy, no mask", || {
                repeated(bytes, || xor_copy(black_box(&from), &mut b, 0))
            }),
            Rival::new("xor_copy, mask", || {
                let mask = repeat(MASK, 4);
                repeated(bytes, || xor_copy(black_box(&from), &mut c, mask))
            }),
            Rival::new("swap_in_place, 2 bytes", || in_place(two, 2)),
            Rival::new("swap_in_place, 4 bytes", || in_place(four, 4)),
            Rival::new("swap_in_place, 8 bytes", || in_place(eight, 8)),
            Rival::new("convert, uint16 to float32", || {
                repeated(bytes, || {
                    let half = black_box(&half);
                    black_box(convert(DType::U16, half, DType::F32, &mut d, &rules));
                })
            }),
            Rival::new("crc32c", || {
                repeated(bytes, || {
                    black_box(crc32c::crc32c(black_box(&from)));
                })
            }),
        ],
    );
}

/// A tile of 64 x 64 x 32 and its place in an array of 256 x 256 x 32.
fn boxes() {
    const WIDE: usize = 256;
    let lens = lens([64, 64, 32]);
    let tile_layout = layout(64 * 4, 64 * 64 * 4);
    let wide_layout = layout(WIDE * 4, WIDE * WIDE * 4);
    let tile = noise(3, TILE);
    let array = noise(4, WIDE * WIDE * 32 * 4);
    let mut into = tile.clone();
    let mut tiles = [tile.clone(), tile.clone()];
    let [first, second] = &mut tiles;
    let mut wide = array.clone();
    let fill = |tile: &mut [u8], mask| {
        repeated(TILE, || {
            let from = (black_box(array.as_slice()), &wide_layout);
            copy_box(4, mask, &lens, from, (&mut *tile, &tile_layout));
        })
    };
    compare(
        "a tile of 64 x 64 x 32 samples of 4 bytes",
        rounds(25),
        &mut [
            Rival::new("copy_from_slice", || {
                repeated(TILE, || into.copy_from_slice(black_box(&tile)))
            }),
            Rival::new("copy_box into it, no mask", || fill(first, 0)),
            Rival::new("copy_box into it, mask", || fill(second, MASK)),
            Rival::new("copy_box out of it, mask", || {
                repeated(TILE, || {
                    let from = (black_box(tile.as_slice()), &tile_layout);
                    copy_box(4, MASK, &lens, from, (&mut wide, &wide_layout));
                })
            }),
        ],
    );
}

fn lens(first: [usize; 3]) -> [usize; MAX_RANK] {
    std::array::from_fn(|axis| first.get(axis).copied().unwrap_or(1))
}

fn layout(row: usize, plane: usize) -> Layout {
    let mut strides = [0; MAX_RANK];
    for (stride, bytes) in strides.iter_mut().zip([4, row, plane]) {
        *stride = isize::try_from(bytes).unwrap();
    }
    Layout { start: 0, strides }
}
