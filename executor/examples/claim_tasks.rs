//! Times what workers do with a control store: claims, and the end of what they claimed.
//!
//! `claim_tasks URL QUEUED HISTORY WORKERS RATE SECONDS`: fills a new store with HISTORY tasks that have
//! ended and QUEUED that wait, each with a lane of its own, then lets WORKERS claim and end tasks, RATE
//! times a second together, or as often as they can where RATE is 0. Prints one JSON object; times are in
//! milliseconds.

use std::time::{Duration, Instant};

use plimsoll_executor::control::{
    Caller, Clock, ControlUrl, Held, NewJob, NewTask, Priority, Store, TaskEnd, TaskState, Worker,
};
use plimsoll_ingest::{Trigger, Verdict};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Suites of one job, where the store is filled.
const SUITES: u64 = 50;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, queued, history, workers, rate, seconds] = arguments.as_slice() else {
        return Err("claim_tasks URL QUEUED HISTORY WORKERS RATE SECONDS".into());
    };
    let load = Load {
        queued: queued.parse()?,
        history: history.parse()?,
        workers: workers.parse()?,
        rate: rate.parse()?,
        time: Duration::from_secs_f64(seconds.parse()?),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let figures = runtime.block_on(measure(url.parse()?, load))?;
    println!("{figures}");
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Load {
    queued: u64,
    history: u64,
    workers: u64,
    rate: f64,
    time: Duration,
}

async fn measure(url: ControlUrl, load: Load) -> Result<serde_json::Value, Error> {
    let store = Store::open(&url, Clock::Database).await?;
    let begun = Instant::now();
    let mut left = load.history;
    while left > 0 {
        let tasks = left.min(SUITES);
        submit(&store, "history", tasks).await?;
        let worker = worker(0);
        while let Some(lease) = store.claim(&worker).await? {
            end(&store, &lease).await?;
        }
        left -= tasks;
    }
    for number in 0..load.queued {
        submit(&store, &format!("lane {number}"), 1).await?;
    }
    let filled = begun.elapsed();
    let start = Instant::now() + Duration::from_millis(50);
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..load.workers {
        let store = store.clone();
        workers.spawn(async move { work(&store, number, load, start).await });
    }
    let mut claims = Vec::new();
    let mut ends = Vec::new();
    while let Some(done) = workers.join_next().await {
        let (own_claims, own_ends) = done??;
        claims.extend(own_claims);
        ends.extend(own_ends);
    }
    let took = start.elapsed().as_secs_f64();
    claims.sort_unstable();
    ends.sort_unstable();
    Ok(serde_json::json!({
        "queued": load.queued,
        "history": load.history,
        "workers": load.workers,
        "rate": load.rate,
        "claims": claims.len(),
        "claims_per_s": claims.len() as f64 / took,
        "claim_ms_p50": quantile(&claims, 0.5),
        "claim_ms_p99": quantile(&claims, 0.99),
        "claim_ms_max": quantile(&claims, 1.0),
        "finish_ms_p50": quantile(&ends, 0.5),
        "finish_ms_p99": quantile(&ends, 0.99),
        "filled_s": filled.as_secs_f64(),
    }))
}

/// Claims and ends tasks, one after another, each at its time.
async fn work(
    store: &Store,
    number: u64,
    load: Load,
    start: Instant,
) -> Result<(Vec<Duration>, Vec<Duration>), Error> {
    let worker = worker(number);
    let (mut claims, mut ends) = (Vec::new(), Vec::new());
    for turn in 0u64.. {
        let due = match load.rate > 0.0 {
            true => {
                start + Duration::from_secs_f64((turn * load.workers + number) as f64 / load.rate)
            }
            false => Instant::now().max(start),
        };
        if due > start + load.time {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        // From the call on: the timer that wakes a worker may be a millisecond late.
        let begun = Instant::now();
        let Some(lease) = store.claim(&worker).await? else {
            break;
        };
        claims.push(begun.elapsed());
        let begun = Instant::now();
        end(store, &lease).await?;
        ends.push(begun.elapsed());
        // As many as there were wait all the time.
        submit(store, &format!("lane {number} {turn}"), 1).await?;
    }
    Ok((claims, ends))
}

async fn submit(store: &Store, lane: &str, tasks: u64) -> Result<(), Error> {
    let task = NewTask {
        pillar: "performance".to_string(),
        suite: "smoke".to_string(),
        lane: lane.to_string(),
        exclusive: true,
        loads: true,
        max_attempts: 3,
    };
    let job = NewJob {
        spec: "{}".to_string(),
        digest: String::new(),
        tasks: (0..tasks).map(|_| task.clone()).collect(),
        priority: Priority::Normal,
        deadline: None,
        trigger: Trigger::Api,
        traceparent: None,
        idempotency_key: None,
        tick: None,
        not_before: None,
    };
    let caller = Caller {
        actor: "bench".to_string(),
        source: None,
    };
    store.accept(&job, &caller).await?;
    Ok(())
}

async fn end(store: &Store, lease: &plimsoll_executor::control::Lease) -> Result<(), Error> {
    let passed = TaskEnd {
        state: TaskState::Done,
        verdict: Verdict::Passed,
        run: None,
        reason: None,
    };
    match store.finish(lease, &passed).await? {
        Held::Yes => Ok(()),
        Held::Lost => Err("a lease was lost".into()),
    }
}

fn worker(number: u64) -> Worker {
    Worker {
        name: format!("w{number}"),
        host: format!("h{number}"),
    }
}

fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let at = rank.clamp(1, sorted.len().max(1)) - 1;
    sorted
        .get(at)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}
