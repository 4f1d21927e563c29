//! Aligned text tables: the first column to the left, figures to the right.

/// Rows under headings, as wide as their widest cell; also a valid Markdown table.
pub(crate) fn render<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .max()
            .unwrap_or(0)
            .max(headings[column].chars().count())
    });
    let mut text = line(&headings.map(str::to_owned), &widths);
    let rule = std::array::from_fn(|column| "-".repeat(widths[column]));
    text.push_str(&line(&rule, &widths));
    for row in rows {
        text.push_str(&line(row, &widths));
    }
    text
}

fn line<const N: usize>(cells: &[String; N], widths: &[usize; N]) -> String {
    let mut text = String::from("|");
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let cell = if column == 0 {
            format!(" {cell:<width$} |")
        } else {
            format!(" {cell:>width$} |")
        };
        text.push_str(&cell);
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["floor".to_owned(), "0.19 ms".to_owned()]];
        assert_eq!(
            render(["client", "p50"], &rows),
            "| client |     p50 |\n| ------ | ------- |\n| floor  | 0.19 ms |\n"
        );
    }
}
