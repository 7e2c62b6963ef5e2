//! A Zarr v3 store out: a group with the array `data`, which is one shard.
//!
//! The shard's chunks are raw little-endian samples, its index stands at the end
//! with a CRC-32C (Zarr core specification 3.1 and its codec `sharding_indexed`).
//! Chunks follow each other in the order of the index, so samples are streamed: as
//! many planes are held as a chunk is deep, at most `HELD_BYTES`. A chunk of
//! nothing but the fill value is not stored. Header cards become attributes: `fits`
//! maps keywords to values, `comment` and `history` are lists of lines, `units` is BUNIT.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use super::fits::image_cards;
use super::folder::Folder;
use super::output::Target;
use super::{Image, Remaining, Sink};
use crate::dtype::DType;
use crate::error::{Context, Error, IoContext, Result};
use crate::frames::cards::{Cards, Value, keyword_of};
use crate::kernels::copy::{Layout, copy_box};
use crate::region::{AXIS_NAMES, MAX_RANK, places};

/// The most that is held of the samples.
const HELD_BYTES: u64 = 64 << 20;

/// Samples of a chunk, about.
const CHUNK_SAMPLES: u64 = 1 << 17;

/// A chunk is at most so many planes deep.
const DEPTH: u64 = 32;

/// The array in the group.
pub(super) const NAME: &str = "data";

/// How the array is divided, x first.
#[derive(Clone, Debug, PartialEq)]
struct Grid {
    shape: [u64; MAX_RANK],
    chunk: [u64; MAX_RANK],
    rank: usize,
    /// The slowest axis on which a chunk is longer than 1: samples are held
    /// until it is full on this axis.
    top: usize,
}

impl Grid {
    fn new(shape: &[u64], dtype: DType) -> Grid {
        let mut lens = [1; MAX_RANK];
        for (to, &len) in lens.iter_mut().zip(shape) {
            *to = len;
        }
        let rank = shape.len().max(1);
        let plane = lens[0].saturating_mul(lens[1]) * dtype.size() as u64;
        let mut chunk = [1; MAX_RANK];
        chunk[2] = power_below(HELD_BYTES / plane.max(1))
            .min(DEPTH)
            .min(lens[2]);
        let side = power_below((CHUNK_SAMPLES / chunk[2]).isqrt());
        chunk[0] = side.min(lens[0]);
        // A strip of rows must fit, too.
        let row = lens[0].saturating_mul(dtype.size() as u64);
        let rows = power_below(HELD_BYTES / row.max(1));
        chunk[1] = (CHUNK_SAMPLES / chunk[2] / chunk[0]).min(lens[1]).min(rows);
        if rank == 1 {
            chunk[0] = CHUNK_SAMPLES.min(lens[0]);
        }
        let deep = (0..rank).rev().find(|&axis| chunk[axis] > 1);
        Grid {
            shape: lens,
            chunk,
            rank,
            top: deep.unwrap_or(0),
        }
    }

    fn chunks(&self, axis: usize) -> u64 {
        self.shape[axis].div_ceil(self.chunk[axis])
    }

    /// Positions on `top` that belong to its chunk with this number.
    fn deep(&self, number: u64) -> u64 {
        let start = number * self.chunk[self.top];
        self.chunk[self.top].min(self.shape[self.top] - start)
    }

    /// Samples per position on `top`.
    fn inner(&self) -> u64 {
        self.shape[..self.top].iter().product()
    }

    fn chunk_samples(&self) -> u64 {
        self.chunk.iter().product()
    }
}

/// The greatest power of two that is at most `number`, or 1.
fn power_below(number: u64) -> u64 {
    1 << number.max(1).ilog2()
}

/// A Zarr store that is being written.
pub struct ZarrSink {
    folder: Folder,
    shard: BufWriter<File>,
    remaining: Remaining,
    dtype: DType,
    grid: Grid,
    /// Samples that wait for those that share their chunks.
    held: Vec<u8>,
    /// Number of the chunk on the grid's top axis that is being held.
    number: u64,
    /// A chunk of the fill value.
    empty: Vec<u8>,
    chunk: Vec<u8>,
    /// Where each chunk stands, and how long it is, as the index has it.
    index: Vec<u8>,
    at: u64,
}

impl ZarrSink {
    /// Makes the folder and writes what describes the array; `names` are those of
    /// the axes, x first, where they are not the usual ones.
    ///
    /// # Errors
    /// When the target cannot be written, or there are no samples.
    pub fn create(target: &Target, image: &Image, names: &[String]) -> Result<ZarrSink> {
        let bytes = image.bytes()?;
        if bytes == 0 || image.shape.len() > MAX_RANK {
            return Err(Error::unsupported("an array needs samples on 1 to 8 axes"));
        }
        let grid = Grid::new(&image.shape, image.dtype);
        let folder = Folder::create(target)?;
        let name = folder.name();
        let names = (0..grid.rank).map(|axis| names.get(axis).map(String::as_str));
        let about = About {
            shape: grid.shape[..grid.rank].to_vec(),
            chunk: grid.chunk[..grid.rank].to_vec(),
            dtype: image.dtype,
            fill: fill_bits(image),
            names: names
                .enumerate()
                .map(|(axis, name)| name.unwrap_or(AXIS_NAMES[axis]))
                .collect(),
            attributes: attributes(&image.cards),
        };
        let arrays = Map::from_iter([(NAME.to_string(), about.sharded())]);
        write_metadata(&folder, Map::new(), arrays)?;
        let shard = chunk_path(&folder, NAME, grid.rank)?;
        let file = File::create_new(&shard).doing("cannot create").at(name)?;
        let chunk_bytes = grid.chunk_samples() * image.dtype.size() as u64;
        let chunk_bytes = usize::try_from(chunk_bytes).unwrap_or(0);
        let fill = fill_bits(image).to_le_bytes();
        let fill = &fill[..image.dtype.size()];
        Ok(ZarrSink {
            shard: BufWriter::with_capacity(1 << 20, file),
            remaining: Remaining::new(bytes, image.dtype),
            dtype: image.dtype,
            held: Vec::new(),
            number: 0,
            empty: fill.repeat(chunk_bytes / fill.len()),
            chunk: Vec::new(),
            index: Vec::new(),
            at: 0,
            folder,
            grid,
        })
    }

    /// Samples that complete the chunks at hand.
    fn wanted(&self) -> usize {
        let samples = self.grid.deep(self.number) * self.grid.inner();
        usize::try_from(samples).unwrap_or(usize::MAX) * self.dtype.size()
    }

    /// Writes the chunks that are complete.
    fn write_chunks(&mut self) -> Result<()> {
        let size = self.dtype.size();
        let top = self.grid.top;
        let mut lens = self.grid.shape;
        lens[top] = self.grid.deep(self.number);
        let strides = |lens: &[u64; MAX_RANK]| {
            let mut stride = size as u64;
            let mut strides = [0; MAX_RANK];
            for (axis, slot) in strides.iter_mut().enumerate().take(top + 1) {
                *slot = isize::try_from(stride).unwrap_or(0);
                stride *= lens[axis];
            }
            strides
        };
        let (from, to) = (strides(&lens), strides(&self.grid.chunk));
        let chunks = std::array::from_fn(|axis| match axis < top {
            true => self.grid.chunks(axis),
            false => 1,
        });
        for number in places(chunks) {
            self.chunk.clone_from(&self.empty);
            let mut start = 0;
            let mut boxed = [1; MAX_RANK];
            for axis in 0..=top {
                let first = number[axis] * self.grid.chunk[axis];
                let len = self.grid.chunk[axis].min(lens[axis] - first);
                boxed[axis] = usize::try_from(len).unwrap_or(0);
                start += usize::try_from(first).unwrap_or(0) * from[axis].unsigned_abs();
            }
            let source = Layout {
                start,
                strides: from,
            };
            let target = Layout {
                start: 0,
                strides: to,
            };
            copy_box(
                size,
                0,
                &boxed,
                (&self.held, &source),
                (&mut self.chunk, &target),
            );
            self.write_chunk()?;
        }
        self.held.clear();
        self.number = (self.number + 1) % self.grid.chunks(top);
        Ok(())
    }

    fn write_chunk(&mut self) -> Result<()> {
        let (mut at, mut bytes) = (u64::MAX, u64::MAX);
        if self.chunk != self.empty {
            let written = self.shard.write_all(&self.chunk);
            written.doing("cannot write").at(self.folder.name())?;
            (at, bytes) = (self.at, self.chunk.len() as u64);
            self.at += bytes;
        }
        self.index.extend(at.to_le_bytes());
        self.index.extend(bytes.to_le_bytes());
        Ok(())
    }
}

impl Sink for ZarrSink {
    fn write(&mut self, samples: &[u8]) -> Result<()> {
        self.remaining.take(samples).at(self.folder.name())?;
        let mut rest = samples;
        while !rest.is_empty() {
            let missing = self.wanted() - self.held.len();
            let (part, more) = rest.split_at(missing.min(rest.len()));
            self.held.extend_from_slice(part);
            rest = more;
            if self.held.len() == self.wanted() {
                self.write_chunks()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.remaining.finish().at(self.folder.name())?;
        let check = crc32c::crc32c(&self.index);
        self.index.extend(check.to_le_bytes());
        let written = self.shard.write_all(&self.index);
        let written = written.and_then(|()| self.shard.flush());
        written.doing("cannot write").at(self.folder.name())?;
        self.folder.finish()
    }
}

/// What samples that are not stored read as.
fn fill_bits(image: &Image) -> u64 {
    let blank = image.blank.and_then(|blank| image.dtype.bits_of_int(blank));
    image.dtype.nan().or(blank).unwrap_or(0)
}

/// What the metadata of an array say; lists are x first.
pub(super) struct About<'a> {
    pub(super) shape: Vec<u64>,
    pub(super) chunk: Vec<u64>,
    pub(super) dtype: DType,
    /// Bits of what samples that are not stored read as.
    pub(super) fill: u64,
    pub(super) names: Vec<&'a str>,
    pub(super) attributes: Map<String, Json>,
}

impl About<'_> {
    /// The metadata of an array that is one shard.
    pub(super) fn sharded(&self) -> Json {
        let lens = self.shape.iter().zip(&self.chunk);
        let shard: Vec<u64> = lens
            .map(|(len, chunk)| len.next_multiple_of(*chunk))
            .collect();
        let bytes = bytes_codec();
        let sharding = json!({
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": slowest_first(&self.chunk),
                "codecs": [bytes],
                "index_codecs": [bytes, {"name": "crc32c"}],
                "index_location": "end",
            },
        });
        self.json(&shard, &sharding)
    }

    /// The metadata of an array whose chunks are files.
    pub(super) fn plain(&self) -> Json {
        self.json(&self.chunk, &bytes_codec())
    }

    fn json(&self, file: &[u64], codec: &Json) -> Json {
        json!({
            "zarr_format": 3,
            "node_type": "array",
            "shape": slowest_first(&self.shape),
            "data_type": self.dtype.name(),
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": slowest_first(file)},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": fill_json(self.dtype, self.fill),
            "codecs": [codec],
            "dimension_names": slowest_first(&self.names),
            "attributes": self.attributes,
        })
    }
}

fn bytes_codec() -> Json {
    json!({"name": "bytes", "configuration": {"endian": "little"}})
}

/// A list as Zarr has it.
pub(super) fn slowest_first<T: Clone>(list: &[T]) -> Vec<T> {
    list.iter().rev().cloned().collect()
}

fn fill_json(dtype: DType, bits: u64) -> Json {
    let value = match dtype {
        DType::F32 => f64::from(f32::from_bits(u32::try_from(bits).unwrap_or(0))),
        DType::F64 => f64::from_bits(bits),
        _ => {
            let value = dtype.int_of_bits(bits).unwrap_or(0).to_string();
            return serde_json::from_str(&value).unwrap_or(Json::Null);
        }
    };
    match dtype.nan() == Some(bits) {
        true => "NaN".into(),
        false if value.is_finite() => value.into(),
        // Any float may be written by its bits.
        false => format!("0x{bits:0width$x}", width = 2 * dtype.size()).into(),
    }
}

/// Writes what describes a group and the arrays in it.
pub(super) fn write_metadata(
    folder: &Folder,
    attributes: Map<String, Json>,
    arrays: Map<String, Json>,
) -> Result<()> {
    let write = |path: &Path, value: &Json| {
        let made = fs::create_dir_all(path);
        let text = format!("{value:#}\n");
        let written = made.and_then(|()| fs::write(path.join("zarr.json"), text));
        written.doing("cannot write").at(folder.name())
    };
    for (name, about) in &arrays {
        write(&folder.path().join(name), about)?;
    }
    let group = json!({
        "zarr_format": 3,
        "node_type": "group",
        "attributes": attributes,
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": false,
            "metadata": arrays,
        },
    });
    write(folder.path(), &group)
}

/// Where the only chunk of an array of a group goes, in a folder that is made for it.
pub(super) fn chunk_path(folder: &Folder, array: &str, rank: usize) -> Result<PathBuf> {
    let mut path = folder.path().join(array).join("c");
    path.extend(std::iter::repeat_n("0", rank));
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.doing("cannot make a folder").at(folder.name())?;
    Ok(path)
}

/// Header cards as attributes.
pub(super) fn attributes(cards: &Cards) -> Map<String, Json> {
    let cards = image_cards(cards);
    let (mut comments, mut history) = (Vec::new(), Vec::new());
    for card in cards.iter() {
        let lines = match &*keyword_of(card) {
            "COMMENT" => &mut comments,
            "HISTORY" => &mut history,
            _ => continue,
        };
        lines.push(String::from_utf8_lossy(&card[8..]).trim_end().to_string());
    }
    let mut values = Map::new();
    for (keyword, value) in cards.values() {
        // Of two cards of one name the first counts.
        if let (false, Some(value)) = (values.contains_key(&keyword), json_of(value)) {
            values.insert(keyword, value);
        }
    }
    let mut out = Map::new();
    for (key, value) in [
        ("fits", Json::from(values)),
        ("comment", comments.into()),
        ("history", history.into()),
        // As xarray knows it.
        ("units", cards.get_text("BUNIT").into()),
    ] {
        let is_empty = value.is_null()
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(Map::is_empty);
        if !is_empty {
            out.insert(key.to_string(), value);
        }
    }
    out
}

fn json_of(value: Value) -> Option<Json> {
    Some(match value {
        Value::Logical(value) => value.into(),
        Value::Integer(value) => serde_json::from_str(&value.to_string()).ok()?,
        Value::Real(value) => value.into(),
        Value::Other(text) if text.is_empty() => return None,
        Value::Text(text) | Value::Other(text) => text.into(),
    })
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "the stores of these tests are small"
)]
mod tests {
    use super::*;
    use crate::sinks::tests::image;

    /// The samples of a store, read by its metadata and its index alone.
    fn read(path: &std::path::Path, shape: &[u64]) -> Vec<u16> {
        let about = fs::read(path.join("data/zarr.json")).unwrap();
        let about: Json = serde_json::from_slice(&about).unwrap();
        let list = |value: &Json| -> Vec<u64> {
            let mut lens: Vec<u64> = serde_json::from_value(value.clone()).unwrap();
            lens.reverse();
            lens
        };
        assert_eq!(list(&about["shape"]), shape);
        let chunk = list(&about["codecs"][0]["configuration"]["chunk_shape"]);
        let whole = list(&about["chunk_grid"]["configuration"]["chunk_shape"]);
        let grid: Vec<u64> = whole.iter().zip(&chunk).map(|(a, b)| a / b).collect();
        assert!(whole.iter().zip(&chunk).all(|(a, b)| a % b == 0));
        let shard = path.join("data/c").join(vec!["0"; shape.len()].join("/"));
        let bytes = fs::read(shard).unwrap();
        let n: u64 = grid.iter().product();
        let index = &bytes[bytes.len() - 4 - 16 * n as usize..];
        let (index, check) = index.split_at(16 * n as usize);
        assert_eq!(crc32c::crc32c(index).to_le_bytes(), check);
        let number = |at: usize| u64::from_le_bytes(index[at..at + 8].try_into().unwrap());
        let total = shape.iter().product::<u64>();
        let sample = |k: u64| {
            let (mut k, mut at, mut inner) = (k, (0, 1), (0, 1));
            for axis in 0..shape.len() {
                let position = k % shape[axis];
                k /= shape[axis];
                at = (at.0 + position / chunk[axis] * at.1, at.1 * grid[axis]);
                inner = (
                    inner.0 + position % chunk[axis] * inner.1,
                    inner.1 * chunk[axis],
                );
            }
            let start = number(16 * at.0 as usize);
            if start == u64::MAX {
                return 0;
            }
            let start = (start + 2 * inner.0) as usize;
            u16::from_le_bytes(bytes[start..start + 2].try_into().unwrap())
        };
        (0..total).map(sample).collect()
    }

    #[test]
    fn a_store_holds_every_sample_where_its_index_says() {
        for shape in [
            &[5u64][..],
            &[300_000],
            &[1000, 700],
            &[70, 65, 40],
            &[3, 2, 2, 3],
            &[1, 1, 50],
        ] {
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join("a.zarr");
            let target = Target::from_path(&path, false);
            let total = shape.iter().product::<u64>();
            // A stretch of zeros, so that some chunks are empty.
            let samples: Vec<u16> = (0..total)
                .map(|k| if k * 3 < total { 0 } else { (k % 65521) as u16 })
                .collect();
            let bytes: Vec<u8> = samples.iter().flat_map(|k| k.to_le_bytes()).collect();
            let image = image(shape, DType::U16);
            let mut sink = Box::new(ZarrSink::create(&target, &image, &[]).unwrap());
            for part in bytes.chunks(10_002) {
                sink.write(part).unwrap();
            }
            sink.finish().unwrap();
            assert!(read(&path, shape) == samples, "{shape:?}");
        }
    }

    #[test]
    fn chunks_are_deep_where_planes_are_small_and_what_is_held_is_bounded() {
        for (shape, chunk) in [
            (&[64u64, 48, 24][..], [64, 48, 24]),
            (&[650, 500, 5000], [64, 64, 32]),
            (&[4096, 4096, 100], [256, 512, 1]),
            (&[1 << 20, 1 << 20, 2], [256, 16, 1]),
            (&[1 << 30], [1 << 17, 1, 1]),
        ] {
            let grid = Grid::new(shape, DType::F32);
            assert_eq!(grid.chunk[..3], chunk, "{shape:?}");
            let held = grid.chunk[grid.top] * grid.inner() * 4;
            assert!(held <= HELD_BYTES.max(1 << 22), "{shape:?}: {held}");
        }
    }

    #[test]
    fn cards_are_attributes() {
        let mut cards = Cards::default();
        cards.push_text("CTYPE1", "RA---TAN", "");
        cards.push_real("CRPIX1", 1.5, "");
        cards.push_line("HISTORY", "made");
        cards.push_text("LONG", &"x".repeat(100), "");
        cards.push_int("NAXIS1", 3, "");
        let found = attributes(&cards);
        assert_eq!(found["fits"]["CRPIX1"], 1.5);
        assert_eq!(found["fits"]["LONG"], "x".repeat(100));
        assert_eq!(found["history"], json!(["made"]));
        assert_eq!(found["fits"].get("NAXIS1"), None);
        assert_eq!(found.get("comment"), None);
    }
}
