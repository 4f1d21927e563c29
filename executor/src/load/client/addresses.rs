//! The addresses of a host, in turn.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::failure::is_own;

/// Where connections go. Behind a name with several addresses may be several servers: each new
/// connection begins at the next of them, so that all have their share of the load. Those of the
/// other family are for when none answers: they are mostly the same servers again.
#[derive(Debug)]
pub(super) struct Addresses {
    first: Vec<SocketAddr>,
    others: Vec<SocketAddr>,
    turn: Cell<usize>,
}

impl Addresses {
    pub(super) fn new(addresses: Vec<SocketAddr>) -> Self {
        let family = addresses.first().map(SocketAddr::is_ipv4);
        let (first, others) = addresses
            .into_iter()
            .partition(|address| Some(address.is_ipv4()) == family);
        Self {
            first,
            others,
            turn: Cell::new(0),
        }
    }

    /// The order in which the next connection tries them.
    fn in_turn(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let (later, sooner) = self.first.split_at(turn % self.first.len().max(1));
        sooner.iter().chain(later).chain(&self.others).copied()
    }

    /// Connects to the first that answers.
    ///
    /// # Errors
    /// None does. What a server did says more than that this machine cannot reach an address.
    pub(super) async fn reach(&self) -> io::Result<TcpStream> {
        let mut failed: Option<io::Error> = None;
        for address in self.in_turn() {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = Some(more_telling(failed, error)),
            }
        }
        Err(failed.unwrap_or_else(|| io::Error::other("the host has no address")))
    }
}

/// The first failure, but for one of this machine where another is not.
fn more_telling(before: Option<io::Error>, error: io::Error) -> io::Error {
    match before {
        Some(before) if !is_own(&before) || is_own(&error) => before,
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_begin_at_each_address_in_turn_and_other_families_come_last() {
        let texts = ["10.0.0.1:80", "[::1]:80", "10.0.0.2:80", "10.0.0.3:80"];
        let parsed = texts.map(|text| text.parse().expect("an address"));
        let addresses = Addresses::new(parsed.to_vec());
        let next = || -> Vec<String> {
            let order = addresses.in_turn();
            order.map(|address| address.to_string()).collect()
        };
        let (a, six, b, c) = (texts[0], texts[1], texts[2], texts[3]);
        assert_eq!(next(), [a, b, c, six]);
        assert_eq!(next(), [b, c, a, six]);
        assert_eq!(next(), [c, a, b, six]);
        assert_eq!(next(), [a, b, c, six]);
        assert_eq!(Addresses::new(Vec::new()).in_turn().count(), 0);
    }

    #[test]
    fn what_a_server_did_is_told_before_what_this_machine_cannot() {
        use nix::libc::{EADDRNOTAVAIL, ECONNREFUSED, EHOSTUNREACH};
        let told = |codes: &[i32]| {
            let errors = codes.iter().copied().map(io::Error::from_raw_os_error);
            let told = errors.fold(None, |before, error| Some(more_telling(before, error)));
            told.and_then(|error| error.raw_os_error())
        };
        assert_eq!(told(&[EADDRNOTAVAIL]), Some(EADDRNOTAVAIL));
        assert_eq!(told(&[ECONNREFUSED, EADDRNOTAVAIL]), Some(ECONNREFUSED));
        assert_eq!(told(&[EADDRNOTAVAIL, ECONNREFUSED]), Some(ECONNREFUSED));
        assert_eq!(told(&[EHOSTUNREACH, ECONNREFUSED]), Some(EHOSTUNREACH));
    }

    #[tokio::test]
    async fn an_address_that_answers_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let refused = listener.local_addr().expect("an address");
        drop(listener);
        let nobody = Addresses::new(vec![refused]).reach().await;
        let error = nobody.expect_err("nobody is there");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let there = listener.local_addr().expect("an address");
        let both = Addresses::new(vec![refused, there]);
        for _ in 0..2 {
            let stream = both.reach().await.expect("one answers");
            assert_eq!(stream.peer_addr().expect("a peer"), there);
        }
    }
}
