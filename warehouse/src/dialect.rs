//! The views as SQL that other engines run over the same files.
//!
//! The tables are open: whoever reads them with another engine should find the
//! same answers there. The views' SQL keeps to what engines share; where they
//! differ by name, the name is replaced here.

use std::fmt::Write as _;
use std::sync::Arc;

use plimsoll_ingest::{ColumnKind, SchemaName, Table, WarehouseLocation};

use crate::error::QueryError;
use crate::snapshots::Snapshots;
use crate::views::View;
use crate::warehouse::Warehouse;

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Plimsoll's own, which is DataFusion's.
    Datafusion,
    /// DuckDB's.
    Duckdb,
}

/// What the views of another engine read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The Delta tables, as they are whenever somebody asks.
    Tables,
    /// The files that hold the rows at this moment; later runs are not seen,
    /// and files that maintenance deletes are missed after a week.
    Files,
}

/// Names that DuckDB has others for. `last_value` is a window function there,
/// and no view uses it as one.
const OF_DUCKDB: [(&str, &str); 1] = [("last_value(", "last(")];

impl Warehouse {
    /// The views as a script of SQL statements.
    ///
    /// # Errors
    /// Where `source` is [`Source::Files`] and the tables cannot be read.
    pub async fn script(&self, dialect: Dialect, source: Source) -> Result<String, QueryError> {
        match dialect {
            Dialect::Datafusion => Ok(ours()),
            Dialect::Duckdb => {
                let (snapshots, location) = (self.snapshots(), self.location().clone());
                let mut work =
                    self.spawn(async move { duckdb(&snapshots, &location, source).await });
                (&mut work.handle).await.unwrap_or_else(|panic| {
                    let message = panic.to_string();
                    Err(QueryError::Internal { message })
                })
            }
        }
    }
}

fn ours() -> String {
    let statements = View::ALL.iter().map(|view| {
        let (name, sql) = (view.name(), view.sql().trim_end());
        format!("CREATE OR REPLACE VIEW reports.{name} AS\n{sql};\n")
    });
    statements.collect::<Vec<_>>().join("\n")
}

async fn duckdb(
    snapshots: &Arc<Snapshots>,
    location: &WarehouseLocation,
    source: Source,
) -> Result<String, QueryError> {
    let mut script = String::from("SET TimeZone = 'UTC';\n");
    if source == Source::Tables {
        script.push_str("INSTALL delta;\nLOAD delta;\n");
    }
    for schema in SchemaName::ALL {
        writeln!(script, "CREATE SCHEMA IF NOT EXISTS {};", schema.as_str())
            .expect("a String takes all");
    }
    // `runs` first: the views of facts leave out what has no row there.
    let facts = Table::ALL.iter().filter(|table| **table != Table::Runs);
    for table in std::iter::once(&Table::Runs).chain(facts) {
        let read = match source {
            Source::Tables => {
                let place = place(location);
                format!("delta_scan({})", text(&format!("{place}/{}", table.path())))
            }
            Source::Files => files(snapshots, location, *table).await?,
        };
        script.push_str(&base(*table, &read, source));
    }
    for view in View::ALL {
        let mut sql = view.sql().trim_end().to_string();
        for (ours, theirs) in OF_DUCKDB {
            sql = sql.replace(ours, theirs);
        }
        let name = view.name();
        let comment = text(&view.doc());
        write!(
            script,
            "\nCREATE OR REPLACE VIEW reports.{name} AS\n{sql};\n\
             COMMENT ON VIEW reports.{name} IS {comment};\n"
        )
        .expect("a String takes all");
        for (column, doc) in view.columns() {
            comment_on(&mut script, &format!("reports.{name}.\"{column}\""), &doc);
        }
    }
    Ok(script)
}

/// The view that stands for a table. Columns that no file has yet are there, and null.
fn base(table: Table, read: &str, source: Source) -> String {
    let name = table.path().replace('/', ".");
    let columns = table.columns().iter();
    let none: Vec<String> = columns
        .map(|column| format!("NULL::{} AS \"{}\"", duckdb_type(column.kind), column.name))
        .collect();
    let none = none.join(", ");
    // A run is seen wholly or not at all: its facts are there before its row in `runs`.
    let visible = table.per_run() && table != Table::Runs && source == Source::Tables;
    let only = match visible {
        true => " WHERE run_key IN (SELECT run_key FROM reports.runs)",
        false => "",
    };
    let read = match read {
        "" => String::new(),
        read => format!("\n    UNION ALL BY NAME SELECT * FROM {read}{only}"),
    };
    let mut script = format!(
        "\nCREATE OR REPLACE VIEW {name} AS\n    SELECT {none} WHERE FALSE{read};\n\
         COMMENT ON VIEW {name} IS {};\n",
        text(&table.doc())
    );
    for column in table.columns() {
        comment_on(
            &mut script,
            &format!("{name}.\"{}\"", column.name),
            &column.comment(),
        );
    }
    script
}

fn comment_on(script: &mut String, column: &str, comment: &str) {
    let comment = text(comment);
    writeln!(script, "COMMENT ON COLUMN {column} IS {comment};").expect("a String takes all");
}

/// The files that are seen now; nothing where there is none.
async fn files(
    snapshots: &Arc<Snapshots>,
    location: &WarehouseLocation,
    table: Table,
) -> Result<String, QueryError> {
    let seen = snapshots.table(table).await;
    let seen = seen.map_err(|error| snapshots.error(&error))?;
    let root = location.url();
    let paths: Vec<String> = seen
        .file_paths()
        .map(|path| match location.local_folder() {
            Some(_) => text(&format!("/{path}")),
            None => text(&format!("{}://{}/{path}", root.scheme(), root.authority())),
        })
        .collect();
    if paths.is_empty() {
        return Ok(String::new());
    }
    let partition = match table.partitioned() {
        true => ", hive_partitioning = true, hive_types = {'date': DATE}",
        false => ", hive_partitioning = false",
    };
    Ok(format!(
        "read_parquet([\n        {}\n    ], union_by_name = true{partition})",
        paths.join(",\n        ")
    ))
}

/// Where the warehouse lies, as DuckDB names it.
fn place(location: &WarehouseLocation) -> String {
    let place = match location.local_folder() {
        Some(folder) => folder.display().to_string(),
        None => location.url().to_string(),
    };
    place.trim_end_matches('/').to_string()
}

/// A text as SQL writes it.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn duckdb_type(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Utf8 => "VARCHAR",
        ColumnKind::Int64 => "BIGINT",
        ColumnKind::Float64 => "DOUBLE",
        ColumnKind::Boolean => "BOOLEAN",
        ColumnKind::Timestamp => "TIMESTAMPTZ",
        ColumnKind::Date => "DATE",
        ColumnKind::Int64List => "BIGINT[]",
        ColumnKind::Binary => "BLOB",
    }
}
