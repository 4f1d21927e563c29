//! Warehouses in object storage: real servers of it, and servers that refuse.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::between::{self, Between, Head, Passing, Rules};
use crate::encrypted::Terminator;
use crate::peers::{self, Bucket};
use crate::program::{Answer, Listen, Place, Running};
use crate::simulated::Simulated;

/// A place whose commands find storage by these variables alone.
pub(crate) fn in_environment(
    place: &Place,
    variables: &[(&str, String)],
    arguments: &[&str],
) -> Command {
    let mut command = place.command(arguments);
    for (name, _) in std::env::vars() {
        if ["AWS_", "AZURE_", "GOOGLE_", "STORAGE_", "SSL_"]
            .iter()
            .any(|cloud| name.starts_with(cloud))
        {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command
}

pub(crate) fn answer(place: &Place, variables: &[(&str, String)], arguments: &[&str]) -> Answer {
    let mut command = in_environment(place, variables, arguments);
    Answer::of(command.output().expect("the program starts"))
}

/// What is measured into a bucket can be asked there, by run after run, and nothing stays here.
fn a_bucket_holds_a_warehouse(bucket: &Bucket) {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let there = ["--warehouse", bucket.warehouse];
    let run = |arguments: &[&str]| {
        let arguments = [arguments, &there[..]].concat();
        let done = answer(&place, &bucket.variables, &arguments);
        // A machine that is busy measures nothing valid, and that is published as well.
        let ended = matches!(done.code, Some(0 | 5));
        assert!(ended, "{arguments:?}: {done:?}");
        done
    };
    for _ in 0..2 {
        run(&simulated.run(&["--requests", "12"]));
    }
    assert_eq!(place.spooled(), Vec::<String>::new());
    let counted = run(&[
        "sql",
        "select count(distinct run_id) as runs, count(*) as requests from requests",
        "--format",
        "ndjson",
    ]);
    // A probe and two stages each.
    assert_eq!(counted.json(), json!({"runs": 2, "requests": 50}));
    let listed = run(&["runs", "--json"]);
    assert!(listed.stdout.contains("smoke"), "{listed:?}");
    for kept in ["check", "optimize", "vacuum", "check"] {
        let done = run(&["warehouse", kept]);
        assert_eq!(done.code, Some(0), "{kept}: {done:?}");
    }
    let reported = run(&["report", "latest"]);
    assert!(reported.stdout.contains(bucket.warehouse), "{reported:?}");
    assert!(!place.path().join("plimsoll-data/warehouse").exists());
}

#[test]
fn s3_holds_a_warehouse() {
    a_bucket_holds_a_warehouse(&Bucket::s3());
}

#[test]
fn duckdb_reads_a_warehouse_in_s3() {
    let bucket = Bucket::s3();
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let there = |arguments: &[&str]| {
        let arguments = [arguments, &["--warehouse", bucket.warehouse]].concat();
        answer(&place, &bucket.variables, &arguments)
    };
    let run = there(&simulated.run(&["--requests", "12"]));
    assert!(matches!(run.code, Some(0 | 5)), "{run:?}");
    let ours = ["capacity", "answers"].map(|view| {
        let sql = format!("SELECT * FROM {view}");
        let rows = there(&["sql", &sql, "--format", "json"]).json();
        json!({"name": view, "rows": rows})
    });
    let script = there(&["warehouse", "views", "--dialect", "duckdb"]);
    let secret = bucket.secret_of_duckdb();
    let agree = peers::asked_by_a_stranger(&place, &script.stdout, &ours, Some(&secret));
    assert_eq!(agree, ours.len());
}

#[test]
fn azure_holds_a_warehouse() {
    a_bucket_holds_a_warehouse(&Bucket::azure());
}

#[test]
fn a_bucket_that_is_not_there_is_said_before_measuring() {
    for bucket in [Bucket::s3(), Bucket::azure()] {
        let place = Place::new();
        let simulated = Simulated::quick(&place);
        let elsewhere = bucket.warehouse.replace("results", "nowhere");
        let run = simulated.run(&["--warehouse", &elsewhere]);
        let refused = answer(&place, &bucket.variables, &run);
        refused.refuses(1, "does not exist", "create the bucket");
        let asked = ["sql", "select * from runs", "--warehouse", &elsewhere];
        answer(&place, &bucket.variables, &asked).refuses(1, "does not exist", "create the bucket");
        assert_eq!(simulated.end()["completed"], json!(0));
    }
}

/// A server of S3's protocol that gives one answer to every write, and has no objects.
struct Refusing {
    address: SocketAddr,
}

impl Refusing {
    fn start(status: &'static str, body: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || serve(stream, status, body));
            }
        });
        Self { address }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_SESSION_TOKEN", TOKEN.to_owned()),
        ]
    }
}

const KEY_ID: &str = "AKIAHIDDENHIDDEN";
const SECRET: &str = "hidden-hidden-hidden";
const TOKEN: &str = "hidden/session/token==";

/// Answers each request of a connection; a client that goes away ends it.
fn serve(stream: TcpStream, status: &str, body: &str) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let request = between::head(&mut reader)?;
        let body_length = between::length(&request).unwrap_or(0);
        io::copy(&mut reader.by_ref().take(body_length), &mut io::sink()).ok()?;
        let first = request.first()?;
        let listing = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        let (status, body) = match first.split_whitespace().next()? {
            "PUT" => (status, body),
            _ if first.contains("list-type") => ("200 OK", listing),
            _ => ("404 Not Found", ""),
        };
        write!(
            writer,
            "HTTP/1.1 {status}\r\netag: \"1\"\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
    }
}

/// Whatever a server repeats of a request, nobody gets to read the credentials.
#[test]
fn refusals_are_told_without_credentials() {
    let repeated = "<Error><Code>SignatureDoesNotMatch</Code><Message>The signature of \
                    hidden-hidden-hidden does not match</Message>\
                    <AWSAccessKeyId>AKIAHIDDENHIDDEN</AWSAccessKeyId>\
                    <StringToSign>hidden/session/token==</StringToSign></Error>";
    let expired = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.\
                   </Message><Token-0>hidden/session/token==</Token-0></Error>";
    for (status, body, error, help) in [
        (
            "403 Forbidden",
            repeated,
            "SignatureDoesNotMatch",
            "check the credentials",
        ),
        (
            "400 Bad Request",
            expired,
            "has expired",
            "renew the credentials",
        ),
        ("403 Forbidden", "", "403", "may not do it"),
        (
            "501 Not Implemented",
            "hidden-hidden-hidden",
            "does not create objects only where there is none",
            "conditional writes",
        ),
    ] {
        let server = Refusing::start(status, body);
        let place = Place::new();
        let simulated = Simulated::quick(&place);
        let run = simulated.run(&["--warehouse", "s3://results/x", "-vv"]);
        let refused = answer(&place, &server.variables(), &run);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        for hidden in [KEY_ID, SECRET, TOKEN] {
            assert!(!said.contains(hidden), "{hidden}: {refused:?}");
        }
        refused.refuses(1, error, help);
    }
}

/// Two writers would take each other's commits for their own there.
#[test]
fn variables_that_no_service_takes_are_refused_by_name() {
    let place = Place::new();
    for (name, value) in [
        ("AWS_ENDPOINT_URL", "nowhere"),
        ("AWS_ENDPOINT_URL", "http://user:a-password@127.0.0.1:1"),
        ("AWS_ACCESS_KEY_ID", "AKIAPLIMSOLL\n"),
    ] {
        let variables = [(name, value.to_owned())];
        for command in [&["runs"][..], &["warehouse", "init"]] {
            let command = [command, &["--warehouse", "s3://results/w"]].concat();
            let refused = answer(&place, &variables, &command);
            refused.refuses(1, name, "variable");
            assert!(!refused.stderr.contains("a-password"), "{refused:?}");
        }
    }
}

#[test]
fn a_bucket_without_conditional_writes_is_refused() {
    let server = Refusing::start("200 OK", "");
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let run = simulated.run(&["--warehouse", "s3://results/x"]);
    let refused = answer(&place, &server.variables(), &run);
    refused.refuses(1, "overwrites them", "conditional writes");
    assert_eq!(simulated.end()["completed"], json!(0));
}

/// Moto speaks S3's protocol, and Google's XML interface differs from it in the header that says
/// that there must be no such object, and in the one that says which version was written.
fn as_google(request: &mut Head) -> Passing {
    for line in request.iter_mut() {
        if line.eq_ignore_ascii_case("x-goog-if-generation-match: 0") {
            "if-none-match: *".clone_into(line);
        }
    }
    request.retain(|line| !line.to_ascii_lowercase().starts_with("authorization:"));
    // Moto wants somebody to ask, and checks no signature.
    request.push(format!(
        "authorization: AWS4-HMAC-SHA256 Credential={KEY_ID}/20260101/us-east-1/s3/aws4_request, \
         SignedHeaders=host, Signature=0"
    ));
    Passing::Whole
}

#[test]
fn google_holds_a_warehouse() {
    let mut bucket = Bucket::s3();
    let rules = Rules {
        request: Arc::new(as_google),
        answer: |answer| answer.push("x-goog-generation: 1".to_owned()),
    };
    let google = Between::before(&bucket.url, rules);
    bucket.warehouse = "gs://results/team/warehouse";
    bucket.variables = vec![("STORAGE_EMULATOR_HOST", google.url())];
    a_bucket_holds_a_warehouse(&bucket);
}

/// The variables of a bucket, at another endpoint.
pub(crate) fn at(bucket: &Bucket, endpoint: String) -> Vec<(&'static str, String)> {
    let mut variables = bucket.variables.clone();
    variables.retain(|(name, _)| *name != "AWS_ENDPOINT_URL");
    variables.push(("AWS_ENDPOINT_URL", endpoint));
    variables
}

#[test]
fn a_bucket_behind_tls_holds_a_warehouse() {
    let mut bucket = Bucket::s3();
    let place = Place::new();
    let behind = bucket.url.strip_prefix("http://").expect("a URL");
    let terminator = Terminator::before(behind.parse().expect("an address"), place.path());
    let endpoint = format!("https://localhost:{}", terminator.address.port());
    let authority = terminator.authority.display().to_string();
    bucket.variables = at(&bucket, endpoint);
    let stranger = answer(
        &place,
        &bucket.variables,
        &["sql", "select 1", "--warehouse", bucket.warehouse],
    );
    stranger.refuses(1, "certificate", "SSL_CERT_FILE");
    bucket.variables.push(("SSL_CERT_FILE", authority));
    a_bucket_holds_a_warehouse(&bucket);
}

/// A server that takes data files and says nothing: the run waits in its spool, and is in the
/// warehouse once the server answers again.
#[test]
fn storage_that_does_not_answer_is_waited_for_aloud() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let address = silent.local_addr().expect("it is bound");
    let variables = [
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ACCESS_KEY_ID", "AKIAPLIMSOLLTEST".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-tests".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ];
    let place = Place::new();
    for command in [
        &["sql", "select 1 from runs"][..],
        &["runs"],
        &["report", "latest"],
    ] {
        let command = [command, &["--warehouse", "s3://results/w"]].concat();
        let mut command = in_environment(&place, &variables, &command);
        let mut waiting = Running::start(&mut command, Listen::ToProgress);
        waiting.wait_for("opening the warehouse ... 2 s");
        waiting.signal(Signal::SIGINT);
        assert_eq!(waiting.end().code, Some(130));
    }
}

#[test]
fn storage_that_does_not_answer_loses_nothing() {
    let bucket = Bucket::s3();
    let stalling = Rules::of(|request| match request[0].starts_with("PUT ") {
        true if request[0].contains("/part-") => Passing::Held,
        _ => Passing::Whole,
    });
    let stalling = Between::before(&bucket.url, stalling);
    let mut variables = at(&bucket, stalling.url());
    variables.push(("AWS_TIMEOUT", "1s".to_owned()));
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let there = ["--warehouse", bucket.warehouse];
    let run = [&simulated.run(&["--requests", "12"])[..], &there].concat();
    let held = answer(&place, &variables, &run);
    held.refuses(1, "no answer in time", "later");
    assert_eq!(place.spooled().len(), 1, "{held:?}");
    let counted = "select count(*) as runs, sum(sent) as sent from stages group by run_id";
    let asked = [&["sql", counted, "--format", "ndjson"], &there[..]].concat();
    let before = answer(&place, &variables, &asked);
    assert_eq!(before.code, Some(0), "{before:?}");
    assert_eq!(before.stdout, "", "nobody sees a part of it: {before:?}");
    let well = answer(
        &place,
        &bucket.variables,
        &[&["warehouse", "check"], &there[..]].concat(),
    );
    assert_eq!(well.code, Some(0), "{well:?}");
    assert_eq!(place.spooled(), Vec::<String>::new());
    let after = answer(&place, &bucket.variables, &asked);
    assert_eq!(after.json()["runs"], json!(3), "{after:?}");
}
