//! HCOMPRESS_1: a two-dimensional Haar transform, kept as trees of bit planes.
//!
//! From R. White, M. Postman and M. Lattanzi, "Compression of the Guide Star Digitised
//! Schmidt Plates" (Digitised Optical Sky Surveys, 1992, page 167), and the FITS
//! Standard 4.0, section 10.4.4.
//!
//! Four neighbours become their sum and three differences: down (hx), to the right (hy)
//! and across (hc). The sums are an image of half the size, of which the same is made,
//! and so on. The four have the same lowest bit, and more of them later, so those bits
//! are kept of one alone; an image of any size thus comes back as it was. With a scale
//! above 1 coefficients were divided by it, which loses what is small; then the slopes
//! inside of a square may be fitted to the squares around it (SMOOTH).

use std::num::Wrapping;

use super::bits::Bits;

/// A coefficient. What a damaged stream says may be anything, so it wraps.
type Number = Wrapping<i64>;

const ZERO: Number = Wrapping(0);

/// Magic, both lengths, scale, sum of all samples, bit planes of the quarters.
const HEAD_BYTES: usize = 2 + 4 + 4 + 4 + 8 + 3;

const MAGIC: &[u8] = &[0xdd, 0x99];

/// The most bit planes of 64-bit coefficients with a sign.
const MAX_PLANES: u8 = 63;

/// Buffers that are kept from tile to tile.
#[derive(Default)]
pub(super) struct Hcompress {
    /// The coefficients, as many as samples.
    all: Vec<Number>,
    /// Sums of a level, and those of the next finer one.
    sums: Vec<Number>,
    finer: Vec<Number>,
    /// Codes of a level of a tree, and those of the next finer one.
    codes: [Vec<u8>; 2],
}

/// A tile that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The stream ends before the last sign.
    Short,
    /// Its head or its trees are not what HCOMPRESS makes.
    Alien,
    /// A sample does not fit 32 bits.
    Large,
}

impl Hcompress {
    /// Decodes the samples of a tile.
    pub(super) fn decode(
        &mut self,
        padded: &[u8],
        smooths: bool,
        out: &mut [i32],
    ) -> Result<(), Fault> {
        let mut bits = Bits::new(padded);
        bits.at = 8 * HEAD_BYTES;
        bits.inside().ok_or(Fault::Short)?;
        let word = |at: usize| {
            let word = padded.get(at..)?.first_chunk()?;
            Some(u32::from_be_bytes(*word))
        };
        let length = |at| usize::try_from(word(at)?).ok();
        let (Some(height), Some(width), Some(scale)) = (length(2), length(6), word(10)) else {
            return Err(Fault::Short);
        };
        let sum = padded.get(14..).and_then(|bytes| bytes.first_chunk());
        let planes = [padded[22], padded[23], padded[24]];
        let is_one = padded.starts_with(MAGIC)
            && height > 1
            && width > 1
            && height.checked_mul(width) == Some(out.len())
            && planes.iter().all(|&n_planes| n_planes <= MAX_PLANES);
        let (true, Some(sum)) = (is_one, sum) else {
            return Err(Fault::Alien);
        };
        self.all.clear();
        self.all.resize(out.len(), ZERO);
        self.planes(&mut bits, (height, width), planes)?;
        signs(&mut bits, &mut self.all).ok_or(Fault::Short)?;
        self.all[0] = Wrapping(i64::from_be_bytes(*sum));
        let scale = Wrapping(i64::from(scale.cast_signed()));
        if scale > Wrapping(1) {
            self.all.iter_mut().for_each(|v| *v *= scale);
        }
        self.invert((height, width), if smooths { scale >> 1 } else { ZERO });
        let mut lost = 0;
        for (out, &Wrapping(v)) in out.iter_mut().zip(&self.sums) {
            let sample = v as i32;
            *out = sample;
            lost |= v ^ i64::from(sample);
        }
        if lost == 0 { Ok(()) } else { Err(Fault::Large) }
    }

    /// How many bytes it keeps.
    pub(super) fn kept(&self) -> usize {
        8 * (self.all.len() + self.sums.len() + self.finer.len())
    }

    /// Reads the trees of the four quarters.
    fn planes(
        &mut self,
        bits: &mut Bits,
        (height, width): (usize, usize),
        planes: [u8; 3],
    ) -> Result<(), Fault> {
        let (top, left) = (height.div_ceil(2), width.div_ceil(2));
        for (y, x, n_planes) in [
            (0, 0, planes[0]),
            (0, left, planes[1]),
            (top, 0, planes[1]),
            (top, left, planes[2]),
        ] {
            let quarter = Quarter {
                first: y * width + x,
                stride: width,
                height: if y == 0 { top } else { height - top },
                width: if x == 0 { left } else { width - left },
            };
            for plane in (0..n_planes).rev() {
                let found = quarter.plane(bits, &mut self.codes, &mut self.all, plane);
                let found = found.ok_or(Fault::Short)?;
                bits.inside().ok_or(Fault::Short)?;
                found?;
            }
        }
        let end = bits.take(4).ok_or(Fault::Short)?;
        bits.inside().ok_or(Fault::Short)?;
        if end == 0 { Ok(()) } else { Err(Fault::Alien) }
    }

    /// Turns the coefficients back into samples, which are `sums` then. `most` is how much a
    /// slope may be changed.
    fn invert(&mut self, (height, width): (usize, usize), most: Number) {
        let n_levels = height.max(width).next_power_of_two().ilog2();
        let first = round(self.all[0], Wrapping(2 << n_levels));
        self.sums.clear();
        self.sums.push(first);
        for level in (0..n_levels).rev() {
            let square = Level {
                height: height.div_ceil(1 << level),
                width: width.div_ceil(1 << level),
                stride: width,
                bit: Wrapping(1 << level),
            };
            if most > ZERO {
                square.smooth(&self.sums, &mut self.all, most);
            }
            self.finer.resize(square.height * square.width, ZERO);
            square.expand(&self.sums, &self.all, &mut self.finer);
            std::mem::swap(&mut self.sums, &mut self.finer);
        }
    }
}

/// A sign for each that is not 0, from a whole byte on.
fn signs(bits: &mut Bits, all: &mut [Number]) -> Option<()> {
    bits.at = bits.at.next_multiple_of(8);
    let (mut word, mut n_left) = (0u64, 0);
    for v in all.iter_mut().filter(|v| **v != ZERO) {
        if n_left == 0 {
            (word, n_left) = (bits.peek()?, 56);
            bits.at += 56;
        }
        *v = if word >> 63 == 1 { -*v } else { *v };
        word <<= 1;
        n_left -= 1;
    }
    bits.at -= n_left;
    bits.inside()
}

/// A quarter of the coefficients.
struct Quarter {
    first: usize,
    stride: usize,
    height: usize,
    width: usize,
}

impl Quarter {
    /// Reads one bit plane; `None` when the stream ends.
    fn plane(
        &self,
        bits: &mut Bits,
        [codes, finer]: &mut [Vec<u8>; 2],
        all: &mut [Number],
        plane: u8,
    ) -> Option<Result<(), Fault>> {
        let (height, width) = (self.height.div_ceil(2), self.width.div_ceil(2));
        codes.clear();
        match bits.take(4)? {
            // Four bits for each square of four.
            0 => {
                for _ in 0..height * width {
                    codes.push(u8::try_from(bits.take(4)?).ok()?);
                }
            }
            // A tree: which quarters have something in them, and which of theirs.
            15 => {
                codes.push(huffman(bits)?);
                if codes.as_slice() == [0] {
                    return Some(Ok(()));
                }
                let n_levels = self.height.max(self.width).next_power_of_two().ilog2();
                for level in (1..n_levels).rev() {
                    let tall = self.height.div_ceil(1 << level);
                    let wide = self.width.div_ceil(1 << level);
                    finer.clear();
                    finer.resize(tall * wide, 0);
                    refine(bits, codes, finer, wide)?;
                    std::mem::swap(codes, finer);
                }
            }
            _ => return Some(Err(Fault::Alien)),
        }
        let bit = Wrapping(1i64 << plane);
        for (y, codes) in codes.chunks_exact(width).enumerate() {
            let start = self.first + 2 * y * self.stride;
            let has_lower = 2 * y + 1 < self.height;
            for (x, &code) in codes.iter().enumerate().filter(|(_, code)| **code > 0) {
                let has_right = 2 * x + 1 < self.width;
                let at = start + 2 * x;
                let places = [at, at + 1, at + self.stride, at + self.stride + 1];
                let is_there = [true, has_right, has_lower, has_lower && has_right];
                for (k, (place, is_there)) in places.into_iter().zip(is_there).enumerate() {
                    if code & (8 >> k) > 0 && is_there {
                        all[place] |= bit;
                    }
                }
            }
        }
        Some(Ok(()))
    }
}

/// Reads a code for each part of a square that its own code names, as far as it is inside
/// what is finer, from the last to the first.
fn refine(bits: &mut Bits, codes: &[u8], finer: &mut [u8], wide: usize) -> Option<()> {
    let rows = codes.chunks_exact(wide.div_ceil(2));
    for (codes, finer) in rows.zip(finer.chunks_mut(2 * wide)).rev() {
        let (upper, lower) = finer.split_at_mut(wide);
        // Bits of the parts of a row: those on the left, and those on the right.
        for (row, left, right) in [(lower, 2, 1), (upper, 8, 4)] {
            if row.is_empty() {
                continue;
            }
            for (x, &code) in codes.iter().enumerate().rev() {
                if code & right > 0 && 2 * x + 1 < wide {
                    row[2 * x + 1] = huffman(bits)?;
                }
                if code & left > 0 {
                    row[2 * x] = huffman(bits)?;
                }
            }
        }
    }
    Some(())
}

/// The next code of four bits, which has 3 to 6 of them here.
#[inline]
fn huffman(bits: &mut Bits) -> Option<u8> {
    const CODES: [(u8, u8); 64] = codes();
    let (code, n_bits) = CODES[usize::try_from(bits.peek()? >> 58).ok()?];
    bits.at += usize::from(n_bits);
    Some(code)
}

/// What each beginning of 6 bits means, and how many of them are used.
const fn codes() -> [(u8, u8); 64] {
    // In the order of their bits: four of 3 bits, five of 4, five of 5, two of 6.
    const ORDER: [u8; 16] = [1, 2, 4, 8, 3, 5, 10, 12, 15, 6, 7, 9, 11, 13, 0, 14];
    let mut codes = [(0, 0); 64];
    let (mut at, mut number) = (0, 0);
    while number < 16 {
        let n_bits = match number {
            0..4 => 3,
            4..9 => 4,
            9..14 => 5,
            _ => 6,
        };
        let end = at + (64 >> n_bits);
        while at < end {
            codes[at] = (ORDER[number], n_bits);
            at += 1;
        }
        number += 1;
    }
    codes
}

/// A level of the transform: what becomes of the sums of squares and their differences.
struct Level {
    height: usize,
    width: usize,
    /// Coefficients of a row; those of the level are its first ones.
    stride: usize,
    /// The unit of differences across; that of the others is twice as much.
    bit: Number,
}

impl Level {
    /// Squares of the level, down and to the right, those that are cut counted.
    fn squares(&self) -> (usize, usize) {
        (self.height.div_ceil(2), self.width.div_ceil(2))
    }

    /// Makes samples of sums, or sums of the next level.
    fn expand(&self, sums: &[Number], all: &[Number], out: &mut [Number]) {
        let (down, right) = self.squares();
        let (none, mut outside) = (vec![ZERO; right], vec![ZERO; self.width]);
        let rows = sums.chunks_exact(right).zip(out.chunks_mut(2 * self.width));
        for (y, (sums, out)) in rows.enumerate() {
            let (upper, lower) = out.split_at_mut(self.width);
            let hy = &all[y * self.stride + right..][..self.width - right];
            let (hx, hc, lower) = match lower.is_empty() {
                true => (&none[..], &none[..], &mut outside[..]),
                false => {
                    let row = &all[(down + y) * self.stride..][..self.width];
                    (&row[..right], &row[right..], lower)
                }
            };
            let pairs = (upper.as_chunks_mut::<2>().0.iter_mut()).zip(lower.as_chunks_mut::<2>().0);
            let squares = sums.iter().zip(hx).zip(hy).zip(hc).zip(pairs);
            for ((((&h0, &hx), &hy), &hc), (upper, lower)) in squares {
                [*upper, *lower] = self.square(h0, [hx, hy, hc]);
            }
            if self.width < 2 * right {
                let [up, low] = self.square(sums[right - 1], [hx[right - 1], ZERO, ZERO]);
                (upper[self.width - 1], lower[self.width - 1]) = (up[0], low[0]);
            }
        }
    }

    /// The four of a square; a difference to what is outside of the image is 0.
    #[inline]
    fn square(&self, h0: Number, [hx, hy, hc]: [Number; 3]) -> [[Number; 2]; 2] {
        let bit = self.bit;
        let (hx, hy, hc) = (round(hx, bit + bit), round(hy, bit + bit), round(hc, bit));
        // The lowest bit was kept of `hc` alone, the one above of all but `h0`.
        let low = hc & bit;
        let inwards = |v: Number| if v < ZERO { v + low } else { v - low };
        let (hx, hy) = (inwards(hx), inwards(hy));
        let high = (hc ^ hx ^ hy) & (bit + bit);
        let h0 = match h0 < ZERO && low == ZERO {
            true => h0 + high,
            false => h0 + low - high,
        };
        // The samples themselves are a quarter.
        let shift = if bit == Wrapping(1) { 2 } else { 1 };
        [
            [(h0 - hx - hy + hc) >> shift, (h0 - hx + hy - hc) >> shift],
            [(h0 + hx - hy - hc) >> shift, (h0 + hx + hy + hc) >> shift],
        ]
    }

    /// Changes differences, by `most` at most, to what the squares around suggest, as far
    /// as samples still rise or fall where the squares do.
    fn smooth(&self, sums: &[Number], all: &mut [Number], most: Number) {
        let (down, right) = self.squares();
        let sum = |y: usize, x: usize| sums[y * right + x];
        // Squares that have others on both sides.
        let (inner_y, inner_x) = (1..down - 1, 1..right - 1);
        for y in inner_y.clone() {
            for x in 0..right {
                let hx = &mut all[(down + y) * self.stride + x];
                *hx = slope([sum(y - 1, x), sum(y, x), sum(y + 1, x)], *hx, most);
            }
        }
        for y in 0..down {
            for x in inner_x.clone() {
                let hy = &mut all[y * self.stride + right + x];
                *hy = slope([sum(y, x - 1), sum(y, x), sum(y, x + 1)], *hy, most);
            }
        }
        for y in inner_y {
            for x in inner_x.clone() {
                let hx = all[(down + y) * self.stride + x] * Wrapping(2);
                let hy = all[y * self.stride + right + x] * Wrapping(2);
                let h0 = sum(y, x);
                let (before, after) = (sum(y - 1, x - 1), sum(y - 1, x + 1));
                let (below, beyond) = (sum(y + 1, x - 1), sum(y + 1, x + 1));
                // To each corner: how much sums change, and how much the slopes say.
                let ways = [
                    (beyond - h0, -hx - hy),
                    (h0 - below, hx - hy),
                    (h0 - after, hy - hx),
                    (before - h0, hx + hy),
                ];
                let rises = ways.map(|(change, said)| change.max(ZERO) + said);
                let falls = ways.map(|(change, said)| change.min(ZERO) + said);
                let [a, b, c, d] = rises;
                let greatest = a.min(b).min(c).min(d) * Wrapping(16);
                let [a, b, c, d] = falls;
                let least = a.max(b).max(c).max(d) * Wrapping(16);
                let wanted = beyond + before - after - below;
                let hc = &mut all[(down + y) * self.stride + right + x];
                *hc = nearer(*hc, wanted, (least, greatest), Wrapping(64), most);
            }
        }
    }
}

/// A difference that fits the sums of three squares in a row.
fn slope([before, here, after]: [Number; 3], old: Number, most: Number) -> Number {
    let (to, from) = (after - here, here - before);
    let greatest = to.min(from).max(ZERO) * Wrapping(4);
    let least = to.max(from).min(ZERO) * Wrapping(4);
    nearer(old, after - before, (least, greatest), Wrapping(8), most)
}

/// `old`, changed by `most` at most towards what is wanted, which is so many times as
/// much and lies between bounds. Where these leave no room it stays.
fn nearer(
    old: Number,
    wanted: Number,
    (least, greatest): (Number, Number),
    times: Number,
    most: Number,
) -> Number {
    if least >= greatest {
        return old;
    }
    let change = (wanted.clamp(least, greatest) - old * times) / times;
    old + change.clamp(-most, most)
}

/// The nearest multiple of a power of two; halves go away from 0.
#[inline]
fn round(v: Number, bit: Number) -> Number {
    let half = bit >> 1;
    // The half of a negative number is one less.
    let less = Wrapping(i64::from(v < ZERO && half > ZERO));
    (v + half - less) & -bit
}

#[cfg(test)]
mod tests {
    use super::super::bits::PAD_BYTES;
    use super::*;

    /// ((7 x + 31 y) mod 41) - 9 of 7 x 5 int16 samples, as astropy 8.0 compresses it.
    const SQUARE: [u8; 72] = [
        0xdd, 0x99, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x07, 0x06, 0x06, 0xf4, 0x3e, 0xe3, 0x40, 0x2f,
        0x98, 0x05, 0x70, 0x00, 0x2e, 0x89, 0xe1, 0xff, 0xdf, 0xf7, 0xd9, 0x01, 0xf5, 0x90, 0x1f,
        0x59, 0x01, 0xd1, 0x91, 0xff, 0x04, 0x20, 0x7f, 0x84, 0x20, 0x7f, 0x84, 0xb7, 0xfc, 0x02,
        0x5f, 0xf0, 0x09, 0x7f, 0xdf, 0xf0, 0x09, 0x00, 0x62, 0x5a, 0x06, 0x94,
    ];

    fn decode(bytes: &[u8], n_samples: usize) -> Result<Vec<i32>, Fault> {
        let padded = [bytes, &[0xff; PAD_BYTES]].concat();
        let mut out = vec![0; n_samples];
        let decoded = Hcompress::default().decode(&padded, true, &mut out);
        decoded.map(|()| out)
    }

    #[test]
    fn a_stream_ends_with_the_last_sign() {
        let samples = decode(&SQUARE, 35).unwrap();
        let expected = |k: i32| (7 * (k % 7) + 31 * (k / 7)) % 41 - 9;
        assert_eq!(samples, (0..35).map(expected).collect::<Vec<_>>());
        for end in 0..SQUARE.len() {
            assert_eq!(decode(&SQUARE[..end], 35), Err(Fault::Short), "{end}");
        }
        // Other lengths, a magic, so many planes, one row: none of its.
        let mut row = SQUARE;
        (row[5], row[9]) = (1, 35);
        assert_eq!(decode(&row, 35), Err(Fault::Alien));
        for (at, byte) in [(0, 0), (5, 1), (5, 35), (22, 64), (24, 255)] {
            let mut other = SQUARE;
            other[at] = byte;
            assert_eq!(decode(&other, 35), Err(Fault::Alien), "{at}");
        }
    }

    #[test]
    fn whatever_bits_there_are_end_in_samples_or_a_fault() {
        let mut flipped = SQUARE;
        for at in 0..8 * SQUARE.len() {
            for also in [at, at * 7 % 200, 8 * 13, 8 * 10] {
                flipped[at / 8] ^= 1 << (at % 8);
                flipped[also / 8] ^= 1 << (also % 8);
                let _ = decode(&flipped, 35);
                flipped = SQUARE;
            }
        }
    }
}
