//! What a model carries: capacity, answers, sizing.

use futures::future::join_all;
use plimsoll_ingest::{EnvelopeRow, RunId, RunRow, Timestamp, Verdict};
use plimsoll_warehouse::WarehouseOptions;

use crate::place::{Place, answer, envelope, failure, id, open, run};

const HOUR_US: i64 = 3_600_000_000;

/// So many hours ago.
fn ago(hours: i64) -> Timestamp {
    Timestamp::from_micros(Timestamp::now().micros() - hours * HOUR_US)
}

/// A limit-finding run of `m` on two H100.
struct Measured {
    run: RunRow,
    envelope: EnvelopeRow,
}

fn measured(run_id: RunId, peak: Option<f64>) -> Measured {
    let verdict = match peak {
        Some(_) => Verdict::Passed,
        None => Verdict::Blocked,
    };
    Measured {
        run: RunRow {
            verdict: verdict.to_string(),
            peak_goodput_rps: peak,
            capacity_method: peak.map(|_| "grid".into()),
            limit_found: Some(true),
            workload: Some("mixed-v1".into()),
            workload_digest: Some("w".into()),
            slo: Some("error_rate=1%".into()),
            ..run(run_id, "m")
        },
        envelope: EnvelopeRow {
            gpu_sku: Some("H100".into()),
            gpu_count: Some(2),
            engine: Some("vllm".into()),
            engine_version: Some("0.11".into()),
            ..envelope(run_id)
        },
    }
}

impl Place {
    async fn add(&self, measured: Measured) {
        self.append(&[measured.envelope]).await;
        self.append(&[measured.run]).await;
    }
}

#[tokio::test]
async fn each_capacity_is_that_of_the_last_run_that_measured_it() {
    let place = Place::new();
    place.add(measured(id(ago(9), 1), Some(16.0))).await;
    place.add(measured(id(ago(8), 2), Some(14.0))).await;
    let mut smoke = measured(id(ago(7), 3), None);
    smoke.run.verdict = Verdict::Passed.to_string();
    smoke.run.profile = Some("smoke".into());
    smoke.run.floor_ttft_ns = Some(40_500_000);
    place.add(smoke).await;
    let mut soak = measured(id(ago(6), 4), None);
    soak.run.verdict = Verdict::Passed.to_string();
    soak.run.profile = Some("soak".into());
    soak.run.sustainable_rps = Some(12.0);
    soak.run.sustainable_rps_low = Some(10.0);
    soak.run.recovery_ns = Some(2_500_000_000);
    place.add(soak).await;
    // What is no measurement, another SLO, and other hardware.
    let mut spoiled = measured(id(ago(5), 5), Some(99.0));
    spoiled.run.verdict = Verdict::Invalid.to_string();
    place.add(spoiled).await;
    let mut strict = measured(id(ago(4), 6), Some(3.0));
    strict.run.slo = Some("ttft_p99=200ms,error_rate=1%".into());
    place.add(strict).await;
    let mut other = measured(id(ago(3), 7), Some(30.0));
    other.envelope.gpu_sku = None;
    other.envelope.gpu_count = None;
    other.run.endpoint = "http://there:8000/v1".into();
    place.add(other).await;
    let warehouse = place.open().await;
    let sql = "SELECT gpu_sku, gpu_count, slo, floor_ttft_ms, peak_goodput_rps, peak_verdict, \
               capacity_method, sustainable_rps, recovery_ms, stale, runs, workload \
               FROM capacity ORDER BY gpu_sku NULLS FIRST, slo";
    assert_eq!(
        answer(&warehouse, sql).await,
        ",,error_rate=1%,,30.0,passed,grid,,,false,1,mixed-v1\n\
         H100,2,error_rate=1%,40.5,14.0,passed,grid,12.0,2500.0,false,4,mixed-v1\n\
         H100,2,\"ttft_p99=200ms,error_rate=1%\",,3.0,passed,grid,,,false,1,mixed-v1"
    );
    // The moment is that of the earliest run behind a figure; the run is the peak's. What is sized
    // by the sustainable rate names the run behind that.
    let sql = "SELECT c.measured_at = r.started_at, c.peak_measured_at = r.started_at \
               FROM capacity AS c JOIN runs AS r \
               ON r.run_id = c.run_id WHERE c.floor_ttft_ms IS NOT NULL";
    assert_eq!(answer(&warehouse, sql).await, "true,true");
    let sql = "SELECT r.profile, s.measured_at = r.started_at FROM sizing('m', 45) AS s \
               JOIN runs AS r ON r.run_id = s.run_id ORDER BY r.profile, s.rate_rps";
    assert_eq!(
        answer(&warehouse, sql).await,
        "soak,true\nstep,true\nstep,true"
    );

    let day = "CAST(CAST(measured_at AS DATE) AS VARCHAR)";
    let sql = format!("SELECT replace(answer, {day}, 'DAY') FROM answers ORDER BY answer");
    assert_eq!(
        answer(&warehouse, &sql).await,
        "\"m at http://there:8000/v1 on hardware that is not known serves 30.0 good requests a \
         second at its limit, on workload mixed-v1, with SLO error_rate=1%. What holds for long was \
         not measured. Measured DAY.\"\n\
         \"m on 2 x H100 serves 14.0 good requests a second at its limit, on workload mixed-v1, \
         with SLO error_rate=1%. 12.0 requests a second hold for long. Without load the first \
         token takes 40.5 ms. After an overload it serves as before within 2.5 s. Measured \
         DAY.\"\n\
         \"m on 2 x H100 serves 3.0 good requests a second at its limit, on workload mixed-v1, \
         with SLO ttft_p99=200ms,error_rate=1%. What holds for long was not measured. Measured \
         DAY.\""
    );

    let sql = "SELECT gpu_sku, basis, rate_rps, replicas, replicas_with_reserve, \
               gpus_with_reserve, headroom_pct, headroom_after_loss_pct FROM sizing('m', 45) \
               ORDER BY gpu_sku, rate_rps";
    assert_eq!(
        answer(&warehouse, sql).await,
        "H100,peak,3.0,15,16,32,6.666666666666667,0.0\n\
         H100,sustainable,10.0,5,6,12,33.333333333333336,11.11111111111111\n\
         ,peak,30.0,2,3,,100.0,33.333333333333336"
    );
    let none = "SELECT count(*) FROM sizing('nobody', 45.5)";
    assert_eq!(answer(&warehouse, none).await, "0");
    for arguments in [
        "'m'",
        "'m', 0",
        "'m', -1",
        "45, 'm'",
        "'m', 'many'",
        "'m', 1, 2",
    ] {
        let error = failure(&warehouse, &format!("SELECT * FROM sizing({arguments})")).await;
        assert!(
            error.to_string().contains("sizing takes a model"),
            "{arguments}: {error}"
        );
    }
}

#[tokio::test]
async fn a_limit_that_no_rate_meets_takes_the_place_of_an_earlier_peak() {
    let place = Place::new();
    place.add(measured(id(ago(9), 1), Some(16.0))).await;
    place.add(measured(id(ago(8), 2), None)).await;
    let warehouse = place.open().await;
    let sql = "SELECT peak_goodput_rps, peak_verdict, stale FROM capacity";
    assert_eq!(answer(&warehouse, sql).await, ",blocked,false");
    let said = answer(&warehouse, "SELECT answer FROM answers").await;
    assert!(
        said.contains("m on 2 x H100 met the SLO at no load that was tried"),
        "{said}"
    );
    let sql = "SELECT basis, rate_rps, replicas, gpus_with_reserve FROM sizing('m', 10)";
    assert_eq!(answer(&warehouse, sql).await, ",,,");
}

#[tokio::test]
async fn a_capacity_is_stale_once_something_changed_or_a_month_passed() {
    let place = Place::new();
    place.add(measured(id(ago(31 * 24), 1), Some(16.0))).await;
    let stale = "SELECT peak_goodput_rps, stale FROM capacity";
    assert_eq!(answer(&place.open().await, stale).await, "16.0,true");
    place.add(measured(id(ago(9), 2), Some(15.0))).await;
    assert_eq!(answer(&place.open().await, stale).await, "15.0,false");
    // A later run with another version, which measured no peak.
    let mut later = measured(id(ago(8), 3), None);
    later.run.verdict = Verdict::Passed.to_string();
    later.run.profile = Some("smoke".into());
    later.envelope.engine_version = Some("0.12".into());
    place.add(later).await;
    let warehouse = place.open().await;
    assert_eq!(answer(&warehouse, stale).await, "15.0,true");
    let said = answer(&warehouse, "SELECT answer FROM answers").await;
    assert!(
        said.ends_with("This may no longer hold: measure again.\""),
        "{said}"
    );
}

/// A run in which no load was too much.
fn unbroken(run_id: RunId, peak: f64) -> Measured {
    let mut found = measured(run_id, Some(peak));
    found.run.limit_found = Some(false);
    found
}

#[tokio::test]
async fn a_load_that_held_and_was_the_heaviest_is_a_lower_bound() {
    let place = Place::new();
    let sql = "SELECT peak_goodput_rps, limit_found, peak_verdict, runs FROM capacity";
    place.add(unbroken(id(ago(99), 1), 16.0)).await;
    assert_eq!(
        answer(&place.open().await, sql).await,
        "16.0,false,passed,1"
    );
    let said = answer(&place.open().await, "SELECT answer FROM answers").await;
    let begin = "m on 2 x H100 serves at least 16.0 good requests a second, on workload mixed-v1";
    assert!(said.contains(begin), "{said}");
    assert!(
        said.contains("1%. No load that was tried was too much. What"),
        "{said}"
    );
    // A lighter load says less than what is known; a heavier one more.
    place.add(unbroken(id(ago(98), 2), 8.0)).await;
    assert_eq!(
        answer(&place.open().await, sql).await,
        "16.0,false,passed,2"
    );
    place.add(unbroken(id(ago(97), 3), 20.0)).await;
    assert_eq!(
        answer(&place.open().await, sql).await,
        "20.0,false,passed,3"
    );
    // A limit that was found replaces it, and is not replaced by a lighter load that held.
    place.add(measured(id(ago(96), 4), Some(18.0))).await;
    assert_eq!(answer(&place.open().await, sql).await, "18.0,true,passed,4");
    place.add(unbroken(id(ago(95), 5), 8.0)).await;
    assert_eq!(answer(&place.open().await, sql).await, "18.0,true,passed,5");
    place.add(unbroken(id(ago(94), 6), 32.0)).await;
    assert_eq!(
        answer(&place.open().await, sql).await,
        "32.0,false,passed,6"
    );
    // Not where nothing holds any more, and whatever holds afterwards counts.
    place.add(measured(id(ago(93), 7), None)).await;
    assert_eq!(answer(&place.open().await, sql).await, ",true,blocked,7");
    place.add(unbroken(id(ago(92), 8), 4.0)).await;
    assert_eq!(answer(&place.open().await, sql).await, "4.0,false,passed,8");
    // What was found on another setup is no reason to pass over what is known of this one.
    place.add(measured(id(ago(91), 9), Some(40.0))).await;
    let mut other = unbroken(id(ago(90), 10), 6.0);
    other.envelope.engine_version = Some("0.12".into());
    place.add(other).await;
    assert_eq!(
        answer(&place.open().await, sql).await,
        "6.0,false,passed,10"
    );
    assert_eq!(
        answer(&place.open().await, "SELECT stale FROM capacity").await,
        "false"
    );
}

#[tokio::test]
async fn unknown_hardware_is_told_apart_by_where_it_serves() {
    let place = Place::new();
    for (number, host, peak) in [(1_u8, "one", 16.0), (2, "two", 3.0)] {
        let mut found = measured(id(ago(number.into()), number), Some(peak));
        found.envelope.gpu_sku = None;
        found.envelope.gpu_count = None;
        found.run.endpoint = format!("http://{host}:8000/v1");
        // Of one release that did not tell whether a load was too much.
        found.run.limit_found = None;
        place.add(found).await;
    }
    let sql = "SELECT endpoint, peak_goodput_rps, limit_found, stale FROM capacity ORDER BY 1";
    assert_eq!(
        answer(&place.open().await, sql).await,
        "http://one:8000/v1,16.0,,false\nhttp://two:8000/v1,3.0,,false"
    );
    let said = answer(&place.open().await, "SELECT answer FROM answers ORDER BY 1").await;
    let begin = "m at http://one:8000/v1 on hardware that is not known serves at least 16.0 good";
    assert!(said.contains(begin), "{said}");
    assert!(!said.contains("too much"), "{said}");
}

/// A plan for many threads has a thousand parts that sort or could spill, of which few hold rows; and
/// several people may ask at once.
#[tokio::test]
async fn answers_of_few_runs_need_little_memory() {
    let place = Place::new();
    for (hours, peak) in [(9, 16.0), (8, 14.0), (7, 15.0)] {
        place
            .add(measured(id(ago(hours), hours as u8), Some(peak)))
            .await;
    }
    let with_threads = async |threads| {
        let options = WarehouseOptions {
            memory_limit: 1 << 30,
            threads,
            ..WarehouseOptions::default()
        };
        open(&place.location, options).await
    };
    let rows = |from: &str, asked: i64| format!("SELECT count(*) > {asked} - {asked} FROM {from}");
    let warehouse = with_threads(64).await;
    for from in [
        "answers",
        "capacity",
        "performance_summary",
        "sizing('m', 100)",
    ] {
        assert_eq!(answer(&warehouse, &rows(from, 0)).await, "true", "{from}");
    }
    let warehouse = with_threads(2).await;
    let statements: Vec<String> = (0..16).map(|asked| rows("answers", asked)).collect();
    let answers = statements.iter().map(|sql| answer(&warehouse, sql));
    assert_eq!(join_all(answers).await, ["true"; 16]);
}
