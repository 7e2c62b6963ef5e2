//! A commit's tiles as the chunks of an array that other programs read in place.
//!
//! For that positions must follow tiles, each from its first slot on, and a tile must
//! hold samples as they are, with no mask and no patches: else it is copied, where there
//! is a place for copies. Where the tiles stand in the file does not matter.

use super::Coordinates;
use super::index::show_tile;
use super::snapshot::Snapshot;
use super::tiles::{Segment, Tile, cut_span};
use crate::error::{Error, Result};
use crate::format::{PAGE, align_up};
use crate::kernels::copy::{repeat, xor};
use crate::region::{AXIS_NAMES, MAX_RANK, Span, check_samples, places, volume};

/// Bytes of an entry of a shard's index: offset and length.
const ENTRY_BYTES: u64 = 16;

/// Bytes of its check.
const CHECK_BYTES: u64 = 4;

/// So much of a shard's index is held.
const HELD_BYTES: usize = 1 << 20;

/// What follows from the reason why a cube cannot be read in place.
const COMPACT: &str = "cube compact puts samples in the order they are read, as they are";

/// The tiles of a commit, by the number of their chunk on each axis.
pub struct Chunks<'s> {
    snapshot: &'s Snapshot,
    /// Coordinate of the tile that each chunk is.
    tiles: [Vec<u64>; MAX_RANK],
}

impl<'s> Chunks<'s> {
    /// # Errors
    /// When chunks are not tiles: the hint is to compact.
    pub fn new(snapshot: &'s Snapshot) -> Result<Chunks<'s>> {
        check_samples(&snapshot.shape())?;
        let mut tiles: [Vec<u64>; MAX_RANK] = Default::default();
        for (axis, tiles) in tiles.iter_mut().enumerate() {
            let (pieces, tile) = (&snapshot.pieces[axis], snapshot.geometry.tile[axis]);
            let len = pieces.len();
            let segments = cut_span(pieces, &Span::run(0, len), tile);
            let is_chunk = |segment: &Segment| {
                let whole = tile.min(len - segment.first);
                segment.first.is_multiple_of(tile) && segment.inner == 0 && segment.len == whole
            };
            if let Some(other) = segments.iter().find(|segment| !is_chunk(segment)) {
                return Err(Error::unsupported(format!(
                    "positions of {} do not follow its tiles, from position {} on",
                    AXIS_NAMES[axis],
                    other.first + 1
                ))
                .hint(COMPACT));
            }
            *tiles = segments.iter().map(|segment| segment.tile).collect();
        }
        Ok(Chunks { snapshot, tiles })
    }

    /// How many chunks there are, void ones too.
    ///
    /// # Errors
    /// When a number has no room for it.
    pub fn count(&self) -> Result<u64> {
        volume(&self.lens())
    }

    fn lens(&self) -> Coordinates {
        self.tiles.each_ref().map(|tiles| tiles.len() as u64)
    }

    /// Calls `each` with the number of every chunk on each axis, x fastest, and its
    /// tile; `None` where it is void.
    ///
    /// # Errors
    /// When the index is damaged, or `each` fails.
    pub fn each(
        &self,
        each: &mut dyn FnMut(&Coordinates, Option<Tile>) -> Result<()>,
    ) -> Result<()> {
        let mut index = self.snapshot.index();
        for chunk in places(self.lens()) {
            let tile = std::array::from_fn(|axis| self.tiles[axis][chunk[axis] as usize]);
            each(&chunk, index.tile(&tile)?)?;
        }
        Ok(())
    }

    /// All samples of a tile; `None` when they can be read where they stand.
    ///
    /// # Errors
    /// When tile or patches cannot be read.
    pub fn copied(&self, tile: Tile) -> Result<Option<Vec<u8>>> {
        let geometry = &self.snapshot.geometry;
        let patches = self.snapshot.patches_of(tile.at)?;
        if tile.mask == 0 && patches.is_empty() {
            return Ok(None);
        }
        let stored = self.snapshot.storage.read(tile.at, geometry.bytes as u64)?;
        let mut samples = stored.to_vec();
        xor(&mut samples, repeat(tile.mask, geometry.size));
        for (element, bits) in patches {
            let from = element as usize * geometry.size;
            let sample = samples.get_mut(from..from + geometry.size);
            let sample = sample.ok_or_else(|| Error::damaged("a patch is outside its tile"))?;
            sample.copy_from_slice(&bits.to_le_bytes()[..geometry.size]);
        }
        Ok(Some(samples))
    }

    /// Does the file end with the index of a Zarr shard of these chunks?
    ///
    /// # Errors
    /// When the cube's own index is damaged.
    pub fn has_shard_index(&self) -> Result<bool> {
        let storage = self.snapshot.storage.as_ref();
        let bytes = self.shard_index_bytes()?;
        let Some(mut at) = storage.len()?.checked_sub(bytes) else {
            return Ok(false);
        };
        let mut same = true;
        self.shard_index(&mut |part| {
            same = same && *storage.read(at, part.len() as u64)? == *part;
            at += part.len() as u64;
            Ok(())
        })?;
        Ok(same)
    }

    /// Writes the index of a Zarr shard behind everything in the file, whose lock the
    /// caller holds; says how many bytes it has. No commit names it, so whoever writes
    /// next leaves it behind.
    ///
    /// # Errors
    /// When it cannot be written; the cube is then as it was.
    pub fn write_shard_index(&self) -> Result<u64> {
        let storage = self.snapshot.storage.as_ref();
        let bytes = self.shard_index_bytes()?;
        let before = storage.len()?;
        // It ends with a page: so does what an interrupted command cuts off behind it.
        let mut at = align_up(before + bytes, PAGE) - bytes;
        let done = self.shard_index(&mut |part| {
            storage.write(at, part)?;
            at += part.len() as u64;
            Ok(())
        });
        let done = done.and_then(|()| storage.sync());
        if done.is_err() {
            // Without success nothing is lost but disk.
            let _ = storage.truncate(before);
        }
        done.map(|()| bytes)
    }

    fn shard_index_bytes(&self) -> Result<u64> {
        let most = u64::MAX / 2 / ENTRY_BYTES;
        match self.count()? {
            count if count < most => Ok(count * ENTRY_BYTES + CHECK_BYTES),
            count => Err(Error::unsupported(format!("{count} tiles are too many"))),
        }
    }

    /// The index of a shard, a part at a time (Zarr codec `sharding_indexed`): offset and
    /// length of each chunk, all ones where it is void, and a CRC-32C.
    fn shard_index(&self, emit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let bytes = self.snapshot.geometry.bytes as u64;
        let mut held = Vec::new();
        let mut check = 0;
        self.each(&mut |chunk, tile| {
            if tile.is_some_and(|tile| tile.mask != 0) {
                return Err(Error::unsupported(format!(
                    "no other program can read tile {}: as the frames of one command did not fill \
                     it, its samples are stored by their difference from void",
                    show_tile(chunk)
                ))
                .hint(COMPACT));
            }
            let entry = tile.map_or([u64::MAX; 2], |tile| [tile.at, bytes]);
            held.extend(entry.iter().flat_map(|number| number.to_le_bytes()));
            if held.len() >= HELD_BYTES {
                check = crc32c::crc32c_append(check, &held);
                emit(&held)?;
                held.clear();
            }
            Ok(())
        })?;
        check = crc32c::crc32c_append(check, &held);
        held.extend(check.to_le_bytes());
        emit(&held)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::take_u64;
    use crate::storage::Storage;
    use crate::storage::memory::MemoryStorage;

    fn golden(name: &str) -> (Arc<MemoryStorage>, Snapshot) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden/format-2");
        let bytes = std::fs::read(format!("{folder}/{name}.cube")).unwrap();
        let storage = Arc::new(MemoryStorage::new(bytes));
        let snapshot = Snapshot::open(storage.clone()).unwrap();
        (storage, snapshot)
    }

    #[test]
    fn the_index_behind_the_file_names_the_samples_of_every_chunk() {
        let (storage, snapshot) = golden("uint16");
        let before = storage.contents();
        let chunks = Chunks::new(&snapshot).unwrap();
        assert!(!chunks.has_shard_index().unwrap());
        chunks.write_shard_index().unwrap();
        assert!(chunks.has_shard_index().unwrap());
        let file = storage.contents();
        assert_eq!(file[..before.len()], before);
        assert_eq!(file.len() as u64 % PAGE, 0);
        let entries = chunks.count().unwrap() as usize * 16;
        let (index, check) = file[file.len() - entries - 4..].split_at(entries);
        assert_eq!(check, crc32c::crc32c(index).to_le_bytes());
        let mut number = 0;
        let each = &mut |chunk: &Coordinates, _| {
            let at = take_u64(index, number).unwrap() as usize;
            let len = take_u64(index, number + 8).unwrap() as usize;
            number += 16;
            hold(&snapshot, chunk, &file[at..at + len])
        };
        chunks.each(each).unwrap();
        assert_eq!(number, entries);
        storage.extend(file.len() as u64 + 1).unwrap();
        assert!(!chunks.has_shard_index().unwrap());
    }

    /// Are these the samples of the chunk?
    fn hold(snapshot: &Snapshot, chunk: &Coordinates, tile: &[u8]) -> Result<()> {
        let geometry = snapshot.geometry;
        assert_eq!(tile.len(), geometry.bytes);
        let spans: [Span; MAX_RANK] = std::array::from_fn(|axis| {
            let len = geometry.tile[axis];
            let left = snapshot.pieces[axis].len() - chunk[axis] * len;
            Span::run(chunk[axis] * len, len.min(left))
        });
        let lens = spans.map(|span| span.len);
        let mut wanted = vec![0; volume(&lens)? as usize * geometry.size];
        snapshot.read(&spans, &mut wanted)?;
        for (element, sample) in wanted.chunks_exact(geometry.size).enumerate() {
            let mut rest = element as u64;
            let inner = lens.map(|len| {
                let at = rest % len;
                rest /= len;
                at
            });
            let found = &tile[geometry.offset(&inner)..][..geometry.size];
            assert_eq!(found, sample, "{chunk:?} {inner:?}");
        }
        Ok(())
    }

    #[test]
    fn a_tile_with_a_mask_is_copied_without() {
        let (_, snapshot) = golden("float32-ragged");
        let chunks = Chunks::new(&snapshot).unwrap();
        let mut copied = 0;
        let each = &mut |chunk: &Coordinates, tile: Option<Tile>| {
            let samples = tile.map(|tile| chunks.copied(tile)).transpose()?.flatten();
            copied += usize::from(samples.is_some());
            samples.map_or(Ok(()), |samples| hold(&snapshot, chunk, &samples))
        };
        chunks.each(each).unwrap();
        assert_eq!(copied, 3);
    }

    #[test]
    fn a_write_that_fails_leaves_the_cube_as_it_was() {
        for operations in 0.. {
            let (storage, snapshot) = golden("uint16");
            let before = storage.contents();
            storage.set_fuse(Some(operations));
            let done = Chunks::new(&snapshot).unwrap().write_shard_index();
            storage.set_fuse(None);
            if done.is_ok() {
                assert!(operations > 0);
                break;
            }
            assert_eq!(storage.contents()[..before.len()], before);
            Snapshot::open(storage).unwrap();
        }
    }

    #[test]
    fn what_is_no_array_of_tiles_is_refused() {
        for (name, says) in [
            ("float32-ragged", "no other program can read tile [0, 0, 0]"),
            (
                "deleted",
                "positions of x do not follow its tiles, from position 1 on",
            ),
        ] {
            let (storage, snapshot) = golden(name);
            let before = storage.contents();
            let written = Chunks::new(&snapshot).and_then(|chunks| chunks.write_shard_index());
            let error = written.err().unwrap();
            assert_eq!(storage.contents(), before);
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(error.hint_text(), Some(COMPACT));
        }
    }
}
