//! Looks for changes in generated series whose changes are known.
//!
//! `cargo xtask bench changes` runs it. Writes one line of JSON for each kind of series: of how many
//! the change was found within two places, in how many there are more points than changes; alone, and
//! among all series together with false discoveries held to one in twenty.

use plimsoll_warehouse::statistics::{change_points, discoveries};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

/// Series of each kind with a change, and of each without one: changes are rare.
const WITH: usize = 200;
const WITHOUT: usize = 1_000;

/// The rate of false discoveries, as `regressions` takes it.
const RATE: f64 = 0.05;

struct Kind {
    name: &'static str,
    runs: usize,
    /// The first run after the step.
    place: Option<usize>,
    /// In standard deviations of a run.
    step: f64,
    /// From the first run to the last, in the same.
    drift: f64,
}

const fn kind(
    name: &'static str,
    runs: usize,
    place: Option<usize>,
    step: f64,
    drift: f64,
) -> Kind {
    Kind {
        name,
        runs,
        place,
        step,
        drift,
    }
}

const KINDS: [Kind; 11] = [
    kind("none, 12 runs", 12, None, 0.0, 0.0),
    kind("none, 40 runs", 40, None, 0.0, 0.0),
    kind("none, 100 runs", 100, None, 0.0, 0.0),
    kind("drift of 1 sigma, 40 runs", 40, None, 0.0, 1.0),
    kind("drift of 3 sigma, 40 runs", 40, None, 0.0, 3.0),
    kind("step of 1 sigma, 20 and 20 runs", 40, Some(20), 1.0, 0.0),
    kind("step of 2 sigma, 20 and 20 runs", 40, Some(20), 2.0, 0.0),
    kind("step of 3 sigma, 20 and 20 runs", 40, Some(20), 3.0, 0.0),
    kind("step of 1 sigma, 30 and 7 runs", 37, Some(30), 1.0, 0.0),
    kind("step of 2 sigma, 30 and 7 runs", 37, Some(30), 2.0, 0.0),
    kind("step of 3 sigma, 30 and 7 runs", 37, Some(30), 3.0, 0.0),
];

fn main() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut tested = Vec::new();
    // Of each series: its kind, and of its points the place and where they stand in `tested`.
    let mut all = Vec::new();
    for (number, kind) in KINDS.iter().enumerate() {
        let series = if kind.name.starts_with("none") {
            WITHOUT
        } else {
            WITH
        };
        for _ in 0..series {
            let values: Vec<f64> = (0..kind.runs)
                .map(|run| {
                    let noise: f64 = StandardNormal.sample(&mut rng);
                    let after = kind.place.is_some_and(|place| run >= place);
                    let drift = kind.drift * run as f64 / (kind.runs - 1) as f64;
                    100.0 + noise + drift + if after { kind.step } else { 0.0 }
                })
                .collect();
            let detected = change_points(&values);
            tested.extend(detected.elsewhere);
            let mut points = Vec::new();
            for point in detected.points {
                points.push((point.index, tested.len()));
                tested.push(point.p_value);
            }
            all.push((number, points));
        }
    }
    let rates = discoveries(&tested);
    for (number, kind) in KINDS.iter().enumerate() {
        let (mut series, mut counts) = (0, [[0; 2]; 2]);
        for (_, points) in all.iter().filter(|(of, _)| *of == number) {
            series += 1;
            for (among_all, counts) in counts.iter_mut().enumerate() {
                let near =
                    |index: usize| kind.place.is_some_and(|place| index.abs_diff(place) <= 2);
                let kept = points
                    .iter()
                    .filter(|(_, test)| among_all == 0 || rates[*test] <= RATE);
                let right = kept.clone().filter(|(index, _)| near(*index)).count();
                counts[0] += usize::from(right > 0);
                // A step that is found a few places off is no false alarm.
                let steps = usize::from(kind.place.is_some());
                counts[1] += usize::from(kept.count() > steps);
            }
        }
        let told = serde_json::json!({
            "kind": kind.name, "series": series,
            "found": counts[0][0], "false_alarms": counts[0][1],
            "discovered": counts[1][0], "false_discoveries": counts[1][1],
        });
        println!("{told}");
    }
}
