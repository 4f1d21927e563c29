//! The report of a run against the real model, as Markdown.

use std::fmt::Write;

use super::cache::Cache;
use super::checks::Check;
use crate::{machine, table};

/// One run and how it was started.
pub(super) struct Section {
    /// The command, as typed.
    pub(super) command: String,
    /// What the product reported.
    pub(super) report: String,
}

/// The whole page.
pub(super) fn render(cache: &Cache, sections: &[Section], checks: &[Check]) -> String {
    let mut page = format!(
        "# A real model, measured\n\n\
         Made by `cargo xtask real-model --write`: {}, four slots, on {}. Engine and generator share \
         the cores, so the figures are of this arrangement, not of the engine.\n",
        cache.description(),
        machine::description(),
    );
    for section in sections {
        write!(
            page,
            "\n```\n$ {}\n{}\n```\n",
            section.command,
            section.report.trim_end()
        )
        .expect("a string takes all that is written");
    }
    page.push_str(
        "\n## Do the rows add up?\n\nEach line compares two ways to know the same thing.\n\n",
    );
    page.push_str(&table::render(
        ["check", "found", "holds"],
        &checks.iter().map(row).collect::<Vec<_>>(),
    ));
    page
}

fn row(check: &Check) -> [String; 3] {
    let holds = if check.met { "yes" } else { "NO" };
    [check.what.clone(), check.found.clone(), holds.to_owned()]
}
