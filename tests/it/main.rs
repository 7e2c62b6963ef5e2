//! The program as a user meets it: every case drives the built binary.
//!
//! Frames are written and outputs are read by code of the tests' own, in
//! `support`; what is compared are samples, bits and messages.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    reason = "a test that meets the unexpected is to panic, and one that skips is to say so"
)]
#![allow(
    clippy::host_endian_bytes,
    reason = "samples are reinterpreted, not stored"
)]

mod append;
mod bad;
mod bad_input;
mod check;
mod chosen;
mod clean;
mod combine;
mod compact;
mod corpus;
mod each;
mod edit;
mod faults;
mod filter;
mod golden;
mod in_place;
mod info;
mod interrupt;
mod join;
mod limits;
mod outputs;
mod parts;
mod pictures;
mod power;
mod readme;
mod real_frames;
mod samples;
mod slice;
mod sources;
mod support;
mod terminal;
mod tidy;
mod tiff;
mod tiff_file;
mod world;
