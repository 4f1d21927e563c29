//! The figures of two runs side by side, with the earlier runs of their questions.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::scalar::ScalarValue;

use super::Side;
use crate::functions::metric::{JUDGED, Metric, OF_RUNS, OF_STAGES};
use crate::functions::rows::Rows;
use crate::snapshots::Snapshots;
use crate::statistics::Noise;

/// Smaller changes, as a share of the first run's value, are of no interest, however certain.
const SMALLEST: f64 = 0.01;

/// How many earlier runs of the questions are looked at, the last ones.
const EARLIER: usize = 100;

/// Noise is worked out from neighbours in time.
const IN_ORDER: &str = "ORDER BY r.started_at, r.run_id";

/// One figure of both runs.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) section: &'static str,
    pub(super) item: Option<String>,
    pub(super) metric: String,
    pub(super) unit: &'static str,
    pub(super) higher_is_better: bool,
    pub(super) a: Option<f64>,
    pub(super) b: Option<f64>,
    /// The question that each of them answers.
    questions: [Option<Question>; 2],
    /// Variance of the change that the samples behind both values explain.
    variance: f64,
    /// What runs before the later of the two had, in order of time.
    before: Vec<Earlier>,
}

/// What a value answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    comparable_key: String,
    /// The stage that it describes; `None` where that is no single one.
    stage: Option<String>,
}

/// A value of an earlier run.
#[derive(Debug)]
struct Earlier {
    of_model_a: bool,
    question: Question,
    value: f64,
}

/// What the difference of a figure means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    Undecided {
        reason: String,
    },
    Decided {
        word: &'static str,
        low: f64,
        high: f64,
    },
}

impl Verdict {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Undecided { .. } => "undecided",
            Self::Decided { word, .. } => word,
        }
    }

    pub(super) fn reason(&self) -> Option<String> {
        match self {
            Self::Undecided { reason } => Some(reason.clone()),
            Self::Decided { .. } => None,
        }
    }

    pub(super) fn interval(&self) -> Option<(f64, f64)> {
        match self {
            Self::Undecided { .. } => None,
            Self::Decided { low, high, .. } => Some((*low, *high)),
        }
    }
}

impl Figure {
    pub(super) fn change(&self) -> Option<f64> {
        Some(self.b? - self.a?)
    }

    pub(super) fn change_pct(&self) -> Option<f64> {
        let magnitude = self.a?.abs();
        (magnitude > 0.0).then_some(100.0 * self.change()? / magnitude)
    }

    /// Earlier runs of the question, by model.
    fn series(&self) -> [Vec<f64>; 2] {
        let [question, _] = &self.questions;
        [true, false].map(|of_model_a| {
            let of_question = self.before.iter().filter(|earlier| {
                earlier.of_model_a == of_model_a && Some(&earlier.question) == question.as_ref()
            });
            of_question.map(|earlier| earlier.value).collect()
        })
    }

    /// How many there are.
    pub(super) fn earlier(&self) -> usize {
        self.series().iter().map(Vec::len).sum()
    }

    pub(super) fn noise(&self) -> Option<Noise> {
        let [one, other] = self.series();
        let [of_a, of_b] = &self.questions;
        Noise::of(&[&one, &other]).filter(|_| of_a == of_b)
    }

    pub(super) fn verdict(&self) -> Verdict {
        let undecided = |reason: &str| Verdict::Undecided {
            reason: reason.to_string(),
        };
        let Some(change) = self.change() else {
            return undecided(match self.section {
                "stage" => "only one of the runs has such a stage, and valid",
                _ => "only one of the runs has it",
            });
        };
        if let [Some(a), Some(b)] = &self.questions {
            if a.comparable_key != b.comparable_key {
                return undecided(
                    "the runs answer different questions: their comparable_key differs",
                );
            }
            if a.stage != b.stage {
                let [a, b] = [a, b].map(|of| of.stage.as_deref().unwrap_or("all stages"));
                return undecided(&format!("it describes different loads: {a} and {b}"));
            }
        }
        let Some(noise) = self.noise() else {
            let runs = self.earlier();
            return undecided(&format!(
                "{runs} earlier runs of the question, and 5 are needed"
            ));
        };
        let reach = noise.reach(self.variance.sqrt());
        let small = self.a.is_some_and(|a| change.abs() < SMALLEST * a.abs());
        let word = if change.abs() <= reach {
            "within_noise"
        } else if small {
            "negligible"
        } else if (change > 0.0) == self.higher_is_better {
            "better"
        } else {
            "worse"
        };
        Verdict::Decided {
            word,
            low: change - reach,
            high: change + reach,
        }
    }
}

/// A value of some run, on its way to a figure.
struct Value<'a> {
    section: &'static str,
    item: Option<&'a str>,
    metric: &'a str,
    unit: &'static str,
    higher_is_better: bool,
    value: f64,
    stderr: Option<f64>,
    /// The question that it answers; `None` for that of the run.
    key: Option<&'a str>,
    /// The stage that it describes, where another run's may be another one.
    stage: Option<&'a str>,
}

impl<'a> Value<'a> {
    fn of(section: &'static str, item: Option<&'a str>, metric: &Metric, value: f64) -> Self {
        Self {
            section,
            item,
            metric: metric.name,
            unit: metric.unit,
            higher_is_better: metric.higher_is_better,
            value,
            stderr: None,
            key: None,
            stage: None,
        }
    }
}

/// The standard error of a share of so many requests, had each its fate by chance, by Laplace's rule
/// of succession: none of some thousand is not never.
fn share_error(share: f64, of: i64) -> Option<f64> {
    let n = of as f64;
    let p = (share * n + 1.0) / (n + 2.0);
    (n > 0.0).then(|| (p * (1.0 - p) / n).sqrt())
}

/// Section, item and metric.
type Name = (&'static str, Option<String>, String);

/// Collects the values of both runs and of the runs before them.
struct Collector<'a> {
    a: &'a Side,
    b: &'a Side,
    /// The later of the two: all others are earlier runs.
    later: i64,
    /// Model and question of each run that is looked at.
    runs: HashMap<i64, (String, String)>,
    figures: Vec<Figure>,
    places: HashMap<Name, usize>,
}

/// All figures that either run has.
pub(super) async fn figures(snapshots: &Arc<Snapshots>, a: &Side, b: &Side) -> Result<Vec<Figure>> {
    let later = if a.began() > b.began() { a } else { b };
    let mut collector = Collector {
        a,
        b,
        later: later.run_key,
        runs: HashMap::new(),
        figures: Vec::new(),
        places: HashMap::new(),
    };
    let sql = format!(
        "SELECT run_key, model, comparable_key FROM reports.runs \
         WHERE verdict IN ('passed', 'degraded', 'blocked') \
         AND (model = $1 AND comparable_key = $2 OR model = $3 AND comparable_key = $4) \
         AND (started_at < $5 OR started_at = $5 AND run_id <= $6) \
         ORDER BY started_at DESC, run_id DESC LIMIT {EARLIER}"
    );
    let (started_us, run_id) = later.began();
    let text = |text: &str| ScalarValue::from(text);
    let parameters = vec![
        text(&a.model),
        text(&a.comparable_key),
        text(&b.model),
        text(&b.comparable_key),
        ScalarValue::TimestampMicrosecond(Some(started_us), Some("UTC".into())),
        text(run_id),
    ];
    let rows = Rows::of(snapshots, &sql, parameters).await?;
    for row in 0..rows.len() {
        let [model, key] = [rows.required_text(1, row)?, rows.required_text(2, row)?];
        let question = (model.to_string(), key.to_string());
        collector
            .runs
            .insert(rows.required_integer(0, row)?, question);
    }
    for side in [a, b] {
        let question = (side.model.clone(), side.comparable_key.clone());
        collector.runs.insert(side.run_key, question);
    }
    collector.headlines(snapshots).await?;
    collector.stages(snapshots).await?;
    collector.scores(snapshots).await?;
    collector.markers(snapshots).await?;
    let mut figures = collector.figures;
    // Earlier runs may have had what neither of the two has.
    figures.retain(|figure| figure.a.is_some() || figure.b.is_some());
    Ok(figures)
}

impl Collector<'_> {
    /// Which rows of a table are wanted.
    fn wanted(&self, table: &str) -> String {
        let keys: Vec<String> = self.runs.keys().map(i64::to_string).collect();
        format!("{table}.run_key IN ({})", keys.join(", "))
    }

    fn put(&mut self, run_key: i64, value: &Value<'_>) {
        let Some((model, key)) = self.runs.get(&run_key) else {
            return;
        };
        let question = Question {
            comparable_key: value.key.unwrap_or(key).to_string(),
            stage: value.stage.map(str::to_string),
        };
        let of_model_a = *model == self.a.model;
        let item = value.item.map(str::to_string);
        let name = (value.section, item.clone(), value.metric.to_string());
        let place = *self.places.entry(name).or_insert_with(|| {
            self.figures.push(Figure {
                section: value.section,
                item,
                metric: value.metric.to_string(),
                unit: value.unit,
                higher_is_better: value.higher_is_better,
                a: None,
                b: None,
                questions: [None, None],
                variance: 0.0,
                before: Vec::new(),
            });
            self.figures.len() - 1
        });
        let figure = &mut self.figures[place];
        let variance = value.stderr.unwrap_or(0.0).powi(2);
        if run_key == self.a.run_key {
            figure.a = Some(value.value);
            figure.questions[0] = Some(question.clone());
            figure.variance += variance;
        }
        if run_key == self.b.run_key {
            figure.b = Some(value.value);
            figure.questions[1] = Some(question.clone());
            figure.variance += variance;
        }
        if run_key != self.later {
            figure.before.push(Earlier {
                of_model_a,
                question,
                value: value.value,
            });
        }
    }

    async fn headlines(&mut self, snapshots: &Arc<Snapshots>) -> Result<()> {
        let (figures, wanted) = (Metric::select(OF_RUNS, "r"), self.wanted("r"));
        // Of a run without a single headline's stage all steady ones are.
        let sql = format!(
            "SELECT r.run_key, h.name, COALESCE(h.sent, s.sent), {figures} FROM reports.runs AS r \
             LEFT JOIN reports.stages AS h ON h.run_key = r.run_key AND h.stage = r.headline_stage \
             LEFT JOIN (SELECT run_key, sum(sent) AS sent FROM reports.stages AS s \
                        WHERE phase = 'steady' AND {of_stages} GROUP BY run_key) AS s \
             ON s.run_key = r.run_key WHERE {wanted} {IN_ORDER}",
            of_stages = self.wanted("s"),
        );
        let rows = Rows::of(snapshots, &sql, Vec::new()).await?;
        for row in 0..rows.len() {
            let run_key = rows.required_integer(0, row)?;
            let (stage, sent) = (rows.text(1, row), rows.integer(2, row));
            for (place, metric) in OF_RUNS.iter().enumerate() {
                let Some(value) = rows.float(3 + place, row) else {
                    continue;
                };
                let sampled = sent.filter(|_| metric.unit == "share");
                let value = Value {
                    stderr: sampled.and_then(|sent| share_error(value, sent)),
                    stage: stage.filter(|_| metric.is_of_headline()),
                    ..Value::of("summary", None, metric, value)
                };
                self.put(run_key, &value);
            }
        }
        Ok(())
    }

    /// Steady stages are compared by name; of several with one name each has its number. A stage in
    /// which the generator did not keep its schedule says nothing.
    async fn stages(&mut self, snapshots: &Arc<Snapshots>) -> Result<()> {
        let (figures, wanted) = (Metric::select(OF_STAGES, "s"), self.wanted("s"));
        let sql = format!(
            "SELECT r.run_key, CASE WHEN s.place = 1 THEN s.name \
                 ELSE concat(s.name, ' (', CAST(s.place AS VARCHAR), ')') END, {figures} \
             FROM (SELECT s.*, row_number() OVER \
                   (PARTITION BY s.run_key, s.name ORDER BY s.stage) AS place \
                   FROM reports.stages AS s WHERE s.phase = 'steady' AND {wanted}) AS s \
             JOIN reports.runs AS r ON r.run_key = s.run_key \
             WHERE s.valid {IN_ORDER}, s.stage"
        );
        let rows = Rows::of(snapshots, &sql, Vec::new()).await?;
        for row in 0..rows.len() {
            let (run_key, name) = (rows.required_integer(0, row)?, rows.text(1, row));
            for (place, metric) in OF_STAGES.iter().enumerate() {
                if let Some(value) = rows.float(2 + place, row) {
                    self.put(run_key, &Value::of("stage", name, metric, value));
                }
            }
        }
        Ok(())
    }

    async fn scores(&mut self, snapshots: &Arc<Snapshots>) -> Result<()> {
        let sql = format!(
            "SELECT r.run_key, s.benchmark, s.metric, s.comparable_key, s.value, s.stderr, \
             s.higher_is_better FROM reports.scores AS s \
             JOIN reports.runs AS r ON r.run_key = s.run_key WHERE {} {IN_ORDER}",
            self.wanted("s")
        );
        let rows = Rows::of(snapshots, &sql, Vec::new()).await?;
        for row in 0..rows.len() {
            let Some(value) = rows.float(4, row) else {
                continue;
            };
            let value = Value {
                section: "benchmark",
                item: Some(rows.required_text(1, row)?),
                metric: rows.required_text(2, row)?,
                unit: "score",
                higher_is_better: rows.required_flag(6, row)?,
                value,
                stderr: rows.float(5, row),
                key: rows.text(3, row),
                stage: None,
            };
            self.put(rows.required_integer(0, row)?, &value);
        }
        Ok(())
    }

    async fn markers(&mut self, snapshots: &Arc<Snapshots>) -> Result<()> {
        let sql = format!(
            "SELECT r.run_key, c.marker, CAST(c.passed AS DOUBLE) / NULLIF(c.judged, 0) \
             FROM (SELECT run_key, marker, \
                   count(CASE WHEN outcome = 'passed' THEN 1 END) AS passed, \
                   count(CASE WHEN {JUDGED} THEN 1 END) AS judged \
                   FROM raw.cases AS c WHERE {} GROUP BY run_key, marker) AS c \
             JOIN reports.runs AS r ON r.run_key = c.run_key {IN_ORDER}, c.marker",
            self.wanted("c")
        );
        let rows = Rows::of(snapshots, &sql, Vec::new()).await?;
        for row in 0..rows.len() {
            let Some(value) = rows.float(2, row) else {
                continue;
            };
            let value = Value {
                section: "marker",
                item: Some(rows.required_text(1, row)?),
                metric: "passed_share",
                unit: "share",
                higher_is_better: true,
                value,
                stderr: None,
                key: None,
                stage: None,
            };
            self.put(rows.required_integer(0, row)?, &value);
        }
        Ok(())
    }
}
