//! The floor client: the fewest system calls that can do the generator's work.
//!
//! One thread, one epoll, keep-alive connections, one `read` for each wake-up of a connection and
//! one `write` for each request. It looks at a reply only as far as it must: for the first content
//! and for the end. What it shows is the machine's limit, not a product.

use std::io::{ErrorKind, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::load::{FirstToken, Load, Measured};
use crate::process::{monotonic_ns, thread_cpu_ns};
use scan::Scan;

mod scan;

/// How long requests may take to end once no more are sent.
const DRAIN: Duration = Duration::from_secs(30);

/// Sends the load and returns what the client saw.
///
/// # Errors
/// Where a connection fails: the floor client measures a healthy server only.
pub(crate) fn run(load: &Load, server: SocketAddr, model: &str) -> Result<Measured> {
    let mut client = Client::new(RequestText::new(load, server, model))?;
    let start_ns = monotonic_ns();
    let ramp_ns = nanoseconds(load.ramp);
    let measured_ns = start_ns + ramp_ns;
    let stop_ns = measured_ns + nanoseconds(load.duration);

    for stream in 0..load.streams {
        let due_ns = start_ns + ramp_ns * stream as i64 / load.streams as i64;
        client.serve_until(due_ns)?;
        client.connect(server)?;
    }
    client.serve_until(measured_ns)?;
    client.ended.clear();
    let cpu_ns = thread_cpu_ns();

    client.serve_until(stop_ns)?;
    let first_tokens = mem::take(&mut client.ended);
    let cpu_ns = thread_cpu_ns() - cpu_ns;
    client.drain(stop_ns + nanoseconds(DRAIN))?;
    Ok(Measured {
        requests_per_second: first_tokens.len() as f64 / load.duration.as_secs_f64(),
        first_tokens,
        cpu_share: Some(cpu_ns as f64 / nanoseconds(load.duration) as f64),
        peak_mb: None,
    })
}

struct Client {
    epoll: Epoll,
    connections: Vec<Connection>,
    request: RequestText,
    buffer: Vec<u8>,
    /// Requests whose reply has ended.
    ended: Vec<FirstToken>,
}

struct Connection {
    stream: TcpStream,
    /// The id of the request in flight; empty where none is.
    id: String,
    scan: Scan,
}

impl Client {
    fn new(request: RequestText) -> Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("no epoll")?,
            connections: Vec::new(),
            request,
            buffer: vec![0; 64 * 1024],
            ended: Vec::new(),
        })
    }

    fn connect(&mut self, server: SocketAddr) -> Result<()> {
        let stream = TcpStream::connect(server).context("the floor client cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let number = self.connections.len();
        let interest = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
        self.epoll.add(&stream, interest)?;
        self.connections.push(Connection {
            stream,
            id: String::new(),
            scan: Scan::default(),
        });
        self.send(number)
    }

    fn send(&mut self, number: usize) -> Result<()> {
        let connection = &mut self.connections[number];
        connection.scan = Scan::default();
        let text = self.request.next(&mut connection.id);
        let sent = connection
            .stream
            .write(text)
            .context("the floor client cannot send")?;
        if sent < text.len() {
            bail!(
                "a request of {} bytes did not fit the socket's buffer",
                text.len()
            );
        }
        Ok(())
    }

    /// Reads replies, and sends the next request after each, until a moment.
    fn serve_until(&mut self, until_ns: i64) -> Result<()> {
        loop {
            let left_ns = until_ns - monotonic_ns();
            if left_ns <= 0 {
                return Ok(());
            }
            for number in self.ended_by(left_ns)? {
                self.send(number)?;
            }
        }
    }

    /// Reads the replies that are under way and sends no more.
    fn drain(&mut self, until_ns: i64) -> Result<()> {
        let mut in_flight = self.connections.len();
        while in_flight > 0 {
            let left_ns = until_ns - monotonic_ns();
            if left_ns <= 0 {
                bail!(
                    "{in_flight} replies did not end within {} s",
                    DRAIN.as_secs()
                );
            }
            in_flight -= self.ended_by(left_ns)?.len();
        }
        Ok(())
    }

    /// Waits once, reads once from every connection that has bytes, and returns those whose reply
    /// has ended.
    fn ended_by(&mut self, left_ns: i64) -> Result<Vec<usize>> {
        let mut ready = [EpollEvent::empty(); 256];
        let milliseconds = u16::try_from((left_ns + 999_999) / 1_000_000).unwrap_or(u16::MAX);
        let count = match self
            .epoll
            .wait(&mut ready, EpollTimeout::from(milliseconds))
        {
            Err(nix::errno::Errno::EINTR) => 0,
            other => other.context("epoll failed")?,
        };
        let mut ended = Vec::new();
        for event in &ready[..count] {
            let number = event.data() as usize;
            if self.read(number)? {
                ended.push(number);
            }
        }
        Ok(ended)
    }

    /// One read; true where it brought the end of the reply.
    fn read(&mut self, number: usize) -> Result<bool> {
        let connection = &mut self.connections[number];
        let read = match connection.stream.read(&mut self.buffer) {
            Ok(0) => bail!("the server closed a connection of the floor client"),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("the floor client cannot read"),
        };
        let at_ns = monotonic_ns();
        let ended = connection.scan.feed(&self.buffer[..read], at_ns);
        if ended {
            let Some(at_ns) = connection.scan.first_token_ns else {
                bail!("a reply to the floor client had no content");
            };
            let request_id = mem::take(&mut connection.id);
            self.ended.push(FirstToken { request_id, at_ns });
        }
        Ok(ended)
    }
}

/// A request's bytes, of which only the id changes.
struct RequestText {
    before_id: Vec<u8>,
    after_id: Vec<u8>,
    sent: u64,
    text: Vec<u8>,
}

impl RequestText {
    fn new(load: &Load, server: SocketAddr, model: &str) -> Self {
        let body = serde_json::json!({
            "model": model,
            "messages": [{"role": "user", "content": "one two three four five six seven eight"}],
            "max_tokens": load.output_tokens,
            "stream": true,
            "stream_options": {"include_usage": true},
        })
        .to_string();
        let before_id = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {server}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nx-request-id: ",
            body.len(),
        );
        Self {
            before_id: before_id.into_bytes(),
            after_id: format!("\r\n\r\n{body}").into_bytes(),
            sent: 0,
            text: Vec::new(),
        }
    }

    /// The bytes of the next request, whose id goes into `id`.
    fn next(&mut self, id: &mut String) -> &[u8] {
        *id = format!("floor/{}", self.sent);
        self.sent += 1;
        self.text.clear();
        self.text.extend_from_slice(&self.before_id);
        self.text.extend_from_slice(id.as_bytes());
        self.text.extend_from_slice(&self.after_id);
        &self.text
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
