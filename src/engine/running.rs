//! A check of bytes that arrive in any order.

use crate::kernels::crc::{ONE, multiply, shifted};

/// CRC-32C of a frame whose samples arrive in any order: the check of a whole is
/// the sum (XOR) of the checks of its pieces, each shifted by the bytes behind it.
#[derive(Default)]
pub(super) struct RunningCheck {
    sum: u32,
    /// The pieces that are growing, as far as they end at `end`; what was skipped
    /// between them counts as nothing.
    run: u32,
    end: u64,
    /// What was skipped last, and what shifts a check by so many bytes: the rows
    /// of a part of a frame are all the same distance apart.
    skip: (u64, u32),
}

impl RunningCheck {
    /// Adds the bytes from `at` on, of `total`.
    pub(super) fn add(&mut self, at: u64, bytes: &[u8], total: u64) {
        if at < self.end {
            self.close(total);
        }
        if self.end < at && self.run != 0 {
            let skipped = at - self.end;
            if self.skip.0 != skipped {
                self.skip = (skipped, shifted(ONE, skipped));
            }
            self.run = multiply(self.skip.1, self.run);
        }
        self.run = crc32c::crc32c_append(self.run, bytes);
        self.end = at + bytes.len() as u64;
    }

    fn close(&mut self, total: u64) {
        self.sum ^= shifted(self.run, total.saturating_sub(self.end));
        self.run = 0;
    }

    /// The check of all `total` bytes.
    pub(super) fn finish(mut self, total: u64) -> u32 {
        self.close(total);
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_of_pieces_in_any_order_is_that_of_the_whole() {
        let whole: Vec<u8> = (0..=255).cycle().step_by(7).take(6000).collect();
        let total = whole.len() as u64;
        // Rows of 100 bytes, in columns of these widths, some rows at a time.
        for (widths, height) in [(vec![100], 7), (vec![40, 40, 20], 4), (vec![1, 98, 1], 60)] {
            let mut check = RunningCheck::default();
            for top in (0..60).step_by(height) {
                let mut left = 0;
                for width in &widths {
                    for row in top..60.min(top + height) {
                        let at = row * 100 + left;
                        check.add(at as u64, &whole[at..at + width], total);
                    }
                    left += width;
                }
            }
            assert_eq!(check.finish(total), crc32c::crc32c(&whole), "{widths:?}");
        }
        // From the last byte to the first.
        let mut check = RunningCheck::default();
        for at in (0..whole.len()).rev() {
            check.add(at as u64, &whole[at..=at], total);
        }
        assert_eq!(check.finish(total), crc32c::crc32c(&whole));
    }
}
