//! The result of a job as JSON: the last line of `run --json`.

use plimsoll_executor::performance::{JobOutcome, RunOutcome};
use plimsoll_ingest::{RunRow, Verdict};
use serde_json::{Map, Value, json};

use crate::failure::{Exit, Failure};

/// The job and its runs, with the fields of a single run at the top too. `headlines` are the
/// judgements in one sentence, in the order of the runs.
pub(super) fn of_job(outcome: &JobOutcome, headlines: &[Option<&str>]) -> Value {
    let mut runs: Vec<_> = outcome
        .runs
        .iter()
        .zip(headlines)
        .map(|(run, headline)| of_run(run, *headline))
        .collect();
    let mut job = Map::new();
    if let [only] = runs.as_slice() {
        job.clone_from(only);
    }
    job.insert("job_id".to_owned(), json!(outcome.job_id));
    job.insert("verdict".to_owned(), json!(outcome.verdict));
    let runs = runs.drain(..).map(Value::Object).collect();
    job.insert("runs".to_owned(), Value::Array(runs));
    Value::Object(job)
}

/// A job that came to no run: the same fields, and why.
pub(super) fn of_no_job(failure: &Failure) -> Value {
    let verdict = match failure.exit() {
        Exit::Cancelled => Verdict::Cancelled,
        _ => Verdict::Error,
    };
    json!({
        "job_id": null,
        "verdict": verdict,
        "runs": [],
        "error": failure.error(),
        "help": failure.help(),
    })
}

fn of_run(outcome: &RunOutcome, headline: Option<&str>) -> Map<String, Value> {
    let run = &outcome.run;
    // The row was made by this process, so that what is no JSON would be a defect; it is shown.
    let reasons =
        serde_json::from_str(&run.verdict_reasons).unwrap_or_else(|_| json!(run.verdict_reasons));
    let mut fields = Map::new();
    fields.insert("run_id".to_owned(), json!(run.run_id));
    fields.insert("profile".to_owned(), json!(run.profile));
    fields.insert("verdict".to_owned(), json!(run.verdict));
    fields.insert("verdict_reasons".to_owned(), reasons);
    fields.insert("summary".to_owned(), summary(run, headline));
    fields.insert("published".to_owned(), json!(outcome.unpublished.is_none()));
    let error = outcome.failure.as_ref().map(ToString::to_string);
    if let Some(error) =
        error.or_else(|| outcome.unpublished.as_ref().map(|why| why.reason.clone()))
    {
        fields.insert("error".to_owned(), json!(error));
    }
    fields
}

/// The headline figures, under the names of their columns; null where they do not apply.
fn summary(run: &RunRow, headline: Option<&str>) -> Value {
    json!({
        "headline": headline,
        "headline_stage": run.headline_stage,
        "peak_goodput_rps": run.peak_goodput_rps,
        "limit_found": run.limit_found,
        "peak_throughput_rps": run.peak_throughput_rps,
        "output_tokens_per_s": run.output_tokens_per_s,
        "floor_ttft_ns": run.floor_ttft_ns,
        "ttft_ns_p50": run.ttft_ns_p50,
        "ttft_ns_p99": run.ttft_ns_p99,
        "tpot_ns_p50": run.tpot_ns_p50,
        "tpot_ns_p99": run.tpot_ns_p99,
        "itl_ns_p50": run.itl_ns_p50,
        "itl_ns_p99": run.itl_ns_p99,
        "e2e_ns_p50": run.e2e_ns_p50,
        "e2e_ns_p99": run.e2e_ns_p99,
        "error_rate": run.error_rate,
        "slo_attainment": run.slo_attainment,
        "schedule_lag_ns_p99": run.schedule_lag_ns_p99,
    })
}

/// The same of a run that a server shows.
pub(crate) fn summary_of_row(row: &Map<String, Value>) -> Value {
    let of = |column: &str| {
        (
            column.to_owned(),
            row.get(column).cloned().unwrap_or(Value::Null),
        )
    };
    Value::Object(SUMMARY.iter().map(|column| of(column)).collect())
}

/// The columns that a summary has.
const SUMMARY: [&str; 17] = [
    "headline_stage",
    "peak_goodput_rps",
    "limit_found",
    "peak_throughput_rps",
    "output_tokens_per_s",
    "floor_ttft_ns",
    "ttft_ns_p50",
    "ttft_ns_p99",
    "tpot_ns_p50",
    "tpot_ns_p99",
    "itl_ns_p50",
    "itl_ns_p99",
    "e2e_ns_p50",
    "e2e_ns_p99",
    "error_rate",
    "slo_attainment",
    "schedule_lag_ns_p99",
];

#[cfg(test)]
mod tests {
    use plimsoll_ingest::{RunId, Timestamp};

    use super::*;

    #[test]
    fn a_run_of_a_server_has_the_same_summary() {
        let now = Timestamp::now();
        let of_row = summary(&RunRow::blank(RunId::new(now), now), None);
        let of_server = summary_of_row(&Map::new());
        let names = |value: &Value| -> Vec<String> {
            let fields = value.as_object().expect("an object").keys();
            fields.filter(|name| *name != "headline").cloned().collect()
        };
        assert_eq!(names(&of_row), names(&of_server));
    }
}
