//! World coordinates along an axis that is told by itself, a wavelength or a frequency: of
//! profiles, and of cuts through several frames.

use serde_json::{Value, json};

use crate::support::{Image, Scratch, finish, read_fits};

/// A map of one channel, as radio telescopes make them, with another step than its own.
fn channel(number: i16, frequency: &str, step: &str) -> Image {
    Image::new(&[4, 3, 1, 1], move |k| 100 * number + k as i16)
        .with("CTYPE1", "'RA---SIN'")
        .with("CTYPE2", "'DEC--SIN'")
        .with("CRPIX1", "2.0")
        .with("CRPIX2", "2.0")
        .with("CRVAL1", &format!("{}.0", 10 + number))
        .with("CRVAL2", "20.0")
        .with("CDELT1", "-0.01")
        .with("CDELT2", "0.01")
        .with("CTYPE3", "'FREQ'")
        .with("CUNIT3", "'Hz'")
        .with("CRPIX3", "1.0")
        .with("CRVAL3", frequency)
        .with("CDELT3", step)
}

const KEYS: [&str; 3] = ["CRPIX3", "CRVAL3", "CDELT3"];

fn axis_of(dir: &Scratch, line: &str, keys: [&str; 3]) -> [Option<f64>; 3] {
    dir.ok(&format!("{line} -o out.fits --overwrite"));
    let hdu = &read_fits(&dir.read("out.fits"))[0];
    assert_eq!(hdu.number("CRVAL1"), Some(11.0), "the sky of the first");
    keys.map(|key| hdu.number(key))
}

#[test]
fn channels_have_the_frequencies_of_their_own_headers() {
    let dir = Scratch::new();
    for (number, frequency) in [
        (1, "1.400E9"),
        (2, "1.402E9"),
        (3, "1.404E9"),
        (4, "1.407E9"),
    ] {
        dir.frame(
            &format!("{number}.fits"),
            &channel(number, frequency, "1.0E6"),
        );
    }
    let evenly = [Some(1.0), Some(1.4e9), Some(2e6)];
    dir.ok("append a.cube 1.fits 2.fits 3.fits");
    assert_eq!(axis_of(&dir, "slice a.cube", KEYS), evenly);
    assert_eq!(dir.info("a.cube")["axes"][2]["world"]["step"], 2e6);
    // Backwards, in steps, and the plane by itself.
    let first = "--section [*,*,3:1,*]";
    dir.ok(&format!("slice a.cube {first} -o out.fits --overwrite"));
    let hdu = &read_fits(&dir.read("out.fits"))[0];
    assert_eq!(
        KEYS.map(|key| hdu.number(key)),
        [Some(1.0), Some(1.404e9), Some(-2e6)]
    );
    let stepped = axis_of(&dir, "slice a.cube --section [*,*,1:3:2,*]", KEYS);
    assert_eq!(stepped, [Some(1.0), Some(1.4e9), Some(4e6)]);
    let alone = axis_of(&dir, "slice a.cube --section [*,*,1,*]", KEYS);
    assert_eq!(alone, [Some(1.0), Some(1.4e9), Some(1e6)]);
    // As they were measured, and as they were put in order.
    dir.ok("append b.cube 3.fits 1.fits 2.fits");
    let told = "coordinates of axis z are left out: frames in the output do not continue";
    dir.ok("slice b.cube -o b.fits").says(&[told]);
    assert_eq!(read_fits(&dir.read("b.fits"))[0].value("CTYPE3"), None);
    assert!(dir.info("b.cube")["axes"][2]["world"].is_null());
    dir.ok("sort b.cube --by CRVAL3");
    assert_eq!(axis_of(&dir, "slice b.cube", KEYS), evenly);
    // A channel is missing; a profile has the frequencies all the same.
    dir.ok("append a.cube 4.fits");
    dir.ok("slice a.cube -o a.fits").says(&[told]);
    let run = dir.ok("slice a.cube --axis z --at 2,1 --world --format csv");
    assert_eq!(
        run.out(),
        "z,FREQ [Hz],value\n1,1400000000.0,101\n2,1402000000.0,201\n3,1404000000.0,301\n4,1407000000.0,401\n"
    );
    dir.ok("delete a.cube --at 2");
    let run = dir.ok("slice a.cube --axis z --at 2,1 --world --keys DATE-OBS --format json");
    let found: Value = serde_json::from_str(run.out()).unwrap();
    assert_eq!(
        found["keys"],
        json!({"FREQ [Hz]": [1.4e9, 1.404e9, 1.407e9], "DATE-OBS": [null, null, null]})
    );
    // Each comes out as it came, with its frequency.
    dir.ok("slice a.cube --each -o each/{name}.fits");
    for (name, frequency) in [("1", 1.4e9), ("3", 1.404e9), ("4", 1.407e9)] {
        let (file, came) = (format!("each/{name}.fits"), format!("{name}.fits"));
        let (hdu, came) = (
            &read_fits(&dir.read(&file))[0],
            &read_fits(&dir.read(&came))[0],
        );
        assert_eq!((&hdu.shape, &hdu.data), (&came.shape, &came.data));
        let scale = KEYS.map(|key| hdu.number(key));
        assert_eq!(scale, [Some(1.0), Some(frequency), Some(1e6)]);
    }
    // Observed again and again at one frequency, which is no axis.
    dir.ok("append s.cube 1.fits 1.fits 1.fits");
    dir.ok("slice s.cube -o s.fits").says(&[told]);
}

fn spectrum(start: &str) -> Image {
    Image::new(&[6], |k| k as i16)
        .with("CTYPE1", "'WAVE-LOG'")
        .with("CUNIT1", "'m'")
        .with("CRPIX1", "3.5")
        .with("CRVAL1", start)
        .with("CDELT1", "2.0E-9")
}

#[test]
fn spectra_of_a_stack_have_one_scale_or_none() {
    let dir = Scratch::new();
    dir.frame("1.fits", &spectrum("5.0E-7"));
    dir.frame("2.fits", &spectrum("5.0E-7").with("EXPTIME", "30.0"));
    dir.frame("3.fits", &spectrum("5.1E-7"));
    dir.ok("append a.cube 1.fits 2.fits");
    let keys = ["CRPIX1", "CRVAL1", "CDELT1"];
    let scale = |line: &str| {
        let run = dir.ok(&format!("{line} -o out.fits --overwrite"));
        let hdu = &read_fits(&dir.read("out.fits"))[0];
        (keys.map(|key| hdu.number(key)), run.err)
    };
    let whole = [Some(3.5), Some(5e-7), Some(2e-9)];
    for line in ["slice a.cube", "combine a.cube --method mean"] {
        assert_eq!(scale(line).0, whole, "{line}");
    }
    // The first two pixels and the last of a hundred are those that wcslib finds.
    let run = dir.ok("slice a.cube --axis x --at 1 --at 2 --world --format tsv");
    let rows: Vec<&str> = run.out().lines().collect();
    assert_eq!(rows[0], "x\tWAVE [m]\t1,1\t2,1");
    let waves = rows[1..].iter().map(|row| row.split('\t').nth(1).unwrap());
    let waves: Vec<f64> = waves.map(|wave| wave.parse().unwrap()).collect();
    for (wave, wcslib) in waves.iter().zip([4.95024917e-07, 4.97008982e-07]) {
        assert!((wave / wcslib - 1.0).abs() < 1e-8, "{wave} {wcslib}");
    }
    dir.ok("append a.cube 3.fits");
    for line in ["slice a.cube", "combine a.cube --method mean"] {
        let (scale, told) = scale(line);
        assert_eq!(scale, [None; 3], "{line}");
        assert!(
            told.contains("coordinates of axis x are left out"),
            "{told}"
        );
    }
    assert_eq!(scale("slice a.cube --section [*,1:2,*]").0, whole);
    dir.cube("slice a.cube --axis x --at 1 --at 3 --world")
        .fails(&["position 1 of x is at ", "(WAVE [m])", "hint: "]);
    let one = dir.ok("slice a.cube --axis x --at 3 --world --plot");
    assert!(one.out().contains("WAVE [m]"), "{}", one.out());
}

#[test]
fn axes_that_are_not_told_by_themselves_have_no_column() {
    let dir = Scratch::new();
    dir.frame("a.fits", &channel(1, "1.4E9", "1.0E6"));
    dir.frame(
        "b.fits",
        &channel(2, "1.4", "1.0E-3").with("CNAME3", "'sky'"),
    );
    let leaning = Image::new(&[4, 4], |k| k as i16)
        .with("CRVAL1", "1.0")
        .with("CD1_1", "1.0")
        .with("CD1_2", "0.5");
    dir.frame("lean.fits", &leaning);
    dir.frame("none.fits", &Image::new(&[4, 4], |k| k as i16));
    for (frames, line, says) in [
        (
            "a.fits",
            "--axis x --at 1,1,1",
            "CTYPE1 is RA---SIN, which is neither linear nor",
        ),
        (
            "lean.fits",
            "--axis x --at 1,1",
            "it depends on the pixels of other axes",
        ),
        (
            "none.fits",
            "--axis z --at 1,1",
            "no frame has world coordinates along z",
        ),
        (
            "a.fits b.fits",
            "--axis z --at 1,1",
            "tell axis z as `FREQ [Hz]` and as `sky [Hz]`",
        ),
        (
            "a.fits",
            "--axis x,y --at 1,1 -o a.png",
            "--world stands beside profiles",
        ),
        (
            "a.fits",
            "--axis z --at 1,1 --keys DATE-OBS -o a.png",
            "--world stands beside",
        ),
    ] {
        dir.ok(&format!("append -q c.cube {frames}"));
        let run = dir.cube(&format!("slice c.cube {line} --world"));
        run.fails(&[says, "hint: "]);
        std::fs::remove_file(dir.path("c.cube")).unwrap();
    }
    assert!(!dir.exists("a.png"));
    // In void and where a header says nothing there is none.
    dir.ok("append c.cube none.fits a.fits");
    let run = dir.ok("slice c.cube --axis z --at 1,1 --world --format csv");
    assert_eq!(
        run.out(),
        "z,FREQ [Hz],value\n1,nan,0\n2,1400000000.0,100\n"
    );
    let mut command = dir.command();
    command.args(["slice", "c.cube", "--axis", "z", "--at", "1,1", "--world"]);
    let run = finish(command.spawn().unwrap()).ends(0);
    assert!(run.out().starts_with("# z\tFREQ [Hz]\tvalue\n"));
}
