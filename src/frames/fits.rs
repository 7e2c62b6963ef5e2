//! A plain FITS image, streamed from where its data lies.
//!
//! Samples are read at their positions in the file and turned in the caller's
//! buffer; no frame is ever held whole. Unscaled samples come through bit for
//! bit, NaN payloads and -0 included; so do unsigned integers, which FITS keeps
//! as signed ones less half the range.
//!
//! Scaled samples are `BZERO + BSCALE * stored`, computed in float64 and rounded
//! once. Their type is astropy's: float32 for BITPIX 8, 16 and -32, float64 for
//! 32, 64 and -64. (astropy computes in that same type, so its float32 samples
//! are rounded twice and can differ in the last bit; cfitsio computes as here.)

use std::path::Path;

use crate::dtype::DType;
use crate::error::{Context, Error, Result};
use crate::kernels::scale::{Linear, scale};
use crate::kernels::swap::{swap_and_flip, swap_in_place};
use crate::region::{MAX_RANK, show_shape, volume};

use super::cards::{Cards, Value, keyword_of};
use super::hdu::{Content, Hdu, Place, Walk, check_data};
use super::inherit::inherited;
use super::magic::Magic;
use super::source::Source;
use super::tiles;
use super::verify::verify;
use super::{About, Facts, Frame, HduChoice, Reading};

/// Stored samples are scaled by way of a buffer of this many bytes.
const BUFFER_BYTES: usize = 1 << 16;

/// HDUs that a message lists before it says how many more there are.
const HDUS_LISTED: usize = 12;

/// Opens an image of a FITS file.
///
/// # Errors
/// When the file cannot be read, is not FITS, does not hold the HDU, or the HDU
/// is not an image whose data is all there.
pub fn open(path: &Path, choice: &HduChoice) -> Result<Box<dyn Frame>> {
    let reading = &Reading {
        hdu: choice.clone(),
        ..Reading::default()
    };
    let source = Source::open(path)?;
    let head = source.head()?;
    let images = match Magic::of(&head) {
        Magic::Fits => Images::new(source, reading),
        Magic::Gzip => Images::gzipped(source, reading)?,
        other => return Err(other.refuse(&head, "FITS")).at(path),
    };
    let first = { images }.next();
    first.unwrap_or_else(|| Err(Error::input("holds no image").at(path)))
}

/// The images of a FITS file that were asked for, one after the other.
pub struct Images {
    source: Source,
    choice: HduChoice,
    verify: bool,
    walk: Walk,
    /// HDUs of the file that was walked last, for a message; how many there were,
    /// and whether one was what was asked for.
    seen: Vec<String>,
    n_hdus: usize,
    has_found: bool,
    /// An HDU of the next file, when files follow each other.
    pending: Option<Hdu>,
    is_over: bool,
}

impl Images {
    /// Of a file that is open already.
    pub fn new(source: Source, reading: &Reading) -> Images {
        Images {
            walk: Walk::new(source.is_stream()),
            source,
            choice: reading.hdu.clone(),
            verify: reading.verify,
            seen: Vec::new(),
            n_hdus: 0,
            has_found: false,
            pending: None,
            is_over: false,
        }
    }

    /// Of a gzipped file that is open already.
    ///
    /// # Errors
    /// When it does not hold FITS.
    pub fn gzipped(source: Source, reading: &Reading) -> Result<Images> {
        let source = source.inflated(&reading.unpacked)?;
        let head = source.head()?;
        match Magic::of(&head) {
            Magic::Fits => Ok(Images::new(source, reading)),
            other => Err(other.refuse(&head, "FITS inside gzip")).at(source.path()),
        }
    }

    /// Opens an image that `next` gave before.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn again(self, part: u32, offset: u64, primary: u64) -> Result<Box<dyn Frame>> {
        let place = Place {
            primary,
            // The number counts where it is 0: only a primary HDU has no XTENSION.
            number: part,
            part,
            start: offset,
        };
        let is_same = |hdu: &Hdu| is_chosen(hdu, &HduChoice::All);
        match Walk::at(&place).step(&self.source)?.filter(is_same) {
            Some(hdu) => open_image(self.source, hdu),
            None => Err(Error::input("changed since the command began").at(self.source.path())),
        }
    }

    fn step(&mut self) -> Result<Option<Box<dyn Frame>>> {
        loop {
            let hdu = match self.pending.take() {
                Some(hdu) => Some(hdu),
                None => self.walk.step(&self.source)?,
            };
            let begins = hdu.as_ref().is_none_or(|hdu| hdu.number == 0);
            if begins && self.n_hdus > 0 {
                let missing = self.missing();
                let has_found = std::mem::take(&mut self.has_found);
                self.seen.clear();
                self.n_hdus = 0;
                if !has_found {
                    self.pending = hdu;
                    self.is_over = self.pending.is_none();
                    return Err(missing);
                }
            }
            let Some(hdu) = hdu else {
                self.is_over = true;
                return Ok(None);
            };
            self.n_hdus += 1;
            if self.seen.len() < HDUS_LISTED {
                self.seen.push(hdu.show());
            }
            let is_wanted = self.choice == HduChoice::All || !self.has_found;
            if !is_wanted || !is_chosen(&hdu, &self.choice) {
                continue;
            }
            self.has_found = true;
            // What follows in a file of its own is of no interest.
            self.is_over = self.choice != HduChoice::All && !self.source.is_stream();
            let mut hdu = image(hdu)?;
            if self.verify {
                check_data(&self.source, &hdu)?;
                verify(&self.source.again()?, &mut hdu)?;
            }
            return open_image(self.source.again()?, hdu).map(Some);
        }
    }

    /// The error of a file without the HDU that was asked for.
    fn missing(&self) -> Error {
        let mut list = self.seen.join("; ");
        if self.n_hdus > self.seen.len() {
            list.push_str(&format!("; and {} more", self.n_hdus - self.seen.len()));
        }
        match self.choice {
            HduChoice::FirstImage | HduChoice::All | HduChoice::Stack => {
                Error::input(format!("holds no image; its HDUs are {list}"))
            }
            _ => Error::input(format!("holds no HDU {}", self.choice))
                .hint(format!("its HDUs are {list}")),
        }
    }
}

impl Iterator for Images {
    type Item = Result<Box<dyn Frame>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let n_hdus = self.n_hdus;
        let found = self.step().at(self.source.path()).transpose();
        // A header that cannot be read hides where the next one is.
        self.is_over |= matches!(found, Some(Err(_))) && self.n_hdus == n_hdus;
        found
    }
}

fn open_image(source: Source, mut hdu: Hdu) -> Result<Box<dyn Frame>> {
    let path = source.path().to_path_buf();
    hdu.inherited = inherited(&source, &hdu).at(&path)?;
    let opened = match hdu.content {
        Content::Compressed => tiles::open(source, &hdu),
        _ => FitsFrame::new(source, hdu).map(|frame| Box::new(frame) as Box<dyn Frame>),
    };
    opened.at(&path)
}

/// How stored samples become what they mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning {
    /// They mean what they are.
    Plain,
    /// They are less by half the range.
    Offset,
    /// They are scaled to a float.
    Scaled(Linear),
}

struct FitsFrame {
    source: Source,
    about: About,
    data_start: u64,
    stored: DType,
    meaning: Meaning,
    n_samples: u64,
    buffer: Vec<u8>,
}

impl FitsFrame {
    fn new(source: Source, hdu: Hdu) -> Result<FitsFrame> {
        check_data(&source, &hdu)?;
        let (facts, meaning, stored) = facts(&source, &hdu)?;
        Ok(FitsFrame {
            n_samples: volume(&facts.shape)?,
            about: About {
                facts,
                notes: notes(&hdu),
                cards: hdu.all_cards(),
            },
            source,
            data_start: hdu.data_start,
            stored,
            meaning,
            buffer: Vec::new(),
        })
    }

    /// Where in the file the sample `first` lies. It is inside the data, whose
    /// end is inside the file, so nothing here can overflow.
    fn offset(&self, first: u64) -> u64 {
        self.data_start + first * self.stored.size() as u64
    }

    fn read_scaled(&mut self, first: u64, out: &mut [u8], linear: &Linear) -> Result<()> {
        let (size, stored_size) = (self.about.facts.dtype.size(), self.stored.size());
        let per_chunk = BUFFER_BYTES / stored_size;
        self.buffer.resize(BUFFER_BYTES, 0);
        let mut at = first;
        for out in out.chunks_mut(per_chunk * size) {
            let n_samples = out.len() / size;
            let offset = self.offset(at);
            let stored = &mut self.buffer[..n_samples * stored_size];
            self.source.read_at(offset, stored)?;
            scale(self.stored, stored, self.about.facts.dtype, out, linear);
            at += n_samples as u64;
        }
        Ok(())
    }
}

impl Frame for FitsFrame {
    fn about(&self) -> &About {
        &self.about
    }

    fn is_slow(&self) -> bool {
        self.source.is_inflated()
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        let size = self.about.facts.dtype.size();
        self.about.check(first, out.len()).at(self.source.path())?;
        if let Meaning::Scaled(linear) = self.meaning {
            self.read_scaled(first, out, &linear)?;
        } else {
            self.source.read_at(self.offset(first), out)?;
            match self.meaning {
                Meaning::Offset => swap_and_flip(out, size),
                _ => swap_in_place(out, size),
            }
        }
        match first + (out.len() / size) as u64 == self.n_samples {
            true => self.finish(),
            false => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<()> {
        self.source.finish()
    }
}

/// What in a header is against the standard, and was understood all the same.
fn notes(hdu: &Hdu) -> Vec<String> {
    let mut notes = hdu.notes.clone();
    let mut note = |what: &str| notes.push(format!("its header {what}: it was read all the same"));
    let is_primary = hdu.place.number == 0 || hdu.cards.get("XTENSION").is_none();
    if is_primary && hdu.cards.get("SIMPLE") != Some(Value::Logical(true)) {
        note("does not say SIMPLE = T");
    }
    let mut keywords = hdu
        .cards
        .iter()
        .skip(1)
        .map(|card| keyword_of(card).into_owned());
    if keywords.next().as_deref() != Some("BITPIX") || keywords.next().as_deref() != Some("NAXIS") {
        note("does not begin with BITPIX and NAXIS, in this order");
    }
    if !hdu
        .cards
        .as_bytes()
        .iter()
        .all(|byte| (b' '..=b'~').contains(byte))
    {
        note("holds characters that are not printable ASCII");
    }
    if hdu.bitpix < 0 && hdu.cards.get("BLANK").is_some() {
        note("has BLANK, which means nothing with floats");
    }
    notes
}

/// What is known of an image, how its stored samples are meant, and their type.
pub(super) fn facts(source: &Source, hdu: &Hdu) -> Result<(Facts, Meaning, DType)> {
    let (stored, dtype, meaning) = meaning(hdu)?;
    let facts = Facts {
        shape: shape(hdu)?,
        dtype,
        blank: blank(&hdu.cards, stored, dtype, meaning),
        file_bytes: source.file_bytes(),
        modified: source.modified(),
        part: hdu.place.part,
        offset: hdu.place.start,
        channel: None,
        primary: hdu.place.primary,
    };
    Ok((facts, meaning, stored))
}

/// The axes a frame can have: those beyond the eighth may only have length 1.
fn shape(hdu: &Hdu) -> Result<Vec<u64>> {
    let (kept, rest) = hdu.axes.split_at(hdu.axes.len().min(MAX_RANK));
    if rest.iter().any(|&len| len != 1) {
        return Err(Error::unsupported(format!(
            "HDU {} has {} axes ({}), but a frame can have {MAX_RANK}",
            hdu.number,
            hdu.axes.len(),
            show_shape(&hdu.axes)
        )));
    }
    Ok(kept.to_vec())
}

/// The type of the stored samples, the type of what they mean, and the way there.
fn meaning(hdu: &Hdu) -> Result<(DType, DType, Meaning)> {
    let number = |keyword, default| real_card(hdu, keyword, default);
    let (zero, scale) = (number("BZERO", 0.0)?, number("BSCALE", 1.0)?);
    let (stored, offset, unsigned, float) = match hdu.bitpix {
        8 => (DType::U8, -128.0, DType::I8, DType::F32),
        16 => (DType::I16, 2f64.powi(15), DType::U16, DType::F32),
        32 => (DType::I32, 2f64.powi(31), DType::U32, DType::F64),
        64 => (DType::I64, 2f64.powi(63), DType::U64, DType::F64),
        // Floats have no offset: no number equals NaN.
        -32 => (DType::F32, f64::NAN, DType::F32, DType::F32),
        _ => (DType::F64, f64::NAN, DType::F64, DType::F64),
    };
    if scale == 1.0 && zero == 0.0 {
        return Ok((stored, stored, Meaning::Plain));
    }
    if scale == 1.0 && zero == offset {
        return Ok((stored, unsigned, Meaning::Offset));
    }
    let blank = stored_blank(&hdu.cards, stored);
    let linear = Linear { zero, scale, blank };
    Ok((stored, float, Meaning::Scaled(linear)))
}

/// BLANK, if a stored sample can equal it.
///
/// In a float HDU the card means nothing: the standard (4.0, section 4.4.2.5)
/// allows it for integers only and marks missing floats by NaN. Files that carry
/// it all the same exist; astropy ignores it too.
fn stored_blank(cards: &Cards, stored: DType) -> Option<i64> {
    let (least, greatest) = stored.int_range()?;
    let blank = cards.get_int("BLANK")?;
    let held = (least..=greatest).contains(&blank);
    i64::try_from(blank).ok().filter(|_| held)
}

/// The value that means "no data" in an integer frame.
fn blank(cards: &Cards, stored: DType, dtype: DType, meaning: Meaning) -> Option<i128> {
    let blank = i128::from(stored_blank(cards, stored)?);
    match meaning {
        Meaning::Plain => Some(blank),
        Meaning::Offset => {
            let (least, _) = dtype.int_range()?;
            let (stored_least, _) = stored.int_range()?;
            Some(blank - stored_least + least)
        }
        // Such samples are NaN by now.
        Meaning::Scaled(_) => None,
    }
}

fn real_card(hdu: &Hdu, keyword: &str, default: f64) -> Result<f64> {
    let Some(value) = hdu.cards.get(keyword) else {
        return Ok(default);
    };
    // A card without a value says nothing, as in astropy.
    if value.show().is_empty() {
        return Ok(default);
    }
    value
        .as_real()
        .filter(|value| value.is_finite())
        .ok_or_else(|| {
            Error::damaged(format!(
                "{keyword} of HDU {} is `{}`, not a number",
                hdu.number,
                value.show()
            ))
        })
}

fn is_chosen(hdu: &Hdu, choice: &HduChoice) -> bool {
    match choice {
        HduChoice::FirstImage | HduChoice::All | HduChoice::Stack => {
            matches!(hdu.content, Content::Image | Content::Compressed)
        }
        HduChoice::Number(number) => hdu.number == *number,
        HduChoice::Name(name, version) => {
            let own = match (&hdu.name, hdu.number) {
                (Some(own), _) => own.as_str(),
                (None, 0) => "PRIMARY",
                (None, _) => return false,
            };
            let same_version = version.is_none_or(|version| hdu.version == i128::from(version));
            own.eq_ignore_ascii_case(name.trim_end()) && same_version
        }
    }
}

fn image(hdu: Hdu) -> Result<Hdu> {
    let number = hdu.number;
    Err(match &hdu.content {
        Content::Image | Content::Compressed => return Ok(hdu),
        Content::Empty => Error::input(format!("HDU {number} has a header but no data")),
        Content::ZeroLength(axis) => Error::input(format!(
            "HDU {number} has no samples: axis {axis} has length 0"
        )),
        Content::Table => Error::input(format!("HDU {number} is a table, not an image")),
        Content::Groups => {
            Error::unsupported(format!("HDU {number} holds random groups, not an image"))
        }
        Content::Other(kind) => Error::unsupported(format!(
            "HDU {number} is a `{kind}` extension, not an image"
        )),
    })
}

#[cfg(test)]
#[path = "fits_tests.rs"]
mod tests;
