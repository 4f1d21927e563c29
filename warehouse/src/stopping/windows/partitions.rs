//! Functions of a partition's rows, whose values heed the end of their query.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{
    ExpressionArgs, PartitionEvaluatorArgs, WindowFunctionSimplification, WindowUDFFieldArgs,
};
use datafusion::logical_expr::window_state::WindowAggState;
use datafusion::logical_expr::{
    Documentation, LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDF,
    WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;

use crate::stopping::Heed;

pub(super) fn around(function: &Arc<WindowUDF>, heed: &Heed) -> Arc<WindowUDF> {
    Arc::new(WindowUDF::new_from_impl(HeedingFunction {
        inner: Arc::clone(function),
        heed: heed.clone(),
    }))
}

/// A function such as `nth_value`, whose values are worked out until the query is stopped.
#[derive(Debug)]
struct HeedingFunction {
    inner: Arc<WindowUDF>,
    heed: Heed,
}

impl PartialEq for HeedingFunction {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for HeedingFunction {}

impl Hash for HeedingFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl WindowUDFImpl for HeedingFunction {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn expressions(&self, arguments: ExpressionArgs<'_>) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(arguments)
    }

    fn partition_evaluator(
        &self,
        arguments: PartitionEvaluatorArgs<'_>,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(HeedingValues {
            values: self.inner.partition_evaluator_factory(arguments)?,
            heed: self.heed.clone(),
        }))
    }

    fn simplify(&self) -> Option<WindowFunctionSimplification> {
        self.inner.simplify()
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.field(arguments)
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.sort_options()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.inner.reverse_expr() {
            ReversedUDWF::Reversed(function) => {
                ReversedUDWF::Reversed(around(&function, &self.heed))
            }
            other => other,
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn limit_effect(&self, arguments: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.inner.inner().limit_effect(arguments)
    }
}

/// The rows of one partition.
#[derive(Debug)]
struct HeedingValues {
    values: Box<dyn PartitionEvaluator>,
    heed: Heed,
}

impl PartitionEvaluator for HeedingValues {
    fn memoize(&mut self, state: &mut WindowAggState) -> Result<()> {
        self.values.memoize(state)
    }

    fn get_range(&self, row: usize, rows: usize) -> Result<Range<usize>> {
        self.values.get_range(row, rows)
    }

    fn is_causal(&self) -> bool {
        self.values.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        self.heed.heed()?;
        self.values.evaluate_all(values, rows)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        self.heed.heed()?;
        self.values.evaluate(values, range)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        self.heed.heed()?;
        self.values.evaluate_all_with_rank(rows, ranks)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.values.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.values.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.values.include_rank()
    }
}
