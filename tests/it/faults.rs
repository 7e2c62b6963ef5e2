//! What the machine and other programs do to a cube while `cube` is at work.
//!
//! `CUBE_FAULTS=600` tries so many of each; `docs/reliability.md` has what was
//! seen with how many.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Image, Random, Run, Scratch, finish, signal, wait_until};

/// How many times a fault is tried.
pub(crate) fn tries(default: usize) -> usize {
    let asked = std::env::var("CUBE_FAULTS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// A cube of 12 frames, so large that reading it takes a while.
fn large(side: u64) -> Scratch {
    large_in_tiles(side, "64,64,4")
}

fn large_in_tiles(side: u64, tile: &str) -> Scratch {
    let dir = Scratch::new();
    for number in 0..12u64 {
        let image = Image::new(&[side, side], |k| (number * 7 + k % 1000) as f32);
        dir.frame(&format!("{number:02}.fits"), &image);
    }
    let names: Vec<String> = (0..12).map(|number| format!("{number:02}.fits")).collect();
    let names = names.join(" ");
    dir.ok(&format!("append a.cube --tile {tile} {names}"));
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
    // Pieces of 16 KiB are read by call, of 128 KiB through the map.
    for (tile, status) in [("64,64,4", 1), ("256,128,4", 74)] {
        // More than the reader reads before it writes.
        let dir = large_in_tiles(1024, tile);
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
        let run = finish(child).ends(status);
        match status {
            74 => explains(&run.err),
            _ => {
                let line = "cube: a.cube: the file ends at byte 1048576, but bytes ";
                assert!(run.err.starts_with(line), "{}", run.err);
                assert!(run.err.contains("hint: it was cut short"), "{}", run.err);
            }
        }
    }
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

/// A command that changes `a.cube`.
pub(crate) struct Change {
    pub(crate) line: &'static str,
    /// Run again after a kill: what it had done is left alone.
    resumes: bool,
}

pub(crate) const CHANGES: [Change; 10] = [
    change("append a.cube n1.fits", true),
    change(
        "append a.cube n1.fits n2.fits n3.fits n4.fits wide.fits",
        true,
    ),
    change("insert a.cube --at 4 n1.fits", true),
    change("insert a.cube --at 2 n1.fits wide.fits n3.fits", true),
    change("append a.cube --axis x wide.fits", true),
    change("clean a.cube --sigma 1.8", false),
    change("delete a.cube --axis z --at 2,4:6", false),
    change("undo a.cube", false),
    change("compact a.cube", false),
    change("append b.cube n1.fits n2.fits", true),
];

const fn change(line: &'static str, resumes: bool) -> Change {
    Change { line, resumes }
}

/// A cube with a history, in `base`, and frames that are not in it.
pub(crate) fn with_history() -> Scratch {
    let dir = Scratch::new();
    let image = |salt: u64, shape: &[u64]| {
        Image::new(shape, move |k| {
            // One sample is an outlier.
            let hit = k == salt * 37 % 900;
            if hit {
                60_000u16
            } else {
                (1000 + (k * 7 + salt * 13) % 50) as u16
            }
        })
    };
    let names: Vec<String> = (0..9).map(|number| format!("{number}.fits")).collect();
    for (number, name) in (0..).zip(&names) {
        dir.frame(name, &image(number, &[56, 48]));
    }
    for number in 1..5 {
        dir.frame(&format!("n{number}.fits"), &image(20 + number, &[56, 48]));
    }
    dir.frame("wide.fits", &image(30, &[70, 40]));
    dir.ok(&format!("append a.cube --tile 32,32,4 {}", names.join(" ")));
    dir.ok("delete a.cube --axis z --at 3");
    dir.ok("clean a.cube --sigma 2.4");
    fs::rename(dir.path("a.cube"), dir.path("base")).unwrap();
    dir
}

pub(crate) fn reset(dir: &Scratch) {
    for name in dir.names() {
        if name == "a.cube" || name == "b.cube" || name.starts_with(".cube-") {
            fs::remove_file(dir.path(name)).unwrap();
        }
    }
    fs::copy(dir.path("base"), dir.path("a.cube")).unwrap();
}

/// All that a cube answers: samples, and frames with where they are.
pub(crate) type State = Option<(Vec<u8>, Vec<u8>)>;

pub(crate) fn state(dir: &Scratch, cube: &str) -> State {
    if !dir.exists(cube) || dir.info(cube)["frames"] == 0 {
        return None;
    }
    let samples = dir.ok(&format!("slice {cube} --format npy -o -")).out;
    let frames = dir.ok(&format!("info {cube} --frames --json --cards")).out;
    Some((samples, frames))
}

pub(crate) fn cube_of(change: &Change) -> &'static str {
    change.line.split(' ').nth(1).unwrap()
}

fn spawn(dir: &Scratch, line: &str) -> Child {
    let mut command = dir.command();
    command.args(line.split_whitespace()).spawn().unwrap()
}

/// Every change, with the state before it and after it, and how long it takes.
fn undisturbed(dir: &Scratch) -> Vec<(&'static Change, State, State, Duration)> {
    let run = |change: &'static Change| {
        reset(dir);
        let before = state(dir, cube_of(change));
        let begun = Instant::now();
        dir.ok(change.line);
        let took = begun.elapsed();
        let after = state(dir, cube_of(change));
        assert!(after.is_some());
        (change, before, after, took)
    };
    CHANGES.iter().map(run).collect()
}

/// `check --deep` finds nothing.
pub(crate) fn is_whole(dir: &Scratch, cube: &str, when: &str) {
    if dir.exists(cube) {
        let run = dir.cube(&format!("check {cube} --deep"));
        assert_eq!(run.status, 0, "{when}: {} {}", run.out(), run.err);
    }
}

#[test]
fn killed_at_any_moment_a_command_is_done_or_not_done_and_can_be_done_again() {
    let dir = with_history();
    let changes = undisturbed(&dir);
    let mut random = Random(9);
    let (mut killed, mut done, mut again) = (0, 0, 0);
    let n = tries(40);
    let mut number = 0;
    // Some are done before they are killed: those do not count.
    while killed < n {
        number += 1;
        assert!(
            number < 20 * n,
            "only {killed} of {number} were killed at work"
        );
        let (change, before, after, took) = &changes[number % changes.len()];
        let cube = cube_of(change);
        reset(&dir);
        let mut line = change.line.to_string();
        // A second kill may hit the command that makes up for the first.
        for _ in 0..1 + random.below(2) {
            let begun = Instant::now();
            let mut child = spawn(&dir, &line);
            let moment = took.mul_f64(random.unit());
            wait_until("the moment comes", || begun.elapsed() >= moment);
            signal(&child, "KILL");
            let status = child.wait().unwrap();
            killed += usize::from(status.code().is_none());
            let when = format!("try {number}, {line} after {moment:?}");
            assert!(matches!(status.code(), None | Some(0)), "{when}: {status}");
            is_whole(&dir, cube, &when);
            let found = state(&dir, cube);
            assert!(found == *before || found == *after, "{when}: neither");
            done += usize::from(found == *after);
            if found == *after && !change.resumes {
                break;
            }
            if change.resumes {
                line = format!("{} --resume", change.line);
            }
        }
        if state(&dir, cube) == *before || change.resumes {
            again += usize::from(state(&dir, cube) == *before);
            dir.ok(&line);
        }
        assert!(state(&dir, cube) == *after, "try {number}: {line}");
        is_whole(&dir, cube, &line);
    }
    if std::env::var_os("CUBE_FAULTS").is_some() {
        eprintln!("{killed} kills in {number} tries: {done} found it done, {again} did it again");
    }
}

#[test]
fn a_full_disk_is_told_and_with_room_the_same_command_works() {
    // A limit on the size of files is a full disk that every machine has.
    let dir = with_history();
    for (change, before, after, _) in undisturbed(&dir) {
        let cube = cube_of(change);
        reset(&dir);
        let names = dir.names();
        let small = fs::metadata(dir.path("base")).unwrap().len();
        let mut failed = 0;
        for blocks in [0, 1, 3, 9, 25].map(|more| small / 512 + 8 * more) {
            let limited = format!("ulimit -f {blocks}; exec \"$0\" {}", change.line);
            let mut command = std::process::Command::new("sh");
            command.args(["-c", &limited, env!("CARGO_BIN_EXE_cube")]);
            command.current_dir(dir.path("")).stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let run: Run = finish(command.spawn().unwrap());
            if run.status == 0 {
                assert!(state(&dir, cube) == after, "{}: {blocks}", change.line);
                break;
            }
            failed += 1;
            run.fails(&[cube, "file too large", "hint: "]);
            assert!(state(&dir, cube) == before, "{}: {blocks}", change.line);
            is_whole(&dir, cube, change.line);
            assert_eq!(dir.names(), names, "nothing is left behind");
        }
        // What fits in a page more is done with a page more.
        assert!(failed > 0 || cube == "b.cube" || change.line.starts_with("compact"));
        if state(&dir, cube) == before {
            dir.ok(change.line);
        }
        assert!(state(&dir, cube) == after, "{}", change.line);
    }
}

#[test]
fn readers_see_whole_commits_while_a_writer_changes_everything() {
    const SIDE: u64 = 40;
    let dir = Scratch::new();
    // All samples of a frame are one number, and stay so whatever happens to it.
    let frame = |number: u16| {
        let name = format!("{number}.fits");
        dir.frame(&name, &Image::new(&[SIDE, SIDE], |_| 100 * number));
        name
    };
    let names: Vec<String> = (1..=12).map(frame).collect();
    dir.ok(&format!(
        "append a.cube --tile 16,16,4 {}",
        names[..8].join(" ")
    ));
    let writer = [
        "append a.cube 9.fits 10.fits",
        "insert a.cube --at 3 11.fits",
        "clean a.cube --sigma 1.2",
        "undo a.cube",
        "delete a.cube --axis z --at 2,-1",
        "append a.cube --before 12.fits",
        "move a.cube --from 1 --to 5",
        "clean a.cube --sigma 1.4",
        "compact a.cube",
        "delete a.cube --axis z --at 1:2",
    ];
    let over = std::sync::atomic::AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        let readers: Vec<_> = [
            "slice a.cube --format npy -o -",
            "check a.cube --deep",
            "info a.cube --frames",
        ]
        .iter()
        .map(|line| {
            let (dir, over) = (&dir, &over);
            scope.spawn(move || {
                let mut looks = 0;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let run = dir.cube(line);
                    assert_eq!(run.status, 0, "{line}: {} {}", run.out.len(), run.err);
                    assert_eq!(run.err, "", "{line}");
                    if line.starts_with("slice") {
                        // 128 bytes of header, then the frames.
                        let frames = run.out[128..].chunks_exact(2 * (SIDE * SIDE) as usize);
                        assert!(frames.remainder().is_empty());
                        for frame in frames {
                            let (first, samples) = (&frame[..2], frame.chunks_exact(2));
                            assert!(samples.into_iter().all(|sample| sample == first));
                        }
                    }
                    looks += 1;
                }
                looks
            })
        })
        .collect();
        for _ in 0..tries(30).div_ceil(writer.len()) {
            for line in writer {
                let run = dir.cube(line);
                if run.status != 0 {
                    over.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                run.ends(0);
            }
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        let looks = readers.into_iter().map(|reader| reader.join().unwrap());
        looks.collect::<Vec<usize>>()
    });
    assert!(looks.iter().all(|&looks| looks > 0));
    if std::env::var_os("CUBE_FAULTS").is_some() {
        eprintln!("looks of slice, check and info: {looks:?}");
    }
}

#[test]
fn a_lock_left_by_a_dead_writer_blocks_nobody() {
    let dir = with_history();
    reset(&dir);
    for _ in 0..5 {
        let mut child = spawn(&dir, "compact a.cube");
        std::thread::sleep(Duration::from_millis(5));
        signal(&child, "KILL");
        child.wait().unwrap();
        dir.ok("append a.cube n1.fits");
    }
}

#[test]
fn programs_that_all_want_to_make_a_cube_all_get_their_frames_in() {
    let dir = Scratch::new();
    for number in 0..12i16 {
        dir.frame(&format!("{number}.fits"), &Image::new(&[8, 8], |_| number));
    }
    for round in 0..4 {
        let lines = (0..12).map(|number| format!("append {round}.cube --wait {number}.fits"));
        let children: Vec<Child> = lines.map(|line| spawn(&dir, &line)).collect();
        for child in children {
            finish(child).ends(0);
        }
        let mut found = dir.samples::<i16>(&format!("{round}.cube --axis z --at 1,1"));
        found.sort_unstable();
        assert!(found.into_iter().eq(0..12));
    }
    std::os::unix::fs::symlink("nowhere", dir.path("link.cube")).unwrap();
    dir.cube("append link.cube 0.fits")
        .fails(&["file exists", "leads nowhere"]);
}

#[test]
fn a_flipped_bit_is_found_by_check_and_gives_no_wrong_frame() {
    let dir = with_history();
    reset(&dir);
    let whole = dir.read("a.cube");
    let shape = dir.shape("a.cube");
    let frame = |z: usize| {
        let line = format!("slice a.cube --axis x,y --at {} --format npy -o -", z + 1);
        dir.cube(&line)
    };
    let frames: Vec<Vec<u8>> = (0..shape[2] as usize).map(|z| frame(z).out).collect();
    let before = state(&dir, "a.cube");
    let mut random = Random(4);
    let (mut found, mut warned, mut nothing, mut refused) = (0, 0, 0, 0);
    let n = tries(100);
    for number in 0..n {
        let mut bytes = whole.clone();
        let at = match number % 10 {
            // Where it tells most: superblocks and what follows them.
            0 => random.below(8192),
            // A page in another's place, or one that was never written.
            1 => {
                let (from, to) = (
                    random.below(whole.len() / 4096),
                    random.below(whole.len() / 4096),
                );
                bytes.copy_within(4096 * from..4096 * (from + 1), 4096 * to);
                4096 * to
            }
            2 => {
                let at = 4096 * random.below(whole.len() / 4096);
                bytes[at..at + 4096].fill(0);
                at
            }
            _ => random.below(whole.len()),
        };
        if !matches!(number % 10, 1 | 2) {
            bytes[at] ^= 1 << random.below(8);
        }
        dir.write("a.cube", &bytes);
        let run = dir.cube("check a.cube --deep");
        match run.status {
            1 => found += 1,
            0 if run.out().contains("notice: ") => warned += 1,
            0 => {
                // What nobody reads may be anything.
                assert!(state(&dir, "a.cube") == before, "byte {at}");
                dir.ok("log a.cube");
                nothing += 1;
            }
            other => panic!("byte {at}: {other}: {}", run.err),
        }
        let z = random.below(frames.len());
        let run = frame(z);
        match run.status {
            0 if run.err.contains("generation") => {}
            0 => assert!(run.out == frames[z], "byte {at}: frame {z} is wrong"),
            1 => refused += 1,
            other => panic!("byte {at}: {other}: {}", run.err),
        }
    }
    assert!(found > n / 4, "{found} of {n}");
    if std::env::var_os("CUBE_FAULTS").is_some() {
        eprintln!(
            "{n} damages: {found} found, {warned} warned of, {nothing} without effect; \
             {refused} frames refused"
        );
    }
}
