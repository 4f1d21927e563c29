//! Maintenance of a warehouse that a later release writes, too.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use deltalake_core::kernel::transaction::CommitBuilder;
use deltalake_core::kernel::{Action, StructField};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::writer::{DeltaWriter as _, RecordBatchWriter};

use super::*;

/// A run whose chunks have a column that this release does not know.
async fn publish_with_region(store: &WarehouseStore, hours_ago: i64) {
    let run_id = RunId::new(moment(hours_ago));
    let batch = ChunksRow::to_batch(&chunks_of(run_id)).expect("rows");
    let region: ArrayRef = Arc::new(StringArray::from(vec!["eu"; 5]));
    let field = Arc::new(Field::new("region", DataType::Utf8, true));
    let known = batch.schema();
    let fields: Vec<_> = known.fields().iter().cloned().chain([field]).collect();
    let columns = [batch.columns(), &[region]].concat();
    let schema = Arc::new(Schema::new(fields));
    let batch = arrow::array::RecordBatch::try_new(schema, columns).expect("a batch");

    let delta = delta::open_table(store, Table::Chunks).await;
    let delta = delta.expect("readable").expect("there");
    let region = StructField::nullable("region", deltalake_core::kernel::DataType::STRING);
    let widened = delta.add_columns().with_fields([region]).await;
    let delta = widened.expect("a later release adds a column");
    let mut writer = RecordBatchWriter::for_table(&delta).expect("a writer");
    writer.write(batch).await.expect("written");
    let adds = writer.flush().await.expect("files").into_iter().map(|add| {
        Action::Add(deltalake_core::kernel::Add {
            modification_time: moment(hours_ago).millis(),
            ..add
        })
    });
    let operation = DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: None,
        predicate: None,
    };
    let committed = CommitBuilder::default().with_actions(adds.collect()).build(
        Some(delta.snapshot().expect("loaded")),
        delta.log_store(),
        operation,
    );
    committed.await.expect("a commit");
    append(store, run_id, hours_ago, &[passed(run_id)]).await;
}

#[tokio::test]
async fn columns_that_a_later_release_added_are_kept() {
    let (_folder, store) = place();
    publish(&store, 72, true).await;
    publish_with_region(&store, 72).await;
    let regions = "SELECT region, count(*) FROM chunks GROUP BY region ORDER BY region";
    let before = answer(&store, regions).await;
    assert_eq!(before, "eu,5\n,5");
    optimize(&store).await;
    assert_eq!(files(&store, Table::Chunks).await.len(), 1, "put together");
    assert_eq!(answer(&store, regions).await, before);
}
