//! What the server counts, under the names that vLLM gives it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::slots::Occupancy;

/// The counters of a server. Each stands alone, so that the order in which
/// other threads see them does not matter.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) generation_tokens: AtomicU64,
    pub(crate) completed_by_length: AtomicU64,
    pub(crate) completed_otherwise: AtomicU64,
    /// Broken off by a fault, or left by the client.
    pub(crate) unfinished: AtomicU64,
    /// Answered with an HTTP error.
    pub(crate) refused: AtomicU64,
    ttft: Histogram,
    queue: Histogram,
    e2e: Histogram,
}

/// Upper bounds in milliseconds.
const BOUNDS_MS: [u64; 14] = [
    5, 10, 20, 40, 60, 80, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000,
];

#[derive(Debug, Default)]
struct Histogram {
    /// By the first bound that holds; the last one is for what none holds.
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_ns: AtomicU64,
}

pub(crate) fn count(meter: &AtomicU64, by: u64) {
    meter.fetch_add(by, Ordering::Relaxed);
}

fn read(meter: &AtomicU64) -> u64 {
    meter.load(Ordering::Relaxed)
}

impl Histogram {
    fn observe(&self, duration_ns: i64) {
        let duration_ns = u64::try_from(duration_ns).unwrap_or(0);
        let bucket = BOUNDS_MS.partition_point(|bound| bound * 1_000_000 < duration_ns);
        count(&self.buckets[bucket], 1);
        count(&self.sum_ns, duration_ns);
    }
}

impl Meters {
    /// From arrival to the first token's departure.
    pub(crate) fn observe_ttft(&self, duration_ns: i64) {
        self.ttft.observe(duration_ns);
    }

    /// From arrival to the slot.
    pub(crate) fn observe_queue(&self, duration_ns: i64) {
        self.queue.observe(duration_ns);
    }

    /// From arrival to the last token's deadline.
    pub(crate) fn observe_e2e(&self, duration_ns: i64) {
        self.e2e.observe(duration_ns);
    }

    pub(crate) fn completed(&self) -> u64 {
        read(&self.completed_by_length) + read(&self.completed_otherwise)
    }

    /// All of it in the text format of Prometheus.
    pub(crate) fn exposition(
        &self,
        model: &str,
        slots: u32,
        now: Occupancy,
        truth_lost: u64,
    ) -> String {
        let model = model.replace('\\', "\\\\").replace('"', "\\\"");
        let mut page = Page {
            label: format!("model_name=\"{model}\""),
            text: String::with_capacity(6_000),
        };
        page.gauge(
            "vllm:num_requests_running",
            "Requests that hold a slot.",
            f64::from(now.busy),
        );
        page.gauge(
            "vllm:num_requests_waiting",
            "Requests in the queue.",
            now.waiting as f64,
        );
        page.gauge(
            "vllm:kv_cache_usage_perc",
            "Share of the slots that are held, from 0 to 1.",
            f64::from(now.busy) / f64::from(slots),
        );
        page.counter(
            "vllm:prompt_tokens_total",
            "Prompt tokens of requests that got a slot.",
            &self.prompt_tokens,
        );
        page.counter(
            "vllm:generation_tokens_total",
            "Output tokens that were sent.",
            &self.generation_tokens,
        );
        page.head(
            "vllm:request_success_total",
            "Requests that ended, by reason.",
            "counter",
        );
        for (reason, meter) in [
            ("length", &self.completed_by_length),
            ("stop", &self.completed_otherwise),
            ("abort", &self.unfinished),
        ] {
            let label = format!(",finished_reason=\"{reason}\"");
            page.sample("vllm:request_success_total", &label, read(meter));
        }
        page.histogram(
            "vllm:time_to_first_token_seconds",
            "From arrival to the first token.",
            &self.ttft,
        );
        page.histogram(
            "vllm:request_queue_time_seconds",
            "From arrival to the slot.",
            &self.queue,
        );
        page.histogram(
            "vllm:e2e_request_latency_seconds",
            "From arrival to the last token.",
            &self.e2e,
        );
        page.counter(
            "plimsoll_simulator_refused_total",
            "Requests that were answered with an HTTP error.",
            &self.refused,
        );
        page.head(
            "plimsoll_simulator_truth_lost_total",
            "Requests that the truth log could not take.",
            "counter",
        );
        page.sample("plimsoll_simulator_truth_lost_total", "", truth_lost);
        page.text
    }
}

struct Page {
    label: String,
    text: String,
}

impl Page {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("writing to a string cannot fail");
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, more_labels: &str, value: impl std::fmt::Display) {
        let label = std::mem::take(&mut self.label);
        self.line(format_args!("{name}{{{label}{more_labels}}} {value}"));
        self.label = label;
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, "gauge");
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, meter: &AtomicU64) {
        self.head(name, help, "counter");
        self.sample(name, "", read(meter));
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        let bucket_name = format!("{name}_bucket");
        let mut total = 0;
        for (place, bucket) in histogram.buckets.iter().enumerate() {
            total += read(bucket);
            let label = match BOUNDS_MS.get(place) {
                Some(bound) => {
                    let bound = Duration::from_millis(*bound).as_secs_f64();
                    format!(",le=\"{bound}\"")
                }
                None => ",le=\"+Inf\"".to_owned(),
            };
            self.sample(&bucket_name, &label, total);
        }
        let sum = Duration::from_nanos(read(&histogram.sum_ns)).as_secs_f64();
        self.sample(&format!("{name}_sum"), "", sum);
        self.sample(&format!("{name}_count"), "", total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_reads_as_prometheus_expects() {
        let meters = Meters::default();
        count(&meters.generation_tokens, 7);
        count(&meters.completed_by_length, 2);
        meters.observe_ttft(50_000_000);
        meters.observe_ttft(60_000_001);
        meters.observe_ttft(90_000_000_000);
        let now = Occupancy {
            busy: 2,
            waiting: 5,
        };
        let page = meters.exposition("a \"b\"", 8, now, 3);
        for line in [
            r#"vllm:num_requests_running{model_name="a \"b\""} 2"#,
            r#"vllm:num_requests_waiting{model_name="a \"b\""} 5"#,
            r#"vllm:kv_cache_usage_perc{model_name="a \"b\""} 0.25"#,
            r#"vllm:generation_tokens_total{model_name="a \"b\""} 7"#,
            r#"vllm:request_success_total{model_name="a \"b\"",finished_reason="length"} 2"#,
            r#"vllm:time_to_first_token_seconds_bucket{model_name="a \"b\"",le="0.04"} 0"#,
            r#"vllm:time_to_first_token_seconds_bucket{model_name="a \"b\"",le="0.06"} 1"#,
            r#"vllm:time_to_first_token_seconds_bucket{model_name="a \"b\"",le="0.08"} 2"#,
            r#"vllm:time_to_first_token_seconds_bucket{model_name="a \"b\"",le="60"} 2"#,
            r#"vllm:time_to_first_token_seconds_bucket{model_name="a \"b\"",le="+Inf"} 3"#,
            r#"vllm:time_to_first_token_seconds_sum{model_name="a \"b\""} 90.110000001"#,
            r#"vllm:time_to_first_token_seconds_count{model_name="a \"b\""} 3"#,
            r#"plimsoll_simulator_truth_lost_total{model_name="a \"b\""} 3"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }
}
