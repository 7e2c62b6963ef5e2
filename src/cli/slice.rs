//! `cube slice`.

use std::path::PathBuf;

use clap::Args;

use super::pictures::Pictures;
use super::{Common, DONE, Memory, Where, parse_key, parsed, say};
use crate::error::{Context, Error, IoContext, Result, show_path};
use crate::ops::each::each;
use crate::ops::frames::Keys;
use crate::ops::slice::{Cut, Options, Planes, slice};
use crate::ops::{Stop, count};
use crate::region::parse_axis;
use crate::sinks::{Format, Target};

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube slice night.cube --axis z --at 120,45\n  \
    cube slice night.cube --axis z --at 120,45 --at 130,50 --format csv > two.csv\n  \
    cube slice night.cube --axis z --at 120,45 --where \"FILTER == 'R'\" --keys DATE-OBS\n  \
    cube slice night.cube --axis z --at 120,45 --plot\n  \
    cube slice spectra.cube --axis x --at 3 --world -o spectrum.csv\n  \
    cube slice night.cube --axis z --at 120,45 --keys DATE-OBS -o star.png\n  \
    cube slice night.cube --axis x,y --at 7 -o frame7.fits\n  \
    cube slice night.cube --axis x,y --at 7 -o frame7.png --stretch percentile=99\n  \
    cube slice night.cube --montage -o sheet.png\n  \
    cube slice night.cube --axis x,y --at 7 --compare -o cleaned7.png\n  \
    cube slice night.cube --section '[1:100,*,-1]' -o last.fits\n  \
    cube slice night.cube --each -o 'cleaned/{name}.fits'\n  \
    cube slice night.cube -o - | ds9 -")]
pub(super) struct SliceArgs {
    /// The cube
    cube: PathBuf,

    /// The axes that stay, such as z or x,y
    #[arg(long, value_name = "AXES", value_parser = parse_axes)]
    axis: Option<Axes>,

    /// Positions on the other axes, such as 120,45
    ///
    /// Repeated, it cuts several profiles at once.
    #[arg(
        long,
        value_name = "POSITIONS",
        requires = "axis",
        allow_hyphen_values = true
    )]
    at: Vec<String>,

    /// Read positions from FILE, those of one cut on each line; - is standard input
    #[arg(long, value_name = "FILE", requires = "axis")]
    #[arg(hide_short_help = true)]
    at_file: Option<PathBuf>,

    /// Every frame a file of its own: -o 'out/{name}.fits'
    ///
    /// In the place of --at: a file for every position of the axis that frames are stacked on, or with --axis of all axes that
    /// do not stay. {name} in -o is what the frame's file was called, without folder and extension, {at} the position, with
    /// zeros in front. The folder is made if there is none.
    #[arg(long, requires = "output")]
    #[arg(conflicts_with_all = ["at", "at_file", "plot", "montage"])]
    each: bool,

    /// A box, such as '[1:100,*,5]'; b:a runs backwards, a:b:s steps
    #[arg(
        long,
        value_name = "SECTION",
        conflicts_with = "axis",
        allow_hyphen_values = true
    )]
    section: Option<String>,

    #[command(flatten)]
    chosen: Where,

    /// Columns beside a profile, such as DATE-OBS,median
    ///
    /// Of the frame at each position, in text, csv, tsv and json: header keywords, or what is measured from all its samples:
    /// lower-case sum, mean, median, std, min, max and nan. A plot is drawn against one that is a number or a date.
    #[arg(long, value_name = "KEYS", value_delimiter = ',', value_parser = parse_key)]
    keys: Vec<String>,

    /// Wavelengths or the like beside a profile
    ///
    /// As the header of the frame at each position tells them along the axis of the profile: CRVAL, CRPIX and CDELT or CD, linear or
    /// logarithmic. In text, csv, tsv and json; a plot is drawn against them.
    #[arg(long)]
    world: bool,

    /// Where to; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// fits, fits.gz, fits.fz, npy, tiff, raw, zarr, png, plot, text, csv, tsv or json
    /// [default: by the name of FILE]
    #[arg(long, value_name = "FORMAT", value_parser = |text: &str| parsed(Format::from_name(text)))]
    format: Option<Format>,

    /// Draw the profile in the terminal
    #[arg(long, conflicts_with_all = ["format", "output"])]
    plot: bool,

    /// All planes on one picture, each with its position
    #[arg(long, conflicts_with_all = ["plot", "compare"])]
    montage: bool,

    /// A plane as it came beside what it is now
    ///
    /// What was replaced is ringed.
    #[arg(long, conflicts_with = "plot")]
    compare: bool,

    #[command(flatten)]
    pictures: Pictures,

    /// Replace FILE if it exists
    #[arg(long)]
    #[arg(hide_short_help = true)]
    overwrite: bool,

    /// Put a table with a row per frame behind the image [default: where a FITS image has
    /// several frames]
    #[arg(long, overrides_with = "no_frames_table")]
    #[arg(hide_short_help = true)]
    frames_table: bool,

    /// Leave that table out
    #[arg(long)]
    #[arg(hide_short_help = true)]
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
        filters: args.chosen.filters,
        cut,
        keys: Keys::new(&args.keys),
        world: args.world,
        named: args.output.is_some(),
        target,
        format: args.plot.then_some(Format::Plot).or(args.format),
        sheet: match (args.montage, args.compare) {
            (true, _) => Some(Planes::All),
            (_, true) => Some(Planes::BeforeAndAfter),
            _ => None,
        },
        look: args.pictures.look(),
        frames_table: match (args.frames_table, args.no_frames_table) {
            (false, false) => None,
            (wanted, _) => Some(wanted),
        },
        memory: args.memory.bytes(),
    };
    let bar = args.common.bar_beside(&options.target);
    if args.each {
        let report = each(&args.cube, &options, &bar, stop)?;
        if !args.common.quiet {
            say(&format!(
                "{}: {} written to {}{}",
                show_path(&args.cube),
                count(report.files, "file"),
                show_path(&report.folder),
                if report.is_new { ", a new folder" } else { "" }
            ));
        }
        return Ok(DONE);
    }
    slice(&args.cube, &options, &bar, stop)?;
    Ok(DONE)
}
