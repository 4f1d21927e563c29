//! Steps of a chore: each announced, timed, and listed at the end.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What has run so far, with its wall time.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration)>,
}

impl Steps {
    /// Runs one command to its end and keeps its wall time.
    ///
    /// # Errors
    /// Where the command cannot start or ends with anything but success.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) -> Result<()> {
        println!("== {name}");
        let started = Instant::now();
        let status = command
            .status()
            .with_context(|| format!("{name}: {command:?} could not be started"))?;
        let took = started.elapsed();
        self.done.push((name.to_owned(), took));
        if !status.success() {
            bail!(
                "{name} ended with {status} after {:.1} s",
                took.as_secs_f64()
            );
        }
        println!("== {name}: done in {:.1} s", took.as_secs_f64());
        Ok(())
    }

    /// One line per step, and the sum.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("wall time\n");
        for (name, took) in &self.done {
            text.push_str(&format!("  {:>7.1} s  {name}\n", took.as_secs_f64()));
        }
        let total: Duration = self.done.iter().map(|(_, took)| *took).sum();
        text.push_str(&format!("  {:>7.1} s  all\n", total.as_secs_f64()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_stops_and_is_still_listed() {
        let mut steps = Steps::default();
        steps
            .run("good", &mut Command::new("true"))
            .expect("`true` succeeds");
        let error = steps
            .run("bad", &mut Command::new("false"))
            .expect_err("`false` fails");
        assert!(
            error
                .to_string()
                .starts_with("bad ended with exit status: 1")
        );
        let summary = steps.summary();
        assert!(summary.contains("good\n") && summary.contains("bad\n"));
        assert!(summary.ends_with("all\n"));
    }
}
