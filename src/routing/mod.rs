//! Picks the node for a scoped request, from an immutable snapshot of the topology.
//!
//! A standalone node is a cluster of one shard: there is one topology type and one path, and deployments
//! differ in how a topology is found. Where one shard owns everything nothing has to be hashed.
//!
//! Requests without keys, and a tenant's channels, have a **home**: the shard that owns the slot of the tenant's
//! channel prefix. All subscribers of a tenant are there and so is whoever publishes, so what `PUBLISH` counts is
//! what it would count on one server.

pub mod parse;
pub mod redirect;
pub mod topology;

use std::sync::Arc;

use crate::command::slot::slot;
use crate::resp::SendQueue;
use crate::tenant::compression::Tally;
use crate::tenant::directory::{Namespace, ReadFrom};
use crate::tenant::{Keyed, ReplyPlan, Scoped};
use topology::{MultiKeyScope, NodeId, Shard, Topology};

/// What a connection to a node is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Access {
    /// Everything.
    #[default]
    ReadWrite,
    /// Commands that only read: a replica of a cluster serves them once it has been sent `READONLY` (*Redis
    /// cluster specification*, "Scaling reads using replica nodes").
    ReadOnly,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The node.
    pub node: NodeId,
    /// As what it is asked.
    pub access: Access,
    /// The slot that decided, where slots do.
    pub slot: Option<u16>,
}

/// Why a request has no destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The upstream's nodes are not known yet.
    Unknown,
    /// Nobody owns the slot of its keys.
    Unserved,
    /// Its keys are in several slots.
    CrossSlot,
    /// Its tenant reads from replicas only, and there is none.
    NoReplica,
}

/// A scoped request that knows its node: the only thing a lane is given to send.
#[derive(Debug)]
pub struct Routed<'a> {
    scoped: Scoped<'a>,
    to: Destination,
}

impl Topology {
    /// The primary that serves `slot`; without slots, the only one.
    pub fn primary_of(&self, slot: Option<u16>) -> Option<NodeId> {
        match (self.scope(), slot) {
            (MultiKeyScope::Node, _) => self.shards().first().map(|shard| shard.primary),
            (MultiKeyScope::Slot, slot) => self.owner(slot?).map(|shard| shard.primary),
        }
    }

    /// Another replica of the shard that serves `slot`, for a read that `tried` could not answer; the same one, if
    /// there is no other.
    pub fn replica_beside(&self, tried: NodeId, slot: Option<u16>) -> Result<Destination, NoRoute> {
        let shard = match (self.scope(), slot) {
            (MultiKeyScope::Slot, Some(slot)) => self.owner(slot),
            (MultiKeyScope::Node, _) | (MultiKeyScope::Slot, None) => self.shards().first(),
        };
        let replicas = &shard.ok_or(NoRoute::Unserved)?.replicas;
        let after = replicas.iter().skip_while(|node| **node != tried).nth(1);
        let node = after.or_else(|| replicas.first()).copied().ok_or(NoRoute::NoReplica)?;
        Ok(Destination { node, access: Access::ReadOnly, slot })
    }

    /// Where `scoped` goes; `is_read`: its command only reads, so a replica may do. Comes back if there is no one
    /// node for it.
    #[inline]
    pub fn route<'a>(&self, scoped: Scoped<'a>, is_read: bool) -> Result<Routed<'a>, (Scoped<'a>, NoRoute)> {
        match self.destination(&scoped, is_read) {
            Ok(to) => Ok(Routed { scoped, to }),
            Err(error) => Err((scoped, error)),
        }
    }

    #[inline]
    fn destination(&self, scoped: &Scoped<'_>, is_read: bool) -> Result<Destination, NoRoute> {
        self.place(scoped.namespace(), is_read, || scoped.keyed())
    }

    /// Where a request of `namespace` goes whose keys are where `keyed` says.
    #[inline]
    pub fn place(
        &self,
        namespace: &Namespace,
        is_read: bool,
        keyed: impl FnOnce() -> Keyed,
    ) -> Result<Destination, NoRoute> {
        match (self.scope(), self.shards()) {
            (MultiKeyScope::Node, [shard]) => at(shard, None, namespace, is_read),
            (_, []) => Err(NoRoute::Unknown),
            _ => {
                let slot = match keyed() {
                    Keyed::In(slot) => slot,
                    Keyed::Nowhere => home(namespace),
                    Keyed::Across => return Err(NoRoute::CrossSlot),
                };
                let shard = self.owner(slot).ok_or(NoRoute::Unserved)?;
                at(shard, Some(slot), namespace, is_read)
            }
        }
    }
}

/// The slot of a tenant's channels and of requests without keys.
pub fn home(namespace: &Namespace) -> u16 {
    slot(namespace.channels.as_bytes())
}

/// The shard's node for one request. Replicas take turns by slot, so that each key has one that caches it.
fn at(
    shard: &Shard,
    slot: Option<u16>,
    namespace: &Namespace,
    is_read: bool,
) -> Result<Destination, NoRoute> {
    let primary = Destination { node: shard.primary, access: Access::ReadWrite, slot };
    if !is_read {
        return Ok(primary);
    }
    let turn = usize::from(slot.unwrap_or_default());
    let replica = turn.checked_rem(shard.replicas.len()).and_then(|at| shard.replicas.get(at));
    let chosen = match (namespace.tenant.read_from, replica) {
        (ReadFrom::Replica, None) => return Err(NoRoute::NoReplica),
        (ReadFrom::Primary, _) | (ReadFrom::PreferReplica | ReadFrom::Nearest, None) => None,
        (ReadFrom::PreferReplica | ReadFrom::Replica, Some(replica)) => Some(*replica),
        (ReadFrom::Nearest, Some(_)) => shard.nearest.filter(|node| *node != shard.primary),
    };
    Ok(chosen.map_or(primary, |node| Destination { node, access: Access::ReadOnly, slot }))
}

impl<'a> Routed<'a> {
    /// `scoped` for a place that was chosen already.
    pub fn to_place(to: Destination, scoped: Scoped<'a>) -> Self {
        Self { scoped, to }
    }

    /// `scoped` for a node that was chosen already.
    pub fn to_node(node: NodeId, scoped: Scoped<'a>) -> Self {
        Self { scoped, to: Destination { node, access: Access::ReadWrite, slot: None } }
    }
}

impl Routed<'_> {
    /// Where it goes.
    #[inline]
    pub fn to(&self) -> Destination {
        self.to
    }

    /// Another request for the same node.
    pub fn beside<'a>(&self, scoped: Scoped<'a>) -> Routed<'a> {
        Routed { scoped, to: self.to }
    }

    /// What of its values was compressed when it was last written out.
    #[inline]
    pub fn compressed(&self) -> Tally {
        self.scoped.compressed()
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

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Option<u16> = Some(7);

    fn cluster(replicas: &[u32]) -> Topology {
        let replicas = replicas.iter().copied().map(NodeId).collect();
        let shard = Shard { primary: NodeId(1), replicas, nearest: None, identity: 0 };
        Topology::cluster(vec![(shard, vec![0..=100])])
    }

    #[test]
    fn a_read_that_a_replica_could_not_answer_goes_round_the_others_and_never_to_the_primary() {
        let replica = |node| Ok(Destination { node: NodeId(node), access: Access::ReadOnly, slot: SLOT });
        let of_three = cluster(&[2, 3, 4]);
        assert_eq!(replica(3), of_three.replica_beside(NodeId(2), SLOT));
        assert_eq!(replica(2), of_three.replica_beside(NodeId(4), SLOT));
        assert_eq!(replica(2), of_three.replica_beside(NodeId(9), SLOT), "it has gone");
        assert_eq!(replica(2), cluster(&[2]).replica_beside(NodeId(2), SLOT), "there is no other");
        assert_eq!(Err(NoRoute::NoReplica), cluster(&[]).replica_beside(NodeId(2), SLOT));
        assert_eq!(Err(NoRoute::Unserved), of_three.replica_beside(NodeId(2), Some(101)));
    }
}
