use plimsoll_ingest::WarehouseLocation;
use plimsoll_warehouse::*;
use std::time::Instant;
fn main() {
    let t0 = Instant::now();
    let args: Vec<String> = std::env::args().collect();
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(async {
        let loc = WarehouseLocation::parse(&args[1]).unwrap();
        let w = Warehouse::open(
            &loc,
            WarehouseOptions {
                memory_limit: std::env::var("MEM")
                    .ok()
                    .and_then(|m| m.parse().ok())
                    .unwrap_or(1 << 30),
                ..Default::default()
            },
        )
        .await
        .unwrap();
        eprintln!("open {:?}", t0.elapsed());
        for sql in &args[2..] {
            let t = Instant::now();
            let limits = QueryLimits {
                timeout: std::time::Duration::from_secs(20),
                max_rows: Some(50),
                access: Access::All,
            };
            match w.query(sql, &[], &limits).await {
                Ok(mut r) => {
                    if let Err(e) =
                        format::write(&mut r, Format::Table, &mut std::io::stdout()).await
                    {
                        println!("error: {e}");
                    }
                }
                Err(e) => println!("error: {e}\nhelp: {}", e.help()),
            }
            eprintln!("-- {sql}: {:?}", t.elapsed());
        }
        drop(w);
    });
    eprintln!("all {:?}", t0.elapsed());
}
