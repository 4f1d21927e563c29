//! `cargo xtask test`: every test of the workspace, documentation examples included.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::cargo::cargo;
use crate::peers;
use crate::steps::Steps;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the tests whose names contain one of these; leaves out documentation examples
    names: Vec<String>,
}

/// Runs the tests; stops at the first command that fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut steps = Steps::default();
    let outcome = run_steps(&mut steps, args);
    print!("{}", steps.summary());
    outcome
}

fn run_steps(steps: &mut Steps, args: &Args) -> Result<()> {
    peers::install(steps)?;
    steps.run(
        "tests",
        &mut test_command(nextest_is_installed(), &args.names),
    )?;
    if args.names.is_empty() {
        steps.run(
            "documentation examples",
            cargo("test").args(["--workspace", "--doc", "--locked", "--quiet"]),
        )?;
    }
    Ok(())
}

fn nextest_is_installed() -> bool {
    cargo("nextest")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Both runners build the same targets with the same features, so neither recompiles what the
/// other compiled. `cargo test` takes one name only: with several it runs what contains any.
fn test_command(nextest: bool, names: &[String]) -> Command {
    if nextest {
        let mut command = cargo("nextest");
        command.args(["run", "--workspace", "--locked"]).args(names);
        command
    } else {
        let mut command = cargo("test");
        command.args(["--workspace", "--locked", "--lib", "--bins", "--tests"]);
        command.arg("--").args(names);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(nextest: bool) -> Vec<String> {
        test_command(nextest, &["ttft".to_owned()])
            .get_args()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn both_runners_test_the_whole_workspace() {
        assert_eq!(
            arguments(true),
            ["nextest", "run", "--workspace", "--locked", "ttft"]
        );
        assert_eq!(
            arguments(false),
            [
                "test",
                "--workspace",
                "--locked",
                "--lib",
                "--bins",
                "--tests",
                "--",
                "ttft"
            ]
        );
    }
}
