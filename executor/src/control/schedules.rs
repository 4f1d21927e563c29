//! Schedules, and the jobs of their ticks: each tick at most one.

use std::time::Duration;

use plimsoll_ingest::{JobId, Timestamp};

use super::accept::NewJob;
use super::event::{Caller, Noted};
use super::record::Columns;
use super::{Store, StoreError};
use crate::schedule::{Overlap, ScheduleSpec};

/// A schedule, as the store has it.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// What it says.
    pub spec: ScheduleSpec,
    /// Who made it: who its jobs are triggered by.
    pub created_by: String,
    /// Who holds it back; `None` where nobody does.
    pub paused_by: Option<String>,
    /// The last tick that was handled.
    pub last_tick_at: Option<Timestamp>,
    /// The next one; `None` where there is none any more.
    pub next_at: Option<Timestamp>,
}

/// What became of a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fired {
    /// Its job was handed in.
    Job(JobId),
    /// It was passed over.
    Passed,
    /// Another scheduler was there first.
    Overtaken,
}

const COLUMNS: &str = "name, cron, time_zone, jitter_us, overlap, catch_up, job, created_by, paused_by, \
                       last_tick_at, next_at";

impl Schedule {
    fn read(columns: &Columns<'_>) -> Result<Self, StoreError> {
        let jitter = columns.integer("jitter_us")?;
        let job = columns.text("job")?;
        let job = serde_json::from_str(&job)
            .map_err(|error| columns.store.unreadable(format!("column job: {error}")))?;
        Ok(Self {
            spec: ScheduleSpec {
                name: columns.text("name")?,
                cron: columns.text("cron")?,
                time_zone: columns.text("time_zone")?,
                jitter: Duration::from_micros(u64::try_from(jitter).unwrap_or(0)),
                overlap: columns.parsed("overlap")?,
                catch_up: columns.parsed("catch_up")?,
                job,
            },
            created_by: columns.text("created_by")?,
            paused_by: columns.text_or_null("paused_by")?,
            last_tick_at: columns.moment("last_tick_at")?,
            next_at: columns.moment("next_at")?,
        })
    }
}

impl Store {
    /// What time it is for the store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        let rows = self.read(self.statement_now("SELECT {now} AS now")).await?;
        let row = rows.first().ok_or_else(|| self.unreadable("no time"))?;
        Ok(Timestamp::from_micros(
            Columns { store: self, row }.integer("now")?,
        ))
    }

    /// Makes a schedule, or has it say something else. Its next tick is the first after now. True where
    /// there was none of this name.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn put_schedule(
        &self,
        spec: &ScheduleSpec,
        next: Option<Timestamp>,
        caller: &Caller,
    ) -> Result<bool, StoreError> {
        self.again(|| self.try_put_schedule(spec, next, caller))
            .await
    }

    async fn try_put_schedule(
        &self,
        spec: &ScheduleSpec,
        next: Option<Timestamp>,
        caller: &Caller,
    ) -> Result<bool, StoreError> {
        let mut change = self.begin().await?;
        let jitter = i64::try_from(spec.jitter.as_micros()).unwrap_or(i64::MAX);
        let update = "UPDATE schedule SET cron = $1, time_zone = $2, jitter_us = $3, overlap = $4, \
                      catch_up = $5, job = $6, created_by = $7, next_at = $8 WHERE name = $9";
        let insert = "INSERT INTO schedule (cron, time_zone, jitter_us, overlap, catch_up, job, \
                      created_by, next_at, name) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let bound = |text: &str| {
            self.statement(text)
                .bind(spec.cron.clone())
                .bind(spec.time_zone.clone())
                .bind(jitter)
                .bind(spec.overlap.to_string())
                .bind(spec.catch_up.to_string())
                .bind(spec.job.to_string())
                .bind(caller.actor.clone())
                .bind(next.map(Timestamp::micros))
                .bind(spec.name.clone())
        };
        let is_new = change.run(bound(update)).await? == 0;
        if is_new {
            change.run(bound(insert)).await?;
        }
        let action = if is_new {
            "schedule_created"
        } else {
            "schedule_changed"
        };
        change.note(caller, of_schedule(action, &spec.name)).await?;
        change.commit().await?;
        Ok(is_new)
    }

    /// All schedules, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM schedule ORDER BY name");
        let rows = self.read(self.statement(&select)).await?;
        rows.iter()
            .map(|row| Schedule::read(&Columns { store: self, row }))
            .collect()
    }

    /// Removes a schedule; its jobs stay. False where there is none.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn remove_schedule(&self, name: &str, caller: &Caller) -> Result<bool, StoreError> {
        let delete = self
            .statement("DELETE FROM schedule WHERE name = $1")
            .bind(name.to_string());
        self.change_schedule(delete, name, "schedule_removed", caller)
            .await
    }

    /// Holds a schedule back, or lets it go on: ticks meanwhile are passed over, and `next` is the first
    /// that is not. False where there is no such schedule.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn pause_schedule(&self, name: &str, caller: &Caller) -> Result<bool, StoreError> {
        let update = "UPDATE schedule SET paused_by = $1 WHERE name = $2";
        let update = self
            .statement(update)
            .bind(caller.actor.clone())
            .bind(name.to_string());
        self.change_schedule(update, name, "schedule_paused", caller)
            .await
    }

    /// Lets a schedule go on, with its next tick.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn resume_schedule(
        &self,
        name: &str,
        next: Option<Timestamp>,
        caller: &Caller,
    ) -> Result<bool, StoreError> {
        let update = "UPDATE schedule SET paused_by = NULL, next_at = $1 WHERE name = $2";
        let update = self.statement(update).bind(next.map(Timestamp::micros));
        let update = update.bind(name.to_string());
        self.change_schedule(update, name, "schedule_resumed", caller)
            .await
    }

    async fn change_schedule(
        &self,
        statement: super::database::Statement,
        name: &str,
        action: &str,
        caller: &Caller,
    ) -> Result<bool, StoreError> {
        let mut change = self.begin().await?;
        if change.run(statement).await? == 0 {
            return Ok(false);
        }
        change.note(caller, of_schedule(action, name)).await?;
        change.commit().await?;
        Ok(true)
    }

    /// Now, and the schedules whose next tick is not after it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn due_schedules(&self) -> Result<(Timestamp, Vec<Schedule>), StoreError> {
        let now = self.now().await?;
        let select = format!(
            "SELECT {COLUMNS} FROM schedule WHERE paused_by IS NULL AND next_at <= $1 ORDER BY next_at"
        );
        let rows = self
            .read(self.statement(&select).bind(now.micros()))
            .await?;
        let due = rows
            .iter()
            .map(|row| Schedule::read(&Columns { store: self, row }));
        Ok((now, due.collect::<Result<_, _>>()?))
    }

    /// Hands in the job of a tick, or passes over all that are due (`job` is `None`). `ticks` are the last
    /// that is dealt with hereby, and the one after it. Nothing happens where the schedule's next tick is
    /// another than was seen: another scheduler was there first.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn fire(
        &self,
        schedule: &Schedule,
        job: Option<&NewJob>,
        ticks: (Timestamp, Option<Timestamp>),
        missed: u64,
        caller: &Caller,
    ) -> Result<Fired, StoreError> {
        let fired = self
            .again(|| self.try_fire(schedule, job, ticks, missed, caller))
            .await?;
        self.tell_change();
        Ok(fired)
    }

    async fn try_fire(
        &self,
        schedule: &Schedule,
        job: Option<&NewJob>,
        (last, next): (Timestamp, Option<Timestamp>),
        missed: u64,
        caller: &Caller,
    ) -> Result<Fired, StoreError> {
        let name = &schedule.spec.name;
        let mut change = self.begin().await?;
        let go_on = "UPDATE schedule SET next_at = $1, last_tick_at = $2 \
                     WHERE name = $3 AND next_at = $4 AND paused_by IS NULL";
        let go_on = self
            .statement(go_on)
            .bind(next.map(Timestamp::micros))
            .bind(last.micros())
            .bind(name.clone())
            .bind(schedule.next_at.map(Timestamp::micros));
        if change.run(go_on).await? == 0 {
            return Ok(Fired::Overtaken);
        }
        if missed > 0 {
            let mut noted = of_schedule("schedule_missed", name);
            noted.reason = Some(format!(
                "{missed} ticks were missed and are not made up for"
            ));
            change.note(caller, noted).await?;
        }
        let Some(job) = job else {
            change.commit().await?;
            return Ok(Fired::Passed);
        };
        // Somebody may have put the schedule back to a tick that was.
        let before = "SELECT id FROM job WHERE schedule_id = $1 AND tick_at = $2";
        let tick = job.tick.as_ref().map(|tick| tick.at.micros());
        let before = self.statement(before).bind(name.clone()).bind(tick);
        if change.first(before).await?.is_some() {
            change.commit().await?;
            return Ok(Fired::Passed);
        }
        let open = "SELECT id FROM job WHERE schedule_id = $1 AND state <> 'done'";
        let rows = change.all(self.statement(open).bind(name.clone())).await?;
        let open = rows
            .iter()
            .map(|row| Columns { store: self, row }.parsed("id"));
        let open = open.collect::<Result<Vec<JobId>, _>>()?;
        if schedule.spec.overlap == Overlap::Skip && !open.is_empty() {
            let mut noted = of_schedule("schedule_skipped", name);
            noted.reason = Some(format!("job {} has not ended", open[0]));
            change.note(caller, noted).await?;
            change.commit().await?;
            return Ok(Fired::Passed);
        }
        if schedule.spec.overlap == Overlap::Cancel {
            for earlier in open {
                let reason = Some("a later tick of its schedule");
                change.cancel_job(earlier, caller, reason).await?;
            }
        }
        let id = change.write_job(job, caller).await?;
        change.commit().await?;
        Ok(Fired::Job(id))
    }

    /// Holds a schedule back that this release cannot read, and notes why.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn stop_schedule(
        &self,
        schedule: &Schedule,
        caller: &Caller,
        reason: &str,
    ) -> Result<(), StoreError> {
        let name = &schedule.spec.name;
        let mut change = self.begin().await?;
        let update = "UPDATE schedule SET paused_by = 'plimsoll' WHERE name = $1";
        change
            .run(self.statement(update).bind(name.clone()))
            .await?;
        let mut noted = of_schedule("schedule_paused", name);
        noted.reason = Some(reason.to_string());
        change.note(caller, noted).await?;
        change.commit().await
    }
}

fn of_schedule<'a>(action: &'a str, name: &str) -> Noted<'a> {
    let detail = serde_json::json!({ "schedule": name }).to_string();
    Noted {
        detail,
        ..Noted::of(action)
    }
}
