//! Progress: on a terminal one line that is drawn again and again and gone when the
//! work is done; with `--progress plain` a line for a log now and then; else nothing.
//!
//! The line that stands on the terminal is known to the whole program, so that
//! whoever writes something clears it first. A thread draws, for a command that hangs
//! is to say so.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::say;
use crate::ops::{Progress, show_bytes};
use crate::turns::lock;

/// The line on a terminal is drawn so often.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// A log gets a line so often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The rate is that of so many last looks, the first of them far enough back to be
/// steady and near enough to be of now.
const LOOKS: usize = 60;

/// A bar shorter than this tells nothing.
const LEAST_BAR: usize = 10;

/// Characters of the line on the terminal; 0 when there is none.
static DRAWN: Mutex<usize> = Mutex::new(0);

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Show {
    /// A line on a terminal, else nothing
    #[default]
    Auto,
    /// Lines for a log, every ten seconds and at the end
    Plain,
    /// Nothing
    None,
}

/// Shows progress on stderr, warnings too.
pub(super) struct Bar {
    shared: Arc<Shared>,
    ticker: Mutex<Option<JoinHandle<()>>>,
    warns: bool,
    style: Style,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Drawn,
    Lines,
    Silent,
}

/// What the drawing thread looks at.
#[derive(Default)]
struct Shared {
    work: Mutex<Work>,
    wake: Condvar,
}

/// One phase of a command.
#[derive(Clone, Default)]
struct Work {
    phase: String,
    begun: Option<Instant>,
    frames: u64,
    total_frames: u64,
    bytes: u64,
    total_bytes: u64,
    /// When so much was done; the oldest first.
    looks: VecDeque<(Instant, u64)>,
}

/// Takes the line off the terminal; none is drawn until what comes back is dropped.
pub(super) fn clear_line() -> impl Drop {
    let mut drawn = lock(&DRAWN);
    clear(&mut drawn);
    drawn
}

fn clear(drawn: &mut usize) {
    let text = cleared(*drawn);
    *drawn = 0;
    // Nobody is left to tell when stderr is closed.
    let _ = stderr().lock().write_all(text.as_bytes());
}

/// What takes a line of so many characters off the terminal. Row by row: some
/// terminals keep in their history what is cleared down to their end.
fn cleared(drawn: usize) -> String {
    if drawn == 0 {
        return String::new();
    }
    // A terminal that got narrower has wrapped the line.
    let rows = drawn.div_ceil(columns());
    format!(
        "\r\x1b[2K{}",
        "\x1b[A\x1b[2K".repeat(rows.saturating_sub(1))
    )
}

fn draw(line: &str) {
    let mut drawn = lock(&DRAWN);
    let text = cleared(*drawn) + line;
    *drawn = line.chars().count();
    let mut stderr = stderr().lock();
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(stderr()).ok();
    // A terminal of no columns does not say how many it has.
    let columns = size.map(|size| usize::from(size.ws_col));
    columns.filter(|&columns| columns > 0).unwrap_or(80)
}

impl Bar {
    pub(super) fn new(show: Show, quiet: bool) -> Bar {
        let dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        let style = match show {
            _ if quiet => Style::Silent,
            Show::Plain => Style::Lines,
            Show::Auto if stderr().is_terminal() && !dumb => Style::Drawn,
            Show::Auto | Show::None => Style::Silent,
        };
        Bar {
            shared: Arc::default(),
            ticker: Mutex::new(None),
            warns: !quiet,
            style,
        }
    }

    /// Warnings alone, for what is done at once.
    pub(super) fn silent() -> Bar {
        Bar::new(Show::None, false)
    }

    fn stop(&self) -> Option<Work> {
        let ticker = lock(&self.ticker).take()?;
        let work = std::mem::take(&mut *lock(&self.shared.work));
        self.shared.wake.notify_all();
        // It ends at once, and has nothing to tell.
        let _ = ticker.join();
        drop(clear_line());
        Some(work)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Draws until the phase is over.
fn tick(shared: &Shared, style: Style) {
    let every = match style {
        Style::Lines => LOG_EVERY,
        _ => DRAW_EVERY,
    };
    loop {
        let waited = shared
            .wake
            .wait_timeout_while(lock(&shared.work), every, |work| work.begun.is_some());
        let (mut work, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if work.begun.is_none() {
            return;
        }
        let now = Instant::now();
        work.look(now);
        let text = match style {
            Style::Lines => format!("cube: {}", work.words(now).join(", ")),
            _ => work.line(now, columns()),
        };
        // A terminal that is held back must not hold back the work.
        drop(work);
        match style {
            Style::Lines => say(&text),
            _ => draw(&text),
        }
    }
}

impl Work {
    fn done(&self) -> (u64, u64) {
        match self.total_bytes {
            0 => (self.frames, self.total_frames),
            total => (self.bytes, total),
        }
    }

    fn look(&mut self, now: Instant) {
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back((now, self.done().0));
    }

    /// What is done in a second, of late.
    fn rate(&self, now: Instant) -> f64 {
        let then = self.looks.front();
        let (then, before) = match (then, self.begun) {
            (Some(&(then, before)), _) if self.looks.len() == LOOKS => (then, before),
            (_, begun) => (begun.unwrap_or(now), 0),
        };
        let seconds = now.saturating_duration_since(then).as_secs_f64();
        match seconds > 0.0 {
            true => self.done().0.saturating_sub(before) as f64 / seconds,
            false => 0.0,
        }
    }

    /// What there is to say, in the order of a line.
    fn words(&self, now: Instant) -> Vec<String> {
        let (done, total) = self.done();
        let share = 100 * u128::from(done) / u128::from(total.max(1));
        let mut head = self.phase.clone();
        if self.total_frames > 0 {
            head += &format!(" {}/{}", self.frames, self.total_frames);
        }
        let rate = self.rate(now);
        let mut words = vec![head, format!("{share} %")];
        if self.total_bytes > 0 {
            let (done, total) = (show_bytes(done), show_bytes(total));
            words.push(format!("{done} of {total}"));
            words.push(format!("{}/s", show_rate(rate)));
        } else {
            words.push(format!("{rate:.0}/s"));
        }
        words.push(match total.saturating_sub(done) {
            0 => "finishing".to_string(),
            left if rate > 0.0 => format!("{} left", show_time(left as f64 / rate)),
            _ => "waiting".to_string(),
        });
        words
    }

    /// A line that fits so many columns, with a bar when there is room.
    fn line(&self, now: Instant, columns: usize) -> String {
        let room = columns.saturating_sub(1);
        let mut words = self.words(now);
        let (done, total) = self.done();
        // What is missed least goes first: amounts, the rate, then the share.
        while words.join(", ").chars().count() > room && words.len() > 2 {
            words.remove(2.min(words.len() - 2));
        }
        let text = words.join(", ");
        let len = text.chars().count();
        if room < len + LEAST_BAR + 3 {
            return text.chars().take(room).collect();
        }
        let width = (room - len - 3).min(40);
        let full = u128::from(done.min(total)) * width as u128 / u128::from(total.max(1));
        let full = usize::try_from(full).unwrap_or(width);
        let bar = "=".repeat(full) + &"-".repeat(width - full);
        let rest = words.split_off(1).join(", ");
        format!("{} [{bar}] {rest}", words[0])
    }

    /// What a log says when the phase is over.
    fn summary(&self, now: Instant) -> String {
        let seconds = self
            .begun
            .map_or(0.0, |begun| now.duration_since(begun).as_secs_f64());
        let mut text = format!("{}:", self.phase);
        if self.total_frames > 0 {
            text += &format!(" {}/{}", self.frames, self.total_frames);
        }
        if self.total_bytes > 0 {
            text += &format!(" {}", show_bytes(self.bytes));
        }
        text += &format!(" in {seconds:.1} s");
        if self.total_bytes > 0 {
            let rate = self.bytes as f64 / seconds.max(1e-3);
            text += &format!(", {}/s", show_rate(rate));
        }
        text
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast to an integer stops at its ends"
)]
fn show_rate(bytes: f64) -> String {
    show_bytes(bytes as u64)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast to an integer stops at its ends"
)]
fn show_time(seconds: f64) -> String {
    let whole = seconds.ceil() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes}:{seconds:02} min"),
        (1..100, _) => format!("{hours}:{minutes:02} h"),
        _ => format!("{} days", hours / 24),
    }
}

impl Progress for Bar {
    fn begin(&self, phase: &str, frames: u64, bytes: u64) {
        self.end();
        if self.style == Style::Silent {
            return;
        }
        *lock(&self.shared.work) = Work {
            phase: phase.to_string(),
            begun: Some(Instant::now()),
            total_frames: frames,
            total_bytes: bytes,
            ..Work::default()
        };
        let (shared, style) = (self.shared.clone(), self.style);
        let ticker = std::thread::Builder::new().spawn(move || tick(&shared, style));
        // Without a thread there is no progress to see, which harms nothing.
        *lock(&self.ticker) = ticker.ok();
    }

    fn bytes(&self, bytes: u64) {
        if self.style != Style::Silent {
            lock(&self.shared.work).bytes += bytes;
        }
    }

    fn frames(&self, frames: u64) {
        if self.style != Style::Silent {
            lock(&self.shared.work).frames += frames;
        }
    }

    fn end(&self) {
        if let Some(work) = self.stop()
            && self.style == Style::Lines
        {
            say(&format!("cube: {}", work.summary(Instant::now())));
        }
    }

    fn warn(&self, message: &str) {
        self.tell(&format!("warning: {message}"));
    }

    fn tell(&self, message: &str) {
        if self.warns {
            say(&format!("cube: {message}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> (Work, Instant) {
        let begun = Instant::now();
        let work = Work {
            phase: "appending".into(),
            begun: Some(begun),
            frames: 32,
            total_frames: 150,
            bytes: 160_000_000,
            total_bytes: 640_000_000,
            looks: VecDeque::new(),
        };
        (work, begun + Duration::from_secs(2))
    }

    #[test]
    fn a_line_says_phase_frames_amount_rate_and_time_left() {
        let (work, now) = work();
        assert_eq!(
            work.line(now, 200),
            format!(
                "appending 32/150 [{}{}] 25 %, 160 MB of 640 MB, 80.0 MB/s, 6 s left",
                "=".repeat(10),
                "-".repeat(30)
            )
        );
    }

    #[test]
    fn a_line_fits_any_terminal() {
        let (work, now) = work();
        for columns in 1..120 {
            let line = work.line(now, columns);
            assert!(line.chars().count() < columns.max(2), "{columns}: {line}");
        }
        assert_eq!(work.line(now, 40), "appending 32/150, 25 %, 6 s left");
        assert!(work.line(now, 75).contains("80.0 MB/s"));
        assert_eq!(work.line(now, 30), "appending 32/150, 6 s left");
    }

    #[test]
    fn what_is_left_is_told_from_the_rate_of_late() {
        let (mut work, begun) = work();
        // Nothing for a while.
        for tick in 0..LOOKS as u64 {
            work.look(begun + Duration::from_secs(tick));
        }
        let now = begun + Duration::from_secs(LOOKS as u64);
        assert!(work.line(now, 200).ends_with("0 B/s, waiting"));
        work.bytes = work.total_bytes;
        assert!(work.line(now, 200).ends_with("finishing"));
    }

    #[test]
    fn times_are_short() {
        for (seconds, text) in [
            (0.2, "1 s"),
            (59.0, "59 s"),
            (61.0, "1:01 min"),
            (7262.0, "2:01 h"),
            (1e6, "11 days"),
            (f64::INFINITY, "213503982334601 days"),
        ] {
            assert_eq!(show_time(seconds), text);
        }
    }
}
