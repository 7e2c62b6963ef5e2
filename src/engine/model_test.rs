//! Random edit scripts, power cuts and failing writes against a naive array. Now
//! and then the cube is compacted, and every commit passes a deep check.

use std::sync::Arc;

use super::Coordinates;
use super::commit::Writer;
use super::pieces::{Pieces, joined};
use super::rewrite::{Watch, rewrite};
use super::snapshot::Snapshot;
use super::verify_test::deep;
use super::write::{Part, Samples};
use crate::dtype::DType;
use crate::error::Result;
use crate::format::Extent;
use crate::format::catalog::{Catalog, Command, Piece};
use crate::format::ledger::Record;
use crate::region::{MAX_RANK, Span};
use crate::storage::Storage;
use crate::storage::memory::MemoryStorage;

/// A small generator, so that every script can be run again from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

/// A dense array, x fastest.
#[derive(Clone, PartialEq, Debug)]
struct Naive {
    lens: [usize; MAX_RANK],
    values: Vec<u64>,
}

impl Naive {
    fn empty(rank: usize) -> Naive {
        Naive {
            lens: std::array::from_fn(|axis| usize::from(axis >= rank)),
            values: Vec::new(),
        }
    }

    fn build(lens: [usize; MAX_RANK], value: impl Fn(&[usize; MAX_RANK]) -> u64) -> Naive {
        let total = lens.iter().product();
        let values = (0..total).map(|n| value(&coordinates(n, &lens))).collect();
        Naive { lens, values }
    }

    fn get(&self, at: &[usize; MAX_RANK]) -> u64 {
        let mut n = 0;
        for axis in (0..MAX_RANK).rev() {
            n = n * self.lens[axis] + at[axis];
        }
        self.values[n]
    }

    /// `block` put in before `at` of `axis`, at `origin` on the others.
    fn insert(
        &self,
        axis: usize,
        at: usize,
        origin: &[usize; MAX_RANK],
        block: &Naive,
        pad: u64,
    ) -> Naive {
        let more = block.lens[axis];
        let lens = std::array::from_fn(|other| match other == axis {
            true => self.lens[axis] + more,
            false => self.lens[other].max(origin[other] + block.lens[other]),
        });
        Naive::build(lens, |c| {
            let mut source = *c;
            if (at..at + more).contains(&c[axis]) {
                source[axis] -= at;
                for other in (0..MAX_RANK).filter(|&other| other != axis) {
                    source[other] = source[other].wrapping_sub(origin[other]);
                }
                let inside = (0..MAX_RANK).all(|other| source[other] < block.lens[other]);
                return if inside { block.get(&source) } else { pad };
            }
            if c[axis] >= at + more {
                source[axis] -= more;
            }
            let inside = (0..MAX_RANK).all(|other| source[other] < self.lens[other]);
            if inside { self.get(&source) } else { pad }
        })
    }

    fn delete(&self, axis: usize, at: usize, len: usize) -> Naive {
        let mut lens = self.lens;
        lens[axis] -= len;
        Naive::build(lens, |c| {
            let mut source = *c;
            if c[axis] >= at {
                source[axis] += len;
            }
            self.get(&source)
        })
    }
}

fn coordinates(mut n: usize, lens: &[usize; MAX_RANK]) -> [usize; MAX_RANK] {
    lens.map(|len| {
        let at = n % len;
        n /= len;
        at
    })
}

struct Block<'a> {
    naive: &'a Naive,
    size: usize,
}

impl Samples for Block<'_> {
    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        for (k, sample) in out.chunks_exact_mut(self.size).enumerate() {
            let value = self.naive.values[first as usize + k];
            sample.copy_from_slice(&value.to_le_bytes()[..self.size]);
        }
        Ok(())
    }
}

/// Everything the snapshot holds, read in one request.
fn read_all(snapshot: &Snapshot) -> Naive {
    let lens: [usize; MAX_RANK] = std::array::from_fn(|axis| snapshot.pieces(axis).len() as usize);
    let spans = lens.map(|len| Span::run(0, len as u64));
    read_spans(snapshot, &spans)
}

fn read_spans(snapshot: &Snapshot, spans: &[Span; MAX_RANK]) -> Naive {
    let size = snapshot.catalog().dtype.size();
    let lens = spans.map(|span| span.len as usize);
    let mut bytes = vec![0x5a; lens.iter().product::<usize>() * size];
    snapshot.read(spans, &mut bytes).unwrap();
    let dtype = snapshot.catalog().dtype;
    let values = bytes
        .chunks_exact(size)
        .map(|sample| dtype.bits_at(sample))
        .collect();
    Naive { lens, values }
}

fn random_spans(random: &mut Random, naive: &Naive) -> [Span; MAX_RANK] {
    naive.lens.map(|len| {
        if len == 0 {
            return Span::run(0, 0);
        }
        let start = random.below(len);
        let step = 1 + random.below(3);
        let forward = random.below(2) == 0;
        let room = if forward {
            (len - 1 - start) / step
        } else {
            start / step
        };
        Span {
            start: start as u64,
            step: if forward { step as i64 } else { -(step as i64) },
            len: 1 + random.below(room + 1) as u64,
        }
    })
}

/// The newest commit in a storage of its own, as `compact` leaves it.
fn compacted(storage: &Arc<MemoryStorage>, fuse: Option<u64>) -> Result<Arc<MemoryStorage>> {
    let snapshot = Arc::new(Snapshot::open(storage.clone())?);
    let old = snapshot.catalog();
    let rank = old.axes.len();
    let mut catalog = Catalog::empty(old.dtype, old.pad, old.blank, &old.tile, rank);
    // With the mask and without, whichever it had.
    catalog.mask *= old.generation % 2;
    let new = Arc::new(MemoryStorage::default());
    new.set_fuse(fuse);
    let mut writer = Writer::create(new.clone(), [2; 16], &catalog)?;
    let mut edit = writer.edit(Command::default())?;
    let watch = Watch {
        bytes: &|_| {},
        go_on: &|| Ok(()),
    };
    // So little memory that it is committed in between.
    let rewritten = rewrite(&snapshot, &mut edit, 4096, &watch)?;
    assert_eq!(rewritten.damaged, Vec::<String>::new());
    edit.finish()?;
    new.set_fuse(None);
    Ok(new)
}

/// What one command makes of the array, and whether it got through.
fn command(
    random: &mut Random,
    storage: &Arc<MemoryStorage>,
    before: &Naive,
    pad: u64,
    rank: usize,
) -> (Naive, Result<()>) {
    let dyn_storage: Arc<dyn Storage> = storage.clone();
    let mut after = before.clone();
    let full = !before.lens.contains(&0);
    let kind = random.below(11);
    let run = || -> Result<()> {
        let mut writer = Writer::open(dyn_storage)?;
        let snapshot = writer.snapshot()?;
        let dtype = snapshot.catalog().dtype;
        let mut edit = writer.edit(Command::default())?;
        if kind < 6 || !full {
            // A few frames of ragged shape, or more of the same, one after the other
            // on one axis; some are pad in part, or all of them.
            let axis = random.below(rank);
            let mut at = random.below(after.lens[axis] + 1);
            let is_ragged = random.below(2) == 0;
            let shape = |random: &mut Random| -> [usize; MAX_RANK] {
                std::array::from_fn(|axis| match axis < rank {
                    true => 1 + random.below([9, 6, 5, 3][axis]),
                    false => 1,
                })
            };
            let corner = |random: &mut Random| -> [usize; MAX_RANK] {
                std::array::from_fn(|other| match other < rank && other != axis {
                    true => random.below(3),
                    false => 0,
                })
            };
            let (lens, origin) = (shape(random), corner(random));
            let n_blocks = 1 + random.below(if is_ragged { 3 } else { 12 });
            let blocks: Vec<Naive> = (0..n_blocks)
                .map(|_| {
                    let lens = if is_ragged { shape(random) } else { lens };
                    let salt = random.below(1 << 30) as u64;
                    let filled = [0, 3, usize::MAX, usize::MAX][random.below(4)];
                    Naive::build(lens, |c| {
                        let n = c.iter().fold(salt, |n, &at| n.wrapping_mul(31) + at as u64);
                        if c[0] < filled { n & dtype.mask() } else { pad }
                    })
                })
                .collect();
            // A command may write what it adds at once, or in batches.
            let per_batch = 1 + random.below(blocks.len());
            for batch in blocks.chunks(per_batch) {
                let mut parts = Vec::new();
                for block in batch {
                    let origin = if is_ragged { corner(random) } else { origin };
                    let placement = edit.place(
                        axis,
                        at as u64,
                        &origin.map(|at| at as u64),
                        &block.lens.map(|len| len as u64),
                    )?;
                    after = after.insert(axis, at, &origin, block, pad);
                    at += block.lens[axis];
                    parts.push(Part::new(
                        placement,
                        Block {
                            naive: block,
                            size: dtype.size(),
                        },
                    ));
                }
                // A tiny budget makes rows of tiles go in chunks.
                let budget = [1, 4096, 1 << 20][random.below(3)];
                let outcomes = edit.write(&mut parts, budget, &|_| {})?;
                for ((outcome, part), block) in outcomes.into_iter().zip(&parts).zip(batch) {
                    let bytes: Vec<u8> = block
                        .values
                        .iter()
                        .flat_map(|value| value.to_le_bytes()[..dtype.size()].to_vec())
                        .collect();
                    let check = outcome?;
                    assert_eq!(
                        check,
                        crc32c::crc32c(&bytes),
                        "the check is of the whole frame"
                    );
                    let slots = part.placement.slots.iter();
                    let runs = slots.map(|runs| runs.iter().map(|run| Piece(run.slot, run.len)));
                    let record = Record {
                        slots: runs.map(Iterator::collect).collect(),
                        shape: block.lens.iter().map(|&len| len as u64).collect(),
                        dtype: dtype.name().into(),
                        axis: part.placement.axis,
                        check,
                        ..Record::default()
                    };
                    edit.record(record, bytes.len() as u64)?;
                }
            }
        } else if kind == 6 {
            // Positions moved to another place.
            let axis = random.below(rank);
            let from = random.below(after.lens[axis]);
            let len = 1 + random.below((after.lens[axis] - from).min(3));
            let to = random.below(after.lens[axis] - len + 1);
            edit.shift(axis, from as u64, len as u64, to as u64);
            let mut order: Vec<usize> = (0..after.lens[axis]).collect();
            let moved: Vec<usize> = order.drain(from..from + len).collect();
            order.splice(to..to, moved);
            let old = after.clone();
            after = Naive::build(after.lens, |c| {
                let mut source = *c;
                source[axis] = order[c[axis]];
                old.get(&source)
            });
        } else if kind == 7 && random.below(2) == 0 {
            // The command before is taken back.
            if let Some(before) = snapshot.previous()? {
                after = read_all(&before);
                return edit.revert(&before);
            }
        } else if kind < 9 {
            let axis = random.below(rank);
            let at = random.below(after.lens[axis]);
            let len = 1 + random.below((after.lens[axis] - at).min(3));
            let early = random.below(at + 1) as u64;
            let gone = joined(vec![(at as u64, (at + len) as u64), (early, early + 1)]);
            edit.delete_all(axis, &gone);
            for &(lo, hi) in gone.iter().rev() {
                after = after.delete(axis, lo as usize, (hi - lo) as usize);
            }
        } else {
            let mut records = Vec::new();
            snapshot.for_each_record(&mut |record| {
                records.push(record);
                Ok(())
            })?;
            let mut patches = std::collections::BTreeMap::new();
            for _ in 0..6 {
                let at = coordinates(random.below(after.values.len()), &after.lens);
                let slots: Coordinates = std::array::from_fn(|axis| {
                    snapshot.pieces(axis).slot(at[axis] as u64).unwrap()
                });
                // Nobody replaces what no frame brought.
                let has = |axis: usize, record: &Record| {
                    let mut runs = record.slots[axis].iter();
                    runs.any(|run| run.0 <= slots[axis] && slots[axis] < run.0 + run.1)
                };
                let has_all = |record: &Record| (0..MAX_RANK).all(|axis| has(axis, record));
                let Some((tile, element)) = snapshot.find(&slots)? else {
                    continue;
                };
                if !records.iter().any(has_all) {
                    continue;
                }
                let value = random.below(1 << 30) as u64 & dtype.mask();
                patches.insert((tile, element), value);
                let hit = at;
                let old = after.clone();
                after = Naive::build(after.lens, |c| if *c == hit { value } else { old.get(c) });
            }
            let mut tiles: Vec<(u64, Vec<(u32, u64)>)> = Vec::new();
            for ((tile, element), value) in patches {
                match tiles.last_mut() {
                    Some(last) if last.0 == tile => last.1.push((element, value)),
                    _ => tiles.push((tile, vec![(element, value)])),
                }
            }
            edit.patch(&tiles)?;
        }
        match random.below(2) {
            0 => edit.finish(),
            _ => edit.commit().map(|()| drop(edit)),
        }
    };
    let done = run();
    (after, done)
}

/// What may go wrong in a script.
#[derive(Clone, Copy, PartialEq)]
enum Faults {
    /// Nothing.
    None,
    /// Writes and syncs fail, and the power is cut.
    Crashes,
    /// The same, and syncs do nothing: as in a build without them.
    Lies,
}

/// Runs one script; returns how many commands were cut off, and power cuts.
fn script(seed: u64, what: Faults) -> (usize, usize) {
    let crashes = what != Faults::None;
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let dtype = [DType::U8, DType::I16, DType::F32, DType::F64, DType::U16][random.below(5)];
    let pad = [0, 0x8000, 0x7fc0_0000, 0x7ff8_0000_0000_0000][random.below(4)] & dtype.mask();
    let rank = 3 + random.below(2);
    let tile = [[4, 3, 2, 1], [5, 1, 8, 2], [1, 4, 1, 3], [8, 8, 4, 1]][random.below(4)];
    let mut catalog = Catalog::empty(dtype, pad, None, &tile, rank);
    if random.below(4) == 0 {
        catalog.mask = 0;
    }
    let mut storage = Arc::new(MemoryStorage::default());
    Writer::create(storage.clone(), [1; 16], &catalog).unwrap();
    let mut state = Naive::empty(rank);
    // Every commit seen, to be read again at the end of each step.
    let mut past: Vec<(Snapshot, Naive)> = Vec::new();
    // The state before, when the newest commit may be in the page cache alone: the
    // command that made it failed, in its last sync.
    let mut durable: Option<Naive> = None;
    let (mut cut_off, mut power_cuts) = (0, 0);
    for step in 0..3 + random.below(9) {
        let fuse = (crashes && random.below(2) == 0).then(|| random.below(60) as u64);
        // One write or sync fails, or all from then on.
        let once = random.below(2) == 0;
        let compacts = step > 0 && random.below(12) == 0;
        // A writer stores the newest superblock again and syncs, first of all.
        if !compacts && fuse.is_none_or(|operations| operations >= 2) {
            durable = None;
        }
        if what == Faults::Lies {
            storage.set_lies();
        }
        let (after, done) = if compacts {
            let done = compacted(&storage, fuse).map(|new| {
                // Whoever reads the old file keeps what was opened.
                for (old, want) in past.drain(..) {
                    assert_eq!(&read_all(&old), &want, "seed {seed} step {step}");
                }
                storage = new;
            });
            (state.clone(), done)
        } else {
            match fuse {
                Some(operations) if once => storage.set_fault(operations),
                _ => storage.set_fuse(fuse),
            }
            let made = command(&mut random, &storage, &state, pad, rank);
            storage.set_fuse(None);
            made
        };
        cut_off += usize::from(done.is_err());
        assert!(
            fuse.is_some() || done.is_ok(),
            "seed {seed} step {step}: {done:?}"
        );
        let power_cut = crashes && random.below(3) == 0;
        power_cuts += usize::from(power_cut);
        if power_cut {
            let disk = storage.after_power_cut(&mut |n| random.below(n));
            storage = Arc::new(MemoryStorage::new(disk));
        }
        let snapshot = Snapshot::open(storage.clone())
            .unwrap_or_else(|error| panic!("seed {seed} step {step}: {error}"));
        let found = read_all(&snapshot);
        if power_cut && found != state && durable.as_ref() == Some(&found) {
            // Nobody was told that the commit was made, and it was not. It may have been
            // seen in several steps.
            let generation = snapshot.catalog.generation;
            past.retain(|(old, _)| old.catalog.generation <= generation);
            state = found.clone();
        }
        let is_old = found == state;
        let is_new = found == after;
        match done.is_ok() {
            true => assert!(is_new, "seed {seed} step {step}: not what was committed"),
            // Who can write again puts the old superblock back.
            false => assert!(
                is_old || is_new && (!once || compacts),
                "seed {seed} step {step}: not old, and new is {is_new}"
            ),
        }
        durable = match done.is_ok() || power_cut {
            true => None,
            // A second failure may leave what the first had left.
            false => durable.or(is_new.then_some(state)),
        };
        state = found;
        let mut faults = deep(&storage);
        faults.retain(|fault| !fault.notice);
        assert!(faults.is_empty(), "seed {seed} step {step}: {faults:?}");
        for _ in 0..3 {
            let spans = random_spans(&mut random, &state);
            let want = Naive::build(spans.map(|span| span.len as usize), |c| {
                let at = std::array::from_fn(|axis| spans[axis].at(c[axis] as u64) as usize);
                state.get(&at)
            });
            assert_eq!(
                read_spans(&snapshot, &spans),
                want,
                "seed {seed} step {step}"
            );
        }
        if power_cut {
            // What readers had open is gone with the power; what they had
            // committed is not.
            for (old, _) in &mut past {
                let extent = old.extent;
                *old = Snapshot::at(storage.clone(), &extent, storage.len().unwrap()).unwrap();
            }
        }
        past.push((snapshot, state.clone()));
        for (number, (old, want)) in past.iter().enumerate() {
            assert_eq!(
                &read_all(old),
                want,
                "seed {seed} step {step}: commit {number} changed"
            );
        }
    }
    (cut_off, power_cuts)
}

/// How many scripts: more on demand, such as `CUBE_MODEL_SCRIPTS=100000`.
fn scripts(default: u64) -> u64 {
    let asked = std::env::var("CUBE_MODEL_SCRIPTS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn random_edits_agree_with_a_naive_array() {
    for seed in 0..scripts(250) {
        script(seed, Faults::None);
    }
}

/// Appends a block to an axis.
fn append(storage: &Arc<MemoryStorage>, axis: usize, naive: &Naive) -> Result<()> {
    let mut writer = Writer::open(storage.clone())?;
    let mut edit = writer.edit(Command::default())?;
    let at = edit.len(axis);
    let shape = naive.lens.map(|len| len as u64);
    let placement = edit.place(axis, at, &[0; MAX_RANK], &shape)?;
    let mut parts = [Part::new(placement, Block { naive, size: 1 })];
    for outcome in edit.write(&mut parts, 4096, &|_| {})? {
        outcome?;
    }
    drop(parts);
    edit.finish()
}

fn block(lens: [usize; 3], value: impl Fn(&[usize; MAX_RANK]) -> u64) -> Naive {
    let lens = std::array::from_fn(|axis| lens.get(axis).copied().unwrap_or(1));
    Naive::build(lens, value)
}

fn empty_bytes(tile: &[u64]) -> Arc<MemoryStorage> {
    let catalog = Catalog::empty(DType::U8, 0, None, tile, 3);
    let storage = Arc::new(MemoryStorage::default());
    Writer::create(storage.clone(), [1; 16], &catalog).unwrap();
    storage
}

/// A cube of three layers of full tiles, and a command that adds a frame: to tiles
/// that are new, and that the index has room for.
fn small() -> (
    Arc<MemoryStorage>,
    impl Fn(&Arc<MemoryStorage>) -> Result<()>,
) {
    let storage = empty_bytes(&[2, 2, 4]);
    let add = |storage: &Arc<MemoryStorage>| {
        let at = Snapshot::open(storage.clone())?.pieces(2).len();
        append(storage, 2, &block([3, 3, 1], |c| 1 + at + c[0] as u64))
    };
    for _ in 0..12 {
        add(&storage).unwrap();
    }
    (storage, add)
}

#[test]
fn an_axis_of_more_tiles_than_memory_could_hold_is_not_made_and_not_opened() {
    let storage = empty_bytes(&[2, 2, 4]);
    append(&storage, 2, &block([2, 2, 1], |_| 1)).unwrap();
    let before = storage.contents();
    // The last position that there may be, and the next.
    let most = 2 * crate::format::MAX_AXIS_TILES;
    let place = |origin: u64| -> Result<()> {
        let mut writer = Writer::open(storage.clone())?;
        let mut edit = writer.edit(Command::default())?;
        let mut at = [0; MAX_RANK];
        at[0] = origin;
        edit.place(2, 0, &at, &[1; MAX_RANK])?;
        edit.finish()
    };
    let error = place(most).unwrap_err();
    assert_eq!(
        error.to_string(),
        "axis x would have 16777217 positions, 8388609 tiles of 2: more than 8388608"
    );
    assert!(error.hint_text().unwrap().contains("--origin"));
    assert_eq!(storage.contents(), before);
    place(most - 1).unwrap();
    assert_eq!(Snapshot::open(storage).unwrap().shape(), [most, 2, 2]);
    let long = Pieces::new(&[Piece(0, most + 1)]);
    let error = long.check(0, 2).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Unsupported);
}

#[test]
fn whatever_is_lost_of_a_command_that_died_the_commit_before_reads() {
    let storage = empty_bytes(&[8, 8, 8]);
    // Its last columns are pad, so the tile that they are in stays void.
    let first = block([10, 8, 8], |c| if c[0] < 8 { 7 } else { 0 });
    append(&storage, 2, &first).unwrap();
    let (bytes, old) = (
        storage.contents(),
        read_all(&Snapshot::open(storage).unwrap()),
    );
    // So little of that tile that no disk is reserved for the rest of it.
    let more = block([1, 1, 1], |_| 9);
    let mut tried = 0;
    for operations in 0.. {
        let storage = Arc::new(MemoryStorage::new(bytes.clone()));
        storage.set_fuse(Some(operations));
        let done = append(&storage, 0, &more).is_ok();
        for lost in 0..1 << 7 {
            let mut number = 0;
            let disk = storage.after_power_cut(&mut |n| {
                number += 1;
                if lost >> (number - 1).min(6) & 1 == 1 {
                    n - 1
                } else {
                    0
                }
            });
            let snapshot = Snapshot::open(Arc::new(MemoryStorage::new(disk))).unwrap();
            if snapshot.pieces(0).len() == 10 {
                assert!(!done, "it was committed");
                assert_eq!(read_all(&snapshot), old, "operation {operations}, {lost:b}");
                tried += 1;
            }
        }
        if done {
            break;
        }
    }
    assert!(tried > 500);
}

#[test]
fn one_failing_write_or_sync_leaves_the_old_state_and_the_next_command_works() {
    let (before, add) = small();
    let bytes = before.contents();
    let old = read_all(&Snapshot::open(before).unwrap());
    let mut failed = 0;
    loop {
        let storage = Arc::new(MemoryStorage::new(bytes.clone()));
        storage.set_fault(failed);
        if add(&storage).is_ok() {
            break;
        }
        let found = read_all(&Snapshot::open(storage.clone()).unwrap());
        assert_eq!(found, old, "operation {failed}");
        // What the failed sync lost is lost, though it can still be read.
        add(&storage).unwrap();
        let new = read_all(&Snapshot::open(storage.clone()).unwrap());
        for choice in 0..5 {
            let disk = storage.after_power_cut(&mut |n| choice % n);
            let disk = Arc::new(MemoryStorage::new(disk));
            let found = read_all(&Snapshot::open(disk).unwrap());
            assert_eq!(found, new, "operation {failed}, committed and lost");
        }
        failed += 1;
    }
    assert!(failed > 10, "{failed} operations");
}

#[test]
fn what_a_command_that_died_has_left_is_taken_back_by_the_next() {
    let (before, add) = small();
    let bytes = before.contents();
    add(&before).unwrap();
    let (len, marks) = (before.len().unwrap(), |storage: &Arc<MemoryStorage>| {
        Writer::open(storage.clone()).unwrap().superblock.marks
    });
    let expected = marks(&before);
    let (mut same, mut left) = (0, 0);
    for operations in 0.. {
        let storage = Arc::new(MemoryStorage::new(bytes.clone()));
        storage.set_fuse(Some(operations));
        let done = add(&storage).is_ok();
        storage.set_fuse(None);
        if done {
            break;
        }
        // Some of these were committed, or their tiles are in the index.
        let whole = Snapshot::open(storage.clone()).unwrap().pieces(2).len() == 13;
        if !whole {
            add(&storage).unwrap();
        }
        match (storage.len().unwrap() == len, marks(&storage) == expected) {
            (true, true) => same += 1,
            _ => left += 1,
        }
    }
    assert!(
        same > 2 * left && left > 0,
        "{same} the same, {left} larger"
    );
}

#[test]
fn a_superblock_that_is_gone_or_older_than_the_other_allows_is_told() {
    let (storage, _) = small();
    let whole = storage.contents();
    let told = |bytes: Vec<u8>| {
        let storage = Arc::new(MemoryStorage::new(bytes));
        let snapshot = Snapshot::open(storage.clone()).unwrap();
        // These frames have no records, so void is not what it should be.
        let found: Vec<_> = deep(&storage).into_iter().filter(|f| f.notice).collect();
        assert_eq!(snapshot.notice().is_some(), !found.is_empty());
        !found.is_empty()
    };
    assert!(!told(whole.clone()));
    for (from, to) in [(0, 4096), (4096, 0)] {
        let mut bytes = whole.clone();
        bytes.copy_within(from..from + 4096, to);
        assert!(told(bytes), "both are the same");
        let mut bytes = whole.clone();
        bytes[to..to + 4096].fill(0);
        assert!(told(bytes), "one is zero");
    }
}

#[test]
fn a_commit_that_is_not_older_is_no_way_back() {
    let (storage, _) = small();
    let newest = Snapshot::open(storage.clone()).unwrap();
    let mut liar = newest.catalog().clone();
    liar.previous = Some(newest.extent);
    let bytes = liar.encode().unwrap();
    let extent = Extent {
        at: storage.len().unwrap(),
        bytes: bytes.len() as u64,
        check: crc32c::crc32c(&bytes),
    };
    storage.write(extent.at, &bytes).unwrap();
    let committed = storage.len().unwrap();
    let snapshot = Snapshot::at(storage, &extent, committed).unwrap();
    let error = snapshot.previous().err().unwrap().to_string();
    assert_eq!(error, "generation 12 names generation 12 as the one before");
}

#[test]
fn a_superblock_that_cannot_be_read_stops_a_writer_and_warns_a_reader() {
    let (storage, add) = small();
    let newest = Snapshot::open(storage.clone()).unwrap();
    let bytes = storage.contents();
    for at in [100, 4196] {
        storage.set_unreadable(Some(at));
        // Whichever of the two it is.
        let error = add(&storage).unwrap_err();
        assert!(error.to_string().contains("cannot read"), "{error}");
        let error = Snapshot::open_to_replace(storage.clone()).err().unwrap();
        assert!(error.hint_text().unwrap().contains("newest commit"));
        assert_eq!(storage.contents(), bytes, "nothing was written");
        let found = Snapshot::open(storage.clone()).unwrap();
        assert!(found.notice().unwrap().contains("cannot be read"));
        let generation = found.catalog().generation;
        assert!(generation <= newest.catalog().generation);
    }
    storage.set_unreadable(None);
    add(&storage).unwrap();
}

#[test]
#[allow(clippy::print_stderr, reason = "how much was tried is told on demand")]
fn a_crash_leaves_the_old_state_or_the_new_and_every_commit_before() {
    let (mut cut_off, mut power_cuts) = (0, 0);
    let n = scripts(1500);
    for seed in 0..n {
        let done = script(seed + 1_000_000, Faults::Crashes);
        cut_off += done.0;
        power_cuts += done.1;
    }
    assert!(cut_off > 100, "the fuse burned only {cut_off} times");
    if std::env::var_os("CUBE_MODEL_SCRIPTS").is_some() {
        eprintln!("{n} scripts: {power_cuts} power cuts, {cut_off} failing commands");
    }
}

#[test]
fn a_build_without_syncs_is_caught() {
    // Else the test above could not fail.
    let caught = |seed: &u64| std::panic::catch_unwind(|| script(*seed, Faults::Lies)).is_err();
    let n = 60;
    let caught = (0..n).filter(caught).count();
    assert!(caught > 10, "{caught} of {n}");
}
