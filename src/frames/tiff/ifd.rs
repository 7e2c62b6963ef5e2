//! The directories of a TIFF file: where each one is, and what its tags hold.
//!
//! The layout is that of TIFF 6.0 (section 2) and of BigTIFF, which widens counts
//! and offsets to 64 bits. A value is read only when it is asked for, and never
//! more of it than the caller names, so nothing is allocated that a count alone
//! decides.

use crate::error::{Error, Result};
use crate::frames::source::Source;

/// Entries of one directory; real ones have a few dozen.
const MAX_ENTRIES: u64 = 4096;

/// What the first bytes of the file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Are numbers big-endian?
    pub(super) is_big_endian: bool,
    /// Is it BigTIFF?
    pub(super) is_wide: bool,
}

/// One entry of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) tag: u16,
    pub(super) kind: u16,
    pub(super) count: u64,
    /// Where in the file its value is.
    pub(super) at: u64,
}

/// One directory.
#[derive(Clone, Debug)]
pub(super) struct Ifd {
    pub(super) entries: Vec<Entry>,
    /// Where the next one is; 0 after the last.
    pub(super) next: u64,
    /// Where it and the values of its entries end.
    pub(super) end: u64,
}

impl Form {
    /// Reads the head of the file; also says where the first directory is.
    pub(super) fn read(source: &Source) -> Result<(Form, u64)> {
        let mut head = [0; 16];
        let there = source.read_at_most(0, &mut head)?;
        let is_big_endian = head.starts_with(b"MM");
        let mut form = Form {
            is_big_endian,
            is_wide: false,
        };
        form.is_wide = form.number(&head[2..4]) == 43;
        let needed = if form.is_wide { 16 } else { 8 };
        if there < needed {
            return Err(Error::damaged(format!(
                "the file has {there} bytes, and the head of a TIFF file has {needed}"
            )));
        }
        if !form.is_wide {
            return Ok((form, form.number(&head[4..8])));
        }
        let (width, zero) = (form.number(&head[4..6]), form.number(&head[6..8]));
        if (width, zero) != (8, 0) {
            return Err(Error::damaged(format!(
                "the head of the BigTIFF file has offsets of {width} bytes and then {zero}, \
                 expected 8 and 0"
            )));
        }
        Ok((form, form.number(&head[8..16])))
    }

    /// An unsigned number of up to 8 bytes.
    pub(super) fn number(self, bytes: &[u8]) -> u64 {
        let mut word = [0; 8];
        let bytes = &bytes[..bytes.len().min(8)];
        if self.is_big_endian {
            word[8 - bytes.len()..].copy_from_slice(bytes);
            u64::from_be_bytes(word)
        } else {
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        }
    }

    /// Reads the directory at `offset`.
    pub(super) fn directory(self, source: &Source, offset: u64) -> Result<Ifd> {
        let (count_bytes, entry_bytes, word) = match self.is_wide {
            true => (8, 20, 8),
            false => (2, 12, 4),
        };
        let mut count = [0; 8];
        source
            .read_at(offset, &mut count[..count_bytes])
            .map_err(|error| error.within(&format!("the directory at byte {offset}")))?;
        let count = self.number(&count[..count_bytes]);
        if count == 0 || count > MAX_ENTRIES {
            return Err(Error::damaged(format!(
                "the directory at byte {offset} has {count} entries, expected 1 to {MAX_ENTRIES}"
            )));
        }
        // Both are small by now.
        let n_bytes = usize::try_from(count).unwrap_or_default() * entry_bytes;
        let mut bytes = vec![0; n_bytes + word];
        let start = offset.saturating_add(count_bytes as u64);
        let there = source.read_at_most(start, &mut bytes)?;
        if there < n_bytes {
            return Err(Error::damaged(format!(
                "the directory at byte {offset} has {count} entries, but the file ends at byte {}",
                source.len()
            )));
        }
        let mut entries = Vec::with_capacity(n_bytes / entry_bytes);
        for (number, entry) in bytes[..n_bytes].chunks_exact(entry_bytes).enumerate() {
            let (kind, value) = (self.number(&entry[2..4]), &entry[entry_bytes - word..]);
            let count = self.number(&entry[4..entry_bytes - word]);
            let kind = u16::try_from(kind).unwrap_or_default();
            let n_value = kind_bytes(kind).checked_mul(count);
            let at = match n_value {
                Some(n_value) if n_value <= word as u64 => {
                    start + (number * entry_bytes + entry_bytes - word) as u64
                }
                _ => self.number(value),
            };
            entries.push(Entry {
                tag: u16::try_from(self.number(&entry[..2])).unwrap_or_default(),
                kind,
                count,
                at,
            });
        }
        // Some writers end the file where the last one's link would stand.
        let next = match there == bytes.len() {
            true => self.number(&bytes[n_bytes..]),
            false => 0,
        };
        let ends = entries.iter().map(|entry| {
            let bytes = kind_bytes(entry.kind).saturating_mul(entry.count);
            entry.at.saturating_add(bytes)
        });
        let end = ends.fold(start.saturating_add(there as u64), u64::max);
        Ok(Ifd { entries, next, end })
    }

    /// Up to `most` numbers of an entry's value.
    pub(super) fn numbers(self, source: &Source, entry: &Entry, most: usize) -> Result<Vec<u64>> {
        let size = number_bytes(entry).ok_or_else(|| {
            Error::damaged(format!(
                "tag {} is of type {}, expected whole numbers",
                entry.tag, entry.kind
            ))
        })?;
        let count = usize::try_from(entry.count).unwrap_or(most).min(most);
        let mut bytes = vec![0; count * size];
        source
            .read_at(entry.at, &mut bytes)
            .map_err(|error| error.within(&format!("the value of tag {}", entry.tag)))?;
        let numbers = bytes.chunks_exact(size).map(|bytes| self.number(bytes));
        Ok(numbers.collect())
    }

    /// The bytes of a text, up to `most` of them and to its first zero.
    pub(super) fn text(self, source: &Source, entry: &Entry, most: usize) -> Result<Vec<u8>> {
        let count = usize::try_from(entry.count).unwrap_or(most).min(most);
        let mut bytes = vec![0; count];
        source
            .read_at(entry.at, &mut bytes)
            .map_err(|error| error.within(&format!("the value of tag {}", entry.tag)))?;
        let end = bytes.iter().position(|&byte| byte == 0);
        bytes.truncate(end.unwrap_or(count));
        Ok(bytes)
    }
}

impl Ifd {
    /// The entry of a tag.
    pub(super) fn get(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }
}

/// Bytes of one value of a type; 1 for types that are not known.
pub(super) fn kind_bytes(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}

/// Bytes of one number, when the entry holds unsigned ones.
pub(super) fn number_bytes(entry: &Entry) -> Option<usize> {
    match entry.kind {
        1 => Some(1),
        3 => Some(2),
        4 | 13 => Some(4),
        16 | 18 => Some(8),
        _ => None,
    }
}
