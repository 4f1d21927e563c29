//! `plimsoll schedules`: jobs that a server hands in by itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::run::user;
use super::runtime;
use super::submit::{language, read};
use crate::failure::{Exit, Failure};
use crate::server::Server;
use crate::settings::Settings;
use crate::terminal::Console;
use crate::terminal::table::{Align, Heading, layout};

/// The arguments of `schedules`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll schedules
  plimsoll schedules set nightly.yaml
      makes it, or changes the one of its name
  plimsoll schedules pause nightly
  plimsoll schedules remove nightly

A schedule file:
  name: nightly
  cron: 30 2 * * *              # minute, hour, day, month, weekday
  time_zone: Europe/Berlin      # or left out: UTC
  jitter: 15m                   # begin up to so much later
  overlap: skip                 # an earlier job goes on: skip, queue, cancel
  catch_up: last                # ticks missed while down: none, last, all
  job: ..                       # as in `plimsoll submit --help`")]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SchedulesArgs {
    #[command(subcommand)]
    what: Option<What>,
}

/// What to do with schedules; they are listed where nothing is said.
#[derive(Debug, Subcommand)]
enum What {
    /// Make a schedule, or change it
    Set {
        /// The schedule file, YAML or JSON; - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Remove a schedule; its jobs stay
    Remove {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Hold a schedule back
    Pause {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Let a schedule go on, from its next tick
    Resume {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Deserialize)]
struct Page {
    schedules: Vec<Schedule>,
}

#[derive(Deserialize)]
struct Schedule {
    name: String,
    cron: String,
    time_zone: String,
    paused_by: Option<String>,
    next_at: Option<String>,
}

impl Schedule {
    /// When its next job is handed in.
    fn next(&self) -> String {
        match (&self.paused_by, &self.next_at) {
            (Some(by), _) => format!("held back by {by}"),
            (None, Some(at)) => at.clone(),
            (None, None) => "never".to_owned(),
        }
    }
}

/// Lists schedules, or changes one.
pub(crate) fn execute(
    args: &SchedulesArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    let server = Server::at(
        &settings.server,
        user(&|variable| std::env::var(variable).ok()),
    )?;
    runtime::waiting()?.block_on(async {
        match &args.what {
            None => list(&server, console).await,
            Some(What::Set { file }) => {
                let call = server.call(Method::POST, &["schedules"]);
                let call = call
                    .header("content-type", language(file))
                    .body(read(file)?);
                tell(&server, call, console).await
            }
            Some(What::Pause { name }) => {
                let call = server.call(Method::POST, &["schedules", name, "pause"]);
                tell(&server, call, console).await
            }
            Some(What::Resume { name }) => {
                let call = server.call(Method::POST, &["schedules", name, "resume"]);
                tell(&server, call, console).await
            }
            Some(What::Remove { name }) => {
                server
                    .tell(server.call(Method::DELETE, &["schedules", name]))
                    .await?;
                if !console.json {
                    console.result(&format!("schedule {name} is removed; its jobs stay"))?;
                }
                Ok(Exit::Done)
            }
        }
    })
}

async fn tell(
    server: &Server,
    call: reqwest::RequestBuilder,
    console: &Console,
) -> Result<Exit, Failure> {
    let answer: Value = server.ask(call).await?;
    if console.json {
        console.json(&answer)?;
        return Ok(Exit::Done);
    }
    let schedule: Schedule = read_answer(answer)?;
    console.result(&format!(
        "schedule {}: next {}",
        schedule.name,
        schedule.next()
    ))?;
    Ok(Exit::Done)
}

async fn list(server: &Server, console: &Console) -> Result<Exit, Failure> {
    let answer: Value = server.ask(server.call(Method::GET, &["schedules"])).await?;
    if console.json {
        console.json(&answer["schedules"])?;
        return Ok(Exit::Done);
    }
    let Page { schedules } = read_answer(answer)?;
    if schedules.is_empty() {
        console.note("note: there is none; `plimsoll schedules set FILE` makes one");
    }
    let rows: Vec<[String; 4]> = schedules
        .iter()
        .map(|schedule| {
            [
                schedule.name.clone(),
                schedule.cron.clone(),
                schedule.time_zone.clone(),
                schedule.next(),
            ]
        })
        .collect();
    let width = if console.stdout.is_terminal {
        console.stdout.width
    } else {
        usize::MAX
    };
    console.result(&layout(&HEADINGS, &rows, width))?;
    Ok(Exit::Done)
}

const HEADINGS: [Heading; 4] = {
    const fn heading(text: &'static str, may_be_cut: bool) -> Heading {
        Heading {
            text,
            align: Align::Left,
            may_be_cut,
        }
    }
    [
        heading("schedule", true),
        heading("cron", false),
        heading("time zone", true),
        heading("next", false),
    ]
};

fn read_answer<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|error| {
        Failure::failed(
            format_args!("the server's answer is none: {error}"),
            "is it of the same release?",
        )
    })
}

#[cfg(test)]
mod tests {
    use plimsoll_executor::job_spec::{Format, parse_document};
    use plimsoll_executor::schedule::ScheduleSpec;
    use plimsoll_ingest::Timestamp;

    /// Those that ship are in order.
    #[test]
    fn the_examples_are_schedules() {
        let examples = [
            include_str!("../../docs/examples/nightly.yaml"),
            include_str!("../../docs/examples/weekly.yaml"),
            include_str!("../../docs/examples/monthly.yaml"),
        ];
        for text in examples {
            let document = parse_document(text, Format::Yaml).expect("YAML");
            ScheduleSpec::read(&document, Timestamp::now()).expect(text);
        }
    }
}
