//! Finds the nodes of one cluster, or of one group that sentinels watch, and goes on finding them.
//!
//! There is one discovery per upstream in the whole process. It asks and publishes; workers read what it has
//! published and say when it may be out of date ([`super::feed`]). A refresh asks one node after the other until
//! an answer is **convincing**: the cluster is ok in the eyes of that node, and no older than what was believed
//! before. If nobody is, the best answer counts; if nobody answers, what was believed before stays.
//!
//! | | asked | epoch that orders answers |
//! |---|---|---|
//! | cluster | known primaries, known replicas, seeds; each kind in random order | `cluster_current_epoch` |
//! | sentinel | the sentinel that told of a switch, then all in random order | `config-epoch` of the group |
//!
//! Between two refreshes there is at least `refresh_min` and at most `refresh_every`; both are jittered, so that
//! many proxies that hear of the same failover do not ask together for ever after. However many ask meanwhile, they
//! get one refresh. While answers are not convincing, waits double from the shortest to the longest.
//!
//! Invariants: what is published parses as a whole; its number is higher than the last; and every address of it is
//! one that a node, a sentinel or the operator has named.

mod cluster;
mod nearest;
mod sentinel;

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::connect::{ConnectError, Dialogue};
use super::feed::{Feed, Publisher, feed};
use super::nodes::{Nodes, reachable};
use crate::resp::OwnedRequest;
use crate::routing::parse::{Announced, Layout, Unreadable};
use crate::routing::topology::{NodeId, Shard, Topology};
use crate::settings::{Deployment, Endpoint, Password, UpstreamSettings};
use nearest::Distances;

/// Bytes that one reply may have: a thousand shards, and as many ranges as there are slots, take less than half.
const MAX_REPLY: usize = 4 << 20;
/// A node that has not answered for so long is not waited for alone.
const SLOW: Duration = Duration::from_millis(250);
/// Nodes that are asked at once, because those before are slow.
const MAX_AT_ONCE: usize = 4;
/// Known nodes that are asked in one refresh, before the seeds; the next one asks others.
const MAX_KNOWN: usize = 32;
/// Characters of an upstream's own words in the log.
const MAX_WORDS: usize = 200;

/// Why somebody's answer does not count. `Display` is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No connection, or it ended.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What came is no answer to what was asked.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// An error reply.
    #[error("{command} failed: {reply}")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// The error without its `-`.
        reply: String,
    },
    /// A node that is in no cluster yet, or no more.
    #[error("no slot has an owner there")]
    NoSlots,
    /// A sentinel that watches others.
    #[error("it watches no group of that name")]
    NoGroup,
    /// Somebody is behind the times.
    #[error("{0} is not the primary it is said to be")]
    NotPrimary(Endpoint),
    /// Every number that a node can have is given.
    #[error("it names more nodes than can be told apart")]
    TooMany,
    /// There was nobody to ask, or the question was not finished.
    #[error("nobody was asked")]
    NotAsked,
}

impl From<std::io::Error> for AskError {
    fn from(error: std::io::Error) -> Self {
        Self::Connect(error.into())
    }
}

/// What one of those who were asked says.
#[derive(Debug)]
struct View {
    layout: Layout,
    is_ok: bool,
    epoch: u64,
}

impl View {
    /// Of two views the one that counts.
    fn better(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if (other.is_ok, other.epoch) >= (self.is_ok, self.epoch) => other,
            _ => self,
        }
    }
}

/// How a refresh went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream is well.
    Convinced,
    /// It is not, or nobody can say.
    Doubtful,
}

/// What is remembered from one refresh to the next.
#[derive(Debug, Default)]
struct Memory {
    /// Of the view that was published last.
    epoch: u64,
    /// Whether the last refresh has found nobody; it has been logged then.
    is_outage: bool,
}

/// The discovery of one upstream.
#[derive(Debug)]
pub struct Discovery {
    settings: Arc<UpstreamSettings>,
    nodes: Arc<Nodes>,
    publisher: Publisher,
    /// The sentinel that has told of a switch: nobody else may know of it yet.
    informed: RefCell<Option<Endpoint>>,
    /// It has.
    told: Notify,
    distances: RefCell<Distances>,
}

impl Discovery {
    /// The discovery and what workers hear of it. Nobody is asked until it runs; before that one node is all that
    /// is known, if the upstream is one node, and else nothing.
    pub fn new(settings: Arc<UpstreamSettings>, nodes: Arc<Nodes>) -> (Self, Feed) {
        let only = match &settings.deployment {
            Deployment::Node(endpoint) => nodes.number(endpoint),
            Deployment::Cluster { .. } | Deployment::Sentinel(_) => None,
        };
        let (publisher, feed) = feed(only.map_or_else(Topology::unknown, Topology::of_one_node));
        let (informed, distances) = (RefCell::default(), RefCell::default());
        let told = Notify::new();
        (Self { settings, nodes, publisher, informed, told, distances }, feed)
    }

    /// Asks until it is dropped.
    pub async fn run(self) {
        match &self.settings.deployment {
            Deployment::Node(_) => std::future::pending().await,
            Deployment::Cluster { .. } => {
                tokio::select! {
                    () = self.keep_up() => {}
                    () = self.measure() => {}
                }
            }
            Deployment::Sentinel(sentinel) => {
                tokio::select! {
                    () = self.keep_up() => {}
                    () = self.measure() => {}
                    () = self.listen(sentinel) => {}
                }
            }
        }
    }

    /// Asks once, and tells nobody else: the nodes that there are now.
    pub async fn once(&self) -> Result<(Topology, Outcome), AskError> {
        if self.settings.deployment.is_fixed() {
            return Ok((Topology::clone(&self.publisher.current()), Outcome::Convinced));
        }
        let (view, outcome) = self.survey(0).await?;
        Ok((self.topology(&view.layout).ok_or(AskError::TooMany)?, outcome))
    }

    async fn keep_up(&self) {
        let limits = self.settings.topology;
        let mut backoff = Backoff::new(limits.refresh_min, limits.refresh_every);
        let mut memory = Memory::default();
        loop {
            let outcome = self.refresh(&mut memory).await;
            self.publisher.refreshed();
            let rest = limits.refresh_min.mul_f64(1.0 + fastrand::f64() / 2.0);
            let longest = match outcome {
                Outcome::Convinced => {
                    backoff.reset();
                    limits.refresh_every.mul_f64(1.0 - fastrand::f64() / 4.0)
                }
                Outcome::Doubtful => backoff.wait(fastrand::f64()),
            };
            // Who has been told need not guess: many who ask at once do not ask because of the same thing again.
            tokio::select! {
                () = self.told.notified() => continue,
                () = sleep(rest) => {}
            }
            tokio::select! {
                () = self.told.notified() => {}
                () = self.publisher.asked() => {}
                () = sleep(longest.saturating_sub(rest)) => {}
            }
        }
    }

    async fn refresh(&self, memory: &mut Memory) -> Outcome {
        let found = self.survey(memory.epoch).await;
        let published = found.and_then(|(view, outcome)| {
            let topology = self.topology(&view.layout).ok_or(AskError::TooMany)?;
            memory.epoch = view.epoch;
            self.publish(self.with_nearest(topology));
            self.publisher.is_of(view.epoch);
            Ok(outcome)
        });
        let name = &self.settings.name;
        match published {
            Ok(outcome) => {
                self.publisher.answered(outcome == Outcome::Convinced);
                if std::mem::take(&mut memory.is_outage) {
                    tracing::info!(upstream = %name, "nodes of the upstream can be asked again");
                }
                outcome
            }
            Err(error) => {
                if !std::mem::replace(&mut memory.is_outage, true) {
                    tracing::warn!(upstream = %name, %error, "nobody can say which nodes the upstream has");
                }
                self.publisher.unanswered(error.to_string());
                Outcome::Doubtful
            }
        }
    }

    /// Asks one after the other; who is slow is not waited for before the next is asked.
    async fn survey(&self, epoch: u64) -> Result<(View, Outcome), AskError> {
        let mut candidates = self.candidates().into_iter().peekable();
        let mut inquiries = JoinSet::new();
        let (mut best, mut failure) = (None, AskError::NotAsked);
        loop {
            if inquiries.len() < MAX_AT_ONCE
                && let Some(candidate) = candidates.next()
            {
                inquiries.spawn(inquire(Arc::clone(&self.settings), candidate));
            }
            let may_ask_more = inquiries.len() < MAX_AT_ONCE && candidates.peek().is_some();
            let answer = tokio::select! {
                answer = inquiries.join_next() => answer,
                () = sleep(SLOW), if may_ask_more => continue,
            };
            match answer.map(flattened) {
                Some(Ok(view)) if view.is_ok && view.epoch >= epoch => return Ok((view, Outcome::Convinced)),
                Some(Ok(view)) => best = Some(view.better(best)),
                Some(Err(error)) => failure = error,
                None => return best.map(|view| (view, Outcome::Doubtful)).ok_or(failure),
            }
        }
    }

    /// Whom to ask, in this order.
    fn candidates(&self) -> Vec<Endpoint> {
        let mut candidates: Vec<Endpoint> = Vec::new();
        let more = match &self.settings.deployment {
            Deployment::Node(_) => Vec::new(),
            Deployment::Cluster { seeds } => {
                let current = self.publisher.current();
                let primaries = current.shards().iter().map(|shard| shard.primary);
                let replicas = current.shards().iter().flat_map(|shard| shard.replicas.iter().copied());
                let known = shuffled(primaries).into_iter().chain(shuffled(replicas)).take(MAX_KNOWN);
                candidates.extend(known.filter_map(|node| self.nodes.endpoint(node)));
                shuffled(seeds.iter().cloned())
            }
            Deployment::Sentinel(sentinel) => {
                candidates.extend(self.informed.take());
                shuffled(sentinel.sentinels.iter().cloned())
            }
        };
        for endpoint in more {
            if !candidates.contains(&endpoint) {
                candidates.push(endpoint);
            }
        }
        candidates
    }

    /// A layout with numbers instead of addresses; `None`: there are no more numbers.
    fn topology(&self, layout: &Layout) -> Option<Topology> {
        let mut shards = Vec::with_capacity(layout.shards.len());
        for shard in &layout.shards {
            let replicas = shard.replicas.iter().map(|node| self.number(node)).collect::<Option<_>>()?;
            let primary = self.number(&shard.primary)?;
            let identity = shard.primary.identity();
            shards.push((Shard { primary, replicas, nearest: None, identity }, shard.slots.clone()));
        }
        match &self.settings.deployment {
            Deployment::Cluster { .. } => Some(Topology::cluster(shards)),
            Deployment::Node(_) | Deployment::Sentinel(_) => {
                shards.pop().map(|(shard, _)| Topology::single(shard))
            }
        }
    }

    fn number(&self, node: &Announced) -> Option<NodeId> {
        self.nodes.number(&reachable(&self.settings.address_map, endpoint_of(node)))
    }

    fn publish(&self, topology: Topology) {
        let current = self.publisher.current();
        if current.is_same_as(&topology) {
            return;
        }
        let version = current.version().saturating_add(1);
        let shards = topology.shards().len();
        let nodes = shards + topology.shards().iter().map(|shard| shard.replicas.len()).sum::<usize>();
        tracing::info!(upstream = %self.settings.name, version, shards, nodes, "the upstream has other nodes");
        self.publisher.publish(Arc::new(topology.with_version(version)));
    }
}

/// Runs them all, until it is dropped.
pub async fn run_all(discoveries: Vec<Discovery>) -> Infallible {
    let side_by_side = LocalSet::new();
    for discovery in discoveries {
        drop(side_by_side.spawn_local(discovery.run()));
    }
    side_by_side.run_until(std::future::pending()).await
}

/// One answer.
async fn inquire(settings: Arc<UpstreamSettings>, asked: Endpoint) -> Result<View, AskError> {
    let view = match &settings.deployment {
        Deployment::Node(_) => Err(AskError::NotAsked),
        Deployment::Cluster { .. } => cluster::view(&settings, &asked).await,
        Deployment::Sentinel(sentinel) => sentinel::view(&settings, sentinel, &asked).await,
    };
    if let Err(error) = &view {
        tracing::debug!(upstream = %settings.name, %asked, %error, "no view of the upstream's nodes");
    }
    view
}

/// A question that has failed by itself has no answer.
fn flattened(answer: Result<Result<View, AskError>, JoinError>) -> Result<View, AskError> {
    answer.unwrap_or(Err(AskError::NotAsked))
}

fn shuffled<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    fastrand::shuffle(&mut items);
    items
}

fn endpoint_of(node: &Announced) -> Endpoint {
    Endpoint::Tcp { host: node.host.clone(), port: node.port }
}

/// A connection on which one question follows another, each answered within the time that a connection may take.
struct Inquiry {
    dialogue: Dialogue,
    limit: Duration,
}

impl Inquiry {
    /// Connects, and says who the proxy is if `password` is known.
    async fn open(
        endpoint: &Endpoint,
        (username, password): (Option<&str>, Option<&Password>),
        limit: Duration,
    ) -> Result<Self, AskError> {
        let opened = timeout(limit, Dialogue::open(endpoint, MAX_REPLY)).await;
        let mut inquiry = Self { dialogue: opened.map_err(|_| ConnectError::TimedOut(limit))??, limit };
        if let Some(password) = password {
            let words: Vec<&str> = ["AUTH"].into_iter().chain(username).chain([password.reveal()]).collect();
            accepted("AUTH", &inquiry.ask(&words).await?)?;
        }
        Ok(inquiry)
    }

    /// The reply, which may be an error, to the request of these words.
    async fn ask(&mut self, words: &[&str]) -> Result<bytes::BytesMut, AskError> {
        self.say(words).await?;
        let heard = timeout(self.limit, self.dialogue.hear()).await;
        Ok(heard.map_err(|_| ConnectError::TimedOut(self.limit))??)
    }

    async fn say(&mut self, words: &[&str]) -> Result<(), AskError> {
        let request = OwnedRequest::from_args(words).ok_or(AskError::NotAsked)?;
        let said = timeout(self.limit, self.dialogue.say(request.as_request().bytes())).await;
        Ok(said.map_err(|_| ConnectError::TimedOut(self.limit))??)
    }
}

/// An error reply to a question that must be answered.
fn accepted(command: &'static str, reply: &[u8]) -> Result<(), AskError> {
    let Some(words) = reply.strip_prefix(b"-") else { return Ok(()) };
    let words = String::from_utf8_lossy(words);
    Err(AskError::Refused { command, reply: words.trim_end().chars().take(MAX_WORDS).collect() })
}
