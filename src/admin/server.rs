//! HTTP within bounds: a client that is slow, stuck or hostile costs one of a few slots for a few seconds.
//!
//! A connection carries one request. Probes and scrapes come seconds apart, so keeping connections open would
//! save nothing, and one deadline per connection then bounds everything: reading, answering, writing.

use super::router::{AdminState, router};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::thread;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// What one client, and all of them together, may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections at a time; more wait in the listener's backlog.
    connections: usize,
    /// From the accept to the end of the request's headers.
    headers: Duration,
    /// From the accept to the last byte of the reply.
    whole: Duration,
}

/// Generous for a probe and for a scrape of some megabytes, and still over before a second scrape is due.
const LIMITS: Limits =
    Limits { connections: 64, headers: Duration::from_secs(2), whole: Duration::from_secs(10) };

/// Bytes of a request that are buffered; longer headers are answered 431. hyper takes no less than 8 KiB.
const BUFFER: usize = 16 * 1024;

/// How long connections may go on after the shutdown was asked for.
const GRACE: Duration = Duration::from_secs(1);

/// How long to wait after a failed accept: it usually means that file descriptors have run out, and trying
/// again at once would only burn CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the admin port is not served.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The listener could not be handed to the runtime.
    #[error("admin port: the listening socket cannot be used: {0}")]
    Listener(#[source] io::Error),
    /// The runtime of the admin thread could not be built.
    #[error("admin port: no event loop: {0}; check the limit on open files")]
    Runtime(#[source] io::Error),
    /// The operating system refused the thread.
    #[error("admin port: no thread: {0}; check the limit on processes")]
    Thread(#[source] io::Error),
}

/// Serves the admin pages on `listener`, on a thread of its own, until `shutdown` is cancelled and for at
/// most one more second. Cancel it last: readiness is asked for while draining, too.
pub fn serve(
    listener: std::net::TcpListener,
    state: AdminState,
    shutdown: CancellationToken,
) -> Result<thread::JoinHandle<()>, AdminError> {
    serve_router(listener, router(state), LIMITS, shutdown)
}

fn serve_router(
    listener: std::net::TcpListener,
    pages: Router,
    limits: Limits,
    shutdown: CancellationToken,
) -> Result<thread::JoinHandle<()>, AdminError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Runtime)?;
    listener.set_nonblocking(true).map_err(AdminError::Listener)?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener).map_err(AdminError::Listener)?
    };
    thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || runtime.block_on(accept(listener, pages, limits, shutdown)))
        .map_err(AdminError::Thread)
}

async fn accept(listener: TcpListener, pages: Router, limits: Limits, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < limits.connections => match accepted {
                Ok((stream, _)) => { connections.spawn(one_request(stream, pages.clone(), limits)); }
                Err(error) => {
                    tracing::warn!(%error, "admin port: accept failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, finished).await.is_err() {
        tracing::debug!("admin port: connections cut at shutdown");
    }
}

/// Serves one connection. What goes wrong is the client's doing and told to nobody but the debug log.
async fn one_request(stream: TcpStream, pages: Router, limits: Limits) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_buf_size(BUFFER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    match timeout(limits.whole, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin port: request failed"),
        Err(_) => tracing::debug!("admin port: connection took too long"),
    }
}

#[cfg(test)]
mod tests;
