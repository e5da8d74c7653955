//! How each node is, as all workers together see it, and whether it is asked.
//!
//! One [`NodeHealth`] per node of an upstream, shared by all workers. On the path of a request that is allowed there is
//! one read of an atomic flag that hardly ever changes. Lanes count answers by themselves and hand them over a few
//! times a second; failures are handed over at once. Only then is the lock taken that [`Breaker`] is behind.
//!
//! A breaker that opens tells the lanes ([`NodeHealth::refusal_begins`]), which then ask nothing and connect to
//! nobody; whoever has opened it looks after it until it is closed (`upstream/probe.rs`), so that there is one probe
//! at a time in the whole process, whoever wants the node.
//!
//! Never more than the configured share of an upstream's nodes is refused, but always one may be: when most nodes fail
//! it is mostly the way to them, and then to ask is better than to guess. An operator's own word is not bounded.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::in_flight::Fate;
use super::nodes::Nodes;
use super::recipient;
use crate::policy::breaker::{Answered, Answers, Breaker, Evidence, Failure, Phase, Probe};
use crate::routing::topology::{NodeId, Topology};
use crate::settings::{BreakerSettings, Endpoint};

/// What an operator has said about a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Override {
    /// Nothing: it goes by how the node answers.
    #[default]
    Automatic,
    /// Nothing is asked of it.
    Open,
    /// Everything is asked of it, however it answers.
    Closed,
}

/// The health of all nodes of all upstreams.
#[derive(Debug)]
pub struct Healths {
    upstreams: Box<[Upstream]>,
    addresses: Arc<Nodes>,
}

#[derive(Debug)]
struct Upstream {
    common: Arc<Common>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The number of the topology that was heard of last.
    version: Option<u64>,
    primaries: BTreeSet<NodeId>,
    nodes: HashMap<NodeId, Arc<NodeHealth>>,
}

/// What the nodes of one upstream have in common.
#[derive(Debug)]
struct Common {
    name: String,
    settings: BreakerSettings,
    epoch: Instant,
    /// How many nodes the upstream has.
    nodes: AtomicUsize,
    /// How many of them are refused.
    refused: AtomicUsize,
    entered: [AtomicU64; 3],
    rejected: AtomicU64,
}

/// How one node is.
#[derive(Debug)]
pub struct NodeHealth {
    /// All that a request looks at.
    refuses: AtomicBool,
    /// The same, for who waits for a change.
    told: watch::Sender<bool>,
    /// The next probe may be due earlier than it was said to be.
    rescheduled: Notify,
    state: Mutex<State>,
    common: Arc<Common>,
    endpoint: Endpoint,
}

#[derive(Debug)]
struct State {
    breaker: Breaker,
    by_operator: Override,
    /// Why it was opened, or is not closed, for clients and operators.
    why: String,
    /// The phase that was told last.
    told: Phase,
    /// It is one of those that are refused.
    is_counted: bool,
    /// How often it was opened: whoever looks after an earlier opening is no longer needed.
    openings: u64,
}

/// An opening that somebody must look after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "somebody must look after an open breaker"]
pub struct Opening(u64);

/// One node, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Where it is.
    pub node: Endpoint,
    /// What is asked of it.
    pub phase: Phase,
    /// What an operator has said.
    pub by_operator: Override,
    /// Why it was opened last; empty: it never was.
    pub why: String,
    /// Until the next probe, if it is open by itself.
    pub retry_in: Option<Duration>,
}

/// One upstream's breakers in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreakerFigures {
    /// Nodes in each [`Phase`], in its order; those that nobody has asked yet are closed.
    pub nodes: [usize; 3],
    /// How often each was entered.
    pub entered: [u64; 3],
    /// Requests that were refused.
    pub rejected: u64,
}

impl Healths {
    /// Nothing has been heard of anybody. Of each upstream its name and settings; `epoch` is the beginning of time.
    pub fn new(
        upstreams: impl IntoIterator<Item = (String, BreakerSettings)>,
        addresses: Arc<Nodes>,
        epoch: Instant,
    ) -> Self {
        let upstream = |(name, settings)| Upstream {
            common: Arc::new(Common {
                name,
                settings,
                epoch,
                nodes: AtomicUsize::new(1),
                refused: AtomicUsize::new(0),
                entered: Default::default(),
                rejected: AtomicU64::new(0),
            }),
            known: Mutex::default(),
        };
        Self { upstreams: upstreams.into_iter().map(upstream).collect(), addresses }
    }

    /// The health of a node. `None`: there is no such upstream, or no such node.
    pub fn of(&self, upstream: usize, node: NodeId) -> Option<Arc<NodeHealth>> {
        let upstream = self.upstreams.get(upstream)?;
        let mut known = upstream.known();
        if let Some(health) = known.nodes.get(&node) {
            return Some(Arc::clone(health));
        }
        let health = Arc::new(NodeHealth::new(self.addresses.endpoint(node)?, Arc::clone(&upstream.common)));
        known.nodes.insert(node, Arc::clone(&health));
        Some(health)
    }

    /// The upstream's nodes are these now. What has gone is forgotten; who has become a primary is asked whether it
    /// is well, at once, whatever was wrong with it as a replica.
    pub fn topology_is(&self, upstream: usize, topology: &Topology) {
        let Some(upstream) = self.upstreams.get(upstream) else { return };
        let mut known = upstream.known();
        if known.version.is_some_and(|version| version >= topology.version()) || !topology.is_known() {
            return;
        }
        let primaries: BTreeSet<NodeId> = topology.shards().iter().map(|shard| shard.primary).collect();
        let replicas = topology.shards().iter().flat_map(|shard| shard.replicas.iter().copied());
        let nodes: BTreeSet<NodeId> = primaries.iter().copied().chain(replicas).collect();
        upstream.common.nodes.store(nodes.len(), Ordering::Relaxed);
        for promoted in primaries.difference(&known.primaries).filter_map(|node| known.nodes.get(node)) {
            promoted.hasten();
        }
        known.nodes.retain(|node, health| {
            let is_there = nodes.contains(node);
            if !is_there {
                health.force(Override::Closed);
            }
            is_there
        });
        (known.version, known.primaries) = (Some(topology.version()), primaries);
    }

    /// The nodes that have been asked anything, by upstream.
    pub fn report(&self) -> Vec<(String, Vec<NodeReport>)> {
        let nodes = |upstream: &Upstream| {
            let known = upstream.known();
            let mut reports: Vec<NodeReport> = known.nodes.values().map(|health| health.report()).collect();
            reports.sort_by(|a, b| a.node.cmp(&b.node));
            (upstream.common.name.clone(), reports)
        };
        self.upstreams.iter().map(nodes).collect()
    }

    /// In numbers, by upstream.
    pub fn figures(&self) -> Vec<BreakerFigures> {
        self.upstreams.iter().map(Upstream::figures).collect()
    }

    /// Upstreams whose primaries are all asked nothing, and after them those of which some are; one line each.
    pub fn complaints(&self) -> (Vec<String>, Vec<String>) {
        let all = self.upstreams.iter().filter_map(Upstream::complaint);
        let (closed, partly): (Vec<_>, Vec<_>) = all.partition(|(is_all, _)| *is_all);
        let lines = |complaints: Vec<(bool, String)>| complaints.into_iter().map(|(_, line)| line).collect();
        (lines(closed), lines(partly))
    }

    /// An operator's word about one node, by the names that [`Healths::report`] has. `false`: there is no such node.
    pub fn force(&self, upstream: &str, node: &str, to: Override) -> bool {
        let Some(upstream) = self.upstreams.iter().find(|known| known.common.name == upstream) else {
            return false;
        };
        let known = upstream.known();
        let health = known.nodes.values().find(|health| health.endpoint.to_string() == node);
        health.inspect(|health| health.force(to)).is_some()
    }
}

impl Upstream {
    /// Nothing is ever half done under the lock.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn figures(&self) -> BreakerFigures {
        let mut figures = BreakerFigures {
            nodes: [self.common.nodes.load(Ordering::Relaxed), 0, 0],
            entered: [0, 1, 2].map(|phase: usize| {
                self.common.entered.get(phase).map_or(0, |entered| entered.load(Ordering::Relaxed))
            }),
            rejected: self.common.rejected.load(Ordering::Relaxed),
        };
        for phase in self.known().nodes.values().map(|health| health.report().phase) {
            let [closed, open, half_open] = &mut figures.nodes;
            match phase {
                Phase::Closed => continue,
                Phase::Open => *open += 1,
                Phase::HalfOpen => *half_open += 1,
            }
            *closed = closed.saturating_sub(1);
        }
        figures
    }

    /// Whether all of its primaries are asked nothing, and a line about it; `None`: all are asked.
    fn complaint(&self) -> Option<(bool, String)> {
        let (known, name) = (self.known(), &self.common.name);
        let primaries = known.primaries.iter().filter_map(|node| known.nodes.get(node));
        let refusing: Vec<_> = primaries.filter(|health| health.refuses()).collect();
        let why = refusing.first()?.report().why;
        let (open, all) = (refusing.len(), known.primaries.len());
        let line = format!("upstream '{name}': the breaker of {open} of {all} primaries is open: {why}");
        Some((open == all, line))
    }
}

impl NodeHealth {
    fn new(endpoint: Endpoint, common: Arc<Common>) -> Self {
        let state = State {
            breaker: Breaker::new(common.settings.thresholds),
            by_operator: Override::Automatic,
            why: String::new(),
            told: Phase::Closed,
            is_counted: false,
            openings: 0,
        };
        Self {
            refuses: AtomicBool::new(false),
            told: watch::Sender::new(false),
            rescheduled: Notify::new(),
            state: Mutex::new(state),
            common,
            endpoint,
        }
    }

    /// Whether nothing may be asked of the node now.
    #[inline]
    pub fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// Where the node is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// From when on a reply is slow, in microseconds; `u32::MAX`: it is not looked at.
    pub fn slow_micros(&self) -> u32 {
        self.common.settings.slow_micros
    }

    /// Why a request is refused, which is counted; `None`: it is not.
    #[cold]
    pub fn refusal(&self) -> Option<recipient::Failure> {
        let refusal = self.refuses().then(|| self.failure());
        self.common.rejected.fetch_add(u64::from(refusal.is_some()), Ordering::Relaxed);
        refusal
    }

    /// What whoever wants something of the node is told.
    pub(super) fn failure(&self) -> recipient::Failure {
        let mut state = self.state();
        let retry_in = match state.by_operator {
            Override::Open | Override::Closed => None,
            Override::Automatic => state.breaker.wait(self.now()).map(Duration::from_millis),
        };
        recipient::Failure { fate: Fate::NotSent, reason: reason(&state.why).into(), retry_in }
    }

    /// Waits until nothing may be asked of the node.
    pub async fn refusal_begins(&self) {
        // The sender is here, so there is always an end to wait for.
        drop(self.told.subscribe().wait_for(|refuses| *refuses).await);
    }

    /// Waits until the node may be asked.
    pub async fn refusal_ends(&self) {
        drop(self.told.subscribe().wait_for(|refuses| !*refuses).await);
    }

    /// The node has answered. `Some`: too slowly, and its breaker is open now.
    pub fn answered(&self, answers: Answers) -> Option<Opening> {
        let mut state = self.state();
        let now = self.now();
        let was_due = state.breaker.wait(now);
        let evidence = state.breaker.answered(now, answers);
        if state.breaker.wait(now) < was_due {
            self.rescheduled.notify_one();
        }
        self.consider(&mut state, evidence?, "its replies are too slow")
    }

    /// The node has failed. `Some`: its breaker is open now.
    pub fn failed(&self, failure: Failure, why: &str) -> Option<Opening> {
        let mut state = self.state();
        let evidence = state.breaker.failed(self.now(), failure)?;
        self.consider(&mut state, evidence, why)
    }

    /// Opens, if as many others are open as may be, or nobody wants it otherwise.
    fn consider(&self, state: &mut State, evidence: Evidence, why: &str) -> Option<Opening> {
        if state.by_operator != Override::Automatic || !self.common.may_refuse_one_more() {
            return None;
        }
        state.is_counted = true;
        why.clone_into(&mut state.why);
        state.openings = state.openings.wrapping_add(1);
        let open_for = state.breaker.open(self.now(), evidence, fastrand::f64());
        self.tell(state, open_for);
        Some(Opening(state.openings))
    }

    /// How long to wait before [`NodeHealth::probe`]; `None`: this opening is over, or in an operator's hands.
    pub(super) fn next_probe(&self, Opening(opening): Opening) -> Option<Duration> {
        let mut state = self.state();
        let is_current = state.openings == opening && state.by_operator == Override::Automatic;
        state.breaker.wait(self.now()).filter(|_| is_current).map(Duration::from_millis)
    }

    /// Waits until [`NodeHealth::next_probe`] may say something else.
    pub(super) async fn rescheduled(&self) {
        self.rescheduled.notified().await;
    }

    /// The right to ask once.
    pub(super) fn probe(&self) -> Option<Probe> {
        let mut state = self.state();
        let probe = state.breaker.probe(self.now(), fastrand::f64());
        self.tell(&mut state, 0);
        probe
    }

    /// The node has answered a probe.
    pub(super) fn probe_answered(&self, probe: Probe) -> Answered {
        let mut state = self.state();
        let answered = state.breaker.probe_answered(self.now(), probe);
        self.tell(&mut state, 0);
        answered
    }

    /// It has not, or only to refuse it; the next is due `at_most` so much later.
    pub(super) fn probe_failed(&self, probe: Probe, why: &str, at_most: Duration) {
        let mut state = self.state();
        let at_most = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX);
        if let Some(open_for) = state.breaker.probe_failed(self.now(), probe, at_most, fastrand::f64()) {
            why.clone_into(&mut state.why);
            self.tell(&mut state, open_for);
        }
    }

    /// A probe that was given up has been answered after all.
    pub(super) fn show_life(&self) {
        self.state().breaker.show_life(self.now());
    }

    /// The node may be well again: the next probe is due.
    fn hasten(&self) {
        self.state().breaker.hasten(self.now());
        self.rescheduled.notify_one();
    }

    /// An operator's word. The breaker begins anew.
    fn force(&self, to: Override) {
        let mut state = self.state();
        state.breaker.close(self.now());
        state.by_operator = to;
        if to == Override::Open {
            "the operator's word".clone_into(&mut state.why);
        }
        self.tell(&mut state, 0);
        self.rescheduled.notify_one();
    }

    fn report(&self) -> NodeReport {
        let mut state = self.state();
        let retry_in = state.breaker.wait(self.now()).map(Duration::from_millis);
        NodeReport {
            node: self.endpoint.clone(),
            phase: state.phase(),
            by_operator: state.by_operator,
            why: state.why.clone(),
            retry_in,
        }
    }

    /// Tells everybody of a phase that is another one than before. What is refused is counted as long as it is.
    fn tell(&self, state: &mut State, open_for_ms: u64) {
        let (phase, common) = (state.phase(), &self.common);
        if phase == state.told {
            return;
        }
        state.told = phase;
        if let Some(entered) = common.entered.get(phase as usize) {
            entered.fetch_add(1, Ordering::Relaxed);
        }
        let (upstream, node, why) = (&common.name, &self.endpoint, &state.why);
        match phase {
            Phase::Open => tracing::warn!(%upstream, %node, %why, open_for_ms, "breaker open"),
            Phase::HalfOpen => tracing::info!(%upstream, %node, "breaker half-open"),
            Phase::Closed => tracing::info!(%upstream, %node, "breaker closed"),
        }
        let refuses = phase != Phase::Closed;
        if refuses && !state.is_counted {
            common.refused.fetch_add(1, Ordering::Relaxed);
        } else if !refuses && state.is_counted {
            common.refused.fetch_sub(1, Ordering::Relaxed);
        }
        state.is_counted = refuses;
        self.refuses.store(refuses, Ordering::Relaxed);
        self.told.send_if_modified(|told| std::mem::replace(told, refuses) != refuses);
    }

    /// Milliseconds since the beginning of time.
    fn now(&self) -> u64 {
        u64::try_from(self.common.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Nothing is ever half done under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn phase(&self) -> Phase {
        match self.by_operator {
            Override::Automatic => self.breaker.phase(),
            Override::Open => Phase::Open,
            Override::Closed => Phase::Closed,
        }
    }
}

/// Why a request is refused, for its client to read.
pub fn reason(why: &str) -> String {
    format!("the node's breaker is open ({why})")
}

impl Common {
    /// Whether one more node may be refused; it is counted then.
    fn may_refuse_one_more(&self) -> bool {
        let share = usize::from(self.settings.max_ejected_percent);
        let most = (self.nodes.load(Ordering::Relaxed).saturating_mul(share) / 100).max(1);
        let one_more = |refused: usize| (refused < most).then(|| refused.saturating_add(1));
        self.refused.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::breaker::Thresholds;
    use crate::routing::topology::Shard;

    /// Opens by the first failure, for an hour, and closes by the first answer.
    const SETTINGS: BreakerSettings = BreakerSettings {
        thresholds: Thresholds {
            consecutive: 1,
            open_min: 3_600_000,
            open_max: 3_600_000,
            ..BreakerSettings::OFF.thresholds
        },
        max_ejected_percent: 50,
        ..BreakerSettings::OFF
    };
    const FAULT: Failure = Failure::Fault { lasted: 0 };

    /// One upstream of these primaries, each with its replicas.
    fn healths(version: u64, shards: &[(u32, &[u32])]) -> Healths {
        let nodes = Nodes::default();
        for port in 0..8 {
            nodes.number(&Endpoint::Tcp { host: "10.0.0.1".into(), port });
        }
        let epoch = tokio::time::Instant::now().into_std();
        let healths = Healths::new([("main".to_owned(), SETTINGS)], Arc::new(nodes), epoch);
        healths.topology_is(0, &topology(version, shards));
        healths
    }

    fn topology(version: u64, shards: &[(u32, &[u32])]) -> Topology {
        let shard = |(primary, replicas): &(u32, &[u32])| {
            let replicas = replicas.iter().copied().map(NodeId).collect();
            (Shard { primary: NodeId(*primary), replicas, nearest: None, identity: 0 }, Vec::new())
        };
        Topology::cluster(shards.iter().map(shard).collect()).with_version(version)
    }

    fn of(healths: &Healths, node: u32) -> Arc<NodeHealth> {
        healths.of(0, NodeId(node)).expect("there is such a node")
    }

    #[test]
    fn no_more_than_the_share_of_the_nodes_is_refused_but_for_the_operators_word() {
        let healths = healths(1, &[(0, &[]), (1, &[]), (2, &[])]);
        let [first, second, third] = [0, 1, 2].map(|node| of(&healths, node));
        assert!(first.failed(FAULT, "gone").is_some() && first.refuses());
        assert!(second.failed(FAULT, "gone").is_none() && !second.refuses());
        assert!(healths.force("main", "10.0.0.1:2", Override::Open) && third.refuses());
        assert_eq!([1, 2, 0], healths.figures()[0].nodes);
        first.force(Override::Automatic);
        assert!(second.failed(FAULT, "gone").is_none(), "the operator's counts");
        third.force(Override::Automatic);
        assert!(second.failed(FAULT, "gone").is_some());
        assert_eq!([2, 1, 0], healths.figures()[0].nodes);
    }

    #[test]
    fn the_only_node_may_be_refused() {
        let healths = healths(0, &[(0, &[])]);
        assert!(of(&healths, 0).failed(FAULT, "gone").is_some());
        let line = "upstream 'main': the breaker of 1 of 1 primaries is open: gone".to_owned();
        assert_eq!((vec![line], Vec::new()), healths.complaints());
    }

    #[test]
    fn a_replica_that_becomes_the_primary_is_asked_at_once() {
        let healths = healths(1, &[(0, &[1])]);
        let replica = of(&healths, 1);
        let opening = replica.failed(FAULT, "gone").expect("it opens");
        assert!(replica.next_probe(opening).is_some_and(|wait| wait > Duration::from_secs(1_000)));
        // Neither the same again, nor by a worker that is behind.
        for old in [1, 0] {
            healths.topology_is(0, &topology(old, &[(1, &[0])]));
            assert!(replica.next_probe(opening).is_some_and(|wait| wait > Duration::from_secs(1_000)));
        }
        healths.topology_is(0, &topology(2, &[(1, &[0])]));
        assert_eq!(Some(Duration::ZERO), replica.next_probe(opening));
        let probe = replica.probe().expect("it is due");
        assert_eq!(Answered::Closed, replica.probe_answered(probe));
        assert_eq!((false, None), (replica.refuses(), replica.next_probe(opening)));
    }

    #[test]
    fn a_node_that_leaves_takes_its_breaker_with_it() {
        let healths = healths(1, &[(0, &[]), (1, &[])]);
        let gone = of(&healths, 1);
        let opening = gone.failed(FAULT, "gone").expect("it opens");
        healths.topology_is(0, &topology(2, &[(0, &[])]));
        assert_eq!((false, None), (gone.refuses(), gone.next_probe(opening)));
        assert!(of(&healths, 0).failed(FAULT, "gone").is_some(), "it no longer counts");
        healths.topology_is(0, &topology(3, &[(0, &[]), (1, &[])]));
        assert!(!of(&healths, 1).refuses());
    }

    #[test]
    fn an_operators_word_holds_until_he_takes_it_back() {
        let healths = healths(1, &[(0, &[])]);
        let health = of(&healths, 0);
        health.force(Override::Closed);
        assert!(health.failed(FAULT, "gone").is_none());
        health.force(Override::Open);
        let refusal = health.refusal().expect("it refuses");
        assert_eq!("the node's breaker is open (the operator's word)", &*refusal.reason);
        assert_eq!(None, refusal.retry_in);
        health.answered(Answers { all: 1, slow: 0, ago: 0 });
        assert!(health.refuses());
        health.force(Override::Automatic);
        assert!(!health.refuses());
        assert_eq!((1, [1, 1, 0]), (healths.figures()[0].rejected, healths.figures()[0].entered));
    }
}
