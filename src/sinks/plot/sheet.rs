//! Several planes on one picture, with a word under each: all frames of a cube for
//! spotting the bad one, or a plane as it came beside what it is now.
//!
//! All planes have one stretch, so that what is brighter looks brighter. Planes too
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
        let cell = |n: u64, words: u64| (most.saturating_sub(GAP) / n).saturating_sub(GAP + words);
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
    /// Black and white of all planes: the least and the greatest of theirs, without
    /// outlying ones, so that a bad frame decides nothing; or of the values of all where
    /// all are wanted.
    fn limits(&self) -> Option<(f64, f64)> {
        let stretch = self.look.stretch;
        let values = self.planes.means();
        if stretch == Stretch::MinMax {
            return stretch.limits(values);
        }
        let len: u64 = self.layout.grid.sides().iter().product();
        let planes = values.chunks_exact(usize::try_from(len).unwrap_or(1));
        common(planes.filter_map(|plane| stretch.limits(plane)).collect())
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

/// The range that most ranges lie in. An end is outlying when it is further from the
/// middle half of such ends than 1.5 times the width of that half (the fences of Tukey,
/// Exploratory Data Analysis, 1977), or of the middle range, if that is wider: levels that
/// differ by less can be told apart with one range.
fn common(ranges: Vec<(f64, f64)>) -> Option<(f64, f64)> {
    let sorted = |mut values: Vec<f64>| {
        values.sort_unstable_by(f64::total_cmp);
        values
    };
    let widths = sorted(ranges.iter().map(|(low, high)| high - low).collect());
    let width = *widths.get(widths.len() / 2)?;
    let (lows, highs) = ranges.into_iter().unzip();
    let ends = [lows, highs].map(|ends| {
        let ends = sorted(ends);
        // Of three one may be outlying, too.
        let quarter = (ends.len() + 1) / 4;
        let (first, last) = (ends[quarter], ends[ends.len() - 1 - quarter]);
        let reach = 1.5 * width.max(last - first);
        let inside = first - reach..=last + reach;
        ends.into_iter().filter(move |end| inside.contains(end))
    });
    let [mut lows, mut highs] = ends;
    Some((lows.next()?, highs.next_back()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_range_spans_levels_but_not_outlying_ones() {
        let at = |levels: &[i32]| {
            let ranges = levels
                .iter()
                .map(|&level| (f64::from(level) - 10.0, f64::from(level) + 10.0));
            common(ranges.collect())
        };
        assert_eq!(at(&[]), None);
        assert_eq!(at(&[50]), Some((40.0, 60.0)));
        // A drift, in any order.
        assert_eq!(at(&[60, 50, 40, 30, 20, 10, 0]), Some((-10.0, 70.0)));
        assert_eq!(at(&[0, 5, 0, 30, 3]), Some((-10.0, 40.0)));
        // Two filters.
        let filters = [0, 0, 900, 0, 0, 900, 0, 900];
        assert_eq!(at(&filters), Some((-10.0, 910.0)));
        // Some that are bad.
        assert_eq!(at(&[0, 2, 900]), Some((-10.0, 12.0)));
        let bad = [0, 1, 2, -500, 3, 4, 5, 900, 6, 7, 900, 8];
        assert_eq!(at(&bad), Some((-10.0, 18.0)));
        // One that is nothing but noise.
        let noisy = vec![(0.0, 10.0), (1.0, 11.0), (-900.0, 900.0), (2.0, 12.0)];
        assert_eq!(common(noisy), Some((0.0, 12.0)));
        let widest = vec![(f64::MIN, f64::MAX); 3];
        assert_eq!(common(widest), Some((f64::MIN, f64::MAX)));
    }

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
