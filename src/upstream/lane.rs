//! The shared lane: one pipelined connection that carries the stateless requests of many sessions.
//!
//! Sessions of the same worker append to its queue and are woken for nothing; the lane's task runs after
//! every session that was readable in this turn has been read (it was woken first but queued last), so a turn
//! costs one write and one read however many clients it serves. Replies are handed to their recipients in the
//! order of the requests, as slices of the read buffer: nothing is copied on the way through.
//!
//! What is under way on it is shared among tenants (`crate::policy::fair_share`): beyond the window, sessions are not
//! read. Sessions that send or get large values have a lane beside it ([`Load`]), so that the others' small ones do
//! not wait behind them.
//!
//! A lane reconnects by itself, one attempt at a time. While it connects, requests wait (bounded by the window);
//! while it waits for its next attempt they fail at once. When a connection ends, every reply
//! it owed becomes an error that says whether the request may have run. While the node's breaker is open a lane takes
//! no request and does not connect; what it has sent keeps the time it had. Where nodes change, requests are kept until
//! they are answered, and their recipients may have them sent again: never one that may have run and changes
//! something.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::backoff::Backoff;
use super::connect::{self, ConnectError, Connected};
use super::connection::{Connection, Served};
use super::handshake::Script;
use super::health::{NodeHealth, Opening};
use super::in_flight::{Fate, InFlight, Owed};
use super::inbox::Inbox;
use super::probe;
use super::recipient::{Again, Batch, Failure, Holder, Kept, LaneEvents, Recipient};
use super::symptom::Symptom;
use crate::clock::Clock;
use crate::policy::breaker::{self, Answers};
use crate::policy::fair_share::{FairShare, Queued};
use crate::resp::{BufferPool, ReplyError, SendQueue, Version};
use crate::routing::topology::NodeId;
use crate::routing::{Access, Destination, Routed};
use crate::settings::UpstreamSettings;

/// What connections must have in common to be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// The upstream, by number.
    pub upstream: usize,
    /// Its node.
    pub node: NodeId,
    /// What is sent there.
    pub access: Access,
    /// Its protocol version.
    pub version: Version,
    /// The database it has selected; `None`: the one that the upstream's settings name.
    pub database: Option<u32>,
    /// What it is for.
    pub load: Load,
}

/// How large what a session sends and gets is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Load {
    /// As usual.
    #[default]
    Light,
    /// Some of it would hold up what is small.
    Heavy,
}

/// Bytes that count as much as one request more: their transfer takes about as long.
const UNIT: usize = 4 << 10;

impl Fingerprint {
    /// What a connection for `routed` must be like, to be answered in `version`.
    #[inline]
    pub fn of(routed: &Routed<'_>, version: Version, load: Load) -> Self {
        let Destination { node, access, .. } = routed.to();
        Self { upstream: routed.upstream(), node, access, version, database: routed.database(), load }
    }
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
    /// The node's breaker has opened before there was a connection.
    #[error("{0}")]
    NotAsked(Rc<str>),
}

impl Ended {
    /// The reason as clients may read it: what the upstream says to the proxy may name the proxy's own user.
    pub(super) fn for_clients(&self) -> String {
        match self {
            Self::NotConnected(ConnectError::Refused(_)) => "the upstream refused the proxy".to_owned(),
            Self::NotConnected(_)
            | Self::Closed
            | Self::Lost(_)
            | Self::ReplyTimeout(_)
            | Self::Protocol(_)
            | Self::Unowed
            | Self::HugePush
            | Self::Unwanted
            | Self::NotAsked(_) => self.to_string(),
        }
    }
}

/// What became of a request that was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its bytes.
    pub len: usize,
    /// So much is under way that its sender must wait for its turn now.
    pub is_crowded: bool,
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
    /// The reply timeout of its class.
    #[default]
    Usual,
    /// So much longer: the command waits by itself.
    Extra(Duration),
    /// For ever: the command has no timeout.
    Endless,
}

/// What a connection that has ended leaves behind.
type Abandoned<T> = (Vec<(Owed<T>, Fate)>, Option<SendQueue>, Vec<Waker>);

/// One connection to one node: shared by many sessions, or dedicated to one (see [`super::dedicated`]).
pub struct Lane<T: Recipient> {
    pub(super) settings: Rc<UpstreamSettings>,
    /// How its node is, and where.
    pub(super) health: Arc<NodeHealth>,
    pub(super) fingerprint: Fingerprint,
    purpose: Script,
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
    /// The bytes of what is in flight, where another node may have to be asked (*Redis cluster specification*,
    /// "MOVED Redirection").
    kept: Option<SendQueue>,
    /// The lane's task, while it waits for work.
    pub(super) task: Option<Waker>,
    /// Whose turn it is, while much is under way.
    share: FairShare<Waker>,
    /// Bytes of a reply, on average of late.
    usual_reply: usize,
    /// Bytes that came since the last complete reply.
    arriving: usize,
    /// `CLIENT ID` of the connection, where it is dedicated.
    client_id: u64,
}

impl<T: Recipient + 'static> Lane<T> {
    /// A lane that is about to connect; [`Lane::run`] does the work.
    pub fn new(
        settings: Rc<UpstreamSettings>,
        (health, fingerprint, purpose): (Arc<NodeHealth>, Fingerprint, Script),
        clock: Rc<Clock>,
        pool: Rc<BufferPool>,
        (events, weights): (Box<dyn LaneEvents>, Arc<[u32]>),
    ) -> Rc<Self> {
        let inner = Inner {
            state: State::Connecting,
            queue: SendQueue::default(),
            in_flight: InFlight::default(),
            kept: (!settings.deployment.is_fixed()).then(SendQueue::default),
            task: None,
            share: FairShare::new(settings.window, weights),
            usual_reply: 0,
            arriving: 0,
            client_id: 0,
        };
        Rc::new(Self {
            settings,
            health,
            fingerprint,
            purpose,
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

    /// Queues one request. Only a routed request can be sent, hence only a scoped one. The recipient comes back with
    /// the failure when the lane is down.
    #[inline]
    pub fn send(&self, recipient: T, request: &Routed<'_>) -> Result<Taken, (T, Failure)> {
        self.queue(recipient, 0, |queue| request.queue(queue))
    }

    /// Queues several requests with nothing between them; the reply to the last is the recipient's.
    pub fn send_together(&self, recipient: T, requests: &[Routed<'_>]) -> Result<Taken, (T, Failure)> {
        let before = u32::try_from(requests.len().saturating_sub(1)).unwrap_or(u32::MAX);
        self.queue(recipient, before, |queue| requests.iter().map(|request| request.queue(queue)).sum())
    }

    /// Queues a request that was sent before to a node that was not the right one. `asking`: this node has its
    /// keys but does not own them yet (*Redis cluster specification*, "ASK redirection").
    pub fn send_again(
        &self,
        recipient: T,
        request: &Kept,
        asking: Option<&Routed<'_>>,
    ) -> Result<Taken, (T, Failure)> {
        let before = request.before.saturating_add(u32::from(asking.is_some()));
        self.queue(recipient, before, |queue| {
            let asked = asking.map_or(0, |asking| asking.queue(queue));
            queue.push_slice(&request.bytes);
            asked.saturating_add(request.bytes.len())
        })
    }

    #[inline]
    fn queue(
        &self,
        recipient: T,
        before: u32,
        write: impl Fn(&mut SendQueue) -> usize,
    ) -> Result<Taken, (T, Failure)> {
        if self.health.refuses()
            && let Some(failure) = self.refusal()
        {
            return Err((recipient, failure));
        }
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        if let State::Down { reason, until } = &inner.state {
            return Err((recipient, not_sent(reason, *until)));
        }
        let len = write(&mut inner.queue);
        if let Some(kept) = &mut inner.kept {
            write(kept);
        }
        let units = units(len, inner.usual_reply);
        let is_crowded = inner.share.sent(recipient.flow(), units);
        inner.in_flight.push(recipient, (len, units), before);
        if let Some(task) = inner.task.take() {
            task.wake();
        }
        Ok(Taken { len, is_crowded })
    }

    /// Those who wait for their turn look again when the node's breaker opens: then they need not wait. Ends with the
    /// lane.
    async fn release_when_refused(lane: Weak<Self>, health: Arc<NodeHealth>) {
        loop {
            health.refusal_begins().await;
            let Some(lane) = lane.upgrade() else { return };
            let released = lane.inner.borrow_mut().share.release();
            released.for_each(Waker::wake);
            drop(lane);
            health.refusal_ends().await;
        }
    }

    /// Whether a session of `flow` may send. If not, `waiter` is woken when its turn has come; `queued` is its place.
    pub fn has_room(&self, flow: usize, queued: &mut Option<Queued>, waiter: &Waker) -> bool {
        if self.health.refuses() && self.purpose == Script::Shared {
            // Who would wait is read, and told why not.
            *queued = None;
            return true;
        }
        self.inner.borrow_mut().share.admits(flow, queued, || waiter.clone())
    }

    /// Replies were read: so many, of so many bytes. Those whose turn has come are read again.
    pub(super) fn were_answered(&self, replies: u32, bytes: usize) {
        let mut inner = self.inner.borrow_mut();
        inner.arriving = inner.arriving.saturating_add(bytes);
        if let Some(average) = inner.arriving.checked_div(replies as usize) {
            inner.usual_reply = inner.usual_reply.saturating_mul(7).saturating_add(average) / 8;
            inner.arriving = 0;
        }
        if inner.share.has_calls() {
            inner.share.call(Waker::wake);
        }
    }

    /// Why its node is asked nothing. A dedicated connection that is held stays in use: what Redis knows of its session
    /// and what the session believes must not part.
    fn refusal(&self) -> Option<Failure> {
        match self.purpose {
            Script::Shared => self.health.refusal(),
            Script::Dedicated => None,
        }
    }

    /// Why requests fail at once, while they do.
    pub fn why_down(&self) -> Option<Failure> {
        match self.readiness() {
            Readiness::Down(failure) => Some(failure),
            Readiness::Connecting | Readiness::Ready => None,
        }
    }

    /// Whether its task has ended: nothing that is queued would be sent.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.is_closed.get()
    }

    /// Whether requests can be sent.
    pub fn readiness(&self) -> Readiness {
        match &self.inner.borrow().state {
            State::Connecting => Readiness::Connecting,
            State::Ready => Readiness::Ready,
            State::Down { reason, until } => Readiness::Down(not_sent(reason, *until)),
        }
    }

    /// What it has in common with those who use it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// `CLIENT ID` of a dedicated connection that is ready.
    pub fn client_id(&self) -> u64 {
        self.inner.borrow().client_id
    }

    /// For whom it is.
    pub(super) fn purpose(&self) -> Script {
        self.purpose
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
        let releasing = Self::release_when_refused(Rc::downgrade(&self), Arc::clone(&self.health));
        let _releasing = AbortOnDropHandle::new(tokio::task::spawn_local(releasing));
        loop {
            if self.was_refused().await && self.is_unwanted() {
                return self.end();
            }
            self.begin_to_connect();
            let began = Instant::now();
            let ended = match self.connect().await {
                Err(ended) => ended,
                Ok(connected) => {
                    let connected_at = Instant::now();
                    self.events.connected(&connected.greeting);
                    self.inner.borrow_mut().state = State::Ready;
                    inbox.clear();
                    let mut connection = Connection::new(&self, connected, &mut inbox);
                    let served = std::future::poll_fn(|cx| connection.poll(&self, cx)).await;
                    connection.report(&self);
                    match served {
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
            };
            if !self.was_closed_idle(&ended) {
                self.report(&ended, began);
            }
            let wait = backoff.wait(fastrand::f64());
            self.go_down(&ended, Some(Instant::now() + wait));
            tokio::time::sleep(wait).await;
            if self.is_unwanted() {
                return self.end();
            }
        }
    }

    /// Requests wait for the connection from now on.
    fn begin_to_connect(&self) {
        self.inner.borrow_mut().state = State::Connecting;
        self.events.connecting();
    }

    /// Nobody needs a connection to the node.
    fn is_unwanted(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) == 1 || !self.events.is_wanted()
    }

    /// Its task ends. Whoever has sent something since the breaker closed would otherwise wait for ever.
    fn end(&self) {
        self.is_closed.set(true);
        let reason: Rc<str> = Ended::Unwanted.for_clients().into();
        let (fates, kept, waiting) = self.abandon(&reason, None);
        self.fail(fates, kept, &reason);
        waiting.into_iter().for_each(Waker::wake);
        self.events.released();
    }

    /// Waits until the node may be asked, and then a moment more, so that not all who waited come at once. `false`:
    /// there was nothing to wait for.
    async fn was_refused(&self) -> bool {
        let has_waited = self.health.refuses();
        while self.health.refuses() {
            self.health.refusal_ends().await;
            self.begin_to_connect();
            tokio::time::sleep(self.settings.reconnect_min.mul_f64(fastrand::f64())).await;
        }
        has_waited
    }

    /// A connection, unless the node's breaker opens first: what waits for it need not wait any longer then.
    async fn connect(&self) -> Result<Connected, Ended> {
        let endpoint = self.health.endpoint();
        tokio::select! {
            connected = connect::connect(&self.settings, endpoint, self.fingerprint, self.purpose) => {
                if connected.is_ok() {
                    let opening = self.health.answered(Answers { all: 1, slow: 0, ago: 0 });
                    self.look_after(opening);
                }
                Ok(connected?)
            }
            () = self.health.refusal_begins() => {
                Err(Ended::NotAsked(self.health.failure().reason))
            }
        }
    }

    /// Tells how the connection, or an attempt at one, has ended that `began` then.
    fn report(&self, ended: &Ended, began: Instant) {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let failure = match (Symptom::of(ended, self.purpose), ended) {
            (None, _) => return,
            (
                Some(Symptom::Silent),
                Ended::ReplyTimeout(lasted) | Ended::NotConnected(ConnectError::TimedOut(lasted)),
            ) => {
                let requests = u32::try_from(self.owed()).unwrap_or(u32::MAX);
                breaker::Failure::Silence { requests, lasted: millis(*lasted) }
            }
            (Some(Symptom::Silent | Symptom::Away), _) => {
                breaker::Failure::Fault { lasted: millis(began.elapsed()) }
            }
        };
        self.look_after(self.health.failed(failure, &ended.for_clients()));
    }

    /// Whoever has opened a breaker sees to it that it closes again.
    pub(super) fn look_after(&self, opening: Option<Opening>) {
        let Some(opening) = opening else { return };
        let Fingerprint { upstream, node, .. } = self.fingerprint;
        let (health, settings) = (Arc::clone(&self.health), Rc::clone(&self.settings));
        drop(tokio::task::spawn_local(probe::look_after(health, opening, settings, (upstream, node))));
    }

    /// Connects once and serves one session after another, until the connection ends or nobody wants it. Not
    /// cancel safe, like [`Lane::run`].
    pub(super) async fn run_dedicated(self: Rc<Self>) {
        let began = Instant::now();
        let connected = tokio::select! {
            connected = self.connect() => connected,
            () = std::future::poll_fn(|cx| self.poll_closed(cx)) => return self.go_down(&Ended::Unwanted, None),
        };
        let ended = match connected {
            Err(ended) => ended,
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
        self.report(&ended, began);
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
        let mut batch = T::Batch::default();
        for (owed, fate) in fates {
            let failure = Failure { fate, reason: "the proxy is shutting down".into(), retry_in: None };
            owed.recipient.fail(&failure, &mut batch);
        }
        batch.finish(&[]);
    }

    /// Refuses what comes. What is owed, the bytes of it where they are kept, and whoever waits for a turn are returned.
    fn abandon(&self, reason: &Rc<str>, until: Option<Instant>) -> Abandoned<T> {
        let mut inner = self.inner.borrow_mut();
        let unwritten = inner.queue.len();
        inner.queue.clear();
        inner.state = State::Down { reason: Rc::clone(reason), until };
        let kept = inner.kept.as_mut().map(std::mem::take);
        (inner.in_flight.abandon(unwritten), kept, inner.share.reset().collect())
    }

    /// Answers everything that is owed and refuses what comes, until the next attempt.
    fn go_down(&self, ended: &Ended, until: Option<Instant>) {
        let reason: Rc<str> = ended.for_clients().into();
        let (fates, kept, waiting) = self.abandon(&reason, until);
        let count =
            |fate| u64::try_from(fates.iter().filter(|(_, is)| *is == fate).count()).unwrap_or(u64::MAX);
        self.events.disconnected(ended, count(Fate::NotSent), count(Fate::MayHaveRun));
        self.fail(fates, kept, &reason);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl<T: Recipient + 'static> Lane<T> {
    /// Tells everybody that there will be no reply, or sends what may be sent again.
    fn fail(&self, fates: Vec<(Owed<T>, Fate)>, mut kept: Option<SendQueue>, reason: &Rc<str>) {
        let mut batch = T::Batch::default();
        for (owed, fate) in fates {
            let failure = Failure { fate, reason: Rc::clone(reason), retry_in: None };
            let before = owed.asked_before;
            let len = owed.len();
            match &kept {
                Some(kept) if owed.recipient.outlives(fate) => {
                    let request = Kept { bytes: kept.copy_front(len), before }.without_asking();
                    batch.again(owed.recipient, request, self.fingerprint, Again::Lost(failure));
                }
                Some(_) | None => owed.recipient.fail(&failure, &mut batch),
            }
            if let Some(kept) = &mut kept {
                kept.advance(len, &self.pool);
            }
        }
        batch.finish(&[]);
    }
}

impl<T: Recipient> Inner<T> {
    /// Whether requests are kept until they are answered.
    pub(super) fn keeps_requests(&self) -> bool {
        self.kept.is_some()
    }

    /// The oldest request has been answered.
    #[inline]
    pub(super) fn retire(&mut self, pool: &BufferPool) {
        let Some(owed) = self.in_flight.retire() else { return };
        self.share.answered(owed.recipient.flow(), owed.units);
        if let Some(kept) = &mut self.kept {
            kept.advance(owed.len(), pool);
        }
    }

    /// Takes the oldest request back, to send it again.
    pub(super) fn take_back(&mut self, pool: &BufferPool) -> Option<(T, Kept)> {
        let owed = self.in_flight.retire()?;
        self.share.answered(owed.recipient.flow(), owed.units);
        let kept = self.kept.as_mut()?;
        let bytes = kept.copy_front(owed.len());
        kept.advance(owed.len(), pool);
        let before = owed.asked_before;
        Some((owed.recipient, Kept { bytes, before }.without_asking()))
    }
}

/// What a request of so many bytes counts as. Its reply is expected to be like those before.
#[inline]
fn units(request: usize, usual_reply: usize) -> u32 {
    let more = request.saturating_add(usual_reply) / UNIT;
    u32::try_from(more).unwrap_or(u32::MAX).saturating_add(1)
}

fn not_sent(reason: &Rc<str>, until: Option<Instant>) -> Failure {
    let retry_in = until.map(|until| until.saturating_duration_since(Instant::now()));
    Failure { fate: Fate::NotSent, reason: Rc::clone(reason), retry_in }
}
