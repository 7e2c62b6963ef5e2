//! What is fuzzed: bytes in, and nothing may panic, hang or allocate without
//! bound. Errors are what is expected.
//!
//! `cargo +nightly fuzz run cube corpus/cube ../testdata/golden/format-2` runs one
//! of them; `tests/it/corpus.rs` runs what was kept of each with every `cargo test`.

#![allow(missing_docs, unreachable_pub, reason = "a test has this as a module")]

use std::io::Write;
use std::sync::Arc;

use cube::dtype::DType;
use cube::engine::reread::FrameReader;
use cube::engine::snapshot::Snapshot;
use cube::engine::verify::structure;
use cube::engine::void::Owned;
use cube::format::Extent;
use cube::format::catalog::LedgerBlock;
use cube::format::ledger::{self, GROUP_ENTRY, Group};
use cube::format::patches::PatchReader;
use cube::frames::array::Layout;
use cube::frames::cards::Cards;
use cube::frames::filter::Filter;
use cube::frames::list::Input;
use cube::frames::measure::Measured;
use cube::frames::{Frame, HduChoice, Reading, open_all, reopen};
use cube::region;
use cube::region::Span;
use cube::storage::Storage;
use cube::storage::memory::MemoryStorage;
use flate2::Compression;
use flate2::write::ZlibEncoder;

/// More samples than this are not read at once: the time would go there.
const MOST_SAMPLES: u64 = 1 << 16;

/// A cube file whose checks of superblocks and catalogs are put right, so that what
/// is behind them is met: opened, checked and read like any other.
pub fn cube(data: &[u8]) {
    let mut bytes = data.to_vec();
    for at in [0, 4096] {
        mend(&mut bytes, at);
    }
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(bytes));
    let looked = structure(&storage, 16 << 20, &mut |_| Ok(()));
    let Ok(newest) = Snapshot::open(storage.clone()) else {
        return;
    };
    let sound = looked.is_ok_and(|(snapshot, _)| snapshot.is_some());
    let _ = newest.usage();
    let mut reader = FrameReader::new(&newest, 1 << 20);
    let mut owned = Owned::new(&newest);
    for record in newest.readable() {
        owned.add(&record);
        if record
            .samples()
            .is_some_and(|samples| samples <= MOST_SAMPLES)
        {
            let _ = reader.verify(&record, &|_| Ok(()));
        }
    }
    if sound && !owned.is_filled() {
        let _ = owned.fault(&newest, reader.present(), &|_| Ok(()));
    }
    let mut next = Some(newest);
    for _ in 0..8 {
        let Some(snapshot) = next else { break };
        read(&snapshot);
        let _ = snapshot.for_each_record(&mut |_| Ok(()));
        next = snapshot.previous().ok().flatten();
    }
}

/// Reads the first samples of every axis, and the last.
fn read(snapshot: &Snapshot) {
    let shape = snapshot.shape();
    let size = snapshot.catalog().dtype.size();
    for last in [false, true] {
        let mut left = MOST_SAMPLES;
        let spans: Vec<Span> = shape
            .iter()
            .map(|&len| {
                let some = len.min(left);
                left /= some.max(1);
                let start = if last { len - some } else { 0 };
                Span::run(start, some)
            })
            .collect();
        let samples: u64 = spans.iter().map(|span| span.len).product();
        let mut out = vec![0; usize::try_from(samples).unwrap_or(0) * size];
        let _ = snapshot.read(&spans, &mut out);
    }
}

/// Puts the checks of a superblock and of its catalog right.
fn mend(bytes: &mut [u8], at: usize) {
    let number = |bytes: &[u8], at: usize| {
        let number = bytes.get(at..at + 8).and_then(|bytes| bytes.first_chunk());
        number.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    let from = usize::try_from(number(bytes, at + 48)).unwrap_or(usize::MAX);
    let len = usize::try_from(number(bytes, at + 56)).unwrap_or(usize::MAX);
    let catalog = from.checked_add(len).and_then(|end| bytes.get(from..end));
    let check = catalog.map(crc32c::crc32c);
    let Some(superblock) = bytes.get_mut(at..at + 4096) else {
        return;
    };
    if let Some(check) = check {
        superblock[64..68].copy_from_slice(&check.to_le_bytes());
    }
    let check = crc32c::crc32c(&superblock[..4092]);
    superblock[4092..].copy_from_slice(&check.to_le_bytes());
}

/// A patch set, or of a ledger block the table of groups, or the lines of a group.
pub fn metadata(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else {
        return;
    };
    let frames = 1 + u64::from(kind / 16);
    match kind % 4 {
        0 => {
            let block = LedgerBlock {
                first: 0,
                frames,
                groups: data.len() as u64 / GROUP_ENTRY as u64,
                unpacked: data.len() as u64,
                lo: vec![0; 8],
                hi: vec![1 << 20; 8],
                extent: Extent {
                    at: 8192,
                    bytes: data.len() as u64,
                    check: crc32c::crc32c(data),
                },
            };
            let bytes = ledger::table_bytes(&block).unwrap_or(0) as usize;
            let _ = ledger::groups(&block, &data[..bytes]);
        }
        1 => {
            let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
            let Ok(stream) = packer.write_all(data).and_then(|()| packer.finish()) else {
                return;
            };
            let group = Group {
                first: 0,
                frames,
                unpacked: data.len() as u64,
                at: 0,
                packed: stream.len() as u64,
                lo: [0; 8],
                hi: [1 << 20; 8],
                check: crc32c::crc32c(&stream),
            };
            let Ok(records) = group.records(&stream) else {
                return;
            };
            for record in records.iter().flatten() {
                let _ = (record.samples(), record.bounds());
            }
            let _ = records.holding(&[1; 8]);
        }
        _ => {
            let dtype = [DType::U8, DType::I16, DType::F32, DType::F64][usize::from(kind / 64)];
            let Ok(reader) = PatchReader::new(data, dtype) else {
                return;
            };
            let sound = reader.fault(4096).is_none();
            for at in reader.tiles().flatten().take(100) {
                let _ = reader.count(at);
                if let Ok(patches) = reader.of_tile(at) {
                    let seen = patches.take(10_000).count() as u64;
                    assert!(!sound || seen <= reader.len());
                }
            }
        }
    }
}

/// A file that may be FITS, gzipped FITS or something else.
pub fn fits(data: &[u8]) {
    every_way(data, &[]);
}

/// A file that may be TIFF or BigTIFF; one channel is asked for, too.
pub fn tiff(data: &[u8]) {
    let second = Reading {
        channel: Some(1),
        ..Reading::default()
    };
    every_way(data, &[second]);
}

/// A file that may be a NumPy array; samples of four types as they lie there, too.
pub fn npy(data: &[u8]) {
    let len = data.len() as u64;
    let raw = |dtype: DType, offset: u64, is_big_endian| Reading {
        raw: Some(Layout {
            shape: vec![(len.saturating_sub(offset) / dtype.size() as u64).max(1)],
            dtype,
            is_big_endian,
            offset,
        }),
        ..Reading::default()
    };
    every_way(
        data,
        &[
            raw(DType::U8, 0, true),
            raw(DType::I16, 1, true),
            raw(DType::F32, 10, false),
            raw(DType::F64, 128, true),
        ],
    );
}

/// Reads a file of frames in every way that there is: the first image, the second,
/// all of them one by one and as one, reversed, and as `others` say.
fn every_way(data: &[u8], others: &[Reading]) {
    let path = std::env::temp_dir().join(format!("cube-fuzz-{}", std::process::id()));
    if std::fs::write(&path, data).is_err() {
        return;
    }
    let whole = Input::named(&path);
    let choices = [
        HduChoice::FirstImage,
        HduChoice::Number(1),
        HduChoice::All,
        HduChoice::Stack,
    ];
    let readings = choices.map(|hdu| Reading {
        hdu,
        ..Reading::default()
    });
    let mut rank = None;
    for reading in readings.iter().chain(others) {
        let found = every_frame(&whole, reading);
        rank = rank.or(found);
    }
    if let Some(rank) = rank {
        let section = ["-*"].into_iter().chain((1..rank).map(|_| "*"));
        let section: Vec<&str> = section.collect();
        let name = format!("{}[{}]", path.display(), section.join(","));
        every_frame(&Input::named(name), &Reading::default());
    }
    let _ = std::fs::remove_file(&path);
}

/// Reads the first frames of an input; says how many axes the first of all has.
fn every_frame(input: &Input, reading: &Reading) -> Option<usize> {
    let mut rank = None;
    for frame in open_all(input, reading).ok()?.take(4) {
        let Ok(mut frame) = frame else { continue };
        let facts = frame.facts().clone();
        rank = rank.or(Some(facts.shape.len()));
        let _ = (frame.cards().get_text("OBJECT"), frame.notes().len());
        let again = reopen(input, reading, &facts);
        let mut again = again.expect("what was opened can be opened again");
        assert_eq!(again.facts(), &facts);
        let Ok(samples) = region::volume(&facts.shape) else {
            continue;
        };
        let size = facts.dtype.size();
        let some = samples.min(MOST_SAMPLES);
        let bytes = usize::try_from(some).unwrap_or(0) * size;
        let (mut first, mut last) = (vec![0; bytes], vec![0; bytes]);
        let at_once = frame.read(0, &mut first);
        let at_end = again.read(samples - some, &mut last);
        if at_once.is_ok() && at_end.is_ok() && some == samples {
            assert!(first == last, "read again it is something else");
        }
        if at_once.is_ok() {
            in_runs(again.as_mut(), &first);
        }
    }
    rank
}

/// Samples do not depend on how they are asked for.
fn in_runs(frame: &mut dyn Frame, samples: &[u8]) {
    let size = frame.facts().dtype.size();
    let run = (samples.len() / size / 16).max(7);
    let mut out = vec![0; run * size];
    for (at, expected) in (0u64..).step_by(run).zip(samples.chunks(run * size)) {
        let out = &mut out[..expected.len()];
        if frame.read(at, out).is_ok() {
            assert!(out == expected, "in runs it is something else");
        }
    }
}

/// A condition for `--where`, and behind a line break cards to hold it against.
pub fn condition(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let text = String::from_utf8_lossy(parts.next().unwrap_or(&[])).into_owned();
    let mut cards = parts.next().unwrap_or(&[]).to_vec();
    cards.resize(cards.len().next_multiple_of(80), b' ');
    let cards = Cards::from_bytes(cards);
    let Ok(filter) = Filter::parse(&text) else {
        return;
    };
    let measured = Measured {
        mean: Some(1.5),
        nan: Some(0),
        ..Measured::default()
    };
    let accepts = filter.accepts(&cards, &measured);
    if let Some(decided) = filter.decides(&cards) {
        assert_eq!(decided, accepts, "{text}");
    }
}

/// Axes, positions, ranges, sections and raw layouts, as typed.
pub fn section(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let shape = [7, 1, 300, u64::MAX >> 3];
    let inside = |spans: &[Span], lens: &[u64]| {
        for (span, &len) in spans.iter().zip(lens) {
            if span.len > 0 {
                assert!(span.at(0) < len && span.at(span.len - 1) < len, "{text}");
            }
        }
    };
    let _ = region::parse_axis(&text);
    let _ = Layout::parse(&text);
    for rank in 1..=shape.len() {
        if let Ok(spans) = region::parse_section(&text, &shape[..rank]) {
            inside(&spans, &shape);
        }
    }
    for len in shape {
        if let Ok(position) = region::parse_position(&text, 0, len) {
            assert!(position < len, "{text}");
        }
        if let Ok(gap) = region::parse_gap(&text, 0, len) {
            assert!(gap <= len, "{text}");
        }
        if let Ok(span) = region::parse_span(&text, 0, len) {
            inside(&[span], &[len]);
        }
        if let Ok(spans) = region::parse_positions(&text, 0, len) {
            for span in spans {
                inside(&[span], &[len]);
            }
        }
    }
}
