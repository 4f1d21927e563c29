//! The report in a terminal: quiet, aligned, readable without colour.

use plimsoll_ingest::Verdict;

use super::next::NextCommand;
use super::table::width;
use super::wrap::wrap;
use super::{Report, cells, curve};

const INDENT: &str = "  ";
/// Narrower than this, nothing can be laid out.
const NARROWEST: usize = 40;

/// How a terminal is to be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalStyle {
    /// Characters in a line; below 40 it is taken as 40.
    pub width: usize,
    /// True where the verdict may have its colour, as ANSI sequences.
    pub colour: bool,
}

impl Report {
    /// The report as lines of text for a terminal, each ended by a newline.
    pub fn terminal(&self, style: &TerminalStyle) -> String {
        let inner = style.width.max(NARROWEST) - INDENT.len();
        let mut page = Page {
            lines: Vec::new(),
            inner,
        };
        self.opening(&mut page, style.colour);
        self.stage_table(&mut page);
        self.picture(&mut page);
        self.closing(&mut page);
        page.text()
    }

    /// The verdict, the sentence, the reasons that nothing else shows, and
    /// what was measured how.
    fn opening(&self, page: &mut Page, colour: bool) {
        let word = self.verdict.as_str().to_uppercase();
        let hang = " ".repeat(word.len() + 2);
        let room = page.inner - hang.len();
        let mut sentence = wrap(&self.headline, room).into_iter();
        let first = sentence.next().unwrap_or_default();
        page.line(format!("{}  {first}", painted(&word, self.verdict, colour)));
        page.lines
            .extend(sentence.map(|line| format!("{INDENT}{hang}{line}")));
        for reason in self.reasons_to_tell() {
            page.lines.extend(
                wrap(reason, room)
                    .iter()
                    .map(|line| format!("{INDENT}{hang}{line}")),
            );
        }
        for about in self.about() {
            page.lines.extend(
                wrap(&about, room)
                    .iter()
                    .map(|line| format!("{INDENT}{hang}{line}")),
            );
        }
    }

    fn stage_table(&self, page: &mut Page) {
        let table = cells::stages(self);
        if table.rows.is_empty() {
            page.blank();
            page.line("no stage was measured to its end");
            return;
        }
        page.blank();
        let remark = cells::first_remark(self);
        let lines = table.fit(page.inner);
        lines.heading.into_iter().for_each(|line| page.line(line));
        for (at, line) in lines.rows.into_iter().enumerate() {
            let Some((_, remark)) = remark.filter(|(stage, _)| *stage == at) else {
                page.line(line);
                continue;
            };
            let remark = format!("<- {remark}");
            if width(&line) + 2 + width(&remark) <= page.inner {
                page.line(format!("{line}  {remark}"));
            } else {
                page.line(line);
                wrap(&remark, page.inner - 8)
                    .iter()
                    .for_each(|part| page.line(format!("{:8}{part}", "")));
            }
        }
    }

    fn picture(&self, page: &mut Page) {
        let points = self.curve();
        let title = match points.iter().all(|point| point.holds) {
            true => self.served().to_string(),
            false => format!("{}   o holds the SLO   x does not", self.served()),
        };
        let lines = curve::draw(&points, &title, page.inner);
        if !lines.is_empty() {
            page.blank();
            lines.into_iter().for_each(|line| page.line(line));
        }
    }

    fn closing(&self, page: &mut Page) {
        page.blank();
        if self.pillar == "performance" {
            page.item("generator: ", &self.generator.text);
        }
        if let Some(lengths) = self.lengths.in_words() {
            page.item("lengths: ", &lengths);
        }
        if let Some(unjudged) = cells::unjudged(self) {
            page.item("", &unjudged);
        }
        let mut lead = format!("run ..{}", self.run_id.short());
        for next in &self.next {
            if next.is_of_this_run() {
                page.line(format!("{lead}  ->  {}", next.command));
                lead = " ".repeat(lead.len());
            } else {
                let room = page.inner.saturating_sub(next.purpose.len() + 2);
                page.line(format!("{}  {}", next.purpose, next.shortened(room)));
            }
        }
    }

    /// The reasons against the subject that neither the sentence nor the table
    /// says already.
    fn reasons_to_tell(&self) -> impl Iterator<Item = &str> {
        let told_by_table = cells::first_remark(self)
            .and_then(|(at, _)| self.steady_stages().nth(at))
            .map(|stage| stage.stage);
        self.reasons
            .iter()
            .filter(move |reason| reason.stage.is_none() || reason.stage != told_by_table)
            .filter(|reason| !reason.met)
            .map(|reason| reason.text.as_str())
            .filter(|text| !self.headline.contains(text))
    }

    /// What was measured how: profile, endpoint, engine; and the SLO.
    fn about(&self) -> Vec<String> {
        let mut how = vec![format!("{} at {}", self.suite, self.subject.endpoint)];
        how.extend(self.environment.engine_in_words());
        how.extend(self.environment.hardware_in_words());
        let mut lines = vec![how.join(", ")];
        lines.extend(self.slo.as_ref().map(|slo| format!("SLO {slo}")));
        lines
    }
}

impl NextCommand {
    /// The command in at most `room` characters, where leaving out what is the
    /// same as in this run makes it fit.
    fn shortened(&self, room: usize) -> String {
        match &self.new_load {
            Some(load) if width(&self.command) > room => format!("plimsoll run .. {load}"),
            _ => self.command.clone(),
        }
    }
}

/// The verdict in bold and in its colour: one colour for one meaning.
fn painted(word: &str, verdict: Verdict, colour: bool) -> String {
    if !colour {
        return word.to_string();
    }
    let code = match verdict {
        Verdict::Passed => "1;32",
        Verdict::Degraded => "1;33",
        Verdict::Blocked => "1;31",
        Verdict::Invalid => "1;35",
        Verdict::Incomplete | Verdict::Error | Verdict::Cancelled => "1",
    };
    format!("\u{1b}[{code}m{word}\u{1b}[0m")
}

/// Lines, and the room that each has after the indent.
struct Page {
    lines: Vec<String>,
    inner: usize,
}

impl Page {
    fn line(&mut self, line: impl AsRef<str>) {
        self.lines
            .push(format!("{INDENT}{}", line.as_ref()).trim_end().to_string());
    }

    fn blank(&mut self) {
        self.lines.push(String::new());
    }

    /// A label and its text, wrapped below the text's begin.
    fn item(&mut self, label: &str, text: &str) {
        let mut label = label.to_string();
        for line in wrap(text, self.inner - label.len()) {
            self.line(format!("{label}{line}"));
            label = " ".repeat(label.len());
        }
    }

    fn text(self) -> String {
        let mut text = self.lines.join("\n");
        text.push('\n');
        text
    }
}
