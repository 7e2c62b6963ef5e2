//! A patch set: replaced samples, beside the data and never in it.
//!
//! Patches are sorted by the offset of their tile in the file, then by element,
//! and no element stands twice, so that a reader finds a tile's patches with
//! one search.

use std::ops::Range;

use super::{take_u32, take_u64};
use crate::dtype::DType;
use crate::error::{Error, Result};

/// First bytes of a patch set.
pub const MAGIC: [u8; 8] = *b"\nPATCHES";

const AT_SIZE: usize = MAGIC.len();
const AT_TILES: usize = AT_SIZE + 8;
const AT_PATCHES: usize = AT_TILES + 8;
const AT_DIRECTORY: usize = AT_PATCHES + 8;

/// Bytes of one entry of the directory: offset of the tile, patches before its first.
const DIRECTORY_ENTRY: usize = 16;

/// A replaced sample: its number in the tile (x fastest), and the new bits.
pub type Patch = (u32, u64);

/// The patches of one tile, by the tile's offset in the file.
pub type TilePatches = (u64, Vec<Patch>);

/// Writes a set. `tiles` is sorted by offset, and each tile's patches by element.
pub fn encode(dtype: DType, tiles: &[TilePatches]) -> Vec<u8> {
    let patches: usize = tiles.iter().map(|(_, patches)| patches.len()).sum();
    let mut out = Vec::with_capacity(
        AT_DIRECTORY + tiles.len() * DIRECTORY_ENTRY + patches * (4 + dtype.size()),
    );
    out.extend(MAGIC);
    out.extend((dtype.size() as u64).to_le_bytes());
    out.extend((tiles.len() as u64).to_le_bytes());
    out.extend((patches as u64).to_le_bytes());
    let mut before = 0u64;
    for (at, patches) in tiles {
        out.extend(at.to_le_bytes());
        out.extend(before.to_le_bytes());
        before += patches.len() as u64;
    }
    for (element, _) in tiles.iter().flat_map(|(_, patches)| patches) {
        out.extend(element.to_le_bytes());
    }
    for (_, bits) in tiles.iter().flat_map(|(_, patches)| patches) {
        out.extend(&bits.to_le_bytes()[..dtype.size()]);
    }
    out
}

/// A set whose header has been checked against its length.
pub struct PatchReader<'a> {
    bytes: &'a [u8],
    dtype: DType,
    tiles: usize,
    patches: usize,
}

impl<'a> PatchReader<'a> {
    /// Reads the header of a set.
    ///
    /// # Errors
    /// When its numbers do not add up to its length.
    pub fn new(bytes: &'a [u8], dtype: DType) -> Result<PatchReader<'a>> {
        let read = || {
            let number = |at| take_u64(bytes, at).and_then(|n| usize::try_from(n).ok());
            let (tiles, patches) = (number(AT_TILES)?, number(AT_PATCHES)?);
            let fits = bytes.starts_with(&MAGIC) && number(AT_SIZE)? == dtype.size();
            let directory = tiles.checked_mul(DIRECTORY_ENTRY)?;
            let values = patches.checked_mul(4 + dtype.size())?;
            let len = AT_DIRECTORY.checked_add(directory)?.checked_add(values)?;
            (fits && len == bytes.len()).then_some((tiles, patches))
        };
        let (tiles, patches) = read().ok_or_else(|| Error::damaged("a patch set is wrong"))?;
        Ok(PatchReader {
            bytes,
            dtype,
            tiles,
            patches,
        })
    }

    /// How many samples the set replaces.
    pub fn len(&self) -> u64 {
        self.patches as u64
    }

    /// Does it replace none?
    pub fn is_empty(&self) -> bool {
        self.patches == 0
    }

    /// Offsets of the tiles that it changes, in the order of the set.
    pub fn tiles(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.tiles).map(|tile| self.tile_at(tile).0)
    }

    /// What is wrong with it, given how many samples a tile has.
    pub fn fault(&self, tile_samples: u64) -> Option<String> {
        let mut last: Option<(u64, usize)> = None;
        for tile in 0..self.tiles {
            let (at, before) = self.tile_at(tile);
            let sorted = match last {
                None => before == 0,
                Some(last) => last.0 < at && last.1 <= before,
            };
            if !sorted {
                return Some(format!("entry {tile} of its directory is out of order"));
            }
            last = Some((at, before));
        }
        for at in self.tiles() {
            let mut least = 0;
            for (element, _) in self.of_tile(at) {
                let element = u64::from(element);
                if element < least || tile_samples <= element {
                    return Some(format!(
                        "element {element} of the tile at byte {at}, which has {tile_samples}, \
                         is out of order or outside it"
                    ));
                }
                least = element + 1;
            }
        }
        None
    }

    fn tile_at(&self, tile: usize) -> (u64, usize) {
        let at = AT_DIRECTORY + tile * DIRECTORY_ENTRY;
        let number = |at| take_u64(self.bytes, at).unwrap_or(u64::MAX);
        let before = usize::try_from(number(at + 8)).unwrap_or(usize::MAX);
        (number(at), before.min(self.patches))
    }

    /// Which of its patches, by number, are those of the tile at this offset.
    fn range_of(&self, at: u64) -> Range<usize> {
        let (mut lo, mut hi) = (0, self.tiles);
        while lo < hi {
            let middle = lo.midpoint(hi);
            if self.tile_at(middle).0 < at {
                lo = middle + 1;
            } else {
                hi = middle;
            }
        }
        let found = lo < self.tiles && self.tile_at(lo).0 == at;
        let start = if found { self.tile_at(lo).1 } else { 0 };
        let end = match found {
            true if lo + 1 < self.tiles => self.tile_at(lo + 1).1,
            true => self.patches,
            false => 0,
        };
        start..end.max(start)
    }

    /// How many patches the tile at this offset has.
    pub fn count(&self, at: u64) -> usize {
        self.range_of(at).len()
    }

    /// The patches of the tile at this offset.
    pub fn of_tile(&self, at: u64) -> impl Iterator<Item = Patch> + '_ {
        let elements = AT_DIRECTORY + self.tiles * DIRECTORY_ENTRY;
        let values = elements + 4 * self.patches;
        self.range_of(at).filter_map(move |patch| {
            let element = take_u32(self.bytes, elements + 4 * patch)?;
            let value = self.bytes.get(values + patch * self.dtype.size()..)?;
            Some((element, self.dtype.bits_at(value)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_found_by_tile() {
        let tiles = vec![
            (4096, vec![(0, 1), (9, 2)]),
            (8192, vec![]),
            (1 << 40, vec![(131_071, 0xffff)]),
        ];
        let bytes = encode(DType::U16, &tiles);
        let reader = PatchReader::new(&bytes, DType::U16).unwrap();
        for (at, patches) in &tiles {
            assert_eq!(&reader.of_tile(*at).collect::<Vec<_>>(), patches);
            assert_eq!(reader.count(*at), patches.len());
        }
        assert_eq!(reader.of_tile(0).count() + reader.of_tile(5000).count(), 0);
        assert_eq!(reader.of_tile(u64::MAX).count(), 0);
    }

    #[test]
    fn a_set_that_lies_about_itself_is_refused() {
        let good = encode(DType::U16, &[(4096, vec![(0, 1)])]);
        assert!(PatchReader::new(&good, DType::F32).is_err());
        for at in [AT_TILES, AT_PATCHES, 0] {
            let mut bad = good.clone();
            bad[at + 7] = 0xff;
            assert!(PatchReader::new(&bad, DType::U16).is_err());
        }
        for len in 0..good.len() {
            assert!(PatchReader::new(&good[..len], DType::U16).is_err());
        }
        let mut bad = good.clone();
        bad[AT_DIRECTORY + 8..AT_DIRECTORY + 16].fill(0xff);
        assert_eq!(
            PatchReader::new(&bad, DType::U16)
                .unwrap()
                .of_tile(4096)
                .count(),
            0
        );
    }
}
