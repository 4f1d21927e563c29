//! Order, no early wake, cancellation, and life of the driver.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

fn waiting(timer: &PreciseTimer) -> usize {
    timer.sleepers().state().waiting.len()
}

async fn sleepers_wake_in_order_and_not_early() {
    let timer = PreciseTimer::start().expect("a timer");
    let start = Instant::now();
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    // The latest is registered first, so that the alarm must be moved forward.
    for step in (0..200_u32).rev() {
        let deadline = start + Duration::from_micros(20_000 + u64::from(step) * 97);
        let sleep = timer.sleep_until(deadline);
        let tx = tx.clone();
        tokio::spawn(async move {
            sleep.await;
            let woken = Instant::now();
            tx.send((step, deadline, woken)).expect("the test listens");
        });
    }
    drop(tx);
    let mut woken = Vec::new();
    while let Some(wake) = rx.recv().await {
        woken.push(wake);
    }
    assert_eq!(woken.len(), 200);
    for (step, deadline, at) in &woken {
        assert!(
            at >= deadline,
            "step {step} woke {:?} early",
            *deadline - *at
        );
    }
    assert_eq!(waiting(&timer), 0);
    woken.sort_by_key(|wake| wake.2);
    let mut late: Vec<Duration> = woken.iter().map(|(_, due, at)| *at - *due).collect();
    late.sort();
    // For reading with `--nocapture`; a bound would fail on a busy machine.
    println!("lateness p50 {:?}, p99 {:?}", late[100], late[197]);
}

#[tokio::test]
async fn on_one_thread() {
    sleepers_wake_in_order_and_not_early().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_several_threads() {
    sleepers_wake_in_order_and_not_early().await;
}

#[tokio::test]
async fn sleepers_that_are_due_together_wake_by_deadline_then_arrival() {
    let timer = PreciseTimer::start().expect("a timer");
    let base = Instant::now() + Duration::from_millis(5);
    let order = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = [30_u64, 10, 20, 10]
        .into_iter()
        .enumerate()
        .map(|(position, offset)| {
            let sleep = timer.sleep_until(base + Duration::from_micros(offset));
            let order = Arc::clone(&order);
            tokio::spawn(async move {
                sleep.await;
                order.lock().expect("no panic").push(position);
            })
        })
        .collect();
    tokio::task::yield_now().await;
    // The whole thread is held until all four are due.
    while Instant::now() < base + Duration::from_millis(1) {
        std::hint::spin_loop();
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!(*order.lock().expect("no panic"), [1, 3, 2, 0]);
}

#[tokio::test]
async fn a_past_deadline_is_ready_at_once() {
    let timer = PreciseTimer::start().expect("a timer");
    let mut sleep = timer.sleep_until(Instant::now());
    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut sleep).poll(cx))).await;
    assert!(first.is_ready());
    assert_eq!(waiting(&timer), 0);
}

#[tokio::test]
async fn asking_again_and_again_gets_nobody_through_early() {
    let timer = PreciseTimer::start().expect("a timer");
    let deadline = Instant::now() + Duration::from_millis(3);
    let mut sleep = timer.sleep_until(deadline);
    let mut asked = 0;
    poll_fn(|cx| {
        while Pin::new(&mut sleep).poll(cx).is_pending() {
            asked += 1;
        }
        assert!(Instant::now() >= deadline);
        Poll::Ready(())
    })
    .await;
    assert!(asked > 0);
    assert_eq!(waiting(&timer), 0);
}

#[tokio::test]
async fn a_dropped_sleep_leaves_the_timer() {
    let timer = PreciseTimer::start().expect("a timer");
    let mut sleep = timer.sleep_until(Instant::now() + Duration::from_secs(3600));
    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut sleep).poll(cx))).await;
    assert!(first.is_pending());
    assert_eq!(waiting(&timer), 1);
    drop(sleep);
    assert_eq!(waiting(&timer), 0);
}

#[tokio::test]
async fn a_reset_sleep_ends_at_its_new_deadline() {
    let timer = PreciseTimer::start().expect("a timer");
    let mut sleep = timer.sleep_until(Instant::now() + Duration::from_secs(3600));
    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut sleep).poll(cx))).await;
    assert!(first.is_pending());
    let deadline = Instant::now() + Duration::from_millis(3);
    sleep.reset(deadline);
    assert_eq!(sleep.deadline(), deadline);
    (&mut sleep).await;
    assert!(Instant::now() >= deadline);
    assert_eq!(waiting(&timer), 0);
}

#[tokio::test]
async fn a_sleep_that_changes_task_wakes_the_new_one() {
    let timer = PreciseTimer::start().expect("a timer");
    let mut sleep = timer.sleep_until(Instant::now() + Duration::from_millis(5));
    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut sleep).poll(cx))).await;
    assert!(first.is_pending());
    tokio::spawn(sleep).await.expect("no panic");
}

#[tokio::test]
async fn the_driver_ends_with_the_last_handle() {
    let timer = PreciseTimer::start().expect("a timer");
    let task = timer.driver.task.clone();
    let sleep = timer.sleep_until(Instant::now() + Duration::from_millis(2));
    drop(timer);
    sleep.await;
    while !task.is_finished() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_short_sleeps_in_a_row_do_not_stall() {
    let timer = PreciseTimer::start().expect("a timer");
    let count = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..50_u64)
        .map(|offset| {
            let mut sleep = timer.sleep_until(start);
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                for turn in 1..=40_u64 {
                    sleep.reset(start + Duration::from_micros(turn * 500 + offset * 7));
                    (&mut sleep).await;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!(count.load(Ordering::Relaxed), 2000);
}
