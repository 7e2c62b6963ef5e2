//! Several planes on one picture, with a word under each: all frames of a cube for
//! spotting the bad one, or a plane as it came beside what it is now.
//!
//! All planes have one stretch, so that what is brighter looks brighter; it is that of
//! the middle plane. Planes too
//! large for the sheet are averaged; pixels of small ones are repeated.

use super::canvas::{Canvas, Color, text_width};
use crate::dtype::DType;
use crate::error::{Context, Error, Result};
use crate::region::show_shape;
use crate::sinks::average::{Averager, Grid};
use crate::sinks::output::{Output, Target};
use crate::sinks::png::{MOST_SIZE, encode_rgb, limits_text, part_of};
use crate::sinks::stretch::Stretch;
use crate::sinks::{Image, Look, Remaining, Sheet, Sink};

/// Pixels between planes, and around them.
const GAP: u64 = 8;

/// A plane with fewer pixels a side shows nothing.
const LEAST_SIDE: u64 = 16;

/// Pixels of a small plane are repeated until its longer side is about this: on a
/// sheet of many planes, and on one of two.
const SIDES: [u64; 2] = [160, 512];

const BACKGROUND: Color = [22, 24, 30];
const WORDS: Color = [208, 212, 220];
const MARK: Color = [255, 64, 64];

/// Where planes stand on the sheet.
struct Layout {
    columns: u64,
    rows: u64,
    /// What each plane becomes.
    grid: Grid,
    /// Size of the letters.
    scale: u64,
}

impl Layout {
    fn new(plane: [u64; 2], n_planes: u64, pair: bool, most: u64) -> Result<Layout> {
        let columns = match pair {
            true => n_planes,
            // About 4 to 3.
            false => {
                let shape = plane[1] as f64 / plane[0] as f64;
                let columns = (n_planes as f64 * shape * 4.0 / 3.0).sqrt().round();
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let columns = columns as u64;
                columns.clamp(1, n_planes)
            }
        };
        let rows = n_planes.div_ceil(columns);
        let cell = |n: u64, words: u64| (most / n).saturating_sub(GAP + words);
        let room = [cell(columns, 2), cell(rows, 20)];
        let grid = Grid::new(plane, room, SIDES[usize::from(pair)]);
        let (sides, pixels) = (grid.sides(), grid.pixels());
        let too_small = sides[0].min(sides[1]) < LEAST_SIDE.min(plane[0].min(plane[1]));
        if sides[0] > room[0] || sides[1] > room[1] || too_small {
            return Err(Error::input(format!(
                "{n_planes} planes of {} do not fit a sheet of {most} pixels",
                show_shape(&plane)
            ))
            .hint(format!(
                "--section '[*,*,1:{n_planes}:10]' takes every tenth; --max-size {MOST_SIZE} is \
                 the largest sheet"
            )));
        }
        Ok(Layout {
            columns,
            rows,
            grid,
            scale: if pixels[0] < 100 { 1 } else { 2 },
        })
    }

    /// Width and height of a plane with its word.
    fn cell(&self) -> [u64; 2] {
        let [width, height] = self.grid.pixels();
        [width + GAP, height + GAP + 10 * self.scale]
    }
}

struct SheetSink {
    output: Output,
    remaining: Remaining,
    look: Look,
    sheet: Sheet,
    layout: Layout,
    planes: Averager,
    dtype: DType,
}

/// Begins a sheet of the planes of an image.
///
/// # Errors
/// When the target cannot be written, or the planes do not fit.
pub(in crate::sinks) fn create(
    target: &Target,
    image: &Image,
    look: &Look,
    sheet: &Sheet,
) -> Result<Box<dyn Sink>> {
    let (plane, more) = match image.shape[..] {
        [x, y, ref more @ ..] if x > 0 && y > 0 => ([x, y], more),
        _ => return Err(Error::unsupported("a picture needs samples")),
    };
    let n_planes = more.iter().product::<u64>().max(1);
    let most = look.max_size.clamp(1, MOST_SIZE);
    let layout = Layout::new(plane, n_planes, sheet.marks.is_some(), most)?;
    Ok(Box::new(SheetSink {
        output: Output::create(target)?,
        remaining: Remaining::new(image.bytes()?, image.dtype),
        look: look.clone(),
        sheet: sheet.clone(),
        planes: Averager::new(image, layout.grid),
        dtype: image.dtype,
        layout,
    }))
}

impl Sink for SheetSink {
    fn write(&mut self, samples: &[u8]) -> Result<()> {
        self.remaining.take(samples).at(self.output.name())?;
        debug_assert!(samples.len().is_multiple_of(self.dtype.size()));
        self.planes.write(samples);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.remaining.finish().at(self.output.name())?;
        let limits = self.limits();
        let canvas = self.draw(limits);
        let comment = limits_text(limits, &self.layout.grid);
        let sides = [canvas.width, canvas.height];
        let bytes = encode_rgb(sides, &canvas.pixels, &self.look.title, &comment)?;
        self.output.write(&bytes)?;
        self.output.finish()
    }
}

impl SheetSink {
    /// Black and white of all planes: the middle ones of theirs, so that a bad frame
    /// decides nothing, or the values of all where all are wanted.
    fn limits(&self) -> Option<(f64, f64)> {
        let stretch = self.look.stretch;
        let values = self.planes.means();
        if stretch == Stretch::MinMax {
            return stretch.limits(values);
        }
        let len: u64 = self.layout.grid.sides().iter().product();
        let planes = values.chunks_exact(usize::try_from(len).unwrap_or(1));
        let (mut lows, mut highs): (Vec<f64>, Vec<f64>) =
            planes.filter_map(|plane| stretch.limits(plane)).unzip();
        lows.sort_unstable_by(f64::total_cmp);
        highs.sort_unstable_by(f64::total_cmp);
        let middle = lows.len() / 2;
        // A low one of one plane may lie above the high one of another.
        let (low, high) = (*lows.get(middle)?, *highs.get(middle)?);
        Some((low.min(high), low.max(high)))
    }

    fn draw(&self, limits: Option<(f64, f64)>) -> Canvas {
        let Grid { factors, zooms, .. } = self.layout.grid;
        let (sides, pixels) = (self.layout.grid.sides(), self.layout.grid.pixels());
        let cell = self.layout.cell();
        let whole = |side: u64| usize::try_from(side).unwrap_or(0);
        let width = whole(self.layout.columns * cell[0] + GAP);
        let height = whole(self.layout.rows * cell[1] + GAP);
        let mut canvas = Canvas::new(width, height, BACKGROUND);
        let map = self.look.colormap;
        let planes = self.planes.means().chunks_exact(whole(sides[0] * sides[1]));
        for (number, plane) in (0u64..).zip(planes) {
            let left = GAP + number % self.layout.columns * cell[0];
            let top = GAP + number / self.layout.columns * cell[1];
            let (left, top) = (left as i64, top as i64);
            for (row, values) in (0i64..).zip(plane.chunks_exact(whole(sides[0])).rev()) {
                for (column, &value) in (0i64..).zip(values) {
                    let color = match limits {
                        Some(limits) if !value.is_nan() => map.color(part_of(value, limits)),
                        _ => map.nothing(),
                    };
                    let [wide, high] = zooms.map(|zoom| zoom as i64);
                    let (x, y) = (left + column * wide, top + row * high);
                    canvas.fill(x, y, wide, high, color);
                }
            }
            for &(x, y) in self.sheet.marks.iter().flatten() {
                let place = |k: usize, at: u64| {
                    let middle = (at / factors[k]) as f64 + 0.5;
                    middle * zooms[k] as f64 - 0.5
                };
                let x = left as f64 + place(0, x);
                let y = top as f64 + (pixels[1] as f64 - 1.0 - place(1, y));
                let radius = zooms[0].max(zooms[1]) as f64;
                canvas.ring((x, y), radius.max(5.0), 1.6, MARK);
            }
            let label = self.sheet.labels.get(whole(number));
            let word = label.map_or("", String::as_str);
            let room = pixels[0] as i64;
            let scale = match self.layout.scale as i64 {
                scale if text_width(word, scale) <= room => scale,
                _ => 1,
            };
            let under = top + pixels[1] as i64 + scale;
            let start = left + (room - text_width(word, scale)).max(0) / 2;
            canvas.text(start, under, scale, WORDS, word);
        }
        canvas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_planes_fits_its_sheet_or_is_refused() {
        for plane in [[1, 1], [64, 48], [2048, 2048], [5000, 10], [16, 9000]] {
            for n in [1, 2, 3, 24, 100, 999, 100_000] {
                for most in [64, 2048] {
                    let Ok(layout) = Layout::new(plane, n, false, most) else {
                        continue;
                    };
                    assert!(layout.columns * layout.rows >= n, "{plane:?} {n} {most}");
                    assert!(
                        layout.columns * (layout.rows - 1) < n,
                        "{plane:?} {n} {most}"
                    );
                    let [width, height] = layout.cell();
                    let across = layout.columns * width + GAP;
                    let down = layout.rows * height + GAP;
                    let slack = GAP + 20;
                    assert!(across.max(down) <= most + slack, "{plane:?} {n} {most}");
                }
            }
        }
        let layout = Layout::new([64, 48], 24, false, 2048).unwrap();
        assert_eq!((layout.columns, layout.rows), (5, 5));
        assert_eq!((layout.grid.factors, layout.grid.zooms), ([1, 1], [2, 2]));
        let refused = Layout::new([64, 48], 100_000, false, 2048).err().unwrap();
        assert!(refused.to_string().contains("100000 planes of 64 x 48"));
    }
}
