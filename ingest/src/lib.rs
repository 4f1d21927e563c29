//! The results contract of Plimsoll: what is measured, what it is called, and
//! how it reaches the warehouse exactly once.
//!
//! This crate alone defines the names, types, units and meanings of columns.
//! It must not know SQL engines, HTTP servers or how load is made.
//!
//! # Vocabulary
//! - **job**: what was submitted. It has **tasks**, one per suite; a **run** is
//!   one execution of a task; a run has **stages**, a stage has **requests**.
//! - **subject**: what is evaluated. **Deployment**: a running copy of it.
//!   **Envelope**: everything that a result depends on.
//! - **scheduled**, **sent**, **first token**, **last token**: the moments of a
//!   request. TTFT, ITL, TPOT, E2E: the latencies made of them.
//! - **offered rate**: requests a second that were asked for. **Throughput**:
//!   those that ended ok. **Goodput**: those that ended ok, correct and within
//!   the **SLO** (service level objective).
//! - **in flight**: sent and not yet ended. **Queue depth**: waiting in the
//!   subject. **Backlog**: due and not yet sent or ended.
//! - **warm-up**, **steady**, **cool-down**, **recovery**: phases of a run.
//! - **floor**: latency without queueing. **Knee**: where latency bends.
//!   **Peak**: the highest goodput. **Sustainable**: what holds for long.
//!
//! Start reading at [`table`], then [`spool`] and [`publish`].

mod append;
pub(crate) mod contract;
pub mod delta;
pub mod files;
pub mod id;
pub mod journal;
pub mod location;
mod log;
pub mod publish;
pub mod row;
pub mod sketch;
pub mod spool;
pub mod storage;
pub mod table;
pub mod time;
pub mod verdict;
pub mod vocabulary;

pub use id::{IdError, JobId, RunId, TaskId};
pub use journal::{AppendError, Journal, Recorded};
pub use location::{LocationError, StorageKind, WarehouseLocation};
pub use row::{Column, ColumnKind, RowError, TableRow};
pub use sketch::{Sketch, SketchError};
pub use storage::WarehouseStore;
pub use table::{
    CaseRow, ChunksRow, EnvelopeRow, EventRow, FleetRow, GpuSampleRow, JobRow, RequestRow, RunRow,
    SCHEMA_VERSION, SampleRow, SchemaName, ScoreRow, SpanRow, StageRow, Table, TickRow,
};
pub use time::{Date, Timestamp};
pub use verdict::Verdict;
pub use vocabulary::{FailureKind, Phase, RequestStatus, TimestampSource, TokenSource, Trigger};
