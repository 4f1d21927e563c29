//! Who depends on whom: packages and the edges between them that end up in a build.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The packages of a build and their dependencies, development-only ones left out: those never
/// reach a user's machine.
#[derive(Default)]
pub(super) struct Graph {
    packages: Vec<Package>,
    edges: BTreeMap<usize, BTreeSet<usize>>,
}

/// One package at one version.
pub(super) struct Package {
    pub(super) name: String,
    /// The part of the version that cargo treats as incompatible.
    pub(super) major: String,
    /// Whether it is one of ours.
    pub(super) member: bool,
}

impl Graph {
    /// Reads the resolved graph of a workspace for this machine's platform, without the network.
    pub(super) fn of_workspace(root: &Path) -> Self {
        let metadata = metadata(root);
        let members: BTreeSet<&str> = texts(&metadata["workspace_members"]).collect();
        let mut graph = Self::default();
        let mut numbers = BTreeMap::new();
        for package in items(&metadata["packages"]) {
            let id = text(&package["id"]);
            let major = major(text(&package["version"]));
            let number = graph.add(text(&package["name"]), &major, members.contains(id));
            numbers.insert(id, number);
        }
        for node in items(&metadata["resolve"]["nodes"]) {
            for dependency in items(&node["deps"]) {
                if items(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "dev") {
                    graph.link(
                        numbers[text(&node["id"])],
                        numbers[text(&dependency["pkg"])],
                    );
                }
            }
        }
        graph
    }

    /// Adds a package and returns its number.
    pub(super) fn add(&mut self, name: &str, major: &str, member: bool) -> usize {
        self.packages.push(Package {
            name: name.to_owned(),
            major: major.to_owned(),
            member,
        });
        self.packages.len() - 1
    }

    /// Adds the edge "`from` depends on `to`".
    pub(super) fn link(&mut self, from: usize, to: usize) {
        self.edges.entry(from).or_default().insert(to);
    }

    pub(super) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// Our package of that name, if the workspace has it.
    pub(super) fn member(&self, name: &str) -> Option<usize> {
        self.packages
            .iter()
            .position(|package| package.member && package.name == name)
    }

    /// The packages that one depends on itself.
    pub(super) fn direct(&self, from: usize) -> impl Iterator<Item = &Package> {
        self.edges
            .get(&from)
            .into_iter()
            .flatten()
            .map(|to| &self.packages[*to])
    }

    /// One shortest chain of names from a package to the first that `wanted` accepts.
    pub(super) fn chain_to(
        &self,
        from: usize,
        wanted: impl Fn(&Package) -> bool,
    ) -> Option<String> {
        let mut chains = BTreeMap::from([(from, self.packages[from].name.clone())]);
        let mut front = vec![from];
        while !front.is_empty() {
            let mut next = Vec::new();
            for package in front {
                for to in self.edges.get(&package).into_iter().flatten() {
                    if chains.contains_key(to) {
                        continue;
                    }
                    let chain = format!("{} -> {}", chains[&package], self.packages[*to].name);
                    if wanted(&self.packages[*to]) {
                        return Some(chain);
                    }
                    chains.insert(*to, chain);
                    next.push(*to);
                }
            }
            front = next;
        }
        None
    }
}

/// What `cargo metadata` says about the workspace. Crates of other platforms need not be there.
fn metadata(root: &Path) -> Value {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let host = host();
    let json = output_of(Command::new(cargo).current_dir(root).args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--offline",
        "--filter-platform",
        &host,
    ]));
    serde_json::from_str(&json).expect("cargo writes JSON")
}

fn host() -> String {
    output_of(Command::new("rustc").arg("-vV"))
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc names its host")
        .to_owned()
}

fn output_of(command: &mut Command) -> String {
    let output = command
        .output()
        .expect("the tool that built this test can be started");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    String::from_utf8(output.stdout).expect("it writes UTF-8")
}

/// The part of a version that cargo treats as incompatible: `0.y` before version 1.
fn major(version: &str) -> String {
    let mut parts = version.split('.');
    match (parts.next(), parts.next()) {
        (Some("0"), Some(minor)) => format!("0.{minor}"),
        (Some(major), _) => major.to_owned(),
        (None, _) => unreachable!("splitting yields one part at least"),
    }
}

fn items(array: &Value) -> impl Iterator<Item = &Value> {
    array
        .as_array()
        .expect("cargo lists them as an array")
        .iter()
}

fn texts(array: &Value) -> impl Iterator<Item = &str> {
    items(array).map(text)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo writes it as a string")
}
