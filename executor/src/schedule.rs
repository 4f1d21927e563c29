//! Jobs that are handed in by themselves, at times that a cron pattern names.
//!
//! [`ScheduleSpec`] is a schedule as it is written, checked; [`Cadence`] says when its **ticks** are. What to
//! do about ticks that are due is decided by [`plan()`], a pure function; [`schedule_always`] asks the store
//! which are, and hands the jobs in. A job of a schedule is like any other, and says which tick it is of.

use std::str::FromStr as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use plimsoll_ingest::{Timestamp, words};
use serde_json::Value;

use crate::job_spec::{Fault, JobSpec, in_one_line};

mod firing;
mod plan;
mod read;

pub use firing::{fire_due, schedule_always};
pub use plan::{Due, LATE_AFTER, MOST_CAUGHT_UP, plan};

words! {
    /// What happens at a tick while an earlier job of the schedule has not ended.
    Overlap, "overlap policy" {
        /// The tick is passed over.
        Skip = "skip",
        /// The job is handed in all the same.
        Queue = "queue",
        /// The earlier job is cancelled.
        Cancel = "cancel",
    }
}

words! {
    /// What happens to ticks at which no scheduler ran.
    CatchUp, "catch-up policy" {
        /// They are passed over.
        None = "none",
        /// The last of them is made up for.
        Last = "last",
        /// Each is made up for.
        All = "all",
    }
}

/// When ticks are: a cron pattern of five fields in a time zone.
///
/// Where clocks go forward over a tick at a fixed time, it is at the next time that the pattern names; where
/// they go back, it is once.
#[derive(Debug, Clone)]
pub struct Cadence {
    cron: Cron,
    zone: Tz,
}

/// Why there are no such ticks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CadenceError {
    /// It is no pattern.
    #[error("`{pattern}` is no cron pattern of five fields, such as `30 2 * * 1-5`: {reason}")]
    Pattern {
        /// What was written.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// It names no moment that there will be.
    #[error("`{pattern}` never fires")]
    Never {
        /// What was written.
        pattern: String,
    },
    /// No such time zone.
    #[error("`{zone}` is no time zone, such as `Europe/Berlin` or `UTC`")]
    Zone {
        /// What was written.
        zone: String,
    },
}

impl Cadence {
    /// Reads a pattern and a time zone; `now` is a moment after which there has to be a tick.
    ///
    /// # Errors
    /// One of them is none, or there is no tick.
    pub fn parse(pattern: &str, zone: &str, now: Timestamp) -> Result<Self, CadenceError> {
        let zone = Tz::from_str(zone).map_err(|_| CadenceError::Zone {
            zone: zone.to_string(),
        })?;
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let bad = |reason: String| CadenceError::Pattern {
            pattern: pattern.to_string(),
            reason,
        };
        let cron = parser
            .parse(pattern)
            .map_err(|error| bad(error.to_string()))?;
        let cadence = Self { cron, zone };
        match cadence.next_after(now) {
            Some(_) => Ok(cadence),
            None => Err(CadenceError::Never {
                pattern: pattern.to_string(),
            }),
        }
    }

    /// The first tick after a moment; `None` where there is none any more.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let moment = DateTime::<Utc>::from_timestamp_micros(moment.micros())?;
        let next = self
            .cron
            .find_next_occurrence(&moment.with_timezone(&self.zone), false);
        Some(Timestamp::from_micros(next.ok()?.timestamp_micros()))
    }
}

/// A schedule that is in order.
#[derive(Debug, Clone)]
pub struct ScheduleSpec {
    /// Its name, which no other has.
    pub name: String,
    /// The pattern, as it was written.
    pub cron: String,
    /// The time zone.
    pub time_zone: String,
    /// A job begins up to so much later than its tick, each by its own time.
    pub jitter: Duration,
    /// What happens while an earlier job has not ended.
    pub overlap: Overlap,
    /// What happens to ticks that were missed.
    pub catch_up: CatchUp,
    /// The job, as it was written.
    pub job: Value,
}

/// A document that describes no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schedule cannot be used: {}", in_one_line(.faults))]
pub struct InvalidSchedule {
    /// All that is wrong; at least one.
    pub faults: Vec<Fault>,
}

impl ScheduleSpec {
    /// Checks a document; `now` is a moment after which there has to be a tick.
    ///
    /// # Errors
    /// All that is wrong with it, its job included.
    pub fn read(document: &Value, now: Timestamp) -> Result<Self, InvalidSchedule> {
        read::read(document, now).map_err(|faults| InvalidSchedule { faults })
    }

    /// When its ticks are.
    ///
    /// # Errors
    /// There are none after `now`.
    pub fn cadence(&self, now: Timestamp) -> Result<Cadence, CadenceError> {
        Cadence::parse(&self.cron, &self.time_zone, now)
    }

    /// Its jitter, as one would write it: `5m`, `0s`.
    pub fn jitter_text(&self) -> String {
        humantime::format_duration(self.jitter).to_string()
    }

    /// Its job for everyone's eyes, every setting in place; `None` where this release cannot read it.
    pub fn public_job(&self) -> Option<Value> {
        JobSpec::read(&self.job, 0)
            .ok()
            .map(|job| job.to_public_json())
    }
}

#[cfg(test)]
mod tests;
