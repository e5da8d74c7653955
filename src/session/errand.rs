//! Upstream requests that an answer of the proxy's own takes.
//!
//! Some answers are composed of several replies (a walk over the keyspace, `MOVE`). What composes them is
//! written against [`Errand`], so that it can be tried without a socket.

use bytes::Bytes;

use crate::tenant::Scoped;

/// Requests of the proxy's own on behalf of one client.
pub(super) trait Errand {
    /// Sends one request over the shared RESP2 connection and waits for its reply, error replies included
    /// (`-…`). `Err`: there will be none; the bytes are the error reply for the client.
    async fn ask(&self, request: Scoped<'_>) -> Result<Bytes, Bytes>;

    /// The client has gone; nobody reads the answer.
    fn is_abandoned(&self) -> bool;
}
