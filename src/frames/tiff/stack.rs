//! What ImageJ, OME-TIFF and tifffile write about the pages of a file in its first
//! ImageDescription: which axes they are on, besides x and y.
//!
//! ImageJ numbers pages channels first, then slices, then frames. OME-XML has
//! DimensionOrder. tifffile, and the TIFF files written here, give a shape, the slowest
//! axis first. None is trusted: what does not multiply to the number of pages says
//! nothing.

use super::page::Page;

/// An axis that pages are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// `C`, `Z` or `T`; `I` when it is of images, and a blank when nothing is known of it.
    pub(super) name: char,
    pub(super) len: u64,
}

/// The pages of a file, as its description has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stack {
    /// The fastest first, those of length 1 left out but for those in a shape.
    pub(super) axes: Vec<Axis>,
    /// ImageJ leaves out all directories but the first where files are large.
    pub(super) is_imagej: bool,
}

impl Stack {
    /// Understands a description, which is that of a page.
    pub(super) fn describe(text: &str, page: &Page) -> Option<Stack> {
        if text.starts_with("ImageJ=") {
            return imagej(text);
        }
        if text.starts_with('{') {
            let (height, width, per_pixel) = (page.height, page.width, page.per_pixel);
            return match (per_pixel, page.is_planar) {
                (1, _) => shaped(text, &[height, width]),
                (_, true) => shaped(text, &[per_pixel, height, width]),
                (_, false) => shaped(text, &[height, width, per_pixel]),
            };
        }
        ome(text, page.per_pixel)
    }

    /// How many pages there are to be; `None` beyond 2^64.
    pub(super) fn n_pages(&self) -> Option<u64> {
        let mut lens = self.axes.iter().map(|axis| axis.len);
        lens.try_fold(1u64, |product, len| product.checked_mul(len))
    }

    /// Without the axis of channels: the first page of a channel, the step to the
    /// next one of all that are in a row, and how often such a row comes. `None`
    /// when there is no such axis.
    pub(super) fn channels(&self) -> Option<(u64, u64)> {
        let at = self.axes.iter().position(|axis| axis.name == 'C')?;
        let inner = self.axes[..at].iter().map(|axis| axis.len).product();
        Some((inner, self.axes[at].len))
    }

    /// The axes without that of channels.
    pub(super) fn without_channels(&self) -> Vec<Axis> {
        let mut axes = self.axes.clone();
        axes.retain(|axis| axis.name != 'C');
        axes
    }
}

fn named(axes: [(char, u64); 3]) -> Vec<Axis> {
    let axes = axes.into_iter().filter(|&(_, len)| len > 1);
    axes.map(|(name, len)| Axis { name, len }).collect()
}

fn imagej(text: &str) -> Option<Stack> {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        let (_, value) = lines.find(|(name, _)| name.trim() == key)?;
        value.trim().parse::<u64>().ok().filter(|&len| len > 0)
    };
    let axes = ["channels", "slices", "frames"].map(|key| value(key).unwrap_or(1));
    let axes = named([('C', axes[0]), ('Z', axes[1]), ('T', axes[2])]);
    let mut stack = Stack {
        axes,
        is_imagej: true,
    };
    let images = value("images");
    if images.is_some() && images != stack.n_pages() {
        stack.axes = named([('I', images?), ('I', 1), ('I', 1)]);
    }
    Some(stack)
}

/// `{"shape": [2, 3, 500, 650], "axes": "WZYX"}`: the end of the shape is a page.
fn shaped(text: &str, page: &[u64]) -> Option<Stack> {
    let about: serde_json::Value = serde_json::from_str(text).ok()?;
    let shape = about.get("shape")?.as_array()?.iter();
    let shape: Vec<u64> = shape
        .map(serde_json::Value::as_u64)
        .collect::<Option<_>>()?;
    let outer = shape.strip_suffix(page)?;
    let names = about.get("axes").and_then(serde_json::Value::as_str);
    let names: Vec<char> = names.unwrap_or_default().chars().collect();
    let name_of = |at: usize| match names.get(at) {
        Some('C') if names.len() == shape.len() => 'C',
        _ => ' ',
    };
    let axes = outer.iter().enumerate().skip_while(|&(_, &len)| len == 1);
    let axes = axes.map(|(at, &len)| Axis {
        name: name_of(at),
        len,
    });
    let mut axes: Vec<Axis> = axes.collect();
    axes.reverse();
    Some(Stack {
        axes,
        is_imagej: false,
    })
}

fn ome(text: &str, per_pixel: u64) -> Option<Stack> {
    text.contains("<OME").then_some(())?;
    let mut pixels = text.match_indices("<Pixels").map(|(at, _)| &text[at..]);
    let (pixels, others) = (pixels.next()?, pixels.next());
    // Several images share the pages.
    if others.is_some() {
        return None;
    }
    let head = &pixels[..pixels.find('>')?];
    let order = attribute(head, "DimensionOrder")?;
    let order = order.strip_prefix("XY").filter(|rest| rest.len() == 3)?;
    let len_of = |name: char| -> Option<u64> {
        let len: u64 = attribute(head, &format!("Size{name}"))?.parse().ok()?;
        match name {
            'C' => Some(len / per_pixel),
            _ => Some(len),
        }
        .filter(|&len| len > 0)
    };
    let lens: Vec<(char, u64)> = order
        .chars()
        .map(|name| Some((name, len_of(name)?)))
        .collect::<Option<_>>()?;
    if !['Z', 'C', 'T'].iter().all(|name| order.contains(*name)) {
        return None;
    }
    let axes = [lens[0], lens[1], lens[2]];
    // A page may be said to be elsewhere than its number tells.
    for (at, _) in pixels.match_indices("<TiffData") {
        let data = &pixels[at..];
        let data = &data[..data.find('>')?];
        let (mut page, mut step) = (0u64, 1u64);
        for (name, len) in axes {
            let first = attribute(data, &format!("First{name}"));
            let first: u64 = first.map_or(Some(0), |first| first.parse().ok())?;
            page = first.checked_mul(step)?.checked_add(page)?;
            step = step.checked_mul(len)?;
        }
        let ifd = attribute(data, "IFD").unwrap_or("0");
        if ifd.parse() != Ok(page) {
            return None;
        }
    }
    Some(Stack {
        axes: named(axes),
        is_imagej: false,
    })
}

/// The value of an attribute of an XML tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    for (at, _) in tag.match_indices(name) {
        let before = tag[..at].chars().next_back();
        let rest = tag[at + name.len()..].trim_start();
        if let (Some(' ' | '\n' | '\r' | '\t'), Some(rest)) = (before, rest.strip_prefix('=')) {
            let rest = rest.trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            return rest[1..].split_once(quote).map(|(value, _)| value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(text: &str) -> Option<String> {
        let stack = match text.starts_with("ImageJ=") {
            true => imagej(text)?,
            false => ome(text, 1)?,
        };
        Some(show(&stack))
    }

    fn show(stack: &Stack) -> String {
        let axes = stack.axes.iter();
        axes.map(|axis| format!("{}{}", axis.name, axis.len))
            .collect()
    }

    #[test]
    fn a_shape_ends_with_a_page() {
        let axes = |text: &str, page: &[u64]| shaped(text, page).map(|stack| show(&stack));
        let own = "{\"shape\": [2, 3, 5, 7], \"axes\": \"WZYX\"}  ";
        assert_eq!(axes(own, &[5, 7]).as_deref(), Some(" 3 2"));
        assert_eq!(axes(own, &[7, 5]), None);
        // An axis of length 1 between others stays, and one before them does not.
        let thin = "{\"shape\": [1, 4, 1, 5, 7]}";
        assert_eq!(axes(thin, &[5, 7]).as_deref(), Some(" 1 4"));
        let colours = "{\"shape\": [2, 4, 5, 7, 3], \"axes\": \"CZYXS\"}";
        assert_eq!(axes(colours, &[5, 7, 3]).as_deref(), Some(" 4C2"));
        assert_eq!(axes("{\"shape\": [7]}", &[1, 7]), None);
        for text in [
            "{}",
            "{\"shape\": 3}",
            "{\"shape\": [-2, 5, 7]}",
            "{\"shape\": [5, 7",
        ] {
            assert_eq!(axes(text, &[5, 7]), None, "{text}");
        }
    }

    #[test]
    fn imagej_counts_channels_slices_and_frames() {
        let text = "ImageJ=1.53t\nimages=24\nchannels=2\nslices=3\nframes=4\nunit=um\n";
        assert_eq!(axes(text).as_deref(), Some("C2Z3T4"));
        assert_eq!(axes("ImageJ=1\nimages=5\nslices=5").as_deref(), Some("Z5"));
        assert_eq!(axes("ImageJ=1\nimages=7\nslices=5").as_deref(), Some("I7"));
        assert_eq!(axes("ImageJ=1\nmin=0").as_deref(), Some(""));
        assert_eq!(axes("a telescope"), None);
    }

    #[test]
    fn ome_has_its_own_order() {
        let ome = |more: &str, data: &str| {
            format!("<?xml?><OME x='y'><Image><Pixels ID=\"P:0\" {more}>{data}</Pixels></OME>")
        };
        let sizes = "DimensionOrder='XYZCT' SizeC=\"2\" SizeT='3' SizeX='9' SizeY='9' SizeZ=\"4\"";
        assert_eq!(axes(&ome(sizes, "")).as_deref(), Some("Z4C2T3"));
        let good = "<TiffData FirstC=\"1\" IFD=\"4\" PlaneCount='1'/>";
        assert_eq!(axes(&ome(sizes, good)).as_deref(), Some("Z4C2T3"));
        let other = "<TiffData FirstC=\"1\" IFD=\"1\"/>";
        assert_eq!(axes(&ome(sizes, other)), None);
        assert_eq!(axes(&ome("DimensionOrder='XYZ'", "")), None);
        let huge = "DimensionOrder='XYZCT' SizeC='1' SizeT='99999999999' SizeZ='99999999999'";
        let stack = super::ome(&ome(huge, ""), 1).unwrap();
        assert_eq!(stack.n_pages(), None);
        // Cut anywhere, it is not described or the same.
        let text = ome(sizes, good);
        for end in 0..text.len() {
            let _ = axes(&text[..end]);
        }
    }
}
