//! Which upstreams can be reached, and if not, why: what `/readyz` answers.
//!
//! An upstream is as many nodes as it has primaries; workers say which these are, and what becomes of the connection
//! that each keeps to each of them. They report when that changes, which is rare, so one lock for all is enough; it
//! is never taken per request.
//!
//! The proxy is ready while every upstream can be reached, and an upstream while one of its primaries can: taking a
//! proxy out of service because one of three primaries is away would take the other two from its clients. Those that
//! are away are told beside it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Longest failure text that is kept, in bytes; a longer one is cut.
const LONGEST_REASON: usize = 300;

/// What all workers together know about the upstreams.
///
/// A primary counts as reachable while any worker has a connection to it, and also when the last one was
/// closed without a failure: a connection nobody used was given up, the node is not known to be away.
#[derive(Debug)]
pub struct Readiness {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    upstreams: Vec<Upstream>,
    /// How many workers there are; each must have reached an upstream once.
    workers: usize,
    /// How many have asked for a number.
    numbered: usize,
    listening: Listening,
}

/// Whether clients are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    NotYet,
    Yes,
    NoLonger,
}

#[derive(Debug, Default)]
struct Upstream {
    name: String,
    /// No tenant needs it.
    is_spare: bool,
    /// The number of the topology that `primaries` are from.
    version: u64,
    primaries: Vec<u32>,
    /// The primaries, and what was one and is still connected.
    nodes: HashMap<u32, Node>,
    /// The workers that have had a connection to any primary.
    arrived: BTreeSet<usize>,
}

/// One node of an upstream.
#[derive(Debug, Default)]
struct Node {
    /// Connections that finished their handshake and are open, over all workers.
    connected: usize,
    reached: Reached,
}

/// What the last connection, or the last attempt, showed.
#[derive(Debug, Default)]
enum Reached {
    #[default]
    NotYet,
    Yes,
    No {
        reason: String,
    },
}

impl Node {
    fn is_up(&self) -> bool {
        self.connected > 0 || matches!(self.reached, Reached::Yes)
    }

    /// Why it cannot be reached.
    fn failure(&self) -> Option<&str> {
        match &self.reached {
            Reached::No { reason } if self.connected == 0 => Some(reason),
            Reached::No { .. } | Reached::NotYet | Reached::Yes => None,
        }
    }
}

impl Upstream {
    fn primaries(&self) -> impl Iterator<Item = &Node> {
        self.primaries.iter().filter_map(|node| self.nodes.get(node))
    }

    /// How many primaries cannot be reached.
    fn away(&self) -> usize {
        self.primaries().filter_map(Node::failure).count()
    }

    /// Why it is not ready.
    fn complaint(&self, workers: usize) -> Option<String> {
        let name = &self.name;
        if self.primaries.is_empty() {
            return Some(format!("the nodes of upstream '{name}' are not known yet"));
        }
        if !self.primaries().any(Node::is_up) {
            return Some(match self.primaries().find_map(Node::failure) {
                Some(reason) => format!("upstream '{name}' cannot be reached: {reason}"),
                None => format!("upstream '{name}' has not been connected yet"),
            });
        }
        // What a worker says of the upstream's version and commands it learns when it connects.
        (self.arrived.len() < workers)
            .then(|| format!("upstream '{name}' has not been connected by every worker yet"))
    }

    /// What is wrong with it although the proxy is ready.
    fn remark(&self, workers: usize) -> Option<String> {
        if let Some(complaint) = self.complaint(workers) {
            return self.is_spare.then_some(complaint);
        }
        let reason = self.primaries().find_map(Node::failure)?;
        let (name, away, all) = (&self.name, self.away(), self.primaries.len());
        Some(format!("upstream '{name}': {away} of {all} primaries cannot be reached: {reason}"))
    }
}

impl State {
    /// Why the proxy is not ready.
    fn complaints(&self) -> impl Iterator<Item = String> {
        let needed = self.upstreams.iter().filter(|upstream| !upstream.is_spare);
        needed.filter_map(|upstream| upstream.complaint(self.workers))
    }
}

impl Readiness {
    /// Nothing is known yet. The numbers of the upstreams are their places in `upstreams`; a report
    /// about a number beyond them is ignored.
    pub fn new(upstreams: impl IntoIterator<Item = String>) -> Self {
        let upstreams = upstreams.into_iter().map(|name| Upstream { name, ..Upstream::default() }).collect();
        let state = State { upstreams, workers: 1, numbered: 0, listening: Listening::NotYet };
        Self { state: Mutex::new(state) }
    }

    /// No tenant needs this upstream: the proxy is ready without it.
    pub fn is_spare(&self, upstream: usize) {
        self.change(upstream, |upstream| upstream.is_spare = true);
    }

    /// A number for one more worker.
    pub fn next_worker(&self) -> usize {
        let mut state = self.lock();
        let number = state.numbered;
        state.numbered = number.saturating_add(1);
        number
    }

    /// These nodes are the upstream's primaries, by the topology of this number; an older one is ignored.
    pub fn primaries_are(&self, upstream: usize, version: u64, primaries: Vec<u32>) {
        self.change(upstream, |upstream| {
            if version < upstream.version {
                return;
            }
            upstream.version = version;
            for node in &primaries {
                upstream.nodes.entry(*node).or_default();
            }
            upstream.nodes.retain(|node, state| state.connected > 0 || primaries.contains(node));
            upstream.primaries = primaries;
        });
    }

    /// A worker's connection to a primary finished its handshake. Pair with [`Readiness::primary_down`] or
    /// [`Readiness::primary_released`].
    pub fn primary_up(&self, upstream: usize, (worker, node): (usize, u32)) {
        self.change(upstream, |upstream| {
            let node = upstream.nodes.entry(node).or_default();
            node.connected = node.connected.saturating_add(1);
            node.reached = Reached::Yes;
            upstream.arrived.insert(worker);
        });
    }

    /// A connection that was up was lost. `reason` is shown to operators: lower case, no credentials.
    pub fn primary_down(&self, upstream: usize, node: u32, reason: &str) {
        self.change_node(upstream, node, |node| {
            node.connected = node.connected.saturating_sub(1);
            node.reached = Reached::No { reason: one_line(reason) };
        });
    }

    /// An attempt at a connection failed; connections that are up are not concerned.
    pub fn primary_failed(&self, upstream: usize, node: u32, reason: &str) {
        self.change_node(upstream, node, |node| node.reached = Reached::No { reason: one_line(reason) });
    }

    /// A connection that was up was closed by us because nobody needed it.
    pub fn primary_released(&self, upstream: usize, node: u32) {
        self.change_node(upstream, node, |node| node.connected = node.connected.saturating_sub(1));
    }

    /// Says how many workers there are: an upstream counts as reachable once each of them has connected.
    pub fn expect_workers(&self, workers: usize) {
        self.lock().workers = workers;
    }

    /// Clients are let in from now on.
    pub fn listening(&self) {
        self.lock().listening = Listening::Yes;
    }

    /// The process is about to end: not ready from now on, so that no new client is sent here.
    pub fn draining(&self) {
        self.lock().listening = Listening::NoLonger;
    }

    /// Ready, and what is wrong nevertheless; or every reason why not. One line each.
    pub fn report(&self) -> Result<Vec<String>, Vec<String>> {
        let state = self.lock();
        let closed = match state.listening {
            Listening::NotYet => Some("the listeners are not open yet".to_owned()),
            Listening::Yes => None,
            Listening::NoLonger => Some("draining: new connections are refused".to_owned()),
        };
        let reasons: Vec<String> = closed.into_iter().chain(state.complaints()).collect();
        if !reasons.is_empty() {
            return Err(reasons);
        }
        Ok(state.upstreams.iter().filter_map(|upstream| upstream.remark(state.workers)).collect())
    }

    /// Whether every upstream that a tenant needs can be reached.
    pub fn is_served(&self) -> bool {
        self.lock().complaints().next().is_none()
    }

    /// For each upstream, whether it can be reached.
    pub fn upstreams_up(&self) -> Vec<bool> {
        let state = self.lock();
        state.upstreams.iter().map(|upstream| upstream.complaint(state.workers).is_none()).collect()
    }

    /// For each upstream, how many of its primaries cannot be reached.
    pub fn primaries_away(&self) -> Vec<usize> {
        self.lock().upstreams.iter().map(Upstream::away).collect()
    }

    fn change_node(&self, upstream: usize, node: u32, change: impl FnOnce(&mut Node)) {
        self.change(upstream, |upstream| {
            if let Some(state) = upstream.nodes.get_mut(&node) {
                change(state);
                if state.connected == 0 && !upstream.primaries.contains(&node) {
                    upstream.nodes.remove(&node);
                }
            }
        });
    }

    fn change(&self, upstream: usize, change: impl FnOnce(&mut Upstream)) {
        if let Some(upstream) = self.lock().upstreams.get_mut(upstream) {
            change(upstream);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No change can leave the state half done, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text without line ends and control characters, which a node's reply could contain, and not longer
/// than [`LONGEST_REASON`].
fn one_line(reason: &str) -> String {
    let mut line = String::new();
    for character in reason.chars() {
        if line.len() + character.len_utf8() > LONGEST_REASON {
            break;
        }
        line.push(if character.is_control() { ' ' } else { character });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With one node, number 7, as its primary.
    fn one_upstream() -> Readiness {
        let readiness = Readiness::new(["main".to_owned()]);
        readiness.listening();
        readiness.primaries_are(0, 0, vec![7]);
        readiness
    }

    /// With the primaries 1, 2 and 3, all of them connected.
    fn three_primaries() -> Readiness {
        let readiness = Readiness::new(["main".to_owned()]);
        readiness.listening();
        readiness.primaries_are(0, 1, vec![1, 2, 3]);
        for node in 1..=3 {
            readiness.primary_up(0, (0, node));
        }
        readiness
    }

    const READY: Result<Vec<String>, Vec<String>> = Ok(Vec::new());

    fn because(reason: &str) -> Vec<String> {
        vec![reason.to_owned()]
    }

    #[test]
    fn not_ready_before_every_worker_has_connected_once() {
        let readiness = one_upstream();
        readiness.expect_workers(2);
        let (first, second) = (readiness.next_worker(), readiness.next_worker());
        let complaint = because("upstream 'main' has not been connected by every worker yet");
        readiness.primary_up(0, (first, 7));
        assert_eq!(Err(complaint.clone()), readiness.report());
        readiness.primary_down(0, 7, "reset");
        readiness.primary_up(0, (first, 7));
        assert_eq!(Err(complaint.clone()), readiness.report());
        readiness.primary_up(0, (second, 7));
        readiness.primary_down(0, 7, "reset");
        assert_eq!(READY, readiness.report());
    }

    #[test]
    fn not_ready_before_the_listeners_are_open() {
        assert_eq!(Err(because("the listeners are not open yet")), Readiness::new([]).report());
    }

    #[test]
    fn not_ready_before_the_nodes_are_known_and_one_is_connected() {
        let readiness = Readiness::new(["main".to_owned()]);
        readiness.listening();
        readiness.primaries_are(0, 0, Vec::new());
        assert_eq!(Err(because("the nodes of upstream 'main' are not known yet")), readiness.report());
        readiness.primaries_are(0, 1, vec![7]);
        assert_eq!(Err(because("upstream 'main' has not been connected yet")), readiness.report());
        assert_eq!(vec![false], readiness.upstreams_up());
    }

    #[test]
    fn ready_once_one_worker_is_connected_even_if_another_fails() {
        let readiness = one_upstream();
        readiness.primary_up(0, (0, 7));
        readiness.primary_failed(0, 7, "connection refused");
        assert_eq!(READY, readiness.report());
        assert_eq!(vec![true], readiness.upstreams_up());
    }

    #[test]
    fn losing_the_last_connection_gives_its_reason() {
        let readiness = one_upstream();
        readiness.primary_up(0, (0, 7));
        readiness.primary_up(0, (0, 7));
        readiness.primary_down(0, 7, "closed by the node");
        assert_eq!(READY, readiness.report());
        readiness.primary_down(0, 7, "connection reset");
        assert_eq!(Err(because("upstream 'main' cannot be reached: connection reset")), readiness.report());
    }

    #[test]
    fn connection_given_up_as_idle_leaves_the_upstream_ready() {
        let readiness = one_upstream();
        readiness.primary_up(0, (0, 7));
        readiness.primary_released(0, 7);
        assert_eq!(READY, readiness.report());
        readiness.primary_failed(0, 7, "connection refused");
        assert_eq!(Err(because("upstream 'main' cannot be reached: connection refused")), readiness.report());
    }

    #[test]
    fn an_upstream_is_ready_while_one_primary_is_there_and_those_that_are_not_are_counted() {
        let readiness = three_primaries();
        assert_eq!((READY, vec![0]), (readiness.report(), readiness.primaries_away()));
        readiness.primary_down(0, 2, "connection reset");
        let remark = "upstream 'main': 1 of 3 primaries cannot be reached: connection reset".to_owned();
        assert_eq!((Ok(vec![remark]), vec![1]), (readiness.report(), readiness.primaries_away()));
        readiness.primary_down(0, 1, "connection reset");
        readiness.primary_down(0, 3, "connection reset");
        assert_eq!(Err(because("upstream 'main' cannot be reached: connection reset")), readiness.report());
        assert_eq!(vec![3], readiness.primaries_away());
    }

    #[test]
    fn what_is_no_primary_any_more_is_not_missed() {
        let readiness = three_primaries();
        readiness.primary_down(0, 2, "connection reset");
        readiness.primaries_are(0, 2, vec![1, 3, 4]);
        assert_eq!(READY, readiness.report());
        readiness.primary_failed(0, 2, "connection refused");
        assert_eq!(READY, readiness.report());
        // A worker that is behind.
        readiness.primaries_are(0, 1, vec![1, 2, 3]);
        assert_eq!(vec![0], readiness.primaries_away());
    }

    #[test]
    fn a_primary_that_comes_again_is_as_connected_as_it_stayed() {
        let readiness = three_primaries();
        readiness.primaries_are(0, 2, vec![1]);
        readiness.primary_down(0, 1, "connection reset");
        readiness.primary_released(0, 3);
        readiness.primaries_are(0, 3, vec![2]);
        assert_eq!(READY, readiness.report());
        readiness.primaries_are(0, 4, vec![3]);
        assert_eq!(Err(because("upstream 'main' has not been connected yet")), readiness.report());
    }

    #[test]
    fn every_reason_is_reported() {
        let readiness = Readiness::new(["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        for upstream in 0..3 {
            readiness.primaries_are(upstream, 0, vec![7]);
        }
        readiness.primary_up(1, (0, 7));
        readiness.primary_failed(2, 7, "handshake: WRONGPASS");
        readiness.draining();
        let reasons = vec![
            "draining: new connections are refused".to_owned(),
            "upstream 'a' has not been connected yet".to_owned(),
            "upstream 'c' cannot be reached: handshake: WRONGPASS".to_owned(),
        ];
        assert_eq!(Err(reasons), readiness.report());
    }

    #[test]
    fn reason_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\r\nb"), "a  b");
        assert_eq!(one_line(&"é".repeat(400)).len(), 300);
    }
}
