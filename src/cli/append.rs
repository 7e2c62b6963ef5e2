//! `cube append` and `cube insert`: one code path, two verbs.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{
    Common, DONE, Lock, Memory, PARTLY, Where, fail, parsed, print_report, say, say_error, say_hint,
};
use crate::dtype::DType;
use crate::error::{Error, Kind, Result, show_path};
use crate::frames::array::Layout;
use crate::frames::list::{self, Input};
use crate::frames::{HduChoice, Reading, Unpacked, parse_channel};
use crate::ops::append::{Options, Place, Report, append};
use crate::ops::plan::Taking;
use crate::ops::{Stop, count, show_bytes};
use crate::region::{AXIS_NAMES, MAX_RANK, parse_axis, show_shape};
use crate::sinks::output::folder_of;

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube append night.cube frames/*.fits\n  \
    find . -name '*.fits' -print0 | cube append night.cube -0 --files-from -\n  \
    cube append night.cube --hdu SCI --resume @list.txt\n  \
    cube append r.cube --where \"FILTER == 'R' and EXPTIME >= 30 and nan == 0\" *.fits\n  \
    cube append wide.cube --axis x strip.fits")]
pub(super) struct AppendArgs {
    #[command(flatten)]
    intake: Intake,

    /// Put the frames before everything on that axis
    #[arg(long)]
    before: bool,
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube insert night.cube --at 5 forgotten.fits\n  \
    cube insert night.cube --axis x --at 101 strip.fits\n  \
    cube insert night.cube --at -1 other.cube")]
pub(super) struct InsertArgs {
    #[command(flatten)]
    intake: Intake,

    /// Before what stands at this position; negative counts from the end
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    at: String,
}

// What both verbs are told.
#[derive(Debug, Args)]
struct Intake {
    /// The cube
    cube: PathBuf,

    /// Files, directories or cubes; @LIST names a file that lists them; - is a frame on stdin
    ///
    /// FITS, TIFF and NumPy files are known by their first bytes. A directory stands for
    /// the frames in it and below it, in natural order. A name may end in an HDU and a
    /// section, as in 'a.fits[SCI,1][10:500,*]'. In a list there is one name on each line.
    frames: Vec<OsString>,

    /// Read names from FILE, one on each line; - is standard input
    #[arg(long, value_name = "FILE")]
    #[arg(hide_short_help = true)]
    files_from: Option<OsString>,

    /// Names in FILE end in a zero byte, as `find -print0` writes them
    #[arg(short = '0', long, requires = "files_from")]
    #[arg(hide_short_help = true)]
    null: bool,

    /// The axis to join: x y z w v u t s, or 1 to 8
    #[arg(long, value_name = "AXIS", value_parser = |text: &str| parsed(parse_axis(text)))]
    axis: Option<usize>,

    /// Which HDU of each file: number, NAME, NAME,VERSION, all or stack [default: the first image]
    ///
    /// With all every image is a frame; with stack all images of a file are one frame, on
    /// an axis of their own: --hdu stack --axis w makes a cube of x, y, extension and file.
    /// Of a TIFF file it is the number of a page, from 0; without it all pages come in, but
    /// for those that are smaller copies or masks of others.
    #[arg(long, value_name = "HDU", value_parser = |text: &str| parsed(HduChoice::parse(text)))]
    hdu: Option<HduChoice>,

    /// Which sample of each pixel of TIFF images: R, G, B or a number [default: all, as an axis]
    #[arg(long, value_name = "CHANNEL", value_parser = |text: &str| parsed(parse_channel(text)))]
    #[arg(hide_short_help = true)]
    channel: Option<u64>,

    /// Files are samples and no more: shape, x first, and type, such as 2048x2048,uint16
    ///
    /// Behind them may stand ,big for big-endian samples and ,offset=N for bytes to be
    /// skipped. A file must be exactly so long.
    #[arg(long, value_name = "SHAPE,DTYPE", conflicts_with_all = ["hdu", "channel"])]
    #[arg(value_parser = |text: &str| parsed(Layout::parse(text)))]
    #[arg(hide_short_help = true)]
    raw: Option<Layout>,

    #[command(flatten)]
    chosen: Where,

    /// Where a frame's first pixel goes on the other axes, x first, such as 101,51
    #[arg(long, value_name = "X,Y", value_parser = parse_origin)]
    #[arg(hide_short_help = true)]
    origin: Option<List>,

    /// Type of a new cube: uint8 int8 uint16 ... float64 [default: the first frame's]
    #[arg(long, value_name = "DTYPE", value_parser = parse_dtype)]
    dtype: Option<DType>,

    /// Round and clip samples that the cube's type cannot hold
    #[arg(long)]
    #[arg(hide_short_help = true)]
    cast: bool,

    /// What a new cube reads as where no frame reaches [default: NaN, BLANK, or the least value]
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    #[arg(hide_short_help = true)]
    pad: Option<String>,

    /// Shape of a new cube's tiles, x first, such as 64,64,32
    #[arg(long, value_name = "X,Y,Z", value_parser = parse_tile)]
    #[arg(hide_short_help = true)]
    tile: Option<List>,

    /// Hold FITS frames against their DATASUM and CHECKSUM first
    ///
    /// A frame whose data are not what its header says is bad; of one without sums, and
    /// of one whose header alone was changed, a warning tells. Each is read once more.
    #[arg(long)]
    #[arg(hide_short_help = true)]
    verify: bool,

    /// What was done as JSON
    #[arg(long)]
    #[arg(hide_short_help = true)]
    json: bool,

    /// Leave out inputs that cannot be used, name each, and end with status 3
    #[arg(long)]
    skip_bad: bool,

    /// Leave out frames that the cube has already
    #[arg(long)]
    resume: bool,

    /// Do not wait for the disk
    ///
    /// A command that is killed still costs nothing. But if the power fails before the
    /// system has stored everything by itself, half a minute as a rule, the whole cube may
    /// be lost: for cubes that can be made again.
    #[arg(long)]
    #[arg(hide_short_help = true)]
    no_sync: bool,

    #[command(flatten)]
    lock: Lock,

    #[command(flatten)]
    memory: Memory,

    #[command(flatten)]
    common: Common,
}

/// One number per axis, x first.
#[derive(Clone, Debug)]
struct List(Vec<u64>);

fn parse_list(text: &str) -> std::result::Result<Vec<u64>, String> {
    let numbers: Option<Vec<u64>> = text
        .split(',')
        .map(|part| part.trim().parse().ok().filter(|&number| number > 0))
        .collect();
    let numbers = numbers.ok_or("give whole numbers from 1, with commas between")?;
    match numbers.len() {
        0..=MAX_RANK => Ok(numbers),
        many => Err(format!("{many} axes, but a cube has at most {MAX_RANK}")),
    }
}

fn parse_tile(text: &str) -> std::result::Result<List, String> {
    parse_list(text).map(List)
}

fn parse_origin(text: &str) -> std::result::Result<List, String> {
    // Users count from 1.
    let numbers = parse_list(text)?;
    Ok(List(numbers.into_iter().map(|number| number - 1).collect()))
}

fn parse_dtype(text: &str) -> std::result::Result<DType, String> {
    DType::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = DType::all().map(DType::name).collect();
        format!("types are {}", names.join(" "))
    })
}

/// The inputs; what has to be spooled goes to `folder`.
fn inputs(args: &Intake, folder: &Path) -> Result<Vec<Input>> {
    let names_on_stdin = args.files_from.as_ref().is_some_and(|list| list == "-");
    let n_streams = args.frames.iter().filter(|name| *name == "-").count();
    if n_streams + usize::from(names_on_stdin) > 1 {
        return Err(Error::input("standard input is asked for twice")
            .hint("`-` reads frames from it, --files-from - names; a file called - is ./-"));
    }
    let mut inputs = Vec::new();
    for argument in &args.frames {
        match argument == "-" {
            true => inputs.push(list::standard_input(folder)?),
            false => inputs.extend(list::expand([argument])?),
        }
    }
    if let Some(list) = &args.files_from {
        inputs.extend(list::files_from(list, args.null)?);
    }
    // Early in the night there may be none yet.
    let inputs = list::walk(inputs, args.raw.is_some(), args.resume)?;
    Ok(match args.resume {
        true => list::once(inputs),
        false => inputs,
    })
}

pub(super) fn run_append(args: AppendArgs, line: String, stop: &Stop) -> Result<u8> {
    let place = if args.before {
        Place::Start
    } else {
        Place::End
    };
    run(args.intake, "append", place, line, stop)
}

pub(super) fn run_insert(args: InsertArgs, line: String, stop: &Stop) -> Result<u8> {
    run(args.intake, "insert", Place::At(args.at), line, stop)
}

fn run(args: Intake, verb: &'static str, place: Place, line: String, stop: &Stop) -> Result<u8> {
    let folder = folder_of(&args.cube);
    let inputs = inputs(&args, folder)?;
    let bar = args.common.bar();
    let options = Options {
        taking: Taking {
            reading: Reading {
                hdu: args.hdu.unwrap_or_default(),
                channel: args.channel,
                raw: args.raw,
                verify: args.verify,
                unpacked: Unpacked::new(folder.to_path_buf()),
            },
            filters: args.chosen.filters,
            axis: args.axis,
            dtype: args.dtype,
            cast: args.cast,
            pad: args.pad,
            origin: args.origin.map_or_else(Vec::new, |list| list.0),
            tile: args.tile.map(|list| list.0),
        },
        place,
        skip_bad: args.skip_bad,
        resume: args.resume,
        busy: args.lock.busy(),
        no_sync: args.no_sync,
        memory: args.memory.bytes(),
        verb,
        line,
    };
    let report = append(&args.cube, &inputs, &options, &bar, stop)?;
    // Pages of one file are bad for one reason.
    let alike = |a: &Error, b: &Error| a.to_string() == b.to_string();
    let mut hints = HashSet::new();
    for errors in report.bad.chunk_by(alike) {
        say_error(&errors[0]);
        // Whatever is wrong with many, one hint is enough.
        if hints.insert(errors[0].hint_text()) {
            say_hint(&errors[0]);
        }
        if errors.len() > 1 {
            say(&format!("cube: the same {} times", errors.len()));
        }
    }
    let name = show_path(&args.cube);
    if args.json {
        print_report(&format!("{}\n", object_of(&report)))?;
    }
    if let Some(error) = &report.stopped {
        let status = fail(error);
        say(&format!(
            "{name}: kept {} of {}; the cube is {}",
            count(report.frames, "frame"),
            report.found - report.left_out,
            show_shape(&report.shape)
        ));
        // Without --resume, what was kept would be added once more.
        say(match error.kind() {
            Kind::Io | Kind::Interrupted => {
                "hint: the same command with --resume goes on where this one stopped"
            }
            // It would be met again.
            Kind::Damaged | Kind::Input | Kind::Unsupported => {
                "hint: the same command with --resume --skip-bad goes on without that frame"
            }
        });
        return Ok(status);
    }
    if !report.bad.is_empty() && report.bad.len() as u64 == report.found {
        let all = count(report.found, "input");
        return Err(Error::input(format!("none of {all} can be used")).at(&args.cube));
    }
    if !args.common.quiet {
        let cube = match report.shape.as_slice() {
            [] => "no cube was made".to_string(),
            shape => match &report.was {
                Some(was) => format!("the cube is {}, was {}", show_shape(shape), show_shape(was)),
                None => format!("the cube is {}", show_shape(shape)),
            },
        };
        let bytes = show_bytes(report.bytes);
        say(&format!("{name}: {} ({bytes}); {cube}", report.show()));
    }
    Ok(if report.bad.is_empty() { DONE } else { PARTLY })
}

fn object_of(report: &Report) -> serde_json::Value {
    let bad = |error: &Error| {
        let file = error.path().map(|path| path.to_string_lossy());
        json!({ "file": file, "why": error.why() })
    };
    json!({
        "frames": report.frames,
        "added": report.added,
        "bytes": report.bytes,
        "present": report.present,
        "deleted": report.deleted,
        "left_out": report.left_out,
        "bad": report.bad.iter().map(bad).collect::<Vec<_>>(),
        "shape": report.shape,
        "was": report.was,
        "smaller": report.smaller,
        "axis": AXIS_NAMES[report.axis],
        "created": report.created,
        "stopped": report.stopped.as_ref().map(Error::to_string),
    })
}
