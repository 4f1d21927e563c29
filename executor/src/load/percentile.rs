//! Exact percentiles of a column of values.
//!
//! The definition is the one of SQL's `percentile_cont`: linear interpolation between the two
//! nearest ranks, `rank = p * (n - 1)` counted from 0 (Hyndman and Fan, "Sample Quantiles in
//! Statistical Packages", The American Statistician 50 (1996), definition 7). The weight between
//! the two is cut after six decimals, as DataFusion does, and the result is rounded to the nearest
//! integer, halves away from zero. So `round(percentile_cont(0.99) within group (order by x))` over
//! the raw rows gives the same integer, which a test of the warehouse can hold.
//!
//! A column is one slice of eight bytes a value, reordered in place: memory is bounded by the
//! longest column, and columns are worked on one after the other.

mod pooled;

pub use pooled::{PooledCount, PooledSelection};

use std::fmt;
use std::str::FromStr;

/// Decimals kept of the weight between two ranks, as a factor.
const WEIGHT_STEPS: f64 = 1_000_000.0;

/// A percentile that is kept of every latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Percentile {
    /// The median.
    P50,
    /// One in ten is higher.
    P90,
    /// One in twenty is higher.
    P95,
    /// One in a hundred is higher.
    P99,
}

impl Percentile {
    /// All of them, ascending.
    pub const ALL: [Self; 4] = [Self::P50, Self::P90, Self::P95, Self::P99];

    /// The share of values that lie below, from 0 to 1.
    pub const fn fraction(self) -> f64 {
        match self {
            Self::P50 => 0.50,
            Self::P90 => 0.90,
            Self::P95 => 0.95,
            Self::P99 => 0.99,
        }
    }

    /// The name as columns and rules write it: `p99`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A percentile that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no percentile that is kept; use p50, p90, p95 or p99")]
pub struct UnknownPercentile(pub String);

impl FromStr for Percentile {
    type Err = UnknownPercentile;

    fn from_str(name: &str) -> Result<Self, UnknownPercentile> {
        Self::ALL
            .into_iter()
            .find(|percentile| percentile.as_str() == name)
            .ok_or_else(|| UnknownPercentile(name.to_string()))
    }
}

/// The four percentiles of one column, in the column's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Percentiles {
    /// The median.
    pub p50: i64,
    /// One in ten is higher.
    pub p90: i64,
    /// One in twenty is higher.
    pub p95: i64,
    /// One in a hundred is higher.
    pub p99: i64,
}

impl Percentiles {
    /// One of the four.
    pub const fn get(&self, percentile: Percentile) -> i64 {
        match percentile {
            Percentile::P50 => self.p50,
            Percentile::P90 => self.p90,
            Percentile::P95 => self.p95,
            Percentile::P99 => self.p99,
        }
    }

    /// The four, ascending: the order of `itl_ns` in a request's row.
    pub const fn to_array(self) -> [i64; 4] {
        [self.p50, self.p90, self.p95, self.p99]
    }
}

impl From<[i64; 4]> for Percentiles {
    fn from([p50, p90, p95, p99]: [i64; 4]) -> Self {
        Self { p50, p90, p95, p99 }
    }
}

/// The four percentiles of a column, which is left in another order; `None` of no values.
///
/// Takes time linear in the length: each percentile selects its rank among the values that the
/// one before left above it.
pub fn percentiles(values: &mut [i64]) -> Option<Percentiles> {
    let mut settled = 0;
    let mut select = |percentile| {
        let rank = Rank::of(percentile, values.len())?;
        let value = rank.select(&mut values[settled..], settled);
        settled = rank.lower;
        Some(value)
    };
    Some(Percentiles {
        p50: select(Percentile::P50)?,
        p90: select(Percentile::P90)?,
        p95: select(Percentile::P95)?,
        p99: select(Percentile::P99)?,
    })
}

/// One percentile of a column, which is left in another order; `None` of no values.
pub fn percentile(values: &mut [i64], percentile: Percentile) -> Option<i64> {
    Some(Rank::of(percentile, values.len())?.select(values, 0))
}

/// Where a percentile lies between two ranks, counted from 0.
#[derive(Debug)]
struct Rank {
    lower: usize,
    weight: f64,
}

impl Rank {
    fn of(percentile: Percentile, len: usize) -> Option<Self> {
        let last = len.checked_sub(1)?;
        let position = percentile.fraction() * last as f64;
        let lower = position.floor();
        let weight = ((position - lower) * WEIGHT_STEPS).trunc() / WEIGHT_STEPS;
        Some(Self {
            lower: lower as usize,
            weight,
        })
    }

    /// The value at this rank, where `values` starts at rank `first` of the whole column.
    fn select(&self, values: &mut [i64], first: usize) -> i64 {
        let (_, lower, above) = values.select_nth_unstable(self.lower - first);
        self.between(*lower, above.iter().min().copied())
    }

    /// The value between two neighbours; `upper` is `None` at the column's end.
    fn between(&self, lower: i64, upper: Option<i64>) -> i64 {
        match upper {
            Some(upper) if self.weight > 0.0 => {
                let step = (upper as f64 - lower as f64) * self.weight;
                (lower as f64 + step).round() as i64
            }
            _ => lower,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(values: &[i64], expected: [i64; 4]) {
        let mut column = values.to_vec();
        let found = percentiles(&mut column).expect("there are values");
        assert_eq!(found.to_array(), expected, "of {values:?}");
    }

    #[test]
    fn known_answers_on_paper() {
        check(&[7], [7, 7, 7, 7]);
        // Ranks 0.5, 0.9, 0.95, 0.99 between 10 and 20.
        check(&[20, 10], [15, 19, 20, 20]);
        // 1 to 101: rank p * 100 is a whole number.
        check(&(1..=101).rev().collect::<Vec<_>>(), [51, 91, 96, 100]);
        // 1 to 100: ranks 49.5, 89.1, 94.05, 98.01, values 50.5, 90.1, 95.05, 99.01.
        check(&(1..=100).collect::<Vec<_>>(), [51, 90, 95, 99]);
        // In thousands, what was cut off above shows.
        check(
            &(1..=100).map(|v| v * 1000).collect::<Vec<_>>(),
            [50_500, 90_100, 95_050, 99_010],
        );
        check(&[-10, -20], [-15, -11, -11, -10]);
        check(&[5; 1000], [5, 5, 5, 5]);
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(percentiles(&mut []), None);
        assert_eq!(percentile(&mut [], Percentile::P50), None);
    }

    #[test]
    fn the_weight_is_cut_after_six_decimals() {
        // Rank 0.99 * 7 = 6.93 exactly on paper, 6.93 (less an ulp) in floating point.
        let mut column = [0, 0, 0, 0, 0, 0, 0, 1_000_000_000];
        let p99 = percentile(&mut column, Percentile::P99).expect("there are values");
        assert!((929_999_000..=930_000_000).contains(&p99), "{p99}");
        assert_eq!(p99 % 1000, 0, "a weight of six decimals of 1e9");
    }

    #[test]
    fn names_read_back_and_others_are_refused() {
        for percentile in Percentile::ALL {
            assert_eq!(percentile.to_string().parse(), Ok(percentile));
        }
        let message = "p75".parse::<Percentile>().expect_err("unknown");
        assert_eq!(
            message.to_string(),
            "`p75` is no percentile that is kept; use p50, p90, p95 or p99"
        );
    }

    proptest! {
        /// The same by sorting, which is slower and plain.
        #[test]
        fn equals_the_definition_on_the_sorted_column(
            mut values in prop::collection::vec(-1_000_000_000_000i64..1_000_000_000_000, 1..300)
        ) {
            let found = percentiles(&mut values).expect("there are values");
            values.sort_unstable();
            for percentile in Percentile::ALL {
                let position = percentile.fraction() * (values.len() - 1) as f64;
                let lower = values[position.floor() as usize] as f64;
                let upper = values[position.ceil() as usize] as f64;
                let exact = lower + (upper - lower) * position.fract();
                let error = (found.get(percentile) as f64 - exact).abs();
                prop_assert!(error <= 0.51 + (upper - lower) * 1e-6, "{percentile}: {error}");
            }
        }

        #[test]
        fn never_falls_when_a_value_grows(
            mut values in prop::collection::vec(0i64..1_000_000, 1..60),
            which in any::<prop::sample::Index>(),
            by in 0i64..1_000_000,
        ) {
            let before = percentiles(&mut values.clone()).expect("there are values");
            let which = which.index(values.len());
            values[which] += by;
            let after = percentiles(&mut values).expect("there are values");
            for percentile in Percentile::ALL {
                prop_assert!(after.get(percentile) >= before.get(percentile));
            }
        }
    }
}
