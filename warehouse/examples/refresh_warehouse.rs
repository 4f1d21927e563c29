//! Takes in what others publish, and says how long that takes.
//!
//! `cargo xtask bench warehouse` runs it. Refreshes an open warehouse for each line of its standard
//! input, and answers each with a line of JSON: how long it took, in ms.
//!
//! Usage: `refresh_warehouse WAREHOUSE`.

use std::env;
use std::error::Error;
use std::io::BufRead as _;
use std::time::Instant;

use mimalloc::MiMalloc;
use plimsoll_ingest::WarehouseLocation;
use plimsoll_warehouse::{Warehouse, WarehouseOptions};

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [warehouse] = &arguments[..] else {
        return Err("usage: refresh_warehouse WAREHOUSE".into());
    };
    let location = WarehouseLocation::parse(warehouse)?;
    let warehouse = Warehouse::open(&location, WarehouseOptions::default()).await?;
    for line in std::io::stdin().lock().lines() {
        line?;
        let began = Instant::now();
        warehouse.refresh().await?;
        let refresh_ms = began.elapsed().as_secs_f64() * 1e3;
        println!("{}", serde_json::json!({"refresh_ms": refresh_ms}));
    }
    Ok(())
}
