//! What a client and the other clients of its tenant know of each other, and have to say to each other.
//!
//! The tenant's list of clients has a card of each connection that is bound to it. Only its own session writes
//! the card; what others want of the session comes as notes, which it reads when it is polled.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::aim::Aim;
use super::downstream::{Core, Downstream};
use super::machine::Session;
use super::subscriptions;
use super::ticket::{Asked, Ticket};
use super::tracking::Tracking;
use crate::clients::{Card, Facts, Marks, Note, Origin, UnblockAs};
use crate::resp::Version;
use crate::routing::Routed;
use crate::tenant::requests;
use crate::upstream::{Fingerprint, Load};

impl Downstream {
    /// Keys that the client, or the one it redirects to, must not use from its cache any more.
    pub(super) fn invalidate(&self, core: &mut Core, keys: Option<&[Bytes]>, push: &mut BytesMut) {
        let tracking = core.session.ties().and_then(|ties| ties.tracking.as_ref());
        match tracking.map(|tracking| tracking.redirect) {
            Some(Some(_)) => self.commons.redirect(&mut core.session, keys, push),
            Some(None) if core.session.version() == Version::Resp3 => {
                subscriptions::write_invalidation(keys, (Version::Resp3, Version::Resp3), push);
            }
            Some(None) | None => {}
        }
    }

    /// Makes the client known to its tenant, and unknown to the one it has left.
    pub(super) fn introduce(&self, core: &mut Core) {
        let id = core.session.client_id();
        let is_same = core.card.as_ref().map_or(id == 0, |card| {
            card.id() == id && core.card_tenant == core.session.binding().map(|of| of.tenant().index)
        });
        if is_same {
            return;
        }
        self.take_leave(core);
        let Some(clients) = self.commons.clients_of(&core.session) else { return };
        let (addr, laddr) = self.writer.addresses();
        core.session.is_connected_to(&laddr);
        let created = u32::try_from(self.commons.clock.millis() / 1000).unwrap_or(u32::MAX);
        let origin = Origin {
            id,
            addr: addr.into(),
            laddr: laddr.into(),
            // The file's own number would count the connections of all tenants.
            fd: u32::try_from(id).unwrap_or(u32::MAX),
            is_unix: self.writer.is_unix(),
            created_secs: created,
        };
        let limit = self.commons.limits.subscriber_output.hard;
        let card = Arc::new(Card::new(origin, facts(&core.session), limit));
        if let Some(task) = &*self.task.borrow() {
            card.set_waker(task);
        }
        clients.enter(Arc::clone(&card));
        core.card = Some(card);
        core.card_tenant = core.session.binding().map(|of| of.tenant().index);
    }

    /// The client is its tenant's no more.
    pub(super) fn take_leave(&self, core: &mut Core) {
        let uncounted = core.seldom.as_mut().and_then(|seldom| seldom.uncounted.take());
        if let Some((upstream, reason)) = uncounted {
            self.commons.metrics.borrow_mut().lease_left(upstream, reason);
        }
        let Some(card) = core.card.take() else { return };
        let tenant =
            core.card_tenant.take().and_then(|index| self.commons.shared.directory.tenants().get(index));
        if let Some(clients) = tenant.and_then(|tenant| self.commons.shared.clients.of(tenant)) {
            clients.leave(card.id());
            let patterns = core.seldom.as_mut().map(|seldom| std::mem::take(&mut seldom.patterns));
            for pattern in patterns.unwrap_or_default() {
                clients.pattern_removed(&pattern);
            }
        }
    }

    /// Tells the tenant what has changed about the client.
    pub(super) fn describe(&self, core: &mut Core) {
        let Core { links, session, .. } = core;
        if let Some(held) = links {
            let upstream = session.binding().map_or(0, |binding| binding.tenant().upstream);
            held.count(session, upstream, &self.commons);
            if held.is_empty() && !held.is_blocked {
                *links = None;
            }
        }
        let Some(card) = &core.card else { return };
        let now = facts(&core.session);
        card.amend(|facts| {
            let monitors = facts.marks & Marks::MONITOR;
            *facts = now;
            facts.marks |= monitors;
        });
        card.set_blocked(core.links.as_ref().is_some_and(|links| links.is_blocked));
        let patterns: Vec<Bytes> = core
            .session
            .ties()
            .map(|ties| ties.subscriptions.patterns().cloned().collect())
            .unwrap_or_default();
        let counted = core.seldom.as_ref().map_or(&[][..], |seldom| &seldom.patterns);
        if patterns != counted
            && let Some(clients) = self.commons.clients_of(&core.session)
        {
            for pattern in &patterns {
                clients.pattern_added(pattern);
            }
            for pattern in counted {
                clients.pattern_removed(pattern);
            }
            core.seldom().patterns = patterns;
        }
    }

    /// What other clients have to say to this one.
    pub(super) fn hear_others(&self) {
        let mut core = self.core.borrow_mut();
        let core = &mut *core;
        let Some(card) = core.card.as_ref().filter(|card| card.has_notes()) else { return };
        for note in card.take_notes() {
            match note {
                Note::Kill => core.die(),
                // A monitor's lines are replies, and `CLIENT REPLY` keeps them back.
                Note::Push(push) if push.starts_with(b"+") && !core.session.wants_replies() => {}
                Note::Push(push) => self.push(core, &push),
                Note::FlushedAll => {
                    let mut push = BytesMut::new();
                    self.invalidate(core, None, &mut push);
                    self.push(core, &push);
                }
                Note::Unblock(how) => self.unblock(core, how),
            }
        }
    }

    /// Asks the upstream to end the command that blocks.
    fn unblock(&self, core: &mut Core, how: UnblockAs) {
        let Some(links) = core.links.as_mut().filter(|links| links.is_blocked) else { return };
        // The request may arrive when the command has ended already, and must not end somebody else's.
        links.stain();
        let (Some(lane), Some(namespace)) = (links.own(), core.session.namespace_ref()) else {
            return;
        };
        let (Some(request), Some(this)) =
            (requests::unblock(lane.client_id(), how == UnblockAs::Error, namespace), self.this.upgrade())
        else {
            return;
        };
        let upstream = namespace.tenant.upstream;
        let routed = Routed::to_node(lane.fingerprint().node, request.as_scoped());
        if let Some(shared) = self.commons.lane(Fingerprint::of(&routed, Version::Resp2, Load::Light)) {
            let turn = (core.replies.nobodys(), false);
            let of = Asked::by_proxy(self.commons.clock.now(), core.tenant, upstream);
            let ticket = Ticket::new(&this, turn, Aim::Nobody, of);
            let outcome = shared.send(ticket, &routed);
            // The shared connection may be down while the client's own is not: the next attempt must count.
            if let (Err(_), Some(card)) = (outcome, &core.card) {
                card.set_blocked(true);
            }
        }
    }
}

/// What others may know of a client.
fn facts(session: &Session) -> Facts {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let ties = session.ties();
    let [channels, patterns, shard_channels] =
        ties.map(|ties| ties.subscriptions.counts().map(number)).unwrap_or_default();
    let tracking = ties.and_then(|ties| ties.tracking.as_ref());
    let redirect = tracking.and_then(|tracking| tracking.redirect);
    let mut marks = Marks::empty();
    marks.set(Marks::TRACKING, tracking.is_some());
    marks.set(Marks::TRACKING_BCAST, tracking.is_some_and(Tracking::is_broadcast));
    marks.set(Marks::TRACKING_BROKEN_REDIRECT, redirect.is_some_and(|redirect| redirect.is_broken));
    marks.set(Marks::NO_EVICT, session.is_unevictable());
    let (lib_name, lib_ver) = session.library();
    Facts {
        name: session.name.clone(),
        user: session.user().into(),
        database: session.database(),
        version: session.version(),
        lib_name,
        lib_ver,
        channels,
        patterns,
        shard_channels,
        queued: session.transaction().map(|transaction| number(transaction.len())),
        watched: number(session.watched()),
        redirect: redirect.map_or(0, |redirect| redirect.id),
        marks,
    }
}
