//! Samples into tiles, a row of tiles at a time.
//!
//! Frames that go to consecutive slots are written together: for each row of
//! tiles (those that differ in x alone) the rows of pixels are read from every
//! frame, put where they belong in a buffer of what is stored of those tiles, which goes
//! to the file with as few writes as there are gaps. While one buffer is stored by a second thread
//! the next is filled, so memory is two buffers, whatever the size of the frames; and
//! a third one where frames are slow to read, and several are read at once.
//!
//! Every sample goes to a slot of the insertion axis that nothing was ever
//! written to. So of a tile that existed before, the layers of those slots may be
//! stored whole where they are one run of bytes; where they are not, the tile from
//! the first new sample to the last is read, filled in and stored again, which
//! writes the same bytes over the others.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::mpsc;

use super::Coordinates;
use super::edit::{Edit, Placement};
use super::running::RunningCheck;
use super::stored::{LinedUp, Stored, read_pieces};
use super::tiles::{Geometry, Segment, Tile, cut_runs};
use crate::error::{Error, IoContext, Result};
use crate::format::catalog::Catalog;
use crate::kernels::copy::{Layout, copy_box, fill};
use crate::region::MAX_RANK;
use crate::storage::Storage;

/// Rows are read from a frame in runs of about this many bytes.
const READ_BYTES: usize = 512 << 10;

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

/// A part with its runs cut at tile edges.
struct Cut<'p, 'a> {
    part: &'p mut Part<'a>,
    /// On each axis, in the order of tiles.
    segments: [Vec<Segment>; MAX_RANK],
    /// Samples from one pixel to the next on each axis of the frame.
    pitches: Coordinates,
    /// Bytes of a sample.
    size: usize,
    samples: u64,
    check: RunningCheck,
    failed: Option<Error>,
    /// What of it is read as it stands in another cube.
    lined_up: Option<LinedUp>,
    /// Samples that were read ahead, and the first of them.
    ahead: Vec<u8>,
    ahead_first: u64,
}

/// A buffer of tiles, and what of it goes where in the file.
#[derive(Default)]
pub(super) struct Job {
    buffer: Vec<u8>,
    /// Ranges that get disk under them, in one piece.
    reserve: Vec<(u64, u64)>,
    writes: Vec<(u64, Range<usize>)>,
}

/// Columns of a frame in one tile of a row: the tile's number in the buffer, and
/// which they are.
type Column = (usize, Segment);

/// A buffer that is being filled.
struct Fill<'b> {
    geometry: Geometry,
    held: Held,
    /// What each tile in the buffer is XORed with.
    masks: Vec<u64>,
    buffer: &'b mut [u8],
    scratch: &'b mut Vec<u8>,
    progress: &'b dyn Fn(u64),
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
        progress: &dyn Fn(u64),
    ) -> Result<Vec<Outcome>> {
        self.cover()?;
        let storage = self.writer.storage.clone();
        let mut cuts: Vec<Cut<'_, '_>> = parts
            .iter_mut()
            .map(|part| Cut::new(part, &self.catalog, &self.geometry))
            .collect();
        let stored = std::thread::scope(|scope| {
            let (full, jobs) = mpsc::sync_channel::<Job>(0);
            let (done, empty) = mpsc::channel::<Job>();
            let keeper = std::thread::Builder::new()
                .spawn_scoped(scope, move || store_jobs(storage.as_ref(), &jobs, &done))
                .doing("cannot start a thread")?;
            let filled = self.fill_rows(&mut cuts, budget, progress, &full, &empty);
            drop(full);
            let stored = keeper
                .join()
                .unwrap_or_else(|_| Err(Error::unsupported("the writing thread panicked")));
            // New memory is slow: the system clears each page when it is touched.
            self.spare.extend(empty.try_iter());
            // What stopped the keeper also stopped the filling: its error is the cause.
            stored.and(filled)
        });
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

    /// Fills a buffer for every row of tiles that the frames touch.
    fn fill_rows(
        &mut self,
        cuts: &mut [Cut<'_, '_>],
        budget: u64,
        progress: &dyn Fn(u64),
        full: &mpsc::SyncSender<Job>,
        empty: &mpsc::Receiver<Job>,
    ) -> Result<()> {
        let tiles: [Vec<u64>; MAX_RANK] = std::array::from_fn(|axis| {
            let all = cuts.iter().flat_map(|cut| &cut.segments[axis]);
            let mut tiles: Vec<u64> = all.map(|segment| segment.tile).collect();
            tiles.sort_unstable();
            tiles.dedup();
            tiles
        });
        if tiles.iter().any(Vec::is_empty) {
            return Ok(());
        }
        let mut scratch = Vec::new();
        let mut made = 0;
        let mut counter = [0; MAX_RANK];
        loop {
            let row: Coordinates = std::array::from_fn(|axis| tiles[axis][counter[axis]]);
            let layers = new_layers(cuts, &row, &self.geometry);
            let per_tile = match &layers {
                Some(layers) if !self.is_plain && layers.len() < self.geometry.bytes => {
                    layers.len() as u64
                }
                _ => self.geometry.pitch(),
            };
            let per_chunk = usize::try_from((budget / 2 / per_tile).max(1)).unwrap_or(usize::MAX);
            for chunk in tiles[0].chunks(per_chunk) {
                if !cuts.iter().any(|cut| cut.touches(&row, chunk)) {
                    continue;
                }
                let mut job = match made {
                    0 | 1 => self.spare.pop().unwrap_or_default(),
                    // The channel closes early only when storing failed.
                    _ => match empty.recv() {
                        Ok(job) => job,
                        Err(_) => return Ok(()),
                    },
                };
                made += 1;
                read_ahead(cuts, &row, chunk, self.geometry.size, budget / 2);
                let place = (&row, chunk, &layers);
                self.fill_row(cuts, place, &mut job, &mut scratch, progress)?;
                if full.send(job).is_err() {
                    return Ok(());
                }
            }
            // The next row; x is done in chunks.
            let step = (1..MAX_RANK).find(|&axis| {
                counter[axis] += 1;
                let more = counter[axis] < tiles[axis].len();
                counter[axis] *= usize::from(more);
                more
            });
            if step.is_none() {
                return Ok(());
            }
        }
    }

    /// Fills one buffer: the tiles of `row` whose x coordinate is in `chunk`.
    fn fill_row(
        &mut self,
        cuts: &mut [Cut<'_, '_>],
        (row, chunk, layers): (&Coordinates, &[u64], &Option<Range<usize>>),
        job: &mut Job,
        scratch: &mut Vec<u8>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        let geometry = self.geometry;
        let mut targets = self.find_targets(cuts, row, chunk, layers)?;
        let held = Held::new(&targets, &geometry);
        job.buffer.resize(chunk.len() * held.pitch, 0);
        job.reserve.clear();
        job.writes.clear();
        for (number, target) in targets.iter().enumerate() {
            let range = &target.range;
            let buffer = &mut job.buffer[held.place(number, range)];
            let covered: u64 = cuts.iter().map(|cut| cut.covers(&target.tile)).sum();
            match target.at {
                // The frames fill all of it.
                _ if covered * geometry.size as u64 == range.len() as u64 => {}
                Some(at) if layers.is_none() => {
                    let from = at + range.start as u64;
                    let stored = self.writer.storage.read(from, range.len() as u64)?;
                    buffer.copy_from_slice(&stored);
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
        self.plan_writes(&targets, &held, job);
        Ok(())
    }

    /// Where the tiles of a row are that exist already, and what of each is stored.
    fn find_targets(
        &mut self,
        cuts: &[Cut<'_, '_>],
        row: &Coordinates,
        chunk: &[u64],
        layers: &Option<Range<usize>>,
    ) -> Result<Vec<Target>> {
        let mut tile = *row;
        let tiles: Vec<Coordinates> = chunk
            .iter()
            .map(|&x| {
                tile[0] = x;
                tile
            })
            .collect();
        let found = self.find_tiles(&tiles)?;
        let targets = tiles.into_iter().zip(found).map(|(tile, old)| {
            let mask = match old {
                Some(Tile { mask, .. }) => mask,
                // The mask is for what frames to come are to fill.
                None if self.is_plain || fill_axis(cuts, &tile, &self.geometry) => 0,
                None => self.catalog.mask,
            };
            let range = match layers {
                // Without the mask a byte that was never written is not pad.
                _ if old.is_none() && mask != self.catalog.pad => 0..self.geometry.bytes,
                Some(layers) => layers.clone(),
                None => touched(cuts, &tile, &self.geometry),
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
        let pitch = self.geometry.pitch();
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
                let (at, mask) = (self.allocate(pitch)?, target.mask);
                self.fresh.insert(target.tile, Tile { at, mask });
                target.at = Some(at);
            }
        }
        Ok(())
    }

    /// Joins what adjoins into as few writes as there are gaps.
    fn plan_writes(&self, targets: &[Target], held: &Held, job: &mut Job) {
        let pitch = self.geometry.pitch();
        for (number, target) in targets.iter().enumerate() {
            let Some(place) = target.at.filter(|_| !target.range.is_empty()) else {
                continue;
            };
            let mut range = target.range.clone();
            if range.len() == self.geometry.bytes {
                // The gap up to the next tile is stored too, so that they join.
                range.end = pitch as usize;
            } else if self.reserves
                && !target.is_old
                && self.geometry.bytes <= MOST_RESERVED * range.len()
            {
                match job.reserve.last_mut() {
                    Some((last, len)) if *last + *len == place => *len += pitch,
                    _ => job.reserve.push((place, pitch)),
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

/// Reads what a row of tiles wants of frames that are slow to read, several at once,
/// into buffers that take no more than `budget` together. Where that is not enough,
/// frames are read one after the other, as those are that are not slow.
fn read_ahead(
    cuts: &mut [Cut<'_, '_>],
    row: &Coordinates,
    chunk: &[u64],
    size: usize,
    budget: u64,
) {
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut slow = Vec::new();
    let mut bytes = 0u64;
    for cut in cuts.iter_mut() {
        cut.ahead.clear();
        let is_slow = cut.failed.is_none() && cut.part.samples.is_slow();
        if let Some((first, count)) = cut.run_in(row, chunk).filter(|_| is_slow) {
            bytes = bytes.saturating_add(count.saturating_mul(size as u64));
            slow.push((cut, first, count));
        }
    }
    let n_threads = n_threads.min(slow.len());
    if n_threads < 2 || bytes > budget {
        return;
    }
    let queue = std::sync::Mutex::new(slow.into_iter());
    let work = || {
        loop {
            let next = match queue.lock() {
                Ok(mut queue) => queue.next(),
                Err(_) => return,
            };
            let Some((cut, first, count)) = next else {
                return;
            };
            cut.ahead.resize(count as usize * size, 0);
            cut.ahead_first = first;
            if let Err(error) = cut.part.samples.read(first, &mut cut.ahead) {
                cut.failed = Some(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..n_threads {
            scope.spawn(work);
        }
        work();
    });
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

/// The bytes of a tile of this row that lie in the slots being inserted, when
/// they are one run: then all of them are new. `None` when they are not.
fn new_layers(
    cuts: &[Cut<'_, '_>],
    row: &Coordinates,
    geometry: &Geometry,
) -> Option<Range<usize>> {
    let axis = cuts.first()?.part.placement.axis;
    if geometry.tile[axis + 1..].iter().any(|&len| len > 1) {
        return None;
    }
    let all = cuts.iter().flat_map(|cut| &cut.segments[axis]);
    let here = all.filter(|segment| axis == 0 || segment.tile == row[axis]);
    let (lo, hi) = here.fold((u64::MAX, 0), |(lo, hi), segment| {
        (lo.min(segment.inner), hi.max(segment.inner + segment.len))
    });
    let stride = geometry.strides[axis] as usize;
    // Along x the tiles of a row differ in which of their columns are new.
    (axis > 0 && lo < hi).then(|| lo as usize * stride..hi as usize * stride)
}

/// Do frames have every slot of a tile on the axis along which they are inserted?
fn fill_axis(cuts: &[Cut<'_, '_>], tile: &Coordinates, geometry: &Geometry) -> bool {
    let Some(axis) = cuts.first().map(|cut| cut.part.placement.axis) else {
        return false;
    };
    let all = cuts.iter().flat_map(|cut| cut.within(axis, tile[axis]));
    all.map(|segment| segment.len).sum::<u64>() == geometry.tile[axis]
}

/// The bytes of a tile from the first that frames fill to the last.
fn touched(cuts: &[Cut<'_, '_>], tile: &Coordinates, geometry: &Geometry) -> Range<usize> {
    let ends = cuts.iter().filter_map(|cut| cut.ends_in(tile));
    let all = ends.reduce(|(first, last), (lo, hi)| {
        let least = std::array::from_fn(|axis| first[axis].min(lo[axis]));
        (least, std::array::from_fn(|axis| last[axis].max(hi[axis])))
    });
    all.map_or(0..0, |(first, last)| {
        geometry.offset(&first)..geometry.offset(&last) + geometry.size
    })
}

impl<'p, 'a> Cut<'p, 'a> {
    fn new(part: &'p mut Part<'a>, catalog: &Catalog, geometry: &Geometry) -> Cut<'p, 'a> {
        let placement = &part.placement;
        let mut segments: [Vec<Segment>; MAX_RANK] =
            std::array::from_fn(|axis| cut_runs(&placement.slots[axis], geometry.tile[axis]));
        let lined_up = part.stored.take().and_then(|stored| {
            LinedUp::new(stored, placement.axis, &segments, (catalog, geometry))
        });
        // Those of one tile are found without a look at all others.
        for segments in &mut segments {
            segments.sort_by_key(|segment| segment.tile);
        }
        let shape = part.placement.shape();
        let mut pitches = [1; MAX_RANK];
        let mut samples = 1;
        for (pitch, &len) in pitches.iter_mut().zip(&shape) {
            *pitch = samples;
            samples *= len;
        }
        Cut {
            part,
            segments,
            pitches,
            size: geometry.size,
            samples,
            check: RunningCheck::default(),
            failed: None,
            lined_up,
            ahead: Vec::new(),
            ahead_first: 0,
        }
    }

    /// Segments of an axis that lie in this tile coordinate.
    fn within(&self, axis: usize, tile: u64) -> impl Iterator<Item = &Segment> {
        let segments = &self.segments[axis];
        let first = segments.partition_point(|segment| segment.tile < tile);
        let of_tile = move |segment: &&Segment| segment.tile == tile;
        segments[first..].iter().take_while(of_tile)
    }

    /// The run of samples that this row of tiles wants of the frame, when it is one:
    /// whole rows of one image. First sample and count.
    fn run_in(&self, row: &Coordinates, chunk: &[u64]) -> Option<(u64, u64)> {
        let x = self.segments[0].iter();
        let columns = x.filter(|segment| chunk.binary_search(&segment.tile).is_ok());
        if columns.map(|segment| segment.len).sum::<u64>() != self.pitches[1] {
            return None;
        }
        let mut run = (0, 0);
        for axis in 1..MAX_RANK {
            let mut segments = self.within(axis, row[axis]);
            let (segment, others) = (segments.next()?, segments.next());
            if others.is_some() || axis > 1 && segment.len > 1 {
                return None;
            }
            run.0 += segment.first * self.pitches[axis];
            if axis == 1 {
                run.1 = segment.len * self.pitches[1];
            }
        }
        Some(run)
    }

    /// Reads samples that may have been read ahead.
    fn read_samples(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        let size = self.size;
        let start = first
            .checked_sub(self.ahead_first)
            .map(|k| k as usize * size);
        let found = start.and_then(|start| self.ahead.get(start..)?.get(..out.len()));
        match found {
            Some(found) => out.copy_from_slice(found),
            None => self.part.samples.read(first, out)?,
        }
        Ok(())
    }

    fn touches(&self, row: &Coordinates, chunk: &[u64]) -> bool {
        (1..MAX_RANK).all(|axis| self.within(axis, row[axis]).next().is_some())
            && chunk.iter().any(|&x| self.within(0, x).next().is_some())
    }

    /// How many samples of this tile the frame has.
    fn covers(&self, tile: &Coordinates) -> u64 {
        if self.failed.is_some() {
            return 0;
        }
        (0..MAX_RANK)
            .map(|axis| {
                self.within(axis, tile[axis])
                    .map(|segment| segment.len)
                    .sum::<u64>()
            })
            .product()
    }

    /// The corners in this tile of the box that holds what the frame has there.
    fn ends_in(&self, tile: &Coordinates) -> Option<(Coordinates, Coordinates)> {
        let (mut first, mut last) = ([u64::MAX; MAX_RANK], [0; MAX_RANK]);
        for axis in 0..MAX_RANK {
            for segment in self.within(axis, tile[axis]) {
                first[axis] = first[axis].min(segment.inner);
                last[axis] = last[axis].max(segment.inner + segment.len - 1);
            }
        }
        (!first.contains(&u64::MAX)).then_some((first, last))
    }

    /// Reads the frame's pixels that lie in these tiles, if they are wanted, into the
    /// buffer.
    fn read_row(
        &mut self,
        row: &Coordinates,
        chunk: &[u64],
        is_wanted: &dyn Fn(&usize) -> bool,
        fill: &mut Fill<'_>,
    ) -> Result<()> {
        let groups: [Vec<Segment>; MAX_RANK] = std::array::from_fn(|axis| match axis {
            0 => Vec::new(),
            _ => self.within(axis, row[axis]).copied().collect(),
        });
        if groups[1..].iter().any(Vec::is_empty) {
            return Ok(());
        }
        let columns: Vec<Column> = self.segments[0]
            .iter()
            .filter_map(|segment| Some((chunk.binary_search(&segment.tile).ok()?, *segment)))
            .filter(|(tile, _)| is_wanted(tile))
            .collect();
        // Columns whose pixels follow each other are read together; no pixel is
        // read twice, or the check would count it twice.
        let adjoin = |a: &Column, b: &Column| a.1.first + a.1.len == b.1.first;
        for columns in columns.chunk_by(adjoin) {
            self.read_columns(columns, &groups, fill)?;
        }
        Ok(())
    }

    fn read_columns(
        &mut self,
        columns: &[Column],
        groups: &[Vec<Segment>; MAX_RANK],
        fill: &mut Fill<'_>,
    ) -> Result<()> {
        let (Some((_, first)), Some((_, last))) = (columns.first(), columns.last()) else {
            return Ok(());
        };
        let (first_x, end_x) = (first.first, last.first + last.len);
        let size = fill.geometry.size;
        let row_bytes = (end_x - first_x) as usize * size;
        // Whole rows follow each other in the frame; parts of rows do not.
        let whole_rows = first_x == 0 && end_x == self.pitches[1];
        let rows_at_once = if whole_rows {
            (READ_BYTES / row_bytes).max(1) as u64
        } else {
            1
        };
        let total = self.samples * size as u64;
        // Which segment on each axis from z, and which pixel of it.
        let mut segment = [0; MAX_RANK];
        let mut pixel = [0; MAX_RANK];
        loop {
            let mut first = first_x;
            let mut inner = [0; MAX_RANK];
            for axis in 2..MAX_RANK {
                let here = &groups[axis][segment[axis]];
                first += (here.first + pixel[axis]) * self.pitches[axis];
                inner[axis] = here.inner + pixel[axis];
            }
            for rows in &groups[1] {
                let mut done = 0;
                while done < rows.len {
                    let count = rows_at_once.min(rows.len - done);
                    fill.scratch.resize(row_bytes * count as usize, 0);
                    let at = first + (rows.first + done) * self.pitches[1];
                    self.read_samples(at, fill.scratch)?;
                    self.check.add(at * size as u64, fill.scratch, total);
                    (fill.progress)(fill.scratch.len() as u64);
                    let mut lens = [1; MAX_RANK];
                    lens[1] = count as usize;
                    inner[1] = rows.inner + done;
                    let mut source = Layout {
                        start: 0,
                        strides: [0; MAX_RANK],
                    };
                    source.strides[0] = size as isize;
                    source.strides[1] = row_bytes as isize;
                    for (number, column) in columns {
                        inner[0] = column.inner;
                        lens[0] = column.len as usize;
                        source.start = (column.first - first_x) as usize * size;
                        let mut target = fill.geometry.layout(&inner);
                        target.start = fill.held.offset(*number, target.start);
                        let from = (fill.scratch.as_slice(), &source);
                        let to = (&mut *fill.buffer, &target);
                        copy_box(size, fill.masks[*number], &lens, from, to);
                    }
                    done += count;
                }
            }
            let step = (2..MAX_RANK).find(|&axis| {
                pixel[axis] += 1;
                if pixel[axis] == groups[axis][segment[axis]].len {
                    pixel[axis] = 0;
                    segment[axis] += 1;
                }
                let more = segment[axis] < groups[axis].len();
                segment[axis] *= usize::from(more);
                more
            });
            if step.is_none() {
                return Ok(());
            }
        }
    }
}

/// Stores buffers until there are no more, and gives them back.
fn store_jobs(
    storage: &dyn Storage,
    jobs: &mpsc::Receiver<Job>,
    done: &mpsc::Sender<Job>,
) -> Result<()> {
    while let Ok(job) = jobs.recv() {
        for &(at, bytes) in &job.reserve {
            storage.allocate(at, bytes)?;
        }
        for (at, range) in &job.writes {
            storage.write(*at, &job.buffer[range.clone()])?;
            storage.written(*at, range.len() as u64);
        }
        // Nobody waits for the last buffers.
        let _ = done.send(job);
    }
    Ok(())
}
