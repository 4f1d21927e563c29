//! The answers, judged by others: on warehouses of random rows, every view and function is worked
//! out a second time by Polars, with logic of its own, and the views are asked once more in DuckDB,
//! as `plimsoll warehouse views` prints them: over the files, and after maintenance over the tables.
//!
//! `PLIMSOLL_JUDGED` asks for more warehouses than the few of every run.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::process::Command;

use plimsoll_ingest::WarehouseLocation;
use serde_json::{Value, json};

use crate::peers;
use crate::program::Place;

mod changes;
mod random;

const WAREHOUSES: u64 = 1;
const RUNS: usize = 90;

/// The views, each of which Polars or DuckDB or both work out.
const VIEWS: [&str; 9] = [
    "peak_rps",
    "performance_summary",
    "score_trends",
    "capacity",
    "answers",
    "gpu_hours",
    "functional_summary",
    "operations",
    "questions",
];

/// Sketches of all requests, and those of the stages put together.
const SKETCHES: [(&str, &str); 2] = [
    (
        "sketch",
        "SELECT r.model, q.phase, sketch(CAST(q.ttft_ns AS DOUBLE)) AS s FROM raw.requests AS q \
         JOIN runs AS r ON r.run_key = q.run_key WHERE q.status = 'ok' GROUP BY r.model, q.phase",
    ),
    (
        "sketch_merge",
        "SELECT r.model, t.phase, sketch_merge(t.ttft_sketch) AS s FROM stages AS t \
         JOIN runs AS r ON r.run_key = t.run_key GROUP BY r.model, t.phase",
    ),
];

/// What is asked, as the judge reads it.
struct Asked<'a> {
    place: &'a Place,
    answers: Vec<Value>,
}

impl Asked<'_> {
    /// Asks by a name that the judge knows, and gives the rows.
    fn ask(&mut self, name: &str, arguments: Value, sql: &str) -> Vec<Value> {
        let rows = self.ask_for_any(name, arguments, sql);
        assert!(!rows.is_empty(), "{name} has no row to compare: {sql}");
        rows
    }

    /// The same where there may be none.
    fn ask_for_any(&mut self, name: &str, arguments: Value, sql: &str) -> Vec<Value> {
        let rows = self.place.rows(sql);
        let answer = json!({"name": name, "arguments": arguments, "rows": rows});
        self.answers.push(answer);
        rows
    }

    fn views(&mut self) {
        for name in VIEWS {
            self.ask(name, json!([]), &format!("SELECT * FROM {name}"));
        }
    }

    fn functions_of_a_run(&mut self) {
        let run = self.place.value(
            "SELECT r.run_id FROM runs AS r JOIN stages AS s ON s.run_key = r.run_key \
             WHERE s.phase = 'steady' AND s.sent > 20 ORDER BY s.sent DESC, r.run_id LIMIT 1",
        );
        let run = run.as_str().expect("a run has such a stage");
        for name in ["saturation_curve", "latency_matrix"] {
            let sql = format!("SELECT * FROM {name}('{run}')");
            self.ask(name, json!([run]), &sql);
        }
    }

    /// Of each pillar the first and the last run of the question that was asked most, in either
    /// order, and runs of different questions.
    fn comparisons(&mut self) -> Vec<Value> {
        let runs = self.place.rows(
            "SELECT run_id, pillar, model, comparable_key FROM runs \
             WHERE verdict IN ('passed', 'degraded', 'blocked') ORDER BY started_at, run_id",
        );
        let text = |run: &Value, name: &str| run[name].as_str().expect("a text").to_owned();
        let mut questions: BTreeMap<[String; 3], Vec<String>> = BTreeMap::new();
        for run in &runs {
            let question = ["pillar", "model", "comparable_key"].map(|name| text(run, name));
            let of_question = questions.entry(question).or_default();
            of_question.push(text(run, "run_id"));
        }
        let mut pairs = Vec::new();
        for pillar in ["performance", "benchmark", "functional"] {
            let of_pillar = questions.iter().filter(|([of, ..], _)| of == pillar);
            let most = of_pillar
                .map(|(_, runs)| runs)
                .max_by_key(|runs| runs.len());
            let most = most.expect("each pillar has runs");
            let (first, last) = (&most[0], &most[most.len() - 1]);
            pairs.extend([(first.clone(), last.clone()), (last.clone(), first.clone())]);
        }
        let first_of_each = [&pairs[0].0, &pairs[2].0, &pairs[4].0].map(Clone::clone);
        let [performance, benchmark, functional] = first_of_each;
        pairs.extend([(performance, benchmark.clone()), (benchmark, functional)]);
        let compared = pairs.iter().flat_map(|(a, b)| {
            let sql = format!("SELECT * FROM compare_runs('{a}', '{b}')");
            self.ask("compare_runs", json!([a, b]), &sql)
        });
        compared.collect()
    }

    /// From the beginning on, and from a day in the middle of the runs on.
    fn changes(&mut self) -> Vec<Value> {
        let mut found = Vec::new();
        let middle = self.place.value(
            "SELECT CAST(CAST(max(started_at) AS DATE) - INTERVAL '25 days' AS DATE) FROM runs",
        );
        let middle = middle.as_str().expect("a day");
        for (name, since) in [
            ("change_points", "2000-01-01"),
            ("regressions", "2000-01-01"),
            ("change_points", middle),
        ] {
            let sql = format!("SELECT * FROM {name}('{since}')");
            let since = json!([format!("{since}T00:00:00Z")]);
            found.extend(self.ask_for_any(name, since, &sql));
        }
        found
    }

    fn sketches(&mut self) {
        let shares = [0.0, 0.5, 0.9, 0.99, 1.0];
        let quantiles = shares.map(|q| format!("sketch_quantile(s, {q}) AS p{:.0}", 100.0 * q));
        for (name, sql) in SKETCHES {
            let sql = format!("SELECT model, phase, {} FROM ({sql})", quantiles.join(", "));
            self.ask(name, json!(shares), &sql);
        }
    }
}

/// The different values of a column.
fn kinds(rows: &[Value], column: &str) -> HashSet<String> {
    rows.iter().map(|row| row[column].to_string()).collect()
}

#[test]
fn duckdb_and_polars_come_to_the_same_answers() {
    let asked = std::env::var("PLIMSOLL_JUDGED");
    let warehouses = asked.map_or(WAREHOUSES, |text| text.parse().expect("a number"));
    let [mut significant, mut verdicts, mut directions] = [(); 3].map(|()| HashSet::new());
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

        let mut asked = Asked {
            place: &place,
            answers: Vec::new(),
        };
        asked.views();
        asked.functions_of_a_run();
        asked.ask(
            "sizing",
            json!(["alpha", 33.5]),
            "SELECT * FROM sizing('alpha', 33.5)",
        );
        verdicts.extend(kinds(&asked.comparisons(), "verdict"));
        directions.extend(kinds(&asked.changes(), "direction"));
        asked.sketches();
        let decided = place.rows("SELECT DISTINCT significant FROM score_trends");
        significant.extend(kinds(&decided, "significant"));
        let answers = place.path().join("ours.json");
        // Each answer by one judge at least, and the views but `questions` by both.
        let comparisons = asked.answers.len() + VIEWS.len() - 1;
        let text = Value::from(asked.answers.as_slice()).to_string();
        fs::write(&answers, text).expect("written");
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
        let all = format!("{comparisons} comparisons agree, 0 do not");
        assert!(said.contains(&all), "{said}");

        place.done(&["warehouse", "optimize"]);
        let script = place.done(&["warehouse", "views", "--dialect", "duckdb"]);
        let agree = peers::asked_by_a_stranger(&place, &script.stdout, &asked.answers, None);
        assert_eq!(agree, VIEWS.len());
    }
    // Rows that are all of one kind would show little.
    for (kinds, wanted) in [
        (significant, &["null", "false", "true"][..]),
        (
            verdicts,
            &[
                "\"within_noise\"",
                "\"undecided\"",
                "\"better\"",
                "\"worse\"",
            ],
        ),
        (directions, &["\"better\"", "\"worse\""]),
    ] {
        let missing = wanted.iter().find(|kind| !kinds.contains(**kind));
        assert_eq!(missing, None, "{kinds:?}");
    }
}
