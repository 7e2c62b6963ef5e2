//! What every test needs: frames written by hand, outputs read by hand, and the
//! program run in a folder of its own.
//!
//! Nothing here calls the library: a mistake there must not hide in here as well.

use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Headers and data of FITS fill blocks of this many bytes.
pub(crate) const BLOCK: usize = 2880;

/// A type of samples, as FITS stores it.
pub(crate) trait Stored: Copy + Debug + PartialEq {
    const BITPIX: i32;
    /// What makes it unsigned, or a byte signed.
    const BZERO: Option<&'static str>;
    const NAME: &'static str;
    fn store(self, out: &mut Vec<u8>);
    fn load(bytes: &[u8]) -> Self;
    /// The sample's own bits: NaNs and zeros are told apart.
    fn bits(self) -> u64;
}

macro_rules! stored {
    ($($kind:ty, $bits:ty, $name:literal, $bitpix:literal, $zero:expr, $flip:expr;)*) => {$(
        impl Stored for $kind {
            const BITPIX: i32 = $bitpix;
            const BZERO: Option<&'static str> = $zero;
            const NAME: &'static str = $name;
            fn store(self, out: &mut Vec<u8>) {
                let bits = <$bits>::from_ne_bytes(self.to_ne_bytes()) ^ $flip;
                out.extend(bits.to_be_bytes());
            }
            fn load(bytes: &[u8]) -> Self {
                let bits = <$bits>::from_be_bytes(bytes.try_into().unwrap()) ^ $flip;
                <$kind>::from_ne_bytes(bits.to_ne_bytes())
            }
            fn bits(self) -> u64 {
                <$bits>::from_ne_bytes(self.to_ne_bytes()).into()
            }
        }
    )*};
}

stored! {
    u8, u8, "uint8", 8, None, 0;
    i8, u8, "int8", 8, Some("-128"), 0x80;
    i16, u16, "int16", 16, None, 0;
    u16, u16, "uint16", 16, Some("32768"), 0x8000;
    i32, u32, "int32", 32, None, 0;
    u32, u32, "uint32", 32, Some("2147483648"), 0x8000_0000;
    i64, u64, "int64", 64, None, 0;
    u64, u64, "uint64", 64, Some("9223372036854775808"), 1 << 63;
    f32, u32, "float32", -32, None, 0;
    f64, u64, "float64", -64, None, 0;
}

/// An image for a FITS file. Everything in it may be wrong on purpose.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) bitpix: i32,
    pub(crate) shape: Vec<u64>,
    pub(crate) cards: Vec<Vec<u8>>,
    /// As stored: big-endian.
    pub(crate) data: Vec<u8>,
}

/// A card of 80 bytes.
pub(crate) fn card(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut card = text.as_ref().to_vec();
    assert!(card.len() <= 80, "a card is too long");
    card.resize(80, b' ');
    card
}

fn pad(bytes: &mut Vec<u8>, with: u8) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), with);
}

impl Image {
    /// An image whose samples come from their index, x fastest.
    pub(crate) fn new<T: Stored>(shape: &[u64], sample: impl Fn(u64) -> T) -> Image {
        let samples: Vec<T> = (0..shape.iter().product()).map(sample).collect();
        Image::of(shape, &samples)
    }

    /// An image of these samples.
    pub(crate) fn of<T: Stored>(shape: &[u64], samples: &[T]) -> Image {
        assert_eq!(shape.iter().product::<u64>(), samples.len() as u64);
        let mut data = Vec::new();
        for &sample in samples {
            sample.store(&mut data);
        }
        let image = Image {
            bitpix: T::BITPIX,
            shape: shape.to_vec(),
            cards: Vec::new(),
            data,
        };
        match T::BZERO {
            Some(zero) => image.with("BSCALE", "1").with("BZERO", zero),
            None => image,
        }
    }

    /// With one more card, `KEYWORD =  value`.
    pub(crate) fn with(self, keyword: &str, value: &str) -> Image {
        self.with_card(format!("{keyword:<8}= {value:>20}"))
    }

    /// With one more card, as it is.
    pub(crate) fn with_card(mut self, text: impl AsRef<[u8]>) -> Image {
        self.cards.push(card(text));
        self
    }

    fn hdu(&self, first: &str, more: &[String]) -> Vec<u8> {
        let mut bytes = card(first);
        bytes.extend(card(format!("BITPIX  = {:>20}", self.bitpix)));
        bytes.extend(card(format!("NAXIS   = {:>20}", self.shape.len())));
        for (axis, len) in self.shape.iter().enumerate() {
            bytes.extend(card(format!(
                "{:<8}= {len:>20}",
                format!("NAXIS{}", axis + 1)
            )));
        }
        for text in more {
            bytes.extend(card(text));
        }
        bytes.extend(self.cards.concat());
        bytes.extend(card("END"));
        pad(&mut bytes, b' ');
        bytes.extend(&self.data);
        pad(&mut bytes, 0);
        bytes
    }

    /// The image as a FITS file, or its first HDU.
    pub(crate) fn primary(&self) -> Vec<u8> {
        self.hdu("SIMPLE  =                    T", &[])
    }

    /// The image as an extension called `name`.
    pub(crate) fn extension(&self, name: &str) -> Vec<u8> {
        let more = [
            "PCOUNT  =                    0".to_string(),
            "GCOUNT  =                    1".to_string(),
            format!("EXTNAME = '{name:<8}'"),
        ];
        self.hdu("XTENSION= 'IMAGE   '", &more)
    }

    /// A primary HDU without data.
    pub(crate) fn empty() -> Image {
        Image {
            bitpix: 8,
            shape: Vec::new(),
            cards: Vec::new(),
            data: Vec::new(),
        }
    }
}

/// A binary table of `rows` 16-bit numbers, called `name`.
pub(crate) fn table(name: &str, rows: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in [
        "XTENSION= 'BINTABLE'".to_string(),
        "BITPIX  =                    8".to_string(),
        "NAXIS   =                    2".to_string(),
        "NAXIS1  =                    2".to_string(),
        format!("NAXIS2  = {rows:>20}"),
        "PCOUNT  =                    0".to_string(),
        "GCOUNT  =                    1".to_string(),
        "TFIELDS =                    1".to_string(),
        "TFORM1  = 'I       '".to_string(),
        format!("EXTNAME = '{name:<8}'"),
        "END".to_string(),
    ] {
        bytes.extend(card(text));
    }
    pad(&mut bytes, b' ');
    bytes.resize(bytes.len() + 2 * rows as usize, 7);
    pad(&mut bytes, 0);
    bytes
}

/// One HDU of a FITS file, as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Hdu {
    /// Cards up to END, trailing blanks cut.
    pub(crate) cards: Vec<String>,
    pub(crate) bitpix: i32,
    pub(crate) shape: Vec<u64>,
    pub(crate) data: Vec<u8>,
}

impl Hdu {
    /// The value of a card without its comment and blanks, quotes kept.
    pub(crate) fn value(&self, keyword: &str) -> Option<String> {
        let head = format!("{keyword:<8}=");
        let card = self.cards.iter().find(|card| card.starts_with(&head))?;
        let text = card[head.len()..].trim();
        Some(match text.strip_prefix('\'') {
            Some(text) => format!("'{}'", text.split('\'').next()?.trim_end()),
            None => text.split('/').next()?.trim().to_string(),
        })
    }

    pub(crate) fn number(&self, keyword: &str) -> Option<f64> {
        self.value(keyword)?.parse().ok()
    }

    /// The samples. They must be of this type.
    pub(crate) fn samples<T: Stored>(&self) -> Vec<T> {
        assert_eq!(self.bitpix, T::BITPIX, "not {}", T::NAME);
        let zero = self.value("BZERO").filter(|zero| zero != "0");
        assert_eq!(zero.as_deref(), T::BZERO, "not {}", T::NAME);
        let size = T::BITPIX.unsigned_abs() as usize / 8;
        self.data.chunks_exact(size).map(T::load).collect()
    }
}

/// Reads a FITS file, and sees that its structure is what the standard says.
pub(crate) fn read_fits(bytes: &[u8]) -> Vec<Hdu> {
    assert!(!bytes.is_empty() && bytes.len().is_multiple_of(BLOCK));
    let mut hdus = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let cards: Vec<&[u8]> = bytes[at..].chunks_exact(80).collect();
        let end = cards
            .iter()
            .position(|card| card.trim_ascii_end() == b"END")
            .expect("a header ends with END");
        let text = |card: &&[u8]| {
            card.iter()
                .map(|&byte| char::from(byte))
                .collect::<String>()
        };
        let mut hdu = Hdu {
            cards: cards[..end]
                .iter()
                .map(|card| text(card).trim_end().to_string())
                .collect(),
            bitpix: 0,
            shape: Vec::new(),
            data: Vec::new(),
        };
        let first = if at == 0 { "SIMPLE  = " } else { "XTENSION= " };
        assert!(hdu.cards[0].starts_with(first), "{}", hdu.cards[0]);
        hdu.bitpix = hdu.value("BITPIX").unwrap().parse().unwrap();
        let n_axes: usize = hdu.value("NAXIS").unwrap().parse().unwrap();
        hdu.shape = (1..=n_axes)
            .map(|axis| {
                let len = hdu.value(&format!("NAXIS{axis}"));
                len.unwrap().parse().unwrap()
            })
            .collect();
        let header = at + (end + 1) * 80;
        let data = at + ((end + 1) * 80).next_multiple_of(BLOCK);
        assert!(bytes[header..data].iter().all(|&byte| byte == b' '));
        let parameters: u64 = match hdu.value("PCOUNT") {
            Some(text) if at > 0 => text.parse().unwrap(),
            _ => 0,
        };
        let samples = match n_axes {
            0 => 0,
            _ => hdu.shape.iter().product::<u64>() + parameters,
        };
        let n_bytes = samples as usize * hdu.bitpix.unsigned_abs() as usize / 8;
        let next = data + n_bytes.next_multiple_of(BLOCK);
        hdu.data = bytes[data..data + n_bytes].to_vec();
        let is_image = at == 0 || hdu.cards[0].contains("IMAGE");
        assert!(!is_image || bytes[data + n_bytes..next].iter().all(|&byte| byte == 0));
        hdus.push(hdu);
        at = next;
    }
    hdus
}

/// The bits of all samples.
pub(crate) fn bits<T: Stored>(samples: &[T]) -> Vec<u64> {
    samples.iter().map(|&sample| sample.bits()).collect()
}

/// What came of running the program.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn out(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// It ended with this status.
    #[track_caller]
    pub(crate) fn ends(self, status: i32) -> Run {
        assert_eq!(self.status, status, "{}", self.err);
        self
    }

    /// It said all of these on stderr.
    #[track_caller]
    pub(crate) fn says(self, phrases: &[&str]) -> Run {
        for phrase in phrases {
            assert!(self.err.contains(phrase), "no `{phrase}` in: {}", self.err);
        }
        self
    }

    /// It printed all of these.
    #[track_caller]
    pub(crate) fn shows(&self, phrases: &[&str]) {
        for phrase in phrases {
            assert!(
                self.out().contains(phrase),
                "no `{phrase}` in: {}",
                self.out()
            );
        }
    }

    /// It failed, printed no result, and said all of these.
    #[track_caller]
    pub(crate) fn fails(self, phrases: &[&str]) -> Run {
        assert_eq!(self.out, b"", "a failure has no result");
        assert!(
            self.err.lines().any(|line| line.starts_with("cube: ")),
            "{}",
            self.err
        );
        self.ends(1).says(phrases)
    }
}

/// A folder of one test's own, and the program run in it.
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// Names in the folder, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Writes an image as a FITS file.
    pub(crate) fn frame(&self, name: &str, image: &Image) {
        self.write(name, image.primary());
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cube"));
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program with the arguments in `line`, parted by blanks.
    #[track_caller]
    pub(crate) fn cube(&self, line: &str) -> Run {
        self.cube_args(line.split_whitespace())
    }

    #[track_caller]
    pub(crate) fn cube_args<I>(&self, arguments: I) -> Run
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        finish(self.command().args(arguments).spawn().unwrap())
    }

    /// Runs the program with `input` on its standard input.
    #[track_caller]
    pub(crate) fn cube_fed(&self, line: &str, input: &[u8]) -> Run {
        let mut input_file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut input_file, input).unwrap();
        std::io::Seek::rewind(&mut input_file).unwrap();
        let mut command = self.command();
        command.args(line.split_whitespace()).stdin(input_file);
        finish(command.spawn().unwrap())
    }

    /// Runs the program, which must do all it was asked.
    #[track_caller]
    pub(crate) fn ok(&self, line: &str) -> Run {
        self.cube(line).ends(0)
    }

    /// What `info --json` says.
    #[track_caller]
    pub(crate) fn info(&self, cube: &str) -> Value {
        let run = self.ok(&format!("info {cube} --json"));
        serde_json::from_slice(&run.out).unwrap()
    }

    #[track_caller]
    pub(crate) fn shape(&self, cube: &str) -> Vec<u64> {
        let shape = &self.info(cube)["shape"];
        serde_json::from_value(shape.clone()).unwrap()
    }

    /// A cut as FITS, without the table of its frames.
    #[track_caller]
    pub(crate) fn cut(&self, line: &str) -> Hdu {
        let run = self.ok(&format!(
            "slice {line} --format fits --no-frames-table -o -"
        ));
        let mut hdus = read_fits(&run.out);
        assert_eq!(hdus.len(), 1);
        hdus.remove(0)
    }

    /// The samples of a cut.
    #[track_caller]
    pub(crate) fn samples<T: Stored>(&self, line: &str) -> Vec<T> {
        self.cut(line).samples()
    }

    /// The values of one profile, as text.
    #[track_caller]
    pub(crate) fn profile(&self, line: &str) -> Vec<String> {
        let run = self.ok(&format!("slice {line}"));
        let rows = run.out().lines().skip(1);
        rows.map(|row| row.split('\t').nth(1).unwrap().to_string())
            .collect()
    }
}

/// A small generator, so that what was tried can be tried again.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// From 0 up to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Waits for the program to end.
#[track_caller]
pub(crate) fn finish(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    Run {
        status: output.status.code().expect("it was not killed"),
        out: output.stdout,
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Waits until something is so; says what was waited for if it never is.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Says that a test was not run. Straight to stderr, where the harness shows it
/// although the test passes.
pub(crate) fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Sends a signal, such as `INT`.
pub(crate) fn signal(child: &Child, name: &str) {
    let pid = i32::try_from(child.id()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let signal = match name {
        "INT" => rustix::process::Signal::INT,
        "HUP" => rustix::process::Signal::HUP,
        "TERM" => rustix::process::Signal::TERM,
        "KILL" => rustix::process::Signal::KILL,
        "STOP" => rustix::process::Signal::STOP,
        "CONT" => rustix::process::Signal::CONT,
        other => panic!("no signal {other}"),
    };
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The Python that is the oracle of some tests, with these modules; without it they
/// are skipped, and say so.
pub(crate) fn python_with(modules: &str) -> Option<OsString> {
    let python = std::env::var_os("CUBE_PYTHON").unwrap_or_else(|| "python3".into());
    let probe = Command::new(&python)
        .args(["-c", &format!("import {modules}")])
        .output();
    if probe.is_ok_and(|probe| probe.status.success()) {
        return Some(python);
    }
    skip(&format!("no python3 with {modules}; CUBE_PYTHON names one"));
    None
}

/// The most of its own memory that the program was seen to use.
pub(crate) fn peak_of(dir: &Scratch, line: &str) -> u64 {
    let mut command = dir.command();
    let mut child = command.args(line.split_whitespace()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let row = text.lines().find_map(|row| row.strip_prefix("RssAnon:"));
        let kib = row.and_then(|row| row.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        std::thread::sleep(Duration::from_micros(500));
    }
    finish(child).ends(0);
    peak
}

/// By sorting.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0
}

/// By adding up.
pub(crate) fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}
