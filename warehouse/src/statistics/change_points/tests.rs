use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use super::*;

fn indexes(series: &[f64]) -> Vec<usize> {
    change_points(series)
        .points
        .iter()
        .map(|point| point.index)
        .collect()
}

/// As its definition says, with every sum written out.
fn slow_candidate(segment: &[f64]) -> (usize, f64) {
    let distances = |pairs: &mut dyn Iterator<Item = (f64, f64)>| -> f64 {
        pairs.map(|(one, other)| (one - other).abs()).sum()
    };
    let within = |values: &[f64]| {
        let mut pairs = values
            .iter()
            .enumerate()
            .flat_map(|(i, one)| values[i + 1..].iter().map(move |other| (*one, *other)));
        distances(&mut pairs)
    };
    let mut best = (0, f64::NEG_INFINITY);
    for t in (1..segment.len()).rev() {
        for k in t + 1..=segment.len() {
            let (x, y) = (&segment[..t], &segment[t..k]);
            let (n, m) = (x.len() as f64, y.len() as f64);
            let mut pairs = x
                .iter()
                .flat_map(|one| y.iter().map(move |other| (*one, *other)));
            let mut q = 2.0 / (n + m) * distances(&mut pairs);
            if t > 1 {
                q -= 2.0 * m / (n + m) / (n - 1.0) * within(x);
            }
            if k - t > 1 {
                q -= 2.0 * n / (n + m) / (m - 1.0) * within(y);
            }
            if q > best.1 {
                best = (t, q);
            }
        }
    }
    best
}

proptest! {
    #[test]
    fn the_candidate_is_that_of_the_definition(series in prop::collection::vec(-9i32..9, 2..30)) {
        let series: Vec<f64> = series.into_iter().map(f64::from).collect();
        let (slow, q) = slow_candidate(&series);
        let fast = candidate(&series);
        // Equal distances are told apart by rounding alone.
        let again = slow_candidate(&series[..]);
        prop_assert_eq!((slow, q), again);
        if fast != slow {
            let of = |t: usize| (t + 1..=series.len()).map(|k| {
                let part = &series[..k];
                let (x, y) = part.split_at(t);
                energy(x, y)
            }).fold(f64::NEG_INFINITY, f64::max);
            prop_assert!((of(fast) - q).abs() < 1e-9, "{} {} {}", fast, slow, q);
        }
    }

    /// Units and direction do not matter to where it changes.
    #[test]
    fn scaling_and_turning_a_series_moves_no_point(
        steps in prop::collection::vec((-20i32..20, 3usize..12), 1..4),
        seed in any::<u64>(),
        scale in 1.0f64..1e6,
    ) {
        let series = steps_with_noise(&steps, seed);
        let scaled: Vec<f64> = series.iter().map(|value| 7.0 - value * scale).collect();
        prop_assert_eq!(indexes(&series), indexes(&scaled));
    }
}

fn energy(x: &[f64], y: &[f64]) -> f64 {
    let within = |values: &[f64]| -> f64 {
        let pairs = values
            .iter()
            .flat_map(|one| values.iter().map(move |other| (one - other).abs()));
        pairs.sum::<f64>() / 2.0
    };
    let (n, m) = (x.len() as f64, y.len() as f64);
    let between: f64 = x
        .iter()
        .flat_map(|one| y.iter().map(move |other| (one - other).abs()))
        .sum();
    let less = |share: f64, within: f64, of: f64| {
        if of > 1.0 {
            share * within / (of - 1.0)
        } else {
            0.0
        }
    };
    2.0 / (n + m) * (between - less(m, within(x), n) - less(n, within(y), m))
}

fn steps_with_noise(steps: &[(i32, usize)], seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let levels = steps
        .iter()
        .flat_map(|(level, n)| std::iter::repeat_n(f64::from(*level), *n));
    levels
        .map(|level| {
            let noise: f64 = StandardNormal.sample(&mut rng);
            level + noise / 64.0
        })
        .collect()
}

#[test]
fn a_step_is_found_where_it_is_and_with_its_size() {
    let series = steps_with_noise(&[(10, 12), (13, 9)], 1);
    let found = change_points(&series);
    let [point] = found.points[..] else {
        panic!("{found:?}")
    };
    assert_eq!((point.index, point.before.n, point.after.n), (12, 12, 9));
    assert!(
        (point.after.mean - point.before.mean - 3.0).abs() < 0.05,
        "{point:?}"
    );
    let (low, high) = point.interval();
    assert!(low < 3.0 && 3.0 < high && high - low < 0.1, "{low} {high}");
    // 9 of 21 values can be chosen in 293,930 ways.
    assert!(point.p_value < 1e-4, "{point:?}");
}

#[test]
fn levels_that_return_are_found() {
    assert_eq!(
        indexes(&steps_with_noise(&[(5, 20), (9, 6), (5, 20)], 2)),
        [20, 26]
    );
    assert_eq!(
        indexes(&steps_with_noise(&[(5, 9), (6, 9), (7, 9), (8, 9)], 3)),
        [9, 18, 27]
    );
}

#[test]
fn what_is_too_short_or_does_not_change_has_no_point() {
    for series in [
        &[][..],
        &[1.0],
        &[1.0, 9.0],
        &[1.0, 1.0, 1.0, 9.0, 9.0],
        &[4.0; 40],
    ] {
        assert_eq!(indexes(series), [0usize; 0], "{series:?}");
        let tested = change_points(series).elsewhere;
        assert!(tested.iter().all(|p| *p == 1.0), "{series:?}: {tested:?}");
    }
    // Six values cannot tell three from three.
    assert_eq!(indexes(&[1.0, 1.0, 1.0, 9.0, 9.0, 9.0]), [0usize; 0]);
}

/// Fewer than half of all series without a change have a point that is likelier than chance, and
/// some 5 % one that is kept.
#[test]
fn of_series_without_a_change_few_have_a_point() {
    let series = (0..400).map(|seed| steps_with_noise(&[(0, 30)], seed));
    let found: Vec<Detected> = series.map(|series| change_points(&series)).collect();
    let false_alarms = found
        .iter()
        .filter(|found| !found.points.is_empty())
        .count();
    assert!((4..=36).contains(&false_alarms), "{false_alarms} of 400");
    let likely = |found: &&Detected| found.elsewhere.iter().any(|p| *p < 0.5);
    let half = found.iter().filter(likely).count();
    assert!((60..=220).contains(&half), "{half} of 400");
}

/// Each side of a step was looked at as well, and counts.
#[test]
fn what_was_tested_beside_a_point_is_said() {
    let found = change_points(&steps_with_noise(&[(5, 20), (50, 20)], 2));
    assert_eq!(
        (found.points.len(), found.elsewhere.len()),
        (1, 2),
        "{found:?}"
    );
    let short = change_points(&steps_with_noise(&[(5, 20), (50, 5)], 2));
    assert_eq!(
        (short.points.len(), short.elsewhere.len()),
        (1, 1),
        "{short:?}"
    );
}
