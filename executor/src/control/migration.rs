//! The store's tables, step by step; each step is applied once.

use sqlx::Row as _;

use super::StoreError;
use super::database::{Dialect, Store};

struct Step {
    both: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const STEPS: [Step; 1] = [Step {
    both: include_str!("schema/0001.sql"),
    sqlite: include_str!("schema/0001.sqlite.sql"),
    postgres: include_str!("schema/0001.postgres.sql"),
}];

/// Brings the tables to what this release knows.
pub(super) async fn migrate(store: &Store) -> Result<(), StoreError> {
    store.again(|| try_migrate(store)).await
}

async fn try_migrate(store: &Store) -> Result<(), StoreError> {
    let mut change = store.begin().await?;
    // Several processes may start at once.
    change.lock_lane("plimsoll migration").await?;
    let tables = match store.dialect {
        Dialect::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
        Dialect::Postgres => {
            "SELECT table_name::text AS name FROM information_schema.tables \
             WHERE table_schema = current_schema()"
        }
    };
    let rows = change.all(store.statement(tables)).await?;
    let names = rows.iter().map(|row| row.try_get::<String, _>("name"));
    let names = names
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| store.failed(source))?;
    let found = match names.iter().any(|name| name == "plimsoll_version") {
        true => {
            change
                .number(store.statement("SELECT version FROM plimsoll_version"))
                .await?
        }
        false => {
            // Those of the database itself apart.
            let foreign = names.iter().any(|name| !name.starts_with("sqlite_"));
            if foreign {
                return Err(StoreError::Foreign {
                    url: store.url().clone(),
                });
            }
            change
                .run(store.statement("CREATE TABLE plimsoll_version (version BIGINT NOT NULL)"))
                .await?;
            change
                .run(store.statement("INSERT INTO plimsoll_version (version) VALUES (0)"))
                .await?;
            0
        }
    };
    let known = STEPS.len() as i64;
    if found > known {
        return Err(StoreError::Newer {
            url: store.url().clone(),
            found,
            known,
        });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for step in &STEPS[done..] {
        let own = match store.dialect {
            Dialect::Sqlite => step.sqlite,
            Dialect::Postgres => step.postgres,
        };
        for statement in statements(step.both).chain(statements(own)) {
            change.run(store.statement(&statement)).await?;
        }
    }
    if found < known {
        let version = store
            .statement("UPDATE plimsoll_version SET version = $1")
            .bind(known);
        change.run(version).await?;
    }
    if found == 0 {
        let id = "INSERT INTO control (name, value) VALUES ('store_id', $1)";
        let id = store.statement(id).bind(fresh_id());
        change.run(id).await?;
    }
    change.commit().await
}

/// A name that no other store has.
fn fresh_id() -> String {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    crate::comparable::hex(&bytes)
}

/// The statements of a file. None of ours holds a semicolon in a text.
fn statements(file: &'static str) -> impl Iterator<Item = String> {
    let lines = file
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"));
    let text: Vec<&str> = lines.collect();
    let text = text.join("\n");
    let statements: Vec<String> = text
        .split(';')
        .map(|statement| statement.trim().to_string())
        .filter(|statement| !statement.is_empty())
        .collect();
    statements.into_iter()
}
