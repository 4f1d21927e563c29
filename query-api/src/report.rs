//! The report of one run: what it says, how it came to that, what to do next.
//!
//! A [`Report`] is a plain value made of rows, by a pure function. Renderers
//! turn it into text for a terminal, Markdown and HTML; JSON comes from serde.
//! Nothing in here reads a clock or a socket; only [`Report::load`] asks the
//! warehouse. Start with [`Report::from_rows`].

use plimsoll_executor::slo::Slo;
use plimsoll_ingest::{EnvelopeRow, RunId, RunRow, StageRow, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

mod cells;
mod curve;
mod environment;
mod generator;
mod headline;
mod html;
mod lengths;
mod load;
mod markdown;
mod next;
mod objective;
mod reason;
#[cfg(test)]
pub(crate) mod samples;
mod settings;
#[cfg(test)]
mod snapshots;
mod stage;
mod svg;
mod table;
mod terminal;
pub mod units;
mod wrap;

use objective::Objectives;

pub use environment::Environment;
pub use generator::Generator;
pub use headline::Limit;
pub use lengths::{Lengths, TokenLengths};
pub use load::ReportError;
pub use next::{NextCommand, with_flags};
pub use reason::Reason;
pub use stage::StageLine;
pub use terminal::TerminalStyle;

/// Everything that people ask of one run. Durations are in ns, rates a
/// second, shares between 0 and 1; a value that does not exist is null.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Report {
    /// The run.
    #[schema(value_type = String)]
    pub run_id: RunId,
    /// Its job; null where there was none.
    pub job_id: Option<String>,
    /// The judgement: passed, degraded, blocked, invalid, incomplete, error or cancelled.
    #[schema(value_type = String)]
    pub verdict: Verdict,
    /// The judgement in one sentence.
    pub headline: String,
    /// Each rule that spoke.
    pub reasons: Vec<Reason>,
    /// What was measured.
    pub subject: Subject,
    /// functional, benchmark or performance.
    pub pillar: String,
    /// The suite; of a performance run its profile.
    pub suite: String,
    /// The profile of a performance run.
    pub profile: Option<String>,
    /// The SLO in its grammar; null where the run names none.
    pub slo: Option<String>,
    /// The workload's name.
    pub workload: Option<String>,
    /// The seed of arrivals and prompts.
    pub seed: Option<u64>,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// When it ended, RFC 3339 in UTC.
    pub finished_at: String,
    /// Where it bends; null for profiles that do not look for it.
    pub limit: Option<Limit>,
    /// Highest throughput of a stage.
    pub peak_throughput_rps: Option<f64>,
    /// Output tokens a second over the headline's window.
    pub output_tokens_per_s: Option<f64>,
    /// Every stage, in order.
    pub stages: Vec<StageLine>,
    /// Tokens asked and achieved.
    pub lengths: Lengths,
    /// The generator's judgement of itself.
    pub generator: Generator,
    /// What the result depends on.
    pub environment: Environment,
    /// What to type next.
    pub next: Vec<NextCommand>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Subject {
    /// The model, as requests name it.
    pub model: String,
    /// Its revision; null where unknown.
    pub revision: Option<String>,
    /// The deployment that served it; null for an endpoint that others run.
    pub deployment: Option<String>,
    /// The base URL, without credentials.
    pub endpoint: String,
}

/// A run whose rows are not what the tables' contract says.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// The verdict is none of the known ones.
    #[error("run `{run}` has a verdict that this version does not know; a newer one wrote it")]
    Verdict {
        /// The run.
        run: RunId,
        /// What was found.
        source: plimsoll_ingest::vocabulary::UnknownWord,
    },
    /// A column of JSON is not what the contract says.
    #[error("run `{run}`: column `{column}` is not the JSON that it should be")]
    Json {
        /// The run.
        run: RunId,
        /// The column.
        column: &'static str,
        /// The reader's reason.
        source: serde_json::Error,
    },
    /// The SLO is outside the grammar.
    #[error("run `{run}` has an SLO that this version cannot read")]
    Slo {
        /// The run.
        run: RunId,
        /// The reader's reason.
        source: plimsoll_executor::slo::SloError,
    },
}

impl Report {
    /// Builds the report of a run from its row, its stages in order and its
    /// envelope.
    ///
    /// # Errors
    /// Where a row breaks the tables' contract: an unknown verdict, a column
    /// that is not the JSON it should be, an SLO outside the grammar.
    pub fn from_rows(
        run: &RunRow,
        stages: &[StageRow],
        envelope: Option<&EnvelopeRow>,
    ) -> Result<Self, ContractError> {
        let id = run.run_id;
        let json = |column| {
            move |source| ContractError::Json {
                run: id,
                column,
                source,
            }
        };
        let verdict: Verdict = run
            .verdict
            .parse()
            .map_err(|source| ContractError::Verdict { run: id, source })?;
        let settings = settings::Settings::read(&run.config).map_err(json("config"))?;
        let reasons =
            reason::read(&run.verdict_reasons, stages).map_err(json("verdict_reasons"))?;
        let slo: Option<Slo> = settings
            .slo
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(|source| ContractError::Slo { run: id, source })?;
        let demand = slo
            .as_ref()
            .and_then(Slo::demand)
            .map(|demand| demand.per_second());
        let finds_limit = settings.finds_limit(run.profile.as_deref());
        let objectives = Objectives {
            slo,
            must_keep_up: finds_limit,
        };
        let environment = Environment::read(run, envelope).map_err(json("envelopes.json"))?;

        let lines: Vec<StageLine> = stages
            .iter()
            .map(|row| StageLine::read(row, &objectives, &reasons))
            .collect();
        let limit = finds_limit.then(|| Limit::find(run, verdict, &lines));
        let generator = Generator::read(
            run,
            verdict,
            &reasons,
            stages,
            environment.timestamp_source.clone(),
        );
        let headline = headline::sentence(&headline::Facts {
            run,
            verdict,
            stages: &lines,
            reasons: &reasons,
            limit: limit.as_ref(),
            demand,
        });
        let next = next::commands(
            run,
            verdict,
            settings.slo.as_deref(),
            &lines,
            limit.as_ref(),
        );
        Ok(Self {
            run_id: id,
            job_id: run.job_id.clone(),
            verdict,
            headline,
            reasons,
            subject: Subject {
                model: run.model.clone(),
                revision: run.model_revision.clone(),
                deployment: run.deployment.clone(),
                endpoint: run.endpoint.clone(),
            },
            pillar: run.pillar.clone(),
            suite: run.suite.clone(),
            profile: run.profile.clone(),
            workload: settings.workload().map(str::to_string),
            seed: settings.seed,
            slo: settings.slo,
            started_at: run.started_at.to_string(),
            finished_at: run.finished_at.to_string(),
            limit,
            peak_throughput_rps: run.peak_throughput_rps,
            output_tokens_per_s: run.output_tokens_per_s,
            lengths: Lengths::of(stages),
            stages: lines,
            generator,
            environment,
            next,
        })
    }

    /// Adds flags to every command of [`next`](Self::next): those that a reader must repeat to
    /// mean the same place, by name and value.
    pub fn repeat_flags(&mut self, flags: &[(String, String)]) {
        for next in &mut self.next {
            next.repeat_flags(flags);
        }
    }

    /// The stages that the verdict judges.
    pub fn steady_stages(&self) -> impl Iterator<Item = &StageLine> {
        self.stages.iter().filter(|stage| stage.is_steady())
    }

    /// True where load is a number of requests in flight.
    fn is_closed_loop(&self) -> bool {
        let mut steady = self.steady_stages().peekable();
        steady.peek().is_some() && steady.all(|stage| stage.offered_rps.is_none())
    }
}
