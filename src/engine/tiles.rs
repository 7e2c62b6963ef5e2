//! Where a sample stands in its tile, and how runs are cut at tile edges.

use super::Coordinates;
use super::pieces::{Pieces, Run};
use crate::dtype::DType;
use crate::format::{PAGE, align_up};
use crate::kernels::copy::Layout;
use crate::region::{MAX_RANK, Span};

/// Shape of the tiles of a cube. A tile is at most 64 MiB, so numbers inside one
/// fit `usize`.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Lengths of a tile, x first.
    pub tile: Coordinates,
    /// Bytes of one sample.
    pub size: usize,
    /// Bytes from one sample to the next on each axis, inside a tile.
    pub strides: [isize; MAX_RANK],
    /// Bytes of the samples of a tile.
    pub bytes: usize,
}

impl Geometry {
    /// `tile` has been checked by [`crate::format::catalog::check_tile`].
    pub fn new(tile: &[u64], dtype: DType) -> Geometry {
        let mut lens = [1; MAX_RANK];
        lens[..tile.len()].copy_from_slice(tile);
        let mut strides = [0; MAX_RANK];
        let mut bytes = dtype.size();
        for (stride, &len) in strides.iter_mut().zip(&lens) {
            *stride = bytes as isize;
            bytes *= len as usize;
        }
        Geometry {
            tile: lens,
            size: dtype.size(),
            strides,
            bytes,
        }
    }

    /// Bytes from one tile to the next in the file.
    pub fn pitch(&self) -> u64 {
        align_up(self.bytes as u64, PAGE)
    }

    /// Offset in its tile of the sample with these coordinates inside the tile.
    pub fn offset(&self, inner: &Coordinates) -> usize {
        let parts = inner.iter().zip(&self.strides);
        parts
            .map(|(&at, &stride)| at as usize * stride as usize)
            .sum()
    }

    /// A layout that starts at these coordinates inside a tile.
    pub fn layout(&self, inner: &Coordinates) -> Layout {
        Layout {
            start: self.offset(inner),
            strides: self.strides,
        }
    }

    /// Coordinates inside the tile of its `element`-th sample, x fastest.
    pub fn inner(&self, element: u64) -> Coordinates {
        let mut rest = element;
        self.tile.map(|len| {
            let at = rest % len;
            rest /= len;
            at
        })
    }
}

/// A tile that is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Where its samples begin.
    pub at: u64,
    /// What they are XORed with.
    pub mask: u64,
}

/// Evenly spaced positions that lie in one tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Number of its first position in the request.
    pub first: u64,
    /// Coordinate of the tile.
    pub tile: u64,
    /// Coordinate of the first position inside the tile.
    pub inner: u64,
    /// Distance inside the tile from one position to the next.
    pub step: i64,
    /// How many positions.
    pub len: u64,
}

impl Segment {
    /// Has it this coordinate inside its tile?
    pub fn has(&self, inner: u64) -> bool {
        let span = Span {
            start: self.inner,
            step: self.step,
            len: self.len,
        };
        span.number_of(inner).is_some()
    }
}

/// Cuts runs of slots at tile edges.
pub fn cut_runs(runs: &[Run], tile: u64) -> Vec<Segment> {
    let mut segments = Vec::new();
    for run in runs {
        let (mut done, mut slot) = (0, run.slot);
        while done < run.len {
            let len = (tile - slot % tile).min(run.len - done);
            segments.push(Segment {
                first: run.position + done,
                tile: slot / tile,
                inner: slot % tile,
                step: 1,
                len,
            });
            done += len;
            slot += len;
        }
    }
    segments
}

/// The segments that a span of positions is made of, in the order of the axis.
/// The span lies on the axis.
pub fn cut_span(pieces: &Pieces, span: &Span, tile: u64) -> Vec<Segment> {
    let step = span.step.unsigned_abs();
    let lowest = match span.step > 0 || span.len == 0 {
        true => span.start,
        false => span.at(span.len - 1),
    };
    let mut segments = Vec::new();
    // So many positions, from the lowest on, are in a segment.
    let mut done = 0;
    while done < span.len
        && let Some((mut slot, left)) = pieces.run_from(lowest + done * step)
    {
        let end = slot + left;
        while done < span.len && slot < end {
            let inner = slot % tile;
            let room = (tile - inner).min(end - slot);
            let len = room.div_ceil(step).min(span.len - done);
            let (first, inner) = match span.step > 0 {
                true => (done, inner),
                false => (span.len - (done + len), inner + (len - 1) * step),
            };
            segments.push(Segment {
                first,
                tile: slot / tile,
                inner,
                step: span.step,
                len,
            });
            done += len;
            slot = slot.saturating_add(len * step);
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_of_any_span_name_the_right_slots() {
        let pieces = Pieces::default()
            .insert(0, 0, 20)
            .insert(7, 30, 5)
            .insert(3, 41, 9);
        let tile = 4;
        for start in 0..pieces.len() {
            for step in [-9i64, -3, -2, -1, 1, 2, 3, 5, 40] {
                let most = if step > 0 {
                    (pieces.len() - 1 - start) / step.unsigned_abs()
                } else {
                    start / step.unsigned_abs()
                };
                for len in 0..=most + 1 {
                    let span = Span { start, step, len };
                    let mut found = vec![None; len as usize];
                    for segment in cut_span(&pieces, &span, tile) {
                        for k in 0..segment.len {
                            let inner = segment.inner as i64 + k as i64 * segment.step;
                            assert!((0..tile as i64).contains(&inner));
                            let slot = segment.tile * tile + inner as u64;
                            assert!(found[(segment.first + k) as usize].replace(slot).is_none());
                        }
                    }
                    let expected: Vec<_> = (0..len).map(|k| pieces.slot(span.at(k))).collect();
                    assert_eq!(found, expected, "{span:?}");
                }
            }
        }
    }
}
