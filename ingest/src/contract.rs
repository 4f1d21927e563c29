//! What the rows of a table must hold beyond their types.
//!
//! Delta's own constraints need a protocol that not every reader opens, so
//! batches are checked here, before anything of their run is committed: one
//! row that breaks a rule keeps its whole run out, and in its spool.
//!
//! The rules stand in `rules.rs`, and beside the columns in `docs/tables.md`.

use std::fmt;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use serde_json::Value;

use crate::id::{JobId, RunId};
use crate::row::RowError;
use crate::sketch::Sketch;
use crate::table::Table;
use crate::time::Timestamp;

mod rules;
mod unique;

use unique::Unique;

/// One thing that every row of a table holds. Null values are passed over:
/// what may be null is said by the columns.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// The text is one of a closed set of words.
    Word(&'static str, fn() -> Vec<&'static str>),
    /// The text is not empty.
    Filled(&'static str),
    /// The text is a JSON object.
    JsonObject(&'static str),
    /// The text is a JSON array.
    JsonArray(&'static str),
    /// The number is not negative.
    NotNegative(&'static str),
    /// The number is from 0 to 1.
    Share(&'static str),
    /// The bytes are a sketch.
    Sketch(&'static str),
    /// The list has four integers, the percentiles p50, p90, p95 and p99: none is less than one
    /// before it.
    Percentiles(&'static str),
    /// The first list is as long as the second.
    AsLong(&'static str, &'static str),
    /// None of the integers is less than one before it.
    Rising(&'static [&'static str]),
    /// The first integer is the sum of the others.
    Sum(&'static str, [&'static str; 2]),
    /// The first integer is the second less the third.
    Difference(&'static str, [&'static str; 2]),
    /// Where the flag is true, the text is this word.
    Implies(&'static str, (&'static str, &'static str)),
    /// The moment is the one in the job's id, to the millisecond: by it the job's row is looked for.
    MomentOfJob(&'static str, &'static str),
    /// No two rows of a run have the same values here.
    Unique(&'static [&'static str]),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(column, words) => write!(f, "`{column}` is one of {}", words().join(", ")),
            Self::Filled(column) => write!(f, "`{column}` is not empty"),
            Self::JsonObject(column) => write!(f, "`{column}` is a JSON object"),
            Self::JsonArray(column) => write!(f, "`{column}` is a JSON array"),
            Self::NotNegative(column) => write!(f, "`{column}` is not negative"),
            Self::Share(column) => write!(f, "`{column}` is from 0 to 1"),
            Self::Sketch(column) => write!(f, "`{column}` is a sketch"),
            Self::Percentiles(column) => write!(f, "`{column}` has four values that rise"),
            Self::AsLong(column, other) => write!(f, "`{column}` is as long as `{other}`"),
            Self::Rising(columns) => write!(f, "`{}`", columns.join("` <= `")),
            Self::Sum(column, [one, other]) => write!(f, "`{column}` = `{one}` + `{other}`"),
            Self::Difference(column, [later, earlier]) => {
                write!(f, "`{column}` = `{later}` - `{earlier}`")
            }
            Self::Implies(flag, (column, word)) => {
                write!(f, "`{flag}` only where `{column}` is {word}")
            }
            Self::MomentOfJob(column, job_id) => {
                write!(
                    f,
                    "`{column}` is the moment in `{job_id}`, to the millisecond"
                )
            }
            Self::Unique(columns) => {
                write!(f, "`{}` once in a run", columns.join("`, `"))
            }
        }
    }
}

impl Table {
    /// The columns in which no two rows of one run are alike; `None` where rows may be.
    pub fn unique_columns(self) -> Option<&'static [&'static str]> {
        Rule::of(self).iter().find_map(|rule| match rule {
            Rule::Unique(columns) => Some(*columns),
            _ => None,
        })
    }
}

/// A row that breaks a rule: its number in the batch, the column, and why.
struct Breach {
    row: usize,
    column: &'static str,
    reason: String,
}

impl Rule {
    /// Rules of all tables, and of this one.
    pub(crate) fn of(table: Table) -> &'static [Self] {
        rules::of(table)
    }

    /// The first row of a batch that breaks it.
    fn breach(self, batch: &RecordBatch) -> Option<Breach> {
        match self {
            Self::Word(column, words) => {
                let words = words();
                texts(batch, column, |text| {
                    let known = words.contains(&text);
                    (!known).then(|| format!("`{text}` is not one of {}", words.join(", ")))
                })
            }
            Self::Filled(column) => texts(batch, column, |text| {
                text.is_empty().then(|| "is empty".to_string())
            }),
            Self::JsonObject(column) => texts(batch, column, |text| {
                let is_object =
                    serde_json::from_str(text).is_ok_and(|json: Value| json.is_object());
                (!is_object).then(|| "is no JSON object".to_string())
            }),
            Self::JsonArray(column) => texts(batch, column, |text| {
                let is_array = serde_json::from_str(text).is_ok_and(|json: Value| json.is_array());
                (!is_array).then(|| "is no JSON array".to_string())
            }),
            Self::NotNegative(column) => numbers(batch, column, |number| {
                (number < 0.0).then(|| format!("{number} is negative"))
            }),
            Self::Share(column) => numbers(batch, column, |number| {
                (!(0.0..=1.0).contains(&number)).then(|| format!("{number} is not from 0 to 1"))
            }),
            Self::Sketch(column) => {
                let values = batch.column_by_name(column)?.as_binary_opt::<i32>()?;
                let mut values = values.iter().enumerate();
                values.find_map(|(row, stored)| {
                    let reason = Sketch::from_bytes(stored?).err()?.to_string();
                    Some(Breach {
                        row,
                        column,
                        reason,
                    })
                })
            }
            Self::Percentiles(column) => lists(batch, column, |_, list| {
                let rise = list.len() == 4 && list.is_sorted();
                (!rise).then(|| format!("{list:?} are not four percentiles that rise"))
            }),
            Self::AsLong(column, other) => {
                let others = batch.column_by_name(other)?.as_list_opt::<i32>()?;
                lists(batch, column, |row, list| {
                    let (found, wanted) = (list.len(), others.value(row).len());
                    (found != wanted)
                        .then(|| format!("is of {found} chunks, and `{other}` of {wanted}"))
                })
            }
            Self::Rising(columns) => rising(batch, columns),
            Self::Sum(column, [one, other]) => {
                computed(batch, [column, one, other], i64::checked_add, "sum")
            }
            Self::Difference(column, [later, earlier]) => computed(
                batch,
                [column, later, earlier],
                i64::checked_sub,
                "difference",
            ),
            Self::Implies(flag, (column, word)) => {
                let flags = batch.column_by_name(flag)?.as_boolean_opt()?;
                let texts = batch.column_by_name(column)?.as_string_opt::<i32>()?;
                let mut pairs = flags.iter().zip(texts).enumerate();
                pairs.find_map(|(row, (flag_is, text))| {
                    let breaks = flag_is == Some(true) && text != Some(word);
                    let found = text.unwrap_or("null");
                    breaks.then(|| Breach {
                        row,
                        column: flag,
                        reason: format!("is true where `{column}` is {found}"),
                    })
                })
            }
            Self::MomentOfJob(column, job_id) => moment_of_job(batch, column, job_id),
            // Spans batches: the checker keeps the row before.
            Self::Unique(_) => None,
        }
    }
}

fn texts(
    batch: &RecordBatch,
    column: &'static str,
    wrong: impl Fn(&str) -> Option<String>,
) -> Option<Breach> {
    let values = batch.column_by_name(column)?.as_string_opt::<i32>()?;
    // Most rows hold what the row before them holds.
    let mut right: Option<&str> = None;
    for (row, text) in values.iter().enumerate() {
        let Some(text) = text.filter(|text| right != Some(*text)) else {
            continue;
        };
        if let Some(reason) = wrong(text) {
            return Some(Breach {
                row,
                column,
                reason,
            });
        }
        right = Some(text);
    }
    None
}

fn numbers(
    batch: &RecordBatch,
    column: &'static str,
    wrong: impl Fn(f64) -> Option<String>,
) -> Option<Breach> {
    let values = batch.column_by_name(column)?;
    let breach = |row, value| {
        let reason = wrong(value)?;
        Some(Breach {
            row,
            column,
            reason,
        })
    };
    if let Some(integers) = values.as_primitive_opt::<Int64Type>() {
        let mut values = integers.iter().enumerate();
        return values.find_map(|(row, value)| breach(row, value? as f64));
    }
    let mut values = values.as_primitive_opt::<Float64Type>()?.iter().enumerate();
    values.find_map(|(row, value)| breach(row, value?))
}

fn lists(
    batch: &RecordBatch,
    column: &'static str,
    wrong: impl Fn(usize, &[i64]) -> Option<String>,
) -> Option<Breach> {
    let values = batch.column_by_name(column)?.as_list_opt::<i32>()?;
    let mut values = values.iter().enumerate();
    values.find_map(|(row, list)| {
        let list = list?;
        let reason = wrong(row, list.as_primitive_opt::<Int64Type>()?.values())?;
        Some(Breach {
            row,
            column,
            reason,
        })
    })
}

fn integers<'a>(batch: &'a RecordBatch, column: &str) -> Option<&'a Int64Array> {
    batch
        .column_by_name(column)?
        .as_primitive_opt::<Int64Type>()
}

fn value(values: &Int64Array, row: usize) -> Option<i64> {
    values.is_valid(row).then(|| values.value(row))
}

fn rising(batch: &RecordBatch, columns: &[&'static str]) -> Option<Breach> {
    let values: Vec<_> = columns
        .iter()
        .filter_map(|column| Some((*column, integers(batch, column)?)))
        .collect();
    (0..batch.num_rows()).find_map(|row| {
        let mut before: Option<(&str, i64)> = None;
        for (column, values) in &values {
            let Some(now) = value(values, row) else {
                continue;
            };
            if let Some((earlier, least)) = before.filter(|(_, least)| now < *least) {
                return Some(Breach {
                    row,
                    column,
                    reason: format!("{now} is less than `{earlier}`, {least}"),
                });
            }
            before = Some((column, now));
        }
        None
    })
}

fn moment_of_job(
    batch: &RecordBatch,
    column: &'static str,
    job_id: &'static str,
) -> Option<Breach> {
    let moments = batch
        .column_by_name(column)?
        .as_primitive_opt::<TimestampMicrosecondType>()?;
    let ids = batch.column_by_name(job_id)?.as_string_opt::<i32>()?;
    let mut pairs = moments.iter().zip(ids).enumerate();
    pairs.find_map(|(row, (moment, id))| {
        let Ok(id) = id?.parse::<JobId>() else {
            let reason = "is no job's id (a UUIDv7)".to_string();
            return Some(Breach {
                row,
                column: job_id,
                reason,
            });
        };
        let moment = Timestamp::from_micros(moment?);
        (moment.millis() != id.created_at().millis()).then(|| Breach {
            row,
            column,
            reason: format!("{moment} is not {}, as `{job_id}` says", id.created_at()),
        })
    })
}

fn computed(
    batch: &RecordBatch,
    [column, one, other]: [&'static str; 3],
    compute: fn(i64, i64) -> Option<i64>,
    name: &str,
) -> Option<Breach> {
    let (found, one_of, other_of) = (
        integers(batch, column)?,
        integers(batch, one)?,
        integers(batch, other)?,
    );
    (0..batch.num_rows()).find_map(|row| {
        let (found, one_is, other_is) = (
            value(found, row)?,
            value(one_of, row)?,
            value(other_of, row)?,
        );
        (compute(one_is, other_is) != Some(found)).then(|| Breach {
            row,
            column,
            reason: format!(
                "{found} is not the {name} of `{one}`, {one_is}, and `{other}`, {other_is}"
            ),
        })
    })
}

/// Checks the rows of one table and run, batch by batch, in file order.
pub(crate) struct Checker {
    table: Table,
    /// The run; `None` for tables whose rows are not about one.
    run_id: Option<RunId>,
    unique: Option<Unique>,
    /// Rows that were checked before this batch.
    rows: usize,
}

impl Checker {
    /// For the rows of `run_id` in `table`.
    pub(crate) fn new(table: Table, run_id: RunId) -> Result<Self, RowError> {
        Self::of(table, table.per_run().then_some(run_id))
    }

    /// For rows that are about no run.
    pub(crate) fn of_journal(table: Table) -> Result<Self, RowError> {
        Self::of(table, None)
    }

    fn of(table: Table, run_id: Option<RunId>) -> Result<Self, RowError> {
        let columns = table.unique_columns();
        let unique = columns.map(|columns| Unique::new(table, columns));
        Ok(Self {
            table,
            run_id,
            unique: unique.transpose().map_err(|source| RowError::Arrow {
                table: table.name(),
                source,
            })?,
            rows: 0,
        })
    }

    /// Takes the next batch.
    ///
    /// # Errors
    /// The first row that breaks the contract, by its number in the run's rows.
    pub(crate) fn check(&mut self, batch: &RecordBatch) -> Result<(), RowError> {
        let breach = self
            .of_another_run(batch)
            .or_else(|| not_finite(batch, self.table))
            .or_else(|| {
                Rule::of(self.table)
                    .iter()
                    .find_map(|rule| rule.breach(batch))
            });
        let repeated = match &mut self.unique {
            Some(unique) => unique.breach(batch).map_err(|source| RowError::Arrow {
                table: self.table.name(),
                source,
            })?,
            None => None,
        };
        if let Some(Breach {
            row,
            column,
            reason,
        }) = breach.or(repeated)
        {
            return Err(RowError::Value {
                table: self.table.name(),
                column,
                row: self.rows + row,
                reason,
            });
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    /// A row that says to be of another run than the one that is published: readers would look
    /// for it there, and not find it.
    fn of_another_run(&self, batch: &RecordBatch) -> Option<Breach> {
        let run_id = self.run_id?;
        let id = run_id.to_string();
        let is_id = texts(batch, "run_id", |text| {
            (text != id).then(|| format!("`{text}` is not the run {id}"))
        });
        let key = run_id.run_key();
        let keys = integers(batch, "run_key");
        let is_key = || {
            let row = keys?.iter().position(|found| found != Some(key))?;
            Some(Breach {
                row,
                column: "run_key",
                reason: format!("is not {key}, the key of run {id}"),
            })
        };
        let day = run_id.date();
        let is_day = || {
            let days = batch
                .column_by_name("date")?
                .as_primitive_opt::<Date32Type>()?;
            let row = days.iter().position(|found| found != Some(day.days()))?;
            Some(Breach {
                row,
                column: "date",
                reason: format!("is not {day}, the day of run {id}"),
            })
        };
        is_id.or_else(is_key).or_else(is_day)
    }
}

/// A number that no sum, no mean and no comparison survives.
fn not_finite(batch: &RecordBatch, table: Table) -> Option<Breach> {
    table
        .columns()
        .iter()
        .filter(|column| column.kind.data_type() == DataType::Float64)
        .find_map(|column| {
            numbers(batch, column.name, |number| {
                (!number.is_finite()).then(|| format!("{number} is no finite number"))
            })
        })
}

#[cfg(test)]
mod tests;
