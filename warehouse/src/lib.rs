//! The read side of Plimsoll: SQL over the tables that `plimsoll-ingest` writes.
//!
//! A [`Warehouse`] answers queries over one immutable set of snapshots at a
//! time; [`Warehouse::refresh`] swaps in a newer set. A run is seen wholly or
//! not at all: files of runs that have no row in `runs` are left out.
//! Everything is read-only, and every query has limits ([`QueryLimits`]).
//!
//! This crate must not know how load is made, nor HTTP. Column names, types
//! and meanings come from `plimsoll-ingest` alone.
//!
//! Start reading at [`Warehouse::query`], then `snapshots.rs` (what is seen)
//! and `provider.rs` (how a table becomes a Parquet scan). The views are the
//! files in `views/`.

mod arithmetic;
mod bits;
mod cache;
mod catalog;
mod check;
mod dialect;
mod engine;
mod error;
mod files;
pub mod format;
mod functions;
mod growth;
mod information;
mod limits;
mod maintenance;
mod memory;
mod metered;
mod moments;
mod parameters;
mod plain;
mod planning;
mod provider;
mod read_only;
mod resolve;
mod runtime;
mod sizes;
mod sketches;
mod small_files;
mod snapshots;
mod sorting;
mod spans;
mod spilling;
pub mod statistics;
mod stopping;
mod store;
mod stream;
mod sums;
mod views;
mod warehouse;
mod wide;

pub use check::{Checked, Finding, Severity, check};
pub use dialect::{Dialect, Source};
pub use engine::WarehouseOptions;
pub use error::{OpenError, QueryError};
pub use format::Format;
pub use limits::{Access, QueryLimits};
pub use maintenance::{Chore, Done, Maintained, MaintenanceError, Retention, maintain};
pub use read_only::check_read_only;
pub use resolve::{ResolveError, resolve_run, resolve_run_within};
pub use stream::QueryStream;
pub use views::View;
pub use warehouse::Warehouse;
