//! The saturation curve: what was served against how long it took.
//!
//! Pure: stages in, points out; points in, lines of characters out. The
//! picture for HTML is in `svg.rs` and shares the axes.

use super::{Report, units};

impl Report {
    /// The judged stages as points; none for profiles that look for no limit.
    pub(super) fn curve(&self) -> Vec<Point> {
        if self.limit.is_none() {
            return Vec::new();
        }
        let points = self.steady_stages().filter_map(|stage| {
            let served = match self.is_closed_loop() {
                true => stage.throughput_rps,
                false => stage.goodput_rps,
            };
            Some(Point {
                latency_ns: stage.e2e_ns_p50? as f64,
                served_rps: served,
                label: stage.load_number(),
                holds: stage.holds.unwrap_or(true),
            })
        });
        points.collect()
    }

    /// What the curve counts: requests, or good ones.
    pub(super) fn served(&self) -> &'static str {
        if self.is_closed_loop() {
            "req/s"
        } else {
            "good req/s"
        }
    }
}

/// One stage as a point of the curve.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    /// The median end-to-end latency, in nanoseconds.
    pub(super) latency_ns: f64,
    /// Requests a second that were served: goodput or throughput.
    pub(super) served_rps: f64,
    /// The load of the stage, which stands beside the point.
    pub(super) label: String,
    /// True where the stage held its SLO.
    pub(super) holds: bool,
}

/// A line of values, from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

/// Latencies that differ by more than this are drawn on a logarithmic axis.
const LOGARITHMIC_FROM: f64 = 8.0;

impl Axis {
    /// From zero to a round number that holds every value.
    pub(super) fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let high = round_up(values.fold(0.0, f64::max));
        Self {
            low: 0.0,
            high,
            logarithmic: false,
        }
    }

    /// From just below the least to just above the greatest, logarithmic
    /// where they lie far apart.
    pub(super) fn of_latencies(values: impl Iterator<Item = f64> + Clone) -> Self {
        let least = values
            .clone()
            .filter(|value| *value > 0.0)
            .fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        if !least.is_finite() {
            return Self {
                low: 0.0,
                high: 1.0,
                logarithmic: false,
            };
        }
        let (low, high) = (round_down(least), round_up(most));
        if low < high {
            Self {
                low,
                high,
                logarithmic: most / least > LOGARITHMIC_FROM,
            }
        } else {
            Self {
                low: low / 2.0,
                high: high * 1.5,
                logarithmic: false,
            }
        }
    }

    /// Where a value lies: 0 at the low end, 1 at the high end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    /// The value that lies at a share of the axis.
    pub(super) fn value_at(&self, share: f64) -> f64 {
        if self.logarithmic {
            self.low * (self.high / self.low).powf(share)
        } else {
            self.low + (self.high - self.low) * share
        }
    }

    /// True where equal distances are equal factors.
    pub(super) fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }
}

/// Numbers that read well on an axis, between one power of ten and the next.
const STEPS: [f64; 11] = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];

/// The least number that reads well and is not below the value.
fn round_up(value: f64) -> f64 {
    let power = power_of_ten(value);
    let step = STEPS
        .into_iter()
        .find(|step| step * power >= value * (1.0 - 1e-9));
    step.unwrap_or(10.0) * power
}

/// The greatest number that reads well and is not above the value.
fn round_down(value: f64) -> f64 {
    let power = power_of_ten(value);
    let step = STEPS
        .into_iter()
        .rfind(|step| step * power <= value * (1.0 + 1e-9));
    step.unwrap_or(1.0) * power
}

fn power_of_ten(value: f64) -> f64 {
    if value > 0.0 && value.is_finite() {
        10f64.powf(value.log10().floor())
    } else {
        1.0
    }
}

/// Odd, so that the middle of the axis has a row of its own.
const HEIGHT: usize = 7;
const WIDEST: usize = 60;

/// Draws the curve in characters, in lines of at most `width`.
///
/// `o` is a stage that met the SLO, `x` one that did not, each with its load
/// beside it where there is room. No points give no lines.
pub(super) fn draw(points: &[Point], served: &str, width: usize) -> Vec<String> {
    if points.is_empty() {
        return Vec::new();
    }
    let vertical = Axis::from_zero(points.iter().map(|point| point.served_rps));
    let horizontal = Axis::of_latencies(points.iter().map(|point| point.latency_ns));
    let ticks: Vec<String> = (0..HEIGHT).map(|row| tick(&vertical, row)).collect();
    let gutter = ticks
        .iter()
        .map(|tick| super::table::width(tick))
        .max()
        .unwrap_or(0);
    let columns = width.saturating_sub(gutter + 2).clamp(20, WIDEST);

    let mut canvas = Canvas::new(columns, HEIGHT);
    let cell = |point: &Point| {
        let column = (horizontal.place(point.latency_ns) * (columns - 1) as f64).round() as usize;
        let row = (vertical.place(point.served_rps) * (HEIGHT - 1) as f64).round() as usize;
        (column, HEIGHT - 1 - row)
    };
    for point in points {
        let (column, row) = cell(point);
        canvas.mark(column, row, if point.holds { 'o' } else { 'x' });
    }
    for point in points {
        let (column, row) = cell(point);
        canvas.label(column, row, &point.label);
    }

    let mut lines = vec![served.to_string()];
    for (tick, row) in ticks.iter().zip(canvas.rows()) {
        lines.push(format!("{tick:>gutter$} |{row}").trim_end().to_string());
    }
    lines.push(format!("{:gutter$} +{}", "", "-".repeat(columns)));
    lines.push(format!("{:gutter$}  {}", "", scale(&horizontal, columns)));
    lines
}

/// The label of a row of the vertical axis: the top, the middle and zero.
fn tick(axis: &Axis, row: usize) -> String {
    if row.is_multiple_of((HEIGHT - 1) / 2) {
        let share = (HEIGHT - 1 - row) as f64 / (HEIGHT - 1) as f64;
        units::setting(axis.value_at(share))
    } else {
        String::new()
    }
}

/// The line below the horizontal axis: both ends, and what it shows between them.
fn scale(axis: &Axis, columns: usize) -> String {
    let left = units::duration_setting(axis.value_at(0.0).round() as i64);
    let right = units::duration_setting(axis.value_at(1.0).round() as i64);
    let name = if axis.is_logarithmic() {
        "p50 end to end, log"
    } else {
        "p50 end to end"
    };
    let middle = columns.saturating_sub(left.len() + right.len());
    format!("{left}{name:^middle$}{right}")
}

/// Cells of characters.
struct Canvas {
    cells: Vec<Vec<char>>,
}

impl Canvas {
    fn new(columns: usize, rows: usize) -> Self {
        Self {
            cells: vec![vec![' '; columns]; rows],
        }
    }

    /// Puts a mark; a failure that falls on a success stays visible.
    fn mark(&mut self, column: usize, row: usize, mark: char) {
        let cell = &mut self.cells[row][column];
        if *cell != 'x' {
            *cell = mark;
        }
    }

    /// Writes a label to the right of a cell, else to its left, else nowhere.
    fn label(&mut self, column: usize, row: usize, label: &str) {
        let text: Vec<char> = label.chars().collect();
        let cells = &mut self.cells[row];
        let right = column + 2;
        let left = column.checked_sub(text.len() + 1);
        // One free cell on each side keeps a label apart from its neighbours.
        let is_free = |from: usize, to: usize| {
            to <= cells.len() && cells[from..to].iter().all(|cell| *cell == ' ')
        };
        let start = if is_free(column + 1, right + text.len()) {
            Some(right)
        } else {
            left.filter(|start| is_free(start.saturating_sub(1), column))
        };
        if let Some(start) = start {
            cells[start..start + text.len()].copy_from_slice(&text);
        }
    }

    fn rows(&self) -> impl Iterator<Item = String> {
        self.cells.iter().map(|row| row.iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(latency_ms: f64, served_rps: f64, label: &str, holds: bool) -> Point {
        Point {
            latency_ns: latency_ms * 1e6,
            served_rps,
            label: label.to_string(),
            holds,
        }
    }

    #[test]
    fn round_numbers_hold_their_values() {
        for (value, up, down) in [
            (16.8, 20.0, 15.0),
            (0.37, 0.4, 0.3),
            (800.0, 800.0, 800.0),
            (9.1, 10.0, 8.0),
        ] {
            assert!(
                (round_up(value) - up).abs() < 1e-9,
                "{value} up: {}",
                round_up(value)
            );
            assert!(
                (round_down(value) - down).abs() < 1e-9,
                "{value} down: {}",
                round_down(value)
            );
        }
    }

    #[test]
    fn latencies_far_apart_are_drawn_by_factors() {
        let near = Axis::of_latencies([110.0, 790.0].into_iter());
        assert!(!near.is_logarithmic());
        assert!((near.place(450.0) - 0.5).abs() < 1e-9, "100 to 800");
        let far = Axis::of_latencies([100.0, 10_000.0].into_iter());
        assert!(far.is_logarithmic());
        assert!((far.place(1_000.0) - 0.5).abs() < 1e-9);
        assert!((far.value_at(0.5) - 1_000.0).abs() < 1e-6);
    }

    #[test]
    fn a_step_run_bends_back_past_its_knee() {
        let points = [
            point(110.0, 4.0, "4", true),
            point(130.0, 8.0, "8", true),
            point(220.0, 15.8, "16", true),
            point(2_400.0, 6.1, "32", false),
        ];
        let drawn = draw(&points, "good req/s", 50).join("\n");
        assert_eq!(
            drawn,
            "\
good req/s
20 |
   |           o 16
   |
10 |
   |    o 8                                  32 x
   | o 4
 0 |
   +----------------------------------------------
    100 ms        p50 end to end, log        2.5 s"
        );
    }

    #[test]
    fn one_point_and_none_are_fine() {
        let drawn = draw(&[point(50.0, 12.0, "1", true)], "req/s", 40);
        assert_eq!(drawn.len(), HEIGHT + 3);
        assert_eq!(
            drawn
                .iter()
                .filter(|line| line.contains("o") && line.contains('|'))
                .count(),
            1
        );
        assert!(draw(&[], "req/s", 40).is_empty());
        let still = draw(&[point(0.0, 0.0, "1", false)], "req/s", 40);
        assert!(still.iter().any(|line| line.contains('x')), "{still:?}");
    }

    #[test]
    fn twelve_points_keep_within_the_width_and_hide_no_failure() {
        let points: Vec<Point> = (0..12)
            .map(|at| point(50.0 + f64::from(at), 40.0, &(1 << at).to_string(), at < 11))
            .collect();
        for width in [10, 40, 80, 200] {
            let drawn = draw(&points, "req/s", width);
            let longest = drawn.iter().map(|line| line.len()).max().unwrap_or(0);
            assert!(longest <= width.max(28), "{longest} in {width}");
            assert!(drawn.iter().any(|line| line.contains('x')));
        }
    }

    #[test]
    fn labels_never_cover_marks_or_each_other() {
        let at = |latency, label, holds| point(latency, 10.0, label, holds);
        let same = [at(105.0, "1", true), at(105.1, "2", true)];
        let drawn = draw(&same, "req/s", 70).join("\n");
        assert!(drawn.contains(" 2 o 1"), "{drawn}");
        let three = [
            at(105.0, "1", true),
            at(105.1, "2", true),
            at(105.2, "4", false),
        ];
        let drawn = draw(&three, "req/s", 70).join("\n");
        assert!(drawn.contains(" 2 x 1"), "{drawn}");
        let beside = [at(100.0, "1", true), at(102.0, "2", true)];
        let drawn = draw(&beside, "req/s", 70).join("\n");
        assert!(drawn.contains("|o 1"), "{drawn}");
        assert!(drawn.contains("o 2"), "{drawn}");
    }
}
