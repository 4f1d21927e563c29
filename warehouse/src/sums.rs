//! Sums of integers and decimals that do not begin anew.
//!
//! The engine's `sum` of integers begins anew at the least one where it passes the largest, and says
//! nothing: nanoseconds of a hundred million requests may pass it. Here a sum is kept in 128 bits, which
//! no number of integers passes, and one that its type does not hold is an error. So is one of decimals of
//! up to 38 digits, and the sum of a part of a group's rows that passes 128 bits.

mod distinct;

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Decimal128Array, PrimitiveArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType,
    Decimal128Type, Decimal256Type, DecimalType as _, Field, FieldRef, Int64Type, UInt64Type, i256,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::function::{
    AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs,
};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    ReversedUDAF, SetMonotonicity, Signature,
};

use crate::arithmetic::DoesNotHold;
use distinct::{DistinctTotal, SlidingDistinctTotal};

/// Puts the sum that checks in the place of the engine's own.
///
/// # Errors
/// There is none.
pub(crate) fn check(registry: &mut dyn FunctionRegistry) -> Result<()> {
    let inner = registry.udaf("sum")?;
    let checked = AggregateUDF::new_from_impl(CheckedSum { inner });
    registry.register_udaf(Arc::new(checked))?;
    Ok(())
}

/// `sum`, in 128 bits where it is of integers or decimals.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        match Kind::of(arguments.return_type()) {
            Some(kind) if !arguments.is_distinct => {
                let name = format_state_name(arguments.name, "sum");
                Ok(vec![Arc::new(Field::new(name, kind.kept(), true))])
            }
            _ => self.inner.state_fields(arguments),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match Kind::of(arguments.return_type()) {
            Some(kind) if arguments.is_distinct => {
                let values = self.inner.accumulator(arguments)?;
                Ok(Box::new(DistinctTotal::new(kind, values)))
            }
            Some(kind) => Ok(Box::new(Total::new(kind))),
            None => self.inner.accumulator(arguments),
        }
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match Kind::of(arguments.return_type()) {
            Some(kind) => Ok(Box::new(Totals::new(kind))),
            None => self.inner.create_groups_accumulator(arguments),
        }
    }

    fn create_sliding_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        match Kind::of(arguments.return_type()) {
            Some(kind) if arguments.is_distinct => Ok(Box::new(SlidingDistinctTotal::new(kind))),
            Some(kind) => Ok(Box::new(Total::new(kind))),
            None => self.inner.create_sliding_accumulator(arguments),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.inner.simplify()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// Numbers that are summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Signed,
    Unsigned,
    /// Digits, and how many of them follow the point.
    Decimal(u8, i8),
}

impl Kind {
    /// That of a sum of this type, where it is kept here.
    fn of(sum: &DataType) -> Option<Self> {
        match sum {
            DataType::Int64 => Some(Self::Signed),
            DataType::UInt64 => Some(Self::Unsigned),
            DataType::Decimal128(precision, scale) => Some(Self::Decimal(*precision, *scale)),
            _ => None,
        }
    }

    /// The type of a sum before it is given: 128 bits.
    fn kept(self) -> DataType {
        DataType::Decimal128(DECIMAL128_MAX_PRECISION, self.scale())
    }

    fn scale(self) -> i8 {
        match self {
            Self::Signed | Self::Unsigned => 0,
            Self::Decimal(_, scale) => scale,
        }
    }

    /// Sums as they are given.
    fn give(self, sums: &[Option<i128>]) -> Result<ArrayRef> {
        Ok(match self {
            Self::Signed => Arc::new(narrow::<Int64Type>(sums)?),
            Self::Unsigned => Arc::new(narrow::<UInt64Type>(sums)?),
            Self::Decimal(precision, scale) => Arc::new(decimals(sums, precision, scale)?),
        })
    }

    fn give_one(self, sum: Option<i128>) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.give(&[sum])?, 0)
    }

    /// Calls with each of the values that are not null, and its row.
    fn each(self, values: &ArrayRef, call: impl FnMut(usize, i128)) {
        match self {
            Self::Signed => each::<Int64Type>(values, call),
            Self::Unsigned => each::<UInt64Type>(values, call),
            Self::Decimal(..) => each::<Decimal128Type>(values, call),
        }
    }
}

/// A sum of any number of values, on the way to one of 128 bits.
#[derive(Debug, Default, Clone, Copy)]
struct Exact {
    low: i128,
    /// How often it passed the ends of that: what is meant is `low + passed * 2^128`.
    passed: i64,
}

impl Exact {
    fn add(&mut self, value: i128) {
        let (low, passed) = self.low.overflowing_add(value);
        self.low = low;
        if passed {
            self.passed += if value < 0 { -1 } else { 1 };
        }
    }

    fn take(&mut self, value: i128) {
        let (low, passed) = self.low.overflowing_sub(value);
        self.low = low;
        if passed {
            self.passed += if value < 0 { 1 } else { -1 };
        }
    }

    fn sum(self, kind: Kind) -> Result<i128> {
        match self.passed {
            0 => Ok(self.low),
            _ => Err(past_128_bits(kind)),
        }
    }
}

fn past_128_bits(kind: Kind) -> DataFusionError {
    let what = "a sum comes to a number".to_string();
    let kind = kind.kept();
    DoesNotHold { what, kind }.into()
}

fn decimals(sums: &[Option<i128>], precision: u8, scale: i8) -> Result<Decimal128Array> {
    let kind = || DataType::Decimal128(precision, scale);
    let holds =
        |sum: i128| Decimal128Type::validate_decimal_precision(sum, precision, scale).is_ok();
    if let Some(sum) = sums.iter().flatten().find(|sum| !holds(**sum)) {
        // Which may have more digits than a decimal of 128 bits.
        let wide = i256::from_i128(*sum);
        let sum = Decimal256Type::format_decimal(wide, DECIMAL256_MAX_PRECISION, scale);
        let what = format!("a sum comes to {sum}");
        return Err(DoesNotHold { what, kind: kind() }.into());
    }
    let sums: Decimal128Array = sums.iter().copied().collect();
    Ok(sums.with_data_type(kind()))
}

fn narrow<T: ArrowPrimitiveType>(sums: &[Option<i128>]) -> Result<PrimitiveArray<T>>
where
    T::Native: TryFrom<i128>,
{
    let narrow = |sum: &Option<i128>| {
        let sum = sum.map(|sum| T::Native::try_from(sum).map_err(|_| too_large(sum, T::DATA_TYPE)));
        sum.transpose()
    };
    sums.iter().map(narrow).collect()
}

fn too_large(sum: i128, kind: DataType) -> DataFusionError {
    let what = format!("a sum comes to {sum}");
    DoesNotHold { what, kind }.into()
}

fn each<T: ArrowPrimitiveType>(values: &ArrayRef, mut call: impl FnMut(usize, i128))
where
    T::Native: Into<i128>,
{
    let values = values.as_primitive::<T>();
    let all = values.values().iter().enumerate();
    match values.nulls() {
        None => all.for_each(|(row, value)| call(row, (*value).into())),
        Some(nulls) => all
            .filter(|(row, _)| nulls.is_valid(*row))
            .for_each(|(row, value)| call(row, (*value).into())),
    }
}

/// The sum of all rows, or of a window's.
#[derive(Debug)]
struct Total {
    kind: Kind,
    sum: Exact,
    /// Values that are in it: the sum of none is null.
    values: u64,
}

impl Total {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            sum: Exact::default(),
            values: 0,
        }
    }

    fn sum(&self) -> Result<Option<i128>> {
        match self.values {
            0 => Ok(None),
            _ => self.sum.sum(self.kind).map(Some),
        }
    }
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values += (values[0].len() - values[0].null_count()) as u64;
        let sum = &mut self.sum;
        self.kind.each(&values[0], |_, value| sum.add(value));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values -= (values[0].len() - values[0].null_count()) as u64;
        let sum = &mut self.sum;
        self.kind.each(&values[0], |_, value| sum.take(value));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for sum in states[0].as_primitive::<Decimal128Type>().iter().flatten() {
            self.sum.add(sum);
            self.values += 1;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.kind.give_one(self.sum()?)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (sum, scale) = (self.sum()?, self.kind.scale());
        let state = ScalarValue::Decimal128(sum, DECIMAL128_MAX_PRECISION, scale);
        Ok(vec![state])
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// The sum of each group.
#[derive(Debug)]
struct Totals {
    kind: Kind,
    sums: Vec<Option<i128>>,
    /// Whether one of them passed 128 bits.
    passed: bool,
}

impl Totals {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            sums: Vec::new(),
            passed: false,
        }
    }

    fn add(&mut self, group: usize, value: i128) {
        let sum = self.sums[group].get_or_insert(0);
        let (added, passed) = sum.overflowing_add(value);
        *sum = added;
        self.passed |= passed;
    }

    fn end(&self) -> Result<()> {
        match self.passed {
            false => Ok(()),
            true => Err(past_128_bits(self.kind)),
        }
    }
}

/// Whether a filter leaves a row.
fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

impl GroupsAccumulator for Totals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums.resize(total_num_groups, None);
        self.kind.each(&values[0], |row, value| {
            if passes(opt_filter, row) {
                self.add(group_indices[row], value);
            }
        });
        self.end()
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums.resize(total_num_groups, None);
        let states = values[0].as_primitive::<Decimal128Type>();
        for (group, sum) in group_indices.iter().zip(states) {
            if let Some(sum) = sum {
                self.add(*group, sum);
            }
        }
        self.end()
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let given = emit_to.take_needed(&mut self.sums);
        self.kind.give(&given)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let given = emit_to.take_needed(&mut self.sums);
        let sums: Decimal128Array = given.into_iter().collect();
        Ok(vec![Arc::new(sums.with_data_type(self.kind.kept()))])
    }

    /// Each row as a group of its own, where there are nearly as many groups as rows.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let own: Vec<usize> = (0..rows).collect();
        let mut each = Self::new(self.kind);
        each.update_batch(values, &own, opt_filter, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<Option<i128>>()
    }
}
