//! The text of `--help`: what `-h` says, the experts' flags, the settings' names, the examples.
//!
//! The usual long form gives each flag three lines; ours stays a table.

use std::ffi::OsString;

use clap::Command;
use clap::builder::StyledStr;

use super::usage::meant;
use crate::settings::key::{Key, Scope};
use crate::terminal::table::{Align, Heading, layout};

/// The long help that the arguments ask for; `None` where they ask for the short one.
pub(super) fn long(root: &Command, arguments: &[OsString]) -> Option<StyledStr> {
    let is_long = |argument: &OsString| argument == "--help" || argument == "help";
    if !arguments.iter().skip(1).any(is_long) {
        return None;
    }
    let name = meant(root, arguments).map(|command| command.get_name().to_owned());
    let mut root = root.clone();
    // Gives each command the global flags and its full name.
    root.build();
    let command = match name {
        Some(name) => root.find_subcommand(&name)?.clone(),
        None => root,
    };
    Some(of(command))
}

/// The long help of a command that is built.
pub(super) fn of(command: Command) -> StyledStr {
    let mut ending = StyledStr::from(settings(command.get_name()));
    if let Some(examples) = command.get_after_long_help() {
        ending = StyledStr::from(format!("{}\n\n{}", ending.ansi(), examples.ansi()));
    }
    command
        .mut_args(|argument| argument.hide_short_help(false))
        .after_help(ending)
        .render_help()
}

/// Where the settings of a command can be set, beside their flags.
fn settings(command: &str) -> String {
    const HEADINGS: [Heading; 3] = {
        const fn heading(text: &'static str) -> Heading {
            Heading {
                text,
                align: Align::Left,
                may_be_cut: false,
            }
        }
        [
            heading("Settings:"),
            heading("variable"),
            heading("in plimsoll.toml"),
        ]
    };
    let has = |key: &Key| match key.entry().scope {
        Scope::Everywhere => true,
        Scope::Commands(commands) => commands.contains(&command),
    };
    let rows: Vec<_> = Key::ALL
        .into_iter()
        .filter(has)
        .map(|key| {
            let entry = key.entry();
            [
                format!("  --{}", entry.flag),
                key.variable(),
                entry.name.to_owned(),
            ]
        })
        .collect();
    layout(&HEADINGS, &rows, usize::MAX)
}
