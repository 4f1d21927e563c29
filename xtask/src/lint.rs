//! `cargo xtask lint`: format, lints and documentation, with every warning an error.
//!
//! Clippy compiles the dependencies once as check artifacts; the documentation reuses them.

use anyhow::Result;

use crate::cargo::cargo;
use crate::steps::Steps;

/// Runs all checks; stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    let outcome = run_steps(&mut steps);
    print!("{}", steps.summary());
    outcome
}

fn run_steps(steps: &mut Steps) -> Result<()> {
    steps.run("format", cargo("fmt").args(["--all", "--check"]))?;
    steps.run(
        "clippy",
        cargo("clippy").args([
            "--workspace",
            "--all-targets",
            "--locked",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    steps.run(
        "docs",
        cargo("doc")
            .args(["--workspace", "--no-deps", "--locked", "--quiet"])
            .arg("--document-private-items")
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}
