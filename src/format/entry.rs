//! One entry of the index: where a tile stands, with a check of both.
//!
//! An entry goes from zero to whole once and never changes again. A write of it
//! that was cut short at either end reads as void, as it was before, or as whole
//! when all that matters arrived; anything else is damage and not a void.

use super::superblock::FIRST_FREE;
use super::{MAX_OFFSET, PAGE, take_u64};
use crate::region::MAX_RANK;

/// Bytes of one entry.
pub const ENTRY_BYTES: u64 = 16;

/// First and last byte of a whole entry. Tiles start at multiples of 4096, so
/// the low byte of an offset is free to hold it.
const MARKER: u8 = 0xc5;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// There is no tile: its samples are the pad value.
    Void,
    /// There is one.
    Tile {
        /// Where it starts.
        at: u64,
        /// Are its samples as they are, whatever the mask of the cube?
        is_plain: bool,
    },
    /// The entry is neither.
    Damaged,
}

/// CRC-32C of the tile's coordinates and offset, as little-endian 64-bit numbers; of a
/// plain tile's offset and 1, which is what tells it from another.
fn check(tile: &[u64; MAX_RANK], at: u64, is_plain: bool) -> u32 {
    let place = at | u64::from(is_plain);
    let mut bytes = [0; 8 * (MAX_RANK + 1)];
    for (slot, value) in bytes.chunks_exact_mut(8).zip(tile.iter().chain([&place])) {
        slot.copy_from_slice(&value.to_le_bytes());
    }
    crc32c::crc32c(&bytes)
}

/// The entry of the tile with these coordinates, at offset `at`.
pub fn encode(tile: &[u64; MAX_RANK], at: u64, is_plain: bool) -> [u8; ENTRY_BYTES as usize] {
    let mut out = [0; ENTRY_BYTES as usize];
    out[..8].copy_from_slice(&(at | u64::from(MARKER)).to_le_bytes());
    out[8..12].copy_from_slice(&check(tile, at, is_plain).to_le_bytes());
    out[15] = MARKER;
    out
}

/// Reads the entry of the tile with these coordinates.
pub fn decode(tile: &[u64; MAX_RANK], bytes: &[u8; ENTRY_BYTES as usize]) -> Entry {
    if bytes.iter().all(|&byte| byte == 0) {
        return Entry::Void;
    }
    let at = take_u64(bytes, 0).unwrap_or(0) & !0xff;
    // Whoever writes to the tile writes there.
    let may_be = (FIRST_FREE..=MAX_OFFSET).contains(&at) && at.is_multiple_of(PAGE);
    let is = |is_plain| may_be && bytes[8..12] == check(tile, at, is_plain).to_le_bytes();
    if let Some(is_plain) = [false, true].into_iter().find(|&is_plain| is(is_plain)) {
        Entry::Tile { at, is_plain }
    } else if bytes[0] == 0 || bytes[15] == 0 {
        Entry::Void
    } else {
        Entry::Damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILE: [u64; MAX_RANK] = [3, 1, 4, 0, 0, 0, 0, 0];

    const KINDS: [bool; 2] = [false, true];

    fn example(is_plain: bool) -> ([u8; 16], Entry) {
        let at = 0x1234_5000;
        (encode(&TILE, at, is_plain), Entry::Tile { at, is_plain })
    }

    #[test]
    fn an_entry_reads_back_only_at_its_own_coordinates() {
        for (bytes, entry) in KINDS.map(example) {
            assert_eq!(decode(&TILE, &bytes), entry);
            let mut other = TILE;
            other[2] += 1;
            assert_eq!(decode(&other, &bytes), Entry::Damaged);
        }
    }

    #[test]
    fn an_entry_leads_nowhere_that_a_tile_cannot_be() {
        for at in [0, 4096, 8192 + 256, MAX_OFFSET + 4096] {
            let entry = decode(&TILE, &encode(&TILE, at, false));
            assert_eq!(entry, Entry::Damaged, "{at}");
        }
    }

    #[test]
    fn an_entry_cut_short_at_either_end_is_void() {
        for (bytes, whole) in KINDS.map(example) {
            for cut in 1..16 {
                let mut head = [0; 16];
                head[..cut].copy_from_slice(&bytes[..cut]);
                let mut tail = [0; 16];
                tail[cut..].copy_from_slice(&bytes[cut..]);
                for part in [head, tail] {
                    let found = decode(&TILE, &part);
                    assert!(found == Entry::Void || found == whole, "{cut}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_or_without_effect() {
        for (bytes, entry) in KINDS.map(example) {
            for bit in 0..128 {
                let mut bad = bytes;
                bad[bit / 8] ^= 1 << (bit % 8);
                let without_effect = !(8..96).contains(&bit);
                let expected = if without_effect {
                    entry
                } else {
                    Entry::Damaged
                };
                assert_eq!(decode(&TILE, &bad), expected, "bit {bit}");
            }
        }
    }
}
