//! A commit written again into an empty cube, in the order it is read.
//!
//! There, slots are positions and patches are in the samples; what no position
//! refers to is left out. The old cube is only read.

use std::sync::Arc;

use serde::Serialize;

use super::Coordinates;
use super::edit::Edit;
use super::reread::FrameReader;
use super::snapshot::Snapshot;
use super::stored::Stored;
use super::write::{Part, Samples};
use crate::error::Result;
use crate::format::ledger::Record;
use crate::region::{MAX_RANK, Span};

/// What a tile costs in memory until it is committed, about.
const TILE_COST: u64 = 256;

/// What a record costs in memory beside its header, about.
const RECORD_COST: usize = 512;

/// What was written.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rewritten {
    /// Frames that were carried over.
    pub frames: u64,
    /// Of these, frames that lost pixels before: their checks are gone.
    pub partial: u64,
    /// Frames of which no pixel was left.
    pub dropped: u64,
    /// Sources of frames whose samples are damaged. They keep their checks.
    pub damaged: Vec<String>,
}

/// What watches the work, and may end it.
pub struct Watch<'a> {
    /// Told of bytes as they are read.
    pub bytes: &'a (dyn Fn(u64) + Sync),
    /// Asked often whether to go on; what it answers ends the work.
    pub go_on: &'a (dyn Fn() -> Result<()> + Sync),
}

/// Writes everything that a commit holds into an edit of an empty cube of the
/// same type, tile and rank. What is left to do is [`Edit::finish`].
///
/// # Errors
/// When the old cube cannot be read, the new one cannot be written, or the watch
/// says so: then the new one is of no use.
pub fn rewrite(
    snapshot: &Arc<Snapshot>,
    edit: &mut Edit<'_>,
    memory: u64,
    watch: &Watch<'_>,
) -> Result<Rewritten> {
    edit.forget_history();
    // No frame is to come that fills more of a tile (`docs/decisions/015`).
    edit.store_plain();
    samples(edit, snapshot, memory, watch)?;
    records(edit, snapshot, memory, watch)
}

/// Writes all samples, a layer of tiles along the last axis at a time.
fn samples(
    edit: &mut Edit<'_>,
    snapshot: &Arc<Snapshot>,
    memory: u64,
    watch: &Watch<'_>,
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
    let most = (memory / 4 / TILE_COST) as usize;
    let layer = snapshot.catalog().tile[axis];
    let mut position = 0;
    while position < shape[axis] {
        let mut part = shape;
        part[axis] = layer.min(shape[axis] - position);
        let placement = edit.place(axis, position, &[0; MAX_RANK], &part)?;
        let mut region = part.map(|len| Span::run(0, len));
        region[axis].start = position;
        let samples = Old {
            snapshot,
            region,
            go_on: watch.go_on,
        };
        let stored = Some(Stored {
            snapshot: snapshot.clone(),
            region,
            // Of samples that are many frames' nobody asks for one.
            check: 0,
        });
        let mut parts = [Part {
            stored,
            ..Part::new(placement, samples)
        }];
        for outcome in edit.write(&mut parts, memory / 4, watch.bytes)? {
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
    region: [Span; MAX_RANK],
    go_on: &'a (dyn Fn() -> Result<()> + Sync),
}

impl Samples for Old<'_> {
    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        self.snapshot.read_run(&self.region, first, out)
    }

    fn go_on(&self) -> Result<()> {
        (self.go_on)()
    }
}

/// Carries the frames' records over, in the order they are read.
fn records(
    edit: &mut Edit<'_>,
    snapshot: &Snapshot,
    memory: u64,
    watch: &Watch<'_>,
) -> Result<Rewritten> {
    let positions = snapshot.positions();
    let beyond: Coordinates = std::array::from_fn(|axis| snapshot.pieces(axis).len());
    let old = snapshot.catalog();
    // A check is of samples as they came in; from here on patches are among them.
    let memory = memory / 4;
    let mut patched = (!old.patches.is_empty()).then(|| {
        let stored = FrameReader::new(snapshot, memory);
        (FrameReader::patched(snapshot, memory), stored)
    });
    let mut skipped = [0; MAX_RANK];
    let mut header = None;
    let mut report = Rewritten::default();
    let mut carry = |record: Record| -> Result<()> {
        (watch.go_on)()?;
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
            let more = &mut |_| (watch.go_on)().is_ok();
            let check = reader.check(&before, more)?;
            // A new check over damage would hide it.
            let whole = check == record.check || stored.check(&before, more)? == record.check;
            (watch.go_on)()?;
            match whole {
                true => record.check = check,
                false => report.damaged.push(record.source.clone()),
            }
        }
        report.partial += u64::from(record.partial);
        report.frames += 1;
        let new = edit.record(record, 0)?;
        if old.header_frame == Some(number) {
            header = Some(new);
        }
        Ok(())
    };
    // In reading order, as far as memory goes: a frame's record is then found by its
    // slots without a look at those of most others, in whatever order they arrived.
    let mut carry_all = |held: &mut Vec<(_, Record)>| {
        held.sort_by_key(|&(place, _)| place);
        held.drain(..).try_for_each(|(_, record)| carry(record))
    };
    let (mut held, mut bytes) = (Vec::new(), 0);
    snapshot.for_each_record(&mut |record| {
        let axis = record.axis.min(MAX_RANK - 1);
        let place = positions.of(&record).map(|(first, _)| (axis, first[axis]));
        bytes += (record.cards.len() + RECORD_COST) as u64;
        held.push((place, record));
        if bytes > memory {
            carry_all(&mut held)?;
            bytes = 0;
        }
        Ok(())
    })?;
    carry_all(&mut held)?;
    edit.skip_slots(&skipped)?;
    if header.is_some() {
        edit.set_header_frame(header);
    }
    edit.command().frames = 0;
    Ok(report)
}
