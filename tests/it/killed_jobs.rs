//! Services and workers that are killed at random while they work on jobs: nothing that was accepted is
//! lost, no task has two completed runs, and every row is there once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::postgres::Postgres;
use crate::program::Place;
use crate::simulated::{Simulated, nobody};

/// Processes that work; each believes to be a host of its own, where that can be had.
const WORKERS: usize = 4;
/// Kills where nobody asks for more; `PLIMSOLL_FAULT_ROUNDS` asks for so many times ten.
const SHORT_KILLS: u64 = 6;
/// One in so many victims is stopped instead, until its leases are long over, and then wakes.
const ONE_SLEEPS_IN: u32 = 10;
const SLEEPS: Duration = Duration::from_secs(25);
/// Jobs that are under way at once.
const OPEN_JOBS: usize = 6;

fn kills() -> u64 {
    let asked = std::env::var("PLIMSOLL_FAULT_ROUNDS");
    asked.map_or(SHORT_KILLS, |rounds| {
        10 * rounds.parse::<u64>().expect("a number")
    })
}

/// A service of some role, which is started again whenever it was killed.
struct Part {
    role: &'static str,
    host: String,
    child: Child,
    /// Stopped until then.
    asleep: Option<Instant>,
}

struct Troupe<'a> {
    place: &'a Place,
    control: String,
    server: SocketAddr,
    parts: Vec<Part>,
}

impl<'a> Troupe<'a> {
    fn new(place: &'a Place, control: String) -> Self {
        let mut troupe = Self {
            place,
            control,
            server: nobody(),
            parts: Vec::new(),
        };
        troupe.add("api", "front".to_owned());
        for number in 0..WORKERS {
            troupe.add("worker", format!("host-{number}"));
        }
        troupe
    }

    fn add(&mut self, role: &'static str, host: String) {
        let child = self.start(role, &host);
        self.parts.push(Part {
            role,
            host,
            child,
            asleep: None,
        });
    }

    fn start(&self, role: &str, host: &str) -> Child {
        let listen = self.server.to_string();
        let arguments = [
            "serve",
            "--quiet",
            "--role",
            role,
            "--listen",
            &listen,
            "--control",
            &self.control,
            "--maintain",
            "off",
            "--tasks",
            "2",
            "--grace",
            "0s",
        ];
        let program = self.place.command(&arguments);
        let mut command = match geteuid().is_root() {
            false => program,
            // A name of its own makes it a host of its own; the process stays the same one.
            true => {
                let mut command = Command::new("unshare");
                let script = format!("hostname {host} && exec \"$0\" \"$@\"");
                command.args(["--uts", "--", "sh", "-c", &script]);
                command.arg(program.get_program()).args(program.get_args());
                for (name, value) in program.get_envs() {
                    match value {
                        Some(value) => command.env(name, value),
                        None => command.env_remove(name),
                    };
                }
                command.current_dir(self.place.path());
                command
            }
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().expect("the program starts")
    }

    /// Kills one of them and starts it again, or lets it sleep past its leases.
    fn strike(&mut self, random: &mut ChaCha8Rng) {
        let victim = random.random_range(0..self.parts.len());
        if self.parts[victim].asleep.is_some() {
            return;
        }
        let id = pid(&self.parts[victim].child);
        if self.parts[victim].role == "worker" && random.random_ratio(1, ONE_SLEEPS_IN) {
            kill(id, Signal::SIGSTOP).expect("it is under way");
            self.parts[victim].asleep = Some(Instant::now() + SLEEPS);
            return;
        }
        self.parts[victim].child.kill().expect("it is under way");
        self.parts[victim]
            .child
            .wait()
            .expect("it can be waited for");
        let (role, host) = (self.parts[victim].role, self.parts[victim].host.clone());
        self.parts[victim].child = self.start(role, &host);
    }

    fn wake(&mut self, all: bool) {
        for part in &mut self.parts {
            if part
                .asleep
                .is_some_and(|until| all || until <= Instant::now())
            {
                kill(pid(&part.child), Signal::SIGCONT).expect("it sleeps");
                part.asleep = None;
            }
        }
    }

    /// Hands a job in, which may be said twice where no answer came; `None` where nobody answers.
    fn submit(&self, key: &str) -> Option<String> {
        let server = format!("http://{}", self.server);
        let arguments = [
            "submit", "job.yaml", "--key", key, "--json", "--server", &server,
        ];
        let answer = self.place.answer(&arguments);
        match answer.code {
            Some(0) => Some(answer.json()["job_id"].as_str().expect("an id").to_owned()),
            _ => None,
        }
    }

    fn state(&self, job: &str) -> Option<Value> {
        let server = format!("http://{}", self.server);
        let answer = self
            .place
            .answer(&["job", job, "--json", "--server", &server]);
        (answer.code == Some(0)).then(|| answer.json())
    }
}

impl Drop for Troupe<'_> {
    fn drop(&mut self) {
        for part in &mut self.parts {
            part.child.kill().ok();
            part.child.wait().ok();
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id is small"))
}

fn torture(control: impl Fn(&Place) -> String, seed: u64) {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let text = format!(
        "subject: {{model: {}, endpoint: \"{}\"}}\nshared: true\nmax_attempts: 20\nsuites:\n{}",
        simulated.model,
        simulated.url,
        "  - performance: smoke\n    set: {workload.output_tokens: 2}\n".repeat(2)
    );
    std::fs::write(place.path().join("job.yaml"), text).expect("written");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut troupe = Troupe::new(&place, control(&place));
    let mut accepted = BTreeSet::new();
    let mut done = BTreeSet::new();
    let (mut struck, mut number) = (0, 0);
    let mut next = Instant::now();
    while struck < kills() {
        troupe.wake(false);
        if accepted.len() - done.len() < OPEN_JOBS {
            // The same key until there is an answer: it may be accepted already.
            if let Some(job) = troupe.submit(&format!("job {number}")) {
                accepted.insert(job);
                number += 1;
            }
        }
        let open: Vec<&String> = accepted.difference(&done).collect();
        let ended = open.into_iter().filter(|job| {
            troupe
                .state(job)
                .is_some_and(|state| state["state"] == "done")
        });
        let ended: Vec<String> = ended.cloned().collect();
        done.extend(ended);
        if next <= Instant::now() {
            troupe.strike(&mut random);
            struck += 1;
            next = Instant::now() + Duration::from_millis(random.random_range(50..1_500));
        }
    }
    troupe.wake(true);
    let begun = Instant::now();
    while done.len() < accepted.len() {
        assert!(
            begun.elapsed() < Duration::from_secs(150),
            "lost: {:?}",
            accepted.difference(&done)
        );
        let open: Vec<String> = accepted.difference(&done).cloned().collect();
        for job in open {
            if troupe
                .state(&job)
                .is_some_and(|state| state["state"] == "done")
            {
                done.insert(job);
            }
        }
    }
    let jobs: Vec<Value> = accepted
        .iter()
        .map(|job| troupe.state(job).expect("it answers"))
        .collect();
    // The books are brought, and what the killed left in the spool is published at a start.
    let begun = Instant::now();
    while place.value("select count(*) from jobs") != json!(accepted.len()) {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "rows of jobs are missing"
        );
    }
    drop(troupe);
    check(&place, &jobs);
    eprintln!(
        "{struck} kills with seed {seed}: {} jobs, {}",
        jobs.len(),
        verdicts(&place)
    );
}

fn verdicts(place: &Place) -> String {
    let rows = place.rows("select verdict, count(*) as runs from runs group by verdict order by 1");
    let texts = rows
        .iter()
        .map(|row| format!("{} {}", row["runs"], row["verdict"]));
    texts.collect::<Vec<_>>().join(", ")
}

/// What has to hold in the end.
fn check(place: &Place, jobs: &[Value]) {
    let none = |query: &str| {
        let rows = place.rows(query);
        assert!(rows.is_empty(), "{query}: {rows:?}");
    };
    none("select run_id from runs group by run_id having count(*) > 1");
    none(
        "select task_id from runs where verdict in ('passed', 'degraded', 'blocked', 'invalid') \
         group by task_id having count(*) > 1",
    );
    none("select job_id from jobs group by job_id having count(*) > 1");
    none("select run_key, request_id from raw.requests group by 1, 2 having count(*) > 1");
    none(
        "select q.run_key from raw.requests q left join runs r on r.run_key = q.run_key \
         where r.run_key is null limit 1",
    );
    let submitted = "select count(*) from audit.events where action = 'job_submitted'";
    assert_eq!(
        place.value(submitted),
        json!(jobs.len()),
        "each submission is an event"
    );
    for job in jobs {
        // On a machine that is busy a generator is rightly called invalid.
        let completed = ["passed", "degraded", "blocked", "invalid"].map(|verdict| json!(verdict));
        assert!(completed.contains(&job["verdict"]), "{job}");
        for task in job["tasks"].as_array().expect("a list") {
            let run = task["run_id"].as_str().expect("a run");
            let query = format!("select verdict, task_id from runs where run_id = '{run}'");
            let rows = place.rows(&query);
            assert_eq!(
                rows,
                [json!({"verdict": task["verdict"], "task_id": task["task_id"]})]
            );
        }
    }
}

#[test]
fn nothing_is_lost_where_jobs_are_in_sqlite() {
    let file = |place: &Place| -> String {
        let path: PathBuf = place.path().join("jobs/control.db");
        path.display().to_string()
    };
    torture(file, 1);
}

#[test]
fn nothing_is_lost_where_jobs_are_in_postgresql() {
    let server = Postgres::start();
    let url = server.database().to_string();
    torture(|_| url.clone(), 2);
}
