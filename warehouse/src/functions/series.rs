//! Figures of one question over time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::scalar::ScalarValue;

use super::metric::{JUDGED, Metric, OF_RUNS};
use super::rows::Rows;
use crate::snapshots::Snapshots;

/// A run, as far as series know it.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) run_id: String,
    pub(super) run_key: i64,
    /// When it began, in us since the epoch.
    pub(super) started_us: i64,
}

/// What a series is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    pub(super) pillar: &'static str,
    pub(super) model: String,
    /// The profile, the benchmark or the marker.
    pub(super) suite: String,
    pub(super) comparable_key: String,
    /// The stage that the figure describes; `None` of figures of whole runs, and of all steady stages.
    pub(super) stage: Option<String>,
    pub(super) metric: String,
    pub(super) unit: &'static str,
    pub(super) higher_is_better: bool,
}

/// Values in order of time, each with its run.
type Values = Vec<(f64, Arc<Run>)>;

/// The values of each question.
#[derive(Default)]
pub(super) struct Series {
    pub(super) values: BTreeMap<Question, Values>,
    /// What they take of the memory that queries have.
    taken: Option<MemoryReservation>,
}

/// What is kept of a run, in bytes, and of each of its values.
const RUN_BYTES: usize = size_of::<Run>() + 64;
const VALUE_BYTES: usize = size_of::<(f64, Arc<Run>)>();

/// Every figure of every question, from a moment in us since the epoch on.
pub(super) async fn all(snapshots: &Arc<Snapshots>, from_us: i64) -> Result<Series> {
    let mut series = Series::default();
    headline_figures(snapshots, from_us, &mut series).await?;
    scores(snapshots, from_us, &mut series).await?;
    markers(snapshots, from_us, &mut series).await?;
    Ok(series)
}

fn moment(us: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into()))
}

const FIRST: usize = 6;

fn run(rows: &Rows, row: usize) -> Result<Arc<Run>> {
    Ok(Arc::new(Run {
        run_id: text(rows, 3, row)?,
        run_key: rows.required_integer(4, row)?,
        started_us: rows.required_integer(5, row)?,
    }))
}

fn text(rows: &Rows, column: usize, row: usize) -> Result<String> {
    Ok(rows.required_text(column, row)?.to_string())
}

async fn headline_figures(
    snapshots: &Arc<Snapshots>,
    from_us: i64,
    series: &mut Series,
) -> Result<()> {
    let figures = Metric::select(OF_RUNS, "r");
    let sql = format!(
        "SELECT r.model, r.suite, r.comparable_key, r.run_id, r.run_key, r.started_at, h.name, {figures} \
         FROM reports.runs AS r LEFT JOIN reports.stages AS h \
         ON h.run_key = r.run_key AND h.stage = r.headline_stage WHERE r.verdict IN ('passed', 'degraded', 'blocked') \
         AND r.pillar = 'performance' AND r.started_at >= $1 ORDER BY r.started_at, r.run_id"
    );
    let rows = Rows::of(snapshots, &sql, vec![moment(from_us)]).await?;
    rows.count(RUN_BYTES + OF_RUNS.len() * VALUE_BYTES, &mut series.taken)?;
    // By question first, then by figure: there are far more values than series.
    let mut questions: HashMap<[&str; 3], Vec<BTreeMap<Option<&str>, Values>>> = HashMap::new();
    for row in 0..rows.len() {
        let of_run = run(&rows, row)?;
        let text = |column| rows.required_text(column, row);
        let question = [text(0)?, text(1)?, text(2)?];
        let figures = questions
            .entry(question)
            .or_insert_with(|| vec![BTreeMap::new(); OF_RUNS.len()]);
        let stage = rows.text(FIRST, row);
        for (place, (metric, values)) in OF_RUNS.iter().zip(figures).enumerate() {
            if let Some(value) = rows.float(FIRST + 1 + place, row) {
                let stage = stage.filter(|_| metric.is_of_headline());
                let values = values.entry(stage).or_default();
                values.push((value, Arc::clone(&of_run)));
            }
        }
    }
    for ([model, suite, comparable_key], figures) in questions {
        let by_stage = OF_RUNS.iter().zip(figures);
        let by_stage = by_stage.flat_map(|(metric, stages)| {
            let stages = stages.into_iter();
            stages.map(move |(stage, values)| (metric, stage, values))
        });
        for (metric, stage, values) in by_stage {
            let question = Question {
                pillar: "performance",
                model: model.to_string(),
                suite: suite.to_string(),
                comparable_key: comparable_key.to_string(),
                stage: stage.map(str::to_string),
                metric: metric.name.to_string(),
                unit: metric.unit,
                higher_is_better: metric.higher_is_better,
            };
            series.values.insert(question, values);
        }
    }
    Ok(())
}

/// Puts the values of rows that are each of one question to the others.
fn put(rows: &Rows, series: &mut Series, of: impl Fn(usize) -> Result<Question>) -> Result<()> {
    rows.count(RUN_BYTES + VALUE_BYTES, &mut series.taken)?;
    for row in 0..rows.len() {
        if let Some(value) = rows.float(FIRST, row) {
            let values = series.values.entry(of(row)?).or_default();
            values.push((value, run(rows, row)?));
        }
    }
    Ok(())
}

async fn scores(snapshots: &Arc<Snapshots>, from_us: i64, series: &mut Series) -> Result<()> {
    let sql = "SELECT r.model, s.benchmark, s.comparable_key, r.run_id, r.run_key, r.started_at, \
         s.value, s.metric, s.higher_is_better FROM reports.scores AS s \
         JOIN reports.runs AS r ON r.run_key = s.run_key \
         WHERE r.verdict IN ('passed', 'degraded', 'blocked') AND r.started_at >= $1 \
         ORDER BY r.started_at, r.run_id";
    let rows = Rows::of(snapshots, sql, vec![moment(from_us)]).await?;
    put(&rows, series, |row| {
        Ok(Question {
            pillar: "benchmark",
            model: text(&rows, 0, row)?,
            suite: text(&rows, 1, row)?,
            comparable_key: text(&rows, 2, row)?,
            stage: None,
            metric: text(&rows, 7, row)?,
            unit: "score",
            higher_is_better: rows.required_flag(8, row)?,
        })
    })
}

async fn markers(snapshots: &Arc<Snapshots>, from_us: i64, series: &mut Series) -> Result<()> {
    // A run's cases lie in the folder of its day: older ones are not opened.
    let sql = format!(
        "SELECT r.model, c.marker, r.comparable_key, r.run_id, r.run_key, r.started_at, \
         CAST(c.passed AS DOUBLE) / NULLIF(c.judged, 0) \
         FROM (SELECT run_key, marker, count(CASE WHEN outcome = 'passed' THEN 1 END) AS passed, \
               count(CASE WHEN {JUDGED} THEN 1 END) AS judged \
               FROM raw.cases WHERE date >= CAST($1 AS DATE) GROUP BY run_key, marker) AS c \
         JOIN reports.runs AS r ON r.run_key = c.run_key \
         WHERE r.verdict IN ('passed', 'degraded', 'blocked') AND r.started_at >= $1 \
         ORDER BY r.started_at, r.run_id"
    );
    let rows = Rows::of(snapshots, &sql, vec![moment(from_us)]).await?;
    put(&rows, series, |row| {
        Ok(Question {
            pillar: "functional",
            model: text(&rows, 0, row)?,
            suite: text(&rows, 1, row)?,
            comparable_key: text(&rows, 2, row)?,
            stage: None,
            metric: "passed_share".to_string(),
            unit: "share",
            higher_is_better: true,
        })
    })
}
