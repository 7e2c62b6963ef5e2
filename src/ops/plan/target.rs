//! What samples are to become: the type and "no data" of a cube, and the shape of its tiles.

use super::{Plan, Planned, Taking, full_origin, full_shape};
use crate::dtype::DType;
use crate::engine::Coordinates;
use crate::error::{Error, Result};
use crate::format::catalog::{Catalog, MIN_RANK, check_tile};
use crate::frames::Facts;
use crate::kernels::cast::Rules;
use crate::region::{MAX_RANK, show_shape};

/// Samples in one frame's part of a tile: 64 x 64 of an image.
const LAYER: u64 = 4096;

/// Samples of one spectrum in a tile.
const LINE: u64 = 256;

/// Frames in a tile.
const DEPTH: u64 = 32;

/// Images in a tile when the first command brings very few.
const LEAST_DEPTH: u64 = 8;

/// What samples are to become: the cube's type and "no data".
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) dtype: DType,
    pub(super) blank: Option<i128>,
    pad: u64,
}

impl Target {
    pub(super) fn of(catalog: &Catalog) -> Target {
        Target {
            dtype: catalog.dtype,
            blank: catalog.blank,
            pad: catalog.pad,
        }
    }

    /// A new cube is what its first frame is, unless options say otherwise.
    pub(super) fn new(first: &Facts, taking: &Taking) -> Result<Target> {
        let dtype = taking.dtype.unwrap_or(first.dtype);
        let blank = first
            .blank
            .filter(|&blank| dtype.bits_of_int(blank).is_some());
        let least = dtype.int_range().map(|(least, _)| least);
        let usual = blank.or(least).and_then(|value| dtype.bits_of_int(value));
        let pad = match &taking.pad {
            Some(text) => dtype.parse(text).ok_or_else(|| {
                Error::input(format!("pad value {text} does not fit {dtype}"))
                    .hint("--pad takes a value of the cube's type")
            })?,
            None => dtype.nan().or(usual).unwrap_or(0),
        };
        Ok(Target { dtype, blank, pad })
    }

    /// May a frame come in, and what becomes of its samples?
    pub(super) fn admit(&mut self, facts: &Facts, cast: bool) -> Result<Option<Rules>> {
        let (from, to) = (facts.dtype, self.dtype);
        if !cast && !from.fits_into(to) {
            let error = Error::input(format!("holds {from}, but the cube holds {to}"));
            return Err(error.hint(format!("--cast rounds and clips to {to}")));
        }
        let mut rules = Rules::default();
        if let Some(blank) = facts.blank {
            rules.blank_from = from.bits_of_int(blank);
            rules.blank_to = match to.nan() {
                Some(nan) => Some(nan),
                None => self.admit_blank(blank, cast)?,
            };
        }
        if from.is_float() && !to.is_float() {
            rules.nan_as = self.blank.and_then(|blank| to.bits_of_int(blank));
        }
        let remaps = rules.blank_from != rules.blank_to && rules.blank_from.is_some();
        Ok((from != to || remaps).then_some(rules))
    }

    /// What an integer frame's BLANK becomes in an integer cube.
    fn admit_blank(&mut self, blank: i128, cast: bool) -> Result<Option<u64>> {
        let to = self.dtype;
        let bits = to.bits_of_int(blank);
        match self.blank {
            Some(ours) if ours == blank => Ok(bits),
            Some(ours) if cast => Ok(to.bits_of_int(ours)),
            Some(ours) => Err(Error::input(format!(
                "its BLANK is {blank}, but the cube's is {ours}"
            ))
            .hint(format!("--cast makes its blank samples {ours}"))),
            None if bits.is_some() => {
                self.blank = Some(blank);
                Ok(bits)
            }
            None => Err(Error::input(format!("its BLANK {blank} does not fit {to}"))),
        }
    }

    pub(super) fn new_cube(
        &self,
        plan: &Plan,
        first: &Planned,
        taking: &Taking,
    ) -> Result<Catalog> {
        let origin = full_origin(&taking.origin);
        // Tiles that are those of the source are copied as they stand.
        let source = first.came.as_ref().filter(|_| first.rules.is_none());
        let tile = match (&taking.tile, source) {
            (Some(given), _) => full_shape(given),
            (None, Some(came)) => full_shape(came.tile()),
            (None, None) => default_tile(&plan.extents(&origin), plan.axis, self.dtype),
        };
        check_tile(&tile, self.dtype)?;
        // An axis that tiles are long on is one that the cube has.
        let rank = first.facts.shape.len().max(plan.axis + 1).max(MIN_RANK);
        let rank = (rank..MAX_RANK)
            .rfind(|&axis| tile[axis] > 1)
            .map_or(rank, |axis| axis + 1);
        // A later frame may have been the first to say what means "no data".
        let blank = self.blank.and_then(|blank| self.dtype.bits_of_int(blank));
        let pad = match &taking.pad {
            None => blank.unwrap_or(self.pad),
            Some(_) => self.pad,
        };
        Ok(Catalog::empty(self.dtype, pad, self.blank, &tile, rank))
    }
}

/// Options for a new cube may be given for one that is there when they say what
/// it is: the same command is to go on after an interruption.
pub(super) fn check_options(cube: &Catalog, taking: &Taking) -> Result<()> {
    let dtype = cube.dtype;
    if let Some(asked) = taking.dtype.filter(|&asked| asked != dtype) {
        return Err(Error::input(format!("the cube holds {dtype}, not {asked}"))
            .hint("--dtype is for a new cube; --cast converts frames to the cube's type"));
    }
    if let Some(text) = &taking.pad
        && dtype.parse(text) != Some(cube.pad)
    {
        let pad = dtype.show(cube.pad);
        return Err(
            Error::input(format!("the cube's pad value is {pad}, not {text}"))
                .hint("--pad is for a new cube"),
        );
    }
    if let Some(asked) = taking.tile.as_deref().map(full_shape)
        && cube.tile != asked
    {
        let rank = cube.axes.len();
        return Err(Error::input(format!(
            "the cube's tiles are {}, not {}",
            show_shape(&cube.tile[..rank]),
            show_shape(&asked[..rank])
        ))
        .hint("--tile is for a new cube"));
    }
    Ok(())
}

/// The shape of tiles for frames that take `extents`, joined along `axis`.
///
/// A tile is about 4096 samples (64 x 64 of an image) of each of up to 32 frames, or 256
/// of each of 512 spectra: 512 KiB of 4-byte samples. Where frames are smaller than
/// that, the tile is deeper; where the first command brings few, shallower.
/// `docs/decisions/001` has the measurements.
fn default_tile(extents: &Coordinates, axis: usize, dtype: DType) -> Coordinates {
    let mut tile = [1; MAX_RANK];
    // As many as it takes, alike, so that the last of them has little to spare; in whole
    // runs of 8 samples, and at most `most`.
    let alike = |axis: usize, most: u64| {
        let len = extents[axis].max(1);
        let each = len.div_ceil(len.div_ceil(most));
        match each <= 8 {
            true => each,
            false => each.next_multiple_of(8).min(most),
        }
    };
    match axis {
        0 => tile[1] = alike(1, LINE),
        1 => tile[0] = alike(0, LINE),
        _ => {
            tile[0] = alike(0, 64);
            tile[1] = alike(1, LAYER / tile[0]);
            tile[0] = alike(0, LAYER / tile[1]);
        }
    }
    let layer = tile[0] * tile[1];
    // Eight-byte samples get half as many frames, so that tiles stay 512 KiB.
    let depth = if dtype.size() == 8 { DEPTH / 2 } else { DEPTH };
    let mut room = LAYER * depth / layer;
    // A cube usually grows, so few frames get tiles that have room for more; but each
    // takes disk whole, and frames of many planes are few for longer.
    let least = match axis {
        0..=2 => LEAST_DEPTH.max((1 << room.ilog2()) / 4),
        _ => LEAST_DEPTH / 4,
    };
    let deepest = |other: usize| match other == axis {
        true => extents[axis].max(least),
        false => extents[other],
    };
    // The joined axis shares the room with the other outer ones, turn by turn.
    while room > 1 {
        let outer = (0..MAX_RANK).filter(|&other| other == axis || other > 1);
        let grows = outer.filter(|&other| tile[other] < deepest(other));
        let Some(shallow) = grows.min_by_key(|&other| (tile[other], other != axis)) else {
            break;
        };
        tile[shallow] *= 2;
        room /= 2;
    }
    tile
}
