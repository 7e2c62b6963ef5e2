//! What the documents show is what happens: their commands are run, in order, on the
//! frames of `testdata` and some made here, and their pictures are made again.
//!
//! `CUBE_BLESS=1 cargo test --test it readme` stores the pictures anew.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Image, Scratch, python_with};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A document's blocks of one language, in order.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let head = format!("```{language}\n");
    let mut blocks = Vec::new();
    for rest in format!("\n{text}").split(&format!("\n{head}")).skip(1) {
        blocks.push(rest.split("\n```").next().unwrap().to_string());
    }
    blocks
}

/// A folder with all the files that documents speak of.
fn observatory() -> Scratch {
    let dir = Scratch::new();
    for folder in ["frames", "night", "darks", "jw", "bin"] {
        fs::create_dir(dir.path(folder)).unwrap();
    }
    for entry in fs::read_dir(root().join("testdata/frames")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        fs::copy(&path, dir.path("frames").join(name)).unwrap();
    }
    for (from, to) in [
        ("frame03.fits", "night/frame3.fits"),
        ("frame04.fits", "night/frame10.fits"),
        ("frame05.fits", "forgotten.fits"),
        ("frame06.fits", "early.fits"),
    ] {
        fs::copy(dir.path("frames").join(from), dir.path(to)).unwrap();
    }
    let plane = |level: u16| {
        Image::new(&[64, 48], move |k| level + (k * k % 11) as u16)
            .with("EXPTIME", if level == 7 { "30.0" } else { "60.0" })
    };
    for number in 1..=8 {
        dir.frame(&format!("darks/dark{number}.fits"), &plane(number));
    }
    dir.frame(
        "flats.fits",
        &Image::new(&[64, 48, 5], |k| 900 + (k * k % 13) as u16),
    );
    dir.frame("strip.fits", &Image::new(&[16, 48], |k| k as u16));
    let second = plane(300).with("EXTVER", "2");
    let extensions = [
        Image::empty().primary(),
        plane(200).extension("SCI"),
        second.extension("SCI"),
    ];
    dir.write("a.fits", extensions.concat());
    let flags = Image::new(&[64, 48], |k| i32::from(k % 100 == 9));
    for number in 1..=8 {
        let extensions = [
            Image::empty().primary(),
            plane(number).extension("SCI"),
            flags.extension("DQ"),
        ];
        dir.write(format!("jw/{number}.fits"), extensions.concat());
    }
    dir.frame("hot.fits", &flags);
    dir.write("list.txt", "a.fits\n");
    // Not ours, and played by a script that sees what it gets.
    let ds9 = dir.path("bin/ds9");
    let script = "#!/bin/sh\nhead -c 6 | grep -q SIMPLE && cat > /dev/null\n";
    fs::write(&ds9, script).unwrap();
    fs::set_permissions(ds9, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Runs a script of bash as a user would; gives what it said, of both kinds.
#[track_caller]
fn bash(dir: &Scratch, script: &str) -> String {
    let cube = PathBuf::from(env!("CARGO_BIN_EXE_cube"));
    let path = format!(
        "{}:{}:{}",
        dir.path("bin").display(),
        cube.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let whole = format!("set -euo pipefail; exec 2>&1\n{script}\n");
    let output = Command::new("bash")
        .args(["-c", &whole])
        .current_dir(dir.path("."))
        .env("PATH", path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}\n{text}");
    text
}

#[test]
fn every_command_of_the_documents_works() {
    for (document, least) in [
        ("README.md", 5),
        ("docs/guide.md", 8),
        ("docs/python.md", 1),
    ] {
        let dir = observatory();
        if document == "docs/guide.md" {
            dir.ok("append flats.cube flats.fits");
            let spectrum = Image::new(&[9], |k| k as u16);
            let spectrum = spectrum.with("CTYPE1", "'WAVE'").with("CRVAL1", "5.0E-7");
            dir.frame("spectrum.fits", &spectrum);
            dir.ok("append spectra.cube spectrum.fits spectrum.fits spectrum.fits");
        }
        let blocks = blocks(document, "sh");
        assert!(blocks.len() >= least, "{document}");
        for block in blocks {
            for line in block.lines().filter(|line| !line.is_empty()) {
                bash(&dir, line);
            }
        }
    }
}

#[test]
fn what_the_console_shows_is_what_it_shows() {
    let dir = observatory();
    let mut commands = 0;
    for block in blocks("README.md", "console") {
        for part in format!("\n{block}").split("\n$ ").skip(1) {
            let (command, wanted) = part.split_once('\n').unwrap_or((part, ""));
            assert_eq!(
                bash(&dir, command).trim_end(),
                wanted.trim_end(),
                "{command}"
            );
            commands += 1;
        }
    }
    assert!(commands >= 2);
}

#[test]
fn pictures_are_those_that_the_commands_make() {
    let dir = observatory();
    for block in blocks("README.md", "sh") {
        bash(&dir, &block);
    }
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let names: Vec<&str> = text
        .split("](docs/pictures/")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap())
        .collect();
    assert_eq!(names, ["sheet.png", "cleaned.png", "star.png"]);
    for name in names {
        let kept = root().join("docs/pictures").join(name);
        if std::env::var_os("CUBE_BLESS").is_some() {
            fs::copy(dir.path(name), &kept).unwrap();
        }
        assert!(
            fs::read(&kept).unwrap() == dir.read(name),
            "docs/pictures/{name} is not what the commands of README.md make; \
             CUBE_BLESS=1 stores it anew"
        );
    }
}

#[test]
fn the_reader_of_the_python_page_reads_every_golden_cube() {
    let Some(python) = python_with("numpy") else {
        return;
    };
    let dir = observatory();
    let blocks = blocks("docs/python.md", "python");
    dir.write("reader.py", &blocks[0]);
    let script = root().join("tests/it/reader_numpy.py");
    let mut cubes = 0;
    for entry in fs::read_dir(crate::golden::folder()).unwrap() {
        let cube = entry.unwrap().path();
        if cube.extension().is_none_or(|end| end != "cube") {
            continue;
        }
        let output = Command::new(&python)
            .arg(&script)
            .arg(dir.path("reader.py"))
            .args([&cube, &cube.with_extension("json")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", cube.display());
        cubes += 1;
    }
    assert!(cubes >= 11);
    // The other block runs as it stands.
    bash(&dir, "cube append night.cube frames/*.fits");
    dir.write("pipe.py", &blocks[1]);
    let said = bash(&dir, &format!("{} pipe.py", python.to_str().unwrap()));
    assert_eq!(said, "(5, 48, 64)\n");
    if python_with("xarray, zarr, dask.array, fsspec").is_some() {
        bash(&dir, "cube compact night.cube -q");
        bash(&dir, "cube zarr night.cube -o night.zarr");
        bash(&dir, "cube refs night.cube -o night.refs.json");
        dir.write("place.py", &blocks[2]);
        bash(&dir, &format!("{} place.py", python.to_str().unwrap()));
    }
}
