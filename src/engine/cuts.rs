//! Frames cut at tile edges, and read into buffers of tiles.

use std::ops::Range;
use std::sync::Mutex;

use super::Coordinates;
use super::running::RunningCheck;
use super::stored::LinedUp;
use super::tiles::{Geometry, Segment, cut_runs};
use super::write::{Held, Part};
use crate::error::{Error, Result};
use crate::format::catalog::Catalog;
use crate::kernels::copy::{Layout, copy_box};
use crate::region::MAX_RANK;
use crate::storage::PIECE_BYTES;
use crate::turns::{lock, spawn};

/// Rows are read from a frame in runs of about this many bytes.
const READ_BYTES: usize = 512 << 10;

/// A buffer of frames of one shape has at most so many bytes, if that is
/// [`PIECE_BYTES`] of each tile: processors keep it in their caches.
const CACHED_BYTES: u64 = 4 << 20;

/// A part with its runs cut at tile edges.
pub(super) struct Cut<'p, 'a> {
    pub(super) part: &'p mut Part<'a>,
    /// On each axis, in the order of tiles.
    pub(super) segments: [Vec<Segment>; MAX_RANK],
    /// Samples from one pixel to the next on each axis of the frame.
    pitches: Coordinates,
    /// Bytes of a sample.
    size: usize,
    pub(super) samples: u64,
    pub(super) check: RunningCheck,
    pub(super) failed: Option<Error>,
    /// What of it is read as it stands in another cube.
    pub(super) lined_up: Option<LinedUp>,
    /// Samples that were read ahead, and the first of them.
    ahead: Vec<u8>,
    ahead_first: u64,
}

/// Columns of a frame in one tile of a row: the tile's number in the buffer, and
/// which they are.
type Column = (usize, Segment);

/// A buffer that is being filled.
pub(super) struct Fill<'b> {
    pub(super) geometry: Geometry,
    pub(super) held: Held,
    /// What each tile in the buffer is XORed with.
    pub(super) masks: Vec<u64>,
    pub(super) buffer: &'b mut [u8],
    pub(super) scratch: &'b mut Vec<u8>,
    pub(super) progress: &'b dyn Fn(u64),
}

impl<'p, 'a> Cut<'p, 'a> {
    pub(super) fn new(
        part: &'p mut Part<'a>,
        catalog: &Catalog,
        geometry: &Geometry,
    ) -> Cut<'p, 'a> {
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

    pub(super) fn touches(&self, row: &Coordinates, chunk: &[u64]) -> bool {
        (1..MAX_RANK).all(|axis| self.within(axis, row[axis]).next().is_some())
            && chunk.iter().any(|&x| self.within(0, x).next().is_some())
    }

    /// How many samples of this tile the frame has.
    pub(super) fn covers(&self, tile: &Coordinates) -> u64 {
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
    pub(super) fn read_row(
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

/// Reads what a row of tiles wants of frames that are slow to read, several at once,
/// into buffers that take no more than `budget` together. Where that is not enough,
/// frames are read one after the other, as those are that are not slow.
pub(super) fn read_ahead(
    cuts: &mut [Cut<'_, '_>],
    row: &Coordinates,
    chunk: &[u64],
    size: usize,
    budget: u64,
) {
    let mut slow = Vec::new();
    let mut bytes = 0u64;
    for cut in cuts.iter_mut() {
        cut.ahead.clear();
        if cut.failed.is_none()
            && cut.part.samples.is_slow()
            && let Some((first, count)) = cut.run_in(row, chunk)
        {
            bytes = bytes.saturating_add(count.saturating_mul(size as u64));
            slow.push((cut, first, count));
        }
    }
    if slow.len() < 2 || bytes > budget {
        return;
    }
    // The system is asked where there is something to share.
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let n_threads = n_threads.min(slow.len());
    if n_threads < 2 {
        return;
    }
    let queue = Mutex::new(slow.into_iter());
    let work = || {
        loop {
            let next = lock(&queue).next();
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
            // Those that the system has no room for leave their work to the others.
            let _ = spawn(scope, work);
        }
        work();
    });
}

/// The bytes of a tile of this row that lie in the slots being inserted, when
/// they are one run: then all of them are new. `None` when they are not.
pub(super) fn new_layers(
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

/// How many frames go into a buffer of a row of so many tiles together, and how many
/// bytes of a tile they have at most. Where the layers of each are a run of their own, as
/// many as fit the cache, if there are enough for one write a tile: a buffer that has left
/// the cache takes a third longer to fill and to store.
pub(super) fn cuts_at_once(
    cuts: &[Cut<'_, '_>],
    layers: &Option<Range<usize>>,
    n_tiles: usize,
    geometry: &Geometry,
    budget: u64,
) -> (usize, u64) {
    let all = (cuts.len(), u64::MAX);
    let (Some(_), Some(first)) = (layers, cuts.first()) else {
        return all;
    };
    let axis = first.part.placement.axis;
    let is_like_first = |cut: &Cut<'_, '_>| {
        let mut others = (0..MAX_RANK).filter(|&other| other != axis);
        others.all(|other| cut.segments[other] == first.segments[other])
    };
    // Several that are slow are read at once; what stands in another cube is copied.
    let is_read = |cut: &Cut<'_, '_>| cut.lined_up.is_none() && !cut.part.samples.is_slow();
    if !cuts.iter().all(|cut| is_like_first(cut) && is_read(cut)) {
        return all;
    }
    let slots = first.segments[axis].iter().map(|segment| segment.len);
    let of_cut = slots.sum::<u64>() * geometry.strides[axis].unsigned_abs() as u64;
    let piece = PIECE_BYTES.min(budget / 8) / of_cut;
    let row = CACHED_BYTES.min(budget / 8) / of_cut / n_tiles as u64;
    let count = piece.max(row).max(1);
    (count as usize, count.saturating_mul(of_cut))
}

/// Do frames have every slot of a tile on the axis along which they are inserted?
pub(super) fn fill_axis(cuts: &[Cut<'_, '_>], tile: &Coordinates, geometry: &Geometry) -> bool {
    let Some(axis) = cuts.first().map(|cut| cut.part.placement.axis) else {
        return false;
    };
    let all = cuts.iter().flat_map(|cut| cut.within(axis, tile[axis]));
    all.map(|segment| segment.len).sum::<u64>() == geometry.tile[axis]
}

/// The bytes of a tile from the first that frames fill to the last.
pub(super) fn touched(
    cuts: &[Cut<'_, '_>],
    tile: &Coordinates,
    geometry: &Geometry,
) -> Range<usize> {
    let ends = cuts.iter().filter_map(|cut| cut.ends_in(tile));
    let all = ends.reduce(|(first, last), (lo, hi)| {
        let least = std::array::from_fn(|axis| first[axis].min(lo[axis]));
        (least, std::array::from_fn(|axis| last[axis].max(hi[axis])))
    });
    all.map_or(0..0, |(first, last)| {
        geometry.offset(&first)..geometry.offset(&last) + geometry.size
    })
}
