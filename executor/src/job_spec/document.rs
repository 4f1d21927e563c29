//! From a text to a document, whoever wrote it.

use serde_json::Value;

/// The language of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
}

/// A text that is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no {language}: {reason}")]
pub struct DocumentError {
    language: &'static str,
    reason: String,
}

/// Reads a text. What a few lines of YAML blow up to is bounded.
///
/// # Errors
/// The text is not of this language, or holds more than a job can.
pub fn parse(text: &str, format: Format) -> Result<Value, DocumentError> {
    match format {
        Format::Json => serde_json::from_str(text).map_err(|error| DocumentError {
            language: "JSON",
            reason: error.to_string(),
        }),
        Format::Yaml => {
            let options = serde_saphyr::options! {
                budget: serde_saphyr::budget! {
                    max_events: 100_000,
                    max_nodes: 50_000,
                    max_depth: 64,
                    max_aliases: 200,
                    max_anchors: 100,
                    max_documents: 1,
                },
                with_snippet: false,
            };
            serde_saphyr::from_str_with_options(text, options).map_err(|error| DocumentError {
                language: "YAML",
                reason: first_line(&error.to_string()),
            })
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_string()
}
