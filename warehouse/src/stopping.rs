//! Plans that stop when they are told to, and let others run until then.
//!
//! A query's work stops where it yields, and so gives its thread to others. The engine yields where
//! rows are read. An operator that joins makes many rows of few, or none of many, for hours perhaps
//! before it reads again: so its batches count as rows that are read, and its condition, which is
//! worked out again and again, looks whether the query was stopped, and now and then has other
//! queries go on beside it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::unnest::UnnestExec;

/// A condition is worked out for so long before others have their turn.
const TURN: Duration = Duration::from_millis(100);

/// What it takes another thread to take over the queries that wait.
const HANDING_OVER: Duration = Duration::from_millis(1);

/// Tells a query that it is over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// What heeds it ends.
    pub(crate) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn heed(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(DataFusionError::Execution(
                "the query was stopped".to_string(),
            ));
        }
        Ok(())
    }
}

/// The plan, whose joins end soon after `stop`. It is not to be optimised any more.
pub(crate) fn heeding(plan: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let heeds = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            let filter = join.filter().map(|filter| Heeding::around(filter, stop));
            HashJoinExecBuilder::from(join)
                .with_filter(filter)
                .build_exec()?
        } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            let filter = join.filter().map(|filter| Heeding::around(filter, stop));
            let join = NestedLoopJoinExecBuilder::from(join).with_filter(filter);
            Arc::new(join.build()?)
        } else if plan.is::<CrossJoinExec>() || plan.is::<UnnestExec>() {
            plan
        } else {
            return Ok(Transformed::no(plan));
        };
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(heeds))))
    })
    .data()
}

/// A condition that is worked out until the query is stopped.
#[derive(Debug)]
struct Heeding {
    condition: Arc<dyn PhysicalExpr>,
    stop: Stop,
    turns: Arc<Turns>,
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
    fn around(filter: &JoinFilter, stop: &Stop) -> JoinFilter {
        let heeding = Self {
            condition: Arc::clone(filter.expression()),
            stop: stop.clone(),
            turns: Arc::new(Turns {
                began: Instant::now(),
                last: AtomicU64::new(0),
            }),
        };
        let columns = filter.column_indices().to_vec();
        JoinFilter::new(Arc::new(heeding), columns, Arc::clone(filter.schema()))
    }
}

impl PhysicalExpr for Heeding {
    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.condition.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.stop.heed()?;
        self.turns.let_others();
        self.condition.evaluate(batch)
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
            stop: self.stop.clone(),
            turns: Arc::clone(&self.turns),
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
