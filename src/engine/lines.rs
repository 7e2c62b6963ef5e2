//! Lines of samples along any axis, a column of tiles at a time.
//!
//! A column is all tiles that share their coordinates on the axes across the
//! lines; no two columns have a tile in common, so they can be worked on in any
//! order, by any thread. Lines are copied straight out of the map into a compact
//! buffer, 16 side by side, with the patches put over them. A sample that is not
//! there (void, BLANK) is NaN in it. Void tiles are no rows at all, unless void
//! reads as a possible value: then a frame may have brought nothing else.

use super::Coordinates;
use super::coverage::{ColumnCoverage, Coverage};
use super::snapshot::Snapshot;
use super::tiles::{Segment, Tile, cut_span};
use crate::error::{Error, Result};
use crate::format::patches::PatchReader;
use crate::format::superblock::FIRST_FREE;
use crate::kernels::clip::{LANES, Rows};
use crate::kernels::gather::{Lane, Layers, Place, Stored};
use crate::region::{MAX_RANK, Span, volume};
use crate::storage::Bytes;

/// Bytes of a column that are asked for before it is come to.
const ASKED_AHEAD: u64 = 64 << 20;

/// Bytes asked for further on while a column is read.
const ASKED_ON: u64 = 16 << 20;

/// A line has at most so many samples: rows times lanes fit 32 bits.
const MOST_ROWS: u64 = 1 << 27;

/// What a patch costs while its column is worked on.
pub const PATCH_BYTES: u64 = 16;

/// How void is told from data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Void {
    /// By its value, or by the frames' records where that is a possible one.
    Plain,
    /// By the records: NaN and BLANK of a frame are told from void.
    ByFrames,
    /// There is none: the caller has seen that the records cover all.
    None,
}

/// The lines of a region of a cube.
pub struct Lines<'s> {
    snapshot: &'s Snapshot,
    axis: usize,
    region: [Span; MAX_RANK],
    lens: Coordinates,
    /// On each axis the segments of the region, by tile.
    tiles: [Groups; MAX_RANK],
    /// The axis's segments in the order of a line, and the group each is in.
    order: Vec<(Segment, usize)>,
    sets: Vec<PatchReader<'s>>,
    coverage: Option<Coverage>,
    /// Samples in void tiles may be data.
    keeps_void: bool,
    stored: Stored,
    /// What is committed of the file, from [`FIRST_FREE`] on.
    file: Bytes,
}

/// Segments of an axis, those in one tile together.
pub(super) struct Groups {
    segments: Vec<Segment>,
    /// Where each tile's segments begin, and the end.
    starts: Vec<usize>,
}

impl Groups {
    pub(super) fn new(mut segments: Vec<Segment>) -> Groups {
        segments.sort_by_key(|segment| (segment.tile, segment.inner));
        let mut starts = vec![0];
        for number in 1..segments.len() {
            if segments[number].tile != segments[number - 1].tile {
                starts.push(number);
            }
        }
        starts.push(segments.len());
        Groups { segments, starts }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn group(&self, number: usize) -> &[Segment] {
        &self.segments[self.starts[number]..self.starts[number + 1]]
    }
}

/// Where a row of a column is.
#[derive(Clone, Copy)]
struct Row {
    /// Number of its tile in the column.
    tile: u32,
    /// Its layer in that tile, in samples.
    layer: u32,
    /// Number of the sample in its line.
    sample: u32,
}

/// Rows that lie in one tile.
struct RowRun {
    tile: usize,
    first: usize,
    layers: Layers,
}

/// A patch, by what a column knows of it: line, row, bits.
type PlacedPatch = (u32, u32, u64);

/// The tiles of one column, and the lines in them.
pub struct Column {
    tiles: Vec<Option<Tile>>,
    rows: Vec<Row>,
    runs: Vec<RowRun>,
    /// Where each line stands in a layer, in samples.
    cross: Vec<u32>,
    /// Coordinate inside the tile and number in the region, on each axis across.
    spots: [Vec<(u32, u64)>; MAX_RANK],
    /// Coordinates of its tiles.
    tile: Coordinates,
    patches: Vec<PlacedPatch>,
    coverage: Option<ColumnCoverage>,
}

impl Snapshot {
    /// Is void among these samples, one span per axis and none of them empty, that its
    /// value does not tell from data, or where it is asked for by frames, any void?
    ///
    /// # Errors
    /// When the region is not in the cube, or records are damaged.
    pub fn has_void(&self, spans: &[Span], void: Void) -> Result<bool> {
        let (_, segments) = self.segments(spans)?;
        // Frames mostly stand one behind the other on the last axis.
        let axis = self.catalog.axes.len() - 1;
        Ok(self.coverage(axis, &segments, void)?.is_some())
    }

    /// A region that has samples, and the segments that it is made of.
    pub(super) fn segments(
        &self,
        spans: &[Span],
    ) -> Result<([Span; MAX_RANK], [Vec<Segment>; MAX_RANK])> {
        let region = self.region(spans)?;
        if volume(&region.map(|span| span.len))? == 0 {
            return Err(Error::input("there are no samples along the axis"));
        }
        let tile = self.geometry.tile;
        let cut = |axis| cut_span(self.pieces(axis), &region[axis], tile[axis]);
        Ok((region, std::array::from_fn(cut)))
    }

    /// What frames cover of a region, where void matters and they leave some.
    fn coverage(
        &self,
        axis: usize,
        segments: &[Vec<Segment>; MAX_RANK],
        void: Void,
    ) -> Result<Option<Coverage>> {
        match self.keeps_void(void) && void != Void::None {
            true => Coverage::of(self, axis, segments),
            false => Ok(None),
        }
    }

    /// Where void reads as what never counts, the value says all.
    fn keeps_void(&self, void: Void) -> bool {
        let (dtype, pad) = (self.catalog.dtype, self.catalog.pad);
        void == Void::ByFrames || !dtype.is_nan(pad) && self.blank_bits() != Some(pad)
    }

    /// Bits of the value that means "no data" in an integer cube.
    fn blank_bits(&self) -> Option<u64> {
        let (dtype, blank) = (self.catalog.dtype, self.catalog.blank);
        blank.and_then(|blank| dtype.bits_of_int(blank))
    }
}

impl<'s> Lines<'s> {
    /// The lines along `axis` in a region, one span per axis, none of them
    /// empty.
    ///
    /// # Errors
    /// When the region is not in the cube, or the index, patches or records are
    /// damaged.
    pub fn new(
        snapshot: &'s Snapshot,
        axis: usize,
        spans: &[Span],
        void: Void,
    ) -> Result<Lines<'s>> {
        let (region, segments) = snapshot.segments(spans)?;
        let lens = region.map(|span| span.len);
        if lens[axis] >= MOST_ROWS {
            return Err(Error::unsupported(format!(
                "a line of {} samples is longer than {MOST_ROWS}",
                lens[axis]
            )));
        }
        let catalog = &snapshot.catalog;
        let keeps_void = snapshot.keeps_void(void);
        let coverage = snapshot.coverage(axis, &segments, void)?;
        let mut order: Vec<Segment> = segments[axis].clone();
        order.sort_unstable_by_key(|segment| segment.first);
        let tiles = segments.map(Groups::new);
        let order = order.into_iter().map(|segment| {
            let groups = &tiles[axis];
            let starts = &groups.starts[..groups.len()];
            let upto = starts.partition_point(|&at| groups.segments[at].tile <= segment.tile);
            (segment, upto - 1)
        });
        let order = order.collect();
        let sets = snapshot.patch_sets()?.iter();
        let sets = sets.map(|set| PatchReader::new(set, catalog.dtype));
        let committed = snapshot.committed.saturating_sub(FIRST_FREE);
        Ok(Lines {
            snapshot,
            axis,
            region,
            lens,
            tiles,
            order,
            sets: sets.collect::<Result<_>>()?,
            coverage,
            keeps_void,
            stored: Stored {
                dtype: catalog.dtype,
                // Each tile has its own.
                mask: 0,
                blank: snapshot.blank_bits(),
            },
            file: snapshot.storage.borrow(FIRST_FREE, committed)?,
        })
    }

    /// Are all samples integers, where there are samples?
    pub fn has_integers(&self) -> bool {
        !self.stored.dtype.is_float()
    }

    /// The axis that they run along.
    pub fn axis(&self) -> usize {
        self.axis
    }

    /// Samples of a line.
    pub fn len(&self) -> usize {
        self.lens[self.axis] as usize
    }

    /// Has a line no sample? None has.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Lengths of the region.
    pub fn lens(&self) -> &Coordinates {
        &self.lens
    }

    /// Coordinates of a tile of a column.
    pub fn tile(&self, column: &Column, tile: usize) -> Coordinates {
        let mut coordinates = column.tile;
        coordinates[self.axis] = self.tiles[self.axis].group(tile)[0].tile;
        coordinates
    }

    /// How many columns there are.
    pub fn columns(&self) -> u64 {
        self.across()
            .map(|axis| self.tiles[axis].len() as u64)
            .product()
    }

    /// Bytes of the tiles of a column.
    pub fn column_bytes(&self) -> u64 {
        (self.tiles[self.axis].len() as u64).saturating_mul(self.snapshot.geometry.bytes as u64)
    }

    /// About how much memory a column takes, lines and patches apart.
    pub fn column_memory(&self) -> u64 {
        let rows = self.len() * size_of::<Row>();
        let tiles = self.tiles[self.axis].len() * (size_of::<Option<Tile>>() + 8);
        (rows + tiles + self.order.len() * size_of::<RowRun>()) as u64
    }

    fn across(&self) -> impl Iterator<Item = usize> + use<'_, 's> {
        (0..MAX_RANK).filter(|&axis| axis != self.axis)
    }

    /// Which group of tiles the column is in, on each axis across.
    fn groups_of(&self, column: u64) -> [usize; MAX_RANK] {
        let mut rest = column as usize;
        let mut groups = [0; MAX_RANK];
        for axis in self.across() {
            groups[axis] = rest % self.tiles[axis].len();
            rest /= self.tiles[axis].len();
        }
        groups
    }

    /// Looks up the tiles of a column.
    fn find(&self, column: u64) -> Result<(Coordinates, Vec<Option<Tile>>)> {
        let groups = self.groups_of(column);
        let mut tile: Coordinates =
            std::array::from_fn(|axis| self.tiles[axis].group(groups[axis])[0].tile);
        let snapshot = self.snapshot;
        let mut index = snapshot.index();
        let bytes = snapshot.geometry.bytes as u64;
        let along = &self.tiles[self.axis];
        let mut tiles = Vec::with_capacity(along.len());
        for group in 0..along.len() {
            tile[self.axis] = along.group(group)[0].tile;
            // What lies past this commit came later, in slots that it does not have.
            let inside = |tile: &Tile| tile.at.saturating_add(bytes) <= snapshot.committed;
            tiles.push(index.tile(&tile)?.filter(inside));
        }
        Ok((tile, tiles))
    }

    /// Asks for the bytes of a column that will be come to soon.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn ask_ahead(&self, column: u64) -> Result<()> {
        if column < self.columns() {
            let (_, tiles) = self.find(column)?;
            self.ask(&tiles, 0, ASKED_AHEAD);
        }
        Ok(())
    }

    fn ask(&self, tiles: &[Option<Tile>], from: usize, most: u64) {
        let bytes = self.snapshot.geometry.bytes as u64;
        let count = (most / bytes).max(1) as usize;
        let tiles = tiles.iter().skip(from).take(count);
        let ranges: Vec<_> = tiles.flatten().map(|tile| (tile.at, bytes)).collect();
        self.snapshot.storage.will_need(&ranges);
    }

    /// A column, by number. Patches are not in it yet.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn column(&self, number: u64) -> Result<Column> {
        let groups = self.groups_of(number);
        let (tile, tiles) = self.find(number)?;
        let strides = self.snapshot.geometry.strides;
        let size = self.snapshot.geometry.size as isize;
        let stride = |axis: usize| strides[axis] / size;
        let mut spots: [Vec<(u32, u64)>; MAX_RANK] = Default::default();
        let mut cross = vec![0];
        for axis in self.across() {
            let segments = self.tiles[axis].group(groups[axis]).iter();
            spots[axis] = segments
                .flat_map(|segment| {
                    (0..segment.len).map(|k| {
                        let inner = segment.inner.wrapping_add_signed(segment.step * k as i64);
                        (inner as u32, segment.first + k)
                    })
                })
                .collect();
            spots[axis].sort_unstable();
            let outer = spots[axis].iter().flat_map(|&(inner, _)| {
                let at = inner * stride(axis) as u32;
                cross.iter().map(move |&before| before + at)
            });
            cross = outer.collect();
        }
        let mut rows = Vec::with_capacity(self.len());
        let mut runs: Vec<RowRun> = Vec::new();
        let is_row = |group: usize| self.keeps_void || tiles[group].is_some();
        let present = self.order.iter().filter(|(_, group)| is_row(*group));
        for (segment, group) in present {
            let layers = Layers {
                first: segment.inner as usize * stride(self.axis) as usize,
                step: segment.step as isize * stride(self.axis),
                count: segment.len as usize,
            };
            runs.push(RowRun {
                tile: *group,
                first: rows.len(),
                layers,
            });
            rows.extend((0..layers.count).map(|k| Row {
                tile: *group as u32,
                layer: layers.first.wrapping_add_signed(layers.step * k as isize) as u32,
                sample: segment.first as u32 + k as u32,
            }));
        }
        let mut column = Column {
            tiles,
            rows,
            runs,
            cross,
            spots,
            tile,
            patches: Vec::new(),
            coverage: None,
        };
        if let Some(coverage) = &self.coverage {
            let lens = self.snapshot.geometry.tile;
            let slots: [Vec<u64>; MAX_RANK] = std::array::from_fn(|axis| {
                let spots = column.spots[axis].iter();
                spots
                    .map(|&(inner, _)| column.tile[axis] * lens[axis] + u64::from(inner))
                    .collect()
            });
            let rows = |sample: u64| {
                let rows = &column.rows;
                rows.partition_point(|row| u64::from(row.sample) < sample)
            };
            column.coverage = Some(coverage.of_column(self.axis, &slots, &rows));
        }
        Ok(column)
    }

    /// How many patches the tiles of a column have.
    ///
    /// # Errors
    /// When a set of them is damaged.
    pub fn count_patches(&self, column: &Column) -> Result<u64> {
        let mut patches = 0u64;
        for tile in column.tiles.iter().flatten() {
            for set in &self.sets {
                patches = patches.saturating_add(set.count(tile.at)?);
            }
        }
        Ok(patches)
    }

    /// Has the column the patches of these lines at hand, and no others.
    ///
    /// # Errors
    /// When a set of them is damaged.
    pub fn load_patches(&self, column: &mut Column, lines: &std::ops::Range<usize>) -> Result<()> {
        column.patches.clear();
        if self.sets.is_empty() {
            return Ok(());
        }
        let geometry = &self.snapshot.geometry;
        const NONE: u32 = u32::MAX;
        // By coordinate inside a tile: the line's share of its number, and the
        // row of each layer of a tile.
        let mut pitch = 1;
        let mut shares: [Vec<u32>; MAX_RANK] = Default::default();
        for axis in self.across() {
            shares[axis] = vec![NONE; geometry.tile[axis] as usize];
            for (number, &(inner, _)) in column.spots[axis].iter().enumerate() {
                shares[axis][inner as usize] = (number * pitch) as u32;
            }
            pitch *= column.spots[axis].len();
        }
        let mut by_tile: Vec<Vec<usize>> = vec![Vec::new(); column.tiles.len()];
        for (number, run) in column.runs.iter().enumerate() {
            by_tile[run.tile].push(number);
        }
        let mut layers = vec![NONE; geometry.tile[self.axis] as usize];
        let stride = (geometry.strides[self.axis] / geometry.size as isize) as usize;
        for (tile, runs) in column.tiles.iter().zip(&by_tile) {
            let Some(Tile { at, .. }) = *tile else {
                continue;
            };
            let patches = self.snapshot.patches_of(at)?;
            if patches.is_empty() {
                continue;
            }
            layers.fill(NONE);
            for &number in runs {
                let run = &column.runs[number];
                for k in 0..run.layers.count {
                    let layer = run
                        .layers
                        .first
                        .wrapping_add_signed(run.layers.step * k as isize);
                    layers[layer / stride] = (run.first + k) as u32;
                }
            }
            for (element, bits) in patches {
                let inner = geometry.inner(u64::from(element));
                let row = layers[inner[self.axis] as usize];
                let mut parts = self.across().map(|axis| shares[axis][inner[axis] as usize]);
                let line = parts.try_fold(0, |line, part| (part != NONE).then(|| line + part));
                if let Some(line) = line
                    && row != NONE
                    && lines.contains(&(line as usize))
                {
                    column.patches.push((line, row, bits));
                }
            }
        }
        // Stable, so that of two patches of a sample the later set's comes last.
        column.patches.sort_by_key(|&(line, row, _)| (line, row));
        Ok(())
    }

    /// Copies lines of a column out of the map: row `k` of the `b`-th block of 16
    /// becomes `out[b * rows + k]`. Lanes beyond the last line are NaN. The
    /// patches of these lines have been loaded.
    ///
    /// # Errors
    /// When the storage is shorter than the index says.
    pub fn gather<L: Lane>(
        &self,
        column: &Column,
        lines: std::ops::Range<usize>,
        out: &mut Rows<L>,
    ) -> Result<()> {
        let pitch = column.rows.len();
        let cross = &column.cross[lines.clone()];
        let places: Vec<Place> = cross.chunks(LANES).map(place).collect();
        out.resize(places.len() * pitch, L::NAN);
        let bytes = self.snapshot.geometry.bytes;
        let pad = L::of_bits(&self.stored, self.snapshot.catalog.pad);
        let mut asked = (ASKED_AHEAD / bytes as u64) as usize;
        for run in &column.runs {
            if run.tile >= asked {
                let more = (ASKED_ON / bytes as u64).max(1);
                self.ask(&column.tiles, asked, ASKED_ON);
                asked += more as usize;
            }
            let Some(Tile { at, mask }) = column.tiles[run.tile] else {
                for block in 0..places.len() {
                    out[block * pitch + run.first..][..run.layers.count].fill([pad; LANES]);
                }
                continue;
            };
            let at = at.saturating_sub(FIRST_FREE) as usize;
            let tile = self.file.get(at..at + bytes);
            let tile = tile.ok_or_else(|| Error::damaged("a tile is outside the file"))?;
            let stored = Stored {
                mask,
                ..self.stored
            };
            L::gather(&stored, tile, &run.layers, &places, out, pitch, run.first);
        }
        let first = column
            .patches
            .partition_point(|patch| (patch.0 as usize) < lines.start);
        let patches = column.patches[first..].iter();
        for &(line, row, bits) in patches.take_while(|patch| (patch.0 as usize) < lines.end) {
            let line = line as usize - lines.start;
            out[line / LANES * pitch + row as usize][line % LANES] = L::of_bits(&self.stored, bits);
        }
        let used = cross.len() % LANES;
        if used > 0 {
            let last = out.len() - pitch;
            for row in &mut out[last..] {
                row[used..].fill(L::NAN);
            }
        }
        Ok(())
    }

    /// The lines of a column from `first` on that are a box of the cube: how many, at most
    /// `most`, and where it is on each axis, x fastest across; on their own it is all of
    /// the region.
    pub fn boxed(&self, column: &Column, first: usize, most: usize) -> (usize, [Span; MAX_RANK]) {
        let mut spans = self.region;
        // As many whole axes as fit from here on, then a run on the next.
        let (mut rest, mut lines, mut whole) = (first, 1, true);
        for axis in self.across() {
            let spots = &column.spots[axis];
            let (start, room) = (rest % spots.len(), if whole { most / lines } else { 1 });
            rest /= spots.len();
            let mut positions = spots[start..]
                .iter()
                .map(|&(_, number)| self.region[axis].at(number));
            let mut span = Span::run(positions.next().unwrap_or(0), 1);
            for position in positions.take(room - 1) {
                if span.len == 1 {
                    span.step = position as i64 - span.start as i64;
                }
                if position != span.at(span.len) {
                    break;
                }
                span.len += 1;
            }
            lines *= span.len as usize;
            whole &= span.len as usize == spots.len();
            spans[axis] = span;
        }
        (lines, spans)
    }

    /// Says, row by row, which lanes of the block that begins at `line` frames
    /// brought: bit `l` for lane `l`. False when all of them are.
    pub fn covered(&self, column: &Column, line: usize, out: &mut Vec<u16>) -> bool {
        let Some(coverage) = &column.coverage else {
            return false;
        };
        let tile = self.snapshot.geometry.tile;
        let slots: [Coordinates; LANES] = std::array::from_fn(|lane| {
            let line = (line + lane).min(column.cross.len() - 1);
            let spots = column.spots_of(line);
            std::array::from_fn(|axis| {
                spots[axis].map_or(0, |(inner, _)| {
                    column.tile[axis] * tile[axis] + u64::from(inner)
                })
            })
        });
        coverage.of_block(&slots, column.rows.len(), out);
        true
    }
}

impl Column {
    /// How many lines it has.
    pub fn lines(&self) -> usize {
        self.cross.len()
    }

    /// How many rows: samples of a line that are not in a void tile.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Number in its line of the sample in a row.
    pub fn sample(&self, row: usize) -> u32 {
        self.rows[row].sample
    }

    /// Number of the tile that a row is in, and the element there of a line.
    pub fn element(&self, line: usize, row: usize) -> (u32, u32) {
        let place = &self.rows[row];
        (place.tile, place.layer + self.cross[line])
    }

    /// How many tiles it has.
    pub fn tiles(&self) -> usize {
        self.tiles.len()
    }

    /// Offset in the file of a tile; `None` when it is void.
    pub fn tile_at(&self, tile: usize) -> Option<u64> {
        self.tiles[tile].map(|tile| tile.at)
    }

    fn spots_of(&self, line: usize) -> [Option<(u32, u64)>; MAX_RANK] {
        let mut rest = line;
        std::array::from_fn(|axis| {
            let spots = &self.spots[axis];
            // The axis of the lines has none.
            (!spots.is_empty()).then(|| {
                let spot = spots[rest % spots.len()];
                rest /= spots.len();
                spot
            })
        })
    }

    /// Where a line is in the region: its numbers on the axes across, 0 on its own.
    pub fn place(&self, line: usize) -> Coordinates {
        self.spots_of(line)
            .map(|spot| spot.map_or(0, |(_, number)| number))
    }
}

/// Where up to 16 lines stand; what is beyond the last repeats it.
fn place(cross: &[u32]) -> Place {
    let last = cross[cross.len() - 1];
    if cross.len() == LANES && last - cross[0] == LANES as u32 - 1 {
        return Place::Run(cross[0]);
    }
    Place::Each(std::array::from_fn(|lane| {
        cross.get(lane).copied().unwrap_or(last)
    }))
}
