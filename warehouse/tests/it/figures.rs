//! Every figure is the column that it is named after, in its unit, and better in its direction.

use plimsoll_ingest::{RunRow, StageRow, Verdict};

use crate::place::{EVERYTHING, Place, answer, ask, at, id, run, stage};

/// A run whose figures all differ, each a whole multiple of `factor`.
fn figures(minute: i64, factor: i64) -> RunRow {
    let number = |n: i64| Some((n * factor) as f64);
    let ms = |n: i64| Some(n * factor * 1_000_000);
    RunRow {
        peak_goodput_rps: number(1),
        peak_throughput_rps: number(2),
        sustainable_rps: number(3),
        output_tokens_per_s: number(4),
        slo_attainment: number(5),
        error_rate: number(6),
        floor_ttft_ns: ms(7),
        ttft_ns_p50: ms(8),
        ttft_ns_p90: ms(9),
        ttft_ns_p95: ms(10),
        ttft_ns_p99: ms(11),
        tpot_ns_p50: ms(12),
        tpot_ns_p90: ms(13),
        tpot_ns_p95: ms(14),
        tpot_ns_p99: ms(15),
        itl_ns_p50: ms(16),
        itl_ns_p90: ms(17),
        itl_ns_p95: ms(18),
        itl_ns_p99: ms(19),
        e2e_ns_p50: ms(20),
        e2e_ns_p90: ms(21),
        e2e_ns_p95: ms(22),
        e2e_ns_p99: ms(23),
        recovery_ns: ms(24),
        recovery_rps: number(25),
        cost_usd: number(26),
        ..run(id(at(1, minute), minute as u8 + 1), "m")
    }
}

#[tokio::test]
async fn performance_summary_has_every_headline_figure() {
    let place = Place::new();
    // The later run is twice the earlier one: better where higher is better, else worse by half.
    place.append(&[figures(0, 1)]).await;
    place.append(&[figures(1, 2)]).await;
    let warehouse = place.open().await;
    let sql = "SELECT metric, unit, higher_is_better, best, last, gap FROM performance_summary \
         ORDER BY metric";
    assert_eq!(
        answer(&warehouse, sql).await,
        "cost_usd,USD,false,26.0,52.0,26.0\n\
         e2e_p50_ms,ms,false,20.0,40.0,20.0\n\
         e2e_p90_ms,ms,false,21.0,42.0,21.0\n\
         e2e_p95_ms,ms,false,22.0,44.0,22.0\n\
         e2e_p99_ms,ms,false,23.0,46.0,23.0\n\
         error_rate,share,false,6.0,12.0,6.0\n\
         floor_ttft_ms,ms,false,7.0,14.0,7.0\n\
         itl_p50_ms,ms,false,16.0,32.0,16.0\n\
         itl_p90_ms,ms,false,17.0,34.0,17.0\n\
         itl_p95_ms,ms,false,18.0,36.0,18.0\n\
         itl_p99_ms,ms,false,19.0,38.0,19.0\n\
         output_tokens_per_s,tokens/s,true,8.0,8.0,0.0\n\
         peak_goodput_rps,req/s,true,2.0,2.0,0.0\n\
         peak_throughput_rps,req/s,true,4.0,4.0,0.0\n\
         recovery_ms,ms,false,24.0,48.0,24.0\n\
         recovery_rps,req/s,true,50.0,50.0,0.0\n\
         slo_attainment,share,true,10.0,10.0,0.0\n\
         sustainable_rps,req/s,true,6.0,6.0,0.0\n\
         tpot_p50_ms,ms,false,12.0,24.0,12.0\n\
         tpot_p90_ms,ms,false,13.0,26.0,13.0\n\
         tpot_p95_ms,ms,false,14.0,28.0,14.0\n\
         tpot_p99_ms,ms,false,15.0,30.0,15.0\n\
         ttft_p50_ms,ms,false,8.0,16.0,8.0\n\
         ttft_p90_ms,ms,false,9.0,18.0,9.0\n\
         ttft_p95_ms,ms,false,10.0,20.0,10.0\n\
         ttft_p99_ms,ms,false,11.0,22.0,11.0"
    );
}

#[tokio::test]
async fn saturation_curve_has_every_figure_of_a_stage() {
    let place = Place::new();
    let run_id = id(at(1, 0), 1);
    let ms = |n: i64| Some(n * 1_000_000);
    let steady = StageRow {
        workload_class: Some("chat".into()),
        offered_rps: Some(1.5),
        concurrency: Some(2),
        duration_ns: 4_000_000_000,
        throughput_rps: 5.5,
        goodput_rps: 6.5,
        output_tokens_per_s: Some(13.75),
        output_tokens: 150,
        prompt_tokens: 999,
        ttft_ns_p50: ms(7),
        ttft_ns_p90: ms(901),
        ttft_ns_p99: ms(8),
        tpot_ns_p50: ms(9),
        tpot_ns_p90: ms(902),
        tpot_ns_p99: ms(10),
        itl_ns_p50: ms(11),
        itl_ns_p90: ms(903),
        itl_ns_p99: ms(12),
        e2e_ns_p50: ms(13),
        e2e_ns_p90: ms(904),
        e2e_ns_p99: ms(14),
        queue_ns_p99: ms(905),
        sent: 80,
        missed: 15,
        ok: 60,
        good: 40,
        errors: 20,
        timeouts: 19,
        in_flight_max: 16,
        achieved_ratio: Some(0.75),
        backlog_slope: Some(0.125),
        schedule_lag_ns_p99: ms(17),
        valid: true,
        ..stage(run_id, 3, "steady")
    };
    place.append(&[steady]).await;
    place.append(&[run(run_id, "m")]).await;
    let warehouse = place.open().await;
    // By name, as people ask for them: the names and the statement behind them are two lists.
    let figures = [
        ("stage", "3"),
        ("name", "stage 3"),
        ("workload_class", "chat"),
        ("offered_rps", "1.5"),
        ("concurrency", "2"),
        ("duration_ms", "4000.0"),
        ("throughput_rps", "5.5"),
        ("goodput_rps", "6.5"),
        ("output_tokens_per_s", "13.75"),
        ("ttft_p50_ms", "7.0"),
        ("ttft_p99_ms", "8.0"),
        ("tpot_p50_ms", "9.0"),
        ("tpot_p99_ms", "10.0"),
        ("itl_p50_ms", "11.0"),
        ("itl_p99_ms", "12.0"),
        ("e2e_p50_ms", "13.0"),
        ("e2e_p99_ms", "14.0"),
        ("sent", "80"),
        ("missed", "15"),
        ("ok", "60"),
        ("good", "40"),
        ("errors", "20"),
        ("error_rate", "0.25"),
        ("slo_attainment", "0.5"),
        ("in_flight_max", "16"),
        ("achieved_ratio", "0.75"),
        ("backlog_slope", "0.125"),
        ("schedule_lag_p99_ms", "17.0"),
        ("valid", "true"),
        ("run_verdict", "passed"),
    ];
    for (column, value) in figures {
        let sql = format!("SELECT {column} FROM saturation_curve('{run_id}')");
        assert_eq!(answer(&warehouse, &sql).await, value, "{column}");
    }
    let sql = format!("SELECT * FROM saturation_curve('{run_id}')");
    let all = ask(&warehouse, &sql, &[], &EVERYTHING).await;
    let all = all.expect("an answer");
    let names: Vec<_> = all.lines().next().expect("a header").split(',').collect();
    let tried = figures.iter().map(|(column, _)| *column);
    assert_eq!(names, tried.chain(["run_id"]).collect::<Vec<_>>());
}

#[tokio::test]
async fn peak_rps_is_of_one_question_and_of_runs_that_say_how_the_subject_did() {
    let place = Place::new();
    let verdicts = [
        (Verdict::Passed, 10.0, "key"),
        (Verdict::Degraded, 20.0, "degraded"),
        (Verdict::Blocked, 30.0, "blocked"),
        (Verdict::Invalid, 91.0, "key"),
        (Verdict::Incomplete, 92.0, "key"),
        (Verdict::Error, 93.0, "key"),
        (Verdict::Cancelled, 94.0, "key"),
    ];
    for (minute, (verdict, peak, key)) in verdicts.into_iter().enumerate() {
        let run_id = id(at(1, minute as i64), minute as u8 + 1);
        let row = RunRow {
            verdict: verdict.to_string(),
            peak_goodput_rps: Some(peak),
            comparable_key: key.into(),
            ..run(run_id, "m")
        };
        place.append(&[row]).await;
    }
    let warehouse = place.open().await;
    let sql = "SELECT comparable_key, peak_goodput_rps FROM peak_rps ORDER BY comparable_key";
    assert_eq!(
        answer(&warehouse, sql).await,
        "blocked,30.0\ndegraded,20.0\nkey,10.0"
    );
}
