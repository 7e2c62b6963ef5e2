//! World coordinates along one axis, where they rest on the pixels of that axis alone: a
//! wavelength, a frequency, a time, a place along a slit.
//!
//! A pixel `p` is at `w = CRVAL + x` with `x = CDELT (p - CRPIX)`, or CD in the place of CDELT and PC beside
//! it (Greisen & Calabretta 2002, A&A 395, 1061). `LOG` makes it `CRVAL exp(x / CRVAL)` (Greisen et al. 2006,
//! A&A 446, 747, section 3.2), and IRAF's `DC-FLAG = 1` makes it `10^(CRVAL + x)`.

use super::Header;
use super::keys::{Key, PRIMARY};
use crate::frames::cards::Cards;

/// Pixels that are found by their coordinates are the same within so much: headers have
/// few digits of these.
pub const MOST_PIXELS: f64 = 1e-3;

/// The coordinates of one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// What they are, and their unit: `WAVE [Angstrom]`.
    pub label: String,
    kind: Kind,
    value: f64,
    pixel: f64,
    step: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Linear,
    /// Even steps of the logarithm, told in the unit itself.
    Log,
    /// The decimal logarithm is what is told.
    Decimal,
}

/// What AIPS puts behind a frequency or a velocity to say where its observer stands.
const OBSERVERS: [&str; 5] = ["LSR", "HEL", "BAR", "GEO", "OBS"];

/// IRAF's keyword of spectra in even steps of the logarithm.
pub(super) const LOGARITHMS: &str = "DC-FLAG";

impl World {
    /// Reads what a header says of an axis, from 0; `None` where it says nothing.
    ///
    /// # Errors
    /// In words, why the coordinates cannot be told from a pixel of that axis.
    pub fn read(cards: &Cards, axis: usize) -> Result<Option<World>, String> {
        World::of(&Header::read(cards), cards, PRIMARY, axis + 1)
    }

    /// The same of one of the descriptions, and an axis from 1.
    pub(super) fn of(
        header: &Header,
        cards: &Cards,
        description: char,
        axis: usize,
    ) -> Result<Option<World>, String> {
        let number = |stem| header.number(stem, axis, description);
        let (value, delta) = (number("CRVAL"), number("CDELT"));
        let scale = header.element(description, (axis, axis));
        if value.or(delta).or(scale).is_none() {
            return Ok(None);
        }
        let name = |stem| {
            Key::Axis {
                stem,
                axis,
                alternate: description,
            }
            .name()
        };
        let text = |stem| {
            let text = cards.get_text(&name(stem)).unwrap_or_default();
            text.trim().to_string()
        };
        let kind = text("CTYPE");
        let (quantity, code) = match kind.split_at_checked(4) {
            Some((head, tail)) if tail.starts_with('-') => {
                (head.trim_end_matches('-'), tail.trim_matches('-'))
            }
            _ => (&kind[..], ""),
        };
        let is_decimal = || axis == 1 && cards.get_int(LOGARITHMS) == Some(1);
        let law = match code {
            "" if quantity.starts_with("MULTISP") => None,
            "" if is_decimal() => Some(Kind::Decimal),
            "" => Some(Kind::Linear),
            "LOG" => Some(Kind::Log),
            code if OBSERVERS.contains(&code) && matches!(quantity, "FREQ" | "VELO") => {
                Some(Kind::Linear)
            }
            _ => None,
        };
        let law = law.ok_or_else(|| {
            format!(
                "{} is {kind}, which is neither linear nor logarithmic",
                name("CTYPE")
            )
        })?;
        let turns = || {
            let mut angles = (1..=2).filter_map(|axis| header.number("CROTA", axis, description));
            axis <= 2 && !header.has_cd(description) && angles.any(|angle| angle != 0.0)
        };
        let is_distorted = |stem| cards.get(&format!("{stem}{axis}")).is_some();
        let leans = header.leans(description, axis) || turns();
        if leans || ["CPDIS", "CQDIS", "D2IMDIS"].into_iter().any(is_distorted) {
            return Err("it depends on the pixels of other axes, too".to_string());
        }
        // What readers make of a row of CD that is all 0 differs; CDELT is what is meant.
        let step = match (header.has_cd(description), scale) {
            (true, Some(scale)) => scale,
            (true, None) => delta.unwrap_or(1.0),
            (false, scale) => delta.unwrap_or(1.0) * scale.unwrap_or(1.0),
        };
        let value = value.unwrap_or(0.0);
        if law == Kind::Log && value == 0.0 {
            return Err(format!(
                "{} is {kind}, and {} is 0",
                name("CTYPE"),
                name("CRVAL")
            ));
        }
        let called = [text("CNAME"), quantity.to_string(), "world".to_string()];
        let label = called.into_iter().find(|name| !name.is_empty());
        let unit = match text("CUNIT") {
            unit if unit.is_empty() => unit,
            unit => format!(" [{unit}]"),
        };
        Ok(Some(World {
            label: label.unwrap_or_default() + &unit,
            kind: law,
            value,
            pixel: number("CRPIX").unwrap_or(0.0),
            step,
        }))
    }

    /// The coordinate of a pixel, from 1.
    pub fn at(&self, pixel: f64) -> f64 {
        let offset = self.step * (pixel - self.pixel);
        match self.kind {
            Kind::Linear => self.value + offset,
            Kind::Log => self.value * (offset / self.value).exp(),
            Kind::Decimal => 10f64.powf(self.value + offset),
        }
    }

    /// Is that the coordinate of a pixel, but for digits that are lost?
    pub fn is_at(&self, coordinate: f64, pixel: f64) -> bool {
        let found = self.at(pixel);
        found == coordinate
            || (found - coordinate).abs() <= MOST_PIXELS * (self.at(pixel + 1.0) - found).abs()
    }

    /// The pixel that has a coordinate; not a number where none or all have.
    pub fn pixel(&self, coordinate: f64) -> f64 {
        let offset = match self.kind {
            Kind::Linear => coordinate - self.value,
            Kind::Log => self.value * (coordinate / self.value).ln(),
            Kind::Decimal => coordinate.log10() - self.value,
        };
        match self.step == 0.0 {
            true => f64::NAN,
            false => self.pixel + offset / self.step,
        }
    }

    /// Is it the same quantity, told in the same way?
    pub fn is_like(&self, other: &World) -> bool {
        self.kind == other.kind && self.label == other.label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<World>, String> {
        let card = |line: &&str| {
            let (keyword, value) = line.split_once(" = ").unwrap();
            format!("{:<80}", format!("{keyword:<8}= {value}"))
        };
        let text: String = lines.iter().map(card).collect();
        World::read(&Cards::from_bytes(text.into_bytes()), 0)
    }

    #[test]
    fn pixels_have_coordinates_and_coordinates_pixels() {
        let cases: [(&[&str], &str, f64); 6] = [
            // What the standard has where a header is silent.
            (&["CRVAL1 = 10"], "world", 13.0),
            (
                &[
                    "CTYPE1 = 'WAVE'",
                    "CUNIT1 = 'nm'",
                    "CRVAL1 = 10",
                    "CRPIX1 = 2",
                    "CDELT1 = .5",
                ],
                "WAVE [nm]",
                10.5,
            ),
            (
                &["CDELT1 = 2", "PC1_1 = 3", "CNAME1 = 'slit'"],
                "slit",
                18.0,
            ),
            // IRAF has both.
            (
                &["CTYPE1 = 'LINEAR'", "CD1_1 = 2.", "CDELT1 = 7."],
                "LINEAR",
                6.0,
            ),
            (
                &["CTYPE1 = 'VELO-LSR'", "CD2_2 = 1", "CDELT1 = 7"],
                "VELO",
                21.0,
            ),
            (
                &["DC-FLAG = 1", "CRVAL1 = 3.5", "CDELT1 = 0.1", "CRPIX1 = 8"],
                "world",
                1000.0,
            ),
        ];
        for (lines, label, third) in cases {
            let world = read(lines).unwrap().unwrap();
            assert_eq!(world.label, label);
            assert!((world.at(3.0) / third - 1.0).abs() < 1e-12, "{lines:?}");
            assert!((world.pixel(third) - 3.0).abs() < 1e-9, "{lines:?}");
            assert!(world.is_at(third, 3.0) && !world.is_at(third * 1.1, 3.0));
        }
        let log = [
            "CTYPE1 = 'WAVE-LOG'",
            "CRPIX1 = 3.5",
            "CRVAL1 = 5E-7",
            "CDELT1 = 2E-9",
        ];
        let log = read(&log).unwrap().unwrap();
        // By wcslib 8.
        assert!((log.at(100.0) / 7.35542335e-7 - 1.0).abs() < 1e-8);
        assert!((log.pixel(log.at(100.0)) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_told_from_a_pixel_is_not() {
        assert_eq!(read(&["CTYPE1 = 'WAVE'", "CRPIX1 = 3"]), Ok(None));
        for lines in [
            &["CTYPE1 = 'RA---TAN'", "CRVAL1 = 3"][..],
            &["CTYPE1 = 'WAVE-F2W'", "CRVAL1 = 3"],
            &["CTYPE1 = 'MULTISPE'", "CD1_1 = 1"],
            &["CTYPE1 = 'WAVE-LOG'", "CDELT1 = 1"],
            &["CRVAL1 = 3", "PC1_2 = 0.1"],
            &["CRVAL1 = 3", "CROTA2 = 30"],
            &["CRVAL1 = 3", "CPDIS1 = 'LOOKUP'"],
        ] {
            assert!(read(lines).is_err(), "{lines:?}");
        }
        // All pixels are at one place: no coordinate leads back.
        let still = read(&["CRVAL1 = 3", "CDELT1 = 0"]).unwrap().unwrap();
        assert!(still.at(7.0) == 3.0 && still.pixel(3.0).is_nan());
    }
}
