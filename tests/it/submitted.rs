//! Jobs from the command line: submitted to a service, followed, ended, and not lost with it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::program::{Answer, Listen, Place, Running};
use crate::simulated::{Simulated, nobody};

/// A service, once it says where it is.
fn serving(place: &Place, server: SocketAddr, flags: &[&str]) -> Running {
    let listen = server.to_string();
    let flags = [&["serve", "--listen", &listen], flags].concat();
    let mut serving = Running::start(&mut place.command(&flags), Listen::ToResults);
    serving.wait_for(&listen);
    serving
}

/// A command that talks to it.
fn tell(place: &Place, server: SocketAddr, arguments: &[&str]) -> Answer {
    let url = format!("http://{server}");
    let mut command = place.command(arguments);
    let output = command
        .env("PLIMSOLL_SERVER", url)
        .env("USER", "ada")
        .output();
    Answer::of(output.expect("the program starts"))
}

fn short_job(simulated: &Simulated, model: &str) -> String {
    format!(
        "subject: {{model: {model}, endpoint: \"{}\"}}\n\
         suites:\n  - performance: smoke\n    set: {{workload.output_tokens: 4}}\n",
        simulated.url
    )
}

fn long_job(simulated: &Simulated) -> String {
    format!(
        "subject: {{model: {}, endpoint: \"{}\"}}\n\
         suites:\n  - performance: stability\n    set: {{rate: 10, duration: 60s, warm_up: 0s, \
         workload.output_tokens: 4}}\n",
        simulated.model, simulated.url
    )
}

fn file(place: &Place, text: &str) -> &'static str {
    std::fs::write(place.path().join("job.yaml"), text).expect("written");
    "job.yaml"
}

/// Asks for a job until it is as wanted.
fn until(place: &Place, server: SocketAddr, job: &str, there: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let answer = tell(place, server, &["job", job, "--json"]);
        if answer.code == Some(0) && there(&answer.json()) {
            return answer.json();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{answer:?}");
    }
}

fn measures(job: &Value) -> bool {
    job["tasks"][0]["progress"]["doing"] == "measuring"
}

#[test]
fn a_job_is_submitted_and_its_verdict_is_the_exit_code() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let server = nobody();
    let serving = serving(&place, server, &[]);
    let job = file(&place, &short_job(&simulated, &simulated.model));
    let answer = tell(&place, server, &["submit", job, "--wait", "--json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let result = answer.json();
    assert_eq!(
        (&result["verdict"], &result["profile"]),
        (&json!("passed"), &json!("smoke"))
    );
    assert!(result["summary"]["ttft_ns_p50"].is_i64(), "{result}");
    assert_eq!(result["runs"][0]["run_id"], result["run_id"]);
    // The rows are there for everyone, the job's own a moment later.
    assert_eq!(place.value("select triggered_by from runs"), json!("ada"));
    let begun = Instant::now();
    while place.rows("select verdict, runs from jobs").is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the job's row never came"
        );
    }
    assert_eq!(
        place.rows("select verdict, runs from jobs"),
        [json!({"verdict": "passed", "runs": 1})]
    );

    let wrong = file(&place, &short_job(&simulated, "llama"));
    let answer = tell(&place, server, &["submit", wrong, "--wait"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(
        answer.stdout.contains("error") && answer.stdout.contains("llama"),
        "{answer:?}"
    );
    let list = tell(&place, server, &["jobs"]);
    assert_eq!(list.stdout.lines().count(), 3, "{list:?}");

    serving.signal(Signal::SIGTERM);
    assert_eq!(serving.end().code, Some(0));
}

#[test]
fn a_job_outlives_the_service_that_took_it() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let server = nobody();
    let killed = serving(&place, server, &[]);
    let job = file(
        &place,
        &short_job(&simulated, &simulated.model)
            .replace("smoke", "stability")
            .replace("set: {", "set: {rate: 10, duration: 4s, warm_up: 0s, "),
    );
    let answer = tell(&place, server, &["submit", job, "--json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let id = answer.json()["job_id"].as_str().expect("an id").to_owned();
    until(&place, server, &id, measures);
    killed.signal(Signal::SIGKILL);
    killed.end();

    let again = serving(&place, server, &[]);
    let answer = tell(&place, server, &["job", &id, "--follow", "--json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert_eq!(answer.json()["verdict"], "passed", "{answer:?}");
    again.signal(Signal::SIGTERM);
    assert_eq!(again.end().code, Some(0));
    let runs = place.rows("select attempt, verdict from runs order by attempt");
    assert_eq!(
        runs,
        [
            json!({"attempt": 1, "verdict": "incomplete"}),
            json!({"attempt": 2, "verdict": "passed"})
        ]
    );
}

#[test]
fn a_service_that_ends_puts_its_tasks_back() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let server = nobody();
    let first = serving(&place, server, &["--grace", "1s"]);
    let answer = tell(
        &place,
        server,
        &["submit", file(&place, &long_job(&simulated)), "--json"],
    );
    let id = answer.json()["job_id"].as_str().expect("an id").to_owned();
    until(&place, server, &id, measures);
    let begun = Instant::now();
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end().code, Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );

    let second = serving(&place, server, &[]);
    let again = until(&place, server, &id, measures);
    assert_eq!(again["tasks"][0]["attempt"], 2, "{again}");
    let cancelled = tell(&place, server, &["cancel", &id]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let answer = tell(&place, server, &["job", &id, "--follow"]);
    assert_eq!(answer.code, Some(130), "{answer:?}");
    let paused = tell(&place, server, &["pause"]);
    assert!(paused.stdout.contains("held back"), "{paused:?}");
    let list = tell(&place, server, &["jobs"]);
    assert!(list.stderr.contains("ada holds all jobs back"), "{list:?}");
    assert_eq!(tell(&place, server, &["resume"]).code, Some(0));
    second.signal(Signal::SIGTERM);
    assert_eq!(second.end().code, Some(0));
}

#[test]
fn what_cannot_be_submitted_is_said_with_what_to_do() {
    let place = Place::new();
    let server = nobody();
    let job = file(
        &place,
        "{subject: {modle: m}, suites: [{performance: stpe}]}",
    );
    let answer = tell(&place, server, &["submit", job]);
    answer.refuses(1, "no server answers", "plimsoll serve");
    tell(&place, server, &["submit", "none.yaml"]).refuses(2, "none.yaml", "a job file");
    let serving = serving(&place, server, &["--role", "api"]);
    let answer = tell(&place, server, &["submit", job]);
    answer.refuses(2, "4 things are wrong with the job", "correct the file");
    assert!(
        answer
            .stderr
            .contains("  suites[0].performance: no profile is named `stpe`"),
        "{answer:?}"
    );
    tell(&place, server, &["job", "abcdef0123"]).refuses(1, "no job", "jobs");
    tell(&place, server, &["job", "abc"]).refuses(2, "`abc` names no job", "");
    serving.signal(Signal::SIGTERM);
    assert_eq!(serving.end().code, Some(0));
    // What answers is something else.
    let simulated = Simulated::quick(&place);
    let base = simulated.url.replace("/v1", "");
    let answer = place.answer(&["jobs", "--server", &base]);
    answer.refuses(1, "not as `plimsoll serve` does", "--server");
    let answer = place.answer(&["serve", "--control", "sqlite:///proc/none/control.db"]);
    answer.refuses(1, "control store", "--control");
    let answer = place.answer(&["serve", "--control", "mysql://h/d"]);
    answer.refuses(2, "neither a file", "control.db");
}

/// A minute is the shortest that a pattern can say; what was missed is made up for at once.
#[test]
fn a_schedule_hands_jobs_in_by_itself() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let server = nobody();
    let first = serving(&place, server, &[]);
    let job = short_job(&simulated, &simulated.model).replace('\n', "\n  ");
    let text = format!("name: often\ncron: '* * * * *'\ncatch_up: last\njob:\n  {job}");
    std::fs::write(place.path().join("often.yaml"), text).expect("written");
    let answer = tell(&place, server, &["schedules", "set", "often.yaml"]);
    assert!(
        answer.stdout.starts_with("schedule often: next 20"),
        "{answer:?}"
    );
    let begun = Instant::now();
    let done = loop {
        let jobs = tell(&place, server, &["jobs", "--json", "--state", "done"]).json();
        if let Some(job) = jobs.as_array().and_then(|jobs| jobs.first()) {
            break job.clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{jobs}");
    };
    assert_eq!(
        (
            &done["trigger"],
            &done["schedule_id"],
            &done["triggered_by"],
            &done["verdict"]
        ),
        (
            &json!("schedule"),
            &json!("often"),
            &json!("ada"),
            &json!("passed")
        )
    );
    let answer = tell(&place, server, &["schedules", "pause", "often"]);
    assert_eq!(answer.stdout, "schedule often: next held back by ada\n");
    let list = tell(&place, server, &["schedules"]);
    assert!(
        list.stdout.contains("* * * * *") && list.stdout.contains("held back"),
        "{list:?}"
    );
    let removed = tell(&place, server, &["schedules", "remove", "often"]);
    assert_eq!(removed.stdout, "schedule often is removed; its jobs stay\n");
    tell(&place, server, &["schedules", "resume", "often"]).refuses(
        1,
        "no schedule `often`",
        "lists all",
    );
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end().code, Some(0));
    let run = place.rows("select trigger, schedule_id from runs");
    assert_eq!(
        run[0],
        json!({"trigger": "schedule", "schedule_id": "often"})
    );
}
