//! Who has the lease, and who had it.

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
