//! The load generator: one loop that sends what is due and measures what comes back.
//!
//! Start at `drive`, the loop; [`client`] carries one request, [`reply`] reads
//! what comes, [`metrics`] derives latencies, [`stage`] sums up. What decides
//! and derives is pure; clocks and sockets are in [`clock`], [`stamped`] and
//! [`client`] alone.

pub mod abort;
pub mod arrivals;
pub mod chat;
pub mod client;
pub mod clock;
pub(crate) mod drive;
pub mod endpoint;
pub mod live;
pub mod metrics;
pub mod percentile;
pub mod profile;
pub(crate) mod recorder;
pub mod reply;
pub mod rows;
pub mod sse;
pub mod stage;
pub mod stamped;
pub mod stop;
pub mod trace;
pub mod workload;
