//! An HDU against the DATASUM and CHECKSUM in its header (FITS Standard 4.0, section
//! 4.4.2.7): what `--verify` asks for.

use crate::error::{Error, Result};
use crate::kernels::checksum::Sum;

use super::hdu::{Hdu, padded};
use super::source::Source;

/// An HDU is read so many bytes at a time: whole words, and within the cache.
const AT_ONCE: usize = 256 << 10;

/// The sum that all words of an HDU with CHECKSUM have: ones' complement -0.
const MINUS_ZERO: u32 = u32::MAX;

/// Holds an HDU against its sums; what is to be known of it, though it may be read, goes
/// to its notes.
///
/// # Errors
/// When its data are not what its header says, or cannot be read.
pub(super) fn verify(source: &Source, hdu: &mut Hdu) -> Result<()> {
    let text = |name: &str| {
        let text = hdu.cards.get_text(name);
        // One without a value says that there is no sum.
        text.filter(|text| !text.trim().is_empty())
    };
    let datasum = text("DATASUM").and_then(|text| text.trim().parse::<u32>().ok());
    let has_checksum = text("CHECKSUM").is_some();
    if datasum.is_none() && !has_checksum {
        hdu.notes
            .push("has neither DATASUM nor CHECKSUM: it could not be verified".into());
        return Ok(());
    }
    let header = sum(source, hdu.place.start, hdu.data_start)?;
    let end = padded(hdu.data_bytes).and_then(|bytes| hdu.data_start.checked_add(bytes));
    let data = sum(source, hdu.data_start, end.unwrap_or(u64::MAX))?;
    let (found, holds) = (data.value(), header.and(data).value() == MINUS_ZERO);
    let hint = "copy it again from where it came; without --verify it is taken as it is";
    // Zero is zero, with either sign.
    let same = |a: u32, b: u32| a == b || a.min(b) == 0 && a.max(b) == MINUS_ZERO;
    match datasum {
        Some(datasum) if !same(datasum, found) => Err(Error::damaged(format!(
            "HDU {} is damaged: the sum of its data is {found}, its DATASUM {datasum}",
            hdu.number
        ))
        .hint(hint)),
        None if !holds => Err(Error::damaged(format!(
            "HDU {} is damaged, or was changed after it was written: its CHECKSUM does not hold",
            hdu.number
        ))
        .hint(hint)),
        Some(_) if has_checksum && !holds => {
            let note = "its header was changed after its CHECKSUM was taken; its DATASUM holds";
            hdu.notes.push(note.into());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The sum of these bytes. A file may end before its last block does: what is missing
/// there counts as zero, and who reads samples says so if it is more.
fn sum(source: &Source, from: u64, end: u64) -> Result<Sum> {
    let mut sum = Sum::default();
    let mut bytes = vec![0; AT_ONCE];
    let mut at = from;
    while at < end {
        let wanted = usize::try_from(end - at).map_or(AT_ONCE, |left| left.min(AT_ONCE));
        let there = source.read_at_most(at, &mut bytes[..wanted])?;
        sum.add(&bytes[..there]);
        if there < wanted {
            break;
        }
        at += there as u64;
    }
    Ok(sum)
}
