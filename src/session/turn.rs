//! The requests of one read: the machine decides about each, and its steps are performed.
//!
//! Everything that requests of one read share (the connection's state, what is known of the upstreams, the
//! time) is borrowed once for all of them.

use std::cell::RefMut;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::commons::Commons;
use super::downstream::{Core, Downstream, Phase, Ticket};
use super::machine::{Step, Surroundings, UpstreamView};
use crate::clock::Micros;
use crate::command::Located;
use crate::metrics::label::{Direction, ErrorCode};
use crate::resp::{Framing, OwnedRequest, ProtocolError, Request, Scan, ScanLimits, Span, Version};
use crate::tenant::UpstreamLimits;
use crate::upstream::Lane;

/// A lane, and the upstream and version it is for.
pub(super) type LaneInUse = (usize, Version, Rc<Lane<Ticket>>);

/// One read's requests being handled.
pub(super) struct Turn<'a> {
    downstream: &'a Rc<Downstream>,
    core: RefMut<'a, Core>,
    around: Surroundings<'a>,
    lane: &'a mut Option<LaneInUse>,
    located: &'a mut Located,
    answer: &'a mut BytesMut,
    read_at: Micros,
    /// What the tenant's upstream accepts.
    limits: UpstreamLimits,
    /// Bytes that were queued for the upstream.
    sent: usize,
    /// What follows will go another way; it must not overtake what is still under way.
    must_drain: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn begin(
        downstream: &'a Rc<Downstream>,
        views: &'a [UpstreamView],
        lane: &'a mut Option<LaneInUse>,
        located: &'a mut Located,
        answer: &'a mut BytesMut,
    ) -> Self {
        let core = downstream.core.borrow_mut();
        let around = downstream.commons.surroundings(views);
        Self {
            downstream,
            limits: limits_of(&core, &around, &downstream.commons),
            core,
            around,
            lane,
            located,
            answer,
            read_at: downstream.commons.clock.now(),
            sent: 0,
            must_drain: false,
        }
    }

    /// What the scanner must know about the connection now.
    pub(super) fn scan_limits(&self) -> ScanLimits {
        let UpstreamLimits { max_bulk, max_request } = self.limits;
        ScanLimits { max_request, max_bulk, is_authenticated: self.core.session.is_bound() }
    }

    /// Whether the next request must not be handled yet.
    pub(super) fn must_wait(&self) -> bool {
        self.must_drain || self.core.replies.len() >= self.downstream.commons.limits.max_pipeline
    }

    /// Takes what the scanner found at the start of `bytes`; returns how many bytes that was, or `None` when
    /// the connection reads no further.
    pub(super) fn take(
        &mut self,
        scan: Scan,
        bytes: &[u8],
        spans: &[Span],
        owner: Option<&Bytes>,
    ) -> Option<usize> {
        let len = match scan {
            Scan::Complete { len, framing: Framing::Canonical } => {
                self.handle(Request::new(bytes.get(..len).unwrap_or_default(), spans), owner);
                len
            }
            Scan::Complete { len, framing: Framing::Loose } => {
                let args: Vec<&[u8]> = Request::new(bytes, spans).args().collect();
                if let Some(request) = OwnedRequest::from_args(&args) {
                    self.handle(request.as_request(), None);
                }
                len
            }
            Scan::Inline { len, request } => {
                self.handle(request.as_request(), None);
                len
            }
            Scan::Nothing { len } => len,
            Scan::Incomplete { .. } => return None,
            Scan::Invalid(error) => {
                self.refuse_protocol(error);
                return None;
            }
        };
        (self.core.phase == Phase::Open).then_some(len)
    }

    /// The read has been handled; `true` if what follows must wait until nothing is owed.
    pub(super) fn end(self) -> bool {
        if self.sent > 0 {
            self.downstream.commons.count_bytes(self.core.tenant, Direction::UpstreamOut, self.sent);
        }
        self.must_drain
    }

    /// One request: the machine decides, the step is performed.
    fn handle(&mut self, request: Request<'_>, owner: Option<&Bytes>) {
        let commons = &self.downstream.commons;
        let core = &mut *self.core;
        let version = core.session.version();
        self.answer.clear();
        let (step, spec) = core.session.on_request(request, &self.around, self.located, owner, self.answer);
        commons.count_command(core.tenant, spec);
        // Only `AUTH` and `HELLO` say so, and silence (`CLIENT REPLY OFF`) must not hide who guesses.
        if self.answer.starts_with(b"-WRONGPASS ") {
            commons.metrics.borrow_mut().authentication_failed();
        }
        match step {
            Step::Forward { routed, is_wanted } => {
                let upstream = routed.upstream();
                let Some(lane) = lane_for(self.lane, commons, upstream, version) else { return core.die() };
                let turn = (core.replies.expect(), is_wanted);
                let plan = routed.reply_plan();
                let ticket = Ticket::new(self.downstream, turn, plan, self.read_at, core.tenant, upstream);
                match lane.send(ticket, &routed) {
                    Ok(len) => self.sent = self.sent.saturating_add(len),
                    Err((ticket, failure)) => ticket.refuse(core, &failure),
                }
            }
            Step::Answer => self.answered(version),
            Step::AnswerThenClose => {
                self.answered(version);
                self.core.phase = Phase::Finishing;
            }
            Step::Silence => self.followed(version),
            Step::Close => self.core.die(),
        }
    }

    /// The client gets an answer of the proxy, in its turn.
    fn answered(&mut self, version: Version) {
        let core = &mut *self.core;
        give(core, &self.downstream.commons, self.answer);
        self.followed(version);
    }

    /// Only what the proxy answers changes the connection's tenant, database or version.
    fn followed(&mut self, version_before: Version) {
        let commons = &self.downstream.commons;
        let core = &mut *self.core;
        let tenant = commons.tenant_number(core.session.binding());
        if tenant == core.tenant && core.session.version() == version_before {
            return;
        }
        commons.count_bytes(core.tenant, Direction::UpstreamOut, std::mem::take(&mut self.sent));
        self.must_drain = !core.replies.is_empty();
        commons.metrics.borrow_mut().connection_moved(core.tenant, tenant);
        core.tenant = tenant;
        self.limits = limits_of(core, &self.around, commons);
    }

    /// Bytes that are no RESP: Redis' error, after everything owed, and the end.
    fn refuse_protocol(&mut self, error: ProtocolError) {
        let commons = &self.downstream.commons;
        let core = &mut *self.core;
        commons.metrics.borrow_mut().protocol_error();
        if core.session.wants_replies() {
            give(core, commons, &error.to_reply());
        }
        core.phase = Phase::Finishing;
    }
}

/// What the upstream of the connection's tenant accepts; before there is a tenant, what the configuration
/// says.
fn limits_of(core: &Core, around: &Surroundings<'_>, commons: &Commons) -> UpstreamLimits {
    let upstream = core.session.binding().and_then(|binding| around.upstreams.get(binding.tenant().upstream));
    upstream.map_or_else(|| commons.upstream_limits(), |view| view.limits)
}

/// Gives the client a reply of the proxy, in its turn.
fn give(core: &mut Core, commons: &Commons, reply: &[u8]) {
    if let Some(error) = reply.strip_prefix(b"-") {
        commons.count_error(core.tenant, ErrorCode::of_reply(error));
    }
    if !core.replies.holds_answer(reply) {
        core.out.extend_from_slice(reply);
    }
}

/// The lane for `upstream` and `version`; the one used last if it fits.
fn lane_for<'l>(
    in_use: &'l mut Option<LaneInUse>,
    commons: &Rc<Commons>,
    upstream: usize,
    version: Version,
) -> Option<&'l Rc<Lane<Ticket>>> {
    if !matches!(in_use, Some((of, in_version, _)) if *of == upstream && *in_version == version) {
        *in_use = Some((upstream, version, commons.lane(upstream, version)?));
    }
    in_use.as_ref().map(|(.., lane)| lane)
}
