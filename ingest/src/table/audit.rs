//! The table of who did what.

use crate::row::table_row;
use crate::time::Timestamp;

table_row! {
    /// One row per action that somebody took.
    Events => EventRow {
        /// When.
        at: Timestamp,
        /// Who.
        actor: String,
        /// What was done.
        action: String,
        /// From where.
        source: Option<String>,
        /// The job it concerns.
        job_id: Option<String>,
        /// The task it concerns.
        task_id: Option<String>,
        /// The run it concerns.
        run_id: Option<String>,
        /// The model it concerns.
        model: Option<String>,
        /// The deployment it concerns.
        deployment: Option<String>,
        /// The host it concerns.
        host: Option<String>,
        /// Why, in words; null where nobody has to say.
        reason: Option<String>,
        /// Details, as JSON.
        detail: String,
    }
}
