//! `plimsoll simulate` as a child process, with its truth log.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::product::Product;

use super::truth_log::TruthLog;

/// How the simulated model behaves.
pub(crate) struct Model {
    /// Requests served at once; more than any benchmark sends.
    pub(crate) slots: u32,
    /// Time to the first token.
    pub(crate) ttft: &'static str,
    /// Time between tokens.
    pub(crate) itl: &'static str,
}

/// A running simulator; ended when dropped.
pub(crate) struct Simulator {
    child: Child,
    /// What it prints: a line of JSON when it listens, and one when it has ended.
    says: BufReader<ChildStdout>,
    listening: Listening,
    truth: PathBuf,
}

/// How long the simulator may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

impl Simulator {
    /// Starts the simulator and waits until it listens.
    ///
    /// # Errors
    /// Where it does not start.
    pub(crate) fn start(product: &Product, model: &Model) -> Result<Self> {
        let truth = product.place().join("truth.jsonl");
        let slots = model.slots.to_string();
        let mut child = product
            .command(&[
                "simulate", "--json", "--port", "0", "--slots", &slots, "--queue", "10000",
            ])
            .args([
                "--ttft",
                model.ttft,
                "--itl",
                model.itl,
                "--prompt-token",
                "0us",
            ])
            .arg("--truth")
            .arg(&truth)
            .stdout(Stdio::piped())
            .spawn()
            .context("the simulator could not be started")?;
        let stdout = child
            .stdout
            .take()
            .context("the simulator's output was not piped")?;
        let mut says = BufReader::new(stdout);
        let mut line = String::new();
        says.read_line(&mut line)?;
        let listening = serde_json::from_str(&line)
            .with_context(|| format!("the simulator did not say where it listens: {line:?}"))?;
        Ok(Self {
            child,
            says,
            listening,
            truth,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where its URL holds no address.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        let url = &self.listening.url;
        let authority = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next());
        let address = authority.and_then(|authority| authority.parse().ok());
        address.with_context(|| format!("`{url}` holds no address"))
    }

    /// The name of the model that it serves.
    pub(crate) fn model(&self) -> &str {
        &self.listening.model
    }

    /// The base URL for clients.
    pub(crate) fn url(&self) -> &str {
        &self.listening.url
    }

    /// Ends the simulator as a service manager would and reads what it logged.
    ///
    /// # Errors
    /// Where it does not end in time, or its log is not whole.
    pub(crate) fn stop(mut self) -> Result<TruthLog> {
        let pid = i32::try_from(self.child.id()).context("no process id")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).context("the simulator was gone")?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("the simulator did not end within {} s", PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        let ended: Ended = serde_json::from_str(&line)
            .with_context(|| format!("the simulator did not say what it did: {line:?}"))?;
        if ended.truth_lost > 0 {
            bail!("{} requests are missing in the truth log", ended.truth_lost);
        }
        TruthLog::read(&self.truth)
    }
}

#[derive(Deserialize)]
struct Listening {
    url: String,
    model: String,
}

#[derive(Deserialize)]
struct Ended {
    truth_lost: u64,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Only reached on the way out of an error, which is what the user gets to see.
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}
