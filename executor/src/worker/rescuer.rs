//! Puts tasks back whose worker was lost, and ends jobs whose time is over.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use super::{Failures, Warn};
use plimsoll_ingest::{JobId, TaskId};

use crate::control::{Caller, Expired, Store, StoreError};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A lease that ran out is taken away, and a job past its deadline ended, once it was seen so for this long, by a clock that does not jump:
/// its worker may have been renewing it all the time, and only the store's clock went ahead.
const SEEN_FOR: Duration = Duration::from_secs(5);

/// Rescues tasks for as long as it is waited for. Any number of processes may do so at once.
pub async fn rescue_always(store: &Store, warn: &Warn) -> Infallible {
    let mut seen = Seen::default();
    let mut failures = Failures::default();
    loop {
        let wait = match seen.look(store).await {
            Ok(()) => {
                failures = Failures::default();
                LOOK_EVERY
            }
            Err(error) => failures.next_of(&error, warn),
        };
        tokio::time::sleep(wait).await;
    }
}

/// What was seen to be over, and since when.
#[derive(Default)]
struct Seen {
    leases: HashMap<TaskId, (Expired, Instant)>,
    deadlines: HashMap<JobId, Instant>,
}

impl Seen {
    async fn look(&mut self, store: &Store) -> Result<(), StoreError> {
        let before = std::mem::take(&mut self.leases);
        for expired in store.expired().await? {
            let since = match before.get(&expired.task) {
                Some((same, since)) if *same == expired => *since,
                _ => Instant::now(),
            };
            if since.elapsed() < SEEN_FOR {
                self.leases.insert(expired.task, (expired, since));
            } else if store.rescue(&expired).await? {
                tracing::info!(task = %expired.task, worker = expired.worker, "a worker was lost");
            }
        }
        let before = std::mem::take(&mut self.deadlines);
        for job in store.past_deadline().await? {
            let since = before.get(&job).copied().unwrap_or_else(Instant::now);
            if since.elapsed() < SEEN_FOR {
                self.deadlines.insert(job, since);
                continue;
            }
            let caller = Caller::part("deadline");
            store
                .cancel(job, &caller, Some("its deadline is past"))
                .await?;
        }
        store.wake_lanes().await?;
        Ok(())
    }
}
