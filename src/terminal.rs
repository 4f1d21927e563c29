//! Where text goes, and what that place can show.
//!
//! Results go to standard output, all else to standard error.

pub(crate) mod line;
pub(crate) mod painter;
pub(crate) mod progress;
pub(crate) mod table;
mod waiting;

use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};
use plimsoll_query_api::report::TerminalStyle;

use crate::cli::Global;
use crate::failure::Failure;

/// Columns where nobody can be asked: pipes, files.
const USUAL_WIDTH: usize = 80;

/// Columns that a report never goes beyond: long lines are hard to read.
const WIDEST: usize = 120;

/// What one of the two outputs can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Surface {
    /// A person looks at it.
    pub(crate) is_terminal: bool,
    /// Columns.
    pub(crate) width: usize,
    /// Whether colours are understood and wanted.
    pub(crate) colour: bool,
}

/// How the program speaks: what was asked for, and what the outputs can show.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    /// Results as JSON.
    pub(crate) json: bool,
    /// No progress, no notes.
    pub(crate) quiet: bool,
    /// Log lines are shown.
    pub(crate) logging: bool,
    /// Standard output.
    pub(crate) stdout: Surface,
    /// Standard error.
    pub(crate) stderr: Surface,
}

impl Console {
    /// Looks at the outputs of this process.
    pub(crate) fn detect(global: &Global) -> Self {
        let stdout = io::stdout();
        let stderr = io::stderr();
        Self {
            json: global.json,
            quiet: global.quiet,
            logging: global.verbose > 0,
            stdout: Surface {
                is_terminal: stdout.is_terminal(),
                width: terminal_size::terminal_size_of(&stdout).map_or(USUAL_WIDTH, columns),
                colour: AutoStream::choice(&stdout) != ColorChoice::Never,
            },
            stderr: Surface {
                is_terminal: stderr.is_terminal(),
                width: terminal_size::terminal_size_of(&stderr).map_or(USUAL_WIDTH, columns),
                colour: AutoStream::choice(&stderr) != ColorChoice::Never,
            },
        }
    }

    /// Writes a result and the end of its line to standard output.
    ///
    /// # Errors
    /// It cannot be written; a closed pipe ends the command quietly.
    pub(crate) fn result(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// Writes a value as one line of JSON to standard output.
    ///
    /// # Errors
    /// As [`Console::result`].
    pub(crate) fn json(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::failed(error, "please report this as a bug"))?;
        self.result(&text)
    }

    /// Tells the person something that is no result; silent with `-q`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    /// How a report is laid out on standard output.
    pub(crate) fn report_style(&self) -> TerminalStyle {
        TerminalStyle {
            width: self.stdout.width.min(WIDEST),
            colour: self.stdout.colour,
        }
    }
}

/// Writes styled text to standard output, with its styles where they are understood.
///
/// # Errors
/// It cannot be written; a closed pipe ends the command quietly.
pub(crate) fn show(text: &str) -> Result<(), Failure> {
    writeln!(AutoStream::auto(io::stdout().lock()), "{text}")
        .map_err(|error| Failure::output(&error))
}

/// Writes a line to standard error, with its styles where they are understood.
///
/// Where that fails there is nobody left to tell, so that the failure is dropped.
pub(crate) fn say(text: &str) {
    writeln!(AutoStream::auto(io::stderr().lock()), "{text}").ok();
}

fn columns((width, _): (terminal_size::Width, terminal_size::Height)) -> usize {
    match width.0 {
        // Some terminals do not know their size and say zero.
        0 => USUAL_WIDTH,
        width => usize::from(width),
    }
}

/// Writes the two lines of a failure to standard error; nothing where it has none.
pub(crate) fn tell_failure(failure: &Failure) {
    const RED: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();
    if let Some(lines) = failure.lines() {
        let text = lines.strip_prefix("error:").unwrap_or(&lines);
        say(&format!("{RED}error:{RED:#}{text}"));
    }
}
