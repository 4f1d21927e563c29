//! How much of what was sent the other end's system has.
//!
//! A server that closes a connection sends an end, whether or not a request is on its way to it. The
//! system of a closed connection takes no more bytes, and says so: a request of which it
//! acknowledged nothing never came before the server's eyes.

use std::net::TcpStream;

use nix::libc;
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};

/// As many words of `struct tcp_info` as Linux 4.1 has: up to `tcpi_bytes_acked`.
const WORDS: usize = 16;
const BYTES_ACKED: usize = WORDS - 1;

sockopt_impl!(
    /// What the kernel knows of a connection.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    [u64; WORDS]
);

/// Bytes that were sent and acknowledged since the connection began; `None` where the system does not
/// say.
pub(super) fn bytes_acknowledged(socket: &TcpStream) -> Option<u64> {
    getsockopt(socket, TcpInfo)
        .ok()
        .map(|words| words[BYTES_ACKED])
}
