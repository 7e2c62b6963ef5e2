//! `cube combine`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::clean::Clipping;
use super::pictures::Pictures;
use super::{BadArgs, Jobs, Memory, Told, Where, parsed};
use crate::error::{Error, Result, show_path};
use crate::ops::combine::{Options, Reject, Scale, Statistic, apply, combine};
use crate::ops::part::Part;
use crate::ops::{Stop, count};
use crate::region::{parse_axis, show_shape};
use crate::sinks::{Format, Target};

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube combine night.cube --method median -o master.fits\n  \
    cube combine night.cube --method mean --reject sigma -o mean.fits --coverage n.fits\n  \
    cube combine flats.cube --method mean --scale median --reject minmax -o flat.fits\n  \
    cube combine night.cube --method mean --weight EXPTIME -o mean.fits --error sem.fits\n  \
    cube combine night.cube --method median --where \"FILTER == 'R'\" -o r.fits\n  \
    cube combine night.cube --method mean --bad dq.cube --bad-bits 5 -o mean.fits\n  \
    cube combine night.cube --method median --part 2/8 -o part-2.frame\n  \
    cube combine night.cube --apply part-*.frame -o master.fits")]
pub(super) struct CombineArgs {
    /// The cube
    cube: PathBuf,

    /// What a line becomes
    #[arg(long, value_enum, required_unless_present = "apply")]
    method: Option<MethodName>,

    /// Where to, a frame or a part; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Format [default: by the name of FILE]
    #[arg(long, value_name = "FORMAT", value_parser = |text: &str| parsed(Format::from_name(text)))]
    #[arg(hide_short_help = true)]
    format: Option<Format>,

    #[command(flatten)]
    pictures: Pictures,

    /// The axis that is collapsed [default: the stack's]
    ///
    /// That is the axis on which the frames stand one behind the other; where there is none,
    /// the last.
    #[arg(long, value_name = "AXIS", value_parser = |text: &str| parsed(parse_axis(text)))]
    axis: Option<usize>,

    /// What to leave out of each line first
    ///
    /// What sigma clipping rejects (--sigma to --spread say how), so many of the least
    /// and greatest samples, or percentages of them.
    #[arg(long, value_enum)]
    reject: Option<RejectName>,

    /// Of the least samples, with --reject minmax or percentile [default: 1; 10 percent]
    #[arg(long, value_name = "N", requires = "reject", value_parser = parse_share, allow_negative_numbers = true)]
    #[arg(hide_short_help = true)]
    low: Option<f64>,

    /// Of the greatest samples [default: 1; 10 percent]
    #[arg(long, value_name = "N", requires = "reject", value_parser = parse_share, allow_negative_numbers = true)]
    #[arg(hide_short_help = true)]
    high: Option<f64>,

    #[command(flatten)]
    clipping: Clipping,

    /// Weigh frames by a keyword, for mean and sum
    #[arg(long, value_name = "KEY")]
    weight: Option<String>,

    /// Scale frames to the first, by median or a keyword
    #[arg(long, value_name = "median|KEY", value_parser = parse_scale)]
    scale: Option<Scale>,

    /// Shift frames to the level of the first, by their median
    #[arg(long, value_enum)]
    zero: Option<ZeroName>,

    #[command(flatten)]
    chosen: Where,

    /// Only this part, such as '[1:100,*,5:9]'
    #[arg(long, value_name = "SECTION", allow_hyphen_values = true)]
    #[arg(hide_short_help = true)]
    section: Option<String>,

    #[command(flatten)]
    bad: BadArgs,

    /// Work out part I of N alone, and keep it in the output file
    #[arg(long, value_name = "I/N", value_parser = |text: &str| parsed(Part::parse(text)))]
    #[arg(conflicts_with_all = ["coverage", "error", "format"])]
    #[arg(hide_short_help = true)]
    part: Option<Part>,

    /// Make the frame of these parts, which know all that was asked for
    #[arg(long, value_name = "PART", num_args = 1.., conflicts_with_all = [
        "part", "method", "axis", "reject", "low", "high", "sigma", "lower", "upper", "maxiters",
        "center", "spread", "weight", "scale", "zero", "filters", "section", "files",
    ])]
    #[arg(hide_short_help = true)]
    apply: Vec<PathBuf>,

    /// Write how many samples each sample of the frame is made of
    #[arg(long, value_name = "FILE")]
    #[arg(hide_short_help = true)]
    coverage: Option<PathBuf>,

    /// Write standard errors of the mean
    #[arg(long, value_name = "FILE")]
    #[arg(hide_short_help = true)]
    error: Option<PathBuf>,

    /// Replace files that exist
    #[arg(long)]
    #[arg(hide_short_help = true)]
    overwrite: bool,

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    memory: Memory,

    #[command(flatten)]
    told: Told,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MethodName {
    Median,
    Mean,
    Sum,
    Min,
    Max,
    Std,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RejectName {
    Sigma,
    Minmax,
    Percentile,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ZeroName {
    Median,
}

#[allow(clippy::unnecessary_wraps, reason = "clap wants a result")]
fn parse_scale(text: &str) -> std::result::Result<Scale, String> {
    Ok(match text {
        "median" => Scale::Median,
        key => Scale::Keyword(key.to_string()),
    })
}

fn parse_share(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share.is_finite() && share >= 0.0 => Ok(share),
        _ => Err("give a number from 0".into()),
    }
}

impl CombineArgs {
    fn reject(&self) -> Result<Reject> {
        let wrong = |what: &str| Err(crate::error::Error::input(what));
        let given = (self.low, self.high);
        match self.reject {
            None => Ok(Reject::None),
            Some(RejectName::Sigma) if given != (None, None) => {
                wrong("--low and --high are for --reject minmax and percentile")
            }
            Some(RejectName::Sigma) => Ok(Reject::Sigma(self.clipping.rule())),
            Some(RejectName::Minmax) => {
                let whole = |share: Option<f64>| {
                    let share = share.unwrap_or(1.0);
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                    (share.fract() == 0.0 && share < 1e9).then_some(share as u32)
                };
                match (whole(self.low), whole(self.high)) {
                    (Some(low), Some(high)) => Ok(Reject::MinMax { low, high }),
                    _ => wrong("--low and --high are whole numbers of samples with minmax"),
                }
            }
            Some(RejectName::Percentile) => {
                let (low, high) = (self.low.unwrap_or(10.0), self.high.unwrap_or(10.0));
                match low + high < 100.0 {
                    true => Ok(Reject::Percentile { low, high }),
                    false => wrong("--low and --high are percentages, below 100 together"),
                }
            }
        }
    }
}

pub(super) fn run(args: &CombineArgs, line: String, stop: &Stop) -> Result<u8> {
    let target = |path: &PathBuf| Target::from_path(path, args.overwrite);
    let options = Options {
        axis: args.axis,
        method: match args.method {
            Some(MethodName::Mean) => Statistic::Mean,
            Some(MethodName::Sum) => Statistic::Sum,
            Some(MethodName::Min) => Statistic::Min,
            Some(MethodName::Max) => Statistic::Max,
            Some(MethodName::Std) => Statistic::Std,
            // Without a method there are parts, which have theirs.
            Some(MethodName::Median) | None => Statistic::Median,
        },
        reject: args.reject()?,
        weight: args.weight.clone(),
        scale: args.scale.clone(),
        zero: args.zero.is_some(),
        filters: args.chosen.filters.clone(),
        section: args.section.clone(),
        bad: args.bad.bad(),
        output: target(&args.output),
        format: args.format,
        look: args.pictures.look(),
        coverage: args.coverage.as_ref().map(target),
        error: args.error.as_ref().map(target),
        part: args.part,
        memory: args.memory.bytes(),
        jobs: args.jobs.count(),
        line,
    };
    if options.output == Target::Stdout && args.told.json {
        return Err(
            Error::input("the frame and the report both go to standard output")
                .hint("give the frame the name of a file"),
        );
    }
    let bar = args.told.common.bar_beside(&options.output);
    let report = match args.apply.as_slice() {
        [] => combine(&args.cube, &options, &bar, stop)?,
        parts => apply(&args.cube, parts, &options, &bar, stop)?,
    };
    let mut text = format!(
        "{} of {} combined; the frame is {}",
        count(report.positions, "position"),
        report.axis,
        show_shape(&report.shape)
    );
    if let Some(part) = args.part {
        text = format!(
            "part {} of {} worked out; --apply makes the frame when all parts are there",
            part.number, part.of
        );
    }
    if options.reject != Reject::None || report.rejected > 0 {
        text += &format!("; {} rejected", count(report.rejected, "sample"));
    }
    if report.bad > 0 || !args.bad.files.is_empty() {
        text += &format!("; {} bad by a mask", count(report.bad, "sample"));
    }
    let text = format!("{}: {text}", show_path(&args.cube));
    args.told.tell(&report, &text)
}
