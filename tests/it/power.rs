//! Loss of power under the built program: what it asks of the system is recorded,
//! and cubes are made of what the disk may have had at any moment of it.
//!
//! `strace` records; without it these tests are skipped, and say so. What a disk
//! may do between two syncs is what `docs/format.md` assumes: each write is there,
//! is not, or is cut short at either end, and they are in no order.

use std::process::Command;

use crate::faults::{CHANGES, Change, State, cube_of, is_whole, reset, state, tries, with_history};
use crate::support::{Image, Random, Scratch, skip};

/// What was asked of the cube's file.
enum Asked {
    Write(usize, Vec<u8>),
    Length(usize),
    Grow(usize),
    Sync,
}

/// The bytes in a string as `strace -xx` writes them: `\x00\xff`.
fn bytes(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits
        .map(|two| u8::from_str_radix(&two[..2], 16).unwrap())
        .collect()
}

/// One call that succeeded on the file that `fd` names.
fn asked(call: &str, fd: &str) -> Option<Asked> {
    let (name, rest) = call.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    if !arguments.split(',').next()?.trim().eq(fd) || result.starts_with('-') {
        return None;
    }
    let number = |n: usize| -> usize { arguments.rsplit(", ").nth(n).unwrap().parse().unwrap() };
    match name {
        "pwrite64" => {
            let data = bytes(arguments.split('"').nth(1)?);
            assert_eq!(data.len(), number(1), "strace was to show all of it");
            let written: usize = result.trim().parse().unwrap();
            assert_eq!(written, data.len(), "written in part");
            Some(Asked::Write(number(0), data))
        }
        "ftruncate" => Some(Asked::Length(number(0))),
        "fallocate" => Some(Asked::Grow(number(0) + number(1))),
        "fdatasync" | "fsync" => Some(Asked::Sync),
        _ => None,
    }
}

/// Runs a change, and returns what it asked of the cube; `None` without strace.
fn recorded(dir: &Scratch, change: &Change) -> Option<Vec<Asked>> {
    let calls = "trace=flock,pwrite64,ftruncate,fallocate,fdatasync,fsync";
    let run = Command::new("strace")
        .args([
            "-f", "-qq", "-xx", "-s", "200000", "-e", calls, "-o", "log", "--",
        ])
        .arg(env!("CARGO_BIN_EXE_cube"))
        .args(change.line.split(' '))
        .current_dir(dir.path(""))
        .output();
    if !run.is_ok_and(|run| run.status.success()) {
        skip("no strace that may trace, so nothing is recorded");
        return None;
    }
    let log = String::from_utf8(dir.read("log")).unwrap();
    let mut fd = None;
    let mut begun = std::collections::HashMap::new();
    let mut all = Vec::new();
    for line in log.lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        // Calls of two threads at once are shown in two halves.
        if let Some((head, _)) = call.split_once(" <unfinished ...>") {
            begun.insert(thread, head.to_string());
            continue;
        }
        let call = match call.split_once(" resumed>") {
            Some((_, tail)) => begun.remove(thread).unwrap() + tail,
            None => call.to_string(),
        };
        // The cube is the file that is locked.
        if let Some(locked) = call.strip_prefix("flock(") {
            fd = locked.split(',').next().map(str::to_string);
        }
        all.extend(fd.as_deref().and_then(|fd| asked(&call, fd)));
    }
    assert!(all.len() > 6, "{}: {} calls", change.line, all.len());
    Some(all)
}

fn put(disk: &mut Vec<u8>, at: usize, data: &[u8]) {
    disk.resize(disk.len().max(at + data.len()), 0);
    disk[at..at + data.len()].copy_from_slice(data);
}

/// What the disk may have of some calls, none of which was synced.
fn survived(disk: &mut Vec<u8>, asked: &[Asked], random: &mut Random) {
    // Sometimes nearly all is there, sometimes nearly nothing.
    let kept = [0.05, 0.5, 0.95][random.below(3)];
    for call in asked {
        let there = random.unit() < kept;
        match call {
            Asked::Write(at, data) => {
                let cut = random.below(data.len() + 1);
                let (from, to) = match (random.below(4), there) {
                    (0, _) => (0, cut),
                    (1, _) => (cut, data.len()),
                    (_, true) => (0, data.len()),
                    (_, false) => continue,
                };
                put(disk, at + from, &data[from..to]);
            }
            Asked::Grow(len) if there => disk.resize(disk.len().max(*len), 0),
            Asked::Length(len) if there => disk.resize(*len, 0),
            _ => {}
        }
    }
}

/// Makes a cube of what may be left when the power goes after `n` calls; `obeys`
/// says whether syncs did anything.
fn left(base: &[u8], asked: &[Asked], n: usize, obeys: bool, random: &mut Random) -> Vec<u8> {
    let synced = asked[..n]
        .iter()
        .rposition(|call| matches!(call, Asked::Sync));
    let synced = synced.filter(|_| obeys).unwrap_or(0);
    let mut disk = base.to_vec();
    for call in &asked[..synced] {
        match call {
            Asked::Write(at, data) => put(&mut disk, *at, data),
            Asked::Grow(len) => disk.resize(disk.len().max(*len), 0),
            Asked::Length(len) => disk.resize(*len, 0),
            Asked::Sync => {}
        }
    }
    survived(&mut disk, &asked[synced..n], random);
    disk
}

/// A change, what it asked, and the states before it and after it.
type Recorded = (&'static Change, Vec<Asked>, State, State);

/// Changes of the cube in its place.
fn changes(dir: &Scratch) -> Option<Vec<Recorded>> {
    let in_place =
        |change: &&Change| cube_of(change) == "a.cube" && !change.line.starts_with("compact");
    let mut all = Vec::new();
    for change in CHANGES.iter().filter(in_place) {
        reset(dir);
        let before = state(dir, "a.cube");
        let asked = recorded(dir, change)?;
        all.push((change, asked, before, state(dir, "a.cube")));
    }
    Some(all)
}

#[test]
fn a_loss_of_power_at_any_moment_leaves_the_commit_before_or_the_new_one() {
    let dir = with_history();
    let Some(changes) = changes(&dir) else {
        return;
    };
    let base = dir.read("base");
    let mut random = Random(12);
    let (mut new, mut old) = (0, 0);
    for number in 0..tries(120) {
        let (change, asked, before, after) = &changes[number % changes.len()];
        let n = random.below(asked.len() + 1);
        let disk = left(&base, asked, n, true, &mut random);
        dir.write("a.cube", disk);
        let when = format!("try {number}, {} after call {n}", change.line);
        is_whole(&dir, "a.cube", &when);
        let found = state(&dir, "a.cube");
        if found == *after {
            new += 1;
        } else {
            assert!(found == *before, "{when}: neither old nor new");
            assert!(n < asked.len(), "{when}: done, and lost");
            old += 1;
            // The next command finds nothing in its way.
            if number % 8 == 0 {
                dir.ok(change.line);
                assert!(state(&dir, "a.cube") == *after, "{when}, and again");
                is_whole(&dir, "a.cube", &when);
            }
        }
    }
    assert!(old > 0 && new > 0);
    if std::env::var_os("CUBE_FAULTS").is_some() {
        eprintln!("{} states: {old} old, {new} new", old + new);
    }
}

#[test]
fn a_program_without_syncs_would_be_caught() {
    // Else the test above could not fail.
    let dir = with_history();
    let Some(changes) = changes(&dir) else {
        return;
    };
    let base = dir.read("base");
    let mut random = Random(13);
    let mut caught = 0;
    for (_, asked, before, after) in &changes {
        for _ in 0..6 {
            dir.write(
                "a.cube",
                left(&base, asked, asked.len(), false, &mut random),
            );
            let whole = dir.cube("check a.cube --deep").status == 0;
            let run = dir.cube("slice a.cube --format npy -o -");
            let found = [before, after].map(|state| state.as_ref().is_some_and(|s| s.0 == run.out));
            caught += usize::from(!whole || !found[1]);
        }
    }
    assert!(caught > 10, "{caught}");
}

#[test]
fn only_without_syncs_is_the_disk_not_waited_for() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::new(&[40, 30], |k| k as f32));
    let syncs = |words: &[&str]| {
        let run = Command::new("strace")
            .args([
                "-f",
                "-qq",
                "-e",
                "trace=fdatasync,fsync",
                "-o",
                "log",
                "--",
            ])
            .arg(env!("CARGO_BIN_EXE_cube"))
            .args(words)
            .current_dir(dir.path("."))
            .output();
        let Ok(run) = run else {
            skip("no strace");
            return None;
        };
        assert!(run.status.success(), "{run:?}");
        let log = String::from_utf8(dir.read("log")).unwrap();
        Some(log.lines().count())
    };
    let commands: [&[&str]; 2] = [
        &["append", "a.cube", "1.fits", "--no-sync"],
        &["insert", "a.cube", "1.fits", "--at", "1", "--no-sync"],
    ];
    for words in commands {
        let Some(found) = syncs(words) else { return };
        assert_eq!(found, 0, "{words:?}");
    }
    dir.ok("check --deep a.cube");
    let found = syncs(&["append", "a.cube", "1.fits"]).unwrap();
    // What was read, then tiles, then all but the superblock, then that.
    assert!(found >= 4, "{found}");
    assert_eq!(dir.shape("a.cube"), [40, 30, 3]);
}
