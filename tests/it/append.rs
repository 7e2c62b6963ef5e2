//! `cube append`: where frames go, how they are named, and what a failed plan leaves.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::support::{Image, Scratch, bits, finish};

/// Sample `k` of frame `number` is a value that no other sample has.
fn frame(number: i16, shape: &[u64]) -> Image {
    Image::new(shape, |k| number * 100 + k as i16)
}

/// The samples of frame `number`.
fn of(number: i16, count: i16) -> Vec<i16> {
    (0..count).map(|k| number * 100 + k).collect()
}

/// A folder with frames `1.fits` to `n.fits` of 3 x 2.
fn with_frames(n: i16) -> Scratch {
    let dir = Scratch::new();
    for number in 1..=n {
        dir.frame(&format!("{number}.fits"), &frame(number, &[3, 2]));
    }
    dir
}

#[test]
fn the_first_call_makes_the_cube_and_later_ones_grow_it() {
    let dir = with_frames(3);
    let run = dir.ok("append a.cube 1.fits");
    assert_eq!(
        run.err,
        "a.cube: 1 frame added (12 B); the cube is 3 x 2 x 1\n"
    );
    assert_eq!(run.out, b"");
    let first = dir.info("a.cube");
    dir.ok("append a.cube 2.fits 3.fits")
        .says(&["2 frames added", "3 x 2 x 3"]);
    assert_eq!(dir.shape("a.cube"), [3, 2, 3]);
    let expected = [of(1, 6), of(2, 6), of(3, 6)].concat();
    assert_eq!(dir.samples::<i16>("a.cube"), expected);
    let later = dir.info("a.cube");
    assert!(first["generation"].as_u64() < later["generation"].as_u64());
    assert_eq!(dir.names(), ["1.fits", "2.fits", "3.fits", "a.cube"]);
}

#[test]
fn frames_may_be_named_in_lists_and_on_standard_input() {
    let dir = with_frames(6);
    dir.write("list", "# the night\n2.fits\r\n\n3.fits\n");
    dir.write("more", "4.fits");
    dir.write("zero", b"5.fits\x006.fits\0");
    let expected: Vec<i16> = (1..=6).flat_map(|number| of(number, 6)).collect();

    dir.ok("append a.cube 1.fits @list --files-from more");
    dir.cube_fed("append a.cube -0 --files-from -", &dir.read("zero"))
        .ends(0);
    assert_eq!(dir.samples::<i16>("a.cube"), expected);

    dir.cube_fed(
        "append b.cube --files-from -",
        b"1.fits\n2.fits\n3.fits\n4.fits\n5.fits\n6.fits\n",
    )
    .ends(0);
    assert_eq!(dir.samples::<i16>("b.cube"), expected);

    dir.ok("append c.cube 1.fits @list @more");
    dir.ok("append c.cube -0 --files-from zero");
    assert_eq!(dir.samples::<i16>("c.cube"), expected);
}

#[test]
fn a_name_given_twice_is_two_frames() {
    let dir = with_frames(1);
    dir.ok("append a.cube 1.fits 1.fits");
    assert_eq!(dir.samples::<i16>("a.cube"), [of(1, 6), of(1, 6)].concat());
}

#[test]
fn a_name_may_hold_any_byte_but_zero_and_a_slash() {
    let dir = Scratch::new();
    let names: [&[u8]; 5] = [
        b"a b.fits",
        b"new\nline.fits",
        b"latin-\xe9.fits",
        b"a[1:2].fits(x).fits",
        b"-dash.fits",
    ];
    let mut list = Vec::new();
    for (number, name) in (1..).zip(names) {
        let name = std::ffi::OsStr::from_bytes(name);
        dir.write(name, frame(number, &[3, 2]).primary());
        list.extend(name.as_bytes());
        list.push(0);
    }
    dir.cube_fed("append a.cube -0 --files-from -", &list)
        .ends(0);
    let expected: Vec<i16> = (1..=5).flat_map(|number| of(number, 6)).collect();
    assert_eq!(dir.samples::<i16>("a.cube"), expected);

    dir.write("@at.fits", frame(7, &[3, 2]).primary());
    dir.ok("append b.cube ./@at.fits");
    assert_eq!(dir.samples::<i16>("b.cube"), of(7, 6));
}

#[test]
fn spectra_stack_on_y_images_on_z_and_blocks_join_along_their_last_axis() {
    // Rank of the frames, shape of one, shape of the cube after two.
    let cases: [(&[u64], &[u64]); 7] = [
        (&[6], &[6, 2, 1]),
        (&[6, 1], &[6, 2, 1]),
        (&[3, 2], &[3, 2, 2]),
        (&[3, 2, 1], &[3, 2, 2]),
        (&[3, 2, 2], &[3, 2, 4]),
        (&[2, 1, 3, 2], &[2, 1, 3, 4]),
        (&[2, 3, 1, 2], &[2, 3, 1, 4]),
    ];
    for (shape, expected) in cases {
        let dir = Scratch::new();
        let count = shape.iter().product::<u64>() as i16;
        dir.frame("1.fits", &frame(1, shape));
        dir.frame("2.fits", &frame(2, shape));
        dir.ok("append a.cube 1.fits 2.fits");
        assert_eq!(dir.shape("a.cube"), expected, "{shape:?}");
        let found = dir.samples::<i16>("a.cube");
        assert_eq!(found, [of(1, count), of(2, count)].concat(), "{shape:?}");
    }
}

#[test]
fn a_spectrum_is_joined_by_its_next_segment_on_x() {
    let dir = Scratch::new();
    dir.frame("1.fits", &frame(1, &[4]));
    dir.frame("2.fits", &frame(2, &[3]));
    dir.ok("append a.cube --axis x 1.fits 2.fits");
    assert_eq!(dir.shape("a.cube"), [7, 1, 1]);
    assert_eq!(dir.samples::<i16>("a.cube"), [of(1, 4), of(2, 3)].concat());
}

#[test]
fn a_strip_joins_an_image_on_the_side() {
    let dir = Scratch::new();
    dir.frame("1.fits", &frame(1, &[3, 2]));
    dir.frame("strip.fits", &frame(2, &[1, 2]));
    dir.ok("append a.cube 1.fits");
    dir.ok("append a.cube --axis x strip.fits");
    assert_eq!(dir.shape("a.cube"), [4, 2, 1]);
    assert_eq!(
        dir.samples::<i16>("a.cube"),
        [100, 101, 102, 200, 103, 104, 105, 201]
    );
    dir.frame("row.fits", &frame(3, &[4]));
    dir.ok("append a.cube --axis 2 row.fits");
    assert_eq!(dir.shape("a.cube"), [4, 3, 1]);
    assert_eq!(
        dir.samples::<i16>("a.cube --section *,3,*"),
        [300, 301, 302, 303]
    );
}

#[test]
fn a_strip_beside_a_deep_cube_fills_one_plane_and_leaves_pad_behind() {
    let dir = with_frames(2);
    dir.frame("strip.fits", &frame(3, &[1, 2]));
    dir.ok("append a.cube 1.fits 2.fits");
    dir.ok("append a.cube --axis x strip.fits");
    assert_eq!(dir.shape("a.cube"), [4, 2, 2]);
    assert_eq!(
        dir.samples::<i16>("a.cube --section 4,*,*"),
        [300, 301, i16::MIN, i16::MIN]
    );
    dir.ok("append a.cube --axis x --origin 1,1,2 strip.fits");
    assert_eq!(
        dir.samples::<i16>("a.cube --section 5,*,*"),
        [i16::MIN, i16::MIN, 300, 301]
    );
    assert_eq!(
        dir.samples::<i16>("a.cube --section 1:3,*,*"),
        [of(1, 6), of(2, 6)].concat(),
        "what was there is as it was"
    );
}

#[test]
fn images_stack_on_any_axis_they_do_not_have() {
    for (axis, shape) in [
        ("w", vec![3, 2, 1, 2]),
        ("5", vec![3, 2, 1, 1, 2]),
        ("s", vec![3, 2, 1, 1, 1, 1, 1, 2]),
    ] {
        let dir = with_frames(2);
        dir.ok(&format!("append a.cube --axis {axis} 1.fits 2.fits"));
        assert_eq!(dir.shape("a.cube"), shape, "{axis}");
        assert_eq!(dir.samples::<i16>("a.cube"), [of(1, 6), of(2, 6)].concat());
    }
}

#[test]
fn frames_may_go_before_everything() {
    let dir = with_frames(4);
    dir.ok("append a.cube 3.fits 4.fits");
    dir.ok("append a.cube --before 1.fits 2.fits");
    let expected: Vec<i16> = (1..=4).flat_map(|number| of(number, 6)).collect();
    assert_eq!(dir.samples::<i16>("a.cube"), expected);
    let info = dir.info("a.cube");
    assert_eq!(info["axes"][2]["pieces"], 2, "nothing was moved");
    dir.frame("strip.fits", &frame(9, &[1, 2]));
    dir.ok("append a.cube --before --axis x strip.fits");
    assert_eq!(dir.shape("a.cube"), [4, 2, 4]);
    assert_eq!(
        dir.samples::<i16>("a.cube --section *,*,1"),
        [900, 100, 101, 102, 901, 103, 104, 105]
    );
}

#[test]
fn the_image_is_the_first_one_or_the_one_named() {
    let dir = Scratch::new();
    let mut file = Image::empty().primary();
    file.extend(crate::support::table("LOG", 5));
    file.extend(frame(1, &[3, 2]).extension("SCI"));
    file.extend(frame(2, &[3, 2]).extension("DQ"));
    file.extend(frame(3, &[3, 2]).with("EXTVER", "2").extension("SCI"));
    dir.write("a.fits", file);
    for (options, number) in [
        ("", 1),
        ("--hdu 2", 1),
        ("--hdu 3", 2),
        ("--hdu dq", 2),
        ("--hdu SCI,2", 3),
    ] {
        let _ = fs::remove_file(dir.path("a.cube"));
        dir.ok(&format!("append a.cube {options} a.fits"));
        assert_eq!(dir.samples::<i16>("a.cube"), of(number, 6), "{options}");
    }
}

#[test]
fn one_bad_input_among_good_ones_changes_nothing() {
    let dir = with_frames(3);
    dir.frame("float.fits", &Image::new(&[3, 2], |k| k as f32));
    let whole = frame(9, &[3, 2]).primary();
    dir.write("short.fits", &whole[..2880 + 5]);
    dir.ok("append a.cube 1.fits");
    let before = dir.read("a.cube");
    for bad in ["none.fits", "float.fits", "short.fits"] {
        dir.cube(&format!("append a.cube 2.fits {bad} 3.fits"))
            .fails(&[bad]);
        assert_eq!(dir.read("a.cube"), before, "{bad}");
        dir.cube(&format!("append new.cube 2.fits {bad} 3.fits"))
            .fails(&[bad]);
        assert!(!dir.exists("new.cube"), "{bad}");
    }
    dir.cube("append a.cube 2.fits none.fits float.fits")
        .fails(&["none.fits", "1 other input", "--skip-bad"]);
    assert_eq!(dir.read("a.cube"), before);
    assert_eq!(
        dir.names(),
        [
            "1.fits",
            "2.fits",
            "3.fits",
            "a.cube",
            "float.fits",
            "short.fits"
        ]
    );
}

#[test]
fn skip_bad_leaves_bad_inputs_out_and_names_each() {
    let dir = with_frames(3);
    dir.frame("float.fits", &Image::new(&[3, 2], |k| k as f32));
    dir.cube("append a.cube --skip-bad 1.fits none.fits 2.fits float.fits 3.fits")
        .ends(3)
        .says(&[
            "cube: none.fits: ",
            "cube: float.fits: holds float32, but the cube holds int16",
            "3 frames added, 2 left out",
        ]);
    let expected = [of(1, 6), of(2, 6), of(3, 6)].concat();
    assert_eq!(dir.samples::<i16>("a.cube"), expected);
    let before = dir.read("a.cube");
    dir.cube("append a.cube --skip-bad none.fits")
        .fails(&["none.fits"]);
    assert_eq!(dir.read("a.cube"), before);
}

#[test]
fn a_frame_that_is_refused_says_nothing_about_a_new_cube() {
    let dir = Scratch::new();
    let blank = |value: i32| format!("BLANK   = {value:20}");
    let wide = Image::new(&[4, 4], |k| k as i32).with_card(blank(-99));
    dir.frame("wide.fits", &wide);
    let narrow = || Image::new(&[4, 4], |k| k as i16);
    dir.frame("none.fits", &narrow());
    dir.frame("zero.fits", &narrow().with_card(blank(0)));
    for (frames, pad, has) in [
        ("none.fits", -32768, None),
        ("zero.fits none.fits", 0, Some(0)),
    ] {
        dir.cube(&format!(
            "append a.cube --dtype int16 --skip-bad wide.fits {frames}"
        ))
        .ends(3)
        .says(&["wide.fits: holds int32, but the cube holds int16"]);
        let info = dir.info("a.cube");
        assert_eq!(info["pad"], pad, "{frames}");
        assert_eq!(info["blank"].as_i64(), has, "{frames}");
        std::fs::remove_file(dir.path("a.cube")).unwrap();
    }
    dir.cube("append a.cube --dtype int16 wide.fits none.fits")
        .fails(&["wide.fits", "a cube of --dtype int32 holds all of them"]);
}

#[test]
fn skip_bad_makes_no_gap_for_a_frame_that_turns_out_bad_while_it_is_read() {
    // A damaged gzip checksum shows only at the end of the samples.
    let dir = with_frames(3);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &frame(9, &[3, 2]).primary()).unwrap();
    let mut packed = packed.finish().unwrap();
    let check = packed.len() - 8;
    packed[check] ^= 1;
    dir.write("bad.fits.gz", packed);
    dir.cube("append a.cube --skip-bad 1.fits bad.fits.gz 2.fits")
        .ends(3)
        .says(&["cube: bad.fits.gz: ", "2 frames added, 1 left out"]);
    assert_eq!(dir.shape("a.cube"), [3, 2, 2]);
    assert_eq!(dir.samples::<i16>("a.cube"), [of(1, 6), of(2, 6)].concat());
    dir.ok("append a.cube 3.fits");
    assert_eq!(
        dir.samples::<i16>("a.cube"),
        [of(1, 6), of(2, 6), of(3, 6)].concat()
    );
    let run = dir.cube("append new.cube --skip-bad bad.fits.gz");
    assert!(!run.err.contains("--skip-bad"), "{}", run.err);
    run.fails(&[
        "cube: bad.fits.gz: ",
        "new.cube: none of 1 input can be used",
    ]);
    assert!(!dir.exists("new.cube"));
    dir.cube("append a.cube --resume --skip-bad 1.fits bad.fits.gz")
        .ends(3)
        .says(&[
            "0 frames added, 1 there already, 1 left out",
            "the cube is 3 x 2 x 3",
        ]);
    let before = dir.samples::<i16>("a.cube");
    dir.cube("append a.cube bad.fits.gz")
        .fails(&["bad.fits.gz", "gzip"]);
    assert_eq!(dir.samples::<i16>("a.cube"), before);
}

#[test]
fn gzipped_frames_are_read_as_what_is_inside() {
    let dir = with_frames(1);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &dir.read("1.fits")).unwrap();
    dir.write("1.fits.gz", packed.finish().unwrap());
    dir.ok("append a.cube 1.fits.gz");
    assert_eq!(dir.samples::<i16>("a.cube"), of(1, 6));
}

#[test]
fn frames_must_agree_on_the_axis_they_join() {
    let dir = with_frames(1);
    dir.frame("spectrum.fits", &frame(2, &[3]));
    dir.cube("append a.cube 1.fits spectrum.fits").fails(&[
        "spectrum.fits: ",
        "would join y",
        "the first frame joins z",
        "hint: --axis",
    ]);
    assert!(!dir.exists("a.cube"));
    dir.ok("append a.cube --axis z 1.fits spectrum.fits");
    let pad = i16::MIN;
    assert_eq!(
        dir.samples::<i16>("a.cube --section *,*,2"),
        [200, 201, 202, pad, pad, pad]
    );
}

#[test]
fn every_command_is_one_generation_and_says_itself_in_the_history() {
    let dir = with_frames(5);
    dir.ok("append a.cube 1.fits");
    let first = dir.info("a.cube")["generation"].as_u64().unwrap();
    dir.ok("append a.cube 2.fits 3.fits 4.fits");
    let info = dir.info("a.cube");
    assert_eq!(info["generation"], first + 1);
    assert_eq!(info["command"]["verb"], "append");
    assert_eq!(
        info["command"]["line"],
        "cube append a.cube 2.fits 3.fits 4.fits"
    );
    assert_eq!(info["command"]["frames"], 3);
    assert_eq!(info["command"]["bytes"], 36);
    let time = info["command"]["time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.starts_with("20"), "{time}");
    dir.cube("append a.cube none.fits").ends(1);
    dir.ok("append a.cube --before 5.fits");
    assert_eq!(dir.info("a.cube")["generation"], first + 2);
}

#[test]
fn frames_of_other_shapes_are_told() {
    let dir = Scratch::new();
    for (k, (name, shape)) in
        (1..).zip([("a", [4, 3]), ("b", [4, 3]), ("c", [2, 2]), ("d", [8, 6])])
    {
        dir.frame(name, &frame(k, &shape));
    }
    let run = dir.ok("append n.cube a b");
    assert_eq!(
        run.err,
        "n.cube: 2 frames added (48 B); the cube is 4 x 3 x 2\n"
    );
    let run = dir.ok("append n.cube b c d");
    let told =
        "3 frames added, 2 smaller than the cube (128 B); the cube is 8 x 6 x 5, was 4 x 3 x 2";
    assert_eq!(run.err, format!("n.cube: {told}\n"));
    dir.ok("append n.cube --origin 9,1 a").says(&[
        "1 frame added, 1 smaller than the cube",
        "12 x 6 x 6, was 8 x 6 x 5",
    ]);
}

#[test]
fn the_shape_of_tiles_can_be_given_and_changes_no_sample() {
    let dir = Scratch::new();
    for number in 1..=3 {
        dir.frame(
            &format!("{number}.fits"),
            &Image::new(&[13, 9], |k| number * 1000 + k as i16),
        );
    }
    let expected: Vec<i16> = (1..=3i16)
        .flat_map(|number| (0..117).map(move |k| number * 1000 + k))
        .collect();
    for (tile, shown) in [
        ("5,4,2", [5, 4, 2]),
        ("1,1,1", [1, 1, 1]),
        ("64,64", [64, 64, 1]),
        ("1000", [1000, 1, 1]),
    ] {
        let _ = fs::remove_file(dir.path("a.cube"));
        dir.ok(&format!("append a.cube --tile {tile} 1.fits 2.fits"));
        dir.ok("append a.cube 3.fits");
        let info = dir.info("a.cube");
        assert_eq!(info["tile"], serde_json::json!(shown));
        assert_eq!(dir.samples::<i16>("a.cube"), expected, "{tile}");
    }
    dir.cube("append a.cube --tile 64,64 1.fits").fails(&[
        "cube: a.cube: the cube's tiles are 1000 x 1 x 1, not 64 x 64 x 1",
        "hint: --tile is for a new cube",
    ]);
    dir.cube("append huge.cube --tile 100000,100000 1.fits")
        .fails(&[]);
    assert!(!dir.exists("huge.cube"));
}

#[test]
fn nothing_but_the_outcome_is_said_when_stderr_is_no_terminal() {
    let dir = with_frames(2);
    let run = dir.ok("append a.cube 1.fits");
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert!(!run.err.contains(['\r', '\u{1b}']));
    let run = dir.ok("append --quiet a.cube 2.fits");
    assert_eq!((run.err.as_str(), run.out()), ("", ""));
    dir.cube("append -q a.cube none.fits").fails(&["none.fits"]);
}

#[test]
fn only_the_frames_shape_moves_the_end_of_the_file() {
    // Growing costs what is added: nothing in the file is written twice.
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::new(&[256, 256], |k| k as f32));
    dir.ok("append a.cube --tile 64,64,1 1.fits");
    let before = dir.read("a.cube");
    dir.ok("append a.cube 1.fits");
    let after = dir.read("a.cube");
    let frame_bytes = 256 * 256 * 4;
    let grown = after.len() - before.len();
    assert!(
        (frame_bytes..frame_bytes + 64 * 1024).contains(&grown),
        "{grown}"
    );
    // Superblocks and index entries apart, the old bytes are as they were.
    let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert!(changed < 8192, "{changed} bytes changed");
}

#[test]
fn standard_output_may_be_closed() {
    let dir = with_frames(1);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = dir.command();
    command.args(["append", "a.cube", "1.fits"]).stdout(writer);
    let run = finish(command.spawn().unwrap());
    assert_eq!(run.status, 0, "{}", run.err);
    assert_eq!(bits(&dir.samples::<i16>("a.cube")), bits(&of(1, 6)));
}

#[test]
fn what_was_done_comes_as_json() {
    let dir = Scratch::new();
    for number in 1..=3u8 {
        dir.frame(&format!("{number}.fits"), &Image::new(&[3, 2], |_| number));
    }
    dir.write("bad.fits", "no image");
    let report = |line: &str, status: i32| -> serde_json::Value {
        let run = dir.cube(line).ends(status);
        serde_json::from_slice(&run.out).unwrap()
    };
    let first = report("append a.cube --json 1.fits 2.fits", 0);
    let expected = serde_json::json!({
        "frames": 2, "added": ["1.fits", "2.fits"], "bytes": 12, "present": 0, "deleted": 0, "left_out": 0, "bad": [], "shape": [3, 2, 2],
        "was": null, "smaller": 0, "axis": "z", "created": true, "stopped": null,
    });
    assert_eq!(first, expected);
    let again = report(
        "append a.cube --json --resume --skip-bad bad.fits 1.fits 2.fits 3.fits",
        3,
    );
    assert_eq!(again["frames"], 1);
    assert_eq!(again["present"], 2);
    assert_eq!(again["added"], serde_json::json!(["3.fits"]));
    assert_eq!(again["bad"][0]["file"], "bad.fits");
    let why = again["bad"][0]["why"].as_str().unwrap();
    assert!(!why.is_empty() && !why.contains("bad.fits"), "{why}");
    assert_eq!(again["shape"], serde_json::json!([3, 2, 3]));
    // A glob within another names the same files again.
    dir.frame("4.fits", &Image::new(&[3, 2], |_| 4u8));
    let twice = report(
        "append a.cube --json --resume . ./3.fits 4.fits 4.fits --skip-bad",
        3,
    );
    assert_eq!(
        (&twice["frames"], &twice["present"]),
        (&1.into(), &3.into())
    );
    // What never began has no report.
    dir.cube("append a.cube --json bad.fits")
        .fails(&["bad.fits"]);
}

#[test]
fn another_file_of_the_same_name_is_told() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::new(&[3, 2], |_| 1u8));
    dir.ok("append a.cube 1.fits");
    dir.frame("1.fits", &Image::new(&[3, 2], |_| 2u8));
    dir.ok("append a.cube --resume 1.fits").says(&[
        "1 frame added",
        "is not the frame of that name that the cube has",
    ]);
    // One hint is enough, whatever is wrong with many.
    for number in 2..=3 {
        let image = Image::new(&[3, 2], |_| -1i64);
        dir.frame(&format!("{number}.fits"), &image);
    }
    let run = dir
        .cube("append a.cube --skip-bad 1.fits 2.fits 3.fits")
        .ends(3);
    let lines = |head: &str| {
        run.err
            .lines()
            .filter(|line| line.starts_with(head))
            .count()
    };
    assert_eq!((lines("cube: "), lines("hint: ")), (2, 1), "{}", run.err);
}

#[test]
fn bad_inputs_are_named_also_when_all_are_and_it_is_quiet() {
    let dir = with_frames(1);
    dir.write("empty.fits", b"");
    dir.ok("append a.cube 1.fits");
    let before = dir.read("a.cube");
    for quiet in ["", "-q "] {
        dir.cube(&format!(
            "append a.cube {quiet}--skip-bad none.fits empty.fits"
        ))
        .fails(&[
            "cube: none.fits: cannot open",
            "cube: empty.fits: the file is empty",
            "a.cube: none of 2 inputs can be used",
        ]);
        assert_eq!(dir.read("a.cube"), before);
    }
    let run = dir
        .cube("append new.cube --json --skip-bad none.fits")
        .ends(1);
    let report: serde_json::Value = serde_json::from_slice(&run.out).unwrap();
    assert_eq!(report["bad"].as_array().unwrap().len(), 1);
    assert!(!dir.exists("new.cube"));
}

/// Edges and depth of tiles that are not filled take disk.
#[test]
fn small_frames_get_tiles_of_their_size() {
    let dir = Scratch::new();
    for (shape, n, options, tile) in [
        (vec![40, 40], 3, "", [40, 40, 16, 1]),
        (vec![40, 40], 70, "", [40, 40, 64, 1]),
        (vec![150, 150], 3, "", [56, 56, 8, 1]),
        (vec![1024, 70], 40, "", [96, 40, 32, 1]),
        (vec![4, 3], 3, "", [4, 3, 2048, 1]),
        (vec![300], 12, "", [152, 128, 1, 1]),
        (vec![4096], 1000, "", [256, 512, 1, 1]),
        (vec![40, 40, 30], 3, "--axis w", [40, 40, 16, 4]),
        (vec![64, 64, 30], 1, "--axis w", [64, 64, 16, 2]),
    ] {
        dir.frame("f.fits", &Image::new(&shape, |k| k as f32));
        dir.write("list", "f.fits\n".repeat(n));
        dir.ok(&format!("append a.cube {options} @list"));
        let info = dir.info("a.cube");
        let mut found: Vec<u64> = serde_json::from_value(info["tile"].clone()).unwrap();
        found.resize(4, 1);
        assert_eq!(found, tile, "{n} of {shape:?}");
        std::fs::remove_file(dir.path("a.cube")).unwrap();
    }
}

#[test]
fn a_section_of_a_damaged_gzipped_frame_is_refused() {
    let dir = Scratch::new();
    let image = Image::new(&[600, 600], |k| (k.wrapping_mul(2_654_435_761) >> 7) as u16);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &image.primary()).unwrap();
    let good = packed.finish().unwrap();
    let mut bad = good.clone();
    bad[60_000] ^= 4;
    dir.write("good.fits.gz", &good);
    dir.write("bad.fits.gz", &bad);
    dir.write("cut.fits.gz", &good[..good.len() - 100_000]);
    dir.frame("plain.fits", &image);
    for section in ["[*,1:400]", "[1:10,1:100]", "[*,-*]", "[*:7,500:-500]", ""] {
        for name in ["bad", "cut"] {
            let frame = format!("{name}.fits.gz{section}");
            dir.cube(&format!("append a.cube {frame}"))
                .fails(&[&format!("{name}.fits.gz")]);
            assert!(!dir.exists("a.cube"), "{frame}");
        }
    }
    for section in ["[*,1:400]", "[1:10,1:100]", "[*,-*]"] {
        dir.ok(&format!("append g.cube good.fits.gz{section}"));
        dir.ok(&format!("append p.cube plain.fits{section}"));
        assert_eq!(dir.samples::<u16>("g.cube"), dir.samples::<u16>("p.cube"));
    }
}

#[test]
fn a_deleted_frame_does_not_come_back_by_resume() {
    let dir = with_frames(4);
    dir.ok("append a.cube 1.fits 2.fits 3.fits");
    dir.ok("delete a.cube --at 2");
    let run = dir.ok("append a.cube --resume --json 1.fits 2.fits 3.fits 4.fits");
    assert!(
        run.err
            .contains("1 frame added, 2 there already, 1 deleted before"),
        "{}",
        run.err
    );
    let report: serde_json::Value = serde_json::from_slice(&run.out).unwrap();
    assert_eq!(
        (&report["present"], &report["deleted"]),
        (&2.into(), &1.into())
    );
    let expected = [of(1, 6), of(3, 6), of(4, 6)].concat();
    assert_eq!(dir.samples::<i16>("a.cube"), expected);
    // One that was put in again stands for the file.
    dir.ok("insert a.cube --at 2 2.fits");
    let run = dir.ok("append a.cube --resume 1.fits 2.fits 3.fits 4.fits");
    assert!(
        run.err.contains("0 frames added, 4 there already;")
            || run.err.contains("0 frames added, 4 there already ("),
        "{}",
        run.err
    );
    dir.ok("undo a.cube");
    dir.ok("undo a.cube");
    dir.ok("undo a.cube");
    let run = dir.ok("append a.cube --resume 1.fits 2.fits 3.fits");
    assert!(run.err.contains("3 there already"), "{}", run.err);
    // What compact forgot is another frame.
    dir.ok("delete a.cube --at 2");
    dir.ok("compact a.cube");
    let run = dir.ok("append a.cube --resume 1.fits 2.fits 3.fits");
    assert!(
        run.err.contains("1 frame added, 2 there already"),
        "{}",
        run.err
    );
}

#[test]
fn frames_that_have_the_samples_of_another_are_told_of() {
    let dir = with_frames(3);
    for (from, to) in [("2", "copy"), ("3", "twin"), ("3", "again")] {
        std::fs::copy(
            dir.path(format!("{from}.fits")),
            dir.path(format!("{to}.fits")),
        )
        .unwrap();
    }
    dir.frame("zero.fits", &Image::new(&[3, 2], |_| 0i16));
    std::fs::copy(dir.path("zero.fits"), dir.path("zero2.fits")).unwrap();
    dir.ok("append a.cube 1.fits 2.fits");
    let run = dir.ok("append a.cube --resume 2.fits copy.fits 3.fits twin.fits again.fits");
    run.says(&[
        "warning: copy.fits: has the samples and the header of 2.fits, and 2 other frames came twice, too",
        "4 frames added, 1 there already",
    ]);
    dir.ok("append b.cube 1.fits 1.fits")
        .says(&["warning: 1.fits: came in twice\n"]);
    // Of another header it is another frame; without one too little is known.
    dir.frame("other.fits", &frame(2, &[3, 2]).with("NIGHT", "2"));
    let raw = dir.samples::<i16>("b.cube --axis x,y --at 1");
    let raw: Vec<u8> = raw.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    dir.write("1.raw", &raw);
    dir.write("2.raw", &raw);
    for line in ["2.fits other.fits", "--raw 3x2,int16 1.raw 2.raw"] {
        let run = dir.ok(&format!("append c.cube {line}"));
        assert!(!run.err.contains("warning"), "{}", run.err);
    }
    // Without --resume what is in the cube is not looked at.
    let run = dir.ok("append a.cube 1.fits zero.fits zero2.fits");
    assert!(!run.err.contains("samples of"), "{}", run.err);
}

#[test]
fn another_file_of_the_same_name_size_and_time_is_told_by_its_header() {
    let dir = Scratch::new();
    let night = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    for k in 1..=2u8 {
        let folder = format!("n{k}");
        std::fs::create_dir(dir.path(&folder)).unwrap();
        let image = Image::new(&[3, 2], |_| i16::from(k)).with("NIGHT", &k.to_string());
        dir.frame(&format!("{folder}/f.fits"), &image);
        let file = std::fs::File::open(dir.path(format!("{folder}/f.fits"))).unwrap();
        file.set_modified(night).unwrap();
        let mut command = dir.command();
        command.current_dir(dir.path(&folder));
        let line = ["append", "../a.cube", "--resume", "f.fits"];
        assert!(command.args(line).status().unwrap().success());
    }
    assert_eq!(dir.samples::<i16>("a.cube"), [[1; 6], [2; 6]].concat());
}
