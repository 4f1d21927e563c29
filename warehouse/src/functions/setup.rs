//! What a run was measured on and with, and what differs between two runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::exec_datafusion_err;
use serde_json::Value;

use super::rows::Rows;
use crate::snapshots::Snapshots;

/// What is known of a run's surroundings: of the run itself, then of its envelope.
const FIELDS: [&str; 17] = [
    "model",
    "model_revision",
    "deployment",
    "endpoint",
    "plimsoll_version",
    "gpu_sku",
    "gpu_count",
    "topology",
    "driver",
    "engine",
    "engine_version",
    "engine_args",
    "model_digest",
    "tokenizer_digest",
    "precision",
    "warm_up",
    "host",
];

/// What each field is called in SQL, in the order of [`FIELDS`].
const COLUMNS: &str = "r.model, r.model_revision, r.deployment, r.endpoint, r.plimsoll_version, e.gpu_sku, \
    CAST(e.gpu_count AS VARCHAR), e.topology, e.driver, e.engine, e.engine_version, e.engine_args, \
    e.model_digest, e.tokenizer_digest, e.precision, e.warm_up, e.host";

/// Settings that say when and where a run was made, and not what it asked.
const NO_SETTINGS: [&str; 1] = ["clock"];

/// The surroundings and settings of one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    envelope: BTreeMap<String, String>,
    settings: BTreeMap<String, String>,
}

/// One difference; `None` where a run does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) name: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl Setup {
    /// The setups of these runs, by their keys.
    pub(super) async fn of(snapshots: &Arc<Snapshots>, keys: &[i64]) -> Result<HashMap<i64, Self>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let list = keys
            .iter()
            .map(i64::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let sql = format!(
            "SELECT r.run_key, r.config, e.json, {COLUMNS} FROM reports.runs AS r \
             LEFT JOIN reports.envelopes AS e ON e.run_key = r.run_key WHERE r.run_key IN ({list})"
        );
        let rows = Rows::of(snapshots, &sql, Vec::new()).await?;
        let setups = (0..rows.len()).map(|row| {
            let mut setup = Self::default();
            // What the envelope has no column for; columns go over what the JSON says.
            flatten(rows.text(2, row).unwrap_or("{}"), &mut setup.envelope)?;
            setup
                .envelope
                .retain(|name, _| name != "model" && name != "workload_digest");
            for (place, name) in FIELDS.iter().enumerate() {
                if let Some(value) = rows.text(3 + place, row) {
                    setup
                        .envelope
                        .insert((*name).to_string(), value.to_string());
                }
            }
            flatten(rows.text(1, row).unwrap_or("{}"), &mut setup.settings)?;
            let first = |name: &str| name.split('.').next().map(str::to_string);
            setup.settings.retain(|name, _| {
                first(name).is_none_or(|first| !NO_SETTINGS.contains(&first.as_str()))
            });
            Ok((rows.required_integer(0, row)?, setup))
        });
        setups.collect()
    }

    /// What differs in the surroundings, by name.
    pub(super) fn envelope_differences(&self, after: &Self) -> Vec<Difference> {
        differences(&self.envelope, &after.envelope)
    }

    /// What differs in the settings, by name.
    pub(super) fn settings_differences(&self, after: &Self) -> Vec<Difference> {
        differences(&self.settings, &after.settings)
    }

    /// What differs in the surroundings, in one line; `None` where nothing does.
    pub(super) fn causes(&self, after: &Self) -> Option<String> {
        let told: Vec<String> = self
            .envelope_differences(after)
            .iter()
            .map(|difference| {
                let told = |side: &Option<String>| side.as_deref().unwrap_or("nothing").to_string();
                let Difference {
                    name,
                    before,
                    after,
                } = difference;
                format!("{name}: {} -> {}", told(before), told(after))
            })
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

fn differences(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<Difference> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| Difference {
            name: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .filter(|difference| difference.before != difference.after)
        .collect()
}

/// The values of a JSON object, by their paths.
fn flatten(json: &str, into: &mut BTreeMap<String, String>) -> Result<()> {
    let value: Value = serde_json::from_str(json)
        .map_err(|error| exec_datafusion_err!("settings of a run are no JSON: {error}"))?;
    put(&value, String::new(), into);
    Ok(())
}

fn put(value: &Value, path: String, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = match path.as_str() {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                put(value, path, into);
            }
        }
        Value::Null => {}
        Value::String(text) => {
            into.insert(path, text.clone());
        }
        other => {
            into.insert(path, other.to_string());
        }
    }
}
