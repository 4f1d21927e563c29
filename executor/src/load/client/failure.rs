//! What the failure of a call says: of the subject, of the generator, or of a stale connection.

use std::io;

use crate::load::reply::{BodyEnd, TlsFault};

/// How things stood when a request was handed to a connection.
pub(super) struct Begun {
    /// The connection carried a request before.
    pub(super) reused: bool,
    /// How long it had carried none.
    pub(super) idle_ns: i64,
    /// When this one was handed to it.
    pub(super) at_ns: i64,
    /// Reads that had brought bytes until then.
    pub(super) reads: u64,
}

impl Begun {
    /// Whether the request met a connection that the server had closed, or was just closing: since
    /// it lay idle, or right after the reply before, as some servers do without saying so. Sending
    /// such a request again hides no failure of the subject. Anything else does: a connection that
    /// broke in use, after the server had time to work.
    pub(super) fn was_stale(&self, error: &hyper::Error, now_ns: i64, reads: u64) -> bool {
        let unanswered = self.reused && reads == self.reads;
        let shows_within = match self.idle_ns >= IDLE_NS {
            true => IDLE_NS,
            false => CROSSING_NS,
        };
        unanswered && (error.is_canceled() || now_ns - self.at_ns < shows_within)
    }
}

/// Servers close connections that have lain idle for some seconds, none sooner than this; and
/// what they had closed already shows within this, on any network.
const IDLE_NS: i64 = 1_000_000_000;

/// The end of a connection that crosses a request on its way shows within this. A server that fails by
/// the request does so again on the new connection, and that counts.
const CROSSING_NS: i64 = 50_000_000;

/// Whether the generator ran out of something, the subject was not there, or TLS failed.
pub(super) fn connect_failure(error: &io::Error) -> BodyEnd {
    let text = error.to_string();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(error) = inner {
        let fault = match error {
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                TlsFault::Certificate
            }
            rustls::Error::InvalidMessage(_) => TlsFault::NoTls,
            _ => TlsFault::Other,
        };
        return BodyEnd::TlsFailed { error: text, fault };
    }
    match is_own(error) {
        true => BodyEnd::OwnFailure { error: text },
        false => BodyEnd::Failed { error: text },
    }
}

/// Whether this machine ran out of something that a connection needs.
pub(super) fn is_own(error: &io::Error) -> bool {
    use nix::libc::{EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(
        error.raw_os_error(),
        Some(EADDRNOTAVAIL | EMFILE | ENFILE | ENOBUFS | ENOMEM)
    )
}

/// The cause that a person understands: the last of the chain.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
