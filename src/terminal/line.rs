//! The line of live progress: values in, text out.

use std::time::Duration;

use plimsoll_executor::performance::LiveSnapshot;
use plimsoll_query_api::report::units;

/// The longest progress bar, brackets not counted.
const LONGEST_BAR: usize = 20;

/// A shorter bar says nothing.
const SHORTEST_BAR: usize = 8;

/// The widest form of the live line that fits into `width` columns.
///
/// What does not fit is first said in fewer words and then left out, the least important first;
/// the room that is left becomes a bar.
pub(crate) fn live(snapshot: &LiveSnapshot, width: usize) -> String {
    let left = match snapshot.paused {
        true => "paused".to_owned(),
        false => format!("{} left", clock(snapshot.left)),
    };
    for wording in Wording::ALL {
        let text = format!("  {}", segments(snapshot, wording).join("  "));
        let used = text.chars().count() + 2 + left.len();
        if used > width {
            continue;
        }
        // The bar needs its brackets and a gap of its own.
        let room = (width - used).saturating_sub(4).min(LONGEST_BAR);
        if room < SHORTEST_BAR {
            return format!("{text}  {left}");
        }
        let bar = bar(snapshot.elapsed, snapshot.left, room);
        return format!("{text}  [{bar}]  {left}");
    }
    left.chars().take(width).collect()
}

/// The same for a log file: no bar, all words, and what was reached beside what was asked.
pub(crate) fn plain(snapshot: &LiveSnapshot) -> String {
    let mut parts = segments(snapshot, Wording::Long);
    parts.insert(
        2,
        format!(
            "completed {}",
            units::requests_per_second(snapshot.completed_rps)
        ),
    );
    if snapshot.paused {
        parts.push("paused".to_owned());
    }
    format!(
        "{} {}: {}, {} left",
        snapshot.profile,
        snapshot.stage_name,
        parts.join(", "),
        clock(snapshot.left)
    )
}

/// How many words the live line has, from most to fewest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wording {
    Long,
    Short,
    Bare,
}

impl Wording {
    const ALL: [Self; 3] = [Self::Long, Self::Short, Self::Bare];
}

fn segments(snapshot: &LiveSnapshot, wording: Wording) -> Vec<String> {
    let mut segments = vec![
        format!("stage {}/{}", snapshot.stage, snapshot.stages),
        load(snapshot),
    ];
    if wording != Wording::Bare {
        segments.push(match wording {
            Wording::Long => format!("in flight {}", snapshot.in_flight),
            _ => format!("{} open", snapshot.in_flight),
        });
        let time = |value: Option<Duration>| value.map_or(units::ABSENT.to_owned(), latency);
        let (p50, p99) = (time(snapshot.ttft_p50), time(snapshot.ttft_p99));
        segments.push(match wording {
            Wording::Long => format!("TTFT p50 {p50} p99 {p99}"),
            _ => format!("TTFT {p50}, p99 {p99}"),
        });
    }
    segments.push(format!("errors {}", snapshot.errors));
    if snapshot.missed > 0 {
        segments.push(format!("missed {}", snapshot.missed));
    }
    segments
}

/// What is asked of the server in this stage.
fn load(snapshot: &LiveSnapshot) -> String {
    match (snapshot.offered_rps, snapshot.concurrency) {
        (Some(rate), _) => format!("{} req/s", units::setting(rate)),
        (None, Some(level)) => format!("{level} at once"),
        (None, None) => units::requests_per_second(snapshot.completed_rps),
    }
}

fn latency(value: Duration) -> String {
    units::duration(i64::try_from(value.as_nanos()).unwrap_or(i64::MAX))
}

/// How long something takes, as far as can be told: `about 40 s`, `about 3 min`.
pub(crate) fn about(time: Duration) -> String {
    const FINE_UP_TO_S: f64 = 90.0;
    let seconds = time.as_secs_f64();
    if seconds < FINE_UP_TO_S {
        // Tens are as exact as an estimate is.
        format!("about {} s", (seconds / 10.0).ceil() * 10.0)
    } else {
        format!("about {} min", (seconds / 60.0).round())
    }
}

/// `0:07`, `1:12`, `2:03:00`. Rounded up, so that only the end is `0:00`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

fn bar(elapsed: Duration, left: Duration, room: usize) -> String {
    let whole = (elapsed + left).as_secs_f64();
    let share = if whole > 0.0 {
        elapsed.as_secs_f64() / whole
    } else {
        0.0
    };
    let filled = (share * room as f64) as usize;
    let arrow = if filled < room { ">" } else { "" };
    let empty = room - filled - arrow.len();
    format!("{}{arrow}{}", "=".repeat(filled), " ".repeat(empty))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A snapshot in the middle of a step run.
    pub(crate) fn snapshot() -> LiveSnapshot {
        LiveSnapshot {
            profile: "step".to_owned(),
            stage: 3,
            stages: 5,
            stage_name: "8 req/s".to_owned(),
            offered_rps: Some(8.0),
            concurrency: None,
            in_flight: 41,
            completed_rps: 7.93,
            sent: 900,
            ok: 859,
            errors: 0,
            missed: 0,
            ttft_p50: Some(Duration::from_millis(112)),
            ttft_p99: Some(Duration::from_millis(380)),
            elapsed: Duration::from_secs(72),
            left: Duration::from_secs(72),
            paused: false,
        }
    }

    #[test]
    fn the_line_says_all_where_there_is_room() {
        assert_eq!(
            live(&snapshot(), 120),
            "  stage 3/5  8 req/s  in flight 41  TTFT p50 112 ms p99 380 ms  errors 0  \
             [==========>         ]  1:12 left"
        );
    }

    #[test]
    fn eighty_columns_hold_everything_but_the_bar() {
        let line = live(&snapshot(), 80);
        assert_eq!(
            line,
            "  stage 3/5  8 req/s  41 open  TTFT 112 ms, p99 380 ms  errors 0  1:12 left"
        );
        assert!(line.chars().count() <= 80);
    }

    #[test]
    fn no_width_is_ever_passed() {
        let mut busy = snapshot();
        (busy.errors, busy.missed, busy.in_flight) = (1_234_567, 7_654_321, 99_999);
        for snapshot in [snapshot(), busy] {
            for width in 0..200 {
                let line = live(&snapshot, width);
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn missed_sends_are_said_as_soon_as_there_are_some() {
        let mut late = snapshot();
        assert!(!live(&late, 100).contains("missed"));
        late.missed = 3;
        assert!(live(&late, 100).contains("errors 0  missed 3"));
    }

    #[test]
    fn a_pause_takes_the_place_of_the_time_left() {
        let mut held = snapshot();
        held.paused = true;
        assert!(
            live(&held, 80).ends_with("errors 0  paused"),
            "{}",
            live(&held, 80)
        );
        assert!(
            plain(&held).ends_with("errors 0, paused, 1:12 left"),
            "{}",
            plain(&held)
        );
    }

    #[test]
    fn a_closed_loop_says_its_level_and_no_token_yet_is_a_dash() {
        let mut closed = snapshot();
        (closed.offered_rps, closed.concurrency) = (None, Some(16));
        (closed.ttft_p50, closed.ttft_p99) = (None, None);
        assert_eq!(
            live(&closed, 80),
            "  stage 3/5  16 at once  in flight 41  TTFT p50 - p99 -  errors 0  1:12 left"
        );
    }

    #[test]
    fn a_log_line_has_what_was_reached_too() {
        assert_eq!(
            plain(&snapshot()),
            "step 8 req/s: stage 3/5, 8 req/s, completed 7.93 req/s, in flight 41, \
             TTFT p50 112 ms p99 380 ms, errors 0, 1:12 left"
        );
    }

    #[test]
    fn clocks_count_down_to_nought() {
        for (millis, text) in [
            (0, "0:00"),
            (1, "0:01"),
            (7_000, "0:07"),
            (72_000, "1:12"),
            (7_380_000, "2:03:00"),
        ] {
            assert_eq!(clock(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn estimates_are_round() {
        for (seconds, text) in [
            (0, "about 0 s"),
            (8, "about 10 s"),
            (40, "about 40 s"),
            (89, "about 90 s"),
            (90, "about 2 min"),
            (175, "about 3 min"),
            (7200, "about 120 min"),
        ] {
            assert_eq!(about(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_bar_fills_from_end_to_end() {
        let at = |elapsed, left| bar(Duration::from_secs(elapsed), Duration::from_secs(left), 10);
        assert_eq!(at(0, 0), ">         ");
        assert_eq!(at(0, 9), ">         ");
        assert_eq!(at(5, 5), "=====>    ");
        assert_eq!(at(9, 0), "==========");
    }
}
