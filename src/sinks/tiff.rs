//! TIFF out: each plane a page, uncompressed, little-endian, as TIFF 6.0 has it;
//! BigTIFF where offsets of 32 bits do not reach, and in files called `.btf`.
//!
//! ```text
//! header, directory of page 1, samples of all pages, directories of pages 2 and up
//! ```
//!
//! Every offset is known before the first byte is written, so a pipe will do. The
//! samples follow each other without a gap, and the description of page 1 tells
//! the whole shape, slowest axis first, as tifffile writes and reads it:
//! `{"shape": [12, 500, 650], "axes": "ZYX"}`. The first row of a page is y = 1.

use super::output::{Output, Target};
use super::{Image, Remaining, Sink};
use crate::dtype::DType;
use crate::error::{Context, Error, Result};
use crate::frames::tiff::tag;
use crate::region::{AXIS_NAMES, MAX_RANK};

/// Readers take a strip at a time into memory; a longer plane has several.
const STRIP_BYTES: u64 = 16 << 20;

/// Entries of a directory: [`Writer::directory`] writes as many.
const N_ENTRIES: u64 = 12;

/// A TIFF file that is being written.
pub struct TiffSink {
    output: Output,
    remaining: Remaining,
    layout: Layout,
}

/// Where everything stands.
#[derive(Clone, Debug)]
struct Layout {
    big: bool,
    dtype: DType,
    width: u64,
    height: u64,
    n_pages: u64,
    rows_per_strip: u64,
    strips: u64,
    description: Vec<u8>,
    /// Where the samples begin.
    data: u64,
    /// Where the directory of page 2 begins.
    tail: u64,
}

impl Layout {
    /// That of BigTIFF where it is asked for, or where 32 bits do not reach the end.
    fn choose(image: &Image, names: &[String], wants_big: bool) -> Result<Layout> {
        let mut layout = Layout::new(image, names, wants_big)?;
        let reaches = |layout: &Layout| layout.end().is_some_and(|end| end <= u64::from(u32::MAX));
        if !layout.big && !reaches(&layout) {
            layout = Layout::new(image, names, true)?;
        }
        match layout.end() {
            Some(_) => Ok(layout),
            None => Err(Error::unsupported("too many pages")),
        }
    }

    fn new(image: &Image, names: &[String], big: bool) -> Result<Layout> {
        let [width, height] = [0, 1].map(|axis| image.shape.get(axis).copied().unwrap_or(1));
        let bytes = image.bytes()?;
        if bytes == 0 {
            return Err(Error::unsupported("TIFF has no images without samples"));
        }
        let n_pages = image.shape.iter().skip(2).product();
        if image.shape.len() > MAX_RANK {
            return Err(Error::unsupported(format!(
                "{} axes are more than {MAX_RANK}",
                image.shape.len()
            )));
        }
        if let Some(len) = [width, height]
            .into_iter()
            .find(|&len| u32::try_from(len).is_err())
        {
            return Err(Error::unsupported(format!(
                "a side of {len} pixels is too long for TIFF, which counts to {}",
                u32::MAX
            ))
            .hint("--format fits, npy or zarr holds it"));
        }
        let row = width * image.dtype.size() as u64;
        let rows_per_strip = (STRIP_BYTES / row).clamp(1, height);
        let mut layout = Layout {
            big,
            dtype: image.dtype,
            width,
            height,
            n_pages,
            rows_per_strip,
            strips: height.div_ceil(rows_per_strip),
            description: description(&image.shape, names),
            data: 0,
            tail: 0,
        };
        layout.data = (layout.head() + layout.directory_bytes(true)).next_multiple_of(16);
        layout.tail = (layout.data + bytes).next_multiple_of(16);
        Ok(layout)
    }

    /// Where the first directory begins.
    fn head(&self) -> u64 {
        if self.big { 16 } else { 8 }
    }

    /// Bytes of an offset.
    fn word(&self) -> u64 {
        if self.big { 8 } else { 4 }
    }

    /// Where the file ends.
    fn end(&self) -> Option<u64> {
        let pages = (self.n_pages - 1).checked_mul(self.directory_bytes(false));
        self.tail.checked_add(pages?)
    }

    /// Bytes of a directory, what its entries point to counted.
    fn directory_bytes(&self, first: bool) -> u64 {
        let plain = match self.big {
            true => 8 + 20 * N_ENTRIES + 8,
            false => 2 + 12 * N_ENTRIES + 4,
        };
        let lists = if self.strips > 1 {
            2 * self.word() * self.strips
        } else {
            0
        };
        let description = if first {
            self.description.len() as u64
        } else {
            0
        };
        (plain + lists + description).next_multiple_of(16)
    }

    fn page_bytes(&self) -> u64 {
        self.width * self.height * self.dtype.size() as u64
    }

    fn header(&self) -> Vec<u8> {
        let mut out = b"II".to_vec();
        match self.big {
            true => {
                out.extend(43u16.to_le_bytes());
                out.extend(8u16.to_le_bytes());
                out.extend(0u16.to_le_bytes());
                out.extend(self.head().to_le_bytes());
            }
            false => {
                out.extend(42u16.to_le_bytes());
                out.extend(self.head().to_le_bytes().iter().take(4));
            }
        }
        out
    }

    /// The directory of a page, counted from 0, which stands at `at`.
    fn directory(&self, page: u64, at: u64) -> Vec<u8> {
        let first = page == 0;
        let next = match (page + 1 < self.n_pages, first) {
            (false, _) => 0,
            (true, true) => self.tail,
            (true, false) => at + self.directory_bytes(false),
        };
        let strip_bytes = self.rows_per_strip * self.width * self.dtype.size() as u64;
        let data = self.data + page * self.page_bytes();
        let offsets = (0..self.strips).map(|strip| data + strip * strip_bytes);
        let sizes =
            (0..self.strips).map(|strip| strip_bytes.min(self.page_bytes() - strip * strip_bytes));
        let format = match (self.dtype.is_float(), self.dtype.is_signed_int()) {
            (true, _) => 3,
            (_, true) => 2,
            _ => 1,
        };
        let description = if first { &self.description[..] } else { b"\0" };
        let mut writer = Writer::new(self, at);
        // Ascending, as the standard asks for.
        writer.number(tag::NEW_SUBFILE, LONG, if self.n_pages > 1 { 2 } else { 0 });
        writer.number(tag::WIDTH, LONG, self.width);
        writer.number(tag::HEIGHT, LONG, self.height);
        writer.number(tag::BITS, SHORT, 8 * self.dtype.size() as u64);
        writer.number(tag::COMPRESSION, SHORT, 1);
        writer.number(tag::PHOTOMETRIC, SHORT, 1);
        writer.text(tag::DESCRIPTION, description);
        writer.list(tag::STRIP_OFFSETS, offsets);
        writer.number(tag::SAMPLES_PER_PIXEL, SHORT, 1);
        writer.number(tag::ROWS_PER_STRIP, LONG, self.rows_per_strip);
        writer.list(tag::STRIP_BYTES, sizes);
        writer.number(tag::SAMPLE_FORMAT, SHORT, format);
        let mut bytes = writer.finish(next);
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        bytes
    }
}

/// Types of values.
const TEXT: u16 = 2;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const LONG8: u16 = 16;

/// A directory in the making: entries, and behind them what does not fit in.
struct Writer {
    big: bool,
    entries: Vec<u8>,
    n_entries: u64,
    beyond: Vec<u8>,
    /// Where `beyond` will stand.
    beyond_at: u64,
}

impl Writer {
    fn new(layout: &Layout, at: u64) -> Writer {
        let plain = match layout.big {
            true => 8 + 20 * N_ENTRIES + 8,
            false => 2 + 12 * N_ENTRIES + 4,
        };
        Writer {
            big: layout.big,
            entries: Vec::new(),
            n_entries: 0,
            beyond: Vec::new(),
            beyond_at: at + plain,
        }
    }

    /// A number in as many bytes as the file's offsets have. The layout was
    /// chosen so that it fits.
    fn word(&self, number: u64) -> Vec<u8> {
        number.to_le_bytes()[..if self.big { 8 } else { 4 }].to_vec()
    }

    fn entry(&mut self, tag: u16, kind: u16, count: u64, value: &[u8]) {
        self.n_entries += 1;
        self.entries.extend(tag.to_le_bytes());
        self.entries.extend(kind.to_le_bytes());
        self.entries.extend(self.word(count));
        let mut field = self.word(0);
        if value.len() <= field.len() {
            field[..value.len()].copy_from_slice(value);
        } else {
            field = self.word(self.beyond_at + self.beyond.len() as u64);
            self.beyond.extend_from_slice(value);
        }
        self.entries.extend(field);
    }

    fn number(&mut self, tag: u16, kind: u16, number: u64) {
        let bytes = if kind == SHORT { 2 } else { 4 };
        self.entry(tag, kind, 1, &number.to_le_bytes()[..bytes]);
    }

    fn list(&mut self, tag: u16, numbers: impl Iterator<Item = u64>) {
        let numbers: Vec<Vec<u8>> = numbers.map(|number| self.word(number)).collect();
        let kind = if self.big { LONG8 } else { LONG };
        self.entry(tag, kind, numbers.len() as u64, &numbers.concat());
    }

    fn text(&mut self, tag: u16, text: &[u8]) {
        self.entry(tag, TEXT, text.len() as u64, text);
    }

    fn finish(self, next: u64) -> Vec<u8> {
        let mut out = match self.big {
            true => self.n_entries.to_le_bytes().to_vec(),
            false => self.n_entries.to_le_bytes()[..2].to_vec(),
        };
        let next = self.word(next);
        out.extend(self.entries);
        out.extend(next);
        out.extend(self.beyond);
        out
    }
}

/// The shape as tifffile tells it, with the zero that ends a text, of even length.
fn description(shape: &[u64], names: &[String]) -> Vec<u8> {
    let lens: Vec<String> = shape.iter().rev().map(u64::to_string).collect();
    // A letter for each axis.
    let letter = |axis: usize| {
        let name = names.get(axis).map_or(AXIS_NAMES[axis], |name| name);
        name.chars().next().unwrap_or('Q').to_ascii_uppercase()
    };
    let axes: String = (0..shape.len()).rev().map(letter).collect();
    let mut text = match shape {
        [] => "{\"shape\": [1, 1]}".to_string(),
        _ => format!("{{\"shape\": [{}], \"axes\": \"{axes}\"}}", lens.join(", ")),
    };
    // A text that fits into its entry would be laid out in another way.
    while text.len() < 16 || text.len().is_multiple_of(2) {
        text.push(' ');
    }
    text.push('\0');
    text.into_bytes()
}

impl TiffSink {
    /// Opens the target and writes what stands before the samples; `names` are
    /// those of the axes, x first, where they are not the usual ones.
    ///
    /// # Errors
    /// When the target cannot be written, or TIFF cannot hold the image.
    pub fn create(target: &Target, image: &Image, names: &[String]) -> Result<TiffSink> {
        let name = target.name();
        let is_named_big = name
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("btf"));
        let layout = Layout::choose(image, names, is_named_big).at(name)?;
        let mut output = Output::create(target)?;
        let mut head = layout.header();
        head.extend(layout.directory(0, layout.head()));
        head.resize(usize::try_from(layout.data).unwrap_or(0), 0);
        output.write(&head)?;
        Ok(TiffSink {
            output,
            remaining: Remaining::new(image.bytes()?, image.dtype),
            layout,
        })
    }
}

impl Sink for TiffSink {
    fn write(&mut self, samples: &[u8]) -> Result<()> {
        self.remaining.take(samples).at(self.output.name())?;
        self.output.write(samples)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.remaining.finish().at(self.output.name())?;
        let layout = &self.layout;
        let gap = layout.tail - layout.data - self.remaining.total;
        if layout.n_pages > 1 {
            let zeros = [0; 16];
            self.output
                .write(&zeros[..usize::try_from(gap).unwrap_or(0)])?;
        }
        let mut at = layout.tail;
        for page in 1..layout.n_pages {
            let directory = layout.directory(page, at);
            self.output.write(&directory)?;
            at += directory.len() as u64;
        }
        self.output.finish()
    }
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "the files of these tests are small"
)]
mod tests {
    use super::*;
    use crate::sinks::tests::image;

    fn write(image: &Image, samples: &[u8]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        let target = Target::from_path(&path, false);
        let mut sink = Box::new(TiffSink::create(&target, image, &[]).unwrap());
        sink.write(samples).unwrap();
        sink.finish().unwrap();
        std::fs::read(&path).unwrap()
    }

    fn number(bytes: &[u8]) -> u64 {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    }

    /// The values of every tag of every page.
    fn pages(bytes: &[u8]) -> Vec<Vec<(u64, Vec<u64>)>> {
        let big = bytes[2] == 43;
        let (word, count) = if big { (8, 8) } else { (4, 2) };
        let mut at = number(&bytes[if big { 8..16 } else { 4..8 }]) as usize;
        let mut pages = Vec::new();
        while at != 0 {
            assert!(at.is_multiple_of(2));
            let n = number(&bytes[at..at + count]) as usize;
            let entries = at + count;
            let entry_bytes = 4 + 2 * word;
            let read = |k: usize| {
                let entry = &bytes[entries + k * entry_bytes..][..entry_bytes];
                let size = match number(&entry[2..4]) {
                    2 => 1,
                    3 => 2,
                    4 => 4,
                    16 => 8,
                    other => panic!("type {other}"),
                };
                let values = number(&entry[4..4 + word]) as usize;
                let mut field = &entry[4 + word..];
                if values * size > word {
                    field = &bytes[number(field) as usize..][..values * size];
                }
                let values = field[..values * size].chunks(size).map(number).collect();
                (number(&entry[..2]), values)
            };
            pages.push((0..n).map(read).collect());
            at = number(&bytes[entries + n * entry_bytes..][..word]) as usize;
        }
        pages
    }

    #[test]
    fn each_plane_is_a_page_and_the_samples_are_in_one_piece() {
        let samples: Vec<u8> = (0..72).collect();
        let bytes = write(&image(&[3, 2, 3, 2], DType::I16), &samples);
        let pages = pages(&bytes);
        assert_eq!(pages.len(), 6);
        for (number, page) in pages.iter().enumerate() {
            let tags: Vec<u64> = page.iter().map(|&(tag, _)| tag).collect();
            assert!(tags.is_sorted());
            let get = |tag: u64| &page.iter().find(|entry| entry.0 == tag).unwrap().1[..];
            assert_eq!((get(256), get(257)), (&[3][..], &[2][..]));
            assert_eq!((get(258), get(339)), (&[16][..], &[2][..]));
            let at = get(273)[0] as usize;
            assert_eq!(get(279), [12]);
            assert_eq!(bytes[at..at + 12], samples[12 * number..][..12]);
        }
        let text: Vec<u8> = pages[0]
            .iter()
            .find(|entry| entry.0 == 270)
            .map(|entry| entry.1.iter().map(|&c| c as u8).collect())
            .unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            text.trim_end_matches(['\0', ' ']),
            "{\"shape\": [2, 3, 2, 3], \"axes\": \"WZYX\"}"
        );
    }

    #[test]
    fn large_planes_have_several_strips_and_large_files_are_bigtiff() {
        let layout = Layout::new(&image(&[5000, 5000, 2], DType::F32), &[], false).unwrap();
        assert_eq!((layout.rows_per_strip, layout.strips), (838, 6));
        let directory = layout.directory(0, layout.head());
        assert_eq!(directory.len() as u64, layout.directory_bytes(true));
        let sizes: u64 = (0..6).map(|strip| 838.min(5000 - strip * 838)).sum();
        assert_eq!(sizes, 5000);

        let huge = Layout::new(&image(&[40000, 40000, 3], DType::U8), &[], true).unwrap();
        let second = huge.directory(1, huge.tail);
        assert_eq!(second.len() as u64, huge.directory_bytes(false));
        assert!(huge.end().unwrap() > u64::from(u32::MAX));
        let small = write(&image(&[2], DType::U8), &[1, 2]);
        assert_eq!(small[..4], *b"II*\0");
    }

    #[test]
    fn bigtiff_is_chosen_where_32_bits_do_not_reach() {
        let choose = |shape: &[u64]| {
            let layout = Layout::choose(&image(shape, DType::U8), &[], false).unwrap();
            (layout.big, layout.end().unwrap())
        };
        // One page of rows of 65536 bytes, and then as many pages as directories allow.
        let (is_big, end) = choose(&[1 << 16, (1 << 16) - 1]);
        assert!(!is_big && end < 1 << 32, "{end}");
        let (is_big, end) = choose(&[1 << 16, 1 << 16]);
        assert!(is_big && end > 1 << 32, "{end}");
        // The last byte counts, and so do the directories of all pages.
        let most = (1 << 32) - 1;
        let (mut fits, mut not) = (1u64, 1 << 32);
        while not - fits > 1 {
            let pages = fits.midpoint(not);
            let layout = Layout::new(&image(&[10, 10, pages], DType::U8), &[], false).unwrap();
            match layout.end().unwrap() <= most {
                true => fits = pages,
                false => not = pages,
            }
        }
        assert_eq!(
            (choose(&[10, 10, fits]).0, choose(&[10, 10, not]).0),
            (false, true)
        );
        assert!(fits * 100 < most && choose(&[10, 10, fits]).1 > most - 300);
    }

    #[test]
    fn bigtiff_reads_as_tiff_does() {
        let layout = Layout::new(&image(&[2, 1, 2], DType::U8), &[], true).unwrap();
        let mut bytes = layout.header();
        bytes.extend(layout.directory(0, 16));
        bytes.resize(layout.tail as usize, 7);
        bytes.extend(layout.directory(1, layout.tail));
        assert_eq!(bytes.len() as u64, layout.end().unwrap());
        let pages = pages(&bytes);
        assert_eq!(pages.len(), 2);
        assert!(pages[1].contains(&(273, vec![layout.data + 2])));
    }

    #[test]
    fn what_tiff_cannot_hold_is_refused() {
        for shape in [&[0, 3][..], &[1 << 33, 1], &[2, 1 << 32]] {
            let target = Target::from_path("/dev/null".as_ref(), false);
            assert!(TiffSink::create(&target, &image(shape, DType::U8), &[]).is_err());
        }
    }
}
