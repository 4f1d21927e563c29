//! `compare_runs(a, b)`: what differs between two runs, and whether it is more than noise.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use async_trait::async_trait;
use datafusion::common::{Result, exec_err};
use datafusion::error::DataFusionError;
use datafusion::scalar::ScalarValue;
use plimsoll_ingest::ColumnKind::{Boolean, Float64, Int64, Utf8};

use super::rows::Rows;
use super::setup::{Difference, Setup};
use super::{Call, Column, Definition};
use crate::resolve::resolve;
use crate::snapshots::Snapshots;

mod figures;

use figures::{Figure, Verdict, figures};

/// The function.
pub(super) const DEFINITION: Definition = Definition {
    name: "compare_runs",
    takes: "two runs, as texts: of each its id, the last 6 or more characters of it, or 'latest'",
    columns: COLUMNS,
    call: |arguments| {
        let [a, b] = arguments else { return None };
        let [a, b] = [a, b].map(|run| Some(run.try_as_str().flatten()?.to_string()));
        Some(Arc::new(Comparison { a: a?, b: b? }) as Arc<dyn Call>)
    },
};

const COLUMNS: &[Column] = &[
    (
        "section",
        Utf8,
        "summary, stage, benchmark, marker, case, envelope or settings.",
    ),
    (
        "item",
        Utf8,
        "The stage, benchmark, marker, case, or setting; null in the summary.",
    ),
    ("metric", Utf8, "The figure; null of what is no figure."),
    ("unit", Utf8, "Its unit; null of what is no figure."),
    (
        "higher_is_better",
        Boolean,
        "Its direction; null of what is no figure.",
    ),
    (
        "a",
        Float64,
        "Its value in the first run, in the unit; null where it has none.",
    ),
    (
        "b",
        Float64,
        "Its value in the second run, in the unit; null where it has none.",
    ),
    ("change", Float64, "b less a, in the unit."),
    (
        "change_pct",
        Float64,
        "The change in per cent of a's magnitude; null where a is 0.",
    ),
    (
        "change_low",
        Float64,
        "Lower bound of the change's 95 % interval; null where undecided.",
    ),
    (
        "change_high",
        Float64,
        "Upper bound of the change's 95 % interval; null where undecided.",
    ),
    (
        "verdict",
        Utf8,
        "better, worse, within_noise, negligible (certain, and less than 1 %) or undecided.",
    ),
    ("reason", Utf8, "Why it is undecided; null where it is not."),
    (
        "noise",
        Float64,
        "Standard deviation of single runs of the question; null where undecided.",
    ),
    (
        "earlier",
        Int64,
        "Earlier runs that the noise was worked out from.",
    ),
    (
        "a_text",
        Utf8,
        "What the first run has; null of figures, and where it has nothing.",
    ),
    (
        "b_text",
        Utf8,
        "What the second run has; null of figures, and where it has nothing.",
    ),
];

/// The function with its arguments.
#[derive(Debug)]
struct Comparison {
    a: String,
    b: String,
}

/// One of the two runs.
#[derive(Debug, Clone)]
pub(super) struct Side {
    run_key: i64,
    run_id: String,
    started_us: i64,
    model: String,
    comparable_key: String,
    verdict: String,
}

impl Side {
    async fn of(snapshots: &Arc<Snapshots>, reference: &str) -> Result<Self> {
        let run = resolve(snapshots, reference)
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let run_key = run.run_key();
        let sql = "SELECT model, comparable_key, verdict, started_at FROM reports.runs \
                   WHERE run_key = $1";
        let rows = Rows::of(snapshots, sql, vec![ScalarValue::Int64(Some(run_key))]).await?;
        let text = |column| Ok::<_, DataFusionError>(rows.required_text(column, 0)?.to_string());
        let side = Self {
            run_key,
            run_id: run.to_string(),
            started_us: rows.required_integer(3, 0)?,
            model: text(0)?,
            comparable_key: text(1)?,
            verdict: text(2)?,
        };
        if !["passed", "degraded", "blocked"].contains(&side.verdict.as_str()) {
            let verdict = &side.verdict;
            return exec_err!("run {run} is {verdict}: it says nothing about its model");
        }
        Ok(side)
    }

    /// What runs are put in order by.
    fn began(&self) -> (i64, &str) {
        (self.started_us, &self.run_id)
    }
}

/// A row of the answer that is no figure.
struct Text {
    section: &'static str,
    item: Option<String>,
    metric: Option<&'static str>,
    a: Option<String>,
    b: Option<String>,
}

impl Text {
    fn of(section: &'static str, differences: Vec<Difference>) -> impl Iterator<Item = Self> {
        differences.into_iter().map(move |difference| Self {
            section,
            item: Some(difference.name),
            metric: None,
            a: difference.before,
            b: difference.after,
        })
    }
}

#[async_trait]
impl Call for Comparison {
    async fn rows(&self, snapshots: &Arc<Snapshots>) -> Result<Vec<RecordBatch>> {
        let a = Side::of(snapshots, &self.a).await?;
        let b = Side::of(snapshots, &self.b).await?;
        let figures = figures(snapshots, &a, &b).await?;
        let mut texts = Vec::new();
        if a.verdict != b.verdict {
            texts.push(Text {
                section: "summary",
                item: None,
                metric: Some("verdict"),
                a: Some(a.verdict.clone()),
                b: Some(b.verdict.clone()),
            });
        }
        texts.extend(cases(snapshots, &a, &b).await?);
        let setups = Setup::of(snapshots, &[a.run_key, b.run_key]).await?;
        if let [Some(one), Some(other)] = [&a, &b].map(|side| setups.get(&side.run_key)) {
            texts.extend(Text::of("envelope", one.envelope_differences(other)));
            texts.extend(Text::of("settings", one.settings_differences(other)));
        }
        Ok(vec![batch(&figures, &texts)?])
    }
}

/// Functional cases that ended another way.
async fn cases(snapshots: &Arc<Snapshots>, a: &Side, b: &Side) -> Result<Vec<Text>> {
    let sql = "SELECT COALESCE(x.case_id, y.case_id), x.outcome, y.outcome \
         FROM (SELECT case_id, outcome FROM raw.cases WHERE run_key = $1) AS x \
         FULL JOIN (SELECT case_id, outcome FROM raw.cases WHERE run_key = $2) AS y \
         ON x.case_id = y.case_id \
         WHERE x.outcome IS DISTINCT FROM y.outcome ORDER BY 1";
    let keys = [a, b].map(|side| ScalarValue::Int64(Some(side.run_key)));
    let rows = Rows::of(snapshots, sql, keys.to_vec()).await?;
    let text = |column, row| rows.text(column, row).map(str::to_string);
    let cases = (0..rows.len()).map(|row| Text {
        section: "case",
        item: text(0, row),
        metric: None,
        a: text(1, row),
        b: text(2, row),
    });
    Ok(cases.collect())
}

/// Figures first, then texts.
fn batch(figures: &[Figure], texts: &[Text]) -> Result<RecordBatch> {
    let strings = |of: &dyn Fn(&Figure) -> Option<String>,
                   other: &dyn Fn(&Text) -> Option<String>| {
        let all = figures.iter().map(of).chain(texts.iter().map(other));
        Arc::new(all.collect::<StringArray>()) as ArrayRef
    };
    let floats = |of: &dyn Fn(&Figure) -> Option<f64>| {
        let all = figures.iter().map(of).chain(texts.iter().map(|_| None));
        Arc::new(all.collect::<Float64Array>()) as ArrayRef
    };
    let owned = |text: &str| Some(text.to_string());
    let higher: BooleanArray = figures
        .iter()
        .map(|figure| Some(figure.higher_is_better))
        .chain(texts.iter().map(|_| None))
        .collect();
    let earlier: Int64Array = figures
        .iter()
        .map(|figure| Some(figure.earlier() as i64))
        .chain(texts.iter().map(|_| None))
        .collect();
    let decided: Vec<Verdict> = figures.iter().map(Figure::verdict).collect();
    let word = |verdict: &Verdict| Some(verdict.word());
    let words = decided.iter().map(word).chain(texts.iter().map(|_| None));
    let reasons = decided
        .iter()
        .map(Verdict::reason)
        .chain(texts.iter().map(|_| None));
    let interval = |of: fn(&(f64, f64)) -> f64| {
        let bounds = decided.iter().map(|verdict| Some(of(&verdict.interval()?)));
        let all = bounds.chain(texts.iter().map(|_| None));
        Arc::new(all.collect::<Float64Array>()) as ArrayRef
    };
    let columns = vec![
        strings(&|f| owned(f.section), &|t| owned(t.section)),
        strings(&|f| f.item.clone(), &|t| t.item.clone()),
        strings(&|f| owned(&f.metric), &|t| t.metric.map(str::to_string)),
        strings(&|f| owned(f.unit), &|_| None),
        Arc::new(higher),
        floats(&|f| f.a),
        floats(&|f| f.b),
        floats(&Figure::change),
        floats(&Figure::change_pct),
        interval(|(low, _)| *low),
        interval(|(_, high)| *high),
        Arc::new(words.collect::<StringArray>()),
        Arc::new(reasons.collect::<StringArray>()),
        floats(&|f| f.noise().map(|noise| noise.sd)),
        Arc::new(earlier),
        strings(&|_| None, &|t| t.a.clone()),
        strings(&|_| None, &|t| t.b.clone()),
    ];
    Ok(RecordBatch::try_new(DEFINITION.schema(), columns)?)
}
