//! A PostgreSQL server of Debian's packages, for a benchmark: in a folder of its own, on a socket.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// Where the packages put it, a folder a version. Tests look there too.
pub(crate) const ROOT: &str = "/usr/lib/postgresql";

/// The account that the package makes: the server refuses to run as root.
const ACCOUNT: &str = "postgres";

/// A server that runs until this is dropped.
pub(crate) struct Postgres {
    server: Child,
    bin: PathBuf,
    folder: TempDir,
}

impl Postgres {
    /// Makes a cluster and starts its server, as it comes: what is committed is on disk.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub(crate) fn start() -> Result<Self> {
        let bin = newest().context("PostgreSQL is missing: `cargo xtask peers` installs it")?;
        let folder = tempfile::Builder::new()
            .prefix("plimsoll-postgres-")
            .tempdir()?;
        let data = folder.path().join("data");
        if is_root() {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
            let owner = format!("{ACCOUNT}:{ACCOUNT}");
            let owned = Command::new("chown")
                .arg(owner)
                .arg(folder.path())
                .status()?;
            if !owned.success() {
                bail!("chown ended with {owned}");
            }
        }
        let made = as_account(&bin.join("initdb"))
            .args(["--auth=trust", "--username=bench", "--encoding=UTF8", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()?;
        if !made.success() {
            bail!("initdb ended with {made}");
        }
        let server = as_account(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses="])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let postgres = Self {
            server,
            bin,
            folder,
        };
        let begun = Instant::now();
        while !postgres.client("pg_isready").arg("-q").status()?.success() {
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("PostgreSQL does not answer");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(postgres)
    }

    /// The URL of a new database.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn database(&self, name: &str) -> Result<String> {
        let made = self.client("createdb").arg(name).status()?;
        if !made.success() {
            bail!("createdb ended with {made}");
        }
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        Ok(format!("postgres://bench@{socket}/{name}"))
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .arg("-h")
            .arg(self.folder.path())
            .args(["-U", "bench"]);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to end.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// The programs of the newest version that is installed.
pub(crate) fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir(ROOT).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| {
            let number = version.file_name().to_str()?.parse().ok()?;
            Some((number, version.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("postgres").exists())
        .collect();
    found.sort();
    Some(found.pop()?.1)
}

/// A program under the account, which ends with this process, however that ends.
fn as_account(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        command.args(["--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups"]);
    }
    command.arg(program).current_dir("/");
    command
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
