//! A picture in memory on which lines and words are drawn, edges smoothed.

use super::font;

/// Red, green, blue.
pub(super) type Color = [u8; 3];

/// Pixels, row by row from the top.
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize, color: Color) -> Canvas {
        Canvas {
            width,
            height,
            pixels: color.repeat(width * height),
        }
    }

    /// Lays a color over a pixel; `cover` is how much of the pixel it covers.
    fn blend(&mut self, x: i64, y: i64, color: Color, cover: f64) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else {
            return;
        };
        if self.width <= x || self.height <= y {
            return;
        }
        let at = 3 * (y * self.width + x);
        for (old, new) in self.pixels[at..at + 3].iter_mut().zip(color) {
            let mixed = f64::from(*old) * (1.0 - cover) + f64::from(new) * cover;
            *old = to_byte(mixed);
        }
    }

    /// A filled box.
    pub(super) fn fill(&mut self, x: i64, y: i64, width: i64, height: i64, color: Color) {
        for row in y..y + height {
            for column in x..x + width {
                self.blend(column, row, color, 1.0);
            }
        }
    }

    /// A straight line of some thickness with round ends; centres of pixels are
    /// at whole numbers.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), thick: f64, color: Color) {
        let reach = thick / 2.0 + 1.0;
        let (lo_y, hi_y) = (from.1.min(to.1) - reach, from.1.max(to.1) + reach);
        let (lo_x, hi_x) = (from.0.min(to.0) - reach, from.0.max(to.0) + reach);
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let square = dx * dx + dy * dy;
        for y in self.rows_between(lo_y, hi_y) {
            for x in to_pixel(lo_x)..=to_pixel(hi_x) {
                let (px, py) = (x as f64 - from.0, y as f64 - from.1);
                let along = if square > 0.0 {
                    ((px * dx + py * dy) / square).clamp(0.0, 1.0)
                } else {
                    0.0
                };
                let distance = (px - along * dx).hypot(py - along * dy);
                let cover = (thick / 2.0 + 0.5 - distance).clamp(0.0, 1.0);
                if cover > 0.0 {
                    self.blend(x, y, color, cover);
                }
            }
        }
    }

    /// A ring around a point.
    pub(super) fn ring(&mut self, at: (f64, f64), radius: f64, thick: f64, color: Color) {
        let reach = radius + thick;
        for y in self.rows_between(at.1 - reach, at.1 + reach) {
            for x in to_pixel(at.0 - reach)..=to_pixel(at.0 + reach) {
                let distance = (x as f64 - at.0).hypot(y as f64 - at.1);
                let cover = thick / 2.0 + 0.5 - (distance - radius).abs();
                if cover > 0.0 {
                    self.blend(x, y, color, cover.min(1.0));
                }
            }
        }
    }

    fn rows_between(&self, lo: f64, hi: f64) -> std::ops::RangeInclusive<i64> {
        let last = i64::try_from(self.height).unwrap_or(i64::MAX) - 1;
        to_pixel(lo).max(0)..=to_pixel(hi).min(last)
    }

    /// Words whose top left corner is at (x, y), each dot `scale` pixels wide.
    pub(super) fn text(&mut self, x: i64, y: i64, scale: i64, color: Color, text: &str) {
        let mut left = x;
        for c in text.chars() {
            for (bits, row) in font::rows(c).into_iter().zip(0..) {
                for column in 0..font::WIDTH {
                    if bits >> (font::WIDTH - 1 - column) & 1 == 1 {
                        let dot = left + scale * column as i64;
                        self.fill(dot, y + scale * row, scale, scale, color);
                    }
                }
            }
            left += scale * font::ADVANCE as i64;
        }
    }

    /// Words that run upwards, whose bottom left corner is at (x, y).
    pub(super) fn text_up(&mut self, x: i64, y: i64, scale: i64, color: Color, text: &str) {
        let mut bottom = y;
        for c in text.chars() {
            for (bits, row) in font::rows(c).into_iter().zip(0..) {
                for column in 0..font::WIDTH {
                    if bits >> (font::WIDTH - 1 - column) & 1 == 1 {
                        let dot = bottom - scale * (column as i64 + 1);
                        self.fill(x + scale * row, dot, scale, scale, color);
                    }
                }
            }
            bottom -= scale * font::ADVANCE as i64;
        }
    }
}

/// How wide words are.
pub(super) fn text_width(text: &str, scale: i64) -> i64 {
    let dots = (text.chars().count() * font::ADVANCE).saturating_sub(1);
    scale * i64::try_from(dots).unwrap_or(i64::MAX / scale)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast to an integer stops at its ends"
)]
fn to_byte(value: f64) -> u8 {
    value.round() as u8
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a float cast to an integer stops at its ends"
)]
fn to_pixel(value: f64) -> i64 {
    value.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_covers_what_it_crosses_and_nothing_outside_the_canvas() {
        let mut canvas = Canvas::new(10, 10, [0; 3]);
        canvas.line((1.0, 5.0), (8.0, 5.0), 1.0, [200; 3]);
        let at = |canvas: &Canvas, x: usize, y: usize| canvas.pixels[3 * (y * 10 + x)];
        assert_eq!(at(&canvas, 4, 5), 200);
        assert_eq!(at(&canvas, 4, 3), 0);
        canvas.line((-50.0, -50.0), (50.0, 60.0), 2.0, [9; 3]);
        canvas.ring((0.0, 0.0), 30.0, 1.0, [9; 3]);
        canvas.text(-3, -3, 4, [9; 3], "Wide \u{e9}");
        canvas.text_up(8, 2, 1, [9; 3], "up");
    }

    #[test]
    fn every_printable_character_looks_like_no_other() {
        let mut seen = std::collections::HashSet::new();
        for c in ' '..='~' {
            assert!(seen.insert(font::rows(c)), "{c}");
            assert!(font::rows(c).iter().all(|&row| row < 32), "{c}");
        }
        assert_eq!(font::rows('\u{e9}'), font::rows('?'));
    }
}
