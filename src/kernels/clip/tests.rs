//! What astropy rejects is what every level rejects.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::lines::{KINDS, Random, line, rules};
use super::{Center, Clipper, Collapser, Fill, LANES, Level, Line, Rule, Spread, Statistic};
use crate::dtype::DType;

/// Lines of a type, all of the same length, and a rule for them.
struct Job {
    dtype: DType,
    n: usize,
    lines: Vec<Vec<f64>>,
    rule: Rule,
}

/// What became of a line: which samples are masked, and the bounds.
struct Clipped {
    mask: Vec<bool>,
    low: f64,
    high: f64,
}

/// The nearest sample of a type.
fn cast(dtype: DType, sample: f64) -> f64 {
    match dtype {
        DType::F64 => sample,
        DType::F32 => f64::from(sample as f32),
        DType::U16 => f64::from(sample as u16),
        DType::I16 => f64::from(sample as i16),
        _ => f64::from(sample as i32),
    }
}

fn bytes(dtype: DType, sample: f64) -> Vec<u8> {
    match dtype {
        DType::F64 => sample.to_le_bytes().to_vec(),
        DType::F32 => (sample as f32).to_le_bytes().to_vec(),
        DType::U16 => (sample as u16).to_le_bytes().to_vec(),
        DType::I16 => (sample as i16).to_le_bytes().to_vec(),
        _ => (sample as i32).to_le_bytes().to_vec(),
    }
}

fn jobs(lengths: &[usize]) -> Vec<Job> {
    let types = [
        DType::F32,
        DType::F64,
        DType::U16,
        DType::I16,
        DType::F32,
        DType::I32,
    ];
    let mut jobs = Vec::new();
    let mut random = Random(5);
    for &n in lengths {
        for (number, rule) in rules().into_iter().enumerate() {
            let dtype = types[(number + n) % types.len()];
            let mut lines: Vec<_> = (0..KINDS)
                .map(|kind| line(kind, n, &mut random))
                .filter(|line| dtype.is_float() || line.iter().all(|sample| sample.is_finite()))
                .collect();
            for sample in lines.iter_mut().flatten() {
                *sample = cast(dtype, *sample);
            }
            jobs.push(Job {
                dtype,
                n,
                lines,
                rule,
            });
        }
    }
    jobs
}

/// Whole blocks of one kind of lines, so that fast ways are not given up for the
/// sake of others; and two mean lines among noise.
fn blocks(lengths: &[usize]) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut random = Random(11);
    for &n in lengths {
        for kind in 0..KINDS {
            let rules = rules();
            let rule = rules[(kind * 3 + n) % rules.len()];
            // Most by the rule that most will use.
            let is_most = kind % 3 != 0 || (5..=8).contains(&kind);
            let rule = if is_most { rules[0] } else { rule };
            let dtype = [DType::F32, DType::F32, DType::F64][(kind + n) % 3];
            let mut lines: Vec<_> = (0..LANES).map(|_| line(kind, n, &mut random)).collect();
            if kind % 4 == 1 {
                lines[3] = line(16, n, &mut random);
                lines[9] = line(18, n, &mut random);
            }
            for sample in lines.iter_mut().flatten() {
                let whole = if kind == 5 { sample.round() } else { *sample };
                *sample = cast(dtype, whole);
            }
            jobs.push(Job {
                dtype,
                n,
                lines,
                rule,
            });
        }
    }
    jobs
}

/// The lines of a job, as `Clipper` of a level sees them: 16 by 16, and the last
/// block filled up with the first line.
fn clipped(job: &Job, level: Level) -> Vec<(Clipped, Line)> {
    let mut clipper = Clipper::with_level(job.rule, level).of_integers(are_integers(&job.lines));
    let mut rejected = Vec::new();
    let mut out = Vec::new();
    for block in job.lines.chunks(LANES) {
        let row = |k: usize| -> [f64; LANES] {
            std::array::from_fn(|lane| block.get(lane).unwrap_or(&block[0])[k])
        };
        let rows: Vec<[f64; LANES]> = (0..job.n).map(row).collect();
        let lines = if matches!(job.dtype, DType::F64 | DType::I32) {
            clipper.clip_f64(&rows, &mut rejected)
        } else {
            let rows: Vec<_> = rows.iter().map(|row| row.map(|x| x as f32)).collect();
            clipper.clip_f32(&rows, &mut rejected)
        };
        assert!(rejected.is_sorted());
        let mut masks = vec![vec![false; job.n]; LANES];
        for &at in &rejected {
            masks[at as usize % LANES][at as usize / LANES] = true;
        }
        for (mask, line) in masks.into_iter().zip(lines).take(block.len()) {
            let (low, high) = (line.low, line.high);
            out.push((Clipped { mask, low, high }, line));
        }
    }
    out
}

/// Whether all samples that are finite are whole numbers.
fn are_integers(lines: &[Vec<f64>]) -> bool {
    let mut finite = lines.iter().flatten().filter(|x| x.is_finite());
    finite.all(|x| x.trunc() == *x)
}

/// Holds a level against masks with bounds: bit for bit where `exact`.
fn hold(job: &Job, level: Level, expected: &[Clipped], exact: bool) {
    let found = clipped(job, level);
    assert_eq!(found.len(), expected.len());
    for (number, ((found, line), expected)) in found.iter().zip(expected).enumerate() {
        let what = || {
            format!(
                "line {number} of {} {} samples, {:?}, {level:?}",
                job.n, job.dtype, job.rule
            )
        };
        let samples = &job.lines[number];
        // Where all are alike, a side without a limit makes the bounds of astropy NaN.
        let is_open = job.rule.lower.max(job.rule.upper) == f64::INFINITY;
        if is_open && (expected.low.is_nan() || expected.high.is_nan()) {
            continue;
        }
        // astropy masks NaN, which here is not rejected.
        for (k, sample) in samples.iter().enumerate() {
            assert_eq!(
                found.mask[k] || sample.is_nan(),
                expected.mask[k] || sample.is_nan(),
                "sample {k}, {sample}, of {}: [{}, {}], expected [{}, {}]",
                what(),
                found.low,
                found.high,
                expected.low,
                expected.high
            );
            assert!(expected.mask[k] || !sample.is_nan());
        }
        if exact {
            for (found, expected) in [(found.low, expected.low), (found.high, expected.high)] {
                assert!(
                    found == expected || found.is_nan() && expected.is_nan(),
                    "{found}, expected {expected}: {}",
                    what()
                );
            }
        }
        let counted = samples.iter().filter(|sample| sample.is_finite()).count();
        let masked = expected.mask.iter().filter(|masked| **masked).count();
        assert_eq!(line.counted as usize, counted, "{}", what());
        assert_eq!(line.kept as usize, job.n - masked, "{}", what());
    }
}

/// What astropy says, or `None` where there is none to ask.
fn astropy(jobs: &[Job]) -> Option<Vec<Vec<Clipped>>> {
    let python = std::env::var_os("CUBE_PYTHON").unwrap_or_else(|| "python3".into());
    let has_astropy = Command::new(&python)
        .args(["-c", "import astropy.stats"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_astropy {
        use std::io::Write;
        let why = "skipped: no python3 with astropy; CUBE_PYTHON names one";
        let _ = writeln!(std::io::stderr(), "{why}");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    let (mut text, mut samples) = (String::new(), Vec::new());
    for job in jobs {
        writeln!(text, "{}", words(job)).unwrap();
        for sample in job.lines.iter().flatten() {
            samples.extend(bytes(job.dtype, *sample));
        }
    }
    std::fs::write(file("jobs"), text).unwrap();
    std::fs::write(file("samples"), samples).unwrap();
    let status = Command::new(&python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clip.py"))
        .args([file("jobs"), file("samples"), file("out")])
        .status();
    assert!(status.unwrap().success());
    let out = std::fs::read(file("out")).unwrap();
    let mut out = out.as_slice();
    let mut take = |len| out.split_off(..len).unwrap();
    let answers = jobs.iter().map(|job| {
        let answer = |_| {
            let mask = take(job.n).iter().map(|byte| *byte == 1).collect();
            let mut bound = || f64::from_le_bytes(take(8).try_into().unwrap());
            let (low, high) = (bound(), bound());
            Clipped { mask, low, high }
        };
        job.lines.iter().map(answer).collect()
    });
    Some(answers.collect())
}

/// A job as `tests/it/clip.py` reads it.
fn words(job: &Job) -> String {
    let rule = &job.rule;
    format!(
        "{} {} {} {} {} {} {} {}",
        job.dtype,
        job.n,
        job.lines.len(),
        rule.lower,
        rule.upper,
        rule.rounds.unwrap_or(0),
        if rule.center == Center::Mean {
            "mean"
        } else {
            "median"
        },
        if rule.spread == Spread::Std {
            "std"
        } else {
            "mad_std"
        },
    )
}

/// The lengths that are compared: every short one, then even and odd ones.
fn lengths() -> Vec<usize> {
    let mut lengths: Vec<usize> = (1..=20).collect();
    lengths.extend([31, 32, 33, 50, 63, 64, 65, 99, 100, 101, 127, 128, 129]);
    lengths.extend([200, 255, 256, 257, 500, 777, 1000, 2001]);
    lengths
}

#[test]
fn every_level_rejects_what_astropy_rejects() {
    let mut lengths = lengths();
    lengths.extend([5000, 10_000]);
    let mut jobs = jobs(&lengths);
    jobs.extend(blocks(&lengths));
    let Some(answers) = astropy(&jobs) else {
        return;
    };
    for level in Level::available() {
        for (job, answer) in jobs.iter().zip(&answers) {
            hold(job, level, answer, level == Level::Scalar);
        }
    }
}

#[test]
fn a_side_without_a_limit_keeps_all_and_the_other_rejects_where_all_are_alike() {
    let mut samples = vec![65.0; 50];
    (samples[7], samples[30]) = (1000.0, 3.0);
    for (lower, upper, rejected) in [
        (f64::INFINITY, 5.0, vec![7]),
        (5.0, f64::INFINITY, vec![30]),
        (f64::INFINITY, f64::INFINITY, vec![]),
    ] {
        let rule = Rule {
            lower,
            upper,
            rounds: Some(5),
            center: Center::Median,
            spread: Spread::Mad,
            fill: Fill::Median,
        };
        for dtype in [DType::F32, DType::F64] {
            let job = Job {
                dtype,
                n: samples.len(),
                lines: vec![samples.clone(); 20],
                rule,
            };
            for level in Level::available() {
                for (found, _) in clipped(&job, level) {
                    let masked = (0..job.n).filter(|&k| found.mask[k]);
                    assert_eq!(masked.collect::<Vec<_>>(), rejected, "{level:?} {rule:?}");
                }
            }
        }
    }
}

#[test]
fn every_level_does_what_the_definition_says() {
    for job in jobs(&lengths()).into_iter().chain(blocks(&lengths())) {
        let expected = clipped(&job, Level::Scalar);
        for level in Level::available() {
            let found = clipped(&job, level);
            for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let what = format!(
                    "{level:?}, line {number} of {}: {:?}, expected {:?}",
                    words(&job),
                    found.1,
                    expected.1
                );
                assert!(found.0.mask == expected.0.mask, "{what}");
                assert_eq!(found.1.counted, expected.1.counted, "{what}");
                assert_eq!(found.1.kept, expected.1.kept, "{what}");
                let bits = |line: &Line| (line.fill.to_bits(), line.fill.is_nan());
                let (found, expected) = (bits(&found.1), bits(&expected.1));
                assert!(
                    found.0 == expected.0 || found.1 && expected.1,
                    "fill: {what}"
                );
            }
        }
    }
}

#[test]
fn every_level_collapses_as_the_definition_says() {
    use Statistic::{Max, Mean, Median, Min, Std, Sum};
    let jobs = jobs(&lengths()).into_iter().step_by(4);
    for job in jobs.chain(blocks(&lengths())) {
        for block in job.lines.chunks_exact(LANES) {
            let whole = are_integers(block);
            let row = |k: usize| -> [f64; LANES] { std::array::from_fn(|lane| block[lane][k]) };
            let rows: Vec<[f64; LANES]> = (0..job.n).map(row).collect();
            let narrow: Vec<_> = rows.iter().map(|row| row.map(|x| x as f32)).collect();
            for what in [Median, Mean, Sum, Min, Max, Std] {
                let at = |level| {
                    let mut collapser = Collapser::with_level(level).of_integers(whole);
                    let wide = collapser.collapse_f64(&rows, what);
                    let narrow = collapser.collapse_f32(&narrow, what);
                    [wide, narrow].map(|lines| {
                        lines.map(|(value, count)| (value.is_nan(), value.to_bits(), count))
                    })
                };
                let expected = at(Level::Scalar);
                for level in Level::available() {
                    let found = at(level);
                    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                        assert!(
                            found == expected || found.0 && expected.0 && found.2 == expected.2,
                            "{level:?} {what:?} {} {}: {} of {}, expected {} of {}",
                            job.n,
                            job.dtype,
                            f64::from_bits(found.1),
                            found.2,
                            f64::from_bits(expected.1),
                            expected.2
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_block_without_rows_has_no_samples() {
    let mut rejected = vec![1];
    for level in Level::available() {
        let mut clipper = Clipper::with_level(rules()[0], level);
        let line = clipper.clip_f32(&[], &mut rejected)[0];
        assert!(rejected.is_empty() && line.low.is_nan() && line.high.is_nan());
        assert_eq!((line.counted, line.kept), (0, 0));
        let mut collapser = Collapser::with_level(level);
        for what in [Statistic::Median, Statistic::Sum, Statistic::Std] {
            let (value, counted) = collapser.collapse_f64(&[], what)[3];
            assert!(value.is_nan() && counted == 0);
        }
    }
}

/// What astropy said, in `testdata/clip/lines.txt`. `CUBE_BLESS` asks it anew.
#[test]
fn lines_of_testdata_are_clipped_as_astropy_clipped_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/clip/lines.txt");
    if std::env::var_os("CUBE_BLESS").is_some() {
        let mut jobs = jobs(&[1, 2, 11]);
        for (number, job) in jobs.iter_mut().enumerate() {
            let lines = std::mem::take(&mut job.lines).into_iter();
            job.lines = lines.skip(number % 3).step_by(3).collect();
        }
        let mut text = String::new();
        for (job, answer) in jobs.iter().zip(astropy(&jobs).expect("astropy is there")) {
            writeln!(text, "{}", words(job)).unwrap();
            for (samples, clipped) in job.lines.iter().zip(answer) {
                let mask = clipped.mask.iter().map(|out| if *out { 'x' } else { '.' });
                let mask: String = mask.collect();
                write!(text, "{mask} {:?} {:?}", clipped.low, clipped.high).unwrap();
                for sample in samples {
                    write!(text, " {sample:?}").unwrap();
                }
                text.push('\n');
            }
        }
        std::fs::write(&path, text).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines = text.lines();
    let mut n_jobs = 0;
    while let Some(words) = lines.next() {
        let words: Vec<&str> = words.split(' ').collect();
        let count: usize = words[2].parse().unwrap();
        let (mut samples, mut answer) = (Vec::new(), Vec::new());
        for line in lines.by_ref().take(count) {
            let mut words = line.split(' ');
            let mask = words
                .next()
                .unwrap()
                .chars()
                .map(|out| out == 'x')
                .collect();
            let mut numbers = words.map(|word| word.parse::<f64>().unwrap());
            let (low, high) = (numbers.next().unwrap(), numbers.next().unwrap());
            answer.push(Clipped { mask, low, high });
            samples.push(numbers.collect());
        }
        let job = Job {
            dtype: DType::from_name(words[0]).unwrap(),
            n: words[1].parse().unwrap(),
            lines: samples,
            rule: Rule {
                lower: words[3].parse().unwrap(),
                upper: words[4].parse().unwrap(),
                rounds: Some(words[5].parse().unwrap()).filter(|rounds| *rounds != 0),
                center: match words[6] {
                    "mean" => Center::Mean,
                    _ => Center::Median,
                },
                spread: match words[7] {
                    "std" => Spread::Std,
                    _ => Spread::Mad,
                },
                fill: super::Fill::None,
            },
        };
        for level in Level::available() {
            hold(&job, level, &answer, level == Level::Scalar);
        }
        n_jobs += 1;
    }
    assert_eq!(n_jobs, 60);
}
