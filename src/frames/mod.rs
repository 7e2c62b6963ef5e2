//! Images in: one trait, [`Frame`], behind which every kind of source stands.
//!
//! This folder does not know that cubes exist. A frame is opened twice: once
//! while a command plans, to learn its [`Facts`], and once when its samples are
//! wanted; nothing is held open in between, so the number of frames is bounded
//! by neither memory nor the open-file limit.
//!
//! | file | what |
//! |---|---|
//! | `source` | a regular file, read at positions |
//! | `gzip` | what is inside a gzipped one |
//! | `verify` | an HDU against its DATASUM and CHECKSUM |
//! | `magic` | what a file is, by its first bytes |
//! | `cards` | header cards, looked up by keyword |
//! | `hdu` | the HDUs of a FITS file |
//! | `inherit` | what an extension takes over from the primary header |
//! | `fits` | a plain image in one of them |
//! | `tiles` | a tile-compressed image |
//! | `tiff` | the pages of a TIFF file |
//! | `array` | NumPy arrays and raw samples |
//! | `section` | a part of a frame |
//! | `recent` | the parts of a file that are open |
//! | `joined` | all images of a file as one frame |
//! | `list` | what the user named, as a list of inputs |
//! | `filter` | conditions on cards and samples, as `--where` takes them |
//! | `measure` | mean, median and so on of the samples |
//! | `wcs` | the coordinates of a header, fitted to a cut |

pub mod array;
pub mod cards;
#[cfg(test)]
mod corpus;
pub mod filter;
pub mod fits;
mod gzip;
pub mod hdu;
mod inherit;
mod joined;
pub mod list;
pub mod magic;
pub mod measure;
mod recent;
mod section;
pub mod source;
pub(crate) mod tiff;
mod tiles;
mod verify;
pub mod wcs;

use std::fmt;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::dtype::DType;
use crate::error::{Context, Error, Result};
use crate::region::{MAX_RANK, volume};
use array::Layout;
use cards::Cards;
pub use gzip::Unpacked;
use joined::Joined;
use list::Input;
use magic::Magic;
use section::Section;
use source::Source;

/// What is known of a frame before its samples are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Lengths of the axes, the fastest first; trailing lengths of 1 are kept.
    pub shape: Vec<u64>,
    /// Type of the samples that [`Frame::read`] delivers, scaling applied.
    pub dtype: DType,
    /// The value that means "no data" in an integer frame, scaling applied.
    pub blank: Option<i128>,
    /// Size of the file the frame came from, in bytes.
    pub file_bytes: u64,
    /// When that file was last modified.
    pub modified: Option<SystemTime>,
    /// Which HDU or page of the file it is, from 0.
    pub part: u32,
    /// Which sample of its pixels it is, from 0, where one alone was asked for.
    pub channel: Option<u64>,
    /// Where in the file the header of that part begins.
    pub offset: u64,
    /// Where the first header of its file begins: at 0 but where files of FITS follow each
    /// other.
    pub primary: u64,
}

/// What a frame says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Shape, type and origin.
    pub facts: Facts,
    /// The header as it came, without END.
    pub cards: Cards,
    /// What a user should know of how the frame is read.
    pub notes: Vec<String>,
}

impl About {
    /// Sees that a run of samples lies inside the frame.
    fn check(&self, first: u64, n_bytes: usize) -> Result<()> {
        let (size, n_samples) = (self.facts.dtype.size(), volume(&self.facts.shape)?);
        let end = first.checked_add((n_bytes / size) as u64);
        if !n_bytes.is_multiple_of(size) || end.is_none_or(|end| end > n_samples) {
            return Err(Error::input(format!(
                "{n_bytes} bytes from sample {first} were asked of a frame of {n_samples} samples of \
                 {size} bytes"
            )));
        }
        Ok(())
    }
}

/// Sees that a frame has not too many axes.
fn check_rank(shape: &[u64]) -> Result<()> {
    if shape.len() > MAX_RANK {
        return Err(Error::unsupported(format!(
            "has {} axes, but a frame can have {MAX_RANK}",
            shape.len()
        )));
    }
    Ok(())
}

/// Reads the samples from `first` on where `per` of them stand together, in a row, a page
/// or an image: `read` is given its number, the first sample in it, and what to fill.
fn each_part(
    first: u64,
    per: u64,
    size: usize,
    mut out: &mut [u8],
    mut read: impl FnMut(u64, u64, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let mut at = first;
    while !out.is_empty() {
        let n_left = (out.len() / size) as u64;
        let n_now = n_left.min(per - at % per);
        let n_bytes = usize::try_from(n_now).unwrap_or(usize::MAX) * size;
        let (now, later) = out.split_at_mut(n_bytes);
        read(at / per, at % per, now)?;
        at += n_now;
        out = later;
    }
    Ok(())
}

/// One image, streamed.
pub trait Frame: Send {
    /// What it says of itself.
    fn about(&self) -> &About;

    /// Shape, type and origin.
    fn facts(&self) -> &Facts {
        &self.about().facts
    }

    /// Called when the last sample that is wanted was read: what the whole file has to
    /// hold against its checksum is held against it.
    ///
    /// # Errors
    /// When it is damaged.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// The header as it came, without END.
    fn cards(&self) -> &Cards {
        &self.about().cards
    }

    /// What a user should know of how the frame is read.
    fn notes(&self) -> &[String] {
        &self.about().notes
    }

    /// Are samples decompressed, so that reading several frames at once gains?
    fn is_slow(&self) -> bool {
        false
    }

    /// About how many bytes it keeps in memory between reads, where that may be much.
    fn kept(&self) -> u64 {
        0
    }

    /// Reads the run of samples from the linear index `first` (x fastest) into
    /// `out`, as little-endian samples of `facts().dtype`. The length of `out` is
    /// a multiple of the sample size, and the run lies inside the frame.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what it was when it was opened.
    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()>;
}

/// How files are read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Which HDUs or pages of a file are frames.
    pub hdu: HduChoice,
    /// Which sample of each pixel of a TIFF file, from 0; all of them, on an axis of
    /// their own, when none is given.
    pub channel: Option<u64>,
    /// Where samples lie; then no file is asked what it is.
    pub raw: Option<Layout>,
    /// Are images of FITS held against their checksums when they are opened?
    pub verify: bool,
    /// Where gzipped files are unpacked that are not read in order.
    pub unpacked: Unpacked,
}

/// Which HDU of a FITS file, or page of a TIFF file, is the frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HduChoice {
    /// The first HDU that holds an image with samples; all pages, but for those
    /// that are smaller copies or masks of others.
    #[default]
    FirstImage,
    /// Every HDU that holds an image with samples, and every page.
    All,
    /// The same, as one frame: they are on an axis of their own.
    Stack,
    /// The one of this number; 0 is the primary HDU.
    Number(u32),
    /// The first of this EXTNAME, case aside, and of this EXTVER if one is given.
    Name(String, Option<i64>),
}

impl HduChoice {
    /// Reads `2`, `SCI` or `SCI,2`.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn parse(text: &str) -> Result<HduChoice> {
        let text = text.trim();
        let bad = || {
            Error::input(format!("cannot read `{text}` as an HDU")).hint(
                "give its number (0 is the primary), its EXTNAME, EXTNAME,EXTVER, all or stack",
            )
        };
        if text.parse::<i128>().is_ok() {
            return text.parse().map(HduChoice::Number).map_err(|_| bad());
        }
        // A name may hold commas; only a number behind the last one is a version.
        if let Some((name, version)) = text.rsplit_once(',')
            && let Ok(version) = version.trim().parse()
        {
            let name = name.trim_end();
            return match name {
                "" => Err(bad()),
                _ => Ok(HduChoice::Name(name.to_string(), Some(version))),
            };
        }
        match text {
            "" => Err(bad()),
            "all" => Ok(HduChoice::All),
            "stack" => Ok(HduChoice::Stack),
            _ => Ok(HduChoice::Name(text.to_string(), None)),
        }
    }
}

impl fmt::Display for HduChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HduChoice::FirstImage => f.write_str("first image"),
            HduChoice::All => f.write_str("all"),
            HduChoice::Stack => f.write_str("stack"),
            HduChoice::Number(number) => write!(f, "{number}"),
            HduChoice::Name(name, None) => f.write_str(name),
            HduChoice::Name(name, Some(version)) => write!(f, "{name},{version}"),
        }
    }
}

/// Reads which sample of a pixel is meant: `R`, `G`, `B`, or a number from 1.
///
/// # Errors
/// When the text is neither.
pub fn parse_channel(text: &str) -> Result<u64> {
    let number = match text.trim() {
        "R" | "r" => Some(0),
        "G" | "g" => Some(1),
        "B" | "b" => Some(2),
        number => number.parse().ok().and_then(|n: u64| n.checked_sub(1)),
    };
    number.ok_or_else(|| {
        Error::input(format!("cannot read `{text}` as a channel"))
            .hint("give R, G, B or a number from 1")
    })
}

/// The frames of one file, in order. An error stands for one that cannot be read;
/// others may follow it.
pub struct Parts {
    kind: Kind,
    /// The part of each that is the frame.
    section: Option<String>,
}

enum Kind {
    One(Option<Box<dyn Frame>>),
    Images(Box<fits::Images>),
    Pages(Box<tiff::Pages>),
}

impl Parts {
    fn cut(section: Option<&str>, frame: Box<dyn Frame>) -> Result<Box<dyn Frame>> {
        Ok(match section {
            Some(section) => Box::new(Section::new(frame, section)?),
            None => frame,
        })
    }
}

impl Kind {
    /// Opens a frame again that these gave.
    fn again(self, part: u32, offset: u64, primary: u64) -> Result<Box<dyn Frame>> {
        match self {
            Kind::One(frame) => {
                frame.ok_or_else(|| Error::input("changed since the command began"))
            }
            Kind::Images(images) => images.again(part, offset, primary),
            Kind::Pages(pages) => pages.again(part, offset),
        }
    }
}

impl Iterator for Kind {
    type Item = Result<Box<dyn Frame>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Kind::One(frame) => frame.take().map(Ok),
            Kind::Images(images) => images.next(),
            Kind::Pages(pages) => pages.next(),
        }
    }
}

impl Iterator for Parts {
    type Item = Result<Box<dyn Frame>>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.kind.next()?;
        let section = self.section.as_deref();
        Some(frame.and_then(|frame| Parts::cut(section, frame)))
    }
}

/// Opens a file; its first bytes say what reads it. Brackets at the end of a name
/// say which HDU and section, unless a file has that very name.
///
/// # Errors
/// When the file cannot be read, is of no kind that is known, or holds no such
/// image.
pub fn open_all(input: &Input, reading: &Reading) -> Result<Parts> {
    let path = &input.path;
    let opened = match &input.stream {
        Some(file) => Source::stream(file, path),
        None => Source::open(path),
    };
    let missing = match opened {
        Ok(source) => return from_source(source, reading, None),
        Err(error) => error,
    };
    let is_missing = missing.io_source().map(io::Error::kind) == Some(io::ErrorKind::NotFound);
    let named = if is_missing {
        section::split(path).at(path)?
    } else {
        None
    };
    let Some(named) = named else {
        return Err(missing);
    };
    let source = Source::open(&named.path)?;
    let reading = Reading {
        hdu: named.hdu.unwrap_or_else(|| reading.hdu.clone()),
        ..reading.clone()
    };
    from_source(source, &reading, named.section).at(path)
}

fn from_source(source: Source, reading: &Reading, section: Option<String>) -> Result<Parts> {
    let kind = match reading.hdu {
        HduChoice::Stack if reading.raw.is_none() => {
            Kind::One(Some(Box::new(Joined::new(source, reading)?)))
        }
        _ => parts_of(source, reading)?,
    };
    Ok(Parts { kind, section })
}

/// The frames of a file that is open, whole.
fn parts_of(source: Source, reading: &Reading) -> Result<Kind> {
    let path = source.path().to_path_buf();
    if let Some(layout) = &reading.raw {
        return Ok(Kind::One(Some(array::raw(source, layout)?)));
    }
    let head = source.head()?;
    let magic = Magic::of(&head);
    if reading.channel.is_some() && magic != Magic::Tiff {
        return Err(Error::input("is no TIFF image, which alone has channels")
            .hint("--channel is for TIFF images"))
        .at(&path);
    }
    Ok(match magic {
        Magic::Fits => Kind::Images(Box::new(fits::Images::new(source, reading))),
        Magic::Gzip => Kind::Images(Box::new(fits::Images::gzipped(source, reading)?)),
        Magic::Tiff => Kind::Pages(Box::new(tiff::Pages::open(source, reading)?)),
        Magic::Npy => Kind::One(Some(array::npy(source)?)),
        other => return Err(other.refuse(&head, "a frame that can be read")).at(&path),
    })
}

/// Opens a frame again that [`open_all`] gave; it is not verified again.
///
/// # Errors
/// When it is not there any more.
pub fn reopen(input: &Input, reading: &Reading, facts: &Facts) -> Result<Box<dyn Frame>> {
    let reading = Reading {
        verify: false,
        ..reading.clone()
    };
    let parts = open_all(input, &reading)?;
    let frame = parts.kind.again(facts.part, facts.offset, facts.primary);
    Parts::cut(parts.section.as_deref(), frame.at(&input.path)?)
}

/// Opens the first frame of a file.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn open(path: &Path, hdu: &HduChoice) -> Result<Box<dyn Frame>> {
    let reading = Reading {
        hdu: hdu.clone(),
        ..Reading::default()
    };
    let first = open_all(&Input::named(path), &reading)?.next();
    first.unwrap_or_else(|| Err(Error::input("holds no frame").at(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hdu_is_chosen_by_number_or_by_name() {
        let name = |name: &str, version| HduChoice::Name(name.into(), version);
        for (text, choice) in [
            ("2", HduChoice::Number(2)),
            ("SCI", name("SCI", None)),
            ("SCI,2", name("SCI", Some(2))),
            ("a,b", name("a,b", None)),
            ("a,b, 3", name("a,b", Some(3))),
            (" DQ ", name("DQ", None)),
            ("all", HduChoice::All),
            ("stack", HduChoice::Stack),
        ] {
            assert_eq!(HduChoice::parse(text).unwrap(), choice);
        }
        assert_eq!(HduChoice::parse("SCI,2").unwrap().to_string(), "SCI,2");
        for text in ["", "-1", ",2", "4294967296"] {
            assert!(HduChoice::parse(text).is_err(), "{text}");
        }
    }
}
