//! The flags of all settings: made from the list, added to the commands, read back.

use clap::{Arg, ArgMatches, Command};

use super::key::{Key, Scope};

/// Adds the flag of each setting to the commands that have it.
pub(crate) fn attach(mut command: Command) -> Command {
    for key in Key::ALL {
        match key.entry().scope {
            Scope::Everywhere => command = command.arg(flag(key).global(true)),
            Scope::Commands(names) => {
                for name in names {
                    command = command.mut_subcommand(name, |subcommand| subcommand.arg(flag(key)));
                }
            }
        }
    }
    command
}

/// The settings that the command line gives, in the list's order.
pub(crate) fn given(matches: &ArgMatches) -> Vec<(Key, String)> {
    let innermost = std::iter::successors(Some(matches), |outer| {
        outer.subcommand().map(|(_, inner)| inner)
    })
    .last()
    .unwrap_or(matches);
    Key::ALL
        .into_iter()
        .filter_map(|key| {
            // A command without the flag answers with an error, which means "not given" here.
            let value = innermost.try_get_one::<String>(key.entry().name).ok()??;
            Some((key, value.clone()))
        })
        .collect()
}

fn flag(key: Key) -> Arg {
    let entry = key.entry();
    let everywhere = entry.scope == Scope::Everywhere;
    Arg::new(entry.name)
        .long(entry.flag)
        .value_name(entry.value_name)
        .help(format!("{} [{}]", entry.doc, entry.default))
        .help_heading(everywhere.then_some("Everywhere"))
}
