//! The few requests that chores themselves make: one request, one reply, connection closed.
//!
//! They are of HTTP/1.0, in which a body comes as it is: a server may cut one of HTTP/1.1 into
//! chunks.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Status and body of one GET over loopback.
///
/// # Errors
/// Where nothing listens, or what came back is no HTTP reply.
pub(crate) fn get(server: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    reply(
        server,
        &format!("GET {path} HTTP/1.0\r\nhost: {server}\r\n"),
        "",
    )
}

/// Status and body of one POST of JSON over loopback.
///
/// # Errors
/// As [`get`].
pub(crate) fn post(server: SocketAddr, path: &str, json: &str) -> io::Result<(u16, String)> {
    let length = json.len();
    let head = format!(
        "POST {path} HTTP/1.0\r\nhost: {server}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n"
    );
    reply(server, &head, json)
}

fn reply(server: SocketAddr, head: &str, body: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "{head}\r\n{body}")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    parse(&reply).ok_or_else(|| io::Error::other(format!("no HTTP reply from {server}")))
}

fn parse(reply: &str) -> Option<(u16, String)> {
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// A loopback address that nothing listens on at this moment.
///
/// # Errors
/// Where the system has no port left.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_come_apart() {
        let reply = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno";
        assert_eq!(parse(reply), Some((503, "no".to_owned())));
        assert_eq!(parse("SSH-2.0-x\r\n"), None);
    }
}
