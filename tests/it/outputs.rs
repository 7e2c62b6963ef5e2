//! Every kind of output, read again: by hand here, and by the libraries that
//! people use, where a Python has them.

use std::ffi::OsString;
use std::process::Command;

use crate::support::{Image, Scratch, Stored, python_with, read_fits};

/// Runs a script in the folder, which must end well.
pub(crate) fn run(dir: &Scratch, python: &OsString, script: &str) -> String {
    let mut command = Command::new(python);
    command.current_dir(dir.path("")).args(["-c", script]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Samples of every kind of bits, a frame for each z.
pub(crate) fn cube_of<T: Stored>(sample: impl Fn(u64) -> T) -> Scratch {
    let dir = Scratch::new();
    let mut line = "append a.cube --tile 3,2,2".to_string();
    for z in 0..3 {
        let image = Image::new(&[7, 5], |k| sample(35 * z + k))
            .with("EXPTIME", &format!("{}.5", z + 1))
            .with("NUMBER", &z.to_string())
            .with("OBJECT", &format!("'star {z}  '"));
        dir.frame(&format!("{z}.fits"), &image);
        line.push_str(&format!(" {z}.fits"));
    }
    dir.ok(&line);
    dir
}

/// Calls `$each` with a cube of every type.
macro_rules! every_type {
    ($each:expr) => {
        $each(cube_of(|k| (k * 41) as u8), "uint8");
        $each(cube_of(|k| (k * 41) as i8), "int8");
        $each(cube_of(|k| (k * 4099) as u16), "uint16");
        $each(cube_of(|k| (k * 4099) as i16), "int16");
        $each(cube_of(|k| (k * 300_000_007) as u32), "uint32");
        $each(cube_of(|k| (k * 300_000_007) as i32), "int32");
        $each(cube_of(|k| k.wrapping_mul(0x9e37_79b9_7f4a_7c15)), "uint64");
        $each(
            cube_of(|k| k.wrapping_mul(0x9e37_79b9_7f4a_7c15) as i64),
            "int64",
        );
        $each(cube_of(float), "float32");
        $each(cube_of(|k| f64::from(float(k)) * 1e-200), "float64");
    };
}
pub(crate) use every_type;

pub(crate) fn float(k: u64) -> f32 {
    match k % 9 {
        0 => f32::NAN,
        1 => -0.0,
        2 => f32::INFINITY,
        _ => (k as f32 - 50.0) * 0.37,
    }
}

#[test]
fn a_fits_output_has_checksums_and_a_table_of_its_frames() {
    let dir = cube_of(|k| k as i16);
    dir.ok("slice a.cube -o a.fits");
    let hdus = read_fits(&dir.read("a.fits"));
    assert_eq!(hdus.len(), 2);
    for hdu in &hdus {
        assert!(hdu.value("CHECKSUM").is_some() && hdu.value("DATASUM").is_some());
    }
    // All 32-bit words of an HDU, its data and CHECKSUM counted, add up to -0.
    let bytes = dir.read("a.fits");
    let sum = bytes
        .chunks_exact(4)
        .map(|word| u64::from(u32::from_be_bytes(word.try_into().unwrap())))
        .sum::<u64>();
    assert_eq!(sum % u64::from(u32::MAX), 0);
    let table = &hdus[1];
    assert_eq!(table.value("EXTNAME").unwrap(), "'FRAMES'");
    assert_eq!(table.number("NAXIS2"), Some(3.0));
    let names: Vec<String> = (1..=11)
        .map(|number| table.value(&format!("TTYPE{number}")).unwrap())
        .collect();
    assert_eq!(names[0], "'POSITION'");
    assert_eq!(names[8..], ["'EXPTIME'", "'NUMBER'", "'OBJECT'"]);
    // Into a pipe no sum can be put back; the table is the same.
    let piped = read_fits(&dir.ok("slice a.cube --format fits -o -").out);
    assert_eq!(piped.len(), 2);
    assert_eq!(piped[0].value("CHECKSUM"), None);
    assert_eq!(piped[1].data, table.data);
}

#[test]
fn a_table_of_frames_comes_when_there_are_several_or_it_is_asked_for() {
    let dir = cube_of(|k| k as i16);
    for (line, expected) in [
        ("", 2),
        ("--no-frames-table", 1),
        ("--section *,*,2:3", 2),
        ("--section *,*,2", 1),
        ("--axis x,y --at 2", 1),
        ("--axis x,y --at 2 --frames-table", 2),
        ("--axis z --at 2,2", 1),
        ("--axis z --at 2,2 --frames-table", 2),
    ] {
        let run = dir.ok(&format!("slice a.cube {line} --format fits -o -"));
        assert_eq!(read_fits(&run.out).len(), expected, "{line}");
    }
    dir.cube("slice a.cube --frames-table -o a.npy")
        .fails(&["npy has no place for a table of frames"]);
}

#[test]
fn rows_of_the_table_follow_the_cut() {
    let dir = cube_of(|k| k as i16);
    dir.ok("move a.cube --from 1 --to 3");
    let run = dir.ok("slice a.cube --section *,*,3:1 --format fits -o -");
    let table = read_fits(&run.out).remove(1);
    let row = table.number("NAXIS1").unwrap() as usize;
    let number = |row: &[u8]| i32::from_be_bytes(row[..4].try_into().unwrap());
    let rows: Vec<&[u8]> = table.data.chunks_exact(row).collect();
    assert_eq!(
        rows.iter().map(|row| number(row)).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    // Frames 2, 3, 1 of the sequence, backwards.
    let names: Vec<&[u8]> = rows.iter().map(|row| &row[13..19]).collect();
    assert_eq!(names, [b"0.fits", b"2.fits", b"1.fits"]);
}

/// What is the same for every array: samples, bit for bit, against the FITS file.
const SAME: &str = "
import warnings
warnings.simplefilter('error')
import numpy as np
from astropy.io import fits
def same(found, expected):
    expected = np.asarray(expected)
    expected = expected.astype(expected.dtype.newbyteorder('<'))
    assert found.shape == expected.shape, (found.shape, expected.shape)
    assert found.dtype.newbyteorder('<') == expected.dtype, (found.dtype, expected.dtype)
    assert found.astype(expected.dtype).tobytes() == expected.tobytes()
with fits.open('a.fits', checksum=True) as hdus:
    hdus.verify('exception')
    cube = hdus[0].data.copy()
";

const FITS: &str = "
with fits.open('a.fits', checksum=True) as hdus:
    assert hdus[0]._checksum_valid and hdus[0]._datasum_valid
    assert hdus[1]._checksum_valid and hdus[1]._datasum_valid
    table = hdus['FRAMES'].data
    assert list(table['POSITION']) == [1, 2, 3]
    assert list(table['EXPTIME']) == [1.5, 2.5, 3.5]
    assert list(table['NUMBER']) == [0, 1, 2]
    assert list(table['OBJECT']) == ['star 0', 'star 1', 'star 2']
    assert list(table['SOURCE']) == ['0.fits', '1.fits', '2.fits']
    assert list(table['SHAPE']) == ['7,5'] * 3
for z in range(3):
    same(cube[z], fits.getdata(f'{z}.fits'))
same(fits.getdata('a.fits.gz'), cube)
if cube.dtype.kind == 'f' or cube.dtype.itemsize < 8:
    with fits.open('a.fits.fz') as hdus:
        hdus.verify('exception')
        same(hdus[1].data, cube)
        assert hdus[1].header['OBJECT'] == 'star 0'
        assert list(hdus['FRAMES'].data['NUMBER']) == [0, 1, 2]
    with fits.open('a.fits.fz', checksum=True, disable_image_compression=True) as hdus:
        assert all(hdu._checksum_valid and hdu._datasum_valid for hdu in hdus)
same(np.load('a.npy'), cube)
same(np.fromfile('a.raw', cube.dtype.newbyteorder('<')).reshape(cube.shape), cube)
";

#[test]
fn astropy_and_numpy_read_what_they_are_given() {
    let Some(python) = python_with("astropy, numpy") else {
        return;
    };
    let check = |dir: Scratch, name: &str| {
        dir.ok("slice a.cube -o a.fits");
        dir.ok("slice a.cube -o a.npy");
        dir.ok("slice a.cube -o a.fits.gz");
        if !name.ends_with("int64") {
            dir.ok("slice a.cube -o a.fits.fz");
        }
        let raw = dir.ok("slice a.cube -o a.raw");
        raw.says(&[name, "little-endian", "7 x 5 x 3"]);
        run(&dir, &python, &format!("{SAME}{FITS}"));
    };
    every_type!(check);
}

const TIFF: &str = "
import tifffile
same(tifffile.imread('a.btf'), cube)
assert tifffile.TiffFile('a.btf').is_bigtiff and not tifffile.TiffFile('a.tif').is_bigtiff
same(tifffile.imread('a.tif'), cube)
same(tifffile.imread('a.tif', key=1), cube[1])
same(tifffile.imread('b.tif'), cube[2:0:-1, ::2, 1:3])
with tifffile.TiffFile('a.tif') as tif:
    assert tif.series[0].axes == 'ZYX' and len(tif.pages) == 3
";

#[test]
fn tifffile_reads_shape_and_samples_of_a_tiff_output() {
    let Some(python) = python_with("astropy, tifffile") else {
        return;
    };
    let check = |dir: Scratch, _: &str| {
        dir.ok("slice a.cube -o a.fits");
        dir.ok("slice a.cube -o a.tif");
        dir.ok("slice a.cube -o a.btf");
        let piped = dir.ok("slice a.cube --section 2:3,*:2,3:2 --format tiff -o -");
        dir.write("b.tif", &piped.out);
        run(&dir, &python, &format!("{SAME}{TIFF}"));
    };
    every_type!(check);
}

const ZARR: &str = "
import zarr
store = zarr.open('a.zarr', mode='r')
array = store['data']
same(array[...], cube)
assert array.metadata.dimension_names == ('z', 'y', 'x')
assert array.attrs['fits']['OBJECT'] == 'star 0'
same(array[1:, ::2, 1:3], cube[1:, ::2, 1:3])
same(zarr.open('b.zarr', mode='r')['data'][...], cube[:, 2])
assert zarr.open('b.zarr', mode='r')['data'].metadata.dimension_names == ('z', 'x')
";

#[test]
fn zarr_python_reads_a_store() {
    let Some(python) = python_with("astropy, zarr") else {
        return;
    };
    let check = |dir: Scratch, _: &str| {
        dir.ok("slice a.cube -o a.fits");
        dir.ok("slice a.cube -o a.zarr");
        dir.cube("slice a.cube -o a.zarr").fails(&["exists"]);
        dir.ok("slice a.cube --overwrite --axis x,z --at 3 -o b.zarr");
        run(&dir, &python, &format!("{SAME}{ZARR}"));
        assert!(!dir.names().iter().any(|name| name.starts_with('.')));
    };
    every_type!(check);
}

const XARRAY: &str = "
import xarray, dask.array
data = xarray.open_zarr('a.zarr')['data']
assert data.dims == ('z', 'y', 'x')
same(data.values, cube)
same(data.isel(z=1, y=slice(None, None, 2)).values, cube[1, ::2])
lazy = dask.array.from_zarr('a.zarr', component='data')
same(lazy.compute(), cube)
same(lazy[2, 1:4].compute(), cube[2, 1:4])
";

#[test]
fn xarray_and_dask_read_a_store() {
    let Some(python) = python_with("astropy, xarray, dask.array, zarr") else {
        return;
    };
    let check = |dir: Scratch, _: &str| {
        dir.ok("slice a.cube -o a.fits");
        dir.ok("slice a.cube -o a.zarr");
        run(&dir, &python, &format!("{SAME}{XARRAY}"));
    };
    check(cube_of(|k| (k * 4099) as u16), "uint16");
    check(cube_of(float), "float32");
}

#[test]
fn funpack_makes_of_a_compressed_image_the_one_that_is_not() {
    let has_funpack = Command::new("funpack").arg("-V").output().is_ok();
    if !has_funpack {
        return crate::support::skip("there is no funpack");
    }
    let check = |dir: Scratch, name: &str| {
        dir.ok("slice a.cube -o a.fits");
        let run = dir.cube("slice a.cube -o b.fits.fz");
        if name.ends_with("int64") {
            run.fails(&["does not hold", "64-bit"]);
            return assert!(!dir.exists("b.fits.fz"));
        }
        run.ends(0);
        let mut command = Command::new("funpack");
        command.current_dir(dir.path("")).arg("b.fits.fz");
        assert!(command.status().unwrap().success());
        let (plain, unpacked) = (
            read_fits(&dir.read("a.fits")),
            read_fits(&dir.read("b.fits")),
        );
        assert_eq!(unpacked.len(), plain.len());
        for (plain, unpacked) in plain.iter().zip(&unpacked) {
            assert!(plain.data == unpacked.data, "{name}");
        }
        for keyword in ["SIMPLE", "BITPIX", "BZERO", "OBJECT", "EXPTIME", "EXTNAME"] {
            assert_eq!(
                unpacked[0].value(keyword),
                plain[0].value(keyword),
                "{name}: {keyword}"
            );
        }
    };
    every_type!(check);
}

#[test]
fn a_cut_of_four_axes_keeps_them_in_a_tiff_file() {
    let dir = cube_of(|k| k as u16);
    // Three frames at each of two places on the fourth axis.
    dir.ok("slice a.cube -o a.npy");
    dir.ok("append b.cube --axis w a.npy a.npy");
    assert_eq!(dir.shape("b.cube"), [7, 5, 3, 2]);
    for name in ["b.tif", "b.btf"] {
        dir.ok(&format!("slice b.cube -o {name}"));
        dir.ok(&format!("append {name}.cube {name}"));
        assert_eq!(dir.shape(&format!("{name}.cube")), [7, 5, 3, 2]);
        let samples = |cube: &str| dir.ok(&format!("slice {cube} --format raw -o -")).out;
        assert!(samples("b.cube") == samples(&format!("{name}.cube")));
    }
    // An axis between others stays where it was, though its length is 1.
    dir.ok("slice b.cube --section *,*,2,* -o c.tif");
    dir.ok("append c.cube c.tif");
    assert_eq!(dir.shape("c.cube"), [7, 5, 1, 2]);
    // Pages of three axes are frames, as before.
    dir.ok("slice a.cube -o a.tif");
    dir.ok("append d.cube a.tif");
    assert_eq!(dir.info("d.cube")["frames"], 3);
}

#[test]
fn a_gzipped_fits_output_holds_the_same_bytes() {
    let dir = cube_of(|k| k as u16);
    for line in ["--axis x,y --at 2", "--section -*,*,3:1"] {
        dir.ok(&format!("slice a.cube {line} --overwrite -o a.fits.gz"));
        let mut bytes = Vec::new();
        let packed = dir.read("a.fits.gz");
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut bytes)
            .unwrap();
        let plain = dir.ok(&format!("slice a.cube {line} --format fits -o -"));
        assert_eq!(bytes, plain.out);
        let piped = dir.ok(&format!("slice a.cube {line} --format fits.gz -o -"));
        assert_eq!(piped.out, packed);
    }
    // What was put out comes in again.
    dir.ok("append b.cube a.fits.gz");
    assert_eq!(dir.shape("b.cube"), [7, 5, 3]);
}

/// Sides and colours of a PNG, top row first.
pub(crate) fn read_png(bytes: &[u8]) -> (u32, u32, Vec<[u8; 3]>) {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width, info.height, pixels.as_chunks::<3>().0.to_vec())
}

#[test]
fn a_plane_is_a_picture_with_y_upwards() {
    let dir = cube_of(|k| k as i16);
    let picture = |options: &str| {
        let run = dir.ok(&format!(
            "slice a.cube --axis x,y --at 2 --format png --max-size 7 -o - {options}"
        ));
        read_png(&run.out)
    };
    let (width, height, gray) = picture("--stretch minmax");
    assert_eq!((width, height), (7, 5));
    // x, y = 1, 1 is the least sample and stands at the bottom left.
    assert_eq!((gray[28], gray[6]), ([0; 3], [255; 3]));
    let (_, _, inverted) = picture("--stretch minmax --colormap inverted");
    assert_eq!((inverted[28], inverted[6]), ([255; 3], [0; 3]));
    for (most, sides) in [(3, (3, 2)), (15, (14, 10)), (2048, (511, 365))] {
        let line = format!("slice a.cube --axis x,y --at 2 -o - --format png --max-size {most}");
        let (width, height, _) = read_png(&dir.ok(&line).out);
        assert_eq!((width, height), sides);
    }
    dir.cube("slice a.cube --format png -o a.png")
        .fails(&["7 x 5 x 3"]);
    for wrong in ["--stretch log", "--colormap jet", "--max-size 0"] {
        let line = format!("slice a.cube --axis x,y --at 2 -o a.png {wrong}");
        dir.cube(&line).ends(2);
    }
}

#[test]
fn spectra_one_below_the_other_are_rows_of_a_picture() {
    let dir = Scratch::new();
    for number in 0..12u64 {
        let image = Image::new(&[42751], move |k| (number * 100 + k % 21) as u16);
        dir.frame(&format!("{number}.fits"), &image);
    }
    let names: Vec<String> = (0..12).map(|number| format!("{number}.fits")).collect();
    dir.ok(&format!("append s.cube {}", names.join(" ")));
    dir.ok("slice s.cube --stretch minmax -o s.png");
    let bytes = dir.read("s.png");
    let says = b"21 x 1 samples are 1 x 10 pixels";
    assert!(bytes.windows(says.len()).any(|part| part == says));
    let (width, height, colors) = read_png(&bytes);
    assert_eq!((width, height), (2036, 120));
    // The last row is short: its mean is another.
    for (y, row) in colors.chunks_exact(2036).rev().enumerate() {
        let levels = row[..2035].iter().map(|color| i32::from(color[0]));
        let wanted = (255.0 * (y / 10) as f64 / 11.0) as i32;
        assert!(
            levels.into_iter().all(|level| (level - wanted).abs() < 4),
            "{y}"
        );
    }
}

#[test]
fn profiles_are_plots() {
    let dir = cube_of(|k| k as i16);
    for line in ["--axis z --at 2,2", "--axis x --at 2,2 --at 3,3"] {
        let run = dir.ok(&format!("slice a.cube {line} --format png -o -"));
        let (width, height, colors) = read_png(&run.out);
        assert_eq!((width, height), (1200, 700));
        let different: std::collections::HashSet<_> = colors.iter().collect();
        assert!(different.len() > 10);
    }
    let plot = |locale: &str| {
        let mut command = dir.command();
        command.env("LC_ALL", locale);
        command.args("slice a.cube --axis z --at 2,2 --plot".split(' '));
        crate::support::finish(command.spawn().unwrap()).ends(0)
    };
    let run = plot("C");
    assert!(run.out.is_ascii() && run.out().contains("a.cube  x,y = 2,2"));
    assert!(!plot("C.UTF-8").out.is_ascii());
    dir.cube("slice a.cube --axis x,y --at 1 --plot")
        .fails(&["plot holds profiles, but the cut is 7 x 5"]);
}

/// What the outputs of a folder hold, where they hold no more than samples.
fn bytes_of<T: Stored>(samples: &[T]) -> Vec<u8> {
    let bits = samples.iter().map(|sample| sample.bits().to_le_bytes());
    bits.flat_map(|bits| bits[..size_of::<T>()].to_vec())
        .collect()
}

#[test]
fn a_combined_frame_comes_as_every_kind() {
    let dir = cube_of(|k| k as i16);
    for kind in [
        "fits", "fits.gz", "fits.fz", "npy", "tiff", "raw", "zarr", "png",
    ] {
        let others = format!("--coverage n.{kind} --error e.{kind}");
        dir.ok(&format!(
            "combine a.cube --axis y --method median -o m.{kind} {others}"
        ));
    }
    // The middle of five rows.
    let medians: Vec<f32> = (0..21)
        .map(|k| (35 * (k / 7) + 14 + k % 7) as f32)
        .collect();
    let raw = dir.read("m.raw");
    assert_eq!(raw, bytes_of(&medians));
    assert_eq!(
        read_fits(&dir.read("m.fits"))[0].samples::<f32>(),
        medians[..]
    );
    assert!(dir.read("m.npy").ends_with(&raw));
    assert_eq!(dir.read("n.raw"), bytes_of(&[5i32; 21]));
    // The axes that stay keep their names.
    let page = dir.read("m.tiff");
    assert!(page.windows(11).any(|part| part == b"\"axes\": \"ZX"));
    let array: serde_json::Value =
        serde_json::from_slice(&dir.read("m.zarr/data/zarr.json")).unwrap();
    assert_eq!(array["dimension_names"], serde_json::json!(["z", "x"]));
    let picture = |line: &str| {
        let run = dir.ok(&format!(
            "combine a.cube --method max --max-size 7 -o - {line}"
        ));
        read_png(&run.out).2
    };
    let minmax = picture("--format png --stretch minmax");
    assert_eq!((minmax[28], minmax[6]), ([0; 3], [255; 3]));
    let inverted = picture("--format png --stretch minmax --colormap inverted");
    assert_eq!((inverted[28], inverted[6]), ([255; 3], [0; 3]));
    let profile = |format: &str| {
        let line = "combine a.cube --method mean --section [2:4,3,*]";
        let run = dir.ok(&format!("{line} --format {format} -o -"));
        run.out().to_string()
    };
    assert_eq!(profile("csv"), "x,value\n2,50\n3,51\n4,52\n");
    assert!(profile("plot").contains("a.cube  combined along z"));
    dir.cube("combine a.cube --method mean -o m.csv")
        .fails(&["csv holds profiles, but the cut is 7 x 5"]);
}

#[test]
fn a_mask_comes_as_every_kind() {
    let dir = cube_of(|k| k as i16);
    let clean = "clean a.cube --dry-run --sigma 0.5";
    for kind in ["fits", "fits.gz", "npy", "tiff", "raw", "zarr"] {
        dir.ok(&format!("{clean} --mask m.{kind}"));
    }
    // Of three samples the first and the last are far from the middle.
    let mask: Vec<u8> = (0..105).map(|k| u8::from(k / 35 != 1)).collect();
    assert_eq!(dir.read("m.raw"), mask);
    assert!(dir.read("m.npy").ends_with(&mask));
    assert_eq!(read_fits(&dir.read("m.fits"))[0].samples::<u8>(), mask);
    dir.ok(&format!("{clean} --section [2:4,3,*] --mask m.png"));
    let (width, _, colors) = read_png(&dir.read("m.png"));
    let (black, white) = ([0; 3], [255; 3]);
    // Each sample is 170 pixels wide.
    assert_eq!(width, 510);
    let rows = [[white; 510], [black; 510], [white; 510]];
    let mut all = colors.chunks_exact(510).enumerate();
    assert!(all.all(|(y, row)| row == rows[y / 170]));
    dir.ok(&format!("{clean} --section [2,3,*] --mask m.csv"));
    assert_eq!(dir.read("m.csv"), b"z,value\n1,1\n2,0\n3,1\n");
}

#[test]
fn what_is_written_is_read_again_to_the_bit() {
    every_type!(|dir: Scratch, dtype: &str| {
        let samples = dir.ok("slice a.cube --format raw -o -").out;
        for (kind, how) in [
            ("fits", ""),
            ("fits.gz", ""),
            ("fits.fz", ""),
            ("tiff", ""),
            ("btf", ""),
            ("npy", ""),
            ("raw", &format!("--raw 7x5x3,{dtype}")),
        ] {
            if kind == "fits.fz" && dtype.ends_with("int64") {
                continue;
            }
            dir.ok(&format!("slice a.cube -o a.{kind}"));
            dir.ok(&format!("append {kind}.cube {how} a.{kind}"));
            assert_eq!(dir.shape(&format!("{kind}.cube")), [7, 5, 3]);
            let again = dir.ok(&format!("slice {kind}.cube --format raw -o -")).out;
            assert!(again == samples, "{dtype} by way of {kind}");
        }
    });
}

#[test]
fn a_full_disk_leaves_nothing_and_a_closed_pipe_is_no_error() {
    let dir = cube_of(|k| k as i16);
    for format in [
        "fits", "fits.gz", "npy", "tiff", "raw", "csv", "png", "plot",
    ] {
        let cut = match format {
            "csv" | "plot" | "png" => "--axis z --at 2,2",
            _ => "",
        };
        if std::path::Path::new("/dev/full").exists() {
            dir.cube(&format!(
                "slice a.cube {cut} --format {format} -o /dev/full"
            ))
            .ends(1)
            .says(&["no space left on device"]);
        }
        let mut command = dir.command();
        let line = format!("slice a.cube {cut} --format {format} -o -");
        let mut child = command.args(line.split_whitespace()).spawn().unwrap();
        drop(child.stdout.take());
        let run = crate::support::finish(child).ends(0);
        assert!(!run.err.contains("pipe"), "{}", run.err);
    }
    assert_eq!(dir.names(), ["0.fits", "1.fits", "2.fits", "a.cube"]);
}

#[test]
fn samples_that_were_replaced_are_marked_in_a_plot() {
    let dir = Scratch::new();
    let golden = crate::golden::folder().join("patches.cube");
    for name in ["a.cube", "b.cube"] {
        std::fs::copy(&golden, dir.path(name)).unwrap();
    }
    // The last command replaced some; one before it replaced others.
    dir.ok("undo b.cube");
    let mut marked = 0;
    for y in 1..=6 {
        for x in 1..=9 {
            let profile = |cube: &str| dir.profile(&format!("{cube} --axis z --at {x},{y}"));
            let (after, before) = (profile("a.cube"), profile("b.cube"));
            let mut both = after.iter().zip(&before);
            let is_finite = |text: &str| text.parse::<f32>().unwrap().is_finite();
            let is_replaced = both.any(|(after, before)| after != before && is_finite(after));
            let plot = dir.ok(&format!("slice a.cube --axis z --at {x},{y} --plot"));
            let is_marked = plot.out().contains("replaced");
            assert!(is_marked || !is_replaced, "{x},{y}");
            marked += u64::from(is_marked);
        }
    }
    let patched = dir.info("a.cube")["patched"].as_u64().unwrap();
    assert!(0 < marked && marked <= patched, "{marked} of {patched}");
}

#[test]
fn what_a_clean_replaced_is_marked_and_nothing_else() {
    let dir = Scratch::new();
    let mut line = "append a.cube".to_string();
    for z in 0..30u64 {
        // Frame 12 has a spike at x, y = 2, 1.
        let sample = |k: u64| {
            let spike = if (z, k) == (11, 1) { 500 } else { 0 };
            100 + i16::try_from((z * 7 + k * 3) % 5).unwrap() + spike
        };
        dir.frame(&format!("{z}.fits"), &Image::new(&[4, 3], sample));
        line.push_str(&format!(" {z}.fits"));
    }
    dir.ok(&line);
    let plot = |x: u64| {
        let mut command = dir.command();
        command.env("LC_ALL", "C.UTF-8");
        command.args(format!("slice a.cube --axis z --at {x},1 --plot").split(' '));
        let run = crate::support::finish(command.spawn().unwrap()).ends(0);
        run.out().to_string()
    };
    assert!(!plot(2).contains("replaced"));
    dir.ok("clean a.cube --sigma 4");
    assert_eq!(dir.info("a.cube")["patched"], 1);
    // One mark, and one that says what it means.
    assert_eq!(plot(2).matches('×').count(), 2, "{}", plot(2));
    assert!(!plot(1).contains("replaced"));
    let png = |cube: &str| {
        let run = dir.ok(&format!("slice {cube} --axis z --at 2,1 --format png -o -"));
        read_png(&run.out).2
    };
    let marked = png("a.cube");
    dir.ok("compact a.cube");
    // The same samples, of which nothing says any more that they were replaced.
    assert!(!plot(2).contains("replaced"));
    assert!(png("a.cube") != marked);
}

#[test]
fn maps_and_masks_have_no_unit_of_their_frames() {
    let dir = Scratch::new();
    for z in 0..3 {
        let image = Image::new(&[4, 3], |k| z + k as i16)
            .with("BUNIT", "'adu'")
            .with("DATAMAX", "13");
        dir.frame(&format!("{z}.fits"), &image);
    }
    dir.ok("append a.cube 0.fits 1.fits 2.fits");
    dir.ok("combine a.cube --method mean -o m.fits --coverage n.fits --error e.fits");
    dir.ok("clean a.cube --dry-run --sigma 0.5 --mask k.fits");
    for (name, unit) in [
        ("m.fits", Some("'adu'")),
        ("e.fits", Some("'adu'")),
        ("n.fits", None),
        ("k.fits", None),
    ] {
        let image = &read_fits(&dir.read(name))[0];
        let found = image.value("BUNIT").map(|unit| unit.replace(' ', ""));
        assert_eq!(found.as_deref(), unit, "{name}");
        assert_eq!(image.value("DATAMAX"), None, "{name}");
    }
    // A frame that is cut out keeps both.
    let frame = dir.cut("a.cube --axis x,y --at 2");
    assert!(frame.value("BUNIT").is_some() && frame.value("DATAMAX").is_some());
}
