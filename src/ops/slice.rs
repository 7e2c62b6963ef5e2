//! `cube slice`: cuts through a cube, streamed to an output.

use std::cell::OnceCell;
use std::path::Path;

use super::cube_frame::is_cube;
use super::frames::{Keys, open_chosen};
use super::frames_table::FramesTable;
use super::mosaic::{Speaker, header_of, speaker, tell_replaced};
use super::profiles::{Named, profile_axis, profiles};
use super::{Progress, Stop, count, sheet};
use crate::dtype::DType;
use crate::engine::lines::Void;
use crate::engine::records::Positions;
use crate::engine::reread::FrameReader;
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, Result, show_path};
use crate::frames::cards::Cards;
use crate::frames::filter::Filter;
use crate::kernels::crc::joined;
use crate::region::{
    AXIS_NAMES, Parts, Span, check_axis, check_samples, parse_position, parse_section, show_shape,
    volume,
};
use crate::sinks::text;
use crate::sinks::{self, Format, Image, Look, Sink, Target, plot};
use crate::turns::in_turn;

pub(super) use super::mosaic::header;

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

/// So much of a cut is read at a time, at most: what the processor's cache holds is read
/// and written fastest, and cold tiles come no slower (`docs/benchmarks.md`).
const PART_BYTES: u64 = 512 << 10;

/// Of a small cut less is read at a time, for memory that is new takes longer to get
/// than samples: one of so many parts, if it is not less than [`LEAST_PART_BYTES`].
const N_PARTS: u64 = 16;

const LEAST_PART_BYTES: u64 = 128 << 10;

/// What `slice` is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Conditions that frames meet; the others are left out.
    pub filters: Vec<Filter>,
    /// Which samples, of the frames that meet all conditions.
    pub cut: Cut,
    /// Where they go.
    pub target: Target,
    /// The user named the target; only a profile goes to stdout unasked.
    pub named: bool,
    /// As what; `None` leaves it to the name of the target.
    pub format: Option<Format>,
    /// What stands beside each position of profiles of text.
    pub keys: Keys,
    /// Does its world coordinate, too?
    pub world: bool,
    /// Should a table of the frames go with the samples? `None` leaves it to the
    /// cut: an image of several frames has one.
    pub frames_table: Option<bool>,
    /// Several planes on one picture, and which.
    pub sheet: Option<Planes>,
    /// What a picture or a plot looks like; title, unit and marks are added here.
    pub look: Look,
    /// Bytes of memory to use.
    pub memory: u64,
}

/// Which planes stand side by side on a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planes {
    /// All of the cut.
    All,
    /// One plane as it came and as it is now.
    BeforeAndAfter,
}

/// One cut: a span on each axis, and which axes the output has.
pub(super) struct Request {
    pub(super) spans: Vec<Span>,
    pub(super) kept: Vec<usize>,
}

impl Request {
    /// All axes stay.
    pub(super) fn of(spans: Vec<Span>) -> Request {
        Request {
            kept: (0..spans.len()).collect(),
            spans,
        }
    }

    /// Lengths of the axes that stay.
    pub(super) fn shape(&self) -> Vec<u64> {
        self.kept.iter().map(|&axis| self.spans[axis].len).collect()
    }

    /// Axes of the output that are longer than 1.
    pub(super) fn n_long(&self) -> usize {
        self.shape().iter().filter(|&&len| len != 1).count()
    }
}

/// Cuts through a cube.
///
/// # Errors
/// When the request does not fit the cube, or something cannot be read or written.
pub fn slice(path: &Path, options: &Options, progress: &dyn Progress, stop: &Stop) -> Result<()> {
    let snapshot = &open_chosen(path, &options.filters, progress)?;
    let requests = requests(snapshot, &options.cut)
        .map_err(|error| of_view(snapshot, error))
        .at(path)?;
    let first = requests
        .first()
        .ok_or_else(|| Error::input("no positions were given").hint("--at 120,45 gives one"))?;
    let format = output_format(first, options)?;
    refuse_cube(&options.target)?;
    let mut cuts = Cuts::new(path, snapshot, options, format, (progress, stop))?;
    cuts.put(&requests, &options.target, None)
}

/// The header of a cut.
#[derive(Default)]
struct Head {
    cards: Cards,
    /// Where the cut is a frame as it came: the check of its samples, and its file.
    whole_frame: Option<(u32, String)>,
    is_frame: bool,
}

/// Cuts of one cube, put out one after the other.
pub(super) struct Cuts<'a> {
    path: &'a Path,
    snapshot: &'a Snapshot,
    options: &'a Options,
    format: Format,
    progress: &'a dyn Progress,
    stop: &'a Stop,
    positions: OnceCell<Positions>,
    /// The cube without patches, where that is shown, too.
    bare: Option<Snapshot>,
    /// Reads frames beneath their patches.
    beneath: Option<FrameReader>,
}

impl<'a> Cuts<'a> {
    pub(super) fn new(
        path: &'a Path,
        snapshot: &'a Snapshot,
        options: &'a Options,
        format: Format,
        (progress, stop): (&'a dyn Progress, &'a Stop),
    ) -> Result<Cuts<'a>> {
        if options.frames_table == Some(true) && !format.holds_tables() {
            return Err(Error::input(format!(
                "{} has no place for a table of frames",
                format.name()
            ))
            .hint("--format fits has one"));
        }
        let compares = options.sheet == Some(Planes::BeforeAndAfter);
        Ok(Cuts {
            path,
            snapshot,
            options,
            format,
            progress,
            stop,
            positions: OnceCell::new(),
            bare: compares.then(|| snapshot.without_patches()),
            beneath: None,
        })
    }

    fn positions(&self) -> &Positions {
        self.positions.get_or_init(|| self.snapshot.positions())
    }

    /// Puts one out, or several profiles. Of a cut whose speaker is known it is not said that it
    /// has void.
    pub(super) fn put(
        &mut self,
        requests: &[Request],
        target: &Target,
        known: Option<Speaker>,
    ) -> Result<()> {
        let Cuts {
            path,
            snapshot,
            options,
            format,
            progress,
            stop,
            ..
        } = *self;
        let first = &requests[0];
        let planes = options
            .sheet
            .map(|planes| sheet::plan(planes, requests, format));
        let planes = planes.transpose().at(path)?;
        let named = Named::new(snapshot, requests, format, options, progress).at(path)?;
        let dtype = snapshot.catalog().dtype;
        let shape = planes.unwrap_or_else(|| shape(requests));
        let total = volume(&shape)?.saturating_mul(dtype.size() as u64);
        let mut output = Begin {
            target,
            format,
            dtype,
            blank: snapshot.catalog().blank,
            cards: Cards::default(),
            look: Look {
                title: title(path, snapshot, requests),
                ..options.look.clone()
            },
        };
        let cut = Streamed { snapshot, stop };
        if options.sheet.is_some() {
            let bare = self.bare.as_ref();
            let found = bare.map(|bare| sheet::replaced(&cut, bare, first));
            let found = found.transpose().at(path)?;
            output.look.sheet = Some(sheet::look(snapshot, first, found));
        }
        let is_known = known.is_some();
        let is_alone = known.as_ref().is_some_and(|known| known.is_alone);
        let Head {
            cards,
            whole_frame,
            is_frame,
        } = match format.is_text() {
            true => Head::default(),
            false => self.head(requests, known).at(path)?,
        };
        output.cards = cards;
        if !is_known && !format.is_text() && first.n_long() > 1 && !is_frame {
            warn_of_void(path, snapshot, first, progress);
        }
        if format.is_plot() && profile_axis(first).is_ok() {
            output.look.marks = marks(snapshot, requests).at(path)?;
        }
        let mut sink = output.begin_shaped(requests, shape, named, progress)?;
        // Until here one signal ends all, also the wait for whoever is to read from a pipe.
        stop.begin_work();
        progress.begin("reading", 0, total);
        if let Some(bare) = &self.bare {
            let bare = Streamed {
                snapshot: bare,
                ..cut
            };
            let bare = bare.stream(&requests[..1], None, sink.as_mut(), progress);
            bare.at(path)?;
        }
        let mut check = 0;
        let wanted = whole_frame.is_some().then_some(&mut check);
        let cut = cut.stream(requests, wanted, sink.as_mut(), progress);
        cut.at(path)?;
        progress.end();
        if let Some((expected, source)) = whole_frame {
            as_written(check, expected, &source).at(path)?;
        }
        // Of a cut that is one frame the header tells all.
        let table = match (is_frame || is_alone) && options.frames_table.is_none() {
            true => None,
            false => self.frames_table(requests).at(path)?,
        };
        if let Some(frames) = table {
            let mut rows = frames.rows((options.memory / 8).clamp(1 << 20, 64 << 20));
            sink.table(&frames.table, &mut rows)?;
        }
        sink.finish()
    }

    /// The header of a cut. Of one that is a frame and was cleaned, what lies beneath is
    /// held against the frame's check.
    fn head(&mut self, requests: &[Request], known: Option<Speaker>) -> Result<Head> {
        let (snapshot, options, stop) = (self.snapshot, self.options, self.stop);
        let (first, formats) = (&requests[0], &[self.format]);
        let speaker = match known {
            Some(known) => known,
            None => speaker(snapshot, first)?,
        };
        let (positions, progress) = (self.positions(), self.progress);
        let (mut cards, record) =
            header_of(speaker, snapshot, positions, first, formats, progress)?;
        let record = record.filter(|_| requests.len() == 1);
        let is_frame = record.is_some();
        let mut whole_frame = None;
        match record {
            Some(record) if snapshot.catalog().patches.is_empty() && self.bare.is_none() => {
                whole_frame = Some((record.check, record.source));
            }
            // The check is of the samples beneath the patches.
            Some(record) => {
                let reader = || FrameReader::new(snapshot, options.memory / 4);
                let reader = self.beneath.get_or_insert_with(reader);
                let check = reader.check(&record, &mut |_| !stop.is_set())?;
                if !stop.is_set() {
                    as_written(check, record.check, &record.source)?;
                }
            }
            None => {}
        }
        if self.format.holds_cards() {
            tell_replaced(&mut cards, snapshot, requests)?;
        }
        Ok(Head {
            cards,
            whole_frame,
            is_frame,
        })
    }

    /// The table of the frames in a cut, where one is wanted.
    fn frames_table(&self, requests: &[Request]) -> Result<Option<FramesTable<'_>>> {
        let wanted = self.options.frames_table;
        let is_wanted = wanted.unwrap_or(requests[0].n_long() > 1);
        if !is_wanted || !self.format.holds_tables() {
            return Ok(None);
        }
        let at_least = match wanted {
            Some(_) => 0,
            None => 2,
        };
        let cuts = requests.iter().map(|request| request.spans.clone());
        let (snapshot, positions) = (self.snapshot, self.positions());
        FramesTable::new(snapshot, positions, cuts.collect(), at_least, self.progress)
    }
}

/// Integers without BLANK have no value that is never data: what void reads as looks
/// like a sample to whoever reads the output.
pub(super) fn warn_of_void(
    path: &Path,
    snapshot: &Snapshot,
    request: &Request,
    progress: &dyn Progress,
) {
    let catalog = snapshot.catalog();
    if catalog.dtype.is_float() || catalog.blank.is_some() {
        return;
    }
    // What is wrong with the cut is said when it is read.
    let has_void = snapshot.has_void(&request.spans, Void::Plain);
    if has_void.unwrap_or(false) {
        progress.warn(&format!(
            "{}: where no frame reaches, the cut is {}, which nothing tells from a sample: the cube \
             has no BLANK",
            show_path(path),
            catalog.dtype.show(catalog.pad)
        ));
    }
}

/// An error about positions, where those of a view are not those of the cube.
pub(super) fn of_view(snapshot: &Snapshot, error: Error) -> Error {
    match snapshot.is_view() {
        true => error.hint("--at and --section count the frames that --where leaves"),
        false => error,
    }
}

/// Lengths of an output; several profiles are along an axis of their own.
fn shape(requests: &[Request]) -> Vec<u64> {
    let mut shape = requests[0].shape();
    if requests.len() > 1 {
        shape.push(requests.len() as u64);
    }
    shape
}

/// An output that is about to begin.
pub(super) struct Begin<'a> {
    pub(super) target: &'a Target,
    pub(super) format: Format,
    pub(super) dtype: DType,
    pub(super) blank: Option<i128>,
    pub(super) cards: Cards,
    /// Unit and axes are told by the cards and the cuts.
    pub(super) look: Look,
}

impl Begin<'_> {
    /// Begins an output that gets the samples of these cuts, or as many that were
    /// made of them.
    pub(super) fn begin(
        self,
        requests: &[Request],
        progress: &dyn Progress,
    ) -> Result<Box<dyn Sink>> {
        self.begin_shaped(requests, shape(requests), Named::default(), progress)
    }

    /// The same for an image that has not the shape of the cuts.
    fn begin_shaped(
        self,
        requests: &[Request],
        shape: Vec<u64>,
        named: Named,
        progress: &dyn Progress,
    ) -> Result<Box<dyn Sink>> {
        let first = &requests[0];
        let (target, format, dtype) = (self.target, self.format, self.dtype);
        if format.is_text() {
            let profiles = profiles(requests, format, named)?;
            return text::create(target, format, dtype, self.blank, profiles);
        }
        let names = first.kept.iter().map(|&axis| AXIS_NAMES[axis].to_string());
        let profile = (requests.len() > 1).then(|| "profile".to_string());
        let look = Look {
            unit: self.cards.get_text("BUNIT").unwrap_or_default(),
            axes: names.chain(profile).collect(),
            ..self.look
        };
        if format == Format::Plot
            || format.is_plot() && look.sheet.is_none() && profile_axis(first).is_ok()
        {
            let profiles = profiles(requests, format, named)?;
            return plot::create(target, format, dtype, self.blank, profiles, &look);
        }
        if format == Format::Raw {
            // The samples do not say what they are.
            progress.tell(&format!(
                "{dtype}, little-endian, {}, x fastest",
                show_shape(&shape)
            ));
        }
        let image = Image {
            shape,
            dtype,
            blank: self.blank,
            cards: self.cards,
        };
        sinks::create_with(target, format, &image, &look)
    }
}

/// What a picture calls a cube.
pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// What a picture says of itself: the cube, and the positions that are fixed.
fn title(path: &Path, snapshot: &Snapshot, requests: &[Request]) -> String {
    let mut title = name_of(path);
    let first = &requests[0];
    let is_fixed = |&axis: &usize| {
        let span = &first.spans[axis];
        !first.kept.contains(&axis) || span.len == 1
    };
    let mut fixed: Vec<usize> = (0..first.spans.len()).filter(is_fixed).collect();
    // Of axes that never had a second position nobody wants to hear.
    while fixed.len() > 2
        && let Some(&last) = fixed.last()
        && first.spans[last] == Span::run(0, 1)
    {
        fixed.pop();
    }
    let names: Vec<&str> = fixed.iter().map(|&axis| AXIS_NAMES[axis]).collect();
    if !names.is_empty() {
        title.push_str(&format!("  {}", names.join(",")));
        if requests.len() == 1 {
            let places = fixed
                .iter()
                .map(|&axis| snapshot.in_cube(axis, first.spans[axis].start) + 1);
            let places: Vec<String> = places.map(|place| place.to_string()).collect();
            title.push_str(&format!(" = {}", places.join(",")));
        }
    }
    title
}

/// Which samples of profiles were replaced.
fn marks(snapshot: &Snapshot, requests: &[Request]) -> Result<Vec<Vec<u64>>> {
    let axis = profile_axis(&requests[0]).unwrap_or(0);
    let marks = requests
        .iter()
        .map(|request| snapshot.patched_along(&request.spans, axis));
    marks.collect()
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

/// Takes away what a header says of a frame's own samples, for an image of others on
/// the same axes: their range and, where the others are counts or marks, their unit.
pub(super) fn forget_samples(cards: &mut Cards, has_unit: bool) {
    for keyword in ["DATAMIN", "DATAMAX"] {
        cards.remove(keyword);
    }
    if !has_unit {
        cards.remove("BUNIT");
    }
}

/// A cube is not replaced by a cut, least of all by one through itself.
pub(super) fn refuse_cube(target: &Target) -> Result<()> {
    let Target::File { path, .. } = target else {
        return Ok(());
    };
    match is_cube(path) {
        true => Err(Error::input("is a cube, and a cut does not replace it")
            .hint("name another file, or remove the cube first")
            .at(path)),
        false => Ok(()),
    }
}

/// The format asked for, or the one that the output's name says; text for a
/// profile on stdout, FITS for the rest.
fn output_format(request: &Request, options: &Options) -> Result<Format> {
    let long = request.n_long();
    match (&options.format, &options.target) {
        (Some(format), _) => Ok(*format),
        (None, Target::File { path, .. }) => Format::from_path(path),
        (None, Target::Stdout) if long <= 1 => Ok(Format::Text),
        (None, Target::Stdout) if options.named => Ok(Format::Fits),
        (None, Target::Stdout) => Err(Error::input("the cut is no profile, so it needs an output")
            .hint("-o FILE.fits writes a file; -o - writes FITS to standard output")),
    }
}

/// The axes that stay, sorted, and the others.
pub(super) fn parted(axes: &[usize], shape: &[u64]) -> Result<(Vec<usize>, Vec<usize>)> {
    for &axis in axes {
        check_axis(axis, shape)?;
    }
    Ok((0..shape.len()).partition(|axis| axes.contains(axis)))
}

fn requests(snapshot: &Snapshot, cut: &Cut) -> Result<Vec<Request>> {
    let shape = snapshot.shape();
    check_samples(&shape)?;
    match cut {
        Cut::Whole => Ok(vec![Request::of(snapshot.whole())]),
        Cut::Section(text) => Ok(vec![Request::of(parse_section(text, &shape)?)]),
        Cut::Axes(axes, places) => {
            let (kept, fixed) = parted(axes, &shape)?;
            if places.len() > 1 && kept.len() > 1 {
                return Err(
                    Error::input("--at is repeated, but each cut has several axes")
                        .hint("many cuts in one pass are profiles: name one axis"),
                );
            }
            places
                .iter()
                .map(|place| {
                    let mut spans = snapshot.whole();
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
        if fixed.is_empty() {
            return Err(
                Error::input("--axis names every axis, which leaves none for --at")
                    .hint("without --at the whole cube comes out"),
            );
        }
        let names: Vec<&str> = fixed.iter().map(|&axis| AXIS_NAMES[axis]).collect();
        return Err(Error::input(format!(
            "--at `{place}` has {}, and takes one on each of {}",
            count(texts.len() as u64, "position"),
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

/// A part of a cut.
pub(super) struct Part {
    /// Its positions in the cube.
    pub(super) spans: Vec<Span>,
    /// Its positions in the cut.
    pub(super) inside: Vec<Span>,
    pub(super) bytes: usize,
}

/// The streaming of cuts.
#[derive(Clone, Copy)]
pub(super) struct Streamed<'a> {
    pub(super) snapshot: &'a Snapshot,
    stop: &'a Stop,
}

impl Streamed<'_> {
    /// Sends cuts to the sink, part by part, x fastest; `check`, where it is wanted,
    /// becomes the CRC-32C of all samples. While one part is written the next is read,
    /// checked and encoded.
    fn stream(
        &self,
        requests: &[Request],
        check: Option<&mut u32>,
        sink: &mut dyn Sink,
        progress: &dyn Progress,
    ) -> Result<()> {
        let size = self.snapshot.catalog().dtype.size() as u64;
        let shape = shape(requests);
        let bytes = volume(&shape)?.saturating_mul(size);
        // A thread takes longer to start than little is read; many profiles are much to
        // read, for each of their samples is somewhere else.
        let threads = match requests.len() == 1 && bytes <= PART_BYTES {
            true => 1,
            false => 2,
        };
        let parts = requests.iter().flat_map(|request| self.parts(request));
        let (encoding, is_checked) = (sink.encoding(), check.is_some());
        let read = |part: Result<Part>, buffer: &mut Vec<u8>| {
            let part = part?;
            buffer.resize(part.bytes, 0);
            self.snapshot.read(&part.spans, buffer)?;
            let check = is_checked.then(|| crc32c::crc32c(buffer));
            let sum = encoding.map(|encoding| encoding.encode(buffer));
            Ok((check, sum))
        };
        let mut whole = 0;
        in_turn(threads, parts, &read, &mut |bytes, (check, sum)| {
            let len = bytes.len() as u64;
            whole = check.map_or(0, |check| joined(whole, check, len));
            match sum {
                Some(sum) => sink.write_encoded(bytes, sum)?,
                None => sink.write(bytes)?,
            }
            progress.bytes(len);
            Ok(())
        })?;
        if let Some(check) = check {
            *check = whole;
        }
        Ok(())
    }

    /// The parts of a cut, x fastest, until the command is to stop.
    pub(super) fn parts(&self, request: &Request) -> impl Iterator<Item = Result<Part>> + Send {
        let size = self.snapshot.catalog().dtype.size() as u64;
        let lens: Vec<u64> = request.spans.iter().map(|span| span.len).collect();
        let tile = &self.snapshot.catalog().tile;
        let whole = lens.iter().product::<u64>().saturating_mul(size);
        let few = (whole / N_PARTS).clamp(LEAST_PART_BYTES, PART_BYTES);
        let parts = Parts::of_tiles(&lens, tile, few / size, PART_BYTES / size);
        parts.map(move |inside| {
            let goes_on = self.stop.go_on();
            goes_on.map_err(|error| error.hint("no output was made"))?;
            let samples: u64 = inside.iter().map(|span| span.len).product();
            let spans = request.spans.iter().zip(&inside);
            let spans = spans.map(|(span, inside)| span.part(inside)).collect();
            let bytes = usize::try_from(samples * size)
                .map_err(|_| Error::unsupported("a piece is too large for memory"))?;
            Ok(Part {
                spans,
                inside,
                bytes,
            })
        })
    }
}
