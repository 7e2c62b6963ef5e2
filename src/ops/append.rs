//! `cube append` and `cube insert`: frames onto an axis, at its end or anywhere
//! else. Both are one code path; they differ in where on the axis.
//!
//! Everything is planned and checked before the first byte is written. Frames
//! that go to the same tiles are written together; the state is committed now
//! and then, always between whole frames, so a command that is stopped keeps
//! what it committed.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::plan::{self, Opened, Plan, Planned, Taking, full_origin};
use super::twins::Twins;
use super::{
    Progress, Quiet, Stop, command, count, free_bytes, make_empty, show_bytes, tell_notice,
};
use crate::engine::Coordinates;
use crate::engine::commit::Writer;
use crate::engine::edit::{Edit, Placement};
use crate::engine::snapshot::Snapshot;
use crate::engine::write::Part;
use crate::error::{Context, Error, IoContext, Kind, Result, show_path};
use crate::format::catalog::Piece;
use crate::frames::list::Input;
use crate::region::{AXIS_NAMES, MAX_RANK, parse_gap, show_shape, volume};
use crate::sinks::beside::Beside;
use crate::sinks::output::folder_of;
use crate::storage::file::{Busy, FileStorage, sync_folder};

/// So long a command works before it commits what it has.
const COMMIT_EVERY: Duration = Duration::from_secs(30);

/// So many frames are open at once.
const OPEN_FRAMES: usize = 256;

/// Where frames go on the axis they join.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// After everything.
    #[default]
    End,
    /// Before everything.
    Start,
    /// Before what stands at this position, as typed: from 1, or from the end
    /// when negative.
    At(String),
}

/// What `append` is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How frames are taken in.
    pub taking: Taking,
    /// Where on the axis.
    pub place: Place,
    /// Go on without inputs that cannot be used.
    pub skip_bad: bool,
    /// Leave out frames that the cube has.
    pub resume: bool,
    /// What to do when another writer is at work.
    pub busy: Busy,
    /// Do not wait for the disk: a loss of power may cost the cube.
    pub no_sync: bool,
    /// Bytes of memory to use.
    pub memory: u64,
    /// What the history calls the command.
    pub verb: &'static str,
    /// The command as typed, for the history.
    pub line: String,
}

impl Default for Options {
    /// At the end of the axis that the frames choose, in 256 MiB.
    fn default() -> Options {
        Options {
            taking: Taking::default(),
            place: Place::End,
            skip_bad: false,
            resume: false,
            busy: Busy::Fail,
            no_sync: false,
            memory: 256 << 20,
            verb: "append",
            line: String::new(),
        }
    }
}

/// What `append` did.
#[derive(Debug, Default)]
pub struct Report {
    /// Frames added.
    pub frames: u64,
    /// The file of each, as it was named.
    pub added: Vec<String>,
    /// Bytes of samples added.
    pub bytes: u64,
    /// Frames that were there already.
    pub present: u64,
    /// Frames that were there, and were deleted.
    pub deleted: u64,
    /// Frames that did not meet the conditions.
    pub left_out: u64,
    /// Frames that were found, in all.
    pub found: u64,
    /// Inputs left out, with reasons.
    pub bad: Vec<Error>,
    /// Lengths of the cube's axes now.
    pub shape: Vec<u64>,
    /// What they were, where other axes grew, too.
    pub was: Option<Vec<u64>>,
    /// Frames added that do not have all positions of the other axes.
    pub smaller: u64,
    /// The axis that grew.
    pub axis: usize,
    /// The command made the cube.
    pub created: bool,
    /// What stopped the command before its end; what is reported was kept.
    pub stopped: Option<Error>,
}

/// Adds frames to a cube, and makes the cube when there is none.
///
/// # Errors
/// When nothing was added. A command that was stopped midway has a report that
/// says so.
pub fn append(
    path: &Path,
    inputs: &[Input],
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Report> {
    loop {
        match append_once(path, inputs, options, progress, stop) {
            // Another program made the cube meanwhile: then it is there to be added to.
            Err(error) if is_there(&error) && !leads_nowhere(path) => {}
            done => return done,
        }
    }
}

/// A cube without a name that holds the frames of a file, among temporary files: what reads
/// cubes reads any file then.
///
/// # Errors
/// When a frame cannot be used, or the file not be made.
pub(super) fn unnamed(
    path: &Path,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Snapshot> {
    let inputs = [Input::named(path)];
    let mut plan = plan::plan(&inputs, &options.taking, None, false, progress, stop)?;
    let catalog = match (&plan.new, plan.bad.is_empty()) {
        (Some(catalog), true) => catalog.clone(),
        _ => return Err(plan::refuse_bad(plan.bad, None)),
    };
    let folder = std::env::temp_dir();
    let full = |error: Error| match error.io_source().map(std::io::Error::kind) {
        Some(ErrorKind::StorageFull) => error.hint(format!(
            "it is copied to {} first, or where TMPDIR says; a cube is read where it is",
            show_path(&folder)
        )),
        _ => error,
    };
    let file = tempfile::tempfile_in(&folder).doing("cannot make a temporary file")?;
    let storage = FileStorage::new(file, path)?.synced(false);
    let mut writer = make_empty(Arc::new(storage), catalog)?;
    let mut report = Report::default();
    progress.begin("reading a mask", plan.frames.len() as u64, 0);
    let done = run(
        path,
        &mut writer,
        &mut plan,
        options,
        &Quiet,
        stop,
        &mut report,
    );
    progress.end();
    done.map_err(full)?;
    match report.stopped {
        Some(error) => Err(full(error)),
        None => writer.snapshot(),
    }
}

fn append_once(
    path: &Path,
    inputs: &[Input],
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Report> {
    if inputs.is_empty() && !options.resume {
        return Err(Error::input("no frames were named").hint(
            "name them as arguments, in a file with @LIST, or on stdin with --files-from -",
        ));
    }
    let mut writer = match FileStorage::open_locked(path, options.busy) {
        Ok(storage) => {
            let storage = Arc::new(storage.synced(!options.no_sync));
            let opened = Writer::open(storage).map_err(explain_not_a_cube);
            Some(opened.at(path)?)
        }
        Err(error) if is_missing(&error) => None,
        Err(error) => return Err(error.at(path)),
    };
    tell_notice(path, writer.as_ref().and_then(Writer::notice), progress);
    let before = writer.as_ref().map(Writer::snapshot).transpose().at(path)?;
    let mut plan = plan::plan(
        inputs,
        &options.taking,
        before.as_ref(),
        options.resume,
        progress,
        stop,
    )
    .at(path)?;
    if !plan.bad.is_empty() && !options.skip_bad {
        return Err(plan::refuse_bad(std::mem::take(&mut plan.bad), plan.wider));
    }
    let mut report = Report {
        present: plan.present.len() as u64,
        deleted: plan.deleted,
        left_out: plan.left_out,
        found: plan.found,
        bad: std::mem::take(&mut plan.bad),
        axis: plan.axis,
        ..Report::default()
    };
    if plan.frames.is_empty() {
        report.shape = before.map(|before| before.shape()).unwrap_or_default();
        return Ok(report);
    }
    check_origin(&options.taking, plan.axis).at(path)?;
    warn_of_blank(path, &plan, progress);
    if let Some(before) = &before {
        warn_of_small_tiles(path, before, &plan, progress);
    }
    stop.begin_work();
    let (writer, made) = match &mut writer {
        Some(writer) => (writer, None),
        none => {
            let (made, file) = create(path, &plan, options.no_sync)?;
            report.created = true;
            (none.insert(made), Some(file))
        }
    };
    let done = run(
        path,
        writer,
        &mut plan,
        options,
        progress,
        stop,
        &mut report,
    )
    .at(path);
    if let Some(made) = made.filter(|_| report.frames == 0) {
        // A cube that this command made and put nothing in was not there before.
        let _ = std::fs::remove_file(made);
        report.created = false;
        report.shape.clear();
    }
    match done {
        Ok(()) => Ok(report),
        // What is committed is kept, and said.
        Err(error) if report.frames > 0 => {
            report.stopped.get_or_insert(error);
            Ok(report)
        }
        Err(error) => Err(error),
    }
}

/// Tiles made for tiny frames serve large ones badly, and cannot be changed.
fn warn_of_small_tiles(path: &Path, before: &Snapshot, plan: &Plan, progress: &dyn Progress) {
    const SMALL: u64 = 1024;
    const MANY: u64 = 4096;
    let tile = &before.catalog().tile;
    let layer = tile[0] * tile[1];
    let largest = plan.frames.iter().map(|frame| {
        let shape = frame.shape();
        shape[0].saturating_mul(shape[1])
    });
    let largest = largest.max().unwrap_or(0);
    if plan.axis > 1 && layer <= SMALL && largest > layer.saturating_mul(MANY) {
        progress.warn(&format!(
            "{}: its tiles are {}, made for frames smaller than these: it will be slow and large; \
             a new cube would have other tiles, and --tile sets them",
            show_path(path),
            show_shape(&tile[..before.shape().len()])
        ));
    }
}

/// A disk that cannot hold so many bytes more is better known of at once than in the night.
fn warn_of_room(path: &Path, bytes: u64, progress: &dyn Progress) {
    let free = room(path);
    if bytes > free {
        progress.warn(&format!(
            "{}: the frames take {}, and its disk has {} left: what is whole when it is full is kept, \
             and --resume goes on from there",
            show_path(path),
            show_bytes(bytes),
            show_bytes(free)
        ));
    }
}

/// Bytes that the disk of a cube has left; one that does not tell may have any.
fn room(path: &Path) -> u64 {
    free_bytes(path).unwrap_or(u64::MAX)
}

/// A value that means "no data" means it everywhere in a cube.
fn warn_of_blank(path: &Path, plan: &Plan, progress: &dyn Progress) {
    let Some(blank) = plan.blank else {
        return;
    };
    let name = show_path(path);
    if plan.new_blank {
        progress.warn(&format!(
            "{name}: frames now say BLANK is {blank}; so it is for the whole cube, also where frames \
             that came before have this value"
        ));
    }
    if plan.without_blank > 0 {
        progress.warn(&format!(
            "{name}: {} without BLANK: where a sample is {blank}, the cube has no data",
            count(plan.without_blank, "frame")
        ));
    }
}

fn explain_not_a_cube(error: Error) -> Error {
    match error.kind() {
        Kind::Input if error.hint_text().is_none() => {
            error.hint("the first name is the cube's: cube append CUBE FRAME...")
        }
        _ => error,
    }
}

fn is_missing(error: &Error) -> bool {
    error.io_source().map(std::io::Error::kind) == Some(ErrorKind::NotFound)
}

/// Is it a link to what does not exist?
fn leads_nowhere(path: &Path) -> bool {
    path.is_symlink() && !path.exists()
}

fn is_there(error: &Error) -> bool {
    error.io_source().map(std::io::Error::kind) == Some(ErrorKind::AlreadyExists)
}

/// The origin is for the axes that are not grown.
fn check_origin(taking: &Taking, axis: usize) -> Result<()> {
    match taking.origin.get(axis) {
        Some(1..) => Err(Error::input(format!(
            "--origin gives a position on {}, the axis that grows",
            AXIS_NAMES[axis]
        ))
        .hint("give 1 there; --origin places frames on the other axes")),
        _ => Ok(()),
    }
}

/// Makes an empty cube under its final name, in one step.
fn create(path: &Path, plan: &Plan, no_sync: bool) -> Result<(Writer, PathBuf)> {
    let catalog = plan
        .new
        .as_ref()
        .ok_or_else(|| Error::input("no frame says what the cube is to hold"))?;
    let folder = folder_of(path);
    let make = || -> Result<Writer> {
        let file = Beside::new(folder, 0o666)
            .doing("cannot create")
            .map_err(|error| match is_missing(&error) {
                true => error.hint("the folder it is to be in does not exist"),
                false => error,
            })?;
        let storage = FileStorage::new(file.file().try_clone().doing("cannot create")?, path)?;
        storage.lock(Busy::Fail)?;
        let storage = Arc::new(storage.synced(!no_sync));
        let writer = make_empty(storage, catalog.clone())?;
        file.put(path, false)
            .doing("cannot create")
            .map_err(|error| match is_there(&error) {
                true => error.hint("a link of this name leads nowhere"),
                false => error,
            })?;
        // The name is to survive a loss of power as the bytes do.
        if !no_sync && let Err(error) = sync_folder(folder) {
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        Ok(writer)
    };
    Ok((make().at(path)?, path.to_path_buf()))
}

fn run(
    path: &Path,
    writer: &mut Writer,
    plan: &mut Plan,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
    report: &mut Report,
) -> Result<()> {
    let mut edit = writer.edit(command(options.verb, &options.line))?;
    let done = work(path, &mut edit, plan, options, progress, stop, report);
    match done {
        Ok(written) if written.frames == 0 => {
            edit.abandon();
            report.shape = written.before;
            Ok(())
        }
        Ok(mut written) => {
            let shape = edit.shape();
            edit.finish()?;
            written.tell(shape, plan.axis, report);
            Ok(())
        }
        Err(error) => {
            edit.abandon();
            Err(error)
        }
    }
}

/// Writes all frames; returns what was written.
fn work(
    path: &Path,
    edit: &mut Edit<'_>,
    plan: &mut Plan,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
    report: &mut Report,
) -> Result<Written> {
    let twins = std::mem::take(&mut plan.twins);
    let plan = &*plan;
    let origin = full_origin(&options.taking.origin);
    edit.set_blank(plan.blank);
    let rank = plan
        .frames
        .iter()
        .map(|frame| frame.facts.shape.len())
        .max();
    edit.set_rank(rank.unwrap_or(0));
    reserve(edit, plan, &origin)?;
    let size = edit.catalog().dtype.size() as u64;
    let mut bytes = 0u64;
    for frame in &plan.frames {
        bytes = bytes.saturating_add(volume(&frame.shape())?.saturating_mul(size));
    }
    let disk = plan
        .frames
        .iter()
        .map(|frame| disk_of(edit, frame, plan.axis, false));
    warn_of_room(path, disk.fold(0, u64::saturating_add), progress);
    progress.begin("appending", plan.frames.len() as u64, bytes);
    let mut job = Run {
        plan,
        options,
        origin,
        progress,
        position: match &options.place {
            Place::End => edit.len(plan.axis),
            Place::Start => plan.behind_present(0),
            Place::At(text) => {
                plan.behind_present(parse_gap(text, plan.axis, edit.len(plan.axis))?)
            }
        },
        written: Written {
            before: edit.shape(),
            ..Written::default()
        },
        twins,
        bad: Vec::new(),
    };
    let mut committed = Instant::now();
    let mut queue = plan.frames.as_slice();
    while !queue.is_empty() {
        if stop.is_set() {
            report.stopped = Some(Error::interrupted("interrupted").at(path));
            break;
        }
        let together = job.batch_len(edit, queue);
        // Near the end of a disk each frame is kept as soon as it is whole.
        let disk = queue[..together]
            .iter()
            .map(|frame| disk_of(edit, frame, plan.axis, true));
        let is_tight = room(path) / 2 < disk.max().unwrap_or(0);
        if is_tight {
            edit.save_disk();
        }
        let (batch, rest) = queue.split_at(if is_tight { 1 } else { together });
        queue = rest;
        if let Some(error) = job.write(edit, batch)? {
            report.stopped = Some(error);
            break;
        }
        if (is_tight || committed.elapsed() > COMMIT_EVERY) && !queue.is_empty() {
            edit.commit()?;
            job.report(edit, report);
            committed = Instant::now();
        }
    }
    progress.end();
    if job.written.frames == 0 {
        match report.stopped.take() {
            Some(error) if error.kind() == Kind::Interrupted => {
                return Err(error.hint("nothing was added"));
            }
            Some(error) => return Err(error),
            // They are named in the report.
            None if options.skip_bad => {}
            None => return Err(plan::refuse_bad(job.bad, None)),
        }
    }
    job.twins.tell(progress);
    report.bad.append(&mut job.bad);
    Ok(job.written)
}

/// Bytes of disk that a frame takes: tiles are as wide as they are, but on the axis it
/// joins. With `all`, what its tiles take there, too.
fn disk_of(edit: &Edit<'_>, frame: &Planned, axis: usize, all: bool) -> u64 {
    let catalog = edit.catalog();
    let shape = frame.shape();
    let lens = shape.iter().zip(&catalog.tile).enumerate();
    lens.fold(
        catalog.dtype.size() as u64,
        |bytes, (other, (&len, &tile))| {
            let whole = len.checked_next_multiple_of(tile).unwrap_or(u64::MAX);
            bytes.saturating_mul(if other == axis && !all { len } else { whole })
        },
    )
}

/// Hands out all slots at once, so that the disk is asked once.
fn reserve(edit: &mut Edit<'_>, plan: &Plan, origin: &[u64; MAX_RANK]) -> Result<()> {
    let mut more = plan.extents(origin);
    for (axis, more) in more.iter_mut().enumerate() {
        if axis != plan.axis {
            *more = more.saturating_sub(edit.len(axis));
        }
        if *more > 0 {
            let after = edit.len(axis).saturating_add(*more);
            edit.check_len(axis, after, axis == plan.axis)?;
        }
    }
    edit.reserve(&more)
}

/// The work of one command.
struct Run<'a> {
    plan: &'a Plan,
    options: &'a Options,
    origin: [u64; MAX_RANK],
    progress: &'a dyn Progress,
    /// Where the next frame goes on the axis.
    position: u64,
    written: Written,
    twins: Twins,
    bad: Vec<Error>,
}

/// What a command has written so far.
#[derive(Default)]
struct Written {
    frames: u64,
    /// The files of those that no report has yet.
    sources: Vec<String>,
    bytes: u64,
    /// How many frames there are of each shape.
    shapes: HashMap<Coordinates, u64>,
    /// Lengths of the axes before.
    before: Vec<u64>,
}

impl Written {
    /// Tells of it in the report of a cube that has this shape now.
    fn tell(&mut self, shape: Vec<u64>, axis: usize, report: &mut Report) {
        let is_same = |lens: &[u64]| {
            let others = shape.iter().enumerate().filter(|&(other, _)| other != axis);
            let mut others = others.map(|(other, &len)| (lens.get(other).copied(), len));
            others.all(|(had, len)| had.unwrap_or(1) == len)
        };
        let smaller = self.shapes.iter().filter(|(shape, _)| !is_same(&shape[..]));
        report.smaller = smaller.map(|(_, frames)| frames).sum();
        let is_grown = !self.before.contains(&0) && !is_same(&self.before);
        report.was = is_grown.then(|| self.before.clone());
        (report.frames, report.bytes) = (self.frames, self.bytes);
        report.added.append(&mut self.sources);
        report.shape = shape;
    }
}

impl Run<'_> {
    /// How many of the next frames go to the same tiles.
    fn batch_len(&self, edit: &Edit<'_>, queue: &[Planned]) -> usize {
        let room = edit.room_in_tile(self.plan.axis);
        let (mut len, mut filled) = (0, 0u64);
        while len < queue.len().min(OPEN_FRAMES) && filled < room {
            filled = filled.saturating_add(queue[len].shape()[self.plan.axis]);
            len += 1;
        }
        len
    }

    /// Writes a batch; returns what stops the command after it.
    fn write(&mut self, edit: &mut Edit<'_>, batch: &[Planned]) -> Result<Option<Error>> {
        let dtype = edit.catalog().dtype;
        let before = edit.lens();
        let mut stopped = None;
        let mut records = Vec::new();
        let mut parts = Vec::new();
        let mut reaches = Vec::new();
        let mut end = self.position;
        for planned in batch {
            match Opened::new(planned, &self.options.taking.reading, dtype) {
                Ok(mut opened) => {
                    let shape = planned.shape();
                    let axis = self.plan.axis;
                    let origin = planned.origin(&self.origin, axis);
                    let placement = edit.place(axis, end, &origin, &shape)?;
                    end += shape[axis];
                    reaches.push(std::array::from_fn(|axis| origin[axis] + shape[axis]));
                    records.push((opened.record(), volume(&shape)? * dtype.size() as u64));
                    parts.push(Part {
                        stored: opened.take_stored(),
                        ..Part::new(placement, opened)
                    });
                }
                Err(error) if self.options.skip_bad => self.bad.push(error),
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            }
        }
        let progress = self.progress;
        let outcomes = edit.write(&mut parts, self.options.memory / 2, &|bytes| {
            progress.bytes(bytes);
        })?;
        // Frames that failed are taken out from the last on, so that positions hold.
        let mut kept: Vec<Option<u32>> = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            match outcome {
                Ok(check) if stopped.is_none() || self.options.skip_bad => kept.push(Some(check)),
                Ok(_) => kept.push(None),
                Err(error) if self.options.skip_bad => {
                    self.bad.push(error);
                    kept.push(None);
                }
                Err(error) => {
                    stopped = Some(error);
                    kept.push(None);
                }
            }
        }
        for (part, kept) in parts.iter().zip(&kept).rev() {
            let placement = &part.placement;
            let len = placement.shape()[placement.axis];
            match kept {
                Some(_) => self.position += len,
                None => edit.delete(placement.axis, placement.position, len),
            }
        }
        self.take_back_growth(edit, &before, &reaches, &kept);
        for (((mut record, bytes), part), check) in records.into_iter().zip(&parts).zip(kept) {
            let Some(check) = check else { continue };
            record.axis = part.placement.axis;
            record.slots = slots(&part.placement);
            record.check = check;
            self.twins.come(&record, bytes);
            self.written.sources.push(record.source.clone());
            edit.record(record, bytes)?;
            self.written.frames += 1;
            self.written.bytes += bytes;
            let shapes = &mut self.written.shapes;
            *shapes.entry(part.placement.shape()).or_default() += 1;
            self.progress.frames(1);
        }
        Ok(stopped)
    }

    /// Shortens the other axes to what the frames that were kept need.
    fn take_back_growth(
        &self,
        edit: &mut Edit<'_>,
        before: &[u64; MAX_RANK],
        reaches: &[Coordinates],
        kept: &[Option<u32>],
    ) {
        for axis in (0..MAX_RANK).filter(|&axis| axis != self.plan.axis) {
            let kept = reaches.iter().zip(kept).filter(|(_, kept)| kept.is_some());
            let needed = kept
                .map(|(reach, _)| reach[axis])
                .max()
                .unwrap_or(0)
                .max(before[axis]);
            if needed < edit.len(axis) {
                edit.delete(axis, needed, edit.len(axis) - needed);
            }
        }
    }

    fn report(&mut self, edit: &Edit<'_>, report: &mut Report) {
        self.written.tell(edit.shape(), self.plan.axis, report);
    }
}

fn slots(placement: &Placement) -> Vec<Vec<Piece>> {
    let runs = placement.slots.iter();
    runs.map(|runs| runs.iter().map(|run| Piece(run.slot, run.len)).collect())
        .collect()
}

impl Report {
    /// One line that says what was done.
    pub fn show(&self) -> String {
        let mut text = format!("{} added", count(self.frames, "frame"));
        if self.smaller > 0 {
            text += &format!(", {} smaller than the cube", self.smaller);
        }
        if self.present > 0 {
            text += &format!(", {} there already", self.present);
        }
        if self.deleted > 0 {
            text += &format!(", {} deleted before", self.deleted);
        }
        if self.left_out > 0 {
            text += &format!(", {} did not pass --where", self.left_out);
        }
        if !self.bad.is_empty() {
            text += &format!(", {} left out", self.bad.len());
        }
        text
    }
}
