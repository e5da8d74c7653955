//! Sends a request again whose node was not the right one, or was lost before it could have run it.
//!
//! What a node says of the right place is followed at once; what asks for patience is tried again after a pause,
//! at the primary that the topology then names. Attempts are bounded (`max_redirects`), and whoever asked reads
//! the last error; nodes that cannot be reached are tried for no longer than one that does not reply is waited for
//! (`reply_timeout`). What is tried again after a pause because its node failed comes out of its upstream's budget
//! (`[…retry]`); when that is empty, whoever asked reads the error at once. While a request waits nothing else of its client is sent, so that order is kept; one with
//! others behind it is not tried again but answered with the error.
//!
//! A read that its replica could not answer goes to the primary at once, or to another replica after a pause, as
//! its tenant reads (`read_from`).

use std::rc::Rc;

use super::affinity::{Slot, Trace};
use super::commons::Commons;
use super::downstream::{Core, Phase};
use super::rescue::{self, text};
use super::ticket::{Carried, Ticket};
use crate::metrics::label::ResendCause;
use crate::routing::redirect::{self, Verdict, verdict};
use crate::routing::topology::{NodeId, Topology};
use crate::routing::{Access, NoRoute, Routed};
use crate::tenant::OwnedScoped;
use crate::tenant::requests::{self, Fixed};
use crate::upstream::{Again, Failure, Feed, Fingerprint, Kept};

/// Redirections that are followed without a pause, if a pause is possible: the first, and one more if a slot moved
/// twice. What goes on after that are nodes that do not agree yet.
pub(super) const AT_ONCE: u8 = 2;

/// A request to send again.
pub(super) struct Retry {
    pub(super) ticket: Ticket,
    pub(super) request: Kept,
    /// The connection that it was sent over.
    pub(super) from: Fingerprint,
    pub(super) why: Again,
}

/// Where it goes now.
enum Onward {
    /// There.
    To(Onto),
    /// To whoever owns the slot after a pause.
    After(Pause),
}

/// A node, and how it is asked.
#[derive(Clone, Copy)]
struct Onto {
    node: NodeId,
    access: Access,
    /// It does not own the slot yet.
    is_asking: bool,
}

impl Onto {
    fn primary(node: NodeId) -> Self {
        Self { node, access: Access::ReadWrite, is_asking: false }
    }
}

/// For what a request waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// For the node to change its mind.
    Node,
    /// For the topology to change.
    Topology,
}

impl Retry {
    /// Goes on, now or later.
    pub(super) fn begin(mut self) {
        let commons = Rc::clone(&self.ticket.downstream().commons);
        let onward = self.onward(&commons);
        let cause = self.cause();
        if matches!(onward, Onward::After(_)) && !commons.may_retry(self.from.upstream, cause) {
            return self.give_up();
        }
        let attempt = self.ticket.try_again(matches!(onward, Onward::To(_)));
        commons.metrics.borrow_mut().request_again(self.from.upstream, cause);
        match onward {
            Onward::To(onto) => self.go(&commons, onto),
            Onward::After(pause) => self.wait(commons, pause, attempt),
        }
    }

    fn cause(&self) -> ResendCause {
        match &self.why {
            Again::Lost(_) => ResendCause::Lost,
            Again::Redirected(error) => match verdict(self.ticket.told(error)) {
                Verdict::Moved { .. } => ResendCause::Moved,
                Verdict::Ask { .. } => ResendCause::Ask,
                Verdict::AfterRefresh => ResendCause::Refresh,
                Verdict::AfterWait | Verdict::Never => ResendCause::Wait,
            },
        }
    }

    fn onward(&self, commons: &Commons) -> Onward {
        let Some(feed) = commons.shared.feeds.get(self.from.upstream) else {
            return Onward::After(Pause::Node);
        };
        if self.from.access == Access::ReadOnly {
            feed.ask();
            let primary = feed.current().primary_of(self.ticket.of().slot);
            let primary = primary.filter(|_| self.ticket.of().way == Carried::ByReplica);
            return primary.map_or(Onward::After(Pause::Topology), |node| Onward::To(Onto::primary(node)));
        }
        let error = match &self.why {
            Again::Redirected(error) => error,
            Again::Lost(_) => {
                feed.ask();
                return Onward::After(Pause::Topology);
            }
        };
        match verdict(self.ticket.told(error)) {
            Verdict::Moved { .. } if self.ticket.should_pause() => {
                feed.ask();
                Onward::After(Pause::Topology)
            }
            Verdict::Moved { to, .. } => {
                feed.ask();
                let node = commons.node_at(to, self.from);
                node.map_or(Onward::After(Pause::Topology), |node| Onward::To(Onto::primary(node)))
            }
            Verdict::Ask { to, .. } => {
                commons.node_at(to, self.from).map_or(Onward::After(Pause::Node), |node| {
                    Onward::To(Onto { is_asking: true, ..Onto::primary(node) })
                })
            }
            Verdict::AfterRefresh => {
                feed.ask();
                Onward::After(Pause::Topology)
            }
            Verdict::AfterWait | Verdict::Never => Onward::After(Pause::Node),
        }
    }

    /// Sends it there.
    fn go(self, commons: &Rc<Commons>, onto: Onto) {
        if self.ticket.may_bring_payload(&self.request)
            && !commons.may_have_payload(self.from.upstream, onto.node)
        {
            return self.ticket.refuse_because(text::UNKNOWN_PAYLOAD_CHECK);
        }
        match self.ticket.of().way {
            Carried::Shared | Carried::ByReplica => self.send(commons, onto),
            Carried::Alone => self.move_lease(onto),
            Carried::Bound => {
                let downstream = Rc::clone(self.ticket.downstream());
                downstream.core.borrow_mut().session.lost_sight();
                self.send(commons, onto);
            }
        }
    }

    fn send(self, commons: &Rc<Commons>, onto: Onto) {
        let Self { ticket, request, from, why } = self;
        let fingerprint = Fingerprint { node: onto.node, access: onto.access, ..from };
        let asking = asking(&ticket.downstream().core.borrow(), onto.is_asking);
        let asking = asking.as_ref().map(|asking| Routed::to_node(onto.node, asking.as_scoped()));
        let ticket = ticket.carried(Carried::Shared);
        let Some(lane) = commons.lane(fingerprint) else {
            return ticket.refuse_because(text::UNSERVED);
        };
        if let Err((ticket, failure)) = lane.send_again(ticket, &request, asking.as_ref()) {
            let retry = Self { ticket, request, from: fingerprint, why: Again::Lost(failure) };
            drop(why);
            retry.reconsider();
        }
    }

    /// The connection to the node that was named is down.
    fn reconsider(self) {
        let commons = &self.ticket.downstream().commons;
        let is_allowed = self.ticket.has_attempts(commons)
            && !self.ticket.is_overdue(commons)
            && (self.from.access == Access::ReadOnly || !commons.is_refused(self.from))
            && self.ticket.may_wait(&self.ticket.downstream().core.borrow());
        if is_allowed { self.begin() } else { self.give_up() }
    }

    /// Tells whoever asked why there is no answer.
    fn give_up(self) {
        match self.why {
            Again::Redirected(error) => {
                let error = self.ticket.answering(&error).to_vec();
                self.ticket.refuse_because(told_last(&error));
            }
            Again::Lost(failure) => {
                let name = self.ticket.downstream().commons.upstream_name(self.from.upstream).to_owned();
                self.ticket.refuse_because(&rescue::unavailable(&name, &failure));
            }
        }
    }

    fn wait(self, commons: Rc<Commons>, pause: Pause, attempt: u8) {
        let Some(feed) = commons.shared.feeds.get(self.from.upstream).cloned() else { return self.give_up() };
        self.ticket.downstream().core.borrow_mut().drain();
        drop(tokio::task::spawn_local(async move {
            let topology = rest(feed, pause, attempt).await;
            let is_gone = self.ticket.downstream().core.borrow().phase == Phase::Dead;
            match self.place(&topology) {
                _ if is_gone => self.give_up(),
                Ok(onto) => self.go(&commons, onto),
                Err(NoRoute::NoReplica) => self.ticket.refuse_because(text::NO_REPLICA),
                Err(_) => self.give_up(),
            }
        }));
    }

    /// Where it belongs: still to a replica, if it is a read that no primary may be asked.
    fn place(&self, topology: &Topology) -> Result<Onto, NoRoute> {
        let slot = self.ticket.of().slot;
        match self.from.access {
            Access::ReadOnly => {
                let to = topology.replica_beside(self.from.node, slot)?;
                Ok(Onto { node: to.node, access: to.access, is_asking: false })
            }
            Access::ReadWrite => topology.primary_of(slot).map(Onto::primary).ok_or(NoRoute::Unserved),
        }
    }

    /// The session's own connection is needed at `node` instead: its driver sees to it.
    fn move_lease(self, onto: Onto) {
        let downstream = Rc::clone(self.ticket.downstream());
        let mut core = downstream.core.borrow_mut();
        if core.phase == Phase::Dead {
            return;
        }
        let Self { mut ticket, request, from, .. } = self;
        // What was watched over the connection that is given up may change unseen.
        let (last, has_watched) = core.links.as_ref().map(|links| links.last()).unwrap_or_default();
        if has_watched {
            core.session.lost_sight();
            if last == Some(Trace::Watch) {
                ticket.answer_with(&mut core, b"+OK\r\n");
                drop(core);
                return downstream.wake();
            }
        }
        let Onto { node, is_asking, .. } = onto;
        // Another database may have been selected since the connection was made.
        let database = core.session.namespace_ref().and_then(|namespace| namespace.native);
        let to = Fingerprint { node, database, ..from };
        core.seldom().moving = Some(Box::new(Moving { ticket, request, to, is_asking }));
        drop(core);
        downstream.wake();
    }
}

/// A request over a connection of the session's own that has to be made to another node.
pub(super) struct Moving {
    pub(super) ticket: Ticket,
    pub(super) request: Kept,
    pub(super) to: Fingerprint,
    /// The node does not own the slot yet.
    is_asking: bool,
}

impl Moving {
    /// The connection is there, or will not be. The caller holds the connection's state.
    pub(super) fn arrive(self, core: &mut Core, outcome: Result<(), Vec<u8>>) {
        let Self { ticket, request, to, is_asking } = self;
        let asking = asking(core, is_asking);
        let asking = asking.as_ref().map(|asking| Routed::to_node(to.node, asking.as_scoped()));
        let lane = core.links.as_ref().and_then(|links| links.lane(Slot::Own, to.node)).map(Rc::clone);
        match (outcome, lane) {
            (Ok(()), Some(lane)) => {
                if let Some(links) = &mut core.links {
                    links.mark_again(to.node);
                }
                if let Err((ticket, failure)) = lane.send_again(ticket, &request, asking.as_ref()) {
                    ticket.refuse(core, &failure);
                }
            }
            (Err(error), _) => ticket.refuse_with(core, &error),
            (Ok(()), None) => ticket.refuse_with(core, text::UNSERVED),
        }
    }
}

/// What goes before a request to a node that does not own its slot yet.
fn asking(core: &Core, is_asking: bool) -> Option<OwnedScoped> {
    let namespace = core.session.namespace_ref().filter(|_| is_asking)?;
    requests::fixed(Fixed::Asking, namespace)
}

/// Waits for what a request waits for; the topology then.
async fn rest(mut feed: Feed, pause: Pause, attempt: u8) -> std::sync::Arc<Topology> {
    let pause_for = redirect::pause(attempt, fastrand::f64());
    match pause {
        Pause::Node => tokio::time::sleep(pause_for).await,
        Pause::Topology => {
            feed.see();
            drop(tokio::time::timeout(pause_for, feed.changed()).await);
        }
    }
    feed.current()
}

/// The error of a node as the client reads it when nothing more is tried.
fn told_last(error: &[u8]) -> &[u8] {
    let line = error.strip_prefix(b"-").unwrap_or(error);
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    rescue::replaces_in_cluster(line).unwrap_or(line)
}

/// A request that could not even be queued: tries again later if it may.
pub(super) fn later(ticket: Ticket, request: Kept, from: Fingerprint, failure: Failure) {
    Retry { ticket, request, from, why: Again::Lost(failure) }.begin();
}
