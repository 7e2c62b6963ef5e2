//! Pictures: a plane as a PNG, y upwards as FITS viewers show it.
//!
//! A plane that is too large is averaged, so that the longer side is at most
//! [`Look::max_size`], and of a small one samples are repeated. What has no value (NaN,
//! BLANK) has a colour of its own. The stretch is taken
//! from the picture's own pixels. Its limits stand in the text `Comment`.

use std::iter::repeat_n;

use super::average::{Averager, Grid};
use super::output::{Output, Target};
use super::plot;
use super::text::Profiles;
use super::{Format, Image, Look, Remaining, Sink};
use crate::error::{Context, Error, Result};
use crate::region::show_shape;

/// The largest bound of a side: the picture is held in memory.
pub const MOST_SIZE: u64 = 8192;

/// A small picture is enlarged until its longer side is about this.
const SIDE: u64 = 512;

/// Levels from black to white; one colour is left for pixels without a value.
const LEVELS: u8 = 254;

/// A picture that is being gathered.
struct PictureSink {
    output: Output,
    remaining: Remaining,
    look: Look,
    grid: Grid,
    plane: Averager,
}

/// Begins a picture of a plane, or a plot of a profile.
///
/// # Errors
/// When the target cannot be written, or the image is neither.
pub fn create(target: &Target, image: &Image, look: &Look) -> Result<Box<dyn Sink>> {
    if let Some(sheet) = &look.sheet {
        return plot::sheet::create(target, image, look, sheet);
    }
    let long: Vec<u64> = image.shape.iter().copied().filter(|&n| n != 1).collect();
    let plane = match long[..] {
        [] | [_] => {
            let profiles = Profiles::of_image(image, Format::Png)?;
            let (dtype, blank) = (image.dtype, image.blank);
            return plot::create(target, Format::Png, dtype, blank, profiles, look);
        }
        [x, y] => [x, y],
        _ => {
            return Err(Error::input(format!(
                "png holds a plane or a profile, the result is {}",
                show_shape(&image.shape)
            ))
            .hint("--axis x,y --at 1 cuts one plane out; --montage shows all on one sheet"));
        }
    };
    let most = look.max_size.clamp(1, MOST_SIZE);
    let grid = Grid::new(plane, [most, most], SIDE.min(most));
    if plane.contains(&0) {
        return Err(Error::unsupported("a picture needs samples"));
    }
    Ok(Box::new(PictureSink {
        output: Output::create(target)?,
        remaining: Remaining::new(image.bytes()?, image.dtype),
        look: look.clone(),
        grid,
        plane: Averager::new(image, grid),
    }))
}

/// How far from black to white a value is.
pub(super) fn part_of(value: f64, (lo, hi): (f64, f64)) -> f64 {
    // Halves first: the whole range of the floats overflows.
    let part = (value / 2.0 - lo / 2.0) / (hi / 2.0 - lo / 2.0);
    match part.is_nan() {
        true => 0.5,
        false => part.clamp(0.0, 1.0),
    }
}

/// What a picture says of itself.
pub(super) fn limits_text(limits: Option<(f64, f64)>, grid: &Grid) -> String {
    let mut text = match limits {
        Some((lo, hi)) => format!("black is {lo:?}, white is {hi:?}"),
        None => "no sample has a value".to_string(),
    };
    if let Some(pixels) = grid.text() {
        text.push_str(&format!(", {pixels}"));
    }
    text
}

impl Sink for PictureSink {
    fn write(&mut self, samples: &[u8]) -> Result<()> {
        self.remaining.take(samples).at(self.output.name())?;
        self.plane.write(samples);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.remaining.finish().at(self.output.name())?;
        let values = self.plane.means();
        let limits = self.look.stretch.limits(values);
        let level = |value: f64| match limits {
            Some(limits) if !value.is_nan() => {
                let part = part_of(value, limits);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let level = (part * f64::from(LEVELS)).round() as u8;
                level
            }
            _ => LEVELS + 1,
        };
        let whole = |len: u64| usize::try_from(len).unwrap_or(1);
        let (width, [wide, high]) = (whole(self.grid.sides()[0]), self.grid.zooms.map(whole));
        let mut pixels = Vec::new();
        for row in values.chunks_exact(width).rev() {
            let row = row.iter().map(|&value| level(value));
            let row: Vec<u8> = row.flat_map(|level| repeat_n(level, wide)).collect();
            repeat_n(row, high).for_each(|row| pixels.extend(row));
        }
        let map = self.look.colormap;
        let mut palette: Vec<u8> = (0..=LEVELS)
            .flat_map(|level| map.color(f64::from(level) / f64::from(LEVELS)))
            .collect();
        palette.extend(map.nothing());
        let comment = limits_text(limits, &self.grid);
        let sides = self
            .grid
            .pixels()
            .map(|side| u32::try_from(side).unwrap_or(0));
        let palette = Some(palette);
        let bytes = encode(sides, palette, &pixels, &self.look.title, &comment)?;
        self.output.write(&bytes)?;
        self.output.finish()
    }
}

/// A PNG of colours as they are, with what it says of itself.
pub(super) fn encode_rgb(
    sides: [usize; 2],
    pixels: &[u8],
    title: &str,
    comment: &str,
) -> Result<Vec<u8>> {
    let sides = sides.map(|side| u32::try_from(side).unwrap_or(0));
    encode(sides, None, pixels, title, comment)
}

fn encode(
    sides: [u32; 2],
    palette: Option<Vec<u8>>,
    pixels: &[u8],
    title: &str,
    comment: &str,
) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let write = |out: &mut Vec<u8>| -> std::result::Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(out, sides[0], sides[1]);
        encoder.set_depth(png::BitDepth::Eight);
        match palette {
            Some(palette) => {
                encoder.set_color(png::ColorType::Indexed);
                encoder.set_palette(palette);
            }
            None => encoder.set_color(png::ColorType::Rgb),
        }
        for (key, text) in [("Title", title), ("Comment", comment)] {
            if !text.is_empty() {
                // A text of PNG is Latin-1.
                let text: String = text
                    .chars()
                    .map(|c| if c <= '\u{ff}' { c } else { '?' })
                    .collect();
                encoder.add_text_chunk(key.to_string(), text)?;
            }
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(pixels)?;
        writer.finish()
    };
    write(&mut out).map_err(|error| Error::unsupported(format!("cannot make a PNG: {error}")))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::frames::cards::Cards;
    use crate::sinks::stretch::{Colormap, Stretch};

    /// Sides and colours, top row first.
    fn picture(image: &Image, look: &Look, samples: &[u8]) -> (u32, u32, Vec<[u8; 3]>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let mut sink = create(&Target::from_path(&path, false), image, look).unwrap();
        sink.write(samples).unwrap();
        sink.finish().unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut decoder = png::Decoder::new(file);
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let colors = pixels.as_chunks::<3>().0.to_vec();
        (info.width, info.height, colors)
    }

    fn image(shape: &[u64], dtype: DType, blank: Option<i128>) -> Image {
        Image {
            shape: shape.to_vec(),
            dtype,
            blank,
            cards: Cards::default(),
        }
    }

    fn minmax(max_size: u64) -> Look {
        Look {
            stretch: Stretch::MinMax,
            max_size,
            ..Look::default()
        }
    }

    #[test]
    fn the_first_row_is_at_the_bottom_and_blank_has_its_own_colour() {
        let image = image(&[2, 2], DType::U8, Some(9));
        let (width, height, colors) = picture(&image, &minmax(2), &[10, 20, 9, 30]);
        assert_eq!((width, height), (2, 2));
        let nothing = Colormap::Gray.nothing();
        let samples = [nothing, [255; 3], [0; 3], [128; 3]];
        assert_eq!(colors, samples);
        // With more room each is a square.
        let (width, height, colors) = picture(&image, &minmax(7), &[10, 20, 9, 30]);
        assert_eq!((width, height), (6, 6));
        let squares = (0..36).map(|k| samples[k / 18 * 2 + k % 6 / 3]);
        assert!(squares.eq(colors));
    }

    #[test]
    fn squares_of_a_large_plane_are_averaged() {
        let image = image(&[5, 3, 1], DType::F32, None);
        let samples: Vec<u8> = (0..15u8)
            .map(|k| if k == 1 { f32::NAN } else { f32::from(k) })
            .flat_map(f32::to_le_bytes)
            .collect();
        let (width, height, colors) = picture(&image, &minmax(3), &samples);
        assert_eq!((width, height), (3, 2));
        // Means: 11/3, 5, 6.5 at the bottom; 10.5, 12.5, 14 at the top.
        let level = |value: f64| {
            let part = (value - 11.0 / 3.0) / (14.0 - 11.0 / 3.0);
            Colormap::Gray.color((part * 254.0).round() / 254.0)
        };
        assert_eq!(colors, [10.5, 12.5, 14.0, 11.0 / 3.0, 5.0, 6.5].map(level));
    }

    #[test]
    fn planes_without_values_or_contrast_are_pictures() {
        let nan = f32::NAN.to_le_bytes().repeat(4);
        let plane = image(&[2, 2], DType::F32, None);
        let nothing = [Colormap::Gray.nothing(); 4];
        let look = Look {
            max_size: 2,
            ..Look::default()
        };
        assert_eq!(picture(&plane, &look, &nan).2, nothing);
        let flat = 7f32.to_le_bytes().repeat(4);
        assert_eq!(picture(&plane, &look, &flat).2, [[128; 3]; 4]);
        let target = Target::from_path("/dev/null".as_ref(), false);
        let cube = image(&[2, 2, 2], DType::F32, None);
        assert!(create(&target, &cube, &Look::default()).is_err());
    }
}
