//! `cube check`: damage is found, named, and not imagined.

use std::process::Command;

use serde_json::Value;

use crate::support::{Image, Scratch, Stored, bits};

fn frame(dir: &Scratch, name: &str, shape: &[u64], salt: u64) {
    dir.frame(name, &Image::new(shape, |k| (salt * 1000 + k) as f32));
}

/// Ragged, with a frame put before and one beside.
fn cube() -> Scratch {
    let dir = Scratch::new();
    for (number, shape) in [[30, 20], [25, 31], [40, 9]].iter().enumerate() {
        frame(&dir, &format!("{number}.fits"), shape, number as u64);
    }
    dir.ok("append a.cube --tile 16,16,2 0.fits 1.fits");
    dir.ok("append a.cube --before 2.fits");
    dir.ok("append a.cube --axis x 0.fits");
    dir
}

#[test]
fn a_whole_cube_has_no_damage() {
    let dir = cube();
    let run = dir.ok("check a.cube --deep");
    assert_eq!(run.err, "");
    assert!(run.out().starts_with("4 frames, "), "{}", run.out());
    assert!(run.out().ends_with(" tiles, no damage\n"), "{}", run.out());
    let run = dir.ok("check a.cube --deep --quiet");
    assert_eq!((run.out(), run.err.as_str()), ("", ""));
    let run = dir.ok("check a.cube --deep --json");
    let found: Value = serde_json::from_slice(&run.out).unwrap();
    assert_eq!(found["verified"], 4);
    assert_eq!(found["commands"], 4, "three appends and the empty cube");
    assert_eq!(found["problems"], serde_json::json!([]));
}

#[test]
fn a_damaged_sample_is_found_with_its_frame_and_bytes() {
    let dir = cube();
    let whole = dir.samples::<f32>("a.cube");
    let mut bytes = dir.read("a.cube");
    let mut sample = Vec::new();
    // The sample 1417 stands once in the file, as it is: its command filled the tile.
    1417f32.store(&mut sample);
    sample.reverse();
    let places: Vec<usize> = (0..bytes.len() - 4)
        .filter(|&at| bytes[at..at + 4] == sample)
        .collect();
    assert_eq!(places.len(), 1);
    let at = places[0];
    bytes[at] ^= 4;
    dir.write("a.cube", &bytes);
    dir.ok("check a.cube");
    let run = dir.cube("check a.cube --deep").ends(1);
    assert_eq!(run.out().lines().count(), 1, "{}", run.out());
    assert!(
        run.out().starts_with("z 3, 1.fits: checksum"),
        "{}",
        run.out()
    );
    let run = dir.cube("check a.cube --deep --json").ends(1);
    let found: Value = serde_json::from_slice(&run.out).unwrap();
    assert_eq!(found["count"], 1);
    let problem = &found["problems"][0];
    assert_eq!(problem["frame"]["number"], 2);
    assert_eq!(problem["frame"]["position"], 3);
    let inside = problem["bytes"].as_array().unwrap().iter().any(|range| {
        let (first, len) = (range[0].as_u64().unwrap(), range[1].as_u64().unwrap());
        (first..first + len).contains(&(at as u64))
    });
    assert!(inside, "{problem}");
    // What the hint says mends it.
    let run = dir.cube("check a.cube --deep").ends(1);
    run.says(&["hint: a damaged frame is as it was when it is deleted and inserted"]);
    dir.ok("delete a.cube --at 3");
    dir.ok("insert a.cube --at 3 1.fits");
    dir.ok("compact a.cube");
    dir.ok("check a.cube --deep");
    assert_eq!(bits(&dir.samples::<f32>("a.cube")), bits(&whole));
}

#[test]
fn golden_cubes_have_no_damage() {
    let mut n_cubes = 0;
    for entry in std::fs::read_dir(crate::golden::folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "cube") {
            let run = Command::new(env!("CARGO_BIN_EXE_cube"))
                .args(["check", "--deep"])
                .arg(&path)
                .output()
                .unwrap();
            let out = String::from_utf8_lossy(&run.stdout);
            assert!(run.status.success(), "{}: {out}", path.display());
            n_cubes += 1;
        }
    }
    assert!(n_cubes >= 10);
}

#[test]
fn what_is_no_cube_is_refused() {
    let dir = cube();
    dir.cube("check 0.fits").fails(&["0.fits", "is not a cube"]);
    dir.cube("check none.cube")
        .fails(&["none.cube", "no such file"]);
    dir.write("empty", b"");
    dir.cube("check empty").fails(&["is empty"]);
}
