//! Plans that stop when they are told to, and let others run until then.
//!
//! A query's work stops where it yields, and so gives its thread to others. The engine yields where
//! rows are read. An operator that joins makes many rows of few, or none of many, for hours perhaps
//! before it reads again: so its batches count as rows that are read, and its condition, which is
//! worked out again and again, looks whether the query was stopped, and now and then has other
//! queries go on beside it. So do the values of window functions.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::lit;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::unnest::UnnestExec;

use crate::metered::giving_way;
use crate::wide::{Named, Room};

mod windows;

pub(crate) use windows::windows_heeding;

/// A condition is worked out for so long before others have their turn.
const TURN: Duration = Duration::from_millis(100);

/// What it takes another thread to take over the queries that wait.
const HANDING_OVER: Duration = Duration::from_millis(1);

/// How many works there are on the threads for queries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Works(Arc<AtomicUsize>);

impl Works {
    /// Counts one more, until that is dropped.
    pub(crate) fn one_more(&self) -> OneWork {
        self.0.fetch_add(1, Ordering::Relaxed);
        OneWork(self.clone())
    }
}

/// A work that is not over.
#[derive(Debug)]
pub(crate) struct OneWork(Works);

impl Drop for OneWork {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells a query that it is over.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    over: Arc<AtomicBool>,
    works: Works,
}

impl Stop {
    /// For one of these.
    pub(crate) fn among(works: &Works) -> Self {
        Self {
            over: Arc::default(),
            works: works.clone(),
        }
    }

    /// What heeds it ends.
    pub(crate) fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether nobody else would have a turn.
    fn is_alone(&self) -> bool {
        self.works.0.load(Ordering::Relaxed) < 2
    }

    fn heed(&self) -> Result<()> {
        if self.over.load(Ordering::Relaxed) {
            return Err(DataFusionError::Execution(
                "the query was stopped".to_string(),
            ));
        }
        Ok(())
    }
}

/// The plan, whose joins end soon after `stop`. It is not to be optimised any more.
pub(crate) fn heeding(
    plan: Arc<dyn ExecutionPlan>,
    stop: &Stop,
    room: &Room,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let around = |filter: &JoinFilter| Heeding::around(filter, stop, room);
        let heeds = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            let filter = match join.filter() {
                None if gives_no_pairs(join) => Some(around(&always())?),
                filter => filter.map(around).transpose()?,
            };
            HashJoinExecBuilder::from(join)
                .with_filter(filter)
                .build_exec()?
        } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            let filter = join.filter().map(around).transpose()?;
            let join = NestedLoopJoinExecBuilder::from(join).with_filter(filter);
            Arc::new(join.build()?)
        } else if plan.is::<CrossJoinExec>() || plan.is::<UnnestExec>() {
            Arc::clone(&plan)
        } else {
            return Ok(Transformed::no(plan));
        };
        // With the properties that it had: else a sort above would lose what it tells the scans below.
        Ok(Transformed::yes(giving_way(heeds, &plan, room)))
    })
    .data()
}

/// Whether a join looks at pairs and gives only rows of one side: it may look at very many before it
/// gives any, and where it has no condition nothing is worked out meanwhile.
fn gives_no_pairs(join: &HashJoinExec) -> bool {
    let of_one_side = matches!(
        join.join_type(),
        JoinType::LeftSemi
            | JoinType::RightSemi
            | JoinType::LeftAnti
            | JoinType::RightAnti
            | JoinType::LeftMark
            | JoinType::RightMark
    );
    of_one_side && !join.null_aware
}

/// A condition that every pair meets.
fn always() -> JoinFilter {
    JoinFilter::new(lit(true), Vec::new(), Arc::new(Schema::empty()))
}

/// A condition that is worked out until the query is stopped.
#[derive(Debug)]
struct Heeding {
    condition: Arc<dyn PhysicalExpr>,
    /// What it names often, if it does.
    named: Option<Arc<Named>>,
    room: Room,
    heed: Heed,
}

/// What work of a query looks at now and then.
#[derive(Debug, Clone)]
struct Heed {
    stop: Stop,
    turns: Arc<Turns>,
}

impl Heed {
    fn of(stop: &Stop) -> Self {
        Self {
            stop: stop.clone(),
            turns: Arc::new(Turns {
                began: Instant::now(),
                last: AtomicU64::new(0),
            }),
        }
    }

    /// Ends the work where the query was stopped, and has others go on beside it where it takes long.
    fn heed(&self) -> Result<()> {
        self.stop.heed()?;
        // Each turn may go on on another thread, and allocators keep memory for each: for nobody, a
        // query would take several times what it holds.
        if !self.stop.is_alone() {
            self.turns.let_others();
        }
        Ok(())
    }
}

/// When others had their turn last.
#[derive(Debug)]
struct Turns {
    began: Instant,
    /// In ms since then.
    last: AtomicU64,
}

impl Turns {
    /// Has the other tasks of this thread go on beside this one, where it has worked for long: its
    /// thread is no longer one of the runtime's, which takes another in its place.
    fn let_others(&self) {
        let turn = TURN.as_millis() as u64;
        let now = self.began.elapsed().as_millis() as u64;
        let last = self.last.load(Ordering::Relaxed);
        if now < last + turn {
            return;
        }
        let ours = self
            .last
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        if ours.is_ok() {
            tokio::task::block_in_place(|| thread::sleep(HANDING_OVER));
        }
    }
}

impl Heeding {
    fn around(filter: &JoinFilter, stop: &Stop, room: &Room) -> Result<JoinFilter> {
        let heeding = Self {
            condition: Arc::clone(filter.expression()),
            named: Named::in_one(filter.expression(), filter.schema())?.map(Arc::new),
            room: room.clone(),
            heed: Heed::of(stop),
        };
        let columns = filter.column_indices().to_vec();
        let schema = Arc::clone(filter.schema());
        Ok(JoinFilter::new(Arc::new(heeding), columns, schema))
    }
}

impl PhysicalExpr for Heeding {
    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.condition.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.heed.heed()?;
        let parts = match &self.named {
            Some(named) => named.parts(batch, &self.room)?,
            None => return self.condition.evaluate(batch),
        };
        if parts.len() < 2 {
            return self.condition.evaluate(batch);
        }
        let values = parts.iter().map(|part| {
            self.heed.heed()?;
            self.condition.evaluate(part)?.into_array(part.num_rows())
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&values)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.condition]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let condition = children.pop().ok_or_else(|| {
            DataFusionError::Internal("a condition was taken out of what heeds it".to_string())
        })?;
        Ok(Arc::new(Self {
            condition,
            named: self.named.clone(),
            room: self.room.clone(),
            heed: self.heed.clone(),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt_sql(f)
    }
}

impl fmt::Display for Heeding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)
    }
}

impl PartialEq for Heeding {
    fn eq(&self, other: &Self) -> bool {
        self.condition.eq(&other.condition)
    }
}

impl Eq for Heeding {}

impl Hash for Heeding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.condition.hash(state);
    }
}
