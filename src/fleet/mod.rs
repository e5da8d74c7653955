//! Leases slices of budgets that many processes share, from the Redis where all of them meet.
//!
//! One [`Limiter`] for each upstream that keeps budgets, on the main thread: workers take from purses
//! ([`crate::policy::purse`]) and know nothing of it, it wakes when one of them runs dry or when it is time, and asks for
//! all slices of a node in one write. What to ask, and what to live on while nobody answers, is decided in
//! [`crate::policy::fleet`].
//!
//! Budgets are keys like others: on a cluster each is where its slot is, and behind sentinels on the primary, by the
//! same snapshot that requests are routed by. Invariant: a node is asked one thing at a time, and what was asked and not
//! answered in time is never read: its connection is closed.

mod line;
mod script;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};

use crate::command::slot::slot;
use crate::metrics::publish::{FleetFigures, Registry};
use crate::policy::fleet::{Ask, Slice, Standing, Terms};
use crate::policy::purse::Purse;
use crate::policy::tokens::Grants;
use crate::routing::topology::{MultiKeyScope, NodeId, Topology};
use crate::settings::{FleetSettings, UpstreamSettings};
use crate::tenant::directory::Directory;
use crate::upstream::Feed;
use crate::upstream::backoff::Backoff;
use crate::upstream::nodes::Nodes;
use line::{Connection, Event, Happened, Line, Order, Outcome, Trouble};

/// Buckets of one call: it holds Redis up for as long as a `MGET` of so many keys.
const MOST_TOGETHER: usize = 64;
/// How often figures are published.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// The longest sleep: figures get older meanwhile.
const LONGEST_SLEEP: Duration = PUBLISH_EVERY;
/// The shortest: what is due while its node is busy waits for that.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// The budgets of this process before anybody leases them.
#[derive(Debug)]
pub struct Fleet {
    interval: Duration,
    upstreams: BTreeMap<usize, Office>,
}

/// The budgets of one upstream, and how its limiter is woken.
#[derive(Debug, Default)]
struct Office {
    bell: Arc<Notify>,
    leases: Vec<(String, usize, Terms, Arc<Purse>)>,
}

impl Fleet {
    /// The limits of these tenants that a fleet shares.
    pub fn of(directory: &Directory, settings: FleetSettings) -> Self {
        let mut fleet = Self { interval: settings.interval, upstreams: BTreeMap::new() };
        for limits in directory.limits() {
            let owner = &limits.owner;
            let Some(tenant) = directory.tenants().iter().find(|tenant| tenant.name == owner.tenant) else {
                continue;
            };
            let upstream = settings.upstream.unwrap_or(tenant.upstream);
            for limit in &limits.rates {
                if let Grants::Fleet(purse) = &limit.grants {
                    let user = owner.user.as_deref();
                    let key = script::key(tenant.name.as_str(), &limit.name(), user);
                    fleet.lease(upstream, tenant.index, key, Arc::clone(purse));
                }
            }
        }
        fleet
    }

    /// From now on `purse` is filled with slices of the budget that is kept at `key`.
    fn lease(&mut self, upstream: usize, tenant: usize, key: String, purse: Arc<Purse>) {
        let office = self.upstreams.entry(upstream).or_default();
        let bell = Arc::clone(&office.bell);
        purse.on_low(move || bell.notify_one());
        let terms = Terms { pace: purse.pace(), interval: nanos(self.interval) };
        office.leases.push((key, tenant, terms, purse));
    }

    /// Who leases for them: one for each upstream that keeps budgets.
    #[expect(clippy::disallowed_methods, reason = "the beginning of the limiters' time")]
    pub fn limiters(
        self,
        upstreams: &[UpstreamSettings],
        feeds: &[Feed],
        nodes: &Arc<Nodes>,
        registry: &Registry,
    ) -> Vec<Limiter> {
        let interval = self.interval;
        let limiter = |(number, office): (usize, Office)| {
            Some(Limiter {
                settings: Arc::new(upstreams.get(number)?.clone()),
                number,
                interval,
                feed: feeds.get(number)?.clone(),
                nodes: Arc::clone(nodes),
                registry: registry.clone(),
                start: Instant::now(),
                leases: office.leases.into_iter().map(Lease::new).collect(),
                bell: office.bell,
                lines: HashMap::new(),
                moved: HashMap::new(),
                events: JoinSet::new(),
                published: None,
                version: 0,
                trouble: None,
                is_missed: false,
            })
        };
        self.upstreams.into_iter().filter_map(limiter).collect()
    }
}

/// One budget of which this process leases slices.
#[derive(Debug)]
struct Lease {
    key: String,
    slot: u16,
    tenant: usize,
    slice: Slice,
    counts: Counts,
}

/// What happened since it was last published.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    asks: u64,
    grants: u64,
    failures: u64,
}

impl Lease {
    fn new((key, tenant, terms, purse): (String, usize, Terms, Arc<Purse>)) -> Self {
        let slot = slot(key.as_bytes());
        Self { key, slot, tenant, slice: Slice::new(terms, purse, 0), counts: Counts::default() }
    }
}

/// Leases for all budgets of one upstream.
pub struct Limiter {
    settings: Arc<UpstreamSettings>,
    /// Its position in the configuration.
    number: usize,
    interval: Duration,
    feed: Feed,
    nodes: Arc<Nodes>,
    registry: Registry,
    start: Instant,
    leases: Vec<Lease>,
    bell: Arc<Notify>,
    lines: HashMap<NodeId, Line>,
    /// Slots that are elsewhere than the topology says, until there is another one.
    moved: HashMap<u16, NodeId>,
    events: JoinSet<Event>,
    published: Option<u64>,
    /// The version of the topology that `lines` fit.
    version: u64,
    /// What went wrong last.
    trouble: Option<String>,
    /// It has been logged that there is nobody to lease from.
    is_missed: bool,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("leases", &self.leases.len()).finish_non_exhaustive()
    }
}

impl Limiter {
    /// Leases until it is dropped.
    async fn run(mut self) {
        loop {
            let rest = self.look();
            self.publish();
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.bell.notified() => {}
                Some(event) = self.events.join_next() => {
                    if let Ok(event) = event {
                        self.take_in(event);
                    }
                }
            }
        }
    }

    /// Asks for whatever is due. Returns for how long nothing else will be.
    fn look(&mut self) -> Duration {
        let (now, topology) = (self.now(), self.feed.current());
        self.follow(&topology);
        let mut due: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for position in 0..self.leases.len() {
            let node = self.leases.get(position).and_then(|lease| self.node_of(&topology, lease.slot));
            let Some(lease) = self.leases.get_mut(position) else { continue };
            if !lease.slice.look(now) {
                continue;
            }
            if let Some(node) = node {
                due.entry(node).or_default().push(position);
            } else {
                lease.counts.failures += 1;
                lease.fails_to_ask(now);
            }
        }
        for (node, positions) in due {
            self.turn_to(node, &positions, now, topology.scope());
        }
        let rest = self.leases.iter().filter_map(|lease| lease.slice.rest()).min();
        rest.map_or(LONGEST_SLEEP, Duration::from_nanos).clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
    }

    /// Under another topology nothing else is known, and who has no budgets any more needs no connection.
    fn follow(&mut self, topology: &Topology) {
        if self.version == topology.version() {
            return;
        }
        self.version = topology.version();
        self.moved.clear();
        let slots = self.leases.iter().map(|lease| lease.slot);
        let owners: Vec<NodeId> = slots.filter_map(|slot| self.node_of(topology, slot)).collect();
        self.lines.retain(|node, line| line.standing() != line::Standing::Ready || owners.contains(node));
    }

    /// The node that keeps what is in this slot.
    fn node_of(&self, topology: &Topology, slot: u16) -> Option<NodeId> {
        let moved = self.moved.get(&slot).copied();
        moved.or_else(|| topology.owner(slot).map(|shard| shard.primary))
    }

    /// Asks a node, if it can be asked.
    fn turn_to(&mut self, node: NodeId, positions: &[usize], now: u64, scope: MultiKeyScope) {
        let Some(endpoint) = self.nodes.endpoint(node) else { return };
        let settings = &self.settings;
        let line = self.lines.entry(node).or_insert_with(|| {
            Line::new(endpoint, Backoff::new(settings.reconnect_min, settings.reconnect_max))
        });
        if line.standing() == line::Standing::Ready {
            let orders = self.orders(positions, now, scope);
            let limit = self.interval.saturating_mul(2);
            if let Some(line) = self.lines.get_mut(&node) {
                line.ask(node, orders, limit, &mut self.events);
            }
            return;
        }
        line.connect_if_due(node, (&self.settings, self.number), now, &mut self.events);
        // What is due while the node is busy is asked in a moment.
        let failed = match line.standing() {
            line::Standing::Away => 1,
            line::Standing::Connecting => 0,
            line::Standing::Ready | line::Standing::Asked => return,
        };
        for position in positions {
            if let Some(lease) = self.leases.get_mut(*position) {
                lease.counts.failures += failed;
                lease.fails_to_ask(now);
            }
        }
    }

    /// What is asked, in as few requests as the deployment allows.
    fn orders(&mut self, positions: &[usize], now: u64, scope: MultiKeyScope) -> Vec<Order> {
        let mut groups: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for position in positions {
            let Some(lease) = self.leases.get(*position) else { continue };
            let group = if scope == MultiKeyScope::Slot { lease.slot } else { 0 };
            groups.entry(group).or_default().push(*position);
        }
        let chunks = groups.values().flat_map(|group| group.chunks(MOST_TOGETHER));
        chunks.map(|chunk| self.order(chunk, now)).collect()
    }

    fn order(&mut self, chunk: &[usize], now: u64) -> Order {
        let mut asks: Vec<Ask> = Vec::with_capacity(chunk.len());
        for position in chunk {
            if let Some(lease) = self.leases.get_mut(*position) {
                lease.counts.asks += 1;
                asks.push(lease.slice.ask(now, fastrand::u8(..)));
            }
        }
        let leases = chunk.iter().filter_map(|position| self.leases.get(*position));
        let lines = leases.zip(asks).map(|(lease, ask)| script::Line {
            key: &lease.key,
            terms: lease.slice.terms(),
            ask,
        });
        Order { leases: chunk.to_vec(), arguments: script::Arguments::new(&lines.collect::<Vec<_>>()) }
    }

    fn take_in(&mut self, event: Event) {
        let now = self.now();
        let Event { node, happened } = event;
        match happened {
            Happened::Connected(result) => {
                let connection = self.noting(result);
                if connection.is_some() {
                    self.leases.iter_mut().for_each(|lease| lease.slice.hurry());
                }
                if let Some(line) = self.lines.get_mut(&node) {
                    line.connected(connection, now);
                }
            }
            Happened::Answered { connection, outcomes } => {
                for (order, outcome) in outcomes {
                    self.settle(node, &order, outcome, now);
                }
                let connection = self.noting(connection);
                if let Some(line) = self.lines.get_mut(&node) {
                    line.answered(connection);
                }
            }
        }
    }

    /// What is left of a connection; its trouble is for the log.
    fn noting(&mut self, connection: Result<Connection, Trouble>) -> Option<Connection> {
        connection.map_err(|trouble| self.trouble = Some(trouble.to_string())).ok()
    }

    fn settle(&mut self, node: NodeId, order: &Order, outcome: Outcome, now: u64) {
        let (grants, is_asked) = match outcome {
            Outcome::Granted(grants) => (grants, true),
            Outcome::Refused(error) => {
                self.turned_away(node, order, &error);
                (Vec::new(), false)
            }
            Outcome::Unanswered => (Vec::new(), true),
        };
        let mut grants = grants.into_iter();
        for position in &order.leases {
            let Some(lease) = self.leases.get_mut(*position) else { continue };
            if let Some(grant) = grants.next() {
                lease.counts.grants += u64::from(grant.tokens > 0);
                lease.slice.granted(now, grant);
                continue;
            }
            lease.counts.failures += 1;
            if is_asked { lease.slice.unanswered() } else { lease.slice.unsent() }
        }
    }

    /// A node has answered an error: nothing has run, and the budgets may be elsewhere.
    fn turned_away(&mut self, node: NodeId, order: &Order, error: &[u8]) {
        let slots = order.leases.iter().filter_map(|position| Some(self.leases.get(*position)?.slot));
        let slots: Vec<u16> = slots.collect();
        self.trouble = Some(Trouble::refused(error).to_string());
        let Some(line) = self.lines.get(&node) else { return };
        match line.redirected(error, &self.settings) {
            line::Way::Here => {}
            line::Way::Unknown => self.feed.ask(),
            line::Way::Moved(to) => {
                self.feed.ask();
                if let Some(to) = self.nodes.number(&to) {
                    self.moved.extend(slots.into_iter().map(|slot| (slot, to)));
                }
            }
        }
    }

    fn publish(&mut self) {
        let now = self.now();
        if self.published.is_some_and(|at| now.saturating_sub(at) < nanos(PUBLISH_EVERY)) {
            return;
        }
        self.published = Some(now);
        let mut tenants: BTreeMap<usize, FleetFigures> = BTreeMap::new();
        for lease in &mut self.leases {
            let figures = tenants.entry(lease.tenant).or_default();
            let Counts { asks, grants, failures } = std::mem::take(&mut lease.counts);
            figures.asks += asks;
            figures.grants += grants;
            figures.failures += failures;
            figures.alone += usize::from(lease.slice.standing() == Standing::Alone);
            let age = lease.slice.age().unwrap_or(now);
            figures.age = figures.age.max(Duration::from_nanos(age));
        }
        self.tell(tenants.values().map(|figures| figures.alone).sum());
        for (tenant, figures) in tenants {
            self.registry.fleet_is(tenant, figures);
        }
    }

    /// Says once that nobody answers, and once that somebody does again.
    fn tell(&mut self, alone: usize) {
        let upstream = &self.settings.name;
        if alone == 0 {
            if std::mem::take(&mut self.is_missed) {
                tracing::info!(%upstream, "the budgets of the fleet are leased again");
            }
        } else if let Some(error) = self.trouble.take_if(|_| !self.is_missed) {
            self.is_missed = true;
            tracing::warn!(%upstream, budgets = alone, %error, "the fleet's limiter does not answer: this process lives on its last slices");
        }
    }

    /// Nanoseconds since it began.
    fn now(&self) -> u64 {
        nanos(self.start.elapsed())
    }
}

impl Lease {
    /// There is nobody to ask.
    fn fails_to_ask(&mut self, now: u64) {
        self.slice.ask(now, fastrand::u8(..));
        self.slice.unsent();
    }
}

/// Runs them all, until it is dropped.
pub async fn run_all(limiters: Vec<Limiter>) -> Infallible {
    let side_by_side = LocalSet::new();
    for limiter in limiters {
        drop(side_by_side.spawn_local(limiter.run()));
    }
    side_by_side.run_until(std::future::pending()).await
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
