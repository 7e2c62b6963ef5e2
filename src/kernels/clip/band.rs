//! What clipping and medians of long float32 lines need, found in two passes.
//!
//! A few rows tell roughly where a line lies. The first pass sums what is near;
//! from mean and deviation follow a narrow band that holds the median, and cuts
//! beyond which samples may be rejected. The second pass counts what is below the
//! band and lists what is in it and what is beyond the cuts, so that the rest of
//! the work is about few samples. Where that fails, the line is given up.

use super::isa::{Isa, Kernel, make_room, run};
use super::rounds::{Core, Wide};
use super::sort::{Network, sort};
use super::values::{Ends, Values};
use super::{LANES, Level, Rows, Rule};

/// Lines of fewer samples are faster sorted: to clip, and for a median.
pub(super) fn shortest(level: Level) -> (usize, usize) {
    match level {
        Level::Avx512 => (300, 160),
        Level::Avx2 => (450, 270),
        Level::Plain | Level::Scalar => (270, 200),
    }
}

/// Rows that are looked at first.
const ROWS: usize = 16;

/// Rows summed in float32, before the sum is added to one in float64.
const BLOCK: usize = 32;

/// The relative error of sums, of blocks in float32.
const ERROR: f64 = (BLOCK + 4) as f64 * (f32::EPSILON / 2.0) as f64;

/// The least part of the sum of squares that may be left when samples at the ends
/// are taken out. The error is relative to the whole.
const LEAST: f64 = 0.3;

/// Half the band, in standard errors of the mean; the median of normal noise is
/// 0.76 of them from the mean, as a rule.
const BAND: f64 = 2.9;

type Row = [f32; LANES];

/// Room for what is found, kept from one block to the next.
#[derive(Default)]
pub(super) struct Band {
    /// All samples are whole numbers, or do not count.
    pub(super) are_integers: bool,
    sample: Rows<f32>,
    end_list: Vec<u32>,
    n_ends: usize,
    /// The last cuts.
    from: Row,
    to: Row,
    middle: Rows<f32>,
    middle_rows: usize,
    ends: Rows<f32>,
    end_rows: usize,
}

/// What was found about lines.
pub(super) struct Parts {
    /// Samples that are not NaN, and not infinite where there are cuts.
    pub(super) counted: [u32; LANES],
    /// Of those, the ones below the middle.
    pub(super) first: [u32; LANES],
    pub(super) n_middle: [u32; LANES],
    pub(super) core: Core,
    /// A bit for every line that was given up.
    pub(super) given_up: u16,
}

impl Band {
    /// Sorted samples about the medians.
    pub(super) fn middle(&self) -> &[Row] {
        &self.middle[..self.middle_rows]
    }

    /// Samples beyond the cuts.
    pub(super) fn ends(&self) -> &[Row] {
        &self.ends[..self.end_rows]
    }

    /// Where samples beyond the cuts are, `row * LANES + lane`, ascending, if no
    /// others are outside these bounds.
    pub(super) fn listed(&self, low: &Wide, high: &Wide) -> Option<&[u32]> {
        let inside = |lane: usize| {
            low[lane] <= f64::from(self.from[lane]) && f64::from(self.to[lane]) <= high[lane]
        };
        (0..LANES)
            .all(inside)
            .then_some(&self.end_list[..self.n_ends])
    }

    /// Whether a rule leaves most samples alone, and so suits.
    pub(super) fn suits(rule: &Rule) -> bool {
        rule.lower.min(rule.upper) >= 1.8
    }

    /// Finds the parts of lines: with a rule also what it may reject.
    pub(super) fn find(&mut self, level: Level, rows: &[Row], rule: Option<&Rule>) -> Parts {
        let step = rows.len() / ROWS;
        let mut few = [[0.0; LANES]; ROWS];
        for (k, row) in few.iter_mut().enumerate() {
            *row = rows[k * step + step / 2];
        }
        let n_few = sort(level, &few, &mut self.sample, false);
        let mut given_up = 0u16;
        let mut pivot = [0.0f32; LANES];
        let mut radius = [-1.0f32; LANES];
        let mut quantum = [0.0f64; LANES];
        for lane in 0..LANES {
            let n = n_few[lane] as usize;
            let at = |rank: usize| self.sample[rank][lane];
            if n < ROWS / 2 {
                given_up |= u16::from(n > 0) << lane;
                continue;
            }
            let is_whole = |rank: usize| at(rank) as i32 as f32 == at(rank);
            let is_whole = self.are_integers || [0, n / 2, n - 1].into_iter().all(is_whole);
            quantum[lane] = f64::from(u8::from(is_whole));
            // The third samples from both ends of 16 are 1.98 deviations apart
            // where noise is normal.
            let rough = 0.505 * (at(n - 1 - n / 8) - at(n / 8));
            let rough = rough.max(0.3 * quantum[lane] as f32);
            if !(1e-15..1e15).contains(&rough) {
                given_up |= 1 << lane;
                continue;
            }
            pivot[lane] = at(n / 2);
            radius[lane] = (9.0 * rough).max(4.0 * quantum[lane] as f32);
        }
        let near = Near {
            rows,
            pivot: &pivot,
            radius: &radius,
        };
        let (n, sum, squares) = run(level, near);
        let mut cuts = Cuts::none();
        // Rows for what is in the band.
        let room = 4 * (rows.len() as f64).sqrt() as usize + 32;
        let mut is_crowded = false;
        for lane in 0..LANES {
            if given_up >> lane & 1 == 1 {
                continue;
            }
            if radius[lane] < 0.0 {
                // No sample was seen: there must be none.
                cuts.from[lane] = f32::INFINITY;
                continue;
            }
            if n[lane] < rows.len() as f64 * 0.25 {
                given_up |= 1 << lane;
                continue;
            }
            let offset = sum[lane] / n[lane];
            let deviation = (squares[lane] / n[lane] - offset * offset).sqrt();
            let mean = f64::from(pivot[lane]) + offset;
            let half = BAND * deviation / n[lane].sqrt();
            // The median of whole numbers is that much farther from the mean.
            let half = half.max((half + 0.7).min(1.01) * quantum[lane]);
            // Of normal noise at its densest.
            is_crowded |= 0.4 / deviation * 2.0 * half * n[lane] > room as f64;
            cuts.band_from[lane] = (mean - half) as f32;
            cuts.band_to[lane] = (mean + half) as f32;
            if let Some(rule) = rule {
                // Rounds bring bounds nearer; long lines lose less.
                let nearer = if rows.len() < 500 { 0.82 } else { 0.89 };
                let from = (mean - nearer * rule.lower * deviation) as f32;
                let to = (mean + nearer * rule.upper * deviation) as f32;
                // All between the cuts has to be in the sums.
                let reach = radius[lane] * 0.999;
                cuts.from[lane] = from.max(pivot[lane] - reach);
                cuts.to[lane] = to.min(pivot[lane] + reach);
                let in_order = cuts.from[lane] < cuts.band_from[lane]
                    && cuts.band_from[lane] <= cuts.band_to[lane]
                    && cuts.band_to[lane] < cuts.to[lane]
                    && pivot[lane] - cuts.from[lane] <= radius[lane]
                    && cuts.to[lane] - pivot[lane] <= radius[lane];
                if !in_order {
                    given_up |= 1 << lane;
                    cuts.clear(lane);
                }
            }
        }
        let values = match self.are_integers && is_crowded {
            true => Values::between(&cuts.band_from, &cuts.band_to),
            false => None,
        };
        let mut counted: [u32; LANES] = n.map(|n| n as u32);
        let (mut first, mut n_middle) = ([0; LANES], [0; LANES]);
        let mut by_value = None;
        if let Some(values) = values {
            let ends = Ends {
                from: &cuts.from,
                to: &cuts.to,
                list: &mut self.end_list,
            };
            let counts = values.count(level, rows, rule.map(|_| ends));
            self.n_ends = counts.n_ends;
            if rule.is_none() {
                counted = counts.counted;
            }
            by_value = Some((values, counts));
        } else {
            let split = Split {
                rows,
                cuts: &cuts,
                band: Dealer::new(&mut self.middle, room),
                list: &mut self.end_list,
            };
            let parts = match rule {
                Some(_) => run(level, split),
                None => run(level, Uncut(split)),
            };
            given_up |= parts.band.full;
            (first, n_middle) = (parts.below, parts.band.n);
            self.middle_rows = parts.band.rows;
            run(level, Network(&mut self.middle[..parts.band.rows]));
            self.n_ends = parts.n_ends;
            if rule.is_none() {
                counted =
                    std::array::from_fn(|lane| first[lane] + n_middle[lane] + parts.above[lane]);
            }
        }
        (self.from, self.to) = (cuts.from, cuts.to);
        let room = rows.len() / 16 + 32;
        let mut ends = Dealer::new(&mut self.ends, room);
        let samples = rows.as_flattened();
        for &at in &self.end_list[..self.n_ends] {
            ends.deal(at as usize % LANES, samples[at as usize]);
        }
        let ends = ends.end();
        given_up |= ends.full;
        self.end_rows = ends.rows;
        let mut core = Core {
            n,
            low: cuts.from.map(f64::from),
            high: cuts.to.map(f64::from),
            pivot: pivot.map(f64::from),
            sum,
            squares,
            error: [ERROR; LANES],
        };
        let mut lowest = [0; LANES];
        if rule.is_some() {
            let of_ends = Far {
                ends: &mut self.ends[..ends.rows],
                pivot: &pivot,
                radius: &radius,
                core: &mut core,
            };
            let far;
            (far, lowest) = run(level, of_ends);
            for lane in 0..LANES {
                counted[lane] += far[lane];
            }
        }
        if let Some((values, counts)) = by_value {
            // Rounds take at most the ends away, and so move the middle by half.
            let rows = self.end_rows + 4;
            (first, n_middle) = counts.middle(&values, &counted, &lowest, rows, &mut self.middle);
            self.middle_rows = rows;
        } else {
            first = std::array::from_fn(|lane| first[lane] - lowest[lane]);
        }
        for lane in 0..LANES {
            let is_void = radius[lane] < 0.0 && given_up >> lane & 1 == 0;
            core.error[lane] = ERROR * squares[lane] / core.squares[lane];
            let is_wrong = if is_void {
                counted[lane] > 0
            } else {
                rule.is_some() && core.squares[lane] < LEAST * squares[lane]
            };
            given_up |= u16::from(is_wrong) << lane;
            if given_up >> lane & 1 == 1 {
                counted[lane] = 0;
            }
        }
        Parts {
            counted,
            first,
            n_middle,
            core,
            given_up,
        }
    }
}

/// Deals samples to their lanes, so many rows at most.
struct Dealer<'a> {
    samples: &'a mut [f32],
    /// Where the next of a lane goes.
    next: [usize; LANES],
    full: u16,
}

/// What was dealt.
struct Dealt {
    /// Samples of each lane.
    n: [u32; LANES],
    /// Rows that they take.
    rows: usize,
    /// A bit for every lane that had more than there was room for.
    full: u16,
}

impl Dealer<'_> {
    fn new(into: &mut Rows<f32>, rows: usize) -> Dealer<'_> {
        if into.len() < rows {
            into.resize(rows, f32::INFINITY);
        }
        Dealer {
            samples: &mut into.as_flattened_mut()[..rows * LANES],
            next: std::array::from_fn(|lane| lane),
            full: 0,
        }
    }

    #[inline(always)]
    fn deal(&mut self, lane: usize, sample: f32) {
        match self.samples.get_mut(self.next[lane]) {
            Some(place) => {
                *place = sample;
                self.next[lane] += LANES;
            }
            None => self.full |= 1 << lane,
        }
    }

    /// Puts infinity where a lane has fewer than others.
    #[inline(always)]
    fn end(self) -> Dealt {
        let rows = self.next.into_iter().max().unwrap_or(0) / LANES;
        for next in self.next {
            let places = self.samples[..rows * LANES].iter_mut();
            for place in places.skip(next).step_by(LANES) {
                *place = f32::INFINITY;
            }
        }
        Dealt {
            n: self.next.map(|next| (next / LANES) as u32),
            rows,
            full: self.full,
        }
    }
}

/// Where the second pass cuts lines.
pub(super) struct Cuts {
    pub(super) from: Row,
    pub(super) band_from: Row,
    pub(super) band_to: Row,
    pub(super) to: Row,
}

/// Counts of the second pass so far: samples below the band, above it if nothing is
/// cut, and how many beyond the cuts are listed.
pub(super) struct Sifted {
    pub(super) below: [u32; LANES],
    pub(super) above: [u32; LANES],
    pub(super) n_ends: usize,
}

impl Cuts {
    /// Nothing is in the band, nothing beyond the cuts.
    fn none() -> Cuts {
        Cuts {
            from: [f32::NEG_INFINITY; LANES],
            band_from: [f32::INFINITY; LANES],
            band_to: [f32::NEG_INFINITY; LANES],
            to: [f32::INFINITY; LANES],
        }
    }

    fn clear(&mut self, lane: usize) {
        self.from[lane] = f32::NEG_INFINITY;
        self.band_from[lane] = f32::INFINITY;
        self.band_to[lane] = f32::NEG_INFINITY;
        self.to[lane] = f32::INFINITY;
    }
}

/// Counts samples within a radius of a pivot, and sums their distances and squares.
struct Near<'a> {
    rows: &'a [Row],
    pivot: &'a Row,
    radius: &'a Row,
}

impl Kernel for Near<'_> {
    type Out = (Wide, Wide, Wide);
    const IS_WIDE: bool = true;

    #[inline(always)]
    fn run<I: Isa>(self) -> Self::Out {
        let (mut n, mut sum, mut squares) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for block in self.rows.chunks(BLOCK) {
            let (some_n, some_sum, some_squares) = I::near(block, self.pivot, self.radius);
            for lane in 0..LANES {
                n[lane] += f64::from(some_n[lane]);
                sum[lane] += f64::from(some_sum[lane]);
                squares[lane] += f64::from(some_squares[lane]);
            }
        }
        (n, sum, squares)
    }
}

/// Takes what is near, and was summed, out of the core again, and makes all
/// infinities positive. Counts finite samples that are not near, and negative
/// infinities.
struct Far<'a> {
    ends: &'a mut [Row],
    pivot: &'a Row,
    radius: &'a Row,
    core: &'a mut Core,
}

impl Kernel for Far<'_> {
    type Out = ([u32; LANES], [u32; LANES]);

    #[inline(always)]
    fn run<I: Isa>(self) -> Self::Out {
        let (mut far, mut lowest) = ([0; LANES], [0; LANES]);
        let (mut n, mut sum, mut squares) = ([0u32; LANES], [0.0; LANES], [0.0; LANES]);
        for row in self.ends {
            for lane in 0..LANES {
                let x = row[lane];
                let is_near = (x - self.pivot[lane]).abs() <= self.radius[lane];
                let is_finite = x.abs() < f32::INFINITY;
                n[lane] += u32::from(is_near);
                far[lane] += u32::from(is_finite & !is_near);
                lowest[lane] += u32::from(x == f32::NEG_INFINITY);
                row[lane] = if is_finite { x } else { f32::INFINITY };
                let distance = f64::from(x) - self.core.pivot[lane];
                let distance = if is_near { distance } else { 0.0 };
                sum[lane] += distance;
                squares[lane] += distance * distance;
            }
        }
        for lane in 0..LANES {
            self.core.n[lane] -= f64::from(n[lane]);
            self.core.sum[lane] -= sum[lane];
            self.core.squares[lane] -= squares[lane];
        }
        (far, lowest)
    }
}

/// Counts samples below the band, deals those in it, and lists those beyond the
/// cuts.
struct Split<'a> {
    rows: &'a [Row],
    cuts: &'a Cuts,
    band: Dealer<'a>,
    list: &'a mut Vec<u32>,
}

/// As `Split`, but counts what is above the band instead of listing ends.
struct Uncut<'a>(Split<'a>);

/// What `Split` and `Uncut` find.
struct Pieces {
    below: [u32; LANES],
    above: [u32; LANES],
    band: Dealt,
    n_ends: usize,
}

impl Kernel for Split<'_> {
    type Out = Pieces;
    const IS_WIDE: bool = true;

    #[inline(always)]
    fn run<I: Isa>(self) -> Pieces {
        split::<I, true>(self)
    }
}

impl Kernel for Uncut<'_> {
    type Out = Pieces;
    const IS_WIDE: bool = true;

    #[inline(always)]
    fn run<I: Isa>(self) -> Pieces {
        split::<I, false>(self.0)
    }
}

#[inline(always)]
fn split<I: Isa, const ENDS: bool>(split: Split<'_>) -> Pieces {
    let Split {
        rows,
        cuts,
        mut band,
        list,
    } = split;
    let mut found = Sifted {
        below: [0; LANES],
        above: [0; LANES],
        n_ends: 0,
    };
    let mut in_band = [0; (BLOCK + 1) * LANES];
    for (number, block) in rows.chunks(BLOCK).enumerate() {
        make_room(list, found.n_ends, BLOCK);
        let base = (number * BLOCK * LANES) as u32;
        let n = I::sift::<ENDS>(block, cuts, &mut found, &mut in_band, list, base);
        // What is in the band is dealt while the block is near.
        let samples = block.as_flattened();
        for &at in &in_band[..n] {
            let at = usize::from(at);
            band.deal(at % LANES, samples[at]);
        }
    }
    Pieces {
        below: found.below,
        above: found.above,
        band: band.end(),
        n_ends: found.n_ends,
    }
}
