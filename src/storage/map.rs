//! The only memory map, read-only, and honest about what that means.
//!
//! A map is sound only while nobody changes the mapped bytes. The engine maps
//! committed bytes alone and never overwrites those with other values (slots
//! are written once); another program that scribbles over a cube, or cuts it
//! short while it is mapped, breaks that promise as it would for any file.

#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Deref;
use std::sync::Arc;

use memmap2::{Advice, Mmap, MmapOptions};

use crate::error::{IoContext, Result};

/// A map of a file's first bytes.
#[derive(Clone)]
pub struct Map(Arc<Mmap>);

/// A part of a map, which it keeps alive.
pub struct View {
    map: Map,
    start: usize,
    end: usize,
}

impl Map {
    /// Maps the first `bytes` of `file`, which is at least that long.
    pub fn new(file: &File, bytes: usize) -> Result<Map> {
        // SAFETY: the map is read-only, and the engine overwrites no byte that
        // a commit can reach (module text). `bytes` is not past the end of the
        // file, so no page of the map is without a file behind it.
        let map = unsafe { MmapOptions::new().len(bytes).map(file) }.doing("cannot map")?;
        // A profile touches one page in megabytes; default read-ahead would
        // read the megabytes. What is wanted is asked for with `will_need`.
        // Advice is only advice: a system without it still reads right.
        let _ = map.advise(Advice::Random);
        Ok(Map(Arc::new(map)))
    }

    /// How many bytes are mapped.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Is nothing mapped?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes `start..end`; `None` when the map ends before.
    pub fn view(&self, start: usize, end: usize) -> Option<View> {
        (start <= end && end <= self.len()).then(|| View {
            map: self.clone(),
            start,
            end,
        })
    }

    /// Starts reading the bytes `start..start + len` from the disk.
    pub fn will_need(&self, start: usize, len: usize) {
        if start < self.len() {
            let len = len.min(self.len() - start);
            let _ = self.0.advise_range(Advice::WillNeed, start, len);
        }
    }
}

impl Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map.0[self.start..self.end]
    }
}
