//! Samples and nothing else: little-endian, x fastest. Whoever asks for this keeps
//! type and shape elsewhere.

use super::output::{Output, Target};
use super::{Image, Remaining, Sink};
use crate::error::{Context, Result};

/// Raw samples that are being written.
pub struct RawSink {
    output: Output,
    remaining: Remaining,
}

impl RawSink {
    /// Opens the target.
    ///
    /// # Errors
    /// When the target cannot be written, or the size overflows.
    pub fn create(target: &Target, image: &Image) -> Result<RawSink> {
        Ok(RawSink {
            remaining: Remaining::new(image.bytes()?, image.dtype),
            output: Output::create(target)?,
        })
    }
}

impl Sink for RawSink {
    fn write(&mut self, samples: &[u8]) -> Result<()> {
        self.remaining.take(samples).at(self.output.name())?;
        self.output.write(samples)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.remaining.finish().at(self.output.name())?;
        self.output.finish()
    }
}
