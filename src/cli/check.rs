//! `cube check`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Common, DONE, FAILED, Memory, print, say};
use crate::error::{Result, show_path};
use crate::ops::check::{Options, Problem, check};
use crate::ops::{Stop, count};

/// A line names at most so many ranges of bytes; JSON has them all.
const MOST_RANGES: usize = 8;

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube check night.cube\n  \
    cube check night.cube --deep\n  \
    cube check night.cube --deep --json | jq '.problems[].bytes'")]
pub(super) struct CheckArgs {
    /// The cube
    cube: PathBuf,

    /// Read all frames and compare their checksums
    #[arg(long)]
    deep: bool,

    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    memory: Memory,

    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: &CheckArgs, stop: &Stop) -> Result<u8> {
    let options = Options {
        deep: args.deep,
        memory: args.memory.bytes(),
    };
    let bar = args.common.bar();
    let mut found = Vec::new();
    let mut in_frames = false;
    let report = check(&args.cube, &options, &bar, stop, &mut |problem| {
        let frame = problem.frame.as_ref().filter(|_| !problem.notice);
        in_frames |= frame.is_some_and(|frame| frame.position.is_some());
        match args.json {
            true => {
                found.push(problem.clone());
                Ok(())
            }
            false => print(&(line(problem) + "\n")),
        }
    })?;
    if args.json {
        let mut object = json!(report);
        object["deep"] = args.deep.into();
        object["problems"] = json!(found);
        object["count"] = report.problems.into();
        print(&format!("{object}\n"))?;
    }
    let summary = format!(
        "{}, {}",
        count(report.frames, "frame"),
        count(report.tiles, "tile")
    );
    if report.problems > 0 {
        if !args.common.quiet {
            let problems = count(report.problems, "problem");
            say(&format!(
                "cube: {}: {summary}, {problems}",
                show_path(&args.cube)
            ));
            if in_frames {
                say(
                    "hint: a damaged frame is as it was when it is deleted and inserted from its file; \
                     compact then leaves what is damaged behind",
                );
            }
        }
        return Ok(FAILED);
    }
    if !args.json && !args.common.quiet {
        let rest = match (
            args.deep,
            report.frames - report.verified.min(report.frames),
        ) {
            (false, _) => "; --deep would read the samples too".to_string(),
            (true, 0) => String::new(),
            (true, left) => format!(
                "; {} lost pixels before a compaction and cannot be verified",
                count(left, "frame")
            ),
        };
        print(&format!("{summary}, no damage{rest}\n"))?;
    }
    Ok(DONE)
}

/// A problem as one line: what, which frame, which tiles, which bytes.
fn line(problem: &Problem) -> String {
    let mut text = String::new();
    if problem.notice {
        text += "notice: ";
    }
    if let Some(frame) = &problem.frame {
        let source = show_path(Path::new(&frame.source));
        text += &match frame.position {
            Some(position) => format!("{} {position}, {source}: ", frame.axis),
            None => format!("frame {}, deleted, {source}: ", frame.number),
        };
    }
    text += &problem.what;
    if problem.frame.is_some() && !problem.tiles.is_empty() {
        let shown = |number: usize| format!("{:?}", problem.tiles[number].tile);
        text += &match problem.tiles.len() {
            1 => format!("; tile {}", shown(0)),
            many => format!("; {many} tiles {} to {}", shown(0), shown(many - 1)),
        };
    }
    if !problem.bytes.is_empty() {
        let ranges = problem.bytes.iter().take(MOST_RANGES);
        let ranges = ranges.map(|(at, bytes)| format!("{at}+{bytes}"));
        text += &format!("; bytes {}", ranges.collect::<Vec<_>>().join(" "));
        if problem.bytes.len() > MOST_RANGES {
            text += &format!(" and {} ranges more", problem.bytes.len() - MOST_RANGES);
        }
    }
    text
}
