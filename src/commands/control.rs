//! `plimsoll cancel`, `pause` and `resume`: the brakes of a server.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::run::user;
use super::runtime;
use crate::failure::{Exit, Failure};
use crate::server::Server;
use crate::server::job::short;
use crate::settings::Settings;
use crate::terminal::Console;

/// The arguments of `cancel`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll cancel 9c2f41d7
  plimsoll cancel latest

What was measured is kept. A job is named by its id, by at least 6 of its last
characters, or `latest`.")]
pub(crate) struct CancelArgs {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
}

/// The arguments of `pause`: it has none of its own.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll pause
  plimsoll resume

No task is begun, and runs that are under way send nothing within a second: what
they miss makes them invalid, which is neither slow nor passed.")]
pub(crate) struct PauseArgs {}

/// The arguments of `resume`: it has none of its own.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll pause
  plimsoll resume")]
pub(crate) struct ResumeArgs {}

/// Ends a job.
pub(crate) fn execute_cancel(
    args: &CancelArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    let answer = call(settings, Method::DELETE, &["jobs", &args.job])?;
    if console.json {
        console.json(&answer)?;
        return Ok(Exit::Done);
    }
    let id = short(answer["job_id"].as_str().unwrap_or(&args.job));
    let text = match (answer["state"].as_str(), answer["verdict"].as_str()) {
        (Some("done"), Some(verdict)) => format!("job ..{id} has ended: {verdict}"),
        _ => format!("job ..{id} ends; `plimsoll job {id} --follow` waits for it"),
    };
    console.result(&text)?;
    Ok(Exit::Done)
}

/// Holds all jobs back.
pub(crate) fn execute_pause(
    _: &PauseArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    tell(
        settings,
        console,
        "pause",
        "all jobs are held back; `plimsoll resume` lets them go on",
    )
}

/// Lets all jobs go on.
pub(crate) fn execute_resume(
    _: &ResumeArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    tell(settings, console, "resume", "all jobs go on")
}

fn tell(settings: &Settings, console: &Console, path: &str, text: &str) -> Result<Exit, Failure> {
    let answer = call(settings, Method::POST, &[path])?;
    match console.json {
        true => console.json(&answer)?,
        false => console.result(text)?,
    }
    Ok(Exit::Done)
}

fn call(settings: &Settings, method: Method, path: &[&str]) -> Result<Value, Failure> {
    let server = Server::at(
        &settings.server,
        user(&|variable| std::env::var(variable).ok()),
    )?;
    let asked = server.ask(server.call(method, path));
    Ok(runtime::waiting()?.block_on(asked)?)
}
