//! `cube info`: what a cube says of itself.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Image, Scratch};

fn cube() -> Scratch {
    let dir = Scratch::new();
    for number in 1..=3 {
        let image = Image::new(&[7, 5], |k| number * 100 + k as i16)
            .with("EXPTIME", &format!("{number}.5"))
            .with("FILTER", &format!("'r,{number}'"))
            .with("COUNT", &number.to_string())
            .with("GOOD", "T");
        dir.frame(&format!("{number}.fits"), &image);
    }
    dir.ok("append a.cube --tile 4,4,2 --pad -3 1.fits 2.fits");
    dir.ok("append a.cube --before 3.fits");
    dir
}

#[test]
fn json_says_everything_with_its_value() {
    let dir = cube();
    let info = dir.info("a.cube");
    let file = fs::metadata(dir.path("a.cube")).unwrap();
    assert_eq!(info["format"], 2);
    assert_eq!(info["generation"], 2, "one for each command");
    assert_eq!(info["shape"], json!([7, 5, 3]));
    assert_eq!(
        info["axes"],
        json!([
            {"name": "x", "len": 7, "pieces": 1, "world": null},
            {"name": "y", "len": 5, "pieces": 1, "world": null},
            {"name": "z", "len": 3, "pieces": 2, "world": null},
        ])
    );
    assert_eq!(info["dtype"], "int16");
    assert_eq!(info["pad"], -3);
    assert_eq!(info["blank"], Value::Null);
    assert_eq!(info["tile"], json!([4, 4, 2]));
    assert_eq!(info["frames"], 3);
    assert_eq!(info["patched"], 0);
    assert_eq!(info["data_bytes"], 7 * 5 * 3 * 2);
    assert_eq!(info["file_bytes"], file.len());
    assert!(info["disk_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    let text = dir.ok("info a.cube --json");
    assert_eq!(text.out().lines().count(), 1);
    assert_eq!(text.err, "");
}

#[test]
fn the_pad_of_floats_is_named() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[1, 1], &[1f32]));
    dir.ok("append a.cube --axis z 1.fits");
    assert_eq!(dir.info("a.cube")["pad"], "nan");
    dir.ok("append b.cube --axis z --pad 0.25 1.fits");
    assert_eq!(dir.info("b.cube")["pad"], 0.25);
}

#[test]
fn text_says_the_same() {
    let dir = cube();
    let run = dir.ok("info a.cube");
    let row = |name: &str| {
        let rows = run.out().lines();
        let mut found = rows.filter_map(|row| row.trim_start().strip_prefix(name));
        found.next().unwrap_or_default().trim().to_string()
    };
    assert_eq!(run.out().lines().next(), Some("a.cube"));
    assert_eq!(row("shape "), "7 x 5 x 3 (x fastest; in NumPy 3, 5, 7)");
    assert_eq!(row("dtype "), "int16");
    assert_eq!(row("frames "), "3");
    assert_eq!(row("x "), "7");
    assert_eq!(row("z "), "3 in 2 pieces");
    assert_eq!(row("data "), "210 B (210 bytes)");
    assert_eq!(row("tile "), "4 x 4 x 2");
    assert_eq!(row("pad "), "-3");
    assert!(row("commit ").starts_with("generation 2, append 1 frame, "));
    assert_eq!(row("history "), "3 commands: create, append, append");
}

#[test]
fn the_last_commands_are_named() {
    let dir = cube();
    let history = || {
        let shown = dir.ok("info a.cube");
        let row = shown
            .out()
            .lines()
            .find_map(|row| row.trim().strip_prefix("history"));
        row.unwrap().trim().to_string()
    };
    dir.ok("delete a.cube --at 2");
    dir.ok("undo a.cube");
    assert_eq!(history(), "3 commands: create, append, append");
    for _ in 0..6 {
        dir.ok("move a.cube --from 1 --to 2");
    }
    dir.ok("delete a.cube --at 2");
    assert_eq!(
        history(),
        "10 commands, at last: move, move, move, move, move, delete"
    );
    assert_eq!(dir.info("a.cube")["history"][0], "delete");
    for _ in 0..95 {
        dir.ok("move a.cube --from 1 --to 2");
    }
    assert!(history().starts_with("100 commands and more, at last: move, "));
}

#[test]
fn coordinates_and_dates_are_those_of_the_headers_fitted_to_the_cube() {
    let dir = Scratch::new();
    for (name, date) in [("1", "2026-11-23T02:00:00"), ("2", "2026-11-23T02:30:00")] {
        let image = Image::new(&[4, 3], |k| k as i16)
            .with("CTYPE1", "'RA---TAN'")
            .with("CRVAL1", "150.25")
            .with("CRPIX1", "2.5")
            .with("CD1_1", "-0.0003")
            .with("CD2_1", "0.0004")
            .with("CTYPE2", "'WAVE    '")
            .with("CUNIT2", "'nm      '")
            .with("CDELT2", "0.5")
            .with("DATE-OBS", &format!("'{date}'"));
        dir.frame(&format!("{name}.fits"), &image);
    }
    // The first frame lies at 3,1, so its pixel 2.5 is 4.5 of the cube.
    dir.ok("append a.cube --origin 3,1 1.fits 2.fits");
    let info = dir.info("a.cube");
    let sky = &info["axes"][0]["world"];
    assert_eq!(sky["ctype"], "RA---TAN");
    assert_eq!(sky["unit"], Value::Null);
    assert_eq!(
        (&sky["value"], &sky["pixel"]),
        (&json!(150.25), &json!(4.5))
    );
    let step = sky["step"].as_f64().unwrap();
    assert!((step - 0.0005).abs() < 1e-12);
    assert_eq!(info["axes"][1]["world"]["unit"], "nm");
    assert_eq!(info["axes"][2]["world"], Value::Null);
    let dates = ["2026-11-23T02:00:00", "2026-11-23T02:30:00"];
    assert_eq!(info["date_obs"], json!(dates));
    dir.ok("info a.cube").shows(&[
        "  date     2026-11-23T02:00:00 first, 2026-11-23T02:30:00 last\n",
        "  x        6: RA---TAN, 150.25 deg at pixel 4.5, 1.8 arcsec a pixel\n",
        "  y        3: WAVE, 0.5 nm a pixel\n",
        "  z        2\n",
    ]);
}

#[test]
fn frames_are_listed_where_they_stand_now() {
    let dir = cube();
    let run = dir.ok("info a.cube --frames --csv --keys EXPTIME,filter,MISSING");
    assert_eq!(
        run.out(),
        "position,len,axis,source,hdu,shape,dtype,EXPTIME,filter,MISSING\n\
         1,1,z,3.fits,0,7x5,int16,3.5,\"r,3\",\n\
         2,1,z,1.fits,0,7x5,int16,1.5,\"r,1\",\n\
         3,1,z,2.fits,0,7x5,int16,2.5,\"r,2\",\n"
    );
    let run = dir.ok("info a.cube --frames --keys EXPTIME");
    let rows: Vec<Vec<&str>> = run
        .out()
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0][..3], ["position", "len", "axis"]);
    assert_eq!(
        rows[1],
        ["1", "1", "z", "0", "7x5", "int16", "3.5", "3.fits"]
    );
    assert_eq!(
        rows[3],
        ["3", "1", "z", "0", "7x5", "int16", "2.5", "2.fits"]
    );
}

#[test]
fn frames_come_as_json_with_typed_values() {
    let dir = cube();
    let run = dir.ok("info a.cube --frames --json --keys EXPTIME,FILTER,COUNT,GOOD,MISSING");
    let rows: Vec<Value> = serde_json::from_slice(&run.out).unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(
        rows[1],
        json!({
            "position": 2,
            "len": 1,
            "axis": "z",
            "source": "1.fits",
            "hdu": 0,
            "shape": [7, 5],
            "dtype": "int16",
            "keys": {
                "EXPTIME": 1.5,
                "FILTER": "r,1",
                "COUNT": 1,
                "GOOD": true,
                "MISSING": null,
            },
        })
    );
    let plain = dir.ok("info a.cube --frames --json");
    let rows: Vec<Value> = serde_json::from_slice(&plain.out).unwrap();
    assert_eq!(rows[0]["source"], "3.fits");
    assert_eq!(rows[0].get("keys"), None);
}

#[test]
fn a_block_is_one_frame_of_many_positions() {
    let dir = Scratch::new();
    dir.frame("b.fits", &Image::new(&[2, 2, 5], |k| k as u8));
    dir.frame("1.fits", &Image::new(&[2, 2], |k| k as u8));
    dir.ok("append a.cube b.fits");
    dir.ok("append a.cube 1.fits");
    let run = dir.ok("info a.cube --frames --csv");
    let rows: Vec<&str> = run.out().lines().skip(1).collect();
    assert_eq!(
        rows,
        ["1,5,z,b.fits,0,2x2x5,uint8", "6,1,z,1.fits,0,2x2,uint8"]
    );
}

#[test]
fn every_card_is_kept() {
    let dir = Scratch::new();
    let mut odd = b"ODD     = 'caf".to_vec();
    odd.extend([0xe9, b'\'', 0x01]);
    let lines = [
        "LONG    = 'a text that is so long that it goes on in the next card, and on &'",
        "CONTINUE  'and on &' / here",
        "CONTINUE  'to its end' / there",
        "HIERARCH ESO TEL AIRM START = 1.23 / a long keyword",
        "COMMENT   blanks   inside   count",
        "COMMENT   blanks   inside   count",
        "HISTORY it was made for a test",
        "",
        "        a card without a keyword",
        "lower   = 1",
        "NOVALUE =",
        "EXPTIME =                 30.0 / once",
        "EXPTIME =                 60.0 / and again",
    ];
    let mut image = Image::of(&[1, 1], &[1i16]);
    for line in lines {
        image = image.with_card(line);
    }
    dir.frame("1.fits", &image.with_card(odd));
    dir.ok("append a.cube --axis z 1.fits");
    let run = dir.ok("info a.cube --frames --cards");
    let mut rows = run.out().lines();
    assert_eq!(rows.next(), Some("# z 1: 1.fits"));
    let rows: Vec<&str> = rows.collect();
    assert_eq!(rows[0], "SIMPLE  =                    T");
    let own = &rows[rows.len() - lines.len() - 1..];
    assert_eq!(own[..lines.len()], lines);
    assert_eq!(own[lines.len()], "ODD     = 'caf\u{e9}'\u{1}");

    let run = dir.ok("info a.cube --frames --cards --json");
    let frames: Value = serde_json::from_slice(&run.out).unwrap();
    let cards = frames[0]["cards"].as_array().unwrap();
    assert_eq!(cards.len(), rows.len());
    assert_eq!(cards[cards.len() - 1], "ODD     = 'caf\u{e9}'\u{1}");

    let run = dir.ok("info a.cube --frames --json --keys LONG");
    let frames: Value = serde_json::from_slice(&run.out).unwrap();
    let text = "a text that is so long that it goes on in the next card, and on and on to its end";
    assert_eq!(frames[0]["keys"]["LONG"], text);
}
