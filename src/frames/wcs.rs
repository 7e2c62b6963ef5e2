//! World coordinates of a header, fitted to an image cut out of its frame.
//!
//! A cut takes every `step`-th pixel of an axis from `first` on, fixes axes at
//! one position, and puts the rest in any order. What [`cut`] keeps gives each
//! output pixel the coordinates of the input pixel it came from; what would not
//! is left out, and a note says so: no coordinates are better than wrong ones.
//! Cards that still hold are kept byte for byte. The equations are those of
//! Greisen & Calabretta (2002, A&A 395, 1061) and, for the distortion, Shupe et
//! al. (2005, ASPC 347, 491):
//!
//! * pixel `p` becomes `p' = (p - first) / step + 1`, and so does CRPIX;
//! * `CDi_j' = CDi_j step_j`; or `CDELTi' = CDELTi step_i` and
//!   `PCi_j' = PCi_j step_j / step_i`; CROTA holds, for it turns before CDELT;
//! * SIP `A_p_q' = A_p_q step_1^(p-1) step_2^q`, and B alike;
//! * the plate solution of the Digitized Sky Survey: `CNPIXi' = CNPIXi + first - 1`,
//!   only where every pixel is kept, for its pixels are those of the scan, and in
//!   images of two axes, for readers look for a solution of every axis;
//! * IRAF `LTVi' = (LTVi - first) / step + 1`, `LTMi_j' = LTMi_j / step_i`.
//!
//! World axis i goes where pixel axis i goes, so reordered axes are renumbered
//! in every keyword. [`Told`] holds headers of frames side by side against each other.

mod keys;
mod told;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use super::cards::{Cards, Value, comment_of, keyword_of, own_value};
use crate::region::{AXIS_NAMES, MAX_RANK};
use keys::{DETECTOR, Key, PRIMARY, SCAN};
pub use told::{Grid, Told, Unlike};
pub use world::{MOST_PIXELS, World};

/// What becomes of one axis of the frame that a header describes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AxisCut {
    /// The output has evenly spaced pixels of it.
    Kept {
        /// The axis of the output, from 0.
        output: usize,
        /// The pixel of the header's own grid, from 1, that comes first.
        first: f64,
        /// How many pixels of that grid to the next; negative runs backwards.
        step: f64,
        /// Does the output have all of the frame's pixels on this axis?
        whole: bool,
    },
    /// The axis is fixed at one position and not in the output.
    Dropped,
    /// The positions are not evenly spaced, so no coordinates describe them.
    Lost {
        /// The axis of the output, from 0, where it is in the output.
        output: Option<usize>,
    },
}

/// An axis whose coordinates are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Kept {
    /// The number of the output axis, from 1.
    axis: usize,
    first: f64,
    step: f64,
}

impl Kept {
    /// Where a pixel of the input is in the output.
    fn pixel(&self, pixel: f64) -> f64 {
        // Not through 1, where digits would be lost.
        pixel / self.step - (self.first / self.step - 1.0)
    }
}

/// Axes of one description, by their number in the header, that are kept.
type KeptAxes = BTreeMap<usize, Kept>;

/// Fits the coordinates in `cards` to a cut; `axes` says what becomes of each
/// axis of the frame, x first. Axes of the header beyond those are taken for
/// degenerate and left out. The notes tell a user what was left out and why.
pub fn cut(cards: &Cards, axes: &[AxisCut]) -> (Cards, Vec<String>) {
    cut_of_many(cards, axes, &Unlike::default())
}

/// The same for a cut through several frames, of which others describe these axes in
/// another way.
pub fn cut_of_many(cards: &Cards, axes: &[AxisCut], unlike: &Unlike) -> (Cards, Vec<String>) {
    let header = Header::read(cards);
    let mut notes = Vec::new();
    let described = header.alternates.iter().map(|(&alternate, present)| {
        let kept = header.kept(alternate, present, (axes, unlike), &mut notes);
        (alternate, kept)
    });
    let described: BTreeMap<char, KeptAxes> = described.collect();
    let cut = Cut {
        sip: described.get(&PRIMARY).and_then(sip_axes),
        iraf: iraf_axes(&header, axes, unlike),
        n_output: axes.iter().filter_map(output_of).max().map_or(0, |n| n + 1),
        plate: plate_axes(axes, unlike),
        keeps_sections: (0..2).all(|axis| is_untouched(axes, axis)),
        keeps_order: keeps_order(&header, axes),
        header: &header,
        described,
    };
    let mut out = Cards::default();
    let mut sections = BTreeSet::new();
    for entry in cards.entries() {
        let card = &entry[..super::cards::CARD_BYTES];
        let keyword = keyword_of(card);
        match Key::parse(&keyword) {
            None => out.push_entry(entry),
            Some(Key::Section) if !cut.keeps_sections => {
                sections.insert(keyword.into_owned());
            }
            Some(key) => cut.rewrite(key, entry, &mut out),
        }
    }
    cut.add_defaults(&mut out);
    if header.has_plate && cut.plate.is_none() {
        notes.push(
            "the plate solution (AMDX1 and others) is left out: it holds for planes of the pixels of the scan"
                .to_string(),
        );
    }
    if header.has_distortion {
        notes.push(
            "the lookup distortion of the coordinates is left out: its tables are not in the output"
                .to_string(),
        );
    }
    if !sections.is_empty() {
        let names: Vec<String> = sections.into_iter().collect();
        let names = names.join(", ");
        notes.push(format!(
            "{names} left out: the output is not the whole frame"
        ));
    }
    (out, notes)
}

fn output_of(axis: &AxisCut) -> Option<usize> {
    let output = match *axis {
        AxisCut::Kept { output, .. } => Some(output),
        AxisCut::Dropped => None,
        AxisCut::Lost { output } => output,
    };
    output.filter(|&output| output < MAX_RANK)
}

/// Is the axis in the output as it was, all of it?
fn is_untouched(axes: &[AxisCut], axis: usize) -> bool {
    match axes.get(axis) {
        None => true,
        Some(&AxisCut::Kept {
            output,
            first,
            step,
            whole,
        }) => whole && output == axis && first == 1.0 && step == 1.0,
        Some(_) => false,
    }
}

/// How messages call an axis, counted from 1.
fn name_of(axis: usize) -> String {
    let name = AXIS_NAMES.get(axis.wrapping_sub(1));
    name.map_or_else(|| axis.to_string(), |name| name.to_string())
}

/// Is every axis in its place? One that the header does not speak of may be gone.
fn keeps_order(header: &Header, axes: &[AxisCut]) -> bool {
    let primary = header.alternates.get(&PRIMARY);
    axes.iter().enumerate().all(|(axis, cut)| {
        let is_told = primary.is_some_and(|present| present.contains(&(axis + 1)));
        match output_of(cut) {
            Some(output) => output == axis,
            None => !is_told,
        }
    })
}

/// The axis in the output, where its positions are evenly spaced.
fn kept_axis(axes: &[AxisCut], axis: usize) -> Option<Kept> {
    match *axes.get(axis.checked_sub(1)?)? {
        AxisCut::Kept {
            output,
            first,
            step,
            ..
        } if first.is_finite() && step.is_normal() && output < MAX_RANK => Some(Kept {
            axis: output + 1,
            first,
            step,
        }),
        _ => None,
    }
}

/// The first two axes, where both are still the first two, in any order.
fn sip_axes(kept: &KeptAxes) -> Option<[Kept; 2]> {
    let pair = [*kept.get(&1)?, *kept.get(&2)?];
    let outputs = pair.map(|axis| axis.axis);
    matches!(outputs, [1, 2] | [2, 1]).then_some(pair)
}

/// The first two axes, where they have kept all of their pixels, or some in a row,
/// and are the only ones.
fn plate_axes(axes: &[AxisCut], unlike: &Unlike) -> Option<[Kept; 2]> {
    if unlike.contains(SCAN, 1) || unlike.contains(SCAN, 2) {
        return None;
    }
    let pair = [kept_axis(axes, 1)?, kept_axis(axes, 2)?];
    let is_plain = |(kept, axis): (&Kept, usize)| kept.axis == axis && kept.step == 1.0;
    let is_alone = axes.iter().filter_map(output_of).all(|output| output < 2);
    (is_alone && pair.iter().zip(1..).all(is_plain)).then_some(pair)
}

/// Axes of IRAF's map between pixels of the image and of the detector; none
/// where a kept axis depends on one that is not.
fn iraf_axes(header: &Header, axes: &[AxisCut], unlike: &Unlike) -> KeptAxes {
    let numbers = (1..=axes.len()).filter(|&axis| !unlike.contains(DETECTOR, axis));
    let kept: KeptAxes = numbers
        .filter_map(|axis| Some((axis, kept_axis(axes, axis)?)))
        .collect();
    let is_broken = header.numbers.iter().any(|(key, &value)| match *key {
        Key::Scale { row, column } => {
            value != 0.0 && kept.contains_key(&row) && !kept.contains_key(&column)
        }
        _ => false,
    });
    if is_broken { KeptAxes::new() } else { kept }
}

/// What a header says of positions.
#[derive(Default)]
struct Header {
    numbers: BTreeMap<Key, f64>,
    types: BTreeMap<(char, usize), String>,
    /// The axes that each description speaks of.
    alternates: BTreeMap<char, BTreeSet<usize>>,
    has_sip: bool,
    has_distortion: bool,
    has_iraf_map: bool,
    has_plate: bool,
}

impl Header {
    fn read(cards: &Cards) -> Header {
        let mut header = Header::default();
        for card in cards.iter() {
            let Some(key) = Key::parse(&keyword_of(card)) else {
                continue;
            };
            let value = own_value(card);
            let number = value.as_ref().and_then(|value| value.as_real());
            match key {
                Key::Axis {
                    stem,
                    axis,
                    alternate,
                } => {
                    header.alternates.entry(alternate).or_default().insert(axis);
                    if stem == "CTYPE" {
                        let text = value.map(|value| value.show()).unwrap_or_default();
                        header.types.entry((alternate, axis)).or_insert(text);
                    }
                }
                Key::Matrix {
                    row,
                    column,
                    alternate,
                    ..
                } => {
                    let present = header.alternates.entry(alternate).or_default();
                    present.extend([row, column]);
                }
                Key::SipOrder { .. } => header.has_sip = true,
                Key::Distortion => header.has_distortion = true,
                Key::Plate => header.has_plate = true,
                Key::Offset { .. } | Key::Scale { .. } => header.has_iraf_map = true,
                _ => {}
            }
            if let Some(number) = number {
                // The first of two cards is the one that `Cards::get` finds.
                header.numbers.entry(key).or_insert(number);
            }
        }
        header
    }

    fn number(&self, stem: &'static str, axis: usize, alternate: char) -> Option<f64> {
        let key = Key::Axis {
            stem,
            axis,
            alternate,
        };
        self.numbers.get(&key).copied()
    }

    /// Does the description have a matrix CD, which makes CDELT moot?
    fn has_cd(&self, of: char) -> bool {
        let is_cd = |key: &Key| matches!(*key, Key::Matrix { stem: "CD", alternate, .. } if alternate == of);
        self.numbers.keys().any(is_cd)
    }

    /// An element of the description's matrix, CD or PC.
    fn element(&self, of: char, at: (usize, usize)) -> Option<f64> {
        let mut elements = self.numbers.iter();
        elements.find_map(|(key, &value)| match *key {
            Key::Matrix {
                row,
                column,
                alternate,
                ..
            } if alternate == of && (row, column) == at => Some(value),
            _ => None,
        })
    }

    /// Does an axis of the description depend on others?
    fn leans(&self, of: char, axis: usize) -> bool {
        let others = self.alternates.get(&of).into_iter().flatten();
        let mut others = others.filter(|&&other| other != axis);
        others.any(|&other| self.element(of, (axis, other)).is_some_and(|it| it != 0.0))
    }

    /// Longitude and latitude of a description, if it has a projection.
    fn celestial(&self, alternate: char, present: &BTreeSet<usize>) -> Option<[usize; 2]> {
        let find = |wanted: [&str; 3]| {
            present.iter().copied().find(|&axis| {
                let name = self.types.get(&(alternate, axis)).map_or("", |name| name);
                // Without a projection the two are plain linear axes.
                let (head, tail) = name.split_at_checked(4).unwrap_or((name, ""));
                let is_wanted =
                    head == wanted[0] || wanted[1..].iter().any(|end| head.ends_with(end));
                is_wanted && tail.starts_with('-')
            })
        };
        Some([find(["RA--", "LON", "LN"])?, find(["DEC-", "LAT", "LT"])?])
    }

    /// Decides which axes of a description keep their coordinates.
    fn kept(
        &self,
        alternate: char,
        present: &BTreeSet<usize>,
        (axes, unlike): (&[AxisCut], &Unlike),
        notes: &mut Vec<String>,
    ) -> KeptAxes {
        let mut note = |text: String| {
            if !notes.contains(&text) {
                notes.push(text);
            }
        };
        let mut kept = KeptAxes::new();
        for &axis in present {
            let name = name_of(axis);
            let is_table = self
                .types
                .get(&(alternate, axis))
                .is_some_and(|kind| kind.ends_with("-TAB"));
            match (kept_axis(axes, axis), axes.get(axis.wrapping_sub(1))) {
                (Some(_), _) if is_table => note(format!(
                    "coordinates of axis {name} are left out: their table is not in the output"
                )),
                (Some(_), _) if unlike.contains(alternate, axis) => note(format!(
                    "coordinates of axis {name} are left out: frames in the output do not continue one another's"
                )),
                (Some(found), _) => {
                    kept.insert(axis, found);
                }
                (None, Some(AxisCut::Lost { .. })) => note(format!(
                    "coordinates of axis {name} are left out: its positions are not evenly spaced"
                )),
                (None, _) => {}
            }
        }
        let pair = self.celestial(alternate, present);
        if let Some(pair) = pair {
            let is_whole = pair.iter().all(|axis| kept.contains_key(axis));
            if alternate == PRIMARY && self.has_sip && is_whole && sip_axes(&kept).is_none() {
                note(format!(
                    "coordinates of axes {} and {} are left out: their distortion needs both to be the first two axes",
                    name_of(pair[0]),
                    name_of(pair[1])
                ));
                kept.retain(|axis, _| !pair.contains(axis));
            }
        }
        // Leaving one axis out may leave another without what it depends on.
        while let Some((axis, on)) = self.broken(alternate, pair, &kept) {
            let (name, on) = (name_of(axis), name_of(on));
            note(format!(
                "coordinates of axis {name} are left out: they depend on axis {on}, whose coordinates are not in the output"
            ));
            kept.remove(&axis);
        }
        kept
    }

    /// A kept axis that depends on one that is not, and that one.
    fn broken(
        &self,
        of: char,
        pair: Option<[usize; 2]>,
        kept: &KeptAxes,
    ) -> Option<(usize, usize)> {
        if let Some([longitude, latitude]) = pair {
            match (kept.contains_key(&longitude), kept.contains_key(&latitude)) {
                (true, false) => return Some((longitude, latitude)),
                (false, true) => return Some((latitude, longitude)),
                _ => {}
            }
        }
        self.numbers.iter().find_map(|(key, &value)| match *key {
            Key::Matrix {
                row,
                column,
                alternate,
                ..
            } => {
                let is_broken = alternate == of
                    && value != 0.0
                    && kept.contains_key(&row)
                    && !kept.contains_key(&column);
                is_broken.then_some((row, column))
            }
            _ => None,
        })
    }
}

/// A keyword of the output, and its value there from the value in the input.
type Moved = (Key, Box<dyn Fn(f64) -> f64>);

/// All decisions about one cut.
struct Cut<'header> {
    header: &'header Header,
    described: BTreeMap<char, KeptAxes>,
    sip: Option<[Kept; 2]>,
    iraf: KeptAxes,
    plate: Option<[Kept; 2]>,
    n_output: usize,
    keeps_sections: bool,
    keeps_order: bool,
}

impl Cut<'_> {
    fn kept(&self, alternate: char, axis: usize) -> Option<Kept> {
        self.described.get(&alternate)?.get(&axis).copied()
    }

    /// How many axes the description has in the output: those that are kept,
    /// and of the others as many as were counted before.
    fn count(&self, alternate: char) -> usize {
        let kept = self.described.get(&alternate);
        let greatest = kept.and_then(|kept| kept.values().map(|axis| axis.axis).max());
        let counted = self.header.numbers.get(&Key::Count { alternate });
        let was_counted = |&axis: &usize| counted.is_none_or(|&count| axis as f64 <= count);
        let counted = (1..=self.n_output).filter(was_counted).count();
        counted.max(greatest.unwrap_or(0))
    }

    /// Writes a card, with the CONTINUE cards behind it, as it holds for the
    /// output, or not at all.
    fn rewrite(&self, key: Key, entry: &[u8], out: &mut Cards) {
        match key {
            Key::Distortion => {}
            Key::DistortionRecord if self.header.has_distortion => {}
            Key::Iraf if !self.keeps_order => {}
            Key::Plate if self.plate.is_none() => {}
            // Without a solution they are numbers like others.
            Key::PlateCorner { .. } if !self.header.has_plate => out.push_entry(entry),
            Key::DistortionRecord | Key::Iraf | Key::Section | Key::Plate => {
                out.push_entry(entry);
            }
            Key::Count { alternate } => {
                if self
                    .described
                    .get(&alternate)
                    .is_some_and(|kept| !kept.is_empty())
                {
                    let count = self.count(alternate);
                    out.push_renamed(entry, &key.name(), Some(Value::Integer(count as i128)));
                }
            }
            Key::Name { alternate } => {
                let is_gone = self
                    .described
                    .get(&alternate)
                    .is_some_and(BTreeMap::is_empty);
                if !is_gone {
                    out.push_entry(entry);
                }
            }
            _ => {
                if let Some((new, factor)) = self.moved(key) {
                    // The card's own value: of two cards of one name some
                    // readers take the first, others the last.
                    let card = &entry[..super::cards::CARD_BYTES];
                    let old = own_value(card);
                    let old = old.and_then(|value| value.as_real());
                    let value = old.map(factor);
                    match new == key && value == old {
                        // What still holds stays as it was written.
                        true => out.push_entry(entry),
                        false => out.push_renamed(entry, &new.name(), value.map(Value::Real)),
                    }
                }
            }
        }
    }

    /// The keyword in the output, and its value there from its value here.
    fn moved(&self, key: Key) -> Option<Moved> {
        let same = |key| -> Moved { (key, Box::new(|value| value)) };
        let times = |key, factor: f64| -> Moved { (key, Box::new(move |value| value * factor)) };
        Some(match key {
            Key::Axis {
                stem,
                axis,
                alternate,
            } => {
                let kept = self.kept(alternate, axis)?;
                let new = Key::Axis {
                    stem,
                    axis: kept.axis,
                    alternate,
                };
                match stem {
                    "CRPIX" => (new, Box::new(move |value| kept.pixel(value))),
                    "CDELT" => times(new, kept.step),
                    _ => same(new),
                }
            }
            Key::Matrix {
                stem,
                row,
                column,
                alternate,
                old,
            } => {
                let (to_row, to_column) =
                    (self.kept(alternate, row)?, self.kept(alternate, column)?);
                let new = Key::Matrix {
                    stem,
                    row: to_row.axis,
                    column: to_column.axis,
                    alternate,
                    old,
                };
                match stem {
                    "CD" => times(new, to_column.step),
                    _ => times(new, to_column.step / to_row.step),
                }
            }
            Key::Parameter {
                stem,
                axis,
                number,
                alternate,
            } => same(Key::Parameter {
                stem,
                axis: self.kept(alternate, axis)?.axis,
                number,
                alternate,
            }),
            Key::Sip { stem, powers } => {
                let [x, y] = self.sip?;
                let along = if stem.starts_with('A') {
                    x.step
                } else {
                    y.step
                };
                let power = |step: f64, n: usize| step.powf(n as f64);
                let factor = power(x.step, powers.0) * power(y.step, powers.1) / along;
                let powers = if x.axis == 1 {
                    powers
                } else {
                    (powers.1, powers.0)
                };
                let stem = self.sip_stem(stem);
                times(Key::Sip { stem, powers }, factor)
            }
            Key::SipOrder { stem } => {
                self.sip?;
                let stem = self.sip_stem(stem);
                same(Key::SipOrder { stem })
            }
            Key::SipGreatest { stem } => {
                let [x, y] = self.sip?;
                let along = if stem.starts_with('A') {
                    x.step
                } else {
                    y.step
                };
                let stem = self.sip_stem(stem);
                times(Key::SipGreatest { stem }, 1.0 / along.abs())
            }
            Key::Offset { axis } => {
                let kept = *self.iraf.get(&axis)?;
                let new = Key::Offset { axis: kept.axis };
                (new, Box::new(move |value| kept.pixel(value)))
            }
            Key::PlateCorner { axis } => {
                let kept = *self.plate.as_ref()?.get(axis.checked_sub(1)?)?;
                (key, Box::new(move |value| value + kept.first - 1.0))
            }
            Key::Scale { row, column } => {
                let (to_row, to_column) = (self.iraf.get(&row)?, self.iraf.get(&column)?);
                let new = Key::Scale {
                    row: to_row.axis,
                    column: to_column.axis,
                };
                times(new, 1.0 / to_row.step)
            }
            _ => return None,
        })
    }

    /// The distortion of the other axis, where the two were exchanged.
    fn sip_stem(&self, stem: &'static str) -> &'static str {
        let is_exchanged = self.sip.is_some_and(|[x, _]| x.axis != 1);
        match stem {
            _ if !is_exchanged => stem,
            "A" => "B",
            "B" => "A",
            "AP" => "BP",
            _ => "AP",
        }
    }

    /// Writes the cards that were missing because their defaults held.
    fn add_defaults(&self, out: &mut Cards) {
        for (&alternate, kept_axes) in &self.described {
            let has_cd = self.header.has_cd(alternate);
            for (&axis, kept) in kept_axes {
                let name = |stem| {
                    let axis = kept.axis;
                    let key = Key::Axis {
                        stem,
                        axis,
                        alternate,
                    };
                    key.name()
                };
                if self.header.number("CRPIX", axis, alternate).is_none() && kept.pixel(0.0) != 0.0
                {
                    out.push_real(&name("CRPIX"), kept.pixel(0.0), "");
                }
                let has_scale = has_cd || self.header.number("CDELT", axis, alternate).is_some();
                if !has_scale && kept.step != 1.0 {
                    out.push_real(&name("CDELT"), kept.step, "");
                }
            }
        }
        self.add_identity(out);
        if !self.header.has_iraf_map {
            return;
        }
        for (&axis, kept) in &self.iraf {
            let number = |key| self.header.numbers.get(&key);
            let offset = Key::Offset { axis };
            if number(offset).is_none() && kept.pixel(0.0) != 0.0 {
                let name = Key::Offset { axis: kept.axis }.name();
                out.push_real(&name, kept.pixel(0.0), "");
            }
            let scale = |axis| Key::Scale {
                row: axis,
                column: axis,
            };
            if number(scale(axis)).is_none() && kept.step != 1.0 {
                out.push_real(&scale(kept.axis).name(), 1.0 / kept.step, "");
            }
        }
    }
}

impl Cut<'_> {
    /// Gives output axes without coordinates their place in a matrix CD, whose
    /// missing elements are 0 and would make it singular.
    fn add_identity(&self, out: &mut Cards) {
        for (&alternate, kept) in &self.described {
            if kept.is_empty() || !self.header.has_cd(alternate) {
                continue;
            }
            for axis in 1..=self.count(alternate) {
                if kept.values().all(|kept| kept.axis != axis) {
                    let name = Key::Matrix {
                        stem: "CD",
                        row: axis,
                        column: axis,
                        alternate,
                        old: false,
                    };
                    out.push_real(&name.name(), 1.0, "");
                }
            }
        }
    }
}

impl Cards {
    /// Adds a card under another name, and with another number if that changes.
    fn push_renamed(&mut self, entry: &[u8], name: &str, number: Option<Value>) {
        let card = &entry[..super::cards::CARD_BYTES];
        let old = own_value(card);
        let old = old.and_then(|value| value.as_real());
        if let Some(number) = number.filter(|number| number.as_real() != old) {
            self.push(name, &number, &comment_of(card));
            return;
        }
        let mut renamed = entry.to_vec();
        for (to, from) in renamed.iter_mut().zip(format!("{name:<8}").bytes().take(8)) {
            *to = from;
        }
        self.push_entry(&renamed);
    }
}

#[cfg(test)]
mod tests;
