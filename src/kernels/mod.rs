//! Inner loops. They depend on nothing else in the crate but `dtype`.
//!
//! * [`copy`]: boxes from one array to another, stored samples to values and back.

pub mod copy;
