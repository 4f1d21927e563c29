//! One request and its reply over keep-alive HTTP/1.1.
//!
//! A connection and the reply on it are driven by one task, turn by turn: a
//! piece of the body is taken before the connection may read again, so that
//! the receive time of the last read is that of the piece.

mod addresses;
mod failure;
mod turns;

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION,
    TRANSFER_ENCODING, USER_AGENT,
};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use plimsoll_ingest::TimestampSource;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::clock::RunClock;
use super::endpoint::Endpoint;
use super::reply::{BodyEnd, Reply};
use super::stamped::{StampedStream, Stamping, Stamps};
use addresses::Addresses;
use failure::{Begun, connect_failure, innermost};
use turns::Turns;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("plimsoll/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// How long the body of a reply that said `[DONE]` may still take to end. Then its connection is
/// given up, and the reply is as complete as it was.
const REST: Duration = Duration::from_millis(250);
const ANY_REPLY: HeaderValue = HeaderValue::from_static("text/event-stream, application/json");

/// A connection's driver, over plain TCP or over TLS.
enum Driver {
    Plain(Box<http1::Connection<TokioIo<StampedStream>, Full<Bytes>>>),
    Tls(Box<http1::Connection<TokioIo<TlsStream<StampedStream>>, Full<Bytes>>>),
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        match self {
            Self::Plain(connection) => Pin::new(connection).poll(cx),
            Self::Tls(connection) => Pin::new(connection).poll(cx),
        }
    }
}

/// An open connection.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
    stamps: Rc<Stamps>,
    /// Since when it has carried nothing, in ns since the run's start.
    idle_since_ns: i64,
    /// What the driver ended with, once it has ended.
    closed: bool,
    turns: Turns,
}

impl Connection {
    /// Lets the connection work until it has to wait.
    fn advance(&mut self, cx: &mut Context<'_>) {
        if !self.closed && self.driver.poll(cx).is_ready() {
            self.closed = true;
        }
    }

    /// Waits for `poll` to be ready while the connection works beside it: in each turn the
    /// connection first, which hands on one piece at most, then whoever waits for the piece.
    async fn drive<T>(&mut self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let Self {
            driver,
            closed,
            turns,
            ..
        } = self;
        poll_fn(|cx| {
            turns.poll(cx, |cx| {
                if !*closed && driver.poll(cx).is_ready() {
                    *closed = true;
                }
                poll(cx)
            })
        })
        .await
    }

    /// Whether an idle connection may carry another request.
    async fn is_usable(&mut self) -> bool {
        poll_fn(|cx| {
            self.advance(cx);
            Poll::Ready(!self.closed && self.sender.is_ready())
        })
        .await
    }
}

/// What takes a reply as it comes.
pub trait ReplySink {
    /// The status line and content type, with the receive time of the first byte.
    fn on_head(&mut self, at_ns: i64, http_status: u16, content_type: Option<&str>);
    /// Where else the reply says that the answer lies.
    fn on_location(&mut self, _: &str) {}
    /// A piece of the body, with the receive time of the read that brought it.
    fn on_chunk(&mut self, at_ns: i64, bytes: &[u8]);
    /// Whether it has said that it is complete, although its body goes on.
    fn is_done(&self) -> bool {
        false
    }
}

impl ReplySink for Reply {
    fn on_head(&mut self, at_ns: i64, http_status: u16, content_type: Option<&str>) {
        Reply::on_head(self, at_ns, http_status, content_type);
    }

    fn on_location(&mut self, location: &str) {
        Reply::on_location(self, location);
    }

    fn on_chunk(&mut self, at_ns: i64, bytes: &[u8]) {
        Reply::on_chunk(self, at_ns, bytes);
    }

    fn is_done(&self) -> bool {
        Reply::is_done(self)
    }
}

/// A reply that is no completion, kept as it is: the first 1 MiB of it.
#[derive(Debug, Default)]
pub struct Document {
    /// The HTTP status; 0 where no answer came.
    pub http_status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Document {
    const LIMIT: usize = 1 << 20;
}

impl ReplySink for Document {
    fn on_head(&mut self, _: i64, http_status: u16, _: Option<&str>) {
        self.http_status = http_status;
    }

    fn on_chunk(&mut self, _: i64, bytes: &[u8]) {
        let room = Self::LIMIT.saturating_sub(self.body.len());
        self.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// What a request is to carry.
#[derive(Debug)]
pub struct Call {
    /// Path below the endpoint's base.
    pub path: &'static str,
    /// JSON body of a POST; a GET has none.
    pub body: Option<Bytes>,
    /// Name of the request in headers, so that servers' logs can be joined.
    pub request_id: String,
}

/// What became of a call, beside its reply.
#[derive(Debug)]
pub struct CallEnd {
    /// How the body ended.
    pub end: BodyEnd,
    /// When the last byte was received, or the mark that ends the reply where its body went on
    /// after it; `None` where no byte was.
    pub received_ns: Option<i64>,
    /// When the call was over: the last byte of a body that came to its end, or the end of the
    /// connection where nothing else ends the body; else the moment when no more was waited for.
    pub over_ns: i64,
    /// Who took the receive times.
    pub timestamp_source: TimestampSource,
    /// How often it was sent again, since an idle connection had gone stale.
    pub retries: i64,
    /// The reply's `server` header.
    pub server: Option<String>,
}

/// Calls one endpoint over connections that it keeps.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    addresses: Addresses,
    stamping: Stamping,
    clock: Rc<RunClock>,
    idle: RefCell<Vec<Connection>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Progress of a call that may be given up at any moment.
#[derive(Debug)]
pub struct Progress {
    all_by_kernel: bool,
    received_ns: Option<i64>,
    /// When the reply said that it is complete.
    done_ns: Option<i64>,
    retries: i64,
    server: Option<String>,
    /// The body was left before its end.
    left: bool,
    /// When the connection ended, where that ended the body.
    closed_ns: Option<i64>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            all_by_kernel: true,
            received_ns: None,
            done_ns: None,
            retries: 0,
            server: None,
            left: false,
            closed_ns: None,
        }
    }
}

impl Progress {
    /// The end of the call, however it came about; `now_ns` is its moment
    /// unless the end of the body says better.
    pub fn end(self, end: BodyEnd, now_ns: i64) -> CallEnd {
        let whole = end == BodyEnd::Complete && !self.left;
        let last = self.received_ns.max(self.closed_ns).filter(|_| whole);
        let stamped = self.received_ns.is_some() && self.all_by_kernel;
        CallEnd {
            end,
            received_ns: self.done_ns.or(self.received_ns),
            over_ns: last.unwrap_or(now_ns),
            timestamp_source: match stamped {
                true => TimestampSource::Kernel,
                false => TimestampSource::User,
            },
            retries: self.retries,
            server: self.server,
        }
    }
}

impl Client {
    /// A client for an endpoint at addresses that it resolved to.
    pub fn new(
        endpoint: Endpoint,
        addresses: Vec<SocketAddr>,
        stamping: Stamping,
        clock: Rc<RunClock>,
    ) -> Self {
        Self {
            endpoint,
            addresses: Addresses::new(addresses),
            stamping,
            clock,
            idle: RefCell::default(),
        }
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The run's clock.
    pub fn clock(&self) -> &RunClock {
        &self.clock
    }

    fn request(&self, call: &Call) -> Request<Full<Bytes>> {
        let method = if call.body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let body = Full::new(call.body.clone().unwrap_or_default());
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.endpoint.target(call.path);
        let headers = request.headers_mut();
        headers.insert(HOST, self.endpoint.authority().clone());
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, ANY_REPLY);
        if call.body.is_some() {
            headers.insert(CONTENT_TYPE, JSON);
        }
        if let Ok(id) = HeaderValue::from_str(&call.request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(key) = self.endpoint.authorization() {
            headers.insert(AUTHORIZATION, key.clone());
        }
        request
    }

    /// Sends a call and feeds the reply as it comes. The future may be dropped
    /// at any moment: `progress` and `reply` hold what happened until then.
    pub async fn exchange(
        &self,
        call: &Call,
        reply: &mut impl ReplySink,
        progress: &mut Progress,
    ) -> BodyEnd {
        loop {
            let (connection, reused) = match self.connection().await {
                Ok(found) => found,
                Err(error) => return connect_failure(&error),
            };
            let stamps = connection.stamps.clone();
            let begun = Begun {
                reused,
                idle_ns: self.clock.now_ns() - connection.idle_since_ns,
                at_ns: self.clock.now_ns(),
                reads: stamps.reads(),
            };
            match self.exchange_on(connection, call, reply, progress).await {
                Ok(()) => return BodyEnd::Complete,
                Err(error) if error.is_parse() => {
                    return BodyEnd::Unparsable {
                        error: innermost(&error),
                    };
                }
                Err(error) if begun.was_stale(&error, self.clock.now_ns(), stamps.reads()) => {
                    progress.retries += 1;
                }
                Err(error) => {
                    return BodyEnd::Failed {
                        error: innermost(&error),
                    };
                }
            }
        }
    }

    async fn exchange_on(
        &self,
        mut connection: Connection,
        call: &Call,
        reply: &mut impl ReplySink,
        progress: &mut Progress,
    ) -> hyper::Result<()> {
        let mut response = Box::pin(connection.sender.send_request(self.request(call)));
        let stamps = connection.stamps.clone();
        let answered = connection.drive(|cx| response.as_mut().poll(cx)).await;
        drop(response);
        let answered = answered?;
        let is_framed = [CONTENT_LENGTH, TRANSFER_ENCODING]
            .iter()
            .any(|name| answered.headers().contains_key(name));
        let mut body = self.on_head(answered, &stamps, reply, progress);
        let mut leave_at = None;
        loop {
            let next = connection.drive(|cx| Pin::new(&mut body).poll_frame(cx));
            let frame = match reply.is_done() {
                false => next.await,
                true => {
                    let leave_at = *leave_at.get_or_insert_with(|| Instant::now() + REST);
                    match tokio::time::timeout_at(leave_at, next).await {
                        Ok(frame) => frame,
                        Err(_) => {
                            progress.left = true;
                            return Ok(());
                        }
                    }
                }
            };
            let Some(frame) = frame else { break };
            if let Ok(bytes) = frame?.into_data() {
                let at_ns = self.note(&stamps, progress);
                reply.on_chunk(at_ns, &bytes);
                if reply.is_done() {
                    progress.done_ns.get_or_insert(at_ns);
                }
            }
        }
        if is_framed {
            // The end of the body may have come with a read of its own.
            self.note(&stamps, progress);
        } else {
            // The connection's end says nothing of the reply; over TLS it is a message of its own.
            let ended_ns = stamps.ended_ns(&self.clock);
            let last_read = || stamps.received(&self.clock).at_ns;
            progress.closed_ns = Some(ended_ns.unwrap_or_else(last_read));
        }
        let ready = poll_fn(|cx| {
            connection.advance(cx);
            Poll::Ready(!connection.closed && connection.sender.poll_ready(cx).is_ready())
        })
        .await;
        if ready {
            connection.idle_since_ns = self.clock.now_ns();
            self.idle.borrow_mut().push(connection);
        }
        Ok(())
    }

    fn on_head(
        &self,
        response: Response<Incoming>,
        stamps: &Stamps,
        reply: &mut impl ReplySink,
        progress: &mut Progress,
    ) -> Incoming {
        let at_ns = self.note(stamps, progress);
        let text = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        progress.server = text(hyper::header::SERVER).map(str::to_string);
        reply.on_head(at_ns, response.status().as_u16(), text(CONTENT_TYPE));
        if let Some(location) = text(LOCATION).filter(|_| response.status().is_redirection()) {
            reply.on_location(location);
        }
        response.into_body()
    }

    /// The receive time of the last read.
    fn note(&self, stamps: &Stamps, progress: &mut Progress) -> i64 {
        let received = stamps.received(&self.clock);
        progress.all_by_kernel &= received.by_kernel;
        progress.received_ns = Some(received.at_ns);
        received.at_ns
    }

    /// An idle connection that still lives, or a new one; and whether it is used again.
    async fn connection(&self) -> io::Result<(Connection, bool)> {
        loop {
            let idle = self.idle.borrow_mut().pop();
            match idle {
                Some(mut connection) => {
                    if connection.is_usable().await {
                        return Ok((connection, true));
                    }
                }
                None => return Ok((self.connect().await?, false)),
            }
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = self.addresses.reach().await?;
        let stream = StampedStream::new(stream, self.stamping)?;
        let stamps = stream.stamps();
        let (sender, driver) = match self.endpoint.tls() {
            None => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(io::Error::other)?;
                (sender, Driver::Plain(Box::new(connection)))
            }
            Some((config, name)) => {
                let connector = TlsConnector::from(config.clone());
                let stream = connector.connect(name.clone(), stream).await?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(io::Error::other)?;
                (sender, Driver::Tls(Box::new(connection)))
            }
        };
        Ok(Connection {
            sender,
            driver,
            stamps,
            idle_since_ns: 0,
            closed: false,
            turns: Turns::default(),
        })
    }
}
