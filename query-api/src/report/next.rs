//! What a reader may type next.

use plimsoll_ingest::{RunRow, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

use super::headline::Limit;
use super::stage::StageLine;
use super::units;

/// A command, and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NextCommand {
    /// What it answers, in a few words.
    pub purpose: String,
    /// The command line, quoted for a shell.
    pub command: String,
}

impl NextCommand {
    fn new(purpose: impl Into<String>, command: String) -> Self {
        Self {
            purpose: purpose.into(),
            command,
        }
    }

    /// True where the command reads this run, false where it measures anew.
    pub(super) fn is_of_this_run(&self) -> bool {
        !self.command.starts_with("plimsoll run ")
    }
}

/// The commands that fit how a run ended.
pub(super) fn commands(
    run: &RunRow,
    verdict: Verdict,
    stages: &[StageLine],
    limit: Option<&Limit>,
) -> Vec<NextCommand> {
    let short = run.run_id.short();
    let mut commands = vec![NextCommand::new(
        "this report again",
        format!("plimsoll report {short}"),
    )];
    if stages.is_empty() {
        commands.push(NextCommand::new("other runs", "plimsoll runs".to_string()));
    } else {
        let sql = format!("select * from saturation_curve('{short}')");
        commands.push(NextCommand::new(
            "ask it in SQL",
            format!("plimsoll sql \"{sql}\""),
        ));
    }
    if verdict.describes_subject() && run.pillar == "performance" {
        commands.extend(follow_up(run, stages, limit));
    }
    commands
}

/// The measurement that answers the question which this one leaves open.
fn follow_up(run: &RunRow, stages: &[StageLine], limit: Option<&Limit>) -> Option<NextCommand> {
    let again = format!(
        "plimsoll run --url {} --model {}",
        quote(&run.endpoint),
        quote(&run.model)
    );
    match run.profile.as_deref()? {
        "smoke" => Some(NextCommand::new(
            "where does it bend?",
            format!("{again} --profile step"),
        )),
        "step" => {
            let holds = limit?.holds_stage?;
            let rate = stages
                .iter()
                .find(|stage| stage.stage == holds)?
                .offered_rps?;
            let rate = units::setting(rate).replace('\u{202f}', "");
            let command = format!("{again} --profile stability --rate {rate}");
            Some(NextCommand::new("does it hold this for longer?", command))
        }
        "max_throughput" => {
            let command = format!("{again} --profile step");
            Some(NextCommand::new(
                "which request rate does it hold?",
                command,
            ))
        }
        "stability" => Some(NextCommand::new(
            "how much more can it carry?",
            format!("{again} --profile step"),
        )),
        _ => None,
    }
}

/// Quotes a word for a POSIX shell where it needs it.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+,%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Report, samples};
    use plimsoll_ingest::{EnvelopeRow, StageRow};

    #[track_caller]
    fn check((run, stages, envelope): (RunRow, Vec<StageRow>, EnvelopeRow), expected: &[&str]) {
        let report = Report::from_rows(&run, &stages, Some(&envelope)).expect("report");
        let commands: Vec<&str> = report
            .next
            .iter()
            .map(|next| next.command.as_str())
            .collect();
        assert_eq!(commands, expected);
    }

    #[test]
    fn each_profile_leads_to_the_next_question() {
        check(
            samples::passed_step(),
            &[
                "plimsoll report 9c2f41d7",
                "plimsoll sql \"select * from saturation_curve('9c2f41d7')\"",
                "plimsoll run --url http://gpu7:8000/v1 --model llama-70b-c50 \
                 --profile stability --rate 16",
            ],
        );
        check(
            samples::smoke(),
            &[
                "plimsoll report 9c2f41d7",
                "plimsoll sql \"select * from saturation_curve('9c2f41d7')\"",
                "plimsoll run --url http://gpu7:8000/v1 --model sim-8 --profile step",
            ],
        );
    }

    #[test]
    fn what_measured_nothing_leads_nowhere_further() {
        let (run, stages, envelope) = samples::incomplete();
        let report = Report::from_rows(&run, &stages, Some(&envelope)).expect("report");
        let commands: Vec<&str> = report
            .next
            .iter()
            .map(|next| next.command.as_str())
            .collect();
        assert_eq!(commands, ["plimsoll report 9c2f41d7", "plimsoll runs"]);
    }

    #[test]
    fn names_are_quoted_for_a_shell() {
        assert_eq!(quote("a/b-c.d_1:2"), "a/b-c.d_1:2");
        assert_eq!(quote("my model; rm"), "'my model; rm'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }
}
