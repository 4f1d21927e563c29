//! Whether a subject keeps up, seen in the requests that are due and not done.
//!
//! The backlog at a moment counts the requests scheduled up to it less those ended up to it. A
//! subject that keeps up holds it level; one that does not lets it grow by the difference of the
//! rates. The curve is kept at 121 moments, evenly over the stage's window, so that memory does not
//! hang on the window's length.
//!
//! From an empty start the backlog must first fill, for as long as replies take. What is missing at
//! a moment is `rate * mean(min(s, end) - min(s, moment))`, both counted from the first request at
//! this rate, which is the warm-up's; it is added, so that filling is no growth. Here s is how long a
//! reply is under way once it has begun (from its first token to its end, so that waiting in a
//! queue is not in it), over the ok requests of the window's first half. Of a reply that is no stream
//! it is the whole latency.
//!
//! Two answers come of the curve:
//!
//! - [`BacklogCurve::trend`], the slope with its significance. The slope is that of least squares
//!   through the means of some 30 blocks. It is **growth** if both
//!   1. the Mann-Kendall test says that later blocks are higher, one-sided at 1 %: `S` = pairs that
//!      rise less pairs that fall, `Var S = (n(n-1)(2n+5) - sum over ties t(t-1)(2t+5)) / 18`,
//!      `Z = (S - 1) / sqrt(Var S) > 2.326` (Mann, "Nonparametric tests against trend",
//!      Econometrica 13 (1945); Kendall, "Rank Correlation Methods" (1975), with ties), and
//!   2. the growth over the fitted part exceeds 2 % of its arrivals and twice the square root of
//!      the mean backlog. A backlog wanders by about that root on its own (it is a Poisson number
//!      where servers suffice), and its neighbouring values are alike, which the test alone takes
//!      for a trend in one of ten stable stages.
//!
//!   The beginning is left out, up to the p99 of the end-to-end latency and half of the window.
//! - [`BacklogCurve::kept_up`], the share of the second half's arrivals that did not add to the
//!   backlog: `1 - growth / arrivals`, where growth is what the backlog at the end exceeds the
//!   highest of the first half by, and none if that is no more than its square root. Under a
//!   constant overload it is throughput over offered rate. The plain quotient would call every stage
//!   overloaded whose requests take more than 2 % of the window, since those in flight at its end
//!   are not done.
//!
//! In simulated queues (1 to 16 servers, log-normal service times with sigma 0.8, windows of 30 s,
//! equal gaps of 1 to 16 requests a second) both together called 1 to 3 % of the stages at up to 0.8
//! of the capacity overloaded, and at 1.2 of it 9 in 10, at twice of it 99 in 100. With exponential
//! gaps they call up to one in ten at 0.8 overloaded: queues then do grow for half a minute.

use super::StageWindow;

/// Moments of the curve, less one: parts of the window.
const PARTS: usize = 120;
const HALF: usize = PARTS / 2;
/// Blocks that the trend is tested on.
const BLOCKS: usize = 30;
/// Standard normal deviate of a one-sided 1 %.
const SIGNIFICANT_Z: f64 = 2.326;
/// Growth below this share of the arrivals is of no matter; 1 less the achieved ratio required.
const SMALL_GROWTH: f64 = 0.02;
/// Growth below so many square roots of the backlog is what a level backlog does.
const WANDERING: f64 = 2.0;
/// With fewer arrivals nothing is said.
const FEWEST_ARRIVALS: u64 = 10;

/// The growth of a backlog.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BacklogTrend {
    /// Slope in requests a second; below 0 where it shrinks.
    pub slope_rps: f64,
    /// Whether it is growth beyond chance and beyond what matters.
    pub grows: bool,
}

/// Requests due and not done, over the window of a stage.
#[derive(Debug, Clone)]
pub(super) struct BacklogCurve {
    started_ns: i64,
    duration_ns: i64,
    warmed_ns: i64,
    /// By the first moment of the curve that has it.
    scheduled: [u64; PARTS + 1],
    done: [u64; PARTS + 1],
    /// Replies by the moment, to the nearest, up to which one is under way that began with the
    /// first request at the rate.
    served: [u64; PARTS + 1],
}

impl BacklogCurve {
    pub(super) fn new(window: StageWindow) -> Self {
        Self {
            started_ns: window.started_ns,
            duration_ns: window.duration_ns,
            warmed_ns: window.warmed_ns,
            scheduled: [0; PARTS + 1],
            done: [0; PARTS + 1],
            served: [0; PARTS + 1],
        }
    }

    /// Takes note of how long the reply to an ok request of the stage itself was under way.
    pub(super) fn add_served(&mut self, scheduled_ns: i64, served_ns: i64) {
        if scheduled_ns - self.started_ns > self.duration_ns / 2 {
            return;
        }
        let beyond = (served_ns - self.warmed_ns).max(0) as f64;
        let moment = beyond / self.duration_ns.max(1) as f64 * PARTS as f64;
        self.served[(moment.round() as usize).min(PARTS)] += 1;
    }

    /// What is missing at each moment of the backlog that replies alone make, as it is at the end.
    fn unfilled(&self) -> [f64; PARTS + 1] {
        let mut unfilled = [0.0; PARTS + 1];
        let replies: u64 = self.served.iter().sum();
        if replies == 0 {
            return unfilled;
        }
        let arrivals: u64 = self.scheduled[1..].iter().sum();
        let each = arrivals as f64 / PARTS as f64 / replies as f64;
        let mut longer = 0;
        for moment in (0..PARTS).rev() {
            longer += self.served[moment + 1];
            unfilled[moment] = unfilled[moment + 1] + each * longer as f64;
        }
        unfilled
    }

    /// Counts one request, of this stage or left over from the one before.
    pub(super) fn add(&mut self, scheduled_ns: i64, done_ns: i64) {
        for (counts, at_ns) in [
            (&mut self.scheduled, scheduled_ns),
            (&mut self.done, done_ns),
        ] {
            let elapsed = i128::from(at_ns) - i128::from(self.started_ns);
            let parts = elapsed.max(0) * PARTS as i128;
            let first = parts.div_euclid(i128::from(self.duration_ns.max(1)));
            let on_moment = parts.rem_euclid(i128::from(self.duration_ns.max(1))) == 0;
            let moment = usize::try_from(first).map(|first| first + usize::from(!on_moment));
            if let Ok(moment @ 0..=PARTS) = moment {
                counts[moment] += 1;
            }
        }
    }

    /// The trend; `None` with fewer than ten arrivals in the part that it is fitted to.
    pub(super) fn trend(&self, e2e_ns_p99: Option<i64>) -> Option<BacklogTrend> {
        let filling = e2e_ns_p99.unwrap_or(0) as f64 / self.duration_ns.max(1) as f64;
        let skipped = ((filling * PARTS as f64).ceil() as usize).min(HALF);
        let arrivals: u64 = self.scheduled[skipped + 1..].iter().sum();
        if arrivals < FEWEST_ARRIVALS {
            return None;
        }
        let levels = &self.levels()[skipped..];
        let block = levels.len() / BLOCKS;
        let means: Vec<f64> = levels
            .chunks_exact(block)
            .map(|levels| levels.iter().sum::<f64>() / block as f64)
            .collect();
        let spacing_s = self.duration_ns as f64 / 1e9 * block as f64 / PARTS as f64;
        let per_block = least_squares_slope(&means);
        let growth = per_block * (means.len() - 1) as f64;
        let level = means.iter().sum::<f64>() / means.len() as f64;
        let matters =
            growth > SMALL_GROWTH * arrivals as f64 && growth > WANDERING * level.max(1.0).sqrt();
        Some(BacklogTrend {
            slope_rps: per_block / spacing_s,
            grows: matters && mann_kendall_z(&means) > SIGNIFICANT_Z,
        })
    }

    /// Share of the second half's arrivals that did not add to the backlog, from 0 to 1.
    pub(super) fn kept_up(&self) -> f64 {
        let levels = self.levels();
        let before = levels[..=HALF].iter().copied().fold(0.0, f64::max);
        let growth = levels[PARTS] - before;
        let arrivals: u64 = self.scheduled[HALF + 1..].iter().sum();
        if arrivals == 0 || growth <= before.sqrt() {
            return 1.0;
        }
        (1.0 - growth / arrivals as f64).max(0.0)
    }

    /// The backlog at each moment, as if it had been filled from the start.
    fn levels(&self) -> [f64; PARTS + 1] {
        let mut level = 0.0;
        let mut levels = self.unfilled();
        for (moment, at) in levels.iter_mut().enumerate() {
            level += self.scheduled[moment] as f64 - self.done[moment] as f64;
            *at += level;
        }
        levels
    }
}

/// Slope of the line through equally spaced values with the least squared error, in their unit a
/// step: `sum (i - mean i)(y - mean y) / sum (i - mean i)^2`.
fn least_squares_slope(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let middle = (n - 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / n;
    let (mut across, mut along) = (0.0, 0.0);
    for (step, value) in values.iter().enumerate() {
        let from_middle = step as f64 - middle;
        across += from_middle * (value - mean);
        along += from_middle * from_middle;
    }
    across / along
}

/// The deviate of the Mann-Kendall test; 0 where all values are the same.
fn mann_kendall_z(values: &[f64]) -> f64 {
    let mut s = 0i64;
    for (i, earlier) in values.iter().enumerate() {
        for later in &values[i + 1..] {
            s += i64::from(later > earlier) - i64::from(later < earlier);
        }
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let pairs = |n: usize| (n * n.saturating_sub(1) * (2 * n + 5)) as f64;
    let ties: f64 = sorted
        .chunk_by(|a, b| a == b)
        .map(|equal| pairs(equal.len()))
        .sum();
    let variance = (pairs(values.len()) - ties) / 18.0;
    if s == 0 || variance <= 0.0 {
        return 0.0;
    }
    (s - s.signum()) as f64 / variance.sqrt()
}

#[cfg(test)]
mod tests {
    use plimsoll_ingest::Phase;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn empty(started_ns: i64, duration_ns: i64, warmed_ns: i64) -> BacklogCurve {
        BacklogCurve::new(StageWindow {
            stage: 0,
            phase: Phase::Steady,
            started_ns,
            duration_ns,
            offered_rps: Some(1.0),
            warmed_ns,
            missed: 0,
        })
    }

    /// `rate` arrivals a second at a subject of `servers` that take `service_ns` each: for a
    /// warm-up, then for the 30 s of the window.
    fn warmed_curve(
        warm_up_s: i64,
        rate: i64,
        servers: usize,
        service_ns: impl Fn(i64) -> i64,
    ) -> (BacklogCurve, i64) {
        let started = 7 * SECOND;
        let mut curve = empty(started, 30 * SECOND, warm_up_s * SECOND);
        let mut free = vec![i64::MIN; servers];
        let mut e2e = Vec::new();
        for i in -rate * warm_up_s..rate * 30 {
            let due = started + i * SECOND / rate;
            free.sort_unstable();
            let service_ns = service_ns(i);
            let done = free[0].max(due) + service_ns;
            free[0] = done;
            if i >= 0 || done > started {
                curve.add(due, done);
            }
            if i >= 0 {
                curve.add_served(due, service_ns);
                e2e.push(done - due);
            }
        }
        e2e.sort_unstable();
        (curve, e2e[e2e.len() * 99 / 100])
    }

    fn curve(rate: i64, servers: usize, service_ns: impl Fn(i64) -> i64) -> (BacklogCurve, i64) {
        warmed_curve(0, rate, servers, service_ns)
    }

    #[track_caller]
    fn check(rate: i64, servers: usize, service_ns: i64, grows: bool, slope: f64, kept_up: f64) {
        let (curve, e2e_p99) = curve(rate, servers, |_| service_ns);
        let trend = curve.trend(Some(e2e_p99)).expect("arrivals enough");
        assert_eq!(trend.grows, grows, "{trend:?}");
        let off = (trend.slope_rps - slope).abs();
        assert!(off <= 0.05 * slope.max(1.0), "{trend:?}, not {slope}");
        let found = curve.kept_up();
        assert!((found - kept_up).abs() < 0.03, "{found}, not {kept_up}");
    }

    #[test]
    fn a_subject_with_room_keeps_up() {
        // Capacity 8 / 1 s = 8 a second.
        check(4, 8, SECOND, false, 0.0, 1.0);
        check(8, 8, SECOND, false, 0.0, 1.0);
        // Ten seconds in flight: the filling third is no growth.
        check(4, 64, 10 * SECOND, false, 0.0, 1.0);
    }

    #[test]
    fn long_replies_fill_the_backlog_and_are_no_growth() {
        for (warm_up_s, service_s) in [(0, 25), (0, 30), (0, 45), (5, 25), (5, 40), (5, 58)] {
            for rate in [1, 2, 4, 16] {
                let (curve, e2e_p99) = warmed_curve(warm_up_s, rate, 2_000, |_| service_s * SECOND);
                let trend = curve.trend(Some(e2e_p99));
                assert!(!trend.is_some_and(|trend| trend.grows), "{trend:?}");
                let kept_up = curve.kept_up();
                assert!(kept_up > 0.99, "{rate}/s of {service_s} s: {kept_up}");
            }
        }
    }

    #[test]
    fn long_replies_hide_no_overload() {
        // 160 servers of 20 s carry 8 a second. What waits begins later and takes no longer.
        for (rate, kept_up) in [(16, 0.5), (32, 0.25)] {
            for (warm_up_s, seed) in [(20, 1), (30, 2), (60, 3)] {
                let service_ns = noisy_about(20.0, seed);
                let (curve, e2e_p99) = warmed_curve(warm_up_s, rate, 160, service_ns);
                let found = curve.kept_up();
                assert!((found - kept_up).abs() < 0.15, "{found}, not {kept_up}");
                assert!(curve.trend(Some(e2e_p99)).expect("arrivals enough").grows);
            }
        }
    }

    #[test]
    fn an_overloaded_one_falls_behind_by_the_difference_of_the_rates() {
        check(10, 8, SECOND, true, 2.0, 0.8);
        check(16, 8, SECOND, true, 8.0, 0.5);
        check(32, 8, SECOND, true, 24.0, 0.25);
    }

    #[test]
    fn what_was_left_over_at_the_start_counts() {
        let mut curve = empty(0, 30 * SECOND, 0);
        for i in 0..100 {
            curve.add(-SECOND, i * SECOND / 10);
        }
        assert_eq!(curve.levels()[0], 99.0, "one is done at the start");
        assert_eq!(curve.levels()[PARTS], 0.0);
    }

    #[test]
    fn with_few_arrivals_nothing_is_said() {
        let mut curve = empty(0, 30 * SECOND, 0);
        for i in 0..9 {
            curve.add(i * 3 * SECOND + 1, i64::MAX);
        }
        assert_eq!(curve.trend(None), None);
        curve.add(28 * SECOND, i64::MAX);
        assert!(curve.trend(None).expect("ten").grows);
    }

    #[test]
    fn a_window_of_no_length_harms_nothing() {
        let mut curve = empty(5, 0, 0);
        curve.add(5, 6);
        assert_eq!(curve.trend(None), None);
        assert_eq!(curve.kept_up(), 1.0);
    }

    #[test]
    fn mann_kendall_on_paper() {
        // Gilbert, "Statistical Methods for Environmental Pollution Monitoring" (1987), 16.4: all
        // 45 pairs of ten rising values rise, Var S = 10 * 9 * 25 / 18 = 125.
        let rising: Vec<f64> = (0..10).map(f64::from).collect();
        assert!((mann_kendall_z(&rising) - 44.0 / 125f64.sqrt()).abs() < 1e-12);
        let falling: Vec<f64> = rising.iter().map(|value| -value).collect();
        assert!((mann_kendall_z(&falling) + 44.0 / 125f64.sqrt()).abs() < 1e-12);
        // Two pairs of ties: S = 4, Var S = (4 * 3 * 13 - 2 * (2 * 1 * 9)) / 18 = 120 / 18.
        let tied = mann_kendall_z(&[1.0, 1.0, 2.0, 2.0]);
        assert!((tied - 3.0 / (120f64 / 18.0).sqrt()).abs() < 1e-12);
        assert_eq!(mann_kendall_z(&[3.0; 8]), 0.0);
    }

    #[test]
    fn least_squares_on_paper() {
        assert_eq!(least_squares_slope(&[1.0, 3.0, 5.0, 7.0]), 2.0);
        // Deviations -1, 0, 1 times -1, 2, -1 add up to 0.
        assert_eq!(least_squares_slope(&[0.0, 3.0, 0.0]), 0.0);
    }

    /// Deterministic noise of a log-normal kind: sigma 0.8 about a mean of 1 s.
    fn noisy(seed: u64) -> impl Fn(i64) -> i64 {
        noisy_about(1.0, seed)
    }

    fn noisy_about(mean_s: f64, seed: u64) -> impl Fn(i64) -> i64 {
        use rand::{RngExt, SeedableRng};
        let law = rand_distr::LogNormal::new(mean_s.ln() - 0.32, 0.8).expect("a law");
        let rng = std::cell::RefCell::new(rand_chacha::ChaCha8Rng::seed_from_u64(seed));
        move |_| (rng.borrow_mut().sample::<f64, _>(law) * SECOND as f64) as i64
    }

    #[test]
    fn chance_is_seldom_taken_for_growth_and_overload_seldom_for_chance() {
        let called_overloaded = |rate, servers| {
            let called = (0..200).filter(|seed| {
                let (curve, e2e_p99) = curve(rate, servers, noisy(*seed));
                let grows = curve.trend(Some(e2e_p99)).is_some_and(|trend| trend.grows);
                grows || curve.kept_up() < 0.98
            });
            called.count()
        };
        let of_half = called_overloaded(8, 16);
        assert!(of_half <= 6, "{of_half} of 200 at half of the capacity");
        // Here the backlog wanders most; the test for a trend alone takes one in ten for growth.
        let of_most = called_overloaded(12, 16);
        assert!(of_most <= 8, "{of_most} of 200 at three quarters of it");
        let of_double = called_overloaded(8, 4);
        assert!(of_double >= 198, "{of_double} of 200 at twice the capacity");
    }

    /// Nobody waits here, and the mean reply takes half of the window.
    #[test]
    fn long_tails_are_seldom_taken_for_growth() {
        for rate in [2, 4, 8, 16] {
            let called = (0..200).filter(|seed| {
                let service_ns = noisy_about(15.0, *seed);
                let (curve, e2e_p99) = warmed_curve(5, rate, 2_000, service_ns);
                let grows = curve.trend(Some(e2e_p99)).is_some_and(|trend| trend.grows);
                grows || curve.kept_up() < 0.98
            });
            let called = called.count();
            assert!(called <= 20, "{called} of 200 at {rate} a second");
        }
    }
}
