//! What is written, gzipped by all processors: blocks are compressed apart from each
//! other, and put together to one member, which is what every reader expects.

use std::io::{self, Write};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use crate::turns::Ahead;

/// Noise hardly gets smaller for more work.
pub(super) const LEVEL: Compression = Compression::new(4);

/// Bytes that are compressed together. The 32 KiB that a block could refer back to are
/// not missed.
const BLOCK_BYTES: usize = 1 << 20;

/// The head of a member (RFC 1952): deflate, no name, no time, of an unknown system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A last block of deflate without any bytes (RFC 1951).
const LAST: [u8; 2] = [3, 0];

/// A writer that compresses on the way to another.
pub(super) struct Gzip<W> {
    to: W,
    held: Vec<u8>,
    /// Buffers that were used: new memory costs more than what is done in it.
    spare: Vec<Vec<u8>>,
    ahead: Ahead<io::Result<Block>>,
    crc: Crc,
}

/// A block that is compressed.
struct Block {
    bytes: Vec<u8>,
    crc: Crc,
    /// What it was.
    plain: Vec<u8>,
}

impl Block {
    fn of(plain: Vec<u8>, into: Vec<u8>) -> io::Result<Block> {
        let mut crc = Crc::new();
        crc.update(&plain);
        let mut encoder = DeflateEncoder::new(into, LEVEL);
        encoder.write_all(&plain)?;
        // Ends at a whole byte, and another block may follow.
        encoder.flush()?;
        let bytes = std::mem::take(encoder.get_mut());
        Ok(Block { bytes, crc, plain })
    }
}

impl<W: Write> Gzip<W> {
    /// Writes the head.
    pub(super) fn new(mut to: W) -> io::Result<Gzip<W>> {
        to.write_all(&HEAD)?;
        Ok(Gzip {
            to,
            held: Vec::new(),
            spare: Vec::new(),
            ahead: Ahead::default(),
            crc: Crc::new(),
        })
    }

    fn compress_held(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let into = self.spare.pop().unwrap_or_default();
        match self.ahead.begin(move || Block::of(held, into)) {
            Some(block) => self.put(block?),
            None => Ok(()),
        }
    }

    fn put(&mut self, block: Block) -> io::Result<()> {
        self.crc.combine(&block.crc);
        self.to.write_all(&block.bytes)?;
        for mut used in [block.bytes, block.plain] {
            used.clear();
            self.spare.push(used);
        }
        Ok(())
    }

    /// Writes what is left; gives the other writer back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.held.is_empty() {
            self.compress_held()?;
        }
        while let Some(block) = self.ahead.oldest() {
            self.put(block?)?;
        }
        self.to.write_all(&LAST)?;
        self.to.write_all(&self.crc.sum().to_le_bytes())?;
        self.to.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.to)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            self.held = self.spare.pop().unwrap_or_default();
        }
        let now = bytes.len().min(BLOCK_BYTES - self.held.len());
        self.held.extend_from_slice(&bytes[..now]);
        if self.held.len() == BLOCK_BYTES {
            self.compress_held()?;
        }
        Ok(now)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read;

    fn gzipped(pieces: &[&[u8]]) -> Vec<u8> {
        let mut gzip = Gzip::new(Vec::new()).unwrap();
        for piece in pieces {
            gzip.write_all(piece).unwrap();
        }
        gzip.finish().unwrap()
    }

    #[test]
    fn what_comes_out_is_one_member_of_all_that_went_in() {
        let mut noise = vec![0u8; 5 * BLOCK_BYTES / 2];
        let mut state = 1u32;
        for byte in &mut noise {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = state.to_be_bytes()[0];
        }
        let zeros = vec![0u8; 3 * BLOCK_BYTES];
        let sets: [&[&[u8]]; 5] = [
            &[],
            &[b"x"],
            &[b"", b"a few", b" bytes"],
            &[&zeros[..BLOCK_BYTES]],
            &[&noise, &zeros, b"end"],
        ];
        for pieces in sets {
            let packed = gzipped(pieces);
            let mut found = Vec::new();
            // Reads one member, and its check.
            let mut decoder = GzDecoder::new(&packed[..]);
            decoder.read_to_end(&mut found).unwrap();
            assert_eq!(found, pieces.concat());
            assert!(decoder.into_inner().is_empty());
        }
    }

    #[test]
    fn the_same_bytes_come_out_however_they_go_in() {
        let zeros = vec![0u8; 2 * BLOCK_BYTES + 7];
        let (head, tail) = zeros.split_at(3);
        assert_eq!(gzipped(&[&zeros]), gzipped(&[head, tail]));
    }
}
