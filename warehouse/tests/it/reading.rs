//! What is read where tables are missing, older, wider or newer.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake_core::operations::create::CreateBuilder;
use plimsoll_ingest::{RunRow, Table, TableRow, delta};
use plimsoll_warehouse::{OpenError, QueryError};

use crate::place::{Place, answer, append_batch, at, failure, id, request, run, tick};

#[tokio::test]
async fn a_place_without_a_warehouse_sees_every_table_empty_and_creates_nothing() {
    let place = Place::new();
    let warehouse = place.open().await;
    assert!(!warehouse.exists());
    for table in Table::ALL {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(answer(&warehouse, &sql).await, "0", "{table}");
        let all = format!("SELECT * FROM {table}");
        assert_eq!(answer(&warehouse, &all).await, "", "{table}");
    }
    for view in ["peak_rps", "performance_summary"] {
        assert_eq!(
            answer(&warehouse, &format!("SELECT * FROM {view}")).await,
            "",
            "{view}"
        );
    }
    warehouse.refresh().await.expect("nothing is newer");
    assert!(!place.warehouse().exists());

    place.append(&[run(id(at(1, 0), 1), "m")]).await;
    assert_eq!(answer(&warehouse, "SELECT count(*) FROM runs").await, "0");
    warehouse.refresh().await.expect("a warehouse is there now");
    assert!(warehouse.exists());
    assert_eq!(answer(&warehouse, "SELECT model FROM runs").await, "m");
}

/// Adds the column `weather` to `runs`, as a later release might.
async fn widen(place: &Place) {
    let table = delta::open_or_create(&place.store(), Table::Runs)
        .await
        .expect("a table");
    let weather = Schema::new(vec![Field::new("weather", DataType::Utf8, true)]);
    let weather: StructType = (&weather).try_into_kernel().expect("a kernel schema");
    let fields: Vec<_> = weather.fields().cloned().collect();
    table
        .add_columns()
        .with_fields(fields)
        .await
        .expect("a wider table");
}

#[tokio::test]
async fn columns_of_a_later_release_are_read_and_null_in_older_files() {
    let place = Place::new();
    place.append(&[run(id(at(1, 0), 1), "old")]).await;
    widen(&place).await;
    let table = delta::open_or_create(&place.store(), Table::Runs)
        .await
        .expect("a table");
    let ours = RunRow::to_batch(&[run(id(at(1, 1), 2), "new")]).expect("a batch");
    let mut fields: Vec<_> = ours.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("weather", DataType::Utf8, true)));
    let mut columns = ours.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec!["sunny"])) as ArrayRef);
    let wide = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch");
    append_batch(table, wide).await;

    let warehouse = place.open().await;
    let both = "SELECT model, weather FROM runs ORDER BY model";
    assert_eq!(answer(&warehouse, both).await, "new,sunny\nold,");
    assert_eq!(
        answer(&warehouse, "SELECT count(weather), max(weather) FROM runs").await,
        "1,sunny"
    );
    assert_eq!(
        answer(&warehouse, "SELECT model FROM runs WHERE weather IS NULL").await,
        "old"
    );
    assert_eq!(
        answer(&warehouse, "SELECT model FROM runs WHERE weather = 'sunny'").await,
        "new"
    );
}

/// Creates a table from some of its columns, with the given properties.
async fn create(place: &Place, table: Table, columns: &[&str], properties: &[(&str, &str)]) {
    let schema = table.arrow_schema();
    let kept: Vec<_> = schema
        .fields()
        .iter()
        .filter(|field| columns.is_empty() || columns.contains(&field.name().as_str()))
        .cloned()
        .collect();
    let schema: StructType = (&Schema::new(kept))
        .try_into_kernel()
        .expect("a kernel schema");
    let url = place.location.table_url(table);
    std::fs::create_dir_all(url.to_file_path().expect("a path")).expect("a folder");
    CreateBuilder::new()
        .with_location(url.as_str())
        .with_columns(schema.fields().cloned())
        .with_raise_if_key_not_exists(false)
        .with_configuration(properties.iter().map(|(key, value)| (*key, Some(*value))))
        .await
        .expect("a table");
}

#[tokio::test]
async fn columns_that_an_earlier_release_did_not_have_are_null() {
    let place = Place::new();
    let later = ["profile", "peak_goodput_rps"];
    let all = RunRow::COLUMNS.iter().map(|column| column.name);
    let columns: Vec<&str> = all.filter(|name| !later.contains(name)).collect();
    create(&place, Table::Runs, &columns, &[]).await;
    let table = delta::open_table(&place.store(), Table::Runs).await;
    let batch = RunRow::to_batch(&[run(id(at(1, 0), 1), "old")]).expect("a batch");
    let kept: Vec<usize> = columns
        .iter()
        .map(|name| batch.schema().index_of(name).expect("a column"))
        .collect();
    let batch = batch.project(&kept).expect("fewer columns");
    append_batch(table.expect("readable").expect("there"), batch).await;

    let warehouse = place.open().await;
    let sql = "SELECT model, profile, peak_goodput_rps FROM runs";
    assert_eq!(answer(&warehouse, sql).await, "old,,");
    assert_eq!(
        answer(&warehouse, "SELECT count(*) FROM peak_rps").await,
        "0"
    );
}

#[tokio::test]
async fn a_table_of_a_newer_schema_version_is_refused_and_the_others_are_read() {
    let place = Place::new();
    let seen = id(at(1, 0), 1);
    place.append(&[run(seen, "m")]).await;
    place.append(&[tick(seen, 1)]).await;
    create(
        &place,
        Table::Scores,
        &[],
        &[("plimsoll.schema_version", "2")],
    )
    .await;
    let warehouse = place.open().await;
    for refreshed in [false, true] {
        if refreshed {
            warehouse
                .refresh()
                .await
                .expect("one newer table stops nobody");
        }
        let error = failure(&warehouse, "SELECT * FROM scores").await;
        assert!(
            matches!(error, QueryError::Open(OpenError::NewerTable { .. })),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains("`reports.scores`") && text.contains("version 2"),
            "{text}"
        );
        assert!(error.help().contains("install"), "{}", error.help());
        assert_eq!(answer(&warehouse, "SELECT count(*) FROM ticks").await, "1");
    }
}

/// A later release changed a table while this one had it open.
#[tokio::test]
async fn a_table_that_becomes_newer_is_refused_from_the_next_set_on() {
    let place = Place::new();
    let seen = id(at(1, 0), 1);
    place.append(&[tick(seen, 1)]).await;
    place.append(&[run(seen, "m")]).await;
    let warehouse = place.open().await;
    warehouse.refresh().await.expect("all tables are open");
    let count = "SELECT count(*) FROM ticks";
    assert_eq!(answer(&warehouse, count).await, "1");

    make_newer(&place, Table::Ticks).await;
    assert_eq!(
        answer(&warehouse, count).await,
        "1",
        "a set does not change"
    );
    warehouse
        .refresh()
        .await
        .expect("one newer table stops nobody");
    let error = failure(&warehouse, count).await;
    assert!(
        matches!(error, QueryError::Open(OpenError::NewerTable { .. })),
        "{error:?}"
    );
    assert_eq!(answer(&warehouse, "SELECT count(*) FROM runs").await, "1");

    make_newer(&place, Table::Runs).await;
    let refused = warehouse.refresh().await;
    assert!(
        matches!(refused, Err(OpenError::NewerTable { .. })),
        "{refused:?}"
    );
}

/// Somebody wrote into a table's log by hand.
#[tokio::test]
async fn a_table_whose_log_is_broken_stops_nobody_else() {
    let place = Place::new();
    let seen = id(at(1, 0), 1);
    place.append(&[tick(seen, 1)]).await;
    place.append(&[request(seen, 0)]).await;
    place.append(&[run(seen, "m")]).await;
    let warehouse = place.open().await;
    warehouse.refresh().await.expect("all tables are open");
    let log = place
        .warehouse()
        .join(Table::Requests.path())
        .join("_delta_log");
    std::fs::write(log.join(format!("{:020}.json", 2)), "no commit").expect("written");
    place.append(&[run(id(at(1, 1), 2), "m")]).await;
    warehouse.refresh().await.expect("one table stops nobody");
    assert_eq!(answer(&warehouse, "SELECT count(*) FROM runs").await, "2");
    assert_eq!(answer(&warehouse, "SELECT count(*) FROM ticks").await, "1");
    let error = failure(&warehouse, "SELECT count(*) FROM requests").await;
    assert!(error.to_string().contains("`raw.requests`"), "{error}");
    // Mended, it is read again.
    std::fs::remove_file(log.join(format!("{:020}.json", 2))).expect("removed");
    warehouse.refresh().await.expect("all of it");
    assert_eq!(
        answer(&warehouse, "SELECT count(*) FROM requests").await,
        "1"
    );
}

/// Says of an open table what a later release would say.
async fn make_newer(place: &Place, table: Table) {
    delta::open_or_create(&place.store(), table)
        .await
        .expect("a table")
        .set_tbl_properties()
        .with_properties([("plimsoll.schema_version".to_string(), "999".to_string())].into())
        .with_raise_if_not_exists(false)
        .await
        .expect("a later version");
}

#[tokio::test]
async fn a_table_with_features_of_other_tools_is_refused_by_name() {
    let place = Place::new();
    create(
        &place,
        Table::Runs,
        &[],
        &[("delta.enableDeletionVectors", "true")],
    )
    .await;
    let warehouse = place.open().await;
    let error = failure(&warehouse, "SELECT * FROM runs").await;
    assert!(
        matches!(error, QueryError::Open(OpenError::Unsupported { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_damaged_file_is_an_error_that_names_it_and_no_shorter_result() {
    let place = Place::new();
    place.append(&[run(id(at(1, 0), 1), "m")]).await;
    let folder = place
        .location
        .table_url(Table::Runs)
        .to_file_path()
        .expect("a path");
    let file = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "parquet")
        })
        .expect("a file");
    let bytes = std::fs::read(&file).expect("bytes");
    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("half the bytes");
    let warehouse = place.open().await;
    let error = failure(&warehouse, "SELECT model FROM runs").await;
    assert!(matches!(error, QueryError::Storage { .. }), "{error:?}");
    std::fs::remove_file(&file).expect("gone");
    let error = failure(&warehouse, "SELECT model FROM runs").await;
    let name = file
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    assert!(matches!(error, QueryError::Storage { .. }), "{error:?}");
    assert!(error.to_string().contains(&name), "{error}");
}

#[tokio::test]
async fn columns_keep_their_order_their_types_and_their_comments() {
    let place = Place::new();
    let seen = id(at(1, 0), 1);
    place.append(&[tick(seen, 1)]).await;
    place.append(&[run(seen, "m")]).await;
    let warehouse = place.open().await;
    for table in [Table::Ticks, Table::Runs, Table::Scores] {
        let sql = format!("SELECT * FROM {table}");
        let result = warehouse
            .query(&sql, &[], &crate::place::EVERYTHING)
            .await
            .expect("a result");
        let schema = result.schema();
        let names: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        let ours: Vec<&str> = table.columns().iter().map(|column| column.name).collect();
        assert_eq!(names, ours);
        for (field, column) in schema.fields().iter().zip(table.columns()) {
            assert_eq!(
                field.data_type(),
                &column.kind.data_type(),
                "{table}.{}",
                column.name
            );
            let comment = field.metadata().get("comment").map(String::as_str);
            assert_eq!(
                comment,
                Some(column.comment().as_str()),
                "{table}.{}",
                column.name
            );
        }
    }
    let sql = "SELECT run_id, date, at_ns FROM ticks";
    assert_eq!(
        answer(&warehouse, sql).await,
        format!("{seen},2026-01-01,1000000000")
    );
    assert!(warehouse.exists());
}
