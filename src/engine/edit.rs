//! What a command does to a cube until it commits.
//!
//! An edit changes nothing that a commit can reach: it hands out new slots,
//! writes samples to them ([`super::write`]), changes piece tables in memory,
//! and stores everything at once. Dropped before, it leaves nothing behind that the
//! next one does not take back.

use std::collections::HashMap;

use super::Coordinates;
use super::commit::{Prepared, Writer};
use super::index::{self, IndexReader};
use super::pieces::{Pieces, Run, Runs};
use super::records::{Positions, merge};
use super::snapshot::Snapshot;
use super::tables::Changes;
use super::tiles::{Geometry, Tile};
use super::verify::each_entry;
use super::write::Job;
use crate::error::{Error, Result};
use crate::format::catalog::{Axis, Catalog, Command, LedgerBlock, PatchSet};
use crate::format::entry::{self, Entry};
use crate::format::ledger::{Packer, Record};
use crate::format::patches::{self, TilePatches};
use crate::format::{Extent, FORMAT, MAX_AXIS_TILES, MAX_OFFSET, METADATA_ALIGN, PAGE, align_up};
use crate::kernels::copy::fill;
use crate::region::{AXIS_NAMES, MAX_RANK, volume};
use crate::storage::PIECE_BYTES;

/// Records are packed into a block when so many bytes of them have gathered.
const PENDING_BYTES: u64 = 8 << 20;

/// A change of a cube that is not committed yet.
pub struct Edit<'w> {
    pub(super) writer: &'w mut Writer,
    pub(super) catalog: Catalog,
    pub(super) geometry: Geometry,
    pieces: [Pieces; MAX_RANK],
    /// How each axis changed since its table was written.
    changes: [Changes; MAX_RANK],
    /// The next slot to hand out on each axis.
    next: Coordinates,
    /// Where the next extent goes: past everything that somebody may refer to.
    end: u64,
    /// Where it was when the last commit was made, or the edit begun.
    kept: u64,
    /// Is there something in the file behind it, which is nobody's?
    is_loose: bool,
    /// Tiles allocated since the last commit, not yet in the index.
    pub(super) fresh: HashMap<Coordinates, Tile>,
    /// Are new tiles stored as they are, also those that frames to come are to fill?
    pub(super) is_plain: bool,
    /// Is disk taken for what is to come in new tiles?
    pub(super) reserves: bool,
    pending: Packer,
    /// Buffers of one batch of frames, for the next.
    pub(super) spare: Vec<Job>,
}

/// Where the samples of a frame go.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The axis along which positions were put in.
    pub axis: usize,
    /// The first of those positions.
    pub position: u64,
    /// Slots of its pixels, in their order, on each axis.
    pub slots: [Vec<Run>; MAX_RANK],
}

impl Placement {
    /// Lengths of the frame.
    pub fn shape(&self) -> Coordinates {
        std::array::from_fn(|axis| self.slots[axis].iter().map(|run| run.len).sum())
    }
}

impl Writer {
    /// Begins a command. All commits that the edit makes are one entry of the
    /// history.
    pub fn edit(&mut self, command: Command) -> Result<Edit<'_>> {
        let base = self.snapshot()?;
        let len = self.storage.len()?;
        let end = self.reclaim(&base, len)?;
        let mut catalog = base.catalog().clone();
        catalog.previous = Some(base.extent);
        catalog.command = command;
        let next = self.superblock.marks;
        Ok(Edit {
            writer: self,
            geometry: base.geometry,
            changes: std::array::from_fn(|axis| Changes::of(catalog.axes.get(axis))),
            pieces: base.pieces,
            catalog,
            next,
            end,
            kept: end,
            is_loose: end < len,
            fresh: HashMap::new(),
            is_plain: false,
            reserves: true,
            pending: Packer::default(),
            spare: Vec::new(),
        })
    }

    /// Takes back what a command that died has left behind the newest commit: slots that
    /// were reserved for nothing, and bytes past its end. Both stay as far as an entry
    /// of the index may lead there. Says where the bytes begin that are nobody's, in a
    /// file of `len`.
    fn reclaim(&mut self, base: &Snapshot, len: u64) -> Result<u64> {
        let marks = &mut self.superblock.marks;
        let mut axes = base.catalog.axes.iter().zip(&*marks);
        if len == base.committed && axes.all(|(axis, mark)| axis.slots == *mark) {
            return Ok(len);
        }
        let (mut end, mut tiles, mut is_known) = (base.committed, [0; MAX_RANK], true);
        for index in &base.catalog.index {
            each_entry(self.storage.as_ref(), index, &mut |_, tile, entry| {
                match entry {
                    Ok(Entry::Void) => {}
                    Ok(Entry::Tile { at, .. }) => {
                        end = end.max(at.saturating_add(base.geometry.pitch()));
                        tiles = std::array::from_fn(|axis| tiles[axis].max(tile[axis] + 1));
                    }
                    Ok(Entry::Damaged) | Err(_) => is_known = false,
                }
                Ok(())
            })?;
        }
        if !is_known {
            return Ok(align_up(len, PAGE));
        }
        for (axis, (stored, mark)) in base.catalog.axes.iter().zip(marks).enumerate() {
            // Beyond the last tile nobody has stored anything.
            let used = tiles[axis].saturating_mul(base.geometry.tile[axis]);
            *mark = used.max(stored.slots).min(*mark);
        }
        Ok(align_up(end.min(len), PAGE))
    }
}

impl Edit<'_> {
    /// The state as the edit has made it, without what is not committed of the
    /// index, the ledger and the patches.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The entry in the history that the next commit makes.
    pub fn command(&mut self) -> &mut Command {
        &mut self.catalog.command
    }

    /// Length of an axis now.
    pub fn len(&self, axis: usize) -> u64 {
        self.pieces[axis].len()
    }

    /// Lengths of all axes now.
    pub fn lens(&self) -> Coordinates {
        std::array::from_fn(|axis| self.len(axis))
    }

    /// Has the cube no sample?
    pub fn is_empty(&self) -> bool {
        self.lens().contains(&0)
    }

    /// Says that an integer cube uses this value for "no data".
    pub fn set_blank(&mut self, blank: Option<i128>) {
        self.catalog.blank = blank;
    }

    /// Shows at least so many axes.
    pub fn set_rank(&mut self, rank: usize) {
        for axis in self.catalog.axes.len()..rank.min(MAX_RANK) {
            self.catalog.axes.push(Axis::new(axis));
        }
    }

    /// How many slots of an axis are left in the tile that the next slot is in.
    pub fn room_in_tile(&self, axis: usize) -> u64 {
        let tile = self.geometry.tile[axis];
        tile - self.next[axis] % tile
    }

    /// Makes sure that `more` slots per axis can be handed out without asking
    /// the disk again.
    pub fn reserve(&mut self, more: &Coordinates) -> Result<()> {
        let mut marks = self.writer.superblock.marks;
        for axis in 0..MAX_RANK {
            let wanted = self.next[axis].checked_add(more[axis]);
            let wanted = wanted.filter(|&slots| slots < MAX_OFFSET).ok_or_else(|| {
                Error::input(format!("axis {} would be too long", AXIS_NAMES[axis]))
            })?;
            marks[axis] = marks[axis].max(wanted);
        }
        self.writer.reserve(marks)
    }

    /// Takes no disk from here on for what is to come in new tiles: for a disk that is
    /// about to be full.
    pub fn save_disk(&mut self) {
        self.reserves = false;
    }

    /// Can an axis get this length, along which frames join or on which they are placed?
    ///
    /// # Errors
    /// When memory could not hold something of each of its tiles.
    pub fn check_len(&self, axis: usize, len: u64, is_joined: bool) -> Result<()> {
        let tile = self.geometry.tile[axis];
        let tiles = len.div_ceil(tile);
        if tiles <= MAX_AXIS_TILES {
            return Ok(());
        }
        Err(Error::input(format!(
            "axis {} would have {len} positions, {tiles} tiles of {tile}: more than \
             {MAX_AXIS_TILES}",
            AXIS_NAMES[axis]
        ))
        .hint(match is_joined {
            true => "a new cube can have longer tiles: --tile",
            false => "is --origin as it was meant? A new cube can have longer tiles: --tile",
        }))
    }

    /// Puts a box of `shape` in before `position` of `axis`, its first pixel at
    /// `origin` on the other axes, which grow when the box reaches past them.
    pub fn place(
        &mut self,
        axis: usize,
        position: u64,
        origin: &Coordinates,
        shape: &Coordinates,
    ) -> Result<Placement> {
        let mut after = self.lens();
        let mut more = [0; MAX_RANK];
        for other in 0..MAX_RANK {
            let reach = origin[other].checked_add(shape[other]);
            let reach = reach.filter(|&reach| reach < MAX_OFFSET);
            let too_long = || Error::input(format!("axis {} would be too long", AXIS_NAMES[other]));
            more[other] = match other == axis {
                true => shape[axis],
                false => reach.ok_or_else(too_long)?.saturating_sub(after[other]),
            };
            after[other] = after[other].checked_add(more[other]).ok_or_else(too_long)?;
            if more[other] > 0 {
                self.check_len(other, after[other], other == axis)?;
            }
        }
        volume(&after)?;
        if position > self.len(axis) {
            return Err(Error::input(format!(
                "position {} is past the end of {}, which has length {}",
                position + 1,
                AXIS_NAMES[axis],
                self.len(axis)
            )));
        }
        self.reserve(&more)?;
        let mut slots: [Vec<Run>; MAX_RANK] = Default::default();
        for other in 0..MAX_RANK {
            if more[other] > 0 {
                let at = if other == axis {
                    position
                } else {
                    self.len(other)
                };
                self.splice(other, at, 0, self.next[other], more[other]);
                self.next[other] += more[other];
            }
            let start = if other == axis {
                position
            } else {
                origin[other]
            };
            slots[other] = self.pieces[other].runs(start, shape[other]);
        }
        let reaches = |other: usize| origin[other] + shape[other] > 1;
        let used = (0..MAX_RANK)
            .rev()
            .find(|&other| other == axis || reaches(other));
        self.set_rank(used.map_or(0, |used| used + 1));
        Ok(Placement {
            axis,
            position,
            slots,
        })
    }

    /// Takes the positions `start..start + len` of an axis away.
    pub fn delete(&mut self, axis: usize, start: u64, len: u64) {
        self.splice(axis, start, len, 0, 0);
        self.set_rank(axis + 1);
    }

    /// Takes many runs of positions of an axis away. Where they are few, a commit is as
    /// small as after one.
    pub fn delete_all(&mut self, axis: usize, positions: &Runs) {
        self.pieces[axis] = self.pieces[axis].without(positions);
        // From the last on, so that the positions before hold.
        for &(lo, hi) in positions.iter().rev() {
            self.changes[axis].splice(lo, hi - lo, 0, 0);
        }
        self.set_rank(axis + 1);
    }

    /// Moves the positions `first..first + len` of an axis, so that the first of them
    /// stands at `to`.
    pub fn shift(&mut self, axis: usize, first: u64, len: u64, to: u64) {
        let runs = self.pieces[axis].runs(first, len);
        self.pieces[axis] = self.pieces[axis].moved(first, len, to);
        self.changes[axis].splice(first, len, 0, 0);
        for run in runs {
            self.changes[axis].splice(to + run.position, 0, run.slot, run.len);
        }
        self.set_rank(axis + 1);
    }

    fn splice(&mut self, axis: usize, position: u64, removed: u64, slot: u64, len: u64) {
        self.pieces[axis].splice(position, removed, slot, len);
        self.changes[axis].splice(position, removed, slot, len);
    }

    /// Lengths of the axes that the cube shows.
    pub fn shape(&self) -> Vec<u64> {
        self.lens()[..self.catalog.axes.len()].to_vec()
    }

    /// The piece table of an axis now.
    pub fn pieces(&self, axis: usize) -> &Pieces {
        &self.pieces[axis]
    }

    /// Finds positions by slot, as the edit has made them.
    pub fn positions(&self) -> Positions {
        Positions::new(&self.pieces)
    }

    /// Says how many frames the cube still holds.
    pub fn set_frames(&mut self, frames: u64) {
        self.catalog.frames = frames;
    }

    /// Makes an earlier commit the state again: its pieces, its patches, its
    /// history. What came after is no longer referred to, and its slots are
    /// never handed out again.
    pub fn revert(mut self, to: &Snapshot) -> Result<()> {
        self.catalog = to.catalog().clone();
        self.pieces = to.pieces.clone();
        self.changes = std::array::from_fn(|axis| Changes::of(self.catalog.axes.get(axis)));
        self.finish()
    }

    /// Puts the positions of an axis in another order.
    pub fn set_pieces(&mut self, axis: usize, pieces: Pieces) {
        self.pieces[axis] = pieces;
        self.changes[axis].reset();
        self.set_rank(axis + 1);
    }

    /// Records a frame whose samples have been written; returns its number.
    pub fn record(&mut self, mut record: Record, bytes: u64) -> Result<u64> {
        record.frame = self.catalog.next_frame;
        self.pending.push(&record)?;
        self.catalog.next_frame += 1;
        self.catalog.frames += 1;
        self.catalog.command.frames += 1;
        self.catalog.command.bytes += bytes;
        self.catalog.header_frame.get_or_insert(record.frame);
        if self.pending.unpacked() >= PENDING_BYTES {
            self.store_records()?;
        }
        Ok(record.frame)
    }

    /// Says whose header speaks for the cube.
    pub fn set_header_frame(&mut self, frame: Option<u64>) {
        self.catalog.header_frame = frame;
    }

    /// Lets the history begin here: undo cannot go behind this command.
    pub fn forget_history(&mut self) {
        self.catalog.previous = None;
    }

    /// Hands out slots that no position gets.
    pub fn skip_slots(&mut self, more: &Coordinates) -> Result<()> {
        self.reserve(more)?;
        for (next, more) in self.next.iter_mut().zip(more) {
            *next += more;
        }
        Ok(())
    }

    /// Tiles that memory holds until the next commit.
    pub fn uncommitted_tiles(&self) -> usize {
        self.fresh.len()
    }

    /// Replaces samples from the next commit on. They are stored as one set at
    /// once, past everything, so that memory need not hold them; nothing refers to
    /// the set before the commit. `tiles` is sorted by the tile's offset, each
    /// tile's patches by element.
    pub fn patch(&mut self, tiles: &[TilePatches]) -> Result<()> {
        let samples: u64 = tiles.iter().map(|(_, patches)| patches.len() as u64).sum();
        if samples == 0 {
            return Ok(());
        }
        let set = patches::encode(self.catalog.dtype, tiles);
        let at = self.allocate(set.len() as u64)?;
        self.writer.write(at, &set)?;
        let extent = Extent {
            at,
            bytes: set.len() as u64,
            check: crc32c::crc32c(&set),
        };
        self.catalog.patches.push(PatchSet { samples, extent });
        self.catalog.command.samples += samples;
        Ok(())
    }

    /// Stores the samples of new tiles as they are, so that other programs can read them
    /// where they stand. Who fills a tile in part then writes all of it.
    pub fn store_plain(&mut self) {
        // Where void is zero a hole is void, too, and all tiles are stored as they are.
        self.is_plain = self.catalog.mask != 0;
    }

    /// Offset of a tile, which is made when it is void, so that its samples can be
    /// replaced.
    pub fn make_tile(&mut self, tile: &Coordinates) -> Result<u64> {
        if let Some(tile) = self.find_tiles(&[*tile])?[0] {
            return Ok(tile.at);
        }
        self.cover()?;
        let at = self.allocate_tile()?;
        let mask = self.catalog.mask;
        if self.catalog.pad != mask {
            let mut pad = vec![0; self.geometry.bytes];
            fill(&mut pad, self.catalog.pad ^ mask, self.geometry.size);
            self.writer.write(at, &pad)?;
        }
        // A hole reads as pad.
        self.writer.extend(self.end)?;
        self.fresh.insert(*tile, Tile { at, mask });
        Ok(at)
    }

    /// Makes what was done so far the cube's state. The edit may go on after.
    pub fn commit(&mut self) -> Result<()> {
        self.commit_with_marks(self.writer.superblock.marks)
    }

    /// Commits for the last time: slots that were reserved but not handed out
    /// are free again, for nobody has written to them.
    pub fn finish(mut self) -> Result<()> {
        self.commit_with_marks(self.next)
    }

    fn commit_with_marks(&mut self, marks: Coordinates) -> Result<()> {
        for (axis, pieces) in self.pieces.iter().enumerate() {
            let tile = self.geometry.tile[axis];
            let hint = "cube compact joins the pieces";
            pieces.check(axis, tile).map_err(|error| error.hint(hint))?;
        }
        let metadata_at = self.end()?;
        let mut metadata = Vec::new();
        self.pack_records(metadata_at, &mut metadata)?;
        let entries = self.index_entries()?;
        for (axis, stored) in self.catalog.axes.iter_mut().enumerate() {
            self.changes[axis].save(&self.pieces[axis], stored, &mut |bytes| {
                append(metadata_at, &mut metadata, bytes)
            });
            stored.slots = self.next[axis];
        }
        self.catalog.cube = FORMAT;
        self.catalog.generation = self.writer.superblock.generation + 1;
        let bytes = self.catalog.encode()?;
        let catalog = append(metadata_at, &mut metadata, &bytes);
        let prepared = Prepared {
            entries,
            metadata_at,
            metadata,
            catalog,
            generation: self.catalog.generation,
            marks,
        };
        self.writer.commit(&prepared)?;
        self.end = self.writer.committed();
        self.kept = self.end;
        self.fresh.clear();
        Ok(())
    }

    /// Gives the disk back what was written since the last commit. After a command
    /// that died, the next one does.
    pub fn abandon(self) {
        // A commit that failed halfway may have left index entries that name
        // the new tiles: those must stay.
        if !self.writer.is_committing() && !self.is_loose {
            // Without success nothing is lost but disk.
            let _ = self.writer.storage.truncate(self.kept);
        }
    }

    /// Where the next extent goes. What is there and nobody's is cut off before the first
    /// one, and not sooner: a store of `cube zarr` holds until the cube changes.
    fn end(&mut self) -> Result<u64> {
        if std::mem::take(&mut self.is_loose) {
            self.writer.storage.truncate(self.end)?;
        }
        Ok(self.end)
    }

    /// Packs what records are pending into a block of the metadata at `base`.
    fn pack_records(&mut self, base: u64, metadata: &mut Vec<u8>) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let storage = self.writer.storage.as_ref();
        let packed = merge(pending, storage, &mut self.catalog.ledger)?.finish()?;
        let last = self.catalog.ledger.last();
        self.catalog.ledger.push(LedgerBlock {
            first: last.map_or(0, |last| last.first + last.frames),
            extent: append(base, metadata, &packed.bytes),
            ..packed.block
        });
        Ok(())
    }

    /// Stores the pending records now, so that memory stays bounded.
    fn store_records(&mut self) -> Result<()> {
        let mut block = Vec::new();
        let at = self.end()?;
        self.pack_records(at, &mut block)?;
        self.writer.write(at, &block)?;
        self.end = align_up(at + block.len() as u64, PAGE);
        Ok(())
    }

    /// Finds room for a tile, as far aligned as its size is, up to the pieces in which
    /// the page cache keeps it.
    pub(super) fn allocate_tile(&mut self) -> Result<u64> {
        let pitch = self.geometry.pitch();
        let align = (1 << pitch.trailing_zeros()).min(PIECE_BYTES);
        self.end = align_up(self.end()?, align);
        self.allocate(pitch)
    }

    /// Finds room past the end of the file.
    pub(super) fn allocate(&mut self, bytes: u64) -> Result<u64> {
        let at = self.end()?;
        let end = bytes
            .checked_next_multiple_of(PAGE)
            .and_then(|bytes| at.checked_add(bytes))
            .filter(|&end| end <= MAX_OFFSET)
            .ok_or_else(|| Error::input("the cube would be too large for a file"))?;
        self.end = end;
        Ok(at)
    }

    /// Where the tiles are that exist already, `None` for the others.
    pub(super) fn find_tiles(&mut self, tiles: &[Coordinates]) -> Result<Vec<Option<Tile>>> {
        let storage = self.writer.storage.as_ref();
        let mut index = IndexReader::new(storage, &self.catalog);
        let mut found = Vec::with_capacity(tiles.len());
        for tile in tiles {
            if let Some(&fresh) = self.fresh.get(tile) {
                found.push(Some(fresh));
                continue;
            }
            let known = index.tile(tile)?;
            // A command that died may have left a tile past the committed end whose
            // entry had reached the index. It is whole, and its samples in slots
            // handed out now read as pad: it is used. Its entry is stored again,
            // for where that command's sync failed the disk may not have it.
            if let Some(left) = known.filter(|known| known.at >= self.writer.committed()) {
                self.fresh.insert(*tile, left);
            }
            found.push(known);
        }
        Ok(found)
    }

    /// Makes sure that the index has room for every slot handed out or reserved.
    pub(super) fn cover(&mut self) -> Result<()> {
        let marks = &self.writer.superblock.marks;
        let upto = std::array::from_fn(|axis| marks[axis].div_ceil(self.geometry.tile[axis]));
        let mut boxes = std::mem::take(&mut self.catalog.index);
        let before = boxes.len();
        let grown = index::grow(&mut boxes, &upto, &mut |bytes| self.allocate(bytes));
        let more = boxes.len() > before;
        self.catalog.index = boxes;
        grown?;
        match more {
            true => self.writer.extend(self.end),
            false => Ok(()),
        }
    }

    fn index_entries(&self) -> Result<Vec<(u64, [u8; 16])>> {
        let mut entries = Vec::with_capacity(self.fresh.len());
        for (tile, fresh) in &self.fresh {
            let place = index::locate(&self.catalog.index, tile).ok_or_else(|| {
                Error::damaged(format!("no index for tile {}", index::show_tile(tile)))
            })?;
            let is_plain = fresh.mask != self.catalog.mask;
            entries.push((place, entry::encode(tile, fresh.at, is_plain)));
        }
        entries.sort_unstable();
        Ok(entries)
    }
}

/// Adds bytes to the metadata that will stand at `base`, aligned; says where.
fn append(base: u64, metadata: &mut Vec<u8>, bytes: &[u8]) -> Extent {
    metadata.resize(align_up(metadata.len() as u64, METADATA_ALIGN) as usize, 0);
    let at = base + metadata.len() as u64;
    metadata.extend(bytes);
    Extent {
        at,
        bytes: bytes.len() as u64,
        check: crc32c::crc32c(bytes),
    }
}
