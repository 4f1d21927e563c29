//! When the requests of a stage are due.

use std::collections::VecDeque;
use std::time::Duration;

/// When the requests of the stage under way are due.
pub(super) enum Due {
    Open(std::iter::Peekable<Box<dyn Iterator<Item = i64>>>),
    Closed {
        slots: VecDeque<i64>,
        concurrency: usize,
    },
}

impl Due {
    pub(super) fn next_ns(&mut self) -> Option<i64> {
        match self {
            Self::Open(deadlines) => deadlines.peek().copied(),
            Self::Closed { slots, .. } => slots.front().copied(),
        }
    }

    pub(super) fn take(&mut self) -> Option<i64> {
        match self {
            Self::Open(deadlines) => deadlines.next(),
            Self::Closed { slots, .. } => slots.pop_front(),
        }
    }
}

/// A duration in ns; what no run lasts is cut off.
pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX / 4)
}
