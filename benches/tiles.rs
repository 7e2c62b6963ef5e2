//! Tiles of several shapes: putting frames in, then a frame and a profile, each
//! from memory and from the disk. Before a cold reading the cube is synced and
//! dropped from memory (`posix_fadvise`).
//!
//! `CUBE_BENCH_FRAMES` is the number of 512 x 512 float32 frames.

#![allow(clippy::print_stdout, reason = "a bench prints what it found")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};

use common::{Rival, compare, cube, folder, is_wanted, make_frames, rounds, setting, time};
use cube::dtype::DType;
use rustix::fs::{Advice, fadvise};

/// Width and height of the frames.
const SIDE: usize = 512;

/// Columns, rows and frames of a tile. The first is the default.
const SHAPES: [&str; 6] = [
    "64,64,32",
    "64,64,16",
    "128,128,8",
    "32,32,32",
    "16,16,128",
    "256,256,1",
];

fn main() {
    if !is_wanted() {
        return;
    }
    let count = setting("CUBE_BENCH_FRAMES", 1000).max(1);
    let folder = folder();
    let frames = make_frames(folder.path(), count.min(50), SIDE, DType::F32);
    let all = || frames.iter().cycle().take(count);
    let path = |shape: &str| folder.path().join(format!("{shape}.cube"));

    let mut rivals = Vec::new();
    for shape in SHAPES {
        let path = path(shape);
        rivals.push(Rival::new(shape, move || {
            let _ = std::fs::remove_file(&path);
            let mut append = cube(&["append", "--quiet", "--tile", shape]);
            time(append.arg(&path).args(all()))
        }));
    }
    let title = format!("{count} frames of {SIDE} x {SIDE} float32, until they are synced");
    compare(&title, rounds(3), &mut rivals);
    drop(rivals);

    let middle = (count / 2 + 1).to_string();
    let frame = ["--axis", "x,y", "--at", &middle, "-o", "-"];
    let profile = ["--axis", "z", "--at", "300,123"];
    for (name, words) in [("one frame", &frame[..]), ("one profile", &profile[..])] {
        for (how, is_cold) in [("warm", false), ("cold", true)] {
            let reading = |shape: &&'static str| {
                let path: PathBuf = path(shape);
                let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
                Rival::new(shape, move || {
                    if is_cold {
                        drop_from_memory(&path);
                    }
                    time(cube(&["slice", "--quiet"]).arg(&path).args(&words))
                })
            };
            let mut rivals: Vec<Rival<'_>> = SHAPES.iter().map(reading).collect();
            compare(&format!("{name}, {how}"), rounds(9), &mut rivals);
        }
    }
}

fn drop_from_memory(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
}
