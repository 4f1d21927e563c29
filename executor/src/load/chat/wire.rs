//! The JSON shapes of chunks and replies, read without keeping text.
//!
//! Lists are folded while they are read and strings are measured, not copied: a usual chunk
//! allocates nothing. Unknown fields are skipped.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::delta::Usage;

/// A chunk or a whole reply.
#[derive(serde::Deserialize)]
pub(super) struct Document {
    pub(super) choices: Option<Choices>,
    pub(super) usage: Option<WireUsage>,
    /// Rare, so that a tree is cheap enough.
    pub(super) error: Option<serde_json::Value>,
}

/// All choices of a chunk in one.
#[derive(Default)]
pub(super) struct Choices {
    pub(super) count: usize,
    pub(super) has_role: bool,
    pub(super) content_bytes: usize,
    pub(super) reasoning_bytes: usize,
    pub(super) tool_bytes: usize,
    pub(super) finish_reason: Option<String>,
}

impl Fold for Choices {
    type Item = Choice;

    fn add(&mut self, choice: Choice) {
        self.count += 1;
        // Servers that send the reason with every chunk leave it empty until the end.
        let reason = choice.finish_reason.filter(|reason| !reason.is_empty());
        self.finish_reason = self.finish_reason.take().or(reason);
        for delta in [choice.delta, choice.message].into_iter().flatten() {
            self.has_role |= delta.role.is_some();
            self.content_bytes += measured(delta.content) + measured(delta.refusal);
            // Some servers send both names with the same text.
            self.reasoning_bytes +=
                measured(delta.reasoning).max(measured(delta.reasoning_content));
            self.tool_bytes += delta.tool_calls.map_or(0, |calls| calls.bytes)
                + delta.function_call.map_or(0, |call| call.bytes());
        }
    }
}

#[derive(serde::Deserialize)]
pub(super) struct Choice {
    /// Of a chunk.
    delta: Option<Delta>,
    /// Of a whole reply.
    message: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(serde::Deserialize)]
struct Delta {
    role: Option<IgnoredAny>,
    content: Option<TextLength>,
    refusal: Option<TextLength>,
    reasoning: Option<TextLength>,
    reasoning_content: Option<TextLength>,
    tool_calls: Option<ToolCalls>,
    /// The name of a tool call before there were several.
    function_call: Option<Function>,
}

/// The bytes of all tool calls of a delta.
#[derive(Default)]
struct ToolCalls {
    bytes: usize,
}

impl Fold for ToolCalls {
    type Item = ToolCall;

    fn add(&mut self, call: ToolCall) {
        self.bytes += call.function.map_or(0, |function| function.bytes());
    }
}

#[derive(serde::Deserialize)]
struct ToolCall {
    function: Option<Function>,
}

#[derive(serde::Deserialize)]
struct Function {
    name: Option<TextLength>,
    arguments: Option<TextLength>,
}

impl Function {
    fn bytes(&self) -> usize {
        self.name.as_ref().map_or(0, |name| name.0) + self.arguments.as_ref().map_or(0, |a| a.0)
    }
}

/// The length of a text in bytes, after unescaping. A list of parts has the length of its texts.
#[derive(Default)]
struct TextLength(usize);

fn measured(text: Option<TextLength>) -> usize {
    text.map_or(0, |text| text.0)
}

impl<'de> Deserialize<'de> for TextLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As bytes, since the parser then accepts half characters, and skips a check.
        deserializer.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = TextLength;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of parts")
    }

    fn visit_bytes<E>(self, text: &[u8]) -> Result<TextLength, E> {
        Ok(TextLength(text.len()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<TextLength, A::Error> {
        let mut length = 0;
        while let Some(part) = parts.next_element::<Part>()? {
            length += measured(part.text);
        }
        Ok(TextLength(length))
    }
}

/// A part of a content that is a list.
#[derive(serde::Deserialize)]
struct Part {
    text: Option<TextLength>,
}

#[derive(serde::Deserialize)]
pub(super) struct WireUsage {
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    /// SGLang has it here.
    reasoning_tokens: Option<i64>,
}

#[derive(serde::Deserialize)]
struct PromptDetails {
    cached_tokens: Option<i64>,
}

#[derive(serde::Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<i64>,
}

impl From<WireUsage> for Usage {
    fn from(wire: WireUsage) -> Self {
        // A negative count is no count.
        let count = |tokens: Option<i64>| tokens.filter(|tokens| *tokens >= 0);
        let prompt = wire.prompt_tokens_details;
        let completion = wire.completion_tokens_details;
        Usage {
            prompt_tokens: count(wire.prompt_tokens),
            completion_tokens: count(wire.completion_tokens),
            reasoning_tokens: count(
                completion
                    .and_then(|details| details.reasoning_tokens)
                    .or(wire.reasoning_tokens),
            ),
            cached_tokens: count(prompt.and_then(|details| details.cached_tokens)),
        }
    }
}

/// A list that is summed up while it is read.
trait Fold: Default {
    type Item;

    fn add(&mut self, item: Self::Item);
}

/// Reads a list into its sum.
struct FoldVisitor<T>(PhantomData<T>);

impl<'de, T> Visitor<'de> for FoldVisitor<T>
where
    T: Fold,
    T::Item: Deserialize<'de>,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<T, A::Error> {
        let mut sum = T::default();
        while let Some(item) = items.next_element()? {
            sum.add(item);
        }
        Ok(sum)
    }
}

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FoldVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for ToolCalls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FoldVisitor(PhantomData))
    }
}
