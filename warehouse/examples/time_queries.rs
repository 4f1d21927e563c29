//! Times statements over a warehouse, in a process that has just begun.
//!
//! `cargo xtask bench warehouse` runs it beside other engines. Reads a JSON object a line from
//! standard input, `{"name": .., "sql": ..}`, and answers each with one: how long the statement took
//! the first time and again, in ms, and its answer as CSV.
//!
//! Usage: `time_queries WAREHOUSE THREADS REPEATS`.

use std::env;
use std::error::Error;
use std::io::BufRead as _;
use std::time::{Duration, Instant};

use mimalloc::MiMalloc;
use plimsoll_ingest::WarehouseLocation;
use plimsoll_warehouse::{Access, Format, QueryLimits, Warehouse, WarehouseOptions, format};
use serde::Deserialize;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Deserialize)]
struct Query {
    name: String,
    sql: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [warehouse, threads, repeats] = &arguments[..] else {
        return Err("usage: time_queries WAREHOUSE THREADS REPEATS".into());
    };
    let location = WarehouseLocation::parse(warehouse)?;
    let options = WarehouseOptions {
        threads: threads.parse()?,
        memory_limit: 8 << 30,
        ..WarehouseOptions::default()
    };
    let began = Instant::now();
    let warehouse = Warehouse::open(&location, options).await?;
    let opened_ms = began.elapsed().as_secs_f64() * 1e3;
    let repeats: usize = repeats.parse()?;
    for line in std::io::stdin().lock().lines() {
        let query: Query = serde_json::from_str(&line?)?;
        let (first_ms, answer) = ask(&warehouse, &query.sql).await?;
        let mut again_ms = Vec::new();
        for _ in 0..repeats {
            again_ms.push(ask(&warehouse, &query.sql).await?.0);
        }
        let told = serde_json::json!({
            "name": query.name, "opened_ms": opened_ms, "first_ms": first_ms, "again_ms": again_ms,
            "answer": answer,
        });
        println!("{told}");
    }
    Ok(())
}

async fn ask(warehouse: &Warehouse, sql: &str) -> Result<(f64, String), Box<dyn Error>> {
    let limits = QueryLimits {
        timeout: Duration::from_secs(600),
        max_rows: None,
        access: Access::All,
    };
    let began = Instant::now();
    let mut result = warehouse.query(sql, &[], &limits).await?;
    let mut bytes = Vec::new();
    format::write(&mut result, Format::Csv, &mut bytes).await?;
    Ok((
        began.elapsed().as_secs_f64() * 1e3,
        String::from_utf8(bytes)?,
    ))
}
