//! `cube compact`.

use std::path::PathBuf;

use clap::Args;

use super::{Lock, Memory, Told};
use crate::error::{Result, show_path};
use crate::ops::compact::{Options, compact};
use crate::ops::{Stop, count, show_bytes};

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  cube compact night.cube")]
pub(super) struct CompactArgs {
    /// The cube
    cube: PathBuf,

    #[command(flatten)]
    lock: Lock,

    #[command(flatten)]
    memory: Memory,

    #[command(flatten)]
    told: Told,
}

pub(super) fn run(args: &CompactArgs, line: String, stop: &Stop) -> Result<u8> {
    let options = Options {
        busy: args.lock.busy(),
        memory: args.memory.bytes(),
        line,
    };
    let report = compact(&args.cube, &options, &args.told.common.bar(), stop)?;
    let mut text = format!(
        "{}: {}, {} on disk, {} before",
        show_path(&args.cube),
        count(report.rewritten.frames, "frame"),
        show_bytes(report.after),
        show_bytes(report.before)
    );
    if report.rewritten.dropped > 0 {
        text += &format!(
            "; gone: {} deleted before",
            count(report.rewritten.dropped, "frame")
        );
    }
    if report.rewritten.partial > 0 {
        text += &format!(
            "; {} lost pixels before and cannot be verified",
            count(report.rewritten.partial, "frame")
        );
    }
    args.told.tell(&report, &text)
}
