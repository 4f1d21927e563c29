//! The body of a chat completions request.

use serde::Serialize;

/// Who speaks in a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Standing instructions.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Message<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: &'a str,
}

impl<'a> Message<'a> {
    /// A message of the one who asks.
    pub fn user(content: &'a str) -> Self {
        Self {
            role: Role::User,
            content,
        }
    }
}

/// How the reply is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// As server-sent events, token by token.
    #[default]
    Streaming,
    /// As one JSON document when it is done.
    Whole,
}

/// The field that bounds the length of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LengthField {
    /// `max_tokens`, which nearly every server reads.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`, which OpenAI's reasoning models demand.
    MaxCompletionTokens,
}

/// Whether a stream is asked to end with a count of its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UsageReport {
    /// Sends `stream_options.include_usage`.
    #[default]
    Asked,
    /// Leaves `stream_options` out, for servers that refuse it with a 400.
    NotAsked,
}

/// What the server is to do when the model ends its reply before the length asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndOfSequence {
    /// End the reply.
    #[default]
    Heeded,
    /// Go on: sends `ignore_eos`, which only some engines know.
    Ignored,
}

/// What all requests of a run have in common beside the model. The default is what every
/// OpenAI-compatible server is expected to take.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ChatOptions {
    /// How the reply is to come.
    pub transfer: Transfer,
    /// The field that bounds the length of the reply.
    pub length_field: LengthField,
    /// Whether a stream is asked to count its tokens. A whole reply counts them anyway.
    pub usage_report: UsageReport,
    /// What becomes of an early end.
    pub end_of_sequence: EndOfSequence,
    /// Sampling temperature; left to the server where `None`.
    pub temperature: Option<f64>,
    /// Sampling seed; left to the server where `None`.
    pub seed: Option<i64>,
}

/// One request, ready to be written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChatRequest<'a> {
    /// The model's name as the server knows it.
    pub model: &'a str,
    /// The conversation so far.
    pub messages: &'a [Message<'a>],
    /// The most tokens that the reply may have; left to the server where `None`.
    pub output_tokens: Option<u32>,
    /// What all requests have in common.
    pub options: ChatOptions,
}

impl ChatRequest<'_> {
    /// The request's JSON, for `POST {endpoint}/chat/completions`.
    pub fn body(&self) -> Vec<u8> {
        let options = &self.options;
        let bound_by = |field| self.output_tokens.filter(|_| options.length_field == field);
        let streaming = options.transfer == Transfer::Streaming;
        let asks_usage = streaming && options.usage_report == UsageReport::Asked;
        let body = Body {
            model: self.model,
            messages: self.messages,
            max_tokens: bound_by(LengthField::MaxTokens),
            max_completion_tokens: bound_by(LengthField::MaxCompletionTokens),
            stream: streaming,
            stream_options: asks_usage.then_some(StreamOptions {
                include_usage: true,
            }),
            ignore_eos: (options.end_of_sequence == EndOfSequence::Ignored).then_some(true),
            temperature: options.temperature,
            seed: options.seed,
        };
        serde_json::to_vec(&body).expect("strings, numbers and booleans always make JSON")
    }
}

/// The JSON as it goes over the wire, fields in this order.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: &'a [Message<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_eos: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output_tokens: Option<u32>, options: ChatOptions, wanted: &str) {
        let request = ChatRequest {
            model: "m",
            messages: &[Message::user("say \"hi\"\n")],
            output_tokens,
            options,
        };
        let body = String::from_utf8(request.body()).expect("JSON is UTF-8");
        let fixed = r#"{"model":"m","messages":[{"role":"user","content":"say \"hi\"\n"}],"#;
        assert_eq!(body, format!("{fixed}{wanted}"));
    }

    #[test]
    fn a_stream_asks_for_its_usage() {
        check(
            Some(64),
            ChatOptions::default(),
            r#""max_tokens":64,"stream":true,"stream_options":{"include_usage":true}}"#,
        );
    }

    #[test]
    fn a_whole_reply_has_no_stream_options() {
        check(
            None,
            ChatOptions {
                transfer: Transfer::Whole,
                ..ChatOptions::default()
            },
            r#""stream":false}"#,
        );
    }

    #[test]
    fn every_option_has_its_field() {
        check(
            Some(8),
            ChatOptions {
                transfer: Transfer::Streaming,
                length_field: LengthField::MaxCompletionTokens,
                usage_report: UsageReport::NotAsked,
                end_of_sequence: EndOfSequence::Ignored,
                temperature: Some(0.5),
                seed: Some(-7),
            },
            r#""max_completion_tokens":8,"stream":true,"ignore_eos":true,"temperature":0.5,"seed":-7}"#,
        );
    }
}
