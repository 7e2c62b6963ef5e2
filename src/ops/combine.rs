//! `cube combine`: an axis collapsed to a frame.
//!
//! Lines come together as for `clean`; what they become goes to the output in its
//! order, a part of it at a time, as large as the memory allows.

mod levels;
mod work;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::bad::{Bad, Masks};
use super::crew::share;
use super::frames::{names_along, only};
use super::lanes::{Sample, Shares};
use super::mosaic::tell_replaced;
use super::part::{self, Part};
use super::slice::{self, Begin, Request};
use super::{Progress, Stop, clean, open};
use crate::dtype::DType;
use crate::engine::lines::{Lines, Void};
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, Kind, Result, show_path};
use crate::frames::cards::{Cards, Value};
use crate::frames::filter::Filter;
use crate::kernels::clip::Rule;
use crate::kernels::gather::is_wide;
use crate::region::{AXIS_NAMES, Parts, Span, volume};
use crate::sinks::{Format, Look, Sink, Target};
use work::{Collapsed, Combiner, LINE_BYTES, LeftOut, Plan};

pub use crate::kernels::clip::Statistic;

/// What is left out of every line first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reject {
    /// Nothing.
    None,
    /// What sigma clipping rejects; nothing is wanted of the lines as they are clipped.
    Sigma(Rule),
    /// So many of the least and greatest samples of a line that has all.
    MinMax {
        /// Of the least.
        low: u32,
        /// Of the greatest.
        high: u32,
    },
    /// Percentages of the least and greatest samples.
    Percentile {
        /// Of the least.
        low: f64,
        /// Of the greatest.
        high: f64,
    },
}

/// What frames are divided by, to have the level of the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Their median.
    Median,
    /// A header keyword, such as EXPTIME.
    Keyword(String),
}

/// What `combine` is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The axis that goes; `None` is the one that the frames are stacked on, or the last.
    pub axis: Option<usize>,
    /// What a line becomes.
    pub method: Statistic,
    /// What is left out first.
    pub reject: Reject,
    /// Keyword of the frames' weights; for mean and sum.
    pub weight: Option<String>,
    /// Frames are scaled to the first.
    pub scale: Option<Scale>,
    /// Frames are shifted to the median of the first.
    pub zero: bool,
    /// Conditions that frames meet; the others are left out.
    pub filters: Vec<Filter>,
    /// Which part of the cube, or of the frames that meet all conditions; `None`: all.
    pub section: Option<String>,
    /// Which samples are bad, and left out before anything else.
    pub bad: Bad,
    /// Where the frame goes.
    pub output: Target,
    /// As what; `None` leaves it to the name.
    pub format: Option<Format>,
    /// What pictures and plots look like.
    pub look: Look,
    /// Where the counts of samples go.
    pub coverage: Option<Target>,
    /// Where the standard errors of the mean go.
    pub error: Option<Target>,
    /// Do this part alone; the output is then a part, and the other outputs are not
    /// for it.
    pub part: Option<Part>,
    /// Bytes of memory to use.
    pub memory: u64,
    /// Threads at most.
    pub jobs: usize,
    /// The command as typed, for the header.
    pub line: String,
}

/// What `combine` did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Positions that became one.
    pub positions: u64,
    /// Letter of their axis.
    pub axis: &'static str,
    /// Lengths of the output.
    pub shape: Vec<u64>,
    /// Samples that were rejected.
    pub rejected: u64,
    /// Samples that a mask says are bad.
    pub bad: u64,
}

/// Collapses an axis.
///
/// # Errors
/// When the options do not fit the cube, or something cannot be read or written;
/// there is then no output.
pub fn combine(
    path: &Path,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Report> {
    let (_, cube) = open(path, progress)?;
    let view = only(&cube, &options.filters, progress).at(path)?;
    let snapshot = view.as_ref().unwrap_or(&cube);
    let (axis, spans) =
        clean::region(snapshot, options.axis, options.section.as_deref()).at(path)?;
    if options.weight.is_some() && !matches!(options.method, Statistic::Mean | Statistic::Sum) {
        return Err(Error::input("weights are for mean and sum")
            .hint("--method mean --weight KEY gives a weighted mean"));
    }
    let out = match options.part {
        None => Some(Outputs::check(options)?),
        Some(_) => None,
    };
    if let (Reject::Sigma(rule), None) = (&options.reject, options.part) {
        clean::warn_of_few(rule, spans[axis].len, progress);
    }
    let void = match snapshot.has_void(&spans, Void::Plain).at(path)? {
        true => Void::Plain,
        false => Void::None,
    };
    let masks = Masks::open(
        &options.bad,
        &cube.shape(),
        snapshot,
        &spans,
        options.memory / 2,
        progress,
        stop,
    )
    .at(path)?;
    let job = Job {
        snapshot,
        axis,
        spans: &spans,
        masks: &masks,
        void,
        options,
        progress,
        stop,
    };
    let factors = levels::factors(&job).at(path)?;
    let weights = match &options.weight {
        Some(key) => Some(levels::weights(snapshot, axis, &spans[axis], key).at(path)?),
        None => None,
    };
    let plan = Plan {
        method: options.method,
        reject: options.reject,
        factors,
        weights,
        // Whether errors are wanted of a part shows only when all are there.
        wants_error: options.error.is_some() || options.part.is_some(),
    };
    let goes = match (out, options.part) {
        (Some(out), _) => Goes::Sinks(out.open(path, &job)?),
        (None, Some(part)) => Goes::Part(Box::new(part::Writer::create(
            &options.output,
            &job.head(part),
        )?)),
        (None, None) => return Err(Error::input("no output was named")),
    };
    stop.begin_work();
    let left_out = match is_wide(snapshot.catalog().dtype) {
        true => job.stream::<f64>(&plan, goes),
        false => job.stream::<f32>(&plan, goes),
    }
    .at(path)?;
    Ok(job.report(left_out))
}

/// Makes the frame of which others worked out the parts. What was asked for the parts
/// know; of the options only the outputs count.
///
/// # Errors
/// When a part is missing, damaged, or of another commit; there is then no output.
pub fn apply(
    path: &Path,
    parts: &[PathBuf],
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Report> {
    let (_, cube) = open(path, progress)?;
    let mut parts = part::open_all(parts, "combine", &cube).at(path)?;
    let head = parts.first().map(|part| part.head.clone());
    let head = head.ok_or_else(|| Error::input("no part was named"))?;
    let options = Options {
        axis: Some(head.asked.axis),
        filters: head.asked.filters().at(path)?,
        section: head.asked.section,
        line: head.line,
        ..options.clone()
    };
    let view = only(&cube, &options.filters, progress).at(path)?;
    let snapshot = view.as_ref().unwrap_or(&cube);
    let (axis, spans) =
        clean::region(snapshot, options.axis, options.section.as_deref()).at(path)?;
    let out = Outputs::check(&options)?;
    let job = Job {
        snapshot,
        axis,
        spans: &spans,
        masks: &Masks::default(),
        void: Void::Plain,
        options: &options,
        progress,
        stop,
    };
    let mut sinks = out.open(path, &job)?;
    stop.begin_work();
    progress.begin("putting parts together", parts.len() as u64, 0);
    let mut left_out = LeftOut::default();
    for part in &mut parts {
        let lens: Vec<u64> = job
            .own(Some(part.head.part))
            .iter()
            .map(|span| span.len)
            .collect();
        let mut left = volume(&lens)?;
        while let Some(block) = part.block(PART_LINES * LINE_BYTES as u64)? {
            stop.go_on().map_err(|_| job.interrupted())?;
            let (lines, []) = block.as_chunks::<LINE_BYTES>() else {
                return Err(Error::damaged("a block ends in the middle of a line").at(&part.path));
            };
            left = left
                .checked_sub(lines.len() as u64)
                .ok_or_else(|| Error::damaged("it has more lines than the part").at(&part.path))?;
            let lines: Vec<Collapsed> = lines.iter().map(Collapsed::from_bytes).collect();
            sinks.write(&lines)?;
        }
        if left > 0 {
            return Err(Error::damaged(format!("{left} lines are missing")).at(&part.path));
        }
        left_out.add(part.end()?);
        progress.frames(1);
    }
    progress.end();
    sinks.finish()?;
    Ok(job.report(left_out))
}

/// Lines in a block of a part, at most.
const PART_LINES: u64 = 1 << 15;

/// As many files as keywords can name that end in three digits.
const MOST_NAMES: usize = 999;

/// The outputs, each with its format.
struct Outputs {
    frame: (Target, Format),
    coverage: Option<(Target, Format)>,
    error: Option<(Target, Format)>,
}

/// The outputs that are being written: frame, counts, errors.
struct Sinks {
    dtype: DType,
    frame: Box<dyn Sink>,
    coverage: Option<Box<dyn Sink>>,
    error: Option<Box<dyn Sink>>,
}

/// Where lines go.
enum Goes {
    Sinks(Sinks),
    Part(Box<part::Writer>),
}

impl Sinks {
    /// Writes the lines that come next.
    fn write(&mut self, lines: &[Collapsed]) -> Result<()> {
        let mut out = Vec::new();
        put(&mut out, self.dtype, lines.iter().map(|line| line.value));
        self.frame.write(&out)?;
        if let Some(sink) = &mut self.coverage {
            out.clear();
            out.extend(lines.iter().flat_map(|line| line.count.to_le_bytes()));
            sink.write(&out)?;
        }
        if let Some(sink) = &mut self.error {
            put(&mut out, self.dtype, lines.iter().map(|line| line.error));
            sink.write(&out)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        self.frame.finish()?;
        for sink in [self.coverage, self.error].into_iter().flatten() {
            sink.finish()?;
        }
        Ok(())
    }
}

impl Outputs {
    fn check(options: &Options) -> Result<Outputs> {
        let one = |target: &Target, format: Option<Format>| -> Result<(Target, Format)> {
            Ok((target.clone(), slice::check_image(target, format)?))
        };
        let other = |target: &Option<Target>| -> Result<Option<(Target, Format)>> {
            target.as_ref().map(|target| one(target, None)).transpose()
        };
        let all = [
            Some(&options.output),
            options.coverage.as_ref(),
            options.error.as_ref(),
        ];
        let mut given = all.into_iter().flatten();
        while let Some(target) = given.next() {
            if given.clone().any(|other| other == target) {
                return Err(Error::input("two outputs have one name"));
            }
        }
        Ok(Outputs {
            frame: one(&options.output, options.format)?,
            coverage: other(&options.coverage)?,
            error: other(&options.error)?,
        })
    }

    fn open(self, path: &Path, job: &Job<'_>) -> Result<Sinks> {
        let formats = [
            Some(self.frame.1),
            self.coverage.as_ref().map(|output| output.1),
            self.error.as_ref().map(|output| output.1),
        ];
        let formats: Vec<Format> = formats.into_iter().flatten().collect();
        let cards = job.cards(path, &formats)?;
        let counts = "How many samples each sample of the combined frame is made of.";
        let open = |(target, format): (Target, Format), dtype: DType, what: Option<&str>| {
            let mut cards = cards.clone();
            if let Some(what) = what {
                cards.push_line("COMMENT", what);
            }
            slice::forget_samples(&mut cards, what != Some(counts));
            let output = Begin {
                target: &target,
                format,
                dtype,
                blank: None,
                cards,
                look: Look {
                    title: format!(
                        "{}  combined along {}",
                        slice::name_of(path),
                        AXIS_NAMES[job.axis]
                    ),
                    ..job.options.look.clone()
                },
            };
            output.begin(&[job.request()], job.progress)
        };
        let dtype = match is_wide(job.snapshot.catalog().dtype) {
            true => DType::F64,
            false => DType::F32,
        };
        let errors = "Standard errors of the mean of the combined frame's samples.";
        Ok(Sinks {
            dtype,
            frame: open(self.frame, dtype, None)?,
            coverage: match self.coverage {
                Some(output) => Some(open(output, DType::I32, Some(counts))?),
                None => None,
            },
            error: match self.error {
                Some(output) => Some(open(output, dtype, Some(errors))?),
                None => None,
            },
        })
    }
}

/// What every part of the work needs to know.
struct Job<'a> {
    snapshot: &'a Snapshot,
    axis: usize,
    spans: &'a [Span],
    masks: &'a Masks,
    void: Void,
    options: &'a Options,
    progress: &'a dyn Progress,
    stop: &'a Stop,
}

impl Job<'_> {
    /// The output: the axes that stay.
    fn request(&self) -> Request {
        Request {
            spans: self.spans.to_vec(),
            kept: (0..self.spans.len())
                .filter(|&axis| axis != self.axis)
                .collect(),
        }
    }

    /// The header of the first frame, and what was done.
    fn cards(&self, path: &Path, formats: &[Format]) -> Result<Cards> {
        let request = self.request();
        let (mut cards, _) = slice::header(self.snapshot, &request, formats, self.progress)?;
        let positions = i128::from(self.spans[self.axis].len);
        cards.set("NCOMBINE", &Value::Integer(positions));
        if formats.iter().any(|format| format.holds_cards()) {
            self.name_files(&mut cards)?;
        }
        tell_replaced(&mut cards, self.snapshot, std::slice::from_ref(&request))?;
        cards.push_line("HISTORY", &show_path(Path::new(&self.options.line)));
        let (span, axis) = (&self.spans[self.axis], AXIS_NAMES[self.axis]);
        let which = match self.snapshot.is_view() {
            true => format!("{positions} positions of {axis}"),
            false => format!("{axis} {} to {}", span.start + 1, span.at(span.len - 1) + 1),
        };
        let what = format!(
            "{which} of {} combined by cube {}",
            show_path(path),
            env!("CARGO_PKG_VERSION")
        );
        cards.push_line("HISTORY", &what);
        Ok(cards)
    }

    /// Names the files that the positions came from, as IRAF's imcombine does.
    fn name_files(&self, cards: &mut Cards) -> Result<()> {
        cards.retain(|card| !card.starts_with(b"IMCMB"));
        let mut names = names_along(self.snapshot, self.axis, &self.spans[self.axis])?;
        names.dedup();
        names.retain(|name| !name.is_empty());
        if names.len() <= MOST_NAMES {
            let named = (1..).zip(names);
            named.for_each(|(k, name)| cards.push_text(&format!("IMCMB{k:03}"), &name, ""));
        }
        Ok(())
    }

    fn interrupted(&self) -> Error {
        Error::interrupted("interrupted").hint("no output was made")
    }

    fn report(&self, left_out: LeftOut) -> Report {
        Report {
            positions: self.spans[self.axis].len,
            axis: AXIS_NAMES[self.axis],
            shape: self.request().shape(),
            rejected: left_out.rejected,
            bad: left_out.bad,
        }
    }

    fn head(&self, part: Part) -> part::Head {
        let options = self.options;
        let rest = json!({
            "spans": format!("{:?}", self.spans),
            "method": format!("{:?}", options.method),
            "reject": format!("{:?}", options.reject),
            "weight": options.weight,
            "scale": format!("{:?}", options.scale),
            "zero": options.zero,
            "bad": self.masks.identity(),
        });
        let asked = part::Asked::new(self.axis, &options.filters, options.section.as_ref(), rest);
        part::Head::new("combine", self.snapshot, part, asked, &options.line)
    }

    /// Of the axes that stay, the numbers that a part has: whole tiles of the slowest
    /// one, so that parts follow each other in the frame; without a part all of them.
    fn own(&self, part: Option<Part>) -> Vec<Span> {
        let frame = self.request();
        let mut own: Vec<Span> = frame.shape().iter().map(|&len| Span::run(0, len)).collect();
        if let Some(part) = part {
            let slowest = own.iter().rposition(|span| span.len > 1).unwrap_or(0);
            let tile = self.snapshot.catalog().tile[frame.kept[slowest]];
            let len = own[slowest].len;
            let tiles = part.of_run(len.div_ceil(tile));
            let (start, end) = ((tiles.start * tile).min(len), (tiles.end * tile).min(len));
            own[slowest] = Span::run(start, end - start);
        }
        own
    }

    /// Collapses part after part, in the order of the output; returns what was left out.
    fn stream<L: Sample>(&self, plan: &Plan, mut goes: Goes) -> Result<LeftOut> {
        let others = self.request().kept;
        let own = self.own(self.options.part);
        let lens: Vec<u64> = own.iter().map(|span| span.len).collect();
        // Value, count, error of each line, and the bytes that are made of them.
        let budget = (self.options.memory / 4 / 36).max(1);
        let size = self.snapshot.catalog().dtype.size() as u64;
        let bytes = volume(&lens)?
            .saturating_mul(self.spans[self.axis].len)
            .saturating_mul(size);
        self.progress.begin("combining", 0, bytes);
        let mut left_out = LeftOut::default();
        let tile = &self.snapshot.catalog().tile;
        let tile: Vec<u64> = others.iter().map(|&axis| tile[axis]).collect();
        let mut spans = self.spans.to_vec();
        // Runs end at tile edges, where the axis is in order.
        for part in Parts::new(&lens, budget).of_whole_tiles(&tile) {
            for ((&axis, own), part) in others.iter().zip(&own).zip(&part) {
                spans[axis] = self.spans[axis].part(&own.part(part));
            }
            left_out.add(self.part::<L>(plan, &spans, &mut goes)?);
        }
        self.progress.end();
        match goes {
            Goes::Sinks(sinks) => sinks.finish()?,
            Goes::Part(writer) => writer.finish(&left_out)?,
        }
        Ok(left_out)
    }

    /// Collapses the lines of a part and puts out what they became.
    fn part<L: Sample>(&self, plan: &Plan, spans: &[Span], goes: &mut Goes) -> Result<LeftOut> {
        let lines = Lines::new(self.snapshot, self.axis, spans, self.void)?;
        let size = match plan.factors.is_some() {
            // A second buffer, of float64.
            true => size_of::<L>() + size_of::<f64>(),
            false => size_of::<L>(),
        };
        let (jobs, memory) = (self.options.jobs, self.options.memory / 2);
        let shares = Shares::new(&lines, self.masks, size, jobs, memory)?;
        let workers = (0..shares.jobs)
            .map(|_| Combiner::<L>::new(&lines, plan, shares, self.stop))
            .collect();
        let total: u64 = lines.lens().iter().product::<u64>() / lines.len() as u64;
        let nothing = Collapsed {
            value: f64::NAN,
            count: 0,
            error: f64::NAN,
        };
        let mut collapsed = vec![nothing; total as usize];
        let bytes = self.snapshot.catalog().dtype.size() as u64 * lines.len() as u64;
        let units = lines.columns() * shares.parts;
        let done = share(workers, 0..units, &mut |found: Vec<(u64, Collapsed)>| {
            self.progress.bytes(found.len() as u64 * bytes);
            for (line, value) in found {
                collapsed[line as usize] = value;
            }
            Ok(())
        });
        let workers = done.map_err(|error| match error.kind() {
            Kind::Interrupted => self.interrupted(),
            _ => error,
        })?;
        match goes {
            Goes::Sinks(sinks) => sinks.write(&collapsed)?,
            Goes::Part(writer) => {
                for lines in collapsed.chunks(PART_LINES as usize) {
                    let bytes: Vec<u8> = lines.iter().flat_map(|line| line.to_bytes()).collect();
                    writer.block(&bytes)?;
                }
            }
        }
        let mut left_out = LeftOut::default();
        for worker in &workers {
            left_out.add(worker.left_out);
        }
        Ok(left_out)
    }
}

/// Numbers as little-endian samples.
fn put(out: &mut Vec<u8>, dtype: DType, numbers: impl Iterator<Item = f64>) {
    out.clear();
    match dtype {
        #[allow(clippy::cast_possible_truncation, reason = "rounds on purpose")]
        DType::F32 => out.extend(numbers.flat_map(|number| (number as f32).to_le_bytes())),
        _ => out.extend(numbers.flat_map(f64::to_le_bytes)),
    }
}
