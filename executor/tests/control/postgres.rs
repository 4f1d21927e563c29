//! A PostgreSQL server of the tests' own, from the system's packages, on a socket in a folder.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::{User, chown, geteuid};
use plimsoll_executor::control::ControlUrl;

/// The account that Debian's package makes; the server does not run as root.
const ACCOUNT: &str = "postgres";

pub(crate) struct Postgres {
    folder: tempfile::TempDir,
    bin: PathBuf,
    server: Child,
    databases: AtomicU32,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let bin = bin();
        let folder = tempfile::tempdir().expect("folder");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("permissions");
        if let Some(user) = account() {
            chown(folder.path(), Some(user.uid), Some(user.gid)).expect("chown");
        }
        let data = folder.path().join("data");
        let made = as_account(&bin.join("initdb"))
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=test",
                "--encoding=UTF8",
                "-D",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .expect("initdb starts");
        assert!(made.success(), "initdb: {made}");
        let server = as_account(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "max_connections=200",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres starts");
        let postgres = Self {
            folder,
            bin,
            server,
            databases: AtomicU32::new(0),
        };
        let begun = Instant::now();
        while !postgres
            .client("pg_isready")
            .args(["-q"])
            .status()
            .expect("pg_isready")
            .success()
        {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "PostgreSQL does not answer"
            );
        }
        postgres
    }

    /// A new database, which is empty.
    pub(crate) fn database(&self) -> ControlUrl {
        let name = format!("db{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let made = self
            .client("createdb")
            .arg(&name)
            .status()
            .expect("createdb starts");
        assert!(made.success(), "createdb: {made}");
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        let url = format!("postgres://test@{socket}/{name}");
        url.parse().expect("a URL")
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .arg("-h")
            .arg(self.folder.path())
            .args(["-U", "test"]);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// The newest that is installed.
fn bin() -> PathBuf {
    let root = Path::new("/usr/lib/postgresql");
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("postgres").exists())
        .collect();
    found.sort();
    let newest = found.pop();
    newest
        .expect("PostgreSQL is installed: `cargo xtask peers` does it")
        .1
}

fn account() -> Option<User> {
    let user = || {
        User::from_name(ACCOUNT)
            .expect("accounts")
            .expect("the package made it")
    };
    geteuid().is_root().then(user)
}

/// A program that runs as the account, and ends with the test, however that ends.
fn as_account(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if account().is_some() {
        command.args(["--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups"]);
    }
    command.arg(program);
    command.current_dir("/");
    command
}
