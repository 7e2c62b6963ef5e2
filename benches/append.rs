//! `cube append` against `cat`, the least that putting frames into one file can
//! cost; both until the disk has it. Then one frame more, to cubes of several sizes.
//!
//! `CUBE_BENCH_FRAMES` is the number of 2048 x 2048 frames (of 1024 x 1024 there
//! are four times as many); `CUBE_BENCH_FOLDER` names a folder of FITS frames to
//! use instead.

#![allow(clippy::print_stdout, reason = "a bench prints what it found")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Rival, compare, cube, folder, is_wanted, make_frames, rounds, setting, time};
use cube::dtype::DType;

fn main() {
    if !is_wanted() {
        return;
    }
    if let Some(given) = std::env::var_os("CUBE_BENCH_FOLDER") {
        let mut frames: Vec<PathBuf> = std::fs::read_dir(given)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "fits"))
            .collect();
        frames.sort();
        let folder = folder();
        against_cat("frames of CUBE_BENCH_FOLDER", folder.path(), &frames);
    } else {
        let count = setting("CUBE_BENCH_FRAMES", 24).max(1);
        for (side, dtype, count) in [(2048, DType::F32, count), (1024, DType::U16, 4 * count)] {
            let folder = folder();
            let frames = make_frames(folder.path(), count, side, dtype);
            let title = format!("{count} frames of {side} x {side} {dtype}");
            against_cat(&title, folder.path(), &frames);
        }
    }
    one_more();
}

/// A new cube from frames, against their bytes one after another.
fn against_cat(title: &str, folder: &Path, frames: &[PathBuf]) {
    let (flat, cube_file) = (folder.join("flat"), folder.join("new.cube"));
    let append = |options: &'static [&'static str]| {
        let cube_file = &cube_file;
        move || {
            let mut append = cube(&["append", "--quiet"]);
            let taken = time(append.args(options).arg(cube_file).args(frames));
            std::fs::remove_file(cube_file).unwrap();
            taken
        }
    };
    let mut rivals = [
        Rival::new("cat and fsync", || cat(&flat, frames, true)),
        Rival::new("cube append", append(&[])),
        Rival::new("cube append --memory 16M", append(&["--memory", "16M"])),
    ];
    compare(title, rounds(7), &mut rivals);
    let mut rivals = [
        Rival::new("cat", || cat(&flat, frames, false)),
        Rival::new("cube append --no-sync", append(&["--no-sync"])),
    ];
    compare(&format!("{title}, not synced"), rounds(7), &mut rivals);
}

fn cat(flat: &Path, frames: &[PathBuf], is_synced: bool) -> Duration {
    let start = Instant::now();
    let file = File::create(flat).unwrap();
    let mut command = Command::new("cat");
    command.args(frames).stdout(file.try_clone().unwrap());
    assert!(command.status().unwrap().success());
    if is_synced {
        file.sync_all().unwrap();
    }
    let taken = start.elapsed();
    std::fs::remove_file(flat).unwrap();
    taken
}

/// What the next frame costs must not depend on how many there are.
fn one_more() {
    const FRAMES: usize = 32;
    let folder = folder();
    let frames = make_frames(folder.path(), FRAMES, 512, DType::F32);
    let sizes = [1, 4, 16];
    let mut rivals = Vec::new();
    for times in sizes {
        let path = folder.path().join(format!("{times}.cube"));
        for _ in 0..times {
            time(cube(&["append", "--quiet"]).arg(&path).args(&frames));
        }
        let mut append = cube(&["append", "--quiet"]);
        append.arg(&path).arg(&frames[0]);
        let name = format!("a cube of {} frames", times * FRAMES);
        rivals.push(Rival::command(&name, append));
    }
    compare(
        "one more frame of 512 x 512 float32",
        rounds(15),
        &mut rivals,
    );
}
