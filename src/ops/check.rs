//! `cube check`: is the cube what it was when it was written?
//!
//! The structure is always looked at. `--deep` reads every frame again from its
//! slots, on all cores, and holds it against the check taken when it came in.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::crew::{Worker, share};
use super::{Progress, Stop};
use crate::engine::records::Positions;
use crate::engine::reread::FrameReader;
use crate::engine::snapshot::Snapshot;
use crate::engine::verify::{self, Fault};
use crate::engine::void::Owned;
use crate::error::{Context, Result};
use crate::format::ledger::Record;
use crate::storage::Storage;
use crate::storage::file::FileStorage;
use crate::turns::lock;

/// More problems are counted, but not told.
const MOST_TOLD: u64 = 10_000;

/// What `check` is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Hold every frame's samples against its check.
    pub deep: bool,
    /// Bytes of memory to use.
    pub memory: u64,
}

/// One thing that is wrong. Its JSON form is stable: `docs/guide.md`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Problem {
    /// It may well be in order: what a loss of power leaves.
    pub notice: bool,
    /// What is wrong.
    pub what: String,
    /// The frame it was found in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<FrameName>,
    /// Tiles concerned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiles: Vec<TileName>,
    /// Ranges of the file concerned: first byte and length.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bytes: Vec<(u64, u64)>,
}

/// A frame, so that it can be found.
#[derive(Clone, Debug, Serialize)]
pub struct FrameName {
    /// Its number in order of arrival, from 1.
    pub number: u64,
    /// Where it came from.
    pub source: String,
    /// Which HDU of that file, from 0.
    pub hdu: u32,
    /// The axis it joined.
    pub axis: String,
    /// Its first position there, from 1; none when it was taken out.
    pub position: Option<u64>,
}

/// A tile: its coordinates and where it is in the file.
#[derive(Clone, Debug, Serialize)]
pub struct TileName {
    /// Its coordinates, in tiles, from 0, x first.
    pub tile: Vec<u64>,
    /// Its first byte; none when that is what was lost.
    pub at: Option<u64>,
}

/// What was looked at. Its JSON form is stable: `docs/guide.md`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Report {
    /// The commit that was looked at; none when it cannot be opened.
    pub generation: Option<u64>,
    /// Commands that undo could go back to, this one counted.
    pub commands: u64,
    /// Frames in the ledger.
    pub frames: u64,
    /// Frames whose samples were held against their checks.
    pub verified: u64,
    /// Tiles.
    pub tiles: u64,
    /// Problems found.
    pub problems: u64,
    /// What need not be a problem, but may: a superblock that does not hold.
    pub notices: u64,
}

/// Checks a cube; `each` is told of every problem as it is found.
///
/// # Errors
/// When the file is not a cube or cannot be read, or `each` fails.
pub fn check(
    path: &Path,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
    each: &mut dyn FnMut(&Problem) -> Result<()>,
) -> Result<Report> {
    let file = FileStorage::open(path).at(path)?;
    let storage: Arc<dyn Storage> = Arc::new(file);
    let mut report = Report::default();
    let mut tell = |problem: Problem, report: &mut Report| {
        match problem.notice {
            true => report.notices += 1,
            false => report.problems += 1,
        }
        match report.problems <= MOST_TOLD {
            true => each(&problem),
            false => Ok(()),
        }
    };
    let (snapshot, seen) = verify::structure(&storage, options.memory, &mut |fault| {
        tell(problem(fault, None), &mut report)
    })
    .at(path)?;
    report.tiles = seen.tiles;
    report.commands = seen.catalogs;
    let Some(snapshot) = snapshot else {
        return Ok(report);
    };
    report.generation = Some(snapshot.catalog().generation);
    report.frames = snapshot.catalog().next_frame;
    if options.deep {
        let positions = snapshot.positions();
        stop.begin_work();
        let mut owned = Owned::new(&snapshot);
        let size = snapshot.catalog().dtype.size() as u64;
        let (mut records, mut bytes) = (0, 0u64);
        for record in snapshot.readable() {
            owned.add(&record);
            let samples = record.samples().unwrap_or(0);
            bytes = bytes.saturating_add(samples.saturating_mul(size));
            records += 1;
        }
        // Where something is amiss already, what frames brought is not known.
        let count = report.problems == 0 && !owned.is_filled();
        progress.begin("checking", report.frames, bytes);
        let each = &mut |(record, fault): (Record, Option<Fault>)| {
            report.verified += u64::from(!record.partial);
            fault.map_or(Ok(()), |fault| {
                let of = Some((&record, &snapshot, &positions));
                tell(problem(fault, of), &mut report)
            })
        };
        let done = deep(&snapshot, records, count, options, progress, stop, each);
        progress.end();
        let present = done.at(path)?;
        if count {
            progress.begin("checking void", 0, 0);
            let go_on = |bytes: u64| {
                progress.bytes(bytes);
                stop.go_on()
            };
            let fault = owned.fault(&snapshot, present, &go_on);
            progress.end();
            if let Some(fault) = fault.at(path)? {
                tell(problem(fault, None), &mut report)?;
            }
        }
    }
    Ok(report)
}

/// Verifies the frames that can be read, as many as are said, on as many threads as
/// there are cores; says, when it is to count them, how many samples other than pad
/// there are.
fn deep(
    snapshot: &Snapshot,
    frames: u64,
    count: bool,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
    each: &mut dyn FnMut((Record, Option<Fault>)) -> Result<()>,
) -> Result<u64> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = workers.min(8);
    let memory = options.memory / 2 / workers as u64;
    let records = Mutex::new(snapshot.readable());
    let checker = || {
        let mut reader = FrameReader::new(snapshot, memory);
        if count {
            reader.count_present();
        }
        Checker {
            reader,
            records: &records,
            progress,
            stop,
        }
    };
    let workers = std::iter::repeat_with(checker).take(workers).collect();
    let workers = share(workers, 0..frames, each)?;
    stop.go_on()?;
    Ok(workers.iter().map(|worker| worker.reader.present()).sum())
}

/// Verifies frames, whichever is the next one.
struct Checker<'c, R> {
    reader: FrameReader,
    records: &'c Mutex<R>,
    progress: &'c dyn Progress,
    stop: &'c Stop,
}

impl<R: Iterator<Item = Record> + Send> Worker for Checker<'_, R> {
    type Found = (Record, Option<Fault>);

    fn unit(&mut self, _: u64, send: &mut dyn FnMut(Self::Found) -> bool) -> Result<()> {
        self.stop.go_on()?;
        let Some(record) = lock(self.records).next() else {
            return Ok(());
        };
        let fault = self.reader.verify(&record, &|bytes| {
            self.progress.bytes(bytes);
            self.stop.go_on()
        })?;
        self.progress.frames(1);
        send((record, fault));
        Ok(())
    }
}

/// What is wrong, with a frame where it is one that it is with.
fn problem(fault: Fault, of: Option<(&Record, &Snapshot, &Positions)>) -> Problem {
    let frame = of.map(|(record, _, positions)| FrameName {
        number: record.frame + 1,
        source: record.source.clone(),
        hdu: record.part,
        axis: crate::region::AXIS_NAMES[record.axis].to_string(),
        position: positions
            .of(record)
            .map(|(first, _)| first[record.axis] + 1),
    });
    let rank = of.map_or(3, |(_, snapshot, _)| snapshot.shape().len());
    let tiles = fault.tiles.iter().map(|(tile, at)| {
        let used = tile
            .iter()
            .rposition(|&at| at > 0)
            .map_or(0, |last| last + 1);
        TileName {
            tile: tile[..used.max(rank)].to_vec(),
            at: (*at > 0).then_some(*at),
        }
    });
    Problem {
        notice: fault.notice,
        what: fault.what,
        frame,
        tiles: tiles.collect(),
        bytes: fault.bytes,
    }
}
