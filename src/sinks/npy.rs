//! NumPy arrays out: `.npy`, version 1.0, little-endian, C order.
//!
//! NumPy names the slowest axis first, so the shape is written reversed and
//! `array[z - 1, y - 1, x - 1]` is the sample at x, y, z.

use super::output::{Output, Target};
use super::{Image, Remaining, Sink};
use crate::dtype::DType;
use crate::error::{Context, Error, Result};

/// The samples begin at a multiple of this, so that they can be mapped.
const ALIGNMENT: usize = 64;

/// Magic, version and the length of the header.
const PREFIX_BYTES: usize = 10;

/// A NumPy array that is being written.
pub struct NpySink {
    output: Output,
    remaining: Remaining,
}

impl NpySink {
    /// Opens the target and writes the header.
    ///
    /// # Errors
    /// When the target cannot be written, or the size overflows.
    pub fn create(target: &Target, image: &Image) -> Result<NpySink> {
        let remaining = Remaining::new(image.bytes()?, image.dtype);
        let header = header(&image.shape, image.dtype)?;
        let mut output = Output::create(target)?;
        output.write(&header)?;
        Ok(NpySink { output, remaining })
    }
}

impl Sink for NpySink {
    fn write(&mut self, samples: &[u8]) -> Result<()> {
        self.remaining.take(samples).at(self.output.name())?;
        self.output.write(samples)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.remaining.finish().at(self.output.name())?;
        self.output.finish()
    }
}

fn header(shape: &[u64], dtype: DType) -> Result<Vec<u8>> {
    let kind = match (dtype.is_float(), dtype.is_signed_int()) {
        (true, _) => 'f',
        (_, true) => 'i',
        _ => 'u',
    };
    // A byte has no order.
    let order = if dtype.size() == 1 { '|' } else { '<' };
    let lens: String = shape.iter().rev().map(|len| format!("{len}, ")).collect();
    // `(5,)` is a tuple, `(5)` is a number.
    let lens = match shape.len() {
        1 => lens.trim_end(),
        _ => lens.trim_end_matches(", "),
    };
    let mut text = format!(
        "{{'descr': '{order}{kind}{}', 'fortran_order': False, 'shape': ({lens}), }}",
        dtype.size()
    );
    let end = (PREFIX_BYTES + text.len() + 1).next_multiple_of(ALIGNMENT);
    let blanks = end - PREFIX_BYTES - text.len() - 1;
    text.extend(std::iter::repeat_n(' ', blanks));
    text.push('\n');
    let len = u16::try_from(text.len())
        .map_err(|_| Error::unsupported(format!("{} axes are too many for npy", shape.len())))?;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.extend(text.into_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::cards::Cards;

    #[test]
    fn headers_are_as_numpy_writes_them() {
        for (shape, dtype, dict) in [
            (
                &[4, 3, 2][..],
                DType::U16,
                "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3, 4), }",
            ),
            (
                &[5][..],
                DType::F32,
                "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }",
            ),
            (
                &[][..],
                DType::I8,
                "{'descr': '|i1', 'fortran_order': False, 'shape': (), }",
            ),
        ] {
            let header = header(shape, dtype).unwrap();
            assert_eq!(header.len() % ALIGNMENT, 0);
            assert_eq!(header.last(), Some(&b'\n'));
            let text = String::from_utf8(header[PREFIX_BYTES..].to_vec()).unwrap();
            assert_eq!(text.trim_end(), dict);
            assert_eq!(
                u16::from_le_bytes([header[8], header[9]]) as usize,
                text.len()
            );
        }
    }

    #[test]
    fn samples_follow_the_header_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let image = Image {
            shape: vec![2, 1],
            dtype: DType::I16,
            blank: None,
            cards: Cards::default(),
        };
        let target = Target::from_path(&path, false);
        let mut sink = Box::new(NpySink::create(&target, &image).unwrap());
        sink.write(&[1, 2, 3, 4]).unwrap();
        assert!(sink.write(&[5, 6]).is_err());
        sink.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[128..], [1, 2, 3, 4]);
        let sink = NpySink::create(&Target::from_path(&path, true), &image).unwrap();
        assert!(Box::new(sink).finish().is_err());
    }
}
