//! A table that goes with an image: columns of one type each, rows of fixed width.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::frames::cards::Value;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `T`, `F`, or nothing.
    Logical,
    /// Whole numbers of 32 bits; the least stands for nothing.
    Int32,
    /// Whole numbers of 64 bits; the least stands for nothing.
    Int64,
    /// Floats of 64 bits; NaN stands for nothing.
    Real,
    /// So many characters of ASCII, blanks for nothing.
    Text(usize),
}

impl Kind {
    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        match self {
            Kind::Logical => 1,
            Kind::Int32 => 4,
            Kind::Int64 | Kind::Real => 8,
            Kind::Text(width) => width,
        }
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Letters, digits and `_` only, and no other column has it.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// What it means.
    pub comment: String,
}

/// A table, without its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its name, such as `FRAMES`.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// How many rows it will have.
    pub n_rows: u64,
}

impl Table {
    /// Adds a column; a name that is no legal one, or taken, is changed.
    pub fn push(&mut self, name: &str, kind: Kind, comment: &str) {
        let taken: BTreeSet<&str> = self.columns.iter().map(|old| &old.name[..]).collect();
        let legal = legal_name(name);
        let numbered = (2..).map(|number| format!("{legal}_{number}"));
        let name = std::iter::once(legal.clone())
            .chain(numbered)
            .find(|name| !taken.contains(&name[..]));
        self.columns.push(Column {
            name: name.unwrap_or(legal),
            kind,
            comment: comment.to_string(),
        });
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.columns.iter().map(|column| column.kind.bytes()).sum()
    }

    /// Writes a row as FITS holds it: big-endian. Values of another kind than
    /// their column's, and those that it cannot hold, become nothing.
    ///
    /// # Errors
    /// When there are not as many values as columns, or `out` is not a row.
    pub fn encode(&self, values: &[Option<Value>], out: &mut [u8]) -> Result<()> {
        if values.len() != self.columns.len() || out.len() != self.row_bytes() {
            return Err(Error::input(format!(
                "{} values in {} bytes are no row of {} columns in {} bytes",
                values.len(),
                out.len(),
                self.columns.len(),
                self.row_bytes()
            )));
        }
        let mut rest = out;
        for (column, value) in self.columns.iter().zip(values) {
            let (field, after) = rest.split_at_mut(column.kind.bytes());
            encode_value(column.kind, value.as_ref(), field);
            rest = after;
        }
        Ok(())
    }
}

fn encode_value(kind: Kind, value: Option<&Value>, field: &mut [u8]) {
    let int = value.and_then(Value::as_int);
    match kind {
        Kind::Logical => {
            field[0] = match value {
                Some(Value::Logical(true)) => b'T',
                Some(Value::Logical(false)) => b'F',
                _ => 0,
            };
        }
        Kind::Int32 => {
            let value = int.and_then(|value| i32::try_from(value).ok());
            field.copy_from_slice(&value.unwrap_or(i32::MIN).to_be_bytes());
        }
        Kind::Int64 => {
            let value = int.and_then(|value| i64::try_from(value).ok());
            field.copy_from_slice(&value.unwrap_or(i64::MIN).to_be_bytes());
        }
        Kind::Real => {
            let value = value.and_then(Value::as_real).unwrap_or(f64::NAN);
            field.copy_from_slice(&value.to_be_bytes());
        }
        Kind::Text(_) => {
            field.fill(b' ');
            let text = value.map(Value::show).unwrap_or_default();
            for (to, c) in field.iter_mut().zip(text.chars()) {
                *to = match c {
                    // The range is ASCII, so the cast keeps every bit.
                    #[allow(clippy::cast_possible_truncation)]
                    ' '..='~' => c as u8,
                    _ => b'?',
                };
            }
        }
    }
}

/// The name in capitals, with `_` for what FITS Standard 4.0, section 7.3.1,
/// advises against; it does not begin with a digit.
fn legal_name(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut text: String = name.trim().chars().map(legal).collect();
    text.make_ascii_uppercase();
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        text.insert(0, '_');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_columns_are_legal_and_unique() {
        let mut table = Table::default();
        for name in ["DATE-OBS", "date_obs", "ESO DET ID", "2MASS", "", "\u{e9}"] {
            table.push(name, Kind::Real, "");
        }
        let names: Vec<&str> = table.columns.iter().map(|c| &c.name[..]).collect();
        assert_eq!(
            names,
            ["DATE_OBS", "DATE_OBS_2", "ESO_DET_ID", "_2MASS", "_", "__2"]
        );
    }

    #[test]
    fn a_row_is_big_endian_and_what_is_missing_has_a_value_of_its_own() {
        let mut table = Table::default();
        table.push("A", Kind::Int32, "");
        table.push("B", Kind::Text(3), "");
        table.push("C", Kind::Logical, "");
        table.push("D", Kind::Real, "");
        table.push("E", Kind::Int64, "");
        let mut row = vec![0; table.row_bytes()];
        let values = [
            Some(Value::Integer(258)),
            Some(Value::Text("h\u{e9}llo".into())),
            Some(Value::Logical(true)),
            Some(Value::Integer(1)),
            Some(Value::Integer(-1)),
        ];
        table.encode(&values, &mut row).unwrap();
        assert_eq!(row[..8], [0, 0, 1, 2, b'h', b'?', b'l', b'T']);
        assert_eq!(row[8..16], 1f64.to_be_bytes());
        assert_eq!(row[16..], [255; 8]);
        table
            .encode(&[None, None, None, None, None], &mut row)
            .unwrap();
        assert_eq!(row[..8], [0x80, 0, 0, 0, b' ', b' ', b' ', 0]);
        assert!(f64::from_be_bytes(row[8..16].try_into().unwrap()).is_nan());
        assert_eq!(row[16..], i64::MIN.to_be_bytes());
        assert!(table.encode(&[], &mut row).is_err());
    }
}
