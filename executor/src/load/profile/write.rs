//! A profile back to the keys of its file.

use serde_json::{Map, json};

use super::read::Kind;
use super::values::duration_text;
use super::{IgnoreEos, Load, Profile, RequestSettings, StageEnd};
use crate::load::chat::{LengthField, Transfer};
use crate::load::workload::Workload;
use crate::slo::reading;
use crate::verdict::Judgement;

/// All settings of a profile under the keys of its file; [`super::read::read`] makes the same profile of it.
pub(super) fn write(profile: &Profile) -> serde_json::Value {
    let mut settings = Map::new();
    let mut put = |key: &str, value: serde_json::Value| {
        settings.insert(key.to_string(), value);
    };
    put("name", json!(profile.name));
    put("answers", json!(profile.answers));
    put(
        "judgement",
        json!(match profile.judgement {
            Judgement::FixedLoad => "fixed_load",
            Judgement::LimitFinding => "limit_finding",
        }),
    );
    match &profile.load {
        Load::Open(open) => {
            let kind = if open.poisson {
                Kind::Poisson
            } else {
                Kind::Constant
            };
            put("arrivals", json!(kind.as_str()));
            put("rate", json!(open.rate.per_second()));
            put("steps", json!(open.steps));
            put("factor", json!(open.factor));
            match open.end {
                StageEnd::After(duration) => put("duration", json!(duration_text(duration))),
                StageEnd::Requests(requests) => put("requests", json!(requests)),
            }
        }
        Load::Closed(levels) => {
            put("arrivals", json!(Kind::Closed.as_str()));
            let concurrency: Vec<u32> = levels.iter().map(|(level, _)| level.get()).collect();
            put("concurrency", json!(concurrency));
            // All levels end in one way: by the same duration, or by numbers of requests.
            let requests: Vec<u64> = levels
                .iter()
                .filter_map(|(_, end)| match end {
                    StageEnd::After(_) => None,
                    StageEnd::Requests(requests) => Some(*requests),
                })
                .collect();
            match levels.first() {
                Some((_, StageEnd::After(duration))) => {
                    put("duration", json!(duration_text(*duration)));
                }
                _ => put("requests", json!(requests)),
            }
        }
    }
    put("warm_up", json!(duration_text(profile.warm_up.longest)));
    if let Some(share) = profile.warm_up.share_percent {
        put("warm_up_share", json!(reading::percent(share, "")));
    }
    put("seed", json!(profile.prompts.seed()));
    put("workload", workload_settings(profile.prompts.workload()));
    put("request", request_settings(&profile.request));
    serde_json::Value::Object(settings)
}

fn workload_settings(workload: &Workload) -> serde_json::Value {
    let mut settings = Map::new();
    if let Some(mix) = workload.mix() {
        settings.insert("mix".to_string(), json!(mix));
    }
    for (key, tokens) in [
        ("prompt_tokens", workload.prompt_tokens()),
        ("output_tokens", workload.output_tokens()),
    ] {
        if let Some(tokens) = tokens {
            settings.insert(key.to_string(), json!(tokens));
        }
    }
    serde_json::Value::Object(settings)
}

fn request_settings(request: &RequestSettings) -> serde_json::Value {
    let mut settings = json!({
        "timeout": duration_text(request.timeout),
        "stream": request.transfer == Transfer::Streaming,
        "length_field": match request.length_field {
            LengthField::MaxTokens => "max_tokens",
            LengthField::MaxCompletionTokens => "max_completion_tokens",
        },
        "ignore_eos": match request.ignore_eos {
            IgnoreEos::WhereKnown => "where_known",
            IgnoreEos::Always => "always",
            IgnoreEos::Never => "never",
        },
    });
    if let Some(temperature) = request.temperature {
        settings["temperature"] = json!(temperature);
    }
    settings
}
