//! `cube compact`: the same samples and frames in a smaller file.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use cube::engine::commit::Writer;
use cube::engine::snapshot::Snapshot;
use cube::format::catalog::Command;
use cube::ops::compact::{Options, compact};
use cube::ops::{Quiet, Stop};
use cube::region::Span;
use cube::storage::file::{Busy, FileStorage};
use serde_json::Value;

use crate::support::{Image, Scratch, bits, finish, wait_until};

fn frame(dir: &Scratch, name: &str, shape: &[u64], salt: u64) {
    let image = Image::new(shape, |k| (salt * 1000 + k) as f32);
    dir.frame(name, &image.with("SALT", &salt.to_string()));
}

/// Ragged, with frames put before and one beside.
fn ragged() -> Scratch {
    let dir = Scratch::new();
    for (number, shape) in [[30, 20], [25, 31], [40, 9], [3, 3]].iter().enumerate() {
        frame(&dir, &format!("{number}.fits"), shape, number as u64);
    }
    dir.ok("append a.cube --tile 16,16,4 0.fits");
    for name in ["1.fits", "2.fits 3.fits", "0.fits"] {
        dir.ok(&format!("append a.cube --before {name}"));
    }
    dir.ok("append a.cube --axis x --origin 1,5 1.fits");
    dir
}

fn frames(dir: &Scratch) -> Value {
    let run = dir.ok("info a.cube --frames --json --cards");
    serde_json::from_slice(&run.out).unwrap()
}

#[test]
fn every_sample_and_record_stays_and_the_file_is_smaller() {
    let dir = ragged();
    let (samples, records) = (bits(&dir.samples::<f32>("a.cube")), frames(&dir));
    let before = dir.read("a.cube");
    fs::set_permissions(dir.path("a.cube"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("a.cube", dir.path("link.cube")).unwrap();
    let run = dir.ok("compact link.cube");
    let run = run.says(&["the history ends here, 5 commands long; undo cannot go behind it"]);
    assert_eq!(run.out(), "");
    assert_eq!(bits(&dir.samples::<f32>("a.cube")), samples);
    assert_eq!(frames(&dir), records);
    assert!(dir.read("a.cube").len() < before.len());
    assert!(
        dir.path("link.cube")
            .symlink_metadata()
            .unwrap()
            .is_symlink()
    );
    let about = fs::metadata(dir.path("a.cube")).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o640);
    assert!(dir.names().iter().all(|name| !name.starts_with('.')));
    let info = dir.info("a.cube");
    assert_eq!(info["command"]["verb"], "compact");
    assert!((0..3).all(|axis| info["axes"][axis]["pieces"] == 1));
    let run = dir.ok("check a.cube --deep --json");
    let found: Value = serde_json::from_slice(&run.out).unwrap();
    assert_eq!(
        (&found["verified"], &found["commands"]),
        (&6.into(), &1.into())
    );
    // It goes on from there.
    dir.ok("append a.cube --before 2.fits");
    dir.ok("check a.cube --deep");
    assert_eq!(dir.info("a.cube")["frames"], 7);
}

#[test]
fn deleted_frames_are_gone_and_patches_are_in_the_samples() {
    let dir = ragged();
    let path = dir.path("a.cube");
    let edit = |change: &dyn Fn(&mut cube::engine::edit::Edit<'_>, &Snapshot)| {
        // A program that another test is just starting holds the lock for a moment.
        let storage = FileStorage::open_locked(&path, Busy::Wait).unwrap();
        let mut writer = Writer::open(Arc::new(storage)).unwrap();
        let snapshot = writer.snapshot().unwrap();
        let mut edit = writer.edit(Command::default()).unwrap();
        change(&mut edit, &snapshot);
        edit.finish().unwrap();
    };
    // One frame on z is lost whole, another in part with its column.
    edit(&|edit, _| edit.delete(2, 3, 1));
    edit(&|edit, _| edit.delete(0, 29, 2));
    edit(&|edit, snapshot| {
        let slots = [2, 1, 0, 0, 0, 0, 0, 0];
        let slots = std::array::from_fn(|axis| snapshot.pieces(axis).slot(slots[axis]).unwrap());
        let (tile, element) = snapshot.find(&slots).unwrap().unwrap();
        edit.patch(&[(tile, vec![(element, 0x4228_0000)])]).unwrap();
    });
    let read = |snapshot: &Snapshot| {
        let shape = snapshot.shape();
        let spans: Vec<Span> = shape.iter().map(|&len| Span::run(0, len)).collect();
        let mut out = vec![0; shape.iter().product::<u64>() as usize * 4];
        snapshot.read(&spans, &mut out).unwrap();
        (shape, out)
    };
    let open = |path: &Path| Snapshot::open(Arc::new(FileStorage::open(path).unwrap())).unwrap();
    let old = open(&path);
    let want = read(&old);
    let options = Options {
        busy: Busy::Wait,
        memory: 1 << 20,
        line: "cube compact".into(),
    };
    let report = compact(&path, &options, &Quiet, &Stop::default()).unwrap();
    assert_eq!((report.rewritten.frames, report.rewritten.dropped), (5, 1));
    assert!(report.rewritten.partial >= 1, "{report:?}");
    assert!(report.after < report.before, "{report:?}");
    let new = open(&path);
    assert_eq!(read(&new), want);
    assert_eq!(read(&old), want, "a reader keeps what it opened");
    assert!(new.catalog().patches.is_empty());
    let sources = |snapshot: &Snapshot| {
        let positions = snapshot.positions();
        let mut found = Vec::new();
        let each = &mut |record: cube::format::ledger::Record| {
            if let Some((at, _)) = positions.of(&record) {
                let place = (record.axis, at[record.axis]);
                found.push((place, at, record.source, record.shape, record.cards));
            }
            Ok(())
        };
        snapshot.for_each_record(each).unwrap();
        found
    };
    // Records are in reading order now.
    let mut expected = sources(&old);
    expected.sort_by_key(|&(place, ..)| place);
    assert_eq!(sources(&new), expected);
    let run = dir.cube("check a.cube --deep");
    assert_eq!(run.status, 0, "{}", run.out());
    assert!(run.out().contains("lost pixels"), "{}", run.out());
    // Once more: what is partial stays so.
    compact(&path, &options, &Quiet, &Stop::default()).unwrap();
    assert_eq!(read(&open(&path)), want);
    dir.ok("check a.cube --deep");
    dir.ok("append a.cube 2.fits");
    dir.ok("check a.cube --deep");
}

#[test]
fn a_writer_that_waited_writes_to_the_new_file() {
    let dir = ragged();
    let path = dir.path("a.cube");
    let held = FileStorage::open_locked(&path, Busy::Wait).unwrap();
    let old = fs::metadata(&path).unwrap().ino();
    let mut command = dir.command();
    let waiting = command
        .args(["append", "a.cube", "3.fits", "--wait"])
        .spawn()
        .unwrap();
    let stat = format!("/proc/{}/wchan", waiting.id());
    let mut looked = 0;
    wait_until("it waits for the lock", || {
        looked += 1;
        let place = fs::read_to_string(&stat).unwrap_or_default();
        place.contains("lock") || looked > 500
    });
    // What compact does while it holds the lock.
    fs::copy(&path, dir.path("new")).unwrap();
    fs::rename(dir.path("new"), &path).unwrap();
    drop(held);
    finish(waiting).ends(0);
    assert_ne!(fs::metadata(&path).unwrap().ino(), old);
    assert_eq!(dir.info("a.cube")["frames"], 7);
    dir.ok("check a.cube --deep");
}

#[test]
fn frames_of_nothing_but_pad_cost_no_tiles() {
    let dir = Scratch::new();
    dir.frame("void.fits", &Image::new(&[64, 64], |_| 0u8));
    dir.frame("one.fits", &Image::new(&[64, 64], |k| u8::from(k == 7)));
    dir.ok("append a.cube --tile 16,16,1 --pad 0 void.fits void.fits");
    let tiles = || -> Value {
        let run = dir.ok("check a.cube --deep --json");
        serde_json::from_slice::<Value>(&run.out).unwrap()["tiles"].clone()
    };
    assert_eq!(tiles(), 0);
    dir.ok("append a.cube one.fits void.fits");
    assert_eq!(tiles(), 1);
    let samples = dir.samples::<u8>("a.cube");
    assert_eq!(
        samples.iter().position(|&sample| sample == 1),
        Some(2 * 4096 + 7)
    );
    assert_eq!(samples.iter().filter(|&&sample| sample != 0).count(), 1);
    dir.ok("compact a.cube --quiet");
    assert_eq!(tiles(), 1);
}

#[test]
fn what_is_no_cube_stays_as_it_is() {
    let dir = ragged();
    let before = dir.read("0.fits");
    dir.cube("compact 0.fits")
        .fails(&["0.fits", "is not a cube"]);
    assert_eq!(dir.read("0.fits"), before);
    dir.cube("compact none.cube").fails(&["none.cube"]);
}
