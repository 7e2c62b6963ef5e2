//! Keywords that speak of pixel positions, taken apart: `PC1_2A` is the element
//! (1, 2) of the matrix PC of the alternate A. No values here, and no decisions.

/// The primary description, which has no letter.
pub(super) const PRIMARY: char = ' ';

/// IRAF's map to the pixels of a detector, as if it were a description.
pub(super) const DETECTOR: char = '#';

/// A plate solution, as if it were a description.
pub(super) const SCAN: char = '%';

/// What a keyword is part of. Axes count from 1, as in the keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// `CTYPE3A` and its like.
    Axis {
        stem: &'static str,
        axis: usize,
        alternate: char,
    },
    /// `PCi_ja` and `CDi_ja`, or `PC001002` in the form of old.
    Matrix {
        stem: &'static str,
        row: usize,
        column: usize,
        alternate: char,
        old: bool,
    },
    /// `PVi_ma` and `PSi_ma`.
    Parameter {
        stem: &'static str,
        axis: usize,
        number: usize,
        alternate: char,
    },
    /// `WCSAXESa`.
    Count { alternate: char },
    /// `WCSNAMEa`.
    Name { alternate: char },
    /// `A_p_q` and its like: SIP distortion along pixel axis 1 (A) or 2 (B).
    Sip {
        stem: &'static str,
        powers: (usize, usize),
    },
    /// `A_ORDER`.
    SipOrder { stem: &'static str },
    /// `A_DMAX`: the largest distortion, in pixels.
    SipGreatest { stem: &'static str },
    /// `CPDISja` and its like: there is a distortion kept elsewhere.
    Distortion,
    /// `DPja` and its like: belongs to a distortion, where there is one.
    DistortionRecord,
    /// `LTVi`: IRAF's logical position of physical position 0.
    Offset { axis: usize },
    /// `LTMi_j`: IRAF's logical pixels per physical pixel.
    Scale { row: usize, column: usize },
    /// Other keywords of IRAF that number the axes.
    Iraf,
    /// `CNPIXi`: where the image begins on the scan of a photographic plate.
    PlateCorner { axis: usize },
    /// `AMDXi`, `PPOi`, `PLTRAH` and others: the solution of that plate, in pixels
    /// of the scan.
    Plate,
    /// `DATASEC` and its like: a region of the whole frame.
    Section,
}

const AXIS_STEMS: [&str; 11] = [
    "CTYPE", "CUNIT", "CRVAL", "CDELT", "CRPIX", "CROTA", "CNAME", "CRDER", "CSYER", "CZPHS",
    "CPERI",
];

const SIP_STEMS: [&str; 4] = ["AP", "BP", "A", "B"];

const DISTORTION_STEMS: [&str; 3] = ["CPDIS", "CQDIS", "D2IMDIS"];

const RECORD_STEMS: [&str; 7] = ["CPERR", "CQERR", "D2IMERR", "D2IMARR", "D2IM", "DP", "DQ"];

/// IRAF's names of regions, and those of mosaics, with or without an amplifier.
const SECTIONS: [&str; 8] = [
    "DATASEC", "CCDSEC", "TRIMSEC", "BIASSEC", "DETSEC", "AMPSEC", "ORIGSEC", "ASEC",
];

/// Keywords of a plate solution that have no number. A reader that finds one of
/// them looks for the others.
const PLATE: [&str; 9] = [
    "PLTRAH", "PLTRAM", "PLTRAS", "PLTDECSN", "PLTDECD", "PLTDECM", "PLTDECS", "XPIXELSZ",
    "YPIXELSZ",
];

/// Keywords that hold for all axes of a description.
const OF_ALL: [&str; 9] = [
    "LONPOLE", "LATPOLE", "RADESYS", "RADECSYS", "EQUINOX", "SPECSYS", "RESTFRQ", "RESTFREQ",
    "RESTWAV",
];

/// The description of whose axes, all of them, a keyword speaks.
pub(super) fn describes_all(keyword: &str) -> Option<char> {
    let mut stems = OF_ALL.into_iter();
    stems.find_map(|stem| keyword.strip_prefix(stem).and_then(alternate))
}

impl Key {
    /// The description that it is part of, and the axes there that it speaks of, one
    /// perhaps twice; `None` where it says nothing of where pixels are.
    pub(super) fn describes(self) -> Option<(char, [usize; 2])> {
        match self {
            Key::Axis {
                axis, alternate, ..
            }
            | Key::Parameter {
                axis, alternate, ..
            } => Some((alternate, [axis, axis])),
            Key::Matrix {
                row,
                column,
                alternate,
                ..
            } => Some((alternate, [row, column])),
            Key::Sip { .. } | Key::SipOrder { .. } | Key::Iraf => Some((PRIMARY, [1, 2])),
            Key::Offset { axis } => Some((DETECTOR, [axis, axis])),
            Key::Scale { row, column } => Some((DETECTOR, [row, column])),
            Key::PlateCorner { axis } => Some((SCAN, [axis, axis])),
            Key::Plate => Some((SCAN, [1, 2])),
            Key::Count { .. }
            | Key::Name { .. }
            | Key::SipGreatest { .. }
            | Key::Distortion
            | Key::DistortionRecord
            | Key::Section => None,
        }
    }

    /// Takes a keyword apart; `None` where it says nothing of positions.
    pub(super) fn parse(keyword: &str) -> Option<Key> {
        let keyword = &keyword.to_ascii_uppercase()[..];
        axis_key(keyword)
            .or_else(|| pair_key(keyword))
            .or_else(|| sip_key(keyword))
            .or_else(|| other_key(keyword))
    }

    /// The keyword, with axes numbered anew.
    pub(super) fn name(self) -> String {
        let name = match self {
            Key::Axis {
                stem,
                axis,
                alternate,
            } => format!("{stem}{axis}{alternate}"),
            Key::Matrix {
                stem,
                row,
                column,
                old: true,
                ..
            } => format!("{stem}{row:03}{column:03}"),
            Key::Matrix {
                stem,
                row,
                column,
                alternate,
                ..
            } => format!("{stem}{row}_{column}{alternate}"),
            Key::Parameter {
                stem,
                axis,
                number,
                alternate,
            } => format!("{stem}{axis}_{number}{alternate}"),
            Key::Count { alternate } => format!("WCSAXES{alternate}"),
            Key::Name { alternate } => format!("WCSNAME{alternate}"),
            Key::Sip { stem, powers } => format!("{stem}_{}_{}", powers.0, powers.1),
            Key::SipOrder { stem } => format!("{stem}_ORDER"),
            Key::SipGreatest { stem } => format!("{stem}_DMAX"),
            Key::Offset { axis } => format!("LTV{axis}"),
            Key::Scale { row, column } => format!("LTM{row}_{column}"),
            Key::PlateCorner { axis } => format!("CNPIX{axis}"),
            Key::Plate | Key::Distortion | Key::DistortionRecord | Key::Iraf | Key::Section => {
                String::new()
            }
        };
        name.trim_end().to_string()
    }
}

fn axis_key(keyword: &str) -> Option<Key> {
    for stem in AXIS_STEMS {
        if let Some(rest) = keyword.strip_prefix(stem) {
            let (axis, rest) = axis_number(rest)?;
            let alternate = alternate(rest)?;
            return Some(Key::Axis {
                stem,
                axis,
                alternate,
            });
        }
    }
    let rest = keyword.strip_prefix("WCSAXES");
    if let Some(alternate) = rest.and_then(alternate) {
        return Some(Key::Count { alternate });
    }
    let rest = keyword.strip_prefix("WCSNAME");
    let alternate = rest.and_then(alternate)?;
    Some(Key::Name { alternate })
}

fn pair_key(keyword: &str) -> Option<Key> {
    if let Some(rest) = keyword.strip_prefix("LTM") {
        let (row, rest) = axis_number(rest)?;
        let (column, rest) = axis_number(rest.strip_prefix('_')?)?;
        return rest.is_empty().then_some(Key::Scale { row, column });
    }
    if let Some(rest) = keyword.strip_prefix("LTV") {
        let (axis, rest) = axis_number(rest)?;
        return rest.is_empty().then_some(Key::Offset { axis });
    }
    for stem in ["PC", "CD"] {
        let Some(rest) = keyword.strip_prefix(stem) else {
            continue;
        };
        if rest.len() == 6 && rest.bytes().all(|byte| byte.is_ascii_digit()) {
            let row = rest[..3].parse().ok().filter(|&row| row != 0)?;
            let column = rest[3..].parse().ok().filter(|&column| column != 0)?;
            return Some(Key::Matrix {
                stem,
                row,
                column,
                alternate: PRIMARY,
                old: true,
            });
        }
        let (row, rest) = axis_number(rest)?;
        let (column, rest) = axis_number(rest.strip_prefix('_')?)?;
        return Some(Key::Matrix {
            stem,
            row,
            column,
            alternate: alternate(rest)?,
            old: false,
        });
    }
    for stem in ["PV", "PS"] {
        let Some(rest) = keyword.strip_prefix(stem) else {
            continue;
        };
        let (axis, rest) = axis_number(rest)?;
        let (number, rest) = number(rest.strip_prefix('_')?)?;
        return Some(Key::Parameter {
            stem,
            axis,
            number,
            alternate: alternate(rest)?,
        });
    }
    None
}

fn sip_key(keyword: &str) -> Option<Key> {
    let (head, rest) = keyword.split_once('_')?;
    let stem = SIP_STEMS.into_iter().find(|&stem| stem == head)?;
    match rest {
        "ORDER" => return Some(Key::SipOrder { stem }),
        "DMAX" => return Some(Key::SipGreatest { stem }),
        _ => {}
    }
    let (first, rest) = number(rest)?;
    let (second, rest) = number(rest.strip_prefix('_')?)?;
    let powers = (first, second);
    rest.is_empty().then_some(Key::Sip { stem, powers })
}

fn other_key(keyword: &str) -> Option<Key> {
    let is_numbered = |stem: &str| {
        let rest = keyword.strip_prefix(stem);
        let rest = rest.and_then(axis_number).map(|(_, rest)| rest);
        // Record-valued cards go on with `.NAME`.
        rest.is_some_and(|rest| rest.starts_with('.') || alternate(rest).is_some())
    };
    if DISTORTION_STEMS.into_iter().any(is_numbered) {
        return Some(Key::Distortion);
    }
    if RECORD_STEMS.into_iter().any(is_numbered) || keyword == "AXISCORR" {
        return Some(Key::DistortionRecord);
    }
    let is_wat = || {
        let rest = keyword.strip_prefix("WAT").and_then(number);
        rest.is_some_and(|(_, rest)| rest.starts_with('_'))
    };
    if keyword == "WCSDIM" || keyword.starts_with("WAXMAP") || is_wat() {
        return Some(Key::Iraf);
    }
    if PLATE.contains(&keyword) {
        return Some(Key::Plate);
    }
    for stem in ["AMDX", "AMDY", "PPO", "CNPIX"] {
        let rest = keyword.strip_prefix(stem).and_then(axis_number);
        match rest {
            Some((axis, "")) if stem == "CNPIX" => return Some(Key::PlateCorner { axis }),
            Some((_, "")) => return Some(Key::Plate),
            _ => {}
        }
    }
    let is_section = |stem: &str| {
        let amplifier = keyword.strip_prefix(stem);
        amplifier.is_some_and(|rest| rest.len() <= 1 || number(rest).is_some())
    };
    SECTIONS.into_iter().any(is_section).then_some(Key::Section)
}

/// The number of an axis at the head of `text`, and what follows it.
fn axis_number(text: &str) -> Option<(usize, &str)> {
    let found = number(text)?;
    (found.0 != 0).then_some(found)
}

fn number(text: &str) -> Option<(usize, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let is_plain = end <= 1 || !text.starts_with('0');
    let value = text[..end].parse().ok().filter(|_| is_plain && end <= 3)?;
    Some((value, &text[end..]))
}

fn alternate(rest: &str) -> Option<char> {
    match rest.as_bytes() {
        [] => Some(PRIMARY),
        [letter @ b'A'..=b'Z'] => Some(char::from(*letter)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_taken_apart_and_put_together() {
        for name in [
            "CRPIX1", "CTYPE3B", "PC1_2", "CD2_1Z", "PC001002", "PV2_10A", "WCSAXES", "WCSNAMEQ",
            "A_2_0", "BP_ORDER", "A_DMAX", "LTV1", "LTM2_2", "CROTA2", "PS3_0",
        ] {
            let key = Key::parse(name).unwrap();
            assert_eq!(key.name(), name);
            assert_eq!(Key::parse(&name.to_lowercase()), Some(key));
        }
    }

    #[test]
    fn keywords_of_other_kinds_are_let_alone() {
        for name in [
            "CRPIX",
            "CRPIX0",
            "CRPIX01",
            "CRPIX1AB",
            "PC1",
            "PC000001",
            "CDELT",
            "A_B",
            "PVA",
            "DATE",
            "DPX",
            "NAXIS1",
            "",
            "\u{e9}",
            "CD1_",
            "WATER",
            "OBJECT",
            "LTV",
            "C_ORDER",
            "DATASECTION",
        ] {
            assert_eq!(Key::parse(name), None, "{name}");
        }
        assert_eq!(Key::parse("CPDIS1"), Some(Key::Distortion));
        assert_eq!(Key::parse("DP1.EXTVER"), Some(Key::DistortionRecord));
        assert_eq!(Key::parse("D2IMDIS2"), Some(Key::Distortion));
        assert_eq!(Key::parse("WAT1_001"), Some(Key::Iraf));
        assert_eq!(Key::parse("AMDY13"), Some(Key::Plate));
        assert_eq!(Key::parse("CNPIX2"), Some(Key::PlateCorner { axis: 2 }));
        assert_eq!(Key::parse("CCDSEC"), Some(Key::Section));
        assert_eq!(Key::parse("DATASEC2"), Some(Key::Section));
    }
}
