//! A plot as a picture.

use super::canvas::{Canvas, Color, text_width};
use super::scale::{Scale, with_room};
use super::{Curve, Plot};

const WIDTH: usize = 1200;
const HEIGHT: usize = 700;

/// Room around the frame: left, right, top, bottom.
const MARGINS: [i64; 4] = [120, 30, 56, 84];

/// Pixels of a dot of the font.
const SCALE: i64 = 2;

/// Rows of a line of words.
const LINE: i64 = SCALE * 9;

// Dark, for eyes that have to see the sky in the next minute.
const BACKGROUND: Color = [22, 24, 30];
const GRID: Color = [46, 50, 60];
const FRAME: Color = [120, 126, 140];
const WORDS: Color = [208, 212, 220];
const MARK: Color = [255, 96, 96];

/// Colours of the curves, told apart by their lightness, too.
const CURVES: [Color; 6] = [
    [250, 190, 80],
    [100, 180, 255],
    [130, 220, 140],
    [236, 140, 210],
    [200, 204, 120],
    [150, 130, 240],
];

/// Pixels across a curve.
const THICK: f64 = 1.8;

/// With fewer pixels than this from sample to sample, samples have no dots.
const DOTS_FROM: f64 = 7.0;

/// The part of the picture where curves are.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Scale,
    y: Scale,
}

impl Frame {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        // Far outside is as good as outside, and does not overflow.
        let part = |scale: &Scale, value| scale.part(value).clamp(-1.0, 2.0);
        (
            self.left + part(&self.x, x) * (self.right - self.left),
            self.bottom - part(&self.y, y) * (self.bottom - self.top),
        )
    }
}

/// Draws the plot.
pub(super) fn draw(plot: &Plot) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, HEIGHT, BACKGROUND);
    let (lo, hi) = Plot::extremes(&plot.curves).map_or((0.0, 1.0), |(lo, hi)| with_room(lo, hi));
    let side = 0.5f64.max((plot.range.1 - plot.range.0) * 0.01);
    let y = Scale::new(lo, hi, 7, false);
    // Numbers of many digits need more room.
    let numbers = text_width(&"0".repeat(y.width()), SCALE) + 60;
    let frame = Frame {
        left: MARGINS[0].max(numbers).min(WIDTH as i64 / 3) as f64,
        right: (WIDTH as i64 - MARGINS[1]) as f64,
        top: MARGINS[2] as f64,
        bottom: (HEIGHT as i64 - MARGINS[3]) as f64,
        x: plot.x_scale(10, side),
        y,
    };
    draw_axes(&mut canvas, &frame, plot);
    for (curve, color) in plot.curves.iter().zip(CURVES.iter().cycle()) {
        draw_curve(&mut canvas, &frame, curve, *color);
    }
    for curve in &plot.curves {
        for &(x, y) in &curve.marks {
            canvas.ring(frame.at(x, y), 7.0, 2.0, MARK);
        }
    }
    draw_legend(&mut canvas, &frame, plot);
    if Plot::extremes(&plot.curves).is_none() {
        let text = "no sample has a value";
        let x = (pixel(frame.left) + pixel(frame.right) - text_width(text, SCALE)) / 2;
        canvas.text(x, HEIGHT as i64 / 2 - LINE, SCALE, WORDS, text);
    }
    canvas
}

fn draw_axes(canvas: &mut Canvas, frame: &Frame, plot: &Plot) {
    let [left, right, top, bottom] = [frame.left, frame.right, frame.top, frame.bottom].map(pixel);
    for (value, text) in &frame.x.ticks {
        let x = pixel(frame.at(*value, frame.y.lo).0);
        canvas.fill(x, top, 1, bottom - top, GRID);
        canvas.fill(x, bottom, 1, 8, FRAME);
        let middle = x - text_width(text, SCALE) / 2;
        canvas.text(middle, bottom + 14, SCALE, WORDS, text);
    }
    for (value, text) in &frame.y.ticks {
        let y = pixel(frame.at(frame.x.lo, *value).1);
        canvas.fill(left, y, right - left, 1, GRID);
        canvas.fill(left - 8, y, 8, 1, FRAME);
        let start = left - 14 - text_width(text, SCALE);
        canvas.text(start, y - SCALE * 7 / 2, SCALE, WORDS, text);
    }
    canvas.fill(left, top, 1, bottom - top, FRAME);
    canvas.fill(right, top, 1, bottom - top + 1, FRAME);
    canvas.fill(left, top, right - left, 1, FRAME);
    canvas.fill(left, bottom, right - left, 1, FRAME);
    let below = HEIGHT as i64 - LINE - 12;
    let middle = (left + right - text_width(&plot.x_label, SCALE)) / 2;
    canvas.text(middle, below, SCALE, WORDS, &plot.x_label);
    let middle = (top + bottom + text_width(&plot.y_label, SCALE)) / 2;
    canvas.text_up(14, middle, SCALE, WORDS, &plot.y_label);
    let most = (right - left) / (SCALE * 6);
    let title = shorten(&plot.title, usize::try_from(most).unwrap_or(0));
    canvas.text(left, (top - LINE) / 2, SCALE, WORDS, &title);
}

fn draw_curve(canvas: &mut Canvas, frame: &Frame, curve: &Curve, color: Color) {
    let mut before: Option<(f64, f64)> = None;
    let distance = (frame.right - frame.left) / curve.points.len().max(1) as f64;
    for (number, &(x, lo, hi)) in curve.points.iter().enumerate() {
        if !lo.is_finite() || !hi.is_finite() {
            before = None;
            continue;
        }
        let (from, to) = (frame.at(x, lo), frame.at(x, hi));
        if let Some(before) = before {
            canvas.line(before, from, THICK, color);
        }
        if lo < hi {
            canvas.line(from, to, THICK, color);
        }
        // One between gaps has no line to be seen by.
        let next = curve.points.get(number + 1);
        let is_alone = before.is_none() && next.is_none_or(|(_, lo, hi)| !(lo + hi).is_finite());
        if distance >= DOTS_FROM || is_alone {
            canvas.line(to, to, 6.0, color);
        }
        before = Some(to);
    }
}

/// Names of several curves, and what a mark means, at the top right.
fn draw_legend(canvas: &mut Canvas, frame: &Frame, plot: &Plot) {
    let n_marks: usize = plot.curves.iter().map(|curve| curve.marks.len()).sum();
    let mut right = pixel(frame.right);
    let row = (pixel(frame.top) - LINE) / 2 + LINE + 4;
    let mut entry = |canvas: &mut Canvas, text: &str, color: Color, is_mark: bool| {
        let start = right - text_width(text, SCALE);
        if start < pixel(frame.left) + 40 {
            return;
        }
        canvas.text(start, row - LINE - 2, SCALE, WORDS, text);
        let middle = (row - LINE / 2 - 4) as f64;
        match is_mark {
            true => canvas.ring(((start - 16) as f64, middle), 6.0, 2.0, color),
            false => {
                let line = ((start - 30) as f64, (start - 10) as f64);
                canvas.line((line.0, middle), (line.1, middle), 3.0, color);
            }
        }
        right = start - 54;
    };
    if n_marks > 0 {
        entry(canvas, "replaced", MARK, true);
    }
    if plot.curves.len() > 1 {
        let colors = CURVES.iter().cycle();
        let curves: Vec<_> = plot.curves.iter().zip(colors).collect();
        for (curve, color) in curves.into_iter().rev() {
            entry(canvas, &curve.name, *color, false);
        }
    }
}

/// The text, its middle left out where it is too long.
fn shorten(text: &str, most: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= most {
        return text.to_string();
    }
    let half = most.saturating_sub(3) / 2;
    let head: String = chars[..half].iter().collect();
    let tail: String = chars[chars.len() - half..].iter().collect();
    format!("{head}...{tail}")
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a float cast to an integer stops at its ends"
)]
fn pixel(value: f64) -> i64 {
    value.round() as i64
}
