//! The frames of a cube as they are now: where they stand on an axis, what they say and
//! measure, and which of them are meant.

use std::path::Path;

use super::plan::{full_shape, moment};
use super::{Progress, open};
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, Result};
use crate::format::catalog::Catalog;
use crate::format::ledger::{Record, cards_from_text};
use crate::frames::cards::{Cards, Value};
use crate::frames::filter::{Filter, Gate};
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
    }
}

/// A frame where it stands in the cube, with what `clean` put over its samples.
struct InPlace<'a> {
    snapshot: &'a Snapshot,
    record: Record,
    about: About,
    /// The cube as this frame; made when samples are wanted.
    view: Option<Snapshot>,
}

impl<'a> InPlace<'a> {
    fn new(snapshot: &'a Snapshot, record: Record) -> InPlace<'a> {
        InPlace {
            about: About {
                facts: facts(snapshot.catalog(), &record),
                cards: Cards::from_bytes(cards_from_text(&record.cards)),
                notes: Vec::new(),
            },
            snapshot,
            record,
            view: None,
        }
    }
}

impl Frame for InPlace<'_> {
    fn about(&self) -> &About {
        &self.about
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        let shape = full_shape(&self.about.facts.shape);
        let region: [Span; MAX_RANK] = shape.map(|len| Span::run(0, len));
        let (snapshot, record) = (self.snapshot, &self.record);
        let view = self.view.get_or_insert_with(|| snapshot.of_frame(record));
        view.read_run(&region, first, out)
    }
}

/// The axis that the first frame joined: the one people mean.
pub(super) fn joined_axis(snapshot: &Snapshot) -> Result<usize> {
    let mut reader = snapshot.record_reader();
    let frame = snapshot.catalog().header_frame.unwrap_or(0);
    Ok(reader.get(frame)?.map_or(2, |record| record.axis))
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
        let mut frame = InPlace::new(snapshot, record);
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
    if filters.is_empty() {
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
            let runs = positions.runs(&record, axis);
            found.extend(
                runs.into_iter()
                    .flat_map(|(position, len)| position..position + len),
            );
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

/// Calls `each` for every frame that joined `axis` and the number of each position in
/// `span` that is its own.
pub(super) fn each_along(
    snapshot: &Snapshot,
    axis: usize,
    span: &Span,
    each: &mut dyn FnMut(&Record, &[usize]) -> Result<()>,
) -> Result<()> {
    let positions = snapshot.positions();
    let mut numbers = Vec::new();
    snapshot.for_each_record(&mut |record| {
        if record.axis != axis {
            return Ok(());
        }
        let runs = positions.runs(&record, axis);
        let own = runs
            .into_iter()
            .flat_map(|(position, len)| position..position + len);
        numbers.clear();
        numbers.extend(own.filter_map(|position| span.number_of(position).map(|k| k as usize)));
        match numbers.is_empty() {
            true => Ok(()),
            false => each(&record, &numbers),
        }
    })
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

    /// The values that a frame has, as JSON; `null` for those that it has not.
    pub(super) fn values(
        &self,
        snapshot: &Snapshot,
        record: &Record,
    ) -> Result<Vec<serde_json::Value>> {
        if self.names.is_empty() {
            return Ok(Vec::new());
        }
        let mut frame = InPlace::new(snapshot, record.clone());
        let measured = measure(&mut frame, self.needs)?;
        let cards = &frame.about.cards;
        let value = |name: &String| match Measure::from_name(name) {
            Some(of) => measured_value(&measured, of),
            None => card_value(cards.get(name)),
        };
        Ok(self.names.iter().map(value).collect())
    }
}

fn measured_value(measured: &Measured, of: Measure) -> serde_json::Value {
    match of {
        Measure::Nan => measured.nan.into(),
        _ => measured.get(of).into(),
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
        Some(Value::Real(value)) => value.into(),
        Some(Value::Text(text) | Value::Other(text)) => Json::String(text),
    }
}
