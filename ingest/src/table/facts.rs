//! Tables of what was sampled once a second or once a minute.

use crate::id::RunId;
use crate::row::table_row;
use crate::time::{Date, Timestamp};

table_row! {
    /// One row per second and run.
    Ticks => TickRow {
        /// The run (UUIDv7).
        run_id: RunId,
        /// The run as an integer; joins use it.
        run_key: i64,
        /// UTC day of the run's start; the partition.
        date: Date,
        /// End of the second, in ns since the run's start.
        at_ns: i64,
        /// Arrivals scheduled in the second; the probe is none.
        offered: i64,
        /// Requests that ended ok in the second, the probe too.
        completed: i64,
        /// Of these, good ones.
        good: i64,
        /// Requests that ended otherwise in the second.
        errors: i64,
        /// Requests in flight at its end.
        in_flight: i64,
        /// Arrivals due and not ended at its end; 0 in a closed loop, which has no schedule.
        backlog: i64,
        /// Requests that the engine says it serves.
        server_running: Option<f64>,
        /// Requests that the engine says wait.
        server_waiting: Option<f64>,
        /// Share of the key-value cache in use, 0 to 1.
        kv_cache_usage: Option<f64>,
        /// Share of prefix cache hits, 0 to 1.
        prefix_cache_hit_rate: Option<f64>,
        /// Share of speculated tokens accepted, 0 to 1.
        spec_accept_rate: Option<f64>,
    }
}

table_row! {
    /// One row per second, GPU and run.
    GpuSamples => GpuSampleRow {
        /// The run (UUIDv7).
        run_id: RunId,
        /// The run as an integer; joins use it.
        run_key: i64,
        /// UTC day of the run's start; the partition.
        date: Date,
        /// When, in ns since the run's start.
        at_ns: i64,
        /// The GPU.
        gpu_uuid: String,
        /// Its model.
        sku: String,
        /// Share of time in use, 0 to 1.
        utilization: f64,
        /// Bytes of memory in use.
        memory_used: i64,
        /// Bytes of memory.
        memory_total: i64,
        /// Power drawn, in watts.
        power_w: Option<f64>,
        /// Temperature, in degrees Celsius.
        temperature_c: Option<f64>,
        /// Clock of the multiprocessors, in MHz.
        sm_clock_mhz: Option<i64>,
        /// Why the clock is held down.
        throttle_reasons: Option<String>,
        /// Uncorrected memory errors so far.
        ecc_errors: Option<i64>,
    }
}

table_row! {
    /// One row per minute and GPU, and one per minute and host; no run needed.
    Fleet => FleetRow {
        /// When.
        at: Timestamp,
        /// The host.
        host: String,
        /// The GPU; null in the row of the host itself.
        gpu_uuid: Option<String>,
        /// Its model.
        sku: Option<String>,
        /// idle, leased, quarantined or foreign.
        state: String,
        /// Share of time in use, 0 to 1.
        utilization: Option<f64>,
        /// Bytes of memory in use.
        memory_used: Option<i64>,
        /// The deployment that holds it.
        deployment: Option<String>,
        /// Tasks that wait.
        queued: Option<i64>,
        /// Age of the oldest of them, in seconds.
        oldest_queued_s: Option<f64>,
    }
}
