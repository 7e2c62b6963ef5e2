//! Inner loops. They depend on nothing else in the crate but `dtype` and `region`.
//!
//! | file | what |
//! |---|---|
//! | `copy` | boxes from one array to another, stored samples to values and back |
//! | `swap` | byte order, and the sign bit that FITS offsets away |
//! | `scale` | `physical = BZERO + BSCALE * stored` |
//! | `cast` | samples of one type to samples of another |
//!
//! Samples are little-endian bytes everywhere. No loop allocates.

pub mod cast;
pub mod copy;
pub mod scale;
pub mod swap;
