//! `GET /api/v1/runs` and `GET /api/v1/runs/{run}`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use futures::TryStreamExt;
use plimsoll_ingest::{RunId, Timestamp, Verdict};
use plimsoll_warehouse::Format;
use plimsoll_warehouse::format::Encoder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::openapi::{ListProblems, RunProblems};
use super::problem::{Code, Problem, in_one_line};

const USUAL_LIMIT: usize = 50;
const LARGEST_LIMIT: usize = 1_000;

/// What the list shows of a run; `/runs/{run}` shows the rest.
const SUMMARY: &str = "run_id, job_id, pillar, suite, profile, tier, model, model_revision, \
    deployment, endpoint, comparable_key, triggered_by, trigger, started_at, finished_at, verdict, \
    verdict_reasons, labels, headline_stage, floor_ttft_ns, peak_goodput_rps, limit_found, \
    peak_throughput_rps, sustainable_rps, output_tokens_per_s, ttft_ns_p50, ttft_ns_p99, tpot_ns_p50, tpot_ns_p99, \
    e2e_ns_p50, e2e_ns_p99, error_rate, slo_attainment, cases_total, cases_failed, \
    schedule_lag_ns_p99";

/// Columns that hold JSON as text, and are JSON in the answer.
const JSON_COLUMNS: &[&str] = &["config", "labels", "verdict_reasons"];

/// Which runs are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RunsFilter {
    /// Only runs of this model.
    model: Option<String>,
    /// Only runs of this profile.
    profile: Option<String>,
    /// Only runs with this verdict: passed, degraded, blocked, invalid,
    /// incomplete, error or cancelled.
    verdict: Option<String>,
    /// Only runs that began then or later: RFC 3339, or a day such as 2026-01-31.
    since: Option<String>,
    /// The most runs in an answer, 1 to 1000; 50 without it.
    limit: Option<usize>,
    /// `next_cursor` of the answer before, for the runs after those.
    cursor: Option<String>,
}

/// Some runs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunsPage {
    /// One object a run; the names and meanings are those of the columns of
    /// `reports.runs`.
    #[schema(value_type = Vec<Object>)]
    runs: Vec<Map<String, Value>>,
    /// Give it as `cursor` to go on; null at the end.
    next_cursor: Option<String>,
}

/// Lists runs, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/runs",
    tag = "runs",
    params(RunsFilter),
    responses((status = 200, description = "Runs, newest first.", body = RunsPage), ListProblems)
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    filter: Result<Query<RunsFilter>, QueryRejection>,
) -> Result<Json<RunsPage>, Problem> {
    let Query(filter) = filter?;
    let selection = Selection::read(&filter)?;
    let _slot = api.slot(api.options.access)?;
    let mut runs = rows(&api, &selection.sql(), &selection.values).await?;
    let next_cursor = if runs.len() > selection.limit {
        runs.truncate(selection.limit);
        runs.last()
            .and_then(|run| run.get("run_id"))
            .and_then(Value::as_str)
            .map(str::to_string)
    } else {
        None
    };
    Ok(Json(RunsPage { runs, next_cursor }))
}

/// Shows one run with all its columns.
///
/// `run` is a full id, any unique end of one with at least 6 characters, or
/// `latest`. The names and meanings are those of the columns of `reports.runs`;
/// `config`, `labels` and `verdict_reasons` are JSON here.
#[utoipa::path(
    get,
    path = "/api/v1/runs/{run}",
    tag = "runs",
    params(("run" = String, Path, description = "A run's id, a unique end of it, or latest.")),
    responses(
        (status = 200, description = "The run.", body = super::openapi::RunSchema),
        RunProblems
    )
)]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    reference: Result<Path<String>, PathRejection>,
) -> Result<Json<Map<String, Value>>, Problem> {
    let Path(reference) = reference?;
    let _slot = api.slot(api.options.access)?;
    let run = api.resolve(&reference).await?;
    let sql = "select * from reports.runs where run_id = $1";
    let runs = rows(&api, sql, &[Value::from(run.to_string())]).await?;
    let found = runs.into_iter().next();
    found
        .map(Json)
        .ok_or_else(|| Problem::new(Code::UnknownRun, format!("there is no run `{run}`")))
}

/// The conditions of a list, with their values.
#[derive(Debug, PartialEq)]
struct Selection {
    conditions: Vec<String>,
    values: Vec<Value>,
    limit: usize,
}

impl Selection {
    fn read(filter: &RunsFilter) -> Result<Self, Problem> {
        let limit = filter.limit.unwrap_or(USUAL_LIMIT);
        if !(1..=LARGEST_LIMIT).contains(&limit) {
            return Err(wrong(
                "limit",
                &limit.to_string(),
                "a number from 1 to 1000",
            ));
        }
        let mut selection = Self {
            conditions: Vec::new(),
            values: Vec::new(),
            limit,
        };
        if let Some(model) = &filter.model {
            selection.require("model =", model);
        }
        if let Some(profile) = &filter.profile {
            selection.require("profile =", profile);
        }
        if let Some(text) = &filter.verdict {
            let verdict: Verdict = text.parse().map_err(|error| {
                Problem::new(Code::InvalidParameter, format!("verdict: {error}"))
            })?;
            selection.require("verdict =", verdict.as_str());
        }
        if let Some(text) = &filter.since {
            let moment = Timestamp::parse(text)
                .or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
                .ok_or_else(|| {
                    wrong(
                        "since",
                        text,
                        "RFC 3339 such as 2026-01-31T12:00:00Z, or a day such as 2026-01-31",
                    )
                })?;
            selection.require("started_at >=", &moment.to_string());
        }
        if let Some(text) = &filter.cursor {
            let last: RunId = text
                .parse()
                .map_err(|_| wrong("cursor", text, "the next_cursor of an answer"))?;
            selection.require("run_id <", &last.to_string());
        }
        Ok(selection)
    }

    fn require(&mut self, comparison: &str, value: &str) {
        self.values.push(Value::from(value));
        self.conditions
            .push(format!("{comparison} ${}", self.values.len()));
    }

    /// A run's id begins with the moment of its start, so that the greatest id
    /// is the newest run. One row more than asked for shows whether there are.
    fn sql(&self) -> String {
        let mut sql = format!("select {SUMMARY} from reports.runs");
        if !self.conditions.is_empty() {
            sql.push_str(" where ");
            sql.push_str(&self.conditions.join(" and "));
        }
        sql.push_str(&format!(" order by run_id desc limit {}", self.limit + 1));
        sql
    }
}

fn wrong(parameter: &str, value: &str, expected: &str) -> Problem {
    Problem::new(
        Code::InvalidParameter,
        format!("{parameter}: `{value}` is not {expected}"),
    )
}

/// The rows of a query as objects, with JSON where columns hold it.
async fn rows(api: &Api, sql: &str, values: &[Value]) -> Result<Vec<Map<String, Value>>, Problem> {
    let result = api.warehouse.query(sql, values, &api.own_limits()).await?;
    let schema = result.schema();
    let batches: Vec<RecordBatch> = result.try_collect().await?;
    let internal = |error: &dyn std::error::Error| Problem::new(Code::Internal, in_one_line(error));
    let mut encoder = Encoder::new(Format::Json, &schema).map_err(|error| internal(&error))?;
    let mut json = Vec::new();
    for batch in &batches {
        json.extend(encoder.encode(batch).map_err(|error| internal(&error))?);
    }
    json.extend(encoder.finish().map_err(|error| internal(&error))?);
    let mut rows: Vec<Map<String, Value>> =
        serde_json::from_slice(&json).map_err(|error| internal(&error))?;
    for row in &mut rows {
        for column in JSON_COLUMNS {
            open_json(row, column)?;
        }
    }
    Ok(rows)
}

fn open_json(row: &mut Map<String, Value>, column: &str) -> Result<(), Problem> {
    let Some(value) = row.get_mut(column) else {
        return Ok(());
    };
    let Value::String(text) = value else {
        return Ok(());
    };
    *value = serde_json::from_str(text).map_err(|error| {
        Problem::new(
            Code::UnreadableRun,
            format!("column `{column}` is no JSON: {error}"),
        )
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(filter: &RunsFilter, says: &str) {
        let problem = Selection::read(filter).expect_err(says);
        let text = format!("{problem:?}");
        assert!(text.contains(says), "{text}");
    }

    #[test]
    fn conditions_are_bound_as_values() {
        let filter = RunsFilter {
            model: Some("a' or 1=1".to_string()),
            verdict: Some("passed".to_string()),
            since: Some("2026-01-31".to_string()),
            limit: Some(2),
            ..RunsFilter::default()
        };
        let selection = Selection::read(&filter).expect("selection");
        let sql = selection.sql();
        let (_, conditions) = sql.split_once(" where ").expect("conditions");
        assert_eq!(
            conditions,
            "model = $1 and verdict = $2 and started_at >= $3 order by run_id desc limit 3"
        );
        assert_eq!(
            selection.values,
            ["a' or 1=1", "passed", "2026-01-31T00:00:00Z"]
        );
        let all = Selection::read(&RunsFilter::default()).expect("selection");
        assert!(
            all.sql()
                .ends_with("from reports.runs order by run_id desc limit 51")
        );
    }

    #[test]
    fn wrong_filters_say_what_is_taken() {
        let filter = || RunsFilter::default();
        refused(
            &RunsFilter {
                limit: Some(0),
                ..filter()
            },
            "a number from 1 to 1000",
        );
        refused(
            &RunsFilter {
                limit: Some(1_001),
                ..filter()
            },
            "a number from 1 to 1000",
        );
        refused(
            &RunsFilter {
                since: Some("yesterday".into()),
                ..filter()
            },
            "RFC 3339",
        );
        refused(
            &RunsFilter {
                verdict: Some("pased".into()),
                ..filter()
            },
            "one of passed",
        );
        refused(
            &RunsFilter {
                cursor: Some("7".into()),
                ..filter()
            },
            "next_cursor",
        );
    }

    #[test]
    fn json_columns_are_opened_and_broken_ones_are_told() {
        let mut row = Map::new();
        row.insert("labels".to_string(), Value::from("{\"a\":1}"));
        open_json(&mut row, "labels").expect("json");
        assert_eq!(row["labels"]["a"], 1);
        open_json(&mut row, "config").expect("an absent column");
        row.insert("config".to_string(), Value::from("{"));
        assert!(open_json(&mut row, "config").is_err());
    }
}
