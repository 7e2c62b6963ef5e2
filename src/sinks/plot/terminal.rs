//! A plot of characters: dots of braille where the terminal has them, else ASCII.
//!
//! Each profile is a plot of its own, one below the other.

use super::scale::{Scale, with_room};
use super::{Curve, Plot};
use crate::sinks::Terminal;

/// Fewer columns or rows than this show nothing.
const LEAST: (usize, usize) = (30, 8);

/// Rows of a plot, its labels counted, that are enough.
const ENOUGH_ROWS: usize = 24;

/// Columns of a plot that are enough.
const ENOUGH_COLUMNS: usize = 160;

/// Dots of a character of braille, across and down.
const DOTS: (usize, usize) = (2, 4);

/// The characters of a plot.
struct Signs {
    vertical: char,
    tick: char,
    corner: char,
    horizontal: char,
    tick_below: char,
    replaced: char,
}

const UNICODE: Signs = Signs {
    vertical: '│',
    tick: '┤',
    corner: '└',
    horizontal: '─',
    tick_below: '┬',
    replaced: '×',
};

const ASCII: Signs = Signs {
    vertical: '|',
    tick: '+',
    corner: '+',
    horizontal: '-',
    tick_below: '+',
    replaced: 'x',
};

/// Draws the plot in lines, each ended.
pub(super) fn draw(plot: &Plot, terminal: Terminal) -> String {
    let columns = terminal.columns.clamp(LEAST.0, ENOUGH_COLUMNS);
    let rows = terminal.rows.clamp(LEAST.1, ENOUGH_ROWS);
    let mut out = String::new();
    for curve in &plot.curves {
        if !out.is_empty() {
            out.push('\n');
        }
        let mut title = plot.title.clone();
        if plot.curves.len() > 1 {
            title.push_str(&format!("  {}", curve.name));
        }
        let plane = Plane::new(plot, curve, (columns, rows), terminal.ascii);
        out.push_str(&plane.render(&title, plot));
    }
    out
}

/// One profile on a grid of characters.
struct Plane {
    signs: &'static Signs,
    columns: usize,
    rows: usize,
    /// Characters to the left of the axis.
    margin: usize,
    x: Scale,
    y: Scale,
    cells: Vec<char>,
    n_marks: usize,
    has_values: bool,
}

impl Plane {
    fn new(plot: &Plot, curve: &Curve, (columns, rows): (usize, usize), ascii: bool) -> Plane {
        let extremes = Plot::extremes(std::slice::from_ref(curve));
        let (lo, hi) = extremes.map_or((0.0, 1.0), |(lo, hi)| with_room(lo, hi));
        // Title, axis and numbers take three rows, and the unit one more.
        let rows = rows - 4;
        let y = Scale::new(lo, hi, rows / 4, false);
        let margin = y.width().max(4) + 1;
        let columns = columns.saturating_sub(margin + 2).max(10);
        let side = if plot.range.0 == plot.range.1 {
            0.5
        } else {
            0.0
        };
        let mut plane = Plane {
            signs: if ascii { &ASCII } else { &UNICODE },
            columns,
            rows,
            margin,
            x: plot.x_scale(columns / 10, side),
            y,
            cells: vec![' '; columns * rows],
            n_marks: curve.marks.len(),
            has_values: extremes.is_some(),
        };
        match ascii {
            true => plane.draw_ascii(curve),
            false => plane.draw_braille(curve),
        }
        for &(x, y) in &curve.marks {
            let (x, y) = plane.place(x, y, (1, 1));
            plane.cells[y * columns + x] = plane.signs.replaced;
        }
        plane
    }

    /// The dot of a point; `dots` of them make a character.
    fn place(&self, x: f64, y: f64, dots: (usize, usize)) -> (usize, usize) {
        let within = |part: f64, n: usize| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let dot = (part.clamp(0.0, 1.0) * (n - 1) as f64).round() as usize;
            dot.min(n - 1)
        };
        let column = within(self.x.part(x), self.columns * dots.0);
        let row = within(1.0 - self.y.part(y), self.rows * dots.1);
        (column, row)
    }

    fn draw_braille(&mut self, curve: &Curve) {
        // Bits of U+2800, by column and row of a character.
        const BITS: [[u32; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
        let mut dots = vec![0u32; self.cells.len()];
        let columns = self.columns;
        let mut dot = |x: usize, y: usize| {
            let cell = y / DOTS.1 * columns + x / DOTS.0;
            dots[cell] |= BITS[x % DOTS.0][y % DOTS.1];
        };
        let mut before = None;
        for &(x, lo, hi) in &curve.points {
            if !lo.is_finite() || !hi.is_finite() {
                before = None;
                continue;
            }
            let (low, high) = (self.place(x, lo, DOTS), self.place(x, hi, DOTS));
            segment(before.unwrap_or(low), low, &mut dot);
            segment(low, high, &mut dot);
            before = Some(high);
        }
        for (cell, bits) in self.cells.iter_mut().zip(dots) {
            if bits != 0 {
                *cell = char::from_u32(0x2800 + bits).unwrap_or(' ');
            }
        }
    }

    fn draw_ascii(&mut self, curve: &Curve) {
        let mut before: Option<(usize, usize)> = None;
        for &(x, lo, hi) in &curve.points {
            if !lo.is_finite() || !hi.is_finite() {
                before = None;
                continue;
            }
            let (low, high) = (self.place(x, lo, (1, 1)), self.place(x, hi, (1, 1)));
            let columns = self.columns;
            let cells = &mut self.cells;
            if let Some(before) = before {
                segment(before, low, &mut |x, y| {
                    let cell = &mut cells[y * columns + x];
                    if *cell == ' ' {
                        *cell = '.';
                    }
                });
            }
            segment(low, high, &mut |x, y| cells[y * columns + x] = '*');
            before = Some(high);
        }
    }

    fn render(&self, title: &str, plot: &Plot) -> String {
        let mut lines = vec![title.to_string()];
        if !plot.y_label.is_empty() {
            lines.push(format!("{:>width$}", plot.y_label, width = self.margin));
        }
        let mut labels = vec![None; self.rows];
        for (value, text) in &self.y.ticks {
            labels[self.place(self.x.lo, *value, (1, 1)).1] = Some(text);
        }
        let empty = "no sample has a value";
        for (row, label) in labels.into_iter().enumerate() {
            let mut cells: String = self.cells[row * self.columns..][..self.columns]
                .iter()
                .collect();
            if !self.has_values && row == self.rows / 2 {
                cells = format!("{empty:^width$}", width = self.columns);
            }
            let (text, sign) = match label {
                Some(text) => (text.as_str(), self.signs.tick),
                None => ("", self.signs.vertical),
            };
            let line = format!("{text:>width$} {sign}{cells}", width = self.margin - 1);
            lines.push(line.trim_end().to_string());
        }
        let (axis, numbers) = self.below();
        let blank = " ".repeat(self.margin);
        lines.push(format!("{blank}{}{axis}", self.signs.corner));
        lines.push(format!("{blank} {numbers}").trim_end().to_string());
        let mut last = format!("{blank} {:^width$}", plot.x_label, width = self.columns);
        if self.n_marks > 0 {
            let what = format!("{} replaced", self.signs.replaced);
            last = format!("{}   {what}", last.trim_end());
        }
        lines.push(last.trim_end().to_string());
        lines.join("\n") + "\n"
    }

    /// The axis below, and the numbers under it.
    fn below(&self) -> (String, String) {
        let mut axis = vec![self.signs.horizontal; self.columns];
        let mut numbers = String::new();
        for (value, text) in &self.x.ticks {
            let column = self.place(*value, self.y.lo, (1, 1)).0;
            let start = column.saturating_sub(text.len() / 2);
            let start = start.min((self.columns + 1).saturating_sub(text.len()));
            // A number that would touch its neighbour is left out.
            if numbers.is_empty() || numbers.len() < start {
                numbers.push_str(&" ".repeat(start - numbers.len()));
                numbers.push_str(text);
                axis[column] = self.signs.tick_below;
            }
        }
        (axis.into_iter().collect(), numbers)
    }
}

/// Calls `dot` for the dots of a straight line, ends counted.
fn segment(from: (usize, usize), to: (usize, usize), dot: &mut dyn FnMut(usize, usize)) {
    let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1));
    let between = |a: usize, b: usize, step: usize| {
        let (a, b) = (a as f64, b as f64);
        let part = step as f64 / steps.max(1) as f64;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let dot = (a + (b - a) * part).round() as usize;
        dot
    };
    for step in 0..=steps {
        dot(between(from.0, to.0, step), between(from.1, to.1, step));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(values: &[f64], marks: &[(f64, f64)]) -> Plot {
        let points = values.iter().zip(1..).map(|(&v, x)| (f64::from(x), v, v));
        Plot {
            title: "a.cube  x,y = 3,4".to_string(),
            x_label: "z".to_string(),
            y_label: "ADU".to_string(),
            range: (1.0, values.len() as f64),
            is_numbered: true,
            curves: vec![Curve {
                name: "3,4".to_string(),
                points: points.collect(),
                marks: marks.to_vec(),
            }],
        }
    }

    fn drawn(plot: &Plot, columns: usize, rows: usize, ascii: bool) -> String {
        let terminal = Terminal {
            columns,
            rows,
            ascii,
        };
        draw(plot, terminal)
    }

    #[test]
    fn a_plot_fits_the_terminal_and_is_ascii_when_it_must_be() {
        let values: Vec<f64> = (0..200).map(|k| f64::from(k % 17) * 1234.5).collect();
        let plot = plot(&values, &[(5.0, 4938.0)]);
        for (columns, rows) in [(80, 24), (30, 8), (200, 60), (1, 1)] {
            for ascii in [true, false] {
                let text = drawn(&plot, columns, rows, ascii);
                let lines: Vec<&str> = text.lines().collect();
                assert!(lines.len() <= rows.clamp(LEAST.1, ENOUGH_ROWS) + 1);
                for line in lines {
                    assert!(
                        line.chars().count() <= columns.clamp(30, 160) + 12,
                        "{line}"
                    );
                }
                assert_eq!(text.is_ascii(), ascii);
                assert!(text.contains("replaced"));
            }
        }
    }

    #[test]
    fn a_ramp_goes_from_the_bottom_left_to_the_top_right() {
        let values: Vec<f64> = (0..50).map(f64::from).collect();
        let text = drawn(&plot(&values, &[]), 60, 20, true);
        let rows: Vec<&str> = text.lines().filter(|line| line.contains('*')).collect();
        let first = |row: &str| row.find('*').unwrap();
        assert!(rows.len() > 10);
        assert!(rows.windows(2).all(|pair| first(pair[0]) > first(pair[1])));
    }

    #[test]
    fn profiles_without_values_or_of_one_sample_are_drawn() {
        for values in [&[f64::NAN, f64::INFINITY][..], &[7.0], &[0.0, 0.0], &[]] {
            for ascii in [true, false] {
                let text = drawn(&plot(values, &[]), 60, 20, ascii);
                let empty = !values.iter().any(|value| value.is_finite());
                assert_eq!(text.contains("no sample has a value"), empty);
            }
        }
    }
}
