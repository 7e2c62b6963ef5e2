//! One page: how its samples are laid out, checked against the file.
//!
//! Strips and tiles are both chunks: a strip is a tile as wide as the page. Where
//! chunks lie is looked up in the file when they are wanted, a window of the lists
//! at a time, so a page of a million strips takes no more memory than one of one.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::frames::source::Source;
use crate::region::volume;

use super::codec::Codec;
use super::ifd::{Entry, Form, Ifd, number_bytes};
use super::tag;
use super::unpack::Stored;

/// Samples of one pixel.
const MAX_SAMPLES_PER_PIXEL: u64 = 4096;

/// Entries of a list of chunks that are held in memory.
const WINDOW: usize = 1024;

/// A row of chunks that are compressed is decompressed side by side.
const MAX_CHUNKS_ACROSS: u64 = 4096;

/// Everything about a page but its samples.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) form: Form,
    pub(super) ifd: Ifd,
    pub(super) width: u64,
    pub(super) height: u64,
    /// Samples of one pixel.
    pub(super) per_pixel: u64,
    /// Do the samples of a pixel lie in planes of their own?
    pub(super) is_planar: bool,
    pub(super) stored: Stored,
    pub(super) codec: Codec,
    pub(super) is_reversed: bool,
    pub(super) chunk_width: u64,
    pub(super) chunk_height: u64,
    /// Is the last chunk of a column as high as the others?
    pub(super) is_tiled: bool,
    /// What a chunk that is left out holds: GDAL_NODATA, else 0.
    pub(super) filler: u64,
    pub(super) nodata: Option<i128>,
    offsets: List,
    counts: Option<List>,
}

/// A list of numbers in the file, one for each chunk.
#[derive(Clone, Debug)]
struct List {
    entry: Entry,
    size: usize,
    first: u64,
    window: Vec<u64>,
}

impl List {
    fn new(entry: &Entry, n_chunks: u64) -> Result<List> {
        if entry.count < n_chunks {
            return Err(Error::damaged(format!(
                "tag {} lists {} chunks, expected {n_chunks}",
                entry.tag, entry.count
            )));
        }
        let size = number_bytes(entry).ok_or_else(|| {
            Error::damaged(format!(
                "tag {} is of type {}, expected whole numbers",
                entry.tag, entry.kind
            ))
        })?;
        Ok(List {
            entry: *entry,
            size,
            first: 0,
            window: Vec::new(),
        })
    }

    fn get(&mut self, form: Form, source: &Source, number: u64) -> Result<u64> {
        let end = self.first + self.window.len() as u64;
        if !(self.first..end).contains(&number) {
            let first = number - number % WINDOW as u64;
            let part = Entry {
                at: self.entry.at.saturating_add(first * self.size as u64),
                count: self.entry.count.saturating_sub(first),
                ..self.entry
            };
            self.window = form.numbers(source, &part, WINDOW)?;
            self.first = first;
        }
        let at = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        self.window.get(at).copied().ok_or_else(|| {
            Error::damaged(format!(
                "tag {} does not list chunk {number}",
                self.entry.tag
            ))
        })
    }
}

/// Reads the tags that decide the layout; each is one number.
struct Tags<'a> {
    form: Form,
    source: &'a Source,
    ifd: &'a Ifd,
}

impl Tags<'_> {
    fn find(&self, tag: u16) -> Result<Option<u64>> {
        let Some(entry) = self.ifd.get(tag) else {
            return Ok(None);
        };
        let numbers = self.form.numbers(self.source, entry, 1)?;
        Ok(numbers.first().copied())
    }

    fn or(&self, tag: u16, default: u64) -> Result<u64> {
        Ok(self.find(tag)?.unwrap_or(default))
    }

    fn length(&self, tag: u16, name: &str) -> Result<u64> {
        let found = self.find(tag)?;
        let found = found.ok_or_else(|| Error::damaged(format!("it has no {name} tag")))?;
        match found {
            0 => Err(Error::damaged(format!("{name} is 0, expected 1 or more"))),
            _ => Ok(found),
        }
    }

    /// What is the same for every sample of a pixel.
    fn same(&self, tag: u16, name: &str, per_pixel: u64, default: u64) -> Result<u64> {
        let Some(entry) = self.ifd.get(tag) else {
            return Ok(default);
        };
        let most = usize::try_from(per_pixel).unwrap_or(usize::MAX);
        let numbers = self.form.numbers(self.source, entry, most)?;
        let first = numbers.first().copied().unwrap_or(default);
        match numbers.iter().find(|&&number| number != first) {
            Some(other) => Err(Error::unsupported(format!(
                "{name} is {first} for one sample of a pixel and {other} for another"
            ))),
            None => Ok(first),
        }
    }
}

impl Page {
    /// Understands a directory.
    pub(super) fn new(form: Form, ifd: Ifd, source: &Source) -> Result<Page> {
        let tags = Tags {
            form,
            source,
            ifd: &ifd,
        };
        let width = tags.length(tag::WIDTH, "ImageWidth")?;
        let height = tags.length(tag::HEIGHT, "ImageLength")?;
        let per_pixel = tags.or(tag::SAMPLES_PER_PIXEL, 1)?;
        if !(1..=MAX_SAMPLES_PER_PIXEL).contains(&per_pixel) {
            return Err(Error::damaged(format!(
                "SamplesPerPixel is {per_pixel}, expected 1 to {MAX_SAMPLES_PER_PIXEL}"
            )));
        }
        let codec = Codec::of(tags.or(tag::COMPRESSION, 1)?)?;
        let stored = Stored::new(
            tags.same(tag::BITS, "BitsPerSample", per_pixel, 1)?,
            tags.same(tag::SAMPLE_FORMAT, "SampleFormat", per_pixel, 1)?,
            tags.or(tag::PREDICTOR, 1)?,
            form.is_big_endian,
        )?;
        let is_planar = match tags.or(tag::PLANAR, 1)? {
            // Some writers leave 0 there.
            0 | 1 => false,
            2 => per_pixel > 1,
            other => {
                return Err(Error::damaged(format!(
                    "PlanarConfiguration is {other}, expected 1 or 2"
                )));
            }
        };
        if tags.or(tag::PHOTOMETRIC, 1)? == 6 {
            let sampling = ifd.get(tag::YCBCR_SUBSAMPLING);
            let sampling = match sampling {
                Some(entry) => form.numbers(source, entry, 2)?,
                None => vec![2, 2],
            };
            if sampling != [1, 1] {
                return Err(Error::unsupported(
                    "its colours are YCbCr with fewer samples of colour than of light, \
                     which is not read",
                ));
            }
        }
        let is_tiled = ifd.get(tag::TILE_OFFSETS).is_some() || ifd.get(tag::TILE_WIDTH).is_some();
        let (chunk_width, chunk_height) = match is_tiled {
            true => (
                tags.length(tag::TILE_WIDTH, "TileWidth")?,
                tags.length(tag::TILE_HEIGHT, "TileLength")?,
            ),
            false => (
                width,
                match tags.or(tag::ROWS_PER_STRIP, u64::MAX)? {
                    0 => height,
                    rows => rows.min(height),
                },
            ),
        };
        // Some writers put tiles under the names of strips.
        let find = |tiles, strips| ifd.get(tiles).or_else(|| ifd.get(strips));
        let (offsets, counts) = match is_tiled {
            true => (
                find(tag::TILE_OFFSETS, tag::STRIP_OFFSETS),
                find(tag::TILE_BYTES, tag::STRIP_BYTES),
            ),
            false => (ifd.get(tag::STRIP_OFFSETS), ifd.get(tag::STRIP_BYTES)),
        };
        let offsets = offsets.ok_or_else(|| Error::damaged("no tag says where its samples are"))?;
        let n_across = width.div_ceil(chunk_width);
        if n_across > MAX_CHUNKS_ACROSS {
            return Err(Error::unsupported(format!(
                "it has {n_across} tiles side by side, and {MAX_CHUNKS_ACROSS} are the most"
            )));
        }
        let n_planes = if is_planar { per_pixel } else { 1 };
        let n_chunks = volume(&[n_across, height.div_ceil(chunk_height), n_planes])?;
        let offsets = List::new(offsets, n_chunks)?;
        let counts = counts.map(|entry| List::new(entry, n_chunks)).transpose()?;
        let text = match ifd.get(tag::GDAL_NODATA) {
            Some(entry) => form.text(source, entry, 64)?,
            None => Vec::new(),
        };
        let text = String::from_utf8_lossy(&text).trim().to_string();
        let filler = stored.dtype.parse(&text);
        let mut page = Page {
            form,
            width,
            height,
            per_pixel,
            is_planar,
            stored,
            codec,
            is_reversed: tags.or(tag::FILL_ORDER, 1)? == 2,
            chunk_width,
            chunk_height,
            is_tiled,
            filler: filler.unwrap_or(0),
            nodata: filler.and_then(|bits| stored.dtype.int_of_bits(bits)),
            offsets,
            counts,
            ifd,
        };
        page.check_size(source, n_chunks)?;
        Ok(page)
    }

    /// Sees that the file can hold what the page claims, as far as that can be seen
    /// without reading all of it.
    fn check_size(&mut self, source: &Source, n_chunks: u64) -> Result<()> {
        let n_samples = volume(&[self.width, self.height, self.per_pixel])?;
        let chunk_row = self.chunk_row_bytes()?;
        let per_chunk = chunk_row.checked_mul(self.chunk_height);
        per_chunk
            .filter(|&bytes| bytes <= i64::MAX as u64)
            .ok_or_else(|| {
                Error::damaged(format!(
                    "a chunk of {} x {} pixels would be longer than 2^63 bytes",
                    self.chunk_width, self.chunk_height
                ))
            })?;
        volume(&[n_samples, self.stored.dtype.size() as u64])?;
        // A chunk that is left out takes nothing of the file but its two numbers.
        let needed = self.stored.row_bytes(n_samples).unwrap_or(u64::MAX);
        let last = n_chunks - 1;
        let is_sparse = self.chunk(source, 0)?.is_none() || self.chunk(source, last)?.is_none();
        let most = match is_sparse {
            true => Codec::Zstd.most_inside(source.len()),
            false => self.codec.most_inside(source.len()),
        };
        if needed > most {
            return Err(Error::damaged(format!(
                "{} x {} pixels of {} samples need {needed} bytes, but {} {} bytes",
                self.width,
                self.height,
                self.per_pixel,
                match self.codec {
                    Codec::Plain => "the file has",
                    _ => "its chunks can hold no more than",
                },
                most
            )));
        }
        Ok(())
    }

    /// The type of the samples.
    pub(super) fn dtype(&self) -> DType {
        self.stored.dtype
    }

    /// Samples that lie side by side for each pixel.
    pub(super) fn interleaved(&self) -> u64 {
        if self.is_planar { 1 } else { self.per_pixel }
    }

    /// Bytes of a row of a chunk, decompressed.
    pub(super) fn chunk_row_bytes(&self) -> Result<u64> {
        let n_samples = self.chunk_width.checked_mul(self.interleaved());
        let bytes = n_samples.and_then(|n_samples| self.stored.row_bytes(n_samples));
        bytes
            .filter(|&bytes| bytes <= i64::MAX as u64)
            .ok_or_else(|| {
                Error::damaged(format!(
                    "a row of {} pixels would be longer than 2^63 bytes",
                    self.chunk_width
                ))
            })
    }

    /// Chunks side by side.
    pub(super) fn n_across(&self) -> u64 {
        self.width.div_ceil(self.chunk_width)
    }

    /// Chunks one below the other.
    pub(super) fn n_down(&self) -> u64 {
        self.height.div_ceil(self.chunk_height)
    }

    /// Rows of a chunk in this row of chunks.
    pub(super) fn rows_of(&self, down: u64) -> u64 {
        match self.is_tiled {
            true => self.chunk_height,
            false => self
                .chunk_height
                .min(self.height - down * self.chunk_height),
        }
    }

    /// First byte and end of a chunk; `None` when it was left out, as GDAL does
    /// with chunks that hold nothing.
    pub(super) fn chunk(&mut self, source: &Source, number: u64) -> Result<Option<(u64, u64)>> {
        let start = self.offsets.get(self.form, source, number)?;
        let count = match &mut self.counts {
            Some(counts) => Some(counts.get(self.form, source, number)?),
            None => None,
        };
        if start == 0 && count == Some(0) {
            return Ok(None);
        }
        let len = match self.codec {
            // How long it is follows from the page. Some writers claim more, or
            // nothing; who claims less has other samples there.
            Codec::Plain => {
                let down = number / self.n_across() % self.n_down();
                let needed = self.chunk_row_bytes()? * self.rows_of(down);
                if let Some(count @ 1..) = count
                    && count < needed
                {
                    return Err(Error::damaged(format!(
                        "chunk {number} of its samples has {count} bytes, expected {needed}"
                    )));
                }
                needed
            }
            // Without the tag the stream itself says where it ends.
            _ => count.unwrap_or_else(|| source.len().saturating_sub(start)),
        };
        let end = start.checked_add(len).filter(|&end| end <= source.len());
        let end = end.ok_or_else(|| {
            Error::damaged(format!(
                "chunk {number} of its samples needs {len} bytes from byte {start}, but {}",
                source.show_end()
            ))
        })?;
        Ok(Some((start, end)))
    }
}
