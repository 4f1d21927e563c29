//! `POST /api/v1/sql`: one statement in, its result out.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::HeaderMap;
use axum::response::Response;
use plimsoll_warehouse::{Format, QueryLimits};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Api;
use super::accept::{Offer, negotiate};
use super::answer;
use super::openapi::SqlProblems;
use super::problem::Problem;

/// What a result can be had as, in our order of preference.
const OFFERS: &[Offer<Format>] = &[
    Offer {
        media_types: &["application/json"],
        value: Format::Json,
    },
    Offer {
        media_types: &[
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
        ],
        value: Format::Ndjson,
    },
    Offer {
        media_types: &["text/csv"],
        value: Format::Csv,
    },
    Offer {
        media_types: &["application/vnd.apache.arrow.stream"],
        value: Format::Arrow,
    },
    Offer {
        media_types: &["application/vnd.apache.parquet", "application/x-parquet"],
        value: Format::Parquet,
    },
];

/// One statement.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlRequest {
    /// One statement that reads.
    #[schema(example = "select run_id, model, verdict from runs where model = $1 limit 10")]
    sql: String,
    /// The values of `$1`, `$2`, ..: numbers, texts, booleans or null.
    #[serde(default)]
    #[schema(value_type = Vec<Object>, required = false, example = json!(["llama-70b-c50"]))]
    params: Vec<Value>,
    /// The most rows wanted; the server's own limit holds, too.
    #[serde(default)]
    max_rows: Option<usize>,
}

/// Runs one statement and streams its result.
///
/// The format follows `Accept`; without one it is JSON: the columns with their
/// types, the rows as objects, and whether rows were cut off. The other
/// formats cannot say that, so every answer has the header
/// `plimsoll-max-rows`: a result with as many rows may have been cut. Moments
/// are RFC 3339 in UTC; whole numbers are JSON numbers of up to 64 bits. The
/// query stops when the caller closes the connection. What fails after the
/// first rows were sent ends the connection before the end of the body.
#[utoipa::path(
    post,
    path = "/api/v1/sql",
    tag = "sql",
    request_body = SqlRequest,
    responses(
        (
            status = 200,
            description = "The result, in the format that `Accept` names.",
            headers(("plimsoll-max-rows" = u64, description = "The most rows that the result may have.")),
            content(
                (answer::SqlResult = "application/json"),
                (String = "application/x-ndjson"),
                (String = "text/csv"),
                (Vec<u8> = "application/vnd.apache.arrow.stream"),
                (Vec<u8> = "application/vnd.apache.parquet"),
            )
        ),
        SqlProblems
    )
)]
pub(super) async fn query(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    request: Result<Json<SqlRequest>, JsonRejection>,
) -> Result<Response, Problem> {
    let format = negotiate(&headers, OFFERS)?;
    let Json(request) = request?;
    let slot = api.slot(api.options.access)?;
    let limits = QueryLimits {
        timeout: api.options.query_timeout,
        max_rows: Some(
            request
                .max_rows
                .map_or(api.options.max_rows, |rows| rows.min(api.options.max_rows)),
        ),
        access: api.options.access,
    };
    let begun = Instant::now();
    let mut ending = api.ending.clone();
    let answer = async {
        let result = api
            .warehouse
            .query(&request.sql, &request.params, &limits)
            .await?;
        answer::begin(result, format, begun, slot, api.ending.clone()).await
    };
    let mut response = tokio::select! {
        answer = answer => answer?,
        () = answer::ended(&mut ending) => return Err(answer::going_down()),
    };
    if let Some(rows) = limits.max_rows {
        response
            .headers_mut()
            .insert("plimsoll-max-rows", rows.into());
    }
    Ok(response)
}
