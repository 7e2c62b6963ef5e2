//! The superblock: which commit is the newest, and which slots are handed out.
//!
//! Two of them stand at the head of the file and are written in turn, so that
//! one is whole at any moment. Bytes become an [`Superblock`] only when magic,
//! format and check hold.

use super::{Extent, FORMAT, MAX_OFFSET, PAGE, take, take_u32, take_u64};
use crate::error::{Error, Result};
use crate::region::MAX_RANK;

/// First bytes of a superblock, and so of the file. As in PNG, the high bit, the
/// CR LF and the Ctrl-Z show a file that went through a text-mode transfer.
pub const MAGIC: [u8; 8] = *b"\x89CUB\r\n\x1a\n";

/// Bytes of one superblock.
pub const SUPERBLOCK_BYTES: usize = PAGE as usize;

/// Where the two superblocks stand.
pub const SUPERBLOCK_AT: [u64; 2] = [0, PAGE];

/// The first byte that is not a superblock's.
pub const FIRST_FREE: u64 = 2 * PAGE;

// Offsets of the fields, each from the one before.
const AT_FORMAT: usize = MAGIC.len();
const AT_ID: usize = AT_FORMAT + 8;
const AT_SEQUENCE: usize = AT_ID + 16;
const AT_GENERATION: usize = AT_SEQUENCE + 8;
const AT_CATALOG: usize = AT_GENERATION + 8;
const AT_CATALOG_BYTES: usize = AT_CATALOG + 8;
const AT_CATALOG_CHECK: usize = AT_CATALOG_BYTES + 8;
const AT_COMMITTED: usize = AT_CATALOG_CHECK + 8;
const AT_MARKS: usize = AT_COMMITTED + 8;
const AT_TEXT: usize = AT_MARKS + 8 * MAX_RANK;
const AT_CHECK: usize = SUPERBLOCK_BYTES - 4;

const _: () = assert!(AT_TEXT == 144 && AT_TEXT < AT_CHECK);

/// Tells a person who opens the file in a pager what it is.
const TEXT: &[u8] = b"This is a cube file (format 2): an N-dimensional array of samples in tiles. \
The newest catalog, in JSON, says what it holds.\n";

/// The state of the file at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Made at random when the cube is created; tells one cube from another.
    pub id: [u8; 16],
    /// Counts superblocks written: the valid one with the larger number counts.
    pub sequence: u64,
    /// Counts commits.
    pub generation: u64,
    /// The newest catalog.
    pub catalog: Extent,
    /// Bytes of the file that this commit may refer to.
    pub committed: u64,
    /// Slots handed out on each axis so far, for ever, used or not.
    pub marks: [u64; MAX_RANK],
}

impl Superblock {
    /// The superblock as it stands in the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; SUPERBLOCK_BYTES];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(AT_FORMAT, &FORMAT.to_le_bytes());
        put(AT_ID, &self.id);
        put(AT_SEQUENCE, &self.sequence.to_le_bytes());
        put(AT_GENERATION, &self.generation.to_le_bytes());
        put(AT_CATALOG, &self.catalog.at.to_le_bytes());
        put(AT_CATALOG_BYTES, &self.catalog.bytes.to_le_bytes());
        put(AT_CATALOG_CHECK, &self.catalog.check.to_le_bytes());
        put(AT_COMMITTED, &self.committed.to_le_bytes());
        for (axis, mark) in self.marks.iter().enumerate() {
            put(AT_MARKS + 8 * axis, &mark.to_le_bytes());
        }
        put(AT_TEXT, TEXT);
        let check = crc32c::crc32c(&out[..AT_CHECK]);
        out[AT_CHECK..].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// Reads one superblock.
    ///
    /// # Errors
    /// `Input` when the bytes are no cube's, `Damaged` when the check does not
    /// hold, `Unsupported` when it holds and they are of another format.
    pub fn decode(bytes: &[u8]) -> Result<Superblock> {
        let short = || Error::damaged("the superblock is cut short");
        if take(bytes, 0) != Some(MAGIC) {
            return Err(Error::input("is not a cube"));
        }
        let stored = take_u32(bytes, AT_CHECK).ok_or_else(short)?;
        let found = crc32c::crc32c(&bytes[..AT_CHECK]);
        if stored != found {
            return Err(Error::damaged(format!(
                "checksum of the superblock is {found:08x}, expected {stored:08x}"
            )));
        }
        // Only after the check: a superblock that was cut short inside this field
        // is torn, and no newer program's.
        let format = take_u32(bytes, AT_FORMAT).ok_or_else(short)?;
        if !(1..=FORMAT).contains(&format) {
            return Err(Error::unsupported(format!(
                "is of cube format {format}, but this program reads formats 1 to {FORMAT}"
            ))
            .hint("use the version of cube that wrote it, or a newer one"));
        }
        let number = |at| take_u64(bytes, at).ok_or_else(short);
        let mut marks = [0; MAX_RANK];
        for (axis, mark) in marks.iter_mut().enumerate() {
            *mark = number(AT_MARKS + 8 * axis)?;
        }
        let superblock = Superblock {
            id: take(bytes, AT_ID).ok_or_else(short)?,
            sequence: number(AT_SEQUENCE)?,
            generation: number(AT_GENERATION)?,
            catalog: Extent {
                at: number(AT_CATALOG)?,
                bytes: number(AT_CATALOG_BYTES)?,
                check: take_u32(bytes, AT_CATALOG_CHECK).ok_or_else(short)?,
            },
            committed: number(AT_COMMITTED)?,
            marks,
        };
        let end = superblock.catalog.end();
        let plausible = end.is_some_and(|end| end <= superblock.committed)
            && superblock.catalog.at >= FIRST_FREE
            && superblock.committed <= MAX_OFFSET
            && superblock.sequence <= MAX_OFFSET
            && superblock.generation <= MAX_OFFSET
            && marks.iter().all(|&mark| mark <= MAX_OFFSET);
        if !plausible {
            return Err(Error::damaged("the superblock holds impossible numbers"));
        }
        Ok(superblock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn example() -> Superblock {
        Superblock {
            id: [7; 16],
            sequence: 5,
            generation: 3,
            catalog: Extent {
                at: 12288,
                bytes: 700,
                check: 0xdead_beef,
            },
            committed: 16384,
            marks: [650, 500, 12, 1, 1, 1, 1, 1],
        }
    }

    #[test]
    fn a_superblock_reads_back() {
        assert_eq!(Superblock::decode(&example().encode()).unwrap(), example());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = example().encode();
        for bit in (0..good.len() * 8).step_by(7) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Superblock::decode(&bad).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(Superblock::decode(&good[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_first_superblock_that_was_cut_short_is_not_of_another_format() {
        let good = example().encode();
        for cut in MAGIC.len()..good.len() {
            let mut torn = vec![0; good.len()];
            torn[..cut].copy_from_slice(&good[..cut]);
            let error = Superblock::decode(&torn).unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged, "{cut} bytes: {error}");
        }
        let mut newer = good;
        newer[AT_FORMAT] += 1;
        let check = crc32c::crc32c(&newer[..AT_CHECK]);
        newer[AT_CHECK..].copy_from_slice(&check.to_le_bytes());
        let error = Superblock::decode(&newer).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
    }

    #[test]
    fn numbers_that_cannot_be_are_refused_although_the_check_holds() {
        let mut bad = example();
        bad.catalog.bytes = u64::MAX;
        assert!(Superblock::decode(&bad.encode()).is_err());
        let mut bad = example();
        bad.marks[3] = u64::MAX;
        assert!(Superblock::decode(&bad.encode()).is_err());
    }
}
