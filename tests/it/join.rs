//! Cubes made on several machines, joined: tiles come over as they stand.

use crate::support::{Image, Scratch};

/// Samples of a frame of 40 x 20: every one is another.
fn frame(number: u16) -> Image {
    Image::new(&[40, 20], move |k| number * 800 + k as u16)
}

/// `frames` as FITS files, and a cube of them with tiles of 16 x 16 x 4: the last of
/// each row and column are not full.
fn part(dir: &Scratch, cube: &str, frames: std::ops::Range<u16>) -> String {
    let names: Vec<String> = frames.clone().map(|n| format!("f{n:02}.fits")).collect();
    for (name, number) in names.iter().zip(frames) {
        dir.frame(name, &frame(number).with("NUMBER", &number.to_string()));
    }
    let names = names.join(" ");
    dir.ok(&format!("append {cube} --tile 16,16,4 {names}"));
    names
}

#[test]
fn cubes_join_as_their_frames_would() {
    let dir = Scratch::new();
    let first = part(&dir, "a.cube", 0..11);
    let second = part(&dir, "b.cube", 11..24);
    // What is written in pieces and out of order lines up here and there.
    dir.ok("insert b.cube --at 5 f00.fits");
    dir.ok("delete b.cube --at 9");
    let mut names: Vec<&str> = second.split(' ').collect();
    names.insert(4, "f00.fits");
    names.remove(8);
    let second = names.join(" ");

    dir.ok("append night.cube f03.fits --tile 16,16,4");
    dir.ok("append night.cube a.cube b.cube");
    dir.ok("insert night.cube --at 3 b.cube");
    dir.ok(&format!(
        "append plain.cube --tile 16,16,4 f03.fits {first} {second}"
    ));
    dir.ok(&format!("insert plain.cube --at 3 {second}"));
    let all = |cube: &str| dir.samples::<u16>(&format!("{cube} --section *,*,*"));
    assert!(all("night.cube") == all("plain.cube"));
    let frames = |cube: &str| {
        let frames = dir.ok(&format!("info --frames --json {cube}"));
        serde_json::from_str::<serde_json::Value>(frames.out()).unwrap()
    };
    assert_eq!(frames("night.cube"), frames("plain.cube"));
    dir.ok("check --deep night.cube");
    // In other tiles, in another type: by way of samples.
    for how in ["--tile 8,8,8", "--dtype float32"] {
        dir.ok(&format!("append other.cube {how} a.cube"));
        dir.ok(&format!("append same.cube {how} {first}"));
        let cut = |cube: &str| dir.cut(&format!("{cube} --section *,*,* ")).data.clone();
        assert!(cut("other.cube") == cut("same.cube"), "{how}");
        dir.ok("check --deep other.cube");
        std::fs::remove_file(dir.path("other.cube")).unwrap();
        std::fs::remove_file(dir.path("same.cube")).unwrap();
    }
}

#[test]
fn a_new_cube_has_the_tiles_of_the_one_it_is_made_of() {
    let dir = Scratch::new();
    part(&dir, "a.cube", 0..5);
    dir.ok("append b.cube a.cube");
    assert_eq!(dir.info("b.cube")["tile"], serde_json::json!([16, 16, 4]));
    // Tiles that were made for one type are no good for another.
    dir.ok("append c.cube --dtype float64 a.cube");
    assert_ne!(dir.info("c.cube")["tile"], serde_json::json!([16, 16, 4]));
}

#[test]
fn damage_in_a_source_is_found_in_what_it_was_joined_to() {
    let dir = Scratch::new();
    part(&dir, "a.cube", 0..8);
    let mut bytes = dir.read("a.cube");
    let row: Vec<u8> = (0..16)
        .flat_map(|k| (6 * 800 + k as u16).to_le_bytes())
        .collect();
    let at = bytes
        .windows(row.len())
        .position(|bytes| bytes == row)
        .unwrap();
    bytes[at] ^= 1;
    dir.write("a.cube", &bytes);
    dir.ok("append night.cube a.cube");
    let check = dir.cube("check --deep night.cube").ends(1);
    check.shows(&["f06.fits"]);
}

#[test]
fn what_was_cleaned_comes_over_clean() {
    let dir = Scratch::new();
    for number in 0..9u16 {
        let image = Image::new(&[32, 32], move |k| match (number, k) {
            (4, 100) => 60_000,
            _ => 1000 + (k as u16 * 7 + number * 3) % 5,
        });
        dir.frame(&format!("f{number}.fits"), &image);
    }
    let names: Vec<String> = (0..9).map(|n| format!("f{n}.fits")).collect();
    dir.ok(&format!("append a.cube --tile 16,16,4 {}", names.join(" ")));
    dir.ok("clean a.cube --sigma 2.5");
    let all = |cube: &str| dir.samples::<u16>(&format!("{cube} --section *,*,*"));
    let cleaned = all("a.cube");
    assert!(!cleaned.contains(&60_000));
    dir.ok("append b.cube a.cube");
    assert_eq!(all("b.cube"), cleaned);
    dir.ok("check --deep b.cube");
    dir.ok("compact a.cube");
    assert_eq!(all("a.cube"), cleaned);
    dir.ok("check --deep a.cube");
}

#[test]
fn cubes_with_and_without_a_mask_join() {
    let dir = Scratch::new();
    let sample = |number: u64| {
        move |k: u64| {
            if k.is_multiple_of(7) {
                f32::NAN
            } else {
                (number + k) as f32
            }
        }
    };
    for number in 0..6 {
        let image = Image::new(&[40, 20], sample(800 * number));
        dir.frame(&format!("{number}.fits"), &image);
    }
    dir.frame("small.fits", &Image::new(&[9, 33], sample(1)));
    for cube in ["a.cube", "b.cube"] {
        dir.ok(&format!(
            "append {cube} --tile 16,16,4 0.fits 1.fits 2.fits small.fits"
        ));
        dir.ok(&format!("append {cube} 3.fits 4.fits 5.fits"));
    }
    let bits =
        |cube: &str| crate::support::bits(&dir.samples::<f32>(&format!("{cube} --section *,*,*")));
    let one = bits("a.cube");
    dir.ok("compact b.cube");
    assert!(bits("b.cube") == one);
    // Stored XORed with NaN from samples as they are, and the other way.
    for (first, second) in [("a.cube", "b.cube"), ("b.cube", "a.cube")] {
        std::fs::copy(dir.path(first), dir.path("both.cube")).unwrap();
        dir.ok(&format!("append both.cube {second}"));
        assert!(bits("both.cube") == [&one[..], &one].concat(), "{first}");
        dir.ok("check --deep both.cube");
        dir.ok("compact both.cube");
        assert!(bits("both.cube") == [&one[..], &one].concat(), "{first}");
        dir.ok("check --deep both.cube");
    }
}

#[test]
fn spectral_cubes_that_follow_each_other_are_told_of() {
    let dir = Scratch::new();
    for (k, begin) in (0..4u64).zip(["4750.0", "4750.0", "4750.0", "5000"]) {
        let image = Image::new(&[3, 2, 5], |at| (at + 100 * k) as f32);
        let image = image
            .with("CTYPE3", "'WAVE'")
            .with("CRVAL3", begin)
            .with("CDELT3", "50.");
        dir.frame(&format!("{k}.fits"), &image);
    }
    let note = "1.fits: its z begins where that of the first frame does, by CRVAL3, and is put behind \
                it; --axis w lays such frames beside each other; so it is with 1 other frame";
    dir.ok("append z.cube 0.fits 1.fits 2.fits 3.fits")
        .says(&[note]);
    for line in ["w.cube --axis w 0.fits 1.fits", "z.cube 0.fits 3.fits"] {
        let run = dir.ok(&format!("append {line}"));
        assert!(!run.err.contains("begins where"), "{}", run.err);
    }
}
