//! Samples that another cube holds as this one is to hold them.
//!
//! Where tiles of the two line up, and the joined axis is the slowest in a tile, what a
//! frame has of a tile is one run of bytes in either: it is read as it stands, without
//! a look at samples, and given the mask of this cube where that is another. What does
//! not line up (the last tiles of a row that is no whole number of them, patched tiles)
//! is left to [`super::write::Samples`].

use std::sync::Arc;

use super::Coordinates;
use super::snapshot::Snapshot;
use super::tiles::{Geometry, Segment, Tile, cut_span};
use super::write::Held;
use crate::format::catalog::Catalog;
use crate::kernels::copy::{fill, repeat, xor};
use crate::region::{MAX_RANK, Span};

/// Where the samples of a frame stand in another cube.
pub struct Stored {
    /// The cube that holds them.
    pub snapshot: Arc<Snapshot>,
    /// Their positions there.
    pub region: [Span; MAX_RANK],
    /// Their CRC-32C, which that cube knows: not all of them are looked at here.
    pub check: u32,
}

/// How tiles of two cubes line up for one frame.
pub(super) struct LinedUp {
    pub(super) stored: Stored,
    axis: usize,
    /// On each axis but the joined one: tiles here that the frame fills, and which tile
    /// is the same there. Ascending.
    across: [Vec<(u64, u64)>; MAX_RANK],
    /// On the joined axis.
    layers: Vec<Layers>,
    /// Bytes of a layer.
    pitch: u64,
}

/// Layers of a tile here, which are layers of one tile there.
struct Layers {
    here: (u64, u64),
    there: (u64, u64),
    len: u64,
}

/// Bytes of one tile of a row that are read as they stand.
pub(super) struct Piece {
    snapshot: Arc<Snapshot>,
    /// Where in its file, and what it is XORed with there; `None` where that is void.
    from: Option<Tile>,
    /// Where in the buffer of the row.
    to: usize,
    pub(super) bytes: usize,
    /// Whose they are, and which tile of the row they are in.
    pub(super) of: (usize, usize),
}

impl LinedUp {
    /// `segments` are those of the frame's slots here, on each axis.
    pub(super) fn new(
        stored: Stored,
        axis: usize,
        segments: &[Vec<Segment>; MAX_RANK],
        (catalog, geometry): (&Catalog, &Geometry),
    ) -> Option<LinedUp> {
        let other = &stored.snapshot.catalog;
        let is_alike = other.dtype == catalog.dtype
            && stored.snapshot.geometry.tile == geometry.tile
            // What nobody wrote is pad in both.
            && other.pad == catalog.pad
            && geometry.tile[axis + 1..].iter().all(|&len| len == 1);
        if !is_alike {
            return None;
        }
        let there: [Vec<Segment>; MAX_RANK] = std::array::from_fn(|axis| {
            let pieces = &stored.snapshot.pieces[axis];
            cut_span(pieces, &stored.region[axis], geometry.tile[axis])
        });
        let across = std::array::from_fn(|other| match other == axis {
            true => Vec::new(),
            false => same_tiles(&segments[other], &there[other], geometry.tile[other]),
        });
        let layers = same_layers(&segments[axis], &there[axis]);
        let pitch = geometry.strides[axis] as u64;
        Some(LinedUp {
            stored,
            axis,
            across,
            layers,
            pitch,
        })
    }

    /// Adds what can be read as it stands of a row of tiles, of which a buffer holds so
    /// much. What is damaged is left to those who can say where.
    pub(super) fn add_pieces(
        &self,
        (row, chunk): (&Coordinates, &[u64]),
        held: &Held,
        cut: usize,
        pieces: &mut Vec<Piece>,
    ) {
        let snapshot = &self.stored.snapshot;
        let mut index = snapshot.index();
        let mut tile = *row;
        for (number, &x) in chunk.iter().enumerate() {
            tile[0] = x;
            let Some(mut there) = self.same_tile(&tile) else {
                continue;
            };
            let start = pieces.len();
            for layers in &self.layers {
                if layers.here.0 != tile[self.axis] {
                    continue;
                }
                there[self.axis] = layers.there.0;
                let Ok(found) = index.tile(&there) else {
                    pieces.truncate(start);
                    break;
                };
                if found.is_some_and(|found| self.is_patched(found.at)) {
                    pieces.truncate(start);
                    break;
                }
                pieces.push(Piece {
                    snapshot: snapshot.clone(),
                    from: found.map(|found| Tile {
                        at: found.at + layers.there.1 * self.pitch,
                        ..found
                    }),
                    to: held.offset(number, (layers.here.1 * self.pitch) as usize),
                    bytes: (layers.len * self.pitch) as usize,
                    of: (cut, number),
                });
            }
        }
    }

    /// The tile there on all axes but the joined one, if the frame fills it here.
    fn same_tile(&self, tile: &Coordinates) -> Option<Coordinates> {
        let mut there = [0; MAX_RANK];
        for axis in (0..MAX_RANK).filter(|&axis| axis != self.axis) {
            let same = &self.across[axis];
            let found = same.binary_search_by_key(&tile[axis], |&(here, _)| here);
            there[axis] = same[found.ok()?].1;
        }
        Some(there)
    }

    /// Also when that cannot be told.
    fn is_patched(&self, at: u64) -> bool {
        let patches = self.stored.snapshot.patches_of(at);
        !patches.is_ok_and(|patches| patches.is_empty())
    }
}

/// Reads pieces into the buffer, neighbours at once, for tiles with these masks and this
/// size of samples; those that can not be read are left in the list.
pub(super) fn read_pieces(pieces: &mut Vec<Piece>, buffer: &mut [u8], masks: &[u64], size: usize) {
    pieces.sort_unstable_by_key(|piece| piece.to);
    let mut failed = Vec::new();
    let adjoin = |a: &Piece, b: &Piece| {
        let next = a.from.map(|from| Tile {
            at: from.at + a.bytes as u64,
            ..from
        });
        Arc::ptr_eq(&a.snapshot, &b.snapshot)
            && a.to + a.bytes == b.to
            && next == b.from
            && masks[a.of.1] == masks[b.of.1]
    };
    let mut read = |piece: &Piece, bytes: usize| {
        let out = &mut buffer[piece.to..piece.to + bytes];
        let mask = masks[piece.of.1];
        match piece.from {
            Some(from) => {
                let read = piece.snapshot.storage.read_into(from.at, out).is_ok();
                if read && from.mask != mask {
                    xor(out, repeat(from.mask ^ mask, size));
                }
                read
            }
            None => {
                fill(out, piece.snapshot.catalog.pad ^ mask, size);
                true
            }
        }
    };
    for group in pieces.chunk_by(adjoin) {
        let bytes = group.iter().map(|piece| piece.bytes).sum();
        if !read(&group[0], bytes) {
            failed.extend(
                group
                    .iter()
                    .filter(|piece| !read(piece, piece.bytes))
                    .map(|piece| piece.of),
            );
        }
    }
    pieces.retain(|piece| failed.contains(&piece.of));
}

/// Tiles that are filled by the same positions in both.
fn same_tiles(here: &[Segment], there: &[Segment], tile: u64) -> Vec<(u64, u64)> {
    let fills = |segment: &&Segment| segment.step == 1 && segment.len == tile;
    let mut there = there.iter().filter(fills).peekable();
    let mut same = Vec::new();
    for here in here.iter().filter(fills) {
        while there.next_if(|there| there.first < here.first).is_some() {}
        if let Some(there) = there.next_if(|there| there.first == here.first) {
            same.push((here.tile, there.tile));
        }
    }
    same.sort_unstable();
    same
}

/// The same positions in both, cut where either is cut.
fn same_layers(here: &[Segment], there: &[Segment]) -> Vec<Layers> {
    let mut all = Vec::new();
    let mut others = there.iter().peekable();
    for segment in here {
        let mut done = 0;
        while done < segment.len {
            let position = segment.first + done;
            while others
                .next_if(|other| other.first + other.len <= position)
                .is_some()
            {}
            let Some(other) = others.peek() else {
                return all;
            };
            let skipped = position - other.first;
            let len = (segment.len - done).min(other.len - skipped);
            all.push(Layers {
                here: (segment.tile, segment.inner + done),
                there: (other.tile, other.inner + skipped),
                len,
            });
            done += len;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::pieces::Pieces;
    use super::super::tiles::cut_runs;
    use super::*;

    #[test]
    fn layers_name_the_same_positions_in_both() {
        let here = Pieces::default().insert(0, 5, 30).insert(9, 70, 4);
        let there = Pieces::default().insert(0, 0, 50).insert(20, 66, 3);
        let (start, len, tile) = (12, 34, 8);
        let segments = cut_runs(&here.runs(0, len), tile);
        let others = cut_span(&there, &Span::run(start, len), tile);
        let mut found = Vec::new();
        for layers in same_layers(&segments, &others) {
            for k in 0..layers.len {
                let slot = |(tile_at, inner): (u64, u64)| tile_at * tile + inner + k;
                found.push((Some(slot(layers.here)), Some(slot(layers.there))));
            }
        }
        let expected: Vec<_> = (0..len)
            .map(|k| (here.slot(k), there.slot(start + k)))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn only_tiles_that_are_filled_alike_are_the_same() {
        let here = cut_runs(&Pieces::default().insert(0, 8, 19).runs(0, 19), 8);
        let shifted = cut_runs(&Pieces::default().insert(0, 4, 19).runs(0, 19), 8);
        let moved = Pieces::default().insert(0, 32, 8).insert(8, 16, 11);
        let moved = cut_runs(&moved.runs(0, 19), 8);
        assert_eq!(same_tiles(&here, &shifted, 8), []);
        assert_eq!(same_tiles(&here, &here, 8), [(1, 1), (2, 2)]);
        assert_eq!(same_tiles(&here, &moved, 8), [(1, 4), (2, 2)]);
    }
}
