//! The parts of a file that are open: those that were used last.

use crate::error::Result;

/// Parts that are open at once.
const OPEN: usize = 8;

/// The most that they keep in memory, but for the last one used.
pub(super) const OPEN_BYTES: u64 = 1 << 28;

/// Open parts by number, the last used last.
pub(super) struct Recent<T> {
    open: Vec<(usize, T)>,
    /// About how many bytes one keeps in memory.
    kept: fn(&T) -> u64,
}

impl<T> Recent<T> {
    /// Begins with the first part.
    pub(super) fn new(first: T, kept: fn(&T) -> u64) -> Recent<T> {
        Recent {
            open: vec![(0, first)],
            kept,
        }
    }

    /// About how many bytes they keep in memory.
    pub(super) fn kept(&self) -> u64 {
        self.open.iter().map(|(_, part)| (self.kept)(part)).sum()
    }

    /// The part with this number, which `open` opens if it is not.
    pub(super) fn get(
        &mut self,
        number: usize,
        open: impl FnOnce() -> Result<T>,
    ) -> Result<&mut T> {
        let part = match self.open.iter().position(|(open, _)| *open == number) {
            Some(at) => self.open.remove(at),
            None => {
                while self.open.len() >= OPEN || self.open.len() > 1 && self.kept() > OPEN_BYTES {
                    self.open.remove(0);
                }
                (number, open()?)
            }
        };
        let last = self.open.len();
        self.open.push(part);
        Ok(&mut self.open[last].1)
    }
}
