//! Every queue is bounded and stands in ARCHITECTURE.md's table.

use std::collections::BTreeSet;

use crate::workspace;

/// How a channel that holds several messages is made. One-shot and watch channels hold one.
const BOUNDED: [&str; 4] = [
    "mpsc::channel(",
    "mpsc::channel::<",
    "sync_channel(",
    "broadcast::channel(",
];

/// Channels whose type has no bound: their row says what bounds them all the same.
const UNBOUNDED: [&str; 5] = [
    // The standard library's.
    "mpsc::channel()",
    "mpsc::channel::<()>()",
    "unbounded_channel(",
    "channel::unbounded",
    "mpsc::unbounded(",
];

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Queue {
    cells: Vec<String>,
    source: String,
}

#[test]
fn every_queue_of_the_code_is_in_the_table() {
    let listed = queues(&workspace::text("ARCHITECTURE.md"));
    let sources: Vec<(String, String)> = workspace::files(&[".rs"])
        .into_iter()
        .filter(|path| is_shipped(path))
        .map(|path| (path.clone(), workspace::text(&path)))
        .collect();
    let violations = violations(&listed, &sources);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// Neither a test nor a chore.
fn is_shipped(path: &str) -> bool {
    let is_test =
        path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs");
    !is_test && !path.starts_with("xtask/")
}

fn violations(listed: &[Queue], sources: &[(String, String)]) -> Vec<String> {
    let mut violations = Vec::new();
    for queue in listed {
        if queue.cells.iter().any(String::is_empty) {
            violations.push(format!("the queue of `{}` has an empty cell", queue.source));
        }
    }
    let with = |marks: &[&str]| -> BTreeSet<&str> {
        sources
            .iter()
            .filter(|(_, text)| marks.iter().any(|mark| shipped(text).contains(mark)))
            .map(|(path, _)| path.as_str())
            .collect()
    };
    for path in with(&UNBOUNDED) {
        let reasoned = |queue: &Queue| {
            queue.source == path
                && queue
                    .cells
                    .iter()
                    .any(|cell| cell.contains("unbounded in type"))
        };
        if !listed.iter().any(reasoned) {
            violations.push(format!("`{path}` makes a channel without a bound"));
        }
    }
    for path in with(&BOUNDED) {
        if !listed.iter().any(|queue| queue.source == path) {
            violations.push(format!("the queue of `{path}` is not in the table"));
        }
    }
    for queue in listed {
        if !sources.iter().any(|(path, _)| *path == queue.source) {
            violations.push(format!(
                "the table names `{}`, which is not there",
                queue.source
            ));
        }
    }
    violations
}

/// The part of a source file that ends up in the product.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

/// The rows of the table under `## Queues`; the last cell holds the source file.
fn queues(architecture: &str) -> Vec<Queue> {
    let section = architecture
        .split("\n## ")
        .find(|section| section.starts_with("Queues"))
        .expect("ARCHITECTURE.md has a section `Queues`");
    section
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells: Vec<String> = line
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect();
            let source = cells.last().map_or("", String::as_str).trim_matches('`');
            Queue {
                source: source.to_owned(),
                cells,
            }
        })
        .collect()
}

#[test]
fn each_kind_of_violation_is_seen() {
    let listed = queues(
        "# A\n\n## Queues\n\n| queue | bound | at the bound | metric | made in |\n|---|---|---|---|---|\n\
         | rows | 64 | waits | `n` | `a.rs` |\n| lost | 8 |  | `m` | `gone.rs` |\n\n## Next\n| no | row |\n",
    );
    let source = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let sources = [
        source("a.rs", "let (tx, rx) = mpsc::channel(64);"),
        source("b.rs", "let (tx, rx) = std::sync::mpsc::sync_channel(1);"),
        source("c.rs", "let (tx, rx) = mpsc::unbounded_channel();"),
        source(
            "d.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests { mpsc::channel(1); }",
        ),
        source("e.rs", "let (tx, rx) = std::sync::mpsc::channel();"),
    ];
    assert_eq!(
        violations(&listed, &sources),
        [
            "the queue of `gone.rs` has an empty cell",
            "`c.rs` makes a channel without a bound",
            "`e.rs` makes a channel without a bound",
            "the queue of `b.rs` is not in the table",
            "the queue of `e.rs` is not in the table",
            "the table names `gone.rs`, which is not there",
        ]
    );
}
