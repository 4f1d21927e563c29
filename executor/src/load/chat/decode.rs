//! From a chunk's JSON to what it says.

use super::delta::{ChatDelta, DeltaKind};
use super::server_error::server_error;
use super::wire::{Choices, Document};

/// Why a chunk or a reply says nothing that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// It is no JSON object of the expected shape.
    #[error("no chat completion that can be read")]
    Unreadable {
        /// What the parser says, with line and column.
        #[from]
        source: serde_json::Error,
    },
    /// It is a JSON object, but has no choices, no usage and no error.
    #[error("a JSON object with neither `choices` nor `usage` nor `error`")]
    Foreign,
}

/// Reads one chunk of a streamed reply, or a reply that came whole: that differs from a chunk in
/// one name, `message` for `delta`, and both are read.
///
/// Text is not kept, only its length, so that the chunks of the hot path cost no allocation.
/// Text that is no valid UTF-8, or has half a surrogate pair (both come from servers that cut a
/// character in two), is taken as it is.
///
/// # Errors
///
/// If it cannot be read, or is not of a chat completion.
pub fn decode_chunk(json: &[u8]) -> Result<ChatDelta, ChunkError> {
    let document: Document = serde_json::from_slice(json)?;
    let error = document.error.as_ref().and_then(server_error);
    if document.choices.is_none() && document.usage.is_none() && error.is_none() {
        return Err(ChunkError::Foreign);
    }
    let choices = document.choices.unwrap_or_default();
    Ok(ChatDelta {
        kind: kind(&choices),
        content_bytes: choices.content_bytes,
        reasoning_bytes: choices.reasoning_bytes,
        tool_bytes: choices.tool_bytes,
        finish_reason: choices.finish_reason,
        usage: document.usage.map(Into::into),
        error,
    })
}

fn kind(choices: &Choices) -> DeltaKind {
    if choices.content_bytes > 0 {
        DeltaKind::Content
    } else if choices.reasoning_bytes > 0 {
        DeltaKind::Reasoning
    } else if choices.tool_bytes > 0 {
        DeltaKind::ToolCall
    } else if choices.count == 0 {
        DeltaKind::NoChoice
    } else if choices.has_role && choices.finish_reason.is_none() {
        DeltaKind::RoleOnly
    } else {
        DeltaKind::Empty
    }
}

#[cfg(test)]
mod tests {
    use super::super::delta::Usage;
    use super::*;

    /// Decodes and expects a kind and the bytes of content, reasoning and tool call.
    fn check(json: &str, kind: DeltaKind, bytes: [usize; 3]) -> ChatDelta {
        let delta = decode_chunk(json.as_bytes()).expect("a chunk");
        let found = [delta.content_bytes, delta.reasoning_bytes, delta.tool_bytes];
        assert_eq!((delta.kind, found), (kind, bytes), "{json}");
        delta
    }

    #[test]
    fn content_is_measured_after_unescaping() {
        check(
            r#"{"choices":[{"delta":{"content":" Hello"}}]}"#,
            DeltaKind::Content,
            [6, 0, 0],
        );
        check(
            r#"{"choices":[{"delta":{"content":"\n\u00fc"}}]}"#,
            DeltaKind::Content,
            [3, 0, 0],
        );
        check(
            r#"{"choices":[{"delta":{"content":"grüß"}}]}"#,
            DeltaKind::Content,
            [6, 0, 0],
        );
    }

    #[test]
    fn half_a_character_is_no_error() {
        let half = r#"{"choices":[{"delta":{"content":"\ud83d"}}]}"#;
        check(half, DeltaKind::Content, [3, 0, 0]);
        let cut = b"{\"choices\":[{\"delta\":{\"content\":\"\xF0\x9F\"}}]}";
        assert_eq!(decode_chunk(cut).expect("a chunk").content_bytes, 2);
    }

    #[test]
    fn role_only_and_empty_chunks_bear_no_token() {
        for role in [
            r#"{"choices":[{"delta":{"role":"assistant"}}]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[]}}]}"#,
        ] {
            check(role, DeltaKind::RoleOnly, [0; 3]);
        }
        let end = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        let end = check(end, DeltaKind::Empty, [0; 3]);
        assert_eq!(end.finish_reason.as_deref(), Some("stop"));
        check(
            r#"{"choices":[{"delta":{"content":""},"finish_reason":""}]}"#,
            DeltaKind::Empty,
            [0; 3],
        );
        assert!(!DeltaKind::RoleOnly.bears_token() && !DeltaKind::Empty.bears_token());
    }

    #[test]
    fn reasoning_has_two_names_and_is_counted_once() {
        for json in [
            r#"{"choices":[{"delta":{"content":null,"reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"content":"","reasoning":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"reasoning":"hm","reasoning_content":"hm"}}]}"#,
        ] {
            check(json, DeltaKind::Reasoning, [0, 2, 0]);
        }
    }

    #[test]
    fn tool_calls_count_their_name_and_arguments() {
        check(
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"add","arguments":""}}]}}]}"#,
            DeltaKind::ToolCall,
            [0, 0, 3],
        );
        check(
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}},{"index":1,"function":{"arguments":"1"}}]}}]}"#,
            DeltaKind::ToolCall,
            [0, 0, 5],
        );
        check(
            r#"{"choices":[{"delta":{"function_call":{"name":"f"}}}]}"#,
            DeltaKind::ToolCall,
            [0, 0, 1],
        );
        check(
            r#"{"choices":[{"delta":{"refusal":"no"}}]}"#,
            DeltaKind::Content,
            [2, 0, 0],
        );
    }

    #[test]
    fn content_in_parts_is_summed() {
        check(
            r#"{"choices":[{"delta":{"content":[{"type":"text","text":"ab"},{"type":"text","text":"c"}]}}]}"#,
            DeltaKind::Content,
            [3, 0, 0],
        );
    }

    #[test]
    fn usage_comes_with_its_details() {
        let json = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,
            "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},
            "completion_tokens_details":{"reasoning_tokens":2}}}"#;
        let usage = Usage {
            prompt_tokens: Some(9),
            completion_tokens: Some(5),
            reasoning_tokens: Some(2),
            cached_tokens: Some(4),
        };
        assert_eq!(check(json, DeltaKind::NoChoice, [0; 3]).usage, Some(usage));
        // SGLang has its reasoning tokens beside the others.
        let flat = r#"{"choices":[],"usage":{"completion_tokens":50,"reasoning_tokens":30}}"#;
        let flat = check(flat, DeltaKind::NoChoice, [0; 3]).usage;
        assert_eq!(flat.and_then(|usage| usage.reasoning_tokens), Some(30));
        let sparse = r#"{"usage":{"prompt_tokens":9,"completion_tokens":null,"prompt_tokens_details":null}}"#;
        let sparse = check(sparse, DeltaKind::NoChoice, [0; 3]).usage;
        assert_eq!(
            sparse,
            Some(Usage {
                prompt_tokens: Some(9),
                ..Usage::default()
            })
        );
    }

    #[test]
    fn pretty_json_and_unknown_fields_do_not_matter() {
        check(
            "{\n  \"id\" : \"x\",\n  \"choices\" : [ {\n \"logprobs\": {\"content\": [{\"token\": \"a\"}]}, \"delta\" : { \"content\" : \"a\" } } ]\n}\n",
            DeltaKind::Content,
            [1, 0, 0],
        );
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for json in [
            "",
            "{",
            "hello",
            "[]",
            r#"{"choices":7}"#,
            r#"{"choices":[]}}"#,
        ] {
            let error = decode_chunk(json.as_bytes()).expect_err("no chunk");
            assert!(matches!(error, ChunkError::Unreadable { .. }), "{json}");
        }
        for json in [
            "{}",
            r#"{"model":"m","message":{"content":"x"},"done":false}"#,
        ] {
            let error = decode_chunk(json.as_bytes()).expect_err("no chunk");
            assert!(matches!(error, ChunkError::Foreign), "{json}");
        }
    }

    #[test]
    fn a_whole_reply_is_read_by_its_message() {
        let json = br#"{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi!"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
        let reply = decode_chunk(json).expect("a reply");
        assert_eq!(reply.kind, DeltaKind::Content);
        assert_eq!(reply.content_bytes, 3);
        assert_eq!(reply.finish_reason.as_deref(), Some("stop"));
    }
}
