//! `plimsoll jobs` and `plimsoll job`: what a server has to do, and how far it is.

use clap::Args;
use plimsoll_executor::control::JobState;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::run::user;
use super::runtime;
use super::submit::tell_end;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupts;
use crate::nearest::did_you_mean;
use crate::server::Server;
use crate::server::follow::follow;
use crate::server::job::{Job, short};
use crate::settings::Settings;
use crate::terminal::Console;
use crate::terminal::table::{Align, Heading, layout};

/// The arguments of `jobs`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll jobs
  plimsoll jobs --state running
  plimsoll jobs --server http://plimsoll.example:8080 --json

Those that have ended are also in the table `reports.jobs`.")]
pub(crate) struct JobsArgs {
    /// Only jobs that are queued, running or done
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<JobState>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// The arguments of `job`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll job latest
  plimsoll job 9c2f41d7 --follow
      shows progress until it has ended, and exits with its verdict

A job is named by its id, by at least 6 of its last characters, or `latest`.")]
pub(crate) struct JobArgs {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
    /// Follow it to its end, and exit with its verdict
    #[arg(long, short)]
    follow: bool,
}

#[derive(Deserialize)]
struct Page {
    jobs: Vec<Job>,
    paused_by: Option<String>,
}

/// Lists jobs.
pub(crate) fn execute_list(
    args: &JobsArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    runtime::waiting()?.block_on(list(args, settings, console))
}

async fn list(args: &JobsArgs, settings: &Settings, console: &Console) -> Result<Exit, Failure> {
    let server = Server::at(
        &settings.server,
        user(&|variable| std::env::var(variable).ok()),
    )?;
    let mut call = server.call(Method::GET, &["jobs"]);
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.state.map(|state| ("state", state.to_string())));
    call = call.query(&query);
    let answer: Value = server.ask(call).await?;
    if console.json {
        console.json(&answer["jobs"])?;
        return Ok(Exit::Done);
    }
    let page: Page = serde_json::from_value(answer).map_err(|error| {
        Failure::failed(
            format_args!("the server's answer is none: {error}"),
            "is it of the same release?",
        )
    })?;
    if let Some(by) = page.paused_by {
        console.note(&format!(
            "note: {by} holds all jobs back; `plimsoll resume` lets them go on"
        ));
    }
    if page.jobs.is_empty() {
        console.note("note: there is no such job; `plimsoll submit FILE` hands one in");
    }
    let rows: Vec<_> = page.jobs.iter().map(cells).collect();
    let width = if console.stdout.is_terminal {
        console.stdout.width
    } else {
        usize::MAX
    };
    console.result(&layout(&HEADINGS, &rows, width))?;
    Ok(Exit::Done)
}

/// Shows one job, or follows it.
pub(crate) fn execute_one(
    args: &JobArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    runtime::waiting()?.block_on(one(args, settings, console))
}

async fn one(args: &JobArgs, settings: &Settings, console: &Console) -> Result<Exit, Failure> {
    let server = Server::at(
        &settings.server,
        user(&|variable| std::env::var(variable).ok()),
    )?;
    if args.follow {
        let mut interrupts = Interrupts::listen()?;
        let ended = tokio::select! {
            ended = follow_one(&server, &args.job, console) => ended?,
            () = interrupts.next() => return Err(Failure::cancelled()),
        };
        return tell_end(&server, &ended, console).await;
    }
    let answer: Value = server
        .ask(server.call(Method::GET, &["jobs", &args.job]))
        .await?;
    if console.json {
        console.json(&answer)?;
        return Ok(Exit::Done);
    }
    let job: Job = serde_json::from_value(answer).map_err(|error| {
        Failure::failed(
            format_args!("the server's answer is none: {error}"),
            "is it of the same release?",
        )
    })?;
    let mut lines = vec![
        format!("job {}  {}", job.job_id, job.standing()),
        format!("  {}", job.subject()),
        format!(
            "  by {}, {} priority, queued {}",
            job.triggered_by, job.priority, job.queued_at
        ),
    ];
    lines.extend(job.finished_at.iter().map(|at| format!("  finished {at}")));
    lines.extend(
        job.cancelled_by
            .iter()
            .map(|by| format!("  cancelled by {by}")),
    );
    lines.extend(job.tasks.iter().map(|task| format!("  {}", task.line())));
    console.result(&lines.join("\n"))?;
    Ok(Exit::Done)
}

/// Follows the job that a text names now, whichever it names later.
async fn follow_one(server: &Server, text: &str, console: &Console) -> Result<Job, Failure> {
    let job: Job = server
        .ask(server.call(Method::GET, &["jobs", text]))
        .await?;
    follow(server, &job.job_id, console).await
}

const HEADINGS: [Heading; 7] = {
    const fn heading(text: &'static str, may_be_cut: bool) -> Heading {
        Heading {
            text,
            align: Align::Left,
            may_be_cut,
        }
    }
    [
        heading("job", false),
        heading("queued", false),
        heading("model", true),
        heading("suites", true),
        heading("priority", false),
        heading("by", true),
        heading("state", false),
    ]
};

fn cells(job: &Job) -> [String; 7] {
    [
        short(&job.job_id).to_owned(),
        // To the second.
        job.queued_at
            .get(..19)
            .map_or_else(|| job.queued_at.clone(), |at| format!("{at}Z")),
        job.model.clone().unwrap_or_else(|| "-".to_owned()),
        job.suites.join(","),
        job.priority.clone(),
        job.triggered_by.clone(),
        job.standing(),
    ]
}

fn state(text: &str) -> Result<JobState, String> {
    let known = JobState::ALL.iter().map(|state| state.as_str());
    text.parse().map_err(|_| did_you_mean(text, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_fits_into_eighty_columns() {
        let job: Job = serde_json::from_value(serde_json::json!({
            "job_id": "01927f1a-5c7e-7d0a-9b1e-3f2a9c41d7e0", "state": "running", "verdict": null,
            "model": "meta-llama/Llama-3.3-70B-Instruct", "endpoint": "http://gpu7:8000/v1",
            "suites": ["smoke", "step", "max_throughput"], "priority": "normal",
            "triggered_by": "ada.lovelace", "queued_at": "2026-01-31T10:00:00.123Z",
            "finished_at": null, "cancelled_by": null,
        }))
        .expect("a job");
        let shown = layout(&HEADINGS, &[cells(&job)], 80);
        let widest = shown.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{shown}");
        assert!(shown.contains("9c41d7e0  2026-01-31T10:00:00Z"), "{shown}");
    }
}
