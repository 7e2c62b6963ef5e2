//! `cube zarr` and `cube refs`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Common, DONE, Lock, say};
use crate::error::{Result, show_path};
use crate::ops::in_place::{Options, Report, refs, zarr};
use crate::ops::{count, show_bytes};
use crate::sinks::Target;

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube zarr night.cube -o night.zarr\n  \
    cube zarr night.cube -o night.zarr --keys EXPTIME,AIRMASS,FILTER --overwrite")]
pub(super) struct ZarrArgs {
    /// The cube
    cube: PathBuf,

    /// The store, which is a folder
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,

    #[command(flatten)]
    keys: Keys,

    /// Replace FOLDER if it is a store
    #[arg(long)]
    overwrite: bool,

    #[command(flatten)]
    lock: Lock,

    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube refs night.cube -o night.refs.json\n  \
    cube refs night.cube -o night.refs.json --url s3://bucket/night.cube --keys EXPTIME")]
pub(super) struct RefsArgs {
    /// The cube
    cube: PathBuf,

    /// The file they go to
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    keys: Keys,

    /// What references call the cube: a URL, or a path as readers are to open it
    /// [default: its path from the root]
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// Replace FILE if it exists
    #[arg(long)]
    overwrite: bool,

    #[command(flatten)]
    common: Common,
}

// Which keywords become coordinates.
#[derive(Debug, Args)]
struct Keys {
    /// Header keywords that become coordinates, too, such as EXPTIME,AIRMASS; those that
    /// are no numbers become lists among the attributes
    #[arg(long, value_name = "KEYS", value_delimiter = ',', value_parser = parse_key)]
    keys: Vec<String>,
}

/// The name of a keyword, which is to be that of a folder.
fn parse_key(text: &str) -> std::result::Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_ ".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Ok(text.to_string()),
        false => Err("keywords have letters, digits, - and _".into()),
    }
}

pub(super) fn run_zarr(args: &ZarrArgs) -> Result<u8> {
    let options = Options {
        target: Target::from_path(&args.output, args.overwrite),
        keys: args.keys.keys.clone(),
    };
    let bar = args.common.bar();
    let done = zarr(&args.cube, &options, args.lock.busy(), &bar)?;
    let what = match done.index_bytes {
        0 => "the index was there".to_string(),
        bytes => format!("the index took {}", show_bytes(bytes)),
    };
    tell(&args.cube, &args.output, &done, &what, &args.common)
}

pub(super) fn run_refs(args: &RefsArgs) -> Result<u8> {
    let options = Options {
        target: Target::from_path(&args.output, args.overwrite),
        keys: args.keys.keys.clone(),
    };
    let bar = args.common.bar();
    let done = refs(&args.cube, &options, args.url.as_deref(), &bar)?;
    let what = match &done.beside {
        Some((tiles, file)) => format!("{} copied to {}", count(*tiles, "tile"), show_path(file)),
        None => "none is copied".to_string(),
    };
    tell(&args.cube, &args.output, &done, &what, &args.common)
}

fn tell(cube: &Path, output: &Path, done: &Report, what: &str, common: &Common) -> Result<u8> {
    if !common.quiet {
        let (cube, output) = (show_path(cube), show_path(output));
        let mut text = format!("{cube}: {} in {output}; {what}", count(done.tiles, "tile"));
        if !done.coordinates.is_empty() {
            text += &format!("; coordinates {}", done.coordinates.join(", "));
        }
        say(&text);
    }
    Ok(DONE)
}
