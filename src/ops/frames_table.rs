//! The table that goes with a cut: a row for each frame in it, a column for each
//! keyword that any of them has.
//!
//! Two passes over the ledger find the frames and the types of the columns; more
//! fill in the rows, as many at a time as fit the memory. So no pass holds more
//! than one group of the ledger, a number for each frame and a batch of rows.

use std::collections::HashMap;

use super::Progress;
use super::frames::cards_of;
use crate::engine::records::Positions;
use crate::engine::snapshot::Snapshot;
use crate::error::Result;
use crate::format::ledger::{Record, meet};
use crate::frames::cards::Value;
use crate::region::{AXIS_NAMES, Span};
use crate::sinks::fits::image_cards;
use crate::sinks::table::{Kind, Table};

/// What a FITS table can have (FITS Standard 4.0, section 7.3.1).
const MAX_COLUMNS: usize = 999;

/// Columns before those of the keywords.
const OWN: [(&str, &str); 8] = [
    ("POSITION", "first position in this file, along AXIS"),
    ("LENGTH", "positions in this file, along AXIS"),
    ("AXIS", "axis that the frame joined"),
    ("CUBE_POSITION", "first position in the cube, along AXIS"),
    ("SOURCE", "file that the frame came from"),
    ("HDU", "which HDU or page of it, from 0"),
    ("SHAPE", "lengths of its axes, x first"),
    ("DTYPE", "type of its samples as they came"),
];

/// A frame of the cut: its first position there, and its number in the ledger.
type Place = (u64, u64);

/// The table of the frames in a cut, before its rows are made.
pub(super) struct FramesTable<'s> {
    snapshot: &'s Snapshot,
    positions: &'s Positions,
    /// The positions of each cut.
    cuts: Vec<Vec<Span>>,
    /// The frames, as they follow each other in the cut.
    order: Vec<Place>,
    pub(super) table: Table,
    /// The column of a keyword.
    columns: HashMap<String, usize>,
}

impl<'s> FramesTable<'s> {
    /// Finds the frames of cuts, and what columns they need; `None` where there
    /// are fewer than `at_least`.
    pub(super) fn new(
        snapshot: &'s Snapshot,
        positions: &'s Positions,
        cuts: Vec<Vec<Span>>,
        at_least: usize,
        progress: &dyn Progress,
    ) -> Result<Option<FramesTable<'s>>> {
        let mut frames = FramesTable {
            snapshot,
            positions,
            cuts,
            order: Vec::new(),
            table: Table::default(),
            columns: HashMap::new(),
        };
        let ranges: Vec<_> = frames
            .cuts
            .iter()
            .map(|cut| snapshot.slot_ranges(cut))
            .collect();
        let near = |lo: &[u64], hi: &[u64]| ranges.iter().any(|slots| meet(lo, hi, slots));
        let mut order = Vec::new();
        let mut seen = Seen::default();
        snapshot.for_each_record_where(&near, &mut |record| {
            if let Some(found) = frames.overlap(&record) {
                order.push((found.first, record.frame));
                for (number, value) in own_values(snapshot, &record, &found).iter().enumerate() {
                    seen.own[number].widen(value);
                }
                seen.add(&record);
            }
            Ok(())
        })?;
        if order.len() < at_least {
            return Ok(None);
        }
        order.sort_unstable();
        frames.order = order;
        frames.define(&seen, progress);
        Ok(Some(frames))
    }

    fn define(&mut self, seen: &Seen, progress: &dyn Progress) {
        self.table.name = "FRAMES".to_string();
        self.table.n_rows = self.order.len() as u64;
        for ((name, comment), column) in OWN.iter().zip(&seen.own) {
            self.table.push(name, column.kind(), comment);
        }
        for keyword in &seen.names {
            let Some(column) = seen.columns.get(keyword) else {
                continue;
            };
            self.columns
                .insert(keyword.clone(), self.table.columns.len());
            let column = column.kind();
            self.table
                .push(keyword, column, &format!("keyword {keyword}"));
        }
        if seen.beyond > 0 {
            progress.warn(&format!(
                "the table of frames has {MAX_COLUMNS} columns, as many as FITS allows: \
                 further keywords are left out"
            ));
        }
    }

    /// Where a frame is in the cut; `None` where it is not.
    fn overlap(&self, record: &Record) -> Option<Overlap> {
        let (first, _) = self.positions.of(record)?;
        self.cuts.iter().find_map(|spans| {
            let mut found = Overlap {
                first: 0,
                len: 0,
                in_cube: self.snapshot.in_cube(record.axis, first[record.axis]),
            };
            for (axis, span) in spans.iter().enumerate() {
                let mut best: Option<(u64, u64)> = None;
                for (position, len) in self.positions.runs(record, axis) {
                    if let Some((at, n)) = span.numbers_in(position, len) {
                        let (least, sum) = best.unwrap_or((at, 0));
                        best = Some((least.min(at), sum + n));
                    }
                }
                let (at, n) = best?;
                if axis == record.axis {
                    (found.first, found.len) = (at, n);
                }
            }
            Some(found)
        })
    }

    /// The rows, encoded, in the order of positions, at most about `memory`
    /// bytes at a time.
    pub(super) fn rows(&self, memory: u64) -> impl Iterator<Item = Result<Vec<u8>>> {
        let row_bytes = self.table.row_bytes();
        let most = usize::try_from(memory).unwrap_or(usize::MAX);
        let batch = (most / row_bytes.max(1)).max(1);
        self.order.chunks(batch).map(move |places| {
            // From the number of a frame to its row.
            let mut rows: Vec<(u64, usize)> = places
                .iter()
                .enumerate()
                .map(|(row, &(_, frame))| (frame, row))
                .collect();
            rows.sort_unstable();
            let mut out = vec![0; row_bytes * places.len()];
            let frames: Vec<u64> = rows.iter().map(|&(frame, _)| frame).collect();
            let each = &mut |record: Record| {
                let Ok(at) = frames.binary_search(&record.frame) else {
                    return Ok(());
                };
                let row = &mut out[row_bytes * rows[at].1..][..row_bytes];
                self.table.encode(&self.values(&record), row)
            };
            self.snapshot.for_each_record_numbered(&frames, each)?;
            Ok(out)
        })
    }

    fn values(&self, record: &Record) -> Vec<Option<Value>> {
        let mut values = vec![None; self.table.columns.len()];
        if let Some(found) = self.overlap(record) {
            let own = own_values(self.snapshot, record, &found);
            for (slot, value) in values.iter_mut().zip(own) {
                *slot = Some(value);
            }
        }
        each_of(record, &mut |keyword, value| {
            if let Some(&column) = self.columns.get(keyword) {
                // Of two cards of one name the first counts.
                values[column].get_or_insert(value);
            }
        });
        values
    }
}

/// Where a frame stands in a cut, along the axis it joined; from 0.
struct Overlap {
    first: u64,
    len: u64,
    in_cube: u64,
}

fn own_values(snapshot: &Snapshot, record: &Record, found: &Overlap) -> [Value; OWN.len()] {
    let axis = snapshot.catalog().axes.get(record.axis);
    let axis = axis.map_or(AXIS_NAMES[record.axis].to_string(), |axis| {
        axis.name.clone()
    });
    let shape: Vec<String> = record.shape.iter().map(u64::to_string).collect();
    [
        Value::Integer(i128::from(found.first) + 1),
        Value::Integer(found.len.into()),
        Value::Text(axis),
        Value::Integer(i128::from(found.in_cube) + 1),
        Value::Text(record.source.clone()),
        Value::Integer(record.part.into()),
        Value::Text(shape.join(",")),
        Value::Text(record.dtype.clone()),
    ]
}

/// Calls `each` for the keywords of a frame and their values, in order.
fn each_of(record: &Record, each: &mut dyn FnMut(&str, Value)) {
    let cards = cards_of(record);
    for (keyword, value) in image_cards(&cards).values() {
        if let Some(value) = meant(value) {
            each(&keyword, value);
        }
    }
}

/// The value as a table takes it; `None` for a card without one.
fn meant(value: Value) -> Option<Value> {
    match value {
        undefined if undefined.is_undefined() => None,
        Value::Other(text) if text.eq_ignore_ascii_case("nan") => Some(Value::Real(f64::NAN)),
        other => Some(other),
    }
}

/// What a column must be able to hold.
#[derive(Clone, Copy, Default)]
struct Needs {
    logical: bool,
    int: bool,
    real: bool,
    text: bool,
    /// A whole number that 32 bits, or the exact part of a float, do not hold.
    beyond_int32: bool,
    beyond_float: bool,
    beyond_int64: bool,
    width: usize,
}

impl Needs {
    fn widen(&mut self, value: &Value) {
        match *value {
            Value::Logical(_) => self.logical = true,
            Value::Integer(value) => {
                self.int = true;
                // The least of a type stands for nothing.
                self.beyond_int32 |= !i32::try_from(value).is_ok_and(|value| value != i32::MIN);
                self.beyond_float |= value.unsigned_abs() > 1 << 53;
                self.beyond_int64 |= !i64::try_from(value).is_ok_and(|value| value != i64::MIN);
            }
            Value::Real(_) => self.real = true,
            Value::Text(_) | Value::Other(_) => self.text = true,
        }
        self.width = self.width.max(value.show().chars().count());
    }

    /// The narrowest kind that holds every value that was seen.
    fn kind(&self) -> Kind {
        let text = Kind::Text(self.width.max(1));
        match (self.logical, self.int || self.real, self.text) {
            (_, _, true) | (true, true, _) => text,
            (true, false, false) => Kind::Logical,
            _ if self.real && self.beyond_float || self.beyond_int64 => text,
            _ if self.real => Kind::Real,
            _ if self.beyond_int32 => Kind::Int64,
            _ => Kind::Int32,
        }
    }
}

/// The columns that the frames need.
#[derive(Default)]
struct Seen {
    own: [Needs; OWN.len()],
    /// Keywords in the order in which they were first seen.
    names: Vec<String>,
    columns: HashMap<String, Needs>,
    /// Keywords for which there was no room.
    beyond: u64,
}

impl Seen {
    fn add(&mut self, record: &Record) {
        let Seen {
            names,
            columns,
            beyond,
            ..
        } = self;
        each_of(record, &mut |keyword, value| {
            if let Some(needs) = columns.get_mut(keyword) {
                needs.widen(&value);
            } else if names.len() + OWN.len() < MAX_COLUMNS {
                let mut needs = Needs::default();
                needs.widen(&value);
                names.push(keyword.to_string());
                columns.insert(keyword.to_string(), needs);
            } else {
                *beyond += 1;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_of_the_narrowest_kind_that_loses_nothing() {
        let kind = |values: &[Value]| {
            let mut needs = Needs::default();
            values.iter().for_each(|value| needs.widen(value));
            needs.kind()
        };
        let int = Value::Integer;
        let text = |text: &str| Value::Text(text.to_string());
        assert_eq!(kind(&[int(1), int(-7)]), Kind::Int32);
        assert_eq!(kind(&[int(i32::MIN.into())]), Kind::Int64);
        assert_eq!(kind(&[int(i64::MIN.into())]), Kind::Text(20));
        assert_eq!(kind(&[int(1), Value::Real(0.5)]), Kind::Real);
        assert_eq!(kind(&[int(1 << 60), Value::Real(0.5)]), Kind::Text(19));
        assert_eq!(kind(&[Value::Logical(true)]), Kind::Logical);
        assert_eq!(kind(&[Value::Logical(true), int(12)]), Kind::Text(2));
        assert_eq!(kind(&[text(""), text("abc")]), Kind::Text(3));
        assert_eq!(kind(&[text("")]), Kind::Text(1));
    }
}
