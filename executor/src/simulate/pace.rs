//! When each token of one reply is due.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::config::{ItlGrowth, SimulatorConfig};

/// The deadlines of one reply's tokens, in nanoseconds of `CLOCK_MONOTONIC`.
///
/// Each deadline is the one before plus an interval, whenever the token before
/// really left: a late machine makes single tokens late, never the rest.
#[derive(Debug)]
pub(crate) struct Pace {
    last_ns: i64,
    prefill: Option<Duration>,
    itl: Duration,
    growth: ItlGrowth,
    jitter: Option<Jittered>,
}

#[derive(Debug)]
struct Jittered {
    share: f64,
    random: Box<ChaCha8Rng>,
}

/// Which random numbers of a request are meant; each has a stream of its own,
/// so that one fault more does not change the others' numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chance {
    Jitter = 0,
    Borders = 1,
}

/// The random numbers of one request: of its ordinal and the seed alone.
pub(crate) fn random(seed: u64, ordinal: u64, chance: Chance) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(ordinal.wrapping_mul(2).wrapping_add(chance as u64));
    random
}

impl Pace {
    /// For the request of this ordinal, whose service begins at `start_ns`.
    pub(crate) fn new(
        config: &SimulatorConfig,
        ordinal: u64,
        prompt_tokens: u32,
        start_ns: i64,
    ) -> Self {
        let share = config.jitter.share();
        let jitter = (share > 0.0).then(|| Jittered {
            share,
            random: Box::new(random(config.seed, ordinal, Chance::Jitter)),
        });
        Self {
            last_ns: start_ns,
            prefill: Some(config.service_time(prompt_tokens, 1)),
            itl: config.itl,
            growth: config.itl_growth,
            jitter,
        }
    }

    /// When the next token is due, with `busy` requests served as its interval
    /// begins. The first one's interval is the time to the first token.
    pub(crate) fn next(&mut self, busy: impl FnOnce() -> u32) -> i64 {
        let mean = match self.prefill.take() {
            Some(prefill) => prefill,
            None if self.growth == ItlGrowth::NONE => self.itl,
            None => self.growth.itl(self.itl, busy()),
        };
        let interval = match &mut self.jitter {
            None => mean,
            Some(jitter) => {
                let share = jitter.share;
                mean.mul_f64(jitter.random.random_range(1.0 - share..=1.0 + share))
            }
        };
        self.delay(interval)
    }

    /// Puts everything that is still to come off.
    pub(crate) fn delay(&mut self, by: Duration) -> i64 {
        let by_ns = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.last_ns = self.last_ns.saturating_add(by_ns);
        self.last_ns
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::config::Jitter;
    use super::*;

    fn config() -> SimulatorConfig {
        SimulatorConfig::new(NonZeroU32::MIN.saturating_add(3))
    }

    fn deadlines(config: &SimulatorConfig, ordinal: u64, tokens: usize, busy: u32) -> Vec<i64> {
        let mut pace = Pace::new(config, ordinal, 100, 1_000);
        (0..tokens).map(|_| pace.next(|| busy)).collect()
    }

    #[test]
    fn without_jitter_deadlines_are_those_on_paper() {
        assert_eq!(
            deadlines(&config(), 7, 3, 4),
            [52_001_000, 62_001_000, 72_001_000]
        );
    }

    #[test]
    fn the_gap_grows_with_the_load_and_the_first_token_does_not() {
        let mut grown = config();
        grown.itl_growth = ItlGrowth::new(0.5).expect("in range");
        assert_eq!(deadlines(&grown, 0, 2, 1), [52_001_000, 62_001_000]);
        assert_eq!(deadlines(&grown, 0, 2, 3), [52_001_000, 72_001_000]);
    }

    #[test]
    fn jitter_depends_on_seed_and_ordinal_alone_and_keeps_the_mean() {
        let mut jittered = config();
        jittered.jitter = Jitter::new(0.5).expect("in range");
        let first = deadlines(&jittered, 3, 2_001, 1);
        assert_eq!(first, deadlines(&jittered, 3, 2_001, 1));
        assert_ne!(first, deadlines(&jittered, 4, 2_001, 1));
        jittered.seed = 1;
        assert_ne!(first, deadlines(&jittered, 3, 2_001, 1));

        let gaps: Vec<i64> = first.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            gaps.iter()
                .all(|gap| (5_000_000..=15_000_000).contains(gap))
        );
        // The deviation of a gap is 2.9 ms, of the mean of 2,000 of them 65 us.
        let mean = gaps.iter().sum::<i64>() / 2_000;
        assert!((mean - 10_000_000).abs() < 400_000, "{mean}");
    }

    #[test]
    fn a_delay_moves_all_that_follows() {
        let mut pace = Pace::new(&config(), 0, 0, 0);
        pace.next(|| 1);
        assert_eq!(pace.delay(Duration::from_secs(1)), 1_050_000_000);
        assert_eq!(pace.next(|| 1), 1_060_000_000);
    }
}
