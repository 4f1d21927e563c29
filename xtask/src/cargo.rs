//! Calling cargo from inside a chore.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The folder of the workspace's `Cargo.lock`.
///
/// Cargo says at run time which checkout asked. What it said at compile time may be another one:
/// checkouts that share a target folder share this program.
pub(crate) fn workspace_root() -> PathBuf {
    let package =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = PathBuf::from(package);
    let root = package.parent();
    root.expect("xtask lies one folder below the workspace's root")
        .to_path_buf()
}

/// A cargo command in the workspace's root, with the cargo that started this chore.
///
/// What `cargo run` tells this program about itself is kept from it: build scripts of
/// dependencies look at those variables, and would run again, and with them most of the tree.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(workspace_root()).arg(subcommand);
    for (name, _) in env::vars_os().filter(|(name, _)| is_about_this_package(name)) {
        command.env_remove(name);
    }
    command
}

fn is_about_this_package(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Which build of the product a benchmark drives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// What tests use: quick to build, slow to run.
    Dev,
    /// What users run.
    Release,
}

/// Builds some of the workspace's executables in one call, so that shared crates keep one set
/// of features, and returns where each lies, in the order asked for.
///
/// # Errors
/// Where the build fails, or builds no executable of that name.
pub(crate) fn build_executables(build: Build, targets: &[Target]) -> Result<Vec<PathBuf>> {
    let mut command = cargo("build");
    command.arg("--message-format=json-render-diagnostics");
    if build == Build::Release {
        command.arg("--release");
    }
    for target in targets {
        command.args(["--package", target.package]);
        match target.kind {
            TargetKind::Bin => command.args(["--bin", target.name]),
            TargetKind::Example => command.args(["--example", target.name]),
        };
    }
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("cargo could not be started")?;
    if !output.status.success() {
        bail!("cargo build ended with {}", output.status);
    }
    let messages = String::from_utf8(output.stdout).context("cargo's messages are no UTF-8")?;
    targets
        .iter()
        .map(|target| {
            executable_of(&messages, target.name)
                .with_context(|| format!("cargo built no executable `{}`", target.name))
        })
        .collect()
}

/// One executable of the workspace.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The package that holds it.
    pub(crate) package: &'static str,
    /// The executable's own name.
    pub(crate) name: &'static str,
    /// Program or example.
    pub(crate) kind: TargetKind,
}

/// What cargo calls an executable.
#[derive(Clone, Copy)]
pub(crate) enum TargetKind {
    /// A program.
    Bin,
    /// An example, used for what a benchmark needs and the product does not.
    Example,
}

/// The product itself.
pub(crate) const PRODUCT: Target = Target {
    package: "plimsoll",
    name: "plimsoll",
    kind: TargetKind::Bin,
};

fn executable_of(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_does_not_see_which_package_asked_for_it() {
        let removed: Vec<_> = cargo("build")
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.to_owned())
            .collect();
        // Cargo sets this one for the tests that it runs, too.
        assert!(removed.contains(&"CARGO_PKG_NAME".into()), "{removed:?}");
        assert!(!is_about_this_package(OsStr::new("CARGO_TARGET_DIR")));
    }

    #[test]
    fn the_executable_is_the_named_artifact_that_has_one() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"plimsoll"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"plimsoll"},"executable":"/t/plimsoll"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(
            executable_of(messages, "plimsoll"),
            Some(PathBuf::from("/t/plimsoll"))
        );
        assert_eq!(executable_of(messages, "third"), None);
    }
}
