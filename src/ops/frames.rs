//! The frames of a cube as they are now: where they stand on an axis, what they say and
//! measure, and which of them are meant.

use std::path::Path;

use super::plan::{full_shape, moment};
use super::{Progress, open};
use crate::engine::records::Positions;
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, Result};
use crate::format::catalog::Catalog;
use crate::format::ledger::{Record, cards_from_text};
use crate::frames::cards::{Cards, Value};
use crate::frames::filter::{Filter, Gate, unknown};
use crate::frames::measure::{Measure, Measured, Measures, measure};
use crate::frames::{About, Facts, Frame};
use crate::region::{MAX_RANK, Span};

/// What is known of a frame of a cube.
pub(super) fn facts(catalog: &Catalog, record: &Record) -> Facts {
    Facts {
        shape: record.shape.clone(),
        dtype: catalog.dtype,
        blank: catalog.blank,
        file_bytes: record.file_bytes,
        modified: record.modified.and_then(moment),
        part: record.part,
        offset: record.frame,
        channel: record.channel,
        primary: 0,
    }
}

/// What the cube still holds of a frame, with what `clean` put over its samples.
struct InPlace<'a> {
    snapshot: &'a Snapshot,
    /// Runs of positions on each axis.
    held: Vec<Vec<(u64, u64)>>,
    record: Record,
    about: About,
    /// The cube as this frame; made when samples are wanted.
    view: Option<Snapshot>,
}

impl<'a> InPlace<'a> {
    /// `within`: the part of the cube that counts, one span per axis, if not all. `None`
    /// where the frame has nothing there.
    fn new(
        snapshot: &'a Snapshot,
        positions: &Positions,
        record: Record,
        within: Option<&[Span]>,
    ) -> Option<InPlace<'a>> {
        let held: Vec<Vec<(u64, u64)>> = (0..MAX_RANK)
            .map(|axis| {
                let runs = positions.runs(&record, axis);
                match within.and_then(|spans| spans.get(axis)) {
                    Some(span) => runs.iter().flat_map(|&run| part_of(run, span)).collect(),
                    None => runs,
                }
            })
            .collect();
        let lens: Vec<u64> = held
            .iter()
            .map(|runs| runs.iter().map(|&(_, len)| len).sum())
            .collect();
        if lens.contains(&0) {
            return None;
        }
        Some(InPlace {
            about: About {
                facts: Facts {
                    shape: lens[..record.shape.len().min(MAX_RANK)].to_vec(),
                    ..facts(snapshot.catalog(), &record)
                },
                cards: cards_of(&record),
                notes: Vec::new(),
            },
            snapshot,
            held,
            record,
            view: None,
        })
    }
}

/// What of a run of positions is in a span, as runs.
fn part_of((first, len): (u64, u64), span: &Span) -> Vec<(u64, u64)> {
    let Some((number, n)) = span.numbers_in(first, len) else {
        return Vec::new();
    };
    let (one, other) = (span.at(number), span.at(number + n - 1));
    let least = one.min(other);
    match span.step.unsigned_abs() {
        1 => vec![(least, n)],
        step => (0..n).map(|k| (least + k * step, 1)).collect(),
    }
}

impl Frame for InPlace<'_> {
    fn about(&self) -> &About {
        &self.about
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        let shape = full_shape(&self.about.facts.shape);
        let region: [Span; MAX_RANK] = shape.map(|len| Span::run(0, len));
        let (snapshot, held) = (self.snapshot, &self.held);
        let view = self.view.get_or_insert_with(|| snapshot.of_runs(held));
        view.read_run(&region, first, out)
    }
}

/// The header that a frame came with.
pub(super) fn cards_of(record: &Record) -> Cards {
    Cards::from_bytes(cards_from_text(&record.cards))
}

/// The axis that the first frame joined: the one people mean.
pub(super) fn joined_axis(snapshot: &Snapshot) -> Result<usize> {
    let record = snapshot.header_record()?;
    Ok(record.map_or(2, |record| record.axis))
}

/// The same where frames have no extent on it: they stand there one behind the other,
/// sample by sample.
pub(super) fn stacked_axis(snapshot: &Snapshot) -> Result<Option<usize>> {
    let record = snapshot.header_record()?;
    let is_stacked = |record: &Record| record.shape.get(record.axis).is_none_or(|&len| len == 1);
    Ok(record.filter(is_stacked).map(|record| record.axis))
}

/// Calls `each` for every frame that is wanted, meets all conditions and has not been
/// taken out, in order of arrival.
pub(super) fn each_chosen(
    snapshot: &Snapshot,
    filters: &[Filter],
    wanted: &dyn Fn(&Record) -> bool,
    progress: &dyn Progress,
    each: &mut dyn FnMut(Record) -> Result<()>,
) -> Result<()> {
    let positions = snapshot.positions();
    let is_measured = filters.iter().any(|filter| !filter.needs().is_empty());
    if is_measured {
        progress.begin("measuring", snapshot.catalog().frames, 0);
    }
    let mut gate = Gate::new(filters);
    snapshot.for_each_record(&mut |record| {
        if positions.of(&record).is_none() {
            return Ok(());
        }
        if is_measured {
            progress.frames(1);
        }
        if !wanted(&record) {
            return Ok(());
        }
        if filters.is_empty() {
            return each(record);
        }
        let Some(mut frame) = InPlace::new(snapshot, &positions, record, None) else {
            return Ok(());
        };
        match gate.passes(&mut frame)? {
            true => each(frame.record),
            false => Ok(()),
        }
    })?;
    if is_measured {
        progress.end();
    }
    let complaints = gate.complaints();
    complaints.iter().for_each(|text| progress.warn(text));
    Ok(())
}

/// Opens the newest commit of a cube as [`only`] shows it.
pub(super) fn open_chosen(
    path: &Path,
    filters: &[Filter],
    progress: &dyn Progress,
) -> Result<Snapshot> {
    let (_, cube) = open(path, progress)?;
    Ok(only(&cube, filters, progress).at(path)?.unwrap_or(cube))
}

/// The cube with the frames alone that meet all conditions, on the axis that they
/// joined; `None` where there are no conditions.
///
/// # Errors
/// When no frame meets them.
pub(super) fn only(
    snapshot: &Snapshot,
    filters: &[Filter],
    progress: &dyn Progress,
) -> Result<Option<Snapshot>> {
    // Of a cube that is empty others say so.
    if filters.is_empty() || snapshot.shape().contains(&0) {
        return Ok(None);
    }
    let axis = joined_axis(snapshot)?;
    let positions = snapshot.positions();
    let mut found = Vec::new();
    each_chosen(
        snapshot,
        filters,
        &|record| record.axis == axis,
        progress,
        &mut |record| {
            found.extend(positions.along(&record, axis));
            Ok(())
        },
    )?;
    if found.is_empty() {
        return Err(Error::input("no frame meets --where")
            .hint("cube info --frames --keys KEY shows what they have"));
    }
    found.sort_unstable();
    found.dedup();
    Ok(Some(snapshot.keeping(axis, found)))
}

/// A number in a span of an axis, and the pixel there of the frame whose own it is, from 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) number: usize,
    pub(super) pixel: u64,
}

/// The frames that joined an axis.
pub(super) fn joining(axis: usize) -> impl Fn(&Positions, &Record) -> bool {
    move |_, record| record.axis == axis
}

/// Calls `each` for every frame that is meant and the numbers in a span of `axis` that
/// are its own.
pub(super) fn each_along(
    snapshot: &Snapshot,
    axis: usize,
    span: &Span,
    is_meant: &dyn Fn(&Positions, &Record) -> bool,
    each: &mut dyn FnMut(&Record, &[Own]) -> Result<()>,
) -> Result<()> {
    let positions = snapshot.positions();
    let mut spans = snapshot.whole();
    spans[axis] = *span;
    let slots = snapshot.slot_ranges(&spans);
    let mut numbers = Vec::new();
    snapshot.for_each_record_of(&slots, &mut |record| {
        if !is_meant(&positions, &record) {
            return Ok(());
        }
        numbers.clear();
        for (pixel, position, len) in positions.pixels(&record, axis) {
            let (first, n) = span.numbers_in(position, len).unwrap_or_default();
            numbers.extend((first..first + n).map(|number| Own {
                number: number as usize,
                pixel: pixel + (span.at(number) - position),
            }));
        }
        match numbers.is_empty() {
            true => Ok(()),
            false => each(&record, &numbers),
        }
    })
}

/// The name of the file that each position in a span of an axis came from, without its
/// folder; empty where no frame joined the axis.
pub(super) fn names_along(snapshot: &Snapshot, axis: usize, span: &Span) -> Result<Vec<String>> {
    let mut names = vec![String::new(); span.len as usize];
    each_along(
        snapshot,
        axis,
        span,
        &joining(axis),
        &mut |record, numbers| {
            let name = Path::new(&record.source).file_name().unwrap_or_default();
            for own in numbers {
                names[own.number] = name.to_string_lossy().into_owned();
            }
            Ok(())
        },
    )?;
    Ok(names)
}

/// What is wanted of frames beside their samples: keywords, and in lower case the
/// values that are measured.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    names: Vec<String>,
    needs: Measures,
}

impl Keys {
    /// Takes names as typed.
    pub fn new(names: &[String]) -> Keys {
        let mut needs = Measures::default();
        let measures = names.iter().filter_map(|name| Measure::from_name(name));
        measures.for_each(|measure| needs.add(measure));
        Keys {
            names: names.to_vec(),
            needs,
        }
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Asks the frames of a cube, or what of them is `within` a part of it.
    pub(super) fn of<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        within: Option<&'a [Span]>,
    ) -> KeyReader<'a> {
        KeyReader {
            keys: self,
            positions: snapshot.positions(),
            snapshot,
            within,
            came: false,
            is_known: vec![false; self.names.len()],
        }
    }
}

/// Asks frames for what is wanted of them, and remembers what no frame had.
pub(super) struct KeyReader<'a> {
    keys: &'a Keys,
    snapshot: &'a Snapshot,
    positions: Positions,
    within: Option<&'a [Span]>,
    came: bool,
    is_known: Vec<bool>,
}

impl KeyReader<'_> {
    /// The values of a frame, `None` for those that it has not; `None` where it has
    /// nothing in the part that counts.
    pub(super) fn values(&mut self, record: &Record) -> Result<Option<Vec<Option<Value>>>> {
        let names = &self.keys.names;
        if names.is_empty() && self.within.is_none() {
            return Ok(Some(Vec::new()));
        }
        let frame = InPlace::new(self.snapshot, &self.positions, record.clone(), self.within);
        let Some(mut frame) = frame else {
            return Ok(None);
        };
        self.came = true;
        let measured = measure(&mut frame, self.keys.needs)?;
        let cards = &frame.about.cards;
        let value = |(name, is_known): (&String, &mut bool)| {
            let (value, is_there) = match Measure::from_name(name) {
                Some(of) => (measured_value(&measured, of), true),
                None => {
                    let value = cards.told(name);
                    let is_there = value.is_some();
                    (value.filter(|value| !value.is_undefined()), is_there)
                }
            };
            *is_known |= is_there;
            value
        };
        let values = names.iter().zip(&mut self.is_known).map(value);
        Ok(Some(values.collect()))
    }

    /// Tells of keywords that no frame had: those are mistyped.
    pub(super) fn complain(self, progress: &dyn Progress) {
        let names = self.keys.names.iter().zip(self.is_known);
        let unseen = names.filter(|(_, is_known)| self.came && !is_known);
        unseen.for_each(|(name, _)| progress.warn(&format!("--keys: {}", unknown(name))));
    }
}

fn measured_value(measured: &Measured, of: Measure) -> Option<Value> {
    match of {
        Measure::Nan => measured.nan.map(|count| Value::Integer(count.into())),
        _ => measured.get(of).map(Value::Real),
    }
}

/// A keyword's value as JSON.
pub(super) fn card_value(value: Option<Value>) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        None => Json::Null,
        Some(Value::Logical(value)) => Json::Bool(value),
        Some(Value::Integer(value)) => match i64::try_from(value) {
            Ok(value) => value.into(),
            Err(_) => Json::String(value.to_string()),
        },
        // JSON has no number for an infinity.
        Some(Value::Real(value)) if value.is_infinite() => Json::String(value.to_string()),
        Some(Value::Real(value)) => value.into(),
        Some(Value::Text(text) | Value::Other(text)) => Json::String(text),
    }
}
