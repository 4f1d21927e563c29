//! How far apart two runs of one question lie although nothing changed.

use super::two_samples::t_distribution;

/// The fewest earlier runs that tell noise from a change.
const FEWEST: usize = 5;

/// The spread of single runs of a question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Noise {
    /// Standard deviation of one run.
    pub(crate) sd: f64,
    /// Runs that it was worked out from.
    pub(crate) runs: usize,
    /// Degrees of freedom.
    freedom: f64,
}

impl Noise {
    /// The noise of earlier runs of one question in order of time, or of several questions; `None`
    /// where there are fewer than five.
    ///
    /// Half the mean squared difference of neighbours is the variance of single values, which a trend
    /// does not widen, and a step only once (von Neumann, Kent, Bellinson and Hart, "The Mean Square
    /// Successive Difference", 1941). It has `2 (n - 1)^2 / (3 n - 4)` degrees of freedom: those of a
    /// variance with the same spread of its own.
    pub(crate) fn of(series: &[&[f64]]) -> Option<Self> {
        let runs = series.iter().map(|values| values.len()).sum();
        if runs < FEWEST {
            return None;
        }
        let (mut squares, mut differences, mut freedom) = (0.0, 0usize, 0.0);
        for values in series.iter().filter(|values| values.len() > 1) {
            squares += values
                .windows(2)
                .map(|pair| (pair[1] - pair[0]).powi(2))
                .sum::<f64>();
            differences += values.len() - 1;
            let n = values.len() as f64;
            freedom += 2.0 * (n - 1.0).powi(2) / (3.0 * n - 4.0);
        }
        (differences > 0).then(|| Self {
            sd: (squares / differences as f64 / 2.0).sqrt(),
            runs,
            freedom,
        })
    }

    /// How far a difference of two runs may lie from the true one, with a probability of 95 %;
    /// `error` is what is known of the error of the difference besides.
    pub(crate) fn reach(&self, error: f64) -> f64 {
        let between = 2f64.sqrt() * self.sd;
        let t = t_distribution(self.freedom).map_or(f64::INFINITY, |t| {
            statrs::distribution::ContinuousCDF::inverse_cdf(&t, 0.975)
        });
        (t * between).max(1.96 * error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_half_the_squared_difference_of_neighbours() {
        let noise = Noise::of(&[&[0.5, 0.48, 0.5, 0.48, 0.5]]).expect("five runs");
        assert!((noise.sd - 0.02 / 2f64.sqrt()).abs() < 1e-12, "{noise:?}");
        // t of 32/11 degrees of freedom is 3.24.
        assert!(
            (noise.reach(0.0) / 0.02 - 3.24).abs() < 0.01,
            "{}",
            noise.reach(0.0)
        );
        assert_eq!(noise.reach(1.0), 1.96);
    }

    #[test]
    fn a_trend_is_no_noise_and_few_runs_tell_none() {
        let trend: Vec<f64> = (0..100).map(f64::from).collect();
        let noise = Noise::of(&[&trend]).expect("enough runs");
        assert!((noise.sd - 0.5f64.sqrt()).abs() < 1e-12, "{noise:?}");
        assert_eq!(Noise::of(&[&[1.0, 2.0], &[3.0, 4.0]]), None);
        assert_eq!(Noise::of(&[&[1.0], &[1.0], &[1.0], &[1.0], &[1.0]]), None);
        let two = Noise::of(&[&[1.0, 2.0, 1.0], &[9.0, 8.0, 9.0]]).expect("six runs");
        assert!((two.sd - 0.5f64.sqrt()).abs() < 1e-12, "{two:?}");
    }
}
