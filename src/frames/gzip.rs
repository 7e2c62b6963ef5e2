//! A gzipped file, read at positions of what is inside.
//!
//! Decoding runs forwards and the last bytes of it are kept, so reading in order,
//! with small steps back, decodes once, in the memory of two chunks, whatever the
//! file claims. For longer steps what is inside is unpacked to a file without a
//! name, as far as it is asked for. All frames of the file share it: each would
//! else be decoded from the head of the file on.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use flate2::bufread::GzDecoder;

use crate::error::{Error, IoContext, Result};
use crate::turns::lock;

use super::source::{nameless_file, read_file};

/// Bytes decoded at a time.
const CHUNK_BYTES: usize = 1 << 16;

/// Files that stay unpacked, for frames that are named in any order.
const UNPACKED_FILES: usize = 4;

/// Steps forward of so many bytes are decoded and not kept.
const STEP_BYTES: u64 = 1 << 20;

/// The first bytes of each member of a gzipped file.
const MEMBER: &[u8] = b"\x1f\x8b";

/// Deflate cannot make more of one byte than this.
const MAX_RATIO: u64 = 1032;

/// No gzipped file of this many bytes holds more than the result.
pub(super) fn most_inside(file_bytes: u64) -> u64 {
    file_bytes.saturating_mul(MAX_RATIO)
}

/// The file from its head to its end, on a descriptor whose position others move.
#[derive(Debug)]
struct Stream {
    file: File,
    at: u64,
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n_read = self.file.read_at(out, self.at)?;
        self.at += n_read as u64;
        Ok(n_read)
    }
}

/// What decodes a file chunk by chunk.
#[derive(Debug)]
struct Decoder {
    /// Nothing once all is decoded.
    members: Option<GzDecoder<BufReader<Stream>>>,
}

impl Decoder {
    fn new(file: &File) -> io::Result<Decoder> {
        let file = file.try_clone()?;
        let members = GzDecoder::new(BufReader::new(Stream { file, at: 0 }));
        Ok(Decoder {
            members: Some(members),
        })
    }

    /// Decodes the next chunk; false at the end, where it is empty.
    fn next(&mut self, chunk: &mut Vec<u8>) -> Result<bool> {
        self.decode(chunk).map_err(corrupt)
    }

    fn decode(&mut self, chunk: &mut Vec<u8>) -> io::Result<bool> {
        chunk.clear();
        if self.members.is_none() {
            return Ok(false);
        }
        while chunk.len() < CHUNK_BYTES
            && let Some(decoder) = &mut self.members
        {
            let wanted = CHUNK_BYTES - chunk.len();
            let n_read = decoder.by_ref().take(wanted as u64).read_to_end(chunk)?;
            if n_read == wanted {
                break;
            }
            // The end of a member, whose checksum was right. What follows the last
            // one is ignored, as gzip does: tapes and archives pad with zeros.
            let rest = self.members.take().map(GzDecoder::into_inner);
            if let Some(mut rest) = rest
                && rest.fill_buf()?.starts_with(MEMBER)
            {
                self.members = Some(GzDecoder::new(rest));
            }
        }
        Ok(true)
    }
}

/// Where gzipped files are unpacked, and what was unpacked of the last ones.
#[derive(Clone, Debug)]
pub struct Unpacked {
    folder: Arc<Path>,
    /// The last used last.
    last: Arc<Mutex<Vec<Known>>>,
}

/// A file, and what is unpacked of it.
type Known = (Identity, Arc<Mutex<Spool>>);

/// Device, inode, length and time of change.
type Identity = (u64, u64, u64, i64, i64);

impl Unpacked {
    /// Files without a name will be in `folder`, or where that cannot be, among
    /// temporary files.
    pub fn new(folder: PathBuf) -> Unpacked {
        Unpacked {
            folder: folder.into(),
            last: Arc::default(),
        }
    }

    /// In the same folder, for one file alone.
    pub(super) fn alone(&self) -> Unpacked {
        Unpacked {
            folder: Arc::clone(&self.folder),
            last: Arc::default(),
        }
    }

    /// What is unpacked of this file: nothing yet, if it is none of the last ones.
    fn spool(&self, file: &File) -> io::Result<Arc<Mutex<Spool>>> {
        let about = file.metadata()?;
        let changed = (about.ctime(), about.ctime_nsec());
        let identity = (about.dev(), about.ino(), about.len(), changed.0, changed.1);
        let mut last = lock(&self.last);
        let known = last.iter().position(|(known, _)| *known == identity);
        let spool = match known {
            Some(at) => last.remove(at).1,
            None => Arc::new(Mutex::new(Spool {
                folder: Arc::clone(&self.folder),
                unpacked: None,
                len: 0,
                chunk: Vec::new(),
            })),
        };
        if last.len() == UNPACKED_FILES {
            last.remove(0);
        }
        last.push((identity, Arc::clone(&spool)));
        Ok(spool)
    }
}

impl Default for Unpacked {
    fn default() -> Unpacked {
        Unpacked::new(std::env::temp_dir())
    }
}

/// What is inside a file, unpacked from its head on as far as it was asked for.
#[derive(Debug)]
struct Spool {
    folder: Arc<Path>,
    /// Nothing before it is asked for.
    unpacked: Option<(Arc<File>, Decoder)>,
    /// Bytes that are unpacked.
    len: u64,
    chunk: Vec<u8>,
}

impl Spool {
    /// The file, with what lies before `end` unpacked, if there is so much.
    fn unpack(&mut self, source: &File, end: u64) -> Result<Arc<File>> {
        let (file, mut decoder) = match self.unpacked.take() {
            Some(unpacked) => unpacked,
            None => {
                self.len = 0;
                let made = nameless_file(&self.folder);
                let file = made.doing("cannot make a file to unpack it to")?;
                (Arc::new(file), Decoder::new(source).doing("cannot open")?)
            }
        };
        // What fails is not gone on with, but fails again from the head on.
        while self.len < end && decoder.next(&mut self.chunk)? {
            let stored = file.write_all_at(&self.chunk, self.len);
            stored.doing("cannot unpack it to a temporary file")?;
            self.len += self.chunk.len() as u64;
        }
        self.unpacked = Some((Arc::clone(&file), decoder));
        Ok(file)
    }
}

/// What reads inside a gzipped file.
#[derive(Debug)]
pub(super) struct Inflater {
    file: File,
    spool: Arc<Mutex<Spool>>,
    decoder: Decoder,
    previous: Vec<u8>,
    current: Vec<u8>,
    /// Where in the decoded bytes `current` begins.
    start: u64,
}

impl Inflater {
    pub(super) fn new(file: File, unpacked: &Unpacked) -> io::Result<Inflater> {
        let spool = unpacked.spool(&file)?;
        Inflater::of(file, spool)
    }

    fn of(file: File, spool: Arc<Mutex<Spool>>) -> io::Result<Inflater> {
        Ok(Inflater {
            decoder: Decoder::new(&file)?,
            file,
            spool,
            previous: Vec::new(),
            current: Vec::new(),
            start: 0,
        })
    }

    /// The same from its head on.
    pub(super) fn again(&self) -> io::Result<Inflater> {
        Inflater::of(self.file.try_clone()?, Arc::clone(&self.spool))
    }

    /// Fills `out` with what lies from `offset` on, and says how much there was.
    pub(super) fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let end = offset.saturating_add(out.len() as u64);
        let kept = self.start - self.previous.len() as u64;
        let decoded = self.start + self.current.len() as u64;
        let mut spool = lock(&self.spool);
        if offset < kept || offset > decoded + STEP_BYTES || spool.len >= end {
            let unpacked = spool.unpack(&self.file, end)?;
            drop(spool);
            return read_file(&unpacked, offset, out).doing("cannot read what was unpacked");
        }
        drop(spool);
        let mut n_done = 0;
        while n_done < out.len() {
            let at = offset + n_done as u64;
            let (chunk, start) = match at < self.start {
                true => (&self.previous, self.start - self.previous.len() as u64),
                false => (&self.current, self.start),
            };
            let skip = usize::try_from(at - start).unwrap_or(usize::MAX);
            let there = chunk.get(skip..).unwrap_or_default();
            if there.is_empty() {
                if !self.decode()? {
                    break;
                }
                continue;
            }
            let n_now = there.len().min(out.len() - n_done);
            out[n_done..n_done + n_now].copy_from_slice(&there[..n_now]);
            n_done += n_now;
        }
        Ok(n_done)
    }

    /// Decodes what is left, so that every checksum has been looked at.
    pub(super) fn finish(&mut self) -> Result<()> {
        let mut spool = lock(&self.spool);
        if spool.unpacked.is_some() {
            return spool.unpack(&self.file, u64::MAX).map(drop);
        }
        drop(spool);
        while self.decode()? {}
        Ok(())
    }

    /// Decodes the next chunk; false at the end.
    fn decode(&mut self) -> Result<bool> {
        let mut chunk = std::mem::take(&mut self.previous);
        let is_there = self.decoder.next(&mut chunk)?;
        if is_there {
            self.start += self.current.len() as u64;
            self.previous = std::mem::replace(&mut self.current, chunk);
        }
        Ok(is_there)
    }
}

/// An error of decoding is the file's fault, unless the system reports it.
fn corrupt(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(_) => Error::io("cannot read", error),
        None => Error::damaged(format!("its gzip stream is damaged: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn zipped(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        let mut encoder = GzEncoder::new(&file, Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap();
        file
    }

    fn plain() -> Vec<u8> {
        let numbers = (0..1u32 << 20).map(|i| i.wrapping_mul(7919) % 30_011);
        numbers.flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn a_long_step_unpacks_once_for_all_and_what_is_in_order_is_not_unpacked() {
        let plain = plain();
        let file = zipped(&plain);
        let unpacked = Unpacked::default();
        let again = || Inflater::new(file.try_clone().unwrap(), &unpacked).unwrap();
        let mut out = vec![0; 1000];
        let mut check = |inflater: &mut Inflater, at: usize| {
            assert_eq!(inflater.read_at(at as u64, &mut out).unwrap(), 1000);
            assert_eq!(out, plain[at..][..1000], "{at}");
        };
        let n_unpacked = |inflater: &Inflater| lock(&inflater.spool).len;
        let (mut first, mut second) = (again(), again());
        for at in [0, 500, 70_000, 69_000, 600_000, 1_600_000, 2_600_000] {
            check(&mut first, at);
        }
        assert_eq!(n_unpacked(&first), 0);
        check(&mut second, 2_000_000);
        let n_then = n_unpacked(&second);
        assert!((2_001_000..2_001_000 + CHUNK_BYTES as u64).contains(&n_then));
        // From there on each takes what is unpacked, and neither decodes it again.
        check(&mut first, 100);
        check(&mut second, 0);
        check(&mut again(), 1_900_000);
        assert_eq!(n_unpacked(&first), n_then);
        assert_eq!(second.start, 0);
        second.finish().unwrap();
        assert_eq!(n_unpacked(&first), plain.len() as u64);
        assert_eq!(
            first
                .read_at(plain.len() as u64 - 10, &mut [0; 100])
                .unwrap(),
            10
        );
        // A few others may come between; more take its place, and who has it keeps it.
        for (n_others, is_kept) in [(UNPACKED_FILES - 1, true), (UNPACKED_FILES, false)] {
            for _ in 0..n_others {
                let mut other = Inflater::new(zipped(&plain[5..]), &unpacked).unwrap();
                assert_eq!(n_unpacked(&other), 0);
                other.read_at(3_000_000, &mut [0; 8]).unwrap();
            }
            check(&mut first, 50);
            assert_eq!(n_unpacked(&again()) > 0, is_kept);
        }
    }

    #[test]
    fn damage_is_found_by_each_that_reads_on_to_it() {
        let plain = plain();
        let file = zipped(&plain);
        let checksum = file.metadata().unwrap().len() - 8;
        file.write_all_at(&[1, 2, 3, 4], checksum).unwrap();
        let unpacked = Unpacked::default();
        for _ in 0..2 {
            let mut inflater = Inflater::new(file.try_clone().unwrap(), &unpacked).unwrap();
            inflater.read_at(2_000_000, &mut [0; 8]).unwrap();
            for _ in 0..2 {
                let said = inflater.finish().unwrap_err().to_string();
                assert!(said.contains("gzip stream is damaged"), "{said}");
            }
        }
    }
}
