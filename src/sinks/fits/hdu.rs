//! One HDU of a file being written: header, data, filling, and the checksums,
//! which are put into the header when the data are known.

use super::BLOCK_BYTES;
use super::checksum::{NO_CHECKSUM, Sum};
use crate::error::Result;
use crate::frames::cards::CARD_BYTES;
use crate::sinks::output::Output;

/// An HDU whose header is written and whose data are coming.
pub(super) struct Hdu {
    /// Where its header begins.
    at: u64,
    header: Vec<u8>,
    /// Where the cards of its checksums stand in the header, where it has them.
    sums: Option<usize>,
    data: Sum,
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
            data: Sum::default(),
            data_bytes: 0,
        })
    }

    /// Writes data as they stand in the file.
    pub(super) fn write(&mut self, output: &mut Output, bytes: &[u8]) -> Result<()> {
        output.write(bytes)?;
        if self.sums.is_some() {
            self.data.add(bytes);
        }
        self.data_bytes += bytes.len() as u64;
        Ok(())
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
            self.header[cards.clone()].copy_from_slice(&sum_cards(NO_CHECKSUM, self.data.value()));
            let mut header = Sum::default();
            header.add(&self.header);
            let checksum = header.and(self.data).complement();
            let bytes = sum_cards(&checksum, self.data.value());
            output.patch(self.at + place as u64, &bytes)?;
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
