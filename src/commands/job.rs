//! Runs a job from its request to its reports: what `run` and `quickstart` share.

mod result;

pub(super) use result::summary_of_row;

use plimsoll_executor::performance::{
    JobError, JobOutcome, JobRequest, Progress, RunOutcome, StopSignal, run_job,
};
use plimsoll_query_api::report::Report;
use plimsoll_warehouse::Warehouse;
use tokio::sync::watch;

use super::reading;
use super::recovery::recover;
use crate::failure::{Exit, Failure, chain};
use crate::interrupt::{Hold, Holds, Interrupts};
use crate::settings::Settings;
use crate::terminal::painter::Painter;
use crate::terminal::{Console, tell_failure};

/// Measures, publishes and reports; ends with the job's verdict.
///
/// # Errors
/// The job came to no run at all.
pub(crate) async fn execute(
    request: JobRequest,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    let outcome = match measure(request, settings, console).await {
        Ok(outcome) => outcome,
        Err(failure) => {
            if console.json {
                console.json(&result::of_no_job(&failure))?;
            }
            return Err(failure);
        }
    };
    let reports = reports(&outcome, settings).await;
    for run in &outcome.runs {
        tell_trouble(run);
    }
    if console.json {
        let headlines: Vec<_> = reports
            .iter()
            .map(|report| Some(report.as_ref()?.headline.as_str()))
            .collect();
        console.json(&result::of_job(&outcome, &headlines))?;
    } else {
        for report in reports.iter().flatten() {
            console.result(&format!(
                "\n{}",
                report.terminal(&console.report_style()).trim_end()
            ))?;
        }
    }
    // What is not in the warehouse was not done, whatever it measured.
    match outcome.runs.iter().any(|run| run.unpublished.is_some()) {
        true => Ok(Exit::Failed),
        false => Ok(Exit::Measured(outcome.verdict)),
    }
}

/// Runs the job with its progress on show, and its brakes within the user's reach.
async fn measure(
    request: JobRequest,
    settings: &Settings,
    console: &Console,
) -> Result<JobOutcome, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let mut holds = Holds::listen()?;
    recover(settings, console).await;
    let (sender, progress) = watch::channel(Progress::Probing);
    let stop = StopSignal::default();
    let subject = format!(
        "{}  at {}",
        request.target.model,
        request.target.endpoint.url()
    );
    let painter = Painter::start(console, subject, progress);
    let job = run_job(
        request,
        &settings.warehouse,
        &settings.spool,
        sender,
        stop.clone(),
    );
    let mut job = std::pin::pin!(job);
    let mut stopping = false;
    loop {
        tokio::select! {
            outcome = &mut job => return outcome.map_err(|error| no_run(&error)),
            () = interrupts.next() => {
                if stopping {
                    painter.line("stopped; what was measured stays in the spool");
                    return Err(Failure::cancelled());
                }
                stopping = true;
                stop.stop("the user");
                painter.line("ending with what was measured; once more stops at once");
            }
            hold = holds.next() => match hold {
                Hold::Pause => stop.pause(),
                Hold::Resume => stop.resume(),
            },
        }
    }
}

/// What it means that a job came to no run.
fn no_run(error: &JobError) -> Failure {
    match error {
        JobError::Stopped { .. } => Failure::cancelled(),
        other => Failure::failed(
            chain(other),
            other
                .help()
                .unwrap_or_else(|| "run it again with -v to see more".to_owned()),
        ),
    }
}

/// The report of each run, in order; `None` where the warehouse does not have it.
async fn reports(outcome: &JobOutcome, settings: &Settings) -> Vec<Option<Report>> {
    let mut reports = Vec::with_capacity(outcome.runs.len());
    let warehouse = match Warehouse::open(&settings.warehouse, reading::options(settings)).await {
        Ok(warehouse) => warehouse,
        Err(error) => {
            tell_failure(&reading::unreadable(&error));
            return outcome.runs.iter().map(|_| None).collect();
        }
    };
    for run in &outcome.runs {
        // A run whose subject was at fault has nothing but that fault to report.
        let has_report = run.unpublished.is_none() && run.failure.is_none();
        reports.push(match has_report {
            true => load(&warehouse, run, settings).await,
            false => None,
        });
    }
    reports
}

async fn load(warehouse: &Warehouse, run: &RunOutcome, settings: &Settings) -> Option<Report> {
    match Report::load(warehouse, run.run.run_id).await {
        Ok(mut report) => {
            report.repeat_flags(&settings.place_flags);
            Some(report)
        }
        Err(error) => {
            tell_failure(&Failure::failed(chain(&error), error.help()));
            None
        }
    }
}

/// Says why a run has no report: its subject failed, or it is not in the warehouse.
fn tell_trouble(run: &RunOutcome) {
    if let Some(error) = &run.failure {
        let help = error
            .help()
            .unwrap_or_else(|| "run it again with -v to see more".to_owned());
        tell_failure(&Failure::failed(error, help));
    }
    if let Some(why) = &run.unpublished {
        let (id, reason) = (run.run.run_id.short(), &why.reason);
        let first = why.help.unwrap_or("make room there");
        tell_failure(&Failure::failed(
            format_args!("run ..{id} was measured but not published: {reason}"),
            format!("{first}; the spool is kept, and the next `run` or `serve` publishes it"),
        ));
    }
}
