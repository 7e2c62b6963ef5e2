//! What a command costs as the work grows: with the number of frames, one by one; with
//! the size of a frame; with the number of tiles, most of them void; with the number of
//! records. Times are of whole processes until synced; bytes written are the kernel's
//! figure, see `common::Cost`.
//!
//! `CUBE_BENCH_FRAMES` is the number of frames that come in one by one,
//! `CUBE_BENCH_RECORDS` the number of records at most.

#![allow(clippy::print_stdout, reason = "a bench prints what it found")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{
    Cost, cost, cube, folder, is_wanted, make_frames, make_image, noise, rounds, setting, show,
    span,
};
use cube::dtype::DType;
use cube::frames::cards::Cards;
use cube::sinks::Image;

fn main() {
    if !is_wanted() {
        return;
    }
    let folder = folder();
    let rounds = rounds(9);
    one_by_one(folder.path(), setting("CUBE_BENCH_FRAMES", 10_000).max(200));
    by_size(folder.path(), rounds);
    by_tiles(folder.path(), rounds);
    by_records(
        folder.path(),
        rounds,
        setting("CUBE_BENCH_RECORDS", 1_024_000),
    );
}

/// Median of what some runs took, in seconds, and of what they wrote.
fn middle(costs: &[Cost]) -> (f64, u64) {
    let mut times: Vec<f64> = costs.iter().map(|c| c.taken.as_secs_f64()).collect();
    let mut written: Vec<u64> = costs.iter().map(|c| c.written).collect();
    written.sort_unstable();
    (span(&mut times).1, written[written.len() / 2])
}

/// Runs a command some times, after once to warm.
fn repeat(rounds: usize, mut command: Command) -> (f64, u64) {
    cost(&mut command);
    let costs: Vec<Cost> = (0..rounds).map(|_| cost(&mut command)).collect();
    middle(&costs)
}

fn with(words: &[&str], paths: &[&Path]) -> Command {
    let mut command = cube(words);
    command.args(paths);
    command
}

/// A frame of a cube, or a piece of it, to a file in memory or on disk.
fn slice(path: &Path, words: &[&str], out: &Path) -> Command {
    let mut command = cube(&["slice", "--quiet", "--overwrite", "-o"]);
    command.arg(out).arg(path).args(words);
    command
}

fn size_of(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}

fn one_by_one(folder: &Path, count: usize) {
    const SIDE: usize = 512;
    const BYTES: u64 = (SIDE * SIDE * 2) as u64;
    let frames = make_frames(folder, 16, SIDE, DType::U16);
    let (path, out) = (folder.join("one-by-one.cube"), folder.join("cut.fits"));
    println!("\n{SIDE} x {SIDE} uint16, {BYTES} bytes, one by one; the last 100 up to each stop");
    println!(
        "{:>8} {:>11} {:>11} {:>9} {:>11} {:>11} {:>11}",
        "frames", "append", "written", "overhead", "info", "one frame", "profile"
    );
    let mut costs = Vec::new();
    let mut firsts = None;
    let mut stop = 100;
    for number in 1..=count {
        let frame = &frames[number % frames.len()];
        costs.push(cost(&mut with(&["append", "--quiet"], &[&path, frame])));
        if number < stop && number < count {
            continue;
        }
        let (append, written) = middle(&costs[costs.len() - 100..]);
        firsts.get_or_insert(append);
        let overhead = size_of(&path) as f64 / (number as u64 * BYTES) as f64 - 1.0;
        let info = repeat(5, with(&["info"], &[&path])).0;
        let at = (number / 2).to_string();
        let frame = repeat(5, slice(&path, &["--axis", "x,y", "--at", &at], &out)).0;
        let profile = repeat(
            5,
            slice(
                &path,
                &["--axis", "z", "--at", "300,123"],
                &folder.join("cut.npy"),
            ),
        );
        println!(
            "{number:>8} {:>11} {written:>11} {:>8.2}% {:>11} {:>11} {:>11}",
            show(append),
            100.0 * overhead,
            show(info),
            show(frame),
            show(profile.0)
        );
        stop = (stop * 10).min(count);
    }
    let (last, _) = middle(&costs[costs.len() - 100..]);
    println!(
        "the last 100 to the first 100: {:.2}",
        last / firsts.unwrap()
    );
    std::fs::remove_file(path).unwrap();
}

fn by_size(folder: &Path, rounds: usize) {
    println!("\none frame more, uint16, by the size of a frame ({rounds} rounds)");
    println!(
        "{:>8} {:>11} {:>11} {:>11} {:>11} {:>11}",
        "side", "bytes", "append", "written", "one frame", "a byte"
    );
    for side in [16, 64, 256, 1024, 4096] {
        let frame = make_frames(folder, 1, side, DType::U16).remove(0);
        let (path, out) = (folder.join("size.cube"), folder.join("cut.fits"));
        // A layer of tiles and more, so that the next frames find their tiles.
        cost(with(&["append", "--quiet"], &[&path]).args(vec![&frame; 40]));
        let (append, written) = repeat(rounds, with(&["append", "--quiet"], &[&path, &frame]));
        let cut = repeat(rounds, slice(&path, &["--axis", "x,y", "--at", "20"], &out)).0;
        let bytes = side * side * 2;
        println!(
            "{side:>8} {bytes:>11} {:>11} {written:>11} {:>11} {:>8.3} ns",
            show(append),
            show(cut),
            append * 1e9 / bytes as f64
        );
        std::fs::remove_file(path).unwrap();
    }
}

/// Frames far from each other span tiles that stay void.
fn by_tiles(folder: &Path, rounds: usize) {
    println!("\nframes of 256 x 256 float32 at both corners of a cube ({rounds} rounds)");
    println!(
        "{:>9} {:>9} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}",
        "side", "tiles", "data", "on disk", "append", "info", "corner", "profile"
    );
    let frame = make_frames(folder, 1, 256, DType::F32).remove(0);
    for side in [256u64, 2_048, 16_384, 131_072, 1_048_576, 2_097_152] {
        let (path, out) = (folder.join("tiles.cube"), folder.join("cut.npy"));
        let corner = side - 255;
        let origin = format!("{corner},{corner}");
        cost(&mut with(&["append", "--quiet"], &[&path, &frame]));
        let mut append = with(
            &["append", "--quiet", "--origin", &origin],
            &[&path, &frame],
        );
        cost(&mut append);
        let (append, _) = repeat(rounds, append);
        let info = repeat(rounds, with(&["info"], &[&path])).0;
        let section = format!("{corner}:{side},{corner}:{side},2");
        let cut = repeat(rounds, slice(&path, &["--section", &section], &out)).0;
        let profile = repeat(
            rounds,
            slice(&path, &["--axis", "z", "--at", &origin], &out),
        )
        .0;
        let depth = rounds as u64 + 3;
        let data = side as f64 * side as f64 * depth as f64 * 4.0;
        let disk = std::os::unix::fs::MetadataExt::blocks(&path.metadata().unwrap()) * 512;
        println!(
            "{side:>9} {:>9.1e} {:>8.2e} B {disk:>9} B {:>11} {:>11} {:>11} {:>11}",
            (side as f64 / 64.0).ceil().powi(2) * (depth as f64 / 8.0).ceil(),
            data,
            show(append),
            show(info),
            show(cut),
            show(profile)
        );
        std::fs::remove_file(path).unwrap();
    }
}

/// A cube that is put into itself has twice the records.
fn by_records(folder: &Path, rounds: usize, most: usize) {
    println!("\nspectra of 64 uint16 samples, each a frame with a record ({rounds} rounds)");
    println!(
        "{:>8} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}",
        "frames", "data", "file", "append", "info", "one frame", "column"
    );
    let image = Image {
        shape: vec![64],
        dtype: DType::U16,
        blank: None,
        cards: Cards::default(),
    };
    let frames: Vec<_> = (0..1000)
        .map(|number| {
            let path = folder.join(format!("spectrum-{number:04}.fits"));
            make_image(&path, &image, &noise(number + 1, 128));
            path
        })
        .collect();
    let (path, out) = (folder.join("records.cube"), folder.join("cut.npy"));
    cost(with(&["append", "--quiet"], &[&path]).args(&frames));
    let mut count = 1000;
    loop {
        let (append, _) = repeat(rounds, with(&["append", "--quiet"], &[&path, &frames[0]]));
        count += rounds + 1;
        let info = repeat(rounds, with(&["info"], &[&path])).0;
        let at = format!("{},1", count / 2);
        let frame = repeat(rounds, slice(&path, &["--axis", "x", "--at", &at], &out)).0;
        let column = repeat(rounds, slice(&path, &["--axis", "y", "--at", "3,1"], &out)).0;
        println!(
            "{count:>8} {:>9} B {:>9} B {:>11} {:>11} {:>11} {:>11}",
            count * 128,
            size_of(&path),
            show(append),
            show(info),
            show(frame),
            show(column)
        );
        let next = (count * 10).min(most);
        if count >= most {
            break;
        }
        while count < next {
            cost(&mut with(&["append", "--quiet"], &[&path, &path]));
            count *= 2;
        }
    }
    std::fs::remove_file(path).unwrap();
}
