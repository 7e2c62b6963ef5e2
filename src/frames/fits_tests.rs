//! Tests of `fits`: small files written by hand, whole and damaged.

use std::io::Write;

use tempfile::NamedTempFile;

use super::*;

/// A header of these lines, END and padding added.
fn header(lines: &[&str]) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for line in lines.iter().chain(&["END"]) {
        bytes.extend(format!("{line:<80}").as_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes
}

/// A primary HDU with these samples' bytes.
fn image(bitpix: i32, axes: &[usize], more: &[&str], data: &[u8]) -> Vec<u8> {
    let mut lines = vec![
        "SIMPLE  =                    T".to_string(),
        format!("BITPIX  = {bitpix:20}"),
        format!("NAXIS   = {:20}", axes.len()),
    ];
    for (axis, len) in axes.iter().enumerate() {
        lines.push(format!("NAXIS{:<3}= {len:20}", axis + 1));
    }
    lines.extend(more.iter().map(|line| line.to_string()));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut bytes = header(&lines);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(2880), 0);
    bytes
}

/// An extension made of a primary HDU.
fn extension(kind: &str, primary: Vec<u8>) -> Vec<u8> {
    let mut bytes = format!("{:<80}", format!("XTENSION= '{kind:<8}'")).into_bytes();
    bytes.extend(&primary[80..]);
    bytes
}

fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// The frame's type, its samples as text, and its BLANK.
fn read_all(bytes: &[u8], choice: &HduChoice) -> (DType, Vec<String>, Option<i128>) {
    let file = file(bytes);
    let mut frame = open(file.path(), choice).unwrap();
    let facts = frame.facts().clone();
    let n_samples = usize::try_from(volume(&facts.shape).unwrap()).unwrap();
    let mut out = vec![0; n_samples * facts.dtype.size()];
    frame.read(0, &mut out).unwrap();
    let samples = out.chunks(facts.dtype.size());
    let samples = samples.map(|sample| facts.dtype.show(facts.dtype.bits_at(sample)));
    (facts.dtype, samples.collect(), facts.blank)
}

fn refusal(bytes: &[u8], choice: &HduChoice) -> String {
    let file = file(bytes);
    let Err(error) = open(file.path(), choice) else {
        panic!("the file was read");
    };
    let text = error.to_string();
    let name = format!("{}: ", file.path().display());
    let text = text.strip_prefix(&name).unwrap_or(&text).to_string();
    assert!(!text.contains(&name), "the path is said twice");
    text
}

#[test]
fn every_bitpix_and_its_offset_is_read_exactly() {
    use DType::*;
    type Case<'a> = (
        i32,
        &'a [&'a str],
        Vec<u8>,
        DType,
        [&'a str; 2],
        Option<i128>,
    );
    let offset16 = ["BSCALE  = 1.0", "BZERO   = 32768.", "BLANK   = -32768"];
    let offset32 = ["BZERO   = 2147483648"];
    let offset64 = ["BZERO   = 9223372036854775808", "BLANK   = -1"];
    let cases: Vec<Case> = vec![
        (
            8,
            &["BLANK   = 255"],
            vec![0, 255],
            U8,
            ["0", "255"],
            Some(255),
        ),
        (
            8,
            &["BZERO   = -128", "BLANK   = 0"],
            vec![0, 255],
            I8,
            ["-128", "127"],
            Some(-128),
        ),
        (
            16,
            &["BLANK   = 40000"],
            vec![0x80, 0, 0, 7],
            I16,
            ["-32768", "7"],
            None,
        ),
        (
            16,
            &offset16,
            vec![0x80, 0, 0, 7],
            U16,
            ["0", "32775"],
            Some(0),
        ),
        (
            32,
            &[],
            vec![255, 255, 255, 254, 0, 0, 1, 0],
            I32,
            ["-2", "256"],
            None,
        ),
        (
            32,
            &offset32,
            vec![255; 8],
            U32,
            ["2147483647", "2147483647"],
            None,
        ),
        (64, &[], vec![255; 16], I64, ["-1", "-1"], None),
        (
            64,
            &offset64,
            [
                [0x7f, 255, 255, 255, 255, 255, 255, 255],
                [128, 0, 0, 0, 0, 0, 0, 1],
            ]
            .concat(),
            U64,
            ["18446744073709551615", "1"],
            Some((1 << 63) - 1),
        ),
        (
            -32,
            &["BLANK   = 0"],
            [1.5f32.to_be_bytes(), (-0f32).to_be_bytes()].concat(),
            F32,
            ["1.5", "-0"],
            None,
        ),
        (
            -64,
            &["BZERO   ="],
            [1e-3f64.to_be_bytes(), f64::INFINITY.to_be_bytes()].concat(),
            F64,
            ["0.001", "inf"],
            None,
        ),
    ];
    for (bitpix, more, data, dtype, samples, blank) in cases {
        let read = read_all(&image(bitpix, &[2], more, &data), &HduChoice::FirstImage);
        assert_eq!(
            read,
            (dtype, samples.map(String::from).to_vec(), blank),
            "{bitpix} {more:?}"
        );
    }
}

#[test]
fn nan_payloads_come_through() {
    let bytes = image(-32, &[1, 1], &[], &[0xff, 0x81, 0x23, 0x45]);
    let file = file(&bytes);
    let mut frame = open(file.path(), &HduChoice::FirstImage).unwrap();
    let mut out = [0; 4];
    frame.read(0, &mut out).unwrap();
    assert_eq!(out, [0x45, 0x23, 0x81, 0xff]);
    assert_eq!(frame.facts().shape, [1, 1]);
}

#[test]
fn scaled_samples_become_floats_and_blank_becomes_nan() {
    let more = ["BSCALE  = 5D-1", "BZERO   = 10", "BLANK   = -1"];
    let data = [[0, 3], [255, 255]].concat();
    let (dtype, samples, blank) = read_all(&image(16, &[2], &more, &data), &HduChoice::FirstImage);
    assert_eq!((dtype, blank), (DType::F32, None));
    assert_eq!(samples, ["11.5", "nan"]);
    for (bitpix, dtype) in [
        (8, DType::F32),
        (32, DType::F64),
        (64, DType::F64),
        (-32, DType::F32),
        (-64, DType::F64),
    ] {
        let bytes = image(bitpix, &[3], &["BSCALE  = 2.0"], &[0; 24]);
        assert_eq!(read_all(&bytes, &HduChoice::FirstImage).0, dtype);
    }
    let error = refusal(
        &image(16, &[1], &["BSCALE  = 'x'"], &[0; 2]),
        &HduChoice::FirstImage,
    );
    assert_eq!(error, "BSCALE of HDU 0 is `x`, not a number");
}

#[test]
fn a_run_that_spans_buffers_is_read_as_one() {
    let data: Vec<u8> = (0..100_000i32)
        .flat_map(|v| ((v % 30_000) as i16).to_be_bytes())
        .collect();
    for more in [&["BSCALE  = 2.0"][..], &[]] {
        let file = file(&image(16, &[1000, 100], more, &data));
        let mut frame = open(file.path(), &HduChoice::FirstImage).unwrap();
        let size = frame.facts().dtype.size();
        let mut whole = vec![0; 100_000 * size];
        frame.read(0, &mut whole).unwrap();
        let mut part = vec![0; 50_001 * size];
        frame.read(49_999, &mut part).unwrap();
        assert_eq!(part, whole[49_999 * size..]);
        assert!(frame.read(49_999, &mut vec![0; 50_002 * size]).is_err());
        assert!(frame.read(u64::MAX, &mut part).is_err());
        assert!(frame.read(0, &mut part[1..]).is_err());
        frame.read(100_000, &mut []).unwrap();
    }
}

#[test]
fn an_extension_that_does_not_say_that_it_is_an_image_is_none() {
    for kind in ["99", "T", "''"] {
        let mut bytes = image(8, &[], &["EXTEND  =                    T"], &[]);
        let at = bytes.len();
        bytes.extend(extension("IMAGE", image(8, &[1], &[], &[21])));
        let card = format!("{:<80}", format!("XTENSION= {kind}"));
        bytes[at..at + 80].copy_from_slice(card.as_bytes());
        let says = refusal(&bytes, &HduChoice::Number(1));
        let name = kind.trim_matches('\'');
        assert!(says.contains(&format!("`{name}`")), "{says}");
    }
}

#[test]
fn the_hdu_is_chosen_and_the_others_are_skipped() {
    let mut bytes = image(8, &[], &["EXTEND  =                    T"], &[]);
    bytes.extend(extension(
        "BINTABLE",
        image(
            8,
            &[8, 5],
            &[
                "PCOUNT  = 3000",
                "GCOUNT  = 1",
                "TFIELDS = 1",
                "EXTNAME = 'CAT'",
            ],
            &[0; 3040],
        ),
    ));
    bytes.extend(extension(
        "IMAGE",
        image(
            8,
            &[1],
            &["PCOUNT  = 0", "GCOUNT  = 1", "EXTNAME = 'SCI '"],
            &[21],
        ),
    ));
    bytes.extend(extension(
        "IMAGE",
        image(8, &[1], &["EXTNAME = 'sci'", "EXTVER  = 2"], &[22]),
    ));
    bytes.extend(extension(
        "IMAGE",
        image(8, &[1, 0], &["EXTNAME = 'NONE'"], &[]),
    ));
    bytes.extend(b"rubbish behind the last HDU".repeat(9));
    let one = |text: &str| {
        read_all(&bytes, &HduChoice::parse(text).unwrap())
            .1
            .concat()
    };
    assert_eq!(read_all(&bytes, &HduChoice::FirstImage).1, ["21"]);
    assert_eq!(
        [one("2"), one("3"), one("SCI"), one("Sci,2")],
        ["21", "22", "21", "22"]
    );
    let says = |text: &str| refusal(&bytes, &HduChoice::parse(text).unwrap());
    assert_eq!(says("0"), "HDU 0 has a header but no data");
    assert_eq!(says("cat"), "HDU 1 is a table, not an image");
    assert_eq!(says("NONE"), "HDU 4 has no samples: axis 2 has length 0");
    assert_eq!(says("5"), "holds no HDU 5");
    assert_eq!(says("SCI,3"), "holds no HDU SCI,3");
    let file = file(&bytes);
    let frame = open(file.path(), &HduChoice::Number(3)).unwrap();
    assert_eq!(frame.facts().part, 3);
    assert_eq!(frame.cards().get_text("EXTNAME").as_deref(), Some("sci"));
    assert!(frame.cards().get("END").is_none());
    let error = open(file.path(), &HduChoice::Number(9))
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error.hint_text(),
        Some(
            "its HDUs are 0: no data; 1: table `CAT`; 2: image `SCI`, 1; 3: image `sci`, 1; 4: image without samples `NONE`, 1 x 0"
        )
    );
}

#[test]
fn what_cannot_be_read_says_both_numbers() {
    let first = HduChoice::FirstImage;
    let good = image(16, &[1000, 4], &[], &[0; 8000]);
    let says = |bytes: &[u8]| refusal(bytes, &first);
    assert_eq!(
        says(&good[..10_000]),
        "the data of HDU 0 needs 8000 bytes from byte 2880, but the file ends at byte 10000"
    );
    // All the data, without its padding.
    assert_eq!(read_all(&good[..10_880], &first).1.len(), 4000);
    assert_eq!(
        says(&good[..400]),
        "the header of HDU 0 has no END card: it begins at byte 0, and the file ends at byte 400"
    );
    assert_eq!(
        says(b"SIMPLE  = "),
        "the header of HDU 0 has no END card: it begins at byte 0, and the file ends at byte 10"
    );
    let mut endless = good[..80].to_vec();
    endless.resize(2880 * 4100, b' ');
    assert_eq!(
        says(&endless),
        "the header of HDU 0 has no END card in its first 4096 blocks of 2880 bytes"
    );
    assert_eq!(
        says(&image(17, &[1], &[], &[0; 2])),
        "BITPIX of HDU 0 is 17, expected 8, 16, 32, 64, -32 or -64"
    );
    assert_eq!(
        says(&image(8, &[], &[], &[])),
        "holds no image; its HDUs are 0: no data"
    );
    assert_eq!(
        says(&image(
            -32,
            &[0, 3, 1],
            &[
                "GROUPS  =                    T",
                "PCOUNT  = 2",
                "GCOUNT  = 5"
            ],
            &[0; 100]
        )),
        "holds no image; its HDUs are 0: random groups"
    );
    assert_eq!(says(b""), "the file is empty (0 bytes)");
    for (card, error) in [
        ("NAXIS   = -1", "NAXIS of HDU 0 is -1, expected 0 to 999"),
        (
            "NAXIS   = 1000",
            "NAXIS of HDU 0 is 1000, expected 0 to 999",
        ),
        (
            "NAXIS   = 'two'",
            "NAXIS of HDU 0 is `two`, not a whole number",
        ),
        ("NAXIS   = 3", "HDU 0 has no NAXIS3 card"),
        (
            "NAXIS1  = -5",
            "NAXIS1 of HDU 0 is -5, expected 0 to 2^63 - 1",
        ),
        (
            "NAXIS1  = 99999999999999999999",
            "NAXIS1 of HDU 0 is 99999999999999999999, expected 0 to 2^63 - 1",
        ),
        (
            "NAXIS1  = 4611686018427387904",
            "the data of HDU 0 would be longer than 2^63 bytes: 4611686018427387904 x 4 samples of 16 bits",
        ),
        (
            "NAXIS1  = 1000000000000",
            "the data of HDU 0 needs 8000000000000 bytes from byte 2880, but the file ends at byte 11520",
        ),
    ] {
        let keyword = card[..8].to_string();
        let mut bytes = good.clone();
        let at = bytes
            .chunks(80)
            .position(|line| line.starts_with(keyword.as_bytes()))
            .unwrap();
        bytes[at * 80..][..80].copy_from_slice(format!("{card:<80}").as_bytes());
        assert_eq!(says(&bytes), error);
    }
    let compressed = extension(
        "BINTABLE",
        image(8, &[8, 1], &["ZIMAGE  =                    T"], &[0; 8]),
    );
    let bytes = [image(8, &[], &[], &[]), compressed].concat();
    assert!(says(&bytes).contains("the compressed image in HDU 1: ZBITPIX is missing"));
}

#[test]
fn more_than_eight_axes_are_read_when_the_rest_have_length_1() {
    let bytes = image(8, &[2, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[], &[1, 2]);
    let file = file(&bytes);
    assert_eq!(
        open(file.path(), &HduChoice::FirstImage)
            .unwrap()
            .facts()
            .shape,
        [2, 1, 1, 1, 1, 1, 1, 1]
    );
    let bytes = image(8, &[1, 1, 1, 1, 1, 1, 1, 1, 2], &[], &[1, 2]);
    assert!(refusal(&bytes, &HduChoice::FirstImage).starts_with("HDU 0 has 9 axes"));
}

#[test]
fn careless_headers_are_read() {
    let mut bytes = image(
        8,
        &[2],
        &["lower   = 1", "\n\n\u{7f}garbage", "END-OF  = 3"],
        &[3, 4],
    );
    bytes[29] = b'F';
    assert_eq!(read_all(&bytes, &HduChoice::FirstImage).1, ["3", "4"]);
}

#[test]
fn every_cut_and_many_broken_bytes_end_in_an_error_or_a_frame() {
    let mut bytes = image(
        16,
        &[40, 30],
        &["BZERO   = 32768", "BLANK   = 0"],
        &[1; 2400],
    );
    bytes.extend(extension(
        "IMAGE",
        image(-32, &[10], &["PCOUNT  = 0", "EXTNAME = 'B'"], &[0; 40]),
    ));
    let choice = HduChoice::parse("B").unwrap();
    for cut in (0..bytes.len()).step_by(97) {
        let file = file(&bytes[..cut]);
        let _ = open(file.path(), &choice);
    }
    let mut state = 1u64;
    for _ in 0..2000 {
        let mut broken = bytes.clone();
        for _ in 0..4 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = (state >> 33) as usize % 800;
            broken[at] = b"0123456789-+.'= TFEN\0\xff"[(state >> 20) as usize % 22];
        }
        let file = file(&broken);
        let Ok(mut frame) = open(file.path(), &choice) else {
            continue;
        };
        let mut out = vec![0; frame.facts().dtype.size()];
        frame.read(0, &mut out).unwrap();
    }
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_an_error() {
    let file = file(&image(16, &[1000, 4], &[], &[0; 8000]));
    let mut frame = open(file.path(), &HduChoice::FirstImage).unwrap();
    file.as_file().set_len(5000).unwrap();
    let error = frame.read(0, &mut [0; 8000]).unwrap_err().to_string();
    assert!(
        error.ends_with("it had 11520 bytes, now it has 5000"),
        "{error}"
    );
}

#[test]
fn a_gzipped_frame_is_read_in_any_order_and_its_checksum_is_looked_at() {
    use flate2::{Compression, write::GzEncoder};
    let data: Vec<u8> = (0..200_000u32)
        .flat_map(|i| (i * 7919 % 30_011).to_be_bytes())
        .collect();
    let mut plain = image(8, &[], &[], &[]);
    plain.extend(extension("IMAGE", image(32, &[1000, 200], &[], &data)));
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    // Two members and padding, as tools that append leave them.
    let (head, tail) = plain.split_at(300_000);
    let whole = [gzip(head), gzip(tail), vec![0; 512]].concat();
    let zipped = file(&whole);
    let mut frame = open(zipped.path(), &HduChoice::FirstImage).unwrap();
    assert_eq!(frame.facts().file_bytes, whole.len() as u64);
    let mut out = vec![0; 800_000];
    frame.read(0, &mut out).unwrap();
    swap_in_place(&mut out, 4);
    assert_eq!(out, data);
    for first in [199_000, 0, 60_000, 59_000] {
        let mut part = vec![0; 4000];
        frame.read(first as u64, &mut part).unwrap();
        swap_in_place(&mut part, 4);
        assert_eq!(part, data[first * 4..][..4000]);
    }
    let read = |bytes: &[u8]| {
        let zipped = file(bytes);
        let frame = open(zipped.path(), &HduChoice::FirstImage);
        frame
            .and_then(|mut frame| frame.read(0, &mut vec![0; 800_000]))
            .map_err(|e| e.to_string())
    };
    // The checksum of the last member, and a file cut short.
    let mut broken = whole.clone();
    let at = broken.len() - 512 - 8;
    broken[at] ^= 1;
    assert!(
        read(&broken)
            .unwrap_err()
            .contains("gzip stream is damaged")
    );
    assert!(read(&whole[..whole.len() / 2]).is_err());
    let cut = gzip(&plain[..400_000]);
    assert!(
        read(&cut)
            .unwrap_err()
            .ends_with("what is gzipped in the file ends at byte 400000")
    );
    let liar = gzip(&image(32, &[1_000_000, 1_000_000], &[], &[])[..2880]);
    assert!(
        read(&liar)
            .unwrap_err()
            .ends_with("gzipped bytes cannot hold that")
    );
    assert!(
        read(&gzip(b"hello"))
            .unwrap_err()
            .ends_with("is not FITS inside gzip: it begins with `hello`")
    );
}
