//! The clients of each tenant, and what concerns all of them at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dashmap::DashMap;

use super::card::{Card, Marks};
use super::locked;
use super::mailbox::Note;
use super::pause::{Pause, PauseState};
use super::slow_log::SlowLog;
use super::traffic::Traffic;
use crate::tenant::directory::{Directory, Tenant};

/// Parts of a tenant's map that are locked one by one. Clients come and go far less often than they speak.
const SHARDS: usize = 8;

/// The clients of all tenants, each tenant's by itself.
#[derive(Debug)]
pub struct Clients {
    tenants: Vec<Arc<TenantClients>>,
}

impl Clients {
    /// Nobody is connected to any tenant of the directory.
    pub fn new(directory: &Directory) -> Self {
        Self { tenants: directory.tenants().iter().map(|_| Arc::default()).collect() }
    }

    /// The clients of one tenant; `None`: it is of another directory.
    pub fn of(&self, tenant: &Tenant) -> Option<&Arc<TenantClients>> {
        self.tenants.get(tenant.index)
    }
}

/// The clients of one tenant, over all workers.
#[derive(Debug)]
pub struct TenantClients {
    cards: DashMap<u64, Arc<Card>>,
    /// As many as `monitors` has: what every session looks at.
    monitor_count: AtomicUsize,
    monitors: Mutex<Vec<Arc<Card>>>,
    pause: PauseState,
    slow_log: SlowLog,
    traffic: Traffic,
    /// How many clients are subscribed to each pattern; a session bounds how many it has.
    patterns: Mutex<HashMap<Box<[u8]>, usize>>,
}

impl Default for TenantClients {
    fn default() -> Self {
        Self {
            cards: DashMap::with_shard_amount(SHARDS),
            monitor_count: AtomicUsize::new(0),
            monitors: Mutex::default(),
            pause: PauseState::default(),
            slow_log: SlowLog::default(),
            traffic: Traffic::default(),
            patterns: Mutex::default(),
        }
    }
}

/// Who is there.
impl TenantClients {
    /// A connection was bound to the tenant.
    pub fn enter(&self, card: Arc<Card>) {
        self.traffic.connections.fetch_add(1, Ordering::Relaxed);
        self.cards.insert(card.id(), card);
    }

    /// A connection has ended, or belongs to another tenant now.
    pub fn leave(&self, id: u64) {
        self.cards.remove(&id);
        self.unwatch(id);
    }

    /// The client with this id.
    pub fn find(&self, id: u64) -> Option<Arc<Card>> {
        self.cards.get(&id).map(|card| Arc::clone(&card))
    }

    /// What goes through their connections.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How many there are, how many of them are blocked, and how many track keys.
    pub fn census(&self) -> [usize; 3] {
        let mut census = [0; 3];
        for card in &self.cards {
            let is_tracking = card.with_facts(|facts| facts.marks.contains(Marks::TRACKING));
            let counted = [true, card.is_blocked(), is_tracking];
            census.iter_mut().zip(counted).for_each(|(count, is)| *count += usize::from(is));
        }
        census
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.cards.len()
    }

    /// All clients, in the order in which they came.
    pub fn cards(&self) -> Vec<Arc<Card>> {
        let mut cards: Vec<Arc<Card>> = self.cards.iter().map(|card| Arc::clone(&card)).collect();
        cards.sort_unstable_by_key(|card| card.id());
        cards
    }

    /// Ends a client's connection. It is not listed from now on, although its session takes a moment to end;
    /// `false`: it was not there, or was ending already.
    pub fn kill(&self, id: u64) -> bool {
        let Some((_, card)) = self.cards.remove(&id) else { return false };
        self.unwatch(id);
        card.post(Note::Kill)
    }

    /// The tenant's keyspace was flushed: whoever tracks keys is told. The session that flushed tells its own
    /// client by this as well.
    pub fn flushed_all(&self) {
        for card in self.cards() {
            if card.with_facts(|facts| facts.marks.contains(Marks::TRACKING)) {
                // Not taken by a client that is being ended.
                card.post(Note::FlushedAll);
            }
        }
    }
}

/// `MONITOR`.
impl TenantClients {
    /// Whether anybody watches: one load, once per batch of requests.
    pub fn is_monitored(&self) -> bool {
        self.monitor_count.load(Ordering::Relaxed) != 0
    }

    /// From now on this client is shown what the tenant's clients do, itself included. `false`: it was
    /// already (then Redis says nothing at all to `MONITOR`).
    pub fn watch(&self, card: &Arc<Card>) -> bool {
        card.amend(|facts| facts.marks.insert(Marks::MONITOR));
        let mut monitors = locked(&self.monitors);
        let is_new = monitors.iter().all(|monitor| monitor.id() != card.id());
        if is_new {
            monitors.push(Arc::clone(card));
            self.monitor_count.store(monitors.len(), Ordering::Relaxed);
        }
        is_new
    }

    /// This client is not shown anything any more (`RESET`; [`TenantClients::leave`] does it too).
    pub fn unwatch(&self, id: u64) {
        if !self.is_monitored() {
            return;
        }
        let mut monitors = locked(&self.monitors);
        let found = monitors.iter().position(|monitor| monitor.id() == id);
        let left = found.map(|at| monitors.remove(at));
        self.monitor_count.store(monitors.len(), Ordering::Relaxed);
        drop(monitors);
        if let Some(card) = left {
            card.amend(|facts| facts.marks.remove(Marks::MONITOR));
        }
    }

    /// Shows a line of [`monitor_line`](super::monitor_line) to all that watch.
    pub fn show(&self, line: &Bytes) {
        let monitors = locked(&self.monitors).clone();
        for monitor in monitors {
            // One that does not read what it asked for is ended by its own mailbox.
            monitor.post(Note::Push(line.clone()));
        }
    }
}

/// `CLIENT PAUSE`.
impl TenantClients {
    /// The pause at this moment: one load while there is none.
    pub fn paused_at(&self, now_ms: u64) -> Option<Pause> {
        self.pause.at(now_ms)
    }

    /// Begins a pause, or makes one that is going on longer and stricter.
    pub fn pause(&self, pause: Pause, now_ms: u64) {
        self.pause.begin(pause, now_ms);
    }

    /// Ends a pause and wakes every session, since some of them are waiting for its end.
    pub fn unpause(&self) {
        self.pause.end();
        for card in self.cards() {
            card.wake();
        }
    }
}

/// Slow log and patterns.
impl TenantClients {
    /// The tenant's slow log.
    pub fn slow_log(&self) -> &SlowLog {
        &self.slow_log
    }

    /// One more client is subscribed to a pattern.
    pub fn pattern_added(&self, pattern: &[u8]) {
        *locked(&self.patterns).entry(pattern.into()).or_default() += 1;
    }

    /// One client less is subscribed to a pattern.
    pub fn pattern_removed(&self, pattern: &[u8]) {
        if let Entry::Occupied(mut subscribers) = locked(&self.patterns).entry(pattern.into()) {
            *subscribers.get_mut() -= 1;
            if *subscribers.get() == 0 {
                subscribers.remove();
            }
        }
    }

    /// `PUBSUB NUMPAT`: patterns that at least one client of this process is subscribed to.
    pub fn distinct_patterns(&self) -> usize {
        locked(&self.patterns).len()
    }
}
