//! What frames are scaled and shifted by before they are combined.

use super::{Job, Scale};
use crate::engine::lines::{Lines, Void};
use crate::engine::snapshot::Snapshot;
use crate::error::{Error, Kind, Result};
use crate::kernels::gather::{Lane, is_wide};
use crate::ops::bad::Masks;
use crate::ops::crew::{Worker, share};
use crate::ops::frames::{Keys, each_along, joining};
use crate::ops::lanes::{Gathered, gather};
use crate::ops::{Stop, show_bytes};
use crate::region::{AXIS_NAMES, Span};

/// For each position, what samples are multiplied by and what is added then.
pub(super) fn factors(job: &Job<'_>) -> Result<Option<Vec<(f64, f64)>>> {
    let options = job.options;
    if options.scale.is_none() && !options.zero {
        return Ok(None);
    }
    let span = &job.spans[job.axis];
    let medians = match options.zero || options.scale == Some(Scale::Median) {
        true => Some(match is_wide(job.snapshot.catalog().dtype) {
            true => medians::<f64>(job)?,
            false => medians::<f32>(job)?,
        }),
        false => None,
    };
    let scales = match &options.scale {
        None => vec![1.0; span.len as usize],
        Some(Scale::Median) => medians.clone().unwrap_or_default(),
        Some(Scale::Keyword(key)) => keyword(job.snapshot, job.axis, span, key)?,
    };
    let times: Vec<f64> = scales.iter().map(|scale| scales[0] / scale).collect();
    let wrong = |times: &f64| !times.is_finite() || *times == 0.0;
    if let Some(k) = times.iter().position(wrong) {
        let position = |k: usize| job.snapshot.in_cube(job.axis, span.at(k as u64)) + 1;
        return Err(Error::input(format!(
            "position {} of {} cannot be scaled from {} to {}, that of position {}",
            position(k),
            AXIS_NAMES[job.axis],
            scales[k],
            scales[0],
            position(0)
        ))
        .hint("scales are numbers other than 0; --section or --where leaves positions out"));
    }
    let plus = |k: usize, times: f64| match &medians {
        // The median of a frame that was scaled is its own, scaled.
        Some(medians) if options.zero => medians[0] - medians[k] * times,
        _ => 0.0,
    };
    let factors: Vec<(f64, f64)> = times
        .iter()
        .enumerate()
        .map(|(k, &times)| (times, plus(k, times)))
        .collect();
    match factors.iter().position(|(_, plus)| plus.is_nan()) {
        Some(k) => Err(no_samples(job, k)),
        None => Ok(Some(factors)),
    }
}

fn no_samples(job: &Job<'_>, k: usize) -> Error {
    Error::input(format!(
        "position {} of {} has no sample, and so no median",
        job.snapshot
            .in_cube(job.axis, job.spans[job.axis].at(k as u64))
            + 1,
        AXIS_NAMES[job.axis]
    ))
    .hint("--section or --where leaves positions out")
}

/// The weights of these positions: numbers from 0, and not all of them 0.
///
/// # Errors
/// When they are not, or those of [`keyword`].
pub(super) fn weights(
    snapshot: &Snapshot,
    axis: usize,
    span: &Span,
    key: &str,
) -> Result<Vec<f64>> {
    let weights = keyword(snapshot, axis, span, key)?;
    let bad = weights
        .iter()
        .position(|weight| !(0.0..f64::INFINITY).contains(weight));
    if let Some(k) = bad {
        return Err(Error::input(format!(
            "{key} of position {} of {} is {}, and a weight is a number from 0",
            snapshot.in_cube(axis, span.at(k as u64)) + 1,
            AXIS_NAMES[axis],
            weights[k]
        )));
    }
    if weights.iter().all(|&weight| weight == 0.0) {
        return Err(Error::input(format!(
            "{key} is 0 at all positions of {}, so nothing has a weight",
            AXIS_NAMES[axis]
        ))
        .hint("--weight names another keyword, or is left out"));
    }
    Ok(weights)
}

/// The numbers that a keyword has in the frames of these positions, or that are measured
/// of them.
///
/// # Errors
/// When a position has no frame of its own, or the frame no such number.
pub(super) fn keyword(
    snapshot: &Snapshot,
    axis: usize,
    span: &Span,
    key: &str,
) -> Result<Vec<f64>> {
    let mut values: Vec<Option<f64>> = vec![None; span.len as usize];
    let keys = Keys::new(&[key.to_string()]);
    let mut told = keys.of(snapshot, None);
    let joined = joining(axis);
    each_along(snapshot, axis, span, &joined, &mut |record, numbers| {
        let found = told.values(record)?.into_iter().flatten().flatten();
        if let Some(value) = found.last().and_then(|value| value.as_real()) {
            numbers
                .iter()
                .for_each(|own| values[own.number] = Some(value));
        }
        Ok(())
    })?;
    let missing = values.iter().position(Option::is_none);
    if let Some(k) = missing {
        return Err(Error::input(format!(
            "position {} of {} has no number {key}",
            snapshot.in_cube(axis, span.at(k as u64)) + 1,
            AXIS_NAMES[axis]
        ))
        .hint("cube info --frames --keys KEY shows which frames have it"));
    }
    Ok(values.into_iter().flatten().collect())
}

/// The median of what is at each position.
fn medians<L: Lane>(job: &Job<'_>) -> Result<Vec<f64>> {
    let span = &job.spans[job.axis];
    let shape = job.request().shape();
    let samples = shape
        .iter()
        .fold(1u64, |product, &len| product.saturating_mul(len));
    let memory = job.options.memory / 2;
    // The samples, and the lines that they are read in.
    let needed = samples.saturating_mul(2 * size_of::<L>() as u64);
    if needed > memory {
        return Err(Error::input(format!(
            "the median of {samples} samples needs {} of memory, but {} are for it",
            show_bytes(needed),
            show_bytes(memory)
        ))
        .hint("give more with --memory"));
    }
    let jobs = (memory / needed.max(1)).clamp(1, job.options.jobs.max(1) as u64);
    let worker = || Measurer::<L> {
        snapshot: job.snapshot,
        axis: job.axis,
        spans: job.spans.to_vec(),
        masks: job.masks,
        void: job.void,
        stop: job.stop,
        held: Vec::new(),
        gathered: Gathered::default(),
    };
    let workers = (0..jobs).map(|_| worker()).collect();
    let size = job.snapshot.catalog().dtype.size() as u64;
    job.progress.begin(
        "measuring",
        0,
        samples.saturating_mul(size).saturating_mul(span.len),
    );
    let mut medians = vec![f64::NAN; span.len as usize];
    let done = share(workers, 0..span.len, &mut |(k, median): (u64, f64)| {
        job.progress.bytes(samples * size);
        medians[k as usize] = median;
        Ok(())
    });
    job.progress.end();
    done.map_err(|error| match error.kind() {
        Kind::Interrupted => job.interrupted(),
        _ => error,
    })?;
    match medians.iter().position(|median| median.is_nan()) {
        Some(k) => Err(no_samples(job, k)),
        None => Ok(medians),
    }
}

/// One thread that measures positions.
struct Measurer<'a, L> {
    snapshot: &'a Snapshot,
    axis: usize,
    spans: Vec<Span>,
    masks: &'a Masks,
    void: Void,
    stop: &'a Stop,
    held: Vec<L>,
    gathered: Gathered<L>,
}

impl<L: Lane> Worker for Measurer<'_, L> {
    type Found = (u64, f64);

    fn unit(&mut self, unit: u64, send: &mut dyn FnMut((u64, f64)) -> bool) -> Result<()> {
        self.stop.go_on()?;
        let mut spans = self.spans.clone();
        spans[self.axis] = Span::run(self.spans[self.axis].at(unit), 1);
        // Any other axis will do: the median does not ask for an order.
        let along = usize::from(self.axis == 0);
        let lines = Lines::new(self.snapshot, along, &spans, self.void)?;
        self.held.clear();
        for number in 0..lines.columns() {
            let mut column = lines.column(number)?;
            let all = 0..column.lines();
            lines.load_patches(&mut column, &all)?;
            gather(&lines, &column, &all, self.masks, &mut self.gathered)?;
            let samples = self.gathered.rows.iter().flatten();
            self.held
                .extend(samples.filter(|sample| !sample.wide().is_nan()));
        }
        send((unit, median(&mut self.held)));
        Ok(())
    }
}

/// The middle sample, or half the sum of the two middle ones.
fn median<L: Lane>(samples: &mut [L]) -> f64 {
    let n = samples.len();
    if n == 0 {
        return f64::NAN;
    }
    let order = |a: &L, b: &L| a.wide().total_cmp(&b.wide());
    let (below, middle, _) = samples.select_nth_unstable_by(n / 2, order);
    let middle = middle.wide();
    if n % 2 == 1 {
        return middle;
    }
    let before = below
        .iter()
        .map(|sample| sample.wide())
        .fold(f64::NEG_INFINITY, f64::max);
    0.5 * (before + middle)
}
