//! The equations of the papers, written plainly, judge what a cut keeps. The
//! same cuts were compared with astropy's coordinates, to 1e-13.

use super::*;

fn cards(lines: &[&str]) -> Cards {
    let text: String = lines.iter().map(|line| format!("{line:<80}")).collect();
    Cards::from_bytes(text.into_bytes())
}

fn kept(output: usize, first: f64, step: f64) -> AxisCut {
    AxisCut::Kept {
        output,
        first,
        step,
        whole: false,
    }
}

fn whole(output: usize) -> AxisCut {
    AxisCut::Kept {
        output,
        first: 1.0,
        step: 1.0,
        whole: true,
    }
}

fn number(cards: &Cards, keyword: &str, default: f64) -> f64 {
    cards.get_real(keyword).unwrap_or(default)
}

/// SIP's distortion of a pixel's offset from CRPIX.
fn distorted(cards: &Cards, offset: &[f64]) -> Vec<f64> {
    let mut out = offset.to_vec();
    for (axis, stem) in ["A", "B"].iter().enumerate() {
        for (p, q) in [(2, 0), (1, 1), (0, 2), (3, 0), (0, 3)] {
            let factor = number(cards, &format!("{stem}_{p}_{q}"), 0.0);
            out[axis] += factor * offset[0].powi(p) * offset[1].powi(q);
        }
    }
    out
}

/// Intermediate world coordinates: all that depends on the pixel.
fn intermediate(cards: &Cards, pixel: &[f64]) -> Vec<f64> {
    let n = pixel.len();
    let offset: Vec<f64> = (1..=n)
        .map(|j| pixel[j - 1] - number(cards, &format!("CRPIX{j}"), 0.0))
        .collect();
    let offset = match n {
        0 | 1 => offset,
        _ => distorted(cards, &offset),
    };
    let has_cd = cards.get("CD1_1").is_some();
    let element = |i: usize, j: usize| match has_cd {
        true => number(cards, &format!("CD{i}_{j}"), 0.0),
        false => {
            let identity = if i == j { 1.0 } else { 0.0 };
            number(cards, &format!("CDELT{i}"), 1.0)
                * number(cards, &format!("PC{i}_{j}"), identity)
        }
    };
    (1..=n)
        .map(|i| (1..=n).map(|j| element(i, j) * offset[j - 1]).sum())
        .collect()
}

const LINEAR: [&str; 8] = [
    "CTYPE1  = 'RA---TAN'",
    "CTYPE2  = 'DEC--TAN'",
    "CTYPE3  = 'FREQ'",
    "CRPIX1  = 10.5",
    "CRPIX3  = 2",
    "CDELT1  = -0.01 / degrees",
    "CDELT2  = 0.02",
    "CRVAL3  = 1.4E9",
];

const TURNED: [&str; 7] = [
    "CTYPE1  = 'RA---TAN'",
    "CTYPE2  = 'DEC--TAN'",
    "CDELT1  = -0.01",
    "PC1_1   = 0.8",
    "PC1_2   = -0.6",
    "PC2_1   = 0.5",
    "CRPIX2  = 100",
];

const DISTORTED: [&str; 16] = [
    "CTYPE1  = 'RA---TAN-SIP'",
    "CTYPE2  = 'DEC--TAN-SIP'",
    "CRPIX1  = 512",
    "CRPIX2  = 500",
    "CD1_1   = -0.001",
    "CD1_2   = 0.0002",
    "CD2_1   = 0.0003",
    "CD2_2   = 0.0011",
    "A_ORDER = 3",
    "B_ORDER = 2",
    "A_2_0   = 1.5E-5",
    "A_1_1   = -2E-6",
    "A_3_0   = 1E-9",
    "B_0_2   = 3E-5",
    "B_1_1   = 4E-6",
    "A_DMAX  = 3.0",
];

#[test]
fn each_output_pixel_has_the_coordinates_of_its_input_pixel() {
    let spans = [
        (1.0, 1.0),
        (7.0, 1.0),
        (3.0, 2.0),
        (40.0, -1.0),
        (40.0, -3.0),
    ];
    for lines in [&LINEAR[..], &TURNED, &DISTORTED] {
        let input = cards(lines);
        for x in spans {
            for y in spans {
                for (to_x, to_y) in [(0, 1), (1, 0)] {
                    let axes = [kept(to_x, x.0, x.1), kept(to_y, y.0, y.1), AxisCut::Dropped];
                    let (output, notes) = cut(&input, &axes);
                    assert!(notes.is_empty(), "{notes:?}");
                    let mut pixel = [0.0; 2];
                    pixel[to_x] = 5.0;
                    pixel[to_y] = 11.0;
                    let found = intermediate(&output, &pixel);
                    let wanted = intermediate(&input, &[x.0 + 4.0 * x.1, y.0 + 10.0 * y.1]);
                    for (found, wanted) in [(found[to_x], wanted[0]), (found[to_y], wanted[1])] {
                        assert!((found - wanted).abs() < 1e-13, "{axes:?}: {found} {wanted}");
                    }
                    let kind = format!("CTYPE{}", to_x + 1);
                    assert_eq!(output.get(&kind), input.get("CTYPE1"));
                    assert_eq!(output.get("CTYPE3"), None);
                }
            }
        }
    }
}

#[test]
fn a_frame_that_is_not_cut_keeps_its_header_byte_for_byte() {
    for lines in [&LINEAR[..], &TURNED, &DISTORTED] {
        let input = cards(&[lines, &["DATASEC = '[1:9,1:9]'", "LTV1    = 3"]].concat());
        let axes = [whole(0), whole(1), whole(2)];
        let (output, notes) = cut(&input, &axes);
        assert!(notes.is_empty());
        let n = input.as_bytes().len();
        assert_eq!(output.as_bytes()[..n], *input.as_bytes());
    }
    let (output, _) = cut(&cards(&LINEAR), &[whole(0), whole(1), whole(2)]);
    assert_eq!(output, cards(&LINEAR));
}

#[test]
fn values_of_a_cut_are_those_of_the_equations() {
    let axes = [kept(0, 4.0, 2.0), kept(1, 1.0, 1.0), kept(2, 9.0, -1.0)];
    let (output, _) = cut(&cards(&LINEAR), &axes);
    assert_eq!(output.get_real("CRPIX1"), Some(4.25));
    assert_eq!(output.get_real("CDELT1"), Some(-0.02));
    assert_eq!(output.get("CRPIX2"), None);
    assert_eq!(output.get_real("CRPIX3"), Some(8.0));
    assert_eq!(output.get_real("CDELT3"), Some(-1.0));
    let text = String::from_utf8(output.as_bytes().to_vec()).unwrap();
    assert!(text.contains("CDELT1  =                -0.02 / degrees"));
}

#[test]
fn a_profile_keeps_the_coordinates_along_it() {
    let axes = [AxisCut::Dropped, AxisCut::Dropped, kept(0, 2.0, 1.0)];
    let mut input = cards(&LINEAR);
    input.push_int("WCSAXES", 3, "axes");
    input.push_text("PS3_0", "param", "");
    let (output, notes) = cut(&input, &axes);
    assert!(notes.is_empty());
    assert_eq!(output.get_text("CTYPE1").as_deref(), Some("FREQ"));
    assert_eq!(output.get_real("CRPIX1"), Some(1.0));
    assert_eq!(output.get_int("WCSAXES"), Some(1));
    assert_eq!(output.get_text("PS1_0").as_deref(), Some("param"));
    assert_eq!(output.len(), 5);
}

#[test]
fn half_a_celestial_pair_is_left_out() {
    let axes = [kept(0, 1.0, 1.0), AxisCut::Dropped, kept(1, 1.0, 1.0)];
    let (output, notes) = cut(&cards(&LINEAR), &axes);
    assert_eq!(
        notes,
        [
            "coordinates of axis x are left out: they depend on axis y, whose coordinates are not in the output"
        ]
    );
    assert_eq!(output.get("CTYPE1"), None);
    assert_eq!(output.get_text("CTYPE2").as_deref(), Some("FREQ"));
}

#[test]
fn positions_that_are_not_evenly_spaced_have_no_coordinates() {
    let lost = AxisCut::Lost { output: Some(2) };
    let (output, notes) = cut(&cards(&LINEAR), &[whole(0), whole(1), lost]);
    assert_eq!(
        notes,
        ["coordinates of axis z are left out: its positions are not evenly spaced"]
    );
    assert_eq!(output.len(), 5);
    let (_, notes) = cut(&cards(&TURNED), &[whole(0), whole(1), lost]);
    assert!(notes.is_empty(), "the header says nothing of z");
}

#[test]
fn an_axis_that_depends_on_one_left_out_is_left_out() {
    let lines = [
        "CTYPE1  = 'WAVE'",
        "CD1_1   = 1.0",
        "CD1_2   = 0.5",
        "CD2_2   = 2.0",
    ];
    let (output, notes) = cut(&cards(&lines), &[whole(0), AxisCut::Dropped]);
    assert!(output.is_empty() && notes.len() == 1);
    // The other way round nothing is lost.
    let (output, notes) = cut(&cards(&lines), &[AxisCut::Dropped, whole(0)]);
    assert_eq!(output.get_real("CD1_1"), Some(2.0));
    assert!(output.len() == 1 && notes.is_empty());
}

#[test]
fn a_matrix_with_an_axis_missing_stays_regular() {
    let lines = ["CD1_1   = 3.0", "CD2_2   = 2.0"];
    let lost = AxisCut::Lost { output: Some(0) };
    let (output, _) = cut(&cards(&lines), &[lost, whole(1)]);
    assert_eq!(output.get_real("CD1_1"), Some(1.0));
    assert_eq!(output.get_real("CD2_2"), Some(2.0));
}

#[test]
fn alternates_are_cut_too() {
    let lines = [
        "CRPIX1P = 5",
        "CDELT1P = 2",
        "WCSNAMEP= 'PHYSICAL'",
        "PC002002= 1.0",
    ];
    let (output, _) = cut(&cards(&lines), &[kept(1, 3.0, 2.0), kept(0, 1.0, 1.0)]);
    assert_eq!(output.get_real("CRPIX2P"), Some(2.0));
    assert_eq!(output.get_real("CDELT2P"), Some(4.0));
    assert_eq!(output.get_real("PC001001"), Some(1.0));
    let (output, _) = cut(&cards(&lines), &[AxisCut::Dropped, whole(0)]);
    assert_eq!(output.get("WCSNAMEP"), None);
}

#[test]
fn the_map_to_detector_pixels_is_kept_true() {
    let lines = ["LTV1    = -10", "LTM1_1  = 0.5", "WCSDIM  = 2"];
    let (output, _) = cut(&cards(&lines), &[kept(0, 3.0, 2.0), kept(1, 5.0, 1.0)]);
    // Detector pixel 40 was image pixel 10, which is output pixel 4.5.
    assert_eq!(output.get_real("LTV1"), Some(-5.5));
    assert_eq!(output.get_real("LTM1_1"), Some(0.25));
    assert_eq!(output.get_real("LTV2"), Some(-4.0));
    assert_eq!(output.get_int("WCSDIM"), Some(2));
    let (output, _) = cut(&cards(&lines), &[AxisCut::Dropped, whole(0)]);
    assert!(output.is_empty());
}

#[test]
fn what_describes_the_whole_frame_or_another_table_is_left_out() {
    let lines = [
        "DATASEC = '[1:9,1:9]'",
        "CPDIS1  = 'LOOKUP'",
        "DP1     = 'EXTVER: 1'",
        "CTYPE3  = 'WAVE-TAB'",
        "CRPIX3  = 1",
        "OBJECT  = 'M 31'",
    ];
    let (output, notes) = cut(&cards(&lines), &[kept(0, 2.0, 1.0), whole(1), whole(2)]);
    assert_eq!(output, cards(&["OBJECT  = 'M 31'"]));
    assert_eq!(
        notes,
        [
            "coordinates of axis z are left out: their table is not in the output",
            "the lookup distortion of the coordinates is left out: its tables are not in the output",
            "DATASEC left out: the output is not the whole frame",
        ]
    );
}

#[test]
fn the_corner_on_a_plate_moves_and_its_solution_holds_for_whole_pixels_only() {
    let header = cards(&[
        "CNPIX1  =                 8860",
        "CNPIX2  =                 1708",
        "AMDX1   =           67.2333",
        "PPO3    =         177500.0",
    ]);
    let plane = [kept(0, 11.0, 1.0), kept(1, 5.0, 1.0), AxisCut::Dropped];
    let (out, notes) = cut(&header, &plane);
    assert_eq!(out.get_real("CNPIX1"), Some(8870.0));
    assert_eq!(out.get_real("CNPIX2"), Some(1712.0));
    assert_eq!(out.len(), 4);
    assert!(notes.is_empty());
    for axes in [
        [kept(0, 11.0, 2.0), kept(1, 5.0, 1.0)],
        [kept(1, 1.0, 1.0), kept(0, 1.0, 1.0)],
        [kept(0, 1.0, 1.0), AxisCut::Dropped],
    ] {
        let (out, notes) = cut(&header, &axes);
        assert!(out.is_empty());
        assert!(notes[0].contains("plate solution"), "{notes:?}");
    }
}

#[test]
fn a_distortion_in_iraf_cards_stays_with_a_plane_of_a_cube() {
    let header = cards(&[
        "CTYPE1  = 'RA---TNX'",
        "CTYPE2  = 'DEC--TNX'",
        "WAT1_001= 'wtype=tnx axtype=ra lngcor = \"1. 4.'",
    ]);
    let plane = [whole(0), whole(1), AxisCut::Dropped];
    let (out, _) = cut(&header, &plane);
    assert_eq!(out.len(), 3);
    // A profile has no use for it.
    let (out, _) = cut(&header, &[whole(0), AxisCut::Dropped, AxisCut::Dropped]);
    assert!(out.get("WAT1_001").is_none());
}

#[test]
fn two_cards_of_one_name_keep_their_own_values() {
    let header = cards(&[
        "CTYPE1  = 'VELOCITY'",
        "CRPIX1  =                403.0",
        "CRPIX1  =                  1.0",
    ]);
    let (out, _) = cut(&header, &[kept(0, 3.0, 2.0)]);
    let values: Vec<f64> = out
        .iter()
        .filter(|card| card.starts_with(b"CRPIX1"))
        .map(|card| Cards::from_bytes(card.to_vec()).get_real("CRPIX1").unwrap())
        .collect();
    assert_eq!(values, [201.0, 0.0]);
}

#[test]
fn distortion_needs_both_of_its_axes_first() {
    let axes = [kept(1, 1.0, 1.0), kept(2, 1.0, 1.0), kept(0, 1.0, 1.0)];
    let (output, notes) = cut(&cards(&DISTORTED), &axes);
    assert_eq!(notes.len(), 1);
    assert!(output.is_empty());
    let (output, _) = cut(&cards(&DISTORTED), &[kept(1, 1.0, 2.0), kept(0, 1.0, 1.0)]);
    assert_eq!(output.get_real("B_DMAX"), Some(1.5));
    assert_eq!(output.get_int("B_ORDER"), Some(3));
}

#[test]
fn no_header_and_no_cut_makes_it_panic() {
    let lines = [
        "CRPIX999= 1",
        "CD999_1 = 1",
        "WCSAXES = -5",
        "CTYPE1  = 7",
        "CTYPE2  = 'RA\u{e9}--TAN'",
        "CRPIX1  =",
        "CDELT1  = 1E400",
        "A_ORDER = 'x'",
        "A_999_9 = 1",
    ];
    let steps = [0.0, f64::NAN, f64::INFINITY, 1e-300, -1.0];
    for step in steps {
        for output in [0, 1, 900, usize::MAX] {
            let axes = [kept(output, step, step), kept(1, 1.0, step), whole(0)];
            for n in 0..3 {
                let (output, _) = cut(&cards(&lines), &axes[..n]);
                assert_eq!(output.as_bytes().len() % 80, 0);
            }
        }
    }
}
