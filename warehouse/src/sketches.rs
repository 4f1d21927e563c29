//! Sketches in SQL: percentiles that can be merged over stages, runs and days.
//!
//! `sketch(value)` and `sketch_merge(sketch)` are aggregate functions that give
//! a sketch, `sketch_quantile(sketch, q)` reads one. Percentiles of groups
//! cannot be averaged; their sketches can be merged, and what is read of the
//! merged one is within 1 % of a value that was put in. The columns
//! `reports.stages.*_sketch` hold them, so that a chart over many runs needs
//! none of their requests.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::execution::{FunctionRegistry as _, SessionState};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use plimsoll_ingest::Sketch;

static SKETCH: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| aggregate(Input::Values));
static SKETCH_MERGE: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| aggregate(Input::Sketches));
static SKETCH_QUANTILE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let takes = vec![DataType::Binary, DataType::Float64];
    let signature = Signature::exact(takes, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(SketchQuantile { signature }))
});

/// Makes the functions known to a session.
pub(crate) fn register(session: &mut SessionState) -> Result<()> {
    session.register_udaf(Arc::clone(&SKETCH))?;
    session.register_udaf(Arc::clone(&SKETCH_MERGE))?;
    session.register_udf(Arc::clone(&SKETCH_QUANTILE))?;
    Ok(())
}

fn aggregate(input: Input) -> Arc<AggregateUDF> {
    let takes = match input {
        Input::Values => DataType::Float64,
        Input::Sketches => DataType::Binary,
    };
    let signature = Signature::exact(vec![takes], Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(SketchAggregate {
        input,
        signature,
    }))
}

/// What an aggregate function is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Input {
    /// Numbers.
    Values,
    /// Sketches of numbers.
    Sketches,
}

/// `sketch` and `sketch_merge`. Null values and null sketches are passed over;
/// of none there is no sketch.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SketchAggregate {
    input: Input,
    signature: Signature,
}

impl AggregateUDFImpl for SketchAggregate {
    fn name(&self) -> &str {
        match self.input {
            Input::Values => "sketch",
            Input::Sketches => "sketch_merge",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format!("{}[sketch]", args.name);
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup(Groups::new(self.input))))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::new(self.input)))
    }
}

/// A sketch for each group.
#[derive(Debug)]
struct Groups {
    input: Input,
    sketches: Vec<Option<Sketch>>,
    /// Bytes of all sketches together.
    bytes: usize,
}

impl Groups {
    fn new(input: Input) -> Self {
        Self {
            input,
            sketches: Vec::new(),
            bytes: 0,
        }
    }

    /// Changes the sketch of a group.
    fn change<T>(&mut self, group: usize, change: impl FnOnce(&mut Sketch) -> T) -> T {
        let sketch = &mut self.sketches[group];
        let before = sketch.as_ref().map_or(0, Sketch::size);
        let sketch = sketch.get_or_insert_default();
        let changed = change(sketch);
        self.bytes = self.bytes + sketch.size() - before;
        changed
    }

    fn put_values(
        &mut self,
        values: &ArrayRef,
        rows: impl Iterator<Item = (usize, usize)>,
    ) -> Result<()> {
        let values = values.as_primitive::<Float64Type>();
        for (row, group) in rows {
            if values.is_valid(row) {
                let value = values.value(row);
                if !self.change(group, |sketch| sketch.add(value)) {
                    return exec_err!("sketch takes finite numbers, and {value} is none");
                }
            }
        }
        Ok(())
    }

    fn put_sketches(
        &mut self,
        stored: &ArrayRef,
        rows: impl Iterator<Item = (usize, usize)>,
    ) -> Result<()> {
        let stored = stored.as_binary::<i32>();
        for (row, group) in rows {
            if stored.is_valid(row) {
                let sketch = decoded(stored.value(row))?;
                self.change(group, |all| all.merge(&sketch));
            }
        }
        Ok(())
    }

    /// The sketches of the groups that are given out, as they are stored.
    fn give(&mut self, emit_to: EmitTo) -> ArrayRef {
        let given = emit_to.take_needed(&mut self.sketches);
        let bytes: usize = given.iter().flatten().map(Sketch::size).sum();
        self.bytes -= bytes;
        let stored = given.iter().map(|sketch| Some(sketch.as_ref()?.to_bytes()));
        Arc::new(stored.collect::<BinaryArray>())
    }
}

/// The rows that a filter leaves, with their groups.
fn rows<'a>(
    groups: &'a [usize],
    filter: Option<&'a BooleanArray>,
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let passes = move |row: usize| filter.is_none_or(|f| f.is_valid(row) && f.value(row));
    groups
        .iter()
        .copied()
        .enumerate()
        .filter(move |(row, _)| passes(*row))
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.sketches.resize(total_num_groups, None);
        let rows = rows(group_indices, opt_filter);
        match self.input {
            Input::Values => self.put_values(&values[0], rows),
            Input::Sketches => self.put_sketches(&values[0], rows),
        }
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.sketches.resize(total_num_groups, None);
        self.put_sketches(&values[0], rows(group_indices, None))
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.give(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.give(emit_to)])
    }

    /// Each row as a group of its own, where there are nearly as many groups as rows.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows_of_values = values[0].len();
        let own: Vec<usize> = (0..rows_of_values).collect();
        let mut groups = Self::new(self.input);
        groups.update_batch(values, &own, opt_filter, rows_of_values)?;
        Ok(vec![groups.give(EmitTo::All)])
    }

    fn size(&self) -> usize {
        self.bytes + self.sketches.capacity() * size_of::<Option<Sketch>>()
    }
}

/// The sketch of all rows.
#[derive(Debug)]
struct OneGroup(Groups);

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; values[0].len()];
        self.0.update_batch(values, &groups, None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; states[0].len()];
        GroupsAccumulator::merge_batch(&mut self.0, states, &groups, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sketch = self.0.sketches.first().and_then(Option::as_ref);
        Ok(ScalarValue::Binary(sketch.map(Sketch::to_bytes)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![Accumulator::evaluate(self)?])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + GroupsAccumulator::size(&self.0)
    }
}

/// `sketch_quantile(sketch, q)`: the value below which a share `q` lies; null
/// of no sketch and of one of no values.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SketchQuantile {
    signature: Signature,
}

impl ScalarUDFImpl for SketchQuantile {
    fn name(&self) -> &str {
        "sketch_quantile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let stored = cast(&arrays[0], &DataType::Binary)?;
        let shares = arrays[1].as_primitive::<Float64Type>();
        let quantiles = stored.as_binary::<i32>().iter().zip(shares);
        let quantiles = quantiles.map(|pair| {
            let (Some(stored), Some(q)) = pair else {
                return Ok(None);
            };
            if !(0.0..=1.0).contains(&q) {
                return exec_err!("sketch_quantile takes a share from 0 to 1, and {q} is none");
            }
            Ok(decoded(stored)?.quantile(q))
        });
        let quantiles: Float64Array = quantiles.collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(quantiles)))
    }
}

fn decoded(stored: &[u8]) -> Result<Sketch> {
    Sketch::from_bytes(stored).map_err(|error| exec_datafusion_err!("{error}"))
}
