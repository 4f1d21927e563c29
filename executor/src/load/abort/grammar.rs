//! How abort rules are written: `error_rate=50%@10s,in_flight=4000`.

use std::fmt;
use std::str::FromStr;

use super::{AbortRules, ErrorRateRule};
use crate::slo::{percentage, reading};

/// The window of an error rate where none is written.
const DEFAULT_WINDOW_S: u64 = 10;
const LONGEST_WINDOW_S: u64 = 3600;

/// Text that is no abort rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AbortRuleError {
    /// A part between commas is no rule.
    #[error(
        "`{part}` is no abort rule; there are error_rate=50%@10s and in_flight=4000, separated by \
         commas"
    )]
    Unknown {
        /// The part.
        part: String,
    },
    /// A rule is there twice.
    #[error("`{rule}` is there twice; give one value")]
    Twice {
        /// The rule.
        rule: &'static str,
    },
    /// An error rate is no percentage with a window.
    #[error(
        "`{value}` is no bound for `error_rate`; use a percentage above 0% and up to 100% and a \
         window of 1 s to 1 h in whole seconds, such as 50%@10s"
    )]
    BadErrorRate {
        /// What was written.
        value: String,
    },
    /// A number in flight is no whole number above 0.
    #[error("`{value}` is no bound for `in_flight`; use a whole number of requests above 0")]
    BadInFlight {
        /// What was written.
        value: String,
    },
}

impl FromStr for AbortRules {
    type Err = AbortRuleError;

    /// Reads rules in any order. The window of `error_rate` is 10 s where none is written.
    fn from_str(text: &str) -> Result<Self, AbortRuleError> {
        let mut rules = Self::default();
        for part in text.split(',').map(str::trim) {
            let pair = part
                .split_once('=')
                .map(|(rule, value)| (rule.trim(), value.trim()));
            let twice = match pair {
                Some(("error_rate", value)) => {
                    let rule = error_rate(value).ok_or_else(|| AbortRuleError::BadErrorRate {
                        value: value.to_string(),
                    })?;
                    rules.error_rate.replace(rule).map(|_| "error_rate")
                }
                Some(("in_flight", value)) => {
                    let most = in_flight(value).ok_or_else(|| AbortRuleError::BadInFlight {
                        value: value.to_string(),
                    })?;
                    rules.in_flight.replace(most).map(|_| "in_flight")
                }
                _ => {
                    return Err(AbortRuleError::Unknown {
                        part: part.to_string(),
                    });
                }
            };
            if let Some(rule) = twice {
                return Err(AbortRuleError::Twice { rule });
            }
        }
        Ok(rules)
    }
}

fn error_rate(value: &str) -> Option<ErrorRateRule> {
    let (percent, window_s) = match value.split_once('@') {
        None => (value, DEFAULT_WINDOW_S),
        Some((percent, window)) => {
            let window = humantime::parse_duration(window.trim()).ok()?;
            let whole = window.subsec_nanos() == 0;
            (percent.trim_end(), whole.then_some(window.as_secs())?)
        }
    };
    let percent = percentage(percent).filter(|percent| *percent > 0.0)?;
    (1..=LONGEST_WINDOW_S)
        .contains(&window_s)
        .then_some(ErrorRateRule { percent, window_s })
}

fn in_flight(value: &str) -> Option<u64> {
    value.parse().ok().filter(|most| *most > 0)
}

impl fmt::Display for AbortRules {
    /// The rules as they are written; empty where there are none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rule) = self.error_rate {
            let percent = reading::percent(rule.percent, "");
            write!(f, "error_rate={percent}@{}s", rule.window_s)?;
        }
        if let Some(most) = self.in_flight {
            let comma = if self.error_rate.is_some() { "," } else { "" };
            write!(f, "{comma}in_flight={most}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, canonical: &str) {
        let rules: AbortRules = text.parse().expect("rules");
        assert_eq!(rules.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(rules));
    }

    #[track_caller]
    fn check_refused(text: &str, message: &str) {
        let error = text.parse::<AbortRules>().expect_err("no rules");
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn what_is_written_reads_back() {
        check(
            "error_rate=50%@10s,in_flight=4000",
            "error_rate=50%@10s,in_flight=4000",
        );
        check(
            " in_flight = 1 , error_rate = 0.5 % @ 1m ",
            "error_rate=0.5%@60s,in_flight=1",
        );
        check("error_rate=100%", "error_rate=100%@10s");
        check("in_flight=4000", "in_flight=4000");
        assert_eq!(AbortRules::default().to_string(), "");
    }

    #[test]
    fn what_is_no_rule_is_refused_with_the_value_and_what_is_allowed() {
        for part in ["", "errors=5", "in_flight", "ttft=1s"] {
            check_refused(
                part,
                &format!(
                    "`{part}` is no abort rule; there are error_rate=50%@10s and in_flight=4000, \
                     separated by commas"
                ),
            );
        }
        for value in [
            "50",
            "0%",
            "101%",
            "50%@",
            "50%@0s",
            "50%@1500ms",
            "50%@2h",
            "@10s",
        ] {
            check_refused(
                &format!("error_rate={value}"),
                &format!(
                    "`{value}` is no bound for `error_rate`; use a percentage above 0% and up to \
                     100% and a window of 1 s to 1 h in whole seconds, such as 50%@10s"
                ),
            );
        }
        for value in ["0", "-1", "1.5", "many", ""] {
            check_refused(
                &format!("in_flight={value}"),
                &format!(
                    "`{value}` is no bound for `in_flight`; use a whole number of requests above 0"
                ),
            );
        }
        check_refused(
            "in_flight=1,in_flight=2",
            "`in_flight` is there twice; give one value",
        );
        check_refused(
            "error_rate=1%,error_rate=2%",
            "`error_rate` is there twice; give one value",
        );
    }
}
