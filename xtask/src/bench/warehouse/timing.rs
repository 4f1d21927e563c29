//! Times and answers of processes that are asked line by line.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::machine;

/// One statement and its times in one engine.
#[derive(Deserialize)]
pub(super) struct Timed {
    pub(super) name: String,
    again_ms: Vec<f64>,
    /// As CSV.
    pub(super) answer: String,
}

impl Timed {
    /// The median of its times but the first.
    pub(super) fn median_ms(&self) -> f64 {
        quantile(&self.again_ms, 0.5)
    }
}

/// What a writer of Parquet came to.
#[derive(Deserialize)]
pub(super) struct Wrote {
    pub(super) rows: f64,
    pub(super) seconds: f64,
    pub(super) bytes: f64,
}

/// A program that runs on so many cores. Some engines take more threads than they are told to have, to
/// read with, which are not there on a machine of no more cores.
pub(super) fn on_cores(program: &Path, count: u16) -> Command {
    let (cores, count) = (machine::cores(), usize::from(count));
    if cores.len() <= count {
        return Command::new(program);
    }
    let cores: Vec<String> = cores[..count].iter().map(usize::to_string).collect();
    let mut command = Command::new("taskset");
    command.args(["-c", &cores.join(",")]).arg(program);
    command
}

/// Asks a process that answers queries line by line.
pub(super) fn times_of(mut command: Command, queries: &[Value]) -> Result<Vec<Timed>> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut asking = child.stdin.take().context("its input is piped")?;
    for query in queries {
        writeln!(asking, "{query}")?;
    }
    drop(asking);
    let done = child.wait_with_output()?;
    if !done.status.success() {
        bail!("{:?} ended with {}", command.get_program(), done.status);
    }
    let text = String::from_utf8(done.stdout)?;
    let timed: Vec<Timed> = text
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect::<Result<_>>()?;
    if timed.len() != queries.len() {
        bail!(
            "{} of {} statements were answered",
            timed.len(),
            queries.len()
        );
    }
    Ok(timed)
}

pub(super) fn last_line<T: serde::de::DeserializeOwned>(command: &mut Command) -> Result<T> {
    let done = command.output()?;
    if !done.status.success() {
        bail!("{}", String::from_utf8_lossy(&done.stderr));
    }
    let text = String::from_utf8(done.stdout)?;
    serde_json::from_str(text.lines().last().unwrap_or_default()).context("it tells what it did")
}

pub(super) fn parquet_files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for day in fs::read_dir(folder)? {
        let day = day?.path();
        if !day
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("date="))
        {
            continue;
        }
        for file in fs::read_dir(day)? {
            let file = file?;
            found.push((file.path(), file.metadata()?.len()));
        }
    }
    Ok(found)
}

pub(super) fn median_of(timed: &[Timed], name: &str) -> Result<f64> {
    let found = timed.iter().find(|timed| timed.name == name);
    Ok(found.context("every answer was timed")?.median_ms())
}

pub(super) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((q * last as f64).ceil() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

pub(super) fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

/// The cells of an answer in CSV, row by row, its headings left out. No answer has quoted cells.
pub(super) fn cells(answer: &str, has_heading: bool) -> Vec<String> {
    let rows = answer.lines().skip(usize::from(has_heading));
    let cells = rows.flat_map(|row| {
        row.split(',')
            .map(|cell| cell.trim_matches(['"', '\r']).to_owned())
    });
    cells.collect()
}

pub(super) fn same(ours: &[String], theirs: &[String], tolerance: f64) -> bool {
    let close = |(one, other): (&String, &String)| match (one.parse::<f64>(), other.parse::<f64>())
    {
        (Ok(one), Ok(other)) => (one - other).abs() <= tolerance * one.abs().max(1e-12),
        _ => one == other,
    };
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_number_by_number() {
        let ours = cells("a,b\nx,1.0\ny,2.5\n", true);
        assert_eq!(ours, ["x", "1.0", "y", "2.5"]);
        assert!(same(&ours, &cells("\"x\",1\r\n\"y\",2.5\r\n", false), 1e-9));
        assert!(!same(&ours, &cells("x,1\ny,2.6\n", false), 1e-9));
        assert!(same(&ours, &cells("x,1\ny,2.6\n", false), 0.1));
        assert!(!same(&ours, &cells("x,1\n", false), 1.0));
        assert!(!same(&ours, &cells("z,1\ny,2.5\n", false), 1.0));
    }

    #[test]
    fn quantiles_and_means_are_those_of_the_values() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.95), 4.0);
        assert!((geometric_mean(&[1.0, 4.0]) - 2.0).abs() < 1e-12);
    }
}
