//! What takes the place of a rejected sample.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::format::catalog::Catalog;

/// What the user wants in the place of what is rejected.
#[derive(Clone, Debug, PartialEq)]
pub enum Fill {
    /// The median of what was kept.
    Median,
    /// Its mean.
    Mean,
    /// A straight line between the nearest kept samples along the axis.
    Interpolate,
    /// NaN, or BLANK.
    Nan,
    /// A value of the cube's type, as typed.
    Value(String),
}

/// Turns numbers into samples of a cube.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filler {
    dtype: DType,
    blank: Option<i128>,
    /// Bits that do not depend on the line.
    pub(super) fixed: Option<u64>,
}

impl Filler {
    /// Checks that a cube can hold the fill.
    ///
    /// # Errors
    /// When it cannot.
    pub(super) fn new(fill: &Fill, catalog: &Catalog) -> Result<Filler> {
        let (dtype, blank) = (catalog.dtype, catalog.blank);
        let fixed = match fill {
            Fill::Median | Fill::Mean | Fill::Interpolate => None,
            Fill::Nan => Some(no_data(dtype, blank)?),
            Fill::Value(text) => Some(value(dtype, text)?),
        };
        Ok(Filler {
            dtype,
            blank,
            fixed,
        })
    }

    /// The sample nearest to a number: integers by rounding, half to even, and
    /// clipped to what the type holds. A number is not "no data", so where the
    /// nearest integer is BLANK, the one beside it is taken.
    pub(super) fn sample(&self, number: f64) -> u64 {
        match self.dtype {
            #[allow(clippy::cast_possible_truncation, reason = "rounds on purpose")]
            DType::F32 => u64::from((number as f32).to_bits()),
            DType::F64 => number.to_bits(),
            dtype => {
                let (least, greatest) = dtype.int_range().unwrap_or((0, 0));
                #[allow(clippy::cast_possible_truncation, reason = "saturates")]
                let whole = (number.round_ties_even() as i128).clamp(least, greatest);
                let beside = match self.blank {
                    Some(blank) if blank == whole => {
                        let above = number >= whole as f64 && whole < greatest || whole == least;
                        if above { whole + 1 } else { whole - 1 }
                    }
                    _ => whole,
                };
                dtype.bits_of_int(beside).unwrap_or(0)
            }
        }
    }
}

fn no_data(dtype: DType, blank: Option<i128>) -> Result<u64> {
    match (dtype, blank) {
        (DType::F32, _) => Ok(u64::from(f32::NAN.to_bits())),
        (DType::F64, _) => Ok(f64::NAN.to_bits()),
        (_, Some(blank)) => Ok(dtype.bits_of_int(blank).unwrap_or(0)),
        (_, None) => Err(Error::input(format!(
            "an {dtype} cube without BLANK has no value for \"no data\""
        ))
        .hint("--fill takes median, mean, interpolate or a number here")),
    }
}

fn value(dtype: DType, text: &str) -> Result<u64> {
    let finite = |bits: &u64| {
        let bits = *bits;
        #[allow(clippy::cast_possible_truncation)]
        match dtype {
            DType::F32 => f32::from_bits(bits as u32).is_finite(),
            DType::F64 => f64::from_bits(bits).is_finite(),
            _ => true,
        }
    };
    dtype.parse(text).filter(finite).ok_or_else(|| {
        let kinds = "median, mean, interpolate, nan";
        Error::input(format!("fill value {text} does not fit {dtype}")).hint(
            match dtype.int_range() {
                Some((least, greatest)) => {
                    format!("--fill takes {kinds} or a whole number from {least} to {greatest}")
                }
                None => format!("--fill takes {kinds} or a finite number"),
            },
        )
    })
}

/// Fills the samples of one line that are to be replaced: `kept` are the others
/// that count. `at(k)` is where sample `k` stands and `emit(k, number)` takes the
/// line between its kept neighbours, or the nearest one at the ends.
pub(super) fn interpolate(
    samples: usize,
    at: impl Fn(usize) -> u32,
    value: impl Fn(usize) -> Option<f64>,
    wanted: impl Fn(usize) -> bool,
    mut emit: impl FnMut(usize, f64),
) {
    let mut before: Option<(usize, f64)> = None;
    let mut waiting = 0;
    for k in 0..samples {
        let Some(after) = value(k) else {
            continue;
        };
        for hole in (waiting..k).filter(|&hole| wanted(hole)) {
            let number = match before {
                None => after,
                Some((first, number)) => {
                    // As NumPy's interp does it.
                    let slope = (after - number) / f64::from(at(k) - at(first));
                    slope * f64::from(at(hole) - at(first)) + number
                }
            };
            emit(hole, number);
        }
        before = Some((k, after));
        waiting = k + 1;
    }
    if let Some((_, number)) = before {
        for hole in (waiting..samples).filter(|&hole| wanted(hole)) {
            emit(hole, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filler(dtype: DType, blank: Option<i128>) -> Filler {
        Filler {
            dtype,
            blank,
            fixed: None,
        }
    }

    #[test]
    fn integers_are_rounded_half_to_even_and_clipped() {
        for (dtype, number, text) in [
            (DType::I16, 0.5, "0"),
            (DType::I16, 1.5, "2"),
            (DType::I16, -0.5, "0"),
            (DType::I16, -1.5, "-2"),
            (DType::U8, 254.5, "254"),
            (DType::U8, 300.0, "255"),
            (DType::U8, -1.0, "0"),
            (DType::U64, 1e30, "18446744073709551615"),
            (DType::I64, -1e30, "-9223372036854775808"),
            (DType::I32, 2.5000001, "3"),
            (DType::F32, 0.1, "0.1"),
            (DType::F64, 0.1, "0.1"),
        ] {
            let bits = filler(dtype, None).sample(number);
            assert_eq!(dtype.show(bits), text, "{dtype} {number}");
        }
    }

    #[test]
    fn a_number_never_becomes_blank() {
        for (dtype, blank, number, text) in [
            (DType::I16, 0, 0.25, "1"),
            (DType::I16, 0, -0.25, "-1"),
            (DType::I16, -32768, -32768.0, "-32767"),
            (DType::U16, 65535, 65535.0, "65534"),
            (DType::U16, 65535, 65534.25, "65534"),
        ] {
            let bits = filler(dtype, Some(blank)).sample(number);
            assert_eq!(dtype.show(bits), text, "{dtype} {number}");
        }
    }

    #[test]
    fn a_fill_must_fit_the_type() {
        for (dtype, text) in [
            (DType::I16, "1.5"),
            (DType::U8, "256"),
            (DType::F32, "1e39"),
            (DType::F64, "inf"),
            (DType::F32, "many"),
        ] {
            assert!(value(dtype, text).is_err(), "{dtype} {text}");
        }
        assert!(no_data(DType::U16, None).is_err());
        assert_eq!(no_data(DType::U16, Some(7)).unwrap(), 7);
    }

    #[test]
    fn lines_are_drawn_between_kept_neighbours_by_position() {
        let at = [0, 1, 2, 5, 6, 9, 10];
        let values = [None, Some(10.0), None, None, Some(20.0), None, None];
        let mut found = Vec::new();
        interpolate(
            7,
            |k| at[k],
            |k| values[k],
            |k| values[k].is_none() && k != 6,
            |k, number| found.push((k, number)),
        );
        assert_eq!(found, [(0, 10.0), (2, 12.0), (3, 18.0), (5, 20.0)]);
        interpolate(
            2,
            |_| 0,
            |_| None,
            |_| true,
            |_, _| panic!("nothing is kept"),
        );
    }
}
