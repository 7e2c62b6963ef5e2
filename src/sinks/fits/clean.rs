//! Cards made fit for a strict reader, changed only where the standard is broken.
//!
//! Headers in the wild hold newlines, lower-case exponents, `NaN` and lists of
//! numbers. What is written is what a FITS verifier passes: characters, keyword
//! and value follow FITS Standard 4.0, section 4. Nothing is dropped: a value
//! that is none becomes a string, and a card beyond repair a COMMENT.

use crate::frames::cards::CARD_BYTES;

/// One card.
type Card = [u8; CARD_BYTES];

/// The card as the standard allows it.
pub(super) fn clean(card: &[u8]) -> Card {
    let mut out = [b' '; CARD_BYTES];
    for (at, (to, &byte)) in out.iter_mut().zip(card).enumerate() {
        *to = match byte {
            b' '..=b'~' => byte,
            // Not in a keyword, which would become another one, perhaps END.
            0..b' ' if at >= 8 => b' ',
            _ => b'?',
        };
    }
    out[..8].make_ascii_uppercase();
    let name = out[..8].trim_ascii_end();
    let is_legal = |&byte: &u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_');
    if !name.iter().all(is_legal) {
        return comment(&out);
    }
    match has_value(name, &out) {
        // Readers insist on a string.
        true if name == b"EXTNAME" => clean_value(&out, true),
        true => clean_value(&out, false),
        false => out,
    }
}

/// Does the card hold a value in the plain form? HIERARCH is a convention that
/// readers parse by its own rules.
fn has_value(name: &[u8], card: &Card) -> bool {
    let commentary: [&[u8]; 5] = [b"COMMENT", b"HISTORY", b"CONTINUE", b"HIERARCH", b""];
    !commentary.contains(&name) && card[8..10] == *b"= "
}

fn comment(card: &Card) -> Card {
    let mut out = [b' '; CARD_BYTES];
    out[..8].copy_from_slice(b"COMMENT ");
    out[8..].copy_from_slice(&card[..CARD_BYTES - 8]);
    out
}

fn clean_value(card: &Card, is_text: bool) -> Card {
    let field = &card[10..];
    let Some(start) = field.iter().position(|&byte| byte != b' ') else {
        return *card;
    };
    if field[start] == b'/' {
        return *card;
    }
    if field[start] == b'\'' {
        return match string_is_closed(&field[start + 1..]) {
            true => *card,
            false => comment(card),
        };
    }
    let slash = field
        .iter()
        .position(|&byte| byte == b'/')
        .unwrap_or(field.len());
    let value = field[start..slash].trim_ascii_end();
    if is_value(value) && !is_text {
        return *card;
    }
    let capitals = value.to_ascii_uppercase();
    if is_value(&capitals) && !is_text {
        let mut out = *card;
        out[10 + start..10 + start + capitals.len()].copy_from_slice(&capitals);
        return out;
    }
    quote(card, value, &field[slash..])
}

/// The value as a string, its comment as far as there is room.
fn quote(card: &Card, value: &[u8], comment_field: &[u8]) -> Card {
    let mut text = card[..10].to_vec();
    text.push(b'\'');
    for &byte in value {
        text.extend(std::iter::repeat_n(byte, if byte == b'\'' { 2 } else { 1 }));
    }
    text.push(b'\'');
    if text.len() > CARD_BYTES {
        return comment(card);
    }
    if !comment_field.is_empty() {
        text.push(b' ');
        text.extend(comment_field);
    }
    let mut out = [b' '; CARD_BYTES];
    for (to, byte) in out.iter_mut().zip(text) {
        *to = byte;
    }
    out
}

/// Is there a quote that ends the string, with nothing but a comment behind it?
fn string_is_closed(text: &[u8]) -> bool {
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'\'' {
            if text.get(at + 1) != Some(&b'\'') {
                let rest = text[at + 1..].trim_ascii_start();
                return rest.is_empty() || rest[0] == b'/';
            }
            at += 1;
        }
        at += 1;
    }
    false
}

/// Is it a logical, an integer, a real or a complex value?
fn is_value(text: &[u8]) -> bool {
    if text == b"T" || text == b"F" || is_number(text) {
        return true;
    }
    let inner = text
        .strip_prefix(b"(")
        .and_then(|text| text.strip_suffix(b")"));
    let Some(inner) = inner else { return false };
    let mut parts = inner.split(|&byte| byte == b',');
    let both = (parts.next(), parts.next(), parts.next());
    matches!(both, (Some(re), Some(im), None)
        if is_number(re.trim_ascii()) && is_number(im.trim_ascii()))
}

fn is_number(text: &[u8]) -> bool {
    let unsigned = |text: &'_ [u8]| matches!(text.first(), Some(b'+' | b'-'));
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    let text = if unsigned(text) { &text[1..] } else { text };
    let mut halves = text.splitn(2, |&byte| byte == b'E' || byte == b'D');
    let mantissa = halves.next().unwrap_or(b"");
    let exponent_holds = halves.next().is_none_or(|exponent| {
        let plain = if unsigned(exponent) {
            &exponent[1..]
        } else {
            exponent
        };
        !plain.is_empty() && digits(plain)
    });
    let mut parts = mantissa.splitn(2, |&byte| byte == b'.');
    let (whole, fraction) = (parts.next().unwrap_or(b""), parts.next().unwrap_or(b""));
    let any = !whole.is_empty() || !fraction.is_empty();
    any && digits(whole) && digits(fraction) && exponent_holds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> String {
        let out = clean(format!("{text:<80}").as_bytes());
        String::from_utf8(out.to_vec())
            .unwrap()
            .trim_end()
            .to_string()
    }

    #[test]
    fn what_the_standard_allows_is_left_alone() {
        for text in [
            "EXPTIME =                 30.0 / [s]",
            "GAIN    = 1.5D+01",
            "N       = -12",
            "HALF    = .5",
            "FLAG    =                    T / yes",
            "NAME    = 'O''Hara / x' / who",
            "EMPTY   =",
            "EMPTY   =                      / nothing",
            "C       = (1.0, -2E3)",
            "COMMENT = anything goes 1e5",
            "HIERARCH ESO DET = nan",
            "CONTINUE  'abc'",
            "NOVALUE text",
        ] {
            assert_eq!(cleaned(text), text);
        }
    }

    #[test]
    fn a_value_that_is_none_becomes_one() {
        assert_eq!(
            cleaned("CD1_1   =       -2.7078566e-07 / Coordinate matrix"),
            "CD1_1   =       -2.7078566E-07 / Coordinate matrix"
        );
        assert_eq!(cleaned("AIRMASS = NaN / none"), "AIRMASS = 'NaN' / none");
        assert_eq!(
            cleaned("SKEW    = -1.3, -1.6 /skew"),
            "SKEW    = '-1.3, -1.6' /skew"
        );
        assert_eq!(cleaned("NAME    = 'open"), "COMMENT NAME    = 'open");
        assert_eq!(cleaned("NAME    = 'a' b"), "COMMENT NAME    = 'a' b");
        assert_eq!(cleaned("DATE    = it's"), "DATE    = 'it''s'");
        assert_eq!(cleaned("TIME    = 12:00"), "TIME    = '12:00'");
    }

    #[test]
    fn characters_and_keywords_are_those_of_the_standard() {
        assert_eq!(cleaned("object  = 'a\nb'"), "OBJECT  = 'a b'");
        assert_eq!(cleaned("MY KEY  = 1"), "COMMENT MY KEY  = 1");
        // Of what a reader took for no keyword none is made.
        assert_eq!(cleaned("END\u{1}"), "COMMENT END?");
        assert_eq!(cleaned("BLANK\0  = 5"), "COMMENT BLANK?  = 5");
        assert_eq!(cleaned("EXTNAME = F / name"), "EXTNAME = 'F' / name");
        let every: Vec<u8> = (0..=255).collect();
        for card in every.chunks(CARD_BYTES) {
            assert!(clean(card).iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }
}
