//! One result in every format.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use plimsoll_warehouse::{Format, Warehouse, format};
use serde_json::{Value, json};

use crate::place::{EVERYTHING, Place};

/// A column of every kind that a table has, and a row of nulls.
const ROWS: &str = "SELECT * FROM (VALUES \
    (1, 'a,\"b\"', 16.0, 0.1, true, TIMESTAMP '2026-01-01T12:00:00Z', DATE '2026-01-01', [1, 2], X'00ff'), \
    (22, 'line' || chr(10) || chr(27) || '[31m', -1.5, 1e300, false, TIMESTAMP '2026-01-01T12:00:00.000250Z', DATE '2025-12-31', [3, NULL], X''), \
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)) \
    AS t (i, s, f, g, b, t, d, l, x)";

async fn written(warehouse: &Warehouse, sql: &str, format: Format) -> Vec<u8> {
    let mut result = warehouse
        .query(sql, &[], &EVERYTHING)
        .await
        .expect("a result");
    let mut bytes = Vec::new();
    format::write(&mut result, format, &mut bytes)
        .await
        .expect("written");
    bytes
}

async fn text(warehouse: &Warehouse, sql: &str, format: Format) -> String {
    String::from_utf8(written(warehouse, sql, format).await).expect("text")
}

#[tokio::test]
async fn moments_in_lists_and_structs_are_in_utc_too() {
    let warehouse = Place::new().open().await;
    let sql = "SELECT max(t) AS t, array_agg(t) AS l, named_struct('t', max(t)) AS s FROM (\
        SELECT TIMESTAMP '2026-07-01T12:00:00' AT TIME ZONE 'Europe/Berlin' AS t)";
    let csv = text(&warehouse, sql, Format::Csv).await;
    let values = "\"[\"\"2026-07-01T10:00:00Z\"\"]\",\"{\"\"t\"\":\"\"2026-07-01T10:00:00Z\"\"}\"";
    assert_eq!(csv, format!("t,l,s\n2026-07-01T10:00:00Z,{values}\n"));
    let line = text(&warehouse, sql, Format::Ndjson).await;
    assert_eq!(
        line,
        "{\"t\":\"2026-07-01T10:00:00Z\",\"l\":[\"2026-07-01T10:00:00Z\"],\"s\":{\"t\":\"2026-07-01T10:00:00Z\"}}\n"
    );
}

#[tokio::test]
async fn csv_quotes_and_writes_lists_as_json() {
    let warehouse = Place::new().open().await;
    let expected = "i,s,f,g,b,t,d,l,x\n\
        1,\"a,\"\"b\"\"\",16.0,0.1,true,2026-01-01T12:00:00Z,2026-01-01,\"[1,2]\",00ff\n\
        22,\"line\n\u{1b}[31m\",-1.5,1e300,false,2026-01-01T12:00:00.000250Z,2025-12-31,\"[3,null]\",\n\
        ,,,,,,,,\n";
    assert_eq!(text(&warehouse, ROWS, Format::Csv).await, expected);
    let none = "SELECT 1 AS a, 'x' AS b WHERE false";
    assert_eq!(text(&warehouse, none, Format::Csv).await, "a,b\n");
}

#[tokio::test]
async fn a_table_is_aligned_and_cannot_move_the_cursor() {
    let warehouse = Place::new().open().await;
    let sql = format!("SELECT i, s, g, t, l, x FROM ({ROWS})");
    let expected = concat!(
        " i  s               g  t                            l         x\n",
        "--  ----------  -----  ---------------------------  --------  ----\n",
        " 1  a,\"b\"         0.1  2026-01-01T12:00:00Z         [1,2]     00ff\n",
        "22  line        1e300  2026-01-01T12:00:00.000250Z  [3,null]\n",
        "    \\u{1b}[31m\n",
        "\n",
    );
    let shown = text(&warehouse, &sql, Format::Table).await;
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert_eq!(shown, expected);
    let none = "SELECT 1 AS a, 'x' AS name WHERE false";
    assert_eq!(
        text(&warehouse, none, Format::Table).await,
        "a  name\n-  ----\n"
    );
}

#[tokio::test]
async fn a_long_table_streams_with_the_widths_of_its_first_rows() {
    let warehouse = Place::new().open().await;
    let sql = format!(
        "SELECT value AS v, '{}' AS s, '{}' AS last FROM generate_series(1, 20000) ORDER BY v",
        "x".repeat(300),
        "y".repeat(300)
    );
    let shown = text(&warehouse, &sql, Format::Table).await;
    assert_eq!(shown.lines().count(), 20_002);
    let last = shown.lines().last().expect("a line");
    // Wider than the first rows, cut in the middle, whole at the end.
    let whole = format!("20000  {}…  {}", "x".repeat(100), "y".repeat(300));
    assert_eq!(last, whole);
    let first = shown.lines().nth(2).expect("a row");
    assert!(first.starts_with("   1  xx"), "{first}");
}

#[tokio::test]
async fn json_keeps_numbers_numbers_and_nulls_null() {
    let warehouse = Place::new().open().await;
    let expected = json!([
        {"i": 1, "s": "a,\"b\"", "f": 16.0, "g": 0.1, "b": true, "t": "2026-01-01T12:00:00Z",
         "d": "2026-01-01", "l": [1, 2], "x": "00ff"},
        {"i": 22, "s": "line\n\u{1b}[31m", "f": -1.5, "g": 1e300, "b": false,
         "t": "2026-01-01T12:00:00.000250Z", "d": "2025-12-31", "l": [3, null], "x": ""},
        {"i": null, "s": null, "f": null, "g": null, "b": null, "t": null, "d": null, "l": null,
         "x": null},
    ]);
    let array = text(&warehouse, ROWS, Format::Json).await;
    assert_eq!(
        serde_json::from_str::<Value>(&array).expect("JSON"),
        expected
    );
    let lines = text(&warehouse, ROWS, Format::Ndjson).await;
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(Value::from(lines), expected);
    let none = "SELECT 1 AS a WHERE false";
    assert_eq!(text(&warehouse, none, Format::Json).await, "[]\n");
    assert_eq!(text(&warehouse, none, Format::Ndjson).await, "");
    let twice =
        "SELECT a.value, b.value FROM generate_series(1, 1) AS a, generate_series(2, 2) AS b";
    assert_eq!(
        text(&warehouse, twice, Format::Ndjson).await,
        "{\"value\":1,\"value_2\":2}\n"
    );
}

#[tokio::test]
async fn moments_of_other_time_zones_are_written_in_utc() {
    let warehouse = Place::new().open().await;
    let sql = "SELECT TIMESTAMP '2026-01-01T12:00:00' AT TIME ZONE 'Asia/Tokyo' AS noon_in_tokyo";
    let (csv, json) = (
        "noon_in_tokyo\n2026-01-01T03:00:00Z\n",
        "{\"noon_in_tokyo\":\"2026-01-01T03:00:00Z\"}\n",
    );
    assert_eq!(text(&warehouse, sql, Format::Csv).await, csv);
    assert_eq!(text(&warehouse, sql, Format::Ndjson).await, json);
}

fn check(batches: &[RecordBatch], rows: usize) {
    assert_eq!(
        batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
        rows
    );
    let sum: i64 = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().iter().flatten())
        .sum();
    assert_eq!(sum, (1..=rows as i64).sum::<i64>());
}

#[tokio::test]
async fn arrow_and_parquet_read_back_what_was_asked() {
    let warehouse = Place::new().open().await;
    for rows in [0, 100_000] {
        let sql = format!("SELECT value, [value] AS l FROM generate_series(1, {rows})");
        let bytes = written(&warehouse, &sql, Format::Arrow).await;
        let reader = StreamReader::try_new(bytes.as_slice(), None).expect("a stream");
        let batches: Vec<_> = reader.map(|batch| batch.expect("a batch")).collect();
        check(&batches, rows);

        let file = written(&warehouse, &sql, Format::Parquet).await;
        let place = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(place.path(), &file).expect("written");
        let reader = ParquetRecordBatchReaderBuilder::try_new(place.reopen().expect("a file"))
            .expect("a Parquet file");
        assert_eq!(reader.metadata().file_metadata().num_rows(), rows as i64);
        let batches: Vec<_> = reader
            .build()
            .expect("a reader")
            .map(|batch| batch.expect("a batch"))
            .collect();
        check(&batches, rows);
    }
    let everything = written(&warehouse, ROWS, Format::Parquet).await;
    assert_eq!(&everything[..4], b"PAR1");
}

#[test]
fn every_format_is_found_by_its_name() {
    for format in Format::ALL {
        assert_eq!(format.as_str().parse(), Ok(format));
        assert!(format.media_type().contains('/'));
    }
    let unknown = "xlsx".parse::<Format>().expect_err("no format");
    assert!(unknown.to_string().contains("`xlsx`"), "{unknown}");
}
