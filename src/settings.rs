//! What each part of the program needs to know from its operator: plain values, already checked.
//!
//! `config` makes them, the parts take them; neither imports the other. Durations and sizes are within the
//! ranges that `config/reference.toml` gives; where a value must be in relation to another, the field says
//! so.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::policy::breaker::Thresholds;
use crate::tenant::prefix::TenantName;

/// Where a listener waits for clients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// A TCP port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket at this absolute path.
    Unix(PathBuf),
}

/// As it is written in the configuration.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Where it listens.
    pub address: Address,
    /// The tenant its connections belong to without credentials; `None`: they must authenticate.
    pub tenant: Option<TenantName>,
    /// File mode of a Unix socket; `None`: what the process' umask leaves.
    pub unix_mode: Option<u32>,
}

/// The admin port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it listens.
    pub address: SocketAddr,
}

/// Where a Redis node is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// Host name or address (IPv6 without brackets), resolved at each connect.
    Tcp {
        /// The host.
        host: String,
        /// The port, not 0.
        port: u16,
    },
    /// A Unix socket at this absolute path.
    Unix(PathBuf),
}

/// `host:port`, `[::1]:port` or `unix:/path`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A password the upstream must be told in clear. `Debug` shows `***`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Password(String);

impl Password {
    /// Takes it over from where it was configured.
    pub fn new(clear: String) -> Self {
        Self(clear)
    }

    /// The password itself: only for the handshake.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Whether tenants may `RESTORE`: the server decodes what they send, and one that does not check it first can be
/// crashed by a forged payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restore {
    /// If the upstream checks payloads.
    Checked,
    /// Whatever the upstream does.
    Always,
    /// Not at all.
    Never,
}

impl Restore {
    /// Whether tenants may not `RESTORE`.
    pub fn is_never(self) -> bool {
        self == Self::Never
    }
}

/// How the nodes of an upstream are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// It is this one node.
    Node(Endpoint),
    /// They are those of a cluster, of which these are some.
    Cluster {
        /// At least one.
        seeds: Vec<Endpoint>,
    },
    /// Sentinels know which node is the primary.
    Sentinel(SentinelSettings),
}

impl Deployment {
    /// Whether this is one node, now and for ever.
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Node(_))
    }
}

/// The one node, the seeds, or the sentinels.
impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = match self {
            Self::Node(endpoint) => std::slice::from_ref(endpoint),
            Self::Cluster { seeds } => seeds,
            Self::Sentinel(sentinel) => &sentinel.sentinels,
        };
        for (at, endpoint) in asked.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{endpoint}")?;
        }
        Ok(())
    }
}

/// Who knows the primary of a group that sentinels watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelSettings {
    /// At least one.
    pub sentinels: Vec<Endpoint>,
    /// The name under which they watch the group.
    pub group: String,
    /// User to authenticate as at the sentinels; never without `password`.
    pub username: Option<String>,
    /// `None`: do not authenticate at the sentinels.
    pub password: Option<Password>,
}

/// When a node is not asked because of how it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// What opens and closes a breaker.
    pub thresholds: Thresholds,
    /// From how many microseconds on a reply is slow; `u32::MAX`: it is not looked at.
    pub slow_micros: u32,
    /// How many of an upstream's nodes may be refused at a time, in a hundred; one always may.
    pub max_ejected_percent: u8,
}

impl BreakerSettings {
    /// No breaker opens by itself.
    pub const OFF: Self = Self {
        thresholds: Thresholds {
            consecutive: 0,
            failure_percent: 0,
            slow_percent: 0,
            min_requests: 1,
            window: 10_000,
            open_min: 1_000,
            open_max: 30_000,
            close_after: 1,
            probe_limit: 10_000,
        },
        slow_micros: u32::MAX,
        max_ejected_percent: 0,
    };
}

/// When it is asked which nodes an upstream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopologySettings {
    /// Longest time between two refreshes.
    pub refresh_every: Duration,
    /// Shortest time between two refreshes, however many redirections there are.
    pub refresh_min: Duration,
}

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Its name in the configuration.
    pub name: String,
    /// What it is made of.
    pub deployment: Deployment,
    /// Addresses that nodes announce, and where they are to be reached instead.
    pub address_map: Vec<(Endpoint, Endpoint)>,
    /// When it is asked for its nodes.
    pub topology: TopologySettings,
    /// Whether it is measured how fast each node answers.
    pub measures_nodes: bool,
    /// How often one request may be sent again because its node was not the right one, or not ready.
    pub max_redirects: u8,
    /// User to authenticate as; never without `password`.
    pub username: Option<String>,
    /// `None`: do not authenticate.
    pub password: Option<Password>,
    /// The upstream database that holds everything.
    pub database: u32,
    /// From the first packet to the end of the handshake.
    pub connect_timeout: Duration,
    /// From sending a command to its reply, unless it is of a class.
    pub reply_timeout: Duration,
    /// The same, by class of command.
    pub class_timeouts: ClassTimeouts,
    /// How many requests may be sent again.
    pub retry: RetrySettings,
    /// Wait before the first attempt to reconnect; doubles from there.
    pub reconnect_min: Duration,
    /// Longest wait between two attempts, at least `reconnect_min`.
    pub reconnect_max: Duration,
    /// A connection nobody used for this long is closed.
    pub idle_timeout: Duration,
    /// Requests that may be under way on one connection before tenants take turns; what is large counts as several.
    pub window: u32,
    /// Connections for sessions that block, watch, subscribe or track, over all workers.
    pub max_leases: usize,
    /// How long a session waits for one of them.
    pub lease_wait: Duration,
    /// Whether tenants may `RESTORE`.
    pub restore: Restore,
    /// When a node is not asked.
    pub breaker: BreakerSettings,
}

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// So much of what there is, 1 to 100.
    Percent(u8),
}

/// How much memory the process may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemorySettings {
    /// All of it; a percentage is one of what the control group or the machine has. `None`: three quarters of that.
    pub process: Option<Amount>,
    /// What the requests and replies of all clients take (Redis: `maxmemory-clients`); a percentage is one of
    /// `process`. `None`: no bound of their own.
    pub clients: Option<Amount>,
}

/// How much one client may leave unread (Redis: `client-output-buffer-limit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes beyond which it is closed at once.
    pub hard: usize,
    /// Bytes, not above `hard`, beyond which it may not stay for longer than `soft_for`.
    pub soft: Option<usize>,
    /// See `soft`.
    pub soft_for: Duration,
}

impl UpstreamSettings {
    /// How long the reply to a command of the table may take; of what is none, as long as usual.
    pub fn reply_timeout_of(&self, command: u16) -> Duration {
        self.class_timeouts.of(command).unwrap_or(self.reply_timeout)
    }

    /// The shortest that any reply may take.
    pub fn shortest_reply_timeout(&self) -> Duration {
        self.class_timeouts.shortest().map_or(self.reply_timeout, |shortest| shortest.min(self.reply_timeout))
    }
}

/// How long replies may take where that is not as long as usual, by position of the command in its table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassTimeouts {
    by_command: Box<[Option<Duration>]>,
    shortest: Option<Duration>,
}

impl ClassTimeouts {
    /// Those of the commands in the order of their table.
    pub fn new(by_command: impl IntoIterator<Item = Option<Duration>>) -> Self {
        let by_command: Box<[_]> = by_command.into_iter().collect();
        let shortest = by_command.iter().flatten().min().copied();
        Self { by_command, shortest }
    }

    fn of(&self, command: u16) -> Option<Duration> {
        self.by_command.get(usize::from(command)).copied().flatten()
    }

    fn shortest(&self) -> Option<Duration> {
        self.shortest
    }
}

/// How many requests may be sent again because their node failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// For each hundred that were answered; 0 to 100.
    pub percent: u32,
    /// For each second, whatever was answered.
    pub minimum: u32,
}

/// What one client, and all of them together, may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownstreamLimits {
    /// Client connections at a time, over all listeners and workers.
    pub max_connections: usize,
    /// Bytes of one request that is not complete yet (Redis: `client-query-buffer-limit`). Below 4 GiB.
    pub max_request: usize,
    /// Bytes of one argument, and of a key with its prefix (Redis: `proto-max-bulk-len`). At most
    /// `max_request`.
    pub max_bulk: usize,
    /// Replies held for a client that does not read; beyond it the client is closed.
    pub output: OutputLimit,
    /// The same for a client that asked for pushes (Redis: `client-output-buffer-limit pubsub`).
    pub subscriber_output: OutputLimit,
    /// Replies owed to one client before it is no longer read.
    pub max_pipeline: usize,
}

/// What answers about a tenant's own part of the server need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopedSettings {
    /// What cursors of `SCAN` are encrypted with; `None`: something new at each start.
    pub cursor_secret: Option<Password>,
    /// A command that waits this long for the upstream goes to its tenant's `SLOWLOG`.
    pub slow_command: Duration,
}

/// How processes share budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetSettings {
    /// The upstream that keeps them, by its position in the configuration; `None`: each tenant's own.
    pub upstream: Option<usize>,
    /// Between two regular asks for another slice.
    pub interval: Duration,
}

/// What happens before the first client is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartSettings {
    /// Whether the listeners open only once every upstream has answered.
    pub wait_for_upstream: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: tracing::Level,
}
