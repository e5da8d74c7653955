//! One connection of a lane, from its handshake to its end: writes what is queued, reads what is owed,
//! watches the time.

use std::future::Future;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::connect::Connected;
use super::in_flight::Owed;
use super::inbox::Inbox;
use super::lane::{Ended, Inner, Lane, Patience};
use super::recipient::{Again, Batch, Confirm, Holder, Pushed, Recipient, Take, Times};
use super::tally::Tally;
use crate::clock::Micros;
use crate::resp::{BufferPool, Progress, ReplyScanner, SendQueue};
use crate::settings::UpstreamSettings;
use crate::socket::{ReadHalf, WriteHalf};

/// Pieces handed to one vectored write (`IOV_MAX` is 1024; more than this never waits here in practice).
const WRITE_PIECES: usize = 64;
/// Bytes of a reply that is held because it will be edited. As much as a client may be owed by default
/// (`max_output`); the largest reply without names is not limited, it streams.
const MAX_HELD: usize = 1 << 30;
/// What the client reads instead of a longer one.
const TOO_LONG: &[u8] =
    b"-UNAVAILABLE the reply is longer than 1 GiB and has names or compressed values in it, for which the proxy would have to hold it\r\n";
/// Bytes read or written in a row before other tasks get their turn: about a quarter of a millisecond.
const BYTES_PER_TURN: usize = 512 << 10;

/// How serving ended.
pub(super) enum Served {
    /// Nobody holds the lane any more.
    Unused,
    /// The connection ended.
    Ended(Ended),
}

/// What happens to the reply in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Current {
    /// It is passed on when it is complete, or in pieces when it does not fit the inbox.
    Stream,
    /// It is passed on when it is complete.
    Whole,
    /// It is that of a request which goes before another, and no error: nobody reads it.
    Skip,
    /// It is an error that nobody is owed, on the connection of one session: the node has ended a subscription by
    /// itself before it was asked to, and its push was taken for the confirmation.
    Late,
    /// It is too long to be held: an error is passed on in its stead.
    TooLong,
    /// It is a push: the holder's, when it is complete. Nobody has asked for one on a shared connection.
    Push,
}

/// One connection of a lane.
pub(super) struct Connection<'a, T: Recipient> {
    read: ReadHalf,
    write: WriteHalf,
    inbox: &'a mut Inbox,
    scanner: ReplyScanner,
    current: Current,
    /// Pieces of the reply in progress have been passed on.
    has_begun: bool,
    /// The beginning of a reply that is wanted whole and does not fit the inbox.
    held: BytesMut,
    /// The error because of which a request is sent again.
    redirection: Bytes,
    /// The replies of the read under way, and the memory for those of the next.
    batch: T::Batch,
    tally: Tally,
    watch: Watch,
}

impl<'a, T: Recipient + 'static> Connection<'a, T> {
    pub(super) fn new(lane: &Lane<T>, connected: Connected, inbox: &'a mut Inbox) -> Self {
        Self {
            read: connected.read,
            write: connected.write,
            inbox,
            scanner: ReplyScanner::default(),
            current: Current::Stream,
            has_begun: false,
            held: BytesMut::new(),
            redirection: Bytes::new(),
            batch: T::Batch::default(),
            tally: Tally::new(lane),
            watch: Watch::new(&lane.settings, lane.clock.read()),
        }
    }

    /// One turn: ready when the connection has ended.
    pub(super) fn poll(&mut self, lane: &Rc<Lane<T>>, cx: &mut Context<'_>) -> Poll<Served> {
        lane.clock.read();
        if lane.poll_closed(cx).is_ready() {
            return Poll::Ready(Served::Unused);
        }
        // Written first, so that the upstream works while replies are handed out.
        if let Err(error) = self.write_queued(lane, cx) {
            return Poll::Ready(Served::Ended(Ended::Lost(error)));
        }
        if let Err(ended) = self.read_replies(lane, cx) {
            return Poll::Ready(Served::Ended(ended));
        }
        if let Some(served) = self.watch.look(lane, cx) {
            return Poll::Ready(served);
        }
        lane.inner.borrow_mut().task = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The connection ends: what has not been said of its node.
    pub(super) fn report(&mut self, lane: &Rc<Lane<T>>) {
        let now = lane.clock.read();
        let ago = u64::from(now.since(self.watch.read_at) / 1_000);
        self.tally.report(lane, now, ago);
    }

    fn write_queued(&mut self, lane: &Lane<T>, cx: &mut Context<'_>) -> io::Result<()> {
        let mut inner = lane.inner.borrow_mut();
        let inner = &mut *inner;
        if inner.queue.is_empty() {
            return Ok(());
        }
        self.watch.is_used = true;
        inner.in_flight.stamp(lane.clock.now());
        let mut sent: usize = 0;
        while !inner.queue.is_empty() {
            if sent >= BYTES_PER_TURN {
                cx.waker().wake_by_ref();
                break;
            }
            match write_once(&self.write, &inner.queue) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    sent = sent.saturating_add(written);
                    inner.queue.advance(written, &lane.pool);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.write.poll_write_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => return Err(error),
                        Poll::Pending => break,
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_replies(&mut self, lane: &Rc<Lane<T>>, cx: &mut Context<'_>) -> Result<(), Ended> {
        let mut read: usize = 0;
        while read < BYTES_PER_TURN {
            self.inbox.make_room();
            let mut room = ReadBuf::new(self.inbox.room());
            match Pin::new(&mut self.read).poll_read(cx, &mut room) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(Ended::Lost(error)),
                Poll::Ready(Ok(())) => {
                    let len = room.filled().len();
                    if len == 0 {
                        return Err(Ended::Closed);
                    }
                    read = read.saturating_add(len);
                    self.inbox.received(len);
                    self.watch.read_at = lane.clock.now();
                    let mut retired = 0;
                    let taken = self.take_replies(lane, &mut retired);
                    self.batch.finish(self.inbox.bytes());
                    lane.were_answered(retired, len);
                    self.tally.after_read(lane, self.watch.read_at);
                    taken?;
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Hands out every reply that is complete, and counts them.
    fn take_replies(&mut self, lane: &Lane<T>, retired: &mut u32) -> Result<(), Ended> {
        let holder = lane.holder.borrow().as_ref().and_then(Weak::upgrade);
        let mut inner = lane.inner.borrow_mut();
        while !self.inbox.unscanned().is_empty() {
            if self.scanner.is_at_boundary() {
                self.current = begin(self.inbox.unscanned(), inner.in_flight.oldest(), holder.is_some())?;
            }
            let (piece, is_complete) = match self.scanner.advance(self.inbox.unscanned())? {
                Progress::Complete(len) => (self.inbox.complete(len), true),
                Progress::Partial => {
                    self.inbox.suspend();
                    if !self.has_begun && !self.inbox.is_full() {
                        return Ok(());
                    }
                    (self.inbox.take_piece(), false)
                }
            };
            self.has_begun = !is_complete;
            if self.current == Current::Push {
                if let Some(holder) = holder.as_deref()
                    && let Some(frame) = self.hold_push(piece, is_complete)?
                {
                    self.push(holder, &frame, &mut inner, &lane.pool);
                }
            } else if self.current != Current::Late {
                let may_redirect = inner.keeps_requests();
                let Some(owed) = inner.in_flight.oldest() else { return Err(Ended::Unowed) };
                let times =
                    is_complete.then_some(Times { sent_at: owed.sent_at, read_at: self.watch.read_at });
                if let Some(times) = times {
                    self.tally.count(times);
                }
                *retired = retired.saturating_add(u32::from(is_complete));
                match self.hand_over(owed, piece, times, may_redirect) {
                    Handed::Part => {}
                    Handed::All => inner.retire(&lane.pool),
                    Handed::Redirected => {
                        let error = std::mem::take(&mut self.redirection);
                        if let Some((recipient, request)) = inner.take_back(&lane.pool) {
                            let why = Again::Redirected(error);
                            self.batch.again(recipient, request, lane.fingerprint, why);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// A piece of a push; all of it once it is complete.
    fn hold_push(&mut self, piece: Range<usize>, is_complete: bool) -> Result<Option<Bytes>, Ended> {
        let piece = self.inbox.bytes().get(piece).unwrap_or_default();
        if self.held.len().saturating_add(piece.len()) > MAX_HELD {
            return Err(Ended::HugePush);
        }
        self.held.extend_from_slice(piece);
        Ok(is_complete.then(|| std::mem::take(&mut self.held).freeze()))
    }

    /// A push goes to the holder; a confirmation also answers the request it belongs to.
    fn push(&mut self, holder: &dyn Holder<T>, frame: &[u8], inner: &mut Inner<T>, pool: &BufferPool) {
        let bytes = self.inbox.bytes();
        let Pushed::Confirmation { ends } = holder.pushed(bytes, frame, &mut self.batch) else { return };
        let read_at = self.watch.read_at;
        let confirm = inner.in_flight.oldest().map_or(Confirm::Other, |owed| {
            let times = Times { sent_at: owed.sent_at, read_at };
            owed.recipient.confirm(ends, bytes, times, &mut self.batch)
        });
        match confirm {
            Confirm::Other if ends => holder.unasked(frame),
            Confirm::Other | Confirm::One => {}
            Confirm::Last => inner.retire(pool),
        }
    }

    /// Gives one piece of a reply to the one it belongs to; `times` are set with the last piece.
    #[inline]
    fn hand_over(
        &mut self,
        owed: &mut Owed<T>,
        piece: Range<usize>,
        times: Option<Times>,
        may_redirect: bool,
    ) -> Handed {
        match self.current {
            Current::Stream => {
                owed.recipient.stream(self.inbox.bytes(), piece, times, &mut self.batch);
                if times.is_some() { Handed::All } else { Handed::Part }
            }
            Current::Skip | Current::Late => {
                owed.before = owed.before.saturating_sub(u32::from(times.is_some()));
                Handed::Part
            }
            Current::Whole | Current::TooLong | Current::Push => self.hold(owed, piece, times, may_redirect),
        }
    }

    /// Keeps a piece of a reply that is wanted whole, and hands it over once it is complete.
    fn hold(
        &mut self,
        owed: &mut Owed<T>,
        piece: Range<usize>,
        times: Option<Times>,
        may_redirect: bool,
    ) -> Handed {
        let bytes = self.inbox.bytes();
        let piece = bytes.get(piece).unwrap_or_default();
        if self.held.len().saturating_add(piece.len()) > MAX_HELD {
            self.held = BytesMut::new();
            self.current = Current::TooLong;
        }
        let is_too_long = self.current == Current::TooLong;
        let Some(times) = times else {
            if !is_too_long {
                self.held.extend_from_slice(piece);
            }
            return Handed::Part;
        };
        let mut held = std::mem::take(&mut self.held);
        let reply = if is_too_long {
            TOO_LONG
        } else if held.is_empty() {
            piece
        } else {
            held.extend_from_slice(piece);
            &held
        };
        if reply.first() == Some(&b'-') {
            self.tally.look_at(reply);
        }
        if owed.before > 0 {
            owed.before -= 1;
            owed.recipient.preliminary(reply, owed.before);
            return Handed::Part;
        }
        if may_redirect && reply.first() == Some(&b'-') && owed.recipient.is_redirected(reply) {
            self.redirection = Bytes::copy_from_slice(reply);
            return Handed::Redirected;
        }
        owed.recipient.whole(bytes, reply, times, &mut self.batch);
        Handed::All
    }
}

/// What became of a piece of a reply.
enum Handed {
    /// The reply goes on, or was that to a request which goes before another.
    Part,
    /// It was the last.
    All,
    /// The request is to be sent again because of the reply, which is kept apart: it is rare.
    Redirected,
}

/// How the reply that begins with `start` is taken.
fn begin<T: Recipient>(start: &[u8], oldest: Option<&mut Owed<T>>, is_held: bool) -> Result<Current, Ended> {
    let first_byte = start.first().copied().unwrap_or_default();
    match oldest {
        _ if first_byte == b'>' => Ok(Current::Push),
        None if is_held && first_byte == b'-' => Ok(Current::Late),
        None => Err(Ended::Unowed),
        Some(owed) if owed.before > 0 => {
            let is_held =
                first_byte == b'-' || owed.recipient.takes_preliminary(owed.before.saturating_sub(1));
            Ok(if is_held { Current::Whole } else { Current::Skip })
        }
        Some(owed) => Ok(match owed.recipient.takes(start) {
            Take::Stream => Current::Stream,
            Take::Whole => Current::Whole,
        }),
    }
}

fn write_once(write: &WriteHalf, queue: &SendQueue) -> io::Result<usize> {
    if let Some(bytes) = queue.as_single() {
        return write.try_write(bytes.get(..BYTES_PER_TURN).unwrap_or(bytes));
    }
    let mut pieces = [IoSlice::new(&[]); WRITE_PIECES];
    let filled = queue.slices(&mut pieces);
    write.try_write_vectored(pieces.get(..filled).unwrap_or_default())
}

/// Ends a connection whose oldest reply is overdue, or that nobody uses.
///
/// Replies come in the order of their requests, so only the oldest can be overdue: what waits behind a command that
/// may take long waits for that one first. The timer is set anew only when it fires, so a busy connection pays nothing for it.
struct Watch {
    timer: Pin<Box<Sleep>>,
    /// When bytes last came: a reply that is still arriving is not overdue.
    read_at: Micros,
    /// Something was sent since the timer was set.
    is_used: bool,
    /// The first firing of the timer that found nothing sent.
    unused_since: Option<Instant>,
}

impl Watch {
    fn new(settings: &UpstreamSettings, now: Micros) -> Self {
        let first = settings.shortest_reply_timeout().min(settings.idle_timeout);
        Self { timer: Box::pin(tokio::time::sleep(first)), read_at: now, is_used: true, unused_since: None }
    }

    fn look<T: Recipient + 'static>(&mut self, lane: &Rc<Lane<T>>, cx: &mut Context<'_>) -> Option<Served> {
        let settings = &lane.settings;
        while self.timer.as_mut().poll(cx).is_ready() {
            // What follows the oldest may have less time, and has it from when it is the oldest.
            let mut next = settings.shortest_reply_timeout();
            let of_oldest = |owed: &Owed<T>| (owed.sent_at, owed.recipient.reply_timeout(settings));
            let oldest = lane.inner.borrow().in_flight.oldest_sent().map(of_oldest);
            if let Some((sent_at, timeout)) = oldest {
                let allowed = match lane.patience.get() {
                    Patience::Usual => timeout,
                    Patience::Extra(extra) => timeout.saturating_add(extra),
                    // Looked at again when something else may be owed.
                    Patience::Endless => Duration::MAX,
                };
                match allowed.checked_sub(self.waited(sent_at, lane.clock.read())) {
                    None | Some(Duration::ZERO) => {
                        return Some(Served::Ended(Ended::ReplyTimeout(timeout)));
                    }
                    Some(left) => next = left.min(next),
                }
            } else if self.is_unused(lane) {
                return Some(Served::Unused);
            }
            self.timer.as_mut().reset(Instant::now() + next.min(settings.idle_timeout));
        }
        None
    }

    /// How long the oldest request has been without a sign of life.
    fn waited(&self, sent_at: Micros, now: Micros) -> Duration {
        Duration::from_micros(u64::from(now.since(sent_at).min(now.since(self.read_at))))
    }

    /// Nobody holds the lane, and nothing was sent for `idle_timeout`.
    fn is_unused<T: Recipient>(&mut self, lane: &Rc<Lane<T>>) -> bool {
        if std::mem::take(&mut self.is_used) || Rc::strong_count(lane) > 1 {
            self.unused_since = None;
            return false;
        }
        let now = Instant::now();
        now - *self.unused_since.get_or_insert(now) >= lane.settings.idle_timeout
    }
}
