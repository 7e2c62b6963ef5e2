//! Clipping and medians of 16 lines at a time, on one thread: every level beside
//! the definition and beside one plain pass that reads and compares, which is about
//! the least that anything can take.
//!
//! Every measurement clips about a million samples, the same for all rivals of a
//! table, so that 1 ms is about 1000 Msamples/s; rates are listed at the end.

#![allow(clippy::print_stdout, reason = "a bench prints what it found")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![allow(
    clippy::cast_possible_truncation,
    reason = "samples are rounded to what cubes hold"
)]

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{Random, Rival, compare, is_wanted, rounds};
use cube::kernels::clip::{
    Center, Clipper, Collapser, Fill, LANES, Level, Rows, Rule, Spread, Statistic,
};

/// Samples that one measurement takes, about.
const SAMPLES: usize = 1 << 20;

/// Kinds of lines.
const KINDS: [&str; 4] = ["gauss", "integers", "lognormal", "5 % NaN"];

fn main() {
    if !is_wanted() {
        return;
    }
    let mut rates = Vec::new();
    for n in [16, 50, 200, 1000, 5000] {
        for kind in KINDS {
            rates.push(measure(n, kind));
        }
    }
    println!("\nMsamples/s, of least times");
    for rate in rates {
        println!("{rate}");
    }
}

/// A sample of a kind: noise with 1 in 1000 hit from one side, as by rays;
/// quiet integers with the same; a long tail; noise with holes.
fn sample(random: &mut Random, kind: &str) -> f32 {
    let normal = random.normal();
    let is_hit = random.uniform() < 0.001;
    let hit = 60.0 - 2000.0 * (1.0 - random.uniform()).ln();
    let hit = if is_hit { hit } else { 0.0 };
    let sample = match kind {
        "integers" => (100.0 + 1.2 * normal + hit).round(),
        "lognormal" => normal.exp(),
        "5 % NaN" if random.uniform() < 0.05 => f64::NAN,
        _ => 1000.0 + 15.0 * normal + hit,
    };
    sample as f32
}

/// Blocks of lines of n samples.
fn blocks(n: usize, kind: &str) -> Vec<Rows<f32>> {
    let mut random = Random(7);
    let block = |_| {
        let mut rows = Rows::new();
        rows.resize(n, 0.0);
        for sample in rows.as_flattened_mut() {
            *sample = self::sample(&mut random, kind);
        }
        rows
    };
    (0..SAMPLES.div_ceil(n * LANES)).map(block).collect()
}

fn timed(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Times all levels on lines of n samples; a line of rates.
fn measure(n: usize, kind: &str) -> String {
    let blocks = &blocks(n, kind);
    let rule = Rule {
        lower: 3.0,
        upper: 3.0,
        rounds: Some(5),
        center: Center::Median,
        spread: Spread::Std,
        fill: Fill::Median,
    };
    let mut names = vec!["one pass".to_string()];
    let mut rivals = vec![Rival::new("one pass", || {
        timed(|| {
            let mut above = [0u32; LANES];
            for row in blocks.iter().flat_map(|rows| rows.iter()) {
                for lane in 0..LANES {
                    above[lane] += u32::from(row[lane] > 1000.0);
                }
            }
            black_box(above);
        })
    })];
    for level in Level::available() {
        let mut clipper = Clipper::with_level(rule, level);
        let mut rejected = Vec::new();
        let name = format!("clip, {level:?}");
        rivals.push(Rival::new(&name, move || {
            timed(|| {
                for rows in blocks {
                    black_box(clipper.clip_f32(black_box(rows), &mut rejected));
                }
            })
        }));
        names.push(name);
        let mut collapser = Collapser::with_level(level);
        let name = format!("median, {level:?}");
        rivals.push(Rival::new(&name, move || {
            timed(|| {
                for rows in blocks {
                    black_box(collapser.collapse_f32(black_box(rows), Statistic::Median));
                }
            })
        }));
        names.push(name);
    }
    let title = format!("{kind}, lines of {n}");
    let spans = compare(&title, rounds(9), &mut rivals);
    let samples = (blocks.len() * n * LANES) as f64;
    let mut text = format!("{title}:");
    for (name, (least, _)) in names.iter().zip(spans) {
        text += &format!(" {name} {:.0};", samples / least / 1e6);
    }
    text
}
