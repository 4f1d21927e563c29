//! How a command ends: its exit code, and the two lines that say why it failed.

use std::fmt;
use std::io;
use std::process::ExitCode;

pub(crate) use plimsoll_ingest::storage::chain;
use plimsoll_ingest::{Verdict, storage};

/// How a command ended, as the shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The work was done (0). Says nothing of a model.
    Done,
    /// The work could not be done (1).
    Failed,
    /// The command line or the settings are wrong (2).
    Usage,
    /// The user ended it (130).
    Cancelled,
    /// A measurement ended with this verdict (0, or 3 to 6, 1 or 130).
    Measured(Verdict),
}

impl Exit {
    /// The process's exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Cancelled => 130,
            Self::Measured(verdict) => verdict.exit_code(),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command stopped early: one line for what happened, one for what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    exit: Exit,
    message: Option<Message>,
}

#[derive(Debug, PartialEq, Eq)]
struct Message {
    error: String,
    help: String,
}

impl Failure {
    /// The work could not be done: exit code 1.
    pub(crate) fn failed(error: impl fmt::Display, help: impl Into<String>) -> Self {
        Self::with(Exit::Failed, error, help)
    }

    /// The command line or the settings are wrong: exit code 2.
    pub(crate) fn usage(error: impl fmt::Display, help: impl Into<String>) -> Self {
        Self::with(Exit::Usage, error, help)
    }

    /// The user ended the command: exit code 130, and nothing to say, since they know.
    pub(crate) fn cancelled() -> Self {
        Self {
            exit: Exit::Cancelled,
            message: None,
        }
    }

    /// Standard output could not be written.
    ///
    /// A closed pipe (`| head`) is no failure: the reader has what it wanted.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                exit: Exit::Done,
                message: None,
            };
        }
        Self::failed(
            format_args!("standard output cannot be written: {error}"),
            "is the disk full that it is redirected to?",
        )
    }

    fn with(exit: Exit, error: impl fmt::Display, help: impl Into<String>) -> Self {
        Self {
            exit,
            message: Some(Message {
                error: one_line(&error.to_string()),
                help: one_line(&help.into()),
            }),
        }
    }

    /// How the command ends.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What happened; `None` where the user knows.
    pub(crate) fn error(&self) -> Option<&str> {
        Some(&self.message.as_ref()?.error)
    }

    /// What to do about it; `None` where the user knows.
    pub(crate) fn help(&self) -> Option<&str> {
        Some(&self.message.as_ref()?.help)
    }

    /// The two lines for standard error; nothing where there is nothing to say.
    pub(crate) fn lines(&self) -> Option<String> {
        let message = self.message.as_ref()?;
        Some(format!("error: {}\nhelp:  {}", message.error, message.help))
    }
}

/// The same words on one line: messages of libraries may have several, and the frames of a stack.
fn one_line(text: &str) -> String {
    let text = storage::without_frames(text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_two_lines() {
        let failure = Failure::failed("no such\n  place", "make\nit");
        assert_eq!(
            failure.lines().as_deref(),
            Some("error: no such place\nhelp:  make it")
        );
        assert_eq!(failure.exit().code(), 1);
        let failure = Failure::failed("torn\n   0: a::frame\n             at a.rs:1", "mend it");
        let lines = failure.lines();
        assert_eq!(lines.as_deref(), Some("error: torn\nhelp:  mend it"));
    }

    #[test]
    fn exit_codes_are_the_contracts() {
        let cases = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::Cancelled, 130),
            (Exit::Measured(Verdict::Passed), 0),
            (Exit::Measured(Verdict::Degraded), 3),
            (Exit::Measured(Verdict::Blocked), 4),
            (Exit::Measured(Verdict::Invalid), 5),
            (Exit::Measured(Verdict::Incomplete), 6),
            (Exit::Measured(Verdict::Error), 1),
            (Exit::Measured(Verdict::Cancelled), 130),
        ];
        for (exit, code) in cases {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((closed.exit(), closed.lines()), (Exit::Done, None));

        let full = Failure::output(&io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.exit(), Exit::Failed);
    }

    #[test]
    fn a_chain_says_each_cause_once() {
        #[derive(Debug)]
        struct Outer(io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("cannot open the table")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        assert_eq!(
            chain(&Outer(io::Error::other("disk on fire"))),
            "cannot open the table: disk on fire"
        );
    }
}
