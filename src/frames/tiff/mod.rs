//! TIFF and BigTIFF: pages as frames.
//!
//! Each page is a frame, in the order of the file; a page that says that it is a
//! smaller copy or a mask of another is left out unless it is asked for. Where
//! ImageJ, OME-TIFF or tifffile say that pages are on two axes or more, all of them are one
//! frame with those axes. ImageJ's large stacks have one directory for all images.
//!
//! The samples of a pixel, such as red, green and blue, are an axis behind x and
//! y, or one of them is chosen. Samples are what is stored: palette indices stay
//! indices, WhiteIsZero is not turned, nor is Orientation heeded.
//!
//! | file | what |
//! |---|---|
//! | `ifd` | directories and tags |
//! | `page` | the layout of a page, checked |
//! | `rows` | its samples |
//! | `codec` | what is compressed, as a stream |
//! | `unpack` | what is stored, as samples |
//! | `stack` | what ImageJ, OME and tifffile say of pages |
//! | `tag` | numbers of tags |
//! | `tags` | tags as cards |

#![allow(
    clippy::cast_possible_truncation,
    reason = "pointers have 64 bits (lib.rs), so usize and u64 hold the same numbers"
)]

mod codec;
mod ifd;
mod page;
mod rows;
mod stack;
pub(crate) mod tag;
mod tags;
#[cfg(test)]
mod tests;
mod unpack;

pub(in crate::frames) use unpack::widen_half;

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Context, Error, Result};
use crate::region::{show_shape, volume};

use super::magic::Magic;
use super::recent::Recent;
use super::source::{HEAD_BYTES, Source};
use super::{About, Facts, Frame, HduChoice, Reading, check_rank, each_part};
use ifd::{Form, Ifd};
use page::Page;
use rows::Rows;
use stack::{Axis, Stack};

/// Pages of a stack that is one frame: where each is, is held in memory.
const MAX_STACKED: u64 = 1 << 20;

/// Bytes of a description that are read.
const MAX_DESCRIPTION: usize = 4 << 20;

/// NewSubfileType: a smaller copy of another page, and a mask of one.
const REDUCED_OR_MASK: u64 = 1 | 4;

/// Where a page is: its directory, and what is added to where its samples are.
#[derive(Clone, Copy, Debug)]
struct Spot {
    offset: u64,
    shift: u64,
}

/// The frames of a TIFF file, one after the other.
pub(super) struct Pages {
    source: Arc<Source>,
    form: Form,
    first: u64,
    hdu: HduChoice,
    channel: Option<u64>,
    /// The directory to be read next; 0 after the last.
    next: u64,
    number: u32,
    /// Directories that were read: a damaged file may lead back to one.
    seen: HashSet<u64>,
    /// Of each so many pages that follow each other, those of one channel: pages
    /// of a channel in a row, channels, and which one.
    pick: Option<(u64, u64, u64)>,
    /// Images that share the first directory, and bytes of each.
    shared: Option<(u32, u64)>,
    /// All pages are one frame.
    whole: Option<(Vec<Spot>, Vec<Axis>)>,
    /// What is said of all pages was looked at, as far as it is of interest.
    is_looked_at: bool,
    is_over: bool,
}

impl Pages {
    /// Finds the first page.
    pub(super) fn open(source: Source, reading: &Reading) -> Result<Pages> {
        let path = source.path().to_path_buf();
        Pages::new(source, reading).at(&path)
    }

    fn new(source: Source, reading: &Reading) -> Result<Pages> {
        if let HduChoice::Name(..) = reading.hdu {
            return Err(Error::input(format!("holds no HDU {}", reading.hdu))
                .hint("it is a TIFF file, whose pages have numbers from 0: --hdu 0"));
        }
        let (form, first) = Form::read(&source)?;
        if first == 0 {
            return Err(Error::damaged(
                "has no pages: its first directory is at byte 0",
            ));
        }
        Ok(Pages {
            source: Arc::new(source),
            form,
            first,
            hdu: reading.hdu.clone(),
            channel: reading.channel,
            next: first,
            number: 0,
            seen: HashSet::new(),
            pick: None,
            shared: None,
            whole: None,
            is_looked_at: false,
            is_over: false,
        })
    }

    /// Looks at what the first page says of the others, and behind the last.
    fn look(&mut self) -> Result<()> {
        if self.source.is_stream() {
            self.refuse_more()?;
        }
        self.look_at_stack()
    }

    /// Of files that follow each other in a pipe the first alone would be read: where
    /// one of TIFF ends only what is in it says.
    fn refuse_more(&self) -> Result<()> {
        const MOST: usize = 1 << 20;
        let (form, source) = (self.form, &self.source);
        let mut end = 0;
        for spot in self.spots(MOST as u64)? {
            let ifd = form.directory(source, spot.offset)?;
            end = end.max(ifd.end);
            let list = |tag: u16| ifd.get(tag).map(|entry| form.numbers(source, entry, MOST));
            for (offsets, bytes) in [
                (tag::STRIP_OFFSETS, tag::STRIP_BYTES),
                (tag::TILE_OFFSETS, tag::TILE_BYTES),
            ] {
                let (Some(offsets), Some(bytes)) = (list(offsets), list(bytes)) else {
                    continue;
                };
                let ends = offsets?
                    .into_iter()
                    .zip(bytes?)
                    .map(|(at, n)| at.saturating_add(n));
                end = ends.fold(end, u64::max);
            }
        }
        // Some writers fill a file up to whole words.
        for at in end..end.saturating_add(4) {
            let mut head = [0; HEAD_BYTES];
            let there = source.read_at_most(at, &mut head)?;
            if Magic::of(&head[..there]) == Magic::Tiff {
                return Err(Error::unsupported(format!(
                    "another TIFF file follows at byte {at}, and one alone can be read from a pipe"
                ))
                .hint("name the files instead: cube append CUBE *.tif"));
            }
        }
        Ok(())
    }

    /// Finds out whether pages are on axes of their own.
    fn look_at_stack(&mut self) -> Result<()> {
        let ifd = self.form.directory(&self.source, self.first)?;
        let Some(entry) = ifd.get(tag::DESCRIPTION) else {
            return Ok(());
        };
        let Ok(text) = self.form.text(&self.source, entry, MAX_DESCRIPTION) else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(&text);
        // What is wrong with the page is said when its turn comes.
        let has_more = ifd.next != 0;
        let Ok(mut page) = Page::new(self.form, ifd, &self.source) else {
            return Ok(());
        };
        let Some(stack) = Stack::describe(&text, &page) else {
            return Ok(());
        };
        let n_pages = match stack.n_pages() {
            Some(n_pages @ 2..=MAX_STACKED) => n_pages,
            _ => return Ok(()),
        };
        if !has_more {
            // Else the images are not in this file.
            if stack.is_imagej
                && let Some(bytes) = stacked_bytes(&mut page, &self.source)?
                && let Some(bytes_in_all) = bytes.checked_mul(n_pages)
                && let Some((start, _)) = page.chunk(&self.source, 0)?
                && start
                    .checked_add(bytes_in_all)
                    .is_some_and(|end| end <= self.source.len())
            {
                self.shared = Some((u32::try_from(n_pages).unwrap_or(u32::MAX), bytes));
            } else {
                return Ok(());
            }
        }
        if let (Some(channel), 1) = (self.channel, page.per_pixel)
            && let Some((inner, n_channels)) = stack.channels()
        {
            if channel >= n_channels {
                return Err(no_channel(channel, n_channels));
            }
            self.pick = Some((inner, n_channels, channel));
        }
        if self.hdu != HduChoice::FirstImage {
            self.pick = None;
            return Ok(());
        }
        let axes = match self.pick {
            Some(_) => stack.without_channels(),
            None => stack.axes,
        };
        if axes.len() < 2 {
            return Ok(());
        }
        let spots = match self.shared {
            Some((_, bytes)) => {
                let spot = |number| Spot {
                    offset: self.first,
                    shift: number * bytes,
                };
                (0..n_pages).map(spot).collect()
            }
            None => self.spots(n_pages)?,
        };
        if spots.len() as u64 != n_pages {
            self.pick = None;
            return Ok(());
        }
        let picked = (0u64..)
            .zip(spots)
            .filter(|(number, _)| self.is_picked(*number));
        self.whole = Some((picked.map(|(_, spot)| spot).collect(), axes));
        Ok(())
    }

    /// Where all pages are; one more than `most` at most.
    fn spots(&self, most: u64) -> Result<Vec<Spot>> {
        let mut spots = Vec::new();
        let mut seen = HashSet::new();
        let mut next = self.first;
        while next != 0 && spots.len() as u64 <= most && seen.insert(next) {
            spots.push(Spot {
                offset: next,
                shift: 0,
            });
            next = self.form.directory(&self.source, next)?.next;
        }
        Ok(spots)
    }

    /// Is a page of the channel that was asked for?
    fn is_picked(&self, number: u64) -> bool {
        self.pick
            .is_none_or(|(inner, n_channels, channel)| number / inner % n_channels == channel)
    }

    /// The frame of this number whose directory is at `offset`, as `next` gave it.
    pub(super) fn again(mut self, part: u32, offset: u64) -> Result<Box<dyn Frame>> {
        let path = self.source.path().to_path_buf();
        self.again_at(part, offset).at(&path)
    }

    fn again_at(&mut self, part: u32, offset: u64) -> Result<Box<dyn Frame>> {
        // Of a page by itself a stack says no more than which channel it is.
        self.is_looked_at = true;
        if part == 0 || offset == self.first || self.channel.is_some() {
            self.look_at_stack()?;
        }
        match part {
            0 => self.step().unwrap_or_else(|| Err(gone())),
            _ => self.single(part, offset),
        }
    }

    fn single(&self, number: u32, offset: u64) -> Result<Box<dyn Frame>> {
        let shift = match self.shared {
            Some((n_images, _)) if number >= n_images => return Err(gone()),
            Some((_, bytes)) => u64::from(number) * bytes,
            None => 0,
        };
        let ifd = self.form.directory(&self.source, offset)?;
        self.page(number, ifd, Spot { offset, shift })
    }

    /// A page as a frame.
    fn page(&self, number: u32, ifd: Ifd, spot: Spot) -> Result<Box<dyn Frame>> {
        let page = Page::new(self.form, ifd, &self.source)?;
        self.frame(page, vec![spot], &[], number)
    }

    fn frame(
        &self,
        page: Page,
        spots: Vec<Spot>,
        axes: &[Axis],
        part: u32,
    ) -> Result<Box<dyn Frame>> {
        // Where pages are channels, those of one were picked already.
        let channel = self.channel.filter(|_| self.pick.is_none());
        let mut frame = TiffFrame::new(&self.source, page, spots, axes, part, channel)?;
        frame.about.facts.channel = self.channel;
        Ok(Box::new(frame))
    }

    fn step(&mut self) -> Option<Result<Box<dyn Frame>>> {
        if !std::mem::replace(&mut self.is_looked_at, true)
            && let Err(error) = self.look()
        {
            self.is_over = true;
            return Some(Err(error));
        }
        if let Some((spots, axes)) = self.whole.take() {
            self.is_over = true;
            return Some(self.block(spots, &axes));
        }
        loop {
            if self.is_over || self.next == 0 {
                return match self.hdu {
                    HduChoice::Number(wanted) if !self.is_over => {
                        self.is_over = true;
                        Some(Err(Error::input(format!("holds no page {wanted}")).hint(
                            format!("its pages are 0 to {}", self.number.max(1) - 1),
                        )))
                    }
                    _ => None,
                };
            }
            let (number, offset) = (self.number, self.next);
            if self.shared.is_none() && !self.seen.insert(offset) {
                self.is_over = true;
                return Some(Err(Error::damaged(format!(
                    "its pages go in a circle: page {number} is at byte {offset}, as one before"
                ))));
            }
            let ifd = match self.form.directory(&self.source, offset) {
                Ok(ifd) => ifd,
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(of_page(error, number)));
                }
            };
            let shift = match self.shared {
                Some((n_images, bytes)) => {
                    self.next = if number + 1 < n_images { offset } else { 0 };
                    u64::from(number) * bytes
                }
                None => {
                    self.next = ifd.next;
                    0
                }
            };
            self.number = number.saturating_add(1);
            match self.hdu {
                HduChoice::Number(wanted) if wanted != number => continue,
                HduChoice::Number(_) => self.is_over = true,
                _ => {}
            }
            if !self.is_picked(u64::from(number)) || self.is_left_out(number, &ifd) {
                continue;
            }
            let has_others = number > 0 || self.next != 0;
            let frame = self.page(number, ifd, Spot { offset, shift });
            return Some(match (frame, has_others) {
                (Ok(frame), _) => Ok(frame),
                (Err(error), true) => Err(of_page(error, number)),
                (Err(error), false) => Err(error),
            });
        }
    }

    /// Does a page say that it is a smaller copy or a mask of another one?
    fn is_left_out(&self, number: u32, ifd: &Ifd) -> bool {
        let kind = ifd.get(tag::NEW_SUBFILE);
        let kind = kind.and_then(|entry| self.form.numbers(&self.source, entry, 1).ok());
        let kind = kind.and_then(|kind| kind.first().copied()).unwrap_or(0);
        number > 0 && self.hdu == HduChoice::FirstImage && kind & REDUCED_OR_MASK != 0
    }

    /// All pages as one frame.
    fn block(&self, spots: Vec<Spot>, axes: &[Axis]) -> Result<Box<dyn Frame>> {
        let mut first: Option<Page> = None;
        for (number, spot) in spots.iter().enumerate() {
            if spot.offset == self.first && first.is_some() {
                continue;
            }
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let page = self.form.directory(&self.source, spot.offset);
            let page = page.and_then(|ifd| Page::new(self.form, ifd, &self.source));
            let page = page.map_err(|error| of_page(error, number))?;
            let Some(first) = &first else {
                first = Some(page);
                continue;
            };
            let shapes = [first, &page].map(|page| [page.width, page.height, page.per_pixel]);
            if shapes[0] != shapes[1] || first.dtype() != page.dtype() {
                return Err(Error::damaged(format!(
                    "page {number} is {} of {}, but the first of its stack is {} of {}",
                    show_shape(&shapes[1]),
                    page.dtype(),
                    show_shape(&shapes[0]),
                    first.dtype()
                ))
                .hint("--hdu all takes each page as it is"));
            }
        }
        let page = first.ok_or_else(gone)?;
        self.frame(page, spots, axes, 0)
    }
}

impl Iterator for Pages {
    type Item = Result<Box<dyn Frame>>;

    fn next(&mut self) -> Option<Self::Item> {
        let path = self.source.path().to_path_buf();
        self.step().map(|frame| frame.at(&path))
    }
}

fn gone() -> Error {
    Error::input("changed since the command began: a page is gone")
}

fn of_page(error: Error, number: u32) -> Error {
    error.within(&format!("page {number}"))
}

fn no_channel(channel: u64, n_channels: u64) -> Error {
    Error::input(format!(
        "has no channel {}: it has {n_channels}",
        channel.saturating_add(1)
    ))
    .hint("--channel counts from 1; R, G and B are 1, 2 and 3")
}

/// Bytes from one image to the next, when images of this layout can follow each
/// other without directories of their own.
fn stacked_bytes(page: &mut Page, source: &Source) -> Result<Option<u64>> {
    if page.codec != codec::Codec::Plain || page.is_tiled {
        return Ok(None);
    }
    let row_bytes = page.chunk_row_bytes()?;
    let n_planes = if page.is_planar { page.per_pixel } else { 1 };
    let n_chunks = page.n_down() * n_planes;
    let Some((start, _)) = page.chunk(source, 0)? else {
        return Ok(None);
    };
    let bytes = row_bytes * page.height * n_planes;
    let Some((_, end)) = page.chunk(source, n_chunks - 1)? else {
        return Ok(None);
    };
    Ok((end.checked_sub(start) == Some(bytes)).then_some(bytes))
}

/// One page, or a stack of them.
struct TiffFrame {
    source: Arc<Source>,
    form: Form,
    about: About,
    spots: Vec<Spot>,
    /// Pages that are open.
    open: Recent<Rows>,
    /// Samples of a page that are left out before the channel that was chosen.
    skipped: u64,
    per_page: u64,
    is_slow: bool,
}

impl TiffFrame {
    fn new(
        source: &Arc<Source>,
        page: Page,
        spots: Vec<Spot>,
        axes: &[Axis],
        part: u32,
        channel: Option<u64>,
    ) -> Result<TiffFrame> {
        let mut shape = vec![page.width, page.height];
        let mut skipped = 0;
        let mut notes = Vec::new();
        match channel {
            Some(channel) if channel >= page.per_pixel => {
                return Err(no_channel(channel, page.per_pixel));
            }
            Some(channel) => skipped = channel * page.width * page.height,
            None if page.per_pixel > 1 => {
                shape.push(page.per_pixel);
                notes.push(format!(
                    "its pixels have {} samples, which are planes of their own; --channel R takes one, \
                     --axis w keeps those of a frame together",
                    page.per_pixel
                ));
            }
            None => {}
        }
        let per_page = volume(&shape)?;
        shape.extend(axes.iter().map(|axis| axis.len));
        check_rank(&shape)?;
        let (cards, more) = tags::cards(source, &page, axes);
        notes.extend(more);
        let Some(spot) = spots.first() else {
            return Err(gone());
        };
        let facts = Facts {
            dtype: page.dtype(),
            blank: page.nodata,
            file_bytes: source.file_bytes(),
            modified: source.modified(),
            part,
            offset: spot.offset,
            channel: None,
            primary: 0,
            shape,
        };
        let form = page.form;
        let rows = Rows::new(source.clone(), page, spot.shift)?;
        volume(&facts.shape)?;
        Ok(TiffFrame {
            source: source.clone(),
            form,
            about: About {
                facts,
                cards,
                notes,
            },
            is_slow: rows.is_slow(),
            spots,
            open: Recent::new(rows, Rows::kept),
            skipped,
            per_page,
        })
    }

    /// The samples of a page.
    fn rows(&mut self, number: usize) -> Result<&mut Rows> {
        self.open.get(number, || {
            let spot = self.spots.get(number).copied().ok_or_else(gone)?;
            let ifd = self.form.directory(&self.source, spot.offset)?;
            let page = Page::new(self.form, ifd, &self.source)?;
            Rows::new(self.source.clone(), page, spot.shift)
        })
    }

    fn read_pages(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        let (size, per_page, skipped) =
            (self.about.facts.dtype.size(), self.per_page, self.skipped);
        each_part(first, per_page, size, out, |number, at, out| {
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            self.rows(number)?.read(skipped + at, out)
        })
    }
}

impl Frame for TiffFrame {
    fn about(&self) -> &About {
        &self.about
    }

    fn is_slow(&self) -> bool {
        self.is_slow
    }

    fn kept(&self) -> u64 {
        self.open.kept()
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        let path = self.source.path().to_path_buf();
        self.about.check(first, out.len()).at(&path)?;
        self.read_pages(first, out).at(&path)
    }
}
