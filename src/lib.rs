//! Image cubes on disk, far larger than memory: grow them on any side, cut
//! through them, copy nothing that is already there.
//!
//! What the program does is a function each in [`ops`]: options in, a report out, a
//! [`Progress`](ops::Progress) to watch it, a [`Stop`](ops::Stop) to end it. A commit
//! that was opened is a [`Snapshot`](engine::snapshot::Snapshot): it stays what it is
//! while others append, and any region of it can be read.
//!
//! ```
//! use cube::error::Result;
//! use cube::frames::list;
//! use cube::ops::{self, Quiet, Stop, append, clean, history};
//! use cube::region::Span;
//! use cube::storage::file::Busy;
//!
//! # fn main() -> Result<()> {
//! # let folder = tempfile::tempdir().expect("there is room for a folder");
//! # let night = &folder.path().join("night.cube");
//! // Append, as `cube append night.cube testdata/frames` does.
//! let frames = list::walk(list::expand(["testdata/frames"])?, false, false)?;
//! let (options, stop) = (append::Options::default(), Stop::default());
//! let report = append::append(night, &frames, &options, &Quiet, &stop)?;
//! assert_eq!((report.frames, report.shape), (24, vec![64, 48, 24]));
//!
//! // Open the newest commit, and read a region: x and y = 31, 22, all of z.
//! let (_, snapshot) = ops::open(night, &Quiet)?;
//! let region = [Span::run(30, 1), Span::run(21, 1), Span::run(0, 24)];
//! let mut bytes = vec![0; 24 * snapshot.catalog().dtype.size()];
//! snapshot.read(&region, &mut bytes)?;
//! let samples = bytes.as_chunks().0.iter().map(|&two| u16::from_le_bytes(two));
//! let samples: Vec<u16> = samples.collect();
//! assert_eq!(samples[23], 9307);
//!
//! // Clean along z; who opened the cube before sees nothing of it.
//! let report = clean::clean(night, &clean::Options::default(), &Quiet, &stop)?;
//! assert!(report.rejected > 0);
//! assert!(snapshot.catalog().patches.is_empty());
//! assert!(!ops::open(night, &Quiet)?.1.catalog().patches.is_empty());
//!
//! // And take it back.
//! let undone = history::undo(night, None, Busy::Fail, &Quiet)?;
//! assert_eq!(undone.command.verb, "clean");
//! # Ok(())
//! # }
//! ```

#[cfg(not(target_pointer_width = "64"))]
compile_error!("cube maps files larger than 32-bit pointers reach");

pub mod cli;
pub mod dtype;
pub mod engine;
pub mod error;
pub mod format;
pub mod frames;
pub mod kernels;
pub mod ops;
pub mod region;
pub mod sinks;
pub mod storage;
pub mod turns;
