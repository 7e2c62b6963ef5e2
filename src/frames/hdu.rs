//! The HDUs of a FITS file: where each one's header and data are, and what it is.
//!
//! No sample is read here. Sizes come from the header and are checked before they
//! are used: nothing is allocated that the file's own length does not bound.
//! Keywords are found wherever they stand, since real headers do not keep the
//! order that the standard asks for.

use crate::error::{Error, Result};
use crate::region::show_shape;

use super::cards::{CARD_BYTES, Cards};
use super::magic::Magic;
use super::source::Source;

/// Headers and data fill whole blocks of this many bytes.
pub const BLOCK_BYTES: u64 = 2880;

/// A header longer than this is taken for a file that only looks like FITS.
pub const MAX_HEADER_BLOCKS: u64 = 4096;

/// Headers are read this many bytes at a time: most are whole after one read.
const BYTES_PER_READ: usize = 8 * 2880;

/// The most axes that the standard allows.
const MAX_NAXIS: i128 = 999;

/// `bytes` filled up to whole blocks; `None` beyond 2^64.
pub fn padded(bytes: u64) -> Option<u64> {
    bytes.checked_next_multiple_of(BLOCK_BYTES)
}

/// What an HDU holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An image with samples.
    Image,
    /// A tile-compressed image in a binary table.
    Compressed,
    /// A header alone.
    Empty,
    /// An image one of whose axes (from 1) has length 0.
    ZeroLength(usize),
    /// An ASCII or binary table.
    Table,
    /// Random groups.
    Groups,
    /// An extension of another kind.
    Other(String),
}

/// One HDU.
#[derive(Clone, Debug)]
pub struct Hdu {
    /// Its number, from 0.
    pub number: u32,
    /// The header, without END.
    pub cards: Cards,
    /// What it holds.
    pub content: Content,
    /// BITPIX: 8, 16, 32, 64, -32 or -64.
    pub bitpix: i32,
    /// NAXISn, the fastest first.
    pub axes: Vec<u64>,
    /// EXTNAME without trailing blanks.
    pub name: Option<String>,
    /// EXTVER; 1 where there is none.
    pub version: i128,
    /// Where it is.
    pub place: Place,
    /// Where the data begins.
    pub data_start: u64,
    /// Bytes of data, padding left out.
    pub data_bytes: u64,
    /// What is to be known of it beside what its header says.
    pub notes: Vec<String>,
    /// Cards of the primary header that hold for it, too.
    pub inherited: Cards,
}

impl Hdu {
    /// Its own cards, and those that it inherits.
    pub fn all_cards(&self) -> Cards {
        Cards::from_bytes([self.cards.as_bytes(), self.inherited.as_bytes()].concat())
    }

    /// The HDU in a few words: ``2: image `SCI`, 650 x 500``.
    pub fn show(&self) -> String {
        let what = match &self.content {
            Content::Image => "image",
            Content::Compressed => "compressed image",
            Content::Empty => "no data",
            Content::ZeroLength(_) => "image without samples",
            Content::Table => "table",
            Content::Groups => "random groups",
            Content::Other(kind) => kind,
        };
        let mut text = format!("{}: {what}", self.number);
        if let Some(name) = &self.name {
            text.push_str(&format!(" `{name}`"));
        }
        if matches!(self.content, Content::Image | Content::ZeroLength(_)) {
            text.push_str(&format!(", {}", show_shape(&self.axes)));
        }
        text
    }
}

/// Goes from HDU to HDU.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    next: u64,
    number: u32,
    part: u32,
    primary: u64,
    /// Files may follow each other: what a pipe brings.
    is_stream: bool,
}

impl Walk {
    /// Begins at the primary HDU; of a stream, goes on to the files behind the first.
    pub fn new(is_stream: bool) -> Walk {
        Walk {
            is_stream,
            ..Walk::default()
        }
    }

    /// Begins at an HDU that was found before.
    pub fn at(hdu: &Place) -> Walk {
        Walk {
            next: hdu.start,
            number: hdu.number,
            part: hdu.part,
            primary: hdu.primary,
            is_stream: true,
        }
    }

    /// The next HDU; `None` after the last one.
    ///
    /// # Errors
    /// When its header cannot be read or does not say how long its data is.
    pub fn step(&mut self, source: &Source) -> Result<Option<Hdu>> {
        if self.number > 0 && !self.is_extension(source)? {
            if !self.is_stream || self.is_end(source)? {
                return Ok(None);
            }
            self.number = 0;
        }
        if self.number == 0 {
            self.primary = self.next;
        }
        let (cards, data_start) = read_header(source, self.next, self.number)?;
        let mut hdu =
            understand(cards, data_start, self.number).map_err(|error| error.at(source.path()))?;
        hdu.place = Place {
            number: self.number,
            part: self.part,
            start: self.next,
            primary: self.primary,
        };
        // An end beyond 2^64 is beyond the file: nothing can follow.
        let end = padded(hdu.data_bytes).and_then(|bytes| data_start.checked_add(bytes));
        self.next = end.unwrap_or(u64::MAX);
        self.number += 1;
        self.part += 1;
        Ok(Some(hdu))
    }

    /// Does an extension begin here? What else follows the last HDU (special
    /// records, padding, rubbish) the standard tells readers to ignore.
    fn is_extension(&self, source: &Source) -> Result<bool> {
        const MARK: &[u8; 8] = b"XTENSION";
        let mut card = [0; CARD_BYTES];
        let there = source.read_at_most(self.next, &mut card)?;
        Ok(there == CARD_BYTES && card[..MARK.len()].eq_ignore_ascii_case(MARK))
    }

    /// Does the stream end here, and not go on with another file?
    fn is_end(&self, source: &Source) -> Result<bool> {
        let mut card = [0; CARD_BYTES];
        let there = source.read_at_most(self.next, &mut card)?;
        let card = &card[..there];
        if card.iter().all(|&byte| byte == 0 || byte == b' ') {
            return Ok(true);
        }
        if Magic::of(card) == Magic::Fits {
            return Ok(false);
        }
        Err(Error::damaged(format!(
            "what follows HDU {} at byte {} is no FITS file",
            self.number - 1,
            self.next
        ))
        .hint("the file before it may not be padded to whole blocks of 2880 bytes")
        .at(source.path()))
    }
}

/// Where an HDU is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its number in its file, from 0.
    pub number: u32,
    /// The same, counted through where files follow each other.
    pub part: u32,
    /// Where its header begins.
    pub start: u64,
    /// Where the header of its file's primary HDU begins.
    pub primary: u64,
}

/// Reads the cards from `start` up to END, and finds where the data begins.
fn read_header(source: &Source, start: u64, number: u32) -> Result<(Cards, u64)> {
    let damaged = |what: String| Error::damaged(what).at(source.path());
    let mut bytes: Vec<u8> = Vec::new();
    let mut searched = 0;
    loop {
        let read = bytes.len() as u64;
        if read >= MAX_HEADER_BLOCKS * BLOCK_BYTES {
            return Err(damaged(format!(
                "the header of HDU {number} has no END card in its first {MAX_HEADER_BLOCKS} \
                 blocks of {BLOCK_BYTES} bytes"
            )));
        }
        let old = bytes.len();
        bytes.resize(old + BYTES_PER_READ, 0);
        let there = source.read_at_most(start.saturating_add(read), &mut bytes[old..])?;
        bytes.truncate(old + there);
        if there == 0 {
            return Err(damaged(format!(
                "the header of HDU {number} has no END card: it begins at byte {start}, and the \
                 file ends at byte {}",
                start.saturating_add(read)
            )));
        }
        let cards = bytes[searched..].chunks(CARD_BYTES);
        if let Some(found) = cards.clone().position(is_end) {
            let end = searched + found * CARD_BYTES;
            bytes.truncate(end);
            let data_start =
                padded((end + CARD_BYTES) as u64).and_then(|len| start.checked_add(len));
            let data_start = data_start
                .ok_or_else(|| damaged(format!("the header of HDU {number} has no end")))?;
            return Ok((Cards::from_bytes(bytes), data_start));
        }
        searched = bytes.len() / CARD_BYTES * CARD_BYTES;
    }
}

/// END with nothing behind it but blanks, or zeros as careless programs write;
/// a file may end with it before the card is full.
fn is_end(card: &[u8]) -> bool {
    let Some(rest) = card.strip_prefix(b"END") else {
        return false;
    };
    let keyword = &rest[..rest.len().min(5)];
    keyword.iter().all(|&byte| byte == b' ' || byte == 0)
}

/// The number as a BITPIX, if it is one.
pub(super) fn bitpix_of(number: i128) -> Option<i32> {
    let number = i32::try_from(number).ok()?;
    [8, 16, 32, 64, -32, -64]
        .contains(&number)
        .then_some(number)
}

/// Sees that the data of an HDU is in the file, all of it.
///
/// # Errors
/// `Damaged`, with where the file ends.
pub(super) fn check_data(source: &Source, hdu: &Hdu) -> Result<()> {
    let end = hdu.data_start.checked_add(hdu.data_bytes);
    match end.is_some_and(|end| end <= source.len()) {
        true => Ok(()),
        false => Err(Error::damaged(format!(
            "the data of HDU {} needs {} bytes from byte {}, but {}",
            hdu.number,
            hdu.data_bytes,
            hdu.data_start,
            source.show_end()
        ))),
    }
}

/// Finds out what an HDU is and how long its data is.
fn understand(cards: Cards, data_start: u64, number: u32) -> Result<Hdu> {
    let bitpix = int_card(&cards, "BITPIX", number)?;
    let bitpix = bitpix_of(bitpix).ok_or_else(|| {
        Error::damaged(format!(
            "BITPIX of HDU {number} is {bitpix}, expected 8, 16, 32, 64, -32 or -64"
        ))
    })?;
    let axes = axes(&cards, number)?;
    let first = cards.iter().next().unwrap_or_default();
    let is_extension = first.len() > 8 && first[..8].eq_ignore_ascii_case(b"XTENSION");
    let kind = match is_extension {
        false => String::new(),
        true => cards
            .get("XTENSION")
            .map_or(String::new(), |kind| kind.show()),
    };
    let kind = kind.trim().to_ascii_uppercase();
    let is_true = |keyword| cards.get(keyword) == Some(super::cards::Value::Logical(true));
    let groups = !is_extension && axes.len() > 1 && axes[0] == 0 && is_true("GROUPS");
    let content = match kind.as_str() {
        kind if !is_extension || ["IMAGE", "IUEIMAGE"].contains(&kind) => {
            match axes.iter().position(|&len| len == 0) {
                _ if axes.is_empty() => Content::Empty,
                _ if groups => Content::Groups,
                None => Content::Image,
                Some(axis) => Content::ZeroLength(axis + 1),
            }
        }
        "BINTABLE" | "A3DTABLE" if is_true("ZIMAGE") => Content::Compressed,
        "BINTABLE" | "A3DTABLE" | "TABLE" => Content::Table,
        _ => Content::Other(kind),
    };
    // A primary HDU has parameters and groups only when it says so.
    let counted = is_extension || groups;
    let n_parameters = if counted {
        count_card(&cards, "PCOUNT", 0, number)?
    } else {
        0
    };
    let n_groups = if counted {
        count_card(&cards, "GCOUNT", 1, number)?
    } else {
        1
    };
    let counted_axes = if groups { &axes[1..] } else { &axes[..] };
    let data_bytes = data_bytes(bitpix, counted_axes, n_parameters, n_groups).ok_or_else(|| {
        Error::damaged(format!(
            "the data of HDU {number} would be longer than 2^63 bytes: {} samples of {} bits",
            show_shape(&axes),
            bitpix.unsigned_abs()
        ))
    })?;
    let name = cards.get_text("EXTNAME");
    Ok(Hdu {
        number,
        content,
        bitpix,
        axes,
        name: name.map(|name| name.trim_end().to_string()),
        version: cards.get_int("EXTVER").unwrap_or(1),
        place: Place::default(),
        data_start,
        data_bytes,
        notes: Vec::new(),
        inherited: Cards::default(),
        cards,
    })
}

/// |BITPIX| / 8 x GCOUNT x (PCOUNT + product of the axes), as the FITS Standard
/// 4.0 has it in equation 2; `None` beyond 2^63.
fn data_bytes(bitpix: i32, axes: &[u64], n_parameters: u64, n_groups: u64) -> Option<u64> {
    let empty = axes.is_empty() || axes.contains(&0);
    let product = axes
        .iter()
        .try_fold(1u64, |product, &len| product.checked_mul(len));
    let n_samples = if empty { 0 } else { product? };
    let per_group = n_samples.checked_add(n_parameters)?;
    let bytes = per_group.checked_mul(n_groups)?;
    let bytes = bytes.checked_mul(u64::from(bitpix.unsigned_abs() / 8))?;
    (bytes <= i64::MAX as u64).then_some(bytes)
}

fn axes(cards: &Cards, number: u32) -> Result<Vec<u64>> {
    let n_axes = int_card(cards, "NAXIS", number)?;
    if !(0..=MAX_NAXIS).contains(&n_axes) {
        return Err(Error::damaged(format!(
            "NAXIS of HDU {number} is {n_axes}, expected 0 to {MAX_NAXIS}"
        )));
    }
    let axis_len = |axis| {
        let keyword = format!("NAXIS{axis}");
        let len = int_card(cards, &keyword, number)?;
        i64::try_from(len)
            .ok()
            .and_then(|len| u64::try_from(len).ok())
            .ok_or_else(|| {
                Error::damaged(format!(
                    "{keyword} of HDU {number} is {len}, expected 0 to 2^63 - 1"
                ))
            })
    };
    (1..=n_axes).map(axis_len).collect()
}

fn int_card(cards: &Cards, keyword: &str, number: u32) -> Result<i128> {
    let Some(value) = cards.get(keyword) else {
        return Err(Error::damaged(format!(
            "HDU {number} has no {keyword} card"
        )));
    };
    value.as_int().ok_or_else(|| {
        Error::damaged(format!(
            "{keyword} of HDU {number} is `{}`, not a whole number",
            value.show()
        ))
    })
}

fn count_card(cards: &Cards, keyword: &str, default: u64, number: u32) -> Result<u64> {
    if cards.get(keyword).is_none() {
        return Ok(default);
    }
    let value = int_card(cards, keyword, number)?;
    u64::try_from(value).map_err(|_| {
        Error::damaged(format!(
            "{keyword} of HDU {number} is {value}, expected 0 or more"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_beyond_two_to_the_63_are_refused() {
        assert_eq!(data_bytes(16, &[650, 500], 0, 1), Some(650_000));
        assert_eq!(data_bytes(8, &[8, 5], 100, 1), Some(140));
        assert_eq!(data_bytes(8, &[777_777_701, 0], 0, 1), Some(0));
        assert_eq!(data_bytes(8, &[], 0, 1), Some(0));
        assert_eq!(data_bytes(64, &[1 << 31, 1 << 31], 0, 1), None);
        assert_eq!(data_bytes(8, &[u64::MAX, u64::MAX], 0, 1), None);
        assert_eq!(data_bytes(8, &[1 << 32, 1 << 32, 0], 0, 1), Some(0));
    }

    #[test]
    fn the_end_card_may_be_cut_short() {
        assert!(is_end(b"END") && is_end(b"END  ") && is_end(b"END\0\0\0\0\0\0"));
        assert!(!is_end(b"ENDTIME = 5") && !is_end(b"EN"));
    }
}
