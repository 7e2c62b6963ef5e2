//! Frames side by side in a cut, as in a mosaic: the header of one speaks for all,
//! where the others continue its coordinates.

use std::ops::Range;

use super::frames::cards_of;
use super::frames_table::meet;
use super::slice::Request;
use crate::engine::records::Positions;
use crate::engine::snapshot::Snapshot;
use crate::error::Result;
use crate::format::ledger::Record;
use crate::frames::cards::Cards;
use crate::frames::wcs::{Told, Unlike};
use crate::region::{MAX_RANK, Span};

/// How a frame stands in a cut on one axis, as far as the cut meets it.
pub(super) struct Standing {
    /// The position of its first pixel, if that were there, too; none where its pixels
    /// do not stand one after the other.
    pub(super) origin: Option<i64>,
    /// How many of its pixels there are in the runs that the cut meets.
    pub(super) pixels: u64,
    /// These runs of positions, sorted.
    runs: Vec<Range<u64>>,
    /// How many positions of the cut they hold.
    held: u64,
    /// Numbers of positions of the cut, from the first that they hold to the last.
    numbers: Range<u64>,
}

/// The same for all axes; `None` where it is not in the cut.
pub(super) type Stands = [Option<Standing>; MAX_RANK];

fn standing(positions: &Positions, record: &Record, axis: usize, span: &Span) -> Option<Standing> {
    let mut found: Option<Standing> = None;
    for (pixel, position, len) in positions.pixels(record, axis) {
        let Some((first, held)) = meet(span, position, len) else {
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
pub(super) fn stands(
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

/// The axes that frames beside that one describe in another way. Only where the cut
/// goes beyond the frame, along an axis that its header describes, are others looked
/// at; and not those behind it in a stack, which have headers of their own.
pub(super) fn unlike(
    snapshot: &Snapshot,
    positions: &Positions,
    request: &Request,
    (record, cards, stands): (&Record, &Cards, &Stands),
) -> Result<Unlike> {
    let origins = |stands: &Stands| {
        let stands = stands.each_ref();
        stands.map(|it| it.as_ref().and_then(|it| it.origin))
    };
    let told = Told::read(cards, &origins(stands));
    let along = |&axis: &usize| {
        let own = stands[axis].as_ref()?;
        let is_long = record.shape.get(axis).is_some_and(|&len| len > 1);
        let is_beyond = own.held < request.spans[axis].len;
        (is_long && is_beyond && told.speaks_of(axis)).then_some((axis, own))
    };
    let along: Vec<(usize, &Standing)> = request.kept.iter().filter_map(along).collect();
    let mut unlike = Unlike::default();
    if along.is_empty() {
        return Ok(unlike);
    }
    let near: [Span; MAX_RANK] = std::array::from_fn(|axis| {
        let span = span_of(request, axis);
        match &stands[axis] {
            Some(own) if along.iter().all(|it| it.0 != axis) => {
                let Range { start, end } = own.numbers;
                span.part(&Span::run(start, end - start))
            }
            _ => span,
        }
    });
    let slots = snapshot.slot_ranges(&near);
    snapshot.for_each_record_of(&|group| group.meets(&slots), &mut |other| {
        let mut found: Stands = Default::default();
        for (axis, found) in found.iter_mut().enumerate() {
            *found = standing(positions, &other, axis, &near[axis]);
            if found.is_none() {
                return Ok(());
            }
        }
        let beside = along.iter().filter(|(axis, own)| {
            let other = found[*axis].as_ref();
            other.is_some_and(|other| own.is_beside(other))
        });
        let beside: Vec<usize> = beside.map(|&(axis, _)| axis).collect();
        if !beside.is_empty() {
            let cards = cards_of(&other);
            let others = told.unlike(&Told::read(&cards, &origins(&found)));
            // Behind it, blocks of images are a stack, too, but for the axis along it.
            let is_behind = beside.iter().all(|&axis| axis > 1);
            unlike.add(others, &|axis| !is_behind || beside.contains(&axis));
        }
        Ok(())
    })?;
    Ok(unlike)
}
