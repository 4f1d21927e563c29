//! Numbers as people read them: a unit, and three significant figures.
//!
//! Every renderer formats through this file, so that a figure looks the same
//! in the terminal, in Markdown and in HTML. Two kinds of text come out of it:
//! *measured* values keep their trailing zeros (`1.90 s`), because the zeros
//! were measured; *settings* drop them (`500 ms`, `4`), because somebody chose
//! them.

/// What stands where a value does not exist.
pub const ABSENT: &str = "-";

/// Separates groups of three digits: a narrow space at which no line breaks.
const THIN: char = '\u{202f}';

const UNITS_OF_TIME: [(f64, &str); 5] = [
    (1e3, "us"),
    (1e6, "ms"),
    (1e9, "s"),
    (60e9, "min"),
    (3_600e9, "h"),
];

/// A measured duration in nanoseconds: `210 us`, `98.0 ms`, `1.90 s`, `2.50 min`.
///
/// Zero is `0 ms`; below a microsecond the nanoseconds are exact.
pub fn duration(ns: i64) -> String {
    if ns == 0 {
        return "0 ms".to_string();
    }
    if ns.abs() < 1_000 {
        return format!("{ns} ns");
    }
    let (value, unit) = in_unit_of_time(ns);
    format!("{} {unit}", significant(value))
}

/// A duration that was chosen, in full: `500 ms`, `1 s`, `1.5 min`, `469.9 ms`.
pub fn duration_setting(ns: i64) -> String {
    if ns == 0 {
        return "0 s".to_string();
    }
    if ns.abs() < 1_000 {
        return format!("{ns} ns");
    }
    let fitting = UNITS_OF_TIME
        .into_iter()
        .rfind(|(size, _)| ns.abs() as f64 >= *size);
    let (size, unit) = fitting.unwrap_or(UNITS_OF_TIME[0]);
    format!("{} {unit}", in_full(ns as f64 / size))
}

/// A measured quantity without a unit: `4.00`, `15.8`, `1240`, `12 300`.
pub fn quantity(value: f64) -> String {
    if !value.is_finite() {
        return ABSENT.to_string();
    }
    if value == 0.0 {
        return "0".to_string();
    }
    significant(value)
}

/// A quantity that was chosen, in full: `4`, `0.5`, `12.5`.
pub fn setting(value: f64) -> String {
    if value.is_finite() {
        in_full(value)
    } else {
        ABSENT.to_string()
    }
}

/// A measured rate of requests: `15.8 req/s`.
pub fn requests_per_second(value: f64) -> String {
    format!("{} req/s", quantity(value))
}

/// A measured rate of tokens: `1240 tok/s`.
pub fn tokens_per_second(value: f64) -> String {
    format!("{} tok/s", quantity(value))
}

/// A share of one, in percent: `0 %`, `0.2 %`, `99.9 %`, `100 %`.
///
/// Only nothing is `0 %` and only all is `100 %`: what rounding would take
/// there stays visible as `<0.01 %` and `99.9 %`.
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return ABSENT.to_string();
    }
    let value = share * 100.0;
    if value > 0.0 && value < 0.01 {
        return "<0.01 %".to_string();
    }
    let value = if value < 100.0 {
        value.min(99.9)
    } else {
        value
    };
    let text = if value.abs() < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    };
    format!("{} %", trim_zeros(&text))
}

/// An exact count, in groups of three digits from five digits on: `9999`, `12 345`.
pub fn count(value: i64) -> String {
    grouped(&value.to_string())
}

/// A count and its noun: `1 stage`, `5 stages`.
pub fn counted(value: usize, noun: &str) -> String {
    match value {
        1 => format!("1 {noun}"),
        _ => format!(
            "{} {noun}s",
            count(i64::try_from(value).unwrap_or(i64::MAX))
        ),
    }
}

/// The value in the largest unit in which, rounded, it is at least one.
fn in_unit_of_time(ns: i64) -> (f64, &'static str) {
    let mut ns = ns as f64;
    let (mut chosen, mut name) = UNITS_OF_TIME[0];
    for (size, unit) in UNITS_OF_TIME {
        let as_shown = rounded(ns / chosen) * chosen;
        if as_shown.abs() >= size {
            (ns, chosen, name) = (as_shown, size, unit);
        }
    }
    (ns / chosen, name)
}

/// Three significant figures; whole numbers above a thousand end in zeros.
fn significant(value: f64) -> String {
    let value = rounded(value);
    let decimals = 2 - order_of_magnitude(value);
    let decimals = usize::try_from(decimals.clamp(0, 12)).unwrap_or(0);
    grouped(&format!("{value:.decimals$}"))
}

/// The nearest number that has three significant figures.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    format!("{value:.2e}").parse().unwrap_or(value)
}

/// The power of ten of the first digit: 0 for 1 to 9.99.
fn order_of_magnitude(value: f64) -> i32 {
    if value == 0.0 {
        0
    } else {
        value.abs().log10().floor() as i32
    }
}

/// All digits, as far as binary fractions have them.
fn in_full(value: f64) -> String {
    const DIGITS: i32 = 9;
    let decimals = (DIGITS - 1 - order_of_magnitude(value)).clamp(0, 15);
    let decimals = usize::try_from(decimals).unwrap_or(0);
    grouped(&trim_zeros(&format!("{value:.decimals$}")))
}

fn trim_zeros(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        text.to_string()
    }
}

/// Groups the digits before the point where there are five or more.
fn grouped(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let mut out = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if whole.len() > 4 && at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(THIN);
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: i64 = 1_000;
    const MS: i64 = 1_000_000;
    const S: i64 = 1_000_000_000;

    #[test]
    fn measured_durations_have_three_figures_and_the_unit_that_fits() {
        let cases = [
            (0, "0 ms"),
            (1, "1 ns"),
            (999, "999 ns"),
            (US, "1.00 us"),
            (210 * US, "210 us"),
            (999_400, "999 us"),
            (999_600, "1.00 ms"),
            (98 * MS, "98.0 ms"),
            (112_400 * US, "112 ms"),
            (999_499 * US, "999 ms"),
            (999_500 * US, "1.00 s"),
            (1_900 * MS, "1.90 s"),
            (6_204 * MS, "6.20 s"),
            (59_940 * MS, "59.9 s"),
            (59_960 * MS, "1.00 min"),
            (60 * S, "1.00 min"),
            (90 * S, "1.50 min"),
            (3_599 * S, "1.00 h"),
            (4 * 3_600 * S, "4.00 h"),
            (1_234 * 3_600 * S, "1230 h"),
            (-98 * MS, "-98.0 ms"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text, "{ns} ns");
        }
    }

    #[test]
    fn chosen_durations_drop_their_zeros() {
        let cases = [
            (0, "0 s"),
            (500 * MS, "500 ms"),
            (50 * MS, "50 ms"),
            (S, "1 s"),
            (1_500 * MS, "1.5 s"),
            (30 * S, "30 s"),
            (60 * S, "1 min"),
            (90 * S, "1.5 min"),
            (600 * S, "10 min"),
            (469_900 * US, "469.9 ms"),
            (1_500, "1.5 us"),
            (90_000_000_001, "1.5 min"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration_setting(ns), text, "{ns} ns");
        }
    }

    #[test]
    fn quantities_have_three_figures() {
        let cases = [
            (0.0, "0"),
            (0.001234, "0.00123"),
            (0.05, "0.0500"),
            (0.9996, "1.00"),
            (4.0, "4.00"),
            (9.996, "10.0"),
            (15.84, "15.8"),
            (99.96, "100"),
            (100.4, "100"),
            (999.6, "1000"),
            (1_243.0, "1240"),
            (12_345.0, "12\u{202f}300"),
            (1_234_567.0, "1\u{202f}230\u{202f}000"),
            (-2.5, "-2.50"),
            (f64::NAN, "-"),
            (f64::INFINITY, "-"),
        ];
        for (value, text) in cases {
            assert_eq!(quantity(value), text, "{value}");
        }
        assert_eq!(requests_per_second(15.84), "15.8 req/s");
        assert_eq!(tokens_per_second(1_243.0), "1240 tok/s");
    }

    #[test]
    fn chosen_quantities_drop_their_zeros() {
        for (value, text) in [
            (4.0, "4"),
            (0.5, "0.5"),
            (0.1 + 0.2, "0.3"),
            (12.5, "12.5"),
            (100.0, "100"),
            (1_000.0, "1000"),
            (1_234.5, "1234.5"),
            (12_000.0, "12\u{202f}000"),
            (0.0, "0"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(setting(value), text, "{value}");
        }
    }

    #[test]
    fn only_nothing_is_zero_percent_and_only_all_is_a_hundred() {
        let cases = [
            (0.0, "0 %"),
            (0.000_000_1, "<0.01 %"),
            (0.0001, "0.01 %"),
            (0.002, "0.2 %"),
            (0.004_2, "0.42 %"),
            (0.01, "1 %"),
            (0.0125, "1.25 %"),
            (0.09996, "10 %"),
            (0.24, "24 %"),
            (0.243, "24.3 %"),
            (0.99, "99 %"),
            (0.999, "99.9 %"),
            (0.999_999, "99.9 %"),
            (1.0, "100 %"),
            (1.5, "150 %"),
            (f64::NAN, "-"),
        ];
        for (share, text) in cases {
            assert_eq!(percent(share), text, "{share}");
        }
    }

    #[test]
    fn counts_are_exact_and_grouped_from_five_digits() {
        let cases = [
            (0, "0"),
            (7, "7"),
            (9_999, "9999"),
            (12_345, "12\u{202f}345"),
            (123_456, "123\u{202f}456"),
            (1_234_567, "1\u{202f}234\u{202f}567"),
            (-12_345, "-12\u{202f}345"),
        ];
        for (value, text) in cases {
            assert_eq!(count(value), text);
        }
        assert_eq!(counted(1, "stage"), "1 stage");
        assert_eq!(counted(0, "stage"), "0 stages");
        assert_eq!(counted(12_000, "stage"), "12\u{202f}000 stages");
    }
}
