//! What headers say of coordinates, held against each other: of frames side by side,
//! as in a mosaic, or one behind the other, do they continue one another's? They do where all
//! cards are the same but for the reference pixel, which differs by where the frames stand, and
//! where an axis by itself is told, as a frequency is, by what it comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Header;
use super::keys::{DETECTOR, Key, SCAN, describes_all};
use super::world::{self, LOGARITHMS, World};
use crate::frames::cards::{Cards, Value, keyword_of, own_value};
use crate::region::MAX_RANK;

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

    /// Adds those of another that are wanted, by their description and their axis, from 0.
    pub fn add(&mut self, other: Unlike, wanted: &dyn Fn((char, usize)) -> bool) {
        let other = other.0.into_iter();
        let wanted = |&(description, axis): &Place| wanted((description, axis - 1));
        self.0.extend(other.filter(wanted));
    }
}

/// What the header of a frame says of each axis, and where the frame stands.
pub struct Told {
    header: Rc<Described>,
    /// Positions of the frame's first pixel, axis by axis.
    origins: Origins,
}

/// Positions of a frame's first pixel, axis by axis; none where its pixels do not stand one
/// after the other.
pub(super) type Origins = [Option<i64>; MAX_RANK];

/// What a header says of each axis.
struct Described {
    cards: Cards,
    /// By keyword.
    said: BTreeMap<Place, BTreeMap<String, Said>>,
    /// Axes that are told by themselves; of these the rest is above.
    worlds: BTreeMap<Place, World>,
}

#[derive(Clone, PartialEq)]
enum Said {
    /// A pixel of the frame; it goes with the frame, or against it.
    Pixel(f64, f64),
    Number(f64),
    Other(Value),
}

impl Told {
    /// Reads a header.
    pub fn read(cards: Cards, origins: Origins) -> Told {
        Told {
            header: Rc::new(Described::read(cards)),
            origins,
        }
    }

    /// The same of another frame. Frames of one series hardly differ in what is told here.
    pub fn of_other(&self, cards: Cards, origins: Origins) -> Told {
        let header = match self.header.is_told_by(&cards) {
            true => Rc::clone(&self.header),
            false => Rc::new(Described::read(cards)),
        };
        Told { header, origins }
    }
}

impl Described {
    /// Do these cards say the same, those aside that say nothing of positions?
    fn is_told_by(&self, cards: &Cards) -> bool {
        let is_idle = |card: &[u8]| {
            let keyword = keyword_of(card).to_ascii_uppercase();
            let is_told = Key::parse(&keyword).is_some() || describes_all(&keyword).is_some();
            !is_told && keyword != LOGARITHMS
        };
        let mut pairs = self.cards.iter().zip(cards.iter());
        self.cards.len() == cards.len()
            && pairs.all(|(one, other)| one == other || is_idle(one) && is_idle(other))
    }

    fn read(cards: Cards) -> Described {
        let in_frame = |key: Key, pixel: f64| match key {
            Key::Axis { stem: "CRPIX", .. } | Key::Offset { .. } => Said::Pixel(pixel, 1.0),
            Key::PlateCorner { .. } => Said::Pixel(pixel, -1.0),
            _ => Said::Number(pixel),
        };
        let said = |key: Option<Key>, value: Value| match (key, value.as_real()) {
            (Some(key), Some(number)) => in_frame(key, number),
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
            told.entry(key.name()).or_insert(in_frame(key, 0.0));
        }
        let header = Header::read(&cards);
        let mut worlds = BTreeMap::new();
        for (&(description, axis), told) in &mut told {
            if matches!(description, SCAN | DETECTOR) {
                continue;
            }
            if let Ok(Some(world)) = World::of(&header, &cards, description, axis) {
                told.retain(|keyword, _| !is_of_world(keyword, axis));
                worlds.insert((description, axis), world);
            }
        }
        Described {
            cards,
            said: told,
            worlds,
        }
    }
}

impl Told {
    /// Does it say anything of this axis, from 0?
    pub fn speaks_of(&self, axis: usize) -> bool {
        self.header.said.keys().any(|place| place.1 == axis + 1)
    }

    /// Is this axis, from 0, told by itself, and how a [`World`] knows?
    pub fn is_world(&self, axis: usize) -> bool {
        self.header.worlds.keys().any(|place| place.1 == axis + 1)
    }

    /// The same in one of the descriptions.
    pub fn is_world_of(&self, description: char, axis: usize) -> bool {
        self.header.worlds.contains_key(&(description, axis + 1))
    }

    /// The axes that another header does not describe alike. Where those that are told by
    /// themselves lie on `free` axes, from 0, a [`Grid`] says.
    pub fn unlike(&self, other: &Told, free: &dyn Fn(usize) -> bool) -> Unlike {
        // How far the other frame is beyond this one.
        let shift = |axis: usize| {
            let pair = self.pixel_at(axis, 0.0).zip(other.pixel_at(axis, 0.0));
            pair.map_or(f64::NAN, |(own, other)| own - other)
        };
        let is_like = |&place: &Place, told: &BTreeMap<String, Said>| {
            let (found, worlds) = (other.header.said.get(&place), &other.header.worlds);
            let is_alike = found.is_some_and(|found| {
                let mut pairs = told.iter().zip(found);
                told.len() == found.len()
                    && pairs.all(|(a, b)| a.0 == b.0 && a.1.is_as(shift(place.1), b.1))
            });
            is_alike
                && match (self.header.worlds.get(&place), worlds.get(&place)) {
                    (None, None) => true,
                    (Some(one), Some(two)) => {
                        one.is_like(two) && (free(place.1 - 1) || self.is_met(other, place))
                    }
                    _ => false,
                }
        };
        let unlike = self.header.said.iter();
        let unlike = unlike.filter(|(place, told)| !is_like(place, told));
        Unlike(unlike.map(|(&place, _)| place).collect())
    }

    /// Has a position the same coordinate in both?
    fn is_met(&self, other: &Told, place: Place) -> bool {
        [0.0, 1.0].into_iter().all(|position| {
            let own = self.pixel_at(place.1, position);
            let found = own.zip(self.pixel_of(other, place, position));
            found.is_some_and(|(own, found)| (own - found).abs() <= world::MOST_PIXELS)
        })
    }

    /// The pixel of the frame, from 1, at a position of the cube on an axis, from 1.
    fn pixel_at(&self, axis: usize, position: f64) -> Option<f64> {
        let origin = self.origins.get(axis - 1).copied().unwrap_or(Some(0));
        origin.map(|origin| position - origin as f64 + 1.0)
    }

    /// Where a position of the cube that another frame has is in the grid of this one.
    fn pixel_of(&self, other: &Told, place: Place, position: f64) -> Option<f64> {
        let (own, found) = (
            self.header.worlds.get(&place)?,
            other.header.worlds.get(&place)?,
        );
        let pixel = other.pixel_at(place.1, position)?;
        Some(own.pixel(found.at(pixel))).filter(|pixel| pixel.is_finite())
    }
}

/// Does a keyword belong to what a [`World`] knows of its axis?
fn is_of_world(keyword: &str, axis: usize) -> bool {
    match Key::parse(keyword) {
        Some(Key::Axis { stem, .. }) => matches!(stem, "CRPIX" | "CRVAL" | "CDELT"),
        Some(Key::Matrix { row, column, .. }) => row == axis && column == axis,
        _ => false,
    }
}

/// Where frames are in the grid of the one that speaks for them, by their coordinates.
#[derive(Debug, Default)]
pub struct Grid(BTreeMap<Place, Vec<(u64, f64)>>);

impl Grid {
    /// Adds what another frame has of an axis, from 0, told by itself: the position of
    /// the cube, and its number in the cut.
    pub fn add(&mut self, told: &Told, other: &Told, axis: usize, position: u64, number: u64) {
        for &place in told
            .header
            .worlds
            .keys()
            .filter(|place| place.1 == axis + 1)
        {
            let pixel = told.pixel_of(other, place, position as f64);
            let points = self.0.entry(place).or_default();
            points.push((number, pixel.unwrap_or(f64::NAN)));
        }
    }

    /// The pixel that comes first and how many to the next, where frames lie evenly on an
    /// axis, from 0; `step` is what it is where there is only one. Descriptions of the axis
    /// in which they do not, or not alike, are unlike.
    pub fn fit(&self, axis: usize, step: f64, unlike: &mut Unlike) -> Option<(f64, f64)> {
        let mut fit = None;
        for (&place, points) in self.0.iter().filter(|it| it.0.1 == axis + 1) {
            if unlike.0.contains(&place) {
                continue;
            }
            let found = even(points, fit, step);
            match found {
                Some(found) => fit = Some(found),
                None => {
                    unlike.0.insert(place);
                }
            }
        }
        fit
    }
}

/// The even steps in which these pixels lie: as known, or from the first to the last.
fn even(points: &[(u64, f64)], known: Option<(f64, f64)>, step: f64) -> Option<(f64, f64)> {
    let least = points.iter().min_by_key(|point| point.0)?;
    let most = points.iter().max_by_key(|point| point.0)?;
    let (first, step) = known.unwrap_or_else(|| {
        let step = match most.0 - least.0 {
            0 => step,
            n => (most.1 - least.1) / n as f64,
        };
        (least.1 - step * least.0 as f64, step)
    });
    let is_on = |&(number, pixel): &(u64, f64)| {
        (first + step * number as f64 - pixel).abs() <= world::MOST_PIXELS
    };
    (step.abs() > world::MOST_PIXELS && points.iter().all(is_on)).then_some((first, step))
}

impl Said {
    /// The same, of a frame that is so many pixels beyond?
    fn is_as(&self, shift: f64, other: &Said) -> bool {
        match (self, other) {
            (&Said::Pixel(one, sign), &Said::Pixel(other, _)) => {
                (one - other - sign * shift).abs() <= MOST_PIXELS
            }
            (one, other) => one == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str], origins: &[Option<i64>]) -> Told {
        let text: String = lines.iter().map(|line| format!("{line:<80}")).collect();
        let mut all = [Some(0); MAX_RANK];
        all[..origins.len()].copy_from_slice(origins);
        Told::read(Cards::from_bytes(text.into_bytes()), all)
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
        assert_eq!(
            first.unlike(&told(&other, &there), &|_| false),
            Unlike::default()
        );
        assert!(first.speaks_of(0) && first.speaks_of(1) && !first.speaks_of(2));
        let unlike = |number: usize, card: &'static str, places: &[Place]| {
            let mut other = other;
            other[number] = card;
            let found = first.unlike(&told(&other, &there), &|_| false);
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
        assert_eq!(first.unlike(&split, &|_| false), Unlike([(' ', 2)].into()));
    }
}
