//! The tables as a page for people, which is also the snapshot of the schemas.

use std::fmt::Write as _;

use super::{SchemaName, Table};
use crate::contract::Rule;
use crate::row::{Column, ColumnKind};

const HEAD: &str = "\
# The tables

Written from the code: a test holds this page against it, so that a change of
a column is a visible change here. Columns ending in `_ns` are nanoseconds:
moments count from the run's start, durations are elapsed time. `?` marks what
may be null. Big tables are partitioned by `date`.

Each row is checked before its run is published: numbers are finite, rows about
a run are of that run, with its key and its day, and what is listed below each
table holds. One row that breaks a rule keeps its run out; its spool stays.
";

fn type_name(column: &Column) -> String {
    let name = match column.kind {
        ColumnKind::Utf8 => "text",
        ColumnKind::Int64 => "int64",
        ColumnKind::Float64 => "float64",
        ColumnKind::Boolean => "boolean",
        ColumnKind::Timestamp => "timestamp (us, UTC)",
        ColumnKind::Date => "date",
        ColumnKind::Int64List => "list of int64",
        ColumnKind::Binary => "binary",
    };
    format!("{name}{}", if column.nullable { "?" } else { "" })
}

/// All tables in Markdown: `docs/tables.md`.
fn markdown() -> String {
    let mut page = HEAD.to_string();
    for schema in SchemaName::ALL {
        write!(page, "\n## Schema `{}`\n", schema.as_str()).expect("a String takes all");
        for table in Table::ALL
            .iter()
            .filter(|table| table.schema_name() == schema)
        {
            let partitioned = if table.partitioned() {
                " Partitioned by `date`."
            } else {
                ""
            };
            let name = table.name();
            write!(page, "\n### {name}\n{}{partitioned}\n\n", table.doc())
                .expect("a String takes all");
            for rule in Rule::of(*table) {
                writeln!(page, "- {rule}").expect("a String takes all");
            }
            page.push('\n');
            page.push_str("| column | type | meaning |\n|---|---|---|\n");
            for column in table.columns() {
                let (name, kind, doc) = (column.name, type_name(column), column.comment());
                writeln!(page, "| {name} | {kind} | {doc} |").expect("a String takes all");
            }
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::TableRow as _;

    /// With `UPDATE_DOCS=1` in the environment the page is written anew.
    #[test]
    fn the_page_is_that_of_the_code() {
        // Not `env!`: checkouts that share a target folder share the program.
        let crate_folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
        let path = format!("{crate_folder}/../docs/tables.md");
        let page = markdown();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &page).expect("docs can be written");
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        let differs = kept
            .lines()
            .zip(page.lines())
            .find(|(kept, page)| kept != page);
        assert!(
            kept == page,
            "docs/tables.md is not that of the code: {differs:?}; if the change is meant, run the \
             test with UPDATE_DOCS=1 and add it to the changelog under schema changes"
        );
    }

    #[test]
    fn names_are_lower_case_and_every_column_has_a_meaning() {
        for table in Table::ALL {
            for column in table.columns() {
                let lower = column
                    .name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
                assert!(lower, "{table}.{}", column.name);
                assert!(column.comment().len() > 3, "{table}.{}", column.name);
                assert!(!column.comment().contains('|'), "{table}.{}", column.name);
            }
            let named = table.stats_columns().iter().chain(table.sort_columns());
            for name in named.chain(table.merge_column().as_slice()) {
                assert!(
                    table.columns().iter().any(|column| column.name == *name),
                    "{table}.{name}"
                );
            }
            let keyed = table
                .columns()
                .iter()
                .any(|column| column.name == "run_key");
            assert_eq!(table.per_run(), keyed, "{table}");
        }
    }

    #[test]
    fn rows_come_back_from_their_batches_as_they_were() {
        let id = crate::id::RunId::new(crate::time::Timestamp::now());
        let row = crate::table::RequestRow {
            itl_ns: Some(vec![1, 2, 3, 4]),
            error: Some("naïve".to_string()),
            ttft_ns: Some(-1),
            ..crate::table::RequestRow::blank(id, 5)
        };
        let rows = [row, crate::table::RequestRow::blank(id, 6)];
        let batch = crate::table::RequestRow::to_batch(&rows).expect("batch");
        assert_eq!(batch.schema(), Table::Requests.arrow_schema());
        assert_eq!(
            crate::table::RequestRow::from_batch(&batch).expect("rows"),
            rows
        );
    }

    #[test]
    fn a_batch_that_breaks_the_contract_is_refused_by_column_and_row() {
        let id = crate::id::RunId::new(crate::time::Timestamp::now());
        let rows = [crate::table::ChunksRow {
            run_id: id,
            run_key: id.run_key(),
            date: id.date(),
            request_id: 1,
            at_ns: vec![],
            tokens: None,
        }];
        let batch = crate::table::ChunksRow::to_batch(&rows).expect("batch");
        let missing = crate::table::RequestRow::from_batch(&batch).expect_err("other columns");
        assert_eq!(
            missing.to_string(),
            "table `requests`: the batch has no column `stage`"
        );
    }
}
