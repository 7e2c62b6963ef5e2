//! Golden cubes: files of every format version that a program of today must read.
//!
//! `testdata/golden/format-N` holds cubes and, beside each, what is in it. What is
//! in it comes from a naive array, not from reading the cube. `CUBE_BLESS=1`
//! makes those of the newest format anew; ids and times are fixed, so what changes in
//! the diff is what changed in the writer.

// Helpers of tests may stop them; their arrays are small.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::Arc;

use cube::dtype::DType;
use cube::engine::commit::Writer;
use cube::engine::index;
use cube::engine::snapshot::Snapshot;
use cube::engine::write::{Part, Samples};
use cube::format::catalog::{Catalog, Command, Piece};
use cube::format::ledger::{Record, cards_to_text};
use cube::format::superblock::SUPERBLOCK_AT;
use cube::format::{FORMAT, PAGE, entry};
use cube::region::{MAX_RANK, Span};
use cube::storage::Storage;
use cube::storage::file::FileStorage;
use cube::storage::memory::MemoryStorage;
use serde_json::{Value, json};

type Shape = [u64; MAX_RANK];

/// Where the golden cubes of the newest format are.
pub(crate) fn folder() -> PathBuf {
    folder_of(FORMAT)
}

fn folder_of(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/golden/format-{format}"))
}

/// A dense array of samples' bits, x fastest.
#[derive(Clone)]
struct Array {
    lens: Shape,
    bits: Vec<u64>,
}

impl Array {
    fn build(lens: Shape, bits: impl Fn(&Shape) -> u64) -> Array {
        let total = lens.iter().product();
        let bits = (0..total).map(|n| bits(&coordinates(n, &lens))).collect();
        Array { lens, bits }
    }

    fn get(&self, at: &Shape) -> Option<u64> {
        let mut n = 0;
        for axis in (0..MAX_RANK).rev() {
            if at[axis] >= self.lens[axis] {
                return None;
            }
            n = n * self.lens[axis] + at[axis];
        }
        Some(self.bits[n as usize])
    }

    fn insert(&self, axis: usize, at: u64, origin: &Shape, frame: &Array, pad: u64) -> Array {
        let more = frame.lens[axis];
        let lens = std::array::from_fn(|other| match other == axis {
            true => self.lens[axis] + more,
            false => self.lens[other].max(origin[other] + frame.lens[other]),
        });
        Array::build(lens, |c| {
            let mut from = *c;
            let found = if (at..at + more).contains(&c[axis]) {
                for other in 0..MAX_RANK {
                    let first = if other == axis { at } else { origin[other] };
                    from[other] = c[other].wrapping_sub(first);
                }
                frame.get(&from)
            } else {
                from[axis] -= if c[axis] < at { 0 } else { more };
                self.get(&from)
            };
            found.unwrap_or(pad)
        })
    }

    fn delete(&self, axis: usize, at: u64, len: u64) -> Array {
        let mut lens = self.lens;
        lens[axis] -= len;
        Array::build(lens, |c| {
            let mut from = *c;
            from[axis] += if c[axis] < at { 0 } else { len };
            self.get(&from).unwrap()
        })
    }
}

fn coordinates(mut n: u64, lens: &Shape) -> Shape {
    lens.map(|len| {
        let at = n % len;
        n /= len;
        at
    })
}

fn full(lens: &[u64], fill: u64) -> Shape {
    std::array::from_fn(|axis| lens.get(axis).copied().unwrap_or(fill))
}

struct Source<'a>(&'a Array, usize);

impl Samples for Source<'_> {
    fn read(&mut self, first: u64, out: &mut [u8]) -> cube::error::Result<()> {
        for (sample, bits) in out
            .chunks_exact_mut(self.1)
            .zip(&self.0.bits[first as usize..])
        {
            sample.copy_from_slice(&bits.to_le_bytes()[..self.1]);
        }
        Ok(())
    }
}

/// A cube in memory and the array that it should be.
struct Maker {
    storage: Arc<MemoryStorage>,
    array: Array,
    dtype: DType,
    pad: u64,
    frames: u64,
    commands: u64,
}

impl Maker {
    fn new(catalog: &Catalog) -> Maker {
        let storage = Arc::new(MemoryStorage::default());
        let mut catalog = catalog.clone();
        catalog.command = command("create", 0);
        Writer::create(storage.clone(), *b"a golden cube id", &catalog).unwrap();
        Maker {
            storage,
            array: Array {
                lens: full(&vec![0; catalog.axes.len()], 1),
                bits: Vec::new(),
            },
            dtype: catalog.dtype,
            pad: catalog.pad,
            frames: 0,
            commands: 0,
        }
    }

    fn begin(&mut self, verb: &str) -> (Writer, Command) {
        self.commands += 1;
        let writer = Writer::open(self.storage.clone()).unwrap();
        (writer, command(verb, self.commands))
    }

    /// A frame whose samples tell which they are: `100 (frame + 1) + n`, and what
    /// is odd about floats in its first ones.
    fn frame(&mut self, lens: &[u64]) -> Array {
        self.frames += 1;
        let (dtype, base) = (self.dtype, 100 * self.frames);
        let lens = full(lens, 1);
        let mut frame = Array::build(lens, |_| 0);
        for (value, bits) in (base..).zip(&mut frame.bits) {
            let parsed = dtype.parse(&value.to_string());
            *bits = parsed.unwrap_or(value) & dtype.mask();
        }
        let odd: &[u64] = match dtype {
            DType::F32 => &[0x7fc0_0123, 0x8000_0000, 0x7f80_0000, 0xff80_0001, 1],
            DType::F64 => &[0x7ff8_0000_0000_0123, 1 << 63, 0x7ff0_0000_0000_0000],
            _ => &[],
        };
        for (bits, odd) in frame.bits.iter_mut().zip(odd) {
            *bits = *odd;
        }
        frame
    }

    fn insert(&mut self, axis: usize, at: u64, shapes: &[&[u64]]) {
        self.insert_from(axis, at, &[], shapes);
    }

    /// One command: frames put in before `at`, one after the other.
    fn insert_from(&mut self, axis: usize, at: u64, origin: &[u64], shapes: &[&[u64]]) {
        let origin = full(origin, 0);
        let before = self.frames;
        let frames: Vec<Array> = shapes.iter().map(|shape| self.frame(shape)).collect();
        let verb = if at == self.array.lens[axis] {
            "append"
        } else {
            "insert"
        };
        let (mut writer, command) = self.begin(verb);
        let mut edit = writer.edit(command).unwrap();
        let mut parts = Vec::new();
        let mut position = at;
        for frame in &frames {
            let placement = edit.place(axis, position, &origin, &frame.lens).unwrap();
            parts.push(Part::new(placement, Source(frame, self.dtype.size())));
            self.array = self.array.insert(axis, position, &origin, frame, self.pad);
            position += frame.lens[axis];
        }
        let outcomes = edit.write(&mut parts, 1 << 20, &|_| {}).unwrap();
        for (n, ((part, outcome), shape)) in parts.iter().zip(outcomes).zip(shapes).enumerate() {
            let number = before + n as u64;
            let slots = part.placement.slots.iter();
            let runs = slots.map(|runs| runs.iter().map(|run| Piece(run.slot, run.len)));
            let record = Record {
                source: format!("frames/{number:04}.fits"),
                file_bytes: 2880 * (number + 2),
                modified: Some(1_700_000_000_000_000_000 + i128::from(number)),
                shape: shape.to_vec(),
                dtype: self.dtype.name().into(),
                axis,
                slots: runs.map(Iterator::collect).collect(),
                check: outcome.unwrap(),
                cards: cards(number),
                ..Record::default()
            };
            let bytes = shape.iter().product::<u64>() * self.dtype.size() as u64;
            edit.record(record, bytes).unwrap();
        }
        edit.finish().unwrap();
    }

    fn delete(&mut self, axis: usize, at: u64, len: u64) {
        self.delete_all(axis, &[(at, len)]);
    }

    /// One command: runs of positions taken away, each as it is after the others.
    fn delete_all(&mut self, axis: usize, runs: &[(u64, u64)]) {
        let (mut writer, command) = self.begin("delete");
        let mut edit = writer.edit(command).unwrap();
        for &(at, len) in runs {
            edit.delete(axis, at, len);
            self.array = self.array.delete(axis, at, len);
        }
        edit.finish().unwrap();
    }

    /// Replaces the samples at these positions; those in void tiles stay.
    fn patch(&mut self, patches: &[(&[u64], u64)]) {
        let (mut writer, command) = self.begin("clean");
        let snapshot = writer.snapshot().unwrap();
        let mut edit = writer.edit(command).unwrap();
        let mut tiles: BTreeMap<u64, BTreeMap<u32, u64>> = BTreeMap::new();
        for &(at, bits) in patches {
            let at = full(at, 0);
            let slots = std::array::from_fn(|axis| {
                let pieces = snapshot.pieces(axis);
                pieces.slot(at[axis]).expect("the position is on the axis")
            });
            let (tile, element) = snapshot.find(&slots).unwrap().expect("not in a void tile");
            tiles.entry(tile).or_default().insert(element, bits);
            let old = self.array.clone();
            self.array = Array::build(old.lens, |c| match *c == at {
                true => bits,
                false => old.get(c).unwrap(),
            });
        }
        let tiles = tiles.into_iter();
        let tiles = tiles.map(|(at, set)| (at, set.into_iter().collect()));
        edit.patch(&tiles.collect::<Vec<_>>()).unwrap();
        edit.finish().unwrap();
    }

    /// A command that reserves slots, writes a frame to them, and dies.
    fn die(&mut self, axis: usize, shape: &[u64]) {
        let frame = self.frame(shape);
        self.frames -= 1;
        let (mut writer, command) = self.begin("append");
        let mut edit = writer.edit(command).unwrap();
        let at = self.array.lens[axis];
        let placement = edit.place(axis, at, &[0; MAX_RANK], &frame.lens).unwrap();
        let mut parts = [Part::new(placement, Source(&frame, self.dtype.size()))];
        edit.write(&mut parts, 1 << 20, &|_| {}).unwrap();
        drop(parts);
        drop(edit);
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::open(self.storage.clone()).unwrap()
    }

    /// What is in the cube, for people and for other programs' tests.
    fn expected(&self) -> String {
        let rank = self.snapshot().shape().len();
        let digits = 2 * self.dtype.size();
        let rows = self.array.bits.chunks(self.array.lens[0].max(1) as usize);
        let rows: Vec<String> = rows
            .map(|row| {
                let row: Vec<String> = row.iter().map(|bits| format!("{bits:0digits$x}")).collect();
                row.join(" ")
            })
            .collect();
        let mut text = serde_json::to_string_pretty(&json!({
            "dtype": self.dtype.name(),
            "shape": self.array.lens[..rank],
            "records": self.frames,
            "rows": rows,
        }))
        .unwrap();
        text.push('\n');
        text
    }
}

fn command(verb: &str, number: u64) -> Command {
    Command {
        verb: verb.into(),
        line: format!("cube {verb} golden.cube"),
        time: format!("2026-01-01T00:{number:02}:00Z"),
        ..Command::default()
    }
}

/// Two cards; one has a byte that is no ASCII.
fn cards(number: u64) -> String {
    let mut bytes = format!("{:<80}", format!("FRAMENO = {number:>20}")).into_bytes();
    bytes.extend(format!("{:<80}", "OBSERVER= 'Angstr?m'").into_bytes());
    let odd = bytes.iter().position(|&byte| byte == b'?').unwrap();
    bytes[odd] = 0xf6;
    cards_to_text(&bytes)
}

const NAN32: u64 = 0x7fc0_0000;

/// One golden cube: its name, and how it is made.
type Golden = (&'static str, fn() -> Maker);

const GOLDENS: [Golden; 11] = [
    ("empty", || {
        Maker::new(&Catalog::empty(DType::I64, 1 << 63, None, &[4, 4, 4], 3))
    }),
    ("float32-ragged", || {
        let mut maker = Maker::new(&Catalog::empty(DType::F32, NAN32, None, &[16, 8, 8], 3));
        maker.insert(2, 0, &[&[13, 9], &[10, 6]]);
        maker.insert(2, 2, &[&[17, 5]]);
        maker.insert_from(2, 3, &[2, 3], &[&[3, 2]]);
        maker
    }),
    ("uint16", || {
        // A tile of 8640 bytes, so that the next is 12288 away.
        let mut maker = Maker::new(&Catalog::empty(DType::U16, 0, None, &[24, 18, 10], 3));
        maker.insert(2, 0, &[&[26, 19], &[26, 19], &[26, 19]]);
        maker
    }),
    ("int16-blank", || {
        let mut maker = Maker::new(&Catalog::empty(
            DType::I16,
            0x8000,
            Some(-32768),
            &[8, 8, 8],
            3,
        ));
        maker.insert(2, 0, &[&[9, 7], &[5, 8, 2]]);
        maker
    }),
    ("pieces", || {
        let mut maker = Maker::new(&Catalog::empty(DType::F32, NAN32, None, &[8, 8, 4], 3));
        maker.insert(2, 0, &[&[7, 6], &[7, 6], &[7, 6]]);
        maker.insert(2, 0, &[&[7, 6], &[7, 6]]);
        maker.insert(2, 3, &[&[7, 6]]);
        // A strip between the columns, beside all frames but the last.
        maker.insert(0, 4, &[&[3, 6, 5]]);
        maker.insert(1, 0, &[&[10, 1, 6]]);
        maker
    }),
    ("deleted", || {
        let mut maker = Maker::new(&Catalog::empty(DType::U8, 0, None, &[8, 4, 4], 3));
        maker.insert(
            2,
            0,
            &[&[9, 7], &[9, 7], &[9, 7], &[9, 7], &[9, 7], &[9, 7]],
        );
        maker.delete(2, 1, 1);
        maker.delete(2, 3, 2);
        maker.delete(0, 4, 2);
        maker
    }),
    ("patches", || {
        let mut maker = Maker::new(&Catalog::empty(DType::F32, NAN32, None, &[8, 8, 4], 3));
        maker.insert(2, 0, &[&[9, 6], &[9, 6]]);
        maker.patch(&[
            (&[0, 0, 0], 0x3f80_0000),
            (&[1, 0, 0], 0x4000_0000),
            (&[8, 5, 1], 0x4040_0000),
        ]);
        // The positions of the patched samples move.
        maker.insert(2, 0, &[&[9, 6]]);
        maker.patch(&[(&[1, 0, 1], NAN32), (&[2, 0, 1], 0xff80_0000)]);
        maker
    }),
    ("piece-table", || {
        // More pieces than a catalog lists, and changes since they were.
        let mut maker = Maker::new(&Catalog::empty(DType::I16, 0x8000, None, &[2, 1, 64], 3));
        maker.insert(2, 0, &[&[2, 1, 150]]);
        let every_other: Vec<(u64, u64)> = (0..70).map(|n| (n + 1, 1)).collect();
        maker.delete_all(2, &every_other);
        maker.insert(2, 3, &[&[2, 1], &[1, 1]]);
        maker.delete_all(2, &[(5, 2), (0, 1)]);
        maker
    }),
    ("rank-4", || {
        // Tiles without a mask, as they are in a cube that was compacted.
        let pad = 0x7ff8_0000_0000_0000;
        let mut catalog = Catalog::empty(DType::F64, pad, None, &[4, 4, 2, 2], 4);
        catalog.mask = 0;
        let mut maker = Maker::new(&catalog);
        maker.insert(3, 0, &[&[5, 3, 2, 1], &[5, 3, 2, 2]]);
        maker.insert(3, 1, &[&[2, 4, 3]]);
        maker
    }),
    ("plain", || {
        // Tiles that the frames of one command fill, void beside them, and one that
        // they do not.
        let mut maker = Maker::new(&Catalog::empty(DType::F32, NAN32, None, &[4, 4, 2], 3));
        maker.insert_from(2, 0, &[1, 0], &[&[5, 3], &[2, 3], &[5, 3]]);
        // Fills what is left, with the mask that the tile has.
        maker.insert(2, 1, &[&[6, 4]]);
        maker.insert(0, 0, &[&[2, 4, 4], &[2, 4, 4]]);
        maker.patch(&[(&[0, 0, 0], NAN32), (&[5, 0, 0], 0x3f80_0000)]);
        maker
    }),
    ("ledger", || {
        let mut maker = Maker::new(&Catalog::empty(DType::I32, 0xffff_ffff, None, &[32, 32], 3));
        for n in 0..11 {
            maker.insert(1, n, &[&[6]]);
        }
        maker
    }),
];

/// A cube as power cuts left it: slots that a dead command reserved, tiles it wrote,
/// index entries whole and torn at either end, and a torn superblock.
fn crashed() -> Maker {
    let mut maker = Maker::new(&Catalog::empty(DType::F32, NAN32, None, &[8, 8, 8], 3));
    maker.insert(2, 0, &[&[9, 6], &[9, 6]]);
    maker.die(2, &[9, 6]);
    // Beside the new tiles of this frame there are void ones.
    maker.insert(2, 2, &[&[7, 28]]);
    let catalog = maker.snapshot().catalog().clone();
    let void = |tile: [u64; 3]| {
        let tile = full(&tile, 0);
        let place = index::locate(&catalog.index, &tile).unwrap();
        let bytes = maker.storage.read(place, 16).unwrap();
        assert!(bytes.iter().all(|&byte| byte == 0), "{tile:?} is not void");
        (place, tile)
    };
    let end = maker.storage.len().unwrap();
    maker.storage.extend(end + PAGE).unwrap();
    let (place, tile) = void([1, 1, 0]);
    maker
        .storage
        .write(place, &entry::encode(&tile, end, false))
        .unwrap();
    let (place, tile) = void([1, 2, 0]);
    let torn = entry::encode(&tile, end, false);
    maker.storage.write(place, &torn[..10]).unwrap();
    let (place, tile) = void([1, 3, 0]);
    let torn = entry::encode(&tile, end, false);
    maker.storage.write(place + 9, &torn[9..]).unwrap();
    // The superblock of the commit before the last, cut off in the middle.
    let sequence = |at| maker.storage.read(at + 32, 8).unwrap().to_vec();
    let older = usize::from(sequence(SUPERBLOCK_AT[0]) > sequence(SUPERBLOCK_AT[1]));
    let newer = maker.storage.read(SUPERBLOCK_AT[1 - older], 70).unwrap();
    maker.storage.write(SUPERBLOCK_AT[older], &newer).unwrap();
    maker.storage.sync().unwrap();
    maker
}

#[test]
fn an_entry_that_was_torn_may_be_torn_again() {
    let expected: Value = serde_json::from_str(&crashed().expected()).unwrap();
    let mut seed = 1u64;
    let mut below = |n: usize| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) as usize % n.max(1)
    };
    for fuse in 0.. {
        let mut maker = crashed();
        // Fills the void tiles, whose entries are torn.
        let frame = maker.frame(&[16, 32]);
        let done = (|| {
            maker.storage.set_fuse(Some(fuse));
            let (mut writer, command) = (Writer::open(maker.storage.clone())?, command("", 9));
            let mut edit = writer.edit(command)?;
            let placement = edit.place(2, 3, &[0; MAX_RANK], &frame.lens)?;
            let mut parts = [Part::new(placement, Source(&frame, 4))];
            edit.write(&mut parts, 1 << 20, &|_| {})?;
            edit.finish()
        })();
        if done.is_ok() {
            assert!(fuse > 10);
            return;
        }
        for _ in 0..300 {
            let disk = maker.storage.after_power_cut(&mut below);
            let disk = Arc::new(MemoryStorage::new(disk));
            let snapshot = Snapshot::open(disk).unwrap();
            if snapshot.shape()[2] == 3 {
                compare(&format!("operation {fuse}"), &snapshot, &expected);
            }
        }
    }
}

fn goldens() -> Vec<Golden> {
    let mut goldens = GOLDENS.to_vec();
    goldens.push(("crashed", crashed));
    goldens
}

fn bless() -> bool {
    std::env::var_os("CUBE_BLESS").is_some()
}

#[test]
fn golden_cubes_are_read_as_they_were_written() {
    let folder = folder();
    for (name, make) in goldens() {
        let made = make();
        let (cube, about) = (format!("{name}.cube"), format!("{name}.json"));
        if bless() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(&cube), made.storage.contents()).unwrap();
            std::fs::write(folder.join(&about), made.expected()).unwrap();
        }
        for format in 1..=FORMAT {
            let folder = folder_of(format);
            let Ok(expected) = std::fs::read_to_string(folder.join(&about)) else {
                assert!(format < FORMAT, "{about} is missing");
                continue;
            };
            let expected: Value = serde_json::from_str(&expected).unwrap();
            let file = FileStorage::open(&folder.join(&cube)).unwrap();
            let snapshot = Snapshot::open(Arc::new(file)).unwrap();
            assert_eq!(snapshot.catalog().cube, format);
            compare(&format!("{name}, {format}"), &snapshot, &expected);
            // The same edits by the writer of today, whatever bytes it makes of them.
            compare(&format!("{name}, made anew"), &made.snapshot(), &expected);
        }
    }
}

#[test]
fn a_cube_of_an_older_format_is_written_to_and_is_of_the_newest_then() {
    for (name, _) in goldens() {
        let path = folder_of(1).join(format!("{name}.cube"));
        let Ok(bytes) = std::fs::read(path) else {
            continue;
        };
        let storage = Arc::new(MemoryStorage::new(bytes));
        let before = Snapshot::open(storage.clone()).unwrap();
        let rank = before.shape().len();
        let (axis, len) = (rank - 1, before.shape()[rank - 1]);
        let (dtype, pad) = (before.catalog().dtype, before.catalog().pad);
        // Enough for whole tiles, which is what the format before had not.
        let lens: Shape = std::array::from_fn(|other| match before.catalog().tile[other] {
            tile if other == axis => 2 * tile,
            _ => 1,
        });
        let frame = Array::build(lens, |at| (1 + at[axis]) & dtype.mask());
        let mut writer = Writer::open(storage.clone()).unwrap();
        let mut edit = writer.edit(command("append", 9)).unwrap();
        let placement = edit.place(axis, len, &[0; MAX_RANK], &frame.lens).unwrap();
        let mut parts = [Part::new(placement, Source(&frame, dtype.size()))];
        edit.write(&mut parts, 1 << 20, &|_| {}).unwrap();
        drop(parts);
        edit.finish().unwrap();
        let after = Snapshot::open(storage).unwrap();
        assert_eq!(after.catalog().cube, FORMAT, "{name}");
        let samples = |snapshot: &Snapshot, start: u64, len: u64| {
            let mut spans: Vec<Span> = after.shape().iter().map(|&len| Span::run(0, len)).collect();
            spans[axis] = Span::run(start, len);
            let shown = spans.iter().map(|span| span.len).product::<u64>();
            let mut bytes = vec![0; shown as usize * dtype.size()];
            snapshot.read(&spans, &mut bytes).unwrap();
            bytes
        };
        if len > 0 {
            assert_eq!(samples(&before, 0, len), samples(&after, 0, len), "{name}");
        }
        let more = frame.lens[axis];
        let new = samples(&after, len, more);
        let pitch: u64 = after.shape()[..axis].iter().product();
        for (at, sample) in (0u64..).zip(new.chunks_exact(dtype.size())) {
            let expected = match at % pitch {
                0 => (1 + at / pitch) & dtype.mask(),
                _ => pad,
            };
            assert_eq!(dtype.bits_at(sample), expected, "{name}, {at}");
        }
    }
}

#[test]
fn every_file_among_the_goldens_has_a_test() {
    let known = goldens();
    let files = (1..=FORMAT).flat_map(|format| std::fs::read_dir(folder_of(format)).unwrap());
    for file in files {
        let path = file.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            known.iter().any(|&(name, _)| name == stem),
            "{}: add it to GOLDENS in tests/it/golden.rs or remove it",
            path.display()
        );
        let bytes = path.metadata().unwrap().len();
        assert!(bytes < 100_000, "{}: {bytes} bytes", path.display());
    }
}

fn compare(name: &str, snapshot: &Snapshot, expected: &Value) {
    let dtype = snapshot.catalog().dtype;
    assert_eq!(json!(dtype.name()), expected["dtype"], "{name}");
    let shape = snapshot.shape();
    assert_eq!(json!(shape), expected["shape"], "{name}");
    let spans: Vec<Span> = shape.iter().map(|&len| Span::run(0, len)).collect();
    let samples = shape.iter().product::<u64>() as usize;
    let mut bytes = vec![0x5a; samples * dtype.size()];
    snapshot.read(&spans, &mut bytes).unwrap();
    let found: Vec<u64> = bytes
        .chunks_exact(dtype.size())
        .map(|sample| dtype.bits_at(sample))
        .collect();
    let rows = expected["rows"].as_array().unwrap();
    let wanted: Vec<u64> = rows
        .iter()
        .flat_map(|row| row.as_str().unwrap().split(' '))
        .map(|word| u64::from_str_radix(word, 16).unwrap())
        .collect();
    assert_eq!(found, wanted, "{name}");
    let mut records = 0;
    let each = &mut |record: Record| {
        assert_eq!(record.cards, cards(records), "{name}");
        records += 1;
        Ok(())
    };
    snapshot.for_each_record(each).unwrap();
    assert_eq!(json!(records), expected["records"], "{name}");
}

/// Runs the independent reader; `None` when there is no Python.
fn reader(arguments: &[&Path]) -> Option<std::process::Output> {
    let asked = std::env::var_os("CUBE_PYTHON");
    let python = asked.clone().unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/reader.py");
    let run = Process::new(&python).arg(script).args(arguments).output();
    match run {
        Ok(output) => Some(output),
        Err(error) if asked.is_none() => {
            // Past the capture of output, so that a test that passes says it too.
            let said = format!(
                "SKIPPED: no python3 for tests/it/reader.py ({error}); CUBE_PYTHON names one"
            );
            let _ = writeln!(std::io::stderr(), "{said}");
            None
        }
        Err(error) => panic!("CUBE_PYTHON is {}: {error}", python.display()),
    }
}

#[test]
fn a_reader_written_from_the_specification_alone_agrees() {
    for (format, (name, _)) in (1..=FORMAT).flat_map(|n| goldens().into_iter().map(move |g| (n, g)))
    {
        let [cube, about] =
            ["cube", "json"].map(|end| folder_of(format).join(format!("{name}.{end}")));
        if format < FORMAT && !cube.exists() {
            continue;
        }
        let Some(output) = reader(&[&cube, &about]) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}, {format}: {said}");
    }
}
