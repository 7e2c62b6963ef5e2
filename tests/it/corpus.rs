//! What was kept of fuzzing, run again: nothing may panic.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// Runs every file of a folder; says how many there were.
fn run(folder: &str, target: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        target(&fs::read(&path).unwrap());
        files += 1;
    }
    files
}

#[test]
fn what_was_kept_of_fuzzing_gives_answers_or_errors() {
    assert!(run("testdata/golden/format-1", targets::cube) > 10);
    assert!(run("testdata/golden/format-2", targets::cube) > 10);
    assert!(run("testdata/frames", targets::fits) > 10);
    assert!(run("testdata/tiff", targets::tiff) >= 5);
    for (folder, target) in [
        ("cube", targets::cube as fn(&[u8])),
        ("metadata", targets::metadata),
        ("fits", targets::fits),
        ("tiff", targets::tiff),
        ("npy", targets::npy),
        ("condition", targets::condition),
        ("section", targets::section),
    ] {
        assert!(
            run(&format!("fuzz/corpus/{folder}"), target) > 5,
            "{folder}"
        );
    }
}
