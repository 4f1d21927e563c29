//! Views on numbers that can be computed on paper.

use plimsoll_ingest::{RunRow, StageRow, Verdict};
use plimsoll_warehouse::{Access, QueryLimits, ResolveError, View, resolve_run};

use crate::place::{
    EVERYTHING, Place, answer, ask, at, envelope, failure, id, request, run, stage, tick,
};

#[tokio::test]
async fn performance_summary_knows_which_way_is_better() {
    let place = Place::new();
    let figures = [(10.0, 100), (14.0, 80), (12.0, 120)];
    for (minute, (peak, p99_ms)) in figures.into_iter().enumerate() {
        let run_id = id(at(1, minute as i64), 1);
        place
            .append(&[RunRow {
                peak_goodput_rps: Some(peak),
                ttft_ns_p99: Some(p99_ms * 1_000_000),
                ..run(run_id, "m")
            }])
            .await;
    }
    for (number, verdict) in [Verdict::Invalid, Verdict::Cancelled, Verdict::Error]
        .iter()
        .enumerate()
    {
        let run_id = id(at(1, 10 + number as i64), 2);
        let spoiled = RunRow {
            verdict: verdict.to_string(),
            peak_goodput_rps: Some(99.0),
            ..run(run_id, "m")
        };
        place.append(&[spoiled]).await;
    }
    let warehouse = place.open().await;
    let sql = "SELECT model, profile, metric, unit, higher_is_better, runs, average, best, last, \
         gap, round(gap_pct, 3) FROM performance_summary ORDER BY metric";
    assert_eq!(
        answer(&warehouse, sql).await,
        "m,step,peak_goodput_rps,req/s,true,3,12.0,14.0,12.0,2.0,14.286\n\
         m,step,ttft_p99_ms,ms,false,3,100.0,80.0,120.0,40.0,50.0"
    );
}

#[tokio::test]
async fn performance_summary_is_zero_where_the_last_is_the_best_and_null_where_best_is_zero() {
    let place = Place::new();
    for (minute, error_rate) in [(0, 0.02), (1, 0.0)] {
        let run_id = id(at(1, minute), 1);
        place
            .append(&[RunRow {
                error_rate: Some(error_rate),
                ..run(run_id, "m")
            }])
            .await;
    }
    // Another question of the same model is another row.
    let other = RunRow {
        comparable_key: "other".into(),
        error_rate: Some(0.5),
        ..run(id(at(1, 2), 1), "m")
    };
    place.append(&[other]).await;
    let warehouse = place.open().await;
    let sql = "SELECT comparable_key, runs, best, last, gap, gap_pct FROM performance_summary \
         ORDER BY comparable_key";
    assert_eq!(
        answer(&warehouse, sql).await,
        "key,2,0.0,0.0,0.0,\nother,1,0.5,0.5,0.0,0.0"
    );
}

/// Of a best of 0 there is no per cent, and nothing is worse.
#[tokio::test]
async fn what_got_worse_than_zero_is_among_the_answers() {
    let place = Place::new();
    for (minute, error_rate) in [(0, 0.0), (1, 0.008)] {
        let row = RunRow {
            error_rate: Some(error_rate),
            ..run(id(at(1, minute), 1), "m")
        };
        place.append(&[row]).await;
    }
    let warehouse = place.open().await;
    let shipped = "SELECT sql FROM questions WHERE question LIKE '%at its best%'";
    let sql = answer(&warehouse, shipped).await;
    let sql = sql.trim_matches('"').replace("\"\"", "\"");
    let found = answer(&warehouse, &sql).await;
    assert!(found.contains("error_rate"), "{found}");
}

#[tokio::test]
async fn peak_rps_shows_the_best_of_each_day_with_its_envelope() {
    let place = Place::new();
    let peaks = [
        (1, 0, 15.0, "r1"),
        (1, 5, 16.0, "r2"),
        (1, 9, 11.0, "r3"),
        (2, 0, 14.0, "r3"),
    ];
    for (day, minute, peak, revision) in peaks {
        let run_id = id(at(day, minute), minute as u8 + 1);
        let mut env = envelope(run_id);
        env.gpu_sku = Some("H100".into());
        env.gpu_count = Some(2);
        env.engine = Some("vllm".into());
        place.append(&[env]).await;
        place
            .append(&[RunRow {
                peak_goodput_rps: Some(peak),
                peak_goodput_rps_low: Some(peak - 1.0),
                model_revision: Some(revision.into()),
                ..run(run_id, "m")
            }])
            .await;
    }
    // No peak, no row; a peak without an envelope, nulls.
    place.append(&[run(id(at(1, 20), 9), "m")]).await;
    let bare = RunRow {
        peak_goodput_rps: Some(3.0),
        ..run(id(at(1, 21), 9), "n")
    };
    place.append(&[bare]).await;
    let warehouse = place.open().await;
    let sql = "SELECT model, revision, engine, gpu_sku, gpu_count, comparable_key, day, \
         peak_goodput_rps, peak_goodput_rps_low, peak_goodput_rps_high, sustainable_rps \
         FROM peak_rps ORDER BY model, day";
    assert_eq!(
        answer(&warehouse, sql).await,
        "m,r2,vllm,H100,2,key,2026-01-01,16.0,15.0,,\n\
         m,r3,vllm,H100,2,key,2026-01-02,14.0,13.0,,\n\
         n,,,,,key,2026-01-01,3.0,,,"
    );
    let sql = "SELECT run_id FROM peak_rps WHERE day = '2026-01-01' AND model = 'm'";
    assert_eq!(answer(&warehouse, sql).await, id(at(1, 5), 6).to_string());
}

fn steady(
    run: plimsoll_ingest::RunId,
    number: i64,
    offered: Option<f64>,
    held: Option<i64>,
) -> StageRow {
    StageRow {
        offered_rps: offered,
        concurrency: held,
        duration_ns: 2_000_000_000,
        sent: 40,
        ok: 38,
        good: 30,
        errors: 2,
        throughput_rps: 19.0,
        goodput_rps: 15.0,
        output_tokens_per_s: Some(500.0),
        ttft_ns_p99: Some(470_000_000),
        in_flight_max: 44,
        valid: true,
        ..stage(run, number, "steady")
    }
}

#[tokio::test]
async fn saturation_curve_gives_steady_stages_in_order_of_load() {
    let place = Place::new();
    let (open, closed) = (id(at(1, 0), 1), id(at(1, 1), 2));
    place
        .append(&[
            stage(open, 0, "probe"),
            stage(open, 1, "warm_up"),
            steady(open, 2, Some(32.0), None),
            steady(open, 3, Some(4.0), None),
            steady(open, 4, Some(8.0), None),
        ])
        .await;
    place
        .append(&[
            steady(closed, 0, None, Some(8)),
            steady(closed, 1, None, Some(1)),
        ])
        .await;
    place.append(&[run(open, "m")]).await;
    place.append(&[run(closed, "m")]).await;
    let warehouse = place.open().await;
    let curve =
        |of: &str| format!("SELECT stage, offered_rps, concurrency FROM saturation_curve('{of}')");
    let rates = "3,4.0,\n4,8.0,\n2,32.0,";
    assert_eq!(answer(&warehouse, &curve(&open.to_string())).await, rates);
    assert_eq!(answer(&warehouse, &curve(&open.short())).await, rates);
    assert_eq!(
        answer(&warehouse, &curve(&format!("..{}", open.short()))).await,
        rates
    );
    assert_eq!(answer(&warehouse, &curve("latest")).await, "1,,1\n0,,8");

    let sql = format!(
        "SELECT duration_ms, throughput_rps, goodput_rps, output_tokens_per_s, ttft_p50_ms, \
         ttft_p99_ms, sent, error_rate, slo_attainment, in_flight_max, valid, run_id \
         FROM saturation_curve('{open}') WHERE offered_rps = 4"
    );
    let row = format!("2000.0,19.0,15.0,500.0,,470.0,40,0.05,0.75,44,true,{open}");
    assert_eq!(answer(&warehouse, &sql).await, row);
    // Every column of the query is a column of the function, in order.
    let all = answer(
        &warehouse,
        &format!("SELECT * FROM saturation_curve('{open}')"),
    )
    .await;
    assert_eq!(all.lines().count(), 3);
}

#[tokio::test]
async fn a_run_is_found_by_its_end_and_an_ambiguous_end_lists_the_matches() {
    let place = Place::new();
    let warehouse = place.open().await;
    let none = resolve_run(&warehouse, "latest").await;
    assert!(matches!(none, Err(ResolveError::NoRuns)), "{none:?}");

    let (first, second) = (id(at(1, 0), 0xAB), id(at(1, 1), 0xAB));
    let third = id(at(1, 2), 0xCD);
    for run_id in [first, third, second] {
        place.append(&[run(run_id, "m")]).await;
    }
    warehouse.refresh().await.expect("a newer set");
    let found = async |reference: &str| resolve_run(&warehouse, reference).await;
    assert_eq!(found("latest").await.expect("a run"), third);
    assert_eq!(found(&first.to_string()).await.expect("a run"), first);
    assert_eq!(found("CDCDCD").await.expect("a run"), third);

    let error = found("ababab").await.expect_err("two runs");
    let ResolveError::Ambiguous { matches, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(matches, &[second, first]);
    assert!(error.to_string().contains(&first.to_string()), "{error}");
    assert!(matches!(
        found("ababa").await,
        Err(ResolveError::NoReference { .. })
    ));
    assert!(matches!(
        found("' OR 1=1").await,
        Err(ResolveError::NoReference { .. })
    ));
    let unknown = found("123456").await.expect_err("no run");
    assert_eq!(unknown.to_string(), "there is no run `123456`");

    let limits = EVERYTHING;
    let sql = "SELECT count(*) AS n FROM saturation_curve($1) WHERE stage < $2";
    let asked = async |reference: &str| {
        let parameters = [serde_json::json!(reference), serde_json::json!(7)];
        ask(&warehouse, sql, &parameters, &limits).await
    };
    assert_eq!(asked("cdcdcd").await.expect("an answer"), "n\n0\n");
    let error = asked("x') OR ('").await.expect_err("no run");
    assert_eq!(error.to_string(), "`x') OR ('` names no run");
    let error = ask(&warehouse, sql, &[], &limits)
        .await
        .expect_err("no value");
    assert!(
        error.to_string().contains("uses 1, and 0 were given"),
        "{error}"
    );

    for (argument, says) in [
        ("'ababab'", "is the end of 2 runs"),
        ("'123456'", "there is no run `123456`"),
        ("7", "takes one run"),
        ("'latest', 'latest'", "takes one run"),
    ] {
        let error = failure(
            &warehouse,
            &format!("SELECT * FROM saturation_curve({argument})"),
        )
        .await;
        assert!(error.to_string().contains(says), "{argument}: {error}");
    }
}

#[tokio::test]
async fn every_question_has_a_statement_that_runs() {
    let place = Place::new();
    let run_id = id(at(1, 0), 1);
    place.append(&[stage(run_id, 0, "steady")]).await;
    place.append(&[tick(run_id, 1)]).await;
    place.append(&[request(run_id, 0)]).await;
    place.append(&[envelope(run_id)]).await;
    let row = RunRow {
        peak_goodput_rps: Some(16.0),
        ..run(run_id, "m")
    };
    place.append(&[row]).await;
    let warehouse = place.open().await;
    let everything = EVERYTHING;
    let mut result = warehouse
        .query("SELECT question, sql FROM questions", &[], &everything)
        .await
        .expect("questions");
    let mut asked = 0;
    while let Some(batch) = futures::StreamExt::next(&mut result).await {
        let batch = batch.expect("no error");
        let text = |column: usize, row: usize| {
            arrow::array::AsArray::as_string::<i32>(batch.column(column))
                .value(row)
                .to_string()
        };
        for row in 0..batch.num_rows() {
            let (question, sql) = (text(0, row), text(1, row));
            let access = if question.contains("raw") {
                Access::ReportsAndRaw
            } else {
                Access::Reports
            };
            let limits = QueryLimits {
                access,
                ..everything
            };
            let answer = ask(&warehouse, &sql, &[], &limits).await;
            answer.unwrap_or_else(|error| panic!("{question}: {sql}: {error}"));
            asked += 1;
        }
    }
    assert!(asked >= 8, "{asked} questions");
}

#[tokio::test]
async fn every_column_of_every_view_has_its_meaning() {
    let warehouse = Place::new().open().await;
    for view in View::ALL {
        let sql = format!("SELECT * FROM {}", view.name());
        let result = warehouse.query(&sql, &[], &EVERYTHING).await;
        let schema = result.expect("an answer").schema();
        let found: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        let told = view.columns();
        let named: Vec<&str> = told.iter().map(|(name, _)| *name).collect();
        assert_eq!(found, named, "{}", view.name());
        for (name, doc) in told {
            let sentence = doc.len() >= 5 && doc.ends_with('.');
            assert!(sentence, "{}.{name}: {doc}", view.name());
        }
    }
}
