//! The report as Markdown: for a pull request, a wiki, a chat.

use std::fmt::Write;

use super::{Report, cells, curve};

const CURVE_WIDTH: usize = 72;

impl Report {
    /// The report in GitHub's Markdown. Names that come from outside are
    /// escaped, so that they neither break a table nor become markup.
    pub fn markdown(&self) -> String {
        let mut sections = vec![self.markdown_opening()];
        sections.extend(self.markdown_reasons());
        sections.extend(self.markdown_stages());
        sections.extend(self.markdown_curve());
        sections.push(self.markdown_details());
        sections.push(self.markdown_next());
        sections.join("\n")
    }

    fn markdown_opening(&self) -> String {
        let verdict = self.verdict.as_str().to_uppercase();
        format!("# {verdict}: {}\n", escape(&self.headline))
    }

    fn markdown_reasons(&self) -> Option<String> {
        let items = self
            .reasons
            .iter()
            .map(|reason| format!("- {}\n", escape(&reason.in_full())));
        (!self.reasons.is_empty()).then(|| items.collect())
    }

    fn markdown_stages(&self) -> Option<String> {
        let table = cells::stages(self);
        if table.rows.is_empty() {
            return Some("No stage was measured to its end.\n".to_string());
        }
        let remark = cells::first_remark(self);
        let titles = table.columns.iter().map(|column| column.title.to_string());
        let mut lines = vec![row(titles.chain([String::new()]))];
        lines.push(format!("|{}:--|", "--:|".repeat(table.columns.len())));
        for (at, cells) in table.rows.iter().enumerate() {
            let remark = remark
                .filter(|(stage, _)| *stage == at)
                .map(|(_, remark)| remark);
            let last = remark.unwrap_or_default().to_string();
            lines.push(row(cells.iter().cloned().chain([last])));
        }
        Some(format!("{}\n", lines.join("\n")))
    }

    fn markdown_curve(&self) -> Option<String> {
        let points = self.curve();
        let title = format!("{}   o holds the SLO   x does not", self.served());
        let lines = curve::draw(&points, &title, CURVE_WIDTH);
        (!lines.is_empty()).then(|| format!("```text\n{}\n```\n", lines.join("\n")))
    }

    fn markdown_details(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.details() {
            // Writing to a string cannot fail.
            writeln!(text, "- **{name}**: {}", escape(&value)).expect("strings take all text");
        }
        text
    }

    fn markdown_next(&self) -> String {
        let commands = self
            .next
            .iter()
            .map(|next| format!("# {}\n{}\n", next.purpose, next.command));
        format!("```sh\n{}```\n", commands.collect::<String>())
    }

    /// What Markdown and HTML list below the table, by name.
    pub(super) fn details(&self) -> Vec<(&'static str, String)> {
        let mut details = vec![("Generator", self.generator.text.clone())];
        if self.pillar != "performance" {
            details.clear();
        }
        details.extend(self.lengths.in_words().map(|lengths| ("Lengths", lengths)));
        details.extend(cells::unjudged(self).map(|stages| ("Stages", stages)));
        details.push(("Subject", self.subject.in_words()));
        details.push(("Suite", self.suite_in_words()));
        details.extend(self.slo.clone().map(|slo| ("SLO", slo)));
        details.push(("Environment", self.environment.in_words()));
        details.push((
            "Run",
            format!(
                "{}, {} to {}",
                self.run_id, self.started_at, self.finished_at
            ),
        ));
        details
    }

    fn suite_in_words(&self) -> String {
        let mut text = format!("{} {}", self.pillar, self.suite);
        if let Some(workload) = &self.workload {
            text.push_str(&format!(", workload {workload}"));
        }
        if let Some(seed) = self.seed {
            text.push_str(&format!(", seed {seed}"));
        }
        text
    }
}

impl super::Subject {
    fn in_words(&self) -> String {
        let mut text = self.model.clone();
        if let Some(revision) = &self.revision {
            text.push_str(&format!(" at revision {revision}"));
        }
        text.push_str(&format!(", {}", self.endpoint));
        if let Some(deployment) = &self.deployment {
            text.push_str(&format!(", deployment {deployment}"));
        }
        text
    }
}

fn row(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.map(|cell| format!(" {} |", escape(&cell))).collect();
    format!("|{}", cells.concat())
}

/// Takes from a text what Markdown would read as markup, and its line breaks.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '[' | ']' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_pipes_are_text() {
        assert_eq!(escape("a|b"), r"a\|b");
        assert_eq!(escape("<script>&"), "&lt;script&gt;&amp;");
        assert_eq!(escape("`*[x]\\"), r"\`\*\[x\]\\");
        assert_eq!(escape("two\nlines"), "two lines");
        assert_eq!(escape("ttft_p99"), "ttft_p99");
    }
}
