//! Lines of either width, and how many of them the memory has room for.

use std::ops::Range;

use crate::engine::lines::{Column, Lines, PATCH_BYTES};
use crate::error::{Error, Result};
use crate::kernels::clip::{Clipper, Collapser, LANES, Line, Rows, Statistic};
use crate::kernels::gather::Lane;

use super::bad::{self, Marks, Masks};
use super::{Stop, show_bytes};

/// Lines that are gathered together fill about this much, so that they stay near
/// the processor.
const NEAR_BYTES: u64 = 1 << 20;

/// Fewest and most lines that are gathered together while they do: runs of so
/// many neighbours are what memory gives away at a time.
const LEAST_LINES: u64 = 64;
const MOST_LINES: u64 = 256;

/// Samples after which a thread tells how far it is: every message wakes another.
pub(super) const TOLD_SAMPLES: u64 = 8 << 20;

/// Buffers of the kernels, in blocks of lines.
const KERNEL_BLOCKS: u64 = 2;

/// A lane that can be clipped and collapsed.
pub(super) trait Sample: Lane {
    /// Clips a block of lines.
    fn clip(
        clipper: &mut Clipper,
        rows: &[[Self; LANES]],
        rejected: &mut Vec<u32>,
    ) -> [Line; LANES];

    /// Collapses a block of lines.
    fn collapse(
        collapser: &mut Collapser,
        rows: &[[Self; LANES]],
        what: Statistic,
    ) -> [(f64, u32); LANES];
}

impl Sample for f32 {
    fn clip(
        clipper: &mut Clipper,
        rows: &[[f32; LANES]],
        rejected: &mut Vec<u32>,
    ) -> [Line; LANES] {
        clipper.clip_f32(rows, rejected)
    }

    fn collapse(
        collapser: &mut Collapser,
        rows: &[[f32; LANES]],
        what: Statistic,
    ) -> [(f64, u32); LANES] {
        collapser.collapse_f32(rows, what)
    }
}

impl Sample for f64 {
    fn clip(
        clipper: &mut Clipper,
        rows: &[[f64; LANES]],
        rejected: &mut Vec<u32>,
    ) -> [Line; LANES] {
        clipper.clip_f64(rows, rejected)
    }

    fn collapse(
        collapser: &mut Collapser,
        rows: &[[f64; LANES]],
        what: Statistic,
    ) -> [(f64, u32); LANES] {
        collapser.collapse_f64(rows, what)
    }
}

/// Copies lines of a column out of the map, of which the patches have been loaded. Void is
/// NaN in them, and so is what a mask says is bad; that is marked.
///
/// # Errors
/// When the cube or a mask is damaged or cannot be read.
pub(super) fn gather<L: Lane>(
    lines: &Lines<'_>,
    column: &Column,
    group: &Range<usize>,
    masks: &Masks,
    gathered: &mut Gathered<L>,
) -> Result<()> {
    let Gathered {
        rows,
        marks,
        covered,
    } = gathered;
    lines.gather(column, group.clone(), rows)?;
    let n = column.rows();
    for (block, line) in group.clone().step_by(LANES).enumerate() {
        if lines.covered(column, line, covered) {
            leave_void_out(&mut rows[block * n..(block + 1) * n], covered);
        }
    }
    masks.leave_out(lines, column, group, rows, marks)
}

/// Makes NaN of what no frame covers, a bit for every lane of a row.
fn leave_void_out<L: Lane>(rows: &mut [[L; LANES]], covered: &[u16]) {
    for (row, covered) in rows.iter_mut().zip(covered) {
        if *covered != u16::MAX {
            for (lane, sample) in row.iter_mut().enumerate() {
                if covered >> lane & 1 == 0 {
                    *sample = L::NAN;
                }
            }
        }
    }
}

/// The lines that a thread has at hand, and which of their samples are bad.
pub(super) struct Gathered<L> {
    pub(super) rows: Rows<L>,
    marks: Marks,
    covered: Vec<u16>,
}

impl<L: Copy> Default for Gathered<L> {
    fn default() -> Gathered<L> {
        Gathered {
            rows: Rows::new(),
            marks: Marks::default(),
            covered: Vec::new(),
        }
    }
}

/// Lines of a column that were gathered together.
pub(super) struct Group<'g, L> {
    /// Their numbers.
    pub(super) lines: Range<usize>,
    /// Their samples, block after block.
    rows: &'g mut [[L; LANES]],
    /// By row, the lanes that are bad; none at all where there are no masks.
    bad: &'g [u16],
}

impl<L> Group<'_, L> {
    /// Goes through blocks of so many rows: `each` gets the lines, samples and bad lanes.
    pub(super) fn for_each_block(
        self,
        rows: usize,
        mut each: impl FnMut(Range<usize>, &mut [[L; LANES]], &[u16]),
    ) {
        for (block, line) in self.lines.clone().step_by(LANES).enumerate() {
            let own = block * rows..(block + 1) * rows;
            let bad = self.bad.get(own.clone()).unwrap_or_default();
            let lines = line..(line + LANES).min(self.lines.end);
            each(lines, &mut self.rows[own], bad);
        }
    }
}

/// Gets a group of lines of a column; says whether to go on.
pub(super) type Each<'e, L> = &'e mut dyn FnMut(&Column, Group<'_, L>) -> bool;

/// How the lines of a region are shared out.
#[derive(Clone, Copy)]
pub(super) struct Shares<'m> {
    /// Threads.
    pub(super) jobs: usize,
    /// Lines that a thread gathers at once: whole blocks.
    pub(super) group: usize,
    /// Parts of a column, so that there is work for every thread.
    pub(super) parts: u64,
    masks: &'m Masks,
}

impl<'m> Shares<'m> {
    /// Shares lines of samples of `size` bytes out between at most `jobs` threads,
    /// which use at most about `memory` together.
    ///
    /// # Errors
    /// When there is no room for one block of lines.
    pub(super) fn new(
        lines: &Lines<'_>,
        masks: &'m Masks,
        size: usize,
        jobs: usize,
        memory: u64,
    ) -> Result<Shares<'m>> {
        let rows = lines.len() as u64;
        let (marks, piece) = match masks.is_empty() {
            true => (0, 0),
            false => (size_of::<u16>(), 2 * bad::PIECE_BYTES),
        };
        let block = rows * (LANES * size + marks) as u64;
        let fixed = lines.column_memory() + rows * 16 + KERNEL_BLOCKS * block + piece;
        let least = fixed + block;
        if least > memory {
            return Err(Error::input(format!(
                "lines of {rows} samples need {} of memory, but {} are for them",
                show_bytes(least),
                show_bytes(memory)
            ))
            .hint("give more with --memory, or fewer samples with --section"));
        }
        let units = lines.columns();
        let jobs = (memory / least).min(jobs.max(1) as u64).max(1);
        let room = (memory / jobs - fixed) / block * LANES as u64;
        // What the system can keep in its cache may be come back to for every
        // group; of more than that as much as possible is taken at once.
        let near = (NEAR_BYTES / (rows * size as u64).max(1)).clamp(LEAST_LINES, MOST_LINES);
        let wanted = match lines.column_bytes() <= memory {
            true => near / LEAST_LINES * LEAST_LINES,
            false => u64::MAX,
        };
        let most = 1 << 20;
        Ok(Shares {
            jobs: jobs as usize,
            group: room.min(wanted).min(most).max(LANES as u64) as usize / LANES * LANES,
            parts: (4 * jobs).div_ceil(units.max(1)),
            masks,
        })
    }

    /// Goes through the lines of a unit, a part of a column, group by group: `each`
    /// gets them and says whether to go on. At most about `held` bytes of patches are at hand. Returns the
    /// column, unless `each` did not want to go on.
    ///
    /// # Errors
    /// When the cube cannot be read, or the command was asked to stop.
    pub(super) fn for_each_group<L: Lane>(
        &self,
        lines: &Lines<'_>,
        unit: u64,
        held: u64,
        stop: &Stop,
        gathered: &mut Gathered<L>,
        each: Each<'_, L>,
    ) -> Result<Option<Column>> {
        let (number, part) = (unit / self.parts, unit % self.parts);
        if unit < self.jobs as u64 {
            lines.ask_ahead(number)?;
        }
        if part == 0 {
            lines.ask_ahead(number + self.jobs as u64)?;
        }
        let mut column = lines.column(number)?;
        let part = self.lines_of(column.lines(), part);
        if column.rows() == 0 {
            // All of it is void.
            let group = Group {
                lines: part,
                rows: &mut [],
                bad: &[],
            };
            let more = each(&column, group);
            return Ok(more.then_some(column));
        }
        let patches = lines.count_patches(&column)?.saturating_mul(PATCH_BYTES);
        let passes = patches.div_ceil(held).max(1) as usize;
        let pass = part
            .len()
            .div_ceil(passes)
            .next_multiple_of(LANES)
            .max(LANES);
        for start in part.clone().step_by(pass) {
            let pass = start..(start + pass).min(part.end);
            lines.load_patches(&mut column, &pass)?;
            for from in pass.clone().step_by(self.group) {
                stop.go_on()?;
                let of_group = from..(from + self.group).min(pass.end);
                gather(lines, &column, &of_group, self.masks, gathered)?;
                let group = Group {
                    lines: of_group,
                    rows: &mut gathered.rows,
                    bad: &gathered.marks.bits,
                };
                if !each(&column, group) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(column))
    }

    /// The lines of a column that are in one of its parts.
    fn lines_of(&self, lines: usize, part: u64) -> Range<usize> {
        let share = lines.div_ceil(self.parts as usize);
        // Rows of 64 neighbours are not parted where that leaves work for all.
        let step = match share >= LEAST_LINES as usize {
            true => LEAST_LINES as usize,
            false => LANES,
        };
        let share = share.next_multiple_of(step);
        let at = |part: u64| (share * part as usize).min(lines);
        at(part)..at(part + 1)
    }
}
