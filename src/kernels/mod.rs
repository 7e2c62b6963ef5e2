//! Inner loops. They depend on nothing else in the crate but `dtype` and `region`.
//!
//! | file | what |
//! |---|---|
//! | `copy` | boxes from one array to another, stored samples to values and back |
//! | `swap` | byte order, and the sign bit that FITS offsets away |
//! | `checksum` | the sums of FITS, and the text of CHECKSUM |
//! | `crc` | CRC-32C of parts put together |
//! | `scale` | `physical = BZERO + BSCALE * stored` |
//! | `cast` | samples of one type to samples of another |
//! | `gather` | samples of tiles to 16 lines side by side |
//! | `clip` | sigma clipping and statistics of lines |
//!
//! Samples are little-endian bytes everywhere but in `clip`, which takes them as the
//! machine holds them and keeps buffers. No other loop allocates.

pub mod cast;
pub mod checksum;
pub mod clip;
pub mod copy;
pub mod crc;
pub mod gather;
pub mod scale;
pub mod swap;
