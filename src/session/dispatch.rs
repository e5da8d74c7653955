//! Sends a request over the connection that it takes, or says why it could not be sent.

use std::rc::Rc;

use super::affinity::{Over, Slot, Trace};
use super::again;
use super::commons::Commons;
use super::downstream::Core;
use super::links::Links;
use super::ticket::{Carried, Ticket};
use super::turn::Ways;
use crate::resp::Version;
use crate::routing::{Access, Routed};
use crate::tenant::requests;
use crate::upstream::lane::Taken;
use crate::upstream::{Failure, Fate, Fingerprint, Kept, Lane, Load};

/// A shared lane that requests were sent on.
pub(super) type LaneInUse = (Fingerprint, Rc<Lane<Ticket>>);

/// A request that could not be sent, and why.
pub(super) struct Refused {
    ticket: Ticket,
    failure: Failure,
    /// The request, and where it was to go, if it may be sent elsewhere.
    request: Option<(Kept, Fingerprint)>,
}

impl Refused {
    /// There is no connection for it.
    fn unsent(ticket: Ticket) -> Box<Self> {
        Box::new(Self { ticket, failure: not_there(), request: None })
    }

    pub(super) fn tell(self, core: &mut Core) {
        let Self { ticket, failure, request } = self;
        let may_go_on = |from: Fingerprint| match ticket.of().way {
            Carried::ByReplica => true,
            Carried::Shared | Carried::Alone | Carried::Bound => {
                ticket.may_wait(core)
                    // Who waits for a node that is asked nothing waits for nothing; another replica may be asked.
                    && (from.access == Access::ReadOnly || !ticket.downstream().commons.is_refused(from))
            }
        };
        match request {
            Some((request, from)) if may_go_on(from) => {
                core.drain();
                // Not here: the connection's state is in use.
                drop(tokio::task::spawn_local(async move { again::later(ticket, request, from, failure) }));
            }
            _ => ticket.refuse(core, &failure),
        }
    }
}

/// Sends over the connection that the request takes; of several requests, with nothing between them.
#[inline]
pub(super) fn send(
    (ways, links): (&mut Ways, &mut Option<Box<Links>>),
    commons: &Rc<Commons>,
    (over, kind): (Over, (Version, Load)),
    ticket: Ticket,
    routed: &[Routed<'_>],
) -> Result<usize, Box<Refused>> {
    let tenant = ticket.of().tenant as usize;
    let sent = match over {
        Over::Shared => send_shared(ways, commons, kind, ticket, routed),
        Over::Leased(slot, trace) => send_leased(links, slot, trace, ticket, routed),
    };
    for request in routed {
        commons.count_compressed(tenant, request.compressed());
    }
    sent
}

/// Sends over the worker's shared lane.
#[inline]
pub(super) fn send_shared(
    ways: &mut Ways,
    commons: &Rc<Commons>,
    (version, load): (Version, Load),
    ticket: Ticket,
    routed: &[Routed<'_>],
) -> Result<usize, Box<Refused>> {
    let Some(fingerprint) = routed.last().map(|last| Fingerprint::of(last, version, load)) else {
        return Err(Refused::unsent(ticket));
    };
    let Some(lane) = lane_for(ways, commons, fingerprint) else {
        return Err(Refused::unsent(ticket));
    };
    let outcome = match routed {
        [routed] => lane.send(ticket, routed),
        _ => lane.send_together(ticket, routed),
    };
    match outcome {
        Ok(Taken { len, is_crowded }) => {
            if is_crowded {
                let lane = Rc::clone(lane);
                ways.is_crowded(lane);
            }
            Ok(len)
        }
        Err((ticket, failure)) => {
            let is_moving = commons.is_moving(fingerprint.upstream);
            let request = is_moving.then(|| (Kept::of(routed), fingerprint));
            Err(Box::new(Refused { ticket, failure, request }))
        }
    }
}

/// Sends over a connection of the session's own.
fn send_leased(
    links: &mut Option<Box<Links>>,
    slot: Slot,
    trace: Trace,
    ticket: Ticket,
    routed: &[Routed<'_>],
) -> Result<usize, Box<Refused>> {
    let (Some(links), Some(last)) = (links, routed.last()) else { return Err(Refused::unsent(ticket)) };
    let node = last.to().node;
    let Some(lane) = links.lane(slot, node).map(Rc::clone) else {
        return Err(Refused::unsent(ticket));
    };
    if slot == Slot::Own
        && links.select(last.database())
        && let Some(select) = requests::select(last.namespace())
    {
        let selecting = last.beside(select.as_scoped());
        drop(lane.send(ticket.of_requirement(), &selecting));
    }
    links.mark(slot, node, trace);
    let outcome = lane.send_together(ticket, routed);
    outcome
        .map(|taken| taken.len)
        .map_err(|(ticket, failure)| Box::new(Refused { ticket, failure, request: None }))
}

fn not_there() -> Failure {
    Failure { fate: Fate::NotSent, reason: "the connection has gone".into(), retry_in: None }
}

/// The shared lane of this fingerprint; the one used last if it fits.
#[inline]
fn lane_for<'l>(
    ways: &'l mut Ways,
    commons: &Rc<Commons>,
    fingerprint: Fingerprint,
) -> Option<&'l Rc<Lane<Ticket>>> {
    if !matches!(&ways.lane, Some((of, lane)) if *of == fingerprint && !lane.is_over()) {
        ways.lane = Some((fingerprint, commons.lane(fingerprint)?));
    }
    ways.lane.as_ref().map(|(_, lane)| lane)
}
