//! What a run was asked to do, read from its column of JSON.

use serde::Deserialize;

/// The parts of `runs.config` that a report shows. Unknown keys belong to
/// `rerun` and are passed over; absent ones are not shown.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    /// The SLO, in its grammar.
    pub(super) slo: Option<String>,
    /// The seed of arrivals and prompts.
    pub(super) seed: Option<u64>,
    /// Whether the profile looks for a limit.
    pub(super) limit_finding: Option<bool>,
    workload: Option<Workload>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Workload {
    Named { name: String },
    Name(String),
    Other(serde_json::Value),
}

impl Settings {
    /// Reads the column.
    ///
    /// # Errors
    /// Hands back the reader's message where it is no JSON object.
    pub(super) fn read(column: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(column)
    }

    /// The workload's name; `None` where it has none.
    pub(super) fn workload(&self) -> Option<&str> {
        match self.workload.as_ref()? {
            Workload::Named { name } | Workload::Name(name) => Some(name),
            Workload::Other(_) => None,
        }
    }

    /// Whether the run looked for a limit: its own word, else its profile's habit.
    pub(super) fn finds_limit(&self, profile: Option<&str>) -> bool {
        let by_habit = matches!(profile, Some("step" | "ramp" | "peak" | "max_throughput"));
        self.limit_finding.unwrap_or(by_habit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workload_is_named_in_either_form_or_not_at_all() {
        let read = |text: &str| {
            let settings = Settings::read(text).expect("settings");
            settings.workload().map(str::to_string)
        };
        assert_eq!(
            read(r#"{"workload":{"name":"mix-v1","seed":3}}"#).as_deref(),
            Some("mix-v1")
        );
        assert_eq!(read(r#"{"workload":"mix-v1"}"#).as_deref(), Some("mix-v1"));
        assert_eq!(read(r#"{"workload":{"classes":[]}}"#), None);
        assert_eq!(read("{}"), None);
    }

    #[test]
    fn a_run_says_itself_whether_it_looks_for_a_limit() {
        let read = |text: &str| Settings::read(text).expect("settings");
        assert!(read("{}").finds_limit(Some("step")));
        assert!(!read("{}").finds_limit(Some("stability")));
        assert!(!read("{}").finds_limit(None));
        assert!(!read(r#"{"limit_finding":false}"#).finds_limit(Some("step")));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(Settings::read("").is_err());
        assert!(Settings::read("7").is_err());
    }
}
