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

/// Connects to the node at `endpoint` within `connect_timeout`. Cancel safe: dropping it closes the socket.
pub async fn connect(
    settings: &UpstreamSettings,
    endpoint: &Endpoint,
    fingerprint: Fingerprint,
    purpose: Script,
) -> Result<Connected, ConnectError> {
    let greeted = connect_and_greet(settings, endpoint, fingerprint, purpose);
    match tokio::time::timeout(settings.connect_timeout, greeted).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::TimedOut(settings.connect_timeout)),
    }
}

async fn connect_and_greet(
    settings: &UpstreamSettings,
    endpoint: &Endpoint,
    fingerprint: Fingerprint,
    purpose: Script,
) -> Result<Connected, ConnectError> {
    let (dialogue, greeting) = greet(settings, endpoint, fingerprint, purpose).await?;
    Ok(Connected { read: dialogue.read, write: dialogue.write, greeting })
}

/// A connection to find out whether the node is well; takes as long as it takes.
pub(super) async fn open_for_probe(
    settings: &UpstreamSettings,
    endpoint: &Endpoint,
    fingerprint: Fingerprint,
) -> Result<Dialogue, ConnectError> {
    Ok(greet(settings, endpoint, fingerprint, Script::Dedicated).await?.0)
}

async fn greet(
    settings: &UpstreamSettings,
    endpoint: &Endpoint,
    fingerprint: Fingerprint,
    purpose: Script,
) -> Result<(Dialogue, Greeting), ConnectError> {
    let mut dialogue = Dialogue::open(endpoint, MAX_HANDSHAKE).await?;
    let (request, mut handshake) = Handshake::begin(fingerprint, purpose, settings);
    dialogue.say(&request).await?;
    loop {
        if let Some(greeting) = handshake.on_reply(&dialogue.hear().await?)? {
            return Ok((dialogue, greeting));
        }
    }
}

/// A new connection, read reply by reply: for what is said before anything is forwarded, or instead of it.
pub struct Dialogue {
    read: ReadHalf,
    write: WriteHalf,
    received: BytesMut,
    /// How much of `received` the scanner has seen.
    looked_at: usize,
    scanner: ReplyScanner,
    limit: usize,
}

impl Dialogue {
    /// Connects. Not more than `limit` bytes of replies wait to be heard, and no reply is longer.
    pub(super) async fn open(endpoint: &Endpoint, limit: usize) -> io::Result<Self> {
        let (read, write) = match endpoint {
            Endpoint::Tcp { host, port } => {
                socket::split_tcp(TcpStream::connect((host.as_str(), *port)).await?)
            }
            Endpoint::Unix(path) => socket::split_unix(UnixStream::connect(path).await?),
        };
        Ok(Self::between(read, write, limit))
    }

    /// Goes on with a connection that is ready for requests.
    pub fn with(connected: Connected, limit: usize) -> Self {
        Self::between(connected.read, connected.write, limit)
    }

    fn between(read: ReadHalf, write: WriteHalf, limit: usize) -> Self {
        let (received, scanner) = (BytesMut::new(), ReplyScanner::default());
        Self { read, write, received, looked_at: 0, scanner, limit }
    }

    /// Sends requests.
    pub async fn say(&self, requests: &[u8]) -> io::Result<()> {
        send(&self.write, requests).await
    }

    /// The next reply. Cancel safe.
    pub async fn hear(&mut self) -> Result<BytesMut, ConnectError> {
        loop {
            let unseen = self.received.get(self.looked_at..).unwrap_or_default();
            if !unseen.is_empty() {
                match self.scanner.advance(unseen)? {
                    Progress::Partial => self.looked_at = self.received.len(),
                    Progress::Complete(len) => {
                        let reply = self.received.split_to(self.looked_at.saturating_add(len));
                        self.looked_at = 0;
                        return Ok(reply);
                    }
                }
            }
            if self.received.len() > self.limit || self.read.read_buf(&mut self.received).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
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
