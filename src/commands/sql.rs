//! `plimsoll sql`: one statement, its rows in any of the formats.

mod destination;

use std::io::{self, Read as _};
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use plimsoll_warehouse::format::{self, Format, FormatError};
use plimsoll_warehouse::{
    Access, QueryError, QueryLimits, QueryStream, Warehouse, check_read_only,
};

use super::reading;
use crate::failure::{Exit, Failure, chain};
use crate::settings::Settings;
use crate::terminal::Console;
use destination::Destination;

/// The arguments of `sql`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll sql \"select * from questions\"
      where to start: questions, and the SQL that answers them
  plimsoll sql \"select * from peak_rps\" --format csv -o peaks.csv
  plimsoll sql - < weekly.sql
  plimsoll sql \"select * from requests\" --format parquet -o r.parquet

Tables: runs, stages, requests and more; `show tables` lists them. Statements
only read. Times are UTC; columns that end in _ns are nanoseconds.")]
pub(crate) struct SqlArgs {
    /// The statement, or - to read it from standard input
    #[arg(value_name = "STATEMENT")]
    statement: String,
    /// table, csv, json, ndjson, arrow or parquet (table)
    #[arg(long, value_name = "FORMAT", value_parser = formats(), hide_possible_values = true)]
    format: Option<Format>,
    /// Write to FILE, which appears when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn formats() -> impl clap::builder::TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::as_str))
        .try_map(|name| name.parse::<Format>())
}

/// Runs the statement and writes its rows.
pub(crate) fn execute(
    args: &SqlArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    let format = chosen_format(args, console)?;
    let statement = read_statement(&args.statement)?;
    // Before storage is opened: what writes is refused wherever it is asked.
    check_read_only(&statement).map_err(|error| refused(&error))?;
    reading::block_on(ask(&statement, format, args, settings, console))
}

fn chosen_format(args: &SqlArgs, console: &Console) -> Result<Format, Failure> {
    let usual = if console.json {
        Format::Json
    } else {
        Format::Table
    };
    let format = args.format.unwrap_or(usual);
    if !format.is_text() && args.output.is_none() && console.stdout.is_terminal {
        return Err(Failure::usage(
            format_args!("{format} is no text and would garble the terminal"),
            format!("write it to a file: -o rows.{format}"),
        ));
    }
    Ok(format)
}

fn read_statement(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut statement = String::new();
    io::stdin()
        .read_to_string(&mut statement)
        .map_err(|error| {
            Failure::failed(
                format_args!("cannot read the statement from standard input: {error}"),
                "it must be UTF-8 text",
            )
        })?;
    Ok(statement)
}

async fn ask(
    statement: &str,
    format: Format,
    args: &SqlArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    let warehouse = reading::open(settings, console).await?;
    let limits = QueryLimits {
        timeout: settings.sql.timeout,
        max_rows: settings.sql.max_rows,
        access: Access::All,
    };
    let mut rows = console
        .during("asking", first_rows(&warehouse, statement, &limits))
        .await
        .map_err(|error| refused(&error))?;
    let mut destination = match &args.output {
        Some(path) => Destination::file(path)?,
        None => Destination::stdout(),
    };
    format::write(&mut rows, format, &mut destination)
        .await
        .map_err(|error| match error {
            FormatError::Query(error) => refused(&error),
            FormatError::Write(error) => destination.failure(&error),
            FormatError::Encode { .. } => {
                Failure::failed(chain(&error), "choose another --format, or cast the column")
            }
        })?;
    destination.finish()?;
    if rows.truncated() {
        console.note("note: there are more rows: --max-rows says how many are shown");
    }
    Ok(Exit::Done)
}

/// The result, once its first rows are there: what takes long is mostly over then.
async fn first_rows(
    warehouse: &Warehouse,
    statement: &str,
    limits: &QueryLimits,
) -> Result<QueryStream, QueryError> {
    let mut rows = warehouse.query(statement, &[], limits).await?;
    rows.ready().await;
    Ok(rows)
}

fn refused(error: &QueryError) -> Failure {
    match error {
        QueryError::TimedOut { .. } => {
            Failure::failed(error, format!("{}: --timeout", error.help()))
        }
        QueryError::Memory { .. } => Failure::failed(error, format!("{}: --memory", error.help())),
        _ => Failure::failed(error, error.help()),
    }
}
