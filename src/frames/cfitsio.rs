//! Tile-compressed images, decompressed by cfitsio: the only file that calls it.
//!
//! cfitsio is not made for hostile files. It is handed only tables that `tiles`
//! has looked over, on a descriptor that is already open (so its file name syntax
//! never sees a user's name), and one call at a time: its global state is not
//! safe between threads. What `tiles` cannot see is the bit stream of an HCOMPRESS
//! tile, which this version of cfitsio reads without an end.

#![allow(unsafe_code, reason = "a C library is called")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fitsio::sys;

use crate::dtype::DType;
use crate::error::{Context, Error, Result};

use super::cards::Cards;
use super::fits::{self, Meaning};
use super::hdu::Hdu;
use super::source::Source;
use super::tiles::{self, Tiled};
use super::{Facts, Frame};

/// Samples are taken from cfitsio at most this many at a time.
const SAMPLES_PER_CALL: usize = 1 << 21;

/// Held during every call of cfitsio.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn lock() -> MutexGuard<'static, ()> {
    // It guards no data, so a panic elsewhere leaves nothing half done.
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the tile-compressed image in `hdu`.
///
/// # Errors
/// When its table is damaged, or cfitsio cannot read it.
pub(super) fn open(source: Source, hdu: &Hdu) -> Result<Box<dyn Frame>> {
    if source.is_inflated() {
        return Err(Error::unsupported(format!(
            "HDU {} is a tile-compressed image in a gzipped file",
            hdu.number
        ))
        .hint("gunzip it first"));
    }
    // cfitsio sees the file from its head on, and one file only.
    if hdu.place.part != hdu.place.number {
        return Err(Error::unsupported(
            "a tile-compressed image behind the first file of a stream is not read",
        )
        .hint("name the files, or funpack them"));
    }
    let Tiled {
        image,
        is_quantized,
    } = tiles::examine(&source, hdu)?;
    tiles::examine_way(&source, hdu.number)?;
    let (facts, meaning, stored) = fits::facts(&source, &image)?;
    // A quantized null is NaN, and so is the BLANK of scaled integers. Else cfitsio
    // is not asked to look for nulls: it would make zeros of subnormal floats.
    let wants_nan = is_quantized || matches!(meaning, Meaning::Scaled(_)) && !stored.is_float();
    let n_samples = crate::region::volume(&facts.shape)?;
    let handle = Handle::open(&source, hdu.number)?;
    handle.check_image(&image)?;
    Ok(Box::new(TiledFrame {
        handle,
        source,
        facts,
        cards: image.cards,
        wants_nan,
        n_samples,
        buffer: Vec::new(),
    }))
}

struct TiledFrame {
    // Closed before the source, on whose descriptor it stands: fields are dropped
    // in this order.
    handle: Handle,
    source: Source,
    facts: Facts,
    cards: Cards,
    wants_nan: bool,
    n_samples: u64,
    /// Whole words, so that samples of every type are aligned in it.
    buffer: Vec<u64>,
}

impl Frame for TiledFrame {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn cards(&self) -> &Cards {
        &self.cards
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        fits::check_run(&self.facts, self.n_samples, first, out.len()).at(self.source.path())?;
        let size = self.facts.dtype.size();
        let mut at = first;
        for out in out.chunks_mut(SAMPLES_PER_CALL * size) {
            let n_samples = out.len() / size;
            self.buffer.resize(out.len().div_ceil(8), 0);
            let (dtype, wants_nan) = (self.facts.dtype, self.wants_nan);
            let read = self
                .handle
                .read(dtype, at, n_samples, wants_nan, &mut self.buffer);
            read.at(self.source.path())?;
            store(dtype, &self.buffer, out);
            at += n_samples as u64;
        }
        self.source.check_unchanged().at(self.source.path())
    }
}

/// Writes the machine's samples little-endian.
#[allow(clippy::host_endian_bytes, reason = "cfitsio wrote them so")]
fn store(dtype: DType, words: &[u64], out: &mut [u8]) {
    for (word, out) in words.iter().zip(out.chunks_mut(8)) {
        out.copy_from_slice(&word.to_ne_bytes()[..out.len()]);
    }
    if cfg!(target_endian = "big") {
        crate::kernels::swap::swap_in_place(out, dtype.size());
    }
}

/// A file that cfitsio has open.
struct Handle(*mut sys::fitsfile);

// SAFETY: the pointer is owned by this handle alone, cfitsio keeps nothing in
// thread-local storage, and every call is made under ONE_AT_A_TIME.
unsafe impl Send for Handle {}

impl Handle {
    /// Opens the file that `source` has open, at the HDU of this number.
    fn open(source: &Source, number: u32) -> Result<Handle> {
        let name = CString::new(format!("/dev/fd/{}", source.descriptor()))
            .map_err(|_| Error::input("the name of the file holds a zero byte"))?;
        let mut handle = Handle(ptr::null_mut());
        let mut status = 0;
        let position = c_int::try_from(number)
            .ok()
            .and_then(|number| number.checked_add(1))
            .ok_or_else(|| Error::unsupported(format!("HDU {number} is too far")))?;
        let _guard = lock();
        #[expect(clippy::cast_possible_wrap, reason = "a flag, as C has it")]
        let mode = sys::READONLY as c_int;
        // SAFETY: the name ends in a zero byte and outlives the call; the pointers
        // are to this function's own variables. `ffdkopn` takes the name as it is.
        unsafe { sys::ffdkopn(&raw mut handle.0, name.as_ptr(), mode, &raw mut status) };
        check(status, "cannot open the compressed image")?;
        // SAFETY: the file was opened above; HDU types are optional.
        unsafe { sys::ffmahd(handle.0, position, ptr::null_mut(), &raw mut status) };
        // Should this fail, the guard goes before the handle, which locks again.
        check(status, "cannot read the compressed image")?;
        Ok(handle)
    }

    /// Sees that cfitsio means the same image as we do: buffers are sized by ours.
    fn check_image(&self, image: &Hdu) -> Result<()> {
        let (mut bitpix, mut n_axes, mut status) = (0, 0, 0);
        let mut axes = [0 as sys::LONGLONG; 8];
        let _guard = lock();
        // SAFETY: the file is open; `axes` has room for as many as are asked for.
        unsafe {
            sys::ffgidt(self.0, &raw mut bitpix, &raw mut status);
            sys::ffgidm(self.0, &raw mut n_axes, &raw mut status);
            sys::ffgiszll(self.0, 8, axes.as_mut_ptr(), &raw mut status);
        }
        check(status, "cannot read the compressed image")?;
        let same_axes = usize::try_from(n_axes) == Ok(image.axes.len())
            && (image.axes.iter().zip(axes)).all(|(&len, other)| i64::try_from(len) == Ok(other));
        if bitpix != image.bitpix || !same_axes {
            return Err(Error::damaged(format!(
                "the compressed image in HDU {} is not the one its header tells of",
                image.number
            )));
        }
        Ok(())
    }

    fn read(
        &self,
        dtype: DType,
        first: u64,
        n_samples: usize,
        wants_nan: bool,
        buffer: &mut [u64],
    ) -> Result<()> {
        let (mut nan32, mut nan64) = (f32::NAN, f64::NAN);
        let null: *mut c_void = match dtype {
            DType::F32 if wants_nan => (&raw mut nan32).cast(),
            DType::F64 if wants_nan => (&raw mut nan64).cast(),
            _ => ptr::null_mut(),
        };
        let too_far = |_| Error::input(format!("sample {first} is too far"));
        let start = i64::try_from(first).map_err(too_far)?.saturating_add(1);
        let count = i64::try_from(n_samples).map_err(too_far)?;
        if n_samples
            .checked_mul(dtype.size())
            .is_none_or(|bytes| bytes > size_of_val(buffer))
        {
            return Err(Error::input(format!(
                "{n_samples} samples do not fit the buffer"
            )));
        }
        let mut status = 0;
        let _guard = lock();
        // SAFETY: the file is open. `buffer` is aligned for every type and was seen
        // above to hold `count` samples of the type named; `null` is nothing or
        // points to a sample of that type that outlives the call.
        unsafe {
            sys::ffgpv(
                self.0,
                type_code(dtype),
                start,
                count,
                null,
                buffer.as_mut_ptr().cast(),
                ptr::null_mut(),
                &raw mut status,
            )
        };
        check(status, "cannot decompress the image")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.is_null() {
            return;
        }
        let mut status = 0;
        let _guard = lock();
        // SAFETY: the file is open, and nobody uses it after this.
        unsafe { sys::ffclos(self.0, &raw mut status) };
    }
}

#[expect(clippy::cast_possible_wrap, reason = "small codes, as C has them")]
fn type_code(dtype: DType) -> c_int {
    (match dtype {
        DType::U8 => sys::TBYTE,
        DType::I8 => sys::TSBYTE,
        DType::U16 => sys::TUSHORT,
        DType::I16 => sys::TSHORT,
        DType::U32 => sys::TUINT,
        DType::I32 => sys::TINT,
        DType::U64 => sys::TULONGLONG,
        DType::I64 => sys::TLONGLONG,
        DType::F32 => sys::TFLOAT,
        DType::F64 => sys::TDOUBLE,
    }) as c_int
}

/// Turns cfitsio's status into our error. The caller holds the lock.
fn check(status: c_int, doing: &str) -> Result<()> {
    if status == 0 {
        return Ok(());
    }
    let mut text = [0 as c_char; sys::FLEN_STATUS as usize];
    // SAFETY: the texts have less than FLEN_STATUS bytes, the zero at the end
    // included. The stack of messages is emptied for the next call.
    unsafe {
        sys::ffgerr(status, text.as_mut_ptr());
        sys::ffcmsg();
    }
    #[expect(clippy::cast_sign_loss, reason = "bytes of a C string")]
    let bytes: Vec<u8> = text
        .iter()
        .map(|&c| c as u8)
        .take_while(|&c| c != 0)
        .collect();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Err(Error::damaged(format!(
        "{doing}: {text} (cfitsio status {status})"
    )))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use crate::frames::{HduChoice, open};

    /// An int16 image of 4 x 2, each row a gzipped tile, in HDU 1.
    fn compressed() -> Vec<u8> {
        let mut bytes = header(&[
            "SIMPLE  =                    T",
            "BITPIX  =                    8",
            "NAXIS   =                    0",
            "EXTEND  =                    T",
        ]);
        let tiles = [[1i16, -2, 3, -4], [5, 6, 7, i16::MAX]].map(|tile| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            let bytes: Vec<u8> = tile.iter().flat_map(|v| v.to_be_bytes()).collect();
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap()
        });
        bytes.extend(header(&[
            "XTENSION= 'BINTABLE'",
            "BITPIX  =                    8",
            "NAXIS   =                    2",
            "NAXIS1  =                    8",
            "NAXIS2  =                    2",
            &format!("PCOUNT  = {:20}", tiles.concat().len()),
            "GCOUNT  =                    1",
            "TFIELDS =                    1",
            "TTYPE1  = 'COMPRESSED_DATA'",
            "TFORM1  = '1PB(40)'",
            "ZIMAGE  =                    T",
            "ZBITPIX =                   16",
            "ZNAXIS  =                    2",
            "ZNAXIS1 =                    4",
            "ZNAXIS2 =                    2",
            "ZTILE1  =                    4",
            "ZTILE2  =                    1",
            "ZCMPTYPE= 'GZIP_1  '",
            "EXTNAME = 'SCI     '",
            "ZBLANK  =                   -4",
        ]));
        let mut offset = 0u32;
        for tile in &tiles {
            let len = u32::try_from(tile.len()).unwrap();
            bytes.extend([len.to_be_bytes(), offset.to_be_bytes()].concat());
            offset += len;
        }
        bytes.extend(tiles.concat());
        bytes.resize(bytes.len().next_multiple_of(2880), 0);
        bytes
    }

    fn header(lines: &[&str]) -> Vec<u8> {
        let lines = lines.iter().chain(&["END"]);
        let mut bytes: Vec<u8> = lines
            .flat_map(|line| format!("{line:<80}").into_bytes())
            .collect();
        bytes.resize(bytes.len().next_multiple_of(2880), b' ');
        bytes
    }

    fn refusal(bytes: &[u8]) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let result = open(file.path(), &HduChoice::FirstImage).and_then(|mut frame| {
            let mut out = [0; 16];
            frame.read(0, &mut out)
        });
        result.unwrap_err().to_string()
    }

    fn replaced(old: &str, new: &str) -> Vec<u8> {
        let mut bytes = compressed();
        let windows = bytes.windows(old.len());
        let at = windows.into_iter().position(|part| part == old.as_bytes());
        let at = at.unwrap();
        bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
        bytes
    }

    #[test]
    fn tiles_are_decompressed_and_the_header_is_the_images_own() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&compressed()).unwrap();
        let mut frame = open(file.path(), &HduChoice::parse("SCI").unwrap()).unwrap();
        assert_eq!(frame.facts().shape, [4, 2]);
        assert_eq!((frame.facts().blank, frame.facts().part), (Some(-4), 1));
        let mut out = [0; 10];
        frame.read(3, &mut out).unwrap();
        let samples = out
            .as_chunks::<2>()
            .0
            .iter()
            .map(|v| i16::from_le_bytes(*v));
        assert_eq!(samples.collect::<Vec<_>>(), [-4, 5, 6, 7, i16::MAX]);
        assert!(frame.read(4, &mut out).is_err());
        let cards = frame.cards();
        assert_eq!(cards.get_int("NAXIS1"), Some(4));
        assert_eq!(cards.get_int("BITPIX"), Some(16));
        assert_eq!(cards.get_int("BLANK"), Some(-4));
        assert_eq!(cards.get_text("EXTNAME").as_deref(), Some("SCI"));
        assert_eq!(cards.len(), 9);
    }

    #[test]
    fn tables_that_lie_never_reach_cfitsio() {
        for (old, new, error) in [
            (
                "ZNAXIS1 =                    4",
                "ZNAXIS1 =                   -4",
                "ZNAXIS1 is -4",
            ),
            (
                "ZNAXIS2 =                    2",
                "ZNAXIS2 =                    3",
                "2 rows for 3 tiles",
            ),
            (
                "ZTILE1  =                    4",
                "ZTILE1  =           4000000000",
                "a tile has 4000000000 samples",
            ),
            (
                "ZBITPIX =                   16",
                "ZBITPIX =                   17",
                "ZBITPIX is 17",
            ),
            ("'GZIP_1  '", "'BZIP2_1 '", "is compressed by `BZIP2_1`"),
            (
                "'COMPRESSED_DATA'",
                "'COMPRESSED_DOTA'",
                "no column COMPRESSED_DATA",
            ),
            (
                "TFORM1  = '1PB(40)'",
                "TFORM1  = '9PB(40)'",
                "its columns need 72 bytes of rows of 8",
            ),
            (
                "PCOUNT  =                   ",
                "PCOUNT  =               9999",
                "but the file ends at byte",
            ),
        ] {
            let says = refusal(&replaced(old, new));
            assert!(says.contains(error), "{says}");
        }
        let mut bytes = compressed();
        let row = 2880 * 2;
        bytes[row] = 0x7f;
        assert!(refusal(&bytes).contains("is outside its heap"));
        bytes[row] = 0xff;
        assert!(refusal(&bytes).contains("is outside its heap"));
    }

    #[test]
    fn a_damaged_tile_is_an_error() {
        let mut bytes = compressed();
        let heap = 2880 * 2 + 16;
        bytes[heap..heap + 15].fill(0xee);
        assert!(refusal(&bytes).contains("cannot decompress the image"));
    }
}
