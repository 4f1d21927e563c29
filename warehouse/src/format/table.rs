//! Aligned columns for people.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::util::display::ArrayFormatter;

use super::text::{cell_options, flat};

/// Rows that are looked at before the first is shown, to find the widths.
/// Later cells that are wider push their row to the right.
const ROWS_MEASURED: usize = 1_000;

/// The most characters of a line, and lines, that are shown of one cell. The
/// last column is shown whole: nothing stands to its right.
const LINE_LIMIT: usize = 100;
const LINES_LIMIT: usize = 20;

/// What stands for that which is not shown.
const CUT: char = '…';

/// A cell's text, line by line.
type Cell = Vec<String>;

/// Holds the first rows back until the columns' widths are known.
#[derive(Debug)]
pub(super) struct TableEncoder {
    names: Vec<Cell>,
    /// Numbers are aligned to the right.
    right: Vec<bool>,
    /// Until the header is written.
    held: Vec<Vec<Cell>>,
    /// Once the header is written.
    widths: Option<Vec<usize>>,
}

impl TableEncoder {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let fields = schema.fields();
        Self {
            names: fields
                .iter()
                .map(|field| vec![shown(field.name(), LINE_LIMIT)])
                .collect(),
            right: fields
                .iter()
                .map(|field| field.data_type().is_numeric())
                .collect(),
            held: Vec::new(),
            widths: None,
        }
    }

    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let rows = cells(batch)?;
        match &self.widths {
            Some(widths) => Ok(self.text(&rows, widths)),
            None => {
                self.held.extend(rows);
                if self.held.len() < ROWS_MEASURED {
                    Ok(Vec::new())
                } else {
                    Ok(self.release())
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.widths.is_some() {
            Vec::new()
        } else {
            self.release()
        }
    }

    /// Measures the rows that were held back, and writes the header and them.
    fn release(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let mut widths: Vec<usize> = self.names.iter().map(widest).collect();
        for row in &held {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(widest(cell));
            }
        }
        let rule = widths
            .iter()
            .map(|width| vec!["-".repeat((*width).min(LINE_LIMIT))])
            .collect();
        let mut bytes = self.text(&[self.names.clone(), rule], &widths);
        bytes.extend(self.text(&held, &widths));
        self.widths = Some(widths);
        bytes
    }

    fn text(&self, rows: &[Vec<Cell>], widths: &[usize]) -> Vec<u8> {
        let mut text = String::new();
        for row in rows {
            let height = row.iter().map(Vec::len).max().unwrap_or(0);
            for line in 0..height {
                let padded =
                    row.iter()
                        .zip(widths)
                        .zip(&self.right)
                        .map(|((cell, width), right)| {
                            let part = cell.get(line).map_or("", String::as_str);
                            if *right {
                                format!("{part:>width$}")
                            } else {
                                format!("{part:<width$}")
                            }
                        });
                text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
                text.push('\n');
            }
        }
        text.into_bytes()
    }
}

fn cells(batch: &RecordBatch) -> Result<Vec<Vec<Cell>>, ArrowError> {
    let batch = flat(batch)?;
    let options = cell_options();
    let columns = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<Vec<_>, _>>()?;
    let last = columns.len().saturating_sub(1);
    let cell = |row: usize, number: usize| {
        Ok(cell(
            &columns[number].value(row).try_to_string()?,
            number == last,
        ))
    };
    let rows = 0..batch.num_rows();
    rows.map(|row| (0..columns.len()).map(|number| cell(row, number)).collect())
        .collect()
}

fn cell(text: &str, whole: bool) -> Cell {
    let (width, height) = if whole {
        (usize::MAX, usize::MAX)
    } else {
        (LINE_LIMIT, LINES_LIMIT)
    };
    let mut lines = text.trim_end_matches('\n').split('\n');
    let mut cell: Cell = lines
        .by_ref()
        .take(height)
        .map(|line| shown(line, width))
        .collect();
    if lines.next().is_some() {
        cell.push(CUT.to_string());
    }
    cell
}

/// The line without control characters (a model's name could otherwise move
/// the cursor), and cut where it is too long.
fn shown(line: &str, width: usize) -> String {
    let mut shown = String::new();
    for (position, character) in line.chars().enumerate() {
        if position == width {
            shown.push(CUT);
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn widest(cell: &Cell) -> usize {
    cell.iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0)
}
