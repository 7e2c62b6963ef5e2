//! The progress bar: on a terminal only, and gone when the work is done.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::say;
use crate::error::Result;
use crate::ops::Progress;

/// Draws a bar on stderr when that is a terminal.
pub(super) struct Bar {
    bar: RefCell<Option<ProgressBar>>,
    total_frames: Cell<u64>,
    frames: Cell<u64>,
    phase: RefCell<String>,
    by_bytes: Cell<bool>,
    /// Say nothing at all but warnings.
    draws: bool,
    warns: bool,
}

impl Bar {
    pub(super) fn new(quiet: bool) -> Bar {
        Bar {
            bar: RefCell::new(None),
            total_frames: Cell::new(0),
            frames: Cell::new(0),
            phase: RefCell::new(String::new()),
            by_bytes: Cell::new(false),
            draws: !quiet && stderr().is_terminal(),
            warns: !quiet,
        }
    }
}

impl Bar {
    /// Text for stdout, which may be the same terminal.
    pub(super) fn print(&self, text: &str) -> Result<()> {
        match self.bar.borrow().as_ref() {
            Some(bar) => bar.suspend(|| super::print(text)),
            None => super::print(text),
        }
    }
}

impl Progress for Bar {
    fn begin(&self, phase: &str, frames: u64, bytes: u64) {
        self.total_frames.set(frames);
        self.frames.set(0);
        *self.phase.borrow_mut() = phase.to_string();
        self.by_bytes.set(bytes > 0);
        if !self.draws {
            return;
        }
        let template = match bytes {
            0 => "{msg} [{wide_bar}] {pos}/{len} frames, {per_sec}, {eta} left",
            _ => {
                "{msg} [{wide_bar}] {decimal_bytes}/{decimal_total_bytes}, \
                 {decimal_bytes_per_sec}, {eta} left"
            }
        };
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=>-");
        let bar = ProgressBar::with_draw_target(
            Some(if bytes > 0 { bytes } else { frames }),
            ProgressDrawTarget::stderr_with_hz(10),
        )
        .with_style(style)
        .with_message(match (frames, bytes) {
            (0, _) | (_, 0) => phase.to_string(),
            _ => format!("{phase} 0/{frames}"),
        });
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.bar.borrow_mut() = Some(bar);
    }

    fn bytes(&self, bytes: u64) {
        if let (Some(bar), true) = (self.bar.borrow().as_ref(), self.by_bytes.get()) {
            bar.inc(bytes);
        }
    }

    fn frames(&self, frames: u64) {
        self.frames.set(self.frames.get() + frames);
        if let Some(bar) = self.bar.borrow().as_ref() {
            match self.by_bytes.get() {
                true => bar.set_message(format!(
                    "{} {}/{}",
                    self.phase.borrow(),
                    self.frames.get(),
                    self.total_frames.get()
                )),
                false => bar.inc(frames),
            }
        }
    }

    fn end(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }

    fn warn(&self, message: &str) {
        self.tell(&format!("warning: {message}"));
    }

    fn tell(&self, message: &str) {
        if !self.warns {
            return;
        }
        match self.bar.borrow().as_ref() {
            Some(bar) => bar.suspend(|| say(&format!("cube: {message}"))),
            None => say(&format!("cube: {message}")),
        }
    }
}
