//! Wrong usage: exit code 2, before anything is touched.

use std::fs;

use crate::program::Place;

fn check(arguments: &[&str], error: &str, help: &str) {
    let place = Place::new();
    place.answer(arguments).refuses(2, error, help);
    let entries = fs::read_dir(place.path()).expect("it is there").count();
    assert_eq!(entries, 0, "wrong usage leaves nothing behind");
}

const RUN: [&str; 5] = ["run", "--url", "http://127.0.0.1:9/v1", "--model", "m"];

#[test]
fn an_unknown_flag() {
    check(&["runs", "--modell", "m"], "--modell", "--model");
}

#[test]
fn a_model_without_a_name() {
    let run = ["run", "--url", "http://127.0.0.1:9/v1", "--model", ""];
    check(&run, "--model", "run --help");
}

#[test]
fn an_unknown_command() {
    check(&["reprot", "latest"], "reprot", "report");
}

#[test]
fn an_unknown_profile() {
    check(&[&RUN[..], &["--profile", "stpe"]].concat(), "stpe", "step");
}

#[test]
fn an_unknown_setting_of_a_profile() {
    check(
        &[&RUN[..], &["--set", "concurency=4"]].concat(),
        "concurency",
        "concurrency",
    );
}

#[test]
fn an_slo_that_is_none() {
    check(
        &[&RUN[..], &["--slo", "ttft_p99=fast"]].concat(),
        "fast",
        "",
    );
}

#[test]
fn a_key_variable_that_is_not_set() {
    check(
        &[&RUN[..], &["--api-key-env", "NO_SUCH_KEY"]].concat(),
        "NO_SUCH_KEY",
        "export",
    );
}

#[test]
fn an_unknown_key_in_the_settings_file() {
    let place = Place::new();
    fs::write(place.path().join("plimsoll.toml"), "warehose = \"x\"\n").expect("it can be written");
    place.answer(&["runs"]).refuses(2, "warehose", "warehouse");
}

#[test]
fn an_unknown_variable_is_only_a_warning() {
    let place = Place::new();
    let mut command = place.command(&["runs"]);
    let output = command
        .env("PLIMSOLL_WAREHOSE", "x")
        .output()
        .expect("the program starts");
    let answer = crate::program::Answer::of(output);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.stderr.contains("PLIMSOLL_WAREHOSE"), "{answer:?}");
}

#[test]
fn a_run_that_several_or_none_answer_to() {
    let place = Place::new();
    let answer = place.answer(&["report", "abc"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    let answer = place.answer(&["report", "abcdef12"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
}
