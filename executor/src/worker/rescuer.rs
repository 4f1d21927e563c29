//! Puts tasks back whose worker was lost, and ends jobs whose time is over.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use super::{Failures, Warn};
use crate::control::{Caller, Expired, Store, StoreError};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A lease that ran out is taken away once it was seen so for this long, by a clock that does not jump:
/// its worker may have been renewing it all the time, and only the store's clock went ahead.
const SEEN_FOR: Duration = Duration::from_secs(5);

/// Rescues tasks for as long as it is waited for. Any number of processes may do so at once.
pub async fn rescue_always(store: &Store, warn: &Warn) -> Infallible {
    let mut seen: Vec<(Expired, Instant)> = Vec::new();
    let mut failures = Failures::default();
    loop {
        let wait = match look(store, &mut seen).await {
            Ok(()) => {
                failures = Failures::default();
                LOOK_EVERY
            }
            Err(error) => failures.next_of(&error, warn),
        };
        tokio::time::sleep(wait).await;
    }
}

async fn look(store: &Store, seen: &mut Vec<(Expired, Instant)>) -> Result<(), StoreError> {
    let before: HashMap<_, _> = seen
        .drain(..)
        .map(|(expired, since)| (expired.task, (expired, since)))
        .collect();
    for expired in store.expired().await? {
        let since = match before.get(&expired.task) {
            Some((same, since)) if *same == expired => *since,
            _ => Instant::now(),
        };
        if since.elapsed() < SEEN_FOR {
            seen.push((expired, since));
        } else if store.rescue(&expired).await? {
            tracing::info!(task = %expired.task, worker = expired.worker, "a worker was lost");
        }
    }
    for job in store.past_deadline().await? {
        store
            .cancel(job, &Caller::part("deadline"), Some("its deadline is past"))
            .await?;
    }
    Ok(())
}
