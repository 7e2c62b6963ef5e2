//! `cube append`: what becomes of samples, of types, BLANK and ragged frames.

use crate::support::{Image, Run, Scratch, Stored, bits};

/// Appends an image, cuts it out again, and sees that nothing was lost.
fn comes_back<T: Stored>(samples: &[T]) {
    let dir = Scratch::new();
    let image = Image::of(&[samples.len() as u64, 1], samples);
    dir.frame("1.fits", &image);
    dir.ok("append a.cube --axis z 1.fits 1.fits");
    assert_eq!(dir.info("a.cube")["dtype"], T::NAME);
    let cut = dir.cut("a.cube --axis x,y --at 2");
    assert_eq!(cut.data, image.data, "{}", T::NAME);
    assert_eq!(bits(&cut.samples::<T>()), bits(samples));
}

#[test]
fn all_ten_types_come_through_bit_for_bit() {
    comes_back::<u8>(&[0, 1, 127, 128, 255]);
    comes_back::<i8>(&[-128, -1, 0, 1, 127]);
    comes_back::<i16>(&[i16::MIN, -1, 0, 1, i16::MAX]);
    comes_back::<u16>(&[0, 1, 0x7fff, 0x8000, u16::MAX]);
    comes_back::<i32>(&[i32::MIN, -1, 0, 1, i32::MAX]);
    comes_back::<u32>(&[0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX]);
    comes_back::<i64>(&[i64::MIN, -1, 0, (1 << 53) + 1, i64::MAX]);
    comes_back::<u64>(&[0, 1, (1 << 53) + 1, 1 << 63, u64::MAX]);
}

#[test]
fn floats_keep_nan_payloads_zeros_with_a_sign_and_the_smallest_numbers() {
    let singles = [
        0x7fc0_0000,
        0x7fc1_2345,
        0x7f80_0001, // signalling
        0xffff_ffff,
        0x8000_0000,
        0x0000_0001,
        0x7f80_0000,
        0xff80_0000,
        0x7f7f_ffff,
    ];
    comes_back::<f32>(&singles.map(f32::from_bits));
    let doubles = [
        0x7ff8_0000_0000_0000,
        0x7ff8_dead_beef_1234,
        0x7ff0_0000_0000_0001,
        0xffff_ffff_ffff_ffff,
        0x8000_0000_0000_0000,
        0x0000_0000_0000_0001,
        0x7fef_ffff_ffff_ffff,
    ];
    comes_back::<f64>(&doubles.map(f64::from_bits));
}

#[test]
fn scaled_samples_become_floats_and_blank_ones_nan() {
    let dir = Scratch::new();
    let scaled = Image::of(&[4, 1], &[-1i16, 0, 7, 99])
        .with("BSCALE", "0.5")
        .with("BZERO", "10.0")
        .with("BLANK", "99");
    dir.frame("1.fits", &scaled);
    dir.ok("append a.cube --axis z 1.fits");
    assert_eq!(dir.info("a.cube")["dtype"], "float32");
    let cut = dir.cut("a.cube");
    let found = cut.samples::<f32>();
    assert_eq!(found[..3], [9.5, 10.0, 13.5]);
    assert!(found[3].is_nan());
    assert_eq!(cut.value("BLANK"), None, "a float image has none");

    let wide = Image::of(&[2, 1], &[i32::MAX, -2]).with("BSCALE", "2.0");
    dir.frame("2.fits", &wide);
    dir.ok("append b.cube --axis z 2.fits");
    assert_eq!(dir.samples::<f64>("b.cube"), [4_294_967_294.0, -4.0]);
}

#[test]
fn blank_stays_in_an_integer_cube_and_is_its_pad() {
    let dir = Scratch::new();
    let image = |samples: &[i16], blank| {
        Image::of(&[samples.len() as u64, 1], samples).with("BLANK", blank)
    };
    dir.frame("1.fits", &image(&[1, -999, 3], "-999"));
    dir.frame("2.fits", &image(&[4], "-999"));
    dir.ok("append a.cube --axis z 1.fits 2.fits");
    let info = dir.info("a.cube");
    assert_eq!(info["blank"], -999);
    assert_eq!(info["pad"], -999);
    let cut = dir.cut("a.cube");
    assert_eq!(cut.samples::<i16>(), [1, -999, 3, 4, -999, -999]);
    assert_eq!(cut.value("BLANK").as_deref(), Some("-999"));

    // Unsigned: the card holds the stored value.
    dir.frame(
        "u.fits",
        &Image::of(&[2, 1], &[65535u16, 5]).with("BLANK", "32767"),
    );
    dir.ok("append u.cube --axis z u.fits");
    assert_eq!(dir.info("u.cube")["blank"], 65535);
    let cut = dir.cut("u.cube");
    assert_eq!(cut.samples::<u16>(), [65535, 5]);
    assert_eq!(cut.value("BLANK").as_deref(), Some("32767"));
}

#[test]
fn blank_becomes_nan_in_a_float_cube() {
    let dir = Scratch::new();
    dir.frame("f.fits", &Image::of(&[3, 1], &[0.5f32, 1.5, 2.5]));
    dir.frame(
        "i.fits",
        &Image::of(&[3, 1], &[7i16, -1, 9]).with("BLANK", "-1"),
    );
    dir.ok("append a.cube --axis z f.fits i.fits");
    let found = dir.samples::<f32>("a.cube");
    assert_eq!(found[..4], [0.5, 1.5, 2.5, 7.0]);
    assert!(found[4].is_nan());
    assert_eq!(found[5], 9.0);
}

#[test]
fn another_blank_is_refused_and_made_ours_by_cast() {
    let dir = Scratch::new();
    let image = |blank: &str| Image::of(&[3, 1], &[-1i16, -2, 5]).with("BLANK", blank);
    dir.frame("1.fits", &image("-1"));
    dir.frame("2.fits", &image("-2"));
    dir.ok("append a.cube --axis z 1.fits");
    let before = dir.read("a.cube");
    dir.cube("append a.cube --axis z 2.fits").fails(&[
        "2.fits: its BLANK is -2, but the cube's is -1",
        "hint: --cast",
    ]);
    assert_eq!(dir.read("a.cube"), before);
    dir.ok("append a.cube --axis z --cast 2.fits");
    let found = dir.samples::<i16>("a.cube --section *,*,2");
    assert_eq!((found[1], found[2]), (-1, 5));
}

#[test]
fn a_first_blank_that_comes_late_is_said() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[2, 1], &[1i16, -5]));
    dir.frame(
        "2.fits",
        &Image::of(&[2, 1], &[2i16, -5]).with("BLANK", "-5"),
    );
    dir.ok("append a.cube --axis z 1.fits");
    dir.ok("append a.cube --axis z 2.fits")
        .says(&["warning", "BLANK is -5"]);
    assert_eq!(dir.info("a.cube")["blank"], -5);
    assert_eq!(dir.samples::<i16>("a.cube"), [1, -5, 2, -5]);
    dir.ok("append a.cube --axis z 1.fits")
        .says(&["1 frame without BLANK: where a sample is -5"]);
    // In one command it is no other, and void is no data then, too.
    dir.frame("3.fits", &Image::of(&[1, 1], &[7i16]));
    dir.ok("append b.cube --axis z 3.fits 2.fits")
        .says(&["BLANK is -5", "1 frame without BLANK"]);
    assert_eq!(dir.info("b.cube")["pad"], -5);
    assert_eq!(dir.samples::<i16>("b.cube"), [7, -5, 2, -5]);
    // What is left out has no say.
    dir.frame("4.fits", &Image::of(&[1, 1], &[7i16]));
    dir.frame("5.fits", &Image::of(&[1, 1], &[7i32]).with("BLANK", "9"));
    let run = dir.cube("append c.cube --axis z --skip-bad 4.fits 5.fits");
    assert_eq!(run.status, 3, "{}", run.err);
    assert_eq!(dir.info("c.cube")["blank"], serde_json::Value::Null);
}

#[test]
fn another_type_comes_in_when_no_value_can_be_lost() {
    let dir = Scratch::new();
    dir.frame("f64.fits", &Image::of(&[2, 1], &[0.1f64, -1.0]));
    dir.frame("f32.fits", &Image::of(&[2, 1], &[0.1f32, 3.0]));
    dir.frame("i32.fits", &Image::of(&[2, 1], &[i32::MAX, i32::MIN]));
    dir.frame("u8.fits", &Image::of(&[2, 1], &[255u8, 0]));
    dir.ok("append a.cube --axis z f64.fits f32.fits i32.fits u8.fits");
    assert_eq!(
        dir.samples::<f64>("a.cube"),
        [
            0.1,
            -1.0,
            f64::from(0.1f32),
            3.0,
            2_147_483_647.0,
            -2_147_483_648.0,
            255.0,
            0.0
        ]
    );
    dir.frame("i16.fits", &Image::of(&[2, 1], &[1i16, 2]));
    dir.ok("append b.cube --axis z i16.fits u8.fits");
    assert_eq!(dir.samples::<i16>("b.cube"), [1, 2, 255, 0]);
}

#[test]
fn another_type_is_refused_when_a_value_could_be_lost() {
    let dir = Scratch::new();
    dir.frame("i16.fits", &Image::of(&[2, 1], &[1i16, 2]));
    dir.frame("u16.fits", &Image::of(&[2, 1], &[1u16, 2]));
    dir.frame("f32.fits", &Image::of(&[2, 1], &[1f32, 2.0]));
    dir.frame("f64.fits", &Image::of(&[2, 1], &[1f64, 2.0]));
    dir.frame("i64.fits", &Image::of(&[2, 1], &[1i64, 2]));
    for (first, second, says) in [
        (
            "i16",
            "u16",
            "u16.fits: holds uint16, but the cube holds int16",
        ),
        (
            "i16",
            "f32",
            "f32.fits: holds float32, but the cube holds int16",
        ),
        (
            "f32",
            "f64",
            "f64.fits: holds float64, but the cube holds float32",
        ),
        (
            "f64",
            "i64",
            "i64.fits: holds int64, but the cube holds float64",
        ),
        (
            "u16",
            "i16",
            "i16.fits: holds int16, but the cube holds uint16",
        ),
    ] {
        let cube = format!("{first}-{second}.cube");
        dir.ok(&format!("append {cube} --axis z {first}.fits"));
        let before = dir.read(&cube);
        dir.cube(&format!("append {cube} --axis z {second}.fits"))
            .fails(&[says, "hint: --cast"]);
        assert_eq!(dir.read(&cube), before);
    }
}

#[test]
fn cast_rounds_half_to_even_and_clips() {
    let dir = Scratch::new();
    dir.frame("i.fits", &Image::of(&[9, 1], &[0i16; 9]));
    let floats = [
        0.5f32,
        1.5,
        2.5,
        -0.5,
        -1.5,
        40000.0,
        -40000.0,
        f32::INFINITY,
        -2.4999,
    ];
    dir.frame("f.fits", &Image::of(&[9, 1], &floats));
    dir.ok("append a.cube --axis z i.fits");
    dir.ok("append a.cube --axis z --cast f.fits");
    assert_eq!(
        dir.samples::<i16>("a.cube --section *,*,2"),
        [0, 2, 2, 0, -2, 32767, -32768, 32767, -2]
    );
    dir.frame("u.fits", &Image::of(&[4, 1], &[0u8, 1, 2, 3]));
    dir.frame("n.fits", &Image::of(&[4, 1], &[-1i16, 256, 255, 0]));
    dir.ok("append u.cube --axis z --cast u.fits n.fits");
    assert_eq!(
        dir.samples::<u8>("u.cube --section *,*,2"),
        [0, 255, 255, 0]
    );
}

#[test]
fn a_new_cube_may_be_given_its_type() {
    let dir = Scratch::new();
    dir.frame("i.fits", &Image::of(&[3, 1], &[-7i16, 0, 7]));
    dir.ok("append f.cube --axis z --dtype float32 i.fits");
    assert_eq!(dir.samples::<f32>("f.cube"), [-7.0, 0.0, 7.0]);
    dir.ok("append w.cube --axis z --dtype int64 i.fits");
    assert_eq!(dir.samples::<i64>("w.cube"), [-7, 0, 7]);
    dir.cube("append u.cube --axis z --dtype uint8 i.fits")
        .fails(&["i.fits: holds int16, but the cube holds uint8", "hint: "]);
    assert!(!dir.exists("u.cube"));
    dir.frame("u.fits", &Image::of(&[3, 1], &[0u16, 1, 65535]));
    dir.frame("g.fits", &Image::of(&[3, 1], &[0f32, 1.0, 0.5]));
    for (frames, wider) in [
        ("i u", "int32"),
        ("u i g", "float32"),
        ("u u g i", "float32"),
    ] {
        let frames: String = frames
            .split(' ')
            .map(|name| format!(" {name}.fits"))
            .collect();
        let hint = format!("a cube of --dtype {wider} holds all of them");
        dir.cube(&format!("append all.cube --axis z{frames}"))
            .fails(&["hint: --cast rounds and clips to ", &hint]);
        dir.ok(&format!(
            "append {wider}.cube --axis z --dtype {wider}{frames}"
        ));
    }
    dir.ok("append u.cube --axis z --dtype uint8 --cast i.fits");
    assert_eq!(dir.samples::<u8>("u.cube"), [0, 0, 7]);
    dir.cube("append u.cube --axis z --dtype float32 i.fits")
        .fails(&["the cube holds uint8, not float32"]);
    dir.cube("append x.cube --dtype float16 i.fits").ends(2);
}

#[test]
fn nan_has_no_value_in_an_integer_cube_unless_it_has_a_blank() {
    let dir = Scratch::new();
    dir.frame("i.fits", &Image::of(&[2, 1], &[1i16, 2]));
    dir.frame(
        "b.fits",
        &Image::of(&[2, 1], &[1i16, 2]).with("BLANK", "-9"),
    );
    dir.frame("nan.fits", &Image::of(&[2, 1], &[3.0f32, f32::NAN]));
    dir.ok("append i.cube --axis z i.fits");
    let before = dir.samples::<i16>("i.cube");
    dir.cube("append i.cube --axis z --cast nan.fits").fails(&[
        "nan.fits: holds NaN",
        "int16",
        "hint: ",
    ]);
    assert_eq!(dir.samples::<i16>("i.cube"), before);
    assert_eq!(dir.info("i.cube")["frames"], 1);
    dir.cube("append new.cube --axis z --dtype int16 --cast nan.fits")
        .fails(&["nan.fits: holds NaN"]);
    assert!(!dir.exists("new.cube"), "a cube without a frame is none");

    dir.ok("append b.cube --axis z b.fits");
    dir.ok("append b.cube --axis z --cast nan.fits");
    assert_eq!(dir.samples::<i16>("b.cube"), [1, 2, 3, -9]);
}

/// A large and a small frame in one cube: what the small one leaves.
fn left_beside<T: Stored>(options: &str, large: &[T; 4], small: T) -> T {
    let dir = Scratch::new();
    dir.frame("large.fits", &Image::of(&[2, 2], large));
    dir.frame("small.fits", &Image::of(&[1, 1], &[small]));
    dir.ok(&format!(
        "append a.cube --axis z {options} large.fits small.fits"
    ));
    let found = dir.samples::<T>("a.cube");
    assert_eq!(found[..4], large[..]);
    assert_eq!(found[4], small);
    assert_eq!(bits(&found[5..6]), bits(&found[6..7]));
    assert_eq!(bits(&found[6..7]), bits(&found[7..8]));
    found[5]
}

#[test]
fn what_no_frame_reaches_reads_as_the_pad_of_its_type() {
    assert!(left_beside("", &[1f32; 4], 2.0).is_nan());
    assert!(left_beside("", &[1f64; 4], 2.0).is_nan());
    assert_eq!(left_beside("", &[1i8; 4], 2), i8::MIN);
    assert_eq!(left_beside("", &[1i16; 4], 2), i16::MIN);
    assert_eq!(left_beside("", &[1i32; 4], 2), i32::MIN);
    assert_eq!(left_beside("", &[1i64; 4], 2), i64::MIN);
    assert_eq!(left_beside("", &[1u8; 4], 2), 0);
    assert_eq!(left_beside("", &[1u16; 4], 2), 0);
    assert_eq!(left_beside("", &[1u32; 4], 2), 0);
    assert_eq!(left_beside("", &[1u64; 4], 2), 0);
    assert_eq!(left_beside("--pad -32000", &[1i16; 4], 2), -32000);
    assert_eq!(left_beside("--pad 65535", &[1u16; 4], 2), 65535);
    assert_eq!(left_beside("--pad -1.5", &[1f32; 4], 2.0), -1.5);
    assert_eq!(left_beside("--pad inf", &[1f64; 4], 2.0), f64::INFINITY);
}

#[test]
fn a_pad_that_does_not_fit_or_comes_late_is_refused() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[2, 1], &[1i16, 2]));
    dir.cube("append a.cube --pad 40000 1.fits")
        .fails(&["pad value 40000 does not fit int16", "hint: "]);
    assert!(!dir.exists("a.cube"));
    dir.ok("append a.cube --axis z --pad -1 1.fits");
    assert_eq!(dir.info("a.cube")["pad"], -1);
    dir.cube("append a.cube --axis z --pad -2 1.fits")
        .fails(&["the cube's pad value is -1, not -2"]);
    dir.ok("append a.cube --axis z --pad -1 1.fits");
    assert_eq!(dir.shape("a.cube"), [2, 1, 2]);
}

#[test]
fn a_larger_frame_grows_the_other_axes_and_moves_nothing() {
    let dir = Scratch::new();
    dir.frame("s.fits", &Image::new(&[2, 2], |k| k as i32));
    dir.frame("l.fits", &Image::new(&[3, 4], |k| 100 + k as i32));
    dir.ok("append a.cube s.fits");
    dir.ok("append a.cube l.fits s.fits");
    assert_eq!(dir.shape("a.cube"), [3, 4, 3]);
    let p = i32::MIN;
    let small = [0, 1, p, 2, 3, p, p, p, p, p, p, p];
    assert_eq!(dir.samples::<i32>("a.cube --section *,*,1"), small);
    assert_eq!(dir.samples::<i32>("a.cube --section *,*,3"), small);
    let large: Vec<i32> = (100..112).collect();
    assert_eq!(dir.samples::<i32>("a.cube --section *,*,2"), large);
    let info = dir.info("a.cube");
    for axis in 0..3 {
        assert_eq!(info["axes"][axis]["pieces"], 1, "growth at the end merges");
    }
}

#[test]
fn an_origin_places_frames_and_they_can_be_read_at_their_places() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::new(&[2, 2], |k| 10 + k as u16));
    dir.frame("2.fits", &Image::new(&[2, 1], |k| 20 + k as u16));
    dir.ok("append a.cube 1.fits");
    dir.ok("append a.cube --origin 3,2 2.fits --axis z");
    assert_eq!(dir.shape("a.cube"), [4, 2, 2]);
    assert_eq!(
        dir.samples::<u16>("a.cube"),
        [10, 11, 0, 0, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0, 20, 21]
    );
    dir.cube("append a.cube --axis z --origin 1,1,5 1.fits")
        .fails(&["--origin", "z", "hint: "]);
    assert_eq!(dir.shape("a.cube"), [4, 2, 2]);
    for bad in ["0,1", "x", "1,,2", "-1,1", "1.5", "1,1,1,1,1,1,1,1,1"] {
        let run: Run = dir.cube(&format!("append a.cube --origin={bad} 1.fits"));
        run.ends(2).says(&["--origin"]);
    }
}

#[test]
fn an_axis_cannot_become_longer_than_a_file_can_count() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[2, 2], &[1u8, 2, 3, 4]));
    dir.ok("append a.cube 1.fits");
    for origin in [
        "18446744073709551615,1",
        "9223372036854775807,1",
        "4611686018427387904,1",
        "4000000000,4000000000",
    ] {
        let before = dir.samples::<u8>("a.cube");
        dir.cube(&format!("append a.cube --origin {origin} 1.fits"))
            .fails(&["a.cube"]);
        assert_eq!(dir.samples::<u8>("a.cube"), before);
        dir.cube(&format!("append new.cube --origin {origin} 1.fits"))
            .fails(&["new.cube"]);
        assert!(!dir.exists("new.cube"));
    }
}

#[test]
fn an_origin_beyond_the_axes_shown_shows_them() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[1, 2], &[1i16, 2]));
    dir.frame("2.fits", &Image::of(&[1, 2], &[3i16, 4]));
    dir.ok("append a.cube 1.fits");
    dir.ok("append a.cube --origin 1,1,1,3 2.fits");
    assert_eq!(dir.info("a.cube")["shape"], serde_json::json!([1, 2, 2, 3]));
    let text = dir.ok("slice a.cube --axis y --at 1,2,3").out;
    assert_eq!(String::from_utf8(text).unwrap(), "# y\tvalue\n1\t3\n2\t4\n");
}

#[test]
fn a_frame_that_fails_leaves_no_growth_behind() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::of(&[1, 2], &[1i16, 2]));
    dir.frame("nan.fits", &Image::of(&[1, 3], &[1f32, f32::NAN, 2.0]));
    dir.ok("append a.cube 1.fits");
    let run = dir.cube("append a.cube --cast --skip-bad 1.fits nan.fits 1.fits");
    assert_eq!(run.status, 3, "{}", run.err);
    assert_eq!(dir.info("a.cube")["shape"], serde_json::json!([1, 2, 3]));
    assert_eq!(dir.samples::<i16>("a.cube"), [1, 2, 1, 2, 1, 2]);
}
