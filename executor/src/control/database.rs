//! The connection to either database, and the few words in which the two differ.
//!
//! Statements are written once. `{now}` stands for the moment of the statement, which is bound as `$1`,
//! `{next_fence}` and `{last_fence}` for the counter of fences, `{for_update}` for a row's lock.

use std::future::Future;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_ingest::Timestamp;
use sqlx::any::{Any, AnyArguments, AnyPoolOptions, AnyRow};
use sqlx::query::Query;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection as _, Row as _, Transaction};
use tokio::sync::watch;

use super::url::Place;
use super::{Clock, ControlUrl, LONGEST_WAIT, StoreError, migration};

/// How long a statement waits for a database that somebody else writes to, and a connection for one
/// of the pool.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections of one process to a PostgreSQL server, and readers of a SQLite database.
const CONNECTIONS: u32 = 16;
const READERS: u32 = 4;
/// A server that says nothing at all for so long is away: the network may have lost it.
const SILENCE: Duration = Duration::from_secs(30);
/// What a PostgreSQL server ends by itself: a statement, a wait for a lock, and a change whose process died in
/// the middle of it, which would keep its locks until the network tells.
const SETTINGS: [&str; 3] = [
    "SET statement_timeout = '20s'",
    "SET lock_timeout = '10s'",
    "SET idle_in_transaction_session_timeout = '15s'",
];
/// A change that lost against another is tried so often.
const TRIES: u32 = 8;

/// In which words a database wants what the two say differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    fn of(url: &ControlUrl) -> Self {
        match url.place() {
            Place::File(_) => Self::Sqlite,
            Place::Postgres(_) => Self::Postgres,
        }
    }

    fn words(self) -> [(&'static str, &'static str); 4] {
        match self {
            Self::Sqlite => [
                ("{now}", "$1"),
                (
                    "{next_fence}",
                    "(SELECT value FROM sequence WHERE name = 'fence')",
                ),
                (
                    "{last_fence}",
                    "(SELECT value FROM sequence WHERE name = 'fence')",
                ),
                ("{for_update}", ""),
            ],
            Self::Postgres => [
                (
                    "{now}",
                    "COALESCE($1::bigint, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)",
                ),
                ("{next_fence}", "nextval('fence')"),
                ("{last_fence}", "(SELECT last_value FROM fence)"),
                ("{for_update}", "FOR UPDATE"),
            ],
        }
    }

    /// `{ready}` is for a task that nothing holds: its wait is over, or is longer than any can be, since the
    /// clock went back after it was set.
    fn write(self, statement: &str) -> String {
        let most = LONGEST_WAIT.as_micros();
        let ready = format!("(not_before <= {{now}} OR not_before > {{now}} + {most})");
        let statement = statement.replace("{ready}", &ready);
        self.words()
            .iter()
            .fold(statement, |text, (word, meaning)| {
                text.replace(word, meaning)
            })
    }
}

/// A statement that waits for its parameters.
pub(super) type Statement = Query<'static, Any, AnyArguments>;

/// The control store: what jobs there are, and who works on what.
///
/// Its clones share connections. Every method is one transaction.
#[derive(Debug, Clone)]
pub struct Store {
    url: ControlUrl,
    pub(super) dialect: Dialect,
    readers: AnyPool,
    /// SQLite takes one writer at a time: here writers wait in line, and not for a lock.
    writer: AnyPool,
    clock: Clock,
    changed: Arc<watch::Sender<u64>>,
}

impl Store {
    /// Opens the store, and makes its tables where there are none.
    ///
    /// # Errors
    /// The database cannot be reached or written, is of a later release, or holds something else.
    pub async fn open(url: &ControlUrl, clock: Clock) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let fail = |source| StoreError::Database {
            url: url.clone(),
            source,
        };
        let (readers, writer) = match url.place() {
            Place::File(path) => {
                if let Some(folder) = path
                    .parent()
                    .filter(|folder| !folder.as_os_str().is_empty())
                {
                    std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
                        url: url.clone(),
                        source,
                    })?;
                }
                // Jobs name endpoints, whose queries may hold keys: the file is its owner's alone.
                let made = std::fs::OpenOptions::new()
                    .create_new(true)
                    .write(true)
                    .mode(0o600)
                    .open(path);
                if let Err(source) = made
                    && source.kind() != std::io::ErrorKind::AlreadyExists
                {
                    let url = url.clone();
                    return Err(StoreError::Folder { url, source });
                }
                let target = sqlite_url(path);
                try_out(&target, &PRAGMAS).await.map_err(fail)?;
                let writer = sqlite_pool(1).connect(&target).await.map_err(fail)?;
                let readers = sqlite_pool(READERS).connect_lazy(&target).map_err(fail)?;
                (readers, writer)
            }
            Place::Postgres(target) => {
                try_out(target.as_str(), &[]).await.map_err(fail)?;
                let pool = AnyPoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .acquire_timeout(PATIENCE)
                    .after_connect(|connection, _| {
                        Box::pin(async move {
                            for setting in SETTINGS {
                                sqlx::query(setting).execute(&mut *connection).await?;
                            }
                            Ok(())
                        })
                    })
                    .connect(target.as_str())
                    .await
                    .map_err(fail)?;
                (pool.clone(), pool)
            }
        };
        let store = Self {
            url: url.clone(),
            dialect: Dialect::of(url),
            readers,
            writer,
            clock,
            changed: Arc::new(watch::Sender::new(0)),
        };
        migration::migrate(&store).await?;
        Ok(store)
    }

    /// Where it is.
    pub fn url(&self) -> &ControlUrl {
        &self.url
    }

    /// Counts the changes of the queue that this process made; those of others are not in it.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn tell_change(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// A statement in the database's own words.
    pub(super) fn statement(&self, text: &str) -> Statement {
        sqlx::query(AssertSqlSafe(self.dialect.write(text)))
    }

    /// The same with the moment as its first parameter.
    pub(super) fn statement_now(&self, text: &str) -> Statement {
        let now = match (&self.clock, self.dialect) {
            (Clock::Set(clock), _) => Some(clock.now().micros()),
            (Clock::Database, Dialect::Sqlite) => Some(Timestamp::now().micros()),
            (Clock::Database, Dialect::Postgres) => None,
        };
        self.statement(text).bind(now)
    }

    pub(super) fn failed(&self, source: sqlx::Error) -> StoreError {
        StoreError::Database {
            url: self.url.clone(),
            source,
        }
    }

    fn silent(&self) -> StoreError {
        StoreError::Silent {
            url: self.url.clone(),
            after: SILENCE,
        }
    }

    pub(super) fn unreadable(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Row {
            url: self.url.clone(),
            reason: reason.into(),
        }
    }

    /// Reads rows outside of any change.
    pub(super) async fn read(&self, statement: Statement) -> Result<Vec<AnyRow>, StoreError> {
        let read = statement.fetch_all(&self.readers);
        match tokio::time::timeout(SILENCE, read).await {
            Ok(rows) => rows.map_err(|source| self.failed(source)),
            Err(_) => Err(self.silent()),
        }
    }

    /// Begins a change.
    pub(super) async fn begin(&self) -> Result<Change<'_>, StoreError> {
        let begun = match self.dialect {
            Dialect::Sqlite => self.writer.begin_with("BEGIN IMMEDIATE").await,
            Dialect::Postgres => self.writer.begin().await,
        };
        let transaction = begun.map_err(|source| self.failed(source))?;
        Ok(Change {
            store: self,
            transaction,
        })
    }

    /// Does a change, again where it lost against another.
    pub(super) async fn again<T, F>(&self, change: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut tries = 1;
        loop {
            let done = tokio::time::timeout(SILENCE, change()).await;
            match done.unwrap_or_else(|_| Err(self.silent())) {
                Err(error) if error.lost_a_race() && tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }
}

/// How each connection to a SQLite database is set: a job that was accepted has to be there after the
/// power failed.
const PRAGMAS: [&str; 3] = [
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
];

/// Connects once: a pool would try until its time is over, and then say no more than that.
async fn try_out(target: &str, statements: &[&'static str]) -> Result<(), sqlx::Error> {
    let mut connection = AnyConnection::connect(target).await?;
    for statement in statements {
        sqlx::query(*statement).fetch_all(&mut connection).await?;
    }
    connection.close().await
}

fn sqlite_url(path: &std::path::Path) -> String {
    // The driver takes all behind the scheme up to a question mark, with escapes.
    let path = path.display().to_string();
    let path = path
        .replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23");
    format!("sqlite://{path}?mode=rwc")
}

fn sqlite_pool(connections: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| {
            Box::pin(async move {
                for pragma in PRAGMAS {
                    sqlx::query(pragma).fetch_all(&mut *connection).await?;
                }
                Ok(())
            })
        })
}

/// A change that is under way; dropped, nothing of it happened.
pub(super) struct Change<'s> {
    pub(super) store: &'s Store,
    transaction: Transaction<'static, Any>,
}

impl Change<'_> {
    /// Does a statement; how many rows it touched.
    pub(super) async fn run(&mut self, statement: Statement) -> Result<u64, StoreError> {
        let done = statement.execute(&mut *self.transaction).await;
        Ok(done
            .map_err(|source| self.store.failed(source))?
            .rows_affected())
    }

    pub(super) async fn all(&mut self, statement: Statement) -> Result<Vec<AnyRow>, StoreError> {
        let rows = statement.fetch_all(&mut *self.transaction).await;
        rows.map_err(|source| self.store.failed(source))
    }

    pub(super) async fn first(
        &mut self,
        statement: Statement,
    ) -> Result<Option<AnyRow>, StoreError> {
        let row = statement.fetch_optional(&mut *self.transaction).await;
        row.map_err(|source| self.store.failed(source))
    }

    /// A number that a statement gives in its first column; 0 where it gives none.
    pub(super) async fn number(&mut self, statement: Statement) -> Result<i64, StoreError> {
        let row = self.first(statement).await?;
        let number = row.map(|row| row.try_get::<Option<i64>, _>(0)).transpose();
        Ok(number
            .map_err(|source| self.store.failed(source))?
            .flatten()
            .unwrap_or(0))
    }

    /// Has a lane to itself until the change is over: who may claim next is for one to decide.
    pub(super) async fn lock_lane(&mut self, lane: &str) -> Result<(), StoreError> {
        if self.store.dialect == Dialect::Postgres {
            let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0)) IS NULL";
            let lock = self.store.statement(lock).bind(lane.to_string());
            self.first(lock).await?;
        }
        Ok(())
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let Self { store, transaction } = self;
        transaction
            .commit()
            .await
            .map_err(|source| store.failed(source))
    }
}
