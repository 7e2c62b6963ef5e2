//! A cube as a source of frames: what `cube append a.cube b.cube` reads.
//!
//! Where its frames stand one behind the other, they come in one by one as they came
//! into the cube: each with its header, its file's name and its place on the other
//! axes. Any other cube is one frame. The commit that was the newest when the command
//! began is read, so a cube may even be put into itself.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use super::frames::{cards_of, facts};
use super::plan::{default_axis, full_shape};
use crate::engine::Coordinates;
use crate::engine::records::RecordReader;
use crate::engine::snapshot::Snapshot;
use crate::engine::stored::Stored;
use crate::error::{Context, Result};
use crate::format::Extent;
use crate::format::ledger::Record;
use crate::format::superblock::MAGIC;
use crate::frames::{About, Facts, Frame};
use crate::region::{MAX_RANK, Span, check_samples};
use crate::sinks::fits::image_cards;
use crate::storage::file::FileStorage;
use crate::turns::lock;

/// One commit of a cube, open for as long as one of its frames is: neither frames nor
/// cubes are bounded by the open-file limit.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    /// Where its catalog stands, and how many bytes of the file it may refer to.
    commit: (Extent, u64),
    tile: Vec<u64>,
    open: Mutex<Weak<Open>>,
}

/// What the frames of a cube share while they are open.
pub(super) struct Open {
    snapshot: Arc<Snapshot>,
    records: Mutex<RecordReader<Arc<Snapshot>>>,
}

/// Where a frame comes from that comes from a cube.
#[derive(Clone, Debug)]
pub(super) struct Came {
    source: Arc<Source>,
    /// The number of its record; none when the cube is one frame.
    frame: Option<u64>,
    /// The file that it first came from.
    pub(super) name: String,
    /// Type of its samples in that file.
    pub(super) dtype: String,
    /// Position of its first pixel in the cube.
    pub(super) first: Coordinates,
    /// CRC-32C of its samples, as the cube knows it.
    check: Option<u32>,
    facts: Facts,
}

/// A frame of a cube, or a whole cube, read in a linear order.
pub(super) struct CubeFrame {
    open: Arc<Open>,
    about: About,
    region: [Span; MAX_RANK],
    check: Option<u32>,
}

/// Does the file begin as a cube?
pub(super) fn is_cube(path: &Path) -> bool {
    // A FIFO is left to the reader of frames, which refuses it unread.
    let is_file = std::fs::metadata(path).is_ok_and(|about| about.is_file());
    let mut head = Vec::new();
    let mut read = |path| {
        File::open(path)?
            .take(MAGIC.len() as u64)
            .read_to_end(&mut head)
    };
    is_file && read(path).is_ok() && head == MAGIC
}

/// The frames of a cube that are to join `axis`, or the axis that they join when none
/// is given.
///
/// # Errors
/// When the cube cannot be read, or holds nothing.
pub(super) fn frames_of(path: &Path, axis: Option<usize>) -> Result<Vec<Came>> {
    let storage = FileStorage::open(path).at(path)?;
    let snapshot = Arc::new(Snapshot::open(Arc::new(storage)).at(path)?);
    let shape = snapshot.shape();
    check_samples(&shape).at(path)?;
    let source = Arc::new(Source {
        path: path.to_path_buf(),
        commit: (*snapshot.extent(), snapshot.committed()),
        tile: snapshot.catalog().tile.clone(),
        open: Mutex::default(),
    });
    let catalog = snapshot.catalog();
    if let Some(records) = stack_of(&snapshot, axis).at(path)? {
        let came = records.into_iter().map(|(first, record)| Came {
            source: source.clone(),
            frame: Some(record.frame),
            first,
            check: Some(record.check),
            facts: facts(catalog, &record),
            dtype: record.dtype,
            name: record.source,
        });
        return Ok(came.collect());
    }
    Ok(vec![Came {
        source,
        frame: None,
        name: path.to_string_lossy().into_owned(),
        dtype: catalog.dtype.name().to_string(),
        first: [0; MAX_RANK],
        check: None,
        facts: Facts {
            shape,
            dtype: catalog.dtype,
            blank: catalog.blank,
            // Of a cube it is the commit that counts, not the file.
            file_bytes: catalog.generation,
            modified: None,
            part: 0,
            offset: 0,
            channel: None,
            primary: 0,
        },
    }])
}

/// The frames of a cube in order, with their positions, when each position of the axis
/// belongs to one frame that is still whole; cards and slots are left out.
fn stack_of(
    snapshot: &Snapshot,
    axis: Option<usize>,
) -> Result<Option<Vec<(Coordinates, Record)>>> {
    let positions = snapshot.positions();
    let mut all_whole = true;
    let mut frames: Vec<(Coordinates, Record)> = Vec::new();
    snapshot.for_each_record(&mut |mut record| {
        if let Some((first, whole)) = positions.of(&record) {
            all_whole &= whole;
            (record.cards, record.slots) = Default::default();
            frames.push((first, record));
        }
        Ok(())
    })?;
    let own_axis = frames
        .first()
        .map(|(_, record)| default_axis(&record.shape));
    let Some(joined) = axis.or(own_axis).filter(|_| all_whole) else {
        return Ok(None);
    };
    frames.sort_unstable_by_key(|(first, record)| (first[joined], record.frame));
    let mut end = 0;
    for (first, record) in &frames {
        if first[joined] != end || axis.is_none() && default_axis(&record.shape) != joined {
            return Ok(None);
        }
        end += full_shape(&record.shape)[joined];
    }
    Ok((end == snapshot.pieces(joined).len()).then_some(frames))
}

impl Source {
    fn open(&self) -> Result<Arc<Open>> {
        let mut held = lock(&self.open);
        if let Some(open) = held.upgrade() {
            return Ok(open);
        }
        let storage = FileStorage::open(&self.path)?;
        let (extent, committed) = &self.commit;
        let snapshot = Snapshot::at(Arc::new(storage), extent, *committed).map_err(|error| {
            error.hint("it was whole when the command began: has another cube taken its place?")
        })?;
        let snapshot = Arc::new(snapshot);
        let open = Arc::new(Open {
            records: Mutex::new(RecordReader::new(snapshot.clone())),
            snapshot,
        });
        *held = Arc::downgrade(&open);
        Ok(open)
    }
}

impl Came {
    /// Shape of the cube's tiles.
    pub(super) fn tile(&self) -> &[u64] {
        &self.source.tile
    }

    /// Opens the frame.
    ///
    /// # Errors
    /// When the cube cannot be read any more.
    pub(super) fn open(&self) -> Result<CubeFrame> {
        let open = self.source.open()?;
        let header = self.frame.or(open.snapshot.catalog().header_frame);
        let cards = match header {
            Some(frame) => {
                let mut records = lock(&open.records);
                let record = records.get(frame)?;
                record.as_ref().map(cards_of)
            }
            None => None,
        };
        let cards = cards.unwrap_or_default();
        let note = "its frames are not whole, or do not stand one behind the other on the axis \
                    they are to join, so it comes in as one frame with the header of its first: \
                    --where, sort, --resume and delete --source will not see the others";
        Ok(CubeFrame {
            about: About {
                facts: self.facts.clone(),
                cards: match self.frame {
                    Some(_) => cards,
                    None => image_cards(&cards),
                },
                notes: match self.frame {
                    Some(_) => Vec::new(),
                    None => vec![note.to_string()],
                },
            },
            region: {
                let shape = full_shape(&self.facts.shape);
                std::array::from_fn(|axis| Span::run(self.first[axis], shape[axis]))
            },
            check: self.check,
            open,
        })
    }
}

impl CubeFrame {
    /// What keeps the cube open, and its records at hand, for the frames to come.
    pub(super) fn keep_open(&self) -> Arc<Open> {
        self.open.clone()
    }

    /// Where its samples stand, if they are those that its check is of: with patches
    /// over them they are not.
    pub(super) fn stored(&self) -> Option<Stored> {
        let snapshot = &self.open.snapshot;
        Some(Stored {
            check: self
                .check
                .filter(|_| snapshot.catalog().patches.is_empty())?,
            snapshot: snapshot.clone(),
            region: self.region,
        })
    }
}

impl Frame for CubeFrame {
    fn about(&self) -> &About {
        &self.about
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        self.open.snapshot.read_run(&self.region, first, out)
    }
}
