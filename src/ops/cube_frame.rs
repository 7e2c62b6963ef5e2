//! A cube as a frame: what `cube append a.cube b.cube` reads.
//!
//! The commit that was the newest when it was opened is read, so a cube may even
//! be put into itself.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, Result};
use crate::format::ledger::cards_from_text;
use crate::format::superblock::MAGIC;
use crate::frames::cards::Cards;
use crate::frames::{Facts, Frame};
use crate::region::Span;
use crate::sinks::fits::image_cards;
use crate::storage::file::FileStorage;

/// One commit of a cube, read in a linear order.
pub(super) struct CubeFrame {
    snapshot: Snapshot,
    facts: Facts,
    cards: Cards,
}

impl CubeFrame {
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

    pub(super) fn open(path: &Path) -> Result<CubeFrame> {
        let storage = FileStorage::open(path).at(path)?;
        let snapshot = Snapshot::open(Arc::new(storage)).at(path)?;
        let shape = snapshot.shape();
        if shape.contains(&0) {
            return Err(Error::input("the cube is empty").at(path));
        }
        let catalog = snapshot.catalog();
        let record = match catalog.header_frame {
            Some(frame) => snapshot.record_reader().get(frame).at(path)?.cloned(),
            None => None,
        };
        let cards = record.map(|record| Cards::from_bytes(cards_from_text(&record.cards)));
        Ok(CubeFrame {
            facts: Facts {
                shape,
                dtype: catalog.dtype,
                blank: catalog.blank,
                // Of a cube it is the commit that counts, not the file.
                file_bytes: catalog.generation,
                modified: None,
                part: 0,
                offset: 0,
            },
            cards: image_cards(&cards.unwrap_or_default()),
            snapshot,
        })
    }
}

impl Frame for CubeFrame {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn cards(&self) -> &Cards {
        &self.cards
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        let whole = self.facts.shape.iter().map(|&len| Span::run(0, len));
        let whole: Vec<Span> = whole.collect();
        self.snapshot.read_run(&whole, first, out)
    }
}
