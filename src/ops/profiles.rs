//! Profiles as text and plots have them: along which axis they run, what their positions
//! are called, and what stands beside them.

use serde_json::Value as Json;

use super::Progress;
use super::coordinates::microseconds;
use super::frames::{Own, card_value, cards_of, each_along};
use super::slice::{Options, Request};
use crate::engine::records::Positions;
use crate::engine::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::format::ledger::Record;
use crate::frames::wcs::World;
use crate::region::{AXIS_NAMES, Span, show_shape};
use crate::sinks::Format;
use crate::sinks::text::{Abscissa, Column, Profiles};

/// The axis along which a profile runs, or the axes of what is none.
pub(super) fn profile_axis(request: &Request) -> std::result::Result<usize, Vec<usize>> {
    let long: Vec<usize> = match request.kept[..] {
        [axis] => vec![axis],
        _ => {
            let kept = request.kept.iter().copied();
            kept.filter(|&axis| request.spans[axis].len != 1).collect()
        }
    };
    match long[..] {
        [axis] => Ok(axis),
        [] => Ok(request.kept.last().copied().unwrap_or(0)),
        _ => Err(long),
    }
}

/// What the positions of profiles are called, where that is more than their number.
#[derive(Default)]
pub(super) struct Named {
    /// Where they are in the cube of which this is a view, from 0.
    in_cube: Option<Vec<u64>>,
    beside: Vec<Column>,
}

impl Named {
    pub(super) fn new(
        snapshot: &Snapshot,
        requests: &[Request],
        format: Format,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Named> {
        let request = &requests[0];
        let keys = &options.keys;
        let is_place = match keys.names().len() + usize::from(options.world) {
            0 => true,
            1 => format.is_text() || format.is_plot() && profile_axis(request).is_ok(),
            _ => format.is_text(),
        };
        if !is_place {
            let what = match options.world {
                true => "--world stands",
                false => "--keys stand",
            };
            return Err(Error::input(format!(
                "{what} beside profiles of text, and the output is {}",
                format.name()
            ))
            .hint("text, csv, tsv and json have a place for them, a plot of profiles for one"));
        }
        // Whoever makes profiles of it says why it is none.
        let Ok(axis) = profile_axis(request) else {
            return Ok(Named::default());
        };
        let span = &request.spans[axis];
        let all = || (0..span.len).map(|number| snapshot.in_cube(axis, span.at(number)));
        let column = |name: &String| Column {
            name: name.clone(),
            values: vec![Json::Null; span.len as usize],
        };
        let mut beside: Vec<Column> = keys.names().iter().map(column).collect();
        if !beside.is_empty() {
            let mut told = keys.of(snapshot, None);
            // One that joined this axis has its positions whatever its place on the others.
            let is_meant = |positions: &Positions, record: &Record| {
                record.axis == axis || is_on_line(positions, record, axis, &request.spans)
            };
            each_along(snapshot, axis, span, &is_meant, &mut |record, numbers| {
                let values = told.values(record)?.unwrap_or_default();
                let values = values.into_iter().map(card_value);
                for (column, value) in beside.iter_mut().zip(values) {
                    for own in numbers {
                        column.values[own.number].clone_from(&value);
                    }
                }
                Ok(())
            })?;
            told.complain(progress);
        }
        if options.world {
            beside.insert(0, world(snapshot, requests, axis)?);
        }
        Ok(Named {
            in_cube: snapshot.is_view().then(|| all().collect()),
            beside,
        })
    }
}

/// The world coordinate of each position of profiles along an axis, as the header of the
/// frame there tells it; none in void and where no header tells.
fn world(snapshot: &Snapshot, requests: &[Request], axis: usize) -> Result<Column> {
    let (name, span) = (AXIS_NAMES[axis], &requests[0].spans[axis]);
    let mut values = vec![None; span.len as usize];
    let (mut known, mut why): (Option<World>, _) = (None, None);
    let is_meant = |positions: &Positions, record: &Record| {
        let mut lines = requests.iter();
        lines.any(|request| is_on_line(positions, record, axis, &request.spans))
    };
    each_along(snapshot, axis, span, &is_meant, &mut |record, numbers| {
        let world = match World::read(&cards_of(record), axis) {
            Ok(Some(world)) => world,
            Ok(None) => return Ok(()),
            Err(reason) => {
                why.get_or_insert(reason);
                return Ok(());
            }
        };
        let known = known.get_or_insert_with(|| world.clone());
        if known.label != world.label {
            return Err(Error::input(format!(
                "frames tell axis {name} as `{}` and as `{}`",
                known.label, world.label
            ))
            .hint("--section or --where takes those that tell it alike"));
        }
        for &Own { number, pixel } in numbers {
            let found = world.at(pixel as f64 + 1.0);
            match *values[number].get_or_insert(found) {
                value if world.is_at(value, pixel as f64 + 1.0) => {}
                value => {
                    return Err(Error::input(format!(
                        "position {} of {name} is at {value} and at {found} ({})",
                        snapshot.in_cube(axis, span.at(number as u64)) + 1,
                        world.label
                    ))
                    .hint("--world stands beside profiles that have the same coordinates"));
                }
            }
        }
        Ok(())
    })?;
    let Some(World { label, .. }) = known else {
        let because = why.map_or(String::new(), |why| format!(": {why}"));
        return Err(Error::input(format!(
            "no frame has world coordinates along {name} alone{because}"
        ))
        .hint("--keys stand beside profiles, too: DATE-OBS, MJD-OBS, AIRMASS"));
    };
    Ok(Column {
        name: label,
        values: values.into_iter().map(Json::from).collect(),
    })
}

/// Has a frame the positions of a line along `axis` on all other axes?
fn is_on_line(positions: &Positions, record: &Record, axis: usize, spans: &[Span]) -> bool {
    let mut others = spans.iter().enumerate().filter(|&(other, _)| other != axis);
    others.all(|(other, span)| {
        let runs = positions.runs(record, other);
        let holds = |&(first, len): &(u64, u64)| first <= span.start && span.start - first < len;
        runs.iter().any(holds)
    })
}

/// What a plot is drawn against: numbers as they are, or the time since the first date.
fn abscissa(column: &Column) -> Result<Abscissa> {
    let Column { name, values } = column;
    let numbers = values.iter().map(Json::as_f64);
    if numbers.clone().any(|number| number.is_some()) {
        return Ok(Abscissa {
            label: name.clone(),
            values: numbers.map(|number| number.unwrap_or(f64::NAN)).collect(),
        });
    }
    let texts = values.iter().map(Json::as_str);
    let times: Vec<_> = texts.clone().map(|text| microseconds(text?)).collect();
    let dated = texts.zip(&times);
    let dated = dated.filter_map(|(text, &time)| Some((time?, text?.trim())));
    let Some((first, date)) = dated.clone().min() else {
        return Err(Error::input(format!(
            "{name} is neither a number nor a date in any frame"
        ))
        .hint("a plot is drawn against one --keys, such as DATE-OBS, MJD-OBS or AIRMASS"));
    };
    let last = dated.map(|(time, _)| time).max().unwrap_or(first);
    let span = (last - first) as f64;
    let (unit, size) = UNITS
        .into_iter()
        .find(|&(_, size)| span >= 2.0 * size)
        .unwrap_or(SECONDS);
    let since = |time: i64| (time - first) as f64 / size;
    Ok(Abscissa {
        label: format!("{unit} since {name} {date}"),
        values: times
            .into_iter()
            .map(|time| time.map_or(f64::NAN, since))
            .collect(),
    })
}

/// Microseconds of what times are told in.
const UNITS: [(&str, f64); 3] = [("days", 86400e6), ("hours", 3600e6), ("minutes", 60e6)];

const SECONDS: (&str, f64) = ("seconds", 1e6);

pub(super) fn profiles(requests: &[Request], format: Format, named: Named) -> Result<Profiles> {
    let first = &requests[0];
    let axis = profile_axis(first).map_err(|long| {
        let shape: Vec<u64> = long.iter().map(|&axis| first.spans[axis].len).collect();
        Error::input(format!(
            "{} holds profiles, but the cut is {}",
            format.name(),
            show_shape(&shape)
        ))
        .hint("--format fits or npy holds any shape")
    })?;
    let span = first.spans[axis];
    let places = requests.iter().map(|request| {
        let others = request
            .spans
            .iter()
            .enumerate()
            .filter(|&(other, _)| other != axis);
        others.map(|(_, span)| span.start + 1).collect()
    });
    let against = match format.is_plot() {
        true => named.beside.first().map(abscissa).transpose()?,
        false => None,
    };
    Ok(Profiles {
        axis: AXIS_NAMES[axis].to_string(),
        positions: span,
        in_cube: named.in_cube,
        beside: named.beside,
        against,
        at: places.collect(),
    })
}
