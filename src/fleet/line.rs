//! The connection to one node that keeps budgets: asked one thing at a time, opened again when it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::nanos;
use super::script::{self, Arguments, LEASE};
use crate::policy::fleet::Grant;
use crate::resp::{OwnedRequest, Version};
use crate::routing::Access;
use crate::routing::redirect::{Verdict, verdict};
use crate::routing::topology::NodeId;
use crate::settings::{Endpoint, UpstreamSettings};
use crate::upstream::Fingerprint;
use crate::upstream::backoff::Backoff;
use crate::upstream::connect::{ConnectError, Dialogue, connect};
use crate::upstream::handshake::Script;
use crate::upstream::lane::Load;
use crate::upstream::nodes::reachable;

/// Bytes of one reply: 64 buckets take less than 4 KiB.
const MAX_REPLY: usize = 64 << 10;
/// An answer is waited for at least so long: less would be the scheduling of a busy machine.
const LEAST_WAIT: Duration = Duration::from_millis(100);
/// Characters of an upstream's own words in the log.
const MAX_WORDS: usize = 200;

/// What is asked in one request.
#[derive(Debug)]
pub(super) struct Order {
    /// The leases it is about, by their positions.
    pub(super) leases: Vec<usize>,
    pub(super) arguments: Arguments,
}

/// How that went.
#[derive(Debug)]
pub(super) enum Outcome {
    /// One for each lease.
    Granted(Vec<Grant>),
    /// An error, without its `-`: the script has not run, or not to its end.
    Refused(Vec<u8>),
    /// There will be no answer.
    Unanswered,
}

/// Something has ended.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) node: NodeId,
    pub(super) happened: Happened,
}

/// What it was.
pub(super) enum Happened {
    Connected(Result<Connection, Trouble>),
    Answered { connection: Result<Connection, Trouble>, outcomes: Vec<(Order, Outcome)> },
}

impl std::fmt::Debug for Happened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connected(_) => "Connected",
            Self::Answered { .. } => "Answered",
        })
    }
}

/// Why budgets cannot be leased from a node. `Display` is for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// No connection, or it ended.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// An error reply to the script, or to `SCRIPT LOAD`.
    #[error("the script failed: {0}")]
    Refused(String),
    /// What came is no answer to what was asked.
    #[error("the reply cannot be read")]
    Unreadable,
}

impl Trouble {
    /// An error in the upstream's own words.
    pub(super) fn refused(error: &[u8]) -> Self {
        Self::Refused(String::from_utf8_lossy(error).trim_end().chars().take(MAX_WORDS).collect())
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Connect(error.into())
    }
}

/// A connection on which the script has been loaded.
pub(super) struct Connection {
    dialogue: Dialogue,
    digest: String,
}

/// What a node does at the moment.
enum State {
    /// Nobody is connected; when to try.
    Away {
        from: u64,
    },
    Connecting,
    Ready(Connection),
    Asked,
}

/// What others need to know of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody is connected.
    Away,
    /// Somebody is trying to.
    Connecting,
    /// It can be asked.
    Ready,
    /// It has been, and has not answered yet.
    Asked,
}

/// One node.
pub(super) struct Line {
    endpoint: Endpoint,
    state: State,
    backoff: Backoff,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({})", self.endpoint)
    }
}

/// Where to go after an error.
#[derive(Debug)]
pub(super) enum Way {
    /// The same node, later.
    Here,
    /// Somewhere else.
    Unknown,
    /// There.
    Moved(Endpoint),
}

impl Line {
    pub(super) fn new(endpoint: Endpoint, backoff: Backoff) -> Self {
        Self { endpoint, state: State::Away { from: 0 }, backoff }
    }

    pub(super) fn standing(&self) -> Standing {
        match &self.state {
            State::Away { .. } => Standing::Away,
            State::Connecting => Standing::Connecting,
            State::Ready(_) => Standing::Ready,
            State::Asked => Standing::Asked,
        }
    }

    /// Begins to connect, unless that is under way or failed a moment ago.
    pub(super) fn connect_if_due(
        &mut self,
        node: NodeId,
        (settings, upstream): (&Arc<UpstreamSettings>, usize),
        now: u64,
        events: &mut JoinSet<Event>,
    ) {
        let State::Away { from } = self.state else { return };
        if now < from {
            return;
        }
        self.state = State::Connecting;
        let (settings, endpoint) = (Arc::clone(settings), self.endpoint.clone());
        events.spawn(async move {
            let happened = Happened::Connected(Connection::open(&settings, &endpoint, upstream, node).await);
            Event { node, happened }
        });
    }

    /// Sends all `orders` in one write; each is to be answered within `limit`.
    pub(super) fn ask(
        &mut self,
        node: NodeId,
        orders: Vec<Order>,
        limit: Duration,
        events: &mut JoinSet<Event>,
    ) {
        match std::mem::replace(&mut self.state, State::Asked) {
            State::Ready(connection) => {
                events.spawn(async move {
                    let (connection, outcomes) = connection.ask(orders, limit.max(LEAST_WAIT)).await;
                    Event { node, happened: Happened::Answered { connection, outcomes } }
                });
            }
            other @ (State::Away { .. } | State::Connecting | State::Asked) => self.state = other,
        }
    }

    /// An attempt to connect has ended, with a connection or without.
    pub(super) fn connected(&mut self, connection: Option<Connection>, now: u64) {
        self.state = connection.map_or_else(
            || State::Away { from: now.saturating_add(nanos(self.backoff.wait(fastrand::f64()))) },
            State::Ready,
        );
    }

    /// What was asked has been answered, or the connection is gone.
    pub(super) fn answered(&mut self, connection: Option<Connection>) {
        if connection.is_some() {
            self.backoff.reset();
        }
        self.state = connection.map_or(State::Away { from: 0 }, State::Ready);
    }

    /// Where to go after `error`.
    pub(super) fn redirected(&self, error: &[u8], settings: &UpstreamSettings) -> Way {
        match verdict(error) {
            Verdict::Never | Verdict::AfterWait => Way::Here,
            Verdict::AfterRefresh | Verdict::Ask { .. } => Way::Unknown,
            Verdict::Moved { to, .. } => {
                let host = to.host.map(str::to_owned).or_else(|| match &self.endpoint {
                    Endpoint::Tcp { host, .. } => Some(host.clone()),
                    Endpoint::Unix(_) => None,
                });
                host.map_or(Way::Unknown, |host| {
                    let announced = Endpoint::Tcp { host, port: to.port };
                    Way::Moved(reachable(&settings.address_map, announced))
                })
            }
        }
    }
}

impl Connection {
    async fn open(
        settings: &UpstreamSettings,
        endpoint: &Endpoint,
        upstream: usize,
        node: NodeId,
    ) -> Result<Self, Trouble> {
        let (access, version) = (Access::ReadWrite, Version::Resp2);
        let load = Load::Light;
        let fingerprint = Fingerprint { upstream, node, access, version, database: None, load };
        let connected = connect(settings, endpoint, fingerprint, Script::Dedicated).await?;
        let dialogue = Dialogue::with(connected, MAX_REPLY);
        let limit = settings.connect_timeout;
        timeout(limit, Self::load(dialogue)).await.map_err(|_| ConnectError::TimedOut(limit))?
    }

    async fn load(mut dialogue: Dialogue) -> Result<Self, Trouble> {
        let request = OwnedRequest::from_args(&["SCRIPT", "LOAD", LEASE]).ok_or(Trouble::Unreadable)?;
        dialogue.say(request.as_request().bytes()).await?;
        let reply = dialogue.hear().await?;
        if let Some(error) = reply.strip_prefix(b"-") {
            return Err(Trouble::refused(error));
        }
        let digest = script::digest(&reply).ok_or(Trouble::Unreadable)?;
        Ok(Self { dialogue, digest })
    }

    /// Asks, and reads all answers or gives the connection up.
    async fn ask(
        mut self,
        orders: Vec<Order>,
        limit: Duration,
    ) -> (Result<Self, Trouble>, Vec<(Order, Outcome)>) {
        let mut outcomes = Vec::with_capacity(orders.len());
        let exchanged = timeout(limit, self.exchange(&orders, &mut outcomes)).await;
        let kept = match exchanged {
            Ok(Ok(())) => Ok(self),
            Ok(Err(trouble)) => Err(trouble),
            Err(_) => Err(ConnectError::TimedOut(limit).into()),
        };
        let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(|| Outcome::Unanswered));
        (kept, orders.into_iter().zip(outcomes).collect())
    }

    async fn exchange(&mut self, orders: &[Order], outcomes: &mut Vec<Outcome>) -> Result<(), Trouble> {
        let requests: Vec<u8> =
            orders.iter().flat_map(|order| order.arguments.by_digest(&self.digest)).collect();
        self.dialogue.say(&requests).await?;
        for order in orders {
            let reply = self.dialogue.hear().await?;
            outcomes.push(outcome(order, &reply)?);
        }
        self.bring_script(orders, outcomes).await
    }

    /// A server that has forgotten the script is told it again.
    async fn bring_script(&mut self, orders: &[Order], outcomes: &mut [Outcome]) -> Result<(), Trouble> {
        for (order, outcome_of) in orders.iter().zip(outcomes) {
            if matches!(outcome_of, Outcome::Refused(error) if error.starts_with(b"NOSCRIPT")) {
                // From here on it may have run.
                *outcome_of = Outcome::Unanswered;
                self.dialogue.say(&order.arguments.with_script()).await?;
                *outcome_of = outcome(order, &self.dialogue.hear().await?)?;
            }
        }
        Ok(())
    }
}

fn outcome(order: &Order, reply: &[u8]) -> Result<Outcome, Trouble> {
    if let Some(error) = reply.strip_prefix(b"-") {
        return Ok(Outcome::Refused(error.trim_ascii_end().to_vec()));
    }
    let grants = script::grants(reply, order.leases.len());
    grants.map(Outcome::Granted).ok_or(Trouble::Unreadable)
}
