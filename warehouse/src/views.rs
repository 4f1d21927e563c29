//! The views: files of SQL, each with its definition in a comment at its head.
//!
//! They qualify every name, so that other engines can take them as they are,
//! and they read only runs whose verdict says how the subject did.

/// A view in the schema `reports`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// The peak goodput of each model, hardware and question, day by day.
    PeakRps,
    /// Each headline figure: average, best, last, and how far last is from best.
    PerformanceSummary,
    /// What each GPU did in each hour.
    GpuHours,
    /// How many cases of each marker passed in each functional run.
    FunctionalSummary,
    /// Where to start: questions, and the statements that answer them.
    Questions,
}

impl View {
    /// Every view.
    pub const ALL: &'static [Self] = &[
        Self::PeakRps,
        Self::PerformanceSummary,
        Self::GpuHours,
        Self::FunctionalSummary,
        Self::Questions,
    ];

    /// The name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeakRps => "peak_rps",
            Self::PerformanceSummary => "performance_summary",
            Self::GpuHours => "gpu_hours",
            Self::FunctionalSummary => "functional_summary",
            Self::Questions => "questions",
        }
    }

    /// The definition: its meaning in comments, then one SELECT.
    pub const fn sql(self) -> &'static str {
        match self {
            Self::PeakRps => include_str!("views/peak_rps.sql"),
            Self::PerformanceSummary => include_str!("views/performance_summary.sql"),
            Self::GpuHours => include_str!("views/gpu_hours.sql"),
            Self::FunctionalSummary => include_str!("views/functional_summary.sql"),
            Self::Questions => include_str!("views/questions.sql"),
        }
    }

    /// The meaning: the comment at the head of the definition, as one line.
    pub fn doc(self) -> String {
        let lines = self.sql().lines().map_while(|line| line.strip_prefix("--"));
        lines.map(str::trim).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_says_what_it_is_in_one_statement_that_reads() {
        for view in View::ALL {
            assert!(view.doc().len() > 80, "{}: {}", view.name(), view.doc());
            let checked = crate::check_read_only(view.sql());
            assert!(checked.is_ok(), "{}: {checked:?}", view.name());
        }
    }
}
