//! `cube info`: what a cube holds.
//!
//! What is said of the cube as a whole comes from the catalog and the headers of its
//! first and last frame, so it takes no longer for a large one, a mosaic apart: whether its
//! frames continue one another's coordinates, all of them say. All frames' records are
//! read when they are asked for.

use std::path::Path;

use serde::Serialize;

use super::frames::{Keys, card_value, cards_of, each_along, each_chosen};
use super::slice::{Request, header};
use super::{Progress, Quiet, open};
use crate::dtype::DType;
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, Result};
use crate::format::catalog::Command;
use crate::format::ledger::Record;
use crate::frames::cards::{Cards, Value};
use crate::frames::filter::Filter;
use crate::region::{MAX_RANK, Span, parse_section};
use crate::storage::Storage;

/// Indexes up to this size are looked through for dead tiles: milliseconds.
const MOST_INDEX_BYTES: u64 = 32 << 20;

/// Commands looked back at: some milliseconds.
pub const MOST_HISTORY: usize = 100;

/// Nobody minds so many dead bytes.
const LITTLE: u64 = 1 << 20;

/// What a cube holds. Its JSON form is stable: `docs/guide.md`.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// Version of the file format.
    pub format: u32,
    /// Counts commits.
    pub generation: u64,
    /// Lengths of the axes, x first.
    pub shape: Vec<u64>,
    /// The axes, x first.
    pub axes: Vec<AxisInfo>,
    /// Type of the samples.
    pub dtype: String,
    /// What void reads as: a number, or `"nan"`.
    pub pad: serde_json::Value,
    /// The value that means "no data" in an integer cube.
    pub blank: Option<i128>,
    /// Lengths of a tile, x first.
    pub tile: Vec<u64>,
    /// Frames in the cube.
    pub frames: u64,
    /// Samples that were replaced.
    pub patched: u64,
    /// Bytes of the array, void counted.
    pub data_bytes: u64,
    /// Length of the file.
    pub file_bytes: u64,
    /// Disk that the file takes.
    pub disk_bytes: u64,
    /// Of these, about how many nothing refers to any more: deleted samples, what was
    /// undone, old catalogs. `None` when the index is too large to be looked through at
    /// once.
    pub dead_bytes: Option<u64>,
    /// Of these, about how many are taken for frames to come; `None` likewise.
    pub room_bytes: Option<u64>,
    /// DATE-OBS of the frames at the first and at the last position, where both
    /// have it.
    pub date_obs: Option<[String; 2]>,
    /// The command that made the newest commit.
    pub command: Command,
    /// Verbs of the commands that made it what it is, the newest first, at most
    /// [`MOST_HISTORY`]; `log` lists all of them, with more.
    pub history: Vec<String>,
}

impl Info {
    /// Would compacting give back much of the disk?
    pub fn compacting_pays(&self) -> bool {
        let dead = self.dead_bytes.unwrap_or(0);
        dead > LITTLE && dead.saturating_mul(4) > self.disk_bytes
    }

    /// Bytes taken for frames to come, where that is worth a word.
    pub fn room(&self) -> Option<u64> {
        self.room_bytes.filter(|&bytes| bytes > LITTLE)
    }
}

/// One axis of a cube.
#[derive(Clone, Debug, Serialize)]
pub struct AxisInfo {
    /// Its letter.
    pub name: String,
    /// Its length.
    pub len: u64,
    /// Pieces that it is read from; 1 when it was only appended to.
    pub pieces: u64,
    /// What the header says that it is.
    pub world: Option<World>,
}

/// What an axis is in the world: CTYPE and what goes with it in the header of the
/// cube's first frame, fitted to the cube.
#[derive(Clone, Debug, Serialize)]
pub struct World {
    /// CTYPE, such as `RA---TAN`.
    pub ctype: String,
    /// CUNIT, where the header has it.
    pub unit: Option<String>,
    /// CRVAL: the coordinate at `pixel`.
    pub value: Option<f64>,
    /// CRPIX, from 1.
    pub pixel: Option<f64>,
    /// From one pixel to the next: CDELT, or the length of a column of the CD matrix.
    pub step: Option<f64>,
}

impl World {
    fn of(cards: &Cards, number: usize) -> Option<World> {
        let key = |name: &str| format!("{name}{number}");
        let ctype = cards.get_text(&key("CTYPE"))?.trim().to_string();
        let column = (1..=MAX_RANK).filter_map(|row| cards.get_real(&format!("CD{row}_{number}")));
        let column = column.fold(0.0, |sum: f64, value| sum.hypot(value));
        let matrix = Some(column).filter(|&step| step > 0.0);
        (!ctype.is_empty()).then(|| World {
            ctype,
            unit: cards
                .get_text(&key("CUNIT"))
                .filter(|unit| !unit.is_empty()),
            value: cards.get_real(&key("CRVAL")),
            pixel: cards.get_real(&key("CRPIX")),
            step: matrix.or_else(|| cards.get_real(&key("CDELT"))),
        })
    }
}

/// What headers say of the whole cube. What cannot be read is left out: `check` is
/// there to say why.
fn told(snapshot: &Snapshot) -> (Cards, Option<[String; 2]>) {
    let whole = Request::of(snapshot.whole());
    if snapshot.shape().contains(&0) {
        return (Cards::default(), None);
    }
    let cards = header(snapshot, &whole, &[], &Quiet).map_or_else(|_| Cards::default(), |it| it.0);
    let date = |last: bool| {
        let record = at_end(snapshot, last).ok().flatten()?;
        cards_of(&record).date_obs()
    };
    (cards, date(false).zip(date(true)).map(Into::into))
}

/// A frame at the first or the last position of the axis that the cube's frames
/// joined. Only the groups of records that may hold it are looked at.
fn at_end(snapshot: &Snapshot, last: bool) -> Result<Option<Record>> {
    let axis = snapshot.header_record()?.map(|record| record.axis);
    let Some(axis) = axis.filter(|&axis| axis < snapshot.shape().len()) else {
        return Ok(None);
    };
    let place = match last {
        true => snapshot.pieces(axis).len().saturating_sub(1),
        false => 0,
    };
    let mut found = None;
    each_along(
        snapshot,
        axis,
        &Span::run(place, 1),
        &|_, _| true,
        &mut |record, _| {
            found.get_or_insert_with(|| record.clone());
            Ok(())
        },
    )?;
    Ok(found)
}

/// Examines a cube.
pub fn info(path: &Path, progress: &dyn Progress) -> Result<Info> {
    let (storage, snapshot) = open(path, progress)?;
    let catalog = snapshot.catalog();
    let shape = snapshot.shape();
    let size = catalog.dtype.size() as u64;
    let axes = catalog.axes.iter().zip(&shape);
    let disk_bytes = storage.disk_bytes().at(path)?;
    let usage = match snapshot.index_bytes() <= MOST_INDEX_BYTES {
        true => Some(snapshot.usage().at(path)?),
        false => None,
    };
    let spare = usage.map(|usage| {
        let spare = disk_bytes.saturating_sub(usage.compacted_bytes);
        let room = spare.min(usage.room_bytes);
        (spare - room, room)
    });
    let (cards, date_obs) = told(&snapshot);
    let mut history = vec![catalog.command.verb.clone()];
    history.extend(snapshot.verbs_before(MOST_HISTORY - 1));
    Ok(Info {
        format: catalog.cube,
        generation: catalog.generation,
        axes: axes
            .enumerate()
            .map(|(number, (axis, &len))| AxisInfo {
                name: axis.name.clone(),
                len,
                pieces: snapshot.pieces(number).as_slice().len() as u64,
                world: World::of(&cards, number + 1),
            })
            .collect(),
        dtype: catalog.dtype.name().to_string(),
        pad: sample(catalog.dtype, catalog.pad),
        blank: catalog.blank,
        tile: catalog.tile[..shape.len()].to_vec(),
        frames: catalog.frames,
        patched: catalog.patches.iter().map(|set| set.samples).sum(),
        data_bytes: shape
            .iter()
            .fold(size, |bytes, &len| bytes.saturating_mul(len)),
        file_bytes: storage.len().at(path)?,
        disk_bytes,
        dead_bytes: spare.map(|(dead, _)| dead),
        room_bytes: spare.map(|(_, room)| room),
        date_obs,
        command: catalog.command.clone(),
        history,
        shape,
    })
}

/// A sample as JSON: a number, or text where JSON has no number for it.
fn sample(dtype: DType, bits: u64) -> serde_json::Value {
    let text = dtype.show(bits);
    serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))
}

/// One frame of a cube, where it stands now.
#[derive(Clone, Debug, Serialize)]
pub struct FrameRow {
    /// Its first position on the axis that it joined, from 1.
    pub position: u64,
    /// How many positions it has there.
    pub len: u64,
    /// That axis.
    pub axis: String,
    /// The file it came from.
    pub source: String,
    /// Which HDU or page of that file, from 0.
    pub hdu: u32,
    /// Its shape, x first.
    pub shape: Vec<u64>,
    /// Type of its samples as it came.
    pub dtype: String,
    /// Values that were asked for; `null` where it has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<serde_json::Value>,
    /// Its header, when that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cards: Option<Vec<String>>,
}

/// Which frames are listed, and with what.
pub struct Which<'a> {
    /// Conditions that they meet.
    pub filters: &'a [Filter],
    /// They have samples in this part of the cube, which alone is measured; `None`: all.
    pub section: Option<&'a str>,
    /// What is told of each.
    pub keys: &'a Keys,
    /// Its header, too.
    pub with_cards: bool,
}

/// Calls `each` for every frame that is meant, in the order of positions.
///
/// # Errors
/// When the ledger is damaged, a frame that is measured cannot be read, or `each` fails.
pub fn frames(
    path: &Path,
    which: &Which<'_>,
    progress: &dyn Progress,
    each: &mut dyn FnMut(FrameRow) -> Result<()>,
) -> Result<()> {
    let (_, snapshot) = open(path, progress)?;
    in_order(&snapshot, which, progress, each).at(path)
}

fn in_order(
    snapshot: &Snapshot,
    which: &Which<'_>,
    progress: &dyn Progress,
    each: &mut dyn FnMut(FrameRow) -> Result<()>,
) -> Result<()> {
    let positions = snapshot.positions();
    let section = which.section;
    let section = section
        .map(|text| parse_section(text, &snapshot.shape()))
        .transpose()?;
    let mut order = Vec::new();
    each_chosen(
        snapshot,
        which.filters,
        &|_| true,
        progress,
        &mut |record| {
            if let Some((first, _)) = positions.of(&record) {
                order.push((first[record.axis], record.frame));
            }
            Ok(())
        },
    )?;
    order.sort_unstable();
    let mut reader = snapshot.record_reader();
    let mut told = which.keys.of(snapshot, section.as_deref());
    for (position, frame) in order {
        let record = reader.get(frame)?;
        let record =
            record.ok_or_else(|| Error::damaged(format!("the ledger has no frame {frame}")))?;
        if let Some(values) = told.values(&record)? {
            each(row(snapshot, &record, position, values, which.with_cards))?;
        }
    }
    told.complain(progress);
    Ok(())
}

fn row(
    snapshot: &Snapshot,
    record: &Record,
    position: u64,
    keys: Vec<Option<Value>>,
    with_cards: bool,
) -> FrameRow {
    let cards = with_cards.then(|| cards_of(record));
    let axis = snapshot.catalog().axes.get(record.axis);
    FrameRow {
        position: position + 1,
        len: record.shape.get(record.axis).copied().unwrap_or(1),
        axis: axis.map_or_else(String::new, |axis| axis.name.clone()),
        source: record.source.clone(),
        hdu: record.part,
        shape: record.shape.clone(),
        dtype: record.dtype.clone(),
        keys: keys.into_iter().map(card_value).collect(),
        cards: cards.map(|cards| cards.iter().map(show_card).collect()),
    }
}

/// A card without its trailing blanks; bytes beyond ASCII as Latin-1.
fn show_card(card: &[u8]) -> String {
    let text: String = card.iter().map(|&byte| char::from(byte)).collect();
    text.trim_end().to_string()
}
