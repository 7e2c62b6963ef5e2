//! RICE_1, as the FITS Standard 4.0, section 10.4.1, has it: `sinks/fits/rice.rs` tells how.

use super::bits::{Bits, WORD_BITS};

/// How samples are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rice {
    /// BLOCKSIZE: samples of a block.
    pub(super) block: usize,
    /// BYTEPIX: bytes of a sample, 1, 2 or 4.
    pub(super) width: usize,
}

impl Rice {
    /// Decodes the samples of a tile; `None` when the stream ends before. Samples of one byte
    /// have no sign.
    pub(super) fn decode(self, padded: &[u8], out: &mut [i32]) -> Option<()> {
        // Bits of a sample, bits of the number that heads a block, and the number that
        // says that samples follow as they are.
        let (n_bits, head_bits, plain) = match self.width {
            1 => (8, 3, 7),
            2 => (16, 4, 15),
            _ => (32, 5, 26),
        };
        let mut bits = Bits::new(padded);
        let mut last = bits.take(n_bits)?.cast_signed();
        for block in out.chunks_mut(self.block) {
            match bits.take(head_bits)? {
                0 => block.fill(last),
                head if head == plain => {
                    for sample in block.iter_mut() {
                        last = last.wrapping_add(difference(bits.take(n_bits)?));
                        *sample = last;
                    }
                }
                head => last = split(&mut bits, head - 1, last, block)?,
            }
            bits.inside()?;
            // What is above a sample's own bits came of wrapping.
            match self.width {
                1 => block.iter_mut().for_each(|v| *v &= 0xff),
                2 => block.iter_mut().for_each(|v| *v = *v << 16 >> 16),
                _ => {}
            }
        }
        Some(())
    }
}

/// 0, 1, 2, 3, ... mean 0, -1, 1, -2, ...
#[inline]
fn difference(v: u32) -> i32 {
    ((v >> 1) ^ (v & 1).wrapping_neg()).cast_signed()
}

/// Decodes a block of differences whose upper bits are as many zeros before a one, and
/// whose `n_low` lower bits follow; says what the last sample is.
#[inline]
fn split(bits: &mut Bits, n_low: u32, mut last: i32, block: &mut [i32]) -> Option<i32> {
    let one = 1u32 << n_low;
    let (mut word, mut n_used) = (bits.peek()?, 0);
    for sample in block {
        let mut zeros = word.leading_zeros();
        let mut before = 0u32;
        if n_used + zeros + 1 + n_low > WORD_BITS {
            bits.at += n_used as usize;
            (word, n_used) = (bits.peek()?, 0);
            // Whatever ends in a later word than it begins.
            while word >> (64 - WORD_BITS) == 0 {
                before = before.wrapping_add(WORD_BITS);
                bits.at += WORD_BITS as usize;
                word = bits.peek()?;
            }
            zeros = word.leading_zeros();
            if zeros + 1 + n_low > WORD_BITS {
                before = before.wrapping_add(zeros);
                bits.at += zeros as usize;
                (word, zeros) = (bits.peek()?, 0);
            }
        }
        word <<= zeros;
        let low = (word >> (63 - n_low)) as u32 - one;
        word = word << n_low << 1;
        n_used += zeros + 1 + n_low;
        let v = (before.wrapping_add(zeros) << n_low) | low;
        last = last.wrapping_add(difference(v));
        *sample = last;
    }
    bits.at += n_used as usize;
    Some(last)
}

#[cfg(test)]
mod tests {
    use super::super::bits::PAD_BYTES;
    use super::*;

    /// Numbers and how many bits each has, one after the other, and the padding.
    fn padded(numbers: &[(u64, u32)]) -> Vec<u8> {
        let bits = numbers.iter().flat_map(|&(number, n_bits)| {
            (0..n_bits).rev().map(move |bit| (number >> bit & 1) as u8)
        });
        let bits: Vec<u8> = bits.collect();
        let bytes = bits.chunks(8).map(|bits| {
            let byte = bits.iter().fold(0, |byte, bit| byte << 1 | bit);
            byte << (8 - bits.len())
        });
        bytes.chain([0xff; PAD_BYTES]).collect()
    }

    #[test]
    fn a_stream_ends_where_its_samples_do() {
        for (width, bits, head_bits, plain) in [(1, 8, 3, 7), (2, 16, 4, 15), (4, 32, 5, 26)] {
            let rice = Rice { block: 2, width };
            let stream = padded(&[
                (100, bits),
                // Nothing changes; then samples as they are; then 70 zeros, a one and
                // two bits, and a one and two bits; and a block of one sample.
                (0, head_bits),
                (plain, head_bits),
                (0, bits),
                (9, bits),
                (3, head_bits),
                (0, 60),
                (0, 10),
                (0b101, 3),
                (0b110, 3),
                (1, head_bits),
                (1, 1),
            ]);
            // Differences: 0, 0, 0, -5, (70 * 4 + 1) mapped, 2 mapped, 0.
            let expected = [100, 100, 100, 95, 95 - 141, 95 - 140, 95 - 140];
            let expected = expected.map(|v: i32| if width == 1 { v & 0xff } else { v });
            let mut out = [7; 7];
            assert_eq!(rice.decode(&stream, &mut out), Some(()));
            assert_eq!(out, expected, "{width}");
            let n_bytes = stream.len() - PAD_BYTES;
            for end in 0..n_bytes {
                let short = [&stream[..end], &[0; PAD_BYTES]].concat();
                assert_eq!(rice.decode(&short, &mut out), None, "{width}: {end}");
            }
        }
        // Zeros up to the end, however long.
        let rice = Rice {
            block: 32,
            width: 1,
        };
        let zeros = [&[0, 0x30][..], &[0; 999]].concat();
        assert_eq!(rice.decode(&zeros, &mut [0; 9]), None);
    }
}
