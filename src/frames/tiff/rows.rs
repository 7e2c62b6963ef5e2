//! The samples of a page, read in any order but fastest forwards.
//!
//! What is stored as samples of the right size, row after row, is read straight at
//! its position. All else is decompressed as a stream: one for each chunk of a row
//! of chunks, rows taken from all of them in turn. A few rows are kept, so that
//! the planes of a colour image are decompressed once; further back than that the
//! streams begin again. When the rows that were wanted of one plane are wanted of the next,
//! and are no longer kept, they are taken of several planes at once.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::frames::source::Source;
use crate::kernels::swap::swap_in_place;

use super::codec::{Codec, Raw};
use super::page::Page;

/// Bytes of rows that are kept.
const KEPT_BYTES: u64 = 2 << 20;

/// Bytes of planes that are taken from the rows at once.
const TAKEN_BYTES: u64 = 8 << 20;

/// The longest row, in bytes: three of them are in memory.
const MAX_ROW_BYTES: u64 = 1 << 26;

/// The most that streams side by side may keep.
const MAX_KEPT_BY_STREAMS: u64 = 1 << 30;

/// Reads the samples of one page.
pub(super) struct Rows {
    source: Arc<Source>,
    page: Page,
    /// Added to where samples lie: of a page in a stack that has one directory.
    shift: u64,
    /// Are samples read at their positions?
    is_straight: bool,
    streams: Vec<Option<Box<dyn Read + Send>>>,
    per_stream: u64,
    /// The row that the streams deliver next, planes counted through, and the one
    /// where they end. Both are rows of the page as the chunks have them: rows
    /// below the last are never asked for.
    next: u64,
    end: u64,
    /// Rows that are kept: row `r` stands at `r % n_kept`.
    kept: Vec<u8>,
    row_bytes: usize,
    n_kept: u64,
    first_kept: u64,
    raw: Vec<u8>,
    /// Rows that were read, those that were read again counted again.
    pub(super) n_read: u64,
    taken: Taken,
}

/// Samples of several planes, taken from the rows that hold those of all: all wanted
/// rows of one plane, then of the next.
#[derive(Default)]
struct Taken {
    planes: Range<u64>,
    rows: Range<u64>,
    bytes: Vec<u8>,
    /// The plane that was asked for last, and which of its rows.
    asked: (u64, Range<u64>),
    /// The rows that were asked for of the plane before that.
    before: Range<u64>,
    /// A row cannot be read: whoever wants it shall hear of it.
    has_failed: bool,
}

impl Taken {
    /// Remembers which row is asked for.
    fn ask(&mut self, plane: u64, y: u64) {
        let (last, rows) = &mut self.asked;
        if *last == plane {
            *rows = rows.start.min(y)..rows.end.max(y + 1);
        } else {
            self.before = std::mem::replace(rows, y..y + 1);
            *last = plane;
        }
    }

    fn has(&self, plane: u64, y: u64) -> bool {
        self.planes.contains(&plane) && self.rows.contains(&y)
    }
}

impl Rows {
    pub(super) fn new(source: Arc<Source>, page: Page, shift: u64) -> Result<Rows> {
        let is_straight = page.stored.is_plain()
            && !page.is_reversed
            && page.codec == Codec::Plain
            && page.chunk_width == page.width
            && page.interleaved() == 1;
        let n_samples = page.width.checked_mul(page.interleaved());
        let row_bytes = n_samples.and_then(|n| n.checked_mul(page.dtype().size() as u64));
        let row_bytes = row_bytes.unwrap_or(u64::MAX);
        let longest = row_bytes.max(page.chunk_row_bytes()?);
        if longest > MAX_ROW_BYTES && !is_straight {
            return Err(Error::unsupported(format!(
                "its rows are of {longest} bytes, and the longest that are read are of \
                 {MAX_ROW_BYTES}"
            )));
        }
        let per_chunk = page.chunk_row_bytes()?.saturating_mul(page.chunk_height);
        let per_stream = page.codec.most_kept(per_chunk);
        if per_stream.saturating_mul(page.n_across()) > MAX_KEPT_BY_STREAMS {
            return Err(Error::unsupported(format!(
                "each of its {} tiles side by side may keep {per_stream} bytes, and all of \
                 them {MAX_KEPT_BY_STREAMS} at most",
                page.n_across()
            )));
        }
        let n_rows = page.height.saturating_mul(page.per_pixel);
        Ok(Rows {
            source,
            shift,
            is_straight,
            streams: Vec::new(),
            per_stream,
            next: 0,
            end: 0,
            kept: Vec::new(),
            row_bytes: row_bytes as usize,
            n_kept: (KEPT_BYTES / row_bytes).clamp(1, n_rows),
            first_kept: 0,
            raw: Vec::new(),
            n_read: 0,
            taken: Taken::default(),
            page,
        })
    }

    /// Must samples be decompressed?
    pub(super) fn is_slow(&self) -> bool {
        self.page.codec != Codec::Plain
    }

    /// About how many bytes its streams keep, and planes.
    pub(super) fn kept(&self) -> u64 {
        self.per_stream * self.streams.len() as u64 + self.taken.bytes.len() as u64
    }

    /// Reads a run of samples from the linear index `first`: x, y, then the samples
    /// of a pixel. It lies inside the page.
    pub(super) fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        let size = self.page.dtype().size();
        let (width, height) = (self.page.width, self.page.height);
        let (mut at, mut done) = (first, 0);
        while done < out.len() {
            let n_left = ((out.len() - done) / size) as u64;
            let n_now = match self.is_straight {
                true => {
                    let n_now = n_left.min(width * height - at % (width * height));
                    let end = done + n_now as usize * size;
                    self.read_straight(at, &mut out[done..end])?;
                    n_now
                }
                false => {
                    let n_now = n_left.min(width - at % width);
                    let end = done + n_now as usize * size;
                    self.read_part(at, &mut out[done..end])?;
                    n_now
                }
            };
            at += n_now;
            done += n_now as usize * size;
        }
        Ok(())
    }

    /// Reads samples of one plane; chunks that follow each other in the file are
    /// read together.
    fn read_straight(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        let page = &mut self.page;
        let size = page.dtype().size() as u64;
        let (width, height) = (page.width, page.height);
        let plane = first / (width * height);
        let (mut at, mut done) = (first % (width * height), 0);
        // Swapped with the others at the end.
        let filler = match page.form.is_big_endian {
            true => page.filler.swap_bytes() >> (64 - 8 * size),
            false => page.filler,
        };
        // A run in the file that was not read yet, and where it goes.
        let mut run = (0, 0, 0);
        while done < out.len() {
            let down = at / width / page.chunk_height;
            let skipped = at - down * page.chunk_height * width;
            let in_chunk = (page.rows_of(down) * width - skipped) * size;
            let n_bytes = usize::try_from(in_chunk).unwrap_or(usize::MAX);
            let n_bytes = n_bytes.min(out.len() - done);
            let number = plane * page.n_down() + down;
            let place = page.chunk(&self.source, number)?;
            let start = place.map(|(start, _)| start + self.shift + skipped * size);
            let run_end = run.0 + (run.2 - run.1) as u64;
            match start {
                Some(start) if start == run_end => run.2 += n_bytes,
                _ => {
                    if run.1 < run.2 {
                        self.source.read_at(run.0, &mut out[run.1..run.2])?;
                    }
                    run = (start.unwrap_or(0), done, done);
                    match start {
                        Some(_) => run.2 += n_bytes,
                        None => {
                            fill(&mut out[done..done + n_bytes], filler, size as usize);
                            run = (0, done + n_bytes, done + n_bytes);
                        }
                    }
                }
            }
            done += n_bytes;
            at += n_bytes as u64 / size;
        }
        if run.1 < run.2 {
            self.source.read_at(run.0, &mut out[run.1..run.2])?;
        }
        if page.form.is_big_endian {
            swap_in_place(out, size as usize);
        }
        Ok(())
    }

    /// Reads a part of one row of one plane.
    fn read_part(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        let page = &self.page;
        let size = page.dtype().size();
        let (width, height) = (page.width, page.height);
        let (x, y) = (first % width, first / width % height);
        let sample = first / (width * height);
        let per_pixel = page.interleaved() as usize;
        if per_pixel > 1 && self.take(sample, y) {
            let taken = &self.taken;
            let n_rows = taken.rows.end - taken.rows.start;
            let row = (sample - taken.planes.start) * n_rows + y - taken.rows.start;
            let start = (row * width + x) as usize * size;
            out.copy_from_slice(&taken.bytes[start..start + out.len()]);
            return Ok(());
        }
        let (row, sample) = match self.page.is_planar {
            true => (sample * height + y, 0),
            false => (y, sample as usize),
        };
        let row = self.row(row)?;
        if per_pixel == 1 {
            let start = x as usize * size;
            out.copy_from_slice(&row[start..start + out.len()]);
            return Ok(());
        }
        pick(
            &row[x as usize * per_pixel * size..],
            (sample, per_pixel),
            size,
            out,
        );
        Ok(())
    }

    /// Takes a row of a plane, with it those that were wanted of the plane before, and
    /// with them those of the planes that follow; says whether the row is there.
    fn take(&mut self, plane: u64, y: u64) -> bool {
        let previous = self.taken.asked.0;
        self.taken.ask(plane, y);
        let is_kept = (self.first_kept..self.next).contains(&y);
        if self.taken.has(plane, y) {
            return true;
        }
        if is_kept || self.taken.has_failed || !self.taken.before.contains(&y) {
            return false;
        }
        let size = self.page.dtype().size();
        let per_pixel = self.page.per_pixel;
        let rows = self.taken.before.clone();
        let row_bytes = self.page.width.saturating_mul(size as u64);
        let plane_bytes = row_bytes.saturating_mul(rows.end - rows.start);
        let most = TAKEN_BYTES / plane_bytes;
        let planes = match previous > plane {
            true => (plane + 1).saturating_sub(most)..plane + 1,
            false => plane..per_pixel.min(plane + most),
        };
        if planes.end - planes.start < 2 {
            return false;
        }
        let mut bytes = std::mem::take(&mut self.taken.bytes);
        self.taken.planes = 0..0;
        bytes.resize(((planes.end - planes.start) * plane_bytes) as usize, 0);
        for (y, at) in rows.clone().zip((0..).step_by(row_bytes as usize)) {
            let Ok(row) = self.row(y) else {
                self.taken.has_failed = true;
                return false;
            };
            let starts = (at..).step_by(plane_bytes as usize);
            for (plane, start) in planes.clone().zip(starts) {
                let out = &mut bytes[start..start + row_bytes as usize];
                pick(row, (plane as usize, per_pixel as usize), size, out);
            }
        }
        (self.taken.planes, self.taken.rows, self.taken.bytes) = (planes, rows, bytes);
        true
    }

    /// A row of the page, all planes counted through.
    fn row(&mut self, row: u64) -> Result<&[u8]> {
        let row_bytes = self.row_bytes;
        self.kept.resize(self.n_kept as usize * row_bytes, 0);
        if !(self.first_kept..self.next).contains(&row) {
            if !(self.next..self.end).contains(&row) {
                self.begin(row)?;
            }
            while self.next <= row {
                let start = (self.next % self.n_kept) as usize * row_bytes;
                // Nothing is kept of rows while they are decompressed in part.
                let mut kept = std::mem::take(&mut self.kept);
                let decoded = self.decode(&mut kept[start..start + row_bytes]);
                self.kept = kept;
                if let Err(error) = decoded {
                    (self.next, self.end, self.first_kept) = (0, 0, 0);
                    return Err(error);
                }
                self.next += 1;
                self.n_read += 1;
                if self.next == self.end {
                    self.streams.clear();
                }
                self.first_kept = self.first_kept.max(self.next.saturating_sub(self.n_kept));
            }
        }
        let start = (row % self.n_kept) as usize * row_bytes;
        Ok(&self.kept[start..start + row_bytes])
    }

    /// Opens the chunks that hold a row.
    fn begin(&mut self, row: u64) -> Result<()> {
        let page = &mut self.page;
        let (plane, y) = (row / page.height, row % page.height);
        let down = y / page.chunk_height;
        let first = down * page.chunk_height;
        // Rows of what is not compressed can be skipped.
        let n_skipped = match page.codec {
            Codec::Plain => y - first,
            _ => 0,
        };
        let skipped = page.chunk_row_bytes()? * n_skipped;
        let n_across = page.n_across();
        let number = (plane * page.n_down() + down) * n_across;
        self.streams.clear();
        for number in number..number + n_across {
            let stream = match page.chunk(&self.source, number)? {
                Some((start, end)) => {
                    let raw = Raw {
                        source: self.source.clone(),
                        at: start + skipped + self.shift,
                        end: end + self.shift,
                        is_reversed: page.is_reversed,
                    };
                    Some(
                        page.codec
                            .open(raw, n_across)
                            .map_err(|error| decoding(error, number))?,
                    )
                }
                None => None,
            };
            self.streams.push(stream);
        }
        let start = plane * page.height + first + n_skipped;
        // What follows without a gap goes on with what is kept.
        if start != self.next {
            self.first_kept = start;
        }
        self.next = start;
        self.end = plane * page.height + page.height.min(first + page.chunk_height);
        Ok(())
    }

    /// Takes the next row from the streams.
    fn decode(&mut self, out: &mut [u8]) -> Result<()> {
        let page = &self.page;
        let n_bytes = page.chunk_row_bytes()?;
        self.raw.resize(n_bytes as usize, 0);
        let per_pixel = page.interleaved() as usize;
        let chunk_bytes = page.chunk_width as usize * per_pixel * page.dtype().size();
        let y = self.next % page.height;
        let number =
            (self.next / page.height * page.n_down() + y / page.chunk_height) * page.n_across();
        for ((stream, out), number) in
            (self.streams.iter_mut().zip(out.chunks_mut(chunk_bytes))).zip(number..)
        {
            let Some(stream) = stream else {
                fill(out, page.filler, page.dtype().size());
                continue;
            };
            let n_read = read_all(stream, &mut self.raw).map_err(|e| decoding(e, number))?;
            if n_read < self.raw.len() {
                let done = y % page.chunk_height * n_bytes + n_read as u64;
                return Err(Error::damaged(format!(
                    "chunk {number} of its samples ends after {done} bytes, expected {}",
                    n_bytes * page.rows_of(y / page.chunk_height)
                )));
            }
            page.stored.unpack(&mut self.raw, per_pixel, out);
            // Beyond the last row stands the checksum.
            if self.next + 1 == self.end && !page.is_tiled && page.codec == Codec::Deflate {
                let beyond = stream.read(&mut [0]);
                beyond.map_err(|error| decoding(error, number))?;
            }
        }
        Ok(())
    }
}

/// Picks one of the samples of each pixel.
fn pick(pixels: &[u8], (sample, per_pixel): (usize, usize), size: usize, out: &mut [u8]) {
    let pixels = pixels.chunks_exact(per_pixel * size);
    for (out, pixel) in out.chunks_exact_mut(size).zip(pixels) {
        out.copy_from_slice(&pixel[sample * size..][..size]);
    }
}

/// Fills with samples of these bits.
fn fill(out: &mut [u8], bits: u64, size: usize) {
    for out in out.chunks_mut(size) {
        out.copy_from_slice(&bits.to_le_bytes()[..out.len()]);
    }
}

/// Reads until `out` is full or the stream ends; says how much there was.
fn read_all(stream: &mut dyn Read, out: &mut [u8]) -> io::Result<usize> {
    let mut n_done = 0;
    while n_done < out.len() {
        match stream.read(&mut out[n_done..]) {
            Ok(0) => break,
            Ok(n_read) => n_done += n_read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Corrupt streams say that they end in the middle, too.
            Err(error) => return Err(error),
        }
    }
    Ok(n_done)
}

/// An error of decoding is the file's fault, unless reading the file failed.
fn decoding(error: io::Error, number: u64) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::damaged(format!("chunk {number} of its samples is damaged: {error}")),
    }
}
