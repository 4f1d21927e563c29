//! What to do about ticks that are due.

use std::time::Duration;

use plimsoll_ingest::Timestamp;

use super::{Cadence, CatchUp};

/// A tick that was handled later than this was missed: no scheduler ran.
pub const LATE_AFTER: Duration = Duration::from_secs(60);
/// Ticks that are made up for at a time, at most; earlier ones are passed over.
pub const MOST_CAUGHT_UP: usize = 100;

/// What is due of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The tick to hand a job in for; `None` where all that were due are passed over.
    pub tick: Option<Timestamp>,
    /// How many ticks before it are passed over.
    pub missed: u64,
    /// The last of those, or the tick itself.
    pub last: Timestamp,
    /// The tick after that: the next one to be due.
    pub next: Option<Timestamp>,
}

/// What to do first, of a schedule whose next tick was at `next`; `None` where that is still to come.
pub fn plan(cadence: &Cadence, catch_up: CatchUp, next: Timestamp, now: Timestamp) -> Option<Due> {
    if next > now {
        return None;
    }
    // How many there are in all decides only where each is made up for.
    let mut due = vec![next];
    let mut passed_over: u64 = 0;
    let mut following = cadence.next_after(next);
    while let Some(tick) = following.filter(|tick| *tick <= now) {
        due.push(tick);
        if due.len() > MOST_CAUGHT_UP {
            due.remove(0);
            passed_over += 1;
        }
        following = cadence.next_after(tick);
    }
    let last = *due.last()?;
    let late = i64::try_from(LATE_AFTER.as_micros()).unwrap_or(i64::MAX);
    let is_late = now.micros().saturating_sub(last.micros()) > late;
    Some(match catch_up {
        CatchUp::All => Due {
            tick: Some(due[0]),
            missed: passed_over,
            last: due[0],
            next: due.get(1).copied().or(following),
        },
        CatchUp::None if is_late => Due {
            tick: None,
            missed: passed_over + due.len() as u64,
            last,
            next: following,
        },
        CatchUp::None | CatchUp::Last => Due {
            tick: Some(last),
            missed: passed_over + due.len() as u64 - 1,
            last,
            next: following,
        },
    })
}
