//! Images out: one trait, [`Sink`], behind which every kind of output stands.
//!
//! This folder does not know that cubes exist. An output is written beside its
//! final name and renamed when it is whole, so nothing is ever left half-written
//! under that name, and nothing is clobbered unless asked for.

pub mod beside;
pub mod fits;
pub mod npy;
pub mod output;
pub mod text;

use std::path::Path;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::frames::cards::Cards;
use crate::region::volume;

pub use output::{Target, check};

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

/// One output, streamed.
pub trait Sink {
    /// Takes the next samples, x fastest, little-endian, whole samples only.
    fn write(&mut self, samples: &[u8]) -> Result<()>;

    /// Completes the output and gives it its final name. A sink that is dropped
    /// before leaves nothing behind.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Kinds of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A FITS image.
    Fits,
    /// A NumPy array.
    Npy,
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
const FORMATS: [(Format, &str, &[&str]); 6] = [
    (Format::Fits, "fits", &["fits", "fit", "fts"]),
    (Format::Npy, "npy", &["npy"]),
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
        let by_extension = |extension: &str| {
            let found = FORMATS.iter().find(|entry| is_among(extension, entry.2));
            found.map(|&(format, _, _)| format)
        };
        let found = extension.as_deref().and_then(by_extension);
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

    /// Does it hold profiles only, as text?
    pub fn is_text(self) -> bool {
        !matches!(self, Format::Fits | Format::Npy)
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

/// Begins an output. Text formats take an image with one axis (others of
/// length 1 aside); [`text::create`] takes more profiles and their places.
///
/// # Errors
/// When the target cannot be written, or the format cannot hold the image.
pub fn create(target: &Target, format: Format, image: &Image) -> Result<Box<dyn Sink>> {
    match format {
        Format::Fits => Ok(Box::new(fits::FitsSink::create(target, image)?)),
        Format::Npy => Ok(Box::new(npy::NpySink::create(target, image)?)),
        Format::Text | Format::Csv | Format::Tsv | Format::Json => {
            let profiles = text::Profiles::of_image(image, format)?;
            text::create(target, format, image.dtype, profiles)
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
        assert!(error.hint_text().unwrap().contains("fits, npy, text"));
        for name in ["a", "a.fits.gz", ".fits", ""] {
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
