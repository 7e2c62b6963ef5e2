//! How an image is cut into tiles.

/// What is held of an image with tiles that go through planes is at most so many samples,
/// if a row of tiles is not more.
const HELD_SAMPLES: u64 = 1 << 24;

/// How an image is cut into tiles, the fastest axis first.
#[derive(Clone, Debug)]
pub(super) struct Tiling {
    pub(super) axes: Vec<u64>,
    /// Lengths of a tile; those at the image's far ends are cut.
    pub(super) tile: Vec<u64>,
    /// Lengths of what is held of the image at once: whole tiles, and whole rows of them.
    pub(super) held: Vec<u64>,
    /// The axis along which tiles are cut, when they are runs of the image.
    run_axis: Option<usize>,
}

impl Tiling {
    /// Lengths are at least 1, and their products fit.
    pub(super) fn new(axes: Vec<u64>, mut tile: Vec<u64>) -> Tiling {
        for (tile, &len) in tile.iter_mut().zip(&axes) {
            *tile = len.min(*tile);
        }
        let mut held = tile.clone();
        for axis in 0..axes.len() {
            let before = held[axis];
            held[axis] = axes[axis];
            // Else the tiles beside would be decoded again for each plane.
            let goes_on = tile.iter().skip(axis + 1).any(|&len| len > 1);
            let n_held = held.iter().fold(1u64, |n, &len| n.saturating_mul(len));
            if axis > 0 && (!goes_on || n_held > HELD_SAMPLES) {
                held[axis] = before;
                break;
            }
        }
        let cut = (0..axes.len()).find(|&axis| tile[axis] < axes[axis]);
        let axis = cut.unwrap_or(0);
        let is_run = tile.iter().skip(axis + 1).all(|&len| len == 1) || cut.is_none();
        Tiling {
            run_axis: is_run.then_some(axis),
            axes,
            tile,
            held,
        }
    }

    /// Samples of all tiles that differ in their place on the first axis alone.
    pub(super) fn row_samples(&self) -> u64 {
        let others = self.tile.iter().skip(1);
        others.fold(self.axes[0], |n, &len| n.saturating_mul(len))
    }

    pub(super) fn n_tiles(&self) -> u64 {
        let along = self.axes.iter().zip(&self.tile);
        along.map(|(&len, &tile)| len.div_ceil(tile)).product()
    }

    /// Where a sample is on each axis.
    pub(super) fn place_of(&self, mut sample: u64) -> Vec<u64> {
        let along = |&len| {
            let place = sample % len;
            sample /= len;
            place
        };
        self.axes.iter().map(along).collect()
    }

    /// The number of the tile with this sample.
    pub(super) fn tile_of(&self, place: &[u64]) -> u64 {
        let along = self.axes.iter().zip(&self.tile).zip(place).rev();
        along.fold(0, |idx, ((&len, &tile), &at)| {
            idx * len.div_ceil(tile) + at / tile
        })
    }

    /// Where a tile begins on each axis, and how long it is.
    pub(super) fn extent(&self, mut tile_idx: u64) -> (Vec<u64>, Vec<u64>) {
        let along = |(&len, &tile): (&u64, &u64)| {
            let n_along = len.div_ceil(tile);
            let first = tile_idx % n_along * tile;
            tile_idx /= n_along;
            (first, tile.min(len - first))
        };
        self.axes.iter().zip(&self.tile).map(along).unzip()
    }

    pub(super) fn samples_of(&self, tile_idx: u64) -> u64 {
        self.extent(tile_idx).1.iter().product()
    }

    /// The tile whose samples are a run of the image that begins here, and how many.
    pub(super) fn run_from(&self, place: &[u64]) -> Option<(u64, u64)> {
        let axis = self.run_axis?;
        let begins = place[..axis].iter().all(|&at| at == 0);
        if !begins || !place[axis].is_multiple_of(self.tile[axis]) {
            return None;
        }
        let tile_idx = self.tile_of(place);
        Some((tile_idx, self.samples_of(tile_idx)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_cut_at_the_far_ends() {
        let tiling = Tiling::new(vec![10, 7], vec![4, 2]);
        assert_eq!((tiling.n_tiles(), tiling.samples_of(11)), (12, 2));
        assert_eq!(tiling.extent(11), (vec![8, 6], vec![2, 1]));
        assert_eq!(tiling.tile_of(&tiling.place_of(69)), 11);
        assert_eq!((tiling.row_samples(), &tiling.held[..]), (20, &[10, 2][..]));
        let all = (0..tiling.n_tiles()).map(|idx| tiling.samples_of(idx));
        assert_eq!(all.sum::<u64>(), 70);
    }

    #[test]
    fn runs_of_the_image_are_told_from_boxes() {
        let run = |axes: &[u64], tile: &[u64], sample| {
            let tiling = Tiling::new(axes.to_vec(), tile.to_vec());
            tiling.run_from(&tiling.place_of(sample))
        };
        assert_eq!(run(&[10, 7], &[10, 1], 30), Some((3, 10)));
        assert_eq!(run(&[10, 7], &[10, 1], 31), None);
        assert_eq!(run(&[10, 7], &[10, 4], 40), Some((1, 30)));
        assert_eq!(run(&[10, 7], &[4, 1], 18), Some((5, 2)));
        assert_eq!(run(&[10, 7, 3], &[99, 99, 2], 140), Some((1, 70)));
        assert_eq!(run(&[10, 7], &[10, 7], 0), Some((0, 70)));
        assert_eq!(run(&[10, 7], &[4, 2], 0), None);
        assert_eq!(run(&[10, 7, 3], &[10, 2, 2], 0), None);
    }

    #[test]
    fn tiles_that_go_through_planes_are_held_with_those_beside() {
        let held = |axes: &[u64], tile: &[u64]| Tiling::new(axes.to_vec(), tile.to_vec()).held;
        assert_eq!(held(&[100, 100, 9], &[100, 1, 1]), [100, 1, 1]);
        assert_eq!(held(&[100, 100, 9], &[10, 10, 3]), [100, 100, 3]);
        assert_eq!(held(&[1 << 13, 1 << 13, 9], &[10, 10, 3]), [1 << 13, 10, 3]);
    }
}
