//! Whether two samples have the same mean.

use statrs::distribution::{ContinuousCDF as _, StudentsT};
use statrs::function::factorial::ln_binomial;

use super::Level;

/// Mean and spread of values; the spread is that of a sample, so that few values are not taken to
/// be closer together than they are.
pub(super) fn level(values: &[f64]) -> Level {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let variance = if values.len() > 1 {
        squares / (n - 1.0)
    } else {
        0.0
    };
    Level {
        mean,
        sd: variance.sqrt(),
        n: values.len(),
    }
}

/// A difference of means: its standard error and degrees of freedom.
struct Difference {
    error: f64,
    freedom: f64,
}

/// Without the assumption that both vary alike (Welch, "The generalization of Student's problem when
/// several different population variances are involved", 1947).
fn welch(one: &Level, other: &Level) -> Difference {
    let (of_one, of_other) = (
        one.sd.powi(2) / one.n as f64,
        other.sd.powi(2) / other.n as f64,
    );
    let variance = of_one + of_other;
    let freedom = variance.powi(2)
        / (of_one.powi(2) / (one.n as f64 - 1.0) + of_other.powi(2) / (other.n as f64 - 1.0));
    Difference {
        error: variance.sqrt(),
        freedom,
    }
}

/// With that assumption (Student, "The probable error of a mean", 1908).
fn student(one: &Level, other: &Level) -> Difference {
    let (n, m) = (one.n as f64, other.n as f64);
    let freedom = n + m - 2.0;
    let pooled = ((n - 1.0) * one.sd.powi(2) + (m - 1.0) * other.sd.powi(2)) / freedom;
    Difference {
        error: (pooled * (1.0 / n + 1.0 / m)).sqrt(),
        freedom,
    }
}

/// Student's t distribution; `None` where there is no spread to speak of.
pub(super) fn t_distribution(freedom: f64) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, freedom).ok()
}

impl Difference {
    /// The probability of a difference as large among samples of one mean, either way.
    fn p_value(&self, difference: f64) -> f64 {
        if difference == 0.0 {
            return 1.0;
        }
        match t_distribution(self.freedom) {
            Some(t) if self.error > 0.0 => 2.0 * t.sf((difference / self.error).abs()),
            // Both samples are constant, and differ.
            _ => 0.0,
        }
    }
}

/// The probability that two samples of at least two values differ as much although they have one mean.
///
/// It is the greater of two. Welch's test is for samples whose spreads differ; Student's keeps a
/// short sample whose values happen to lie close together from counting as certain.
pub(super) fn p_value(one: &Level, other: &Level) -> f64 {
    let difference = other.mean - one.mean;
    let welch = welch(one, other).p_value(difference);
    welch.max(student(one, other).p_value(difference))
}

/// The least probability that any test can give that knows nothing of the values but their order:
/// one in as many ways as there are to choose the places of one sample among all. So much doubt is
/// left by few values, however far apart they are, and by values that do not vary.
pub(super) fn least_p_value(one: &Level, other: &Level) -> f64 {
    (-ln_binomial((one.n + other.n) as u64, one.n as u64)).exp()
}

/// The interval that holds the difference of the means with a probability of 95 %, by Welch.
pub(super) fn interval(one: &Level, other: &Level) -> (f64, f64) {
    let difference = other.mean - one.mean;
    let found = welch(one, other);
    let reach = match t_distribution(found.freedom) {
        Some(t) if found.error > 0.0 => t.inverse_cdf(0.975) * found.error,
        _ => 0.0,
    };
    (difference - reach, difference + reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-6 * expected.abs().max(1e-9),
            "{found}, {expected}"
        );
    }

    /// Welch's and Student's p of SciPy 1.16 (`ttest_ind`) on the same values.
    #[test]
    fn p_values_are_those_of_the_tests() {
        let one = level(&[10.43, 10.23, 10.29, 10.91, 10.34, 10.69]);
        let other = level(&[9.23, 9.11, 9.13, 9.03]);
        let difference = other.mean - one.mean;
        close(welch(&one, &other).p_value(difference), WELCH);
        close(student(&one, &other).p_value(difference), STUDENT);
        close(p_value(&one, &other), WELCH);
        // 6 of 10 values can be chosen in 210 ways.
        close(least_p_value(&one, &other), 1.0 / 210.0);
        let (low, high) = interval(&one, &other);
        close(low, LOW);
        close(high, HIGH);
    }

    const WELCH: f64 = 1.5577905437323615e-05;
    const STUDENT: f64 = 1.0071996914229128e-05;
    const LOW: f64 = -1.6357875879422799;
    const HIGH: f64 = -1.0775457453910549;

    #[test]
    fn what_does_not_vary_differs_for_certain_or_not_at_all() {
        let (one, other) = (level(&[16.0; 5]), level(&[8.0; 5]));
        assert_eq!(p_value(&one, &other), 0.0);
        close(least_p_value(&one, &other), 1.0 / 252.0);
        assert_eq!(interval(&one, &other), (-8.0, -8.0));
        assert_eq!(p_value(&one, &level(&[16.0; 5])), 1.0);
    }
}
