//! Parse, run, print, exit: all of it is in [`cube::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cube::cli::run(std::env::args_os())
}
