//! Statements and their results in every format.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use hyper::body::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use plimsoll_query_api::api::ApiOptions;
use serde_json::json;

use crate::place::{Place, run};
use crate::server::Server;

async fn server() -> Server {
    let place = Place::with(&[run(0, 1, "a,b"), run(1, 2, "c")]).await;
    Server::start(place.open().await, ApiOptions::default())
        .await
        .keeping(place)
}

const MODELS: &str = "select model, started_at, headline_stage, cost_usd, peak_goodput_rps \
     from runs order by started_at";

#[tokio::test]
async fn json_has_columns_rows_and_what_was_cut() {
    let server = server().await;
    let answer = server.sql(MODELS).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("plimsoll-max-rows"), "1000000");
    let result = answer.json();
    assert_eq!(
        result["columns"],
        json!([
            {"name": "model", "type": "string"},
            {"name": "started_at", "type": "timestamp"},
            {"name": "headline_stage", "type": "int64"},
            {"name": "cost_usd", "type": "float64"},
            {"name": "peak_goodput_rps", "type": "float64"},
        ])
    );
    assert_eq!(
        result["rows"][0],
        json!({
            "model": "a,b", "started_at": "2026-02-25T06:13:20Z", "headline_stage": 1,
            "cost_usd": null, "peak_goodput_rps": 8.0,
        })
    );
    assert_eq!(
        (&result["row_count"], &result["truncated"]),
        (&json!(2), &json!(false))
    );
    assert!(result["elapsed_ms"].as_f64().is_some_and(|ms| ms > 0.0));
}

#[tokio::test]
async fn a_result_without_rows_is_whole_in_every_format() {
    let server = server().await;
    let nothing = "select model, attempt from runs where false";
    let result = server.sql(nothing).await.json();
    assert_eq!(
        (&result["rows"], &result["row_count"]),
        (&json!([]), &json!(0))
    );
    assert_eq!(
        result["columns"][1],
        json!({"name": "attempt", "type": "int64"})
    );
    assert_eq!(
        server.sql_as(nothing, "text/csv").await.text(),
        "model,attempt\n"
    );
    assert_eq!(
        server.sql_as(nothing, "application/x-ndjson").await.text(),
        ""
    );
    let arrow = server
        .sql_as(nothing, "application/vnd.apache.arrow.stream")
        .await;
    assert_eq!(
        arrow_batches(&arrow.body)
            .iter()
            .map(RecordBatch::num_rows)
            .sum::<usize>(),
        0
    );
    let parquet = server
        .sql_as(nothing, "application/vnd.apache.parquet")
        .await;
    assert_eq!(parquet_rows(parquet.body), 0);
}

#[tokio::test]
async fn lines_of_json_and_commas() {
    let server = server().await;
    let lines = server
        .sql_as(
            "select model, attempt from runs order by 1",
            "application/jsonl",
        )
        .await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    assert_eq!(
        lines.text(),
        "{\"model\":\"a,b\",\"attempt\":1}\n{\"model\":\"c\",\"attempt\":1}\n"
    );
    let csv = server
        .sql_as("select model, started_at from runs order by 1", "text/csv")
        .await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        csv.text(),
        "model,started_at\n\"a,b\",2026-02-25T06:13:20Z\nc,2026-02-25T06:14:20Z\n"
    );
}

#[tokio::test]
async fn arrow_and_parquet_keep_the_types() {
    let server = server().await;
    let sql = "select attempt, started_at from runs";
    let arrow = server
        .sql_as(sql, "application/vnd.apache.arrow.stream")
        .await;
    assert_eq!(
        arrow.header("content-type"),
        "application/vnd.apache.arrow.stream"
    );
    let batches = arrow_batches(&arrow.body);
    let attempts: Vec<i64> = batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .collect();
    assert_eq!(attempts, [1, 1]);
    let parquet = server.sql_as(sql, "application/vnd.apache.parquet").await;
    assert_eq!(
        parquet.header("content-type"),
        "application/vnd.apache.parquet"
    );
    assert_eq!(parquet_rows(parquet.body), 2);
}

#[tokio::test]
async fn many_rows_come_whole_in_every_format() {
    let server = server().await;
    let many = "select value as n, 'x' || value as t from generate_series(1, 50000)";
    let result = server.sql(many).await.json();
    assert_eq!(result["row_count"], 50_000);
    let rows = result["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 50_000);
    let csv = server.sql_as(many, "text/csv").await;
    assert_eq!(csv.text().lines().count(), 50_001);
    let lines = server.sql_as(many, "application/x-ndjson").await;
    assert_eq!(lines.text().lines().count(), 50_000);
    let arrow = server
        .sql_as(many, "application/vnd.apache.arrow.stream")
        .await;
    let sum: i64 = arrow_batches(&arrow.body)
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .sum();
    assert_eq!(sum, 50_000 * 50_001 / 2);
    assert_eq!(
        parquet_rows(server.sql_as(many, "application/x-parquet").await.body),
        50_000
    );
}

#[tokio::test]
async fn parameters_are_values() {
    let server = server().await;
    let body = json!({
        "sql": "select run_id from runs where model = $1 and attempt = $2",
        "params": ["a,b", 1],
    });
    let result = server.post_sql(&body.to_string(), "*/*").await.json();
    assert_eq!(result["row_count"], 1);
    let body = json!({"sql": "select $1 as a, $2 as b", "params": ["'; drop table runs", null]});
    let result = server.post_sql(&body.to_string(), "*/*").await.json();
    assert_eq!(
        result["rows"],
        json!([{"a": "'; drop table runs", "b": null}])
    );
}

#[tokio::test]
async fn rows_beyond_the_limit_are_cut_and_it_is_said() {
    let place = Place::with(&[run(0, 1, "a"), run(1, 2, "b"), run(2, 3, "c")]).await;
    let options = ApiOptions {
        max_rows: 2,
        ..ApiOptions::default()
    };
    let server = Server::start(place.open().await, options).await;
    let cut = server.sql("select model from runs").await;
    assert_eq!(cut.header("plimsoll-max-rows"), "2");
    let result = cut.json();
    assert_eq!(
        (&result["row_count"], &result["truncated"]),
        (&json!(2), &json!(true))
    );
    for (asked, given) in [(1, 1), (100, 2)] {
        let body = json!({"sql": "select model from runs", "max_rows": asked}).to_string();
        let answer = server.post_sql(&body, "*/*").await;
        assert_eq!(answer.header("plimsoll-max-rows"), given.to_string());
        assert_eq!(answer.json()["row_count"], given);
    }
    let all = server.sql("select model from runs limit 2").await.json();
    assert_eq!(all["truncated"], false);
}

#[tokio::test]
async fn columns_of_one_name_are_told_apart() {
    let server = server().await;
    let sql = "select a.model, b.model from runs a join runs b on a.run_id = b.run_id order by 1";
    let result = server.sql(sql).await.json();
    let names: Vec<&str> = (0..2)
        .filter_map(|at| result["columns"][at]["name"].as_str())
        .collect();
    assert_eq!(names, ["model", "model_2"]);
    assert_eq!(result["rows"][0], json!({"model": "a,b", "model_2": "a,b"}));
}

fn arrow_batches(body: &Bytes) -> Vec<RecordBatch> {
    let reader = StreamReader::try_new(body.as_ref(), None).expect("an Arrow stream");
    reader.map(|batch| batch.expect("a batch")).collect()
}

fn parquet_rows(body: Bytes) -> usize {
    let reader = ParquetRecordBatchReaderBuilder::try_new(body).expect("a Parquet file");
    let batches = reader.build().expect("a reader");
    batches
        .map(|batch| batch.expect("a batch").num_rows())
        .sum()
}
