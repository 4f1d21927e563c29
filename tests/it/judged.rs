//! The answers, judged by others: on warehouses of random rows, every view and function is worked
//! out a second time by Polars, with logic of its own, and the views are asked once more in DuckDB,
//! as `plimsoll warehouse views` prints them.
//!
//! `PLIMSOLL_JUDGED` asks for more warehouses than the few of every run.

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use plimsoll_ingest::WarehouseLocation;
use serde_json::{Map, Value};

use crate::peers;
use crate::program::Place;

mod changes;
mod random;

const WAREHOUSES: u64 = 1;
const RUNS: usize = 60;

/// What is asked: a name that the judges know, and the statement.
const QUESTIONS: [(&str, &str); 12] = [
    ("peak_rps", "SELECT * FROM peak_rps"),
    ("performance_summary", "SELECT * FROM performance_summary"),
    ("score_trends", "SELECT * FROM score_trends"),
    ("capacity", "SELECT * FROM capacity"),
    ("answers", "SELECT * FROM answers"),
    ("gpu_hours", "SELECT * FROM gpu_hours"),
    ("functional_summary", "SELECT * FROM functional_summary"),
    ("operations", "SELECT * FROM operations"),
    ("questions", "SELECT * FROM questions"),
    ("saturation_curve", "SELECT * FROM saturation_curve('RUN')"),
    ("latency_matrix", "SELECT * FROM latency_matrix('RUN')"),
    ("sizing", "SELECT * FROM sizing('alpha', 33.5)"),
];

#[test]
fn duckdb_and_polars_come_to_the_same_answers() {
    let asked = std::env::var("PLIMSOLL_JUDGED");
    let warehouses = asked.map_or(WAREHOUSES, |text| text.parse().expect("a number"));
    let mut significant = HashSet::new();
    for seed in 0..warehouses {
        let place = Place::new();
        let warehouse = place.path().join("plimsoll-data/warehouse");
        let location = warehouse.display().to_string();
        let mut random = random::Random::new(seed);
        random.spools(&place.path().join("plimsoll-data/spool"), &location, RUNS);
        let checked = place.answer(&["warehouse", "check"]);
        // Some runs are drawn without an envelope, and that is all that is wrong.
        let mut broken = checked.stdout.lines();
        let is_that = |line: &str| {
            !line.starts_with("broken: ") || line.starts_with("broken: reports.envelopes: ")
        };
        assert!(broken.all(is_that), "{checked:?}");
        assert_eq!(place.spooled(), Vec::<String>::new());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let parsed = WarehouseLocation::parse(&location).expect("a path");
        runtime.expect("a runtime").block_on(random.others(&parsed));

        let run = place.value(
            "SELECT r.run_id FROM runs AS r JOIN stages AS s ON s.run_key = r.run_key \
             WHERE s.phase = 'steady' AND s.sent > 20 ORDER BY s.sent DESC, r.run_id LIMIT 1",
        );
        let run = run.as_str().expect("a run has such a stage");
        let mut ours = Map::new();
        for (name, sql) in QUESTIONS {
            let rows = place.rows(&sql.replace("RUN", run));
            assert!(
                !rows.is_empty(),
                "seed {seed}: {name} has no row to compare"
            );
            ours.insert(name.to_owned(), Value::Array(rows));
        }
        let decided = place.rows("SELECT DISTINCT significant FROM score_trends");
        significant.extend(decided.iter().map(|row| row["significant"].as_bool()));
        ours.insert("run".to_owned(), Value::from(run));
        let answers = place.path().join("ours.json");
        fs::write(&answers, Value::Object(ours).to_string()).expect("written");
        let script = place.done(&["warehouse", "views", "--dialect", "duckdb", "--files"]);
        let views = place.path().join("views.sql");
        fs::write(&views, script.stdout).expect("written");

        let judge = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judges/judge.py");
        let judged = Command::new(peers::installed("venv/bin/python"))
            .args(["-B", judge])
            .args([&warehouse, &views, &answers])
            .output()
            .expect("the judge starts");
        let said = String::from_utf8_lossy(&judged.stdout);
        let complaint = String::from_utf8_lossy(&judged.stderr);
        assert!(judged.status.success(), "seed {seed}:\n{said}{complaint}");
        assert!(said.contains("20 comparisons agree"), "{said}");
    } // Rows that are all of one kind would show little.
    let every_kind = HashSet::from([None, Some(false), Some(true)]);
    assert_eq!(significant, every_kind);
}
