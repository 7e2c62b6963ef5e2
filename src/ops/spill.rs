//! Numbers that come in any order and go out sorted, however many they are: what
//! the memory does not hold waits in a file without a name.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result};

/// A run is read in pieces of at least so many numbers.
const LEAST_PIECE: usize = 512;

/// Numbers, no two alike.
pub(super) struct Spill {
    held: Vec<u64>,
    most: usize,
    /// Where each sorted run in the file ends, in numbers.
    ends: Vec<u64>,
    file: Option<File>,
    folder: PathBuf,
}

impl Spill {
    /// Holds at most about `memory` bytes; a file would be in `folder`.
    pub(super) fn new(memory: u64, folder: &Path) -> Spill {
        Spill {
            held: Vec::new(),
            most: (memory / 8).max(LEAST_PIECE as u64) as usize,
            ends: Vec::new(),
            file: None,
            folder: folder.to_path_buf(),
        }
    }

    /// Takes numbers in.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn push(&mut self, numbers: &[u64]) -> Result<()> {
        for part in numbers.chunks(self.most) {
            if self.held.len() + part.len() > self.most {
                self.store()?;
            }
            self.held.extend_from_slice(part);
        }
        Ok(())
    }

    fn store(&mut self) -> Result<()> {
        self.held.sort_unstable();
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let made = tempfile::tempfile_in(&self.folder);
                none.insert(made.doing("cannot make a file for what was found")?)
            }
        };
        let mut bytes = Vec::with_capacity(LEAST_PIECE * 8);
        for part in self.held.chunks(LEAST_PIECE) {
            bytes.clear();
            bytes.extend(part.iter().flat_map(|number| number.to_le_bytes()));
            file.write_all(&bytes)
                .doing("cannot write what was found")?;
        }
        let end = self.ends.last().copied().unwrap_or(0) + self.held.len() as u64;
        self.ends.push(end);
        self.held.clear();
        Ok(())
    }

    /// All numbers, ascending.
    ///
    /// # Errors
    /// When the file cannot be written or read.
    pub(super) fn sorted(mut self) -> Result<Sorted> {
        let mut runs = Vec::new();
        if self.file.is_some() {
            self.store()?;
            let piece = (self.most / self.ends.len()).max(LEAST_PIECE);
            // The runs take the place of what was held.
            self.held = Vec::new();
            let mut start = 0;
            for &end in &self.ends {
                runs.push(Run {
                    next: start,
                    end,
                    piece,
                    held: Vec::new(),
                });
                start = end;
            }
        }
        self.held.sort_unstable();
        self.held.reverse();
        let mut sorted = Sorted {
            heads: BinaryHeap::with_capacity(runs.len()),
            runs,
            file: self.file,
            held: self.held,
        };
        for run in 0..sorted.runs.len() {
            sorted.advance(run)?;
        }
        Ok(sorted)
    }
}

/// A sorted part of the file.
struct Run {
    next: u64,
    end: u64,
    piece: usize,
    /// Read ahead, the next one last.
    held: Vec<u64>,
}

/// Numbers in order.
pub(super) struct Sorted {
    /// What memory held, the least last.
    held: Vec<u64>,
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    runs: Vec<Run>,
    file: Option<File>,
}

impl Sorted {
    fn advance(&mut self, number: usize) -> Result<()> {
        let run = &mut self.runs[number];
        if run.held.is_empty()
            && let Some(file) = &self.file
        {
            let count = (run.end - run.next).min(run.piece as u64);
            let mut bytes = vec![0; count as usize * 8];
            file.read_exact_at(&mut bytes, run.next * 8)
                .doing("cannot read what was found")?;
            let numbers = bytes.as_chunks().0.iter().rev();
            run.held = numbers.map(|bytes| u64::from_le_bytes(*bytes)).collect();
            run.next += count;
        }
        if let Some(next) = run.held.pop() {
            self.heads.push(Reverse((next, number)));
        }
        Ok(())
    }

    /// The next one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<u64>> {
        if self.runs.is_empty() {
            return Ok(self.held.pop());
        }
        let Some(Reverse((next, run))) = self.heads.pop() else {
            return Ok(None);
        };
        self.advance(run)?;
        Ok(Some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_out_sorted_from_memory_and_from_a_file() {
        let folder = std::env::temp_dir();
        for (count, memory) in [(0, 0), (1, 0), (500, 1 << 20), (40_000, 0), (40_000, 9000)] {
            let mut spill = Spill::new(memory, &folder);
            let numbers: Vec<u64> = (0..count).map(|k| k * 7919 % 40_009).collect();
            for part in numbers.chunks(700) {
                spill.push(part).unwrap();
            }
            assert_eq!(spill.file.is_some(), count > 1000, "{count} {memory}");
            let mut sorted = spill.sorted().unwrap();
            let mut expected = numbers;
            expected.sort_unstable();
            let mut found = Vec::new();
            while let Some(next) = sorted.next().unwrap() {
                found.push(next);
            }
            assert_eq!(found, expected);
        }
    }
}
