//! Where a session's requests go: into its namespace, to a node of its upstream, and when.

use bytes::Bytes;

use super::affinity::Over;
use super::batch::Cut;
use super::gather::Gathering;
use super::machine::{Replies, Session, Step, Surroundings, UpstreamView};
use super::rescue::{self, text};
use super::tied::Moment;
use super::transaction::Transaction;
use crate::command::{CommandSpec, Flags, Located};
use crate::resp::Request;
use crate::routing::{Destination, NoRoute};
use crate::tenant::{Keyed, Scoped, scope, split};

impl Session {
    /// Puts the located names into the namespace, and picks the node.
    #[expect(
        clippy::inline_always,
        reason = "a step is 100 bytes: not copying it twice is worth 7 % of a pipelined command"
    )]
    #[inline(always)]
    pub(super) fn forward<'a>(
        &'a mut self,
        spec: &'static CommandSpec,
        request: Request<'a>,
        (moment, over): (Moment<'a>, Over),
        located: &'a Located,
        owner: Option<&'a Bytes>,
    ) -> Result<Step<'a>, Vec<u8>> {
        let Moment { around, is_wanted, is_owed } = moment;
        let Self { bound, course, replies, .. } = self;
        let Some(bound) = bound else { return Err(text::NOAUTH.to_vec()) };
        let tenant = bound.binding.tenant();
        let Some(upstream) = around.upstreams.get(tenant.upstream) else {
            return Err(text::UPSTREAM_REFUSED_PROXY.to_vec());
        };
        let limits = upstream.limits;
        let mut scoped = scope(spec, request, located, &bound.namespace, limits, owner)
            .map_err(|error| error.to_string().into_bytes())?;
        scoped
            .store_values(spec, bound.binding.compression(), limits)
            .map_err(|error| error.to_string().into_bytes())?;
        let is_read = over == Over::Shared && spec.flags.contains(Flags::READONLY);
        let under = (upstream.topology.version(), is_read);
        let step = match upstream.topology.route(scoped, is_read) {
            Ok(routed) if course.admits(routed.to(), under, tenant.order, is_owed) => {
                return Ok(Step::Forward { routed, is_wanted, over });
            }
            Err((scoped, NoRoute::CrossSlot)) if over == Over::Shared && spec.splits().is_some() => {
                let cut = cut(spec, &scoped, upstream, is_wanted)?;
                course.admits_many(under, tenant.order, is_owed).then(|| Step::Cut(Box::new(cut)))
            }
            Ok(_) => None,
            Err((_, error)) => return Err(rescue::no_route(error)),
        };
        // The request will be asked about again, so `CLIENT REPLY SKIP` is still to come.
        if step.is_none() && !is_wanted && *replies == Replies::On {
            *replies = Replies::SkipNext;
        }
        Ok(step.unwrap_or(Step::Wait))
    }

    /// Where a request goes; `None`: to several nodes, in parts.
    pub(super) fn destination(
        &self,
        spec: &'static CommandSpec,
        request: Request<'_>,
        around: &Surroundings<'_>,
        located: &Located,
    ) -> Result<Option<Destination>, Vec<u8>> {
        let (Some(bound), Some(view)) = (&self.bound, self.view(around)) else {
            return Err(text::NOAUTH.to_vec());
        };
        let scoped = scope(spec, request, located, &bound.namespace, view.limits, None)
            .map_err(|error| error.to_string().into_bytes())?;
        match view.topology.route(scoped, false) {
            Ok(routed) => Ok(Some(routed.to())),
            Err((_, NoRoute::CrossSlot)) if spec.splits().is_some() => Ok(None),
            Err((_, error)) => Err(rescue::no_route(error)),
        }
    }

    /// Where a request of the session goes whose keys are where `keyed` says.
    pub(super) fn place(
        &self,
        around: &Surroundings<'_>,
        keyed: Keyed,
        is_read: bool,
    ) -> Result<Destination, Vec<u8>> {
        let (Some(bound), Some(view)) = (&self.bound, self.view(around)) else {
            return Err(text::NOAUTH.to_vec());
        };
        view.topology.place(&bound.namespace, is_read, || keyed).map_err(rescue::no_route)
    }

    /// Whether a request for `to` may be sent now, in the order that the tenant wants.
    pub(super) fn may_go(&mut self, to: Destination, is_read: bool, moment: &Moment<'_>) -> bool {
        let version = self.view(&moment.around).map_or(0, |view| view.topology.version());
        let order = self.binding().map(|binding| binding.tenant().order).unwrap_or_default();
        self.course.admits(to, (version, is_read), order, moment.is_owed)
    }

    /// Where the transaction under way goes: to the node that watches keys for it, if there is one.
    pub(super) fn place_transaction(&self, around: &Surroundings<'_>) -> Result<Destination, Misplaced> {
        let keyed = self.transaction().map_or(Keyed::Nowhere, Transaction::keyed);
        let to = self.place(around, keyed, false).map_err(Misplaced::Refused)?;
        let Some(affinity) = self.affinity.as_ref().filter(|affinity| affinity.watch.is_upstream()) else {
            return Ok(to);
        };
        let Some(seat) = affinity.own else { return Ok(to) };
        let is_there = |slot: &Option<u16>| {
            self.view(around).and_then(|view| view.topology.primary_of(*slot)) == Some(seat.node)
        };
        match keyed {
            _ if !affinity.watched_slots.iter().all(is_there) => Err(Misplaced::Moved),
            Keyed::Nowhere => Ok(Destination { node: seat.node, ..to }),
            Keyed::In(_) | Keyed::Across if to.node == seat.node => Ok(to),
            Keyed::In(_) | Keyed::Across => Err(Misplaced::Refused(text::CROSSSLOT.to_vec())),
        }
    }
}

/// The parts of a request whose keys are in several slots.
#[inline(never)]
pub(super) fn cut(
    spec: &'static CommandSpec,
    scoped: &Scoped<'_>,
    upstream: &UpstreamView,
    is_wanted: bool,
) -> Result<Cut, Vec<u8>> {
    let merge = spec.splits().ok_or(text::CROSSSLOT)?;
    let parts = split(spec, scoped, upstream.limits).map_err(|error| error.to_string().into_bytes())?;
    let is_read = spec.flags.contains(Flags::READONLY);
    let gathering = Gathering::new(merge, parts.iter().map(|part| part.positions.clone()));
    let placed = parts.into_iter().map(|part| {
        let to = upstream.topology.place(scoped.namespace(), is_read, || part.request.keyed());
        Ok((part.request, to.map_err(rescue::no_route)?))
    });
    Ok(Cut { parts: placed.collect::<Result<_, Vec<u8>>>()?, gathering, is_wanted })
}

/// Why a transaction has no node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misplaced {
    /// What it watches has moved: it may have changed.
    Moved,
    /// The error for the client.
    Refused(Vec<u8>),
}
