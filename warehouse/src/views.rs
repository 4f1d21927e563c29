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
    /// Each score beside the one before it on the same question.
    ScoreTrends,
    /// What a model carries on its hardware: floor, peak, sustainable rate, recovery.
    Capacity,
    /// What is known of a model's capacity, in plain words.
    Answers,
    /// What each GPU did in each hour.
    GpuHours,
    /// How many cases of each marker passed in each functional run.
    FunctionalSummary,
    /// What the machinery did by itself.
    Operations,
    /// Where to start: questions, and the statements that answer them.
    Questions,
}

impl View {
    /// Every view.
    pub const ALL: &'static [Self] = &[
        Self::PeakRps,
        Self::PerformanceSummary,
        Self::ScoreTrends,
        Self::Capacity,
        Self::Answers,
        Self::GpuHours,
        Self::FunctionalSummary,
        Self::Operations,
        Self::Questions,
    ];

    /// The name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeakRps => "peak_rps",
            Self::PerformanceSummary => "performance_summary",
            Self::ScoreTrends => "score_trends",
            Self::Capacity => "capacity",
            Self::Answers => "answers",
            Self::GpuHours => "gpu_hours",
            Self::FunctionalSummary => "functional_summary",
            Self::Operations => "operations",
            Self::Questions => "questions",
        }
    }

    /// The definition: its meaning in comments, then one SELECT.
    pub const fn sql(self) -> &'static str {
        match self {
            Self::PeakRps => include_str!("views/peak_rps.sql"),
            Self::PerformanceSummary => include_str!("views/performance_summary.sql"),
            Self::ScoreTrends => include_str!("views/score_trends.sql"),
            Self::Capacity => include_str!("views/capacity.sql"),
            Self::Answers => include_str!("views/answers.sql"),
            Self::GpuHours => include_str!("views/gpu_hours.sql"),
            Self::FunctionalSummary => include_str!("views/functional_summary.sql"),
            Self::Operations => include_str!("views/operations.sql"),
            Self::Questions => include_str!("views/questions.sql"),
        }
    }

    /// The meaning: the comment at the head of the definition, as one line.
    pub fn doc(self) -> String {
        let lines = self.head().take_while(|line| line.trim() != COLUMNS);
        lines.map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// The columns with their meaning, in order, as the head of the definition lists them.
    pub fn columns(self) -> Vec<(&'static str, String)> {
        let mut columns: Vec<(&str, String)> = Vec::new();
        for line in self
            .head()
            .skip_while(|line| line.trim() != COLUMNS)
            .skip(1)
        {
            let begins = line
                .strip_prefix("   ")
                .filter(|rest| !rest.starts_with(' '));
            match (
                begins.and_then(|rest| rest.split_once(": ")),
                columns.last_mut(),
            ) {
                (Some((name, doc)), _) => columns.push((name, doc.to_string())),
                (None, Some((_, doc))) => {
                    doc.push(' ');
                    doc.push_str(line.trim());
                }
                (None, None) => {}
            }
        }
        columns
    }

    /// The lines of the comment at the head, without its dashes.
    fn head(self) -> impl Iterator<Item = &'static str> {
        self.sql().lines().map_while(|line| line.strip_prefix("--"))
    }
}

/// The line after which the columns are listed.
const COLUMNS: &str = "Columns:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_says_what_it_is_in_one_statement_that_reads() {
        for view in View::ALL {
            assert!(view.doc().len() > 80, "{}: {}", view.name(), view.doc());
            assert!(!view.doc().contains("Columns:"), "{}", view.name());
            let checked = crate::check_read_only(view.sql());
            assert!(checked.is_ok(), "{}: {checked:?}", view.name());
        }
    }
}
