//! From a model to an answer: run, then SQL, then the report.

use serde_json::json;

use crate::program::{Answer, Place};
use crate::simulated::Simulated;

#[test]
fn what_a_run_measures_can_be_asked_and_reported() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let run = place.done(&simulated.run(&["--profile", "smoke", "--json", "--label", "team=a"]));
    let end = run.json();
    assert_eq!(end["verdict"], "passed", "{run:?}");
    let run_id = end["run_id"]
        .as_str()
        .expect("one run's fields are at the top");
    assert_eq!(end["runs"][0]["run_id"], run_id);
    assert_eq!(
        place.value("select job_id from reports.jobs"),
        end["job_id"]
    );
    let of_row = "select ttft_ns_p50, ttft_ns_p99, e2e_ns_p99, error_rate, slo_attainment, \
                  output_tokens_per_s, schedule_lag_ns_p99 from reports.runs";
    let row = &place.rows(of_row)[0];
    for (name, value) in row.as_object().expect("a row") {
        assert_eq!(
            &end["summary"][name], value,
            "{name} of the summary and of the row"
        );
    }
    assert!(row["ttft_ns_p50"].is_i64(), "{row}");

    let totals = simulated.end();
    let rows = place.value("select count(*) from raw.requests");
    assert_eq!(rows, place.value("select sum(sent) from reports.stages"));
    assert_eq!(
        rows,
        place.value("select sum(ok + errors) from reports.stages")
    );
    assert_eq!(rows, place.value("select count(*) from raw.chunks"));
    assert_eq!(
        place.value("select sum(output_tokens) from raw.requests"),
        totals["output_tokens"],
        "tokens of the rows and of the simulator"
    );
    assert_eq!(
        place.value("select count(*) from raw.requests where ttft_ns < 5000000"),
        json!(0),
        "nothing is faster than the simulator can be"
    );
    assert_eq!(
        place.rows("select verdict, pillar, suite, labels from runs"),
        [json!({
            "verdict": "passed", "pillar": "performance", "suite": "smoke",
            "labels": r#"{"team":"a"}"#
        })]
    );

    let report = place.done(&["report", "latest"]).stdout;
    assert!(report.contains("PASSED"), "{report}");
    assert_eq!(
        report,
        place.done(&["report", &run_id[run_id.len() - 8..]]).stdout
    );
    let runs = place.done(&["runs", "--json"]).stdout;
    assert!(runs.contains(run_id), "{runs}");
    assert_eq!(place.spooled(), [""; 0], "nothing is left in the spool");
}

#[test]
fn a_step_run_finds_where_the_slots_are_full() {
    let place = Place::new();
    // A reply of 5 tokens holds its slot for 600 ms, so that 16 slots carry 27 a second.
    let simulated = Simulated::start(
        &place,
        &[
            "--slots",
            "16",
            "--ttft",
            "400ms",
            "--itl",
            "50ms",
            "--prompt-token",
            "0us",
        ],
    );
    let run = place.answer(&simulated.run(&[
        "--profile",
        "step",
        "--rate",
        "4",
        "--duration",
        "2s",
        "--prompt-tokens",
        "8",
        "--output-tokens",
        "5",
        "--slo",
        "e2e_p99=1500ms,demand=4",
        "--seed",
        "7",
        "--json",
    ]));
    assert_eq!(run.code, Some(0), "{run:?}");
    let stages =
        place.rows("select offered_rps from reports.stages where phase = 'steady' order by stage");
    let offered: Vec<f64> = stages
        .iter()
        .filter_map(|row| row["offered_rps"].as_f64())
        .collect();
    assert_eq!(offered, [4.0, 8.0, 16.0, 32.0, 64.0]);
    let limit = place.value(
        "select s.offered_rps from reports.stages s join reports.runs r \
         on s.run_key = r.run_key and s.stage = r.headline_stage",
    );
    let limit = limit.as_f64().expect("a rate");
    assert!(
        (4.0..64.0).contains(&limit),
        "4 a second can be carried, 64 cannot: {limit}"
    );
    let curve = place.rows("select * from saturation_curve('latest')");
    assert_eq!(curve.len(), 5, "{curve:?}");
}

#[test]
fn one_job_may_have_several_suites() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let run = place.done(&simulated.run(&[
        "--profile",
        "smoke",
        "--profile",
        "max_throughput",
        "--output-tokens",
        "4",
        "--concurrency",
        "2",
        "--json",
    ]));
    assert_eq!(run.json()["runs"].as_array().map(Vec::len), Some(2));
    assert_eq!(place.value("select count(*) from reports.jobs"), json!(1));
    assert_eq!(place.value("select runs from reports.jobs"), json!(2));
    assert_eq!(
        place.value("select count(distinct job_id) from reports.runs"),
        json!(1)
    );
}

#[test]
fn a_key_is_sent_and_never_written() {
    let place = Place::new();
    let key = "sk-do-not-print-me";
    let simulated = Simulated::start_with(
        &place,
        &[
            "--slots",
            "4",
            "--ttft",
            "5ms",
            "--itl",
            "1ms",
            "--api-key-env",
            "SIM_KEY",
        ],
        &[("SIM_KEY", key)],
    );
    let mut run = place.command(&simulated.run(&["--api-key-env", "SIM_KEY", "--json", "-vv"]));
    let answer = Answer::of(run.env("SIM_KEY", key).output().expect("it starts"));
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(
        !answer.stdout.contains(key) && !answer.stderr.contains(key),
        "{answer:?}"
    );
    let config = place.value("select config from reports.runs");
    assert!(!config.to_string().contains(key), "{config}");
}

/// Each percentile that a run keeps is the one that SQL works out of the raw rows.
#[test]
fn percentiles_are_those_of_sql() {
    let place = Place::new();
    let simulated = Simulated::start(
        &place,
        &[
            "--slots", "16", "--ttft", "10ms", "--itl", "2ms", "--jitter", "0.5",
        ],
    );
    place.done(&simulated.run(&[
        "--profile",
        "max_throughput",
        "--set",
        "concurrency=[3,7]",
        "--duration",
        "2s",
        "--prompt-tokens",
        "8",
        "--output-tokens",
        "6",
    ]));
    for latency in ["ttft", "tpot", "e2e", "queue", "itl"] {
        let values = match latency {
            "itl" => "select q.stage, unnest(array_slice(c.at_ns, 2, cast(array_length(c.at_ns) as bigint))) as x \
                 from raw.chunks c join raw.requests q \
                 on c.run_key = q.run_key and c.request_id = q.request_id where q.status = 'ok'"
                .to_owned(),
            _ => format!("select stage, {latency}_ns as x from raw.requests where status = 'ok'"),
        };
        for percentile in [50, 90, 95, 99] {
            let query = format!(
                "with x as ({values}), \
                 q as (select stage, cast(round(percentile_cont(0.{percentile}) \
                 within group (order by cast(x as double))) as bigint) as p from x group by stage) \
                 select s.stage, s.{latency}_ns_p{percentile} as kept, q.p as by_sql \
                 from reports.stages s join q on s.stage = q.stage where s.phase = 'steady'"
            );
            let rows = place.rows(&query);
            assert_eq!(rows.len(), 2, "{query}");
            for row in rows {
                assert_eq!(row["kept"], row["by_sql"], "{latency} p{percentile}: {row}");
            }
        }
    }
}
