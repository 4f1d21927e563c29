//! The workspace's own files, for the tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold what was made, not what was written.
const MADE: [&str; 4] = ["target", ".git", "plimsoll-data", "node_modules"];

/// The folder of the workspace's `Cargo.lock`, as cargo says it when it runs the tests: checkouts
/// that share a target folder share the program that was compiled in one of them.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let root = Path::new(&package)
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file());
    root.expect("the tests lie inside the workspace")
        .to_path_buf()
}

/// The text of one file, by its path from the root.
pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of the workspace that people wrote and whose name ends in one of `endings`: paths
/// from the root, sorted.
pub(crate) fn files(endings: &[&str]) -> Vec<String> {
    let mut folders = vec![root()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(from_root(&path));
            }
        }
    }
    found.retain(|path| endings.iter().any(|ending| path.ends_with(ending)));
    found.sort();
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder that was just opened can be read"))
        .filter(|entry| !MADE.iter().any(|made| entry.file_name() == *made))
        .map(|entry| entry.path())
        .collect()
}

fn from_root(path: &Path) -> String {
    path.strip_prefix(root())
        .expect("only paths below the root are walked")
        .to_string_lossy()
        .into_owned()
}
