//! What ties a session to an upstream connection of its own, and which connection its requests take.
//!
//! A session without ties sends over the connection that its worker shares. While it watches keys, is
//! subscribed or tracks keys, the upstream must know it from others, so it has a lease and **all** its requests
//! take it: then their order is Redis' own. A RESP2 client cannot be sent pushes between replies, so what it
//! subscribes to comes over a second connection, the *ear*, which always speaks RESP3.
//!
//! **Invariant**: a request changes connections only when nothing is owed, so that it cannot overtake.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::subscriptions::Subscriptions;
use super::tracking::Tracking;
use super::transaction::Transaction;
use crate::resp::Version;
use crate::routing::topology::NodeId;
use crate::tenant::directory::Namespace;
use crate::upstream::Patience;

/// Which of its own connections a session needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The one that its requests take.
    Own,
    /// The one that only brings pushes, for a RESP2 client.
    Ear,
}

/// The connection that a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The one that the worker shares.
    Shared,
    /// One of the session's own.
    Leased(Slot, Trace),
}

impl Over {
    /// Whether nothing may follow until the reply has come.
    pub fn waits(self) -> bool {
        matches!(self, Self::Leased(_, Trace::Waits(_)))
    }
}

/// What a request leaves behind on the session's own connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nothing.
    Nothing,
    /// Nothing, but it may hold the connection for long; nothing else is sent meanwhile.
    Waits(Patience),
    /// Watched keys, until `EXEC`, `DISCARD` or `UNWATCH`.
    Watch,
    /// Nothing, and the watched keys are forgotten.
    Forget,
    /// Subscriptions or tracking: the connection is never used for another session.
    Stain,
}

/// Keys that are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Watch {
    /// None.
    #[default]
    Nothing,
    /// So many, each `WATCH` counted as it came, on the session's own connection.
    Keys(usize),
    /// Some, on a connection that has been lost since: they may have changed.
    Lost,
}

impl Watch {
    /// Whether the upstream watches keys for the session.
    pub(super) fn is_upstream(self) -> bool {
        matches!(self, Self::Keys(_))
    }
}

/// One of the session's own connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    /// To which node it is.
    pub(super) node: NodeId,
    /// Its `CLIENT ID` there.
    pub(super) id: u64,
}

/// The ties of one session.
#[derive(Debug, Default)]
pub(super) struct Affinity {
    /// The session's own connection, while it has one.
    pub(super) own: Option<Seat>,
    /// Its ears: several where what it subscribed to comes from several nodes.
    pub(super) ears: Vec<Seat>,
    /// Whether pushes come over ears even to a RESP3 client: its requests go to several nodes, and so over several
    /// connections.
    pub(super) hears_apart: bool,
    pub(super) transaction: Option<Transaction>,
    pub(super) watch: Watch,
    /// The slots of what is watched, where slots decide.
    pub(super) watched_slots: BTreeSet<Option<u16>>,
    pub(super) subscriptions: Subscriptions,
    pub(super) tracking: Option<Tracking>,
    /// The database before an `EXEC` that has selected another, until it is known to have been carried out.
    pub(super) before_exec: Option<Arc<Namespace>>,
    /// `MONITOR`.
    pub(super) is_monitor: bool,
}

impl Affinity {
    /// Whether the session's own connection `slot` must stay.
    pub(super) fn needs(&self, slot: Slot, version: Version) -> bool {
        let is_subscribed = !self.subscriptions.is_empty();
        let hears = self.hears_over(version);
        let tracking = self.tracking.as_ref();
        match (slot, version) {
            (Slot::Own, Version::Resp2) => {
                self.watch.is_upstream() || tracking.is_some_and(Tracking::is_redirected)
            }
            (Slot::Own, Version::Resp3) => {
                self.watch.is_upstream() || tracking.is_some() || (is_subscribed && hears == Slot::Own)
            }
            (Slot::Ear, Version::Resp2) => is_subscribed || tracking.is_some_and(Tracking::is_redirected),
            (Slot::Ear, Version::Resp3) => is_subscribed && hears == Slot::Ear,
        }
    }

    /// The connections that bring what it is subscribed to.
    pub(super) fn hears_over(&self, version: Version) -> Slot {
        if self.hears_apart { Slot::Ear } else { slot_of_pushes(version) }
    }

    /// What was watched is watched no more; what it was.
    pub(super) fn forget_watched(&mut self) -> Watch {
        self.watched_slots.clear();
        std::mem::take(&mut self.watch)
    }

    /// Whether there is nothing left that makes the session special.
    pub(super) fn is_nothing(&self) -> bool {
        self.own.is_none()
            && self.ears.is_empty()
            && self.transaction.is_none()
            && self.watch == Watch::Nothing
            && self.subscriptions.is_empty()
            && self.tracking.is_none()
            && self.before_exec.is_none()
            && !self.is_monitor
    }

    /// The session's connection in `slot` to `node`.
    pub(super) fn seat(&self, slot: Slot, node: NodeId) -> Option<Seat> {
        let mut seats = match slot {
            Slot::Own => self.own.as_slice(),
            Slot::Ear => &self.ears,
        }
        .iter();
        seats.find(|seat| seat.node == node).copied()
    }

    /// Whether the session's own connection is to another node than `node`, and must stay there.
    pub(super) fn is_held_elsewhere(&self, node: NodeId, version: Version) -> bool {
        self.own.is_some_and(|seat| seat.node != node) && self.needs(Slot::Own, version)
    }

    /// Whether the client is told things that it did not ask for one by one.
    pub(super) fn is_told(&self) -> bool {
        !self.subscriptions.is_empty() || self.tracking.is_some() || self.is_monitor
    }

    /// Whether only the commands of a subscriber are allowed (*Redis Pub/Sub*: RESP2 clients).
    pub(super) fn is_restricted(&self, version: Version) -> bool {
        version == Version::Resp2 && !self.subscriptions.is_empty()
    }
}

/// The connection that brings a client's messages.
pub(super) fn slot_of_pushes(version: Version) -> Slot {
    match version {
        Version::Resp2 => Slot::Ear,
        Version::Resp3 => Slot::Own,
    }
}
