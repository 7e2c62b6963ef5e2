//! Lines and rules that tests clip: noise, ties, outliers, holes, and what else is awkward.

use super::{Center, Fill, Rule, Spread};

/// Random numbers; the same on every run (Knuth's MMIX constants).
pub(super) struct Random(pub(super) u64);

impl Random {
    /// Of 53 bits, from 0 up to but not including 1.
    pub(super) fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normal (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn below(&mut self, end: usize) -> usize {
        (self.uniform() * end as f64) as usize
    }
}

/// Kinds of lines that `line` makes.
pub(super) const KINDS: usize = 24;

/// A line of n samples of a kind.
pub(super) fn line(kind: usize, n: usize, random: &mut Random) -> Vec<f64> {
    let mut line: Vec<f64> = (0..n).map(|_| 1000.0 + 15.0 * random.normal()).collect();
    let part = n.div_ceil(20);
    match kind {
        // Noise, with outliers on one side as rays make them.
        0 => {}
        1 => hit(&mut line, n.div_ceil(1000), random, |random| {
            1060.0 - 2000.0 * (1.0 - random.uniform()).ln()
        }),
        2 => hit(&mut line, part, random, |random| 4000.0 * random.normal()),
        // A single one that drowns the sums, and then many.
        3 => hit(&mut line, 1, random, |_| 1e10),
        4 => hit(&mut line, part, random, |random| {
            1e15 * (random.uniform() - 0.5)
        }),
        // Integers: noise of 15, of 1.2, of 0.3, two values, one.
        5 => line.iter_mut().for_each(|x| *x = x.round()),
        6 => line
            .iter_mut()
            .for_each(|x| *x = ((*x - 1000.0) * 0.08).round()),
        7 => line
            .iter_mut()
            .for_each(|x| *x = 100.0 + ((*x - 1000.0) * 0.02).round()),
        8 => line
            .iter_mut()
            .for_each(|x| *x = f64::from(u8::from(*x < 990.0))),
        9 => line.fill(7.25),
        10 => {
            line.fill(0.1);
            hit(&mut line, 1, random, |_| 0.3);
        }
        // Skewed, heavy-tailed, of two humps, a ramp, symmetric with ties.
        11 => line
            .iter_mut()
            .for_each(|x| *x = ((*x - 1000.0) / 15.0).exp()),
        12 => line
            .iter_mut()
            .for_each(|x| *x = 1.0 / (*x - 1000.0).max(1e-9)),
        13 => hit(&mut line, n / 2, random, |random| 2000.0 + random.uniform()),
        14 => (0..n).for_each(|k| line[k] = k as f64 * 0.37),
        15 => (0..n).for_each(|k| line[k] = [-3.0, -1.0, -0.0, 0.0, 1.0, 3.0][k * 7 % 6]),
        // Holes.
        16 => hit(&mut line, part, random, |_| f64::NAN),
        17 => hit(&mut line, n - n / 3, random, |_| f64::NAN),
        18 => line.fill(f64::NAN),
        19 => {
            hit(&mut line, part, random, |random| {
                [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e6][random.below(4)]
            });
        }
        20 => {
            let kept = random.below(n.min(3)) + 1;
            line[kept.min(n)..].fill(f64::NAN);
        }
        // Tiny, and of all sizes at once; so large that float64 overflows.
        21 => line.iter_mut().for_each(|x| *x = (*x - 1000.0) * 1e-41),
        22 => line
            .iter_mut()
            .for_each(|x| *x = (*x - 1000.0) * 10f64.powi((*x * 1e3) as i32 % 30 - 15)),
        _ => line.iter_mut().for_each(|x| *x *= 1e305),
    }
    line
}

/// Sets `count` samples.
fn hit(
    line: &mut [f64],
    count: usize,
    random: &mut Random,
    mut value: impl FnMut(&mut Random) -> f64,
) {
    for _ in 0..count {
        let at = random.below(line.len());
        line[at] = value(random);
    }
}

/// Rules: both sides alike and not, tight and wide, few rounds and many, all
/// centres and spreads.
pub(super) fn rules() -> Vec<Rule> {
    let sides = [
        (3.0, 3.0, Some(5)),
        (2.0, 2.0, None),
        (5.0, 1.5, Some(1)),
        (0.3, 1.0, Some(3)),
        (1.0, 30.0, None),
        (f64::INFINITY, 2.5, None),
        (3.0, f64::INFINITY, Some(4)),
    ];
    let mut rules = Vec::new();
    for (lower, upper, rounds) in sides {
        for center in [Center::Median, Center::Mean] {
            for spread in [Spread::Std, Spread::Mad] {
                rules.push(Rule {
                    lower,
                    upper,
                    rounds,
                    center,
                    spread,
                    fill: [Fill::Median, Fill::Mean][rules.len() / 2 % 2],
                });
            }
        }
    }
    rules
}
