//! `cube clean` against its definition, written here once more and naively.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::{
    Image, Random, Scratch, Stored, bits, finish, mean, median, peak_of, python_with, read_fits,
    signal, wait_until,
};

/// A sample that can be computed with.
trait Number: Stored {
    fn wide(self) -> f64;
    /// Integers half to even, clipped; floats to the nearest.
    fn nearest(value: f64) -> Self;
}

macro_rules! integers {
    ($($kind:ty)*) => {$(
        impl Number for $kind {
            fn wide(self) -> f64 {
                self as f64
            }
            fn nearest(value: f64) -> Self {
                let below = value.floor();
                let whole = match value - below {
                    half if half == 0.5 => below + if below % 2.0 == 0.0 { 0.0 } else { 1.0 },
                    rest => below + if rest > 0.5 { 1.0 } else { 0.0 },
                };
                whole as $kind
            }
        }
    )*};
}

integers! { u8 i8 i16 u16 i32 u32 i64 u64 }

impl Number for f32 {
    fn wide(self) -> f64 {
        self.into()
    }
    fn nearest(value: f64) -> Self {
        value as f32
    }
}

impl Number for f64 {
    fn wide(self) -> f64 {
        self
    }
    fn nearest(value: f64) -> Self {
        value
    }
}

/// What the naive definition is told.
#[derive(Clone, Copy)]
struct Rule<'a> {
    line: &'a str,
    axis: usize,
    lower: f64,
    upper: f64,
    rounds: usize,
    center: &'a str,
    spread: &'a str,
    fill: &'a str,
    grow: usize,
    min_kept: usize,
    fill_nan: bool,
    /// What a mask has for each sample of the cube; empty: there is none.
    bad: &'a [u8],
}

const PLAIN: Rule<'_> = Rule {
    line: "",
    axis: 2,
    lower: 3.0,
    upper: 3.0,
    rounds: 5,
    center: "median",
    spread: "std",
    fill: "median",
    grow: 0,
    min_kept: 1,
    fill_nan: false,
    bad: &[],
};

/// Which samples of a line are rejected. `None` does not count.
fn rejected(rule: &Rule<'_>, line: &[Option<f64>]) -> Vec<bool> {
    let mut kept: Vec<f64> = line
        .iter()
        .flatten()
        .copied()
        .filter(|x| x.is_finite())
        .collect();
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
    for _ in 0..rule.rounds {
        if kept.is_empty() {
            break;
        }
        let middle = median(&kept);
        let center = if rule.center == "mean" {
            mean(&kept)
        } else {
            middle
        };
        let spread = match rule.spread {
            "mad" => {
                let away: Vec<f64> = kept.iter().map(|x| (x - middle).abs()).collect();
                1.482602218505602 * median(&away)
            }
            _ => {
                let m = mean(&kept);
                let squares: Vec<f64> = kept.iter().map(|x| (x - m) * (x - m)).collect();
                mean(&squares).sqrt()
            }
        };
        (low, high) = (center - rule.lower * spread, center + rule.upper * spread);
        let before = kept.len();
        kept.retain(|x| low <= *x && *x <= high);
        if kept.len() == before {
            break;
        }
    }
    let out = |x: f64| x.is_infinite() || x < low || high < x;
    let first: Vec<bool> = line.iter().map(|x| x.is_some_and(out)).collect();
    (0..line.len())
        .map(|k| {
            let near = k.saturating_sub(rule.grow)..(k + rule.grow + 1).min(line.len());
            line[k].is_some() && first[near].iter().any(|&hit| hit)
        })
        .collect()
}

/// New values of a line, by what counts and is not bad, what is bad, and what a frame brought.
fn cleaned(
    rule: &Rule<'_>,
    line: &[Option<f64>],
    bad: &[bool],
    brought: &[bool],
) -> Vec<(usize, f64, bool)> {
    let mut hits = rejected(rule, line);
    hits.iter_mut().zip(bad).for_each(|(hit, bad)| *hit |= bad);
    let kept: Vec<(usize, f64)> = (0..line.len())
        .filter(|&k| !hits[k])
        .filter_map(|k| Some((k, line[k]?)))
        .collect();
    // What is not computed needs nothing.
    let is_computed = ["median", "mean", "interpolate"].contains(&rule.fill);
    if kept.len() < rule.min_kept && (is_computed || rule.min_kept > 1) {
        return Vec::new();
    }
    let values: Vec<f64> = kept.iter().map(|&(_, value)| value).collect();
    let wanted =
        (0..line.len()).filter(|&k| hits[k] || rule.fill_nan && line[k].is_none() && brought[k]);
    wanted
        .map(|k| {
            let value = match rule.fill {
                "median" => median(&values),
                "mean" => mean(&values),
                "nan" => f64::NAN,
                "interpolate" => {
                    let before = kept.iter().rev().find(|one| one.0 < k);
                    let after = kept.iter().find(|one| k < one.0);
                    match (before, after) {
                        (Some(a), Some(b)) => {
                            (b.1 - a.1) / (b.0 - a.0) as f64 * (k - a.0) as f64 + a.1
                        }
                        (Some(one), None) | (None, Some(one)) => one.1,
                        (None, None) => unreachable!("something is kept"),
                    }
                }
                number => number.parse().unwrap(),
            };
            (k, value, hits[k])
        })
        .collect()
}

/// Two cubes made alike: of samples, and of ones, which say what frames brought.
struct Twins {
    dir: Scratch,
    seed: u64,
}

impl Twins {
    fn new(seed: u64) -> Twins {
        let dir = Scratch::new();
        Twins { dir, seed }
    }

    fn random(&mut self) -> f64 {
        self.seed = self
            .seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.seed >> 40) as f64 / (1u64 << 24) as f64
    }

    /// Noise about 1000 and now and then something else, from `scale` to many.
    fn noise(&mut self, scale: f64) -> f64 {
        let sum: f64 = (0..6).map(|_| self.random() - 0.5).sum();
        let outlier = match self.random() {
            p if p < 0.05 => 30.0 * self.random() - 10.0,
            _ => 0.0,
        };
        (sum + outlier) * scale
    }

    /// A frame called `name`, made by `sample`.
    fn frame<T: Number>(
        &mut self,
        name: &str,
        shape: &[u64],
        blank: Option<&str>,
        mut sample: impl FnMut(&mut Twins) -> T,
    ) {
        let total: u64 = shape.iter().product();
        let samples: Vec<T> = (0..total).map(|_| sample(self)).collect();
        let mut image = Image::of(shape, &samples);
        if let Some(blank) = blank {
            image = image.with("BLANK", blank);
        }
        self.dir.frame(&format!("a-{name}"), &image);
        self.dir
            .frame(&format!("c-{name}"), &Image::new(shape, |_| 1u8));
    }

    /// Runs a command on both; `@` stands for what tells them apart.
    fn both(&self, line: &str) {
        for which in ["a", "c"] {
            self.dir.ok(&line.replace('@', which));
        }
    }

    /// What a clean of `a.cube` with this rule makes, and the rejected ones.
    fn expected<T: Number>(&self, rule: &Rule<'_>, blank: Option<T>) -> (Vec<T>, Vec<u8>) {
        let shape = self.dir.shape("a.cube");
        let mut samples = self.dir.samples::<T>("a.cube");
        let brought = self.dir.samples::<u8>("c.cube");
        let mut mask = vec![0; samples.len()];
        let pitch: usize = shape[..rule.axis].iter().product::<u64>() as usize;
        let n = shape[rule.axis] as usize;
        for start in 0..samples.len() {
            if !(start / pitch).is_multiple_of(n) {
                continue;
            }
            let at = |k: usize| start + k * pitch;
            let counts = |k: usize| {
                let sample = samples[at(k)];
                let is_data = brought[at(k)] == 1 && blank != Some(sample);
                (is_data && !sample.wide().is_nan()).then(|| sample.wide())
            };
            let marked = |k: usize| rule.bad.get(at(k)).is_some_and(|&mark| mark != 0);
            let good = |k: usize| counts(k).filter(|_| !marked(k));
            let line: Vec<Option<f64>> = (0..n).map(good).collect();
            let bad: Vec<bool> = (0..n).map(|k| marked(k) && counts(k).is_some()).collect();
            let there: Vec<bool> = (0..n).map(|k| brought[at(k)] == 1).collect();
            for (k, value, hit) in cleaned(rule, &line, &bad, &there) {
                samples[at(k)] = match blank {
                    Some(blank) if value.is_nan() => blank,
                    _ => T::nearest(value),
                };
                mask[at(k)] = u8::from(hit);
            }
        }
        (samples, mask)
    }

    /// Cleans `a.cube` and holds it against the definition; undoes it.
    #[track_caller]
    fn hold<T: Number>(&self, rule: &Rule<'_>, blank: Option<T>) -> u64 {
        let dir = &self.dir;
        let before = dir.samples::<T>("a.cube");
        let (expected, mask) = self.expected(rule, blank);
        let line = format!(
            "clean a.cube --json --mask m.fits --overwrite {}",
            rule.line
        );
        let run = dir.ok(&line);
        let report: Value = serde_json::from_slice(&run.out).unwrap();
        let found = dir.samples::<T>("a.cube");
        let wrong = (0..found.len()).find(|&k| found[k].bits() != expected[k].bits());
        if let Some(k) = wrong {
            let shape = dir.shape("a.cube");
            panic!(
                "{line}: sample {k} of {shape:?} was {:?}, is {:?}, expected {:?}",
                before[k], found[k], expected[k]
            );
        }
        let written = read_fits(&dir.read("m.fits")).remove(0);
        assert!(written.shape == dir.shape("a.cube") || written.shape.len() > 2);
        assert_eq!(written.data, mask, "{line}");
        let hits = mask.iter().map(|&one| u64::from(one)).sum::<u64>();
        assert_eq!(report["rejected"], hits, "{line}");
        let by_frame = report["frames"].as_array().unwrap().iter();
        let by_frame = by_frame.map(|frame| frame["rejected"].as_u64().unwrap());
        assert_eq!(by_frame.sum::<u64>(), hits);
        let marked = mask.iter().zip(rule.bad);
        let marked = marked.filter(|&(&hit, &bad)| hit == 1 && bad != 0);
        assert_eq!(report["bad"], marked.count(), "{line}");
        let changed = report["filled"].as_u64().unwrap() + hits;
        if changed > 0 {
            dir.ok("check a.cube --deep");
            dir.ok("undo a.cube");
            assert_eq!(bits(&dir.samples::<T>("a.cube")), bits(&before), "undo");
        }
        changed
    }
}

/// Ragged frames in tiles of 8, some before and between, two taken out, one moved.
fn pieced<T: Number>(
    seed: u64,
    pad: &str,
    blank: Option<&str>,
    sample: fn(&mut Twins) -> T,
) -> Twins {
    let mut twins = Twins::new(seed);
    for (number, shape) in [[21, 11], [9, 19], [30, 7], [21, 11]].iter().enumerate() {
        for copy in 0..6 {
            let name = format!("{number}{copy}.fits");
            twins.frame(&name, shape, blank, sample);
        }
    }
    let names = |number: u8| -> String {
        (0..6)
            .map(|copy| format!(" @-{number}{copy}.fits"))
            .collect()
    };
    let first = format!("append @.cube --tile 8,8,4{}", names(0));
    twins.dir.ok(&(first.replace('@', "a") + pad));
    twins.dir.ok(&first.replace('@', "c"));
    twins.both(&format!("append @.cube --origin 4,3{}", names(1)));
    twins.both(&format!("append @.cube --before{}", names(2)));
    twins.both(&format!("insert @.cube --at 9{}", names(3)));
    twins.both("delete @.cube --at 5,17");
    twins.both("move @.cube --from 3:4 --to 12");
    twins.both("delete @.cube --axis x --at 6:7");
    twins
}

fn float(twins: &mut Twins) -> f32 {
    match twins.random() {
        p if p < 0.02 => f32::NAN,
        p if p < 0.03 => f32::INFINITY,
        _ => (1000.0 + twins.noise(5.0)) as f32,
    }
}

#[test]
fn ragged_and_rearranged_floats_are_cleaned_as_the_definition_says() {
    let twins = pieced(1, "", None, float);
    let mut changed = 0;
    for rule in [
        PLAIN,
        Rule {
            line: "--axis x --jobs 1",
            axis: 0,
            ..PLAIN
        },
        Rule {
            line: "--axis y --jobs 3",
            axis: 1,
            ..PLAIN
        },
        Rule {
            line: "--fill mean --center mean --sigma 2",
            fill: "mean",
            center: "mean",
            lower: 2.0,
            upper: 2.0,
            ..PLAIN
        },
        Rule {
            line: "--fill interpolate --lower 2 --upper 2.5 --maxiters 1",
            fill: "interpolate",
            lower: 2.0,
            upper: 2.5,
            rounds: 1,
            ..PLAIN
        },
        Rule {
            line: "--fill nan --maxiters all --spread mad",
            fill: "nan",
            rounds: 1000,
            spread: "mad",
            ..PLAIN
        },
        Rule {
            line: "--fill -1.5 --grow 1",
            fill: "-1.5",
            grow: 1,
            ..PLAIN
        },
        Rule {
            line: "--grow 2 --fill mean --axis x",
            fill: "mean",
            grow: 2,
            axis: 0,
            ..PLAIN
        },
        Rule {
            line: "--fill-nan",
            fill_nan: true,
            ..PLAIN
        },
        Rule {
            line: "--fill-nan --fill interpolate --axis y",
            fill_nan: true,
            fill: "interpolate",
            axis: 1,
            ..PLAIN
        },
        Rule {
            line: "--min-kept 12",
            min_kept: 12,
            ..PLAIN
        },
        Rule {
            line: "--sigma 0.5 --maxiters all",
            lower: 0.5,
            upper: 0.5,
            rounds: 1000,
            ..PLAIN
        },
        Rule {
            line: "--memory 16M --sigma 1",
            lower: 1.0,
            upper: 1.0,
            ..PLAIN
        },
    ] {
        changed += twins.hold::<f32>(&rule, None);
    }
    assert!(changed > 2000, "{changed}");
}

#[test]
fn void_is_told_from_data_where_its_value_is_a_possible_one() {
    // Void reads as 0, and so do many samples.
    let unsigned = pieced(2, " --pad 0", None, |twins| {
        u16::nearest((twins.noise(30.0) + 20.0).max(0.0))
    });
    let mut changed = 0;
    for rule in [
        PLAIN,
        Rule {
            line: "--axis x --fill interpolate",
            axis: 0,
            fill: "interpolate",
            ..PLAIN
        },
        Rule {
            line: "--axis y --fill mean --grow 1 --sigma 2",
            axis: 1,
            fill: "mean",
            grow: 1,
            lower: 2.0,
            upper: 2.0,
            ..PLAIN
        },
        Rule {
            line: "--fill 7 --center mean",
            fill: "7",
            center: "mean",
            ..PLAIN
        },
    ] {
        changed += unsigned.hold::<u16>(&rule, None);
    }
    let floats = pieced(3, " --pad 0", None, |twins| match twins.random() {
        p if p < 0.05 => f32::NAN,
        p if p < 0.3 => 0.0,
        _ => twins.noise(5.0) as f32,
    });
    changed += floats.hold::<f32>(&PLAIN, None);
    changed += floats.hold::<f32>(
        &Rule {
            line: "--fill-nan --fill mean",
            fill_nan: true,
            fill: "mean",
            ..PLAIN
        },
        None,
    );
    assert!(changed > 500, "{changed}");
}

#[test]
fn integers_of_every_width_are_cleaned_and_blank_does_not_count() {
    let mut changed = 0;
    let blank = pieced(4, "", Some("-32768"), |twins| match twins.random() {
        p if p < 0.1 => -32768,
        _ => i16::nearest(twins.noise(20.0)),
    });
    for rule in [
        PLAIN,
        Rule {
            line: "--fill nan",
            fill: "nan",
            ..PLAIN
        },
        Rule {
            line: "--fill-nan --fill mean --axis x",
            fill_nan: true,
            fill: "mean",
            axis: 0,
            ..PLAIN
        },
    ] {
        changed += blank.hold::<i16>(&rule, Some(-32768));
    }
    let wide = pieced(5, "", None, |twins| i32::nearest(twins.noise(1e8)));
    changed += wide.hold::<i32>(&PLAIN, None);
    let wider = pieced(6, "", None, |twins| i64::nearest(twins.noise(1e12)));
    changed += wider.hold::<i64>(&PLAIN, None);
    let bytes = pieced(7, "", None, |twins| i8::nearest(twins.noise(9.0)));
    changed += bytes.hold::<i8>(
        &Rule {
            line: "--fill mean",
            fill: "mean",
            ..PLAIN
        },
        None,
    );
    let doubles = pieced(8, "", None, |twins| twins.noise(1e200));
    changed += doubles.hold::<f64>(
        &Rule {
            line: "--fill mean --spread mad",
            fill: "mean",
            spread: "mad",
            ..PLAIN
        },
        None,
    );
    assert!(changed > 1000, "{changed}");
}

#[test]
fn real_samples_in_a_void_tile_are_compared_and_replaced() {
    // A frame that is all pad leaves its tiles void; there it is an outlier.
    let mut twins = Twins::new(9);
    for number in 0..11u16 {
        let name = format!("{number}.fits");
        twins.frame(&name, &[9, 9], None, |twins| match number {
            4 => 0,
            _ => 500 + u16::nearest(20.0 * twins.random()),
        });
    }
    let names: String = (0..11).map(|number| format!(" @-{number}.fits")).collect();
    twins.both(&format!("append @.cube --tile 8,8,1{names}"));
    assert_eq!(twins.hold::<u16>(&PLAIN, None), 81);
    let run = twins.dir.ok("clean a.cube --report");
    assert!(
        run.out()
            .contains("\n          5         81  100.000 %  a-4.fits\n"),
        "{}",
        run.out()
    );
}

#[test]
fn four_axes_are_cleaned_along_any_of_them() {
    let mut twins = Twins::new(10);
    for number in 0..5 {
        let name = format!("{number}.fits");
        twins.frame(&name, &[7, 5, 6], None, float);
    }
    let names: String = (0..5).map(|number| format!(" @-{number}.fits")).collect();
    twins.both(&format!("append @.cube --axis w --tile 4,4,4,2{names}"));
    let mut changed = 0;
    for (axis, line) in [(0, "--axis x"), (1, "--axis y"), (2, "--axis 3"), (3, "")] {
        let rule = Rule {
            line,
            axis,
            lower: 1.5,
            upper: 1.5,
            rounds: 2,
            ..PLAIN
        };
        let line = format!("{line} --sigma 1.5 --maxiters 2");
        changed += twins.hold::<f32>(
            &Rule {
                line: &line,
                ..rule
            },
            None,
        );
    }
    assert!(changed > 100, "{changed}");
}

/// A mask of a cube in which one sample of seven is not 0, the same along `axis` if one is given.
fn marks(dir: &Scratch, axis: Option<usize>) -> (Image, Vec<u8>) {
    let shape = dir.shape("a.cube");
    let lens: Vec<u64> = (0..3)
        .map(|other| if axis == Some(other) { 1 } else { shape[other] })
        .collect();
    let own = |x: u64, y: u64, z: u64| -> u8 {
        let number = (z % lens[2] * lens[1] + y % lens[1]) * lens[0] + x % lens[0];
        match number.wrapping_mul(2_654_435_761) >> 13 & 0xff {
            noise if noise % 7 == 0 => 1 | noise as u8,
            _ => 0,
        }
    };
    let image = Image::new(&lens, |k| {
        own(k % lens[0], k / lens[0] % lens[1], k / lens[0] / lens[1])
    });
    let all = (0..shape.iter().product()).map(|k: u64| {
        own(
            k % shape[0],
            k / shape[0] % shape[1],
            k / shape[0] / shape[1],
        )
    });
    (image, all.collect())
}

#[test]
fn bad_samples_do_not_count_and_are_replaced() {
    let floats = pieced(14, "", None, float);
    let unsigned = pieced(15, " --pad 0", None, |twins| {
        u16::nearest((twins.noise(30.0) + 20.0).max(0.0))
    });
    let blank = pieced(16, "", Some("-32768"), |twins| match twins.random() {
        p if p < 0.1 => -32768,
        _ => i16::nearest(twins.noise(20.0)),
    });
    let mut changed = 0;
    for (axis, name) in [
        (None, "rays.fits"),
        (Some(2), "hot.fits"),
        (Some(0), "rows.fits"),
    ] {
        for twins in [&floats, &unsigned, &blank] {
            let (image, bad) = marks(&twins.dir, axis);
            twins.dir.frame(name, &image);
            let rule = Rule { bad: &bad, ..PLAIN };
            let mut hold = |line: &str, rule: Rule<'_>| {
                let line = format!("--bad {name} {line}");
                let rule = Rule {
                    line: &line,
                    ..rule
                };
                changed += if std::ptr::eq(twins, &floats) {
                    twins.hold::<f32>(&rule, None)
                } else if std::ptr::eq(twins, &unsigned) {
                    twins.hold::<u16>(&rule, None)
                } else {
                    twins.hold::<i16>(&rule, Some(-32768))
                };
            };
            hold("", rule);
            hold(
                "--axis y --fill mean --grow 2 --jobs 3",
                Rule {
                    axis: 1,
                    fill: "mean",
                    grow: 2,
                    ..rule
                },
            );
            hold(
                "--axis x --fill interpolate --sigma inf --memory 16M",
                Rule {
                    axis: 0,
                    fill: "interpolate",
                    lower: f64::INFINITY,
                    upper: f64::INFINITY,
                    ..rule
                },
            );
            hold("--fill 7", Rule { fill: "7", ..rule });
            hold(
                "--fill 7 --min-kept 20",
                Rule {
                    fill: "7",
                    min_kept: 20,
                    ..rule
                },
            );
            if !std::ptr::eq(twins, &unsigned) {
                hold(
                    "--fill nan",
                    Rule {
                        fill: "nan",
                        ..rule
                    },
                );
                hold(
                    "--fill-nan --fill mean",
                    Rule {
                        fill_nan: true,
                        fill: "mean",
                        ..rule
                    },
                );
            }
        }
    }
    assert!(changed > 10_000, "{changed}");
    // A mask that is a cube in pieces is as good as the image.
    let dir = &floats.dir;
    dir.ok("append planes.cube --tile 8,8,4 rays.fits[*,*,8:20]");
    dir.ok("append planes.cube --before rays.fits[*,*,1:7]");
    let depth = dir.shape("a.cube")[2];
    dir.ok(&format!("append planes.cube rays.fits[*,*,21:{depth}]"));
    let (_, bad) = marks(dir, None);
    let rule = Rule {
        line: "--bad planes.cube",
        bad: &bad,
        ..PLAIN
    };
    assert!(floats.hold::<f32>(&rule, None) > 100);
}

#[test]
fn a_section_is_cleaned_and_the_rest_left_alone() {
    let twins = pieced(11, "", None, float);
    let dir = &twins.dir;
    let before = dir.samples::<f32>("a.cube");
    let part = "[3:20,2:9,4:18]";
    let run = dir.cube_args([
        "clean",
        "a.cube",
        "--section",
        part,
        "--mask",
        "m.fits",
        "--json",
    ]);
    let report: Value = serde_json::from_slice(&run.ends(0).out).unwrap();
    let after = dir.samples::<f32>("a.cube");
    let shape = dir.shape("a.cube");
    let [nx, ny] = [shape[0] as usize, shape[1] as usize];
    let mut mask = Vec::new();
    let mut expected = before.clone();
    for y in 1..9 {
        for x in 2..20 {
            let at = |z: usize| (z * ny + y) * nx + x;
            let line = (3..18).map(|z| Some(f64::from(before[at(z)])).filter(|x| !x.is_nan()));
            let line: Vec<Option<f64>> = line.collect();
            for (k, value, _) in cleaned(&PLAIN, &line, &[], &[true; 15]) {
                expected[at(k + 3)] = value as f32;
                mask.push((k * 8 + y - 1) * 18 + x - 2);
            }
        }
    }
    assert_eq!(bits(&after), bits(&expected));
    assert_eq!(report["rejected"], mask.len());
    assert_eq!(report["samples"], 18 * 8 * 15);
    let written = read_fits(&dir.read("m.fits")).remove(0);
    assert_eq!(written.shape, [18, 8, 15]);
    let found = written.data.iter().enumerate().filter(|one| *one.1 == 1);
    let mut found: Vec<usize> = found.map(|(k, _)| k).collect();
    mask.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, mask);
}

#[test]
fn a_second_clean_works_on_cleaned_values_and_undo_takes_one_back() {
    let twins = pieced(12, "", None, float);
    let dir = &twins.dir;
    let rule = Rule {
        line: "--sigma 2 --maxiters 1",
        lower: 2.0,
        upper: 2.0,
        rounds: 1,
        ..PLAIN
    };
    let mut states = vec![dir.samples::<f32>("a.cube")];
    for _ in 0..3 {
        let (expected, mask) = twins.expected::<f32>(&rule, None);
        let hits = mask.iter().filter(|&&one| one == 1).count();
        assert!(hits > 0);
        dir.ok("clean a.cube --sigma 2 --maxiters 1")
            .says(&[&format!("a.cube: {hits} samples of ")]);
        assert_eq!(bits(&dir.samples::<f32>("a.cube")), bits(&expected));
        states.push(expected);
    }
    let log = dir.ok("log a.cube --json").out;
    let log: Value = serde_json::from_slice(&log).unwrap();
    let last = log.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["verb"], last["samples"].as_u64() > Some(0)),
        (&"clean".into(), true)
    );
    let text = dir.ok("log a.cube");
    assert!(text.out().contains(" samples"), "{}", text.out());
    // Frames put in later stand beside what was cleaned.
    dir.ok("append a.cube a-00.fits");
    states.push(dir.samples::<f32>("a.cube"));
    states.pop();
    dir.ok("undo a.cube");
    while let Some(state) = states.pop() {
        assert_eq!(bits(&dir.samples::<f32>("a.cube")), bits(&state));
        if !states.is_empty() {
            dir.ok("undo a.cube").says(&["took back clean"]);
        }
    }
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let twins = pieced(13, "", None, float);
    let dir = &twins.dir;
    let before = dir.read("a.cube");
    let held = fs::File::open(dir.path("a.cube")).unwrap();
    held.lock().unwrap();
    let dry = dir.ok("clean a.cube --dry-run --json --mask dry.fits");
    assert!(dry.err.contains("would be replaced"), "{}", dry.err);
    dir.cube("clean a.cube")
        .fails(&["another program is writing"]);
    drop(held);
    assert_eq!(dir.read("a.cube"), before);
    let wet = dir.ok("clean a.cube --json --mask wet.fits");
    let of = |out: &[u8]| -> Value { serde_json::from_slice(out).unwrap() };
    let (mut dry, mut wet) = (of(&dry.out), of(&wet.out));
    assert_eq!(dry["dry_run"].take(), true);
    assert_eq!(wet["dry_run"].take(), false);
    assert_eq!(dry, wet);
    assert_eq!(dir.read("dry.fits"), dir.read("wet.fits"));
    let worst = wet["worst"].as_array().unwrap();
    let frames = wet["frames"].as_array().unwrap();
    let count = |position: &Value| {
        frames[position.as_u64().unwrap() as usize - 1]["rejected"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(worst.len(), 10);
    assert!(worst.windows(2).all(|two| count(&two[0]) >= count(&two[1])));
    assert!(
        frames
            .iter()
            .all(|frame| frame["rejected"].as_u64().unwrap() <= count(&worst[0]))
    );
    let sources = frames
        .iter()
        .filter(|frame| frame["source"].as_str().is_some());
    assert_eq!(sources.count(), frames.len());
}

#[test]
fn a_rule_that_can_reject_no_lone_outlier_says_so() {
    let dir = Scratch::new();
    for number in 0..8i16 {
        let outlier = if number == 3 { 30_000 } else { 0 };
        dir.frame(
            &format!("{number}.fits"),
            &Image::new(&[4, 4], |k| k as i16 % 3 + number % 2 + outlier),
        );
    }
    let warning = "one outlier among 7 samples is at most 2.86 standard deviations";
    dir.ok("append a.cube 0.fits 1.fits 2.fits 3.fits 4.fits 5.fits 6.fits");
    dir.ok("clean a.cube --dry-run")
        .says(&[warning, "so 3 reject none", "0 samples of 112"]);
    dir.ok("combine a.cube --method mean --reject sigma -o m.fits")
        .says(&[warning]);
    for line in [
        "clean a.cube --dry-run --spread mad",
        "clean a.cube --dry-run --sigma 2.8",
        "combine a.cube --method mean -o m.fits --overwrite",
    ] {
        assert!(!dir.ok(line).err.contains("warning"), "{line}");
    }
    // As far as one can be from a median of eight.
    dir.ok("append a.cube 7.fits");
    let run = dir
        .ok("clean a.cube --dry-run")
        .says(&["16 samples of 128"]);
    assert!(!run.err.contains("warning"));
    dir.ok("clean a.cube --dry-run --center mean --sigma 2.7")
        .says(&["one outlier among 8 samples is at most 2.65 standard deviations from their mean"]);
}

#[test]
fn what_has_no_outlier_is_left_without_a_commit() {
    let dir = Scratch::new();
    for number in 0..6i16 {
        dir.frame(
            &format!("{number}.fits"),
            &Image::new(&[20, 20], |k| k as i16 + number),
        );
    }
    dir.ok("append a.cube 0.fits 1.fits");
    let before = dir.info("a.cube")["generation"].clone();
    // Two samples are as far from their middle as each other.
    for line in [
        "clean a.cube",
        "clean a.cube --axis y",
        "clean a.cube --maxiters all",
    ] {
        dir.ok(line)
            .says(&["0 samples of 800 replaced", "the cube is as it was"]);
    }
    assert_eq!(dir.info("a.cube")["generation"], before);
    // All of these would be rejected, so none is.
    let run = dir.ok("clean a.cube --sigma 0.5 --json");
    let report: Value = serde_json::from_slice(&run.out).unwrap();
    assert_eq!(
        (&report["rejected"], &report["lines_left"]),
        (&0.into(), &400.into())
    );
    assert_eq!(dir.info("a.cube")["generation"], before);
}

#[test]
fn bad_options_are_refused_before_anything_is_done() {
    let dir = Scratch::new();
    dir.frame("i.fits", &Image::new(&[8, 6], |k| k as i16));
    dir.frame("f.fits", &Image::new(&[8, 6], |k| k as f32));
    dir.ok("append i.cube i.fits i.fits i.fits");
    dir.ok("append f.cube f.fits f.fits");
    dir.ok("append one.cube f.fits");
    dir.ok("append empty.cube f.fits");
    dir.ok("delete empty.cube --at 1");
    dir.write("there.fits", "x");
    let before = dir.read("i.cube");
    for (line, phrases) in [
        (
            "one.cube",
            &["nothing to compare along z", "8 x 6 x 1", "--axis"][..],
        ),
        (
            "i.cube --section 1:3,1:3,2",
            &["nothing to compare along z"],
        ),
        ("i.cube --axis w", &["there is no axis w", "8 x 6 x 3"]),
        ("empty.cube", &["the cube is empty: z has length 0"]),
        ("i.cube --section 1:9,1:3,1:2", &["x runs from 1 to 8"]),
        ("i.cube --section 1:3,1:3,1:4", &["z runs from 1 to 3"]),
        ("i.cube --section 1:3", &["has 1 axes"]),
        ("i.cube --section ,,", &["position"]),
        (
            "i.cube --fill 1.5",
            &[
                "1.5 does not fit int16",
                "whole number from -32768 to 32767",
            ],
        ),
        ("i.cube --fill 40000", &["40000 does not fit int16"]),
        ("i.cube --fill nan", &["without BLANK"]),
        ("f.cube --fill 1e39", &["does not fit float32"]),
        ("f.cube --fill inf", &["does not fit float32"]),
        ("f.cube --fill nan --fill-nan", &["would change nothing"]),
        ("i.cube --mask there.fits", &["exists", "--overwrite"]),
        (
            "i.cube --mask i.cube --overwrite --mask-format fits",
            &["is a cube"],
        ),
        ("i.cube --mask m.xyz", &["--format"]),
        ("i.cube --mask m.csv", &["csv"]),
        ("none.cube", &["no such file"]),
        ("i.fits", &["is not a cube"]),
    ] {
        dir.cube(&format!("clean {line}")).fails(phrases);
        assert!(!dir.exists("m.xyz") && !dir.exists("m.csv"));
    }
    for line in [
        "--sigma 0",
        "--sigma -1",
        "--sigma nan",
        "--lower 0",
        "--upper x",
        "--maxiters 0",
        "--maxiters -1",
        "--center mode",
        "--spread range",
        "--fill many",
        "--min-kept 0",
        "--grow -1",
        "--jobs 0",
        "--axis 9",
        "--memory 1M",
        "--overwrite",
    ] {
        let run = dir.cube(&format!("clean i.cube {line}"));
        assert_eq!((run.status, run.out.len()), (2, 0), "{line}: {}", run.err);
    }
    assert_eq!(dir.read("i.cube"), before);
}

#[test]
fn memory_is_bounded_however_many_frames_and_outliers_there_are() {
    // 200,000 tiny frames, and a third of the samples rejected in the end.
    const DEPTH: u64 = 200_000;
    let dir = Scratch::new();
    let sample = |k: u64| ((k.wrapping_mul(2_654_435_761) >> 7) % 1000) as i16;
    dir.frame("deep.fits", &Image::new(&[3, 2, DEPTH], sample));
    dir.ok("append a.cube deep.fits");
    let before = dir.samples::<i16>("a.cube");
    let clean = "clean a.cube --sigma 1 --maxiters 1";
    let few = peak_of(&dir, &format!("{clean} --memory 128M --mask m.fits"));
    let cleaned = dir.samples::<i16>("a.cube");
    let mask = read_fits(&dir.read("m.fits")).remove(0).data;
    let hits = mask.iter().filter(|&&one| one == 1).count();
    assert!(hits > 300_000, "{hits}");
    for k in 0..before.len() {
        assert_eq!(mask[k] == 1, before[k] != cleaned[k], "sample {k}");
    }
    assert!(few < 192 << 20, "{few}");
    dir.ok("undo a.cube");
    dir.cube(&format!("{clean} --memory 16M"))
        .fails(&["lines of 200000 samples need", "--memory"]);
    // Many samples in short lines: what is found does not fit the memory.
    let dir = Scratch::new();
    dir.frame("wide.fits", &Image::new(&[512, 512, 16], sample));
    dir.ok("append a.cube wide.fits");
    let before = dir.samples::<i16>("a.cube");
    let peak = peak_of(&dir, &format!("{clean} --memory 16M --mask m.fits"));
    assert!(peak < 80 << 20, "{peak}");
    let sets = dir.samples::<i16>("a.cube");
    let mask = read_fits(&dir.read("m.fits")).remove(0).data;
    for k in 0..before.len() {
        assert_eq!(mask[k] == 1, before[k] != sets[k], "sample {k}");
    }
    let generation = dir.info("a.cube")["generation"].clone();
    assert_eq!(generation, 2, "one commit");
    dir.ok("check a.cube");
    dir.ok("undo a.cube");
    assert_eq!(dir.samples::<i16>("a.cube"), before);
    // With more of it, it is the same.
    dir.ok(&format!("{clean} --memory 1G --jobs 1"));
    assert_eq!(dir.samples::<i16>("a.cube"), sets);
}

#[test]
fn a_clean_that_is_interrupted_leaves_the_cube_as_it_was() {
    let dir = Scratch::new();
    let sample = |k: u64| (k.wrapping_mul(2_654_435_761) >> 20) as f32;
    dir.frame("a.fits", &Image::new(&[512, 512, 60], sample));
    dir.ok("append a.cube a.fits");
    let before = dir.samples::<f32>("a.cube");
    let generation = dir.info("a.cube")["generation"].clone();
    for name in ["INT", "TERM", "KILL"] {
        let mut command = dir.command();
        // Little memory, so that sets are stored long before the end.
        let line = "clean a.cube --sigma 1 --memory 16M --jobs 1";
        let length = fs::metadata(dir.path("a.cube")).unwrap().len();
        let child = command.args(line.split_whitespace()).spawn().unwrap();
        wait_until("patches are stored", || {
            fs::metadata(dir.path("a.cube")).unwrap().len() > length
        });
        signal(&child, name);
        match name {
            "KILL" => {
                let mut child = child;
                assert_eq!(child.wait().unwrap().code(), None);
            }
            _ => {
                finish(child)
                    .ends(130)
                    .says(&["cube: a.cube: interrupted", "hint: the cube is as it was"]);
                assert_eq!(fs::metadata(dir.path("a.cube")).unwrap().len(), length);
            }
        }
        assert_eq!(bits(&dir.samples::<f32>("a.cube")), bits(&before));
        assert_eq!(dir.info("a.cube")["generation"], generation);
    }
    dir.ok("clean a.cube --sigma 1");
    dir.ok("check a.cube --deep");
}

/// What astropy makes of a cube, by the rule in its arguments.
const ORACLE: &str = "
import sys, warnings
import numpy as np
from astropy.io import fits
from astropy.stats import sigma_clip
warnings.simplefilter('ignore')
before, after, mask, axis, lower, upper, iters, center, spread, fill = sys.argv[1:]
data = fits.getdata(before)
data = data.astype(data.dtype.newbyteorder('='))
axis = data.ndim - 1 - int(axis)
clipped = sigma_clip(data, sigma_lower=float(lower), sigma_upper=float(upper),
                     maxiters=None if iters == 'all' else int(iters), cenfunc=center,
                     stdfunc={'std': 'std', 'mad': 'mad_std'}[spread], axis=axis, masked=True)
bad = np.ma.getmaskarray(clipped) & ~np.isnan(data)
kept = np.where(np.ma.getmaskarray(clipped), np.nan, data.astype('f8'))
value = {'median': np.nanmedian, 'mean': np.nanmean}[fill](kept, axis=axis, keepdims=True)
bad &= ~np.isnan(value)
if data.dtype.kind != 'f':
    value = np.rint(value)
value = np.broadcast_to(value, data.shape)
expected = data.copy()
expected[bad] = value[bad].astype(data.dtype)
found = fits.getdata(after)
assert np.array_equal(fits.getdata(mask) == 1, bad), 'mask'
if fill == 'mean' and data.dtype.kind == 'f':
    assert np.allclose(found, expected, rtol=1e-6, atol=0, equal_nan=True), 'values'
else:
    assert np.array_equal(found, expected, equal_nan=data.dtype.kind == 'f'), 'values'
print(bad.sum())
";

#[test]
fn decisions_are_those_of_astropy() {
    let Some(python) = python_with("astropy") else {
        return;
    };
    let mut total = 0u64;
    let mut hold = |twins: &Twins, axis: &str, rule: [&str; 6]| {
        let dir = &twins.dir;
        let [lower, upper, iters, center, spread, fill] = rule;
        dir.ok("slice a.cube -o before.fits --overwrite");
        dir.ok(&format!(
            "clean a.cube --mask mask.fits --overwrite --axis {} --lower {lower} --upper {upper} \
             --maxiters {iters} --center {center} --spread {spread} --fill {fill}",
            axis.parse::<usize>().unwrap() + 1
        ));
        dir.ok("slice a.cube -o after.fits --overwrite");
        let mut command = Command::new(&python);
        command.args(["-c", ORACLE]);
        for name in ["before.fits", "after.fits", "mask.fits"] {
            command.arg(dir.path(name));
        }
        let output = command.arg(axis).args(rule).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{axis} {rule:?}: {said}");
        let hits = String::from_utf8_lossy(&output.stdout);
        total += hits.trim().parse::<u64>().unwrap();
        dir.cube("undo a.cube");
    };
    let floats = pieced(20, "", None, float);
    hold(&floats, "2", ["3", "3", "5", "median", "std", "median"]);
    hold(&floats, "0", ["2", "4", "all", "mean", "std", "mean"]);
    hold(&floats, "1", ["2.5", "2", "1", "median", "mad", "median"]);
    let doubles = pieced(21, "", None, |twins| twins.noise(1e-30));
    hold(&doubles, "2", ["3", "3", "5", "mean", "mad", "median"]);
    // Where nothing is void astropy knows integers, too.
    fn deep<T: Number>(seed: u64, sample: fn(&mut Twins) -> T) -> Twins {
        let mut twins = Twins::new(seed);
        twins.frame("0.fits", &[19, 13, 100], None, sample);
        twins.frame("1.fits", &[19, 13, 7], None, sample);
        twins.both("append @.cube --tile 8,8,4 @-0.fits");
        twins.both("insert @.cube --at 40 @-1.fits");
        twins
    }
    for axis in ["0", "1", "2"] {
        let plain = ["3", "3", "5", "median", "std", "median"];
        hold(
            &deep(22, |twins| i16::nearest(twins.noise(20.0))),
            axis,
            plain,
        );
        hold(
            &deep(23, |twins| u16::nearest(twins.noise(500.0) + 30000.0)),
            axis,
            plain,
        );
        hold(
            &deep(24, |twins| i32::nearest(twins.noise(1e7))),
            axis,
            plain,
        );
        // So little noise that many samples are equal.
        hold(
            &deep(25, |twins| u8::nearest(twins.noise(1.0) + 100.0)),
            axis,
            plain,
        );
    }
    assert!(total > 3000, "{total}");
}

#[test]
fn a_frame_that_differs_as_a_whole_is_told_of() {
    let dir = Scratch::new();
    let mut random = Random(4);
    for number in 1..=12 {
        let level = if number == 5 { 900.0 } else { 100.0 };
        let noise: Vec<f32> = (0..1600).map(|_| level + random.below(5) as f32).collect();
        dir.frame(
            &format!("{number}.fits"),
            &Image::new(&[40, 40], |k| noise[k as usize]),
        );
    }
    dir.ok("append a.cube 1.fits 2.fits 3.fits 4.fits 6.fits 7.fits 8.fits 9.fits");
    let told = "% of the samples at position";
    let line = "clean a.cube --spread mad --sigma 6";
    let run = dir.ok(line);
    assert!(!run.err.contains(told), "{}", run.err);
    dir.ok("insert a.cube --at 3 5.fits");
    for more in [" --dry-run", ""] {
        let run = dir.ok(&format!("{line}{more}"));
        run.says(&["warning: 100 % of the samples at position 3 of z are rejected: "]);
    }
    // Along the rows of frames it says nothing of them.
    let run = dir.ok(&format!("{line} --axis x --dry-run"));
    assert!(!run.err.contains(told), "{}", run.err);
}

#[test]
fn what_comes_out_says_how_much_of_it_was_replaced() {
    let dir = Scratch::new();
    for number in 0..9u64 {
        let bright = move |k: u64| {
            if k % 31 == number {
                5000
            } else {
                100 + (k * number % 5) as i16
            }
        };
        dir.frame(&format!("{number}.fits"), &Image::new(&[12, 10], bright));
    }
    dir.ok(
        "append a.cube --tile 5,4,4 0.fits 1.fits 2.fits 3.fits 4.fits 5.fits 6.fits 7.fits 8.fits",
    );
    let told = |line: &str| -> Vec<String> {
        dir.ok(&format!("{line} -o out.fits --overwrite"));
        let hdu = &read_fits(&dir.read("out.fits"))[0];
        let cards = hdu
            .cards
            .iter()
            .filter(|card| card.contains(" replaced by cube clean"));
        cards.cloned().collect()
    };
    let cut = "slice a.cube --axis x,y --at 2";
    assert!(told(cut).is_empty());
    let json = dir.ok("clean a.cube --spread mad --sigma 6 --json --mask m.fits");
    let report: Value = serde_json::from_str(json.out()).unwrap();
    let all = report["rejected"].as_u64().unwrap();
    // Samples 1, 32, 63 and 94 of the second frame, in rows 1, 3, 6 and 8.
    assert_eq!(told(cut), ["HISTORY 4 samples replaced by cube clean"]);
    let part = "slice a.cube --section [*,3:9:2,2]";
    assert_eq!(told(part), ["HISTORY 1 sample replaced by cube clean"]);
    let whole = format!("HISTORY {all} samples replaced by cube clean");
    for line in ["slice a.cube", "combine a.cube --method median"] {
        assert_eq!(told(line), [&whole[..]], "{line}");
    }
    // What is cleaned again counts once.
    dir.ok("clean a.cube --sigma inf --bad m.fits --fill 7");
    assert_eq!(told("slice a.cube"), [&whole[..]]);
}

#[test]
fn a_limit_below_0_is_told_to_be_wrong() {
    let dir = Scratch::new();
    for option in ["--sigma -1", "--lower -2.5", "--upper -0.1"] {
        let run = dir.cube(&format!("clean a.cube {option}")).ends(2);
        assert!(run.err.contains("invalid value '-"), "{}", run.err);
    }
}
