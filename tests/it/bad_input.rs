//! Inputs that are not what they should be: a clear message, and the cube as it was.

use std::fs;

use crate::support::{BLOCK, Image, Scratch, card, finish, read_fits, skip, table};

/// A folder with a good cube, whose frame is `good.fits`.
fn with_cube() -> Scratch {
    let dir = Scratch::new();
    dir.frame("good.fits", &Image::of(&[2, 2], &[1i16, 2, 3, 4]));
    dir.ok("append a.cube good.fits");
    dir
}

/// Appending `bad` to a cube and to a new one fails with these phrases, and
/// leaves the one as it was and does not make the other.
#[track_caller]
fn refused(dir: &Scratch, options: &str, bad: &str, phrases: &[&str]) {
    let before = dir.read("a.cube");
    let names = dir.names();
    let named = format!("cube: {bad}: ");
    let run = dir.cube(&format!("append a.cube {options} {bad}"));
    run.fails(&[&named]).says(phrases);
    assert_eq!(dir.read("a.cube"), before, "{bad}");
    let run = dir.cube(&format!("append new.cube {options} {bad}"));
    run.fails(&[&named]).says(phrases);
    assert_eq!(dir.names(), names, "{bad}");
    // A bad input behind a good one is found before the good one is written.
    let run = dir.cube(&format!("append a.cube {options} good.fits {bad}"));
    run.fails(&[&named]).says(phrases);
    assert_eq!(dir.read("a.cube"), before, "{bad}");
}

/// A header as it stands in a file, with no data behind it.
fn header(cards: &[&str]) -> Vec<u8> {
    let mut bytes: Vec<u8> = cards.iter().flat_map(card).collect();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
    bytes
}

#[test]
fn what_is_no_file_with_bytes_is_refused() {
    let dir = with_cube();
    refused(
        &dir,
        "",
        "none.fits",
        &["cannot open: no such file or directory"],
    );
    fs::create_dir(dir.path("folder.fits")).unwrap();
    refused(
        &dir,
        "",
        "folder.fits",
        &["folder.fits: is a directory without files"],
    );
    dir.write("empty.fits", "");
    refused(&dir, "", "empty.fits", &["the file is empty (0 bytes)"]);
    refused(&dir, "", "/dev/null", &["is a device, not a regular file"]);
    refused(&dir, "", "good.fits/x", &["cannot open: not a directory"]);
}

#[test]
fn what_is_no_fits_says_what_it_is() {
    let dir = with_cube();
    for (name, bytes, says) in [
        ("text.fits", &b"hello, world\n"[..], "is not a frame"),
        ("zero.fits", &[0; 5000], "zeros"),
        (
            "a.tif",
            b"II*\0\x08\0\0\0\0\0",
            "the directory at byte 8 has 0 entries",
        ),
        ("a.npy", b"\x93NUMPY\x01\0", "NumPy"),
        ("a.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "gzip"),
        ("one.fits", b"S", "is not a frame"),
    ] {
        dir.write(name, bytes);
        refused(&dir, "", name, &[says]);
    }
}

#[test]
fn data_that_end_early_say_both_numbers() {
    let dir = with_cube();
    let whole = Image::new(&[50, 40], |k| k as i16).primary();
    // Whole is the file also without its padding.
    dir.write("bare.fits", &whole[..BLOCK + 4000]);
    dir.ok("append b.cube bare.fits");
    assert_eq!(dir.samples::<i16>("b.cube")[1999], 1999);
    for len in [BLOCK, BLOCK + 1, BLOCK + 2000, BLOCK + 3999] {
        dir.write("short.fits", &whole[..len]);
        refused(
            &dir,
            "",
            "short.fits",
            &[
                "the data of HDU 0 needs 4000 bytes from byte 2880",
                &format!("the file ends at byte {len}"),
            ],
        );
    }
    for len in [79, 80, 100, 320] {
        dir.write("short.fits", &whole[..len]);
        refused(&dir, "", "short.fits", &["has no END card"]);
    }
}

#[test]
fn headers_that_claim_the_impossible_are_refused() {
    let dir = with_cube();
    let simple = "SIMPLE  =                    T";
    let image = "BITPIX  =                   16";
    for (name, cards, says) in [
        (
            "huge.fits",
            &[
                simple,
                image,
                "NAXIS   =                    2",
                "NAXIS1  =  4000000000000000000",
                "NAXIS2  =  4000000000000000000",
                "END",
            ][..],
            "would be longer than 2^63 bytes",
        ),
        (
            "large.fits",
            &[
                simple,
                image,
                "NAXIS   =                    2",
                "NAXIS1  =               100000",
                "NAXIS2  =               100000",
                "END",
            ],
            "needs 20000000000 bytes from byte 2880, but the file ends at byte 2880",
        ),
        (
            "axes.fits",
            &[simple, image, "NAXIS   =           2147483647", "END"],
            "NAXIS of HDU 0 is 2147483647, expected 0 to 999",
        ),
        (
            "minus.fits",
            &[
                simple,
                image,
                "NAXIS   =                    1",
                "NAXIS1  =                   -5",
                "END",
            ],
            "NAXIS1 of HDU 0 is -5",
        ),
        (
            "text.fits",
            &[
                simple,
                image,
                "NAXIS   =                    1",
                "NAXIS1  = 'many    '",
                "END",
            ],
            "NAXIS1 of HDU 0 is `many`, not a whole number",
        ),
        (
            "missing.fits",
            &[simple, image, "NAXIS   =                    1", "END"],
            "HDU 0 has no NAXIS1 card",
        ),
        (
            "bits.fits",
            &[
                simple,
                "BITPIX  =                   12",
                "NAXIS   =                    0",
                "END",
            ],
            "BITPIX of HDU 0 is 12, expected 8, 16, 32, 64, -32 or -64",
        ),
        (
            "zero.fits",
            &[
                simple,
                image,
                "NAXIS   =                    2",
                "NAXIS1  =                   10",
                "NAXIS2  =                    0",
                "END",
            ],
            "holds no image; its HDUs are 0: image without samples, 10 x 0",
        ),
    ] {
        dir.write(name, header(cards));
        refused(&dir, "", name, &[says]);
    }
    let scaled = Image::of(&[2, 2], &[1i16, 2, 3, 4]).with("BSCALE", "'one'");
    dir.frame("scale.fits", &scaled);
    refused(
        &dir,
        "",
        "scale.fits",
        &["BSCALE of HDU 0 is `one`, not a number"],
    );
}

#[test]
fn hdus_that_are_no_images_are_named() {
    let dir = with_cube();
    dir.write("bare.fits", Image::empty().primary());
    refused(
        &dir,
        "",
        "bare.fits",
        &["holds no image; its HDUs are 0: no data"],
    );
    refused(
        &dir,
        "--hdu 0",
        "bare.fits",
        &["HDU 0 has a header but no data"],
    );

    let good = Image::of(&[2, 2], &[1i16, 2, 3, 4]);
    dir.write("both.fits", [good.primary(), table("LOG", 9)].concat());
    // Here HDU 1, called LOG, is an image.
    dir.write(
        "good.fits",
        [good.primary(), good.extension("LOG")].concat(),
    );
    dir.write(
        "table.fits",
        [Image::empty().primary(), table("LOG", 9)].concat(),
    );
    refused(
        &dir,
        "",
        "table.fits",
        &["holds no image; its HDUs are ", "1: table `LOG`"],
    );
    for hdu in ["1", "LOG"] {
        refused(
            &dir,
            &format!("--hdu {hdu}"),
            "table.fits",
            &["HDU 1 is a table, not an image"],
        );
    }
    dir.cube("append a.cube --hdu 7 both.fits").fails(&[
        "both.fits: holds no HDU 7",
        "hint: its HDUs are 0: image, 2 x 2; 1: table `LOG`",
    ]);
    dir.cube("append a.cube --hdu SCI good.fits")
        .fails(&["good.fits: holds no HDU SCI"]);
}

#[test]
fn more_than_eight_axes_are_refused_unless_the_rest_have_length_1() {
    let dir = with_cube();
    dir.frame(
        "nine.fits",
        &Image::new(&[1, 1, 1, 1, 1, 1, 1, 1, 2], |k| k as i16),
    );
    refused(
        &dir,
        "",
        "nine.fits",
        &["has 9 axes (1 x 1 x 1 x 1 x 1 x 1 x 1 x 1 x 2), but a frame can have 8"],
    );
    dir.frame(
        "flat.fits",
        &Image::new(&[2, 2, 1, 1, 1, 1, 1, 1, 1], |k| k as i16),
    );
    dir.ok("append b.cube flat.fits");
    assert_eq!(dir.samples::<i16>("b.cube"), [0, 1, 2, 3]);
}

#[test]
fn lists_that_are_none_are_refused() {
    let dir = with_cube();
    let before = dir.read("a.cube");
    dir.cube("append a.cube @none")
        .fails(&["none: cannot open the list: no such file", "hint: "]);
    dir.cube("append a.cube @").fails(&["`@` names no list"]);
    dir.cube("append a.cube @good.fits").fails(&["good.fits: "]);
    dir.cube_fed("append a.cube --files-from -", b"a\0b\n")
        .fails(&["standard input: "]);
    dir.cube_fed("append a.cube --files-from -", &[b'x'; 20_000])
        .fails(&["standard input: name 1 is longer than"]);
    dir.cube_fed("append a.cube --files-from -", b"# nothing\n\n")
        .fails(&["no frames were named"]);
    dir.cube("append a.cube")
        .fails(&["no frames were named", "hint: "]);
    dir.cube("append new.cube").fails(&["no frames were named"]);
    dir.cube("append a.cube -").fails(&["standard input"]);
    assert_eq!(dir.read("a.cube"), before);
    assert!(!dir.exists("new.cube"));
}

#[test]
fn a_cube_that_is_none_is_refused_by_every_verb() {
    let dir = with_cube();
    dir.write("empty", "");
    dir.write("text", "some notes\n".repeat(2000));
    dir.write("tiny", "x");
    fs::create_dir(dir.path("folder")).unwrap();
    for (name, says) in [
        ("empty", "is empty, not a cube"),
        ("text", "is not a cube"),
        ("tiny", "is not a cube"),
        ("good.fits", "is not a cube"),
        ("folder", "directory"),
    ] {
        let named = format!("cube: {name}: ");
        let before = fs::read(dir.path(name)).ok();
        for line in [
            format!("info {name}"),
            format!("info {name} --frames --json"),
            format!("slice {name} -o -"),
            format!("append {name} good.fits"),
        ] {
            dir.cube(&line).fails(&[&named, says]);
        }
        assert_eq!(fs::read(dir.path(name)).ok(), before);
    }
    for line in ["info none", "slice none -o -"] {
        dir.cube(line).fails(&[
            "cube: none: cannot open: no such file or directory",
            "hint: ",
        ]);
    }
}

#[test]
fn a_cube_that_is_cut_short_is_told_at_every_length() {
    let dir = with_cube();
    let whole = dir.read("a.cube");
    let mut lengths: Vec<usize> = vec![1, 7, 8, 100, 4095, 4096, 4097, 8191, 8192, 8193, 12288];
    lengths.extend((1..24).map(|k| whole.len() * k / 24));
    lengths.extend([4096, 100, 2, 1].map(|less| whole.len() - less));
    for len in lengths {
        dir.write("cut.cube", &whole[..len]);
        for line in [
            "info cut.cube",
            "slice cut.cube --axis z --at 1,1",
            "append cut.cube good.fits",
        ] {
            let run = dir.cube(line).fails(&["cube: cut.cube: "]);
            if len >= 4096 {
                run.says(&[&len.to_string()]);
            }
        }
        assert_eq!(dir.read("cut.cube"), &whole[..len], "{len}");
    }
    // What stands behind the last commit does not count.
    let mut longer = whole;
    longer.extend([0xaa; 10_000]);
    dir.write("long.cube", longer);
    assert_eq!(dir.samples::<i16>("long.cube"), [1, 2, 3, 4]);
    dir.ok("append long.cube good.fits");
    assert_eq!(dir.samples::<i16>("long.cube"), [1, 2, 3, 4, 1, 2, 3, 4]);
}

#[test]
fn a_cube_of_another_format_is_refused_with_both_numbers() {
    let dir = with_cube();
    let mut bytes = dir.read("a.cube");
    for block in bytes[..8192].chunks_exact_mut(4096) {
        block[8..12].copy_from_slice(&7u32.to_le_bytes());
        let check = crc32c::crc32c(&block[..4092]);
        block[4092..].copy_from_slice(&check.to_le_bytes());
    }
    dir.write("new.cube", &bytes);
    for line in [
        "info new.cube",
        "slice new.cube -o -",
        "append new.cube good.fits",
    ] {
        dir.cube(line).fails(&[
            "cube: new.cube: is of cube format 7, but this program reads formats 1 to 2",
            "hint: ",
        ]);
    }
    assert_eq!(dir.read("new.cube"), bytes);
}

#[test]
fn a_damaged_head_is_survived_once_and_told_twice() {
    let dir = with_cube();
    dir.ok("append a.cube good.fits");
    let whole = dir.read("a.cube");
    let mut told = 0;
    for block in 0..2 {
        let mut bytes = whole.clone();
        bytes[block * 4096 + 50] ^= 1;
        dir.write("one.cube", bytes);
        // The other block speaks of the newest commit, or of the one before.
        let shape = dir.shape("one.cube");
        assert!(shape == [2, 2, 2] || shape == [2, 2, 1], "{shape:?}");
        told += usize::from(shape == [2, 2, 2]);
    }
    assert!(told >= 1, "at least one block names the newest commit");
    let mut bytes = whole;
    bytes[50] ^= 1;
    bytes[4096 + 50] ^= 1;
    dir.write("two.cube", &bytes);
    for line in ["info two.cube", "append two.cube good.fits"] {
        dir.cube(line).fails(&[
            "cube: two.cube: checksum of the superblock is ",
            ", expected ",
        ]);
    }
    assert_eq!(dir.read("two.cube"), bytes);
}

#[test]
fn a_flipped_byte_anywhere_in_a_cube_is_told_or_changes_one_sample() {
    // Outside samples nothing may pass unseen; nowhere may the program crash.
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::new(&[8, 8], |k| k as u16));
    dir.ok("append a.cube --tile 8,8,1 1.fits 1.fits");
    let whole = dir.read("a.cube");
    let expected = dir.samples::<u16>("a.cube");
    let mut caught = 0;
    for at in (0..whole.len()).step_by(61) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        dir.write("bad.cube", &bytes);
        let run = dir.cube("slice bad.cube --format fits -o -");
        match run.status {
            0 => {
                let found = read_fits(&run.out)[0].samples::<u16>();
                assert_eq!(found.len(), expected.len(), "byte {at}");
                let changed = found.iter().zip(&expected).filter(|(a, b)| a != b);
                let changed = changed.count();
                assert!(changed <= 1, "byte {at} changed {changed} samples");
            }
            1 => {
                assert!(
                    run.err.contains("cube: bad.cube: "),
                    "byte {at}: {}",
                    run.err
                );
                caught += 1;
            }
            other => panic!("byte {at}: status {other}: {}", run.err),
        }
    }
    assert!(caught > 0, "some damage is told");
}

#[test]
fn a_place_that_cannot_be_written_says_why() {
    let dir = with_cube();
    for (line, says) in [
        ("append good.fits/a.cube good.fits", "good.fits/a.cube: "),
        ("append none/a.cube good.fits", "none/a.cube: "),
        ("append /proc/a.cube good.fits", "/proc/a.cube: "),
        ("slice a.cube -o good.fits/a.fits", "good.fits"),
        ("slice a.cube -o none/a.fits", "none"),
        ("slice a.cube -o /proc/a.fits", "/proc"),
    ] {
        dir.cube(line).fails(&[says]);
    }
    assert_eq!(dir.names(), ["a.cube", "good.fits"]);
    let run = dir
        .cube("slice a.cube -o /dev/full --format fits")
        .fails(&[]);
    run.says(&["/dev/full", "no space left on device"]);
}

#[test]
fn a_folder_that_may_not_be_written_is_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let dir = with_cube();
    let allow = |name: &str, mode| {
        fs::set_permissions(dir.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(dir.path("shut")).unwrap();
    allow("shut", 0o555);
    allow("a.cube", 0o444);
    // Nothing is shut to root, so the program is run as nobody then.
    let is_root = fs::write(dir.path("shut/probe"), "").is_ok();
    if is_root {
        fs::remove_file(dir.path("shut/probe")).unwrap();
        allow("", 0o755);
    }
    let before = dir.read("a.cube");
    for (line, says) in [
        ("append shut/a.cube good.fits", "shut/a.cube: cannot create"),
        ("slice a.cube -o shut/a.fits", "shut"),
        ("append a.cube good.fits", "a.cube: cannot open for writing"),
    ] {
        let mut command = dir.command();
        command.args(line.split_whitespace());
        if is_root {
            command.uid(65534).gid(65534);
        }
        let Ok(child) = command.spawn() else {
            skip("the program cannot be run by another user than root");
            return;
        };
        finish(child).fails(&["permission denied", says]);
    }
    assert_eq!(dir.read("a.cube"), before);
    assert_eq!(fs::read_dir(dir.path("shut")).unwrap().count(), 0);
    assert_eq!(dir.samples::<i16>("a.cube"), [1, 2, 3, 4]);
}

#[test]
fn wrong_usage_ends_with_status_2_and_touches_nothing() {
    let dir = with_cube();
    let before = dir.read("a.cube");
    for line in [
        "",
        "frobnicate",
        "append",
        "append a.cube --axis q good.fits",
        "append a.cube --axis 0 good.fits",
        "append a.cube --axis 9 good.fits",
        "append a.cube --no-such-option good.fits",
        "append a.cube -0 good.fits",
        "append a.cube --hdu -1 good.fits",
        "append a.cube --tile 0,1 good.fits",
        "append a.cube --memory 1K good.fits",
        "append a.cube --memory lots good.fits",
        "append a.cube --dtype complex64 good.fits",
        "info",
        "info a.cube --csv",
        "info a.cube --keys A",
        "info a.cube --frames --csv --json",
        "slice a.cube --at 1,1",
        "slice a.cube --axis z --section [1,1,1]",
        "slice a.cube --axis z,q --at 1",
        "slice a.cube --format gif -o x",
    ] {
        let run = dir.cube(line);
        assert_eq!(run.status, 2, "{line}: {}", run.err);
        assert_eq!(run.out, b"", "{line}");
        assert!(!run.err.is_empty(), "{line}");
    }
    assert_eq!(dir.read("a.cube"), before);
    for line in ["--help", "append --help", "--version"] {
        let run = dir.ok(line);
        assert!(run.out().contains("cube") && run.err.is_empty(), "{line}");
    }
}

#[test]
fn a_damaged_superblock_is_told_and_the_commit_before_is_read() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[2, 1], &[1i16, 2]));
    dir.ok("append a.cube 1.fits");
    dir.ok("append a.cube 1.fits");
    let whole = dir.read("a.cube");
    let newest = usize::from(dir.info("a.cube")["generation"] == 2);
    assert_eq!(newest, 1);
    for at in [100, 4096 + 100] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        dir.write("b.cube", &bytes);
        let run = dir.cube("info b.cube");
        assert_eq!(run.status, 0);
        assert!(
            run.err.contains("one of the two superblocks does not hold"),
            "{}",
            run.err
        );
    }
}

#[test]
fn a_cut_does_not_replace_a_cube() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[2, 1], &[1i16, 2]));
    dir.ok("append a.cube 1.fits");
    let whole = dir.read("a.cube");
    std::os::unix::fs::symlink(dir.path("a.cube"), dir.path("link.fits")).unwrap();
    for line in [
        "slice a.cube -o a.cube --format fits --overwrite",
        "slice a.cube -o link.fits --overwrite",
    ] {
        dir.cube(line)
            .fails(&["is a cube, and a cut does not replace it"]);
    }
    assert_eq!(dir.read("a.cube"), whole);
}

#[test]
fn the_cubes_name_forgotten_is_hinted_at() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[2, 1], &[1i16, 2]));
    dir.cube("append 1.fits 1.fits")
        .fails(&["1.fits: is not a cube", "append CUBE FRAME"]);
}

#[test]
fn names_that_mean_something_elsewhere_are_just_files() {
    let dir = Scratch::new();
    let image = Image::of(&[2, 1], &[7i16, 8]);
    let names = [
        "|touch x",
        "mem:",
        "!name.fits",
        "~root",
        "a.fits[1]",
        "a.fits(b.fits)",
        "a.fits+1",
        "$HOME",
        "`touch x`",
        ";touch x",
        "file:x",
        "stdin",
        "a.gz(x",
        "new\nline",
        "*.fits",
        "-",
    ];
    for name in names {
        dir.frame(name, &image);
    }
    for folder in ["mem:", "http:", "ftp:", "shmem:", "root:"] {
        let _ = fs::remove_file(dir.path(folder));
        fs::create_dir_all(dir.path(folder)).unwrap();
        dir.frame(&format!("{folder}/a.fits"), &image);
    }
    let before = dir.names();
    let outside = names.iter().filter(|&&name| name != "mem:" && name != "-");
    let outside = outside.map(|name| name.to_string());
    let urls = [
        "mem://a.fits",
        "http://a.fits",
        "ftp://a.fits",
        "shmem://a.fits",
        "root://a.fits",
    ];
    let all: Vec<String> = outside
        .chain(urls.map(String::from))
        .chain(["./-".into()])
        .collect();
    let mut arguments = vec!["append".to_string(), "|cube".into()];
    arguments.extend(all.clone());
    dir.cube_args(&arguments).ends(0);
    let mut after = dir.names();
    after.retain(|name| name != "|cube");
    assert_eq!(after, before, "nothing else was made");
    let run = dir
        .cube_args(["info", "|cube", "--frames", "--json"])
        .ends(0);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&run.out).unwrap();
    let found: Vec<&str> = rows
        .iter()
        .map(|row| row["source"].as_str().unwrap())
        .collect();
    assert_eq!(found, all);
    let run = dir.cube_args([
        "slice", "|cube", "--axis", "z", "--at", "2,1", "-o", "!x.fits",
    ]);
    run.ends(0);
    assert!(
        dir.exists("!x.fits"),
        "an output is called what it was called"
    );
    // What is not there is not made up.
    for name in ["mem://b.fits", "|true", "http://localhost/a.fits"] {
        let run = dir.cube_args(["append", "new.cube", name]);
        run.fails(&["no such file"]);
    }
    assert!(!dir.exists("new.cube") && !dir.exists("x"));
}

#[test]
fn a_report_that_cannot_be_written_says_that_the_command_is_done() {
    if !std::path::Path::new("/dev/full").exists() {
        return crate::support::skip("no /dev/full");
    }
    let dir = Scratch::new();
    for number in 0..9u8 {
        let peak = if number == 4 { 200 } else { number };
        dir.frame(&format!("{number}.fits"), &Image::new(&[3, 2], |_| peak));
    }
    let full = |line: &str| {
        let mut command = dir.command();
        let out = std::fs::File::options().write(true).open("/dev/full");
        let command = command.args(line.split_whitespace()).stdout(out.unwrap());
        let run = crate::support::finish(command.spawn().unwrap());
        assert_eq!(run.status, 1);
        run.says(&["no space left on device", "its report alone is lost"]);
    };
    full("append a.cube --json 0.fits 1.fits 2.fits 3.fits 4.fits 5.fits 6.fits 7.fits 8.fits");
    assert_eq!(dir.info("a.cube")["frames"], 9);
    full("clean a.cube --sigma 2 --json");
    full("clean a.cube --sigma 2 --report");
    dir.cube("clean a.cube --mask - --mask-format npy --json")
        .fails(&["both go to standard output"]);
}

#[test]
fn names_that_are_no_text_are_told_apart_by_their_samples() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = Scratch::new();
    let names = [
        OsStr::from_bytes(b"\xff.fits"),
        OsStr::from_bytes(b"\xfe.fits"),
    ];
    let run = |args: &[&OsStr]| {
        let mut command = dir.command();
        let run = crate::support::finish(command.args(args).spawn().unwrap());
        assert_eq!(run.status, 0, "{}", run.err);
        run
    };
    let [append, resume, cube] = ["append", "--resume", "a.cube"].map(OsStr::new);
    for (number, name) in names.into_iter().enumerate() {
        dir.frame("1.fits", &Image::new(&[3, 2], |_| number as u8));
        let path = dir.path("").join(name);
        std::fs::rename(dir.path("1.fits"), &path).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        run(&[append, cube, resume, name]).says(&["1 frame added"]);
    }
    run(&[append, cube, resume, names[0], names[1]]).says(&["0 frames added", "2 there already"]);
    let [delete, source] = ["delete", "--source"].map(OsStr::new);
    run(&[delete, cube, source, names[0]]);
}

#[test]
fn a_number_that_is_too_large_is_not_infinity() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::new(&[3, 2], |k| k as f32));
    dir.cube("append a.cube --pad 1e39 1.fits")
        .fails(&["pad value 1e39 does not fit float32"]);
    dir.ok("append a.cube --pad inf 1.fits");
    dir.cube("sort a.cube --axis x --by EXPTIME")
        .fails(&["no frame joined x"]);
    dir.cube("slice a.cube --axis x,y,z --at 1")
        .fails(&["leaves none for --at"]);
}
