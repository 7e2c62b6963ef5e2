//! Images out: one trait, [`Sink`], behind which every kind of output stands.
//!
//! This folder does not know that cubes exist. An output is written beside its
//! final name and renamed when it is whole, so nothing is ever left half-written
//! under that name, and nothing is clobbered unless asked for.

use crate::dtype::DType;
use crate::error::Result;
use crate::frames::cards::Cards;

/// What an output is told before its samples come.
#[derive(Clone, Debug)]
pub struct Image {
    /// Lengths of the axes, the fastest first.
    pub shape: Vec<u64>,
    /// Type of the samples.
    pub dtype: DType,
    /// The value that means "no data" in an integer image.
    pub blank: Option<i128>,
    /// Header cards that describe the image: no SIMPLE, BITPIX or NAXIS family,
    /// no scaling, checksum or END; coordinates already fit `shape`.
    pub cards: Cards,
}

/// One output, streamed.
pub trait Sink {
    /// Takes the next samples, x fastest, little-endian, whole samples only.
    fn write(&mut self, samples: &[u8]) -> Result<()>;

    /// Completes the output and gives it its final name. A sink that is dropped
    /// before leaves nothing behind.
    fn finish(self: Box<Self>) -> Result<()>;
}
