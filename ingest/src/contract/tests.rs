//! Each rule refuses what it names, by column and row, and nothing else.

use arrow::datatypes::TimeUnit;

use super::*;
use crate::row::ColumnKind;
use crate::row::TableRow;
use crate::table::{
    ChunksRow, EnvelopeRow, GpuSampleRow, JobRow, RequestRow, RunRow, ScoreRow, StageRow,
};

fn run_id() -> RunId {
    RunId::from_digest(Timestamp::from_micros(1_767_268_800_000_000), [7; 10])
}

fn request(request_id: i64) -> RequestRow {
    RequestRow {
        scheduled_ns: 10,
        sent_ns: 12,
        done_ns: 40,
        queue_ns: 2,
        e2e_ns: 30,
        ..RequestRow::blank(run_id(), request_id)
    }
}

fn run() -> RunRow {
    RunRow {
        suite: "smoke".to_string(),
        model: "m".to_string(),
        envelope_id: "e".to_string(),
        comparable_key: "k".to_string(),
        ..RunRow::blank(run_id(), run_id().created_at())
    }
}

/// What is wrong with rows; empty where nothing is.
fn wrong<R: TableRow>(rows: &[R]) -> String {
    let batch = R::to_batch(rows).expect("a batch");
    let mut checker = Checker::new(R::TABLE, run_id()).expect("a checker");
    checker
        .check(&batch)
        .err()
        .map_or(String::new(), |error| error.to_string())
}

#[test]
fn lawful_rows_pass() {
    let good = RequestRow {
        status: "ok".to_string(),
        good: true,
        first_token_ns: Some(15),
        last_token_ns: Some(15),
        ttft_ns: Some(5),
        ..request(1)
    };
    assert_eq!(wrong(&[request(0), good]), "");
    assert_eq!(wrong(&[run()]), "");
    assert_eq!(
        wrong(&[StageRow::blank(run_id(), 0), StageRow::blank(run_id(), 1)]),
        ""
    );
    assert_eq!(wrong::<RequestRow>(&[]), "");
}

/// A change of the second row of two, and what is said about it.
#[test]
fn a_request_that_breaks_a_rule_is_refused_by_column_and_row() {
    type Change = fn(&mut RequestRow);
    let cases: [(Change, &str); 15] = [
        (
            |row| row.itl_ns = Some(vec![1, 3, 2, 4]),
            "`itl_ns`, row 1: [1, 3, 2, 4] are not four percentiles that rise",
        ),
        (
            |row| row.itl_ns = Some(vec![1, 2, 3]),
            "`itl_ns`, row 1: [1, 2, 3] are not four",
        ),
        (
            |row| row.phase = "warmup".into(),
            "`phase`, row 1: `warmup` is not one of probe, warm_up",
        ),
        (
            |row| row.status = "fine".into(),
            "`status`, row 1: `fine` is not one of ok, shed",
        ),
        (
            |row| row.failure_kind = Some("odd".into()),
            "`failure_kind`, row 1: `odd`",
        ),
        (|row| row.retries = -1, "`retries`, row 1: -1 is negative"),
        (
            |row| row.done_ns = 11,
            "`done_ns`, row 1: 11 is less than `sent_ns`, 12",
        ),
        (
            |row| row.queue_ns = 3,
            "`queue_ns`, row 1: 3 is not the difference of `sent_ns`, 12, and",
        ),
        (|row| row.e2e_ns = 31, "`e2e_ns`, row 1: 31"),
        (
            |row| row.good = true,
            "`good`, row 1: is true where `status` is incomplete",
        ),
        (
            |row| row.request_id = 0,
            "`request_id`, row 1: is there twice in the run",
        ),
        (|row| row.run_key += 1, "`run_key`, row 1: is not"),
        (
            |row| row.run_id = RunId::from_digest(run_id().created_at(), [8; 10]),
            "`run_id`, row 1: `019b79",
        ),
        (
            |row| row.date = crate::time::Date::from_days(1),
            "`date`, row 1: is not 2026-01-01, the day of run",
        ),
        (
            |row| (row.first_token_ns, row.ttft_ns) = (Some(20), Some(8)),
            "`ttft_ns`, row 1: 8 is not the difference of `first_token_ns`, 20",
        ),
    ];
    for (change, said) in cases {
        let mut second = request(1);
        change(&mut second);
        let found = wrong(&[request(0), second]);
        assert!(found.contains(said), "`{found}` does not say `{said}`");
        assert!(found.starts_with("table `requests`: column "), "{found}");
    }
}

#[test]
fn a_run_that_breaks_a_rule_is_refused_by_column() {
    type Change = fn(&mut RunRow);
    let cases: [(Change, &str); 9] = [
        (
            |row| row.verdict = "splendid".into(),
            "`verdict`, row 0: `splendid`",
        ),
        (
            |row| row.trigger = String::new(),
            "`trigger`, row 0: `` is not one of manual",
        ),
        (
            |row| row.comparable_key = String::new(),
            "`comparable_key`, row 0: is empty",
        ),
        (
            |row| row.labels = "[]".into(),
            "`labels`, row 0: is no JSON object",
        ),
        (
            |row| row.verdict_reasons = "x".into(),
            "`verdict_reasons`, row 0: is no JSON array",
        ),
        (
            |row| row.error_rate = Some(1.5),
            "`error_rate`, row 0: 1.5 is not from 0 to 1",
        ),
        (
            |row| row.cost_usd = Some(f64::NAN),
            "`cost_usd`, row 0: NaN is no finite number",
        ),
        (
            |row| row.peak_goodput_rps = Some(f64::INFINITY),
            "`peak_goodput_rps`, row 0: inf is no finite number",
        ),
        (
            |row| (row.ttft_ns_p50, row.ttft_ns_p99) = (Some(9), Some(8)),
            "`ttft_ns_p99`, row 0: 8 is less than `ttft_ns_p50`, 9",
        ),
    ];
    for (change, said) in cases {
        let mut row = run();
        change(&mut row);
        let found = wrong(&[row]);
        assert!(found.contains(said), "`{found}` does not say `{said}`");
    }
}

#[test]
fn counts_of_a_stage_have_to_add_up() {
    let stage = |sent, ok, good, errors| StageRow {
        sent,
        ok,
        good,
        errors,
        ..StageRow::blank(run_id(), 0)
    };
    assert_eq!(wrong(&[stage(5, 4, 3, 1)]), "");
    for (rows, column) in [
        (stage(5, 4, 3, 0), "`sent`"),
        (stage(5, 4, 5, 1), "`ok`"),
        (stage(-1, 0, 0, -1), "`sent`"),
    ] {
        let found = wrong(&[rows]);
        assert!(found.contains(&format!("column {column}")), "{found}");
    }
}

/// Rows come in batches; a repeated one may be the first of the next.
#[test]
fn rows_are_numbered_and_compared_across_batches() {
    let batch = |ids: &[i64]| {
        let rows: Vec<_> = ids.iter().map(|id| request(*id)).collect();
        RequestRow::to_batch(&rows).expect("a batch")
    };
    let mut checker = Checker::new(Table::Requests, run_id()).expect("a checker");
    checker.check(&batch(&[0, 1, 2])).expect("lawful");
    checker.check(&batch(&[])).expect("lawful");
    let error = checker.check(&batch(&[2, 3])).expect_err("twice");
    let said = "table `requests`: column `request_id`, row 3: is there twice in the run";
    assert_eq!(error.to_string(), said);
}

/// A rule about a column that does not exist, or has another type, would never speak.
#[test]
fn every_rule_is_about_columns_of_its_table() {
    let kind = |table: Table, name: &str| {
        let column = table.columns().iter().find(|column| column.name == name);
        column
            .unwrap_or_else(|| panic!("{table} has no column {name}"))
            .kind
            .data_type()
    };
    for table in Table::ALL {
        for rule in Rule::of(*table) {
            let is = |column: &str, types: &[DataType]| {
                let found = kind(*table, column);
                assert!(types.contains(&found), "{table}: {rule}: {found}");
            };
            let number = [DataType::Int64, DataType::Float64];
            match rule {
                Rule::Word(column, words) => {
                    is(column, &[DataType::Utf8]);
                    assert!(!words().is_empty(), "{rule}");
                }
                Rule::Filled(column) | Rule::JsonObject(column) | Rule::JsonArray(column) => {
                    is(column, &[DataType::Utf8]);
                }
                Rule::NotNegative(column) => is(column, &number),
                Rule::Share(column) => is(column, &[DataType::Float64]),
                Rule::Sketch(column) => is(column, &[DataType::Binary]),
                Rule::Rising(columns) => columns.iter().for_each(|name| is(name, &number[..1])),
                Rule::Sum(column, others) | Rule::Difference(column, others) => {
                    [column]
                        .into_iter()
                        .chain(others)
                        .for_each(|name| is(name, &number[..1]));
                }
                Rule::Implies(flag, (column, _)) => {
                    is(flag, &[DataType::Boolean]);
                    is(column, &[DataType::Utf8]);
                }
                Rule::MomentOfJob(column, job_id) => {
                    let micros = TimeUnit::Microsecond;
                    is(column, &[DataType::Timestamp(micros, Some("UTC".into()))]);
                    is(job_id, &[DataType::Utf8]);
                }
                Rule::Percentiles(column) => is(column, &[ColumnKind::Int64List.data_type()]),
                Rule::AsLong(column, other) => [column, other]
                    .into_iter()
                    .for_each(|name| is(name, &[ColumnKind::Int64List.data_type()])),
                Rule::Unique(columns) => {
                    // Repeated rows lie side by side, or not far from each other.
                    let by = |name: &str| table.sort_columns().contains(&name) || name == "run_id";
                    columns.iter().for_each(|name| drop(kind(*table, name)));
                    match table.merge_column() {
                        Some(column) => assert_eq!(columns[0], column, "{rule}"),
                        None => assert!(columns.iter().all(|name| by(name)), "{rule}"),
                    }
                }
            }
        }
    }
}

/// Samples of several GPUs are in order of their moments alone.
#[test]
fn a_gpu_that_is_sampled_twice_at_one_moment_is_found() {
    let id = run_id();
    let sample = |at_ns, gpu: &str| GpuSampleRow {
        run_id: id,
        run_key: id.run_key(),
        date: id.date(),
        at_ns,
        gpu_uuid: gpu.to_string(),
        sku: "H100".to_string(),
        utilization: 0.5,
        memory_used: 1,
        memory_total: 2,
        power_w: None,
        temperature_c: None,
        sm_clock_mhz: None,
        throttle_reasons: None,
        ecc_errors: None,
    };
    let lawful = [(1, "a"), (1, "b"), (2, "b"), (2, "a"), (3, "a")];
    let lawful = lawful.map(|(at_ns, gpu)| sample(at_ns, gpu));
    assert_eq!(wrong(&lawful), "");
    let repeated = [
        sample(1, "a"),
        sample(1, "b"),
        sample(1, "c"),
        sample(1, "a"),
    ];
    let said = wrong(&repeated);
    assert!(
        said.contains("`gpu_uuid`, row 3: is there twice in the run"),
        "{said}"
    );
    // Over the end of a batch, too.
    let mut checker = Checker::new(Table::GpuSamples, id).expect("a checker");
    let mut check = |rows| checker.check(&GpuSampleRow::to_batch(rows).expect("a batch"));
    check(&repeated[..3]).expect("lawful");
    let error = check(&repeated[3..]).expect_err("twice");
    assert!(
        error.to_string().contains("row 3: is there twice"),
        "{error}"
    );
}

#[test]
fn other_tables_are_held_to_their_rules_too() {
    let id = run_id();
    let chunks = |request_id| ChunksRow {
        run_id: id,
        run_key: id.run_key(),
        date: id.date(),
        request_id,
        at_ns: vec![1],
        tokens: None,
    };
    assert!(wrong(&[chunks(1), chunks(1)]).contains("twice"));
    let tokens = |tokens| ChunksRow {
        tokens: Some(tokens),
        ..chunks(1)
    };
    assert_eq!(wrong(&[tokens(vec![3])]), "");
    let said = wrong(&[tokens(vec![3, 4])]);
    assert!(
        said.contains("`tokens`, row 0: is of 2 chunks, and `at_ns` of 1"),
        "{said}"
    );
    let job_id = JobId::new(id.created_at());
    let job = JobRow {
        job_id: job_id.to_string(),
        spec: "no JSON".to_string(),
        verdict: "passed".to_string(),
        triggered_by: String::new(),
        trigger: "manual".to_string(),
        schedule_id: None,
        change: None,
        labels: "{}".to_string(),
        queued_at: id.created_at(),
        started_at: None,
        finished_at: id.created_at(),
        runs: 1,
    };
    assert!(wrong(std::slice::from_ref(&job)).contains("`spec`, row 0: is no JSON object"));
    let job = JobRow {
        spec: "{}".to_string(),
        ..job
    };
    assert_eq!(wrong(std::slice::from_ref(&job)), "");
    let later = Timestamp::from_micros(id.created_at().micros() + 1_000);
    let requeued = JobRow {
        queued_at: later,
        ..job.clone()
    };
    let said = format!(
        "`queued_at`, row 0: {later} is not {}, as `job_id` says",
        id.created_at()
    );
    assert!(wrong(&[requeued]).contains(&said));
    let named = JobRow {
        job_id: "nightly".to_string(),
        ..job
    };
    assert!(wrong(&[named]).contains("`job_id`, row 0: is no job's id (a UUIDv7)"));
    let score = |value| ScoreRow {
        run_id: id,
        run_key: id.run_key(),
        benchmark: "b".to_string(),
        metric: "acc".to_string(),
        value,
        stderr: None,
        n: 10,
        higher_is_better: true,
        benchmark_version: None,
        dataset_digest: None,
        evaluator: "e".to_string(),
        evaluator_version: "1".to_string(),
        prompt_digest: None,
        decoding: "{}".to_string(),
        settings: "{}".to_string(),
        comparable_key: "k".to_string(),
    };
    assert_eq!(wrong(&[score(0.5)]), "");
    assert!(wrong(&[score(0.5), score(0.6)]).contains("`metric`, row 1: is there twice"));
    assert!(wrong(&[score(f64::NEG_INFINITY)]).contains("`value`, row 0: -inf"));
    let envelope = EnvelopeRow {
        envelope_id: "e".to_string(),
        gpu_count: Some(-1),
        plimsoll_version: "1".to_string(),
        ..EnvelopeRow::blank(id)
    };
    assert!(wrong(&[envelope]).contains("`gpu_count`, row 0: -1 is negative"));
    let stage = |ttft_sketch| StageRow {
        name: "s".to_string(),
        phase: "steady".to_string(),
        ttft_sketch,
        ..StageRow::blank(id, 0)
    };
    let sketch: crate::Sketch = [1.0, 2.0].into_iter().collect();
    assert_eq!(wrong(&[stage(Some(sketch.to_bytes()))]), "");
    let torn = wrong(&[stage(Some(sketch.to_bytes()[..20].to_vec()))]);
    assert!(torn.contains("`ttft_sketch`, row 0: the sketch is damaged"));
}
