//! Many axes, many frames, large cubes, little memory.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::process::Command;

use serde_json::Value;

use crate::support::{Image, Scratch, peak_of, skip};

#[test]
fn a_cube_has_eight_axes_and_no_more() {
    let dir = Scratch::new();
    let shape = [2, 1, 2, 1, 2, 1, 2];
    dir.frame("seven.fits", &Image::new(&shape, |k| k as i32));
    dir.frame(
        "eight.fits",
        &Image::new(&[2, 1, 2, 1, 2, 1, 2, 2], |k| 100 + k as i32),
    );
    dir.ok("append a.cube --axis s seven.fits");
    dir.ok("append a.cube eight.fits");
    assert_eq!(dir.shape("a.cube"), [2, 1, 2, 1, 2, 1, 2, 3]);
    let expected: Vec<i32> = (0..16).chain(100..132).collect();
    assert_eq!(dir.samples::<i32>("a.cube"), expected);
    assert_eq!(
        dir.profile("a.cube --axis s --at 2,1,1,1,2,1,2"),
        ["13", "113", "129"]
    );
    assert_eq!(
        dir.samples::<i32>("a.cube --section -*,1,2,1,1,1,2,-1"),
        [127, 126]
    );
    let axes = &dir.info("a.cube")["axes"];
    let names: Vec<&str> = (0..8).map(|k| axes[k]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["x", "y", "z", "w", "v", "u", "t", "s"]);
}

#[test]
fn a_cube_far_larger_than_four_gigabytes_reads_right_at_its_far_end() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[2, 2], &[1u16, 2, 3, 4]));
    dir.frame("2.fits", &Image::of(&[2, 2], &[5u16, 6, 7, 8]));
    dir.ok("append a.cube --pad 9 1.fits");
    dir.ok("append a.cube --origin 70001,60001 2.fits");
    assert_eq!(dir.shape("a.cube"), [70002, 60002, 2]);
    let info = dir.info("a.cube");
    assert_eq!(info["data_bytes"], 70002u64 * 60002 * 2 * 2);
    assert!(info["data_bytes"].as_u64() > Some(15 << 30));
    assert!(
        info["disk_bytes"].as_u64() < Some(64 << 20),
        "void takes no room"
    );
    assert_eq!(
        dir.samples::<u16>("a.cube --section [-3:-1,-3:-1,2]"),
        [9, 9, 9, 9, 5, 6, 9, 7, 8]
    );
    assert_eq!(
        dir.samples::<u16>("a.cube --section [1:3,1,*]"),
        [1, 2, 9, 9, 9, 9]
    );
    assert_eq!(dir.profile("a.cube --axis z --at 70002,60002"), ["9", "8"]);
    let row = dir.samples::<u16>("a.cube --axis x --at 60001,2");
    assert_eq!(row.len(), 70002);
    assert_eq!(row[69_998..], [9, 9, 5, 6]);
    assert!(row[..70_000].iter().all(|&sample| sample == 9));
    // It grows on from there.
    dir.ok("append a.cube --axis x --origin 1,60001,2 1.fits");
    assert_eq!(
        dir.samples::<u16>("a.cube --section [70001:70004,60001:60002,2]"),
        [5, 6, 1, 2, 7, 8, 3, 4]
    );
}

#[test]
fn an_axis_longer_than_memory_could_hold_tile_by_tile_is_not_made() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[4, 4], &[1i16; 16]));
    dir.ok("append a.cube 1.fits");
    let before = dir.read("a.cube");
    dir.cube("append a.cube --origin 1000000000000,1 1.fits")
        .fails(&[
            "axis x would have 1000000000003 positions, 250000000001 tiles of 4: more than 8388608",
            "is --origin as it was meant?",
        ]);
    assert!(dir.read("a.cube") == before);
    // As long as it may be it is read.
    dir.ok("append a.cube --origin 33554429,1 1.fits");
    assert_eq!(dir.shape("a.cube"), [33_554_432, 4, 2]);
    assert_eq!(
        dir.samples::<i16>("a.cube --section [33554427:33554430,1,2]"),
        [-32768, -32768, 1, 1]
    );
    let peak = peak_of(&dir, "info a.cube");
    assert!(peak < 64 << 20, "{peak}");
}

#[test]
fn samples_past_four_gigabytes_of_file_are_read_from_their_place() {
    // The file itself gets long: the tiles of the first frame are followed by the index of
    // a sky in whose far corner the second one stands, a hole of 4 GiB.
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::new(&[64, 64], |k| k as f32));
    dir.ok("append a.cube --tile 64,64,1 1.fits");
    dir.frame("2.fits", &Image::new(&[100, 64], |k| -(k as f32)));
    dir.ok("append a.cube --origin 1048000,1048000,1 2.fits");
    assert!(dir.info("a.cube")["file_bytes"].as_u64() > Some(4 << 30));
    let section = "[1048000:1048099,1048000:1048063,2]";
    let second = dir.samples::<f32>(&format!("a.cube --section {section}"));
    assert_eq!(second.len(), 6400);
    let mut second = second.into_iter().zip(0u16..);
    assert!(second.all(|(sample, k)| sample == -f32::from(k)));
    let first = dir.samples::<f32>("a.cube --section [1:64,1:64,1]");
    let mut first = first.into_iter().zip(0u16..);
    assert!(first.all(|(sample, k)| sample == f32::from(k)));
}

#[test]
fn three_thousand_files_keep_their_order_and_their_records() {
    const MANY: i32 = 3000;
    let dir = Scratch::new();
    let mut list = String::new();
    for number in 0..MANY {
        let name = format!("{number}.fits");
        let image = Image::new(&[3, 2], |k| 10 * number + k as i32);
        dir.frame(&name, &image.with("NUMBER", &number.to_string()));
        list += &format!("{name}\n");
    }
    dir.write("list", list);
    dir.ok("append a.cube @list");
    assert_eq!(dir.shape("a.cube"), [3, 2, MANY as u64]);
    let expected = (0..MANY).flat_map(|number| (0..6).map(move |k| 10 * number + k));
    assert!(dir.samples::<i32>("a.cube").into_iter().eq(expected));
    let run = dir.ok("info a.cube --frames --csv --keys NUMBER");
    for (number, row) in run.out().lines().skip(1).enumerate() {
        let expected = format!("{},1,z,{number}.fits,0,3x2,int32,{number}", number + 1);
        assert_eq!(row, expected);
    }
    assert_eq!(run.out().lines().count(), MANY as usize + 1);
    let cut = dir.cut("a.cube --axis x,y --at 1234");
    assert_eq!(cut.number("NUMBER"), Some(1233.0), "its own cards");
}

#[test]
fn more_than_a_hundred_thousand_frames_are_recorded() {
    const MANY: usize = 100_001;
    let dir = Scratch::new();
    for number in 0..7u8 {
        let image = Image::of(&[2, 1], &[number, 100 + number]);
        dir.frame(&format!("{number}"), &image.with("N", &number.to_string()));
    }
    let list: String = (0..MANY).map(|k| format!("{}\n", k % 7)).collect();
    dir.write("list", list);
    dir.ok("append a.cube --axis z --memory 64M @list");
    let info = dir.info("a.cube");
    assert_eq!(info["frames"], MANY);
    assert_eq!(info["shape"], serde_json::json!([2, 1, MANY]));
    let expected = (0..MANY).flat_map(|k| [(k % 7) as u8, 100 + (k % 7) as u8]);
    assert!(dir.samples::<u8>("a.cube").into_iter().eq(expected));
    let run = dir.ok("info a.cube --frames --json --keys N");
    let rows: Vec<Value> = serde_json::from_slice(&run.out).unwrap();
    assert_eq!(rows.len(), MANY);
    for (k, row) in rows.iter().enumerate() {
        assert_eq!(row["position"], k + 1);
        assert_eq!(row["keys"]["N"], k % 7);
    }
    dir.ok("append a.cube --axis z 3");
    assert_eq!(
        dir.samples::<u8>("a.cube --axis x,y --at -1"),
        [3, 103],
        "and it grows on"
    );
    dir.ok("append a.cube --axis z --resume @list")
        .says(&["0 frames added", "7 there already"]);
    dir.ok("insert a.cube --axis z --at 50001 6");
    let around = dir.samples::<u8>("a.cube --section [1,1,50000:50002]");
    let old = |position: usize| ((position - 1) % 7) as u8;
    assert_eq!(around, [old(50_000), 6, old(50_001)], "in the middle, too");
}

#[test]
fn memory_is_bounded_by_the_option_and_not_by_the_frame() {
    const DEPTH: u64 = 160;
    const PLANE: u64 = 512 * 512 * 4;
    // Not written out: a file of zeros with a mark at the head of each plane.
    let dir = Scratch::new();
    let mut image = Image::empty();
    (image.bitpix, image.shape) = (-32, vec![512, 512, DEPTH]);
    let head = image.primary();
    let mut file = fs::File::create(dir.path("large.fits")).unwrap();
    file.write_all(&head).unwrap();
    for z in 0..DEPTH {
        file.seek(SeekFrom::Start(head.len() as u64 + z * PLANE))
            .unwrap();
        file.write_all(&(z as f32 + 0.5).to_be_bytes()).unwrap();
    }
    let data = (DEPTH * PLANE).next_multiple_of(2880);
    file.set_len(head.len() as u64 + data).unwrap();

    let memory = 16 << 20;
    let bound = memory + (64 << 20);
    assert!(bound < DEPTH * PLANE, "a frame held whole would show");
    let peak = peak_of(&dir, "append a.cube --memory 16M large.fits");
    assert!((1 << 20..bound).contains(&peak), "append: {peak}");
    let expected: Vec<String> = (0..DEPTH).map(|z| format!("{z}.5")).collect();
    assert_eq!(dir.profile("a.cube --axis z --at 1,1"), expected);
    assert!(
        dir.profile("a.cube --axis z --at 512,512")
            .iter()
            .all(|text| text == "0")
    );
    let peak = peak_of(&dir, "slice a.cube --memory 16M -o out.fits");
    assert!((1 << 18..bound).contains(&peak), "slice: {peak}");
    let same = fs::read(dir.path("out.fits")).unwrap();
    let source = fs::read(dir.path("large.fits")).unwrap();
    let tail = data as usize;
    assert!(same[same.len() - tail..] == source[source.len() - tail..]);
}

/// Runs a script in `disk`, a disk of so much memory, with the program as `$cube`; gives
/// what it said on both outputs. `None` where no such disk can be had.
fn on_small_disk(dir: &Scratch, size: &str, script: &str) -> Option<(String, String)> {
    fs::create_dir(dir.path("disk")).unwrap();
    let mount = format!("mount -t tmpfs -o size={size} none disk || exit 77; cd disk; {script}");
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &mount]);
    command.env("cube", env!("CARGO_BIN_EXE_cube"));
    let Ok(output) = command.current_dir(dir.path("")).output() else {
        skip("there is no unshare, which makes a small disk");
        return None;
    };
    if output.status.code() == Some(77) || output.stdout.is_empty() {
        skip("no small disk can be mounted");
        return None;
    }
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Some((text(output.stdout), text(output.stderr)))
}

/// How many frames were kept, as the program said.
fn kept(err: &str) -> u64 {
    let kept = err.split("kept ").nth(1);
    let kept = kept.and_then(|rest| rest.split(' ').next());
    kept.unwrap_or_else(|| panic!("{err}")).parse().unwrap()
}

#[test]
fn a_disk_that_gets_full_keeps_what_is_whole() {
    let dir = Scratch::new();
    let mut frames = String::new();
    for number in 0..48u64 {
        let name = format!("{number}.fits");
        dir.frame(
            &name,
            &Image::new(&[256, 256], |k| (k * 31 + number) as u16),
        );
        frames += &format!(" ../{name}");
    }
    // Room for 36 of the 48 frames; more is given later.
    let script = format!(
        "$cube append a.cube{frames}; echo status $?
         $cube check a.cube --deep
         mount -o remount,size=9m .
         $cube append a.cube --resume{frames}
         $cube check a.cube --deep
         $cube slice a.cube --axis z --at 3,1 -o - --format csv"
    );
    let Some((out, err)) = on_small_disk(&dir, "4608k", &script) else {
        return;
    };
    assert!(
        err.contains("the frames take 6.29 MB, and its disk has 4.7"),
        "{err}"
    );
    assert!(err.contains("no space left on device"), "{err}");
    // Nearly all that there is room for.
    let kept = kept(&err);
    assert!((32..36).contains(&kept), "{err}");
    assert!(err.contains(&format!("{kept} there already")), "{err}");
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("status 1"));
    let whole = |frames: u64| format!("{frames} frames, ");
    assert!(lines.next().unwrap().starts_with(&whole(kept)), "{out}");
    assert!(lines.next().unwrap().starts_with(&whole(48)), "{out}");
    let values = lines
        .skip(1)
        .map(|line| line.split(',').nth(1).unwrap().to_string());
    let expected = (0..48).map(|number| (2 * 31 + number).to_string());
    assert!(values.eq(expected), "{out}");
    assert!(
        err.contains("hint: the same command with --resume goes on"),
        "{err}"
    );
}

#[test]
fn a_disk_gets_full_of_tiles_and_not_of_samples() {
    let dir = Scratch::new();
    dir.frame("wide.fits", &Image::new(&[300, 300], |k| k as f32));
    let mut frames = String::new();
    for number in 0..200u64 {
        let name = format!("{number}.fits");
        dir.frame(&name, &Image::new(&[10, 10], |k| (k + number) as f32));
        frames += &format!(" ../{name}");
    }
    let script = format!(
        "$cube append a.cube --tile 300,300,1 ../wide.fits
         $cube append a.cube{frames}; echo status $?
         $cube check a.cube --deep
         mount -o remount,size=90m .
         $cube append a.cube --resume{frames}
         $cube check a.cube --deep"
    );
    let Some((out, err)) = on_small_disk(&dir, "3m", &script) else {
        return;
    };
    assert!(err.contains("the frames take 72.0 MB"), "{err}");
    // A tile of 360 kB for each, 2.76 MB in all.
    assert_eq!(kept(&err), 7, "{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "status 1");
    assert!(lines[1].starts_with("8 frames, "), "{out}");
    assert!(lines[2].starts_with("201 frames, "), "{out}");
}
