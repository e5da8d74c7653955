//! TCP or Unix, behind one pair of halves.
//!
//! The reading half belongs to the task that awaits it; the writing half is shared, because replies are
//! written by whoever has them. Neither splits a buffer or hides readiness: reads go through `poll_read`
//! (which knows that a short read drained an edge-triggered socket and saves the extra system call), writes
//! through `try_write`.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

/// The half that is read.
#[derive(Debug)]
pub enum ReadHalf {
    /// Of a TCP connection.
    Tcp(tcp::OwnedReadHalf),
    /// Of a Unix connection.
    Unix(unix::OwnedReadHalf),
}

/// The half that is written.
#[derive(Debug)]
pub enum WriteHalf {
    /// Of a TCP connection.
    Tcp(tcp::OwnedWriteHalf),
    /// Of a Unix connection.
    Unix(unix::OwnedWriteHalf),
}

/// How long a connection is silent before the peer is asked whether it is still there (Redis: `tcp-keepalive`).
/// A subscriber or a blocked client says nothing by itself.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// Splits a TCP connection. Small replies must not wait for an acknowledgement, so Nagle's algorithm is off.
pub fn split_tcp(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
    if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!(%error, "cannot set SO_KEEPALIVE");
    }
    let (read, write) = stream.into_split();
    (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
}

/// Splits a Unix connection.
pub fn split_unix(stream: UnixStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (ReadHalf::Unix(read), WriteHalf::Unix(write))
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buf),
            Self::Unix(half) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

impl ReadHalf {
    /// Whether the peer sends no more, as far as that is known without reading.
    pub fn is_closed_by_peer(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let ready = match self {
            Self::Tcp(half) => pin!(half.ready(Interest::READABLE)).poll(&mut cx),
            Self::Unix(half) => pin!(half.ready(Interest::READABLE)).poll(&mut cx),
        };
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }
}

impl WriteHalf {
    /// Writes what the socket takes now; `WouldBlock` when it takes nothing.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write(bytes),
            Self::Unix(half) => half.try_write(bytes),
        }
    }

    /// As [`WriteHalf::try_write`], from several pieces.
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write_vectored(pieces),
            Self::Unix(half) => half.try_write_vectored(pieces),
        }
    }

    /// The peer's address and our own, as `CLIENT LIST` writes them.
    pub fn addresses(&self) -> (String, String) {
        match self {
            Self::Tcp(half) => {
                let text = |address: io::Result<std::net::SocketAddr>| {
                    address.map(|address| address.to_string()).unwrap_or_default()
                };
                (text(half.peer_addr()), text(half.local_addr()))
            }
            Self::Unix(half) => {
                let path = half.local_addr().ok();
                let path = path.as_ref().and_then(|address| address.as_pathname());
                let text = format!("{}:0", path.map(|path| path.display().to_string()).unwrap_or_default());
                (text.clone(), text)
            }
        }
    }

    /// Whether it is a Unix connection.
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Ends the connection although others still hold this half.
    pub fn close(&self) {
        let outcome = match self {
            Self::Tcp(half) => SockRef::from(half.as_ref()).shutdown(Shutdown::Both),
            Self::Unix(half) => SockRef::from(half.as_ref()).shutdown(Shutdown::Both),
        };
        // The peer was faster.
        drop(outcome);
    }

    /// Ready when a write may succeed; otherwise the task is woken when it may.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => half.as_ref().poll_write_ready(cx),
            Self::Unix(half) => half.as_ref().poll_write_ready(cx),
        }
    }
}
