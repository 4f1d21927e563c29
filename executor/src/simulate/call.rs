//! What a chat completion asks for, as far as a simulated server cares.

use std::borrow::Cow;
use std::num::NonZeroU32;

use serde::Deserialize;

/// A request for a chat completion, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// Whether `stream_options` is there at all.
    pub(crate) stream_options: bool,
    pub(crate) include_usage: bool,
    pub(crate) prompt_tokens: u32,
    /// `max_completion_tokens`, else `max_tokens`; `None` where there is
    /// neither.
    pub(crate) output_tokens: Option<NonZeroU32>,
}

/// A body that is no chat completion.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the body is not a chat completion: {0}")]
    Json(#[from] serde_json::Error),
    #[error("max_tokens must be at least 1")]
    NoTokens,
    #[error("messages must not be empty")]
    NoMessages,
}

impl Call {
    /// Reads the body of a request. Fields that do not matter here (sampling,
    /// tools, ...) are passed over.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, CallError> {
        let wire: WireCall<'_> = serde_json::from_slice(body)?;
        if wire.messages.is_empty() {
            return Err(CallError::NoMessages);
        }
        let output_tokens = match wire.max_completion_tokens.or(wire.max_tokens) {
            None => None,
            Some(asked) => Some(NonZeroU32::new(asked).ok_or(CallError::NoTokens)?),
        };
        let words: usize = wire.messages.iter().map(WireMessage::words).sum();
        Ok(Self {
            model: wire.model.into_owned(),
            stream: wire.stream.unwrap_or(false),
            stream_options: wire.stream_options.is_some(),
            include_usage: wire
                .stream_options
                .is_some_and(|options| options.include_usage.unwrap_or(false)),
            prompt_tokens: u32::try_from(words).unwrap_or(u32::MAX),
            output_tokens,
        })
    }
}

#[derive(Deserialize)]
struct WireCall<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    messages: Vec<WireMessage<'a>>,
    stream: Option<bool>,
    stream_options: Option<WireStreamOptions>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct WireStreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct WireMessage<'a> {
    #[serde(borrow)]
    content: Option<WireContent<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireContent<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Parts(#[serde(borrow)] Vec<WirePart<'a>>),
}

#[derive(Deserialize)]
struct WirePart<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

impl WireMessage<'_> {
    /// The server's tokenizer: a token is a run of characters between blanks,
    /// in the text of every message. Roles and templates count nothing.
    fn words(&self) -> usize {
        let count = |text: &str| text.split_whitespace().count();
        match &self.content {
            None => 0,
            Some(WireContent::Text(text)) => count(text),
            Some(WireContent::Parts(parts)) => {
                let texts = parts.iter().filter_map(|part| part.text.as_deref());
                texts.map(count).sum()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Call {
        Call::parse(body.as_bytes()).expect(body)
    }

    #[test]
    fn words_of_all_messages_are_prompt_tokens() {
        let call = parse(
            r#"{"model":"m","messages":[
                {"role":"system","content":"be brief"},
                {"role":"user","content":[{"type":"text","text":" one\ntwo  three "},
                                          {"type":"image_url","image_url":{"url":"x y"}}]},
                {"role":"assistant","content":null}]}"#,
        );
        assert_eq!(call.prompt_tokens, 5);
        assert!(!call.stream && !call.include_usage && !call.stream_options);
        assert_eq!(call.output_tokens, None);
    }

    #[test]
    fn the_newer_name_of_the_maximum_wins() {
        let call = parse(
            r#"{"model":"a\"b","messages":[{"role":"user","content":"x"}],"temperature":0,
                "max_tokens":3,"max_completion_tokens":7,
                "stream":true,"stream_options":{"include_usage":true}}"#,
        );
        assert_eq!(call.output_tokens.map(NonZeroU32::get), Some(7));
        assert_eq!(call.model, "a\"b");
        assert!(call.stream && call.include_usage && call.stream_options);
    }

    #[test]
    fn what_is_no_call_is_refused() {
        let refuse = |body: &str| {
            let error = Call::parse(body.as_bytes()).expect_err(body);
            error.to_string()
        };
        refuse("");
        refuse("[]");
        refuse(r#"{"messages":[{"content":"x"}]}"#);
        assert!(refuse(r#"{"model":"m","messages":[]}"#).contains("messages"));
        let none = r#"{"model":"m","messages":[{"content":"x"}],"max_tokens":0}"#;
        assert!(refuse(none).contains("max_tokens"));
    }
}
