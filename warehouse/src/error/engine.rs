//! DataFusion's errors as ours.
//!
//! The engine wraps errors in errors; what people need is the innermost one,
//! without prefixes, file names and advice to report it elsewhere.

use std::error::Error;
use std::io;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use nix::libc::{EMFILE, ENFILE};
use plimsoll_ingest::storage::{self, StorageFailure};

use super::{OpenError, QueryError, nearest};
use crate::arithmetic::DoesNotHold;
use crate::resolve::ResolveError;
use crate::spilling::SpillError;
use crate::wide::TooLarge;

impl QueryError {
    /// An error of planning or running as ours; `memory_limit` is what the
    /// query was allowed, in bytes.
    pub(crate) fn from_engine(error: &DataFusionError, memory_limit: usize) -> Self {
        if let Some(error) = find::<OpenError>(error) {
            return Self::Open(error.clone());
        }
        if let Some(error) = find::<ResolveError>(error) {
            return Self::Run(Box::new(error.clone()));
        }
        if let Some(error) = find::<DoesNotHold>(error) {
            let message = error.to_string();
            return Self::DoesNotHold { message };
        }
        if let Some(error) = find::<TooLarge>(error) {
            return Self::Memory {
                limit: memory_limit,
                detail: error.to_string(),
            };
        }
        if let Some(error) = find::<SpillError>(error) {
            let detail = error.to_string();
            return match error.help() {
                None => Self::Memory {
                    limit: memory_limit,
                    detail,
                },
                help => Self::Storage {
                    message: detail,
                    help,
                },
            };
        }
        match error.find_root() {
            DataFusionError::SQL(..) => Self::syntax(error),
            DataFusionError::SchemaError(schema_error, _) => from_schema(schema_error),
            DataFusionError::Plan(message) | DataFusionError::Configuration(message) => {
                Self::Plan {
                    message: one_line(message),
                }
            }
            DataFusionError::NotImplemented(message) => Self::Plan {
                message: format!("not supported: {}", one_line(message)),
            },
            DataFusionError::ResourcesExhausted(detail) => Self::Memory {
                limit: memory_limit,
                detail: one_line(detail),
            },
            DataFusionError::Execution(message) => Self::Execution {
                message: one_line(message),
            },
            DataFusionError::ArrowError(error, _) => Self::Execution {
                message: one_line(&error.to_string()),
            },
            DataFusionError::ObjectStore(_)
            | DataFusionError::IoError(_)
            | DataFusionError::ParquetError(_)
                if is_of_open_files(error) =>
            {
                Self::Storage {
                    message: "too many open files".to_string(),
                    help: Some("raise the limit of open files: `ulimit -n`"),
                }
            }
            root @ (DataFusionError::ObjectStore(_)
            | DataFusionError::IoError(_)
            | DataFusionError::ParquetError(_)) => match storage_in(error) {
                Some(failure) => Self::Storage {
                    message: failure.to_string(),
                    help: Some(failure.kind().help()),
                },
                None => Self::Storage {
                    message: one_line(&root.message()),
                    help: None,
                },
            },
            DataFusionError::Internal(message) => Self::Internal {
                message: one_line(message),
            },
            other => Self::Internal {
                message: one_line(&other.message()),
            },
        }
    }

    /// An error of the parser.
    pub(crate) fn syntax(error: &DataFusionError) -> Self {
        let message = match error.find_root() {
            DataFusionError::SQL(parser_error, _) => match parser_error.as_ref() {
                ParserError::ParserError(text) | ParserError::TokenizerError(text) => {
                    one_line(text)
                }
                ParserError::RecursionLimitExceeded => "it nests too deeply".to_string(),
            },
            other => one_line(&other.message()),
        };
        Self::Syntax { message }
    }
}

fn from_schema(error: &SchemaError) -> QueryError {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let available: Vec<String> = valid_fields
                .iter()
                .map(|column| column.name.clone())
                .collect();
            let nearest = nearest(&field.name, available.iter().map(String::as_str));
            QueryError::UnknownColumn {
                name: field.flat_name(),
                nearest: nearest.map(str::to_string),
                available,
            }
        }
        other => QueryError::Plan {
            message: one_line(&other.to_string()),
        },
    }
}

/// Whether this process, or this host, may not open one more file.
fn is_of_open_files(error: &DataFusionError) -> bool {
    let code = find::<io::Error>(error).and_then(io::Error::raw_os_error);
    matches!(code, Some(EMFILE | ENFILE))
}

/// What storage said, where that is why a file cannot be read; the engine may have made text of it.
fn storage_in(error: &DataFusionError) -> Option<StorageFailure> {
    let failure = storage::failure(error).cloned();
    failure.or_else(|| StorageFailure::in_text(&error.to_string()))
}

/// What an error was caused by, if that is of this type.
fn find<E: Error + 'static>(error: &DataFusionError) -> Option<&E> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // The source of an error of the system is that of the error inside, which it leaves out.
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

/// How the engine sums up why a function does not take its arguments; what stands
/// before is the same once for each signature.
const NO_MATCH: &str = "No function matches the given name and argument types";

/// The text without line breaks, repetitions and backtrace.
fn one_line(text: &str) -> String {
    let text = text
        .split(DataFusionError::BACK_TRACE_SEP)
        .next()
        .unwrap_or(text);
    let text = text.find(NO_MATCH).map_or(text, |start| &text[start..]);
    let words: Vec<&str> = storage::without_frames(text).split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::error::ArrowError;
    use datafusion::common::{Column, DataFusionError, SchemaError};
    use plimsoll_ingest::Table;

    use super::*;

    fn check(error: DataFusionError) -> QueryError {
        QueryError::from_engine(&error, 64 << 20)
    }

    #[test]
    fn our_own_errors_come_back_through_any_wrapping() {
        let location = "/data/w".to_string();
        let own = OpenError::NewerTable {
            table: Table::Runs,
            location,
            found: 2,
            known: 1,
        };
        let wrapped = DataFusionError::Shared(Arc::new(DataFusionError::Context(
            "planning".into(),
            Box::new(DataFusionError::External(Box::new(own))),
        )));
        let error = check(wrapped);
        assert!(
            matches!(error, QueryError::Open(OpenError::NewerTable { .. })),
            "{error:?}"
        );
        let message = error.to_string();
        assert_eq!(
            message,
            "table `reports.runs` in `/data/w` has schema version 2, and this Plimsoll reads up to 1"
        );
    }

    #[test]
    fn an_unknown_column_names_its_nearest_neighbour() {
        let error = check(DataFusionError::SchemaError(
            Box::new(SchemaError::FieldNotFound {
                field: Box::new(Column::from_name("modle")),
                valid_fields: vec![Column::from_name("run_id"), Column::from_name("model")],
            }),
            Box::new(None),
        ));
        assert_eq!(error.to_string(), "there is no column `modle`");
        assert_eq!(error.help(), "did you mean `model`?");
    }

    #[test]
    fn what_spilling_lacks_is_said_with_what_to_do() {
        let lacking = |error| {
            let error = io::Error::other(error);
            let written = ArrowError::from(error);
            check(DataFusionError::ArrowError(Box::new(written), None))
        };
        let error = lacking(SpillError::OpenFiles);
        assert!(matches!(error, QueryError::Storage { .. }), "{error:?}");
        assert!(error.help().contains("ulimit -n"), "{}", error.help());
        // A file of a table.
        let error = check(DataFusionError::ObjectStore(Box::new(
            object_store::Error::Generic {
                store: "LocalFileSystem",
                source: Box::new(io::Error::from_raw_os_error(EMFILE)),
            },
        )));
        assert!(matches!(error, QueryError::Storage { .. }), "{error:?}");
        assert!(error.help().contains("ulimit -n"), "{}", error.help());
        let error = lacking(SpillError::Full { limit: 64 << 20 });
        assert_eq!(
            error.to_string(),
            "the query needs more memory than its limit of 64 MiB: more would be spilled than the \
             64.0 MB that may be"
        );
    }

    #[test]
    fn messages_lose_prefixes_breaks_and_backtraces() {
        let text = format!(
            "no function 'x'.\nDid you mean 'y'?{}0: main",
            DataFusionError::BACK_TRACE_SEP
        );
        let error = check(DataFusionError::Plan(text).context("while planning"));
        assert_eq!(error.to_string(), "no function 'x'. Did you mean 'y'?");
        let error = check(DataFusionError::ResourcesExhausted(
            "sort wants 3 MB".into(),
        ));
        assert_eq!(
            error.to_string(),
            "the query needs more memory than its limit of 64 MiB: sort wants 3 MB"
        );
    }
}
