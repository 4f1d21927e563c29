//! The saturation curve as a small picture that a page can hold.

use std::fmt::Write;

use super::curve::{Axis, Point};
use super::html::escape;
use super::units;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 40.0;
const TICKS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// Draws the curve; `None` of no points. Colours come from the page's
/// variables, so that they follow its light or dark theme.
pub(super) fn draw(points: &[Point], served: &str) -> Option<String> {
    if points.is_empty() {
        return None;
    }
    let vertical = Axis::from_zero(points.iter().map(|point| point.served_rps));
    let horizontal = Axis::of_latencies(points.iter().map(|point| point.latency_ns));
    let x = |share: f64| LEFT + share * (WIDTH - LEFT - RIGHT);
    let y = |share: f64| HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);

    let mut svg = Svg::open(served);
    for share in TICKS {
        let (at_x, at_y) = (x(share), y(share));
        svg.line("grid", (x(0.0), at_y), (x(1.0), at_y));
        svg.text(
            "end",
            (LEFT - 8.0, at_y + 4.0),
            &units::setting(vertical.value_at(share)),
        );
        let latency = units::duration(horizontal.value_at(share).round() as i64);
        svg.text("middle", (at_x, HEIGHT - BOTTOM + 16.0), &latency);
    }
    let scale = if horizontal.is_logarithmic() {
        ", logarithmic"
    } else {
        ""
    };
    let below = format!("p50 end to end{scale}");
    svg.text("middle", (x(0.5), HEIGHT - 6.0), &below);
    svg.text("start", (LEFT, TOP - 12.0), served);

    let places: Vec<(f64, f64)> = points
        .iter()
        .map(|point| {
            (
                x(horizontal.place(point.latency_ns)),
                y(vertical.place(point.served_rps)),
            )
        })
        .collect();
    svg.path(&places);
    for (point, place) in points.iter().zip(&places) {
        svg.point(point, *place);
    }
    Some(svg.close())
}

/// Elements of a picture as text.
struct Svg(String);

impl Svg {
    fn open(served: &str) -> Self {
        Self(format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"{} against median latency\">\n",
            escape(served)
        ))
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.push(format_args!(
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    fn text(&mut self, anchor: &str, at: (f64, f64), text: &str) {
        self.push(format_args!(
            "<text text-anchor=\"{anchor}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            at.0,
            at.1,
            escape(text)
        ));
    }

    fn path(&mut self, places: &[(f64, f64)]) {
        let places: Vec<String> = places
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        self.push(format_args!("<polyline points=\"{}\"/>", places.join(" ")));
    }

    fn point(&mut self, point: &Point, (x, y): (f64, f64)) {
        let class = if point.holds { "holds" } else { "breaks" };
        let title = format!(
            "{}: {} req/s, p50 {}",
            point.label,
            units::quantity(point.served_rps),
            units::duration(point.latency_ns.round() as i64)
        );
        self.push(format_args!(
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"><title>{}</title></circle>",
            escape(&title)
        ));
        self.text("start", (x + 8.0, y - 6.0), &point.label);
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{element}").expect("strings take all text");
    }

    fn close(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(label: &str, holds: bool) -> Point {
        Point {
            latency_ns: 1e8,
            served_rps: 4.0,
            label: label.to_string(),
            holds,
        }
    }

    #[test]
    fn every_stage_is_a_point_with_its_load() {
        let svg = draw(&[point("4", true), point("8<", false)], "req/s").expect("picture");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("class=\"breaks\""));
        assert!(svg.contains("8&lt;"), "labels are escaped");
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn no_points_make_no_picture() {
        assert_eq!(draw(&[], "req/s"), None);
    }
}
