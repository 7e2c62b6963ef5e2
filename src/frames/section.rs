//! A part of a frame, as cfitsio's file names have it: `file.fits[SCI,1][10:500,*]`.
//!
//! The brackets count only where no file has that very name. The first may name
//! an HDU, the last a section; each may stand alone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::region::{Span, parse_section, volume};

use super::wcs::{self, AxisCut};
use super::{About, Frame, HduChoice, each_part};

/// Where samples are skipped, about so many bytes of a row are read at a time.
const ROW_BYTES: usize = 1 << 20;

/// A name and what its brackets say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bracketed {
    pub(super) path: PathBuf,
    pub(super) hdu: Option<HduChoice>,
    pub(super) section: Option<String>,
}

/// Takes a name apart; `None` when it has no brackets at its end.
///
/// # Errors
/// When the brackets name no HDU.
pub(super) fn split(path: &Path) -> Result<Option<Bracketed>> {
    let Some((rest, last)) = last_bracket(path.as_os_str().as_bytes()) else {
        return Ok(None);
    };
    let is_section = |text: &str| text.contains([':', '*']);
    let path_of = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    if !is_section(&last) {
        return Ok(Some(Bracketed {
            path: path_of(rest),
            hdu: Some(HduChoice::parse(&last)?),
            section: None,
        }));
    }
    let (rest, hdu) = match last_bracket(rest) {
        Some((rest, hdu)) => (rest, Some(HduChoice::parse(&hdu)?)),
        None => (rest, None),
    };
    Ok(Some(Bracketed {
        path: path_of(rest),
        hdu,
        section: Some(last),
    }))
}

/// What stands before the brackets at the end of a name, and in them.
fn last_bracket(name: &[u8]) -> Option<(&[u8], String)> {
    let inside = name.strip_suffix(b"]")?;
    let open = inside.iter().rposition(|&byte| byte == b'[')?;
    let text = std::str::from_utf8(&inside[open + 1..]).ok()?;
    (open > 0).then(|| (&name[..open], text.to_string()))
}

/// A frame of which a part is read.
pub(super) struct Section {
    inner: Box<dyn Frame>,
    spans: Vec<Span>,
    about: About,
    /// Lengths of the whole frame's axes.
    lens: Vec<u64>,
    row: Vec<u8>,
}

impl Section {
    /// The part of a frame that `text` names.
    pub(super) fn new(inner: Box<dyn Frame>, text: &str) -> Result<Section> {
        let spans = parse_section(text, &inner.facts().shape)?;
        let mut facts = inner.facts().clone();
        let axes = spans.iter().zip(&facts.shape).enumerate();
        let cuts: Vec<AxisCut> = axes
            .map(|(output, (span, &len))| AxisCut::Kept {
                output,
                first: span.start as f64 + 1.0,
                step: span.step as f64,
                whole: *span == Span::run(0, len),
            })
            .collect();
        facts.shape = spans.iter().map(|span| span.len).collect();
        let (cards, left_out) = wcs::cut(inner.cards(), &cuts);
        let mut notes = inner.notes().to_vec();
        notes.extend(left_out);
        Ok(Section {
            lens: inner.facts().shape.clone(),
            inner,
            spans,
            about: About {
                facts,
                cards,
                notes,
            },
            row: Vec::new(),
        })
    }

    /// Reads samples of one row of the section, from its `x`-th on.
    fn read_part(&mut self, x: u64, row: u64, out: &mut [u8]) -> Result<()> {
        let size = self.about.facts.dtype.size();
        let (mut rest, mut base, mut pitch) = (row, 0, 1);
        for (axis, (span, &len)) in self.spans.iter().zip(&self.lens).enumerate() {
            if axis > 0 {
                base += span.at(rest % span.len) * pitch;
                rest /= span.len;
            }
            pitch *= len;
        }
        let span = self.spans[0];
        if span.step == 1 {
            return self.inner.read(base + span.at(x), out);
        }
        let step = usize::try_from(span.step.unsigned_abs()).unwrap_or(usize::MAX);
        let per_chunk = (ROW_BYTES / size / step).max(1);
        for (x, out) in (x..)
            .step_by(per_chunk)
            .zip(out.chunks_mut(per_chunk * size))
        {
            let last = x + (out.len() / size) as u64 - 1;
            let (a, b) = (span.at(x), span.at(last));
            let n_samples = usize::try_from(a.abs_diff(b)).unwrap_or(usize::MAX) + 1;
            self.row.resize(n_samples * size, 0);
            self.inner.read(base + a.min(b), &mut self.row)?;
            let samples = out.chunks_exact_mut(size);
            for (k, out) in samples.enumerate() {
                let at = match span.step > 0 {
                    true => k * step,
                    false => n_samples - 1 - k * step,
                };
                out.copy_from_slice(&self.row[at * size..][..size]);
            }
        }
        Ok(())
    }
}

impl Frame for Section {
    fn about(&self) -> &About {
        &self.about
    }

    fn is_slow(&self) -> bool {
        self.inner.is_slow()
    }

    fn kept(&self) -> u64 {
        self.inner.kept()
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<()> {
        self.about.check(first, out.len())?;
        let size = self.about.facts.dtype.size();
        let width = self.spans[0].len;
        let end = first + (out.len() / size) as u64;
        each_part(first, width, size, out, |row, x, out| {
            self.read_part(x, row, out)
        })?;
        // The frame itself finishes where its own last sample is read.
        match end == volume(&self.about.facts.shape)? {
            true => self.finish(),
            false => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<()> {
        self.inner.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_at_the_end_of_a_name_are_an_hdu_and_a_section() {
        let parts = |name: &str| {
            let found = split(Path::new(name)).unwrap()?;
            Some((
                found.path.to_str().unwrap().to_string(),
                found.hdu.map(|hdu| hdu.to_string()).unwrap_or_default(),
                found.section.unwrap_or_default(),
            ))
        };
        let is =
            |path: &str, hdu: &str, section: &str| Some((path.into(), hdu.into(), section.into()));
        assert_eq!(
            parts("a.fits[SCI,1][10:500,*]"),
            is("a.fits", "SCI,1", "10:500,*")
        );
        assert_eq!(parts("a.fits[2]"), is("a.fits", "2", ""));
        assert_eq!(parts("a[1].fits[1:5,-*]"), is("a[1].fits", "", "1:5,-*"));
        assert_eq!(parts("a.fits"), None);
        assert_eq!(parts("[1]"), None);
        assert_eq!(parts("a]"), None);
        assert!(split(Path::new("a.fits[]")).is_err());
    }
}
