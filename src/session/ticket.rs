//! The right to answer one request, and what becomes of its reply.
//!
//! A [`Ticket`] travels with a request through its lane and brings the reply back: to the client as it is, scoped
//! first, or in pieces; to nobody; or to whoever composes an answer. The replies of one read are written and
//! counted together ([`Delivery`]).
//!
//! **Invariant**: a ticket is answered by its reply or by its failure, also when the process ends.

use std::ops::Range;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::affinity::Over;
use super::batch::{Due, Part};
use super::commons::Commons;
use super::downstream::{Core, Downstream, Phase};
use super::exec;
use super::replies::Place;
use super::rescue::{self, text};
use crate::clock::Micros;
use crate::metrics::label::{Direction, ErrorCode};
use crate::resp::Version;
use crate::resp::cursor::untangled;
use crate::resp::reply::ReplyWriter;
use crate::tenant::ReplyPlan;
use crate::upstream::{Batch, Failure, Holder, Recipient, Take, Times};

/// The right to answer one request.
pub(super) struct Ticket {
    downstream: Rc<Downstream>,
    /// Whose turn it is.
    turn: Place,
    /// The client wants this reply; one that it does not want has its turn all the same, so that what must
    /// wait for everything under way waits for this request too.
    is_wanted: bool,
    aim: Aim,
    read_at: Micros,
    tenant: u32,
    upstream: u32,
    delivered: Delivered,
    /// The command, as a position in the table.
    command: u16,
}

/// Who reads a reply, and how.
pub(super) enum Aim {
    /// The client, by this plan.
    Client(ReplyPlan),
    /// The same over a connection that also brings pushes: they may stand inside the reply.
    Tangled(ReplyPlan),
    /// Nobody.
    Nobody,
    /// Nobody, but if it is an error the connection is not what the following requests take it for.
    Required,
    /// The client reads this instead.
    Instead(Box<[u8]>),
    /// The client reads the answer when so many confirmations have come.
    Confirmations(Box<Confirmations>),
    /// The client, part by part.
    Exec(Box<[Part]>),
    /// The proxy, on the client's behalf.
    Errand(Option<oneshot::Sender<Result<Bytes, Bytes>>>),
}

/// Confirmations that a request is owed.
pub(super) struct Confirmations {
    left: u32,
    answer: Option<Bytes>,
}

impl Aim {
    /// The aim of one request of a batch, and whether it has a turn among the client's replies.
    pub(super) fn of(due: Due, over: Over, plan: impl FnOnce() -> ReplyPlan) -> (Self, bool) {
        match due {
            Due::Nobody => (Self::Nobody, false),
            Due::Reply => (Self::client(over, plan()), true),
            Due::Answer(answer) => (Self::Instead(answer.as_ref().into()), true),
            Due::Confirmations { count, answer } => {
                let has_turn = answer.is_some();
                (Self::Confirmations(Box::new(Confirmations { left: count, answer })), has_turn)
            }
            Due::Exec(parts) if parts.iter().all(Part::is_relayed) => {
                (Self::client(over, ReplyPlan::Relay), true)
            }
            Due::Exec(parts) => (Self::Exec(parts.into()), true),
        }
    }

    /// The client is about to read `reply`: a transaction has been carried out if that is an array.
    fn was_answered(&self, core: &mut Core, reply: &[u8]) {
        if matches!(self, Self::Exec(_)) && (!reply.starts_with(b"*") || reply.starts_with(b"*-")) {
            core.session.exec_failed();
        }
    }

    /// The client's own reply, over this connection.
    #[inline]
    pub(super) fn client(over: Over, plan: ReplyPlan) -> Self {
        match over {
            Over::Shared => Self::Client(plan),
            Over::Leased(..) => Self::Tangled(plan),
        }
    }

    /// Whether the client has a turn for it.
    fn has_turn(&self) -> bool {
        match self {
            Self::Client(_) | Self::Tangled(_) | Self::Instead(_) | Self::Exec(_) => true,
            Self::Confirmations(confirmations) => confirmations.answer.is_some(),
            Self::Nobody | Self::Required | Self::Errand(_) => false,
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
        read_at: Micros,
        tenant: usize,
        (upstream, command): (usize, u16),
    ) -> Self {
        Self {
            downstream: Rc::clone(downstream),
            turn,
            is_wanted,
            aim,
            read_at,
            tenant: u32::try_from(tenant).unwrap_or(u32::MAX),
            upstream: u32::try_from(upstream).unwrap_or(u32::MAX),
            delivered: Delivered::Nothing,
            command,
        }
    }

    /// One for a request of the proxy's own that goes before, and must succeed.
    pub(super) fn of_requirement(&self) -> Self {
        let downstream = Rc::clone(&self.downstream);
        Self { downstream, aim: Aim::Required, delivered: Delivered::Nothing, ..*self }
    }

    /// Answers before the request went anywhere. The caller holds the connection's state.
    pub(super) fn refuse(mut self, core: &mut Core, failure: &Failure) {
        self.delivered = Delivered::All;
        let reply = self.failure_reply(failure);
        if let Aim::Errand(answer) = &mut self.aim {
            return answer_errand(answer, Err(reply.freeze()));
        }
        self.aim.was_answered(core, &reply);
        if self.aim.has_turn() {
            core.take_bytes(self.turn, &[], self.wanted(&reply));
        }
    }

    /// `reply`, or nothing of it.
    fn wanted<'r>(&self, reply: &'r [u8]) -> &'r [u8] {
        if self.is_wanted { reply } else { &[] }
    }

    fn failure_reply(&self, failure: &Failure) -> BytesMut {
        let commons = &self.downstream.commons;
        commons.count_error(self.tenant as usize, ErrorCode::Unavailable);
        error_reply(&rescue::unavailable(commons.upstream_name(self.upstream as usize), failure))
    }

    /// The error reply that the client reads instead of `reply`, which is one.
    fn scoped_error(&self, reply: &[u8]) -> BytesMut {
        let line = reply.strip_prefix(b"-").unwrap_or(reply);
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        self.downstream.commons.count_error(self.tenant as usize, ErrorCode::of_reply(line));
        match rescue::replaces(line) {
            Some(text) => {
                // What should have made the upstream forget something may not have.
                if let Some(links) = &mut self.downstream.core.borrow_mut().links {
                    links.stain();
                }
                tracing::debug!(code = %String::from_utf8_lossy(line.get(..8).unwrap_or(line)), "the upstream refused the proxy");
                error_reply(text)
            }
            None => match &self.aim {
                Aim::Client(plan) | Aim::Tangled(plan) => error_reply(&plan.strip_error(line)),
                Aim::Nobody
                | Aim::Required
                | Aim::Instead(_)
                | Aim::Confirmations(_)
                | Aim::Exec(_)
                | Aim::Errand(_) => error_reply(line),
            },
        }
    }

    /// The reply without the tenant's prefix, or an error if it cannot be shown.
    fn scoped_reply(&self, reply: &[u8]) -> BytesMut {
        if reply.first() == Some(&b'-') {
            return self.scoped_error(reply);
        }
        let mut scoped = BytesMut::with_capacity(reply.len());
        let stripped = match &self.aim {
            Aim::Client(plan) | Aim::Tangled(plan) => plan.strip(reply, &mut scoped),
            Aim::Exec(parts) => exec::strip(parts, reply, &mut scoped),
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
                self.downstream.commons.count_violation(self.tenant as usize);
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
    fn takes(&self, first_byte: u8) -> Take {
        match &self.aim {
            Aim::Client(plan) if plan.relays(first_byte) => Take::Stream,
            // A scalar has no inside.
            Aim::Tangled(plan) if plan.relays(first_byte) && !matches!(first_byte, b'*' | b'%' | b'~') => {
                Take::Stream
            }
            Aim::Nobody => Take::Stream,
            Aim::Client(_)
            | Aim::Tangled(_)
            | Aim::Required
            | Aim::Instead(_)
            | Aim::Confirmations(_)
            | Aim::Exec(_)
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
        let may_be_tangled = matches!(self.aim, Aim::Tangled(_) | Aim::Exec(_));
        let scoped = match may_be_tangled.then(|| untangled(reply)).flatten() {
            Some((reply, pushes)) => {
                // Between replies is the only place where a client expects them.
                for push in pushes {
                    self.downstream.pushed(read, push, delivery);
                }
                self.scoped_reply(&reply)
            }
            None => self.scoped_reply(reply),
        };
        if self.aim.has_turn() {
            self.give(read, &scoped, delivery);
        }
        if matches!(self.aim, Aim::Client(_) | Aim::Tangled(_)) {
            self.note_if_slow(&self.downstream.core.borrow(), times);
        }
        if matches!(self.aim, Aim::Confirmations(_)) {
            // The upstream refused what the session believes to be subscribed to.
            self.downstream.end_after_replies(delivery);
        }
        delivery.count(self, reply.len(), Some(times));
    }

    fn confirm(&mut self, read: &[u8], times: Times, delivery: &mut Delivery) -> bool {
        let Aim::Confirmations(confirmations) = &mut self.aim else { return false };
        confirmations.left = confirmations.left.saturating_sub(1);
        if confirmations.left > 0 {
            return false;
        }
        self.delivered = Delivered::All;
        if let Some(answer) = confirmations.answer.take() {
            self.give(read, &answer, delivery);
        }
        delivery.count(self, 0, Some(times));
        true
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
        } else if self.aim.has_turn() {
            self.give(&[], &reply, delivery);
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
            && core.tenant == self.tenant as usize
            && let Some(card) = &core.card
        {
            commons.note_slow(&core.session, card, self.command, times);
        }
    }

    fn give(&self, read: &[u8], reply: &[u8], delivery: &mut Delivery) {
        let mut core = self.downstream.core.borrow_mut();
        if core.phase != Phase::Dead {
            self.aim.was_answered(&mut core, reply);
            core.take_bytes(self.turn, read, self.wanted(reply));
            delivery.touch(&self.downstream, &mut core);
        }
    }
}

/// The replies of one read, by client: written and counted together.
#[derive(Default)]
pub(super) struct Delivery {
    touched: Vec<Rc<Downstream>>,
    counts: Vec<Count>,
    commons: Option<Rc<Commons>>,
}

/// Replies of one tenant whose requests were read and sent together, and which came back together.
#[derive(Clone, Copy)]
struct Count {
    tenant: u32,
    read_at: Micros,
    times: Times,
    replies: u32,
    bytes: usize,
}

impl Delivery {
    pub(super) fn touch(&mut self, downstream: &Rc<Downstream>, core: &mut Core) {
        if !core.is_in_batch {
            core.is_in_batch = true;
            self.touched.push(Rc::clone(downstream));
        }
    }

    /// Bytes of a reply came from upstream; with `times` it is complete.
    #[inline]
    fn count(&mut self, ticket: &Ticket, bytes: usize, times: Option<Times>) {
        let replies = u32::from(times.is_some());
        let times = times.unwrap_or_default();
        match self.counts.last_mut() {
            Some(last)
                if last.tenant == ticket.tenant && last.read_at == ticket.read_at && last.times == times =>
            {
                last.replies = last.replies.saturating_add(replies);
                last.bytes = last.bytes.saturating_add(bytes);
            }
            _ => {
                if self.commons.is_none() {
                    self.commons = Some(Rc::clone(&ticket.downstream.commons));
                }
                self.counts.push(Count {
                    tenant: ticket.tenant,
                    read_at: ticket.read_at,
                    times,
                    replies,
                    bytes,
                });
            }
        }
    }
}

impl Batch for Delivery {
    fn finish(&mut self, read: &[u8]) {
        for downstream in self.touched.drain(..) {
            downstream.write_batch(read);
        }
        if let Some(commons) = &self.commons {
            let written_at = commons.clock.read();
            let mut metrics = commons.metrics.borrow_mut();
            for count in self.counts.drain(..) {
                let tenant = count.tenant as usize;
                metrics.bytes(tenant, Direction::UpstreamIn, count.bytes as u64);
                if count.replies > 0 {
                    let upstream = count.times.read_at.since(count.times.sent_at);
                    metrics.answered_many(tenant, count.replies, written_at.since(count.read_at), upstream);
                }
            }
        }
    }
}
