//! `cube zarr` and `cube refs`: what lets Zarr readers read a cube where it is.
//!
//! No sample is copied but, for references, those of tiles that `clean` changed or that
//! frames did not fill at once, for which they have no other way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::coordinates::per_frame;
use super::slice::{Request, header};
use super::{Progress, open};
use crate::engine::chunks::Chunks;
use crate::engine::snapshot::Snapshot;
use crate::error::{Context, Error, IoContext, Result};
use crate::kernels::copy::fill;
use crate::region::show_shape;
use crate::sinks::in_place::{InPlace, References};
use crate::sinks::output::{Output, folder_of};
use crate::sinks::{Format, Image, Target, check};
use crate::storage::file::{Busy, FileStorage};

/// What `zarr` and `refs` are asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the store or the references go.
    pub target: Target,
    /// Keywords that become coordinates, beside DATE-OBS.
    pub keys: Vec<String>,
}

/// What they did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Tiles of the cube, void ones too.
    pub tiles: u64,
    /// Bytes of the index of the shard; 0 where it was there already.
    pub index_bytes: u64,
    /// Tiles that stand in a file beside the references, and that file.
    pub beside: Option<(u64, PathBuf)>,
    /// Names of the coordinates.
    pub coordinates: Vec<String>,
}

/// Makes a Zarr v3 store with the cube as its one shard. The index that a shard ends
/// with is written to the cube's file, behind everything, where it is not there.
///
/// # Errors
/// When tiles are not chunks, or something cannot be written.
pub fn zarr(path: &Path, options: &Options, busy: Busy, progress: &dyn Progress) -> Result<Report> {
    check(&options.target)?;
    let (_, mut snapshot) = open(path, progress)?;
    let had_index = shard(&snapshot).and_then(|chunks| chunks.has_shard_index());
    let had_index = had_index.at(path)?;
    if !had_index {
        let storage = FileStorage::open_locked(path, busy).map_err(read_only);
        // Another program may have committed since.
        snapshot = Snapshot::open(Arc::new(storage.at(path)?)).at(path)?;
    }
    let chunks = shard(&snapshot).at(path)?;
    let array = describe(&snapshot, &options.keys, progress).at(path)?;
    let index_bytes = match had_index {
        true => 0,
        false => chunks.write_shard_index().at(path)?,
    };
    array.link(&options.target, path)?;
    Ok(Report {
        tiles: chunks.count()?,
        index_bytes,
        beside: None,
        coordinates: names(&array),
    })
}

fn read_only(error: Error) -> Error {
    match error.io_source() {
        Some(_) => {
            error.hint("the index of the shard goes into the cube's file; cube refs needs none")
        }
        None => error,
    }
}

/// The chunks of a shard, which has no place for patches.
fn shard(snapshot: &Snapshot) -> Result<Chunks<'_>> {
    match snapshot.catalog().patches.is_empty() {
        true => Chunks::new(snapshot),
        false => Err(
            Error::unsupported("samples that clean replaced stand beside the tiles")
                .hint("cube compact puts them in; cube refs copies the tiles that have some"),
        ),
    }
}

/// Writes references to the tiles. Those that have patches or a mask go to a file beside,
/// and so does one tile of void where a reader would not know what void is. `name` is what they
/// call the cube, if not by its path from the root.
///
/// # Errors
/// When tiles are not chunks, or something cannot be written.
pub fn refs(
    path: &Path,
    options: &Options,
    name: Option<&str>,
    progress: &dyn Progress,
) -> Result<Report> {
    let Target::File {
        path: to,
        overwrite,
    } = &options.target
    else {
        return Err(
            Error::input("references are a file, beside which tiles may be put")
                .hint("-o FILE.json makes one"),
        );
    };
    check(&options.target)?;
    let (_, snapshot) = open(path, progress)?;
    let chunks = Chunks::new(&snapshot).at(path)?;
    let array = describe(&snapshot, &options.keys, progress).at(path)?;
    let catalog = snapshot.catalog();
    let rank = array.image.shape.len();
    let bytes = catalog.tile.iter().product::<u64>() * catalog.dtype.size() as u64;
    let url = name.map_or_else(|| from_root(path), |name| Ok(name.to_string()))?;
    let mut beside = Beside {
        target: Target::from_path(&to.with_extension("tiles"), *overwrite),
        cube: name,
        output: None,
        url: String::new(),
        tiles: 0,
    };
    let mut void = None;
    let mut references = References::create(&options.target, &array)?;
    let put = chunks.each(&mut |chunk, tile| {
        let chunk = &chunk[..rank];
        let copy = match tile {
            Some(tile) => match chunks.copied(tile).at(path)? {
                None => return references.chunk(chunk, &url, tile.at, bytes),
                Some(samples) => beside.put(&samples)?,
            },
            // What is not there reads as NaN.
            None if catalog.dtype.nan() == Some(catalog.pad) => return Ok(()),
            None => match void {
                Some(copy) => copy,
                None => {
                    let mut tile = vec![0; bytes as usize];
                    fill(&mut tile, catalog.pad, catalog.dtype.size());
                    *void.insert(beside.put(&tile)?)
                }
            },
        };
        references.chunk(chunk, &beside.url, copy, bytes)
    });
    put?;
    let tiles = beside.tiles;
    let file = beside.finish()?;
    references.finish()?;
    Ok(Report {
        tiles: chunks.count()?,
        index_bytes: 0,
        beside: file.map(|file| (tiles, file)),
        coordinates: names(&array),
    })
}

/// Tiles beside the references.
struct Beside<'a> {
    target: Target,
    /// What the user wants references to call the cube.
    cube: Option<&'a str>,
    output: Option<Output>,
    /// What references call the file.
    url: String,
    tiles: u64,
}

impl Beside<'_> {
    /// Adds a tile; says where it begins.
    fn put(&mut self, tile: &[u8]) -> Result<u64> {
        if self.output.is_none() {
            let output = Output::create(&self.target)?;
            let name = output.name().file_name().unwrap_or_default();
            let folder = match self.cube {
                Some(cube) => cube.rfind('/').map_or("", |end| &cube[..=end]).to_string(),
                None => from_root(folder_of(output.name()))? + "/",
            };
            self.url = folder + &name.to_string_lossy();
            self.output = Some(output);
        }
        if let Some(output) = &mut self.output {
            output.write(tile)?;
        }
        self.tiles += 1;
        Ok((self.tiles - 1) * tile.len() as u64)
    }

    fn finish(self) -> Result<Option<PathBuf>> {
        let Some(output) = self.output else {
            return Ok(None);
        };
        let name = output.name().to_path_buf();
        output.finish().map(|()| Some(name))
    }
}

/// The path of what is there, from the root, as text.
fn from_root(path: &Path) -> Result<String> {
    let whole = std::fs::canonicalize(path)
        .doing("cannot examine")
        .at(path)?;
    let text = whole.to_str().map(str::to_string);
    text.ok_or_else(|| {
        Error::input("its name is not UTF-8, which JSON needs")
            .hint("--url names the cube otherwise")
            .at(path)
    })
}

fn describe(snapshot: &Snapshot, keys: &[String], progress: &dyn Progress) -> Result<InPlace> {
    let catalog = snapshot.catalog();
    let shape = snapshot.shape();
    if catalog.tile[shape.len()..].iter().any(|&len| len > 1) {
        return Err(Error::unsupported(format!(
            "no other program can read its tiles, which are {}: it has {} axes",
            show_shape(&catalog.tile),
            shape.len()
        ))
        .hint("a new cube, made of this one with another --tile, can be read"));
    }
    let whole = Request::of(snapshot.whole());
    let (cards, _) = header(snapshot, &whole, &[Format::Zarr], progress)?;
    let per_frame = per_frame(snapshot, keys)?;
    Ok(InPlace {
        chunk: catalog.tile[..shape.len()].to_vec(),
        image: Image {
            shape,
            dtype: catalog.dtype,
            blank: catalog.blank,
            cards,
        },
        pad: catalog.pad,
        coordinates: per_frame.coordinates,
        attributes: per_frame.lists,
    })
}

fn names(array: &InPlace) -> Vec<String> {
    let coordinates = array.coordinates.iter();
    coordinates.map(|it| it.name.clone()).collect()
}
