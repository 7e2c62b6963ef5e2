//! How many samples of a cut were replaced.

use std::collections::BTreeSet;

use super::Coordinates;
use super::lines::Groups;
use super::snapshot::Snapshot;
use crate::error::Result;
use crate::region::{MAX_RANK, Span, places};

impl Snapshot {
    /// Counts samples that something was put over, at positions of these spans.
    ///
    /// # Errors
    /// When the region is not in the cube, or the index or the patches are damaged there.
    pub fn count_patched(&self, spans: &[Span]) -> Result<u64> {
        let mut count = 0;
        if self.catalog().patches.is_empty() {
            return Ok(count);
        }
        let tiles = self.segments(spans)?.1.map(Groups::new);
        let mut index = self.index();
        for place in places(tiles.each_ref().map(|tiles| tiles.len() as u64)) {
            let at = |axis: usize| tiles[axis].group(place[axis] as usize);
            let tile: Coordinates = std::array::from_fn(|axis| at(axis)[0].tile);
            let Some(tile) = index.tile(&tile)? else {
                continue;
            };
            // Of one sample the last of several counts.
            let patched = self.patches_of(tile.at)?.into_iter();
            let patched: BTreeSet<u32> = patched.map(|(element, _)| element).collect();
            let is_in_cut = |element: &u32| {
                let inner = self.geometry.inner(u64::from(*element));
                (0..MAX_RANK).all(|axis| at(axis).iter().any(|segment| segment.has(inner[axis])))
            };
            count += patched.iter().filter(|element| is_in_cut(element)).count() as u64;
        }
        Ok(count)
    }
}
