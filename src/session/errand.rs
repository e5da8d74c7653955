//! Upstream requests that an answer of the proxy's own takes.
//!
//! Some answers are composed of several replies (a walk over the keyspace, `MOVE`). What composes them is
//! written against [`Errand`], so that it can be tried without a socket.
//!
//! A walk visits one shard after the other, so it must know them: [`Errand::shards`] takes a snapshot, and
//! all that is said of shards afterwards is said of the last one taken.

use bytes::Bytes;

use crate::tenant::{OwnedScoped, Scoped};

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// To the tenant's home shard: it is about no key.
    Home,
    /// To the node that was the primary of the shard at this position when the snapshot was taken, and to no
    /// other: a cursor of one node means nothing to another.
    Shard(usize),
    /// To the primary of whoever owns this slot by now.
    Slot(u16),
}

/// One shard of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShardAt {
    /// The lowest slot that it owns. `None`: it owns nothing yet, but keys of slots that are on their way to
    /// it may be there already.
    pub(super) lowest: Option<u16>,
    /// What tells its primary from the one before and the one after. `None`: there is no other, it is a
    /// server by itself.
    pub(super) identity: Option<u8>,
}

/// Requests of the proxy's own on behalf of one client.
pub(super) trait Errand {
    /// All shards, ordered by the lowest slot that each owns, those without slots last; one for an upstream
    /// that is no cluster. Empty: none is known.
    fn shards(&self) -> Vec<ShardAt>;

    /// Makes sure that what is known of the shards is no older than what they know themselves: a node that has lost
    /// a slot says so of its keys, but not to a walk, which names none.
    async fn renew(&self);

    /// Which of them owns `slot`.
    fn owner(&self, slot: u16) -> Option<usize>;

    /// Whether shards or their slots have changed since the snapshot was taken.
    fn has_moved(&self) -> bool;

    /// Whether the keys of a request must lie in one slot, as in a cluster, of however many shards.
    fn is_cluster(&self) -> bool;

    /// Sends one request over the shared RESP2 connection and waits for its reply, error replies included
    /// (`-…`). `Err`: there will be none; the bytes are the error reply for the client.
    async fn ask(&self, at: At, request: Scoped<'_>) -> Result<Bytes, Bytes>;

    /// The same for several requests, of which none waits for the reply to another. The replies are in the
    /// order of the requests, one for each.
    async fn ask_all(&self, requests: &[(At, OwnedScoped)]) -> Vec<Result<Bytes, Bytes>>;

    /// The client has gone; nobody reads the answer.
    fn is_abandoned(&self) -> bool;
}
