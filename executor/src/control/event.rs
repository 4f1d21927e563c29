//! Who did what: noted with the change itself, on its way to `audit.events`.

use plimsoll_ingest::{EventRow, Timestamp};

use super::database::Change;
use super::record::Columns;
use super::{Store, StoreError};

/// What was refused may be of any length; so much of why is kept, in characters.
const LONGEST_REASON: usize = 4_000;

/// Who asks for a change, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name that they give.
    pub actor: String,
    /// Where the call came from: an address, or a part of Plimsoll.
    pub source: Option<String>,
}

impl Caller {
    /// A part of Plimsoll itself.
    pub fn part(name: &str) -> Self {
        Self {
            actor: format!("plimsoll {name}"),
            source: None,
        }
    }
}

/// What is noted.
pub(super) struct Noted<'a> {
    pub(super) action: &'a str,
    pub(super) job: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) detail: String,
}

impl Noted<'_> {
    pub(super) fn of(action: &str) -> Noted<'_> {
        Noted {
            action,
            job: None,
            reason: None,
            detail: "{}".to_string(),
        }
    }
}

impl Change<'_> {
    /// Notes who did what, as part of the change.
    pub(super) async fn note(
        &mut self,
        caller: &Caller,
        noted: Noted<'_>,
    ) -> Result<(), StoreError> {
        let insert = "INSERT INTO event (at, actor, action, source, job_id, reason, detail) \
                      VALUES ({now}, $2, $3, $4, $5, $6, $7)";
        let insert = self
            .store
            .statement_now(insert)
            .bind(caller.actor.clone())
            .bind(noted.action.to_string())
            .bind(caller.source.clone())
            .bind(noted.job)
            .bind(noted.reason)
            .bind(noted.detail);
        self.run(insert).await?;
        Ok(())
    }
}

impl Store {
    /// Notes that something was refused: the only trace that it leaves.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn record_refusal(
        &self,
        caller: &Caller,
        action: &str,
        reason: &str,
    ) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        let reason = Some(reason.chars().take(LONGEST_REASON).collect());
        change
            .note(
                caller,
                Noted {
                    reason,
                    ..Noted::of(action)
                },
            )
            .await?;
        change.commit().await
    }

    /// The name under which this store's events are in the warehouse.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn id(&self) -> Result<String, StoreError> {
        let rows = self
            .read(self.statement("SELECT value FROM control WHERE name = 'store_id'"))
            .await?;
        let row = rows
            .first()
            .ok_or_else(|| self.unreadable("it has no id"))?;
        Columns { store: self, row }.text("value")
    }

    /// Events that are not known to be in the warehouse, with their numbers: the oldest, at most
    /// `limit`, without gaps.
    ///
    /// # Errors
    /// The store cannot be used.
    pub async fn pending_events(&self, limit: i64) -> Result<Vec<(i64, EventRow)>, StoreError> {
        self.again(|| self.try_pending_events(limit)).await
    }

    async fn try_pending_events(&self, limit: i64) -> Result<Vec<(i64, EventRow)>, StoreError> {
        let some = "SELECT 1 FROM event LIMIT 1";
        if self.read(self.statement(some)).await?.is_empty() {
            return Ok(Vec::new());
        }
        let mut change = self.begin().await?;
        // Numbers are given in one place at a time: the row of the counter is the lock.
        let counter = "UPDATE sequence SET value = value WHERE name = 'event'";
        change.run(self.statement(counter)).await?;
        let last = "SELECT value FROM sequence WHERE name = 'event'";
        let mut last = change.number(self.statement(last)).await?;
        let unnumbered = "SELECT id FROM event WHERE number IS NULL ORDER BY id LIMIT $1";
        let rows = change.all(self.statement(unnumbered).bind(limit)).await?;
        for row in &rows {
            last += 1;
            let id = Columns { store: self, row }.integer("id")?;
            let number = self.statement("UPDATE event SET number = $1 WHERE id = $2");
            change.run(number.bind(last).bind(id)).await?;
        }
        let counter = "UPDATE sequence SET value = $1 WHERE name = 'event'";
        change.run(self.statement(counter).bind(last)).await?;
        let select = "SELECT number, at, actor, action, source, job_id, task_id, reason, detail \
                      FROM event WHERE number IS NOT NULL ORDER BY number LIMIT $1";
        let rows = change.all(self.statement(select).bind(limit)).await?;
        change.commit().await?;
        rows.iter()
            .map(|row| {
                let columns = Columns { store: self, row };
                let event = EventRow {
                    at: Timestamp::from_micros(columns.integer("at")?),
                    actor: columns.text("actor")?,
                    action: columns.text("action")?,
                    source: columns.text_or_null("source")?,
                    job_id: columns.text_or_null("job_id")?,
                    task_id: columns.text_or_null("task_id")?,
                    run_id: None,
                    model: None,
                    deployment: None,
                    host: None,
                    reason: columns.text_or_null("reason")?,
                    detail: columns.text("detail")?,
                };
                Ok((columns.integer("number")?, event))
            })
            .collect()
    }

    /// Forgets events up to a number: they are in the warehouse.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn forget_events(&self, up_to: i64) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        let delete = "DELETE FROM event WHERE number <= $1";
        change.run(self.statement(delete).bind(up_to)).await?;
        change.commit().await
    }
}
