//! What a simulated server is: its model, its capacity, its faults.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::fault::Fault;

/// A simulated server, wholly described.
///
/// [`SimulatorConfig::new`] gives one whose only choice is the number of
/// slots; every field may then be changed.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// The model's name; requests for another are answered 404.
    pub model: String,
    /// Requests that are served at once.
    pub slots: NonZeroU32,
    /// Requests that may wait for a slot; one more is answered by `overflow`.
    pub queue: usize,
    /// What a request gets that finds the queue full.
    pub overflow: Overflow,
    /// From the moment a request has its slot to its first token, without the
    /// part that the prompt adds.
    pub ttft: Duration,
    /// What each token of the prompt adds to the time to the first token.
    pub prompt_token: Duration,
    /// Between one token and the next while a request is served alone.
    pub itl: Duration,
    /// How `itl` grows with the number of requests served at once.
    pub itl_growth: ItlGrowth,
    /// How far each interval strays from its mean.
    pub jitter: Jitter,
    /// Makes jitter and the borders of split writes; they depend on it and on
    /// a request's ordinal alone.
    pub seed: u64,
    /// Tokens of a reply whose request names no maximum.
    pub default_output_tokens: NonZeroU32,
    /// Where set, `/v1` wants it as bearer token and answers 401 else.
    pub api_key: Option<AccessKey>,
    /// What goes wrong, and for which requests.
    pub faults: Vec<Fault>,
    /// Where the truth log goes; `None`: none is kept.
    pub truth: Option<PathBuf>,
}

impl SimulatorConfig {
    /// A server of `slots` slots, named `sim-<slots>`: TTFT 50 ms and 20 us
    /// per prompt token, ITL 10 ms, 256 places in the queue, no jitter, no
    /// faults.
    pub fn new(slots: NonZeroU32) -> Self {
        Self {
            model: format!("sim-{slots}"),
            slots,
            queue: 256,
            overflow: Overflow::TooManyRequests,
            ttft: Duration::from_millis(50),
            prompt_token: Duration::from_micros(20),
            itl: Duration::from_millis(10),
            itl_growth: ItlGrowth::NONE,
            jitter: Jitter::NONE,
            seed: 0,
            default_output_tokens: NonZeroU32::MIN.saturating_add(63),
            api_key: None,
            faults: Vec::new(),
            truth: None,
        }
    }

    /// How long a request holds its slot while all slots are busy, in the
    /// mean over jitter:
    /// `ttft + prompt_tokens * prompt_token + (output_tokens - 1) * itl(slots)`.
    ///
    /// A reply has one token at least. Faults are not looked at.
    pub fn service_time(&self, prompt_tokens: u32, output_tokens: u32) -> Duration {
        let gaps = output_tokens.saturating_sub(1);
        let itl = self.itl_growth.itl(self.itl, self.slots.get());
        self.ttft
            .saturating_add(self.prompt_token.saturating_mul(prompt_tokens))
            .saturating_add(itl.saturating_mul(gaps))
    }

    /// Requests of these lengths that the server completes in a second when
    /// it never runs out of them: `slots / service_time`, by Little's law.
    ///
    /// Infinite where the service time is zero. A slot that is freed is taken
    /// over at the deadline of the last token and not at the moment when the
    /// machine came to send it, so a lateness of the simulator does not lower
    /// its capacity.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use plimsoll_executor::simulate::SimulatorConfig;
    ///
    /// let four = SimulatorConfig::new(NonZeroU32::new(4).unwrap());
    /// // 50 ms + 100 * 20 us + 14 * 10 ms = 192 ms
    /// assert_eq!(four.capacity_rps(100, 15), 4.0 / 0.192);
    /// ```
    pub fn capacity_rps(&self, prompt_tokens: u32, output_tokens: u32) -> f64 {
        let service = self.service_time(prompt_tokens, output_tokens);
        f64::from(self.slots.get()) / service.as_secs_f64()
    }
}

/// What a request gets that finds the queue full; both with `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// 429, as hosted services answer.
    TooManyRequests,
    /// 503, as load balancers answer.
    Unavailable,
}

impl Overflow {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
        }
    }
}

/// A value that a setting does not take.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A jitter outside of its range.
    #[error("jitter is `{given}`, but must be a fraction from 0 to below 1, such as 0.1")]
    Jitter {
        /// What was given.
        given: String,
    },
    /// A growth that is negative or no number.
    #[error("ITL growth is `{given}`, but must be a number from 0 up, such as 0.05")]
    ItlGrowth {
        /// What was given.
        given: String,
    },
    /// A status that a full queue does not answer with.
    #[error("a full queue answers 429 or 503, not `{given}`")]
    Overflow {
        /// What was given.
        given: String,
    },
}

impl FromStr for Overflow {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "429" => Ok(Self::TooManyRequests),
            "503" => Ok(Self::Unavailable),
            _ => Err(ConfigError::Overflow {
                given: text.to_owned(),
            }),
        }
    }
}

/// The share R by which an interval may stray: each one is multiplied by a
/// factor that is uniform in `[1 - R, 1 + R]`, so that the mean stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter(f64);

impl Jitter {
    /// Every interval is exactly its mean.
    pub const NONE: Self = Self(0.0);

    /// A share from 0 to below 1.
    ///
    /// # Errors
    /// [`ConfigError::Jitter`] for any other number.
    pub fn new(share: f64) -> Result<Self, ConfigError> {
        if (0.0..1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(ConfigError::Jitter {
                given: share.to_string(),
            })
        }
    }

    /// The share.
    pub fn share(self) -> f64 {
        self.0
    }
}

impl FromStr for Jitter {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text.parse() {
            Ok(share) => Self::new(share),
            Err(_) => Err(ConfigError::Jitter {
                given: text.to_owned(),
            }),
        }
    }
}

/// The coefficient g of `itl(n) = itl * (1 + g * (n - 1))`, where n requests
/// are served at once: a line, as the cost of a decoding step is in the size of
/// its batch once that is not small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ItlGrowth(f64);

impl ItlGrowth {
    /// The gap between tokens does not depend on the load.
    pub const NONE: Self = Self(0.0);

    /// A finite coefficient from 0 up.
    ///
    /// # Errors
    /// [`ConfigError::ItlGrowth`] for any other number.
    pub fn new(coefficient: f64) -> Result<Self, ConfigError> {
        if coefficient.is_finite() && coefficient >= 0.0 {
            Ok(Self(coefficient))
        } else {
            Err(ConfigError::ItlGrowth {
                given: coefficient.to_string(),
            })
        }
    }

    /// The mean gap between tokens while `busy` requests are served.
    pub fn itl(self, alone: Duration, busy: u32) -> Duration {
        alone.mul_f64(1.0 + self.0 * f64::from(busy.saturating_sub(1)))
    }
}

impl FromStr for ItlGrowth {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text.parse() {
            Ok(coefficient) => Self::new(coefficient),
            Err(_) => Err(ConfigError::ItlGrowth {
                given: text.to_owned(),
            }),
        }
    }
}

/// The key that `/v1` asks for; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey(String);

impl AccessKey {
    /// A key from its text.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// Whether an `Authorization` header carries this key.
    pub fn opens(&self, authorization: &str) -> bool {
        authorization.strip_prefix("Bearer ") == Some(self.0.as_str())
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(slots: u32) -> SimulatorConfig {
        SimulatorConfig::new(NonZeroU32::new(slots).expect("a test has slots"))
    }

    #[test]
    fn the_capacity_is_slots_by_service_time() {
        let check = |slots, prompt, output, rps: f64| {
            let found = config(slots).capacity_rps(prompt, output);
            assert!((found - rps).abs() < 1e-9, "{found} is not {rps}");
        };
        check(1, 0, 1, 20.0);
        check(8, 0, 1, 160.0);
        check(8, 2_500, 1, 80.0);
        check(8, 0, 6, 80.0);
        // A reply without tokens does not exist; it counts as one token.
        check(1, 0, 0, 20.0);
    }

    #[test]
    fn growth_lowers_the_capacity_of_a_full_server() {
        let mut grown = config(11);
        grown.itl_growth = ItlGrowth::new(0.1).expect("in range");
        // itl(11) = 10 ms * (1 + 0.1 * 10) = 20 ms
        assert_eq!(grown.service_time(0, 3), Duration::from_millis(90));
        assert_eq!(config(11).service_time(0, 3), Duration::from_millis(70));
    }

    #[test]
    fn a_server_without_service_time_has_no_limit() {
        let mut instant = config(1);
        instant.ttft = Duration::ZERO;
        assert_eq!(instant.capacity_rps(0, 1), f64::INFINITY);
    }

    #[test]
    fn settings_refuse_what_they_cannot_take() {
        for bad in ["1", "-0.1", "NaN", "ten"] {
            let error = bad.parse::<Jitter>().expect_err("out of range");
            assert!(error.to_string().contains(bad), "{error}");
        }
        for bad in ["-1", "inf", "NaN", ""] {
            bad.parse::<ItlGrowth>().expect_err("out of range");
        }
        "500"
            .parse::<Overflow>()
            .expect_err("not an answer to a full queue");
        assert_eq!("503".parse::<Overflow>().map(Overflow::status), Ok(503));
        assert_eq!("0.25".parse::<Jitter>().map(Jitter::share), Ok(0.25));
    }

    #[test]
    fn a_key_opens_and_is_never_printed() {
        let key = AccessKey::new("secret");
        assert!(key.opens("Bearer secret"));
        for wrong in ["Bearer other", "secret", "Basic secret", ""] {
            assert!(!key.opens(wrong));
        }
        assert!(!format!("{key:?}").contains("secret"));
    }
}
