//! The executor of Plimsoll: makes load, measures what comes back, judges it.
//!
//! It depends on `plimsoll-ingest` for the contract of results and must not
//! know the warehouse, SQL engines or HTTP servers' frameworks: a GPU host
//! runs a compact worker. Only this crate calls model servers.
//!
//! Start at [`performance`] for how a run goes, and at [`load`] for the load
//! generator; [`simulate`] is the server with a known truth by which the
//! instruments are calibrated. Jobs that outlive a process go by [`dispatch`]
//! into the [`control`] store, and from there to a [`worker`].

pub mod bookkeeping;
pub mod comparable;
pub mod control;
pub mod dispatch;
pub mod job_spec;
pub mod load;
pub mod performance;
pub mod schedule;
pub mod simulate;
pub mod slo;
pub(crate) mod spelling;
pub mod timer;
pub mod verdict;
pub mod worker;
