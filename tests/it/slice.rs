//! `cube slice`: profiles, sections and frames out.

use std::fs;
use std::io::{BufRead, BufReader, Read};

use serde_json::{Value, json};

use crate::support::{Image, Scratch, finish, read_fits};

/// A cube of 5 x 4 x 6 whose sample at x, y, z (from 1) is 100 z + 10 y + x.
fn cube() -> Scratch {
    let dir = Scratch::new();
    for z in 1..=6i16 {
        dir.frame(
            &format!("{z}.fits"),
            &Image::new(&[5, 4], |k| {
                let k = k as i16;
                100 * z + 10 * (k / 5 + 1) + k % 5 + 1
            }),
        );
    }
    // Tiles smaller than the cube, so that cuts cross them.
    dir.ok("append a.cube --tile 2,3,4 1.fits 2.fits 3.fits 4.fits 5.fits 6.fits");
    dir
}

fn value(x: i16, y: i16, z: i16) -> i16 {
    100 * z + 10 * y + x
}

/// The samples of a box, x fastest.
fn box_of(xs: &[i16], ys: &[i16], zs: &[i16]) -> Vec<i16> {
    let mut all = Vec::new();
    for &z in zs {
        for &y in ys {
            all.extend(xs.iter().map(|&x| value(x, y, z)));
        }
    }
    all
}

#[test]
fn a_profile_is_text_on_standard_output() {
    let dir = cube();
    let run = dir.ok("slice a.cube --axis z --at 2,3");
    assert_eq!(
        run.out(),
        "# z\tvalue\n1\t132\n2\t232\n3\t332\n4\t432\n5\t532\n6\t632\n"
    );
    assert_eq!(run.err, "");
    assert_eq!(
        dir.profile("a.cube --axis x --at 4,5"),
        ["541", "542", "543", "544", "545"]
    );
    assert_eq!(
        dir.profile("a.cube --axis 2 --at -1,-1"),
        ["615", "625", "635", "645"]
    );
}

#[test]
fn a_profile_comes_in_every_format() {
    let dir = cube();
    let out = |format: &str| {
        let run = dir.ok(&format!(
            "slice a.cube --axis y --at 2,3 --format {format} -o -"
        ));
        String::from_utf8(run.out).unwrap()
    };
    assert_eq!(out("text"), "# y\tvalue\n1\t312\n2\t322\n3\t332\n4\t342\n");
    assert_eq!(out("csv"), "y,value\n1,312\n2,322\n3,332\n4,342\n");
    assert_eq!(out("tsv"), "y\tvalue\n1\t312\n2\t322\n3\t332\n4\t342\n");
    let found: Value = serde_json::from_str(&out("json")).unwrap();
    assert_eq!(
        found,
        json!({
            "axis": "y",
            "positions": [1, 2, 3, 4],
            "profiles": [{"at": [2, 3], "values": [312, 322, 332, 342]}],
        })
    );
    // The name of the output says the format as well.
    for (name, begins) in [
        ("p.txt", "# y\t"),
        ("p.csv", "y,value\n1,312\n"),
        ("p.tsv", "y\tvalue\n1\t312\n"),
        ("p.json", "{\"axis\":\"y\""),
    ] {
        let run = dir.ok(&format!("slice a.cube --axis y --at 2,3 -o {name}"));
        assert_eq!(run.out, b"");
        let text = String::from_utf8(dir.read(name)).unwrap();
        assert!(text.starts_with(begins), "{text}");
    }
    let fits = read_fits(
        &dir.ok("slice a.cube --axis y --at 2,3 --format fits -o -")
            .out,
    );
    assert_eq!(fits[0].shape, [4]);
    assert_eq!(fits[0].samples::<i16>(), [312, 322, 332, 342]);
}

#[test]
fn an_array_for_numpy_holds_the_cut_slowest_axis_first() {
    let dir = cube();
    dir.ok("slice a.cube --section 2:3,*,5:6 -o a.npy");
    let bytes = dir.read("a.npy");
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(header.is_multiple_of(64));
    let text = std::str::from_utf8(&bytes[10..header]).unwrap();
    assert!(text.contains("'descr': '<i2'"), "{text}");
    assert!(text.contains("'fortran_order': False"), "{text}");
    assert!(text.contains("'shape': (2, 4, 2)"), "{text}");
    let found: Vec<i16> = bytes[header..]
        .chunks_exact(2)
        .map(|two| i16::from_le_bytes([two[0], two[1]]))
        .collect();
    assert_eq!(found, box_of(&[2, 3], &[1, 2, 3, 4], &[5, 6]));
}

#[test]
fn many_profiles_come_in_one_pass_and_in_the_order_asked() {
    let dir = cube();
    let run = dir.ok("slice a.cube --axis z --at 5,4 --at 1,1 --at 5,4 --format csv");
    assert_eq!(
        run.out(),
        "z,\"5,4\",\"1,1\",\"5,4\"\n1,145,111,145\n2,245,211,245\n3,345,311,345\n\
         4,445,411,445\n5,545,511,545\n6,645,611,645\n"
    );
    let cut = dir.cut("a.cube --axis z --at 5,4 --at 1,1");
    assert_eq!(cut.shape, [6, 2]);
    assert_eq!(
        cut.samples::<i16>(),
        [145, 245, 345, 445, 545, 645, 111, 211, 311, 411, 511, 611]
    );
    let run = dir.ok("slice a.cube --axis z --at 1,2 --at 2,1 --format json");
    let found: Value = serde_json::from_str(run.out()).unwrap();
    assert_eq!(found["profiles"][1]["at"], json!([2, 1]));
    assert_eq!(
        found["profiles"][1]["values"],
        json!([112, 212, 312, 412, 512, 612])
    );
}

#[test]
fn positions_may_come_from_a_file() {
    let dir = cube();
    dir.write("places", "# stars\n2,3\n\n 4  1 # the bright one\n-1,-1\n");
    let run = dir.ok("slice a.cube --axis z --at-file places --format tsv");
    let rows: Vec<&str> = run.out().lines().collect();
    assert_eq!(rows[0].split('\t').count(), 4);
    assert_eq!(rows[1], "1\t132\t114\t145");
    assert_eq!(rows[6], "6\t632\t614\t645");
    let fed = dir
        .cube_fed("slice a.cube --axis z --at-file - --at 1,1", b"2 3\n")
        .ends(0);
    assert!(fed.out().contains("\n1\t111\t132\n"), "{}", fed.out());
    dir.write("nothing", "# none\n");
    dir.cube("slice a.cube --axis z --at-file nothing")
        .fails(&["nothing: holds no positions"]);
    dir.cube("slice a.cube --axis z --at-file missing")
        .fails(&["missing: cannot read positions: no such file"]);
}

#[test]
fn floats_are_written_so_that_they_read_back() {
    let dir = Scratch::new();
    let samples = [0.1f32, f32::NAN, f32::INFINITY, 1e-45, 16_777_216.0, -0.0];
    dir.frame("1.fits", &Image::of(&[6], &samples));
    dir.ok("append a.cube 1.fits");
    let found = dir.profile("a.cube --axis x --at 1");
    assert_eq!(found[1], "nan");
    assert_eq!(found[2], "inf");
    for (text, sample) in found.iter().zip(&samples) {
        let read: f32 = text.parse().unwrap();
        assert!(
            read.to_bits() == sample.to_bits() || sample.is_nan(),
            "{text}"
        );
    }
    let run = dir.ok("slice a.cube --axis x --at 1 --format json");
    let json: Value = serde_json::from_str(run.out()).unwrap();
    let values = &json["profiles"][0]["values"];
    assert_eq!((&values[1], &values[2]), (&Value::Null, &Value::Null));
    assert_eq!(values[4], 16_777_216.0);
}

#[test]
fn sections_run_forwards_backwards_and_in_steps() {
    let dir = cube();
    type Positions = &'static [i16];
    let cases: [(&str, Positions, Positions, Positions); 9] = [
        ("[2:4,*,5]", &[2, 3, 4], &[1, 2, 3, 4], &[5]),
        (
            "[*,*,-*]",
            &[1, 2, 3, 4, 5],
            &[1, 2, 3, 4],
            &[6, 5, 4, 3, 2, 1],
        ),
        ("[4:2,2:1,3]", &[4, 3, 2], &[2, 1], &[3]),
        ("[1:5:2,*:3,1:6:5]", &[1, 3, 5], &[1, 4], &[1, 6]),
        ("[5:1:2,-*:2,6:1:4]", &[5, 3, 1], &[4, 2], &[6, 2]),
        ("[-2:-1,-1,-6]", &[4, 5], &[4], &[1]),
        ("3,3,3", &[3], &[3], &[3]),
        ("[ 1 : 2 , 4 , * ]", &[1, 2], &[4], &[1, 2, 3, 4, 5, 6]),
        ("[*:100,1,1]", &[1], &[1], &[1]),
    ];
    for (section, xs, ys, zs) in cases {
        let run = dir
            .cube_args([
                "slice",
                "a.cube",
                "--section",
                section,
                "--format",
                "fits",
                "-o",
                "-",
            ])
            .ends(0);
        let cut = &read_fits(&run.out)[0];
        assert_eq!(
            cut.shape,
            [xs.len() as u64, ys.len() as u64, zs.len() as u64]
        );
        assert_eq!(cut.samples::<i16>(), box_of(xs, ys, zs), "{section}");
    }
}

#[test]
fn the_axes_that_stay_may_be_any() {
    let dir = cube();
    let all: Vec<i16> = (1..=6).collect();
    let cut = dir.cut("a.cube --axis x,z --at 3");
    assert_eq!(cut.shape, [5, 6]);
    assert_eq!(cut.samples::<i16>(), box_of(&all[..5], &[3], &all));
    let cut = dir.cut("a.cube --axis z,y --at 5");
    assert_eq!(cut.shape, [4, 6], "axes come out in their order");
    assert_eq!(cut.samples::<i16>(), box_of(&[5], &all[..4], &all));
    let cut = dir.cut("a.cube --axis x,y,z");
    assert_eq!(cut.samples::<i16>(), box_of(&all[..5], &all[..4], &all));
    let cut = dir.cut("a.cube");
    assert_eq!(cut.shape, [5, 4, 6]);
    assert_eq!(cut.samples::<i16>(), box_of(&all[..5], &all[..4], &all));
}

#[test]
fn positions_outside_say_the_valid_range() {
    let dir = cube();
    for (options, says) in [
        (
            "--axis z --at 6,1",
            "position 6 is outside the cube: x runs from 1 to 5",
        ),
        (
            "--axis z --at 1,0",
            "position 0 is outside the cube: y runs from 1 to 4",
        ),
        (
            "--axis z --at 1,-5",
            "position -5 is outside the cube: y runs from 1 to 4",
        ),
        (
            "--axis x,y --at 7",
            "position 7 is outside the cube: z runs from 1 to 6",
        ),
        (
            "--section [1:6,*,*]",
            "position 6 is outside the cube: x runs from 1 to 5",
        ),
        (
            "--section [*,*,0]",
            "position 0 is outside the cube: z runs from 1 to 6",
        ),
        (
            "--section [*,*]",
            "has 2 axes, but the cube has 3: 5 x 4 x 6",
        ),
        ("--section [*,*,*,1]", "has 4 axes, but the cube has 3"),
        ("--section [*,*,a]", "`a` is not a position on z"),
        ("--section [*,*,1:2:0]", "step `0`"),
        (
            "--section [*,*,1:2:3:4]",
            "cannot read `1:2:3:4` as positions on z",
        ),
        (
            "--axis z --at 1",
            "has 1 position, and takes one on each of x,y",
        ),
        (
            "--axis z --at 1,2,3",
            "has 3 positions, and takes one on each of x,y",
        ),
        (
            "--axis z --at 99999999999999999999,1",
            "is not a position on x",
        ),
        (
            "--axis w --at 1,1,1",
            "there is no axis w: the cube has 5 x 4 x 6",
        ),
        (
            "--axis z --at 1,1 --at 9,9",
            "position 9 is outside the cube: x runs from 1 to 5",
        ),
    ] {
        dir.cube(&format!("slice a.cube {options} --format fits -o -"))
            .fails(&["cube: a.cube: ", says]);
        dir.cube(&format!("slice a.cube {options} -o out.fits"))
            .fails(&[says]);
        assert!(!dir.exists("out.fits"), "{options}");
    }
    dir.cube("slice a.cube --axis x,y --at 1 --at 2 --format npy -o -")
        .fails(&["--at is repeated"]);
}

#[test]
fn an_output_is_needed_and_told_by_its_name() {
    let dir = cube();
    dir.cube("slice a.cube")
        .fails(&["no profile, so it needs an output", "hint: -o FILE.fits"]);
    dir.cube("slice a.cube -o a.jpg")
        .fails(&["a.jpg: ", ".jpg", "hint: --format"]);
    dir.cube("slice a.cube -o a.csv")
        .fails(&["csv holds profiles, but the cut is 5 x 4 x 6", "hint: "]);
    dir.cube("slice a.cube -o none/a.fits").fails(&["none"]);
    assert!(!dir.exists("a.jpg") && !dir.exists("a.csv"));
    let run = dir.ok("slice a.cube -o -");
    assert_eq!(read_fits(&run.out)[0].shape, [5, 4, 6]);
}

#[test]
fn an_output_is_replaced_only_when_asked() {
    let dir = cube();
    dir.write("out.fits", "precious");
    dir.cube("slice a.cube -o out.fits")
        .fails(&["out.fits: exists", "hint: --overwrite"]);
    assert_eq!(dir.read("out.fits"), b"precious");
    let names = dir.names();
    dir.ok("slice a.cube --overwrite -o out.fits");
    assert_eq!(read_fits(&dir.read("out.fits"))[0].shape, [5, 4, 6]);
    assert_eq!(dir.names(), names, "nothing else is left");
}

#[test]
fn a_pipe_that_closes_is_no_error() {
    let dir = cube();
    for line in [
        "slice a.cube --axis z --at 1,1",
        "slice a.cube -o -",
        "slice a.cube --axis z --at 1,1 --format json",
        "info a.cube",
        "info a.cube --frames",
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = dir.command();
        command.args(line.split_whitespace()).stdout(writer);
        let run = finish(command.spawn().unwrap());
        assert_eq!((run.status, run.err.as_str()), (0, ""), "{line}");
    }
    // As `| head -1` does: a line is read, then nobody listens to the rest.
    dir.frame("long.fits", &Image::new(&[200_000], |k| k as f64 / 3.0));
    dir.ok("append long.cube long.fits");
    let mut command = dir.command();
    command.args(["slice", "long.cube", "--axis", "x", "--at", "1"]);
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut first).unwrap();
    drop(out);
    assert_eq!(first, "# x\tvalue\n");
    let run = finish(child);
    assert_eq!((run.status, run.err.as_str()), (0, ""));
}

#[test]
fn a_fits_output_is_what_the_standard_asks_for() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[3, 1], &[0u16, 40000, 65535]));
    dir.ok("append a.cube --axis z 1.fits");
    dir.ok("slice a.cube -o out.fits");
    let bytes = dir.read("out.fits");
    assert_eq!(bytes.len(), 2 * 2880);
    let hdu = &read_fits(&bytes)[0];
    assert_eq!(hdu.shape, [3, 1, 1]);
    let keywords: Vec<&str> = hdu.cards.iter().map(|card| card[..8].trim()).collect();
    assert_eq!(
        keywords[..6],
        ["SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3"]
    );
    assert_eq!(hdu.value("SIMPLE").as_deref(), Some("T"));
    assert_eq!(hdu.value("BZERO").as_deref(), Some("32768"));
    assert_eq!(hdu.samples::<u16>(), [0, 40000, 65535]);
    for keyword in ["BZERO", "BSCALE", "BITPIX", "NAXIS"] {
        let count = keywords.iter().filter(|&&other| other == keyword).count();
        assert_eq!(count, 1, "{keyword}");
    }
}

/// A frame with coordinates and cards of all kinds.
fn with_cards(number: i16) -> Image {
    Image::new(&[6, 4], |k| number * 100 + k as i16)
        .with("EXPTIME", &format!("{number}.5"))
        .with_card(format!(
            "OBJECT  = 'star {number}'           / what was looked at"
        ))
        .with("CTYPE1", "'RA---TAN'")
        .with("CTYPE2", "'DEC--TAN'")
        .with("CRPIX1", "3.0")
        .with("CRPIX2", "2.5")
        .with("CRVAL1", "10.0")
        .with("CRVAL2", "20.0")
        .with("CDELT1", "-0.1")
        .with("CDELT2", "0.1")
        .with_card("HIERARCH ESO DET CHIP TEMP = -120.5")
        .with_card("COMMENT a comment")
        .with_card("HISTORY a history")
}

#[test]
fn a_frame_that_is_cut_out_has_its_own_cards() {
    let dir = Scratch::new();
    for number in 1..=3 {
        dir.frame(&format!("{number}.fits"), &with_cards(number));
    }
    dir.ok("append a.cube 1.fits 2.fits 3.fits");
    for number in 1..=3i16 {
        let cut = dir.cut(&format!("a.cube --axis x,y --at {number}"));
        assert_eq!(cut.shape, [6, 4]);
        assert_eq!(cut.data, with_cards(number).data);
        assert_eq!(cut.number("EXPTIME"), Some(f64::from(number) + 0.5));
        assert_eq!(cut.value("OBJECT"), Some(format!("'star {number}'")));
        assert_eq!(cut.number("CRPIX1"), Some(3.0));
        assert_eq!(cut.value("CTYPE2").as_deref(), Some("'DEC--TAN'"));
        for card in [
            "HIERARCH ESO DET CHIP TEMP = -120.5",
            "COMMENT a comment",
            "HISTORY a history",
        ] {
            assert!(cut.cards.iter().any(|other| other == card), "{card}");
        }
    }
}

#[test]
fn the_reference_pixel_moves_with_the_cut() {
    let dir = Scratch::new();
    dir.frame("1.fits", &with_cards(1));
    dir.ok("append a.cube 1.fits");
    let pixel = |section: &str| {
        let cut = dir.cut(&format!("a.cube --section {section}"));
        let of = |keyword: &str| cut.number(keyword).unwrap();
        (of("CRPIX1"), of("CRPIX2"), of("CDELT1"), of("CDELT2"))
    };
    assert_eq!(pixel("*,*,*"), (3.0, 2.5, -0.1, 0.1));
    assert_eq!(pixel("2:6,3:4,*"), (2.0, 0.5, -0.1, 0.1));
    // Pixel 3 is the second of 1:5:2; (2.5 - 1) / 3 + 1 is 1.5.
    let (x, y, dx, dy) = pixel("1:5:2,*:3,*");
    assert_eq!((x, y), (2.0, 1.5));
    assert!((dx + 0.2).abs() < 1e-12 && (dy - 0.3).abs() < 1e-12);
    let (x, y, dx, dy) = pixel("-*,4:1,*");
    assert_eq!((x, y, dx, dy), (4.0, 2.5, 0.1, -0.1));
}

#[test]
fn a_frame_that_does_not_read_as_it_was_written_is_not_put_out() {
    let dir = Scratch::new();
    dir.frame(
        "1.fits",
        &Image::of(
            &[4, 1],
            &[0x1234_5678, 0x2345_6789, 0x3456_789a, 0x4567_89ab],
        ),
    );
    dir.frame("2.fits", &Image::of(&[4, 1], &[1, 2, 3, 4]));
    // With pad 0 samples stand in the file as they are.
    dir.ok("append a.cube --axis z --pad 0 1.fits 2.fits");
    let mut bytes = dir.read("a.cube");
    let mark = 0x2345_6789u32.to_le_bytes();
    let places: Vec<usize> = (0..bytes.len() - 4)
        .filter(|&at| bytes[at..at + 4] == mark)
        .collect();
    assert_eq!(places.len(), 1, "a sample is stored once");
    bytes[places[0]] ^= 0x10;
    dir.write("a.cube", bytes);

    dir.cube("slice a.cube --axis x,y --at 1 -o out.fits")
        .fails(&[
            "cube: a.cube: frame 1.fits does not read as it was written",
            "checksum is ",
            ", expected ",
        ]);
    assert!(!dir.exists("out.fits"));
    dir.write("out.fits", "precious");
    dir.cube("slice a.cube --axis x,y --at 1 --overwrite -o out.fits")
        .ends(1);
    assert_eq!(dir.read("out.fits"), b"precious");
    assert_eq!(dir.names(), ["1.fits", "2.fits", "a.cube", "out.fits"]);
    assert_eq!(
        dir.samples::<i32>("a.cube --axis x,y --at 2"),
        [1, 2, 3, 4],
        "the other frame is whole"
    );
}

#[test]
fn readers_see_the_commit_they_opened_while_a_writer_appends() {
    // The output is blocked by a pipe that nobody empties until the append is done.
    let dir = Scratch::new();
    let side = 256;
    dir.frame("1.fits", &Image::new(&[side, side], |k| k as i32));
    dir.frame("2.fits", &Image::new(&[side, side], |k| -(k as i32)));
    dir.ok("append a.cube 1.fits");
    let mut command = dir.command();
    let mut child = command
        .args(["slice", "a.cube", "-o", "-"])
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut bytes = vec![0; 2880];
    out.read_exact(&mut bytes).unwrap();
    dir.ok("append a.cube 2.fits");
    dir.ok("append a.cube --before --axis x 2.fits");
    out.read_to_end(&mut bytes).unwrap();
    finish(child).ends(0);
    let hdu = &read_fits(&bytes)[0];
    assert_eq!(hdu.shape, [side, side, 1]);
    assert!(hdu.samples::<i32>().into_iter().eq(0..(side * side) as i32));
    assert_eq!(dir.shape("a.cube"), [2 * side, side, 2]);
}

#[test]
fn little_memory_changes_no_sample() {
    let dir = Scratch::new();
    // Larger than the pieces that are read at once with the least memory.
    dir.frame("1.fits", &Image::new(&[1500, 1000], |k| k as u32));
    dir.ok("append a.cube --memory 16M 1.fits 1.fits");
    let found = dir.samples::<u32>("a.cube --memory 16M --section *,-*,2:1");
    let row = |y: u32| (0..1500).map(move |x| 1500 * y + x);
    let expected = || (0..1000).rev().flat_map(row);
    assert!(found.into_iter().eq(expected().chain(expected())));
    dir.cube("slice a.cube --memory 15M -o -").ends(2);
    assert!(fs::metadata(dir.path("a.cube")).unwrap().len() >= 2 * 6_000_000);
}

#[test]
fn void_that_looks_like_data_is_told() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::new(&[4, 3], |k| k as i16));
    dir.frame("2.fits", &Image::new(&[2, 2], |k| k as i16));
    dir.ok("append a.cube 1.fits 2.fits");
    let told = "where no frame reaches, the cut is -32768";
    for cut in ["", "--axis x,y --at 2", "--section [3:4,*,*]"] {
        dir.ok(&format!("slice a.cube {cut} -o a.npy --overwrite"))
            .says(&[told]);
    }
    for cut in [
        "--axis x,y --at 1",
        "--section [1:2,1:2,*]",
        "--axis z --at 4,3",
    ] {
        let run = dir.ok(&format!("slice a.cube {cut} -o a.fits --overwrite"));
        assert!(!run.err.contains(told), "{cut}: {}", run.err);
    }
}

#[test]
fn frames_that_fill_a_cut_together_leave_no_void() {
    let dir = Scratch::new();
    let frame = |shape: &[u64]| Image::new(shape, |k| k as i16);
    dir.frame("a.fits", &frame(&[8, 10]));
    dir.frame("row.fits", &frame(&[16, 3]));
    dir.frame("u.fits", &Image::new(&[8, 10], |k| k as u16));
    dir.frame("plane.fits", &frame(&[16, 10]));
    dir.frame("short.fits", &frame(&[8, 9]));
    let told = "where no frame reaches, the cut is ";
    let is_told = |cut: &str| {
        let run = dir.ok(&format!("slice {cut} -o out.fits --overwrite"));
        run.err.contains(told)
    };
    dir.ok("append x.cube --axis x a.fits a.fits --tile 5,4,2");
    dir.ok("append y.cube --axis y a.fits a.fits a.fits");
    dir.ok("append u.cube --axis x u.fits u.fits");
    for cube in [
        "x.cube",
        "y.cube",
        "u.cube",
        "u.cube --section [-*,2:9:3,*]",
    ] {
        assert!(!is_told(cube), "{cube}");
    }
    // Tiles of both axes, a strip in the middle of one, and planes behind them.
    dir.ok("append x.cube --axis y row.fits");
    dir.ok("insert x.cube --axis x --at 3 a.fits");
    dir.ok("insert x.cube --axis y --at 6 row.fits");
    assert!(is_told("x.cube"), "the strip and the last row are short");
    assert!(is_told("x.cube --section [1:12,1:14,*]"));
    assert!(!is_told("x.cube --section [11:24:2,1:5,*]"));
    assert!(!is_told("x.cube --section [1:10,9:13,*]"));
    dir.ok("compact u.cube");
    assert!(!is_told("u.cube"));
    // Of four axes, the last grown by a cube.
    dir.ok("append w.cube --axis z plane.fits plane.fits plane.fits");
    dir.ok("append more.cube --axis z plane.fits plane.fits plane.fits");
    dir.ok("append w.cube --axis w more.cube");
    assert!(!is_told("w.cube"));
    dir.ok("append w.cube --axis w plane.fits");
    assert!(is_told("w.cube"));
    assert!(!is_told("w.cube --section [*,*,*,1:2]"));
    // Only what is stepped over is void.
    dir.ok("append s.cube a.fits short.fits a.fits");
    assert!(is_told("s.cube") && !is_told("s.cube --section [*,*,1:3:2]"));
    assert!(!is_told("s.cube --section [*,9:1:2,*]") && is_told("s.cube --section [*,10:1:3,*]"));
}

/// A tile of a mosaic: its first pixel is this one of the whole, from 0.
fn tile(shape: &[u64], x: i32, y: i32) -> Image {
    Image::new(shape, |k| k as f32)
        .with("CTYPE1", "'RA---TAN'")
        .with("CTYPE2", "'DEC--TAN'")
        .with("CRPIX1", &format!("{:?}", 12.3 - f64::from(x)))
        .with("CRPIX2", &format!("{:?}", 2.5 - f64::from(y)))
        .with("CRVAL1", "10.0")
        .with("CRVAL2", "20.0")
        .with("CD1_1", "-0.1")
        .with("CD1_2", "0.01")
        .with("CD2_2", "0.1")
}

#[test]
fn tiles_that_continue_one_another_keep_their_coordinates() {
    let dir = Scratch::new();
    for x in 0..4 {
        dir.frame(&format!("{x}.fits"), &tile(&[6, 4], 6 * x, 0));
    }
    dir.frame("row.fits", &tile(&[24, 3], 0, 4));
    dir.frame("more.fits", &tile(&[5, 7], 24, 0));
    dir.ok("append a.cube --axis x 0.fits 1.fits 2.fits 3.fits");
    let pixel = |cut: &str| {
        let line = format!("slice a.cube {cut} -o out.fits --overwrite");
        let run = dir.ok(&line);
        assert!(!run.err.contains("left out"), "{line}: {}", run.err);
        let hdu = &read_fits(&dir.read("out.fits"))[0];
        assert_eq!(hdu.value("CTYPE1").as_deref(), Some("'RA---TAN'"), "{cut}");
        assert_eq!(hdu.value("CTYPE2").as_deref(), Some("'DEC--TAN'"), "{cut}");
        let of = |keyword: &str| hdu.number(keyword).unwrap();
        assert!((of("CD1_2") / of("CD2_2") - 0.1).abs() < 1e-12);
        [of("CRPIX1"), of("CRPIX2"), of("CD1_1")].map(|value| (value * 1e6).round() / 1e6)
    };
    assert_eq!(pixel("--axis x,y --at 1"), [12.3, 2.5, -0.1]);
    assert_eq!(pixel("--section [5:20,*,*]"), [8.3, 2.5, -0.1]);
    assert_eq!(pixel("--section [9:21:3,*,*]"), [2.1, 2.5, -0.3]);
    assert_eq!(pixel("--section [-*,*,*]"), [12.7, 2.5, 0.1]);
    // Tiles on both axes.
    dir.ok("append a.cube --axis y row.fits");
    dir.ok("append a.cube --axis x more.fits");
    assert_eq!(pixel(""), [12.3, 2.5, -0.1]);
    assert_eq!(pixel("--section [20:29,3:7,*]"), [-6.7, 0.5, -0.1]);
    let axes = &dir.info("a.cube")["axes"];
    assert_eq!(axes[0]["world"]["pixel"], 12.3);
    assert_eq!(axes[1]["world"]["ctype"], "DEC--TAN");
    // What is taken out and put back in its place.
    dir.ok("delete a.cube --axis x --at 7:12");
    let told = "coordinates of axis x are left out: frames in the output do not continue";
    let cut = "slice a.cube -o out.fits --overwrite";
    dir.ok(cut)
        .says(&[told, "axis y are left out: they depend on axis x"]);
    assert!(
        read_fits(&dir.read("out.fits"))[0]
            .value("CRPIX1")
            .is_none()
    );
    assert!(dir.info("a.cube")["axes"][0]["world"].is_null());
    assert_eq!(pixel("--section [1:6,*,*]"), [12.3, 2.5, -0.1]);
    dir.frame("tall.fits", &tile(&[6, 7], 6, 0));
    dir.ok("insert a.cube --axis x --at 7 tall.fits");
    assert_eq!(pixel(""), [12.3, 2.5, -0.1]);
    // A strip inside a tile, or a row that is not theirs.
    dir.ok("insert a.cube --axis x --at 3 0.fits");
    let broken = "coordinates of axis x are left out: its positions are not evenly spaced";
    dir.ok(cut).says(&[broken]);
    assert_eq!(pixel("--section [9:20,*,*]"), [10.3, 2.5, -0.1]);
    dir.ok("undo a.cube");
    dir.ok("append a.cube --axis y row.fits");
    dir.ok(cut)
        .says(&["coordinates of axis y are left out: frames in the output"]);
    assert_eq!(pixel("--section [*,1:7,*]"), [12.3, 2.5, -0.1]);
}

#[test]
fn frames_of_a_stack_have_coordinates_of_their_own() {
    let dir = Scratch::new();
    dir.frame("1.fits", &tile(&[6, 4], 0, 0));
    dir.frame("2.fits", &tile(&[7, 5], 3, 1));
    dir.frame("3.fits", &tile(&[2, 4, 2], 7, 0));
    dir.ok("append a.cube 1.fits 2.fits");
    let told = "do not continue";
    let run = dir.ok("slice a.cube -o 1.out.fits");
    assert!(!run.err.contains(told), "{}", run.err);
    dir.ok("append a.cube --axis x 3.fits");
    let run = dir.ok("slice a.cube -o 2.out.fits");
    assert!(!run.err.contains(told), "{}", run.err);
    let hdu = &read_fits(&dir.read("2.out.fits"))[0];
    assert_eq!(
        (hdu.number("CRPIX1"), hdu.number("CRPIX2")),
        (Some(12.3), Some(2.5))
    );
    let run = dir.ok("slice a.cube --axis x,y --at 2 -o 3.out.fits");
    run.says(&[told]);
    // Blocks, one behind the other: each is a stack of its own, but z goes on or not.
    for (k, x, z) in [(0, 0, 3), (1, 1, 1), (2, 0, 1)] {
        let block = tile(&[6, 4, 2], x, 0)
            .with("CTYPE3", "'FREQ'")
            .with("CRPIX3", &z.to_string());
        dir.frame(&format!("b{k}.fits"), &block);
    }
    let pixels = || {
        dir.ok("slice b.cube -o b.out.fits --overwrite");
        let hdu = &read_fits(&dir.read("b.out.fits"))[0];
        ["CRPIX1", "CRPIX2", "CRPIX3"].map(|keyword| hdu.number(keyword))
    };
    dir.ok("append b.cube --axis z b0.fits b1.fits");
    assert_eq!(pixels(), [Some(12.3), Some(2.5), Some(3.0)]);
    dir.ok("append b.cube --axis z b2.fits");
    assert_eq!(pixels(), [Some(12.3), Some(2.5), None]);
}
