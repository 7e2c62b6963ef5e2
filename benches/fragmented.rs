//! A cube into which thousands of frames were put one by one, each at another
//! place: what the next one costs, how large the catalog gets, how long it takes
//! to open and to read, and what of that `cube compact` takes away.
//!
//! `CUBE_BENCH_INSERTS` is the number of insertions. Frames are 128 x 128 uint16.
//! Everything that is read is held against the list of frames kept beside.

#![allow(clippy::print_stdout, reason = "a bench prints what it found")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod common;

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use common::{
    Cost, Rival, compare, cost, cube, folder, is_wanted, make_image, noise, rounds, setting, show,
    span,
};
use cube::dtype::DType;
use cube::frames::cards::Cards;
use cube::sinks::Image;

/// Width and height of the frames.
const SIDE: usize = 128;

/// Bytes of a frame.
const BYTES: usize = SIDE * SIDE * 2;

fn main() {
    if !is_wanted() {
        return;
    }
    let count = setting("CUBE_BENCH_INSERTS", 10_000).max(100);
    let folder = folder();
    let path = folder.path().join("it.cube");
    let order = grow(&path, &folder.path().join("next.fits"), count);
    let compacted = folder.path().join("compacted.cube");
    std::fs::copy(&path, &compacted).unwrap();
    let Cost { taken, .. } = cost(cube(&["compact", "--quiet"]).arg(&compacted));
    let size = |path: &Path| path.metadata().unwrap().len() as f64 / 1e6;
    println!(
        "\ncube compact: {}; {:.1} MB before, {:.1} MB after",
        show(taken.as_secs_f64()),
        size(&path),
        size(&compacted)
    );
    for path in [&path, &compacted] {
        agree(path, &order);
    }
    println!("both agree with the list");
    read(folder.path(), &path, &compacted);
}

/// Puts frames in at random places; returns which frame is at each position.
fn grow(path: &Path, frame: &Path, count: usize) -> Vec<usize> {
    println!("insertions of one frame of {SIDE} x {SIDE} uint16, {BYTES} bytes");
    println!(
        "{:>8} {:>10} {:>10} {:>10} {:>11} {:>11} {:>9} {:>8}",
        "to", "min", "median", "most", "mean bytes", "most bytes", "catalog", "pieces"
    );
    let image = Image {
        shape: vec![SIDE as u64; 2],
        dtype: DType::U16,
        blank: None,
        cards: Cards::default(),
    };
    let mut order = Vec::new();
    let mut random = noise(9, 4 * (count + 1)).into_iter();
    let mut costs: Vec<Cost> = Vec::new();
    // 100, 300, 1000, ... insertions: what came since the stop before is told.
    let (mut stop, mut next) = (100, 300);
    for number in 0..count {
        make_image(frame, &image, &noise(number as u64 + 1, BYTES));
        let mut bytes = || usize::from(random.next().unwrap());
        let at = (bytes() << 16 | bytes() << 8 | bytes()) % (number + 1);
        bytes();
        order.insert(at, number);
        let mut command = match number {
            0 => cube(&["append", "--quiet"]),
            _ => cube(&["insert", "--quiet", "--at", &(at + 1).to_string()]),
        };
        costs.push(cost(command.arg(path).arg(frame)));
        if number + 1 == stop || number + 1 == count {
            tell(path, number + 1, &costs);
            costs.clear();
            (stop, next) = (next, stop * 10);
        }
    }
    order
}

fn tell(path: &Path, number: usize, costs: &[Cost]) {
    let mut times: Vec<f64> = costs.iter().map(|cost| cost.taken.as_secs_f64()).collect();
    let (min, median) = span(&mut times);
    let written = costs.iter().map(|cost| cost.written);
    let (pieces, catalog) = state(path);
    println!(
        "{number:>8} {:>10} {:>10} {:>10} {:>11} {:>11} {:>9} {:>8}",
        show(min),
        show(median),
        show(times[times.len() - 1]),
        written.clone().sum::<u64>() / costs.len() as u64,
        written.max().unwrap(),
        catalog,
        pieces
    );
}

/// Pieces of z, and bytes of the catalog.
fn state(path: &Path) -> (usize, u64) {
    use cube::engine::snapshot::Snapshot;
    use cube::storage::file::FileStorage;
    let storage = FileStorage::open(path).unwrap();
    let snapshot = Snapshot::open(std::sync::Arc::new(storage)).unwrap();
    let catalog = snapshot.catalog().encode().unwrap().len() as u64;
    (snapshot.pieces(2).as_slice().len(), catalog)
}

/// Some frames and a profile, held against the list.
fn agree(path: &Path, order: &[usize]) {
    let npy = |words: &[&str]| {
        let mut command = cube(&["slice", "--quiet", "--format", "npy", "-o", "-"]);
        let run = command.arg(path).args(words).output().unwrap();
        assert!(run.status.success(), "{run:?}");
        run.stdout
    };
    for step in 0..=20 {
        let at = step * (order.len() - 1) / 20;
        let found = npy(&["--axis", "x,y", "--at", &(at + 1).to_string()]);
        let expected = noise(order[at] as u64 + 1, BYTES);
        assert!(found.ends_with(&expected), "frame {}", at + 1);
    }
    let (x, y) = (77, 31);
    let found = npy(&["--axis", "z", "--at", &format!("{},{}", x + 1, y + 1)]);
    let at = (y * SIDE + x) * 2;
    let samples = |&number: &usize| noise(number as u64 + 1, BYTES)[at..at + 2].to_vec();
    let expected: Vec<u8> = order.iter().flat_map(samples).collect();
    assert!(found.ends_with(&expected), "the profile");
}

/// The same readings of the cube in pieces and of the compacted one.
fn read(folder: &Path, path: &Path, compacted: &Path) {
    let mut places = String::new();
    for k in 0..100 {
        writeln!(places, "{},{}", k * 89 % SIDE + 1, k * 151 % SIDE + 1).unwrap();
    }
    let at = folder.join("places");
    std::fs::write(&at, places).unwrap();
    let at = at.to_str().unwrap();
    let readings: [(&str, &[&str]); 5] = [
        ("info", &["info"]),
        (
            "frame",
            &["slice", "--axis", "x,y", "--at", "-99", "-o", "-"],
        ),
        ("profile", &["slice", "--axis", "z", "--at", "78,32"]),
        ("100 profiles", &["slice", "--axis", "z", "--at-file", at]),
        ("everything", &["slice", "-o", "-"]),
    ];
    for (name, words) in readings {
        let rival = |title: &str, path: &Path| {
            let mut command: Command = cube(words);
            command.arg(path);
            Rival::command(title, command)
        };
        let mut version = Vec::new();
        if name == "info" {
            version.push(Rival::command("cube --version", cube(&["--version"])));
        }
        version.push(rival("compacted", compacted));
        version.push(rival("in pieces", path));
        compare(name, rounds(9), &mut version);
    }
}
