//! What requests ask: lengths and prompts.
//!
//! A [`Workload`] says how long prompts and answers are; a [`PromptSource`] adds the seed and makes
//! the prompt of any request from its number alone, so that order, retries and worker threads
//! change nothing. Must not know rates, clocks or the wire.

mod length;
mod mix;
mod text;

use std::fmt;
use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::comparable::{canonical_json, hex};
use mix::{Draw, Mix};

pub use length::TokenCount;

/// Changes whenever the same seed and lengths would give other prompts.
const GENERATOR: &str = "words-v1";

/// How long prompts and answers are: a named mix of classes, fixed lengths, or one of both.
#[derive(Debug, Clone)]
pub struct Workload {
    mix: Arc<Mix>,
    prompt_tokens: Option<TokenCount>,
    output_tokens: Option<TokenCount>,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            mix: Arc::new(Mix::shipped(Mix::DEFAULT).expect("the default mix ships")),
            prompt_tokens: None,
            output_tokens: None,
        }
    }
}

impl Workload {
    /// The mix that ships under this name.
    ///
    /// # Errors
    /// If none does.
    pub fn named(mix: &str) -> Result<Self, WorkloadError> {
        let mix = Mix::shipped(mix).ok_or_else(|| WorkloadError::UnknownMix {
            name: mix.to_string(),
            known: Mix::names().collect::<Vec<_>>().join(", "),
        })?;
        Ok(Self {
            mix: Arc::new(mix),
            ..Self::default()
        })
    }

    /// The same with prompts of one length.
    ///
    /// # Errors
    /// If they are too short to differ from each other, or too long.
    pub fn with_prompt_tokens(mut self, tokens: u32) -> Result<Self, WorkloadError> {
        let fits = tokens >= text::SHORTEST;
        self.prompt_tokens = TokenCount::new(tokens).filter(|_| fits);
        match self.prompt_tokens {
            Some(_) => Ok(self),
            None => Err(WorkloadError::PromptLength { tokens }),
        }
    }

    /// The same with answers of one length asked for.
    ///
    /// # Errors
    /// If it is 0 or too long.
    pub fn with_output_tokens(mut self, tokens: u32) -> Result<Self, WorkloadError> {
        self.output_tokens = TokenCount::new(tokens);
        match self.output_tokens {
            Some(_) => Ok(self),
            None => Err(WorkloadError::OutputLength { tokens }),
        }
    }

    /// The mix's name with its version, or `fixed` where both lengths are.
    pub fn name(&self) -> &str {
        if self.is_fixed() {
            FIXED
        } else {
            self.mix.name()
        }
    }

    /// The workload in a few words: its name, and the lengths that are fixed, such as `mixed-v1` or
    /// `fixed 512 in, 128 out`.
    pub fn in_words(&self) -> String {
        let fixed = |tokens: Option<TokenCount>, way: &str| {
            tokens.map(|tokens| format!("{} {way}", tokens.get()))
        };
        let lengths = [
            fixed(self.prompt_tokens, "in"),
            fixed(self.output_tokens, "out"),
        ];
        let lengths: Vec<String> = lengths.into_iter().flatten().collect();
        format!("{} {}", self.name(), lengths.join(", "))
            .trim_end()
            .to_string()
    }

    /// The one length of all prompts; `None` where the mix decides.
    pub const fn prompt_tokens(&self) -> Option<TokenCount> {
        self.prompt_tokens
    }

    /// The one length asked of all answers; `None` where the mix decides.
    pub const fn output_tokens(&self) -> Option<TokenCount> {
        self.output_tokens
    }

    /// The mix that decides what is not fixed; `None` where all is.
    pub fn mix(&self) -> Option<&str> {
        (!self.is_fixed()).then(|| self.mix.name())
    }

    /// SHA-256 in hex of all that defines the workload: lengths, classes, words and the way that
    /// prompts are made of them. The seed is no part of it.
    pub fn digest(&self) -> String {
        let definition = json!({
            "generator": GENERATOR,
            "words": hex(&Sha256::digest(text::WORD_LIST)),
            "mix": if self.is_fixed() { Value::Null } else { json!(self.mix.definition()) },
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
        });
        hex(&Sha256::digest(canonical_json(&definition)))
    }

    const fn is_fixed(&self) -> bool {
        self.prompt_tokens.is_some() && self.output_tokens.is_some()
    }
}

/// The class of requests whose lengths are fixed, and the name of such a workload.
const FIXED: &str = "fixed";

impl PartialEq for Workload {
    fn eq(&self, other: &Self) -> bool {
        self.mix() == other.mix()
            && self.prompt_tokens == other.prompt_tokens
            && self.output_tokens == other.output_tokens
    }
}

/// A workload that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// No mix has this name.
    #[error("no workload mix is named `{name}`; there is {known}")]
    UnknownMix {
        /// What was asked for.
        name: String,
        /// The mixes that ship.
        known: String,
    },
    /// Prompts of this length cannot be made.
    #[error(
        "prompts of {tokens} tokens cannot be made; use {} to {}, since shorter ones would repeat",
        text::SHORTEST,
        TokenCount::MAX
    )]
    PromptLength {
        /// What was asked for.
        tokens: u32,
    },
    /// Answers of this length cannot be asked for.
    #[error(
        "answers of {tokens} tokens cannot be asked for; use 1 to {}",
        TokenCount::MAX
    )]
    OutputLength {
        /// What was asked for.
        tokens: u32,
    },
}

/// A workload with a seed: the prompt of every request of a run. Cheap to clone.
#[derive(Clone, PartialEq)]
pub struct PromptSource {
    workload: Arc<Workload>,
    seed: u64,
}

impl fmt::Debug for PromptSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromptSource")
            .field("workload", &self.workload.name())
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// What one request asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The user's message.
    pub text: String,
    /// Length of the prompt in tokens as the workload wants it. What it really is, the server's
    /// usage says.
    pub prompt_tokens_asked: u32,
    /// The most tokens that the answer may have, which is also what the workload wants.
    pub output_tokens_asked: u32,
    /// The workload's class that the request belongs to.
    pub class: Arc<str>,
}

impl PromptSource {
    /// The prompts of `workload` under `seed`.
    pub fn new(workload: Workload, seed: u64) -> Self {
        Self {
            workload: Arc::new(workload),
            seed,
        }
    }

    /// The prompt of one request, by its number within the run.
    ///
    /// It depends on seed and number alone. Two numbers never give the same text under one seed.
    pub fn next(&self, request_id: u64) -> Prompt {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(request_id);
        let Draw {
            class,
            prompt_tokens,
            output_tokens,
        } = self.workload.mix.draw(&mut rng);
        let prompt_tokens = self.workload.prompt_tokens.unwrap_or(prompt_tokens).get();
        let output_tokens = self.workload.output_tokens.unwrap_or(output_tokens).get();
        let class = if self.workload.is_fixed() {
            FIXED.into()
        } else {
            class
        };
        let name = scatter(request_id ^ scatter(self.seed));
        Prompt {
            text: text::prompt(name, prompt_tokens, &mut rng),
            prompt_tokens_asked: prompt_tokens,
            output_tokens_asked: output_tokens,
            class,
        }
    }

    /// What the prompts are made by.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// What makes these prompts differ from those of another run.
    pub const fn seed(&self) -> u64 {
        self.seed
    }
}

/// One-to-one on 64 bits, so that different numbers stay different, and neighbours land far apart:
/// the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", OOPSLA 2014), with its increment so that 0 does not stay 0.
const fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn source(seed: u64) -> PromptSource {
        PromptSource::new(Workload::default(), seed)
    }

    fn fixed(prompt: u32, output: u32) -> Workload {
        Workload::default()
            .with_prompt_tokens(prompt)
            .and_then(|workload| workload.with_output_tokens(output))
            .expect("lengths in range")
    }

    #[test]
    fn a_prompt_depends_on_seed_and_number_alone() {
        let one = source(42);
        let later = one.next(17);
        one.next(3);
        assert_eq!(one.next(17), later);
        assert_eq!(source(42).next(17), later);
        assert_ne!(source(43).next(17).text, later.text);
    }

    #[test]
    fn prompts_never_repeat_nor_begin_alike() {
        let source = PromptSource::new(fixed(8, 1), 9);
        let prompts: Vec<String> = (0..20_000).map(|id| source.next(id).text).collect();
        let whole: HashSet<&String> = prompts.iter().collect();
        assert_eq!(whole.len(), prompts.len());
        let beginnings: HashSet<Vec<&str>> = prompts
            .iter()
            .map(|text| text.split(' ').take(4).collect())
            .collect();
        // 20000 of 2^40 beginnings: one pair in 5000 such lists is the same by chance.
        assert_eq!(beginnings.len(), prompts.len());
        let first: HashSet<&str> = prompts
            .iter()
            .filter_map(|text| text.split(' ').next())
            .collect();
        assert_eq!(first.len(), 1024, "every word comes first somewhere");
    }

    #[test]
    fn fixed_lengths_are_asked_of_every_request() {
        let source = PromptSource::new(fixed(64, 16), 1);
        for id in 0..100 {
            let prompt = source.next(id);
            assert_eq!(prompt.prompt_tokens_asked, 64);
            assert_eq!(prompt.output_tokens_asked, 16);
            assert_eq!(prompt.text.split(' ').count(), 64);
            assert_eq!(&*prompt.class, "fixed");
        }
    }

    #[test]
    fn one_fixed_length_leaves_the_other_to_the_mix() {
        let workload = Workload::default().with_output_tokens(16).expect("fits");
        assert_eq!(workload.name(), "mixed-v1");
        let source = PromptSource::new(workload, 1);
        let lengths: HashSet<u32> = (0..100)
            .map(|id| source.next(id))
            .inspect(|prompt| assert_eq!(prompt.output_tokens_asked, 16))
            .map(|prompt| prompt.prompt_tokens_asked)
            .collect();
        assert!(lengths.len() > 20);
        let classes: HashSet<String> = (0..100)
            .map(|id| source.next(id).class.to_string())
            .collect();
        assert_eq!(classes.len(), 4);
    }

    #[test]
    fn a_workload_says_in_words_what_is_fixed() {
        let mixed = Workload::default();
        assert_eq!(mixed.in_words(), "mixed-v1");
        let output = mixed.clone().with_output_tokens(128).expect("fits");
        assert_eq!(output.in_words(), "mixed-v1 128 out");
    }

    #[test]
    fn the_digest_covers_lengths_and_not_the_seed() {
        let default = Workload::default();
        assert_eq!(default.digest().len(), 64);
        assert_eq!(
            default.digest(),
            Workload::named("mixed-v1").expect("it ships").digest()
        );
        let digests: HashSet<String> = [
            default.clone(),
            default.clone().with_output_tokens(16).expect("fits"),
            default.with_prompt_tokens(16).expect("fits"),
            fixed(16, 16),
            fixed(16, 17),
        ]
        .iter()
        .map(Workload::digest)
        .collect();
        assert_eq!(digests.len(), 5);
    }

    #[test]
    fn a_change_of_the_default_workload_is_a_new_name() {
        // Fails when the mix, the words or the generator change: then give the mix (or the
        // generator) a new name and write the new digest here.
        assert_eq!(
            Workload::default().digest(),
            "9a65ef1ae79fba57d40f83982a2e8184bc6af39f336b2cf54b9a0ad1691faffa"
        );
    }

    #[test]
    fn workloads_out_of_range_are_refused_with_the_value() {
        let check = |result: Result<Workload, WorkloadError>, message: &str| {
            assert_eq!(result.expect_err("out of range").to_string(), message);
        };
        check(
            Workload::named("mixed"),
            "no workload mix is named `mixed`; there is mixed-v1",
        );
        check(
            Workload::default().with_prompt_tokens(7),
            "prompts of 7 tokens cannot be made; use 8 to 1000000, since shorter ones would repeat",
        );
        check(
            Workload::default().with_prompt_tokens(1_000_001),
            "prompts of 1000001 tokens cannot be made; use 8 to 1000000, since shorter ones would \
             repeat",
        );
        check(
            Workload::default().with_output_tokens(0),
            "answers of 0 tokens cannot be asked for; use 1 to 1000000",
        );
    }
}
