//! `plimsoll report`: the report of one run, in the form that is asked for.

use clap::{Args, ValueEnum};
use plimsoll_query_api::report::Report;
use plimsoll_warehouse::resolve_run;

use super::reading;
use crate::failure::{Exit, Failure, chain};
use crate::settings::Settings;
use crate::terminal::Console;

/// The arguments of `report`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll report latest
  plimsoll report 9c2f41d7
  plimsoll report latest --format html > report.html")]
pub(crate) struct ReportArgs {
    /// A run's id, the last 6 characters of it or more, or latest
    #[arg(value_name = "RUN")]
    run: String,
    /// terminal, markdown, html or json (terminal)
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    format: Option<ReportFormat>,
}

/// The forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    Terminal,
    Markdown,
    Html,
    Json,
}

/// Shows the report.
pub(crate) fn execute(
    args: &ReportArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    reading::block_on(show(args, settings, console))
}

async fn show(args: &ReportArgs, settings: &Settings, console: &Console) -> Result<Exit, Failure> {
    let warehouse = reading::open(settings, console).await?;
    let run = console
        .during("looking for the run", resolve_run(&warehouse, &args.run))
        .await
        .map_err(|error| reading::unresolved(&error))?;
    let mut report = console
        .during("asking", Report::load(&warehouse, run))
        .await
        .map_err(|error| Failure::failed(chain(&error), error.help()))?;
    report.repeat_flags(&settings.place_flags);
    let usual = if console.json {
        ReportFormat::Json
    } else {
        ReportFormat::Terminal
    };
    match args.format.unwrap_or(usual) {
        ReportFormat::Terminal => {
            console.result(report.terminal(&console.report_style()).trim_end())?;
        }
        ReportFormat::Markdown => console.result(report.markdown().trim_end())?,
        ReportFormat::Html => console.result(report.html().trim_end())?,
        ReportFormat::Json => console.json(&report)?,
    }
    Ok(Exit::Done)
}
