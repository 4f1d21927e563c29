//! Takes in what was published, again and again.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_warehouse::Warehouse;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::health::Health;
use super::problem::in_one_line;

/// A refresh that takes longer than this hangs on storage.
const PATIENCE: Duration = Duration::from_secs(30);

/// Refreshes the warehouse every `interval` until nobody listens to `health`
/// any more. A failure is logged when it begins, when it changes and when it
/// ends; what was read last stays readable meanwhile.
pub(super) async fn forever(
    warehouse: Arc<Warehouse>,
    interval: Duration,
    health: watch::Sender<Health>,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = health.closed() => return,
            _ = ticks.tick() => {}
        }
        let now = match tokio::time::timeout(PATIENCE, warehouse.refresh()).await {
            Ok(Ok(())) => Health::Ready,
            Ok(Err(error)) => Health::Unreadable {
                reason: in_one_line(&error),
                help: error.help(),
            },
            Err(_) => Health::Unreadable {
                reason: format!("storage gave no answer within {} s", PATIENCE.as_secs()),
                help: "check that the place of the warehouse is there".to_string(),
            },
        };
        health.send_if_modified(|before| {
            let has_changed = *before != now;
            if has_changed {
                log_change(before, &now);
                *before = now;
            }
            has_changed
        });
    }
}

fn log_change(before: &Health, now: &Health) {
    match (before, now) {
        (Health::Unreadable { .. }, Health::Ready) => {
            tracing::info!("the warehouse can be read again");
        }
        (_, Health::Unreadable { reason, help }) => {
            tracing::warn!(%help, "the warehouse cannot be read: {reason}");
        }
        (_, Health::Ready | Health::Starting) => {}
    }
}
