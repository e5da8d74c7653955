//! Picks the shard for a scoped request, from an immutable snapshot of the topology.
//!
//! A standalone node is a cluster of one shard: there is one topology type and one path, and deployments
//! differ in how a topology is found. With one shard nothing has to be hashed.

use std::sync::Arc;

use crate::resp::SendQueue;
use crate::tenant::directory::Namespace;
use crate::tenant::{ReplyPlan, Scoped};

/// Position of a shard in its topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShardId(pub usize);

/// Which shards there are and what each owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    shards: usize,
}

impl Topology {
    /// One shard that owns every slot.
    pub fn standalone() -> Self {
        Self { shards: 1 }
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// The shard for `scoped`.
    #[inline]
    pub fn route<'a>(&self, scoped: Scoped<'a>) -> Routed<'a> {
        Routed { scoped, shard: ShardId(0) }
    }
}

/// A scoped request that knows its shard: the only thing a lane is given to send.
#[derive(Debug)]
pub struct Routed<'a> {
    scoped: Scoped<'a>,
    shard: ShardId,
}

impl Routed<'_> {
    /// Where it goes.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Another request for the same node.
    pub fn beside<'a>(&self, scoped: Scoped<'a>) -> Routed<'a> {
        Routed { scoped, shard: self.shard }
    }

    /// The upstream it goes to, by number.
    pub fn upstream(&self) -> usize {
        self.scoped.upstream()
    }

    /// The upstream database it is for, where databases are native.
    pub fn database(&self) -> Option<u32> {
        self.scoped.database()
    }

    /// The namespace it is in.
    pub fn namespace(&self) -> &Arc<Namespace> {
        self.scoped.namespace()
    }

    /// What is to be done with the reply.
    pub fn reply_plan(&self) -> ReplyPlan {
        self.scoped.reply_plan()
    }

    /// Appends the request as it goes upstream and returns its length in bytes.
    pub fn queue(&self, queue: &mut SendQueue) -> usize {
        self.scoped.queue(queue)
    }
}
