//! A set of measured values, asked for its quantiles.

/// Values in ascending order.
pub(crate) struct Distribution {
    sorted: Vec<i64>,
}

impl Distribution {
    /// Takes the values in any order.
    pub(crate) fn of(values: impl IntoIterator<Item = i64>) -> Self {
        let mut sorted: Vec<i64> = values.into_iter().collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// The smallest value that at least `share` of the values do not exceed; `None` of no values.
    pub(crate) fn quantile(&self, share: f64) -> Option<i64> {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        self.sorted.get(rank.max(1) - 1).copied()
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }
}

/// Nanoseconds as milliseconds with three significant figures, `-` where there is no value.
pub(crate) fn milliseconds(nanoseconds: Option<i64>) -> String {
    nanoseconds.map_or_else(
        || "-".to_owned(),
        |value| format!("{} ms", figures(value as f64 / 1e6)),
    )
}

/// A number with three significant figures, and never an exponent.
pub(crate) fn figures(value: f64) -> String {
    let whole_digits = value.abs().max(1e-3).log10().floor() as i32 + 1;
    let decimals = usize::try_from(3 - whole_digits).unwrap_or(0).min(3);
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values = Distribution::of((1..=100).rev());
        assert_eq!(values.quantile(0.5), Some(50));
        assert_eq!(values.quantile(0.99), Some(99));
        assert_eq!(values.quantile(1.0), Some(100));
        assert_eq!(values.quantile(0.0), Some(1));
        assert_eq!(Distribution::of([]).quantile(0.5), None);
    }

    #[test]
    fn three_figures_are_shown() {
        assert_eq!(milliseconds(Some(190_400)), "0.190 ms");
        assert_eq!(milliseconds(Some(3_560_000)), "3.56 ms");
        assert_eq!(milliseconds(Some(-82_400_000)), "-82.4 ms");
        assert_eq!(milliseconds(None), "-");
        assert_eq!(figures(91_234.0), "91234");
        assert_eq!(figures(0.0), "0.000");
    }
}
