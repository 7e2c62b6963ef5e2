//! Header cards made and changed: the writing half of [`super`].
//!
//! Cards are written in the fixed format of the FITS Standard 4.0, section 4.2;
//! strings that are too long go on in CONTINUE cards, and keywords that are not
//! standard become HIERARCH cards. A card and its CONTINUE cards stay together.
//! Whatever is put in, what comes out is printable ASCII.

use super::{CARD_BYTES, Cards, Value, is_named, keyword_of, latin1, value_field};

/// Numbers and logicals end at this width behind `= `.
const FIXED_WIDTH: usize = 20;

/// Where the text of a COMMENT, HISTORY or CONTINUE card may begin.
const KEYWORD_BYTES: usize = 8;

/// A keyword longer than this would leave no room for a value.
const MAX_KEYWORD_BYTES: usize = 40;

impl Cards {
    /// Adds a card with a whole number.
    pub fn push_int(&mut self, keyword: &str, value: i128, comment: &str) {
        self.push(keyword, &Value::Integer(value), comment);
    }

    /// Adds a card with a real number, in the shortest form that reads back to
    /// it. FITS cannot write NaN and infinities: they become a card without value.
    pub fn push_real(&mut self, keyword: &str, value: f64, comment: &str) {
        self.push(keyword, &Value::Real(value), comment);
    }

    /// Adds a card with a string, and CONTINUE cards as it needs.
    pub fn push_text(&mut self, keyword: &str, value: &str, comment: &str) {
        self.push(keyword, &Value::Text(value.to_string()), comment);
    }

    /// Adds a card with `T` or `F`.
    pub fn push_logical(&mut self, keyword: &str, value: bool, comment: &str) {
        self.push(keyword, &Value::Logical(value), comment);
    }

    /// Adds a card with a value of any form.
    pub fn push(&mut self, keyword: &str, value: &Value, comment: &str) {
        self.0.extend(compose(keyword, value, comment));
    }

    /// Adds a line of COMMENT or HISTORY, in as many cards as it needs.
    pub fn push_line(&mut self, keyword: &str, text: &str) {
        let keyword = format!("{:<KEYWORD_BYTES$}", clean_keyword(keyword).0);
        let text = printable(text);
        for part in text.as_bytes().chunks(CARD_BYTES - KEYWORD_BYTES) {
            let start = self.0.len();
            self.0
                .extend_from_slice(&keyword.as_bytes()[..KEYWORD_BYTES]);
            self.0.extend_from_slice(part);
            self.0.resize(start + CARD_BYTES, b' ');
        }
    }

    /// Adds cards at the end.
    pub fn extend(&mut self, cards: &Cards) {
        self.0.extend_from_slice(&cards.0);
    }

    /// Adds whole cards as they are.
    pub(in crate::frames) fn push_entry(&mut self, cards: &[u8]) {
        self.0.extend_from_slice(cards);
    }

    /// Each card with the CONTINUE cards behind it.
    pub(in crate::frames) fn entries(&self) -> impl Iterator<Item = &[u8]> {
        entries(&self.0)
    }

    /// Gives the first card of this name another value and keeps its place and
    /// comment; adds a card where there is none.
    pub fn set(&mut self, keyword: &str, value: &Value) {
        let name = bare(keyword);
        let mut start = 0;
        let found = entries(&self.0).find_map(|entry| {
            let range = start..start + entry.len();
            start = range.end;
            let card = &entry[..CARD_BYTES];
            is_named(card, name).then(|| (range, comment_of(card)))
        });
        if let Some((range, comment)) = found {
            self.0.splice(range, compose(keyword, value, &comment));
            return;
        }
        self.push(keyword, value, "");
    }

    /// Takes every card of this name away.
    pub fn remove(&mut self, keyword: &str) {
        let name = bare(keyword);
        self.retain(|card| !is_named(card, name));
    }

    /// Keeps the cards that `keep` wants; CONTINUE cards go with the card they
    /// continue.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let mut kept = Vec::with_capacity(self.0.len());
        for entry in entries(&self.0) {
            if keep(&entry[..CARD_BYTES]) {
                kept.extend_from_slice(entry);
            }
        }
        self.0 = kept;
    }
}

/// The comment of a card, behind the `/` that is not in a string.
pub fn comment_of(card: &[u8]) -> String {
    let Some(field) = value_field(card) else {
        return String::new();
    };
    let mut in_string = false;
    let slash = field.iter().position(|&byte| {
        // A doubled quote leaves the string and enters it again.
        in_string ^= byte == b'\'';
        byte == b'/' && !in_string
    });
    let comment = slash.map_or(&b""[..], |slash| &field[slash + 1..]);
    latin1(comment).trim().to_string()
}

/// Cards, each with the CONTINUE cards behind it.
fn entries(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let mut len = CARD_BYTES.min(rest.len());
        let goes_on = |card: &[u8]| card.len() == CARD_BYTES && keyword_of(card) == "CONTINUE";
        while len < rest.len() && goes_on(&rest[len..rest.len().min(len + CARD_BYTES)]) {
            len += CARD_BYTES;
        }
        let (entry, tail) = rest.split_at(len);
        rest = tail;
        (!entry.is_empty()).then_some(entry)
    })
}

/// A card and its CONTINUE cards, whole.
fn compose(keyword: &str, value: &Value, comment: &str) -> Vec<u8> {
    let (name, is_standard) = clean_keyword(keyword);
    let head = match is_standard {
        true => format!("{name:<KEYWORD_BYTES$}= "),
        false => format!("HIERARCH {name} = "),
    };
    let shown = match value {
        Value::Text(text) => return compose_text(head, &printable(text), comment),
        Value::Real(value) if !value.is_finite() => String::new(),
        Value::Real(value) => show_real(*value),
        other => printable(&other.show()),
    };
    // A number without its last digits would be another number.
    let fits = head.len() + shown.len() <= CARD_BYTES;
    let shown = if fits { shown } else { String::new() };
    let mut out = Vec::new();
    push_card(&mut out, &format!("{head}{shown:>FIXED_WIDTH$}"), comment);
    out
}

/// The shortest form of a finite number, always with a point.
fn show_real(value: f64) -> String {
    let text = format!("{value:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let point = if digits.contains('.') { "" } else { ".0" };
            format!("{digits}{point}E{exponent}")
        }
    }
}

/// A string in as many cards as it needs; `head` is what stands before its quote.
fn compose_text(mut head: String, text: &str, comment: &str) -> Vec<u8> {
    // A quote is doubled, and its halves may not be parted.
    let quoted = text.chars().map(|c| {
        if c == '\'' {
            "''".into()
        } else {
            String::from(c)
        }
    });
    let units: Vec<String> = quoted.collect();
    let mut rest = &units[..];
    let mut out = Vec::new();
    loop {
        let room = CARD_BYTES - head.len() - "''".len();
        if rest.iter().map(String::len).sum::<usize>() <= room {
            // The closing quote stands in column 20 or later.
            let last = rest.concat();
            push_card(&mut out, &format!("{head}'{last:<8}'"), comment);
            return out;
        }
        let mut part = String::new();
        while let Some((unit, tail)) = rest.split_first() {
            if room < part.len() + unit.len() + "&".len() {
                break;
            }
            part.push_str(unit);
            rest = tail;
        }
        push_card(&mut out, &format!("{head}'{part}&'"), "");
        head = "CONTINUE  ".to_string();
    }
}

fn push_card(out: &mut Vec<u8>, text: &str, comment: &str) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    let comment = printable(comment);
    // A comment of fewer characters than this says nothing.
    if !comment.is_empty() && text.len() + 3 + 4 <= CARD_BYTES {
        out.extend_from_slice(b" / ");
        out.extend_from_slice(comment.as_bytes());
    }
    out.resize(start + CARD_BYTES, b' ');
}

fn printable(text: &str) -> String {
    let clean = text.chars().map(|c| match c {
        ' '..='~' => c,
        _ if c.is_whitespace() => ' ',
        _ => '?',
    });
    clean.collect()
}

/// The keyword without blanks around it and HIERARCH before it.
fn bare(keyword: &str) -> &str {
    let keyword = keyword.trim();
    super::strip_hierarch(keyword).unwrap_or(keyword)
}

/// The keyword in capitals, and whether it is one of the standard form.
fn clean_keyword(keyword: &str) -> (String, bool) {
    let mut name = printable(&bare(keyword).to_uppercase()).replace(['=', '\''], "_");
    name.truncate(MAX_KEYWORD_BYTES);
    let is_legal = |byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_');
    let is_standard = name.len() <= KEYWORD_BYTES && name.bytes().all(is_legal);
    (name, is_standard)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(cards: &Cards) -> Vec<String> {
        let text = |card: &[u8]| String::from_utf8(card.to_vec()).unwrap();
        cards
            .iter()
            .map(|card| text(card).trim_end().to_string())
            .collect()
    }

    #[test]
    fn cards_are_written_in_the_fixed_format() {
        let mut cards = Cards::default();
        cards.push_logical("SIMPLE", true, "standard");
        cards.push_int("naxis", 2, "");
        cards.push_int("BZERO", 1 << 63, "offset");
        cards.push_real("CRVAL1", -1.5e-7, "");
        cards.push_text("OBJECT", "O'Hara", "name");
        cards.push_int("ESO DET WIN1", 4, "chip");
        cards.push_real("NONE", f64::NAN, "no number");
        assert_eq!(
            lines(&cards),
            [
                "SIMPLE  =                    T / standard",
                "NAXIS   =                    2",
                "BZERO   =  9223372036854775808 / offset",
                "CRVAL1  =              -1.5E-7",
                "OBJECT  = 'O''Hara ' / name",
                "HIERARCH ESO DET WIN1 =                    4 / chip",
                "NONE    =                      / no number",
            ]
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        for value in [0.1, 1e300, -5e-324, 1e16, 123456789.125, -0.0, 1.0] {
            let mut cards = Cards::default();
            cards.push_real("A", value, "");
            assert_eq!(cards.get("A"), Some(Value::Real(value)));
        }
        for value in [i128::from(i64::MIN), 0, i128::from(u64::MAX)] {
            let mut cards = Cards::default();
            cards.push_int("A KEYWORD THAT IS LONG", value, "");
            assert_eq!(cards.get_int("A KEYWORD THAT IS LONG"), Some(value));
        }
    }

    #[test]
    fn strings_of_any_length_go_on() {
        for unit in ["a", "'", "ab ", "x'", "&"] {
            for n in 0..240 {
                let text = unit.repeat(n);
                for keyword in ["LONG", "HIERARCH A LONGER KEYWORD"] {
                    let mut cards = Cards::default();
                    cards.push_text(keyword, &text, "why");
                    cards.push_int("NEXT", 1, "");
                    let read = cards.get_text(keyword).unwrap();
                    assert_eq!(read, text.trim_end(), "{unit} {n}");
                    assert_eq!(cards.as_bytes().len() % CARD_BYTES, 0);
                    cards.remove(keyword);
                    assert_eq!(cards.len(), 1);
                }
            }
        }
    }

    #[test]
    fn a_changed_card_keeps_its_place_and_comment() {
        let mut cards = Cards::default();
        cards.push_int("A", 1, "");
        cards.push_text("B", &"long '/ ".repeat(20), "kept");
        cards.push_text("C", "/'/", "of / c");
        cards.set("c", &Value::Real(2.5));
        cards.set("B", &Value::Integer(3));
        cards.set("D", &Value::Logical(false));
        assert_eq!(cards.len(), 4);
        assert_eq!(cards.get_int("B"), Some(3));
        assert_eq!(lines(&cards)[2], "C       =                  2.5 / of / c");
        cards.remove("A");
        assert_eq!(cards.len(), 3);
    }

    #[test]
    fn nothing_that_is_put_in_breaks_a_header() {
        let wild = "\n\u{e9}\u{1f600}=' ".repeat(60);
        let mut cards = Cards::default();
        cards.push_text(&wild, &wild, &wild);
        cards.push_int(&wild, i128::MIN, &wild);
        cards.push_int("", 1, &wild);
        cards.push_line("HISTORY", &wild);
        cards.push_line(&wild, "text");
        cards.set(&wild, &Value::Other(wild.clone()));
        assert_eq!(cards.as_bytes().len() % CARD_BYTES, 0);
        assert!(
            cards
                .as_bytes()
                .iter()
                .all(|byte| (b' '..=b'~').contains(byte))
        );
        assert!(comment_of(&[b'\''; 80]).is_empty());
    }

    #[test]
    fn long_lines_of_history_take_more_cards() {
        let mut cards = Cards::default();
        cards.push_line("HISTORY", &"x".repeat(100));
        assert_eq!(cards.len(), 2);
        assert_eq!(lines(&cards)[1].len(), 8 + 28);
    }
}
