//! Bits of a stream, the highest of a byte first.
//!
//! Behind the stream stand [`PAD_BYTES`] others, so that a word can be taken anywhere
//! in it. They do not count: whoever reads asks in time whether it is still inside.

/// Bytes behind a stream that can be looked at and do not count.
pub(super) const PAD_BYTES: usize = 8;

/// Bits that a word has at least, wherever it is taken.
pub(super) const WORD_BITS: u32 = 57;

/// Where in a stream its next bit is.
pub(super) struct Bits<'a> {
    /// The stream, and [`PAD_BYTES`] behind it.
    padded: &'a [u8],
    pub(super) at: usize,
}

impl Bits<'_> {
    pub(super) fn new(padded: &[u8]) -> Bits<'_> {
        Bits { padded, at: 0 }
    }

    /// The next bits, [`WORD_BITS`] of them at least, from the highest on; zeros follow.
    #[inline]
    pub(super) fn peek(&self) -> Option<u64> {
        let word = self.padded.get(self.at / 8..)?.first_chunk()?;
        Some(u64::from_be_bytes(*word) << (self.at % 8))
    }

    /// A number of 1 to 32 bits.
    #[inline]
    pub(super) fn take(&mut self, n_bits: u32) -> Option<u32> {
        let bits = self.peek()? >> (64 - n_bits);
        self.at += n_bits as usize;
        u32::try_from(bits).ok()
    }

    /// `None` once bits were taken that are not the stream's.
    pub(super) fn inside(&self) -> Option<()> {
        (self.at + 8 * PAD_BYTES <= 8 * self.padded.len()).then_some(())
    }
}
