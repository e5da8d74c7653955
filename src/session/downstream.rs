//! Where upstream replies meet the client they belong to.
//!
//! A [`Ticket`] travels with a request through its lane and brings the reply back. The usual reply is next in
//! line and untouched: then it is not even copied, but written to the client straight from the lane's read
//! buffer, together with its neighbours of the same read. Everything else goes through `out`, which exists
//! only while it is needed.
//!
//! **Invariants**: replies leave in request order; a ticket is answered by its reply or by its failure, also when the process ends; a client
//! that does not read costs only itself (`max_output`, then it is closed).

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::task::Waker;

use bytes::{Buf, BytesMut};

use super::commons::Commons;
use super::machine::Session;
use super::replies::{Place, ReplyQueue};
use super::rescue::{self, text};
use crate::clock::Micros;
use crate::metrics::label::{Direction, ErrorCode};
use crate::resp::Version;
use crate::resp::reply::ReplyWriter;
use crate::socket::WriteHalf;
use crate::tenant::ReplyPlan;
use crate::upstream::{Batch, Failure, Recipient, Take, Times};

/// Whether more requests are read, and what the connection waits for if not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Requests are read.
    Open,
    /// No more are read; the connection ends when everything owed has been written.
    Finishing,
    /// It is over: whatever comes for it is discarded.
    Dead,
}

/// One client connection, shared by its driver and the tickets of its requests.
pub(super) struct Downstream {
    pub(super) commons: Rc<Commons>,
    writer: WriteHalf,
    pub(super) core: RefCell<Core>,
    /// The driver's task.
    pub(super) task: RefCell<Option<Waker>>,
}

/// The state of one client connection.
pub(super) struct Core {
    pub(super) session: Session,
    pub(super) replies: ReplyQueue,
    /// Bytes for the client that could not be written yet.
    pub(super) out: BytesMut,
    /// Replies that are still in the lane's read buffer: a range of it, only set while a batch is under way.
    run: Range<usize>,
    /// The batch under way will write this connection.
    is_in_batch: bool,
    pub(super) phase: Phase,
    /// The driver has stopped reading until some of what is owed has left.
    pub(super) is_paused: bool,
    /// The tenant's number in metrics.
    pub(super) tenant: usize,
}

impl Downstream {
    pub(super) fn new(commons: Rc<Commons>, writer: WriteHalf, session: Session, tenant: usize) -> Rc<Self> {
        let core = Core {
            session,
            replies: ReplyQueue::default(),
            out: BytesMut::new(),
            run: 0..0,
            is_in_batch: false,
            phase: Phase::Open,
            is_paused: false,
            tenant,
        };
        Rc::new(Self { commons, writer, core: RefCell::new(core), task: RefCell::new(None) })
    }

    pub(super) fn writer(&self) -> &WriteHalf {
        &self.writer
    }

    /// Writes what waits in `out`, as far as the socket takes it.
    pub(super) fn write_out(&self, core: &mut Core) {
        while !core.out.is_empty() && core.phase != Phase::Dead {
            match self.writer.try_write(&core.out) {
                Ok(0) => core.die(),
                Ok(written) => {
                    self.commons.count_bytes(core.tenant, Direction::DownstreamOut, written);
                    core.out.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => core.die(),
            }
        }
        if core.out.is_empty() {
            // An idle connection keeps no buffer.
            core.out = BytesMut::new();
        } else if core.out.len().saturating_add(core.replies.held_bytes()) > self.commons.limits.max_output {
            tracing::info!(
                limit = self.commons.limits.max_output,
                "client closed: it does not read its replies"
            );
            core.die();
        }
    }

    /// Writes the replies of one batch: those still in `read` without copying them first.
    fn write_batch(&self, read: &[u8]) {
        let mut core = self.core.borrow_mut();
        let core = &mut *core;
        core.is_in_batch = false;
        let run = std::mem::take(&mut core.run);
        if let Some(bytes) = read.get(run).filter(|bytes| !bytes.is_empty())
            && core.phase != Phase::Dead
        {
            let written = match self.writer.try_write(bytes) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => {
                    core.die();
                    bytes.len()
                }
            };
            self.commons.count_bytes(core.tenant, Direction::DownstreamOut, written);
            core.out.extend_from_slice(bytes.get(written..).unwrap_or_default());
        }
        if !core.out.is_empty() {
            self.write_out(core);
        }
        if !core.out.is_empty() || core.is_paused || core.phase != Phase::Open {
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }
}

/// The connection counts until its socket is closed, which is when its last reply has come.
impl Drop for Downstream {
    fn drop(&mut self) {
        self.commons.close_connection();
    }
}

impl Core {
    /// The connection is over; its driver ends when it is next polled.
    pub(super) fn die(&mut self) {
        self.phase = Phase::Dead;
        self.out = BytesMut::new();
        self.run = 0..0;
    }

    /// A piece of the reply of `turn`, which lies in `read` at `piece`.
    fn take_piece(&mut self, turn: Place, read: &[u8], piece: Range<usize>, is_last: bool) {
        if !self.replies.is_next(turn) {
            return self.replies.hold(turn, read.get(piece).unwrap_or_default(), is_last);
        }
        if self.run.end == piece.start && !self.run.is_empty() {
            self.run.end = piece.end;
        } else if self.run.is_empty() && self.out.is_empty() {
            self.run = piece;
        } else {
            self.settle(read);
            self.out.extend_from_slice(read.get(piece).unwrap_or_default());
        }
        if is_last {
            self.next_has_left(read);
        }
    }

    /// The whole reply of `turn`, from elsewhere than `read`, the buffer of the batch under way.
    fn take_bytes(&mut self, turn: Place, read: &[u8], bytes: &[u8]) {
        if self.replies.is_next(turn) {
            self.settle(read);
            self.out.extend_from_slice(bytes);
            self.replies.next_has_left(&mut self.out);
        } else {
            self.replies.hold(turn, bytes, true);
        }
    }

    fn next_has_left(&mut self, read: &[u8]) {
        if self.replies.is_followed() {
            self.settle(read);
        }
        self.replies.next_has_left(&mut self.out);
    }

    /// Moves the replies that are still in the lane's buffer to `out`, so that others can follow them.
    fn settle(&mut self, read: &[u8]) {
        let run = std::mem::take(&mut self.run);
        self.out.extend_from_slice(read.get(run).unwrap_or_default());
    }
}

/// The right to answer one request.
pub(super) struct Ticket {
    downstream: Rc<Downstream>,
    /// Whose turn it is.
    turn: Place,
    /// The client wants this reply; one that it does not want has its turn all the same, so that what must
    /// wait for everything under way waits for this request too.
    is_wanted: bool,
    plan: ReplyPlan,
    read_at: Micros,
    tenant: u32,
    upstream: u32,
    delivered: Delivered,
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
        plan: ReplyPlan,
        read_at: Micros,
        tenant: usize,
        upstream: usize,
    ) -> Self {
        Self {
            downstream: Rc::clone(downstream),
            turn,
            is_wanted,
            plan,
            read_at,
            tenant: u32::try_from(tenant).unwrap_or(u32::MAX),
            upstream: u32::try_from(upstream).unwrap_or(u32::MAX),
            delivered: Delivered::Nothing,
        }
    }

    /// Answers before the request went anywhere. The caller holds the connection's state.
    pub(super) fn refuse(mut self, core: &mut Core, failure: &Failure) {
        self.delivered = Delivered::All;
        let reply = self.failure_reply(failure);
        core.take_bytes(self.turn, &[], self.wanted(&reply));
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
                tracing::debug!(code = %String::from_utf8_lossy(line.get(..8).unwrap_or(line)), "the upstream refused the proxy");
                error_reply(text)
            }
            None => error_reply(&self.plan.strip_error(line)),
        }
    }

    /// The reply without the tenant's prefix, or an error if it cannot be shown.
    fn scoped_reply(&self, reply: &[u8]) -> BytesMut {
        if reply.first() == Some(&b'-') {
            return self.scoped_error(reply);
        }
        let mut scoped = BytesMut::with_capacity(reply.len());
        match self.plan.strip(reply, &mut scoped) {
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
        if self.plan.relays(first_byte) { Take::Stream } else { Take::Whole }
    }

    #[inline]
    fn stream(&mut self, read: &[u8], piece: Range<usize>, times: Option<Times>, delivery: &mut Delivery) {
        let len = piece.len();
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
        drop(core);
        delivery.count(self, len, times);
    }

    fn whole(&mut self, read: &[u8], reply: &[u8], times: Times, delivery: &mut Delivery) {
        self.delivered = Delivered::All;
        let scoped = self.scoped_reply(reply);
        self.give(read, &scoped, delivery);
        delivery.count(self, reply.len(), Some(times));
    }

    fn fail(mut self, failure: &Failure, delivery: &mut Delivery) {
        let delivered = std::mem::replace(&mut self.delivered, Delivered::All);
        let reply = self.failure_reply(failure);
        if delivered == Delivered::Beginning {
            // An error in the middle of a reply would be read as part of it.
            tracing::info!("client closed: its reply broke off");
            self.downstream.core.borrow_mut().die();
            self.downstream.wake();
        } else {
            self.give(&[], &reply, delivery);
        }
    }
}

impl Ticket {
    fn give(&self, read: &[u8], reply: &[u8], delivery: &mut Delivery) {
        let mut core = self.downstream.core.borrow_mut();
        if core.phase != Phase::Dead {
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
    fn touch(&mut self, downstream: &Rc<Downstream>, core: &mut Core) {
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
