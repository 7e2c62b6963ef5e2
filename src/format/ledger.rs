//! The ledger: what is known of every frame that ever came in.
//!
//! Records are lines of JSON, packed with zlib in groups, each a stream of its own;
//! blocks of groups are never changed. Cards keep every byte: a character of the JSON string is a
//! byte of the header (Latin-1).

use std::io::{Read, Write};
use std::ops::Range;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use super::catalog::{LedgerBlock, Piece};
use super::{Extent, take_u32, take_u64};
use crate::error::{Error, Result};
use crate::region::MAX_RANK;

/// A group unpacks to at most this many bytes.
pub const MAX_UNPACKED: u64 = 64 << 20;

/// A group is packed when its records have so many bytes: little is unpacked for one
/// record, and streams of more hardly pack better.
const GROUP_BYTES: usize = 64 << 10;

/// Bytes of a group's entry in the table at the head of its block.
pub const GROUP_ENTRY: usize = 8 * (3 + 2 * MAX_RANK) + 8;

/// One frame, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Number of the frame: counts frames in order of arrival, from 0.
    pub frame: u64,
    /// Name of the file it came from, as it was given.
    pub source: String,
    /// Which HDU or page of that file, from 0.
    pub part: u32,
    /// Which sample of its pixels, from 0, where one alone was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u64>,
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
    match text.is_ascii() {
        true => text.as_bytes().to_vec(),
        false => text
            .chars()
            .map(|c| u8::try_from(c).unwrap_or(b'?'))
            .collect(),
    }
}

/// Records packed together: one group of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Number of its first frame.
    pub first: u64,
    /// How many frames.
    pub frames: u64,
    /// Bytes when unpacked.
    pub unpacked: u64,
    /// Offset of its stream in the block.
    pub at: u64,
    /// Bytes of that stream.
    pub packed: u64,
    /// Least slot of any frame in it, on each axis.
    pub lo: [u64; MAX_RANK],
    /// One past the greatest.
    pub hi: [u64; MAX_RANK],
    /// CRC-32C of the stream.
    pub check: u32,
}

impl Group {
    /// Its entry as the `number`th of its block's table.
    fn encode(&self, number: u64) -> [u8; GROUP_ENTRY] {
        let mut bytes = [0; GROUP_ENTRY];
        let slots = self.lo.iter().zip(&self.hi).flat_map(|(lo, hi)| [lo, hi]);
        let numbers = [&self.frames, &self.unpacked, &self.packed];
        let numbers = numbers.into_iter().chain(slots);
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let (rest, own) = bytes.split_at_mut(GROUP_ENTRY - 4);
        rest[GROUP_ENTRY - 8..].copy_from_slice(&self.check.to_le_bytes());
        // The number is in it, so that entries in each other's place are found.
        let check = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), rest);
        own.copy_from_slice(&check.to_le_bytes());
        bytes
    }

    fn decode(number: u64, bytes: &[u8], first: u64, at: u64) -> Option<Group> {
        let slot = |axis: usize, end: usize| take_u64(bytes, 24 + 16 * axis + 8 * end);
        let mut group = Group {
            first,
            frames: take_u64(bytes, 0)?,
            unpacked: take_u64(bytes, 8)?,
            at,
            packed: take_u64(bytes, 16)?,
            lo: [0; MAX_RANK],
            hi: [0; MAX_RANK],
            check: take_u32(bytes, GROUP_ENTRY - 8)?,
        };
        for axis in 0..MAX_RANK {
            (group.lo[axis], group.hi[axis]) = (slot(axis, 0)?, slot(axis, 1)?);
        }
        (group.encode(number) == bytes.get(..GROUP_ENTRY)?).then_some(group)
    }

    /// The records of the group, from its stream.
    ///
    /// # Errors
    /// When they are not what the group says.
    pub fn records(&self, stream: &[u8]) -> Result<Records> {
        let text = String::from_utf8(self.unpack(stream)?);
        let text = text.map_err(|_| self.wrong("they are not text"))?;
        let mut lines = Vec::new();
        let mut at = 0;
        for line in text.split('\n') {
            if !line.is_empty() {
                lines.push(at..at + line.len());
            }
            at += line.len() + 1;
        }
        if lines.len() as u64 != self.frames {
            let (found, expected) = (lines.len(), self.frames);
            return Err(self.wrong(&format!("{found} frames, expected {expected}")));
        }
        let group = self.clone();
        Ok(Records { group, text, lines })
    }

    fn unpack(&self, stream: &[u8]) -> Result<Vec<u8>> {
        let found = crc32c::crc32c(stream);
        if found != self.check {
            let expected = self.check;
            return Err(self.wrong(&format!("checksum is {found:08x}, expected {expected:08x}")));
        }
        if self.unpacked > MAX_UNPACKED {
            let bytes = self.unpacked;
            return Err(self.wrong(&format!("{bytes} bytes, more than {MAX_UNPACKED}")));
        }
        let mut lines = Vec::new();
        ZlibDecoder::new(stream)
            .take(self.unpacked + 1)
            .read_to_end(&mut lines)
            .map_err(|error| self.wrong(&error.to_string()))?;
        if lines.len() as u64 != self.unpacked {
            let (found, expected) = (lines.len(), self.unpacked);
            return Err(self.wrong(&format!("{found} bytes, expected {expected}")));
        }
        Ok(lines)
    }

    fn wrong(&self, what: &str) -> Error {
        Error::damaged(format!(
            "records of {} frames from number {} on: {what}",
            self.frames, self.first
        ))
    }
}

/// The records of a group, in order of arrival. One is parsed when it is asked for: of most
/// groups one is wanted.
pub struct Records {
    group: Group,
    text: String,
    /// Where in the text the lines are.
    lines: Vec<Range<usize>>,
}

/// As much of a record as says where its samples are.
#[derive(Deserialize)]
struct Place {
    slots: Vec<Vec<Piece>>,
}

impl Records {
    /// The record of the frame with this number; `None` when another group has it.
    ///
    /// # Errors
    /// When it is not a record, or that of another frame.
    pub fn get(&self, frame: u64) -> Result<Option<Record>> {
        let number = frame.checked_sub(self.group.first);
        let Some(number) = number.filter(|&number| number < self.group.frames) else {
            return Ok(None);
        };
        let record: Record = self.parse(number)?;
        let found = record.frame;
        match found == frame && record.slots.len() == MAX_RANK && record.axis < MAX_RANK {
            true => Ok(Some(record)),
            false => Err(self
                .group
                .wrong(&format!("frame {found}, expected {frame}"))),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Result<Record>> {
        let (first, frames) = (self.group.first, self.group.frames);
        (first..first.saturating_add(frames)).filter_map(|frame| self.get(frame).transpose())
    }

    /// The one that has the sample in these slots: no two have the same.
    ///
    /// # Errors
    /// As [`Records::get`].
    pub fn holding(&self, slots: &[u64; MAX_RANK]) -> Result<Option<Record>> {
        let Group { frames, lo, hi, .. } = self.group;
        let holds = |place: &Place| {
            place.slots.iter().zip(slots).all(|(runs, &at)| {
                let holds = |&Piece(slot, len): &Piece| slot <= at && at - slot < len;
                runs.iter().any(holds)
            })
        };
        // Frames that came one after the other have one slot each.
        let stacked = (0..MAX_RANK).filter(|&axis| hi[axis].checked_sub(lo[axis]) == Some(frames));
        let likely = stacked.filter_map(|axis| slots[axis].checked_sub(lo[axis]));
        for number in likely.filter(|&number| number < frames).chain(0..frames) {
            if holds(&self.parse(number)?) {
                return self.get(self.group.first + number);
            }
        }
        Ok(None)
    }

    fn parse<'a, T: Deserialize<'a>>(&'a self, number: u64) -> Result<T> {
        let line = self.lines.get(number as usize).cloned().unwrap_or_default();
        let line = self.text.get(line).unwrap_or_default();
        serde_json::from_str(line).map_err(|error| self.group.wrong(&error.to_string()))
    }
}

/// May a frame of a block or group with these least slots, and ones past the greatest,
/// hold slots of these ranges, on all axes?
pub fn meet(lo: &[u64], hi: &[u64], slots: &[Range<u64>; MAX_RANK]) -> bool {
    let mut ranges = lo.iter().zip(hi).zip(slots);
    ranges.all(|((&lo, &hi), slots)| lo < slots.end && slots.start < hi)
}

/// Bytes of a block's table of groups.
///
/// # Errors
/// When the block is too small for it.
pub fn table_bytes(block: &LedgerBlock) -> Result<u64> {
    let bytes = block.groups.checked_mul(GROUP_ENTRY as u64);
    bytes
        .filter(|&bytes| bytes <= block.extent.bytes)
        .ok_or_else(|| {
            Error::damaged(format!(
                "ledger block at byte {}: {} bytes do not hold {} groups",
                block.extent.at, block.extent.bytes, block.groups
            ))
        })
}

/// Reads the table of groups at the head of a block.
///
/// # Errors
/// When it is damaged, or the groups are not what the catalog says of the block.
pub fn groups(block: &LedgerBlock, table: &[u8]) -> Result<Vec<Group>> {
    let wrong =
        |what: String| Error::damaged(format!("ledger block at byte {}: {what}", block.extent.at));
    let (mut next, mut at, mut unpacked) = (block.first, table.len() as u64, 0u64);
    let mut groups = Vec::new();
    for (number, entry) in (0u64..).zip(table.chunks_exact(GROUP_ENTRY)) {
        let group = Group::decode(number, entry, next, at)
            .ok_or_else(|| wrong(format!("the entry of group {} is damaged", number + 1)))?;
        next = next.saturating_add(group.frames);
        at = at.saturating_add(group.packed);
        unpacked = unpacked.saturating_add(group.unpacked);
        groups.push(group);
    }
    let expected = (block.frames, block.unpacked, block.extent.bytes);
    match (next - block.first, unpacked, at) == expected {
        true => Ok(groups),
        false => Err(wrong(format!(
            "its groups have {} frames and {unpacked} bytes in {at}, expected {} and {} in {}",
            next - block.first,
            expected.0,
            expected.1,
            expected.2
        ))),
    }
}

/// Packs records into a block, group by group.
#[derive(Default)]
pub struct Packer {
    groups: Vec<Group>,
    streams: Vec<u8>,
    /// Lines of the group that is not packed yet.
    lines: Vec<u8>,
    frames: u64,
    lo: [u64; MAX_RANK],
    hi: [u64; MAX_RANK],
}

/// What a catalog says of a block, but for where it is.
pub struct Packed {
    /// The block.
    pub bytes: Vec<u8>,
    /// What it holds, with an empty extent, numbered from 0.
    pub block: LedgerBlock,
}

impl Packer {
    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.frames == 0
    }

    /// Bytes of what is in it, unpacked.
    pub fn unpacked(&self) -> u64 {
        let packed: u64 = self.groups.iter().map(|group| group.unpacked).sum();
        packed + self.lines.len() as u64
    }

    /// Adds a record at the end.
    ///
    /// # Errors
    /// When it is too large.
    pub fn push(&mut self, record: &Record) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::input(format!("cannot write the record of a frame: {error}"))
        };
        let mut line = serde_json::to_vec(record).map_err(|error| failed(&error))?;
        line.push(b'\n');
        if line.len() as u64 > MAX_UNPACKED {
            let (bytes, name) = (line.len(), &record.source);
            let what = format!("with its header it has {bytes} bytes, more than {MAX_UNPACKED}");
            return Err(failed(&what).at(std::path::Path::new(name)));
        }
        let (lo, hi) = record.bounds();
        self.add(&line, 1, &lo, &hi)
    }

    /// Adds lines at the end of the open group; packs it when it is large enough.
    fn add(
        &mut self,
        lines: &[u8],
        frames: u64,
        lo: &[u64; MAX_RANK],
        hi: &[u64; MAX_RANK],
    ) -> Result<()> {
        if self.frames == 0 {
            (self.lo, self.hi) = (*lo, *hi);
        }
        for axis in 0..MAX_RANK {
            self.lo[axis] = self.lo[axis].min(lo[axis]);
            self.hi[axis] = self.hi[axis].max(hi[axis]);
        }
        self.lines.extend_from_slice(lines);
        self.frames += frames;
        match self.lines.len() >= GROUP_BYTES {
            true => self.seal(),
            false => Ok(()),
        }
    }

    fn seal(&mut self) -> Result<()> {
        if self.frames == 0 {
            return Ok(());
        }
        let failed = |error| Error::io("cannot pack the ledger", error);
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::new(4));
        packer.write_all(&self.lines).map_err(failed)?;
        let stream = packer.finish().map_err(failed)?;
        let group = Group {
            first: 0,
            frames: std::mem::take(&mut self.frames),
            unpacked: self.lines.len() as u64,
            at: 0,
            packed: stream.len() as u64,
            lo: self.lo,
            hi: self.hi,
            check: crc32c::crc32c(&stream),
        };
        self.lines.clear();
        self.take(group, &stream);
        Ok(())
    }

    fn take(&mut self, group: Group, stream: &[u8]) {
        self.streams.extend_from_slice(stream);
        self.groups.push(group);
    }

    /// Adds a group at the end: as it is when it is large, record by record with
    /// what stands before it when it is small.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn add_group(&mut self, group: Group, stream: &[u8]) -> Result<()> {
        if group.unpacked >= GROUP_BYTES as u64 / 2 {
            self.seal()?;
            self.take(group, stream);
            return Ok(());
        }
        let lines = group.unpack(stream)?;
        self.add(&lines, group.frames, &group.lo, &group.hi)
    }

    /// Adds what another has at the end.
    ///
    /// # Errors
    /// When it cannot be packed.
    pub fn append(&mut self, other: Packer) -> Result<()> {
        let mut streams = other.streams.as_slice();
        for group in other.groups {
            let (stream, rest) = streams.split_at(group.packed as usize);
            streams = rest;
            self.add_group(group, stream)?;
        }
        match other.frames {
            0 => Ok(()),
            frames => self.add(&other.lines, frames, &other.lo, &other.hi),
        }
    }

    /// The block.
    ///
    /// # Errors
    /// When it cannot be packed.
    pub fn finish(mut self) -> Result<Packed> {
        self.seal()?;
        let mut bytes = Vec::with_capacity(self.groups.len() * GROUP_ENTRY + self.streams.len());
        for (number, group) in (0u64..).zip(&self.groups) {
            bytes.extend(group.encode(number));
        }
        bytes.append(&mut self.streams);
        let axes = || 0..MAX_RANK;
        let least = |axis: usize| self.groups.iter().map(|group| group.lo[axis]).min();
        let most = |axis: usize| self.groups.iter().map(|group| group.hi[axis]).max();
        let block = LedgerBlock {
            first: 0,
            frames: self.groups.iter().map(|group| group.frames).sum(),
            groups: self.groups.len() as u64,
            unpacked: self.unpacked(),
            lo: axes().map(|axis| least(axis).unwrap_or(0)).collect(),
            hi: axes().map(|axis| most(axis).unwrap_or(0)).collect(),
            extent: Extent {
                at: 0,
                bytes: 0,
                check: 0,
            },
        };
        Ok(Packed { bytes, block })
    }
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

    fn record(frame: u64, cards: &str) -> Record {
        Record {
            frame,
            slots: vec![vec![Piece(frame, 1)]; MAX_RANK],
            cards: cards.into(),
            ..Record::default()
        }
    }

    /// All records of a block, each group read by its own stream.
    fn read(packed: &Packed) -> Result<Vec<Record>> {
        let mut block = packed.block.clone();
        block.extent.bytes = packed.bytes.len() as u64;
        let table = &packed.bytes[..table_bytes(&block)? as usize];
        let mut all = Vec::new();
        for group in groups(&block, table)? {
            let stream = &packed.bytes[group.at as usize..][..group.packed as usize];
            for record in group.records(stream)?.iter() {
                all.push(record?);
            }
        }
        Ok(all)
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
        let mut packer = Packer::default();
        packer.push(&record).unwrap();
        let back = read(&packer.finish().unwrap()).unwrap();
        assert_eq!(back, [record]);
        assert_eq!(cards_from_text(&back[0].cards), every);
    }

    #[test]
    fn small_groups_are_packed_together_and_large_ones_are_kept() {
        // Blocks as commits leave them: of one record, of many, of one again.
        let mut blocks = Vec::new();
        let mut all = Vec::new();
        for (frames, chars) in [(1, 10), (3, 10), (40, 3000), (1, 70_000), (2, 5)] {
            let mut packer = Packer::default();
            for _ in 0..frames {
                let record = record(all.len() as u64, &"x".repeat(chars));
                packer.push(&record).unwrap();
                all.push(record);
            }
            blocks.push(packer);
        }
        let mut merged = Packer::default();
        for packer in blocks {
            merged.append(packer).unwrap();
        }
        let packed = merged.finish().unwrap();
        assert_eq!(packed.block.frames, 47);
        assert_eq!(packed.block.groups, 5);
        assert_eq!((packed.block.lo[2], packed.block.hi[2]), (0, 47));
        assert_eq!(read(&packed).unwrap(), all);
    }

    #[test]
    fn no_changed_bit_of_a_block_goes_unseen() {
        let mut packer = Packer::default();
        for frame in 0..3 {
            packer.push(&record(frame, &"y".repeat(40_000))).unwrap();
        }
        let good = packer.finish().unwrap();
        assert_eq!(good.block.groups, 2);
        for bit in 0..good.bytes.len() * 8 {
            let mut bad = Packed {
                bytes: good.bytes.clone(),
                block: good.block.clone(),
            };
            bad.bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_group_cannot_unpack_to_more_than_it_says() {
        let mut packer = Packer::default();
        packer.push(&record(0, &"z".repeat(1 << 20))).unwrap();
        let packed = packer.finish().unwrap();
        let mut block = packed.block.clone();
        block.extent.bytes = packed.bytes.len() as u64;
        let (table, stream) = packed.bytes.split_at(GROUP_ENTRY);
        let mut group = groups(&block, table).unwrap().remove(0);
        assert!(group.records(stream).is_ok());
        group.unpacked -= 1;
        assert!(group.records(stream).is_err());
        group.unpacked = u64::MAX;
        assert!(group.records(stream).is_err());
        block.groups = u64::MAX;
        assert!(table_bytes(&block).is_err());
    }
}
