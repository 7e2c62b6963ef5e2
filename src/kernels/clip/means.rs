//! What is summed in the order of rows: 16 lanes at a time it gives the same bits
//! as one line after the other, so nothing here is ever in doubt.

use super::isa::{Isa, Kernel, make_room};
use super::rounds::{Wide, mask, select};
use super::{LANES, Rule, Sample};

/// Clipping about the mean by the standard deviation.
pub(super) struct MeanRounds<'a, T> {
    pub(super) rule: &'a Rule,
    pub(super) rows: &'a [[T; LANES]],
}

impl<T: Sample> Kernel for MeanRounds<'_, T> {
    /// The last bounds, and how many samples count.
    type Out = (Wide, Wide, [u32; LANES]);

    #[inline(always)]
    fn run<I: Isa>(self) -> Self::Out {
        let mut low = [f64::NAN; LANES];
        let mut high = [f64::NAN; LANES];
        // What every round so far left.
        let mut from = [-f64::MAX; LANES];
        let mut to = [f64::MAX; LANES];
        let (mut n, mut sum) = sums(self.rows, &from, &to);
        let counted = n.map(|n| n as u32);
        let mut active = n.map(|n| n > 0.0);
        let mut rounds = 0;
        while active.contains(&true) {
            let mean: Wide = std::array::from_fn(|lane| sum[lane] / n[lane]);
            let squares = squares(self.rows, &from, &to, &mean);
            for lane in 0..LANES {
                if active[lane] {
                    let spread = (squares[lane] / n[lane]).sqrt();
                    (low[lane], high[lane]) = self.rule.bounds(mean[lane], spread);
                    // A bound that is NaN keeps nothing.
                    let is_number = low[lane] <= high[lane];
                    from[lane] = if is_number {
                        from[lane].max(low[lane])
                    } else {
                        f64::MAX
                    };
                    to[lane] = if is_number {
                        to[lane].min(high[lane])
                    } else {
                        -f64::MAX
                    };
                }
            }
            rounds += 1;
            let (next, next_sum) = sums(self.rows, &from, &to);
            for lane in 0..LANES {
                let is_last = next[lane] == n[lane] || next[lane] == 0.0;
                active[lane] &= !is_last && self.rule.rounds != Some(rounds);
            }
            (n, sum) = (next, next_sum);
        }
        (low, high, counted)
    }
}

/// The count and the sum of what lies between bounds.
#[inline(always)]
pub(super) fn sums<T: Sample>(rows: &[[T; LANES]], from: &Wide, to: &Wide) -> (Wide, Wide) {
    let (mut n, mut sum) = ([0.0; LANES], [0.0; LANES]);
    for row in rows {
        for lane in 0..LANES {
            let x: f64 = row[lane].into();
            let is_in = (x >= from[lane]) & (x <= to[lane]);
            n[lane] += if is_in { 1.0 } else { 0.0 };
            sum[lane] += if is_in { x } else { 0.0 };
        }
    }
    (n, sum)
}

/// The sum of squared distances from the mean of what lies between bounds.
#[inline(always)]
pub(super) fn squares<T: Sample>(rows: &[[T; LANES]], from: &Wide, to: &Wide, mean: &Wide) -> Wide {
    let mut sum = [0.0; LANES];
    for row in rows {
        for lane in 0..LANES {
            let x: f64 = row[lane].into();
            let is_in = (x >= from[lane]) & (x <= to[lane]);
            let distance = select(mask(is_in), x - mean[lane], 0.0);
            sum[lane] += distance * distance;
        }
    }
    sum
}

/// The count and the sum of what lies between bounds.
pub(super) struct Between<'a, T> {
    pub(super) rows: &'a [[T; LANES]],
    pub(super) from: &'a Wide,
    pub(super) to: &'a Wide,
}

impl<T: Sample> Kernel for Between<'_, T> {
    type Out = (Wide, Wide);

    #[inline(always)]
    fn run<I: Isa>(self) -> (Wide, Wide) {
        sums(self.rows, self.from, self.to)
    }
}

/// Lists samples outside bounds at the head of `list`, and tells how many.
pub(super) struct List<'a, T> {
    pub(super) rows: &'a [[T; LANES]],
    pub(super) low: &'a [T; LANES],
    pub(super) high: &'a [T; LANES],
    pub(super) list: &'a mut Vec<u32>,
}

impl<T: Sample> Kernel for List<'_, T> {
    type Out = usize;
    const IS_WIDE: bool = true;

    #[inline(always)]
    fn run<I: Isa>(self) -> usize {
        const BLOCK: usize = 32;
        let mut n = 0;
        for (number, block) in self.rows.chunks(BLOCK).enumerate() {
            make_room(self.list, n, BLOCK);
            for (k, row) in block.iter().enumerate() {
                let bits = T::outside::<I>(row, self.low, self.high);
                if bits != 0 {
                    let base = (number * BLOCK + k) * LANES;
                    n = I::push(self.list, n, base as u32, bits);
                }
            }
        }
        n
    }
}

/// What one pass tells of samples that are not NaN.
pub(super) struct Total {
    pub(super) n: Wide,
    pub(super) sum: Wide,
    pub(super) least: Wide,
    pub(super) most: Wide,
}

/// Takes the totals of rows.
pub(super) struct Totals<'a, T> {
    pub(super) rows: &'a [[T; LANES]],
}

impl<T: Sample> Kernel for Totals<'_, T> {
    type Out = Total;

    #[inline(always)]
    fn run<I: Isa>(self) -> Total {
        let all = [f64::INFINITY; LANES];
        let (n, sum) = sums(self.rows, &all.map(|most| -most), &all);
        let (mut least, mut most) = ([T::INFINITY; LANES], [T::INFINITY.negated(); LANES]);
        for row in self.rows {
            for lane in 0..LANES {
                let x = row[lane];
                least[lane] = if x < least[lane] { x } else { least[lane] };
                most[lane] = if x > most[lane] { x } else { most[lane] };
            }
        }
        Total {
            n,
            sum,
            least: least.map(T::into),
            most: most.map(T::into),
        }
    }
}

/// The sum of squared distances from the mean of samples that are not NaN.
pub(super) struct Squares<'a, T> {
    pub(super) rows: &'a [[T; LANES]],
    pub(super) mean: &'a Wide,
}

impl<T: Sample> Kernel for Squares<'_, T> {
    type Out = Wide;

    #[inline(always)]
    fn run<I: Isa>(self) -> Wide {
        let (from, to) = ([f64::NEG_INFINITY; LANES], [f64::INFINITY; LANES]);
        squares(self.rows, &from, &to, self.mean)
    }
}
