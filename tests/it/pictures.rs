//! Planes side by side: `slice --montage` and `slice --compare`.

use crate::outputs::read_png;
use crate::support::{Image, Scratch};

type Picture = (u32, u32, Vec<[u8; 3]>);

fn pixel(picture: &Picture, x: usize, y: usize) -> [u8; 3] {
    picture.2[y * picture.0 as usize + x]
}

fn is_mark(color: &[u8; 3]) -> bool {
    color[0] > 180 && color[1] < 100
}

/// Four frames of 16 x 16, the second brighter than the rest, with one hit.
fn cube() -> Scratch {
    let dir = Scratch::new();
    for (number, level) in [10u16, 40, 20, 30].into_iter().enumerate() {
        let image = Image::new(&[16, 16], move |k| match (number, k) {
            (2, 37) => 9000,
            _ => level,
        });
        dir.frame(&format!("{number}.fits"), &image);
    }
    dir.ok("append a.cube 0.fits 1.fits 2.fits 3.fits");
    dir
}

#[test]
fn a_sheet_has_every_plane_in_order_with_one_stretch() {
    let dir = cube();
    // Without the hit, which is on row 3.
    dir.ok("slice a.cube --montage --section *,4:16,* --stretch minmax -o sheet.png");
    let sheet = read_png(&dir.read("sheet.png"));
    // Two rows of two; each sample is 10 pixels wide, 8 are between planes.
    let (width, row) = (16 * 10 + 8, 13 * 10 + 8 + 20);
    assert_eq!((sheet.0, sheet.1), (2 * width + 8, 2 * row + 8));
    for (number, level) in [0u8, 255, 85, 170].into_iter().enumerate() {
        let (x, y) = (8 + number as u32 % 2 * width, 8 + number as u32 / 2 * row);
        let middle = pixel(&sheet, x as usize + 80, y as usize + 65);
        assert_eq!(middle, [level; 3], "plane {}", number + 1);
        // Its number stands under it.
        let under = (x..x + 160).flat_map(|x| (y + 131..y + 150).map(move |y| (x, y)));
        let words = under.filter(|&(x, y)| pixel(&sheet, x as usize, y as usize)[0] > 200);
        assert!(words.count() > 10, "plane {}", number + 1);
    }
    // The largest sheet is as large as it was asked for.
    dir.ok("slice a.cube --montage --max-size 128 -o small.png");
    let small = read_png(&dir.read("small.png"));
    assert!(
        small.0 <= 128 + 28 && small.1 <= 128 + 28,
        "{} x {}",
        small.0,
        small.1
    );
}

#[test]
fn one_bad_frame_does_not_spoil_the_stretch_of_the_others() {
    let dir = Scratch::new();
    for number in 0..5u64 {
        let image = Image::new(&[32, 32], move |k| {
            let noise = (k * 7919 % 101) as f32;
            if number == 3 { 1e6 * noise } else { noise }
        });
        dir.frame(&format!("{number}.fits"), &image);
    }
    dir.ok("append a.cube 0.fits 1.fits 2.fits 3.fits 4.fits");
    dir.ok("slice a.cube --montage -o sheet.png");
    let sheet = read_png(&dir.read("sheet.png"));
    // The first plane shows its noise.
    let levels = (8..168).map(|x| pixel(&sheet, x, 40)[0]);
    let (low, high) = levels.fold((255, 0), |(lo, hi), level| (level.min(lo), level.max(hi)));
    assert!(low < 60 && high > 190, "{low} to {high}");
}

#[test]
fn a_sky_that_drifts_is_neither_black_nor_white() {
    let dir = Scratch::new();
    let names: Vec<String> = (0..12).map(|number| format!("{number}.fits")).collect();
    for (number, name) in (0u64..).zip(&names) {
        // Noise of 20 counts on a ramp of 55; one frame is a shutter that stuck.
        let image = Image::new(&[32, 32], move |k| match number {
            7 => 0u16,
            _ => (300 + 5 * number + k * 7919 % 21) as u16,
        });
        dir.frame(name, &image);
    }
    dir.ok(&format!("append a.cube {}", names.join(" ")));
    dir.ok("slice a.cube --montage -o sheet.png");
    let sheet = read_png(&dir.read("sheet.png"));
    let levels: Vec<u32> = (0..12)
        .map(|number| {
            // Four in a row, 160 pixels wide.
            let (x, y) = (8 + number % 4 * 168, 8 + number / 4 * 188);
            let inside = (0..160).map(|k| u32::from(pixel(&sheet, x + k, y + k)[0]));
            inside.sum::<u32>() / 160
        })
        .collect();
    assert_eq!(levels[7], 0);
    let sky: Vec<u32> = [&levels[..7], &levels[8..]].concat();
    assert!(sky.is_sorted(), "{sky:?}");
    assert!(sky[0] > 20 && sky[10] < 235, "{sky:?}");
}

#[test]
fn before_and_after_show_what_was_replaced() {
    let dir = cube();
    dir.ok("clean a.cube --sigma 1.5");
    dir.ok("slice a.cube --axis x,y --at 3 --compare --stretch minmax -o c.png");
    let picture = read_png(&dir.read("c.png"));
    // Each sample is 32 pixels wide: planes of 512, 8 between.
    assert_eq!((picture.0, picture.1), (2 * 520 + 8, 520 + 20 + 8));
    // Sample 37 is at x, y = 6, 3, counted from below.
    let (x, y) = (8 + 5 * 32 + 16, 8 + 512 - 2 * 32 - 16);
    assert_eq!(pixel(&picture, x, y), [255; 3], "as it came");
    assert_eq!(
        pixel(&picture, x + 520, y),
        [1, 1, 1].map(|_| pixel(&picture, 520 + 20, 20)[0])
    );
    for left in [x, x + 520] {
        assert!(is_mark(&pixel(&picture, left + 32, y)), "a ring");
    }
    // Nothing was replaced in frame 2, so both are alike.
    dir.ok("slice a.cube --axis x,y --at 2 --compare -o same.png");
    let same = read_png(&dir.read("same.png"));
    assert!((8..520).all(|y| pixel(&same, 100, y) == pixel(&same, 620, y)));
    assert!(!same.2.iter().any(is_mark));
    // undo leaves nothing to compare.
    dir.ok("undo a.cube");
    dir.ok("slice a.cube --axis x,y --at 3 --compare -o undone.png");
    assert!(!read_png(&dir.read("undone.png")).2.iter().any(is_mark));
}

#[test]
fn what_is_no_sheet_is_refused() {
    let dir = cube();
    for (line, says) in [
        (
            "--montage -o a.fits",
            "--montage makes a picture, but the output is fits",
        ),
        (
            "--axis z --at 1,1 --montage -o a.png",
            "the cut has profiles",
        ),
        (
            "--compare -o a.png",
            "--compare shows one plane, but the cut is 16 x 16 x 4",
        ),
        (
            "--montage --max-size 20 -o a.png",
            "4 planes of 16 x 16 do not fit a sheet of 20",
        ),
    ] {
        dir.cube(&format!("slice a.cube {line}"))
            .fails(&[says, "hint: "]);
        assert!(!dir.exists("a.png") && !dir.exists("a.fits"));
    }
    dir.cube("slice a.cube --montage --compare -o a.png")
        .ends(2);
}
