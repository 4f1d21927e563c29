//! A sign of life while something takes long.

use std::pin::pin;
use std::time::{Duration, Instant};

use super::Console;
use super::painter::Canvas;
use super::progress::{Medium, Stroke};

/// What takes less time than this is done in silence.
const SILENCE: Duration = Duration::from_secs(2);

impl Console {
    /// Does `work`. Where that takes long, standard error says what is done and for how long
    /// already; nothing with `-q`.
    pub(crate) async fn during<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        if self.quiet {
            return work.await;
        }
        let medium = Medium::of(self);
        let began = Instant::now();
        let mut canvas = Canvas::default();
        let mut work = pin!(work);
        let mut said_at = Duration::ZERO;
        loop {
            let next = next_sign(medium, said_at);
            tokio::select! {
                biased;
                done = &mut work => {
                    canvas.clear();
                    return done;
                }
                () = tokio::time::sleep(next.saturating_sub(began.elapsed())) => {
                    said_at = next;
                    canvas.draw(&sign(medium, what, next));
                }
            }
        }
    }
}

/// When to give the next sign, after one at `said_at`: a terminal shows a clock, a log gets ever
/// fewer lines.
fn next_sign(medium: Medium, said_at: Duration) -> Duration {
    match medium {
        _ if said_at.is_zero() => SILENCE,
        Medium::Terminal { .. } => said_at + Duration::from_secs(1),
        Medium::Log => said_at * 2,
    }
}

fn sign(medium: Medium, what: &str, at: Duration) -> Stroke {
    let text = format!("{what} ... {} s", at.as_secs());
    match medium {
        Medium::Terminal { width } => {
            Stroke::Live(format!("  {text}").chars().take(width).collect())
        }
        Medium::Log => Stroke::Line(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(medium: Medium) -> Vec<u64> {
        let mut at = Duration::ZERO;
        let mut next = || {
            at = next_sign(medium, at);
            at.as_secs()
        };
        std::iter::repeat_with(&mut next).take(5).collect()
    }

    #[test]
    fn nobody_waits_two_seconds_for_the_first_sign() {
        assert_eq!(seconds(Medium::Terminal { width: 80 }), [2, 3, 4, 5, 6]);
        assert_eq!(seconds(Medium::Log), [2, 4, 8, 16, 32]);
    }

    #[test]
    fn a_sign_fits_its_medium() {
        let at = Duration::from_secs(4);
        let narrow = Medium::Terminal { width: 9 };
        assert_eq!(
            sign(narrow, "asking", at),
            Stroke::Live("  asking ".to_owned())
        );
        assert_eq!(
            sign(Medium::Log, "asking", at),
            Stroke::Line("asking ... 4 s".to_owned())
        );
    }
}
