//! Aligned columns for people.

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column: its heading and where its text stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heading {
    /// What stands above it.
    pub(crate) text: &'static str,
    /// Where its text stands.
    pub(crate) align: Align,
    /// Whether its text may be cut where the table is too wide.
    pub(crate) may_be_cut: bool,
}

/// A column that may not be cut is never made narrower; one that may keeps this much.
const LEAST: usize = 6;

/// Lays out rows under headings, two spaces apart, in at most `width` columns where cutting the
/// columns that may be cut allows it.
pub(crate) fn layout<const N: usize>(
    headings: &[Heading; N],
    rows: &[[String; N]],
    width: usize,
) -> String {
    let mut widths = headings.map(|heading| heading.text.chars().count());
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(cell.chars().count());
        }
    }
    let gaps = 2 * N.saturating_sub(1);
    for (at, heading) in headings.iter().enumerate() {
        let too_wide = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
        if heading.may_be_cut && too_wide > 0 {
            widths[at] = widths[at]
                .saturating_sub(too_wide)
                .max(LEAST.min(widths[at]));
        }
    }
    let titles = headings.map(|heading| heading.text.to_owned());
    std::iter::once(&titles)
        .chain(rows)
        .map(|row| line(headings, row, &widths))
        .collect::<Vec<_>>()
        .join("\n")
}

fn line<const N: usize>(headings: &[Heading; N], row: &[String; N], widths: &[usize; N]) -> String {
    let cells = headings
        .iter()
        .zip(row)
        .zip(widths)
        .map(|((heading, cell), width)| {
            let cell = cut(cell, *width);
            match heading.align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            }
        });
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// The text, or its beginning and two dots.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(2)).collect();
    format!("{kept}..")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: [Heading; 2] = [
        Heading {
            text: "model",
            align: Align::Left,
            may_be_cut: true,
        },
        Heading {
            text: "limit",
            align: Align::Right,
            may_be_cut: false,
        },
    ];

    fn rows() -> Vec<[String; 2]> {
        vec![
            ["llama-70b-instruct".to_owned(), "15.8".to_owned()],
            ["tiny".to_owned(), "-".to_owned()],
        ]
    }

    #[test]
    fn words_stand_left_and_numbers_right() {
        assert_eq!(
            layout(&HEADINGS, &rows(), 80),
            "model               limit\n\
             llama-70b-instruct   15.8\n\
             tiny                    -"
        );
    }

    #[test]
    fn a_narrow_table_cuts_what_may_be_cut() {
        assert_eq!(
            layout(&HEADINGS, &rows(), 17),
            "model       limit\n\
             llama-70..   15.8\n\
             tiny            -"
        );
        let narrow = layout(&HEADINGS, &rows(), 1);
        assert!(narrow.contains("llam..   15.8"), "{narrow}");
    }

    #[test]
    fn no_rows_are_a_line_of_headings() {
        assert_eq!(layout(&HEADINGS, &[], 80), "model  limit");
    }
}
