//! The catalog: the JSON text that says everything a commit holds.
//!
//! JSON on purpose: `strings stack.cube | tail` must tell what a file is. Text
//! becomes a [`Catalog`] only when every number in it is possible.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::superblock::FIRST_FREE;
use super::{Extent, FORMAT, MAX_CATALOG_BYTES, MAX_OFFSET, MAX_PIECES, MAX_TILE_BYTES};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::region::{AXIS_NAMES, MAX_RANK};

/// First bytes of a catalog's extent, so that a scan can find catalogs when both
/// superblocks are gone. The JSON text follows.
pub const MAGIC: [u8; 16] = *b"\nCUBE CATALOG 1\n";

/// Bytes of a piece in a table.
pub const PIECE_BYTES: u64 = 16;

/// Fewest axes that a cube shows.
pub const MIN_RANK: usize = 3;

/// A run of slots that are read one after the other: `[slot, len]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece(pub u64, pub u64);

/// A change of a list of pieces: at `position`, take `removed` positions away and
/// put `len` slots from `slot` in: `[position, removed, slot, len]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splice(pub u64, pub u64, pub u64, pub u64);

/// A list of pieces too long for the catalog: `slot` and `len` of each, as
/// little-endian 64-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceTable {
    /// How many pieces.
    pub pieces: u64,
    /// Where they are.
    #[serde(flatten)]
    pub extent: Extent,
}

/// One axis: which slots its positions are, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// Letter of the axis.
    pub name: String,
    /// Runs of slots in the order they are read, when they are few.
    pub pieces: Vec<Piece>,
    /// The same, when they are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<PieceTable>,
    /// Changes of the table since it was written, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub splices: Vec<Splice>,
    /// Slots handed out so far: those of the pieces are below.
    pub slots: u64,
}

/// A table of index entries for the tiles `lo..hi`, x fastest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexBox {
    /// Least tile coordinates.
    pub lo: Vec<u64>,
    /// One past the greatest.
    pub hi: Vec<u64>,
    /// Offset of the first entry.
    pub at: u64,
}

/// A block of frames' records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerBlock {
    /// Number of the first frame in it.
    pub first: u64,
    /// How many frames.
    pub frames: u64,
    /// How many groups they are packed in.
    pub groups: u64,
    /// Bytes when unpacked.
    pub unpacked: u64,
    /// Least slot of any frame in it, on each axis.
    pub lo: Vec<u64>,
    /// One past the greatest.
    pub hi: Vec<u64>,
    /// The packed block.
    #[serde(flatten)]
    pub extent: Extent,
}

/// A set of replaced samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchSet {
    /// How many samples it replaces.
    pub samples: u64,
    /// The set.
    #[serde(flatten)]
    pub extent: Extent,
}

/// The command that made a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// `append`, `insert`, `clean` and so on; `create` for the first commit.
    pub verb: String,
    /// The command as it was typed, for people.
    pub line: String,
    /// When it began, RFC 3339, UTC.
    pub time: String,
    /// Frames it added.
    pub frames: u64,
    /// Bytes of samples it added.
    pub bytes: u64,
    /// Samples it replaced.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub samples: u64,
}

/// Everything a commit holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// Format version.
    pub cube: u32,
    /// Counts commits.
    pub generation: u64,
    /// Type of the samples.
    #[serde(serialize_with = "dtype_out", deserialize_with = "dtype_in")]
    pub dtype: DType,
    /// Bits of the value that void reads as, in hexadecimal.
    #[serde(serialize_with = "bits_out", deserialize_with = "bits_in")]
    pub pad: u64,
    /// Bits that stored samples are XORed with, in hexadecimal.
    #[serde(serialize_with = "bits_out", deserialize_with = "bits_in")]
    pub mask: u64,
    /// The value that means "no data" in an integer cube.
    pub blank: Option<i128>,
    /// Lengths of a tile, x first.
    pub tile: Vec<u64>,
    /// The axes, x first, 3 to 8 of them.
    pub axes: Vec<Axis>,
    /// Frames that the cube holds.
    pub frames: u64,
    /// Frames recorded so far: the number of the next one.
    pub next_frame: u64,
    /// Number of the frame whose header speaks for the cube.
    pub header_frame: Option<u64>,
    /// Tables of index entries; their ranges of tiles are disjoint.
    pub index: Vec<IndexBox>,
    /// Blocks of frames' records, by number.
    pub ledger: Vec<LedgerBlock>,
    /// Sets of replaced samples; a later one overrides an earlier one.
    pub patches: Vec<PatchSet>,
    /// What made this commit.
    pub command: Command,
    /// The catalog that was current when that command began.
    pub previous: Option<Extent>,
}

impl Catalog {
    /// The catalog of a cube that holds nothing and shows `rank` axes.
    pub fn empty(
        dtype: DType,
        pad: u64,
        blank: Option<i128>,
        tile: &[u64],
        rank: usize,
    ) -> Catalog {
        let mut lens = tile.to_vec();
        lens.resize(MAX_RANK, 1);
        Catalog {
            cube: FORMAT,
            generation: 0,
            dtype,
            pad,
            mask: pad,
            blank,
            tile: lens,
            axes: (0..rank.clamp(MIN_RANK, MAX_RANK)).map(Axis::new).collect(),
            frames: 0,
            next_frame: 0,
            header_frame: None,
            index: Vec::new(),
            ledger: Vec::new(),
            patches: Vec::new(),
            command: Command::default(),
            previous: None,
        }
    }

    /// What the samples of a tile are XORed with.
    pub fn mask_of(&self, is_plain: bool) -> u64 {
        if is_plain { 0 } else { self.mask }
    }

    /// The catalog's extent as it stands in the file.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = MAGIC.to_vec();
        serde_json::to_writer(&mut out, self)
            .map_err(|error| Error::input(format!("cannot write the catalog: {error}")))?;
        out.push(b'\n');
        if out.len() as u64 > MAX_CATALOG_BYTES {
            return Err(Error::unsupported(format!(
                "the catalog would take {} bytes, more than {MAX_CATALOG_BYTES}",
                out.len()
            ))
            .hint("cube compact joins the pieces"));
        }
        Ok(out)
    }

    /// Reads a catalog whose extent has been checked, in a file of which
    /// `committed` bytes may be referred to.
    pub fn decode(bytes: &[u8], committed: u64) -> Result<Catalog> {
        let text = bytes
            .strip_prefix(&MAGIC)
            .ok_or_else(|| Error::damaged("the catalog does not begin as one"))?;
        let catalog: Catalog = serde_json::from_slice(text)
            .map_err(|error| Error::damaged(format!("the catalog cannot be read: {error}")))?;
        catalog.validate(committed)?;
        Ok(catalog)
    }

    fn validate(&self, committed: u64) -> Result<()> {
        let wrong = |what: String| Err(Error::damaged(format!("the catalog is wrong: {what}")));
        if !(1..=FORMAT).contains(&self.cube) {
            return wrong(format!("format {}, expected 1 to {FORMAT}", self.cube));
        }
        if !(MIN_RANK..=MAX_RANK).contains(&self.axes.len()) {
            return wrong(format!(
                "{} axes, expected {MIN_RANK} to {MAX_RANK}",
                self.axes.len()
            ));
        }
        let bits = self.dtype.mask();
        if self.pad & !bits != 0 || (self.mask != 0 && self.mask != self.pad) {
            return wrong(format!("pad {:x}, mask {:x}", self.pad, self.mask));
        }
        if self
            .blank
            .is_some_and(|blank| self.dtype.bits_of_int(blank).is_none())
        {
            return wrong(format!("blank does not fit {}", self.dtype));
        }
        check_tile(&self.tile, self.dtype).or_else(|error| wrong(error.to_string()))?;
        for (axis, name) in self.axes.iter().zip(AXIS_NAMES) {
            axis.validate()
                .or_else(|error| wrong(format!("axis {name}: {error}")))?;
        }
        let tables = self.axes.iter().filter_map(|axis| axis.table.as_ref());
        let inside = |extent: &Extent| {
            extent.at >= FIRST_FREE && extent.end().is_some_and(|end| end <= committed)
        };
        for table in tables {
            let bytes = table.pieces.checked_mul(PIECE_BYTES);
            let is_whole = bytes == Some(table.extent.bytes) && table.pieces <= MAX_PIECES;
            if !inside(&table.extent) || !is_whole {
                return wrong(format!("piece table at byte {}", table.extent.at));
            }
        }
        for index in &self.index {
            let bytes = index.bytes();
            let end = bytes.and_then(|bytes| index.at.checked_add(bytes));
            if end.is_none_or(|end| end > committed) || index.at < FIRST_FREE {
                return wrong(format!("index table at byte {}", index.at));
            }
        }
        let mut next = 0;
        for block in &self.ledger {
            let ranked = block.lo.len() == MAX_RANK && block.hi.len() == MAX_RANK;
            if block.first != next || !inside(&block.extent) || !ranked {
                return wrong(format!("ledger block at byte {}", block.extent.at));
            }
            next = block.first.saturating_add(block.frames);
        }
        if next != self.next_frame || self.frames > next {
            return wrong(format!(
                "{} frames in the ledger, expected {}",
                next, self.next_frame
            ));
        }
        for set in &self.patches {
            if !inside(&set.extent) {
                return wrong(format!("patch set at byte {}", set.extent.at));
            }
        }
        if self.previous.is_some_and(|previous| !inside(&previous)) {
            return wrong("the catalog before is outside the file".into());
        }
        Ok(())
    }
}

impl Axis {
    /// An axis of length 0.
    pub fn new(axis: usize) -> Axis {
        Axis {
            name: AXIS_NAMES[axis].to_string(),
            ..Axis::default()
        }
    }

    fn validate(&self) -> Result<()> {
        if self.slots > MAX_OFFSET {
            return Err(Error::damaged("too many slots"));
        }
        match &self.table {
            None if !self.splices.is_empty() => Err(Error::damaged("splices without a table")),
            None => check_pieces(&self.pieces, self.slots),
            // What a table holds is checked when it is read.
            Some(_) if !self.pieces.is_empty() => Err(Error::damaged("pieces beside a table")),
            Some(_) => Ok(()),
        }
    }
}

/// Are these pieces of an axis with so many slots, none of which stands twice?
///
/// # Errors
/// `Damaged`, with the numbers.
pub fn check_pieces(pieces: &[Piece], slots: u64) -> Result<()> {
    let mut used: Vec<(u64, u64)> = Vec::with_capacity(pieces.len());
    for &Piece(slot, len) in pieces {
        let end = slot.checked_add(len).filter(|&end| end <= slots && len > 0);
        let end =
            end.ok_or_else(|| Error::damaged(format!("piece [{slot}, {len}] of {slots} slots")))?;
        used.push((slot, end));
    }
    used.sort_unstable();
    match used.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => Err(Error::damaged(format!("slot {} stands twice", pair[1].0))),
        None => Ok(()),
    }
}

impl IndexBox {
    /// How many bytes its entries take; `None` when the box cannot be.
    pub fn bytes(&self) -> Option<u64> {
        let is_ranked = self.lo.len() == MAX_RANK && self.hi.len() == MAX_RANK;
        if !is_ranked || self.hi.iter().any(|&hi| hi > MAX_OFFSET) {
            return None;
        }
        let lens = self
            .lo
            .iter()
            .zip(&self.hi)
            .map(|(&lo, &hi)| hi.checked_sub(lo));
        lens.into_iter()
            .try_fold(super::entry::ENTRY_BYTES, |product, len| {
                product.checked_mul(len.filter(|&len| len > 0)?)
            })
            .filter(|&bytes| bytes <= MAX_OFFSET)
    }
}

/// Can tiles have these lengths?
///
/// # Errors
/// `Input`, with both numbers.
pub fn check_tile(tile: &[u64], dtype: DType) -> Result<()> {
    let bytes = tile.iter().try_fold(dtype.size() as u64, |product, &len| {
        product
            .checked_mul(len)
            .filter(|&bytes| bytes <= MAX_TILE_BYTES)
    });
    match bytes {
        Some(1..) if tile.len() == MAX_RANK => Ok(()),
        _ => Err(Error::input(format!(
            "a tile of {} samples of {dtype} is not between 1 byte and {MAX_TILE_BYTES} bytes",
            crate::region::show_shape(tile)
        ))),
    }
}

/// Serde asks with a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn dtype_out<S: Serializer>(dtype: &DType, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(dtype.name())
}

fn dtype_in<'de, D: Deserializer<'de>>(from: D) -> Result<DType, D::Error> {
    let name = String::deserialize(from)?;
    DType::from_name(&name).ok_or_else(|| serde::de::Error::custom(format!("dtype `{name}`")))
}

fn bits_out<S: Serializer>(bits: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!("{bits:x}"))
}

fn bits_in<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_reads_back() {
        let mut catalog = Catalog::empty(DType::F32, 0x7fc0_0000, None, &[64, 64, 32], 3);
        catalog.axes[2].pieces = vec![Piece(7, 3), Piece(0, 7)];
        catalog.axes[2].slots = 10;
        let bytes = catalog.encode().unwrap();
        assert_eq!(Catalog::decode(&bytes, 1 << 20).unwrap(), catalog);
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let good = Catalog::empty(DType::U16, 0, Some(65535), &[64, 64, 32], 3);
        let refuse = |change: &dyn Fn(&mut Catalog)| {
            let mut bad = good.clone();
            change(&mut bad);
            let bytes = bad.encode().unwrap();
            assert!(Catalog::decode(&bytes, 1 << 20).is_err(), "{bad:?}");
        };
        refuse(&|bad| bad.tile[0] = u64::MAX);
        refuse(&|bad| bad.tile[1] = 0);
        refuse(&|bad| bad.blank = Some(65536));
        refuse(&|bad| bad.pad = 0x1_0000);
        refuse(&|bad| bad.axes.truncate(2));
        refuse(&|bad| bad.axes[0].pieces = vec![Piece(0, 1)]);
        refuse(&|bad| {
            bad.axes[0].slots = 4;
            bad.axes[0].pieces = vec![Piece(0, 3), Piece(2, 2)];
        });
        refuse(&|bad| bad.next_frame = 1);
        refuse(&|bad| {
            bad.index.push(IndexBox {
                lo: vec![0; MAX_RANK],
                hi: vec![1 << 20; MAX_RANK],
                at: 8192,
            });
        });
        refuse(&|bad| {
            bad.index.push(IndexBox {
                lo: vec![MAX_OFFSET; MAX_RANK],
                hi: vec![MAX_OFFSET + 1; MAX_RANK],
                at: 8192,
            });
        });
        assert!(Catalog::decode(b"\nCUBE CATALOG 1\n{", 1 << 20).is_err());
        assert!(Catalog::decode(b"", 1 << 20).is_err());
    }

    #[test]
    fn a_table_has_no_more_pieces_than_an_axis_may() {
        let mut catalog = Catalog::empty(DType::U16, 0, None, &[64, 64, 32], 3);
        let mut with = |pieces: u64| {
            let extent = Extent {
                at: 8192,
                bytes: pieces * PIECE_BYTES,
                check: 0,
            };
            catalog.axes[2].table = Some(PieceTable { pieces, extent });
            catalog.validate(1 << 40)
        };
        with(MAX_PIECES).unwrap();
        let error = with(MAX_PIECES + 1).unwrap_err();
        assert!(error.to_string().contains("piece table"), "{error}");
    }
}
