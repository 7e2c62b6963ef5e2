//! Which positions of each axis a request means, and how users write that.
//!
//! Users count from 1, include both ends, and count from the end with negative
//! numbers; the code counts from 0. This file is the border between the two.

use std::cmp::Ordering;

use crate::error::{Error, Result};

/// The most axes that a cube, and so a frame, can have.
pub const MAX_RANK: usize = 8;

/// Names of the axes, the fastest first.
pub const AXIS_NAMES: [&str; MAX_RANK] = ["x", "y", "z", "w", "v", "u", "t", "s"];

/// Positions `start, start + step, ...` on one axis, `len` of them, from 0.
///
/// `step` is not 0; a negative one runs backwards from `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first position, from 0.
    pub start: u64,
    /// Distance from one position to the next.
    pub step: i64,
    /// How many positions.
    pub len: u64,
}

impl Span {
    /// Positions `start..start + len`.
    pub const fn run(start: u64, len: u64) -> Span {
        Span {
            start,
            step: 1,
            len,
        }
    }

    /// The `k`-th position. `k` is less than `len`.
    pub fn at(&self, k: u64) -> u64 {
        self.start
            .wrapping_add_signed(self.step.wrapping_mul(k as i64))
    }

    /// Those of its positions whose numbers a run has.
    pub fn part(&self, run: &Span) -> Span {
        Span {
            start: self.at(run.start),
            step: self.step,
            len: run.len,
        }
    }

    /// Which of its positions this one is, if it is one.
    pub fn number_of(&self, position: u64) -> Option<u64> {
        let ahead = i128::from(position) - i128::from(self.start);
        let step = i128::from(self.step);
        let number = u64::try_from(ahead / step).ok()?;
        (ahead % step == 0 && number < self.len).then_some(number)
    }

    /// Which of its positions are in `start..start + len`: the number of the first of
    /// them, and how many.
    pub fn numbers_in(&self, start: u64, len: u64) -> Option<(u64, u64)> {
        if self.len == 0 || len == 0 {
            return None;
        }
        let stride = i128::from(self.step.unsigned_abs());
        let last = self.at(self.len - 1);
        // The end of the span that comes first in the cube.
        let least = i128::from(self.start.min(last));
        let (lo, hi) = (i128::from(start), i128::from(start) + i128::from(len) - 1);
        let first = ((lo - least).max(0) + stride - 1) / stride;
        let end = ((hi - least).div_euclid(stride)).min(i128::from(self.len) - 1);
        if end < first {
            return None;
        }
        let (first, end) = (u64::try_from(first).ok()?, u64::try_from(end).ok()?);
        let from_start = match self.step < 0 {
            true => self.len - 1 - end,
            false => first,
        };
        Some((from_start, end - first + 1))
    }
}

/// Goes through a box of this shape in its own order, x fastest, in parts of at
/// most so many samples, or of one: axes up to some one are whole in every part,
/// that one goes in runs, and those beyond position by position.
pub struct Parts {
    lens: Vec<u64>,
    /// The axis that goes in runs.
    axis: usize,
    run: u64,
    next: Option<Vec<u64>>,
}

impl Parts {
    /// Parts of at most `most` samples.
    pub fn new(lens: &[u64], most: u64) -> Parts {
        let (mut axis, mut inner) = (0, 1u64);
        while axis + 1 < lens.len() && inner.saturating_mul(lens[axis]) <= most {
            inner *= lens[axis].max(1);
            axis += 1;
        }
        Parts {
            axis,
            run: (most / inner).max(1),
            next: (!lens.contains(&0)).then(|| vec![0; lens.len()]),
            lens: lens.to_vec(),
        }
    }

    /// Parts of whole tiles, as far as at most `most` samples hold them: of `few` samples
    /// where those do.
    pub fn of_tiles(lens: &[u64], tile: &[u64], few: u64, most: u64) -> Parts {
        let parts = Parts::new(lens, few).of_whole_tiles(tile);
        match parts.run < tile[parts.axis].min(lens[parts.axis]) {
            true => Parts::new(lens, most).of_whole_tiles(tile),
            false => parts,
        }
    }

    /// Shortens runs to multiples of the tile's length, where they are longer.
    #[must_use]
    pub fn of_whole_tiles(mut self, tile: &[u64]) -> Parts {
        let tile = tile[self.axis];
        if self.run > tile {
            self.run = self.run / tile * tile;
        }
        self
    }
}

impl Iterator for Parts {
    type Item = Vec<Span>;

    fn next(&mut self) -> Option<Vec<Span>> {
        let at = self.next.take()?;
        let lens = self.lens.iter().enumerate();
        let part = lens.map(|(axis, &len)| match axis.cmp(&self.axis) {
            Ordering::Less => Span::run(0, len),
            Ordering::Equal => Span::run(at[axis], self.run.min(len - at[axis])),
            Ordering::Greater => Span::run(at[axis], 1),
        });
        let part = part.collect();
        let mut next = at;
        let step = (self.axis..next.len()).find(|&axis| {
            next[axis] += if axis == self.axis { self.run } else { 1 };
            let more = next[axis] < self.lens[axis];
            next[axis] *= u64::from(more);
            more
        });
        self.next = step.map(|_| next);
        Some(part)
    }
}

/// The places of a box of this shape, x fastest.
pub fn places(lens: [u64; MAX_RANK]) -> impl Iterator<Item = [u64; MAX_RANK]> + Send {
    let first = (!lens.contains(&0)).then_some([0; MAX_RANK]);
    std::iter::successors(first, move |place| {
        let mut next = *place;
        let mut axes = next.iter_mut().zip(lens);
        let is_over = axes.all(|(at, len)| {
            *at += 1;
            *at *= u64::from(*at < len);
            *at == 0
        });
        (!is_over).then_some(next)
    })
}

/// The number of samples in a box of this shape.
///
/// # Errors
/// When the product does not fit 63 bits.
pub fn volume(shape: &[u64]) -> Result<u64> {
    shape
        .iter()
        .try_fold(1u64, |product, &len| product.checked_mul(len))
        .filter(|&product| product <= i64::MAX as u64)
        .ok_or_else(|| Error::input(format!("shape {} is too large", show_shape(shape))))
}

/// A shape as messages write it: `650 x 500 x 12`, x first.
pub fn show_shape(shape: &[u64]) -> String {
    let lens: Vec<String> = shape.iter().map(u64::to_string).collect();
    lens.join(" x ")
}

/// The axis a user names by letter or by number from 1, counted from 0 here.
pub fn parse_axis(text: &str) -> Result<usize> {
    let by_name = AXIS_NAMES
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text));
    let by_number = || {
        text.parse::<usize>()
            .ok()
            .filter(|n| (1..=MAX_RANK).contains(n))
    };
    by_name
        .or_else(|| by_number().map(|n| n - 1))
        .ok_or_else(|| {
            Error::input(format!("there is no axis `{text}`"))
                .hint("axes are x y z w v u t s, or 1 to 8; x is the fastest")
        })
}

/// Sees that a cube of this shape has an axis.
pub fn check_axis(axis: usize, shape: &[u64]) -> Result<()> {
    match axis < shape.len() {
        true => Ok(()),
        false => Err(Error::input(format!(
            "there is no axis {}: the cube has {}",
            AXIS_NAMES[axis],
            show_shape(shape)
        ))),
    }
}

/// Sees that a cube of this shape has samples.
pub fn check_samples(shape: &[u64]) -> Result<()> {
    match shape.iter().position(|&len| len == 0) {
        None => Ok(()),
        Some(axis) => Err(Error::input(format!(
            "the cube is empty: {} has length 0",
            AXIS_NAMES[axis]
        ))),
    }
}

/// One position from 1, or from the end when negative, on an axis of length `len`.
pub fn parse_position(text: &str, axis: usize, len: u64) -> Result<u64> {
    let given: i64 = text.trim().parse().map_err(|_| {
        Error::input(format!(
            "`{text}` is not a position on {}",
            AXIS_NAMES[axis]
        ))
        .hint("a position is a whole number from 1; negative counts from the end")
    })?;
    let from_start = match given {
        0 => None,
        1.. => u64::try_from(given).ok().map(|n| n - 1),
        _ => len.checked_sub(given.unsigned_abs()),
    };
    from_start
        .filter(|&position| position < len)
        .ok_or_else(|| {
            let valid = match len {
                0 => format!("{} has length 0", AXIS_NAMES[axis]),
                _ => format!("{} runs from 1 to {len}", AXIS_NAMES[axis]),
            };
            Error::input(format!("position {given} is outside the cube: {valid}"))
        })
}

/// Where to put something in on an axis of length `len`: before the position that
/// is given, from 1 to `len + 1`, or from the end when negative.
pub fn parse_gap(text: &str, axis: usize, len: u64) -> Result<u64> {
    if text.trim().parse() == Ok(len + 1) {
        return Ok(len);
    }
    parse_position(text, axis, len).map_err(|error| {
        error.hint(match len {
            0 => "the cube is empty: 1 is the only place".to_string(),
            _ => format!("1 is before everything, {} after everything", len + 1),
        })
    })
}

/// One axis of a section: `*`, `-*`, `*:s`, `k`, `a:b` or `a:b:s`.
///
/// `a:b` with `a > b` runs backwards, as in cfitsio and IRAF.
pub fn parse_span(text: &str, axis: usize, len: u64) -> Result<Span> {
    let text = text.trim();
    let parts: Vec<&str> = text.split(':').map(str::trim).collect();
    let (ends, step) = match parts[..] {
        ["*"] | ["-*"] | [_] => (&parts[..1], None),
        ["*" | "-*", step] => (&parts[..1], Some(step)),
        [_, _] => (&parts[..], None),
        [_, _, step] => (&parts[..2], Some(step)),
        _ => return Err(bad_span(text, axis)),
    };
    let step = match step {
        None => 1,
        Some(step) => step
            .parse::<u64>()
            .ok()
            .filter(|&step| 0 < step && step <= i64::MAX as u64)
            .ok_or_else(|| {
                Error::input(format!(
                    "step `{step}` in `{text}` is not a whole number from 1"
                ))
                .hint("write b:a to run backwards, such as 9:1:2")
            })?,
    };
    let (first, last) = match ends {
        ["*"] if len > 0 => (0, len - 1),
        ["-*"] if len > 0 => (len - 1, 0),
        ["*" | "-*"] => return Ok(Span::run(0, 0)),
        [one] => {
            let position = parse_position(one, axis, len)?;
            (position, position)
        }
        [a, b] => (parse_position(a, axis, len)?, parse_position(b, axis, len)?),
        _ => return Err(bad_span(text, axis)),
    };
    let signed = i64::try_from(step).map_err(|_| bad_span(text, axis))?;
    Ok(Span {
        start: first,
        step: if first <= last { signed } else { -signed },
        len: first.abs_diff(last) / step + 1,
    })
}

fn bad_span(text: &str, axis: usize) -> Error {
    Error::input(format!(
        "cannot read `{text}` as positions on {}",
        AXIS_NAMES[axis]
    ))
    .hint("write *, -*, 5, 2:9 or 2:9:3; positions start at 1, both ends count")
}

/// A section `[a:b,*,5]` of an array of this shape; the brackets may be left out.
///
/// Axes the section does not mention are taken whole only when they have
/// length 1: a forgotten axis is an error, not a surprise.
pub fn parse_section(text: &str, shape: &[u64]) -> Result<Vec<Span>> {
    let inner = text.trim();
    let bare = inner
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    let inner = match bare {
        Some(bare) => bare,
        None if inner.contains(['[', ']']) => {
            return Err(Error::input(format!("section `{text}` lacks a bracket")));
        }
        None => inner,
    };
    let parts: Vec<&str> = inner.split(',').collect();
    if parts.len() > shape.len() || shape[parts.len()..].iter().any(|&len| len != 1) {
        return Err(Error::input(format!(
            "section `{text}` has {} axes, but the cube has {}: {}",
            parts.len(),
            shape.len(),
            show_shape(shape)
        ))
        .hint("give one range per axis, x first, such as [1:100,*,5]"));
    }
    let given = parts.iter().zip(shape).enumerate();
    let mut spans = given
        .map(|(axis, (part, &len))| parse_span(part, axis, len))
        .collect::<Result<Vec<_>>>()?;
    spans.resize(shape.len(), Span::run(0, 1));
    Ok(spans)
}

/// A list of positions and ranges on one axis, such as `5,9:12,-1`.
pub fn parse_positions(text: &str, axis: usize, len: u64) -> Result<Vec<Span>> {
    text.split(',')
        .map(|part| parse_span(part, axis, len))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_a_frame_are_found_in_any_span() {
        for (start, step, len) in [(0, 1, 10), (3, 2, 4), (9, -1, 10), (8, -3, 3), (5, 1, 1)] {
            let span = Span { start, step, len };
            for at in 0..12 {
                for n in 1..5 {
                    let hits: Vec<u64> = (0..len)
                        .filter(|&k| (at..at + n).contains(&span.at(k)))
                        .collect();
                    let expected = hits.first().map(|&first| (first, hits.len() as u64));
                    assert_eq!(span.numbers_in(at, n), expected, "{span:?} {at} {n}");
                }
            }
        }
    }

    #[test]
    fn spans_are_read_as_cfitsio_writes_them() {
        for (text, start, step, len) in [
            ("*", 0, 1, 10),
            ("-*", 9, -1, 10),
            ("*:3", 0, 3, 4),
            ("-*:3", 9, -3, 4),
            ("5", 4, 1, 1),
            ("2:9", 1, 1, 8),
            ("9:2", 8, -1, 8),
            ("2:9:3", 1, 3, 3),
            ("9:2:3", 8, -3, 3),
            ("-3:-1", 7, 1, 3),
        ] {
            let span = parse_span(text, 0, 10).unwrap();
            assert_eq!(span, Span { start, step, len }, "{text}");
            assert!(span.at(span.len - 1) < 10);
            for position in 0..12 {
                let found = (0..len).find(|&k| span.at(k) == position);
                assert_eq!(span.number_of(position), found, "{text}");
            }
        }
    }

    #[test]
    fn positions_outside_say_the_valid_range() {
        for text in [
            "0", "11", "-11", "3:11", "x", "1:2:3:4", "1:5:0", "", "1:5:-1",
        ] {
            assert!(parse_span(text, 2, 10).is_err(), "{text}");
        }
        let error = parse_span("11", 2, 10).unwrap_err();
        assert_eq!(
            error.to_string(),
            "position 11 is outside the cube: z runs from 1 to 10"
        );
    }

    #[test]
    fn parts_of_a_box_follow_each_other_in_its_order() {
        let lens = [5, 3, 4, 2];
        for most in 0..130 {
            let mut number = 0;
            for part in Parts::new(&lens, most).of_whole_tiles(&[2, 2, 3, 1]) {
                let size: u64 = part.iter().map(|span| span.len).product();
                assert!(0 < size && size <= most.max(1), "{most}: {part:?}");
                let starts = part.iter().zip(lens).rev();
                let first = starts.fold(0, |at, (span, len)| at * len + span.start);
                assert_eq!(first, number, "{most}: {part:?}");
                number += size;
            }
            assert_eq!(number, lens.iter().product::<u64>(), "{most}");
        }
        assert_eq!(Parts::new(&[3, 0, 2], 9).count(), 0);
    }

    #[test]
    fn the_places_of_a_box_are_in_its_order() {
        let found = places([2, 1, 3, 1, 1, 1, 1, 1]).map(|at| (at[0], at[2]));
        assert!(found.eq([(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]));
        assert_eq!(places([2, 1, 3, 1, 1, 1, 0, 1]).count(), 0);
    }

    #[test]
    fn a_section_names_every_axis() {
        let shape = [650, 500, 12];
        let spans = parse_section("[1:100,*,5]", &shape).unwrap();
        assert_eq!(
            spans.iter().map(|span| span.len).collect::<Vec<_>>(),
            [100, 500, 1]
        );
        assert!(parse_section("[1:100,*]", &shape).is_err());
        assert!(parse_section("[1,2,3,4]", &shape).is_err());
        assert_eq!(
            parse_section("*,*", &[5, 4, 1]).unwrap()[2],
            Span::run(0, 1)
        );
    }

    #[test]
    fn axes_have_letters_and_numbers() {
        assert_eq!(parse_axis("z").unwrap(), 2);
        assert_eq!(parse_axis("Z").unwrap(), 2);
        assert_eq!(parse_axis("1").unwrap(), 0);
        assert!(parse_axis("9").is_err() && parse_axis("0").is_err() && parse_axis("q").is_err());
    }
}
