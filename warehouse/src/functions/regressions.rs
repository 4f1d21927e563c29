//! `regressions(since)` and `change_points(since)`: where figures changed for good.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use async_trait::async_trait;
use datafusion::common::{Result, plan_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::scalar::ScalarValue;
use plimsoll_ingest::ColumnKind::{Boolean, Float64, Int64, Timestamp, Utf8};
use plimsoll_ingest::Timestamp as Moment;

use super::series::{self, Question, Run};
use super::setup::Setup;
use super::{Call, Column, Definition};
use crate::snapshots::Snapshots;
use crate::statistics::{ChangePoint, change_points, discoveries};

const TAKES: &str = "a day or a moment in UTC as a text, such as '2026-11-01' or \
                     '2026-11-01T12:00:00Z'";

/// Changes for the worse.
pub(super) const REGRESSIONS: Definition = Definition {
    name: "regressions",
    takes: TAKES,
    columns: COLUMNS,
    call: |arguments| Changes::call(arguments, true),
};

/// Changes for the worse and for the better.
pub(super) const CHANGE_POINTS: Definition = Definition {
    name: "change_points",
    takes: TAKES,
    columns: COLUMNS,
    call: |arguments| Changes::call(arguments, false),
};

/// How many earlier runs of a series are looked at: more would cost time in their square.
const EARLIER: usize = 100;

/// The most runs of one question since the moment that is asked for: time grows with their square, and
/// nothing stops it within one series.
const MOST: usize = 2_900;

/// How far back earlier runs are looked for, in us: 400 days, so that years of runs cost no more.
const HISTORY_US: i64 = 400 * 86_400_000_000;

/// Fewer runs before a change say nothing.
const FEWEST_BEFORE: usize = 5;

/// The share of findings that may be there by chance.
const FALSE_DISCOVERIES: f64 = 0.05;

/// Smaller changes, as a share of the level before, are of no interest, however certain.
const SMALLEST: f64 = 0.01;

const COLUMNS: &[Column] = &[
    (
        "changed_at",
        Timestamp,
        "Start of the first run after the change.",
    ),
    ("pillar", Utf8, "performance, benchmark or functional."),
    ("model", Utf8, "As requests name it."),
    ("suite", Utf8, "The profile, the benchmark or the marker."),
    ("metric", Utf8, "The figure that changed."),
    (
        "unit",
        Utf8,
        "Its unit: req/s, tokens/s, share (0 to 1), ms, USD or score.",
    ),
    ("higher_is_better", Boolean, "Its direction."),
    ("direction", Utf8, "worse or better."),
    (
        "before",
        Float64,
        "Mean of the runs since the change before, or since the first.",
    ),
    (
        "after",
        Float64,
        "Mean of the runs up to the next change, or up to the last.",
    ),
    ("change", Float64, "after less before, in the unit."),
    (
        "change_pct",
        Float64,
        "The change in per cent of before's magnitude; null where before is 0.",
    ),
    (
        "change_low",
        Float64,
        "Lower bound of the change's 95 % interval (Welch).",
    ),
    (
        "change_high",
        Float64,
        "Upper bound of the change's 95 % interval (Welch).",
    ),
    ("runs_before", Int64, "Runs behind before."),
    ("runs_after", Int64, "Runs behind after."),
    (
        "confidence",
        Float64,
        "1 less the rate of false discoveries at which this one is just believed.",
    ),
    (
        "causes",
        Utf8,
        "What differs between the envelopes of the runs on either side; null where nothing does.",
    ),
    ("run_id_before", Utf8, "The last run before the change."),
    ("run_id_after", Utf8, "The first run after the change."),
    (
        "comparable_key",
        Utf8,
        "Runs with the same key asked the same question.",
    ),
];

/// The function with its argument.
#[derive(Debug)]
struct Changes {
    since_us: i64,
    only_worse: bool,
}

/// A change that is believed.
struct Change {
    question: Question,
    point: ChangePoint,
    rate: f64,
    last_before: Arc<Run>,
    first_after: Arc<Run>,
}

impl Changes {
    fn call(arguments: &[ScalarValue], only_worse: bool) -> Option<Arc<dyn Call>> {
        let [since] = arguments else { return None };
        let text = since.try_as_str().flatten()?.trim().to_string();
        let moment =
            Moment::parse(&text).or_else(|| Moment::parse(&format!("{text}T00:00:00Z")))?;
        Some(Arc::new(Self {
            since_us: moment.micros(),
            only_worse,
        }))
    }

    /// The changes that are believed, the newest first.
    ///
    /// Gives way between series, so that a query that is past its time ends.
    async fn found(&self, all: &series::Series) -> Result<Vec<Change>> {
        let mut found: Vec<Change> = Vec::new();
        // Every stretch that was looked at counts, when some points are believed.
        let mut tested: Vec<f64> = Vec::new();
        let mut places: Vec<usize> = Vec::new();
        for (question, values) in &all.values {
            tokio::task::yield_now().await;
            let new = values.partition_point(|(_, run)| run.started_us < self.since_us);
            if new == values.len() {
                continue;
            }
            let first = new.saturating_sub(EARLIER);
            let window = &values[first..];
            if values.len() - new > MOST {
                return Err(self.too_many(question, values.len() - new));
            }
            let series: Vec<f64> = window.iter().map(|(value, _)| *value).collect();
            let detected = change_points(&series);
            tested.extend(detected.elsewhere);
            for point in detected.points {
                let change = Change {
                    question: question.clone(),
                    rate: 1.0,
                    last_before: Arc::clone(&window[point.index - 1].1),
                    first_after: Arc::clone(&window[point.index].1),
                    // Few runs before a change say nothing, wherever the window begins.
                    point: ChangePoint {
                        index: first + point.index,
                        ..point
                    },
                };
                // What is not asked for must not help what is to be believed.
                if self.asks_for(&change) {
                    places.push(tested.len());
                    tested.push(change.point.p_value);
                    found.push(change);
                }
            }
        }
        let rates = discoveries(&tested);
        for (change, place) in found.iter_mut().zip(places) {
            change.rate = rates[place];
        }
        found.retain(|change| change.rate <= FALSE_DISCOVERIES);
        found.sort_by(|one, other| {
            let of = |change: &Change| (-change.first_after.started_us, change.question.clone());
            of(one).cmp(&of(other))
        });
        Ok(found)
    }

    /// Why a question is not looked at: part of the answer would pass for the whole.
    fn too_many(&self, question: &Question, runs: usize) -> DataFusionError {
        let since = Moment::from_micros(self.since_us);
        let (suite, model) = (&question.suite, &question.model);
        plan_datafusion_err!(
            "`{suite}` of `{model}` has {runs} runs since {since}, and no more than {MOST} runs of \
             one question are looked at: give a later moment"
        )
    }

    /// Whether a change would be shown, if it is believed.
    fn asks_for(&self, change: &Change) -> bool {
        change.point.index >= FEWEST_BEFORE
            && change.first_after.started_us >= self.since_us
            && change.size().abs() >= SMALLEST * change.point.before.mean.abs()
            && (change.is_worse() || !self.only_worse)
    }
}

impl Change {
    fn size(&self) -> f64 {
        self.point.after.mean - self.point.before.mean
    }

    fn is_worse(&self) -> bool {
        (self.size() < 0.0) == self.question.higher_is_better
    }
}

#[async_trait]
impl Call for Changes {
    async fn rows(&self, snapshots: &Arc<Snapshots>) -> Result<Vec<RecordBatch>> {
        let all = series::all(snapshots, self.since_us - HISTORY_US).await?;
        let found = self.found(&all).await?;
        let mut keys: Vec<i64> = found
            .iter()
            .flat_map(|change| [change.last_before.run_key, change.first_after.run_key])
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let setups = Setup::of(snapshots, &keys).await?;
        let causes = |change: &Change| {
            let before = setups.get(&change.last_before.run_key)?;
            before.causes(setups.get(&change.first_after.run_key)?)
        };
        let texts = |of: &dyn Fn(&Change) -> Option<String>| -> ArrayRef {
            Arc::new(found.iter().map(of).collect::<StringArray>())
        };
        let floats = |of: &dyn Fn(&Change) -> Option<f64>| -> ArrayRef {
            Arc::new(found.iter().map(of).collect::<Float64Array>())
        };
        let counts = |of: &dyn Fn(&Change) -> usize| -> ArrayRef {
            Arc::new(
                found
                    .iter()
                    .map(|change| of(change) as i64)
                    .collect::<Int64Array>(),
            )
        };
        let moments = found
            .iter()
            .map(|change| Some(change.first_after.started_us));
        let moments: TimestampMicrosecondArray = moments.collect();
        let better: BooleanArray = found
            .iter()
            .map(|c| Some(c.question.higher_is_better))
            .collect();
        let direction = |change: &Change| if change.is_worse() { "worse" } else { "better" };
        let pct = |c: &Change| {
            let before = c.point.before.mean.abs();
            (before > 0.0).then(|| 100.0 * c.size() / before)
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(moments.with_timezone("UTC")),
            texts(&|c| Some(c.question.pillar.to_string())),
            texts(&|c| Some(c.question.model.clone())),
            texts(&|c| Some(c.question.suite.clone())),
            texts(&|c| Some(c.question.metric.clone())),
            texts(&|c| Some(c.question.unit.to_string())),
            Arc::new(better),
            texts(&|c| Some(direction(c).to_string())),
            floats(&|c| Some(c.point.before.mean)),
            floats(&|c| Some(c.point.after.mean)),
            floats(&|c| Some(c.size())),
            floats(&pct),
            floats(&|c| Some(c.point.interval().0)),
            floats(&|c| Some(c.point.interval().1)),
            counts(&|c| c.point.before.n),
            counts(&|c| c.point.after.n),
            floats(&|c| Some(1.0 - c.rate)),
            texts(&causes),
            texts(&|c| Some(c.last_before.run_id.clone())),
            texts(&|c| Some(c.first_after.run_id.clone())),
            texts(&|c| Some(c.question.comparable_key.clone())),
        ];
        Ok(vec![RecordBatch::try_new(REGRESSIONS.schema(), columns)?])
    }
}
