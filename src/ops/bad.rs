//! Masks of bad samples, as `clean` and `combine` take them.
//!
//! Every mask is read as a cube is: an image of any kind is first put into one that has no
//! name. For the lines that a thread has at hand the box of each mask is read that belongs
//! to them, a piece at a time, so a mask may be as large as the cube. What is bad becomes
//! NaN, which counts nowhere.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::append::{self, unnamed};
use super::cube_frame::is_cube;
use super::frames::{names_along, stacked_axis};
use super::plan::full_shape;
use super::{Progress, Stop, count, open};
use crate::dtype::DType;
use crate::engine::lines::{Column, Lines, Void};
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, Result, show_path};
use crate::kernels::clip::LANES;
use crate::kernels::gather::Lane;
use crate::region::{AXIS_NAMES, MAX_RANK, Span, show_shape};

/// So much of a mask is read at a time, at most.
pub(super) const PIECE_BYTES: u64 = 256 << 10;

/// Which samples are bad.
#[derive(Clone, Debug, Default)]
pub struct Bad {
    /// Masks: images or cubes. What is not 0 in one of them is bad.
    pub files: Vec<PathBuf>,
    /// Bits of integers that count; `None`: all.
    pub bits: Option<u64>,
}

/// The masks of a command.
#[derive(Default)]
pub(super) struct Masks(Vec<Mask>);

struct Mask {
    path: PathBuf,
    snapshot: Snapshot,
    /// On each axis the positions of the cube that it has, in its order; `None`: one
    /// position stands for all.
    along: [Option<Span>; MAX_RANK],
    /// Bits of a sample that count: of a float all but the sign, for -0 is 0.
    bits: u64,
    /// Samples that say nothing: BLANK, and what void reads as where there is some; 0 does
    /// not in any case.
    silent: [u64; 2],
    /// What tells it from other masks, wherever it lies.
    identity: Value,
}

/// Which samples of some lines are bad, and room to find out.
#[derive(Default)]
pub(super) struct Marks {
    /// Bit `l` of number `b * rows + k`: that in row k of lane l of the b-th block. None at
    /// all where there are no masks.
    pub(super) bits: Vec<u16>,
    bytes: Vec<u8>,
    flags: Vec<bool>,
}

impl Masks {
    /// Opens the masks of a region of a cube. `view` is the cube with the frames alone that
    /// are meant, `spans` the region of it.
    ///
    /// # Errors
    /// When one cannot be read, or has not the shape of the cube or of the region.
    pub(super) fn open(
        bad: &Bad,
        shape: &[u64],
        view: &Snapshot,
        spans: &[Span],
        memory: u64,
        progress: &dyn Progress,
        stop: &Stop,
    ) -> Result<Masks> {
        let open = |path: &PathBuf| {
            let (snapshot, identity) = read(path, memory, progress, stop)?;
            let (snapshot, along) = fit(snapshot, shape, view, spans)?;
            let mask = Mask::new(path, snapshot, along, bad.bits, identity)?;
            mask.warn_of_order(view, progress)?;
            Ok(mask)
        };
        let masks = bad.files.iter().map(|path| open(path).at(path));
        Ok(Masks(masks.collect::<Result<_>>()?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does a mask say the same of every sample along an axis?
    pub(super) fn one_for_all(&self, axis: usize) -> bool {
        self.0.iter().any(|mask| mask.along[axis].is_none())
    }

    /// What tells these masks from others.
    pub(super) fn identity(&self) -> Value {
        let identity = |mask: &Mask| json!([mask.identity, mask.bits]);
        self.0.iter().map(identity).collect()
    }

    /// Makes NaN of what is bad in a group of lines that were gathered, and marks it: not
    /// what was NaN before, as void is.
    ///
    /// # Errors
    /// When a mask cannot be read.
    pub(super) fn leave_out<L: Lane>(
        &self,
        lines: &Lines<'_>,
        column: &Column,
        group: &Range<usize>,
        rows: &mut [[L; LANES]],
        marks: &mut Marks,
    ) -> Result<()> {
        marks.bits.clear();
        if self.is_empty() {
            return Ok(());
        }
        marks.bits.resize(rows.len(), 0);
        let (axis, n) = (lines.axis(), column.rows());
        let most = PIECE_BYTES as usize / size_of::<u64>();
        let mut line = group.start;
        while line < group.end {
            let (count, mut place) = lines.boxed(column, line, most.min(group.end - line));
            let of_axis = place[axis];
            let mut row = 0;
            while row < n {
                // Rows in void tiles are left out, so samples may not follow each other.
                let first = u64::from(column.sample(row));
                let follows = |&k: &usize| u64::from(column.sample(row + k)) == first + k as u64;
                let len = (0..(n - row).min(most / count)).take_while(follows).count();
                place[axis] = of_axis.part(&Span::run(first, len as u64));
                for mask in &self.0 {
                    mask.mark(&place, axis, (line - group.start, row, n), marks)
                        .at(&mask.path)?;
                }
                row += len;
            }
            line += count;
        }
        let marked = rows.iter_mut().zip(&mut marks.bits);
        for (row, bits) in marked.filter(|(_, bits)| **bits != 0) {
            let mut is_nan = 0;
            for (lane, sample) in row.iter_mut().enumerate() {
                is_nan |= u16::from(sample.wide().is_nan()) << lane;
                let is_bad = *bits >> lane & 1 == 1;
                *sample = if is_bad { L::NAN } else { *sample };
            }
            *bits &= !is_nan;
        }
        Ok(())
    }
}

/// Opens a mask, and says what tells it from others.
fn read(
    path: &Path,
    memory: u64,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<(Snapshot, Value)> {
    if path == Path::new("-") {
        return Err(Error::input("a mask is not read from standard input")
            .hint("give it the name of a file; one called - is ./-"));
    }
    if is_cube(path) {
        let (_, snapshot) = open(path, progress)?;
        let identity = json!([snapshot.catalog().generation, snapshot.extent()]);
        return Ok((snapshot, identity));
    }
    let options = append::Options {
        memory,
        ..append::Options::default()
    };
    let snapshot = unnamed(path, &options, progress, stop)?;
    let mut frames = Vec::new();
    snapshot.for_each_record(&mut |record| {
        frames.push((record.shape, record.dtype, record.check));
        Ok(())
    })?;
    Ok((snapshot, json!(frames)))
}

/// The positions of a cube that a mask has on each axis: it is as long as the cube, or as
/// the region, or one of its positions stands for all.
fn fit(
    mask: Snapshot,
    cube: &[u64],
    view: &Snapshot,
    spans: &[Span],
) -> Result<(Snapshot, [Option<Span>; MAX_RANK])> {
    let own = full_shape(&mask.shape());
    let fits = |other: &[u64]| {
        let other = full_shape(other);
        (0..MAX_RANK).all(|axis| own[axis] == 1 || own[axis] == other[axis])
    };
    let along = |of: &dyn Fn(usize) -> Span| -> [Option<Span>; MAX_RANK] {
        std::array::from_fn(|axis| (own[axis] > 1).then(|| of(axis)))
    };
    let region: Vec<u64> = spans.iter().map(|span| span.len).collect();
    if fits(cube) {
        let mask = match view.kept() {
            Some((axis, kept)) if own[axis] > 1 => mask.keeping(axis, kept.to_vec()),
            _ => mask,
        };
        let whole = |axis| Span::run(0, view.pieces(axis).len());
        return Ok((mask, along(&whole)));
    }
    if fits(&region) {
        return Ok((mask, along(&|axis| spans[axis])));
    }
    let part = match region == cube {
        true => String::new(),
        false => format!(", and its part {}", show_shape(&region)),
    };
    Err(Error::input(format!(
        "is {}, but the cube is {}{part}",
        show_shape(&mask.shape()),
        show_shape(cube)
    ))
    .hint("a mask is as long as the cube on each axis, or 1 long and then for all positions"))
}

impl Mask {
    fn new(
        path: &Path,
        snapshot: Snapshot,
        along: [Option<Span>; MAX_RANK],
        wanted: Option<u64>,
        identity: Value,
    ) -> Result<Mask> {
        let catalog = snapshot.catalog();
        let dtype = catalog.dtype;
        let bits = match wanted {
            _ if !dtype.is_float() => wanted.unwrap_or(u64::MAX) & dtype.mask(),
            None => dtype.mask() >> 1,
            Some(_) => {
                return Err(
                    Error::input(format!("is {dtype}, which has no bits to choose"))
                        .hint("--bad-bits is for masks of integers"),
                );
            }
        };
        if bits == 0 {
            return Err(Error::input(format!(
                "is {dtype}, which has none of --bad-bits"
            )));
        }
        let blank = catalog.blank.and_then(|blank| dtype.bits_of_int(blank));
        let has_void = snapshot.has_void(&snapshot.whole(), Void::ByFrames)?;
        Ok(Mask {
            path: path.to_path_buf(),
            along,
            bits,
            silent: [blank.unwrap_or(0), if has_void { catalog.pad } else { 0 }],
            identity,
            snapshot,
        })
    }

    /// Says so where the cube has the files that a mask's frames came from, and has them
    /// at other positions.
    fn warn_of_order(&self, cube: &Snapshot, progress: &dyn Progress) -> Result<()> {
        let Some(axis) = stacked_axis(cube)? else {
            return Ok(());
        };
        let Some(along) = self.along[axis].filter(|_| axis < self.snapshot.shape().len()) else {
            return Ok(());
        };
        let names = |of: &Snapshot| names_along(of, axis, &Span::run(0, of.pieces(axis).len()));
        let (ours, theirs) = (names(cube)?, names(&self.snapshot)?);
        // Of a file that has several positions none is the one that is meant.
        let mut places: HashMap<&str, Option<u64>> = HashMap::new();
        for (position, name) in (0..).zip(&ours).filter(|(_, name)| !name.is_empty()) {
            let place = places.entry(name).or_insert(Some(position));
            *place = place.filter(|&place| place == position);
        }
        let mut others = (0..along.len).zip(&theirs).filter_map(|(number, name)| {
            let there = (*places.get(name.as_str())?)?;
            (there != along.at(number)).then_some((number, name, there))
        });
        let Some((number, name, there)) = others.next() else {
            return Ok(());
        };
        let and = match others.count() {
            0 => String::new(),
            n => format!(" (and {} are elsewhere)", count(n as u64, "other frame")),
        };
        let path = show_path(&self.path);
        progress.warn(&format!(
            "{path}: its position {} of {} came from {}, which is at {} in the cube{and}: a mask goes \
             by position, not by name",
            self.snapshot.in_cube(axis, number) + 1,
            AXIS_NAMES[axis],
            show_path(Path::new(name)),
            cube.in_cube(axis, there) + 1
        ));
        Ok(())
    }

    /// Marks what is bad in a box of the cube, which begins at this line of the group and
    /// this row of n.
    fn mark(
        &self,
        place: &[Span; MAX_RANK],
        axis: usize,
        (line, row, n): (usize, usize, usize),
        marks: &mut Marks,
    ) -> Result<()> {
        let mut own = [Span::run(0, 1); MAX_RANK];
        let mut pitches = [0; MAX_RANK];
        let mut samples = 1;
        for (other, along) in self.along.iter().enumerate() {
            if let Some(along) = along {
                own[other] = within(along, &place[other])?;
                pitches[other] = samples;
                samples *= own[other].len as usize;
            }
        }
        let dtype = self.snapshot.catalog().dtype;
        marks.bytes.resize(samples * dtype.size(), 0);
        self.snapshot.read(&own, &mut marks.bytes)?;
        // Nearly all of most masks.
        if marks.bytes.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        self.flag(dtype, &marks.bytes, &mut marks.flags);
        let lens = place.map(|span| span.len as usize);
        let across = (0..MAX_RANK).filter(|&other| other != axis);
        let lines: usize = across.clone().map(|other| lens[other]).product();
        let start_of = |number: usize| -> usize {
            let mut rest = number;
            let parts = across.clone().map(|other| {
                let at = rest % lens[other];
                rest /= lens[other];
                at * pitches[other]
            });
            parts.sum()
        };
        let mut number = 0;
        while number < lines {
            // As many as are left of a block.
            let (block, lane) = ((line + number) / LANES, (line + number) % LANES);
            let count = (LANES - lane).min(lines - number);
            let starts: [usize; LANES] =
                std::array::from_fn(|k| start_of(number + k.min(count - 1)));
            let bits = &mut marks.bits[block * n + row..][..lens[axis]];
            for (k, bits) in bits.iter_mut().enumerate() {
                let flags = &marks.flags[k * pitches[axis]..];
                let lanes = starts[..count].iter().enumerate();
                let found =
                    lanes.fold(0, |found, (k, &start)| found | u16::from(flags[start]) << k);
                *bits |= found << lane;
            }
            number += count;
        }
        Ok(())
    }

    /// Says of each sample whether it is bad.
    fn flag(&self, dtype: DType, bytes: &[u8], flags: &mut Vec<bool>) {
        macro_rules! each {
            ($bits:ty) => {{
                let [bits, one, other] = [self.bits, self.silent[0], self.silent[1]];
                let (bits, one, other) = (bits as $bits, one as $bits, other as $bits);
                flags.extend(bytes.as_chunks().0.iter().map(|sample| {
                    let sample = <$bits>::from_le_bytes(*sample);
                    // All three, so that many are looked at at once.
                    (sample & bits != 0) & (sample != one) & (sample != other)
                }));
            }};
        }
        flags.clear();
        match dtype.size() {
            1 => each!(u8),
            2 => each!(u16),
            4 => each!(u32),
            _ => each!(u64),
        }
    }
}

/// Where in a mask's own positions a span of the cube's is: `along` are those it has.
fn within(along: &Span, span: &Span) -> Result<Span> {
    let start = along
        .number_of(span.start)
        .ok_or_else(|| Error::input("has not all positions"))?;
    Ok(match span.len {
        1 => Span::run(start, 1),
        len => Span {
            start,
            step: span.step / along.step,
            len,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_the_cube_are_found_in_a_mask_of_a_part() {
        let along = Span {
            start: 20,
            step: -3,
            len: 6,
        };
        for (k, len, step) in [(0, 6, 1), (5, 6, -1), (1, 2, 2), (3, 1, 1)] {
            let own = Span {
                start: k,
                step,
                len,
            };
            let span = Span {
                start: along.at(k),
                step: -3 * step,
                len,
            };
            assert_eq!(within(&along, &span).unwrap(), own);
            // Of one position a step says nothing.
            let one = Span::run(span.start, 1);
            assert_eq!(within(&along, &one).unwrap(), Span::run(k, 1));
        }
        assert!(within(&along, &Span::run(19, 1)).is_err());
        assert!(within(&along, &Span::run(2, 1)).is_err());
    }
}
