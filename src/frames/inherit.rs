//! What an extension takes over from the primary header of its file: there many
//! instruments keep what all detectors share, such as FILTER and EXPTIME.
//!
//! The convention is INHERIT = T (FITS Standard 4.0, appendix K). Many files leave it out
//! that mean it, so an extension that says nothing inherits from a primary header that
//! has no data of its own. INHERIT = F inherits nothing.

use std::collections::HashSet;

use crate::error::Result;

use super::cards::{Cards, REMARKS, Value, is_one_of, keyword_of};
use super::hdu::{Content, Hdu, Place, Walk};
use super::source::Source;

/// Keywords that are about the primary HDU itself. A `#` stands for a number.
const OWN: [&str; 21] = [
    "SIMPLE", "BITPIX", "NAXIS", "NAXIS#", "EXTEND", "NEXTEND", "GROUPS", "PCOUNT", "GCOUNT",
    "BSCALE", "BZERO", "BLANK", "DATAMIN", "DATAMAX", "CHECKSUM", "DATASUM", "EXTNAME", "EXTVER",
    "EXTLEVEL", "INHERIT", "END",
];

/// The cards of the primary header that hold for an extension, too, and that it has not
/// itself.
///
/// # Errors
/// When the primary header cannot be read.
pub(super) fn inherited(source: &Source, hdu: &Hdu) -> Result<Cards> {
    let says = hdu.cards.get("INHERIT");
    if hdu.place.number == 0 || says == Some(Value::Logical(false)) {
        return Ok(Cards::default());
    }
    let primary = Place {
        start: hdu.place.primary,
        primary: hdu.place.primary,
        ..Place::default()
    };
    let Some(primary) = Walk::at(&primary).step(source)? else {
        return Ok(Cards::default());
    };
    if says != Some(Value::Logical(true)) && primary.content != Content::Empty {
        return Ok(Cards::default());
    }
    let own: HashSet<String> = hdu.cards.iter().map(name_of).collect();
    let mut taken = primary.cards;
    taken.retain(|card| {
        let name = name_of(card);
        !is_one_of(&name, &REMARKS) && !is_one_of(&name, &OWN) && !own.contains(&name)
    });
    Ok(taken)
}

fn name_of(card: &[u8]) -> String {
    keyword_of(card).to_ascii_uppercase()
}
