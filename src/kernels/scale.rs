//! The linear scaling of FITS: `physical = BZERO + BSCALE * stored`.
//!
//! Each sample is computed in float64 and rounded once, to the type it is kept
//! in. A sample equal to BLANK becomes NaN before any arithmetic.

use crate::dtype::DType;

/// What a header says of the samples' meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// BZERO.
    pub zero: f64,
    /// BSCALE.
    pub scale: f64,
    /// BLANK, in the type of the stored samples; for integers only.
    pub blank: Option<i64>,
}

/// Scales big-endian stored samples (uint8, int16, int32, int64, float32 or
/// float64) into little-endian float32 or float64; stops where either slice does.
/// Other types are left alone.
pub fn scale(from: DType, stored: &[u8], to: DType, out: &mut [u8], linear: &Linear) {
    match to {
        DType::F32 => scale_into(from, stored, out, linear, |value| {
            #[expect(clippy::cast_possible_truncation, reason = "the one rounding")]
            let value = value as f32;
            value.to_le_bytes()
        }),
        DType::F64 => scale_into(from, stored, out, linear, f64::to_le_bytes),
        _ => {}
    }
}

fn scale_into<const N: usize>(
    from: DType,
    stored: &[u8],
    out: &mut [u8],
    linear: &Linear,
    encode: impl Fn(f64) -> [u8; N],
) {
    let Linear { zero, scale, blank } = *linear;
    let outs = out.as_chunks_mut::<N>().0.iter_mut();
    macro_rules! ints {
        ($stored:expr, $int:ty) => {{
            // A BLANK that the stored type cannot hold equals no sample.
            let blank = blank.and_then(|blank| <$int>::try_from(blank).ok());
            for (sample, out) in $stored.iter().zip(outs) {
                let sample = <$int>::from_be_bytes(*sample);
                let value = zero + scale * sample as f64;
                *out = encode(if Some(sample) == blank {
                    f64::NAN
                } else {
                    value
                });
            }
        }};
    }
    macro_rules! floats {
        ($stored:expr, $float:ty) => {
            for (sample, out) in $stored.iter().zip(outs) {
                *out = encode(zero + scale * f64::from(<$float>::from_be_bytes(*sample)));
            }
        };
    }
    match from {
        DType::U8 => ints!(stored.as_chunks::<1>().0, u8),
        DType::I16 => ints!(stored.as_chunks::<2>().0, i16),
        DType::I32 => ints!(stored.as_chunks::<4>().0, i32),
        DType::I64 => ints!(stored.as_chunks::<8>().0, i64),
        DType::F32 => floats!(stored.as_chunks::<4>().0, f32),
        DType::F64 => floats!(stored.as_chunks::<8>().0, f64),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_scaled_and_blank_becomes_nan() {
        let linear = Linear {
            zero: 10.0,
            scale: 0.5,
            blank: Some(-1),
        };
        let stored: Vec<u8> = [3i16, -1, -4]
            .iter()
            .flat_map(|v| v.to_be_bytes())
            .collect();
        let mut out = [0; 12];
        scale(DType::I16, &stored, DType::F32, &mut out, &linear);
        let values: Vec<f32> = out
            .chunks(4)
            .map(|v| f32::from_le_bytes(v.try_into().unwrap()))
            .collect();
        assert_eq!(values[0], 11.5);
        assert!(values[1].is_nan());
        assert_eq!(values[2], 8.0);
    }

    #[test]
    fn a_blank_outside_the_stored_type_equals_no_sample() {
        let linear = Linear {
            zero: 0.0,
            scale: 2.0,
            blank: Some(255 + 256),
        };
        let mut out = [0; 8];
        scale(DType::U8, &[255], DType::F64, &mut out, &linear);
        assert_eq!(f64::from_le_bytes(out), 510.0);
    }

    #[test]
    fn the_sum_is_rounded_once() {
        // In float32 throughout this would be 16777217 + 1 with two roundings.
        let linear = Linear {
            zero: 1.0,
            scale: 1.0,
            blank: None,
        };
        let mut out = [0; 4];
        scale(
            DType::I32,
            &16_777_217i32.to_be_bytes(),
            DType::F32,
            &mut out,
            &linear,
        );
        assert_eq!(f32::from_le_bytes(out), 16_777_218.0);
    }
}
