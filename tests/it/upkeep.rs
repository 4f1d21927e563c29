//! `plimsoll warehouse`: making one, looking whether it is sound, keeping it quick.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::program::{Listen, Place, Running};
use crate::simulated::Simulated;

#[test]
fn a_warehouse_is_made_looked_at_and_maintained() {
    let place = Place::new();
    for action in ["optimize", "vacuum", "check"] {
        let none = place.answer(&["warehouse", action]);
        none.refuses(1, "holds no warehouse", "plimsoll warehouse init");
    }
    let made = place.done(&["warehouse", "init", "--json"]);
    assert_eq!(made.json()["tables"], json!(14));
    let simulated = Simulated::quick(&place);
    place.done(&simulated.run(&["--requests", "8"]));
    let checked = place.done(&["warehouse", "check", "--json"]).json();
    assert_eq!(
        (&checked["sound"], &checked["runs"], &checked["findings"]),
        (&json!(true), &json!(1), &json!([]))
    );
    // What was measured just now is left as it is.
    let optimized = place.done(&["warehouse", "optimize"]);
    assert!(optimized.stdout.contains("nothing to do"), "{optimized:?}");
    let vacuumed = place.done(&["warehouse", "vacuum"]);
    assert!(
        vacuumed.stdout.contains("nothing to delete"),
        "{vacuumed:?}"
    );
    assert_eq!(place.value("select count(*) from runs"), json!(1));
}

#[test]
fn a_run_that_waits_in_the_spool_for_ever_is_not_called_sound() {
    let place = Place::new();
    place.done(&["warehouse", "init"]);
    let torn = "plimsoll-data/spool/01a21a5d-968f-7a83-a7c9-8f15f35a8563";
    let folder = place.path().join(torn);
    fs::create_dir_all(&folder).expect("made");
    for (name, text) in [("manifest.json", "{\"garb"), ("lock", "")] {
        fs::write(folder.join(name), text).expect("written");
    }
    let checked = place.answer(&["warehouse", "check"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let said = "not sound: 14 tables, 0 files, 0 runs, and 1 of the spool not published";
    assert!(checked.stdout.contains(said), "{checked:?}");
    assert!(checked.stderr.contains(torn), "{checked:?}");
    let told = place.answer(&["warehouse", "check", "--json"]).json();
    let unpublished = told["unpublished"].as_array().expect("a list");
    assert_eq!((&told["sound"], unpublished.len()), (&json!(false), 1));
    assert!(folder.exists(), "what cannot be published stays");
}

/// The tables' logs are summed up beside the service, and it goes on answering.
#[test]
fn the_service_maintains_its_warehouse() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let mut run = simulated.run(&["--requests", "1"]);
    run.extend([["--profile", "smoke"]; 11].concat());
    place.done(&run);
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0", "--maintain", "1s"]);
    let mut serving = Running::start(&mut command, Listen::ToProgress);
    serving.wait_for("maintained reports.runs: checkpoint");
    let hint = "plimsoll-data/warehouse/reports/runs/_delta_log/_last_checkpoint";
    assert!(place.path().join(hint).exists());
    assert_eq!(place.value("select count(*) from runs"), json!(11));
    serving.signal(Signal::SIGTERM);
    assert_eq!(serving.end().code, Some(0));
}

#[test]
fn a_warehouse_that_lost_a_file_is_not_sound() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    place.done(&simulated.run(&["--requests", "8"]));
    let stages = place.path().join("plimsoll-data/warehouse/reports/stages");
    let entries = stages.read_dir().expect("a table");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let file = paths.filter(|path| path.extension().is_some_and(|end| end == "parquet"));
    file.for_each(|path| std::fs::remove_file(path).expect("removed"));
    let checked = place.answer(&["warehouse", "check"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(
        checked
            .stdout
            .contains("broken: reports.stages: file part-"),
        "{checked:?}"
    );
    assert!(checked.stdout.contains("is missing"), "{checked:?}");
    assert!(
        checked
            .stdout
            .ends_with("not sound: 14 tables, 7 files, 1 runs\n"),
        "{checked:?}"
    );
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let place = Place::new();
    for (arguments, error, help) in [
        (
            &["warehouse", "mend"][..],
            "mend",
            "init, check, optimize, vacuum",
        ),
        (
            &["warehouse", "vacuum", "--older-than", "1h"][..],
            "shorter than a day",
            "leftovers",
        ),
        (
            &["warehouse", "vacuum", "--older-than", "8d"],
            "longer than a week",
            "remember for a week",
        ),
        (
            &["warehouse", "optimize", "--dry-run"][..],
            "--dry-run",
            "leave them out",
        ),
        (
            &["warehouse", "optimize", "--retention", "runs=1d"][..],
            "`runs` is no table that is kept by day",
            "requests=180d",
        ),
    ] {
        place.answer(arguments).refuses(2, error, help);
    }
    assert!(!place.path().join("plimsoll-data").exists());
}
