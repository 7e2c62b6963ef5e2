//! Parts of a clean or a combine that are worked out by themselves give what one
//! process gives, to the bit.

use std::fs;
use std::process::Command;

use crate::combine::cube;
use crate::support::{Scratch, python_with, read_fits};

/// All samples of a cube as they are stored in an NPY file.
fn samples(dir: &Scratch, cube: &str) -> Vec<u8> {
    dir.ok(&format!("slice {cube} -o samples.npy --overwrite"));
    dir.read("samples.npy")
}

fn make_parts(dir: &Scratch, line: &str, of: usize) -> String {
    let mut names = String::new();
    for number in 1..=of {
        dir.ok(&format!(
            "{line} --part {number}/{of} -o {number}.part --overwrite"
        ));
        names += &format!(" {number}.part");
    }
    names
}

#[test]
fn a_clean_in_parts_is_the_clean_of_one_process() {
    let dir = cube();
    let before = samples(&dir, "a.cube");
    for (options, of) in [
        ("", 1),
        ("--sigma 2 --fill mean", 3),
        ("--sigma 2 --axis y --fill interpolate --grow 1", 4),
        ("--sigma 2 --fill-nan --section [3:15,*,2:8]", 2),
        // More parts than there are columns of tiles.
        ("--sigma 2 --spread mad --min-kept 3", 40),
    ] {
        let report = |run: Vec<u8>| -> serde_json::Value { serde_json::from_slice(&run).unwrap() };
        let whole = report(dir.ok(&format!("clean a.cube {options} --json")).out);
        assert!(whole["rejected"].as_u64().unwrap() > 0, "{options}");
        let expected = samples(&dir, "a.cube");
        assert_ne!(expected, before, "{options}");
        dir.ok("undo a.cube");
        let parts = make_parts(&dir, &format!("clean a.cube {options}"), of);
        assert_eq!(samples(&dir, "a.cube"), before, "parts change nothing");
        let applied = report(dir.ok(&format!("clean a.cube --json --apply{parts}")).out);
        assert_eq!(applied, whole, "{options}");
        assert_eq!(samples(&dir, "a.cube"), expected, "{options}");
        dir.ok("check a.cube --deep");
        dir.ok("undo a.cube");
        assert_eq!(samples(&dir, "a.cube"), before);
    }
}

#[test]
fn a_combine_in_parts_is_the_combine_of_one_process() {
    let dir = cube();
    for (options, of) in [
        ("--method median", 1),
        ("--method mean --reject sigma --sigma 2 --scale median", 3),
        ("--method sum --weight EXPTIME", 2),
        ("--method max --axis x", 4),
        ("--method std --section [2:9,3:3,*] --zero median", 5),
    ] {
        let outputs = "--coverage n.fits --error e.fits --overwrite";
        dir.ok(&format!("combine a.cube {options} -o frame.fits {outputs}"));
        let names = ["frame.fits", "n.fits", "e.fits"];
        let read = || names.map(|name| read_fits(&dir.read(name)).remove(0));
        let whole = read();
        for name in names {
            fs::remove_file(dir.path(name)).unwrap();
        }
        let parts = make_parts(&dir, &format!("combine a.cube {options}"), of);
        dir.ok(&format!(
            "combine a.cube -o frame.fits {outputs} --apply{parts}"
        ));
        for (one, other) in whole.iter().zip(read()) {
            assert_eq!(one.data, other.data, "{options}");
            assert_eq!(one.shape, other.shape, "{options}");
        }
    }
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let dir = cube();
    make_parts(&dir, "clean a.cube --sigma 2", 3);
    dir.ok("combine a.cube --method mean --part 1/1 -o frame.part");
    dir.ok("clean a.cube --sigma 2.5 --part 2/3 -o other.part");
    let before = dir.read("a.cube");
    let fails = |parts: &str, says: &[&str]| {
        dir.cube(&format!("clean a.cube --apply {parts}"))
            .fails(says);
        assert_eq!(dir.read("a.cube"), before, "{parts}");
    };
    fails(
        "1.part 3.part",
        &[
            "part 2 is missing: there are 2 parts of 3",
            "name all parts",
        ],
    );
    fails(
        "1.part 2.part 2.part 3.part",
        &["2.part: is part 2, and so is 2.part"],
    );
    fails(
        "1.part other.part 3.part",
        &["other.part: was made by other options than 1.part"],
    );
    fails(
        "frame.part",
        &["frame.part: is a part of cube combine, not of clean"],
    );
    fails("0.fits", &["0.fits: is not a part", "--part"]);
    fails("none.part", &["none.part: cannot open"]);
    dir.cube("combine a.cube -o x.fits --apply 1.part 2.part 3.part")
        .fails(&["is a part of cube clean, not of combine"]);
    assert!(!dir.exists("x.fits"));
    let part = dir.read("2.part");
    for (at, says) in [
        (30, "checksum"),
        (part.len() - 5, "checksum"),
        (3, "is not a part"),
    ] {
        let mut bad = part.clone();
        bad[at] ^= 4;
        dir.write("bad.part", bad);
        fails("1.part bad.part 3.part", &["bad.part", says]);
    }
    for len in [20, 300, part.len() - 1] {
        dir.write("bad.part", &part[..len]);
        fails(
            "1.part bad.part 3.part",
            &["bad.part", "the part is cut short"],
        );
    }
    for line in [
        "--sigma 4",
        "--axis x",
        "--part 1/2 -o y",
        "--dry-run",
        "--mask m.fits",
    ] {
        let line = format!("clean a.cube {line} --apply 1.part 2.part 3.part");
        assert_eq!(dir.cube(&line).status, 2, "{line}");
    }
    let run = dir.cube("clean a.cube --part 0/3 -o y").ends(2);
    assert!(run.err.contains("1/8 is the first of eight parts"));
    // Once they are applied, the cube is another.
    dir.ok("clean a.cube --apply 3.part 2.part 1.part");
    dir.cube("clean a.cube --apply 1.part 2.part 3.part")
        .fails(&[
            "1.part: was made from generation 1 of the cube, which now is at 2",
            "make the parts again",
        ]);
    dir.ok("undo a.cube");
}

#[test]
fn parts_are_applied_where_the_number_of_threads_is_set_for_all() {
    let dir = cube();
    dir.ok("clean a.cube --part 1/1 -o c.part");
    dir.ok("combine a.cube --method mean --part 1/1 -o m.part");
    for line in [
        "combine a.cube --apply m.part -o m.fits",
        "clean a.cube --apply c.part",
    ] {
        let mut command = dir.command();
        command.env("CUBE_JOBS", "2").env("CUBE_MEMORY", "100M");
        assert!(
            command.args(line.split(' ')).status().unwrap().success(),
            "{line}"
        );
    }
}

#[test]
fn xargs_runs_parts_beside_each_other() {
    let dir = cube();
    dir.ok("combine a.cube --method median -o whole.fits");
    let script =
        "seq 3 | xargs -P 2 -I N \"$CUBE\" combine a.cube --method median --part N/3 -o N.part -q";
    let status = Command::new("sh")
        .args(["-c", script])
        .env("CUBE", env!("CARGO_BIN_EXE_cube"))
        .current_dir(dir.path("."))
        .status();
    assert!(status.unwrap().success());
    dir.ok("combine a.cube -o frame.fits --apply 1.part 2.part 3.part");
    let data = |name: &str| read_fits(&dir.read(name)).remove(0).data;
    assert_eq!(data("whole.fits"), data("frame.fits"));
}

/// Four parts on a cluster of two worker processes.
const DASK: &str = "
import subprocess, sys
from dask.distributed import Client, LocalCluster

def part(cube, number, of):
    name = f'{number}.part'
    subprocess.run([cube, 'clean', 'a.cube', '--sigma', '2', '--part', f'{number}/{of}', '-o', name, '-q'],
                   check=True)
    return name

if __name__ == '__main__':
    cube = sys.argv[1]
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            parts = client.gather([client.submit(part, cube, n, 4) for n in range(1, 5)])
    subprocess.run([cube, 'clean', 'a.cube', '--apply', *parts], check=True)
";

#[test]
fn dask_runs_parts_in_its_workers() {
    let Some(python) = python_with("dask.distributed") else {
        return;
    };
    let dir = cube();
    dir.ok("clean a.cube --sigma 2");
    let expected = samples(&dir, "a.cube");
    dir.ok("undo a.cube");
    dir.write("parts.py", DASK);
    let output = Command::new(python)
        .arg("parts.py")
        .arg(env!("CARGO_BIN_EXE_cube"))
        .current_dir(dir.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(samples(&dir, "a.cube"), expected);
}
