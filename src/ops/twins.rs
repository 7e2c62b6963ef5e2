//! Frames that have the samples of another one: the same exposure under another name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use super::{Progress, count};
use crate::error::show_path;
use crate::format::ledger::Record;

/// The checks of a frame's samples and of its header, and how many bytes the samples are.
type Key = (u32, u32, u64);

/// What the samples of frames are, and those that came twice. A frame without a header is
/// left out: 32 bits are too little to tell many apart.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// The file of each.
    known: HashMap<Key, String>,
    /// The first that came twice, and of whom it is a copy.
    first: Option<(String, String)>,
    others: u64,
}

impl Twins {
    /// A frame that is there, with the check of its header and so many bytes of samples.
    pub(super) fn add(&mut self, record: &Record, header: u32, bytes: u64) {
        if !record.cards.is_empty() {
            let known = self.known.entry((record.check, header, bytes));
            known.or_insert_with(|| record.source.clone());
        }
    }

    /// A frame that comes in.
    pub(super) fn come(&mut self, record: &Record, bytes: u64) {
        if record.cards.is_empty() {
            return;
        }
        let header = crc32c::crc32c(record.cards.as_bytes());
        match self.known.entry((record.check, header, bytes)) {
            Entry::Vacant(known) => {
                known.insert(record.source.clone());
            }
            // A mask without a bad sample is like any other.
            Entry::Occupied(_) if check_of_zeros(bytes) == record.check => {}
            Entry::Occupied(known) => match self.first {
                None => self.first = Some((record.source.clone(), known.get().clone())),
                Some(_) => self.others += 1,
            },
        }
    }

    /// Tells of those that came twice.
    pub(super) fn tell(&self, progress: &dyn Progress) {
        let Some((copy, known)) = &self.first else {
            return;
        };
        let [copy, known] = [copy, known].map(|name| show_path(Path::new(name)));
        let and = match self.others {
            0 => String::new(),
            n => format!(", and {} came twice, too", count(n, "other frame")),
        };
        let what = match copy == known {
            true => "came in twice".to_string(),
            false => format!("has the samples and the header of {known}"),
        };
        progress.warn(&format!("{copy}: {what}{and}"));
    }
}

fn check_of_zeros(bytes: u64) -> u32 {
    const ZEROS: [u8; 4096] = [0; 4096];
    let (mut check, mut left) = (0, bytes as usize);
    while left > 0 {
        let part = left.min(ZEROS.len());
        check = crc32c::crc32c_append(check, &ZEROS[..part]);
        left -= part;
    }
    check
}
