//! Frames that have the samples of another one: the same exposure under another name.

use std::collections::HashMap;
use std::path::Path;

use super::{Progress, count};
use crate::error::show_path;
use crate::format::ledger::Record;

/// What the samples of frames are, and those that came twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Twins {
    /// The file of each.
    known: HashMap<Key, String>,
    /// The check of so many zero bytes.
    zeros: HashMap<u64, u32>,
    /// The first that came twice, and of whom it is a copy.
    first: Option<(String, String)>,
    others: u64,
}

/// The checks of a frame's samples and of its header, and how many bytes the samples are.
type Key = (u32, u32, u64);

/// Of a frame without a header 32 bits are known, and that is too little to tell many apart.
fn key(record: &Record, bytes: u64) -> Option<Key> {
    let header = crc32c::crc32c(record.cards.as_bytes());
    (!record.cards.is_empty()).then_some((record.check, header, bytes))
}

impl Twins {
    /// A frame that is there, with so many bytes of samples.
    pub(super) fn add(&mut self, record: &Record, bytes: u64) {
        if let Some(key) = key(record, bytes) {
            let known = self.known.entry(key);
            known.or_insert_with(|| record.source.clone());
        }
    }

    /// A frame that comes in.
    pub(super) fn come(&mut self, record: &Record, bytes: u64) {
        let known = key(record, bytes).and_then(|key| self.known.get(&key));
        let Some(known) = known.cloned() else {
            return self.add(record, bytes);
        };
        // A mask without a bad sample is like any other.
        if self.check_of_zeros(bytes) == record.check {
            return;
        }
        match self.first {
            None => self.first = Some((record.source.clone(), known)),
            Some(_) => self.others += 1,
        }
    }

    fn check_of_zeros(&mut self, bytes: u64) -> u32 {
        const ZEROS: [u8; 4096] = [0; 4096];
        *self.zeros.entry(bytes).or_insert_with(|| {
            let (mut check, mut left) = (0, bytes as usize);
            while left > 0 {
                let part = left.min(ZEROS.len());
                check = crc32c::crc32c_append(check, &ZEROS[..part]);
                left -= part;
            }
            check
        })
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
