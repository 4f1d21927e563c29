//! `plimsoll quickstart`: everything on this machine, from a model to an answer.

mod model;

use std::time::Duration;

use clap::Args;
use plimsoll_executor::load::abort::AbortRules;
use plimsoll_executor::load::profile::{Overrides, Profile};
use plimsoll_executor::load::stamped::Stamping;
use plimsoll_executor::performance::{
    Endpoint, JobRequest, Origin, PerformanceSuite, Target, fresh_seed,
};
use plimsoll_executor::slo::Slo;
use plimsoll_ingest::Trigger;
use plimsoll_query_api::report::with_flags;

use super::profiles::unusable;
use super::run::user;
use super::{job, runtime};
use crate::failure::{Exit, Failure};
use crate::settings::Settings;
use crate::terminal::Console;
use crate::terminal::line::about;
use model::SimulatedModel;

/// The arguments of `quickstart`: it has none of its own.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll quickstart
  plimsoll quickstart --warehouse /tmp/try/warehouse --spool /tmp/try/spool

It starts a simulated model (8 slots, TTFT 50 ms, ITL 10 ms), measures it with
the suites smoke and step, and keeps what it measured in the warehouse. Doing it
again adds two more runs.")]
pub(crate) struct QuickstartArgs {}

/// What must hold. The model, which can carry 22 requests a second of these lengths, meets it at
/// 16 and breaks it at 32.
const SLO: &str = "ttft_p99=500ms,error_rate=1%";

/// Starts the model, measures it and says where to look next.
pub(crate) fn execute(
    _: &QuickstartArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    console.note("  Starting everything on this machine: no GPU, no network needed.");
    let model = SimulatedModel::start()?;
    let profiles = Profile::with_seeds_apart(profiles(fresh_seed())?);
    tell_parts(&model, &profiles, settings, console);
    let request = request(&model, profiles)?;
    let exit = runtime::waiting()?.block_on(job::execute(request, settings, console))?;
    model.end()?;
    if !console.json {
        console.result(&next(&settings.place_flags))?;
    }
    Ok(exit)
}

/// Where to go from here; `flags` say where the results are, if not in the usual place.
fn next(flags: &[(String, String)]) -> String {
    let commands = [
        ("plimsoll sql \"select * from peak_rps\"", "ask it"),
        ("plimsoll serve", "API on http://127.0.0.1:8080"),
        (
            "plimsoll run --url YOUR_SERVER --model NAME",
            "measure a real one",
        ),
    ];
    let commands = commands.map(|(command, what)| (with_flags(command, flags), what));
    let widths = commands.iter().map(|(command, _)| command.len());
    let width = widths.max().unwrap_or(0);
    let lines = commands.iter().zip(["Next: ", "", ""]);
    lines
        .map(|((command, what), before)| format!("\n  {before:6}{command:width$}   {what}"))
        .collect()
}

/// Smoke, and step in short stages of one length, so that what comes out can be told beforehand.
fn profiles(seed: u64) -> Result<Vec<Profile>, Failure> {
    let lengths = || Overrides {
        prompt_tokens: Some(100),
        output_tokens: Some(32),
        ..Overrides::default()
    };
    let mut step = lengths();
    step.rate = Some(4.0);
    step.duration = Some(Duration::from_secs(7));
    for setting in ["steps=4", "warm_up=1s"] {
        step.others
            .push(setting.parse().map_err(|error| unusable(&error))?);
    }
    [("smoke", lengths()), ("step", step)]
        .into_iter()
        .map(|(name, overrides)| {
            Profile::load(name, &overrides, seed).map_err(|error| unusable(&error))
        })
        .collect()
}

fn tell_parts(
    model: &SimulatedModel,
    profiles: &[Profile],
    settings: &Settings,
    console: &Console,
) {
    let names: Vec<_> = profiles.iter().map(Profile::name).collect();
    let duration = profiles.iter().map(Profile::expected_duration).sum();
    for (part, detail) in [
        (
            format!("simulated model `{}`", model.name()),
            model.describe(),
        ),
        (
            "warehouse".to_owned(),
            format!("{} (Delta tables)", settings.warehouse),
        ),
        (
            format!("job of suites {}", names.join(", ")),
            about(duration),
        ),
    ] {
        console.note(&format!("  v {part:<28} {detail}"));
    }
}

fn request(model: &SimulatedModel, profiles: Vec<Profile>) -> Result<JobRequest, Failure> {
    let defect = "please report this as a bug";
    let slo: Slo = SLO
        .parse()
        .map_err(|error| Failure::failed(error, defect))?;
    let suites = profiles.into_iter().map(|profile| PerformanceSuite {
        profile,
        slo: slo.clone(),
        abort: AbortRules::default(),
    });
    Ok(JobRequest {
        target: Target {
            endpoint: Endpoint::new(&model.url(), None).map_err(|e| Failure::failed(e, defect))?,
            api_key_env: None,
            model: model.name().to_owned(),
            revision: None,
            stamping: Stamping::default(),
        },
        origin: Origin {
            labels: [("from".to_owned(), "quickstart".to_owned())].into(),
            triggered_by: user(&|variable| std::env::var(variable).ok()),
            trigger: Trigger::Manual,
            schedule_id: None,
            trace_id: None,
        },
        suites: suites.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_about_forty_seconds() {
        let profiles = profiles(1).expect("profiles that ship");
        let whole: Duration = profiles.iter().map(Profile::expected_duration).sum();
        assert!((30..=45).contains(&whole.as_secs()), "{whole:?}");
    }
}
