//! A query that runs again in smaller batches, where the usual ones would be too large.

use std::sync::{Arc, Mutex};

/// How many rows the batches of a query have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batches {
    /// Of those that joins make.
    pub(super) joined: usize,
    /// Of all others.
    pub(super) others: usize,
}

impl Batches {
    /// As many as the engine puts into one.
    pub(crate) const USUAL: Self = Self {
        joined: usize::MAX,
        others: usize::MAX,
    };

    /// Rows of a batch, where the engine would take `usual`.
    pub(crate) fn rows(self, usual: usize) -> usize {
        self.others.min(usual)
    }

    fn and(self, other: Self) -> Self {
        Self {
            joined: self.joined.min(other.joined),
            others: self.others.min(other.others),
        }
    }
}

/// One way through a query. It may ask for smaller batches for as long as nobody has read of it.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    batches: Batches,
    phase: Arc<Mutex<Phase>>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Unread,
    Read,
    /// It ends, and the next has such batches.
    Given(Batches),
}

impl Attempt {
    pub(crate) fn with(batches: Batches) -> Self {
        Self {
            batches,
            phase: Arc::new(Mutex::new(Phase::Unread)),
        }
    }

    /// Its batches.
    pub(crate) fn batches(&self) -> Batches {
        self.batches
    }

    /// Before its first rows are handed on: whether they may be.
    pub(crate) fn begin_reading(&self) -> bool {
        let mut phase = self.phase.lock().expect("nobody panics holding it");
        match *phase {
            Phase::Given(_) => false,
            Phase::Unread | Phase::Read => {
                *phase = Phase::Read;
                true
            }
        }
    }

    /// Whether there will be another attempt in such batches, so that this one may end.
    pub(super) fn gives_way_to(&self, batches: Batches) -> bool {
        let mut phase = self.phase.lock().expect("nobody panics holding it");
        let batches = match *phase {
            Phase::Read => return false,
            Phase::Unread => batches,
            Phase::Given(before) => batches.and(before),
        };
        *phase = Phase::Given(batches);
        true
    }

    /// The attempt that is to follow, if one is.
    pub(crate) fn next(&self) -> Option<Self> {
        let phase = self.phase.lock().expect("nobody panics holding it");
        match *phase {
            Phase::Given(batches) => Some(Self::with(batches.and(self.batches))),
            Phase::Unread | Phase::Read => None,
        }
    }
}
