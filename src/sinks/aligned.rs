//! Bytes gathered into writes that end where pieces of the page cache do.
//!
//! Linux takes memory for a write in pieces of powers of two, each aligned in the
//! file: 128 KiB that begin behind a header of 2880 bytes are put into six of them
//! in place of one, and take a third longer (`docs/decisions/002-write-path.md`).

use std::io::{self, ErrorKind, IoSlice, Write};

/// Writes end at multiples of this; the page cache takes larger ones more slowly.
const PIECE_BYTES: usize = 128 << 10;

/// A writer that gathers what comes, and is told whole pieces. What is held is lost
/// when it is dropped without [`Aligned::into_inner`].
pub(super) struct Aligned<W> {
    inner: W,
    /// Bytes that were written of the piece at hand.
    begun: usize,
    /// Bytes of it that are to follow those.
    held: Vec<u8>,
}

impl<W: Write> Aligned<W> {
    pub(super) fn new(inner: W) -> Aligned<W> {
        Aligned {
            inner,
            begun: 0,
            held: Vec::new(),
        }
    }

    pub(super) fn get_ref(&self) -> &W {
        &self.inner
    }

    pub(super) fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// Writes what is held.
    pub(super) fn into_inner(mut self) -> io::Result<W> {
        self.put_held(&[])?;
        Ok(self.inner)
    }

    /// Writes what is held, and `bytes` after it.
    fn put_held(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < self.held.len() {
            let parts = [IoSlice::new(&self.held[done..]), IoSlice::new(bytes)];
            match self.inner.write_vectored(&parts) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let written = done - self.held.len();
        self.inner.write_all(&bytes[written..])?;
        self.begun = (self.begun + self.held.len() + bytes.len()) % PIECE_BYTES;
        self.held.clear();
        Ok(())
    }
}

impl<W: Write> Write for Aligned<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = PIECE_BYTES - self.begun - self.held.len();
        let now = &bytes[..left.min(bytes.len())];
        match now.len() == left {
            true => self.put_held(now)?,
            false => self.held.extend_from_slice(now),
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.put_held(&[])?;
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, and remembers where each write ended.
    struct Reluctant {
        bytes: Vec<u8>,
        most: usize,
        ends: Vec<usize>,
        calls: usize,
    }

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(ErrorKind::Interrupted.into());
            }
            let mut left = self.most;
            for part in parts {
                let now = &part[..left.min(part.len())];
                self.bytes.extend_from_slice(now);
                left -= now.len();
            }
            self.ends.push(self.bytes.len());
            Ok(self.most - left)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn pieces_are_whole_and_nothing_is_lost_however_it_comes() {
        let bytes: Vec<u8> = (0..=250).cycle().take(5 * PIECE_BYTES + 77).collect();
        for most in [usize::MAX, 100_000, 4097] {
            for step in [
                1,
                2880,
                100_000,
                PIECE_BYTES,
                3 * PIECE_BYTES + 5,
                bytes.len(),
            ] {
                let mut writer = Aligned::new(Reluctant {
                    bytes: Vec::new(),
                    most,
                    ends: Vec::new(),
                    calls: 0,
                });
                for (number, part) in bytes.chunks(step).enumerate() {
                    writer.write_all(part).unwrap();
                    if number == 1 {
                        writer.flush().unwrap();
                    }
                }
                let inner = writer.into_inner().unwrap();
                assert!(inner.bytes == bytes, "{most} {step}");
                if most == usize::MAX {
                    let flushed = (2 * step).min(bytes.len());
                    let inside = |end: &&usize| **end != flushed && **end != bytes.len();
                    let mut inside = inner.ends.iter().filter(inside);
                    assert!(inside.all(|end| end.is_multiple_of(PIECE_BYTES)), "{step}");
                    assert!(inner.ends.len() <= 8, "{step}");
                }
            }
        }
    }

    #[test]
    fn a_writer_that_takes_nothing_is_an_error() {
        let mut full: &mut [u8] = &mut [0; 10];
        let mut writer = Aligned::new(&mut full);
        writer.write_all(&[0; 11]).unwrap();
        let error = writer.flush().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero);
    }
}
