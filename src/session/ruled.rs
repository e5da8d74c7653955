//! What the rules of a connection say about one request (`tenant/rules.rs`): refused, sent as it is, or amended.
//!
//! Two gates. [`Session::permit_by_rules`] needs only the row of the command and stands before everything else, as
//! Redis' own check of permissions does. [`Session::amend`] needs to know which arguments are names, so it stands
//! wherever a request has been located: on the path of a session without ties, of one with ties, and between `MULTI`
//! and `EXEC`. Sessions without rules come to neither: `Session::is_ruled` is asked first.
//!
//! What goes beside a request is sent with it as one transaction, of which the client reads the first reply. Where it
//! cannot be one (a command that blocks; watched keys, which an `EXEC` would forget; a command that takes no memory, which
//! a server without any refuses in transactions only), the requests are sent one after the other in one piece.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::affinity::Over;
use super::batch::{Batch, Cut, Due, FirstOf, Sent};
use super::gather::Gathering;
use super::machine::{Bound, Session, Step, Surroundings, UpstreamView};
use super::rescue::{self, text};
use super::routes::cut;
use super::tied::Moment;
use super::transaction::{OVERHEAD, Queued, fixed};
use crate::command::{self, CommandSpec, Flags, Located, Merge, Service};
use crate::resp::{OwnedRequest, Request};
use crate::routing::topology::{MultiKeyScope, NodeId};
use crate::tenant::compression::{Compression, sees_stored};
use crate::tenant::lifetime::{self, Amended};
use crate::tenant::requests::{self, Fixed};
use crate::tenant::rules::Sizes;
use crate::tenant::scope::Unscopable;
use crate::tenant::sizes::TooLarge;
use crate::tenant::{Keyed, OwnedScoped, Rules, scope};

/// How a request differs from what the client sent.
#[derive(Debug)]
pub(super) struct Amendment {
    /// What is sent instead: other arguments, or more of them; names stay where they are.
    pub(super) request: OwnedRequest,
    /// What is sent after it, in the proxy's own right.
    pub(super) beside: Vec<OwnedScoped>,
}

impl Session {
    /// What the connection must keep to.
    pub(super) fn rules(&self) -> Option<&Rules> {
        self.bound.as_ref()?.binding.rules()
    }

    /// How its values are stored, if not as they come.
    pub(super) fn compression(&self) -> Option<Compression> {
        self.bound.as_ref()?.binding.compression()
    }

    /// What is refused whatever its arguments are.
    #[inline(never)]
    pub(super) fn permit_by_rules(
        &self,
        spec: &'static CommandSpec,
        request: &Request<'_>,
        around: &Surroundings<'_>,
    ) -> Result<(), Vec<u8>> {
        let Some(rules) = self.rules() else { return Ok(()) };
        if let Some(commands) = &rules.commands
            && !commands.has(spec)
            && !spec.flags.contains(Flags::NO_AUTH)
        {
            return Err(rescue::no_permission(spec, self.user(), self.persona(around)));
        }
        if rules.compression.is_some()
            && spec.service().is_served()
            && sees_stored(spec, request)
            && let Some(binding) = self.binding()
        {
            return Err(rescue::sees_stored(spec, &binding.tenant().name));
        }
        if rules.is_read_only && spec.flags.contains(Flags::WRITE) {
            return Err(rescue::read_only(spec));
        }
        let is_admitted = rules.sizes.admit_count(request.argc());
        let is_admitted = is_admitted.and_then(|()| admit_reworded(rules.sizes, spec, request));
        is_admitted.map_err(|error| error.to_string().into_bytes())
    }

    /// What becomes of a request whose names are located; `Ok(None)`: it goes as it is.
    #[inline(never)]
    pub(super) fn amend(
        &self,
        spec: &'static CommandSpec,
        request: &Request<'_>,
        around: &Surroundings<'_>,
        located: &Located,
    ) -> Result<Option<Box<Amendment>>, Vec<u8>> {
        let Some(rules) = self.rules().filter(|rules| rules.look_at_arguments()) else { return Ok(None) };
        rules.sizes.admit(spec, request, located).map_err(|error| error.to_string().into_bytes())?;
        let amended = match rules.ttl.default {
            Some(_) => lifetime::amend(rules.ttl, spec, request, located),
            None => Ok(None),
        };
        match amended.map_err(|error| error.to_string().into_bytes())? {
            None => Ok(None),
            Some(amended) => self.amendment(spec, amended, (request, around)).map(Some),
        }
    }

    fn amendment(
        &self,
        spec: &'static CommandSpec,
        amended: Amended,
        (request, around): (&Request<'_>, &Surroundings<'_>),
    ) -> Result<Box<Amendment>, Vec<u8>> {
        let Amended { request: instead, beside } = amended;
        // `PEXPIRE` has had conditions since then.
        if !beside.is_empty() && !self.persona(around).is_at_least(7, 0) {
            return Err(rescue::needs_expire_options(spec));
        }
        let (Some(bound), Some(view)) = (&self.bound, self.view(around)) else {
            return Err(text::NOAUTH.to_vec());
        };
        let here = self.transaction().map_or(&bound.namespace, |transaction| &transaction.namespace);
        // Many short keys must not become a multiple of what a client may send.
        let len = beside.iter().fold(request.bytes().len(), |len, beside| {
            let key = request.arg(beside.arg as usize).map_or(0, <[u8]>::len);
            len.saturating_add(key).saturating_add(here.prefix.as_bytes().len()).saturating_add(OVERHEAD)
        });
        let limit = view.limits.max_request;
        if len > limit && !beside.is_empty() {
            return Err(Unscopable::RequestTooLong { len, limit }.to_string().into_bytes());
        }
        let beside = beside.iter().filter_map(|beside| requests::expire(*beside, request, here)).collect();
        let same = || OwnedRequest::from_args(&request.args().collect::<Vec<_>>());
        let request = instead.or_else(same).ok_or(text::SYNTAX)?;
        Ok(Box::new(Amendment { request, beside }))
    }

    /// The step of an amended request.
    pub(super) fn forward_amended(
        &mut self,
        spec: &'static CommandSpec,
        amendment: Amendment,
        (moment, over): (Moment<'_>, Over),
        located: &Located,
    ) -> Result<Step<'static>, Vec<u8>> {
        let Some(view) = self.view(&moment.around) else { return Err(text::UPSTREAM_REFUSED_PROXY.to_vec()) };
        let is_spread = view.topology.scope() == MultiKeyScope::Slot;
        let request = self.amended(spec, &amendment, &moment.around, located)?;
        if is_spread && request.keyed() == Keyed::Across && over == Over::Shared && spec.splits().is_some() {
            return self.cut_amended(spec, &amendment, moment, located);
        }
        let to = self.place(&moment.around, request.keyed(), false)?;
        if !self.may_go(to, false, &moment) {
            return Ok(Step::Wait);
        }
        let requests = if amendment.beside.is_empty() {
            vec![Sent { request, node: to.node, due: Due::Reply }]
        } else {
            let is_exec = spec.flags.contains(Flags::DENYOOM) && !self.watches() && !over.waits();
            together(request, amendment.beside, to.node, is_exec)
        };
        Ok(Step::Batch(Box::new(Batch { over, slot: to.slot, requests, is_wanted: moment.is_wanted })))
    }

    /// The same, queued in a transaction.
    pub(super) fn keep_amended(
        &self,
        spec: &'static CommandSpec,
        amendment: Amendment,
        around: &Surroundings<'_>,
        located: &Located,
    ) -> Result<Queued, Vec<u8>> {
        let request = self.amended(spec, &amendment, around, located)?;
        Ok(Queued::Followed(request, amendment.beside))
    }

    /// The step of an amended request whose keys are in several slots.
    fn cut_amended(
        &mut self,
        spec: &'static CommandSpec,
        amendment: &Amendment,
        moment: Moment<'_>,
        located: &Located,
    ) -> Result<Step<'static>, Vec<u8>> {
        let Self { bound, course, .. } = self;
        let Some(bound) = bound else { return Err(text::NOAUTH.to_vec()) };
        let tenant = bound.binding.tenant();
        let Some(view) = moment.around.upstreams.get(tenant.upstream) else {
            return Err(text::UPSTREAM_REFUSED_PROXY.to_vec());
        };
        let request = amendment.request.as_request();
        let default_ttl = bound.binding.rules().and_then(|rules| rules.ttl.default);
        let parts = match default_ttl.filter(|_| !amendment.beside.is_empty()) {
            Some(ttl) => sets(&request, ttl),
            None => Vec::new(),
        };
        let cut = if parts.is_empty() {
            let mut scoped = scope(spec, request, located, &bound.namespace, view.limits, None)
                .map_err(|error| error.to_string().into_bytes())?;
            scoped
                .store_values(spec, bound.binding.compression(), view.limits)
                .map_err(|error| error.to_string().into_bytes())?;
            cut(spec, &scoped, view, moment.is_wanted)?
        } else {
            cut_into(&parts, bound, view, moment.is_wanted)?
        };
        let under = (view.topology.version(), spec.flags.contains(Flags::READONLY));
        let may_go = course.admits_many(under, tenant.order, moment.is_owed);
        Ok(if may_go { Step::Cut(Box::new(cut)) } else { Step::Wait })
    }

    fn watches(&self) -> bool {
        self.affinity.as_ref().is_some_and(|affinity| affinity.watch.is_upstream())
    }

    fn amended(
        &self,
        spec: &'static CommandSpec,
        amendment: &Amendment,
        around: &Surroundings<'_>,
        located: &Located,
    ) -> Result<OwnedScoped, Vec<u8>> {
        let (Some(bound), Some(view)) = (&self.bound, self.view(around)) else {
            return Err(text::NOAUTH.to_vec());
        };
        let here = self.transaction().map_or(&bound.namespace, |transaction| &transaction.namespace);
        let request = amendment.request.as_request();
        let mut scoped = scope(spec, request, located, here, view.limits, None)
            .map_err(|error| error.to_string().into_bytes())?;
        scoped
            .store_values(spec, self.compression(), view.limits)
            .map_err(|error| error.to_string().into_bytes())?;
        Ok(scoped.into_owned())
    }
}

/// Whether `COPY` may have this key: it is not located on its way.
fn admit_reworded(sizes: Sizes, spec: &'static CommandSpec, request: &Request<'_>) -> Result<(), TooLarge> {
    let mut located = Located::new();
    let is_meant = spec.service() == Service::Reworded && spec.flags.contains(Flags::WRITE);
    if is_meant && command::locate(spec, request, &mut located).is_ok() {
        return sizes.admit(spec, request, &located);
    }
    Ok(())
}

/// A request and what goes beside it, of which the client reads the first reply.
fn together(request: OwnedScoped, beside: Vec<OwnedScoped>, node: NodeId, is_exec: bool) -> Vec<Sent> {
    let namespace = Arc::clone(request.as_scoped().namespace());
    let others = u32::try_from(beside.len()).unwrap_or(u32::MAX);
    let first = Due::First(FirstOf { plan: request.reply_plan().clone(), others, is_exec });
    let unread = |request| Sent { request, node, due: Due::Nobody };
    let fixed = |words, due| fixed(words, &namespace, node, due).filter(|_| is_exec);
    let mut sent = Vec::with_capacity(beside.len().saturating_add(3));
    sent.extend(fixed(Fixed::Multi, Due::Nobody));
    sent.push(unread(request));
    sent.extend(beside.into_iter().map(unread));
    if is_exec {
        sent.extend(fixed(Fixed::Exec, first));
    } else if let Some(last) = sent.last_mut() {
        last.due = first;
    }
    sent
}

/// `MSET` as a `SET` for each of its keys, with a time to live; none if it is malformed. A key's last value counts.
fn sets(request: &Request<'_>, ttl: u64) -> Vec<OwnedRequest> {
    let words: Vec<&[u8]> = request.args().skip(1).collect();
    let (pairs, []) = words.as_chunks::<2>() else { return Vec::new() };
    let last: BTreeMap<&[u8], &[u8]> = pairs.iter().map(|[key, value]| (*key, *value)).collect();
    let ttl = ttl.to_string();
    let set = |(key, value): (&[u8], &[u8])| {
        OwnedRequest::from_args(&[b"SET".as_slice(), key, value, b"PX", ttl.as_bytes()])
    };
    last.into_iter().filter_map(set).collect()
}

/// These requests, each answered with `OK`, as one.
fn cut_into(
    requests: &[OwnedRequest],
    bound: &Bound,
    view: &UpstreamView,
    is_wanted: bool,
) -> Result<Cut, Vec<u8>> {
    let mut located = Located::new();
    let mut parts = Vec::with_capacity(requests.len());
    for request in requests {
        let request = request.as_request();
        let spec = command::identify(&request).map_err(|error| error.refusal(&request))?;
        command::locate(spec, &request, &mut located).map_err(|error| error.message().as_bytes().to_vec())?;
        let mut scoped = scope(spec, request, &located, &bound.namespace, view.limits, None)
            .map_err(|error| error.to_string().into_bytes())?;
        scoped
            .store_values(spec, bound.binding.compression(), view.limits)
            .map_err(|error| error.to_string().into_bytes())?;
        let to = view.topology.place(&bound.namespace, false, || scoped.keyed()).map_err(rescue::no_route)?;
        parts.push((scoped.into_owned(), to));
    }
    let gathering = Gathering::new(Merge::AllOk, (0..parts.len()).map(|at| vec![at]));
    Ok(Cut { parts, gathering, is_wanted })
}
