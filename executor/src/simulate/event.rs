//! The server-sent events of one reply, as bytes.
//!
//! Everything that all chunks of a reply share is formatted once. Texts are
//! made of words that JSON needs not escape.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::fault::{Malformed, ReasoningField};
use super::frame::{ReplyFrame, Surroundings};

/// Where a token goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Content,
    Reasoning(ReasoningField),
    /// The arguments of a tool call.
    Tool,
}

impl Channel {
    /// What stands before a text in a delta.
    fn opening(self) -> &'static str {
        match self {
            Self::Content => r#""content":""#,
            Self::Reasoning(ReasoningField::ReasoningContent) => r#""reasoning_content":""#,
            Self::Reasoning(ReasoningField::Reasoning) => r#""reasoning":""#,
            Self::Tool => r#""tool_calls":[{"index":0,"function":{"arguments":""#,
        }
    }

    /// What stands behind it.
    fn closing(self) -> &'static str {
        match self {
            Self::Content | Self::Reasoning(_) => r#"""#,
            Self::Tool => r#""}}]"#,
        }
    }
}

/// Token counts as a server reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    pub(crate) reasoning_tokens: u32,
}

impl Usage {
    pub(crate) fn json(self) -> Value {
        let mut usage = json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": u64::from(self.prompt_tokens) + u64::from(self.completion_tokens),
        });
        if self.reasoning_tokens > 0 {
            usage["completion_tokens_details"] = json!({"reasoning_tokens": self.reasoning_tokens});
        }
        usage
    }
}

/// The delta of an event that is put together piece by piece.
#[derive(Clone, Debug)]
pub(crate) struct Delta<'a> {
    /// Whether the role comes with it.
    pub(crate) role: bool,
    pub(crate) text: Option<(Channel, &'a str)>,
    /// Whether a tool call begins here and needs its name.
    pub(crate) call_begins: bool,
    pub(crate) finish_reason: Option<&'a str>,
    pub(crate) usage: Option<Usage>,
}

impl Delta<'_> {
    pub(crate) const EMPTY: Self = Self {
        role: false,
        text: None,
        call_begins: false,
        finish_reason: None,
        usage: None,
    };
}

/// What the events of one reply have in common.
#[derive(Debug)]
pub(crate) struct EventShape {
    /// From `data: ` to before `"choices"`.
    head: String,
    ordinal: u64,
    line_end: &'static str,
    /// Where usage is asked for, all chunks have the field, most as null.
    usage_field: bool,
    /// The channel that `around` is for.
    channel: Channel,
    around: Arc<Surroundings>,
}

impl EventShape {
    pub(crate) fn new(
        ordinal: u64,
        created_s: i64,
        model: &str,
        crlf: bool,
        usage_field: bool,
    ) -> Self {
        let model = Value::from(model);
        let head = format!(
            r#"data: {{"id":"chatcmpl-{ordinal}","object":"chat.completion.chunk","created":{created_s},"model":{model},"#
        );
        let line_end = if crlf { "\r\n" } else { "\n" };
        let channel = Channel::Content;
        let around = Arc::new(surroundings(channel, &head, line_end, usage_field));
        Self {
            head,
            ordinal,
            line_end,
            usage_field,
            channel,
            around,
        }
    }

    /// A chunk that carries one word and nothing else; the usual one.
    pub(crate) fn word(&mut self, channel: Channel, word: &'static str) -> ReplyFrame {
        if self.channel != channel {
            let around = surroundings(channel, &self.head, self.line_end, self.usage_field);
            self.around = Arc::new(around);
            self.channel = channel;
        }
        ReplyFrame::word(&self.around, word)
    }

    /// Any other chunk.
    pub(crate) fn delta(&self, out: &mut String, delta: &Delta<'_>) {
        out.push_str(&self.head);
        out.push_str(r#""choices":[{"index":0,"delta":{"#);
        if delta.role {
            out.push_str(r#""role":"assistant""#);
            out.push_str(if delta.text.is_some() {
                ","
            } else {
                r#","content":"""#
            });
        }
        match delta.text {
            Some((Channel::Tool, text)) if delta.call_begins => append(
                out,
                format_args!(
                    r#""tool_calls":[{{"index":0,"id":"call_{}","type":"function","function":{{"name":"look_up","arguments":"{text}"}}}}]"#,
                    self.ordinal
                ),
            ),
            Some((channel, text)) => {
                out.push_str(channel.opening());
                out.push_str(text);
                out.push_str(channel.closing());
            }
            None => {}
        }
        match delta.finish_reason {
            Some(reason) => append(out, format_args!(r#"}},"finish_reason":"{reason}"}}]"#)),
            None => out.push_str(r#"},"finish_reason":null}]"#),
        }
        self.finish_chunk(out, delta.usage);
    }

    /// The chunk without choices that carries usage.
    pub(crate) fn usage(&self, out: &mut String, usage: Usage) {
        out.push_str(&self.head);
        out.push_str(r#""choices":[]"#);
        self.finish_chunk(out, Some(usage));
    }

    fn finish_chunk(&self, out: &mut String, usage: Option<Usage>) {
        match usage {
            Some(usage) => append(out, format_args!(r#","usage":{}"#, usage.json())),
            None if self.usage_field => out.push_str(r#","usage":null"#),
            None => {}
        }
        out.push('}');
        self.end_event(out);
    }

    pub(crate) fn done(&self, out: &mut String) {
        out.push_str("data: [DONE]");
        self.end_event(out);
    }

    pub(crate) fn ping(&self, out: &mut String) {
        out.push_str(": ping");
        self.end_event(out);
    }

    pub(crate) fn error(&self, out: &mut String) {
        out.push_str(
            r#"data: {"error":{"message":"the simulated engine failed in the middle of the reply","type":"server_error","param":null,"code":500}}"#,
        );
        self.end_event(out);
    }

    /// An event that nobody can read, as bytes, since it may not be text.
    pub(crate) fn malformed(&self, how: Malformed) -> Vec<u8> {
        let mut text = String::new();
        match how {
            Malformed::Json => {
                text.push_str(&self.head);
                text.push_str(r#""choices":[{"index":0,"del"#);
            }
            Malformed::Utf8 => {
                text.push_str(&self.head);
                text.push_str(
                    r#""choices":[{"index":0,"delta":{"content":"?"},"finish_reason":null}]}"#,
                );
            }
            Malformed::Line => text.push_str("this line is no field"),
        }
        self.end_event(&mut text);
        let mut bytes = text.into_bytes();
        if how == Malformed::Utf8
            && let Some(place) = bytes.iter().rposition(|byte| *byte == b'?')
        {
            bytes[place] = 0xFF;
        }
        bytes
    }

    fn end_event(&self, out: &mut String) {
        out.push_str(self.line_end);
        out.push_str(self.line_end);
    }
}

/// What is the same in all chunks of a channel that carry one word.
fn surroundings(channel: Channel, head: &str, line_end: &str, usage_field: bool) -> Surroundings {
    let (opening, closing) = (channel.opening(), channel.closing());
    let usage = if usage_field { r#","usage":null"# } else { "" };
    Surroundings {
        before: format!(r#"{head}"choices":[{{"index":0,"delta":{{{opening}"#),
        after: format!(r#"{closing}}},"finish_reason":null}}]{usage}}}{line_end}{line_end}"#),
    }
}

fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(crlf: bool, usage_field: bool) -> EventShape {
        EventShape::new(7, 1_700_000_000, "m \"x\"", crlf, usage_field)
    }

    fn read(event: &[u8], end: &str) -> Value {
        let text = std::str::from_utf8(event).expect("UTF-8");
        let data = text
            .strip_prefix("data: ")
            .and_then(|text| text.strip_suffix(end))
            .expect("an event");
        serde_json::from_str(data).expect(data)
    }

    #[test]
    fn the_quick_chunk_equals_the_slow_one() {
        let field = ReasoningField::Reasoning;
        for channel in [Channel::Content, Channel::Reasoning(field), Channel::Tool] {
            for (crlf, usage) in [(false, false), (true, true)] {
                let mut shape = shape(crlf, usage);
                let quick = shape.word(channel, " word").into_bytes();
                let mut slow = String::new();
                let text = Some((channel, " word"));
                shape.delta(
                    &mut slow,
                    &Delta {
                        text,
                        ..Delta::EMPTY
                    },
                );
                assert_eq!(quick, slow.as_bytes());
            }
        }
    }

    #[test]
    fn a_chunk_is_what_a_client_expects() {
        let event = shape(false, false)
            .word(Channel::Content, " word")
            .into_bytes();
        assert_eq!(
            read(&event, "\n\n"),
            json!({"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1_700_000_000,
                "model": "m \"x\"", "choices": [
                    {"index": 0, "delta": {"content": " word"}, "finish_reason": null}]})
        );
    }

    #[test]
    fn a_tool_call_begins_with_its_name() {
        let mut out = String::new();
        let delta = Delta {
            role: true,
            text: Some((Channel::Tool, r#"{\"a"#)),
            call_begins: true,
            ..Delta::EMPTY
        };
        shape(true, false).delta(&mut out, &delta);
        let delta = &read(out.as_bytes(), "\r\n\r\n")["choices"][0]["delta"];
        assert_eq!(delta["role"], "assistant");
        assert_eq!(
            delta["tool_calls"],
            json!([{"index": 0, "id": "call_7", "type": "function",
                "function": {"name": "look_up", "arguments": "{\"a"}}])
        );
    }

    #[test]
    fn the_ends_of_a_reply() {
        let usage = Usage {
            prompt_tokens: 3,
            completion_tokens: 4,
            reasoning_tokens: 2,
        };
        let shape = shape(false, true);
        let mut out = String::new();
        shape.usage(&mut out, usage);
        let chunk = read(out.as_bytes(), "\n\n");
        assert_eq!(chunk["choices"], json!([]));
        assert_eq!(
            chunk["usage"],
            json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7,
                "completion_tokens_details": {"reasoning_tokens": 2}})
        );

        let mut out = String::new();
        let delta = Delta {
            finish_reason: Some("length"),
            ..Delta::EMPTY
        };
        shape.delta(&mut out, &delta);
        let chunk = read(out.as_bytes(), "\n\n");
        assert_eq!(chunk["usage"], Value::Null);
        assert_eq!(chunk["choices"][0]["finish_reason"], "length");
        assert_eq!(chunk["choices"][0]["delta"], json!({}));
    }

    #[test]
    fn malformed_events_are_malformed() {
        let shape = shape(false, false);
        let json = shape.malformed(Malformed::Json);
        let data = json.strip_prefix(b"data: ").expect("a data line");
        assert!(serde_json::from_slice::<Value>(data).is_err());
        assert!(std::str::from_utf8(&shape.malformed(Malformed::Utf8)).is_err());
        assert!(!shape.malformed(Malformed::Line).contains(&b':'));
    }
}
