//! What becomes of a CRC-32C where bytes come before others or after them.
//!
//! A check is a polynomial over GF(2) modulo that of CRC-32C, bits reversed; bytes
//! behind it multiply it by a power of x. So checks are taken of parts, in any order
//! and on any thread, and put together.

/// The polynomial 1, as checks have it: the coefficient of x^0 on top.
pub const ONE: u32 = 1 << 31;

/// `x^(8 * 2^k)`: what shifts a check by 2^k bytes, for each bit of a length.
const POWERS: [u32; 64] = {
    let mut powers = [ONE >> 8; 64];
    let mut k = 1;
    while k < 64 {
        powers[k] = multiply(powers[k - 1], powers[k - 1]);
        k += 1;
    }
    powers
};

/// The check of bytes and those that come next, from the checks of both.
pub fn joined(check: u32, next: u32, next_bytes: u64) -> u32 {
    shifted(check, next_bytes) ^ next
}

/// A check with so many bytes behind it.
pub fn shifted(check: u32, bytes: u64) -> u32 {
    let bits = (0..64).filter(|k| bytes >> k & 1 == 1);
    bits.fold(check, |check, k| multiply(POWERS[k], check))
}

/// The product of two polynomials, modulo that of CRC-32C.
pub const fn multiply(a: u32, mut b: u32) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let (mut product, mut bit) = (0, 32);
    while bit > 0 {
        bit -= 1;
        product ^= b & (a >> bit & 1).wrapping_neg();
        b = b >> 1 ^ POLYNOMIAL & (b & 1).wrapping_neg();
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_of_parts_are_joined_to_that_of_the_whole() {
        let whole: Vec<u8> = (0..=255).cycle().step_by(7).take(6000).collect();
        let expected = crc32c::crc32c(&whole);
        for at in [0, 1, 7, 4096, 5999, 6000] {
            let (head, tail) = whole.split_at(at);
            let (head, check) = (crc32c::crc32c(head), crc32c::crc32c(tail));
            assert_eq!(joined(head, check, tail.len() as u64), expected, "{at}");
        }
    }
}
