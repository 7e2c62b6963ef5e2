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
    sample: Rows<f32>,
    band_list: Vec<u32>,
    end_list: Vec<u32>,
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

    /// Whether a rule leaves most samples alone, and so suits.
    pub(super) fn suits(rule: &Rule) -> bool {
        rule.lower.min(rule.upper) >= 1.8
    }

    /// Finds the parts of lines: with a rule also what it may reject.
    pub(super) fn find(&mut self, level: Level, rows: &[Row], rule: Option<&Rule>) -> Parts {
        let step = rows.len() / ROWS;
        let mut first = [[0.0; LANES]; ROWS];
        for (k, row) in first.iter_mut().enumerate() {
            *row = rows[k * step + step / 2];
        }
        let n_first = sort(level, &first, &mut self.sample, false);
        let mut given_up = 0u16;
        let mut pivot = [0.0f32; LANES];
        let mut radius = [-1.0f32; LANES];
        let mut quantum = [0.0f64; LANES];
        for lane in 0..LANES {
            let n = n_first[lane] as usize;
            let at = |rank: usize| self.sample[rank][lane];
            if n < ROWS / 2 {
                given_up |= u16::from(n > 0) << lane;
                continue;
            }
            let is_whole = |rank: usize| at(rank) as i32 as f32 == at(rank);
            let is_whole = is_whole(0) && is_whole(n / 2) && is_whole(n - 1);
            quantum[lane] = f64::from(u8::from(is_whole));
            // The third samples from both ends of 16 are 1.98 deviations apart
            // where noise is normal.
            let rough = 0.505 * (at(n - 1 - n / 8) - at(n / 8));
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
            let half = (BAND * deviation / n[lane].sqrt()).max(1.01 * quantum[lane]);
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
        let split = Split {
            rows,
            cuts: &cuts,
            band_list: &mut self.band_list,
            end_list: &mut self.end_list,
        };
        let (mut below, above, n_band, n_ends) = match rule {
            Some(_) => run(level, split),
            None => run(level, Whole(split)),
        };
        // Into lanes.
        let room = 4 * (rows.len() as f64).sqrt() as usize + 32;
        let list = &self.band_list[..n_band];
        let (n_middle, most, full) = deal(rows, list, room, &mut self.middle);
        given_up |= full;
        self.middle_rows = most;
        run(level, Network(&mut self.middle[..most]));
        let room = rows.len() / 16 + 32;
        let list = &self.end_list[..n_ends];
        let (n_ends, most, full) = deal(rows, list, room, &mut self.ends);
        given_up |= full;
        self.end_rows = most;
        let mut core = Core {
            n,
            low: cuts.from.map(f64::from),
            high: cuts.to.map(f64::from),
            pivot: pivot.map(f64::from),
            sum,
            squares,
            error: [ERROR; LANES],
        };
        let mut counted: [u32; LANES] = n.map(|n| n as u32);
        if rule.is_none() {
            counted = std::array::from_fn(|lane| below[lane] + n_middle[lane] + above[lane]);
        }
        for (k, row) in self.ends[..most].iter_mut().enumerate() {
            for lane in 0..LANES {
                if k >= n_ends[lane] as usize {
                    continue;
                }
                let x = row[lane];
                if x.is_infinite() {
                    below[lane] -= u32::from(x < 0.0);
                    row[lane] = f32::INFINITY;
                } else if (x - pivot[lane]).abs() <= radius[lane] {
                    let distance = f64::from(x) - core.pivot[lane];
                    core.n[lane] -= 1.0;
                    core.sum[lane] -= distance;
                    core.squares[lane] -= distance * distance;
                } else {
                    counted[lane] += 1;
                }
            }
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
            first: below,
            n_middle,
            core,
            given_up,
        }
    }
}

/// Deals listed samples to their lanes, `room` a lane at most, and infinity where
/// a lane has fewer than others. Tells how many there are, how many rows they take,
/// and lanes that are full.
fn deal(
    rows: &[Row],
    list: &[u32],
    room: usize,
    into: &mut Rows<f32>,
) -> ([u32; LANES], usize, u16) {
    if into.len() < room {
        into.resize(room, f32::INFINITY);
    }
    let samples = rows.as_flattened();
    let dealt = &mut into.as_flattened_mut()[..room * LANES];
    // Where the next of a lane goes.
    let mut next: [usize; LANES] = std::array::from_fn(|lane| lane);
    let mut full = 0;
    for &at in list {
        let lane = at as usize % LANES;
        match dealt.get_mut(next[lane]) {
            Some(place) => {
                *place = samples[at as usize];
                next[lane] += LANES;
            }
            None => full |= 1 << lane,
        }
    }
    let most = next.into_iter().max().unwrap_or(0) / LANES;
    for next in next {
        for place in dealt[..most * LANES].iter_mut().skip(next).step_by(LANES) {
            *place = f32::INFINITY;
        }
    }
    (next.map(|next| (next / LANES) as u32), most, full)
}

/// Where the second pass cuts lines.
struct Cuts {
    from: Row,
    band_from: Row,
    band_to: Row,
    to: Row,
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

/// Counts samples below the band, and lists those in it and those beyond the cuts.
struct Split<'a> {
    rows: &'a [Row],
    cuts: &'a Cuts,
    band_list: &'a mut Vec<u32>,
    end_list: &'a mut Vec<u32>,
}

/// As `Split`, but counts what is above the band instead of listing ends.
struct Whole<'a>(Split<'a>);

/// Below, above, and how many are listed.
type Counts = ([u32; LANES], [u32; LANES], usize, usize);

impl Kernel for Split<'_> {
    type Out = Counts;
    const IS_WIDE: bool = true;

    #[inline(always)]
    fn run<I: Isa>(self) -> Counts {
        split::<I, true>(self)
    }
}

impl Kernel for Whole<'_> {
    type Out = Counts;
    const IS_WIDE: bool = true;

    #[inline(always)]
    fn run<I: Isa>(self) -> Counts {
        split::<I, false>(self.0)
    }
}

#[inline(always)]
fn split<I: Isa, const ENDS: bool>(split: Split<'_>) -> Counts {
    let Split {
        rows,
        cuts,
        band_list,
        end_list,
    } = split;
    let (mut below, mut above) = ([0; LANES], [0; LANES]);
    let (mut n_band, mut n_ends) = (0, 0);
    for (number, block) in rows.chunks(BLOCK).enumerate() {
        make_room(band_list, n_band, BLOCK);
        make_room(end_list, n_ends, BLOCK);
        for (k, row) in block.iter().enumerate() {
            let base = ((number * BLOCK + k) * LANES) as u32;
            for lane in 0..LANES {
                below[lane] += u32::from(row[lane] < cuts.band_from[lane]);
                if !ENDS {
                    above[lane] += u32::from(row[lane] > cuts.band_to[lane]);
                }
            }
            let bits = I::inside(row, &cuts.band_from, &cuts.band_to);
            n_band = I::push(band_list, n_band, base, bits);
            if ENDS {
                let bits = I::outside(row, &cuts.from, &cuts.to);
                if bits != 0 {
                    n_ends = I::push(end_list, n_ends, base, bits);
                }
            }
        }
    }
    (below, above, n_band, n_ends)
}
