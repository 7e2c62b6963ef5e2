//! Types of samples, and which conversions between them can lose nothing.

use std::fmt;

/// The type of one sample.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

/// Every type, with the name that users type and files hold.
const NAMES: [(DType, &str); 10] = [
    (DType::U8, "uint8"),
    (DType::I8, "int8"),
    (DType::U16, "uint16"),
    (DType::I16, "int16"),
    (DType::U32, "uint32"),
    (DType::I32, "int32"),
    (DType::U64, "uint64"),
    (DType::I64, "int64"),
    (DType::F32, "float32"),
    (DType::F64, "float64"),
];

impl DType {
    /// Every type.
    pub fn all() -> impl Iterator<Item = DType> {
        NAMES.iter().map(|&(dtype, _)| dtype)
    }

    /// Bytes of one sample: 1, 2, 4 or 8.
    pub const fn size(self) -> usize {
        match self {
            DType::U8 | DType::I8 => 1,
            DType::U16 | DType::I16 => 2,
            DType::U32 | DType::I32 | DType::F32 => 4,
            DType::U64 | DType::I64 | DType::F64 => 8,
        }
    }

    /// NumPy's name of the type, such as `uint16`.
    pub fn name(self) -> &'static str {
        let found = NAMES.iter().find(|&&(dtype, _)| dtype == self);
        found.map_or("", |&(_, name)| name)
    }

    /// The type that has this name.
    pub fn from_name(name: &str) -> Option<DType> {
        let found = NAMES.iter().find(|&&(_, known)| known == name);
        found.map(|&(dtype, _)| dtype)
    }

    /// Is it a floating-point type?
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64)
    }

    /// Is it a signed integer?
    pub const fn is_signed_int(self) -> bool {
        matches!(self, DType::I8 | DType::I16 | DType::I32 | DType::I64)
    }

    /// Least and greatest value of an integer type; `None` for floats.
    pub const fn int_range(self) -> Option<(i128, i128)> {
        Some(match self {
            DType::U8 => (0, u8::MAX as i128),
            DType::I8 => (i8::MIN as i128, i8::MAX as i128),
            DType::U16 => (0, u16::MAX as i128),
            DType::I16 => (i16::MIN as i128, i16::MAX as i128),
            DType::U32 => (0, u32::MAX as i128),
            DType::I32 => (i32::MIN as i128, i32::MAX as i128),
            DType::U64 => (0, u64::MAX as i128),
            DType::I64 => (i64::MIN as i128, i64::MAX as i128),
            DType::F32 | DType::F64 => return None,
        })
    }

    /// Integers up to this power of two are exact in a float of this type.
    const fn exact_bits(self) -> u32 {
        match self {
            DType::F32 => 24,
            DType::F64 => 53,
            _ => 0,
        }
    }

    /// Does every value of `self` exist in `other`?
    pub const fn fits_into(self, other: DType) -> bool {
        match (self.int_range(), other.int_range()) {
            (Some((lo, hi)), Some((to_lo, to_hi))) => to_lo <= lo && hi <= to_hi,
            (Some((lo, hi)), None) => {
                let limit = 1i128 << other.exact_bits();
                -limit <= lo && hi <= limit
            }
            (None, Some(_)) => false,
            (None, None) => self.size() <= other.size(),
        }
    }

    /// The bits of `value`, in the low bytes, if this integer type holds it.
    pub fn bits_of_int(self, value: i128) -> Option<u64> {
        let (lo, hi) = self.int_range()?;
        // Two's complement: the low bytes are the sample.
        #[allow(clippy::cast_possible_truncation)]
        (lo <= value && value <= hi).then_some((value as u64) & self.mask())
    }

    /// The integer that `bits` hold; `None` for floats.
    pub fn int_of_bits(self, bits: u64) -> Option<i128> {
        let (lo, _) = self.int_range()?;
        let unused = 64 - self.mask().count_ones();
        Some(if lo < 0 {
            i128::from(((bits << unused) as i64) >> unused)
        } else {
            i128::from(bits & self.mask())
        })
    }

    /// All bits that a sample of this type has.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.size())
    }

    /// Reads a value of this type as a user writes it: `-32768`, `nan`, `1e-3`.
    pub fn parse(self, text: &str) -> Option<u64> {
        // A number that is too large is not infinity.
        let is_meant =
            |value: f64| value.is_finite() || !text.contains(|c: char| c.is_ascii_digit());
        match self {
            DType::F32 => {
                let value = text.parse::<f32>().ok()?;
                is_meant(value.into()).then(|| value.to_bits().into())
            }
            DType::F64 => {
                let value = text.parse::<f64>().ok()?;
                is_meant(value).then(|| value.to_bits())
            }
            _ => self.bits_of_int(text.parse::<i128>().ok()?),
        }
    }

    /// Writes a sample in the shortest form that reads back to the same bits
    /// (NaN payloads apart).
    pub fn show(self, bits: u64) -> String {
        #[allow(clippy::cast_possible_truncation)]
        match self {
            DType::F32 => show_float(format!("{:?}", f32::from_bits(bits as u32))),
            DType::F64 => show_float(format!("{:?}", f64::from_bits(bits))),
            _ => self.int_of_bits(bits).unwrap_or_default().to_string(),
        }
    }

    /// The bits of the sample at the head of `bytes`, which are little-endian.
    pub fn bits_at(self, bytes: &[u8]) -> u64 {
        let mut word = [0; 8];
        word[..self.size()].copy_from_slice(&bytes[..self.size()]);
        u64::from_le_bytes(word)
    }

    /// Bits of the usual NaN; `None` for integers.
    pub fn nan(self) -> Option<u64> {
        match self {
            DType::F32 => Some(f32::NAN.to_bits().into()),
            DType::F64 => Some(f64::NAN.to_bits()),
            _ => None,
        }
    }

    /// Is the sample NaN?
    pub fn is_nan(self, bits: u64) -> bool {
        #[allow(clippy::cast_possible_truncation)]
        match self {
            DType::F32 => f32::from_bits(bits as u32).is_nan(),
            DType::F64 => f64::from_bits(bits).is_nan(),
            _ => false,
        }
    }
}

/// Rust's shortest form without its `.0` tail, and `nan` as C and NumPy write it.
fn show_float(text: String) -> String {
    match text.strip_suffix(".0") {
        Some(whole) => whole.to_string(),
        None => text.replace("NaN", "nan"),
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_conversions_that_keep_every_value_are_lossless() {
        use DType::*;
        assert!(U8.fits_into(I16) && U16.fits_into(F32) && I32.fits_into(F64));
        assert!(!I32.fits_into(F32) && !I64.fits_into(F64) && !I8.fits_into(U64));
        assert!(!F64.fits_into(F32) && F32.fits_into(F64) && !F32.fits_into(I64));
        for dtype in DType::all() {
            assert!(dtype.fits_into(dtype));
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
        }
    }

    #[test]
    fn samples_are_written_and_read_as_users_type_them() {
        for (dtype, text) in [
            (DType::I16, "-32768"),
            (DType::U64, "18446744073709551615"),
            (DType::F32, "0.1"),
            (DType::F32, "nan"),
            (DType::F64, "1e300"),
            (DType::F32, "-0"),
            (DType::I8, "-1"),
        ] {
            let bits = dtype.parse(text).unwrap();
            assert_eq!(dtype.show(bits), text, "{dtype}");
        }
        assert_eq!(DType::I16.parse("32768"), None);
        assert_eq!(DType::U8.parse("1.5"), None);
    }
}
