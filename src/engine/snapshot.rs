//! One commit, readable for ever: what it refers to is never overwritten.

use std::sync::{Arc, OnceLock};

use super::Coordinates;
use super::index::{IndexReader, show_tile};
use super::pieces::Pieces;
use super::tables;
use super::tiles::{Geometry, Segment, Tile, cut_span};
use crate::error::{Error, Kind, Result};
use crate::format::catalog::{Catalog, Piece};
use crate::format::ledger::Record;
use crate::format::patches::{Patch, PatchReader};
use crate::format::superblock::{SUPERBLOCK_AT, SUPERBLOCK_BYTES, Superblock};
use crate::format::{Extent, MAX_CATALOG_BYTES, PAGE};
use crate::kernels::copy::{Layout, copy_box, fill};
use crate::region::{AXIS_NAMES, MAX_RANK, Span, places, show_shape, volume};
use crate::storage::{Bytes, Storage};

/// Tiles asked for ahead of their use.
const TILES_AHEAD: usize = 64;

/// One commit of a cube.
pub struct Snapshot {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) catalog: Arc<Catalog>,
    /// Where the catalog stands.
    pub(super) extent: Extent,
    pub(super) pieces: [Pieces; MAX_RANK],
    pub(super) geometry: Geometry,
    pub(super) committed: u64,
    /// The patch sets, once they were asked for; views share them.
    patches: Arc<OnceLock<Vec<Bytes>>>,
    notice: Option<String>,
    /// Of a view of some positions of an axis: that axis, and which they are.
    kept: Option<(usize, Vec<u64>)>,
}

/// The newest valid superblock.
pub(super) struct Chosen {
    pub(super) superblock: Superblock,
    /// Which of the two it is.
    pub(super) slot: usize,
    /// What the user should know of the other one.
    pub(super) notice: Option<String>,
    /// Why the other one could not be read: the newest commit may be in it.
    pub(super) unread: Option<Error>,
}

/// Chooses the newest valid superblock.
///
/// # Errors
/// When neither holds; of two reasons the more telling one is given.
pub(super) fn choose_superblock(storage: &dyn Storage) -> Result<Chosen> {
    let len = storage.len()?;
    if len == 0 {
        return Err(Error::input("is empty, not a cube"));
    }
    let mut best: Option<(Superblock, usize)> = None;
    let mut reason: Option<Error> = None;
    let mut unread = None;
    let mut sequences = Vec::new();
    for (slot, &at) in SUPERBLOCK_AT.iter().enumerate() {
        let bytes = (SUPERBLOCK_BYTES as u64).min(len.saturating_sub(at));
        let found = storage
            .read(at.min(len), bytes)
            .and_then(|bytes| Superblock::decode(&bytes));
        match found {
            Ok(found) => {
                sequences.push(found.sequence);
                if best
                    .as_ref()
                    .is_none_or(|(best, _)| best.sequence < found.sequence)
                {
                    best = Some((found, slot));
                }
            }
            // A newer program wrote here: what the other slot says is old.
            Err(error) if error.kind() == Kind::Unsupported => return Err(error),
            Err(error) if error.kind() == Kind::Io => {
                let hint = "the newest commit may be named there: copy the file to another disk";
                unread = Some(error.hint(hint));
            }
            Err(error) => {
                if reason
                    .as_ref()
                    .is_none_or(|reason| reason.kind() == Kind::Input)
                {
                    reason = Some(error);
                }
            }
        }
    }
    let Some((superblock, slot)) = best else {
        return Err(unread
            .or(reason)
            .unwrap_or_else(|| Error::input("is not a cube")));
    };
    // Asked anew: a writer may have grown the file and committed since.
    let len = storage.len()?;
    if len < superblock.committed {
        return Err(Error::damaged(format!(
            "is cut short: it has {len} bytes, the cube needs {}",
            superblock.committed
        ))
        .hint("copy it again from where it came; what is left cannot be trusted"));
    }
    // Each is one newer than the other. In a cube that was just made there is one,
    // and the other was never written.
    let doubtful = match sequences[..] {
        [one, other] => one.abs_diff(other) != 1,
        _ if unread.is_some() => true,
        _ => superblock.sequence > 1 || !is_blank(storage, SUPERBLOCK_AT[1 - slot])?,
    };
    let generation = superblock.generation;
    let notice = match &unread {
        Some(error) => Some(format!(
            "one of the two superblocks cannot be read: this is generation {generation}, and a \
             later one may be there: {error}"
        )),
        None => doubtful.then(|| {
            format!(
                "one of the two superblocks does not hold, as after a loss of power: this is \
                 generation {generation}, and a later one may be lost"
            )
        }),
    };
    Ok(Chosen {
        superblock,
        slot,
        notice,
        unread,
    })
}

/// Was no superblock ever written there?
fn is_blank(storage: &dyn Storage, at: u64) -> Result<bool> {
    let bytes = storage.read(at, SUPERBLOCK_BYTES as u64)?;
    Ok(bytes.iter().all(|&byte| byte == 0))
}

/// Reads bytes and holds them against their check.
pub(super) fn read_checked(storage: &dyn Storage, extent: &Extent, what: &str) -> Result<Bytes> {
    let bytes = storage.read(extent.at, extent.bytes)?;
    let found = crc32c::crc32c(&bytes);
    if found != extent.check {
        return Err(Error::damaged(format!(
            "{what} at byte {}: checksum is {found:08x}, expected {:08x}",
            extent.at, extent.check
        )));
    }
    Ok(bytes)
}

/// Reads the catalog that stands at `extent`.
fn read_catalog(storage: &dyn Storage, extent: &Extent, committed: u64) -> Result<Catalog> {
    if extent.bytes > MAX_CATALOG_BYTES {
        return Err(Error::damaged(format!(
            "a catalog of {} bytes, more than {MAX_CATALOG_BYTES}",
            extent.bytes
        )));
    }
    let bytes = read_checked(storage, extent, "catalog")
        .map_err(|error| error.hint("the newest commit is lost; older ones may be whole"))?;
    Catalog::decode(&bytes, committed)
}

impl Snapshot {
    /// Opens the newest commit. Takes no lock.
    pub fn open(storage: Arc<dyn Storage>) -> Result<Snapshot> {
        Snapshot::open_chosen(storage).map(|(snapshot, _)| snapshot)
    }

    /// Opens the newest commit, for what will be put in its place.
    ///
    /// # Errors
    /// Also when one of the superblocks cannot be read: it may name a newer one.
    pub fn open_to_replace(storage: Arc<dyn Storage>) -> Result<Snapshot> {
        match Snapshot::open_chosen(storage)? {
            (_, Some(error)) => Err(error),
            (snapshot, None) => Ok(snapshot),
        }
    }

    /// The newest commit, and why the other superblock could not be read.
    fn open_chosen(storage: Arc<dyn Storage>) -> Result<(Snapshot, Option<Error>)> {
        // A writer may commit between the reading of the superblock and that of
        // the catalog; the commit read then is older, and still all there.
        let chosen = choose_superblock(storage.as_ref());
        // Both may be caught half stored, one after the other, by a slow reader:
        // what is really damaged still is at a second look.
        let chosen = match chosen {
            Ok(chosen) if chosen.notice.is_none() => chosen,
            _ => choose_superblock(storage.as_ref())?,
        };
        let superblock = &chosen.superblock;
        let mut snapshot = Snapshot::at(storage, &superblock.catalog, superblock.committed)?;
        snapshot.notice = chosen.notice;
        Ok((snapshot, chosen.unread))
    }

    /// Opens the commit whose catalog stands at `extent`.
    pub fn at(storage: Arc<dyn Storage>, extent: &Extent, committed: u64) -> Result<Snapshot> {
        let catalog = read_catalog(storage.as_ref(), extent, committed)?;
        let geometry = Geometry::new(&catalog.tile, catalog.dtype);
        let mut pieces: [Pieces; MAX_RANK] = std::array::from_fn(|_| Pieces::single());
        for (number, (pieces, axis)) in pieces.iter_mut().zip(&catalog.axes).enumerate() {
            *pieces = tables::load(storage.as_ref(), axis)?;
            pieces.check(number, geometry.tile[number])?;
        }
        Ok(Snapshot {
            geometry,
            storage,
            catalog: Arc::new(catalog),
            extent: *extent,
            pieces,
            committed,
            patches: Arc::default(),
            notice: None,
            kept: None,
        })
    }

    /// The same commit with other positions.
    fn view(&self, pieces: [Pieces; MAX_RANK], kept: Option<(usize, Vec<u64>)>) -> Snapshot {
        Snapshot {
            storage: self.storage.clone(),
            catalog: self.catalog.clone(),
            extent: self.extent,
            pieces,
            geometry: self.geometry,
            committed: self.committed,
            patches: self.patches.clone(),
            notice: None,
            kept,
        }
    }

    /// The same commit read through another storage of the same bytes.
    pub(super) fn through(&self, storage: Arc<dyn Storage>) -> Snapshot {
        Snapshot {
            storage,
            patches: Arc::default(),
            ..self.view(self.pieces.clone(), self.kept.clone())
        }
    }

    /// The same commit with these positions of an axis alone, in their order: what is
    /// read of it counts positions from the first that is left.
    #[must_use]
    pub fn keeping(&self, axis: usize, positions: Vec<u64>) -> Snapshot {
        let slots = positions
            .iter()
            .filter_map(|&at| self.pieces[axis].slot(at));
        let left: Vec<Piece> = slots.map(|slot| Piece(slot, 1)).collect();
        let mut pieces = self.pieces.clone();
        pieces[axis] = Pieces::new(&left);
        self.view(pieces, Some((axis, positions)))
    }

    /// Are some positions of an axis left out?
    pub fn is_view(&self) -> bool {
        self.kept.is_some()
    }

    /// Of a view of some positions of an axis: that axis, and which they are.
    pub fn kept(&self) -> Option<(usize, &[u64])> {
        let kept = self.kept.as_ref();
        kept.map(|(axis, positions)| (*axis, positions.as_slice()))
    }

    /// The slots of the first position in each of these spans.
    pub fn first_slots(&self, spans: &[Span]) -> Coordinates {
        std::array::from_fn(|axis| {
            let position = spans.get(axis).map_or(0, |span| span.start);
            self.pieces[axis].slot(position).unwrap_or(0)
        })
    }

    /// All positions of each axis.
    pub fn whole(&self) -> Vec<Span> {
        let shape = self.shape();
        shape.iter().map(|&len| Span::run(0, len)).collect()
    }

    /// Where a position of a view is in the cube.
    pub fn in_cube(&self, axis: usize, position: u64) -> u64 {
        match &self.kept {
            Some((of, kept)) if *of == axis => {
                let at = usize::try_from(position).ok().and_then(|at| kept.get(at));
                at.copied().unwrap_or(position)
            }
            _ => position,
        }
    }

    /// The same commit with these runs of positions alone on each axis, each a position
    /// and how many.
    #[must_use]
    pub fn of_runs(&self, runs: &[Vec<(u64, u64)>]) -> Snapshot {
        let pieces = std::array::from_fn(|axis| {
            let Some(runs) = runs.get(axis) else {
                return self.pieces[axis].clone();
            };
            let runs = runs.iter();
            let runs = runs.flat_map(|&(position, len)| self.pieces[axis].runs(position, len));
            let slots: Vec<Piece> = runs.map(|run| Piece(run.slot, run.len)).collect();
            Pieces::new(&slots)
        });
        self.view(pieces, None)
    }

    /// Makes all pixels that a frame came with the positions.
    pub(super) fn look_at(&mut self, record: &Record) {
        for (pieces, slots) in self.pieces.iter_mut().zip(&record.slots) {
            *pieces = Pieces::new(slots);
        }
        self.kept = None;
    }

    /// The same commit without what `clean` put over its samples.
    #[must_use]
    pub fn without_patches(&self) -> Snapshot {
        let mut bare = self.through(self.storage.clone());
        Arc::make_mut(&mut bare.catalog).patches.clear();
        bare
    }

    /// Where the catalog stands.
    pub fn extent(&self) -> &Extent {
        &self.extent
    }

    /// Bytes of the file that commits may refer to.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Everything the commit says about itself.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What the user should know of the file, although it can be read.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// Lengths of the axes, x first, 3 to 8 of them.
    pub fn shape(&self) -> Vec<u64> {
        let rank = self.catalog.axes.len();
        self.pieces[..rank].iter().map(Pieces::len).collect()
    }

    /// The piece table of an axis, also of one beyond the last.
    pub fn pieces(&self, axis: usize) -> &Pieces {
        &self.pieces[axis]
    }

    /// The commit that was current when this one's command began: an older one, so that
    /// who goes back comes to an end.
    pub fn previous(&self) -> Result<Option<Snapshot>> {
        let Some(extent) = &self.catalog.previous else {
            return Ok(None);
        };
        let before = Snapshot::at(self.storage.clone(), extent, self.committed)?;
        let (own, named) = (self.catalog.generation, before.catalog.generation);
        match named < own {
            true => Ok(Some(before)),
            false => Err(Error::damaged(format!(
                "generation {own} names generation {named} as the one before"
            ))),
        }
    }

    /// Verbs of the commands that undo could go back through, the newest first, at most
    /// so many. Catalogs alone are read.
    pub fn verbs_before(&self, most: usize) -> Vec<String> {
        let mut verbs = Vec::new();
        let mut generation = self.catalog.generation;
        let mut next = self.catalog.previous;
        while let Some(extent) = next.filter(|_| verbs.len() < most) {
            match read_catalog(self.storage.as_ref(), &extent, self.committed) {
                Ok(catalog) if catalog.generation < generation => {
                    generation = catalog.generation;
                    next = catalog.previous;
                    verbs.push(catalog.command.verb);
                }
                // What cannot be read any more, or lies, is lost already.
                _ => break,
            }
        }
        verbs
    }

    /// A span on every axis, those left out at their first position.
    ///
    /// # Errors
    /// When one reaches past the end of its axis.
    pub(super) fn region(&self, spans: &[Span]) -> Result<[Span; MAX_RANK]> {
        let mut region = [Span::run(0, 1); MAX_RANK];
        region[..spans.len()].copy_from_slice(spans);
        for ((span, pieces), name) in region.iter().zip(&self.pieces).zip(AXIS_NAMES) {
            let len = pieces.len();
            if span.len > 0 && span.start.max(span.at(span.len - 1)) >= len {
                return Err(Error::input(format!("axis {name} has length {len}")));
            }
        }
        Ok(region)
    }

    /// Reads the samples at these positions (one span per axis, x first; axes
    /// left out are at their first position) into `out`, as little-endian
    /// values, x fastest.
    ///
    /// # Errors
    /// When the file is damaged where the samples are, or cannot be read.
    pub fn read(&self, spans: &[Span], out: &mut [u8]) -> Result<()> {
        let request = self.region(spans)?;
        let lens = request.map(|span| span.len);
        let samples = usize::try_from(volume(&lens)?).ok();
        if samples.and_then(|samples| samples.checked_mul(self.geometry.size)) != Some(out.len()) {
            return Err(Error::input(format!(
                "{} samples of {} do not fill {} bytes",
                show_shape(&lens),
                self.catalog.dtype,
                out.len()
            )));
        }
        if out.is_empty() {
            return Ok(());
        }
        // In the order of tiles, which is about that of the file: an axis in
        // thousands of pieces is else read in jumps, and each tile many times.
        let segments: [Vec<Segment>; MAX_RANK] = std::array::from_fn(|axis| {
            let mut segments =
                cut_span(&self.pieces[axis], &request[axis], self.geometry.tile[axis]);
            segments.sort_by_key(|segment| segment.tile);
            segments
        });
        let mut strides = [0; MAX_RANK];
        let mut stride = self.geometry.size;
        for (slot, &len) in strides.iter_mut().zip(&lens) {
            *slot = stride as isize;
            stride *= len as usize;
        }
        let mut index = self.index();
        let mut copy = Vec::new();
        let mut ahead: Vec<(Option<Tile>, [Segment; MAX_RANK])> = Vec::with_capacity(TILES_AHEAD);
        for number in places(segments.each_ref().map(|segments| segments.len() as u64)) {
            if ahead.len() == TILES_AHEAD {
                self.read_boxes(&ahead, &strides, &mut copy, out)?;
                ahead.clear();
            }
            let boxed: [Segment; MAX_RANK] =
                std::array::from_fn(|axis| segments[axis][number[axis] as usize]);
            let tile = boxed.map(|segment| segment.tile);
            let found = index.tile(&tile)?;
            ahead.push((found, boxed));
        }
        self.read_boxes(&ahead, &strides, &mut copy, out)
    }

    /// Reads the samples of a box of positions from the linear index `first` on,
    /// x fastest, until `out` is full. `region` has a run on each axis, and the
    /// samples asked for lie inside it.
    pub fn read_run(&self, region: &[Span], first: u64, out: &mut [u8]) -> Result<()> {
        let size = self.geometry.size;
        let (mut at, mut done) = (first, 0);
        while done < out.len() {
            let left = ((out.len() - done) / size) as u64;
            // As many whole axes as fit from here on, then a run on the next.
            let (mut rest, mut inner, mut whole) = (at, 1, true);
            let mut taken = 0;
            let spans: Vec<Span> = region
                .iter()
                .map(|axis| {
                    let start = rest % axis.len;
                    rest /= axis.len;
                    let len = match whole {
                        true => (left / inner).min(axis.len - start),
                        false => 1,
                    };
                    if whole {
                        taken = inner * len;
                        whole = len == axis.len;
                        inner = taken;
                    }
                    Span::run(axis.start + start, len)
                })
                .collect();
            let bytes = taken as usize * size;
            self.read(&spans, &mut out[done..done + bytes])?;
            done += bytes;
            at += taken;
        }
        Ok(())
    }

    /// Copies one box out of each of some tiles. `copy` is room for bytes of the file.
    fn read_boxes(
        &self,
        boxes: &[(Option<Tile>, [Segment; MAX_RANK])],
        strides: &[isize; MAX_RANK],
        copy: &mut Vec<u8>,
        out: &mut [u8],
    ) -> Result<()> {
        // One tile alone is not asked for before it is read.
        let mut is_asked = boxes.len() == 1;
        // What comes out of one tile is read at once.
        for of_tile in boxes.chunk_by(|a, b| a.0 == b.0) {
            let read;
            let mut stored: Option<(u64, &[u8])> = None;
            let mut patches = Vec::new();
            if let Some(Tile { at, .. }) = of_tile[0].0 {
                let ranges = of_tile.iter().map(|(_, boxed)| self.touched(at, boxed));
                let ends = ranges.map(|(from, bytes)| (from, from + bytes));
                let (from, to) = ends.fold((u64::MAX, 0), |a, b| (a.0.min(b.0), a.1.max(b.1)));
                let found = match !is_asked && self.storage.read_in_memory(from, to - from, copy) {
                    true => &copy[..],
                    false => {
                        if !std::mem::replace(&mut is_asked, true) {
                            self.ask_for(boxes);
                        }
                        read = self.storage.read(from, to - from)?;
                        &read[..]
                    }
                };
                stored = Some((from - at, found));
                patches = self.patches_of(at)?;
            }
            for (tile, boxed) in of_tile {
                let lens = boxed.map(|segment| segment.len as usize);
                let first = boxed.map(|segment| segment.first);
                let start: usize = first
                    .iter()
                    .zip(strides)
                    .map(|(&first, &stride)| first as usize * stride as usize)
                    .sum();
                let target = Layout {
                    start,
                    strides: *strides,
                };
                let (Some(tile), Some((skipped, stored))) = (*tile, stored) else {
                    self.fill_box(&lens, &target, out);
                    continue;
                };
                let mut source = self.geometry.layout(&boxed.map(|segment| segment.inner));
                source.start -= skipped as usize;
                for (stride, segment) in source.strides.iter_mut().zip(boxed) {
                    *stride *= segment.step as isize;
                }
                copy_box(
                    self.geometry.size,
                    tile.mask,
                    &lens,
                    (stored, &source),
                    (&mut *out, &target),
                );
                self.patch_box(&patches, boxed, &target, out);
            }
        }
        Ok(())
    }

    /// Has the system fetch what boxes hold, while what comes first is waited for.
    fn ask_for(&self, boxes: &[(Option<Tile>, [Segment; MAX_RANK])]) {
        let mut ranges: Vec<(u64, u64)> = boxes
            .iter()
            .filter_map(|(tile, boxed)| tile.map(|tile| self.touched(tile.at, boxed)))
            .collect();
        ranges.sort_unstable();
        // Each range is a call to the system: neighbours are asked for together.
        ranges.dedup_by(|next, last| {
            let near = next.0 <= last.0 + last.1 + PAGE;
            if near {
                last.1 = last.1.max(next.0 + next.1 - last.0);
            }
            near
        });
        self.storage.will_need(&ranges);
    }

    /// Range of the file, `(at, bytes)`, that holds a box of the tile at `at`.
    fn touched(&self, at: u64, boxed: &[Segment; MAX_RANK]) -> (u64, u64) {
        let mut lo = boxed.map(|segment| segment.inner);
        let mut hi = lo;
        for (axis, segment) in boxed.iter().enumerate() {
            let last = segment
                .inner
                .wrapping_add_signed(segment.step * (segment.len as i64 - 1));
            lo[axis] = lo[axis].min(last);
            hi[axis] = hi[axis].max(last);
        }
        let from = self.geometry.offset(&lo);
        let to = self.geometry.offset(&hi) + self.geometry.size;
        (at + from as u64, (to - from) as u64)
    }

    fn fill_box(&self, lens: &[usize; MAX_RANK], target: &Layout, out: &mut [u8]) {
        // A source whose every stride is 0 repeats its one sample.
        let mut sample = [0; 8];
        fill(&mut sample, self.catalog.pad, self.geometry.size);
        let source = Layout {
            start: 0,
            strides: [0; MAX_RANK],
        };
        copy_box(
            self.geometry.size,
            0,
            lens,
            (&sample, &source),
            (out, target),
        );
    }

    /// Puts those patches of a tile that fall in a box over what was read.
    fn patch_box(
        &self,
        patches: &[Patch],
        boxed: &[Segment; MAX_RANK],
        target: &Layout,
        out: &mut [u8],
    ) {
        for &(element, bits) in patches {
            let inner = self.geometry.inner(u64::from(element));
            let mut to = target.start;
            let mut axes = boxed.iter().zip(inner).zip(target.strides);
            let inside = axes.all(|((segment, inner), stride)| {
                let ahead = inner as i64 - segment.inner as i64;
                let number = ahead / segment.step;
                to = to.wrapping_add_signed(number as isize * stride);
                ahead % segment.step == 0 && 0 <= number && (number as u64) < segment.len
            });
            if inside {
                let size = self.geometry.size;
                out[to..to + size].copy_from_slice(&bits.to_le_bytes()[..size]);
            }
        }
    }

    /// The patch sets, oldest first. What is read of them later has checks of
    /// its own, so that a large set costs no more than a small one.
    pub(super) fn patch_sets(&self) -> Result<&[Bytes]> {
        if let Some(sets) = self.patches.get() {
            return Ok(sets);
        }
        let mut sets = Vec::with_capacity(self.catalog.patches.len());
        for set in &self.catalog.patches {
            let bytes = self.storage.read(set.extent.at, set.extent.bytes)?;
            PatchReader::new(&bytes, self.catalog.dtype)?;
            sets.push(bytes);
        }
        Ok(self.patches.get_or_init(|| sets))
    }

    /// The patches of the tile at this offset, those of later sets behind.
    pub(super) fn patches_of(&self, at: u64) -> Result<Vec<Patch>> {
        let mut patches = Vec::new();
        for set in self.patch_sets()? {
            patches.extend(PatchReader::new(set, self.catalog.dtype)?.of_tile(at)?);
        }
        Ok(patches)
    }

    /// Finds tiles.
    pub(super) fn index(&self) -> IndexReader<'_> {
        IndexReader::new(self.storage.as_ref(), &self.catalog)
    }

    /// Which samples of a line along `axis` were replaced: their numbers in its
    /// span, ascending. On the other axes the first position counts.
    ///
    /// # Errors
    /// When the index or the patches are damaged there.
    pub fn patched_along(&self, spans: &[Span], axis: usize) -> Result<Vec<u64>> {
        let mut patched = Vec::new();
        let Some(line) = spans.get(axis).filter(|_| !self.catalog.patches.is_empty()) else {
            return Ok(patched);
        };
        let mut slots = self.first_slots(spans);
        let mut index = self.index();
        // The tile at hand, and what is replaced in it.
        let mut known: Option<(u64, Vec<u32>)> = None;
        for number in 0..line.len {
            let slot = self.pieces[axis].slot(line.at(number));
            slots[axis] = slot.unwrap_or(0);
            let Some((at, element)) = self.find_in(&mut index, &slots)? else {
                continue;
            };
            let elements = match known.take() {
                Some((tile, elements)) if tile == at => elements,
                _ => {
                    let patches = self.patches_of(at)?.into_iter();
                    let mut elements: Vec<u32> = patches.map(|(element, _)| element).collect();
                    elements.sort_unstable();
                    elements
                }
            };
            if elements.binary_search(&element).is_ok() {
                patched.push(number);
            }
            known = Some((at, elements));
        }
        Ok(patched)
    }

    /// Offset of the tile that holds these slots, and the sample's number in it;
    /// `None` in void.
    pub fn find(&self, slots: &Coordinates) -> Result<Option<(u64, u32)>> {
        self.find_in(&mut self.index(), slots)
    }

    fn find_in(
        &self,
        index: &mut IndexReader<'_>,
        slots: &Coordinates,
    ) -> Result<Option<(u64, u32)>> {
        let tile: Coordinates = std::array::from_fn(|axis| slots[axis] / self.geometry.tile[axis]);
        let inner: Coordinates = std::array::from_fn(|axis| slots[axis] % self.geometry.tile[axis]);
        let Some(Tile { at, .. }) = index.tile(&tile)? else {
            return Ok(None);
        };
        let element = self.geometry.offset(&inner) / self.geometry.size;
        let element = u32::try_from(element)
            .map_err(|_| Error::damaged(format!("tile {} is too large", show_tile(&tile))))?;
        Ok(Some((at, element)))
    }
}
