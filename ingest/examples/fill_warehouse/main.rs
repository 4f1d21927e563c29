//! Fills a warehouse with months of nightly runs, as publishing and maintenance leave them: closed
//! days in sorted files, the last two in a file for each run, and with what the hosts and the
//! machinery said in those months.
//!
//! `cargo xtask bench warehouse` runs it. The rows are drawn from a seed: the same arguments give the
//! same rows, but for the day on which the history ends, which is today.
//!
//! With a `-` behind it publishes each run in commits of its own, as if it had been done on its day,
//! and leaves maintenance to others: as many runs as each line of its standard input says, and
//! answers the line when they are published. One alone is published as by a process of its own,
//! which opens each table first.
//!
//! Usage: `fill_warehouse WAREHOUSE RUNS REQUESTS_PER_RUN SEED [-]`. Writes lines of JSON.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::io::BufRead as _;

use deltalake_core::DeltaTable;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use mimalloc::MiMalloc;
use plimsoll_ingest::files::{FileLimits, TableFiles};
use plimsoll_ingest::{Journal, RunId, Table, TableRow, WarehouseLocation, WarehouseStore, delta};

mod history;

use history::{History, Keyed, RUNS_A_NIGHT, Rows};

/// Nights whose runs are not put together yet.
const OPEN_NIGHTS: usize = 2;

/// Nights whose minutes of the fleet are in one file when they are put together.
const NIGHTS_A_FILE: usize = 10;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Failure = Box<dyn Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [warehouse, runs, requests, seed, asked @ ..] = &arguments[..] else {
        return Err("usage: fill_warehouse WAREHOUSE RUNS REQUESTS_PER_RUN SEED [-]".into());
    };
    let store = WarehouseStore::connect(&WarehouseLocation::parse(warehouse)?)?;
    delta::create_missing(&store).await?;
    let runs: usize = runs.parse()?;
    let nights = runs.div_ceil(RUNS_A_NIGHT);
    let history = History::new(seed.parse()?, nights, requests.parse()?);
    let mut written = Written {
        store: &store,
        closed: Rows::default(),
        open: HashMap::new(),
    };
    match asked.is_empty() {
        true => {
            written.record(&history, nights).await?;
            written.fill(history, runs, nights).await?;
        }
        false => written.on_demand(history).await?,
    }
    println!("{}", serde_json::json!({"runs": runs, "nights": nights}));
    Ok(())
}

/// How rows get in.
#[derive(Clone, Copy)]
enum How {
    /// As maintenance leaves a closed day.
    Compacted,
    /// As publishing leaves a run.
    Published,
    /// The same, as if it had been done when the run began.
    PublishedThen(RunId),
}

struct Written<'a> {
    store: &'a WarehouseStore,
    /// Rows of closed days whose tables are not partitioned.
    closed: Rows,
    /// Tables that go on being written.
    open: HashMap<Table, DeltaTable>,
}

impl Written<'_> {
    /// All nights but the last two in few files.
    async fn fill(
        mut self,
        mut history: History,
        runs: usize,
        nights: usize,
    ) -> Result<(), Failure> {
        let mut left = runs;
        for night in 0..nights {
            let tonight = left.min(RUNS_A_NIGHT);
            left -= tonight;
            let is_open = night + OPEN_NIGHTS >= nights;
            let mut big = Rows::default();
            for number in 0..tonight {
                let rows = history.run(night, number);
                if is_open {
                    self.publish(rows, How::Published).await?;
                } else {
                    big.take_big(rows, &mut self.closed);
                }
            }
            if !is_open {
                self.publish(big, How::Compacted).await?;
            }
            if night + OPEN_NIGHTS + 1 == nights {
                let closed = std::mem::take(&mut self.closed);
                self.publish(closed, How::Compacted).await?;
            }
        }
        Ok(())
    }

    /// Months of the fleet and of events: what is closed in few files, the rest as its sources write
    /// it, each hour.
    async fn record(&mut self, history: &History, nights: usize) -> Result<(), Failure> {
        let closed = nights.saturating_sub(OPEN_NIGHTS);
        for first in (0..closed).step_by(NIGHTS_A_FILE) {
            let some = first..closed.min(first + NIGHTS_A_FILE);
            let hours = some.flat_map(|night| (0..24).map(move |hour| (night, hour)));
            let rows = hours.flat_map(|(night, hour)| history.fleet(night, hour));
            self.table(rows.collect(), How::Compacted).await?;
        }
        let events = (0..closed).flat_map(|night| history.events(night));
        self.table(events.collect(), How::Compacted).await?;
        let mut fleet = Journal::open(self.store, "hosts").await?;
        let mut events = Journal::open(self.store, "control").await?;
        for night in closed..nights {
            for hour in 0..24 {
                let rows = history.fleet(night, hour);
                fleet.append(fleet.last().await? + 1, &rows).await?;
            }
            let rows = history.events(night);
            events.append(events.last().await? + 1, &rows).await?;
        }
        Ok(())
    }

    /// Each run by itself, as many as each line of input says.
    async fn on_demand(mut self, mut history: History) -> Result<(), Failure> {
        let mut published = 0;
        for line in std::io::stdin().lock().lines() {
            let asked: usize = line?.parse()?;
            if asked == 1 {
                self.open.clear();
            }
            let until = published + asked;
            for run in published..until {
                let rows = history.run(run / RUNS_A_NIGHT, run % RUNS_A_NIGHT);
                let run_id = rows.runs.first().ok_or("a run has a row")?.run_id;
                self.publish(rows, How::PublishedThen(run_id)).await?;
            }
            published = until;
            println!("{}", serde_json::json!({"published": published}));
        }
        Ok(())
    }

    /// Facts first, `runs` last.
    async fn publish(&mut self, rows: Rows, how: How) -> Result<(), Failure> {
        self.table(rows.requests, how).await?;
        self.table(rows.ticks, how).await?;
        self.table(rows.cases, how).await?;
        self.table(rows.envelopes, how).await?;
        self.table(rows.stages, how).await?;
        self.table(rows.scores, how).await?;
        self.table(rows.runs, how).await
    }

    async fn table<R: TableRow + Keyed>(
        &mut self,
        mut rows: Vec<R>,
        how: How,
    ) -> Result<(), Failure> {
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let date = first.date();
        rows.sort_by_key(Keyed::key);
        let limits = match how {
            How::Compacted => FileLimits::COMPACTED,
            How::Published | How::PublishedThen(_) => FileLimits::PUBLISHED,
        };
        let table = match self.open.remove(&R::TABLE) {
            Some(mut table) => {
                table.update_state().await?;
                table
            }
            None => delta::open_or_create(self.store, R::TABLE).await?,
        };
        let mut files = TableFiles::new(R::TABLE, date, "part", limits, table.object_store());
        for rows in rows.chunks(8_192) {
            files.write(&R::to_batch(rows)?).await?;
        }
        commit(&table, R::TABLE, files.finish().await?, how).await?;
        if matches!(how, How::PublishedThen(_)) {
            self.open.insert(R::TABLE, table);
        }
        Ok(())
    }
}

async fn commit(
    table: &DeltaTable,
    of: Table,
    mut adds: Vec<Add>,
    how: How,
) -> Result<(), Failure> {
    let operation = DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: of.partitioned().then(|| vec!["date".to_string()]),
        predicate: None,
    };
    let mut properties = CommitProperties::default().with_cleanup_expired_logs(Some(false));
    if let How::PublishedThen(run_id) = how {
        let then_ms = run_id.created_at().millis();
        for add in &mut adds {
            add.modification_time = then_ms;
        }
        let name = format!("run:{run_id}");
        properties = properties
            .with_create_checkpoint(false)
            .with_application_transaction(Transaction::new_with_last_update(
                name,
                1,
                Some(then_ms),
            ));
    }
    CommitBuilder::from(properties)
        .with_actions(adds.into_iter().map(Action::Add).collect())
        .build(Some(table.snapshot()?), table.log_store(), operation)
        .await?;
    Ok(())
}
