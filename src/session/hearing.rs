//! A session's ears on a cluster, while its topology changes.
//!
//! What is on every primary (the server's own channels) must be subscribed to on a new one as well, and no more on one
//! that has become a replica, which tells of keys too. A shard channel moves with its slot: the node that has lost it
//! ends the subscription by itself, or answers `MOVED`, and that is followed at once. Ordinary channels stay where they
//! are, because every node of a cluster brings their messages. The client notices none of it; what is published
//! while a shard channel is between two nodes is lost, as it is to any subscriber (*Redis Pub/Sub*: at most once).
//!
//! **Invariant**: where something is subscribed to is only changed together with saying so to nodes that there is an ear
//! on, so that a client may subscribe and unsubscribe while ears are awaited.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::affinity::{Slot, Trace};
use super::aim::Aim;
use super::downstream::{Core, Downstream, Phase};
use super::links::LeaseWait;
use super::subscriptions::Said;
use super::ticket::{Asked, Carried, Ticket};
use crate::resp::Version;
use crate::routing::redirect::Target;
use crate::routing::topology::{NodeId, Topology};
use crate::routing::{Access, Routed};
use crate::tenant::requests::{self, Fixed};
use crate::upstream::{Fingerprint, Load};

/// What is known of a session's ears.
#[derive(Default)]
pub(super) struct Hearing {
    /// The topology that they are in line with.
    version: u64,
    /// Nodes have said since that these slots are theirs no more, but whose they are.
    moved: BTreeMap<u16, NodeId>,
    /// How often they have, since the topology has changed.
    moves: u8,
    /// Something is out of line.
    is_astray: bool,
    /// The nodes that ears are needed on before it can be brought in line.
    sought: Option<BTreeSet<NodeId>>,
    wait: Option<Box<LeaseWait>>,
}

impl Hearing {
    fn owner(&self, topology: &Topology, slot: u16) -> Option<NodeId> {
        self.moved.get(&slot).copied().or_else(|| topology.primary_of(Some(slot)))
    }
}

/// How far the ears have come.
enum Alignment {
    Aligned,
    Waiting,
    /// An ear cannot be had.
    Failed,
}

fn primaries(topology: &Topology) -> Vec<NodeId> {
    topology.shards().iter().map(|shard| shard.primary).collect()
}

impl Downstream {
    /// The session listens to something: it will be told of changes, if there can be any.
    pub(super) fn listens(&self, core: &mut Core, topology: &Topology) {
        let upstream = core.session.binding().map_or(usize::MAX, |binding| binding.tenant().upstream);
        if !self.commons.is_moving(upstream) || core.seldom().hearing.is_some() {
            return;
        }
        core.seldom().hearing = Some(Box::new(Hearing { version: topology.version(), ..Hearing::default() }));
        self.commons.add_hearer(&self.this);
    }

    /// The upstream has ended a subscription by itself: a shard channel has moved with its slot (*Redis Pub/Sub*,
    /// "Sharded Pub/Sub").
    pub(super) fn mislaid(&self, push: &[u8]) {
        let mut core = self.core.borrow_mut();
        if let Some(subscriptions) = core.session.subscriptions() {
            subscriptions.mislay(push);
        }
        self.is_astray(&mut core, None);
    }

    /// Shard channels of this slot were looked for on a node that has lost it, and says where it is.
    pub(super) fn has_moved(&self, slot: u16, to: Target<'_>) {
        let mut core = self.core.borrow_mut();
        let upstream = core.session.binding().map_or(usize::MAX, |binding| binding.tenant().upstream);
        let was_on = core.session.subscriptions().and_then(|subscriptions| subscriptions.displace(slot));
        let node = was_on.and_then(|node| self.commons.node_at(to, ear(upstream, node)));
        self.is_astray(&mut core, node.map(|node| (slot, node)));
    }

    fn is_astray(&self, core: &mut Core, moved: Option<(u16, NodeId)>) {
        let upstream = core.session.binding().map_or(usize::MAX, |binding| binding.tenant().upstream);
        let at_most = self.commons.max_redirects(upstream);
        if let Some(feed) = self.commons.shared.feeds.get(upstream) {
            feed.ask();
        }
        let Some(hearing) = core.seldom.as_mut().and_then(|seldom| seldom.hearing.as_mut()) else { return };
        if let Some((slot, node)) = moved {
            // Nodes that name each other for ever are waited out.
            if hearing.moves >= at_most {
                return;
            }
            hearing.moves += 1;
            hearing.moved.insert(slot, node);
        }
        hearing.is_astray = true;
        self.wake();
    }

    /// Brings the session's ears in line with the topology.
    pub(super) fn align_ears(self: &Rc<Self>, cx: &mut Context<'_>) {
        let mut core = self.core.borrow_mut();
        let core = &mut *core;
        let Some(mut hearing) = core.seldom.as_mut().and_then(|seldom| seldom.hearing.take()) else { return };
        // Without subscriptions there is nothing to bring in line, and no ear either.
        if !core.session.needs(Slot::Ear) || core.phase != Phase::Open {
            hearing.wait = None;
        } else if matches!(self.aligned(core, &mut hearing, cx), Alignment::Failed) {
            tracing::info!("client closed: what it subscribed to has moved and cannot be followed");
            core.phase = Phase::Finishing;
        }
        core.seldom().hearing = Some(hearing);
    }

    /// Asks for a sign of life over ears to nodes that are no primaries any more: one that hangs was replaced, and
    /// would never say so. Without a reply the connection ends after `reply_timeout`, and the client is told by that.
    fn knock(self: &Rc<Self>, core: &mut Core, primaries: &[NodeId]) {
        let (Some(links), Some(namespace)) = (&core.links, core.session.namespace_ref()) else { return };
        let Some(ping) = requests::fixed(Fixed::Ping, namespace) else { return };
        for lane in links.ears() {
            let node = lane.fingerprint().node;
            if primaries.contains(&node) {
                continue;
            }
            let of = Asked::by_proxy(self.commons.clock.now(), core.tenant, namespace.tenant.upstream);
            let of = Asked { way: Carried::Bound, ..of };
            let ticket = Ticket::new(self, (core.replies.nobodys(), false), Aim::Nobody, of);
            // One that is down already is looked after anyway.
            drop(lane.send(ticket, &Routed::to_node(node, ping.as_scoped())));
        }
    }

    fn aligned(self: &Rc<Self>, core: &mut Core, hearing: &mut Hearing, cx: &mut Context<'_>) -> Alignment {
        let upstream = core.session.binding().map_or(usize::MAX, |binding| binding.tenant().upstream);
        let Some(topology) = self.commons.with_view(upstream, |view| Arc::clone(&view.topology)) else {
            return Alignment::Failed;
        };
        let is_new = topology.version() != hearing.version;
        if is_new {
            (hearing.version, hearing.is_astray) = (topology.version(), true);
            (hearing.moved, hearing.moves) = (BTreeMap::new(), 0);
            if let Some(links) = core.links.as_mut().filter(|_| core.replies.is_empty()) {
                links.give_up_idle_ears(&mut core.session);
            }
        }
        let primaries = primaries(&topology);
        if is_new {
            self.knock(core, &primaries);
        }
        loop {
            let Some(subscriptions) = core.session.subscriptions() else { return Alignment::Aligned };
            if std::mem::take(&mut hearing.is_astray) {
                let sought = subscriptions.sought(&primaries, |slot| hearing.owner(&topology, slot));
                hearing.sought = Some(sought);
            }
            let Some(nodes) = hearing.sought.take() else { return Alignment::Aligned };
            match self.get_ears(core, hearing, &nodes, cx) {
                Alignment::Aligned => {}
                Alignment::Waiting => {
                    hearing.sought = Some(nodes);
                    return Alignment::Waiting;
                }
                Alignment::Failed => return Alignment::Failed,
            }
            let owner = |slot| hearing.owner(&topology, slot);
            let Some(subscriptions) = core.session.subscriptions() else { return Alignment::Aligned };
            // The client may have subscribed to more meanwhile.
            let now = subscriptions.sought(&primaries, owner);
            if now.is_subset(&nodes) {
                let said = subscriptions.realigned(&primaries, owner);
                return self.say(core, said);
            }
            hearing.sought = Some(now);
        }
    }

    /// Gets an ear on each of these nodes, one after the other.
    fn get_ears(
        self: &Rc<Self>,
        core: &mut Core,
        hearing: &mut Hearing,
        nodes: &BTreeSet<NodeId>,
        cx: &mut Context<'_>,
    ) -> Alignment {
        let upstream = core.session.binding().map_or(usize::MAX, |binding| binding.tenant().upstream);
        for node in nodes {
            let links = core.links.get_or_insert_default();
            if links.lane(Slot::Ear, *node).is_some() {
                continue;
            }
            let of = ear(upstream, *node);
            let wait = hearing.wait.take().filter(|wait| wait.is_for(Slot::Ear, of));
            let Some(mut wait) = wait.or_else(|| LeaseWait::begin(&self.commons, Slot::Ear, of)) else {
                return Alignment::Failed;
            };
            match wait.poll(self, &mut core.session, links, cx) {
                Poll::Pending => {
                    hearing.wait = Some(wait);
                    return Alignment::Waiting;
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Alignment::Failed,
            }
        }
        Alignment::Aligned
    }

    fn say(self: &Rc<Self>, core: &mut Core, said: Vec<Said>) -> Alignment {
        let Some(namespace) = core.session.namespace_ref().cloned() else { return Alignment::Failed };
        for (node, command, names) in said {
            let Some(request) = requests::subscription(command, &names, &namespace) else { continue };
            let Some(links) = &mut core.links else { return Alignment::Failed };
            // What is to end on a node has ended with the ear on it.
            let Some(lane) = links.lane(Slot::Ear, node).map(Rc::clone) else { continue };
            let of = Asked::by_proxy(self.commons.clock.now(), core.tenant, namespace.tenant.upstream);
            let of = Asked { way: Carried::Bound, ..of };
            let aim = Aim::silent_confirmations(names.len(), command.contains("UNSUB"));
            let ticket = Ticket::new(self, (core.replies.nobodys(), false), aim, of);
            links.mark(Slot::Ear, node, Trace::Stain);
            if lane.send(ticket, &Routed::to_node(node, request.as_scoped())).is_err() {
                return Alignment::Failed;
            }
        }
        Alignment::Aligned
    }
}

/// What an ear on `node` is.
fn ear(upstream: usize, node: NodeId) -> Fingerprint {
    let (access, version, load) = (Access::ReadWrite, Version::Resp3, Load::Light);
    Fingerprint { upstream, node, access, version, database: None, load }
}
