//! Conditions on frames, as `--where` takes them: `EXPTIME >= 30`,
//! `FILTER == 'R' and nan == 0`, `not (OBJECT ~ '*flat*' or IMAGETYP == 'bias')`.
//!
//! | written | meaning |
//! |---|---|
//! | `EXPTIME`, `DATE-OBS`, `ESO.DET.ID`, `` `ESO DET ID` `` | the first card of that keyword, case aside; a dot stands for a blank where no keyword has the dot; DATE-OBS with the time of day, see [`Cards::told`] |
//! | `sum mean median std min max nan` | measured from the samples, only in lower case; `nan` counts NaN and BLANK |
//! | `30`, `1.5D+2`, `'R'`, `"R"`, `T`, `F` | a number, a string (a doubled quote is one), a logical |
//! | `== = != <> < <= > >=` | comparison |
//! | `OBJECT ~ 'M3*'` | the string is as a shell's pattern says |
//! | `KEYWORD` | there is such a card, and it is not `F` |
//! | `not` `!`, `and` `&&`, `or` `\|\|`, `( )` | in this order of strength |
//!
//! * A comparison with what is missing is false, `!=` too, as in SQL: missing are
//!   a keyword without a card, a card without a value, a measured value that does
//!   not exist. `not KEYWORD` asks for absence.
//! * Numbers compare as numbers, whole ones exactly. A number and a card's string
//!   compare as numbers when the string reads as one (`'0012' `), else they are
//!   unequal and neither is less. A string that is typed is never a number.
//! * Strings compare by character, case and all, trailing blanks aside; so do
//!   dates, which is right for `2024-05-01T23:10:00`.
//! * Logicals are equal or unequal, to logicals only.
//!
//! What the cards decide alone is decided without reading samples. Nesting is
//! bounded, so no text makes the parser run out of stack.

mod gate;
mod glob;
mod tokens;

use std::cmp::Ordering;

pub use gate::{Gate, unknown};

use super::cards::{Cards, Value, keyword_of};
use super::measure::{Measure, Measured, Measures};
use crate::error::Result;
use glob::Glob;
use tokens::{Comparison, Number, Piece, Token, fault, tokens};

/// So deep parentheses and `not` may be nested.
const MAX_DEPTH: usize = 64;

/// A condition on a frame's cards and samples.
#[derive(Clone, Debug)]
pub struct Filter {
    text: String,
    root: Node,
    needs: Measures,
    compared: Vec<Keyword>,
}

/// A condition, or a part of one.
#[derive(Clone, Debug)]
enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    Present(Keyword),
    Compare(Operand, Comparison, Operand),
    Like(Keyword, Glob),
}

/// One side of a comparison.
#[derive(Clone, Debug)]
enum Operand {
    Card(Keyword),
    Measured(Measure),
    Constant(Given),
}

/// A value that can be compared.
#[derive(Clone, Debug, PartialEq)]
enum Given {
    Number(Number),
    /// A string that was typed.
    Typed(String),
    /// A string of a card.
    Text(String),
    Logical(bool),
}

/// A keyword as typed; between backquotes its dots are dots.
#[derive(Clone, Debug, PartialEq)]
struct Keyword {
    name: String,
    is_quoted: bool,
}

impl Filter {
    /// Reads a condition.
    ///
    /// # Errors
    /// When the text is not one; the message says at which column.
    pub fn parse(text: &str) -> Result<Filter> {
        let pieces = tokens(text)?;
        let mut parser = Parser {
            rest: pieces.iter(),
            end: text.chars().count() + 1,
            depth: 0,
            needs: Measures::default(),
            compared: Vec::new(),
        };
        let root = parser.any()?;
        match parser.rest.next() {
            None => Ok(Filter {
                text: text.to_string(),
                root,
                needs: parser.needs,
                compared: parser.compared,
            }),
            Some(piece) => Err(unexpected(piece)),
        }
    }

    /// The condition as typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Which measured values the condition uses.
    pub fn needs(&self) -> Measures {
        self.needs
    }

    /// Does a frame meet the condition?
    pub fn accepts(&self, cards: &Cards, measured: &Measured) -> bool {
        self.root.eval(cards, Some(measured)) == Some(true)
    }

    /// Does a frame meet the condition, if its cards alone decide that?
    pub fn decides(&self, cards: &Cards) -> Option<bool> {
        self.root.eval(cards, None)
    }
}

/// What is wrong with a piece that stands where a condition was over.
fn unexpected(piece: &Piece) -> crate::error::Error {
    let hint = match piece.token {
        Token::Comparison(_) | Token::Like => {
            "a comparison has two sides; `1 < A < 3` is written 1 < A and A < 3"
        }
        Token::Close => "no parenthesis is open here",
        _ => "conditions are joined by and, or; strings stand between '",
    };
    fault(
        piece.column,
        &format!("unexpected {} behind a whole condition", piece.typed),
        hint,
    )
}

struct Parser<'a> {
    rest: std::slice::Iter<'a, Piece>,
    /// The column behind the text.
    end: usize,
    depth: usize,
    needs: Measures,
    compared: Vec<Keyword>,
}

impl<'a> Parser<'a> {
    fn next_if(&mut self, is_it: impl Fn(&Token) -> bool) -> Option<&'a Piece> {
        let piece = self.rest.as_slice().first()?;
        is_it(&piece.token).then(|| self.rest.next()).flatten()
    }

    fn any(&mut self) -> Result<Node> {
        let mut nodes = vec![self.all()?];
        while self.next_if(|token| *token == Token::Or).is_some() {
            nodes.push(self.all()?);
        }
        Ok(match nodes.len() {
            1 => nodes.remove(0),
            _ => Node::Any(nodes),
        })
    }

    fn all(&mut self) -> Result<Node> {
        let mut nodes = vec![self.not()?];
        while self.next_if(|token| *token == Token::And).is_some() {
            nodes.push(self.not()?);
        }
        Ok(match nodes.len() {
            1 => nodes.remove(0),
            _ => Node::All(nodes),
        })
    }

    fn not(&mut self) -> Result<Node> {
        let opens = |token: &Token| matches!(token, Token::Not | Token::Open);
        let Some(piece) = self.next_if(opens) else {
            return self.comparison();
        };
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(fault(
                piece.column,
                &format!("nested {} deep, but {MAX_DEPTH} is the most", self.depth),
                "--where may be given several times; all must hold",
            ));
        }
        let node = match piece.token {
            Token::Not => Node::Not(Box::new(self.not()?)),
            _ => {
                let node = self.any()?;
                if self.next_if(|token| *token == Token::Close).is_none() {
                    let (at, found) = match self.rest.as_slice().first() {
                        Some(other) => (other.column, other.typed.as_str()),
                        None => (self.end, "the end"),
                    };
                    return Err(fault(
                        at,
                        &format!("expected ), found {found}"),
                        &format!("the ( at column {} is open", piece.column),
                    ));
                }
                node
            }
        };
        self.depth -= 1;
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node> {
        let (left, first) = self.operand()?;
        let signs = |token: &Token| matches!(token, Token::Comparison(_) | Token::Like);
        let Some(sign) = self.next_if(signs) else {
            return match left {
                Operand::Card(keyword) => Ok(Node::Present(keyword)),
                _ => Err(fault(
                    first.column,
                    &format!("{} alone is no condition", first.typed),
                    "compare it, such as nan == 0 or FILTER == 'R'; \
                     a keyword alone asks whether the card is there",
                )),
            };
        };
        let (right, second) = self.operand()?;
        match (left, &sign.token, right) {
            (Operand::Constant(_), _, Operand::Constant(_)) => Err(fault(
                first.column,
                &format!("{} and {} are both constants", first.typed, second.typed),
                "keywords stand without quotes, such as FILTER == 'R'",
            )),
            (left, Token::Comparison(comparison), right) => {
                for side in [&left, &right] {
                    self.note(side);
                }
                Ok(Node::Compare(left, *comparison, right))
            }
            (Operand::Card(keyword), _, Operand::Constant(Given::Typed(pattern))) => {
                self.compared.push(keyword.clone());
                Ok(Node::Like(keyword, Glob::new(&pattern)))
            }
            _ => Err(fault(
                sign.column,
                "~ takes a keyword and a pattern in quotes",
                "such as OBJECT ~ 'M3*'",
            )),
        }
    }

    /// Remembers what a side of a comparison asks of frames.
    fn note(&mut self, side: &Operand) {
        match side {
            Operand::Card(keyword) => self.compared.push(keyword.clone()),
            Operand::Measured(measure) => self.needs.add(*measure),
            Operand::Constant(_) => {}
        }
    }

    fn operand(&mut self) -> Result<(Operand, &'a Piece)> {
        const HINT: &str = "such as EXPTIME >= 30, FILTER == 'R' or nan == 0";
        let Some(piece) = self.rest.next() else {
            let what = "expected a keyword or a value, found the end";
            return Err(fault(self.end, what, HINT));
        };
        let operand = match &piece.token {
            Token::Word(word) => match Measure::from_name(word) {
                Some(measure) => Operand::Measured(measure),
                None => match word.to_ascii_uppercase().as_str() {
                    "T" | "TRUE" => Operand::Constant(Given::Logical(true)),
                    "F" | "FALSE" => Operand::Constant(Given::Logical(false)),
                    _ => Operand::Card(Keyword {
                        name: word.clone(),
                        is_quoted: false,
                    }),
                },
            },
            Token::Keyword(name) => Operand::Card(Keyword {
                name: name.clone(),
                is_quoted: true,
            }),
            Token::Number(number) => Operand::Constant(Given::Number(*number)),
            Token::Text(text) => Operand::Constant(Given::Typed(text.clone())),
            _ => {
                let what = format!("expected a keyword or a value, found {}", piece.typed);
                return Err(fault(piece.column, &what, HINT));
            }
        };
        Ok((operand, piece))
    }
}

impl Node {
    /// `None` when the samples decide and were not measured.
    fn eval(&self, cards: &Cards, measured: Option<&Measured>) -> Option<bool> {
        match self {
            Node::Any(nodes) => one_is(true, nodes, cards, measured),
            Node::All(nodes) => one_is(false, nodes, cards, measured),
            Node::Not(node) => node.eval(cards, measured).map(|holds| !holds),
            Node::Present(keyword) => Some(keyword.is_set(cards)),
            Node::Like(keyword, glob) => Some(match keyword.find(cards) {
                Some(Value::Text(text)) => glob.matches(&text),
                Some(Value::Other(text)) => !text.is_empty() && glob.matches(&text),
                _ => false,
            }),
            Node::Compare(left, comparison, right) => {
                // A side that is missing decides, whatever the other is.
                let sides = [left.get(cards, measured), right.get(cards, measured)];
                if sides.contains(&Side::Missing) {
                    return Some(false);
                }
                match sides {
                    [Side::Given(left), Side::Given(right)] => {
                        Some(comparison.holds(order(&left, &right)))
                    }
                    _ => None,
                }
            }
        }
    }
}

/// Is one of the nodes `wanted`? Then so is the whole; without one it is the opposite.
fn one_is(
    wanted: bool,
    nodes: &[Node],
    cards: &Cards,
    measured: Option<&Measured>,
) -> Option<bool> {
    let mut whole = Some(!wanted);
    for node in nodes {
        match node.eval(cards, measured) {
            Some(holds) if holds == wanted => return Some(wanted),
            Some(_) => {}
            None => whole = None,
        }
    }
    whole
}

#[derive(PartialEq)]
enum Side {
    Given(Given),
    Missing,
    /// Not measured yet.
    Open,
}

impl Operand {
    fn get(&self, cards: &Cards, measured: Option<&Measured>) -> Side {
        let given = match self {
            Operand::Constant(given) => Some(given.clone()),
            Operand::Measured(measure) => match measured {
                Some(measured) => measured
                    .get(*measure)
                    .map(|value| Given::Number(Number::Real(value))),
                None => return Side::Open,
            },
            Operand::Card(keyword) => match keyword.find(cards) {
                Some(Value::Logical(value)) => Some(Given::Logical(value)),
                Some(Value::Integer(value)) => Some(Given::Number(Number::Whole(value))),
                Some(Value::Real(value)) => Some(Given::Number(Number::Real(value))),
                Some(Value::Text(text)) => Some(Given::Text(text)),
                Some(Value::Other(text)) => (!text.is_empty()).then_some(Given::Text(text)),
                None => None,
            },
        };
        given.map_or(Side::Missing, Side::Given)
    }
}

impl Keyword {
    fn find(&self, cards: &Cards) -> Option<Value> {
        match self.is_quoted {
            true => cards.named(&self.name),
            false => cards.told(&self.name),
        }
    }

    /// Is there such a card, and not `F`? COMMENT and the like have no value.
    fn is_set(&self, cards: &Cards) -> bool {
        match self.find(cards) {
            Some(value) => value != Value::Logical(false),
            None => cards
                .iter()
                .any(|card| keyword_of(card).eq_ignore_ascii_case(&self.name)),
        }
    }
}

impl Comparison {
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::Unequal => order != Some(Ordering::Equal),
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::LessOrEqual => order.is_some_and(Ordering::is_le),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

/// Which of two values is less; `None` where neither is and they are not equal.
fn order(left: &Given, right: &Given) -> Option<Ordering> {
    use Given::{Logical, Text, Typed};
    match (left, right) {
        (Text(left) | Typed(left), Text(right) | Typed(right)) => {
            let bare = |text: &str| text.trim_end_matches(' ').len();
            Some(left[..bare(left)].cmp(&right[..bare(right)]))
        }
        (Logical(left), Logical(right)) => (left == right).then_some(Ordering::Equal),
        _ => match (left.as_number()?, right.as_number()?) {
            (Number::Whole(left), Number::Whole(right)) => Some(left.cmp(&right)),
            (left, right) => left.as_real().partial_cmp(&right.as_real()),
        },
    }
}

impl Given {
    fn as_number(&self) -> Option<Number> {
        match self {
            Given::Number(number) => Some(*number),
            Given::Text(text) => Number::parse(text.trim()),
            Given::Typed(_) | Given::Logical(_) => None,
        }
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
