//! What `check` finds, by breaking warehouses one way at a time.

use std::path::PathBuf;

use plimsoll_ingest::{CaseRow, GpuSampleRow, RequestRow, RunId, RunRow, Table};
use plimsoll_warehouse::{Checked, Chore, Retention, Severity, WarehouseOptions, check, maintain};

use crate::place::{EVERYTHING, Place, ask, at, blank, envelope, id, request, run, stage, tick};

async fn checked(place: &Place) -> Checked {
    let options = WarehouseOptions {
        threads: 2,
        ..WarehouseOptions::default()
    };
    check(&place.location, options, Retention::default())
        .await
        .expect("it can be looked at")
}

/// A run of yesterday with a stage and two requests.
async fn measured(place: &Place, fill: u8) -> RunId {
    measured_before(place, fill, 1).await
}

/// The same of so many days ago.
async fn measured_before(place: &Place, fill: u8, days: i64) -> RunId {
    let then = plimsoll_ingest::Timestamp::now().micros() - days * 86_400_000_000;
    let run_id = id(plimsoll_ingest::Timestamp::from_micros(then), fill);
    place
        .append(&[request(run_id, 0), request(run_id, 1)])
        .await;
    let sent = plimsoll_ingest::StageRow {
        sent: 2,
        ok: 2,
        ..stage(run_id, 0, "steady")
    };
    place.append(&[sent]).await;
    place.append(&[envelope(run_id)]).await;
    place.append(&[run(run_id, "m")]).await;
    run_id
}

/// What is broken, one line each.
fn broken(checked: &Checked) -> Vec<String> {
    let findings = checked.findings.iter();
    let broken = findings.filter(|finding| finding.severity == Severity::Broken);
    broken.map(ToString::to_string).collect()
}

/// The only data file of a table.
fn file_of(place: &Place, table: Table) -> PathBuf {
    fn files(folder: PathBuf, found: &mut Vec<PathBuf>) {
        for entry in folder.read_dir().expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => files(path, found),
                false if path.extension().is_some_and(|end| end == "parquet") => found.push(path),
                false => {}
            }
        }
    }
    let mut found = Vec::new();
    files(place.warehouse().join(table.path()), &mut found);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[tokio::test]
async fn a_sound_warehouse_is_called_so() {
    let place = Place::new();
    assert_eq!(
        checked(&place).await,
        Checked::default(),
        "nothing is there"
    );
    measured(&place, 1).await;
    measured(&place, 2).await;
    let checked = checked(&place).await;
    assert!(checked.is_sound(), "{checked:?}");
    assert_eq!(
        (checked.runs, checked.files, checked.tables),
        (Some(2), 8, 4)
    );
    let missing = checked
        .findings
        .iter()
        .filter(|finding| finding.what.contains("no such table"));
    assert_eq!(missing.count(), Table::ALL.len() - 4);
}

#[tokio::test]
async fn files_that_are_missing_torn_or_replaced_are_named() {
    type Change = fn(&PathBuf);
    let cases: [(Change, &str); 3] = [
        (
            |file| std::fs::remove_file(file).expect("removed"),
            "is missing",
        ),
        (
            |file| {
                let bytes = std::fs::read(file).expect("bytes");
                std::fs::write(file, &bytes[..bytes.len() - 9]).expect("written");
            },
            "where the log says",
        ),
        (
            |file| {
                let length = std::fs::read(file).expect("bytes").len();
                std::fs::write(file, vec![7; length]).expect("written");
            },
            "is torn",
        ),
    ];
    for (change, said) in cases {
        let place = Place::new();
        measured(&place, 1).await;
        change(&file_of(&place, Table::Requests));
        // A run without its envelope is found all the same.
        place.append(&[run(id(at(1, 0), 9), "m")]).await;
        let checked = checked(&place).await;
        let found = broken(&checked);
        let [file, lost] = &found[..] else {
            panic!("{said}: {found:?}")
        };
        assert!(file.starts_with("raw.requests: file part-"), "{file}");
        assert!(file.contains(said), "{file}");
        assert!(lost.contains("the envelope of run"), "{lost}");
        assert_eq!(checked.runs, Some(2));
        let notes = checked.findings.iter().map(ToString::to_string);
        let unseen: Vec<_> = notes
            .filter(|note| note.contains("not looked at"))
            .collect();
        assert_eq!(
            unseen,
            [
                "raw.requests: its rows were not looked at: whether they are whole and there once is not known"
            ]
        );
    }
}

/// The text of a table's last commit, changed.
fn rewrite(place: &Place, table: Table, change: impl Fn(&str) -> String) {
    let log = place.warehouse().join(table.path()).join("_delta_log");
    let mut commits: Vec<_> = log
        .read_dir()
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    commits.sort_unstable();
    let commit = commits.pop().expect("a commit");
    let text = std::fs::read_to_string(&commit).expect("text");
    let changed = change(&text);
    assert_ne!(text, changed);
    std::fs::write(commit, changed).expect("written");
}

#[tokio::test]
async fn a_log_that_does_not_fit_its_files_is_named() {
    type Change = fn(&str) -> String;
    let cases: [(Table, Change, &str); 4] = [
        (
            Table::Requests,
            |text| text.replace(r#"numRecords\":2"#, r#"numRecords\":3"#),
            "has 2 rows where the log says 3",
        ),
        (
            Table::Requests,
            |text| text.replace(r#"\"request_id\":1"#, r#"\"request_id\":0"#),
            "holds request_id from 0 to 1, and its log says 0 to 0",
        ),
        (
            Table::Requests,
            |text| {
                let (before, nulls) = text.split_once("nullCount").expect("null counts");
                let nulls = nulls.replacen(r#"\"stage\":0"#, r#"\"stage\":1"#, 1);
                format!("{before}nullCount{nulls}")
            },
            "has 0 rows without stage, and its log says 1",
        ),
        (
            Table::Runs,
            |text| text.replace(r#"\"started_at\":\"20"#, r#"\"started_at\":\"21"#),
            "holds started_at from",
        ),
    ];
    for (table, change, said) in cases {
        let place = Place::new();
        measured(&place, 1).await;
        rewrite(&place, table, change);
        let found = broken(&checked(&place).await);
        assert!(found[0].contains(said), "{found:?}");
    }
}

#[tokio::test]
async fn runs_that_are_not_whole_or_there_twice_are_named() {
    let place = Place::new();
    let run_id = measured(&place, 1).await;
    place.append(&[run(run_id, "m")]).await;
    place.append(&[request(run_id, 1)]).await;
    let found = broken(&checked(&place).await);
    for said in [
        format!("reports.runs: run {run_id} is there 2 times"),
        format!("raw.requests: stage 0 of run {run_id} has 3 rows of 2 requests that it sent"),
        format!(
            "raw.requests: run with key {} has 3 rows, and 2 different request_id",
            run_id.run_key()
        ),
    ] {
        assert!(found.contains(&said), "{found:?} has no `{said}`");
    }
    assert_eq!(
        found.iter().filter(|line| line.contains("2 times")).count(),
        1
    );
}

/// A sample of a GPU, a second after the start.
fn sample(run_id: RunId, gpu: &str) -> GpuSampleRow {
    GpuSampleRow {
        run_id,
        run_key: run_id.run_key(),
        date: run_id.date(),
        at_ns: 1_000_000_000,
        gpu_uuid: gpu.to_string(),
        sku: "H100".to_string(),
        utilization: 0.5,
        memory_used: 1,
        memory_total: 2,
        power_w: None,
        temperature_c: None,
        sm_clock_mhz: None,
        throttle_reasons: None,
        ecc_errors: None,
    }
}

/// Every table has something that tells a run's rows apart, or nothing that must.
#[tokio::test]
async fn rows_that_are_there_twice_are_found_in_every_table() {
    let place = Place::new();
    let run_id = measured(&place, 1).await;
    let case = CaseRow {
        case_id: "tools/two".into(),
        ..blank(run_id)
    };
    for _ in 0..2 {
        place.append(&[envelope(run_id)]).await;
        place.append(&[stage(run_id, 7, "steady")]).await;
        place.append(&[tick(run_id, 3)]).await;
        place
            .append(&["a", "b"].map(|gpu| sample(run_id, gpu)))
            .await;
        place.append(std::slice::from_ref(&case)).await;
    }
    let found = broken(&checked(&place).await);
    let key = run_id.run_key();
    let said = [
        format!("reports.envelopes: run with key {key} has 3 rows, and 1 different run_id"),
        format!("reports.stages: run with key {key} has 3 rows, and 2 different stage"),
        format!("reports.ticks: run with key {key} has 2 rows, and 1 different at_ns"),
        format!(
            "reports.gpu_samples: run with key {key} has 4 rows, and 2 different at_ns, gpu_uuid"
        ),
        format!("raw.cases: run with key {key} has 2 rows, and 1 different case_id"),
    ];
    assert_eq!(found, said);
}

/// More requests than the memory could tell apart at once are looked at a few runs at a time.
#[tokio::test]
async fn any_number_of_requests_is_looked_at_in_little_memory() {
    let place = Place::new();
    let mut rows = Vec::new();
    for fill in 1..=30 {
        let run_id = id(at(1, 0), fill);
        let first = request(run_id, 0);
        rows.extend((0..5_000).map(|request_id| RequestRow {
            request_id,
            ..first.clone()
        }));
        place.append(&[envelope(run_id)]).await;
        place.append(&[run(run_id, "m")]).await;
        let sent = plimsoll_ingest::StageRow {
            sent: 5_000,
            ok: 5_000,
            ..stage(run_id, 0, "steady")
        };
        place.append(&[sent]).await;
    }
    let again = rows[rows.len() - 1].clone();
    rows.push(again);
    place.append(&rows).await;
    let options = WarehouseOptions {
        threads: 2,
        memory_limit: 16 << 20,
        spill_limit: 1,
        ..WarehouseOptions::default()
    };
    let checked = check(&place.location, options, Retention::default()).await;
    let found = broken(&checked.expect("it can be looked at"));
    let key = rows[rows.len() - 1].run_key;
    let twice =
        format!("raw.requests: run with key {key} has 5001 rows, and 5000 different request_id");
    assert_eq!(found, [twice]);
}

/// What was put together is in one file, which readers open to see which runs there are.
#[tokio::test]
async fn runs_in_one_file_that_cannot_be_read_are_a_finding() {
    type Change = fn(&PathBuf);
    let cases: [(Change, &str); 2] = [
        (
            |file| std::fs::remove_file(file).expect("removed"),
            "is missing",
        ),
        (
            |file| {
                let mut bytes = std::fs::read(file).expect("bytes");
                // Past the magic number; the footer is at the end.
                bytes[4..200].fill(0xff);
                std::fs::write(file, bytes).expect("written");
            },
            "reports.runs: rows cannot be read",
        ),
    ];
    for (change, said) in cases {
        let place = Place::new();
        let (one, other) = (id(at(1, 0), 1), id(at(1, 1), 2));
        place.append(&[tick(one, 1)]).await;
        place.append(&[run(one, "m"), run(other, "m")]).await;
        change(&file_of(&place, Table::Runs));
        let checked = checked(&place).await;
        let found = broken(&checked);
        assert!(found.iter().any(|line| line.contains(said)), "{found:?}");
        // Where a file is known to be broken no row of its table is looked at, and that is said.
        let notes = checked.findings.iter().map(ToString::to_string);
        let told =
            notes.filter(|note| note.starts_with("reports.runs: its rows were not looked at"));
        let looked_at = said.contains("cannot be read");
        assert_eq!(told.count(), usize::from(!looked_at), "{checked:?}");
        // The log counts them.
        assert_eq!(checked.runs, looked_at.then_some(2));
    }
}

#[tokio::test]
async fn a_run_whose_rows_are_lost_is_named() {
    let place = Place::new();
    let (functional, performance) = (id(at(1, 0), 1), id(at(1, 1), 2));
    let of_cases = RunRow {
        cases_total: Some(2),
        ..run(functional, "m")
    };
    let of_stages = RunRow {
        headline_stage: Some(1),
        ..run(performance, "m")
    };
    place.append(&[of_cases, of_stages]).await;
    place.append(&[envelope(functional)]).await;
    place.append(&[blank::<CaseRow>(functional)]).await;
    place.append(&[stage(performance, 0, "steady")]).await;
    let of_another = RequestRow {
        stage: 2,
        ..request(performance, 0)
    };
    place.append(&[of_another]).await;
    let found = broken(&checked(&place).await);
    let said = [
        format!("reports.envelopes: the envelope of run {performance} is not there"),
        format!(
            "reports.stages: stage 1 of run {performance}, which its headline is about, is not \
             there"
        ),
        format!("reports.stages: stage 2 of run {performance}, which has requests, is not there"),
        format!("raw.cases: run {functional} has 1 rows of 2 cases"),
    ];
    assert_eq!(found, said);
}

#[tokio::test]
async fn what_ought_to_be_done_is_a_note() {
    let place = Place::new();
    measured(&place, 1).await;
    // Days past their retention, and a run that was never published whole.
    let old = id(at(1, 0), 3);
    place.append(&[request(old, 0)]).await;
    let checked = checked(&place).await;
    assert!(checked.is_sound(), "{checked:?}");
    let notes: Vec<_> = checked.findings.iter().map(ToString::to_string).collect();
    let retained = notes
        .iter()
        .any(|note| note.contains("are past their retention"));
    assert!(retained, "{notes:?}");
}

/// Days that were taken out while requests were kept for less time are not missed later.
#[tokio::test]
async fn a_run_of_a_host_whose_clock_is_ahead_is_noted() {
    let place = Place::new();
    measured(&place, 1).await;
    let early = measured_before(&place, 2, -3).await;
    let checked = checked(&place).await;
    assert!(checked.is_sound(), "{checked:?}");
    let findings = checked.findings.iter().map(ToString::to_string);
    let noted: Vec<_> = findings
        .filter(|what| what.contains("yet to come"))
        .collect();
    let [noted] = &noted[..] else {
        panic!("{checked:?}");
    };
    let began = early.created_at();
    let said = format!("reports.runs: run {early} began at {began}, which is yet to come");
    assert_eq!(noted, &said);
}

#[tokio::test]
async fn a_longer_retention_does_not_miss_what_a_shorter_one_took_out() {
    let place = Place::new();
    measured_before(&place, 1, 40).await;
    measured_before(&place, 2, 20).await;
    let month = std::time::Duration::from_secs(30 * 86_400);
    let chore = Chore::Optimize {
        retention: Retention::default().with(Table::Requests, Some(month)),
    };
    let done = maintain(&place.location, WarehouseOptions::default(), chore).await;
    let done = done.expect("maintained").done;
    let requests = done.iter().find(|(table, _)| *table == Table::Requests);
    assert_eq!(requests.expect("something to do").1.expired, 1, "{done:?}");
    let found = checked(&place).await;
    assert!(found.is_sound(), "{found:?}");
    // What is gone from the days that were left is missed.
    let run_id = measured_before(&place, 3, 20).await;
    let sent = plimsoll_ingest::StageRow {
        sent: 2,
        ..stage(run_id, 1, "steady")
    };
    place.append(&[sent]).await;
    let lost = format!("stage 1 of run {run_id} has 0 rows of 2 requests");
    let found = broken(&checked(&place).await);
    assert!(found[0].contains(&lost), "{found:?}");
}

#[tokio::test]
async fn a_table_that_is_another_is_named_and_the_rest_is_looked_at() {
    let place = Place::new();
    measured(&place, 1).await;
    rewrite(&place, Table::Stages, |text| {
        format!("{text}this is no commit\n")
    });
    let checked = checked(&place).await;
    assert!(!checked.is_sound());
    let found = broken(&checked);
    assert!(found[0].starts_with("reports.stages: "), "{found:?}");
    assert_eq!(checked.tables, 3);
}

#[tokio::test]
async fn a_commit_that_is_missing_is_named_in_a_line() {
    let place = Place::new();
    measured(&place, 1).await;
    measured(&place, 2).await;
    let log = place.warehouse().join("raw/requests/_delta_log");
    std::fs::remove_file(log.join("00000000000000000001.json")).expect("removed");
    let checked = checked(&place).await;
    let mut findings = checked.findings.iter();
    let finding = findings.find(|finding| finding.severity == Severity::Broken);
    let finding = finding.expect("the log has a gap");
    let said = finding.to_string();
    assert!(said.starts_with("raw.requests: "), "{said}");
    assert!(said.contains("commit 2 follows 0"), "{said}");
    assert!(
        said.len() < 300 && finding.help.contains("restore"),
        "{said}"
    );
    // Nor does who asks again get what comes before the gap for all there is.
    let warehouse = place.open().await;
    for _ in 0..2 {
        let asked = ask(
            &warehouse,
            "SELECT count(*) FROM requests",
            &[],
            &EVERYTHING,
        )
        .await;
        let error = asked.expect_err("a commit is missing").to_string();
        assert!(error.contains("commit 2 follows 0"), "{error}");
    }
}
