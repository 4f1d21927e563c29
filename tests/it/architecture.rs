//! The invariants of ARCHITECTURE.md that cargo's own view of the workspace can show.

use crate::workspace;

mod graph;
mod rules;

use graph::Graph;
use rules::RULES;

#[test]
fn the_workspace_keeps_its_dependency_rules() {
    let graph = Graph::of_workspace(&workspace::root());
    let violations: Vec<String> = RULES
        .iter()
        .flat_map(|rule| rule.violations(&graph))
        .collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn every_rule_is_stated_in_the_architecture() {
    let architecture = one_line(&workspace::text("ARCHITECTURE.md"));
    for rule in RULES {
        assert!(
            architecture.contains(rule.statement),
            "ARCHITECTURE.md does not say: {}",
            rule.statement
        );
    }
}

/// The invariants that no dependency graph shows, by the words that must not go missing.
const STATED: [&str; 6] = [
    "`ingest` alone defines column names, types, units and meanings",
    "Every queue is listed",
    "Schema changes are additive",
    "The warehouse is append-only facts",
    "A task has at most one completed run",
    "Metric code is pure",
];

#[test]
fn every_other_invariant_is_stated_as_a_numbered_item() {
    let text = workspace::text("ARCHITECTURE.md");
    let section = text
        .split("\n## ")
        .find(|section| section.starts_with("Invariants"))
        .expect("ARCHITECTURE.md has a section `Invariants`");
    let numbered = section
        .lines()
        .filter(|line| {
            line.split_once(". ")
                .is_some_and(|(n, _)| n.parse::<u32>().is_ok())
        })
        .count();
    assert!(
        numbered >= STATED.len(),
        "only {numbered} numbered invariants"
    );
    let section = one_line(section);
    for words in STATED {
        assert!(
            section.contains(words),
            "ARCHITECTURE.md does not say: {words}"
        );
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
