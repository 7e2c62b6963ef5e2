//! The table behind a tile-compressed image, looked over before cfitsio is.
//!
//! The convention is the FITS Standard's (4.0, section 10.1). cfitsio trusts what
//! such a table says; so every number that decides how much it allocates, or where
//! it reads and writes, is checked here first. Nothing is decompressed here: what is
//! wrong inside a tile is found by `streams`, once its samples are wanted.

use crate::error::{Error, Result};
use crate::region::volume;

use super::cards::{CARD_BYTES, Cards, Value, keyword_of};
use super::hdu::{Content, Hdu, Walk};
use super::source::Source;
use super::streams::{Coding, Column, Streams, Tiling};

/// The most axes that cfitsio decompresses.
const MAX_TILED_AXES: i128 = 6;

/// The largest tile, in samples: cfitsio holds a few whole tiles in memory.
pub const MAX_TILE_SAMPLES: u64 = 1 << 28;

/// No tile is longer than so many bytes for each of its samples and so many more.
const MAX_PER_SAMPLE: u64 = 16;
const MAX_PER_TILE: u64 = 1 << 16;

/// Rows of the table are looked over this many bytes at a time.
const ROWS_BYTES: u64 = 1 << 16;

/// Compression codes that this cfitsio decompresses. (NOCOMPRESS is not one.)
const CODES: [&str; 6] = [
    "RICE_1",
    "RICE_ONE",
    "GZIP_1",
    "GZIP_2",
    "PLIO_1",
    "HCOMPRESS_1",
];

/// Columns with tiles: compressed, as they are, and gzipped whatever the code.
const TILE_COLUMNS: [&str; 3] = [
    "COMPRESSED_DATA",
    "UNCOMPRESSED_DATA",
    "GZIP_COMPRESSED_DATA",
];

/// Keywords of the table, or of its compression: not the image's.
const TABLE_KEYWORDS: [&str; 31] = [
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "EXTEND",
    "TFIELDS", "THEAP", "CHECKSUM", "DATASUM", "ZIMAGE", "ZCMPTYPE", "ZBITPIX", "ZNAXIS",
    "ZSIMPLE", "ZTENSION", "ZEXTEND", "ZBLOCKED", "ZPCOUNT", "ZGCOUNT", "ZHECKSUM", "ZDATASUM",
    "ZQUANTIZ", "ZDITHER0", "ZMASKCMP", "ZBLANK", "ZSCALE", "ZZERO",
];

/// Keywords like those, with a number behind them.
const NUMBERED_KEYWORDS: [&str; 6] = ["TTYPE", "TFORM", "ZNAXIS", "ZTILE", "ZNAME", "ZVAL"];

/// The image that a table holds.
pub struct Tiled {
    /// The image as if it were not compressed: its BITPIX, axes and cards.
    pub image: Hdu,
    /// Are float samples kept as scaled integers, whose null means NaN?
    pub is_quantized: bool,
    /// Where its samples are, compressed.
    pub(super) streams: Streams,
}

/// Looks over a tile-compressed image.
///
/// # Errors
/// When the table or its heap is not what the header says, or cfitsio does not
/// decompress it.
pub fn examine(source: &Source, hdu: &Hdu) -> Result<Tiled> {
    plain(hdu)?;
    let bitpix = match int(hdu, "ZBITPIX")? {
        8 => 8,
        16 => 16,
        32 => 32,
        -32 => -32,
        -64 => -64,
        64 => {
            return Err(Error::unsupported(
                "compressed images of 64-bit integers are not read",
            ));
        }
        other => return Err(damaged(hdu, &format!("ZBITPIX is {other}"))),
    };
    let n_axes = int(hdu, "ZNAXIS")?;
    if !(1..=MAX_TILED_AXES).contains(&n_axes) {
        return Err(Error::unsupported(format!(
            "the compressed image in HDU {} has {n_axes} axes, expected 1 to {MAX_TILED_AXES}",
            hdu.number
        )));
    }
    let (mut axes, mut tile) = (Vec::new(), Vec::new());
    for axis in 1..=n_axes {
        let len = length(hdu, &format!("ZNAXIS{axis}"))?;
        let keyword = format!("ZTILE{axis}");
        // Without ZTILEn a tile is a row.
        tile.push(match hdu.cards.get(&keyword) {
            Some(_) => length(hdu, &keyword)?,
            None if axis == 1 => len,
            None => 1,
        });
        axes.push(len);
    }
    let n_samples = volume(&axes)?;
    let tile_samples = volume(&tile)?;
    if tile_samples > MAX_TILE_SAMPLES.min(n_samples.saturating_mul(2).max(1 << 16)) {
        return Err(damaged(
            hdu,
            &format!("a tile has {tile_samples} samples, the image {n_samples}"),
        ));
    }
    let per_axis = axes
        .iter()
        .zip(&tile)
        .map(|(len, tile)| len.div_ceil(*tile));
    let n_tiles = volume(&per_axis.collect::<Vec<_>>())?;
    let code = hdu.cards.get_text("ZCMPTYPE").unwrap_or_default();
    if !CODES.contains(&code.as_str()) {
        return Err(Error::unsupported(format!(
            "the image in HDU {} is compressed by `{code}`, which is not read",
            hdu.number
        )));
    }
    let coding = match code.as_str() {
        "HCOMPRESS_1" => Coding::Hcompress {
            most_planes: if matches!(bitpix, 8 | 16) { 32 } else { 64 },
        },
        "PLIO_1" => Coding::Plio,
        code if code.starts_with("GZIP") => Coding::Gzip { only: None },
        _ => examine_rice(hdu)?,
    };
    let tiling = Tiling {
        axes: axes.clone(),
        tile,
        n_tiles,
    };
    let streams = examine_rows(source, hdu, &code, coding, tiling, bitpix)?;
    let has_column = |name: &str| {
        let mut columns = hdu
            .cards
            .iter()
            .filter(|card| keyword_of(card).starts_with("TTYPE"));
        columns.any(|card| String::from_utf8_lossy(card).contains(name))
    };
    let is_quantized = bitpix < 0 && (has_column("'ZSCALE") || hdu.cards.get("ZSCALE").is_some());
    // Such files exist: their floats were cut to integers. cfitsio takes the
    // integers' bits for floats, and says nothing.
    if bitpix < 0 && !is_quantized && !code.starts_with("GZIP") && !has_column("GZIP_COMPRESSED") {
        return Err(Error::unsupported(format!(
            "the compressed image in HDU {} has float samples in {code} without ZSCALE",
            hdu.number
        )));
    }
    Ok(Tiled {
        image: Hdu {
            cards: image_cards(hdu, bitpix, &axes),
            content: Content::Image,
            bitpix,
            axes,
            ..hdu.clone()
        },
        is_quantized,
        streams,
    })
}

/// Sees that RICE's block size and bytes per sample, which old files give in either
/// order, are some that exist: cfitsio divides by them. Says what cfitsio takes them for.
fn examine_rice(hdu: &Hdu) -> Result<Coding> {
    for keyword in ["ZVAL1", "ZVAL2"] {
        if hdu.cards.get(keyword).is_none() {
            continue;
        }
        let value = int(hdu, keyword)?;
        if ![1, 2, 4, 8, 16, 32, 64].contains(&value) {
            return Err(damaged(hdu, &format!("{keyword} is {value}")));
        }
    }
    let value = |keyword| hdu.cards.get_int(keyword);
    // Before ZVAL2 was that, samples had 4 bytes.
    let is_old = hdu.cards.get_text("ZNAME2").as_deref() == Some("NOISEBIT");
    let width = value("ZVAL2").filter(|_| !is_old).unwrap_or(4);
    let (block, width) = match (length(hdu, "ZVAL1")?, width) {
        (block @ ..16, width @ 9..) => (width.try_into().unwrap_or(64), i128::from(block)),
        found => found,
    };
    let width = if matches!(width, 1 | 2) { width } else { 4 };
    Ok(Coding::Rice {
        block,
        width: usize::try_from(width).unwrap_or(4),
    })
}

/// Sees that each row's descriptors lie inside the heap, and that what they point
/// at does not claim more samples than a tile has.
fn examine_rows(
    source: &Source,
    hdu: &Hdu,
    code: &str,
    coding: Coding,
    tiling: Tiling,
    bitpix: i32,
) -> Result<Streams> {
    let n_tiles = tiling.n_tiles;
    let &[row_bytes, n_rows] = hdu.axes.as_slice() else {
        return Err(damaged(hdu, "its table does not have 2 axes"));
    };
    if n_rows < n_tiles {
        return Err(damaged(
            hdu,
            &format!("its table has {n_rows} rows for {n_tiles} tiles"),
        ));
    }
    let end = hdu.data_start.checked_add(hdu.data_bytes);
    if end.is_none_or(|end| end > source.len()) {
        return Err(Error::damaged(format!(
            "the data of HDU {} needs {} bytes from byte {}, but the file ends at byte {}",
            hdu.number,
            hdu.data_bytes,
            hdu.data_start,
            source.len()
        )));
    }
    let table_bytes = row_bytes
        .checked_mul(n_rows)
        .filter(|&bytes| bytes <= hdu.data_bytes);
    let table_bytes = table_bytes.ok_or_else(|| damaged(hdu, "its table is too long"))?;
    let heap = match hdu.cards.get("THEAP") {
        Some(_) => length(hdu, "THEAP")?,
        None => table_bytes,
    };
    if heap < table_bytes || heap > hdu.data_bytes {
        return Err(damaged(hdu, &format!("THEAP is {heap}")));
    }
    let columns = columns(hdu, row_bytes)?;
    let [compressed, plain, gzipped] = TILE_COLUMNS.map(|name| {
        let mut named = columns.iter().filter(|column| column.name == name);
        (named.next().cloned(), named.next())
    });
    for (name, (_, second)) in TILE_COLUMNS.iter().zip([&compressed, &plain, &gzipped]) {
        if second.is_some() {
            return Err(damaged(hdu, &format!("its table has two columns {name}")));
        }
    }
    let Some(compressed) = compressed.0 else {
        return Err(damaged(hdu, "its table has no column COMPRESSED_DATA"));
    };
    // cfitsio makes bytes or words of whatever a column has.
    for (column, expected) in [
        (
            Some(&compressed),
            if coding == Coding::Plio { 2 } else { 1 },
        ),
        (gzipped.0.as_ref(), 1),
    ] {
        if let Some(column) = column
            && column.element_bytes != expected
        {
            return Err(damaged(
                hdu,
                &format!(
                    "{} has elements of {} bytes, expected {expected}",
                    column.name, column.element_bytes
                ),
            ));
        }
    }
    let per_read = (ROWS_BYTES / row_bytes.max(1)).max(1);
    let mut rows = Vec::new();
    let mut at = 0;
    while at < n_rows {
        let n_read = per_read.min(n_rows - at);
        let bytes = usize::try_from(n_read * row_bytes);
        rows.resize(bytes.map_err(|_| damaged(hdu, "its rows are too long"))?, 0);
        source.read_at(hdu.data_start + at * row_bytes, &mut rows)?;
        let row_len = usize::try_from(row_bytes.max(1)).unwrap_or(usize::MAX);
        for (row, tile_idx) in rows.chunks_exact(row_len).zip(at..n_tiles) {
            let tile_samples = tiling.samples_of(tile_idx);
            for column in &columns {
                let (count, offset) = column.descriptor(row);
                let bytes = count.checked_mul(column.element_bytes);
                let end = bytes.and_then(|bytes| heap.checked_add(offset)?.checked_add(bytes));
                if end.is_none_or(|end| end > hdu.data_bytes) {
                    return Err(damaged(
                        hdu,
                        &format!("a tile of {count} elements at byte {offset} is outside its heap"),
                    ));
                }
                // cfitsio holds all of it in memory.
                let most = tile_samples.saturating_mul(MAX_PER_SAMPLE) + MAX_PER_TILE;
                if bytes.is_none_or(|bytes| bytes > most) {
                    return Err(damaged(
                        hdu,
                        &format!("tile {tile_idx} has {count} elements for {tile_samples} samples"),
                    ));
                }
                let is_exact = code == "HCOMPRESS_1" && column.name == "COMPRESSED_DATA";
                let claimed = match column.name.as_str() {
                    "UNCOMPRESSED_DATA" => count,
                    "COMPRESSED_DATA" if count > 0 => {
                        let start = hdu.data_start + heap + offset;
                        let bytes = count * column.element_bytes;
                        claimed_samples(source, hdu, code, start, bytes)?
                    }
                    _ => 0,
                };
                if claimed > tile_samples || (is_exact && count > 0 && claimed != tile_samples) {
                    return Err(damaged(
                        hdu,
                        &format!(
                            "tile {tile_idx} claims {claimed} samples, expected {tile_samples}"
                        ),
                    ));
                }
            }
        }
        at += n_read;
    }
    Ok(Streams {
        number: hdu.number,
        coding,
        tiling,
        sample_bytes: u64::from(bitpix.unsigned_abs()) / 8,
        compressed,
        plain: plain.0,
        gzipped: gzipped.0,
        rows: hdu.data_start,
        row_bytes,
        heap: hdu.data_start + heap,
        heap_bytes: hdu.data_bytes - heap,
        seen: 0..0,
    })
}

/// How many samples a compressed tile says it has, for codes that say so.
fn claimed_samples(source: &Source, hdu: &Hdu, code: &str, start: u64, bytes: u64) -> Result<u64> {
    const HEAD: usize = 14;
    let short = || damaged(hdu, &format!("a tile of {bytes} bytes is too short"));
    match code {
        // Magic, then both lengths of the tile as 32-bit numbers.
        "HCOMPRESS_1" if bytes < HEAD as u64 => Err(short()),
        "HCOMPRESS_1" => {
            let mut head = [0; HEAD];
            source.read_at(start, &mut head)?;
            let [_, _, a, b, c, d, e, f, g, h, ..] = head;
            let (x, y) = (
                u32::from_be_bytes([a, b, c, d]),
                u32::from_be_bytes([e, f, g, h]),
            );
            Ok(u64::from(x) * u64::from(y))
        }
        // The list says itself how many words it has; there are 16 bits in each.
        "PLIO_1" if bytes < HEAD as u64 => Err(short()),
        "PLIO_1" => {
            let mut head = [0; HEAD];
            source.read_at(start, &mut head)?;
            let words: Vec<i64> = head
                .as_chunks::<2>()
                .0
                .iter()
                .map(|word| i64::from(i16::from_be_bytes(*word)))
                .collect();
            let n_words = match words[2] {
                n_words if n_words > 0 => n_words,
                _ => (words[4] << 15) + words[3],
            };
            let available = i64::try_from(bytes / 2).unwrap_or(i64::MAX);
            if !(0..=available).contains(&n_words) || !(0..available).contains(&words[1]) {
                return Err(damaged(
                    hdu,
                    &format!("a tile claims {n_words} words of {available}"),
                ));
            }
            Ok(0)
        }
        _ => Ok(0),
    }
}

/// Sees that the keywords that decide what cfitsio does are there once, as plain
/// text. Of two it may take the other one than is looked at here, and what is no
/// number it takes for 0.
fn plain(hdu: &Hdu) -> Result<()> {
    const DECIDE: [&str; 10] = [
        "BITPIX", "PCOUNT", "GCOUNT", "TFIELDS", "THEAP", "BSCALE", "BZERO", "BLANK", "NAXIS",
        "NAXIS1",
    ];
    let mut seen = std::collections::HashSet::new();
    for card in hdu.cards.iter() {
        let keyword = keyword_of(card).to_ascii_uppercase();
        let numbered = NUMBERED_KEYWORDS
            .iter()
            .any(|name| keyword.starts_with(name));
        let of_image = keyword.starts_with('Z') && TABLE_KEYWORDS.contains(&keyword.as_str());
        let decides = numbered || of_image || DECIDE.contains(&keyword.as_str());
        if !decides || keyword == "ZHECKSUM" || keyword == "ZDATASUM" {
            continue;
        }
        if card.iter().any(|byte| !(b' '..=b'~').contains(byte)) {
            return Err(damaged(
                hdu,
                &format!("{keyword} holds bytes that are no text"),
            ));
        }
        if seen.contains(&keyword) {
            return Err(damaged(hdu, &format!("{keyword} is there twice")));
        }
        seen.insert(keyword);
    }
    Ok(())
}

/// Looks over the tables that cfitsio goes through on its way to an HDU. It takes
/// their mandatory keywords by their place, goes on with what was in memory where
/// it does not find one, and allocates for as many fields as it reads. Of a
/// compressed image it reads the parameters as it goes by.
///
/// # Errors
/// When one of them is not what the standard says.
pub fn examine_way(source: &Source, number: u32) -> Result<()> {
    // XTENSION comes before, TTYPEn and such after.
    const MANDATORY: [(&str, u64, u64); 7] = [
        ("BITPIX", 8, 8),
        ("NAXIS", 2, 2),
        ("NAXIS1", 0, i64::MAX as u64),
        ("NAXIS2", 0, i64::MAX as u64),
        ("PCOUNT", 0, i64::MAX as u64),
        ("GCOUNT", 1, 1),
        ("TFIELDS", 0, 999),
    ];
    let mut walk = Walk::new(false);
    for _ in 0..=number {
        let Some(hdu) = walk.step(source)? else { break };
        let kind = hdu.cards.get_text("XTENSION").unwrap_or_default();
        if hdu.place.number == 0 || !kind.to_ascii_uppercase().contains("TABLE") {
            continue;
        }
        if hdu.content == Content::Compressed && hdu.place.number < number {
            examine(source, &hdu)?;
        }
        let mut cards = hdu.cards.iter().skip(1);
        for (place, (keyword, least, most)) in (2..).zip(MANDATORY) {
            let card = cards.next().unwrap_or_default();
            let head = format!("{keyword:<8}= ");
            let value = card.strip_prefix(head.as_bytes()).unwrap_or_default();
            let value = value.split(|&byte| byte == b'/').next().unwrap_or_default();
            let value = std::str::from_utf8(value)
                .unwrap_or_default()
                .trim_matches(' ');
            // A sign, blanks inside or bytes that are no text are read by others as
            // something else.
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            let number = value.parse().ok().filter(|_| digits);
            if !number.is_some_and(|number| (least..=most).contains(&number)) {
                return Err(Error::damaged(format!(
                    "card {place} of HDU {}, a table, is `{}`, expected {keyword} from {least} to {most}",
                    hdu.place.number,
                    card.escape_ascii().to_string().trim_end()
                )));
            }
        }
    }
    Ok(())
}

/// The columns whose rows are descriptors.
fn columns(hdu: &Hdu, row_bytes: u64) -> Result<Vec<Column>> {
    const MAX_FIELDS: i128 = 999;
    let n_fields = int(hdu, "TFIELDS")?;
    if !(1..=MAX_FIELDS).contains(&n_fields) {
        return Err(damaged(hdu, &format!("TFIELDS is {n_fields}")));
    }
    let mut columns = Vec::new();
    let mut offset = 0u64;
    for field in 1..=n_fields {
        let text = hdu
            .cards
            .get_text(&format!("TFORM{field}"))
            .unwrap_or_default();
        let form = text.trim();
        let bad = || damaged(hdu, &format!("TFORM{field} is `{form}`"));
        let digits = form.bytes().take_while(u8::is_ascii_digit).count();
        let repeat: u64 = match digits {
            0 => 1,
            _ => form[..digits].parse().map_err(|_| bad())?,
        };
        let mut letters = form[digits..].chars();
        let letter = letters.next().ok_or_else(bad)?;
        let width = element_bytes(letter).ok_or_else(bad)?;
        if matches!(letter, 'P' | 'Q') {
            let name = hdu
                .cards
                .get_text(&format!("TTYPE{field}"))
                .unwrap_or_default();
            let name = name.trim().to_ascii_uppercase();
            let element = letters.next();
            // cfitsio looks for the P at the first two places alone, and takes what
            // follows for a descriptor where there is none.
            let is_as_seen = [text.get(..1), text.get(1..2)]
                .iter()
                .any(|place| place.is_some_and(|place| place.starts_with(letter)))
                && !matches!(element, Some('P' | 'Q'));
            if TILE_COLUMNS.contains(&name.as_str()) && (repeat == 0 || !is_as_seen) {
                return Err(bad());
            }
            if repeat > 0 {
                columns.push(Column {
                    name,
                    offset,
                    is_wide: letter == 'Q',
                    element_bytes: element.and_then(element_bytes).ok_or_else(bad)?,
                });
            }
        }
        let bytes = match letter {
            'X' => Some(repeat.div_ceil(8)),
            _ => repeat.checked_mul(width),
        };
        offset = bytes
            .and_then(|bytes| offset.checked_add(bytes))
            .ok_or_else(bad)?;
    }
    if offset > row_bytes {
        return Err(damaged(
            hdu,
            &format!("its columns need {offset} bytes of rows of {row_bytes}"),
        ));
    }
    Ok(columns)
}

fn element_bytes(letter: char) -> Option<u64> {
    Some(match letter {
        'L' | 'X' | 'B' | 'A' => 1,
        'I' => 2,
        'J' | 'E' => 4,
        'K' | 'D' | 'C' | 'P' => 8,
        'M' | 'Q' => 16,
        _ => return None,
    })
}

/// The header that the image would have uncompressed: its own mandatory cards,
/// then every card that is not the table's, verbatim and in order.
fn image_cards(hdu: &Hdu, bitpix: i32, axes: &[u64]) -> Cards {
    let is_primary = hdu.cards.get("ZSIMPLE") == Some(Value::Logical(true));
    let first = match is_primary {
        true => "SIMPLE  =                    T",
        false => "XTENSION= 'IMAGE   '",
    };
    let mut lines = vec![
        first.to_string(),
        format!("BITPIX  = {bitpix:20}"),
        format!("NAXIS   = {:20}", axes.len()),
    ];
    let lens = axes.iter().enumerate();
    lines.extend(lens.map(|(axis, len)| format!("NAXIS{:<3}= {len:20}", axis + 1)));
    if !is_primary {
        lines.push(format!("PCOUNT  = {:20}", 0));
        lines.push(format!("GCOUNT  = {:20}", 1));
    }
    let has_blank = hdu.cards.get("BLANK").is_some();
    if let (Some(blank), false, true) = (hdu.cards.get_int("ZBLANK"), has_blank, bitpix > 0) {
        lines.push(format!("BLANK   = {blank:20}"));
    }
    let mut bytes: Vec<u8> = Vec::new();
    for line in lines {
        bytes.extend(format!("{line:<CARD_BYTES$}").as_bytes());
    }
    for card in hdu.cards.iter().filter(|card| is_of_image(card)) {
        bytes.extend(card);
    }
    Cards::from_bytes(bytes)
}

fn is_of_image(card: &[u8]) -> bool {
    let keyword = keyword_of(card).to_ascii_uppercase();
    let numbered = NUMBERED_KEYWORDS
        .iter()
        .filter_map(|name| keyword.strip_prefix(name));
    let is_numbered = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    // The name that cfitsio gives a table when the image had none.
    let is_made_up = keyword == "EXTNAME" && card.starts_with(b"EXTNAME = 'COMPRESSED_IMAGE'");
    !TABLE_KEYWORDS.contains(&keyword.as_str())
        && !numbered.into_iter().any(is_numbered)
        && !is_made_up
}

fn damaged(hdu: &Hdu, what: &str) -> Error {
    Error::damaged(format!(
        "the compressed image in HDU {}: {what}",
        hdu.number
    ))
}

fn int(hdu: &Hdu, keyword: &str) -> Result<i128> {
    let value = hdu.cards.get_int(keyword);
    value.ok_or_else(|| damaged(hdu, &format!("{keyword} is missing or not a whole number")))
}

/// A length, which is at least 1.
fn length(hdu: &Hdu, keyword: &str) -> Result<u64> {
    let value = int(hdu, keyword)?;
    let len = i64::try_from(value)
        .ok()
        .and_then(|len| u64::try_from(len).ok());
    len.filter(|&len| len > 0)
        .ok_or_else(|| damaged(hdu, &format!("{keyword} is {value}, expected 1 or more")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cards: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for card in cards {
            bytes.extend(*card);
            bytes.resize(bytes.len().next_multiple_of(CARD_BYTES), b' ');
        }
        bytes.extend(b"END");
        bytes.resize(bytes.len().next_multiple_of(2880), b' ');
        bytes
    }

    #[test]
    fn tables_on_the_way_must_be_what_cfitsio_takes_them_for() {
        let good: [&[u8]; 8] = [
            b"XTENSION= 'BINTABLE'",
            b"BITPIX  =                    8",
            b"NAXIS   =                    2 / two",
            b"NAXIS1  =                    8",
            b"NAXIS2  = 0",
            b"PCOUNT  =                    0",
            b"GCOUNT  =                    1",
            b"TFIELDS =                    1",
        ];
        let says = |cards: &[&[u8]]| {
            let primary = header(&[b"SIMPLE  = T", b"BITPIX  = 8", b"NAXIS   = 0"]);
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), [primary, header(cards)].concat()).unwrap();
            let source = Source::open(file.path()).unwrap();
            assert!(examine_way(&source, 0).is_ok(), "it is not gone through");
            examine_way(&source, 1).map_err(|error| error.to_string())
        };
        assert_eq!(says(&good), Ok(()));
        let twice = [
            &good[..],
            &[b"ZIMAGE  = T", b"ZTILE1  = 7", b"ZTILE1  = `1"],
        ]
        .concat();
        let file = tempfile::NamedTempFile::new().unwrap();
        let primary = header(&[b"SIMPLE  = T", b"BITPIX  = 8", b"NAXIS   = 0"]);
        std::fs::write(file.path(), [primary, header(&twice)].concat()).unwrap();
        let source = Source::open(file.path()).unwrap();
        let error = examine_way(&source, 2).unwrap_err().to_string();
        assert!(error.ends_with("HDU 1: ZTILE1 is there twice"), "{error}");
        for (place, card) in [
            (7, b"TFIELDS =            100000000".as_slice()),
            (7, b"TFIELDS =                   -1"),
            (7, b"TTYPE1  = 'A'"),
            (4, b"NAXIS2  =                  \xa0 5"),
            (4, b"NAXIS2  =                  1 5"),
            (6, b"GCOUNT  =                    2"),
        ] {
            let mut bad = good;
            bad[place] = card;
            let error = says(&bad).unwrap_err();
            let start = format!("card {} of HDU 1, a table, is `", place + 1);
            // What is no number at all is found before.
            let keyword = String::from_utf8_lossy(&card[..6]);
            let early = error.contains(&format!("{keyword} of HDU 1 is"));
            assert!(early || error.contains(&start), "{error}");
        }
    }
}
