//! Every real frame that is at hand, opened and compared with what astropy and
//! cfitsio made of it. Skipped, and said to be, where there are none.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Frame, HduChoice, open};
use crate::error::Result;
use crate::region::volume;

/// The folder of real frames: CUBE_FRAMES, or beside the source tree.
fn folder() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/frames");
    let folder = std::env::var_os("CUBE_FRAMES").map_or(PathBuf::from(beside), PathBuf::from);
    if folder.join("MANIFEST.csv").is_file() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no real frames at {}", folder.display());
    None
}

/// The fields of each line of a CSV text, quotes undone.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            '\r' => {}
            _ => field.push(c),
        }
    }
    rows
}

fn manifest(folder: &Path) -> HashMap<String, HashMap<String, String>> {
    let text = fs::read_to_string(folder.join("MANIFEST.csv")).unwrap();
    let mut rows = csv(&text).into_iter();
    let names = rows.next().unwrap();
    rows.map(|row| (row[0].clone(), names.iter().cloned().zip(row).collect()))
        .collect()
}

fn files_under(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_under(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Least and greatest finite sample, and how many NaN or BLANK.
fn extremes(frame: &mut dyn Frame) -> Result<(f64, f64, u64)> {
    let facts = frame.facts().clone();
    let size = facts.dtype.size();
    let mut bytes = vec![0; usize::try_from(volume(&facts.shape).unwrap()).unwrap() * size];
    frame.read(0, &mut bytes)?;
    let (mut least, mut greatest, mut n_nan) = (f64::INFINITY, f64::NEG_INFINITY, 0);
    for sample in bytes.chunks_exact(size) {
        let bits = facts.dtype.bits_at(sample);
        let is_blank = facts.blank.is_some() && facts.dtype.int_of_bits(bits) == facts.blank;
        let value: f64 = match is_blank {
            true => f64::NAN,
            false => facts.dtype.show(bits).parse().unwrap(),
        };
        n_nan += u64::from(value.is_nan());
        if value.is_finite() {
            least = least.min(value);
            greatest = greatest.max(value);
        }
    }
    Ok((least, greatest, n_nan))
}

/// The manifest keeps nine digits.
fn is_near(value: f64, text: &str) -> bool {
    // Nothing stands there when no sample is finite.
    if text.is_empty() {
        return value.is_infinite();
    }
    let expected: f64 = text.parse().unwrap();
    (value - expected).abs() <= 1e-7 * expected.abs().max(1e-30)
}

#[test]
fn real_frames_read_as_astropy_reads_them() {
    let Some(folder) = folder() else { return };
    let manifest = manifest(&folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("fits-") || name.starts_with("tiff-") || name == "sequences" {
            files_under(&path, &mut files);
        }
    }
    let (mut n_read, mut n_refused, mut n_compared) = (0, 0, 0);
    for path in &files {
        let name = path.strip_prefix(&folder).unwrap().to_string_lossy();
        let row = manifest.get(&*name);
        let mut frame = match open(path, &HduChoice::FirstImage) {
            Ok(frame) => frame,
            Err(error) => {
                n_refused += 1;
                eprintln!("{error}");
                let plain = ["fits-1d", "fits-cube", "fits-image", "fits-mef"];
                let is_plain =
                    plain.iter().any(|kind| name.starts_with(kind)) || name.ends_with(".fz");
                assert!(!is_plain, "{error}");
                continue;
            }
        };
        n_read += 1;
        let facts = frame.facts().clone();
        let (least, greatest, n_nan) = match extremes(frame.as_mut()) {
            Ok(found) => found,
            Err(error) => {
                eprintln!("{error}");
                assert!(name.starts_with("tiff-broken"), "{error}");
                continue;
            }
        };
        // Of a TIFF file that is damaged further on, the first page may have been read.
        let Some(row) = row.filter(|row| !row["dtype"].is_empty()) else {
            continue;
        };
        let lens: Vec<String> = facts.shape.iter().rev().map(u64::to_string).collect();
        // tifffile has the samples of a pixel on the last axis, where they lie so.
        let mut expected: Vec<&str> = row["shape"].split('x').collect();
        if name.contains(".tif") && expected.len() == 3 && lens != expected {
            expected.rotate_right(1);
        }
        assert_eq!(lens, expected, "{name}");
        // astropy makes floats of integers that have a BLANK; here they stay.
        if facts.blank.is_none() {
            let dtype = match row["dtype"].as_str() {
                "bool" => "uint8",
                "float16" => "float32",
                dtype => dtype,
            };
            assert_eq!(facts.dtype.name(), dtype, "{name}");
        }
        assert_eq!(n_nan.to_string(), row["nan"], "{name}");
        let (min, max) = (&row["min"], &row["max"]);
        assert!(
            is_near(least, min) && is_near(greatest, max),
            "{name}: {least} to {greatest}, expected {min} to {max}"
        );
        n_compared += 1;
    }
    eprintln!("{n_read} frames read, {n_compared} of them compared, {n_refused} refused");
    assert!(n_compared > 250);
}
