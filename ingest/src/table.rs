//! The tables of the warehouse: names, folders, schemas.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use crate::row::{Column, TableRow};

mod audit;
mod blank;
#[cfg(test)]
mod document;
mod facts;
mod raw;
mod reports;
mod stage;

pub use audit::EventRow;
pub use facts::{FleetRow, GpuSampleRow, TickRow};
pub use raw::{CaseRow, ChunksRow, RequestRow, SampleRow, SpanRow};
pub use reports::{EnvelopeRow, JobRow, RunRow, ScoreRow};
pub use stage::StageRow;

/// The version of the tables' schemas as a whole. Additions keep it; a change
/// that an earlier release could not read would raise it.
pub const SCHEMA_VERSION: u32 = 1;

/// The schemas of the warehouse: folders of it, and what roles are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaName {
    /// What everybody may read: no prompts, no responses.
    Reports,
    /// Samples as they were taken.
    Raw,
    /// Who did what.
    Audit,
}

impl SchemaName {
    /// All schemas, in the order in which unqualified names resolve.
    pub const ALL: [Self; 3] = [Self::Reports, Self::Raw, Self::Audit];

    /// The name in SQL, and of the folder.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reports => "reports",
            Self::Raw => "raw",
            Self::Audit => "audit",
        }
    }
}

macro_rules! tables {
    ($($variant:ident = $schema:ident . $name:literal, $partitioned:literal, $row:ty;)+) => {
        /// A table of the warehouse.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Table { $(
            #[doc = concat!("`", $name, "`")]
            $variant
        ),+ }

        impl Table {
            /// Every table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in SQL, and of the folder.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The schema that holds it.
            pub const fn schema_name(self) -> SchemaName {
                match self { $(Self::$variant => SchemaName::$schema),+ }
            }

            /// Whether it is partitioned by `date`, the UTC day of the run's start.
            pub const fn partitioned(self) -> bool {
                match self { $(Self::$variant => $partitioned),+ }
            }

            /// The columns, in order.
            pub const fn columns(self) -> &'static [Column] {
                match self { $(Self::$variant => <$row as TableRow>::COLUMNS),+ }
            }

            /// The row grain and the purpose, in words.
            pub fn doc(self) -> String {
                let doc = match self { $(Self::$variant => <$row>::DOC),+ };
                doc.split_whitespace().collect::<Vec<_>>().join(" ")
            }
        }
    };
}

tables! {
    Jobs = Reports."jobs", false, JobRow;
    Runs = Reports."runs", false, RunRow;
    Envelopes = Reports."envelopes", false, EnvelopeRow;
    Stages = Reports."stages", false, StageRow;
    Ticks = Reports."ticks", true, TickRow;
    GpuSamples = Reports."gpu_samples", true, GpuSampleRow;
    Fleet = Reports."fleet", false, FleetRow;
    Scores = Reports."scores", false, ScoreRow;
    Requests = Raw."requests", true, RequestRow;
    Chunks = Raw."chunks", true, ChunksRow;
    Cases = Raw."cases", true, CaseRow;
    Samples = Raw."samples", true, SampleRow;
    Spans = Raw."spans", true, SpanRow;
    Events = Audit."events", false, EventRow;
}

impl Table {
    /// The folder below the warehouse's root, such as `reports/runs`.
    pub fn path(self) -> String {
        format!("{}/{}", self.schema_name().as_str(), self.name())
    }

    /// The schema, with each column's meaning in its field's metadata.
    pub fn arrow_schema(self) -> SchemaRef {
        let fields: Vec<_> = self.columns().iter().map(Column::field).collect();
        Arc::new(Schema::new(fields))
    }

    /// The table of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|table| table.name() == name)
    }

    /// The columns by which a run's rows are sorted in its file.
    pub const fn sort_columns(self) -> &'static [&'static str] {
        match self {
            Self::Requests | Self::Chunks => &["run_key", "request_id"],
            Self::Ticks | Self::GpuSamples => &["run_key", "at_ns"],
            Self::Stages => &["run_key", "stage"],
            Self::Spans => &["run_key", "start_ns"],
            Self::Cases => &["run_key", "case_id"],
            Self::Samples => &["run_key", "benchmark", "sample_id"],
            Self::Scores => &["run_key", "benchmark", "metric"],
            Self::Jobs => &["finished_at"],
            Self::Runs | Self::Envelopes => &["run_key"],
            Self::Fleet | Self::Events => &["at"],
        }
    }
}

impl Table {
    /// The columns whose minimum, maximum and null count the log keeps per
    /// file: what queries prune by. Few, since every reader loads them all.
    pub const fn stats_columns(self) -> &'static [&'static str] {
        match self {
            Self::Requests => &["run_key", "request_id", "stage", "scheduled_ns", "done_ns"],
            Self::Chunks => &["run_key", "request_id"],
            Self::Ticks | Self::GpuSamples => &["run_key", "at_ns"],
            Self::Spans => &["run_key", "start_ns"],
            Self::Runs => &["run_key", "started_at", "finished_at"],
            Self::Stages => &["run_key", "stage"],
            Self::Envelopes | Self::Scores | Self::Cases | Self::Samples => &["run_key"],
            Self::Jobs => &["queued_at", "finished_at"],
            Self::Fleet | Self::Events => &["at"],
        }
    }

    /// The integer column by which a run's rows are merged in order; `None`
    /// where they are few and sorted at once.
    pub const fn merge_column(self) -> Option<&'static str> {
        match self {
            Self::Requests | Self::Chunks => Some("request_id"),
            Self::Ticks | Self::GpuSamples => Some("at_ns"),
            Self::Spans => Some("start_ns"),
            _ => None,
        }
    }

    /// Whether the rows are about runs and hold `run_key`.
    pub const fn per_run(self) -> bool {
        !matches!(self, Self::Jobs | Self::Fleet | Self::Events)
    }

    /// Whether the rows are about no run and no job, and are numbered by who writes them.
    pub const fn is_journal(self) -> bool {
        matches!(self, Self::Fleet | Self::Events)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema_name().as_str(), self.name())
    }
}
