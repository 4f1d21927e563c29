//! Keeping a warehouse small and quick to open, while others read and write it.
//!
//! - **Compaction** puts the small files of closed days into few, sorted ones.
//! - **Retention** takes whole days out of tables that are not kept for ever.
//! - **Checkpoints** sum up the log, so that opening a table stays quick; log
//!   entries and application transactions past their time go with them.
//! - **Vacuum** deletes files that no version of a table needs any more.
//!
//! All of it happens under one lease ([`lease`]), and every commit carries the
//! application transaction `maintenance` with the lease's fence as version:
//! Delta itself lets two compactions of the same files both land, which would
//! double their rows.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plimsoll_ingest::{Table, WarehouseLocation, WarehouseStore, delta, storage};
use tokio::time::Instant;

use crate::engine::{Engine, WarehouseOptions};
use crate::error::OpenError;
use crate::runtime::QueryRuntime;
use crate::snapshots::RunKeys;

pub(crate) mod commit;
pub(crate) mod compact;
pub(crate) mod expire;
mod lease;
mod vacuum;

use lease::Lease;

pub use expire::Retention;

/// A lease that is not renewed for so long is nobody's.
const LEASE_LASTS: Duration = Duration::from_secs(60);

/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// Host and storage may differ so much before nothing is done by either's clock.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Why maintenance did not do what it was to do. Nothing is half done: each
/// commit lands whole or not at all.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// Somebody else maintains the warehouse.
    #[error("{holder} has maintained this warehouse since {since}")]
    Held {
        /// Host and process.
        holder: String,
        /// When its lease was taken or last renewed.
        since: String,
        /// The lease expires so long after that.
        expires_after: Duration,
    },
    /// The lease expired in the middle of it.
    #[error("the lease of maintenance was lost: it was not renewed in time")]
    LeaseLost,
    /// The clocks of this host and of storage are too far apart to tell ages.
    #[error("the clocks of this host and of the warehouse's storage differ by {seconds} s")]
    Clocks {
        /// By how much.
        seconds: u64,
    },
    /// There is no warehouse at the place.
    #[error("{location} holds no warehouse")]
    NoWarehouse {
        /// The place.
        location: String,
    },
    /// A table cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A table's rows are not what its log says.
    #[error("table `{table}`: {what}")]
    Rows {
        /// The table.
        table: Table,
        /// What differs.
        what: String,
    },
    /// Storage, or a table's log, failed.
    #[error("{reason}")]
    Storage {
        /// Why.
        reason: String,
        /// What to do about it, where the cause lies in storage.
        help: Option<&'static str>,
    },
}

impl MaintenanceError {
    fn storage(error: impl std::error::Error + 'static) -> Self {
        let reason = match storage::failure(&error) {
            Some(failure) => failure.to_string(),
            None => storage::chain(&error),
        };
        let help = storage::help(&error);
        Self::Storage { reason, help }
    }

    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        match self {
            Self::Held { expires_after, .. } => format!(
                "let it finish; if it is no more, its lease expires {} s after that",
                expires_after.as_secs()
            ),
            Self::LeaseLost => "run it again; what was committed stays".into(),
            Self::Clocks { .. } => "set this host's clock right".into(),
            Self::NoWarehouse { .. } => {
                "`plimsoll warehouse init` makes one, and so does the first run".into()
            }
            Self::Open(error) => error.help(),
            Self::Rows { .. } => "`plimsoll warehouse check` says what is wrong".into(),
            Self::Storage { help, .. } => help
                .unwrap_or("check that the place is right and that you may write it")
                .into(),
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Chore {
    /// Compaction, retention and checkpoints of every table.
    Optimize {
        /// How long tables are kept.
        retention: Retention,
    },
    /// Deleting files that nothing needs.
    Vacuum {
        /// Files that no version needs stay for so long.
        older_than: Duration,
        /// Only count them.
        dry_run: bool,
    },
}

/// What was done to one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Files that were put together, and the files that they became.
    pub compacted: (usize, usize),
    /// Files of days past the table's retention.
    pub expired: usize,
    /// Whether its log was summed up.
    pub checkpoint: bool,
    /// Entries of the log that were deleted.
    pub log_entries: usize,
    /// Data files that were deleted.
    pub vacuumed: usize,
    /// Data files that a dry run would have deleted.
    pub deletable: usize,
}

impl Done {
    /// Whether there was anything to do.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.compacted;
        let parts = [
            (from > 0).then(|| format!("{from} files became {to}")),
            (self.expired > 0).then(|| format!("{} files past retention", self.expired)),
            (self.log_entries > 0).then(|| format!("{} log entries deleted", self.log_entries)),
            self.checkpoint.then(|| "checkpoint".to_string()),
            (self.vacuumed > 0).then(|| format!("{} files deleted", self.vacuumed)),
            (self.deletable > 0).then(|| format!("{} files to delete", self.deletable)),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

/// What maintenance works with.
struct Work {
    store: WarehouseStore,
    engine: Engine,
    fence: Arc<AtomicU64>,
    /// The time by storage's clock, when it began.
    now: chrono::DateTime<chrono::Utc>,
}

impl Work {
    fn fence(&self) -> u64 {
        self.fence.load(Ordering::Acquire)
    }
}

/// What a chore came to.
#[derive(Debug, Default)]
pub struct Maintained {
    /// What was done to which table; tables of which nothing was left to do are left out.
    pub done: Vec<(Table, Done)>,
    /// Tables with which it failed, and why. The others were maintained all the same.
    pub failed: Vec<(Table, MaintenanceError)>,
}

/// Does a chore in the warehouse at `location`, on threads of its own and under
/// the lease. A dry run needs none, and writes nothing.
///
/// # Errors
/// Somebody else does so already, there is no warehouse, or storage fails. What
/// fails with one table alone is in the result.
pub async fn maintain(
    location: &WarehouseLocation,
    options: WarehouseOptions,
    chore: Chore,
) -> Result<Maintained, MaintenanceError> {
    let runtime = QueryRuntime::start(options.threads)?;
    let location = location.clone();
    let mut work = runtime.spawn(async move {
        let store = WarehouseStore::connect(&location).map_err(MaintenanceError::storage)?;
        under_lease(store, &options, &chore, LEASE_LASTS).await
    });
    (&mut work.handle)
        .await
        .map_err(|error| MaintenanceError::Storage {
            reason: error.to_string(),
            help: None,
        })?
}

async fn under_lease(
    store: WarehouseStore,
    options: &WarehouseOptions,
    chore: &Chore,
    lasts: Duration,
) -> Result<Maintained, MaintenanceError> {
    let runs = delta::open_table(&store, Table::Runs).await;
    if runs.map_err(MaintenanceError::storage)?.is_none() {
        return Err(MaintenanceError::NoWarehouse {
            location: store.location().to_string(),
        });
    }
    if let Chore::Vacuum { dry_run: true, .. } = chore {
        let work = Work {
            store: store.clone(),
            engine: Engine::new(&store, options)?,
            fence: Arc::default(),
            now: chrono::Utc::now(),
        };
        return all_tables(&work, chore).await;
    }
    let mut lease = Lease::take(&store, holder(), lasts).await?;
    let fence = Arc::new(AtomicU64::new(lease.fence()));
    let work = begin_and_do(&store, options, chore, Arc::clone(&fence));
    let done = while_renewed(&mut lease, &fence, RENEW_EVERY, lasts, work).await?;
    let released = lease.release().await;
    let done = done?;
    released?;
    Ok(done)
}

/// Does `work`, and renews the lease meanwhile, each time so long after the last. Where the lease is lost
/// the work is dropped: nothing is committed any more.
async fn while_renewed<T>(
    lease: &mut Lease,
    fence: &AtomicU64,
    every: Duration,
    lasts: Duration,
    work: impl Future<Output = T>,
) -> Result<T, MaintenanceError> {
    let mut renewed = Instant::now();
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(every) => match lease.renew().await {
                Ok(()) => {
                    renewed = Instant::now();
                    fence.store(lease.fence(), Ordering::Release);
                }
                // Storage may answer before the lease expires.
                Err(error @ MaintenanceError::Storage { .. })
                    if renewed.elapsed() + every < lasts =>
                {
                    tracing::debug!(%error, "the lease is renewed later");
                }
                Err(error) => return Err(error),
            }
        }
    }
}

async fn begin_and_do(
    store: &WarehouseStore,
    options: &WarehouseOptions,
    chore: &Chore,
    fence: Arc<AtomicU64>,
) -> Result<Maintained, MaintenanceError> {
    let now = lease::now(store).await?;
    let skew = (chrono::Utc::now() - now)
        .abs()
        .to_std()
        .unwrap_or_default();
    if skew > CLOCK_SKEW {
        return Err(MaintenanceError::Clocks {
            seconds: skew.as_secs(),
        });
    }
    let work = Work {
        store: store.clone(),
        engine: Engine::new(store, options)?,
        fence,
        now,
    };
    all_tables(&work, chore).await
}

async fn all_tables(work: &Work, chore: &Chore) -> Result<Maintained, MaintenanceError> {
    let visible = compact::visible_runs(work).await?;
    let mut all = Maintained::default();
    for table in Table::ALL.iter().copied() {
        match one_table(work, table, chore, &visible).await {
            Ok(done) if done.is_nothing() => {}
            Ok(done) => {
                tracing::info!(%table, "{done}");
                all.done.push((table, done));
            }
            // Somebody else maintains it now.
            Err(error @ MaintenanceError::LeaseLost) => return Err(error),
            Err(error) => all.failed.push((table, error)),
        }
    }
    Ok(all)
}

async fn one_table(
    work: &Work,
    table: Table,
    chore: &Chore,
    visible: &RunKeys,
) -> Result<Done, MaintenanceError> {
    let mut done = Done::default();
    match chore {
        Chore::Optimize { retention } => {
            done.expired = expire::take_out(work, table, retention).await?;
            done.compacted = compact::compact(work, table, visible).await?;
            (done.checkpoint, done.log_entries) = commit::sum_up(work, table).await?;
        }
        Chore::Vacuum {
            older_than,
            dry_run,
        } => {
            let files = vacuum::vacuum(work, table, *older_than, *dry_run).await?;
            let counted = match dry_run {
                true => &mut done.deletable,
                false => &mut done.vacuumed,
            };
            *counted = files;
        }
    }
    Ok(done)
}

/// This process, as others read it where they wait for it.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.as_deref().map_or("this host", str::trim);
    format!("process {} on {host}", std::process::id())
}

#[cfg(test)]
mod tests;
