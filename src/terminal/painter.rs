//! Writes progress to standard error, on a thread of its own.
//!
//! A terminal that does not read (a slow line, Ctrl-S) must not hold up what is measured.

use std::io::Write as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use plimsoll_executor::performance::Progress;
use tokio::sync::watch;

use super::Console;
use super::progress::{Medium, Stroke, Teller};

/// A person cannot read more than five lines a second.
const PAINT_EVERY: Duration = Duration::from_millis(200);

/// Lines that may wait for a terminal that stands still: more than a user can cause.
const LINES: usize = 8;

/// Goes to the line's start and erases it.
const ERASE: &str = "\r\x1b[2K";

/// Shows progress until it is dropped, and leaves no half line behind.
#[derive(Debug)]
pub(crate) struct Painter {
    /// Lines to write between; the painter ends when this is dropped.
    lines: Option<mpsc::SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Painter {
    /// Starts to show what `progress` says of `subject`; shows nothing with `-q`.
    pub(crate) fn start(
        console: &Console,
        subject: String,
        progress: watch::Receiver<Progress>,
    ) -> Self {
        if console.quiet {
            return Self {
                lines: None,
                thread: None,
            };
        }
        let medium = Medium::of(console);
        let (lines, more_lines) = mpsc::sync_channel(LINES);
        let teller = Teller::new(medium, subject);
        let thread = thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || paint(teller, &progress, &more_lines));
        match thread {
            Ok(thread) => Self {
                lines: Some(lines),
                thread: Some(thread),
            },
            Err(error) => {
                tracing::warn!(%error, "no thread to show progress on");
                Self {
                    lines: None,
                    thread: None,
                }
            }
        }
    }

    /// Writes a line that stays, without tearing the one that is rewritten.
    pub(crate) fn line(&self, text: impl Into<String>) {
        if let Some(lines) = &self.lines {
            // Where the painter has ended, or its terminal stands still, nobody sees it.
            lines.try_send(text.into()).ok();
        }
    }
}

impl Drop for Painter {
    fn drop(&mut self) {
        drop(self.lines.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread that shows progress panicked");
        }
    }
}

fn paint(mut teller: Teller, progress: &watch::Receiver<Progress>, lines: &mpsc::Receiver<String>) {
    let mut canvas = Canvas::default();
    loop {
        // A copy, so that the writer is not held up while a terminal is slow.
        let now = progress.borrow().clone();
        if let Some(stroke) = teller.observe(Instant::now(), &now) {
            canvas.draw(&stroke);
        }
        match lines.recv_timeout(PAINT_EVERY) {
            Ok(line) => canvas.draw(&Stroke::Line(line)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    canvas.clear();
}

/// Standard error, and whether its last line is one that will be rewritten.
#[derive(Default)]
pub(super) struct Canvas {
    live: bool,
}

impl Canvas {
    pub(super) fn draw(&mut self, stroke: &Stroke) {
        let erase = if self.live { ERASE } else { "" };
        let text = match stroke {
            Stroke::Line(text) => format!("{erase}{text}\n"),
            Stroke::Live(text) => format!("{erase}{text}"),
        };
        self.live = matches!(stroke, Stroke::Live(_));
        write(&text);
    }

    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.live) {
            write(ERASE);
        }
    }
}

/// Where standard error is gone there is nobody to show progress to: the failure is dropped.
fn write(text: &str) {
    let mut err = std::io::stderr().lock();
    err.write_all(text.as_bytes())
        .and_then(|()| err.flush())
        .ok();
}
