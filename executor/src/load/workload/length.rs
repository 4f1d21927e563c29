//! Lengths in tokens, and how they are spread.

use std::fmt;

use rand::Rng;
use rand::distr::Distribution;
use rand_distr::LogNormal;
use serde::{Deserialize, Serialize};

/// A number of tokens that can be asked for: from 1 to a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TokenCount(u32);

impl TokenCount {
    /// The most tokens that can be asked for.
    pub const MAX: u32 = 1_000_000;

    /// A number of tokens; `None` if it is 0 or above [`TokenCount::MAX`].
    pub fn new(tokens: u32) -> Option<Self> {
        (1..=Self::MAX).contains(&tokens).then_some(Self(tokens))
    }

    /// The number of tokens.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for TokenCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A log-normal law of lengths as a mix's file writes it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLength {
    /// Half of the lengths are shorter, before cutting.
    median: f64,
    /// Standard deviation of the length's logarithm; 0 makes all lengths the median.
    sigma: f64,
    /// Shorter ones become this long.
    min: u32,
    /// Longer ones become this long.
    max: u32,
}

impl RawLength {
    /// The shortest length.
    pub(super) const fn min(&self) -> u32 {
        self.min
    }
}

/// Lengths by a log-normal law, cut at both ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct LengthLaw {
    law: LogNormal<f64>,
    min: TokenCount,
    max: TokenCount,
}

impl LengthLaw {
    /// The length that this generator's next draw gives.
    pub(super) fn sample(&self, rng: &mut impl Rng) -> TokenCount {
        // The cast saturates and turns what is no number into 0; the bounds take care of both.
        let tokens = self.law.sample(rng).round() as u32;
        TokenCount(tokens).clamp(self.min, self.max)
    }
}

impl TryFrom<RawLength> for LengthLaw {
    type Error = String;

    fn try_from(raw: RawLength) -> Result<Self, String> {
        let refuse = |why: &str| Err(format!("{why}, in {raw:?}"));
        if !(raw.median >= 1.0 && raw.median.is_finite()) {
            return refuse("a median is at least 1 token");
        }
        if !(0.0..=5.0).contains(&raw.sigma) {
            return refuse("a sigma lies from 0 to 5");
        }
        let (Some(min), Some(max)) = (TokenCount::new(raw.min), TokenCount::new(raw.max)) else {
            return refuse("min and max lie from 1 to 1000000 tokens");
        };
        if min > max {
            return refuse("min is above max");
        }
        let Ok(law) = LogNormal::new(raw.median.ln(), raw.sigma) else {
            return refuse("no log-normal law has this median and sigma");
        };
        Ok(Self { law, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const CHAT: RawLength = RawLength {
        median: 80.0,
        sigma: 0.8,
        min: 16,
        max: 1024,
    };

    fn sorted_sample(raw: RawLength, draws: usize) -> Vec<u32> {
        let law = LengthLaw::try_from(raw).expect("a law");
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut lengths: Vec<u32> = (0..draws).map(|_| law.sample(&mut rng).get()).collect();
        lengths.sort_unstable();
        lengths
    }

    #[test]
    fn the_median_and_the_tail_are_those_of_the_law() {
        let lengths = sorted_sample(CHAT, 100_000);
        // exp(mu + sigma z): 80, and 80 exp(0.8 * 1.2816) = 223 at 90 %.
        assert!((78..=82).contains(&lengths[50_000]), "{}", lengths[50_000]);
        assert!(
            (217..=229).contains(&lengths[90_000]),
            "{}",
            lengths[90_000]
        );
    }

    #[test]
    fn lengths_are_cut_at_both_ends() {
        let lengths = sorted_sample(
            RawLength {
                min: 60,
                max: 100,
                ..CHAT
            },
            10_000,
        );
        assert_eq!((lengths[0], lengths[9_999]), (60, 100));
    }

    #[test]
    fn no_spread_gives_the_median_alone() {
        let lengths = sorted_sample(RawLength { sigma: 0.0, ..CHAT }, 100);
        assert_eq!((lengths[0], lengths[99]), (80, 80));
    }

    #[test]
    fn laws_that_make_no_sense_are_refused() {
        let check = |raw: RawLength, why: &str| {
            let message = LengthLaw::try_from(raw).expect_err("no law");
            assert!(message.starts_with(why), "{message}");
        };
        check(
            RawLength {
                median: 0.5,
                ..CHAT
            },
            "a median is at least 1 token",
        );
        check(
            RawLength {
                median: f64::NAN,
                ..CHAT
            },
            "a median is at least 1 token",
        );
        check(
            RawLength {
                sigma: -0.1,
                ..CHAT
            },
            "a sigma lies from 0 to 5",
        );
        check(RawLength { min: 0, ..CHAT }, "min and max lie");
        check(RawLength { min: 2000, ..CHAT }, "min is above max");
    }
}
