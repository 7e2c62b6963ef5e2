//! A part of a clean in a file: the patches of its columns of tiles.
//!
//! Each block is a tile: its 8 coordinates, then of its n patches the elements as u32,
//! and the new bits as u64.

use std::path::PathBuf;

use serde_json::json;

use super::work::{Plan, Tile};
use super::{Goes, Options, Outcome, Report, Taker, region, report};
use crate::engine::Coordinates;
use crate::engine::edit::Edit;
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, Result};
use crate::format::patches::Patch;
use crate::ops::bad::Masks;
use crate::ops::frames::only;
use crate::ops::part::{Asked, Head, Part, Writer, open_all};
use crate::ops::{Progress, Stop};
use crate::region::{MAX_RANK, Span};
use crate::sinks::Target;
use crate::storage::file::Busy;

/// Bytes of a tile's coordinates, and of a patch.
const TILE_BYTES: usize = 8 * MAX_RANK;
const PATCH_BYTES: usize = 12;

/// How parts are put together.
#[derive(Clone, Debug)]
pub struct Applying {
    /// List counts by position on the axis.
    pub by_frame: bool,
    /// What to do when another writer is at work.
    pub busy: Busy,
    /// Bytes of memory to use.
    pub memory: u64,
    /// The command as typed, for the history.
    pub line: String,
}

/// Begins the file of a part.
pub(super) fn begin(
    snapshot: &Snapshot,
    axis: usize,
    spans: &[Span],
    plan: &Plan,
    masks: &Masks,
    (part, target): (Part, &Target),
    options: &Options,
) -> Result<Writer> {
    let rest = json!({
        "spans": format!("{spans:?}"),
        "rule": format!("{:?}", plan.rule),
        "fill": format!("{:?}", plan.fill),
        "min_kept": plan.min_kept,
        "grow": plan.grow,
        "fill_nan": plan.fill_nan,
        "bad": masks.identity(),
    });
    let asked = Asked::new(axis, &options.filters, options.section.as_ref(), rest);
    Writer::create(
        target,
        &Head::new("clean", snapshot, part, asked, &options.line),
    )
}

/// Writes the patches of a tile.
pub(super) fn write(writer: &mut Writer, tile: &Tile, patches: &[Patch]) -> Result<()> {
    let mut block = Vec::with_capacity(TILE_BYTES + patches.len() * PATCH_BYTES);
    block.extend(
        tile.coordinates
            .iter()
            .flat_map(|number| number.to_le_bytes()),
    );
    block.extend(
        patches
            .iter()
            .flat_map(|(element, _)| element.to_le_bytes()),
    );
    block.extend(patches.iter().flat_map(|(_, bits)| bits.to_le_bytes()));
    writer.block(&block)
}

/// Reads what [`write`] wrote; `None` when the cube has no such tile or samples.
fn read(block: &[u8], snapshot: &Snapshot) -> Option<(Tile, Vec<Patch>)> {
    let (tile, patches) = block.split_at_checked(TILE_BYTES)?;
    let mut coordinates: Coordinates = [0; MAX_RANK];
    for (number, bytes) in coordinates.iter_mut().zip(tile.as_chunks().0) {
        *number = u64::from_le_bytes(*bytes);
    }
    let (elements, bits) = patches.split_at_checked(patches.len() / PATCH_BYTES * 4)?;
    let elements = elements
        .as_chunks()
        .0
        .iter()
        .map(|bytes| u32::from_le_bytes(*bytes));
    let bits = bits
        .as_chunks()
        .0
        .iter()
        .map(|bytes| u64::from_le_bytes(*bytes));
    let patches: Vec<Patch> = elements.zip(bits).collect();
    let catalog = snapshot.catalog();
    let samples: u64 = catalog.tile.iter().product();
    let slots = |axis: usize| catalog.axes.get(axis).map_or(1, |axis| axis.slots);
    let is_tile =
        (0..MAX_RANK).all(|axis| coordinates[axis] < slots(axis).div_ceil(catalog.tile[axis]));
    let unused = 64 - 8 * catalog.dtype.size() as u32;
    let are_samples = patches
        .iter()
        .all(|&(element, bits)| u64::from(element) < samples && bits.leading_zeros() >= unused);
    let in_order = patches.is_sorted_by(|a, b| a.0 < b.0);
    let tile = Tile {
        coordinates,
        at: None,
    };
    (is_tile && are_samples && in_order).then_some((tile, patches))
}

/// Puts the patches of all parts into the edit.
pub(super) fn apply(
    snapshot: &Snapshot,
    edit: &mut Edit<'_>,
    parts: &[PathBuf],
    options: &Applying,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Report> {
    let mut parts = open_all(parts, "clean", snapshot)?;
    let Some(asked) = parts.first().map(|part| part.head.asked.clone()) else {
        return Err(Error::input("no part was named"));
    };
    let view = only(snapshot, &asked.filters()?, progress)?;
    let snapshot = view.as_ref().unwrap_or(snapshot);
    let (axis, spans) = region(snapshot, Some(asked.axis), asked.section.as_deref())?;
    let catalog = snapshot.catalog();
    let most = catalog.tile.iter().product::<u64>() * PATCH_BYTES as u64 + TILE_BYTES as u64;
    stop.begin_work();
    progress.begin("applying parts", parts.len() as u64, 0);
    let mut taker = Taker::new(Goes::Edit(edit), options.memory, std::path::Path::new("."));
    let mut outcome = Outcome::default();
    for part in &mut parts {
        while let Some(block) = part.block(most)? {
            stop.go_on()
                .map_err(|error| error.hint("the cube is as it was"))?;
            let (tile, patches) = read(&block, snapshot)
                .ok_or_else(|| Error::damaged("it has samples that the cube has not"))
                .at(&part.path)?;
            taker.tile(&tile, patches)?;
        }
        let end: Outcome = part.end()?;
        outcome.samples = outcome.samples.saturating_add(end.samples);
        outcome.min_kept = end.min_kept;
        outcome.tally.add(&end.tally);
        progress.frames(1);
    }
    taker.store()?;
    progress.end();
    report(
        snapshot,
        (axis, &spans[axis]),
        &outcome,
        options.by_frame,
        progress,
    )
}
