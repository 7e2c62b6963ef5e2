//! Measured values against those of a program too simple to be wrong.

#![allow(
    clippy::cast_possible_truncation,
    reason = "samples are cut out of random words"
)]

use super::*;
use crate::frames::cards::Cards;
use crate::frames::{About, Facts};

/// A frame that lies in memory, and counts how much of it is asked at once.
struct Lying {
    about: About,
    bytes: Vec<u8>,
    most_asked: usize,
    passes: usize,
}

impl Frame for Lying {
    fn about(&self) -> &About {
        &self.about
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        let start = first as usize * self.about.facts.dtype.size();
        out.copy_from_slice(&self.bytes[start..start + out.len()]);
        self.most_asked = self.most_asked.max(out.len());
        self.passes += usize::from(first == 0);
        Ok(())
    }
}

fn lying(dtype: DType, blank: Option<i128>, samples: impl Iterator<Item = u64>) -> Lying {
    let bytes: Vec<u8> = samples
        .flat_map(|bits| bits.to_le_bytes().into_iter().take(dtype.size()))
        .collect();
    Lying {
        about: About {
            facts: Facts {
                shape: vec![(bytes.len() / dtype.size()) as u64],
                dtype,
                blank,
                file_bytes: 0,
                modified: None,
                part: 0,
                offset: 0,
                channel: None,
                primary: 0,
            },
            cards: Cards::default(),
            notes: Vec::new(),
        },
        bytes,
        most_asked: 0,
        passes: 0,
    }
}

fn doubles(values: &[f64]) -> Lying {
    lying(DType::F64, None, values.iter().map(|value| value.to_bits()))
}

fn all(frame: &mut Lying) -> Measured {
    measure(frame, Measures::all()).unwrap()
}

/// Bits of a generator that repeats itself only after 2^64 (splitmix).
fn random(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |k: u64| {
        let mut z = (seed + k).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

fn naive(frame: &Lying) -> Measured {
    let dtype = frame.about.facts.dtype;
    let samples = frame.bytes.chunks(dtype.size());
    let mut values: Vec<f64> = Vec::new();
    let mut missing = 0;
    for bits in samples.map(|sample| dtype.bits_at(sample)) {
        let value = match dtype.int_of_bits(bits) {
            Some(value) if frame.about.facts.blank == Some(value) => f64::NAN,
            Some(value) => value as f64,
            None if dtype == DType::F32 => f32::from_bits(bits as u32).into(),
            None => f64::from_bits(bits),
        };
        match value.is_nan() {
            true => missing += 1,
            false => values.push(value),
        }
    }
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let mut measured = Measured {
        nan: Some(missing),
        ..Measured::default()
    };
    if n > 0 {
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        let (lower, upper) = (values[(n - 1) / 2], values[n / 2]);
        measured.mean = Some(mean);
        measured.sum = Some(values.iter().sum());
        measured.std = Some((squares.sum::<f64>() / n as f64).sqrt());
        measured.median = Some((lower + upper) / 2.0);
        measured.min = Some(values[0]);
        measured.max = Some(values[n - 1]);
    }
    measured
}

#[track_caller]
fn assert_close(found: Option<f64>, expected: Option<f64>, scale: f64) {
    match (found, expected) {
        (Some(found), Some(expected)) => {
            assert!(
                (found - expected).abs() <= scale * 1e-12,
                "{found} {expected}"
            );
        }
        _ => assert_eq!(found, expected),
    }
}

#[track_caller]
fn check(frame: &mut Lying) {
    let (found, expected) = (all(frame), naive(frame));
    assert_eq!(found.median, expected.median);
    assert_eq!(found.min, expected.min);
    assert_eq!(found.max, expected.max);
    assert_eq!(found.nan, expected.nan);
    let scale = found.min.unwrap_or(0.0).abs() + found.max.unwrap_or(0.0).abs();
    assert_close(found.mean, expected.mean, scale);
    assert_close(found.sum, expected.sum, scale * frame.bytes.len() as f64);
    assert_close(found.std, expected.std, scale);
}

#[test]
fn all_types_and_lengths_are_measured_as_the_naive_program_does() {
    for dtype in DType::all() {
        for n in [1, 2, 3, 4, 7, 4095, 4096, 4097, 10_000] {
            for seed in 0..3 {
                let blank = dtype.int_range().map(|(least, _)| least + 1);
                let finite = |bits: &u64| match dtype {
                    DType::F32 => f32::from_bits(*bits as u32).abs() < 1e30,
                    DType::F64 => f64::from_bits(*bits).abs() < 1e100,
                    _ => true,
                };
                // A fifth is missing; floats keep whatever a random word holds.
                let missing = blank.map_or(dtype.parse("nan"), |blank| dtype.bits_of_int(blank));
                let samples = random(seed * 100_000).filter(finite).take(n);
                let samples = samples.map(|bits| match bits >> 32 {
                    high if high % 5 == 0 => missing.unwrap(),
                    _ => bits & dtype.mask(),
                });
                check(&mut lying(dtype, blank, samples));
            }
        }
    }
}

#[test]
fn long_frames_are_read_in_short_runs_and_few_passes() {
    let n = 3 * RUN as usize + 5;
    for (dtype, passes) in [
        (DType::U8, 1),
        (DType::I16, 1),
        (DType::I32, 2),
        (DType::F32, 2),
        (DType::F64, 4),
        (DType::I64, 4),
    ] {
        let bits = random(7).take(n).map(|bits| match dtype {
            DType::F32 => u64::from((bits as u32 as f32).to_bits()),
            DType::F64 => (1000.0 + bits as u8 as f64 / 16.0).to_bits(),
            // Many alike: counting must go to the last digit.
            DType::I64 => bits % 3,
            _ => bits & dtype.mask(),
        });
        let mut frame = lying(dtype, None, bits);
        check(&mut frame);
        assert!(frame.passes <= passes, "{dtype}: {} passes", frame.passes);
        assert!(frame.most_asked <= 1 << 20);
    }
}

#[test]
fn the_two_in_the_middle_may_lie_far_apart() {
    let n = 2 * RUN as usize;
    for (low, high) in [(1.0, 1e9), (-1e300, 1e300), (-2.0, -1.0), (0.0, 0.5)] {
        let half = |k: usize| if k.is_multiple_of(2) { low } else { high };
        let values: Vec<f64> = (0..n).map(half).collect();
        assert_eq!(all(&mut doubles(&values)).median, Some((low + high) / 2.0));
        assert_eq!(all(&mut doubles(&values[1..])).median, Some(high));
        let shorts = (0..n).map(|k| if k % 2 == 0 { 3 } else { 60_000 });
        let mut shorts = lying(DType::U16, None, shorts);
        assert_eq!(all(&mut shorts).median, Some(30_001.5));
    }
}

#[test]
fn a_small_spread_on_a_large_level_is_not_lost() {
    let values: Vec<f64> = (0..100_000).map(|k| 1e9 + f64::from(k % 2)).collect();
    let measured = all(&mut doubles(&values));
    assert_eq!(measured.mean, Some(1e9 + 0.5));
    assert_close(measured.std, Some(0.5), 1.0);
}

#[test]
fn what_does_not_exist_is_none() {
    let none = Measured {
        nan: Some(3),
        ..Measured::default()
    };
    assert_eq!(all(&mut doubles(&[f64::NAN; 3])), none);
    let blank = DType::I16.bits_of_int(-5).unwrap();
    let blanks = [blank; 3].into_iter();
    assert_eq!(all(&mut lying(DType::I16, Some(-5), blanks)), none);
}

#[test]
fn infinities_are_numbers() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let measured = all(&mut doubles(&[1.0, inf, nan, 2.0, inf, inf]));
    assert_eq!(measured.nan, Some(1));
    assert_eq!(measured.median, Some(inf));
    assert_eq!((measured.min, measured.max), (Some(1.0), Some(inf)));
    assert_eq!((measured.mean, measured.std), (Some(inf), None));
    let measured = all(&mut doubles(&[-inf, 1.0, inf]));
    assert_eq!((measured.mean, measured.median), (None, Some(1.0)));
    let measured = all(&mut doubles(&[-inf, inf]));
    assert_eq!((measured.min, measured.median), (Some(-inf), None));
    let measured = all(&mut doubles(&[-inf, -inf]));
    assert_eq!((measured.min, measured.max), (Some(-inf), Some(-inf)));
    assert_eq!(measured.mean, Some(-inf));
}

#[test]
fn only_what_is_wanted_is_measured_and_read() {
    let mut frame = doubles(&[1.0, 2.0]);
    measure(&mut frame, Measures::default()).unwrap();
    assert_eq!(frame.passes, 0);
    let mut needs = Measures::default();
    needs.add(Measure::Nan);
    let counted = measure(&mut lying(DType::U8, None, 0..9), needs).unwrap();
    assert_eq!(counted.nan, Some(0));
    needs.add(Measure::Max);
    let measured = measure(&mut frame, needs).unwrap();
    assert_eq!(
        measured,
        Measured {
            max: Some(2.0),
            nan: Some(0),
            ..Measured::default()
        }
    );
    assert_eq!(frame.passes, 1);
}
