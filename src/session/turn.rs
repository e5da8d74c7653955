//! The requests of one read: the machine decides about each, and its steps are performed.
//!
//! Everything that requests of one read share (the connection's state, what is known of the upstreams, the
//! time) is borrowed once for all of them.

use std::cell::RefMut;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::affinity::{Over, Slot, Trace};
use super::aim::{Aim, Gathered};
use super::batch::{Batch, Cut, Due, Sent};
use super::commons::{Commons, unix_micros};
use super::compose::{self, Composed};
use super::degrade::Degrades;
use super::dispatch::{LaneInUse, send, send_shared};
use super::downstream::{Core, Downstream, Intake, Phase};
use super::links::{LeaseWait, Links};
use super::machine::{Step, Surroundings, UpstreamView};
use super::quota::Budget;
use super::rescue;
use super::shortage::Shortage;
use super::ticket::{Asked, Carried, Ticket};
use crate::clients::{Pause, TenantClients, monitor_line};
use crate::clock::Micros;
use crate::command::{self, Absent, CommandSpec, Located, Service, TABLE};
use crate::metrics::label::{Direction, ErrorCode, Shed};
use crate::policy::fair_share::Queued;
use crate::resp::reply::ReplyWriter;
use crate::resp::{Framing, OwnedRequest, ProtocolError, Request, Scan, ScanLimits, Span, Version};
use crate::routing::topology::NodeId;
use crate::routing::{Access, Routed};
use crate::tenant::UpstreamLimits;
use crate::upstream::{Fingerprint, Lane, Load};

/// What a session's driver keeps from one read to the next, and a turn works on.
#[derive(Default)]
pub(super) struct Ways {
    /// The shared lane that requests were last sent on.
    pub(super) lane: Option<LaneInUse>,
    /// A shared lane on which so much is under way that the session waits for its turn.
    pub(super) crowded: Option<Box<Crowded>>,
    /// The session waits for a connection of its own.
    pub(super) wait: Option<Box<LeaseWait>>,
    /// Its requests are held for a while.
    pub(super) held: Option<Hold>,
    /// An answer is being composed.
    pub(super) is_composing: bool,
    /// The next request has been charged to its limits: it is asked about again.
    pub(super) is_paid: bool,
}

/// Why and for how long requests are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// The tenant's are paused, until this millisecond of the worker's clock.
    Paused(u64),
    /// The next one exceeds a rate, and waits until this nanosecond of the worker's clock.
    Delayed(u64),
}

/// A session that waits for its turn on a lane.
pub(super) struct Crowded {
    lane: Rc<Lane<Ticket>>,
    /// Its place, once it has been given one.
    queued: Option<Queued>,
}

impl Ways {
    /// Nothing is to be sent before the session's turn on this lane comes.
    pub(super) fn is_crowded(&mut self, lane: Rc<Lane<Ticket>>) {
        self.crowded = Some(Box::new(Crowded { lane, queued: None }));
    }

    /// Whether a session of `flow` must wait for its turn; then `waiter` is woken when it comes.
    pub(super) fn must_wait_for_turn(&mut self, flow: usize, waiter: &Waker) -> bool {
        if let Some(crowded) = &mut self.crowded {
            let Crowded { lane, queued } = &mut **crowded;
            if !lane.has_room(flow, queued, waiter) {
                return true;
            }
            self.crowded = None;
            return false;
        }
        let Some((_, lane)) = &self.lane else { return false };
        let mut queued = None;
        if lane.has_room(flow, &mut queued, waiter) {
            return false;
        }
        self.crowded = Some(Box::new(Crowded { lane: Rc::clone(lane), queued }));
        true
    }
}

/// How the refusal of a request begins for which there is too little memory.
const SHORT_OF_MEMORY: &[u8] = b"-UNAVAILABLE the proxy is short of memory";

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handled {
    /// It is dealt with.
    Done,
    /// It must be asked about again, later.
    Later,
}

/// The last command of a read.
#[derive(Clone, Copy)]
enum Last {
    /// There was none.
    Nothing,
    /// One that there is not.
    Unknown,
    /// This one.
    Known(&'static CommandSpec),
}

/// One read's requests being handled.
pub(super) struct Turn<'a> {
    downstream: &'a Rc<Downstream>,
    core: RefMut<'a, Core>,
    around: Surroundings<'a>,
    ways: &'a mut Ways,
    located: &'a mut Located,
    answer: &'a mut BytesMut,
    read_at: Micros,
    /// What the tenant's upstream accepts.
    limits: UpstreamLimits,
    /// Bytes that were queued for the upstream.
    sent: usize,
    /// Somebody looks at or holds the tenant's requests.
    oversight: Option<Arc<TenantClients>>,
    /// The last command, for whoever lists clients.
    last: Last,
}

impl<'a> Turn<'a> {
    pub(super) fn begin(
        downstream: &'a Rc<Downstream>,
        views: &'a [UpstreamView],
        ways: &'a mut Ways,
        located: &'a mut Located,
        answer: &'a mut BytesMut,
    ) -> Self {
        let core = downstream.core.borrow_mut();
        let quota = downstream.commons.budget(&core.session, ways.is_paid);
        let around = Surroundings { quota, ..downstream.commons.surroundings(views) };
        Self {
            downstream,
            limits: limits_of(&core, &around, &downstream.commons),
            oversight: oversight(&core, &downstream.commons),
            core,
            around,
            ways,
            located,
            answer,
            read_at: downstream.commons.clock.now(),
            sent: 0,
            last: Last::Nothing,
        }
    }

    /// What the scanner must know about the connection now.
    pub(super) fn scan_limits(&self) -> ScanLimits {
        let UpstreamLimits { max_bulk, max_request } = self.limits;
        ScanLimits { max_request, max_bulk, is_authenticated: self.core.session.is_bound() }
    }

    /// Whether the next request must not be handled yet.
    pub(super) fn must_wait(&self) -> bool {
        self.core.intake == Intake::Draining
            || self.ways.wait.is_some()
            || self.ways.held.is_some()
            || self.ways.crowded.is_some()
            || self.core.replies.len() >= self.downstream.commons.limits.max_pipeline
    }

    /// Takes what the scanner found at the start of `bytes`; returns how many bytes that was (0: it must be
    /// taken again), or `None` when the connection reads no further.
    pub(super) fn take(
        &mut self,
        scan: Scan,
        bytes: &[u8],
        spans: &[Span],
        owner: Option<&Bytes>,
    ) -> Option<usize> {
        let (len, handled) = match scan {
            Scan::Complete { len, framing: Framing::Canonical } => {
                (len, self.handle(Request::new(bytes.get(..len).unwrap_or_default(), spans), owner))
            }
            Scan::Complete { len, framing: Framing::Loose } => {
                let args: Vec<&[u8]> = Request::new(bytes, spans).args().collect();
                let request = OwnedRequest::from_args(&args);
                (len, request.map_or(Handled::Done, |request| self.handle(request.as_request(), None)))
            }
            Scan::Inline { len, request } => (len, self.handle(request.as_request(), None)),
            Scan::Nothing { len } => (len, Handled::Done),
            Scan::Incomplete { .. } => return None,
            Scan::Invalid(error) => {
                self.refuse_protocol(error);
                return None;
            }
        };
        match handled {
            _ if self.core.phase != Phase::Open => None,
            Handled::Done => {
                // Whatever it waited for, it has had: what follows is not read ahead of.
                self.ways.wait = None;
                if self.ways.is_paid {
                    self.is_paid(false);
                }
                Some(len)
            }
            Handled::Later => Some(0),
        }
    }

    /// Whether the next request is one that has been charged.
    fn is_paid(&mut self, is_paid: bool) {
        // Nothing is charged where nothing is limited, and what was must not be free elsewhere.
        self.ways.is_paid = is_paid && self.around.quota.is_some();
        if let Some(budget) = &mut self.around.quota {
            budget.is_paid = is_paid;
        }
    }

    /// The read has been handled.
    pub(super) fn end(mut self) {
        if let Some(budget) = self.around.quota
            && budget.quota.counts_in_flight()
        {
            self.core.enter(self.ways.is_paid, &self.downstream.commons);
        }
        if self.sent > 0 {
            self.downstream.commons.count_bytes(self.core.tenant, Direction::UpstreamOut, self.sent);
        }
        if let Some(card) = &self.core.card {
            let seconds = || u32::try_from(self.downstream.commons.clock.millis() / 1000).unwrap_or(u32::MAX);
            match self.last {
                Last::Nothing => {}
                Last::Unknown => card.touch_unknown(seconds()),
                Last::Known(spec) => {
                    card.touch(u16::try_from(spec.index()).unwrap_or(u16::MAX), seconds());
                }
            }
        }
    }

    /// One request: the machine decides, the step is performed.
    fn handle(&mut self, request: Request<'_>, owner: Option<&Bytes>) -> Handled {
        if (self.oversight.is_some() && self.is_held(&request)) || self.awaits_lane(&request) {
            return Handled::Later;
        }
        loop {
            let commons = &self.downstream.commons;
            let core = &mut *self.core;
            let version = core.session.version();
            self.answer.clear();
            let is_owed = !core.replies.is_empty();
            let degrades = Degrades::of(&core.session);
            let (step, spec) =
                core.session.on_request(request, &self.around, self.located, owner, (self.answer, is_owed));
            count_limited(&self.around, commons, core.tenant);
            match step {
                Step::Forward { routed, is_wanted, over } => {
                    let command = commons.count_command(core.tenant, spec);
                    self.last = spec.map_or(Last::Unknown, Last::Known);
                    let turn = (core.replies.expect(), is_wanted);
                    let aim = Aim::client(over, routed.reply_plan());
                    let absent = degrades.absent(spec, &request, (routed.namespace(), version));
                    let slot = routed.to().slot;
                    let of =
                        Asked::over(over, &routed, (self.read_at, core.tenant), command, slot).or(absent);
                    let of = of.rationed(self.around.quota.zip(spec).is_some_and(is_rationed));
                    let ticket = Ticket::new(self.downstream, turn, aim, of);
                    if over.waits() || (of.slot.is_some() && of.way == Carried::Alone) {
                        core.intake = Intake::Draining;
                    }
                    let kind = (version, core.volume.load());
                    match send((self.ways, &mut core.links), commons, (over, kind), ticket, &[routed]) {
                        Ok(len) => self.sent = self.sent.saturating_add(len),
                        Err(refused) => refused.tell(core),
                    }
                    if over != Over::Shared || self.oversight.is_some() {
                        self.seen(spec, &request, over);
                    }
                    return Handled::Done;
                }
                Step::Wait => return self.put_off(None),
                Step::Delay(wait) => return self.put_off(Some(wait)),
                Step::Lease(slot, node) => {
                    if let Some(handled) = self.obtain((slot, node), spec, version) {
                        return handled;
                    }
                }
                Step::Batch(_)
                | Step::Cut(_)
                | Step::Compose { .. }
                | Step::Answer
                | Step::Refused { .. }
                | Step::AnswerAlways
                | Step::AnswerThenClose
                | Step::Silence
                | Step::Close => {
                    let step = step.detached();
                    self.perform(step, spec, request, version);
                    return Handled::Done;
                }
            }
        }
    }

    /// The request is to be asked about again when nothing is owed, or in so many nanoseconds.
    fn put_off(&mut self, wait: Option<u64>) -> Handled {
        match wait {
            Some(wait) => {
                let until = self.downstream.commons.clock.nanos().saturating_add(wait);
                self.ways.held = Some(Hold::Delayed(until));
            }
            None => self.core.drain(),
        }
        self.is_paid(true);
        Handled::Later
    }

    /// Whether the request belongs on another lane than those before it, which have not been answered.
    #[inline]
    fn awaits_lane(&mut self, request: &Request<'_>) -> bool {
        if !self.core.volume.belongs_elsewhere(request.bytes().len()) {
            return false;
        }
        if !self.core.replies.is_empty() {
            self.core.drain();
            return true;
        }
        self.core.volume.moves();
        if self.core.volume.load() == Load::Light {
            self.downstream.commons.expectations.set(self.core.tenant, false);
        }
        false
    }

    /// Steps off the hot path.
    fn perform(
        &mut self,
        step: Step<'static>,
        spec: Option<&'static CommandSpec>,
        request: Request<'_>,
        version: Version,
    ) {
        self.downstream.commons.count_command(self.core.tenant, spec);
        self.last = spec.map_or(Last::Unknown, Last::Known);
        // Only `AUTH` and `HELLO` say so, and silence (`CLIENT REPLY OFF`) must not hide who guesses.
        if self.answer.starts_with(b"-WRONGPASS ") {
            self.downstream.commons.metrics.borrow_mut().authentication_failed();
        }
        if self.around.shortage != Shortage::None && self.answer.starts_with(SHORT_OF_MEMORY) {
            self.downstream.commons.metrics.borrow_mut().refused_for_memory(Shed::Request);
        }
        match step {
            Step::Batch(batch) => {
                let command = spec.map_or(u16::MAX, |spec| u16::try_from(spec.index()).unwrap_or(u16::MAX));
                if let (Over::Leased(_, Trace::Stain), Some(view)) =
                    (batch.over, self.core.session.view(&self.around))
                {
                    self.downstream.listens(&mut self.core, &view.topology);
                }
                self.send_batch(*batch, version, command);
                self.followed(version);
            }
            Step::Cut(cut) => {
                let command = spec.map_or(u16::MAX, |spec| u16::try_from(spec.index()).unwrap_or(u16::MAX));
                let absent = self.absent(spec, &request, version);
                self.send_parts(*cut, version, (command, absent));
            }
            Step::Compose { is_wanted } => {
                let composed = compose::begin(self.downstream, &mut self.core, spec, &request, self.answer);
                self.composed(composed, is_wanted, version);
            }
            Step::Answer | Step::AnswerAlways => self.answered(version),
            Step::Refused { is_wanted } => {
                self.degrade(spec, &request, version);
                if is_wanted {
                    self.answered(version);
                }
                return;
            }
            Step::AnswerThenClose => {
                self.answered(version);
                self.core.phase = Phase::Finishing;
            }
            Step::Silence => self.followed(version),
            Step::Close => self.core.die(),
            // Dealt with before.
            Step::Forward { .. } | Step::Wait | Step::Delay(_) | Step::Lease(..) => {}
        }
        self.seen(spec, &request, Over::Shared);
    }

    /// What a request is answered without the upstream, where that is no error.
    fn absent(
        &self,
        spec: Option<&'static CommandSpec>,
        request: &Request<'_>,
        version: Version,
    ) -> Option<Absent> {
        let namespace = self.core.session.namespace_ref()?;
        Degrades::of(&self.core.session).absent(spec, request, (namespace, version))
    }

    /// Replaces a refusal because of the upstream by what the client rather reads.
    fn degrade(&mut self, spec: Option<&'static CommandSpec>, request: &Request<'_>, version: Version) {
        let Some(absent) = self.absent(spec, request, version) else { return };
        let error = self.answer.strip_prefix(b"-").and_then(|line| line.strip_suffix(b"\r\n"));
        if error.is_some_and(rescue::is_unavailability) {
            *self.answer = self.downstream.commons.degraded(self.core.tenant, absent);
        }
    }

    fn composed(&mut self, composed: Composed, is_wanted: bool, version: Version) {
        match composed {
            Composed::Now { closes } => {
                if is_wanted {
                    self.answered(version);
                }
                if closes {
                    self.core.phase = Phase::Finishing;
                }
            }
            Composed::Later(answer) => {
                let turn = self.core.replies.expect();
                self.core.drain();
                self.ways.is_composing = true;
                let downstream = Rc::clone(self.downstream);
                drop(tokio::task::spawn_local(async move {
                    let reply = answer.await;
                    downstream.answer(turn, if is_wanted { &reply } else { &[] });
                }));
            }
        }
    }

    /// Gets the session a connection of its own; `None`: it has it, and the request can be asked about again.
    fn obtain(
        &mut self,
        (slot, node): (Slot, NodeId),
        spec: Option<&'static CommandSpec>,
        version: Version,
    ) -> Option<Handled> {
        self.is_paid(true);
        match self.lease(slot, node) {
            Poll::Ready(Ok(())) => {
                // What happens to the node concerns it from now on.
                if let Some(view) = self.core.session.view(&self.around) {
                    self.downstream.listens(&mut self.core, &view.topology);
                }
                None
            }
            Poll::Ready(Err(error)) => {
                self.refuse_unsent(spec, &error, version);
                Some(Handled::Done)
            }
            Poll::Pending => Some(Handled::Later),
        }
    }

    /// Goes on waiting for a connection of the session's own, or begins to.
    fn lease(&mut self, slot: Slot, node: NodeId) -> Poll<Result<(), Vec<u8>>> {
        let commons = &self.downstream.commons;
        let core = &mut *self.core;
        let fingerprint = fingerprint_of(core, slot, node);
        // The node may have changed while the connection was awaited.
        let wait = self.ways.wait.take().filter(|wait| fingerprint.is_some_and(|of| wait.is_for(slot, of)));
        let Some(mut wait) = wait.or_else(|| LeaseWait::begin(commons, slot, fingerprint?)) else {
            return Poll::Ready(Err(super::rescue::text::UPSTREAM_REFUSED_PROXY.to_vec()));
        };
        let links = core.links.get_or_insert_with(Box::<Links>::default);
        if slot == Slot::Own {
            links.make_way(&mut core.session, &commons.leases);
        }
        let task = self.downstream.task.borrow().clone();
        let mut cx = Context::from_waker(task.as_ref().unwrap_or(Waker::noop()));
        let polled = wait.poll(self.downstream, &mut core.session, links, &mut cx);
        if polled.is_pending() {
            self.ways.wait = Some(wait);
        }
        polled
    }

    /// Refuses a request that got no connection of its own.
    fn refuse_unsent(&mut self, spec: Option<&'static CommandSpec>, error: &[u8], version: Version) {
        self.downstream.commons.count_command(self.core.tenant, spec);
        self.core.session.poison();
        ReplyWriter::new(self.answer, version).error(error);
        if self.core.session.takes_reply() {
            self.answered(version);
        }
    }

    /// Sends requests one after the other. Nothing comes between them: nobody else runs meanwhile. Those whose
    /// replies are nobody's are sent with the one that follows them, as one.
    fn send_batch(&mut self, batch: Batch, version: Version, command: u16) {
        let commons = &self.downstream.commons;
        let core = &mut *self.core;
        let Batch { over, slot, requests, is_wanted } = batch;
        if over.waits() {
            core.drain();
        }
        let is_rationed = self.around.quota.zip(TABLE.get(usize::from(command))).is_some_and(is_rationed);
        let (mut together, mut shared_turn) = (Vec::new(), None);
        for Sent { request, node, due } in requests {
            together.push((request, node));
            if matches!(due, Due::Nobody) {
                continue;
            }
            let routed: Vec<Routed<'_>> =
                together.iter().map(|(request, node)| Routed::to_node(*node, request.as_scoped())).collect();
            let Some(last) = routed.last() else { continue };
            let is_confirmed = matches!(due, Due::Confirmations { .. });
            let (aim, has_turn) = Aim::of(due, over, || last.reply_plan());
            let turn = match (has_turn, is_confirmed) {
                (false, _) => core.replies.nobodys(),
                (true, false) => core.replies.expect(),
                // All are answered together.
                (true, true) => *shared_turn.get_or_insert_with(|| core.replies.expect()),
            };
            let of = Asked::over(over, last, (self.read_at, core.tenant), command, slot);
            let of = of.rationed(is_rationed);
            let ticket = Ticket::new(self.downstream, (turn, is_wanted), aim, of);
            let ways = (&mut *self.ways, &mut core.links);
            match send(ways, commons, (over, (version, core.volume.load())), ticket, &routed) {
                Ok(len) => self.sent = self.sent.saturating_add(len),
                Err(refused) => refused.tell(core),
            }
            together.clear();
        }
    }

    /// Sends the parts of a request to their nodes; the client gets one reply.
    fn send_parts(&mut self, cut: Cut, version: Version, (command, absent): (u16, Option<Absent>)) {
        let commons = &self.downstream.commons;
        let core = &mut *self.core;
        let turn = core.replies.expect();
        let gathered = Gathered::new(cut.gathering, turn, cut.is_wanted);
        let is_rationed = self.around.quota.zip(TABLE.get(usize::from(command))).is_some_and(is_rationed);
        for (part, (request, to)) in cut.parts.into_iter().enumerate() {
            let scoped = request.as_scoped();
            let aim = Aim::Part(Rc::clone(&gathered), part, scoped.reply_plan());
            let absent = absent.map(|absent| absent.of_part(gathered.borrow().gathering.names_of(part)));
            let routed = [Routed::to_place(to, scoped)];
            let [part] = &routed;
            let of =
                Asked::over(Over::Shared, part, (self.read_at, core.tenant), command, to.slot).or(absent);
            let of = of.rationed(is_rationed);
            let ticket = Ticket::new(self.downstream, (core.replies.nobodys(), true), aim, of);
            let kind = (version, core.volume.load());
            match send_shared(self.ways, commons, kind, ticket, &routed) {
                Ok(len) => self.sent = self.sent.saturating_add(len),
                Err(refused) => refused.tell(core),
            }
            commons.count_compressed(core.tenant, routed[0].compressed());
        }
    }

    /// The client gets an answer of the proxy, in its turn.
    fn answered(&mut self, version: Version) {
        let core = &mut *self.core;
        give(core, &self.downstream.commons, self.answer);
        self.followed(version);
    }

    /// What the proxy answers may change the connection's tenant, database, version, ties.
    fn followed(&mut self, version_before: Version) {
        let commons = &self.downstream.commons;
        let core = &mut *self.core;
        let tenant = commons.tenant_number(core.session.binding());
        if tenant != core.tenant || core.session.version() != version_before {
            commons.count_bytes(core.tenant, Direction::UpstreamOut, std::mem::take(&mut self.sent));
            if !core.replies.is_empty() {
                core.drain();
            }
            if commons.expectations.is_large(tenant) {
                core.volume.expect_large();
            }
            commons.metrics.borrow_mut().connection_moved(core.tenant, tenant);
            core.tenant = tenant;
            self.limits = limits_of(core, &self.around, commons);
        }
        self.downstream.introduce(core);
        if core.links.is_some() || core.session.ties().is_some() {
            self.downstream.settle(core);
        }
        self.oversight = oversight(core, commons);
        let budget = commons.budget(&core.session, self.ways.is_paid);
        if let Some(before) = std::mem::replace(&mut self.around.quota, budget)
            && budget.is_none_or(|now| !std::ptr::eq(now.quota, before.quota))
        {
            // What the connection was before has no requests of it in flight any more, once these are answered.
            before.quota.leave(before.quota.entered());
        }
    }

    /// Whether the tenant's clients are paused, and this request with them.
    fn is_held(&mut self, request: &Request<'_>) -> bool {
        let commons = &self.downstream.commons;
        let now = commons.clock.millis();
        let Some(pause) = self.oversight.as_ref().and_then(|clients| clients.paused_at(now)) else {
            return false;
        };
        let is_held = command::identify(request).is_ok_and(|spec| holds(pause, spec, &self.core));
        if is_held {
            self.ways.held = Some(Hold::Paused(pause.until_ms));
        }
        is_held
    }

    /// Shows a request to those who monitor the tenant, and keeps what is said about the client up to date.
    fn seen(&mut self, spec: Option<&'static CommandSpec>, request: &Request<'_>, over: Over) {
        match (spec.map(|spec| (spec.service(), spec.name)), over) {
            (Some((Service::Local, "PING" | "ECHO")), _) => {}
            (Some((Service::Local | Service::Tied, _)), _)
            | (_, Over::Leased(_, Trace::Waits(_) | Trace::Watch)) => {
                self.downstream.describe(&mut self.core);
            }
            _ => self.count_queued(),
        }
        let Some(clients) = &self.oversight else { return };
        let (Some(spec), Some(card)) = (spec, &self.core.card) else { return };
        if spec.name == "RESET" {
            clients.unwatch(card.id());
        }
        if clients.is_monitored() {
            let database = self.core.session.database();
            if let Some(line) = monitor_line(spec, request, card, database, unix_micros()) {
                clients.show(&line);
            }
        }
    }

    /// The number of requests that a transaction has queued.
    fn count_queued(&self) {
        if let (Some(card), Some(transaction)) = (&self.core.card, self.core.session.transaction()) {
            let queued = u32::try_from(transaction.len()).unwrap_or(u32::MAX);
            card.amend(|facts| facts.queued = Some(queued));
        }
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

/// Counts what became of the request if a limit had something against it.
fn count_limited(around: &Surroundings<'_>, commons: &Commons, tenant: usize) {
    if let Some(budget) = around.quota
        && let Some(noted) = budget.quota.noted()
    {
        commons.count_limited(tenant, noted);
    }
}

/// Whether the bytes of the reply are charged to the command's classes.
fn is_rationed((budget, spec): (Budget<'_>, &'static CommandSpec)) -> bool {
    budget.quota.charges_replies_to(spec)
}

/// Whether a pause holds a request: a transaction like the writes in it, and nothing that is refused anyway.
fn holds(pause: Pause, spec: &'static CommandSpec, core: &Core) -> bool {
    let is_held = pause.holds(spec) || (spec.name == "EXEC" && core.session.has_queued_writes());
    is_held && core.session.permit_now(spec).is_ok()
}

/// The tenant's clients, if somebody monitors or pauses them.
fn oversight(core: &Core, commons: &Commons) -> Option<Arc<TenantClients>> {
    let clients = commons.clients_of(&core.session)?;
    let is_overseen = clients.is_monitored() || clients.paused_at(commons.clock.millis()).is_some();
    is_overseen.then(|| Arc::clone(clients))
}

/// What the session's own connection in `slot` must be like.
fn fingerprint_of(core: &Core, slot: Slot, node: NodeId) -> Option<Fingerprint> {
    let namespace = core.session.namespace_ref()?;
    let version = match slot {
        Slot::Own => core.session.version(),
        Slot::Ear => Version::Resp3,
    };
    let upstream = namespace.tenant.upstream;
    let (access, load) = (Access::ReadWrite, Load::Light);
    Some(Fingerprint { upstream, node, access, version, database: namespace.native, load })
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
