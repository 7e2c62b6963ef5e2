#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cube_fuzz::npy(data));
