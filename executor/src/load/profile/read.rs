//! A profile from its table: every constraint on a setting is checked here, once.

use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use super::values::{length_of_time, number, one_of, whole, whole_list};
use super::{IgnoreEos, Load, OpenLoad, Profile, ProfileError, RequestSettings, StageEnd, WarmUp};
use crate::load::arrivals::{Concurrency, OfferedRate};
use crate::load::chat::{LengthField, Transfer};
use crate::load::workload::{PromptSource, Workload};
use crate::slo::percentage;
use crate::verdict::Judgement;

/// Seeds stay whole numbers in every reader of JSON.
pub(super) const LARGEST_SEED: u64 = (1 << 53) - 1;
const MOST_REQUESTS: u64 = 1_000_000_000;
const MOST_STEPS: u32 = 100;

const A_RATE: &str = "a number of requests a second above 0 and up to 1000000";
const A_LENGTH_OF_TIME: &str = "a duration above 0 and up to 30 days, such as 30s or 2m";

/// A profile as its file writes it. Values stay as they are until they are checked, so that a
/// message can show what was written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProfile {
    name: String,
    #[serde(default)]
    answers: String,
    judgement: Value,
    arrivals: Value,
    rate: Option<Value>,
    steps: Option<Value>,
    factor: Option<Value>,
    concurrency: Option<Value>,
    duration: Option<Value>,
    requests: Option<Value>,
    warm_up: Option<Value>,
    warm_up_share: Option<Value>,
    seed: Option<Value>,
    #[serde(default)]
    workload: RawWorkload,
    #[serde(default)]
    request: RawRequest,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWorkload {
    mix: Option<Value>,
    prompt_tokens: Option<Value>,
    output_tokens: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    timeout: Option<Value>,
    stream: Option<Value>,
    length_field: Option<Value>,
    ignore_eos: Option<Value>,
    temperature: Option<Value>,
}

/// How requests come to be due, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Closed,
    Constant,
    Poisson,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Closed, Self::Constant, Self::Poisson];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        }
    }

    fn read(value: &Value) -> Option<Self> {
        let word = value.as_str()?;
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The keys that have no effect beside these arrivals, and what to do instead.
    const fn without_effect(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Closed => (
                &["rate", "steps", "factor"],
                "set concurrency, or arrivals to constant or poisson",
            ),
            Self::Constant | Self::Poisson => (&["concurrency"], "set rate, or arrivals to closed"),
        }
    }
}

/// The keys of a profile's table that have no effect beside its arrivals.
pub(super) fn without_effect(table: &Table) -> &'static [&'static str] {
    let kind = table.get("arrivals").and_then(Kind::read);
    kind.map_or(&[], |kind| kind.without_effect().0)
}

/// A profile from its table. `fresh_seed` is used where the table has none.
pub(super) fn read(table: Table, fresh_seed: u64) -> Result<Profile, ProfileError> {
    let raw: RawProfile = table.try_into().map_err(shape)?;
    let judgement = one_of(
        "judgement",
        Some(&raw.judgement),
        "fixed_load or limit_finding",
        |word| match word {
            "fixed_load" => Some(Judgement::FixedLoad),
            "limit_finding" => Some(Judgement::LimitFinding),
            _ => None,
        },
    )?;
    let seed = whole("seed", raw.seed.as_ref(), 0, LARGEST_SEED)?;
    let seed = seed.unwrap_or(fresh_seed & LARGEST_SEED);
    Ok(Profile {
        judgement: judgement.expect("it is there, which serde has seen to"),
        load: load(&raw)?,
        warm_up: warm_up(&raw)?,
        prompts: PromptSource::new(workload(&raw.workload)?, seed),
        request: request(&raw.request)?,
        name: raw.name,
        answers: raw.answers,
    })
}

pub(super) fn shape(error: toml::de::Error) -> ProfileError {
    ProfileError::Shape {
        message: error.message().to_string(),
    }
}

fn load(raw: &RawProfile) -> Result<Load, ProfileError> {
    let allowed = "closed, constant or poisson";
    let kind = Kind::read(&raw.arrivals)
        .ok_or_else(|| ProfileError::bad_value("arrivals", &raw.arrivals, allowed))?;
    let (keys, instead) = kind.without_effect();
    for (key, value) in [
        ("rate", &raw.rate),
        ("steps", &raw.steps),
        ("factor", &raw.factor),
        ("concurrency", &raw.concurrency),
    ] {
        if keys.contains(&key) && value.is_some() {
            return Err(ProfileError::NoEffect {
                key,
                arrivals: kind.as_str(),
                instead,
            });
        }
    }
    match kind {
        Kind::Closed => closed(raw).map(Load::Closed),
        Kind::Constant | Kind::Poisson => open(raw, kind == Kind::Poisson).map(Load::Open),
    }
}

fn open(raw: &RawProfile, poisson: bool) -> Result<OpenLoad, ProfileError> {
    let rate = number("rate", raw.rate.as_ref(), A_RATE, |rate| {
        OfferedRate::new(rate).ok()
    })?
    .ok_or(ProfileError::Missing {
        key: "rate",
        allowed: A_RATE,
    })?;
    let steps = whole("steps", raw.steps.as_ref(), 1, MOST_STEPS.into())?;
    let steps = steps.map_or(1, |steps| u32::try_from(steps).unwrap_or(MOST_STEPS));
    let factor = number(
        "factor",
        raw.factor.as_ref(),
        "a number above 1 and up to 1000",
        |factor| Some(factor).filter(|factor| *factor > 1.0 && *factor <= 1000.0),
    )?;
    let factor = match factor {
        Some(factor) => factor,
        None if steps == 1 => 2.0,
        None => {
            return Err(ProfileError::Missing {
                key: "factor",
                allowed: "what the rate grows by from step to step, such as 2",
            });
        }
    };
    let last = rate.per_second() * factor.powi(steps as i32 - 1);
    if OfferedRate::new(last).is_err() {
        return Err(ProfileError::GrowsTooHigh {
            rate: rate.per_second(),
            steps: steps - 1,
            factor,
        });
    }
    let end = match ends(raw)? {
        Ends::After(duration) => StageEnd::After(duration),
        Ends::Requests(requests) => match requests[..] {
            [requests] => StageEnd::Requests(requests),
            _ => {
                let value = raw.requests.as_ref().unwrap_or(&Value::Boolean(false));
                let allowed = "one whole number where arrivals are constant or poisson";
                return Err(ProfileError::bad_value("requests", value, allowed));
            }
        },
    };
    Ok(OpenLoad {
        poisson,
        rate,
        steps,
        factor,
        end,
    })
}

fn closed(raw: &RawProfile) -> Result<Vec<(Concurrency, StageEnd)>, ProfileError> {
    let allowed = "a whole number from 1 to 20000, or a list of them that grow";
    let value = raw.concurrency.as_ref().ok_or(ProfileError::Missing {
        key: "concurrency",
        allowed,
    })?;
    let levels = whole_list(value, 1, Concurrency::MAX.into())
        .and_then(|levels| {
            let level = |level: &u64| Concurrency::new(u32::try_from(*level).ok()?).ok();
            levels.iter().map(level).collect::<Option<Vec<_>>>()
        })
        // The limit is the last level before the first that fails: they have to grow.
        .filter(|levels| levels.is_sorted())
        .ok_or_else(|| ProfileError::bad_value("concurrency", value, allowed))?;
    let ends = match ends(raw)? {
        Ends::After(duration) => vec![StageEnd::After(duration); levels.len()],
        Ends::Requests(requests) => match requests[..] {
            [one] => vec![StageEnd::Requests(one); levels.len()],
            ref many if many.len() == levels.len() => {
                many.iter().copied().map(StageEnd::Requests).collect()
            }
            ref uneven => {
                return Err(ProfileError::UnevenLists {
                    requests: uneven.len(),
                    levels: levels.len(),
                });
            }
        },
    };
    Ok(levels.into_iter().zip(ends).collect())
}

/// When the stages end.
enum Ends {
    After(Duration),
    /// At least one number.
    Requests(Vec<u64>),
}

fn ends(raw: &RawProfile) -> Result<Ends, ProfileError> {
    let allowed = "a whole number from 1 to 1000000000, or a list of them";
    match (&raw.duration, &raw.requests) {
        (Some(_), Some(_)) => Err(ProfileError::TwoEnds),
        (None, None) => Err(ProfileError::Missing {
            key: "duration",
            allowed: A_LENGTH_OF_TIME,
        }),
        (None, Some(value)) => whole_list(value, 1, MOST_REQUESTS)
            .map(Ends::Requests)
            .ok_or_else(|| ProfileError::bad_value("requests", value, allowed)),
        (Some(value), None) => length_of_time(value)
            .filter(|duration| !duration.is_zero())
            .map(Ends::After)
            .ok_or_else(|| ProfileError::bad_value("duration", value, A_LENGTH_OF_TIME)),
    }
}

fn warm_up(raw: &RawProfile) -> Result<WarmUp, ProfileError> {
    let longest = raw.warm_up.as_ref().map(|value| {
        let allowed = "a duration up to 30 days, such as 5s; 0s for none";
        length_of_time(value).ok_or_else(|| ProfileError::bad_value("warm_up", value, allowed))
    });
    let share = raw.warm_up_share.as_ref().map(|value| {
        let allowed = "a percentage of the duration above 0% and up to 100%, such as 10%";
        let percent = value.as_str().and_then(percentage);
        percent
            .filter(|percent| *percent > 0.0)
            .ok_or_else(|| ProfileError::bad_value("warm_up_share", value, allowed))
    });
    Ok(WarmUp {
        longest: longest.transpose()?.unwrap_or(Duration::ZERO),
        share_percent: share.transpose()?,
    })
}

fn workload(raw: &RawWorkload) -> Result<Workload, ProfileError> {
    let mut workload = match &raw.mix {
        None => Workload::default(),
        Some(Value::String(mix)) => Workload::named(mix)?,
        Some(other) => {
            return Err(ProfileError::bad_value("workload.mix", other, "a name"));
        }
    };
    let tokens = |key, value: &Option<Value>| whole(key, value.as_ref(), 0, u32::MAX.into());
    if let Some(tokens) = tokens("workload.prompt_tokens", &raw.prompt_tokens)? {
        workload = workload.with_prompt_tokens(u32::try_from(tokens).unwrap_or(u32::MAX))?;
    }
    if let Some(tokens) = tokens("workload.output_tokens", &raw.output_tokens)? {
        workload = workload.with_output_tokens(u32::try_from(tokens).unwrap_or(u32::MAX))?;
    }
    Ok(workload)
}

fn request(raw: &RawRequest) -> Result<RequestSettings, ProfileError> {
    let timeout = raw.timeout.as_ref().map(|value| {
        length_of_time(value)
            .filter(|timeout| !timeout.is_zero())
            .ok_or_else(|| ProfileError::bad_value("request.timeout", value, A_LENGTH_OF_TIME))
    });
    let stream = raw.stream.as_ref().map(|value| {
        let allowed = "true or false";
        let stream = value.as_bool();
        stream.ok_or_else(|| ProfileError::bad_value("request.stream", value, allowed))
    });
    let length_field = one_of(
        "request.length_field",
        raw.length_field.as_ref(),
        "max_tokens or max_completion_tokens",
        |word| match word {
            "max_tokens" => Some(LengthField::MaxTokens),
            "max_completion_tokens" => Some(LengthField::MaxCompletionTokens),
            _ => None,
        },
    )?;
    let ignore_eos = one_of(
        "request.ignore_eos",
        raw.ignore_eos.as_ref(),
        "where_known, always or never",
        |word| match word {
            "where_known" => Some(IgnoreEos::WhereKnown),
            "always" => Some(IgnoreEos::Always),
            "never" => Some(IgnoreEos::Never),
            _ => None,
        },
    )?;
    let temperature = number(
        "request.temperature",
        raw.temperature.as_ref(),
        "a number from 0 to 10",
        |temperature| Some(temperature).filter(|t| (0.0..=10.0).contains(t)),
    )?;
    Ok(RequestSettings {
        timeout: timeout.transpose()?.unwrap_or(Duration::from_secs(60)),
        transfer: match stream.transpose()? {
            Some(false) => Transfer::Whole,
            Some(true) | None => Transfer::Streaming,
        },
        length_field: length_field.unwrap_or(LengthField::MaxTokens),
        ignore_eos: ignore_eos.unwrap_or(IgnoreEos::WhereKnown),
        temperature,
    })
}
