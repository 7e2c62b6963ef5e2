//! Planes made smaller as their samples come: squares of samples become their mean.
//! What has no value (NaN, BLANK) does not count.

use super::Image;
use crate::dtype::DType;
use crate::kernels::cast::floats;

/// A plane that is made smaller.
pub(super) struct Averager {
    dtype: DType,
    blank: Option<u64>,
    squares: Squares,
}

struct Squares {
    /// Sides of the plane.
    plane: [u64; 2],
    /// Samples along a side of a square.
    factor: u64,
    /// The sample that comes next.
    at: [u64; 2],
    /// Sums and counts of the row of squares at hand.
    sums: Vec<(f64, u64)>,
    means: Vec<f64>,
}

impl Averager {
    pub(super) fn new(image: &Image, plane: [u64; 2], factor: u64) -> Averager {
        let width = usize::try_from(plane[0].div_ceil(factor)).unwrap_or(0);
        Averager {
            dtype: image.dtype,
            blank: image.blank.and_then(|blank| image.dtype.bits_of_int(blank)),
            squares: Squares {
                plane,
                factor,
                at: [0, 0],
                sums: vec![(0.0, 0); width],
                means: Vec::new(),
            },
        }
    }

    /// Takes whole samples.
    pub(super) fn write(&mut self, samples: &[u8]) {
        floats(self.dtype, self.blank, samples, &mut |values| {
            self.squares.take(values);
        });
    }

    /// Means of rows that are whole, y = 1 first; NaN where there is none. Planes that
    /// come one after the other stand one after the other.
    pub(super) fn means(&self) -> &[f64] {
        &self.squares.means
    }
}

impl Squares {
    fn take(&mut self, mut values: &[f64]) {
        while !values.is_empty() {
            let left = usize::try_from(self.plane[0] - self.at[0]).unwrap_or(usize::MAX);
            let (run, rest) = values.split_at(left.min(values.len()));
            self.add(run);
            values = rest;
            self.at[0] += run.len() as u64;
            if self.at[0] == self.plane[0] {
                self.end_row();
            }
        }
    }

    /// Adds samples of one row.
    fn add(&mut self, run: &[f64]) {
        let whole = |len: u64| usize::try_from(len).unwrap_or(usize::MAX);
        let mut add = |square: usize, values: &[f64]| {
            let (mut sum, mut count) = self.sums[square];
            for &value in values {
                // Without a branch: either may be all there is.
                let is_value = !value.is_nan();
                sum += if is_value { value } else { 0.0 };
                count += u64::from(is_value);
            }
            self.sums[square] = (sum, count);
        };
        let first = whole(self.at[0] / self.factor);
        // The square at hand may be begun.
        let room = whole(self.factor - self.at[0] % self.factor);
        let (begun, others) = run.split_at(room.min(run.len()));
        add(first, begun);
        let others = others.chunks(whole(self.factor));
        (first + 1..)
            .zip(others)
            .for_each(|(square, values)| add(square, values));
    }

    fn end_row(&mut self) {
        self.at = [0, self.at[1] + 1];
        let is_last = self.at[1] == self.plane[1];
        if is_last || self.at[1].is_multiple_of(self.factor) {
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
    fn squares_have_their_means_however_the_samples_come() {
        let blank = 3u8;
        for (width, height, factor) in [(5, 3, 1), (5, 3, 2), (7, 4, 3), (2, 9, 4)] {
            let samples: Vec<u8> = (0..=255u8)
                .cycle()
                .map(|k| k.wrapping_mul(k) % 11)
                .take(2 * width * height)
                .collect();
            let mut wanted = Vec::new();
            for plane in samples.chunks_exact(width * height) {
                for y in (0..height).step_by(factor) {
                    for x in (0..width).step_by(factor) {
                        let rows = y..height.min(y + factor);
                        let square =
                            rows.flat_map(|y| &plane[y * width..][x..width.min(x + factor)]);
                        let values = square.filter(|&&value| value != blank);
                        let values: Vec<f64> = values.map(|&value| f64::from(value)).collect();
                        wanted.push(values.iter().sum::<f64>() / values.len() as f64);
                    }
                }
            }
            let plane = [width, height].map(|side| side as u64);
            let mut image = image(&[plane[0], plane[1], 2], DType::U8);
            image.blank = Some(blank.into());
            for piece in 1..=samples.len() {
                let mut averager = Averager::new(&image, plane, factor as u64);
                samples.chunks(piece).for_each(|part| averager.write(part));
                let means = averager.means();
                assert_eq!(means.len(), wanted.len());
                let mut both = means.iter().zip(&wanted);
                let same = both.all(|(a, b)| a == b || a.is_nan() && b.is_nan());
                assert!(same, "{plane:?} {factor} {piece}");
            }
        }
    }
}
