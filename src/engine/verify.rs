//! Does the structure of a cube hold? Everything that its commits can reach is
//! looked at: superblocks, catalogs, piece tables, the index, the ledger, patch
//! sets, and where the tiles stand. Samples are held against the frames' checks
//! in [`super::reread`].
//!
//! A fault does not end the search. Memory is bounded whatever the file claims:
//! the index is read piece by piece, and tiles are looked at a window of the
//! file at a time.

use std::collections::HashSet;
use std::sync::Arc;

use super::Coordinates;
use super::index::show_tile;
use super::records::{groups_of, records_of};
use super::snapshot::{Snapshot, choose_superblock, read_checked};
use crate::error::{Kind, Result};
use crate::format::catalog::{IndexBox, LedgerBlock, PatchSet, Piece};
use crate::format::entry::{self, ENTRY_BYTES, Entry};
use crate::format::ledger::{Group, Record};
use crate::format::patches::PatchReader;
use crate::format::superblock::{FIRST_FREE, SUPERBLOCK_AT, SUPERBLOCK_BYTES, Superblock};
use crate::format::{Extent, PAGE};
use crate::region::{AXIS_NAMES, MAX_RANK};
use crate::storage::Storage;
use crate::storage::copied::Copied;

/// The index is read in pieces of this many bytes.
const PIECE: u64 = 1 << 20;

/// So many entries at once are seen to be void.
const BLOCK: usize = 4096;

/// What is wrong, and where.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// It may well be in order: what a loss of power leaves.
    pub notice: bool,
    /// What is wrong, for people.
    pub what: String,
    /// The frame that it was found in.
    pub frame: Option<u64>,
    /// The tiles concerned, with their offsets.
    pub tiles: Vec<(Coordinates, u64)>,
    /// The bytes of the file concerned, `(at, bytes)`.
    pub bytes: Vec<(u64, u64)>,
}

impl Fault {
    fn at(what: impl Into<String>, at: u64, bytes: u64) -> Fault {
        Fault {
            what: what.into(),
            bytes: vec![(at, bytes)],
            ..Fault::default()
        }
    }
}

/// Told of every fault; an error ends the search.
pub type Faults<'f> = &'f mut dyn FnMut(Fault) -> Result<()>;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extents {
    /// Tiles that the index names.
    pub tiles: u64,
    /// Commands whose catalogs are there, the newest counted.
    pub catalogs: u64,
}

/// Everything that some commit refers to, each part once.
#[derive(Default)]
struct Reached {
    boxes: Vec<IndexBox>,
    ledger: Vec<(LedgerBlock, u64)>,
    patches: Vec<PatchSet>,
    /// Where metadata stands: `(at, end, what)`, sorted in the end.
    ranges: Vec<(u64, u64, &'static str)>,
}

/// Looks at the structure of a cube; returns the newest commit, if it can be
/// opened, and what was seen.
///
/// # Errors
/// When the file is no cube, or `faults` fails.
pub fn structure(
    storage: &Arc<dyn Storage>,
    memory: u64,
    faults: Faults<'_>,
) -> Result<(Option<Snapshot>, Extents)> {
    let storage: Arc<dyn Storage> = Arc::new(Copied(storage.clone()));
    let newest = match Snapshot::open(storage.clone()) {
        Ok(newest) => newest,
        Err(error) if error.kind() == Kind::Damaged => {
            faults(Fault {
                what: error.to_string(),
                ..Fault::default()
            })?;
            return Ok((None, Extents::default()));
        }
        Err(error) => return Err(error),
    };
    let mut look = Look {
        storage: storage.as_ref(),
        marks: choose_superblock(storage.as_ref())?.superblock.marks,
        faults,
    };
    look.superblocks(&newest)?;
    let (reached, catalogs) = look.history(&storage, &newest)?;
    look.ledger(&reached)?;
    let tiles = look.tiles(&newest, &reached, memory)?;
    Ok((Some(newest), Extents { tiles, catalogs }))
}

struct Look<'a> {
    storage: &'a dyn Storage,
    /// Slots handed out so far.
    marks: Coordinates,
    faults: Faults<'a>,
}

impl Look<'_> {
    /// One that does not hold is what a loss of power leaves, and also what is
    /// left of a newer commit that was damaged: nobody can tell.
    fn superblocks(&mut self, newest: &Snapshot) -> Result<()> {
        let mut told = false;
        for at in SUPERBLOCK_AT {
            let bytes = match self.storage.read(at, SUPERBLOCK_BYTES as u64) {
                Ok(bytes) => bytes,
                Err(error) => {
                    (self.faults)(Fault::at(error.to_string(), at, PAGE))?;
                    told = true;
                    continue;
                }
            };
            // In a cube that was just made the second one was never written.
            if let Err(error) = Superblock::decode(&bytes)
                && bytes.iter().any(|&byte| byte != 0)
            {
                let what = format!(
                    "superblock at byte {at}: {error}; the other one holds and is of generation {}; a loss \
                     of power leaves it so, and the next command that writes mends it, but without \
                     one a later commit may be lost",
                    newest.catalog.generation
                );
                told = true;
                (self.faults)(Fault {
                    notice: true,
                    ..Fault::at(what, at, PAGE)
                })?;
            }
        }
        // One that was overwritten with zeros, or with what it was before.
        if let Some(notice) = newest.notice().filter(|_| !told) {
            (self.faults)(Fault {
                notice: true,
                what: notice.to_string(),
                ..Fault::default()
            })?;
        }
        Ok(())
    }

    /// Goes back from commit to commit and gathers what they refer to.
    fn history(&mut self, storage: &Arc<dyn Storage>, newest: &Snapshot) -> Result<(Reached, u64)> {
        let mut reached = Reached::default();
        let mut seen: HashSet<(u64, u64, &'static str)> = HashSet::new();
        reached.ranges.push((0, FIRST_FREE, "superblocks"));
        let mut count = 0;
        let mut older: Option<Snapshot> = None;
        loop {
            let commit = older.as_ref().unwrap_or(newest);
            count += 1;
            let catalog = &commit.catalog;
            let mut reach = |at: u64, bytes: u64, what: &'static str| {
                let new = seen.insert((at, bytes, what));
                if new {
                    let end = at.saturating_add(bytes);
                    reached.ranges.push((at, end, what));
                }
                new
            };
            reach(commit.extent.at, commit.extent.bytes, "catalog");
            for axis in &catalog.axes {
                if let Some(table) = &axis.table {
                    reach(table.extent.at, table.extent.bytes, "piece table");
                }
            }
            for index in &catalog.index {
                if reach(index.at, index.bytes().unwrap_or(0), "index table") {
                    reached.boxes.push(index.clone());
                }
            }
            for block in &catalog.ledger {
                if reach(block.extent.at, block.extent.bytes, "ledger block") {
                    reached.ledger.push((block.clone(), catalog.generation));
                }
            }
            for set in &catalog.patches {
                if reach(set.extent.at, set.extent.bytes, "patch set") {
                    reached.patches.push(set.clone());
                }
            }
            let beyond = catalog.axes.iter().zip(self.marks).zip(AXIS_NAMES);
            for ((axis, mark), name) in beyond {
                if axis.slots > mark {
                    let what = format!(
                        "catalog at byte {}: axis {name} has {} slots, but {mark} were handed out",
                        commit.extent.at, axis.slots
                    );
                    (self.faults)(Fault::at(what, commit.extent.at, commit.extent.bytes))?;
                }
            }
            let Some(previous) = catalog.previous else {
                break;
            };
            let (generation, at) = (catalog.generation, commit.extent.at);
            let wrong = |error: &dyn std::fmt::Display| {
                let what = format!(
                    "catalog at byte {}, before generation {generation}: {error}; \
                     undo cannot go behind generation {generation}",
                    previous.at
                );
                Fault::at(what, previous.at, previous.bytes)
            };
            match Snapshot::at(storage.clone(), &previous, newest.committed()) {
                // Generations go down, so this ends.
                Ok(before) if before.catalog.generation < generation => older = Some(before),
                Ok(before) => {
                    let found = before.catalog.generation;
                    let what = format!("is of generation {found}, and not older than byte {at}");
                    (self.faults)(wrong(&what))?;
                    break;
                }
                Err(error) => {
                    (self.faults)(wrong(&error))?;
                    break;
                }
            }
        }
        reached.ranges.sort_unstable();
        for pair in reached.ranges.windows(2) {
            let ((a, end, what), (b, _, other)) = (pair[0], pair[1]);
            if b < end {
                let what = format!("{what} at byte {a} and {other} at byte {b} overlap");
                (self.faults)(Fault::at(what, b, end - b))?;
            }
        }
        Ok((reached, count))
    }

    fn ledger(&mut self, reached: &Reached) -> Result<()> {
        for (block, generation) in &reached.ledger {
            let Extent { at, bytes, .. } = block.extent;
            let groups = match groups_of(self.storage, block) {
                Ok(groups) => groups,
                Err(error) => {
                    let what = format!(
                        "{error}; it has the records of {} frames from number {} on, of generation {generation}",
                        block.frames, block.first
                    );
                    (self.faults)(Fault::at(what, at, bytes))?;
                    continue;
                }
            };
            let mut sound = true;
            for group in &groups {
                let records = records_of(self.storage, block, group);
                match records.and_then(|records| records.iter().collect::<Result<Vec<_>>>()) {
                    Ok(records) => self.records(block, group, &records)?,
                    Err(error) => {
                        sound = false;
                        let what = format!(
                            "ledger block at byte {at}: {error}, of generation {generation}"
                        );
                        (self.faults)(Fault::at(what, at, bytes))?;
                    }
                }
            }
            if let (true, Err(error)) = (
                sound,
                read_checked(self.storage, &block.extent, "ledger block"),
            ) {
                (self.faults)(Fault::at(error.to_string(), at, bytes))?;
            }
        }
        Ok(())
    }

    fn records(&mut self, block: &LedgerBlock, group: &Group, records: &[Record]) -> Result<()> {
        for record in records {
            let fault = record_fault(&self.marks, record).or_else(|| {
                let (lo, hi) = record.bounds();
                let inside = (0..MAX_RANK).all(|axis| {
                    let (least, most) = (group.lo[axis], group.hi[axis]);
                    block.lo[axis] <= least
                        && least <= lo[axis]
                        && hi[axis] <= most
                        && most <= block.hi[axis]
                });
                (!inside).then(|| "its slots are not in the range of its block".to_string())
            });
            if let Some(what) = fault {
                (self.faults)(Fault {
                    what: format!("record: {what}"),
                    frame: Some(record.frame),
                    bytes: vec![(block.extent.at, block.extent.bytes)],
                    ..Fault::default()
                })?;
            }
        }
        Ok(())
    }

    /// Looks at every entry of the index and where its tile stands; returns how
    /// many tiles there are.
    fn tiles(&mut self, newest: &Snapshot, reached: &Reached, memory: u64) -> Result<u64> {
        let pitch = newest.geometry.pitch();
        let bytes = newest.geometry.bytes as u64;
        let sets = self.patch_sets(newest, reached)?;
        // Tiles that do not overlap number at most `most` in a window.
        let most = (memory / 4 / 24).max(1 << 10);
        let window = most.saturating_mul(pitch);
        let mut from = 0;
        let mut count = 0;
        loop {
            let upto = window.saturating_add(from);
            // Where tiles are, and where their entries are.
            let mut found: Vec<(u64, u64, usize)> = Vec::new();
            let mut next = None;
            let len = self.storage.len()?;
            for (number, index) in reached.boxes.iter().enumerate() {
                let mut seen = |place: u64, tile: &Coordinates, read: Result<Entry>| {
                    let damaged = |what: String| Fault {
                        tiles: vec![(*tile, 0)],
                        ..Fault::at(what, place, ENTRY_BYTES)
                    };
                    match read {
                        Ok(Entry::Void) => Ok(()),
                        Ok(Entry::Tile { at, .. }) => {
                            let end = at.saturating_add(bytes);
                            // The file may have grown since.
                            if end > len && end > self.storage.len()? {
                                return match from {
                                    0 => (self.faults)(damaged(format!(
                                        "tile {} at byte {at}: it ends at byte {end}, past the end of \
                                         the file, which has {len}",
                                        show_tile(tile)
                                    ))),
                                    _ => Ok(()),
                                };
                            }
                            if at >= upto {
                                next = Some(at.min(next.unwrap_or(at)));
                            }
                            if (from..upto).contains(&at) && found.len() as u64 <= most {
                                found.push((at, place, number));
                            }
                            Ok(())
                        }
                        // Only once, however many windows there are.
                        _ if from > 0 => Ok(()),
                        Ok(Entry::Damaged) => (self.faults)(damaged(format!(
                            "index entry at byte {place}, of tile {}: its checksum does not hold",
                            show_tile(tile)
                        ))),
                        Err(error) => (self.faults)(damaged(format!("index table: {error}"))),
                    }
                };
                each_entry(self.storage, index, &mut seen)?;
            }
            found.sort_unstable();
            let mut before: Option<(u64, u64, usize)> = None;
            for &(at, place, number) in &found {
                let named = |place: u64, number: usize| {
                    let index = &reached.boxes[number];
                    tile_at(index, (place - index.at) / ENTRY_BYTES)
                };
                let tile = named(place, number);
                let mut wrong = |what: String| {
                    (self.faults)(Fault {
                        what: format!("tile {} at byte {at}: {what}", show_tile(&tile)),
                        tiles: vec![(tile, at)],
                        bytes: vec![(at, bytes)],
                        ..Fault::default()
                    })
                };
                let end = at.saturating_add(bytes);
                if !at.is_multiple_of(PAGE) {
                    wrong(format!("not at a multiple of {PAGE}"))?;
                }
                let range = reached.ranges.partition_point(|range| range.1 <= at);
                if let Some((begin, _, what)) = reached.ranges.get(range)
                    && *begin < end
                {
                    wrong(format!("it overlaps the {what} at byte {begin}"))?;
                }
                if let Some((last, place, number)) = before
                    && at - last < pitch
                {
                    let other = show_tile(&named(place, number));
                    wrong(format!("it overlaps tile {other} at byte {last}"))?;
                }
                before = Some((at, place, number));
            }
            count += found.len() as u64;
            self.patched_tiles(newest, &sets, (from, upto), &found)?;
            match next {
                Some(next) => from = next,
                None => return Ok(count),
            }
        }
    }

    /// Looks at the patch sets; returns those that can be read.
    fn patch_sets(&mut self, newest: &Snapshot, reached: &Reached) -> Result<Vec<Extent>> {
        let mut good = Vec::new();
        let samples = (newest.geometry.bytes / newest.geometry.size) as u64;
        for set in &reached.patches {
            let extent = &set.extent;
            let named = |what: String| format!("patch set at byte {}: {what}", extent.at);
            let fault = match read_checked(self.storage, extent, "patch set") {
                Ok(bytes) => match PatchReader::new(&bytes, newest.catalog.dtype) {
                    Ok(reader) if reader.len() != set.samples => Some(named(format!(
                        "it has {} samples, expected {}",
                        reader.len(),
                        set.samples
                    ))),
                    Ok(reader) => reader.fault(samples).map(named),
                    Err(error) => Some(named(error.to_string())),
                },
                Err(error) => Some(error.to_string()),
            };
            match fault {
                None => good.push(*extent),
                Some(what) => {
                    (self.faults)(Fault::at(what, extent.at, extent.bytes))?;
                }
            }
        }
        Ok(good)
    }

    /// Are the tiles that patches are for among those of the index?
    fn patched_tiles(
        &mut self,
        newest: &Snapshot,
        sets: &[Extent],
        (from, upto): (u64, u64),
        found: &[(u64, u64, usize)],
    ) -> Result<()> {
        for extent in sets {
            let bytes = read_checked(self.storage, extent, "patch set")?;
            for at in PatchReader::new(&bytes, newest.catalog.dtype)?.tiles() {
                let at = at?;
                let here = (from..upto).contains(&at);
                if here && found.binary_search_by_key(&at, |tile| tile.0).is_err() {
                    let what = format!(
                        "patch set at byte {}: there is no tile at byte {at}",
                        extent.at
                    );
                    (self.faults)(Fault::at(what, extent.at, extent.bytes))?;
                }
            }
        }
        Ok(())
    }
}

/// What is impossible in a record, given the slots handed out so far.
pub(super) fn record_fault(marks: &Coordinates, record: &Record) -> Option<String> {
    if record.shape.len() > MAX_RANK {
        return Some(format!("{} axes", record.shape.len()));
    }
    for axis in 0..MAX_RANK {
        let mut len = 0u64;
        for &Piece(slot, run) in &record.slots[axis] {
            let end = slot.checked_add(run).filter(|&end| end <= marks[axis]);
            if run == 0 || end.is_none() {
                return Some(format!(
                    "slots [{slot}, {run}] of {} are not among the {} handed out",
                    AXIS_NAMES[axis], marks[axis]
                ));
            }
            len = len.saturating_add(run);
        }
        let expected = record.shape.get(axis).copied().unwrap_or(1);
        if len != expected {
            let name = AXIS_NAMES[axis];
            return Some(format!("{len} slots on {name}, but {expected} pixels"));
        }
    }
    None
}

/// Coordinates of the tile whose entry is the `number`-th of a table.
fn tile_at(index: &IndexBox, mut number: u64) -> Coordinates {
    std::array::from_fn(|axis| {
        let len = (index.hi[axis] - index.lo[axis]).max(1);
        let at = index.lo[axis] + number % len;
        number /= len;
        at
    })
}

/// Told where an entry stands, of which tile it is, and what it says.
pub(super) type Seen<'s> = &'s mut dyn FnMut(u64, &Coordinates, Result<Entry>) -> Result<()>;

/// Calls `seen` for every entry of a table that is not zero, and once for every
/// piece that cannot be read.
pub(super) fn each_entry(storage: &dyn Storage, index: &IndexBox, seen: Seen<'_>) -> Result<()> {
    const ZERO: [u8; BLOCK] = [0; BLOCK];
    let end = index.at.saturating_add(index.bytes().unwrap_or(0));
    let mut at = index.at;
    let mut piece = vec![0; PIECE.min(end - at) as usize];
    while at < end {
        // Holes are passed over: an index may be far larger than its tiles are many.
        let data = storage.next_data(at).unwrap_or(at).min(end);
        at += (data - at) / ENTRY_BYTES * ENTRY_BYTES;
        let bytes = PIECE.min(end - at) as usize;
        if bytes == 0 {
            break;
        }
        let piece = &mut piece[..bytes];
        if let Err(error) = storage.read_into(at, piece) {
            seen(
                at,
                &tile_at(index, (at - index.at) / ENTRY_BYTES),
                Err(error),
            )?;
            at += bytes as u64;
            continue;
        }
        for (number, block) in piece.chunks(BLOCK).enumerate() {
            if *block == ZERO[..block.len()] {
                continue;
            }
            let base = at + (number * BLOCK) as u64;
            for (number, bytes) in block.as_chunks().0.iter().enumerate() {
                if *bytes == [0; ENTRY_BYTES as usize] {
                    continue;
                }
                let place = base + number as u64 * ENTRY_BYTES;
                let tile = tile_at(index, (place - index.at) / ENTRY_BYTES);
                seen(place, &tile, Ok(entry::decode(&tile, bytes)))?;
            }
        }
        at += bytes as u64;
    }
    Ok(())
}
