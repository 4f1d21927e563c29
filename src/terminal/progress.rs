//! Turns what a job says of itself into lines: when something is said, and how.
//!
//! Pure: the time and what was observed go in, what to write comes out. The painter's thread does
//! the writing.

use std::time::{Duration, Instant};

use plimsoll_executor::performance::Progress;
use plimsoll_query_api::report::units;

use super::{Console, line};

/// How often a log gets a line while nothing else happens.
const LOG_EVERY: Duration = Duration::from_secs(2);

/// What standard error can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// A terminal: the last line is rewritten in place.
    Terminal {
        /// Columns.
        width: usize,
    },
    /// A pipe or file: lines are only added.
    Log,
}

impl Medium {
    /// What the console's standard error is.
    pub(crate) fn of(console: &Console) -> Self {
        // Log lines and a line that is rewritten would destroy each other.
        match console.stderr.is_terminal && !console.logging {
            true => Self::Terminal {
                width: console.stderr.width,
            },
            false => Self::Log,
        }
    }
}

/// What to write now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stroke {
    /// A line that stays.
    Line(String),
    /// The line that the next stroke replaces.
    Live(String),
}

/// Remembers what was said last.
#[derive(Debug)]
pub(crate) struct Teller {
    medium: Medium,
    /// What is measured, for the lines that name it.
    subject: String,
    /// The heading of this run was written.
    headed: bool,
    last_kind: Option<Kind>,
    last_at: Option<Instant>,
}

/// A change of this is worth a line in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Probing,
    Serving,
    Live { profile: String, stage: usize },
    Draining,
    Publishing,
}

impl Teller {
    /// A teller that has said nothing yet; `subject` is like `llama  at http://gpu7:8000/v1`.
    pub(crate) fn new(medium: Medium, subject: String) -> Self {
        Self {
            medium,
            subject,
            headed: false,
            last_kind: None,
            last_at: None,
        }
    }

    /// What there is to write of `progress`, observed at `now`.
    pub(crate) fn observe(&mut self, now: Instant, progress: &Progress) -> Option<Stroke> {
        let kind = kind(progress);
        let is_new = self.last_kind.as_ref() != Some(&kind);
        let quiet_for = self.last_at.map(|at| now.saturating_duration_since(at));
        let too_soon = quiet_for.is_some_and(|quiet| quiet < LOG_EVERY);
        if self.medium == Medium::Log && !is_new && too_soon {
            return None;
        }
        let heading = self.heading(progress);
        if heading.is_none() {
            // The heading takes the place of the first live line, so that one is still due.
            self.last_kind = Some(kind);
        }
        let stroke = heading.or_else(|| self.status(progress));
        if stroke.is_some() {
            self.last_at = Some(now);
        }
        stroke
    }

    /// The line that says once what is measured and how: when the server has answered, or at the
    /// first load, since the answer may pass between two looks.
    fn heading(&mut self, progress: &Progress) -> Option<Stroke> {
        let mut parts = vec![self.subject.clone()];
        match progress {
            Progress::Probing | Progress::Publishing => {
                self.headed = false;
                return None;
            }
            Progress::Draining { .. } => return None,
            Progress::Serving { .. } | Progress::Live(_) if self.headed => return None,
            Progress::Serving {
                engine,
                profile,
                stages,
                expected,
                ..
            } => {
                parts.extend(engine.clone());
                parts.push(format!("profile {profile}"));
                parts.push(units::counted(*stages, "stage") + ", " + &line::about(*expected));
            }
            Progress::Live(snapshot) => parts.push(format!("profile {}", snapshot.profile)),
        }
        self.headed = true;
        let text = parts.join("   ");
        Some(Stroke::Line(match self.medium {
            Medium::Terminal { .. } => format!("  {text}"),
            Medium::Log => text,
        }))
    }

    fn status(&self, progress: &Progress) -> Option<Stroke> {
        let text = match (progress, self.medium) {
            (Progress::Serving { .. }, _) => return None,
            (Progress::Live(snapshot), Medium::Terminal { width }) => line::live(snapshot, width),
            (Progress::Live(snapshot), Medium::Log) => line::plain(snapshot),
            (Progress::Probing, _) => format!("asking {} ...", self.subject),
            (Progress::Draining { in_flight }, _) => {
                let requests = units::counted(*in_flight, "request");
                format!("waiting for {requests} to end ...")
            }
            (Progress::Publishing, _) => "writing to the warehouse ...".to_owned(),
        };
        Some(match self.medium {
            Medium::Terminal { width } => {
                let indent = if text.starts_with(' ') { "" } else { "  " };
                Stroke::Live(format!("{indent}{text}").chars().take(width).collect())
            }
            Medium::Log => Stroke::Line(text),
        })
    }
}

fn kind(progress: &Progress) -> Kind {
    match progress {
        Progress::Probing => Kind::Probing,
        Progress::Serving { .. } => Kind::Serving,
        Progress::Live(snapshot) => Kind::Live {
            profile: snapshot.profile.clone(),
            stage: snapshot.stage,
        },
        Progress::Draining { .. } => Kind::Draining,
        Progress::Publishing => Kind::Publishing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::line::tests::snapshot;

    fn teller(medium: Medium) -> Teller {
        Teller::new(medium, "llama  at http://gpu7:8000/v1".to_owned())
    }

    fn serving() -> Progress {
        Progress::Serving {
            engine: Some("vLLM 0.33".to_owned()),
            models: vec!["llama".to_owned()],
            profile: "step".to_owned(),
            stages: 5,
            expected: Duration::from_secs(175),
        }
    }

    #[test]
    fn a_terminal_keeps_the_heading_and_rewrites_the_rest() {
        let mut teller = teller(Medium::Terminal { width: 80 });
        let now = Instant::now();
        assert_eq!(
            teller.observe(now, &Progress::Probing),
            Some(Stroke::Live(
                "  asking llama  at http://gpu7:8000/v1 ...".to_owned()
            ))
        );
        assert_eq!(
            teller.observe(now, &serving()),
            Some(Stroke::Line(
                "  llama  at http://gpu7:8000/v1   vLLM 0.33   profile step   5 stages, about 3 min"
                    .to_owned()
            ))
        );
        assert_eq!(teller.observe(now, &serving()), None);
        let live = teller.observe(now, &Progress::Live(snapshot()));
        assert!(matches!(live, Some(Stroke::Live(_))), "{live:?}");
    }

    #[test]
    fn a_server_that_answers_between_two_looks_is_still_named() {
        for medium in [Medium::Terminal { width: 80 }, Medium::Log] {
            let mut teller = teller(medium);
            let now = Instant::now();
            teller.observe(now, &Progress::Probing);
            let first = teller.observe(now, &Progress::Live(snapshot()));
            assert!(
                matches!(&first, Some(Stroke::Line(text)) if text.trim()
                    == "llama  at http://gpu7:8000/v1   profile step"),
                "{first:?}"
            );
            let second = teller.observe(now, &Progress::Live(snapshot()));
            assert_ne!(second, None);
            assert_ne!(second, first);
        }
    }

    #[test]
    fn each_run_of_a_job_has_its_heading() {
        let mut teller = teller(Medium::Log);
        let now = Instant::now();
        let mut headings = 0;
        for progress in [
            Progress::Probing,
            serving(),
            Progress::Live(snapshot()),
            Progress::Draining { in_flight: 1 },
            Progress::Publishing,
            serving(),
            Progress::Live(snapshot()),
        ] {
            let stroke = teller.observe(now, &progress);
            headings += usize::from(matches!(stroke, Some(Stroke::Line(text))
                if text.contains("about 3 min")));
        }
        assert_eq!(headings, 2);
    }

    #[test]
    fn a_narrow_terminal_cuts_every_live_line() {
        for progress in [
            Progress::Probing,
            Progress::Draining { in_flight: 12 },
            Progress::Publishing,
            Progress::Live(snapshot()),
        ] {
            let mut teller = teller(Medium::Terminal { width: 12 });
            teller.headed = true;
            match teller.observe(Instant::now(), &progress) {
                Some(Stroke::Live(text)) => assert!(text.chars().count() <= 12, "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_log_gets_a_line_every_two_seconds_and_at_each_stage() {
        let mut teller = teller(Medium::Log);
        teller.headed = true;
        let start = Instant::now();
        let mut said = Vec::new();
        for tenths in 0..60 {
            let mut snapshot = snapshot();
            snapshot.stage = if tenths < 30 { 0 } else { 1 };
            let at = start + Duration::from_millis(100 * tenths);
            if teller.observe(at, &Progress::Live(snapshot)).is_some() {
                said.push(tenths);
            }
        }
        // At once, after 2 s, at the next stage after 3 s, and 2 s after that.
        assert_eq!(said, [0, 20, 30, 50]);
    }

    #[test]
    fn a_log_has_no_line_that_is_rewritten() {
        let mut teller = teller(Medium::Log);
        let now = Instant::now();
        for progress in [
            Progress::Probing,
            serving(),
            Progress::Live(snapshot()),
            Progress::Draining { in_flight: 3 },
            Progress::Publishing,
        ] {
            match teller.observe(now, &progress) {
                Some(Stroke::Line(text)) => assert!(!text.starts_with(' '), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
