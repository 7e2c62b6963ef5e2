//! Samples into tiles, a row of tiles at a time.
//!
//! Frames that go to consecutive slots are written together: for each row of
//! tiles (those that differ in x alone) the rows of pixels are read from every
//! frame, put where they belong in a buffer of what is stored of those tiles, which goes
//! to the file with as few writes as there are gaps. Where frames are wide a buffer holds
//! some of them, so that it stays in the processor's cache. Two threads take turns: while one
//! stores the buffer that it filled, the other fills the next, so memory is two buffers,
//! whatever the size of the frames; and a third one where frames are slow to read, and several are read at once.
//!
//! Every sample goes to a slot of the insertion axis that nothing was ever
//! written to. So of a tile that existed before, the layers of those slots may be
//! stored whole where they are one run of bytes; where they are not, the tile from
//! the first new sample to the last is read, filled in and stored again, which
//! writes the same bytes over the others.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;

use super::Coordinates;
use super::cuts::{Cut, Fill, cuts_at_once, fill_axis, new_layers, read_ahead, touched};
use super::edit::{Edit, Placement};
use super::stored::{Stored, read_pieces};
use super::tiles::{Geometry, Tile};
use crate::error::Result;
use crate::kernels::copy::fill;
use crate::region::{MAX_RANK, places};
use crate::storage::Storage;
use crate::turns::{in_turn, lock};

/// A tile that a command fills in part gets disk for all of it, in one piece,
/// when it is at most so many times what is written: the frames to come fill it.
/// Else it stays a hole, for a cube that begins with tiny frames has deep tiles.
const MOST_RESERVED: usize = 64;

/// Samples of one frame, as the cube is to hold them.
pub trait Samples: Send {
    /// Fills `out` with the samples from the linear index `first` (x fastest),
    /// little-endian, of the cube's type.
    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()>;

    /// Does reading take so long that several frames are better read at once?
    fn is_slow(&self) -> bool {
        false
    }

    /// Asked now and then; what it answers ends the reading of the frame.
    fn go_on(&self) -> Result<()> {
        Ok(())
    }
}

/// A frame to be written.
pub struct Part<'a> {
    /// Where it goes.
    pub placement: Placement,
    /// What it holds.
    pub samples: Box<dyn Samples + 'a>,
    /// Where a cube has them already.
    pub stored: Option<Stored>,
}

impl<'a> Part<'a> {
    /// A frame that no cube has.
    pub fn new(placement: Placement, samples: impl Samples + 'a) -> Part<'a> {
        Part {
            placement,
            samples: Box::new(samples),
            stored: None,
        }
    }
}

/// What was stored of a frame: the CRC-32C of its samples, or why it could not
/// be read.
pub type Outcome = Result<u32>;

/// A buffer of tiles, and what of it goes where in the file.
#[derive(Default)]
pub(super) struct Job {
    buffer: Vec<u8>,
    /// Ranges that get disk under them, in one piece.
    reserve: Vec<(u64, u64)>,
    writes: Vec<(u64, Range<usize>)>,
    /// Ranges that are stored for good then.
    settled: Vec<(u64, u64)>,
}

impl Job {
    /// Stores what is in it.
    fn store(&self, storage: &dyn Storage) -> Result<()> {
        for &(at, bytes) in &self.reserve {
            storage.allocate(at, bytes)?;
        }
        for (at, range) in &self.writes {
            storage.write(*at, &self.buffer[range.clone()])?;
        }
        for &(at, bytes) in &self.settled {
            storage.written(at, bytes);
        }
        Ok(())
    }
}

/// The tiles of a row that a buffer is for.
struct Strip<'r> {
    row: &'r Coordinates,
    /// Their x coordinates.
    chunk: &'r [u64],
    /// Which bytes of each the frames in this buffer fill, where those are one run.
    layers: Option<Range<usize>>,
    /// Where those begin that all frames fill, once there are no more of them.
    settled_from: Option<usize>,
    /// Of each: do these frames and those of its other buffers fill it along the axis?
    filled: &'r [bool],
}

/// One tile of a row.
struct Target {
    tile: Coordinates,
    /// Which bytes of it are stored.
    range: Range<usize>,
    /// Did it exist before?
    is_old: bool,
    /// What it is XORed with.
    mask: u64,
    /// Where it is to be; `None` when it stays void.
    at: Option<u64>,
}

/// What a buffer holds of each tile of a row.
pub(super) struct Held {
    /// Bytes of a tile.
    range: Range<usize>,
    /// From one tile to the next.
    pitch: usize,
}

impl Held {
    /// As little as has what is stored of every target.
    fn new(targets: &[Target], geometry: &Geometry) -> Held {
        let ranges = targets.iter().map(|target| target.range.clone());
        let range = ranges
            .filter(|range| !range.is_empty())
            .reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
            .unwrap_or_default();
        let pitch = match range.len() == geometry.bytes {
            // With the gap up to the next tile, so that they are stored as one.
            true => geometry.pitch() as usize,
            false => range.len().max(1),
        };
        Held { range, pitch }
    }

    /// Where a byte of a tile is in the buffer.
    pub(super) fn offset(&self, tile: usize, byte: usize) -> usize {
        tile * self.pitch + byte - self.range.start
    }

    /// Where bytes of a tile are in the buffer.
    fn place(&self, tile: usize, range: &Range<usize>) -> Range<usize> {
        match range.is_empty() {
            true => 0..0,
            false => self.offset(tile, range.start)..self.offset(tile, range.end),
        }
    }
}

/// Buffers for all rows of tiles that frames touch, as they are filled.
struct Buffers<'b, 'e, 'w, 'p, 'a> {
    edit: &'b mut Edit<'w>,
    cuts: &'b mut [Cut<'p, 'a>],
    budget: u64,
    progress: &'b (dyn Fn(u64) + Sync),
    /// Those that were stored.
    spare: &'e Mutex<Vec<Job>>,
    scratch: Vec<u8>,
    /// Coordinates of tiles on each axis.
    tiles: [Vec<u64>; MAX_RANK],
    /// Which of them each row to come has; x is done in chunks.
    rows: Box<dyn Iterator<Item = Coordinates> + Send>,
    row: Option<Row>,
}

/// A row of tiles, and how far it is filled.
struct Row {
    at: Coordinates,
    /// Which bytes of a tile all frames fill, where those are one run.
    layers: Option<Range<usize>>,
    /// Of each tile: do all frames together fill it along the axis?
    filled: Vec<bool>,
    /// Tiles of a buffer.
    per_chunk: usize,
    /// Frames of a buffer.
    at_once: usize,
    /// The first tile of the chunk at hand.
    tile: usize,
    /// The first frame of the next buffer.
    cut: usize,
}

impl Iterator for Buffers<'_, '_, '_, '_, '_> {
    type Item = Result<Job>;

    fn next(&mut self) -> Option<Result<Job>> {
        loop {
            let row = match &mut self.row {
                Some(row) => row,
                None => {
                    let number = self.rows.next()?;
                    let row = self.begin_row(&number);
                    self.row.insert(row)
                }
            };
            if row.tile >= self.tiles[0].len() {
                self.row = None;
                continue;
            }
            let chunk = &self.tiles[0][row.tile..];
            let chunk = &chunk[..row.per_chunk.min(chunk.len())];
            if row.cut >= self.cuts.len() {
                row.tile += chunk.len();
                row.cut = 0;
                continue;
            }
            let end = (row.cut + row.at_once).min(self.cuts.len());
            let group = row.cut..end;
            row.cut = end;
            let touches = |cuts: &[Cut<'_, '_>]| cuts.iter().any(|cut| cut.touches(&row.at, chunk));
            if !touches(&self.cuts[group.clone()]) {
                continue;
            }
            let geometry = self.edit.geometry;
            let is_last = !touches(&self.cuts[end..]);
            let of_all = row
                .layers
                .as_ref()
                .map_or(usize::MAX, |layers| layers.start);
            let cuts = &mut self.cuts[group];
            let strip = Strip {
                row: &row.at,
                chunk,
                layers: new_layers(cuts, &row.at, &geometry),
                settled_from: is_last.then_some(of_all),
                filled: &row.filled[row.tile..][..chunk.len()],
            };
            read_ahead(cuts, &row.at, chunk, geometry.size, self.budget / 2);
            let mut job = lock(self.spare).pop().unwrap_or_default();
            let filled =
                self.edit
                    .fill_row(cuts, &strip, &mut job, &mut self.scratch, self.progress);
            return Some(filled.map(|()| job));
        }
    }
}

impl Buffers<'_, '_, '_, '_, '_> {
    fn begin_row(&self, number: &Coordinates) -> Row {
        let (cuts, geometry) = (&*self.cuts, &self.edit.geometry);
        let at = std::array::from_fn(|axis| self.tiles[axis][number[axis] as usize]);
        let layers = new_layers(cuts, &at, geometry);
        let tiles = tiles_of(&at, &self.tiles[0]);
        let filled = tiles.map(|tile| fill_axis(cuts, &tile, geometry));
        let filled = filled.collect();
        let is_plain = self.edit.is_plain;
        let (at_once, of_group) = match is_plain {
            // A tile that is begun is stored whole.
            true => (cuts.len(), u64::MAX),
            false => cuts_at_once(cuts, &layers, self.tiles[0].len(), geometry, self.budget),
        };
        let of_all = match &layers {
            Some(layers) if !is_plain && layers.len() < geometry.bytes => layers.len() as u64,
            _ => geometry.pitch(),
        };
        let most = self.budget / 2 / of_group.min(of_all);
        Row {
            at,
            layers,
            filled,
            per_chunk: usize::try_from(most.max(1)).unwrap_or(usize::MAX),
            at_once,
            tile: 0,
            cut: 0,
        }
    }
}

impl Edit<'_> {
    /// Writes frames. They were placed along one axis; `budget` bounds the bytes
    /// of the buffers; `progress` is told of bytes as they are read.
    ///
    /// A frame that cannot be read has an error for outcome, and its positions
    /// are to be taken out again; the other frames are written all the same.
    ///
    /// # Errors
    /// When the cube cannot be written: then nothing of the edit may be kept.
    pub fn write(
        &mut self,
        parts: &mut [Part<'_>],
        budget: u64,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Outcome>> {
        self.cover()?;
        let storage = self.writer.storage.clone();
        let mut cuts: Vec<Cut<'_, '_>> = parts
            .iter_mut()
            .map(|part| Cut::new(part, &self.catalog, &self.geometry))
            .collect();
        let tiles = tiles_along(&cuts);
        let mut rows = tiles.each_ref().map(|tiles| tiles.len() as u64);
        rows[0] = rows[0].min(1);
        // New memory is slow: the system clears each page when it is touched.
        let spare = Mutex::new(std::mem::take(&mut self.spare));
        let buffers = Buffers {
            tiles,
            edit: &mut *self,
            cuts: &mut cuts,
            budget,
            progress,
            spare: &spare,
            scratch: Vec::new(),
            rows: Box::new(places(rows)),
            row: None,
        };
        // Whoever filled a buffer stores it: it is in the cache of that processor.
        let stored = in_turn(2, buffers, &|job, ()| job, &mut |(), job: Job| {
            job.store(storage.as_ref())?;
            lock(&spare).push(job);
            Ok(())
        });
        self.spare = std::mem::take(&mut lock(&spare));
        if stored.is_err() {
            self.writer.spend();
        }
        stored?;
        let size = self.geometry.size as u64;
        Ok(cuts
            .into_iter()
            .map(|cut| match cut.failed {
                Some(error) => Err(error),
                None => Ok(match cut.lined_up {
                    Some(lined_up) => lined_up.stored.check,
                    None => cut.check.finish(cut.samples * size),
                }),
            })
            .collect())
    }

    /// Fills one buffer.
    fn fill_row(
        &mut self,
        cuts: &mut [Cut<'_, '_>],
        strip: &Strip<'_>,
        job: &mut Job,
        scratch: &mut Vec<u8>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        let geometry = self.geometry;
        let mut targets = self.find_targets(cuts, strip)?;
        let held = Held::new(&targets, &geometry);
        job.buffer.resize(strip.chunk.len() * held.pitch, 0);
        job.reserve.clear();
        job.writes.clear();
        job.settled.clear();
        for (number, target) in targets.iter().enumerate() {
            let range = &target.range;
            let buffer = &mut job.buffer[held.place(number, range)];
            let covered: u64 = cuts.iter().map(|cut| cut.covers(&target.tile)).sum();
            match target.at {
                // The frames fill all of it.
                _ if covered * geometry.size as u64 == range.len() as u64 => {}
                Some(at) if strip.layers.is_none() => {
                    let from = at + range.start as u64;
                    let len = range.len() as u64;
                    // A tile that this command began need not reach its end yet: what was
                    // never written is zeros.
                    let there = match self.fresh.contains_key(&target.tile) {
                        true => self.writer.storage.len()?.saturating_sub(from).min(len),
                        false => len,
                    };
                    let (head, tail) = buffer.split_at_mut(there as usize);
                    if !head.is_empty() {
                        head.copy_from_slice(&self.writer.storage.read(from, there)?);
                    }
                    tail.fill(0);
                }
                _ => fill(buffer, self.catalog.pad ^ target.mask, geometry.size),
            }
        }
        let mut fill = Fill {
            geometry,
            held,
            masks: targets.iter().map(|target| target.mask).collect(),
            buffer: &mut job.buffer,
            scratch,
            progress,
        };
        let (row, chunk) = (strip.row, strip.chunk);
        let stored = read_stored(cuts, row, chunk, &mut fill);
        for (number, cut) in cuts.iter_mut().enumerate() {
            if cut.failed.is_some() {
                continue;
            }
            let left = |tile: &usize| !stored.contains(&(number, *tile));
            let read = cut.part.samples.go_on();
            if let Err(error) = read.and_then(|()| cut.read_row(row, chunk, &left, &mut fill)) {
                cut.failed = Some(error);
            }
        }
        let held = fill.held;
        self.place_targets(&mut targets, &held, &job.buffer)?;
        self.plan_writes(&targets, &held, strip, job);
        Ok(())
    }

    /// Where the tiles of a row are that exist already, and what of each is stored.
    fn find_targets(&mut self, cuts: &[Cut<'_, '_>], strip: &Strip<'_>) -> Result<Vec<Target>> {
        let tiles: Vec<Coordinates> = tiles_of(strip.row, strip.chunk).collect();
        let found = self.find_tiles(&tiles)?;
        let found = found.into_iter().zip(strip.filled);
        let targets = tiles
            .into_iter()
            .zip(found)
            .map(|(tile, (old, &is_filled))| {
                let mask = match old {
                    Some(Tile { mask, .. }) => mask,
                    // The mask is for what frames to come are to fill.
                    None if self.is_plain || is_filled => 0,
                    None => self.catalog.mask,
                };
                // Without the mask a byte that was never written is not pad.
                let is_bare = old.is_none() && mask != self.catalog.pad;
                let range = match &strip.layers {
                    Some(layers) if is_filled || !is_bare => layers.clone(),
                    _ if is_bare => 0..self.geometry.bytes,
                    _ => touched(cuts, &tile, &self.geometry),
                };
                Target {
                    tile,
                    range,
                    is_old: old.is_some(),
                    mask,
                    at: old.map(|old| old.at),
                }
            });
        Ok(targets.collect())
    }

    /// Gives new tiles their place; one that holds nothing but pad stays void.
    fn place_targets(&mut self, targets: &mut [Target], held: &Held, buffer: &[u8]) -> Result<()> {
        let mut void = [0; 4096];
        for (number, target) in targets.iter_mut().enumerate() {
            if target.is_old {
                continue;
            }
            fill(
                &mut void,
                self.catalog.pad ^ target.mask,
                self.geometry.size,
            );
            let mut parts = buffer[held.place(number, &target.range)].chunks(void.len());
            if parts.any(|part| *part != void[..part.len()]) {
                let (at, mask) = (self.allocate_tile()?, target.mask);
                self.fresh.insert(target.tile, Tile { at, mask });
                target.at = Some(at);
            }
        }
        Ok(())
    }

    /// Joins what adjoins into as few writes as there are gaps.
    fn plan_writes(&self, targets: &[Target], held: &Held, strip: &Strip<'_>, job: &mut Job) {
        let (pitch, pad) = (self.geometry.pitch(), self.catalog.pad);
        let mut before = None;
        for (number, (target, is_filled)) in targets.iter().zip(strip.filled).enumerate() {
            let Some(place) = target.at.filter(|_| !target.range.is_empty()) else {
                continue;
            };
            let mut range = target.range.clone();
            if range.len() == self.geometry.bytes {
                // The gap up to the next tile is stored too, so that they join.
                range.end = pitch as usize;
            } else if self.reserves
                && !target.is_old
                && !is_filled
                && self.geometry.bytes <= MOST_RESERVED * range.len()
            {
                match job.reserve.last_mut() {
                    Some((last, len)) if *last + *len == place => *len += pitch,
                    _ => job.reserve.push((place, pitch)),
                }
            }
            if !target.is_old && target.mask != pad && range.start > 0 {
                // The buffers before had nothing but pad for the layers before.
                let before = before.get_or_insert_with(|| {
                    let end = job.buffer.len();
                    job.buffer.resize(end + range.start, 0);
                    fill(
                        &mut job.buffer[end..],
                        pad ^ target.mask,
                        self.geometry.size,
                    );
                    end..job.buffer.len()
                });
                job.writes.push((place, before.clone()));
            }
            if let Some(from) = strip.settled_from {
                let from = from.min(range.start);
                let (at, bytes) = (place + from as u64, (range.end - from) as u64);
                match job.settled.last_mut() {
                    Some((last, len)) if *last + *len == at => *len += bytes,
                    _ => job.settled.push((at, bytes)),
                }
            }
            let at = place + range.start as u64;
            let range = held.place(number, &range);
            match job.writes.last_mut() {
                Some((last, bytes))
                    if *last + bytes.len() as u64 == at && bytes.end == range.start =>
                {
                    bytes.end = range.end;
                }
                _ => job.writes.push((at, range)),
            }
        }
    }
}

/// Reads what of a row of tiles stands in other cubes as it is to stand here. Tells
/// which frames that was done for, and for which tiles.
fn read_stored(
    cuts: &[Cut<'_, '_>],
    row: &Coordinates,
    chunk: &[u64],
    fill: &mut Fill<'_>,
) -> HashSet<(usize, usize)> {
    let mut pieces = Vec::new();
    for (number, cut) in cuts.iter().enumerate() {
        if let Some(lined_up) = cut.lined_up.as_ref().filter(|_| cut.failed.is_none()) {
            lined_up.add_pieces((row, chunk), &fill.held, number, &mut pieces);
        }
    }
    let mut read: HashSet<_> = pieces.iter().map(|piece| piece.of).collect();
    let bytes: u64 = pieces.iter().map(|piece| piece.bytes as u64).sum();
    read_pieces(&mut pieces, fill.buffer, &fill.masks, fill.geometry.size);
    for failed in &pieces {
        read.remove(&failed.of);
    }
    (fill.progress)(bytes);
    read
}

/// On each axis the coordinates of the tiles that frames touch.
fn tiles_along(cuts: &[Cut<'_, '_>]) -> [Vec<u64>; MAX_RANK] {
    std::array::from_fn(|axis| {
        let all = cuts.iter().flat_map(|cut| &cut.segments[axis]);
        let mut tiles: Vec<u64> = all.map(|segment| segment.tile).collect();
        tiles.sort_unstable();
        tiles.dedup();
        tiles
    })
}

/// The tiles of a row, by their x coordinates.
fn tiles_of(row: &Coordinates, chunk: &[u64]) -> impl Iterator<Item = Coordinates> {
    let mut tile = *row;
    chunk.iter().map(move |&x| {
        tile[0] = x;
        tile
    })
}
