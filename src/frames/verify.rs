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
    // A card without a value, or an empty text, says that there is no sum.
    let is_told = |text: &String| !text.trim().is_empty();
    let has_checksum = hdu
        .cards
        .get_text("CHECKSUM")
        .is_some_and(|text| is_told(&text));
    let told = hdu
        .cards
        .get("DATASUM")
        .map(|value| value.show())
        .filter(is_told);
    let datasum = told
        .as_ref()
        .and_then(|text| text.trim().parse::<u32>().ok());
    match (told, datasum) {
        (Some(told), None) => hdu
            .notes
            .push(format!("its DATASUM is `{told}`, which is no sum")),
        (None, _) if !has_checksum => {
            let note = "has neither DATASUM nor CHECKSUM: it could not be verified";
            hdu.notes.push(note.into());
        }
        _ => {}
    }
    if datasum.is_none() && !has_checksum {
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
