//! Columns of text that fit a given width.
//!
//! Knows nothing of runs. Every column is aligned to the right and as wide as
//! its widest cell; the heading takes two lines, so that a word shared by
//! neighbouring columns stands once. Where the width is short, gaps shrink
//! first and optional columns go next.

/// A column's heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    /// What stands above `head`; empty where the first line has nothing.
    pub(super) group: &'static str,
    /// The heading proper.
    pub(super) head: &'static str,
    /// The heading in full, for a format that has the room.
    pub(super) title: &'static str,
    /// True where the column may be left out when the width is short.
    pub(super) optional: bool,
}

/// Headings and cells; every row has one cell a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// The headings, from left to right.
    pub(super) columns: Vec<Column>,
    /// The cells.
    pub(super) rows: Vec<Vec<String>>,
}

/// A table as lines of text, without an indent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines {
    /// The two lines of headings, or one where no column has a group.
    pub(super) heading: Vec<String>,
    /// One line a row.
    pub(super) rows: Vec<String>,
}

/// How generously columns stand apart.
#[derive(Debug, Clone, Copy)]
enum Spacing {
    /// Three spaces everywhere.
    Wide,
    /// Two spaces everywhere.
    Even,
    /// Two spaces, and one where the heading is wider than every value.
    Tight,
}

impl Table {
    /// The table in at most `width` characters, where that can be had.
    pub(super) fn fit(mut self, width: usize) -> Lines {
        loop {
            for spacing in [Spacing::Wide, Spacing::Even, Spacing::Tight] {
                let layout = Layout::of(&self, spacing);
                if layout.width() <= width {
                    return layout.render(&self);
                }
            }
            let Some(spare) = self.columns.iter().rposition(|column| column.optional) else {
                return Layout::of(&self, Spacing::Tight).render(&self);
            };
            self.columns.remove(spare);
            for row in &mut self.rows {
                row.remove(spare);
            }
        }
    }
}

/// Widths and the gap before each column.
struct Layout {
    gaps: Vec<usize>,
    widths: Vec<usize>,
}

impl Layout {
    fn of(table: &Table, spacing: Spacing) -> Self {
        let mut gaps = Vec::new();
        let mut widths = Vec::new();
        for (at, column) in table.columns.iter().enumerate() {
            let heading = width(column.group).max(width(column.head));
            let values = table
                .rows
                .iter()
                .map(|row| width(&row[at]))
                .max()
                .unwrap_or(0);
            gaps.push(match spacing {
                _ if at == 0 => 0,
                Spacing::Wide => 3,
                Spacing::Even => 2,
                Spacing::Tight if heading > values => 1,
                Spacing::Tight => 2,
            });
            widths.push(heading.max(values));
        }
        Self { gaps, widths }
    }

    fn width(&self) -> usize {
        self.gaps.iter().chain(&self.widths).sum()
    }

    fn render(&self, table: &Table) -> Lines {
        let heads: Vec<&str> = table.columns.iter().map(|column| column.head).collect();
        let mut groups: Vec<&str> = table.columns.iter().map(|column| column.group).collect();
        for at in (1..groups.len()).rev() {
            if groups[at] == groups[at - 1] {
                groups[at] = "";
            }
        }
        let mut heading = Vec::new();
        if groups.iter().any(|group| !group.is_empty()) {
            heading.push(self.line(&groups));
        }
        heading.push(self.line(&heads));
        let rows = table.rows.iter().map(|row| self.line(row)).collect();
        Lines { heading, rows }
    }

    fn line<S: AsRef<str>>(&self, cells: &[S]) -> String {
        let mut line = String::new();
        for ((cell, gap), column) in cells.iter().zip(&self.gaps).zip(&self.widths) {
            let cell = cell.as_ref();
            let pad = gap + column.saturating_sub(width(cell));
            line.extend(std::iter::repeat_n(' ', pad));
            line.push_str(cell);
        }
        line.trim_end().to_string()
    }
}

/// The number of cells that a text takes in a terminal.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(group: &'static str, head: &'static str, optional: bool) -> Column {
        Column {
            group,
            head,
            title: head,
            optional,
        }
    }

    fn sample() -> Table {
        let columns = vec![
            column("", "offered", false),
            column("TTFT", "p50", false),
            column("", "flight", true),
            column("", "SLO", false),
        ];
        let rows = [
            ["4 /s", "98.0 ms", "9", "100 %"],
            ["32 /s", "1.90 s", "171", "24 %"],
        ];
        Table {
            columns,
            rows: rows.map(|row| row.map(str::to_string).to_vec()).to_vec(),
        }
    }

    fn check(width: usize, expected: &[&str]) {
        let lines = sample().fit(width);
        let all: Vec<String> = lines.heading.into_iter().chain(lines.rows).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn room_makes_wide_gaps() {
        check(
            40,
            &[
                "             TTFT",
                "offered       p50   flight     SLO",
                "   4 /s   98.0 ms        9   100 %",
                "  32 /s    1.90 s      171    24 %",
            ],
        );
    }

    #[test]
    fn a_word_that_neighbours_share_stands_once() {
        let columns = vec![
            column("TTFT", "p50", false),
            column("TTFT", "p99", false),
            column("", "x", false),
        ];
        let lines = Table {
            columns,
            rows: Vec::new(),
        }
        .fit(40);
        assert_eq!(lines.heading, ["TTFT", " p50    p99   x"]);
    }

    #[test]
    fn gaps_shrink_where_headings_are_wider_than_values() {
        check(
            30,
            &[
                "            TTFT",
                "offered      p50 flight    SLO",
                "   4 /s  98.0 ms      9  100 %",
                "  32 /s   1.90 s    171   24 %",
            ],
        );
    }

    #[test]
    fn optional_columns_go_before_the_width_is_passed() {
        check(
            25,
            &[
                "             TTFT",
                "offered       p50     SLO",
                "   4 /s   98.0 ms   100 %",
                "  32 /s    1.90 s    24 %",
            ],
        );
    }

    #[test]
    fn what_cannot_fit_is_still_whole() {
        let lines = sample().fit(3);
        assert_eq!(lines.rows[0], "   4 /s  98.0 ms  100 %");
    }
}
