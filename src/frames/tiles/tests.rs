//! Tests of tile-compressed images: small files written by hand, whole and damaged.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::{Compression, Crc, write::GzEncoder};

use crate::dtype::DType;
use crate::frames::{HduChoice, open};
use crate::region::volume;

/// An int16 image of 4 x 2, each row a gzipped tile, in HDU 1.
fn compressed() -> Vec<u8> {
    let tiles = [[1i16, -2, 3, -4], [5, 6, 7, i16::MAX]].map(|tile| {
        let bytes: Vec<u8> = tile.iter().flat_map(|v| v.to_be_bytes()).collect();
        gzipped(&bytes)
    });
    of_tiles("GZIP_1", &tiles)
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The same of tiles that are compressed in this way.
fn of_tiles(code: &str, tiles: &[Vec<u8>; 2]) -> Vec<u8> {
    let mut bytes = header(&[
        "SIMPLE  =                    T",
        "BITPIX  =                    8",
        "NAXIS   =                    0",
        "EXTEND  =                    T",
    ]);
    bytes.extend(header(&[
        "XTENSION= 'BINTABLE'",
        "BITPIX  =                    8",
        "NAXIS   =                    2",
        "NAXIS1  =                    8",
        "NAXIS2  =                    2",
        &format!("PCOUNT  = {:20}", tiles.concat().len()),
        "GCOUNT  =                    1",
        "TFIELDS =                    1",
        "TTYPE1  = 'COMPRESSED_DATA'",
        "TFORM1  = '1PB(40)'",
        "ZIMAGE  =                    T",
        "ZBITPIX =                   16",
        "ZNAXIS  =                    2",
        "ZNAXIS1 =                    4",
        "ZNAXIS2 =                    2",
        "ZTILE1  =                    4",
        "ZTILE2  =                    1",
        &format!("ZCMPTYPE= '{code:<8}'"),
        "ZVAL1   =                   32",
        "ZVAL2   =                    2",
        "EXTNAME = 'SCI     '",
        "ZBLANK  =                   -4",
    ]));
    let mut offset = 0u32;
    for tile in tiles {
        let len = u32::try_from(tile.len()).unwrap();
        bytes.extend([len.to_be_bytes(), offset.to_be_bytes()].concat());
        offset += len;
    }
    bytes.extend(tiles.concat());
    bytes.resize(bytes.len().next_multiple_of(2880), 0);
    bytes
}

fn header(lines: &[&str]) -> Vec<u8> {
    let lines = lines.iter().chain(&["END"]);
    let mut bytes: Vec<u8> = lines
        .flat_map(|line| format!("{line:<80}").into_bytes())
        .collect();
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes
}

fn refusal(bytes: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let result = open(file.path(), &HduChoice::FirstImage).and_then(|mut frame| {
        let mut out = [0; 16];
        frame.read(0, &mut out)
    });
    result.unwrap_err().to_string()
}

fn replaced(old: &str, new: &str) -> Vec<u8> {
    let mut bytes = compressed();
    replace(&mut bytes, old, new);
    bytes
}

fn replace(bytes: &mut [u8], old: &str, new: &str) {
    let windows = bytes.windows(old.len());
    let at = windows.into_iter().position(|part| part == old.as_bytes());
    let at = at.unwrap();
    bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
}

#[test]
fn tiles_are_decompressed_and_the_header_is_the_images_own() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&compressed()).unwrap();
    let mut frame = open(file.path(), &HduChoice::parse("SCI").unwrap()).unwrap();
    assert_eq!(frame.facts().shape, [4, 2]);
    assert_eq!((frame.facts().blank, frame.facts().part), (Some(-4), 1));
    let mut out = [0; 10];
    frame.read(3, &mut out).unwrap();
    let samples = out
        .as_chunks::<2>()
        .0
        .iter()
        .map(|v| i16::from_le_bytes(*v));
    assert_eq!(samples.collect::<Vec<_>>(), [-4, 5, 6, 7, i16::MAX]);
    assert!(frame.read(4, &mut out).is_err());
    let cards = frame.cards();
    assert_eq!(cards.get_int("NAXIS1"), Some(4));
    assert_eq!(cards.get_int("BITPIX"), Some(16));
    assert_eq!(cards.get_int("BLANK"), Some(-4));
    assert_eq!(cards.get_text("EXTNAME").as_deref(), Some("SCI"));
    assert_eq!(cards.len(), 9);
}

#[test]
fn what_a_transform_would_hold_has_an_end() {
    let mut bytes = of_tiles("HCOMPRESS_1", &[vec![0; 30], vec![0; 30]]);
    for (old, new) in [
        (
            "ZNAXIS1 =                    4",
            "ZNAXIS1 =             16777216",
        ),
        (
            "ZTILE1  =                    4",
            "ZTILE1  =             16777216",
        ),
        (
            "ZNAXIS2 =                    2",
            "ZNAXIS2 =                    4",
        ),
        (
            "ZTILE2  =                    1",
            "ZTILE2  =                    3",
        ),
    ] {
        replace(&mut bytes, old, new);
    }
    let says = refusal(&bytes);
    assert!(says.contains("have 50331648 samples"), "{says}");
}

#[test]
fn tables_that_lie_are_refused() {
    for (old, new, error) in [
        (
            "ZNAXIS1 =                    4",
            "ZNAXIS1 =                   -4",
            "ZNAXIS1 is -4",
        ),
        (
            "ZNAXIS2 =                    2",
            "ZNAXIS2 =                    3",
            "2 rows for 3 tiles",
        ),
        (
            "ZBITPIX =                   16",
            "ZBITPIX =                   17",
            "ZBITPIX is 17",
        ),
        ("'GZIP_1  '", "'BZIP2_1 '", "is compressed by `BZIP2_1`"),
        (
            "'COMPRESSED_DATA'",
            "'COMPRESSED_DOTA'",
            "no column COMPRESSED_DATA",
        ),
        (
            "TFORM1  = '1PB(40)'",
            "TFORM1  = '9PB(40)'",
            "its columns need 72 bytes of rows of 8",
        ),
        (
            "TFORM1  = '1PB(40)'",
            "TFORM1  = '0PB'   ",
            "TFORM1 is `0PB`",
        ),
        (
            "TFORM1  = '1PB(40)'",
            "TFORM1  = 'QPB'   ",
            "TFORM1 is `QPB`",
        ),
        (
            "TFORM1  = '1PB(40)'",
            "TFORM1  = '1PI(40)'",
            "COMPRESSED_DATA has elements of 2 bytes, expected 1",
        ),
        (
            "PCOUNT  =                   ",
            "PCOUNT  =               9999",
            "but the file ends at byte",
        ),
    ] {
        let says = refusal(&replaced(old, new));
        assert!(says.contains(error), "{says}");
    }
    let mut bytes = compressed();
    let row = 2880 * 2;
    bytes[row] = 0x7f;
    assert!(refusal(&bytes).contains("is outside its heap"));
    bytes[row] = 0xff;
    assert!(refusal(&bytes).contains("is outside its heap"));
}

#[test]
fn a_damaged_tile_is_an_error() {
    let mut bytes = compressed();
    let heap = 2880 * 2 + 16;
    bytes[heap..heap + 15].fill(0xee);
    let says = refusal(&bytes);
    assert!(
        says.contains("tile 0 is no gzip stream of at most 16 bytes"),
        "{says}"
    );
}

#[test]
fn a_tile_that_is_too_short_or_holds_too_much_is_named() {
    // The first sample, and four bits: all others are the same.
    let good = [vec![0, 7, 0], vec![0, 8, 0]];
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&of_tiles("RICE_1", &good)).unwrap();
    let mut frame = open(file.path(), &HduChoice::FirstImage).unwrap();
    let mut out = [0; 16];
    frame.read(0, &mut out).unwrap();
    assert_eq!(out, [7, 0, 7, 0, 7, 0, 7, 0, 8, 0, 8, 0, 8, 0, 8, 0]);
    let short = [vec![0, 7, 0], vec![0, 8]];
    let says = refusal(&of_tiles("RICE_1", &short));
    assert!(
        says.contains("tile 1 ends after 2 bytes, before its 4 samples"),
        "{says}"
    );
    let long = [vec![0, 7, 0], vec![0; 1 << 17]];
    let says = refusal(&of_tiles("RICE_1", &long));
    assert!(
        says.contains("tile 1 has 131072 elements for 4 samples"),
        "{says}"
    );
    let good = gzipped(&[0; 8]);
    for (n_bytes, says) in [
        (1 << 20, "tile 1 is no gzip stream of at most 16 bytes"),
        (12, "tile 1 holds 12 bytes, which are no 4 samples"),
    ] {
        let tiles = [good.clone(), gzipped(&vec![0; n_bytes])];
        let error = refusal(&of_tiles("GZIP_2", &tiles));
        assert!(error.contains(says), "{error}");
    }
    let says = refusal(&of_tiles("HCOMPRESS_1", &[vec![0; 40], vec![0; 40]]));
    assert!(
        says.contains("tile 0 is not what HCOMPRESS makes of 4 samples"),
        "{says}"
    );
}

/// What `tests/it/compressed.py kept` made with astropy 8.0.2: the type, and the CRC-32
/// of the samples that astropy reads.
const KEPT: [(&str, DType, u32); 12] = [
    ("rice-uint8", DType::U8, 0x753192f4),
    ("rice-boxes-int16", DType::I16, 0x981575ae),
    ("rice-int32", DType::I32, 0x07a74e86),
    ("gzip1-uint16", DType::U16, 0xa2c1cb1c),
    ("gzip2-boxes-float64", DType::F64, 0xa18b8ead),
    ("gzip2-int64", DType::I64, 0xf423e9fc),
    ("plio-int16", DType::I16, 0x501b605c),
    ("hcompress-int16", DType::I16, 0x981575ae),
    ("hcompress-smooth-int32", DType::I32, 0x9d3c0e15),
    ("dither1-float32", DType::F32, 0xb199d47f),
    ("dither2-float32", DType::F32, 0x0d009e3c),
    ("plain-float64", DType::F64, 0x7054d057),
];

fn kept(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/fz");
    Path::new(folder).join(format!("{name}.fits.fz"))
}

/// All samples, read at once, and again in runs that begin and end anywhere.
fn read_all(path: &Path) -> crate::error::Result<(DType, Vec<u8>)> {
    let mut frame = open(path, &HduChoice::FirstImage)?;
    let facts = frame.facts().clone();
    let size = facts.dtype.size();
    let n_samples = usize::try_from(volume(&facts.shape)?).unwrap();
    let mut samples = vec![0; n_samples * size];
    frame.read(0, &mut samples)?;
    for (n_now, step) in [(1, 131), (29, 101), (997, 501)] {
        for first in (0..n_samples).step_by(step) {
            let mut run = vec![0; n_now.min(n_samples - first) * size];
            frame.read(first as u64, &mut run)?;
            assert!(
                run == samples[first * size..][..run.len()],
                "{}",
                path.display()
            );
        }
    }
    Ok((facts.dtype, samples))
}

#[test]
fn every_code_is_read_as_astropy_reads_it() {
    for (name, dtype, sum) in KEPT {
        let (found, samples) = read_all(&kept(name)).unwrap();
        let mut crc = Crc::new();
        crc.update(&samples);
        assert_eq!((found, crc.sum()), (dtype, sum), "{name}");
    }
}

/// Images of all codes, types and shapes of tiles, made by astropy where it is at hand.
#[test]
fn many_more_are_read_as_astropy_reads_them() {
    let python = std::env::var_os("CUBE_PYTHON").unwrap_or_else(|| "python3".into());
    let probe = Command::new(&python)
        .args(["-c", "import astropy.io.fits"])
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        let why = "SKIPPED: no python3 with astropy; CUBE_PYTHON names one";
        let _ = writeln!(std::io::stderr(), "{why}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/compressed.py");
    let mut command = Command::new(&python);
    let made = command.arg(script).arg("many").arg(folder.path()).output();
    let made = made.unwrap();
    assert!(made.status.success());
    let mut n_read = 0;
    for entry in folder.path().read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "fz") {
            let (_, samples) = read_all(&path).unwrap();
            let expected = path.with_extension("").with_extension("raw");
            let expected = std::fs::read(expected).unwrap();
            assert!(samples == expected, "{}", path.display());
            n_read += 1;
        }
    }
    assert_eq!(
        String::from_utf8_lossy(&made.stdout).trim(),
        n_read.to_string()
    );
}

#[test]
fn whatever_is_broken_ends_in_an_error_or_samples() {
    let mut state = 1u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    for (name, _, _) in KEPT {
        let whole = std::fs::read(kept(name)).unwrap();
        let path = tempfile::NamedTempFile::new().unwrap();
        for round in 0..120 {
            let mut broken = whole.clone();
            for _ in 0..=round % 4 {
                // The table's header, its rows and heap.
                let start = if random() % 4 == 0 { 2880 } else { 5760 };
                let at = start + random() % (whole.len() - start);
                match start {
                    2880 => broken[at] = b"0123456789- PQBJDE'T"[random() % 20],
                    _ => broken[at] ^= 1 << (random() % 8),
                }
            }
            std::fs::write(path.path(), &broken).unwrap();
            let Ok(mut frame) = open(path.path(), &HduChoice::FirstImage) else {
                continue;
            };
            let n_samples = volume(&frame.facts().shape).unwrap().min(40_000);
            let mut out = vec![0; n_samples as usize * frame.facts().dtype.size()];
            let _ = frame.read(0, &mut out);
        }
    }
}
