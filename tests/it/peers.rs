//! Servers of other people, on loopback: object storage as clouds offer it.
//!
//! `cargo xtask peers` installs them; `cargo xtask test` does so before the tests.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::program::{Drained, Listen, Place, Running};

/// What the peers' installation holds, such as `venv/bin/python`.
pub(crate) fn installed(path: &str) -> PathBuf {
    let cache = match std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache"),
    };
    let path = cache.join("plimsoll/peers").join(path);
    assert!(
        path.exists(),
        "{} is not there: run `cargo xtask peers`",
        path.display()
    );
    path
}

/// Asks the views of a warehouse by DuckDB, as a stranger does: by the script that the program prints,
/// over the Delta tables. Gives how many answers agree with ours; all have to.
///
/// Each of `ours` has what was asked and the rows; `secret` has DuckDB find a bucket.
pub(crate) fn asked_by_a_stranger(
    place: &Place,
    script: &str,
    ours: &[Value],
    secret: Option<&str>,
) -> usize {
    let [views, answers] = ["tables.sql", "asked.json"].map(|name| place.path().join(name));
    fs::write(&views, script).expect("written");
    fs::write(&answers, Value::from(ours).to_string()).expect("written");
    let stranger = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judges/stranger.py");
    let asked = Command::new(installed("duckdb-delta/venv/bin/python"))
        .args(["-B", stranger])
        .args([&views, &answers])
        .args(secret)
        .output()
        .expect("DuckDB starts");
    let said = String::from_utf8_lossy(&asked.stdout);
    let complaint = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success(), "{said}{complaint}");
    let count = said.lines().last().and_then(|line| line.split_once(' '));
    let (count, _) = count.expect("it ends with how many agree");
    count.parse().expect("a number")
}

/// A bucket in a storage server that ends with it.
pub(crate) struct Bucket {
    _server: Drained,
    /// Where the server listens.
    pub(crate) url: String,
    /// The URL of a prefix in it.
    pub(crate) warehouse: &'static str,
    /// The environment in which the program finds it.
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// The address that a server says it listens on, by the words before it.
fn address(server: &mut Running, words: &str) -> String {
    server.wait_for(words);
    let (_, address) = server
        .said()
        .rsplit_once("http://")
        .expect("it names a URL");
    let end = address.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
    format!("http://{}", &address[..end.unwrap_or(address.len())])
}

/// Runs a few lines of Python where the peers' packages are.
fn python(code: &str, arguments: &[&str]) {
    let done = Command::new(installed("venv/bin/python"))
        .args(["-c", code])
        .args(arguments)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{code}: {said}");
}

/// Starts Moto's server with a clock that is so many hours ahead.
const AHEAD: &str = "
import datetime, sys
import moto.core.utils as utils
real, ahead = utils.utcnow, datetime.timedelta(hours=int(sys.argv[1]))
utils.utcnow = lambda: real() + ahead
from moto.server import main
main(sys.argv[2:])
";

impl Bucket {
    /// Moto's S3.
    pub(crate) fn s3() -> Self {
        Self::of_moto(&mut Command::new(installed("venv/bin/moto_server")))
    }

    /// The same, with a clock that is so many hours ahead.
    pub(crate) fn s3_ahead(hours: i32) -> Self {
        let mut command = Command::new(installed("venv/bin/python"));
        Self::of_moto(command.args(["-c", AHEAD, &hours.to_string()]))
    }

    fn of_moto(command: &mut Command) -> Self {
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        let mut server = Running::start(command, Listen::ToProgress);
        let url = address(&mut server, "Running on");
        let make = "import sys, urllib.request as r; \
                    r.urlopen(r.Request(sys.argv[1], method='PUT'))";
        python(make, &[&format!("{url}/results")]);
        Self {
            _server: server.drain(),
            url: url.clone(),
            warehouse: "s3://results/team/warehouse",
            variables: vec![
                ("AWS_ENDPOINT_URL", url),
                ("AWS_REGION", "us-east-1".to_owned()),
                ("AWS_ACCESS_KEY_ID", "AKIAPLIMSOLLTEST".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-tests".to_owned()),
            ],
        }
    }

    /// The statement by which DuckDB finds a bucket of Moto's.
    pub(crate) fn secret_of_duckdb(&self) -> String {
        let variable = |wanted: &str| {
            let found = self.variables.iter().find(|(name, _)| *name == wanted);
            &found.expect("it is one of S3's").1
        };
        let [key, secret] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(variable);
        let endpoint = self.url.trim_start_matches("http://");
        format!(
            "CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', REGION 'us-east-1', \
             ENDPOINT '{endpoint}', URL_STYLE 'path', USE_SSL false)"
        )
    }

    /// Azurite's blob storage, with the key that all of its installations have.
    pub(crate) fn azure() -> Self {
        let mut command = Command::new(installed("node_modules/.bin/azurite-blob"));
        command.args(["--blobHost", "127.0.0.1", "--blobPort", "0"]);
        command.args(["--inMemoryPersistence", "--silent", "--disableTelemetry"]);
        // The client that makes the container is newer than the server.
        command.arg("--skipApiVersionCheck");
        let mut server = Running::start(&mut command, Listen::ToResults);
        let url = address(&mut server, "successfully listens on");
        let connection = format!(
            "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURITE_KEY};\
             BlobEndpoint={url}/devstoreaccount1;"
        );
        let make = "import sys; from azure.storage.blob import BlobServiceClient as c; \
                    c.from_connection_string(sys.argv[1]).create_container('results')";
        python(make, &[&connection]);
        Self {
            _server: server.drain(),
            url,
            warehouse: "az://results/team/warehouse",
            variables: vec![("AZURE_STORAGE_CONNECTION_STRING", connection)],
        }
    }
}

const AZURITE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/\
                           K1SZFPTOtr/KBHBeksoGMGw==";
