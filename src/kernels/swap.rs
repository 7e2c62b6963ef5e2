//! Byte order and sign bit.
//!
//! FITS keeps samples big-endian, and keeps unsigned integers as signed ones
//! less half the range (FITS Standard 4.0, section 4.4.2.5). Undoing either
//! moves bits and never rounds: these loops do not know what a sample means.

#![allow(unsafe_code, reason = "a machine is asked what it has")]

/// Reverses the bytes of each `size`-byte sample; a last part of a sample stays
/// as it is. Its own inverse.
pub fn swap_in_place(bytes: &mut [u8], size: usize) {
    turn(bytes, size, 0);
}

/// [`swap_in_place`], then [`flip_sign`], in one pass: from what FITS stores.
pub fn swap_and_flip(bytes: &mut [u8], size: usize) {
    turn(bytes, size, 1 << (8 * size - 1));
}

/// [`flip_sign`], then [`swap_in_place`], in one pass: to what FITS stores.
pub fn flip_and_swap(bytes: &mut [u8], size: usize) {
    // The top byte comes first then, and is the lowest of a little-endian number.
    turn(bytes, size, 0x80);
}

/// Reverses bytes, then flips the bits of `mask` in each sample.
fn turn(bytes: &mut [u8], size: usize, mask: u64) {
    // What every x86-64 has takes three times as long for samples of 4 bytes.
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has AVX2.
        return unsafe { turn_avx2(bytes, size, mask) };
    }
    turn_each(bytes, size, mask);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn turn_avx2(bytes: &mut [u8], size: usize, mask: u64) {
    turn_each(bytes, size, mask);
}

/// Compiled for the machine of the function that it is part of.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "a mask is of the size")]
fn turn_each(bytes: &mut [u8], size: usize, mask: u64) {
    match size {
        2 => {
            for sample in bytes.as_chunks_mut::<2>().0 {
                *sample = (u16::from_be_bytes(*sample) ^ mask as u16).to_le_bytes();
            }
        }
        4 => {
            for sample in bytes.as_chunks_mut::<4>().0 {
                *sample = (u32::from_be_bytes(*sample) ^ mask as u32).to_le_bytes();
            }
        }
        8 => {
            for sample in bytes.as_chunks_mut::<8>().0 {
                *sample = (u64::from_be_bytes(*sample) ^ mask).to_le_bytes();
            }
        }
        1 if mask != 0 => bytes.iter_mut().for_each(|byte| *byte ^= mask as u8),
        _ => {}
    }
}

/// The sum of big-endian words, of which there are at most 2^32.
pub fn sum_words(words: &[[u8; 4]]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has AVX2.
        return unsafe { sum_words_avx2(words) };
    }
    sum_words_each(words)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_words_avx2(words: &[[u8; 4]]) -> u64 {
    sum_words_each(words)
}

/// Compiled for the machine of the function that it is part of.
#[inline(always)]
fn sum_words_each(words: &[[u8; 4]]) -> u64 {
    let words = words.iter().map(|word| u32::from_be_bytes(*word));
    words.map(u64::from).sum()
}

/// Flips the top bit of each little-endian sample of `size` bytes.
///
/// On two's complement this adds half the range, wrapping: what BZERO = 2^15,
/// 2^31 or 2^63 means for 16, 32 and 64 bits, and BZERO = -128 for 8.
pub fn flip_sign(bytes: &mut [u8], size: usize) {
    const TOP: u8 = 0x80;
    match size {
        1 => bytes.iter_mut().for_each(|byte| *byte ^= TOP),
        2 => {
            for sample in bytes.as_chunks_mut::<2>().0 {
                *sample = (u16::from_le_bytes(*sample) ^ (1 << 15)).to_le_bytes();
            }
        }
        4 => {
            for sample in bytes.as_chunks_mut::<4>().0 {
                *sample = (u32::from_le_bytes(*sample) ^ (1 << 31)).to_le_bytes();
            }
        }
        8 => {
            for sample in bytes.as_chunks_mut::<8>().0 {
                *sample = (u64::from_le_bytes(*sample) ^ (1 << 63)).to_le_bytes();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_offset_is_swapped_as_the_naive_loop_does() {
        for size in [1, 2, 4, 8] {
            for start in 0..9 {
                for n_samples in 0..70 {
                    let len = start + n_samples * size;
                    let source: Vec<u8> = (0..=250u8).cycle().step_by(37).take(len).collect();
                    let mut expected = source.clone();
                    expected[start..]
                        .chunks_exact_mut(size)
                        .for_each(<[u8]>::reverse);
                    let mut swapped = source.clone();
                    swap_in_place(&mut swapped[start..], size);
                    assert_eq!(swapped, expected);
                    expected[start..]
                        .chunks_exact_mut(size)
                        .for_each(|sample| sample[size - 1] ^= 0x80);
                    flip_sign(&mut swapped[start..], size);
                    assert_eq!(swapped, expected);
                    let mut at_once = source.clone();
                    swap_and_flip(&mut at_once[start..], size);
                    assert_eq!(at_once, expected);
                    let mut plain = source.clone();
                    turn_each(&mut plain[start..], size, 1 << (8 * size - 1));
                    assert_eq!(plain, expected);
                    flip_and_swap(&mut at_once[start..], size);
                    assert_eq!(at_once, source);
                }
            }
        }
    }

    #[test]
    fn words_are_summed_as_the_naive_loop_does() {
        let bytes: Vec<u8> = (0..=255).cycle().step_by(7).take(400).collect();
        let (words, _) = bytes.as_chunks::<4>();
        for n_words in 0..words.len() {
            let words = &words[..n_words];
            let mut expected = 0;
            for word in words {
                expected += u64::from(u32::from_be_bytes(*word));
            }
            assert_eq!(sum_words(words), expected);
            assert_eq!(sum_words_each(words), expected);
        }
        assert_eq!(sum_words(&[[0xff; 4]; 9]), 9 * u64::from(u32::MAX));
    }

    #[test]
    fn flipping_the_sign_adds_half_the_range() {
        let mut bytes = (-32768i16).to_le_bytes();
        flip_sign(&mut bytes, 2);
        assert_eq!(u16::from_le_bytes(bytes), 0);
        let mut bytes = i64::MAX.to_le_bytes();
        flip_sign(&mut bytes, 8);
        assert_eq!(u64::from_le_bytes(bytes), u64::MAX);
        let mut bytes = [0u8];
        flip_sign(&mut bytes, 1);
        assert_eq!(i8::from_le_bytes(bytes), -128);
    }
}
