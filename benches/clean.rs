//! Cleaning a cube that is in memory, as a whole process, beside `cat` of the same
//! file; and in this process what it takes to bring all lines of it together.
//!
//! `CUBE_BENCH_SIDE` is the width and height of the frames, `CUBE_BENCH_FRAMES` the
//! number of float32 ones; of uint16 there are twice as many. The noise is normal
//! enough, and one sample in a thousand is an outlier.

#![allow(clippy::print_stdout, reason = "a bench prints what it found")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Random, Rival, compare, cube, folder, is_wanted, rounds, setting, time};
use cube::dtype::DType;
use cube::engine::lines::{Lines, Void};
use cube::engine::snapshot::Snapshot;
use cube::frames::cards::Cards;
use cube::kernels::clip::Rows;
use cube::kernels::gather::{Lane, is_wide};
use cube::region::Span;
use cube::sinks::{Format, Image, Target, create};
use cube::storage::file::FileStorage;

fn main() {
    if !is_wanted() {
        return;
    }
    let side = setting("CUBE_BENCH_SIDE", 1024).max(1) as u64;
    let frames = setting("CUBE_BENCH_FRAMES", 100).max(2) as u64;
    for (dtype, frames) in [(DType::F32, frames), (DType::U16, 2 * frames)] {
        let folder = folder();
        let path = folder.path().join("it.cube");
        make(folder.path(), &path, &[side, side, frames], dtype);
        let mut cat = Command::new("cat");
        cat.arg(&path);
        let count = side * side * frames;
        let mut rivals = [
            Rival::command("cat of the cube", cat),
            Rival::new("lines brought together, 1 thread", || gather(&path)),
            Rival::command("cube clean --dry-run --jobs 1", counted(&path, "1")),
            Rival::command("cube clean --dry-run --jobs 2", counted(&path, "2")),
            Rival::new("cube clean --jobs 1", || cleaned(&path, "1")),
            Rival::new("cube clean --jobs 2", || cleaned(&path, "2")),
        ];
        let title = format!(
            "{frames} frames of {side} x {side} {dtype}, {:.1} million samples",
            count as f64 / 1e6
        );
        compare(&title, rounds(5), &mut rivals);
    }
}

fn counted(path: &Path, jobs: &str) -> Command {
    let mut command = cube(&["clean", "--quiet", "--dry-run", "--jobs", jobs]);
    command.arg(path);
    command
}

/// A clean, which is then taken back.
fn cleaned(path: &Path, jobs: &str) -> Duration {
    let taken = time(cube(&["clean", "--quiet", "--jobs", jobs]).arg(path));
    time(cube(&["undo", "--quiet"]).arg(path));
    taken
}

/// Makes a cube of noise about 1000.
fn make(folder: &Path, path: &Path, shape: &[u64; 3], dtype: DType) {
    let image = Image {
        shape: shape.to_vec(),
        dtype,
        blank: None,
        cards: Cards::default(),
    };
    let frames = folder.join("frames.fits");
    let target = Target::from_path(&frames, false);
    let mut sink = create(&target, Format::Fits, &image).unwrap();
    let mut random = Random(1);
    let mut plane = Vec::new();
    for _ in 0..shape[2] {
        plane.clear();
        for _ in 0..shape[0] * shape[1] {
            // The sum of four parts of it is near normal.
            let bits = random.bits();
            let mixed = bits ^ bits >> 29;
            let parts = [0, 16, 32, 48].map(|shift| (mixed >> shift & 0xffff) as f32);
            let noise = (parts.iter().sum::<f32>() / 65536.0 - 2.0) * 26.0;
            let outlier = if mixed % 1000 == 7 {
                60.0 + parts[0] / 16.0
            } else {
                0.0
            };
            let sample = 1000.0 + noise + outlier;
            #[allow(clippy::cast_possible_truncation, reason = "it is about 1000")]
            match dtype {
                DType::U16 => plane.extend((sample as u16).to_le_bytes()),
                _ => plane.extend(sample.to_le_bytes()),
            }
        }
        sink.write(&plane).unwrap();
    }
    sink.finish().unwrap();
    time(
        cube(&["append", "--quiet", "--axis", "z"])
            .arg(path)
            .arg(&frames),
    );
    std::fs::remove_file(&frames).unwrap();
}

/// Brings all lines along z together, and does nothing with them.
fn gather(path: &Path) -> Duration {
    let start = Instant::now();
    let storage = Arc::new(FileStorage::open(path).unwrap());
    let snapshot = Snapshot::open(storage).unwrap();
    match is_wide(snapshot.catalog().dtype) {
        true => gather_as::<f64>(&snapshot),
        false => gather_as::<f32>(&snapshot),
    }
    start.elapsed()
}

fn gather_as<L: Lane>(snapshot: &Snapshot) {
    const GROUP: usize = 128;
    let spans: Vec<Span> = snapshot
        .shape()
        .iter()
        .map(|&len| Span::run(0, len))
        .collect();
    let lines = Lines::new(snapshot, 2, &spans, Void::Plain).unwrap();
    let mut out = Rows::new();
    for number in 0..lines.columns() {
        lines.ask_ahead(number + 1).unwrap();
        let mut column = lines.column(number).unwrap();
        let all = 0..column.lines();
        lines.load_patches(&mut column, &all).unwrap();
        for from in all.step_by(GROUP) {
            let group = from..(from + GROUP).min(column.lines());
            lines.gather::<L>(&column, group, &mut out).unwrap();
            std::hint::black_box(&out);
        }
    }
}
