//! `cube slice`.

use std::path::PathBuf;

use clap::Args;

use super::progress::Bar;
use super::{Common, DONE, Memory, parsed};
use crate::error::{Context, Error, IoContext, Result};
use crate::ops::Stop;
use crate::ops::slice::{Cut, Options, slice};
use crate::region::parse_axis;
use crate::sinks::png::MOST_SIZE;
use crate::sinks::stretch::{Colormap, Stretch};
use crate::sinks::{Format, Look, Target, Terminal};

/// Cut through a cube
///
/// --axis names the axes that stay and --at the positions of the others, in the
/// order of the axes: `--axis z --at 120,45` is the profile of one pixel,
/// `--axis x,y --at 7` is frame 7. --section cuts a box instead. With neither, the
/// whole cube is put out. A profile goes to stdout as text; the rest goes to -o.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cube slice night.cube --axis z --at 120,45\n  \
    cube slice night.cube --axis z --at 120,45 --at 130,50 --format csv > two.csv\n  \
    cube slice night.cube --axis z --at 120,45 --plot\n  \
    cube slice night.cube --axis x,y --at 7 -o frame7.fits\n  \
    cube slice night.cube --axis x,y --at 7 -o frame7.png --stretch percentile=99\n  \
    cube slice night.cube --section '[1:100,*,-1]' -o last.fits\n  \
    cube slice night.cube -o - | ds9 -")]
pub(super) struct SliceArgs {
    /// The cube
    cube: PathBuf,

    /// The axes that stay, such as z or x,y
    #[arg(long, value_name = "AXES", value_parser = parse_axes)]
    axis: Option<Axes>,

    /// Positions on the other axes, such as 120,45; may be repeated
    #[arg(
        long,
        value_name = "POSITIONS",
        requires = "axis",
        allow_hyphen_values = true
    )]
    at: Vec<String>,

    /// Read positions from FILE, those of one cut on each line; - is standard input
    #[arg(long, value_name = "FILE", requires = "axis")]
    at_file: Option<PathBuf>,

    /// A box, such as '[1:100,*,5]'; b:a runs backwards, a:b:s steps
    #[arg(
        long,
        value_name = "SECTION",
        conflicts_with = "axis",
        allow_hyphen_values = true
    )]
    section: Option<String>,

    /// Where to; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// fits, fits.gz, npy, tiff, raw, zarr, png, plot, text, csv, tsv or json [default: by the
    /// name of FILE]
    #[arg(long, value_name = "FORMAT", value_parser = |text: &str| parsed(Format::from_name(text)))]
    format: Option<Format>,

    /// Draw the profile in the terminal
    #[arg(long, conflicts_with_all = ["format", "output"])]
    plot: bool,

    /// Black and white of a picture: zscale, minmax, percentile or percentile=99.5
    #[arg(
        long,
        value_name = "STRETCH",
        default_value = "zscale",
        hide_default_value = true,
        value_parser = |text: &str| parsed(Stretch::from_name(text))
    )]
    stretch: Stretch,

    /// Colours of a picture: gray, inverted, dusk or cubehelix
    #[arg(
        long,
        value_name = "NAME",
        default_value = "gray",
        hide_default_value = true,
        value_parser = |text: &str| parsed(Colormap::from_name(text))
    )]
    colormap: Colormap,

    /// Average pixels until the longer side of a picture has at most N
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2048,
        value_parser = clap::value_parser!(u64).range(1..=MOST_SIZE)
    )]
    max_size: u64,

    /// Replace FILE if it exists
    #[arg(long)]
    overwrite: bool,

    /// Put a table with a row per frame behind the image [default: where a FITS image has
    /// several frames]
    #[arg(long, overrides_with = "no_frames_table")]
    frames_table: bool,

    /// Leave that table out
    #[arg(long)]
    no_frames_table: bool,

    #[command(flatten)]
    memory: Memory,

    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Debug)]
struct Axes(Vec<usize>);

fn parse_axes(text: &str) -> std::result::Result<Axes, String> {
    let axes: Result<Vec<usize>> = text
        .split(',')
        .map(|axis| parse_axis(axis.trim()))
        .collect();
    parsed(axes).map(Axes)
}

/// Positions from a file: commas or blanks between them, `#` comments.
fn read_places(path: &PathBuf) -> Result<Vec<String>> {
    let text = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    let text = text.doing("cannot read positions").at(path)?;
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or("").trim());
    let places: Vec<String> = lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let numbers = line.split(|c: char| c == ',' || c.is_whitespace());
            let numbers: Vec<&str> = numbers.filter(|number| !number.is_empty()).collect();
            numbers.join(",")
        })
        .collect();
    match places.is_empty() {
        true => Err(Error::input("holds no positions").at(path)),
        false => Ok(places),
    }
}

/// What the terminal on stdout can show; a pipe is as wide as most terminals.
fn terminal() -> Terminal {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    let (columns, rows) = match size {
        Some(size) => (size.ws_col.into(), size.ws_row.into()),
        None => (80, 24),
    };
    // The first of these that is set decides (POSIX, locale).
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default().to_string_lossy().to_lowercase();
    Terminal {
        columns,
        // The prompt comes below.
        rows: std::cmp::max(rows, 2) - 1,
        ascii: !locale.contains("utf-8") && !locale.contains("utf8"),
    }
}

pub(super) fn run(args: SliceArgs, stop: &Stop) -> Result<u8> {
    let mut places = args.at;
    if let Some(path) = &args.at_file {
        places.extend(read_places(path)?);
    }
    let cut = match (args.section, args.axis) {
        (Some(section), _) => Cut::Section(section),
        (None, Some(axes)) => {
            if places.is_empty() {
                places.push(String::new());
            }
            Cut::Axes(axes.0, places)
        }
        (None, None) => Cut::Whole,
    };
    let target = match &args.output {
        Some(path) => Target::from_path(path, args.overwrite),
        None => Target::Stdout,
    };
    let options = Options {
        cut,
        named: args.output.is_some(),
        target,
        format: args.plot.then_some(Format::Plot).or(args.format),
        look: Look {
            stretch: args.stretch,
            colormap: args.colormap,
            max_size: args.max_size,
            terminal: terminal(),
            ..Look::default()
        },
        frames_table: match (args.frames_table, args.no_frames_table) {
            (false, false) => None,
            (wanted, _) => Some(wanted),
        },
        memory: args.memory.bytes(),
    };
    // A bar between lines of a result on the same terminal would garble both.
    let bar = Bar::new(args.common.quiet);
    slice(&args.cube, &options, &bar, stop)?;
    Ok(DONE)
}
