//! `cube log` and `cube undo`: what was done to a cube, and how to take it back.
//!
//! Every command leaves a catalog that names the one before, and nothing a
//! catalog refers to is ever overwritten: undoing is making an old one current.

use std::path::Path;

use serde::Serialize;

use super::{Progress, open, open_to_write};
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, Result};
use crate::format::catalog::Command;
use crate::storage::file::Busy;

/// One command of a cube's history.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The commit it left.
    pub generation: u64,
    /// What it was.
    #[serde(flatten)]
    pub command: Command,
    /// Lengths of the axes after it.
    pub shape: Vec<u64>,
    /// Frames in the cube after it.
    pub total: u64,
}

impl Entry {
    fn of(snapshot: &Snapshot) -> Entry {
        Entry {
            generation: snapshot.catalog().generation,
            command: snapshot.catalog().command.clone(),
            shape: snapshot.shape(),
            total: snapshot.catalog().frames,
        }
    }
}

/// The commands that made a cube what it is, the newest first.
///
/// # Errors
/// When a catalog is damaged.
pub fn log(path: &Path, progress: &dyn Progress) -> Result<Vec<Entry>> {
    let (_, snapshot) = open(path, progress)?;
    let mut entries = Vec::new();
    let mut next = Some(snapshot);
    while let Some(snapshot) = next {
        entries.push(Entry::of(&snapshot));
        next = snapshot.previous().at(path)?;
    }
    Ok(entries)
}

/// What `undo` did.
#[derive(Clone, Debug, Serialize)]
pub struct Undone {
    /// The first of the commands that were taken back.
    pub command: Command,
    /// How many they were.
    pub commands: u64,
    /// Lengths of the axes now.
    pub shape: Vec<u64>,
}

/// Takes the last command back, or all behind the generation `to`.
///
/// # Errors
/// When there is none, or the cube cannot be written.
pub fn undo(path: &Path, to: Option<u64>, busy: Busy, progress: &dyn Progress) -> Result<Undone> {
    let mut writer = open_to_write(path, busy, progress)?;
    let mut work = || -> Result<Undone> {
        let now = writer.snapshot()?;
        let last = now.catalog().generation;
        let unknown = |to: u64| {
            Error::input(format!("undo cannot lead to generation {to}"))
                .hint("cube log numbers those that it can lead to")
        };
        if let Some(to) = to.filter(|&to| to >= last) {
            return Err(unknown(to));
        }
        let mut command = now.catalog().command.clone();
        let Some(mut before) = now.previous()? else {
            let what = format!(
                "there is nothing to undo: the history begins with {}",
                command.verb
            );
            return Err(Error::input(what));
        };
        let mut commands = 1;
        while let Some(to) = to.filter(|&to| to != before.catalog().generation) {
            let earlier = match before.catalog().generation > to {
                true => before.previous()?,
                false => None,
            };
            command = before.catalog().command.clone();
            before = earlier.ok_or_else(|| unknown(to))?;
            commands += 1;
        }
        let edit = writer.edit(command.clone())?;
        edit.revert(&before)?;
        Ok(Undone {
            command,
            commands,
            shape: before.shape(),
        })
    };
    work().at(path)
}
