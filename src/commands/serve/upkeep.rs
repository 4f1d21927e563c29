//! Maintenance beside the service, now and then.

use std::convert::Infallible;
use std::time::Duration;

use plimsoll_warehouse::{Chore, Maintained, MaintenanceError, WarehouseOptions, maintain};

use crate::commands::warehouse::VACUUM_AFTER;
use crate::settings::Settings;
use crate::terminal::{Console, say};

/// The first time comes so soon, for a service that is often started anew.
const FIRST_AFTER: Duration = Duration::from_secs(60);

/// It must not take from queries what they need.
const MEMORY: usize = 256 << 20;

/// Files are looked for once in so many times; it lists whole folders.
const VACUUM_ONCE_IN: u32 = 24;

/// Maintains the warehouse for as long as it is waited for, as often as the settings say; never
/// where they say so. That somebody else does is no warning, and no warning is given twice.
pub(super) async fn maintain_always(settings: &Settings, console: &Console) -> Infallible {
    let Some(every) = settings.serve.maintain else {
        return std::future::pending().await;
    };
    let mut said = Vec::new();
    tokio::time::sleep(FIRST_AFTER.min(every)).await;
    for turn in 0u32.. {
        let retention = settings.retention.clone();
        let mut chores = vec![Chore::Optimize { retention }];
        if turn.is_multiple_of(VACUUM_ONCE_IN) {
            chores.push(Chore::Vacuum {
                older_than: VACUUM_AFTER,
                dry_run: false,
            });
        }
        for chore in chores {
            match maintain(&settings.warehouse, options(), chore).await {
                Ok(Maintained { done, failed }) => {
                    for (table, done) in done {
                        console.note(&format!("note: maintained {table}: {done}"));
                    }
                    let warnings = failed.iter().map(|(table, error)| {
                        format!("warning: {table} cannot be maintained: {error}")
                    });
                    tell_news(&mut said, warnings.collect());
                }
                Err(MaintenanceError::Held { .. } | MaintenanceError::NoWarehouse { .. }) => {}
                Err(error) => {
                    tell_news(
                        &mut said,
                        vec![format!("warning: maintenance failed: {error}")],
                    );
                }
            }
        }
        tokio::time::sleep(every).await;
    }
    std::future::pending().await
}

/// Says the warnings that were not said the last time.
fn tell_news(said: &mut Vec<String>, warnings: Vec<String>) {
    for warning in warnings.iter().filter(|warning| !said.contains(*warning)) {
        say(warning);
    }
    *said = warnings;
}

fn options() -> WarehouseOptions {
    WarehouseOptions {
        memory_limit: MEMORY,
        threads: 1,
        ..WarehouseOptions::default()
    }
}
