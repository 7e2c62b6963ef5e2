//! What headers say of each position along the axis that the frames joined.

use serde_json::{Map, Value as Json, json};

use super::frames::{card_value, cards_of};
use crate::dtype::DType;
use crate::engine::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::frames::cards::Value;
use crate::sinks::in_place::Coordinate;

/// Numbers are coordinates; the rest is a list.
#[derive(Default)]
pub(super) struct PerFrame {
    pub(super) coordinates: Vec<Coordinate>,
    pub(super) lists: Map<String, Json>,
}

/// Takes DATE-OBS, as `time`, and these keywords out of the frames' headers.
///
/// # Errors
/// When no frame has one of the keywords, or the ledger is damaged.
pub(super) fn per_frame(snapshot: &Snapshot, keys: &[String]) -> Result<PerFrame> {
    let mut found = PerFrame::default();
    let header = snapshot.header_record()?;
    let Some(axis) = header.map(|record| record.axis) else {
        return Ok(found);
    };
    let len = snapshot.pieces(axis).len() as usize;
    let mut times = vec![None; len];
    let mut columns = vec![vec![None; len]; keys.len()];
    let positions = snapshot.positions();
    snapshot.for_each_record(&mut |record| {
        if record.axis != axis || positions.of(&record).is_none() {
            return Ok(());
        }
        let cards = cards_of(&record);
        let time = cards.date_obs().and_then(|date| microseconds(&date));
        let is_there = |value: &Value| !value.is_undefined();
        let values = keys.iter().map(|key| cards.get(key).filter(is_there));
        let values: Vec<Option<Value>> = values.collect();
        for (position, len) in positions.runs(&record, axis) {
            let run = position as usize..(position + len) as usize;
            times[run.clone()].fill(time);
            for (column, value) in columns.iter_mut().zip(&values) {
                column[run.clone()].fill(value.clone());
            }
        }
        Ok(())
    })?;
    if times.iter().any(Option::is_some) {
        let mut attributes = Map::from_iter([
            ("units".into(), json!("microseconds since 1970-01-01")),
            ("calendar".into(), json!("proleptic_gregorian")),
        ]);
        if times.contains(&None) {
            attributes.insert("_FillValue".into(), i64::MIN.into());
        }
        let values = times.iter().map(|time| time.unwrap_or(i64::MIN));
        found.coordinates.push(Coordinate {
            name: "time".into(),
            axis,
            dtype: DType::I64,
            missing: i64::MIN.cast_unsigned(),
            values: values.flat_map(i64::to_le_bytes).collect(),
            attributes,
        });
    }
    for (key, column) in keys.iter().zip(columns) {
        let mut there = column.iter().flatten().peekable();
        if there.peek().is_none() {
            return Err(Error::input(format!("no frame has the keyword {key}"))
                .hint("cube info --frames --cards shows what they have"));
        }
        // In upper case, so that it is never the name of an axis or of the samples.
        let name = key.to_ascii_uppercase();
        if there.any(|value| value.as_real().is_none()) {
            let list: Vec<Json> = column.into_iter().map(card_value).collect();
            found.lists.insert(name, list.into());
            continue;
        }
        let numbers = column.iter().map(|it| it.as_ref().and_then(Value::as_real));
        found.coordinates.push(Coordinate {
            name,
            axis,
            dtype: DType::F64,
            missing: f64::NAN.to_bits(),
            values: numbers
                .flat_map(|number| number.unwrap_or(f64::NAN).to_le_bytes())
                .collect(),
            attributes: Map::new(),
        });
    }
    Ok(found)
}

/// The time that a date of FITS (Standard 4.0, section 9.1.1) is since 1970, as a
/// calendar of days without leap seconds counts it. The standard knows no offset from
/// UTC, and headers have it all the same.
pub(super) fn microseconds(date: &str) -> Option<i64> {
    let date = date.trim();
    if let Ok(time) = date.parse::<jiff::Timestamp>() {
        return Some(time.as_microsecond());
    }
    let date: jiff::civil::DateTime = date.parse().ok()?;
    let time = jiff::tz::Offset::UTC.to_timestamp(date).ok()?;
    Some(time.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_microseconds_since_1970() {
        for (date, wanted) in [
            ("1970-01-01", Some(0)),
            ("2024-05-01T23:10:00.25", Some(1_714_605_000_250_000)),
            ("2024-05-01T23:10:00.25Z", Some(1_714_605_000_250_000)),
            ("2024-05-01T16:10:00.25-0700", Some(1_714_605_000_250_000)),
            ("2024-05-02T00:40:00.25+01:30 ", Some(1_714_605_000_250_000)),
            ("1969-12-31T23:59:59.999999", Some(-1)),
            ("31/12/69", None),
            ("", None),
        ] {
            assert_eq!(microseconds(date), wanted, "{date}");
        }
    }
}
