//! Performs a session's steps on its socket: reads, asks the machine, sends upstream, writes answers.
//!
//! A hand-written future, because ten thousand idle ones must be small: it owns a socket half, a few
//! pointers, and nothing else while its client is silent. Requests are read into the worker's buffer and
//! handled there; only an unfinished one is copied to memory of its own.
//!
//! Reading stops (and the kernel pushes back on the client) while the client is owed too many replies, does
//! not read them, or its lane is full: a slow client waits for itself.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

use super::affinity::Slot;
use super::commons::{Commons, Scratch};
use super::downstream::{Core, Downstream, Intake, Phase};
use super::links::LeaseWait;
use super::machine::Session;
use super::rescue::text;
use super::turn::{Hold, Turn, Ways};
use crate::metrics::label::Direction;
use crate::resp::send_queue::SHARED_FROM;
use crate::resp::{RequestScanner, Scan, Span};
use crate::socket::{ReadHalf, WriteHalf};
use crate::tenant::directory::Binding;

/// Bytes waiting for a client, or for their turn, before its requests are no longer read.
const MAX_UNREAD: usize = 1 << 20;
/// The first allocation for an unfinished request; it doubles as bytes arrive, never ahead of them.
const FIRST_PARTIAL: usize = 4 * 1024;
/// Milliseconds after which a session that is held looks whether it still is: the pause may have been ended.
const HELD_LOOK_MS: u64 = 50;
/// Bytes of an unfinished request that are read at once.
const READ_AT_ONCE: usize = 128 << 10;
/// Full reads in a row before other tasks get their turn.
const READS_PER_TURN: usize = 4;

/// A request that has not arrived completely, or requests that must wait.
#[derive(Default)]
struct Partial {
    buffer: BytesMut,
    spans: Vec<Span>,
    scanner: RequestScanner,
    /// Bytes the scanner asked for, at least.
    missing: usize,
}

impl Partial {
    /// Requests that cannot be handled now, if there are any.
    fn keep(rest: &[u8]) -> Option<Box<Self>> {
        (!rest.is_empty()).then(|| Box::new(Self { buffer: BytesMut::from(rest), ..Self::default() }))
    }
}

/// The task of one client connection; ends when the connection does.
pub struct Driver {
    downstream: Rc<Downstream>,
    read: ReadHalf,
    partial: Option<Box<Partial>>,
    /// Where requests go, and what they wait for.
    ways: Ways,
    /// Wakes the task when requests need not be held any more.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Driver {
    /// A connection that has just been accepted, from a listener that binds to `home`. Beyond what there may be its
    /// socket comes back, with the error that its client is to read.
    pub fn new(
        commons: Rc<Commons>,
        (read, write): (ReadHalf, WriteHalf),
        home: Option<Arc<Binding>>,
    ) -> Result<Self, (WriteHalf, Vec<u8>)> {
        if !commons.open_connection() {
            return Err((write, text::TOO_MANY_CLIENTS.to_vec()));
        }
        let tenant = commons.tenant_number(home.as_ref());
        let session = match Session::new(home, &*commons) {
            Ok(session) => session,
            Err(error) => {
                commons.close_connection();
                commons.metrics.borrow_mut().connection_refused();
                return Err((write, error));
            }
        };
        commons.metrics.borrow_mut().connection_opened(tenant);
        let downstream = Downstream::new(commons, write, session, tenant);
        downstream.introduce(&mut downstream.core.borrow_mut());
        let ways = Ways::default();
        Ok(Self { downstream, read, partial: None, ways, alarm: None })
    }

    /// Reads and handles requests until the client is silent, done, or must wait.
    fn read_requests(&mut self, cx: &mut Context<'_>) {
        for _ in 0..READS_PER_TURN {
            if self.is_paused(cx) {
                return;
            }
            let read = match self.partial.take() {
                None => self.read_to_scratch(cx),
                Some(partial) => self.read_to_partial(partial, cx),
            };
            match read {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(End::Finished)) => {
                    let mut core = self.downstream.core.borrow_mut();
                    if core.phase == Phase::Open {
                        core.phase = Phase::Finishing;
                    }
                }
                Poll::Ready(Err(End::Lost)) => self.downstream.core.borrow_mut().die(),
            }
            if self.downstream.core.borrow().phase != Phase::Open {
                return;
            }
            // A large request is a matter of many turns.
            if self.partial.as_ref().is_some_and(|partial| partial.missing >= READ_AT_ONCE) {
                break;
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Whether requests must wait; if so, what wakes the task has been arranged.
    fn is_paused(&mut self, cx: &mut Context<'_>) -> bool {
        let mut core = self.downstream.core.borrow_mut();
        if core.replies.is_empty() {
            core.intake = Intake::Open;
            self.ways.is_composing = false;
            // A request that needs two connections keeps the first while it waits for the second: given back, it would
            // have to be waited for again, and so on for ever.
            let is_settled = core.links.as_ref().is_none_or(|links| links.is_settled(&core.session));
            if !is_settled && self.ways.wait.is_none() {
                self.downstream.settle(&mut core);
            }
        }
        let is_full =
            core.replies.len() >= self.downstream.commons.limits.max_pipeline || core.unread() >= MAX_UNREAD;
        if core.intake != Intake::Draining {
            core.intake = if is_full || self.is_held_back(&core) { Intake::Paused } else { Intake::Open };
        }
        if core.intake != Intake::Open {
            return true;
        }
        let tenant = core.tenant;
        drop(core);
        self.is_held(cx)
            || self.ways.wait.as_mut().is_some_and(|wait| wait.is_pending(&self.downstream, cx))
            || self.ways.must_wait_for_turn(tenant, cx.waker())
    }

    /// Whether its requests wait because memory is short and it holds much of it. One that has gone is read, so that it
    /// ends; the others are woken when memory is not short any more.
    fn is_held_back(&self, core: &Core) -> bool {
        self.downstream.is_too_heavy(core) && !self.read.is_closed_by_peer()
    }

    /// A request over the session's own connection waits for one to another node.
    fn move_lease(&mut self, cx: &mut Context<'_>) {
        let downstream = Rc::clone(&self.downstream);
        let mut core = downstream.core.borrow_mut();
        let core = &mut *core;
        let moving = core.seldom.as_ref().and_then(|seldom| seldom.moving.as_ref());
        let Some(to) = moving.filter(|_| core.phase != Phase::Dead).map(|moving| moving.to) else { return };
        let commons = &downstream.commons;
        let links = core.links.get_or_insert_default();
        let wait = self.ways.wait.take().filter(|wait| wait.is_for(Slot::Own, to));
        let Some(mut wait) = wait.or_else(|| {
            links.make_way(&mut core.session, &commons.leases);
            LeaseWait::begin(commons, Slot::Own, to)
        }) else {
            return core.die();
        };
        match wait.poll(&downstream, &mut core.session, links, cx) {
            Poll::Pending => self.ways.wait = Some(wait),
            Poll::Ready(outcome) => {
                let moving = core.seldom.as_mut().and_then(|seldom| seldom.moving.take());
                if let Some(moving) = moving {
                    moving.arrive(core, outcome);
                }
            }
        }
    }

    /// Whether requests are held for a while.
    fn is_held(&mut self, cx: &mut Context<'_>) -> bool {
        match self.ways.held {
            None => false,
            Some(Hold::Paused(until)) => self.is_paused_until(until, cx),
            Some(Hold::Delayed(until)) => {
                let until = self.downstream.commons.clock.at_nanos(until);
                let alarm =
                    self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
                let is_pending = alarm.as_mut().poll(cx).is_pending();
                if !is_pending {
                    self.held_no_more();
                }
                is_pending
            }
        }
    }

    fn held_no_more(&mut self) {
        self.ways.held = None;
        self.alarm = None;
    }

    /// Whether the tenant's requests are held for a while (`CLIENT PAUSE`).
    fn is_paused_until(&mut self, until: u64, cx: &mut Context<'_>) -> bool {
        let commons = &self.downstream.commons;
        let clients = commons.clients_of(&self.downstream.core.borrow().session).map(Arc::clone);
        // Ended early, or made longer.
        let pause = clients.and_then(|clients| clients.paused_at(commons.clock.read_millis()));
        let Some(pause) = pause else {
            self.held_no_more();
            return false;
        };
        let until = until.max(pause.until_ms).min(commons.clock.millis().saturating_add(HELD_LOOK_MS));
        let alarm = self.alarm.insert(Box::pin(tokio::time::sleep_until(commons.clock.at(until).into())));
        alarm.as_mut().poll(cx).is_pending()
    }

    /// Reads ahead while a command blocks, a connection for it is awaited, or its answer is composed: only so is
    /// the client's end seen, and nothing must be popped for a client that has gone.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        let is_blocked = {
            let core = self.downstream.core.borrow();
            core.links.as_ref().is_some_and(|links| links.is_blocked) || self.ways.wait.is_some()
        };
        while (is_blocked || self.ways.is_composing) && self.downstream.core.borrow().phase == Phase::Open {
            let partial = self.partial.get_or_insert_default();
            if partial.buffer.len() >= MAX_UNREAD {
                return;
            }
            partial.buffer.reserve(FIRST_PARTIAL);
            let polled = tokio_util::io::poll_read_buf(Pin::new(&mut self.read), cx, &mut partial.buffer);
            // What has come is looked at when the command has ended.
            partial.missing = 0;
            match polled {
                Poll::Pending => {
                    if partial.buffer.is_empty() {
                        self.partial = None;
                    }
                    return;
                }
                Poll::Ready(Ok(len)) if len > 0 => self.count_in(len),
                // Who sends no more may still read an answer that is composed; it is seen again after it.
                Poll::Ready(Ok(_)) if !is_blocked => return,
                Poll::Ready(_) => self.downstream.core.borrow_mut().die(),
            }
        }
    }

    /// The usual read: into the worker's buffer, where complete requests are handled.
    fn read_to_scratch(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let commons = Rc::clone(&self.downstream.commons);
        let mut scratch = commons.scratch.borrow_mut();
        let mut buffer = std::mem::take(&mut scratch.read);
        let mut target = ReadBuf::new(&mut buffer);
        let polled = Pin::new(&mut self.read).poll_read(cx, &mut target);
        let len = target.filled().len();
        let read = match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if len > 0 => {
                let received = buffer.get(..len).unwrap_or_default();
                self.count_in(len);
                self.handle_received(received, &mut scratch);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) => Poll::Ready(Err(End::Finished)),
            Poll::Ready(Err(_)) => Poll::Ready(Err(End::Lost)),
        };
        scratch.read = buffer;
        read
    }

    /// Continues an unfinished request in memory of its own.
    fn read_to_partial(&mut self, mut partial: Box<Partial>, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let read = if partial.missing == 0 {
            // Requests that had to wait: nothing needs to be read first.
            Poll::Ready(Ok(1))
        } else {
            partial.buffer.reserve(room_for(partial.buffer.len(), partial.missing));
            // No more than others can wait for, however much has come.
            let mut room = (&mut partial.buffer).limit(READ_AT_ONCE);
            let polled = tokio_util::io::poll_read_buf(Pin::new(&mut self.read), cx, &mut room);
            if let Poll::Ready(Ok(len)) = &polled {
                self.count_in(*len);
            }
            polled
        };
        match read {
            Poll::Pending => {
                self.partial = Some(partial);
                Poll::Pending
            }
            Poll::Ready(Ok(0)) => Poll::Ready(Err(End::Finished)),
            Poll::Ready(Ok(_)) => {
                let commons = Rc::clone(&self.downstream.commons);
                let mut scratch = commons.scratch.borrow_mut();
                self.handle_partial(partial, &mut scratch);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(End::Lost)),
        }
    }

    /// Handles every complete request in `received`, and keeps what is left.
    fn handle_received(&mut self, received: &[u8], scratch: &mut Scratch) {
        let mut at = 0;
        let spans = &mut scratch.spans;
        let commons = Rc::clone(&self.downstream.commons);
        let views = commons.views.borrow();
        let mut turn =
            Turn::begin(&self.downstream, &views, &mut self.ways, &mut scratch.located, &mut scratch.answer);
        while let Some(rest) = received.get(at..).filter(|rest| !rest.is_empty()) {
            let mut scanner = RequestScanner::default();
            spans.clear();
            let scan = scanner.scan(rest, spans, &turn.scan_limits());
            if let Scan::Incomplete { missing } = scan {
                let mut buffer = commons.pool.take(rest.len().saturating_add(room_for(rest.len(), missing)));
                buffer.extend_from_slice(rest);
                let spans = std::mem::take(spans);
                self.partial = Some(Box::new(Partial { buffer, spans, scanner, missing }));
                break;
            }
            let Some(len) = turn.take(scan, rest, spans, None) else { break };
            at = at.saturating_add(len);
            if turn.must_wait() {
                self.partial = Partial::keep(received.get(at..).unwrap_or_default());
                break;
            }
        }
        turn.end();
    }

    /// Handles every complete request of `partial`, and keeps what is left.
    fn handle_partial(&mut self, mut partial: Box<Partial>, scratch: &mut Scratch) {
        let commons = Rc::clone(&self.downstream.commons);
        let views = commons.views.borrow();
        let mut turn =
            Turn::begin(&self.downstream, &views, &mut self.ways, &mut scratch.located, &mut scratch.answer);
        let mut is_unfinished = false;
        while !partial.buffer.is_empty() && !is_unfinished {
            let scan = partial.scanner.scan(&partial.buffer, &mut partial.spans, &turn.scan_limits());
            if let Scan::Incomplete { missing } = scan {
                partial.missing = missing;
                is_unfinished = true;
                break;
            }
            partial.scanner = RequestScanner::default();
            let taken = if let Scan::Complete { len, .. } = &scan
                && *len >= SHARED_FROM
            {
                // A large request is not copied again: what is sent are slices of what was received.
                let owner = partial.buffer.split_to(*len).freeze();
                let taken = turn.take(scan, &owner, &partial.spans, Some(&owner));
                if taken == Some(0) {
                    let rest = std::mem::replace(&mut partial.buffer, BytesMut::from(owner));
                    partial.buffer.unsplit(rest);
                }
                taken.map(|_| 0)
            } else {
                turn.take(scan, &partial.buffer, &partial.spans, None)
            };
            partial.spans.clear();
            let Some(len) = taken else { break };
            partial.buffer.advance(len);
            // Those that must wait stay where they are: a long pipeline waits often.
            partial.missing = 0;
            is_unfinished = turn.must_wait() && !partial.buffer.is_empty();
        }
        turn.end();
        scratch.shrink();
        if is_unfinished {
            self.partial = Some(partial);
        } else {
            commons.pool.give(partial.buffer);
        }
    }

    fn count_in(&self, len: usize) {
        let tenant = self.downstream.core.borrow().tenant;
        self.downstream.commons.count_bytes(tenant, Direction::DownstreamIn, len);
    }

    /// Writes what waits; `Pending` if some of it still does, with the task to be woken when the socket takes
    /// more.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut core = self.downstream.core.borrow_mut();
        while core.has_output() {
            self.downstream.write_out(&mut core);
            if !core.has_output() {
                break;
            }
            match self.downstream.writer().poll_write_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => core.die(),
            }
        }
        Poll::Ready(())
    }
}

/// Memory for the rest of a request of which `here` bytes have arrived and `missing` have not: as much again
/// as is here, never as much as a header claims.
fn room_for(here: usize, missing: usize) -> usize {
    missing.min(here.max(FIRST_PARTIAL))
}

/// The end of a client's requests.
enum End {
    /// The client sends no more; what it is owed is still delivered.
    Finished,
    /// The connection is gone.
    Lost,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        {
            let mut task = this.downstream.task.borrow_mut();
            if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
                *task = Some(cx.waker().clone());
                if let Some(card) = &this.downstream.core.borrow().card {
                    card.set_waker(cx.waker());
                }
            }
        }
        this.downstream.commons.obey_orders();
        this.downstream.hear_others();
        this.downstream.look_after_links();
        this.move_lease(cx);
        this.downstream.align_ears(cx);
        // What came from upstream since the last turn, then what this turn's requests are answered at once.
        let is_waiting = this.flush(cx).is_pending();
        if this.downstream.core.borrow().phase == Phase::Open {
            this.read_requests(cx);
            this.read_ahead(cx);
            let was_unread = this.downstream.core.borrow().has_output();
            // If reading stopped because of what has now left, nobody else would wake the task.
            if !is_waiting
                && this.flush(cx).is_ready()
                && was_unread
                && this.downstream.core.borrow().intake != Intake::Open
            {
                cx.waker().wake_by_ref();
            }
        }
        this.downstream.keeps(this.partial.as_ref().map_or(0, |partial| partial.buffer.capacity()));
        let core = this.downstream.core.borrow();
        match core.phase {
            Phase::Dead => Poll::Ready(()),
            Phase::Finishing if core.replies.is_empty() && !core.has_output() => Poll::Ready(()),
            Phase::Finishing | Phase::Open => Poll::Pending,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let mut core = self.downstream.core.borrow_mut();
        core.die();
        self.downstream.unweigh(&mut core);
        self.downstream.take_leave(&mut core);
        self.downstream.commons.metrics.borrow_mut().connection_closed(core.tenant);
        self.downstream.task.borrow_mut().take();
        // Requests under way keep the socket until their replies have come; its client must not wait for
        // that.
        if Rc::strong_count(&self.downstream) > 1 {
            self.downstream.writer().close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Card;

    /// What a silent connection owns of ours; buffers, queues and partial requests exist only while they are
    /// needed.
    #[test]
    fn an_idle_connection_is_small() {
        let own = size_of::<Driver>() + size_of::<Downstream>();
        assert!(own <= 448, "{own} bytes");
        let shown = size_of::<Card>();
        assert!(shown <= 256, "{shown} bytes");
    }
}
