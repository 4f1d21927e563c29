//! Errors that a server tells of in JSON, in whichever of the usual shapes.

use serde_json::Value;

/// An error object of the server's, in whichever of the usual shapes it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// What the server says, as it says it: any length, any characters.
    pub message: String,
    /// The code that it gives, if it is a number as HTTP statuses are.
    pub code: Option<i64>,
}

impl ServerError {
    /// The error that the body of a failed answer, or an event named `error`, tells of; `None`
    /// if it is no JSON or tells of none.
    ///
    /// Reads `{"error": {"message", "code"}}` (OpenAI), `{"error": "text"}` (TGI, Ollama),
    /// `{"message", "code"}` (older vLLM) and `{"detail"}` (FastAPI).
    pub fn from_body(json: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(json).ok()?;
        match body.get("error") {
            Some(inner @ Value::Object(_)) => server_error(inner),
            _ => server_error(&body),
        }
    }
}

/// The error that a JSON value tells of: the value of an `error` field, or the whole body of an
/// answer that is not 2xx. `None` if it is empty.
pub(super) fn server_error(value: &Value) -> Option<ServerError> {
    let text = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    let message = match value {
        Value::Null | Value::Bool(false) => return None,
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => ["message", "detail", "error", "title", "type"]
            .iter()
            .find_map(|name| fields.get(*name).and_then(text)),
        _ => None,
    };
    let message = message.unwrap_or_else(|| value.to_string());
    if message.is_empty() || message == "{}" {
        return None;
    }
    let code = ["code", "status"]
        .iter()
        .find_map(|name| match value.get(*name)? {
            Value::Number(code) => code.as_i64(),
            Value::String(code) => code.parse().ok(),
            _ => None,
        });
    Some(ServerError { message, code })
}

#[cfg(test)]
mod tests {
    use super::super::decode_chunk;
    use super::*;

    #[test]
    fn errors_come_in_many_shapes() {
        for (json, message, code) in [
            (
                r#"{"error":{"message":"out of memory","type":"server_error","code":500}}"#,
                "out of memory",
                Some(500),
            ),
            (
                r#"{"error":{"message":"busy","code":"503"}}"#,
                "busy",
                Some(503),
            ),
            (
                r#"{"error":"generation failed","error_type":"generation"}"#,
                "generation failed",
                None,
            ),
            (r#"{"error":{"reason":1}}"#, r#"{"reason":1}"#, None),
        ] {
            let error = decode_chunk(json.as_bytes()).expect("a chunk").error;
            let wanted = ServerError {
                message: message.to_string(),
                code,
            };
            assert_eq!(error, Some(wanted.clone()), "{json}");
            if !json.contains("error_type") {
                assert_eq!(ServerError::from_body(json.as_bytes()), Some(wanted));
            }
        }
        for none in [
            r#"{"choices":[],"error":null}"#,
            r#"{"choices":[],"error":{}}"#,
        ] {
            assert_eq!(decode_chunk(none.as_bytes()).expect("a chunk").error, None);
        }
    }

    #[test]
    fn failed_answers_of_other_makes_are_understood() {
        for (body, message) in [
            (
                r#"{"object":"error","message":"no such model","code":404}"#,
                "no such model",
            ),
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            (
                r#"{"error":"overloaded","error_type":"overloaded"}"#,
                "overloaded",
            ),
            (r#""just text""#, "just text"),
        ] {
            let error = ServerError::from_body(body.as_bytes()).expect("an error");
            assert_eq!(error.message, message);
        }
        assert_eq!(ServerError::from_body(b"<html>"), None);
    }
}
