//! What the commands that only read the warehouse share: opening it, and saying what is odd.

use plimsoll_executor::performance::raise_open_files;
use plimsoll_warehouse::format::{self, Format, FormatError};
use plimsoll_warehouse::{
    Access, OpenError, QueryLimits, ResolveError, Warehouse, WarehouseOptions,
};
use serde_json::{Map, Value};

use super::recovery::note_abandoned;
use super::runtime;
use crate::failure::{Failure, chain};
use crate::interrupt::unless_interrupted;
use crate::settings::Settings;
use crate::terminal::Console;

/// Runs `work` to its end or until the user ends it.
///
/// One thread waits here; queries run on threads of their own.
///
/// # Errors
/// Those of `work`, and that the user ended it.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime::waiting()?;
    let done = runtime.block_on(unless_interrupted(work));
    runtime::end(runtime);
    done
}

/// Opens the warehouse; says so where there is none, and where runs wait to be published.
///
/// # Errors
/// It is there and cannot be read.
pub(crate) async fn open(settings: &Settings, console: &Console) -> Result<Warehouse, Failure> {
    let_many_files_open();
    let opening = Warehouse::open(&settings.warehouse, options(settings));
    let warehouse = console
        .during("opening the warehouse", opening)
        .await
        .map_err(|error| unreadable(&error))?;
    if !warehouse.exists() {
        console.note(&format!(
            "note: {} holds no warehouse yet: every table is empty",
            settings.warehouse
        ));
    }
    note_abandoned(settings, console);
    Ok(warehouse)
}

/// A sort of many rows keeps a file open for each part that it spills, thousands perhaps. Where the system
/// allows no more than there are, a statement that needs them says so.
pub(crate) fn let_many_files_open() {
    if let Err(error) = raise_open_files() {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

/// How queries of this process may use the machine.
pub(crate) fn options(settings: &Settings) -> WarehouseOptions {
    WarehouseOptions {
        memory_limit: settings.sql.memory,
        ..WarehouseOptions::default()
    }
}

/// What an error of opening means for the command.
pub(crate) fn unreadable(error: &OpenError) -> Failure {
    Failure::failed(error, error.help())
}

/// What a reference that names no run means: wrong usage where it names several.
pub(crate) fn unresolved(error: &ResolveError) -> Failure {
    match error {
        ResolveError::Ambiguous { .. } | ResolveError::NoReference { .. } => {
            Failure::usage(error, error.help())
        }
        ResolveError::Unknown { .. } | ResolveError::NoRuns | ResolveError::Query(_) => {
            Failure::failed(error, error.help())
        }
    }
}

/// The rows of a question that is ours, as JSON objects; columns of JSON are opened.
///
/// # Errors
/// The rows cannot be read.
pub(crate) async fn rows(
    warehouse: &Warehouse,
    sql: &str,
    parameters: &[Value],
    settings: &Settings,
) -> Result<Vec<Map<String, Value>>, Failure> {
    let limits = QueryLimits {
        timeout: settings.sql.timeout,
        max_rows: None,
        access: Access::Reports,
    };
    let mut bytes = Vec::new();
    let mut result = warehouse
        .query(sql, parameters, &limits)
        .await
        .map_err(|error| Failure::failed(&error, error.help()))?;
    format::write(&mut result, Format::Json, &mut bytes)
        .await
        .map_err(|error| match error {
            FormatError::Query(error) => Failure::failed(&error, error.help()),
            other => odd_rows(&other),
        })?;
    let mut rows: Vec<Map<String, Value>> =
        serde_json::from_slice(&bytes).map_err(|error| odd_rows(&error))?;
    for row in &mut rows {
        for column in JSON_COLUMNS {
            if let Some(Value::String(text)) = row.get(column) {
                let opened = serde_json::from_str(text).map_err(|error| odd_rows(&error))?;
                row.insert(column.to_owned(), opened);
            }
        }
    }
    Ok(rows)
}

/// Columns of `runs` whose text is JSON.
const JSON_COLUMNS: [&str; 2] = ["verdict_reasons", "labels"];

fn odd_rows(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::failed(
        chain(error),
        "a newer release, or another tool, wrote these rows: install the newest release",
    )
}
