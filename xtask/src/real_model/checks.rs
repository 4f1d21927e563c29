//! Do the rows add up? Each check compares two ways to know the same thing.

use anyhow::Result;
use serde::Deserialize;

use super::engine::Counters;
use crate::product::Product;

/// One comparison.
pub(super) struct Check {
    /// What is compared.
    pub(super) what: String,
    /// What was found.
    pub(super) found: String,
    /// Whether it is as it should be.
    pub(super) met: bool,
}

/// What the warehouse holds of one run.
pub(super) struct Run {
    profile: String,
    stages: Vec<Stage>,
    rows: Rows,
}

/// One row of `reports.stages`.
#[derive(Clone, Deserialize)]
pub(super) struct Stage {
    name: String,
    phase: String,
    offered_rps: Option<f64>,
    concurrency: Option<i64>,
    duration_ns: i64,
    sent: i64,
    missed: i64,
    ok: i64,
    errors: i64,
    output_tokens: i64,
    throughput_rps: f64,
}

/// Sums over `raw.requests`.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Rows {
    requests: i64,
    ok: i64,
    prompt_tokens: i64,
    output_tokens: i64,
    chunks: i64,
}

impl Run {
    /// Reads one published run by SQL.
    ///
    /// # Errors
    /// Where a query fails.
    pub(super) fn read(product: &Product, run_id: &str) -> Result<Self> {
        let profile: Profile = product.sql_row(&format!(
            "select profile from reports.runs where run_id = '{run_id}'"
        ))?;
        let stages = product.sql(&format!(
            "select name, phase, offered_rps, concurrency, duration_ns, sent, missed, ok, errors, \
             output_tokens, throughput_rps from reports.stages where run_id = '{run_id}' order by stage"
        ))?;
        let rows = product.sql_row(&format!(
            "select count(*) as requests, count(*) filter (where status = 'ok') as ok, \
             coalesce(sum(prompt_tokens), 0) as prompt_tokens, \
             coalesce(sum(output_tokens), 0) as output_tokens, \
             (select count(*) from raw.chunks where run_id = '{run_id}') as chunks \
             from raw.requests where run_id = '{run_id}'"
        ))?;
        Ok(Self {
            profile: profile.profile,
            stages,
            rows,
        })
    }

    /// All checks of this run, given what the server counted meanwhile.
    pub(super) fn checks(&self, counted: &Counters, slots: u32) -> Vec<Check> {
        let mut checks = vec![
            self.sent_is_ok_and_errors(),
            self.sent_is_rows(),
            self.chunks(),
        ];
        checks.extend(self.tokens(counted));
        checks.extend(self.rates());
        checks.extend(self.levels_off(i64::from(slots)));
        checks
    }

    fn check(&self, what: &str, found: String, met: bool) -> Check {
        Check {
            what: format!("{}: {what}", self.profile),
            found,
            met,
        }
    }

    fn sum(&self, column: fn(&Stage) -> i64) -> i64 {
        self.stages.iter().map(column).sum()
    }

    fn sent_is_ok_and_errors(&self) -> Check {
        let wrong = self
            .stages
            .iter()
            .filter(|s| s.sent != s.ok + s.errors)
            .count();
        let found = format!(
            "{} sent, {} ok, {} errors in {} stages",
            self.sum(|stage| stage.sent),
            self.sum(|stage| stage.ok),
            self.sum(|stage| stage.errors),
            self.stages.len()
        );
        self.check(
            "sent = ok + errors in each stage",
            found,
            wrong == 0 && !self.stages.is_empty(),
        )
    }

    fn sent_is_rows(&self) -> Check {
        let (sent, ok) = (self.sum(|stage| stage.sent), self.sum(|stage| stage.ok));
        self.check(
            "the stages' sent and ok = the rows of raw.requests",
            format!(
                "{sent} and {ok}; {} and {}",
                self.rows.requests, self.rows.ok
            ),
            (sent, ok) == (self.rows.requests, self.rows.ok),
        )
    }

    fn chunks(&self) -> Check {
        self.check(
            "one row of raw.chunks for each request",
            format!("{} rows, {} requests", self.rows.chunks, self.rows.requests),
            self.rows.chunks == self.rows.requests,
        )
    }

    /// The server's own counters, over the same time. Nothing else sends to it.
    fn tokens(&self, counted: &Counters) -> [Check; 2] {
        [
            ("output", self.rows.output_tokens, counted.output_tokens),
            ("prompt", self.rows.prompt_tokens, counted.prompt_tokens),
        ]
        .map(|(kind, ours, theirs)| {
            self.check(
                &format!("{kind} tokens of the rows = the server's counter"),
                format!("{ours} and {theirs}"),
                ours == theirs && ours > 0,
            )
        })
    }

    /// Arrivals of each open-loop stage against the rate that was asked for. Random arrivals may
    /// stray by four standard deviations.
    fn rates(&self) -> Vec<Check> {
        let steady = self.stages.iter().filter(|stage| stage.phase == "steady");
        steady
            .filter_map(|stage| {
                let asked = stage.offered_rps? * stage.duration_ns as f64 / 1e9;
                let arrived = (stage.sent + stage.missed) as f64;
                Some(self.check(
                    &format!("stage {} offers the asked rate", stage.name),
                    format!("{arrived} arrivals, {asked:.1} asked"),
                    (arrived - asked).abs() <= (4.0 * asked.sqrt()).max(1.0),
                ))
            })
            .collect()
    }

    /// Twice the requests in flight bring less than a quarter more tokens once the slots are full.
    /// `None` for a run that is no closed loop.
    fn levels_off(&self, slots: i64) -> Option<Check> {
        let mut steady = self.stages.iter().filter(|stage| stage.phase == "steady");
        steady.find_map(|stage| stage.concurrency)?;
        let what = "throughput levels off where the slots are full";
        let (full, over) = (
            self.tokens_per_second(slots),
            self.tokens_per_second(2 * slots),
        );
        let Some((full, over)) = full.zip(over) else {
            let found = format!("no steady stages with {slots} and {} in flight", 2 * slots);
            return Some(self.check(what, found, false));
        };
        Some(self.check(
            what,
            format!(
                "{full:.1} tokens/s with {slots} in flight, {over:.1} with {}",
                2 * slots
            ),
            over < 1.25 * full,
        ))
    }

    /// Tokens of the requests that ended within the stage's window, at their mean length.
    fn tokens_per_second(&self, concurrency: i64) -> Option<f64> {
        let stage = self
            .stages
            .iter()
            .find(|stage| stage.phase == "steady" && stage.concurrency == Some(concurrency))?;
        Some(stage.throughput_rps * stage.output_tokens as f64 / stage.ok as f64)
    }
}

#[derive(Deserialize)]
struct Profile {
    profile: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(offered_rps: Option<f64>, concurrency: Option<i64>, throughput_rps: f64) -> Stage {
        Stage {
            name: "s".to_owned(),
            phase: "steady".to_owned(),
            offered_rps,
            concurrency,
            duration_ns: 20_000_000_000,
            sent: 20,
            missed: 0,
            ok: 19,
            errors: 1,
            output_tokens: 19 * 16,
            throughput_rps,
        }
    }

    fn good() -> Run {
        Run {
            profile: "p".to_owned(),
            stages: vec![
                stage(Some(1.0), None, 1.0),
                stage(None, Some(4), 2.0),
                stage(None, Some(8), 2.1),
            ],
            rows: Rows {
                requests: 60,
                ok: 57,
                prompt_tokens: 99,
                output_tokens: 912,
                chunks: 60,
            },
        }
    }

    fn failed(run: &Run) -> Vec<String> {
        let counted = Counters {
            prompt_tokens: 99,
            output_tokens: 912,
        };
        let checks = run.checks(&counted, 4).into_iter();
        checks
            .filter(|check| !check.met)
            .map(|check| check.what)
            .collect()
    }

    #[test]
    fn what_adds_up_passes() {
        assert_eq!(failed(&good()), [""; 0]);
    }

    #[test]
    fn a_probe_makes_no_closed_loop() {
        let mut run = good();
        for stage in &mut run.stages[1..] {
            stage.phase = "probe".to_owned();
        }
        assert_eq!(failed(&run), [""; 0]);
    }

    #[test]
    fn each_check_can_fail() {
        let mut run = good();
        run.stages[0].errors = 2;
        assert_eq!(failed(&run), ["p: sent = ok + errors in each stage"]);
        let mut run = good();
        run.rows.requests = 61;
        run.rows.chunks = 61;
        assert_eq!(
            failed(&run),
            ["p: the stages' sent and ok = the rows of raw.requests"]
        );
        let mut run = good();
        run.rows.chunks = 59;
        assert_eq!(failed(&run), ["p: one row of raw.chunks for each request"]);
        let mut run = good();
        run.rows.output_tokens = 911;
        assert_eq!(
            failed(&run),
            ["p: output tokens of the rows = the server's counter"]
        );
        let mut run = good();
        run.stages[0].offered_rps = Some(3.0);
        assert_eq!(failed(&run), ["p: stage s offers the asked rate"]);
        let mut run = good();
        run.stages[2].throughput_rps = 2.6;
        assert_eq!(
            failed(&run),
            ["p: throughput levels off where the slots are full"]
        );
        run.stages.pop();
        run.rows.requests = 40;
        run.rows.ok = 38;
        run.rows.chunks = 40;
        assert_eq!(
            failed(&run),
            ["p: throughput levels off where the slots are full"]
        );
    }
}
