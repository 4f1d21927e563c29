//! Large values, and operators that copy them.
//!
//! A list or a text that a query puts together may have megabytes, and a join that pairs its row with ten
//! thousand others copies it as often, in one batch, before anybody can count it. A query in which a join
//! meets such a row runs again in small batches, and takes no row that is too large for those. Lists are
//! taken apart in slices, for the same reason, and so are batches of which an expression names a column
//! again and again. And where the rows of a query are so large that what an operator puts together of
//! them would be, all of it runs again in smaller batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray as _, OffsetSizeTrait, RecordBatch};
use arrow::datatypes::{DataType, GenericBinaryType, GenericStringType, Schema};
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::prelude::SessionConfig;

use crate::metered::bytes_in;

mod attempt;
mod passing;

pub(crate) use attempt::{Attempt, Batches};
pub(crate) use passing::Looked;

/// What one batch may take.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    /// Memory for one of the threads of a query, in bytes.
    memory: usize,
    /// Rows of a batch that a join makes.
    rows: usize,
    /// Rows of all other batches.
    usual: usize,
    /// What may run again in smaller batches.
    attempt: Attempt,
}

/// Rows of a small batch, so small that large values can be copied.
const FEW_ROWS: usize = 32;

/// One part in so many of a thread's memory may go to one side of a joined batch.
const SHARE: usize = 4;

/// One part in so many goes to the rows of lists that are taken apart at once.
const APART: usize = 16;

/// One part in so many may go to a batch of any rows: a sort that reads again what it spilled holds
/// dozens.
const TOGETHER: usize = 64;

/// And so much always may, in bytes.
const SMALL_BATCH: usize = 256 << 10;

/// The aggregate whose value grows with its rows, and is no list.
const TEXTS_PUT_TOGETHER: &str = "string_agg";

/// Window functions that give the value of one other row, each once.
const OF_ONE_ROW: [&str; 2] = ["lag", "lead"];

/// A value in the text of a statement that is as large is copied for each row.
const LARGE_LITERAL: usize = 1024;

impl Room {
    /// Where all queries have so much memory.
    pub(crate) fn of(config: &SessionConfig, memory: usize, attempt: &Attempt) -> Self {
        let usual = config.batch_size();
        Self {
            memory: memory / config.target_partitions().max(1),
            rows: attempt.batches().joined.min(usual),
            usual,
            attempt: attempt.clone(),
        }
    }

    /// The context in which a join runs, whose batches have no more rows.
    pub(crate) fn of_join(&self, context: Arc<TaskContext>) -> Arc<TaskContext> {
        self.with_rows(context, self.rows)
    }

    /// The context in which runs what a join reads.
    pub(crate) fn of_input(&self, context: Arc<TaskContext>) -> Arc<TaskContext> {
        self.with_rows(context, self.usual)
    }

    /// The most that a batch may have, in bytes.
    fn batch(&self) -> usize {
        (self.memory / TOGETHER).max(SMALL_BATCH)
    }

    fn with_rows(&self, context: Arc<TaskContext>, rows: usize) -> Arc<TaskContext> {
        if self.rows == self.usual {
            return context;
        }
        let config = context.session_config().clone().with_batch_size(rows);
        let changed = TaskContext::default().with_session_config(config);
        Arc::new(changed.with_runtime(context.runtime_env()))
    }

    /// The most that a row may have which is copied into each row of a batch, in bytes.
    fn row(&self) -> usize {
        self.row_of(self.rows)
    }

    /// The same where a batch has so many rows.
    fn row_of(&self, rows: usize) -> usize {
        self.memory / SHARE / rows
    }
}

/// Whether an operator pairs rows.
pub(crate) fn joins(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>() || plan.is::<HashJoinExec>()
}

/// What would take more memory than there is. No error of the engine's: at one of those that say so,
/// a join begins to read anew from a disk, where this would be as large.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct TooLarge {
    message: String,
}

impl TooLarge {
    fn new(message: String) -> Self {
        Self { message }
    }

    /// Of a join by comparison that has no room for its first side.
    pub(crate) fn first_side() -> Self {
        let message =
            "a join without equal columns keeps all rows of one side, and they have no room";
        Self::new(message.to_string())
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

/// The parts of a batch that a join may take, whose rows it may copy into each row of a batch.
pub(crate) fn joined(batch: &RecordBatch, room: &Room) -> Result<Vec<RecordBatch>> {
    let copied = batch.columns().iter().filter(|column| copies_bytes(column));
    let copied: Vec<_> = copied.map(Arc::clone).collect();
    let all: usize = copied.iter().map(|column| bytes_in(column)).sum();
    if all > room.row() {
        let largest = bytes_of_rows(&copied).into_iter().max().unwrap_or(0);
        if largest > room.row() {
            let joined = FEW_ROWS.min(room.rows);
            if joined < room.rows {
                let others = room.usual;
                room.attempt.gives_way_to(Batches { joined, others });
            }
            let message = format!(
                "a row with lists or texts of {largest} bytes is joined with others, and {} are taken",
                room.row_of(joined)
            );
            return Err(TooLarge::new(message).into());
        }
    }
    if batch.num_rows() <= room.rows {
        return Ok(vec![batch.clone()]);
    }
    let begins = (0..batch.num_rows()).step_by(room.rows);
    let parts = begins.map(|begin| {
        let rows = room.rows.min(batch.num_rows() - begin);
        batch.slice(begin, rows)
    });
    Ok(parts.collect())
}

/// Whether a copy of a row copies the bytes of this column, and they may be many.
fn copies_bytes(column: &dyn Array) -> bool {
    let kind = column.data_type();
    let views = matches!(kind, DataType::Utf8View | DataType::BinaryView);
    !views && grows(kind)
}

/// Whether values of a type may be of any size.
fn grows(kind: &DataType) -> bool {
    kind.primitive_width().is_none() && *kind != DataType::Boolean
}

/// The parts of a batch whose lists, in `columns`, fit into memory when they are taken apart: each
/// item makes a row, with a copy of all else.
pub(crate) fn slices(
    batch: &RecordBatch,
    columns: &[(usize, usize)],
    room: &Room,
) -> Result<Vec<RecordBatch>> {
    let is_list = |place: &usize| columns.iter().any(|(list, _)| list == place);
    let others = batch.columns().iter().enumerate();
    let others = others.filter(|(place, _)| !is_list(place));
    let others: Vec<_> = others.map(|(_, column)| Arc::clone(column)).collect();
    let copied = bytes_of_rows(&others);
    let lists = columns
        .iter()
        .map(|(place, depth)| (batch.column(*place), *depth));
    let lists: Vec<_> = lists.collect();
    let rows = 0..batch.num_rows();
    let of_row = rows.map(|row| {
        let (mut items, mut own) = (1, 0);
        for (list, depth) in &lists {
            items = items.max(items_in(list, row, *depth));
            own += bytes_in(&list.slice(row, 1));
        }
        let bytes = items.saturating_mul(copied.get(row).copied().unwrap_or(0)) + own;
        (bytes, items)
    });
    let (bytes, items): (Vec<usize>, Vec<usize>) = of_row.unzip();
    cut(batch, &bytes, room, |row| {
        let items = items[row];
        format!(
            "a list of {items} items that is taken apart makes rows of {} bytes",
            bytes[row]
        )
    })
}

/// How often expressions name the columns of their input, where what they make of a row may be larger
/// than the row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    /// Columns that are named more than once, with how often; none of those of one size.
    columns: Vec<(usize, usize)>,
    /// Large values that stand in the expressions, in bytes.
    literals: usize,
    /// Values of subqueries, which are known when rows come.
    subqueries: Vec<Arc<dyn PhysicalExpr>>,
}

impl Named {
    /// What the expressions of a plan name, unless it has several inputs.
    pub(crate) fn by(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Self>> {
        let children = plan.children();
        let [input] = children.as_slice() else {
            return Ok(None);
        };
        let mut times = BTreeMap::new();
        let mut named = Self::default();
        plan.apply_expressions(&mut |expression| named.count(expression, &mut times))?;
        Ok(named.worth_watching(times, &input.schema()))
    }

    /// What an expression over columns of a schema names.
    pub(crate) fn in_one(
        expression: &Arc<dyn PhysicalExpr>,
        schema: &Schema,
    ) -> Result<Option<Self>> {
        let mut times = BTreeMap::new();
        let mut named = Self::default();
        named.count(expression, &mut times)?;
        Ok(named.worth_watching(times, schema))
    }

    fn count(
        &mut self,
        expression: &Arc<dyn PhysicalExpr>,
        times: &mut BTreeMap<usize, usize>,
    ) -> Result<TreeNodeRecursion> {
        expression.apply(|part| {
            if let Some(column) = part.downcast_ref::<Column>() {
                *times.entry(column.index()).or_insert(0) += 1;
            } else if let Some(literal) = part.downcast_ref::<Literal>() {
                let bytes = literal.value().size();
                self.literals += if bytes > LARGE_LITERAL { bytes } else { 0 };
            } else if part.is::<ScalarSubqueryExpr>() {
                self.subqueries.push(Arc::clone(part));
            }
            Ok(TreeNodeRecursion::Continue)
        })
    }

    fn worth_watching(mut self, times: BTreeMap<usize, usize>, schema: &Schema) -> Option<Self> {
        let may_grow = |place: usize| {
            let field = schema.fields().get(place);
            field.is_some_and(|field| grows(field.data_type()))
        };
        let often = times
            .into_iter()
            .filter(|(place, times)| *times > 1 && may_grow(*place));
        self.columns = often.collect();
        let some = self.literals > 0 || !self.columns.is_empty() || !self.subqueries.is_empty();
        some.then_some(self)
    }

    /// What large values of literals and subqueries take in each row.
    fn values(&self, batch: &RecordBatch) -> Result<usize> {
        let none = batch.slice(0, 0);
        let mut sum = self.literals;
        for subquery in &self.subqueries {
            if let ColumnarValue::Scalar(value) = subquery.evaluate(&none)? {
                let bytes = value.size();
                sum += if bytes > LARGE_LITERAL { bytes } else { 0 };
            }
        }
        Ok(sum)
    }

    /// The parts of a batch for which there is room: what puts texts and lists together may make as
    /// much of each row as it names.
    pub(crate) fn parts(&self, batch: &RecordBatch, room: &Room) -> Result<Vec<RecordBatch>> {
        let named = self
            .columns
            .iter()
            .map(|(place, times)| (batch.column(*place), times));
        let all = named
            .clone()
            .map(|(column, times)| bytes_in(column).saturating_mul(*times));
        let values = self.values(batch)?;
        let for_all = values.saturating_mul(batch.num_rows());
        if all.fold(for_all, usize::saturating_add) <= room.memory / APART {
            return Ok(vec![batch.clone()]);
        }
        let of_row = |row: usize| {
            let named = named.clone();
            let bytes = named.map(|(column, times)| bytes_in(&column.slice(row, 1)) * times);
            bytes.sum::<usize>() + values
        };
        let bytes: Vec<usize> = (0..batch.num_rows()).map(of_row).collect();
        cut(batch, &bytes, room, |row| {
            format!("an expression may make {} bytes of one row", bytes[row])
        })
    }
}

/// Cuts a batch, whose rows become so large, into parts that have room together.
fn cut(
    batch: &RecordBatch,
    bytes: &[usize],
    room: &Room,
    too_large: impl Fn(usize) -> String,
) -> Result<Vec<RecordBatch>> {
    let (at_once, most) = (room.memory / APART, room.memory / SHARE);
    let (mut parts, mut begin, mut sum) = (Vec::new(), 0, 0);
    for (row, bytes) in bytes.iter().enumerate() {
        if *bytes > most {
            return Err(TooLarge::new(too_large(row)).into());
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

/// How many rows the list of a row makes; of lists of lists at most.
fn items_in(lists: &dyn Array, row: usize, depth: usize) -> usize {
    match (lists.data_type(), depth) {
        (DataType::List(_), 1) => lists.as_list::<i32>().value_length(row) as usize,
        (DataType::LargeList(_), 1) => lists.as_list::<i64>().value_length(row) as usize,
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
mod tests;
