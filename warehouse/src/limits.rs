//! What one query may see, and how much of the machine it may have.

use std::time::Duration;

use plimsoll_ingest::SchemaName;

/// Which schemas a query may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// `reports` alone: no prompts, no responses.
    Reports,
    /// `reports` and `raw`.
    ReportsAndRaw,
    /// Every schema, `audit` too.
    All,
}

impl Access {
    /// Every one, the least first.
    pub const ALL: [Self; 3] = [Self::Reports, Self::ReportsAndRaw, Self::All];

    /// The schemas, in the order in which names without a schema resolve.
    pub fn schemas(self) -> &'static [SchemaName] {
        match self {
            Self::Reports => &[SchemaName::Reports],
            Self::ReportsAndRaw => &[SchemaName::Reports, SchemaName::Raw],
            Self::All => &SchemaName::ALL,
        }
    }

    /// Whether `schema` is among them.
    pub fn allows(self, schema: SchemaName) -> bool {
        self.schemas().contains(&schema)
    }
}

/// The limits of one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// How long it may take, planning and reading of the result included.
    pub timeout: Duration,
    /// How many rows it may give; what lies beyond is cut off
    /// ([`QueryStream::truncated`](crate::QueryStream::truncated) tells).
    /// `None` for all.
    pub max_rows: Option<usize>,
    /// What it may see.
    pub access: Access,
}

impl Default for QueryLimits {
    /// One minute, all rows, `reports` alone.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            max_rows: None,
            access: Access::Reports,
        }
    }
}
