//! `GET /api/v1/runs/{run}/report`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::accept::{Offer, negotiate};
use super::openapi::ReportProblems;
use super::problem::Problem;
use crate::report::Report;

/// The page has a style of its own and loads nothing.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'";

const OFFERS: &[Offer<Form>] = &[
    Offer {
        media_types: &["application/json"],
        value: Form::Json,
    },
    Offer {
        media_types: &["text/html"],
        value: Form::Html,
    },
    Offer {
        media_types: &["text/markdown"],
        value: Form::Markdown,
    },
];

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    /// For programs.
    Json,
    /// For pull requests and wikis.
    Markdown,
    /// For browsers.
    Html,
}

/// How the report is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReportOptions {
    /// The form; it goes before `Accept`.
    #[param(inline)]
    format: Option<Form>,
}

/// Reports on one run.
///
/// `run` is a full id, any unique end of one with at least 6 characters, or
/// `latest`. The form follows `format`, else `Accept`; without either it is JSON.
#[utoipa::path(
    get,
    path = "/api/v1/runs/{run}/report",
    tag = "runs",
    params(
        ("run" = String, Path, description = "A run's id, a unique end of it, or latest."),
        ReportOptions
    ),
    responses(
        (
            status = 200,
            description = "The report, in the form that `format` or `Accept` names.",
            content(
                (Report = "application/json"),
                (String = "text/markdown"),
                (String = "text/html"),
            )
        ),
        ReportProblems
    )
)]
pub(super) async fn report(
    State(api): State<Arc<Api>>,
    reference: Result<Path<String>, PathRejection>,
    options: Result<Query<ReportOptions>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(reference) = reference?;
    let Query(options) = options?;
    let form = match options.format {
        Some(form) => form,
        None => negotiate(&headers, OFFERS)?,
    };
    let _slot = api.slot(api.options.access)?;
    let run = api.resolve(&reference).await?;
    let report = Report::load(&api.warehouse, run).await?;
    Ok(match form {
        Form::Json => Json(report).into_response(),
        Form::Markdown => (
            [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")],
            report.markdown(),
        )
            .into_response(),
        Form::Html => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, report.html()).into_response()
        }
    })
}
