//! `cube delete`, `cube move` and `cube sort`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde_json::json;

use super::{Lock, Told, Where, parse_key, parsed};
use crate::error::{Result, show_path};
use crate::ops::arrange::{Options, Report, Which, delete, shift, sort};
use crate::ops::count;
use crate::region::{AXIS_NAMES, parse_axis, show_shape};

// Options that all three have.
#[derive(Debug, Args)]
struct Arranging {
    /// The axis [default: the one that the frames joined]
    #[arg(long, value_name = "AXIS", value_parser = |text: &str| parsed(parse_axis(text)))]
    axis: Option<usize>,

    #[command(flatten)]
    lock: Lock,

    #[command(flatten)]
    told: Told,
}

impl Arranging {
    fn options(&self, line: String) -> Options {
        Options {
            axis: self.axis,
            busy: self.lock.busy(),
            dry_run: false,
            line,
        }
    }

    fn report(&self, cube: &std::path::Path, report: &Report, done: &str) -> Result<u8> {
        let axis = AXIS_NAMES[report.axis];
        let text = format!(
            "{}: {} of {axis} {done} {}",
            show_path(cube),
            count(report.positions, "position"),
            show_shape(&report.shape)
        );
        let object = json!({
            "axis": axis,
            "positions": report.positions,
            "frames": report.frames,
            "shape": report.shape,
        });
        self.told.tell(&object, &text)
    }
}

#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("which")
        .args(["at", "source", "filters"])
        .required(true)
        .multiple(true)
))]
#[command(after_long_help = "Examples:\n  \
    cube delete night.cube --at 5,9:12\n  \
    cube delete night.cube --axis x --at 1:16\n  \
    cube delete night.cube --source frames/cloudy.fits\n  \
    cube delete night.cube --where \"EXPTIME < 10 or OBJECT == 'flat'\"")]
pub(super) struct DeleteArgs {
    /// The cube
    cube: PathBuf,

    /// Positions, such as 5,9:12,-1
    #[arg(long, value_name = "POSITIONS", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["source", "filters"])]
    at: Option<String>,

    /// The frames that came from this file; may be repeated
    #[arg(long, value_name = "NAME")]
    source: Vec<PathBuf>,

    #[command(flatten)]
    chosen: Where,

    /// Say how many it would be, and leave the cube as it is
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    arranging: Arranging,
}

pub(super) fn run_delete(args: &DeleteArgs, line: String) -> Result<u8> {
    let which = match &args.at {
        Some(text) => Which::At(text),
        None => Which::Frames {
            sources: &args.source,
            filters: &args.chosen.filters,
        },
    };
    let bar = args.arranging.told.common.bar();
    let options = Options {
        dry_run: args.dry_run,
        ..args.arranging.options(line)
    };
    let report = delete(&args.cube, &which, &options, &bar)?;
    let with = match report.frames {
        0 => String::new(),
        frames => format!(", with {}", count(frames, "frame")),
    };
    let done = match args.dry_run {
        true => format!("would be taken away{with}; the cube would be"),
        false => format!("taken away{with}; the cube is"),
    };
    args.arranging.report(&args.cube, &report, &done)
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube move night.cube --from 9 --to 1\n  \
    cube move night.cube --axis x --from 1:16 --to -1")]
pub(super) struct MoveArgs {
    /// The cube
    cube: PathBuf,

    /// A position or a run of them, such as 9 or 9:12
    #[arg(long, value_name = "POSITIONS", allow_hyphen_values = true)]
    from: String,

    /// Where the first of them goes
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    to: String,

    #[command(flatten)]
    arranging: Arranging,
}

pub(super) fn run_move(args: &MoveArgs, line: String) -> Result<u8> {
    let bar = args.arranging.told.common.bar();
    let options = args.arranging.options(line);
    let report = shift(&args.cube, &args.from, &args.to, &options, &bar)?;
    args.arranging
        .report(&args.cube, &report, "moved; the cube is")
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube sort night.cube --by DATE-OBS\n  \
    cube sort night.cube --by FILTER,DATE-OBS\n  \
    cube sort night.cube --by AIRMASS --reverse")]
pub(super) struct SortArgs {
    /// The cube
    cube: PathBuf,

    /// The keyword, or sum, mean, median, std, min, max or nan; or several, the first counts most
    #[arg(long, value_name = "KEYS", required = true, value_delimiter = ',', value_parser = parse_key)]
    by: Vec<String>,

    /// The greatest first
    #[arg(long)]
    reverse: bool,

    #[command(flatten)]
    arranging: Arranging,
}

pub(super) fn run_sort(args: &SortArgs, line: String) -> Result<u8> {
    let bar = args.arranging.told.common.bar();
    let options = args.arranging.options(line);
    let report = sort(&args.cube, &args.by, args.reverse, &options, &bar)?;
    args.arranging
        .report(&args.cube, &report, "changed place; the cube is")
}
