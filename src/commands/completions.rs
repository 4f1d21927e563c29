//! `plimsoll completions`: what a shell needs to complete our command line.

use std::io::Write as _;

use clap::Args;
use clap_complete::Shell;

use crate::cli;
use crate::failure::{Exit, Failure};

/// The arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  source <(plimsoll completions bash)
  plimsoll completions zsh > ~/.zfunc/_plimsoll
  plimsoll completions fish > ~/.config/fish/completions/plimsoll.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Writes the completions to standard output.
pub(crate) fn execute(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let mut command = cli::command();
    clap_complete::generate(args.shell, &mut command, "plimsoll", &mut script);
    std::io::stdout()
        .lock()
        .write_all(&script)
        .map_err(|error| Failure::output(&error))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_every_command_and_the_settings_flags() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut cli::command(), "plimsoll", &mut script);
            let script = String::from_utf8(script).expect("scripts are text");
            for word in ["quickstart", "simulate", "warehouse", "max-rows"] {
                assert!(script.contains(word), "{shell} lacks {word}");
            }
        }
    }
}
