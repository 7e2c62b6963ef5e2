//! How many samples of a cut were replaced.

use std::collections::{BTreeMap, BTreeSet};

use super::Coordinates;
use super::snapshot::Snapshot;
use super::tiles::{Segment, cut_span};
use crate::error::Result;
use crate::region::{MAX_RANK, Span, places};

/// The segments of one axis, by the tiles that they lie in.
type InTiles = BTreeMap<u64, Vec<Segment>>;

impl Snapshot {
    /// Counts samples that something was put over, at positions of these spans.
    ///
    /// # Errors
    /// When the index or the patches are damaged there.
    pub fn count_patched(&self, spans: &[Span]) -> Result<u64> {
        let mut count = 0;
        if self.catalog().patches.is_empty() {
            return Ok(count);
        }
        let axes: [InTiles; MAX_RANK] = std::array::from_fn(|axis| {
            let span = spans.get(axis).copied().unwrap_or(Span::run(0, 1));
            let mut tiles = InTiles::new();
            for segment in cut_span(&self.pieces[axis], &span, self.geometry.tile[axis]) {
                tiles.entry(segment.tile).or_default().push(segment);
            }
            tiles
        });
        let tiles = axes
            .each_ref()
            .map(|tiles| tiles.iter().collect::<Vec<_>>());
        let mut index = self.index();
        for place in places(tiles.each_ref().map(|tiles| tiles.len() as u64)) {
            let at = |axis: usize| tiles[axis][place[axis] as usize];
            let tile: Coordinates = std::array::from_fn(|axis| *at(axis).0);
            let Some(tile) = index.tile(&tile)? else {
                continue;
            };
            // Of one sample the last of several counts.
            let patched = self.patches_of(tile.at)?.into_iter();
            let patched: BTreeSet<u32> = patched.map(|(element, _)| element).collect();
            let is_in_cut = |element: &u32| {
                let inner = self.geometry.inner(u64::from(*element));
                (0..MAX_RANK).all(|axis| at(axis).1.iter().any(|segment| segment.has(inner[axis])))
            };
            count += patched.iter().filter(|element| is_in_cut(element)).count() as u64;
        }
        Ok(count)
    }
}
