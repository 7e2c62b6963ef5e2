//! Samples that lie in a file as they are, row after row: NumPy arrays, and what
//! the user says is one.

use std::path::Path;

use crate::dtype::DType;
use crate::error::{Context, Error, Result};
use crate::kernels::swap::swap_in_place;
use crate::region::{MAX_RANK, show_shape, volume};

use super::cards::Cards;
use super::source::Source;
use super::tiff::widen_half;
use super::{About, Facts, Frame, check_rank};

/// The longest header of a NumPy array: those of plain arrays have 128 bytes.
const MAX_HEADER_BYTES: usize = 1 << 16;

/// Halves are widened by way of a buffer of so many.
const HALVES: usize = 1 << 15;

/// Where samples lie in a file that does not say so itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Lengths of the axes, the fastest first.
    pub shape: Vec<u64>,
    /// Type of the samples.
    pub dtype: DType,
    /// Are they big-endian?
    pub is_big_endian: bool,
    /// Bytes before the first one.
    pub offset: u64,
}

impl Layout {
    /// Reads `2048x2048,uint16`, x first, with `,big` and `,offset=N` behind it.
    ///
    /// # Errors
    /// When the text is not of that form.
    pub fn parse(text: &str) -> Result<Layout> {
        let bad = |what: String| {
            Error::input(what)
                .hint("such as 2048x2048,uint16 or 640x480x100,float32,big,offset=512")
        };
        let mut parts = text.split(',').map(str::trim);
        let shape = parts.next().unwrap_or_default();
        let lens: Option<Vec<u64>> = shape
            .split(['x', 'X'])
            .map(|len| len.trim().parse().ok().filter(|&len| len > 0))
            .collect();
        let lens = lens.filter(|lens| lens.len() <= MAX_RANK);
        let dtype = parts.next().unwrap_or_default();
        let mut layout = Layout {
            shape: lens.ok_or_else(|| bad(format!("cannot read `{shape}` as a shape")))?,
            dtype: DType::from_name(dtype)
                .ok_or_else(|| bad(format!("cannot read `{dtype}` as a type")))?,
            is_big_endian: false,
            offset: 0,
        };
        for part in parts {
            match (part, part.strip_prefix("offset=").map(str::parse)) {
                ("big", _) => layout.is_big_endian = true,
                ("little", _) => layout.is_big_endian = false,
                (_, Some(Ok(offset))) => layout.offset = offset,
                _ => return Err(bad(format!("cannot read `{part}` of a raw layout"))),
            }
        }
        volume(&layout.shape)?;
        Ok(layout)
    }
}

/// How samples are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    /// As they are.
    Plain,
    /// As floats of 16 bits.
    Half,
}

/// Opens a file whose layout the user gave.
///
/// # Errors
/// When the file is not exactly so long.
pub(super) fn raw(source: Source, layout: &Layout) -> Result<Box<dyn Frame>> {
    let bytes = volume(&[volume(&layout.shape)?, layout.dtype.size() as u64])?;
    let needed = bytes.checked_add(layout.offset);
    if needed != Some(source.file_bytes()) {
        return Err(Error::input(format!(
            "has {} bytes, but {} of {} from byte {} end at byte {}",
            source.file_bytes(),
            show_shape(&layout.shape),
            layout.dtype,
            layout.offset,
            needed.map_or("2^64".to_string(), |needed| needed.to_string())
        ))
        .hint("--raw says the shape, x first, the type, and ,offset=N where a header is to be skipped")
        .at(source.path()));
    }
    let path = source.path().to_path_buf();
    ArrayFrame::open(source, layout.clone(), Stored::Plain, Vec::new()).at(&path)
}

/// Opens a NumPy array; its last axis is x, in Fortran order its first one.
///
/// # Errors
/// When the header is none, or the array is of a type that is not read.
pub(super) fn npy(source: Source) -> Result<Box<dyn Frame>> {
    let path = source.path().to_path_buf();
    open_npy(source, &path).at(&path)
}

fn open_npy(source: Source, path: &Path) -> Result<Box<dyn Frame>> {
    // Magic, version, and length of the header: 2 bytes, from version 2 on 4.
    let mut head = [0; 12];
    let short = |error: Error| error.within("its NumPy header");
    source.read_at(0, &mut head[..10]).map_err(short)?;
    let (start, len) = match head[6] {
        1 => (10, u32::from(u16::from_le_bytes([head[8], head[9]]))),
        2 | 3 => {
            source.read_at(0, &mut head).map_err(short)?;
            let [.., a, b, c, d] = head;
            (12, u32::from_le_bytes([a, b, c, d]))
        }
        version => {
            return Err(Error::unsupported(format!(
                "is a NumPy array of version {version}, and versions 1 to 3 are read"
            )));
        }
    };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > MAX_HEADER_BYTES {
        return Err(Error::unsupported(format!(
            "its NumPy header has {len} bytes, and plain arrays have at most {MAX_HEADER_BYTES}"
        )));
    }
    let mut header = vec![0; len];
    source.read_at(start, &mut header).map_err(short)?;
    let header = String::from_utf8_lossy(&header);
    let header = Header::parse(&header).ok_or_else(|| {
        Error::damaged("its NumPy header is none of a plain array: descr, fortran_order, shape")
    })?;
    let (dtype, stored, is_big_endian) = sample_type(&header.descr)?;
    let mut shape = header.shape;
    if !header.is_fortran {
        shape.reverse();
    }
    if shape.contains(&0) {
        return Err(Error::input(format!(
            "holds no samples: its shape is {}",
            show_shape(&shape)
        )));
    }
    check_rank(&shape)?;
    if shape.is_empty() {
        shape.push(1);
    }
    let offset = start + len as u64;
    let size = match stored {
        Stored::Plain => dtype.size() as u64,
        Stored::Half => 2,
    };
    let bytes = volume(&[volume(&shape)?, size])?;
    let end = bytes.saturating_add(offset);
    if end > source.file_bytes() {
        return Err(Error::damaged(format!(
            "its samples need {bytes} bytes from byte {offset}, but {}",
            source.show_end()
        )));
    }
    let mut notes = Vec::new();
    if end < source.file_bytes() {
        notes.push("more follows its array, which is not read".to_string());
    }
    let layout = Layout {
        shape,
        dtype,
        is_big_endian,
        offset,
    };
    ArrayFrame::open(source, layout, stored, notes).at(path)
}

/// What a type of NumPy is here.
fn sample_type(descr: &str) -> Result<(DType, Stored, bool)> {
    let (order, code) = match descr.strip_prefix(['<', '>', '|', '=']) {
        Some(code) => (descr.as_bytes()[0], code),
        None => (b'|', descr),
    };
    let dtype = match code {
        "b1" | "u1" => DType::U8,
        "i1" => DType::I8,
        "u2" => DType::U16,
        "i2" => DType::I16,
        "u4" => DType::U32,
        "i4" => DType::I32,
        "u8" => DType::U64,
        "i8" => DType::I64,
        "f2" | "f4" => DType::F32,
        "f8" => DType::F64,
        _ => {
            return Err(Error::unsupported(format!(
                "its samples are `{descr}` of NumPy, which are not read"
            ))
            .hint("integers and floats of up to 64 bits are"));
        }
    };
    let stored = if code == "f2" {
        Stored::Half
    } else {
        Stored::Plain
    };
    Ok((dtype, stored, order == b'>'))
}

/// What the header of a plain array says.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    descr: String,
    is_fortran: bool,
    shape: Vec<u64>,
}

impl Header {
    /// Reads a Python dictionary of three known values, in any order.
    fn parse(text: &str) -> Option<Header> {
        let (mut descr, mut is_fortran, mut shape) = (None, None, None);
        let mut rest = text.trim().strip_prefix('{')?.trim_start();
        while !rest.starts_with('}') {
            let (key, after) = quoted(rest)?;
            rest = after.trim_start().strip_prefix(':')?.trim_start();
            match key {
                "descr" => {
                    let (value, after) = quoted(rest)?;
                    descr = Some(value.to_string());
                    rest = after;
                }
                "fortran_order" => {
                    let (value, after) = match rest.strip_prefix("True") {
                        Some(after) => (true, after),
                        None => (false, rest.strip_prefix("False")?),
                    };
                    is_fortran = Some(value);
                    rest = after;
                }
                "shape" => {
                    let (inside, after) = rest.strip_prefix('(')?.split_once(')')?;
                    let lens = inside.split(',').map(str::trim);
                    let lens = lens.filter(|len| !len.is_empty());
                    // Python 2 wrote long numbers with an L.
                    let lens = lens.map(|len| len.trim_end_matches('L').parse().ok());
                    shape = Some(lens.collect::<Option<Vec<u64>>>()?);
                    rest = after;
                }
                _ => return None,
            }
            rest = rest.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        Some(Header {
            descr: descr?,
            is_fortran: is_fortran?,
            shape: shape?,
        })
    }
}

/// A string in quotes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

struct ArrayFrame {
    source: Source,
    about: About,
    is_big_endian: bool,
    stored: Stored,
    buffer: Vec<u8>,
}

impl ArrayFrame {
    fn open(
        source: Source,
        layout: Layout,
        stored: Stored,
        notes: Vec<String>,
    ) -> Result<Box<dyn Frame>> {
        Ok(Box::new(ArrayFrame {
            about: About {
                facts: Facts {
                    shape: layout.shape,
                    dtype: layout.dtype,
                    blank: None,
                    file_bytes: source.file_bytes(),
                    modified: source.modified(),
                    part: 0,
                    offset: layout.offset,
                    channel: None,
                    primary: 0,
                },
                cards: Cards::default(),
                notes,
            },
            source,
            is_big_endian: layout.is_big_endian,
            stored,
            buffer: Vec::new(),
        }))
    }
}

impl Frame for ArrayFrame {
    fn about(&self) -> &About {
        &self.about
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        self.about.check(first, out.len()).at(self.source.path())?;
        let size = self.about.facts.dtype.size();
        // Inside the file, as was seen when it was opened.
        let start = self.about.facts.offset;
        if self.stored == Stored::Plain {
            self.source.read_at(start + first * size as u64, out)?;
            if self.is_big_endian {
                swap_in_place(out, size);
            }
            return Ok(());
        }
        for (at, out) in (first..).step_by(HALVES).zip(out.chunks_mut(HALVES * size)) {
            self.buffer.resize(out.len() / 2, 0);
            self.source.read_at(start + 2 * at, &mut self.buffer)?;
            if self.is_big_endian {
                swap_in_place(&mut self.buffer, 2);
            }
            for (half, out) in self
                .buffer
                .as_chunks::<2>()
                .0
                .iter()
                .zip(out.chunks_exact_mut(4))
            {
                out.copy_from_slice(&widen_half(u16::from_le_bytes(*half)).to_le_bytes());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::frames::{HduChoice, open};

    fn array(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes()),
            _ => bytes.extend(u32::try_from(header.len()).unwrap().to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<(Facts, Vec<u8>)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut frame = open(file.path(), &HduChoice::FirstImage)?;
        let facts = frame.facts().clone();
        let n_bytes = usize::try_from(volume(&facts.shape)?).unwrap() * facts.dtype.size();
        assert!(n_bytes < 1 << 20, "a file of a test does not hold so much");
        let mut out = vec![0; n_bytes];
        frame.read(0, &mut out)?;
        Ok((facts, out))
    }

    fn header(descr: &str, order: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({shape}), }}  \n")
    }

    #[test]
    fn arrays_of_every_version_and_order_are_read() {
        for version in 1..=3 {
            for (descr, data) in [
                ("<u2", [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]),
                (">u2", [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6]),
            ] {
                let bytes = array(version, &header(descr, "False", "2, 3"), &data);
                let (facts, samples) = read(&bytes).unwrap();
                // The last axis of NumPy is x.
                assert_eq!((facts.shape, facts.dtype), (vec![3, 2], DType::U16));
                assert_eq!(samples, [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]);
            }
        }
        let (facts, _) = read(&array(1, &header("|i1", "True", "2, 3"), &[0; 6])).unwrap();
        assert_eq!((facts.shape, facts.dtype), (vec![2, 3], DType::I8));
        let (facts, samples) = read(&array(
            1,
            &header(">f2", "False", "2,"),
            &[0x3c, 0, 0xc0, 0],
        ))
        .unwrap();
        assert_eq!((facts.shape, facts.dtype), (vec![2], DType::F32));
        assert_eq!(samples, [1f32, -2.0].map(f32::to_le_bytes).concat());
        assert_eq!(
            read(&array(1, &header("<f8", "False", ""), &[0; 8]))
                .unwrap()
                .0
                .shape,
            [1]
        );
    }

    #[test]
    fn what_is_no_plain_array_is_an_error() {
        for (bytes, says) in [
            (
                array(1, &header("<c8", "False", "1,"), &[0; 8]),
                "its samples are `<c8`",
            ),
            (
                array(1, &header("|O", "False", "1,"), &[0; 8]),
                "its samples are `|O`",
            ),
            (
                array(1, "{'descr': [('a', '<f4')], }", &[]),
                "its NumPy header is none",
            ),
            (
                array(1, &header("<f4", "False", "3,"), &[0; 8]),
                "need 12 bytes from byte",
            ),
            (
                array(1, &header("<f4", "False", "0, 3"), &[]),
                "holds no samples",
            ),
            (
                array(1, &header("<f4", "False", "99999999999, 99999999999"), &[]),
                "too large",
            ),
            (
                array(1, &header("<f4", "False", "1,1,1,1,1,1,1,1,1"), &[0; 4]),
                "has 9 axes",
            ),
            (array(4, "", &[]), "of version 4"),
        ] {
            let error = read(&bytes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn every_truncation_and_flipped_bit_ends_in_an_error_or_a_frame() {
        let bytes = array(1, &header("<i2", "False", "3, 4"), &[7; 24]);
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err());
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let _ = read(&flipped);
            }
        }
    }

    #[test]
    fn layouts_are_typed_x_first() {
        let layout = Layout::parse("640x480,float32, big,offset=512").unwrap();
        assert_eq!((layout.shape, layout.dtype), (vec![640, 480], DType::F32));
        assert!(layout.is_big_endian && layout.offset == 512);
        for text in [
            "",
            "640",
            "640x480",
            "640x0,uint8",
            "4,uint9",
            "4,uint8,huge",
            "4,uint8,offset=-1",
            "9999999999x9999999999,uint8",
            "1x1x1x1x1x1x1x1x1,uint8",
        ] {
            assert!(Layout::parse(text).is_err(), "{text}");
        }
    }
}
