//! Frames as telescopes and pipelines wrote them, where the collection is at hand.
//!
//! `CUBE_FRAMES` names its folder; without one these tests say that they are skipped.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Hdu, Scratch, python_with, read_fits, skip};

/// The files of a sequence, in order.
fn sequence(name: &str) -> Option<Vec<PathBuf>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/frames");
    let frames = std::env::var_os("CUBE_FRAMES").map_or_else(|| beside.into(), PathBuf::from);
    let Ok(entries) = fs::read_dir(frames.join("sequences").join(name)) else {
        skip(&format!(
            "no frames of {name}; CUBE_FRAMES names their folder"
        ));
        return None;
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    Some(files)
}

/// The first image with samples in a file.
fn image_of(file: &PathBuf) -> Hdu {
    let hdus = read_fits(&fs::read(file).unwrap());
    let is_image = |hdu: &Hdu| {
        let first = &hdu.cards[0];
        (first.starts_with("SIMPLE") || first.contains("'IMAGE")) && !hdu.data.is_empty()
    };
    hdus.into_iter().find(is_image).expect("it holds an image")
}

/// Appends a sequence, and sees that every frame comes out as it went in.
fn appended(files: &[PathBuf]) -> (Scratch, Vec<Hdu>) {
    let dir = Scratch::new();
    let list: Vec<String> = files
        .iter()
        .map(|file| file.to_str().unwrap().to_string())
        .collect();
    dir.write("list", list.join("\n"));
    let (first, rest) = list.split_at(1);
    dir.write("first", first.join("\n"));
    dir.write("rest", rest.join("\n"));
    dir.ok("append a.cube @list");
    // In two commands it is the same cube.
    dir.ok("append b.cube @first");
    dir.ok("append b.cube --files-from rest");
    let images: Vec<Hdu> = files.iter().map(image_of).collect();
    assert!(dir.cut("a.cube").data == dir.cut("b.cube").data);
    assert_eq!(dir.info("a.cube")["frames"], images.len());
    for (number, image) in (1..).zip(&images) {
        let section = match image.shape[..] {
            [x] => format!("1:{x},{number},1"),
            [x, y] => format!("1:{x},1:{y},{number}"),
            ref other => panic!("{other:?}"),
        };
        let cut = dir.cut(&format!("a.cube --section {section}"));
        assert_eq!(cut.bitpix, image.bitpix);
        assert!(cut.data == image.data, "frame {number} differs");
    }
    (dir, images)
}

#[test]
fn a_transit_of_hat_p_32() {
    let Some(files) = sequence("hatp32-microobservatory") else {
        return;
    };
    let (dir, images) = appended(&files);
    assert_eq!(dir.shape("a.cube"), [650, 500, 12]);
    assert_eq!(dir.info("a.cube")["dtype"], "int16");
    for (x, y) in [(1, 1), (650, 500), (325, 250), (64, 65)] {
        let k = (y - 1) * 650 + x - 1;
        let expected: Vec<String> = images
            .iter()
            .map(|image| image.samples::<i16>()[k].to_string())
            .collect();
        let found = dir.profile(&format!("a.cube --axis z --at {x},{y}"));
        assert_eq!(found, expected, "{x},{y}");
    }
    // A frame is put out with its own cards.
    let cut = dir.cut("a.cube --axis x,y --at 7");
    for keyword in ["DATE-OBS", "EXPTIME", "OBJECT"] {
        assert_eq!(cut.value(keyword), images[6].value(keyword), "{keyword}");
    }
    let run = dir.ok("info a.cube --frames --csv --keys DATE-OBS");
    for (row, (file, image)) in run.out().lines().skip(1).zip(files.iter().zip(&images)) {
        let date = image.value("DATE-OBS").unwrap_or_default();
        assert!(row.contains(file.to_str().unwrap()), "{row}");
        assert!(row.ends_with(date.trim_matches('\'')), "{row}");
    }
}

#[test]
fn decam_cutouts_of_two_shapes() {
    let Some(files) = sequence("decam-cutouts-mixed-shape") else {
        return;
    };
    let (dir, images) = appended(&files);
    let width = images.iter().map(|image| image.shape[0]).max().unwrap();
    let height = images.iter().map(|image| image.shape[1]).max().unwrap();
    assert!(images.iter().any(|image| image.shape != images[0].shape));
    assert_eq!(dir.shape("a.cube"), [width, height, 8]);
    assert_eq!(dir.info("a.cube")["dtype"], "float32");
    let mut padded = 0;
    for (x, y) in [(1, 1), (width, height), (width, 1), (1, height), (20, 30)] {
        let found = dir.profile(&format!("a.cube --axis z --at {x},{y}"));
        assert_eq!(found.len(), 8);
        for (text, image) in found.iter().zip(&images) {
            let sample: f32 = text.parse().unwrap();
            if x <= image.shape[0] && y <= image.shape[1] {
                let k = (y - 1) * image.shape[0] + x - 1;
                let expected = image.samples::<f32>()[k as usize];
                assert_eq!(sample.to_bits(), expected.to_bits());
            } else {
                assert!(sample.is_nan(), "beside a small frame is pad");
                padded += 1;
            }
        }
    }
    assert!(padded > 0);
}

#[test]
fn a_time_series_of_uves_spectra() {
    let Some(files) = sequence("uves-spectra-1d") else {
        return;
    };
    let (dir, images) = appended(&files);
    assert_eq!(dir.shape("a.cube"), [42751, 12, 1]);
    assert_eq!(dir.info("a.cube")["dtype"], "float32");
    for x in [1, 4096, 4097, 20000, 42751] {
        let found = dir.profile(&format!("a.cube --axis y --at {x},1"));
        let found: Vec<f32> = found.iter().map(|text| text.parse().unwrap()).collect();
        let expected: Vec<f32> = images
            .iter()
            .map(|image| image.samples::<f32>()[x - 1])
            .collect();
        assert_eq!(found, expected, "{x}");
    }
    let cut = dir.cut("a.cube --axis x --at 5,1");
    assert_eq!(cut.shape, [42751]);
    assert!(cut.data == images[4].data);
    assert_eq!(cut.value("CRVAL1"), images[4].value("CRVAL1"));
    // The long keywords of ESO come out as well.
    let long = |hdu: &Hdu| {
        let cards = hdu.cards.iter();
        cards.filter(|card| card.starts_with("HIERARCH")).count()
    };
    assert!(long(&images[4]) > 0);
    assert_eq!(long(&cut), long(&images[4]));
}

#[test]
fn point_spread_functions_of_irac() {
    let Some(files) = sequence("irac-psf-4-channels") else {
        return;
    };
    let (dir, images) = appended(&files);
    assert_eq!(dir.shape("a.cube"), [81, 81, 4]);
    let found = dir.profile("a.cube --axis z --at 41,41");
    let expected: Vec<f32> = images
        .iter()
        .map(|image| image.samples::<f32>()[40 * 81 + 40])
        .collect();
    let found: Vec<f32> = found.iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(found, expected);
}

/// What astropy makes of a cube and of its frames.
const COMPARE: &str = "
import sys, warnings
import numpy as np
from astropy.io import fits
warnings.simplefilter('ignore')
cube = fits.getdata(sys.argv[1])
for z, name in enumerate(sys.argv[2:]):
    with fits.open(name) as hdus:
        frame = next(h.data for h in hdus if h.is_image and h.data is not None)
    y, x = frame.shape
    part = cube[z, :y, :x]
    assert part.dtype.newbyteorder('=') == frame.dtype.newbyteorder('='), (part.dtype, frame.dtype)
    assert np.array_equal(part, frame, equal_nan=frame.dtype.kind == 'f'), name
fits.open(sys.argv[1]).verify('exception')
print('same', len(sys.argv) - 2)
";

#[test]
fn astropy_reads_the_same_samples_from_a_cut_as_from_the_frames() {
    let Some(python) = python_with("astropy") else {
        return;
    };
    for name in [
        "hatp32-microobservatory",
        "decam-cutouts-mixed-shape",
        "irac-psf-4-channels",
    ] {
        let Some(files) = sequence(name) else {
            return;
        };
        let (dir, _) = appended(&files);
        dir.ok("slice a.cube -o out.fits");
        let mut command = Command::new(&python);
        command.args(["-c", COMPARE]).arg(dir.path("out.fits"));
        let output = command.args(&files).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        assert_eq!(output.stdout, format!("same {}\n", files.len()).as_bytes());
    }
}
