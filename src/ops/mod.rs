//! The verbs: options in, report out, progress beside.
//!
//! Here frames, sinks and the engine meet; none of them knows the others.
//!
//! * [`append`]: frames onto an axis; its planning is in [`plan`], what it
//!   leaves out when it is run again in [`resume`], and cubes as sources in
//!   `cube_frame`.
//! * [`arrange`]: positions taken away, moved and sorted.
//! * [`frames`]: the frames of a cube as they are now, and which of them are meant.
//! * [`history`]: what was done, and how to undo it.
//! * [`check`]: is a cube damaged?
//! * [`clean`]: outliers along an axis, replaced; `crew` shares the work between
//!   threads, `lanes` the memory.
//! * [`combine`]: an axis collapsed to a frame.
//! * [`bad`]: masks of samples that neither of them counts.
//! * [`part`]: a part of a clean or of a combine, done by itself.
//! * [`compact`]: a cube in reading order, without its history.
//! * [`info`]: what a cube holds.
//! * [`in_place`]: a cube as Zarr readers see it, `coordinates` its frames.
//! * [`mod@slice`]: cuts through it; [`each`] makes a file of every position, `profiles`
//!   names positions, `sheet` puts planes side by side, `mosaic` makes headers, and tells
//!   whether frames side by side have coordinates in common.

#![allow(
    clippy::cast_possible_truncation,
    reason = "pointers have 64 bits (lib.rs), so usize and u64 hold the same numbers"
)]

pub mod append;
pub mod arrange;
pub mod bad;
pub mod check;
pub mod clean;
pub mod combine;
pub mod compact;
mod coordinates;
mod crew;
mod cube_frame;
pub mod each;
pub mod frames;
mod frames_table;
pub mod history;
pub mod in_place;
pub mod info;
mod lanes;
mod mosaic;
pub mod part;
pub mod plan;
mod profiles;
pub mod resume;
mod sheet;
pub mod slice;
mod spill;
mod twins;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::commit::Writer;
use crate::engine::edit::Edit;
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, IoContext, Result, show_path};
use crate::format::catalog::{Catalog, Command};
use crate::storage::file::{Busy, FileStorage};

/// Told how far a command is, by any of its threads; every method may be called often.
pub trait Progress: Sync {
    /// A phase begins: what it does, and how many frames and bytes it has.
    fn begin(&self, phase: &str, frames: u64, bytes: u64);
    /// Bytes that were done.
    fn bytes(&self, bytes: u64);
    /// Frames that were done.
    fn frames(&self, frames: u64);
    /// The phase is over.
    fn end(&self);
    /// Something the user should know, beside the report.
    fn warn(&self, message: &str);
    /// Something that completes a result, and is no warning.
    fn tell(&self, _message: &str) {}
}

/// A progress that nobody watches.
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _phase: &str, _frames: u64, _bytes: u64) {}
    fn bytes(&self, _bytes: u64) {}
    fn frames(&self, _frames: u64) {}
    fn end(&self) {}
    fn warn(&self, _message: &str) {}
}

/// How a command learns that it is to stop. Until it begins to work it may be
/// ended at any moment; from then on it looks at this between frames.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    working: Arc<AtomicBool>,
}

impl Stop {
    /// Was the command asked to stop?
    pub fn is_set(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Fails when the command was asked to stop.
    pub fn go_on(&self) -> Result<()> {
        match self.is_set() {
            true => Err(Error::interrupted("interrupted")),
            false => Ok(()),
        }
    }

    /// Asks the command to stop; false when it has nothing to finish, or was
    /// asked before, and may simply be ended.
    pub fn ask(&self) -> bool {
        !self.asked.swap(true, Ordering::SeqCst) && self.working.load(Ordering::SeqCst)
    }

    /// From here on the command has something to finish.
    pub fn begin_work(&self) {
        self.working.store(true, Ordering::SeqCst);
    }
}

/// Opens the newest commit of a cube.
pub fn open(path: &Path, progress: &dyn Progress) -> Result<(Arc<FileStorage>, Snapshot)> {
    let storage = Arc::new(FileStorage::open(path).map_err(explain_missing).at(path)?);
    let snapshot = Snapshot::open(storage.clone()).at(path)?;
    tell_notice(path, snapshot.notice(), progress);
    Ok((storage, snapshot))
}

/// Opens a cube that is there for writing.
fn open_to_write(path: &Path, busy: Busy, progress: &dyn Progress) -> Result<Writer> {
    let storage = FileStorage::open_locked(path, busy).at(path)?;
    let writer = Writer::open(Arc::new(storage)).at(path)?;
    tell_notice(path, writer.notice(), progress);
    Ok(writer)
}

/// Lets `work` change a cube, and commits what it made where it says that there is
/// something; else the cube is as it was.
fn change<T>(
    path: &Path,
    verb: &str,
    busy: Busy,
    line: &str,
    progress: &dyn Progress,
    work: impl FnOnce(&Snapshot, &mut Edit<'_>) -> Result<(bool, T)>,
) -> Result<T> {
    let mut writer = open_to_write(path, busy, progress)?;
    let snapshot = writer.snapshot().at(path)?;
    let mut edit = writer.edit(command(verb, line)).at(path)?;
    match work(&snapshot, &mut edit) {
        Ok((is_changed, done)) => {
            if is_changed {
                edit.finish().at(path)?;
            }
            Ok(done)
        }
        Err(error) => {
            edit.abandon();
            Err(error).at(path)
        }
    }
}

/// A command that begins now, for the history.
fn command(verb: &str, line: &str) -> Command {
    Command {
        verb: verb.into(),
        line: line.into(),
        time: now(),
        ..Command::default()
    }
}

/// This moment, RFC 3339 in UTC, to the second.
fn now() -> String {
    let now = jiff::Timestamp::now();
    let whole = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    whole.to_string()
}

fn tell_notice(path: &Path, notice: Option<&str>, progress: &dyn Progress) {
    if let Some(notice) = notice {
        progress.warn(&format!("{}: {notice}", show_path(path)));
    }
}

/// Makes an empty cube in an empty file, with an identity of its own.
fn make_empty(storage: Arc<FileStorage>, mut catalog: Catalog) -> Result<Writer> {
    let mut id = [0; 16];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())
        .map_err(std::io::Error::from)
        .doing("cannot make an identity")?;
    catalog.command.verb = "create".into();
    catalog.command.time = now();
    Writer::create(storage, id, &catalog)
}

fn explain_missing(error: Error) -> Error {
    match error.io_source().map(std::io::Error::kind) {
        Some(std::io::ErrorKind::NotFound) => {
            error.hint("cube append makes a cube from its first frames")
        }
        _ => error,
    }
}

/// Bytes that may still be used of the disk that a file or a folder is on.
fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Bytes as people read them: `6.7 GB`.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if value < 9.995 => format!("{value:.2} {}", UNITS[unit]),
        _ if value < 99.95 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// `1 frame`, `2 frames`.
pub fn count(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_with_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (999_499, "999 kB"),
            (999_600, "1.00 MB"),
            (6_710_886_400, "6.71 GB"),
            (12_345_678, "12.3 MB"),
        ] {
            assert_eq!(show_bytes(bytes), text);
        }
    }
}
