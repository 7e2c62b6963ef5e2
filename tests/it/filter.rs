//! `cube append --where`: which frames come in, and what is said of the others.

use crate::support::{Image, Run, Scratch, Stored};

/// Frames `1.fits` to `6.fits` of 3 x 2: R, V, R, V, R, V; 10, 20, .. 60 seconds;
/// all samples are the frame's number, but the last of frame 5 is NaN.
fn night() -> Scratch {
    let dir = Scratch::new();
    for number in 1..=6u8 {
        let last = if number == 5 { f32::NAN } else { number.into() };
        let sample = |k| if k == 5 { last } else { number.into() };
        let filter = if number % 2 == 1 {
            "'R       '"
        } else {
            "'V       '"
        };
        let image = Image::new(&[3, 2], sample)
            .with("FILTER", filter)
            .with("EXPTIME", &format!("{number}0.0"))
            .with("DATE-OBS", &format!("'2024-05-0{number}T23:00:00'"))
            .with("GOOD", if number == 6 { "F" } else { "T" })
            .with_card(format!("HIERARCH ESO DET ID = 'CCD {number}'"));
        dir.frame(&format!("{number}.fits"), &image);
    }
    dir
}

const ALL: [&str; 6] = ["1.fits", "2.fits", "3.fits", "4.fits", "5.fits", "6.fits"];

#[track_caller]
fn append(dir: &Scratch, cube: &str, conditions: &[&str], frames: &[&str]) -> Run {
    let mut arguments = vec!["append", cube];
    for condition in conditions {
        arguments.extend(["--where", condition]);
    }
    arguments.extend(frames);
    dir.cube_args(arguments)
}

/// The first sample of every frame.
#[track_caller]
fn first<T: Stored>(dir: &Scratch, cube: &str) -> Vec<T> {
    dir.samples(&format!("{cube} --axis z --at 1,1"))
}

#[test]
fn only_frames_that_meet_every_condition_come_in() {
    let dir = night();
    let cases: [(&[&str], &[f32]); 13] = [
        (&["FILTER == 'R'"], &[1.0, 3.0, 5.0]),
        (&["EXPTIME >= 30"], &[3.0, 4.0, 5.0, 6.0]),
        (&["FILTER == 'R'", "EXPTIME >= 30"], &[3.0, 5.0]),
        (&["FILTER == 'R' and EXPTIME >= 30 and nan == 0"], &[3.0]),
        (&["filter ~ '[QR]*' or exptime = 60"], &[1.0, 3.0, 5.0, 6.0]),
        (&["not (FILTER == 'R' or EXPTIME < 30)"], &[4.0, 6.0]),
        (
            &["DATE-OBS >= '2024-05-03' && DATE-OBS < '2024-05-05'"],
            &[3.0, 4.0],
        ),
        (&["ESO.DET.ID == 'CCD 4'"], &[4.0]),
        (&["`ESO DET ID` == \"CCD 4\""], &[4.0]),
        (&["!GOOD"], &[6.0]),
        (&["nan > 0"], &[5.0]),
        (&["mean > 2 and max <= 4", "std == 0"], &[3.0, 4.0]),
        (&["median == 5 or min == 1"], &[1.0, 5.0]),
    ];
    for (number, (conditions, expected)) in cases.into_iter().enumerate() {
        let cube = format!("{number}.cube");
        let run = append(&dir, &cube, conditions, &ALL);
        run.ends(0)
            .says(&[&format!("{} did not pass --where", 6 - expected.len())]);
        assert_eq!(first::<f32>(&dir, &cube), expected, "{conditions:?}");
    }
}

#[test]
fn what_did_not_pass_is_counted_and_the_status_stays_0() {
    let dir = night();
    let run = append(&dir, "a.cube", &["EXPTIME > 20"], &ALL).ends(0);
    assert_eq!(
        run.err,
        "a.cube: 4 frames added, 2 did not pass --where (96 B); the cube is 3 x 2 x 4\n"
    );
    let run = append(&dir, "b.cube", &["EXPTIME > 0"], &ALL).ends(0);
    assert_eq!(
        run.err,
        "b.cube: 6 frames added (144 B); the cube is 3 x 2 x 6\n"
    );
}

#[test]
fn when_no_frame_passes_nothing_is_made_or_changed() {
    let dir = night();
    let run = append(&dir, "a.cube", &["EXPTIME > 1000"], &ALL).ends(0);
    assert_eq!(
        run.err,
        "a.cube: 0 frames added, 6 did not pass --where (0 B); no cube was made\n"
    );
    assert_eq!(dir.names(), ALL);

    dir.ok("append a.cube 1.fits 2.fits");
    let before = dir.read("a.cube");
    append(&dir, "a.cube", &["EXPTIME > 1000"], &ALL)
        .ends(0)
        .says(&["0 frames added, 6 did not pass --where", "3 x 2 x 2"]);
    assert_eq!(dir.read("a.cube"), before);
}

#[test]
fn a_frame_that_does_not_pass_is_not_bad_whatever_it_holds() {
    let dir = night();
    let other = Image::new(&[3, 2, 4], |k| k as i64).with("FILTER", "'none'");
    dir.frame("other.fits", &other);
    // It comes first, yet the cube gets neither its type nor its axis.
    let frames = ["other.fits", "1.fits", "3.fits"];
    append(&dir, "a.cube", &["FILTER == 'R'"], &frames)
        .ends(0)
        .says(&["2 frames added, 1 did not pass"]);
    assert_eq!(first::<f32>(&dir, "a.cube"), [1.0, 3.0]);
    append(&dir, "a.cube", &["FILTER == 'none'"], &frames).fails(&["other.fits: holds int64"]);
}

#[test]
fn an_input_that_cannot_be_read_is_bad_with_a_condition_too() {
    let dir = night();
    dir.write("bad.fits", "no image");
    let frames = ["1.fits", "bad.fits", "2.fits"];
    append(&dir, "a.cube", &["FILTER == 'R'"], &frames).fails(&["bad.fits: "]);
    let run = append(
        &dir,
        "a.cube",
        &["FILTER == 'R'"],
        &["--skip-bad", "1.fits", "bad.fits", "2.fits"],
    );
    run.ends(3)
        .says(&["1 frame added, 1 did not pass --where, 1 left out"]);
}

#[test]
fn blank_samples_are_left_out_of_what_is_measured_and_counted_by_nan() {
    let dir = Scratch::new();
    for (name, samples) in [
        ("1.fits", [-1i16, 4, 8, 6]),
        ("2.fits", [-1; 4]),
        ("3.fits", [1; 4]),
    ] {
        dir.frame(name, &Image::of(&[2, 2], &samples).with("BLANK", "-1"));
    }
    let frames = ["1.fits", "2.fits", "3.fits"];
    let passing = |cube: &str, condition: &str| {
        append(&dir, cube, &[condition], &frames).ends(0);
        dir.samples::<i16>(&format!("{cube} --axis z --at 2,1"))
    };
    assert_eq!(
        passing("a.cube", "mean == 6 and median == 6 and nan == 1"),
        [4]
    );
    // Nothing is left to measure in 2.fits, so no comparison with its mean holds.
    assert_eq!(passing("b.cube", "mean < 100"), [4, 1]);
    assert_eq!(passing("c.cube", "not mean < 100"), [-1]);
    assert_eq!(passing("d.cube", "nan == 4"), [-1]);
}

#[test]
fn samples_are_measured_as_they_are_meant() {
    let dir = Scratch::new();
    dir.frame("u.fits", &Image::of(&[2, 1], &[65_535u16, 65_533]));
    let scaled = Image::of(&[2, 1], &[1i16, 3])
        .with("BSCALE", "0.5")
        .with("BZERO", "10");
    dir.frame("s.fits", &scaled);
    append(&dir, "u.cube", &["mean == 65534 and std == 1"], &["u.fits"])
        .ends(0)
        .says(&["1 frame added ("]);
    append(
        &dir,
        "s.cube",
        &["min == 10.5 and max == 11.5"],
        &["s.fits"],
    )
    .ends(0)
    .says(&["1 frame added ("]);
}

#[test]
fn a_string_without_quotes_and_a_mistyped_keyword_are_pointed_out() {
    let dir = night();
    append(&dir, "a.cube", &["FILTER == R"], &ALL)
        .fails(&["--where: no frame has a card R", "put it in quotes"]);
    append(&dir, "a.cube", &["MEAN > 3"], &ALL)
        .fails(&["no frame has a card MEAN; lower-case mean is measured"]);
    // Where frames come in all the same, it is a warning.
    append(&dir, "a.cube", &["FILTER == 'R' or MEAN > 3"], &ALL)
        .ends(0)
        .says(&["warning: --where: no frame has a card MEAN"]);
    let run = append(&dir, "b.cube", &["not OBJECT and FILTER == 'R'"], &ALL).ends(0);
    assert!(!run.err.contains("warning"), "{}", run.err);
}

#[test]
fn a_condition_that_cannot_be_read_is_wrong_usage() {
    let dir = night();
    for (condition, phrases) in [
        ("nan", ["column 1", "nan alone"]),
        ("EXPTIME >=", ["column 11", "found the end"]),
        ("EXPTIME > 10 FILTER", ["column 14", "unexpected FILTER"]),
        ("DATE-OBS > 2024-05-01", ["column 12", "between '"]),
    ] {
        append(&dir, "a.cube", &[condition], &ALL)
            .ends(2)
            .says(&phrases);
    }
    append(&dir, "a.cube", &[&"(".repeat(100_000)], &ALL)
        .ends(2)
        .says(&["64 is the most"]);
    assert!(!dir.exists("a.cube"));
}

#[test]
fn resuming_with_a_condition_adds_only_what_is_new_and_passes() {
    let dir = night();
    append(&dir, "a.cube", &["FILTER == 'R'"], &["1.fits", "2.fits"]).ends(0);
    append(
        &dir,
        "a.cube",
        &["FILTER == 'R'"],
        &["--resume", "1.fits", "2.fits", "3.fits"],
    )
    .ends(0)
    .says(&["1 frame added, 1 there already, 1 did not pass --where"]);
    assert_eq!(first::<f32>(&dir, "a.cube"), [1.0, 3.0]);
}
