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
    /// The arguments in which a new measurement differs from this run; `None` where the command
    /// reads this run.
    #[serde(skip)]
    pub(super) new_load: Option<String>,
}

impl NextCommand {
    fn new(purpose: impl Into<String>, command: String) -> Self {
        Self {
            purpose: purpose.into(),
            command,
            new_load: None,
        }
    }

    pub(super) fn repeat_flags(&mut self, flags: &[(String, String)]) {
        self.command = with_flags(&self.command, flags);
    }

    /// True where the command reads this run, false where it measures anew.
    pub(super) fn is_of_this_run(&self) -> bool {
        self.new_load.is_none()
    }
}

/// A command with flags and their values, quoted for a shell where they need it.
pub fn with_flags(command: &str, flags: &[(String, String)]) -> String {
    let flags = flags
        .iter()
        .map(|(name, value)| format!(" --{name} {}", quote(value)));
    std::iter::once(command.to_owned()).chain(flags).collect()
}

/// The commands that fit how a run ended.
pub(super) fn commands(
    run: &RunRow,
    verdict: Verdict,
    slo: Option<&str>,
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
        commands.extend(follow_up(run, slo, stages, limit));
    }
    commands
}

/// The measurement that answers the question which this one leaves open.
fn follow_up(
    run: &RunRow,
    slo: Option<&str>,
    stages: &[StageLine],
    limit: Option<&Limit>,
) -> Option<NextCommand> {
    let again = format!(
        "plimsoll run --url {} --model {}",
        quote(&run.endpoint),
        quote(&run.model)
    );
    let (purpose, load) = match run.profile.as_deref()? {
        "smoke" => ("where does it bend?", "--profile step".to_string()),
        "step" => {
            let holds = limit?.holds_stage?;
            let rate = stages
                .iter()
                .find(|stage| stage.stage == holds)?
                .offered_rps?;
            let rate = units::setting(rate).replace('\u{202f}', "");
            (
                "does it hold this for longer?",
                format!("--profile stability --rate {rate}"),
            )
        }
        "max_throughput" => (
            "which request rate does it hold?",
            "--profile step".to_string(),
        ),
        "stability" => ("how much more can it carry?", "--profile step".to_string()),
        _ => return None,
    };
    let slo = slo.map_or_else(String::new, |slo| format!(" --slo {}", quote(slo)));
    Some(NextCommand {
        purpose: purpose.to_string(),
        command: format!("{again} {load}{slo}"),
        new_load: Some(load),
    })
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
                 --profile stability --rate 16 --slo ttft_p99=500ms,error_rate=1%,demand=10",
            ],
        );
        check(
            samples::smoke(),
            &[
                "plimsoll report 9c2f41d7",
                "plimsoll sql \"select * from saturation_curve('9c2f41d7')\"",
                "plimsoll run --url http://gpu7:8000/v1 --model sim-8 --profile step \
                 --slo error_rate=1%",
            ],
        );
    }

    #[test]
    fn flags_that_name_the_place_are_repeated() {
        let (run, stages, envelope) = samples::smoke();
        let mut report = Report::from_rows(&run, &stages, Some(&envelope)).expect("report");
        report.repeat_flags(&[("warehouse".to_string(), "/data/my house".to_string())]);
        for next in &report.next {
            let repeated = next.command.ends_with(" --warehouse '/data/my house'");
            assert!(repeated, "{}", next.command);
        }
        assert_eq!(report.next.len(), 3);
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
