//! Descriptions of samples that stand in a file already, so that Zarr readers find
//! them there: a Zarr v3 store whose one shard is a link to that file, or references
//! to it in the manner of kerchunk, as a Zarr v2 store (version 1 of its specification).

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{fs, iter};

use serde_json::{Map, Value as Json, json};

use super::folder::Folder;
use super::output::{Output, Target, folder_of};
use super::zarr::{About, NAME, attributes, chunk_path, slowest_first, write_metadata};
use super::{Image, output};
use crate::dtype::DType;
use crate::error::{Context, IoContext, Result};
use crate::region::AXIS_NAMES;

/// An array whose samples stand in a file.
pub struct InPlace {
    /// What it is.
    pub image: Image,
    /// Bits of what samples that are not stored read as.
    pub pad: u64,
    /// Lengths of a chunk, x first.
    pub chunk: Vec<u64>,
    /// What goes with its axes.
    pub coordinates: Vec<Coordinate>,
    /// What else is known of them.
    pub attributes: Map<String, Json>,
}

/// A number for each position of an axis.
pub struct Coordinate {
    /// Its name.
    pub name: String,
    /// The axis.
    pub axis: usize,
    /// Type of the numbers.
    pub dtype: DType,
    /// What stands where there is none.
    pub missing: u64,
    /// The numbers, little-endian.
    pub values: Vec<u8>,
    /// What they mean.
    pub attributes: Map<String, Json>,
}

impl Coordinate {
    fn about(&self) -> About<'_> {
        let len = vec![(self.values.len() / self.dtype.size()) as u64];
        About {
            shape: len.clone(),
            chunk: len,
            dtype: self.dtype,
            fill: self.missing,
            names: vec![AXIS_NAMES[self.axis]],
            attributes: self.attributes.clone(),
        }
    }
}

impl InPlace {
    fn about(&self) -> About<'_> {
        let mut attributes = attributes(&self.image.cards);
        let names: Vec<&str> = self.coordinates.iter().map(|it| &*it.name).collect();
        if !names.is_empty() {
            // By this xarray knows that they are no data (CF conventions, 5).
            attributes.insert("coordinates".into(), names.join(" ").into());
        }
        About {
            shape: self.image.shape.clone(),
            chunk: self.chunk.clone(),
            dtype: self.image.dtype,
            fill: self.pad,
            names: AXIS_NAMES[..self.image.shape.len()].to_vec(),
            attributes,
        }
    }

    /// Makes a Zarr v3 store of which `file`, which ends with the index of a shard, is
    /// the only shard. The link is relative where the store stands beside the file or
    /// above it, so that both can be moved together.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn link(&self, target: &Target, file: &Path) -> Result<()> {
        let folder = Folder::create(target)?;
        let mut arrays = Map::from_iter([(NAME.to_string(), self.about().sharded())]);
        for it in &self.coordinates {
            arrays.insert(it.name.clone(), it.about().plain());
            let written = fs::write(chunk_path(&folder, &it.name, 1)?, &it.values);
            written.doing("cannot write").at(folder.name())?;
        }
        write_metadata(&folder, self.attributes.clone(), arrays)?;
        let rank = self.image.shape.len();
        let shard = chunk_path(&folder, NAME, rank)?;
        let link = || -> std::io::Result<()> {
            let file = fs::canonicalize(file)?;
            let store = fs::canonicalize(folder_of(folder.name()))?;
            // The store, data, c and a folder for every axis but one stand between.
            let up: PathBuf = iter::repeat_n("..", rank + 2).collect();
            let beside = file.strip_prefix(&store).map(|below| up.join(below));
            symlink(beside.unwrap_or(file), shard)
        };
        link().doing("cannot link the cube").at(folder.name())?;
        folder.finish()
    }
}

/// References that are being written: a JSON object.
pub struct References(Output);

impl References {
    /// Begins with everything but the samples.
    ///
    /// # Errors
    /// When the target cannot be written.
    pub fn create(target: &Target, array: &InPlace) -> Result<References> {
        output::check(target)?;
        let mut references = References(Output::create(target)?);
        let group = br#"{"version":1,"refs":{
".zgroup":"{\"zarr_format\":2}""#;
        references.0.write(group)?;
        references.text(".zattrs", &array.attributes)?;
        let coordinates = array.coordinates.iter().map(|it| (&*it.name, it.about()));
        for (name, about) in iter::once((NAME, array.about())).chain(coordinates) {
            let [about, attributes] = version_2(about);
            references.text(&format!("{name}/.zarray"), &about)?;
            references.text(&format!("{name}/.zattrs"), &attributes)?;
        }
        for it in &array.coordinates {
            let text = format!("base64:{}", base64(&it.values));
            references.entry(&format!("{}/0", it.name), &json!(text))?;
        }
        Ok(references)
    }

    /// Says where a chunk of the samples is; its numbers are x first.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn chunk(&mut self, chunk: &[u64], url: &str, at: u64, bytes: u64) -> Result<()> {
        let numbers: Vec<String> = chunk.iter().rev().map(u64::to_string).collect();
        let key = format!("{NAME}/{}", numbers.join("."));
        self.entry(&key, &json!([url, at, bytes]))
    }

    /// A text that is JSON itself.
    fn text(&mut self, key: &str, value: &impl serde::Serialize) -> Result<()> {
        self.entry(key, &json!(json!(value).to_string()))
    }

    fn entry(&mut self, key: &str, value: &Json) -> Result<()> {
        let line = format!(",\n{}:{value}", json!(key));
        self.0.write(line.as_bytes())
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.0.write(b"\n}}\n")?;
        self.0.finish()
    }
}

/// Metadata and attributes of an array, as Zarr v2 has them.
fn version_2(about: About<'_>) -> [Json; 2] {
    let kind = match about.dtype {
        DType::F32 | DType::F64 => 'f',
        dtype if dtype.is_signed_int() => 'i',
        _ => 'u',
    };
    let order = if about.dtype.size() == 1 { '|' } else { '<' };
    // What is missing here is masked by xarray: only NaN stays what it is.
    let fill = about.dtype.nan() == Some(about.fill);
    let names = slowest_first(&about.names);
    let mut attributes = about.attributes;
    attributes.insert("_ARRAY_DIMENSIONS".into(), names.into());
    [
        json!({
            "zarr_format": 2,
            "shape": slowest_first(&about.shape),
            "chunks": slowest_first(&about.chunk),
            "dtype": format!("{order}{kind}{}", about.dtype.size()),
            "compressor": null,
            "filters": null,
            "fill_value": fill.then_some("NaN"),
            "order": "C",
        }),
        attributes.into(),
    ]
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three
            .iter()
            .fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - three.len()));
        for digit in 0..4 {
            let number = word >> (18 - 6 * digit) & 63;
            text.push(match digit <= three.len() {
                true => char::from(DIGITS[number as usize]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_rfc_has_it() {
        let text = b"foobar";
        let wanted = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        for (len, wanted) in wanted.iter().enumerate() {
            assert_eq!(base64(&text[..len]), *wanted);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }
}
