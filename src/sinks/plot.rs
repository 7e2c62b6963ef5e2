//! Profiles as a plot: a PNG with axes and a title, or characters for a terminal.
//!
//! Samples are streamed. Of a profile longer than `MAX_POINTS` the least and the
//! greatest sample of each stretch are kept, so nothing that sticks out is lost and
//! memory is bounded. Samples that were replaced are marked.

mod canvas;
mod chart;
mod font;
mod scale;
pub(super) mod sheet;
mod terminal;

use super::output::{Output, Target};
use super::text::Profiles;
use scale::{Scale, with_room};

use super::{Format, Look, Remaining, Sink};
use crate::dtype::DType;
use crate::error::{Context, Error, Result};
use crate::kernels::cast::floats;

/// The most stretches that a profile is divided into.
const MAX_POINTS: u64 = 8192;

/// The most profiles in one plot: more are no picture but a tangle.
const MAX_CURVES: usize = 16;

/// The most samples that are marked in a profile.
const MAX_MARKS: usize = 4096;

/// One profile, ready to draw.
#[derive(Clone, Debug, Default)]
struct Curve {
    name: String,
    /// Position, least and greatest sample; NaN where there is none.
    points: Vec<(f64, f64, f64)>,
    /// Position and value of samples that were replaced.
    marks: Vec<(f64, f64)>,
}

impl Curve {
    fn add(&mut self, bucket: usize, position: f64, value: f64) {
        if self.points.len() <= bucket {
            self.points.push((position, value, value));
            return;
        }
        // `min` and `max` pass over NaN.
        let point = &mut self.points[bucket];
        (point.1, point.2) = (point.1.min(value), point.2.max(value));
    }
}

/// Everything a plot shows.
#[derive(Clone, Debug, Default)]
struct Plot {
    title: String,
    x_label: String,
    y_label: String,
    /// First and last position.
    range: (f64, f64),
    /// Are positions numbered, and not what frames say of themselves?
    is_numbered: bool,
    curves: Vec<Curve>,
}

impl Plot {
    /// The scale of positions, with so much room beside those that are numbered.
    fn x_scale(&self, n: usize, room: f64) -> Scale {
        let (lo, hi) = self.range;
        match self.is_numbered {
            true => Scale::new(lo - room, hi + room, n, true),
            false => {
                let (lo, hi) = with_room(lo, hi);
                // Their numbers may be long.
                Scale::new(lo, hi, n * 2 / 3, false)
            }
        }
    }

    /// The least and the greatest of all finite values.
    fn extremes(curves: &[Curve]) -> Option<(f64, f64)> {
        let values = curves
            .iter()
            .flat_map(|curve| curve.points.iter().flat_map(|&(_, lo, hi)| [lo, hi]))
            .filter(|value| value.is_finite());
        values.fold(None, |range, value| {
            let (lo, hi) = range.unwrap_or((value, value));
            Some((value.min(lo), value.max(hi)))
        })
    }
}

/// A plot that is being gathered.
struct PlotSink {
    output: Output,
    remaining: Remaining,
    profiles: Profiles,
    dtype: DType,
    blank: Option<u64>,
    format: Format,
    look: Look,
    plot: Plot,
    /// Samples so far.
    done: u64,
    /// Marks of the profile at hand that were passed.
    passed: usize,
}

/// Begins a plot of profiles.
///
/// # Errors
/// When the target cannot be written, or there are too many profiles.
pub fn create(
    target: &Target,
    format: Format,
    dtype: DType,
    blank: Option<i128>,
    profiles: Profiles,
    look: &Look,
) -> Result<Box<dyn Sink>> {
    if profiles.at.len() > MAX_CURVES {
        return Err(Error::unsupported(format!(
            "{} profiles are too many for one plot, which shows {MAX_CURVES}",
            profiles.at.len()
        ))
        .hint("--format csv, npy or fits holds any number"));
    }
    let last = profiles.positions.len.max(1) - 1;
    let ends = match &profiles.against {
        Some(against) => {
            let values = against.values.iter().copied();
            let (lo, hi) = (f64::INFINITY, f64::NEG_INFINITY);
            [values.clone().fold(lo, f64::min), values.fold(hi, f64::max)]
        }
        None => [0, last].map(|number| profiles.position(number) as f64),
    };
    let plot = Plot {
        title: look.title.clone(),
        x_label: match &profiles.against {
            Some(against) => against.label.clone(),
            None => profiles.axis.clone(),
        },
        y_label: look.unit.clone(),
        range: (ends[0].min(ends[1]), ends[0].max(ends[1])),
        is_numbered: profiles.against.is_none(),
        curves: Vec::new(),
    };
    Ok(Box::new(PlotSink {
        output: Output::create(target)?,
        remaining: Remaining::new(profiles.bytes(dtype)?, dtype),
        blank: blank.and_then(|blank| dtype.bits_of_int(blank)),
        profiles,
        dtype,
        format,
        look: look.clone(),
        plot,
        done: 0,
        passed: 0,
    }))
}

impl PlotSink {
    fn take(&mut self, value: f64) {
        let len = self.profiles.positions.len;
        let number = self.done % len;
        let profile = usize::try_from(self.done / len).unwrap_or(usize::MAX);
        self.done += 1;
        if number == 0 {
            let names = self.profiles.names();
            let name = names.get(profile).cloned().unwrap_or_default();
            self.plot.curves.push(Curve {
                name,
                ..Curve::default()
            });
            self.passed = 0;
        }
        let position = match &self.profiles.against {
            Some(against) => usize::try_from(number)
                .ok()
                .and_then(|number| against.values.get(number))
                .map_or(f64::NAN, |&value| value),
            None => self.profiles.position(number) as f64,
        };
        // What has no place is not drawn.
        let (position, value) = match position.is_nan() {
            true => (self.plot.range.0, f64::NAN),
            false => (position, value),
        };
        let bucket = match len > MAX_POINTS {
            true => u128::from(number) * u128::from(MAX_POINTS) / u128::from(len),
            false => u128::from(number),
        };
        let Some(curve) = self.plot.curves.last_mut() else {
            return;
        };
        curve.add(usize::try_from(bucket).unwrap_or(0), position, value);
        let marks = self.look.marks.get(profile).map_or(&[][..], |marks| marks);
        if marks.get(self.passed) == Some(&number) {
            self.passed += 1;
            if value.is_finite() && curve.marks.len() < MAX_MARKS {
                curve.marks.push((position, value));
            }
        }
    }
}

impl Sink for PlotSink {
    fn write(&mut self, samples: &[u8]) -> Result<()> {
        self.remaining.take(samples).at(self.output.name())?;
        floats(self.dtype, self.blank, samples, &mut |values| {
            values.iter().for_each(|&value| self.take(value));
        });
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.remaining.finish().at(self.output.name())?;
        let bytes = match self.format {
            Format::Png => {
                let canvas = chart::draw(&self.plot);
                super::png::encode_rgb([canvas.width, canvas.height], &canvas.pixels, "", "")?
            }
            _ => terminal::draw(&self.plot, self.look.terminal).into_bytes(),
        };
        self.output.write(&bytes)?;
        self.output.finish()
    }
}
