//! A gzip stream of one member (RFC 1952) that holds no more than a tile.
//!
//! Tiles are many and small, so what inflates them is kept; flate2's own readers begin with
//! new buffers each time.

use flate2::{Crc, Decompress, FlushDecompress, Status};

const MAGIC: &[u8] = &[0x1f, 0x8b, 8];
const HEAD_BYTES: usize = 10;

/// Bits of the fourth byte: there is a checksum of the head, an extra field, a name, a comment.
const HAS_CHECKSUM: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;

#[derive(Default)]
pub(super) struct Gunzip {
    inflate: Option<Decompress>,
    out: Vec<u8>,
}

impl Gunzip {
    /// What is in the stream, `most` bytes at most.
    pub(super) fn unpack(&mut self, stream: &[u8], most: usize) -> Result<&[u8], String> {
        let found = self.inflate(stream, most);
        let n_bytes = found.ok_or_else(|| format!("is no gzip stream of at most {most} bytes"))?;
        Ok(&self.out[..n_bytes])
    }

    fn inflate(&mut self, stream: &[u8], most: usize) -> Option<usize> {
        let packed = body(stream)?;
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        inflate.reset(false);
        // One more, or the end of a stream that fills all may not be seen.
        self.out.resize(most + 1, 0);
        let status = inflate.decompress(packed, &mut self.out, FlushDecompress::Finish);
        let n_read = usize::try_from(inflate.total_in()).ok()?;
        let n_bytes = usize::try_from(inflate.total_out()).ok()?;
        let is_whole = matches!(status, Ok(Status::StreamEnd)) && n_bytes <= most;
        let (sum, len) = packed.get(n_read..)?.split_first_chunk()?;
        let (sum, len) = (u32::from_le_bytes(*sum), len.first_chunk()?);
        let mut found = Crc::new();
        found.update(&self.out[..n_bytes]);
        let is_same = sum == found.sum() && u32::from_le_bytes(*len) == found.amount();
        (is_whole && is_same).then_some(n_bytes)
    }

    pub(super) fn kept(&self) -> usize {
        self.out.len()
    }
}

/// What follows the head of a stream.
fn body(stream: &[u8]) -> Option<&[u8]> {
    let (head, mut rest) = stream.split_at_checked(HEAD_BYTES)?;
    let flags = head.strip_prefix(MAGIC)?.first()?;
    if flags & HAS_EXTRA > 0 {
        let (len, more) = rest.split_first_chunk()?;
        rest = more.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for flag in [HAS_NAME, HAS_COMMENT] {
        if flags & flag > 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    match flags & HAS_CHECKSUM {
        0 => Some(rest),
        _ => rest.get(2..),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};

    use super::*;

    #[test]
    fn streams_are_unpacked_as_far_as_there_is_room() {
        let bytes: Vec<u8> = (0..5000u32).map(|k| (k.pow(2) >> 7) as u8).collect();
        let mut gunzip = Gunzip::default();
        for head in [
            GzBuilder::new(),
            GzBuilder::new().filename("a").comment("b").extra("cde"),
        ] {
            let mut encoder = head.write(Vec::new(), Compression::default());
            encoder.write_all(&bytes).unwrap();
            let stream = encoder.finish().unwrap();
            assert_eq!(gunzip.unpack(&stream, 5000), Ok(&bytes[..]));
            assert_eq!(gunzip.unpack(&stream, 9999), Ok(&bytes[..]));
            assert!(gunzip.unpack(&stream, 4999).is_err());
            assert!(gunzip.unpack(&stream, 0).is_err());
            for end in 0..stream.len() {
                assert!(gunzip.unpack(&stream[..end], 5000).is_err(), "{end}");
            }
            for at in [0, 1, 2, stream.len() - 8, stream.len() - 1] {
                let mut broken = stream.clone();
                broken[at] ^= 1;
                assert!(gunzip.unpack(&broken, 5000).is_err(), "{at}");
            }
        }
    }
}
