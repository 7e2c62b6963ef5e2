//! FITS images out: one primary image, streamed, as the FITS Standard 4.0 has it.
//!
//! The cards that say how the data are laid out are always ours; cards of the
//! same names that came with the image are dropped ([`image_cards`]). Samples
//! are big-endian in the file; unsigned and signed-byte types are stored offset
//! by BZERO, which flips the top bit and loses nothing. CHECKSUM and DATASUM are
//! put in at the end where the target is a file; a table may follow the image.

mod clean;
mod hdu;
mod packed;
mod rice;

pub use packed::PackedSink;

use super::output::{Output, Target};
use super::table::{Kind, Table};
use super::{Encoding, Image, Remaining, Sink};
use crate::dtype::DType;
use crate::error::{Context, Error, Result};
use crate::frames::cards::{Cards, is_one_of, keyword_of};
use crate::kernels::checksum::Sum;
use clean::clean;
use hdu::Hdu;

/// Headers and data are filled up to a multiple of this.
const BLOCK_BYTES: usize = 2880;

/// Keywords that describe the layout of another file, not of the one written.
/// Names as [`is_one_of`] takes them.
const LAYOUT_KEYWORDS: [&str; 21] = [
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS#", "PCOUNT", "GCOUNT", "GROUPS", "EXTEND",
    "BLOCKED", "BZERO", "BSCALE", "BLANK", "CHECKSUM", "DATASUM", "THEAP", "TFIELDS", "TFORM#",
    "TTYPE#", "INHERIT", "END",
];

/// Keywords of a tile-compressed image, which mean something else without ZIMAGE.
const COMPRESSION_KEYWORDS: [&str; 22] = [
    "ZIMAGE", "ZTENSION", "ZSIMPLE", "ZEXTEND", "ZBLOCKED", "ZBITPIX", "ZNAXIS", "ZNAXIS#",
    "ZPCOUNT", "ZGCOUNT", "ZTILE#", "ZCMPTYPE", "ZNAME#", "ZVAL#", "ZQUANTIZ", "ZDITHER0",
    "ZMASKCMP", "ZBLANK", "ZHECKSUM", "ZDATASUM", "ZSCALE", "ZZERO",
];

/// The cards that still hold for the image alone: all but those that lay out
/// the file, checksum it, compress it or, like INHERIT, belong to extensions.
/// DATAMIN, DATAMAX, EXTNAME and EXTVER stay.
pub fn image_cards(cards: &Cards) -> Cards {
    let compressed = cards.get("ZIMAGE").is_some();
    let mut kept = cards.clone();
    kept.retain(|card| {
        let keyword = keyword_of(card);
        let is_layout = is_one_of(&keyword, &LAYOUT_KEYWORDS)
            || compressed && is_one_of(&keyword, &COMPRESSION_KEYWORDS);
        !is_layout
    });
    kept
}

/// How a type is stored: BITPIX, and the BZERO that makes it unsigned (or, for
/// bytes, signed).
pub fn stored(dtype: DType) -> (i32, i128) {
    match dtype {
        DType::U8 => (8, 0),
        DType::I8 => (8, -(1 << 7)),
        DType::I16 => (16, 0),
        DType::U16 => (16, 1 << 15),
        DType::I32 => (32, 0),
        DType::U32 => (32, 1 << 31),
        DType::I64 => (64, 0),
        DType::U64 => (64, 1 << 63),
        DType::F32 => (-32, 0),
        DType::F64 => (-64, 0),
    }
}

/// A FITS image that is being written.
pub struct FitsSink {
    output: Output,
    remaining: Remaining,
    encoding: Encoding,
    /// The image; none when it is whole.
    image: Option<Hdu>,
    /// Where the next HDU begins.
    next: u64,
}

impl FitsSink {
    /// Opens the target and writes the header.
    ///
    /// # Errors
    /// When the target cannot be written, or the size overflows.
    pub fn create(target: &Target, image: &Image) -> Result<FitsSink> {
        FitsSink::begin(Output::create(target)?, image)
    }

    /// Opens the target for a file that is compressed by gzip, and writes the
    /// header.
    ///
    /// # Errors
    /// As [`FitsSink::create`].
    pub fn create_gzip(target: &Target, image: &Image) -> Result<FitsSink> {
        FitsSink::begin(Output::create_gzip(target)?, image)
    }

    fn begin(mut output: Output, image: &Image) -> Result<FitsSink> {
        let remaining = Remaining::new(image.bytes()?, image.dtype);
        let hdu = Hdu::begin(&mut output, 0, header(image))?;
        let encoding = Encoding {
            size: image.dtype.size(),
            flips: stored(image.dtype).1 != 0,
            is_summed: hdu.is_summed(),
        };
        Ok(FitsSink {
            output,
            remaining,
            encoding,
            image: Some(hdu),
            next: 0,
        })
    }

    /// Completes the image, once.
    fn finish_image(&mut self) -> Result<()> {
        self.remaining.finish().at(self.output.name())?;
        if let Some(image) = self.image.take() {
            self.next = image.finish(&mut self.output)?;
        }
        Ok(())
    }
}

impl Sink for FitsSink {
    fn write(&mut self, samples: &[u8]) -> Result<()> {
        let mut bytes = samples.to_vec();
        let sum = self.encoding.encode(&mut bytes);
        self.write_encoded(&bytes, sum)
    }

    fn encoding(&self) -> Option<Encoding> {
        Some(self.encoding)
    }

    fn write_encoded(&mut self, bytes: &[u8], sum: Sum) -> Result<()> {
        self.remaining.take(bytes).at(self.output.name())?;
        match &mut self.image {
            Some(image) => image.write_summed(&mut self.output, bytes, sum),
            None => Ok(()),
        }
    }

    fn table(
        &mut self,
        table: &Table,
        rows: &mut dyn Iterator<Item = Result<Vec<u8>>>,
    ) -> Result<()> {
        self.finish_image()?;
        self.next = write_table(&mut self.output, self.next, table, rows)?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.finish_image()?;
        self.output.finish()
    }
}

/// Writes a table as an HDU that begins at `at`; says where the next one begins.
fn write_table(
    output: &mut Output,
    at: u64,
    table: &Table,
    rows: &mut dyn Iterator<Item = Result<Vec<u8>>>,
) -> Result<u64> {
    let mut hdu = Hdu::begin(output, at, table_header(table).as_bytes().to_vec())?;
    let mut written = 0;
    for rows in rows {
        let rows = rows?;
        hdu.write(output, &rows)?;
        written += rows.len() as u64;
    }
    let expected = table.n_rows.checked_mul(table.row_bytes() as u64);
    if expected != Some(written) {
        return Err(Error::input(format!(
            "{written} bytes are not {} rows of {}",
            table.n_rows,
            table.row_bytes()
        )));
    }
    hdu.finish(output)
}

/// Lengths of the axes; NAXIS = 0 would mean that there are no data.
fn axes(image: &Image) -> &[u64] {
    match &image.shape[..] {
        [] => &[1],
        shape => shape,
    }
}

/// The cards of an image, without END.
fn header(image: &Image) -> Vec<u8> {
    let (bitpix, _) = stored(image.dtype);
    let shape = axes(image);
    let mut cards = Cards::default();
    cards.push_logical("SIMPLE", true, "standard FITS image");
    cards.push_int(
        "BITPIX",
        bitpix.into(),
        "bits of a sample, negative for floats",
    );
    cards.push_int("NAXIS", shape.len() as i128, "number of axes");
    for (axis, &len) in shape.iter().enumerate() {
        cards.push_int(&format!("NAXIS{}", axis + 1), len.into(), "");
    }
    cards.push_logical("EXTEND", true, "extensions may follow");
    let mut bytes = cards.as_bytes().to_vec();
    bytes.extend(meaning(image));
    bytes
}

/// The cards that say what stored samples mean, and those that came with the image.
fn meaning(image: &Image) -> Vec<u8> {
    let (_, zero) = stored(image.dtype);
    let mut cards = Cards::default();
    if zero != 0 {
        cards.push_int("BSCALE", 1, "");
        let what = format!("samples are {}", image.dtype);
        cards.push_int("BZERO", zero, &what);
    }
    // A blank that the type cannot hold is the value of no sample.
    let blank = image
        .blank
        .filter(|&blank| image.dtype.bits_of_int(blank).is_some());
    if let Some(blank) = blank {
        cards.push_int(
            "BLANK",
            blank - zero,
            "stored value of samples without data",
        );
    }
    let mut bytes = cards.as_bytes().to_vec();
    for card in image_cards(&image.cards).iter() {
        bytes.extend_from_slice(&clean(card));
    }
    bytes
}

/// The cards of a binary table, without END.
fn table_header(table: &Table) -> Cards {
    let mut cards = Cards::default();
    cards.push_text("XTENSION", "BINTABLE", "binary table");
    cards.push_int("BITPIX", 8, "");
    cards.push_int("NAXIS", 2, "");
    cards.push_int("NAXIS1", table.row_bytes() as i128, "bytes of a row");
    cards.push_int("NAXIS2", table.n_rows.into(), "number of rows");
    cards.push_int("PCOUNT", 0, "");
    cards.push_int("GCOUNT", 1, "");
    cards.push_int("TFIELDS", table.columns.len() as i128, "number of columns");
    cards.push_text("EXTNAME", &table.name, "");
    for (column, number) in table.columns.iter().zip(1..) {
        let (form, null) = match column.kind {
            Kind::Logical => ("L".to_string(), None),
            Kind::Int32 => ("J".to_string(), Some(i32::MIN.into())),
            Kind::Int64 => ("K".to_string(), Some(i64::MIN.into())),
            Kind::Real => ("D".to_string(), None),
            Kind::Text(width) => (format!("{width}A"), None),
        };
        cards.push_text(&format!("TTYPE{number}"), &column.name, &column.comment);
        cards.push_text(&format!("TFORM{number}"), &form, "");
        if let Some(null) = null {
            cards.push_int(&format!("TNULL{number}"), null, "");
        }
    }
    cards
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards(lines: &[&str]) -> Cards {
        let text: String = lines.iter().map(|line| format!("{line:<80}")).collect();
        Cards::from_bytes(text.into_bytes())
    }

    fn write(image: &Image, samples: &[u8]) -> Result<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        let target = Target::from_path(&path, false);
        let mut sink = Box::new(FitsSink::create(&target, image)?);
        sink.write(samples)?;
        sink.finish()?;
        Ok(std::fs::read(&path).unwrap())
    }

    fn image(shape: &[u64], dtype: DType, blank: Option<i128>) -> Image {
        Image {
            shape: shape.to_vec(),
            dtype,
            blank,
            cards: Cards::default(),
        }
    }

    #[test]
    fn unsigned_samples_are_stored_offset_and_big_endian() {
        let image = image(&[3, 1], DType::U16, Some(65535));
        let bytes = write(&image, &[0, 0, 1, 128, 255, 255]).unwrap();
        assert_eq!(bytes.len(), 2 * BLOCK_BYTES);
        let header = Cards::from_bytes(bytes[..BLOCK_BYTES].to_vec());
        assert_eq!(header.get_int("BITPIX"), Some(16));
        assert_eq!(header.get_int("NAXIS1"), Some(3));
        assert_eq!(header.get_int("BZERO"), Some(32768));
        assert_eq!(header.get_int("BLANK"), Some(32767));
        let data = &bytes[BLOCK_BYTES..];
        assert_eq!(data[..6], [0x80, 0, 0, 1, 0x7f, 0xff]);
        assert!(data[6..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn signed_bytes_and_the_largest_offsets_are_written_exactly() {
        let bytes = write(&image(&[2], DType::I8, Some(-128)), &[0x80, 0x7f]).unwrap();
        let header = Cards::from_bytes(bytes[..BLOCK_BYTES].to_vec());
        assert_eq!(header.get_int("BZERO"), Some(-128));
        assert_eq!(header.get_int("BLANK"), Some(0));
        assert_eq!(bytes[BLOCK_BYTES..][..2], [0, 255]);

        let bytes = write(&image(&[1], DType::U64, Some(0)), &[1; 8]).unwrap();
        let header = Cards::from_bytes(bytes[..BLOCK_BYTES].to_vec());
        assert_eq!(header.get_int("BZERO"), Some(1 << 63));
        assert_eq!(header.get_int("BLANK"), Some(-(1 << 63)));
    }

    #[test]
    fn an_image_without_samples_or_axes_is_still_an_image() {
        assert_eq!(
            write(&image(&[0, 5], DType::F32, None), &[]).unwrap().len(),
            2880
        );
        let bytes = write(&image(&[], DType::U8, None), &[7]).unwrap();
        assert_eq!(bytes[2880], 7);
    }

    #[test]
    fn the_number_of_samples_must_be_that_of_the_shape() {
        let image = image(&[2, 2], DType::F32, None);
        assert!(write(&image, &[0; 12]).is_err());
        assert!(write(&image, &[0; 20]).is_err());
        assert!(write(&image, &[0; 15]).is_err());
        let mut huge = image;
        huge.shape = vec![u64::MAX, 2];
        assert!(write(&huge, &[]).is_err());
    }

    #[test]
    fn cards_of_another_layout_are_dropped() {
        let kept = image_cards(&cards(&[
            "XTENSION= 'BINTABLE'",
            "NAXIS1  = 8",
            "NAXIS   = 2",
            "NAXISX  = 3",
            "TFORM1  = '1PB(&'",
            "CONTINUE  '4)'",
            "ZIMAGE  = T",
            "ZTILE1  = 100",
            "ZSCALE  = 1.0",
            "EXTNAME = 'SCI'",
            "INHERIT = T",
            "DATAMAX = 3.0",
            "COMMENT NAXIS1",
        ]));
        let names: Vec<_> = kept
            .iter()
            .map(|card| keyword_of(card).into_owned())
            .collect();
        assert_eq!(names, ["NAXISX", "EXTNAME", "DATAMAX", "COMMENT"]);
        let plain = cards(&["ZSCALE  = 1.0"]);
        assert_eq!(image_cards(&plain), plain);
    }

    #[test]
    fn cards_are_written_in_the_characters_of_the_standard() {
        let mut bytes = cards(&["object  = 'a\nb'", "A B     = 1", "HISTORY \t"]);
        bytes = Cards::from_bytes([bytes.as_bytes(), &[0xe9; 80]].concat());
        let lines: Vec<String> = bytes
            .iter()
            .map(|card| String::from_utf8(clean(card).to_vec()).unwrap())
            .collect();
        assert_eq!(lines[0].trim_end(), "OBJECT  = 'a b'");
        assert_eq!(lines[1].trim_end(), "COMMENT A B     = 1");
        assert_eq!(lines[2].trim_end(), "HISTORY");
        assert!(lines[3].starts_with("COMMENT ????"));
    }
}
