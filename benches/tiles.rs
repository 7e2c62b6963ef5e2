//! Tiles of several shapes for several kinds of frames: putting frames in, then a frame,
//! a profile and a dry run of `clean`, each from memory and from the disk. Before a cold
//! reading the cube is synced and dropped from memory (`posix_fadvise`). The first
//! shape is the one that `cube` chooses.
//!
//! `CUBE_BENCH_SET` names one of the sets; `CUBE_BENCH_MB` is about what a set holds.

#![allow(clippy::print_stdout, reason = "a bench prints what it found")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};

use common::{Rival, cube, folder, is_wanted, make_image, measure, noise, rounds, setting, time};
use cube::dtype::DType;
use cube::frames::cards::Cards;
use cube::sinks::Image;
use rustix::fs::{Advice, fadvise};

/// Frames of one kind, and shapes to try. An empty shape is the one that is chosen.
struct Set {
    name: &'static str,
    shape: &'static [u64],
    dtype: DType,
    tiles: &'static [&'static str],
}

const SETS: [Set; 8] = [
    Set {
        name: "images",
        shape: &[512, 512],
        dtype: DType::F32,
        tiles: &[
            "",
            "64,64,16",
            "128,128,8",
            "32,32,32",
            "16,16,128",
            "256,256,1",
        ],
    },
    Set {
        name: "shorts",
        shape: &[512, 512],
        dtype: DType::U16,
        tiles: &["", "64,64,64", "128,64,32", "128,128,16", "32,32,64"],
    },
    Set {
        name: "bytes",
        shape: &[512, 512],
        dtype: DType::U8,
        tiles: &["", "64,64,128", "128,128,32", "64,64,64", "32,32,64"],
    },
    Set {
        name: "doubles",
        shape: &[512, 512],
        dtype: DType::F64,
        tiles: &["", "64,64,32", "32,64,32", "32,32,32"],
    },
    Set {
        name: "large",
        shape: &[4096, 4096],
        dtype: DType::U16,
        tiles: &["", "128,128,16", "256,256,8", "512,64,8", "64,64,64"],
    },
    Set {
        name: "small",
        shape: &[32, 32],
        dtype: DType::U16,
        tiles: &["", "32,32,32", "32,32,512", "16,16,512"],
    },
    Set {
        name: "wide",
        shape: &[4096, 64],
        dtype: DType::U16,
        tiles: &["", "256,16,32", "1024,4,32", "64,64,64"],
    },
    Set {
        name: "spectra",
        shape: &[4096],
        dtype: DType::F32,
        tiles: &["", "4096,8", "1024,128", "256,512", "64,2048"],
    },
];

fn main() {
    if !is_wanted() {
        return;
    }
    let only = std::env::var("CUBE_BENCH_SET").ok();
    for set in &SETS {
        if only.as_ref().is_none_or(|only| only == set.name) {
            run(set);
        }
    }
}

fn run(set: &Set) {
    let folder = folder();
    let image = Image {
        shape: set.shape.to_vec(),
        dtype: set.dtype,
        blank: None,
        cards: Cards::default(),
    };
    let samples: u64 = set.shape.iter().product();
    let bytes = usize::try_from(samples).unwrap() * set.dtype.size();
    let count = (setting("CUBE_BENCH_MB", 1000) * 1_000_000 / bytes).clamp(16, 20_000);
    let make = |number: usize| {
        let path = folder.path().join(format!("{number:02}.fits"));
        make_image(&path, &image, &noise(number as u64 + 1, bytes));
        path
    };
    let frames: Vec<PathBuf> = (0..count.min(32)).map(make).collect();
    let list = folder.path().join("list");
    let names = frames.iter().cycle().take(count);
    let names: Vec<&str> = names.map(|name| name.to_str().unwrap()).collect();
    std::fs::write(&list, names.join("\n")).unwrap();
    let path = |number: usize| folder.path().join(format!("{number}.cube"));

    let assemble = |number: usize| {
        let (list, path) = (list.clone(), path(number));
        Rival::new("", move || {
            let _ = std::fs::remove_file(&path);
            let mut append = cube(&["append", "--quiet", "--files-from"]);
            append.arg(&list);
            if !set.tiles[number].is_empty() {
                append.args(["--tile", set.tiles[number]]);
            }
            time(append.arg(&path))
        })
    };
    let reading = |number: usize, words: &[&str], is_cold: bool| {
        let (path, mut command) = (path(number), cube(&words[..1]));
        command.arg("--quiet").arg(&path).args(&words[1..]);
        Rival::new("", move || {
            if is_cold {
                drop_from_memory(&path);
            }
            time(&mut command)
        })
    };
    let middle = (count / 2 + 1).to_string();
    let joined = if set.shape.len() == 1 { "y" } else { "z" };
    let (across, at) = match joined {
        "y" => ("x", format!("{middle},1")),
        _ => ("x,y", middle),
    };
    let profile = match joined {
        "y" => "300,1",
        _ => "31,22",
    };
    let frame = ["slice", "--axis", across, "--at", &at, "-o", "-"];
    let profile = ["slice", "--axis", joined, "--at", profile];
    let clean = ["clean", "--dry-run", "--axis", joined];
    let numbers = 0..set.tiles.len();
    let mut columns = Vec::new();
    let mut rivals: Vec<Rival<'_>> = numbers.clone().map(assemble).collect();
    columns.push(measure(rounds(3), &mut rivals));
    for (words, most) in [(&frame[..], 9), (&profile[..], 9), (&clean[..], 3)] {
        for is_cold in [false, true] {
            let rivals = numbers
                .clone()
                .map(|number| reading(number, words, is_cold));
            columns.push(measure(rounds(most), &mut rivals.collect::<Vec<_>>()));
        }
    }
    println!(
        "\n{}: {count} of {:?} {}; medians in ms",
        set.name, set.shape, set.dtype
    );
    println!(
        "{:<14} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "tile", "assembled", "frame", "cold", "profile", "cold", "clean", "cold"
    );
    for number in numbers {
        let shape = match set.tiles[number] {
            "" => format!("{} *", tile_of(&path(number))),
            given => given.to_string(),
        };
        print!("{shape:<14}");
        for (column, width) in columns.iter().zip([9, 8, 8, 8, 8, 8, 8]) {
            print!(" {:>width$.1}", column[number].1 * 1e3);
        }
        println!();
    }
}

/// The shape that was chosen.
fn tile_of(path: &Path) -> String {
    let output = cube(&["info"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let row = text.lines().find_map(|row| row.trim().strip_prefix("tile"));
    row.unwrap().replace(' ', "").replace('x', ",")
}

fn drop_from_memory(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
}
