//! Inner loops. They depend on nothing else in the crate but `dtype`.
