//! A bound on a figure, and whether it is met.

use std::fmt;

use super::distribution::figures;

/// One figure beside its bound.
pub(crate) struct Bound {
    what: String,
    measured: Option<f64>,
    side: Side,
    limit: f64,
    unit: &'static str,
}

/// On which side of the limit the figure has to lie.
enum Side {
    AtMost,
    AtLeast,
}

impl Bound {
    /// The figure must not exceed the limit; one that could not be measured is missed.
    pub(crate) fn at_most(
        what: impl Into<String>,
        measured: Option<f64>,
        limit: f64,
        unit: &'static str,
    ) -> Self {
        Self {
            what: what.into(),
            measured,
            side: Side::AtMost,
            limit,
            unit,
        }
    }

    /// The figure must reach the limit; one that could not be measured is missed.
    pub(crate) fn at_least(
        what: impl Into<String>,
        measured: Option<f64>,
        limit: f64,
        unit: &'static str,
    ) -> Self {
        Self {
            what: what.into(),
            measured,
            side: Side::AtLeast,
            limit,
            unit,
        }
    }

    /// Whether the figure lies on the right side.
    pub(crate) fn met(&self) -> bool {
        self.measured.is_some_and(|measured| match self.side {
            Side::AtMost => measured <= self.limit,
            Side::AtLeast => measured >= self.limit,
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.met() { "met   " } else { "MISSED" };
        let side = match self.side {
            Side::AtMost => "at most",
            Side::AtLeast => "at least",
        };
        let measured = self
            .measured
            .map_or_else(|| "not measured".to_owned(), figures);
        let (limit, unit) = (figures(self.limit), self.unit);
        write!(
            f,
            "{verdict}  {}: {measured}{unit}, {side} {limit}{unit}",
            self.what
        )
    }
}

/// Prints each bound on a line of its own and returns how many are missed.
pub(crate) fn print_all(bounds: &[Bound]) -> usize {
    for bound in bounds {
        println!("  {bound}");
    }
    let missed = bounds.iter().filter(|bound| !bound.met()).count();
    println!("  {} bounds met, {missed} missed", bounds.len() - missed);
    missed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_says_what_was_measured_and_whether_it_is_met() {
        let met = Bound::at_most("p99", Some(1.5), 2.0, " ms");
        assert_eq!(met.to_string(), "met     p99: 1.50 ms, at most 2.00 ms");
        let missed = Bound::at_least("chunks", Some(0.7), 0.8, "");
        assert_eq!(missed.to_string(), "MISSED  chunks: 0.700, at least 0.800");
        assert!(!Bound::at_most("memory", None, 1.0, "").met());
    }
}
