//! Whether two runs asked the same question.
//!
//! Runs with the same [`comparable_key`] may be drawn as one series. The key covers the question
//! (what was asked of which amount of hardware) and nothing that may be a cause of a different
//! answer: no model, revision, engine, host, driver or version.

use std::fmt::Write;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::slo::Slo;

/// What makes the question of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Question<'a> {
    /// performance, functional or benchmark.
    pub pillar: &'a str,
    /// The suite's or the profile's name.
    pub suite: &'a str,
    /// The effective settings, the seed left out.
    pub configuration: &'a Value,
    /// What was demanded.
    pub slo: &'a Slo,
    /// Digest of the workload; `None` where there is none.
    pub workload_digest: Option<&'a str>,
    /// The kind of GPU; `None` where there is none or it is not known.
    pub gpu_sku: Option<&'a str>,
    /// How many GPUs; `None` where it is not known.
    pub gpu_count: Option<i64>,
}

/// The key that runs of the same question share: SHA-256 in hex of the question as canonical JSON.
pub fn comparable_key(question: &Question<'_>) -> String {
    let document = serde_json::json!({
        "pillar": question.pillar,
        "suite": question.suite,
        "configuration": question.configuration,
        "slo": question.slo.to_string(),
        "workload_digest": question.workload_digest,
        "gpu_sku": question.gpu_sku,
        "gpu_count": question.gpu_count,
    });
    hex(&Sha256::digest(canonical_json(&document)))
}

/// JSON without white space and with the keys of every object in order, so that equal values give
/// equal text.
pub fn canonical_json(value: &Value) -> String {
    sorted(value).to_string()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut fields: Vec<(&String, &Value)> = object.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            let fields = fields
                .into_iter()
                .map(|(key, value)| (key.clone(), sorted(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// SHA-256 of bytes, as [`hex`].
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes as small hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn canonical_json_sorts_keys_at_every_depth_and_keeps_lists() {
        let value = json!({"b": [{"z": 1, "a": null}, 2], "a": {"y": 1.5, "x": "t"}});
        assert_eq!(
            canonical_json(&value),
            r#"{"a":{"x":"t","y":1.5},"b":[{"a":null,"z":1},2]}"#
        );
    }

    #[test]
    fn hex_is_two_small_digits_a_byte() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
        assert_eq!(
            hex(&Sha256::digest(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn every_part_of_the_question_changes_the_key_and_order_does_not() {
        let slo: Slo = "ttft_p99=500ms,error_rate=1%".parse().expect("an SLO");
        let other_slo: Slo = "ttft_p99=501ms,error_rate=1%".parse().expect("an SLO");
        let configuration = json!({"rate": 1.0, "steps": 5});
        let reordered = json!({"steps": 5, "rate": 1.0});
        let other_configuration = json!({"rate": 2.0, "steps": 5});
        let base = Question {
            pillar: "performance",
            suite: "step",
            configuration: &configuration,
            slo: &slo,
            workload_digest: Some("d"),
            gpu_sku: Some("H100"),
            gpu_count: Some(2),
        };
        let key = comparable_key(&base);
        assert_eq!(key.len(), 64);
        let same = Question {
            configuration: &reordered,
            ..base
        };
        assert_eq!(comparable_key(&same), key);
        let others = [
            Question {
                pillar: "benchmark",
                ..base
            },
            Question {
                suite: "smoke",
                ..base
            },
            Question {
                configuration: &other_configuration,
                ..base
            },
            Question {
                slo: &other_slo,
                ..base
            },
            Question {
                workload_digest: None,
                ..base
            },
            Question {
                gpu_sku: None,
                ..base
            },
            Question {
                gpu_count: Some(4),
                ..base
            },
        ];
        for other in &others {
            assert_ne!(comparable_key(other), key, "{other:?}");
        }
    }
}
