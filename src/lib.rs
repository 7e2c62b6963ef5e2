//! Image cubes on disk, far larger than memory: grow them on any side, cut
//! through them, copy nothing that is already there.

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
