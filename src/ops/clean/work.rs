//! What a thread of `clean` does with a column of tiles.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::fill::{Fill, Filler, interpolate};
use crate::engine::Coordinates;
use crate::engine::lines::{Column, Lines, PATCH_BYTES};
use crate::error::Result;
use crate::format::patches::Patch;
use crate::kernels::clip::{Clipper, Collapser, LANES, Line, Rule, Statistic};
use crate::ops::Stop;
use crate::ops::crew::Worker;
use crate::ops::lanes::{Gathered, Group, Sample, Shares, TOLD_SAMPLES};
use crate::region::MAX_RANK;

/// A bit for every lane.
const ALL: u16 = u16::MAX;

/// What a command does with every line.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) rule: Rule,
    pub(super) fill: Fill,
    pub(super) filler: Filler,
    /// A line with fewer kept samples is left as it is; at least 1 where the fill is
    /// computed.
    pub(super) min_kept: u32,
    /// So many neighbours of a rejected sample are rejected too.
    pub(super) grow: u32,
    /// NaN and BLANK that came with the data are filled, too.
    pub(super) fill_nan: bool,
    /// Are new samples wanted, or counts alone?
    pub(super) patches: bool,
    /// Is it wanted where the rejected samples are?
    pub(super) marks: bool,
}

/// A tile that samples are replaced in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) coordinates: Coordinates,
    /// Where it stands in the file; void tiles stand nowhere so far: a frame brought
    /// nothing but the pad value.
    pub(super) at: Option<u64>,
}

/// What was found in a part of a column.
pub(super) struct Found {
    /// New samples by tile, each tile's by element.
    pub(super) tiles: Vec<(Tile, Vec<Patch>)>,
    /// Numbers in the region, x fastest, of what was rejected.
    pub(super) marks: Vec<u64>,
    /// Samples that were looked at.
    pub(super) samples: u64,
}

/// Counts of a thread, or of all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Rejected samples by their number along the axis.
    pub(super) by_sample: Vec<u64>,
    pub(super) rejected: u64,
    /// Those of them that a mask says are bad.
    pub(super) bad: u64,
    /// NaN and BLANK that were filled.
    pub(super) filled: u64,
    /// Lines in which samples were replaced.
    pub(super) lines: u64,
    /// Lines left as they are, for too little would have been kept.
    pub(super) left: u64,
}

impl Tally {
    /// Of the lanes with something to replace, those that keep enough.
    fn judge(&mut self, hit: u16, enough: u16) -> u16 {
        let good = hit & enough;
        self.lines += u64::from(good.count_ones());
        self.left += u64::from((hit & !enough).count_ones());
        good
    }

    pub(super) fn add(&mut self, other: &Tally) {
        self.by_sample.resize(other.by_sample.len(), 0);
        for (sum, more) in self.by_sample.iter_mut().zip(&other.by_sample) {
            *sum += more;
        }
        self.rejected += other.rejected;
        self.bad += other.bad;
        self.filled += other.filled;
        self.lines += other.lines;
        self.left += other.left;
    }
}

/// One thread.
pub(super) struct Cleaner<'a, L> {
    lines: &'a Lines<'a>,
    plan: &'a Plan,
    shares: Shares<'a>,
    stop: &'a Stop,
    /// Bytes of what was found that it holds before it sends.
    held: u64,
    clipper: Clipper,
    collapser: Collapser,
    gathered: Gathered<L>,
    rejected: Vec<u32>,
    covered: Vec<u16>,
    /// By row, the lanes that are rejected, and those that are to be filled.
    flags: Vec<u16>,
    holes: Vec<u16>,
    /// Tile and element in one number, and the new bits.
    found: Vec<(u64, u64)>,
    marks: Vec<u64>,
    /// Distances in the region from one number to the next on each axis.
    pitches: Coordinates,
    pub(super) tally: Tally,
}

impl<'a, L: Sample> Cleaner<'a, L> {
    pub(super) fn new(
        lines: &'a Lines<'a>,
        plan: &'a Plan,
        shares: Shares<'a>,
        held: u64,
        stop: &'a Stop,
    ) -> Cleaner<'a, L> {
        let mut pitches = [0; MAX_RANK];
        let mut pitch = 1;
        for (slot, &len) in pitches.iter_mut().zip(lines.lens()) {
            *slot = pitch;
            pitch *= len;
        }
        Cleaner {
            lines,
            plan,
            shares,
            stop,
            held,
            clipper: Clipper::new(plan.rule).of_integers(lines.has_integers()),
            collapser: Collapser::new().of_integers(lines.has_integers()),
            gathered: Gathered::default(),
            rejected: Vec::new(),
            covered: Vec::new(),
            flags: Vec::new(),
            holes: Vec::new(),
            found: Vec::new(),
            marks: Vec::new(),
            pitches,
            tally: Tally {
                by_sample: vec![0; lines.len()],
                ..Tally::default()
            },
        }
    }

    /// What was found so far, sorted.
    fn take(&mut self, column: &Column, samples: u64) -> Found {
        // By tile first, so that what has to be sorted is short.
        let mut ends = vec![0usize; column.tiles() + 1];
        for &(key, _) in &self.found {
            ends[(key >> 32) as usize + 1] += 1;
        }
        let mut tiles: Vec<(Tile, Vec<Patch>)> = Vec::new();
        let mut numbers = vec![usize::MAX; column.tiles()];
        for (tile, number) in numbers.iter_mut().enumerate() {
            if ends[tile + 1] > 0 {
                *number = tiles.len();
                let place = Tile {
                    coordinates: self.lines.tile(column, tile),
                    at: column.tile_at(tile),
                };
                tiles.push((place, Vec::with_capacity(ends[tile + 1])));
            }
        }
        for &(key, bits) in &self.found {
            let number = numbers[(key >> 32) as usize];
            // The low half is the element.
            tiles[number].1.push((key as u32, bits));
        }
        for (_, patches) in &mut tiles {
            patches.sort_unstable();
        }
        self.found.clear();
        Found {
            tiles,
            marks: std::mem::take(&mut self.marks),
            samples,
        }
    }

    /// Cleans one block of lines, of which some lanes of rows may be bad.
    fn block(
        &mut self,
        column: &Column,
        rows: &mut [[L; LANES]],
        bad: &[u16],
        lines: Range<usize>,
    ) {
        let found = L::clip(&mut self.clipper, rows, &mut self.rejected);
        let plan = self.plan;
        let used = ALL >> (LANES - lines.len());
        let is_bad = bad.iter().any(|&lanes| lanes != 0);
        if plan.grow > 0 || plan.fill_nan || plan.fill == Fill::Interpolate || is_bad {
            return self.slowly(column, rows, bad, lines.start, used);
        }
        if self.rejected.is_empty() {
            return;
        }
        let mut hit = 0u16;
        for &number in &self.rejected {
            hit |= 1 << (number as usize % LANES);
        }
        let enough = |line: &Line| line.kept >= plan.min_kept;
        let good = self.tally.judge(hit & used, lanes(&found, enough));
        if good == 0 {
            return;
        }
        let bits: [u64; LANES] = std::array::from_fn(|lane| {
            let fixed = plan.filler.fixed;
            fixed.unwrap_or_else(|| match good >> lane & 1 {
                1 => plan.filler.sample(found[lane].fill),
                _ => 0,
            })
        });
        for k in 0..self.rejected.len() {
            let number = self.rejected[k] as usize;
            let (row, lane) = (number / LANES, number % LANES);
            if good >> lane & 1 == 1 {
                self.reject(column, lines.start + lane, row);
                self.replace(column, lines.start + lane, row, bits[lane]);
            }
        }
    }

    fn reject(&mut self, column: &Column, line: usize, row: usize) {
        let sample = column.sample(row);
        self.tally.rejected += 1;
        self.tally.by_sample[sample as usize] += 1;
        if self.plan.marks {
            let place = column.place(line);
            let across = place.iter().zip(&self.pitches);
            let start: u64 = across.map(|(at, pitch)| at * pitch).sum();
            self.marks
                .push(start + u64::from(sample) * self.pitches[self.lines.axis()]);
        }
    }

    fn replace(&mut self, column: &Column, line: usize, row: usize, bits: u64) {
        if self.plan.patches {
            let (tile, element) = column.element(line, row);
            self.found
                .push((u64::from(tile) << 32 | u64::from(element), bits));
        }
    }

    /// The same where neighbours are rejected or looked at, NaN is filled, or some are bad.
    fn slowly(
        &mut self,
        column: &Column,
        rows: &mut [[L; LANES]],
        bad: &[u16],
        line: usize,
        used: u16,
    ) {
        let plan = self.plan;
        let n = rows.len();
        self.flags.clear();
        self.flags.resize(n, 0);
        self.holes.clear();
        self.holes.resize(n, 0);
        for &number in &self.rejected {
            let (row, lane) = (number as usize / LANES, number as usize % LANES);
            self.flags[row] |= 1 << lane;
            let here = column.sample(row);
            let near = |other: usize| here.abs_diff(column.sample(other)) <= plan.grow;
            let before = (0..row).rev().take_while(|&other| near(other));
            let after = (row + 1..n).take_while(|&other| near(other));
            for other in before.chain(after) {
                // What does not count cannot be rejected.
                let counts = !rows[other][lane].wide().is_nan();
                self.flags[other] |= u16::from(counts) << lane;
            }
        }
        for (flags, bad) in self.flags.iter_mut().zip(bad) {
            *flags |= bad;
        }
        // Here alone it matters which NaN is void.
        if plan.fill_nan && !self.lines.covered(column, line, &mut self.covered) {
            self.covered.clear();
            self.covered.resize(n, ALL);
        }
        let mut kept = [0u32; LANES];
        let mut hit = 0;
        for (row, samples) in rows.iter().enumerate() {
            let flags = self.flags[row];
            for (lane, sample) in samples.iter().enumerate() {
                let is_nan = sample.wide().is_nan();
                kept[lane] += u32::from(!is_nan && flags >> lane & 1 == 0);
                if is_nan && plan.fill_nan && (self.covered[row] & !flags) >> lane & 1 == 1 {
                    self.holes[row] |= 1 << lane;
                }
            }
            hit |= flags | self.holes[row];
        }
        let good = self
            .tally
            .judge(hit & used, lanes(&kept, |&kept| kept >= plan.min_kept));
        let bad = bad.iter().map(|bad| u64::from((bad & good).count_ones()));
        self.tally.bad += bad.sum::<u64>();
        if good == 0 {
            return;
        }
        if plan.fill == Fill::Interpolate {
            for lane in (0..LANES).filter(|lane| good >> lane & 1 == 1) {
                self.interpolate(column, rows, line, lane);
            }
            return;
        }
        let what = match plan.fill {
            Fill::Median => Some(Statistic::Median),
            Fill::Mean => Some(Statistic::Mean),
            _ => None,
        };
        let mut bits = [plan.filler.fixed.unwrap_or(0); LANES];
        if let Some(what) = what {
            for (samples, flags) in rows.iter_mut().zip(&self.flags) {
                for lane in (0..LANES).filter(|lane| flags >> lane & 1 == 1) {
                    samples[lane] = L::NAN;
                }
            }
            let found = L::collapse(&mut self.collapser, rows, what);
            for lane in (0..LANES).filter(|lane| good >> lane & 1 == 1) {
                bits[lane] = plan.filler.sample(found[lane].0);
            }
        }
        for row in 0..n {
            let (flags, holes) = (self.flags[row] & good, self.holes[row] & good);
            for lane in (0..LANES).filter(|lane| (flags | holes) >> lane & 1 == 1) {
                self.count(column, line + lane, row, flags >> lane & 1 == 1);
                self.replace(column, line + lane, row, bits[lane]);
            }
        }
    }

    fn count(&mut self, column: &Column, line: usize, row: usize, rejected: bool) {
        match rejected {
            true => self.reject(column, line, row),
            false => self.tally.filled += 1,
        }
    }

    fn interpolate(&mut self, column: &Column, rows: &[[L; LANES]], line: usize, lane: usize) {
        let n = rows.len();
        let (flags, holes) = (&self.flags, &self.holes);
        let is = |bits: &[u16], row: usize| bits[row] >> lane & 1 == 1;
        let value = |row: usize| {
            let number = rows[row][lane].wide();
            (!number.is_nan() && !is(flags, row)).then_some(number)
        };
        let wanted = |row: usize| is(flags, row) || is(holes, row);
        let mut drawn = Vec::new();
        let at = |row: usize| column.sample(row);
        interpolate(n, at, value, wanted, |row, number| {
            drawn.push((row, number))
        });
        for (row, number) in drawn {
            let rejected = self.flags[row] >> lane & 1 == 1;
            self.count(column, line + lane, row, rejected);
            let bits = self.plan.filler.sample(number);
            self.replace(column, line + lane, row, bits);
        }
    }
}

/// The lanes of which something holds.
fn lanes<T>(all: &[T; LANES], holds: impl Fn(&T) -> bool) -> u16 {
    let bits = all.iter().enumerate();
    bits.fold(0, |bits, (lane, one)| bits | u16::from(holds(one)) << lane)
}

impl<L: Sample> Worker for Cleaner<'_, L> {
    type Found = Found;

    fn unit(&mut self, unit: u64, send: &mut dyn FnMut(Found) -> bool) -> Result<()> {
        let (lines, shares, held, stop) = (self.lines, self.shares, self.held, self.stop);
        let mut gathered = std::mem::take(&mut self.gathered);
        let mut samples = 0;
        let mut each = |column: &Column, group: Group<'_, L>| {
            samples += group.lines.len() as u64 * lines.len() as u64;
            group.for_each_block(column.rows(), |lines, rows, bad| {
                self.block(column, rows, bad, lines);
            });
            let found = self.found.len() as u64 * PATCH_BYTES + self.marks.len() as u64 * 8;
            match found > held {
                true => send(self.take(column, std::mem::take(&mut samples))),
                // Counted with what is sent later would be a bar that jumps.
                false if samples >= TOLD_SAMPLES => send(Found {
                    tiles: Vec::new(),
                    marks: Vec::new(),
                    samples: std::mem::take(&mut samples),
                }),
                false => true,
            }
        };
        let done = shares.for_each_group(lines, unit, held, stop, &mut gathered, &mut each);
        self.gathered = gathered;
        if let Some(column) = done? {
            send(self.take(&column, samples));
        }
        Ok(())
    }
}
