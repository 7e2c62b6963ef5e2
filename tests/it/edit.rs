//! Insert, delete, move, sort, log and undo, against a plain list of frames.

use crate::support::{Image, Scratch};

/// Frame `value`: 2 x 2 samples of that value, and keywords to sort by.
fn frame(dir: &Scratch, value: i16) -> String {
    let name = format!("{value}.fits");
    if !dir.exists(&name) {
        let date = format!("DATE-OBS= '2026-01-{:02}'", 28 - value % 28);
        let image = Image::of(&[2, 2], &[value; 4])
            .with_card(format!("NUMBER  = {value}"))
            .with_card(date);
        dir.frame(&name, &image);
    }
    name
}

/// The values of the frames of a cube, in order; every frame must be whole.
fn values(dir: &Scratch, cube: &str) -> Vec<i16> {
    let samples = dir.samples::<i16>(cube);
    let frames = samples.chunks_exact(4);
    let one = |frame: &[i16]| {
        assert!(frame.iter().all(|value| *value == frame[0]), "{samples:?}");
        frame[0]
    };
    frames.map(one).collect()
}

fn cube_of(dir: &Scratch, values: &[i16]) {
    let names: Vec<String> = values.iter().map(|&value| frame(dir, value)).collect();
    dir.ok(&format!("append a.cube --tile 2,2,2 {}", names.join(" ")));
}

#[test]
fn frames_are_put_in_before_the_position_that_is_named() {
    let dir = Scratch::new();
    cube_of(&dir, &[1, 2, 3]);
    let nine = frame(&dir, 9);
    for (at, expected) in [
        ("1", [9, 1, 2, 3]),
        ("3", [1, 2, 9, 3]),
        ("4", [1, 2, 3, 9]),
        ("-1", [1, 2, 9, 3]),
        ("-3", [9, 1, 2, 3]),
    ] {
        dir.ok(&format!("insert a.cube --at {at} {nine}"));
        assert_eq!(values(&dir, "a.cube"), expected, "--at {at}");
        dir.ok("undo a.cube");
        assert_eq!(values(&dir, "a.cube"), [1, 2, 3]);
    }
    for at in ["0", "5", "-4", "x", ""] {
        dir.cube(&format!("insert a.cube {nine} --at={at}"))
            .fails(&["position"]);
    }
    dir.cube(&format!("insert a.cube --at 6 {nine}")).fails(&[
        "position 6 is outside the cube: z runs from 1 to 3",
        "1 is before everything, 4 after",
    ]);
}

#[test]
fn columns_and_rows_are_put_in_the_middle_of_an_image() {
    let dir = Scratch::new();
    dir.frame("a.fits", &Image::of(&[3, 2], &[1i16, 2, 3, 4, 5, 6]));
    dir.frame("x.fits", &Image::of(&[1, 2], &[7i16, 8]));
    dir.frame("y.fits", &Image::of(&[3, 1], &[10i16, 11, 12]));
    dir.ok("append a.cube --tile 2,2,2 a.fits");
    dir.ok("insert a.cube --axis y --at 2 y.fits");
    assert_eq!(dir.samples::<i16>("a.cube"), [1, 2, 3, 10, 11, 12, 4, 5, 6]);
    dir.ok("delete a.cube --axis y --at 2");
    dir.ok("insert a.cube --axis x --at 2 x.fits");
    assert_eq!(dir.samples::<i16>("a.cube"), [1, 7, 2, 3, 4, 8, 5, 6]);
}

#[test]
fn the_frames_of_a_cube_come_in_one_by_one_as_they_came() {
    let dir = Scratch::new();
    cube_of(&dir, &[1, 2]);
    let (three, four) = (frame(&dir, 3), frame(&dir, 4));
    let wide = Image::of(&[3, 2], &[7i16; 6]).with_card("NUMBER  = 7");
    dir.frame("wide.fits", &wide);
    dir.ok(&format!("append b.cube {three} {four} --tile 2,2,2"));
    dir.ok("insert b.cube --at 2 wide.fits --origin 2,2");
    dir.ok("move b.cube --from 1 --to -1");
    dir.ok("insert a.cube --at 2 b.cube");
    let rows = |cube: &str| {
        let rows = dir
            .ok(&format!("info {cube} --frames --json --keys NUMBER"))
            .out;
        let rows: serde_json::Value = serde_json::from_slice(&rows).unwrap();
        let rows = rows.as_array().unwrap().iter().map(|row| {
            (
                row["source"].as_str().unwrap().to_string(),
                row["keys"]["NUMBER"].as_i64().unwrap(),
            )
        });
        rows.collect::<Vec<_>>()
    };
    let expected = |numbers: &[i64]| -> Vec<(String, i64)> {
        let row = |&number: &i64| match number {
            7 => ("wide.fits".to_string(), 7),
            _ => (format!("{number}.fits"), number),
        };
        numbers.iter().map(row).collect()
    };
    assert_eq!(rows("a.cube"), expected(&[1, 7, 4, 3, 2]));
    // Each where it was on the other axes, and void around it.
    assert_eq!(dir.shape("a.cube"), [4, 3, 5]);
    let profile = |at: &str| dir.profile(&format!("a.cube --axis z --at {at}"));
    assert_eq!(
        profile("4,3"),
        ["-32768", "7", "-32768", "-32768", "-32768"]
    );
    assert_eq!(profile("2,1"), ["1", "-32768", "4", "3", "2"]);
    dir.ok("check a.cube --deep");
    // The frames are known again, whichever way they come.
    let run = dir.ok("append a.cube b.cube --resume");
    assert!(
        run.err.contains("0 frames added, 3 there already"),
        "{}",
        run.err
    );
    let run = dir.ok(&format!("append a.cube {three} {four} --resume"));
    assert!(
        run.err.contains("0 frames added, 2 there already"),
        "{}",
        run.err
    );
    dir.ok("delete a.cube --source 3.fits");
    dir.ok("sort a.cube --by NUMBER");
    assert_eq!(rows("a.cube"), expected(&[1, 2, 4, 7]));
    // A cube may be put into itself, in part.
    dir.ok("append a.cube a.cube --where NUMBER<3 --origin 1,2");
    assert_eq!(rows("a.cube"), expected(&[1, 2, 4, 7, 1, 2]));
    assert_eq!(profile("1,1")[4..], ["-32768", "-32768"]);
    assert_eq!(profile("1,2")[4..], ["1", "2"]);
    dir.ok("check a.cube --deep");
}

#[test]
fn samples_that_were_cleaned_come_in_clean() {
    let dir = Scratch::new();
    cube_of(&dir, &[1, 1, 1, 1, 1, 1, 1, 1, 90, 1]);
    dir.ok("clean a.cube");
    assert_eq!(values(&dir, "a.cube"), [1; 10]);
    dir.ok("append b.cube a.cube");
    assert_eq!(values(&dir, "b.cube"), [1; 10]);
    dir.ok("check b.cube --deep");
}

#[test]
fn a_cube_whose_frames_are_not_a_stack_is_one_frame() {
    let dir = Scratch::new();
    cube_of(&dir, &[1, 2]);
    let three = frame(&dir, 3);
    let warned = |line: &str| {
        let run = dir.ok(line);
        assert!(
            run.err
                .contains("b.cube: its frames are not whole, or do not stand"),
            "{}",
            run.err
        );
    };
    dir.ok(&format!("append b.cube {three} {three}"));
    // Beside the others, a stack along z is one block.
    warned("insert a.cube --axis x --at 2 b.cube");
    assert_eq!(
        dir.samples::<i16>("a.cube"),
        [1, 3, 3, 1, 1, 3, 3, 1, 2, 3, 3, 2, 2, 3, 3, 2]
    );
    dir.ok("undo a.cube");
    // A column of one frame was taken out, so it is not what its file holds.
    dir.ok("delete b.cube --axis x --at 2");
    warned("append a.cube b.cube --origin 2,1");
    assert_eq!(
        dir.samples::<i16>("a.cube"),
        [
            1, 1, 1, 1, 2, 2, 2, 2, -32768, 3, -32768, 3, -32768, 3, -32768, 3
        ]
    );
    assert_eq!(dir.info("a.cube")["frames"], 3);
    dir.ok("check a.cube --deep");
}

#[test]
fn a_cube_of_spectra_joins_spectra() {
    let dir = Scratch::new();
    for (name, value) in [("a", 1i16), ("b", 2), ("c", 3)] {
        dir.frame(&format!("{name}.fits"), &Image::of(&[3], &[value; 3]));
    }
    dir.ok("append s.cube a.fits b.fits");
    dir.ok("append t.cube c.fits s.cube");
    assert_eq!(dir.shape("t.cube"), [3, 3, 1]);
    assert_eq!(dir.samples::<i16>("t.cube"), [3, 3, 3, 1, 1, 1, 2, 2, 2]);
    assert_eq!(dir.info("t.cube")["frames"], 3);
}

#[test]
fn positions_are_deleted_moved_and_brought_back() {
    let dir = Scratch::new();
    cube_of(&dir, &[1, 2, 3, 4, 5, 6]);
    dir.ok("delete a.cube --at 2,4:5");
    assert_eq!(values(&dir, "a.cube"), [1, 3, 6]);
    assert_eq!(dir.info("a.cube")["frames"], 3);
    dir.ok("undo a.cube");
    dir.ok("move a.cube --from 5:6 --to 1");
    assert_eq!(values(&dir, "a.cube"), [5, 6, 1, 2, 3, 4]);
    dir.ok("move a.cube --from 1 --to -1");
    assert_eq!(values(&dir, "a.cube"), [6, 1, 2, 3, 4, 5]);
    for to in ["3:5", "*", "-*", "0", "7"] {
        dir.cube(&format!("move a.cube --from 1 --to {to}"))
            .fails(&["position"]);
    }
    dir.ok("delete a.cube --source 3.fits");
    assert_eq!(values(&dir, "a.cube"), [6, 1, 2, 4, 5]);
    dir.ok("delete a.cube --at 1:-1");
    assert_eq!(dir.info("a.cube")["shape"], serde_json::json!([2, 2, 0]));
    for expected in [
        vec![6, 1, 2, 4, 5],
        vec![6, 1, 2, 3, 4, 5],
        vec![5, 6, 1, 2, 3, 4],
        vec![1, 2, 3, 4, 5, 6],
    ] {
        dir.ok("undo a.cube");
        assert_eq!(values(&dir, "a.cube"), expected);
    }
    dir.ok("undo a.cube");
    dir.cube("undo a.cube")
        .fails(&["a.cube: there is nothing to undo: the history begins with create"]);
}

#[test]
fn frames_are_sorted_by_a_keyword() {
    let dir = Scratch::new();
    cube_of(&dir, &[10, 2, 7, 30]);
    dir.frame("none.fits", &Image::of(&[2, 2], &[99i16; 4]));
    dir.ok("insert a.cube --at 1 none.fits");
    let run = dir.ok("sort a.cube --by NUMBER");
    assert!(run.err.contains("1 frame has no NUMBER"), "{}", run.err);
    assert_eq!(values(&dir, "a.cube"), [2, 7, 10, 30, 99]);
    dir.ok("sort a.cube --by NUMBER --reverse");
    assert_eq!(values(&dir, "a.cube"), [30, 10, 7, 2, 99]);
    dir.ok("sort a.cube --by date-obs");
    assert_eq!(values(&dir, "a.cube"), [10, 7, 30, 2, 99]);
    dir.cube("sort a.cube --by NOKEY")
        .fails(&["no frame has the keyword NOKEY"]);
}

#[test]
fn the_log_lists_what_was_done() {
    let dir = Scratch::new();
    cube_of(&dir, &[1, 2]);
    dir.ok("delete a.cube --at 1");
    let log = dir.ok("log a.cube --json").out;
    let log: serde_json::Value = serde_json::from_slice(&log).unwrap();
    let verbs: Vec<&str> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["verb"].as_str().unwrap())
        .collect();
    assert_eq!(verbs, ["create", "append", "delete"]);
    assert_eq!(log[1]["frames"], 2);
    assert_eq!(log[2]["shape"], serde_json::json!([2, 2, 1]));
    let text = String::from_utf8(dir.ok("log a.cube").out).unwrap();
    assert!(
        text.lines()
            .nth(2)
            .unwrap()
            .contains("cube delete a.cube --at 1"),
        "{text}"
    );
}

#[test]
fn edits_cost_what_they_change() {
    let dir = Scratch::new();
    let noise = Image::new(&[256, 256], |k| (k * 7919) as i16);
    dir.frame("big.fits", &noise);
    let list = "big.fits\n".repeat(64);
    dir.write("list", list);
    dir.ok("append a.cube @list");
    let before = dir.info("a.cube")["file_bytes"].as_u64().unwrap();
    for line in [
        "delete a.cube --at 5,9:12",
        "move a.cube --from 9 --to 1",
        "undo a.cube",
    ] {
        dir.ok(line);
    }
    let after = dir.info("a.cube")["file_bytes"].as_u64().unwrap();
    assert!(after - before <= 3 * 8192, "{} bytes", after - before);
}

/// Thirty commands at a time against a plain list.
#[test]
fn random_edits_agree_with_a_plain_list() {
    for seed in 0..6u64 {
        let dir = Scratch::new();
        let mut state = seed * 7919 + 1;
        let mut below = |n: usize| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) as usize % n
        };
        let mut history: Vec<Vec<i16>> = vec![vec![1, 2, 3]];
        cube_of(&dir, &history[0]);
        for step in 0..30 {
            let mut list = history.last().unwrap().clone();
            let len = list.len();
            match below(6) {
                0..=2 => {
                    let count = 1 + below(3);
                    let new: Vec<i16> = (0..count).map(|_| below(100) as i16).collect();
                    let at = below(len + 1);
                    let names: Vec<String> = new.iter().map(|&value| frame(&dir, value)).collect();
                    dir.ok(&format!(
                        "insert a.cube --axis z --at {} {}",
                        at + 1,
                        names.join(" ")
                    ));
                    list.splice(at..at, new);
                }
                3 if len > 3 => {
                    let at = below(len);
                    let end = (at + 1 + below(2)).min(len);
                    dir.ok(&format!("delete a.cube --axis z --at {}:{end}", at + 1));
                    list.drain(at..end);
                }
                4 if len > 1 => {
                    let (from, to) = (below(len), below(len));
                    let before = dir.read("a.cube");
                    dir.ok(&format!("move a.cube --from {} --to {}", from + 1, to + 1));
                    if from == to {
                        assert_eq!(dir.info("a.cube")["shape"][2], len);
                        let after = dir.read("a.cube");
                        assert_eq!(before.len(), after.len(), "nothing was committed");
                        continue;
                    }
                    let value = list.remove(from);
                    list.insert(to, value);
                }
                5 if history.len() > 1 => {
                    dir.ok("undo a.cube");
                    history.pop();
                    assert_eq!(
                        values(&dir, "a.cube"),
                        *history.last().unwrap(),
                        "{seed} {step}"
                    );
                    continue;
                }
                _ => continue,
            }
            assert_eq!(values(&dir, "a.cube"), list, "seed {seed} step {step}");
            history.push(list);
        }
    }
}

#[test]
fn frames_are_deleted_by_their_keywords() {
    let dir = Scratch::new();
    cube_of(&dir, &[1, 12, 3, 14]);
    dir.cube_args(["delete", "a.cube", "--where", "NUMBER > 10"])
        .ends(0);
    assert_eq!(values(&dir, "a.cube"), [1, 3]);
    let run = dir
        .cube_args(["delete", "a.cube", "--where", "NUMBER > 10"])
        .ends(0);
    assert!(run.err.contains("0 positions of z"), "{}", run.err);
    dir.cube_args(["delete", "a.cube", "--where", "mean > 10"])
        .ends(0)
        .says(&["no frame meets --where"]);
    let run = dir.cube("delete a.cube");
    assert_eq!(run.status, 2);
    run.says(&["--at <POSITIONS>|--source <NAME>|--where <EXPR>"]);
    assert_eq!(values(&dir, "a.cube"), [1, 3]);
}

#[test]
fn a_frame_whose_pixels_were_put_in_another_order_is_not_taken_for_damaged() {
    let dir = Scratch::new();
    let image = Image::of(&[5, 2], &[1i16, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    dir.frame("a.fits", &image.clone().with_card("CRPIX1  = 1.0"));
    dir.frame("column.fits", &Image::of(&[1, 2], &[0i16, 0]));
    // Its ends stay as far apart as they were.
    for (edits, expected) in [
        (
            vec!["move a.cube --axis x --from 3 --to 4"],
            [1, 2, 4, 3, 5],
        ),
        (
            vec![
                "insert a.cube --axis x --at 3 column.fits",
                "delete a.cube --axis x --at 4",
            ],
            [1, 2, 0, 4, 5],
        ),
    ] {
        dir.ok("append a.cube --tile 2,2,2 a.fits a.fits");
        for edit in edits {
            dir.ok(edit);
        }
        dir.ok("slice a.cube --axis x,y --at 1 -o f.fits --overwrite");
        dir.ok("check a.cube --deep");
        assert_eq!(dir.samples::<i16>("a.cube")[..5], expected);
        // Of pixels that moved no coordinates are kept.
        assert_eq!(dir.cut("a.cube --axis x,y --at 1").value("CRPIX1"), None);
        std::fs::remove_file(dir.path("a.cube")).unwrap();
    }
}

#[test]
fn what_matches_nothing_is_an_error_and_deletes_nothing() {
    let dir = Scratch::new();
    cube_of(&dir, &[1, 2, 3]);
    for (options, says) in [
        (
            "--source none.fits",
            "no frame of the cube came from none.fits",
        ),
        ("--source 1.fits --source none.fits", "came from none.fits"),
        (
            "--source 1.fits --where NUMBER>5",
            "came from 1.fits and meets --where",
        ),
    ] {
        dir.cube(&format!("delete a.cube {options}")).fails(&[says]);
    }
    dir.ok("delete a.cube --where NUMBER>5")
        .says(&["no frame meets --where"]);
    assert_eq!(values(&dir, "a.cube"), [1, 2, 3]);
    // Frames that were deleted are not asked for the keyword.
    dir.frame("none.fits", &Image::of(&[2, 2], &[9i16; 4]));
    dir.ok("append a.cube none.fits");
    dir.ok("delete a.cube --at -1");
    let run = dir.ok("sort a.cube --by NUMBER --reverse");
    assert!(!run.err.contains("NUMBER"), "{}", run.err);
    dir.ok("delete a.cube --at 1:3");
    dir.ok("append a.cube none.fits");
    dir.cube("sort a.cube --by NUMBER")
        .fails(&["no frame has the keyword NUMBER"]);
}

#[test]
fn strips_of_any_width_follow_one_another_within_tiles() {
    for widths in [[3, 2, 1], [200, 31, 9], [5, 8, 200], [1, 1, 40]] {
        let dir = Scratch::new();
        let mut row = Vec::new();
        for (number, width) in (0..3u16).zip(widths) {
            let sample = move |k: u64| 10 * number + (k % width) as u16;
            dir.frame(&format!("{number}.fits"), &Image::new(&[width, 6], sample));
            row.extend((0..width).map(sample));
        }
        dir.ok("append a.cube 0.fits");
        dir.ok("append a.cube --axis x 1.fits 2.fits");
        let all: Vec<u16> = row.iter().copied().cycle().take(6 * row.len()).collect();
        assert_eq!(dir.samples::<u16>("a.cube"), all, "{widths:?}");
    }
}

#[test]
fn undo_leads_to_any_generation_of_the_log() {
    let dir = Scratch::new();
    cube_of(&dir, &[1, 2, 3]);
    for at in [1, 2] {
        dir.ok(&format!("delete a.cube --at {at}"));
    }
    let nine = frame(&dir, 9);
    dir.ok(&format!("append a.cube {nine}"));
    assert_eq!(values(&dir, "a.cube"), [2, 9]);
    dir.cube("undo a.cube --to 4")
        .fails(&["cannot lead to generation 4"]);
    dir.ok("undo a.cube --to 2")
        .says(&["took back 2 commands, from delete"]);
    assert_eq!(values(&dir, "a.cube"), [2, 3]);
    // The commands are gone from the history, and so are their numbers.
    dir.cube("undo a.cube --to 3")
        .fails(&["cannot lead to generation 3"]);
    dir.ok("undo a.cube --to 1").says(&["took back delete of"]);
    assert_eq!(values(&dir, "a.cube"), [1, 2, 3]);
    dir.ok("check a.cube --deep");
}

#[test]
fn a_dry_delete_tells_and_leaves_all_as_it_is() {
    let dir = Scratch::new();
    cube_of(&dir, &[1, 2, 3]);
    let before = dir.read("a.cube");
    dir.ok("delete a.cube --where NUMBER>1 --dry-run").says(&[
        "2 positions of z would be taken away, with 2 frames; the cube would be 2 x 2 x 1",
    ]);
    assert_eq!(dir.read("a.cube"), before);
}

#[test]
fn many_runs_of_positions_go_at_once_and_their_frames_are_counted() {
    let dir = Scratch::new();
    let all: Vec<i16> = (1..=20).collect();
    cube_of(&dir, &all);
    let frames = || dir.info("a.cube")["frames"].as_u64();
    dir.ok("delete a.cube --at 2:20:2,19:15");
    assert_eq!(values(&dir, "a.cube"), [1, 3, 5, 7, 9, 11, 13]);
    assert_eq!(frames(), Some(7));
    // The same name twice is one.
    dir.ok("delete a.cube --source 3.fits --source 9.fits --source 3.fits");
    assert_eq!(values(&dir, "a.cube"), [1, 5, 7, 11, 13]);
    assert_eq!(frames(), Some(5));
    // Of a frame some columns may go.
    dir.ok("delete a.cube --axis x --at 1");
    assert_eq!(frames(), Some(5));
    dir.ok("delete a.cube --axis x --at 1");
    assert_eq!(frames(), Some(0));
}

#[test]
fn a_day_alone_is_put_together_with_the_time_of_day() {
    let dir = Scratch::new();
    for (name, clock) in [
        ("a", "UT      = '23:50:00'"),
        ("b", "TIME-OBS= '09:30:00.5'"),
        ("c", "UTC-OBS = '10:00:00'"),
        ("d", "UT      =                  3.5"),
    ] {
        let image = Image::new(&[2, 2], |k| k as i16);
        let image = image.with("DATE-OBS", "'2026-01-05'").with_card(clock);
        dir.frame(&format!("{name}.fits"), &image);
    }
    let image = Image::new(&[2, 2], |k| k as i16);
    let image = image
        .with("DATE-OBS", "'2026-01-05T09:45:00'")
        .with("UT", "'01:00:00'");
    dir.frame("e.fits", &image);
    dir.ok("append a.cube a.fits b.fits c.fits d.fits e.fits");
    dir.ok("sort a.cube --by DATE-OBS");
    let run = dir.ok("info a.cube --frames --csv --keys DATE-OBS");
    let dates: Vec<&str> = run
        .out()
        .lines()
        .skip(1)
        .map(|row| row.rsplit(',').next().unwrap())
        .collect();
    let expected = [
        "2026-01-05",
        "2026-01-05T09:30:00.5",
        "2026-01-05T09:45:00",
        "2026-01-05T10:00:00",
        "2026-01-05T23:50:00",
    ];
    assert_eq!(dates, expected);
    let chosen = |condition: &str| {
        let run = dir.cube_args(["info", "a.cube", "--frames", "--csv", "--where", condition]);
        run.out().lines().count() - 1
    };
    assert_eq!(chosen("DATE-OBS >= '2026-01-05T09:40:00'"), 3);
    assert_eq!(chosen("DATE-OBS == '2026-01-05'"), 1);
    assert_eq!(chosen("`DATE-OBS` == '2026-01-05'"), 4);
}

#[test]
fn what_was_done_comes_as_json() {
    let dir = Scratch::new();
    cube_of(&dir, &[3, 1, 2, 9]);
    let report = |line: &str| -> serde_json::Value {
        let run = dir.ok(&format!("{line} --json"));
        let last = run.err.lines().last().unwrap_or_default();
        assert!(last.starts_with("a.cube: "), "{}", run.err);
        serde_json::from_slice(&run.out).unwrap()
    };
    let arranged = |positions: u64, frames: u64, len: u64| {
        serde_json::json!({
            "axis": "z", "positions": positions, "frames": frames, "shape": [2, 2, len],
        })
    };
    let dry = report("delete a.cube --at 4 --dry-run");
    assert_eq!(dry, arranged(1, 1, 3));
    assert_eq!(report("delete a.cube --at 4"), dry);
    assert_eq!(report("move a.cube --from 1 --to 3"), arranged(1, 0, 3));
    assert_eq!(report("move a.cube --from 1 --to 1"), arranged(0, 0, 3));
    let undone = report("undo a.cube");
    assert_eq!(undone["commands"], 1);
    assert_eq!(undone["command"]["verb"], "move");
    assert_eq!(undone["shape"], serde_json::json!([2, 2, 3]));
    let sorted = report("sort a.cube --by NUMBER");
    assert_eq!(
        (&sorted["axis"], &sorted["shape"]),
        (&dry["axis"], &dry["shape"])
    );
    let combined = report("combine a.cube --method max -o m.fits");
    let expected = serde_json::json!({
        "axis": "z", "positions": 3, "shape": [2, 2], "rejected": 0, "bad": 0,
    });
    assert_eq!(combined, expected);
    dir.cube("combine a.cube --method max --json -o -")
        .fails(&["the frame and the report both go to standard output"]);
    let compacted = report("compact a.cube");
    assert_eq!(
        (&compacted["frames"], &compacted["dropped"]),
        (&3.into(), &1.into())
    );
    assert!(compacted["after"].as_u64() > Some(0));
}

#[test]
fn frames_that_are_equal_in_one_keyword_are_sorted_by_the_next() {
    let dir = Scratch::new();
    let frames = [("B", 3), ("A", 3), ("B", 1), ("", 2), ("A", 2), ("A", 3)];
    for (k, (filter, number)) in frames.iter().enumerate() {
        let image = Image::of(&[2, 2], &[10 * number + k as i16; 4]);
        let image = image.with("NUMBER", &number.to_string());
        let image = match *filter {
            "" => image,
            filter => image.with("FILTER", &format!("'{filter}'")),
        };
        dir.frame(&format!("{k}.fits"), &image);
    }
    dir.ok("append a.cube 0.fits 1.fits 2.fits 3.fits 4.fits 5.fits");
    let run = dir.ok("sort a.cube --by FILTER,NUMBER");
    assert!(run.err.contains("1 frame has no FILTER"), "{}", run.err);
    assert_eq!(values(&dir, "a.cube"), [24, 31, 35, 12, 30, 23]);
    dir.ok("sort a.cube --reverse --by FILTER,NUMBER");
    assert_eq!(values(&dir, "a.cube"), [30, 12, 31, 35, 24, 23]);
    dir.ok("sort a.cube --by NUMBER,median");
    assert_eq!(values(&dir, "a.cube"), [12, 23, 24, 30, 31, 35]);
    dir.cube("sort a.cube --by NUMBER,NONE")
        .fails(&["no frame has the keyword NONE"]);
}
