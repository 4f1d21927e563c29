//! Statements that are killed while their rows lie on disk.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::program::Place;

/// Some 400 MB of numbers in an order that they do not come in.
const LARGE: &str = "select max(n) from (select row_number() over (order by a.value % 7, b.value) as n \
                     from generate_series(1, 5000) as a cross join generate_series(1, 5000) as b)";

/// Whether a process has a file of the folder open, with a name or without.
fn has_open(process: u32, folder: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{process}/fd")).expect("it is under way");
    // One that is closed in the meantime is none.
    open.flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|file| file.starts_with(folder))
}

#[test]
fn what_a_killed_statement_spilled_is_gone_with_it() {
    let place = Place::new();
    let folder = place.path().join("spilled");
    fs::create_dir(&folder).expect("a folder");
    let folder = folder.canonicalize().expect("it is there");
    let mut sql = place.command(&["sql", "--memory", "64MiB", LARGE]);
    let mut process = sql
        .env("TMPDIR", &folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    while !has_open(process.id(), &folder) {
        let ended = process.try_wait().expect("it is ours");
        assert_eq!(ended, None, "it ended before anything was spilled");
    }
    process.kill().expect("it is under way");
    process.wait().expect("it is ours");
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);
}
