//! A part of a file, in which what is asked for mostly follows what was asked for before.

use crate::error::{Error, Result};
use crate::frames::source::Source;

use super::bits::PAD_BYTES;

/// It is read this many bytes at a time.
const READ_BYTES: u64 = 1 << 17;

pub(super) struct Window {
    start: u64,
    end: u64,
    /// Where in the file `bytes` begin.
    at: u64,
    /// What was read, and [`PAD_BYTES`] behind it.
    bytes: Vec<u8>,
}

impl Window {
    /// The end is inside the file, as was seen when it was opened.
    pub(super) fn new(start: u64, n_bytes: u64) -> Window {
        Window {
            start,
            end: start + n_bytes,
            at: start,
            bytes: vec![0; PAD_BYTES],
        }
    }

    /// The bytes from an offset of the part on, and [`PAD_BYTES`] behind them.
    pub(super) fn get(&mut self, source: &Source, offset: u64, n_bytes: u64) -> Result<&[u8]> {
        let start = self.start.saturating_add(offset);
        let needed = start.saturating_add(n_bytes);
        // Not so of what was seen when it was opened.
        if needed > self.end {
            return Err(Error::input("the file changed while it was read"));
        }
        let there = (self.bytes.len() - PAD_BYTES) as u64;
        if start < self.at || needed > self.at + there {
            let n_read = n_bytes.max(READ_BYTES.min(self.end - start));
            let n_read = usize::try_from(n_read).unwrap_or(usize::MAX - PAD_BYTES);
            self.bytes.resize(n_read + PAD_BYTES, 0);
            self.at = start;
            let read = source.read_at(start, &mut self.bytes[..n_read]);
            if read.is_err() {
                self.bytes.truncate(PAD_BYTES);
            }
            read?;
        }
        let first = usize::try_from(start - self.at).unwrap_or(usize::MAX);
        let n_bytes = usize::try_from(n_bytes).unwrap_or(usize::MAX);
        Ok(&self.bytes[first..first + n_bytes + PAD_BYTES])
    }

    /// How many bytes it keeps.
    pub(super) fn kept(&self) -> u64 {
        self.bytes.len() as u64
    }
}
