//! Leases: connections of its own for a session that blocks, watches, subscribes or tracks.
//!
//! A dedicated connection is a [`Lane`] that serves one session at a time and does not reconnect: its state in
//! Redis (watched keys, subscriptions) would be gone, so its session must be told. Connections that no session
//! needs any more wait a while for the next one.
//!
//! **Invariant**: what one session leaves behind on a connection never meets another. Only a [`Lease<Clean>`] can
//! be given back; whatever leaves state in Redis makes it a [`Lease<Dirty>`], which can only be dropped, and
//! dropping a lease closes its connection. `WATCH` alone has a way back: Redis forgets the keys with the reply
//! to `EXEC` or `UNWATCH` (*Transactions, "WATCH explained"*).

use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::handshake::Script;
use super::health::NodeHealth;
use super::lane::{Fingerprint, Lane, Patience, Readiness};
use super::recipient::{Holder, LaneEvents, Recipient};
use crate::clock::Clock;
use crate::resp::BufferPool;
use crate::settings::UpstreamSettings;

/// Idle connections that one worker keeps for each fingerprint. A job queue blocks again at once, so a few are
/// reused thousands of times; more would be held for bursts that are over.
const MAX_IDLE: usize = 16;

/// The upstream remembers nothing of the session: the lease can be given back.
#[derive(Debug)]
pub enum Clean {}

/// The upstream remembers something of the session: the lease can only be closed.
#[derive(Debug)]
pub enum Dirty {}

/// A dedicated connection, for as long as it is held. Dropping it closes the connection.
#[must_use = "dropping a lease closes its connection"]
pub struct Lease<S, T: Recipient + 'static> {
    held: Option<Held<T>>,
    state: PhantomData<S>,
}

struct Held<T: Recipient + 'static> {
    lane: Rc<Lane<T>>,
    /// One of the connections that the upstream's `max_leases` allows.
    permit: OwnedSemaphorePermit,
}

impl<S, T: Recipient + 'static> Lease<S, T> {
    /// The connection.
    pub fn lane(&self) -> Option<&Rc<Lane<T>>> {
        self.held.as_ref().map(|held| &held.lane)
    }
}

impl<T: Recipient + 'static> Lease<Clean, T> {
    /// Something will be sent that the upstream remembers.
    pub fn soil(mut self) -> Lease<Dirty, T> {
        Lease { held: self.held.take(), state: PhantomData }
    }

    /// The session needs it no more, and is owed nothing.
    pub fn give_back(mut self, leases: &Leases<T>) {
        if let Some(held) = self.held.take() {
            leases.keep(held.lane);
        }
    }
}

impl<T: Recipient + 'static> Lease<Dirty, T> {
    /// The only thing that the upstream remembered were watched keys, and `EXEC` or `UNWATCH` has been answered
    /// since.
    pub fn unwatched(mut self) -> Lease<Clean, T> {
        Lease { held: self.held.take(), state: PhantomData }
    }
}

impl<S, T: Recipient + 'static> Drop for Lease<S, T> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.lane.close();
            drop(held.permit);
        }
    }
}

/// One worker's dedicated connections.
pub struct Leases<T: Recipient + 'static> {
    upstreams: Vec<Pool>,
    idle: RefCell<HashMap<Fingerprint, Vec<Idle<T>>>>,
}

/// What the leases of one upstream have in common.
struct Pool {
    settings: Rc<UpstreamSettings>,
    /// As many as `max_leases`, shared by all workers.
    permits: Arc<Semaphore>,
}

struct Idle<T: Recipient + 'static> {
    lane: Rc<Lane<T>>,
    since: Instant,
}

impl<T: Recipient + 'static> Leases<T> {
    /// The leases of one worker; `permits` are shared by all workers, one semaphore for each upstream.
    pub fn new(upstreams: &[Rc<UpstreamSettings>], permits: &[Arc<Semaphore>]) -> Self {
        let pool = |(settings, permits): (&Rc<_>, &Arc<_>)| Pool {
            settings: Rc::clone(settings),
            permits: Arc::clone(permits),
        };
        Self {
            upstreams: upstreams.iter().zip(permits).map(pool).collect(),
            idle: RefCell::new(HashMap::new()),
        }
    }

    /// What bounds the leases of `upstream`.
    pub fn permits(&self, upstream: usize) -> Option<&Arc<Semaphore>> {
        self.upstreams.get(upstream).map(|pool| &pool.permits)
    }

    /// How long a session waits for a lease of `upstream`.
    pub fn wait(&self, upstream: usize) -> Duration {
        self.upstreams.get(upstream).map_or(Duration::ZERO, |pool| pool.settings.lease_wait)
    }

    /// A connection for `holder`: one that waits for its next session, or a new one that is about to connect.
    /// `None`: there is no such upstream.
    pub fn lease(
        &self,
        (health, fingerprint): (Arc<NodeHealth>, Fingerprint),
        permit: OwnedSemaphorePermit,
        (clock, pool): (&Rc<Clock>, &Rc<BufferPool>),
        events: impl FnOnce() -> Box<dyn LaneEvents>,
        holder: Weak<dyn Holder<T>>,
    ) -> Option<Lease<Clean, T>> {
        let settings = &self.upstreams.get(fingerprint.upstream)?.settings;
        let lane = self.take_idle(fingerprint).unwrap_or_else(|| {
            let to = (health, fingerprint, Script::Dedicated);
            let lane = Lane::new(
                Rc::clone(settings),
                to,
                Rc::clone(clock),
                Rc::clone(pool),
                (events(), Arc::default()),
            );
            drop(tokio::task::spawn_local(Rc::clone(&lane).run_dedicated()));
            lane
        });
        lane.be_patient(Patience::Usual);
        *lane.holder.borrow_mut() = Some(holder);
        Some(Lease { held: Some(Held { lane, permit }), state: PhantomData })
    }

    fn take_idle(&self, fingerprint: Fingerprint) -> Option<Rc<Lane<T>>> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(&fingerprint)?;
        while let Some(Idle { lane, .. }) = waiting.pop() {
            if is_reusable(&lane) {
                return Some(lane);
            }
            lane.close();
        }
        None
    }

    fn keep(&self, lane: Rc<Lane<T>>) {
        lane.holder.borrow_mut().take();
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.entry(lane.fingerprint).or_default();
        if is_reusable(&lane) && waiting.len() < MAX_IDLE {
            waiting.push(Idle { lane, since: Instant::now() });
        } else {
            lane.close();
        }
    }

    /// Closes connections that nobody has needed for the upstream's `idle_timeout`.
    pub fn release_unused(&self) {
        let now = Instant::now();
        for waiting in self.idle.borrow_mut().values_mut() {
            waiting.retain(|Idle { lane, since }| {
                let is_kept = now - *since < lane.settings.idle_timeout && is_reusable(lane);
                if !is_kept {
                    lane.close();
                }
                is_kept
            });
        }
    }

    /// Connections that wait for their next session.
    pub fn idle(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }
}

/// Whether the connection is there and owes nothing.
fn is_reusable<T: Recipient + 'static>(lane: &Lane<T>) -> bool {
    matches!(lane.readiness(), Readiness::Ready) && lane.owed() == 0
}
