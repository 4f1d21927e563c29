//! Sums of values that are different from each other.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray as _};
use datafusion::common::{Result, ScalarValue, not_impl_err};
use datafusion::logical_expr::Accumulator;

use super::{Exact, Kind};

/// The sum of the different values of all rows.
#[derive(Debug)]
pub(super) struct DistinctTotal {
    kind: Kind,
    /// The engine's own, which keeps them: its sum begins anew.
    values: Box<dyn Accumulator>,
}

impl DistinctTotal {
    pub(super) fn new(kind: Kind, values: Box<dyn Accumulator>) -> Self {
        Self { kind, values }
    }
}

impl Accumulator for DistinctTotal {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut sum = Exact::default();
        let mut some = false;
        for state in self.values.state()? {
            let list = state.to_array()?;
            let values = list.as_list::<i32>().value(0);
            some |= !values.is_empty();
            self.kind.each(&values, |_, value| sum.add(value));
        }
        let sum = some.then(|| sum.sum(self.kind)).transpose()?;
        self.kind.give_one(sum)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.size()
    }
}

/// The same of a window, whose rows come and go.
#[derive(Debug)]
pub(super) struct SlidingDistinctTotal {
    kind: Kind,
    /// In how many rows each value is.
    rows: HashMap<i128, u64>,
    sum: Exact,
}

impl SlidingDistinctTotal {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            rows: HashMap::new(),
            sum: Exact::default(),
        }
    }
}

impl Accumulator for SlidingDistinctTotal {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (rows, sum) = (&mut self.rows, &mut self.sum);
        self.kind.each(&values[0], |_, value| {
            let count = rows.entry(value).or_insert(0);
            if *count == 0 {
                sum.add(value);
            }
            *count += 1;
        });
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (rows, sum) = (&mut self.rows, &mut self.sum);
        self.kind.each(&values[0], |_, value| {
            if let Some(count) = rows.get_mut(&value) {
                *count -= 1;
                if *count == 0 {
                    sum.take(value);
                    rows.remove(&value);
                }
            }
        });
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        not_impl_err!("a window's sum is not put together from parts")
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let some = !self.rows.is_empty();
        let sum = some.then(|| self.sum.sum(self.kind)).transpose()?;
        self.kind.give_one(sum)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        not_impl_err!("a window's sum is not put together from parts")
    }

    fn size(&self) -> usize {
        // A map has an eighth more places than it gives away, and a byte for each.
        let places = self.rows.capacity() / 7 * 8;
        size_of::<Self>() + places * (size_of::<(i128, u64)>() + 1)
    }
}
