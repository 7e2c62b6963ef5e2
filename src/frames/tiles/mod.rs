//! Tile-compressed FITS images (`.fz`), as the FITS Standard 4.0, section 10, has them.
//!
//! A tile is decoded when a sample of it is asked for: into the caller's buffer where it is
//! a run of the image that is wanted whole, else into a buffer of a row of tiles.
//! Streams may lie: none is followed behind its end, and none makes more than its tile holds.
//!
//! | file | what |
//! |---|---|
//! | `table` | where tiles are, and what the header says of them |
//! | `tiling` | which samples a tile has |
//! | `window` | a part of the file, read ahead |
//! | `bits` | bits of a stream |
//! | `rice`, `gunzip`, `plio`, `hcompress` | a decoder each |
//! | `quantized` | floats that are kept as scaled integers |
//! | `samples` | bytes and integers into samples |

#![allow(
    clippy::cast_possible_truncation,
    reason = "pointers have 64 bits (lib.rs), so usize and u64 hold the same numbers"
)]

mod bits;
mod gunzip;
mod hcompress;
mod plio;
mod quantized;
mod rice;
mod samples;
mod table;
#[cfg(test)]
mod tests;
mod tiling;
mod window;

use std::collections::HashSet;

use crate::dtype::DType;
use crate::error::{Context, Result};
use crate::kernels::scale::scale;
use crate::kernels::swap::{flip_sign, swap_in_place};
use crate::region::volume;

use super::fits::{self, Meaning};
use super::hdu::Hdu;
use super::source::Source;
use super::{About, Frame};

use bits::PAD_BYTES;
use gunzip::Gunzip;
use hcompress::{Fault, Hcompress};
use samples::Raw;
use table::{Coding, Table};
use tiling::Tiling;
use window::Window;

/// Buffers for tiles of so many samples are kept from one to the next.
const KEPT_SAMPLES: usize = 1 << 16;

/// Opens the tile-compressed image in `hdu`.
///
/// # Errors
/// When its table is damaged, or it is compressed in a way that is not read.
pub(super) fn open(source: Source, hdu: &Hdu) -> Result<Box<dyn Frame>> {
    let (table, image) = Table::examine(&source, hdu)?;
    let (facts, meaning, stored) = fits::facts(&source, &image)?;
    Ok(Box::new(TiledFrame {
        n_samples: volume(&facts.shape)?,
        held: Held::default(),
        tile: Vec::new(),
        decoder: Decoder {
            rows: table.rows(hdu),
            heap: table.heap(hdu),
            table,
            stored,
            dtype: facts.dtype,
            meaning,
            ints: Vec::new(),
            bytes: Vec::new(),
            gunzip: Gunzip::default(),
            hcompress: Hcompress::default(),
        },
        source,
        about: About {
            facts,
            cards: image.all_cards(),
            notes: image.notes,
        },
    }))
}

struct TiledFrame {
    source: Source,
    about: About,
    n_samples: u64,
    decoder: Decoder,
    held: Held,
    /// A tile on its way into what is held.
    tile: Vec<u8>,
}

/// A part of the image, as far as it is decoded.
#[derive(Default)]
struct Held {
    /// Where it begins on each axis, and how long it is.
    first: Vec<u64>,
    lens: Vec<u64>,
    samples: Vec<u8>,
    /// Which of its tiles are there.
    tiles: HashSet<u64>,
}

impl Frame for TiledFrame {
    fn about(&self) -> &About {
        &self.about
    }

    fn is_slow(&self) -> bool {
        true
    }

    fn kept(&self) -> u64 {
        (self.held.samples.len() + self.tile.len()) as u64 + self.decoder.kept()
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        self.about.check(first, out.len()).at(self.source.path())?;
        let size = self.about.facts.dtype.size();
        let (mut at, mut left) = (first, out);
        while !left.is_empty() {
            let place = self.decoder.table.tiling.place_of(at);
            let n_left = (left.len() / size) as u64;
            let run = self.decoder.table.tiling.run_from(&place);
            let n_now = match run.filter(|(_, n_samples)| *n_samples <= n_left) {
                Some((tile_idx, n_samples)) => {
                    let out = &mut left[..n_samples as usize * size];
                    let decoded = self.decoder.decode(&self.source, tile_idx, out);
                    decoded.at(self.source.path())?;
                    n_samples
                }
                None => self
                    .read_held(&place, n_left, left)
                    .at(self.source.path())?,
            };
            at += n_now;
            left = &mut left[n_now as usize * size..];
        }
        if at == self.n_samples {
            self.held = Held::default();
            self.finish()?;
        }
        self.source.check_unchanged().at(self.source.path())
    }

    fn finish(&mut self) -> Result<()> {
        self.source.finish()
    }
}

impl TiledFrame {
    /// Reads samples from here on as far as the tiles of a row have them, by way of what is
    /// held; says how many.
    fn read_held(&mut self, place: &[u64], n_left: u64, out: &mut [u8]) -> Result<u64> {
        let size = self.about.facts.dtype.size();
        let tiling = &self.decoder.table.tiling;
        let (width, tile_width) = (tiling.axes[0], tiling.tile[0]);
        let first_idx = tiling.tile_of(place) - place[0] / tile_width;
        let (tile_first, tile_lens) = tiling.extent(first_idx);
        let n_rows = match (tile_first.get(1), tile_lens.get(1), place.get(1)) {
            (Some(first), Some(len), Some(y)) => first + len - y,
            _ => 1,
        };
        let n_now = n_left.min(n_rows * width - place[0]);
        // The columns of a part of one row, or all of them.
        let end = (place[0] + n_now).min(width);
        let start = if place[0] + n_now > width {
            0
        } else {
            place[0]
        };
        self.held.move_to(place, tiling, size);
        for column in start / tile_width..end.div_ceil(tile_width) {
            let tile_idx = first_idx + column;
            if !self.held.tiles.contains(&tile_idx) {
                self.hold(tile_idx)?;
            }
        }
        let at = self.held.offset(place) * size;
        let n_bytes = n_now as usize * size;
        out[..n_bytes].copy_from_slice(&self.held.samples[at..at + n_bytes]);
        Ok(n_now)
    }

    /// Decodes a tile into what is held.
    fn hold(&mut self, tile_idx: u64) -> Result<()> {
        let size = self.about.facts.dtype.size();
        let (first, lens) = self.decoder.table.tiling.extent(tile_idx);
        if lens == self.held.lens {
            let samples = &mut self.held.samples;
            self.decoder.decode(&self.source, tile_idx, samples)?;
        } else {
            let n_samples: u64 = lens.iter().product();
            self.tile.resize(n_samples as usize * size, 0);
            let samples = &mut self.tile;
            self.decoder.decode(&self.source, tile_idx, samples)?;
            let mut place = first.clone();
            for row in self.tile.chunks_exact(lens[0] as usize * size) {
                let at = self.held.offset(&place) * size;
                self.held.samples[at..at + row.len()].copy_from_slice(row);
                for axis in 1..place.len() {
                    place[axis] += 1;
                    if place[axis] < first[axis] + lens[axis] {
                        break;
                    }
                    place[axis] = first[axis];
                }
            }
        }
        if self.tile.len() > KEPT_SAMPLES * size {
            self.tile = Vec::new();
        }
        self.held.tiles.insert(tile_idx);
        Ok(())
    }
}

impl Held {
    /// Goes to the part of the image with this sample, and forgets the other one.
    fn move_to(&mut self, place: &[u64], tiling: &Tiling, size: usize) {
        let along = place.iter().zip(&tiling.held).zip(&tiling.axes);
        let (first, lens): (Vec<u64>, Vec<u64>) = along
            .map(|((&at, &held), &len)| {
                let first = at / held * held;
                (first, held.min(len - first))
            })
            .unzip();
        if first != self.first || self.samples.is_empty() {
            let n_samples: u64 = lens.iter().product();
            self.samples.resize(n_samples as usize * size, 0);
            self.tiles.clear();
            (self.first, self.lens) = (first, lens);
        }
    }

    /// Which sample of it this is.
    fn offset(&self, place: &[u64]) -> usize {
        let along = place.iter().zip(&self.first).zip(&self.lens).rev();
        along.fold(0, |at, ((&place, &first), &len)| at * len + (place - first)) as usize
    }
}

/// Decodes tiles.
struct Decoder {
    table: Table,
    rows: Window,
    heap: Window,
    /// The type of samples as they are stored, what it is for us, and the way there.
    stored: DType,
    dtype: DType,
    meaning: Meaning,
    ints: Vec<i32>,
    /// Samples as they are stored, where they are not what is wanted.
    bytes: Vec<u8>,
    gunzip: Gunzip,
    hcompress: Hcompress,
}

impl Decoder {
    fn kept(&self) -> u64 {
        let buffers = 4 * self.ints.len() + self.bytes.len();
        (buffers + self.gunzip.kept() + self.hcompress.kept()) as u64 + self.heap.kept()
    }

    /// Decodes a tile into samples of the frame's type.
    fn decode(&mut self, source: &Source, tile_idx: u64, out: &mut [u8]) -> Result<()> {
        let size = self.dtype.size();
        let n_samples = out.len() / size;
        if let Meaning::Scaled(linear) = self.meaning {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.resize(n_samples * self.stored.size(), 0);
            self.decode_stored(source, tile_idx, n_samples, &mut bytes)?;
            swap_in_place(&mut bytes, self.stored.size());
            scale(self.stored, &bytes, self.dtype, out, &linear);
            self.bytes = bytes;
        } else {
            self.decode_stored(source, tile_idx, n_samples, out)?;
        }
        if self.meaning == Meaning::Offset {
            flip_sign(out, size);
        }
        // Many frames are open at once.
        if n_samples > KEPT_SAMPLES {
            (self.ints, self.bytes) = (Vec::new(), Vec::new());
            (self.gunzip, self.hcompress) = (Gunzip::default(), Hcompress::default());
        }
        Ok(())
    }

    /// Decodes a tile into samples as they are stored, but little-endian.
    fn decode_stored(
        &mut self,
        source: &Source,
        tile_idx: u64,
        n_samples: usize,
        out: &mut [u8],
    ) -> Result<()> {
        let tile = self.table.tile(source, &mut self.rows, tile_idx)?;
        let padded = self.heap.get(source, tile.start, tile.n_bytes)?;
        let (stream, ints) = (&padded[..padded.len() - PAD_BYTES], &mut self.ints);
        let too_short = || {
            let n_bytes = stream.len();
            format!("ends after {n_bytes} bytes, before its {n_samples} samples")
        };
        ints.resize(n_samples, 0);
        let unpacked = match tile.coding {
            Coding::Rice(rice) => rice.decode(padded, ints).ok_or_else(too_short),
            Coding::Plio => {
                // cfitsio lists unsigned numbers as they are meant, for a list has no others.
                let is_unsigned = self.stored == DType::I16 && self.meaning == Meaning::Offset;
                let less = if is_unsigned { 1 << 15 } else { 0 };
                plio::decode(stream, less, ints).ok_or_else(too_short)
            }
            Coding::Hcompress { smooths } => {
                let decoded = self.hcompress.decode(padded, smooths, ints);
                decoded.map_err(|fault| match fault {
                    Fault::Short => too_short(),
                    Fault::Alien => format!("is not what HCOMPRESS makes of {n_samples} samples"),
                    Fault::Large => "holds what is no int32".to_string(),
                })
            }
            Coding::Gzip { .. } | Coding::Plain => {
                let size = self.stored.size();
                // Floats are what they are; integers may have been kept as others.
                let is_exact = self.stored.is_float() && tile.quantized.is_none();
                let most = if is_exact { size } else { size.max(4) };
                let bytes = match tile.coding {
                    Coding::Plain => Ok(stream),
                    _ => self.gunzip.unpack(stream, most * n_samples),
                };
                match bytes.map(|bytes| Raw {
                    bytes,
                    is_sorted: tile.coding == Coding::Gzip { is_sorted: true },
                }) {
                    Ok(raw) if tile.quantized.is_none() && raw.store(size, out) => return Ok(()),
                    Ok(raw) if !is_exact && raw.ints(ints) => Ok(()),
                    Ok(Raw { bytes, .. }) => Err(format!(
                        "holds {} bytes, which are no {n_samples} samples",
                        bytes.len()
                    )),
                    Err(what) => Err(what),
                }
            }
        };
        let done = unpacked.and_then(|()| match tile.quantized {
            Some(quantized) => {
                quantized.store(tile_idx, ints, out, self.stored.size());
                Ok(())
            }
            None => samples::store(ints, self.stored, out),
        });
        done.map_err(|what| table::damaged(self.table.number, &format!("tile {tile_idx} {what}")))
    }
}
