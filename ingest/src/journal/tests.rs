//! What a journal promises, tried on real tables.

use std::collections::BTreeMap;
use std::error::Error as _;

use super::*;
use crate::location::WarehouseLocation;

/// A minute of the fleet, so many minutes after some midnight.
fn minute(minute: i64) -> FleetRow {
    FleetRow {
        at: Timestamp::from_micros((1_790_000_000_000 + minute * 60_000) * 1_000),
        host: "gpu-1".to_string(),
        gpu_uuid: Some("GPU-0".to_string()),
        sku: Some("H100".to_string()),
        state: "idle".to_string(),
        utilization: Some(0.25),
        memory_used: Some(1 << 30),
        deployment: None,
        queued: None,
        oldest_queued_s: None,
    }
}

fn minutes(range: std::ops::Range<i64>) -> Vec<FleetRow> {
    range.map(minute).collect()
}

struct Place {
    _folder: tempfile::TempDir,
    store: WarehouseStore,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("warehouse").display().to_string();
    let location = WarehouseLocation::parse(&path).expect("a path");
    Place {
        store: WarehouseStore::connect(&location).expect("local files"),
        _folder: folder,
    }
}

async fn journal(place: &Place, source: &str) -> Journal<FleetRow> {
    Journal::open(&place.store, source).await.expect("opened")
}

/// Every row that a reader of the table sees, in time.
async fn seen(place: &Place) -> Vec<FleetRow> {
    let delta = open_or_create(&place.store, Table::Fleet)
        .await
        .expect("open");
    let files = log::files_by(&delta, "at", |_| None::<i64>).expect("files");
    let appender = Appender {
        table: Table::Fleet,
        warehouse: place.store.location(),
    };
    let paths = files.iter().map(|file| &file.path);
    let batches = appender.read_files(&delta, paths).await.expect("read");
    let mut rows: Vec<_> = batches
        .iter()
        .flat_map(|batch| FleetRow::from_batch(batch).expect("rows"))
        .collect();
    rows.sort_by_key(Recorded::at);
    rows
}

fn text(error: &AppendError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn rows_that_are_sent_again_are_there_once() {
    let place = place();
    let mut journal = journal(&place, "gpu-1").await;
    assert_eq!(journal.last().await.expect("read"), 0);
    let appended = journal.append(1, &minutes(0..3)).await.expect("appended");
    assert_eq!(appended, 3);
    assert_eq!(journal.last().await.expect("read"), 3);
    for (first, rows, new) in [(1, 0..3, 0), (2, 1..5, 2), (6, 5..6, 1), (6, 5..5, 0)] {
        let appended = journal.append(first, &minutes(rows)).await;
        assert_eq!(appended.expect("appended"), new, "from number {first}");
    }
    assert_eq!(journal.last().await.expect("read"), 6);
    assert_eq!(seen(&place).await, minutes(0..6));
}

#[tokio::test]
async fn sources_number_their_rows_by_themselves_and_go_on_after_a_restart() {
    let place = place();
    for source in ["gpu-1", "gpu-2"] {
        let mut first = journal(&place, source).await;
        first.append(1, &minutes(0..2)).await.expect("appended");
    }
    let mut again = journal(&place, "gpu-2").await;
    assert_eq!(again.last().await.expect("read"), 2);
    again.append(3, &minutes(2..3)).await.expect("appended");
    let rows = seen(&place).await;
    let mut times = BTreeMap::new();
    for row in &rows {
        *times.entry(row.at).or_insert(0) += 1;
    }
    assert_eq!(times.into_values().collect::<Vec<_>>(), [2, 2, 1]);
}

#[tokio::test]
async fn two_writers_of_one_source_end_with_one_copy() {
    let place = place();
    let mut one = journal(&place, "gpu-1").await;
    let mut other = journal(&place, "gpu-1").await;
    one.append(1, &minutes(0..4)).await.expect("appended");
    // It knows nothing of the first four yet, and has two more.
    assert_eq!(other.append(1, &minutes(0..6)).await.expect("appended"), 2);
    assert_eq!(one.append(5, &minutes(4..6)).await.expect("appended"), 0);
    assert_eq!(seen(&place).await, minutes(0..6));
}

#[tokio::test]
async fn a_source_whose_numbers_begin_anew_loses_nothing_without_a_word() {
    let place = place();
    let mut before = journal(&place, "gpu-1").await;
    before.append(1, &minutes(0..4)).await.expect("appended");
    let mut reset = journal(&place, "gpu-1").await;
    let refused = reset.append(1, &minutes(10..12)).await.expect_err("others");
    let text = text(&refused);
    assert!(text.contains("up to number 4"), "{text}");
    assert!(
        text.contains("row 1,") && text.contains("a new name"),
        "{text}"
    );
    let mut renamed = journal(&place, "gpu-1.2").await;
    renamed.append(1, &minutes(10..12)).await.expect("appended");
    assert_eq!(seen(&place).await.len(), 6);
}

#[tokio::test]
async fn a_row_that_breaks_the_contract_is_named_and_none_goes_in() {
    let place = place();
    let mut journal = journal(&place, "gpu-1").await;
    let mut rows = minutes(0..3);
    rows[1].state = "asleep".to_string();
    let refused = journal.append(1, &rows).await.expect_err("no such state");
    let text = text(&refused);
    for part in ["`fleet`", "`state`", "row 1", "asleep", "quarantined"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(seen(&place).await.is_empty());
    rows[1].state = "foreign".to_string();
    assert_eq!(journal.append(1, &rows).await.expect("appended"), 3);
}

#[tokio::test]
async fn sources_without_a_name_and_numbers_without_a_row_are_refused() {
    let place = place();
    let nameless = Journal::<EventRow>::open(&place.store, " ").await;
    let text_of = |refused: AppendError| text(&refused);
    let nameless = text_of(nameless.err().expect("no name"));
    assert!(
        nameless.contains("audit.events") && nameless.contains("no name"),
        "{nameless}"
    );
    let mut journal = journal(&place, "gpu-1").await;
    for first in [0, -1, i64::MAX, i64::MIN] {
        let refused = journal.append(first, &minutes(0..2)).await;
        let refused = text_of(refused.expect_err("no such number"));
        assert!(refused.contains("numbered from 1"), "{first}: {refused}");
    }
    assert!(seen(&place).await.is_empty());
}

#[tokio::test]
async fn what_a_source_wrote_is_never_forgotten() {
    let place = place();
    let mut journal = journal(&place, "gpu-1").await;
    journal.append(1, &minutes(0..1)).await.expect("appended");
    let configuration = journal.delta.snapshot().expect("loaded").metadata();
    let configuration = configuration.configuration();
    assert!(!configuration.contains_key("delta.setTransactionRetentionDuration"));
    // A hundred commits later it is read from a checkpoint.
    for number in 2..=105 {
        let row = minutes(number - 1..number);
        journal.append(number, &row).await.expect("appended");
    }
    assert!(
        journal.read_at >= Some(100),
        "read anew at {:?}",
        journal.read_at
    );
    let again = Journal::<FleetRow>::open(&place.store, "gpu-1").await;
    assert_eq!(again.expect("opened").last().await.expect("read"), 105);
    assert_eq!(seen(&place).await, minutes(0..105));
}
