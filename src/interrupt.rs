//! Signals: Ctrl-C and SIGTERM, and those that hold a measurement.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// The user's wish to end the command; each call of [`Interrupts::next`] waits for one more.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Listens from now on: the signals no longer end the process by themselves.
    ///
    /// # Errors
    /// The system gives no signal handler.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next Ctrl-C or SIGTERM.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The user's wish to hold a measurement and to let it go on: SIGUSR1 and SIGUSR2.
#[derive(Debug)]
pub(crate) struct Holds {
    hold: Signal,
    go_on: Signal,
}

/// What a signal asks of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Send nothing for now.
    Pause,
    /// Go on sending.
    Resume,
}

impl Holds {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system gives no signal handler.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self {
            hold: listen(SignalKind::user_defined1())?,
            go_on: listen(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next wish.
    pub(crate) async fn next(&mut self) -> Hold {
        tokio::select! {
            _ = self.hold.recv() => Hold::Pause,
            _ = self.go_on.recv() => Hold::Resume,
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error: io::Error| {
        Failure::failed(
            format_args!("cannot listen for signals: {error}"),
            "is the limit of open files reached? see `ulimit -n`",
        )
    })
}

/// Does `work` until it is done or the user ends it.
///
/// # Errors
/// Those of `work`, or that the user ended it.
pub(crate) async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut interrupts = Interrupts::listen()?;
    tokio::select! {
        done = work => done,
        () = interrupts.next() => Err(Failure::cancelled()),
    }
}
