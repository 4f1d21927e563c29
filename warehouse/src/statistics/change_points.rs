//! Where the level of a series changes.
//!
//! A change point is where E-divisive (Matteson and James, "A Nonparametric Approach for Multiple
//! Change Point Analysis of Multivariate Data", 2014) sees the two sides differ most. Segments are
//! split while that looks possible, then the least likely points are taken away again until every
//! point that is left tells its neighbouring segments apart (Fleming et al., "Hunter: Using Change
//! Point Detection to Hunt for Performance Regressions", 2023). Instead of permutations, tests of two
//! samples tell how likely a point is by chance.

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::two_samples::{interval, least_p_value, level, p_value};

/// The fewest values on either side of a change point.
const SHORTEST: usize = 3;

/// How likely by chance a point may be to be looked at any further, and to be kept.
const POSSIBLE: f64 = 0.5;
const LIKELY: f64 = 0.05;

/// So many times the square root of their number are the independent places of a series, up to the
/// deviation at which the best of 40 has one chance in twenty.
const PLACES: f64 = 1.5;
const PLACES_AT: f64 = 2.8;

/// Three values beside three have exactly one chance in twenty, which is not less.
const ROUNDING: f64 = 1e-9;

/// Mean and sample standard deviation of the values between two change points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// The mean.
    pub mean: f64,
    /// The sample standard deviation; 0 of one value.
    pub sd: f64,
    /// How many values.
    pub n: usize,
}

/// Where a level ends and another begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// The first value of the new level.
    pub index: usize,
    /// The level that ends.
    pub before: Level,
    /// The level that begins.
    pub after: Level,
    /// The probability to find such a point by chance in a series without one.
    pub p_value: f64,
}

impl ChangePoint {
    /// The interval that holds the difference of the levels, after less before, with a probability
    /// of 95 %.
    pub fn interval(&self) -> (f64, f64) {
        interval(&self.before, &self.after)
    }
}

/// What a series holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Detected {
    /// Its change points in order.
    pub points: Vec<ChangePoint>,
    /// Of each stretch between them that is long enough to hold another: how likely by chance the
    /// likeliest place in it is, and never so unlikely that it would be a point. What was tested counts,
    /// when one out of many points is believed.
    pub elsewhere: Vec<f64>,
}

/// The change points of a series, in order of time.
pub fn change_points(series: &[f64]) -> Detected {
    let mut possible = Vec::new();
    let whole = likeliest(series);
    split(series, 0, whole, &mut possible);
    possible.sort_unstable();
    // Taking a point away changes its neighbours' segments.
    loop {
        let points = tested(series, &possible);
        let weakest = points
            .iter()
            .enumerate()
            .max_by(|(_, one), (_, other)| one.p_value.total_cmp(&other.p_value));
        match weakest {
            Some((place, point)) if point.p_value > LIKELY - ROUNDING => {
                possible.remove(place);
            }
            Some(_) => {
                let edges = edges(series, &possible);
                let stretches = edges.windows(2).map(|edges| &series[edges[0]..edges[1]]);
                let elsewhere = stretches.filter_map(likeliest).map(unlikely).collect();
                return Detected { points, elsewhere };
            }
            None => {
                let elsewhere = whole.into_iter().map(unlikely).collect();
                return Detected { points, elsewhere };
            }
        }
    }
}

/// The probability of a place that is no point, after all.
fn unlikely((_, p): (usize, f64)) -> f64 {
    p.max(LIKELY)
}

/// The likeliest place of a point in a segment, and how likely it is by chance; `None` of one that
/// is too short.
fn likeliest(segment: &[f64]) -> Option<(usize, f64)> {
    if segment.len() < 2 * SHORTEST {
        return None;
    }
    let place = candidate(segment).clamp(SHORTEST, segment.len() - SHORTEST);
    let (left, right) = segment.split_at(place);
    Some((place, by_chance(&level(left), &level(right))))
}

/// Puts the points of a segment that look possible into `found`: the likeliest, and what its two
/// sides have. `start` is where the segment begins in the series.
fn split(segment: &[f64], start: usize, likely: Option<(usize, f64)>, found: &mut Vec<usize>) {
    let Some((place, _)) = likely.filter(|(_, p)| *p <= POSSIBLE) else {
        return;
    };
    found.push(start + place);
    let (left, right) = segment.split_at(place);
    split(left, start, likeliest(left), found);
    split(right, start + place, likeliest(right), found);
}

/// Where the stretches between points begin and end.
fn edges(series: &[f64], points: &[usize]) -> Vec<usize> {
    std::iter::once(0)
        .chain(points.iter().copied())
        .chain([series.len()])
        .collect()
}

fn tested(series: &[f64], points: &[usize]) -> Vec<ChangePoint> {
    let edges = edges(series, points);
    let around = edges.windows(3).map(|edges| {
        let (before, after) = (&series[edges[0]..edges[1]], &series[edges[1]..edges[2]]);
        let (before, after) = (level(before), level(after));
        ChangePoint {
            index: edges[1],
            before,
            after,
            p_value: by_chance(&before, &after),
        }
    });
    around.collect()
}

/// The probability that the best of all places in a series without a change looks so good.
///
/// Places side by side look alike, so that there are fewer independent ones than places: simulated
/// series without a change give once to one and a half times the square root of their number
/// (`cargo xtask bench changes` shows what comes of it). Far out there are more of them: what James,
/// James and Siegmund give for the maximum over all places ("Tests for a change-point", 1987), with
/// their correction for discrete time, makes their number grow about as the deviation does.
fn by_chance(before: &Level, after: &Level) -> f64 {
    let p = p_value(before, after).min(1.0 - f64::EPSILON);
    let z = -Normal::standard().inverse_cdf(p / 2.0);
    let places = (PLACES * z / PLACES_AT).max(PLACES) * ((before.n + after.n) as f64).sqrt();
    // A probability of 0 has no deviation, and stays 0.
    let places = if places.is_finite() { places } else { 1.0 };
    let best = -f64::exp_m1(places * f64::ln_1p(-p));
    best.max(least_p_value(before, after))
}

/// Where the values before and after differ most, by the energy distance of E-divisive with
/// exponent 1; what comes after may end before the segment does, so that a level that returns is
/// found, too.
///
/// With `n` values before and `m` after it is `2 / (n + m)` times the sum of all distances between
/// the sides, less `m / (n - 1)` times those within the first and `n / (m - 1)` times those within
/// the second. Sums over all pairs grow by one value at a time, so that the whole takes time in the
/// square of the length.
fn candidate(segment: &[f64]) -> usize {
    let n = segment.len();
    // within[t]: distances among the first t values.
    let mut within = vec![0.0; n + 1];
    for t in 1..n {
        let added: f64 = segment[..t]
            .iter()
            .map(|value| (value - segment[t]).abs())
            .sum();
        within[t + 1] = within[t] + added;
    }
    let (mut best, mut place) = (f64::NEG_INFINITY, n / 2);
    // after[k]: distances among values t..k, for the t of the round before; t falls.
    let mut after = vec![0.0; n + 1];
    for t in (1..n).rev() {
        let mut added = 0.0;
        for k in t + 2..=n {
            added += (segment[t] - segment[k - 1]).abs();
            after[k] += added;
        }
        for k in t + 1..=n {
            let between = within[k] - within[t] - after[k];
            let (left, right) = (t as f64, (k - t) as f64);
            let of_left = if t > 1 {
                within[t] * right / (left - 1.0)
            } else {
                0.0
            };
            let of_right = if k - t > 1 {
                after[k] * left / (right - 1.0)
            } else {
                0.0
            };
            let distance = 2.0 / (left + right) * (between - of_left - of_right);
            if distance > best {
                (best, place) = (distance, t);
            }
        }
    }
    place
}

#[cfg(test)]
mod tests;
