//! `--where` and `--keys` of a cube: its frames chosen by what they say and measure, and
//! told beside its samples. What is chosen is held against a cube of those frames alone.

use serde_json::{Value, json};

use crate::support::{Image, Random, Scratch, bits, finish, read_fits};

const FILTERS: [&str; 3] = ["R", "V", "H a"];

fn filter(number: u64) -> &'static str {
    FILTERS[(number * 5 / 3 % 3) as usize]
}

/// Eleven frames of 9 x 7 about their number, with outliers and a NaN in frame 4, in an
/// order that is not that of their arrival: 6 to 11 before 1 to 5, frame 12 taken out.
fn night() -> (Scratch, Vec<u64>) {
    let dir = Scratch::new();
    let mut random = Random(7);
    for number in 1..=12u64 {
        let samples: Vec<f32> = (0..63)
            .map(|k| match (random.below(12), number, k) {
                (_, 4, 10) => f32::NAN,
                (0, ..) => 1000.0,
                _ => number as f32 + random.unit() as f32 / 8.0,
            })
            .collect();
        let image = Image::of(&[9, 7], &samples)
            .with("FILTER", &format!("'{:8}'", filter(number)))
            .with("EXPTIME", &format!("{number}.5"))
            .with("DATE-OBS", &format!("'2026-11-28T0{}:00:00'", number % 10));
        dir.frame(&format!("{number}.fits"), &image);
    }
    dir.ok("append a.cube --tile 4,4,4 1.fits 2.fits 3.fits 4.fits 12.fits 5.fits");
    dir.ok("insert a.cube --at 1 6.fits 7.fits 8.fits 9.fits 10.fits 11.fits");
    dir.ok("delete a.cube --source 12.fits");
    (dir, (6..=11).chain(1..=5).collect())
}

/// A cube of the frames of one filter alone, in the order of the other.
fn of_filter(dir: &Scratch, cube: &str, order: &[u64], wanted: &str) {
    let own = order.iter().filter(|&&number| filter(number) == wanted);
    let names: Vec<String> = own.map(|number| format!("{number}.fits")).collect();
    dir.ok(&format!("append {cube} --tile 4,4,4 {}", names.join(" ")));
}

#[track_caller]
fn run(dir: &Scratch, line: &str, condition: &str) -> Vec<u8> {
    let arguments = line.split_whitespace();
    let run = dir.cube_args(arguments.chain(["--where", condition]));
    run.ends(0).out
}

#[test]
fn a_cut_is_that_of_a_cube_of_the_chosen_frames() {
    let (dir, order) = night();
    for wanted in FILTERS {
        let alone = format!("{}.cube", &wanted[..1]);
        of_filter(&dir, &alone, &order, wanted);
        let condition = format!("FILTER == '{wanted}'");
        for cut in [
            "",
            "--section [2:9:3,*,-1:1]",
            "--axis x,y --at 2",
            "--axis y --at 3,-1 --at 9,1",
        ] {
            let line = format!("--format fits --no-frames-table -o - {cut}");
            let found = read_fits(&run(&dir, &format!("slice a.cube {line}"), &condition));
            let expected = read_fits(&dir.ok(&format!("slice {alone} {line}")).out);
            assert_eq!(found[0].shape, expected[0].shape, "{wanted} {cut}");
            assert_eq!(
                bits(&found[0].samples::<f32>()),
                bits(&expected[0].samples::<f32>()),
                "{wanted} {cut}"
            );
        }
    }
    dir.cube_args(["slice", "a.cube", "--where", "FILTER == 'U'"])
        .fails(&["a.cube: no frame meets --where", "info --frames"]);
}

#[test]
fn a_combination_is_that_of_a_cube_of_the_chosen_frames() {
    let (dir, order) = night();
    of_filter(&dir, "r.cube", &order, "R");
    let condition = "FILTER == 'R'";
    for options in [
        "--method median",
        "--method mean --reject minmax --weight EXPTIME",
        "--method mean --scale median --zero median",
        "--method sum --reject sigma --sigma 1.2 --section [*,2:6,1:3]",
    ] {
        let line = format!("{options} -o - --format npy");
        let expected = dir.ok(&format!("combine r.cube {line}")).out;
        let whole = run(&dir, &format!("combine a.cube {line}"), condition);
        assert_eq!(whole, expected, "{options}");
        let mut names = String::new();
        for number in 1..=2 {
            let part = format!("combine a.cube {options} --part {number}/2 -o {number}.part");
            run(&dir, &format!("{part} --overwrite"), condition);
            names += &format!(" {number}.part");
        }
        let apply = format!("combine a.cube -o - --format npy --apply{names}");
        assert_eq!(dir.ok(&apply).out, expected, "{options}");
    }
    let frame = read_fits(&run(
        &dir,
        "combine a.cube --method median -o - --format fits",
        condition,
    ));
    let n = order.iter().filter(|&&number| filter(number) == "R");
    assert_eq!(frame[0].value("NCOMBINE").unwrap(), n.count().to_string());
}

#[test]
fn the_chosen_frames_alone_are_cleaned() {
    let (dir, order) = night();
    let condition = "FILTER == 'V'";
    of_filter(&dir, "v.cube", &order, "V");
    let all = |cube: &str| dir.samples::<f32>(cube);
    let before = all("a.cube");
    let clean = "--sigma 1.2 --json";
    let report = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
    let alone = report(&dir.ok(&format!("clean v.cube {clean}")).out);
    let dry = report(&run(
        &dir,
        &format!("clean a.cube --dry-run {clean}"),
        condition,
    ));
    assert_eq!(bits(&all("a.cube")), bits(&before));
    let whole = report(&run(&dir, &format!("clean a.cube {clean}"), condition));
    assert!(whole["rejected"].as_u64().unwrap() > 0);
    for key in ["rejected", "samples", "lines", "lines_changed"] {
        assert_eq!(whole[key], alone[key], "{key}");
        assert_eq!(dry[key], alone[key], "{key}");
    }
    // Frames are told by where they are in the cube, not among the chosen.
    for frame in whole["frames"].as_array().unwrap() {
        let position = frame["position"].as_u64().unwrap() as usize;
        let source = format!("{}.fits", order[position - 1]);
        assert_eq!(frame["source"], source);
    }
    let cleaned = all("a.cube");
    let mut chosen = all("v.cube").chunks(63).map(bits).collect::<Vec<_>>();
    chosen.reverse();
    for (number, (now, came)) in order.iter().zip(cleaned.chunks(63).zip(before.chunks(63))) {
        let expected = match filter(*number) {
            "V" => chosen.pop().unwrap(),
            _ => bits(came),
        };
        assert_eq!(bits(now), expected, "{number}");
    }
    dir.ok("check a.cube --deep");
    dir.ok("undo a.cube");
    assert_eq!(bits(&all("a.cube")), bits(&before));
    // The same in parts.
    let mut names = String::new();
    for number in 1..=3 {
        let part = format!("clean a.cube --sigma 1.2 --part {number}/3 -o {number}.part");
        run(&dir, &part, condition);
        names += &format!(" {number}.part");
    }
    let applied = report(&dir.ok(&format!("clean a.cube --json --apply{names}")).out);
    assert_eq!(applied["frames"], whole["frames"]);
    assert_eq!(bits(&all("a.cube")), bits(&cleaned));
}

#[test]
fn what_is_measured_is_measured_as_the_cube_is_now() {
    let (dir, order) = night();
    let told = |keys: &str| -> Vec<Value> {
        let line = format!("info a.cube --frames --json --keys {keys}");
        serde_json::from_slice(&dir.ok(&line).out).unwrap()
    };
    let rows = told("median,max,nan,EXPTIME,MEDIAN");
    for (row, &number) in rows.iter().zip(&order) {
        let frame: Vec<f32> = read_fits(&dir.read(&format!("{number}.fits")))[0].samples();
        let mut sorted: Vec<f32> = frame.iter().copied().filter(|v| !v.is_nan()).collect();
        sorted.sort_by(f32::total_cmp);
        let n = sorted.len();
        let middle = (f64::from(sorted[(n - 1) / 2]) + f64::from(sorted[n / 2])) / 2.0;
        let keys = &row["keys"];
        let median = keys["median"].as_f64().unwrap();
        // What parses JSON here may be off by the last bit.
        assert!(
            (median - middle).abs() < 1e-12,
            "{number}: {median} {middle}"
        );
        assert_eq!(keys["max"], f64::from(sorted[n - 1]), "{number}");
        assert_eq!(keys["nan"], 63 - n, "{number}");
        assert_eq!(keys["EXPTIME"], number as f64 + 0.5, "{number}");
        assert_eq!(keys["MEDIAN"], Value::Null, "{number}");
    }
    // Outliers are gone once they are cleaned away.
    assert!(rows.iter().any(|row| row["keys"]["max"] == 1000.0));
    dir.ok("clean a.cube --spread mad --sigma 20 --fill 0");
    assert!(told("max").iter().all(|row| row["keys"]["max"] != 1000.0));
    let listed = |condition: &str| {
        let list = run(&dir, "info a.cube --frames --csv", condition);
        let text = String::from_utf8(list).unwrap();
        let rows = text.lines().skip(1);
        rows.map(|row| row.split(',').next().unwrap().parse().unwrap())
            .collect::<Vec<u64>>()
    };
    assert_eq!(listed("nan > 0"), [10]);
    assert_eq!(listed("EXPTIME < 3 or EXPTIME > 11"), [6, 7, 8]);
    let all = dir.cube_args(["delete", "a.cube", "--where", "nan > 0 or max > 10"]);
    all.ends(0);
    assert_eq!(dir.shape("a.cube")[2], 8);
    assert!(listed("nan > 0").is_empty());
}

#[test]
fn what_a_frame_says_stands_beside_its_sample() {
    let (dir, order) = night();
    let chosen = "EXPTIME > 9 and not FILTER == 'V'";
    let places: Vec<usize> = (0..order.len())
        .filter(|&k| order[k] >= 9 && filter(order[k]) != "V")
        .collect();
    let values = dir.samples::<f32>("a.cube --axis z --at 2,3");
    let line = "slice a.cube --axis z --at 2,3 --keys FILTER,EXPTIME,max,NONE";
    let row = |separator: &str, k: &usize, none: &str| {
        let number = order[*k];
        let frame: Vec<f32> = read_fits(&dir.read(&format!("{number}.fits")))[0].samples();
        let max = frame.into_iter().fold(0.0, f32::max);
        let cells = [
            (k + 1).to_string(),
            filter(number).to_string(),
            format!("{number}.5"),
            format!("{:?}", f64::from(max)),
            none.to_string(),
            values[*k].to_string(),
        ];
        cells.join(separator) + "\n"
    };
    for (format, head, separator) in [
        ("text", "# z\tFILTER\tEXPTIME\tmax\tNONE\tvalue\n", "\t"),
        ("csv", "z,FILTER,EXPTIME,max,NONE,value\n", ","),
    ] {
        let found = run(&dir, &format!("{line} --format {format}"), chosen);
        let rows: String = places.iter().map(|k| row(separator, k, "nan")).collect();
        let expected = format!("{head}{rows}");
        assert_eq!(String::from_utf8(found).unwrap(), expected);
    }
    let found: Value =
        serde_json::from_slice(&run(&dir, &format!("{line} --format json"), chosen)).unwrap();
    let positions: Vec<usize> = places.iter().map(|k| k + 1).collect();
    assert_eq!(found["positions"], json!(positions));
    let filters: Vec<&str> = places.iter().map(|&k| filter(order[k])).collect();
    assert_eq!(found["keys"]["FILTER"], json!(filters));
    assert_eq!(
        found["keys"]["NONE"],
        json!(vec![Value::Null; places.len()])
    );
    // The table of frames says where they are in the cube, too.
    let table = read_fits(&run(
        &dir,
        "slice a.cube -o - --format fits --frames-table",
        chosen,
    ));
    assert_eq!(table[1].shape[1], places.len() as u64);
    dir.cube("slice a.cube --axis x,y --at 1 --keys EXPTIME -o f.fits")
        .fails(&["--keys stand beside profiles of text", "fits"]);
    assert!(!dir.exists("f.fits"));
}

#[test]
fn a_plot_is_drawn_against_what_frames_say() {
    let dir = Scratch::new();
    let frame = |name: &str, level: u16, cards: &[(&str, &str)]| {
        let image = Image::new(&[2, 2], move |_| level);
        let with = |image: Image, &(key, value): &(&str, &str)| image.with(key, value);
        dir.frame(name, &cards.iter().fold(image, with));
    };
    // The gap between the last two is long.
    let dates = [
        "'2024-05-01T23:00:00'",
        "'2024-05-01T23:30:00'",
        "'2024-05-02T03:00:00'",
    ];
    for (number, date) in (1u16..).zip(dates) {
        let mass = format!("1.{number}");
        let cards = [("DATE-OBS", date), ("AIRMASS", &mass), ("FILTER", "'R'")];
        frame(&format!("{number}.fits"), number, &cards);
    }
    frame("4.fits", 900, &[]);
    dir.ok("append a.cube 1.fits 2.fits 3.fits 4.fits");
    let plot = |key: &str| {
        let line = format!("slice a.cube --axis z --at 1,1 --keys {key} --plot");
        let mut command = dir.command();
        command.env("LC_ALL", "C").args(line.split(' '));
        finish(command.spawn().unwrap()).ends(0).out().to_string()
    };
    // The frame without a date is not drawn.
    let text = plot("DATE-OBS");
    assert!(
        text.contains("hours since DATE-OBS 2024-05-01T23:00:00"),
        "{text}"
    );
    assert!(!text.contains("500"), "{text}");
    // The second of three is near the first.
    let rows: Vec<&str> = text.lines().filter(|row| row.contains('*')).collect();
    let last = rows.last().unwrap();
    assert!(
        last.find('*').unwrap() < 15 && rows[0].trim_end().len() > 70,
        "{text}"
    );
    let text = plot("AIRMASS");
    assert!(text.contains("AIRMASS") && text.contains("1.2") && !text.contains("500"));
    assert!(plot("max").contains("500"));
    dir.ok("slice a.cube --axis z --at 1,1 --keys AIRMASS -o a.png");
    for (line, says) in [
        (
            "--axis z --at 1,1 --keys FILTER",
            "FILTER is neither a number nor a date",
        ),
        (
            "--axis z --at 1,1 --keys FILTER,AIRMASS",
            "--keys stand beside profiles of text",
        ),
        (
            "--axis x,y --at 1 --keys AIRMASS",
            "--keys stand beside profiles of text",
        ),
    ] {
        dir.cube(&format!("slice a.cube {line} -o b.png"))
            .fails(&[says, "hint: "]);
    }
    assert!(!dir.exists("b.png"));
}

#[test]
fn a_name_that_breaks_a_line_of_csv_is_quoted() {
    let dir = Scratch::new();
    let image = Image::new(&[2, 2], |k| k as i16).with("OBJECT", "'a, \"b\"  '");
    dir.frame("1.fits", &image);
    dir.ok("append a.cube 1.fits 1.fits");
    let line = "slice a.cube --axis z --at 1,1 --keys OBJECT";
    let csv = dir.ok(&format!("{line} --format csv"));
    assert_eq!(
        csv.out(),
        "z,OBJECT,value\n1,\"a, \"\"b\"\"\",0\n2,\"a, \"\"b\"\"\",0\n"
    );
    let text = dir.ok(line);
    assert_eq!(
        text.out(),
        "# z\tOBJECT\tvalue\n1\ta, \"b\"\t0\n2\ta, \"b\"\t0\n"
    );
}

#[test]
fn what_was_deleted_of_a_frame_is_not_measured() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[3, 1], &[f32::NAN, 100.0, 1.0]));
    dir.frame(
        "2.fits",
        &Image::of(&[3, 1, 2], &[7f32, 8.0, 2.0, 9.0, 50.0, 3.0]),
    );
    dir.ok("append a.cube --axis z 1.fits 2.fits");
    dir.ok("delete a.cube --axis x --at 1,2");
    let told = || {
        let run = dir.ok("info a.cube --frames --csv --keys nan,max");
        let rows = run.out().lines().skip(1);
        rows.map(|row| {
            row.rsplitn(3, ',')
                .take(2)
                .map(str::to_string)
                .collect::<Vec<_>>()
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(told(), [["1.0", "0"], ["3.0", "0"]]);
    dir.ok("delete a.cube --at 3");
    assert_eq!(told(), [["1.0", "0"], ["2.0", "0"]]);
    let chosen = run(&dir, "slice a.cube --axis z --at 1,1", "max == 2");
    assert_eq!(String::from_utf8(chosen).unwrap(), "# z\tvalue\n2\t2\n");
}

#[test]
fn keys_are_told_along_any_axis_and_unknown_ones_pointed_out() {
    let dir = Scratch::new();
    let image = Image::of(
        &[3, 2],
        &[1f32, f32::INFINITY, 3.0, f32::NEG_INFINITY, 5.0, 6.0],
    )
    .with("EXPTIME", "2.5")
    .with_card("HIERARCH ESO DET ID = 'd1'")
    .with_card("EMPTY   =");
    dir.frame("1.fits", &image);
    dir.frame(
        "2.fits",
        &Image::of(&[3, 2], &[7f32; 6]).with("EXPTIME", "9.5"),
    );
    dir.ok("append a.cube 1.fits 2.fits");
    let run = dir.ok("slice a.cube --axis x --at 1,2 --keys EXPTIME,Median");
    assert_eq!(
        run.out(),
        "# x\tEXPTIME\tMedian\tvalue\n1\t9.5\tnan\t7\n2\t9.5\tnan\t7\n3\t9.5\tnan\t7\n"
    );
    run.says(&["--keys: no frame has a card Median; lower-case median is measured"]);
    let run = dir.ok("slice a.cube --axis z --at 1,1 --keys ESO.DET.ID,max,min,EMPTY --format csv");
    assert_eq!(
        run.out(),
        "z,ESO.DET.ID,max,min,EMPTY,value\n1,d1,inf,-inf,nan,1\n2,nan,7.0,7.0,nan,7\n"
    );
    assert_eq!(run.err, "");
    for keys in ["", "EXPTIME,,max"] {
        let run = dir.cube_args([
            "slice", "a.cube", "--axis", "z", "--at", "1,1", "--keys", keys,
        ]);
        run.ends(2).says(&["a name is empty"]);
    }
    dir.cube_args([
        "slice",
        "a.cube",
        "--axis",
        "x,y",
        "--at",
        "2",
        "-o",
        "x.fits",
        "--where",
        "EXPTIME > 5",
    ])
    .fails(&[
        "position 2 is outside",
        "count the frames that --where leaves",
    ]);
    dir.ok("sort a.cube --by ESO.DET.ID")
        .says(&["1 frame has no ESO.DET.ID"]);
    dir.ok("sort a.cube --by max --reverse");
    assert_eq!(dir.samples::<f32>("a.cube --axis z --at 1,1"), [1.0, 7.0]);
    dir.ok("sort a.cube --by max");
    assert_eq!(dir.samples::<f32>("a.cube --axis z --at 1,1"), [7.0, 1.0]);
    let frame = read_fits(&self::run(
        &dir,
        "combine a.cube --method mean -o - --format fits",
        "EXPTIME > 5",
    ));
    assert!(
        frame[0]
            .cards
            .iter()
            .any(|card| card.contains("1 positions of z of a.cube"))
    );
}

#[test]
fn a_part_of_each_frame_is_measured_for_itself() {
    let (dir, order) = night();
    let part = |samples: &[f32], xs: &[usize], ys: &[usize]| {
        let at = ys.iter().flat_map(|y| xs.iter().map(move |x| y * 9 + x));
        let values: Vec<f64> = at
            .map(|at| f64::from(samples[at]))
            .filter(|v| !v.is_nan())
            .collect();
        values.iter().sum::<f64>()
    };
    for (section, xs, ys, frames) in [
        ("[2:4,3:5,*]", vec![1, 2, 3], vec![2, 3, 4], 0..11),
        ("[9:1:4,2,3:6]", vec![0, 4, 8], vec![1], 2..6),
        ("[1:9:8,*,-1]", vec![0, 8], (0..7).collect(), 10..11),
    ] {
        let line = format!("info a.cube --frames --json --keys sum,EXPTIME --section {section}");
        let rows: Vec<Value> = serde_json::from_slice(&dir.ok(&line).out).unwrap();
        assert_eq!(rows.len(), frames.len(), "{section}");
        for (row, k) in rows.iter().zip(frames) {
            let samples: Vec<f32> =
                read_fits(&dir.read(&format!("{}.fits", order[k])))[0].samples();
            let sum = row["keys"]["sum"].as_f64().unwrap();
            assert!(
                (sum - part(&samples, &xs, &ys)).abs() < 1e-9,
                "{section} {k}: {sum}"
            );
            assert_eq!(row["position"], k + 1);
        }
    }
    // A frame that does not reach the part is not told of.
    dir.frame("small.fits", &Image::of(&[2, 2], &[1f32, 2.0, 3.0, 4.0]));
    dir.ok("append a.cube small.fits");
    let listed = |section: &str| {
        let run = dir.ok(&format!(
            "info a.cube --frames --csv --keys sum --section {section}"
        ));
        run.out()
            .lines()
            .skip(1)
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    assert!(
        listed("[3,1,*]")
            .iter()
            .all(|row| !row.contains("small.fits"))
    );
    assert_eq!(
        listed("[2:5,2:5,-1]"),
        ["12,1,z,small.fits,0,2x2,float32,4.0"]
    );
    dir.cube("info a.cube --frames --section [1,2]")
        .fails(&["a.cube: "]);
    dir.cube("info a.cube --section [1,2,*]").ends(2);
}

#[test]
fn a_slip_in_where_does_not_look_like_a_night_without_frames() {
    let dir = Scratch::new();
    for number in 1..=2u8 {
        let image = Image::new(&[3, 2], |_| number).with("FILTER", "'R'");
        dir.frame(&format!("{number}.fits"), &image);
    }
    dir.cube("append a.cube -q --where FILTR=='R' 1.fits 2.fits")
        .fails(&["no frame has a card FILTR"]);
    dir.ok("append a.cube -q --where FILTER=='V' 1.fits 2.fits");
    assert!(!dir.exists("a.cube"));
}
