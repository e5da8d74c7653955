//! What each part of the program needs to know from its operator: plain values, already checked.
//!
//! `config` makes them, the parts take them; neither imports the other. Durations and sizes are within the
//! ranges that `config/reference.toml` gives; where a value must be in relation to another, the field says
//! so.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
    /// From sending a command to its reply.
    pub reply_timeout: Duration,
    /// Wait before the first attempt to reconnect; doubles from there.
    pub reconnect_min: Duration,
    /// Longest wait between two attempts, at least `reconnect_min`.
    pub reconnect_max: Duration,
    /// A connection nobody used for this long is closed.
    pub idle_timeout: Duration,
    /// Bytes that may wait to be sent on one connection before the sessions that use it are no longer read.
    pub max_queued: usize,
    /// Connections for sessions that block, watch, subscribe or track, over all workers.
    pub max_leases: usize,
    /// How long a session waits for one of them.
    pub lease_wait: Duration,
    /// Whether tenants may `RESTORE`.
    pub restore: Restore,
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
    /// Bytes of replies held for a client that does not read; beyond it the client is closed.
    pub max_output: usize,
    /// The same for a client that asked for pushes (Redis: `client-output-buffer-limit pubsub`).
    pub max_subscriber_output: usize,
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
