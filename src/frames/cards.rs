//! Header cards: 80-byte records as they came, looked up by keyword.
//!
//! Bytes are kept whole; reading a value never changes them. The rules are those
//! of the FITS Standard 4.0, section 4, with the CONTINUE convention (4.2.1.2)
//! and the registered HIERARCH convention.

mod edit;

use std::borrow::Cow;

pub use edit::comment_of;

/// Bytes of one card.
pub const CARD_BYTES: usize = 80;

/// When the exposure began.
const DATE_OBS: &str = "DATE-OBS";

/// The time of day where DATE-OBS has none: what FITS had before the year 2000, and IRAF.
const TIMES_OF_DAY: [&str; 3] = ["TIME-OBS", "UTC-OBS", "UT"];

/// Keywords of cards that have no value to look up.
pub const REMARKS: [&str; 4] = ["COMMENT", "HISTORY", "CONTINUE", ""];

/// The value of a card.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `T` or `F`.
    Logical(bool),
    /// A whole number.
    Integer(i128),
    /// A number with a point or an exponent (`E` or `D`).
    Real(f64),
    /// A quoted string without its trailing blanks.
    Text(String),
    /// No value, or one that is not of the forms above, as it stands.
    Other(String),
}

impl Value {
    /// The value as a whole number; reals count when they are whole.
    pub fn as_int(&self) -> Option<i128> {
        match *self {
            Value::Integer(value) => Some(value),
            Value::Real(value) if value.fract() == 0.0 && value.abs() < 2f64.powi(63) =>
            {
                #[allow(clippy::cast_possible_truncation)]
                Some(value as i128)
            }
            _ => None,
        }
    }

    /// The value as a real number.
    pub fn as_real(&self) -> Option<f64> {
        match *self {
            Value::Integer(value) => Some(value as f64),
            Value::Real(value) => Some(value),
            _ => None,
        }
    }

    /// Is it of a card that has a keyword and no value?
    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Other(text) if text.is_empty())
    }

    /// The value as a table shows it, without quotes.
    pub fn show(&self) -> String {
        match self {
            Value::Logical(true) => "T".into(),
            Value::Logical(false) => "F".into(),
            Value::Integer(value) => value.to_string(),
            Value::Real(value) => format!("{value:?}"),
            Value::Text(text) | Value::Other(text) => text.clone(),
        }
    }
}

/// The cards of one header, whole and in order, without END.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cards(Vec<u8>);

impl Cards {
    /// Takes cards as they stand in a header; a last part of a card is filled
    /// with blanks.
    pub fn from_bytes(mut bytes: Vec<u8>) -> Cards {
        bytes.resize(bytes.len().next_multiple_of(CARD_BYTES), b' ');
        Cards(bytes)
    }

    /// The cards as they stand in a header.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The cards in order, 80 bytes each.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        self.0.chunks_exact(CARD_BYTES)
    }

    /// How many cards.
    pub fn len(&self) -> usize {
        self.0.len() / CARD_BYTES
    }

    /// Is there no card?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the first card with this keyword, case aside; `ESO DET ID` and,
    /// where no keyword has the dots, `ESO.DET.ID` find `HIERARCH ESO DET ID`. Strings
    /// that CONTINUE are joined.
    pub fn get(&self, keyword: &str) -> Option<Value> {
        let parted = || self.named(&keyword.replace('.', " "));
        let found = self.named(keyword);
        found.or_else(|| keyword.contains('.').then(parted)?)
    }

    /// The same for a keyword whose dots are dots.
    pub fn named(&self, keyword: &str) -> Option<Value> {
        let keyword = keyword.trim();
        let keyword = strip_hierarch(keyword).unwrap_or(keyword);
        let mut cards = self.iter();
        let card = cards.find(|card| is_named(card, keyword))?;
        value_of(card, cards)
    }

    /// Keyword, in capitals, and value of every card that has both, in order. Strings
    /// that CONTINUE are joined.
    pub fn values(&self) -> impl Iterator<Item = (String, Value)> {
        let mut cards = self.iter();
        std::iter::from_fn(move || {
            loop {
                let card = cards.next()?;
                let keyword = keyword_of(card).to_ascii_uppercase();
                if !REMARKS.contains(&keyword.as_str())
                    && let Some(value) = value_of(card, cards.clone())
                {
                    return Some((keyword, value));
                }
            }
        })
    }

    /// When the exposure began: DATE-OBS, and where that is a day alone the time of day
    /// that stands apart from it, as before the year 2000.
    pub fn date_obs(&self) -> Option<String> {
        let date = self.get_text(DATE_OBS)?;
        let day = date.trim();
        if day.len() != "2026-11-29".len() || day.as_bytes()[4] != b'-' {
            return Some(date);
        }
        let time = |name: &&str| self.get_text(name).filter(|time| time.contains(':'));
        let time = TIMES_OF_DAY.iter().find_map(time);
        Some(time.map_or(date.clone(), |time| format!("{day}T{}", time.trim())))
    }

    /// What a keyword tells people: [`Cards::date_obs`] where it is DATE-OBS, else its
    /// value.
    pub fn told(&self, keyword: &str) -> Option<Value> {
        let date = match keyword.trim().eq_ignore_ascii_case(DATE_OBS) {
            true => self.date_obs().map(Value::Text),
            false => None,
        };
        date.or_else(|| self.get(keyword))
    }

    /// The value of an integer keyword.
    pub fn get_int(&self, keyword: &str) -> Option<i128> {
        self.get(keyword)?.as_int()
    }

    /// The value of a real keyword.
    pub fn get_real(&self, keyword: &str) -> Option<f64> {
        self.get(keyword)?.as_real()
    }

    /// The value of a string keyword.
    pub fn get_text(&self, keyword: &str) -> Option<String> {
        match self.get(keyword)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The keyword of a card: `NAXIS1`, `COMMENT`, or what follows HIERARCH.
pub fn keyword_of(card: &[u8]) -> Cow<'_, str> {
    let short = card[..8].trim_ascii_end();
    if short == b"HIERARCH" {
        let rest = String::from_utf8_lossy(&card[8..]);
        if let Some((name, _)) = rest.split_once('=') {
            return Cow::Owned(name.trim().to_string());
        }
    }
    match std::str::from_utf8(short) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(short),
    }
}

/// Is it one of these keywords, case aside? A `#` at the end of a name stands for a
/// number.
pub fn is_one_of(keyword: &str, names: &[&str]) -> bool {
    let is_number = |tail: &str| !tail.is_empty() && tail.bytes().all(|byte| byte.is_ascii_digit());
    names.iter().any(|name| match name.strip_suffix('#') {
        None => keyword.eq_ignore_ascii_case(name),
        Some(stem) => keyword
            .split_at_checked(stem.len())
            .is_some_and(|(head, tail)| head.eq_ignore_ascii_case(stem) && is_number(tail)),
    })
}

fn strip_hierarch(keyword: &str) -> Option<&str> {
    let (first, rest) = keyword.split_once(' ')?;
    first.eq_ignore_ascii_case("HIERARCH").then(|| rest.trim())
}

fn is_named(card: &[u8], keyword: &str) -> bool {
    keyword_of(card).eq_ignore_ascii_case(keyword)
}

/// What stands behind the value indicator; `None` where a card has none.
fn value_field(card: &[u8]) -> Option<&[u8]> {
    if card.starts_with(b"HIERARCH") {
        let equals = card.iter().position(|&byte| byte == b'=')?;
        return Some(&card[equals + 1..]);
    }
    (card[8] == b'=').then(|| &card[9..])
}

/// The value of a card by itself.
pub fn own_value(card: &[u8]) -> Option<Value> {
    value_of(card, std::iter::empty())
}

/// The value of a card, and of the CONTINUE cards that are first among those behind it.
fn value_of<'a>(card: &[u8], mut behind: impl Iterator<Item = &'a [u8]>) -> Option<Value> {
    let (mut value, mut goes_on) = parse_value(value_field(card)?);
    while goes_on {
        let Value::Text(text) = &mut value else { break };
        let more = behind.next().filter(|card| keyword_of(card) == "CONTINUE");
        let Some((Value::Text(tail), again)) = more.map(|card| parse_value(&card[8..])) else {
            break;
        };
        text.pop();
        text.push_str(&tail);
        goes_on = again;
    }
    Some(value)
}

/// Text as headers written by careless programs have it: Latin-1, which loses no bytes.
fn latin1(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}

/// The value in a field, and whether a string ends in `&` and may go on.
fn parse_value(field: &[u8]) -> (Value, bool) {
    let text = latin1(field.trim_ascii());
    let text = text.trim();
    if let Some(quoted) = text.strip_prefix('\'') {
        let string = unquote(quoted);
        let goes_on = string.ends_with('&');
        return (Value::Text(string), goes_on);
    }
    let plain = text.split('/').next().unwrap_or("").trim();
    let value = match plain {
        "T" => Value::Logical(true),
        "F" => Value::Logical(false),
        _ => parse_number(plain).unwrap_or_else(|| Value::Other(plain.to_string())),
    };
    (value, false)
}

/// Reads a number as a card holds it.
pub(super) fn parse_number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(value) = text.parse()
    {
        return Some(Value::Integer(value));
    }
    let number = text.replace(['D', 'd'], "E").parse().ok()?;
    Some(Value::Real(number))
}

/// The string up to its closing quote, doubled quotes made single.
fn unquote(quoted: &str) -> String {
    let mut out = String::new();
    let mut chars = quoted.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\'' && chars.next_if_eq(&'\'').is_none() {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards(lines: &[&str]) -> Cards {
        let text: String = lines.iter().map(|line| format!("{line:<80}")).collect();
        Cards::from_bytes(text.into_bytes())
    }

    #[test]
    fn values_are_read_by_keyword() {
        let cards = cards(&[
            "NAXIS   =                    2 / number of axes",
            "EXPTIME =               1.5D+01",
            "OBJECT  = 'O''Hara / 3  '      / name",
            "FLAG    =                    T",
            "EMPTY   =",
            "COMMENT = not a value",
            "BZERO   =  9223372036854775808",
            "HIERARCH ESO DET ID = 'CCD 1' / chip",
        ]);
        assert_eq!(cards.get("naxis"), Some(Value::Integer(2)));
        assert_eq!(cards.get_real("EXPTIME"), Some(15.0));
        assert_eq!(cards.get_text("OBJECT").as_deref(), Some("O'Hara / 3"));
        assert_eq!(cards.get("FLAG"), Some(Value::Logical(true)));
        assert_eq!(cards.get("EMPTY"), Some(Value::Other(String::new())));
        assert_eq!(cards.get_int("BZERO"), Some(1 << 63));
        assert_eq!(cards.get_text("ESO DET ID").as_deref(), Some("CCD 1"));
        assert_eq!(
            cards.get_text("HIERARCH ESO DET ID").as_deref(),
            Some("CCD 1")
        );
        assert_eq!(cards.get("MISSING"), None);
        assert_eq!(cards.len(), 8);
    }

    #[test]
    fn strings_that_continue_are_joined() {
        let cards = cards(&[
            "LONGSTR = 'first &'",
            "CONTINUE  'second &' / comment",
            "CONTINUE  'third'",
            "AMP     = 'a & b &'",
            "NEXT    = 1",
        ]);
        assert_eq!(
            cards.get_text("LONGSTR").as_deref(),
            Some("first second third")
        );
        assert_eq!(cards.get_text("AMP").as_deref(), Some("a & b &"));
    }

    #[test]
    fn bytes_that_are_not_ascii_do_not_panic() {
        let mut bytes = b"OBJECT  = '".to_vec();
        bytes.extend([0xff, 0xe9, b'\'', 0x00]);
        let cards = Cards::from_bytes(bytes);
        assert_eq!(cards.get_text("OBJECT").as_deref(), Some("\u{ff}\u{e9}"));
        let cards = Cards::from_bytes(vec![0xff; 80]);
        assert_eq!(cards.get("X"), None);
    }
}
