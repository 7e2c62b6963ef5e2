//! TIFF files as frames. What is uncompressed is written here by hand; what is
//! compressed lies in `testdata/tiff`, with samples of one formula.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Scratch, python_with, skip};
use crate::tiff_file::{Page, tiff};

/// An uncompressed page of uint16 whose samples are `base` and on.
fn page(width: u64, height: u64, base: u16) -> Page {
    let samples = (0..width * height).map(|k| base + u16::try_from(k).unwrap());
    let bytes: Vec<u8> = samples.flat_map(u16::to_le_bytes).collect();
    Page::new(width, height, 16, &bytes)
}

#[test]
fn pages_are_frames_in_order_with_their_tags_as_cards() {
    let dir = Scratch::new();
    let pages: Vec<Page> = (0..40)
        .map(|k| page(5, 4, 100 * k).with_text(306, &format!("2024:05:01 12:00:{k:02}")))
        .collect();
    dir.write("a.tif", tiff(false, false, &pages));
    dir.ok("append a.cube a.tif");
    assert_eq!(dir.shape("a.cube"), [5, 4, 40]);
    assert_eq!(dir.info("a.cube")["dtype"], "uint16");
    assert_eq!(dir.info("a.cube")["frames"], 40);
    let expected: Vec<String> = (0..40).map(|k| (100 * k + 7).to_string()).collect();
    assert_eq!(dir.profile("a.cube --axis z --at 3,2"), expected);
    let run = dir.ok("info a.cube --frames --csv --keys DATE-OBS");
    let last = run.out().lines().last().unwrap();
    assert!(last.ends_with("2024-05-01T12:00:39"), "{last}");
    // One of them, and those that a condition lets in.
    dir.ok("append b.cube --hdu 39 a.tif");
    assert_eq!(dir.profile("b.cube --axis z --at 1,1"), ["3900"]);
    dir.ok("append c.cube a.tif --where DATE-OBS>='2024-05-01T12:00:38'");
    assert_eq!(dir.profile("c.cube --axis z --at 1,1"), ["3800", "3900"]);
    dir.cube("append d.cube --hdu 40 a.tif")
        .fails(&["a.tif: holds no page 40", "its pages are 0 to 39"]);
    dir.cube("append d.cube --hdu SCI a.tif")
        .fails(&["holds no HDU SCI", "TIFF"]);
}

#[test]
fn a_command_that_is_run_again_knows_pages_apart() {
    let dir = Scratch::new();
    let mut pages: Vec<Page> = (0..3).map(|k| page(3, 3, 50 * k)).collect();
    dir.write("a.tif", tiff(false, false, &pages));
    dir.ok("append a.cube --hdu 1 a.tif");
    dir.ok("append a.cube --resume a.tif")
        .says(&["2 frames added", "1 there already"]);
    dir.ok("append a.cube --resume a.tif")
        .says(&["0 frames added", "3 there already"]);
    assert_eq!(dir.profile("a.cube --axis z --at 1,1"), ["50", "0", "100"]);
    // A bad page is left out, and the others come in.
    pages[1] = pages[1].clone().with(259, &[7]);
    dir.write("b.tif", tiff(false, false, &pages));
    dir.cube("append b.cube b.tif")
        .fails(&["b.tif: page 1: is compressed by JPEG"]);
    dir.cube("append b.cube --skip-bad b.tif").ends(3).says(&[
        "2 frames added",
        "1 left out",
        "page 1: is compressed by JPEG",
    ]);
    assert_eq!(dir.profile("b.cube --axis z --at 1,1"), ["0", "100"]);
}

#[test]
fn colours_are_an_axis_or_one_is_chosen() {
    let dir = Scratch::new();
    let mixed: Vec<u8> = (0..8).flat_map(|k| [k, 50 + k, 100 + k]).collect();
    let colour = Page::new(4, 2, 8, &mixed)
        .with(277, &[3])
        .with(258, &[8, 8, 8]);
    dir.write("a.tif", tiff(false, false, &[colour]));
    dir.ok("append a.cube a.tif");
    assert_eq!(dir.shape("a.cube"), [4, 2, 3]);
    assert_eq!(dir.profile("a.cube --axis z --at 2,1"), ["1", "51", "101"]);
    dir.ok("append b.cube --channel G a.tif a.tif");
    assert_eq!(dir.shape("b.cube"), [4, 2, 2]);
    assert_eq!(
        dir.profile("b.cube --axis x --at 1,1"),
        ["50", "51", "52", "53"]
    );
    dir.cube("append c.cube --channel 4 a.tif")
        .fails(&["has no channel 4: it has 3"]);
    dir.cube("append c.cube --channel 0 a.tif").ends(2);
}

#[test]
fn what_is_stored_otherwise_than_it_is_seen_is_said() {
    let dir = Scratch::new();
    let page = |k| Page::new(2, 1, 8, &[k, 9]).with(274, &[3]).with(262, &[0]);
    dir.write("a.tif", tiff(false, false, &[page(1), page(2)]));
    dir.ok("append a.cube a.tif")
        .says(&["a.tif: its Orientation is 3", "so it is with 1 other frame"]);
    let run = dir.ok("info a.cube --frames --cards");
    assert!(run.out().contains("WhiteIsZero' / samples are as stored"));
    assert_eq!(dir.profile("a.cube --axis x --at 1,1"), ["1", "9"]);
}

/// The compressed files, what their samples are, and their shape's third axis.
#[test]
fn compressed_images_hold_what_they_were_made_of() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/tiff");
    let v = |x: i64, y: i64, c: i64| (7 * x + 31 * y + 1000 * c) as f64;
    type Formula = fn(f64) -> f64;
    let files: [(&str, &str, Formula, i64); 5] = [
        ("lzw-tiles-uint16", "uint16", |v| v, 1),
        ("deflate-float32", "float32", |v| v / 8.0, 1),
        ("packbits-uint8", "uint8", |v| v % 256.0, 1),
        ("zstd-int16", "int16", |v| v - 500.0, 1),
        ("lzw-rgb-uint16", "uint16", |v| v, 3),
    ];
    for (name, dtype, formula, depth) in files {
        let dir = Scratch::new();
        let file = format!("{folder}/{name}.tif");
        dir.ok(&format!("append a.cube {file}"));
        assert_eq!(dir.info("a.cube")["dtype"], dtype);
        assert_eq!(dir.shape("a.cube"), [37, 45, depth as u64]);
        for c in 0..depth {
            for y in 0..45 {
                let found = dir.profile(&format!("a.cube --axis x --at {},{}", y + 1, c + 1));
                let found: Vec<f64> = found.iter().map(|text| text.parse().unwrap()).collect();
                let expected: Vec<f64> = (0..37).map(|x| formula(v(x, y, c))).collect();
                assert_eq!(found, expected, "{name}, row {y}");
            }
            // One row is enough of the others.
            if depth > 1 && c == 0 {
                dir.ok("check a.cube --deep");
            }
        }
    }
}

/// What tifffile makes of the first page of each file, against cuts of a cube.
const COMPARE: &str = "
import sys, logging
import numpy as np, tifffile
logging.disable(logging.CRITICAL)
for name, cut in zip(sys.argv[1::2], sys.argv[2::2]):
    with tifffile.TiffFile(name) as file:
        page = file.pages[0]
        try:
            there = page.asarray()
        except Exception as error:
            if 'imagecodecs' in str(error):
                print('needs imagecodecs')
                continue
            raise
    if page.samplesperpixel > 1 and page.planarconfig == 1:
        there = np.moveaxis(there, -1, 0)
    if there.dtype == bool: there = there.astype('u1')
    if there.dtype == np.float16: there = there.astype('f4')
    ours = np.load(cut)
    assert ours.dtype == there.dtype, (name, ours.dtype, there.dtype)
    same = np.array_equal(ours.reshape(there.shape), there, equal_nan=there.dtype.kind == 'f')
    assert same, name
    print('same')
";

#[test]
fn tifffile_reads_the_same_samples_from_real_files() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/frames");
    let frames = std::env::var_os("CUBE_FRAMES").map_or_else(|| beside.into(), PathBuf::from);
    if !frames.is_dir() {
        skip("no real frames; CUBE_FRAMES names their folder");
        return;
    }
    let Some(python) = python_with("tifffile") else {
        return;
    };
    let dir = Scratch::new();
    let mut command = Command::new(&python);
    command.args(["-c", COMPARE]);
    let mut n_cuts = 0;
    for kind in [
        "bigtiff",
        "compressed",
        "float",
        "gray-int",
        "multipage",
        "ome-imagej",
        "rgb-palette-planar",
        "tiled",
    ] {
        for entry in fs::read_dir(frames.join(format!("tiff-{kind}"))).unwrap() {
            let file = entry.unwrap().path();
            let cube = format!("{n_cuts}.cube");
            let append = ["append", "--hdu", "0", &cube, file.to_str().unwrap()];
            let run = dir.cube_args(append);
            if run.status != 0 {
                // What is not read is said to be, by name.
                assert!(run.err.contains("which is not read"), "{}", run.err);
                continue;
            }
            dir.ok(&format!("slice {cube} -o {n_cuts}.npy"));
            command.arg(&file).arg(dir.path(format!("{n_cuts}.npy")));
            n_cuts += 1;
        }
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8_lossy(&output.stdout);
    assert_eq!(lines.lines().count(), n_cuts);
    let n_same = lines.lines().filter(|line| *line == "same").count();
    assert!(n_same > 0);
    if n_same < n_cuts {
        let without = n_cuts - n_same;
        skip(&format!(
            "{without} of {n_cuts} files: no imagecodecs, which tifffile needs for them"
        ));
    }
}

#[test]
fn of_files_that_follow_each_other_in_a_pipe_none_is_lost_in_silence() {
    let dir = Scratch::new();
    let page = |k: u8| Page::new(3, 2, 8, &[k, 2, 3, 4, 5, 6]);
    let one = tiff(false, false, &[page(1)]);
    let two = tiff(true, true, &[page(7).in_strips(1, 3), page(9)]);
    for first in [&one, &two] {
        let both = [&first[..], &one].concat();
        dir.cube_fed("append a.cube -", &both)
            .fails(&["another TIFF file follows at byte", "name the files"]);
        assert!(!dir.exists("a.cube"));
    }
    dir.cube_fed("append a.cube -", &two)
        .ends(0)
        .says(&["2 frames added"]);
    // What else follows is no file.
    let rest = [&one[..], &[0; 64]].concat();
    dir.cube_fed("append a.cube -", &rest)
        .ends(0)
        .says(&["1 frame added"]);
}

#[test]
fn resuming_tells_channels_apart() {
    let dir = Scratch::new();
    let page = Page::new(2, 1, 8, &[1, 2, 3, 4, 5, 6]);
    let page = page.with(258, &[8, 8, 8]).with(277, &[3]);
    dir.write("rgb.tif", tiff(false, false, &[page]));
    dir.ok("append a.cube --axis z --channel R rgb.tif");
    dir.ok("append a.cube --axis z --channel B --resume rgb.tif")
        .says(&["1 frame added"]);
    dir.ok("append a.cube --axis z --channel B --resume rgb.tif")
        .says(&["0 frames added, 1 there already"]);
    assert_eq!(dir.samples::<u8>("a.cube"), [1, 4, 3, 6]);
}
