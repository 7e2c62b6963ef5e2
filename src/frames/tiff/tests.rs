use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::super::list::Input;
use super::super::recent::OPEN_BYTES;
use super::super::{Reading, open_all, parse_channel, reopen};
use super::*;
use tiff_file::{Page as Written, tiff};

#[path = "../../../tests/it/tiff_file.rs"]
#[allow(unreachable_pub, reason = "the tests of the program use it, too")]
mod tiff_file;

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Every frame of a file: its shape and its samples' bytes, read in odd runs, and
/// again after it was opened again.
fn frames(path: &Path, reading: &Reading) -> Result<Vec<(Vec<u64>, Vec<u8>)>> {
    let mut frames = Vec::new();
    for frame in open_all(&Input::named(path), reading)? {
        let mut frame = frame?;
        let facts = frame.facts().clone();
        let mut again = reopen(&Input::named(path), reading, &facts)?;
        assert_eq!(again.facts(), &facts);
        let size = facts.dtype.size();
        let n_samples = volume(&facts.shape)?;
        let whole = usize::try_from(n_samples).unwrap() * size;
        assert!(whole < 1 << 24, "a test's file does not claim so much");
        let (mut bytes, mut others) = (vec![0; whole], vec![0; whole]);
        for (at, out) in (0u64..).step_by(7).zip(bytes.chunks_mut(7 * size)) {
            frame.read(at, out)?;
        }
        again.read(0, &mut others)?;
        assert!(bytes == others, "runs and the whole differ");
        frames.push((facts.shape, bytes));
    }
    Ok(frames)
}

fn read(bytes: &[u8], reading: &Reading) -> Result<Vec<(Vec<u64>, Vec<u8>)>> {
    frames(file(bytes).path(), reading)
}

fn channel(text: &str) -> Reading {
    Reading {
        channel: Some(parse_channel(text).unwrap()),
        ..Reading::default()
    }
}

#[test]
fn both_byte_orders_and_bigtiff_read_alike() {
    let samples: Vec<u16> = (0..35).map(|k| k * 1000).collect();
    let little = samples
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect::<Vec<u8>>();
    let big = samples
        .iter()
        .flat_map(|v| v.to_be_bytes())
        .collect::<Vec<u8>>();
    for (is_big_endian, data) in [(false, &little), (true, &big)] {
        for is_wide in [false, true] {
            let page = Written::new(7, 5, 16, data);
            let strips = page.clone().in_strips(2, 14);
            let bytes = tiff(is_big_endian, is_wide, &[page, strips]);
            let found = read(&bytes, &Reading::default()).unwrap();
            assert_eq!(found, vec![(vec![7, 5], little.clone()); 2]);
        }
    }
}

#[test]
fn samples_of_a_pixel_are_an_axis_or_one_of_them_is_chosen() {
    let planes: Vec<u8> = (0..3)
        .flat_map(|c| (0..8).map(move |k| c * 50 + k))
        .collect();
    let mixed: Vec<u8> = (0..8).flat_map(|k| [k, 50 + k, 100 + k]).collect();
    let with = |page: Written| page.with(277, &[3]).with(258, &[8, 8, 8]).with(262, &[2]);
    let contiguous = with(Written::new(4, 2, 8, &mixed));
    let planar = with(Written::new(4, 2, 8, &planes))
        .with(284, &[2])
        .in_strips(2, 4);
    for page in [contiguous, planar] {
        let bytes = tiff(false, false, &[page]);
        let found = read(&bytes, &Reading::default()).unwrap();
        assert_eq!(found, [(vec![4, 2, 3], planes.clone())]);
        for (name, plane) in [("R", 0), ("2", 1), ("b", 2)] {
            let found = read(&bytes, &channel(name)).unwrap();
            assert_eq!(found, [(vec![4, 2], planes[plane * 8..][..8].to_vec())]);
        }
        let error = read(&bytes, &channel("4")).unwrap_err().to_string();
        assert!(error.ends_with("has no channel 4: it has 3"), "{error}");
    }
}

#[test]
fn tiles_are_cut_at_the_edges() {
    let tile =
        |first: u8| (0..16 * 16).map(move |k| if k % 16 < 3 { first + k as u8 % 16 } else { 99 });
    let tiles = vec![(0..=255).collect(), tile(200).collect()];
    let bytes = tiff(
        false,
        false,
        &[Written::new(19, 4, 8, &[]).in_tiles(16, 16, tiles)],
    );
    let rows = (0..4u8).flat_map(|y| (0..16).map(move |x| y * 16 + x).chain([200, 201, 202]));
    let found = read(&bytes, &Reading::default()).unwrap();
    assert_eq!(found, [(vec![19, 4], rows.collect())]);
}

#[test]
fn pages_of_a_hyperstack_are_one_frame_and_those_of_a_stack_are_many() {
    let pages = |text: &str, n: u8| -> Vec<Written> {
        let page = |k| Written::new(2, 1, 8, &[k, k + 100]);
        let mut pages: Vec<Written> = (0..n).map(page).collect();
        pages[0] = pages[0].clone().with_text(270, text);
        pages
    };
    let hyper = tiff(
        false,
        false,
        &pages("ImageJ=1.5\nimages=6\nchannels=2\nframes=3\n", 6),
    );
    let all: Vec<u8> = (0..6).flat_map(|k| [k, k + 100]).collect();
    let found = read(&hyper, &Reading::default()).unwrap();
    assert_eq!(found, [(vec![2, 1, 2, 3], all)]);
    let found = read(&hyper, &channel("2")).unwrap();
    let second: Vec<_> = [1, 3, 5].map(|k| (vec![2, 1], vec![k, k + 100])).into();
    assert_eq!(found, second);
    let every = Reading {
        hdu: HduChoice::All,
        ..Reading::default()
    };
    assert_eq!(read(&hyper, &every).unwrap().len(), 6);
    let stack = tiff(false, false, &pages("ImageJ=1.5\nimages=3\nslices=3\n", 3));
    assert_eq!(read(&stack, &Reading::default()).unwrap().len(), 3);
    // One that lies about its pages is read as pages.
    let lies = tiff(
        false,
        false,
        &pages("ImageJ=1.5\nimages=6\nchannels=2\nframes=3\n", 5),
    );
    assert_eq!(read(&lies, &Reading::default()).unwrap().len(), 5);
}

#[test]
fn a_large_imagej_stack_has_one_directory() {
    // Its images follow the first, which the directory stands before.
    let page = Written::new(2, 2, 8, &[1, 2, 3, 4]).with_text(270, "ImageJ=1.4\nimages=3\n");
    let mut bytes = tiff(false, false, &[page]);
    let at = bytes.len() as u32;
    let entry = bytes
        .windows(4)
        .position(|part| part == [17, 1, 4, 0])
        .unwrap();
    bytes[entry + 8..entry + 12].copy_from_slice(&at.to_le_bytes());
    bytes.extend(1..=12);
    let found = read(&bytes, &Reading::default()).unwrap();
    let images = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]];
    let images: Vec<_> = images
        .iter()
        .map(|image| (vec![2, 2], image.to_vec()))
        .collect();
    assert_eq!(found, images);
    // Without the bytes it is one image.
    bytes.pop();
    assert_eq!(read(&bytes, &Reading::default()).unwrap().len(), 1);
}

#[test]
fn smaller_copies_and_masks_are_left_out_unless_they_are_asked_for() {
    let page = |k| Written::new(1, 1, 8, &[k]);
    let bytes = tiff(
        false,
        false,
        &[
            page(1),
            page(2).with(254, &[1]),
            page(3),
            page(4).with(254, &[4]),
        ],
    );
    let values = |hdu| -> Vec<u8> {
        let reading = Reading {
            hdu,
            ..Reading::default()
        };
        let found = read(&bytes, &reading).unwrap();
        found.into_iter().map(|(_, samples)| samples[0]).collect()
    };
    assert_eq!(values(HduChoice::FirstImage), [1, 3]);
    assert_eq!(values(HduChoice::All), [1, 2, 3, 4]);
    assert_eq!(values(HduChoice::Number(3)), [4]);
}

#[test]
fn tags_become_cards() {
    let page = Written::new(1, 1, 8, &[7])
        .with(262, &[0])
        .with(274, &[6])
        .with(65000, &[42])
        .with_text(270, "M 31\nsecond night")
        .with_text(305, "cam 1.0")
        .with_text(306, "2024:05:01 12:30:59")
        .with_text(42113, "7");
    let bytes = tiff(false, false, &[page]);
    let file = file(&bytes);
    let mut frames = open_all(&Input::named(file.path()), &Reading::default()).unwrap();
    let frame = frames.next().unwrap().unwrap();
    let cards = frame.cards();
    assert_eq!(
        cards.get_text("DATE-OBS").as_deref(),
        Some("2024-05-01T12:30:59")
    );
    assert_eq!(cards.get_text("TIFF SOFTWARE").as_deref(), Some("cam 1.0"));
    assert_eq!(
        cards.get_text("TIFF PHOTOMETRIC").as_deref(),
        Some("WhiteIsZero")
    );
    assert_eq!(cards.get_int("TIFF TAG 65000"), Some(42));
    let comments = cards
        .iter()
        .filter(|card| card.starts_with(b"COMMENT M 31"));
    assert_eq!(comments.count(), 1);
    assert_eq!(frame.facts().blank, Some(7));
    assert!(frame.notes()[0].starts_with("its Orientation is 6"));
}

#[test]
fn layouts_that_lie_are_errors() {
    let page = || Written::new(4, 2, 8, &[0; 8]);
    for (page, says) in [
        (page().with(256, &[0]), "ImageWidth is 0"),
        (page().with(257, &[3]), "has 8 bytes, expected 12"),
        (page().with(278, &[1]), "tag 273 lists 1 chunks, expected 2"),
        (page().with(258, &[0]), "unsigned integers of 0 bits"),
        (page().with(339, &[9]), "SampleFormat is 9"),
        (page().with(277, &[9999]), "SamplesPerPixel is 9999"),
        (
            page().with(259, &[7]),
            "is compressed by JPEG (Compression 7)",
        ),
        (
            page().with(259, &[12345]),
            "an unknown code (Compression 12345)",
        ),
        (page().with(259, &[5]), "chunk 0 of its samples"),
        (
            page().with(256, &[u32::MAX.into()]),
            "has 8 bytes, expected 8589934590",
        ),
        (
            page().with(259, &[8]).with(257, &[0x4000_0000]),
            "can hold no more than",
        ),
    ] {
        let error = read(&tiff(false, false, &[page]), &Reading::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // Two pages that lead to each other.
    let mut bytes = tiff(false, false, &[page(), page()]);
    let first = bytes[4..8].to_vec();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&first);
    let error = read(&bytes, &Reading::default()).unwrap_err().to_string();
    assert!(error.contains("its pages go in a circle"), "{error}");
}

#[test]
fn tiles_side_by_side_do_not_keep_more_than_there_is_memory_for() {
    // Zstandard looks back 128 MiB, and as many tiles are unpacked as are in a row.
    let opened = |n_across: usize| {
        let tiles = vec![vec![0; 5000]; n_across];
        let page = Written::new(16 * n_across as u64, 1 << 23, 8, &[])
            .with(259, &[50000])
            .in_tiles(16, 1 << 23, tiles);
        let file = file(&tiff(false, false, &[page]));
        let mut frames = open_all(&Input::named(file.path()), &Reading::default()).unwrap();
        frames
            .next()
            .unwrap()
            .map(|frame| frame.facts().shape.clone())
    };
    assert_eq!(opened(7).unwrap(), [112, 1 << 23]);
    let error = opened(8).unwrap_err().to_string();
    assert!(
        error.contains("each of its 8 tiles side by side may keep 134381568 bytes"),
        "{error}"
    );
}

#[test]
fn pages_that_are_open_at_once_keep_no_more_than_there_is_memory_for() {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&[7; 16 * 32]).unwrap();
    let tile = packer.finish().unwrap();
    let page =
        Written::new(1 << 14, 32, 8, &[])
            .with(259, &[8])
            .in_tiles(16, 32, vec![tile; 1 << 10]);
    let text = "{\"shape\": [3, 3, 32, 16384]}";
    let mut pages = vec![page; 9];
    pages[0] = pages[0].clone().with_text(270, text);
    let bytes = tiff(false, false, &pages);
    for hdu in [HduChoice::FirstImage, HduChoice::Stack] {
        // Of a stack every page is a frame of its own.
        let file = file(&match hdu {
            HduChoice::Stack => tiff(false, false, &pages[1..]),
            _ => bytes.clone(),
        });
        let reading = Reading {
            hdu,
            ..Reading::default()
        };
        let mut frames = open_all(&Input::named(file.path()), &reading).unwrap();
        let mut frame = frames.next().unwrap().unwrap();
        let per_page = 1 << 19;
        let mut row = vec![0; 1 << 14];
        for page in 0..8 {
            frame.read(page * per_page, &mut row).unwrap();
            assert!(row.iter().all(|&sample| sample == 7));
            assert!(frame.kept() <= OPEN_BYTES + (48 << 20), "{}", frame.kept());
        }
        let before = frame.kept();
        assert!(before > OPEN_BYTES / 2);
        // Whoever has read a tile to its end needs it no more.
        let mut page = vec![0; 1 << 19];
        frame.read(7 * per_page, &mut page).unwrap();
        assert_eq!(frame.kept(), before - (48 << 20));
    }
}

#[test]
fn of_pixels_with_many_samples_rows_are_not_read_for_each_of_them() {
    // A page of 5 MB, of which 2 MiB are kept: 150 planes of 170 by 100.
    let (width, height, n) = (170, 100, 150);
    let sample = |c: u64, k: u64| ((c * 131 + k * 7) % 65521) as u16;
    let bytes_of = |samples: &mut dyn Iterator<Item = u16>| -> Vec<u8> {
        samples.flat_map(u16::to_le_bytes).collect()
    };
    let area = width * height;
    let mixed = bytes_of(&mut (0..area).flat_map(|k| (0..n).map(move |c| sample(c, k))));
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&mixed).unwrap();
    let packed = packer.finish().unwrap();
    let page = Written::new(width, height, 16, &packed)
        .with(277, &[n])
        .with(259, &[8])
        .with(278, &[height]);
    let open = |bytes: &[u8]| {
        let file = file(bytes);
        let source = Source::open(file.path()).unwrap();
        let (form, first) = Form::read(&source).unwrap();
        let page = Page::new(form, form.directory(&source, first).unwrap(), &source).unwrap();
        Rows::new(Arc::new(source), page, 0).unwrap()
    };
    let whole = tiff(false, false, std::slice::from_ref(&page));
    let mut plane = vec![0; (area * 2) as usize];
    let backwards: Vec<u64> = (0..n).rev().collect();
    for order in [(0..n).collect(), backwards] {
        // All rows of a plane, or as many as a row of tiles has.
        for n_rows in [height, height / 2] {
            let mut rows = open(&whole);
            for part in 0..height / n_rows {
                let (start, out) = (part * n_rows * width, &mut plane[..]);
                let some = &mut out[..(n_rows * width * 2) as usize];
                for &c in &order {
                    rows.read(c * area + start, some).unwrap();
                    let pixels = start..start + n_rows * width;
                    assert!(some == bytes_of(&mut pixels.map(|k| sample(c, k))));
                }
            }
            assert!(rows.n_read <= 4 * height, "{} rows", rows.n_read);
            assert!(rows.kept() < 9 << 20, "{}", rows.kept());
        }
    }
    // Rows before one that is damaged can be read as often as one likes.
    let damaged = Written::new(width, height, 16, &packed[..packed.len() / 2]);
    let damaged = damaged.with(277, &[n]).with(259, &[8]).with(278, &[height]);
    let mut rows = open(&tiff(false, false, &[damaged]));
    for c in (0..n).step_by(10) {
        let (some, rest) = plane.split_at_mut(area as usize / 2);
        rows.read(c * area, some).unwrap();
        assert!(some == &bytes_of(&mut (0..area / 4).map(|k| sample(c, k)))[..]);
        assert!(rows.read(c * area + area / 4, rest).is_err());
    }
}

/// Small files of every kind, compressed ones too.
fn small_files() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tiff");
    let mut files: Vec<Vec<u8>> = (std::fs::read_dir(folder).unwrap())
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(files.len() >= 5);
    let page = || Written::new(4, 2, 8, &[1; 8]).with_text(306, "2024:05:01 12:30:59");
    let text = "ImageJ=1.5\nimages=4\nchannels=2\nframes=2\n";
    let stack = [page().with_text(270, text), page(), page(), page()];
    files.push(tiff(false, false, &stack));
    files.push(tiff(true, true, &[page().in_strips(1, 4)]));
    files
}

#[test]
fn every_truncation_and_flipped_bit_ends_in_an_error_or_frames() {
    let try_it = |bytes: &[u8]| {
        let file = file(bytes);
        let Ok(frames) = open_all(&Input::named(file.path()), &Reading::default()) else {
            return;
        };
        for frame in frames.take(8) {
            let Ok(mut frame) = frame else { continue };
            let size = frame.facts().dtype.size();
            let n_samples = volume(&frame.facts().shape).unwrap();
            // What claims to be larger is read at both ends.
            let n_read = n_samples.min(4096);
            let mut out = vec![0; usize::try_from(n_read).unwrap() * size];
            let _ = frame.read(0, &mut out);
            if n_samples < 1 << 20 {
                let _ = frame.read(n_samples - n_read, &mut out);
            }
        }
    };
    for bytes in small_files() {
        let head = bytes.len().min(16);
        // Directories are at the head or the end; the middle is samples.
        let step = (bytes.len() / 200).max(1);
        for end in (0..bytes.len()).step_by(step) {
            try_it(&bytes[..end]);
        }
        let places = (0..head).chain((head..bytes.len()).step_by(step.min(7)));
        for at in places {
            for bit in [0, 3, 7] {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                try_it(&flipped);
            }
        }
    }
}
