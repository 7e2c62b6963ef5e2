//! Frames read again from their slots and held against the checks that were
//! taken when they came in.
//!
//! A frame's slots are its own for ever, so it can be read also when its
//! positions were moved or taken out; patches are left aside, for they came
//! after the check.

use std::sync::Arc;

use super::Coordinates;
use super::index::show_tile;
use super::pieces::Run;
use super::records::{groups_of, records_of};
use super::snapshot::Snapshot;
use super::tiles::{Tile, cut_runs};
use super::verify::{Fault, record_fault};
use super::void::count_other;
use crate::error::Result;
use crate::format::MAX_OFFSET;
use crate::format::catalog::Piece;
use crate::format::ledger::Record;
use crate::region::{MAX_RANK, Parts, places};
use crate::storage::copied::Copied;

/// Samples are read in parts of at most this many bytes.
const MOST_AT_ONCE: u64 = 16 << 20;

/// A fault names at most so many tiles, and so many ranges of bytes.
const MOST_NAMED: usize = 1000;

/// So many tiles of a damaged frame are looked up.
const MOST_LOOKED_UP: u64 = 1 << 20;

/// Reads frames by their slots.
pub struct FrameReader {
    /// The cube, its positions those of one frame.
    view: Snapshot,
    buffer: Vec<u8>,
    at_once: u64,
    /// Samples other than pad, of all frames read so far; `None` when nobody asks.
    present: Option<u64>,
}

impl FrameReader {
    /// Reads frames of this commit's ledger as they came in, with at most so many
    /// bytes of memory.
    pub fn new(snapshot: &Snapshot, memory: u64) -> FrameReader {
        FrameReader::patched(&snapshot.without_patches(), memory)
    }

    /// The same, patches put over.
    pub fn patched(snapshot: &Snapshot, memory: u64) -> FrameReader {
        let storage = Arc::new(Copied(snapshot.storage.clone()));
        FrameReader {
            view: snapshot.through(storage),
            buffer: Vec::new(),
            at_once: (memory / 2).clamp(1, MOST_AT_ONCE),
            present: None,
        }
    }

    /// Counts the samples other than pad from here on.
    pub fn count_present(&mut self) {
        self.present = Some(0);
    }

    /// How many there were.
    pub fn present(&self) -> u64 {
        self.present.unwrap_or(0)
    }

    /// Reads a frame; returns what is wrong with it. `progress` is told of bytes
    /// as they are read, and says whether to go on.
    ///
    /// # Errors
    /// When it is not to go on.
    pub fn verify(
        &mut self,
        record: &Record,
        progress: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Option<Fault>> {
        // There is nothing to hold it against.
        if record.partial && self.present.is_none() {
            return Ok(None);
        }
        // What is impossible was told of by whoever looked at the ledger.
        if record_fault(&[MAX_OFFSET; MAX_RANK], record).is_some() || record.samples().is_none() {
            return Ok(None);
        }
        let mut stopped = None;
        let found = self.check(record, &mut |bytes| match progress(bytes) {
            Ok(()) => true,
            Err(error) => {
                stopped = Some(error);
                false
            }
        });
        if let Some(stopped) = stopped {
            return Err(stopped);
        }
        let what = match found {
            Ok(found) if found == record.check || record.partial => return Ok(None),
            Ok(found) => format!(
                "checksum of its samples is {found:08x}, expected {:08x}",
                record.check
            ),
            Err(error) => format!("its samples cannot be read: {error}"),
        };
        Ok(Some(self.narrow(record, what)))
    }

    /// The check of a frame's samples; `more` is told of bytes and says whether
    /// to go on.
    pub fn check(&mut self, record: &Record, more: &mut dyn FnMut(u64) -> bool) -> Result<u32> {
        self.view.look_at(record);
        let shape: Coordinates = std::array::from_fn(|axis| self.view.pieces[axis].len());
        let mut check = 0;
        let size = self.view.geometry.size;
        for spans in Parts::new(&shape, self.at_once / size as u64) {
            let samples: u64 = spans.iter().map(|span| span.len).product();
            self.buffer.resize(samples as usize * size, 0);
            self.view.read(&spans, &mut self.buffer)?;
            check = crc32c::crc32c_append(check, &self.buffer);
            if let Some(present) = &mut self.present {
                *present += count_other(&self.buffer, self.view.catalog.pad, size);
            }
            if !more(self.buffer.len() as u64) {
                break;
            }
        }
        Ok(check)
    }

    /// Says in which tiles the frame is: the data tell no more.
    fn narrow(&self, record: &Record, what: String) -> Fault {
        let geometry = &self.view.geometry;
        let spread = |axis: usize| self.view.pieces[axis].len() / geometry.tile[axis];
        if (0..MAX_RANK).any(|axis| spread(axis) > MOST_LOOKED_UP) {
            return Fault {
                what,
                frame: Some(record.frame),
                ..Fault::default()
            };
        }
        let segments: [Vec<_>; MAX_RANK] = std::array::from_fn(|axis| {
            let runs = record.slots[axis].iter();
            let runs: Vec<Run> = runs
                .map(|&Piece(slot, len)| Run {
                    position: 0,
                    slot,
                    len,
                })
                .collect();
            let mut segments = cut_runs(&runs, geometry.tile[axis]);
            segments.sort_unstable_by_key(|segment| segment.tile);
            // Of each tile the first and the last coordinate inside it.
            let mut ends: Vec<(u64, u64, u64)> = Vec::new();
            for segment in segments {
                let last = segment.inner + segment.len - 1;
                match ends.last_mut() {
                    Some(end) if end.0 == segment.tile => {
                        *end = (end.0, end.1.min(segment.inner), end.2.max(last));
                    }
                    _ => ends.push((segment.tile, segment.inner, last)),
                }
            }
            ends
        });
        let mut fault = Fault {
            frame: Some(record.frame),
            ..Fault::default()
        };
        let mut index = self.view.index();
        let (mut stored, mut void, mut lost) = (0u64, 0u64, Vec::new());
        let lens = segments.each_ref().map(|segments| segments.len() as u64);
        for number in places(lens).take(MOST_LOOKED_UP as usize) {
            let ends: [(u64, u64, u64); MAX_RANK] =
                std::array::from_fn(|axis| segments[axis][number[axis] as usize]);
            let tile = ends.map(|end| end.0);
            match index.tile(&tile) {
                Ok(None) => void += 1,
                Ok(Some(Tile { at, .. })) => {
                    stored += 1;
                    let from = at + geometry.offset(&ends.map(|end| end.1)) as u64;
                    let last = at + geometry.offset(&ends.map(|end| end.2)) as u64;
                    let bytes = last - from + geometry.size as u64;
                    if fault.tiles.len() < MOST_NAMED {
                        fault.tiles.push((tile, at));
                        match fault.bytes.last_mut() {
                            Some(range) if range.0 + range.1 == from => range.1 += bytes,
                            _ => fault.bytes.push((from, bytes)),
                        }
                    }
                }
                Err(_) => lost.push(tile),
            }
        }
        fault.what = what;
        if let Some(lost) = lost.first() {
            fault.what += &format!("; the place of tile {} is lost", show_tile(lost));
        } else if stored == 1 && void == 0 {
            fault.what += "; the damage is in its tile";
        } else if void == 0 {
            fault.what += &format!("; at least one of its {stored} tiles is damaged");
        } else {
            fault.what += &format!(
                "; at least one of its {stored} tiles is damaged, or one of the {void} that are void \
                 has lost its index entry"
            );
        }
        fault
    }
}

impl Snapshot {
    /// Every record that can be read; those that cannot are passed over.
    pub fn readable(&self) -> impl Iterator<Item = Record> + Send {
        let storage = self.storage.as_ref();
        let groups = self.catalog.ledger.iter().flat_map(|block| {
            let groups = groups_of(storage, block).unwrap_or_default();
            groups.into_iter().map(move |group| (block, group))
        });
        groups.flat_map(|(block, group)| {
            let records = records_of(storage, block, &group);
            let records = records.map(|records| records.iter().flatten().collect());
            records.unwrap_or_else(|_| Vec::new())
        })
    }
}
