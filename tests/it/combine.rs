//! `cube combine` against its definition, written here once more.

use crate::support::{Image, Scratch, mean, median, read_fits};

/// Frames of 20 x 9, one of 7 x 11, with a NaN now and then, in tiles of 8.
pub(crate) fn cube() -> Scratch {
    let dir = Scratch::new();
    let mut names = String::new();
    for number in 0..9u64 {
        let shape = if number == 4 { [7, 11] } else { [20, 9] };
        let sample = |k: u64| {
            let noise = ((k * 7919 + number * 104_729) * 2_654_435_761) >> 9;
            match noise % 97 {
                0 => f32::NAN,
                1 => 4000.0,
                _ => 100.0 * (number + 1) as f32 + (noise % 1000) as f32 / 64.0,
            }
        };
        let image = Image::new(&shape, sample);
        let image = image.with("EXPTIME", &format!("{}.5", number + 1));
        let image = image
            .with("CRPIX1", "3")
            .with("OBJECT", &format!("'o{number}'"));
        dir.frame(&format!("{number}.fits"), &image);
        names += &format!(" {number}.fits");
    }
    dir.ok(&format!("append a.cube --tile 8,8,4{names}"));
    dir
}

/// The lines of the cube along z, x fastest, missing samples left out; each sample
/// with the number of its frame.
fn lines(dir: &Scratch) -> Vec<Vec<(usize, f64)>> {
    let shape = dir.shape("a.cube");
    let plane = (shape[0] * shape[1]) as usize;
    let samples = dir.samples::<f32>("a.cube");
    (0..plane)
        .map(|k| {
            let line = samples[k..].iter().step_by(plane).enumerate();
            line.filter(|one| !one.1.is_nan())
                .map(|(z, &sample)| (z, f64::from(sample)))
                .collect()
        })
        .collect()
}

fn std(samples: &[f64]) -> f64 {
    let m = mean(samples);
    mean(
        &samples
            .iter()
            .map(|x| (x - m) * (x - m))
            .collect::<Vec<_>>(),
    )
    .sqrt()
}

/// Combines and holds every sample against a definition, to one part in 1e6.
#[track_caller]
fn hold(dir: &Scratch, line: &str, define: impl Fn(&[(usize, f64)]) -> f64) {
    for jobs in ["--jobs 1", "--jobs 3 --memory 16M"] {
        dir.ok(&format!(
            "combine a.cube -o out.fits --overwrite {line} {jobs}"
        ));
        let found = read_fits(&dir.read("out.fits")).remove(0);
        assert_eq!(found.shape, dir.shape("a.cube")[..2]);
        let samples = found.samples::<f32>();
        for (k, line_of) in lines(dir).iter().enumerate() {
            let expected = if line_of.is_empty() {
                f64::NAN
            } else {
                define(line_of)
            };
            let found = f64::from(samples[k]);
            let same = (found - expected).abs() <= 1e-6 * expected.abs().max(1e-3);
            assert!(
                same || found.is_nan() && expected.is_nan(),
                "{line}: sample {k} is {found}, expected {expected}"
            );
        }
    }
}

fn values(line: &[(usize, f64)]) -> Vec<f64> {
    line.iter().map(|one| one.1).collect()
}

#[test]
fn an_axis_becomes_what_the_method_says() {
    let dir = cube();
    assert!(lines(&dir).iter().any(Vec::is_empty), "void is among it");
    hold(&dir, "--method median", |line| median(&values(line)));
    hold(&dir, "--method mean", |line| mean(&values(line)));
    hold(&dir, "--method sum", |line| values(line).iter().sum());
    hold(&dir, "--method std", |line| std(&values(line)));
    hold(&dir, "--method min", |line| {
        values(line).into_iter().fold(f64::INFINITY, f64::min)
    });
    hold(&dir, "--method max", |line| {
        values(line).into_iter().fold(0.0, f64::max)
    });
}

/// The samples without the `low` least and `high` greatest.
fn cut(line: &[(usize, f64)], low: usize, high: usize) -> Vec<f64> {
    let mut sorted = values(line);
    sorted.sort_by(f64::total_cmp);
    sorted[low..sorted.len() - high].to_vec()
}

#[test]
fn what_is_rejected_is_left_out() {
    let dir = cube();
    hold(&dir, "--method mean --reject minmax --low 2", |line| {
        // Shorter lines lose the same share.
        mean(&cut(line, 2 * line.len() / 9, line.len() / 9))
    });
    hold(
        &dir,
        "--method median --reject percentile --low 30 --high 20",
        |line| {
            let share = |percent: usize| line.len() * percent / 100;
            median(&cut(line, share(30), share(20)))
        },
    );
    let clip = |line: &[(usize, f64)]| {
        let mut kept = values(line);
        let (middle, spread) = (median(&kept), std(&kept));
        kept.retain(|x| middle - 2.0 * spread <= *x && *x <= middle + 1.5 * spread);
        kept
    };
    let sigma = "--reject sigma --lower 2 --upper 1.5 --maxiters 1";
    hold(&dir, &format!("--method mean {sigma}"), |line| {
        mean(&clip(line))
    });
    dir.ok(&format!(
        "combine a.cube --method sum {sigma} -o s.fits --coverage n.fits --error e.fits"
    ));
    let counts = read_fits(&dir.read("n.fits")).remove(0).samples::<i32>();
    let errors = read_fits(&dir.read("e.fits")).remove(0).samples::<f32>();
    let mut rejected = 0;
    for (k, line) in lines(&dir).iter().enumerate() {
        let kept = if line.is_empty() {
            Vec::new()
        } else {
            clip(line)
        };
        rejected += line.len() - kept.len();
        assert_eq!(counts[k] as usize, kept.len());
        let n = kept.len() as f64;
        let expected = if kept.len() < 2 {
            f64::NAN
        } else {
            std(&kept) / (n - 1.0).sqrt()
        };
        let found = f64::from(errors[k]);
        assert!((found - expected).abs() <= 1e-6 * expected || found.is_nan() && expected.is_nan());
    }
    assert!(rejected > 20, "{rejected}");
    dir.ok(&format!(
        "combine a.cube --method sum {sigma} -o s.fits --overwrite"
    ))
    .says(&[
        "9 positions of z combined; the frame is 20 x 11",
        &format!("{rejected} samples rejected"),
    ]);
}

#[test]
fn frames_are_weighed_scaled_and_shifted() {
    let dir = cube();
    let weight = |z: usize| z as f64 + 1.5;
    let weighted = |line: &[(usize, f64)]| -> (f64, f64) {
        let sum = line.iter().map(|&(z, x)| weight(z) * x).sum();
        (sum, line.iter().map(|&(z, _)| weight(z)).sum())
    };
    hold(&dir, "--method sum --weight EXPTIME", |line| {
        weighted(line).0
    });
    hold(&dir, "--method mean --weight EXPTIME", |line| {
        weighted(line).0 / weighted(line).1
    });
    hold(&dir, "--method mean --scale EXPTIME", |line| {
        mean(
            &line
                .iter()
                .map(|&(z, x)| x * weight(0) / weight(z))
                .collect::<Vec<_>>(),
        )
    });
    let mut frames: Vec<Vec<f64>> = vec![Vec::new(); 9];
    for (z, sample) in lines(&dir).into_iter().flatten() {
        frames[z].push(sample);
    }
    let medians: Vec<f64> = frames.iter().map(|frame| median(frame)).collect();
    hold(&dir, "--method max --scale median", |line| {
        let scaled = line.iter().map(|&(z, x)| x * medians[0] / medians[z]);
        scaled.fold(0.0, f64::max)
    });
    hold(&dir, "--method mean --zero median", |line| {
        mean(
            &line
                .iter()
                .map(|&(z, x)| x - medians[z] + medians[0])
                .collect::<Vec<_>>(),
        )
    });
    hold(
        &dir,
        "--method median --zero median --scale EXPTIME",
        |line| {
            let level = |z: usize, x: f64| (x - medians[z]) * weight(0) / weight(z) + medians[0];
            median(&line.iter().map(|&(z, x)| level(z, x)).collect::<Vec<_>>())
        },
    );
    dir.ok("combine a.cube --method mean --weight EXPTIME -o w.fits --error e.fits");
    let errors = read_fits(&dir.read("e.fits")).remove(0).samples::<f32>();
    for (k, line) in lines(&dir).iter().enumerate().filter(|one| one.1.len() > 1) {
        let (sum, weights) = weighted(line);
        let squares: f64 = line
            .iter()
            .map(|&(z, x)| (weight(z) * (x - sum / weights)).powi(2))
            .sum();
        let n = line.len() as f64;
        let expected = squares.sqrt() / weights * (n / (n - 1.0)).sqrt();
        assert!((f64::from(errors[k]) - expected).abs() <= 1e-6 * expected);
    }
}

#[test]
fn the_header_is_that_of_the_first_frame_and_says_what_was_done() {
    let dir = cube();
    dir.ok("combine a.cube --method median --section [3:12,*,2:6] -o out.fits");
    let hdu = read_fits(&dir.read("out.fits")).remove(0);
    assert_eq!(hdu.shape, [10, 11]);
    assert_eq!(hdu.value("NCOMBINE").as_deref(), Some("5"));
    let named = (1..=6).map(|k| hdu.value(&format!("IMCMB{k:03}")));
    let expected = (1..=5).map(|z| Some(format!("'{z}.fits'"))).chain([None]);
    assert!(named.eq(expected));
    assert_eq!(hdu.value("OBJECT").as_deref(), Some("'o1'"));
    assert_eq!(hdu.number("CRPIX1"), Some(1.0));
    let history = hdu.cards.iter().filter(|card| card.starts_with("HISTORY"));
    let history: String = history
        .map(|card| card[8..].trim().to_string() + " ")
        .collect();
    assert!(
        history.contains("cube combine a.cube --method median"),
        "{history}"
    );
    assert!(
        history.contains("z 2 to 6 of a.cube combined by cube"),
        "{history}"
    );
    // Any axis, any sink.
    dir.ok("combine a.cube --method sum --axis x -o out.npy");
    assert!(dir.read("out.npy").starts_with(b"\x93NUMPY"));
    let cut = dir.ok("combine a.cube --method max --axis y --section [1:20,1:9,1:9] -o -");
    assert_eq!(read_fits(&cut.out)[0].shape, [20, 9]);
}

#[test]
fn integers_count_void_by_the_frames_boxes_and_become_wide_floats() {
    let dir = Scratch::new();
    dir.frame("a.fits", &Image::of(&[3, 1], &[0u16, 7, 9]));
    dir.frame("b.fits", &Image::of(&[2, 1], &[4u16, 0]));
    dir.ok("append u.cube --axis z a.fits b.fits");
    dir.ok("combine u.cube --method mean -o m.fits --coverage n.fits");
    let found = read_fits(&dir.read("m.fits")).remove(0);
    assert_eq!(found.samples::<f32>(), [2.0, 3.5, 9.0]);
    let counts = read_fits(&dir.read("n.fits")).remove(0);
    assert_eq!(counts.samples::<i32>(), [2, 2, 1]);
    // The median of the second frame is that of its two pixels.
    dir.ok("combine u.cube --method max --zero median -o z.fits");
    let found = read_fits(&dir.read("z.fits")).remove(0);
    assert_eq!(found.samples::<f32>(), [9.0, 7.0, 9.0]);
    dir.frame("i.fits", &Image::of(&[2, 1], &[i32::MAX, 5]));
    dir.ok("append i.cube --axis z i.fits i.fits i.fits");
    dir.ok("combine i.cube --method sum -o s.fits");
    let found = read_fits(&dir.read("s.fits")).remove(0);
    assert_eq!(found.samples::<f64>(), [3.0 * f64::from(i32::MAX), 15.0]);
}

#[test]
fn a_combination_of_a_cleaned_cube_has_the_cleaned_samples() {
    let dir = cube();
    dir.ok("clean a.cube --sigma 1.5 --maxiters 2");
    hold(&dir, "--method max", |line| {
        values(line).into_iter().fold(0.0, f64::max)
    });
    hold(&dir, "--method mean", |line| mean(&values(line)));
}

#[test]
fn what_cannot_be_combined_is_refused() {
    let dir = cube();
    dir.frame("none.fits", &Image::new(&[20, 9], |k| k as f32));
    dir.frame(
        "nan.fits",
        &Image::new(&[20, 9], |_| f32::NAN).with("EXPTIME", "0"),
    );
    dir.ok("append b.cube 0.fits none.fits");
    dir.ok("append c.cube 0.fits nan.fits");
    dir.write("there.fits", "x");
    for (line, phrases) in [
        (
            "a.cube --method median --weight EXPTIME -o x.fits",
            &["weights are for mean and sum"][..],
        ),
        (
            "b.cube --method mean --weight EXPTIME -o x.fits",
            &["position 2 of z has no number EXPTIME"],
        ),
        (
            "b.cube --method mean --scale AIRMASS -o x.fits",
            &["position 1 of z has no number AIRMASS"],
        ),
        (
            "c.cube --method mean --scale EXPTIME -o x.fits",
            &["position 2 of z cannot be scaled"],
        ),
        (
            "c.cube --method mean --zero median -o x.fits",
            &["position 2 of z has no sample"],
        ),
        (
            "a.cube --method mean -o there.fits",
            &["exists", "--overwrite"],
        ),
        (
            "a.cube --method mean -o a.cube --format fits --overwrite",
            &["is a cube"],
        ),
        (
            "a.cube --method mean -o x.fits --coverage x.fits",
            &["two outputs have one name"],
        ),
        ("a.cube --method mean -o x.xyz", &["--format"]),
        (
            "a.cube --method mean -o x.fits --axis w",
            &["there is no axis w"],
        ),
        (
            "a.cube --method mean -o x.fits --section 1:30,*,*",
            &["x runs from 1 to 20"],
        ),
        (
            "a.cube --method mean -o x.fits --reject sigma --low 3",
            &["--low and --high"],
        ),
        (
            "a.cube --method mean -o x.fits --reject minmax --low 1.5",
            &["whole numbers"],
        ),
        (
            "a.cube --method mean -o x.fits --reject percentile --low 60 --high 40",
            &["below 100"],
        ),
    ] {
        dir.cube(&format!("combine {line}")).fails(phrases);
        assert!(!dir.exists("x.fits"), "{line}");
    }
    for line in [
        "",
        "--method mean",
        "--method mode -o x.fits",
        "--method mean -o x.fits --low 1",
    ] {
        assert_eq!(
            dir.cube(&format!("combine a.cube {line}")).status,
            2,
            "{line}"
        );
    }
}

#[test]
fn frames_are_combined_along_the_axis_they_are_stacked_on() {
    let dir = Scratch::new();
    for number in 1..=5u8 {
        dir.frame(
            &format!("{number}.fits"),
            &Image::new(&[7], |k| number + k as u8),
        );
    }
    dir.ok("append spectra.cube 1.fits 2.fits 3.fits 4.fits 5.fits");
    let run = dir.ok("combine spectra.cube --method median -o m.fits");
    run.says(&["5 positions of y combined"]);
    let hdu = &read_fits(&dir.read("m.fits"))[0];
    let expected: Vec<u8> = (3..10u8).flat_map(|k| f32::from(k).to_be_bytes()).collect();
    assert_eq!(&hdu.data[..expected.len()], expected);
    // Side by side they are not stacked.
    dir.ok("append wide.cube --axis x 1.fits 2.fits");
    let run = dir.ok("combine wide.cube --method mean -o w.fits");
    run.says(&["1 position of z combined"]);
}

#[test]
fn weights_may_be_measured_and_an_infinite_sample_has_no_error() {
    let dir = Scratch::new();
    for (number, samples) in [(1, [1.0, 3.0, f32::INFINITY]), (2, [5.0, 7.0, 1.0])] {
        let frame = Image::new(&[3], |k| samples[k as usize]);
        let frame = frame.with("EXPTIME", &format!("{number}.0"));
        dir.frame(&format!("{number}.fits"), &frame);
    }
    dir.ok("append a.cube --axis y 1.fits 2.fits");
    let combine = |options: &str| -> [Vec<f32>; 2] {
        dir.ok(&format!(
            "combine a.cube --axis y --method mean {options} -o m.npy --error e.npy --overwrite"
        ));
        ["m.npy", "e.npy"].map(|name| {
            let bytes = dir.read(name);
            let samples = bytes[bytes.len() - 12..].chunks_exact(4);
            let samples = samples.map(|sample| f32::from_le_bytes(sample.try_into().unwrap()));
            samples.collect()
        })
    };
    let [mean, error] = combine("--weight min");
    assert_eq!(mean[..2], [(1.0 + 5.0) / 2.0, (3.0 + 7.0) / 2.0]);
    assert!(
        mean[2] == f32::INFINITY && error[2].is_nan(),
        "{mean:?} {error:?}"
    );
    for options in ["", "--weight EXPTIME"] {
        let [mean, error] = combine(options);
        assert!(mean[2] == f32::INFINITY && error[2].is_nan(), "{options}");
        assert!(error[0].is_finite());
    }
    let run = dir.cube("combine a.cube --axis y --method mean --weight OBJECT -o o.npy");
    run.fails(&["position 1 of y has no number OBJECT"]);
}

#[test]
fn weights_are_numbers_from_0_and_not_all_0() {
    let dir = Scratch::new();
    for (name, weight) in [("a", "0"), ("b", "0.0"), ("c", "2"), ("d", "-1")] {
        let image = Image::new(&[4, 3], |k| k as f32).with("EXPTIME", weight);
        dir.frame(&format!("{name}.fits"), &image);
    }
    let line = "combine a.cube --method mean --weight EXPTIME -o m.fits --overwrite";
    dir.ok("append a.cube a.fits b.fits");
    dir.cube(line)
        .fails(&["EXPTIME is 0 at all positions of z"]);
    assert!(!dir.exists("m.fits"));
    dir.ok("append a.cube c.fits");
    dir.ok(line);
    let mean = read_fits(&dir.read("m.fits")).remove(0).samples::<f32>();
    assert_eq!(mean, (0..12u8).map(f32::from).collect::<Vec<_>>());
    dir.ok("append a.cube d.fits");
    dir.cube(line)
        .fails(&["EXPTIME of position 4 of z is -1, and a weight is a number from 0"]);
}
