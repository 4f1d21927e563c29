//! Answers that are kept.

use plimsoll_ingest::{RunRow, StageRow};
use plimsoll_warehouse::{Access, Warehouse, WarehouseOptions};
use rand::SeedableRng as _;
use rand::distr::{Alphanumeric, SampleString as _};
use rand_chacha::ChaCha8Rng;

use crate::place::{EVERYTHING, Place, answer, ask, at, id, open, run, stage};

async fn keeping(place: &Place) -> Warehouse {
    let options = WarehouseOptions {
        threads: 2,
        answers: 1 << 20,
        ..Default::default()
    };
    open(&place.location, options).await
}

/// Takes away what the answers are read from.
fn take_files_away(place: &Place) {
    for table in ["reports/runs", "reports/stages"] {
        let folder = place.warehouse().join(table);
        for file in std::fs::read_dir(&folder).expect("the table is there") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|kind| kind == "parquet") {
                std::fs::remove_file(path).expect("removed");
            }
        }
    }
}

#[tokio::test]
async fn the_same_question_over_the_same_snapshots_is_answered_without_reading() {
    let place = Place::new();
    // Small files are kept as well: these are not small.
    let noise = Alphanumeric.sample_string(&mut ChaCha8Rng::seed_from_u64(0), 500_000);
    let stage = StageRow {
        workload_class: Some(noise.clone()),
        ..stage(id(at(1, 0), 1), 0, "steady")
    };
    place.append(&[stage]).await;
    let run = RunRow {
        config: noise,
        ..run(id(at(1, 0), 1), "m")
    };
    place.append(&[run]).await;
    let warehouse = keeping(&place).await;
    warehouse.refresh().await.expect("a set");
    let models = "SELECT model FROM runs ORDER BY model";
    let capacity = "SELECT count(*) FROM capacity";
    assert_eq!(answer(&warehouse, models).await, "m");
    assert_eq!(answer(&warehouse, capacity).await, "0");
    // Nothing was published: the set stays, and its answers with it.
    warehouse.refresh().await.expect("the same set");
    take_files_away(&place);
    assert_eq!(answer(&warehouse, &format!("  {models}\n")).await, "m");
    // A view that looks at the clock is kept all the same.
    assert_eq!(answer(&warehouse, capacity).await, "0");
    // Other values, other rights, and what looks at the clock are asked anew.
    let parameters = [serde_json::json!("m")];
    let by_model = "SELECT name FROM stages WHERE name <> $1";
    assert!(
        ask(&warehouse, by_model, &parameters, &EVERYTHING)
            .await
            .is_err()
    );
    let viewer = plimsoll_warehouse::QueryLimits {
        access: Access::Reports,
        ..EVERYTHING
    };
    assert!(ask(&warehouse, models, &[], &viewer).await.is_err());
    for sql in [
        "SELECT model FROM runs WHERE started_at < now()",
        "SELECT model, random() FROM runs",
        "EXPLAIN ANALYZE SELECT model FROM runs ORDER BY model",
    ] {
        assert!(
            ask(&warehouse, sql, &[], &EVERYTHING).await.is_err(),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn what_is_published_is_seen_at_once() {
    let place = Place::new();
    place.append(&[run(id(at(1, 0), 1), "m")]).await;
    let warehouse = keeping(&place).await;
    let sql = "SELECT model FROM runs ORDER BY model";
    assert_eq!(answer(&warehouse, sql).await, "m");
    place.append(&[run(id(at(1, 1), 2), "n")]).await;
    warehouse.refresh().await.expect("a newer set");
    assert_eq!(answer(&warehouse, sql).await, "m\nn");
}

/// Cut answers, failed ones and large ones are not kept for what they are not.
#[tokio::test]
async fn only_whole_answers_are_kept() {
    let place = Place::new();
    for minute in 0..3 {
        let row = RunRow {
            config: format!("{{\"{minute}\": 0}}"),
            ..run(id(at(1, minute), 1), "m")
        };
        place.append(&[row]).await;
    }
    let warehouse = keeping(&place).await;
    let sql = "SELECT config FROM runs ORDER BY config";
    let one = plimsoll_warehouse::QueryLimits {
        max_rows: Some(1),
        ..EVERYTHING
    };
    let cut = ask(&warehouse, sql, &[], &one).await.expect("an answer");
    assert_eq!(cut.lines().count(), 2);
    assert_eq!(answer(&warehouse, sql).await.lines().count(), 3);
    let cut = ask(&warehouse, sql, &[], &one).await.expect("an answer");
    assert_eq!(
        cut.lines().count(),
        2,
        "the limit holds for what is kept, too"
    );
    // The whole, which takes more than an eighth of the room, comes out right twice.
    let large = "SELECT value FROM range(100000) ORDER BY value";
    for _ in 0..2 {
        assert_eq!(answer(&warehouse, large).await.lines().count(), 100_000);
    }
}
