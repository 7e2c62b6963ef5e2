//! A storage that is read by copying and never through the map.
//!
//! A page of a map that the disk cannot deliver ends the process; a read that
//! fails is an error. So what looks for damage reads through this.

use std::sync::Arc;

use super::{Bytes, Storage};
use crate::error::{Error, Result};

/// Longer reads go to the storage behind: they would take too much memory.
const MOST_COPIED: u64 = 64 << 20;

/// A storage behind which another one does the work.
pub struct Copied(pub Arc<dyn Storage>);

impl Storage for Copied {
    fn len(&self) -> Result<u64> {
        self.0.len()
    }

    fn read(&self, at: u64, bytes: u64) -> Result<Bytes> {
        match usize::try_from(bytes) {
            Ok(len) if bytes <= MOST_COPIED => {
                let mut copy = vec![0; len];
                self.0.read_into(at, &mut copy)?;
                Ok(Bytes::Owned(copy))
            }
            _ => self.0.read(at, bytes),
        }
    }

    fn read_into(&self, at: u64, out: &mut [u8]) -> Result<()> {
        self.0.read_into(at, out)
    }

    fn next_data(&self, at: u64) -> Result<u64> {
        self.0.next_data(at)
    }

    fn write(&self, _at: u64, _data: &[u8]) -> Result<()> {
        Err(read_only())
    }

    fn extend(&self, _bytes: u64) -> Result<()> {
        Err(read_only())
    }

    fn truncate(&self, _bytes: u64) -> Result<()> {
        Err(read_only())
    }

    fn allocate(&self, _at: u64, _bytes: u64) -> Result<()> {
        Err(read_only())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn will_need(&self, ranges: &[(u64, u64)]) {
        self.0.will_need(ranges);
    }

    fn written(&self, _at: u64, _bytes: u64) {}
}

fn read_only() -> Error {
    Error::unsupported("this view of the file is for reading")
}
