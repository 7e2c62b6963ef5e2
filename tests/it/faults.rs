//! What the machine and other programs do to a cube while `cube` is at work.
//!
//! `CUBE_FAULTS=600` tries so many of each; `docs/reliability.md` has what was
//! seen with how many.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Image, Random, Scratch, finish, wait_until};

/// How many times a fault is tried.
fn tries(default: usize) -> usize {
    let asked = std::env::var("CUBE_FAULTS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// A cube of 12 frames, so large that reading it takes a while.
fn large(side: u64) -> Scratch {
    let dir = Scratch::new();
    for number in 0..12u64 {
        let image = Image::new(&[side, side], |k| (number * 7 + k % 1000) as f32);
        dir.frame(&format!("{number:02}.fits"), &image);
    }
    let names: Vec<String> = (0..12).map(|number| format!("{number:02}.fits")).collect();
    dir.ok(&format!("append a.cube --tile 64,64,4 {}", names.join(" ")));
    dir
}

fn cut(dir: &Scratch, bytes: u64) {
    let file = File::options()
        .write(true)
        .open(dir.path("a.cube"))
        .unwrap();
    file.set_len(bytes).unwrap();
}

/// A command that was stopped by a missing page said so.
fn explains(err: &str) {
    let line = "cube: a.cube: cannot read at byte ";
    assert!(err.contains(line), "{err}");
    assert!(err.contains("another program cut the file short"), "{err}");
    assert!(err.contains("hint: cube check --deep a.cube"), "{err}");
}

#[test]
fn a_cube_cut_short_under_a_reader_is_told_and_not_a_signal() {
    // More than the reader reads before it writes.
    let dir = large(1024);
    let mut command = dir.command();
    let command = command.args(["slice", "a.cube", "--memory", "16M", "-o", "-"]);
    let mut child = command.spawn().unwrap();
    // The reader waits for its pipe, and has most of the cube before it.
    let mut pipe = child.stdout.take().unwrap();
    let mut head = vec![0; 4096];
    pipe.read_exact(&mut head).unwrap();
    // The head of the file stays, with the index.
    cut(&dir, 1 << 20);
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).unwrap();
    let run = finish(child).ends(74);
    explains(&run.err);
}

#[test]
fn files_cut_short_at_any_moment_never_end_in_a_signal() {
    let dir = large(256);
    fs::copy(dir.path("a.cube"), dir.path("base")).unwrap();
    let whole = fs::metadata(dir.path("base")).unwrap().len();
    let lines = [
        "slice a.cube -o -",
        "clean a.cube --dry-run",
        "clean a.cube --sigma 1",
        "combine a.cube --method median --format npy -o -",
        "check a.cube --deep",
        "compact a.cube",
        "append a.cube 00.fits",
        "append b.cube a.cube",
        "insert a.cube --at 2 00.fits 01.fits",
        "info a.cube --frames",
        "undo a.cube",
    ];
    let start = |line: &str| -> Child {
        let mut command = dir.command();
        let command = command.args(line.split_whitespace());
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let reset = || {
        let _ = fs::remove_file(dir.path("b.cube"));
        let _ = fs::remove_file(dir.path("a.cube"));
        fs::copy(dir.path("base"), dir.path("a.cube")).unwrap();
    };
    let mut random = Random(6);
    let mut ends = BTreeMap::new();
    let mut lasts = [Duration::ZERO; 11];
    for (line, last) in lines.iter().zip(&mut lasts) {
        reset();
        let begun = Instant::now();
        finish(start(line)).ends(0);
        *last = begun.elapsed();
    }
    for number in 0..tries(33) {
        let line = lines[number % lines.len()];
        reset();
        let begun = Instant::now();
        let mut child = start(line);
        let moment = lasts[number % lines.len()].mul_f64(random.unit());
        wait_until("the moment comes", || begun.elapsed() >= moment);
        cut(&dir, random.below(whole as usize + 1) as u64);
        // Whatever it says, it says by itself.
        let status = child.wait().unwrap().code();
        let mut err = String::new();
        let mut pipe = child.stderr.take().unwrap();
        pipe.read_to_string(&mut err).unwrap();
        match status {
            Some(0) => {}
            Some(1) => assert!(err.contains("cube: "), "{line}: {err}"),
            Some(74) => explains(&err),
            other => panic!("{line}: ended with {other:?}: {err}"),
        }
        *ends.entry((line, status)).or_insert(0) += 1;
    }
    if std::env::var_os("CUBE_FAULTS").is_some() {
        eprintln!("{ends:?}");
    }
}
