//! Profiles: the shapes of load that a run can have, as data files.
//!
//! A file in `profiles/` says when requests are due, how long stages last and how the run is
//! judged; a run may set anything otherwise ([`Overrides`]). What comes out is a [`Profile`], whose
//! settings have all been checked, and from it the stages to run ([`Profile::plan`]). Must not know
//! clocks, sockets or the machine: the seed that a run uses if none is set is given.

mod error;
mod keys;
mod overrides;
mod plan;
mod read;
mod request;
mod values;
mod write;

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use toml::Table;

use super::arrivals::{Concurrency, OfferedRate};
use super::workload::{PromptSource, Workload};
use crate::spelling::nearest;
use crate::verdict::Judgement;

use read::LARGEST_SEED;

pub use error::ProfileError;
pub use overrides::{Overrides, Setting};
pub use plan::{StageEnd, StagePlan};
pub use request::{IgnoreEos, RequestSettings};

/// The profiles that ship, by name and file.
const SHIPPED: [(&str, &str); 4] = [
    ("smoke", include_str!("../../profiles/smoke.toml")),
    ("step", include_str!("../../profiles/step.toml")),
    ("stability", include_str!("../../profiles/stability.toml")),
    (
        "max_throughput",
        include_str!("../../profiles/max_throughput.toml"),
    ),
];

/// Keys that do not change the question that a run asks.
const NOT_OF_THE_QUESTION: [&str; 3] = ["name", "answers", "seed"];

/// A shape of load with all its settings, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    name: String,
    answers: String,
    judgement: Judgement,
    load: Load,
    warm_up: WarmUp,
    /// Holds the workload, and the seed of arrivals too.
    prompts: PromptSource,
    request: RequestSettings,
}

#[derive(Debug, Clone, PartialEq)]
enum Load {
    Open(OpenLoad),
    /// By level, each with its end: all by time, or all by requests. At least one.
    Closed(Vec<(Concurrency, StageEnd)>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct OpenLoad {
    /// Exponential gaps rather than equal ones.
    poisson: bool,
    /// The first step's.
    rate: OfferedRate,
    steps: u32,
    /// What the rate grows by from step to step; the last stays in the range of rates.
    factor: f64,
    end: StageEnd,
}

/// The warm-up before each steady stage.
#[derive(Debug, Clone, Copy, PartialEq)]
struct WarmUp {
    /// Zero for none.
    longest: Duration,
    /// No longer than this percentage of the steady stage; `None` for no such bound.
    share_percent: Option<f64>,
}

impl Profile {
    /// A profile that ships, with a run's own settings. `fresh_seed` is used where none is set: a
    /// random one, so that a server's prefix cache has not seen the prompts in an earlier run.
    ///
    /// # Errors
    /// If no profile has this name, or a setting cannot be used.
    pub fn load(name: &str, overrides: &Overrides, fresh_seed: u64) -> Result<Self, ProfileError> {
        Self::parse(Self::source(name)?, overrides, fresh_seed)
    }

    /// A profile from the text of a file, with a run's own settings; see [`Profile::load`].
    ///
    /// # Errors
    /// If the text is no profile, or a setting cannot be used.
    pub fn parse(text: &str, overrides: &Overrides, fresh_seed: u64) -> Result<Self, ProfileError> {
        let mut table: Table = text.parse().map_err(read::shape)?;
        if let Some(unknown) = keys::find_unknown(&table) {
            return Err(unknown);
        }
        overrides.apply(&mut table)?;
        read::read(table, fresh_seed)
    }

    /// The profile that a run used, from what [`Profile::effective_settings`] gave then: the same
    /// stages, seeds and prompts.
    ///
    /// # Errors
    /// If a setting cannot be used by this version.
    pub fn from_settings(settings: &Value) -> Result<Self, ProfileError> {
        let table = Table::try_from(settings).map_err(|error| ProfileError::Shape {
            message: error.to_string(),
        })?;
        if let Some(unknown) = keys::find_unknown(&table) {
            return Err(unknown);
        }
        read::read(table, 0)
    }

    /// The names of the profiles that ship, in the order in which to show them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// The text of the file of a profile that ships.
    ///
    /// # Errors
    /// If no profile has this name.
    pub fn source(name: &str) -> Result<&'static str, ProfileError> {
        let shipped = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
        shipped
            .map(|(_, text)| *text)
            .ok_or_else(|| ProfileError::UnknownProfile {
                name: name.to_string(),
                nearest: nearest(name, Self::names()).expect("profiles ship"),
                known: Self::names().collect::<Vec<_>>().join(", "),
            })
    }

    /// The profile's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The question that it answers, for people.
    pub fn answers(&self) -> &str {
        &self.answers
    }

    /// How its run is judged.
    pub const fn judgement(&self) -> Judgement {
        self.judgement
    }

    /// Whether it looks for the limit of what a subject carries.
    pub fn limit_finding(&self) -> bool {
        self.judgement == Judgement::LimitFinding
    }

    /// What its requests ask.
    pub fn workload(&self) -> &Workload {
        self.prompts.workload()
    }

    /// The prompts of the run; those of probes too.
    pub const fn prompts(&self) -> &PromptSource {
        &self.prompts
    }

    /// The seed of arrivals, lengths and prompts.
    pub const fn seed(&self) -> u64 {
        self.prompts.seed()
    }

    /// Gives each profile of a job a seed that none before it has, the next free number: an earlier
    /// run's prompts may still be in the server's prefix cache. One seed repeats the job all the
    /// same.
    pub fn with_seeds_apart(mut profiles: Vec<Self>) -> Vec<Self> {
        let mut taken = HashSet::new();
        for profile in &mut profiles {
            let mut seed = profile.seed();
            while !taken.insert(seed) {
                seed = seed.wrapping_add(1) & LARGEST_SEED;
            }
            profile.prompts = PromptSource::new(profile.prompts.workload().clone(), seed);
        }
        profiles
    }

    /// How its requests are made.
    pub const fn request(&self) -> &RequestSettings {
        &self.request
    }

    /// All settings under the keys of the file, whether from the file or the run: what a rerun
    /// needs.
    pub fn effective_settings(&self) -> Value {
        write::write(self)
    }

    /// The settings that make the question: all but name, description and seed.
    pub fn comparable_settings(&self) -> Value {
        let mut settings = write::write(self);
        if let Value::Object(settings) = &mut settings {
            settings.retain(|key, _| !NOT_OF_THE_QUESTION.contains(&key.as_str()));
        }
        settings
    }
}

#[cfg(test)]
mod tests;
