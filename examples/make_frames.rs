//! Makes the frames in `testdata/frames`: a field of stars, one of which is
//! eclipsed for a while, with noise and cosmic rays; 24 exposures of 64 x 48
//! uint16. Deterministic: `cargo run --example make_frames` makes them again,
//! byte for byte.

use std::path::Path;

use cube::dtype::DType;
use cube::error::Result;
use cube::frames::cards::Cards;
use cube::sinks::{Format, Image, Target, create};

const FRAMES: u32 = 24;
const WIDTH: u32 = 64;
const HEIGHT: u32 = 48;

/// Positions (from 1) and peaks of the stars; the first is the variable one.
const STARS: [(f64, f64, f64); 6] = [
    (31.0, 22.0, 9000.0),
    (12.4, 35.7, 3000.0),
    (50.8, 10.1, 15000.0),
    (55.2, 40.3, 1200.0),
    (8.9, 7.5, 700.0),
    (40.1, 30.6, 2200.0),
];

/// A small generator (Knuth's MMIX constants), so that no crate decides what the
/// frames are.
struct Random(u64);

impl Random {
    /// A number from 0 up to, not including, 1.
    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 40) as f64 / f64::from(1u32 << 24)
    }

    /// Mean 0, variance 1: the sum of twelve uniform numbers less six.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// The variable star's brightness: a dip of 40 % in the middle of the night.
fn brightness(frame: u32) -> f64 {
    match frame {
        9..=10 | 16..=17 => 0.8,
        11..=15 => 0.6,
        _ => 1.0,
    }
}

fn frame(number: u32) -> Vec<u16> {
    let mut random = Random(u64::from(number) + 2026);
    let sky = 300.0 + 2.0 * f64::from(number);
    let mut out = Vec::new();
    for y in 1..=HEIGHT {
        for x in 1..=WIDTH {
            let mut value = sky;
            for (star, &(at_x, at_y, peak)) in STARS.iter().enumerate() {
                let peak = if star == 0 {
                    peak * brightness(number)
                } else {
                    peak
                };
                let (dx, dy) = (f64::from(x) - at_x, f64::from(y) - at_y);
                value += peak * (-(dx * dx + dy * dy) / (2.0 * 1.6 * 1.6)).exp();
            }
            value += value.sqrt() * random.normal();
            // A cosmic ray hits one pixel in a thousand.
            if random.uniform() < 0.001 {
                value += 5000.0 + 20000.0 * random.uniform();
            }
            #[allow(clippy::cast_possible_truncation)]
            out.push(value.round().clamp(0.0, 65535.0) as u16);
        }
    }
    out
}

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/frames");
    for number in 1..=FRAMES {
        let minute = 2 * (number - 1);
        let date = format!("2026-11-23T02:{minute:02}:00");
        let mut cards = Cards::default();
        cards.push_text(
            "OBJECT",
            "V0000 Xyz",
            "an eclipsing star that does not exist",
        );
        cards.push_text("DATE-OBS", &date, "UTC, start of exposure");
        cards.push_real("EXPTIME", 60.0, "[s] exposure time");
        cards.push_text("FILTER", "V", "");
        cards.push_text("CTYPE1", "RA---TAN", "");
        cards.push_text("CTYPE2", "DEC--TAN", "");
        cards.push_real("CRPIX1", 32.5, "");
        cards.push_real("CRPIX2", 24.5, "");
        cards.push_real("CRVAL1", 150.1, "[deg]");
        cards.push_real("CRVAL2", 2.2, "[deg]");
        cards.push_real("CDELT1", -2.0 / 3600.0, "[deg]");
        cards.push_real("CDELT2", 2.0 / 3600.0, "[deg]");
        cards.push_line("COMMENT", "made by examples/make_frames.rs");
        let image = Image {
            shape: vec![u64::from(WIDTH), u64::from(HEIGHT)],
            dtype: DType::U16,
            blank: None,
            cards,
        };
        let path = folder.join(format!("frame{number:02}.fits"));
        let target = Target::from_path(&path, true);
        let mut sink = create(&target, Format::Fits, &image)?;
        let samples: Vec<u8> = frame(number)
            .into_iter()
            .flat_map(u16::to_le_bytes)
            .collect();
        sink.write(&samples)?;
        sink.finish()?;
    }
    Ok(())
}
