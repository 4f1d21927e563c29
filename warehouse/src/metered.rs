//! Memory that the engine's own operators do not ask for.
//!
//! Window functions keep rows, and projections give new values, without a word to the memory pool.
//! [`Metering`] puts nodes around them that count the rows on their way in and out, and end the query
//! where the pool has no more.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, AsArray as _, OffsetSizeTrait, RecordBatch};
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, StringViewType};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::wide::{self, Looked, Named, Room};

/// Meters every operator of a plan that needs it. The last rule: it changes nothing but that.
#[derive(Debug)]
pub(crate) struct Metering;

impl PhysicalOptimizerRule for Metering {
    fn name(&self) -> &str {
        "Metering"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            if plan.is::<ProjectionExec>() {
                return Ok(Transformed::yes(Metered::around(plan, Meter::Batch)));
            }
            if plan.is::<WindowAggExec>() || plan.is::<BoundedWindowAggExec>() {
                let kept = Arc::new(Kept::default());
                let inputs = plan.children().into_iter().map(|input| {
                    Metered::around(Arc::clone(input), Meter::Into(Arc::clone(&kept)))
                });
                let inputs = inputs.collect();
                let plan = Arc::clone(&plan).replace_children(inputs, unchanged())?;
                return Ok(Transformed::yes(Metered::around(plan, Meter::OutOf(kept))));
            }
            Ok(Transformed::no(plan))
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A meter has the properties of its input: were they worked out again, filters that a sort or a join
/// has given to the scans below it would be lost.
fn unchanged() -> ReplaceChildrenOptions {
    ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep)
}

/// What a node counts.
#[derive(Debug, Clone)]
enum Meter {
    /// The batch that was given last.
    Batch,
    /// What goes into an operator that keeps rows.
    Into(Arc<Kept>),
    /// What comes out of it.
    OutOf(Arc<Kept>),
    /// Nothing; but what comes out counts as rows that are read, so that its work gives way.
    GivesWay(Room),
    /// What goes into a join: it may be copied into each row.
    Joined(Room),
    /// What can be read once only, with the partitions that were.
    Once(Arc<Mutex<HashSet<usize>>>),
    /// What goes into an operator that takes lists apart, with their columns and how deep they are.
    Apart(Arc<[(usize, usize)]>, Room),
    /// What goes into an operator whose expressions name columns often.
    Often(Arc<Named>, Room),
    /// Rows that may be so large that the query has to run again in smaller batches.
    Passing(Looked),
}

/// `plan`, which gives way as if it read the rows that it makes, and passes for `original`.
pub(crate) fn giving_way(
    plan: Arc<dyn ExecutionPlan>,
    original: &Arc<dyn ExecutionPlan>,
    room: &Room,
) -> Arc<dyn ExecutionPlan> {
    Arc::new(Metered {
        input: plan,
        properties: Arc::clone(original.properties()),
        meter: Meter::GivesWay(room.clone()),
    })
}

/// Takes note of a batch that passes.
type Note = Box<dyn FnMut(&RecordBatch) -> Result<()> + Send>;

/// Gives the parts of a batch.
type Cut = Box<dyn Fn(&RecordBatch) -> Result<Vec<RecordBatch>> + Send>;

/// The plan, whose joins, expressions and operators that take lists apart copy no more than there is
/// room for, and which ends where its rows are too large for its batches.
pub(crate) fn bounded(plan: Arc<dyn ExecutionPlan>, room: &Room) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let bounded = bounded_inputs(Arc::clone(&plan), room)?;
        if let Some(looked) = Looked::at(&plan, room)? {
            let passing = Meter::Passing(looked);
            return Ok(Transformed::yes(Metered::around(
                bounded.unwrap_or(plan),
                passing,
            )));
        }
        Ok(bounded.map_or_else(|| Transformed::no(plan), Transformed::yes))
    })
    .data()
}

/// An operator, whose inputs are given to it in parts, if they have to be.
fn bounded_inputs(
    plan: Arc<dyn ExecutionPlan>,
    room: &Room,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let room = room.clone();
    let meter = if let Some(unnest) = plan.downcast_ref::<UnnestExec>() {
        let columns = unnest.list_column_indices().iter();
        let columns = columns.map(|list| (list.index_in_input_schema, list.depth));
        Meter::Apart(columns.collect(), room)
    } else if wide::joins(&plan) {
        Meter::Joined(room)
    } else if let Some(named) = Named::by(&plan)? {
        Meter::Often(Arc::new(named), room)
    } else {
        return Ok(None);
    };
    let inputs = plan.children().into_iter().enumerate();
    let inputs = inputs.map(|(place, input)| {
        let input = Metered::around(Arc::clone(input), meter.clone());
        match place {
            // The engine would read it again where it has no room, to keep it on disk; but scans
            // share out their files once, and rows that have no pair come out for each part.
            0 if plan.is::<NestedLoopJoinExec>() => {
                Metered::around(input, Meter::Once(Arc::default()))
            }
            _ => input,
        }
    });
    let inputs = inputs.collect();
    plan.replace_children(inputs, unchanged()).map(Some)
}

/// What each partition of an operator keeps.
#[derive(Debug, Default)]
struct Kept {
    partitions: Mutex<HashMap<usize, Arc<Mutex<Rows>>>>,
}

impl Kept {
    fn begin(&self, partition: usize, reservation: MemoryReservation) -> Arc<Mutex<Rows>> {
        let rows = Arc::new(Mutex::new(Rows {
            reservation,
            rows_in: 0,
            bytes_in: 0,
            rows_out: 0,
        }));
        let mut partitions = self.partitions.lock().expect("nobody panics holding it");
        partitions.insert(partition, Arc::clone(&rows));
        rows
    }

    fn begun(&self, partition: usize) -> Result<Arc<Mutex<Rows>>> {
        let partitions = self.partitions.lock().expect("nobody panics holding it");
        partitions.get(&partition).cloned().ok_or_else(|| {
            DataFusionError::Internal("a window's input began before its output".to_string())
        })
    }
}

/// What a window function gives for each row, and keeps of it besides.
const BYTES_A_ROW: usize = 16;

/// Rows in one partition of an operator: those that went in and did not come out.
#[derive(Debug)]
struct Rows {
    reservation: MemoryReservation,
    rows_in: usize,
    bytes_in: usize,
    rows_out: usize,
}

impl Rows {
    fn go_in(&mut self, batch: &RecordBatch) -> Result<()> {
        let bytes = bytes_of(batch) + BYTES_A_ROW * batch.num_rows();
        self.reservation.try_grow(bytes)?;
        self.rows_in += batch.num_rows();
        self.bytes_in += bytes;
        Ok(())
    }

    fn come_out(&mut self, batch: &RecordBatch) {
        self.rows_out += batch.num_rows();
        let left = self.rows_in.saturating_sub(self.rows_out) as f64;
        let bytes = self.bytes_in as f64 * left / self.rows_in.max(1) as f64;
        let more = self.reservation.size().saturating_sub(bytes as usize);
        self.reservation.shrink(more);
    }
}

/// Passes batches on and counts them.
#[derive(Debug, Clone)]
struct Metered {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    meter: Meter,
}

impl Metered {
    fn around(input: Arc<dyn ExecutionPlan>, meter: Meter) -> Arc<dyn ExecutionPlan> {
        let properties = Arc::clone(input.properties());
        Arc::new(Self {
            input,
            properties,
            meter,
        })
    }
}

impl DisplayAs for Metered {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metered")
    }
}

impl ExecutionPlan for Metered {
    fn name(&self) -> &'static str {
        "Metered"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Self::around(input, self.meter.clone())),
            _ => Err(DataFusionError::Internal(
                "a meter has one input".to_string(),
            )),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, unchanged())
    }

    /// Each round of a recursive query begins anew.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let meter = match &self.meter {
            Meter::Once(_) => Meter::Once(Arc::default()),
            other => other.clone(),
        };
        Ok(Arc::new(Self {
            meter,
            input: Arc::clone(&self.input),
            properties: Arc::clone(&self.properties),
        }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let reserve = |what: &str| MemoryConsumer::new(what).register(context.memory_pool());
        let mut note: Note = match &self.meter {
            Meter::Batch => {
                let reservation = reserve("values of a select list");
                Box::new(move |batch| reservation.try_resize(bytes_of(batch)))
            }
            Meter::Once(read) => {
                let mut read = read.lock().expect("nobody panics holding it");
                if !read.insert(partition) {
                    return Err(wide::TooLarge::first_side().into());
                }
                Box::new(|_| Ok(()))
            }
            Meter::GivesWay(_) | Meter::Joined(_) | Meter::Apart(..) | Meter::Often(..) => {
                Box::new(|_| Ok(()))
            }
            Meter::Passing(looked) => {
                let mut passing = looked.passing();
                Box::new(move |batch| passing.pass(batch))
            }
            Meter::Into(kept) => {
                let rows = kept.begun(partition)?;
                Box::new(move |batch| rows.lock().expect("nobody panics holding it").go_in(batch))
            }
            Meter::OutOf(kept) => {
                let rows = kept.begin(partition, reserve("rows of window functions"));
                Box::new(move |batch| {
                    rows.lock()
                        .expect("nobody panics holding it")
                        .come_out(batch);
                    Ok(())
                })
            }
        };
        let context = match &self.meter {
            Meter::GivesWay(room) if wide::joins(&self.input) => room.of_join(context),
            Meter::Joined(room) => room.of_input(context),
            _ => context,
        };
        let batches = self.input.execute(partition, context)?;
        if matches!(self.meter, Meter::GivesWay(_)) {
            return Ok(make_cooperative(batches));
        }
        let schema = batches.schema();
        let cut: Option<Cut> = match &self.meter {
            Meter::Joined(room) => {
                let room = room.clone();
                Some(Box::new(move |batch| wide::joined(batch, &room)))
            }
            Meter::Apart(columns, room) => {
                let (columns, room) = (Arc::clone(columns), room.clone());
                Some(Box::new(move |batch| wide::slices(batch, &columns, &room)))
            }
            Meter::Often(named, room) => {
                let (named, room) = (Arc::clone(named), room.clone());
                Some(Box::new(move |batch| named.parts(batch, &room)))
            }
            _ => None,
        };
        if let Some(cut) = cut {
            let parts = batches.map(move |batch| {
                let parts = cut(&batch?)?;
                Ok::<_, DataFusionError>(stream::iter(parts.into_iter().map(Ok)))
            });
            let parts = parts.try_flatten();
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, parts)));
        }
        let batches = batches.map(move |batch| {
            let batch = batch?;
            note(&batch)?;
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// What the rows of a batch take up, without what its buffers hold of others.
pub(crate) fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| bytes_in(column)).sum()
}

pub(crate) fn bytes_in(array: &dyn Array) -> usize {
    match array.data_type() {
        DataType::Utf8View => bytes_of_views::<StringViewType>(array),
        DataType::BinaryView => bytes_of_views::<BinaryViewType>(array),
        DataType::List(_) => bytes_of_lists::<i32>(array),
        DataType::LargeList(_) => bytes_of_lists::<i64>(array),
        DataType::Struct(_) => {
            let columns = array.as_struct().columns();
            columns.iter().map(|column| bytes_in(column)).sum()
        }
        _ => {
            let data = array.to_data();
            let of_slice = data.get_slice_memory_size();
            of_slice.unwrap_or_else(|_| data.get_array_memory_size())
        }
    }
}

fn bytes_of_views<T: ByteViewType>(array: &dyn Array) -> usize {
    let views = array.as_byte_view::<T>();
    let lengths = views.lengths().map(|length| length as usize);
    lengths.sum::<usize>() + size_of_val(views.views().as_ref())
}

fn bytes_of_lists<O: OffsetSizeTrait>(array: &dyn Array) -> usize {
    let lists = array.as_list::<O>();
    let offsets = lists.value_offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[lists.len()].as_usize());
    bytes_in(&lists.values().slice(first, last - first)) + size_of_val(offsets)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray, StringViewArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn a_slice_counts_for_what_it_holds() {
        let long = "a text that no view holds in itself";
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1; 100]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![long; 100]));
        let views: ArrayRef = Arc::new(StringViewArray::from(vec![long; 100]));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
            Some(
                vec![Some(1), Some(2)]
            );
            100
        ]));
        for (array, each) in [
            (numbers, 8),
            (texts, 4 + 35),
            (views, 16 + 35),
            (lists, 4 + 16),
        ] {
            for rows in [100, 10] {
                let bytes = bytes_in(&array.slice(50 - rows / 2, rows));
                assert!(
                    (rows * each..rows * each + 32).contains(&bytes),
                    "{:?}: {bytes} for {rows} rows",
                    array.data_type()
                );
            }
        }
    }
}
