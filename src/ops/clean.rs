//! `cube clean`: outliers along an axis, replaced.
//!
//! Lines are clipped a column of tiles at a time, by as many threads as there
//! are. What is replaced is stored as patches beside the data, in one commit, so
//! that a clean costs reading the cube and writing its outliers, and `undo`
//! restores every bit. A part of the work can be done by itself, its patches kept in a
//! file until all parts are there (`part`).

mod fill;
mod part;
mod work;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::bad::{Bad, Masks};
use super::crew::share;
use super::frames::{each_along, joining, only, stacked_axis};
use super::lanes::{Sample, Shares};
use super::part::Part;
use super::slice::{self, Begin, Request};
use super::spill::{Sorted, Spill};
use super::{Progress, Stop, change, open};
use crate::dtype::DType;
use crate::engine::edit::Edit;
use crate::engine::lines::{Lines, Void};
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, Result};
use crate::format::patches::{Patch, TilePatches};
use crate::frames::filter::Filter;
use crate::kernels::gather::is_wide;
use crate::region::{
    AXIS_NAMES, Span, check_axis, check_samples, parse_section, show_shape, volume,
};
use crate::sinks::output::folder_of;
use crate::sinks::stretch::Stretch;
use crate::sinks::{Format, Look, Sink, Target};
use crate::storage::file::Busy;
use work::{Cleaner, Found, Plan, Tally, Tile};

pub use crate::kernels::clip::{self, Center, Rule, Spread};
pub use fill::Fill;
pub use part::Applying;

/// What a tile of patches costs in memory, patches apart.
const TILE_COST: u64 = 64;

/// What `clean` is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The axis that lines run along; `None` is the one that the frames are stacked on, or the last.
    pub axis: Option<usize>,
    /// How lines are clipped. What is wanted of a line follows from `fill`.
    pub rule: Rule,
    /// What takes the place of a rejected sample.
    pub fill: Fill,
    /// Conditions that frames meet; the others are left as they are, and not looked at.
    pub filters: Vec<Filter>,
    /// Which part of the cube, or of the frames that meet all conditions, such as
    /// `[1:100,*,5:9]`; `None`: all.
    pub section: Option<String>,
    /// Which samples are bad: they do not count, and are replaced.
    pub bad: Bad,
    /// A line that keeps fewer samples is left as it is. Where something is computed of
    /// those that are kept it takes one at least.
    pub min_kept: u32,
    /// So many neighbours of a rejected sample are rejected, too.
    pub grow: u32,
    /// Fill NaN and BLANK that came with the data, too.
    pub fill_nan: bool,
    /// Count only.
    pub dry_run: bool,
    /// Where to write what was rejected, and as what.
    pub mask: Option<(Target, Option<Format>)>,
    /// Do this part alone, and where to keep what it finds.
    pub part: Option<(Part, Target)>,
    /// List counts by position on the axis.
    pub by_frame: bool,
    /// What to do when another writer is at work.
    pub busy: Busy,
    /// Bytes of memory to use.
    pub memory: u64,
    /// Threads at most.
    pub jobs: usize,
    /// The command as typed, for the history.
    pub line: String,
}

impl Default for Options {
    /// Three standard deviations about the median, five rounds, along the last axis,
    /// in 256 MiB on one thread.
    fn default() -> Options {
        Options {
            axis: None,
            rule: Rule {
                lower: 3.0,
                upper: 3.0,
                rounds: Some(5),
                center: Center::Median,
                spread: Spread::Std,
                fill: clip::Fill::None,
            },
            fill: Fill::Median,
            filters: Vec::new(),
            section: None,
            bad: Bad::default(),
            min_kept: 0,
            grow: 0,
            fill_nan: false,
            dry_run: false,
            mask: None,
            part: None,
            by_frame: false,
            busy: Busy::Fail,
            memory: 256 << 20,
            jobs: 1,
            line: String::new(),
        }
    }
}

/// What was rejected at one position of the axis.
#[derive(Clone, Debug, Serialize)]
pub struct FrameCount {
    /// The position in the cube, from 1.
    pub position: u64,
    /// Samples rejected there.
    pub rejected: u64,
    /// File that the frame there came from.
    pub source: Option<String>,
}

/// What `clean` did, or would do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Letter of the axis.
    pub axis: String,
    /// Samples in the region, void included.
    pub samples: u64,
    /// Samples that were rejected and replaced.
    pub rejected: u64,
    /// Those of them that a mask says are bad.
    pub bad: u64,
    /// NaN and BLANK that were filled.
    pub filled: u64,
    /// Lines in the region.
    pub lines: u64,
    /// Lines in which samples were replaced.
    pub lines_changed: u64,
    /// Lines left as they are because too little would have been kept.
    pub lines_left: u64,
    /// Samples that a line has to keep.
    pub min_kept: u32,
    /// Samples at one position of the axis.
    pub samples_per_position: u64,
    /// Counts by position, in order; empty unless asked for.
    pub frames: Vec<FrameCount>,
}

impl Report {
    /// Is there a sample that is another one now?
    fn has_replaced(&self) -> bool {
        self.rejected + self.filled > 0
    }
}

/// Replaces outliers.
///
/// # Errors
/// When the options do not fit the cube, or something cannot be read or written;
/// the cube is then as it was.
pub fn clean(
    path: &Path,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Report> {
    if options.dry_run || options.part.is_some() {
        let (_, snapshot) = open(path, progress)?;
        return run(path, &snapshot, None, options, progress, stop).at(path);
    }
    let (busy, line) = (options.busy, &options.line);
    change(path, "clean", busy, line, progress, |snapshot, edit| {
        let report = run(path, snapshot, Some(edit), options, progress, stop)?;
        Ok((report.has_replaced(), report))
    })
}

/// Makes what parts have found the cube's state, in one commit. What was asked for the
/// parts know.
///
/// # Errors
/// When a part is missing, damaged, or of another commit; the cube is then as it was.
pub fn apply(
    path: &Path,
    parts: &[PathBuf],
    options: &Applying,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Report> {
    let (busy, line) = (options.busy, &options.line);
    change(path, "clean", busy, line, progress, |snapshot, edit| {
        let report = part::apply(snapshot, edit, parts, options, progress, stop)?;
        Ok((report.has_replaced(), report))
    })
}

/// The part of a cube that is meant, one span per axis, and the axis: where none is
/// named the one that the frames are stacked on, or the last.
pub(super) fn region(
    snapshot: &Snapshot,
    axis: Option<usize>,
    section: Option<&str>,
) -> Result<(usize, Vec<Span>)> {
    let shape = snapshot.shape();
    let axis = match axis {
        Some(axis) => axis,
        None => stacked_axis(snapshot)?.unwrap_or(shape.len().saturating_sub(1)),
    };
    check_axis(axis, &shape)?;
    check_samples(&shape)?;
    let spans = match section {
        Some(text) => {
            parse_section(text, &shape).map_err(|error| slice::of_view(snapshot, error))?
        }
        None => snapshot.whole(),
    };
    Ok((axis, spans))
}

/// So few samples stand along an axis that a rule can reject none, which nobody expects.
pub(super) fn warn_of_few(rule: &Rule, samples: u64, progress: &dyn Progress) {
    let (reach, sigma) = (rule.reach(samples), rule.lower.min(rule.upper));
    if reach <= sigma && sigma.is_finite() {
        let center = match rule.center {
            Center::Median => "median",
            Center::Mean => "mean",
        };
        progress.warn(&format!(
            "one outlier among {samples} samples is at most {reach:.2} standard deviations from their \
             {center}, so {sigma} reject none: --spread mad or a lower --sigma does"
        ));
    }
}

fn warn_of_one_mask(axis: usize, progress: &dyn Progress) {
    let axis = AXIS_NAMES[axis];
    progress.warn(&format!(
        "a mask is the same at all positions of {axis}: where it is not 0 nothing is kept along \
         {axis}, and lines stay as they are; --axis names another axis"
    ));
}

/// What is to be done with each line.
fn plan_of(options: &Options, snapshot: &Snapshot) -> Result<Plan> {
    let filler = fill::Filler::new(&options.fill, snapshot.catalog())?;
    Ok(Plan {
        rule: Rule {
            fill: match options.fill {
                Fill::Median => clip::Fill::Median,
                Fill::Mean => clip::Fill::Mean,
                _ => clip::Fill::None,
            },
            ..options.rule
        },
        fill: options.fill.clone(),
        filler,
        min_kept: options.min_kept.max(u32::from(filler.fixed.is_none())),
        grow: options.grow,
        fill_nan: options.fill_nan,
        patches: !options.dry_run,
        marks: options.mask.is_some(),
    })
}

fn run(
    path: &Path,
    snapshot: &Snapshot,
    edit: Option<&mut Edit<'_>>,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Report> {
    let view = only(snapshot, &options.filters, progress)?;
    let shape = snapshot.shape();
    let snapshot = view.as_ref().unwrap_or(snapshot);
    let (axis, spans) = region(snapshot, options.axis, options.section.as_deref())?;
    if spans[axis].len < 2 {
        let lens: Vec<u64> = spans.iter().map(|span| span.len).collect();
        return Err(Error::input(format!(
            "there is nothing to compare along {}: {} is one sample deep",
            AXIS_NAMES[axis],
            show_shape(&lens)
        ))
        .hint("--axis names another axis"));
    }
    if options.part.is_none() {
        warn_of_few(&options.rule, spans[axis].len, progress);
    }
    let plan = plan_of(options, snapshot)?;
    let mask = match &options.mask {
        Some((target, format)) => Some(Mask::new(
            path, snapshot, &spans, target, *format, progress,
        )?),
        None => None,
    };
    let masks = Masks::open(
        &options.bad,
        &shape,
        snapshot,
        &spans,
        options.memory / 2,
        progress,
        stop,
    )?;
    if plan.min_kept > 0 && masks.one_for_all(axis) {
        warn_of_one_mask(axis, progress);
    }
    stop.begin_work();
    let void = match options.fill_nan {
        true => Void::ByFrames,
        false => Void::Plain,
    };
    let lines = Lines::new(snapshot, axis, &spans, void)?;
    let goes = match (edit, &options.part) {
        (Some(edit), _) => Goes::Edit(edit),
        (None, Some((part, target))) => {
            let part = (*part, target);
            let writer = part::begin(snapshot, axis, &spans, &plan, &masks, part, options)?;
            Goes::Part(Box::new(writer))
        }
        (None, None) => Goes::Nowhere,
    };
    // A file without a name may be beside the mask, else beside the cube.
    let beside = match &options.mask {
        Some((Target::File { path, .. }, _)) => path,
        _ => path,
    };
    let mut job = Job {
        snapshot,
        lines: &lines,
        masks: &masks,
        plan: &plan,
        options,
        progress,
        stop,
        taker: Taker::new(goes, options.memory, folder_of(beside)),
    };
    let tally = match is_wide(snapshot.catalog().dtype) {
        true => job.work::<f64>(),
        false => job.work::<f32>(),
    }?;
    let Taker {
        goes,
        marks,
        samples,
        ..
    } = job.taker;
    let outcome = Outcome {
        samples,
        min_kept: plan.min_kept,
        tally,
    };
    if let Goes::Part(writer) = goes {
        writer.finish(&outcome)?;
    }
    if let Some(mask) = mask {
        mask.write(marks.sorted()?, progress, stop)?;
    }
    report(
        snapshot,
        (axis, &spans[axis]),
        &outcome,
        options.by_frame,
        progress,
    )
}

/// What came of the work, as a part says in its end.
#[derive(Default, Serialize, Deserialize)]
struct Outcome {
    samples: u64,
    min_kept: u32,
    tally: Tally,
}

/// What was done.
fn report(
    snapshot: &Snapshot,
    (axis, span): (usize, &Span),
    outcome: &Outcome,
    wants_frames: bool,
    progress: &dyn Progress,
) -> Result<Report> {
    let &Outcome {
        samples,
        min_kept,
        ref tally,
    } = outcome;
    warn_of_much(snapshot, (axis, span), samples / span.len, tally, progress);
    Ok(Report {
        axis: AXIS_NAMES[axis].to_string(),
        samples,
        rejected: tally.rejected,
        bad: tally.bad,
        filled: tally.filled,
        lines: samples / span.len,
        lines_changed: tally.lines,
        lines_left: tally.left,
        min_kept,
        samples_per_position: samples / span.len,
        frames: match wants_frames {
            true => by_frame(snapshot, axis, span, tally)?,
            false => Vec::new(),
        },
    })
}

/// Of a position so large a share is rejected that it is not a few bad samples: another
/// level, or another place of the sky.
const MUCH: f64 = 0.1;

/// Of fewer samples chance takes a large share.
const LEAST_SAMPLES: u64 = 1000;

/// Says so where frames differ from the others as a whole.
fn warn_of_much(
    snapshot: &Snapshot,
    (axis, span): (usize, &Span),
    samples: u64,
    tally: &Tally,
    progress: &dyn Progress,
) {
    let is_stack = stacked_axis(snapshot).is_ok_and(|stacked| stacked == Some(axis));
    // What is bad by a mask is meant.
    if !is_stack || samples < LEAST_SAMPLES || tally.bad > 0 {
        return;
    }
    let share = |rejected: u64| rejected as f64 / samples as f64;
    let much = (0..)
        .zip(&tally.by_sample)
        .map(|(k, &rejected)| (k, share(rejected)));
    let much: Vec<(u64, f64)> = much.filter(|&(_, share)| share > MUCH).collect();
    if let Some((k, share)) = much.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)) {
        let more = match much.len() - 1 {
            0 => String::new(),
            more => format!(", and more than {} % at {more} others", 100.0 * MUCH),
        };
        progress.warn(&format!(
            "{:.0} % of the samples at position {} of {} are rejected{more}: that is not a few of them, \
             but another level or another field; --report tells how many of each",
            100.0 * share,
            snapshot.in_cube(axis, span.at(k)) + 1,
            AXIS_NAMES[axis],
        ));
    }
}

/// Counts by position, with the names of the frames that joined the axis there.
fn by_frame(
    snapshot: &Snapshot,
    axis: usize,
    span: &Span,
    tally: &Tally,
) -> Result<Vec<FrameCount>> {
    let mut frames: Vec<FrameCount> = (0..span.len)
        .zip(&tally.by_sample)
        .map(|(k, &rejected)| FrameCount {
            position: snapshot.in_cube(axis, span.at(k)) + 1,
            rejected,
            source: None,
        })
        .collect();
    let joined = joining(axis);
    each_along(snapshot, axis, span, &joined, &mut |record, numbers| {
        for own in numbers {
            let source = &mut frames[own.number].source;
            source.get_or_insert_with(|| record.source.clone());
        }
        Ok(())
    })?;
    Ok(frames)
}

struct Job<'a, 'e, 'w> {
    snapshot: &'a Snapshot,
    lines: &'a Lines<'a>,
    masks: &'a Masks,
    plan: &'a Plan,
    options: &'a Options,
    progress: &'a dyn Progress,
    stop: &'a Stop,
    taker: Taker<'e, 'w>,
}

impl Job<'_, '_, '_> {
    fn work<L: Sample>(&mut self) -> Result<Tally> {
        let memory = self.options.memory;
        let jobs = self.options.jobs;
        let shares = Shares::new(self.lines, self.masks, size_of::<L>(), jobs, memory / 2)?;
        let held = (memory / 8 / shares.jobs as u64 / 4).max(1 << 16);
        let cleaner = || Cleaner::<L>::new(self.lines, self.plan, shares, held, self.stop);
        let workers = (0..shares.jobs).map(|_| cleaner()).collect();
        let size = self.snapshot.catalog().dtype.size() as u64;
        let columns = self.lines.columns();
        let mine = match &self.options.part {
            Some((part, _)) => part.of_run(columns),
            None => 0..columns,
        };
        let samples: u64 = self.lines.lens().iter().product();
        let mine_of_all = (mine.end - mine.start) as f64 / columns.max(1) as f64;
        #[allow(clippy::cast_sign_loss, reason = "for the bar alone")]
        let bytes = (samples.saturating_mul(size) as f64 * mine_of_all) as u64;
        self.progress.begin("cleaning", 0, bytes);
        let units = mine.start * shares.parts..mine.end * shares.parts;
        let done = share(workers, units, &mut |found: Found| {
            self.progress.bytes(found.samples * size);
            self.taker.take(found)
        });
        let done = done.and_then(|workers| self.taker.store().map(|()| workers));
        self.progress.end();
        let workers = done.map_err(|error| match error.kind() {
            crate::error::Kind::Interrupted if self.options.dry_run => error,
            crate::error::Kind::Interrupted => error.hint("the cube is as it was"),
            _ => error,
        })?;
        let mut tally = Tally::default();
        for worker in &workers {
            tally.add(&worker.tally);
        }
        Ok(tally)
    }
}

/// Where new samples go.
enum Goes<'e, 'w> {
    Edit(&'e mut Edit<'w>),
    Part(Box<super::part::Writer>),
    Nowhere,
}

/// Takes what the threads found, and stores it when it gets much.
struct Taker<'e, 'w> {
    goes: Goes<'e, 'w>,
    patches: Vec<TilePatches>,
    cost: u64,
    most: u64,
    marks: Spill,
    /// Samples that were looked at.
    samples: u64,
}

impl<'e, 'w> Taker<'e, 'w> {
    fn new(goes: Goes<'e, 'w>, memory: u64, folder: &Path) -> Taker<'e, 'w> {
        Taker {
            goes,
            patches: Vec::new(),
            cost: 0,
            most: memory / 8,
            marks: Spill::new(memory / 8, folder),
            samples: 0,
        }
    }

    fn take(&mut self, found: Found) -> Result<()> {
        self.marks.push(&found.marks)?;
        self.samples += found.samples;
        for (tile, patches) in found.tiles {
            self.tile(&tile, patches)?;
        }
        Ok(())
    }

    fn tile(&mut self, tile: &Tile, patches: Vec<Patch>) -> Result<()> {
        let edit = match &mut self.goes {
            Goes::Edit(edit) => edit,
            Goes::Part(writer) => return part::write(writer, tile, &patches),
            Goes::Nowhere => return Ok(()),
        };
        let at = match tile.at {
            Some(at) => at,
            None => edit.make_tile(&tile.coordinates)?,
        };
        self.cost += TILE_COST + (patches.len() * size_of::<Patch>()) as u64;
        self.patches.push((at, patches));
        match self.cost > self.most {
            true => self.store(),
            false => Ok(()),
        }
    }

    /// Stores what there is as one set.
    fn store(&mut self) -> Result<()> {
        let Goes::Edit(edit) = &mut self.goes else {
            return Ok(());
        };
        let mut tiles = std::mem::take(&mut self.patches);
        tiles.sort_unstable_by_key(|(at, _)| *at);
        // Parts of a column come apart.
        let mut set: Vec<TilePatches> = Vec::with_capacity(tiles.len());
        for (at, mut patches) in tiles {
            match set.last_mut() {
                Some(last) if last.0 == at => last.1.append(&mut patches),
                _ => set.push((at, patches)),
            }
        }
        for (_, patches) in &mut set {
            patches.sort_unstable();
            // Of two parts that overlap neither is known to be right.
            if !patches.is_sorted_by(|a, b| a.0 < b.0) {
                return Err(Error::damaged("the parts have a sample twice"));
            }
        }
        self.cost = 0;
        edit.patch(&set)
    }
}

/// The output that says what was rejected.
struct Mask {
    sink: Box<dyn Sink>,
    samples: u64,
}

impl Mask {
    fn new(
        path: &Path,
        snapshot: &Snapshot,
        spans: &[Span],
        target: &Target,
        format: Option<Format>,
        progress: &dyn Progress,
    ) -> Result<Mask> {
        let format = slice::check_image(target, format)?;
        let request = Request::of(spans.to_vec());
        let (mut cards, _) = slice::header(snapshot, &request, &[format], progress).at(path)?;
        slice::forget_samples(&mut cards, false);
        let output = Begin {
            target,
            format,
            dtype: DType::U8,
            blank: None,
            cards,
            look: Look {
                // Nearly all is 0, so only the whole range shows the rest.
                stretch: Stretch::MinMax,
                title: format!("{}  rejected", slice::name_of(path)),
                ..Look::default()
            },
        };
        Ok(Mask {
            samples: volume(&request.shape())?,
            sink: output.begin(&[request], progress)?,
        })
    }

    fn write(mut self, mut marks: Sorted, progress: &dyn Progress, stop: &Stop) -> Result<()> {
        const PART: u64 = 1 << 20;
        progress.begin("writing the mask", 0, self.samples);
        let mut next = marks.next()?;
        let mut part = Vec::new();
        let mut done = 0;
        while done < self.samples {
            stop.go_on()
                .map_err(|error| error.hint("the cube is as it was"))?;
            let len = PART.min(self.samples - done);
            part.clear();
            part.resize(len as usize, 0);
            while let Some(mark) = next.filter(|&mark| mark < done + len) {
                part[(mark - done) as usize] = 1;
                next = marks.next()?;
            }
            self.sink.write(&part)?;
            progress.bytes(len);
            done += len;
        }
        progress.end();
        self.sink.finish()
    }
}
