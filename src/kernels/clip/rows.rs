//! Rows of 16 lanes that begin where cache lines begin.
//!
//! A row of float32 is as long as a cache line. In a plain `Vec` every row lies
//! across two of them, and sorting takes about twice as long.

#![allow(unsafe_code, reason = "aligned rows are seen as arrays")]

use std::ops::{Deref, DerefMut};

use super::LANES;

/// A row.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Aligned<T>([T; LANES]);

/// Rows of float32 or float64; they deref to a slice of arrays.
#[derive(Clone)]
pub struct Rows<T> {
    rows: Vec<Aligned<T>>,
}

impl<T: Copy> Rows<T> {
    /// No rows.
    pub const fn new() -> Rows<T> {
        const {
            // So that rows stand one after the other without a gap.
            assert!(size_of::<Aligned<T>>() == size_of::<[T; LANES]>());
        }
        Rows { rows: Vec::new() }
    }

    /// Makes it `count` rows, new ones of a value.
    pub fn resize(&mut self, count: usize, value: T) {
        self.rows.resize(count, Aligned([value; LANES]));
    }

    /// Leaves the first rows.
    pub fn truncate(&mut self, count: usize) {
        self.rows.truncate(count);
    }

    /// Makes it `count` rows of a value.
    pub fn fill_with(&mut self, count: usize, value: T) {
        self.rows.clear();
        self.resize(count, value);
    }
}

impl<T: Copy> Default for Rows<T> {
    fn default() -> Rows<T> {
        Rows::new()
    }
}

impl<T: Copy> Deref for Rows<T> {
    type Target = [[T; LANES]];

    fn deref(&self) -> &[[T; LANES]] {
        let rows = self.rows.as_slice();
        // SAFETY: `Aligned<T>` is `repr(C)` around one array of the same size, as
        // `new` asserts, so that many arrays stand there, initialised.
        unsafe { std::slice::from_raw_parts(rows.as_ptr().cast(), rows.len()) }
    }
}

impl<T: Copy> DerefMut for Rows<T> {
    fn deref_mut(&mut self) -> &mut [[T; LANES]] {
        let rows = self.rows.as_mut_slice();
        // SAFETY: as in `deref`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(rows.as_mut_ptr().cast(), rows.len()) }
    }
}
