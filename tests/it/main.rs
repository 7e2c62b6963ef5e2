//! The program as a user meets it: every case drives the built binary.

mod golden;
mod tidy;
