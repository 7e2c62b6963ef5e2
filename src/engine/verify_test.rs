//! Flipped bits and exchanged tiles: what has an effect is found.

use std::sync::Arc;

use super::reread::FrameReader;
use super::snapshot::Snapshot;
use super::verify::{Fault, structure};
use super::void::Owned;
use crate::region::Span;
use crate::storage::Storage;
use crate::storage::memory::MemoryStorage;

const GOLDEN: [&str; 11] = [
    "crashed",
    "deleted",
    "empty",
    "float32-ragged",
    "int16-blank",
    "ledger",
    "patches",
    "piece-table",
    "pieces",
    "rank-4",
    "uint16",
];

fn golden(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden/format-2");
    std::fs::read(format!("{folder}/{name}.cube")).unwrap()
}

fn faults(bytes: &[u8]) -> Vec<Fault> {
    deep(&Arc::new(MemoryStorage::new(bytes.to_vec())))
}

/// Everything that a deep check finds.
pub(super) fn deep(storage: &Arc<MemoryStorage>) -> Vec<Fault> {
    let storage: Arc<dyn Storage> = storage.clone();
    let mut faults = Vec::new();
    let looked = structure(&storage, 1 << 20, &mut |fault| {
        faults.push(fault);
        Ok(())
    });
    let snapshot = match looked {
        Ok((Some(snapshot), _)) => snapshot,
        Ok((None, _)) => {
            assert!(!faults.is_empty());
            return faults;
        }
        Err(error) => {
            return vec![Fault {
                what: error.to_string(),
                ..Fault::default()
            }];
        }
    };
    let sound = faults.iter().all(|fault| fault.notice);
    let mut owned = Owned::new(&snapshot);
    let mut reader = FrameReader::new(&snapshot, 4096);
    reader.count_present();
    for record in snapshot.readable() {
        owned.add(&record);
        faults.extend(reader.verify(&record, &|_| Ok(())).unwrap());
    }
    if sound && !owned.is_filled() {
        let found = owned.fault(&snapshot, reader.present(), &|_| Ok(()));
        faults.extend(found.unwrap());
    }
    faults
}

/// All samples, patches put over, and all records: an answer for every commit
/// that undo can reach.
fn contents(bytes: &[u8]) -> Vec<(Vec<u64>, Vec<u8>, Vec<String>)> {
    let storage = Arc::new(MemoryStorage::new(bytes.to_vec()));
    let mut all = Vec::new();
    let mut next = Some(Snapshot::open(storage).unwrap());
    while let Some(snapshot) = next {
        let shape = snapshot.shape();
        let spans: Vec<Span> = shape.iter().map(|&len| Span::run(0, len)).collect();
        let size = snapshot.catalog().dtype.size();
        let samples = shape.iter().product::<u64>() as usize;
        let mut read = vec![0; samples * size];
        snapshot.read(&spans, &mut read).unwrap();
        let mut records = Vec::new();
        snapshot
            .for_each_record(&mut |record| {
                records.push(format!("{record:?}"));
                Ok(())
            })
            .unwrap();
        all.push((shape, read, records));
        next = snapshot.previous().unwrap();
    }
    all
}

#[test]
fn golden_cubes_are_whole() {
    for name in GOLDEN {
        let found = faults(&golden(name));
        // One of its superblocks is torn.
        let notices = usize::from(name == "crashed");
        assert_eq!(found.len(), notices, "{name}: {found:?}");
        assert!(found.iter().all(|fault| fault.notice), "{name}: {found:?}");
    }
}

#[test]
fn every_flipped_bit_that_has_an_effect_is_found() {
    for name in ["deleted", "float32-ragged", "patches", "pieces"] {
        let good = golden(name);
        let want = contents(&good);
        let mut found = 0;
        // Most of a superblock is one text under one check.
        for at in (0..8192).step_by(37).chain(8192..good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            if !faults(&bad).is_empty() {
                found += 1;
                continue;
            }
            assert!(
                contents(&bad) == want,
                "{name}: byte {at} has an effect that was not found"
            );
        }
        assert!(found > 1000, "{name}: {found} of {}", good.len());
    }
}

#[test]
fn tiles_whose_bytes_were_exchanged_are_found() {
    let mut bytes = golden("float32-ragged");
    let (a, b) = (16384, 20480);
    for k in 0..4096 {
        bytes.swap(a + k, b + k);
    }
    let found = faults(&bytes);
    assert!(!found.is_empty());
    let named = |at: u64| {
        let mut tiles = found.iter().flat_map(|fault| &fault.tiles);
        tiles.any(|tile| tile.1 == at)
    };
    assert!(named(16384) && named(20480), "{found:?}");
}
