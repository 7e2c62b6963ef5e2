//! `cube slice`: cuts through a cube, streamed to an output.

use std::io::Read;
use std::path::Path;

use super::{Progress, Stop, open};
use crate::engine::Coordinates;
use crate::engine::reread::FrameReader;
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, Result};
use crate::format::ledger::{Record, cards_from_text};
use crate::frames::cards::Cards;
use crate::frames::wcs::{self, AxisCut};
use crate::region::{
    AXIS_NAMES, MAX_RANK, Parts, Span, parse_position, parse_section, show_shape, volume,
};
use crate::sinks::text::{self, Profiles};
use crate::sinks::{self, Format, Image, Sink, Target, fits};

/// Which samples are wanted.
#[derive(Clone, Debug)]
pub enum Cut {
    /// All of them.
    Whole,
    /// A section such as `[1:100,*,5]`.
    Section(String),
    /// The axes that stay, and the positions of the others, one text per cut.
    Axes(Vec<usize>, Vec<String>),
}

/// What `slice` is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which samples.
    pub cut: Cut,
    /// Where they go.
    pub target: Target,
    /// The user named the target; only a profile goes to stdout unasked.
    pub named: bool,
    /// As what; `None` leaves it to the name of the target.
    pub format: Option<Format>,
    /// Bytes of memory to use.
    pub memory: u64,
}

/// One cut: a span on each axis, and which axes the output has.
pub(super) struct Request {
    pub(super) spans: Vec<Span>,
    pub(super) kept: Vec<usize>,
}

/// Cuts through a cube.
///
/// # Errors
/// When the request does not fit the cube, or something cannot be read or written.
pub fn slice(path: &Path, options: &Options, progress: &dyn Progress, stop: &Stop) -> Result<()> {
    let (_, snapshot) = open(path, progress)?;
    let requests = requests(&snapshot, &options.cut).at(path)?;
    let first = requests
        .first()
        .ok_or_else(|| Error::input("no positions were given").hint("--at 120,45 gives one"))?;
    let format = output_format(first, options)?;
    refuse_cube(&options.target)?;
    stop.begin_work();
    sinks::check(&options.target)?;
    let dtype = snapshot.catalog().dtype;
    let mut shape: Vec<u64> = first
        .kept
        .iter()
        .map(|&axis| first.spans[axis].len)
        .collect();
    if requests.len() > 1 {
        shape.push(requests.len() as u64);
    }
    let total = volume(&shape)?.saturating_mul(dtype.size() as u64);
    let mut whole_frame = None;
    let mut sink = if format.is_text() {
        text::create(&options.target, format, dtype, profiles(&requests, format)?)?
    } else {
        let (cards, record) = header(&snapshot, first, progress).at(path)?;
        let record = record.filter(|_| requests.len() == 1);
        match record {
            Some(record) if snapshot.catalog().patches.is_empty() => {
                whole_frame = Some((record.check, record.source));
            }
            // The check is of the samples beneath the patches.
            Some(record) => {
                let mut reader = FrameReader::new(&snapshot, options.memory / 4);
                let check = reader.check(&record, &mut |_| !stop.is_set()).at(path)?;
                if !stop.is_set() {
                    as_written(check, record.check, &record.source).at(path)?;
                }
            }
            None => {}
        }
        let image = Image {
            shape,
            dtype,
            blank: snapshot.catalog().blank,
            cards,
        };
        sinks::create(&options.target, format, &image)?
    };
    progress.begin("reading", 0, total);
    let mut check = 0;
    for request in &requests {
        let cut = Streamed {
            snapshot: &snapshot,
            memory: options.memory,
            progress,
            stop,
        };
        check = cut.stream(request, check, sink.as_mut()).at(path)?;
    }
    progress.end();
    if let Some((expected, source)) = whole_frame {
        as_written(check, expected, &source).at(path)?;
    }
    sink.finish()
}

/// Holds the check of a whole frame against the one taken when it came in.
fn as_written(check: u32, expected: u32, source: &str) -> Result<()> {
    match check == expected {
        true => Ok(()),
        false => Err(Error::damaged(format!(
            "frame {source} does not read as it was written: checksum is {check:08x}, expected {expected:08x}"
        ))),
    }
}

/// Makes sure that an image can go to a target; says as what.
pub(super) fn check_image(target: &Target, format: Option<Format>) -> Result<Format> {
    let format = match (format, target) {
        (Some(format), _) => format,
        (None, Target::File { path, .. }) => Format::from_path(path)?,
        (None, Target::Stdout) => Format::Fits,
    };
    refuse_cube(target)?;
    sinks::check(target)?;
    Ok(format)
}

/// A cube is not replaced by a cut, least of all by one through itself.
fn refuse_cube(target: &Target) -> Result<()> {
    let Target::File { path, .. } = target else {
        return Ok(());
    };
    if !std::fs::metadata(path).is_ok_and(|about| about.is_file()) {
        return Ok(());
    }
    let mut head = Vec::new();
    let magic = crate::format::superblock::MAGIC;
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(magic.len() as u64).read_to_end(&mut head));
    match read {
        Ok(_) if head == magic => Err(Error::input("is a cube, and a cut does not replace it")
            .hint("name another file, or remove the cube first")
            .at(path)),
        _ => Ok(()),
    }
}

/// The format asked for, or the one that the output's name says; text for a
/// profile on stdout, FITS for the rest.
fn output_format(request: &Request, options: &Options) -> Result<Format> {
    let long = request
        .kept
        .iter()
        .filter(|&&axis| request.spans[axis].len != 1)
        .count();
    match (&options.format, &options.target) {
        (Some(format), _) => Ok(*format),
        (None, Target::File { path, .. }) => Format::from_path(path),
        (None, Target::Stdout) if long <= 1 => Ok(Format::Text),
        (None, Target::Stdout) if options.named => Ok(Format::Fits),
        (None, Target::Stdout) => Err(Error::input("the cut is no profile, so it needs an output")
            .hint("-o FILE.fits writes a file; -o - writes FITS to standard output")),
    }
}

fn requests(snapshot: &Snapshot, cut: &Cut) -> Result<Vec<Request>> {
    let shape = snapshot.shape();
    let all = || shape.iter().map(|&len| Span::run(0, len));
    if let Some(axis) = shape.iter().position(|&len| len == 0) {
        return Err(Error::input(format!(
            "the cube is empty: {} has length 0",
            AXIS_NAMES[axis]
        )));
    }
    let kept: Vec<usize> = (0..shape.len()).collect();
    match cut {
        Cut::Whole => Ok(vec![Request {
            spans: all().collect(),
            kept,
        }]),
        Cut::Section(text) => Ok(vec![Request {
            spans: parse_section(text, &shape)?,
            kept,
        }]),
        Cut::Axes(axes, places) => {
            if let Some(&axis) = axes.iter().find(|&&axis| axis >= shape.len()) {
                return Err(Error::input(format!(
                    "there is no axis {}: the cube has {}",
                    AXIS_NAMES[axis],
                    show_shape(&shape)
                )));
            }
            let fixed: Vec<usize> = kept
                .iter()
                .copied()
                .filter(|axis| !axes.contains(axis))
                .collect();
            let mut kept = axes.clone();
            kept.sort_unstable();
            kept.dedup();
            if places.len() > 1 && kept.len() > 1 {
                return Err(
                    Error::input("--at is repeated, but each cut has several axes")
                        .hint("many cuts in one pass are profiles: name one axis"),
                );
            }
            places
                .iter()
                .map(|place| {
                    let mut spans: Vec<Span> = all().collect();
                    for (axis, position) in parse_place(place, &fixed, &shape)? {
                        spans[axis] = Span::run(position, 1);
                    }
                    Ok(Request {
                        spans,
                        kept: kept.clone(),
                    })
                })
                .collect()
        }
    }
}

/// The positions in `120,45` on the axes that are fixed; those that are not
/// given must have length 1.
fn parse_place(place: &str, fixed: &[usize], shape: &[u64]) -> Result<Vec<(usize, u64)>> {
    let texts: Vec<&str> = match place.trim() {
        "" => Vec::new(),
        text => text.split(',').collect(),
    };
    let needed = fixed
        .iter()
        .rposition(|&axis| shape[axis] != 1)
        .map_or(0, |last| last + 1);
    if texts.len() < needed || fixed.len() < texts.len() {
        let names: Vec<&str> = fixed.iter().map(|&axis| AXIS_NAMES[axis]).collect();
        return Err(Error::input(format!(
            "--at `{place}` has {} positions, but {} axes are to be fixed: {}",
            texts.len(),
            fixed.len(),
            names.join(",")
        ))
        .hint(format!(
            "give one position each, as in --at {}",
            vec!["1"; fixed.len()].join(",")
        )));
    }
    let given = fixed.iter().enumerate();
    given
        .map(|(number, &axis)| {
            let position = match texts.get(number) {
                Some(text) => parse_position(text, axis, shape[axis])?,
                None => 0,
            };
            Ok((axis, position))
        })
        .collect()
}

fn profiles(requests: &[Request], format: Format) -> Result<Profiles> {
    let first = &requests[0];
    let long: Vec<usize> = match first.kept[..] {
        [axis] => vec![axis],
        _ => first
            .kept
            .iter()
            .copied()
            .filter(|&axis| first.spans[axis].len != 1)
            .collect(),
    };
    let axis = match long[..] {
        [axis] => axis,
        [] => first.kept.last().copied().unwrap_or(0),
        _ => {
            let shape: Vec<u64> = long.iter().map(|&axis| first.spans[axis].len).collect();
            return Err(Error::input(format!(
                "{} holds profiles, but the cut is {}",
                format.name(),
                show_shape(&shape)
            ))
            .hint("--format fits or npy holds any shape"));
        }
    };
    let span = first.spans[axis];
    let places = requests.iter().map(|request| {
        let others = request
            .spans
            .iter()
            .enumerate()
            .filter(|&(other, _)| other != axis);
        others.map(|(_, span)| span.start + 1).collect()
    });
    Ok(Profiles {
        axis: AXIS_NAMES[axis].to_string(),
        positions: span,
        at: places.collect(),
    })
}

/// The header of a cut: that of the frame its first sample came with, its
/// coordinates fitted to the cut. Also that frame's record, when the cut is the
/// frame and nothing else.
pub(super) fn header(
    snapshot: &Snapshot,
    request: &Request,
    progress: &dyn Progress,
) -> Result<(Cards, Option<Record>)> {
    let mut slots: Coordinates = [0; MAX_RANK];
    for (axis, slot) in slots.iter_mut().enumerate() {
        let position = request.spans.get(axis).map_or(0, |span| span.start);
        *slot = snapshot.pieces(axis).slot(position).unwrap_or(0);
    }
    let record = match (snapshot.record_at(&slots)?, snapshot.catalog().header_frame) {
        (Some(record), _) => Some(record),
        (None, Some(frame)) => snapshot.record_reader().get(frame)?.cloned(),
        (None, None) => None,
    };
    let Some(record) = record else {
        return Ok((Cards::default(), None));
    };
    let positions = snapshot.positions().of(&record);
    let cuts: Vec<AxisCut> = (0..request.spans.len())
        .map(|axis| axis_cut(request, axis, &record, positions))
        .collect();
    let cards = Cards::from_bytes(cards_from_text(&record.cards));
    let (cards, notes) = wcs::cut(&fits::image_cards(&cards), &cuts);
    for note in notes {
        progress.warn(&note);
    }
    let is_frame = cuts.iter().enumerate().all(|(axis, cut)| match cut {
        AxisCut::Kept { whole, .. } => *whole,
        AxisCut::Dropped => record.shape.get(axis).is_none_or(|&len| len == 1),
        AxisCut::Lost { .. } => false,
    });
    let outside = positions.is_some_and(|(first, whole)| {
        let fixed = first.iter().zip(&request.spans).enumerate();
        whole
            && fixed
                .into_iter()
                .all(|(axis, (&first, span))| request.kept.contains(&axis) || first == span.start)
    });
    Ok((cards, (is_frame && outside).then_some(record)))
}

/// What becomes of an axis of the frame whose header speaks for the cut.
fn axis_cut(
    request: &Request,
    axis: usize,
    record: &Record,
    positions: Option<(Coordinates, bool)>,
) -> AxisCut {
    let output = request.kept.iter().position(|&kept| kept == axis);
    let Some(output) = output else {
        return AxisCut::Dropped;
    };
    let span = request.spans[axis];
    let len = record.shape.get(axis).copied().unwrap_or(1);
    let Some((first, true)) = positions else {
        return AxisCut::Lost {
            output: Some(output),
        };
    };
    // On the axis it joined, a frame's coordinates say nothing of its neighbours.
    let end = first[axis] + len;
    let last = span.at(span.len.max(1) - 1);
    let beyond = span.start.min(last) < first[axis] || end <= span.start.max(last);
    if axis == record.axis && beyond && record.shape.len() > axis && len > 1 {
        return AxisCut::Lost {
            output: Some(output),
        };
    }
    AxisCut::Kept {
        output,
        first: span.start as f64 - first[axis] as f64 + 1.0,
        step: span.step as f64,
        whole: span == Span::run(first[axis], len),
    }
}

/// The streaming of cuts.
struct Streamed<'a> {
    snapshot: &'a Snapshot,
    memory: u64,
    progress: &'a dyn Progress,
    stop: &'a Stop,
}

impl Streamed<'_> {
    /// Sends a cut to the sink, in pieces that fit the memory, x fastest;
    /// returns the CRC-32C of what was sent before and now.
    fn stream(&self, request: &Request, mut check: u32, sink: &mut dyn Sink) -> Result<u32> {
        let size = self.snapshot.catalog().dtype.size() as u64;
        let budget = (self.memory / 4).clamp(1 << 16, 64 << 20);
        let lens: Vec<u64> = request.spans.iter().map(|span| span.len).collect();
        let mut buffer = Vec::new();
        for part in Parts::new(&lens, budget / size) {
            if self.stop.is_set() {
                return Err(Error::interrupted("interrupted").hint("no output was made"));
            }
            let samples: u64 = part.iter().map(|span| span.len).product();
            let spans = request.spans.iter().zip(&part);
            let spans: Vec<Span> = spans.map(|(span, part)| span.part(part)).collect();
            let bytes = usize::try_from(samples * size)
                .map_err(|_| Error::unsupported("a piece is too large for memory"))?;
            buffer.resize(bytes, 0);
            self.snapshot.read(&spans, &mut buffer)?;
            check = crc32c::crc32c_append(check, &buffer);
            sink.write(&buffer)?;
            self.progress.bytes(bytes as u64);
        }
        Ok(check)
    }
}
