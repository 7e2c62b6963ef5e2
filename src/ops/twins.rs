//! Frames that have the samples of another one: the same exposure under another name.

use std::collections::HashMap;
use std::path::Path;

use super::{Progress, count};
use crate::error::show_path;
use crate::format::ledger::Record;

/// What the samples of frames are, and those that came twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Twins {
    /// The file of each, by the check of its samples and how many bytes they are.
    known: HashMap<(u32, u64), String>,
    /// The check of so many zero bytes.
    zeros: HashMap<u64, u32>,
    /// The first that came twice, and of whom it is a copy.
    first: Option<(String, String)>,
    others: u64,
}

impl Twins {
    /// A frame that is there, with so many bytes of samples.
    pub(super) fn add(&mut self, record: &Record, bytes: u64) {
        let known = self.known.entry((record.check, bytes));
        known.or_insert_with(|| record.source.clone());
    }

    /// A frame that comes in.
    pub(super) fn come(&mut self, record: &Record, bytes: u64) {
        let Some(known) = self.known.get(&(record.check, bytes)).cloned() else {
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
        progress.warn(&format!(
            "{copy}: has the samples of {known}{and}; cube delete --source takes out what came from a file"
        ));
    }
}
