//! The report as one page of HTML that needs nothing else.

use std::fmt::Write;

use super::{Report, cells, svg};

const STYLE: &str = include_str!("report.css");

impl Report {
    /// The report as a whole page: no script, no other file, light or dark as
    /// the reader's system is. All text is escaped.
    pub fn html(&self) -> String {
        let verdict = self.verdict.as_str();
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <p class=\"verdict {verdict}\">{verdict}</p>\n<h1>{headline}</h1>\n",
            title = escape(&format!("{verdict}: {}", self.headline)),
            headline = escape(&self.headline),
        );
        self.html_reasons(&mut page);
        self.html_stages(&mut page);
        if let Some(picture) = svg::draw(&self.curve(), self.served()) {
            page.push_str(&picture);
        }
        self.html_details(&mut page);
        page.push_str("</main>\n</body>\n</html>\n");
        page
    }

    fn html_reasons(&self, page: &mut String) {
        if self.reasons.is_empty() {
            return;
        }
        page.push_str("<ul>\n");
        for reason in &self.reasons {
            put(page, format_args!("<li>{}</li>", escape(&reason.in_full())));
        }
        page.push_str("</ul>\n");
    }

    fn html_stages(&self, page: &mut String) {
        let table = cells::stages(self);
        if table.rows.is_empty() {
            put(
                page,
                format_args!("<p>No stage was measured to its end.</p>"),
            );
            return;
        }
        page.push_str("<div class=\"wide\"><table>\n<thead><tr>");
        for column in &table.columns {
            put(
                page,
                format_args!("<th scope=\"col\">{}</th>", escape(column.title)),
            );
        }
        page.push_str("<th></th></tr></thead>\n<tbody>\n");
        for (cells, stage) in table.rows.iter().zip(self.steady_stages()) {
            page.push_str("<tr>");
            for cell in cells {
                put(page, format_args!("<td>{}</td>", escape(cell)));
            }
            let remark = stage.remark.as_deref().unwrap_or_default();
            put(
                page,
                format_args!("<td class=\"remark\">{}</td></tr>", escape(remark)),
            );
        }
        page.push_str("</tbody>\n</table></div>\n");
    }

    fn html_details(&self, page: &mut String) {
        page.push_str("<dl>\n");
        for (name, value) in self.details() {
            put(
                page,
                format_args!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(&value)),
            );
        }
        page.push_str("</dl>\n<h2>Next</h2>\n<dl>\n");
        for next in &self.next {
            let (purpose, command) = (escape(&next.purpose), escape(&next.command));
            put(
                page,
                format_args!("<dt>{purpose}</dt><dd><code>{command}</code></dd>"),
            );
        }
        page.push_str("</dl>\n");
    }
}

fn put(page: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(page, "{element}").expect("strings take all text");
}

/// Makes text of what HTML would read as markup, in elements and attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn every_character_of_markup_is_escaped() {
        assert_eq!(
            escape("<a href=\"x\">&'"),
            "&lt;a href=&quot;x&quot;&gt;&amp;&#39;"
        );
    }

    #[test]
    fn no_text_of_a_run_becomes_markup() {
        let evil = "<script>alert(1)</script>";
        let (mut run, mut stages, mut envelope) = samples::passed_step();
        for text in [
            &mut run.model,
            &mut run.endpoint,
            &mut run.suite,
            &mut run.comparable_key,
        ] {
            *text = evil.to_string();
        }
        run.model_revision = Some(evil.to_string());
        run.deployment = Some(evil.to_string());
        run.verdict_reasons =
            serde_json::json!([{"rule": evil, "measured": evil, "required": evil}]).to_string();
        run.config = serde_json::json!({"workload": {"name": evil}}).to_string();
        envelope.engine = Some(evil.to_string());
        envelope.host = Some(evil.to_string());
        for stage in &mut stages {
            stage.name = evil.to_string();
            (stage.offered_rps, stage.concurrency) = (None, None);
        }
        let report = Report::from_rows(&run, &stages, Some(&envelope)).expect("report");
        let page = report.html();
        assert!(!page.contains("<script"), "{page}");
        assert!(page.matches("&lt;script&gt;").count() > 8, "{page}");
    }

    #[test]
    fn the_page_is_whole_and_needs_nothing_else() {
        let (run, stages, envelope) = samples::passed_step();
        let report = Report::from_rows(&run, &stages, Some(&envelope)).expect("report");
        let page = report.html();
        for part in [
            "<!doctype html>",
            "prefers-color-scheme: dark",
            "<p class=\"verdict passed\">passed</p>",
            "<h1>llama-70b-c50 holds its SLO at 16 req/s",
            "<td>6.20 s</td>",
            "TTFT p99 6.20 s, limit 500 ms",
            "<svg ",
            "class=\"breaks\"",
            "--profile stability --rate 16",
            "</html>",
        ] {
            assert!(page.contains(part), "`{part}` is missing in {page}");
        }
        for outside in ["http-equiv", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(outside), "`{outside}` points elsewhere");
        }
    }
}
