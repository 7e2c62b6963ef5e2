//! Image cubes on disk, far larger than memory: grow them on any side, cut
//! through them, copy nothing that is already there.

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
