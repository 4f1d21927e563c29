//! Large values, and operators that copy them.
//!
//! A list or a text that an aggregate puts together may have megabytes, and a join that pairs its row
//! with ten thousand others copies it as often, in one batch, before anybody can count it. Queries in
//! which both occur run in small batches, and their joins take no row that is too large for those.
//! Lists are taken apart in slices, for the same reason, and so are batches of which an expression names
//! a column again and again.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray as _, OffsetSizeTrait, RecordBatch};
use arrow::datatypes::{DataType, GenericBinaryType, GenericStringType};
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};

use crate::metered::bytes_in;

/// Rows of a batch in which large values may be copied.
pub(crate) const FEW_ROWS: usize = 128;

/// One part in so many of the memory of all queries may go to one side of such a batch.
const SHARE: usize = 4;

/// One part in so many goes to the rows of lists that are taken apart at once.
const APART: usize = 16;

/// An expression that names a column no more often makes no more of a batch than there is room for.
const OFTEN: usize = 16;

/// The aggregate whose value grows with its rows, and is no list.
const TEXTS_PUT_TOGETHER: &str = "string_agg";

/// Window functions that give the value of one other row, each once.
const OF_ONE_ROW: [&str; 2] = ["lag", "lead"];

/// Whether an operator pairs rows.
pub(crate) fn joins(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>() || plan.is::<HashJoinExec>()
}

/// Whether some aggregate of the plan puts large values together that a join may copy.
pub(crate) fn copies_large_values(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let (mut aggregates, mut pairs) = (false, false);
    plan.apply(|node| {
        pairs |= joins(node);
        if let Some(node) = node.downcast_ref::<AggregateExec>() {
            aggregates |= node.aggr_expr().iter().any(|aggregate| {
                aggregate.fun().name() == TEXTS_PUT_TOGETHER
                    || aggregate.field().data_type().is_nested()
            });
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(aggregates && pairs)
}

/// What would take more memory than there is. No error of the engine's: at one of those that say so,
/// a join begins to read anew from a disk, where this would be as large.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TooLarge(String);

impl TooLarge {
    /// Of a join by comparison that has no room for its first side.
    pub(crate) fn first_side() -> Self {
        Self(
            "a join without equal columns keeps all rows of one side, and they have no room".into(),
        )
    }
}

impl From<TooLarge> for DataFusionError {
    fn from(error: TooLarge) -> Self {
        Self::External(Box::new(error))
    }
}

/// Refuses window functions that give each row a list or a text of many others.
pub(crate) fn check_windows(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    plan.apply(|node| {
        let functions = match (
            node.downcast_ref::<WindowAggExec>(),
            node.downcast_ref::<BoundedWindowAggExec>(),
        ) {
            (Some(node), _) => node.window_expr(),
            (_, Some(node)) => node.window_expr(),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        for function in functions {
            let name = function.name().split('(').next().unwrap_or_default();
            let large = name == TEXTS_PUT_TOGETHER || function.field()?.data_type().is_nested();
            if large && !OF_ONE_ROW.contains(&name) {
                return Err(DataFusionError::Plan(format!(
                    "`{name}` is not offered as a window function, where it gives each row a list or a \
                     text of many others: aggregate with GROUP BY, and join"
                )));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Refuses a batch with a row that is too large to be copied [`FEW_ROWS`] times.
pub(crate) fn within_a_batch(batch: &RecordBatch, memory: usize) -> Result<()> {
    let most = memory / SHARE / FEW_ROWS;
    match bytes_of_rows(batch.columns()).into_iter().max() {
        Some(bytes) if bytes > most => Err(TooLarge(format!(
            "a row with lists or texts of {bytes} bytes is joined with others, and {most} are taken"
        ))
        .into()),
        _ => Ok(()),
    }
}

/// The parts of a batch whose lists, in `columns`, fit into memory when they are taken apart: each
/// item makes a row, with a copy of all else.
pub(crate) fn slices(
    batch: &RecordBatch,
    columns: &[usize],
    memory: usize,
) -> Result<Vec<RecordBatch>> {
    let others = batch.columns().iter().enumerate();
    let others = others.filter(|(place, _)| !columns.contains(place));
    let others: Vec<_> = others.map(|(_, column)| Arc::clone(column)).collect();
    let copied = bytes_of_rows(&others);
    let lists: Vec<_> = columns.iter().map(|place| batch.column(*place)).collect();
    let rows = 0..batch.num_rows();
    let of_row = rows.map(|row| {
        let (mut items, mut own) = (1, 0);
        for list in &lists {
            items = items.max(items_in(list, row));
            own += bytes_in(&list.slice(row, 1));
        }
        let bytes = items.saturating_mul(copied.get(row).copied().unwrap_or(0)) + own;
        (bytes, items)
    });
    let (bytes, items): (Vec<usize>, Vec<usize>) = of_row.unzip();
    cut(batch, &bytes, memory, |row| {
        let items = items[row];
        format!(
            "a list of {items} items that is taken apart makes rows of {} bytes",
            bytes[row]
        )
    })
}

/// The parts of a batch for which an expression that names each of `columns` so many times has room:
/// what puts texts and lists together may make as much of each row as it names.
pub(crate) fn parts(
    batch: &RecordBatch,
    columns: &[(usize, usize)],
    memory: usize,
) -> Result<Vec<RecordBatch>> {
    let named = columns
        .iter()
        .map(|(place, times)| (batch.column(*place), times));
    let all = named
        .clone()
        .map(|(column, times)| bytes_in(column).saturating_mul(*times));
    if all.fold(0, usize::saturating_add) <= memory / APART {
        return Ok(vec![batch.clone()]);
    }
    let of_row = |row: usize| {
        let named = named.clone();
        let bytes = named.map(|(column, times)| bytes_in(&column.slice(row, 1)) * times);
        bytes.sum::<usize>()
    };
    let bytes: Vec<usize> = (0..batch.num_rows()).map(of_row).collect();
    cut(batch, &bytes, memory, |row| {
        format!("an expression may make {} bytes of one row", bytes[row])
    })
}

/// Cuts a batch, whose rows become so large, into parts that have room together.
fn cut(
    batch: &RecordBatch,
    bytes: &[usize],
    memory: usize,
    too_large: impl Fn(usize) -> String,
) -> Result<Vec<RecordBatch>> {
    let (at_once, most) = (memory / APART, memory / SHARE);
    let (mut parts, mut begin, mut sum) = (Vec::new(), 0, 0);
    for (row, bytes) in bytes.iter().enumerate() {
        if *bytes > most {
            return Err(TooLarge(too_large(row)).into());
        }
        if sum + bytes > at_once && row > begin {
            parts.push(batch.slice(begin, row - begin));
            (begin, sum) = (row, 0);
        }
        sum += bytes;
    }
    parts.push(batch.slice(begin, batch.num_rows() - begin));
    Ok(parts)
}

/// The columns of a plan's input that its expressions name so often that what they make of them has to
/// be watched, each with how often; none of those of one size.
pub(crate) fn named_often(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<(usize, usize)>> {
    let children = plan.children();
    let [input] = children.as_slice() else {
        return Ok(Vec::new());
    };
    let schema = input.schema();
    let mut times = BTreeMap::new();
    plan.apply_expressions(&mut |expression| {
        expression.apply(|part| {
            if let Some(column) = part.downcast_ref::<Column>() {
                *times.entry(column.index()).or_insert(0) += 1;
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    let grows = |place: usize| {
        let fields = schema.fields();
        fields
            .get(place)
            .is_some_and(|field| field.data_type().primitive_width().is_none())
    };
    times.retain(|place, times| *times > OFTEN && grows(*place));
    Ok(times.into_iter().collect())
}

/// How many rows the list of a row makes; of lists of lists at most.
fn items_in(lists: &dyn Array, row: usize) -> usize {
    let items = |values: &dyn Array, length: usize| match values.data_type().is_nested() {
        true => bytes_in(&lists.slice(row, 1)),
        false => length,
    };
    match lists.data_type() {
        DataType::List(_) => {
            let lists = lists.as_list::<i32>();
            items(lists.values(), lists.value_length(row) as usize)
        }
        DataType::LargeList(_) => {
            let lists = lists.as_list::<i64>();
            items(lists.values(), lists.value_length(row) as usize)
        }
        _ => bytes_in(&lists.slice(row, 1)),
    }
}

/// What a copy of each row takes.
fn bytes_of_rows(columns: &[Arc<dyn Array>]) -> Vec<usize> {
    let mut sums = vec![0; columns.first().map_or(0, |column| column.len())];
    for column in columns {
        let mut add = |bytes: &dyn Fn(usize) -> usize| {
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum += bytes(row);
            }
        };
        match column.data_type() {
            // A copy of a view has the same text.
            DataType::Utf8View | DataType::BinaryView => add(&|_| size_of::<u128>()),
            DataType::Utf8 => add(&texts::<i32>(column)),
            DataType::LargeUtf8 => add(&texts::<i64>(column)),
            DataType::Binary => add(&bytes::<i32>(column)),
            DataType::LargeBinary => add(&bytes::<i64>(column)),
            kind if kind.is_nested() => add(&|row| bytes_in(&column.slice(row, 1))),
            kind => {
                let width = kind.primitive_width().unwrap_or(1);
                add(&move |_| width);
            }
        }
    }
    sums
}

fn texts<O: OffsetSizeTrait>(column: &dyn Array) -> impl Fn(usize) -> usize + '_ {
    let texts = column.as_bytes::<GenericStringType<O>>();
    move |row| texts.value_length(row).as_usize()
}

fn bytes<O: OffsetSizeTrait>(column: &dyn Array) -> impl Fn(usize) -> usize + '_ {
    let values = column.as_bytes::<GenericBinaryType<O>>();
    move |row| values.value_length(row).as_usize()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray, StringViewArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn lists(lengths: &[usize]) -> ArrayRef {
        let lists = lengths
            .iter()
            .map(|length| Some(vec![Some(7_i64); *length]));
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
    }

    #[test]
    fn a_row_is_as_large_as_its_copy() {
        let long = "x".repeat(100);
        let columns: [ArrayRef; 4] = [
            Arc::new(Int64Array::from(vec![1, 2])),
            Arc::new(StringArray::from(vec!["four", long.as_str()])),
            Arc::new(StringViewArray::from(vec!["four", long.as_str()])),
            lists(&[0, 3]),
        ];
        let each = bytes_of_rows(&columns);
        // The offsets of a list of one count with it.
        assert_eq!(each, [8 + 4 + 16 + 8, 8 + 100 + 16 + 24 + 8]);
        let sliced = columns.map(|column| column.slice(1, 1));
        assert_eq!(bytes_of_rows(&sliced), each[1..]);
        let none: [ArrayRef; 0] = [];
        assert!(bytes_of_rows(&none).is_empty());
    }

    #[test]
    fn lists_are_taken_apart_in_parts_that_fit() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1; 6]));
        let batch = [("n", numbers), ("l", lists(&[100, 100, 0, 300, 1, 2]))];
        let batch = RecordBatch::try_from_iter(batch).expect("a batch");
        let rows = |memory: usize| -> Vec<usize> {
            let parts = slices(&batch, &[1], memory).expect("parts");
            parts.iter().map(RecordBatch::num_rows).collect()
        };
        // A row of a hundred items makes 1,600 bytes, one of three hundred 4,800.
        assert_eq!(rows(16 * 10_000), [6]);
        assert_eq!(rows(16 * 5_000), [3, 3]);
        assert_eq!(rows(16 * 2_000), [1, 2, 1, 2]);
        let refused = slices(&batch, &[1], 4 * 4_000).expect_err("too large");
        assert!(
            refused.to_string().contains("a list of 300 items"),
            "{refused}"
        );
    }

    #[test]
    fn what_is_named_often_is_worked_out_in_parts_that_fit() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["x".repeat(84); 6]));
        let batch = RecordBatch::try_from_iter([("s", texts)]).expect("a batch");
        // A hundred bytes each, with what a view takes.
        let rows = |memory: usize| -> Vec<usize> {
            let parts = parts(&batch, &[(0, 20)], memory).expect("parts");
            parts.iter().map(RecordBatch::num_rows).collect()
        };
        assert_eq!(rows(16 * 12_000), [6]);
        assert_eq!(rows(16 * 11_999), [5, 1]);
        assert_eq!(rows(16 * 4_100), [2, 2, 2]);
        assert_eq!(rows(16 * 500), [1, 1, 1, 1, 1, 1]);
        let refused = parts(&batch, &[(0, 20)], 4 * 1_999).expect_err("too large");
        assert!(
            refused.to_string().contains("2000 bytes of one row"),
            "{refused}"
        );
    }
}
