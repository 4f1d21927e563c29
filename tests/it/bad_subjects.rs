//! Subjects that cannot be measured: each has a message of its own, and no figure is told of it.

use serde_json::json;

use crate::program::Place;
use crate::simulated::{Simulated, nobody, server_that_says};

fn run(place: &Place, url: &str, model: &str) -> crate::program::Answer {
    place.answer(&["run", "--url", url, "--model", model])
}

#[test]
fn nobody_listens() {
    let place = Place::new();
    let address = nobody();
    let answer = run(&place, &format!("http://{address}/v1"), "m");
    answer.refuses(1, &address.to_string(), "");
    assert_eq!(place.spooled(), [""; 0]);
    assert!(!place.path().join("plimsoll-data").exists());
}

/// A script reads the last line, whatever happened.
#[test]
fn a_job_that_came_to_no_run_says_so_as_json_too() {
    let place = Place::new();
    let address = nobody();
    let url = format!("http://{address}/v1");
    let answer = place.answer(&["run", "--url", &url, "--model", "m", "--json"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let said = answer.json();
    assert_eq!(said["verdict"], "error");
    assert_eq!((&said["job_id"], &said["runs"]), (&json!(null), &json!([])));
    let error = said["error"].as_str().expect("what happened");
    assert!(error.contains(&address.to_string()), "{error}");
    let help = said["help"].as_str().expect("what to do");
    let told = format!("error: {error}\nhelp:  {help}");
    assert!(answer.stderr.contains(&told), "{answer:?}");
}

#[test]
fn a_host_that_does_not_exist() {
    let place = Place::new();
    run(&place, "http://no-such-host.invalid/v1", "m").refuses(1, "no-such-host.invalid", "");
}

#[test]
fn a_url_that_is_none() {
    let place = Place::new();
    run(&place, "gpu7:8000", "m").refuses(2, "gpu7:8000", "http");
}

#[test]
fn a_wrong_key() {
    let place = Place::new();
    let simulated = Simulated::start_with(
        &place,
        &["--api-key-env", "SIM_KEY"],
        &[("SIM_KEY", "right")],
    );
    let answer = run(&place, &simulated.url, &simulated.model);
    answer.refuses(1, "401", "--api-key-env");
}

#[test]
fn a_model_that_the_server_does_not_have() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let answer = run(&place, &simulated.url, "no-such-model");
    answer.refuses(1, "no-such-model", &simulated.model);
    assert_eq!(place.value("select count(*) from peak_rps"), json!(0));
}

#[test]
fn a_url_without_its_path() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let url = simulated
        .url
        .strip_suffix("/v1")
        .expect("the simulator serves under /v1");
    run(&place, url, &simulated.model).refuses(1, "404", "/v1");
}

#[test]
fn a_server_of_something_else() {
    let place = Place::new();
    let address = server_that_says(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\n\
         connection: close\r\n\r\n<html>hi</html>",
    );
    run(&place, &format!("http://{address}/v1"), "m").refuses(1, "OpenAI", "");
}

#[test]
fn a_server_that_speaks_no_http() {
    let place = Place::new();
    let address = server_that_says("SSH-2.0-OpenSSH_9.2\r\n");
    run(&place, &format!("http://{address}/v1"), "m").refuses(1, &address.to_string(), "");
}

#[test]
fn a_server_that_hangs() {
    let place = Place::new();
    let simulated = Simulated::start(&place, &["--fault", "hang"]);
    let answer = place.answer(&simulated.run(&["--set", "request.timeout=1s"]));
    answer.refuses(1, "1 s", "");
}

#[test]
fn a_server_that_dies_in_the_middle() {
    let place = Place::new();
    let simulated = Simulated::start(
        &place,
        &["--ttft", "5ms", "--itl", "1ms", "--fault", "crash:after=40"],
    );
    let answer = place.answer(&simulated.run(&[
        "--profile",
        "max_throughput",
        "--concurrency",
        "2",
        "--requests",
        "200",
        "--output-tokens",
        "4",
        "--json",
    ]));
    // What was measured is there, and the subject did not do well.
    assert_eq!(answer.code, Some(4), "{answer:?}");
    assert_eq!(answer.json()["verdict"], "blocked");
    let failed = place.value(
        "select count(*) from raw.requests where status = 'connection' and failure_kind = 'dependency'",
    );
    assert!(failed.as_i64() > Some(10), "{failed}");
    assert_eq!(
        place.value("select sum(sent - ok - errors) from reports.stages"),
        json!(0)
    );
}
