//! Lengths of prompts and outputs: asked, and what came.

use plimsoll_ingest::{Phase, StageRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::stage::per;
use super::units;

/// Mean tokens of a request, over the ok requests of steady stages.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct TokenLengths {
    /// What the workload asked for; null where it is not known.
    pub asked: Option<f64>,
    /// What was counted; null where nothing was.
    pub achieved: Option<f64>,
}

/// Lengths of prompts and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Lengths {
    /// Prompts.
    pub prompt: TokenLengths,
    /// Outputs, reasoning included.
    pub output: TokenLengths,
}

impl Lengths {
    /// Means over the steady stages.
    pub(super) fn of(stages: &[StageRow]) -> Self {
        let steady = || {
            stages
                .iter()
                .filter(|stage| stage.phase == Phase::Steady.as_str())
        };
        let ok = steady().map(|stage| stage.ok).sum();
        let mean = |tokens: i64| per(tokens, ok).filter(|mean| *mean > 0.0);
        let asked = |column: fn(&StageRow) -> Option<i64>| {
            steady().map(column).sum::<Option<i64>>().and_then(mean)
        };
        Self {
            prompt: TokenLengths {
                asked: asked(|stage| stage.prompt_tokens_asked),
                achieved: mean(steady().map(|stage| stage.prompt_tokens).sum()),
            },
            output: TokenLengths {
                asked: asked(|stage| stage.output_tokens_asked),
                achieved: mean(steady().map(|stage| stage.output_tokens).sum()),
            },
        }
    }

    /// Both in plain words; `None` where nothing is known.
    pub(super) fn in_words(&self) -> Option<String> {
        let parts: Vec<String> = [("prompt", self.prompt), ("output", self.output)]
            .into_iter()
            .filter_map(|(name, lengths)| Some(format!("{name} {}", lengths.in_words()?)))
            .collect();
        (!parts.is_empty()).then(|| format!("{} tokens (mean)", parts.join(", ")))
    }
}

impl TokenLengths {
    fn in_words(&self) -> Option<String> {
        match (self.achieved, self.asked) {
            (Some(achieved), Some(asked)) => Some(format!(
                "{} of {} asked",
                units::quantity(achieved),
                units::quantity(asked)
            )),
            (Some(achieved), None) => Some(units::quantity(achieved)),
            (None, Some(asked)) => Some(format!("0 of {} asked", units::quantity(asked))),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn means_are_over_ok_requests() {
        let (_, mut stages, _) = samples::passed_step();
        assert_eq!(
            Lengths::of(&stages).in_words().as_deref(),
            Some("prompt 240 of 250 asked, output 64.0 of 64.0 asked tokens (mean)")
        );
        for stage in &mut stages {
            (stage.prompt_tokens_asked, stage.output_tokens_asked) = (None, None);
            stage.prompt_tokens = 0;
        }
        assert_eq!(
            Lengths::of(&stages).in_words().as_deref(),
            Some("output 64.0 tokens (mean)")
        );
        assert_eq!(Lengths::of(&[]).in_words(), None);
    }

    #[test]
    fn one_stage_that_does_not_say_hides_what_was_asked() {
        let (_, mut stages, _) = samples::passed_step();
        stages[1].output_tokens_asked = None;
        assert_eq!(Lengths::of(&stages).output.asked, None);
        assert_eq!(Lengths::of(&stages).prompt.asked, Some(250.0));
    }
}
