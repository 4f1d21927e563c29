//! Places that cannot be written, are full, are newer than this release, or are shared.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::program::{Answer, Place};
use crate::simulated::Simulated;

#[test]
fn a_warehouse_that_cannot_be_written_is_said_before_measuring() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    fs::write(place.path().join("file"), "").expect("it can be written");
    let answer = place.answer(&simulated.run(&["--warehouse", "file/warehouse"]));
    answer.refuses(1, "file/warehouse", "--warehouse");
    let totals = simulated.end();
    assert_eq!(
        totals["completed"],
        json!(0),
        "nothing was measured for nothing"
    );
}

/// A relative place need not begin with a dot.
#[test]
fn a_spool_is_made_where_it_is_named_from_here() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let there = [
        "--spool",
        "data/spool",
        "--profile",
        "smoke",
        "--requests",
        "1",
    ];
    let done = place.done(&simulated.run(&there));
    assert!(place.path().join("data/spool").is_dir(), "{done:?}");
    assert_eq!(
        place.value("select count(*) from runs"),
        serde_json::json!(1)
    );
}

#[test]
fn a_warehouse_in_a_folder_that_delta_takes_for_another_is_refused() {
    let place = Place::new();
    for name in ["a%41", "two\nlines"] {
        let there = format!("{name}/warehouse");
        let answer = place.answer(&["warehouse", "init", "--warehouse", &there]);
        answer.refuses(2, "choose a folder of another name", "the default is");
        assert!(!place.path().join(name).exists());
    }
    place.done(&["warehouse", "init", "--warehouse", "100% real/warehouse"]);
}

#[test]
fn a_damaged_log_is_told_in_a_line_without_stack_frames() {
    let place = Place::new();
    place.done(&["warehouse", "init"]);
    let log = "plimsoll-data/warehouse/raw/requests/_delta_log";
    let commit = place.path().join(log).join("00000000000000000001.json");
    fs::write(commit, "{\"garb").expect("written");
    for command in [
        &["sql", "select count(*) from requests"][..],
        &["warehouse", "check"],
    ] {
        let mut command = place.command(command);
        let output = command.env("RUST_BACKTRACE", "1").output();
        let answer = Answer::of(output.expect("the program starts"));
        assert_eq!(answer.code, Some(1), "{answer:?}");
        let said = format!("{}{}", answer.stdout, answer.stderr);
        assert!(said.contains("requests"), "{said}");
        assert!(
            !said.contains("backtrace") && !said.contains(" 1: "),
            "{said}"
        );
    }
}

#[test]
fn a_spool_that_cannot_be_written_is_said_before_measuring() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    fs::write(place.path().join("file"), "").expect("it can be written");
    let answer = place.answer(&simulated.run(&["--spool", "file/spool"]));
    answer.refuses(1, "file/spool", "--spool");
}

/// A shell script in a namespace of its own, where it may mount file systems. `$0` is the folder,
/// and `"$@"` the command.
fn with_mounts(script: &str, folder: &Path, command: &Command) -> Command {
    let mut shell = Command::new("unshare");
    shell
        .args(["--user", "--map-root-user", "--mount", "--", "sh", "-c"])
        .arg(script)
        .arg(folder)
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}

/// Fills a disk of one megabyte, makes room, and lets the next run publish what was measured.
const FULL_THEN_LARGER: &str = r#"
mount -t tmpfs -o size=1m small "$0" || exit 99
"$@" >first.out 2>first.err
code=$?
mount -o remount,size=64m "$0" || exit 98
"$1" run --url "$4" --model "$6" >second.out 2>second.err || exit 97
"$1" sql "select verdict, count(*) as requests, \
    (select sum(sent) from reports.stages s where s.run_key = r.run_key) as sent \
    from reports.runs r join raw.requests q on q.run_key = r.run_key \
    where r.profile = 'stability' group by verdict, r.run_key" --format ndjson >rows.ndjson
exit $code
"#;

#[test]
fn a_full_disk_ends_the_run_with_its_name_and_loses_nothing() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let disk = place.path().join("plimsoll-data");
    fs::create_dir(&disk).expect("it can be made");
    let run = place.command(&simulated.run(&[
        "--profile",
        "stability",
        "--rate",
        "200",
        "--duration",
        "20s",
        "--output-tokens",
        "64",
    ]));
    let output = with_mounts(FULL_THEN_LARGER, &disk, &run)
        .output()
        .expect("`unshare` is on every Linux");
    let wrote = |name: &str| fs::read_to_string(place.path().join(name)).expect(name);
    let first = wrote("first.err");
    assert_eq!(output.status.code(), Some(1), "{output:?} {first}");
    assert!(first.contains("No space left"), "{first}");
    assert!(first.contains("\nhelp: "), "{first}");

    assert!(
        wrote("second.err").contains("published run"),
        "{}",
        wrote("second.err")
    );
    let rows: Value = serde_json::from_str(&wrote("rows.ndjson")).expect("one row");
    assert_eq!(rows["verdict"], "incomplete", "{rows}");
    assert_eq!(rows["requests"], rows["sent"], "{rows}");
    assert!(rows["requests"].as_i64() > Some(100), "{rows}");
}

#[test]
fn a_table_of_a_newer_schema_is_refused_and_left_alone() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    place.done(&simulated.run(&["--profile", "smoke"]));
    let log = place
        .path()
        .join("plimsoll-data/warehouse/reports/runs/_delta_log");
    let newer = make_newer(&log);
    for arguments in [
        &["sql", "select * from runs"][..],
        &simulated.run(&["--profile", "smoke"]),
    ] {
        let answer = place.answer(arguments);
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.stderr.contains("`reports.runs`"), "{answer:?}");
        assert!(answer.stderr.contains("schema version 999"), "{answer:?}");
    }
    let commits = fs::read_dir(&log).expect("it is there").count();
    assert_eq!(commits, newer, "nothing was written to it");
}

#[test]
fn a_table_that_another_tool_changed_is_refused_before_measuring() {
    let place = Place::new();
    place.done(&["warehouse", "init"]);
    let log = "plimsoll-data/warehouse/reports/stages/_delta_log/00000000000000000001.json";
    let protocol = json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 4}});
    fs::write(place.path().join(log), format!("{protocol}\n")).expect("written");
    let simulated = Simulated::quick(&place);
    let answer = place.answer(&simulated.run(&["--profile", "smoke"]));
    answer.refuses(1, "`reports.stages`", "another tool changed the table");
    assert!(answer.stderr.contains("cannot be written"), "{answer:?}");
    assert_eq!(place.value("select count(*) from stages"), json!(0));
    assert_eq!(simulated.end()["completed"], json!(0));
}

/// Shows a folder as it is, and lets nobody write there.
const READ_ONLY: &str = r#"
mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" || exit 99
exec "$@"
"#;

#[test]
fn a_warehouse_that_may_only_be_read_is_refused_before_measuring() {
    let place = Place::new();
    place.done(&["warehouse", "init"]);
    let simulated = Simulated::quick(&place);
    let run = place.command(&simulated.run(&["--profile", "smoke"]));
    let warehouse = place.path().join("plimsoll-data/warehouse");
    let output = with_mounts(READ_ONLY, &warehouse, &run).output();
    let answer = Answer::of(output.expect("`unshare` is on every Linux"));
    answer.refuses(1, "Read-only file system", "let this user write there");
    assert_eq!(simulated.end()["completed"], json!(0));
}

/// Adds a commit that says that a later release changed the table; how many entries the log has.
fn make_newer(log: &Path) -> usize {
    let commits = || -> Vec<_> {
        let mut commits: Vec<_> = fs::read_dir(log)
            .expect("it is there")
            .map(|entry| entry.expect("it can be read").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .collect();
        commits.sort();
        commits
    };
    let mut metadata = commits()
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).expect("a commit is text");
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .rfind(|action| action.get("metaData").is_some())
        .expect("a table has metadata");
    let version = &mut metadata["metaData"]["configuration"]["plimsoll.schema_version"];
    assert!(version.is_string(), "the table says its version: {version}");
    *version = json!("999");
    let next = log.join(format!("{:020}.json", commits().len()));
    fs::write(next, format!("{metadata}\n")).expect("it can be written");
    fs::read_dir(log).expect("it is there").count()
}

#[test]
fn two_runs_at_once_into_one_warehouse_are_both_there() {
    let place = Place::new();
    let simulated = Simulated::start(&place, &["--slots", "64", "--ttft", "5ms", "--itl", "1ms"]);
    thread::scope(|scope| {
        let runs = [1, 2, 3].map(|_| {
            scope.spawn(|| place.answer(&simulated.run(&["--profile", "smoke", "--json"])))
        });
        for run in runs {
            let answer = run.join().expect("no panic");
            // With three generators on one machine each may rightly say that it was late.
            assert!(matches!(answer.code, Some(0 | 5)), "{answer:?}");
            assert_eq!(answer.json()["published"], true, "{answer:?}");
        }
    });
    assert_eq!(
        place.value("select count(distinct run_id) from reports.runs"),
        json!(3)
    );
    assert_eq!(
        place.value("select count(*) from raw.requests"),
        place.value("select sum(sent) from reports.stages")
    );
    assert_eq!(place.spooled(), [""; 0]);
}
