//! The bytes of a strip or tile, decompressed as a stream.
//!
//! Every codec reads forwards in small steps and keeps only its own state, so a
//! page that is one strip takes no more memory than one that is many. A stream
//! ends where its data does; whoever wants more than there is sees that.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use flate2::bufread::ZlibDecoder;
use weezl::{BitOrder, LzwStatus, decode};

use crate::error::{Error, Result};
use crate::frames::source::Source;

/// Bytes asked of the file at a time: by one stream, and by all that are side by side.
const BUFFER_BYTES: usize = 1 << 14;
const BUFFERS_BYTES: usize = 1 << 20;

/// About what a decoder keeps: tables, and for all but Zstandard what it looks back at.
const STATE_BYTES: u64 = 48 << 10;
const ZSTD_STATE_BYTES: u64 = 160 << 10;

/// A zstd frame may look back so far, as a power of two: 128 MiB, which the highest
/// levels use. Of that much memory is used as is decompressed, and no more.
const MAX_ZSTD_WINDOW: u32 = 27;

/// How the samples of a page are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    /// Not at all.
    Plain,
    /// LZW, TIFF 6.0, section 13.
    Lzw,
    /// zlib.
    Deflate,
    /// PackBits, TIFF 6.0, section 9.
    PackBits,
    /// Zstandard.
    Zstd,
}

/// Compressions that exist and are not read.
const NOT_READ: [(u64, &str); 17] = [
    (2, "CCITT RLE"),
    (3, "CCITT Group 3 fax"),
    (4, "CCITT Group 4 fax"),
    (6, "old-style JPEG"),
    (7, "JPEG"),
    (9, "JBIG"),
    (10, "JBIG"),
    (32766, "NeXT"),
    (32809, "ThunderScan"),
    (34661, "JBIG"),
    (34676, "SGILog"),
    (34677, "SGILog24"),
    (34712, "JPEG 2000"),
    (34887, "LERC"),
    (34925, "LZMA"),
    (50001, "WebP"),
    (50002, "JPEG XL"),
];

impl Codec {
    /// The codec of a Compression tag.
    pub(super) fn of(compression: u64) -> Result<Codec> {
        Ok(match compression {
            1 => Codec::Plain,
            5 => Codec::Lzw,
            8 | 32946 => Codec::Deflate,
            32773 => Codec::PackBits,
            50000 | 34926 => Codec::Zstd,
            other => {
                let known = NOT_READ.iter().find(|&&(number, _)| number == other);
                let name = known.map_or("an unknown code", |&(_, name)| name);
                return Err(Error::unsupported(format!(
                    "is compressed by {name} (Compression {other}), which is not read"
                ))
                .hint("none, LZW, Deflate, PackBits and Zstandard are: convert it first"));
            }
        })
    }

    /// No stream of `bytes` holds more than the result.
    pub(super) fn most_inside(self, bytes: u64) -> u64 {
        bytes.saturating_mul(match self {
            Codec::Plain => 1,
            Codec::PackBits => 64,
            // A code of 9 to 12 bits stands for at most 4096 bytes.
            Codec::Lzw => 4096,
            Codec::Deflate => 1032,
            // A block of 4 bytes repeats one byte up to 128 KiB times.
            Codec::Zstd => 1 << 15,
        })
    }

    /// About the most that a stream of so many bytes, decompressed, keeps in memory.
    pub(super) fn most_kept(self, bytes: u64) -> u64 {
        match self {
            Codec::Plain | Codec::PackBits => 0,
            Codec::Lzw | Codec::Deflate => STATE_BYTES,
            Codec::Zstd => ZSTD_STATE_BYTES + bytes.min(1 << MAX_ZSTD_WINDOW),
        }
    }

    /// What is in a range of the file, which is one of `n_streams` side by side.
    pub(super) fn open(self, raw: Raw, n_streams: u64) -> io::Result<Box<dyn Read + Send>> {
        let n_streams = usize::try_from(n_streams).unwrap_or(usize::MAX).max(1);
        let buffer_bytes = (BUFFERS_BYTES / n_streams).clamp(256, BUFFER_BYTES);
        let mut reader = BufReader::with_capacity(buffer_bytes, raw);
        Ok(match self {
            Codec::Plain => Box::new(reader),
            Codec::Deflate => Box::new(ZlibDecoder::new(reader)),
            Codec::PackBits => Box::new(PackBits {
                reader,
                run: Run::None,
            }),
            Codec::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW)?;
                Box::new(decoder)
            }
            Codec::Lzw => {
                // Before TIFF 6.0 codes were written from the lowest bit on; such a
                // stream begins with a clear code of the other order.
                let is_old = matches!(reader.fill_buf()?, &[0, second, ..] if second & 1 == 1);
                let decoder = match is_old {
                    true => decode::Decoder::new(BitOrder::Lsb, 8),
                    false => decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8),
                };
                Box::new(Lzw { reader, decoder })
            }
        })
    }
}

/// A range of the file, on its own position.
pub(super) struct Raw {
    pub(super) source: Arc<Source>,
    pub(super) at: u64,
    pub(super) end: u64,
    /// FillOrder is 2: the bits of each byte are in reverse.
    pub(super) is_reversed: bool,
}

impl Read for Raw {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let n_wanted = left.min(out.len());
        let out = &mut out[..n_wanted];
        let n_read = self.source.read_at_most(self.at, out);
        let n_read = n_read.map_err(io::Error::other)?;
        if self.is_reversed {
            for byte in &mut out[..n_read] {
                *byte = byte.reverse_bits();
            }
        }
        self.at += n_read as u64;
        Ok(n_read)
    }
}

struct Lzw {
    reader: BufReader<Raw>,
    decoder: decode::Decoder,
}

impl Read for Lzw {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let mut was_over = false;
        loop {
            let input = self.reader.fill_buf()?;
            let is_over = input.is_empty();
            let result = self.decoder.decode_bytes(input, out);
            self.reader.consume(result.consumed_in);
            let status = result.status.map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "an LZW code is not in its table",
                )
            });
            if result.consumed_out > 0 {
                return Ok(result.consumed_out);
            }
            match status? {
                LzwStatus::Done => return Ok(0),
                LzwStatus::NoProgress if result.consumed_in == 0 => return Ok(0),
                // What the last code stands for may come only when it is asked for again.
                _ if is_over && was_over => return Ok(0),
                _ => was_over = is_over,
            }
        }
    }
}

/// What a PackBits stream is in the middle of.
enum Run {
    None,
    Literal(usize),
    Repeat(usize, u8),
}

struct PackBits {
    reader: BufReader<Raw>,
    run: Run,
}

impl PackBits {
    fn byte(&mut self) -> io::Result<Option<u8>> {
        let byte = self.reader.fill_buf()?.first().copied();
        self.reader.consume(usize::from(byte.is_some()));
        Ok(byte)
    }
}

impl Read for PackBits {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut n_done = 0;
        while n_done < out.len() {
            let out = &mut out[n_done..];
            match &mut self.run {
                Run::None => match self.byte()? {
                    None => break,
                    Some(128) => {}
                    Some(head @ 0..=127) => self.run = Run::Literal(usize::from(head) + 1),
                    Some(head) => {
                        let Some(byte) = self.byte()? else { break };
                        self.run = Run::Repeat(257 - usize::from(head), byte);
                    }
                },
                Run::Literal(left) => {
                    let there = self.reader.fill_buf()?;
                    let n_now = there.len().min(*left).min(out.len());
                    if n_now == 0 {
                        break;
                    }
                    out[..n_now].copy_from_slice(&there[..n_now]);
                    self.reader.consume(n_now);
                    *left -= n_now;
                    n_done += n_now;
                    if *left == 0 {
                        self.run = Run::None;
                    }
                }
                Run::Repeat(left, byte) => {
                    let n_now = (*left).min(out.len());
                    out[..n_now].fill(*byte);
                    *left -= n_now;
                    n_done += n_now;
                    if *left == 0 {
                        self.run = Run::None;
                    }
                }
            }
        }
        Ok(n_done)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_stream_whose_last_code_stands_for_much_is_read_to_its_end() {
        for len in 1..3000 {
            let mut encoder = weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8);
            let packed = encoder.encode(&vec![7; len]).unwrap();
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&packed).unwrap();
            let raw = Raw {
                source: Arc::new(Source::open(file.path()).unwrap()),
                at: 0,
                end: packed.len() as u64,
                is_reversed: false,
            };
            let mut found = vec![0; len];
            let mut stream = Codec::Lzw.open(raw, 1).unwrap();
            for part in found.chunks_mut(11) {
                stream.read_exact(part).unwrap();
            }
            assert_eq!(found, vec![7; len]);
        }
    }
}
