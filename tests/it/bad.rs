//! `--bad` of `cube combine`, and what is a mask: `cube clean` with masks is in `clean.rs`.

use std::fs;

use crate::combine::cube;
use crate::support::{Image, Scratch, median, peak_of, read_fits};

/// A mask of 20 x 11 x `planes`: not 0 in one sample of five.
fn mask(planes: u64) -> (Image, Vec<u8>) {
    let marks: Vec<u8> = (0..220 * planes)
        .map(|k| u8::from((k.wrapping_mul(2_654_435_761) >> 11).is_multiple_of(5)))
        .collect();
    (Image::of(&[20, 11, planes], &marks), marks)
}

/// Positions of an axis, from 0.
fn positions(first: i64, last: i64, step: usize) -> Vec<usize> {
    let ahead = (first..=last).step_by(step);
    let back = (last..=first).rev().step_by(step);
    ahead
        .chain(back.filter(|_| last < first))
        .map(|at| at as usize - 1)
        .collect()
}

/// Holds a median along z of these positions against its definition.
#[track_caller]
fn hold(dir: &Scratch, line: &str, at: [&[usize]; 3], is_bad: &dyn Fn(usize) -> bool) {
    let samples = dir.samples::<f32>("a.cube");
    let run = dir.ok(&format!(
        "combine a.cube --method median -o m.fits --coverage n.fits --overwrite {line}"
    ));
    let found = read_fits(&dir.read("m.fits")).remove(0).samples::<f32>();
    let counts = read_fits(&dir.read("n.fits")).remove(0).samples::<i32>();
    let mut left_out = 0;
    let places = at[1].iter().flat_map(|y| at[0].iter().map(move |x| (x, y)));
    for (k, (x, y)) in places.enumerate() {
        let numbers = at[2].iter().map(|z| (z * 11 + y) * 20 + x);
        let data: Vec<usize> = numbers.filter(|&at| !samples[at].is_nan()).collect();
        let good = data.iter().filter(|&&at| !is_bad(at));
        let line: Vec<f64> = good.map(|&at| samples[at].into()).collect();
        left_out += data.len() - line.len();
        assert_eq!(counts[k] as usize, line.len(), "{k}");
        let expected = if line.is_empty() {
            f64::NAN
        } else {
            median(&line)
        };
        let found = f64::from(found[k]);
        assert!(
            (found - expected).abs() <= 1e-6 * expected || found.is_nan() && expected.is_nan(),
            "{line:?}: {k} is {found}, expected {expected}"
        );
    }
    assert_eq!(found.len(), at[0].len() * at[1].len());
    run.says(&[&format!("; {left_out} samples bad by a mask")]);
}

#[test]
fn bad_samples_are_left_out_whatever_part_is_combined() {
    let dir = cube();
    let (rays, bad) = mask(9);
    let (hot, static_bad) = mask(1);
    dir.frame("rays.fits", &rays);
    dir.frame(
        "hot.fits",
        &Image {
            shape: vec![20, 11],
            ..hot
        },
    );
    dir.ok("append rays.cube --tile 8,4,2 --axis y rays.fits[*,4:11,*]");
    dir.ok("append rays.cube --axis y --before rays.fits[*,1:3,*]");
    let (x, y, z) = (positions(1, 20, 1), positions(1, 11, 1), positions(1, 9, 1));
    let whole: [&[usize]; 3] = [&x, &y, &z];
    let is_ray = |at: usize| bad[at] != 0;
    let is_hot = |at: usize| static_bad[at % 220] != 0;
    for mask in ["rays.fits", "rays.cube", "rays.cube --memory 16M --jobs 3"] {
        hold(&dir, &format!("--bad {mask}"), whole, &is_ray);
    }
    hold(&dir, "--bad hot.fits", whole, &is_hot);
    hold(&dir, "--bad rays.cube --bad hot.fits", whole, &|at| {
        is_ray(at) || is_hot(at)
    });
    let (x, y, z) = (positions(19, 3, 4), positions(10, 2, 1), positions(2, 9, 2));
    let part: [&[usize]; 3] = [&x, &y, &z];
    let section = "--section 19:3:4,10:2,2:9:2";
    for mask in ["rays.fits", "rays.cube"] {
        hold(&dir, &format!("{section} --bad {mask}"), part, &is_ray);
    }
    hold(&dir, &format!("{section} --bad hot.fits"), part, &is_hot);
    // A mask of the part itself, as a clean of it writes.
    dir.ok("slice rays.cube --section 19:3:4,10:2,2:9:2 -o part.fits");
    hold(&dir, &format!("{section} --bad part.fits"), part, &is_ray);
    dir.ok("slice rays.cube --section 19:3:4,10:2,2 -o plane.fits");
    hold(&dir, &format!("{section} --bad plane.fits"), part, &|at| {
        is_ray(220 + at % 220)
    });
    // Frames that are left out leave their masks out.
    let chosen = "--where EXPTIME!=4.5 --where EXPTIME!=6.5";
    let (x, y, z) = (
        positions(1, 20, 1),
        positions(1, 11, 1),
        [0, 1, 2, 4, 6, 7, 8],
    );
    for mask in ["rays.fits", "rays.cube"] {
        hold(
            &dir,
            &format!("{chosen} --bad {mask}"),
            [&x, &y, &z],
            &is_ray,
        );
    }
    let section = "--section *,-*,7:2:2";
    let part: [&[usize]; 3] = [&x, &positions(11, 1, 1), &[8, 6, 2]];
    hold(
        &dir,
        &format!("{chosen} {section} --bad rays.cube"),
        part,
        &is_ray,
    );
}

#[test]
fn levels_are_those_of_good_samples() {
    let dir = Scratch::new();
    dir.frame("a.fits", &Image::of(&[3, 1], &[1u16, 2, 9]));
    dir.frame("b.fits", &Image::of(&[3, 1], &[10u16, 20, 99]));
    dir.ok("append a.cube --axis z a.fits b.fits");
    dir.frame("bad.fits", &Image::of(&[3, 1, 2], &[0u8, 0, 1, 0, 1, 1]));
    for (options, expected) in [
        ("--zero median", [1.5, 2.0]),
        ("--scale median", [1.5, 2.0]),
        ("", [10.0, 2.0]),
    ] {
        let line = format!("combine a.cube --method max --bad bad.fits {options}");
        dir.ok(&format!("{line} -o m.fits --overwrite"));
        let found = read_fits(&dir.read("m.fits")).remove(0).samples::<f32>();
        assert_eq!(found[..2], expected, "{options}");
        assert!(found[2].is_nan());
    }
}

#[test]
fn rays_that_a_clean_would_find_are_those_that_a_combination_rejects() {
    let dir = cube();
    for options in [
        "--sigma 2",
        "--sigma 2 --section 3:18,2:9,2:9",
        "--sigma 1.5 --where EXPTIME!=4.5 --section 3:18:2,9:2,8:1",
    ] {
        dir.ok(&format!(
            "clean a.cube --dry-run {options} --mask rays.fits --overwrite"
        ));
        let combine = format!("combine a.cube --method mean {options} --overwrite");
        dir.ok(&format!(
            "{combine} --reject sigma -o a.fits --coverage n.fits"
        ));
        dir.ok(&format!(
            "{combine} --bad rays.fits -o b.fits --coverage o.fits"
        ));
        for (one, other) in [("a.fits", "b.fits"), ("n.fits", "o.fits")] {
            let [one, other] = [one, other].map(|name| read_fits(&dir.read(name)).remove(0).data);
            assert_eq!(one, other, "{options}");
        }
    }
}

#[test]
fn extensions_of_flags_are_masks_and_bits_of_them_are_chosen() {
    let dir = Scratch::new();
    let mut names = String::new();
    for number in 0..4i16 {
        let science = Image::of(&[4, 1], &[10 + number; 4]);
        // Bit 15 of int16 is its sign.
        let flags = [0, 1 << number, 0x1001 * (number / 3), i16::MIN + number];
        let bytes = [
            Image::empty().primary(),
            science.extension("SCI"),
            Image::of(&[4, 1], &flags).extension("DQ"),
        ];
        dir.write(format!("{number}.fits"), bytes.concat());
        names += &format!(" {number}.fits");
    }
    dir.ok(&format!("append sci.cube --hdu SCI{names}"));
    dir.ok(&format!("append dq.cube --hdu DQ{names}"));
    for (bits, counts) in [
        ("", [4, 0, 3, 0]),
        ("--bad-bits 1", [4, 3, 3, 2]),
        ("--bad-bits 0x1000", [4, 4, 3, 4]),
        ("--bad-bits 0x8000", [4, 4, 4, 0]),
        ("--bad-bits 6", [4, 2, 4, 2]),
    ] {
        let line = format!("combine sci.cube --method median --bad dq.cube {bits}");
        dir.ok(&format!("{line} -o m.fits --coverage n.fits --overwrite"));
        let found = read_fits(&dir.read("n.fits")).remove(0).samples::<i32>();
        assert_eq!(found, counts, "{bits}");
    }
    // One extension is for all frames.
    dir.ok("combine sci.cube --method mean --bad 3.fits[DQ] --bad-bits 9 -o m.fits --overwrite");
    let found = read_fits(&dir.read("m.fits")).remove(0).samples::<f32>();
    assert_eq!(found[0], 11.5);
    assert!(found[1..].iter().all(|sample| sample.is_nan()), "{found:?}");
}

#[test]
fn what_says_nothing_is_not_bad() {
    let dir = Scratch::new();
    dir.frame("a.fits", &Image::of(&[5, 1], &[1i16; 5]));
    dir.ok("append a.cube --axis z a.fits a.fits");
    let counts = |mask: &str| {
        dir.ok(&format!(
            "combine a.cube --method sum --bad {mask} -o m.fits --coverage n.fits --overwrite"
        ));
        read_fits(&dir.read("n.fits")).remove(0).samples::<i32>()
    };
    let floats = [0.0, -0.0, f32::NAN, 1e-40, f32::INFINITY];
    dir.frame("float.fits", &Image::of(&[5, 1], &floats));
    assert_eq!(counts("float.fits"), [2, 2, 0, 0, 0]);
    let blank = Image::of(&[5, 1], &[0i16, -1, 3, 0, 3]).with("BLANK", "3");
    dir.frame("blank.fits", &blank);
    assert_eq!(counts("blank.fits"), [2, 0, 2, 2, 2]);
    // Of void nobody knows, be it NaN or the least value.
    for (name, image) in [
        ("f", Image::of(&[2, 1], &[1.0f32, 0.0])),
        ("i", Image::of(&[2, 1], &[1i16, 0])),
    ] {
        dir.frame("part.fits", &image);
        dir.ok(&format!(
            "append {name}.cube --origin 4,1 --axis z part.fits part.fits"
        ));
        assert_eq!(counts(&format!("{name}.cube")), [2, 2, 2, 0, 2]);
    }
}

#[test]
fn a_map_of_hot_pixels_mends_every_frame_from_its_own_row() {
    let dir = Scratch::new();
    let row = |z: u64, x: u64| (100 * z + 10 * x) as u16 + if x == 3 { 5000 } else { 0 };
    dir.frame("a.fits", &Image::new(&[9, 4, 6], |k| row(k / 36, k % 9)));
    dir.frame("hot.fits", &Image::new(&[9, 4], |k| u8::from(k % 9 == 3)));
    dir.ok("append night.cube a.fits");
    let run = dir.ok("clean night.cube --bad hot.fits --sigma inf");
    run.says(&[
        "warning: a mask is the same at all positions of z",
        "--axis names another axis",
        "4 lines left as they are",
        "the cube is as it was",
    ]);
    let line = "clean night.cube --axis x --bad hot.fits --sigma inf --fill interpolate";
    dir.ok(line)
        .says(&["24 samples of 216 replaced along x", ", 24 bad by a mask"]);
    let found = dir.samples::<u16>("night.cube");
    let expected: Vec<u16> = (0..216)
        .map(|k| (100 * (k / 36) + 10 * (k % 9)) as u16)
        .collect();
    assert_eq!(found, expected);
    dir.ok("undo night.cube");
    // What is not computed takes nothing.
    dir.ok("clean night.cube --bad hot.fits --sigma inf --fill 1 --report")
        .shows(&["# rejected 24 of 216 samples, 24 bad by a mask, in 4 of 36 lines"]);
}

#[test]
fn parts_have_masks_of_their_own() {
    let dir = cube();
    let (rays, _) = mask(9);
    dir.frame("rays.fits", &rays);
    let mut others = rays;
    others.data[77] ^= 1;
    dir.frame("others.fits", &others);
    fs::copy(dir.path("rays.fits"), dir.path("copy.fits")).unwrap();
    let before = dir.read("a.cube");
    for (line, apply) in [
        ("clean a.cube --fill 5", "clean a.cube"),
        (
            "combine a.cube --method mean -o m.npy --overwrite",
            "combine a.cube -o m.npy --overwrite",
        ),
    ] {
        let result = || {
            if line.starts_with("clean") {
                dir.ok("slice a.cube -o m.npy --overwrite");
                // To undo it would be another commit, which the parts are not of.
                dir.write("a.cube", &before);
            }
            dir.read("m.npy")
        };
        dir.ok(&format!("{line} --bad rays.fits"));
        let whole = result();
        let part = |mask: &str, part: &str, name: &str| {
            let line = line.split(" -o ").next().unwrap();
            dir.ok(&format!(
                "{line} --bad {mask} --part {part} -o {name} --overwrite"
            ));
        };
        part("rays.fits", "1/2", "1.part");
        for mask in ["others.fits", "rays.fits --bad-bits 1"] {
            part(mask, "2/2", "2.part");
            dir.cube(&format!("{apply} --apply 1.part 2.part"))
                .fails(&["2.part: was made by other options than 1.part"]);
        }
        for mask in ["rays.fits", "copy.fits"] {
            part(mask, "2/2", "2.part");
            dir.ok(&format!("{apply} --apply 1.part 2.part"));
            assert_eq!(result(), whole, "{line}");
        }
    }
}

#[test]
fn memory_is_bounded_by_masks_as_large_as_the_cube() {
    let dir = Scratch::new();
    let sample = |k: u64| ((k.wrapping_mul(2_654_435_761) >> 7) % 1000) as i16;
    dir.frame("a.fits", &Image::new(&[512, 512, 16], sample));
    dir.frame(
        "bad.fits",
        &Image::new(&[512, 512, 16], |k| f64::from(u8::from(k % 3 == 0))),
    );
    dir.ok("append a.cube a.fits");
    dir.ok("append bad.cube bad.fits");
    let mut results = Vec::new();
    for (mask, memory) in [("bad.fits", "16M"), ("bad.cube", "16M"), ("bad.fits", "1G")] {
        let line = format!("clean a.cube --bad {mask} --sigma inf --memory {memory}");
        let peak = peak_of(&dir, &line);
        assert!(peak < 80 << 20 || memory == "1G", "{peak}");
        results.push(dir.samples::<i16>("a.cube"));
        dir.ok("undo a.cube");
    }
    assert!(results.iter().all(|result| result == &results[0]));
    assert!(results[0] != dir.samples::<i16>("a.cube"));
}

#[test]
fn what_cannot_be_a_mask_is_refused() {
    let dir = cube();
    dir.frame("float.fits", &Image::new(&[20, 11], |k| k as f32));
    dir.frame("byte.fits", &Image::new(&[20, 11], |k| k as u8));
    dir.frame("small.fits", &Image::new(&[20, 10], |_| 1u8));
    dir.write("text.txt", "what it is\n");
    dir.write("nothing.fits", "");
    dir.ok("append empty.cube byte.fits");
    dir.ok("delete empty.cube --at 1");
    let before = dir.read("a.cube");
    for (line, says) in [
        ("--bad none.fits", &["none.fits: cannot open"][..]),
        ("--bad .", &[".: is a directory"]),
        ("--bad -", &["a mask is not read from standard input"]),
        ("--bad text.txt", &["text.txt: is not a frame"]),
        ("--bad nothing.fits", &["nothing.fits: "]),
        (
            "--bad small.fits",
            &[
                "small.fits: is 20 x 10 x 1, but the cube is 20 x 11 x 9",
                "a mask is",
            ],
        ),
        (
            "--bad empty.cube",
            &["empty.cube: is 20 x 11 x 0, but the cube"],
        ),
        (
            "--bad small.fits --section 1:3,*,*",
            &["the cube is 20 x 11 x 9, and its part 3 x 11 x 9"],
        ),
        (
            "--bad float.fits --bad-bits 1",
            &["float.fits: is float32", "--bad-bits is for"],
        ),
        (
            "--bad byte.fits --bad-bits 0x100",
            &["byte.fits: is uint8", "--bad-bits"],
        ),
    ] {
        dir.cube(&format!("clean a.cube {line}")).fails(says);
        dir.cube(&format!("combine a.cube --method mean -o x.fits {line}"))
            .fails(says);
    }
    for line in [
        "--bad-bits 1",
        "--bad byte.fits --bad-bits 0",
        "--bad byte.fits --bad-bits 0xg",
    ] {
        assert_eq!(
            dir.cube(&format!("clean a.cube {line}")).status,
            2,
            "{line}"
        );
    }
    assert_eq!(dir.read("a.cube"), before);
    assert!(!dir.exists("x.fits"));
}

#[test]
fn a_mask_whose_frames_stand_elsewhere_is_told_of() {
    let dir = Scratch::new();
    for k in 1..=4u8 {
        let file = [
            Image::empty().primary(),
            Image::new(&[6, 5], |_| f32::from(k)).extension("SCI"),
            Image::new(&[6, 5], |at| u8::from(at == u64::from(k))).extension("DQ"),
        ];
        dir.write(format!("{k}.fits"), file.concat());
    }
    dir.ok("append sci.cube --hdu SCI 1.fits 2.fits 3.fits 4.fits");
    dir.ok("append dq.cube --hdu DQ 1.fits 2.fits 3.fits 4.fits");
    let line = "combine sci.cube --bad dq.cube --method mean -o m.fits --overwrite";
    let said = |options: &str| dir.ok(&format!("{line} {options}")).err;
    assert!(!said("").contains("warning"));
    assert!(!said("--section [*,*,2:3]").contains("warning"));
    dir.ok("move sci.cube --from 4 --to 1");
    let expected = "dq.cube: its position 1 of z came from 1.fits, which is at 2 in the cube \
                    (and 3 other frames are elsewhere): a mask goes by position, not by name";
    let said = said("");
    assert!(said.contains(expected), "{said}");
    dir.ok("clean sci.cube --bad dq.cube --dry-run")
        .says(&[expected]);
    dir.ok("move dq.cube --from 4 --to 1");
    assert!(!dir.ok(line).err.contains("warning"));
    // Files of other names say nothing of their order.
    dir.ok("append other.cube --hdu SCI 1.fits 2.fits 3.fits 4.fits");
    for k in 1..=4 {
        fs::copy(
            dir.path(format!("{k}.fits")),
            dir.path(format!("mask{}.fits", 5 - k)),
        )
        .unwrap();
    }
    dir.ok("append masks.cube --hdu DQ mask1.fits mask2.fits mask3.fits mask4.fits");
    let run = dir.ok("combine other.cube --bad masks.cube --method mean -o m.fits --overwrite");
    assert!(!run.err.contains("warning"), "{}", run.err);
}
