//! `cube delete`, `cube move` and `cube sort`: positions taken away, or read in
//! another order. Samples stay where they are; a piece table changes.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::frames::{Keys, each_chosen, joined_axis};
use super::{Progress, change, count};
use crate::engine::edit::Edit;
use crate::engine::pieces::{Pieces, Runs, joined};
use crate::engine::snapshot::Snapshot;
use crate::error::{Error, Result, show_path};
use crate::format::MAX_PIECES;
use crate::format::catalog::Piece;
use crate::format::ledger::Record;
use crate::frames::cards::Value;
use crate::frames::filter::Filter;
use crate::region::{AXIS_NAMES, Span, check_axis, parse_position, parse_positions, parse_span};
use crate::storage::file::Busy;

/// What every one of these commands is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The axis; `None` is the one that the cube's frames joined.
    pub axis: Option<usize>,
    /// What to do when another writer is at work.
    pub busy: Busy,
    /// Is the cube to stay as it is?
    pub dry_run: bool,
    /// The command as typed, for the history.
    pub line: String,
}

/// Which positions `delete` takes away.
pub enum Which<'a> {
    /// These, as typed: `5,9:12,-1`.
    At(&'a str),
    /// Those of the frames that came from one of these files, if any are named,
    /// and that meet all conditions.
    Frames {
        /// Names of files, as they were given when the frames came in.
        sources: &'a [PathBuf],
        /// Conditions on keywords and samples.
        filters: &'a [Filter],
    },
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The axis.
    pub axis: usize,
    /// Positions that were taken away or moved.
    pub positions: u64,
    /// Frames of which nothing is left in the cube.
    pub frames: u64,
    /// Lengths of the axes now.
    pub shape: Vec<u64>,
}

/// What a change came to.
#[derive(Clone, Copy, Default)]
struct Done {
    /// Positions that were taken away or moved.
    positions: u64,
    /// Frames of which nothing is left.
    frames: u64,
}

/// Changes the order of an axis.
fn arrange(
    path: &Path,
    verb: &str,
    options: &Options,
    progress: &dyn Progress,
    make: impl FnOnce(&Snapshot, &mut Edit<'_>, usize) -> Result<Done>,
) -> Result<Report> {
    let (busy, line) = (options.busy, &options.line);
    change(path, verb, busy, line, progress, |snapshot, edit| {
        let axis = match options.axis {
            Some(axis) => axis,
            None => joined_axis(snapshot)?,
        };
        check_axis(axis, &snapshot.shape())?;
        let Done { positions, frames } = make(snapshot, edit, axis)?;
        let report = Report {
            axis,
            positions,
            frames,
            shape: edit.shape(),
        };
        Ok((positions > 0 && !options.dry_run, report))
    })
}

/// How many frames lost their last sample with these positions. Only records that may
/// hold some of them are read.
fn count_lost(snapshot: &Snapshot, edit: &mut Edit<'_>, axis: usize, doomed: &Runs) -> Result<u64> {
    let pieces = snapshot.pieces(axis);
    let runs = doomed.iter().flat_map(|&(lo, hi)| pieces.runs(lo, hi - lo));
    let slots = joined(runs.map(|run| (run.slot, run.slot + run.len)).collect());
    let may_be = |lo: &[u64], hi: &[u64]| {
        let next = slots.partition_point(|&(_, end)| end <= lo[axis]);
        slots.get(next).is_some_and(|&(first, _)| first < hi[axis])
    };
    let (before, after) = (snapshot.positions(), edit.positions());
    let mut lost = 0;
    snapshot.for_each_record_where(&may_be, &mut |record| {
        lost += u64::from(before.of(&record).is_some() && after.of(&record).is_none());
        Ok(())
    })?;
    edit.set_frames(snapshot.catalog().frames.saturating_sub(lost));
    Ok(lost)
}

/// The positions of all these spans.
fn runs_of(spans: &[Span]) -> Result<Runs> {
    let mut runs = Runs::new();
    for span in spans {
        let last = span.at(span.len.saturating_sub(1));
        match span.step.unsigned_abs() {
            1 => runs.push((span.start.min(last), span.start.max(last) + 1)),
            // What is left between them would be as many pieces.
            _ if span.len > MAX_PIECES => {
                return Err(Error::unsupported(format!(
                    "{} positions apart from each other would leave as many pieces, more than \
                     {MAX_PIECES}",
                    span.len
                )));
            }
            _ => runs.extend((0..span.len).map(|k| (span.at(k), span.at(k) + 1))),
        }
    }
    Ok(joined(runs))
}

/// Takes positions of an axis away.
///
/// # Errors
/// When a position is outside the cube, or no frame is meant.
pub fn delete(
    path: &Path,
    which: &Which<'_>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    arrange(path, "delete", options, progress, |snapshot, edit, axis| {
        let doomed = match which {
            Which::At(text) => runs_of(&parse_positions(text, axis, edit.len(axis))?)?,
            Which::Frames { sources, filters } => {
                positions_of_frames(snapshot, axis, sources, filters, progress)?
            }
        };
        if doomed.is_empty() {
            progress.warn(&format!("{}: no frame meets --where", show_path(path)));
        }
        edit.delete_all(axis, &doomed);
        Ok(Done {
            positions: doomed.iter().map(|(lo, hi)| hi - lo).sum(),
            frames: count_lost(snapshot, edit, axis, &doomed)?,
        })
    })
}

/// The positions of frames that came from one of these files, if any are named, and
/// meet all conditions.
fn positions_of_frames(
    snapshot: &Snapshot,
    axis: usize,
    sources: &[PathBuf],
    filters: &[Filter],
    progress: &dyn Progress,
) -> Result<Runs> {
    // Records hold names as text. Of each, whether a frame came from it.
    let text = |name: &PathBuf| PathBuf::from(&*name.to_string_lossy());
    let mut named: HashMap<PathBuf, bool> =
        sources.iter().map(|name| (text(name), false)).collect();
    let names = named.clone();
    let wanted = |record: &Record| {
        let is_meant = names.is_empty() || names.contains_key(Path::new(&record.source));
        record.axis == axis && is_meant
    };
    let positions = snapshot.positions();
    let mut found = Runs::new();
    each_chosen(snapshot, filters, &wanted, progress, &mut |record| {
        let runs = positions.runs(&record, axis);
        if let Some(named) = named.get_mut(Path::new(&record.source)) {
            *named |= !runs.is_empty();
        }
        found.extend(runs.into_iter().map(|(at, len)| (at, at + len)));
        Ok(())
    })?;
    let missing = sources.iter().find(|name| !named[&text(name)]);
    if let Some(name) = missing {
        let and = if filters.is_empty() {
            ""
        } else {
            " and meets --where"
        };
        let name = show_path(name);
        return Err(
            Error::input(format!("no frame of the cube came from {name}{and}"))
                .hint("cube info --frames lists the names as they were given"),
        );
    }
    Ok(joined(found))
}

/// Moves the positions `from` so that the first of them stands at `to`.
///
/// # Errors
/// When a position is outside the cube.
pub fn shift(
    path: &Path,
    from: &str,
    to: &str,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    arrange(path, "move", options, progress, |_, edit, axis| {
        let Span { start, step, len } = parse_span(from, axis, edit.len(axis))?;
        if step.unsigned_abs() != 1 && len > 1 {
            return Err(Error::input(format!("--from {from} steps over positions"))
                .hint("move a run, such as 9:12"));
        }
        let first = start.min(start.wrapping_add_signed(step * (len as i64 - 1)));
        // Where there are so many fewer, the last place is so much earlier.
        let to = parse_position(to, axis, edit.len(axis) - len + 1)?;
        if to == first {
            return Ok(Done::default());
        }
        edit.shift(axis, first, len, to);
        Ok(Done {
            positions: len,
            frames: 0,
        })
    })
}

/// How a frame sorts: by number, by text, or after all that can be compared.
#[derive(Clone, Debug)]
enum SortKey {
    Number(f64),
    Text(String),
    Missing,
}

impl SortKey {
    fn of(value: Option<Value>) -> SortKey {
        match value {
            None | Some(Value::Other(_)) => SortKey::Missing,
            Some(Value::Logical(flag)) => SortKey::Number(f64::from(u8::from(flag))),
            Some(Value::Text(text)) => SortKey::Text(text),
            Some(value) => value.as_real().map_or(SortKey::Missing, SortKey::Number),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            SortKey::Number(_) => 0,
            SortKey::Text(_) => 1,
            SortKey::Missing => 2,
        }
    }

    fn compare(&self, other: &SortKey) -> Ordering {
        match (self, other) {
            (SortKey::Number(a), SortKey::Number(b)) => a.total_cmp(b),
            (SortKey::Text(a), SortKey::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// The order of two frames by the first key in which they differ.
fn order(a: &[SortKey], b: &[SortKey], reverse: bool) -> Ordering {
    let orders = a.iter().zip(b).map(|(a, b)| match (a, b) {
        // Turned around or not, what cannot be compared comes last.
        (SortKey::Missing, _) | (_, SortKey::Missing) => a.compare(b),
        _ if reverse => b.compare(a),
        _ => a.compare(b),
    });
    orders.fold(Ordering::Equal, Ordering::then)
}

/// Puts the frames of an axis in the order of header keywords, or of what is measured
/// from their samples: those that are equal in the first in the order of the next, and
/// in all as they stand. Those without a keyword come last.
///
/// # Errors
/// When no frame has one of the keywords.
pub fn sort(
    path: &Path,
    by: &[String],
    reverse: bool,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    arrange(path, "sort", options, progress, |snapshot, edit, axis| {
        // Runs of slots in today's order, each with the key of its frame.
        let mut owners: Vec<Owner> = Vec::new();
        let positions = snapshot.positions();
        let keys = Keys::new(by);
        let mut told = keys.of(snapshot, None);
        let (mut frames, mut missing) = (0, vec![0; by.len()]);
        snapshot.for_each_record(&mut |record| {
            if record.axis == axis && positions.of(&record).is_some() {
                let values = told
                    .values(&record)?
                    .unwrap_or_else(|| vec![None; by.len()]);
                let key: Vec<SortKey> = values.into_iter().map(SortKey::of).collect();
                frames += 1;
                for (key, missing) in key.iter().zip(&mut missing) {
                    *missing += u64::from(matches!(key, SortKey::Missing));
                }
                let runs = record.slots[axis].iter();
                owners.extend(runs.map(|&Piece(slot, len)| (slot, len, key.clone())));
            }
            Ok(())
        })?;
        owners.sort_unstable_by_key(|&(slot, _, _)| slot);
        if frames == 0 {
            return Err(Error::input(format!(
                "no frame joined {}: there is nothing to sort",
                AXIS_NAMES[axis]
            ))
            .hint("cube info --frames tells which axis each joined"));
        }
        for (by, &missing) in by.iter().zip(&missing) {
            if missing == frames {
                return Err(Error::input(format!("no frame has the keyword {by}"))
                    .hint("cube info --frames --cards shows what they have"));
            }
            if missing > 0 {
                progress.warn(&format!(
                    "{} no {by}: last in order",
                    count(missing, "frame") + if missing == 1 { " has" } else { " have" }
                ));
            }
        }
        let nothing = vec![SortKey::Missing; by.len()];
        let mut units = units(edit.pieces(axis), &owners, &nothing);
        let before: Vec<Piece> = units.iter().map(|&(piece, _)| piece).collect();
        units.sort_by(|(_, a), (_, b)| order(a, b, reverse));
        let moved = before
            .iter()
            .zip(&units)
            .filter(|(before, (after, _))| before != &after);
        let moved = moved.map(|(before, _)| before.1).sum();
        let sorted: Vec<Piece> = units.into_iter().map(|(piece, _)| piece).collect();
        if moved > 0 {
            edit.set_pieces(axis, Pieces::new(&sorted));
        }
        Ok(Done {
            positions: moved,
            frames: 0,
        })
    })
}

/// A run of slots, its first one and how many, and the keys of its frame.
type Owner = (u64, u64, Vec<SortKey>);

/// Cuts pieces where another frame begins; slots of no frame have `nothing` for keys.
fn units<'a>(
    pieces: &Pieces,
    owners: &'a [Owner],
    nothing: &'a [SortKey],
) -> Vec<(Piece, &'a [SortKey])> {
    let mut units = Vec::new();
    for &Piece(slot, len) in pieces.as_slice() {
        let (mut at, end) = (slot, slot + len);
        while at < end {
            let next = owners.partition_point(|&(first, _, _)| first <= at);
            let owner = next.checked_sub(1).map(|owner| &owners[owner]);
            let owner = owner.filter(|(first, len, _)| at - first < *len);
            let stop = match owner {
                Some((first, len, _)) => first + len,
                None => owners.get(next).map_or(end, |&(first, _, _)| first),
            };
            let stop = stop.min(end);
            let key = owner.map_or(nothing, |(.., key)| key);
            units.push((Piece(at, stop - at), key));
            at = stop;
        }
    }
    units
}
