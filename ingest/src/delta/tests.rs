//! Tables that are made, that others make at the same time, that an earlier or a later release made,
//! and that are somebody else's.

use arrow::datatypes::{DataType, Field, SchemaRef};
use deltalake_core::kernel::transaction::CommitBuilder;
use deltalake_core::protocol::DeltaOperation;

use super::*;

#[tokio::test]
async fn a_place_without_tables_stays_so_until_they_are_created() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("warehouse");
    let location = WarehouseLocation::parse(&path.display().to_string()).expect("path");
    let warehouse = WarehouseStore::connect(&location).expect("local files");
    assert!(
        open_table(&warehouse, Table::Runs)
            .await
            .expect("no error")
            .is_none()
    );
    assert!(!path.exists());
    create_missing(&warehouse).await.expect("created");
    create_missing(&warehouse).await.expect("twice is once");
    for table in Table::ALL {
        let delta = open_table(&warehouse, *table)
            .await
            .expect("open")
            .expect("there");
        let state = delta.snapshot().expect("loaded");
        assert_eq!(delta.version(), Some(0), "{table}");
        assert_eq!(state.protocol().min_reader_version(), 1, "{table}");
        assert_eq!(state.protocol().min_writer_version(), 2, "{table}");
        let names: Vec<_> = state.schema().fields().map(|f| f.name().clone()).collect();
        let ours: Vec<_> = table.columns().iter().map(|c| c.name.to_string()).collect();
        assert_eq!(names, ours);
    }
}

#[tokio::test]
async fn many_that_create_at_once_end_with_one_table() {
    let folder = tempfile::tempdir().expect("folder");
    let location = WarehouseLocation::parse(&folder.path().display().to_string()).expect("path");
    let warehouse = WarehouseStore::connect(&location).expect("local files");
    let all = (0..6).map(|_| open_or_create(&warehouse, Table::Runs));
    for opened in futures::future::join_all(all).await {
        assert_eq!(opened.expect("opened").version(), Some(0));
    }
}

fn place() -> (tempfile::TempDir, WarehouseStore) {
    let folder = tempfile::tempdir().expect("folder");
    let location = WarehouseLocation::parse(&folder.path().display().to_string()).expect("path");
    let store = WarehouseStore::connect(&location).expect("local files");
    (folder, store)
}

/// A table with these columns where one of ours belongs.
async fn made(store: &WarehouseStore, table: Table, schema: SchemaRef, partitions: &[&str]) {
    let schema: StructType = schema.as_ref().try_into_kernel().expect("a schema");
    CreateBuilder::new()
        .with_log_store(store.log_of(table))
        .with_columns(schema.fields().cloned())
        .with_partition_columns(partitions.iter().copied())
        .await
        .expect("a table");
}

/// The columns of a table, changed.
fn changed(table: Table, change: impl Fn(&Field) -> Option<Field>) -> SchemaRef {
    let schema = table.arrow_schema();
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .filter_map(|field| change(field))
        .collect();
    std::sync::Arc::new(Schema::new(fields))
}

fn has(delta: &DeltaTable, column: &str) -> bool {
    let schema = delta.snapshot().expect("loaded").snapshot().arrow_schema();
    schema.field_with_name(column).is_ok()
}

#[tokio::test]
async fn a_table_of_an_earlier_release_is_widened_and_that_release_goes_on() {
    let (_folder, store) = place();
    let narrow = changed(Table::Runs, |field| {
        (field.name() != "cost_usd" && field.name() != "profile").then(|| field.clone())
    });
    made(&store, Table::Runs, narrow, &[]).await;
    let earlier = open_table(&store, Table::Runs).await;
    let mut earlier = earlier.expect("readable").expect("there");
    // Many widen it at once: one does, and the others find it done.
    let all = (0..4).map(|_| open_or_create(&store, Table::Runs));
    for widened in futures::future::join_all(all).await {
        let widened = widened.expect("widened");
        assert!(has(&widened, "cost_usd") && has(&widened, "profile"));
        let protocol = widened.snapshot().expect("loaded").protocol();
        assert_eq!(protocol.min_writer_version(), 2);
    }
    assert!(!has(&earlier, "cost_usd"));
    // A process of the earlier release refreshes, and commits what it knows.
    earlier.update_state().await.expect("refreshed");
    let committed = CommitBuilder::default()
        .build(
            Some(earlier.snapshot().expect("loaded")),
            earlier.log_store(),
            DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: None,
                predicate: None,
            },
        )
        .await;
    assert!(committed.is_ok(), "{committed:?}");
    let twice = open_or_create(&store, Table::Runs).await.expect("open");
    assert_eq!(twice.version(), Some(2), "it is widened once");
}

/// What could not be read again is not written either: the run waits in its spool.
#[tokio::test]
async fn a_table_that_asks_more_of_readers_takes_no_rows() {
    let (_folder, store) = place();
    let schema: StructType = Table::Runs
        .arrow_schema()
        .as_ref()
        .try_into_kernel()
        .expect("a schema");
    CreateBuilder::new()
        .with_log_store(store.log_of(Table::Runs))
        .with_columns(schema.fields().cloned())
        .with_configuration([("delta.enableDeletionVectors", Some("true"))])
        .await
        .expect("a table");
    let error = open_or_create(&store, Table::Runs)
        .await
        .expect_err("it cannot be read");
    let TableError::Unwritable { what, help, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(
        what,
        "it asks for Delta's reader version 3, and Plimsoll reads 1"
    );
    assert!(help.contains("that feature off"), "{help}");
}

#[tokio::test]
async fn columns_of_a_later_release_are_left_alone() {
    let (_folder, store) = place();
    let mut fields: Vec<_> = Table::Runs
        .arrow_schema()
        .fields()
        .iter()
        .cloned()
        .collect();
    fields.push(Field::new("later", DataType::Utf8, true).into());
    made(
        &store,
        Table::Runs,
        std::sync::Arc::new(Schema::new(fields)),
        &[],
    )
    .await;
    let opened = open_or_create(&store, Table::Runs).await.expect("open");
    assert!(has(&opened, "later"));
    assert_eq!(opened.version(), Some(0));
}

#[tokio::test]
async fn what_is_another_table_is_refused_and_left_alone() {
    let other_type = changed(Table::Ticks, |field| match field.name().as_str() {
        "offered" => Some(Field::new("offered", DataType::Utf8, false)),
        _ => Some(field.clone()),
    });
    let lacking = changed(Table::Ticks, |field| {
        (field.name() != "run_key").then(|| field.clone())
    });
    let ours = Table::Ticks.arrow_schema();
    for (schema, partitions, said) in [
        (
            other_type,
            vec!["date"],
            "column `offered` is Utf8, not Int64",
        ),
        (lacking, vec!["date"], "it has no column `run_key`"),
        (ours, vec![], "it is partitioned by [], not [\"date\"]"),
    ] {
        let (_folder, store) = place();
        made(&store, Table::Ticks, schema, &partitions).await;
        for refused in [
            open_table(&store, Table::Ticks).await.map(drop),
            open_or_create(&store, Table::Ticks).await.map(drop),
        ] {
            let refused = refused.expect_err("not ours");
            assert!(matches!(refused, TableError::Foreign { .. }), "{refused:?}");
            assert!(refused.to_string().ends_with(said), "{refused}");
        }
        let log = store.log_of(Table::Ticks);
        assert_eq!(log.get_latest_version(0).await.expect("readable"), 0);
    }
}
