//! `cube clean`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{BadArgs, Common, DONE, Jobs, Lock, Memory, Where, parsed, print_report, say};
use crate::error::{Error, Result, show_path};
use crate::ops::clean::{
    Applying, Center, Fill, FrameCount, Options, Report, Rule, Spread, apply, clean, clip,
};
use crate::ops::part::Part;
use crate::ops::{Stop, count};
use crate::region::parse_axis;
use crate::sinks::{Format, Target};

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube clean night.cube\n  \
    cube clean night.cube --sigma 4 --maxiters all --spread mad --fill interpolate\n  \
    cube clean night.cube --dry-run --report\n  \
    cube clean night.cube --lower 6 --upper 3 --grow 1 --mask rejected.fits\n  \
    cube clean night.cube --where \"FILTER == 'R'\"\n  \
    cube clean night.cube --section '[100:200,*,*]' --fill nan\n  \
    cube clean night.cube --axis x --bad hot.fits --sigma inf --fill interpolate\n  \
    cube clean night.cube --part 2/8 -o part-2.patches; cube clean night.cube --apply part-*")]
pub(super) struct CleanArgs {
    /// The cube
    cube: PathBuf,

    /// The axis that is compared along [default: the stack's]
    ///
    /// That is the axis on which the frames stand one behind the other; where there is none,
    /// the last.
    #[arg(long, value_name = "AXIS", value_parser = |text: &str| parsed(parse_axis(text)))]
    axis: Option<usize>,

    #[command(flatten)]
    clipping: Clipping,

    /// What takes its place: median, mean, interpolate, nan or a number
    ///
    /// Median or mean of what was kept; a line between the nearest that were kept;
    /// nan is BLANK where integers have it.
    #[arg(
        long,
        value_name = "FILL",
        default_value = "median",
        allow_hyphen_values = true
    )]
    #[arg(value_parser = parse_fill)]
    fill: Fill,

    #[command(flatten)]
    chosen: Where,

    /// Only this part, such as '[1:100,*,5:9]'
    #[arg(long, value_name = "SECTION", allow_hyphen_values = true)]
    section: Option<String>,

    #[command(flatten)]
    bad: BadArgs,

    /// Leave lines as they are that would keep fewer samples [default: 1; 0 with --fill nan or a
    /// number]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(hide_short_help = true)]
    min_kept: Option<u32>,

    /// Reject so many neighbours along the axis of each rejected sample, too
    #[arg(long, value_name = "R", default_value_t = 0)]
    #[arg(hide_short_help = true)]
    grow: u32,

    /// Replace NaN and BLANK that came with the data, too; never void
    #[arg(long)]
    #[arg(hide_short_help = true)]
    fill_nan: bool,

    /// Count only; change nothing
    #[arg(long)]
    dry_run: bool,

    /// Write a mask of the cleaned part: 1 where a sample was rejected, else 0
    #[arg(long, value_name = "FILE", group = "written")]
    mask: Option<PathBuf>,

    /// Format of the mask [default: by the name of FILE]
    #[arg(long, value_name = "FORMAT", requires = "mask")]
    #[arg(value_parser = |text: &str| parsed(Format::from_name(text)))]
    #[arg(hide_short_help = true)]
    mask_format: Option<Format>,

    /// Work out part I of N alone, reading only, and keep it in the output file
    #[arg(long, value_name = "I/N", value_parser = |text: &str| parsed(Part::parse(text)))]
    #[arg(requires = "output", conflicts_with_all = ["dry_run", "mask", "report", "json"])]
    #[arg(hide_short_help = true)]
    part: Option<Part>,

    /// Clean by these parts, which know all that was asked for
    #[arg(long, value_name = "PART", num_args = 1.., conflicts_with_all = [
        "part", "axis", "sigma", "lower", "upper", "maxiters", "center", "spread", "fill", "filters", "section",
        "files", "min_kept", "grow", "fill_nan", "dry_run", "mask",
    ])]
    #[arg(hide_short_help = true)]
    apply: Vec<PathBuf>,

    /// Where a part goes; - is standard output
    #[arg(short, long, value_name = "FILE", requires = "part", group = "written")]
    #[arg(hide_short_help = true)]
    output: Option<PathBuf>,

    /// Replace the file of a mask or a part if it exists
    #[arg(long, requires = "written")]
    #[arg(hide_short_help = true)]
    overwrite: bool,

    /// List what was rejected by frame, the worst first
    #[arg(long)]
    report: bool,

    /// The report as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    lock: Lock,

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    memory: Memory,

    #[command(flatten)]
    common: Common,
}

// How lines are clipped, here and in `combine`.
#[derive(Debug, Args)]
pub(super) struct Clipping {
    /// Spreads from the centre that are kept
    #[arg(long, value_name = "N", default_value = "3", value_parser = parse_sigma, allow_negative_numbers = true)]
    sigma: f64,

    /// The same below the centre; inf keeps all there [default: --sigma]
    #[arg(long, value_name = "N", value_parser = parse_sigma, allow_negative_numbers = true)]
    #[arg(hide_short_help = true)]
    lower: Option<f64>,

    /// The same above it [default: --sigma]
    #[arg(long, value_name = "N", value_parser = parse_sigma, allow_negative_numbers = true)]
    #[arg(hide_short_help = true)]
    upper: Option<f64>,

    /// Rounds at most, or all: until nothing changes
    #[arg(long, value_name = "N|all", default_value = "5", value_parser = parse_rounds)]
    #[arg(hide_short_help = true)]
    maxiters: Rounds,

    /// What deviations are measured from
    #[arg(long, value_enum, default_value_t = CenterName::Median)]
    #[arg(hide_short_help = true)]
    center: CenterName,

    /// What they are measured in
    ///
    /// Standard deviation, or 1.4826 times the median absolute deviation.
    #[arg(long, value_enum, default_value_t = SpreadName::Std)]
    spread: SpreadName,
}

impl Clipping {
    pub(super) fn rule(&self) -> Rule {
        Rule {
            lower: self.lower.unwrap_or(self.sigma),
            upper: self.upper.unwrap_or(self.sigma),
            rounds: self.maxiters.0,
            center: match self.center {
                CenterName::Median => Center::Median,
                CenterName::Mean => Center::Mean,
            },
            spread: match self.spread {
                SpreadName::Std => Spread::Std,
                SpreadName::Mad => Spread::Mad,
            },
            fill: clip::Fill::None,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CenterName {
    Median,
    Mean,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SpreadName {
    Std,
    Mad,
}

#[derive(Clone, Copy, Debug)]
struct Rounds(Option<u32>);

fn parse_sigma(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(sigma) if sigma > 0.0 => Ok(sigma),
        _ => Err("give a number above 0".into()),
    }
}

fn parse_rounds(text: &str) -> std::result::Result<Rounds, String> {
    match text.parse::<u32>() {
        _ if text == "all" => Ok(Rounds(None)),
        Ok(rounds @ 1..) => Ok(Rounds(Some(rounds))),
        _ => Err("give a number from 1, or all".into()),
    }
}

fn parse_fill(text: &str) -> std::result::Result<Fill, String> {
    match text {
        "median" => Ok(Fill::Median),
        "mean" => Ok(Fill::Mean),
        "interpolate" => Ok(Fill::Interpolate),
        _ if text.eq_ignore_ascii_case("nan") || text.eq_ignore_ascii_case("blank") => {
            Ok(Fill::Nan)
        }
        _ if text.parse::<f64>().is_ok() => Ok(Fill::Value(text.to_string())),
        _ => Err("give median, mean, interpolate, nan or a number".into()),
    }
}

pub(super) fn run(args: &CleanArgs, line: String, stop: &Stop) -> Result<u8> {
    let bar = args.common.bar();
    let report = match args.apply.as_slice() {
        [] => clean(&args.cube, &options(args, line)?, &bar, stop)?,
        parts => {
            let options = Applying {
                by_frame: args.report || args.json,
                busy: args.lock.busy(),
                memory: args.memory.bytes(),
                line,
            };
            apply(&args.cube, parts, &options, &bar, stop)?
        }
    };
    if args.json {
        let mut object = json!(report);
        object["dry_run"] = args.dry_run.into();
        let worst = worst(&report.frames).into_iter().take(MOST_WORST);
        object["worst"] = worst.map(|frame| frame.position).collect();
        print_report(&format!("{object}\n"))?;
    } else if args.report {
        print_report(&table(&report))?;
    }
    if !args.common.quiet {
        say(&format!(
            "{}: {}",
            show_path(&args.cube),
            summary(&report, args)
        ));
    }
    Ok(DONE)
}

fn options(args: &CleanArgs, line: String) -> Result<Options> {
    if args.fill_nan && args.fill == Fill::Nan {
        return Err(
            Error::input("--fill-nan with --fill nan would change nothing")
                .hint("--fill median, mean, interpolate or a number fills what is missing"),
        );
    }
    let target = |path: &PathBuf| Target::from_path(path, args.overwrite);
    let mask = args.mask.as_ref().map(target);
    if mask == Some(Target::Stdout) && (args.report || args.json) {
        return Err(
            Error::input("the mask and the report both go to standard output")
                .hint("give the mask the name of a file"),
        );
    }
    Ok(Options {
        axis: args.axis,
        rule: args.clipping.rule(),
        fill: args.fill.clone(),
        filters: args.chosen.filters.clone(),
        section: args.section.clone(),
        bad: args.bad.bad(),
        min_kept: args.min_kept.unwrap_or(0),
        grow: args.grow,
        fill_nan: args.fill_nan,
        dry_run: args.dry_run,
        mask: mask.map(|mask| (mask, args.mask_format)),
        part: args.part.zip(args.output.as_ref().map(target)),
        by_frame: args.report || args.json,
        busy: args.lock.busy(),
        memory: args.memory.bytes(),
        jobs: args.jobs.count(),
        line,
    })
}

/// JSON names so many of the worst frames.
const MOST_WORST: usize = 10;

fn summary(report: &Report, args: &CleanArgs) -> String {
    let (found, done) = match (args.dry_run, args.part) {
        (true, _) => ("would be replaced", "nothing was changed"),
        (false, Some(_)) => ("to be replaced", "--apply does it when all parts are there"),
        (false, None) => ("replaced", ""),
    };
    let mut text = format!(
        "{} of {} {found} along {} ({})",
        count(report.rejected, "sample"),
        report.samples,
        report.axis,
        percent(report.rejected, report.samples)
    );
    if report.bad > 0 || !args.bad.files.is_empty() {
        text += &format!(", {} bad by a mask", report.bad);
    }
    if report.filled > 0 || args.fill_nan {
        text += &format!(", and {} without data", report.filled);
    }
    if report.lines_left > 0 {
        text += &format!(
            "; {} left as they are, for fewer than {} would be kept",
            count(report.lines_left, "line"),
            count(u64::from(report.min_kept), "sample")
        );
    }
    if !done.is_empty() {
        text += &format!("; {done}");
    } else if report.rejected + report.filled == 0 {
        text += "; the cube is as it was";
    }
    text
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.3} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// Frames with rejected samples, the worst first; equals by position.
fn worst(frames: &[FrameCount]) -> Vec<&FrameCount> {
    let mut frames: Vec<&FrameCount> = frames.iter().filter(|frame| frame.rejected > 0).collect();
    frames.sort_by_key(|frame| std::cmp::Reverse(frame.rejected));
    frames
}

fn table(report: &Report) -> String {
    let bad = match report.bad {
        0 => String::new(),
        bad => format!(", {bad} bad by a mask"),
    };
    let mut text = format!(
        "# rejected {} of {} samples{}, in {} of {} lines; {} lines left as they are\n# {:>9} {:>10} {:>10}  source\n",
        report.rejected,
        report.samples,
        bad,
        report.lines_changed,
        report.lines,
        report.lines_left,
        report.axis,
        "rejected",
        "share"
    );
    for frame in worst(&report.frames) {
        let source = frame.source.as_deref().unwrap_or("");
        let line = format!(
            "{:>11} {:>10} {:>10}  {}",
            frame.position,
            frame.rejected,
            percent(frame.rejected, report.samples_per_position),
            show_path(source.as_ref())
        );
        text += line.trim_end();
        text.push('\n');
    }
    text
}
