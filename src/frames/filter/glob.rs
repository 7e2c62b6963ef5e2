//! Patterns as shells have them: `*` any text, `?` one character, `[a-z]` one of
//! a set, `[!a-z]` one of no set, `\` the next character as it is.
//!
//! Matching never recurses: a star is tried again only from the last one, so the
//! time is at most the product of both lengths.

/// A pattern for a whole text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Glob(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    /// Any text.
    Star,
    /// Any character.
    Any,
    /// This character.
    One(char),
    /// A character in one of the ranges, or in none of them.
    Set(Vec<(char, char)>, bool),
}

impl Glob {
    /// Reads a pattern; a `[` that nothing closes stands for itself.
    pub(super) fn new(pattern: &str) -> Glob {
        let chars: Vec<char> = pattern.trim_end_matches(' ').chars().collect();
        let (mut pieces, mut at) = (Vec::new(), 0);
        while let Some(&c) = chars.get(at) {
            at += 1;
            pieces.push(match c {
                '*' => Piece::Star,
                '?' => Piece::Any,
                '[' => match set(&chars[at..]) {
                    Some((set, taken)) => {
                        at += taken;
                        set
                    }
                    None => Piece::One('['),
                },
                '\\' => {
                    let escaped = chars.get(at).copied().unwrap_or('\\');
                    at += 1;
                    Piece::One(escaped)
                }
                _ => Piece::One(c),
            });
        }
        Glob(pieces)
    }

    /// Is all of the text as the pattern says?
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut piece) = (0, 0);
        // The last star, and the end of the text that it stands for so far.
        let mut star: Option<(usize, usize)> = None;
        loop {
            match (self.0.get(piece), text.get(at)) {
                (Some(Piece::Star), _) => {
                    star = Some((piece, at));
                    piece += 1;
                }
                (Some(one), Some(&c)) if one.holds(c) => {
                    piece += 1;
                    at += 1;
                }
                (None, None) => return true,
                _ => match star {
                    Some((starred, end)) if end < text.len() => {
                        star = Some((starred, end + 1));
                        (piece, at) = (starred + 1, end + 1);
                    }
                    _ => return false,
                },
            }
        }
    }
}

impl Piece {
    fn holds(&self, c: char) -> bool {
        match self {
            Piece::Star => false,
            Piece::Any => true,
            Piece::One(own) => *own == c,
            Piece::Set(ranges, inside) => {
                ranges.iter().any(|&(lo, hi)| lo <= c && c <= hi) == *inside
            }
        }
    }
}

/// The set behind a `[`, and how many characters it takes.
fn set(chars: &[char]) -> Option<(Piece, usize)> {
    let outside = matches!(chars.first(), Some('!' | '^'));
    let start = usize::from(outside);
    // A `]` at the very start belongs to the set.
    let len = chars.get(start + 1..)?.iter().position(|&c| c == ']')? + 1;
    let mut inner = &chars[start..start + len];
    let mut ranges = Vec::new();
    loop {
        inner = match inner {
            [lo, '-', hi, rest @ ..] => {
                ranges.push((*lo, *hi));
                rest
            }
            [one, rest @ ..] => {
                ranges.push((*one, *one));
                rest
            }
            [] => break,
        };
    }
    Some((Piece::Set(ranges, !outside), start + len + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts_as_in_a_shell() {
        for (pattern, matching, others) in [
            (
                "M3*",
                &["M3", "M31", "M3 core"][..],
                &["m31", "NGC M31", ""][..],
            ),
            ("*flat*", &["flat", "skyflat-R"], &["FLAT", "fla"]),
            ("M?1", &["M31", "M\u{e9}1"], &["M1", "M331"]),
            ("NGC[0-9]*", &["NGC7331"], &["NGC", "NGC A"]),
            ("[!b]ias", &["Bias", "xias"], &["bias", "ias"]),
            ("[]a-]", &["]", "a", "-"], &["b", ""]),
            ("[a", &["[a"], &["a"]),
            ("[]", &["[]"], &["["]),
            (r"\*a\", &[r"*a\"], &["xa"]),
            ("a*b*c", &["abc", "aXbXbXc"], &["ab", "acb", "abcd"]),
            ("M31   ", &["M31"], &["M31   "]),
            ("", &[""], &["a"]),
            ("**", &["", "a"], &[]),
        ] {
            let glob = Glob::new(pattern);
            for text in matching {
                assert!(glob.matches(text), "{pattern} {text}");
            }
            for text in others {
                assert!(!glob.matches(text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn many_stars_do_not_take_forever() {
        let glob = Glob::new(&"a*".repeat(2000));
        assert!(!glob.matches(&format!("{}b", "c".repeat(2000))));
        let glob = Glob::new(&format!("{}b", "*a".repeat(30)));
        assert!(!glob.matches(&"a".repeat(3000)));
    }
}
