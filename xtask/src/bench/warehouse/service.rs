//! Processes that go on while they are asked: the service, and programs that answer line by line.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A process that answers each line with a line of JSON; it ends with this value.
pub(super) struct Asked {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Asked {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{:?} could not be started", command.get_program()))?;
        let answers = BufReader::new(child.stdout.take().context("its output is piped")?);
        Ok(Self { child, answers })
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, question: &str) -> Result<T> {
        let input = self.child.stdin.as_mut().context("its input is piped")?;
        writeln!(input, "{question}").context("it ended")?;
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            bail!("it ended before it answered: {}", self.child.wait()?);
        }
        serde_json::from_str(&line).with_context(|| line.clone())
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `plimsoll serve` on a warehouse.
pub(super) struct Service {
    process: Asked,
    address: SocketAddr,
}

impl Service {
    /// Starts it, maintaining as often as `maintain` says.
    pub(super) fn start(product: &Path, warehouse: &Path, maintain: &str) -> Result<Self> {
        let mut command = Command::new(product);
        command
            .args(["serve", "--json", "--quiet", "--listen", "127.0.0.1:0"])
            .args(["--maintain", maintain, "--warehouse"])
            .arg(warehouse)
            .args(["--role", "api", "--control"])
            .arg(warehouse.with_extension("control.db"))
            .current_dir(warehouse);
        let mut process = Asked::start(&mut command)?;
        let told: Value = process.answer().context("serve names its URL")?;
        let url = told["url"].as_str().context("serve names its URL")?;
        let address = url
            .trim_start_matches("http://")
            .parse()
            .context("serve names its URL")?;
        Ok(Self { process, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The memory that is resident now, in MB.
    pub(super) fn resident_mb(&self) -> Result<f64> {
        let status = format!("/proc/{}/status", self.process.child.id());
        let status = fs::read_to_string(status).context("serve ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        Ok(kib.context("the system says what is resident")? * 1024.0 / 1e6)
    }
}
