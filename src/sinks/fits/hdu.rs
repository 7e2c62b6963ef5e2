//! One HDU of a file being written: header, data, filling, and what is put in when
//! the data are known: checksums, other cards, and data that had been left out.

use super::BLOCK_BYTES;
use crate::error::Result;
use crate::frames::cards::{CARD_BYTES, Cards};
use crate::kernels::checksum::{NO_CHECKSUM, Sum};
use crate::sinks::output::Output;

/// A keyword fills so much of its card.
const KEYWORD_BYTES: usize = 8;

/// An HDU whose header is written and whose data are coming.
pub(super) struct Hdu {
    /// Where its header begins.
    at: u64,
    header: Vec<u8>,
    /// Where the cards of its checksums stand in the header, where it has them.
    sums: Option<usize>,
    /// Have cards other than those been changed?
    is_changed: bool,
    data: Sum,
    /// Of data that was put over zeros.
    late: Sum,
    data_bytes: u64,
}

impl Hdu {
    /// Writes a header, given all its cards but END. Checksums need a target
    /// where they can be put in later; elsewhere they are left out.
    pub(super) fn begin(output: &mut Output, at: u64, mut header: Vec<u8>) -> Result<Hdu> {
        let sums = output.can_patch().then(|| {
            let place = header.len();
            header.extend(sum_cards(NO_CHECKSUM, 0));
            place
        });
        header.extend_from_slice(b"END");
        header.resize(header.len().next_multiple_of(BLOCK_BYTES), b' ');
        output.write(&header)?;
        Ok(Hdu {
            at,
            header,
            sums,
            is_changed: false,
            data: Sum::default(),
            late: Sum::default(),
            data_bytes: 0,
        })
    }

    /// Writes data as they stand in the file.
    pub(super) fn write(&mut self, output: &mut Output, bytes: &[u8]) -> Result<()> {
        let sum = match self.is_summed() {
            true => Sum::of(bytes),
            false => Sum::default(),
        };
        self.write_summed(output, bytes, sum)
    }

    /// The same, where their sum is known.
    pub(super) fn write_summed(
        &mut self,
        output: &mut Output,
        bytes: &[u8],
        sum: Sum,
    ) -> Result<()> {
        output.write(bytes)?;
        self.data = self.data.and(sum);
        self.data_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Does it have checksums?
    pub(super) fn is_summed(&self) -> bool {
        self.sums.is_some()
    }

    /// Writes data over zeros that were written at `at`, counted from the head of the
    /// data: whole words of 4 bytes.
    pub(super) fn put(&mut self, output: &mut Output, at: u64, bytes: &[u8]) -> Result<()> {
        output.patch(self.at + self.header.len() as u64 + at, bytes)?;
        self.late = self.late.and(Sum::of(bytes));
        Ok(())
    }

    /// Gives a card of the header another value: that of the same card in `cards`.
    pub(super) fn change(&mut self, cards: &Cards) {
        for card in cards.iter() {
            let keyword = &card[..KEYWORD_BYTES];
            let mut old = self.header.chunks_exact_mut(CARD_BYTES);
            if let Some(old) = old.find(|old| &old[..KEYWORD_BYTES] == keyword) {
                old.copy_from_slice(card);
                self.is_changed = true;
            }
        }
    }

    /// Fills up the last block and puts the checksums in; says where the next
    /// HDU begins.
    pub(super) fn finish(mut self, output: &mut Output) -> Result<u64> {
        let over = self.data_bytes % BLOCK_BYTES as u64;
        if over > 0 {
            let fill = BLOCK_BYTES as u64 - over;
            let zeros = [0; BLOCK_BYTES];
            let fill = usize::try_from(fill).unwrap_or(0);
            self.write(output, &zeros[..fill])?;
        }
        if let Some(place) = self.sums {
            let cards = place..place + 2 * CARD_BYTES;
            let data = self.data.and(self.late);
            self.header[cards.clone()].copy_from_slice(&sum_cards(NO_CHECKSUM, data.value()));
            let checksum = Sum::of(&self.header).and(data).complement();
            self.header[cards.clone()].copy_from_slice(&sum_cards(&checksum, data.value()));
            match self.is_changed {
                true => output.patch(self.at, &self.header)?,
                false => output.patch(self.at + place as u64, &self.header[cards])?,
            }
        }
        Ok(self.at + self.header.len() as u64 + self.data_bytes)
    }
}

/// The cards CHECKSUM and DATASUM. Their comments begin where cfitsio puts them:
/// astropy lays a card out anew before it verifies it.
fn sum_cards(checksum: &str, datasum: u32) -> Vec<u8> {
    let value = format!("'{datasum}'");
    let lines = [
        format!(
            "CHECKSUM= {:<20} / of the whole HDU",
            format!("'{checksum}'")
        ),
        format!("DATASUM = {value:<20} / of its data"),
    ];
    let lines = lines.map(|line| format!("{line:<CARD_BYTES$}"));
    lines.concat().into_bytes()
}
