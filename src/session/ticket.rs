//! The right to answer one request, and what becomes of its reply.
//!
//! A [`Ticket`] travels with a request through its lane and brings the reply back: to the client as it is, scoped
//! first, or in pieces; to nobody; or to whoever composes an answer. The replies of one read are written and
//! counted together ([`Delivery`]).
//!
//! **Invariant**: a ticket is answered by its reply or by its failure, also when the process ends.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::affinity::{Over, Slot, Trace};
use super::again::AT_ONCE;
use super::aim::Aim;
use super::commons::Commons;
use super::delivery::Delivery;
use super::downstream::{Core, Downstream, Phase};
use super::exec;
use super::replies::Place;
use super::rescue::{self, text};
use crate::clock::Micros;
use crate::command::{Absent, CommandSpec, Flags, Service, TABLE};
use crate::metrics::label::ErrorCode;
use crate::resp::Version;
use crate::resp::cursor::untangled;
use crate::resp::reply::ReplyWriter;
use crate::routing::redirect::{Verdict, verdict};
use crate::routing::{Access, Destination, Routed};
use crate::settings::UpstreamSettings;
use crate::tenant::directory::{Namespace, Order, ReadFrom};
use crate::upstream::{Batch, Confirm, Failure, Fate, Holder, Kept, Recipient, Take, Times};

/// The right to answer one request.
pub(super) struct Ticket {
    downstream: Rc<Downstream>,
    /// Whose turn it is.
    turn: Place,
    /// The client wants this reply; one that it does not want has its turn all the same, so that what must
    /// wait for everything under way waits for this request too.
    is_wanted: bool,
    aim: Aim,
    of: Asked,
    delivered: Delivered,
    /// How often the request was sent again.
    attempts: u8,
    /// How often since there was a pause.
    hops: u8,
    /// What of a transaction was refused because its node was not the right one.
    refused: Option<Box<[u8]>>,
}

/// The request that a ticket is for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// When it was read.
    pub(super) read_at: Micros,
    /// Its tenant's number in metrics.
    pub(super) tenant: u32,
    /// Its upstream, by number.
    pub(super) upstream: u32,
    /// Its command, as a position in the table.
    pub(super) command: u16,
    /// The slot that decided where it went.
    pub(super) slot: Option<u16>,
    /// Over what it was sent.
    pub(super) way: Carried,
    /// The bytes of its reply are charged to classes of its command.
    pub(super) is_rationed: bool,
    /// What its client rather reads than that the upstream is not there.
    pub(super) absent: Option<Absent>,
}

/// Over what connection a request was sent, as far as that decides whether it can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// One that is shared.
    Shared,
    /// One that is shared, to a replica; the primary may be asked as well.
    ByReplica,
    /// One of the session's own, for which it waits alone: it can move to another node.
    Alone,
    /// One of the session's own, on which the session depends.
    Bound,
}

impl Asked {
    /// A request of the proxy's own, over a shared connection.
    pub(super) fn by_proxy(read_at: Micros, tenant: usize, upstream: usize) -> Self {
        Self::new(read_at, (tenant, upstream), u16::MAX, None, Carried::Shared)
    }

    /// A client's request, over the connection that it takes.
    #[inline]
    pub(super) fn over(
        over: Over,
        routed: &Routed<'_>,
        (read_at, tenant): (Micros, usize),
        command: u16,
        slot: Option<u16>,
    ) -> Self {
        let way = Carried::by(over, routed.to(), routed.namespace());
        Self::new(read_at, (tenant, routed.upstream()), command, slot, way)
    }

    #[inline]
    fn new(
        read_at: Micros,
        (tenant, upstream): (usize, usize),
        command: u16,
        slot: Option<u16>,
        way: Carried,
    ) -> Self {
        let number = |position| u32::try_from(position).unwrap_or(u32::MAX);
        Self {
            read_at,
            tenant: number(tenant),
            upstream: number(upstream),
            command,
            slot,
            way,
            is_rationed: false,
            absent: None,
        }
    }

    /// Whether the bytes of its reply are charged to classes of its command.
    #[inline]
    pub(super) fn rationed(self, is_rationed: bool) -> Self {
        Self { is_rationed, ..self }
    }

    /// Its client rather reads this than that the upstream is not there.
    pub(super) fn or(self, absent: Option<Absent>) -> Self {
        Self { absent, ..self }
    }
}

impl Carried {
    /// How `over` carries what goes `to` a node.
    #[inline]
    pub(super) fn by(over: Over, to: Destination, namespace: &Namespace) -> Self {
        match over {
            Over::Shared if to.access == Access::ReadWrite => Self::Shared,
            Over::Shared if namespace.tenant.read_from == ReadFrom::Replica => Self::Shared,
            Over::Shared => Self::ByReplica,
            Over::Leased(Slot::Own, Trace::Waits(_) | Trace::Watch) => Self::Alone,
            Over::Leased(..) => Self::Bound,
        }
    }
}

/// How much of a reply has been passed on to its client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivered {
    /// Nothing.
    Nothing,
    /// Its beginning: nothing but its rest may follow.
    Beginning,
    /// All of it, or an error instead.
    All,
}

impl Ticket {
    pub(super) fn new(
        downstream: &Rc<Downstream>,
        (turn, is_wanted): (Place, bool),
        aim: Aim,
        of: Asked,
    ) -> Self {
        Self {
            downstream: Rc::clone(downstream),
            turn,
            is_wanted,
            aim,
            of,
            delivered: Delivered::Nothing,
            attempts: 0,
            hops: 0,
            refused: None,
        }
    }

    /// One for a request of the proxy's own that goes before, and must succeed.
    pub(super) fn of_requirement(&self) -> Self {
        let downstream = Rc::clone(&self.downstream);
        Self { downstream, aim: Aim::Required, refused: None, ..*self }
    }

    /// Answers before the request went anywhere. The caller holds the connection's state.
    pub(super) fn refuse(mut self, core: &mut Core, failure: &Failure) {
        self.delivered = Delivered::All;
        let reply = self.failure_reply(failure);
        if let Aim::Errand(answer) = &mut self.aim {
            return answer_errand(answer, Err(reply.freeze()));
        }
        if let Some((turn, reply)) = self.gathered(core, &reply) {
            return core.take_bytes(turn, &[], &reply);
        }
        self.aim.was_answered(core, &reply);
        if self.aim.has_turn() {
            core.take_bytes(self.turn, &[], self.wanted(&reply));
        }
    }

    /// Of a part: the reply to the whole request, if this was the last part, and its turn.
    fn gathered(&self, core: &mut Core, reply: &[u8]) -> Option<(Place, BytesMut)> {
        let Aim::Part(gathered, part, _) = &self.aim else { return None };
        let mut gathered = gathered.borrow_mut();
        let held_before = gathered.gathering.held_bytes();
        let merged = gathered.gathering.part_answered(*part, reply);
        core.replies.hold_apart(held_before, gathered.gathering.held_bytes());
        let merged = merged?.unwrap_or_else(|violation| {
            tracing::error!(%violation, "reply withheld");
            self.downstream.commons.count_violation(self.of.tenant as usize);
            error_reply(text::WITHHELD)
        });
        Some((gathered.turn, if gathered.is_wanted { merged } else { BytesMut::new() }))
    }

    /// `reply`, or nothing of it.
    fn wanted<'r>(&self, reply: &'r [u8]) -> &'r [u8] {
        if self.is_wanted { reply } else { &[] }
    }

    fn failure_reply(&self, failure: &Failure) -> BytesMut {
        let commons = &self.downstream.commons;
        let name = commons.upstream_name(self.of.upstream as usize);
        commons.instead(self.of, &rescue::unavailable(name, failure))
    }

    /// The error reply that the client reads instead of `reply`, which is one.
    fn scoped_error(&self, reply: &[u8]) -> BytesMut {
        let line = reply.strip_prefix(b"-").unwrap_or(reply);
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        if self.of.absent.is_some() && rescue::is_unavailability(line) {
            return self.downstream.commons.instead(self.of, line);
        }
        self.downstream.commons.count_error(self.of.tenant as usize, ErrorCode::of_reply(line));
        let is_moving = self.downstream.commons.is_moving(self.of.upstream as usize);
        let replaced = if is_moving { rescue::replaces_in_cluster(line) } else { rescue::replaces(line) };
        match replaced {
            Some(text) => {
                // What should have made the upstream forget something may not have.
                if let Some(links) = &mut self.downstream.core.borrow_mut().links {
                    links.stain();
                }
                tracing::debug!(code = %String::from_utf8_lossy(line.get(..8).unwrap_or(line)), "the upstream refused the proxy");
                error_reply(text)
            }
            None => match &self.aim {
                Aim::Client(plan) | Aim::Tangled(plan) | Aim::Part(.., plan) => {
                    error_reply(&plan.strip_error(line))
                }
                Aim::Nobody
                | Aim::Required
                | Aim::Instead(_)
                | Aim::Confirmations(_)
                | Aim::Exec(_)
                | Aim::Errand(_) => error_reply(line),
                Aim::First(first) => error_reply(&first.of.plan.strip_error(line)),
            },
        }
    }

    /// The reply without the tenant's prefix, or an error if it cannot be shown.
    fn scoped_reply(&self, reply: &[u8]) -> BytesMut {
        let reply = self.answering(reply);
        if reply.first() == Some(&b'-') {
            return self.scoped_error(reply);
        }
        let mut scoped = BytesMut::with_capacity(reply.len());
        let stripped = match &self.aim {
            Aim::Client(plan) | Aim::Tangled(plan) | Aim::Part(.., plan) => plan.strip(reply, &mut scoped),
            Aim::Exec(parts) => exec::strip(parts, reply, &mut scoped),
            Aim::First(first) if first.of.is_exec => exec::first_of(&first.of, reply, &mut scoped),
            Aim::First(first) => first.of.plan.strip(reply, &mut scoped),
            Aim::Instead(answer) => {
                scoped.extend_from_slice(answer);
                Ok(())
            }
            Aim::Nobody | Aim::Required | Aim::Confirmations(_) | Aim::Errand(_) => Ok(()),
        };
        match stripped {
            Ok(()) => scoped,
            Err(violation) => {
                tracing::error!(%violation, "reply withheld");
                self.downstream.commons.count_violation(self.of.tenant as usize);
                error_reply(text::WITHHELD)
            }
        }
    }
}

fn error_reply(text: &[u8]) -> BytesMut {
    let mut reply = BytesMut::new();
    ReplyWriter::new(&mut reply, Version::Resp2).error(text);
    reply
}

impl Recipient for Ticket {
    type Batch = Delivery;

    #[inline]
    fn flow(&self) -> usize {
        self.of.tenant as usize
    }

    #[inline]
    fn takes(&self, start: &[u8]) -> Take {
        match &self.aim {
            Aim::Client(plan) if plan.relays(start) => Take::Stream,
            // A scalar has no inside.
            Aim::Tangled(plan)
                if plan.relays(start) && !matches!(start.first(), Some(b'*' | b'%' | b'~')) =>
            {
                Take::Stream
            }
            Aim::Nobody => Take::Stream,
            Aim::Client(_)
            | Aim::Tangled(_)
            | Aim::Required
            | Aim::Instead(_)
            | Aim::Confirmations(_)
            | Aim::Exec(_)
            | Aim::First(_)
            | Aim::Part(..)
            | Aim::Errand(_) => Take::Whole,
        }
    }

    #[inline]
    fn stream(&mut self, read: &[u8], piece: Range<usize>, times: Option<Times>, delivery: &mut Delivery) {
        let len = piece.len();
        if matches!(self.aim, Aim::Nobody) {
            return delivery.count(self, len, times);
        }
        if times.is_some() {
            self.delivered = Delivered::All;
        } else if self.is_wanted {
            self.delivered = Delivered::Beginning;
        }
        let piece = if self.is_wanted { piece } else { piece.end..piece.end };
        let mut core = self.downstream.core.borrow_mut();
        if core.volume.arrived(len, times.is_some()) {
            self.downstream.commons.expectations.set(core.tenant, true);
        }
        if core.phase != Phase::Dead {
            core.take_piece(self.turn, read, piece, times.is_some());
            delivery.touch(&self.downstream, &mut core);
        }
        if let Some(times) = times {
            self.note_if_slow(&core, times);
        }
        drop(core);
        delivery.count(self, len, times);
    }

    fn whole(&mut self, read: &[u8], reply: &[u8], times: Times, delivery: &mut Delivery) {
        self.delivered = Delivered::All;
        let mut core = self.downstream.core.borrow_mut();
        if core.volume.arrived(reply.len(), true) {
            self.downstream.commons.expectations.set(core.tenant, true);
        }
        drop(core);
        if let Aim::Errand(answer) = &mut self.aim {
            answer_errand(answer, Ok(Bytes::copy_from_slice(reply)));
            return delivery.count(self, reply.len(), Some(times));
        }
        if matches!(self.aim, Aim::Required) && reply.starts_with(b"-") {
            tracing::info!("client closed: its connection to the upstream could not be prepared");
            self.downstream.core.borrow_mut().die();
            self.downstream.wake();
            return delivery.count(self, reply.len(), Some(times));
        }
        if self.is_astray(reply) {
            let Aim::Confirmations(confirmations) = &mut self.aim else { return };
            let left = std::mem::take(&mut confirmations.left);
            let answer = (0..left).find_map(|_| confirmations.all.one_came());
            if let Some(answer) = answer {
                self.give(read, answer.as_ref().into(), delivery);
            }
            return delivery.count(self, reply.len(), Some(times));
        }
        let may_be_tangled = matches!(self.aim, Aim::Tangled(_) | Aim::Exec(_) | Aim::First(_));
        let scoped = match may_be_tangled.then(|| untangled(reply)).flatten() {
            Some((reply, pushes)) => {
                // Between replies is the only place where a client expects them.
                for push in pushes {
                    self.downstream.pushed(read, push, delivery);
                }
                self.scoped_reply(&reply)
            }
            None => match self.lost_sight(reply) {
                Some(null) => null,
                None => self.scoped_reply(reply),
            },
        };
        if reply.starts_with(b"-") && self.spec().is_some_and(|spec| spec.name == "WATCH") {
            let mut core = self.downstream.core.borrow_mut();
            let had_watched = core.links.as_ref().is_some_and(|links| links.last().1);
            core.session.watch_failed(had_watched);
        }
        self.give_in_turn(read, scoped, delivery);
        if matches!(self.aim, Aim::Client(_) | Aim::Tangled(_) | Aim::First(_)) {
            self.note_if_slow(&self.downstream.core.borrow(), times);
        }
        if matches!(self.aim, Aim::Confirmations(_)) {
            // The upstream refused what the session believes to be subscribed to.
            self.downstream.end_after_replies(delivery);
        }
        delivery.count(self, reply.len(), Some(times));
    }

    fn confirm(&mut self, ends: bool, read: &[u8], times: Times, delivery: &mut Delivery) -> Confirm {
        let Aim::Confirmations(confirmations) = &mut self.aim else { return Confirm::Other };
        if confirmations.ends != ends {
            return Confirm::Other;
        }
        confirmations.left = confirmations.left.saturating_sub(1);
        let is_last = confirmations.left == 0;
        let answer = confirmations.all.one_came();
        if let Some(answer) = answer {
            self.give(read, answer.as_ref().into(), delivery);
        }
        if !is_last {
            return Confirm::One;
        }
        self.delivered = Delivered::All;
        delivery.count(self, 0, Some(times));
        Confirm::Last
    }

    fn fail(mut self, failure: &Failure, delivery: &mut Delivery) {
        let delivered = std::mem::replace(&mut self.delivered, Delivered::All);
        let reply = self.failure_reply(failure);
        if let Aim::Errand(answer) = &mut self.aim {
            answer_errand(answer, Err(reply.freeze()));
        } else if delivered == Delivered::Beginning {
            // An error in the middle of a reply would be read as part of it.
            tracing::info!("client closed: its reply broke off");
            self.downstream.core.borrow_mut().die();
            self.downstream.wake();
        } else {
            self.give_in_turn(&[], reply, delivery);
        }
    }

    fn takes_preliminary(&self, left: u32) -> bool {
        matches!(&self.aim, Aim::First(first) if first.is_answered_by(left))
    }

    fn preliminary(&mut self, reply: &[u8], left: u32) {
        if let Aim::First(first) = &mut self.aim {
            // Of a transaction, the first error is why it was aborted.
            if first.is_answered_by(left) || (first.of.is_exec && first.reply.is_none()) {
                first.reply = Some(reply.into());
            }
        } else if self.refused.is_none() && verdict(line_of(reply)) != Verdict::Never {
            self.refused = Some(line_of(reply).into());
        }
    }

    fn is_redirected(&self, error: &[u8]) -> bool {
        let commons = &self.downstream.commons;
        if !self.has_attempts(commons) {
            return false;
        }
        match (verdict(self.told(error)), self.of.way) {
            (Verdict::Never, _) => false,
            _ if matches!(self.aim, Aim::Confirmations(_)) => false,
            (_, Carried::Bound) if self.is_exec() => false,
            (_, Carried::ByReplica) | (Verdict::Moved { .. } | Verdict::Ask { .. }, Carried::Shared) => true,
            (Verdict::Moved { .. } | Verdict::Ask { .. }, _) if self.attempts < AT_ONCE => true,
            (_, Carried::Bound) => false,
            (_, Carried::Shared | Carried::Alone) => self.may_wait(&self.downstream.core.borrow()),
        }
    }

    fn reply_timeout(&self, settings: &UpstreamSettings) -> Duration {
        settings.reply_timeout_of(self.of.command)
    }

    fn outlives(&self, fate: Fate) -> bool {
        let may_repeat = match fate {
            Fate::NotSent => true,
            Fate::MayHaveRun => self.only_reads(),
        };
        let may_go_on = match self.of.way {
            Carried::ByReplica => true,
            Carried::Shared => {
                !self.is_overdue(&self.downstream.commons) && self.may_wait(&self.downstream.core.borrow())
            }
            Carried::Alone | Carried::Bound => false,
        };
        may_repeat
            && may_go_on
            && self.delivered == Delivered::Nothing
            && self.has_attempts(&self.downstream.commons)
    }
}

/// What an error reply says.
fn line_of(error: &[u8]) -> &[u8] {
    let line = error.strip_prefix(b"-").unwrap_or(error);
    line.strip_suffix(b"\r\n").unwrap_or(line)
}

impl Ticket {
    /// What decides where the request belongs: of a transaction that was aborted, why it was.
    pub(super) fn told<'e>(&'e self, error: &'e [u8]) -> &'e [u8] {
        match &self.refused {
            Some(refused) if error.starts_with(b"-EXECABORT") => refused,
            _ => line_of(self.answering(error)),
        }
    }

    /// The reply that the client reads, if `reply` is the last one to what was sent together.
    pub(super) fn answering<'r>(&'r self, reply: &'r [u8]) -> &'r [u8] {
        let Aim::First(first) = &self.aim else { return reply };
        let is_said_before = !first.of.is_exec || reply.starts_with(b"-EXECABORT");
        first.reply.as_deref().filter(|_| is_said_before).unwrap_or(reply)
    }

    /// Charges the classes of its command with bytes of its reply.
    #[cold]
    pub(super) fn charge_reply(&self, bytes: usize) {
        let commons = &self.downstream.commons;
        let core = self.downstream.core.borrow();
        let quota = commons.quota_of(&core.session).filter(|_| core.tenant == self.of.tenant as usize);
        if let (Some(quota), Some(spec)) = (quota, self.spec()) {
            quota.charge_replies_to(spec, bytes, commons.clock.nanos());
        }
    }

    fn spec(&self) -> Option<&'static CommandSpec> {
        TABLE.get(usize::from(self.of.command))
    }

    fn is_exec(&self) -> bool {
        self.spec().is_some_and(|spec| spec.name == "EXEC")
    }

    /// Whether `request`, which is its own, may bring a payload that the server must check.
    pub(super) fn may_bring_payload(&self, request: &Kept) -> bool {
        match self.spec() {
            Some(spec) if spec.service() == Service::Guarded => true,
            Some(spec) if spec.name == "EXEC" => request.mentions("RESTORE"),
            Some(_) | None => false,
        }
    }

    /// Whether a request about shard channels went to a node that has lost their slot: they will be found again.
    fn is_astray(&self, reply: &[u8]) -> bool {
        let (Aim::Confirmations(confirmations), Some(error)) = (&self.aim, reply.strip_prefix(b"-")) else {
            return false;
        };
        let Verdict::Moved { slot: Some(slot), to } = verdict(line_of(error)) else { return false };
        // What was to end has ended with the node's claim to the slot.
        if !confirmations.ends {
            self.downstream.has_moved(slot, to);
        }
        true
    }

    /// Whether running the request twice is as good as once.
    fn only_reads(&self) -> bool {
        match self.spec() {
            Some(spec) => spec.flags.contains(Flags::READONLY),
            // The proxy's own: pages and numbers, but also keys that are deleted.
            None => false,
        }
    }

    /// Whether the request may be sent again later: nothing else of its client must have been sent meanwhile.
    pub(super) fn may_wait(&self, core: &Core) -> bool {
        let is_only = match &self.aim {
            Aim::Errand(_) => true,
            Aim::Client(_)
            | Aim::Tangled(_)
            | Aim::Instead(_)
            | Aim::Exec(_)
            | Aim::First(_)
            | Aim::Part(..) => core.replies.len() == 1,
            Aim::Nobody | Aim::Required | Aim::Confirmations(_) => false,
        };
        let order = core.session.binding().map(|binding| binding.tenant().order);
        core.phase != Phase::Dead && (is_only || (order == Some(Order::Relaxed) && self.aim.has_turn()))
    }

    /// Whether redirections have led nowhere for a while, and it can wait until nodes agree.
    pub(super) fn should_pause(&self) -> bool {
        self.hops >= AT_ONCE && self.may_wait(&self.downstream.core.borrow())
    }

    /// Whether it may be sent once more.
    pub(super) fn has_attempts(&self, commons: &Commons) -> bool {
        self.attempts < commons.max_redirects(self.of.upstream as usize)
    }

    /// Whether the client has waited for as long as a node may take to reply.
    pub(super) fn is_overdue(&self, commons: &Commons) -> bool {
        let waited = commons.clock.read().since(self.of.read_at);
        u128::from(waited) >= commons.reply_timeout(self.of.upstream as usize, self.of.command).as_micros()
    }

    /// Counts one more attempt, which is made at once or after a pause.
    pub(super) fn try_again(&mut self, at_once: bool) -> u8 {
        self.refused = None;
        if let Aim::First(first) = &mut self.aim {
            first.reply = None;
        }
        self.hops = if at_once { self.hops.saturating_add(1) } else { 0 };
        self.attempts = self.attempts.saturating_add(1);
        self.attempts
    }

    pub(super) fn downstream(&self) -> &Rc<Downstream> {
        &self.downstream
    }

    pub(super) fn of(&self) -> Asked {
        self.of
    }

    /// Answers with `reply`. The caller holds the connection's state.
    pub(super) fn answer_with(&mut self, core: &mut Core, reply: &[u8]) {
        self.delivered = Delivered::All;
        if self.aim.has_turn() {
            core.take_bytes(self.turn, &[], self.wanted(reply));
        }
    }

    /// Answers with `error` instead. The caller holds the connection's state.
    pub(super) fn refuse_with(mut self, core: &mut Core, error: &[u8]) {
        self.delivered = Delivered::All;
        if self.aim.has_turn() {
            let reply = self.downstream.commons.instead(self.of, error);
            core.take_bytes(self.turn, &[], self.wanted(&reply));
        }
    }

    /// It is sent over another connection than before.
    pub(super) fn carried(mut self, way: Carried) -> Self {
        self.of.way = way;
        self
    }

    /// Answers with `error` instead.
    pub(super) fn refuse_because(mut self, error: &[u8]) {
        self.delivered = Delivered::All;
        let mut delivery = Delivery::default();
        let reply = self.downstream.commons.instead(self.of, error);
        if let Aim::Errand(answer) = &mut self.aim {
            answer_errand(answer, Err(reply.freeze()));
        } else {
            self.give_in_turn(&[], reply, &mut delivery);
        }
        delivery.finish(&[]);
    }

    /// What a client reads whose transaction watched keys that are on another node now: they may have changed.
    fn lost_sight(&self, reply: &[u8]) -> Option<BytesMut> {
        let is_lost = reply.starts_with(b"-")
            && self.of.way == Carried::Bound
            && self.is_exec()
            && verdict(self.told(reply)) != Verdict::Never;
        is_lost.then(|| {
            let mut null = BytesMut::new();
            ReplyWriter::new(&mut null, self.downstream.core.borrow().session.version()).null_array();
            null
        })
    }

    fn give_in_turn(&self, read: &[u8], reply: BytesMut, delivery: &mut Delivery) {
        if self.aim.has_turn() {
            return self.give(read, reply, delivery);
        }
        let mut core = self.downstream.core.borrow_mut();
        if let Some((turn, reply)) = self.gathered(&mut core, &reply)
            && core.phase != Phase::Dead
        {
            core.take_bytes(turn, read, &reply);
            delivery.touch(&self.downstream, &mut core);
        }
    }
}

/// Whoever asked may have gone.
fn answer_errand(answer: &mut Option<oneshot::Sender<Result<Bytes, Bytes>>>, reply: Result<Bytes, Bytes>) {
    if let Some(answer) = answer.take() {
        drop(answer.send(reply));
    }
}

impl Ticket {
    /// The upstream took long. A client that has changed tenants since leaves no trace in the new one.
    #[inline]
    fn note_if_slow(&self, core: &Core, times: Times) {
        let commons = &self.downstream.commons;
        if times.read_at.since(times.sent_at) >= commons.slow_micros
            && core.tenant == self.of.tenant as usize
            && let Some(card) = &core.card
        {
            commons.note_slow(&core.session, card, self.of.command, times);
        }
    }

    fn give(&self, read: &[u8], reply: BytesMut, delivery: &mut Delivery) {
        let mut core = self.downstream.core.borrow_mut();
        if core.phase != Phase::Dead {
            self.aim.was_answered(&mut core, &reply);
            let reply = if self.is_wanted { reply } else { BytesMut::new() };
            core.take_owned(self.turn, read, reply);
            delivery.touch(&self.downstream, &mut core);
        }
    }
}
