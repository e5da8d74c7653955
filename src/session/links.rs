//! A session's own upstream connections: how it gets them, marks them and gives them up.

use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::sync::{AcquireError, OwnedSemaphorePermit};
use tokio::time::Sleep;

use super::affinity::{Slot, Trace};
use super::commons::Commons;
use super::delivery::Delivery;
use super::downstream::{Core, Downstream, Phase};
use super::machine::Session;
use super::rescue;
use super::subscriptions::Heard;
use super::ticket::Ticket;
use super::ties::Aftermath;
use crate::metrics::label::LeaseReason;
use crate::routing::topology::{MultiKeyScope, NodeId};
use crate::upstream::dedicated::{Clean, Dirty};
use crate::upstream::{Fingerprint, Holder, Lane, Lease, Leases, Patience, Pushed, Readiness};

/// What the upstream remembers of the session on its own connection.
enum Own {
    /// Nothing.
    Clean(Lease<Clean, Ticket>),
    /// Watched keys.
    Watching(Lease<Dirty, Ticket>),
    /// Subscriptions, tracking, or another database.
    Stained(Lease<Dirty, Ticket>),
}

impl Own {
    fn lane(&self) -> Option<&Rc<Lane<Ticket>>> {
        match self {
            Self::Clean(lease) => lease.lane(),
            Self::Watching(lease) | Self::Stained(lease) => lease.lane(),
        }
    }

    /// A request that leaves `trace` is about to be sent.
    fn marked(self, trace: Trace) -> Self {
        match (self, trace) {
            (Self::Clean(lease), Trace::Watch) => Self::Watching(lease.soil()),
            (Self::Clean(lease), Trace::Stain) => Self::Stained(lease.soil()),
            (Self::Watching(lease), Trace::Stain) => Self::Stained(lease),
            // It is given back only when nothing is owed: then this has been answered.
            (Self::Watching(lease), Trace::Forget) => Self::Clean(lease.unwatched()),
            (own, _) => own,
        }
    }
}

/// The connections that one session has to itself.
#[derive(Default)]
pub(super) struct Links {
    own: Option<Own>,
    ears: Vec<Lease<Dirty, Ticket>>,
    /// The native database that the session's own connection has selected.
    database: Option<u32>,
    /// It waits for a command that blocks.
    pub(super) is_blocked: bool,
    /// What the last request over the session's own connection leaves behind.
    last: Option<Trace>,
    /// Keys were watched before that request.
    has_watched: bool,
    /// Why it is held, as it was last counted.
    counted: Option<(usize, LeaseReason)>,
}

impl Links {
    /// The session's own connection.
    pub(super) fn own(&self) -> Option<&Rc<Lane<Ticket>>> {
        self.own.as_ref().and_then(Own::lane)
    }

    /// The connection in `slot` to `node`.
    pub(super) fn lane(&self, slot: Slot, node: NodeId) -> Option<&Rc<Lane<Ticket>>> {
        let mut lanes = self.lanes(slot);
        lanes.find(|lane| lane.fingerprint().node == node)
    }

    /// The connections that bring pushes.
    pub(super) fn ears(&self) -> impl Iterator<Item = &Rc<Lane<Ticket>>> {
        self.lanes(Slot::Ear)
    }

    /// The connections in `slot`.
    fn lanes(&self, slot: Slot) -> impl Iterator<Item = &Rc<Lane<Ticket>>> {
        let own = self.own().filter(|_| slot == Slot::Own);
        let ears = self.ears.iter().filter(move |_| slot == Slot::Ear).filter_map(Lease::lane);
        own.into_iter().chain(ears)
    }

    /// A request that leaves `trace` is about to be sent over the connection in `slot` to `node`.
    pub(super) fn mark(&mut self, slot: Slot, node: NodeId, trace: Trace) {
        let patience = match trace {
            Trace::Waits(patience) => patience,
            Trace::Nothing | Trace::Watch | Trace::Forget | Trace::Stain => Patience::Usual,
        };
        if let Some(lane) = self.lane(slot, node) {
            lane.be_patient(patience);
        }
        if slot == Slot::Own {
            self.is_blocked = matches!(trace, Trace::Waits(_));
            self.last = Some(trace);
            self.has_watched = matches!(self.own, Some(Own::Watching(_)));
            self.own = self.own.take().map(|own| own.marked(trace));
        }
    }

    /// What the last request leaves behind, and whether keys were watched before it.
    pub(super) fn last(&self) -> (Option<Trace>, bool) {
        (self.last, self.has_watched)
    }

    /// The last request goes over the session's own connection to `node` instead.
    pub(super) fn mark_again(&mut self, node: NodeId) {
        if let Some(trace) = self.last {
            self.mark(Slot::Own, node, trace);
        }
    }

    /// Something about the session's own connection is still under way elsewhere: it must not meet another
    /// session.
    pub(super) fn stain(&mut self) {
        self.own = self.own.take().map(|own| own.marked(Trace::Stain));
    }

    /// The session's own connection must have `database` selected for what is sent next: whether it has not.
    pub(super) fn select(&mut self, database: Option<u32>) -> bool {
        if self.database == database {
            return false;
        }
        self.database = database;
        self.stain();
        true
    }

    /// Gives the session's own connection up, if it is clean, for one to another node.
    pub(super) fn make_way(&mut self, session: &mut Session, leases: &Leases<Ticket>) {
        if let Some(own) = self.own.take() {
            if let Own::Clean(lease) = own {
                lease.give_back(leases);
            }
            session.released(Slot::Own);
        }
    }

    fn hold(&mut self, slot: Slot, lease: Lease<Clean, Ticket>, database: Option<u32>) {
        match slot {
            Slot::Own => (self.own, self.database) = (Some(Own::Clean(lease)), database),
            Slot::Ear => self.ears.push(lease.soil()),
        }
    }

    /// Whether there is nothing to give up, now that nothing is owed. A subscriber is asked at each message, and
    /// to describe it anew would take as long as it has patterns.
    pub(super) fn is_settled(&self, session: &Session) -> bool {
        !self.is_blocked
            && !self.is_empty()
            && (self.own.is_none() || session.needs(Slot::Own))
            && (self.ears.is_empty() || session.needs(Slot::Ear))
    }

    /// Gives up the connections that the session needs no more. Nothing is owed to it.
    pub(super) fn settle(&mut self, session: &mut Session, leases: &Leases<Ticket>) {
        self.is_blocked = false;
        if self.own.is_some() && !session.needs(Slot::Own) {
            if let Some(Own::Clean(lease)) = self.own.take() {
                lease.give_back(leases);
            }
            session.released(Slot::Own);
        }
        if !self.ears.is_empty() && !session.needs(Slot::Ear) {
            self.ears = Vec::new();
            session.released(Slot::Ear);
        }
    }

    /// Lets go of connections that have ended, and tells the session.
    ///
    /// A connection to a node that `has_gone` has ended as well: it would tell nothing of what happens now.
    pub(super) fn look(&mut self, session: &mut Session, has_gone: impl Fn(NodeId) -> bool) -> Aftermath {
        let mut aftermath = Aftermath::GoOn;
        for slot in [Slot::Own, Slot::Ear] {
            let has_ended = |lane: &&Rc<Lane<Ticket>>| {
                has_gone(lane.fingerprint().node) || matches!(lane.readiness(), Readiness::Down(_))
            };
            let ended: Vec<NodeId> =
                self.lanes(slot).filter(has_ended).map(|lane| lane.fingerprint().node).collect();
            if ended.is_empty() {
                continue;
            }
            if slot == Slot::Ear && !ended.iter().any(|node| session.hears_from(*node)) {
                self.give_up_ears(session, &ended);
                continue;
            }
            match slot {
                Slot::Own => self.own = None,
                Slot::Ear => self.ears = Vec::new(),
            }
            if session.lost(slot) == Aftermath::Close {
                aftermath = Aftermath::Close;
            }
        }
        aftermath
    }

    /// Gives up the ears that bring nothing any more. Nothing is owed to the session.
    pub(super) fn give_up_idle_ears(&mut self, session: &mut Session) {
        let nodes = self.lanes(Slot::Ear).map(|lane| lane.fingerprint().node);
        let idle: Vec<NodeId> = nodes.filter(|node| !session.hears_from(*node)).collect();
        self.give_up_ears(session, &idle);
    }

    fn give_up_ears(&mut self, session: &mut Session, nodes: &[NodeId]) {
        self.ears.retain(|lease| !lease.lane().is_some_and(|lane| nodes.contains(&lane.fingerprint().node)));
        session.released_ears(nodes);
    }

    /// There is no connection left.
    pub(super) fn is_empty(&self) -> bool {
        self.own.is_none() && self.ears.is_empty()
    }

    /// Counts what the connections are held for, if that has changed.
    pub(super) fn count(&mut self, session: &Session, upstream: usize, commons: &Commons) {
        let reason = (!self.is_empty()).then(|| self.reason(session));
        let now = reason.map(|reason| (upstream, reason));
        if now == self.counted {
            return;
        }
        let mut metrics = commons.metrics.borrow_mut();
        if let Some((upstream, reason)) = std::mem::replace(&mut self.counted, now) {
            metrics.lease_left(upstream, reason);
        }
        if let Some((upstream, reason)) = now {
            metrics.lease_entered(upstream, reason);
        }
    }

    /// What was counted last: the session ends, and somebody must take it back.
    pub(super) fn counted(&self) -> Option<(usize, LeaseReason)> {
        self.counted
    }

    fn reason(&self, session: &Session) -> LeaseReason {
        match session.ties() {
            Some(ties) if !ties.subscriptions.is_empty() => LeaseReason::Subscribed,
            Some(ties) if ties.tracking.is_some() => LeaseReason::Tracking,
            _ if self.is_blocked => LeaseReason::Blocked,
            _ => LeaseReason::Watching,
        }
    }
}

type Permit = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>>>>;

/// How far a session has come with a connection of its own.
enum Stage {
    /// It waits until there may be one more.
    Permit(Permit),
    /// It waits for the handshake.
    Connecting(Lease<Clean, Ticket>),
}

/// A session that waits for a connection of its own.
pub(super) struct LeaseWait {
    slot: Slot,
    fingerprint: Fingerprint,
    stage: Stage,
    deadline: Pin<Box<Sleep>>,
    /// How it ended, for the request that will ask again.
    outcome: Option<Result<(), Vec<u8>>>,
}

impl LeaseWait {
    /// Begins to wait. `None`: there is no such upstream.
    pub(super) fn begin(commons: &Commons, slot: Slot, fingerprint: Fingerprint) -> Option<Box<Self>> {
        let permits = commons.leases.permits(fingerprint.upstream)?;
        let permit = std::sync::Arc::clone(permits).acquire_owned();
        let deadline = tokio::time::sleep(commons.leases.wait(fingerprint.upstream));
        let (stage, deadline) = (Stage::Permit(Box::pin(permit)), Box::pin(deadline));
        // Who cannot be reached is tried by the shared connection, which waits between its attempts.
        let outcome = commons
            .why_down(fingerprint)
            .map(|failure| Err(rescue::unavailable(commons.upstream_name(fingerprint.upstream), &failure)));
        Some(Box::new(Self { slot, fingerprint, stage, deadline, outcome }))
    }

    /// Whether there is nothing to do yet but to wait.
    pub(super) fn is_pending(&mut self, downstream: &Rc<Downstream>, cx: &mut Context<'_>) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        let mut core = downstream.core.borrow_mut();
        let core = &mut *core;
        let links = core.links.get_or_insert_default();
        match self.advance(downstream, &mut core.session, links, cx) {
            Poll::Ready(outcome) => self.outcome = Some(outcome),
            Poll::Pending => return true,
        }
        false
    }

    /// As it came out, if it has.
    pub(super) fn poll(
        &mut self,
        downstream: &Rc<Downstream>,
        session: &mut Session,
        links: &mut Links,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Vec<u8>>> {
        match self.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => self.advance(downstream, session, links, cx),
        }
    }

    /// To which node it will be.
    pub(super) fn is_for(&self, slot: Slot, fingerprint: Fingerprint) -> bool {
        self.slot == slot && self.fingerprint == fingerprint
    }

    /// Goes on; ready with the error for the client, or when the session holds the connection.
    fn advance(
        &mut self,
        downstream: &Rc<Downstream>,
        session: &mut Session,
        links: &mut Links,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Vec<u8>>> {
        let commons = &downstream.commons;
        if let Stage::Permit(permit) = &mut self.stage
            && let Poll::Ready(Ok(permit)) = permit.as_mut().poll(cx)
        {
            let holder: Weak<Downstream> = Rc::downgrade(downstream);
            match commons.lease(self.fingerprint, permit, holder as Weak<dyn Holder<Ticket>>) {
                Some(lease) => self.stage = Stage::Connecting(lease),
                None => return Poll::Ready(Err(rescue::text::UPSTREAM_REFUSED_PROXY.to_vec())),
            }
        }
        if let Some(outcome) = self.connected(commons, session, links) {
            return Poll::Ready(outcome);
        }
        if self.deadline.as_mut().poll(cx).is_ready() {
            commons.metrics.borrow_mut().lease_refused(self.fingerprint.upstream);
            let upstream = commons.upstream_name(self.fingerprint.upstream);
            let waited = commons.leases.wait(self.fingerprint.upstream);
            return Poll::Ready(Err(rescue::no_lease(upstream, waited)));
        }
        Poll::Pending
    }

    fn connected(
        &mut self,
        commons: &Commons,
        session: &mut Session,
        links: &mut Links,
    ) -> Option<Result<(), Vec<u8>>> {
        let Stage::Connecting(lease) = &self.stage else { return None };
        let lane = lease.lane()?;
        match lane.readiness() {
            Readiness::Connecting => None,
            Readiness::Down(failure) => {
                let name = commons.upstream_name(self.fingerprint.upstream);
                Some(Err(rescue::unavailable(name, &failure)))
            }
            Readiness::Ready => {
                let id = lane.client_id();
                // Two may have looked for the same: a request of the client's, and its ears.
                if self.slot == Slot::Ear && links.lane(Slot::Ear, self.fingerprint.node).is_some() {
                    return Some(Ok(()));
                }
                let none = Stage::Permit(Box::pin(std::future::pending()));
                if let Stage::Connecting(lease) = std::mem::replace(&mut self.stage, none) {
                    links.hold(self.slot, lease, self.fingerprint.database);
                }
                session.leased(self.slot, self.fingerprint.node, id);
                Some(Ok(()))
            }
        }
    }
}

/// Pushes of the session's own connections.
impl Holder<Ticket> for Downstream {
    fn pushed(&self, read: &[u8], frame: &[u8], delivery: &mut Delivery) -> Pushed {
        let mut core = self.core.borrow_mut();
        let core = &mut *core;
        let mut push = BytesMut::new();
        let database = self.commons.shared_database(&core.session);
        match core.session.hear(frame, database, &mut push) {
            Heard::Confirmation { ends } => return Pushed::Confirmation { ends },
            Heard::Message => {}
            Heard::Invalidation(keys) => self.invalidate(core, keys.as_deref(), &mut push),
            Heard::Nothing => return Pushed::Event,
        }
        if core.phase != Phase::Dead && !push.is_empty() {
            core.take_push(read, &push);
            if let Some(this) = self.this.upgrade() {
                delivery.touch(&this, core);
            }
        }
        Pushed::Event
    }

    fn unasked(&self, push: &[u8]) {
        self.mislaid(push);
    }

    fn changed(&self) {
        self.wake();
    }
}

impl Downstream {
    /// Nothing is owed: gives up what is needed no more, and counts what is held for what.
    pub(super) fn settle(&self, core: &mut Core) {
        let Core { links, session, replies, .. } = core;
        if let Some(held) = links
            && replies.is_empty()
        {
            held.settle(session, &self.commons.leases);
        }
        session.unwind();
        self.describe(core);
    }

    /// Lets go of connections that have ended. A client that would be told nothing more is closed.
    pub(super) fn look_after_links(&self) {
        let mut core = self.core.borrow_mut();
        let Core { links: Some(links), session, phase, replies, .. } = &mut *core else { return };
        let topology = self.commons.changing_topology(session);
        let has_gone = |node| {
            topology.as_ref().is_some_and(|topology| match topology.scope() {
                // What is owed over the former primary still comes, or ends with its connection.
                MultiKeyScope::Node => replies.is_empty() && topology.primary_of(None) != Some(node),
                // It may be a replica now, and go on telling what happens.
                MultiKeyScope::Slot => false,
            })
        };
        if links.look(session, has_gone) == Aftermath::Close && *phase == Phase::Open {
            tracing::info!("client closed: its own connection to the upstream has ended");
            *phase = Phase::Finishing;
        }
    }
}
