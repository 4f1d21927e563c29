//! Who has the lease, and who had it.

use object_store::memory::InMemory;
use plimsoll_faulty_storage::{Fate, Faulty};

use super::faults::over;
use super::*;

fn named(name: &str) -> String {
    name.to_string()
}

#[tokio::test]
async fn a_lease_is_one_holders_until_it_is_given_back() {
    let (_folder, store) = place();
    let first = Lease::take(&store, named("first"), LEASE_LASTS).await;
    let mut first = first.expect("nobody has it");
    let held = Lease::take(&store, named("second"), LEASE_LASTS).await;
    let error = held.expect_err("first has it");
    assert!(
        matches!(&error, MaintenanceError::Held { holder, .. } if holder == "first"),
        "{error}"
    );
    let fence = first.fence();
    first.renew().await.expect("it is still first's");
    assert!(first.fence() > fence, "fences grow");
    let fence = first.fence();
    first.release().await.expect("given back");
    let second = Lease::take(&store, named("second"), LEASE_LASTS).await;
    assert!(second.expect("nobody has it").fence() > fence);
}

#[tokio::test]
async fn an_expired_lease_is_taken_and_its_holder_told() {
    let (_folder, store) = place();
    let gone = Lease::take(&store, named("gone"), Duration::ZERO).await;
    let mut gone = gone.expect("nobody has it");
    // Storage tells time in its own grain: wait until its clock has moved on.
    let begun = lease::now(&store).await.expect("a clock");
    while lease::now(&store).await.expect("a clock") <= begun {}
    let next = Lease::take(&store, named("next"), LEASE_LASTS).await;
    let next = next.expect("it had expired");
    let lost = gone.renew().await.expect_err("next has it");
    assert!(
        matches!(&lost, MaintenanceError::Held { holder, .. } if holder == "next"),
        "{lost}"
    );
    assert!(next.fence() > gone.fence());
}

#[tokio::test]
async fn of_many_who_want_the_lease_at_once_one_gets_it() {
    let (_folder, store) = place();
    let all = (0..8).map(|number| Lease::take(&store, format!("{number}"), LEASE_LASTS));
    let taken = futures::future::join_all(all).await;
    let got = taken.iter().filter(|taken| taken.is_ok()).count();
    assert_eq!(got, 1, "{taken:?}");
    for refused in taken.into_iter().filter_map(Result::err) {
        assert!(
            matches!(refused, MaintenanceError::Held { .. }),
            "{refused}"
        );
    }
}

/// Work begins under a lease whose first renewal has this fate, and ends when a renewal has come through.
async fn renewed_after(fate: Fate, lasts: Duration) -> Result<(), MaintenanceError> {
    let taking = |faulty: &Arc<Faulty>| {
        let store = over(Arc::clone(faulty));
        async move { Lease::take(&store, named("one"), LEASE_LASTS).await }
    };
    let healthy = Faulty::healthy(Arc::default());
    taking(&healthy).await.expect("nobody has it");
    let faulty = Faulty::at(Arc::default(), healthy.operations(), fate);
    let mut lease = taking(&faulty).await.expect("nobody has it");
    let (taken, fence) = (lease.fence(), AtomicU64::new(lease.fence()));
    let work = async {
        while fence.load(Ordering::Acquire) == taken {
            tokio::task::yield_now().await;
        }
    };
    while_renewed(&mut lease, &fence, Duration::from_millis(1), lasts, work).await
}

#[tokio::test]
async fn a_renewal_that_fails_is_tried_again_while_the_lease_lasts() {
    let hour = Duration::from_secs(3600);
    for fate in [Fate::Refused, Fate::AnswerLost] {
        let done = renewed_after(fate, hour).await;
        assert!(done.is_ok(), "{fate:?}: {done:?}");
    }
    let error = renewed_after(Fate::Refused, Duration::ZERO).await;
    let error = error.expect_err("nothing holds the lease any more");
    assert!(matches!(error, MaintenanceError::Storage { .. }), "{error}");
}

#[tokio::test]
async fn work_ends_when_its_lease_is_anothers() {
    let store = over(Faulty::healthy(Arc::new(InMemory::new())));
    let gone = Lease::take(&store, named("gone"), Duration::ZERO).await;
    let mut gone = gone.expect("nobody has it");
    let begun = lease::now(&store).await.expect("a clock");
    while lease::now(&store).await.expect("a clock") <= begun {}
    let next = Lease::take(&store, named("next"), LEASE_LASTS).await;
    next.expect("it had expired");
    let fence = AtomicU64::new(gone.fence());
    let endless = std::future::pending::<()>();
    let every = Duration::from_millis(1);
    let ended = while_renewed(&mut gone, &fence, every, LEASE_LASTS, endless).await;
    let error = ended.expect_err("next has the lease");
    assert!(matches!(error, MaintenanceError::Held { .. }), "{error}");
}

/// Who may only read, or looks while somebody else tidies up, may ask what would be deleted.
#[tokio::test]
async fn a_dry_run_needs_no_lease_and_writes_nothing() {
    let (folder, store) = place();
    for _ in 0..3 {
        publish(&store, 60, true).await;
    }
    optimize(&store).await;
    let other = Lease::take(&store, named("other"), LEASE_LASTS).await;
    other.expect("nobody has it");
    let there = || {
        let find = std::process::Command::new("find")
            .args([
                folder.path().as_os_str(),
                "-printf".as_ref(),
                "%p %T@\\n".as_ref(),
            ])
            .output();
        String::from_utf8(find.expect("a list").stdout).expect("text")
    };
    let before = there();
    let asked = |dry_run| {
        let chore = Chore::Vacuum {
            older_than: Duration::ZERO,
            dry_run,
        };
        maintain(store.location(), WarehouseOptions::default(), chore)
    };
    let dry = asked(true).await.expect("it only looks");
    let files: usize = dry.done.iter().map(|(_, done)| done.deletable).sum();
    assert!(files >= 3, "{dry:?}");
    assert_eq!(there(), before);
    let held = asked(false).await;
    assert!(
        matches!(held, Err(MaintenanceError::Held { .. })),
        "{held:?}"
    );
}
