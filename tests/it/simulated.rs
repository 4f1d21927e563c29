//! Model servers to measure: the program's own simulator, and things that are no model server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdout, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::program::Place;

/// `plimsoll simulate` as a process of its own; killed when dropped.
pub(crate) struct Simulated {
    child: Child,
    says: BufReader<ChildStdout>,
    pub(crate) url: String,
    pub(crate) model: String,
}

impl Simulated {
    /// Four slots that answer within milliseconds.
    pub(crate) fn quick(place: &Place) -> Self {
        Self::start(place, &["--slots", "4", "--ttft", "5ms", "--itl", "1ms"])
    }

    /// A simulator with the given flags.
    pub(crate) fn start(place: &Place, flags: &[&str]) -> Self {
        Self::start_with(place, flags, &[])
    }

    /// A simulator with the given flags and variables.
    pub(crate) fn start_with(place: &Place, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = place
            .command(&["simulate", "--json", "--port", "0"])
            .args(flags)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the simulator starts");
        let mut says = BufReader::new(child.stdout.take().expect("it is piped"));
        let listening = said(&mut says);
        let text = |key: &str| listening[key].as_str().expect("a text").to_owned();
        Self {
            child,
            says,
            url: text("url"),
            model: text("model"),
        }
    }

    /// Arguments that measure it.
    pub(crate) fn run<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let subject = ["run", "--url", &self.url, "--model", &self.model];
        [&subject[..], more].concat()
    }

    /// Ends it as a service manager would; what it says it did.
    pub(crate) fn end(mut self) -> Value {
        let id = i32::try_from(self.child.id()).expect("a process id is small");
        kill(Pid::from_raw(id), Signal::SIGTERM).expect("it is under way");
        let totals = said(&mut self.says);
        let status = self.child.wait().expect("it can be waited for");
        assert!(status.success(), "the simulator ended with {status}");
        totals
    }
}

fn said(says: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    says.read_line(&mut line).expect("it writes UTF-8");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

impl Drop for Simulated {
    fn drop(&mut self) {
        // Gone already where the test ended it.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A server that gives every request the same bytes, for as long as the test runs.
pub(crate) fn server_that_says(reply: &'static str) -> SocketAddr {
    server_that_answers(move |_| reply.to_owned())
}

/// A server that answers each request as it is told to, and then closes its connection.
pub(crate) fn server_that_answers(answer: impl Fn(&str) -> String + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("loopback works");
            let mut request = [0; 65_536];
            // A client may leave at any time.
            if let Ok(bytes) = stream.read(&mut request) {
                let request = String::from_utf8_lossy(&request[..bytes]);
                stream.write_all(answer(&request).as_bytes()).ok();
            }
        }
    });
    address
}

/// An address that nothing listens on.
pub(crate) fn nobody() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("it is bound")
}
