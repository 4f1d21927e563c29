//! The commands: one file each, with its arguments and what it does.

pub(crate) mod completions;
pub(crate) mod control;
pub(crate) mod jobs;
pub(crate) mod profiles;
pub(crate) mod quickstart;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schedules;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod sql;
pub(crate) mod submit;
pub(crate) mod warehouse;

mod job;
mod reading;
mod recovery;
mod runtime;

use crate::cli::{Asked, Command, Invocation};
use crate::failure::{Exit, Failure};
use crate::logging;
use crate::settings::Settings;
use crate::terminal::{self, Console};

/// Does what was asked for.
///
/// # Errors
/// What stopped the command, and what to do about it.
pub(crate) fn execute(asked: Asked) -> Result<Exit, Failure> {
    let invocation = match asked {
        Asked::Run(invocation) => *invocation,
        Asked::Text {
            text,
            for_stderr: true,
        } => {
            terminal::say(text.ansi().to_string().trim_end());
            return Ok(Exit::Usage);
        }
        Asked::Text {
            text,
            for_stderr: false,
        } => {
            terminal::show(text.ansi().to_string().trim_end())?;
            return Ok(Exit::Done);
        }
    };
    let Invocation {
        global,
        flags,
        command,
    } = invocation;
    let console = Console::detect(&global);
    logging::start(global.verbose, console.stderr.colour);
    // Only what a command needs is looked at: some have no settings.
    let settings = || {
        let (settings, warnings) = Settings::load(flags, global.config.as_deref())?;
        warnings.iter().for_each(|warning| terminal::say(warning));
        Ok::<_, Failure>(settings)
    };
    match command {
        Command::Completions(args) => completions::execute(&args),
        Command::Profiles(args) => profiles::execute(&args, &console),
        Command::Simulate(args) => simulate::execute(&args, &console),
        Command::Quickstart(args) => quickstart::execute(&args, &settings()?, &console),
        Command::Run(args) => run::execute(&args, &settings()?, &console),
        Command::Runs(args) => runs::execute(&args, &settings()?, &console),
        Command::Report(args) => report::execute(&args, &settings()?, &console),
        Command::Sql(args) => sql::execute(&args, &settings()?, &console),
        Command::Warehouse(args) => warehouse::execute(&args, &settings()?, &console),
        Command::Serve(args) => serve::execute(&args, &settings()?, &console),
        Command::Submit(args) => submit::execute(&args, &settings()?, &console),
        Command::Jobs(args) => jobs::execute_list(&args, &settings()?, &console),
        Command::Job(args) => jobs::execute_one(&args, &settings()?, &console),
        Command::Cancel(args) => control::execute_cancel(&args, &settings()?, &console),
        Command::Schedules(args) => schedules::execute(&args, &settings()?, &console),
        Command::Pause(args) => control::execute_pause(&args, &settings()?, &console),
        Command::Resume(args) => control::execute_resume(&args, &settings()?, &console),
    }
}
