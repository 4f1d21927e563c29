//! What time it is for the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use plimsoll_ingest::Timestamp;

/// Where the store takes the time from.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The database's own: one clock for all hosts that share a server. A SQLite database has this
    /// process's.
    #[default]
    Database,
    /// One that is set by hand.
    Set(SetClock),
}

/// A clock that stands still until it is set; its clones are one clock.
#[derive(Debug, Clone)]
pub struct SetClock(Arc<AtomicI64>);

impl SetClock {
    /// A clock that shows this moment.
    pub fn at(moment: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(moment.micros())))
    }

    /// The moment that it shows.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    /// Shows another moment, which may lie before the last.
    pub fn set(&self, moment: Timestamp) {
        self.0.store(moment.micros(), Ordering::SeqCst);
    }
}
