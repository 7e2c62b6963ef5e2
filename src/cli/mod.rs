//! The command line: the only place that knows clap, the terminal and exit codes.
//!
//! Results go to stdout, everything else to stderr; a closed pipe is not an error.

mod append;
mod arrange;
mod check;
mod clean;
mod combine;
mod compact;
mod generate;
mod history;
mod in_place;
mod info;
mod pictures;
mod progress;
mod slice;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use progress::{Bar, Show};

use crate::error::{Error, IoContext, Kind, Result};
use crate::frames::filter::Filter;
use crate::ops::Stop;
use crate::ops::bad::Bad;
use crate::sinks::Target;
use crate::storage::file::Busy;

/// Everything went well.
const DONE: u8 = 0;
/// The command failed; what was there is as it was.
const FAILED: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;
/// Done in part: inputs were left out, each named.
const PARTLY: u8 = 3;
/// Interrupted; what was committed is kept.
const INTERRUPTED: u8 = 130;

/// So long a command may take to stop before it says why.
const PATIENCE: Duration = Duration::from_millis(700);

/// Help in one screen: the two options stand in the usage.
const SCREEN: &str = "\
{about-with-newline}
{usage-heading} {usage}

Commands:
{subcommands}{after-help}";

const AFTER: &str = "\
Positions count from 1, ends included. `cube VERB --help` has examples.";

const AFTER_LONG: &str = "\
Positions count from 1, both ends included; negative ones count from the end. Axes are x y z \
w v u t s; x is the fastest, as in FITS.

Examples:
  cube append night.cube frames/*.fits
  cube info night.cube
  cube slice night.cube --axis z --at 31,22
  cube slice night.cube --axis x,y --at 7 -o frame7.fits
  cube clean night.cube
  cube undo night.cube

Exit status:
    0  done; a reader that closed the pipe is no failure
    1  failed: the cube is as it was, or what was kept is told
    2  wrong usage
    3  done in part: inputs were left out, each named
   74  a cube was cut short or its disk failed while it was read
  130  interrupted: what was committed is kept

Environment:
  CUBE_MEMORY  what --memory is when it is not given, such as 4G
  CUBE_JOBS    what --jobs is when it is not given
  TMPDIR       where large intermediate results go when they are not beside an output
  NO_COLOR     no colours in help and usage errors";

/// Assemble and edit image cubes on disk that are far larger than memory.
#[derive(Debug, Parser)]
#[command(
    name = "cube",
    version,
    max_term_width = 96,
    override_usage = "cube <COMMAND>, or cube --help, or cube --version",
    help_template = SCREEN,
    after_help = AFTER,
    after_long_help = AFTER_LONG
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

// Options are made for the verb that is asked for and for no other, which takes a
// tenth off the time of a short command. They are made last: `///` on options that
// verbs share would be taken for the verb's help.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Verb {
    /// Add frames to a cube, and make the cube if there is none
    ///
    /// Images are put one behind the other on z, spectra (1-D) on y, and blocks of
    /// three or more axes are joined along their own last axis; --axis says
    /// otherwise. Frames need not have one shape: where a frame does not reach, the
    /// cube reads as its pad value. Every frame is examined before the first byte is
    /// written, and nothing already in the cube is copied or changed.
    Append(append::AppendArgs),

    /// Put frames in before a position of an axis
    ///
    /// As append does it, but anywhere: what stands at --at and behind it moves up.
    /// It costs what is put in, however large the cube; nothing is copied.
    Insert(append::InsertArgs),

    /// Cut through a cube
    ///
    /// --axis names the axes that stay and --at the positions of the others, in the
    /// order of the axes: `--axis z --at 120,45` is the profile of one pixel,
    /// `--axis x,y --at 7` is frame 7. --section cuts a box instead. With neither, the
    /// whole cube is put out. A profile goes to stdout as text; the rest goes to -o.
    Slice(slice::SliceArgs),

    /// Say what a cube holds
    ///
    /// Takes no longer for a large cube than for a small one; --frames reads the
    /// frames' records as well.
    Info(info::InfoArgs),

    /// Replace outliers along an axis
    ///
    /// Each line of samples along the axis is clipped by itself: what is further than
    /// --sigma spreads from the centre is rejected, again and again until nothing
    /// changes or --maxiters is reached, with the decisions of astropy's sigma_clip.
    /// What was rejected is replaced by --fill. NaN, BLANK and void do not count;
    /// infinities are always rejected. Nothing is overwritten: the new samples stand
    /// beside the old ones in the file, and `cube undo` takes them away.
    Clean(Box<clean::CleanArgs>),

    /// Collapse an axis to one frame
    ///
    /// Each line of samples along the axis becomes its median, mean, sum, least or
    /// greatest sample, or standard deviation. NaN, BLANK and void are left out, and so
    /// is what --reject finds. The frame is float32, or float64 where the cube holds
    /// integers of 32 bits or more, or float64; a line without samples is NaN.
    Combine(Box<combine::CombineArgs>),

    /// Take positions of an axis away
    ///
    /// Costs a few KiB, whatever their size; `cube undo` brings them back.
    Delete(arrange::DeleteArgs),

    /// Move positions of an axis to another place
    ///
    /// The first of them then stands at --to. Samples stay where they are in the file.
    Move(arrange::MoveArgs),

    /// Put frames in the order of header keywords
    ///
    /// Numbers sort as numbers, texts (and so ISO dates) as texts; frames that are equal in
    /// one go by the next, and keep their order in the end. Those without the keyword come last.
    Sort(arrange::SortArgs),

    /// List the commands that made a cube what it is
    ///
    /// The newest comes last; `cube undo` takes it back.
    Log(history::LogArgs),

    /// Take the last command back
    ///
    /// And again the one before, back to the first, or to the last `compact`. What it
    /// gives back is what was, bit for bit.
    Undo(history::UndoArgs),

    /// Say whether a cube is damaged, and where
    ///
    /// Looks at everything that commits refer to: superblocks, catalogs, index, the
    /// frames' records, patches, and where the tiles are. --deep also reads every
    /// frame and holds it against the checksum taken when it came in, which takes as
    /// long as reading the file. Nothing is changed. Exit status 1 says that there
    /// are problems; each is a line on standard output.
    Check(check::CheckArgs),

    /// Rewrite a cube in reading order, without its history
    ///
    /// Deleted frames and replaced samples are gone for good, and undo cannot go
    /// behind it. The new file is written beside the old one and takes its place when
    /// it is whole, so the disk needs room for both; readers keep what they opened.
    /// `cube zarr` and `cube refs` let other programs read it in place.
    Compact(compact::CompactArgs),

    /// Let Zarr, xarray and dask read a cube in place
    ///
    /// Makes a small Zarr v3 store: what describes the array, coordinates, and a link to the
    /// cube as its one shard. No sample is copied; the index that a shard ends with goes
    /// behind everything in the cube's file. When the cube changes, readers of the store get
    /// an error: make it again. Floats that came in one by one, frames that were moved and
    /// samples that were cleaned take `cube compact` first. DATE-OBS becomes the coordinate `time`.
    Zarr(in_place::ZarrArgs),

    /// List where a cube's tiles are, as kerchunk does
    ///
    /// The references are of version 1, to a Zarr v2 store, which most readers open by way
    /// of fsspec. The cube is only read. Tiles that clean changed, or that no one command
    /// filled, are copied to a file beside, whose name ends in .tiles. References stay right
    /// when the cube grows, but not when it is compacted.
    Refs(in_place::RefsArgs),

    /// Make manual pages or shell completions
    ///
    /// Completions go to standard output, manual pages to files in a folder.
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

// Options that every verb has.
#[derive(Debug, Args)]
struct Common {
    /// Say nothing but errors and results
    #[arg(short, long, hide_short_help = true)]
    quiet: bool,

    /// How progress is shown
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "auto",
        hide_default_value = true,
        hide_short_help = true
    )]
    progress: Show,
}

impl Common {
    fn bar(&self) -> Bar {
        Bar::new(self.progress, self.quiet)
    }

    /// The same for a command with an output: a bar between its lines on one terminal
    /// would garble both.
    fn bar_beside(&self, output: &Target) -> Bar {
        match *output == Target::Stdout && io::stdout().is_terminal() {
            true => Bar::new(Show::None, self.quiet),
            false => self.bar(),
        }
    }
}

// Options of verbs that write to a cube.
#[derive(Debug, Args)]
struct Lock {
    /// Wait for another program that is writing to the cube
    #[arg(long, hide_short_help = true)]
    wait: bool,
}

impl Lock {
    fn busy(&self) -> Busy {
        match self.wait {
            true => Busy::Wait,
            false => Busy::Fail,
        }
    }
}

// Which frames a command is about.
#[derive(Debug, Args)]
struct Where {
    /// Only frames of which this holds: "EXPTIME >= 30"
    ///
    /// Repeated, all conditions must hold. Compares header keywords (EXPTIME, DATE-OBS, ESO.DET.ID) and what is measured
    /// from the samples (lower-case sum mean median std min max, and nan, the count of
    /// NaN or BLANK ones) with numbers, quoted strings, T or F, by == != < <= > >=,
    /// or by ~ with a shell pattern: OBJECT ~ 'M3*'. A keyword alone asks whether it
    /// is there and not F. Joined by and, or, not and parentheses. A comparison with
    /// a keyword that the frame lacks is false. Only the header of the HDU that is
    /// taken counts.
    #[arg(long = "where", value_name = "EXPR", allow_hyphen_values = true)]
    #[arg(value_parser = |text: &str| parsed(Filter::parse(text)))]
    filters: Vec<Filter>,
}

// Which samples are bad.
#[derive(Debug, Args)]
struct BadArgs {
    /// Bad samples: where this image or cube is not 0
    ///
    /// Anything that append reads, also with brackets as in 'a.fits[DQ]', or a cube; repeated,
    /// what one of them says is bad. On each axis it is as long as the cube (before --where
    /// and --section), or 1 long, or lacks it, and then is for all positions; or it is as
    /// long as the part that --where and --section leave. NaN is bad; BLANK, and what void
    /// reads as in a cube that has some, is not. An image is first copied to TMPDIR.
    #[arg(long = "bad", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Only these bits of --bad count, such as 5 or 0x1001
    #[arg(long = "bad-bits", value_name = "BITS", requires = "files", value_parser = parse_bits)]
    #[arg(hide_short_help = true)]
    bits: Option<u64>,
}

impl BadArgs {
    fn bad(&self) -> Bad {
        Bad {
            files: self.files.clone(),
            bits: self.bits,
        }
    }
}

fn parse_bits(text: &str) -> std::result::Result<u64, String> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let bits = match hexadecimal {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let bits = bits.ok().filter(|&bits| bits != 0);
    bits.ok_or_else(|| "give a sum of bits above 0, decimal or as 0x".into())
}

// Options of verbs that move samples.
#[derive(Debug, Args)]
struct Memory {
    /// Memory to use, such as 256M or 2G [default: a quarter of the machine's or
    /// container's, at most 1G]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, hide_short_help = true)]
    #[arg(env = "CUBE_MEMORY", hide_env_values = true)]
    memory: Option<u64>,
}

impl Memory {
    fn bytes(&self) -> u64 {
        const MOST: u64 = 1 << 30;
        self.memory.unwrap_or_else(|| {
            let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let limit = group_memory(&groups, Path::new("/sys/fs/cgroup"));
            let all = limit.map_or(machine_memory(), |limit| limit.min(machine_memory()));
            (all / 4).clamp(LEAST_MEMORY, MOST)
        })
    }
}

// Options of verbs that say in the end what they did.
#[derive(Debug, Args)]
struct Told {
    /// Print what was done as one JSON object
    #[arg(long, hide_short_help = true)]
    json: bool,

    #[command(flatten)]
    common: Common,
}

// Options of verbs that compute.
#[derive(Debug, Args)]
struct Jobs {
    /// Threads to use [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(env = "CUBE_JOBS", hide_env_values = true, hide_short_help = true)]
    jobs: Option<u16>,
}

impl Jobs {
    fn count(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.jobs.map_or_else(all, usize::from)
    }
}

fn machine_memory() -> u64 {
    let system = rustix::system::sysinfo();
    system.totalram.saturating_mul(system.mem_unit.into())
}

/// The least limit on memory of the control groups that a process is in, such as a
/// container's. `groups` is what `/proc/self/cgroup` says; the files are below `root`.
fn group_memory(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, name) = match controllers.split(',').any(|name| name == "memory") {
            true => (root.join("memory"), "memory.limit_in_bytes"),
            false if controllers.is_empty() => (root.to_path_buf(), "memory.max"),
            false => return None,
        };
        let path = Path::new(path.trim_start_matches('/'));
        let limit = |group: &Path| -> Option<u64> {
            let text = std::fs::read_to_string(root.join(group).join(name)).ok()?;
            text.trim().parse().ok()
        };
        path.ancestors().filter_map(limit).min()
    });
    limits.min()
}

/// The least memory with which every verb works.
const LEAST_MEMORY: u64 = 16 << 20;

/// A name of `--keys`.
fn parse_key(text: &str) -> std::result::Result<String, String> {
    match text.trim() {
        "" => Err("a name is empty; names have commas between them".into()),
        name => Ok(name.to_string()),
    }
}

fn parse_size(text: &str) -> std::result::Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1 << 40,
        _ => return Err("give a number of bytes, with K, M, G or T behind it".into()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "give a whole number, such as 256M")?;
    let bytes = number.checked_mul(factor).ok_or("that is too much")?;
    match bytes {
        LEAST_MEMORY.. => Ok(bytes),
        _ => Err(format!(
            "{text} is too little: the least is {}M",
            LEAST_MEMORY >> 20
        )),
    }
}

/// Parses the arguments, runs the verb, prints, and says how it went.
pub fn run<I>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item = OsString>,
{
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let line = command_line(&arguments);
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let wanted_help = !error.use_stderr();
            // Nobody is left to tell when the pipe is closed.
            let _ = error.print();
            return ExitCode::from(if wanted_help { DONE } else { USAGE });
        }
    };
    let stop = match watch_signals() {
        Ok(stop) => stop,
        Err(error) => return ExitCode::from(fail(&error)),
    };
    let done = match cli.verb {
        Verb::Append(args) => append::run_append(args, line, &stop),
        Verb::Insert(args) => append::run_insert(args, line, &stop),
        Verb::Slice(args) => slice::run(args, &stop),
        Verb::Info(args) => info::run(&args),
        Verb::Clean(args) => clean::run(&args, line, &stop),
        Verb::Combine(args) => combine::run(&args, line, &stop),
        Verb::Delete(args) => arrange::run_delete(&args, line),
        Verb::Move(args) => arrange::run_move(&args, line),
        Verb::Sort(args) => arrange::run_sort(&args, line),
        Verb::Log(args) => history::run_log(&args),
        Verb::Undo(args) => history::run_undo(&args),
        Verb::Check(args) => check::run(&args, &stop),
        Verb::Generate(args) => generate::run(&args),
        Verb::Compact(args) => compact::run(&args, line, &stop),
        Verb::Zarr(args) => in_place::run_zarr(&args),
        Verb::Refs(args) => in_place::run_refs(&args),
    };
    ExitCode::from(done.unwrap_or_else(|error| fail(&error)))
}

/// Prints an error; says which exit status it is.
fn fail(error: &Error) -> u8 {
    if error.is_closed_pipe() {
        return DONE;
    }
    say_error(error);
    say_hint(error);
    match error.kind() {
        Kind::Interrupted => INTERRUPTED,
        _ => FAILED,
    }
}

fn say_error(error: &Error) {
    say(&format!("cube: {error}"));
}

fn say_hint(error: &Error) {
    if let Some(hint) = error.hint_text() {
        say(&format!("hint: {hint}"));
    }
}

/// A line for the person at the terminal.
fn say(line: &str) {
    let _cleared = progress::clear_line();
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Text for stdout.
fn print(text: &str) -> Result<()> {
    let _cleared = progress::clear_line();
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .doing("cannot write to standard output")
}

/// The same of what a command did to a cube, which is done whether it can be told or not.
fn print_report(text: &str) -> Result<()> {
    print(text).map_err(|error| error.hint("the command is done, and its report alone is lost"))
}

impl Told {
    /// Says what was done, as JSON too if that is wanted.
    fn tell(&self, report: &impl Serialize, text: &str) -> Result<u8> {
        if self.json {
            print_report(&(to_json(report)? + "\n"))?;
        }
        if !self.common.quiet {
            say(text);
        }
        Ok(DONE)
    }
}

fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::unsupported(format!("no JSON: {error}")))
}

/// The first SIGINT, SIGTERM or SIGHUP asks a command at work to stop when what
/// it has at hand is whole; one that is not at work yet, or is asked again, ends
/// at once.
fn watch_signals() -> Result<Stop> {
    // A file that would pass the limit on the size of files is an error of the write.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let stop = Stop::default();
    let watched = stop.clone();
    let signals = [SIGINT, SIGTERM, SIGHUP];
    // Without a handler the signal ends the command at once, which loses what is
    // not committed and nothing else.
    if let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) {
        let watch = move || {
            for _ in signals.forever() {
                if !watched.ask() {
                    say("cube: interrupted; what was committed before is kept");
                    std::process::exit(i32::from(INTERRUPTED));
                }
                // Who is done sooner need not be told, nor who cannot be.
                let _ = Builder::new().spawn(|| {
                    std::thread::sleep(PATIENCE);
                    say("cube: finishing the frames at hand; interrupt again to end at once");
                });
            }
        };
        // With the handler and no thread, nobody would hear the signals.
        let started = Builder::new().spawn(watch);
        started.doing("cannot start a thread")?;
    }
    Ok(stop)
}

/// The command as typed, for the history, cut off where it gets long.
fn command_line(arguments: &[OsString]) -> String {
    const MOST: usize = 500;
    let mut line = String::from("cube");
    for argument in arguments.iter().skip(1) {
        let argument = argument.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@+%".contains(c);
        line.push(' ');
        match !argument.is_empty() && argument.chars().all(plain) {
            true => line.push_str(&argument),
            false => line.push_str(&format!("'{}'", argument.replace('\'', "'\\''"))),
        }
        if line.len() > MOST {
            let end = (0..=MOST).rev().find(|&end| line.is_char_boundary(end));
            line.truncate(end.unwrap_or(0));
            line.push_str(" ...");
            break;
        }
    }
    line
}

/// Makes a clap value parser of one of ours.
fn parsed<T>(result: Result<T>) -> std::result::Result<T, String> {
    result.map_err(|error| match error.hint_text() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("256M"), Ok(256 << 20));
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size("33554432"), Ok(32 << 20));
        for text in ["", "M", "1.5G", "-1", "1M", "99999999999T", "12X"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_limits_of_groups_are_found_up_to_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let found = |groups: &str| group_memory(groups, folder.path());
        put("a/b/memory.max", "max\n");
        put("a/memory.max", "536870912\n");
        put("memory/c/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(found("0::/a/b\n"), Some(512 << 20));
        assert_eq!(found("0::/\n"), None);
        assert_eq!(found("3:cpu:/a\n4:memory:/c\n"), Some((1 << 63) - 4096));
        // What a container is told is its host's path; the limit is at the root.
        put("memory/memory.limit_in_bytes", "67108864\n");
        assert_eq!(found("4:hugetlb,memory:/docker/1\n"), Some(64 << 20));
        assert_eq!(found(""), None);
    }

    #[test]
    fn the_history_keeps_a_command_that_a_shell_reads_back() {
        let arguments = ["cube", "append", "a b.cube", "it's.fits"].map(OsString::from);
        assert_eq!(
            command_line(&arguments),
            r"cube append 'a b.cube' 'it'\''s.fits'"
        );
    }
}
