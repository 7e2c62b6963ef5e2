//! Inner loops. They depend on nothing else in the crate but `dtype`.
//!
//! | file | what |
//! |---|---|
//! | `swap` | byte order, and the sign bit that FITS offsets away |
//! | `scale` | `physical = BZERO + BSCALE * stored` |
//! | `cast` | samples of one type to samples of another |
//!
//! Samples are little-endian bytes everywhere; no loop here can panic, reads
//! outside its slices, or allocates.

pub mod cast;
pub mod scale;
pub mod swap;
