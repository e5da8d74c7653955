//! The shared lane: one pipelined connection that carries the stateless requests of many sessions.
//!
//! Sessions of the same worker append to its queue and are woken for nothing; the lane's task runs after
//! every session that was readable in this turn has been read (it was woken first but queued last), so a turn
//! costs one write and one read however many clients it serves. Replies are handed to their recipients in the
//! order of the requests, as slices of the read buffer: nothing is copied on the way through.
//!
//! A lane reconnects by itself, one attempt at a time. While it connects, requests wait (bounded by
//! `max_queued`); while it waits for its next attempt they fail at once. When a connection ends, every reply
//! it owed becomes an error that says whether the request may have run: nothing is ever sent twice.

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::connect;
use super::connection::{Connection, Served};
use super::handshake::{Greeting, Script};
use super::in_flight::{Fate, InFlight};
use super::inbox::Inbox;
use crate::clock::{Clock, Micros};
use crate::resp::{BufferPool, ReplyError, SendQueue, Version};
use crate::routing::Routed;
use crate::settings::UpstreamSettings;

/// How a recipient wants its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// In pieces as they arrive.
    Stream,
    /// In one piece, because it will be edited.
    Whole,
}

/// Why a request got no reply.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Whether it can have run.
    pub fate: Fate,
    /// What happened, for the client to read; names no address.
    pub reason: Rc<str>,
    /// When the lane will try to connect again, if it is waiting.
    pub retry_in: Option<Duration>,
}

/// Who gets a reply.
pub trait Recipient: Sized {
    /// What the replies of one read have in common: written out together at its end.
    type Batch: Batch;

    /// How it wants the reply that begins with this type byte.
    fn takes(&self, first_byte: u8) -> Take;

    /// A piece of the reply: `piece` of `read`. The last one has `times`.
    fn stream(&mut self, read: &[u8], piece: Range<usize>, times: Option<Times>, batch: &mut Self::Batch);

    /// The whole reply; `read` is the buffer that streamed pieces of this batch are slices of.
    fn whole(&mut self, read: &[u8], reply: &[u8], times: Times, batch: &mut Self::Batch);

    /// A confirmation came out of band while this was the oldest (`SUBSCRIBE` and its kin are answered by one
    /// for each name). Whether it was the last one: then nothing more is owed.
    fn confirm(&mut self, read: &[u8], times: Times, batch: &mut Self::Batch) -> bool;

    /// There will be no reply, or no more of it.
    fn fail(self, failure: &Failure, batch: &mut Self::Batch);
}

/// Whose a dedicated connection is.
pub trait Holder<T: Recipient> {
    /// A push came.
    fn pushed(&self, read: &[u8], frame: &[u8], batch: &mut T::Batch) -> Pushed;
    /// The connection has become ready, or has ended: what waits for it can go on.
    fn changed(&self);
}

/// What a push was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Something that happened by itself.
    Event,
    /// Part of the answer to the oldest request.
    Confirmation,
}

/// What connections must have in common to be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// The upstream, by number.
    pub upstream: usize,
    /// Its protocol version.
    pub version: Version,
    /// The database it has selected; `None`: the one that the upstream's settings name.
    pub database: Option<u32>,
}

/// When one request was sent and its reply read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// When the request was handed to the socket.
    pub sent_at: Micros,
    /// When the reply was read.
    pub read_at: Micros,
}

/// The replies of one read, by client.
pub trait Batch: Default {
    /// Hands everything to the clients' sockets. `read` is the buffer that streamed pieces were slices of.
    fn finish(&mut self, read: &[u8]);
}

/// What the worker wants to know about its lanes. Not on the hot path.
pub trait LaneEvents {
    /// An attempt to connect begins.
    fn connecting(&self);
    /// A connection is ready.
    fn connected(&self, greeting: &Greeting);
    /// A connection, or an attempt at one, has ended; `lost` requests of each fate went with it.
    fn disconnected(&self, ended: &Ended, lost_not_sent: u64, lost_may_have_run: u64);
    /// A connection has ended because nobody used it.
    fn released(&self);
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// There was none.
    #[error("{0}")]
    NotConnected(#[from] connect::ConnectError),
    /// The upstream closed it.
    #[error("connection closed by the upstream")]
    Closed,
    /// The operating system lost it.
    #[error("connection lost: {}", .0.kind())]
    Lost(io::Error),
    /// The oldest request got no reply in time.
    #[error("no reply within {} ms", .0.as_millis())]
    ReplyTimeout(Duration),
    /// The upstream sent what is no reply.
    #[error("protocol error of the upstream: {0}")]
    Protocol(#[from] ReplyError),
    /// More replies than requests.
    #[error("the upstream sent a reply that nobody is owed")]
    Unowed,
    /// A push that cannot be held.
    #[error("the upstream sent a push longer than 1 GiB")]
    HugePush,
    /// A dedicated connection whose session has gone, or needs it no more.
    #[error("the connection is no longer needed")]
    Unwanted,
}

impl Ended {
    /// The reason as clients may read it: what the upstream says to the proxy may name the proxy's own user.
    fn for_clients(&self) -> String {
        match self {
            Self::NotConnected(connect::ConnectError::Refused(_)) => {
                "the upstream refused the proxy".to_owned()
            }
            Self::NotConnected(_)
            | Self::Closed
            | Self::Lost(_)
            | Self::ReplyTimeout(_)
            | Self::Protocol(_)
            | Self::Unowed
            | Self::HugePush
            | Self::Unwanted => self.to_string(),
        }
    }
}

/// Whether requests are taken.
#[derive(Debug)]
enum State {
    /// They wait for the connection.
    Connecting,
    /// They are sent.
    Ready,
    /// They fail at once.
    Down { reason: Rc<str>, until: Option<Instant> },
}

/// Whether requests can be sent, for whoever must know before.
#[derive(Clone, Debug)]
pub enum Readiness {
    /// Not yet.
    Connecting,
    /// They can.
    Ready,
    /// They fail at once.
    Down(Failure),
}

/// How long the oldest reply may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// `reply_timeout`.
    #[default]
    Usual,
    /// So much longer: the command waits by itself.
    Extra(Duration),
    /// For ever: the command has no timeout.
    Endless,
}

/// One connection to one node: shared by many sessions, or dedicated to one (see [`super::dedicated`]).
pub struct Lane<T: Recipient> {
    pub(super) settings: Rc<UpstreamSettings>,
    pub(super) fingerprint: Fingerprint,
    pub(super) clock: Rc<Clock>,
    pub(super) pool: Rc<BufferPool>,
    events: Box<dyn LaneEvents>,
    /// Whose it is, if it is dedicated and not idle.
    pub(super) holder: RefCell<Option<Weak<dyn Holder<T>>>>,
    pub(super) patience: Cell<Patience>,
    /// Nobody wants the connection any more. Apart from `inner`, which may be in use by whoever finds out.
    is_closed: Cell<bool>,
    /// The task of a dedicated connection.
    closer: RefCell<Option<Waker>>,
    pub(super) inner: RefCell<Inner<T>>,
}

/// What sessions and the lane's task share.
pub(super) struct Inner<T> {
    state: State,
    pub(super) queue: SendQueue,
    pub(super) in_flight: InFlight<T>,
    /// The lane's task, while it waits for work.
    pub(super) task: Option<Waker>,
    /// Sessions that are not read because the queue is full.
    pub(super) waiting: Vec<Waker>,
    /// `CLIENT ID` of the connection, where it is dedicated.
    client_id: u64,
}

impl<T: Recipient + 'static> Lane<T> {
    /// A lane that is about to connect; [`Lane::run`] does the work.
    pub fn new(
        settings: Rc<UpstreamSettings>,
        fingerprint: Fingerprint,
        clock: Rc<Clock>,
        pool: Rc<BufferPool>,
        events: Box<dyn LaneEvents>,
    ) -> Rc<Self> {
        let inner = Inner {
            state: State::Connecting,
            queue: SendQueue::default(),
            in_flight: InFlight::default(),
            task: None,
            waiting: Vec::new(),
            client_id: 0,
        };
        Rc::new(Self {
            settings,
            fingerprint,
            clock,
            pool,
            events,
            holder: RefCell::new(None),
            patience: Cell::default(),
            is_closed: Cell::new(false),
            closer: RefCell::new(None),
            inner: RefCell::new(inner),
        })
    }

    /// Queues one request and returns its bytes. Only a routed request can be sent, hence only a scoped one.
    /// The recipient comes back with the failure when the lane is down.
    pub fn send(&self, recipient: T, request: &Routed<'_>) -> Result<usize, (T, Failure)> {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        if let State::Down { reason, until } = &inner.state {
            return Err((recipient, not_sent(reason, *until)));
        }
        let len = request.queue(&mut inner.queue);
        inner.in_flight.push(recipient, len);
        if let Some(task) = inner.task.take() {
            task.wake();
        }
        Ok(len)
    }

    /// Whether the queue takes more. If not, `waiter` is woken when it does.
    pub fn has_room(&self, waiter: &Waker) -> bool {
        let mut inner = self.inner.borrow_mut();
        if inner.queue.len() < self.settings.max_queued {
            return true;
        }
        if !inner.waiting.iter().any(|waiting| waiting.will_wake(waiter)) {
            inner.waiting.push(waiter.clone());
        }
        false
    }

    /// Whether requests can be sent.
    pub fn readiness(&self) -> Readiness {
        match &self.inner.borrow().state {
            State::Connecting => Readiness::Connecting,
            State::Ready => Readiness::Ready,
            State::Down { reason, until } => Readiness::Down(not_sent(reason, *until)),
        }
    }

    /// `CLIENT ID` of a dedicated connection that is ready.
    pub fn client_id(&self) -> u64 {
        self.inner.borrow().client_id
    }

    /// How long the reply of what is sent next may take.
    pub fn be_patient(&self, patience: Patience) {
        self.patience.set(patience);
    }

    /// Nobody wants the connection any more: its task closes it.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        if let Some(task) = self.closer.take() {
            task.wake();
        }
    }

    /// Whether it has been closed; if not, `cx` is woken when it is.
    pub(super) fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_closed.get() {
            return Poll::Ready(());
        }
        if self.holder.borrow().is_some() {
            *self.closer.borrow_mut() = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Replies this lane owes.
    pub fn owed(&self) -> usize {
        self.inner.borrow().in_flight.len()
    }

    /// Connects, serves and reconnects until nobody holds the lane but this task, and it has been idle for
    /// `idle_timeout`. Not cancel safe: dropping it answers nobody; it ends with its worker.
    pub async fn run(self: Rc<Self>) {
        let mut backoff = Backoff::new(self.settings.reconnect_min, self.settings.reconnect_max);
        let mut inbox = Inbox::default();
        loop {
            self.inner.borrow_mut().state = State::Connecting;
            self.events.connecting();
            let ended = match connect::connect(&self.settings, self.fingerprint, Script::Shared).await {
                Ok(connected) => {
                    let connected_at = Instant::now();
                    self.events.connected(&connected.greeting);
                    self.inner.borrow_mut().state = State::Ready;
                    inbox.clear();
                    let mut connection = Connection::new(&self, connected, &mut inbox);
                    match std::future::poll_fn(|cx| connection.poll(&self, cx)).await {
                        Served::Unused => return self.events.released(),
                        Served::Ended(ended) => {
                            // One that ends at once is no better than a refused one.
                            if connected_at.elapsed() >= self.settings.reconnect_max {
                                backoff.reset();
                                if self.was_closed_idle(&ended) {
                                    self.events.released();
                                    continue;
                                }
                            }
                            ended
                        }
                    }
                }
                Err(error) => Ended::NotConnected(error),
            };
            let wait = backoff.wait(fastrand::f64());
            self.go_down(&ended, Some(Instant::now() + wait));
            tokio::time::sleep(wait).await;
            if Rc::strong_count(&self) == 1 {
                return self.events.released();
            }
        }
    }

    /// Connects once and serves one session after another, until the connection ends or nobody wants it. Not
    /// cancel safe, like [`Lane::run`].
    pub(super) async fn run_dedicated(self: Rc<Self>) {
        let connecting = connect::connect(&self.settings, self.fingerprint, Script::Dedicated);
        let connected = tokio::select! {
            connected = connecting => connected,
            () = std::future::poll_fn(|cx| self.poll_closed(cx)) => return self.go_down(&Ended::Unwanted, None),
        };
        let ended = match connected {
            Err(error) => Ended::NotConnected(error),
            Ok(connected) => {
                {
                    let mut inner = self.inner.borrow_mut();
                    inner.state = State::Ready;
                    inner.client_id = connected.greeting.client_id;
                }
                self.holder_changed();
                let mut inbox = Inbox::small();
                let mut connection = Connection::new(&self, connected, &mut inbox);
                match std::future::poll_fn(|cx| connection.poll(&self, cx)).await {
                    Served::Unused => Ended::Unwanted,
                    Served::Ended(ended) => ended,
                }
            }
        };
        self.go_down(&ended, None);
        self.holder_changed();
    }

    fn holder_changed(&self) {
        let holder = self.holder.borrow().as_ref().and_then(Weak::upgrade);
        if let Some(holder) = holder {
            holder.changed();
        }
    }

    /// The upstream closed a connection that nothing was asked of (its `timeout`): nothing is wrong with it.
    fn was_closed_idle(&self, ended: &Ended) -> bool {
        let inner = self.inner.borrow();
        matches!(ended, Ended::Closed) && inner.in_flight.is_empty() && inner.queue.is_empty()
    }

    /// The process ends: whoever is still owed a reply is told.
    pub fn give_up(&self) {
        let fates = {
            let mut inner = self.inner.borrow_mut();
            let unwritten = inner.queue.len();
            inner.queue.clear();
            inner.in_flight.abandon(unwritten)
        };
        fail(fates, &"the proxy is shutting down".into());
    }

    /// Answers everything that is owed and refuses what comes, until the next attempt.
    fn go_down(&self, ended: &Ended, until: Option<Instant>) {
        let reason: Rc<str> = ended.for_clients().into();
        let (fates, waiting) = {
            let mut inner = self.inner.borrow_mut();
            let unwritten = inner.queue.len();
            inner.queue.clear();
            inner.state = State::Down { reason: Rc::clone(&reason), until };
            (inner.in_flight.abandon(unwritten), std::mem::take(&mut inner.waiting))
        };
        let count =
            |fate| u64::try_from(fates.iter().filter(|(_, is)| *is == fate).count()).unwrap_or(u64::MAX);
        self.events.disconnected(ended, count(Fate::NotSent), count(Fate::MayHaveRun));
        fail(fates, &reason);
        waiting.into_iter().for_each(Waker::wake);
    }
}

fn not_sent(reason: &Rc<str>, until: Option<Instant>) -> Failure {
    let retry_in = until.map(|until| until.saturating_duration_since(Instant::now()));
    Failure { fate: Fate::NotSent, reason: Rc::clone(reason), retry_in }
}

/// Tells everybody that there will be no reply.
fn fail<T: Recipient>(fates: Vec<(T, Fate)>, reason: &Rc<str>) {
    let mut batch = T::Batch::default();
    for (recipient, fate) in fates {
        recipient.fail(&Failure { fate, reason: Rc::clone(reason), retry_in: None }, &mut batch);
    }
    batch.finish(&[]);
}
