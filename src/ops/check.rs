//! `cube check`: is the cube what it was when it was written?
//!
//! The structure is always looked at. `--deep` reads every frame again from its
//! slots, on all cores, and holds it against the check taken when it came in.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::{Progress, Stop};
use crate::engine::records::Positions;
use crate::engine::reread::FrameReader;
use crate::engine::snapshot::Snapshot;
use crate::engine::verify::{self, Fault};
use crate::engine::void::Owned;
use crate::error::{Context, Error, Result};
use crate::format::ledger::Record;
use crate::storage::Storage;
use crate::storage::file::FileStorage;
use crate::turns::{lock, spawn};

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
        tell(problem(fault, None, None), &mut report)
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
        let bytes = ledger_bytes(&snapshot, &mut owned)?;
        // Where something is amiss already, what frames brought is not known.
        let count = report.problems == 0 && !owned.is_filled();
        progress.begin("checking", report.frames, bytes);
        let done = deep(&snapshot, options, count, progress, stop, &mut |event| {
            report.verified += u64::from(!event.0.partial);
            match event {
                (_, None) => Ok(()),
                (record, Some(fault)) => tell(
                    problem(fault, Some(&record), Some((&snapshot, &positions))),
                    &mut report,
                ),
            }
        });
        progress.end();
        let present = done.at(path)?;
        if count {
            progress.begin("checking void", 0, 0);
            let go_on = |bytes: u64| {
                progress.bytes(bytes);
                match stop.is_set() {
                    true => Err(stopped()),
                    false => Ok(()),
                }
            };
            let fault = owned.fault(&snapshot, present, &go_on);
            progress.end();
            if let Some(fault) = fault.at(path)? {
                tell(problem(fault, None, None), &mut report)?;
            }
        }
    }
    Ok(report)
}

fn stopped() -> Error {
    Error::interrupted("interrupted")
}

/// Bytes of all frames' samples; the frames' slots are added to those owned.
fn ledger_bytes(snapshot: &Snapshot, owned: &mut Owned) -> Result<u64> {
    let size = snapshot.catalog().dtype.size() as u64;
    let mut bytes = 0u64;
    snapshot.for_each_readable(&mut |record| {
        owned.add(&record);
        let samples = record.samples().unwrap_or(0);
        bytes = bytes.saturating_add(samples.saturating_mul(size));
        Ok(())
    })?;
    Ok(bytes)
}

enum Event {
    Bytes(u64),
    Frame(Box<Record>, Option<Fault>),
}

/// Verifies every frame that has a check, on as many threads as there are cores;
/// says, when it is to count them, how many samples other than pad there are.
fn deep(
    snapshot: &Snapshot,
    options: &Options,
    count: bool,
    progress: &dyn Progress,
    stop: &Stop,
    each: &mut dyn FnMut((Record, Option<Fault>)) -> Result<()>,
) -> Result<u64> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = workers.min(8);
    let memory = options.memory / 2 / workers as u64;
    let present = AtomicU64::new(0);
    let all_present = &present;
    let (feed, records) = mpsc::sync_channel::<Record>(2 * workers);
    let records = Arc::new(Mutex::new(records));
    let (tell, events) = mpsc::sync_channel::<Event>(64);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (records, tell) = (records.clone(), tell.clone());
            spawn(scope, move || {
                let mut reader = FrameReader::new(snapshot, memory);
                if count {
                    reader.count_present();
                }
                let more = |bytes: u64| match stop.is_set() {
                    true => Err(stopped()),
                    false => tell.send(Event::Bytes(bytes)).map_err(|_| stopped()),
                };
                loop {
                    let next = lock(&records).recv();
                    let Ok(record) = next else {
                        all_present.fetch_add(reader.present(), Ordering::Relaxed);
                        return;
                    };
                    let Ok(fault) = reader.verify(&record, &more) else {
                        return;
                    };
                    if tell.send(Event::Frame(Box::new(record), fault)).is_err() {
                        return;
                    }
                }
            })?;
        }
        drop((tell, records));
        spawn(scope, move || {
            // Ends early when nobody takes records any more: they know why.
            let _ = snapshot.for_each_readable(&mut |mut record| {
                record.cards = String::new();
                feed.send(record).map_err(|_| stopped())
            });
        })?;
        for event in events {
            match event {
                Event::Bytes(bytes) => progress.bytes(bytes),
                Event::Frame(record, fault) => {
                    progress.frames(1);
                    each((*record, fault))?;
                }
            }
        }
        match stop.is_set() {
            true => Err(stopped()),
            false => Ok(()),
        }
    })?;
    Ok(present.into_inner())
}

fn problem(
    fault: Fault,
    record: Option<&Record>,
    cube: Option<(&Snapshot, &Positions)>,
) -> Problem {
    let frame = record.map(|record| FrameName {
        number: record.frame + 1,
        source: record.source.clone(),
        hdu: record.part,
        axis: crate::region::AXIS_NAMES[record.axis].to_string(),
        position: cube.and_then(|(_, positions)| {
            positions
                .of(record)
                .map(|(first, _)| first[record.axis] + 1)
        }),
    });
    let rank = cube.map_or(3, |(snapshot, _)| snapshot.shape().len());
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
