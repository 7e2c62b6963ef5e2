//! Which frames a cube has already, for a command that is run again.
//!
//! Every frame of the cube stands for one input, and so does one that was deleted: it is
//! not to come back because its file is still there.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::Path;

use super::plan::{Opened, Planned, nanoseconds};
use super::twins::Twins;
use crate::dtype::DType;
use crate::engine::snapshot::Snapshot;
use crate::error::Result;
use crate::format::ledger::cards_to_text;
use crate::frames::Reading;
use crate::frames::cards::Cards;

/// What tells a file from another: its name, its size, the HDU, and the channel.
type FileKey = (OsString, u64, u32, Option<u64>);

/// Where a frame stands that the cube has.
#[derive(Clone, Debug)]
pub struct Present {
    /// The axis that it joined.
    pub axis: usize,
    /// Its first position there; `None` when it was deleted.
    pub position: Option<u64>,
    /// How many it has.
    pub len: u64,
    /// The file it came from, as it was named.
    source: String,
    /// When its file was last modified, in nanoseconds since 1970.
    modified: Option<i128>,
    /// CRC-32C of its samples.
    check: u32,
    /// CRC-32C of its header.
    header: u32,
}

/// The frames that a cube has.
pub(super) struct Seen {
    /// Each until an input is found that it is.
    left: HashMap<FileKey, Vec<Present>>,
    /// The name of the file of each as it was given, the HDU, and the channel.
    names: HashSet<(String, u32, Option<u64>)>,
    /// What their samples are.
    pub(super) twins: Twins,
}

impl Seen {
    pub(super) fn new(cube: &Snapshot) -> Result<Seen> {
        let positions = cube.positions();
        let mut seen: HashMap<FileKey, Vec<Present>> = HashMap::new();
        let mut names = HashSet::new();
        let mut twins = Twins::default();
        let size = cube.catalog().dtype.size() as u64;
        cube.for_each_record(&mut |record| {
            let position = positions.of(&record).map(|(first, _)| first[record.axis]);
            let header = crc32c::crc32c(record.cards.as_bytes());
            if position.is_some() {
                names.insert((record.source.clone(), record.part, record.channel));
                let bytes = record.samples().unwrap_or(0).saturating_mul(size);
                twins.add(&record, header, bytes);
            }
            let name = file_name(Path::new(&record.source));
            let known = seen.entry((name, record.file_bytes, record.part, record.channel));
            known.or_default().push(Present {
                axis: record.axis,
                position,
                len: record.shape.get(record.axis).copied().unwrap_or(1),
                modified: record.modified,
                source: record.source,
                check: record.check,
                header,
            });
            Ok(())
        })?;
        // The first comes last, to be taken first, and one that was deleted comes after all.
        for known in seen.values_mut() {
            known.sort_by_key(|present| Reverse(present.position.unwrap_or(u64::MAX)));
        }
        Ok(Seen {
            left: seen,
            names,
            twins,
        })
    }

    /// Has the cube a frame that came from a file of this very name?
    pub(super) fn has_name(&self, planned: &Planned) -> bool {
        let facts = &planned.facts;
        let name = planned.source().into_owned();
        self.names.contains(&(name, facts.part, facts.channel))
    }

    /// The frame that this input is: a file of the same name and size. When it is
    /// named as it was then, was last modified at the same moment and has the same
    /// header, that is enough; else its samples must have the same check.
    pub(super) fn take(
        &mut self,
        planned: &Planned,
        cards: &Cards,
        reading: &Reading,
        to: DType,
    ) -> Result<Option<Present>> {
        let facts = &planned.facts;
        let source = planned.source();
        let name = file_name(Path::new(source.as_ref()));
        let key = (name, facts.file_bytes, facts.part, facts.channel);
        let Some(known) = self.left.get_mut(&key).filter(|known| !known.is_empty()) else {
            return Ok(None);
        };
        let modified = nanoseconds(facts.modified);
        // Names that are no text are not told apart by what records have of them.
        let is_text = !source.contains(char::REPLACEMENT_CHARACTER);
        // Names count from where a command ran, and times of archives are whole seconds.
        let header = crc32c::crc32c(cards_to_text(cards.as_bytes()).as_bytes());
        let untouched = |known: &Present| {
            let is_same_file = modified.is_some() && known.modified == modified && is_text;
            is_same_file && known.source == source && known.header == header
        };
        let found = match known.iter().rposition(untouched) {
            Some(found) => Some(found),
            None => {
                let check = Opened::new(planned, reading, to)?.check()?;
                known.iter().rposition(|known| known.check == check)
            }
        };
        Ok(found.map(|found| known.remove(found)))
    }
}

fn file_name(path: &Path) -> OsString {
    let name = path.file_name().unwrap_or(path.as_os_str());
    // Records hold names as text.
    name.to_string_lossy().into_owned().into()
}
