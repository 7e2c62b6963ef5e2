//! What can be named as a frame besides a plain file with one: directories, parts of
//! files, arrays, and standard input.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use crate::support::{Image, Scratch, finish, table};
use crate::tiff_file::{Page, tiff};

/// An image of 2 x 2 that holds `value` and the numbers after it.
fn image(value: i16) -> Image {
    Image::new(&[2, 2], |k| value + k as i16)
}

fn values(dir: &Scratch, cube: &str) -> Vec<String> {
    dir.profile(&format!("{cube} --axis z --at 1,1"))
}

/// Extensions SCI (10), a table, SCI again (20), and DQ (30), behind an empty primary.
fn many() -> Vec<u8> {
    let second = image(20).with("EXTVER", "2");
    [
        Image::empty().primary(),
        image(10).extension("SCI"),
        table("INFO", 3),
        second.extension("SCI"),
        image(30).extension("DQ"),
    ]
    .concat()
}

#[test]
fn a_directory_is_walked_in_natural_order() {
    let dir = Scratch::new();
    fs::create_dir_all(dir.path("night/sub2/deep")).unwrap();
    fs::create_dir(dir.path("night/sub10")).unwrap();
    fs::create_dir(dir.path("night/.hidden")).unwrap();
    for (name, value) in [
        ("frame10.fits", 110),
        ("frame2.fits", 102),
        ("frame1.whatever", 101),
        ("sub10/a.fits", 410),
        ("sub2/b.fits", 302),
        ("sub2/deep/a.fits", 303),
        (".x.fits", 999),
        ("frame3.fits.part", 999),
        ("frame4.TMP", 999),
        ("frame5.fits~", 999),
        (".hidden/a.fits", 999),
    ] {
        dir.frame(&format!("night/{name}"), &image(value));
    }
    let page = Page::new(2, 2, 16, &[201, 0, 0, 0, 0, 0, 0, 0]).with(339, &[2]);
    dir.write("night/page.tif", tiff(false, false, &[page]));
    dir.write("night/notes.txt", "seeing 1.2");
    dir.write("night/empty", "");
    symlink("..", dir.path("night/sub2/loop")).unwrap();
    symlink("nowhere", dir.path("night/lost.fits")).unwrap();
    symlink("frame2.fits", dir.path("night/z-link.fits")).unwrap();
    dir.ok("append a.cube night");
    let expected = ["101", "102", "110", "201", "302", "303", "410", "102"];
    assert_eq!(values(&dir, "a.cube"), expected);
    // A cube in a directory is none of its frames, so it may lie there.
    dir.ok("append night/b.cube night/sub2 night");
    dir.ok("append night/b.cube --resume night night/sub2")
        .says(&["0 frames added"]);
    // It may also stand in a list.
    dir.write("list", "night/sub10\nnight/sub2\n");
    dir.ok("append c.cube @list");
    assert_eq!(values(&dir, "c.cube"), ["410", "302", "303"]);
    fs::create_dir(dir.path("bare")).unwrap();
    dir.cube("append d.cube bare")
        .fails(&["bare: is a directory without files"]);
    dir.write("bare/notes.txt", "x");
    dir.cube("append d.cube night/sub2 bare")
        .fails(&["bare: is a directory without frames: none of its 1 files is one"]);
    // A command that is run again and again begins before there is one.
    dir.ok("append d.cube --resume bare")
        .says(&["d.cube: 0 frames added (0 B); no cube was made"]);
    assert!(!dir.exists("d.cube"));
    dir.ok("append d.cube --resume night/sub10 bare")
        .says(&["1 frame added"]);
    dir.ok("append d.cube --resume bare")
        .says(&["0 frames added (0 B); the cube is 2 x 2 x 1"]);
    dir.cube("append d.cube --resume nowhere")
        .fails(&["nowhere"]);
}

#[test]
fn what_is_named_as_a_frame_and_is_none_is_not_passed_over() {
    let dir = Scratch::new();
    fs::create_dir(dir.path("night")).unwrap();
    dir.frame("night/a.fits", &image(1));
    dir.write("night/b.FIT", "");
    dir.write("night/c.fits.gz", "no gzip");
    dir.write("night/d.tif", vec![0; 5000]);
    dir.write(
        "night/e.npy",
        "version https://git-lfs.github.com/spec/v1\n",
    );
    dir.write("night/notes.gz", "no gzip");
    dir.write("night/notes.fits.txt", "seeing 1.2");
    dir.cube("append a.cube night").fails(&["b.FIT"]);
    dir.cube("append a.cube --skip-bad night").ends(3).says(&[
        "b.FIT",
        "c.fits.gz",
        "d.tif",
        "e.npy",
        "1 frame added, 4 left out",
    ]);
    fs::remove_file(dir.path("night/a.fits")).unwrap();
    dir.cube("append b.cube night").fails(&["b.FIT"]);
}

#[test]
fn all_images_of_a_file_are_frames() {
    let dir = Scratch::new();
    dir.write("a.fits", many());
    dir.ok("append a.cube a.fits");
    assert_eq!(values(&dir, "a.cube"), ["10"]);
    dir.ok("append b.cube --hdu all a.fits");
    assert_eq!(values(&dir, "b.cube"), ["10", "20", "30"]);
    let run = dir.ok("info b.cube --frames --json");
    let frames: serde_json::Value = serde_json::from_str(run.out()).unwrap();
    let hdus: Vec<u64> = (0..3).map(|k| frames[k]["hdu"].as_u64().unwrap()).collect();
    assert_eq!(hdus, [1, 3, 4]);
    // Run again, it knows them apart: one of them is there already.
    dir.ok("append c.cube --hdu SCI,2 a.fits");
    dir.ok("append c.cube --resume --hdu all a.fits")
        .says(&["2 frames added", "1 there already"]);
    assert_eq!(values(&dir, "c.cube"), ["20", "10", "30"]);
    // An HDU that cannot be read is left out, and the others come in.
    let mut bytes = many();
    bytes.truncate(bytes.len() - 2880);
    dir.write("cut.fits", bytes);
    dir.cube("append d.cube --skip-bad --hdu all cut.fits")
        .ends(3)
        .says(&["2 frames added", "the data of HDU 4 needs 8 bytes"]);
    dir.write(
        "t.fits",
        [Image::empty().primary(), table("INFO", 3)].concat(),
    );
    dir.cube("append e.cube --hdu all t.fits")
        .fails(&["t.fits: holds no image"]);
}

/// A file whose three extensions have one shape, of samples from `value` on.
fn alike(value: i16) -> Vec<u8> {
    let image = |value: i16| Image::new(&[4, 3], |k| value + k as i16).with("GAIN", "2");
    [
        Image::empty().primary(),
        image(value).extension("CCD1"),
        table("INFO", 3),
        image(value + 100).extension("CCD2"),
        image(value + 200).extension("CCD3"),
    ]
    .concat()
}

#[test]
fn all_images_of_a_file_are_an_axis_of_their_own() {
    let dir = Scratch::new();
    for (name, value) in [("a.fits", 0), ("b.fits", 1000), ("c.fits", 2000)] {
        dir.write(name, alike(value));
    }
    // x, y, detector, file.
    dir.ok("append a.cube --hdu stack --axis w a.fits b.fits c.fits");
    assert_eq!(dir.shape("a.cube"), [4, 3, 3, 3]);
    assert_eq!(dir.info("a.cube")["frames"], 3);
    let profile = |line: &str| dir.profile(line);
    assert_eq!(
        profile("a.cube --axis w --at 2,1,3"),
        ["201", "1201", "2201"]
    );
    assert_eq!(
        profile("a.cube --axis z --at 1,2,2"),
        ["1004", "1104", "1204"]
    );
    dir.ok("check a.cube --deep");
    // Without an axis of their own for files, detectors follow each other.
    dir.ok("append b.cube --hdu stack a.fits b.fits");
    let all = ["0", "100", "200", "1000", "1100", "1200"];
    assert_eq!(profile("b.cube --axis z --at 1,1"), all);
    let frame = dir.cut("b.cube --section *,*,1:3");
    assert_eq!(frame.value("GAIN").as_deref(), Some("2"));
    // Brackets, gzip and little memory are the same.
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(&alike(0)).unwrap();
    dir.write("z.fits.gz", zipped.finish().unwrap());
    dir.cube_args(["append", "c.cube", "z.fits.gz[stack][2:3,*,-*]"])
        .ends(0);
    assert_eq!(dir.shape("c.cube"), [2, 3, 3]);
    assert_eq!(profile("c.cube --axis z --at 1,1"), ["201", "101", "1"]);
    // Pages of a TIFF file, too.
    let page = |k: u8| Page::new(2, 1, 8, &[k, k + 1]);
    let pages: Vec<Page> = (0..20).map(|k| page(10 * k)).collect();
    dir.write("a.tif", tiff(false, false, &pages));
    dir.ok("append d.cube --hdu stack --axis w a.tif a.tif");
    assert_eq!(dir.shape("d.cube"), [2, 1, 20, 2]);
    assert_eq!(profile("d.cube --axis w --at 2,1,20"), ["191", "191"]);
}

#[test]
fn images_that_are_not_alike_are_no_axis() {
    let dir = Scratch::new();
    let larger = Image::new(&[2, 3], |k| k as i16);
    let other = Image::new(&[2, 2], |k| k as f32);
    let blank = image(1).with("BLANK", "-1");
    for (name, second, says) in [
        (
            "a.fits",
            larger.extension("B"),
            "image 1 is 2 x 3 of int16, but image 0, the first, is 2 x 2 of int16",
        ),
        (
            "b.fits",
            other.extension("B"),
            "image 1 is 2 x 2 of float32",
        ),
        (
            "c.fits",
            blank.extension("B"),
            "BLANK of image 1 is -1, but that of image 0, the first, is none",
        ),
    ] {
        dir.write(name, [image(7).primary(), second].concat());
        dir.cube(&format!("append a.cube --hdu stack {name}"))
            .fails(&[&format!("{name}: {says}"), "--hdu all"]);
    }
    dir.write("d.fits", Image::empty().primary());
    dir.cube("append a.cube --hdu stack d.fits")
        .fails(&["d.fits: holds no image"]);
    dir.cube_fed("append a.cube --hdu stack -", &alike(1))
        .fails(&["in a pipe", "name the files"]);
}

#[test]
fn compressed_images_come_through_a_pipe_and_out_of_gzip() {
    let dir = Scratch::new();
    let mut stream = Vec::new();
    for k in 0..3 {
        dir.frame("x.fits", &image(10 * k));
        dir.ok("append x.cube x.fits");
        dir.ok("slice x.cube --axis x,y --at -1 --overwrite -o x.fits.fz");
        stream.extend(dir.read("x.fits.fz"));
        stream.extend(image(10 * k + 5).primary());
    }
    dir.cube_fed("append a.cube -", &stream).ends(0);
    let expected = ["0", "5", "10", "15", "20", "25"];
    assert_eq!(values(&dir, "a.cube"), expected);
    dir.ok("check a.cube --deep");
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(&dir.read("x.fits.fz")).unwrap();
    dir.write("y.fits.fz.gz", zipped.finish().unwrap());
    dir.ok("append b.cube y.fits.fz.gz");
    assert_eq!(values(&dir, "b.cube"), ["20"]);
    // One that is cut short says so.
    let cut = &stream[..stream.len() - 2880 * 4];
    dir.cube_fed("append c.cube -", cut).fails(&["-: "]);
}

#[test]
fn gzipped_files_of_many_images_are_walked() {
    let dir = Scratch::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&many()).unwrap();
    dir.write("a.fits.gz", gzip.finish().unwrap());
    dir.ok("append a.cube --hdu all a.fits.gz");
    assert_eq!(values(&dir, "a.cube"), ["10", "20", "30"]);
    dir.ok("check a.cube --deep");
}

#[test]
fn brackets_name_an_hdu_and_a_section_unless_a_file_has_that_name() {
    let dir = Scratch::new();
    dir.write("a.fits", many());
    dir.ok("append a.cube a.fits[SCI,2] a.fits[4] a.fits[dq] a.fits");
    assert_eq!(values(&dir, "a.cube"), ["20", "30", "30", "10"]);
    let big = Image::new(&[50, 40], |k| k as i16)
        .with("CRPIX1", "10.0")
        .with("CRVAL1", "100.0")
        .with("CDELT1", "0.5")
        .with_card("CTYPE1  = 'LINEAR  '");
    dir.frame("b.fits", &big);
    dir.ok("append b.cube b.fits[11:20,*] b.fits[20:11,*] b.fits[11:29:2,1:40]");
    assert_eq!(dir.shape("b.cube"), [10, 40, 3]);
    for (x, y) in [(1, 1), (4, 40), (10, 7)] {
        let sample = |column: u64| (column - 1 + (y - 1) * 50).to_string();
        let expected = [sample(10 + x), sample(21 - x), sample(9 + 2 * x)];
        let found = dir.profile(&format!("b.cube --axis z --at {x},{y}"));
        assert_eq!(found, expected, "{x},{y}");
    }
    let first = dir.cut("b.cube --axis x,y --at 1");
    assert_eq!(first.number("CRPIX1"), Some(0.0));
    dir.ok("append b.cube --resume b.fits[11:20,*] b.fits[20:11,*]")
        .says(&["0 frames added"]);
    dir.ok("check b.cube --deep");
    // A file of that very name is that file.
    dir.frame("a.fits[SCI,2]", &image(77));
    dir.ok("append c.cube a.fits[SCI,2]");
    assert_eq!(values(&dir, "c.cube"), ["77"]);
    dir.cube("append d.cube b.fits[1:60,*]").fails(&["60"]);
    dir.cube("append d.cube b.fits[3]")
        .fails(&["b.fits: holds no HDU 3"]);
    dir.cube("append d.cube no.fits[1]")
        .fails(&["no.fits: cannot open"]);
    // Pages of TIFF files are named alike.
    let page = |k| Page::new(2, 2, 8, &[k, 9, k, 9]);
    dir.write("p.tif", tiff(false, false, &[page(1), page(2), page(3)]));
    dir.ok("append e.cube p.tif[2][1:2,*] p.tif[0][2:1,*]");
    assert_eq!(values(&dir, "e.cube"), ["3", "9"]);
}

#[test]
fn numpy_arrays_and_raw_samples_are_frames() {
    let dir = Scratch::new();
    let header = "{'descr': '>i2', 'fortran_order': False, 'shape': (2, 3), }          \n";
    let mut npy = b"\x93NUMPY\x01\0".to_vec();
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.as_bytes());
    npy.extend((1..=6i16).flat_map(i16::to_be_bytes));
    dir.write("a.npy", &npy);
    dir.ok("append a.cube a.npy a.npy");
    assert_eq!(dir.shape("a.cube"), [3, 2, 2]);
    assert_eq!(dir.profile("a.cube --axis x --at 2,1"), ["4", "5", "6"]);
    // What comes out goes in again.
    dir.ok("slice a.cube -o b.npy");
    dir.ok("append b.cube b.npy");
    assert!(dir.cut("a.cube").data == dir.cut("b.cube").data);
    let raw: Vec<u8> = (0..12u16).flat_map(u16::to_le_bytes).collect();
    dir.write("a.raw", &raw);
    dir.ok("append c.cube --raw 4x3,uint16 a.raw");
    assert_eq!(dir.shape("c.cube"), [4, 3, 1]);
    assert_eq!(dir.profile("c.cube --axis y --at 2,1"), ["1", "5", "9"]);
    dir.ok("append d.cube --raw 4x2,uint16,big,offset=8 a.raw");
    assert_eq!(
        dir.profile("d.cube --axis x --at 1,1"),
        ["1024", "1280", "1536", "1792"]
    );
    dir.cube("append e.cube --raw 4x4,uint16 a.raw")
        .fails(&["a.raw: has 24 bytes, but 4 x 4 of uint16 from byte 0 end at byte 32"]);
    dir.cube("append e.cube --raw 4by4,uint16 a.raw").ends(2);
    // Whatever the file seems to be.
    dir.write("fake.fits", "SIMPLE  =  x");
    dir.ok("append f.cube --raw 12x1,uint8 fake.fits");
    assert_eq!(values(&dir, "f.cube"), ["83"]);
}

#[test]
fn frames_come_through_a_pipe() {
    let dir = Scratch::new();
    let stream = [image(1).primary(), many(), image(3).primary()].concat();
    let through_pipe = |line: &str, bytes: &[u8]| {
        let mut command = dir.command();
        command.args(line.split_whitespace()).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A program that has failed does not read on.
        let _ = stdin.write_all(bytes);
        drop(stdin);
        finish(child)
    };
    through_pipe("append a.cube -", &stream)
        .ends(0)
        .says(&["3 frames added"]);
    assert_eq!(values(&dir, "a.cube"), ["1", "10", "3"]);
    through_pipe("append b.cube --hdu all -", &stream).ends(0);
    assert_eq!(values(&dir, "b.cube"), ["1", "10", "20", "30", "3"]);
    dir.ok("check b.cube --deep");
    // A file that is redirected is the same, and others may be named beside it.
    dir.frame("c.fits", &image(50));
    dir.cube_fed("append c.cube c.fits - c.fits", &stream)
        .ends(0);
    assert_eq!(values(&dir, "c.cube"), ["50", "1", "10", "3", "50"]);
    // Run again, it finds what it has.
    through_pipe("append a.cube --resume -", &stream)
        .ends(0)
        .says(&["0 frames added, 3 there"]);
    // Any kind that can be read will do.
    let page = |k| Page::new(2, 2, 8, &[k, 9, k, 9]);
    through_pipe("append d.cube -", &tiff(false, false, &[page(1), page(2)])).ends(0);
    assert_eq!(values(&dir, "d.cube"), ["1", "2"]);
    // Nothing is left beside the cubes.
    assert_eq!(
        dir.names(),
        ["a.cube", "b.cube", "c.cube", "c.fits", "d.cube"]
    );
    through_pipe("append e.cube -", b"").fails(&["-: nothing came on standard input"]);
    through_pipe("append e.cube -", &stream[..2880 + 4]).fails(&["-: the data of HDU 0 needs"]);
    let rubbish = [&stream[..5760], &[b'x'; 2880]].concat();
    through_pipe("append e.cube -", &rubbish).fails(&["-: what follows HDU 0 at byte 5760"]);
    let none = [image(1).primary(), Image::empty().primary()].concat();
    through_pipe("append e.cube -", &none).fails(&["-: holds no image"]);
    through_pipe("append e.cube - -", &stream).fails(&["standard input is asked for twice"]);
    through_pipe("append e.cube - --files-from -", &stream).fails(&["asked for twice"]);
}

#[test]
fn headers_against_the_standard_are_read_with_a_warning() {
    let dir = Scratch::new();
    let good = image(5).primary();
    let mut bytes = good.clone();
    bytes[29] = b'F';
    dir.write("a.fits", &bytes);
    dir.write("b.fits", &bytes);
    dir.frame(
        "c.fits",
        &Image::new(&[2, 2], |k| k as f32).with("BLANK", "0"),
    );
    dir.frame("d.fits", &image(5).with_card(b"OBSERVER= 'M\xfcller'"));
    dir.ok("append a.cube a.fits b.fits").says(&[
        "a.fits: its header does not say SIMPLE = T",
        "so it is with 1 other frame",
    ]);
    dir.ok("append c.cube c.fits")
        .says(&["has BLANK, which means nothing with floats"]);
    dir.ok("append a.cube d.fits")
        .says(&["not printable ASCII"]);
    dir.write("g.fits", good);
    let run = dir.ok("append g.cube g.fits");
    assert!(!run.err.contains("header"), "{}", run.err);
}

#[test]
fn more_files_than_can_be_open_come_in() {
    let dir = Scratch::new();
    fs::create_dir(dir.path("f")).unwrap();
    let mut list = String::new();
    for k in 0..3000 {
        dir.frame(&format!("f/{k}.fits"), &image(k));
        list += &format!("f/{k}.fits\n");
    }
    dir.write("list", list);
    let mut command = dir.command();
    let limited = std::mem::replace(&mut command, std::process::Command::new("sh"));
    let script = "ulimit -n 300; exec \"$0\" append a.cube --files-from list";
    command.args(["-c", script]).arg(limited.get_program());
    command
        .current_dir(dir.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(command.spawn().unwrap())
        .ends(0)
        .says(&["3000 frames added"]);
    let expected: Vec<String> = (0..3000).map(|k| k.to_string()).collect();
    assert_eq!(values(&dir, "a.cube"), expected);
    // And from a directory they come in the same order.
    dir.ok("append b.cube f");
    assert!(dir.cut("a.cube").data == dir.cut("b.cube").data);
}

#[test]
fn compressed_frames_are_read_at_once_and_keep_their_order() {
    let dir = Scratch::new();
    let sample = |frame: u64, k: u64| (frame * 1000 + k * k % 997) as i16;
    for frame in 0..24 {
        let image = Image::new(&[400, 130], |k| sample(frame, k));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&image.primary()).unwrap();
        let mut bytes = gzip.finish().unwrap();
        if frame == 5 {
            let at = bytes.len() * 9 / 10;
            bytes[at..at + 8].fill(0xff);
        }
        dir.write(format!("{frame}.fits.gz"), bytes);
        // Between them are some that are read as they are.
        if frame % 5 == 0 {
            dir.frame(
                &format!("{frame}.fits"),
                &Image::new(&[400, 130], |k| sample(frame + 100, k)),
            );
        }
    }
    fs::create_dir(dir.path("f")).unwrap();
    for name in dir.names().iter().filter(|name| name.contains("fits")) {
        fs::rename(dir.path(name), dir.path(format!("f/{name}"))).unwrap();
    }
    dir.cube("append a.cube --skip-bad f")
        .ends(3)
        .says(&["28 frames added", "f/5.fits.gz: "]);
    dir.ok("check a.cube --deep");
    let order = (0..24u64).flat_map(|frame| {
        let plain = (frame % 5 == 0).then_some(frame + 100);
        plain.into_iter().chain((frame != 5).then_some(frame))
    });
    let order: Vec<u64> = order.collect();
    for (x, y) in [(1, 1), (400, 130), (65, 64), (3, 129)] {
        let k = (y - 1) * 400 + x - 1;
        let expected: Vec<String> = order
            .iter()
            .map(|&frame| sample(frame, k).to_string())
            .collect();
        assert_eq!(
            dir.profile(&format!("a.cube --axis z --at {x},{y}")),
            expected
        );
    }
    // In little memory, and from rows in parts, it is the same cube.
    dir.cube("append b.cube --skip-bad --memory 16M f").ends(3);
    assert!(dir.cut("a.cube").data == dir.cut("b.cube").data);
}

/// Puts another byte in the place of the first of `from` behind `text`.
fn change(dir: &Scratch, name: &str, changed: &str, at: impl Fn(&[u8]) -> usize) {
    let mut bytes = dir.read(name);
    let at = at(&bytes);
    bytes[at] ^= 1;
    dir.write(changed, bytes);
}

/// Where a text stands in a file.
fn find(bytes: &[u8], text: &str) -> usize {
    let found = bytes
        .windows(text.len())
        .position(|part| part == text.as_bytes());
    found.unwrap()
}

#[test]
fn frames_are_held_against_their_checksums_when_that_is_asked() {
    let dir = Scratch::new();
    let image = Image::new(&[40, 30], |k| (k * k % 1009) as i16).with("EXPTIME", "1.5");
    dir.frame("plain.fits", &image);
    let other = Image::new(&[40, 30], |k| (k * k % 1013) as i16);
    dir.frame("other.fits", &other);
    dir.ok("append source.cube plain.fits other.fits");
    for (at, name) in [(1, "a.fits"), (2, "b.fits.fz"), (1, "c.fits.gz")] {
        dir.ok(&format!("slice source.cube --axis x,y --at {at} -o {name}"));
    }
    // What is whole comes in without a word; a gzipped output has no sums.
    let run = dir.ok("append whole.cube --verify a.fits b.fits.fz");
    assert_eq!(
        run.err,
        "whole.cube: 2 frames added (4.80 kB); the cube is 40 x 30 x 2\n"
    );
    dir.ok("append none.cube --verify plain.fits c.fits.gz").says(&[
        "plain.fits: has neither DATASUM nor CHECKSUM: it could not be verified; so it is with 1 other",
        "2 frames added",
    ]);
    // A bit of a sample, of compressed data, and of the filling behind the data.
    change(&dir, "a.fits", "sample.fits", |_| 2880 + 100);
    change(&dir, "a.fits", "filling.fits", |bytes| bytes.len() - 5);
    change(&dir, "b.fits.fz", "packed.fits.fz", |bytes| {
        bytes.len() - 2880 + 5
    });
    for name in ["sample.fits", "filling.fits", "packed.fits.fz"] {
        dir.cube(&format!("append x.cube --verify a.fits {name}"))
            .fails(&[name, "is damaged: the sum of its data is", "its DATASUM"]);
        assert!(!dir.exists("x.cube"));
    }
    dir.cube("append some.cube --verify --skip-bad a.fits sample.fits a.fits")
        .ends(3)
        .says(&["sample.fits", "2 frames added, 1 left out"]);
    dir.ok("append blind.cube sample.fits");
    // The header alone: a comment, and the sums themselves.
    change(&dir, "a.fits", "header.fits", |bytes| {
        find(bytes, "EXPTIME") + 29
    });
    dir.ok("append header.cube --verify header.fits").says(&[
        "header.fits: its header was changed after its CHECKSUM was taken",
        "1 frame added",
    ]);
    change(&dir, "a.fits", "renamed.fits", |bytes| {
        find(bytes, "DATASUM")
    });
    dir.cube("append x.cube --verify renamed.fits")
        .fails(&["renamed.fits", "its CHECKSUM does not hold"]);
    // All images of a file, and a file that came gzipped.
    let mut both = dir.read("a.fits");
    both.extend(dir.read("b.fits.fz")[2880..].iter());
    let end = both.len();
    dir.write("both.fits", &both);
    dir.ok("append both.cube --verify --hdu all both.fits");
    both[end - 2880] ^= 4;
    dir.write("both.fits", &both);
    for hdus in ["all", "stack", "1"] {
        dir.cube(&format!("append x.cube --verify --hdu {hdus} both.fits"))
            .fails(&["both.fits", "HDU 1 is damaged"]);
    }
    dir.ok("append first.cube --verify both.fits");
    // A sum may be a number without quotes; what is none is told.
    let sum = |told: &str| {
        let mut bytes = dir.read("plain.fits");
        let end = find(&bytes, "END     ");
        bytes[end..end + 80].copy_from_slice(format!("{told:<80}").as_bytes());
        bytes[end + 80..end + 83].copy_from_slice(b"END");
        bytes
    };
    let words = dir.read("plain.fits")[2880..]
        .chunks(4)
        .fold(0u64, |sum, word| {
            sum + u64::from(u32::from_be_bytes(word.try_into().unwrap()))
        });
    let words = (words >> 32) + (words & 0xffff_ffff);
    dir.write("number.fits", sum(&format!("DATASUM = {words}")));
    dir.write("wrong.fits", sum(&format!("DATASUM = {}", words + 1)));
    dir.write("text.fits", sum("DATASUM = 'abc'"));
    let run = dir.ok("append number.cube --verify number.fits");
    assert!(!run.err.contains("warning"), "{}", run.err);
    dir.cube("append x.cube --verify wrong.fits")
        .fails(&["HDU 0 is damaged"]);
    dir.ok("append text.cube --verify text.fits")
        .says(&["its DATASUM is `abc`, which is no sum"]);
}

#[test]
fn an_extension_inherits_what_its_primary_header_says() {
    let dir = Scratch::new();
    let image = |number: i16| Image::of(&[2, 2], &[number; 4]);
    let file = |primary: Image, says: &[&str]| {
        let mut bytes = primary.primary();
        for (number, says) in says.iter().enumerate() {
            let extension = image(number as i16 + 1).with("EXPTIME", &format!("{number}.5"));
            let extension = match *says {
                "" => extension,
                says => extension.with("INHERIT", says),
            };
            bytes.extend(extension.extension("CHIP"));
        }
        bytes
    };
    let shared = |image: Image| {
        image
            .with("FILTER", "'R       '")
            .with("EXPTIME", "99.0")
            .with("BZERO", "7")
            .with_card("COMMENT of the primary")
            .with_card("HIERARCH ESO TEL AIRM = 1.25")
            .with_card("LONG    = 'a text that goes on &'")
            .with_card("CONTINUE  'in the next card'")
    };
    dir.write("mef.fits", file(shared(Image::empty()), &["", "T", "F"]));
    dir.write("data.fits", file(shared(image(9)), &["", "T"]));
    let keys = "FILTER,EXPTIME,ESO.TEL.AIRM,LONG";
    let rows = |cube: &str| -> Vec<serde_json::Value> {
        let run = dir.ok(&format!("info {cube} --frames --json --keys {keys}"));
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&run.out).unwrap();
        rows.iter().map(|row| row["keys"].clone()).collect()
    };
    let told = |exposure: f64, inherits: bool| match inherits {
        true => serde_json::json!({
            "FILTER": "R", "EXPTIME": exposure, "ESO.TEL.AIRM": 1.25,
            "LONG": "a text that goes on in the next card",
        }),
        false => serde_json::json!({
            "FILTER": null, "EXPTIME": exposure, "ESO.TEL.AIRM": null, "LONG": null,
        }),
    };
    dir.ok("append a.cube --hdu all mef.fits");
    assert_eq!(
        rows("a.cube"),
        [told(0.5, true), told(1.5, true), told(2.5, false)]
    );
    assert_eq!(values(&dir, "a.cube"), ["1", "2", "3"]);
    // What has data of its own speaks for others only where they ask for it.
    dir.ok("append b.cube --hdu CHIP data.fits");
    assert_eq!(rows("b.cube"), [told(0.5, false)]);
    dir.ok("append c.cube --hdu 2 data.fits");
    assert_eq!(rows("c.cube"), [told(1.5, true)]);
    // Files that follow each other inherit each from its own.
    let other = file(Image::empty().with("FILTER", "'V       '"), &["T"]);
    let both = [dir.read("mef.fits"), other].concat();
    dir.cube_fed("append d.cube --hdu all -", &both).ends(0);
    let filters: Vec<_> = rows("d.cube")
        .iter()
        .map(|row| row["FILTER"].clone())
        .collect();
    assert_eq!(
        serde_json::json!(filters),
        serde_json::json!(["R", "R", null, "V"])
    );
    dir.cube_args([
        "append",
        "e.cube",
        "--hdu",
        "all",
        "mef.fits",
        "--where",
        "FILTER == 'R'",
    ])
    .ends(0)
    .says(&["2 frames added, 1 did not pass"]);
    // The header that comes out stands alone.
    let cut = dir.cut("a.cube --axis x,y --at 2");
    assert_eq!(cut.value("FILTER").as_deref(), Some("'R'"));
    assert_eq!(cut.value("INHERIT"), None);
    assert!(!cut.cards.iter().any(|card| card.contains("of the primary")));
    assert_eq!(cut.samples::<i16>(), [2; 4]);
}
