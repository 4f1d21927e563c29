//! `cargo xtask torture`: the tests of faults, for as long as one likes.
//!
//! The same tests run with every other one, in a few rounds.

use anyhow::Result;

use crate::cargo::cargo;
use crate::peers;
use crate::steps::Steps;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Random rounds; past a few, every place where there can be a fault is tried as well
    #[arg(long, default_value_t = 25)]
    rounds: u32,
}

/// Runs the tests of faults, and says what they met.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut steps = Steps::default();
    let mut command = cargo("test");
    command
        .args([
            "--locked",
            "--package",
            "plimsoll-ingest",
            "--test",
            "faults",
        ])
        .args(["--", "--nocapture"])
        .env("PLIMSOLL_FAULT_ROUNDS", args.rounds.to_string());
    let outcome = peers::install(&mut steps)
        .and_then(|()| steps.run("faults while publishing", &mut command))
        .and_then(|()| {
            let mut command = cargo("test");
            command
                .args(["--locked", "--workspace", "--lib"])
                .args(["maintenance::tests::faults", "--", "--nocapture"])
                .env("PLIMSOLL_FAULT_ROUNDS", args.rounds.to_string());
            steps.run("faults while maintaining", &mut command)
        })
        .and_then(|()| {
            let mut command = cargo("test");
            command
                .args([
                    "--locked",
                    "--package",
                    "plimsoll",
                    "--test",
                    "it",
                    "killed::",
                ])
                .args(["--", "--nocapture", "--test-threads", "1"])
                .env("PLIMSOLL_FAULT_ROUNDS", args.rounds.to_string());
            steps.run("processes killed at random", &mut command)
        });
    let outcome = outcome.and_then(|()| {
        let mut command = cargo("test");
        command
            .args([
                "--locked",
                "--package",
                "plimsoll-executor",
                "--test",
                "control",
            ])
            .args(["invariants", "--", "--nocapture"])
            // A schedule takes a twentieth of a second.
            .env(
                "PLIMSOLL_FAULT_ROUNDS",
                (u64::from(args.rounds) * 40).to_string(),
            );
        steps.run("schedules of jobs, workers and clocks", &mut command)
    });
    let outcome = outcome.and_then(|()| {
        let mut command = cargo("test");
        command
            .args([
                "--locked",
                "--package",
                "plimsoll",
                "--test",
                "it",
                "killed_jobs",
            ])
            .args(["--", "--nocapture", "--test-threads", "1"])
            .env("PLIMSOLL_FAULT_ROUNDS", args.rounds.to_string());
        steps.run("services and workers killed at random", &mut command)
    });
    print!("{}", steps.summary());
    outcome
}
