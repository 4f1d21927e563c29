//! Hands in the jobs of ticks that are due.

use std::convert::Infallible;
use std::time::Duration;

use plimsoll_ingest::{Timestamp, Trigger};
use sha2::{Digest as _, Sha256};

use super::{Due, plan};
use crate::control::{Caller, Fired, Schedule, Store, StoreError, Tick};
use crate::dispatch::new_job;
use crate::job_spec::JobSpec;
use crate::performance::fresh_seed;
use crate::worker::{Failures, Warn};

/// How often it is looked for ticks that are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Hands jobs in for as long as it is waited for. Any number of processes may do so at once: each tick has
/// one job.
pub async fn schedule_always(store: &Store, warn: &Warn) -> Infallible {
    let mut failures = Failures::default();
    loop {
        let wait = match fire_due(store).await {
            Ok(()) => {
                failures = Failures::default();
                LOOK_EVERY
            }
            Err(error) => failures.next_of(&error, warn),
        };
        tokio::time::sleep(wait).await;
    }
}

/// Hands in the jobs of all ticks that are due by now.
///
/// # Errors
/// The store cannot be used. What was handed in before is.
pub async fn fire_due(store: &Store) -> Result<(), StoreError> {
    loop {
        let (now, due) = store.due_schedules().await?;
        let mut fired = false;
        let mut failed = None;
        for schedule in due {
            // One that fails keeps no other from its ticks.
            match fire(store, &schedule, now).await {
                Ok(done) => fired |= done,
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        // Each is looked at anew: there may be more ticks to make up for.
        if !fired {
            return Ok(());
        }
    }
}

/// Does what is due of one schedule. False where nothing was.
async fn fire(store: &Store, schedule: &Schedule, now: Timestamp) -> Result<bool, StoreError> {
    let Some(next) = schedule.next_at else {
        return Ok(false);
    };
    let spec = &schedule.spec;
    let caller = Caller {
        actor: schedule.created_by.clone(),
        source: Some(format!("schedule {}", spec.name)),
    };
    // It was checked when it was made; a later release may see it otherwise.
    let checked = spec.cadence(now).map_err(|error| error.to_string());
    let checked = checked.and_then(|cadence| {
        let job = JobSpec::read(&spec.job, fresh_seed()).map_err(|error| error.to_string())?;
        Ok((cadence, job))
    });
    let (cadence, job) = match checked {
        Ok(checked) => checked,
        Err(reason) => {
            store.stop_schedule(schedule, &caller, &reason).await?;
            return Ok(true);
        }
    };
    let Some(due) = plan(&cadence, spec.catch_up, next, now) else {
        return Ok(false);
    };
    let Due {
        tick,
        missed,
        last,
        next,
    } = due;
    let job = tick.map(|tick| {
        let mut job = new_job(&spec.job, &job, Trigger::Schedule);
        job.tick = Some(Tick {
            schedule: spec.name.clone(),
            at: tick,
        });
        let begins = later(tick, jitter(&spec.name, tick, spec.jitter));
        job.not_before = Some(begins).filter(|begins| *begins > now);
        job
    });
    let fired = store
        .fire(schedule, job.as_ref(), (last, next), missed, &caller)
        .await?;
    Ok(fired != Fired::Overtaken)
}

fn later(tick: Timestamp, by: Duration) -> Timestamp {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(tick.micros().saturating_add(micros))
}

/// A time below `most` that belongs to this tick alone: the same for every scheduler.
fn jitter(name: &str, tick: Timestamp, most: Duration) -> Duration {
    let digest = Sha256::digest(format!("{name} {}", tick.micros()));
    let mut bytes = [0u8; 8];
    bytes.copy_from_slice(&digest[..8]);
    let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(u64::from_le_bytes(bytes).checked_rem(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_spread_and_always_the_same() {
        let most = Duration::from_secs(60);
        let of = |second: i64| jitter("nightly", Timestamp::from_micros(second * 1_000_000), most);
        let all: Vec<Duration> = (0..100).map(of).collect();
        assert!(all.iter().all(|time| *time < most));
        assert!(all.iter().any(|time| *time > most / 2) && all.iter().any(|time| *time < most / 2));
        assert_eq!(of(7), of(7));
        assert_eq!(
            jitter("nightly", Timestamp::from_micros(1), Duration::ZERO),
            Duration::ZERO
        );
    }
}
