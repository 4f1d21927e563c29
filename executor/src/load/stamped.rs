//! A TCP stream that knows when the kernel received what was read last.
//!
//! With `SO_TIMESTAMPING` each `recvmsg` brings the wall-clock time at which
//! the kernel had the bytes. However late the generator wakes up, the receive
//! time is right. Bytes of several packets fetched by one read carry the time
//! of the last of them. The kernel begins to stamp a moment after the first
//! socket of the system asks for it; what comes before has the reader's time.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, TimestampingFlag, Timestamps, recvmsg, setsockopt, sockopt,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clock::RunClock;
use crate::timer::monotonic_ns;

/// Bytes fetched by one read at most.
const READ_BYTES: usize = 64 << 10;

thread_local! {
    /// Where reads land before they are handed on: one for all connections of
    /// a thread, so that a thousand of them cost no thousand buffers.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Who is asked for receive times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stamping {
    /// The kernel, where it can; the generator's own clock else.
    #[default]
    Kernel,
    /// The generator's own clock, after each read.
    User,
}

/// What a connection's reads leave for the reader of the reply.
#[derive(Debug, Default)]
pub struct Stamps {
    /// Wall-clock ns of the last read's bytes; `None` where the kernel said nothing.
    kernel_ns: Cell<Option<i64>>,
    /// Monotonic ns after the last read.
    user_ns: Cell<i64>,
    /// Reads that brought bytes.
    reads: Cell<u64>,
    /// Monotonic ns after the read that found the end of the stream.
    end_ns: Cell<Option<i64>>,
}

/// When bytes were received, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedAt {
    /// In ns since the run's start.
    pub at_ns: i64,
    /// Whether the kernel took it.
    pub by_kernel: bool,
}

impl Stamps {
    /// How many reads brought bytes so far.
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }

    /// When the end of the stream was seen, in ns since the run's start; the kernel stamps no end.
    pub fn ended_ns(&self, clock: &RunClock) -> Option<i64> {
        let end_ns = self.end_ns.get()?;
        Some(end_ns - clock.monotonic_start_ns())
    }

    /// When the bytes of the last read were received.
    pub fn received(&self, clock: &RunClock) -> ReceivedAt {
        match self.kernel_ns.get() {
            Some(wall) => ReceivedAt {
                at_ns: clock.of_realtime(wall),
                by_kernel: true,
            },
            None => ReceivedAt {
                at_ns: self.user_ns.get() - clock.monotonic_start_ns(),
                by_kernel: false,
            },
        }
    }
}

/// A connected TCP stream whose reads leave [`Stamps`] behind.
#[derive(Debug)]
pub struct StampedStream {
    socket: AsyncFd<TcpStream>,
    stamps: Rc<Stamps>,
    /// Room for the kernel's message; empty where it is not asked.
    control: Vec<u8>,
}

impl StampedStream {
    /// Takes over a connected stream.
    ///
    /// # Errors
    /// The stream cannot be watched by the runtime.
    pub fn new(stream: tokio::net::TcpStream, stamping: Stamping) -> io::Result<Self> {
        let stream = stream.into_std()?;
        stream.set_nodelay(true)?;
        let wanted = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
        let stamped = stamping == Stamping::Kernel
            && setsockopt(&stream, sockopt::Timestamping, &wanted).is_ok();
        let control = if stamped {
            cmsg_space!(Timestamps)
        } else {
            Vec::new()
        };
        #[expect(
            deprecated,
            reason = "sound for a TcpStream, which keeps its descriptor; the successor asks for \
                      the same in an unsafe block"
        )]
        let socket = AsyncFd::new(stream)?;
        Ok(Self {
            socket,
            stamps: Rc::default(),
            control,
        })
    }

    /// What reads leave behind.
    pub fn stamps(&self) -> Rc<Stamps> {
        self.stamps.clone()
    }
}

/// One `recvmsg`: how many bytes, and the kernel's time of them.
fn receive(
    fd: BorrowedFd<'_>,
    into: &mut [u8],
    control: &mut [u8],
) -> Result<(usize, Option<i64>), Errno> {
    let mut parts = [IoSliceMut::new(into)];
    let room = (!control.is_empty()).then_some(control);
    let message = recvmsg::<()>(fd.as_raw_fd(), &mut parts, room, MsgFlags::empty())?;
    let stamp = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|one| match one {
            ControlMessageOwned::ScmTimestampsns(stamps) => Some(stamps.system),
            _ => None,
        })
    });
    let wall_ns = stamp.map(|time| time.tv_sec() * 1_000_000_000 + time.tv_nsec());
    Ok((message.bytes, wall_ns.filter(|ns| *ns > 0)))
}

impl AsyncRead for StampedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let mut ready = ready!(this.socket.poll_read_ready(cx))?;
            let socket = ready.get_inner();
            let fd = std::os::fd::AsFd::as_fd(socket);
            let received = SCRATCH.with_borrow_mut(|scratch| {
                let room = scratch.len().min(buf.remaining());
                let (bytes, wall_ns) = receive(fd, &mut scratch[..room], &mut this.control)?;
                buf.put_slice(&scratch[..bytes]);
                Ok((bytes, room, wall_ns))
            });
            match received {
                Ok((bytes, room, wall_ns)) => {
                    // Fewer bytes than asked for: the next read would find
                    // nothing, and its system call is spared.
                    if bytes < room && bytes > 0 {
                        ready.clear_ready();
                    }
                    // The end of the stream brings no bytes, whose time it could be.
                    if bytes > 0 {
                        this.stamps.kernel_ns.set(wall_ns);
                        this.stamps.user_ns.set(monotonic_ns());
                        this.stamps.reads.set(this.stamps.reads.get() + 1);
                    } else if room > 0 {
                        this.stamps.end_ns.set(Some(monotonic_ns()));
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
    }
}

impl StampedStream {
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.socket.poll_write_ready(cx))?;
            match write(ready.get_inner()) {
                Ok(bytes) => return Poll::Ready(Ok(bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for StampedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |mut socket| socket.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |mut socket| socket.write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.socket.get_ref().shutdown(std::net::Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            done => Poll::Ready(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn pair(stamping: Stamping) -> (StampedStream, tokio::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let (ours, theirs) =
            tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        let ours = StampedStream::new(ours.expect("connect"), stamping).expect("stream");
        (ours, theirs.expect("accept").0)
    }

    /// However long the bytes wait to be read, their time is that of the kernel.
    #[tokio::test]
    async fn the_kernels_time_is_that_of_arrival_and_not_of_reading() {
        let (mut ours, mut theirs) = pair(Stamping::Kernel).await;
        let clock = RunClock::start();
        // The kernel begins to stamp a moment after the first socket asks for it.
        let mut tries = 0;
        while !ours.stamps().received(&clock).by_kernel {
            theirs.write_all(b"x").await.expect("write");
            ours.read_exact(&mut [0u8]).await.expect("read");
            tries += 1;
            assert!(tries < 100_000, "this system stamps what it receives");
        }
        let before = clock.now_ns();
        theirs.write_all(b"hello").await.expect("write");
        let written = clock.now_ns();
        let late = written + 200_000_000;
        while clock.now_ns() < late {
            std::hint::spin_loop();
        }
        let mut bytes = [0u8; 5];
        ours.read_exact(&mut bytes).await.expect("read");
        let received = ours.stamps().received(&clock);
        assert!(received.by_kernel, "this system stamps what it receives");
        // Far below the wait, and far above what a loaded machine does to a write.
        let slack = 50_000_000;
        assert!(
            before - slack < received.at_ns && received.at_ns < written + slack,
            "before {before}, stamp {}, written {written}, read after {late}",
            received.at_ns
        );
        drop(theirs);
        assert_eq!(ours.stamps().ended_ns(&clock), None);
        assert_eq!(ours.read(&mut bytes).await.expect("the end"), 0);
        assert!(ours.stamps().ended_ns(&clock) >= Some(late));
        assert_eq!(
            ours.stamps().received(&clock),
            received,
            "the end has no bytes"
        );
    }

    #[tokio::test]
    async fn without_the_kernel_the_time_is_that_of_reading() {
        let (mut ours, mut theirs) = pair(Stamping::User).await;
        let clock = RunClock::start();
        theirs.write_all(b"hello").await.expect("write");
        let mut bytes = [0u8; 5];
        let written = clock.now_ns();
        ours.read_exact(&mut bytes).await.expect("read");
        let received = ours.stamps().received(&clock);
        assert!(!received.by_kernel);
        assert!(received.at_ns >= written);
    }

    #[tokio::test]
    async fn bytes_pass_whole_in_both_directions_and_the_end_is_seen() {
        let (mut ours, mut theirs) = pair(Stamping::Kernel).await;
        let stamps = ours.stamps();
        let sent: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
        assert_eq!(stamps.reads(), 0);
        let back = async {
            let mut got = vec![0u8; sent.len()];
            theirs.read_exact(&mut got).await.expect("read");
            theirs.write_all(&got).await.expect("write");
            drop(theirs);
            got
        };
        let there = async {
            ours.write_all(&sent).await.expect("write");
            let mut got = Vec::new();
            ours.read_to_end(&mut got).await.expect("read");
            got
        };
        let (got, returned) = tokio::join!(back, there);
        assert_eq!(got, sent);
        assert_eq!(returned, sent);
        assert!(stamps.reads() > 0);
    }
}
