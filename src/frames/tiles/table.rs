//! The table behind a tile-compressed image: where its tiles are, and what it says of them.
//!
//! The convention is the FITS Standard's (4.0, section 10.1). Nothing is decompressed
//! here, but every number is looked at that says where a tile is or how large.

use crate::error::{Error, Result};
use crate::frames::cards::{CARD_BYTES, Cards, Value, is_one_of, keyword_of};
use crate::frames::hdu::{Content, Hdu, bitpix_of, check_data};
use crate::frames::source::Source;
use crate::region::volume;

use super::bits::PAD_BYTES;
use super::quantized::{Dither, Quantized};
use super::rice::Rice;
use super::tiling::Tiling;
use super::window::Window;

/// The most axes that the standard allows.
const MAX_AXES: i128 = 999;

/// The largest tile, and the largest row of them, in samples: one is held in memory.
pub(super) const MAX_TILE_SAMPLES: u64 = 1 << 28;

/// The largest tile of HCOMPRESS, of whose transform 24 bytes a sample are held.
const MAX_TRANSFORM_SAMPLES: u64 = 1 << 25;

/// No tile is longer than so many bytes for each of its samples and so many more.
const MAX_PER_SAMPLE: u64 = 16;
const MAX_PER_TILE: u64 = 1 << 16;

/// The longest row of a table.
const MAX_ROW_BYTES: u64 = 1 << 20;

/// Columns with tiles: compressed, gzipped whatever the code, and as they are.
const TILE_COLUMNS: [&str; 3] = [
    "COMPRESSED_DATA",
    "GZIP_COMPRESSED_DATA",
    "UNCOMPRESSED_DATA",
];

/// Keywords of the table, or of its compression: not the image's.
const TABLE_KEYWORDS: [&str; 37] = [
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "EXTEND",
    "TFIELDS", "THEAP", "CHECKSUM", "DATASUM", "ZIMAGE", "ZCMPTYPE", "ZBITPIX", "ZNAXIS",
    "ZSIMPLE", "ZTENSION", "ZEXTEND", "ZBLOCKED", "ZPCOUNT", "ZGCOUNT", "ZHECKSUM", "ZDATASUM",
    "ZQUANTIZ", "ZDITHER0", "ZMASKCMP", "ZBLANK", "ZSCALE", "ZZERO", "TTYPE#", "TFORM#", "ZNAXIS#",
    "ZTILE#", "ZNAME#", "ZVAL#",
];

/// How tiles are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Rice(Rice),
    /// Gzip streams; first all first bytes of samples, then all second ones, where they
    /// are sorted.
    Gzip {
        is_sorted: bool,
    },
    Plio,
    Hcompress {
        smooths: bool,
    },
    /// Samples as they are, big-endian.
    Plain,
}

/// A tile as it stands in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) coding: Coding,
    /// Where in the heap it begins, and how long it is.
    pub(super) start: u64,
    pub(super) n_bytes: u64,
    /// What its integers mean, where they are not the samples.
    pub(super) quantized: Option<Quantized>,
}

/// A column of the table.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    /// Where in a row it begins.
    offset: usize,
    /// What it holds, as the letter of its TFORM has it.
    letter: char,
    /// The same of what its descriptors point at, in bytes.
    element_bytes: u64,
}

impl Column {
    fn bytes<'a>(&self, row: &'a [u8]) -> &'a [u8] {
        row.get(self.offset..).unwrap_or_default()
    }

    /// Count and offset; negative ones become too large.
    fn descriptor(&self, row: &[u8]) -> (u64, u64) {
        let bytes = self.bytes(row);
        let mut numbers = [u64::MAX; 2];
        if self.letter == 'Q' {
            for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
                *number = u64::from_be_bytes(*bytes);
            }
        } else {
            for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
                *number = u64::from(u32::from_be_bytes(*bytes));
            }
        }
        (numbers[0], numbers[1])
    }

    /// The number that stands in a row.
    fn number(&self, row: &[u8]) -> Option<f64> {
        let bytes = self.bytes(row);
        Some(match self.letter {
            'B' => f64::from(*bytes.first()?),
            'I' => f64::from(i16::from_be_bytes(*bytes.first_chunk()?)),
            'J' => f64::from(i32::from_be_bytes(*bytes.first_chunk()?)),
            'K' => i64::from_be_bytes(*bytes.first_chunk()?) as f64,
            'E' => f64::from(f32::from_be_bytes(*bytes.first_chunk()?)),
            'D' => f64::from_be_bytes(*bytes.first_chunk()?),
            _ => return None,
        })
    }
}

/// A number that is the same for all tiles, or stands in a column.
#[derive(Clone, Debug)]
enum PerTile {
    Same(f64),
    In(Column),
}

impl PerTile {
    /// `None` when there is neither keyword nor column.
    fn find(hdu: &Hdu, columns: &[Column], keyword: &str) -> Result<Option<PerTile>> {
        if let Some(column) = columns.iter().find(|column| column.name == keyword) {
            return match "BIJKED".contains(column.letter) {
                true => Ok(Some(PerTile::In(column.clone()))),
                false => Err(damaged(
                    hdu.number,
                    &format!("{keyword} is no column of numbers"),
                )),
            };
        }
        let Some(value) = hdu.cards.get(keyword) else {
            return Ok(None);
        };
        let number = value.as_real().ok_or_else(|| {
            let what = format!("{keyword} is `{}`, not a number", value.show());
            damaged(hdu.number, &what)
        })?;
        Ok(Some(PerTile::Same(number)))
    }

    fn of(&self, row: &[u8]) -> f64 {
        match self {
            PerTile::Same(number) => *number,
            PerTile::In(column) => column.number(row).unwrap_or(f64::NAN),
        }
    }
}

/// How floats became integers.
#[derive(Clone, Debug)]
struct Quantization {
    scale: PerTile,
    zero: Option<PerTile>,
    null: Option<PerTile>,
    dither: Dither,
}

impl Quantization {
    /// `None` when the floats are kept as they are.
    fn find(hdu: &Hdu, columns: &[Column]) -> Result<Option<Quantization>> {
        let find = |keyword| PerTile::find(hdu, columns, keyword);
        let method = hdu.cards.get_text("ZQUANTIZ").unwrap_or_default();
        let Some(scale) = find("ZSCALE")? else {
            return Ok(None);
        };
        let seed = match hdu.cards.get("ZDITHER0") {
            Some(_) => length(hdu, "ZDITHER0")?,
            None => 1,
        };
        let dither = match method.as_str() {
            "" | "NONE" | "NO_DITHER" => Dither::None,
            "SUBTRACTIVE_DITHER_1" => Dither::Subtractive(seed),
            "SUBTRACTIVE_DITHER_2" => Dither::ButZero(seed),
            _ => {
                return Err(Error::unsupported(format!(
                    "the compressed image in HDU {} is quantized by `{method}`, which is not read",
                    hdu.number
                )));
            }
        };
        Ok(Some(Quantization {
            scale,
            zero: find("ZZERO")?,
            null: match find("ZBLANK")? {
                None => find("BLANK")?,
                null => null,
            },
            dither,
        }))
    }

    fn of(&self, row: &[u8]) -> Quantized {
        let null = self.null.as_ref().map(|null| null.of(row));
        let whole = |v: f64| (f64::from(v as i32) == v).then_some(v as i32);
        Quantized {
            scale: self.scale.of(row),
            zero: self.zero.as_ref().map_or(0.0, |zero| zero.of(row)),
            null: null.and_then(whole),
            dither: self.dither,
        }
    }
}

/// What a table says of its tiles.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Of its HDU, for messages.
    pub(super) number: u32,
    pub(super) tiling: Tiling,
    coding: Coding,
    quantization: Option<Quantization>,
    is_float: bool,
    columns: [Option<Column>; 3],
    row_bytes: u64,
    /// Where the heap begins behind the rows, and where it ends.
    heap: u64,
    heap_bytes: u64,
}

impl Table {
    /// Looks over a tile-compressed image: the table, and the image as if it were not
    /// compressed.
    ///
    /// # Errors
    /// When the table or its heap is not what the header says, or the image is compressed
    /// in a way that is not read.
    pub(super) fn examine(source: &Source, hdu: &Hdu) -> Result<(Table, Hdu)> {
        let bitpix = int(hdu, "ZBITPIX")?;
        let bitpix = bitpix_of(bitpix)
            .ok_or_else(|| damaged(hdu.number, &format!("ZBITPIX is {bitpix}")))?;
        let tiling = tiling(hdu)?;
        let &[row_bytes, n_rows] = hdu.axes.as_slice() else {
            return Err(damaged(hdu.number, "its table does not have 2 axes"));
        };
        if n_rows < tiling.n_tiles() {
            let what = format!("its table has {n_rows} rows for {} tiles", tiling.n_tiles());
            return Err(damaged(hdu.number, &what));
        }
        if row_bytes > MAX_ROW_BYTES {
            return Err(damaged(
                hdu.number,
                &format!("its rows are of {row_bytes} bytes"),
            ));
        }
        check_data(source, hdu)?;
        let table_bytes = row_bytes.checked_mul(n_rows);
        let heap = match hdu.cards.get("THEAP") {
            Some(_) => length(hdu, "THEAP")?,
            None => table_bytes.unwrap_or(u64::MAX),
        };
        if table_bytes.is_none_or(|bytes| bytes > heap) || heap > hdu.data_bytes {
            return Err(damaged(
                hdu.number,
                &format!("its heap is at byte {heap} of {}", hdu.data_bytes),
            ));
        }
        let coding = coding(hdu)?;
        let in_tile: u64 = tiling.tile.iter().product();
        if matches!(coding, Coding::Hcompress { .. }) && in_tile > MAX_TRANSFORM_SAMPLES {
            return Err(Error::unsupported(format!(
                "the tiles of HDU {} have {in_tile} samples, and the most that HCOMPRESS is read \
                 with are {MAX_TRANSFORM_SAMPLES}",
                hdu.number
            )));
        }
        let all = columns(hdu, row_bytes)?;
        let mut columns = [const { None }; 3];
        for (found, name) in columns.iter_mut().zip(TILE_COLUMNS) {
            let mut named = all.iter().filter(|column| column.name == name);
            *found = named.next().cloned();
            if named.next().is_some() {
                return Err(damaged(
                    hdu.number,
                    &format!("its table has two columns {name}"),
                ));
            }
        }
        let compressed = if coding == Coding::Plio { 2 } else { 1 };
        for (column, expected) in columns.iter().zip([compressed, 1]) {
            let Some(column) = column else { continue };
            if column.element_bytes != expected {
                let what = format!(
                    "{} has elements of {} bytes, expected {expected}",
                    column.name, column.element_bytes
                );
                return Err(damaged(hdu.number, &what));
            }
        }
        if columns[0].is_none() {
            return Err(damaged(
                hdu.number,
                "its table has no column COMPRESSED_DATA",
            ));
        }
        let is_float = bitpix < 0;
        let quantization = match is_float {
            true => Quantization::find(hdu, &all)?,
            false => None,
        };
        // Such files exist: their floats were cut to integers.
        let is_lossless = matches!(coding, Coding::Gzip { .. }) || columns[1].is_some();
        if is_float && quantization.is_none() && !is_lossless {
            return Err(Error::unsupported(format!(
                "the compressed image in HDU {} has float samples in {} without ZSCALE",
                hdu.number,
                hdu.cards.get_text("ZCMPTYPE").unwrap_or_default()
            )));
        }
        let table = Table {
            number: hdu.number,
            coding,
            quantization,
            is_float,
            columns,
            row_bytes,
            heap,
            heap_bytes: hdu.data_bytes - heap,
            tiling,
        };
        let mut rows = table.rows(hdu);
        for tile_idx in 0..table.tiling.n_tiles() {
            table.tile(source, &mut rows, tile_idx)?;
        }
        let axes = table.tiling.axes.clone();
        let image = Hdu {
            cards: image_cards(hdu, bitpix, &axes),
            content: Content::Image,
            bitpix,
            axes,
            ..hdu.clone()
        };
        Ok((table, image))
    }

    /// The part of the file with the rows of the table.
    pub(super) fn rows(&self, hdu: &Hdu) -> Window {
        Window::new(hdu.data_start, self.row_bytes * self.tiling.n_tiles())
    }

    /// The part of the file with what they point at.
    pub(super) fn heap(&self, hdu: &Hdu) -> Window {
        Window::new(hdu.data_start + self.heap, self.heap_bytes)
    }

    /// Where a tile is. `rows` are those of the table.
    pub(super) fn tile(&self, source: &Source, rows: &mut Window, tile_idx: u64) -> Result<Stored> {
        let row = rows.get(source, tile_idx * self.row_bytes, self.row_bytes)?;
        let row = row.get(..row.len() - PAD_BYTES).unwrap_or_default();
        let n_samples = self.tiling.samples_of(tile_idx);
        let bad = |what: &str| damaged(self.number, &format!("tile {tile_idx} {what}"));
        let quantized = self.quantization.as_ref().map(|how| how.of(row));
        let ways = [
            (self.coding, quantized),
            // What could not be quantized.
            (Coding::Gzip { is_sorted: false }, None),
            (Coding::Plain, None),
        ];
        let mut found = None;
        for (column, (coding, quantized)) in self.columns.iter().zip(ways) {
            let Some(column) = column else { continue };
            let (count, start) = column.descriptor(row);
            if count == 0 {
                continue;
            }
            let n_bytes = count.checked_mul(column.element_bytes);
            let end = n_bytes.and_then(|n_bytes| start.checked_add(n_bytes));
            let (Some(n_bytes), true) = (n_bytes, end.is_some_and(|end| end <= self.heap_bytes))
            else {
                let what = format!("of {count} elements at byte {start} is outside its heap");
                return Err(bad(&what));
            };
            if n_bytes > n_samples.saturating_mul(MAX_PER_SAMPLE) + MAX_PER_TILE {
                let what = format!("has {count} elements for {n_samples} samples");
                return Err(bad(&what));
            }
            found = found.or(Some(Stored {
                coding,
                start,
                n_bytes,
                quantized,
            }));
        }
        let found = found.ok_or_else(|| bad("has no data"))?;
        let is_exact = matches!(found.coding, Coding::Gzip { .. } | Coding::Plain);
        if self.is_float && found.quantized.is_none() && !is_exact {
            return Err(bad("has float samples without ZSCALE"));
        }
        Ok(found)
    }
}

/// How the image is cut into tiles.
fn tiling(hdu: &Hdu) -> Result<Tiling> {
    let n_axes = int(hdu, "ZNAXIS")?;
    if !(1..=MAX_AXES).contains(&n_axes) {
        return Err(damaged(hdu.number, &format!("ZNAXIS is {n_axes}")));
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
    volume(&axes)?;
    let tiling = Tiling::new(axes, tile);
    let in_row = tiling.row_samples();
    if in_row > MAX_TILE_SAMPLES {
        return Err(Error::unsupported(format!(
            "the compressed image in HDU {} has {in_row} samples in a row of tiles, and the most \
             that are read are {MAX_TILE_SAMPLES}",
            hdu.number
        )));
    }
    Ok(tiling)
}

/// How tiles are compressed, and with which parameters.
fn coding(hdu: &Hdu) -> Result<Coding> {
    let code = hdu.cards.get_text("ZCMPTYPE").unwrap_or_default();
    Ok(match code.as_str() {
        "RICE_1" | "RICE_ONE" => {
            let block = parameter(hdu, "BLOCKSIZE", "ZVAL1").unwrap_or(32);
            let width = parameter(hdu, "BYTEPIX", "ZVAL2").unwrap_or(4);
            // Old files give them in either order.
            let (block, width) = match block < 16 && width > 8 {
                true => (width, block),
                false => (block, width),
            };
            match (usize::try_from(block), usize::try_from(width)) {
                (Ok(block @ (1 | 2 | 4 | 8 | 16 | 32 | 64)), Ok(width @ (1 | 2 | 4))) => {
                    Coding::Rice(Rice { block, width })
                }
                _ => {
                    let what = format!("RICE has blocks of {block} samples of {width} bytes");
                    return Err(damaged(hdu.number, &what));
                }
            }
        }
        "GZIP_1" => Coding::Gzip { is_sorted: false },
        "GZIP_2" => Coding::Gzip { is_sorted: true },
        "PLIO_1" => Coding::Plio,
        "HCOMPRESS_1" => Coding::Hcompress {
            smooths: parameter(hdu, "SMOOTH", "ZVAL2").is_some_and(|smooth| smooth != 0),
        },
        _ => {
            return Err(Error::unsupported(format!(
                "the image in HDU {} is compressed by `{code}`, which is not read",
                hdu.number
            )));
        }
    })
}

/// The value of the ZVALn whose ZNAMEn has this name; without any names that of `keyword`.
fn parameter(hdu: &Hdu, name: &str, keyword: &str) -> Option<i128> {
    let mut n = 1;
    while let Some(found) = hdu.cards.get_text(&format!("ZNAME{n}")) {
        if found.eq_ignore_ascii_case(name) {
            return hdu.cards.get_int(&format!("ZVAL{n}"));
        }
        n += 1;
    }
    (n == 1).then(|| hdu.cards.get_int(keyword))?
}

/// The columns whose rows are not empty.
fn columns(hdu: &Hdu, row_bytes: u64) -> Result<Vec<Column>> {
    const MAX_FIELDS: i128 = 999;
    let n_fields = int(hdu, "TFIELDS")?;
    if !(1..=MAX_FIELDS).contains(&n_fields) {
        return Err(damaged(hdu.number, &format!("TFIELDS is {n_fields}")));
    }
    let text = |keyword: &str, field| hdu.cards.get_text(&format!("{keyword}{field}"));
    let mut columns = Vec::new();
    let mut offset = 0u64;
    for field in 1..=n_fields {
        let form = text("TFORM", field).unwrap_or_default();
        let form = form.trim();
        let bad = || damaged(hdu.number, &format!("TFORM{field} is `{form}`"));
        let digits = form.bytes().take_while(u8::is_ascii_digit).count();
        let repeat: u64 = match digits {
            0 => 1,
            _ => form[..digits].parse().map_err(|_| bad())?,
        };
        let mut letters = form[digits..].chars();
        let letter = letters.next().ok_or_else(bad)?;
        let width = element_bytes(letter).ok_or_else(bad)?;
        let name = text("TTYPE", field).unwrap_or_default();
        let name = name.trim().to_ascii_uppercase();
        let mut element = 0;
        if TILE_COLUMNS.contains(&name.as_str()) {
            let to = letters.next().filter(|to| !matches!(to, 'P' | 'Q'));
            let is_pointer = repeat > 0 && matches!(letter, 'P' | 'Q');
            element = to
                .and_then(element_bytes)
                .filter(|_| is_pointer)
                .ok_or_else(bad)?;
        }
        if repeat > 0 {
            columns.push(Column {
                name,
                offset: usize::try_from(offset).map_err(|_| bad())?,
                letter,
                element_bytes: element,
            });
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
        let what = format!("its columns need {offset} bytes of rows of {row_bytes}");
        return Err(damaged(hdu.number, &what));
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
    let keyword = keyword_of(card);
    // The name that cfitsio gives a table when the image had none.
    let is_made_up = keyword == "EXTNAME" && card.starts_with(b"EXTNAME = 'COMPRESSED_IMAGE'");
    !is_one_of(&keyword, &TABLE_KEYWORDS) && !is_made_up
}

pub(super) fn damaged(number: u32, what: &str) -> Error {
    Error::damaged(format!("the compressed image in HDU {number}: {what}"))
}

fn int(hdu: &Hdu, keyword: &str) -> Result<i128> {
    let value = hdu.cards.get_int(keyword);
    value.ok_or_else(|| {
        damaged(
            hdu.number,
            &format!("{keyword} is missing or not a whole number"),
        )
    })
}

/// A length, which is at least 1.
fn length(hdu: &Hdu, keyword: &str) -> Result<u64> {
    let value = int(hdu, keyword)?;
    let len = i64::try_from(value)
        .ok()
        .and_then(|len| u64::try_from(len).ok());
    len.filter(|&len| len > 0).ok_or_else(|| {
        damaged(
            hdu.number,
            &format!("{keyword} is {value}, expected 1 or more"),
        )
    })
}
