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

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::connect;
use super::connection::{Connection, Served};
use super::handshake::Greeting;
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

    /// There will be no reply, or no more of it.
    fn fail(self, failure: &Failure, batch: &mut Self::Batch);
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
            | Self::Unowed => self.to_string(),
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
    Down { reason: Rc<str>, until: Instant },
}

/// One shared connection to one node, for one RESP version.
pub struct Lane<T: Recipient> {
    pub(super) settings: Rc<UpstreamSettings>,
    version: Version,
    pub(super) clock: Rc<Clock>,
    pub(super) pool: Rc<BufferPool>,
    events: Box<dyn LaneEvents>,
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
}

impl<T: Recipient + 'static> Lane<T> {
    /// A lane that is about to connect; [`Lane::run`] does the work.
    pub fn new(
        settings: Rc<UpstreamSettings>,
        version: Version,
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
        };
        Rc::new(Self { settings, version, clock, pool, events, inner: RefCell::new(inner) })
    }

    /// Queues one request and returns its bytes. Only a routed request can be sent, hence only a scoped one.
    /// The recipient comes back with the failure when the lane is down.
    pub fn send(&self, recipient: T, request: &Routed<'_>) -> Result<usize, (T, Failure)> {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        if let State::Down { reason, until } = &inner.state {
            let retry_in = Some(until.saturating_duration_since(Instant::now()));
            return Err((recipient, Failure { fate: Fate::NotSent, reason: Rc::clone(reason), retry_in }));
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
            let ended = match connect::connect(&self.settings, self.version).await {
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
            self.go_down(&ended, wait);
            tokio::time::sleep(wait).await;
            if Rc::strong_count(&self) == 1 {
                return self.events.released();
            }
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
    fn go_down(&self, ended: &Ended, wait: Duration) {
        let reason: Rc<str> = ended.for_clients().into();
        let (fates, waiting) = {
            let mut inner = self.inner.borrow_mut();
            let unwritten = inner.queue.len();
            inner.queue.clear();
            inner.state = State::Down { reason: Rc::clone(&reason), until: Instant::now() + wait };
            (inner.in_flight.abandon(unwritten), std::mem::take(&mut inner.waiting))
        };
        let count =
            |fate| u64::try_from(fates.iter().filter(|(_, is)| *is == fate).count()).unwrap_or(u64::MAX);
        self.events.disconnected(ended, count(Fate::NotSent), count(Fate::MayHaveRun));
        fail(fates, &reason);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Tells everybody that there will be no reply.
fn fail<T: Recipient>(fates: Vec<(T, Fate)>, reason: &Rc<str>) {
    let mut batch = T::Batch::default();
    for (recipient, fate) in fates {
        recipient.fail(&Failure { fate, reason: Rc::clone(reason), retry_in: None }, &mut batch);
    }
    batch.finish(&[]);
}
