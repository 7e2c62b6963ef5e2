//! The ledger: what is known of every frame that ever came in.
//!
//! Records are lines of JSON, packed together with zlib into blocks that are
//! never changed. Cards keep every byte: a character of the JSON string is a
//! byte of the header (Latin-1).

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use super::catalog::{LedgerBlock, Piece};
use crate::error::{Error, Result};
use crate::region::MAX_RANK;

/// A block unpacks to at most this many bytes; blocks of half of it are not
/// merged any more.
pub const MAX_UNPACKED: u64 = 64 << 20;

/// One frame, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Number of the frame: counts frames in order of arrival, from 0.
    pub frame: u64,
    /// Name of the file it came from, as it was given.
    pub source: String,
    /// Which HDU or page of that file, from 0.
    pub part: u32,
    /// Size of that file, in bytes.
    pub file_bytes: u64,
    /// When that file was last modified: nanoseconds since 1970.
    pub modified: Option<i128>,
    /// Lengths of its axes, x first.
    pub shape: Vec<u64>,
    /// Type of its samples before any conversion.
    pub dtype: String,
    /// Axis that it was inserted along, from 0.
    pub axis: usize,
    /// Slots that its samples went to: runs `[slot, len]` per axis, in the
    /// order of its own pixels.
    pub slots: Vec<Vec<Piece>>,
    /// CRC-32C of its samples as the cube holds them: little-endian, x fastest.
    pub check: u32,
    /// Some of its samples were taken out before the cube was compacted: the
    /// check says nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Header cards, 80 characters each.
    pub cards: String,
}

/// Header bytes as a string of as many characters, and back.
pub fn cards_to_text(cards: &[u8]) -> String {
    cards.iter().map(|&byte| char::from(byte)).collect()
}

/// The bytes of a header that [`cards_to_text`] wrote.
pub fn cards_from_text(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(c).unwrap_or(b'?'))
        .collect()
}

/// Packs lines of JSON, each a record, into a block.
pub fn pack(lines: &[u8]) -> Result<Vec<u8>> {
    let failed = |error| Error::io("cannot pack the ledger", error);
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::new(4));
    packer.write_all(lines).map_err(failed)?;
    packer.finish().map_err(failed)
}

/// Unpacks a block, of which the catalog says how long it gets.
pub fn unpack(block: &LedgerBlock, packed: &[u8]) -> Result<Vec<u8>> {
    let wrong =
        |what: String| Error::damaged(format!("ledger block at byte {}: {what}", block.extent.at));
    if block.unpacked > MAX_UNPACKED {
        return Err(wrong(format!(
            "{} bytes, more than {MAX_UNPACKED}",
            block.unpacked
        )));
    }
    let mut lines = Vec::new();
    ZlibDecoder::new(packed)
        .take(block.unpacked + 1)
        .read_to_end(&mut lines)
        .map_err(|error| wrong(error.to_string()))?;
    if lines.len() as u64 != block.unpacked {
        return Err(wrong(format!(
            "{} bytes, expected {}",
            lines.len(),
            block.unpacked
        )));
    }
    Ok(lines)
}

/// Reads the records of an unpacked block.
pub fn records(block: &LedgerBlock, lines: &[u8]) -> Result<Vec<Record>> {
    let wrong =
        |what: String| Error::damaged(format!("ledger block at byte {}: {what}", block.extent.at));
    let mut out = Vec::new();
    for line in lines
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let record: Record =
            serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
        let expected = block.first + out.len() as u64;
        if record.frame != expected || record.slots.len() != MAX_RANK || record.axis >= MAX_RANK {
            return Err(wrong(format!(
                "frame {}, expected {expected}",
                record.frame
            )));
        }
        out.push(record);
    }
    if out.len() as u64 != block.frames {
        return Err(wrong(format!(
            "{} frames, expected {}",
            out.len(),
            block.frames
        )));
    }
    Ok(out)
}

impl Record {
    /// Number of samples; `None` when it cannot be.
    pub fn samples(&self) -> Option<u64> {
        self.shape
            .iter()
            .try_fold(1u64, |product, &len| product.checked_mul(len))
    }

    /// Least slot on each axis, and one past the greatest.
    pub fn bounds(&self) -> ([u64; MAX_RANK], [u64; MAX_RANK]) {
        let (mut lo, mut hi) = ([u64::MAX; MAX_RANK], [0; MAX_RANK]);
        for (axis, runs) in self.slots.iter().take(MAX_RANK).enumerate() {
            for &Piece(slot, len) in runs {
                lo[axis] = lo[axis].min(slot);
                hi[axis] = hi[axis].max(slot.saturating_add(len));
            }
        }
        (lo, hi)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Extent;

    fn block(frames: u64, unpacked: u64) -> LedgerBlock {
        LedgerBlock {
            first: 0,
            frames,
            unpacked,
            lo: vec![0; MAX_RANK],
            hi: vec![1; MAX_RANK],
            extent: Extent {
                at: 8192,
                bytes: 0,
                check: 0,
            },
        }
    }

    #[test]
    fn records_read_back_with_every_byte_of_their_cards() {
        let every: Vec<u8> = (0..=255).collect();
        let record = Record {
            source: "a\n\u{1f30c}.fits".into(),
            slots: vec![vec![Piece(0, 1)]; MAX_RANK],
            modified: Some(1_700_000_000_123_456_789),
            cards: cards_to_text(&every),
            ..Record::default()
        };
        let mut lines = serde_json::to_vec(&record).unwrap();
        lines.push(b'\n');
        let block = block(1, lines.len() as u64);
        let packed = pack(&lines).unwrap();
        let back = records(&block, &unpack(&block, &packed).unwrap()).unwrap();
        assert_eq!(back, [record]);
        assert_eq!(cards_from_text(&back[0].cards), every);
    }

    #[test]
    fn a_block_cannot_unpack_to_more_than_it_says() {
        let packed = pack(&vec![b'\n'; 1 << 20]).unwrap();
        assert!(unpack(&block(0, 10), &packed).is_err());
        assert!(unpack(&block(0, u64::MAX), &packed).is_err());
        assert!(unpack(&block(0, 1 << 20), &packed[..20]).is_err());
    }
}
