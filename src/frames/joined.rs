//! All images of a file as one frame, on an axis of their own behind theirs.
//!
//! They must have one shape and one type. A few of them are open at once, and opened
//! again when their samples are wanted; the header is that of the first.

use crate::error::{Context, Error, Result};
use crate::region::{show_shape, volume};

use super::recent::Recent;
use super::source::Source;
use super::{About, Facts, Frame, HduChoice, Reading, check_rank, each_part, parts_of};

/// Images that are held in one frame.
const MAX_IMAGES: usize = 1 << 20;

/// The images of one file.
pub(super) struct Joined {
    source: Source,
    reading: Reading,
    about: About,
    is_slow: bool,
    /// Part and offset of each image.
    places: Vec<(u32, u64)>,
    open: Recent<Box<dyn Frame>>,
    per_image: u64,
}

impl Joined {
    /// Looks at all images of a file that is open.
    ///
    /// # Errors
    /// When they are not alike, one cannot be read, or the file came through a pipe,
    /// where it does not end before the next one.
    pub(super) fn new(source: Source, reading: &Reading) -> Result<Joined> {
        let path = source.path().to_path_buf();
        if source.is_stream() {
            return Err(Error::unsupported(
                "all images of a file are not joined where files follow each other in a pipe",
            )
            .hint("name the files instead"))
            .at(&path);
        }
        let reading = Reading {
            hdu: HduChoice::All,
            unpacked: reading.unpacked.alone(),
            ..reading.clone()
        };
        let mut first: Option<Box<dyn Frame>> = None;
        let mut places = Vec::new();
        for frame in parts_of(source.again()?, &reading)? {
            let frame = frame?;
            let facts = frame.facts();
            if let Some(first) = &first {
                refuse_unlike(first.facts(), facts).at(&path)?;
            }
            if places.len() == MAX_IMAGES {
                return Err(Error::unsupported(format!(
                    "holds more than {MAX_IMAGES} images, which are not one frame"
                )))
                .at(&path);
            }
            places.push((facts.part, facts.offset));
            first.get_or_insert(frame);
        }
        let first = first.ok_or_else(|| Error::input("holds no image").at(&path))?;
        let mut facts = first.facts().clone();
        let per_image = volume(&facts.shape)?;
        facts.shape.push(places.len() as u64);
        check_rank(&facts.shape).at(&path)?;
        volume(&facts.shape)?;
        Ok(Joined {
            is_slow: first.is_slow(),
            about: About {
                facts,
                ..first.about().clone()
            },
            open: Recent::new(first, |image| image.kept()),
            source,
            reading,
            places,
            per_image,
        })
    }

    fn image(&mut self, number: usize) -> Result<&mut dyn Frame> {
        let image = self.open.get(number, || {
            let &(part, offset) = self
                .places
                .get(number)
                .ok_or_else(|| Error::input("changed since the command began: an image is gone"))?;
            parts_of(self.source.again()?, &self.reading)?.again(part, offset, 0)
        })?;
        Ok(image.as_mut())
    }
}

fn refuse_unlike(first: &Facts, other: &Facts) -> Result<()> {
    let show = |facts: &Facts| format!("{} of {}", show_shape(&facts.shape), facts.dtype);
    let is_alike = (&first.shape, first.dtype) == (&other.shape, other.dtype);
    if !is_alike {
        return Err(Error::input(format!(
            "image {} is {}, but image {}, the first, is {}",
            other.part,
            show(other),
            first.part,
            show(first)
        ))
        .hint("--hdu all takes each image as it is, --hdu NAME one of them"));
    }
    if first.blank == other.blank {
        return Ok(());
    }
    let show = |blank: Option<i128>| blank.map_or("none".to_string(), |blank| blank.to_string());
    Err(Error::input(format!(
        "BLANK of image {} is {}, but that of image {}, the first, is {}",
        other.part,
        show(other.blank),
        first.part,
        show(first.blank)
    ))
    .hint("--hdu all takes each image as it is"))
}

impl Frame for Joined {
    fn about(&self) -> &About {
        &self.about
    }

    fn is_slow(&self) -> bool {
        self.is_slow
    }

    fn kept(&self) -> u64 {
        self.open.kept()
    }

    fn finish(&mut self) -> Result<()> {
        // They are of one file.
        self.image(self.places.len() - 1)?.finish()
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        self.about.check(first, out.len()).at(self.source.path())?;
        let (size, per_image) = (self.about.facts.dtype.size(), self.per_image);
        each_part(first, per_image, size, out, |number, at, out| {
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            self.image(number)?.read(at, out)
        })
    }
}
