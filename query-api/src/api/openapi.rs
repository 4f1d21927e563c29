//! `GET /api/v1/openapi.json`: the API described for programs.
//!
//! Routes describe themselves (`#[utoipa::path]`); this file adds what they
//! share: the problems, and the run, whose columns come from the table itself.

use std::collections::BTreeMap;

use axum::Json;
use plimsoll_ingest::{ColumnKind, Table};
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat,
    SchemaType, Type,
};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, OpenApi, PartialSchema, ToSchema};

use super::problem::{Code, MEDIA_TYPE, ProblemBody};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Plimsoll",
        description = "How much load a model server may safely carry: measured runs, their \
            reports, and SQL over everything that was measured.\n\nErrors are \
            `application/problem+json` with a stable `code`. A path that is not here is answered \
            404 `unknown_route`, another method 405 `method_not_allowed`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        super::health::alive,
        super::health::ready,
        super::metrics::metrics,
        super::sql::query,
        super::runs::list,
        super::runs::one,
        super::reports::report,
        super::jobs::hand_in,
        super::jobs::list,
        super::jobs::one,
        super::jobs::cancel,
        super::jobs::events,
        super::jobs::pause,
        super::jobs::resume,
        super::schedules::list,
        super::schedules::put,
        super::schedules::remove,
        super::schedules::pause,
        super::schedules::resume,
        document
    ),
    components(schemas(ProblemBody)),
    tags(
        (name = "sql", description = "Ask anything."),
        (name = "runs", description = "What was measured."),
        (name = "jobs", description = "What is to be measured."),
        (name = "schedules", description = "What is to be measured again and again."),
        (name = "health", description = "For the one who runs the server.")
    )
)]
struct Document;

/// Describes this API.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "health",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object))
)]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

/// Declares the problems that a route may answer.
macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $name:ident: $($code:ident),+;)+) => {
        $(
            $(#[doc = $doc])+
            pub(super) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    responses(&[$(Code::$code),+])
                }
            }
        )+
    };
}

problems! {
    /// What `/readyz` may answer instead.
    ReadyProblems: WarehouseUnreadable;
    /// What `/metrics` may answer instead.
    MetricsProblems: ControlUnavailable;
    /// What a statement may be answered with instead.
    SqlProblems:
        InvalidJson, InvalidBody, UnsupportedMediaType, BodyTooLarge, BodyUnreadable,
        NotAcceptable, SqlSyntax, SqlInvalid, UnknownTable, UnknownColumn, SqlParameters,
        SqlFailed, SqlRefused, TableNotAllowed, QueryTimeout, QueryMemory, TooManyQueries,
        UnknownRun, InvalidRun, AmbiguousRun, WarehouseUnreadable, ShuttingDown, Internal;
    /// What the list of runs may answer instead.
    ListProblems:
        InvalidParameter, QueryTimeout, QueryMemory, TooManyQueries, WarehouseUnreadable,
        ShuttingDown, UnreadableRun, Internal;
    /// What a run may be answered with instead.
    RunProblems:
        InvalidParameter, UnknownRun, InvalidRun, AmbiguousRun, QueryTimeout, QueryMemory,
        TooManyQueries, WarehouseUnreadable, ShuttingDown, UnreadableRun, Internal;
    /// What a job that is handed in may be answered with instead.
    SubmitProblems:
        InvalidJson, InvalidJob, InvalidParameter, UnsupportedMediaType, BodyTooLarge,
        BodyUnreadable, IdempotencyKeyUsed, ControlUnavailable;
    /// What the list of jobs may answer instead.
    JobListProblems: InvalidParameter, ControlUnavailable;
    /// What a job may be answered with instead.
    JobProblems:
        InvalidParameter, UnknownJob, InvalidJobReference, AmbiguousJob, ControlUnavailable;
    /// What a schedule that is made may be answered with instead.
    MakeScheduleProblems:
        InvalidJson, InvalidSchedule, InvalidParameter, UnsupportedMediaType, BodyTooLarge,
        BodyUnreadable, ControlUnavailable;
    /// What a schedule may be answered with instead.
    ScheduleProblems: InvalidParameter, UnknownSchedule, ControlUnavailable;
    /// What the list of schedules may answer instead.
    ScheduleListProblems: ControlUnavailable;
    /// What the brake may answer instead.
    PauseProblems: InvalidParameter, ControlUnavailable;
    /// What a report may be answered with instead.
    ReportProblems:
        InvalidParameter, NotAcceptable, UnknownRun, InvalidRun, AmbiguousRun, QueryTimeout,
        QueryMemory, TooManyQueries, WarehouseUnreadable, ShuttingDown, UnreadableRun, Internal;
}

/// One response a status, which lists the codes that have it.
fn responses(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status
            .entry(code.status().as_u16())
            .or_default()
            .push(*code);
    }
    let responses = by_status.into_iter().map(|(status, codes)| {
        let lines: Vec<String> = codes
            .iter()
            .map(|code| format!("`{}`: {}", code.as_str(), code.title()))
            .collect();
        let problem = Ref::from_schema_name(ProblemBody::name());
        let content = ContentBuilder::new().schema(Some(problem)).build();
        let mut response = ResponseBuilder::new()
            .description(lines.join("; "))
            .content(MEDIA_TYPE, content);
        if codes.contains(&Code::TooManyQueries) {
            let seconds = HeaderBuilder::new().schema(integer()).build();
            response = response.header("retry-after", seconds);
        }
        (status.to_string(), RefOr::T(response.build()))
    });
    responses.collect()
}

/// A row of `reports.runs` as JSON, described by the table itself.
pub(super) struct RunSchema;

impl ToSchema for RunSchema {
    fn name() -> std::borrow::Cow<'static, str> {
        "Run".into()
    }
}

impl PartialSchema for RunSchema {
    fn schema() -> RefOr<Schema> {
        let mut run = ObjectBuilder::new().description(Some("A finished run."));
        for column in Table::Runs.columns() {
            let kind = match column.name {
                "config" | "labels" => SchemaType::new(Type::Object),
                "verdict_reasons" => SchemaType::new(Type::Array),
                _ => scalar(column.kind),
            };
            let kind = match kind {
                SchemaType::Type(kind) if column.nullable => {
                    SchemaType::from_iter([kind, Type::Null])
                }
                kind => kind,
            };
            let comment = Some(column.comment());
            let schema: Schema = if column.name == "verdict_reasons" {
                let reason = ObjectBuilder::new()
                    .additional_properties(Some(AdditionalProperties::FreeForm(true)));
                ArrayBuilder::new()
                    .description(comment)
                    .items(reason)
                    .build()
                    .into()
            } else {
                let object = ObjectBuilder::new().schema_type(kind).description(comment);
                object.format(format_of(column.kind)).build().into()
            };
            run = run.property(column.name, schema);
            if !column.nullable {
                run = run.required(column.name);
            }
        }
        RefOr::T(run.build().into())
    }
}

fn scalar(kind: ColumnKind) -> SchemaType {
    SchemaType::new(match kind {
        ColumnKind::Utf8 | ColumnKind::Timestamp | ColumnKind::Date | ColumnKind::Binary => {
            Type::String
        }
        ColumnKind::Int64 => Type::Integer,
        ColumnKind::Float64 => Type::Number,
        ColumnKind::Boolean => Type::Boolean,
        ColumnKind::Int64List => Type::Array,
    })
}

fn format_of(kind: ColumnKind) -> Option<SchemaFormat> {
    let format = match kind {
        ColumnKind::Timestamp => KnownFormat::DateTime,
        ColumnKind::Date => KnownFormat::Date,
        ColumnKind::Int64 => KnownFormat::Int64,
        ColumnKind::Float64 => KnownFormat::Double,
        ColumnKind::Utf8 | ColumnKind::Boolean | ColumnKind::Int64List | ColumnKind::Binary => {
            return None;
        }
    };
    Some(SchemaFormat::KnownFormat(format))
}

fn integer() -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Integer))
        .build()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_every_column_with_its_meaning() {
        let text = serde_json::to_value(RunSchema::schema()).expect("schema");
        for column in Table::Runs.columns() {
            let property = &text["properties"][column.name];
            assert_eq!(property["description"], column.comment(), "{}", column.name);
            assert!(
                property["type"] != serde_json::Value::Null,
                "{}",
                column.name
            );
        }
        assert_eq!(
            text["properties"]["cost_usd"]["type"],
            serde_json::json!(["number", "null"])
        );
        assert_eq!(text["properties"]["started_at"]["format"], "date-time");
        assert!(
            text["required"]
                .as_array()
                .is_some_and(|names| names.contains(&"model".into()))
        );
    }

    #[test]
    fn every_code_is_documented_somewhere() {
        let document = serde_json::to_string(&Document::openapi()).expect("document");
        for code in Code::ALL {
            assert!(
                document.contains(&format!("`{}`", code.as_str())),
                "{}",
                code.as_str()
            );
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = serde_json::to_value(Document::openapi()).expect("document");
        let mut references = Vec::new();
        collect_references(&document, &mut references);
        assert!(references.len() > 20);
        for reference in references {
            let pointer = reference.trim_start_matches('#');
            assert!(
                document.pointer(pointer).is_some(),
                "{reference} leads nowhere"
            );
        }
    }

    fn collect_references(value: &serde_json::Value, references: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(object) => {
                if let Some(reference) = object.get("$ref").and_then(serde_json::Value::as_str) {
                    references.push(reference.to_string());
                }
                object
                    .values()
                    .for_each(|value| collect_references(value, references));
            }
            serde_json::Value::Array(items) => {
                items
                    .iter()
                    .for_each(|value| collect_references(value, references));
            }
            _ => {}
        }
    }
}
