//! `cargo xtask bench NAME`: measuring the instrument itself.
//!
//! Each benchmark drives the release build of the program on this machine alone, prints its figures
//! beside their bounds and says of each whether it is met.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Subcommand;

use crate::cargo::cargo;

mod bound;
mod changes;
mod claims;
mod distribution;
mod floor;
mod load;
mod ours;
mod peers;
mod simulator;
mod start;
mod truth;
mod truth_log;
mod warehouse;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Error of the first-token stamp at 100, 500 and 1000 streams, beside a floor client
    Truth(truth::Args),
    /// Schedule lag, memory, start time and publishing
    Start(start::Args),
    /// Named answers cold and warm, statements beside other engines, publishing, growth
    Warehouse(warehouse::Args),
    /// How often changes of known size are found in series, and how often there is none
    Changes,
    /// What a claim costs on SQLite and PostgreSQL, and how soon a job's first request is sent
    Claims(claims::Args),
}

/// Runs one benchmark. The floor client has to be an optimised build to show the machine's limit,
/// so that all but the short form starts this program again as one.
pub(crate) fn run(args: &Args) -> Result<()> {
    let short = match &args.benchmark {
        Benchmark::Truth(args) => args.short,
        Benchmark::Warehouse(args) => args.short,
        Benchmark::Start(_) | Benchmark::Changes | Benchmark::Claims(_) => false,
    };
    if cfg!(debug_assertions) && !short {
        return run_optimised();
    }
    match &args.benchmark {
        Benchmark::Truth(args) => truth::run(args),
        Benchmark::Start(args) => start::run(args),
        Benchmark::Warehouse(args) => warehouse::run(args),
        Benchmark::Changes => changes::run(),
        Benchmark::Claims(args) => claims::run(args),
    }
}

fn run_optimised() -> Result<()> {
    let mut command: Command = cargo("run");
    command
        .args(["--release", "--quiet", "--package", "xtask", "--"])
        .args(std::env::args_os().skip(1));
    let status = command.status()?;
    if !status.success() {
        bail!("the optimised benchmark ended with {status}");
    }
    Ok(())
}
