//! `cube info`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::progress::Bar;
use super::{DONE, Where, parse_key, print, to_json};
use crate::error::{Error, Result, show_path};
use crate::frames::measure::Measure;
use crate::ops::frames::Keys;
use crate::ops::info::{AxisInfo, FrameRow, Info, MOST_HISTORY, Which, frames, info};
use crate::ops::{count, show_bytes};
use crate::region::show_shape;
use crate::sinks::text::push_cell;

#[derive(Debug, Args)]
#[command(mut_arg("filters", |filters| filters.requires("frames")))]
#[command(after_long_help = "Examples:\n  \
    cube info night.cube\n  \
    cube info night.cube --json\n  \
    cube info night.cube --frames --keys DATE-OBS,EXPTIME\n  \
    cube info night.cube --frames --keys median,std --where \"EXPTIME >= 30\"\n  \
    cube info night.cube --frames --keys DATE-OBS,sum --section '[26:36,17:27,*]' --csv\n  \
    cube info night.cube --frames --csv > frames.csv")]
pub(super) struct InfoArgs {
    /// The cube
    cube: PathBuf,

    /// One row for each frame: where it is, where it came from
    #[arg(long)]
    frames: bool,

    #[command(flatten)]
    chosen: Where,

    /// What to show of each frame, such as DATE-OBS,EXPTIME,median
    ///
    /// Header keywords, or what is measured from the samples: lower-case sum, mean,
    /// median, std, min, max and nan.
    #[arg(long, value_name = "KEYS", value_delimiter = ',', requires = "frames", value_parser = parse_key)]
    keys: Vec<String>,

    /// Only what of each frame is in this part, such as '[26:36,17:27,*]'
    ///
    /// Frames without samples there are left out, and what is measured is measured there:
    /// --keys DATE-OBS,sum makes a light curve.
    #[arg(
        long,
        value_name = "SECTION",
        requires = "frames",
        allow_hyphen_values = true
    )]
    section: Option<String>,

    /// The whole header of each frame
    #[arg(long, requires = "frames", conflicts_with_all = ["csv", "keys"])]
    #[arg(hide_short_help = true)]
    cards: bool,

    /// As JSON
    #[arg(long)]
    json: bool,

    /// The frames as CSV
    #[arg(long, requires = "frames", conflicts_with = "json")]
    csv: bool,
}

pub(super) fn run(args: &InfoArgs) -> Result<u8> {
    match (args.frames, args.json) {
        (false, true) => print(&(to_json(&info(&args.cube, &Bar::silent())?)? + "\n"))?,
        (false, false) => print(&show(args, &info(&args.cube, &Bar::silent())?))?,
        (true, true) => list_json(args)?,
        (true, false) if args.csv => list_csv(args)?,
        (true, false) if args.cards => list_cards(args)?,
        (true, false) => list_table(args)?,
    }
    Ok(DONE)
}

fn show(args: &InfoArgs, info: &Info) -> String {
    let text = |value: &serde_json::Value| value.to_string().trim_matches('"').to_string();
    let numpy: Vec<String> = info.shape.iter().rev().map(u64::to_string).collect();
    let mut rows = vec![
        (
            "shape",
            format!(
                "{} (x fastest; in NumPy {})",
                show_shape(&info.shape),
                numpy.join(", ")
            ),
        ),
        ("dtype", info.dtype.clone()),
        ("frames", info.frames.to_string()),
    ];
    if let Some([first, last]) = &info.date_obs {
        let dates = match info.frames {
            1 => first.clone(),
            _ => format!("{first} first, {last} last"),
        };
        rows.push(("date", show_path(Path::new(&dates))));
    }
    rows.extend(
        info.axes
            .iter()
            .map(|axis| (axis.name.as_str(), line(axis))),
    );
    rows.extend([
        (
            "data",
            format!(
                "{} ({} bytes)",
                show_bytes(info.data_bytes),
                info.data_bytes
            ),
        ),
        (
            "file",
            format!(
                "{} ({} bytes), {} on disk",
                show_bytes(info.file_bytes),
                info.file_bytes,
                show_bytes(info.disk_bytes)
            ),
        ),
        ("dead", dead(info)),
    ]);
    if let Some(room) = info.room() {
        let text = format!("{} taken for frames to come", show_bytes(room));
        rows.push(("room", text));
    }
    rows.extend([("tile", show_shape(&info.tile)), ("pad", text(&info.pad))]);
    if let Some(blank) = info.blank {
        rows.push(("blank", blank.to_string()));
    }
    if info.patched > 0 {
        rows.push(("patched", count(info.patched, "sample")));
    }
    rows.push((
        "commit",
        format!(
            "generation {}, {} {}, {}",
            info.generation,
            info.command.verb,
            count(info.command.frames, "frame"),
            info.command.time
        ),
    ));
    rows.push(("history", history(&info.history)));
    let mut out = format!("{}\n", show_path(&args.cube));
    for (name, value) in rows {
        out += &format!("  {name:8} {value}\n");
    }
    out
}

/// How many commands there were, and which were the last.
fn history(verbs: &[String]) -> String {
    const SHOWN: usize = 6;
    let mut last: Vec<&str> = verbs.iter().take(SHOWN).map(String::as_str).collect();
    last.reverse();
    let many = match verbs.len() {
        MOST_HISTORY.. => format!("{MOST_HISTORY} commands and more"),
        some => count(some as u64, "command"),
    };
    let at_last = match verbs.len() > SHOWN {
        true => ", at last",
        false => "",
    };
    format!("{many}{at_last}: {}", last.join(", "))
}

/// One axis: how long, what it is in the world, in how many pieces.
fn line(axis: &AxisInfo) -> String {
    let mut text = axis.len.to_string();
    if axis.pieces > 1 {
        text += &format!(" in {} pieces", axis.pieces);
    }
    let Some(world) = &axis.world else {
        return text;
    };
    text += &format!(": {}", world.ctype);
    // Celestial coordinates are in degrees where nothing is said (FITS Standard 4.0, 8.3).
    let is_sky = ["RA--", "DEC-", "GLON", "GLAT", "ELON", "ELAT"];
    let is_sky = is_sky.iter().any(|name| world.ctype.starts_with(name));
    let unit = world
        .unit
        .as_deref()
        .unwrap_or(if is_sky { "deg" } else { "" });
    if let (Some(value), Some(pixel)) = (world.value, world.pixel) {
        let value = with_unit(value, unit);
        text += &format!(", {value} at pixel {}", with_unit(pixel, ""));
    }
    if let Some(step) = world.step {
        text += ", ";
        text += &match unit {
            "deg" if step.abs() < 0.1 => with_unit(step * 3600.0, "arcsec"),
            _ => with_unit(step, unit),
        };
        text += " a pixel";
    }
    show_path(Path::new(&text))
}

/// A number to at most nine digits, without zeros at its end.
fn with_unit(value: f64, unit: &str) -> String {
    let number = with_digits(value, 9);
    match unit {
        "" => number,
        unit => format!("{number} {unit}"),
    }
}

/// A number to so many digits, without zeros at its end; all digits of a whole number.
fn with_digits(value: f64, digits: usize) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return value.to_string();
    }
    let short: f64 = format!("{value:.*e}", digits - 1).parse().unwrap_or(value);
    match short.abs() {
        0.0 | 1e-4..1e9 => short.to_string(),
        _ if short.is_finite() => format!("{short:e}"),
        _ => short.to_string(),
    }
}

/// What no position refers to any more.
fn dead(info: &Info) -> String {
    let Some(bytes) = info.dead_bytes else {
        return "not counted, the index is large".into();
    };
    let share = 100 * bytes / info.disk_bytes.max(1);
    let advice = match info.compacting_pays() {
        true => ": cube compact gives it back, and ends undo",
        false => "",
    };
    format!("{} ({share} %){advice}", show_bytes(bytes))
}

fn which<'a>(args: &'a InfoArgs, keys: &'a Keys) -> Which<'a> {
    Which {
        filters: &args.chosen.filters,
        section: args.section.as_deref(),
        keys,
        with_cards: args.cards,
    }
}

/// Calls `each` for every frame, and hands on what it writes.
fn each_row(
    args: &InfoArgs,
    each: &mut dyn FnMut(FrameRow, &mut String) -> Result<()>,
) -> Result<()> {
    const PIECE: usize = 64 << 10;
    let mut text = String::new();
    let bar = Bar::silent();
    let keys = Keys::new(&args.keys);
    frames(&args.cube, &which(args, &keys), &bar, &mut |row| {
        each(row, &mut text)?;
        if text.len() > PIECE {
            print(&text)?;
            text.clear();
        }
        Ok(())
    })?;
    print(&text)
}

/// An array with an object for each frame, one on each line.
fn list_json(args: &InfoArgs) -> Result<()> {
    let mut before = "[";
    each_row(args, &mut |row, text| {
        let mut object = serde_json::to_value(&row)
            .map_err(|error| Error::unsupported(format!("no JSON: {error}")))?;
        if let Some(fields) = object.as_object_mut() {
            fields.remove("keys");
            if !args.keys.is_empty() {
                let named = args.keys.iter().cloned().zip(row.keys.iter().cloned());
                fields.insert(
                    "keys".into(),
                    named.collect::<serde_json::Map<_, _>>().into(),
                );
            }
        }
        *text += before;
        before = ",";
        *text += &format!("\n{object}");
        Ok(())
    })?;
    print(if before == "[" { "[]\n" } else { "\n]\n" })
}

fn heads(args: &InfoArgs) -> Vec<String> {
    let fixed = ["position", "len", "axis", "source", "hdu", "shape", "dtype"];
    let fixed = fixed.iter().map(|name| (*name).to_string());
    fixed.chain(args.keys.iter().cloned()).collect()
}

fn cells(row: &FrameRow) -> Vec<String> {
    let shape: Vec<String> = row.shape.iter().map(u64::to_string).collect();
    let fixed = [
        row.position.to_string(),
        row.len.to_string(),
        row.axis.clone(),
        row.source.clone(),
        row.hdu.to_string(),
        shape.join("x"),
        row.dtype.clone(),
    ];
    let keys = row.keys.iter().map(|value| match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    fixed.into_iter().chain(keys).collect()
}

fn list_csv(args: &InfoArgs) -> Result<()> {
    let line = |cells: Vec<String>| {
        let mut line = String::new();
        for (number, cell) in cells.iter().enumerate() {
            if number > 0 {
                line.push(',');
            }
            push_cell(&mut line, ',', cell);
        }
        line + "\n"
    };
    print(&line(heads(args)))?;
    each_row(args, &mut |row, text| {
        *text += &line(cells(&row));
        Ok(())
    })
}

fn list_cards(args: &InfoArgs) -> Result<()> {
    each_row(args, &mut |row, text| {
        let source = show_path(Path::new(&row.source));
        *text += &format!("# {} {}: {source}\n", row.axis, row.position);
        for card in row.cards.iter().flatten() {
            *text += card;
            text.push('\n');
        }
        Ok(())
    })
}

/// Columns as wide as their widest cell, numbers to the right; names of files, which
/// may be long, come last.
fn list_table(args: &InfoArgs) -> Result<()> {
    let last = |mut row: Vec<String>| {
        let source = row.remove(3);
        row.push(source);
        row
    };
    let mut rows = vec![last(heads(args))];
    let bar = Bar::silent();
    let keys = Keys::new(&args.keys);
    frames(&args.cube, &which(args, &keys), &bar, &mut |row| {
        let mut cells = cells(&row);
        for (cell, key) in cells[7..].iter_mut().zip(&args.keys) {
            // All digits of what is measured are for programs: CSV and JSON have them.
            if Measure::from_name(key).is_some()
                && let Ok(value) = cell.parse::<f64>()
            {
                *cell = with_digits(value, 6);
            }
        }
        let cells = last(cells).into_iter();
        rows.push(cells.map(|cell| show_path(Path::new(&cell))).collect());
        Ok(())
    })?;
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).filter_map(width).collect();
    let is_number = |cell: &String| cell.is_empty() || cell.parse::<f64>().is_ok();
    let right: Vec<bool> = (0..widths.len())
        .map(|column| rows[1..].iter().all(|row| is_number(&row[column])))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for ((cell, &width), &right) in row.iter().zip(&widths).zip(&right) {
            line += &match right {
                true => format!("{cell:>width$}  "),
                false => format!("{cell:width$}  "),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    print(&text)
}
