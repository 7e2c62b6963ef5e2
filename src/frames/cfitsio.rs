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
    let Tiled {
        image,
        is_quantized,
    } = tiles::examine(&source, hdu)?;
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
fn store(dtype: DType, words: &[u64], out: &mut [u8]) {
    #[expect(clippy::host_endian_bytes, reason = "cfitsio wrote them so")]
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
