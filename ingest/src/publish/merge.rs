//! The rows of a spool in the order in which a file holds them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::compute::{
    SortColumn, concat_batches, interleave_record_batch, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;

use crate::spool::{FrameRef, SpoolContents, SpoolError, Tag};
use crate::table::Table;

/// Rows per batch that come out, or fewer where rows hold long lists: some batch's worth of bytes.
const BATCH_ROWS: usize = 8_192;
const BATCH_BYTES: usize = 4 << 20;

/// What can go wrong while rows are put in order.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The spool cannot be read.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Arrow refused.
    #[error("table `{table}`: rows cannot be put in order")]
    Arrow {
        /// The table.
        table: Table,
        /// Arrow's reason.
        source: ArrowError,
    },
}

fn sorted_by(batch: &RecordBatch, names: &[&str]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<_> = names
        .iter()
        .filter_map(|name| batch.column_by_name(name))
        .map(|values| SortColumn {
            values: values.clone(),
            options: None,
        })
        .collect();
    let order = lexsort_to_indices(&columns, None)?;
    take_record_batch(batch, &order)
}

/// A frame's rows, sorted, and how far they were given out.
struct Open {
    batch: RecordBatch,
    keys: Int64Array,
    next: usize,
}

/// Gives out a table's rows in order, holding only frames that overlap.
///
/// Frames are written about in order, so few overlap. A frame is opened when
/// the order reaches its smallest key: memory grows with the number of frames
/// that a long request spans, not with the length of the run.
pub(crate) struct MergedRows<'a> {
    contents: &'a SpoolContents,
    table: Table,
    key: &'static str,
    /// Rows of a batch.
    batch_rows: usize,
    /// Frames that were not opened yet, by smallest key.
    waiting: VecDeque<(i64, FrameRef)>,
    open: Vec<Open>,
    heap: BinaryHeap<Reverse<(i64, usize)>>,
}

impl<'a> MergedRows<'a> {
    fn new(
        contents: &'a SpoolContents,
        tag: Tag,
        table: Table,
        key: &'static str,
    ) -> Result<Self, MergeError> {
        let mut waiting = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        for frame in contents.frames(tag) {
            let batch = contents.read(frame)?;
            rows += batch.num_rows();
            bytes += frame.payload_len;
            let keys = keys_of(&batch, key);
            if let Some(least) = arrow::compute::min(&keys) {
                waiting.push((least, *frame));
            }
        }
        waiting.sort_by_key(|(least, _)| *least);
        let row_bytes = bytes.div_ceil(rows.max(1)).max(1);
        Ok(Self {
            contents,
            table,
            key,
            batch_rows: (BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS),
            waiting: waiting.into(),
            open: Vec::new(),
            heap: BinaryHeap::new(),
        })
    }

    /// Opens every frame that may hold a key up to `reach`.
    fn open_up_to(&mut self, reach: i64) -> Result<(), MergeError> {
        while let Some((_, frame)) = self.waiting.front().filter(|(least, _)| *least <= reach) {
            let batch = self.contents.read(frame)?;
            let batch = sorted_by(&batch, &[self.key]).map_err(|source| MergeError::Arrow {
                table: self.table,
                source,
            })?;
            let keys = keys_of(&batch, self.key);
            self.heap.push(Reverse((keys.value(0), self.open.len())));
            self.open.push(Open {
                batch,
                keys,
                next: 0,
            });
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, MergeError> {
        let mut picked = Vec::with_capacity(self.batch_rows);
        while picked.len() < self.batch_rows {
            let reach = match (self.heap.peek(), self.waiting.front()) {
                (Some(Reverse((key, _))), _) => *key,
                (None, Some((least, _))) => *least,
                (None, None) => break,
            };
            self.open_up_to(reach)?;
            let Some(Reverse((_, index))) = self.heap.pop() else {
                break;
            };
            let open = &mut self.open[index];
            picked.push((index, open.next));
            open.next += 1;
            if open.next < open.keys.len() {
                self.heap.push(Reverse((open.keys.value(open.next), index)));
            }
        }
        if picked.is_empty() {
            return Ok(None);
        }
        let batches: Vec<_> = self.open.iter().map(|open| &open.batch).collect();
        let batch =
            interleave_record_batch(&batches, &picked).map_err(|source| MergeError::Arrow {
                table: self.table,
                source,
            })?;
        self.close_spent();
        Ok(Some(batch))
    }

    /// Lets go of frames whose rows were all given out.
    fn close_spent(&mut self) {
        if self.open.iter().all(|open| open.next < open.keys.len()) {
            return;
        }
        self.open.retain(|open| open.next < open.keys.len());
        self.heap = self
            .open
            .iter()
            .enumerate()
            .map(|(index, open)| Reverse((open.keys.value(open.next), index)))
            .collect();
    }
}

fn keys_of(batch: &RecordBatch, key: &str) -> Int64Array {
    batch
        .column_by_name(key)
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
        .cloned()
        .expect("rows are read with their table's columns, and it is merged by an integer one")
}

/// The rows of one table in file order, batch by batch.
pub(crate) fn ordered_rows<'a>(
    contents: &'a SpoolContents,
    tag: Tag,
    table: Table,
) -> Result<Box<dyn Iterator<Item = Result<RecordBatch, MergeError>> + Send + 'a>, MergeError> {
    if let Some(key) = table.merge_column() {
        let mut merged = MergedRows::new(contents, tag, table, key)?;
        return Ok(Box::new(std::iter::from_fn(move || {
            merged.next_batch().transpose()
        })));
    }
    let schema = table.arrow_schema();
    let batches = contents.batches(tag).collect::<Result<Vec<_>, _>>()?;
    let whole = concat_batches(&schema, &batches)
        .and_then(|whole| sorted_by(&whole, table.sort_columns()))
        .map_err(|source| MergeError::Arrow { table, source })?;
    Ok(Box::new(std::iter::once(Ok(whole)).filter(
        |batch| match batch {
            Ok(batch) => batch.num_rows() > 0,
            Err(_) => true,
        },
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RunId;
    use crate::row::TableRow as _;
    use crate::spool::{Manifest, Spool};
    use crate::table::ChunksRow;
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn merged(frames: &[Vec<i64>]) -> Vec<i64> {
        let root = tempfile::tempdir().expect("root");
        let run_id = RunId::new(Timestamp::now());
        let manifest = Manifest::new(run_id, "", "");
        let mut spool = Spool::create(root.path(), manifest).expect("create");
        for ids in frames {
            let rows: Vec<_> = ids
                .iter()
                .map(|id| ChunksRow {
                    run_id,
                    run_key: run_id.run_key(),
                    date: run_id.date(),
                    request_id: *id,
                    at_ns: vec![*id, 1],
                    tokens: None,
                })
                .collect();
            let batch = ChunksRow::to_batch(&rows).expect("batch");
            spool
                .append(Tag::Facts(Table::Chunks), &batch)
                .expect("append");
        }
        let contents = spool.contents().expect("contents");
        let rows = ordered_rows(&contents, Tag::Facts(Table::Chunks), Table::Chunks);
        rows.expect("ordered")
            .flat_map(|batch| ChunksRow::from_batch(&batch.expect("batch")).expect("rows"))
            .map(|row| {
                assert_eq!(row.at_ns, [row.request_id, 1], "a row keeps its own values");
                row.request_id
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn frames_in_any_order_come_out_sorted_and_whole(
            frames in prop::collection::vec(prop::collection::vec(0i64..400, 0..40), 0..8),
        ) {
            let mut expected: Vec<i64> = frames.concat();
            expected.sort_unstable();
            prop_assert_eq!(merged(&frames), expected);
        }
    }

    #[test]
    fn more_rows_than_a_batch_holds_come_out_in_several() {
        let late: Vec<i64> = (0..3).chain(20_000..20_003).collect();
        let many: Vec<i64> = (3..20_000).collect();
        assert_eq!(merged(&[many, late]), (0..20_003).collect::<Vec<_>>());
    }
}
