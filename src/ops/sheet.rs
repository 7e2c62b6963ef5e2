//! Planes side by side: what stands under each, and which samples were replaced.

use super::count;
use super::slice::{Planes, Request, Streamed};
use crate::engine::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::region::show_shape;
use crate::sinks::{Format, Sheet};

/// So many replaced samples are marked, and at most one in [`APART`] samples of the plane:
/// of more the picture would be nothing but marks. Planes below [`SMALL`] are enlarged.
const MOST_MARKS: usize = 20_000;

const APART: u64 = 300;

const SMALL: u64 = 120_000;

/// The shape of the image that a sheet is made of.
pub(super) fn plan(planes: Planes, requests: &[Request], format: Format) -> Result<Vec<u64>> {
    let option = match planes {
        Planes::All => "--montage",
        Planes::BeforeAndAfter => "--compare",
    };
    if format != Format::Png {
        return Err(Error::input(format!(
            "{option} makes a picture, but the output is {}",
            format.name()
        ))
        .hint("-o FILE.png is one"));
    }
    let shape = requests[0].shape();
    if requests.len() > 1 || shape.len() < 2 {
        return Err(
            Error::input(format!("{option} shows planes, but the cut has profiles"))
                .hint("--axis x,y --at 7 is a plane; without --axis it is the whole cube"),
        );
    }
    let deep = shape[2..].iter().any(|&len| len != 1);
    match planes {
        Planes::All => Ok(shape),
        Planes::BeforeAndAfter if deep => Err(Error::input(format!(
            "--compare shows one plane, but the cut is {}",
            show_shape(&shape)
        ))
        .hint("--axis x,y --at 7 cuts one out")),
        Planes::BeforeAndAfter => Ok(vec![shape[0], shape[1], 2]),
    }
}

/// What stands on the sheet beside the planes: their positions, or what was replaced.
pub(super) fn look(
    snapshot: &Snapshot,
    request: &Request,
    replaced: Option<(u64, Vec<(u64, u64)>)>,
) -> Sheet {
    if let Some((number, marks)) = replaced {
        let too_many = match number > 0 && marks.is_empty() {
            true => ", too many to ring",
            false => "",
        };
        let now = format!("{} replaced{too_many}", count(number, "sample"));
        return Sheet {
            labels: vec!["as it came".to_string(), now],
            marks: Some(marks),
        };
    }
    let others: Vec<_> = request.kept[2..]
        .iter()
        .map(|&axis| (axis, request.spans[axis]))
        .collect();
    // Axes of one position say nothing, unless all are.
    let told = others
        .iter()
        .rposition(|(_, span)| span.len > 1)
        .map_or(1, |last| last + 1);
    let n_planes: u64 = others.iter().map(|(_, span)| span.len).product();
    let label = |number: u64| {
        let mut rest = number;
        let places = others.iter().take(told).map(|&(axis, span)| {
            let at = rest % span.len;
            rest /= span.len;
            (snapshot.in_cube(axis, span.at(at)) + 1).to_string()
        });
        places.collect::<Vec<_>>().join(",")
    };
    // A sheet has no room for more.
    Sheet {
        labels: (0..n_planes.min(1 << 20)).map(label).collect(),
        marks: None,
    }
}

/// How many samples of a plane were replaced, and where the first of them are, from 0.
pub(super) fn replaced(
    cut: &Streamed<'_>,
    bare: &Snapshot,
    request: &Request,
) -> Result<(u64, Vec<(u64, u64)>)> {
    let size = bare.catalog().dtype.size();
    let (mut number, mut marks) = (0, Vec::new());
    let (x, y) = (request.kept[0], request.kept[1]);
    let (mut came, mut now) = (Vec::new(), Vec::new());
    for part in cut.parts(request) {
        let part = part?;
        came.resize(part.bytes, 0);
        now.resize(part.bytes, 0);
        bare.read(&part.spans, &mut came)?;
        cut.snapshot.read(&part.spans, &mut now)?;
        let both = came.chunks_exact(size).zip(now.chunks_exact(size));
        for (index, _) in both.enumerate().filter(|(_, (came, now))| came != now) {
            number += 1;
            if marks.len() < MOST_MARKS {
                let index = index as u64;
                let [x, y] = [part.inside[x], part.inside[y]];
                marks.push((x.start + index % x.len, y.start + index / x.len));
            }
        }
    }
    let plane = request.spans[x].len.saturating_mul(request.spans[y].len);
    if number > plane.max(SMALL) / APART {
        marks.clear();
    }
    Ok((number, marks))
}
