//! A patch set: replaced samples, beside the data and never in it.
//!
//! Patches are sorted by the offset of their tile in the file, then by element,
//! and no element stands twice, so that a reader finds a tile's patches with
//! one search. Every entry of the directory has a check of its own, and one of
//! its tile's patches: what a reader does not need it need not read, however
//! large the set is, and what it reads is checked.

use std::cmp::Ordering;

use super::{take_u32, take_u64};
use crate::dtype::DType;
use crate::error::{Error, Result};

/// First bytes of a patch set.
pub const MAGIC: [u8; 8] = *b"\nPATCHES";

const AT_SIZE: usize = MAGIC.len();
const AT_TILES: usize = AT_SIZE + 8;
const AT_PATCHES: usize = AT_TILES + 8;
const AT_DIRECTORY: usize = AT_PATCHES + 8;

/// Bytes of one entry of the directory: offset of the tile, patches before its
/// first, check of its patches, check of the entry.
const DIRECTORY_ENTRY: usize = 24;

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
    let mut bytes = Vec::new();
    for (number, (at, patches)) in (0u64..).zip(tiles) {
        bytes.clear();
        bytes.extend(
            patches
                .iter()
                .flat_map(|(element, _)| element.to_le_bytes()),
        );
        let value = |&(_, bits): &Patch| bits.to_le_bytes().into_iter().take(dtype.size());
        bytes.extend(patches.iter().flat_map(value));
        let entry = Entry {
            at: *at,
            before,
            check: crc32c::crc32c(&bytes),
        };
        out.extend(entry.encode(number));
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

/// One entry of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Offset of the tile in the file.
    at: u64,
    /// Patches of the set before its first.
    before: u64,
    /// Check of its elements and values.
    check: u32,
}

impl Entry {
    fn encode(&self, number: u64) -> [u8; DIRECTORY_ENTRY] {
        let mut bytes = [0; DIRECTORY_ENTRY];
        bytes[..8].copy_from_slice(&self.at.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.before.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.check.to_le_bytes());
        // The number is in it, so that entries in each other's place are found.
        let check = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), &bytes[..20]);
        bytes[20..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    fn decode(number: u64, bytes: &[u8]) -> Option<Entry> {
        let entry = Entry {
            at: take_u64(bytes, 0)?,
            before: take_u64(bytes, 8)?,
            check: take_u32(bytes, 16)?,
        };
        (entry.encode(number) == bytes.get(..DIRECTORY_ENTRY)?).then_some(entry)
    }
}

/// A set whose header has been checked against its length.
#[derive(Clone, Copy)]
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
    pub fn tiles(&self) -> impl Iterator<Item = Result<u64>> + '_ {
        (0..self.tiles).map(|tile| Ok(self.entry(tile)?.at))
    }

    /// What is wrong with it, given how many samples a tile has.
    pub fn fault(&self, tile_samples: u64) -> Option<String> {
        let mut next = (0, 0);
        for tile in 0..self.tiles {
            let found = self
                .entry(tile)
                .and_then(|entry| Ok((entry, self.patches_of(tile, &entry)?)));
            let (entry, patches) = match found {
                Ok(found) => found,
                Err(error) => return Some(error.to_string()),
            };
            if entry.at < next.0 || entry.before != next.1 {
                return Some(format!("entry {tile} of its directory is out of order"));
            }
            next = (entry.at + 1, entry.before);
            let mut least = 0;
            for (element, _) in patches {
                let element = u64::from(element);
                if element < least || tile_samples <= element {
                    return Some(format!(
                        "element {element} of the tile at byte {}, which has {tile_samples}, \
                         is out of order or outside it",
                        entry.at
                    ));
                }
                least = element + 1;
                next.1 += 1;
            }
        }
        (next.1 != self.len()).then(|| format!("{} patches, expected {}", next.1, self.len()))
    }

    fn entry(&self, tile: usize) -> Result<Entry> {
        let at = AT_DIRECTORY + tile * DIRECTORY_ENTRY;
        let bytes = self.bytes.get(at..at + DIRECTORY_ENTRY);
        bytes
            .and_then(|bytes| Entry::decode(tile as u64, bytes))
            .ok_or_else(|| Error::damaged(format!("entry {tile} of a patch set is damaged")))
    }

    /// The entry of the tile at this offset, and its number.
    fn find(&self, at: u64) -> Result<Option<(usize, Entry)>> {
        let (mut lo, mut hi) = (0, self.tiles);
        while lo < hi {
            let middle = lo.midpoint(hi);
            let entry = self.entry(middle)?;
            match entry.at.cmp(&at) {
                Ordering::Less => lo = middle + 1,
                Ordering::Equal => return Ok(Some((middle, entry))),
                Ordering::Greater => hi = middle,
            }
        }
        Ok(None)
    }

    /// How many patches stand in the set before those of the next tile.
    fn end_of(&self, tile: usize) -> Result<u64> {
        match tile + 1 < self.tiles {
            true => Ok(self.entry(tile + 1)?.before),
            false => Ok(self.len()),
        }
    }

    /// How many patches the tile at this offset has.
    ///
    /// # Errors
    /// When the entries that say so are damaged.
    pub fn count(&self, at: u64) -> Result<u64> {
        match self.find(at)? {
            Some((tile, entry)) => Ok(self.end_of(tile)?.saturating_sub(entry.before)),
            None => Ok(0),
        }
    }

    /// The patches of the tile at this offset.
    ///
    /// # Errors
    /// When the entries that lead to them, or they themselves, are damaged.
    pub fn of_tile(&self, at: u64) -> Result<impl Iterator<Item = Patch> + use<'a>> {
        let patches = match self.find(at)? {
            Some((tile, entry)) => Some(self.patches_of(tile, &entry)?),
            None => None,
        };
        Ok(patches.into_iter().flatten())
    }

    fn patches_of(
        &self,
        tile: usize,
        entry: &Entry,
    ) -> Result<impl Iterator<Item = Patch> + use<'a>> {
        let (size, dtype) = (self.dtype.size(), self.dtype);
        let end = self.end_of(tile)?;
        let lists = || {
            let start = usize::try_from(entry.before).ok()?;
            let end = usize::try_from(end)
                .ok()
                .filter(|&end| end <= self.patches)?;
            let count = end.checked_sub(start)?;
            let elements = AT_DIRECTORY + self.tiles * DIRECTORY_ENTRY;
            let values = elements + 4 * self.patches + size * start;
            let elements = self.bytes.get(elements + 4 * start..)?.get(..4 * count)?;
            let values = self.bytes.get(values..)?.get(..size * count)?;
            let check = crc32c::crc32c_append(crc32c::crc32c(elements), values);
            (check == entry.check).then_some((elements, values))
        };
        let (elements, values) = lists().ok_or_else(|| {
            Error::damaged(format!(
                "patches of the tile at byte {} are damaged",
                entry.at
            ))
        })?;
        let elements = elements.as_chunks().0.iter();
        let values = values.chunks_exact(size);
        Ok(elements
            .zip(values)
            .map(move |(element, value)| (u32::from_le_bytes(*element), dtype.bits_at(value))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patches(reader: &PatchReader<'_>, at: u64) -> Vec<Patch> {
        reader.of_tile(at).unwrap().collect()
    }

    #[test]
    fn patches_are_found_by_tile() {
        let tiles = vec![
            (4096, vec![(0, 1), (9, 2)]),
            (8192, vec![]),
            (1 << 40, vec![(131_071, 0xffff)]),
        ];
        let bytes = encode(DType::U16, &tiles);
        let reader = PatchReader::new(&bytes, DType::U16).unwrap();
        for (at, expected) in &tiles {
            assert_eq!(&patches(&reader, *at), expected);
            assert_eq!(reader.count(*at).unwrap(), expected.len() as u64);
        }
        for at in [0, 5000, u64::MAX] {
            assert_eq!(patches(&reader, at), []);
        }
        assert_eq!(reader.fault(1 << 20), None);
        assert!(reader.fault(131_071).is_some());
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
    }

    #[test]
    fn a_flipped_byte_is_found_by_who_reads_it_and_by_a_full_look() {
        let tiles: Vec<TilePatches> = (1..20).map(|n| (4096 * n, vec![(7, n), (9, n)])).collect();
        let good = encode(DType::U16, &tiles);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            let Ok(reader) = PatchReader::new(&bad, DType::U16) else {
                continue;
            };
            assert!(reader.fault(10).is_some(), "byte {at}");
            for (tile, expected) in &tiles {
                let found = reader.of_tile(*tile).map(Iterator::collect::<Vec<_>>);
                assert!(found.is_err() || found.unwrap() == *expected, "byte {at}");
            }
        }
    }
}
