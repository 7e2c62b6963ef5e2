//! `cube compact`: the newest state in a new file, in the order it is read.
//!
//! Slots are positions again, patches are in the samples, and what no position
//! refers to is gone; so is the history. The old file is not touched: the new one
//! is written beside it and gets the name when it is whole and synced, so readers keep
//! what they opened.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::{Progress, Stop, command, count, free_bytes, make_empty, show_bytes, tell_notice};
use crate::engine::commit::Writer;
use crate::engine::rewrite::{Rewritten, Watch, rewrite};
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, IoContext, Result, show_path};
use crate::format::catalog::Catalog;
use crate::sinks::beside::Beside;
use crate::storage::Storage;
use crate::storage::file::{Busy, FileStorage, sync_folder};

/// What `compact` is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do when another writer is at work.
    pub busy: Busy,
    /// Bytes of memory to use.
    pub memory: u64,
    /// The command as typed, for the history.
    pub line: String,
}

/// What `compact` did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What is in the new file.
    #[serde(flatten)]
    pub rewritten: Rewritten,
    /// Disk that the file took before.
    pub before: u64,
    /// Disk that it takes now.
    pub after: u64,
}

/// Rewrites a cube.
///
/// # Errors
/// Whatever stops it; the cube is then as it was.
pub fn compact(
    path: &Path,
    options: &Options,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<Report> {
    // The lock is held until the new file has the name.
    let old = Arc::new(FileStorage::open_locked(path, options.busy).at(path)?);
    let storage: Arc<dyn Storage> = old.clone();
    let snapshot = Arc::new(Snapshot::open_to_replace(storage.clone()).at(path)?);
    tell_notice(path, snapshot.notice(), progress);
    let target = std::fs::canonicalize(path)
        .doing("cannot examine")
        .at(path)?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    check_room(&snapshot, folder).at(path)?;
    stop.begin_work();
    let mut report = Report {
        before: old.disk_bytes().at(path)?,
        ..Report::default()
    };
    let mode = std::fs::metadata(&target)
        .doing("cannot examine")
        .at(path)?;
    let mode = Permissions::from_mode(mode.permissions().mode() & 0o7777);
    let make = || -> Result<()> {
        let file = Beside::new(folder, 0o600).doing("cannot create a file beside it")?;
        let kept = file.file().set_permissions(mode);
        kept.doing("cannot keep its permissions")?;
        let new = FileStorage::new(file.file().try_clone().doing("cannot create")?, path)?;
        // Whoever waits for the old file's lock finds this one locked too.
        new.lock(Busy::Fail)?;
        let new = Arc::new(new);
        let mut writer = create(new.clone(), &snapshot)?;
        let mut edit = writer.edit(command("compact", &options.line))?;
        edit.save_disk();
        let shape = snapshot.shape();
        let size = snapshot.catalog().dtype.size() as u64;
        let bytes = shape
            .iter()
            .fold(size, |bytes, len| bytes.saturating_mul(*len));
        progress.begin("compacting", 0, bytes);
        let go_on = || {
            let goes_on = stop.go_on();
            goes_on.map_err(|error| error.hint("the cube is as it was"))
        };
        let watch = Watch {
            bytes: &|bytes| progress.bytes(bytes),
            go_on: &go_on,
        };
        let done = rewrite(&snapshot, &mut edit, options.memory, &watch);
        progress.end();
        report.rewritten = done?;
        for source in &report.rewritten.damaged {
            progress.warn(&format!(
                "{}: its samples are damaged, and stay so",
                show_path(Path::new(source))
            ));
        }
        let finished = edit.finish().and_then(|()| go_on());
        finished.map_err(|error| error.hint("the cube is as it was"))?;
        report.after = new.disk_bytes()?;
        file.put(&target, true)
            .doing("cannot give the new file its name")?;
        // The name is to survive a loss of power as the bytes do.
        sync_folder(folder)
            .map_err(|error| error.hint("the cube is compacted, but a loss of power may undo that"))
    };
    make().at(path)?;
    let commands = snapshot.verbs_before(usize::MAX).len() as u64;
    if commands > 0 {
        progress.warn(&format!(
            "{}: the history ends here, {} long; undo cannot go behind it",
            show_path(path),
            count(commands, "command")
        ));
    }
    Ok(report)
}

/// Refuses when the disk cannot hold what is in the cube.
fn check_room(snapshot: &Snapshot, folder: &Path) -> Result<()> {
    let usage = snapshot.usage()?;
    let needed = usage.compacted_bytes.saturating_add(usage.room_bytes);
    let free = free_bytes(folder).doing("cannot ask the disk for its room")?;
    match needed > free {
        true => Err(Error::input(format!(
            "compacting needs {needed} bytes on the disk ({}), but {free} are free ({})",
            show_bytes(needed),
            show_bytes(free)
        ))
        .hint("the old file stays until the new one is whole: make room, and try again")),
        false => Ok(()),
    }
}

/// Another history, so another identity.
fn create(storage: Arc<FileStorage>, snapshot: &Snapshot) -> Result<Writer> {
    let old = snapshot.catalog();
    let rank = old.axes.len();
    let catalog = Catalog::empty(old.dtype, old.pad, old.blank, &old.tile, rank);
    make_empty(storage, catalog)
}
