//! What it costs to put something in, as the cube grows 10 and 100 times: a frame in
//! the middle of z, a frame before all, a strip of 16 columns in the middle of x (as
//! an image, and as a block that goes through all frames). Beside it `cp` of the
//! cube and a sync, which is what formats need that hold samples in reading order.
//!
//! Bytes written are the kernel's figure for the process, see `common::Cost`.
//!
//! `CUBE_BENCH_FRAMES` is the number of 512 x 512 uint16 frames in the smallest cube.

#![allow(clippy::print_stdout, reason = "a bench prints what it found")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use common::{
    Cost, cost, cube, folder, is_wanted, make_frames, make_image, noise, rounds, setting, show,
    span, time,
};
use cube::dtype::DType;
use cube::frames::cards::Cards;
use cube::sinks::Image;

/// Width and height of the frames.
const SIDE: usize = 512;

/// Columns of a strip.
const STRIP: usize = 16;

/// How many times larger than the smallest the cubes are.
const SIZES: [usize; 3] = [1, 10, 100];

/// One thing done to a cube of one size.
struct Act {
    name: &'static str,
    frames: usize,
    /// Bytes of samples put in.
    bytes: usize,
    run: Box<dyn FnMut() -> Cost>,
    costs: Vec<Cost>,
}

fn main() {
    if !is_wanted() {
        return;
    }
    let least = setting("CUBE_BENCH_FRAMES", 20).max(2);
    let folder = folder();
    let frames = make_frames(folder.path(), 32, SIDE, DType::U16);
    let strip = folder.path().join("strip.fits");
    make_strip(&strip, 1);
    let mut acts = Vec::new();
    for frames_in_cube in SIZES.map(|times| times * least) {
        // Strips make a cube wider and frames make it deeper: each has its own.
        let [deeper, wider] = ["deeper", "wider"].map(|name| {
            let path = folder.path().join(format!("{name}-{frames_in_cube}.cube"));
            let all = frames.iter().cycle().take(frames_in_cube);
            time(cube(&["append", "--quiet"]).arg(&path).args(all));
            path
        });
        let block = folder.path().join(format!("block-{frames_in_cube}.fits"));
        make_strip(&block, frames_in_cube);
        acts.extend(frames_into(&deeper, frames_in_cube, &frames[0]));
        acts.extend(strips_into(&wider, frames_in_cube, &strip, &block));
    }
    let rounds = rounds(9);
    measure(&mut acts, rounds);
    tell(acts, rounds);
}

/// A strip that stands upright, or goes through so many frames.
fn make_strip(path: &Path, depth: usize) {
    let image = Image {
        shape: vec![STRIP as u64, SIDE as u64, depth as u64],
        dtype: DType::U16,
        blank: None,
        cards: Cards::default(),
    };
    make_image(path, &image, &noise(7, STRIP * SIDE * depth * 2));
}

/// `cube insert` before a position. The cube gets larger by it, but not by much.
fn insert(path: &Path, axis: &str, at: usize, what: &Path) -> Box<dyn FnMut() -> Cost> {
    let mut command = cube(&["insert", "--quiet", "--axis", axis, "--at"]);
    command.arg(at.to_string()).arg(path).arg(what);
    Box::new(move || cost(&mut command))
}

fn frames_into(path: &Path, frames: usize, frame: &Path) -> [Act; 3] {
    let act = |name, run| Act {
        name,
        frames,
        bytes: SIDE * SIDE * 2,
        run,
        costs: Vec::new(),
    };
    [
        act("frame, middle of z", insert(path, "z", frames / 2, frame)),
        act("frame, before all", insert(path, "z", 1, frame)),
        act("cp of the cube, sync", copying(path.to_path_buf())),
    ]
}

fn strips_into(path: &Path, frames: usize, strip: &Path, block: &Path) -> [Act; 2] {
    let act = |name, depth: usize, what| Act {
        name,
        frames,
        bytes: STRIP * SIDE * 2 * depth,
        run: insert(path, "x", SIDE / 2, what),
        costs: Vec::new(),
    };
    [
        act("strip, middle of x", 1, strip),
        act("strip through all frames", frames, block),
    ]
}

fn copying(path: PathBuf) -> Box<dyn FnMut() -> Cost> {
    Box::new(move || {
        let copy = path.with_extension("copy");
        let mut found = cost(Command::new("cp").arg(&path).arg(&copy));
        let start = Instant::now();
        File::open(&copy).unwrap().sync_all().unwrap();
        found.taken += start.elapsed();
        std::fs::remove_file(&copy).unwrap();
        found
    })
}

/// Round by round, in another order each time; the first warms.
fn measure(acts: &mut [Act], rounds: usize) {
    let mut random = noise(3, 4 * (rounds + 1) * acts.len()).into_iter();
    for round in 0..=rounds {
        for last in (1..acts.len()).rev() {
            let byte = random.nth(1).map_or(0, usize::from);
            acts.swap(last, byte % (last + 1));
        }
        for act in acts.iter_mut() {
            let found = (act.run)();
            if round > 0 {
                act.costs.push(found);
            }
        }
    }
}

fn tell(mut acts: Vec<Act>, rounds: usize) {
    println!("\ninto cubes of {SIDE} x {SIDE} uint16 ({rounds} rounds)");
    println!(
        "{:<26} {:>7} {:>10} {:>12} {:>12} {:>11} {:>11} {:>7} {:>8}",
        "", "frames", "put in", "written", "most", "min", "median", "/ min", "/ median"
    );
    acts.sort_by_key(|act| (act.name, act.frames));
    let mut base = (1.0, 1.0);
    for act in &acts {
        let mut times: Vec<f64> = act.costs.iter().map(|c| c.taken.as_secs_f64()).collect();
        let (min, median) = span(&mut times);
        let mut written: Vec<u64> = act.costs.iter().map(|c| c.written).collect();
        written.sort_unstable();
        if acts
            .iter()
            .find(|other| other.name == act.name)
            .unwrap()
            .frames
            == act.frames
        {
            base = (min, median);
        }
        println!(
            "{:<26} {:>7} {:>10} {:>12} {:>12} {:>11} {:>11} {:>7.2} {:>8.2}",
            act.name,
            act.frames,
            act.bytes,
            written[written.len() / 2],
            written[written.len() - 1],
            show(min),
            show(median),
            min / base.0,
            median / base.1
        );
    }
}
