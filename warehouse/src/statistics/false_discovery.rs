//! Which of many findings to believe.

/// Which of these findings, each with the probability to come about by chance, are believed, so that
/// of those that are a share of `rate` is expected to be by chance, and no more: for each the rate at
/// which it is just believed (Benjamini and Hochberg, "Controlling the False Discovery Rate", 1995).
pub fn discoveries(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|one, other| p_values[*one].total_cmp(&p_values[*other]));
    let all = p_values.len() as f64;
    let mut rates = vec![1.0; p_values.len()];
    let mut least: f64 = 1.0;
    for (place, finding) in order.into_iter().enumerate().rev() {
        least = least.min(p_values[finding] * all / (place + 1) as f64);
        rates[finding] = least;
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `scipy.stats.false_discovery_control` gives for the example of Benjamini and Hochberg.
    #[test]
    fn rates_are_those_of_the_procedure() {
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
            0.5719, 0.6528, 0.7590, 1.0,
        ];
        let rates = discoveries(&p);
        let believed = rates.iter().filter(|rate| **rate <= 0.05).count();
        assert_eq!(believed, 4);
        for (found, expected) in rates.iter().zip([0.0015, 0.003, 0.0095, 0.035625, 0.0603]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(rates[14], 1.0);
        assert_eq!(discoveries(&[]), [0.0; 0]);
        // In any order.
        assert_eq!(discoveries(&[0.9, 0.01]), [0.9, 0.02]);
    }
}
