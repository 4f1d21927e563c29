//! What a simulated model says: one word per token, by ordinal and position.

use std::ops::Range;

use super::event::Channel;
use super::plan::ReplyPlan;

/// Words that JSON needs not escape, each with the blank before it.
const WORDS: [&str; 24] = [
    " a", " mark", " on", " the", " hull", " shows", " how", " deep", " ship", " may", " lie",
    " when", " it", " is", " loaded", " and", " water", " calm", " so", " that", " no", " storm",
    " takes", " her",
];

/// The same with characters of two, three and four bytes in every one.
const WIDE_WORDS: [&str; 8] = [
    " süß",
    " größer",
    " 船舶",
    " 荷重",
    " ⚓",
    " 🚢",
    " naïve",
    " Ωμέγα",
];

/// What opens and closes the arguments of a tool call, escaped for JSON.
const ARGUMENTS: (&str, &str) = (r#"{\"query\":\""#, r#"\"}"#);

/// The words of one reply and the channels they go to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wording {
    words: &'static [&'static str],
    first: usize,
    tokens: u32,
    /// How many tokens, from the first on, go to `thought`.
    reasoning: u32,
    thought: Channel,
    answer: Channel,
}

impl Wording {
    pub(crate) fn new(plan: &ReplyPlan, ordinal: u64) -> Self {
        // Events that are cut in pieces should be cut in characters too.
        let words: &[&str] = if plan.split.is_some() {
            &WIDE_WORDS
        } else {
            &WORDS
        };
        let answer = if plan.tool_call {
            Channel::Tool
        } else {
            Channel::Content
        };
        let (reasoning, thought) = match plan.reasoning {
            Some((tokens, field)) => (tokens.min(plan.tokens), Channel::Reasoning(field)),
            None => (0, answer),
        };
        let first = ordinal % (words.len() as u64);
        Self {
            words,
            first: usize::try_from(first).expect("less than the number of words"),
            tokens: plan.tokens,
            reasoning,
            thought,
            answer,
        }
    }

    pub(crate) fn reasoning_tokens(&self) -> u32 {
        self.reasoning
    }

    /// The channel of a token, and where the next channel begins.
    pub(crate) fn channel(&self, index: u32) -> (Channel, u32) {
        if index < self.reasoning {
            (self.thought, self.reasoning)
        } else {
            (self.answer, self.tokens)
        }
    }

    /// Whether the answer begins with this token.
    pub(crate) fn begins_answer(&self, index: u32) -> bool {
        index == self.reasoning
    }

    /// The word of one token in the middle of a reply.
    pub(crate) fn word(&self, index: u32) -> &'static str {
        self.words[(self.first + index as usize) % self.words.len()]
    }

    /// The text of several tokens of one channel, escaped for JSON.
    pub(crate) fn text(&self, tokens: Range<u32>) -> String {
        let mut text: String = tokens.clone().map(|index| self.word(index)).collect();
        if tokens.start == 0 || self.begins_answer(tokens.start) {
            text.remove(0);
        }
        if self.answer == Channel::Tool && tokens.end > self.reasoning {
            if self.begins_answer(tokens.start) {
                text.insert_str(0, ARGUMENTS.0);
            }
            if tokens.end == self.tokens {
                text.push_str(ARGUMENTS.1);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::fault::ReasoningField;

    fn wording(reasoning: Option<u32>, tool_call: bool) -> Wording {
        let field = ReasoningField::Reasoning;
        let plan = ReplyPlan {
            tokens: 5,
            reasoning: reasoning.map(|tokens| (tokens, field)),
            tool_call,
            ..ReplyPlan::EXAMPLE
        };
        Wording::new(&plan, 1)
    }

    #[test]
    fn a_token_is_a_word() {
        assert_eq!(wording(None, false).text(0..5), "mark on the hull shows");
        assert_eq!(wording(None, false).text(2..3), " the");
        for word in WORDS.into_iter().chain(WIDE_WORDS) {
            assert_eq!(word.split_whitespace().count(), 1);
            assert_eq!(
                serde_json::to_string(word).expect("text").len(),
                word.len() + 2
            );
        }
        assert!(WIDE_WORDS.iter().all(|word| !word.is_ascii()));
    }

    #[test]
    fn thought_comes_before_the_answer() {
        let thoughtful = wording(Some(2), false);
        let thought = Channel::Reasoning(ReasoningField::Reasoning);
        assert_eq!(thoughtful.channel(1), (thought, 2));
        assert_eq!(thoughtful.channel(2), (Channel::Content, 5));
        assert_eq!(thoughtful.text(0..2), "mark on");
        assert_eq!(thoughtful.text(2..5), "the hull shows");
        assert_eq!(wording(Some(9), false).reasoning_tokens(), 5);
    }

    #[test]
    fn the_arguments_of_a_tool_call_are_json() {
        for reasoning in [None, Some(2)] {
            let call = wording(reasoning, true);
            let from = reasoning.unwrap_or(0);
            let pieces: String = (from..5).map(|index| call.text(index..index + 1)).collect();
            assert_eq!(pieces, call.text(from..5));
            let arguments: String =
                serde_json::from_str(&format!("\"{pieces}\"")).expect("a JSON string");
            let arguments: serde_json::Value =
                serde_json::from_str(&arguments).expect("JSON inside");
            assert!(arguments["query"].is_string());
        }
    }
}
