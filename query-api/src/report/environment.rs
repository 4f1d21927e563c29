//! What a result depends on, in short.

use plimsoll_ingest::{EnvelopeRow, RunRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::units;

/// The envelope in short; what is unknown is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Environment {
    /// Digest of everything that the result depends on.
    pub envelope_id: String,
    /// Runs with the same key asked the same question.
    pub comparable_key: String,
    /// GPU model.
    pub gpu_sku: Option<String>,
    /// Number of GPUs.
    pub gpu_count: Option<i64>,
    /// GPU driver version.
    pub driver: Option<String>,
    /// Serving engine.
    pub engine: Option<String>,
    /// Its version.
    pub engine_version: Option<String>,
    /// Numeric precision.
    pub precision: Option<String>,
    /// The host that generated the load.
    pub host: Option<String>,
    /// Who took the receive times: kernel or user.
    pub timestamp_source: Option<String>,
    /// The version of Plimsoll that measured.
    pub plimsoll_version: String,
}

impl Environment {
    /// Reads the envelope's row; of a run without one little is known.
    ///
    /// # Errors
    /// Where the envelope's JSON is no object.
    pub(super) fn read(
        run: &RunRow,
        envelope: Option<&EnvelopeRow>,
    ) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Details {
            timestamp_source: Option<String>,
        }
        let details: Option<Details> = envelope
            .map(|row| serde_json::from_str(&row.json))
            .transpose()?;
        let text = |column: fn(&EnvelopeRow) -> &Option<String>| {
            envelope.and_then(|row| column(row).clone())
        };
        Ok(Self {
            envelope_id: run.envelope_id.clone(),
            comparable_key: run.comparable_key.clone(),
            gpu_sku: text(|row| &row.gpu_sku),
            gpu_count: envelope.and_then(|row| row.gpu_count),
            driver: text(|row| &row.driver),
            engine: text(|row| &row.engine),
            engine_version: text(|row| &row.engine_version),
            precision: text(|row| &row.precision),
            host: text(|row| &row.host),
            timestamp_source: details.and_then(|details| details.timestamp_source),
            plimsoll_version: run.plimsoll_version.clone(),
        })
    }

    /// The engine with its version: `vllm 0.33`.
    pub(super) fn engine_in_words(&self) -> Option<String> {
        let engine = self.engine.as_ref()?;
        Some(match &self.engine_version {
            Some(version) => format!("{engine} {version}"),
            None => engine.clone(),
        })
    }

    /// The hardware: `2 x H100`.
    pub(super) fn hardware_in_words(&self) -> Option<String> {
        let sku = self.gpu_sku.as_ref()?;
        Some(match self.gpu_count {
            Some(gpus) => format!("{} x {sku}", units::count(gpus)),
            None => sku.clone(),
        })
    }

    /// All that is known, in one line.
    pub(super) fn in_words(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.engine_in_words());
        parts.extend(self.hardware_in_words());
        parts.extend(
            self.driver
                .as_ref()
                .map(|driver| format!("driver {driver}")),
        );
        parts.extend(self.precision.clone());
        parts.extend(self.host.as_ref().map(|host| format!("load from {host}")));
        parts.push(format!("plimsoll {}", self.plimsoll_version));
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn what_is_known_is_said_and_nothing_else() {
        let (run, _, mut envelope) = samples::passed_step();
        let full = Environment::read(&run, Some(&envelope)).expect("environment");
        assert_eq!(
            full.in_words(),
            "vllm 0.33, 2 x H100, driver 580.65, bf16, load from bench-1, plimsoll 0.1.0"
        );
        assert_eq!(full.timestamp_source.as_deref(), Some("kernel"));
        (envelope.gpu_sku, envelope.driver) = (None, None);
        envelope.engine_version = None;
        envelope.json = "{}".to_string();
        let less = Environment::read(&run, Some(&envelope)).expect("environment");
        assert_eq!(
            less.in_words(),
            "vllm, bf16, load from bench-1, plimsoll 0.1.0"
        );
        assert_eq!(less.timestamp_source, None);
        let none = Environment::read(&run, None).expect("environment");
        assert_eq!(none.in_words(), "plimsoll 0.1.0");
    }

    #[test]
    fn an_envelope_that_is_no_json_is_an_error() {
        let (run, _, mut envelope) = samples::passed_step();
        envelope.json = "not json".to_string();
        assert!(Environment::read(&run, Some(&envelope)).is_err());
    }
}
