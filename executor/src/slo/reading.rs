//! Measured and required values as text for people.
//!
//! Three significant figures, with a unit. A measured value is rounded away from its limit's good
//! side, so that what misses a limit never reads as if it met it. Limits are written in full.

use std::time::Duration;

/// Text of a measured latency, which must not be above its limit.
pub(crate) fn latency(ns: i64) -> String {
    const UNITS: [(f64, &str); 4] = [(1.0, "ns"), (1e3, "us"), (1e6, "ms"), (1e9, "s")];
    let ns = ns as f64;
    let (value, unit) = UNITS
        .into_iter()
        .map(|(scale, unit)| (three_figures(ns / scale, f64::ceil), unit))
        .find(|(value, unit)| value.abs() < 1000.0 || *unit == "s")
        .expect("seconds take any value");
    format!("{value} {unit}")
}

/// Text of a measured share, which must not be above its limit.
pub(crate) fn share_below(share: f64) -> String {
    format!("{} %", three_figures(share * 100.0, f64::ceil))
}

/// Text of a measured share, which must not be below its limit.
pub(crate) fn share_above(share: f64) -> String {
    format!("{} %", three_figures(share * 100.0, f64::floor))
}

/// Text of a measured rate, which must not be below its limit.
pub(crate) fn rate_above(per_second: f64) -> String {
    format!("{} req/s", three_figures(per_second, f64::floor))
}

/// Text of a limit on a latency, in full: `1.5 s`, or `1.5s` with no `gap`.
pub(crate) fn limit(limit: Duration, gap: &str) -> String {
    let ns = limit.as_nanos();
    let (scale, decimals, unit) = match ns {
        1_000_000_000.. => (1_000_000_000, 9, "s"),
        1_000_000.. => (1_000_000, 6, "ms"),
        1_000.. => (1_000, 3, "us"),
        _ => (1, 0, "ns"),
    };
    let (whole, part) = (ns / scale, ns % scale);
    if part == 0 {
        return format!("{whole}{gap}{unit}");
    }
    let part = format!("{part:0decimals$}");
    format!("{whole}.{}{gap}{unit}", part.trim_end_matches('0'))
}

/// Text of a percentage in full: `1 %`, or `1%` with no `gap`.
pub(crate) fn percent(percent: f64, gap: &str) -> String {
    format!("{percent}{gap}%")
}

/// The value with three significant figures, by `round`; all digits before the point are kept.
fn three_figures(value: f64, round: fn(f64) -> f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let magnitude = value.abs().log10().floor() as i32;
    // Dividing by a whole power of ten keeps decimals exact that multiplying would blur.
    let decimals = 2 - magnitude;
    let power = 10f64.powi(decimals.clamp(0, 300));
    let scaled = value * power;
    // What is a whole number but for the last bits of floating point is that number.
    let nearest = scaled.round();
    let exact = (scaled - nearest).abs() <= scaled.abs() * 1e-12;
    (if exact { nearest } else { round(scaled) }) / power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_rounded_up_to_three_figures() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1 us"),
            (500_000_000, "500 ms"),
            (500_000_001, "501 ms"),
            (999_000_001, "1 s"),
            (6_200_000_000, "6.2 s"),
            (6_200_000_001, "6.21 s"),
            (12_345_678, "12.4 ms"),
            (123_400_000_000, "124 s"),
            (12_345_000_000_000, "12345 s"),
        ] {
            assert_eq!(latency(ns), text, "{ns}");
        }
    }

    #[test]
    fn shares_and_rates_are_rounded_to_their_bad_side() {
        assert_eq!(share_below(0.0), "0 %");
        assert_eq!(share_below(0.01), "1 %");
        assert_eq!(share_below(0.010_000_1), "1.01 %");
        assert_eq!(share_above(0.979_99), "97.9 %");
        assert_eq!(share_above(1.0), "100 %");
        assert_eq!(rate_above(15.79), "15.7 req/s");
        assert_eq!(rate_above(9.999_9), "9.99 req/s");
        assert_eq!(rate_above(1234.5), "1234 req/s");
    }

    #[test]
    fn limits_are_written_in_full() {
        for (ns, text) in [
            (1, "1 ns"),
            (1_500, "1.5 us"),
            (500_000_000, "500 ms"),
            (1_500_000_000, "1.5 s"),
            (90_000_000_001, "90.000000001 s"),
        ] {
            assert_eq!(limit(Duration::from_nanos(ns), " "), text);
        }
        assert_eq!(limit(Duration::from_millis(500), ""), "500ms");
        assert_eq!(percent(0.1, " "), "0.1 %");
        assert_eq!(percent(100.0, ""), "100%");
    }
}
