//! A condition cut into words, numbers, texts and signs, each with its column.

use crate::error::{Error, Result};
use crate::frames::cards::{Value, parse_number};

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A whole number is kept exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    /// Reads a number as a card holds it, `D` exponents included.
    pub(super) fn parse(text: &str) -> Option<Number> {
        match parse_number(text)? {
            Value::Integer(value) => Some(Number::Whole(value)),
            Value::Real(value) => Some(Number::Real(value)),
            _ => None,
        }
    }

    pub(super) fn as_real(self) -> f64 {
        match self {
            Number::Whole(value) => value as f64,
            Number::Real(value) => value,
        }
    }
}

/// One piece of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A keyword, a measured value, or a logical: what stands there decides.
    Word(String),
    /// A keyword between backquotes.
    Keyword(String),
    Number(Number),
    Text(String),
    Comparison(Comparison),
    Like,
    And,
    Or,
    Not,
    Open,
    Close,
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) token: Token,
    /// From 1, in characters.
    pub(super) column: usize,
    /// As it was typed.
    pub(super) typed: String,
}

/// Signs, the longer before those they begin with.
const SIGNS: [(&str, Token); 14] = [
    ("==", Token::Comparison(Comparison::Equal)),
    ("!=", Token::Comparison(Comparison::Unequal)),
    ("<>", Token::Comparison(Comparison::Unequal)),
    ("<=", Token::Comparison(Comparison::LessOrEqual)),
    (">=", Token::Comparison(Comparison::GreaterOrEqual)),
    ("&&", Token::And),
    ("||", Token::Or),
    ("=", Token::Comparison(Comparison::Equal)),
    ("<", Token::Comparison(Comparison::Less)),
    (">", Token::Comparison(Comparison::Greater)),
    ("~", Token::Like),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
];

/// An error about the place `column`.
pub(super) fn fault(column: usize, what: &str, hint: &str) -> Error {
    Error::input(format!(
        "cannot read the condition at column {column}: {what}"
    ))
    .hint(hint)
}

/// Cuts a condition into its pieces.
pub(super) fn tokens(text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let (mut rest, mut column) = (text, 1);
    loop {
        let start = rest.trim_start();
        column += rest[..rest.len() - start.len()].chars().count();
        let Some(first) = start.chars().next() else {
            return Ok(pieces);
        };
        let (token, len) = match first {
            '\'' | '"' | '`' => quoted(start, first, column)?,
            _ if begins_number(start) => number(start, column)?,
            _ if first.is_ascii_alphabetic() || first == '_' => word(start),
            _ => sign(start, first, column)?,
        };
        let (typed, behind) = start.split_at(len);
        pieces.push(Piece {
            token,
            column,
            typed: typed.to_string(),
        });
        column += typed.chars().count();
        rest = behind;
    }
}

/// What stands between two quotes; a doubled quote is one.
fn quoted(text: &str, quote: char, column: usize) -> Result<(Token, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote && chars.next_if(|&(_, next)| next == quote).is_none() {
            let len = at + c.len_utf8();
            let name = out.trim();
            return match (quote, name) {
                ('`', "") => Err(fault(
                    column,
                    "there is no keyword between the backquotes",
                    "such as `ESO DET ID`",
                )),
                ('`', name) => Ok((Token::Keyword(name.to_string()), len)),
                _ => Ok((Token::Text(out), len)),
            };
        }
        out.push(c);
    }
    Err(fault(
        column,
        &format!("the {quote} is never closed"),
        "strings stand between ' or \", a keyword with blanks between `",
    ))
}

fn begins_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.strip_prefix('.').unwrap_or(unsigned);
    digits.starts_with(|c: char| c.is_ascii_digit())
}

fn number(text: &str, column: usize) -> Result<(Token, usize)> {
    // Dates and what else begins like a number, so that the message shows it whole.
    let goes_on = |c: char| c.is_ascii_alphanumeric() || "._:+-".contains(c);
    let len = text.find(|c| !goes_on(c)).unwrap_or(text.len());
    let typed = &text[..len];
    match Number::parse(typed) {
        Some(number) => Ok((Token::Number(number), len)),
        None => Err(fault(
            column,
            &format!("{typed} is not a number"),
            "dates and other strings stand between ', keywords that begin with a digit between `",
        )),
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn word(text: &str) -> (Token, usize) {
    let len = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let word = &text[..len];
    let signs = [("and", Token::And), ("or", Token::Or), ("not", Token::Not)];
    for (name, token) in signs {
        if word.eq_ignore_ascii_case(name) {
            return (token, len);
        }
    }
    (Token::Word(word.to_string()), len)
}

fn sign(text: &str, first: char, column: usize) -> Result<(Token, usize)> {
    for (sign, token) in SIGNS {
        if text.starts_with(sign) {
            return Ok((token, sign.len()));
        }
    }
    Err(fault(
        column,
        &format!("unexpected {}", first.escape_debug()),
        "comparisons are == != < <= > >= ~, joined by and, or, not and parentheses",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Token> {
        tokens(text)
            .unwrap()
            .into_iter()
            .map(|piece| piece.token)
            .collect()
    }

    #[test]
    fn a_condition_is_cut_into_its_pieces() {
        use Comparison::*;
        let word = |name: &str| Token::Word(name.into());
        let text = |text: &str| Token::Text(text.into());
        assert_eq!(
            found("DATE-OBS>='2024-01-01'AND!(x<>-1.5D+2)"),
            [
                word("DATE-OBS"),
                Token::Comparison(GreaterOrEqual),
                text("2024-01-01"),
                Token::And,
                Token::Not,
                Token::Open,
                word("x"),
                Token::Comparison(Unequal),
                Token::Number(Number::Real(-150.0)),
                Token::Close,
            ]
        );
        assert_eq!(
            found("`ESO DET ID` = \"O'Hara\" || A.B ~ 'it''s'"),
            [
                Token::Keyword("ESO DET ID".into()),
                Token::Comparison(Equal),
                text("O'Hara"),
                Token::Or,
                word("A.B"),
                Token::Like,
                text("it's"),
            ]
        );
        assert_eq!(found(" \t "), []);
    }

    #[test]
    fn columns_count_characters() {
        let pieces = tokens("A ~ 'é' and  B").unwrap();
        let columns: Vec<usize> = pieces.iter().map(|piece| piece.column).collect();
        assert_eq!(columns, [1, 3, 5, 9, 14]);
        for (text, column) in [("A == 'x", 6), ("é", 1), ("A = #", 5), ("``", 1)] {
            let error = tokens(text).unwrap_err().to_string();
            assert!(error.contains(&format!("column {column}:")), "{error}");
        }
        let error = tokens("DATE > 2024-01-01").unwrap_err().to_string();
        assert!(error.ends_with("2024-01-01 is not a number"), "{error}");
    }
}
