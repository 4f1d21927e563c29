//! The project's own chores: tests, checks, benchmarks and the run against a real model.
//!
//! One file per chore. None of them links the product: they build it and drive it as a
//! person would, so that this binary stays small and starts within seconds of a clone.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod cargo;
mod ci;
mod http;
mod lint;
mod machine;
mod peers;
mod postgresql;
mod process;
mod product;
mod real_model;
mod steps;
mod table;
mod test;
mod torture;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own chores")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run every test: with nextest where it is installed, else with `cargo test`
    Test(test::Args),
    /// Install the servers and engines that tests need; `test` does so itself
    Peers,
    /// Check format, lints and documentation
    Lint,
    /// Run all that CI runs: `lint`, `test` and the short benchmarks
    Ci,
    /// Measure the generator itself, beside a floor client and published figures
    Bench(bench::Args),
    /// Publish over storage that fails, with deaths at every place, for many rounds
    Torture(torture::Args),
    /// Measure a real model on llama.cpp's server and check that the rows add up
    RealModel(real_model::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Test(args) => test::run(&args),
        Chore::Peers => peers::run(),
        Chore::Lint => lint::run(),
        Chore::Ci => ci::run(),
        Chore::Bench(args) => bench::run(&args),
        Chore::Torture(args) => torture::run(&args),
        Chore::RealModel(args) => real_model::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes, and no stack: a missed bound is no bug of the chore.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
