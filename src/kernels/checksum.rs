//! DATASUM and CHECKSUM, as FITS Standard 4.0, section 4.4.2.7 and appendix J,
//! has them: ones' complement sums of big-endian 32-bit words.

use super::swap::sum_words;

/// What CHECKSUM holds while the sum of its HDU is taken.
pub const NO_CHECKSUM: &str = "0000000000000000";

/// A sum of bytes that come in pieces of any length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    total: u64,
    /// Bytes of the word that is not yet whole.
    in_word: u32,
}

impl Sum {
    /// The sum of these bytes.
    #[allow(clippy::cast_possible_truncation, reason = "less than 4 are left")]
    pub fn of(bytes: &[u8]) -> Sum {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        let mut total = sum_words(&[last]);
        // Carries gather in the upper half, which has room for 2^32 words.
        for part in words.chunks(1 << 24) {
            total = fold(total + sum_words(part));
        }
        Sum {
            total,
            in_word: rest.len() as u32,
        }
    }

    /// Adds the bytes that come next.
    pub fn add(&mut self, bytes: &[u8]) {
        *self = self.and(Sum::of(bytes));
    }

    /// The sum of the bytes of both, one after the other.
    #[must_use]
    pub fn and(self, next: Sum) -> Sum {
        // Carries go around, so bytes that begin inside a word turn the sum that they
        // would have from its head.
        let turned = next.value().rotate_right(8 * self.in_word);
        Sum {
            total: fold(self.total + u64::from(turned)),
            in_word: (self.in_word + next.in_word) % 4,
        }
    }

    /// The value of DATASUM.
    pub fn value(self) -> u32 {
        u32::try_from(fold(self.total)).unwrap_or(u32::MAX)
    }

    /// The value of CHECKSUM that makes the sum of all words -0: 16 letters and
    /// digits, whose bytes four apart add up to those of the complement.
    pub fn complement(self) -> String {
        let mut columns = [[0u8; 4]; 4];
        for (column, byte) in columns.iter_mut().zip((!self.value()).to_be_bytes()) {
            let quarter = byte / 4 + b'0';
            *column = [quarter + byte % 4, quarter, quarter, quarter];
            // What is no letter or digit goes up by as much as its neighbour
            // goes down.
            for pair in column.chunks_exact_mut(2) {
                while !pair.iter().all(u8::is_ascii_alphanumeric) {
                    pair[0] += 1;
                    pair[1] -= 1;
                }
            }
        }
        // The string begins in column 12 of its card, one before a word does.
        let character = |at: usize| char::from(columns[at % 4][at / 4]);
        (0..16).map(|at| character((at + 15) % 16)).collect()
    }
}

fn fold(total: u64) -> u64 {
    let once = (total & u64::from(u32::MAX)) + (total >> 32);
    (once & u64::from(u32::MAX)) + (once >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_does_not_depend_on_the_pieces() {
        let bytes: Vec<u8> = (0..4000u32).map(|n| (n * 7 % 251) as u8).collect();
        for step in [1, 2, 3, 4, 5, 7, 64, 1000] {
            let mut pieces = Sum::default();
            bytes.chunks(step).for_each(|piece| pieces.add(piece));
            assert_eq!(pieces.value(), Sum::of(&bytes).value(), "{step}");
        }
        assert_eq!(Sum::of(&[0xff; 8]).value(), u32::MAX);
        assert_eq!(Sum::of(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1]).value(), 1);
    }

    #[test]
    fn a_checksum_makes_the_words_add_up_to_minus_zero() {
        for seed in (0..u32::MAX).step_by(9_876_543) {
            let mut card = b"CHECKSUM= '0000000000000000'    ".to_vec();
            card.extend(seed.to_be_bytes());
            let text = Sum::of(&card).complement();
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            card[11..27].copy_from_slice(text.as_bytes());
            assert_eq!(Sum::of(&card).value(), u32::MAX, "{seed}: {text}");
        }
    }
}
