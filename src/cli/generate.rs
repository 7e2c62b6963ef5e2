//! `cube generate`: manual pages and shell completions, made from the command line
//! itself, so that they cannot say anything else.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::{Cli, DONE, print};
use crate::error::{Context, Error, IoContext, Result};

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cube generate bash > ~/.local/share/bash-completion/completions/cube\n  \
    cube generate zsh > ~/.zfunc/_cube\n  \
    cube generate fish > ~/.config/fish/completions/cube.fish\n  \
    cube generate man --folder ~/.local/share/man/man1")]
pub(super) struct GenerateArgs {
    /// What to make
    #[arg(value_enum)]
    what: What,

    /// Where manual pages go; the folder must exist
    #[arg(long, value_name = "FOLDER", required_if_eq("what", "man"))]
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Bash,
    Zsh,
    Fish,
    Man,
}

pub(super) fn run(args: &GenerateArgs) -> Result<u8> {
    let mut cli = Cli::command();
    let shell = match args.what {
        What::Bash => Shell::Bash,
        What::Zsh => Shell::Zsh,
        What::Fish => Shell::Fish,
        What::Man => return pages(args, cli),
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut cli, "cube", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(DONE)
}

/// A page for the program and one for each verb.
fn pages(args: &GenerateArgs, mut cli: clap::Command) -> Result<u8> {
    let folder = args.folder.clone().unwrap_or_default();
    if !folder.is_dir() {
        return Err(Error::input("there is no such folder")
            .hint("mkdir -p makes it")
            .at(&folder));
    }
    // Gives each verb its whole name: cube-append.
    cli.build();
    let verbs = cli.get_subcommands().filter(|verb| !verb.is_hide_set());
    let all: Vec<clap::Command> = std::iter::once(&cli).chain(verbs).cloned().collect();
    for command in all {
        // A page has what the short help leaves out.
        let command = command.mut_args(|arg| {
            let help = arg.get_long_help().or(arg.get_help()).cloned();
            arg.long_help(help.unwrap_or_default())
                .hide_short_help(false)
        });
        let name = command.get_display_name().unwrap_or("cube").to_string();
        let path = folder.join(format!("{name}.1"));
        let version = concat!("cube ", env!("CARGO_PKG_VERSION"));
        let page = clap_mangen::Man::new(command)
            .source(version)
            .manual("cube");
        let mut text = Vec::new();
        page.render(&mut text)
            .and_then(|()| std::fs::File::create(&path)?.write_all(&text))
            .doing("cannot write")
            .at(&path)?;
    }
    Ok(DONE)
}
