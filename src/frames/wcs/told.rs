//! What headers say of coordinates, held against each other: of frames side by side,
//! as in a mosaic, do they continue one another's? They do where all cards are the same
//! but for the reference pixel, which differs by where the frames stand.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::{DETECTOR, Key, SCAN, describes_all};
use crate::frames::cards::{Cards, Value, keyword_of, own_value};

/// A description, by its letter, and the number of an axis there, from 1.
pub(super) type Place = (char, usize);

/// Reference pixels agree that differ by no more: digits are lost where they are
/// written and where they are added.
const MOST_PIXELS: f64 = 1e-6;

/// Axes of descriptions that are not told alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unlike(BTreeSet<Place>);

impl Unlike {
    pub(super) fn contains(&self, description: char, axis: usize) -> bool {
        self.0.contains(&(description, axis))
    }

    /// Adds those axes of another, from 0, that are wanted.
    pub fn add(&mut self, other: Unlike, wanted: &dyn Fn(usize) -> bool) {
        let other = other.0.into_iter();
        self.0.extend(other.filter(|place| wanted(place.1 - 1)));
    }
}

/// What a header says of each axis, in pixels of the cube that its frame stands in, by
/// keyword.
pub struct Told(BTreeMap<Place, BTreeMap<String, Said>>);

#[derive(Clone, PartialEq)]
enum Said {
    Pixel(f64),
    Number(f64),
    Other(Value),
}

impl Told {
    /// Reads a header. `origins` are the positions of the frame's first pixel, axis by
    /// axis; none where its pixels do not stand one after the other.
    pub fn read(cards: &Cards, origins: &[Option<i64>]) -> Told {
        let in_cube = |key: Key, pixel: f64| {
            let (axis, sign) = match key {
                Key::Axis {
                    stem: "CRPIX",
                    axis,
                    ..
                }
                | Key::Offset { axis } => (axis, 1.0),
                Key::PlateCorner { axis } => (axis, -1.0),
                _ => return Said::Number(pixel),
            };
            let origin = origins.get(axis - 1).copied().unwrap_or(Some(0));
            let origin = origin.map_or(f64::NAN, |origin| origin as f64);
            Said::Pixel(pixel + sign * origin)
        };
        let said = |key: Option<Key>, value: Value| match (key, value.as_real()) {
            (Some(key), Some(number)) => in_cube(key, number),
            (None, Some(number)) => Said::Number(number),
            (_, None) => Said::Other(value),
        };
        let mut told: BTreeMap<Place, BTreeMap<String, Said>> = BTreeMap::new();
        let mut of_all = Vec::new();
        for card in cards.iter() {
            let keyword = keyword_of(card).to_ascii_uppercase();
            let key = Key::parse(&keyword);
            if let Some((description, axes)) = key.and_then(Key::describes) {
                for axis in axes {
                    let told = told.entry((description, axis)).or_default();
                    if let Some(value) = own_value(card) {
                        told.entry(keyword.clone()).or_insert(said(key, value));
                    }
                }
            } else if let Some(description) = describes_all(&keyword) {
                of_all.extend(own_value(card).map(|value| (description, keyword, value)));
            }
        }
        for (&(description, axis), told) in &mut told {
            for (of, keyword, value) in &of_all {
                if *of == description {
                    let said = said(None, value.clone());
                    told.entry(keyword.clone()).or_insert(said);
                }
            }
            let key = match description {
                SCAN => continue,
                DETECTOR => Key::Offset { axis },
                alternate => Key::Axis {
                    stem: "CRPIX",
                    axis,
                    alternate,
                },
            };
            told.entry(key.name()).or_insert(in_cube(key, 0.0));
        }
        Told(told)
    }

    /// Does it say anything of this axis, from 0?
    pub fn speaks_of(&self, axis: usize) -> bool {
        self.0.keys().any(|place| place.1 == axis + 1)
    }

    /// The axes that another header does not describe alike.
    pub fn unlike(&self, other: &Told) -> Unlike {
        let is_like = |place: &Place, told: &BTreeMap<String, Said>| {
            let other = other.0.get(place);
            other.is_some_and(|other| {
                let mut pairs = told.iter().zip(other);
                told.len() == other.len() && pairs.all(|(a, b)| a.0 == b.0 && a.1.is_as(b.1))
            })
        };
        let unlike = self.0.iter().filter(|(place, told)| !is_like(place, told));
        Unlike(unlike.map(|(&place, _)| place).collect())
    }
}

impl Said {
    fn is_as(&self, other: &Said) -> bool {
        match (self, other) {
            (Said::Pixel(one), Said::Pixel(other)) => (one - other).abs() <= MOST_PIXELS,
            (one, other) => one == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str], origins: &[Option<i64>]) -> Told {
        let text: String = lines.iter().map(|line| format!("{line:<80}")).collect();
        Told::read(&Cards::from_bytes(text.into_bytes()), origins)
    }

    #[test]
    fn frames_continue_one_another_where_the_reference_pixel_alone_differs() {
        let first = [
            "CTYPE1  = 'RA---TAN'",
            "CTYPE2  = 'DEC--TAN'",
            "CRPIX1  = 600.37",
            "CD1_1   = -0.01 / degrees",
            "CD1_2   = 1E-3",
            "CRVAL1P = 5",
            "LTV1    = 0",
            "CNPIX1  = 100",
            "AMDX1   = 3.5",
            "EQUINOX = 2000",
            "DATASEC = '[1:300,1:50]'",
        ];
        let other = [
            "crpix1  = 3.0037D2",
            "CTYPE2  = 'DEC--TAN   '",
            "CTYPE1  = 'RA---TAN'",
            "CRPIX2  = 0",
            "CD1_2   = 0.001",
            "CD1_1   = -0.01",
            "CRVAL1P = 5.0",
            "CRPIX1P = -300",
            "LTV1    = -300",
            "CNPIX1  = 400",
            "AMDX1   = 3.5",
            "EQUINOX = 2000.0",
            "DATASEC = '[301:600,1:50]'",
        ];
        let here = [Some(7), Some(2)];
        let there = [Some(307), Some(2)];
        let first = told(&first, &here);
        assert_eq!(first.unlike(&told(&other, &there)), Unlike::default());
        assert!(first.speaks_of(0) && first.speaks_of(1) && !first.speaks_of(2));
        let unlike = |number: usize, card: &'static str, places: &[Place]| {
            let mut other = other;
            other[number] = card;
            let found = first.unlike(&told(&other, &there));
            assert_eq!(found, Unlike(places.iter().copied().collect()), "{card}");
        };
        unlike(0, "CRPIX1  = 300.38", &[(' ', 1)]);
        unlike(3, "CRPIX2  = 1", &[(' ', 2)]);
        unlike(4, "CD1_2   = 0.002", &[(' ', 1), (' ', 2)]);
        unlike(4, "", &[(' ', 1), (' ', 2)]);
        unlike(6, "", &[('P', 1)]);
        unlike(7, "", &[('P', 1)]);
        unlike(8, "LTV1    = 0", &[(DETECTOR, 1)]);
        unlike(9, "CNPIX1  = 100", &[(SCAN, 1)]);
        unlike(10, "AMDX1   = 3.6", &[(SCAN, 1), (SCAN, 2)]);
        unlike(11, "EQUINOX = 1950", &[(' ', 1), (' ', 2)]);
        unlike(12, "CUNIT2  = 'deg'", &[(' ', 2)]);
        // Its pixels on y are in no order.
        let split = told(&other, &[Some(307), None]);
        assert_eq!(first.unlike(&split), Unlike([(' ', 2)].into()));
    }
}
