//! TIFF files, written by hand: uncompressed, in either byte order, classic or Big.

#![allow(
    dead_code,
    reason = "unit tests use the same file, and not the same parts"
)]

/// A page that is to be written.
#[derive(Clone, Default)]
pub(crate) struct Page {
    /// Numbers: tag, type (3 or 4), values.
    numbers: Vec<(u16, u16, Vec<u64>)>,
    texts: Vec<(u16, String)>,
    /// Strips or tiles.
    chunks: Vec<Vec<u8>>,
    is_tiled: bool,
}

impl Page {
    /// A page in one strip; `data` is in the byte order of the file.
    pub(crate) fn new(width: u64, height: u64, bits: u64, data: &[u8]) -> Page {
        let page = Page {
            chunks: vec![data.to_vec()],
            ..Page::default()
        };
        page.with(256, &[width])
            .with(257, &[height])
            .with(258, &[bits])
    }

    /// With a tag of 32-bit numbers.
    pub(crate) fn with(mut self, tag: u16, values: &[u64]) -> Page {
        self.numbers.retain(|(known, ..)| *known != tag);
        self.numbers.push((tag, 4, values.to_vec()));
        self
    }

    /// With a tag that is a text.
    pub(crate) fn with_text(mut self, tag: u16, text: &str) -> Page {
        self.texts.push((tag, text.to_string()));
        self
    }

    /// In strips of so many rows of so many bytes.
    pub(crate) fn in_strips(mut self, rows: u64, row_bytes: usize) -> Page {
        let bytes = row_bytes * usize::try_from(rows).unwrap();
        self.chunks = self
            .chunks
            .concat()
            .chunks(bytes)
            .map(<[u8]>::to_vec)
            .collect();
        self.with(278, &[rows])
    }

    /// In tiles, which are given whole.
    pub(crate) fn in_tiles(mut self, width: u64, height: u64, tiles: Vec<Vec<u8>>) -> Page {
        self.chunks = tiles;
        self.is_tiled = true;
        self.with(322, &[width]).with(323, &[height])
    }
}

struct Writer {
    bytes: Vec<u8>,
    is_big_endian: bool,
    is_wide: bool,
}

impl Writer {
    fn number(&self, value: u64, size: usize) -> Vec<u8> {
        match self.is_big_endian {
            true => value.to_be_bytes()[8 - size..].to_vec(),
            false => value.to_le_bytes()[..size].to_vec(),
        }
    }

    fn word(&self) -> usize {
        if self.is_wide { 8 } else { 4 }
    }

    /// A value of an entry: in place, or elsewhere.
    fn value(&mut self, mut value: Vec<u8>) -> Vec<u8> {
        if value.len() > self.word() {
            let at = self.bytes.len() as u64;
            self.bytes.extend(&value);
            self.bytes.resize(self.bytes.len().next_multiple_of(2), 0);
            value = self.number(at, self.word());
        }
        value.resize(self.word(), 0);
        value
    }
}

/// A file of these pages.
pub(crate) fn tiff(is_big_endian: bool, is_wide: bool, pages: &[Page]) -> Vec<u8> {
    let mark = if is_big_endian { b"MM" } else { b"II" };
    let mut file = Writer {
        bytes: mark.to_vec(),
        is_big_endian,
        is_wide,
    };
    let head = match is_wide {
        true => [file.number(43, 2), file.number(8, 2), file.number(0, 2)].concat(),
        false => file.number(42, 2),
    };
    file.bytes.extend(head);
    let mut link = file.bytes.len();
    let word = file.word();
    file.bytes.extend(vec![0; word]);
    for page in pages {
        let mut page = page.clone();
        let starts: Vec<u64> = (page.chunks.iter())
            .map(|chunk| {
                let start = file.bytes.len() as u64;
                file.bytes.extend(chunk);
                start
            })
            .collect();
        let lens: Vec<u64> = page.chunks.iter().map(|chunk| chunk.len() as u64).collect();
        let (offsets, counts) = if page.is_tiled {
            (324, 325)
        } else {
            (273, 279)
        };
        page = page.with(offsets, &starts).with(counts, &lens);
        file.bytes.resize(file.bytes.len().next_multiple_of(2), 0);
        let mut entries = Vec::new();
        for (tag, kind, values) in &page.numbers {
            let value = values
                .iter()
                .flat_map(|&value| file.number(value, 4))
                .collect();
            entries.push((*tag, *kind, values.len(), file.value(value)));
        }
        for (tag, text) in &page.texts {
            let value = [text.as_bytes(), b"\0"].concat();
            entries.push((*tag, 2, value.len(), file.value(value)));
        }
        entries.sort();
        let start = file.number(file.bytes.len() as u64, word);
        file.bytes[link..link + word].copy_from_slice(&start);
        let count = file.number(entries.len() as u64, if is_wide { 8 } else { 2 });
        file.bytes.extend(count);
        for (tag, kind, count, value) in entries {
            let entry = [
                file.number(tag.into(), 2),
                file.number(kind.into(), 2),
                file.number(count as u64, word),
                value,
            ];
            file.bytes.extend(entry.concat());
        }
        link = file.bytes.len();
        file.bytes.extend(vec![0; word]);
    }
    file.bytes
}
