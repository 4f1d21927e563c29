//! `cargo xtask bench changes`: how often changes are found, and how often there is none.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::bound::{self, Bound};
use crate::cargo::{Build, PRODUCT, Target, TargetKind, build_executables};
use crate::table;

const FIND: Target = Target {
    package: "plimsoll-warehouse",
    name: "find_changes",
    kind: TargetKind::Example,
};

/// What came of many series of one kind.
#[derive(Deserialize)]
struct Rates {
    kind: String,
    series: f64,
    /// Series whose change was found within two places.
    found: f64,
    /// Series with a point that is none.
    false_alarms: f64,
    /// The same among all series together, where false discoveries are held down.
    discovered: f64,
    false_discoveries: f64,
}

/// Prints the rates; fails where there are more false ones than there may be.
pub(crate) fn run() -> Result<()> {
    // With the product, so that both have the same features, and nothing is built twice.
    let built = build_executables(Build::Release, &[PRODUCT, FIND])?;
    let program = built.last().context("cargo built the example")?;
    let done = Command::new(program).output()?;
    if !done.status.success() {
        bail!("find_changes: {}", String::from_utf8_lossy(&done.stderr));
    }
    let text = String::from_utf8(done.stdout)?;
    let rates: Vec<Rates> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let percent = |part: f64, of: f64| format!("{:.1} %", 100.0 * part / of);
    let rows: Vec<[String; 6]> = rates
        .iter()
        .map(|rates| {
            let of = rates.series;
            [
                rates.kind.clone(),
                rates.series.to_string(),
                percent(rates.found, of),
                percent(rates.false_alarms, of),
                percent(rates.discovered, of),
                percent(rates.false_discoveries, of),
            ]
        })
        .collect();
    let heads = [
        "series",
        "number",
        "found alone",
        "false alarms alone",
        "found among all",
        "false among all",
    ];
    println!("{}", table::render(heads, &rows));
    let none = rates.iter().filter(|rates| rates.kind.starts_with("none"));
    let worst = none
        .map(|rates| rates.false_alarms / rates.series)
        .fold(0.0, f64::max);
    let sum = |of: fn(&Rates) -> f64| {
        rates
            .iter()
            .filter(|r| !r.kind.starts_with("drift"))
            .map(of)
            .sum::<f64>()
    };
    let (wrong, right) = (sum(|r| r.false_discoveries), sum(|r| r.discovered));
    let bounds = [
        Bound::at_most(
            "false alarms in series without a change",
            Some(100.0 * worst),
            6.0,
            " %",
        ),
        Bound::at_most(
            "false ones of all that is believed",
            Some(100.0 * wrong / (wrong + right)),
            5.0,
            " %",
        ),
    ];
    match bound::print_all(&bounds) {
        0 => Ok(()),
        missed => bail!("{missed} bounds are missed"),
    }
}
