//! llama.cpp's server as a child process, and its own counters.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cache::Cache;
use crate::http;

/// A running server; ended when dropped.
pub(super) struct Engine {
    child: Child,
    address: SocketAddr,
}

/// Tokens that the server says it has worked on since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters {
    /// Tokens of prompts, those included that its cache still held.
    pub(super) prompt_tokens: i64,
    /// Tokens of replies.
    pub(super) output_tokens: i64,
}

/// How long loading the model may take.
const PATIENCE: Duration = Duration::from_secs(120);

impl Engine {
    /// Starts the server on a free port of this machine and waits until it is ready.
    ///
    /// # Errors
    /// Where it ends early or is not ready in time; its log says why.
    pub(super) fn start(cache: &Cache, slots: u32) -> Result<Self> {
        let address = http::free_address()?;
        let log = File::create(cache.server_log()).context("cannot write the server's log")?;
        let child = Command::new(cache.server_program())
            .arg("-m")
            .arg(cache.model_file())
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .args([
                "-np",
                &slots.to_string(),
                "-c",
                "4096",
                "-t",
                "2",
                "--metrics",
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("llama-server could not be started")?;
        let mut engine = Self { child, address };
        engine.wait_until_ready().with_context(|| {
            format!(
                "llama-server is not ready; its log: {}",
                cache.server_log().display()
            )
        })?;
        Ok(engine)
    }

    /// The base URL for clients.
    pub(super) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The name that the server gives its model: the file's.
    pub(super) fn model(&self) -> &'static str {
        "gemma.gguf"
    }

    /// What the server has counted so far.
    ///
    /// # Errors
    /// Where the server does not answer or does not count.
    pub(super) fn counters(&self) -> Result<Counters> {
        let (_, text) = http::get(self.address, "/metrics").context("the server is gone")?;
        Counters::parse(&text).context("the server's /metrics lacks a counter of tokens")
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if http::get(self.address, "/health").is_ok_and(|(status, _)| status == 200) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(200));
        }
        bail!("it did not answer within {} s", PATIENCE.as_secs())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The server holds nothing that ending it could lose, and the process may be gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Counters {
    /// What was counted after an earlier look.
    pub(super) fn since(self, earlier: &Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens - earlier.prompt_tokens,
            output_tokens: self.output_tokens - earlier.output_tokens,
        }
    }

    fn parse(metrics: &str) -> Option<Self> {
        let counter = |name: &str| -> Option<i64> {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name))?;
            line.strip_prefix(' ')?.trim().parse().ok()
        };
        Some(Self {
            prompt_tokens: counter("llamacpp:prompt_tokens_total")?
                + counter("llamacpp:prompt_tokens_cached_total")?,
            output_tokens: counter("llamacpp:tokens_predicted_total")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_are_read_by_their_whole_name() {
        let metrics = "# TYPE llamacpp:prompt_tokens_total counter\n\
                       llamacpp:prompt_tokens_total 27\n\
                       llamacpp:prompt_tokens_cached_total 3\n\
                       llamacpp:tokens_predicted_total 6\n\
                       llamacpp:tokens_predicted_seconds_total 0.2\n";
        let counters = Counters::parse(metrics).expect("all are there");
        assert_eq!(
            counters,
            Counters {
                prompt_tokens: 30,
                output_tokens: 6
            }
        );
        assert_eq!(Counters::parse("llamacpp:prompt_tokens_total 27\n"), None);
    }
}
