//! Many writers at once on storage that fails at random.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use object_store::memory::InMemory;
use plimsoll_ingest::{TaskId, Timestamp};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::place::{Seen, Waiting};
use plimsoll_faulty_storage::{Fate, Faulty, rounds};

/// Writers of a round, each with a folder of spools of its own.
const WRITERS: usize = 4;
/// Runs of each writer.
const RUNS: usize = 3;
/// How often a writer tries one run before its storage gets well.
const TRIES: u64 = 12;

/// Publishes each of the writer's runs, again and again until it is in.
async fn write(inner: Arc<InMemory>, root: &Path, mine: Vec<Waiting>, seed: u64) -> Vec<Fate> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut met = Vec::new();
    for waiting in mine {
        for attempt in 0..=TRIES {
            if !waiting.waits(root) {
                break;
            }
            let way = match attempt {
                TRIES => Faulty::healthy(inner.clone()),
                _ => {
                    let one_in = [4, 12, 60][random.random_range(0..3)];
                    Faulty::seeded(inner.clone(), random.random(), one_in)
                }
            };
            waiting.publish(root, way.clone()).await;
            // A late write may come when the next attempt is over.
            if random.random_bool(0.5) {
                way.settle().await;
            }
            met.extend(way.met());
        }
        assert!(
            !waiting.waits(root),
            "seed {seed}: a run was never published"
        );
    }
    met
}

/// Reads for as long as others write.
async fn read(inner: Arc<InMemory>, until: Arc<tokio::sync::Notify>) -> usize {
    let mut reads = 0;
    let mut visible = 0;
    let ended = until.notified();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            biased;
            () = &mut ended => return reads,
            seen = Seen::by_a_reader(&inner) => {
                let now = seen.whole_runs();
                assert!(now >= visible, "a run that was visible is not any more");
                visible = now;
                reads += 1;
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn round(seed: u64) -> BTreeMap<Fate, usize> {
    let inner = Arc::new(InMemory::new());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // One task is given to two writers: the first came back from the dead.
    let contested = TaskId::new(Timestamp::now());
    let mut all = Vec::new();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let root = tempfile::tempdir().expect("a folder");
        let mut mine: Vec<_> = (0..RUNS).map(|_| Waiting::new()).collect();
        if writer < 2 {
            mine.push(Waiting::of_task(contested));
        }
        // A zombie has a copy of a spool that somebody else publishes as well.
        if writer > 1 {
            mine.extend(all.last());
        }
        mine.iter().for_each(|waiting| waiting.spool(root.path()));
        all.extend(&mine);
        let (inner, seed) = (inner.clone(), random.random());
        writers.push(tokio::spawn(async move {
            write(inner, root.path(), mine, seed).await
        }));
    }
    let until = Arc::new(tokio::sync::Notify::new());
    let reader = tokio::spawn(read(inner.clone(), until.clone()));
    let mut met = BTreeMap::new();
    for writer in writers {
        for fate in writer.await.expect("a writer ends") {
            *met.entry(fate).or_default() += 1;
        }
    }
    until.notify_one();
    reader.await.expect("every read was of whole runs");
    let seen = Seen::by_a_reader(&inner).await;
    // Two of the runs have two spools each.
    assert_eq!(seen.whole_runs(), WRITERS * RUNS + 2, "seed {seed}");
    for waiting in &all {
        seen.holds(*waiting);
    }
    let of_contested = &seen.tasks[&contested.to_string()];
    let count = |word: &str| {
        of_contested
            .iter()
            .filter(|verdict| *verdict == word)
            .count()
    };
    assert_eq!(
        (count("passed"), count("incomplete")),
        (1, 1),
        "seed {seed}"
    );
    met
}

#[tokio::test]
async fn many_writers_on_failing_storage_end_with_each_run_once() {
    let mut met = BTreeMap::new();
    for seed in 0..rounds() {
        for (fate, times) in round(seed).await {
            *met.entry(fate).or_insert(0) += times;
        }
    }
    println!("{} rounds of {WRITERS} writers met {met:?}", rounds());
    for fate in Fate::FAULTS {
        assert!(met.contains_key(&fate), "{fate:?} was never met");
    }
}
