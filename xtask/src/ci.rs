//! `cargo xtask ci`: what CI runs, on a developer's machine.
//!
//! Each part is called by the name that people type, so that what CI runs and what the README
//! says cannot drift apart.

use std::process::Command;

use anyhow::Result;

use crate::cargo::cargo;
use crate::steps::Steps;

/// Runs the parts in the order of their cost; stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    let outcome = PARTS.iter().try_for_each(|part| {
        steps.run(&format!("cargo xtask {}", part.join(" ")), &mut xtask(part))
    });
    print!("{}", steps.summary());
    outcome
}

const PARTS: [&[&str]; 4] = [
    &["lint"],
    &["bench", "truth", "--short"],
    &["bench", "warehouse", "--short"],
    &["test"],
];

fn xtask(part: &[&str]) -> Command {
    let mut command = cargo("xtask");
    command.args(part);
    command
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cargo::workspace_root;

    #[test]
    fn the_script_of_ci_runs_the_same_parts_in_the_same_order() {
        let script = fs::read_to_string(workspace_root().join(".ci/run")).expect("it is there");
        let calls: Vec<&str> = script
            .lines()
            .filter_map(|line| line.strip_prefix("cargo xtask "))
            .collect();
        let parts: Vec<String> = PARTS.iter().map(|part| part.join(" ")).collect();
        assert_eq!(calls, parts);
    }
}
