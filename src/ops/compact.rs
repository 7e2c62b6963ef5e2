//! `cube compact`: the newest state in a new file, in the order it is read.
//!
//! Slots are positions again, patches are in the samples, and what no position
//! refers to is gone; so is the history. The old file is not touched: the new one
//! is written beside it and renamed when it is whole and synced, so readers keep
//! what they opened.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::append::now;
use super::{Progress, Stop, count, show_bytes};
use crate::engine::Coordinates;
use crate::engine::commit::Writer;
use crate::engine::edit::Edit;
use crate::engine::reread::FrameReader;
use crate::engine::snapshot::Snapshot;
use crate::engine::verify;
use crate::engine::write::{Part, Samples};
use crate::error::{Context, Error, IoContext, Result, show_path};
use crate::format::catalog::{Catalog, Command};
use crate::region::{MAX_RANK, Span};
use crate::storage::Storage;
use crate::storage::file::{Busy, FileStorage};

/// What a tile costs in memory until it is committed, about.
const TILE_COST: u64 = 256;

/// What `compact` is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do when another writer is at work.
    pub busy: Busy,
    /// Bytes of memory to use.
    pub memory: u64,
    /// The command as typed, for the history.
    pub line: String,
}

/// What `compact` did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Frames in the cube.
    pub frames: u64,
    /// Frames that lost pixels: their checks are gone.
    pub partial: u64,
    /// Frames of which no pixel was left.
    pub dropped: u64,
    /// Disk that the file took before.
    pub before: u64,
    /// Disk that it takes now.
    pub after: u64,
}

/// Rewrites a cube.
///
/// # Errors
/// Whatever stops it; the cube is then as it was.
pub fn compact(
    path: &Path,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Report> {
    // The lock is held until the new file has the name.
    let old = Arc::new(FileStorage::open_locked(path, options.busy).at(path)?);
    let storage: Arc<dyn Storage> = old.clone();
    let snapshot = Snapshot::open(storage.clone()).at(path)?;
    if let Some(notice) = snapshot.notice() {
        progress.warn(&format!("{}: {notice}", show_path(path)));
    }
    let target = std::fs::canonicalize(path)
        .doing("cannot examine")
        .at(path)?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    check_room(&snapshot, folder).at(path)?;
    let commands = snapshot.commands_before();
    progress.warn(&format!(
        "{}: {} of history end here; undo cannot go behind it",
        show_path(path),
        count(commands, "command")
    ));
    stop.begin_work();
    let mut report = Report {
        before: old.disk_bytes().at(path)?,
        ..Report::default()
    };
    let mode = std::fs::metadata(&target)
        .doing("cannot examine")
        .at(path)?;
    let mode = Permissions::from_mode(mode.permissions().mode() & 0o7777);
    let make = || -> Result<()> {
        let file = tempfile::Builder::new()
            .prefix(".cube-")
            .suffix(".part")
            .tempfile_in(folder)
            .doing("cannot create a file beside it")?;
        let kept = file.as_file().set_permissions(mode);
        kept.doing("cannot keep its permissions")?;
        let new = FileStorage::new(file.as_file().try_clone().doing("cannot create")?)?;
        // Whoever waits for the old file's lock finds this one locked too.
        new.lock(Busy::Fail)?;
        let new = Arc::new(new);
        let mut writer = create(new.clone(), &snapshot)?;
        let mut edit = writer.edit(Command {
            verb: "compact".into(),
            line: options.line.clone(),
            time: now(),
            ..Command::default()
        })?;
        edit.forget_history();
        let shape = snapshot.shape();
        let size = snapshot.catalog().dtype.size() as u64;
        let bytes = shape
            .iter()
            .fold(size, |bytes, len| bytes.saturating_mul(*len));
        progress.begin("compacting", 0, bytes);
        let done = samples(&mut edit, &snapshot, options, progress, stop)
            .and_then(|()| records(&mut edit, &snapshot, options, progress, stop, &mut report));
        progress.end();
        done?;
        edit.finish()?;
        if stop.is_set() {
            return Err(interrupted());
        }
        report.after = new.disk_bytes()?;
        file.persist(&target)
            .map_err(|error| Error::io("cannot give the new file its name", error.error))?;
        // The name is to survive a loss of power as the bytes do.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .doing("cannot sync its folder")
    };
    make().at(path)?;
    Ok(report)
}

fn interrupted() -> Error {
    Error::interrupted("interrupted").hint("the cube is as it was")
}

/// Refuses when the disk cannot hold what is in the cube.
fn check_room(snapshot: &Snapshot, folder: &Path) -> Result<()> {
    let catalog = snapshot.catalog();
    let shape = snapshot.shape();
    let tile_bytes = catalog.tile.iter().product::<u64>() * catalog.dtype.size() as u64;
    let tiles = shape
        .iter()
        .zip(&catalog.tile)
        .fold(1u64, |tiles, (len, tile)| {
            tiles.saturating_mul(len.div_ceil(*tile))
        });
    // Void costs nothing; how many tiles there are, the index knows.
    let tiles = tiles.min(verify::count_tiles(snapshot)?);
    let needed = tiles.saturating_mul(tile_bytes.next_multiple_of(crate::format::PAGE));
    let disk = rustix::fs::statvfs(folder)
        .map_err(std::io::Error::from)
        .doing("cannot ask the disk for its room")?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    match needed > free {
        true => Err(Error::input(format!(
            "compacting needs {needed} bytes on the disk ({}), but {free} are free ({})",
            show_bytes(needed),
            show_bytes(free)
        ))
        .hint("the old file stays until the new one is whole: make room, and try again")),
        false => Ok(()),
    }
}

/// Another history, so another identity.
fn create(storage: Arc<FileStorage>, snapshot: &Snapshot) -> Result<Writer> {
    let old = snapshot.catalog();
    let rank = old.axes.len();
    let mut catalog = Catalog::empty(old.dtype, old.pad, old.blank, &old.tile, rank);
    catalog.command.verb = "create".into();
    catalog.command.time = now();
    let mut id = [0; 16];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())
        .map_err(std::io::Error::from)
        .doing("cannot make an identity")?;
    Writer::create(storage, id, &catalog)
}

/// Writes all samples, a layer of tiles along the last axis at a time.
fn samples(
    edit: &mut Edit<'_>,
    snapshot: &Snapshot,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<()> {
    let mut shape: Coordinates = [1; MAX_RANK];
    shape[..snapshot.shape().len()].copy_from_slice(&snapshot.shape());
    let axis = snapshot.shape().len() - 1;
    // All slots at once, so that the index is one table.
    let mut more = shape;
    more[snapshot.shape().len()..].fill(0);
    edit.reserve(&more)?;
    if shape.contains(&0) {
        edit.place(axis, 0, &[0; MAX_RANK], &shape)?;
        return Ok(());
    }
    let most = (options.memory / 4 / TILE_COST) as usize;
    let layer = snapshot.catalog().tile[axis];
    let mut position = 0;
    while position < shape[axis] {
        let mut part = shape;
        part[axis] = layer.min(shape[axis] - position);
        let placement = edit.place(axis, position, &[0; MAX_RANK], &part)?;
        let samples = Box::new(Old {
            snapshot,
            shape: part,
            axis,
            position,
            stop,
        });
        let mut parts = [Part { placement, samples }];
        let outcomes = edit.write(&mut parts, options.memory / 4, &|bytes| {
            progress.bytes(bytes);
        })?;
        for outcome in outcomes {
            outcome?;
        }
        position += part[axis];
        if edit.uncommitted_tiles() > most {
            edit.commit()?;
        }
    }
    Ok(())
}

/// Samples of the old file, patches put over.
struct Old<'a> {
    snapshot: &'a Snapshot,
    shape: Coordinates,
    axis: usize,
    /// Where on that axis the box begins.
    position: u64,
    stop: &'a Stop,
}

impl Samples for Old<'_> {
    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        if self.stop.is_set() {
            return Err(interrupted());
        }
        let size = self.snapshot.catalog().dtype.size();
        let (mut first, mut out) = (first, out);
        while !out.is_empty() {
            let left = (out.len() / size) as u64;
            let mut rest = first;
            let mut spans = self.shape.map(|len| {
                let at = rest % len;
                rest /= len;
                Span::run(at, 1)
            });
            // Whole rows of one plane are read together.
            let row = self.shape[0];
            if spans[0].start == 0 && left >= row {
                spans[0].len = row;
                spans[1].len = (left / row).min(self.shape[1] - spans[1].start);
            } else {
                spans[0].len = left.min(row - spans[0].start);
            }
            let samples = spans[0].len * spans[1].len;
            spans[self.axis].start += self.position;
            let (now, later) = std::mem::take(&mut out).split_at_mut(samples as usize * size);
            self.snapshot.read(&spans, now)?;
            first += samples;
            out = later;
        }
        Ok(())
    }
}

/// Carries the frames' records over.
fn records(
    edit: &mut Edit<'_>,
    snapshot: &Snapshot,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
    report: &mut Report,
) -> Result<()> {
    let positions = snapshot.positions();
    let beyond: Coordinates = std::array::from_fn(|axis| snapshot.pieces(axis).len());
    let old = snapshot.catalog();
    // A check is of samples as they came in; from here on patches are among them.
    let memory = options.memory / 4;
    let mut patched = (!old.patches.is_empty()).then(|| {
        let stored = FrameReader::new(snapshot, memory);
        (FrameReader::patched(snapshot, memory), stored)
    });
    let mut skipped = [0; MAX_RANK];
    let mut header = None;
    snapshot.for_each_record(&mut |record| {
        if stop.is_set() {
            return Err(interrupted());
        }
        let (number, slots) = (record.frame, record.slots.clone());
        let Some((mut record, lost)) = positions.renumber(record, &beyond) else {
            report.dropped += 1;
            return Ok(());
        };
        for (skipped, lost) in skipped.iter_mut().zip(lost) {
            *skipped = lost.max(*skipped);
        }
        if let (Some((reader, stored)), false) = (&mut patched, record.partial) {
            let mut before = record.clone();
            before.slots = slots;
            let check = reader.check(&before, &mut |_| !stop.is_set())?;
            // A new check over damage would hide it.
            let whole = check == record.check
                || stored.check(&before, &mut |_| !stop.is_set())? == record.check;
            match whole {
                true => record.check = check,
                false => progress.warn(&format!(
                    "{}: its samples are damaged, and stay so",
                    show_path(Path::new(&record.source))
                )),
            }
        }
        report.partial += u64::from(record.partial);
        report.frames += 1;
        let new = edit.record(record, 0)?;
        if old.header_frame == Some(number) {
            header = Some(new);
        }
        Ok(())
    })?;
    edit.skip_slots(&skipped)?;
    if header.is_some() {
        edit.set_header_frame(header);
    }
    edit.command().frames = 0;
    Ok(())
}
