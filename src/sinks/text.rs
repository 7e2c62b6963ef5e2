//! Profiles out as text: one line per position, one column per profile.
//!
//! Numbers are in the shortest form that reads back to the same value; what is NaN or
//! BLANK is `nan`. The first column is the position, counted from 1, and is
//! named after the axis; the column of a profile is named after its place, `120,45`,
//! or `value` where there is only one. Between them stands what the frame at the position
//! says of itself, where that is asked for; `nan` where it says nothing.
//!
//! | format | layout |
//! |---|---|
//! | text | `# z<TAB>value`, then `1<TAB>10.5`: awk, gnuplot and `numpy.loadtxt` read it |
//! | csv | `z,"120,45","130,50"`, then `1,10.5,9`: RFC 4180, but lines end in LF |
//! | tsv | as csv with tabs, nothing quoted |
//! | json | `{"axis":"z","positions":[1,2],"profiles":[{"at":[120,45],"values":[10.5,null]}]}`, with `null` for NaN, BLANK and infinities |
//!
//! Samples come profile after profile. JSON and a single profile are streamed;
//! columns side by side must wait for the last profile, up to [`MAX_HELD_BYTES`].

use std::fmt::Write as _;

use super::output::{Output, Target};
use super::{Format, Image, Remaining, Sink};
use crate::dtype::DType;
use crate::error::{Context, Error, Result};
use crate::region::{Span, show_shape, volume};

/// The most that columns side by side may hold in memory.
pub const MAX_HELD_BYTES: u64 = 256 << 20;

/// Text is handed on in pieces of about this size.
const TEXT_BYTES: usize = 64 << 10;

/// Which profiles an output of text is about to get.
#[derive(Clone, Debug, PartialEq)]
pub struct Profiles {
    /// The axis along which they run, such as `z`.
    pub axis: String,
    /// Positions on that axis, from 0.
    pub positions: Span,
    /// Where these are in the cube, from 0, if not there.
    pub in_cube: Option<Vec<u64>>,
    /// What stands beside each position.
    pub beside: Vec<Column>,
    /// What a plot is drawn against in place of the positions.
    pub against: Option<Abscissa>,
    /// Where each profile stands on the other axes, as users count.
    pub at: Vec<Vec<u64>>,
}

/// A number for each position.
#[derive(Clone, Debug, PartialEq)]
pub struct Abscissa {
    /// What they are.
    pub label: String,
    /// NaN where there is none.
    pub values: Vec<f64>,
}

/// What the frame at each position says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// What it is called.
    pub name: String,
    /// A value for each position; null where there is none.
    pub values: Vec<serde_json::Value>,
}

impl Profiles {
    /// The one profile that an image with one axis is.
    ///
    /// # Errors
    /// When more than one axis is longer than 1.
    pub fn of_image(image: &Image, format: Format) -> Result<Profiles> {
        let mut long = image.shape.iter().filter(|&&len| len != 1);
        let len = *long.next().unwrap_or(&1);
        if long.next().is_some() {
            let shape = show_shape(&image.shape);
            let what = format!("{} holds profiles, the result is {shape}", format.name());
            return Err(Error::input(what).hint("--format fits or npy holds any shape"));
        }
        Ok(Profiles {
            axis: "position".to_string(),
            positions: Span::run(0, len),
            in_cube: None,
            beside: Vec::new(),
            against: None,
            at: vec![Vec::new()],
        })
    }

    /// A position as users count.
    pub(super) fn position(&self, number: u64) -> u64 {
        let known = self.in_cube.as_ref();
        let known = known.and_then(|known| known.get(usize::try_from(number).ok()?));
        known.copied().unwrap_or_else(|| self.positions.at(number)) + 1
    }

    pub(super) fn bytes(&self, dtype: DType) -> Result<u64> {
        volume(&[
            self.positions.len,
            self.at.len() as u64,
            dtype.size() as u64,
        ])
    }

    /// Names of the columns after the first.
    pub(super) fn names(&self) -> Vec<String> {
        match &self.at[..] {
            [_] => vec!["value".to_string()],
            many => many.iter().map(|place| join(place)).collect(),
        }
    }
}

/// Puts text in a cell: quoted where it has a comma between commas; between tabs what
/// would break the line is a blank.
pub fn push_cell(out: &mut String, separator: char, text: &str) {
    match separator {
        ',' if text.contains([',', '"', '\n', '\r']) => {
            let _ = write!(out, "\"{}\"", text.replace('"', "\"\""));
        }
        ',' => out.push_str(text),
        _ => out.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c })),
    }
}

fn join(numbers: &[u64]) -> String {
    let texts: Vec<String> = numbers.iter().map(u64::to_string).collect();
    texts.join(",")
}

/// Begins an output of profiles in a format of text.
///
/// # Errors
/// When the target cannot be written, the format is not one of text, or the
/// columns do not fit [`MAX_HELD_BYTES`].
pub fn create(
    target: &Target,
    format: Format,
    dtype: DType,
    blank: Option<i128>,
    profiles: Profiles,
) -> Result<Box<dyn Sink>> {
    let bytes = profiles.bytes(dtype)?;
    let layout = match format {
        Format::Json => Layout::Json,
        Format::Csv => Layout::Columns { separator: ',' },
        Format::Text | Format::Tsv => Layout::Columns { separator: '\t' },
        _ => {
            let what = format!("{} is not a format of text", format.name());
            return Err(Error::input(what));
        }
    };
    let side_by_side = layout != Layout::Json && profiles.at.len() != 1;
    if side_by_side && MAX_HELD_BYTES < bytes {
        return Err(Error::unsupported(format!(
            "{} profiles of {} positions take {bytes} bytes, columns side by side hold {MAX_HELD_BYTES}",
            profiles.at.len(),
            profiles.positions.len
        ))
        .hint("--format json, npy or fits streams them"));
    }
    let mut sink = TextSink {
        output: Output::create(target)?,
        remaining: Remaining::new(bytes, dtype),
        text: String::new(),
        held: Vec::new(),
        written: 0,
        layout,
        dtype,
        blank: blank.and_then(|blank| dtype.bits_of_int(blank)),
        profiles,
    };
    sink.begin(format)?;
    Ok(Box::new(sink))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Columns { separator: char },
    Json,
}

struct TextSink {
    output: Output,
    remaining: Remaining,
    /// What was formatted and not yet handed on.
    text: String,
    /// Samples that wait for the profiles beside them.
    held: Vec<u8>,
    /// Samples formatted so far.
    written: usize,
    layout: Layout,
    dtype: DType,
    blank: Option<u64>,
    profiles: Profiles,
}

impl TextSink {
    fn begin(&mut self, format: Format) -> Result<()> {
        match self.layout {
            Layout::Columns { separator } => {
                if format == Format::Text {
                    self.text.push_str("# ");
                }
                self.text.push_str(&self.profiles.axis);
                let beside = self.profiles.beside.iter();
                let names = beside.map(|column| column.name.clone());
                for name in names.chain(self.profiles.names()) {
                    self.text.push(separator);
                    push_cell(&mut self.text, separator, &name);
                }
                self.text.push('\n');
            }
            Layout::Json => {
                let axis = serde_json::Value::from(self.profiles.axis.as_str());
                // Writing to a `String` cannot fail, here and below.
                let _ = write!(self.text, "{{\"axis\":{axis},\"positions\":[");
                for number in 0..self.profiles.positions.len {
                    let comma = if number == 0 { "" } else { "," };
                    let position = self.profiles.position(number);
                    let _ = write!(self.text, "{comma}{position}");
                    self.hand_on(TEXT_BYTES)?;
                }
                self.text.push(']');
                if !self.profiles.beside.is_empty() {
                    let beside = self.profiles.beside.iter();
                    let keys =
                        beside.map(|column| (column.name.clone(), column.values.clone().into()));
                    let keys = serde_json::Value::Object(keys.collect());
                    let _ = write!(self.text, ",\"keys\":{keys}");
                }
                self.text.push_str(",\"profiles\":[");
            }
        }
        Ok(())
    }

    /// Hands the text on when there are at least so many bytes of it.
    fn hand_on(&mut self, at_least: usize) -> Result<()> {
        if self.text.len() < at_least {
            return Ok(());
        }
        self.output.write(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }

    fn row(&mut self, separator: char, number: usize, samples: &[u8]) -> Result<()> {
        let position = self.profiles.position(number as u64);
        let _ = write!(self.text, "{position}");
        for column in &self.profiles.beside {
            self.text.push(separator);
            match &column.values[number] {
                serde_json::Value::Null => self.text.push_str("nan"),
                serde_json::Value::String(value) => push_cell(&mut self.text, separator, value),
                value => {
                    let _ = write!(self.text, "{value}");
                }
            }
        }
        for sample in samples.chunks_exact(self.dtype.size()) {
            self.text.push(separator);
            self.text.push_str(&self.show(sample));
        }
        self.text.push('\n');
        self.hand_on(TEXT_BYTES)
    }

    fn show(&self, sample: &[u8]) -> String {
        match self.dtype.bits_at(sample) {
            blank if self.blank == Some(blank) => "nan".to_string(),
            bits => self.dtype.show(bits),
        }
    }

    fn json_value(&mut self, sample: &[u8]) -> Result<()> {
        let len = usize::try_from(self.profiles.positions.len).unwrap_or(usize::MAX);
        if self.written.is_multiple_of(len) {
            self.json_open(self.written / len);
        } else {
            self.text.push(',');
        }
        let shown = self.show(sample);
        let is_number = !shown.ends_with("nan") && !shown.ends_with("inf");
        self.text.push_str(if is_number { &shown } else { "null" });
        self.written += 1;
        if self.written.is_multiple_of(len) {
            self.text.push_str("]}");
        }
        self.hand_on(TEXT_BYTES)
    }

    fn json_open(&mut self, profile: usize) {
        let comma = if profile == 0 { "" } else { "," };
        let at = self.profiles.at.get(profile).map(|at| join(at));
        let at = at.unwrap_or_default();
        let _ = write!(self.text, "{comma}{{\"at\":[{at}],\"values\":[");
    }
}

impl Sink for TextSink {
    fn write(&mut self, samples: &[u8]) -> Result<()> {
        self.remaining.take(samples).at(self.output.name())?;
        match self.layout {
            Layout::Json => samples
                .chunks_exact(self.dtype.size())
                .try_for_each(|sample| self.json_value(sample)),
            Layout::Columns { separator } if self.profiles.at.len() == 1 => samples
                .chunks_exact(self.dtype.size())
                .try_for_each(|sample| {
                    self.written += 1;
                    self.row(separator, self.written - 1, sample)
                }),
            Layout::Columns { .. } => {
                self.held.extend_from_slice(samples);
                Ok(())
            }
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.remaining.finish().at(self.output.name())?;
        let len = usize::try_from(self.profiles.positions.len).unwrap_or(usize::MAX);
        match self.layout {
            Layout::Json => {
                if len == 0 {
                    for profile in 0..self.profiles.at.len() {
                        self.json_open(profile);
                        self.text.push_str("]}");
                    }
                }
                self.text.push_str("]}\n");
            }
            Layout::Columns { separator } if self.profiles.at.len() != 1 => {
                let size = self.dtype.size();
                let held = std::mem::take(&mut self.held);
                let mut row = Vec::with_capacity(self.profiles.at.len() * size);
                for position in 0..len {
                    // `len` is not 0 here, as `chunks_exact` wants it.
                    row.clear();
                    for profile in held.chunks_exact(len * size) {
                        row.extend_from_slice(&profile[position * size..][..size]);
                    }
                    self.row(separator, position, &row)?;
                }
            }
            Layout::Columns { .. } => {}
        }
        self.hand_on(0)?;
        self.output.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::cards::Cards;

    fn written(format: Format, at: &[&[u64]], samples: &[f32]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let profiles = Profiles {
            axis: "z".into(),
            positions: Span {
                start: 3,
                step: -1,
                len: 2,
            },
            in_cube: None,
            beside: Vec::new(),
            against: None,
            at: at.iter().map(|at| at.to_vec()).collect(),
        };
        let target = Target::from_path(&path, false);
        let mut sink = create(&target, format, DType::F32, None, profiles).unwrap();
        for sample in samples {
            sink.write(&sample.to_le_bytes()).unwrap();
        }
        sink.finish().unwrap();
        std::fs::read_to_string(&path).unwrap()
    }

    #[test]
    fn one_profile_is_two_columns() {
        let of = |format| written(format, &[&[120, 45]], &[0.1, f32::NAN]);
        assert_eq!(of(Format::Text), "# z\tvalue\n4\t0.1\n3\tnan\n");
        assert_eq!(of(Format::Csv), "z,value\n4,0.1\n3,nan\n");
        assert_eq!(of(Format::Tsv), "z\tvalue\n4\t0.1\n3\tnan\n");
        assert_eq!(
            of(Format::Json),
            "{\"axis\":\"z\",\"positions\":[4,3],\"profiles\":[{\"at\":[120,45],\"values\":[0.1,null]}]}\n"
        );
    }

    #[test]
    fn many_profiles_stand_side_by_side() {
        let samples = [1.0, 2.0, -0.0, f32::NEG_INFINITY];
        let of = |format| written(format, &[&[1, 2], &[3, 4]], &samples);
        assert_eq!(of(Format::Csv), "z,\"1,2\",\"3,4\"\n4,1,-0\n3,2,-inf\n");
        assert_eq!(of(Format::Tsv), "z\t1,2\t3,4\n4\t1\t-0\n3\t2\t-inf\n");
        assert_eq!(
            of(Format::Json),
            "{\"axis\":\"z\",\"positions\":[4,3],\"profiles\":[{\"at\":[1,2],\"values\":[1,2]},{\"at\":[3,4],\"values\":[-0,null]}]}\n"
        );
    }

    #[test]
    fn blank_is_no_number() {
        let folder = tempfile::tempdir().unwrap();
        let of = |format: Format| {
            let path = folder.path().join(format.name());
            let profiles = Profiles {
                axis: "z".into(),
                positions: Span::run(0, 3),
                in_cube: None,
                beside: Vec::new(),
                against: None,
                at: vec![Vec::new()],
            };
            let target = Target::from_path(&path, false);
            let mut sink = create(&target, format, DType::I16, Some(-1), profiles).unwrap();
            for sample in [1i16, -1, 256] {
                sink.write(&sample.to_le_bytes()).unwrap();
            }
            sink.finish().unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        assert_eq!(of(Format::Csv), "z,value\n1,1\n2,nan\n3,256\n");
        assert!(of(Format::Json).contains("\"values\":[1,null,256]"));
    }

    #[test]
    fn json_is_json_whatever_the_numbers() {
        let samples = [f32::MAX, f32::MIN_POSITIVE];
        let text = written(Format::Json, &[&[]], &samples);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let greatest = value["profiles"][0]["values"][0].as_f64().unwrap();
        assert_eq!(greatest.to_string().parse::<f32>(), Ok(f32::MAX));
        assert_eq!(value["positions"][0], 4);
    }

    #[test]
    fn an_image_is_text_only_with_one_axis() {
        let mut image = Image {
            shape: vec![1, 5, 1],
            dtype: DType::I16,
            blank: None,
            cards: Cards::default(),
        };
        let profiles = Profiles::of_image(&image, Format::Csv).unwrap();
        assert_eq!(profiles.positions, Span::run(0, 5));
        image.shape = vec![650, 500];
        let error = Profiles::of_image(&image, Format::Csv).unwrap_err();
        assert_eq!(
            error.to_string(),
            "csv holds profiles, the result is 650 x 500"
        );
    }

    #[test]
    fn no_positions_and_no_profiles_are_not_a_panic() {
        for format in [Format::Text, Format::Csv, Format::Json] {
            for (len, n_profiles) in [(0, 2), (1, 0), (0, 1), (0, 0)] {
                let profiles = Profiles {
                    axis: "z".into(),
                    positions: Span::run(0, len),
                    in_cube: None,
                    beside: Vec::new(),
                    against: None,
                    at: vec![vec![1]; n_profiles],
                };
                let target = Target::from_path("/dev/null".as_ref(), false);
                let mut sink = create(&target, format, DType::U8, None, profiles).unwrap();
                assert!(sink.write(&[1]).is_err());
                sink.finish().unwrap();
            }
        }
    }
}
