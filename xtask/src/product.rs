//! Driving the built program as a person would: arguments in, exit code and text out.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::process::{Usage, Watched};

/// The program with a warehouse and a spool of its own, which go when this is dropped.
pub(crate) struct Product {
    program: PathBuf,
    place: TempDir,
}

/// What one `plimsoll run` left behind.
pub(crate) struct RunEnd {
    /// The id of the run that it published.
    pub(crate) run_id: String,
    /// The run's verdict.
    pub(crate) verdict: String,
    /// Processor time and memory over the program's life.
    pub(crate) usage: Usage,
}

impl Product {
    /// Takes a built program and an empty place for its data.
    ///
    /// # Errors
    /// Where no temporary folder can be made.
    pub(crate) fn new(program: PathBuf) -> Result<Self> {
        let place = tempfile::Builder::new()
            .prefix("plimsoll-bench-")
            .tempdir()
            .context("no temporary folder")?;
        Ok(Self { program, place })
    }

    /// The folder that goes with this value.
    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }

    /// Where its rows are published.
    pub(crate) fn warehouse(&self) -> PathBuf {
        self.place().join("warehouse")
    }

    /// Where its rows wait.
    pub(crate) fn spool(&self) -> PathBuf {
        self.place().join("spool")
    }

    /// A command of the program with the given arguments, on this value's warehouse.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(self.place())
            .env("PLIMSOLL_WAREHOUSE", self.warehouse())
            .env("PLIMSOLL_SPOOL", self.spool())
            .stdin(Stdio::null());
        command
    }

    /// Runs `plimsoll run --json` with the given arguments to its end.
    ///
    /// # Errors
    /// Where it published no run; what it wrote to stderr is part of the error.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<RunEnd> {
        let mut command = self.command(&["run", "--json", "-q"]);
        let child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("plimsoll could not be started")?;
        let (output, usage) = Watched::start(child).wait()?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let end: Option<serde_json::Value> = stdout
            .lines()
            .last()
            .and_then(|line| serde_json::from_str(line).ok());
        let text = |pointer: &str| {
            let value = end.as_ref().and_then(|end| end.pointer(pointer));
            value.and_then(|value| value.as_str()).map(str::to_owned)
        };
        match (text("/runs/0/run_id"), text("/verdict")) {
            (Some(run_id), Some(verdict)) => Ok(RunEnd {
                run_id,
                verdict,
                usage,
            }),
            _ => bail!(
                "plimsoll run {} published no run: {}",
                arguments.join(" "),
                complaint(output.status, &output.stderr)
            ),
        }
    }

    /// The report of one run, as `plimsoll report` prints it where there is no terminal.
    ///
    /// # Errors
    /// Where the command fails.
    pub(crate) fn report(&self, run_id: &str) -> Result<String> {
        let output = self
            .command(&["report", run_id])
            .output()
            .context("plimsoll could not be started")?;
        if !output.status.success() {
            bail!(
                "plimsoll report: {}",
                complaint(output.status, &output.stderr)
            );
        }
        String::from_utf8(output.stdout).context("the report is no UTF-8")
    }

    /// The rows of one query.
    ///
    /// # Errors
    /// Where the query fails, or a row does not have the asked shape.
    pub(crate) fn sql<Row: DeserializeOwned>(&self, query: &str) -> Result<Vec<Row>> {
        let output = self
            .command(&[
                "sql",
                query,
                "--format",
                "ndjson",
                "--max-rows",
                "unlimited",
            ])
            .output()
            .context("plimsoll could not be started")?;
        if !output.status.success() {
            bail!("{query}: {}", complaint(output.status, &output.stderr));
        }
        let text = String::from_utf8(output.stdout).context("the rows are no UTF-8")?;
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("{query}: {line}")))
            .collect()
    }

    /// The only row of one query.
    ///
    /// # Errors
    /// As [`Product::sql`], and where there is not exactly one row.
    pub(crate) fn sql_row<Row: DeserializeOwned>(&self, query: &str) -> Result<Row> {
        let mut rows = self.sql(query)?;
        match (rows.pop(), rows.len()) {
            (Some(row), 0) => Ok(row),
            (None, _) => bail!("{query}: no row"),
            (Some(_), more) => bail!("{query}: {} rows instead of one", more + 1),
        }
    }
}

fn complaint(status: ExitStatus, stderr: &[u8]) -> String {
    format!("{status}\n{}", String::from_utf8_lossy(stderr).trim_end())
}
