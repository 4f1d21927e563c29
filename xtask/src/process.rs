//! Processor time and memory of a child process, sampled while it lives.

use std::fs;
use std::process::{Child, Output};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// How often a child is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// A child that is being looked at until it ends.
pub(crate) struct Watched {
    child: Child,
    ended: mpsc::Sender<()>,
    watcher: JoinHandle<Usage>,
}

/// What a process has used by certain moments.
#[derive(Clone, Default)]
pub(crate) struct Usage {
    samples: Vec<Sample>,
}

#[derive(Clone, Copy)]
struct Sample {
    at_ns: i64,
    cpu_ns: i64,
    peak_kib: u64,
}

impl Watched {
    /// Starts looking at a child.
    pub(crate) fn start(child: Child) -> Self {
        let (ended, end) = mpsc::channel();
        let id = child.id();
        let watcher = thread::spawn(move || {
            let mut usage = Usage::default();
            loop {
                usage.samples.extend(sample(id));
                match end.recv_timeout(EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return usage,
                }
            }
        });
        Self {
            child,
            ended,
            watcher,
        }
    }

    /// Waits for the child's end; its output is what was piped.
    ///
    /// # Errors
    /// Where the child cannot be waited for.
    pub(crate) fn wait(self) -> Result<(Output, Usage)> {
        let output = self
            .child
            .wait_with_output()
            .context("the child was lost")?;
        drop(self.ended);
        let usage = self
            .watcher
            .join()
            .map_err(|_| anyhow!("the watcher panicked"))?;
        Ok((output, usage))
    }
}

impl Usage {
    /// The most memory that was resident at once, in MB.
    pub(crate) fn peak_mb(&self) -> f64 {
        let peak = self.samples.iter().map(|sample| sample.peak_kib).max();
        peak.unwrap_or(0) as f64 * 1024.0 / 1e6
    }

    /// Processor time between two moments of the monotonic clock, to the nearest samples.
    pub(crate) fn cpu_between(&self, from_ns: i64, until_ns: i64) -> Option<Duration> {
        let within = |sample: &&Sample| (from_ns..=until_ns).contains(&sample.at_ns);
        let first = self.samples.iter().find(within)?;
        let last = self.samples.iter().rev().find(within)?;
        let covered = last.at_ns - first.at_ns;
        if covered == 0 {
            return None;
        }
        let share = (until_ns - from_ns) as f64 / covered as f64;
        let nanoseconds = (last.cpu_ns - first.cpu_ns) as f64 * share;
        Some(Duration::from_nanos(nanoseconds as u64))
    }
}

/// One look; `None` once the process is gone.
fn sample(id: u32) -> Option<Sample> {
    let pid = Pid::from_raw(i32::try_from(id).ok()?);
    let cpu = ClockId::pid_cpu_clock_id(pid).ok()?.now().ok()?;
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    Some(Sample {
        at_ns: monotonic_ns(),
        cpu_ns: nanoseconds(cpu),
        peak_kib: high_water_kib(&status)?,
    })
}

/// Nanoseconds of the system's monotonic clock, which all processes share.
pub(crate) fn monotonic_ns() -> i64 {
    clock_ns(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds of processor time that the calling thread has used.
pub(crate) fn thread_cpu_ns() -> i64 {
    clock_ns(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn clock_ns(clock: ClockId) -> i64 {
    nanoseconds(clock_gettime(clock).expect("Linux has this clock"))
}

fn nanoseconds(time: nix::sys::time::TimeSpec) -> i64 {
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

fn high_water_kib(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn processor_time_is_scaled_to_the_asked_window() {
        let at = |at_ns, cpu_ns| Sample {
            at_ns,
            cpu_ns,
            peak_kib: 2048,
        };
        let usage = Usage {
            samples: vec![at(0, 0), at(100, 10), at(200, 60), at(300, 61)],
        };
        assert_eq!(usage.cpu_between(100, 200), Some(Duration::from_nanos(50)));
        assert_eq!(usage.cpu_between(50, 250), Some(Duration::from_nanos(100)));
        assert_eq!(usage.cpu_between(110, 190), None);
        assert_eq!(usage.peak_mb(), 2.097_152);
    }

    #[test]
    fn the_high_water_mark_is_read_from_the_status() {
        let status = "Name:\tplimsoll\nVmHWM:\t  131072 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(high_water_kib(status), Some(131_072));
        assert_eq!(high_water_kib("Name:\tx\n"), None);
    }

    #[test]
    fn a_child_is_seen_while_it_lives() {
        let child = Command::new("cat")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`cat` is on every machine");
        let (output, _) = Watched::start(child).wait().expect("`cat` ends at once");
        assert!(output.status.success());
    }
}
