//! `plimsoll submit`: hands a job to a server.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use plimsoll_ingest::Verdict;
use reqwest::{Method, header};
use serde_json::{Map, Value, json};

use super::run::user;
use super::{job::summary_of_row, runtime};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupts;
use crate::server::Server;
use crate::server::follow::follow;
use crate::server::job::{Job, short};
use crate::settings::Settings;
use crate::terminal::Console;

/// A run that was just published is looked for so often, and this long apart.
const LOOKS: u32 = 50;
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The arguments of `submit`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll submit job.yaml
  plimsoll submit job.yaml --wait
      exits with the job's verdict: 0 passed, 3 degraded, 4 blocked, ...
  plimsoll submit - --key nightly-2026-01-31 < job.json

A job file:
  subject:
    model: llama
    endpoint: http://gpu7:8000/v1
    api_key_env: LLAMA_KEY           # where the worker runs; may be left out
  suites:                            # run in this order
    - performance: smoke
    - performance: step
      set: {rate: 4, duration: 30s}
      slo: {ttft_p99: 500ms, error_rate: 1%}
      abort_if: {error_rate: 50%@10s}
  priority: normal                   # high, normal, low
  deadline: 2h
  labels: {team: inference}")]
pub(crate) struct SubmitArgs {
    /// The job file, YAML or JSON; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Wait for its end, and exit with its verdict
    #[arg(long)]
    wait: bool,
    /// Name this submission: the same again is the same job
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Hands the job in.
pub(crate) fn execute(
    args: &SubmitArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    runtime::waiting()?.block_on(submit(args, settings, console))
}

async fn submit(
    args: &SubmitArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    let text = read(&args.file)?;
    let server = Server::at(
        &settings.server,
        user(&|variable| std::env::var(variable).ok()),
    )?;
    let mut call = server
        .call(Method::POST, &["jobs"])
        .header(header::CONTENT_TYPE, language(&args.file));
    if let Some(key) = &args.key {
        call = call.header("idempotency-key", key);
    }
    let accepted: Value = server.ask(call.body(text)).await?;
    let job: Job = serde_json::from_value(accepted.clone()).map_err(|error| {
        Failure::failed(
            format_args!("the server's answer is none: {error}"),
            "is it of the same release?",
        )
    })?;
    let id = short(&job.job_id).to_owned();
    if !args.wait {
        if console.json {
            console.json(&accepted)?;
        } else {
            console.result(&format!(
                "job ..{id} of suites {} for {}\nit goes on without you: `plimsoll job {id} --follow`",
                job.suites.join(", "),
                job.subject()
            ))?;
        }
        return Ok(Exit::Done);
    }
    console.note(&format!(
        "job ..{id} of suites {} for {}",
        job.suites.join(", "),
        job.subject()
    ));
    let mut interrupts = Interrupts::listen()?;
    let ended = tokio::select! {
        ended = follow(&server, &job.job_id, console) => ended?,
        () = interrupts.next() => {
            console.note(&format!("the job goes on; `plimsoll cancel {id}` ends it"));
            return Err(Failure::cancelled());
        }
    };
    tell_end(&server, &ended, console).await
}

/// Says how a job ended; its exit code is its verdict's.
pub(super) async fn tell_end(
    server: &Server,
    job: &Job,
    console: &Console,
) -> Result<Exit, Failure> {
    let verdict = job.verdict.unwrap_or(Verdict::Error);
    if console.json {
        console.json(&result(server, job, verdict).await)?;
    } else {
        let lines: Vec<String> = job
            .tasks
            .iter()
            .map(|task| format!("  {}", task.line()))
            .collect();
        let mut text = format!(
            "job ..{} {verdict}\n{}",
            short(&job.job_id),
            lines.join("\n")
        );
        let run = job
            .tasks
            .iter()
            .rev()
            .find_map(|task| task.run_id.as_deref());
        if let Some(run) = run {
            let base = server.base().as_str().trim_end_matches('/');
            text.push_str(&format!("\nreport: {base}/api/v1/runs/{run}/report"));
        }
        console.result(&text)?;
    }
    Ok(Exit::Measured(verdict))
}

/// The job and its runs, with the fields of a single run at the top too.
async fn result(server: &Server, job: &Job, verdict: Verdict) -> Value {
    let mut runs = Vec::new();
    for task in &job.tasks {
        let mut fields = Map::new();
        fields.insert("run_id".to_owned(), json!(task.run_id));
        fields.insert("profile".to_owned(), json!(task.suite));
        fields.insert("verdict".to_owned(), json!(task.verdict));
        let row = match &task.run_id {
            Some(run) => seen(server, run).await,
            None => None,
        };
        let reasons = row
            .as_ref()
            .and_then(|row| row.get("verdict_reasons"))
            .cloned();
        let reasons = reasons.unwrap_or_else(|| json!([]));
        fields.insert("verdict_reasons".to_owned(), reasons);
        let summary = match row.as_ref().zip(task.run_id.as_deref()) {
            Some((row, run)) => {
                let mut summary = summary_of_row(row);
                summary["headline"] = headline(server, run).await;
                summary
            }
            None => Value::Null,
        };
        fields.insert("summary".to_owned(), summary);
        if let Some(reason) = &task.reason {
            fields.insert("reason".to_owned(), json!(reason));
        }
        if task.run_id.is_some() {
            runs.push(fields);
        }
    }
    let mut all = Map::new();
    if let [only] = runs.as_slice() {
        all.clone_from(only);
    }
    all.insert("job_id".to_owned(), json!(job.job_id));
    all.insert("verdict".to_owned(), json!(verdict));
    let runs = runs.into_iter().map(Value::Object).collect();
    all.insert("runs".to_owned(), Value::Array(runs));
    Value::Object(all)
}

/// The row of a run; `None` where the server does not come to see it. What was just published it sees
/// within a second.
async fn seen(server: &Server, run: &str) -> Option<Map<String, Value>> {
    for _ in 0..LOOKS {
        let call = server.call(Method::GET, &["runs", run]);
        match server.ask(call).await {
            Ok(row) => return Some(row),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    None
}

/// The judgement of a run in one sentence; null where the server does not give it.
async fn headline(server: &Server, run: &str) -> Value {
    let call = server.call(Method::GET, &["runs", run, "report"]);
    let call = call.header(header::ACCEPT, "application/json");
    let report = server.ask::<Value>(call).await;
    report.map_or(Value::Null, |report| report["headline"].clone())
}

/// The media type of a file, by its name. YAML is JSON, too.
pub(super) fn language(file: &Path) -> &'static str {
    match file
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        true => "application/json",
        false => "application/yaml",
    }
}

/// A file's text, or that of standard input.
pub(super) fn read(file: &Path) -> Result<String, Failure> {
    if file == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        return match read {
            Ok(_) => Ok(text),
            Err(error) => Err(Failure::failed(
                format_args!("standard input cannot be read: {error}"),
                "give a job file, as text in UTF-8",
            )),
        };
    }
    std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(
            format_args!("{} cannot be read: {error}", file.display()),
            "name a job file: `plimsoll submit --help` shows one",
        )
    })
}
