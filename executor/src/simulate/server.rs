//! The listening server.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinError, JoinSet};

use super::config::SimulatorConfig;
use super::fault::NotReady;
use super::service::Server;
use super::stamp::{StampedStream, Tap};
use super::truth::{TruthLog, TruthSender};
use crate::timer::{PreciseTimer, TimerError};

/// Connections that the kernel may hold until they are accepted. Past it a
/// client's connection attempt is repeated by its kernel, a second later.
const BACKLOG: u32 = 4096;

/// How long accepting rests when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A simulated model server that listens and does not serve yet.
///
/// It runs on the runtime it was bound on, with one thread or many. Each
/// connection holds a file descriptor; raising the process's limit is up to
/// whoever runs it.
#[derive(Debug)]
pub struct Simulator {
    listener: TcpListener,
    local_addr: SocketAddr,
    server: Arc<Server>,
    truth: Option<TruthLog>,
}

/// Why a simulator could not start or not end properly.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}; is it taken? choose another port, or 0 for any that is free")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no timer to be had.
    #[error("cannot keep time")]
    Timer {
        /// Why not.
        #[from]
        source: TimerError,
    },
    /// The truth log cannot be created or written.
    #[error("cannot write the truth log `{}`; is the folder there, and is there room?", path.display())]
    Truth {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What a simulator did until it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulatorTotals {
    /// How it ended.
    pub ended: SimulatorEnd,
    /// Requests for a chat completion.
    pub requests: u64,
    /// Replies that were sent to their end.
    pub completed: u64,
    /// Replies that were begun, and broken off or left by the client.
    pub unfinished: u64,
    /// HTTP errors, on any path.
    pub refused: u64,
    /// Output tokens that were sent.
    pub output_tokens: u64,
    /// Requests that are missing in the truth log, since it could not keep up.
    pub truth_lost: u64,
}

/// How a simulator ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimulatorEnd {
    /// It was told to.
    Shutdown,
    /// By the fault `crash`.
    Crashed,
}

impl Simulator {
    /// Listens on `addr`; port 0 takes any that is free.
    ///
    /// # Errors
    /// [`SimulatorError`] where the address is taken, the truth log cannot be
    /// created or the process has no file descriptor left.
    pub async fn bind(config: SimulatorConfig, addr: SocketAddr) -> Result<Self, SimulatorError> {
        let listening = listen(addr).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (local_addr, listener) =
            listening.map_err(|source| SimulatorError::Bind { addr, source })?;
        let truth = match &config.truth {
            None => None,
            Some(path) => Some(
                TruthLog::create(path).map_err(|source| SimulatorError::Truth {
                    path: path.clone(),
                    source,
                })?,
            ),
        };
        let timer = PreciseTimer::start()?;
        let sender = truth.as_ref().map(|log| log.sender().clone());
        Ok(Self {
            listener,
            local_addr,
            server: Arc::new(Server::new(config, timer, sender)),
            truth,
        })
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What it was made from.
    pub fn config(&self) -> &SimulatorConfig {
        &self.server.config
    }

    /// Serves until `shutdown` is ready or the fault `crash` strikes; requests
    /// in flight are then cut off, and the truth log is written to its end.
    ///
    /// # Errors
    /// [`SimulatorError::Truth`] where the truth log could not be written.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()>,
    ) -> Result<SimulatorTotals, SimulatorError> {
        let Self {
            listener,
            server,
            truth,
            ..
        } = self;
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let ended = loop {
            tokio::select! {
                () = &mut shutdown => {
                    server.fate.stop();
                    break SimulatorEnd::Shutdown;
                }
                () = server.fate.crashed() => break SimulatorEnd::Crashed,
                Some(connection) = connections.join_next() => report(connection),
                accepted = listener.accept() => match accepted {
                    Ok((tcp, _)) => accept(&server, tcp, &mut connections),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        server.timer.sleep_until(Instant::now() + ACCEPT_PAUSE).await;
                    }
                },
            }
        };
        drop(listener);
        connections.abort_all();
        while let Some(connection) = connections.join_next().await {
            report(connection);
        }
        let totals = totals(&server, ended);
        if let Some(log) = truth {
            let path = log.path().to_owned();
            log.finish()
                .map_err(|source| SimulatorError::Truth { path, source })?;
        }
        Ok(totals)
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

fn accept(server: &Arc<Server>, tcp: TcpStream, connections: &mut JoinSet<()>) {
    let tap = Tap::new(Arc::clone(&server.fate), server.truth.clone());
    if server.not_ready() == Some(NotReady::Refuse) {
        tap.reset_at_end();
        drop(StampedStream::new(tcp, tap));
        return;
    }
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let server = Arc::clone(server);
    connections.spawn(async move {
        let stream = TokioIo::new(StampedStream::new(tcp, Arc::clone(&tap)));
        let service = service_fn(|request| {
            let (server, tap) = (Arc::clone(&server), Arc::clone(&tap));
            async move { Ok::<_, Infallible>(server.answer(&tap, request).await) }
        });
        // One run of bytes and one system call for each flush.
        let served = http1::Builder::new()
            .writev(false)
            .serve_connection(stream, service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended early");
        }
    });
}

fn report(connection: Result<(), JoinError>) {
    if let Err(error) = connection
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

fn totals(server: &Server, ended: SimulatorEnd) -> SimulatorTotals {
    let meters = &server.meters;
    SimulatorTotals {
        ended,
        requests: server.requests(),
        completed: meters.completed(),
        unfinished: meters.unfinished.load(Ordering::Relaxed),
        refused: meters.refused.load(Ordering::Relaxed),
        output_tokens: meters.generation_tokens.load(Ordering::Relaxed),
        truth_lost: server.truth.as_ref().map_or(0, TruthSender::lost),
    }
}
