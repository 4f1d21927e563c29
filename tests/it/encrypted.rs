//! Subjects behind TLS.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use serde_json::json;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::program::{Answer, Place};
use crate::simulated::Simulated;

/// What the simulator of four slots calls its model.
const MODEL: &str = "sim-4";

/// A server with a certificate of its own that hands all it decrypts to another.
pub(crate) struct Terminator {
    pub(crate) address: SocketAddr,
    /// The PEM file of the certificate, which is its own authority.
    pub(crate) authority: PathBuf,
}

impl Terminator {
    /// Stands before `behind` until the test ends.
    pub(crate) fn before(behind: SocketAddr, folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a certificate can be made");
        let authority = folder.join("authority.pem");
        std::fs::write(&authority, made.cert.pem()).expect("it can be written");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows them")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("certificate and key fit");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(serve(listener, &acceptor, behind));
        });
        Self { address, authority }
    }

    fn run(&self, place: &Place, url: &str, variables: &[(&str, &Path)]) -> Answer {
        let mut command = place.command(&["run", "--url", url, "--model", MODEL, "--json"]);
        command
            .env_remove("SSL_CERT_FILE")
            .env_remove("SSL_CERT_DIR");
        command.envs(variables.iter().copied());
        Answer::of(command.output().expect("the program starts"))
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/v1", self.address.port())
    }
}

async fn serve(listener: TcpListener, acceptor: &TlsAcceptor, behind: SocketAddr) {
    listener.set_nonblocking(true).expect("a listener can be");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that does not trust it leaves, which is what some tests want.
            let Ok(mut clear) = acceptor.accept(stream).await else {
                return;
            };
            let mut inner = tokio::net::TcpStream::connect(behind)
                .await
                .expect("it serves");
            tokio::io::copy_bidirectional(&mut clear, &mut inner)
                .await
                .ok();
        });
    }
}

fn plain_address(simulated: &Simulated) -> SocketAddr {
    let address = simulated
        .url
        .strip_prefix("http://")
        .and_then(|url| url.strip_suffix("/v1"));
    address
        .expect("it serves under /v1")
        .parse()
        .expect("an address")
}

#[test]
fn a_server_behind_tls_is_measured_like_any_other() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let terminator = Terminator::before(plain_address(&simulated), place.path());
    let trust = [("SSL_CERT_FILE", terminator.authority.as_path())];
    let answer = terminator.run(&place, &terminator.url("localhost"), &trust);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let rows = place.value("select count(*) from raw.requests");
    assert_eq!(rows, place.value("select sum(ok) from reports.stages"));
    let endpoint = terminator.url("localhost");
    assert_eq!(
        place.value("select endpoint from reports.runs"),
        json!(endpoint)
    );
    // All but the first reads, which may come before the kernel begins to stamp.
    let stamped = place.value(
        "select count(*) from raw.requests where timestamp_source = 'kernel' and request_id > 0",
    );
    assert_eq!(json!(stamped.as_i64().map(|stamped| stamped + 1)), rows);
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused_with_the_way_out() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let terminator = Terminator::before(plain_address(&simulated), place.path());
    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).expect("a certificate");
    let stranger = place.path().join("stranger.pem");
    std::fs::write(&stranger, other.cert.pem()).expect("it can be written");
    for (host, authority) in [
        ("localhost", &stranger),
        // Trusted, and of another name.
        ("127.0.0.1", &terminator.authority),
    ] {
        let url = terminator.url(host);
        let answer = terminator.run(&place, &url, &[("SSL_CERT_FILE", authority)]);
        answer.refuses(1, "certificate", "SSL_CERT_FILE");
    }
}

#[test]
fn a_server_without_tls_is_told_from_one_with() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let terminator = Terminator::before(plain_address(&simulated), place.path());
    let plain = simulated.url.replacen("http:", "https:", 1);
    let trust = [("SSL_CERT_FILE", terminator.authority.as_path())];
    terminator
        .run(&place, &plain, &trust)
        .refuses(1, &plain, &simulated.url);
}
