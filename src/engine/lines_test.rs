//! Lines against the same samples read one by one.

use std::collections::HashSet;
use std::sync::Arc;

use super::lines::{Lines, Void};
use super::snapshot::Snapshot;
use crate::format::catalog::Piece;
use crate::format::ledger::Record;
use crate::kernels::clip::{LANES, Rows};
use crate::kernels::gather::{Lane, Stored, is_wide};
use crate::region::{MAX_RANK, Span};
use crate::storage::memory::MemoryStorage;

const GOLDEN: [&str; 7] = [
    "deleted",
    "float32-ragged",
    "int16-blank",
    "patches",
    "pieces",
    "rank-4",
    "uint16",
];

fn golden(name: &str) -> Snapshot {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden/format-2");
    let bytes = std::fs::read(format!("{folder}/{name}.cube")).unwrap();
    Snapshot::open(Arc::new(MemoryStorage::new(bytes))).unwrap()
}

/// Every sample that lines have, by its place in the region, x fastest.
fn from_lines<L: Lane>(lines: &Lines<'_>, step: usize) -> Vec<(f64, bool, u64)> {
    let lens = *lines.lens();
    let total: u64 = lens.iter().product();
    let mut found = vec![(f64::NAN, false, 0); total as usize];
    let mut seen = HashSet::new();
    let mut out: Rows<L> = Rows::new();
    let mut covered = Vec::new();
    for number in 0..lines.columns() {
        let mut column = lines.column(number).unwrap();
        for from in (0..column.lines()).step_by(step) {
            let range = from..(from + step).min(column.lines());
            lines.load_patches(&mut column, &range).unwrap();
            lines.gather(&column, range.clone(), &mut out).unwrap();
            let rows = column.rows();
            for block in (0..range.len()).step_by(LANES) {
                let told = lines.covered(&column, from + block, &mut covered);
                for lane in 0..LANES {
                    let line = from + block + lane;
                    let row_of = |row: usize| out[block / LANES * rows + row][lane];
                    if line >= range.end {
                        assert!((0..rows).all(|row| row_of(row).wide().is_nan()));
                        continue;
                    }
                    let place = column.place(line);
                    for row in 0..rows {
                        let mut number = 0;
                        for axis in (0..MAX_RANK).rev() {
                            let at = match axis == lines.axis() {
                                true => u64::from(column.sample(row)),
                                false => place[axis],
                            };
                            number = number * lens[axis] + at;
                        }
                        let inside = !told || covered[row] >> lane & 1 == 1;
                        let (tile, element) = column.element(line, row);
                        let at = column.tile_at(tile as usize);
                        let at = at.map_or(0, |at| at << 32 | u64::from(element));
                        assert!(seen.insert(number), "a sample twice");
                        found[number as usize] = (row_of(row).wide(), inside, at);
                    }
                }
            }
        }
    }
    found
}

fn sections(len: u64) -> Vec<Span> {
    let last = len - 1;
    let backwards = Span {
        start: last,
        step: -1,
        len,
    };
    let stepped = Span {
        start: 0,
        step: 2,
        len: len.div_ceil(2),
    };
    vec![
        Span::run(0, len),
        Span::run(last / 2, 1),
        backwards,
        stepped,
    ]
}

/// A region of a shape, of another kind on each axis.
fn region(shape: &[u64], axis: usize, kind: usize) -> Vec<Span> {
    let lens = shape.iter().enumerate();
    lens.map(|(other, &len)| match other == axis {
        true => sections(len)[if kind == 1 { 0 } else { kind }],
        false => sections(len)[(kind + other) % 4],
    })
    .collect()
}

#[test]
fn lines_hold_the_samples_that_are_read_one_by_one() {
    let (mut compared, mut void, mut patched) = (0, 0, 0);
    for name in GOLDEN {
        let snapshot = golden(name);
        let catalog = snapshot.catalog();
        let stored = Stored {
            dtype: catalog.dtype,
            mask: catalog.mask,
            blank: catalog
                .blank
                .and_then(|blank| catalog.dtype.bits_of_int(blank)),
        };
        let mut records: Vec<Record> = Vec::new();
        snapshot
            .for_each_record(&mut |record| {
                records.push(record);
                Ok(())
            })
            .unwrap();
        let shape = snapshot.shape();
        patched += catalog.patches.len();
        for axis in 0..shape.len() {
            for kind in 0..4 {
                let spans = region(&shape, axis, kind);
                for void_by in [Void::Plain, Void::ByFrames] {
                    let lines = Lines::new(&snapshot, axis, &spans, void_by).unwrap();
                    let found = match is_wide(catalog.dtype) {
                        true => from_lines::<f64>(&lines, 48),
                        false => from_lines::<f32>(&lines, 16),
                    };
                    let void_before = void;
                    for (number, (value, inside, at)) in found.into_iter().enumerate() {
                        let mut rest = number as u64;
                        let position: Vec<u64> = spans
                            .iter()
                            .map(|span| {
                                let at = span.at(rest % span.len);
                                rest /= span.len;
                                at
                            })
                            .collect();
                        let one: Vec<Span> = position.iter().map(|&at| Span::run(at, 1)).collect();
                        let mut bytes = vec![0; catalog.dtype.size()];
                        snapshot.read(&one, &mut bytes).unwrap();
                        let bits = catalog.dtype.bits_at(&bytes);
                        let slots: [u64; MAX_RANK] = std::array::from_fn(|axis| {
                            let at = position.get(axis).copied().unwrap_or(0);
                            snapshot.pieces(axis).slot(at).unwrap()
                        });
                        let is_data = records.iter().any(|record| {
                            record.slots.iter().zip(slots).all(|(runs, slot)| {
                                let holds = |&Piece(lo, len): &Piece| lo <= slot && slot < lo + len;
                                runs.iter().any(holds)
                            })
                        });
                        let told = void_by == Void::ByFrames || !value.is_nan();
                        assert!(
                            !told || !inside || is_data || at == 0,
                            "{name}: {position:?}"
                        );
                        assert!(!is_data || inside, "{name}: {position:?} is data");
                        let expected = match catalog.dtype.size() >= 4 {
                            _ if !is_data => f64::NAN,
                            _ if is_wide(catalog.dtype) => f64::of_bits(&stored, bits),
                            _ => f32::of_bits(&stored, bits).into(),
                        };
                        if is_data {
                            let same = value == expected || value.is_nan() && expected.is_nan();
                            assert!(
                                same,
                                "{name} {axis} {kind}: {position:?} is {value}, expected {expected}"
                            );
                            let place = snapshot.find(&slots).unwrap();
                            let place =
                                place.map(|(tile, element)| tile << 32 | u64::from(element));
                            assert_eq!(at, place.unwrap_or(0));
                            compared += 1;
                        } else {
                            assert_eq!(bits, catalog.pad);
                            void += 1;
                        }
                    }
                    if void_by == Void::ByFrames {
                        let has_void = snapshot.has_void(&spans, void_by).unwrap();
                        assert_eq!(has_void, void > void_before, "{name} {spans:?}");
                    }
                }
            }
        }
    }
    assert!(
        compared > 10_000 && void > 1000 && patched > 0,
        "{compared} {void} {patched}"
    );
}

#[test]
fn boxes_of_lines_follow_each_other_and_lie_where_their_lines_do() {
    let mut apart = 0;
    for name in GOLDEN {
        let snapshot = golden(name);
        let shape = snapshot.shape();
        for (axis, kind) in (0..shape.len()).flat_map(|axis| (0..4).map(move |kind| (axis, kind))) {
            let spans = region(&shape, axis, kind);
            let lines = Lines::new(&snapshot, axis, &spans, Void::Plain).unwrap();
            let tried =
                (0..lines.columns()).flat_map(|number| [1, 7, 16, 1000].map(|most| (number, most)));
            for (number, most) in tried {
                let column = lines.column(number).unwrap();
                let mut line = 0;
                while line < column.lines() {
                    let (count, place) = lines.boxed(&column, line, most);
                    assert!((1..=most).contains(&count));
                    assert_eq!(place[axis], spans[axis]);
                    for k in 0..count {
                        let (mut rest, numbers) = (k as u64, column.place(line + k));
                        for other in (0..shape.len()).filter(|&other| other != axis) {
                            let at = place[other].at(rest % place[other].len);
                            rest /= place[other].len;
                            assert_eq!(at, spans[other].at(numbers[other]), "{name} {spans:?}");
                        }
                    }
                    line += count;
                    apart += usize::from(count < most && line < column.lines());
                }
                assert_eq!(line, column.lines());
            }
        }
    }
    assert!(apart > 50, "{apart}");
}
