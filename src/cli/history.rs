//! `cube log` and `cube undo`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::progress::Bar;
use super::{DONE, Lock, Told, print, to_json};
use crate::error::{Result, show_path};
use crate::ops::history::{log, undo};
use crate::ops::{count, show_bytes};
use crate::region::show_shape;

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube log night.cube\n  \
    cube log night.cube --json > history.json")]
pub(super) struct LogArgs {
    /// The cube
    cube: PathBuf,

    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run_log(args: &LogArgs) -> Result<u8> {
    let mut entries = log(&args.cube, &Bar::silent())?;
    entries.reverse();
    if args.json {
        print(&(to_json(&entries)? + "\n"))?;
        return Ok(DONE);
    }
    let mut text = String::new();
    for entry in entries {
        let added = match (entry.command.frames, entry.command.samples) {
            (0, 0) => String::new(),
            (0, samples) => count(samples, "sample"),
            (frames, _) => format!(
                "+{} ({})",
                count(frames, "frame"),
                show_bytes(entry.command.bytes)
            ),
        };
        let line = format!(
            "{:>4}  {}  {:8} {:24} {:20} {}",
            entry.generation,
            entry.command.time,
            entry.command.verb,
            added,
            show_shape(&entry.shape),
            shortened(&show_path(Path::new(&entry.command.line)))
        );
        text += line.trim_end();
        text.push('\n');
    }
    print(&text)?;
    Ok(DONE)
}

/// A command line as far as a table has room for it; --json has all of it.
fn shortened(line: &str) -> String {
    const MOST: usize = 60;
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line.to_string(),
    }
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube undo night.cube\n  \
    cube undo night.cube --to 7                # as after generation 7 of cube log")]
pub(super) struct UndoArgs {
    /// The cube
    cube: PathBuf,

    /// Take back all commands behind this generation, as `cube log` numbers them
    #[arg(long, value_name = "GENERATION")]
    to: Option<u64>,

    #[command(flatten)]
    lock: Lock,

    #[command(flatten)]
    told: Told,
}

pub(super) fn run_undo(args: &UndoArgs) -> Result<u8> {
    let busy = args.lock.busy();
    let undone = undo(&args.cube, args.to, busy, &args.told.common.bar())?;
    let many = match undone.commands {
        1 => String::new(),
        _ => format!("{}, from ", count(undone.commands, "command")),
    };
    let text = format!(
        "{}: took back {many}{} of {}; the cube is {}",
        show_path(&args.cube),
        undone.command.verb,
        undone.command.time,
        show_shape(&undone.shape)
    );
    args.told.tell(&undone, &text)
}
