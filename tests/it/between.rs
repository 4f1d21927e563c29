//! A proxy between the program and a server of HTTP, which changes or holds back what passes.

use std::io::{self, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// The first line and the headers of a request or an answer, without their line ends.
pub(crate) type Head = Vec<String>;

/// What becomes of the requests and answers.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Changes a request; where it says false the request is never answered.
    pub(crate) request: fn(&mut Head) -> bool,
    /// Changes an answer.
    pub(crate) answer: fn(&mut Head),
}

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
                thread::spawn(move || pass_all(client, behind, rules));
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
fn pass_all(client: TcpStream, behind: SocketAddr, rules: Rules) -> Option<()> {
    let mut to_client = client.try_clone().ok()?;
    let mut from_client = BufReader::new(client);
    loop {
        let mut request = head(&mut from_client)?;
        let body = length(&request).unwrap_or(0);
        let is_head = request.first()?.starts_with("HEAD ");
        if !(rules.request)(&mut request) {
            // Nothing comes back for as long as somebody waits.
            io::copy(&mut from_client, &mut io::sink()).ok()?;
            return None;
        }
        request.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        request.push("connection: close".to_owned());
        let mut server = TcpStream::connect(behind).ok()?;
        send(&mut server, &request, &mut from_client.by_ref().take(body))?;
        let mut from_server = BufReader::new(server);
        let mut answer = head(&mut from_server)?;
        let has_body = !is_head && !answer.first()?.contains(" 204");
        let body = if has_body { length(&answer)? } else { 0 };
        answer.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        (rules.answer)(&mut answer);
        send(&mut to_client, &answer, &mut from_server.take(body))?;
    }
}

fn send(to: &mut TcpStream, head: &Head, body: &mut impl Read) -> Option<()> {
    let mut text = head.join("\r\n");
    text.push_str("\r\n\r\n");
    to.write_all(text.as_bytes()).ok()?;
    io::copy(body, to).ok().map(drop)
}
