//! What the shell tells a session about its own upstream connections, and asks it about itself.

use std::sync::Arc;

use bytes::BytesMut;

use super::affinity::{Affinity, Seat, Slot, Watch};
use super::machine::{Library, Session};
use super::subscriptions::{Heard, Naming, Subscriptions};
use crate::resp::Version;
use crate::resp::reply::ReplyWriter;
use crate::routing::topology::NodeId;
use crate::tenant::directory::Namespace;

/// What becomes of a session that has lost a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aftermath {
    /// It goes on.
    GoOn,
    /// It ends: a client that is told nothing more must know, as if Redis itself had gone.
    Close,
}

impl Session {
    /// The session has a connection of its own now, which is number `id` to the upstream.
    pub fn leased(&mut self, slot: Slot, node: NodeId, id: u64) {
        let affinity = self.affinity.get_or_insert_default();
        let seat = Seat { node, id };
        match slot {
            Slot::Own => affinity.own = Some(seat),
            Slot::Ear => affinity.ears.push(seat),
        }
    }

    /// The connection has been given up; of ears, all of them.
    pub fn released(&mut self, slot: Slot) {
        if let Some(affinity) = &mut self.affinity {
            match slot {
                Slot::Own => affinity.own = None,
                Slot::Ear => affinity.ears = Vec::new(),
            }
            if affinity.is_nothing() {
                self.affinity = None;
            }
        }
    }

    /// Whether the connection must be kept.
    pub fn needs(&self, slot: Slot) -> bool {
        self.affinity.as_ref().is_some_and(|affinity| affinity.needs(slot, self.version))
    }

    /// What the session is subscribed to.
    pub(super) fn subscriptions(&mut self) -> Option<&mut Subscriptions> {
        self.affinity.as_mut().map(|affinity| &mut affinity.subscriptions)
    }

    /// Gives up the ears on these nodes.
    pub(super) fn released_ears(&mut self, nodes: &[NodeId]) {
        if let Some(affinity) = &mut self.affinity {
            affinity.ears.retain(|seat| !nodes.contains(&seat.node));
        }
    }

    /// Whether an ear on this node brings something.
    pub(super) fn hears_from(&self, node: NodeId) -> bool {
        self.affinity
            .as_ref()
            .is_none_or(|affinity| affinity.subscriptions.are_on(node) || affinity.tracking.is_some())
    }

    /// `WATCH` was answered with an error; keys may have been watched before.
    pub fn watch_failed(&mut self, had_watched: bool) {
        if let Some(affinity) = &mut self.affinity
            && !had_watched
        {
            affinity.forget_watched();
        }
    }

    /// A key that is watched has moved to another node, where nobody watches it.
    pub fn lost_sight(&mut self) {
        if let Some(affinity) = &mut self.affinity
            && affinity.watch.is_upstream()
        {
            affinity.watch = Watch::Lost;
        }
    }

    /// The upstream has ended the connection.
    pub fn lost(&mut self, slot: Slot) -> Aftermath {
        let Some(affinity) = &mut self.affinity else { return Aftermath::GoOn };
        let hears = affinity.hears_over(self.version) == slot && !affinity.subscriptions.is_empty();
        let told = hears || affinity.tracking.is_some();
        if slot == Slot::Own && affinity.watch.is_upstream() {
            affinity.watch = Watch::Lost;
        }
        self.released(slot);
        if told { Aftermath::Close } else { Aftermath::GoOn }
    }

    /// `EXEC` was not carried out, and what it selected neither. Names and switches of the connection that it set
    /// stay: they do not decide where keys lie.
    pub fn exec_failed(&mut self) {
        let before = self.affinity.as_mut().and_then(|affinity| affinity.before_exec.take());
        if let (Some(before), Some(bound)) = (before, &mut self.bound) {
            bound.namespace = before;
        }
    }

    /// Nothing is owed, so `EXEC` was carried out.
    pub(super) fn exec_was_carried_out(&mut self) {
        if let Some(affinity) = &mut self.affinity {
            affinity.before_exec = None;
        }
        self.unwind();
    }

    /// The ties, for whoever describes the client.
    pub(super) fn ties(&self) -> Option<&Affinity> {
        self.affinity.as_deref()
    }

    /// The client sees what all clients of its tenant do.
    pub fn monitors(&mut self) {
        self.affinity.get_or_insert_default().is_monitor = true;
    }

    /// Forgets ties that are no more.
    pub fn unwind(&mut self) {
        if self.affinity.as_ref().is_some_and(|affinity| affinity.is_nothing()) {
            self.affinity = None;
        }
    }

    /// The client that is told of invalidations instead.
    pub fn redirect(&self) -> Option<u64> {
        Some(self.affinity.as_ref()?.tracking.as_ref()?.redirect?.id)
    }

    /// It has gone; a RESP3 client is told.
    pub fn redirect_is_broken(&mut self, out: &mut BytesMut) {
        let tracking = self.affinity.as_mut().and_then(|affinity| affinity.tracking.as_mut());
        let Some(redirect) = tracking.and_then(|tracking| tracking.redirect.as_mut()) else { return };
        redirect.is_broken = true;
        if self.version == Version::Resp3 {
            let mut reply = ReplyWriter::new(out, self.version);
            reply.push(2);
            reply.bulk(b"tracking-redir-broken");
            reply.integer(i64::try_from(redirect.id).unwrap_or(i64::MAX));
        }
    }

    /// A push of one of its own connections; what the client reads of it is appended to `out`.
    pub(super) fn hear(&self, push: &[u8], shared_database: u32, out: &mut BytesMut) -> Heard {
        let (Some(bound), Some(affinity)) = (&self.bound, &self.affinity) else { return Heard::Nothing };
        let naming = Naming { binding: &bound.binding, shared_database, version: self.version };
        affinity.subscriptions.hear(push, naming, out)
    }
}

/// What others may know of it.
impl Session {
    /// Whether a transaction has something to run that may change data.
    pub fn has_queued_writes(&self) -> bool {
        self.transaction().is_some_and(|transaction| transaction.writes)
    }

    /// Keys watched, as far as `CLIENT LIST` says: 0 or 1.
    pub fn watched(&self) -> usize {
        let watch = self.affinity.as_ref().map(|affinity| affinity.watch);
        usize::from(watch.is_some_and(|watch| watch != Watch::Nothing))
    }

    /// The database selected.
    pub fn database(&self) -> u32 {
        self.bound.as_ref().map_or(0, |bound| bound.namespace.database)
    }

    /// The namespace selected.
    pub fn namespace_ref(&self) -> Option<&Arc<Namespace>> {
        self.bound.as_ref().map(|bound| &bound.namespace)
    }

    /// Whether the reply to a request that was put off is wanted; the next one's turn begins.
    pub fn takes_reply(&mut self) -> bool {
        self.begin_request()
    }

    /// `CLIENT NO-EVICT`.
    pub fn is_unevictable(&self) -> bool {
        self.is_unevictable
    }

    /// `CLIENT SETINFO`: the library's name and version.
    pub fn library(&self) -> (Box<[u8]>, Box<[u8]>) {
        let Library { name, version } = self.library.as_deref().cloned().unwrap_or_default();
        (name, version)
    }
}
