//! Images in: one trait, [`Frame`], behind which every kind of source stands.
//!
//! This folder does not know that cubes exist. A frame is opened twice: once
//! while a command plans, to learn its [`Facts`], and once when its samples are
//! wanted; nothing is held open in between, so the number of frames is bounded
//! by neither memory nor the open-file limit.

pub mod cards;
pub mod wcs;

use std::time::SystemTime;

use crate::dtype::DType;
use crate::error::Result;
use cards::Cards;

/// What is known of a frame before its samples are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Lengths of the axes, the fastest first; trailing lengths of 1 are kept.
    pub shape: Vec<u64>,
    /// Type of the samples that [`Frame::read`] delivers, scaling applied.
    pub dtype: DType,
    /// The value that means "no data" in an integer frame, scaling applied.
    pub blank: Option<i128>,
    /// Size of the file the frame came from, in bytes.
    pub file_bytes: u64,
    /// When that file was last modified.
    pub modified: Option<SystemTime>,
    /// Which HDU or page of the file it is, from 0.
    pub part: u32,
}

/// One image, streamed.
pub trait Frame: Send {
    /// Shape, type and origin.
    fn facts(&self) -> &Facts;

    /// The header as it came, without END.
    fn cards(&self) -> &Cards;

    /// Reads the run of samples from the linear index `first` (x fastest) into
    /// `out`, as little-endian samples of `facts().dtype`. The length of `out` is
    /// a multiple of the sample size, and the run lies inside the frame.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what it was when it was opened.
    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()>;
}
