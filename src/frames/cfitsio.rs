//! Tile-compressed images, decompressed by cfitsio: the only file that calls it.
//!
//! cfitsio is not made for hostile files. It is handed only tables that `tiles`
//! has looked over and tiles that `streams` has gone through, on a descriptor that is
//! already open (so its file name syntax never sees a user's name), and one call at a
//! time: its global state is not safe between threads.

#![allow(unsafe_code, reason = "a C library is called")]

use std::ffi::{CString, c_char, c_int, c_long, c_void};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fitsio::sys;

use crate::dtype::DType;
use crate::error::{Context, Error, Result};
use crate::region::MAX_RANK;

use super::cards::{CARD_BYTES, Cards};
use super::fits::{self, Meaning};
use super::hdu::Hdu;
use super::source::Source;
use super::streams::Streams;
use super::tiles::{self, Tiled};
use super::{About, Facts, Frame};

/// Samples are taken from cfitsio at most this many at a time.
const SAMPLES_PER_CALL: usize = 1 << 21;

/// cfitsio reads runs of images with so many axes, and of others boxes.
const MAX_RUN_AXES: usize = 3;

/// Cards of a block; headers fill whole ones.
const BLOCK_CARDS: usize = 36;

/// Held during every call of cfitsio.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn lock() -> MutexGuard<'static, ()> {
    // It guards no data, so a panic elsewhere leaves nothing half done.
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C" {
    /// cfitsio's own way to unpack gzipped tiles, which its bindings leave out.
    fn uncompress2mem_from_mem(
        stream: *mut c_char,
        stream_bytes: usize,
        out: *mut *mut c_char,
        out_bytes: *mut usize,
        grow: Option<unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void>,
        n_bytes: *mut usize,
        status: *mut c_int,
    ) -> c_int;
}

/// Unpacks a gzip stream as cfitsio does, and says how many bytes it holds; `None` when
/// cfitsio cannot, or there is no room for them.
pub(super) fn gunzip(stream: &[u8], room: &mut [u8]) -> Option<u64> {
    let mut out: *mut c_char = room.as_mut_ptr().cast();
    let (mut out_bytes, mut n_bytes, mut status) = (room.len(), 0, 0);
    let _guard = lock();
    // SAFETY: both slices are as long as is said; the stream is read alone. Where `out` is
    // full and nothing makes it larger, the call fails.
    unsafe {
        uncompress2mem_from_mem(
            stream.as_ptr().cast_mut().cast(),
            stream.len(),
            &raw mut out,
            &raw mut out_bytes,
            None,
            &raw mut n_bytes,
            &raw mut status,
        )
    };
    (status == 0).then_some(n_bytes as u64)
}

/// Opens the tile-compressed image in `hdu`.
///
/// # Errors
/// When its table is damaged, or cfitsio cannot read it.
pub(super) fn open(source: Source, hdu: &Hdu) -> Result<Box<dyn Frame>> {
    // cfitsio sees a file from its head on, nothing that is gzipped, and one file only,
    // but several may follow each other in a stream.
    let is_alone = !source.is_inflated() && !source.is_stream();
    let (file_bytes, modified) = (source.file_bytes(), source.modified());
    let (source, seen) = match is_alone {
        true => (source, hdu.clone()),
        false => extracted(&source, hdu)?,
    };
    let Tiled {
        mut image,
        is_quantized,
        streams,
    } = tiles::examine(&source, &seen)?;
    let number = seen.place.number;
    tiles::examine_way(&source, number)?;
    image.place = hdu.place;
    let (facts, meaning, stored) = fits::facts(&source, &image)?;
    let facts = Facts {
        file_bytes,
        modified,
        ..facts
    };
    // A quantized null is NaN, and so is the BLANK of scaled integers. Else cfitsio
    // is not asked to look for nulls: it would make zeros of subnormal floats.
    let wants_nan = is_quantized || matches!(meaning, Meaning::Scaled(_)) && !stored.is_float();
    let n_samples = crate::region::volume(&facts.shape)?;
    let handle = Handle::open(&source, number)?;
    handle.check_image(&image)?;
    Ok(Box::new(TiledFrame {
        handle,
        source,
        about: About {
            facts,
            cards: image.cards,
            notes: Vec::new(),
        },
        wants_nan,
        n_samples,
        streams,
        buffer: Vec::new(),
    }))
}

/// The HDU as the first extension of a file of its own, which has no name.
fn extracted(source: &Source, hdu: &Hdu) -> Result<(Source, Hdu)> {
    let mut header = Cards::default();
    header.push_logical("SIMPLE", true, "");
    header.push_int("BITPIX", 8, "");
    header.push_int("NAXIS", 0, "");
    header.push_logical("EXTEND", true, "");
    let mut head = header.as_bytes().to_vec();
    head.extend(b"END");
    head.resize(BLOCK_CARDS * CARD_BYTES, b' ');
    let mut seen = hdu.clone();
    seen.place.number = 1;
    seen.place.start = head.len() as u64;
    let header_bytes = hdu.data_start - hdu.place.start;
    seen.data_start = seen.place.start + header_bytes;
    let n_bytes = hdu
        .data_bytes
        .checked_add(header_bytes)
        .ok_or_else(|| Error::damaged(format!("HDU {} has no end", hdu.number)))?;
    Ok((source.extract(&head, hdu.place.start, n_bytes)?, seen))
}

struct TiledFrame {
    // Closed before the source, on whose descriptor it stands: fields are dropped
    // in this order.
    handle: Handle,
    source: Source,
    about: About,
    wants_nan: bool,
    n_samples: u64,
    streams: Streams,
    /// Whole words, so that samples of every type are aligned in it.
    buffer: Vec<u64>,
}

impl Frame for TiledFrame {
    fn about(&self) -> &About {
        &self.about
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        fits::check_run(&self.about.facts, self.n_samples, first, out.len())
            .at(self.source.path())?;
        let size = self.about.facts.dtype.size();
        let (mut at, mut out) = (first, out);
        while !out.is_empty() {
            let part = Part::new(&self.about.facts, at, out.len() / size)?;
            let seen = self
                .streams
                .examine(&self.source, at, part.n_samples as u64);
            seen.at(self.source.path())?;
            let (now, later) = out.split_at_mut(part.n_samples * size);
            self.buffer.resize(now.len().div_ceil(8), 0);
            let (dtype, wants_nan) = (self.about.facts.dtype, self.wants_nan);
            let read = self.handle.read(dtype, &part, wants_nan, &mut self.buffer);
            read.at(self.source.path())?;
            store(dtype, &self.buffer, now);
            at += part.n_samples as u64;
            out = later;
        }
        self.source.check_unchanged().at(self.source.path())
    }
}

/// Samples that cfitsio is asked for at once: a box that is a run, too.
struct Part {
    n_samples: usize,
    /// Where on each axis it begins and where it ends, from 1, both ends counted.
    first: [c_long; MAX_RANK],
    last: [c_long; MAX_RANK],
    /// The number of its first sample, from 1, where cfitsio reads runs itself.
    run: Option<i64>,
}

impl Part {
    /// The next part of a run of `n_left` samples from `at` on, which is not empty and
    /// lies inside the image.
    fn new(facts: &Facts, at: u64, n_left: usize) -> Result<Part> {
        let shape = &facts.shape[..];
        let n_most = n_left.min(SAMPLES_PER_CALL);
        let mut part = Part {
            n_samples: n_most,
            first: [1; MAX_RANK],
            last: [1; MAX_RANK],
            run: None,
        };
        let too_far = |_| Error::input(format!("sample {at} is too far"));
        // Of signed bytes cfitsio puts the rows of a run one over the other.
        if shape.len() <= MAX_RUN_AXES && facts.dtype != DType::I8 {
            part.run = Some(i64::try_from(at).map_err(too_far)?.saturating_add(1));
            return Ok(part);
        }
        let mut rest = at;
        for (axis, &len) in shape.iter().enumerate().take(MAX_RANK) {
            let place = c_long::try_from(rest % len).map_err(too_far)?;
            part.first[axis] = place.saturating_add(1);
            rest /= len;
        }
        part.last = part.first;
        // The rest of a row, or whole rows of a plane.
        let (width, height) = (shape[0], shape.get(1).copied().unwrap_or(1));
        let (x, y) = (at % width, at / width % height);
        let n_most = n_most as u64;
        let (n_columns, n_rows) = match x == 0 && n_most >= width {
            true => (width, (n_most / width).min(height - y)),
            false => (n_most.min(width - x), 1),
        };
        for (last, len) in part.last.iter_mut().zip([n_columns, n_rows]) {
            *last += c_long::try_from(len).map_err(too_far)? - 1;
        }
        part.n_samples = usize::try_from(n_columns * n_rows).map_err(too_far)?;
        Ok(part)
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

    fn read(&self, dtype: DType, part: &Part, wants_nan: bool, buffer: &mut [u64]) -> Result<()> {
        let n_samples = part.n_samples;
        let (mut nan32, mut nan64) = (f32::NAN, f64::NAN);
        let null: *mut c_void = match dtype {
            DType::F32 if wants_nan => (&raw mut nan32).cast(),
            DType::F64 if wants_nan => (&raw mut nan64).cast(),
            _ => ptr::null_mut(),
        };
        let does_not_fit = || Error::input(format!("{n_samples} samples do not fit the buffer"));
        let count = i64::try_from(n_samples).map_err(|_| does_not_fit())?;
        let bytes = n_samples.checked_mul(dtype.size());
        // The box is as large as it says: cfitsio counts by its corners.
        let sides = part.first.iter().zip(&part.last);
        let in_box = sides.fold(1, |n: i64, (first, last)| {
            n.saturating_mul(last - first + 1)
        });
        let is_whole = part.run.is_some() || in_box == count;
        if bytes.is_none_or(|bytes| bytes > size_of_val(buffer)) || !is_whole {
            return Err(does_not_fit());
        }
        let mut status = 0;
        let _guard = lock();
        let out = buffer.as_mut_ptr().cast();
        if let Some(start) = part.run {
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
                    out,
                    ptr::null_mut(),
                    &raw mut status,
                )
            };
        } else {
            let (mut first, mut last, mut step) = (part.first, part.last, [1; MAX_RANK]);
            // SAFETY: as above; the box has `count` samples. The image has at most
            // MAX_TILED_AXES axes (`tiles`), and the corners have MAX_RANK.
            unsafe {
                sys::ffgsv(
                    self.0,
                    type_code(dtype),
                    first.as_mut_ptr(),
                    last.as_mut_ptr(),
                    step.as_mut_ptr(),
                    null,
                    out,
                    ptr::null_mut(),
                    &raw mut status,
                )
            };
        }
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
        let tiles = [[1i16, -2, 3, -4], [5, 6, 7, i16::MAX]].map(|tile| {
            let bytes: Vec<u8> = tile.iter().flat_map(|v| v.to_be_bytes()).collect();
            gzipped(&bytes)
        });
        of_tiles("GZIP_1", &tiles)
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The same of tiles that are compressed in this way.
    fn of_tiles(code: &str, tiles: &[Vec<u8>; 2]) -> Vec<u8> {
        let mut bytes = header(&[
            "SIMPLE  =                    T",
            "BITPIX  =                    8",
            "NAXIS   =                    0",
            "EXTEND  =                    T",
        ]);
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
            &format!("ZCMPTYPE= '{code:<8}'"),
            "ZVAL1   =                   32",
            "ZVAL2   =                    2",
            "EXTNAME = 'SCI     '",
            "ZBLANK  =                   -4",
        ]));
        let mut offset = 0u32;
        for tile in tiles {
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
                "TFORM1  = '1PB(40)'",
                "TFORM1  = '001PB' ",
                "TFORM1 is `001PB`",
            ),
            (
                "TFORM1  = '1PB(40)'",
                "TFORM1  = ' 1PB'  ",
                "TFORM1 is `1PB`",
            ),
            (
                "TFORM1  = '1PB(40)'",
                "TFORM1  = '0PB'   ",
                "TFORM1 is `0PB`",
            ),
            (
                "TFORM1  = '1PB(40)'",
                "TFORM1  = 'QPB'   ",
                "TFORM1 is `QPB`",
            ),
            (
                "TFORM1  = '1PB(40)'",
                "TFORM1  = '1PI(40)'",
                "COMPRESSED_DATA has elements of 2 bytes, expected 1",
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
        let says = refusal(&bytes);
        assert!(
            says.contains("tile 0 is no gzip stream of at most 32 bytes"),
            "{says}"
        );
    }

    #[test]
    fn a_tile_that_is_too_short_or_holds_too_much_never_reaches_cfitsio() {
        // The first sample, and four bits: all others are the same.
        let good = [vec![0, 7, 0], vec![0, 8, 0]];
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&of_tiles("RICE_1", &good)).unwrap();
        let mut frame = open(file.path(), &HduChoice::FirstImage).unwrap();
        let mut out = [0; 16];
        frame.read(0, &mut out).unwrap();
        assert_eq!(out, [7, 0, 7, 0, 7, 0, 7, 0, 8, 0, 8, 0, 8, 0, 8, 0]);
        let short = [vec![0, 7, 0], vec![0, 8]];
        let says = refusal(&of_tiles("RICE_1", &short));
        assert!(
            says.contains("tile 1 ends after 2 bytes, before its 4 samples"),
            "{says}"
        );
        let long = [vec![0, 7, 0], vec![0; 1 << 17]];
        let says = refusal(&of_tiles("RICE_1", &long));
        assert!(
            says.contains("tile 1 has 131072 elements for 4 samples"),
            "{says}"
        );
        let good = gzipped(&[0; 8]);
        for (n_bytes, says) in [
            (1 << 20, "tile 1 is no gzip stream of at most 32 bytes"),
            (12, "tile 1 holds 12 bytes, which are no 4 samples"),
        ] {
            let tiles = [good.clone(), gzipped(&vec![0; n_bytes])];
            let error = refusal(&of_tiles("GZIP_2", &tiles));
            assert!(error.contains(says), "{error}");
        }
        let says = refusal(&of_tiles("HCOMPRESS_1", &[vec![0; 40], vec![0; 40]]));
        assert!(says.contains("tile 0 claims 0 samples"), "{says}");
    }
}
