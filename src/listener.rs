//! Binds, listens, accepts; hands each socket to a session.
//!
//! One listening socket is shared by all workers (each has a duplicate in its own event loop), so whoever is
//! idle accepts, a port cannot be bound twice by mistake, and TCP and Unix listeners are one path. Binding
//! and listening are two steps: a port that is taken is told at start, but clients are refused until
//! [`BoundListener::listen`].

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::session::rescue::text;
use crate::session::{Commons, Driver};
use crate::settings::{Address, ListenerSettings};
use crate::socket::{self, ReadHalf, WriteHalf};
use crate::tenant::directory::{Binding, Directory};

/// Connections that the kernel keeps until they are accepted; it lowers the number to its own limit
/// (`somaxconn`).
const BACKLOG: i32 = 4096;
/// How long accepting rests after an error such as "too many open files", which the next attempt would meet
/// again.
const REST_AFTER_ERROR: Duration = Duration::from_millis(100);
/// Connections accepted in a row before sessions get their turn: a storm of connections must not hold up those that
/// are there.
const ACCEPTS_PER_TURN: usize = 32;
/// How long accepting rests after so many, if one of them was refused: those that come wait in the backlog.
const REST_AFTER_REFUSALS: Duration = Duration::from_millis(10);

/// Why a listener cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// The operating system refused the address.
    #[error("cannot listen on {address}; stop what listens there, or choose another address (--listen)")]
    Bind {
        /// As configured.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// The path of a Unix listener is something else than a socket that nobody listens on.
    #[error(
        "cannot listen on {address}: another program listens there, or the path is no socket; remove it or choose another"
    )]
    PathTaken {
        /// As configured.
        address: Address,
    },
}

/// A socket that has its address but takes no connections yet.
#[derive(Debug)]
pub struct BoundListener {
    socket: Socket,
    address: Address,
    home: Option<Arc<Binding>>,
}

impl BoundListener {
    /// Binds the address. A Unix socket that an earlier run left behind is replaced.
    pub fn bind(settings: &ListenerSettings, directory: &Directory) -> Result<Self, ListenerError> {
        let failed = |source| ListenerError::Bind { address: settings.address.clone(), source };
        let socket = match &settings.address {
            Address::Tcp(address) => bind_tcp(*address).map_err(failed)?,
            Address::Unix(path) => {
                if is_taken(path) {
                    return Err(ListenerError::PathTaken { address: settings.address.clone() });
                }
                bind_unix(path, settings.unix_mode).map_err(failed)?
            }
        };
        let home = settings.tenant.as_ref().and_then(|tenant| directory.listener_binding(tenant));
        Ok(Self { socket, address: settings.address.clone(), home })
    }

    /// Takes connections from now on.
    pub fn listen(&self) -> Result<(), ListenerError> {
        let failed = |source| ListenerError::Bind { address: self.address.clone(), source };
        self.socket.listen(BACKLOG).map_err(failed)?;
        tracing::info!(address = %self.address, tenant = self.home.as_ref().map(|home| home.tenant().name.as_str()), "listening");
        Ok(())
    }

    /// A duplicate for one more worker.
    pub fn duplicate(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Self { socket, address: self.address.clone(), home: self.home.clone() })
    }

    /// Accepts until it is dropped. Cancel safe between connections.
    pub async fn serve(self, commons: Rc<Commons>) {
        let acceptor = match self.address {
            Address::Tcp(_) => TcpListener::from_std(self.socket.into()).map(Acceptor::Tcp),
            Address::Unix(_) => UnixListener::from_std(self.socket.into()).map(Acceptor::Unix),
        };
        let acceptor = match acceptor {
            Ok(acceptor) => acceptor,
            Err(error) => return tracing::error!(%error, "a worker cannot accept connections"),
        };
        let (mut accepted, mut has_refused) = (0, false);
        loop {
            match acceptor.accept().await {
                Ok(halves) => has_refused |= open(&commons, halves, self.home.clone()).is_err(),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(REST_AFTER_ERROR).await;
                }
            }
            accepted += 1;
            if accepted == ACCEPTS_PER_TURN {
                accepted = 0;
                if std::mem::take(&mut has_refused) {
                    tokio::time::sleep(REST_AFTER_REFUSALS).await;
                } else {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// A connection that was told why it is not taken.
struct Refused;

fn open(
    commons: &Rc<Commons>,
    halves: (ReadHalf, WriteHalf),
    home: Option<Arc<Binding>>,
) -> Result<(), Refused> {
    let (write, error) = if commons.refuses_connections() {
        (halves.1, [b"-", text::NO_MEMORY_FOR_CONNECTION, b"\r\n"].concat())
    } else {
        match Driver::new(Rc::clone(commons), halves, home) {
            Ok(driver) => {
                drop(tokio::task::spawn_local(driver));
                return Ok(());
            }
            Err((write, error)) => (write, [b"-", error.as_slice(), b"\r\n"].concat()),
        }
    };
    // Nothing else to do about a client that cannot even be told.
    drop(write.try_write(&error));
    Err(Refused)
}

enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    async fn accept(&self) -> io::Result<(ReadHalf, WriteHalf)> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| socket::split_tcp(stream)),
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| socket::split_unix(stream)),
        }
    }
}

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for connections of the last run to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<Socket> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(socket)
}

/// Whether something is at `path` that must not be replaced: no socket, or one that is listened on.
fn is_taken(path: &Path) -> bool {
    match std::fs::symlink_metadata(path) {
        Err(_) => false,
        Ok(found) => !found.file_type().is_socket() || std::os::unix::net::UnixStream::connect(path).is_ok(),
    }
}
