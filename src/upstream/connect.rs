//! Opens one upstream connection and speaks the handshake on it.

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use super::handshake::{Greeting, Handshake, Refused, Script};
use super::lane::Fingerprint;
use crate::resp::{Progress, ReplyError, ReplyScanner};
use crate::settings::{Endpoint, UpstreamSettings};
use crate::socket::{self, ReadHalf, WriteHalf};

/// Bytes that a handshake may answer: `COMMAND LIST` of a server with all modules is below 16 KiB.
const MAX_HANDSHAKE: usize = 1 << 20;

/// Why there is no connection. `Display` is for logs, `/readyz` and error replies: no address, no secret.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The operating system refused or lost it.
    #[error("{}", reason(.0))]
    Io(#[from] io::Error),
    /// Not ready within `connect_timeout`.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(std::time::Duration),
    /// The upstream refused the proxy.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The upstream sent what is no reply.
    #[error("the upstream does not speak the Redis protocol: {0}")]
    Protocol(#[from] ReplyError),
}

/// An I/O error without the operating system's number.
fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "connection closed during the handshake".to_owned();
    }
    error.kind().to_string()
}

/// A connection ready for requests.
#[derive(Debug)]
pub struct Connected {
    /// Its reading half.
    pub read: ReadHalf,
    /// Its writing half.
    pub write: WriteHalf,
    /// What the upstream said of itself.
    pub greeting: Greeting,
}

/// Connects within `connect_timeout`. Cancel safe: dropping it closes the socket.
pub async fn connect(
    settings: &UpstreamSettings,
    fingerprint: Fingerprint,
    purpose: Script,
) -> Result<Connected, ConnectError> {
    let greeted = connect_and_greet(settings, fingerprint, purpose);
    match tokio::time::timeout(settings.connect_timeout, greeted).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::TimedOut(settings.connect_timeout)),
    }
}

async fn connect_and_greet(
    settings: &UpstreamSettings,
    fingerprint: Fingerprint,
    purpose: Script,
) -> Result<Connected, ConnectError> {
    let (mut read, write) = match &settings.endpoint {
        Endpoint::Tcp { host, port } => socket::split_tcp(TcpStream::connect((host.as_str(), *port)).await?),
        Endpoint::Unix(path) => socket::split_unix(UnixStream::connect(path).await?),
    };
    let (request, mut handshake) = Handshake::begin(fingerprint, purpose, settings);
    send(&write, &request).await?;
    let mut received = BytesMut::new();
    let mut scanner = ReplyScanner::default();
    let mut looked_at = 0;
    loop {
        if read.read_buf(&mut received).await? == 0 || received.len() > MAX_HANDSHAKE {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        while looked_at < received.len() {
            match scanner.advance(received.get(looked_at..).unwrap_or_default())? {
                Progress::Partial => looked_at = received.len(),
                Progress::Complete(len) => {
                    let reply = received.split_to(looked_at.saturating_add(len));
                    looked_at = 0;
                    if let Some(greeting) = handshake.on_reply(&reply)? {
                        return Ok(Connected { read, write, greeting });
                    }
                }
            }
        }
    }
}

async fn send(write: &WriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        std::future::poll_fn(|cx| write.poll_write_ready(cx)).await?;
        match write.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
