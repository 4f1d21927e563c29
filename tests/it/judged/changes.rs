//! Change points, worked out a second time by their definition, and by Apache Otava.

use std::fs;
use std::process::Command;

use plimsoll_warehouse::statistics::{ChangePoint, change_points};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::peers;

/// The series that Otava is shown and tested with, as its repository has them.
const SAMPLES: [&[f64]; 4] = [
    &[
        1.02, 0.95, 0.99, 1.00, 1.12, 1.00, 1.01, 0.98, 1.01, 0.96, 0.50, 0.51, 0.48, 0.48, 0.55,
        0.50, 0.49, 0.51, 0.50, 0.49,
    ],
    &[
        0.3, 2.4, 1.5, -0.9, -0.5, 99.7, 98.3, 99.1, 149.0, 149.7, 149.5, 149.1, 148.8, 150.0,
    ],
    &[
        154_023.0, 138_455.0, 143_112.0, 149_190.0, 132_098.0, 151_344.0, 155_145.0, 148_889.0,
        149_466.0, 148_209.0,
    ],
    &[
        10.43, 10.23, 10.29, 10.91, 10.34, 10.69, 9.23, 9.11, 9.13, 9.03,
    ],
];

/// What follows the first sample in one of Otava's tests: three values of another level at the end,
/// the greatest 22 times the least.
const TAIL: [f64; 6] = [0.47, 0.48, 0.45, 0.01, 0.1, 0.22];

/// What the judge came to.
#[derive(Deserialize)]
struct Judged {
    /// By the documented procedure: place and probability.
    ours: Vec<(usize, f64)>,
    otava: Vec<usize>,
}

fn judge(series: &[Vec<f64>]) -> Vec<Judged> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("series.json");
    fs::write(&path, serde_json::to_string(series).expect("numbers")).expect("written");
    let judged = Command::new(peers::installed("venv/bin/python"))
        .arg("-B")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/judges/changes.py"
        ))
        .arg(&path)
        .output()
        .expect("the judge starts");
    let complaint = String::from_utf8_lossy(&judged.stderr);
    assert!(judged.status.success(), "{complaint}");
    serde_json::from_slice(&judged.stdout).expect("what the judge prints")
}

fn places(points: &[ChangePoint]) -> Vec<usize> {
    points.iter().map(|point| point.index).collect()
}

/// Noise of the standard deviation 1, near enough.
fn noise(rng: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

#[test]
fn otava_finds_the_same_changes_in_its_own_series() {
    let mut series: Vec<Vec<f64>> = SAMPLES.iter().map(|series| series.to_vec()).collect();
    series.push([SAMPLES[0], &TAIL].concat());
    series.push([SAMPLES[0], &TAIL, &[0.08, 0.14, 0.09]].concat());
    let judged = judge(&series);
    for (series, judged) in series.iter().zip(&judged).take(SAMPLES.len()) {
        assert_eq!(
            places(&change_points(series).points),
            judged.otava,
            "{series:?}"
        );
    }
    // Three values that lie so far apart are not yet a level here. Otava takes the deviation of a
    // population, which makes few values look closer together than they are.
    let ours = |series: &[f64]| places(&change_points(series).points);
    assert_eq!(
        (ours(&series[4]), &judged[4].otava),
        (vec![10], &vec![10, 23])
    );
    assert_eq!(
        (ours(&series[5]), &judged[5].otava),
        (vec![10, 23], &vec![10, 23])
    );
}

/// Both find every step of 4 standard deviations and more, within one place, and Otava calls no
/// fewer changes that are none: it does not reckon with having looked for the best place.
#[test]
fn otava_finds_the_same_steps_in_random_series() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let drawn: Vec<(Option<usize>, Vec<f64>)> = (0..60)
        .map(|number| {
            let (first, second) = (rng.random_range(15..30), rng.random_range(15..30));
            let step = rng.random_range(4.0..9.0);
            let place = (number % 3 != 0).then_some(first);
            let level = |n: usize| match place {
                Some(place) if n >= place => 100.0 + step,
                _ => 100.0,
            };
            let series = (0..first + second).map(|n| level(n) + noise(&mut rng));
            (place, series.collect())
        })
        .collect();
    let series: Vec<Vec<f64>> = drawn.iter().map(|(_, series)| series.clone()).collect();
    let (mut false_alarms, mut of_otava) = (0, 0);
    for ((place, series), judged) in drawn.iter().zip(judge(&series)) {
        // At Otava's threshold.
        let mut ours = change_points(series).points;
        ours.retain(|point| point.p_value <= 0.001);
        let ours = places(&ours);
        for (who, points) in [("ours", &ours), ("Otava", &judged.otava)] {
            let near = |point: &usize| place.is_some_and(|place| point.abs_diff(place) <= 1);
            let found = points.iter().filter(|point| near(point)).count();
            assert_eq!(
                found,
                usize::from(place.is_some()),
                "{who}: {place:?} {points:?}"
            );
        }
        let steps = usize::from(place.is_some());
        false_alarms += ours.len() - steps;
        of_otava += judged.otava.len() - steps;
    }
    assert!(
        false_alarms <= of_otava && false_alarms <= 1,
        "{false_alarms}, {of_otava}"
    );
}

#[test]
fn change_points_are_those_of_the_documented_procedure() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut series: Vec<Vec<f64>> = SAMPLES.iter().map(|series| series.to_vec()).collect();
    for _ in 0..40 {
        let mut values = Vec::new();
        for _ in 0..rng.random_range(1..4) {
            let (level, n) = (rng.random_range(0.0..6.0), rng.random_range(1..14));
            values.extend((0..n).map(|_| level + noise(&mut rng)));
        }
        series.push(values);
    }
    let judged = judge(&series);
    let mut found = 0;
    for (series, judged) in series.iter().zip(&judged) {
        let ours = change_points(series).points;
        let theirs: Vec<usize> = judged.ours.iter().map(|(place, _)| *place).collect();
        assert_eq!(places(&ours), theirs, "{series:?}");
        for (point, (_, p)) in ours.iter().zip(&judged.ours) {
            let distance = (point.p_value - p).abs();
            assert!(distance < 1e-6 * p.max(1e-6), "{point:?} {p}");
        }
        found += ours.len();
    }
    assert!(found > 15, "{found} points are few to compare");
}
