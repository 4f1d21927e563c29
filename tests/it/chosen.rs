//! What somebody chose, and where the program gets it from.

use std::fs;

use crate::program::{Answer, Place};

/// The values 1 to 5, of which as many as the settings allow are shown.
const FIVE: [&str; 4] = [
    "sql",
    "select value from generate_series(1, 5)",
    "--format",
    "csv",
];

/// How many rows come with these flags and variables.
fn shown(place: &Place, flags: &[&str], variables: &[(&str, &str)]) -> usize {
    let output = place
        .command(&[&FIVE[..], flags].concat())
        .envs(variables.iter().copied())
        .output()
        .expect("the program starts");
    let answer = Answer::of(output);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let rows = answer.stdout.lines().count() - 1;
    assert_eq!(
        answer.stderr.contains("there are more rows: --max-rows"),
        rows < 5,
        "{answer:?}"
    );
    rows
}

#[test]
fn a_flag_goes_before_a_variable_before_a_file_before_the_default() {
    let place = Place::new();
    let limit = |rows: u8| format!("[sql]\nmax_rows = {rows}\n");
    let variable = [("PLIMSOLL_SQL_MAX_ROWS", "2")];
    assert_eq!(shown(&place, &[], &[]), 5);
    fs::write(place.path().join("plimsoll.toml"), limit(4)).expect("it can be written");
    assert_eq!(shown(&place, &[], &[]), 4);
    fs::write(place.path().join("other.toml"), limit(3)).expect("it can be written");
    assert_eq!(shown(&place, &["--config", "other.toml"], &[]), 3);
    assert_eq!(shown(&place, &["--config", "other.toml"], &variable), 2);
    assert_eq!(shown(&place, &["--max-rows", "1"], &variable), 1);
}

#[test]
fn a_settings_file_that_is_named_has_to_be_there() {
    let place = Place::new();
    place
        .answer(&["runs", "--config", "none.toml"])
        .refuses(2, "none.toml", "--config");
}

#[test]
fn the_places_may_be_chosen_by_variables() {
    let place = Place::new();
    let simulated = crate::simulated::Simulated::quick(&place);
    let variables = [
        ("PLIMSOLL_WAREHOUSE", "elsewhere/warehouse"),
        ("PLIMSOLL_SPOOL", "elsewhere/spool"),
    ];
    let output = place
        .command(&simulated.run(&["--profile", "smoke"]))
        .envs(variables)
        .output()
        .expect("the program starts");
    let answer = Answer::of(output);
    assert!(answer.stdout.contains("smoke"), "{answer:?}");
    assert!(
        place
            .path()
            .join("elsewhere/warehouse/reports/runs")
            .is_dir()
    );
    assert!(place.path().join("elsewhere/spool").is_dir());
    assert!(!place.path().join("plimsoll-data").exists());
}

#[test]
fn an_answer_in_a_file_is_whole_and_alone() {
    let place = Place::new();
    let answer = place.done(&[&FIVE[..], &["-o", "five.csv"]].concat());
    assert_eq!(answer.stdout, "");
    let file = place.path().join("five.csv");
    let whole = "value\n1\n2\n3\n4\n5\n";
    assert_eq!(fs::read_to_string(&file).expect("it is there"), whole);
    // A statement that fails leaves the old answer as it was.
    let fails = "select 1 / (3 - value) from generate_series(1, 5)";
    let answer = place.answer(&["sql", fails, "-o", "five.csv"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), whole);
    let names = place.path().read_dir().expect("it is there").count();
    assert_eq!(names, 1, "nothing half-written stays");
}
