//! The fences of the house: what the specification says is what the code does,
//! and every part of the program stays in its place.

// Helpers of tests may stop them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use cube::dtype::DType;
use cube::engine::pieces::Pieces;
use cube::format::catalog::{
    Axis, Catalog, IndexBox, LedgerBlock, MIN_RANK, PatchSet, Piece, PieceTable, Splice,
};
use cube::format::entry::{self, ENTRY_BYTES, Entry};
use cube::format::ledger::{GROUP_ENTRY, MAX_UNPACKED, Packer, Record};
use cube::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use cube::format::{
    Extent, MAX_AXIS_TILES, MAX_CATALOG_BYTES, MAX_OFFSET, MAX_PIECES, MAX_TILE_BYTES,
    METADATA_ALIGN, PAGE, patches,
};
use cube::region::MAX_RANK;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn format_md() -> String {
    std::fs::read_to_string(root().join("docs/format.md")).unwrap()
}

/// The rows of the table under a heading of docs/format.md that has these columns.
fn table(heading: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let text = format_md();
    let start = text.find(&format!("# {heading}\n"));
    let section = &text[start.unwrap_or_else(|| panic!("docs/format.md has no {heading}"))..];
    let section = &section[..section.find("\n#").unwrap_or(section.len())];
    let cells = |line: &str| -> Vec<String> {
        let cells = line.trim().trim_matches('|').split('|');
        cells
            .map(|cell| cell.trim().trim_matches('`').into())
            .collect()
    };
    let mut lines = section.lines().skip_while(|line| cells(line) != columns);
    assert!(
        lines.next().is_some(),
        "docs/format.md, {heading}: no table of {columns:?}"
    );
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(cells).collect()
}

/// Holds a table of fields against bytes that the code made. `fields` says what
/// each field's bytes are to be, by its name; fields of type `zero` are zero. Rows
/// follow each other without gap, up to the end.
fn hold_fields(
    heading: &str,
    bytes: &[u8],
    number: impl Fn(&str) -> Option<usize>,
    fields: &[(&str, Vec<u8>)],
) {
    let mut at = 0;
    let mut seen = Vec::new();
    for row in table(heading, &["offset", "bytes", "type", "field", "meaning"]) {
        let [offset, len, kind, field, _] = row.as_slice() else {
            panic!("docs/format.md, {heading}: a row of {} cells", row.len());
        };
        let says = |text: &String| {
            number(text).unwrap_or_else(|| panic!("docs/format.md, {heading}: what is {text}?"))
        };
        assert_eq!(
            says(offset),
            at,
            "docs/format.md, {heading}: offset of {field} {kind}"
        );
        let end = at + says(len);
        let found = &bytes[at..end];
        match kind.as_str() {
            "zero" => assert!(found.iter().all(|&byte| byte == 0), "{heading}: byte {at}"),
            _ => {
                let known = fields.iter().find(|(name, _)| name == field);
                let (name, wanted) = known
                    .unwrap_or_else(|| panic!("docs/format.md, {heading}: no field {field} here"));
                assert_eq!(
                    found, wanted,
                    "docs/format.md, {heading}: {name} is not at {at}"
                );
                seen.push(*name);
            }
        }
        at = end;
    }
    assert_eq!(
        at,
        bytes.len(),
        "docs/format.md, {heading}: where its table ends"
    );
    let all: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(seen, all, "docs/format.md, {heading}: fields");
}

fn plain(text: &str) -> Option<usize> {
    text.parse().ok()
}

fn words(values: &[u64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[test]
fn superblocks_stand_as_the_specification_says() {
    let superblock = Superblock {
        id: *b"0123456789abcdef",
        sequence: 0x1112_1314_1516_1718,
        generation: 0x2122_2324_2526_2728,
        catalog: Extent {
            at: 0x3132_3334_3536_3738,
            bytes: 0x0142_4344_4546_4748,
            check: 0x5152_5354,
        },
        committed: 0x3f62_6364_6566_6768,
        marks: std::array::from_fn(|axis| 0x0172_7374_7576_7700 + axis as u64),
    };
    let bytes = superblock.encode();
    assert_eq!(bytes.len(), SUPERBLOCK_BYTES);
    assert_eq!(Superblock::decode(&bytes).unwrap(), superblock);
    let text = bytes[144..4092].to_vec();
    assert!(text.starts_with(b"This is a cube file (format 2)"));
    let fields = [
        ("magic", b"\x89\x43\x55\x42\x0d\x0a\x1a\x0a".to_vec()),
        ("format", vec![2, 0, 0, 0]),
        ("id", superblock.id.to_vec()),
        ("sequence", words(&[superblock.sequence])),
        ("generation", words(&[superblock.generation])),
        ("catalog.at", words(&[superblock.catalog.at])),
        ("catalog.bytes", words(&[superblock.catalog.bytes])),
        (
            "catalog.check",
            superblock.catalog.check.to_le_bytes().to_vec(),
        ),
        ("committed", words(&[superblock.committed])),
        ("marks", words(&superblock.marks)),
        ("text", text),
        ("check", check(&bytes[..4092]).to_le_bytes().to_vec()),
    ];
    hold_fields("Superblock", &bytes, plain, &fields);
}

#[test]
fn index_entries_stand_as_the_specification_says() {
    let (tile, at) = ([3, 1, 4, 1, 5, 9, 2, 6], 0x0012_3456_7890_a000);
    let bytes = entry::encode(&tile, at, false);
    for is_plain in [true, false] {
        let bytes = entry::encode(&tile, at, is_plain);
        let mut checked = words(&tile);
        checked.extend(words(&[at + u64::from(is_plain)]));
        let fields = [
            ("offset", words(&[at + 0xc5])),
            ("check", check(&checked).to_le_bytes().to_vec()),
            ("marker", vec![0xc5]),
        ];
        hold_fields("Index", &bytes, plain, &fields);
        assert_eq!(entry::decode(&tile, &bytes), Entry::Tile { at, is_plain });
    }
    // The order in which it is read.
    assert_eq!(entry::decode(&tile, &[0; 16]), Entry::Void);
    let changed = |changes: &[(usize, u8)]| {
        let mut changed = bytes;
        for &(place, byte) in changes {
            changed[place] = byte;
        }
        entry::decode(&tile, &changed)
    };
    let no_matter = [(0, 7), (12, 1), (13, 1), (14, 1), (15, 0)];
    assert_eq!(
        changed(&no_matter),
        Entry::Tile {
            at,
            is_plain: false
        }
    );
    assert_eq!(changed(&[(8, !bytes[8])]), Entry::Damaged);
    assert_eq!(changed(&[(8, !bytes[8]), (0, 0)]), Entry::Void);
    assert_eq!(changed(&[(8, !bytes[8]), (15, 0)]), Entry::Void);
}

#[test]
fn patch_sets_stand_as_the_specification_says() {
    let tiles = vec![
        (0x5000, vec![(1, 0x0102), (7, 0x0304)]),
        (0x9000, vec![(2, 0x0506)]),
    ];
    let bytes = patches::encode(DType::U16, &tiles);
    let (t, p, size) = (2, 3, 2);
    let number = |text: &str| {
        text.split('+').try_fold(0, |sum, term| {
            let product = term.split_whitespace().try_fold(1, |product, factor| {
                Some(
                    product
                        * match factor {
                            "T" => t,
                            "P" => p,
                            "size" => size,
                            number => number.parse().ok()?,
                        },
                )
            });
            Some(sum + product?)
        })
    };
    // The number of an entry, where its tile is, what is before it, its patches.
    let entry = |number: u64, at: u64, before: u64, patches: &[u8]| {
        let mut bytes = words(&[number, at, before]);
        bytes.extend(check(patches).to_le_bytes());
        bytes.extend(check(&bytes).to_le_bytes());
        bytes.split_off(8)
    };
    let first = entry(0, 0x5000, 0, &[1, 0, 0, 0, 7, 0, 0, 0, 2, 1, 4, 3]);
    let second = entry(1, 0x9000, 2, &[2, 0, 0, 0, 6, 5]);
    let fields = [
        ("magic", b"\nPATCHES".to_vec()),
        ("size", words(&[2])),
        ("tiles", words(&[2])),
        ("patches", words(&[3])),
        ("directory", [first.clone(), second].concat()),
        (
            "elements",
            [1u32, 7, 2].iter().flat_map(|n| n.to_le_bytes()).collect(),
        ),
        ("values", vec![2, 1, 4, 3, 6, 5]),
    ];
    hold_fields("Patch set", &bytes, number, &fields);
    let fields = [
        ("at", words(&[0x5000])),
        ("before", words(&[0])),
        ("check", first[16..20].to_vec()),
        ("entry check", first[20..].to_vec()),
    ];
    hold_fields("Patch entry", &first, |text| text.parse().ok(), &fields);
}

#[test]
fn groups_of_the_ledger_stand_as_the_specification_says() {
    let mut packer = Packer::default();
    for frame in 0..2 {
        let record = Record {
            frame,
            slots: vec![vec![Piece(5 + frame, 2)]; MAX_RANK],
            cards: "x".repeat(80_000),
            ..Record::default()
        };
        packer.push(&record).unwrap();
    }
    let packed = packer.finish().unwrap();
    let table = packed.bytes[..2 * GROUP_ENTRY].chunks(GROUP_ENTRY);
    let mut at = 2 * GROUP_ENTRY;
    for (number, entry) in (0u64..).zip(table) {
        let bytes = u64::from_le_bytes(entry[16..24].try_into().unwrap());
        let stream = &packed.bytes[at..at + bytes as usize];
        at += stream.len();
        let mut unpacked = Vec::new();
        flate2::read::ZlibDecoder::new(stream)
            .read_to_end(&mut unpacked)
            .unwrap();
        let own = [&words(&[number])[..], &entry[..156]].concat();
        let fields = [
            ("frames", words(&[1])),
            ("unpacked", words(&[unpacked.len() as u64])),
            ("packed", words(&[bytes])),
            ("slots", words(&[5 + number, 7 + number].repeat(MAX_RANK))),
            ("check", check(stream).to_le_bytes().to_vec()),
            ("entry check", check(&own).to_le_bytes().to_vec()),
        ];
        hold_fields("Group entry", entry, |text| text.parse().ok(), &fields);
    }
    assert_eq!(at, packed.bytes.len());
}

/// CRC-32C by its definition, with the parameters of docs/format.md.
fn check(bytes: &[u8]) -> u32 {
    assert!(format_md().contains("`0x1edc6f41` (reflected `0x82f63b78`), start `0xffffffff`"));
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

#[test]
fn the_check_is_what_the_specification_says() {
    let text = format_md();
    for (bytes, check_value) in [(&b"123456789"[..], 0xe306_9283u32), (&[0; 32], 0x8a91_36aa)] {
        assert_eq!(check(bytes), check_value);
        assert!(text.contains(&format!("`0x{check_value:08x}`")));
    }
}

/// The keys of a JSON value as docs/format.md writes them: `axes[].name`.
fn keys(value: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().unwrap() {
        let path = format!("{prefix}{key}");
        match value {
            Value::Object(_) => keys(value, &format!("{path}."), into),
            Value::Array(items) => {
                for item in items.iter().filter(|item| item.is_object()) {
                    keys(item, &format!("{path}[]."), into);
                }
            }
            _ => {}
        }
        into.insert(path);
    }
}

fn hold_keys(heading: &str, value: &Value) {
    let rows = table(heading, &["key", "type", "meaning"]);
    let told: BTreeSet<String> = rows.into_iter().map(|row| row[0].clone()).collect();
    let mut written = BTreeSet::new();
    keys(value, "", &mut written);
    let untold: Vec<_> = written.difference(&told).collect();
    let unwritten: Vec<_> = told.difference(&written).collect();
    assert!(
        untold.is_empty(),
        "docs/format.md, {heading}: tell of {untold:?}"
    );
    assert!(
        unwritten.is_empty(),
        "docs/format.md, {heading}: there is no {unwritten:?}"
    );
}

#[test]
fn every_key_of_the_catalog_and_of_records_is_in_the_specification() {
    let extent = Extent {
        at: 8192,
        bytes: 1,
        check: 1,
    };
    let (lo, hi) = (vec![0; MAX_RANK], vec![1; MAX_RANK]);
    let mut catalog = Catalog::empty(DType::F32, 0, None, &[1], 3);
    catalog.previous = Some(extent);
    catalog.index.push(IndexBox {
        lo: lo.clone(),
        hi: hi.clone(),
        at: 8192,
    });
    catalog.ledger.push(LedgerBlock {
        first: 0,
        frames: 0,
        groups: 0,
        unpacked: 0,
        lo,
        hi,
        extent,
    });
    catalog.patches.push(PatchSet { samples: 1, extent });
    // Keys that are left out when there is nothing to say count, too.
    catalog.axes[0].table = Some(PieceTable { pieces: 1, extent });
    catalog.axes[0].splices.push(Splice(0, 0, 0, 1));
    catalog.command.samples = 1;
    hold_keys("Catalog", &serde_json::to_value(&catalog).unwrap());
    let record = Record {
        channel: Some(0),
        partial: true,
        ..Record::default()
    };
    hold_keys("Ledger", &serde_json::to_value(record).unwrap());
    let text = String::from_utf8(catalog.encode().unwrap()).unwrap();
    assert!(text.starts_with("\nCUBE CATALOG 1\n{") && text.ends_with("}\n"));
    let names = table("Catalog", &["key", "type", "meaning"]);
    let told = &names.iter().find(|row| row[0] == "dtype").unwrap()[2];
    let told: Vec<&str> = told
        .trim_matches('`')
        .split('`')
        .next()
        .unwrap()
        .split(' ')
        .collect();
    assert_eq!(told, DType::all().map(DType::name).collect::<Vec<_>>());
}

#[test]
fn limits_are_what_the_specification_says() {
    let limits = [
        ("MAX_RANK", MAX_RANK as u64),
        ("MIN_RANK", MIN_RANK as u64),
        ("MAX_OFFSET", MAX_OFFSET),
        ("MAX_AXIS_TILES", MAX_AXIS_TILES),
        ("MAX_PIECES", MAX_PIECES),
        ("MAX_TILE_BYTES", MAX_TILE_BYTES),
        ("MAX_CATALOG_BYTES", MAX_CATALOG_BYTES),
        ("MAX_UNPACKED", MAX_UNPACKED),
        ("GROUP_ENTRY", GROUP_ENTRY as u64),
        ("PAGE", PAGE),
        ("METADATA_ALIGN", METADATA_ALIGN),
        ("ENTRY_BYTES", ENTRY_BYTES),
    ];
    let rows = table("Limits", &["name", "value", "what"]);
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row[0].as_str(), row[1].parse().unwrap()))
        .collect();
    assert_eq!(told, limits, "docs/format.md, Limits");
}

#[test]
fn the_example_of_an_insert_is_what_pieces_do() {
    let rows = table(
        "Positions, slots, pieces",
        &["after", "pieces of z", "slots read, in order", "`slots`"].map(|c| c.trim_matches('`')),
    );
    let spliced = |before: &Pieces, position, removed, slot, len| {
        let mut pieces = before.clone();
        pieces.splice(position, removed, slot, len);
        pieces
    };
    let appended = spliced(&Pieces::default(), 0, 0, 0, 5);
    let inserted = spliced(&appended, 3, 0, 5, 2);
    let deleted = spliced(&inserted, 0, 1, 0, 0);
    for (row, (pieces, slots)) in rows
        .iter()
        .zip([(appended, 5), (inserted, 7), (deleted, 7)])
    {
        let told: Vec<Piece> = serde_json::from_str(&row[1]).unwrap();
        assert_eq!(told, pieces.as_slice(), "docs/format.md, after {}", row[0]);
        let read: Vec<u64> = row[2]
            .split(' ')
            .map(|slot| slot.parse().unwrap())
            .collect();
        let found: Vec<u64> = (0..pieces.len())
            .map(|at| pieces.slot(at).unwrap())
            .collect();
        assert_eq!(read, found, "docs/format.md, after {}", row[0]);
        assert_eq!(row[3], slots.to_string());
        let axis = Axis {
            pieces: told,
            slots,
            ..Axis::default()
        };
        assert!(
            axis.pieces
                .iter()
                .all(|piece| piece.0 + piece.1 <= axis.slots)
        );
    }
}

#[test]
fn bytes_shown_in_the_specification_are_those_of_the_golden_cube() {
    let text = format_md();
    let mut lines = 0;
    let mut file: Option<Vec<u8>> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("```hexdump ") {
            file = Some(std::fs::read(crate::golden::folder().join(name)).unwrap());
        } else if line == "```" {
            file = None;
        } else if let Some(file) = &file {
            let at = usize::from_str_radix(&line[..8], 16).unwrap();
            let told: Vec<u8> = line[10..57]
                .split(' ')
                .map(|byte| u8::from_str_radix(byte, 16).unwrap())
                .collect();
            assert_eq!(told, file[at..at + 16], "docs/format.md: byte {at}");
            lines += 1;
        }
    }
    assert!(lines >= 15);
}

#[test]
fn the_reader_of_the_specification_is_short() {
    let text = format_md();
    let reader = text.split("\n## A reader\n").nth(1).unwrap();
    let code = reader.split("```").nth(1).unwrap();
    assert!(
        code.trim().lines().count() <= 44,
        "docs/format.md, A reader: at most 44 lines"
    );
}

/// Every source file, by its path inside `src`.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, files),
                false => files.push(path),
            }
        }
    }
    let src = root().join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    files.retain(|path| path.extension().is_some_and(|end| end == "rs"));
    files.sort();
    assert!(files.len() > 30);
    files
        .iter()
        .map(|path| {
            let name = path
                .strip_prefix(&src)
                .unwrap()
                .to_str()
                .unwrap()
                .to_string();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// A file's code: without comments, and without what is in its strings.
fn code(text: &str) -> String {
    let mut code = String::new();
    let (mut rest, mut in_string) = (text, false);
    while let Some(c) = rest.chars().next() {
        let mut len = c.len_utf8();
        if in_string {
            match c {
                '\\' => len += rest[1..].chars().next().map_or(0, char::len_utf8),
                '"' => in_string = false,
                '\n' => code.push('\n'),
                _ => {}
            }
        } else if rest.starts_with("//") {
            len = rest.find('\n').unwrap_or(rest.len());
        } else if let Some(quoted) = ["'\"'", "'\\\"'", "b'\"'"]
            .iter()
            .find(|q| rest.starts_with(**q))
        {
            len = quoted.len();
        } else {
            in_string = c == '"';
            code.push(c);
        }
        rest = &rest[len..];
    }
    code
}

/// The modules of the crate that code names: `crate::a::b` and `use crate::{a, b}`
/// name `a` and `b`, and so does `super::` where it leads to the crate's root.
fn modules_named(file: &str, code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let depth = file.matches('/').count() + usize::from(!file.ends_with("mod.rs"));
    // From a unit test's module inside the file one `super` more is needed.
    let up = |n: usize| "super::".repeat(n);
    for prefix in ["crate::".to_string(), up(depth), up(depth + 1)] {
        for (at, _) in code.match_indices(&prefix) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = &code[at + prefix.len()..];
            let names = match rest.strip_prefix('{') {
                Some(group) => top_level(group),
                None => vec![rest],
            };
            for name in names {
                let name = name.trim_start();
                let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
                named.insert(name[..end.unwrap_or(name.len())].to_string());
            }
        }
    }
    named
}

/// The members of a group of `use`, up to its closing brace.
fn top_level(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members
}

/// Words of code, such as names of crates.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        !code[..at].chars().next_back().is_some_and(is_part)
            && !code[at + word.len()..].chars().next().is_some_and(is_part)
    })
}

/// What each folder may use of the crate, apart from `error`, `dtype` and `region`.
const MAY_USE: [(&str, &[&str]); 8] = [
    ("format", &[]),
    ("kernels", &[]),
    ("storage", &[]),
    ("engine", &["format", "storage", "kernels"]),
    ("frames", &["kernels"]),
    // An image going out has the cards that images coming in have.
    ("sinks", &["kernels", "frames"]),
    (
        "ops",
        &["engine", "format", "storage", "kernels", "frames", "sinks"],
    ),
    (
        "cli",
        &["engine", "format", "storage", "frames", "sinks", "ops"],
    ),
];

#[test]
fn every_module_keeps_to_its_side_of_the_fences() {
    let mut held = 0;
    for (file, text) in sources() {
        let folder = file.split('/').next().unwrap();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == folder) else {
            continue;
        };
        held += 1;
        for module in modules_named(&file, &code(&text)) {
            let common: &[&str] = match folder {
                "kernels" => &["dtype", "region"],
                _ => &["error", "dtype", "region"],
            };
            let own = module == folder || common.contains(&module.as_str());
            let known = MAY_USE.iter().any(|(name, _)| *name == module) || module == "error";
            assert!(
                own || !known || allowed.contains(&module.as_str()),
                "src/{file} names `{module}`, but {folder} may use only {allowed:?} and {common:?}: \
                 pass what it needs in, or move the code to ops/ (docs/architecture.md)"
            );
        }
    }
    assert!(held > 30);
}

#[test]
fn every_crate_has_its_home() {
    let homes: [(&str, &[&str]); 6] = [
        ("clap", &["cli/"]),
        ("clap_complete", &["cli/"]),
        ("clap_mangen", &["cli/"]),
        ("anyhow", &["cli/"]),
        ("memmap2", &["storage/map.rs"]),
        ("libc", &["storage/map.rs"]),
    ];
    for (file, text) in sources() {
        let code = code(&text);
        for (name, homes) in homes {
            let home = homes.iter().any(|home| file.starts_with(home));
            assert!(
                home || !has_word(&code, &format!("{name}::"))
                    && !code.contains(&format!("use {name};")),
                "src/{file} names `{name}`, which only src/{} may: call what is there",
                homes.join(", src/")
            );
        }
    }
}

#[test]
fn unsafe_code_stands_in_two_places() {
    for (file, text) in sources() {
        let home = file == "storage/map.rs" || file.starts_with("kernels/");
        assert!(
            home || !has_word(&code(&text), "unsafe"),
            "src/{file} has unsafe code: it belongs in storage/map.rs or kernels/, \
             behind a safe function"
        );
    }
}

#[test]
fn no_source_file_is_longer_than_800_lines() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(
            lines <= 800,
            "src/{file} has {lines} lines: it holds two ideas, so make two files"
        );
    }
}

#[test]
fn the_fences_see_what_they_are_to_see() {
    let named = |text: &str| -> Vec<String> {
        modules_named("frames/fits.rs", &code(text))
            .into_iter()
            .collect()
    };
    assert_eq!(
        named("use crate::{ops::{a, b}, engine};"),
        ["engine", "ops"]
    );
    assert_eq!(named("fn f() { super::super::cli::run() }"), ["cli"]);
    assert_eq!(
        named("//! crate::ops\nlet a = \"crate::ops // \\\" crate::cli\";"),
        [""; 0]
    );
    assert_eq!(named("let q = '\"'; use crate::sinks::x;"), ["sinks"]);
    assert!(has_word("let x = unsafe { y };", "unsafe") && !has_word("unsafe_code", "unsafe"));
}
