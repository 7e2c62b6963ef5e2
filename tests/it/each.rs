//! `cube slice --each`: every position a file of its own. Files are held, byte for byte,
//! against what `--axis x,y --at N` makes of the same position.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::{
    Image, Random, Scratch, bits, finish, python_with, read_fits, signal, wait_until,
};

/// The frame of this number, with a sky of coordinates.
fn frame(number: i16) -> Image {
    Image::new(&[7, 5], move |k| 100 * number + k as i16)
        .with("FILTER", ["'R'", "'V'"][usize::from(number % 2 == 0)])
        .with("CTYPE1", "'RA---TAN'")
        .with("CTYPE2", "'DEC--TAN'")
        .with("CRPIX1", "3.0")
        .with("CRPIX2", &format!("{number}.5"))
        .with("CRVAL1", "150.0")
        .with("CRVAL2", "2.0")
        .with("CDELT1", "-0.001")
        .with("CDELT2", "0.001")
}

/// Twelve frames `night/fN.fits`, whose tiles they cross.
fn night() -> Scratch {
    let dir = Scratch::new();
    fs::create_dir(dir.path("night")).unwrap();
    for number in 1..=12 {
        dir.frame(&format!("night/f{number}.fits"), &frame(number));
    }
    dir.ok("append a.cube --tile 3,4,5 night");
    dir
}

fn names_in(dir: &Scratch, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(dir.path(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Puts a cube out and holds every file `AT.END` against the cut at that position.
#[track_caller]
fn same_as_single_cuts(dir: &Scratch, cube: &str, end: &str, axes: &str, options: &str) -> usize {
    let folder = format!("{}-{}", cube, end);
    dir.ok(&format!(
        "slice {cube} --axis {axes} --each -o {folder}/{{at}}.{end} {options}"
    ));
    let names = names_in(dir, &folder);
    for name in &names {
        let at = name.strip_suffix(&format!(".{end}")).unwrap();
        let at = at.replace('-', ",");
        dir.ok(&format!(
            "slice {cube} --axis {axes} --at {at} -o one.{end} --overwrite {options}"
        ));
        assert!(
            dir.read(&format!("{folder}/{name}")) == dir.read(&format!("one.{end}")),
            "{cube} {at} {end}"
        );
    }
    names.len()
}

#[test]
fn frames_come_out_under_the_names_they_came_in_with() {
    let dir = night();
    dir.ok("slice a.cube --each -o out/{name}.fits")
        .says(&["a.cube: 12 files written to out, a new folder\n"]);
    let expected: Vec<String> = (1..=12).map(|n| format!("f{n}.fits")).collect();
    let mut sorted = expected.clone();
    sorted.sort();
    assert_eq!(names_in(&dir, "out"), sorted);
    for (at, name) in (1..).zip(&expected) {
        dir.ok(&format!(
            "slice a.cube --axis x,y --at {at} -o one.fits --overwrite"
        ));
        assert!(
            dir.read(&format!("out/{name}")) == dir.read("one.fits"),
            "{at}"
        );
    }
    // They are the frames that came in, headers and all.
    dir.ok("append b.cube out");
    let cut = |cube: &str| dir.samples::<i16>(&format!("{cube} --section *,*,*"));
    assert_eq!(cut("b.cube"), cut("a.cube"));
    let keys = "--frames --keys FILTER,CRPIX2,CRVAL1 --csv";
    let told = |cube: &str| {
        let text = dir.ok(&format!("info {cube} {keys}")).out().to_string();
        text.replace("night/", "").replace("out/", "")
    };
    assert_eq!(told("b.cube"), told("a.cube"));
    // What goes to an old folder does not say that it is new, and quiet says nothing.
    let run = dir.ok("slice a.cube --each -o {name}-{at}.npy");
    assert!(
        run.err.ends_with("a.cube: 12 files written to .\n"),
        "{}",
        run.err
    );
    assert!(dir.exists("f1-01.npy") && dir.exists("f12-12.npy"));
    dir.ok("slice a.cube --each -o {at}.raw --progress plain")
        .says(&["cube: writing: 12/12 840 B in"]);
    let run = dir.ok("slice a.cube -q --each -o {at}{at}.npy");
    assert_eq!(run.err, "");
    assert!(dir.exists("0707.npy"));
}

#[test]
fn every_file_is_the_cut_at_its_position() {
    let dir = night();
    // Positions no longer stand as they came, and samples were replaced.
    dir.ok("insert a.cube --at 3 night/f5.fits night/f6.fits");
    dir.ok("move a.cube --from 9:11 --to 1");
    dir.ok("delete a.cube --at 6,12");
    dir.frame(
        "low.fits",
        &Image::new(&[4, 3], |k| k as i16).with("CRPIX1", "1.0"),
    );
    dir.frame("off.fits", &Image::new(&[2, 2], |_| 9i16));
    dir.ok("append a.cube low.fits");
    dir.ok("append a.cube --origin 4,3 off.fits");
    for end in ["fits", "fits.gz", "fits.fz", "npy", "tif", "raw", "png"] {
        assert_eq!(same_as_single_cuts(&dir, "a.cube", end, "x,y", ""), 14);
    }
    for end in ["csv", "json"] {
        assert_eq!(same_as_single_cuts(&dir, "a.cube", end, "x", ""), 5 * 14);
    }
    dir.ok("clean a.cube --sigma 1.5");
    assert_ne!(dir.info("a.cube")["patched"], 0);
    fs::rename(dir.path("a.cube"), dir.path("c.cube")).unwrap();
    for (end, options) in [("fits", "--frames-table"), ("png", "--compare")] {
        assert_eq!(same_as_single_cuts(&dir, "c.cube", end, "x,y", options), 14);
    }
    // Remarks are made once, not for each file.
    let run = dir.ok("slice c.cube --each -o t/{at}.raw");
    assert_eq!(run.err.matches("little-endian").count(), 1, "{}", run.err);
    // A store is a folder.
    dir.ok("slice c.cube --each -o z/{at}.zarr");
    dir.ok("slice c.cube --axis x,y --at 14 -o one.zarr");
    let data = "data/c/0/0";
    assert!(dir.read(&format!("z/14.zarr/{data}")) == dir.read(&format!("one.zarr/{data}")));
}

#[test]
fn a_mosaic_and_more_axes_come_out_as_cuts_do() {
    let dir = Scratch::new();
    for number in 1..=3 {
        for part in 0..2 {
            let image = frame(number).with("PART", &part.to_string());
            dir.frame(&format!("{part}-{number}.fits"), &image);
        }
    }
    dir.ok("append m.cube 0-1.fits 0-2.fits 0-3.fits");
    dir.ok("append m.cube --axis x 1-1.fits");
    dir.ok("append m.cube --axis w 1-2.fits --origin 2,1");
    assert_eq!(same_as_single_cuts(&dir, "m.cube", "fits", "x,y", ""), 6);
    // Planes of one frame have one name, and so have what is left of its axes.
    dir.frame("deep.fits", &Image::new(&[3, 2, 4], |k| k as i16));
    dir.ok("append d.cube deep.fits");
    dir.cube("slice d.cube --each -o out/{name}.fits").fails(&[
        "d.cube: z = 1 and z = 2 would both be the file deep.fits",
        "hint: {at} in the name",
    ]);
    assert!(!dir.exists("out"));
    assert_eq!(same_as_single_cuts(&dir, "d.cube", "fits", "x,y", ""), 4);
    // Frames of three axes that are stacked come out as they came.
    dir.frame("other.fits", &Image::new(&[3, 2, 4], |k| 50 + k as i16));
    dir.ok("append w.cube --axis w deep.fits other.fits");
    dir.ok("slice w.cube --each -o w/{name}.fits");
    assert_eq!(names_in(&dir, "w"), ["deep.fits", "other.fits"]);
    let other = &read_fits(&dir.read("w/other.fits"))[0];
    assert_eq!(other.shape, [3, 2, 4]);
    assert_eq!(other.samples::<i16>(), (50..74).collect::<Vec<_>>());
    // Spectra are stacked on y.
    dir.frame("s.fits", &Image::new(&[9], |k| k as i16));
    dir.ok("append s.cube s.fits");
    dir.ok("slice s.cube --each -o {name}.csv");
    assert!(dir.read("s.csv").starts_with(b"x,value\n1,0\n"));
}

#[test]
fn conditions_and_sections_choose_what_comes_out() {
    let dir = night();
    let run = dir.cube_args([
        "slice",
        "a.cube",
        "--where",
        "FILTER == 'V'",
        "--each",
        "-o",
        "v/{name}-{at}.fits",
    ]);
    run.ends(0).says(&["6 files written to v"]);
    let expected = ["f10-10", "f12-12", "f2-02", "f4-04", "f6-06", "f8-08"];
    assert_eq!(
        names_in(&dir, "v"),
        expected.map(|name| format!("{name}.fits"))
    );
    dir.ok("slice a.cube --axis x,y --at 10 -o one.fits");
    assert!(dir.read("v/f10-10.fits") == dir.read("one.fits"));
    // A section of each is what is made of a section of its file.
    dir.ok("slice a.cube --each --section [5:2,2:4,-1:3:4] -o s/{name}.fits");
    assert_eq!(names_in(&dir, "s"), ["f12.fits", "f4.fits", "f8.fits"]);
    for name in ["f4", "f8", "f12"] {
        dir.ok(&format!("append {name}.cube night/{name}.fits[5:2,2:4]"));
        let expected = dir.cut(&format!("{name}.cube --axis x,y --at 1"));
        let hdus = read_fits(&dir.read(&format!("s/{name}.fits")));
        assert_eq!((hdus.len(), &hdus[0].shape), (1, &expected.shape));
        assert_eq!(
            bits(&hdus[0].samples::<i16>()),
            bits(&expected.samples::<i16>())
        );
        for keyword in ["CRPIX1", "CRPIX2", "CDELT1", "FILTER", "CRVAL1"] {
            assert_eq!(hdus[0].value(keyword), expected.value(keyword), "{keyword}");
        }
    }
}

#[test]
fn names_never_lead_out_of_their_folder() {
    let dir = night();
    // What a file is called that came in under a name.
    for (came, name) in [
        ("night/../night/a.b.FITS", "a.b"),
        (".hidden.fits", "_hidden"),
        ("x\n\u{1b}[31m.fits", "x__[31m"),
        ("two words.fts", "two words"),
        ("{at}.fits", "{at}"),
        ("p.fits.gz.fit", "p.fits.gz"),
    ] {
        dir.frame(came, &frame(1));
        let _ = fs::remove_file(dir.path("h.cube"));
        dir.cube_args(["append", "h.cube", came]).ends(0);
        dir.ok("slice h.cube --each -o h/{name}.fits");
        assert_eq!(names_in(&dir, "h"), [format!("{name}.fits")], "{came:?}");
        fs::remove_dir_all(dir.path("h")).unwrap();
    }
    // A name of which nothing is left, and one that means standard output elsewhere.
    dir.frame("..fits", &frame(1));
    dir.ok("append none.cube ..fits");
    dir.cube("slice none.cube --each -o h/{name}.fits").fails(&[
        "none.cube: z = 1: there is no name for {name}: the frame there has none",
        "hint: {at} in place of {name}",
    ]);
    dir.ok("slice none.cube --each -o h/{at}.fits");
    dir.cube_fed("append pipe.cube -", &frame(1).primary())
        .ends(0);
    let run = dir.ok("slice pipe.cube --each -o {name} --format fits");
    assert_eq!(run.out, b"");
    assert!(dir.exists("-"));
    // Where no frame is.
    dir.ok("append void.cube night/f1.fits night/f2.fits");
    dir.ok("append void.cube --axis w night/f3.fits");
    dir.cube("slice void.cube --axis x,y --each -o h/{name}.fits")
        .fails(&[
            "void.cube: z,w = 2,2: there is no name for {name}: no frame is there",
            "--where",
        ]);
}

#[test]
fn names_must_differ_and_have_places() {
    let dir = night();
    let double = [
        Image::empty().primary(),
        frame(1).extension("SCI"),
        frame(2).extension("SCI"),
    ];
    dir.write("two.fits", double.concat());
    dir.ok("append e.cube --hdu all two.fits");
    dir.cube("slice e.cube --each -o e/{name}.fits").fails(&[
        "e.cube: z = 1 and z = 2 would both be the file two.fits",
        "'{name}-{at}.fits'",
    ]);
    dir.ok("slice e.cube --each -o e/{name}-{at}.fits");
    assert_eq!(names_in(&dir, "e"), ["two-1.fits", "two-2.fits"]);
    dir.ok("append f.cube two.fits[SCI,1] two.fits[2][1:7,*]");
    dir.ok("slice f.cube --each -o f/{name}.fits");
    assert_eq!(names_in(&dir, "f"), ["two-2-1-7.fits", "two-SCI-1.fits"]);
    for (output, phrase) in [
        ("x/a.fits", "x/a.fits: each file needs a name of its own"),
        ("x/{frame}.fits", "{frame} stands for nothing"),
        ("x/{name.fits", "{ is not closed"),
        ("{name}/a{at}.fits", "not of folders"),
        ("-", "standard output is one"),
    ] {
        let run = dir.cube(&format!("slice a.cube --each -o {output}"));
        run.fails(&[phrase, "hint: such as -o 'cleaned/{name}.fits'"]);
    }
    dir.cube("slice a.cube --each -o x/{name}")
        .fails(&["--format gives it"]);
    dir.cube("slice a.cube --each -o no/x/{name}.fits")
        .fails(&["no/x: cannot make the folder"]);
    dir.cube("slice a.cube --axis x,y,z --each -o {at}.fits")
        .fails(&["leaves none for --each"]);
    for line in [
        "--each",
        "--each --axis x,y --at 1 -o {at}.fits",
        "--each --montage -o {at}.png",
    ] {
        dir.cube(&format!("slice a.cube {line}")).ends(2);
    }
    assert!(!dir.exists("x") && !dir.exists("no"));
}

#[test]
fn nothing_is_written_where_a_file_would_be_replaced() {
    let dir = night();
    fs::create_dir(dir.path("out")).unwrap();
    dir.write("out/f3.fits", "theirs");
    dir.write("out/f12.fits", "theirs");
    dir.cube("slice a.cube --each -o out/{name}.fits").fails(&[
        "cube: out/f3.fits: exists, with 1 more of 12 files",
        "hint: --overwrite",
    ]);
    assert_eq!(names_in(&dir, "out").len(), 2);
    dir.ok("slice a.cube --each -o out/{name}.fits --overwrite");
    assert_eq!(names_in(&dir, "out").len(), 12);
    assert!(dir.read("out/f3.fits").starts_with(b"SIMPLE"));
    // What may never be replaced is told of before anything is.
    fs::copy(dir.path("a.cube"), dir.path("out/f7.fits")).unwrap();
    dir.write("out/f1.fits", "theirs");
    dir.cube("slice a.cube --each -o out/{name}.fits --overwrite")
        .fails(&["out/f7.fits: is a cube"]);
    fs::remove_file(dir.path("out/f7.fits")).unwrap();
    fs::create_dir(dir.path("out/f7.fits")).unwrap();
    dir.cube("slice a.cube --each -o out/{name}.fits --overwrite")
        .fails(&["out/f7.fits: is a folder"]);
    assert_eq!(dir.read("out/f1.fits"), b"theirs");
    // Raw frames stay, under whatever name their folder goes.
    let came = dir.read("night/f4.fits");
    std::os::unix::fs::symlink("night", dir.path("link")).unwrap();
    for folder in ["night", "./night", "link"] {
        dir.cube(&format!(
            "slice a.cube --each -o {folder}/{{name}}.fits --overwrite"
        ))
        .fails(&["f1.fits: is what the frame came from", "hint: -o 'cleaned/"]);
    }
    assert_eq!(dir.read("night/f4.fits"), came);
}

#[test]
fn what_is_written_when_it_ends_early_is_whole_and_told() {
    let dir = Scratch::new();
    let list: String = (0..300).map(|n| format!("n{n}.fits\n")).collect();
    for name in list.lines() {
        dir.frame(name, &Image::new(&[256, 256], |k| k as u16));
    }
    dir.write("list", &list);
    dir.ok("append a.cube @list");
    let line = "slice a.cube --each -o out/{name}.fits.gz";
    let child = dir.command().args(line.split(' ')).spawn().unwrap();
    let n_there = || fs::read_dir(dir.path("out")).map_or(0, Iterator::count);
    wait_until("files come", || n_there() > 3);
    signal(&child, "INT");
    let run = finish(child).ends(130);
    let n_done = n_there();
    assert!(n_done < 300);
    run.says(&[
        &format!("cube: a.cube: interrupted: {n_done} of 300 files in out are written"),
        "--overwrite",
    ]);
    dir.ok("append b.cube out");
    let n_whole = dir.info("b.cube")["frames"].as_u64().unwrap();
    assert_eq!(n_whole, n_done as u64);
    // A limit on the size of files stands for a disk that is full.
    let mut random = Random(3);
    let noise: Vec<u16> = (0..90_000).map(|_| random.below(65_536) as u16).collect();
    dir.frame("flat1.fits", &Image::new(&[300, 300], |_| 1u16));
    dir.frame("flat2.fits", &Image::new(&[300, 300], |_| 2u16));
    dir.frame("noise.fits", &Image::of(&[300, 300], &noise));
    dir.ok("append c.cube flat1.fits flat2.fits noise.fits");
    let line = "slice c.cube --each -o full/{name}.fits.gz";
    let script = format!("ulimit -f 100; exec {} {line}", env!("CARGO_BIN_EXE_cube"));
    let mut command = Command::new("sh");
    let output = command.args(["-c", &script]).current_dir(dir.path("."));
    let output = output.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("full/noise.fits.gz: cannot write"), "{said}");
    assert!(said.contains("2 of 3 files in full are written"), "{said}");
    assert_eq!(names_in(&dir, "full"), ["flat1.fits.gz", "flat2.fits.gz"]);
    // A folder that takes no files.
    fs::create_dir(dir.path("shut")).unwrap();
    fs::set_permissions(dir.path("shut"), fs::Permissions::from_mode(0o555)).unwrap();
    let run = dir.cube("slice c.cube --each -o shut/{name}.fits");
    // Who may do anything may write there, too.
    if run.status != 0 {
        run.fails(&["shut/n0.fits: cannot create"]);
    }
}

#[test]
fn astropy_reads_what_came_out_as_what_came_in() {
    let Some(python) = python_with("numpy, astropy") else {
        return;
    };
    let dir = night();
    dir.ok("clean a.cube --sigma 1 --mask mask.npy");
    for end in ["fits", "fits.fz"] {
        dir.ok(&format!("slice a.cube --each -o out/{{name}}.{end}"));
    }
    dir.write(
        "oracle.py",
        r#"
import numpy as np
from astropy.io import fits
mask = np.load("mask.npy")
assert mask.any()
for n in range(1, 13):
    came = fits.open(f"night/f{n}.fits")[0]
    for end, hdu in [("fits", 0), ("fits.fz", 1)]:
        with fits.open(f"out/f{n}.{end}", checksum=True) as file:
            now = file[hdu]
            assert (now.data == came.data)[mask[n - 1] == 0].all(), n
            for key in ["FILTER", "CRPIX2", "CRVAL1", "CDELT1"]:
                assert now.header[key] == came.header[key], key
"#,
    );
    let output = Command::new(python)
        .args(["-W", "error", "oracle.py"])
        .current_dir(dir.path("."))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
