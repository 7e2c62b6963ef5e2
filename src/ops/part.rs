//! A part of a command's work in a file of its own, until all parts are there.
//!
//! `cube clean --part 2/8` and `cube combine --part 2/8` work out the second of eight
//! parts, reading only, on any machine that has the same cube; with `--apply` the
//! parts become the result that one process would have made.
//!
//! A part file is a line that says what it is, blocks of bytes, each with its length
//! and its check, and in the end a line of JSON: it is for the same program on another
//! machine, not for keeping, so it is told of here alone. All numbers are
//! little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 13 | `CUBE PART 1` between line feeds |
//! | 12 + n | blocks: n as u64, CRC-32C of the block as u32, n bytes; the first is the `Head` as JSON |
//! | 12 | a block of no bytes: what follows is the end |
//! | 12 + n | a block with the results as JSON |

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::count;
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, IoContext, Result, show_path};
use crate::format::Extent;
use crate::frames::filter::Filter;
use crate::sinks::Target;
use crate::sinks::output::Output;

const MAGIC: &[u8; 13] = b"\nCUBE PART 1\n";

/// A head or an end is at most this large.
const MAX_TEXT: u64 = 64 << 20;

/// Which part of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its number, from 1.
    pub number: u64,
    /// How many there are.
    pub of: u64,
}

impl Part {
    /// Reads `2/8`.
    ///
    /// # Errors
    /// When the text is something else, or there is no such part.
    pub fn parse(text: &str) -> Result<Part> {
        let numbers = text
            .split_once('/')
            .and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) && of <= 1 << 20 => {
                Ok(Part { number, of })
            }
            _ => Err(Error::input(format!("cannot read `{text}` as a part"))
                .hint("1/8 is the first of eight parts, 8/8 the last")),
        }
    }

    /// What belongs to it of `len` things in a row.
    pub(super) fn of_run(&self, len: u64) -> Range<u64> {
        let at = |number: u64| {
            let product = u128::from(len) * u128::from(number) / u128::from(self.of);
            u64::try_from(product).unwrap_or(len)
        };
        at(self.number - 1)..at(self.number)
    }
}

/// What parts were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// Version of the program.
    program: String,
    /// The axis that lines run along.
    pub(super) axis: usize,
    /// What frames had to meet, as typed.
    filters: Vec<String>,
    /// Which part of the cube, as typed.
    pub(super) section: Option<String>,
    /// Everything else.
    options: Value,
}

impl Asked {
    pub(super) fn new(
        axis: usize,
        filters: &[Filter],
        section: Option<&String>,
        options: Value,
    ) -> Asked {
        Asked {
            program: env!("CARGO_PKG_VERSION").to_string(),
            axis,
            filters: filters
                .iter()
                .map(|filter| filter.text().to_string())
                .collect(),
            section: section.cloned(),
            options,
        }
    }

    /// What frames had to meet.
    pub(super) fn filters(&self) -> Result<Vec<Filter>> {
        self.filters
            .iter()
            .map(|text| Filter::parse(text))
            .collect()
    }
}

/// What a part is a part of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    verb: String,
    /// The commit that was read.
    generation: u64,
    catalog: Extent,
    pub(super) part: Part,
    /// What was asked for: the same in all parts.
    pub(super) asked: Asked,
    /// The command as typed.
    pub(super) line: String,
}

impl Head {
    pub(super) fn new(
        verb: &str,
        snapshot: &Snapshot,
        part: Part,
        asked: Asked,
        line: &str,
    ) -> Head {
        Head {
            verb: verb.to_string(),
            generation: snapshot.catalog().generation,
            catalog: *snapshot.extent(),
            part,
            asked,
            line: line.to_string(),
        }
    }
}

/// A part that is being written.
pub(super) struct Writer(Output);

impl Writer {
    /// Opens the file and writes what the part is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn create(target: &Target, head: &Head) -> Result<Writer> {
        let mut writer = Writer(Output::create(target)?);
        writer.0.write(MAGIC)?;
        writer.text(head)?;
        Ok(writer)
    }

    fn text(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::input(format!("cannot write a part: {error}")))?;
        self.block(&text)
    }

    /// Writes a block.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn block(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write(&(bytes.len() as u64).to_le_bytes())?;
        self.0.write(&crc32c::crc32c(bytes).to_le_bytes())?;
        self.0.write(bytes)
    }

    /// Writes the end, and gives the file its name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn finish(mut self, end: &impl Serialize) -> Result<()> {
        self.block(&[])?;
        self.text(end)?;
        self.0.finish()
    }
}

/// A part that is being read.
pub(super) struct Reader {
    pub(super) path: PathBuf,
    file: BufReader<File>,
    pub(super) head: Head,
}

impl Reader {
    fn open(path: &Path) -> Result<Reader> {
        let mut file = BufReader::new(File::open(path).doing("cannot open")?);
        let mut magic = [0; MAGIC.len()];
        let is_part = file.read_exact(&mut magic).is_ok() && magic == *MAGIC;
        if !is_part {
            return Err(Error::input("is not a part").hint("--part I/N -o FILE makes parts"));
        }
        let head = read_text(&mut file)?;
        Ok(Reader {
            path: path.to_path_buf(),
            file,
            head,
        })
    }

    /// The next block, of at most so many bytes; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub(super) fn block(&mut self, most: u64) -> Result<Option<Vec<u8>>> {
        let block = read_block(&mut self.file, most).at(&self.path)?;
        Ok((!block.is_empty()).then_some(block))
    }

    /// What the part says in its end, which comes after the last block.
    ///
    /// # Errors
    /// As [`Reader::block`].
    pub(super) fn end<T: DeserializeOwned>(&mut self) -> Result<T> {
        read_text(&mut self.file).at(&self.path)
    }
}

fn read_block(file: &mut BufReader<File>, most: u64) -> Result<Vec<u8>> {
    let mut lead = [0; 12];
    file.read_exact(&mut lead).map_err(cut_short)?;
    let (bytes, check) = lead.split_at(8);
    let bytes = bytes
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let check = check
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes));
    if bytes > most {
        return Err(Error::damaged(format!(
            "a block of {bytes} bytes, more than {most}"
        )));
    }
    let mut block = Vec::new();
    file.take(bytes)
        .read_to_end(&mut block)
        .doing("cannot read")?;
    if block.len() as u64 != bytes {
        return Err(cut_short(std::io::ErrorKind::UnexpectedEof.into()));
    }
    match crc32c::crc32c(&block) == check {
        true => Ok(block),
        false => Err(Error::damaged("a block does not have its checksum")),
    }
}

fn cut_short(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Error::damaged("the part is cut short").hint("make it again")
        }
        _ => Error::io("cannot read", error),
    }
}

fn read_text<T: DeserializeOwned>(file: &mut BufReader<File>) -> Result<T> {
    let text = read_block(file, MAX_TEXT)?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::damaged(format!("the part says what cannot be: {error}")))
}

/// Opens all parts of one piece of work on this commit, in order.
///
/// # Errors
/// When one cannot be read, does not belong to the others or to the cube as it is, is
/// named twice, or is missing.
pub(super) fn open_all(paths: &[PathBuf], verb: &str, snapshot: &Snapshot) -> Result<Vec<Reader>> {
    let mut parts: BTreeMap<u64, Reader> = BTreeMap::new();
    let mut first: Option<Head> = None;
    for path in paths {
        let reader = Reader::open(path).at(path)?;
        let head = &reader.head;
        let generation = snapshot.catalog().generation;
        let wrong = |what: String| Error::input(what).at(path);
        if head.verb != verb {
            return Err(wrong(format!(
                "is a part of cube {}, not of {verb}",
                head.verb
            )));
        }
        if head.generation != generation || head.catalog != *snapshot.extent() {
            return Err(wrong(format!(
                "was made from generation {} of the cube, which now is at {generation}",
                head.generation
            ))
            .hint("make the parts again from the cube as it is, or undo what was done since"));
        }
        let first = first.get_or_insert_with(|| head.clone());
        if head.asked != first.asked || head.part.of != first.part.of {
            return Err(wrong(format!(
                "was made by other options than {}",
                show_path(&paths[0])
            ))
            .hint(format!("{} there, {} here", first.line, head.line)));
        }
        let number = head.part.number;
        if let Some(other) = parts.insert(number, reader) {
            let other = show_path(&other.path).to_string();
            return Err(wrong(format!("is part {number}, and so is {other}")));
        }
    }
    let of = first.map_or(0, |head| head.part.of);
    if let Some(missing) = (1..=of).find(|number| !parts.contains_key(number)) {
        let have = parts.len() as u64;
        return Err(Error::input(format!(
            "part {missing} is missing: there are {} of {of}",
            count(have, "part")
        ))
        .hint("name all parts"));
    }
    Ok(parts.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_a_run_out_without_gap() {
        for len in [0, 1, 7, 64, u64::MAX] {
            for of in [1, 2, 3, 8, 100] {
                let mut next = 0;
                for number in 1..=of {
                    let run = Part { number, of }.of_run(len);
                    assert_eq!(run.start, next);
                    next = run.end;
                }
                assert_eq!(next, len);
            }
        }
        assert_eq!(Part::parse("2/8").unwrap(), Part { number: 2, of: 8 });
        for bad in ["", "0/3", "4/3", "1", "1/0", "a/b", "1/2/3", "-1/2"] {
            assert!(Part::parse(bad).is_err(), "{bad}");
        }
    }
}
