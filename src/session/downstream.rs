//! One client connection: what waits to be written to it, and in which order.
//!
//! The usual reply is next in line and untouched: then it is not even copied, but written to the client straight
//! from the lane's read buffer, together with its neighbours of the same read. Everything else goes through
//! `out`, which exists only while it is needed.
//!
//! **Invariants**: replies leave in request order, and a push goes between them, never into one; a client that
//! does not read costs only itself (`max_output`, then it is closed).

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;

use bytes::{Buf, Bytes, BytesMut};

use super::affinity::Affinity;
use super::again::Moving;
use super::commons::Commons;
use super::delivery::Delivery;
use super::hearing::Hearing;
use super::links::Links;
use super::machine::Session;
use super::replies::{Place, ReplyQueue};
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
    /// What few connections have, most of the time.
    pub(super) seldom: Option<Box<Seldom>>,
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
    /// Pushes that came while a reply was on its way in pieces; `None`: no reply is.
    late: Option<BytesMut>,
}

impl Seldom {
    fn is_nothing(&self) -> bool {
        self.uncounted.is_none()
            && self.patterns.is_empty()
            && self.hearing.is_none()
            && self.moving.is_none()
            && self.late.is_none()
    }
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
            intake: Intake::Open,
            tenant,
            links: None,
            card: None,
            card_tenant: None,
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
            core.seldom.take_if(|seldom| seldom.is_nothing());
        } else {
            let limit = core.output_limit(&self.commons);
            let late = core.late().map_or(0, |late| late.len());
            if core.out.len().saturating_add(core.replies.held_bytes()).saturating_add(late) > limit {
                tracing::info!(limit, "client closed: it does not read what it is sent");
                core.die();
            }
        }
    }

    /// Writes the replies of one batch: those still in `read` without copying them first.
    pub(super) fn write_batch(&self, read: &[u8]) {
        let mut core = self.core.borrow_mut();
        let core = &mut *core;
        core.is_in_batch = false;
        core.is_unblocked();
        if core.replies.held_bytes() > 0 && core.run.len() < SMALL && core.phase == Phase::Open {
            // What is held waits for another connection, whose replies are likely to have come with these: one
            // write for all, when the driver has its turn behind them.
            core.settle(read);
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
            self.commons.count_bytes(core.tenant, Direction::DownstreamOut, written);
            core.out.extend_from_slice(bytes.get(written..).unwrap_or_default());
        }
        if !core.out.is_empty() {
            self.write_out(core);
        }
        if !core.out.is_empty()
            || core.intake != Intake::Open
            || core.phase != Phase::Open
            || core.links.is_some()
        {
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

    /// Bytes it may leave unread.
    fn output_limit(&self, commons: &Commons) -> usize {
        let is_told = self.session.ties().is_some_and(Affinity::is_told);
        if is_told { commons.limits.max_subscriber_output } else { commons.limits.max_output }
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
        } else if self.run.is_empty() && self.out.is_empty() {
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
