//! What a command will do with its inputs, decided before the first byte is
//! written: which frames there are, where each goes, what becomes of its samples.

mod target;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cube_frame::{self, Came};
use super::resume::{Present, Seen};
use super::twins::Twins;
use super::{Progress, Stop, count};
use crate::dtype::DType;
use crate::engine::Coordinates;
use crate::engine::snapshot::Snapshot;
use crate::engine::stored::Stored;
use crate::engine::write::Samples;
use crate::error::{Context, Error, Result, show_path};
use crate::format::catalog::Catalog;
use crate::format::ledger::Record;
use crate::frames::cards::Cards;
use crate::frames::filter::{Filter, Gate};
use crate::frames::list::Input;
use crate::frames::{self, Facts, Frame, Reading};
use crate::kernels::cast::{Rules, convert};
use crate::region::{AXIS_NAMES, MAX_RANK, show_shape, volume};
use target::{Target, check_options};

/// How samples are taken in.
#[derive(Clone, Debug, Default)]
pub struct Taking {
    /// What of each file, and how.
    pub reading: Reading,
    /// Conditions that frames are to meet; others are left out.
    pub filters: Vec<Filter>,
    /// The axis to grow; chosen from the frames when it is not given.
    pub axis: Option<usize>,
    /// Type of a new cube.
    pub dtype: Option<DType>,
    /// Convert although samples may change.
    pub cast: bool,
    /// Pad value of a new cube, as typed.
    pub pad: Option<String>,
    /// Where a frame's first pixel goes on the axes that are not grown, from 0.
    pub origin: Vec<u64>,
    /// Shape of a new cube's tiles, x first.
    pub tile: Option<Vec<u64>>,
}

/// One frame that will be taken in.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The file.
    pub input: Input,
    /// Where it comes from, if that is a cube.
    pub(super) came: Option<Came>,
    /// What it holds.
    pub facts: Facts,
    /// How its samples become the cube's; `None` when they are the cube's.
    pub rules: Option<Rules>,
}

/// Everything that will be taken in, and how.
#[derive(Default)]
pub struct Plan {
    /// The axis to grow.
    pub axis: usize,
    /// The frames, in order.
    pub frames: Vec<Planned>,
    /// Inputs that cannot be used, each with its reason.
    pub bad: Vec<Error>,
    /// How many frames did not meet the conditions.
    pub left_out: u64,
    /// How many frames there are in all, those that cannot be used counted.
    pub found: u64,
    /// Where the frames stand that the cube has already.
    pub present: Vec<Present>,
    /// How many inputs are frames that were deleted from it.
    pub deleted: u64,
    /// What the samples of its frames are, where that is known.
    pub(super) twins: Twins,
    /// "No data" of the cube from now on.
    pub blank: Option<i128>,
    /// It was not that before: what is there may hold the value as data.
    pub new_blank: bool,
    /// Frames that come into a cube with a BLANK and have none.
    pub without_blank: u64,
    /// The catalog of a cube that is to be made.
    pub new: Option<Catalog>,
    /// The type that a cube that is to be made would need for all frames, if not its own.
    pub wider: Option<DType>,
}

impl Planned {
    /// Lengths of the frame on all axes.
    pub fn shape(&self) -> Coordinates {
        full_shape(&self.facts.shape)
    }

    /// Where its first pixel goes on the axes other than `axis`: where it was in the
    /// cube that it comes from, moved by `origin`.
    pub fn origin(&self, origin: &Coordinates, axis: usize) -> Coordinates {
        let mut all = *origin;
        if let Some(came) = &self.came {
            for other in (0..MAX_RANK).filter(|&other| other != axis) {
                all[other] = all[other].saturating_add(came.first[other]);
            }
        }
        all
    }

    /// The file that it first came from.
    pub(super) fn source(&self) -> Cow<'_, str> {
        match &self.came {
            Some(came) => Cow::Borrowed(&came.name),
            None => self.input.path.to_string_lossy(),
        }
    }
}

pub(super) fn full_shape(shape: &[u64]) -> Coordinates {
    std::array::from_fn(|axis| shape.get(axis).copied().unwrap_or(1))
}

/// Rank without trailing axes of length 1.
fn effective_rank(shape: &[u64]) -> usize {
    shape
        .iter()
        .rposition(|&len| len != 1)
        .map_or(0, |last| last + 1)
}

/// The axis that a frame of this shape joins when none is given: 1-D frames
/// stack on y, images on z, and blocks join along their own last axis.
pub fn default_axis(shape: &[u64]) -> usize {
    match effective_rank(shape) {
        0 | 1 => 1,
        2 => 2,
        rank => rank - 1,
    }
}

/// Opens and examines every input. `cube` is the cube as it is, when there is
/// one; with `resume`, frames it has already are left out.
///
/// # Errors
/// When nothing can be planned at all; a bad input is in [`Plan::bad`] instead.
pub fn plan(
    inputs: &[Input],
    taking: &Taking,
    cube: Option<&Snapshot>,
    resume: bool,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Plan> {
    if let Some(cube) = cube {
        check_options(cube.catalog(), taking)?;
    }
    progress.begin("examining", inputs.len() as u64, 0);
    let mut planner = Planner::new(taking, cube, resume)?;
    for input in inputs {
        let parts: Parts = match open_source(input, taking) {
            Ok(parts) => parts,
            Err(error) => Box::new(std::iter::once(Err(error))),
        };
        for opened in parts {
            if stop.is_set() {
                return Err(Error::interrupted("stopped before anything was written"));
            }
            planner.plan.found += 1;
            let examined = opened.and_then(|found| planner.examine(input, found));
            planner.plan.bad.extend(examined.at(&input.path).err());
        }
        progress.frames(1);
    }
    progress.end();
    planner.conclude(progress)
}

/// What is known while frames are examined.
struct Planner<'a> {
    taking: &'a Taking,
    cube: Option<&'a Snapshot>,
    seen: Option<Seen>,
    gate: Gate<'a>,
    notes: Notes,
    /// Types that the frames have, those that cannot come in as well.
    came: Vec<DType>,
    /// What the frames that come in have settled.
    axis: Option<usize>,
    target: Option<Target>,
    /// "No data" before any frame came in that is not the first.
    first_blank: Option<Option<i128>>,
    /// Where the joined axis of the first frame begins, if its header says so.
    begin: Option<f64>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(taking: &'a Taking, cube: Option<&'a Snapshot>, resume: bool) -> Result<Planner<'a>> {
        let target = cube.map(|cube| Target::of(cube.catalog()));
        Ok(Planner {
            taking,
            cube,
            seen: cube.filter(|_| resume).map(Seen::new).transpose()?,
            gate: Gate::new(&taking.filters),
            notes: Notes::default(),
            came: Vec::new(),
            axis: taking.axis,
            first_blank: target.map(|target| target.blank),
            target,
            begin: None,
            plan: Plan::default(),
        })
    }

    /// Looks at a frame. One that cannot come in is an error, and has no say in what
    /// becomes of the others.
    fn examine(&mut self, input: &Input, (mut frame, came): Found) -> Result<()> {
        if !self.gate.passes(frame.as_mut())? {
            self.plan.left_out += 1;
            return Ok(());
        }
        self.notes.add(&input.path, frame.notes());
        let facts = frame.facts().clone();
        if !self.came.contains(&facts.dtype) {
            self.came.push(facts.dtype);
        }
        let mut target = match self.target {
            Some(target) => target,
            None => Target::new(&facts, self.taking)?,
        };
        let blank_before = target.blank;
        let rules = target.admit(&facts, self.taking.cast)?;
        let own_axis = default_axis(&facts.shape);
        let axis = self.axis.unwrap_or(own_axis);
        if self.taking.axis.is_none() && own_axis != axis {
            return Err(other_axis(&facts.shape, axis));
        }
        self.see_begin(&input.path, frame.as_ref(), axis);
        let planned = Planned {
            input: input.clone(),
            came,
            facts,
            rules,
        };
        let present = match &mut self.seen {
            Some(seen) => {
                let reading = &self.taking.reading;
                seen.take(&planned, frame.cards(), reading, target.dtype)?
            }
            None => None,
        };
        match present {
            Some(present) if present.position.is_none() => self.plan.deleted += 1,
            Some(present) => self.plan.present.push(present),
            None => {
                if self
                    .seen
                    .as_ref()
                    .is_some_and(|seen| seen.has_name(&planned))
                {
                    self.notes.add(&input.path, &[OTHER_OF_NAME.to_string()]);
                }
                self.plan.frames.push(planned);
            }
        }
        self.axis = Some(axis);
        self.target = Some(target);
        self.first_blank.get_or_insert(blank_before);
        Ok(())
    }

    /// Cubes with a spectral axis are rarely meant to follow each other along it.
    fn see_begin(&mut self, path: &Path, frame: &dyn Frame, axis: usize) {
        let len = frame.facts().shape.get(axis).copied().unwrap_or(1);
        let Some(beside) = AXIS_NAMES.get(axis + 1).filter(|_| axis > 1 && len > 1) else {
            return;
        };
        let (name, cards) = (AXIS_NAMES[axis], frame.cards());
        let key = format!("CRVAL{}", axis + 1);
        let is_told = cards.get_text(&format!("CTYPE{}", axis + 1)).is_some();
        let begin = cards.get_real(&key).filter(|_| is_told);
        match self.begin {
            None => self.begin = begin,
            Some(_) if self.begin == begin => self.notes.add(
                path,
                &[format!(
                    "its {name} begins where that of the first frame does, by {key}, and is put behind \
                     it; --axis {beside} lays such frames beside each other"
                )],
            ),
            Some(_) => {}
        }
    }

    fn conclude(self, progress: &dyn Progress) -> Result<Plan> {
        let Planner {
            taking, mut plan, ..
        } = self;
        self.notes.show(progress);
        for complaint in self.gate.complaints() {
            let complaint = format!("--where: {complaint}");
            // A slip is not to look like a night without frames.
            if plan.left_out == plan.found {
                return Err(Error::input(complaint));
            }
            progress.warn(&complaint);
        }
        plan.axis = self.axis.unwrap_or(2);
        plan.twins = self.seen.map(|seen| seen.twins).unwrap_or_default();
        plan.blank = self.target.and_then(|target| target.blank);
        plan.new_blank = plan.blank.is_some() && self.first_blank != Some(plan.blank);
        let silent = plan.frames.iter().filter(|frame| {
            let facts = &frame.facts;
            plan.blank.is_some() && !facts.dtype.is_float() && facts.blank.is_none()
        });
        plan.without_blank = silent.count() as u64;
        if self.cube.is_some() {
            return Ok(plan);
        }
        let dtype = self.target.map(|target| target.dtype).or(taking.dtype);
        if !taking.cast && dtype.is_some() && !self.came.is_empty() {
            let wider = DType::all().find(|all| self.came.iter().all(|from| from.fits_into(*all)));
            plan.wider = wider.filter(|_| wider != dtype);
        }
        if let (Some(target), Some(first)) = (&self.target, plan.frames.first()) {
            plan.new = Some(target.new_cube(&plan, first, taking)?);
        }
        Ok(plan)
    }
}

const OTHER_OF_NAME: &str = "is not the frame of that name that the cube has, and comes in beside it; \
                             delete --source takes away what came from a file";

fn other_axis(shape: &[u64], own_axis: usize) -> Error {
    Error::input(format!(
        "a frame of {} would join {}, but the first frame joins {}",
        show_shape(shape),
        AXIS_NAMES[default_axis(shape)],
        AXIS_NAMES[own_axis]
    ))
    .hint("--axis says which axis all of them join")
}

/// What is to be known of frames, each note once, with the first frame that it is
/// of and how many others there are.
#[derive(Default)]
struct Notes(BTreeMap<String, (PathBuf, u64)>);

impl Notes {
    fn add(&mut self, path: &Path, notes: &[String]) {
        for note in notes {
            match self.0.get_mut(note) {
                Some((_, others)) => *others += 1,
                None => {
                    self.0.insert(note.clone(), (path.to_path_buf(), 0));
                }
            }
        }
    }

    fn show(&self, progress: &dyn Progress) {
        for (note, (path, others)) in &self.0 {
            let path = show_path(path);
            progress.warn(&match others {
                0 => format!("{path}: {note}"),
                _ => format!(
                    "{path}: {note}; so it is with {}",
                    count(*others, "other frame")
                ),
            });
        }
    }
}

impl Plan {
    /// Where the axis goes on behind the frames of this command that an earlier
    /// run put in from `start` on.
    pub fn behind_present(&self, start: u64) -> u64 {
        let mut standing: Vec<&Present> = self.present.iter().collect();
        standing.retain(|present| present.axis == self.axis);
        standing.sort_unstable_by_key(|present| present.position);
        standing
            .iter()
            .fold(start, |end, present| match present.position == Some(end) {
                true => end + present.len,
                false => end,
            })
    }

    /// How many positions the frames take on the axis, and how long the other
    /// axes must be for them.
    pub fn extents(&self, origin: &Coordinates) -> Coordinates {
        let mut extents = [0u64; MAX_RANK];
        for frame in &self.frames {
            let shape = frame.shape();
            let origin = frame.origin(origin, self.axis);
            for (axis, extent) in extents.iter_mut().enumerate() {
                *extent = match axis == self.axis {
                    true => extent.saturating_add(shape[axis]),
                    false => (*extent).max(origin[axis].saturating_add(shape[axis])),
                };
            }
        }
        extents
    }
}

/// Positions of a frame's first pixel on all axes.
pub fn full_origin(origin: &[u64]) -> Coordinates {
    std::array::from_fn(|axis| origin.get(axis).copied().unwrap_or(0))
}

/// A moment as records hold it.
pub fn nanoseconds(moment: Option<SystemTime>) -> Option<i128> {
    let moment = moment?;
    Some(match moment.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).ok()?,
        Err(before) => -i128::try_from(before.duration().as_nanos()).ok()?,
    })
}

/// The moment that a record holds.
pub fn moment(nanoseconds: i128) -> Option<SystemTime> {
    let apart = nanoseconds.unsigned_abs();
    let seconds = u64::try_from(apart / 1_000_000_000).ok()?;
    let apart = Duration::new(seconds, (apart % 1_000_000_000) as u32);
    match nanoseconds < 0 {
        true => UNIX_EPOCH.checked_sub(apart),
        false => UNIX_EPOCH.checked_add(apart),
    }
}

/// A frame, and where it comes from if that is a cube.
type Found = (Box<dyn Frame>, Option<Came>);

/// Frames, or why there is none, one after the other.
type Parts = Box<dyn Iterator<Item = Result<Found>>>;

/// The frames of a file.
fn open_source(input: &Input, taking: &Taking) -> Result<Parts> {
    let (path, reading) = (&input.path, &taking.reading);
    if input.stream.is_none() && reading.raw.is_none() && cube_frame::is_cube(path) {
        let frames = cube_frame::frames_of(path, taking.axis)?;
        let mut open = None;
        return Ok(Box::new(frames.into_iter().map(move |came| {
            let frame = came.open()?;
            open.get_or_insert_with(|| frame.keep_open());
            Ok((Box::new(frame) as Box<dyn Frame>, Some(came)))
        })));
    }
    let frames = frames::open_all(input, reading).at(path)?;
    Ok(Box::new(frames.map(|frame| Ok((frame?, None)))))
}

/// A planned frame, open again for its samples.
pub struct Opened {
    frame: Box<dyn Frame>,
    planned: Planned,
    stored: Option<Stored>,
    to: DType,
    scratch: Vec<u8>,
}

impl Opened {
    /// Opens the frame again.
    ///
    /// # Errors
    /// When it is not what it was while the command planned.
    pub fn new(planned: &Planned, reading: &Reading, to: DType) -> Result<Opened> {
        let input = &planned.input;
        let mut stored = None;
        let frame: Box<dyn Frame> = match &planned.came {
            Some(came) => {
                let frame = came.open().at(&input.path)?;
                stored = frame.stored().filter(|_| planned.rules.is_none());
                Box::new(frame)
            }
            None => frames::reopen(input, reading, &planned.facts).at(&input.path)?,
        };
        if *frame.facts() != planned.facts {
            return Err(
                Error::input("changed since the command began, so it was left out")
                    .at(&planned.input.path),
            );
        }
        Ok(Opened {
            frame,
            planned: planned.clone(),
            stored,
            to,
            scratch: Vec::new(),
        })
    }

    /// Where a cube has its samples as they are to be.
    pub fn take_stored(&mut self) -> Option<Stored> {
        self.stored.take()
    }

    /// The header as it came.
    pub fn cards(&self) -> &Cards {
        self.frame.cards()
    }

    /// CRC-32C of the samples as the cube would hold them.
    pub(super) fn check(mut self) -> Result<u32> {
        const SAMPLES: u64 = 64 << 10;
        let total = volume(&self.planned.facts.shape)?;
        let (mut check, mut done, mut buffer) = (0, 0, Vec::new());
        while done < total {
            let count = SAMPLES.min(total - done);
            buffer.resize(count as usize * self.to.size(), 0);
            self.read(done, &mut buffer)?;
            check = crc32c::crc32c_append(check, &buffer);
            done += count;
        }
        Ok(check)
    }

    /// What the cube records of the frame, but for where it went and its check.
    pub fn record(&self) -> Record {
        let facts = &self.planned.facts;
        Record {
            source: self.planned.source().into_owned(),
            part: facts.part,
            channel: facts.channel,
            file_bytes: facts.file_bytes,
            modified: nanoseconds(facts.modified),
            shape: facts.shape.clone(),
            dtype: match &self.planned.came {
                Some(came) => came.dtype.clone(),
                None => facts.dtype.name().to_string(),
            },
            cards: crate::format::ledger::cards_to_text(self.cards().as_bytes()),
            ..Record::default()
        }
    }
}

impl Samples for Opened {
    fn is_slow(&self) -> bool {
        self.frame.is_slow()
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        let path = &self.planned.input.path;
        let Some(rules) = &self.planned.rules else {
            return self.frame.read(first, out).at(path);
        };
        let from = self.planned.facts.dtype;
        self.scratch
            .resize(out.len() / self.to.size() * from.size(), 0);
        self.frame.read(first, &mut self.scratch).at(path)?;
        match convert(from, &self.scratch, self.to, out, rules).nan {
            0 => Ok(()),
            _ => Err(Error::input(format!(
                "holds NaN, and a cube of {} without BLANK has no value for it",
                self.to
            ))
            .hint("make the cube of a float type")
            .at(path)),
        }
    }
}

/// The error of a command that has bad inputs and may not go on without them;
/// `wider` is [`Plan::wider`].
pub fn refuse_bad(bad: Vec<Error>, wider: Option<DType>) -> Error {
    let others = bad.len().saturating_sub(1) as u64;
    let mut bad = bad.into_iter();
    let first = bad.next().unwrap_or_else(|| Error::input("no input"));
    let mut hints: Vec<String> = first.hint_text().map(str::to_string).into_iter().collect();
    hints.extend(wider.map(|wider| format!("a cube of --dtype {wider} holds all of them")));
    if others > 0 {
        hints.push(format!(
            "{} cannot be used either; --skip-bad goes on without them",
            count(others, "other input")
        ));
    }
    match hints.is_empty() {
        true => first,
        false => first.hint(hints.join("; ")),
    }
}
