//! The simulator's truth log: when each chunk really left, on the clock that all processes share.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// What the simulator logged, by request id.
#[derive(Default)]
pub(crate) struct TruthLog {
    by_id: HashMap<String, Truth>,
}

/// One request, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Truth {
    /// When the first content was planned to leave.
    pub(crate) first_token_due_ns: i64,
    /// When it left.
    pub(crate) first_token_sent_ns: i64,
}

impl TruthLog {
    /// Reads a log to its end.
    ///
    /// # Errors
    /// Where the file cannot be read or a line is not the log's.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::parse(BufReader::new(file)).with_context(|| format!("in {}", path.display()))
    }

    /// What is known of one request; `None` where it never got a token.
    pub(crate) fn of(&self, request_id: &str) -> Option<Truth> {
        self.by_id.get(request_id).copied()
    }

    fn parse(log: impl BufRead) -> Result<Self> {
        let mut truth = Self::default();
        for line in log.lines() {
            let line = line.context("cannot be read")?;
            let entry: Entry = serde_json::from_str(&line).with_context(|| line.clone())?;
            if let Some(known) = entry.first_token() {
                truth.by_id.insert(entry.request_id, known);
            }
        }
        Ok(truth)
    }
}

/// What this benchmark needs of a line. The lists have one entry per event that left.
#[derive(Deserialize)]
struct Entry {
    request_id: String,
    tokens: Vec<u32>,
    due_ns: Vec<i64>,
    mono_ns: Vec<i64>,
}

impl Entry {
    /// The first event that carried a token: a role alone carries none.
    fn first_token(&self) -> Option<Truth> {
        let first = self.tokens.iter().position(|tokens| *tokens > 0)?;
        Some(Truth {
            first_token_due_ns: *self.due_ns.get(first)?,
            first_token_sent_ns: *self.mono_ns.get(first)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_chunk_with_tokens_counts() {
        let log = concat!(
            r#"{"request_id":"a/1","tokens":[0,1,1],"due_ns":[1,3,9],"mono_ns":[2,5,9]}"#,
            "\n",
            r#"{"request_id":"a/2","tokens":[],"due_ns":[],"mono_ns":[]}"#,
            "\n"
        );
        let truth = TruthLog::parse(log.as_bytes()).expect("both lines are the log's");
        let first = Truth {
            first_token_due_ns: 3,
            first_token_sent_ns: 5,
        };
        assert_eq!(truth.of("a/1"), Some(first));
        assert_eq!(truth.of("a/2"), None);
    }

    #[test]
    fn a_broken_line_is_no_silent_gap() {
        assert!(TruthLog::parse("{\"request_id\":\"a/1\"".as_bytes()).is_err());
    }
}
