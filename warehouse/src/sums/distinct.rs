//! Sums of values that are different from each other.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray as _};
use arrow::datatypes::{Decimal128Type, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::utils::format_state_name;

use super::{Adding, Kind};

/// The sum of the different values of all rows, or of a window's.
#[derive(Debug)]
pub(super) struct DistinctTotal {
    kind: Kind,
    /// In how many rows each is.
    rows: HashMap<i128, u64>,
}

impl DistinctTotal {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            rows: HashMap::new(),
        }
    }

    /// What is known before the sum is given: the list of the values.
    pub(super) fn state_field(kind: Kind, name: &str) -> Field {
        let value = Field::new_list_field(kind.kept(), true);
        Field::new_list(format_state_name(name, "sum distinct"), value, false)
    }
}

impl Accumulator for DistinctTotal {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = &mut self.rows;
        self.kind
            .each(&values[0], |_, value| *rows.entry(value).or_insert(0) += 1);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = &mut self.rows;
        self.kind.each(&values[0], |_, value| {
            if let Some(count) = rows.get_mut(&value) {
                *count -= 1;
                if *count == 0 {
                    rows.remove(&value);
                }
            }
        });
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        for values in lists.iter().flatten() {
            let values = values.as_primitive::<Decimal128Type>();
            for value in values.iter().flatten() {
                *self.rows.entry(value).or_insert(0) += 1;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut adding = Adding::default();
        let mut sum = 0;
        self.rows
            .keys()
            .for_each(|value| adding.add(&mut sum, *value));
        adding.end(self.kind)?;
        let sum = (!self.rows.is_empty()).then_some(sum);
        ScalarValue::try_from_array(&self.kind.give(&[sum])?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self
            .rows
            .keys()
            .map(|value| self.kind.state(Some(*value)))
            .collect();
        let list = ScalarValue::new_list_nullable(&values, &self.kind.kept());
        Ok(vec![ScalarValue::List(list)])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.rows.capacity() * size_of::<(i128, u64)>()
    }
}
