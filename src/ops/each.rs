//! `cube slice --each`: every position a file of its own.
//!
//! Files are called as the user says, by what frames were called when they came in, and
//! that may be anything: whatever it is, the file is in the folder that the user named. All
//! names are known, and are free, before the first file is written.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::clean::region;
use super::frames::open_chosen;
use super::mosaic::Speaker;
use super::slice::{Cut, Cuts, Options, Request, parted, refuse_cube, warn_of_void};
use super::{Progress, Stop, count};
use crate::engine::records::Positions;
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, IoContext, Kind, Result, show_path};
use crate::format::ledger::Record;
use crate::frames::list::bare_name;
use crate::region::{AXIS_NAMES, Span, volume};
use crate::sinks::output::folder_of;
use crate::sinks::{self, Format, Target};
use crate::turns::lock;

/// More files are put out in parts: their names are in memory.
const MOST_FILES: u64 = 1_000_000;

/// What was done.
#[derive(Clone, Debug)]
pub struct Report {
    /// Files written.
    pub files: u64,
    /// Where they are.
    pub folder: PathBuf,
    /// The folder was made for them.
    pub is_new: bool,
}

/// Puts every position of the axes that do not stay, or of a section on the axis that
/// frames are stacked on, into a file of its own.
///
/// # Errors
/// When a name cannot be made or is taken, or something cannot be read or written; what
/// was written before is whole, and the hint tells how much that is.
pub fn each(
    path: &Path,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Report> {
    let template = Template::new(&options.target)?;
    let format = match options.format {
        Some(format) => format,
        None => Format::from_path(&template.path)?,
    };
    let snapshot = &open_chosen(path, &options.filters, progress)?;
    let grid = Grid::new(snapshot, &options.cut).at(path)?;
    let mut files = grid.files(&template).at(path)?;
    let is_new = template.check(&files)?;
    let whole = grid.whole();
    if !format.is_text() && whole.n_long() > 1 {
        warn_of_void(path, snapshot, &whole, progress);
    }
    let once = Once {
        progress,
        said: Mutex::default(),
    };
    let mut cuts = Cuts::new(path, snapshot, options, format, (&once, stop))?;
    // As they came in, which is how they follow each other in the cube's file.
    files.sort_by_key(|file| file.speaker);
    stop.begin_work();
    if is_new {
        let made = fs::create_dir(template.folder());
        made.doing("cannot make the folder").at(template.folder())?;
    }
    let bytes = volume(&whole.shape())?.saturating_mul(snapshot.catalog().dtype.size() as u64);
    progress.begin(
        "writing",
        files.len() as u64,
        bytes.saturating_mul(files.len() as u64),
    );
    let mut n_done = 0;
    let mut put = |file: &File, record: Option<Record>| {
        stop.go_on()?;
        let target = template.target(&file.name);
        let known = Speaker {
            record,
            is_alone: file.n_frames == u32::from(file.speaker.is_some()),
        };
        cuts.put(&[grid.request(file.number)], &target, Some(known))?;
        n_done += 1;
        progress.frames(1);
        Ok(())
    };
    let done = grid.in_order(&files, &mut put);
    progress.end();
    let folder = template.folder().to_path_buf();
    let told = format!(
        "{n_done} of {} in {} are written, each of them whole",
        count(files.len() as u64, "file"),
        show_path(&folder)
    );
    if is_new && n_done == 0 {
        // What cannot be removed has something in it.
        let _ = fs::remove_dir(&folder);
    }
    done.map_err(|error| match (error.kind(), error.hint_text()) {
        (Kind::Interrupted, _) => Error::interrupted(format!("interrupted: {told}"))
            .hint("the same command with --overwrite writes all of them")
            .at(path),
        (_, Some(hint)) if n_done > 0 => {
            let both = format!("{hint}; {told}");
            error.hint(both)
        }
        (_, None) if n_done > 0 => error.hint(told),
        _ => error,
    })?;
    Ok(Report {
        files: n_done,
        folder,
        is_new,
    })
}

/// One file.
struct File {
    /// Which cut it holds.
    number: u64,
    /// Its name in the folder.
    name: String,
    /// The frame whose header speaks for the cut, where that is not the cube's own.
    speaker: Option<u64>,
    /// How many frames may be in the cut.
    n_frames: u32,
    /// What the frame came from that gave it its name.
    source: Option<String>,
}

/// What is found of the frames at one position.
#[derive(Clone, Default)]
struct Found {
    speaker: Option<u64>,
    /// What that frame came from, or the first that has samples there.
    source: Option<String>,
    n_frames: u32,
}

/// The cuts: which axes stay, and the positions of the others, one cut each.
struct Grid<'a> {
    snapshot: &'a Snapshot,
    spans: Vec<Span>,
    kept: Vec<usize>,
    fixed: Vec<usize>,
    /// The axes that a file has: those that stay, and that of the stack, where frames came
    /// with it.
    shown: Vec<usize>,
    n_files: u64,
}

impl<'a> Grid<'a> {
    fn new(snapshot: &'a Snapshot, cut: &Cut) -> Result<Grid<'a>> {
        let section = match cut {
            Cut::Section(text) => Some(text.as_str()),
            _ => None,
        };
        let (axis, spans) = region(snapshot, None, section)?;
        let (kept, fixed) = match cut {
            Cut::Axes(axes, _) => parted(axes, &snapshot.shape())?,
            _ => (0..spans.len()).partition(|&other| other != axis),
        };
        if fixed.is_empty() {
            return Err(
                Error::input("--axis names every axis, which leaves none for --each")
                    .hint("--axis x,y --each makes a file of every plane"),
            );
        }
        let lens: Vec<u64> = fixed.iter().map(|&axis| spans[axis].len).collect();
        let n_files = volume(&lens)?;
        if n_files > MOST_FILES {
            return Err(Error::input(format!(
                "that is {n_files} files, and {MOST_FILES} are the most at a time"
            ))
            .hint("--axis names the axes that stay; --where takes some of the frames"));
        }
        let mut shown = kept.clone();
        let record = snapshot.header_record()?;
        let is_own = |record: Record| record.shape.len() > axis;
        if !matches!(cut, Cut::Axes(..)) && record.is_some_and(is_own) {
            shown.push(axis);
            shown.sort_unstable();
        }
        Ok(Grid {
            shown,
            snapshot,
            spans,
            kept,
            fixed,
            n_files,
        })
    }

    /// The cut with this number, from 0.
    fn request(&self, number: u64) -> Request {
        let mut request = self.whole();
        for (axis, position) in self.places(number) {
            request.spans[axis] = Span::run(position, 1);
        }
        request.kept.clone_from(&self.shown);
        request
    }

    /// All of them as one; its shape is that of each.
    fn whole(&self) -> Request {
        Request {
            spans: self.spans.clone(),
            kept: self.kept.clone(),
        }
    }

    fn places(&self, number: u64) -> impl Iterator<Item = (usize, u64)> {
        let mut rest = number;
        self.fixed.iter().map(move |&axis| {
            let span = &self.spans[axis];
            let position = span.at(rest % span.len);
            rest /= span.len;
            (axis, position)
        })
    }

    /// Positions in the cube of a cut, from 1, and how long the last one of the axis is.
    /// Axes that never had a second position say nothing.
    fn told(&self, number: u64) -> impl Iterator<Item = (usize, u64, usize)> {
        let len = |axis: usize| self.snapshot.pieces(axis).len();
        let last = self.fixed.iter().rposition(|&axis| len(axis) > 1);
        let told = self.places(number).take(last.map_or(1, |last| last + 1));
        told.map(move |(axis, position)| {
            let in_cube = |position| self.snapshot.in_cube(axis, position) + 1;
            let last = in_cube(len(axis) - 1);
            (axis, in_cube(position), last.to_string().len())
        })
    }

    /// As messages tell it: `z = 7`.
    fn show(&self, number: u64) -> String {
        let axes = self.told(number).map(|(axis, ..)| AXIS_NAMES[axis]);
        let places = self.told(number).map(|(_, place, _)| place.to_string());
        let (axes, places): (Vec<_>, Vec<_>) = (axes.collect(), places.collect());
        format!("{} = {}", axes.join(","), places.join(","))
    }

    /// Asks the frames who is where.
    fn found(&self) -> Result<Vec<Found>> {
        let positions = self.snapshot.positions();
        let mut found = vec![Found::default(); self.n_files as usize];
        self.each_record(&mut |record| {
            if positions.of(&record).is_none() {
                return Ok(());
            }
            let speaks = self.kept.iter().all(|&axis| {
                let (start, runs) = (self.spans[axis].start, positions.runs(&record, axis));
                let mut runs = runs.iter().map(|&(at, len)| at..at + len);
                runs.any(|run| run.contains(&start))
            });
            for number in self.numbers(&positions, &record) {
                let Some(found) = found.get_mut(number as usize) else {
                    continue;
                };
                found.n_frames = found.n_frames.saturating_add(1);
                if speaks {
                    found.speaker = Some(record.frame);
                }
                if speaks || found.source.is_none() {
                    found.source = Some(record.source.clone());
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The cuts that have a frame's positions.
    fn numbers(&self, positions: &Positions, record: &Record) -> Vec<u64> {
        let (mut numbers, mut stride) = (vec![0], 1);
        for &axis in &self.fixed {
            let span = &self.spans[axis];
            let own = positions.along(record, axis);
            let own = own.filter_map(|position| span.number_of(position));
            numbers = own
                .flat_map(|own| numbers.iter().map(move |number| number + own * stride))
                .collect();
            stride *= span.len;
        }
        numbers
    }

    /// Calls `each` for records, at least of all frames that have a position of these cuts.
    fn each_record(&self, each: &mut dyn FnMut(Record) -> Result<()>) -> Result<()> {
        let mut spans = self.spans.clone();
        for &axis in &self.kept {
            spans[axis] = Span::run(0, self.snapshot.pieces(axis).len());
        }
        let slots = self.snapshot.slot_ranges(&spans);
        self.snapshot.for_each_record_of(&slots, each)
    }

    /// What every file is called, in the order of positions; no two the same.
    fn files(&self, template: &Template) -> Result<Vec<File>> {
        let mut taken = HashMap::new();
        let numbered = (0..).zip(self.found()?);
        let files = numbered.map(|(number, found)| {
            let came = found.source.as_deref().and_then(file_name);
            let name = template.name(came.as_deref(), || {
                let told = self.told(number);
                let told = told.map(|(_, place, width)| format!("{place:0width$}"));
                told.collect::<Vec<_>>().join("-")
            });
            let name = name.ok_or_else(|| {
                let what = match found.n_frames {
                    0 => "no frame is there",
                    _ => "the frame there has none",
                };
                Error::input(format!(
                    "{}: there is no name for {{name}}: {what}",
                    self.show(number)
                ))
                .hint("{at} in place of {name} is the position; --where leaves positions out")
            })?;
            match taken.entry(name.clone()) {
                Entry::Vacant(free) => {
                    free.insert(number);
                }
                Entry::Occupied(other) => {
                    let (other, own) = (self.show(*other.get()), self.show(number));
                    return Err(Error::input(format!(
                        "{other} and {own} would both be the file {}",
                        show_path(Path::new(&name))
                    ))
                    .hint("{at} in the name is the position, as in '{name}-{at}.fits'"));
                }
            }
            Ok(File {
                number,
                name,
                speaker: found.speaker,
                source: found.source,
                n_frames: found.n_frames,
            })
        });
        files.collect()
    }

    /// Calls `put` for files that are sorted by the frame that speaks for them, with its
    /// record: each is read once.
    fn in_order(
        &self,
        files: &[File],
        put: &mut dyn FnMut(&File, Option<Record>) -> Result<()>,
    ) -> Result<()> {
        let mut left = files.iter().peekable();
        let cubes_own = self.snapshot.header_record()?;
        while let Some(file) = left.next_if(|file| file.speaker.is_none()) {
            put(file, cubes_own.clone())?;
        }
        self.each_record(&mut |record| {
            while let Some(file) = left.next_if(|file| file.speaker == Some(record.frame)) {
                put(file, Some(record.clone()))?;
            }
            Ok(())
        })
    }
}

/// What a file is called that a frame came in under this name, without folders and without
/// what says of what kind it is: `a-SCI-1` of `night/a.fits[SCI,1]`. Safe as the beginning of
/// a name; `None` where nothing is left.
fn file_name(source: &str) -> Option<String> {
    let (name, inside) = parted_name(source);
    let name = bare_name(name.rsplit('/').next().unwrap_or_default());
    let plain = |c: char| if c.is_control() { '_' } else { c };
    let mut safe: String = name.chars().map(plain).collect();
    // A hidden file, or a folder.
    if safe.starts_with('.') {
        safe.replace_range(..1, "_");
    }
    let parts = inside.split(|c: char| !c.is_alphanumeric() && !"_.+".contains(c));
    for part in parts.filter(|part| !part.is_empty()) {
        safe = safe + "-" + part;
    }
    let says = |c: char| !"_.".contains(c) && !c.is_whitespace();
    safe.contains(says).then_some(safe)
}

/// A name as it was given, and what of the file it means: `[SCI,1]`.
fn parted_name(source: &str) -> (&str, &str) {
    match source.find('[').filter(|_| source.ends_with(']')) {
        Some(open) => source.split_at(open),
        None => (source, ""),
    }
}

/// Is it the file that a frame came from?
fn is_source(path: &Path, source: &str) -> bool {
    let found = |path: &Path| fs::canonicalize(path).ok();
    let came = [source, parted_name(source).0].map(|name| found(Path::new(name)));
    found(path).is_some_and(|path| came.contains(&Some(path)))
}

/// The name of the output, with places for what differs.
struct Template {
    path: PathBuf,
    overwrite: bool,
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    Name,
    At,
}

impl Template {
    fn new(target: &Target) -> Result<Template> {
        const HINT: &str = "such as -o 'cleaned/{name}.fits': {name} is what the frame was called, {at} its position";
        let (path, overwrite) = match target {
            Target::File { path, overwrite } => (path, *overwrite),
            Target::Stdout => {
                return Err(
                    Error::input("--each makes files, and standard output is one").hint(HINT),
                );
            }
        };
        let wrong = |what: &str| Err(Error::input(what).hint(HINT).at(path));
        let name = path.file_name().unwrap_or_default();
        let Some(mut rest) = name.to_str() else {
            return wrong("the name of the files is no text");
        };
        let mut parts = Vec::new();
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((word, behind)) = behind.split_once('}') else {
                return wrong("{ is not closed");
            };
            parts.push(Part::Text(before.to_string()));
            parts.push(match word {
                "name" => Part::Name,
                "at" => Part::At,
                _ => return wrong(&format!("{{{word}}} stands for nothing")),
            });
            rest = behind;
        }
        if parts.is_empty() {
            return wrong("each file needs a name of its own");
        }
        if folder_of(path).to_string_lossy().contains(['{', '}']) {
            return wrong("{name} and {at} are for the names of files, not of folders");
        }
        parts.push(Part::Text(rest.to_string()));
        Ok(Template {
            path: path.clone(),
            overwrite,
            parts,
        })
    }

    fn folder(&self) -> &Path {
        folder_of(&self.path)
    }

    /// A file's name; `None` where the frame needs one and has none.
    fn name(&self, name: Option<&str>, at: impl Fn() -> String) -> Option<String> {
        let mut whole = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => whole += text,
                Part::Name => whole += name?,
                Part::At => whole += &at(),
            }
        }
        Some(whole)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    fn target(&self, name: &str) -> Target {
        Target::File {
            path: self.path(name),
            overwrite: self.overwrite,
        }
    }

    /// Refuses files that are there and may not be replaced; says whether the folder is
    /// missing.
    fn check(&self, files: &[File]) -> Result<bool> {
        let (mut first, mut n_there) = (None, 0);
        let folder = self.folder();
        if !folder.try_exists().doing("cannot look there").at(folder)? {
            return Ok(true);
        }
        for file in files {
            let path = self.path(&file.name);
            if path.try_exists().doing("cannot write there").at(&path)? {
                if self.overwrite {
                    let target = self.target(&file.name);
                    refuse_cube(&target)?;
                    sinks::check(&target)?;
                    let came = file.source.as_ref();
                    if came.is_some_and(|source| is_source(&path, source)) {
                        let what = "is what the frame came from, and its cut does not replace it";
                        return Err(Error::input(what)
                            .hint("-o 'cleaned/{name}.fits' writes to another folder")
                            .at(&path));
                    }
                    continue;
                }
                n_there += 1;
                first.get_or_insert(path);
            }
        }
        match first {
            None => Ok(false),
            Some(path) => {
                let more = match n_there - 1 {
                    0 => String::new(),
                    more => format!(
                        ", with {more} more of {}",
                        count(files.len() as u64, "file")
                    ),
                };
                Err(Error::input(format!("exists{more}"))
                    .hint("--overwrite replaces what exists")
                    .at(&path))
            }
        }
    }
}

/// Passes on how far the files are, and each remark once: frames have much in common.
struct Once<'a> {
    progress: &'a dyn Progress,
    said: Mutex<HashSet<String>>,
}

impl Once<'_> {
    fn is_new(&self, message: &str) -> bool {
        lock(&self.said).insert(message.to_string())
    }
}

impl Progress for Once<'_> {
    fn begin(&self, _phase: &str, _frames: u64, _bytes: u64) {}

    fn bytes(&self, bytes: u64) {
        self.progress.bytes(bytes);
    }

    fn frames(&self, frames: u64) {
        self.progress.frames(frames);
    }

    fn end(&self) {}

    fn warn(&self, message: &str) {
        if self.is_new(message) {
            self.progress.warn(message);
        }
    }

    fn tell(&self, message: &str) {
        if self.is_new(message) {
            self.progress.tell(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_frames_were_called_and_stay_in_their_folder() {
        for (source, name) in [
            ("frames/m31.2024-05-01.fits", "m31.2024-05-01"),
            ("a.fits.gz", "a"),
            ("A.FIT.FZ", "A"),
            ("a.fz", "a"),
            ("/x/stack.ome.tif", "stack.ome"),
            ("b.npy", "b"),
            ("c.dat", "c.dat"),
            ("d.1", "d.1"),
            ("x/a b.fits[SCI,1]", "a b-SCI-1"),
            ("a.fits.gz[2][10:500,*]", "a-2-10-500"),
            ("a.fits[/../A/B]", "a-..-A-B"),
            ("a[1].fits", "a[1]"),
            ("-", "-"),
            ("../../x", "x"),
            ("../..", ""),
            ("..", ""),
            (".", ""),
            ("", ""),
            ("/", ""),
            ("a/", ""),
            (".fits", ""),
            (".bashrc", "_bashrc"),
            ("...x", "_..x"),
            ("\n\0.fits", ""),
            ("a\nb\x1b[1m.fits", "a_b_[1m"),
            (" ", ""),
        ] {
            let found = file_name(source).unwrap_or_default();
            assert_eq!(found, name, "{source:?}");
        }
    }

    #[test]
    fn only_the_name_of_a_file_has_places() {
        let template = |text: &str| Template::new(&Target::from_path(Path::new(text), false));
        let name = |text: &str| {
            template(text)
                .unwrap()
                .name(Some("{at}"), || "07".to_string())
        };
        assert_eq!(name("x/{name}-{at}.fits").unwrap(), "{at}-07.fits");
        assert_eq!(name("{at}").unwrap(), "07");
        assert!(template("{at}").unwrap().name(None, String::new).is_some());
        assert!(
            template("{name}")
                .unwrap()
                .name(None, String::new)
                .is_none()
        );
        for text in [
            "a.fits",
            "-",
            "{nam}.fits",
            "{}",
            "{name",
            "{at}/a.fits",
            "{name}/{at}",
        ] {
            let error = template(text).err().unwrap();
            assert!(error.hint_text().unwrap().contains("{name}"), "{text}");
        }
    }
}
