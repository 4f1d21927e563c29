//! `plimsoll profiles`: the shapes of load that there are.

use clap::Args;
use plimsoll_executor::load::profile::{Overrides, Profile, ProfileError};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::terminal::Console;
use crate::terminal::line::clock;
use crate::terminal::table::{Align, Heading, layout};

/// The arguments of `profiles`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll profiles
  plimsoll profiles step

A profile's settings are changed for one run by the flags of `plimsoll run`,
any of them by --set: plimsoll run .. --profile step --set factor=1.5")]
pub(crate) struct ProfilesArgs {
    /// Show the file of this profile
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Lists the profiles, or shows one.
pub(crate) fn execute(args: &ProfilesArgs, console: &Console) -> Result<Exit, Failure> {
    match &args.name {
        Some(name) if console.json => console.json(&settings(&load(name)?))?,
        Some(name) => {
            let text = Profile::source(name).map_err(|error| unusable(&error))?;
            console.result(text.trim_end())?;
        }
        None => list(console)?,
    }
    Ok(Exit::Done)
}

/// What a profile that cannot be used means for a command.
pub(crate) fn unusable(error: &ProfileError) -> Failure {
    let help = match error {
        ProfileError::UnknownProfile { nearest, .. } => {
            format!("did you mean `{nearest}`? `plimsoll profiles` lists all")
        }
        ProfileError::UnknownKey { nearest, .. } => {
            format!("did you mean `{nearest}`? `plimsoll profiles NAME` shows all settings")
        }
        _ => "`plimsoll profiles NAME` shows a profile's settings".to_owned(),
    };
    Failure::usage(error, help)
}

fn load(name: &str) -> Result<Profile, Failure> {
    Profile::load(name, &Overrides::default(), 0).map_err(|error| unusable(&error))
}

fn settings(profile: &Profile) -> Value {
    json!({
        "name": profile.name(),
        "answers": profile.answers(),
        "limit_finding": profile.limit_finding(),
        "stages": profile.steady_stages(),
        "expected_seconds": profile.expected_duration().as_secs_f64(),
        "settings": profile.effective_settings(),
    })
}

fn list(console: &Console) -> Result<(), Failure> {
    let profiles = Profile::names().map(load).collect::<Result<Vec<_>, _>>()?;
    if console.json {
        let all: Vec<_> = profiles.iter().map(settings).collect();
        return console.json(&all);
    }
    const fn heading(text: &'static str, align: Align) -> Heading {
        Heading {
            text,
            align,
            may_be_cut: false,
        }
    }
    let headings = [
        heading("profile", Align::Left),
        heading("stages", Align::Right),
        heading("about", Align::Right),
        heading("answers", Align::Left),
    ];
    let rows: Vec<_> = profiles
        .iter()
        .map(|profile| {
            [
                profile.name().to_owned(),
                profile.steady_stages().to_string(),
                clock(profile.expected_duration()),
                profile.answers().to_owned(),
            ]
        })
        .collect();
    console.result(&layout(&headings, &rows, usize::MAX))
}
