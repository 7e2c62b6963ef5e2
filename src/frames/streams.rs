//! The streams in compressed tiles, gone through before cfitsio is.
//!
//! cfitsio 3.49 finds out behind its end that a stream is too short, or does not find
//! it out. It makes as much of a gzipped tile as is in it; where that fails it goes on
//! with a length that it did not set. So every stream is gone through here first, to
//! see that it holds the samples of its tile and no more.

use std::ops::Range;

use crate::error::{Error, Result};

use super::cfitsio;
use super::source::Source;

/// Bytes of the samples that cfitsio takes out of a gzip stream.
const GZIPPED_BYTES: [u64; 4] = [1, 2, 4, 8];

/// Rows of the table, and of the heap, are read this many bytes at a time.
const WINDOW_BYTES: u64 = 1 << 17;

/// Bytes behind a stream that can be looked at and do not count.
const PAD_BYTES: usize = 8;

/// What the streams of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Differences with few bits, in blocks of so many samples of 1, 2 or 4 bytes.
    Rice {
        /// Samples of a block.
        block: u64,
        /// Bytes of a sample.
        width: usize,
    },
    /// Bit planes of a transform, as trees of quarters.
    Hcompress {
        /// The most bit planes that fit what cfitsio unpacks to.
        most_planes: u8,
    },
    /// Words that say what runs of samples are.
    Plio,
    /// A gzip stream.
    Gzip {
        /// How many bytes a sample must have; else cfitsio takes some sizes as they come.
        only: Option<u64>,
    },
}

/// How an image is cut into tiles, the fastest axis first.
#[derive(Clone, Debug)]
pub(super) struct Tiling {
    pub(super) axes: Vec<u64>,
    pub(super) tile: Vec<u64>,
    pub(super) n_tiles: u64,
}

impl Tiling {
    /// Samples of one tile; those at the image's far ends are cut.
    pub(super) fn samples_of(&self, mut tile_idx: u64) -> u64 {
        let mut n_samples = 1;
        for (&len, &tile) in self.axes.iter().zip(&self.tile) {
            let n_along = len.div_ceil(tile);
            let start = tile_idx % n_along * tile;
            n_samples *= tile.min(len - start);
            tile_idx /= n_along;
        }
        n_samples
    }

    /// Tiles that hold samples of this run, and others that lie beside them.
    fn tiles_of(&self, first: u64, n_samples: u64) -> Range<u64> {
        let (Some(&len), Some(&tile)) = (self.axes.last(), self.tile.last()) else {
            return 0..0;
        };
        let whole: u64 = self.axes.iter().product();
        let per_layer = self.n_tiles / len.div_ceil(tile);
        let layer = |sample: u64| sample / (whole / len) / tile;
        let last = first.saturating_add(n_samples).saturating_sub(1);
        layer(first) * per_layer..(layer(last) + 1) * per_layer
    }
}

/// A column whose rows point into the heap behind the table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// Where in a row its descriptor begins.
    pub(super) offset: u64,
    /// Are descriptors pairs of 64-bit numbers, not of 32-bit ones?
    pub(super) is_wide: bool,
    pub(super) element_bytes: u64,
}

impl Column {
    /// Count and offset, as a row has them; negative ones become too large.
    pub(super) fn descriptor(&self, row: &[u8]) -> (u64, u64) {
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let bytes = row.get(start..).unwrap_or_default();
        let mut numbers = [u64::MAX; 2];
        if self.is_wide {
            for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *number = u64::from_be_bytes(*bytes);
            }
        } else {
            for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *number = u64::from(u32::from_be_bytes(*bytes));
            }
        }
        (numbers[0], numbers[1])
    }
}

/// The streams of an image, and which of them were gone through.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) number: u32,
    pub(super) coding: Coding,
    pub(super) tiling: Tiling,
    pub(super) sample_bytes: u64,
    /// COMPRESSED_DATA, and where what could not be compressed so may stand instead.
    pub(super) compressed: Column,
    pub(super) plain: Option<Column>,
    pub(super) gzipped: Option<Column>,
    /// Where the first row of the table begins, and how long each is.
    pub(super) rows: u64,
    pub(super) row_bytes: u64,
    /// Where the heap begins, and how long it is.
    pub(super) heap: u64,
    pub(super) heap_bytes: u64,
    pub(super) seen: Range<u64>,
}

impl Streams {
    /// Goes through the streams of the tiles that hold a run of samples.
    ///
    /// # Errors
    /// When one is not what its tile needs.
    pub(super) fn examine(&mut self, source: &Source, first: u64, n_samples: u64) -> Result<()> {
        let tiles = self.tiling.tiles_of(first, n_samples);
        let goes_on = tiles.start >= self.seen.start && tiles.start <= self.seen.end;
        if !goes_on {
            self.seen = tiles.start..tiles.start;
        }
        let (mut rows, mut room) = (Vec::new(), Vec::new());
        let mut heap = Window::new(self.heap, self.heap_bytes);
        let per_read = (WINDOW_BYTES / self.row_bytes.max(1)).max(1);
        while self.seen.end < tiles.end {
            let n_rows = per_read.min(tiles.end - self.seen.end);
            let row_bytes = usize::try_from(self.row_bytes).unwrap_or(usize::MAX);
            rows.resize(usize::try_from(n_rows).unwrap_or(1) * row_bytes, 0);
            source.read_at(self.rows + self.seen.end * self.row_bytes, &mut rows)?;
            for row in rows.chunks_exact(row_bytes) {
                let tile_idx = self.seen.end;
                let n_samples = self.tiling.samples_of(tile_idx);
                let (mut coding, mut column) = (self.coding, &self.compressed);
                let mut examined = Ok(());
                if column.descriptor(row).0 == 0 {
                    // In the order in which cfitsio looks for it.
                    if let Some(plain) = &self.plain {
                        let (count, _) = plain.descriptor(row);
                        if count != n_samples {
                            examined = Err(format!("has {count} samples, expected {n_samples}"));
                        }
                    } else if let Some(gzipped) = &self.gzipped {
                        column = gzipped;
                        coding = Coding::Gzip {
                            only: Some(self.sample_bytes),
                        };
                    }
                }
                let (count, offset) = column.descriptor(row);
                if count > 0 {
                    let n_bytes = count.saturating_mul(column.element_bytes);
                    let padded = heap.get(source, offset, n_bytes)?;
                    examined = coding.examine(padded, n_samples, &mut room);
                }
                examined.map_err(|what| {
                    Error::damaged(format!(
                        "the compressed image in HDU {}: tile {tile_idx} {what}",
                        self.number
                    ))
                })?;
                self.seen.end += 1;
            }
        }
        Ok(())
    }
}

/// A part of the heap, in which streams follow each other.
struct Window {
    start: u64,
    end: u64,
    at: u64,
    /// Behind what was read stand [`PAD_BYTES`].
    bytes: Vec<u8>,
}

impl Window {
    fn new(start: u64, n_bytes: u64) -> Window {
        Window {
            start,
            end: start + n_bytes,
            at: start,
            bytes: vec![0; PAD_BYTES],
        }
    }

    /// The bytes from an offset of the heap on, and [`PAD_BYTES`] behind them.
    fn get(&mut self, source: &Source, offset: u64, n_bytes: u64) -> Result<&[u8]> {
        let start = self.start.saturating_add(offset);
        let needed = start.saturating_add(n_bytes);
        // Not so of what was seen when it was opened.
        if needed > self.end {
            return Err(Error::input("the file changed while it was read"));
        }
        let there = (self.bytes.len() - PAD_BYTES) as u64;
        if start < self.at || needed > self.at + there {
            let n_read = n_bytes.max(WINDOW_BYTES.min(self.end - start));
            let n_read = usize::try_from(n_read).unwrap_or(usize::MAX);
            self.bytes.resize(n_read + PAD_BYTES, 0);
            self.at = start;
            source.read_at(start, &mut self.bytes[..n_read])?;
        }
        let first = usize::try_from(start - self.at).unwrap_or(usize::MAX);
        let n_bytes = usize::try_from(n_bytes).unwrap_or(usize::MAX);
        Ok(&self.bytes[first..first + n_bytes + PAD_BYTES])
    }
}

impl Coding {
    /// Goes through a stream, behind which stand [`PAD_BYTES`] others; says what is
    /// wrong. `room` is used up.
    fn examine(self, padded: &[u8], n_samples: u64, room: &mut Vec<u8>) -> Result<(), String> {
        let n_bytes = padded.len() - PAD_BYTES;
        let too_short = || format!("ends after {n_bytes} bytes, before its {n_samples} samples");
        match self {
            Coding::Rice { block, width } => {
                rice(padded, n_samples, block, width).ok_or_else(too_short)
            }
            Coding::Hcompress { most_planes } => match hcompress(padded, n_samples, most_planes) {
                Some(true) => Ok(()),
                Some(false) => Err("is not what HCOMPRESS makes".to_string()),
                None => Err(too_short()),
            },
            Coding::Plio => plio(&padded[..n_bytes]).ok_or_else(too_short),
            Coding::Gzip { only } => {
                let most = 8 * usize::try_from(n_samples).unwrap_or_default();
                room.resize(most + PAD_BYTES, 0);
                let found = cfitsio::gunzip(&padded[..n_bytes], room)
                    .ok_or_else(|| format!("is no gzip stream of at most {most} bytes"))?;
                let is_size = |size: &u64| found == size * n_samples;
                let sizes = only
                    .as_ref()
                    .map_or(&GZIPPED_BYTES[..], std::slice::from_ref);
                match sizes.iter().any(is_size) {
                    true => Ok(()),
                    false => Err(format!(
                        "holds {found} bytes, which are no {n_samples} samples"
                    )),
                }
            }
        }
    }
}

/// Bits of a stream, the highest of a byte first.
struct Bits<'a> {
    /// The stream, and [`PAD_BYTES`] behind it.
    padded: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next bits, at least 57 of them, from the highest on.
    #[inline]
    fn peek(&self) -> Option<u64> {
        let word = self.padded.get(self.at / 8..)?.first_chunk()?;
        Some(u64::from_be_bytes(*word) << (self.at % 8))
    }

    /// A number of 1 to 8 bits.
    #[inline]
    fn take(&mut self, n_bits: u32) -> Option<u8> {
        let bits = self.peek()? >> (64 - n_bits);
        self.at += n_bits as usize;
        u8::try_from(bits).ok()
    }

    fn is_inside(&self) -> bool {
        self.at <= 8 * (self.padded.len() - PAD_BYTES)
    }
}

/// Goes through a Rice stream; `None` when it ends too early.
fn rice(padded: &[u8], n_samples: u64, block: u64, width: usize) -> Option<()> {
    // Bits of the number that heads a block, the number that says that samples follow
    // as they are, and the bits of those.
    let (head_bits, plain, plain_bits) = match width {
        1 => (3, 7, 8),
        2 => (4, 15, 16),
        _ => (5, 26, 32),
    };
    // The first sample comes first, and cfitsio looks at the byte behind it.
    let mut bits = Bits {
        padded,
        at: 8 * (width + 1),
    };
    bits.is_inside().then_some(())?;
    bits.at -= 8;
    let mut left = n_samples;
    while left > 0 {
        let n_now = left.min(block);
        match bits.take(head_bits)? {
            // All are as the one before.
            0 => {}
            head if head == plain => bits.at += usize::try_from(n_now).ok()? * plain_bits,
            head => {
                // Zeros up to a one, and then so many bits.
                let n_low = u32::from(head) - 1;
                let (mut word, mut used) = (bits.peek()?, 0);
                for _ in 0..n_now {
                    let mut n_bits = word.leading_zeros() + 1 + n_low;
                    // Of a word 57 bits are those of the stream.
                    if used + n_bits > 57 {
                        bits.at += used as usize;
                        (word, used) = (bits.peek()?, 0);
                        while word >> 7 == 0 {
                            bits.at += 57;
                            word = bits.peek()?;
                        }
                        n_bits = word.leading_zeros() + 1 + n_low;
                        if n_bits > 57 {
                            bits.at += n_bits as usize;
                            word = bits.peek()?;
                            continue;
                        }
                    }
                    word <<= n_bits;
                    used += n_bits;
                }
                bits.at += used as usize;
            }
        }
        bits.is_inside().then_some(())?;
        left -= n_now;
    }
    Some(())
}

/// Goes through an HCOMPRESS stream whose head claims as many samples as its tile has.
/// `None` when it ends too early, false when it is none.
fn hcompress(padded: &[u8], n_samples: u64, most_planes: u8) -> Option<bool> {
    // Magic, both lengths, scale, sum of all samples, bit planes of the quarters.
    const HEAD: usize = 2 + 4 + 4 + 4 + 8;
    let mut bits = Bits {
        padded,
        at: 8 * (HEAD + 3),
    };
    bits.is_inside().then_some(())?;
    let length = |at: usize| Some(u32::from_be_bytes(*padded.get(at..)?.first_chunk()?) as usize);
    let (n_rows, n_columns) = (length(2)?, length(6)?);
    let planes = [padded[HEAD], padded[HEAD + 1], padded[HEAD + 2]];
    // Of one row cfitsio writes the quarters that are not there beyond its memory.
    let is_one = padded.starts_with(&[0xdd, 0x99])
        && n_rows > 1
        && n_columns > 1
        && (n_rows as u64).checked_mul(n_columns as u64) == Some(n_samples)
        && planes.iter().all(|&n_planes| n_planes <= most_planes);
    if !is_one {
        return Some(false);
    }
    let mut is_set = vec![false; n_rows * n_columns];
    let (top, left) = (n_rows.div_ceil(2), n_columns.div_ceil(2));
    for (y, x, n_planes) in [
        (0, 0, planes[0]),
        (0, left, planes[1]),
        (top, 0, planes[1]),
        (top, left, planes[2]),
    ] {
        let quarter = Quarter {
            first: y * n_columns + x,
            stride: n_columns,
            height: if y == 0 { top } else { n_rows - top },
            width: if x == 0 { left } else { n_columns - left },
        };
        for _ in 0..n_planes {
            let is_plane = quarter.plane(&mut bits, &mut is_set)?;
            if !is_plane || !bits.is_inside() {
                return bits.is_inside().then_some(false);
            }
        }
    }
    if bits.take(4)? != 0 {
        return Some(false);
    }
    // A sign for each that is not 0, from a whole byte on.
    bits.at = bits.at.next_multiple_of(8) + is_set.iter().filter(|&&is_set| is_set).count();
    bits.is_inside().then_some(true)
}

/// A quarter of an HCOMPRESS transform.
struct Quarter {
    first: usize,
    stride: usize,
    height: usize,
    width: usize,
}

impl Quarter {
    /// Goes through one bit plane; false when it is none.
    fn plane(&self, bits: &mut Bits, is_set: &mut [bool]) -> Option<bool> {
        let (height, width) = (self.height.div_ceil(2), self.width.div_ceil(2));
        let mut codes;
        match bits.take(4)? {
            // A nibble for each square of four.
            0 => {
                codes = Vec::new();
                for _ in 0..height * width {
                    codes.push(bits.take(4)?);
                }
            }
            // A tree: which quarters have something in them, and which of theirs.
            15 => {
                codes = vec![huffman(bits)?];
                let n_levels = self.height.max(self.width).next_power_of_two().ilog2();
                let (mut rows, mut columns) = (1, 1);
                for level in (1..n_levels).rev() {
                    let (tall, wide) = (
                        self.height.div_ceil(1 << level),
                        self.width.div_ceil(1 << level),
                    );
                    let mut finer = vec![0; tall * wide];
                    spread(&codes, (rows, columns), (tall, wide), |at| finer[at] = 1);
                    for code in finer.iter_mut().rev().filter(|code| **code > 0) {
                        *code = huffman(bits)?;
                    }
                    (codes, rows, columns) = (finer, tall, wide);
                }
            }
            _ => return Some(false),
        }
        spread(&codes, (height, width), (self.height, self.width), |at| {
            let (y, x) = (at / self.width, at % self.width);
            is_set[self.first + y * self.stride + x] = true;
        });
        Some(true)
    }
}

/// Calls with the place of each part of a square that its code names, as far as it is
/// inside what is finer.
fn spread(
    codes: &[u8],
    (rows, columns): (usize, usize),
    (tall, wide): (usize, usize),
    mut set: impl FnMut(usize),
) {
    for y in 0..rows {
        for x in 0..columns {
            let code = codes[y * columns + x];
            for (bit, down, right) in [(8, 0, 0), (4, 0, 1), (2, 1, 0), (1, 1, 1)] {
                let (y, x) = (2 * y + down, 2 * x + right);
                if code & bit > 0 && y < tall && x < wide {
                    set(y * wide + x);
                }
            }
        }
    }
}

/// The next code of four bits, which has 3 to 6 of them here.
fn huffman(bits: &mut Bits) -> Option<u8> {
    let (code, n_bits) = match bits.peek()? >> 58 {
        0..8 => (1, 3),
        8..16 => (2, 3),
        16..24 => (4, 3),
        24..32 => (8, 3),
        32..36 => (3, 4),
        36..40 => (5, 4),
        40..44 => (10, 4),
        44..48 => (12, 4),
        48..52 => (15, 4),
        52 | 53 => (6, 5),
        54 | 55 => (7, 5),
        56 | 57 => (9, 5),
        58 | 59 => (11, 5),
        60 | 61 => (13, 5),
        62 => (0, 6),
        _ => (14, 6),
    };
    bits.at += n_bits;
    Some(code)
}

/// Goes through the words of a PLIO list, which are inside it as `tiles` saw; `None`
/// when the last one says that another one follows.
fn plio(bytes: &[u8]) -> Option<()> {
    let words = bytes.as_chunks::<2>().0;
    let word = |at: usize| {
        words
            .get(at)
            .map(|word| i64::from(i16::from_be_bytes(*word)))
    };
    let (first, n_words) = match word(2)? {
        n_words if n_words > 0 => (3, n_words),
        _ => (word(1)?, (word(4)? << 15) + word(3)?),
    };
    let (first, n_words) = (usize::try_from(first).ok()?, usize::try_from(n_words).ok()?);
    let mut skips = false;
    for at in first..n_words {
        // The next word is the upper part of a value.
        skips = !skips && word(at)? / 4096 == 1;
    }
    (n_words > 0 && (!skips || n_words < words.len())).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(bytes: &[u8]) -> Vec<u8> {
        [bytes, &[0; PAD_BYTES]].concat()
    }

    /// Numbers and how many bits each has, one after the other.
    fn packed(numbers: &[(u64, u32)]) -> Vec<u8> {
        let bits = numbers.iter().flat_map(|&(number, n_bits)| {
            (0..n_bits).rev().map(move |bit| (number >> bit & 1) as u8)
        });
        let bits: Vec<u8> = bits.collect();
        let bytes = bits.chunks(8).map(|bits| {
            let byte = bits.iter().fold(0, |byte, bit| byte << 1 | bit);
            byte << (8 - bits.len())
        });
        bytes.collect()
    }

    #[test]
    fn a_rice_stream_ends_where_its_samples_do() {
        for (width, bits, head_bits, plain) in [(1, 8, 3, 7), (2, 16, 4, 15), (4, 32, 5, 26)] {
            let stream = packed(&[
                (100, bits),
                // Nothing changes; then samples as they are; then 70 zeros, a one and
                // two bits, and a one and two bits; and a block of one sample.
                (0, head_bits),
                (plain, head_bits),
                (0, bits),
                (9, bits),
                (3, head_bits),
                (0, 60),
                (0, 10),
                (0b101, 3),
                (0b110, 3),
                (1, head_bits),
                (1, 1),
            ]);
            let walk = |bytes: &[u8]| rice(&padded(bytes), 7, 2, width);
            assert_eq!(walk(&stream), Some(()), "{width}");
            assert_eq!(walk(&[&stream[..], &[0xff]].concat()), Some(()));
            for end in 0..stream.len() {
                assert_eq!(walk(&stream[..end]), None, "{width}: {end}");
            }
        }
        // Zeros up to the end, however long.
        assert_eq!(
            rice(&padded(&[&[0, 0x30][..], &[0; 999]].concat()), 9, 32, 1),
            None
        );
    }

    /// ((7 x + 31 y) mod 41) - 9 of 7 x 5 int16 samples, as astropy 8.0 compresses it.
    const SQUARE: [u8; 72] = [
        0xdd, 0x99, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x07, 0x06, 0x06, 0xf4, 0x3e, 0xe3, 0x40, 0x2f,
        0x98, 0x05, 0x70, 0x00, 0x2e, 0x89, 0xe1, 0xff, 0xdf, 0xf7, 0xd9, 0x01, 0xf5, 0x90, 0x1f,
        0x59, 0x01, 0xd1, 0x91, 0xff, 0x04, 0x20, 0x7f, 0x84, 0x20, 0x7f, 0x84, 0xb7, 0xfc, 0x02,
        0x5f, 0xf0, 0x09, 0x7f, 0xdf, 0xf0, 0x09, 0x00, 0x62, 0x5a, 0x06, 0x94,
    ];

    #[test]
    fn an_hcompress_stream_ends_with_the_last_sign() {
        let walk = |bytes: &[u8], n_samples| hcompress(&padded(bytes), n_samples, 32);
        assert_eq!(walk(&SQUARE, 35), Some(true));
        for end in 0..SQUARE.len() {
            assert_eq!(walk(&SQUARE[..end], 35), None, "{end}");
        }
        // Other lengths, a magic, so many planes: none of its.
        for (at, byte) in [(0, 0), (5, 1), (5, 35), (22, 33), (24, 255)] {
            let mut other = SQUARE;
            other[at] = byte;
            assert_eq!(walk(&other, 35), Some(false), "{at}");
        }
        let mut flipped = SQUARE;
        for at in 0..8 * SQUARE.len() {
            flipped[at / 8] ^= 1 << (at % 8);
            let _ = walk(&flipped, 35);
            flipped[at / 8] ^= 1 << (at % 8);
        }
        // One row of which a quarter would be without any.
        let mut row = SQUARE;
        (row[5], row[9]) = (1, 35);
        assert_eq!(walk(&row, 35), Some(false));
    }

    #[test]
    fn the_last_word_of_a_list_needs_none_behind_it() {
        let list = |words: &[i16]| -> Option<()> {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            plio(&bytes)
        };
        let high = 4096 + 5;
        assert_eq!(list(&[0, 7, -100, 9, 0, 0, 0, high, 1]), Some(()));
        assert_eq!(list(&[0, 7, -100, 8, 0, 0, 0, high, 1]), Some(()));
        assert_eq!(list(&[0, 7, -100, 9, 0, 0, 0, high, high]), Some(()));
        assert_eq!(list(&[0, 7, -100, 8, 0, 0, 0, high]), None);
        assert_eq!(list(&[0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn a_run_lies_in_the_tiles_of_its_layers() {
        let tiling = Tiling {
            axes: vec![10, 7],
            tile: vec![4, 2],
            n_tiles: 12,
        };
        assert_eq!(tiling.tiles_of(0, 70), 0..12);
        assert_eq!(tiling.tiles_of(0, 20), 0..3);
        assert_eq!(tiling.tiles_of(19, 2), 0..6);
        assert_eq!(tiling.tiles_of(69, 1), 9..12);
        assert_eq!(tiling.samples_of(11), 2);
    }
}
