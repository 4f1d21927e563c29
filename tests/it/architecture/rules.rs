//! The rules themselves: a graph in, its violations out.

use super::graph::{Graph, Package};

/// One rule, and the words in which ARCHITECTURE.md states it.
pub(super) struct Rule {
    pub(super) statement: &'static str,
    check: fn(&Graph) -> Vec<String>,
}

impl Rule {
    /// One sentence for each place where the graph breaks the rule.
    pub(super) fn violations(&self, graph: &Graph) -> Vec<String> {
        (self.check)(graph)
    }
}

pub(super) const RULES: [Rule; 6] = [
    Rule {
        statement: "Dependencies point one way: `ingest` <- `executor`; `ingest` <- `warehouse`; \
                    `query-api` -> `warehouse`, `executor`; the root package wires all.",
        check: point_one_way,
    },
    Rule {
        statement: "`executor` never depends on `warehouse`, DataFusion or axum",
        check: |graph| never_reaches(graph, "plimsoll-executor", executor_must_not_know),
    },
    Rule {
        statement: "`ingest` never depends on DataFusion or axum",
        check: |graph| never_reaches(graph, "plimsoll-ingest", |p| is_datafusion(p) || is_axum(p)),
    },
    Rule {
        statement: "Only `query-api` speaks to people over the network",
        check: |graph| never_reaches(graph, "plimsoll-warehouse", is_axum),
    },
    Rule {
        statement: "The project's chores link none of its crates",
        check: |graph| never_reaches(graph, "xtask", |package| package.member),
    },
    Rule {
        statement: "One copy each of Arrow, Parquet, DataFusion, Delta and object_store",
        check: one_copy_each,
    },
];

/// What each of our packages may itself depend on among ours.
const MAY_DEPEND_ON: [(&str, &[&str]); 7] = [
    ("plimsoll-ingest", &[]),
    ("plimsoll-executor", &["plimsoll-ingest"]),
    ("plimsoll-warehouse", &["plimsoll-ingest"]),
    (
        "plimsoll-query-api",
        &["plimsoll-ingest", "plimsoll-warehouse", "plimsoll-executor"],
    ),
    (
        "plimsoll",
        &[
            "plimsoll-ingest",
            "plimsoll-executor",
            "plimsoll-warehouse",
            "plimsoll-query-api",
        ],
    ),
    ("plimsoll-faulty-storage", &[]),
    ("xtask", &[]),
];

fn point_one_way(graph: &Graph) -> Vec<String> {
    let members = graph
        .packages()
        .iter()
        .enumerate()
        .filter(|(_, package)| package.member);
    members
        .flat_map(|(number, package)| match may_depend_on(&package.name) {
            None => vec![format!(
                "`{}` has no place among the rules yet",
                package.name
            )],
            Some(allowed) => graph
                .direct(number)
                .filter(|to| to.member && !allowed.contains(&to.name.as_str()))
                .map(|to| format!("`{}` must not depend on `{}`", package.name, to.name))
                .collect(),
        })
        .collect()
}

fn may_depend_on(name: &str) -> Option<&'static [&'static str]> {
    MAY_DEPEND_ON
        .iter()
        .find(|(member, _)| *member == name)
        .map(|(_, allowed)| *allowed)
}

fn never_reaches(graph: &Graph, from: &str, forbidden: fn(&Package) -> bool) -> Vec<String> {
    let Some(number) = graph.member(from) else {
        return vec![format!("the workspace has no package `{from}`")];
    };
    graph
        .chain_to(number, forbidden)
        .map(|chain| format!("`{from}` must not reach this: {chain}"))
        .into_iter()
        .collect()
}

fn executor_must_not_know(package: &Package) -> bool {
    package.name == "plimsoll-warehouse" || is_datafusion(package) || is_axum(package)
}

fn is_datafusion(package: &Package) -> bool {
    package.name == "datafusion" || package.name.starts_with("datafusion-")
}

fn is_axum(package: &Package) -> bool {
    package.name == "axum" || package.name.starts_with("axum-")
}

fn one_copy_each(graph: &Graph) -> Vec<String> {
    let mut held: Vec<&Package> = graph.packages().iter().filter(|p| is_one_copy(p)).collect();
    held.sort_by(|a, b| (&a.name, &a.major).cmp(&(&b.name, &b.major)));
    held.windows(2)
        .filter(|pair| pair[0].name == pair[1].name)
        .map(|pair| {
            format!(
                "two copies of `{}`: {} and {}",
                pair[0].name, pair[0].major, pair[1].major
            )
        })
        .collect()
}

fn is_one_copy(package: &Package) -> bool {
    let name = package.name.as_str();
    [
        "arrow",
        "parquet",
        "object_store",
        "deltalake",
        "deltalake-core",
    ]
    .contains(&name)
        || name.starts_with("arrow-")
        || is_datafusion(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The workspace as it should be, with one crate of each kind that the rules speak of.
    fn good() -> Graph {
        let mut graph = Graph::default();
        let [
            ingest,
            executor,
            warehouse,
            api,
            root,
            _faulty_storage,
            _xtask,
        ] = MAY_DEPEND_ON.map(|(name, _)| graph.add(name, "0.1", true));
        let arrow = graph.add("arrow", "59", false);
        let datafusion = graph.add("datafusion", "55", false);
        let axum = graph.add("axum", "0.8", false);
        for (from, to) in [
            (ingest, arrow),
            (executor, ingest),
            (warehouse, ingest),
            (warehouse, datafusion),
            (datafusion, arrow),
            (api, warehouse),
            (api, executor),
            (api, axum),
            (root, api),
        ] {
            graph.link(from, to);
        }
        graph
    }

    fn number(graph: &Graph, name: &str) -> usize {
        graph
            .packages()
            .iter()
            .position(|package| package.name == name)
            .expect("the good graph holds it")
    }

    fn check(from: &str, to: &str, expected: &[&str]) {
        let mut graph = good();
        graph.link(number(&graph, from), number(&graph, to));
        let found: Vec<String> = RULES
            .iter()
            .flat_map(|rule| rule.violations(&graph))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_good_graph_breaks_nothing() {
        check("plimsoll", "plimsoll-ingest", &[]);
    }

    #[test]
    fn each_forbidden_edge_is_seen() {
        check(
            "plimsoll-warehouse",
            "plimsoll-executor",
            &["`plimsoll-warehouse` must not depend on `plimsoll-executor`"],
        );
        check(
            "plimsoll-executor",
            "axum",
            &["`plimsoll-executor` must not reach this: plimsoll-executor -> axum"],
        );
        check(
            "plimsoll-warehouse",
            "axum",
            &["`plimsoll-warehouse` must not reach this: plimsoll-warehouse -> axum"],
        );
        check(
            "xtask",
            "plimsoll-ingest",
            &[
                "`xtask` must not depend on `plimsoll-ingest`",
                "`xtask` must not reach this: xtask -> plimsoll-ingest",
            ],
        );
    }

    #[test]
    fn an_edge_through_others_is_seen_with_its_chain() {
        check(
            "plimsoll-ingest",
            "datafusion",
            &[
                "`plimsoll-executor` must not reach this: \
                 plimsoll-executor -> plimsoll-ingest -> datafusion",
                "`plimsoll-ingest` must not reach this: plimsoll-ingest -> datafusion",
            ],
        );
    }

    #[test]
    fn a_second_copy_and_an_unknown_member_are_seen() {
        let mut graph = good();
        graph.add("arrow", "60", false);
        graph.add("plimsoll-extra", "0.1", true);
        let found: Vec<String> = RULES
            .iter()
            .flat_map(|rule| rule.violations(&graph))
            .collect();
        assert_eq!(
            found,
            [
                "`plimsoll-extra` has no place among the rules yet",
                "two copies of `arrow`: 59 and 60",
            ]
        );
    }

    #[test]
    fn a_missing_package_is_no_silent_pass() {
        let found: Vec<String> = RULES
            .iter()
            .flat_map(|rule| rule.violations(&Graph::default()))
            .collect();
        assert!(found.contains(&"the workspace has no package `plimsoll-executor`".to_owned()));
    }
}
