//! Options of verbs whose outputs may be pictures, and what the terminal can show.

use clap::Args;

use super::parsed;
use crate::sinks::png::MOST_SIZE;
use crate::sinks::stretch::{Colormap, Stretch};
use crate::sinks::{Look, Terminal};

// What pictures look like.
#[derive(Debug, Args)]
pub(super) struct Pictures {
    /// Black and white of a picture: zscale, minmax, percentile or percentile=99.5
    #[arg(
        long,
        value_name = "STRETCH",
        default_value = "zscale",
        hide_default_value = true,
        value_parser = |text: &str| parsed(Stretch::from_name(text))
    )]
    #[arg(hide_short_help = true)]
    stretch: Stretch,

    /// Colours of a picture: gray, inverted, dusk or cubehelix
    #[arg(
        long,
        value_name = "NAME",
        default_value = "gray",
        hide_default_value = true,
        value_parser = |text: &str| parsed(Colormap::from_name(text))
    )]
    #[arg(hide_short_help = true)]
    colormap: Colormap,

    /// Average pixels until the longer side of a picture has at most N
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2048,
        value_parser = clap::value_parser!(u64).range(1..=MOST_SIZE)
    )]
    #[arg(hide_short_help = true)]
    max_size: u64,
}

impl Pictures {
    pub(super) fn look(&self) -> Look {
        Look {
            stretch: self.stretch,
            colormap: self.colormap,
            max_size: self.max_size,
            terminal: terminal(),
            ..Look::default()
        }
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
