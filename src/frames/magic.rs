//! What a file is, by its first bytes; names and extensions do not count.

use crate::error::Error;

/// A kind of file, as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Magic {
    /// FITS.
    Fits,
    /// TIFF or BigTIFF.
    Tiff,
    /// A NumPy array.
    Npy,
    /// gzip, of whatever.
    Gzip,
    /// A kind that is known and not read: what to say of it.
    Known(&'static str),
    /// None of those.
    Unknown,
}

const IS_COMPRESSED: &str = "decompress it first";

/// First bytes, and the kind they tell.
const MAGICS: &[(&[u8], Magic)] = &[
    (b"II*\0", Magic::Tiff),
    (b"MM\0*", Magic::Tiff),
    (b"II+\0", Magic::Tiff),
    (b"MM\0+", Magic::Tiff),
    (b"\x93NUMPY", Magic::Npy),
    (b"\x1f\x8b", Magic::Gzip),
    (b"\x1f\x9d", Magic::Known("is compressed by compress (.Z)")),
    (b"BZh", Magic::Known("is bzip2-compressed")),
    (b"\xfd7zXZ\0", Magic::Known("is xz-compressed")),
    (b"\x28\xb5\x2f\xfd", Magic::Known("is zstd-compressed")),
    (b"PK\x03\x04", Magic::Known("is a zip archive")),
    (b"\x89PNG\r\n\x1a\n", Magic::Known("is a PNG image")),
    (b"\xff\xd8\xff", Magic::Known("is a JPEG image")),
    (b"GIF8", Magic::Known("is a GIF image")),
    (b"\x89HDF\r\n\x1a\n", Magic::Known("is an HDF5 file")),
    (b"CDF\x01", Magic::Known("is a NetCDF file")),
    (b"CDF\x02", Magic::Known("is a NetCDF file")),
    (b"#ASDF", Magic::Known("is an ASDF file")),
    (b"XISF0100", Magic::Known("is an XISF file")),
    (b"LUCAM-RECORDER", Magic::Known("is a SER video")),
    (b"imhv", Magic::Known("is an IRAF image header (.imh)")),
    (b"%PDF", Magic::Known("is a PDF document")),
    (
        b"XTENSION",
        Magic::Known("begins with a FITS extension: its primary HDU is missing"),
    ),
    (
        b"version https://git-lfs",
        Magic::Known("is a git-lfs pointer, left in place of the file it stands for"),
    ),
    (b"<!DOCTYPE", Magic::Known("is a web page")),
    (b"<html", Magic::Known("is a web page")),
];

impl Magic {
    /// The kind of a file that begins with these bytes.
    pub fn of(head: &[u8]) -> Magic {
        if is_fits(head) {
            return Magic::Fits;
        }
        let mut magics = MAGICS.iter();
        let found = magics.find(|(magic, _)| head.starts_with(magic));
        found.map_or(Magic::Unknown, |&(_, kind)| kind)
    }

    /// Why a file of this kind is not the `wanted` one.
    pub fn refuse(self, head: &[u8], wanted: &str) -> Error {
        let is = match self {
            Magic::Fits => "is a FITS file",
            Magic::Tiff => "is a TIFF image",
            Magic::Npy => "is a NumPy array",
            Magic::Gzip => "is gzip-compressed",
            Magic::Known(is) => is,
            Magic::Unknown => {
                return Error::input(format!(
                    "is not {wanted}: it begins with {}",
                    show_head(head)
                ));
            }
        };
        let error = Error::unsupported(format!("is not {wanted}: it {is}"));
        match is {
            _ if is.contains("compressed") || is.contains("archive") => error.hint(IS_COMPRESSED),
            _ if is.contains("git-lfs") => error.hint("git lfs pull brings the file itself"),
            _ => error,
        }
    }
}

/// `SIMPLE  =`, in either case and spacing.
fn is_fits(head: &[u8]) -> bool {
    let keyword = head.get(..6).unwrap_or_default();
    let rest = head.get(6..).unwrap_or_default().trim_ascii_start();
    keyword.eq_ignore_ascii_case(b"SIMPLE") && rest.starts_with(b"=")
}

/// The first bytes as a message can carry them.
fn show_head(head: &[u8]) -> String {
    let short = &head[..head.len().min(10)];
    if short
        .iter()
        .all(|byte| *byte == b' ' || byte.is_ascii_graphic())
    {
        return format!("`{}`", String::from_utf8_lossy(short));
    }
    if short.iter().all(|&byte| byte == 0) {
        return "zeros".to_string();
    }
    let hex: Vec<String> = short.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("bytes {}", hex.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_kinds_are_named() {
        let says = |head: &[u8]| Magic::of(head).refuse(head, "FITS").to_string();
        assert_eq!(Magic::of(b"SIMPLE  =          "), Magic::Fits);
        assert_eq!(says(b"\x1f\x8b\x08"), "is not FITS: it is gzip-compressed");
        assert_eq!(says(b"II*\0\x08"), "is not FITS: it is a TIFF image");
        assert_eq!(says(b"hello"), "is not FITS: it begins with `hello`");
        assert_eq!(says(&[0; 20]), "is not FITS: it begins with zeros");
        assert_eq!(
            says(b"\x01\xffx"),
            "is not FITS: it begins with bytes 01 ff 78"
        );
        assert_eq!(Magic::of(b""), Magic::Unknown);
    }
}
