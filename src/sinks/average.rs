//! Planes made smaller as their samples come: boxes of samples become their mean.
//! What has no value (NaN, BLANK) does not count.

use super::Image;
use crate::dtype::DType;
use crate::kernels::cast::floats;

/// A plane more elongated than this many to one has its sides made smaller or larger
/// each by itself.
const ELONGATED: u64 = 4;

/// Which samples are which pixels. Boxes of samples are averaged, and means repeated:
/// squares, unless that would leave nothing to see of an elongated plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// Sides of the plane.
    pub(super) plane: [u64; 2],
    /// So many samples are one mean.
    pub(super) factors: [u64; 2],
    /// A mean is so many pixels.
    pub(super) zooms: [u64; 2],
}

impl Grid {
    /// Fits a plane into so many pixels. The longer side of a small one becomes about
    /// `wanted` pixels. The shorter side becomes no less than a quarter of that, by
    /// less averaging and more repeating than the longer one where it must be.
    pub(super) fn new(plane: [u64; 2], room: [u64; 2], wanted: u64) -> Grid {
        let longer = |sides: [u64; 2]| sides[0].max(sides[1]).max(1);
        let needed = [0, 1].map(|k: usize| plane[k].div_ceil(room[k].max(1)).max(1));
        let factor = longer(needed);
        let thin = (longer(plane) / factor).min(wanted) / ELONGATED;
        let factors = [0, 1].map(|k| (plane[k] / thin.max(1)).clamp(needed[k], factor));
        let sides = [0, 1].map(|k| plane[k].div_ceil(factors[k]).max(1));
        let most = [0, 1].map(|k| (room[k] / sides[k]).max(1));
        let zoom = (wanted / longer(sides)).clamp(1, most[0].min(most[1]));
        // With one zoom more the longer side would be larger than is wanted, or than fits.
        let thin = (longer(sides) * (zoom + 1)).min(wanted) / ELONGATED;
        let zooms = [0, 1].map(|k| (thin / sides[k]).max(zoom).min(most[k]));
        Grid {
            plane,
            factors,
            zooms,
        }
    }

    /// Sides of the plane of means.
    pub(super) fn sides(&self) -> [u64; 2] {
        [0, 1].map(|k| self.plane[k].div_ceil(self.factors[k]))
    }

    /// Sides in pixels.
    pub(super) fn pixels(&self) -> [u64; 2] {
        let sides = self.sides();
        [0, 1].map(|k| sides[k] * self.zooms[k])
    }

    /// What a pixel is, where it is not a sample.
    pub(super) fn text(&self) -> Option<String> {
        let Grid { factors, zooms, .. } = self;
        let text = match (factors, zooms) {
            ([1, 1], [1, 1]) => return None,
            ([x, y], [1, 1]) => format!("{x} x {y} samples are a pixel"),
            ([1, 1], [x, y]) => format!("a sample is {x} x {y} pixels"),
            ([x, y], [wide, high]) => format!("{x} x {y} samples are {wide} x {high} pixels"),
        };
        Some(text)
    }
}

/// A plane that is made smaller.
pub(super) struct Averager {
    dtype: DType,
    blank: Option<u64>,
    boxes: Boxes,
}

struct Boxes {
    grid: Grid,
    /// The sample that comes next.
    at: [u64; 2],
    /// Sums and counts of the row of boxes at hand.
    sums: Vec<(f64, u64)>,
    means: Vec<f64>,
}

impl Averager {
    pub(super) fn new(image: &Image, grid: Grid) -> Averager {
        let width = usize::try_from(grid.sides()[0]).unwrap_or(0);
        Averager {
            dtype: image.dtype,
            blank: image.blank.and_then(|blank| image.dtype.bits_of_int(blank)),
            boxes: Boxes {
                grid,
                at: [0, 0],
                sums: vec![(0.0, 0); width],
                means: Vec::new(),
            },
        }
    }

    /// Takes whole samples.
    pub(super) fn write(&mut self, samples: &[u8]) {
        floats(self.dtype, self.blank, samples, &mut |values| {
            self.boxes.take(values);
        });
    }

    /// Means of rows that are whole, y = 1 first; NaN where there is none. Planes that
    /// come one after the other stand one after the other.
    pub(super) fn means(&self) -> &[f64] {
        &self.boxes.means
    }
}

impl Boxes {
    fn take(&mut self, mut values: &[f64]) {
        while !values.is_empty() {
            let left = usize::try_from(self.grid.plane[0] - self.at[0]).unwrap_or(usize::MAX);
            let (run, rest) = values.split_at(left.min(values.len()));
            self.add(run);
            values = rest;
            self.at[0] += run.len() as u64;
            if self.at[0] == self.grid.plane[0] {
                self.end_row();
            }
        }
    }

    /// Adds samples of one row.
    fn add(&mut self, run: &[f64]) {
        let factor = self.grid.factors[0];
        let whole = |len: u64| usize::try_from(len).unwrap_or(usize::MAX);
        let mut add = |number: usize, values: &[f64]| {
            let (mut sum, mut count) = self.sums[number];
            for &value in values {
                // Without a branch: either may be all there is.
                let is_value = !value.is_nan();
                sum += if is_value { value } else { 0.0 };
                count += u64::from(is_value);
            }
            self.sums[number] = (sum, count);
        };
        let first = whole(self.at[0] / factor);
        // The box at hand may be begun.
        let room = whole(factor - self.at[0] % factor);
        let (begun, others) = run.split_at(room.min(run.len()));
        add(first, begun);
        let others = others.chunks(whole(factor));
        (first + 1..)
            .zip(others)
            .for_each(|(number, values)| add(number, values));
    }

    fn end_row(&mut self) {
        self.at = [0, self.at[1] + 1];
        let is_last = self.at[1] == self.grid.plane[1];
        if is_last || self.at[1].is_multiple_of(self.grid.factors[1]) {
            for (sum, count) in &mut self.sums {
                self.means.push(match *count {
                    0 => f64::NAN,
                    count => *sum / count as f64,
                });
                (*sum, *count) = (0.0, 0);
            }
        }
        if is_last {
            self.at[1] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::tests::image;

    #[test]
    fn planes_fit_and_elongated_ones_stay_visible() {
        for (plane, wanted, pixels, text) in [
            ([2048, 2048], 512, [2048, 2048], ""),
            ([4096, 3000], 512, [2048, 1500], "2 x 2 samples are a pixel"),
            ([8192, 2048], 512, [2048, 512], "4 x 4 samples are a pixel"),
            ([64, 48], 512, [512, 384], "a sample is 8 x 8 pixels"),
            ([300, 80], 512, [300, 80], ""),
            ([64, 48], 100, [64, 48], ""),
            // Spectra, one below the other.
            (
                [42751, 12],
                512,
                [2036, 120],
                "21 x 1 samples are 1 x 10 pixels",
            ),
            ([42751, 300], 512, [2036, 150], "21 x 2 samples are a pixel"),
            (
                [42751, 5000],
                512,
                [2036, 239],
                "21 x 21 samples are a pixel",
            ),
            ([650, 12], 512, [650, 120], "a sample is 1 x 10 pixels"),
            ([30, 320], 512, [120, 320], "a sample is 4 x 1 pixels"),
        ] {
            let grid = Grid::new(plane, [2048, 2048], wanted);
            assert_eq!(grid.pixels(), pixels, "{plane:?}");
            assert_eq!(grid.text().unwrap_or_default(), text, "{plane:?}");
        }
        for long in [1, 2, 7, 64, 300, 2000, 5000, 100_000] {
            for short in [1, 2, 12, 30, 100, 500, 2000, 70_000].map(|n| long.min(n)) {
                for (room, wanted) in [
                    ([20, 20], 160),
                    ([20, 300], 160),
                    ([64, 64], 64),
                    ([2048, 2048], 512),
                ] {
                    let grid = Grid::new([long, short], room, wanted);
                    let pixels = grid.pixels();
                    assert!(pixels[0] <= room[0] && pixels[1] <= room[1], "{grid:?}");
                    if long < ELONGATED * short {
                        assert_eq!(grid.factors[0], grid.factors[1], "{grid:?}");
                        assert_eq!(grid.zooms[0], grid.zooms[1], "{grid:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn boxes_have_their_means_however_the_samples_come() {
        let blank = 3u8;
        for (width, height, [across, up]) in [
            (5, 3, [1, 1]),
            (5, 3, [2, 2]),
            (7, 4, [3, 1]),
            (2, 9, [1, 4]),
        ] {
            let samples: Vec<u8> = (0..=255u8)
                .cycle()
                .map(|k| k.wrapping_mul(k) % 11)
                .take(2 * width * height)
                .collect();
            let mut wanted = Vec::new();
            for plane in samples.chunks_exact(width * height) {
                for y in (0..height).step_by(up) {
                    for x in (0..width).step_by(across) {
                        let rows = y..height.min(y + up);
                        let square =
                            rows.flat_map(|y| &plane[y * width..][x..width.min(x + across)]);
                        let values = square.filter(|&&value| value != blank);
                        let values: Vec<f64> = values.map(|&value| f64::from(value)).collect();
                        wanted.push(values.iter().sum::<f64>() / values.len() as f64);
                    }
                }
            }
            let plane = [width, height].map(|side| side as u64);
            let grid = Grid {
                plane,
                factors: [across as u64, up as u64],
                zooms: [1, 1],
            };
            let mut image = image(&[plane[0], plane[1], 2], DType::U8);
            image.blank = Some(blank.into());
            for piece in 1..=samples.len() {
                let mut averager = Averager::new(&image, grid);
                samples.chunks(piece).for_each(|part| averager.write(part));
                let means = averager.means();
                assert_eq!(means.len(), wanted.len());
                let mut both = means.iter().zip(&wanted);
                let same = both.all(|(a, b)| a == b || a.is_nan() && b.is_nan());
                assert!(same, "{grid:?} {piece}");
            }
        }
    }
}
