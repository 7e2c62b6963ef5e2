//! The frames' records, block by block.
//!
//! Blocks are never changed. Small ones are merged when eight of about one size
//! have gathered, so their number stays logarithmic and a record is rewritten a
//! few times at most. One group of a block is read without the others.

use std::ops::{Deref, Range};

use super::Coordinates;
use super::pieces::{BySlot, Pieces};
use super::snapshot::Snapshot;
use crate::error::Result;
use crate::format::catalog::{LedgerBlock, Piece};
use crate::format::ledger::{self, Group, Packer, Record, Records};
use crate::region::{MAX_RANK, Span};
use crate::storage::Storage;

/// So many blocks of about one size become one.
const MERGE: usize = 8;

/// Blocks that unpack to more are left as they are.
const MERGE_UP_TO: u64 = 16 << 20;

/// Takes the newest blocks of `blocks` in before what is pending, where eight of
/// about one size, the pending one counted, stand at the end.
pub(super) fn merge(
    mut pending: Packer,
    storage: &dyn Storage,
    blocks: &mut Vec<LedgerBlock>,
) -> Result<Packer> {
    let class = |bytes: u64| bytes.max(1).ilog2() / 3;
    loop {
        let mine = class(pending.unpacked());
        let alike = blocks
            .iter()
            .rev()
            .take_while(|block| class(block.unpacked) <= mine);
        let count = alike.count();
        let tail = &blocks[blocks.len() - count..];
        let together: u64 = tail.iter().map(|block| block.unpacked).sum();
        if count + 1 < MERGE || together + pending.unpacked() > MERGE_UP_TO {
            return Ok(pending);
        }
        let mut merged = Packer::default();
        for block in blocks.split_off(blocks.len() - count) {
            for group in groups_of(storage, &block)? {
                let stream = storage.read(block.extent.at + group.at, group.packed)?;
                merged.add_group(group, &stream)?;
            }
        }
        merged.append(pending)?;
        pending = merged;
    }
}

/// The groups of a block; their streams lie inside its extent.
pub(super) fn groups_of(storage: &dyn Storage, block: &LedgerBlock) -> Result<Vec<Group>> {
    let table = storage.read(block.extent.at, ledger::table_bytes(block)?)?;
    ledger::groups(block, &table)
}

/// The records of a group of the block.
pub(super) fn records_of(
    storage: &dyn Storage,
    block: &LedgerBlock,
    group: &Group,
) -> Result<Records> {
    let stream = storage.read(block.extent.at + group.at, group.packed)?;
    group.records(&stream)
}

/// Where frames stand now: the position of a slot on every axis.
pub struct Positions([BySlot; MAX_RANK]);

impl Positions {
    pub(super) fn new(pieces: &[Pieces; MAX_RANK]) -> Positions {
        Positions(std::array::from_fn(|axis| pieces[axis].by_slot()))
    }

    /// Position of the frame's first sample that the cube still holds, and
    /// whether it holds all of them one after the other, in order; `None` when
    /// the frame was taken out.
    pub fn of(&self, record: &Record) -> Option<(Coordinates, bool)> {
        let mut first = [0; MAX_RANK];
        let mut whole = true;
        for (axis, runs) in record.slots.iter().take(MAX_RANK).enumerate() {
            let mut expected = None;
            for &Piece(slot, len) in runs {
                for (position, len) in self.0[axis].runs(slot, len) {
                    let Some(position) = position else {
                        whole = false;
                        continue;
                    };
                    match expected {
                        None => first[axis] = position,
                        Some(expected) => whole &= expected == position,
                    }
                    expected = Some(position + len);
                }
            }
            expected?;
        }
        Some((first, whole))
    }

    /// Where the frame's samples stand on an axis: runs of positions, and how
    /// long each is.
    pub fn runs(&self, record: &Record, axis: usize) -> Vec<(u64, u64)> {
        let runs = self.pixels(record, axis);
        runs.map(|(_, position, len)| (position, len)).collect()
    }

    /// The same, with the number of each run's first pixel in the frame, from 0, before it.
    pub fn pixels(
        &self,
        record: &Record,
        axis: usize,
    ) -> impl Iterator<Item = (u64, u64, u64)> + use<> {
        let slots = record.slots.get(axis).map_or(&[][..], |slots| slots);
        let runs = slots
            .iter()
            .flat_map(|&Piece(slot, len)| self.0[axis].runs(slot, len));
        let runs: Vec<(Option<u64>, u64)> = runs.collect();
        let mut next = 0;
        runs.into_iter().filter_map(move |(position, len)| {
            let pixel = next;
            next += len;
            Some((pixel, position?, len))
        })
    }

    /// The same, position by position.
    pub fn along(&self, record: &Record, axis: usize) -> impl Iterator<Item = u64> {
        let runs = self.runs(record, axis).into_iter();
        runs.flat_map(|(position, len)| position..position + len)
    }

    /// The frame as it is in a cube whose slots are the positions of this one.
    /// Pixels that were taken out get slots from `beyond` on, which are no
    /// position; says how many of them each axis needs. `None` when no pixel is
    /// left.
    pub fn renumber(
        &self,
        mut record: Record,
        beyond: &Coordinates,
    ) -> Option<(Record, Coordinates)> {
        let mut lost = [0; MAX_RANK];
        for axis in 0..MAX_RANK {
            let mut slots: Vec<Piece> = Vec::new();
            let mut left = false;
            for &Piece(slot, len) in &record.slots[axis] {
                for (position, len) in self.0[axis].runs(slot, len) {
                    left |= position.is_some();
                    let slot = position.unwrap_or_else(|| {
                        let slot = beyond[axis].saturating_add(lost[axis]);
                        lost[axis] = lost[axis].saturating_add(len);
                        slot
                    });
                    match slots.last_mut() {
                        Some(last) if last.0.checked_add(last.1) == Some(slot) => last.1 += len,
                        _ => slots.push(Piece(slot, len)),
                    }
                }
            }
            if !left {
                return None;
            }
            record.slots[axis] = slots;
        }
        if lost != [0; MAX_RANK] {
            record.partial = true;
            record.check = 0;
        }
        Some((record, lost))
    }
}

impl Snapshot {
    /// Finds positions by slot on every axis.
    pub fn positions(&self) -> Positions {
        Positions::new(&self.pieces)
    }

    /// Calls `each` for every record, in order of arrival, also of frames that
    /// were taken out since; stops at the first error.
    pub fn for_each_record(&self, each: &mut dyn FnMut(Record) -> Result<()>) -> Result<()> {
        self.each_record(&|_| true, &|_| true, each)
    }

    /// Calls `each` at least for the records of frames that hold slots of these ranges,
    /// on all axes, as [`Snapshot::for_each_record`] does. Blocks and groups that hold
    /// none are not read.
    pub fn for_each_record_of(
        &self,
        slots: &[Range<u64>; MAX_RANK],
        each: &mut dyn FnMut(Record) -> Result<()>,
    ) -> Result<()> {
        self.for_each_record_where(&|lo, hi| ledger::meet(lo, hi, slots), each)
    }

    /// The same, for blocks and groups whose least slots, and ones past the greatest on
    /// each axis, `may_be` those of frames that are wanted.
    pub fn for_each_record_where(
        &self,
        may_be: &dyn Fn(&[u64], &[u64]) -> bool,
        each: &mut dyn FnMut(Record) -> Result<()>,
    ) -> Result<()> {
        self.each_record(
            &|block| may_be(&block.lo, &block.hi),
            &|group| may_be(&group.lo, &group.hi),
            each,
        )
    }

    /// Calls `each` at least for the records of the frames that have these numbers, which
    /// ascend.
    pub fn for_each_record_numbered(
        &self,
        frames: &[u64],
        each: &mut dyn FnMut(Record) -> Result<()>,
    ) -> Result<()> {
        let has = |first: u64, len: u64| {
            let next = frames.partition_point(|&frame| frame < first);
            frames.get(next).is_some_and(|&frame| frame - first < len)
        };
        self.each_record(
            &|block| has(block.first, block.frames),
            &|group| has(group.first, group.frames),
            each,
        )
    }

    fn each_record(
        &self,
        in_block: &dyn Fn(&LedgerBlock) -> bool,
        in_group: &dyn Fn(&Group) -> bool,
        each: &mut dyn FnMut(Record) -> Result<()>,
    ) -> Result<()> {
        let storage = self.storage.as_ref();
        for block in self.catalog.ledger.iter().filter(|block| in_block(block)) {
            for group in groups_of(storage, block)? {
                if in_group(&group) {
                    for record in records_of(storage, block, &group)?.iter() {
                        each(record?)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The frame whose header speaks for the cube.
    pub fn header_record(&self) -> Result<Option<Record>> {
        let frame = self.catalog.header_frame;
        frame.map_or(Ok(None), |frame| self.record_reader().get(frame))
    }

    /// Least slot and one past the greatest on each axis, of these positions (one
    /// span per axis, x first; axes left out are at their first position).
    pub fn slot_ranges(&self, spans: &[Span]) -> [Range<u64>; MAX_RANK] {
        std::array::from_fn(|axis| {
            let span = spans.get(axis).copied().unwrap_or(Span::run(0, 1));
            let last = span.at(span.len.saturating_sub(1));
            let (least, most) = (span.start.min(last), span.start.max(last));
            let runs = self.pieces[axis].runs(least, most - least + 1);
            let begin = runs.iter().map(|run| run.slot).min().unwrap_or(0);
            let end = runs.iter().map(|run| run.slot + run.len).max();
            begin..end.unwrap_or(0)
        })
    }

    /// The frame that a sample came with, by the sample's slots. `None` in void.
    pub fn record_at(&self, slots: &Coordinates) -> Result<Option<Record>> {
        let storage = self.storage.as_ref();
        let at = slots.map(|slot| slot..slot.saturating_add(1));
        for block in self.catalog.ledger.iter().rev() {
            if !ledger::meet(&block.lo, &block.hi, &at) {
                continue;
            }
            for group in groups_of(storage, block)?.iter().rev() {
                if ledger::meet(&group.lo, &group.hi, &at) {
                    let records = records_of(storage, block, group)?;
                    if let Some(found) = records.holding(slots)? {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// Reads records by number; neighbours come from one group.
pub struct RecordReader<S> {
    snapshot: S,
    group: Option<Records>,
}

impl Snapshot {
    /// Reads records by number.
    pub fn record_reader(&self) -> RecordReader<&Snapshot> {
        RecordReader::new(self)
    }
}

impl<S: Deref<Target = Snapshot>> RecordReader<S> {
    /// Reads the records of this snapshot.
    pub fn new(snapshot: S) -> RecordReader<S> {
        RecordReader {
            snapshot,
            group: None,
        }
    }

    /// The record of the frame with this number.
    pub fn get(&mut self, frame: u64) -> Result<Option<Record>> {
        let at_hand = self
            .group
            .as_ref()
            .map(|group| group.get(frame))
            .transpose()?;
        if let Some(record) = at_hand.flatten() {
            return Ok(Some(record));
        }
        let (storage, ledger) = (&self.snapshot.storage, &self.snapshot.catalog.ledger);
        let inside = |first: u64, frames: u64| first <= frame && frame - first < frames;
        let mut blocks = ledger.iter();
        let Some(block) = blocks.find(|block| inside(block.first, block.frames)) else {
            return Ok(None);
        };
        let groups = groups_of(storage.as_ref(), block)?;
        let mut groups = groups.iter();
        let Some(group) = groups.find(|group| inside(group.first, group.frames)) else {
            return Ok(None);
        };
        let records = records_of(storage.as_ref(), block, group)?;
        self.group.insert(records).get(frame)
    }
}
