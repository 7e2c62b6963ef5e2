//! The header of a cut. Where frames stand side by side in it, as in a mosaic, or one behind
//! the other, that of one speaks for all, as far as the others continue its coordinates.

use std::collections::BTreeSet;
use std::ops::Range;

use super::frames::cards_of;
use super::slice::Request;
use super::{Progress, count};
use crate::engine::records::Positions;
use crate::engine::snapshot::Snapshot;
use crate::error::Result;
use crate::format::ledger::Record;
use crate::frames::cards::Cards;
use crate::frames::wcs::{self, AxisCut, Grid, Told, Unlike};
use crate::region::{MAX_RANK, Span};
use crate::sinks::{Format, fits};

/// The frame whose header speaks for a cut: the one that its first sample came with, or
/// that of the cube.
pub(super) struct Speaker {
    pub(super) record: Option<Record>,
    /// No other frame has samples in the cut.
    pub(super) is_alone: bool,
}

pub(super) fn speaker(snapshot: &Snapshot, request: &Request) -> Result<Speaker> {
    let record = match snapshot.record_at(&snapshot.first_slots(&request.spans))? {
        Some(record) => Some(record),
        None => snapshot.header_record()?,
    };
    Ok(Speaker {
        record,
        is_alone: false,
    })
}

/// The header of a cut: that of the frame that speaks for it, its
/// coordinates fitted to the cut, as far as frames beside that one continue them; what
/// a user should know of that is told where one of the formats has a place for it. Also
/// that frame's record, when the cut is the frame and nothing else.
pub(super) fn header(
    snapshot: &Snapshot,
    request: &Request,
    formats: &[Format],
    progress: &dyn Progress,
) -> Result<(Cards, Option<Record>)> {
    let speaker = speaker(snapshot, request)?;
    let positions = snapshot.positions();
    header_of(speaker, snapshot, &positions, request, formats, progress)
}

/// The same where the frame that speaks for the cut is known.
pub(super) fn header_of(
    speaker: Speaker,
    snapshot: &Snapshot,
    positions: &Positions,
    request: &Request,
    formats: &[Format],
    progress: &dyn Progress,
) -> Result<(Cards, Option<Record>)> {
    let Speaker { record, is_alone } = speaker;
    let Some(record) = record else {
        return Ok((Cards::default(), None));
    };
    let stands = stands(snapshot, positions, request, &record);
    let mut cuts: Vec<AxisCut> = (0..request.spans.len())
        .map(|axis| axis_cut(request, axis, &record, stands[axis].as_ref()))
        .collect();
    let cards = cards_of(&record);
    let unlike = match is_alone {
        true => Unlike::default(),
        false => unlike(
            snapshot,
            positions,
            request,
            (cards.clone(), &stands, &mut cuts),
        )?,
    };
    let (cards, notes) = wcs::cut_of_many(&fits::image_cards(&cards), &cuts, &unlike);
    if formats.iter().any(|format| format.holds_cards()) {
        notes.iter().for_each(|note| progress.warn(note));
    }
    let is_frame = cuts.iter().enumerate().all(|(axis, cut)| match cut {
        AxisCut::Kept { whole, .. } => *whole,
        AxisCut::Dropped => record.shape.get(axis).is_none_or(|&len| len == 1),
        AxisCut::Lost { .. } => false,
    });
    let outside = positions.of(&record).is_some_and(|(first, whole)| {
        let fixed = first.iter().zip(&request.spans).enumerate();
        whole
            && fixed
                .into_iter()
                .all(|(axis, (&first, span))| request.kept.contains(&axis) || first == span.start)
    });
    Ok((cards, (is_frame && outside).then_some(record)))
}

/// Says in a header how many of the samples of these cuts `clean` replaced.
pub(super) fn tell_replaced(
    cards: &mut Cards,
    snapshot: &Snapshot,
    requests: &[Request],
) -> Result<()> {
    let counts = requests
        .iter()
        .map(|cut| snapshot.count_patched(&cut.spans));
    let replaced = counts.sum::<Result<u64>>()?;
    if replaced > 0 {
        let what = format!("{} replaced by cube clean", count(replaced, "sample"));
        cards.push_line("HISTORY", &what);
    }
    Ok(())
}

/// What becomes of an axis of the frame whose header speaks for the cut.
fn axis_cut(
    request: &Request,
    axis: usize,
    record: &Record,
    standing: Option<&Standing>,
) -> AxisCut {
    let output = request.kept.iter().position(|&kept| kept == axis);
    let Some(output) = output else {
        return AxisCut::Dropped;
    };
    let span = request.spans[axis];
    let Some((origin, standing)) = standing.and_then(|it| Some((it.origin?, it))) else {
        return AxisCut::Lost {
            output: Some(output),
        };
    };
    let len = record.shape.get(axis).copied().unwrap_or(1);
    let all = u64::try_from(origin).map(|first| Span::run(first, len));
    AxisCut::Kept {
        output,
        first: span.start as f64 - origin as f64 + 1.0,
        step: span.step as f64,
        whole: standing.pixels == len && all.is_ok_and(|all| span == all),
    }
}

/// How a frame stands in a cut on one axis, as far as the cut meets it.
struct Standing {
    /// The position of its first pixel, if that were there, too; none where its pixels
    /// do not stand one after the other.
    origin: Option<i64>,
    /// How many of its pixels there are in the runs that the cut meets.
    pixels: u64,
    /// These runs of positions, sorted.
    runs: Vec<Range<u64>>,
    /// How many positions of the cut they hold.
    held: u64,
    /// Numbers of positions of the cut, from the first that they hold to the last.
    numbers: Range<u64>,
}

/// The same for all axes; `None` where it is not in the cut.
type Stands = [Option<Standing>; MAX_RANK];

fn standing(positions: &Positions, record: &Record, axis: usize, span: &Span) -> Option<Standing> {
    let mut found: Option<Standing> = None;
    for (pixel, position, len) in positions.pixels(record, axis) {
        let Some((first, held)) = span.numbers_in(position, len) else {
            continue;
        };
        let origin = Some(position.cast_signed().saturating_sub_unsigned(pixel));
        let all = found.get_or_insert(Standing {
            origin,
            pixels: 0,
            runs: Vec::new(),
            held: 0,
            numbers: first..first,
        });
        all.origin = all.origin.filter(|_| all.origin == origin);
        all.pixels += len;
        all.runs.push(position..position + len);
        all.held += held;
        all.numbers = all.numbers.start.min(first)..all.numbers.end.max(first + held);
    }
    if let Some(found) = &mut found {
        found.runs.sort_unstable_by_key(|run| run.start);
    }
    found
}

impl Standing {
    /// Has the other none of its positions?
    fn is_beside(&self, other: &Standing) -> bool {
        other.runs.iter().all(|run| {
            let next = self.runs.partition_point(|own| own.end <= run.start);
            self.runs.get(next).is_none_or(|own| run.end <= own.start)
        })
    }
}

fn span_of(request: &Request, axis: usize) -> Span {
    request.spans.get(axis).copied().unwrap_or(Span::run(0, 1))
}

/// How the frame stands whose header speaks for the cut: there, or else in the cube.
fn stands(
    snapshot: &Snapshot,
    positions: &Positions,
    request: &Request,
    record: &Record,
) -> Stands {
    std::array::from_fn(|axis| {
        let span = span_of(request, axis);
        standing(positions, record, axis, &span).or_else(|| {
            let whole = Span::run(0, snapshot.pieces(axis).len());
            let elsewhere = standing(positions, record, axis, &whole)?;
            Some(Standing {
                held: 0,
                numbers: 0..span.len,
                ..elsewhere
            })
        })
    })
}

/// The axes that other frames of the cut describe in another way. Others are looked at only
/// where the cut goes beyond the frame, along an axis that its header describes; and where an
/// axis is told by itself, such as a wavelength, for a stack has the same there. Along such an
/// axis frames may lie in steps that are not those of one of them: then the cut has theirs.
fn unlike(
    snapshot: &Snapshot,
    positions: &Positions,
    request: &Request,
    (cards, stands, cuts): (Cards, &Stands, &mut [AxisCut]),
) -> Result<Unlike> {
    let origins = |stands: &Stands| {
        let stands = stands.each_ref();
        stands.map(|it| it.as_ref().and_then(|it| it.origin))
    };
    let told = Told::read(cards, origins(stands));
    let beyond = stands.iter().enumerate().filter_map(|(axis, own)| {
        let own = own.as_ref()?;
        (own.held < span_of(request, axis).len).then_some((axis, own))
    });
    let beyond: Vec<(usize, &Standing)> = beyond.collect();
    let has_worlds = !beyond.is_empty() && request.kept.iter().any(|&axis| told.is_world(axis));
    let is_along = |axis: usize| request.kept.contains(&axis) && told.speaks_of(axis);
    let mut unlike = Unlike::default();
    if !has_worlds && !beyond.iter().any(|it| is_along(it.0)) {
        return Ok(unlike);
    }
    let near: [Span; MAX_RANK] = std::array::from_fn(|axis| {
        let span = span_of(request, axis);
        let is_along = is_along(axis) && beyond.iter().any(|it| it.0 == axis);
        match &stands[axis] {
            // Those behind it in a stack have headers of their own.
            Some(own) if !has_worlds && !is_along => {
                let Range { start, end } = own.numbers;
                span.part(&Span::run(start, end - start))
            }
            _ => span,
        }
    });
    let mut grid = Grid::default();
    let mut place = |other: &Told, axis: usize, standing: &Standing| {
        let Range { start, end } = standing.numbers;
        for number in BTreeSet::from([start, end - 1]) {
            grid.add(&told, other, axis, near[axis].at(number), number);
        }
    };
    for &(axis, own) in beyond.iter().filter(|(_, own)| own.held > 0) {
        place(&told, axis, own);
    }
    let slots = snapshot.slot_ranges(&near);
    snapshot.for_each_record_of(&slots, &mut |other| {
        let mut found: Stands = Default::default();
        for (axis, found) in found.iter_mut().enumerate() {
            *found = standing(positions, &other, axis, &near[axis]);
            if found.is_none() {
                return Ok(());
            }
        }
        let beside = beyond.iter().filter_map(|&(axis, own)| {
            let other = found[axis].as_ref()?;
            own.is_beside(other).then_some((axis, other))
        });
        let beside: Vec<(usize, &Standing)> = beside.collect();
        if !beside.is_empty() {
            let other = told.of_other(cards_of(&other), origins(&found));
            let is_beside = |axis| beside.iter().any(|it| it.0 == axis);
            let is_behind = (beside.iter()).any(|&(axis, _)| axis > 1 || !is_along(axis));
            let others = told.unlike(&other, &is_beside);
            unlike.add(others, &|(description, axis)| {
                let is_alike = told.is_world_of(description, axis) || axis > 1 && is_beside(axis);
                !is_behind || is_alike
            });
            for &(axis, standing) in &beside {
                place(&other, axis, standing);
            }
        }
        Ok(())
    })?;
    for (axis, _) in beyond {
        let len = request.spans.get(axis).map_or(1, |span| span.len);
        if let Some(cut) = cuts.get_mut(axis) {
            take_steps(cut, len, &grid, axis, &mut unlike);
        }
    }
    Ok(unlike)
}

/// Gives an axis of a cut, so long, the steps in which frames lie by their coordinates, where
/// these are not what one of them says.
fn take_steps(cut: &mut AxisCut, len: u64, grid: &Grid, axis: usize, unlike: &mut Unlike) {
    let AxisCut::Kept {
        first, step, whole, ..
    } = cut
    else {
        return;
    };
    let Some(found) = grid.fit(axis, *step, unlike) else {
        return;
    };
    let last = len.saturating_sub(1) as f64;
    let is_near = |a: f64, b: f64| (a - b).abs() <= wcs::MOST_PIXELS;
    // What is written stays where it holds.
    if !(is_near(found.0, *first) && is_near(found.0 + last * found.1, *first + last * *step)) {
        (*first, *step, *whole) = (found.0, found.1, false);
    }
}
