//! One client connection: what waits to be written to it, and in which order.
//!
//! The usual reply is next in line and untouched: then it is not even copied, but written to the client straight
//! from the lane's read buffer, together with its neighbours of the same read. Everything else goes through
//! `out`, which exists only while it is needed.
//!
//! **Invariants**: replies leave in request order, and a push goes between them, never into one; a client that
//! does not read costs only itself (`max_output`, then it is closed).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;

use bytes::{Buf, Bytes, BytesMut};

use super::again::Moving;
use super::commons::Commons;
use super::delivery::Delivery;
use super::hearing::Hearing;
use super::links::Links;
use super::machine::Session;
use super::quota::Quota;
use super::replies::{Place, ReplyQueue};
use super::volume::Volume;
use super::weight::{LISTED_FROM, Weight};
use crate::clients::Card;
use crate::metrics::label::{Direction, LeaseReason};
use crate::socket::WriteHalf;

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

/// Whether a client's requests are handled as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// They are.
    Open,
    /// Not until some of what is owed has left.
    Paused,
    /// Not until nothing is owed: what follows goes another way, and must not overtake.
    Draining,
}

/// Bytes from which on what a client has not read is set aside.
const CHUNK: usize = 1 << 20;
/// Replies that are rather copied than written by themselves.
const SMALL: usize = 16 << 10;

/// One client connection, shared by its driver and the tickets of its requests.
pub(super) struct Downstream {
    pub(super) commons: Rc<Commons>,
    pub(super) writer: WriteHalf,
    pub(super) core: RefCell<Core>,
    /// The driver's task.
    pub(super) task: RefCell<Option<Waker>>,
    /// Itself, for whoever must keep it.
    pub(super) this: Weak<Self>,
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
    pub(super) is_in_batch: bool,
    pub(super) phase: Phase,
    /// Whether its requests are handled.
    pub(super) intake: Intake,
    /// The tenant's number in metrics.
    pub(super) tenant: usize,
    /// Upstream connections of its own.
    pub(super) links: Option<Box<Links>>,
    /// What others may know of it, once it has a tenant.
    pub(super) card: Option<Arc<Card>>,
    /// The tenant that `card` was shown to.
    pub(super) card_tenant: Option<usize>,
    /// Which lane its requests take.
    pub(super) volume: Volume,
    /// What few connections have, most of the time.
    pub(super) seldom: Option<Box<Seldom>>,
}

/// Places among the requests in flight that a connection has taken.
struct Places {
    quota: Rc<Quota>,
    taken: u64,
    /// Of them, requests that have not been sent yet: one that is to be asked about again, or none.
    unsent: u64,
}

impl Drop for Places {
    fn drop(&mut self) {
        self.quota.leave(self.taken);
    }
}

/// State that an idle connection does without.
#[derive(Default)]
pub(super) struct Seldom {
    /// What the connection's links were counted for when it was over.
    pub(super) uncounted: Option<(usize, LeaseReason)>,
    /// The patterns that were counted for it.
    pub(super) patterns: Vec<Bytes>,
    /// Its ears, where they may have to follow what they hear.
    pub(super) hearing: Option<Box<Hearing>>,
    /// A request whose connection has to be made to another node first.
    pub(super) moving: Option<Box<Moving>>,
    /// What it makes the proxy hold.
    pub(super) weight: Weight,
    /// What waits to be written before `out`.
    backlog: Backlog,
    /// Pushes that came while a reply was on its way in pieces; `None`: no reply is.
    late: Option<BytesMut>,
    /// Its requests in flight, where they are counted.
    places: Option<Places>,
}

/// Much that a client has not read. In chunks, because one buffer that grows is copied again and again, and takes its
/// memory twice meanwhile.
#[derive(Default)]
struct Backlog {
    chunks: VecDeque<Bytes>,
    bytes: usize,
}

impl Seldom {
    fn is_nothing(&self) -> bool {
        self.uncounted.is_none()
            && self.patterns.is_empty()
            && self.hearing.is_none()
            && self.moving.is_none()
            && self.weight.is_nothing()
            && self.backlog.chunks.is_empty()
            && self.late.is_none()
            && self.places.as_ref().is_none_or(|places| places.taken == 0)
    }

    /// Bytes that wait apart from `out`: before it, or for the end of a reply.
    fn waiting_bytes(&self) -> usize {
        self.late.as_ref().map_or(0, BytesMut::len).saturating_add(self.backlog.bytes)
    }
}

impl Downstream {
    pub(super) fn new(commons: Rc<Commons>, writer: WriteHalf, session: Session, tenant: usize) -> Rc<Self> {
        let mut volume = Volume::default();
        if commons.expectations.is_large(tenant) {
            volume.expect_large();
        }
        let core = Core {
            session,
            replies: ReplyQueue::default(),
            out: BytesMut::new(),
            run: 0..0,
            is_in_batch: false,
            phase: Phase::Open,
            intake: Intake::Open,
            tenant,
            links: None,
            card: None,
            card_tenant: None,
            volume,
            seldom: None,
        };
        Rc::new_cyclic(|this| Self {
            commons,
            writer,
            core: RefCell::new(core),
            task: RefCell::new(None),
            this: Weak::clone(this),
        })
    }

    pub(super) fn writer(&self) -> &WriteHalf {
        &self.writer
    }

    /// Writes what waits in `out`, as far as the socket takes it.
    pub(super) fn write_out(&self, core: &mut Core) {
        while core.has_output() && core.phase != Phase::Dead {
            match self.writer.try_write(core.next_output()) {
                Ok(0) => core.die(),
                Ok(written) => {
                    self.count_written(core, written);
                    core.output_has_left(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => core.die(),
            }
        }
        if core.has_output() {
            return self.weigh(core);
        }
        // An idle connection keeps no buffer.
        core.out = BytesMut::new();
        if core.seldom.is_some() {
            self.weigh(core);
            core.forget_nothings();
        }
    }

    /// Writes the replies of one batch: those still in `read` without copying them first.
    pub(super) fn write_batch(&self, read: &[u8]) {
        let mut core = self.core.borrow_mut();
        let core = &mut *core;
        core.is_in_batch = false;
        core.is_unblocked();
        core.leave();
        if core.replies.held_bytes() > 0 && core.run.len() < SMALL && core.phase == Phase::Open {
            // What is held waits for another connection, whose replies are likely to have come with these: one
            // write for all, when the driver has its turn behind them.
            core.settle(read);
            if core.replies.held_bytes() >= LISTED_FROM {
                self.weigh(core);
            }
            return self.wake();
        }
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
            self.count_written(core, written);
            core.out.extend_from_slice(bytes.get(written..).unwrap_or_default());
        }
        if core.has_output() {
            self.write_out(core);
        }
        if core.has_output()
            || core.intake != Intake::Open
            || core.phase != Phase::Open
            || core.links.is_some()
        {
            self.wake();
        }
    }

    /// Bytes were written to the client.
    fn count_written(&self, core: &Core, written: usize) {
        self.commons.count_bytes(core.tenant, Direction::DownstreamOut, written);
        if let Some(quota) = self.commons.quota_of(&core.session)
            && quota.charges_replies()
        {
            quota.charge_replies(written, self.commons.clock.nanos());
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
    /// The connection is over; its driver ends when it is next polled. Its own upstream connections end at once.
    pub(super) fn die(&mut self) {
        self.phase = Phase::Dead;
        // Dropping them closes them: an element must not be popped for a client that has gone.
        if let Some(links) = self.links.take() {
            self.seldom().uncounted = links.counted();
        }
        // It holds a ticket, which holds the connection.
        if let Some(seldom) = &mut self.seldom {
            seldom.moving = None;
        }
        self.out = BytesMut::new();
        self.run = 0..0;
        // Nothing is delivered any more, and what was held for its turn may be much.
        self.replies = ReplyQueue::default();
        if let Some(seldom) = &mut self.seldom {
            seldom.late = None;
            seldom.backlog = Backlog::default();
        }
    }

    /// Whether anything waits to be written.
    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty() || self.seldom.as_ref().is_some_and(|seldom| !seldom.backlog.chunks.is_empty())
    }

    /// What is to be written next.
    fn next_output(&self) -> &[u8] {
        let chunk = self.seldom.as_ref().and_then(|seldom| seldom.backlog.chunks.front());
        chunk.map_or(&self.out, Bytes::as_ref)
    }

    fn output_has_left(&mut self, written: usize) {
        let backlog = self.seldom.as_mut().map(|seldom| &mut seldom.backlog);
        let Some((chunk, bytes)) = backlog.and_then(|of| Some((of.chunks.front_mut()?, &mut of.bytes)))
        else {
            return self.out.advance(written);
        };
        chunk.advance(written);
        *bytes = bytes.saturating_sub(written);
        if chunk.is_empty()
            && let Some(seldom) = &mut self.seldom
        {
            seldom.backlog.chunks.pop_front();
        }
    }

    /// Sets aside what waits if it is much.
    pub(super) fn set_output_aside(&mut self) {
        if self.out.len() >= CHUNK {
            let chunk = std::mem::take(&mut self.out).freeze();
            let backlog = &mut self.seldom().backlog;
            backlog.bytes = backlog.bytes.saturating_add(chunk.len());
            backlog.chunks.push_back(chunk);
        }
    }

    /// Bytes that the client has not read, or that wait for their turn.
    pub(super) fn unread(&self) -> usize {
        let waiting = self.seldom.as_ref().map_or(0, |seldom| seldom.waiting_bytes());
        self.out.len().saturating_add(self.replies.held_bytes()).saturating_add(waiting)
    }

    /// An idle connection keeps nothing that it does not need.
    pub(super) fn forget_nothings(&mut self) {
        self.seldom.take_if(|seldom| seldom.is_nothing());
    }

    /// Requests have been handled: those that are owed a reply keep their places among the requests in flight.
    /// `waits`: the last one is to be asked about again.
    pub(super) fn enter(&mut self, waits: bool, commons: &Commons) {
        let Some(quota) = commons.quota_of(&self.session) else { return };
        let entered = quota.entered();
        let of_this = self.seldom().places.take_if(|places| Rc::ptr_eq(&places.quota, quota));
        let mut places = of_this.unwrap_or_else(|| Places { quota: Rc::clone(quota), taken: 0, unsent: 0 });
        places.taken = places.taken.saturating_add(entered);
        places.unsent = u64::from(waits);
        self.seldom().places = Some(places);
        self.leave();
    }

    /// Gives back the places of requests that have been answered.
    fn leave(&mut self) {
        let Some(places) = self.seldom.as_mut().and_then(|seldom| seldom.places.as_mut()) else { return };
        let owed = u64::try_from(self.replies.len()).unwrap_or(u64::MAX).saturating_add(places.unsent);
        if let Some(answered) = places.taken.checked_sub(owed) {
            places.quota.leave(answered);
            places.taken = owed;
        }
    }

    /// What follows must wait until nothing is owed.
    pub(super) fn drain(&mut self) {
        self.intake = Intake::Draining;
    }

    /// For what few connections have.
    pub(super) fn seldom(&mut self) -> &mut Seldom {
        self.seldom.get_or_insert_default()
    }

    fn late(&mut self) -> Option<&mut BytesMut> {
        self.seldom.as_mut()?.late.as_mut()
    }

    /// Nothing is owed: no command blocks any more, and others must know before the client does.
    fn is_unblocked(&mut self) {
        if let Some(links) = self.links.as_mut().filter(|links| links.is_blocked)
            && self.replies.is_empty()
        {
            links.is_blocked = false;
            if let Some(card) = &self.card {
                card.set_blocked(false);
            }
        }
    }

    /// Bytes that answer nothing: they go between replies, never into one.
    pub(super) fn take_push(&mut self, read: &[u8], push: &[u8]) {
        if let Some(late) = self.late() {
            return late.extend_from_slice(push);
        }
        self.settle(read);
        self.out.extend_from_slice(push);
    }

    /// A piece of the reply of `turn`, which lies in `read` at `piece`.
    pub(super) fn take_piece(&mut self, turn: Place, read: &[u8], piece: Range<usize>, is_last: bool) {
        if !self.replies.is_next(turn) {
            return self.replies.hold(turn, read.get(piece).unwrap_or_default(), is_last);
        }
        if self.run.end == piece.start && !self.run.is_empty() {
            self.run.end = piece.end;
        } else if self.run.is_empty() && !self.has_output() {
            self.run = piece;
        } else {
            self.settle(read);
            self.out.extend_from_slice(read.get(piece).unwrap_or_default());
        }
        if is_last {
            self.next_has_left(read);
        } else {
            self.seldom().late.get_or_insert_default();
        }
    }

    /// The whole reply of `turn`, from elsewhere than `read`, the buffer of the batch under way.
    pub(super) fn take_bytes(&mut self, turn: Place, read: &[u8], bytes: &[u8]) {
        if self.replies.is_next(turn) {
            self.settle(read);
            self.out.extend_from_slice(bytes);
            self.next_has_left(read);
        } else {
            self.replies.hold(turn, bytes, true);
        }
    }

    /// The same, of bytes that nobody else needs: where nothing waits before them they are not copied.
    pub(super) fn take_owned(&mut self, turn: Place, read: &[u8], bytes: BytesMut) {
        if self.replies.is_next(turn) && self.out.is_empty() && self.run.is_empty() {
            self.out = bytes;
            self.next_has_left(read);
        } else {
            self.take_bytes(turn, read, &bytes);
        }
    }

    fn next_has_left(&mut self, read: &[u8]) {
        let late = self.seldom.as_mut().and_then(|seldom| seldom.late.take());
        if let Some(late) = late.filter(|late| !late.is_empty()) {
            self.settle(read);
            self.out.extend_from_slice(&late);
        }
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

impl Downstream {
    /// A push of the proxy's own.
    pub(super) fn push(&self, core: &mut Core, push: &[u8]) {
        if core.phase != Phase::Dead {
            core.take_push(&[], push);
            self.write_out(core);
        }
    }

    /// The whole answer of `turn`, from the proxy.
    pub(super) fn answer(&self, turn: Place, reply: &[u8]) {
        let mut core = self.core.borrow_mut();
        if core.phase != Phase::Dead {
            core.take_bytes(turn, &[], reply);
            self.write_out(&mut core);
        }
        drop(core);
        self.wake();
    }

    /// No more requests are read, and the connection ends when everything owed has been written.
    pub(super) fn end_after_replies(&self, delivery: &mut Delivery) {
        let mut core = self.core.borrow_mut();
        if core.phase == Phase::Open {
            core.phase = Phase::Finishing;
            if let Some(this) = self.this.upgrade() {
                delivery.touch(&this, &mut core);
            }
        }
    }
}
