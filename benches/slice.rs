//! Cuts through 2,000 frames that are in memory, as whole processes: profiles,
//! a frame, everything. Beside them what the system asks for as many bytes.

#![allow(clippy::print_stdout, reason = "a bench prints what it found")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod common;

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use common::{Rival, compare, cube, folder, is_wanted, make_frames, rounds, setting, time};
use cube::dtype::DType;

/// Width and height of the frames.
const SIDE: usize = 256;

fn main() {
    if !is_wanted() {
        return;
    }
    let count = setting("CUBE_BENCH_FRAMES", 2000).max(1);
    let folder = folder();
    // A frame may be named more than once: what is in it does not matter here.
    let frames = make_frames(folder.path(), count.min(50), SIDE, DType::F32);
    let path = folder.path().join("it.cube");
    let all = frames.iter().cycle().take(count);
    time(cube(&["append", "--quiet"]).arg(&path).args(all));

    let mut places = String::new();
    for k in 0..100 {
        let (x, y) = (k * 89 % SIDE + 1, k * 151 % SIDE + 1);
        writeln!(places, "{x},{y}").unwrap();
    }
    let at = folder.path().join("places");
    std::fs::write(&at, places).unwrap();
    let mut many = cube(&["slice", "--quiet", "--axis", "z"]);
    many.arg(&path).arg("--at-file").arg(&at);
    let mut many_npy = cube(&["slice", "--quiet", "--format", "npy", "--axis", "z"]);
    many_npy.arg(&path).args(["-o", "-"]);
    many_npy.arg("--at-file").arg(&at);
    let title = format!("profiles through {count} frames");
    compare(
        &title,
        rounds(15),
        &mut [
            Rival::command("cube --version", cube(&["--version"])),
            Rival::command("1 profile", cut(&path, &["--axis", "z", "--at", "120,45"])),
            Rival::command("100 profiles", many),
            Rival::command("100 profiles as NumPy", many_npy),
        ],
    );
    let middle = (count / 2 + 1).to_string();
    compare(
        "one frame",
        rounds(15),
        &mut [
            Rival::command("cat of its file", cat(&frames[0])),
            Rival::command(
                "cube slice --axis x,y",
                cut(&path, &["--axis", "x,y", "--at", &middle, "-o", "-"]),
            ),
        ],
    );
    compare(
        "everything",
        rounds(7),
        &mut [
            Rival::command("cat of the cube", cat(&path)),
            Rival::command("cube slice", cut(&path, &["-o", "-"])),
        ],
    );
}

fn cut(path: &Path, words: &[&str]) -> Command {
    let mut command = cube(&["slice", "--quiet"]);
    command.arg(path).args(words);
    command
}

fn cat(path: &Path) -> Command {
    let mut command = Command::new("cat");
    command.arg(path);
    command
}
