//! What a run says in the end.

use crate::vocabulary::words;

words! {
    /// The judgement of a run, a task or a job, ordered from best to worst.
    Verdict, "verdict" {
        /// The subject met its SLO.
        Passed = "passed",
        /// The subject fell short, though not by much.
        Degraded = "degraded",
        /// The subject failed.
        Blocked = "blocked",
        /// The generator or the environment spoiled the measurement.
        Invalid = "invalid",
        /// Samples or files are missing.
        Incomplete = "incomplete",
        /// It could not run.
        Error = "error",
        /// Somebody, or an abort rule, ended it.
        Cancelled = "cancelled",
    }
}

impl Verdict {
    /// The exit code of a command that ends with this verdict.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Error => 1,
            Self::Degraded => 3,
            Self::Blocked => 4,
            Self::Invalid => 5,
            Self::Incomplete => 6,
            Self::Cancelled => 130,
        }
    }

    /// True where it says how the subject did; views read only such runs.
    pub const fn describes_subject(self) -> bool {
        matches!(self, Self::Passed | Self::Degraded | Self::Blocked)
    }

    /// True where the run completes its task, whoever else tries it again.
    pub const fn completes_task(self) -> bool {
        self.describes_subject() || matches!(self, Self::Invalid)
    }

    /// The worst of several; `None` of none.
    pub fn worst(verdicts: impl IntoIterator<Item = Self>) -> Option<Self> {
        verdicts.into_iter().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_the_last_in_the_order() {
        use Verdict::{Blocked, Cancelled, Degraded, Passed};
        assert_eq!(Verdict::worst([Passed, Blocked, Degraded]), Some(Blocked));
        assert_eq!(Verdict::worst([Cancelled, Blocked]), Some(Cancelled));
        assert_eq!(Verdict::worst([]), None);
    }
}
