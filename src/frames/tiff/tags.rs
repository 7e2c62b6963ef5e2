//! Tags as header cards, so that conditions, sorting and output find them.
//!
//! DateTime becomes DATE-OBS, ImageDescription COMMENT cards, and the others that
//! say something about the picture `HIERARCH TIFF name`. Tags that lay out the
//! file are left out: they do not hold for a cube.

use crate::error::Result;
use crate::frames::cards::{Cards, Value};
use crate::frames::source::Source;

use super::ifd::{Entry, kind_bytes, number_bytes};
use super::page::Page;
use super::stack::Axis;
use super::tag;

/// The longest text that becomes a card.
const MAX_TEXT: usize = 1024;

/// Bytes of ImageDescription that become COMMENT cards.
const MAX_DESCRIPTION: usize = 8192;

/// Tags that have a name of their own.
const NAMES: [(u16, &str); 18] = [
    (262, "PHOTOMETRIC"),
    (269, "DOCUMENTNAME"),
    (271, "MAKE"),
    (272, "MODEL"),
    (274, "ORIENTATION"),
    (282, "XRESOLUTION"),
    (283, "YRESOLUTION"),
    (285, "PAGENAME"),
    (286, "XPOSITION"),
    (287, "YPOSITION"),
    (296, "RESOLUTIONUNIT"),
    (297, "PAGENUMBER"),
    (305, "SOFTWARE"),
    (315, "ARTIST"),
    (316, "HOSTCOMPUTER"),
    (33432, "COPYRIGHT"),
    (42112, "GDAL_METADATA"),
    (42113, "GDAL_NODATA"),
];

/// Tags below this that have no name here lay out the file.
const FIRST_PRIVATE: u16 = 32768;

const PHOTOMETRICS: [(u64, &str); 10] = [
    (0, "WhiteIsZero"),
    (1, "BlackIsZero"),
    (2, "RGB"),
    (3, "Palette"),
    (4, "Mask"),
    (5, "CMYK"),
    (6, "YCbCr"),
    (8, "CIELab"),
    (32803, "CFA"),
    (34892, "LinearRaw"),
];

/// The cards of a page, and what its user should know of it.
pub(super) fn cards(source: &Source, page: &Page, axes: &[Axis]) -> (Cards, Vec<String>) {
    let mut cards = Cards::default();
    let mut notes = Vec::new();
    let first = if page.per_pixel > 1 { 4 } else { 3 };
    for (number, axis) in axes.iter().enumerate() {
        let name = match axis.name {
            'C' => "CHANNEL",
            'Z' => "SLICE",
            'T' => "FRAME",
            'I' => "IMAGE",
            _ => continue,
        };
        cards.push_text(&format!("CTYPE{}", number + first), name, "");
    }
    for entry in &page.ifd.entries {
        // A tag that cannot be read is a tag less.
        let _ = push(source, page, entry, &mut cards, &mut notes);
    }
    (cards, notes)
}

fn push(
    source: &Source,
    page: &Page,
    entry: &Entry,
    cards: &mut Cards,
    notes: &mut Vec<String>,
) -> Result<()> {
    let form = page.form;
    match entry.tag {
        tag::DATE_TIME => {
            let text = form.text(source, entry, 64)?;
            let text = String::from_utf8_lossy(&text).trim().to_string();
            let date = iso_date(&text).unwrap_or(text);
            cards.push_text("DATE-OBS", &date, "DateTime of the TIFF file");
            return Ok(());
        }
        tag::DESCRIPTION => {
            let text = form.text(source, entry, MAX_DESCRIPTION)?;
            let text = String::from_utf8_lossy(&text);
            for line in text
                .lines()
                .map(str::trim_end)
                .filter(|line| !line.is_empty())
            {
                cards.push_line("COMMENT", line);
            }
            let left = entry.count.saturating_sub(MAX_DESCRIPTION as u64);
            if left > 0 {
                cards.push_line(
                    "COMMENT",
                    &format!("(ImageDescription goes on for {left} bytes)"),
                );
            }
            return Ok(());
        }
        _ => {}
    }
    let name = NAMES.iter().find(|&&(tag, _)| tag == entry.tag);
    let name = match name {
        Some((_, name)) => format!("TIFF {name}"),
        None if entry.tag >= FIRST_PRIVATE => format!("TIFF TAG {}", entry.tag),
        None => return Ok(()),
    };
    let Some(value) = value(source, page, entry)? else {
        return Ok(());
    };
    let mut comment = "";
    match (entry.tag, value.as_int()) {
        (tag::PHOTOMETRIC, Some(number)) => {
            let found = PHOTOMETRICS
                .iter()
                .find(|&&(known, _)| i128::from(known) == number);
            if number == 0 {
                comment = "samples are as stored: 0 is white";
            }
            if let Some((_, text)) = found {
                cards.push_text(&name, text, comment);
                return Ok(());
            }
        }
        (274, Some(number)) if number != 1 => {
            comment = "samples are as stored, not turned";
            notes.push(format!(
                "its Orientation is {number}: samples are taken as they are stored, not turned"
            ));
        }
        _ => {}
    }
    cards.push(&name, &value, comment);
    Ok(())
}

/// The value of a tag, where it is one number or a text that is not too long.
fn value(source: &Source, page: &Page, entry: &Entry) -> Result<Option<Value>> {
    const ASCII: u16 = 2;
    const RATIONALS: [u16; 2] = [5, 10];
    let form = page.form;
    if entry.kind == ASCII && entry.count <= MAX_TEXT as u64 {
        let text = form.text(source, entry, MAX_TEXT)?;
        let text: String = text.iter().map(|&byte| char::from(byte)).collect();
        let text = text.trim_end().to_string();
        return Ok((!text.is_empty()).then_some(Value::Text(text)));
    }
    let is_pair = entry.tag == 297 && entry.count == 2;
    if entry.count != 1 && !is_pair {
        return Ok(None);
    }
    if number_bytes(entry).is_some() {
        let numbers = form.numbers(source, entry, 1)?;
        let number = numbers.first().copied().unwrap_or(0);
        return Ok(Some(Value::Integer(i128::from(number))));
    }
    let mut bytes = [0; 8];
    let size = usize::try_from(kind_bytes(entry.kind)).unwrap_or(1).min(8);
    source.read_at(entry.at, &mut bytes[..size])?;
    let bits = form.number(&bytes[..size]);
    #[allow(clippy::cast_possible_truncation, reason = "so many bits were read")]
    Ok(match entry.kind {
        kind if RATIONALS.contains(&kind) => {
            let (above, below) = (form.number(&bytes[..4]), form.number(&bytes[4..]));
            let number = |bits: u64| match kind {
                5 => f64::from(bits as u32),
                _ => f64::from((bits as u32).cast_signed()),
            };
            let ratio = number(above) / number(below);
            ratio.is_finite().then_some(Value::Real(ratio))
        }
        6 => Some(Value::Integer(i128::from((bits as u8).cast_signed()))),
        8 => Some(Value::Integer(i128::from((bits as u16).cast_signed()))),
        9 => Some(Value::Integer(i128::from((bits as u32).cast_signed()))),
        17 => Some(Value::Integer(i128::from(bits.cast_signed()))),
        11 => Some(Value::Real(f64::from(f32::from_bits(bits as u32)))),
        12 => Some(Value::Real(f64::from_bits(bits))),
        _ => None,
    })
}

/// `2024:05:01 12:30:59` as FITS writes it; `None` when it is not of that form.
fn iso_date(text: &str) -> Option<String> {
    let (date, time) = text.split_once(' ')?;
    let is_numeric = |text: &str, separator| {
        let mut parts = text.split(separator);
        parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_date = date.len() == 10 && is_numeric(date, ':');
    let is_time = time.len() == 8 && is_numeric(time, ':');
    (is_date && is_time).then(|| format!("{}T{time}", date.replace(':', "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_those_of_fits() {
        let date = iso_date("2024:05:01 12:30:59");
        assert_eq!(date.as_deref(), Some("2024-05-01T12:30:59"));
        for text in [
            "",
            "2024-05-01 12:30:59",
            "2024:05:01",
            "    :  :     :  :  ",
        ] {
            assert_eq!(iso_date(text), None, "{text}");
        }
    }
}
