//! `cube zarr` and `cube refs`: what zarr-python, xarray and dask read of a cube in place
//! is what `cube slice` puts out; what cannot be right any more is an error.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;

use crate::outputs::{cube_of, every_type, float, run};
use crate::support::{Image, Scratch, python_with};

/// Opens `a.zarr` and `a.refs.json` in several ways, and holds bits against `a.npy`.
const READERS: &str = "
import os, warnings
import dask.array, numpy as np, xarray, zarr
warnings.simplefilter('error')

def same(a, b):
    assert a.shape == b.shape and a.dtype == b.dtype, (a.shape, a.dtype, b.shape, b.dtype)
    assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()

REFERENCES = dict(consolidated=False, storage_options={'fo': 'a.refs.json'})

def from_zarr():
    array = zarr.open('a.zarr', mode='r')['data']
    same(array[...], cube)
    same(array[..., 1::2, 1:3], cube[..., 1::2, 1:3])
    same(dask.array.from_zarr('a.zarr', component='data').compute(), cube)
    data = xarray.open_zarr('a.zarr')
    same(data['data'].values, cube)
    return data

def from_references():
    lazy = dask.array.from_zarr('reference://', component='data', storage_options={'fo': 'a.refs.json'})
    same(lazy.compute(), cube)
    data = xarray.open_dataset('reference://', engine='zarr', chunks={}, backend_kwargs=REFERENCES)
    assert data['data'].dtype == cube.dtype
    np.testing.assert_array_equal(data['data'].values, cube)
    return data

READ = {'zarr': from_zarr, 'refs': from_references}
";

fn readers() -> Option<OsString> {
    python_with("numpy, zarr, xarray, dask.array, fsspec")
}

/// Makes these of `a.cube` anew, and what they are held against.
#[track_caller]
fn make(dir: &Scratch, kinds: &[&str]) {
    dir.ok("slice a.cube -o a.npy --overwrite");
    for kind in kinds {
        match *kind {
            "zarr" => dir.ok("zarr a.cube -o a.zarr --overwrite"),
            _ => dir.ok("refs a.cube -o a.refs.json --overwrite"),
        };
    }
}

/// What reads them: `more` looks at `data`, the dataset of each.
fn reading(dir: &Scratch, kinds: &[&str], more: &str) -> String {
    let mut script = format!("os.chdir({:?})\ncube = np.load('a.npy')\n", dir.path(""));
    for kind in kinds {
        script += &format!("data = READ['{kind}']()\n{more}\n");
    }
    script
}

#[track_caller]
fn read(dir: &Scratch, python: &OsString, kinds: &[&str], more: &str) {
    make(dir, kinds);
    run(
        dir,
        python,
        &(READERS.to_string() + &reading(dir, kinds, more)),
    );
}

const BOTH: [&str; 2] = ["zarr", "refs"];

#[test]
fn every_type_is_read_with_its_edges() {
    let Some(python) = readers() else { return };
    let mut dirs = Vec::new();
    let mut script = READERS.to_string();
    let mut add = |dir: Scratch, name: &str| {
        dir.ok("compact a.cube");
        make(&dir, &BOTH);
        dir.ok("check a.cube --deep");
        assert!(!dir.exists("a.refs.tiles"), "{name}");
        assert!(!dir.names().iter().any(|name| name.starts_with('.')));
        let more =
            format!("assert data['data'].dims == ('z', 'y', 'x') and cube.dtype == '{name}'");
        script += &reading(&dir, &BOTH, &more);
        dirs.push(dir);
    };
    every_type!(add);
    run(&dirs[0], &python, &script);
}

/// Frames in opposite corners of x and z, so that many tiles are void.
fn sparse(pad: &str, image: &dyn Fn(u64) -> Image) -> Scratch {
    let dir = Scratch::new();
    for salt in 0..3 {
        dir.frame(&format!("{salt}.fits"), &image(salt));
    }
    dir.ok(&format!("append a.cube --tile 4,4,2 {pad} 0.fits 1.fits"));
    dir.ok("append a.cube --origin 13,9 2.fits");
    dir
}

#[test]
fn void_reads_as_pad_in_tiles_that_are_there_and_in_those_that_are_not() {
    let Some(python) = readers() else { return };
    let floats = |salt: u64| Image::new(&[6, 5], move |k| (salt * 100 + k) as f32);
    let words = |salt: u64| Image::new(&[6, 5], move |k| (salt * 100 + k) as u16);
    let blank = |salt: u64| {
        let image = Image::new(&[6, 5], move |k| (salt * 100 + k) as i16);
        image.with("BLANK", "-999")
    };
    let mut dirs = Vec::new();
    let mut script = READERS.to_string();
    for (pad, image) in [
        ("", &floats as &dyn Fn(u64) -> Image),
        ("--pad 0", &floats),
        ("--pad=-inf", &floats),
        ("", &words),
        ("--pad 7", &words),
        ("", &blank),
    ] {
        let dir = sparse(pad, image);
        dir.ok("compact a.cube");
        make(&dir, &BOTH);
        script += &reading(&dir, &BOTH, "");
        // All ones: no such chunk.
        let about = dir.read("a.cube");
        let index = &about[about.len() - 16 * 5 * 4 * 2 - 4..];
        let void = index
            .as_chunks::<16>()
            .0
            .iter()
            .filter(|it| **it == [255; 16]);
        assert!(void.count() > 20, "{pad}");
        // Of void that is not NaN one tile is enough for all.
        let is_nan = dir.info("a.cube")["pad"] == "nan";
        assert_eq!(dir.exists("a.refs.tiles"), !is_nan, "{pad}");
        if !is_nan {
            assert!(dir.read("a.refs.tiles").len() <= 4 * 4 * 2 * 4);
        }
        dirs.push(dir);
    }
    run(&dirs[0], &python, &script);
}

#[test]
fn more_axes_and_a_cube_that_is_one_tile_are_read() {
    let Some(python) = readers() else { return };
    let dir = Scratch::new();
    dir.frame("0.fits", &Image::new(&[5, 4, 3], |k| k as i32));
    dir.frame("1.fits", &Image::new(&[5, 4, 3], |k| 100 + k as i32));
    dir.ok("append a.cube --axis w --tile 2,2,2,2 0.fits 1.fits 0.fits");
    dir.ok("compact a.cube");
    read(
        &dir,
        &python,
        &BOTH,
        "assert data['data'].dims == ('w', 'z', 'y', 'x')",
    );
    let dir = Scratch::new();
    dir.frame("0.fits", &Image::new(&[4, 2], |k| k as f64));
    dir.ok("append a.cube --tile 4,2,1 0.fits");
    dir.ok("compact a.cube");
    read(&dir, &python, &BOTH, "");
}

const COORDINATES: &str = "
same(data['EXPTIME'].values, np.array([30.5, np.nan, 31.5]))
assert data['time'].dims == data['EXPTIME'].dims == ('z',)
assert set(data.coords) == {'time', 'EXPTIME'}
assert data['time'].values[0] == np.datetime64('2024-05-01T23:10:00.25')
assert data['time'].values[1] == np.datetime64('2024-05-01T23:12:00')
assert np.isnat(data['time'].values[2])
assert data.attrs['FILTER'] == ['R', None, 'V']
assert data['data'].attrs['units'] == 'adu'
assert data['data'].attrs['fits']['CRPIX1'] == 3
";

#[test]
fn keywords_of_frames_are_coordinates() {
    let dir = Scratch::new();
    let image = |k: u64| Image::new(&[4, 3], move |n| (k + n) as f32).with("CRPIX1", "3");
    let image = |k: u64| image(k).with("BUNIT", "'adu'");
    let (first, last) = ("'2024-05-01T23:10:00.25'", "'2024-05-01T23:12:00'");
    let frames = [
        image(0).with("DATE-OBS", last),
        image(1).with("EXPTIME", "31.5").with("FILTER", "'V'"),
        image(2)
            .with("EXPTIME", "30.5")
            .with("FILTER", "'R'")
            .with("DATE-OBS", first),
    ];
    for (number, image) in frames.iter().enumerate() {
        dir.frame(&format!("{number}.fits"), image);
    }
    dir.ok("append a.cube --tile 4,4,4 --pad 0 0.fits 1.fits 2.fits");
    dir.ok("move a.cube --from 3 --to 1");
    dir.ok("compact a.cube");
    for verb in ["zarr a.cube -o a.zarr", "refs a.cube -o a.refs.json"] {
        let run = dir.ok(&format!("{verb} --keys exptime,FILTER"));
        run.says(&["coordinates time, EXPTIME"]);
        dir.cube(&format!("{verb} --keys SEEING --overwrite"))
            .fails(&["a.cube: no frame has the keyword SEEING", "cube info"]);
        assert_eq!(dir.cube(&format!("{verb} --keys ../x")).status, 2);
    }
    let Some(python) = readers() else { return };
    dir.ok("slice a.cube -o a.npy");
    let script = READERS.to_string() + &reading(&dir, &BOTH, COORDINATES);
    run(&dir, &python, &script);
}

#[test]
fn references_serve_what_clean_changed_and_what_was_not_compacted() {
    let dir = crate::combine::cube();
    dir.ok("compact a.cube");
    dir.ok("clean a.cube --sigma 2");
    dir.ok("clean a.cube --sigma 1.5 --axis y --fill 3");
    dir.cube("zarr a.cube -o a.zarr").fails(&[
        "clean replaced",
        "cube compact puts them in; cube refs copies",
    ]);
    assert!(!dir.exists("a.zarr"));
    dir.cube("refs a.cube -o -")
        .fails(&["references are a file"]);
    let words = cube_of(|k| (k * 4099) as u16);
    let floats = cube_of(float);
    floats
        .cube("zarr a.cube -o a.zarr")
        .fails(&["no other program can read tile", "cube compact"]);
    assert!(!floats.exists("a.zarr"));
    let Some(python) = readers() else { return };
    read(&dir, &python, &["refs"], "");
    assert_eq!(dir.read("a.refs.tiles").len() % (8 * 8 * 4 * 4), 0);
    dir.ok("compact a.cube");
    read(&dir, &python, &BOTH, "");
    // Raw samples, as they came in.
    read(&words, &python, &BOTH, "");
    // The first two frames filled a layer of tiles, the third did not.
    read(&floats, &python, &["refs"], "");
    assert_eq!(floats.read("a.refs.tiles").len(), 9 * 3 * 2 * 2 * 4);
    // Moved tile by tile.
    words.ok("append a.cube 0.fits 1.fits");
    words.ok("move a.cube --from 3:4 --to 1");
    read(&words, &python, &BOTH, "");
}

#[test]
fn positions_that_do_not_follow_tiles_are_refused() {
    for edit in [
        "delete a.cube --at 1",
        "move a.cube --from 3 --to 1",
        "append a.cube --before 0.fits",
    ] {
        let dir = cube_of(|k| k as u16);
        dir.ok(edit);
        let before = dir.read("a.cube");
        for verb in ["zarr", "refs"] {
            dir.cube(&format!("{verb} a.cube -o out")).fails(&[
                "a.cube: positions of z do not follow its tiles, from position",
                "cube compact",
            ]);
            assert!(!dir.exists("out"));
        }
        assert_eq!(dir.read("a.cube"), before);
        dir.ok("compact a.cube");
        dir.ok("refs a.cube -o out");
    }
    let dir = cube_of(|k| k as u16);
    dir.ok("delete a.cube --at 1:3");
    dir.cube("zarr a.cube -o out")
        .fails(&["the cube is empty: z has length 0"]);
}

const STALE: &str = "
import sys, zarr
array = zarr.open('a.zarr', mode='r')['data']
try:
    array[...]
except Exception as error:
    assert 'checksum' in str(error), error
    sys.exit()
raise SystemExit('samples of a shard that is stale')
";

#[test]
fn a_store_of_a_cube_that_changed_is_an_error_until_it_is_made_again() {
    let dir = cube_of(|k| k as u16);
    dir.ok("zarr a.cube -o a.zarr").says(&["the index took"]);
    let whole = dir.read("a.cube");
    dir.ok("zarr a.cube -o b.zarr")
        .says(&["the index was there"]);
    assert_eq!(dir.read("a.cube"), whole, "it is written once");
    assert_eq!(dir.read("a.cube").len() % 4096, 0);
    // What changes nothing takes no store away.
    dir.ok("clean a.cube --sigma 99")
        .says(&["the cube is as it was"]);
    dir.cube("append a.cube a.zarr/zarr.json").ends(1);
    assert_eq!(dir.read("a.cube").len(), whole.len());
    dir.ok("zarr a.cube -o b.zarr --overwrite")
        .says(&["the index was there"]);
    let python = readers();
    for edit in [
        "append a.cube 0.fits",
        "clean a.cube --sigma 1.1",
        "undo a.cube",
        "compact a.cube",
        "sort a.cube --by EXPTIME --reverse",
        "compact a.cube",
    ] {
        let before = dir.read("a.cube");
        dir.ok(edit);
        assert_ne!(dir.read("a.cube"), before, "{edit}");
        dir.ok("check a.cube --deep");
        if let Some(python) = &python {
            run(&dir, python, STALE);
        }
        if dir.cube("zarr a.cube -o a.zarr --overwrite").status == 0
            && let Some(python) = &python
        {
            read(&dir, python, &["zarr"], "");
        }
    }
}

#[test]
fn references_show_the_commit_they_were_made_from() {
    let Some(python) = readers() else { return };
    let dir = cube_of(|k| k as u16);
    read(&dir, &python, &["refs"], "");
    dir.ok("append a.cube 0.fits 1.fits");
    dir.ok("clean a.cube --sigma 1.1");
    let script = READERS.to_string() + &reading(&dir, &["refs"], "");
    run(&dir, &python, &script);
}

#[test]
fn store_and_cube_can_be_moved_together_and_a_link_names_no_other_file() {
    let dir = cube_of(|k| k as u16);
    for folder in ["here/below", "there"] {
        fs::create_dir_all(dir.path(folder)).unwrap();
    }
    fs::rename(dir.path("a.cube"), dir.path("here/below/a.cube")).unwrap();
    symlink("here/below/a.cube", dir.path("a.cube")).unwrap();
    dir.ok("zarr a.cube -o here/a.zarr");
    let link = fs::read_link(dir.path("here/a.zarr/data/c/0/0/0")).unwrap();
    assert_eq!(link.to_str(), Some("../../../../../below/a.cube"));
    dir.ok("zarr a.cube -o there/a.zarr");
    let link = fs::read_link(dir.path("there/a.zarr/data/c/0/0/0")).unwrap();
    assert_eq!(link, fs::canonicalize(dir.path("a.cube")).unwrap());
    dir.ok("slice a.cube -o here/a.npy");
    fs::rename(dir.path("here"), dir.path("moved")).unwrap();
    dir.cube("refs moved/below/a.cube -o moved/a.refs.json --url below/a.cube")
        .ends(0);
    let Some(python) = readers() else { return };
    let script = format!("{READERS}os.chdir('moved')\ncube = np.load('a.npy')\n");
    run(&dir, &python, &(script + "from_zarr()\nfrom_references()"));
}

/// A median along z by two worker processes, held against that of `cube combine`.
const CLUSTER: &str = "
import numpy as np, dask, dask.array, xarray
from dask.distributed import Client, LocalCluster

if __name__ == '__main__':
    wanted = np.load('median.npy')
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            assert len(client.scheduler_info()['workers']) == 2
            references = dict(consolidated=False, storage_options={'fo': 'a.refs.json'})
            for data in (
                dask.array.from_zarr('a.zarr', component='data'),
                xarray.open_zarr('a.zarr')['data'].data,
                xarray.open_dataset('reference://', engine='zarr', chunks={}, backend_kwargs=references)['data'].data,
            ):
                assert data.npartitions > 8
                found = dask.array.nanmedian(data.rechunk({0: -1}), axis=0).compute()
                assert found.dtype == wanted.dtype and found.shape == wanted.shape
                none = np.isnan(wanted)
                assert np.array_equal(np.isnan(found), none) and not none.all()
                assert found[~none].tobytes() == wanted[~none].tobytes()
";

#[test]
fn dask_workers_compute_the_median_that_combine_does() {
    let Some(python) = python_with("dask.distributed, xarray, zarr, fsspec") else {
        return;
    };
    let dir = crate::combine::cube();
    dir.ok("compact a.cube");
    dir.ok("zarr a.cube -o a.zarr");
    dir.ok("refs a.cube -o a.refs.json");
    dir.ok("combine a.cube --method median -o median.npy");
    dir.write("median.py", CLUSTER);
    let output = std::process::Command::new(python)
        .arg("median.py")
        .current_dir(dir.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn tiles_that_are_long_on_an_axis_make_it_one_of_the_cube() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::new(&[9, 5], |k| k as f32));
    dir.frame("2.fits", &Image::new(&[9, 5], |k| k as f32 + 100.0));
    dir.ok("append a.cube --tile 8,8,2,3 1.fits 2.fits");
    assert_eq!(dir.shape("a.cube"), [9, 5, 2, 1]);
    assert_eq!(dir.info("a.cube")["tile"], serde_json::json!([8, 8, 2, 3]));
    dir.ok("compact a.cube");
    dir.ok("zarr a.cube -o a.zarr");
    let Some(python) = python_with("zarr") else {
        return;
    };
    let script = "import zarr; a = zarr.open('a.zarr')['data'][...]; \
                  assert a.shape == (1, 2, 5, 9) and a[0, 1, 4, 8] == 144 and a[0, 0, 0, 3] == 3";
    let mut command = std::process::Command::new(python);
    command.args(["-c", script]).current_dir(dir.path("."));
    assert!(command.status().unwrap().success());
}
