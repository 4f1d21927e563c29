//! A proxy between the program and a server of HTTP, which changes or holds back what passes.

use std::io::{self, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// The first line and the headers of a request or an answer, without their line ends.
pub(crate) type Head = Vec<String>;

/// What becomes of a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    /// It is passed on, and so is the answer.
    Whole,
    /// It is not passed on, and never answered.
    Held,
    /// It is not passed on: 503.
    Refused,
    /// It is not passed on: 400, which nobody tries again.
    Rejected,
    /// It is not passed on: the token was valid once.
    Expired,
    /// It is done, and the connection is lost before the answer comes.
    Lost,
    /// It is done, and the answer is 503.
    DoneAndRefused,
    /// It is done, and the connection is lost in the middle of the answer.
    Torn,
}

/// What the proxy does.
#[derive(Clone)]
pub(crate) struct Rules {
    /// Changes a request, and says what becomes of it.
    pub(crate) request: Arc<dyn Fn(&mut Head) -> Passing + Send + Sync>,
    /// Changes an answer.
    pub(crate) answer: fn(&mut Head),
}

impl Rules {
    /// Passes all on as it is, but for what `request` says.
    pub(crate) fn of(request: impl Fn(&mut Head) -> Passing + Send + Sync + 'static) -> Self {
        Self {
            request: Arc::new(request),
            answer: |_| {},
        }
    }
}

/// Answers of a server that is overloaded, and of one that will not.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const REJECTED: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

/// What S3 answers when a session's token is past its time.
const EXPIRED: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 90\r\n\r\n\
    <Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>";

/// A proxy that listens until the tests end.
pub(crate) struct Between {
    address: SocketAddr,
}

impl Between {
    /// Stands before the server at this URL, `http://` and an address.
    pub(crate) fn before(url: &str, rules: Rules) -> Self {
        let behind = url.strip_prefix("http://").expect("a URL");
        let behind = behind.parse().expect("an address");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let rules = rules.clone();
                thread::spawn(move || pass_all(client, behind, &rules));
            }
        });
        Self { address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The next head; `None` where the other side is gone.
pub(crate) fn head(from: &mut impl io::BufRead) -> Option<Head> {
    let mut head = Head::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" if head.is_empty() => {}
            "" => return Some(head),
            text => head.push(text.to_owned()),
        }
    }
}

/// The value of a header, by its name in small letters.
pub(crate) fn header<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
    head.iter().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.to_ascii_lowercase() == name).then(|| value.trim())
    })
}

/// How many bytes follow, where the head says.
pub(crate) fn length(head: &Head) -> Option<u64> {
    header(head, "content-length")?.parse().ok()
}

/// Passes on the requests of one connection, each to a connection of its own.
fn pass_all(client: TcpStream, behind: SocketAddr, rules: &Rules) -> Option<()> {
    let mut to_client = client.try_clone().ok()?;
    let mut from_client = BufReader::new(client);
    loop {
        let mut request = head(&mut from_client)?;
        let body = length(&request).unwrap_or(0);
        let is_head = request.first()?.starts_with("HEAD ");
        let passing = (rules.request)(&mut request);
        match passing {
            Passing::Held => {
                // Nothing comes back for as long as somebody waits.
                io::copy(&mut from_client, &mut io::sink()).ok()?;
                return None;
            }
            Passing::Refused | Passing::Rejected | Passing::Expired => {
                io::copy(&mut from_client.by_ref().take(body), &mut io::sink()).ok()?;
                let answer = match passing {
                    Passing::Refused => BUSY,
                    Passing::Expired => EXPIRED,
                    _ => REJECTED,
                };
                to_client.write_all(answer).ok()?;
                continue;
            }
            _ => {}
        }
        request.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        request.push("connection: close".to_owned());
        let mut server = TcpStream::connect(behind).ok()?;
        send(&mut server, &request, &mut from_client.by_ref().take(body))?;
        let mut from_server = BufReader::new(server);
        let mut answer = head(&mut from_server)?;
        let has_body = !is_head && !answer.first()?.contains(" 204");
        // Without a length it ends with the connection.
        let has_end = !has_body || length(&answer).is_some();
        let body = match has_body {
            true => length(&answer).unwrap_or(u64::MAX),
            false => 0,
        };
        answer.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        if !has_end {
            answer.push("connection: close".to_owned());
        }
        (rules.answer)(&mut answer);
        let mut from_server = from_server.take(body);
        match passing {
            Passing::Lost => {
                io::copy(&mut from_server, &mut io::sink()).ok()?;
                return None;
            }
            Passing::DoneAndRefused => {
                io::copy(&mut from_server, &mut io::sink()).ok()?;
                to_client.write_all(BUSY).ok()?;
            }
            Passing::Torn => {
                send(&mut to_client, &answer, &mut from_server.take(body / 2))?;
                return None;
            }
            _ => send(&mut to_client, &answer, &mut from_server)?,
        }
        if !has_end {
            return None;
        }
    }
}

fn send(to: &mut TcpStream, head: &Head, body: &mut impl Read) -> Option<()> {
    let mut text = head.join("\r\n");
    text.push_str("\r\n\r\n");
    to.write_all(text.as_bytes()).ok()?;
    io::copy(body, to).ok().map(drop)
}
