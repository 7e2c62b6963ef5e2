//! A tile-compressed FITS image out (`.fits.fz`), as the FITS Standard 4.0, section 10,
//! has it: a table whose rows point at tiles, and the tiles, each compressed by itself.
//!
//! Integers are coded by RICE_1. Floats are gzipped with their bytes sorted by weight
//! (GZIP_2): every bit is kept, for nothing is quantized. The rows stand before the
//! tiles and are put in when those are written, so the target must be a file.
//! A tile is a run of the samples as they come, so few are held at once: those that
//! threads compress.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use super::hdu::Hdu;
use super::{COMPRESSION_KEYWORDS, axes, meaning, rice, stored, write_table};
use crate::dtype::DType;
use crate::error::{Context, Error, IoContext, Result};
use crate::frames::cards::{CARD_BYTES, Cards, is_one_of, keyword_of};
use crate::kernels::swap::flip_sign;
use crate::sinks::gzip;
use crate::sinks::output::{Output, Target};
use crate::sinks::table::Table;
use crate::sinks::{Image, Remaining, Sink};
use crate::turns::Ahead;

/// Samples of a tile, about: as many rows as that, or a part of a longer one.
const TILE_SAMPLES: u64 = 1 << 16;

/// The most axes that cfitsio decompresses, and so that others will read.
const MAX_AXES: usize = 6;

/// A heap that may get longer is pointed into by 64-bit numbers.
const MAX_NARROW: u64 = i32::MAX as u64;

/// Tiles of so many bytes are compressed by a thread: more than starting it takes.
const GROUP_BYTES: usize = 1 << 20;

/// Rows are put in place this many bytes at a time.
const ROWS_BYTES: usize = 1 << 16;

/// How an image is cut into tiles.
#[derive(Clone, Copy, Debug)]
struct Tiling {
    width: u64,
    height: u64,
    n_planes: u64,
    /// Lengths of a tile; either it is whole rows, or a part of one.
    tile_width: u64,
    tile_height: u64,
}

impl Tiling {
    fn new(axes: &[u64]) -> Tiling {
        let [width, height] = [0, 1].map(|axis| axes.get(axis).copied().unwrap_or(1));
        Tiling {
            width,
            height,
            n_planes: axes.iter().skip(2).product(),
            tile_width: width.min(TILE_SAMPLES),
            tile_height: (TILE_SAMPLES / width).clamp(1, height),
        }
    }

    /// Tiles of a row, and rows of tiles of a plane.
    fn per_plane(&self) -> [u64; 2] {
        [
            self.width.div_ceil(self.tile_width),
            self.height.div_ceil(self.tile_height),
        ]
    }

    fn n_tiles(&self) -> u64 {
        let [across, down] = self.per_plane();
        across * down * self.n_planes
    }

    /// Samples of a tile; those at the far ends are cut.
    fn samples_of(&self, tile_idx: u64) -> u64 {
        let [across, down] = self.per_plane();
        let (x, y) = (tile_idx % across, tile_idx / across % down);
        let width = self.tile_width.min(self.width - x * self.tile_width);
        width * self.tile_height.min(self.height - y * self.tile_height)
    }
}

/// Tiles, one behind the other; the last may be in part.
#[derive(Default)]
struct Tiles {
    bytes: Vec<u8>,
    /// Where each that is whole ends.
    ends: Vec<usize>,
}

impl Tiles {
    fn whole_bytes(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn bytes_of_last(&self) -> usize {
        self.bytes.len() - self.whole_bytes()
    }

    /// The last one is whole.
    fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts
            .zip(&self.ends)
            .map(|(&start, &end)| &self.bytes[start..end])
    }

    fn emptied(mut self) -> Tiles {
        self.bytes.clear();
        self.ends.clear();
        self
    }

    /// The same, each compressed into `coded`, and what they were.
    fn compressed(mut self, dtype: DType, mut coded: Tiles) -> io::Result<[Tiles; 2]> {
        let size = dtype.size();
        if stored(dtype).1 != 0 {
            flip_sign(&mut self.bytes, size);
        }
        for tile in self.iter() {
            match dtype.is_float() {
                true => coded.bytes = gzip_sorted(tile, size, coded.bytes)?,
                false => rice::encode(tile, size, &mut coded.bytes),
            }
            coded.end();
        }
        Ok([coded, self])
    }
}

/// All first bytes of samples, then all second ones, and so on, gzipped onto `coded`.
fn gzip_sorted(samples: &[u8], size: usize, coded: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut sorted = Vec::with_capacity(samples.len());
    // Samples are little-endian here and big-endian there.
    for byte in (0..size).rev() {
        sorted.extend(samples.iter().skip(byte).step_by(size));
    }
    let mut encoder = GzEncoder::new(coded, gzip::LEVEL);
    encoder.write_all(&sorted)?;
    encoder.finish()
}

/// A tile-compressed image that is being written.
pub struct PackedSink {
    output: Output,
    remaining: Remaining,
    dtype: DType,
    tiling: Tiling,
    /// The table; none when it is whole.
    image: Option<Hdu>,
    /// Are rows pairs of 64-bit numbers, not of 32-bit ones?
    is_wide: bool,
    held: Tiles,
    /// Tiles that are whole.
    n_tiles: u64,
    ahead: Ahead<io::Result<[Tiles; 2]>>,
    /// Tiles that were used: new memory costs more than what is done in it.
    spare: Vec<Tiles>,
    /// Rows that are not in place yet, and where they belong.
    rows: Vec<u8>,
    rows_at: u64,
    heap_bytes: u64,
    longest: u64,
    /// Where the next HDU begins.
    next: u64,
}

impl PackedSink {
    /// Opens the target and writes the headers.
    ///
    /// # Errors
    /// When the target is no file, or tile compression cannot hold the image.
    pub fn create(target: &Target, image: &Image) -> Result<PackedSink> {
        let bytes = check(image).at(target.name())?;
        let mut output = Output::create(target)?;
        if !output.can_patch() {
            return Err(Error::input(
                "fits.fz has a table in front that is written last, so it cannot go to a pipe or a device",
            )
            .hint("-o NAME.fits.fz writes a file; --format fits.gz can go to a pipe"))
            .at(target.name());
        }
        let mut primary = Cards::default();
        primary.push_logical("SIMPLE", true, "standard FITS file");
        primary.push_int("BITPIX", 8, "");
        primary.push_int("NAXIS", 0, "the image is in the first extension");
        primary.push_logical("EXTEND", true, "extensions may follow");
        let primary = Hdu::begin(&mut output, 0, primary.as_bytes().to_vec())?;
        let next = primary.finish(&mut output)?;
        let tiling = Tiling::new(axes(image));
        let is_wide = most_bytes(&tiling, image.dtype, bytes) > MAX_NARROW;
        let header = header(image, &tiling, is_wide);
        let mut sink = PackedSink {
            image: Some(Hdu::begin(&mut output, next, header)?),
            output,
            remaining: Remaining::new(bytes, image.dtype),
            dtype: image.dtype,
            tiling,
            is_wide,
            held: Tiles::default(),
            n_tiles: 0,
            ahead: Ahead::default(),
            spare: Vec::new(),
            rows: Vec::new(),
            rows_at: 0,
            heap_bytes: 0,
            longest: 0,
            next,
        };
        sink.leave_rows_out()?;
        Ok(sink)
    }

    /// Writes zeros where the rows will stand.
    fn leave_rows_out(&mut self) -> Result<()> {
        let zeros = [0; ROWS_BYTES];
        let mut left = self.tiling.n_tiles() * row_bytes(self.is_wide);
        while left > 0
            && let Some(image) = &mut self.image
        {
            let now = left.min(ROWS_BYTES as u64);
            image.write(
                &mut self.output,
                &zeros[..usize::try_from(now).unwrap_or(0)],
            )?;
            left -= now;
        }
        Ok(())
    }

    /// Bytes that complete the tile at hand.
    fn missing(&self) -> usize {
        let samples = self.tiling.samples_of(self.n_tiles);
        let bytes = usize::try_from(samples).map(|samples| samples * self.dtype.size());
        bytes.unwrap_or(usize::MAX) - self.held.bytes_of_last()
    }

    /// Has a thread compress what is held.
    fn compress_held(&mut self) -> Result<()> {
        let dtype = self.dtype;
        let [next, into] = [(); 2].map(|()| self.spare.pop().unwrap_or_default());
        let held = std::mem::replace(&mut self.held, next);
        match self.ahead.begin(move || held.compressed(dtype, into)) {
            Some(done) => self.put_tiles(done),
            None => Ok(()),
        }
    }

    /// Writes compressed tiles; behind them is what they were.
    fn put_tiles(&mut self, done: io::Result<[Tiles; 2]>) -> Result<()> {
        let [coded, plain] = done.doing("cannot compress").at(self.output.name())?;
        for tile in coded.iter() {
            let bytes = tile.len() as u64;
            self.longest = self.longest.max(bytes);
            for number in [bytes, self.heap_bytes] {
                let number = number.to_be_bytes();
                self.rows
                    .extend(&number[if self.is_wide { 0 } else { 4 }..]);
            }
            self.heap_bytes += bytes;
        }
        if let Some(image) = &mut self.image {
            image.write(&mut self.output, &coded.bytes)?;
        }
        self.spare.extend([coded, plain].map(Tiles::emptied));
        if self.rows.len() >= ROWS_BYTES {
            self.put_rows()?;
        }
        Ok(())
    }

    fn put_rows(&mut self) -> Result<()> {
        if let Some(image) = &mut self.image {
            image.put(&mut self.output, self.rows_at, &self.rows)?;
        }
        self.rows_at += self.rows.len() as u64;
        self.rows.clear();
        Ok(())
    }

    /// Completes the image, once.
    fn finish_image(&mut self) -> Result<()> {
        self.remaining.finish().at(self.output.name())?;
        if !self.held.bytes.is_empty() {
            self.compress_held()?;
        }
        while let Some(done) = self.ahead.oldest() {
            self.put_tiles(done)?;
        }
        self.put_rows()?;
        if let Some(mut image) = self.image.take() {
            image.change(&heap_cards(self.heap_bytes, self.longest, self.is_wide));
            self.next = image.finish(&mut self.output)?;
        }
        Ok(())
    }
}

impl Sink for PackedSink {
    fn write(&mut self, samples: &[u8]) -> Result<()> {
        self.remaining.take(samples).at(self.output.name())?;
        let mut samples = samples;
        while !samples.is_empty() {
            let missing = self.missing();
            let (now, later) = samples.split_at(missing.min(samples.len()));
            self.held.bytes.extend_from_slice(now);
            samples = later;
            if now.len() == missing {
                self.held.end();
                self.n_tiles += 1;
                if self.held.bytes.len() >= GROUP_BYTES {
                    self.compress_held()?;
                }
            }
        }
        Ok(())
    }

    fn table(
        &mut self,
        table: &Table,
        rows: &mut dyn Iterator<Item = Result<Vec<u8>>>,
    ) -> Result<()> {
        self.finish_image()?;
        self.next = write_table(&mut self.output, self.next, table, rows)?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.finish_image()?;
        self.output.finish()
    }
}

/// Sees that other programs will read what is written; says how large the samples are.
fn check(image: &Image) -> Result<u64> {
    if image.dtype.size() == 8 && !image.dtype.is_float() {
        return Err(Error::unsupported(format!(
            "fits.fz does not hold {}: cfitsio knows no compressed images of 64-bit integers",
            image.dtype
        ))
        .hint("--format fits.gz holds them"));
    }
    if image.shape.len() > MAX_AXES {
        return Err(Error::unsupported(format!(
            "fits.fz has up to {MAX_AXES} axes, and the image has {}",
            image.shape.len()
        ))
        .hint("--format fits.gz has more"));
    }
    match image.bytes()? {
        0 => Err(Error::unsupported("fits.fz has no images without samples")),
        bytes => Ok(bytes),
    }
}

fn row_bytes(is_wide: bool) -> u64 {
    if is_wide { 16 } else { 8 }
}

/// At most so many bytes the tiles have together.
fn most_bytes(tiling: &Tiling, dtype: DType, bytes: u64) -> u64 {
    match dtype.is_float() {
        // Deflate stores what it cannot shorten, and gzip adds a head and an end.
        true => bytes
            .saturating_add(bytes / 1024)
            .saturating_add(tiling.n_tiles().saturating_mul(64)),
        false => {
            let of_tile = rice::most_bytes(tiling.tile_width * tiling.tile_height, dtype.size());
            tiling.n_tiles().saturating_mul(of_tile)
        }
    }
}

/// The cards that are known when all tiles are written.
fn heap_cards(heap_bytes: u64, longest: u64, is_wide: bool) -> Cards {
    let letter = if is_wide { 'Q' } else { 'P' };
    let mut cards = Cards::default();
    cards.push_int("PCOUNT", heap_bytes.into(), "bytes of the tiles");
    cards.push_text("TFORM1", &format!("1{letter}B({longest})"), "");
    cards
}

/// The cards of the table, without END.
fn header(image: &Image, tiling: &Tiling, is_wide: bool) -> Vec<u8> {
    let (bitpix, _) = stored(image.dtype);
    let mut cards = Cards::default();
    cards.push_text("XTENSION", "BINTABLE", "binary table");
    cards.push_int("BITPIX", 8, "");
    cards.push_int("NAXIS", 2, "");
    cards.push_int("NAXIS1", row_bytes(is_wide).into(), "bytes of a row");
    cards.push_int("NAXIS2", tiling.n_tiles().into(), "number of tiles");
    let heap = heap_cards(0, 0, is_wide);
    let mut heap = heap.iter();
    let mut late = || Cards::from_bytes(heap.next().unwrap_or_default().to_vec());
    cards.extend(&late());
    cards.push_int("GCOUNT", 1, "");
    cards.push_int("TFIELDS", 1, "");
    cards.push_text("TTYPE1", "COMPRESSED_DATA", "");
    cards.extend(&late());
    cards.push_logical("ZIMAGE", true, "the table is a compressed image");
    cards.push_logical("ZSIMPLE", true, "of a primary HDU");
    cards.push_int("ZBITPIX", bitpix.into(), "BITPIX of the image");
    cards.push_int("ZNAXIS", axes(image).len() as i128, "its number of axes");
    for (&len, axis) in axes(image).iter().zip(1..) {
        cards.push_int(&format!("ZNAXIS{axis}"), len.into(), "");
    }
    cards.push_logical("ZEXTEND", true, "");
    let tile = [tiling.tile_width, tiling.tile_height];
    for axis in 0..axes(image).len() {
        let len = tile.get(axis).copied().unwrap_or(1);
        cards.push_int(&format!("ZTILE{}", axis + 1), len.into(), "");
    }
    if image.dtype.is_float() {
        cards.push_text("ZCMPTYPE", "GZIP_2", "bytes sorted by weight, gzipped");
        cards.push_text("ZQUANTIZ", "NONE", "samples are kept as they are");
    } else {
        cards.push_text("ZCMPTYPE", "RICE_1", "");
        cards.push_text("ZNAME1", "BLOCKSIZE", "");
        cards.push_int("ZVAL1", rice::BLOCK_SAMPLES as i128, "");
        cards.push_text("ZNAME2", "BYTEPIX", "");
        cards.push_int("ZVAL2", image.dtype.size() as i128, "");
    }
    let mut bytes = cards.as_bytes().to_vec();
    // What of the image's own cards has a meaning here had another one there.
    let own = meaning(image);
    for card in own.chunks_exact(CARD_BYTES) {
        if !is_one_of(&keyword_of(card), &COMPRESSION_KEYWORDS) {
            bytes.extend_from_slice(card);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{HduChoice, open};

    #[test]
    fn tiles_are_runs_of_the_samples() {
        for axes in [
            &[7, 5, 3][..],
            &[70_000, 3],
            &[65_536, 2, 2],
            &[1000, 1000],
            &[1],
            &[200_000],
        ] {
            let tiling = Tiling::new(axes);
            assert!(tiling.tile_height == 1 || tiling.tile_width == tiling.width);
            let samples: u64 = (0..tiling.n_tiles())
                .map(|idx| tiling.samples_of(idx))
                .sum();
            assert_eq!(samples, axes.iter().product::<u64>(), "{axes:?}");
        }
        assert_eq!(Tiling::new(&[70_000, 3]).samples_of(3), 4464);
    }

    fn image(shape: &[u64], dtype: DType, cards: Cards) -> Image {
        Image {
            shape: shape.to_vec(),
            dtype,
            blank: None,
            cards,
        }
    }

    #[test]
    fn what_is_packed_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut cards = Cards::default();
        cards.push_text("OBJECT", "M 31", "");
        cards.push_real("ZSCALE", 2.5, "of a plate measuring machine");
        for (dtype, shape) in [
            (DType::U8, &[300, 301, 2][..]),
            (DType::I8, &[5, 4]),
            (DType::U16, &[70_001, 2]),
            (DType::I16, &[9, 8, 7]),
            (DType::U32, &[1000]),
            (DType::I32, &[257, 300]),
            (DType::F32, &[300, 301]),
            (DType::F64, &[13, 4, 2, 2]),
        ] {
            let image = image(shape, dtype, cards.clone());
            let bytes = usize::try_from(image.bytes().unwrap()).unwrap();
            let samples: Vec<u8> = (0..bytes as u64)
                .map(|k| k.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0] >> (k / 900 % 7))
                .collect();
            let path = folder.path().join(format!("{dtype}.fits.fz"));
            let target = Target::from_path(&path, false);
            let mut sink = Box::new(PackedSink::create(&target, &image).unwrap());
            for part in samples.chunks(dtype.size() * 777) {
                sink.write(part).unwrap();
            }
            sink.finish().unwrap();
            let mut frame = open(&path, &HduChoice::FirstImage).unwrap();
            assert_eq!(
                (&frame.facts().shape[..], frame.facts().dtype),
                (shape, dtype)
            );
            let mut found = vec![0; bytes];
            frame.read(0, &mut found).unwrap();
            assert!(found == samples, "{dtype}");
            // Runs that begin and end anywhere.
            for first in [1, 5, 14, 53, 100] {
                let at = dtype.size() * first.min(bytes / dtype.size());
                let mut run = vec![0; (bytes - at).min(dtype.size() * 71)];
                frame.read((at / dtype.size()) as u64, &mut run).unwrap();
                assert!(run == samples[at..][..run.len()], "{dtype} from {first}");
            }
            assert_eq!(frame.cards().get_text("OBJECT").as_deref(), Some("M 31"));
        }
    }

    #[test]
    fn many_tiles_get_their_rows_in_several_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits.fz");
        let image = image(&[2, 1, 30_000], DType::I16, Cards::default());
        let target = Target::from_path(&path, false);
        let mut sink = Box::new(PackedSink::create(&target, &image).unwrap());
        let samples: Vec<u8> = (0..60_000u16).flat_map(u16::to_le_bytes).collect();
        sink.write(&samples).unwrap();
        sink.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        // The words of each HDU add up to -0, and so do those of both.
        let words = bytes.as_chunks::<4>().0.iter();
        let sum: u64 = words.map(|&word| u64::from(u32::from_be_bytes(word))).sum();
        assert_eq!(sum % u64::from(u32::MAX), 0);
        let mut found = vec![0; samples.len()];
        let mut frame = open(&path, &HduChoice::FirstImage).unwrap();
        frame.read(0, &mut found).unwrap();
        assert!(found == samples);
    }

    #[test]
    fn large_heaps_are_pointed_into_by_wide_numbers() {
        let sizes = |bytes: u64| {
            let tiling = Tiling::new(&[1 << 10, 1 << 10, bytes >> 21]);
            most_bytes(&tiling, DType::U16, bytes)
        };
        assert!(sizes(1 << 31) > MAX_NARROW && sizes(2_000 << 20) < MAX_NARROW);
        let tiling = Tiling::new(&[10, 10]);
        let image = image(&[10, 10], DType::U16, Cards::default());
        let header = Cards::from_bytes(header(&image, &tiling, true));
        assert_eq!(header.get_int("NAXIS1"), Some(16));
        assert_eq!(header.get_text("TFORM1").as_deref(), Some("1QB(0)"));
    }

    #[test]
    fn what_cannot_be_packed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = Target::from_path(&folder.path().join("a.fits.fz"), false);
        for (shape, dtype, what) in [
            (&[2, 2][..], DType::U64, "does not hold uint64"),
            (&[1; 7], DType::U8, "has up to 6 axes, and the image has 7"),
            (&[0, 3], DType::U8, "no images without samples"),
        ] {
            let image = image(shape, dtype, Cards::default());
            let error = PackedSink::create(&file, &image).map(drop).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
        let null = Target::from_path("/dev/null".as_ref(), false);
        let image = image(&[2, 2], DType::U8, Cards::default());
        let error = PackedSink::create(&null, &image).map(drop).unwrap_err();
        assert!(error.to_string().contains("cannot go to a pipe"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
