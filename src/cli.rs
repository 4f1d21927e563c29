//! The command line: what can be typed, and what the program makes of it.

mod help;
mod usage;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::commands::completions::CompletionsArgs;
use crate::commands::control::{CancelArgs, PauseArgs, ResumeArgs};
use crate::commands::jobs::{JobArgs, JobsArgs};
use crate::commands::profiles::ProfilesArgs;
use crate::commands::quickstart::QuickstartArgs;
use crate::commands::report::ReportArgs;
use crate::commands::run::RunArgs;
use crate::commands::runs::RunsArgs;
use crate::commands::schedules::SchedulesArgs;
use crate::commands::serve::ServeArgs;
use crate::commands::simulate::SimulateArgs;
use crate::commands::sql::SqlArgs;
use crate::commands::submit::SubmitArgs;
use crate::commands::warehouse::WarehouseArgs;
use crate::failure::Failure;
use crate::settings::flags;
use crate::settings::key::Key;

/// Measures how much load a model server may safely carry.
#[derive(Debug, Parser)]
#[command(
    name = "plimsoll",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    after_long_help = "\
Examples:
  plimsoll quickstart
      try everything on this machine: no GPU, no network
  plimsoll run --url http://gpu7:8000/v1 --model llama --profile step
      measure a server until it breaks its SLO
  plimsoll sql \"select * from peak_rps\"
      ask for what was measured

A setting comes from its flag, then its variable, then plimsoll.toml in the
current folder, then the default.

Exit codes: 0 passed, 1 failed to do the work, 2 wrong usage, 3 degraded,
4 blocked, 5 invalid measurement, 6 incomplete, 130 cancelled."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes, settings apart.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Read settings from FILE [plimsoll.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Write results as JSON to standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress and no notes on standard error
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log to standard error; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Try everything on this machine: no GPU, no network
    Quickstart(QuickstartArgs),
    /// Measure a model server now
    Run(RunArgs),
    /// List what was measured
    Runs(RunsArgs),
    /// Show the report of a run
    Report(ReportArgs),
    /// Ask the warehouse in SQL
    Sql(SqlArgs),
    /// Serve the warehouse over HTTP, and work on jobs
    Serve(ServeArgs),
    /// Hand a job to a server
    Submit(SubmitArgs),
    /// List the jobs of a server
    Jobs(JobsArgs),
    /// Show a job, or follow it
    Job(JobArgs),
    /// End a job
    Cancel(CancelArgs),
    /// Hold all jobs back
    Pause(PauseArgs),
    /// Let all jobs go on
    Resume(ResumeArgs),
    /// Jobs that a server hands in by itself
    Schedules(SchedulesArgs),
    /// Make the warehouse, and keep it small and quick
    Warehouse(WarehouseArgs),
    /// Be a model server with a known truth
    Simulate(SimulateArgs),
    /// List the load profiles, or show one
    Profiles(ProfilesArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

/// A command line that makes sense.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// What every command takes.
    pub(crate) global: Global,
    /// The settings that it gives.
    pub(crate) flags: Vec<(Key, String)>,
    /// What to do.
    pub(crate) command: Command,
}

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Do something.
    Run(Box<Invocation>),
    /// Show this help or version text; nobody asked for it where it is for standard error.
    Text {
        /// With its styles.
        text: StyledStr,
        /// Whether the command line was incomplete.
        for_stderr: bool,
    },
}

/// The whole command line with the flags of all settings.
pub(crate) fn command() -> clap::Command {
    flags::attach(Cli::command())
}

/// Understands a command line, the program's name first.
///
/// # Errors
/// It makes no sense: a usage failure that names the nearest thing that does.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, Failure> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let parsed = command()
        .try_get_matches_from(&arguments)
        .and_then(|matches| Ok((flags::given(&matches), Cli::from_arg_matches(&matches)?)));
    match parsed {
        Ok((flags, Cli { global, command })) => Ok(Asked::Run(Box::new(Invocation {
            global,
            flags,
            command,
        }))),
        Err(error) if usage::is_text(&error) => Ok(Asked::Text {
            text: match error.kind() {
                ErrorKind::DisplayHelp => help::long(&command(), &arguments),
                _ => None,
            }
            .unwrap_or_else(|| error.render()),
            for_stderr: error.use_stderr(),
        }),
        Err(error) => Err(usage::explain(&error, &command(), &arguments)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::key::Scope;

    fn given(line: &str) -> Vec<(Key, String)> {
        match parse(line.split(' ').map(OsString::from)).expect(line) {
            Asked::Run(invocation) => invocation.flags,
            Asked::Text { text, .. } => panic!("{text}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_setting_has_its_flag_on_each_of_its_commands() {
        let minimal = |name: &str| {
            match name {
                "sql" => "sql x",
                "serve" => "serve",
                "warehouse" => "warehouse optimize",
                "submit" => "submit f",
                "jobs" => "jobs",
                "job" => "job j",
                "cancel" => "cancel j",
                "pause" => "pause",
                "resume" => "resume",
                "schedules" => "schedules",
                other => panic!("no minimal command line for `{other}`"),
            }
            .to_owned()
        };
        for key in Key::ALL {
            let entry = key.entry();
            let lines = match entry.scope {
                Scope::Everywhere => vec!["runs".to_owned()],
                Scope::Commands(names) => names.iter().map(|name| minimal(name)).collect(),
            };
            for line in lines {
                let line = format!("plimsoll {line} --{} value", entry.flag);
                assert_eq!(given(&line), [(key, "value".to_owned())], "{line}");
            }
        }
    }

    #[test]
    fn what_is_global_may_stand_before_the_command_or_after() {
        for line in [
            "plimsoll --warehouse w -q runs",
            "plimsoll runs -q --warehouse w",
        ] {
            assert_eq!(given(line), [(Key::Warehouse, "w".to_owned())], "{line}");
        }
    }

    #[test]
    fn help_fits_a_screen() {
        let mut root = command();
        root.build();
        let names: Vec<_> = root
            .get_subcommands()
            .map(|sub| sub.get_name().to_owned())
            .collect();
        let mut commands: Vec<clap::Command> = vec![root.clone()];
        commands.extend(
            names
                .iter()
                .filter_map(|name| root.find_subcommand(name).cloned()),
        );
        let mut faults = Vec::new();
        for command in commands {
            let name = command.get_name().to_owned();
            let short = command.clone().render_help().to_string();
            let long = help::of(command).to_string();
            for line in short.lines().chain(long.lines()) {
                if line.chars().count() > 80 {
                    faults.push(format!("{name} is too wide: {line}"));
                }
            }
            if short.lines().count() > 40 {
                faults.push(format!("{name} -h is too long"));
            }
            if name != "help" && !long.contains("\nExamples:\n") {
                faults.push(format!("{name} --help has no examples"));
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}
