//! RICE_1: integers as differences with short codes, as the FITS Standard 4.0,
//! section 10.4.1, has it.
//!
//! The first sample stands as it is. Then come blocks of [`BLOCK_SAMPLES`] differences,
//! each turned to an unsigned number (0, -1, 1, -2, ... are 0, 1, 2, 3, ...) and split: the
//! lower bits as they are, those above in unary. How many are lower is chosen for the
//! block and stands in front of it. All arithmetic wraps in the bits of a sample, so
//! nothing is lost.

/// Differences that share a way to be split; the ZVAL1 of a header.
pub(super) const BLOCK_SAMPLES: usize = 32;

/// How samples of a size are coded.
struct Form {
    /// Bits of a sample.
    bits: u32,
    /// Bits of the number in front of a block.
    split_bits: u32,
    /// Where as many bits would be lower, samples stand as they are.
    split_most: u32,
}

impl Form {
    fn of(size: usize) -> Form {
        let (bits, split_bits, split_most) = match size {
            1 => (8, 3, 6),
            2 => (16, 4, 14),
            _ => (32, 5, 25),
        };
        Form {
            bits,
            split_bits,
            split_most,
        }
    }
}

/// At most so many bytes code `n_samples` samples.
pub(super) fn most_bytes(n_samples: u64, size: usize) -> u64 {
    let form = Form::of(size);
    let bits = u64::from(form.bits);
    let n_blocks = n_samples.div_ceil(BLOCK_SAMPLES as u64);
    // A block is split only where that is shorter; else all of a sample is kept.
    let block = u64::from(form.split_bits);
    (bits + n_blocks * block + n_samples * bits).div_ceil(8)
}

/// Codes the samples of a tile, which are little-endian, of 1, 2 or 4 bytes, as FITS
/// stores them but for the byte order.
pub(super) fn encode(samples: &[u8], size: usize, out: &mut Vec<u8>) {
    let form = Form::of(size);
    match size {
        1 => code(&form, samples.iter().map(|&byte| byte.into()), out),
        2 => {
            let samples = samples.as_chunks::<2>().0.iter();
            code(&form, samples.map(|&v| u16::from_le_bytes(v).into()), out);
        }
        _ => {
            let samples = samples.as_chunks::<4>().0.iter();
            code(&form, samples.map(|&v| u32::from_le_bytes(v)), out);
        }
    }
}

fn code(form: &Form, mut samples: impl Iterator<Item = u32> + Clone, out: &mut Vec<u8>) {
    let Some(mut last) = samples.clone().next() else {
        return;
    };
    let mask = u32::MAX >> (32 - form.bits);
    let unused = 32 - form.bits;
    let mut bits = Bits {
        out,
        held: 0,
        n_held: 0,
    };
    bits.put(last, form.bits);
    let mut block = [0u32; BLOCK_SAMPLES];
    loop {
        let mut n_samples = 0;
        let mut sum = 0u64;
        for (to, sample) in block.iter_mut().zip(&mut samples) {
            // The sign is that of the sample's own bits.
            let difference = (sample.wrapping_sub(last) << unused).cast_signed() >> unused;
            *to = ((difference << 1) ^ (difference >> 31)).cast_unsigned() & mask;
            sum += u64::from(*to);
            last = sample;
            n_samples += 1;
        }
        let Some(block) = block.get(..n_samples).filter(|block| !block.is_empty()) else {
            break;
        };
        code_block(form, block, sum, &mut bits);
        if n_samples < BLOCK_SAMPLES {
            break;
        }
    }
    bits.finish();
}

fn code_block(form: &Form, block: &[u32], sum: u64, bits: &mut Bits) {
    if sum == 0 {
        bits.put(0, form.split_bits);
        return;
    }
    let n_samples = block.len() as u64;
    // As many bits as half the mean has: short codes for what is about the mean.
    let half = sum.saturating_sub(n_samples / 2 + 1) / n_samples / 2;
    let split = u64::BITS - half.leading_zeros();
    let whole = n_samples * u64::from(form.bits);
    let in_unary: u64 = block.iter().map(|&v| u64::from(v >> split)).sum();
    let is_longer = in_unary + n_samples * u64::from(split + 1) > whole;
    if split >= form.split_most || is_longer {
        bits.put(form.split_most + 1, form.split_bits);
        block.iter().for_each(|&v| bits.put(v, form.bits));
        return;
    }
    bits.put(split + 1, form.split_bits);
    for &v in block {
        bits.zeros(v >> split);
        // The one that ends the zeros, and the lower bits behind it.
        bits.put(1 << split | v & ((1 << split) - 1), split + 1);
    }
}

/// Bits on their way into bytes, the highest first.
struct Bits<'a> {
    out: &'a mut Vec<u8>,
    /// The last `n_held` of these, fewer than 32, are not in a byte yet.
    held: u64,
    n_held: u32,
}

impl Bits<'_> {
    /// Puts the last `n_bits` bits of a number, which has no others.
    fn put(&mut self, number: u32, n_bits: u32) {
        self.held = self.held << n_bits | u64::from(number);
        self.n_held += n_bits;
        if self.n_held >= 32 {
            self.n_held -= 32;
            let word = (self.held >> self.n_held) & u64::from(u32::MAX);
            let [_, _, _, _, word @ ..] = word.to_be_bytes();
            self.out.extend_from_slice(&word);
        }
    }

    fn zeros(&mut self, mut count: u32) {
        while count > 0 {
            let now = count.min(31);
            self.put(0, now);
            count -= now;
        }
    }

    /// Fills the last byte with zeros.
    fn finish(self) {
        let n_bytes = self.n_held.div_ceil(8) as usize;
        let word = self.held << (63 - self.n_held) << 1;
        self.out.extend_from_slice(&word.to_be_bytes()[..n_bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The naive definition of what was coded: one bit after the other.
    fn decode(bytes: &[u8], size: usize, n_samples: usize) -> Vec<u32> {
        let form = Form::of(size);
        let mut at = 0;
        let mut bit = || {
            let bit = bytes[at / 8] >> (7 - at % 8) & 1;
            at += 1;
            u32::from(bit)
        };
        let number = |n_bits: u32, bit: &mut dyn FnMut() -> u32| {
            (0..n_bits).fold(0u32, |number, _| number << 1 | bit())
        };
        let mask = u32::MAX >> (32 - form.bits);
        let mut last = number(form.bits, &mut bit);
        let mut samples = Vec::new();
        while samples.len() < n_samples {
            let split = number(form.split_bits, &mut bit);
            for _ in 0..BLOCK_SAMPLES.min(n_samples - samples.len()) {
                let v = match split {
                    0 => 0,
                    split if split > form.split_most => number(form.bits, &mut bit),
                    split => {
                        let mut above = 0;
                        while bit() == 0 {
                            above += 1;
                        }
                        above << (split - 1) | number(split - 1, &mut bit)
                    }
                };
                let difference = v >> 1 ^ 0u32.wrapping_sub(v & 1);
                last = last.wrapping_add(difference) & mask;
                samples.push(last);
            }
        }
        assert_eq!(at.div_ceil(8), bytes.len(), "nothing is left over");
        samples
    }

    #[test]
    fn what_is_coded_is_read_again_bit_for_bit() {
        let random = |k: u64| (k + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        type Series = fn(u64, u64) -> u64;
        let series: [(&str, Series); 7] = [
            ("constant", |_, _| 77),
            ("ramp", |k, _| k),
            ("extremes", |k, _| {
                if k % 2 == 0 {
                    u64::MAX
                } else {
                    1 << 31 | 1 << 15 | 1 << 7
                }
            }),
            ("quiet", |_, r| 1000 + r % 20),
            ("loud", |_, r| r),
            ("spikes", |k, r| if k % 100 == 3 { r } else { 5 }),
            ("steps", |k, _| (k / 70) << (k % 31)),
        ];
        for (name, sample) in series {
            for size in [1, 2, 4] {
                for n_samples in [1, 2, 31, 32, 33, 64, 1000] {
                    let values: Vec<u32> = (0..n_samples)
                        .map(|k| {
                            let bytes = sample(k, random(k)).to_le_bytes();
                            let mut word = [0; 4];
                            word[..size].copy_from_slice(&bytes[..size]);
                            u32::from_le_bytes(word)
                        })
                        .collect();
                    let bytes: Vec<u8> = values
                        .iter()
                        .flat_map(|v| v.to_le_bytes()[..size].to_vec())
                        .collect();
                    let mut coded = Vec::new();
                    encode(&bytes, size, &mut coded);
                    assert!(coded.len() as u64 <= most_bytes(n_samples, size), "{name}");
                    let found = decode(&coded, size, values.len());
                    assert_eq!(found, values, "{name}, {size} bytes, {n_samples} samples");
                }
            }
        }
    }

    #[test]
    fn quiet_samples_become_short() {
        let bytes: Vec<u8> = (0..4096u16)
            .flat_map(|k| (1000 + k * 7 % 16).to_le_bytes())
            .collect();
        let mut coded = Vec::new();
        encode(&bytes, 2, &mut coded);
        assert!(coded.len() * 2 < bytes.len(), "{} bytes", coded.len());
        coded.clear();
        encode(&[0; 8192], 2, &mut coded);
        // The first sample, and 4 bits for each of 128 blocks.
        assert_eq!(coded.len(), 2 + 64);
        coded.clear();
        encode(&[], 2, &mut coded);
        assert!(coded.is_empty());
    }
}
