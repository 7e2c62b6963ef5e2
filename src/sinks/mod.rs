//! Images out: one trait, [`Sink`], behind which every kind of output stands.
//!
//! This folder does not know that cubes exist. An output is written beside its
//! final name and renamed when it is whole, so nothing is ever left half-written
//! under that name, and nothing is clobbered unless asked for.

mod aligned;
mod average;
pub mod beside;
pub mod fits;
mod folder;
mod gzip;
pub mod in_place;
pub mod npy;
pub mod output;
pub mod plot;
pub mod png;
pub mod raw;
pub mod stretch;
pub mod table;
pub mod text;
pub mod tiff;
pub mod zarr;

use std::path::Path;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::frames::cards::Cards;
use crate::kernels::checksum::Sum;
use crate::kernels::swap::{flip_and_swap, swap_in_place};
use crate::region::volume;
use table::Table;

pub use output::{Target, check};
use stretch::{Colormap, Stretch};

/// So much is encoded at once: a part of the first cache.
const ENCODED_BYTES: usize = 16 << 10;

/// What an output is told before its samples come.
#[derive(Clone, Debug)]
pub struct Image {
    /// Lengths of the axes, the fastest first.
    pub shape: Vec<u64>,
    /// Type of the samples.
    pub dtype: DType,
    /// The value that means "no data" in an integer image.
    pub blank: Option<i128>,
    /// Header cards that describe the image: no SIMPLE, BITPIX or NAXIS family,
    /// no scaling, checksum or END; coordinates already fit `shape`.
    pub cards: Cards,
}

impl Image {
    /// Size of the samples.
    ///
    /// # Errors
    /// When it does not fit 63 bits.
    pub fn bytes(&self) -> Result<u64> {
        let mut factors = self.shape.clone();
        factors.push(self.dtype.size() as u64);
        volume(&factors)
    }
}

/// What pictures and plots look like, and what the axes are called.
#[derive(Clone, Debug)]
pub struct Look {
    /// Which values are black and white.
    pub stretch: Stretch,
    /// The colours between.
    pub colormap: Colormap,
    /// The longer side of a picture has at most so many pixels.
    pub max_size: u64,
    /// What stands above it.
    pub title: String,
    /// Unit of the samples.
    pub unit: String,
    /// Names of the axes of the image, x first, where they are not the usual ones.
    pub axes: Vec<String>,
    /// Of each profile, the numbers of samples to mark, ascending, from 0.
    pub marks: Vec<Vec<u64>>,
    /// A picture shows all planes of the image, side by side.
    pub sheet: Option<Sheet>,
    /// Where a plot of characters is shown.
    pub terminal: Terminal,
}

/// Planes side by side.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// What stands under each.
    pub labels: Vec<String>,
    /// Places to mark in each of two planes, from 0; `None` where there are as many
    /// planes as there are frames.
    pub marks: Option<Vec<(u64, u64)>>,
}

/// What a terminal can show.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
    /// Has it no other characters than those of ASCII?
    pub ascii: bool,
}

impl Default for Look {
    fn default() -> Look {
        Look {
            stretch: Stretch::default(),
            colormap: Colormap::default(),
            max_size: 2048,
            title: String::new(),
            unit: String::new(),
            axes: Vec::new(),
            marks: Vec::new(),
            sheet: None,
            terminal: Terminal {
                columns: 80,
                rows: 24,
                ascii: false,
            },
        }
    }
}

/// How an output stores samples, where it is not as they come: big-endian, as FITS
/// has them.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    /// Bytes of a sample.
    size: usize,
    /// Is the top bit flipped?
    flips: bool,
    /// Is the sum wanted?
    is_summed: bool,
}

impl Encoding {
    /// Makes of little-endian samples what is stored, and takes its sum where it is
    /// wanted.
    pub fn encode(&self, samples: &mut [u8]) -> Sum {
        let mut sum = Sum::default();
        // What was turned is summed while the cache has it.
        for part in samples.chunks_mut(ENCODED_BYTES) {
            match self.flips {
                true => flip_and_swap(part, self.size),
                false => swap_in_place(part, self.size),
            }
            if self.is_summed {
                sum.add(part);
            }
        }
        sum
    }
}

/// One output, streamed.
pub trait Sink: Send {
    /// Takes the next samples, x fastest, little-endian, whole samples only.
    fn write(&mut self, samples: &[u8]) -> Result<()>;

    /// How samples are stored, when whoever has them may store them so: on any thread,
    /// before it is their turn.
    fn encoding(&self) -> Option<Encoding> {
        None
    }

    /// Takes the next samples as [`Sink::encoding`] has them, and their sum.
    fn write_encoded(&mut self, bytes: &[u8], _sum: Sum) -> Result<()> {
        self.write(bytes)
    }

    /// Takes a table that goes with the samples, all of which have come; `rows`
    /// are encoded ([`Table::encode`]), some at a time.
    ///
    /// # Errors
    /// When this kind of output has no place for a table ([`Format::holds_tables`]).
    fn table(
        &mut self,
        table: &Table,
        _rows: &mut dyn Iterator<Item = Result<Vec<u8>>>,
    ) -> Result<()> {
        Err(Error::unsupported(format!(
            "the output has no place for the table {}",
            table.name
        )))
    }

    /// Completes the output and gives it its final name. A sink that is dropped
    /// before leaves nothing behind.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Kinds of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A FITS image.
    Fits,
    /// A FITS image, the file compressed by gzip.
    FitsGz,
    /// A tile-compressed FITS image.
    FitsFz,
    /// A NumPy array.
    Npy,
    /// A TIFF file with a page for each plane; BigTIFF where it must be.
    Tiff,
    /// Samples alone, little-endian.
    Raw,
    /// A Zarr v3 store, which is a folder.
    Zarr,
    /// A picture of a plane, or a plot of profiles.
    Png,
    /// A plot of profiles in characters.
    Plot,
    /// Profiles in columns parted by tabs, below a line that begins with `#`.
    Text,
    /// Profiles in columns parted by commas, with a header line.
    Csv,
    /// Profiles in columns parted by tabs, with a header line.
    Tsv,
    /// Profiles as one JSON object.
    Json,
}

/// Every format: the name users type, and the extensions it goes by.
const FORMATS: [(Format, &str, &[&str]); 13] = [
    (Format::Fits, "fits", &["fits", "fit", "fts"]),
    (Format::FitsGz, "fits.gz", &["fits.gz", "fit.gz", "fts.gz"]),
    (
        Format::FitsFz,
        "fits.fz",
        &["fits.fz", "fit.fz", "fts.fz", "fz"],
    ),
    (Format::Npy, "npy", &["npy"]),
    (Format::Tiff, "tiff", &["tiff", "tif", "btf"]),
    (Format::Raw, "raw", &["raw"]),
    (Format::Zarr, "zarr", &["zarr"]),
    (Format::Png, "png", &["png"]),
    (Format::Plot, "plot", &[]),
    (Format::Text, "text", &["txt"]),
    (Format::Csv, "csv", &["csv"]),
    (Format::Tsv, "tsv", &["tsv"]),
    (Format::Json, "json", &["json"]),
];

impl Format {
    /// The name users type.
    pub fn name(self) -> &'static str {
        let found = FORMATS.iter().find(|&&(format, _, _)| format == self);
        found.map_or("", |&(_, name, _)| name)
    }

    /// The format a user names, such as `csv`.
    ///
    /// # Errors
    /// When there is none; the hint lists all.
    pub fn from_name(name: &str) -> Result<Format> {
        let found = FORMATS.iter().find(|(_, known, extensions)| {
            name.eq_ignore_ascii_case(known) || is_among(name, extensions)
        });
        found.map(|&(format, _, _)| format).ok_or_else(|| {
            Error::input(format!("there is no format `{name}`"))
                .hint(format!("formats are {}", known_names()))
        })
    }

    /// The format that a file's extension stands for.
    ///
    /// # Errors
    /// When there is no extension, or an unknown one.
    pub fn from_path(path: &Path) -> Result<Format> {
        let extension = path.extension().map(|text| text.to_string_lossy());
        // `night.fits.gz` has an extension of two parts.
        let stem = path.file_stem().map(Path::new);
        let before = stem
            .and_then(Path::extension)
            .map(|text| text.to_string_lossy());
        let both = extension.as_deref().zip(before);
        let both = both.map(|(last, before)| format!("{before}.{last}"));
        let by_extension = |extension: &str| {
            let found = FORMATS.iter().find(|entry| is_among(extension, entry.2));
            found.map(|&(format, _, _)| format)
        };
        let found = both
            .as_deref()
            .and_then(by_extension)
            .or_else(|| extension.as_deref().and_then(by_extension));
        found.ok_or_else(|| {
            let what = match &extension {
                Some(extension) => format!("the extension `.{extension}` is of no known format"),
                None => "the name has no extension that tells the format".to_string(),
            };
            Error::input(what)
                .hint(format!("--format gives it: {}", known_names()))
                .at(path)
        })
    }

    /// Does it show profiles, several of them in one plot?
    pub fn is_plot(self) -> bool {
        matches!(self, Format::Png | Format::Plot)
    }

    /// Can header cards go with the samples?
    pub fn holds_cards(self) -> bool {
        self.holds_tables() || self == Format::Zarr
    }

    /// Can a table go with the samples?
    pub fn holds_tables(self) -> bool {
        matches!(self, Format::Fits | Format::FitsGz | Format::FitsFz)
    }

    /// Does it hold profiles only, as text?
    pub fn is_text(self) -> bool {
        matches!(
            self,
            Format::Text | Format::Csv | Format::Tsv | Format::Json
        )
    }
}

fn is_among(extension: &str, known: &[&str]) -> bool {
    known
        .iter()
        .any(|name| name.eq_ignore_ascii_case(extension))
}

fn known_names() -> String {
    FORMATS.map(|(_, name, _)| name).join(", ")
}

/// Begins an output that looks as it does by default. Text formats take an image with one axis (others of
/// length 1 aside); [`text::create`] takes more profiles and their places.
///
/// # Errors
/// When the target cannot be written, or the format cannot hold the image.
pub fn create(target: &Target, format: Format, image: &Image) -> Result<Box<dyn Sink>> {
    create_with(target, format, image, &Look::default())
}

/// Begins an output; `look` says what a picture looks like.
///
/// # Errors
/// As [`create`].
pub fn create_with(
    target: &Target,
    format: Format,
    image: &Image,
    look: &Look,
) -> Result<Box<dyn Sink>> {
    match format {
        Format::Fits => Ok(Box::new(fits::FitsSink::create(target, image)?)),
        Format::FitsGz => Ok(Box::new(fits::FitsSink::create_gzip(target, image)?)),
        Format::FitsFz => Ok(Box::new(fits::PackedSink::create(target, image)?)),
        Format::Npy => Ok(Box::new(npy::NpySink::create(target, image)?)),
        Format::Tiff => Ok(Box::new(tiff::TiffSink::create(target, image, &look.axes)?)),
        Format::Zarr => Ok(Box::new(zarr::ZarrSink::create(target, image, &look.axes)?)),
        Format::Raw => Ok(Box::new(raw::RawSink::create(target, image)?)),
        Format::Png => png::create(target, image, look),
        Format::Plot => {
            let profiles = text::Profiles::of_image(image, format)?;
            plot::create(target, format, image.dtype, image.blank, profiles, look)
        }
        Format::Text | Format::Csv | Format::Tsv | Format::Json => {
            let profiles = text::Profiles::of_image(image, format)?;
            text::create(target, format, image.dtype, image.blank, profiles)
        }
    }
}

/// Counts the bytes an output still wants, so that none is short or long.
#[derive(Debug)]
struct Remaining {
    total: u64,
    left: u64,
    sample: usize,
}

impl Remaining {
    fn new(total: u64, dtype: DType) -> Remaining {
        Remaining {
            total,
            left: total,
            sample: dtype.size(),
        }
    }

    fn samples(&self, bytes: u64) -> u64 {
        bytes / self.sample as u64
    }

    /// Counts `samples` in.
    fn take(&mut self, samples: &[u8]) -> Result<()> {
        let bytes = samples.len() as u64;
        if !samples.len().is_multiple_of(self.sample) {
            return Err(Error::input(format!(
                "{bytes} bytes are not whole samples of {} bytes",
                self.sample
            )));
        }
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            Error::input(format!(
                "{} samples are too many: the image has {}",
                self.samples((self.total - self.left).saturating_add(bytes)),
                self.samples(self.total)
            ))
        })?;
        Ok(())
    }

    /// Is nothing missing?
    fn finish(&self) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        Err(Error::input(format!(
            "{} samples were written: the image has {}",
            self.samples(self.total - self.left),
            self.samples(self.total)
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image without cards.
    pub(super) fn image(shape: &[u64], dtype: DType) -> Image {
        Image {
            shape: shape.to_vec(),
            dtype,
            blank: None,
            cards: Cards::default(),
        }
    }

    #[test]
    fn formats_are_known_by_name_and_by_extension() {
        for (format, name, extensions) in FORMATS {
            assert_eq!(Format::from_name(name).unwrap(), format);
            assert_eq!(format.name(), name);
            for extension in extensions {
                let path = format!("a.b/c.{}", extension.to_uppercase());
                assert_eq!(Format::from_path(Path::new(&path)).unwrap(), format);
            }
        }
        let error = Format::from_name("gif").unwrap_err();
        assert!(
            error
                .hint_text()
                .unwrap()
                .contains("fits, fits.gz, fits.fz, npy, tiff, raw, zarr")
        );
        for name in ["a", "a.gz", ".fits", ".fits.gz", ""] {
            let error = Format::from_path(Path::new(name)).unwrap_err();
            assert!(error.hint_text().unwrap().contains("--format"), "{name}");
        }
    }

    #[test]
    fn samples_are_counted() {
        let mut remaining = Remaining::new(8, DType::I16);
        assert!(remaining.take(&[0; 3]).is_err());
        remaining.take(&[0; 6]).unwrap();
        assert_eq!(
            remaining.finish().unwrap_err().to_string(),
            "3 samples were written: the image has 4"
        );
        assert_eq!(
            remaining.take(&[0; 4]).unwrap_err().to_string(),
            "5 samples are too many: the image has 4"
        );
        remaining.take(&[0; 2]).unwrap();
        remaining.finish().unwrap();
    }
}
