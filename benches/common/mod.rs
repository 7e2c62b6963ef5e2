//! What the benches share: rivals timed turn by turn, and frames to time them on.
//!
//! Single times mean little on a machine that does other things too. Rivals run
//! in turn within every round, so that a slow minute is slow for all of them, and
//! in another order each time, because what one leaves behind (dirty pages, freed
//! memory) is paid by the next. The first round warms and is not counted. What is
//! to be quoted are the ratios of medians and of minima to the first rival.
//!
//! `CUBE_BENCH_ROUNDS` sets the rounds, `CUBE_BENCH_DIR` the folder in which files
//! are made (and removed); it should be on the disk that is to be measured.

#![allow(dead_code, reason = "each bench uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cube::dtype::DType;
use cube::frames::cards::Cards;
use cube::sinks::{Format, Image, Target, create};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// The program, built for this bench.
pub(crate) const CUBE: &str = env!("CARGO_BIN_EXE_cube");

/// One way of doing something, which says how long it took.
pub(crate) struct Rival<'a> {
    name: String,
    run: Box<dyn FnMut() -> Duration + 'a>,
}

impl<'a> Rival<'a> {
    pub(crate) fn new(name: &str, run: impl FnMut() -> Duration + 'a) -> Rival<'a> {
        Rival {
            name: name.to_string(),
            run: Box::new(run),
        }
    }

    /// A command, with what it puts out thrown away.
    pub(crate) fn command(name: &str, mut command: Command) -> Rival<'a> {
        Rival::new(name, move || time(&mut command))
    }
}

/// Runs the rivals round by round; tells the least and the median time of each, in
/// seconds.
pub(crate) fn measure(rounds: usize, rivals: &mut [Rival<'_>]) -> Vec<(f64, f64)> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); rivals.len()];
    let mut order: Vec<usize> = (0..rivals.len()).collect();
    let mut random = noise(1, 4 * (rounds + 1) * rivals.len()).into_iter();
    for round in 0..=rounds {
        // Fisher and Yates; which noise decides does not matter.
        for last in (1..order.len()).rev() {
            let byte = random.nth(1).map_or(0, usize::from);
            order.swap(last, byte % (last + 1));
        }
        for &which in &order {
            let seconds = (rivals[which].run)().as_secs_f64();
            if round > 0 {
                times[which].push(seconds);
            }
        }
    }
    times.iter_mut().map(|times| span(times)).collect()
}

/// Measures the rivals and prints a table.
pub(crate) fn compare(title: &str, rounds: usize, rivals: &mut [Rival<'_>]) -> Vec<(f64, f64)> {
    let spans = measure(rounds, rivals);
    println!("\n{title} ({rounds} rounds)");
    println!(
        "{:<34} {:>11} {:>11} {:>9} {:>9}",
        "", "min", "median", "/ min", "/ median"
    );
    for (rival, (min, median)) in rivals.iter().zip(&spans) {
        println!(
            "{:<34} {:>11} {:>11} {:>9.2} {:>9.2}",
            rival.name,
            show(*min),
            show(*median),
            min / spans[0].0,
            median / spans[0].1
        );
    }
    spans
}

/// Least and median.
pub(crate) fn span(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let n = times.len();
    (times[0], (times[(n - 1) / 2] + times[n / 2]) / 2.0)
}

pub(crate) fn show(seconds: f64) -> String {
    if seconds < 1e-3 {
        format!("{:.2} us", seconds * 1e6)
    } else {
        format!("{:.2} ms", seconds * 1e3)
    }
}

/// How long a command takes, its start included; it has to succeed.
pub(crate) fn time(command: &mut Command) -> Duration {
    let start = Instant::now();
    let status = command.stdout(Stdio::null()).status().unwrap();
    let taken = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    taken
}

/// What a command cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// Its start included.
    pub(crate) taken: Duration,
    /// `write_bytes` of `/proc/PID/io`: bytes that the process caused to be sent
    /// to the disk, counted when a page in memory is first changed.
    pub(crate) written: u64,
}

/// What a command costs; it has to succeed.
pub(crate) fn cost(command: &mut Command) -> Cost {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), ended).unwrap();
    let taken = start.elapsed();
    // It has ended, but its figures stay until it is waited for.
    let path = format!("/proc/{}/io", child.id());
    let io = std::fs::read_to_string(path).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes:"));
    Cost {
        taken,
        written: line.unwrap().trim().parse().unwrap(),
    }
}

/// `cube` with these words.
pub(crate) fn cube(words: &[&str]) -> Command {
    let mut command = Command::new(CUBE);
    command.args(words);
    command
}

/// The number in an environment variable.
pub(crate) fn setting(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| {
            panic!("{name} is `{text}`, not a number");
        }),
        Err(_) => default,
    }
}

/// Rounds to run.
pub(crate) fn rounds(default: usize) -> usize {
    setting("CUBE_BENCH_ROUNDS", default).max(1)
}

/// `cargo test --all-targets` runs benches too, but not to measure.
pub(crate) fn is_wanted() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// A folder that goes away with what is in it.
pub(crate) fn folder() -> tempfile::TempDir {
    let parent = std::env::var_os("CUBE_BENCH_DIR");
    let parent = parent.map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    let builder = tempfile::Builder::new().prefix("bench-").tempdir_in(parent);
    builder.unwrap()
}

/// Random numbers; the same on every run (Knuth's MMIX constants).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// All bits; the upper half is the better one.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0
    }

    /// Of 53 bits, from 0 up to but not including 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normal (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Bytes that look like noise; the same on every run.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        // As a float it is of the order of 1.
        let [.., a, b, c, _] = random.bits().to_le_bytes();
        out.extend([a, b, c, 0x3f]);
    }
    out.truncate(bytes);
    out
}

/// FITS images of noise, and their names.
pub(crate) fn make_frames(folder: &Path, count: usize, side: usize, dtype: DType) -> Vec<PathBuf> {
    let image = Image {
        shape: vec![side as u64; 2],
        dtype,
        blank: None,
        cards: Cards::default(),
    };
    let make = |number: usize| {
        let path = folder.join(format!("{dtype}-{number:05}.fits"));
        let bytes = side * side * dtype.size();
        make_image(&path, &image, &noise(number as u64 + 1, bytes));
        path
    };
    (0..count).map(make).collect()
}

/// A FITS image, in the place of one that may be there.
pub(crate) fn make_image(path: &Path, image: &Image, samples: &[u8]) {
    let target = Target::from_path(path, true);
    let mut sink = create(&target, Format::Fits, image).unwrap();
    sink.write(samples).unwrap();
    sink.finish().unwrap();
}
