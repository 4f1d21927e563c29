//! The control store: what jobs there are, and who works on what.
//!
//! It is the contract between those who hand jobs in, workers and schedulers: they share no memory,
//! only this [`Store`], which is a SQLite database or a PostgreSQL server. Must not know what a suite
//! is, model servers or the warehouse. Start at [`Store`], then `accept`, `claim` and `lease`.
//!
//! What holds, whatever is killed when:
//! - a job that was accepted is there;
//! - a task is leased to one worker at a time, whose **fence** is higher than any before; a write with
//!   an older fence changes nothing;
//! - a task is begun at most as often as it may be, then it is settled and ends;
//! - a task that has ended stays as it is;
//! - tasks that need a lane for themselves have it, and a host makes one performance load at a time;
//! - a tick of a schedule has one job at most;
//! - a task is passed over at most [`BYPASSES`] times by those that came later, besides those that were
//!   there before it.

mod accept;
mod cancel;
mod claim;
mod clock;
mod database;
mod error;
mod event;
mod jobs;
mod lease;
mod migration;
mod record;
mod rescue;
mod schedules;
mod url;

pub use accept::{Accepted, BYPASSES, NewJob, NewTask, Tick};
pub use cancel::Cancelled;
pub use claim::{Errand, LEASE, LONGEST_WAIT, Lease, Worker};
pub use clock::{Clock, SetClock};
pub use database::Store;
pub use error::{FindJobError, StoreError};
pub use event::Caller;
pub use jobs::{Depth, Unbrought};
pub use lease::{Began, Held, TaskEnd, Wishes};
pub use record::{Job, JobState, Priority, Task, TaskState};
pub use rescue::Expired;
pub use schedules::{Fired, Schedule};
pub use url::{ControlUrl, ControlUrlError};
