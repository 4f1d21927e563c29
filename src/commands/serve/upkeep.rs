//! Maintenance beside the service, now and then.

use std::convert::Infallible;
use std::time::Duration;

use plimsoll_warehouse::{Chore, MaintenanceError, WarehouseOptions, maintain};

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
    let mut said = String::new();
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
                Ok(done) => {
                    for (table, done) in done {
                        console.note(&format!("note: maintained {table}: {done}"));
                    }
                    said.clear();
                }
                Err(MaintenanceError::Held { .. } | MaintenanceError::NoWarehouse { .. }) => {}
                Err(error) => {
                    let warning = format!("warning: maintenance failed: {error}");
                    if said != warning {
                        say(&warning);
                        said = warning;
                    }
                }
            }
        }
        tokio::time::sleep(every).await;
    }
    std::future::pending().await
}

fn options() -> WarehouseOptions {
    WarehouseOptions {
        memory_limit: MEMORY,
        threads: 1,
        ..WarehouseOptions::default()
    }
}
