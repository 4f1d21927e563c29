//! Where a store may be, and where it may not.

use plimsoll_executor::control::{Clock, ControlUrl, Store, StoreError};

use crate::postgres::Postgres;
use crate::world::{World, ada, job};

async fn open(url: &ControlUrl) -> Result<Store, StoreError> {
    Store::open(url, Clock::Database).await
}

async fn what_was_accepted_is_there_when_it_is_opened_again(url: ControlUrl) {
    let store = open(&url).await.expect("a new store");
    let accepted = store.accept(&job("a"), &ada()).await.expect("accepted");
    drop(store);
    let store = open(&url).await.expect("the same store");
    let found = store.job(accepted.job()).await.expect("read");
    assert_eq!(found.map(|job| job.id), Some(accepted.job()));
}

#[tokio::test]
async fn what_was_accepted_stays() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("new folder/100% sure?#1/control.db");
    what_was_accepted_is_there_when_it_is_opened_again(ControlUrl::file(&file)).await;
    assert!(file.exists(), "under the very name");
    let server = Postgres::start();
    what_was_accepted_is_there_when_it_is_opened_again(server.database()).await;
}

#[tokio::test]
async fn a_store_of_a_later_release_is_refused() {
    let world = World::sqlite().await;
    let url = world.url.to_string();
    let file = url.strip_prefix("sqlite://").expect("a file");
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&format!("sqlite://{file}"))
        .await
        .expect("open");
    let later = "UPDATE plimsoll_version SET version = 999";
    sqlx::query(later).execute(&pool).await.expect("write");
    let refused = open(&world.url).await.expect_err("it is newer");
    assert!(
        matches!(refused, StoreError::Newer { found: 999, .. }),
        "{refused}"
    );
    assert!(refused.help().contains("later"), "{}", refused.help());
}

#[tokio::test]
async fn other_databases_are_left_alone() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("other.db");
    sqlx::any::install_default_drivers();
    let ours = server.database();
    for (url, connect) in [
        (
            ControlUrl::file(&file),
            format!("sqlite://{}?mode=rwc", file.display()),
        ),
        (ours.clone(), ours.to_string()),
    ] {
        let pool = sqlx::AnyPool::connect(&connect).await.expect("open");
        let table = "CREATE TABLE customers (name TEXT)";
        sqlx::query(table).execute(&pool).await.expect("write");
        let refused = open(&url).await.expect_err("it is somebody else's");
        assert!(matches!(refused, StoreError::Foreign { .. }), "{refused}");
        let left = "SELECT count(*) FROM plimsoll_version";
        assert!(
            sqlx::query(left).fetch_one(&pool).await.is_err(),
            "nothing was made"
        );
    }
}

#[tokio::test]
async fn places_that_cannot_be_used_say_why() {
    let folder = tempfile::tempdir().expect("folder");
    let text = folder.path().join("a text");
    std::fs::write(
        &text,
        "it is no database, though it is long enough to be one".repeat(20),
    )
    .expect("write");
    let refused = open(&ControlUrl::file(&text))
        .await
        .expect_err("no database");
    assert!(!refused.is_transient());
    let below = ControlUrl::file(&text.join("control.db"));
    let refused = open(&below).await.expect_err("a file is no folder");
    assert!(matches!(refused, StoreError::Folder { .. }), "{refused}");
    let gone: ControlUrl = "postgres://test@127.0.0.1:1/db".parse().expect("a URL");
    let refused = open(&gone).await.expect_err("nobody listens");
    assert!(refused.is_transient(), "{refused:?}");
}
