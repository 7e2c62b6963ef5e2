//! A gzipped file, read at positions of what is inside.
//!
//! Decoding runs forwards and the last bytes of it are kept, so reading in order,
//! with small steps back, decodes once; a longer step back begins again. Memory
//! is two chunks, whatever the file claims.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::GzDecoder;

/// Bytes decoded at a time.
const CHUNK_BYTES: usize = 1 << 16;

/// The first bytes of each member of a gzipped file.
const MEMBER: &[u8] = b"\x1f\x8b";

/// Deflate cannot make more of one byte than this.
const MAX_RATIO: u64 = 1032;

/// No gzipped file of this many bytes holds more than the result.
pub(super) fn most_inside(file_bytes: u64) -> u64 {
    file_bytes.saturating_mul(MAX_RATIO)
}

/// The file from its head to its end, on a descriptor whose position others move.
#[derive(Debug)]
struct Stream {
    file: File,
    at: u64,
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n_read = self.file.read_at(out, self.at)?;
        self.at += n_read as u64;
        Ok(n_read)
    }
}

/// What decodes a gzipped file.
#[derive(Debug)]
pub(super) struct Inflater {
    file: File,
    /// Nothing once all is decoded.
    decoder: Option<GzDecoder<BufReader<Stream>>>,
    previous: Vec<u8>,
    current: Vec<u8>,
    /// Where in the decoded bytes `current` begins.
    start: u64,
}

impl Inflater {
    pub(super) fn new(file: File) -> io::Result<Inflater> {
        Ok(Inflater {
            decoder: Some(Inflater::begin(&file)?),
            file,
            previous: Vec::new(),
            current: Vec::new(),
            start: 0,
        })
    }

    fn begin(file: &File) -> io::Result<GzDecoder<BufReader<Stream>>> {
        let file = file.try_clone()?;
        Ok(GzDecoder::new(BufReader::new(Stream { file, at: 0 })))
    }

    /// Fills `out` with what lies from `offset` on, and says how much there was.
    pub(super) fn read_at(&mut self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        if offset < self.start - self.previous.len() as u64 {
            *self = Inflater::new(self.file.try_clone()?)?;
        }
        let mut n_done = 0;
        while n_done < out.len() {
            let at = offset + n_done as u64;
            let (chunk, start) = match at < self.start {
                true => (&self.previous, self.start - self.previous.len() as u64),
                false => (&self.current, self.start),
            };
            let skip = usize::try_from(at - start).unwrap_or(usize::MAX);
            let there = chunk.get(skip..).unwrap_or_default();
            if there.is_empty() {
                if !self.decode()? {
                    break;
                }
                continue;
            }
            let n_now = there.len().min(out.len() - n_done);
            out[n_done..n_done + n_now].copy_from_slice(&there[..n_now]);
            n_done += n_now;
        }
        Ok(n_done)
    }

    /// Decodes what is left, so that every checksum has been looked at.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        while self.decode()? {}
        Ok(())
    }

    /// Decodes the next chunk; false at the end.
    fn decode(&mut self) -> io::Result<bool> {
        if self.decoder.is_none() {
            return Ok(false);
        }
        let mut chunk = std::mem::take(&mut self.previous);
        chunk.clear();
        while chunk.len() < CHUNK_BYTES
            && let Some(decoder) = &mut self.decoder
        {
            let wanted = CHUNK_BYTES - chunk.len();
            let n_read = decoder
                .by_ref()
                .take(wanted as u64)
                .read_to_end(&mut chunk)?;
            if n_read == wanted {
                break;
            }
            // The end of a member, whose checksum was right. What follows the last
            // one is ignored, as gzip does: tapes and archives pad with zeros.
            let rest = self.decoder.take().map(GzDecoder::into_inner);
            if let Some(mut rest) = rest
                && rest.fill_buf()?.starts_with(MEMBER)
            {
                self.decoder = Some(GzDecoder::new(rest));
            }
        }
        self.start += self.current.len() as u64;
        self.previous = std::mem::replace(&mut self.current, chunk);
        Ok(true)
    }
}
