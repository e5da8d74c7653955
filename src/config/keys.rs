//! Every key of the configuration: name, kind, range, default, and what it is for.
//!
//! This table is what the configuration is read with and what `config/reference.toml` is written from, so
//! neither can know a key, a default or a range that the other does not. To add a key: a row here, a line in
//! `config/mod.rs` that reads it, and `config/reference.toml` anew (the test that compares them says how).

use super::hygiene;
use super::layers::DEFAULT_ADMIN;
use crate::tenant::compression::{LEAST_ABOVE, MAX_VALUE};

/// A section of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Keys outside any section.
    Top,
    /// `[[listener]]`
    Listener,
    /// `[admin]`
    Admin,
    /// `[upstream.NAME]`
    Upstream,
    /// `[upstream.NAME.breaker]`
    Breaker,
    /// `[upstream.NAME.class.CLASS]`
    UpstreamClass,
    /// `[upstream.NAME.retry]`
    UpstreamRetry,
    /// `[tenant.NAME]`
    Tenant,
    /// `[tenant.NAME.limits]`, and `[tenant.NAME.user.limits]` of the user before it
    Limits,
    /// `[tenant.NAME.limits.class.CLASS]`
    LimitClass,
    /// `[[tenant.NAME.user]]`
    User,
    /// `[fleet]`
    Fleet,
    /// `[downstream]`
    Downstream,
    /// `[start]`
    Start,
    /// `[log]`
    Log,
}

/// What a key's value is. Bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text, checked where it is used.
    Text,
    /// A list of texts.
    Texts,
    /// A whole number.
    Integer {
        /// Least value.
        least: u64,
        /// Largest value.
        most: u64,
    },
    /// A size.
    Size {
        /// Least value, in bytes.
        least: u64,
        /// Largest value, in bytes.
        most: u64,
    },
    /// A size, or a percentage of another.
    Amount {
        /// Least size, in bytes.
        least: u64,
        /// Largest size, in bytes.
        most: u64,
    },
    /// A duration.
    Duration {
        /// Shortest, in milliseconds.
        least: u64,
        /// Longest, in milliseconds.
        most: u64,
    },
    /// `true` or `false`.
    Truth,
    /// Something per second, and how much of it at once.
    Rate,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// What holds when a key is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This text, read like one that was written.
    Text(&'static str),
    /// This number.
    Integer(u64),
    /// This truth.
    Truth(bool),
    /// No value; what that means.
    Absent(&'static str),
    /// It must be written.
    Required,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it belongs.
    pub section: Section,
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What holds without it.
    pub fallback: Fallback,
    /// What stands in the reference where there is no default to show.
    pub example: &'static str,
    /// What it is for. A line break starts a new line in the reference.
    pub purpose: &'static str,
}

impl Section {
    /// All sections in the order of the reference.
    pub const ALL: &'static [Section] = &[
        Section::Top,
        Section::Listener,
        Section::Admin,
        Section::Upstream,
        Section::Breaker,
        Section::UpstreamClass,
        Section::UpstreamRetry,
        Section::Tenant,
        Section::Limits,
        Section::LimitClass,
        Section::User,
        Section::Fleet,
        Section::Downstream,
        Section::Start,
        Section::Log,
    ];

    /// How the reference heads it.
    pub fn header(self) -> &'static str {
        match self {
            Self::Top => "",
            Self::Listener => "[[listener]]",
            Self::Admin => "[admin]",
            Self::Upstream => "[upstream.main]",
            Self::Breaker => "[upstream.main.breaker]",
            Self::UpstreamClass => "[upstream.main.class.scan]",
            Self::UpstreamRetry => "[upstream.main.retry]",
            Self::Tenant => "[tenant.acme]",
            Self::Limits => "[tenant.acme.limits]",
            Self::LimitClass => "[tenant.acme.limits.class.keys]",
            Self::User => "[[tenant.acme.user]]",
            Self::Fleet => "[fleet]",
            Self::Downstream => "[downstream]",
            Self::Start => "[start]",
            Self::Log => "[log]",
        }
    }

    /// What the section is for.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Top => "",
            Self::Listener => {
                "Where clients connect; as many as wanted.\n\
                 Without any: one on 127.0.0.1:6380, for the tenant of --tenant."
            }
            Self::Admin => "Metrics and health, for the operator only: keep it off public networks.",
            Self::Upstream => {
                "A Redis: one node, a cluster, or a group that sentinels watch. The name is yours.\n\
                 Without any: one named 'main' at redis://127.0.0.1:6379, or where REDIS_URL or \
                 REDIS_HOST, REDIS_PORT,\n\
                 REDIS_USERNAME, REDIS_PASSWORD, REDIS_DB say."
            }
            Self::Breaker => {
                "When a node of the upstream is asked nothing, because it fails: its requests are answered at once, \
                 and one\nprobe at a time finds out whether it is well again."
            }
            Self::UpstreamClass => {
                "Commands whose replies may take another time than reply_timeout says. The name is an ACL category \
                 (read, write,\nscripting, …), a command, or scan: SSCAN, HSCAN and ZSCAN. Of several classes that \
                 have a command the smallest counts."
            }
            Self::UpstreamRetry => {
                "How many requests may be sent again because a node of a cluster, or of a group that sentinels watch, \
                 failed.\nWhat went to the wrong node (MOVED, ASK), and reads that the primary is asked because \
                 their\nreplica failed, do not count. When nothing is left, clients read the error at once."
            }
            Self::Tenant => {
                "A tenant; its name is made of a-z, 0-9, '_' and '-' (63 at most).\n\
                 No tenant's prefix may begin another's."
            }
            Self::Limits => {
                "What the tenant's connections may take together. A user has limits of its own in \
                 [tenant.acme.user.limits],\n\
                 behind its [[tenant.acme.user]] (TENANTRY_TENANT_ACME_USER_1_LIMITS_…).\n\
                 A rate is a number per second, with a second's worth at once, or says how much at once."
            }
            Self::LimitClass => {
                "Rates of some commands, besides those of all. A class is called after a category of Redis' ACL \
                 (write, scripting, …)\n\
                 or a command, or scan (SCAN and its kin); any other says which commands it has."
            }
            Self::User => {
                "Who may authenticate as the tenant (AUTH name password). Names are unique over all \
                 tenants:\n\
                 the user says which tenant a connection belongs to."
            }
            Self::Fleet => {
                "How limits with scope = \"fleet\" are shared: processes lease slices of one budget from a Redis, \
                 where it is a\nkey of its own (tenantry@fleet:…)."
            }
            Self::Downstream => "What clients may take of this process.",
            Self::Start => "What happens before the first client is accepted.",
            Self::Log => "What is written to standard error.",
        }
    }

    /// The names of its subsections.
    pub fn subsections(self) -> &'static [&'static str] {
        match self {
            Self::Top => &["listener", "admin", "upstream", "tenant", "fleet", "downstream", "start", "log"],
            Self::Tenant => &["user", "limits"],
            Self::User => &["limits"],
            Self::Limits => &["class"],
            Self::Upstream => &["breaker", "class", "retry"],
            Self::Listener
            | Self::Admin
            | Self::LimitClass
            | Self::Fleet
            | Self::Breaker
            | Self::UpstreamClass
            | Self::UpstreamRetry
            | Self::Downstream
            | Self::Start
            | Self::Log => &[],
        }
    }

    /// Its keys.
    pub fn keys(self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(move |key| key.section == self)
    }

    /// One of its keys.
    pub fn key(self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

/// What an amount of memory is when nobody says.
pub const AUTO: &str = "auto";

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Positions inside a request are 32 bit; the MiB below 4 GiB leaves room for headers.
pub(super) const LARGEST_REQUEST: u64 = 4095 * MIB;

/// The rows.
pub const KEYS: &[Key] = &[
    Key {
        section: Section::Top,
        name: "workers",
        kind: Kind::Integer { least: 1, most: 1024 },
        fallback: Fallback::Absent("one per core"),
        example: "4",
        purpose: "Threads that carry traffic. Each has its own connections to every upstream.",
    },
    Key {
        section: Section::Top,
        name: "databases",
        kind: Kind::Choice(&["virtual", "native"]),
        fallback: Fallback::Text("virtual"),
        example: "",
        purpose: "virtual: SELECT works everywhere; each database is a namespace of its own (acme: for 0, \
                  acme@1: for 1).\n\
                  native: the databases of the upstream, in each of which the tenant has its prefix;\n\
                  only with upstreams that have as many, which clusters have not.",
    },
    Key {
        section: Section::Top,
        name: "database_count",
        kind: Kind::Integer { least: 1, most: 1024 },
        fallback: Fallback::Integer(16),
        example: "",
        purpose: "Databases each tenant has; SELECT takes 0 to one less.",
    },
    Key {
        section: Section::Top,
        name: "cursor_secret",
        kind: Kind::Text,
        fallback: Fallback::Absent("made anew at each start"),
        example: "env:CURSOR_SECRET",
        purpose: "env:NAME or file:/path. Cursors of SCAN are encrypted with it, because their size would tell how \
                  many keys\nall tenants have. Set it where one client is served by several instances, or goes on \
                  scanning after a restart.",
    },
    Key {
        section: Section::Top,
        name: "slow_command",
        kind: Kind::Duration { least: 1, most: HOUR },
        fallback: Fallback::Text("10ms"),
        example: "",
        purpose: "A command that waits this long for the upstream goes to its tenant's SLOWLOG.",
    },
    Key {
        section: Section::Top,
        name: "max_memory",
        kind: Kind::Amount { least: 64 * MIB, most: TIB },
        fallback: Fallback::Text(AUTO),
        example: "",
        purpose: "Memory that the process may take; a percentage is one of what the control group or, without a limit \
                  there, the\nmachine has, and auto is 75%. From 80% of it on, new connections and requests of 16 KiB and more \
                  are refused\nand clients that hold much are not read; from 90% on every request is refused, and the \
                  clients that hold most are closed.",
    },
    Key {
        section: Section::Top,
        name: "max_client_memory",
        kind: Kind::Amount { least: MIB, most: TIB },
        fallback: Fallback::Absent("only max_memory counts"),
        example: "30%",
        purpose: "What requests and replies of all clients together may take (Redis: maxmemory-clients); a percentage is \
                  one of\nmax_memory. Beyond it, the clients that hold most are closed.",
    },
    Key {
        section: Section::Listener,
        name: "address",
        kind: Kind::Text,
        fallback: Fallback::Required,
        example: "127.0.0.1:6380",
        purpose: "IP address and port, or unix:/absolute/path.",
    },
    Key {
        section: Section::Listener,
        name: "tenant",
        kind: Kind::Text,
        fallback: Fallback::Absent("clients must authenticate as a user of a tenant"),
        example: "acme",
        purpose: "The tenant of all its connections, without credentials.",
    },
    Key {
        section: Section::Listener,
        name: "unix_mode",
        kind: Kind::Text,
        fallback: Fallback::Absent("what the umask leaves"),
        example: "0660",
        purpose: "File mode of a unix: socket, in octal.",
    },
    Key {
        section: Section::Admin,
        name: "enabled",
        kind: Kind::Truth,
        fallback: Fallback::Truth(true),
        example: "",
        purpose: "Whether there is an admin port.",
    },
    Key {
        section: Section::Admin,
        name: "address",
        kind: Kind::Text,
        fallback: Fallback::Text(DEFAULT_ADMIN),
        example: "",
        purpose: "IP address and port.",
    },
    Key {
        section: Section::Upstream,
        name: "url",
        kind: Kind::Text,
        fallback: Fallback::Required,
        example: "redis://127.0.0.1:6379",
        purpose: "redis://[user[:password]@]host[:port][/db], unix:///path[?db=N], or host:port: one node.\n\
                  redis+cluster://[user[:password]@]host[:port],…: some nodes of a cluster; the others are learned \
                  from them.\n\
                  redis+sentinel://[user[:password]@]host[:port],…/group[/db]: sentinels, and the name under which \
                  they\nwatch; user, password and database are those of the nodes.\n\
                  '/', '@', ':', '?' and '%' in user and password are percent-encoded.",
    },
    Key {
        section: Section::Upstream,
        name: "username",
        kind: Kind::Text,
        fallback: Fallback::Absent("the URL's, or Redis' default user"),
        example: "tenantry",
        purpose: "User to authenticate as; needs a password.",
    },
    Key {
        section: Section::Upstream,
        name: "password",
        kind: Kind::Text,
        fallback: Fallback::Absent("the URL's, or none"),
        example: "env:UPSTREAM_PASSWORD",
        purpose: "env:NAME or file:/path; goes before a password in the URL.",
    },
    Key {
        section: Section::Upstream,
        name: "sentinel_username",
        kind: Kind::Text,
        fallback: Fallback::Absent("Redis' default user"),
        example: "watcher",
        purpose: "User to authenticate as at the sentinels; needs sentinel_password.",
    },
    Key {
        section: Section::Upstream,
        name: "sentinel_password",
        kind: Kind::Text,
        fallback: Fallback::Absent("sentinels are told none"),
        example: "env:SENTINEL_PASSWORD",
        purpose: "env:NAME or file:/path. What the nodes are told is not told to the sentinels.",
    },
    Key {
        section: Section::Upstream,
        name: "address_map",
        kind: Kind::Texts,
        fallback: Fallback::Absent("nodes are where they say they are"),
        example: "10.0.0.1:6379=203.0.113.5:7001",
        purpose: "Where nodes are to be reached whose own addresses do not lead there (NAT, containers): what the \
                  cluster\nor the sentinels say, '=', and the address to connect to.",
    },
    Key {
        section: Section::Upstream,
        name: "topology_refresh",
        kind: Kind::Duration { least: SECOND, most: 24 * HOUR },
        fallback: Fallback::Text("30s"),
        example: "",
        purpose: "How often a cluster or the sentinels are asked for the nodes while nothing points to a change.",
    },
    Key {
        section: Section::Upstream,
        name: "topology_refresh_min",
        kind: Kind::Duration { least: 10, most: HOUR },
        fallback: Fallback::Text("1s"),
        example: "",
        purpose: "Shortest time between two such questions, however many redirections there are; not above \
                  topology_refresh.",
    },
    Key {
        section: Section::Upstream,
        name: "max_redirects",
        kind: Kind::Integer { least: 0, most: 16 },
        fallback: Fallback::Integer(5),
        example: "",
        purpose: "How often a request is sent again because its node was not the right one (MOVED, ASK) or not ready\n\
                  (TRYAGAIN, CLUSTERDOWN, LOADING, READONLY, MASTERDOWN); then the client gets the error.",
    },
    Key {
        section: Section::Upstream,
        name: "connect_timeout",
        kind: Kind::Duration { least: 1, most: 10 * MINUTE },
        fallback: Fallback::Text("2s"),
        example: "",
        purpose: "From the first packet to the end of the handshake.",
    },
    Key {
        section: Section::Upstream,
        name: "reply_timeout",
        kind: Kind::Duration { least: 1, most: HOUR },
        fallback: Fallback::Text("10s"),
        example: "",
        purpose: "From sending a command to its reply; then the connection is given up.",
    },
    Key {
        section: Section::UpstreamClass,
        name: "commands",
        kind: Kind::Text,
        fallback: Fallback::Absent("those that the section is named after"),
        example: "+@read -get +zunionstore",
        purpose: "Which commands, in the words of Redis' ACL, from none on.",
    },
    Key {
        section: Section::UpstreamClass,
        name: "reply_timeout",
        kind: Kind::Duration { least: 1, most: HOUR },
        fallback: Fallback::Absent("that of the upstream"),
        example: "30s",
        purpose: "From sending such a command to its reply; then the connection is given up, with all that it carries.\n\
                  Replies come in the order of the requests: the time of one begins when those before it have come.",
    },
    Key {
        section: Section::UpstreamRetry,
        name: "percent",
        kind: Kind::Integer { least: 0, most: 100 },
        fallback: Fallback::Integer(20),
        example: "",
        purpose: "For each hundred requests that were answered in the last ten seconds.",
    },
    Key {
        section: Section::UpstreamRetry,
        name: "minimum",
        kind: Kind::Integer { least: 0, most: 1_000_000 },
        fallback: Fallback::Integer(10),
        example: "",
        purpose: "For each of the last ten seconds, whatever was answered. 0, and percent = 0: none at all.",
    },
    Key {
        section: Section::Upstream,
        name: "reconnect_min",
        kind: Kind::Duration { least: 1, most: HOUR },
        fallback: Fallback::Text("50ms"),
        example: "",
        purpose: "Wait before the first attempt to reconnect; doubles with each further one, with jitter.",
    },
    Key {
        section: Section::Upstream,
        name: "reconnect_max",
        kind: Kind::Duration { least: 1, most: HOUR },
        fallback: Fallback::Text("2s"),
        example: "",
        purpose: "Longest such wait, at least reconnect_min.",
    },
    Key {
        section: Section::Upstream,
        name: "idle_timeout",
        kind: Kind::Duration { least: SECOND, most: 24 * HOUR },
        fallback: Fallback::Text("60s"),
        example: "",
        purpose: "A connection nobody used for this long is closed.",
    },
    Key {
        section: Section::Upstream,
        name: "window",
        kind: Kind::Integer { least: 1, most: 1_000_000 },
        fallback: Fallback::Integer(1024),
        example: "",
        purpose: "Requests that may be under way on one connection; beyond it, tenants take turns by their weight, and \
                  clients\nwhose turn it is not are not read. 4 KiB of request and expected reply count as one request \
                  more.",
    },
    Key {
        section: Section::Upstream,
        name: "max_leases",
        kind: Kind::Integer { least: 1, most: 65_000 },
        fallback: Fallback::Integer(1000),
        example: "",
        purpose: "Connections for clients that need one of their own (blocked, watching, subscribed, tracking), \
                  in all.\nThe upstream's maxclients must allow for them.",
    },
    Key {
        section: Section::Upstream,
        name: "lease_wait",
        kind: Kind::Duration { least: 1, most: HOUR },
        fallback: Fallback::Text("2s"),
        example: "",
        purpose: "How long a client waits for such a connection before its command is refused.",
    },
    Key {
        section: Section::Upstream,
        name: "restore",
        kind: Kind::Choice(&["checked", "always", "never"]),
        fallback: Fallback::Text("checked"),
        example: "",
        purpose: "Whether tenants may RESTORE. checked: if the upstream checks payloads (sanitize-dump-payload is \
                  clients or yes,\nwhich is asked when a connection is made): one that does not can be crashed by a \
                  forged payload.\nalways: whatever the upstream does, for tenants that you trust. never: not at all.",
    },
    Key {
        section: Section::Breaker,
        name: "enabled",
        kind: Kind::Truth,
        fallback: Fallback::Truth(true),
        example: "",
        purpose: "Whether breakers open by themselves. An operator can open one in any case (POST /breakers).",
    },
    Key {
        section: Section::Breaker,
        name: "consecutive_failures",
        kind: Kind::Integer { least: 0, most: 1_000_000 },
        fallback: Fallback::Integer(5),
        example: "",
        purpose: "Failures without a success in between that open it; 0: not counted. What counts is in docs/operations.md.",
    },
    Key {
        section: Section::Breaker,
        name: "failure_percent",
        kind: Kind::Integer { least: 0, most: 100 },
        fallback: Fallback::Integer(50),
        example: "",
        purpose: "Failures in a hundred requests of the window that open it; 0: not counted.",
    },
    Key {
        section: Section::Breaker,
        name: "slow_reply",
        kind: Kind::Duration { least: 1, most: HOUR },
        fallback: Fallback::Absent("no reply is too slow"),
        example: "500ms",
        purpose: "A reply that takes longer is slow; below reply_timeout.",
    },
    Key {
        section: Section::Breaker,
        name: "slow_percent",
        kind: Kind::Integer { least: 1, most: 100 },
        fallback: Fallback::Absent("50"),
        example: "50",
        purpose: "Slow replies in a hundred requests of the window that open it; only with slow_reply.",
    },
    Key {
        section: Section::Breaker,
        name: "min_requests",
        kind: Kind::Integer { least: 1, most: 1_000_000_000 },
        fallback: Fallback::Integer(20),
        example: "",
        purpose: "Requests in the window below which neither share says anything.",
    },
    Key {
        section: Section::Breaker,
        name: "window",
        kind: Kind::Duration { least: 100, most: HOUR },
        fallback: Fallback::Text("10s"),
        example: "",
        purpose: "How far back both shares look.",
    },
    Key {
        section: Section::Breaker,
        name: "open_for_min",
        kind: Kind::Duration { least: 10, most: HOUR },
        fallback: Fallback::Text("1s"),
        example: "",
        purpose: "For how long a node is asked nothing at first; doubles while probes fail, with jitter.",
    },
    Key {
        section: Section::Breaker,
        name: "open_for_max",
        kind: Kind::Duration { least: 10, most: HOUR },
        fallback: Fallback::Text("30s"),
        example: "",
        purpose: "Longest such time, at least open_for_min. A node that refuses, or is loading, is asked again within \
                  reconnect_max.",
    },
    Key {
        section: Section::Breaker,
        name: "close_after",
        kind: Kind::Integer { least: 1, most: 1_000 },
        fallback: Fallback::Integer(3),
        example: "",
        purpose: "Probes in a row that must be answered before everybody is let in again. There is one at a time.",
    },
    Key {
        section: Section::Breaker,
        name: "max_ejected_percent",
        kind: Kind::Integer { least: 1, most: 100 },
        fallback: Fallback::Integer(50),
        example: "",
        purpose: "Nodes of the upstream in a hundred that may be asked nothing at the same time; one always may, also the\n\
                  only one.",
    },
    Key {
        section: Section::Tenant,
        name: "prefix",
        kind: Kind::Text,
        fallback: Fallback::Absent("the tenant's name and ':'"),
        example: "acme:",
        purpose: "What each of its keys and channels begins with upstream. Printable ASCII without space \
                  and * ? [ ] \\ ^ { },\n\
                  ending with a separator such as ':'; a database's number goes before that.",
    },
    Key {
        section: Section::Tenant,
        name: "upstream",
        kind: Kind::Text,
        fallback: Fallback::Absent("the only one"),
        example: "main",
        purpose: "Where its keys live.",
    },
    Key {
        section: Section::Tenant,
        name: "cluster_persona",
        kind: Kind::Truth,
        fallback: Fallback::Truth(false),
        example: "",
        purpose: "true: CLUSTER commands answer as a cluster of one node, for clients that are configured for a \
                  cluster.\nfalse: as a standalone server.",
    },
    Key {
        section: Section::Tenant,
        name: "order",
        kind: Kind::Choice(&["strict", "relaxed"]),
        fallback: Fallback::Text("strict"),
        example: "",
        purpose: "How a client's pipelined requests for several nodes of a cluster are kept in order.\n\
                  strict: one for another node waits for those under way, unless all of them only read.\n\
                  relaxed: it does not; effects on one node are in order, effects on two may not be.",
    },
    Key {
        section: Section::Tenant,
        name: "read_from",
        kind: Kind::Choice(&["primary", "prefer-replica", "replica", "nearest"]),
        fallback: Fallback::Text("primary"),
        example: "",
        purpose: "Which nodes serve commands that only read; a replica may not know yet what was just written.\n\
                  prefer-replica: the primary if there is no replica. replica: nothing else.\n\
                  nearest: the node that answers fastest.",
    },
    Key {
        section: Section::Tenant,
        name: "on_unavailable",
        kind: Kind::Choice(&["error", "nil"]),
        fallback: Fallback::Text("error"),
        example: "",
        purpose: "What commands that only read are answered while the upstream is not there.\n\
                  error: that it is not. nil: what Redis answers when there is no such key, as a cache that misses; \
                  writes,\ntransactions, blocking commands and walks get the error all the same (docs/commands.md).",
    },
    Key {
        section: Section::Tenant,
        name: "weight",
        kind: Kind::Integer { least: 1, most: 1000 },
        fallback: Fallback::Integer(1),
        example: "",
        purpose: "How often it has its turn where tenants wait for a node that has enough to do, beside the others' \
                  weights.",
    },
    Key {
        section: Section::Tenant,
        name: "colocate",
        kind: Kind::Truth,
        fallback: Fallback::Truth(false),
        example: "",
        purpose: "true: all its keys are in one slot of a cluster, by a hash tag in their prefix ({acme}: for acme:), so \
                  every\ncommand with several keys, transaction and script works, and one shard has all of it. Keys \
                  written before\nkeep their old names and are not found any more.",
    },
    hygiene::COMMANDS,
    hygiene::READ_ONLY,
    hygiene::MAX_ARGUMENTS,
    hygiene::MAX_KEY_SIZE,
    hygiene::MAX_VALUE_SIZE,
    hygiene::DEFAULT_TTL,
    hygiene::MAX_TTL,
    Key {
        section: Section::Tenant,
        name: "compression",
        kind: Kind::Choice(&["off", "read", "lz4"]),
        fallback: Fallback::Text("off"),
        example: "",
        purpose: "lz4: string values above compress_above are stored compressed if that makes them shorter, and are read as \
                  they\nwere written. Commands that look into such values (APPEND, GETRANGE, STRLEN, SETBIT, …) are \
                  refused.\nread: those that are compressed are read, none is any more. First of all set every \
                  instance to this, and again\nfor as long as compressed values are left: with off they are shown as \
                  they are stored.",
    },
    Key {
        section: Section::Tenant,
        name: "compress_above",
        kind: Kind::Size { least: LEAST_ABOVE as u64, most: MAX_VALUE as u64 },
        fallback: Fallback::Text("1KiB"),
        example: "",
        purpose: "Values up to this length, and those above 1MiB, stay as they are.",
    },
    Key {
        section: Section::Limits,
        name: "requests_per_second",
        kind: Kind::Rate,
        fallback: Fallback::Absent("no limit"),
        example: "{ rate = 1000, burst = 100 }",
        purpose: "Requests of clients.",
    },
    Key {
        section: Section::Limits,
        name: "request_bytes_per_second",
        kind: Kind::Rate,
        fallback: Fallback::Absent("no limit"),
        example: "{ rate = 10485760, burst = 20971520 }",
        purpose: "Bytes of requests, as clients send them.",
    },
    Key {
        section: Section::Limits,
        name: "reply_bytes_per_second",
        kind: Kind::Rate,
        fallback: Fallback::Absent("no limit"),
        example: "{ rate = 104857600, burst = 104857600 }",
        purpose: "Bytes of replies, known only afterwards: after a large one, requests are refused until it is paid for\n(a minute at most).",
    },
    Key {
        section: Section::Limits,
        name: "connections",
        kind: Kind::Integer { least: 1, most: 1_000_000 },
        fallback: Fallback::Absent("downstream.max_connections, which all tenants share"),
        example: "100",
        purpose: "Connections at a time.",
    },
    Key {
        section: Section::Limits,
        name: "in_flight",
        kind: Kind::Integer { least: 1, most: 1_000_000 },
        fallback: Fallback::Absent("no limit"),
        example: "1000",
        purpose: "Requests at a time that have not been answered.",
    },
    Key {
        section: Section::Limits,
        name: "on_exceed",
        kind: Kind::Choice(&["reject", "delay"]),
        fallback: Fallback::Text("reject"),
        example: "",
        purpose: "reject: a request beyond a rate is refused (RATELIMITED).\n\
                  delay: it waits, and its connection with it, and is refused if max_delay would not do.",
    },
    Key {
        section: Section::Limits,
        name: "max_delay",
        kind: Kind::Duration { least: 1, most: MINUTE },
        fallback: Fallback::Absent("1s"),
        example: "250ms",
        purpose: "The longest that a request waits.",
    },
    Key {
        section: Section::Limits,
        name: "dry_run",
        kind: Kind::Truth,
        fallback: Fallback::Truth(false),
        example: "",
        purpose: "Whether what exceeds a limit is only counted.",
    },
    Key {
        section: Section::Limits,
        name: "scope",
        kind: Kind::Choice(&["process", "fleet"]),
        fallback: Fallback::Text("process"),
        example: "",
        purpose: "Who shares the rates. process: the workers of this process. fleet: all processes that are configured \
                  so.",
    },
    Key {
        section: Section::LimitClass,
        name: "commands",
        kind: Kind::Text,
        fallback: Fallback::Absent("those of the category or command that the class is called after"),
        example: "+keys +@scripting",
        purpose: "The commands, as in a rule of Redis' ACL: +get, +config|get, +@write, -@fast; one after the other.",
    },
    Key {
        section: Section::LimitClass,
        name: "requests_per_second",
        kind: Kind::Rate,
        fallback: Fallback::Absent("no limit"),
        example: "10",
        purpose: "As in limits, of these commands.",
    },
    Key {
        section: Section::LimitClass,
        name: "request_bytes_per_second",
        kind: Kind::Rate,
        fallback: Fallback::Absent("no limit"),
        example: "{ rate = 10485760, burst = 20971520 }",
        purpose: "As in limits, of these commands.",
    },
    Key {
        section: Section::LimitClass,
        name: "reply_bytes_per_second",
        kind: Kind::Rate,
        fallback: Fallback::Absent("no limit"),
        example: "{ rate = 104857600, burst = 104857600 }",
        purpose: "As in limits, of these commands.",
    },
    Key {
        section: Section::User,
        name: "name",
        kind: Kind::Text,
        fallback: Fallback::Required,
        example: "acme",
        purpose: "The user's name. A user named 'default' may also use AUTH with the password alone.",
    },
    Key {
        section: Section::User,
        name: "secrets",
        kind: Kind::Texts,
        fallback: Fallback::Required,
        example: "sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c",
        purpose: "Passwords, any of which is accepted (two at once while one is rotated out): \
                  \"sha256:<64 hexadecimal digits>\",\n\
                  \"env:NAME\", \"file:/path\". A digest is made with: printf %s 'the password' | \
                  sha256sum",
    },
    Key {
        section: Section::User,
        name: "prefix",
        kind: Kind::Text,
        fallback: Fallback::Absent("the tenant's whole namespace"),
        example: "session:",
        purpose: "A feature: a further prefix inside the tenant's. Then no user or listener may have the \
                  tenant without one.",
    },
    Key {
        section: Section::User,
        name: "database",
        kind: Kind::Integer { least: 0, most: 1023 },
        fallback: Fallback::Integer(0),
        example: "",
        purpose: "The database its connections start in.",
    },
    hygiene::COMMANDS.of_user(),
    hygiene::READ_ONLY.of_user(),
    hygiene::MAX_ARGUMENTS.of_user(),
    hygiene::MAX_KEY_SIZE.of_user(),
    hygiene::MAX_VALUE_SIZE.of_user(),
    hygiene::DEFAULT_TTL.of_user(),
    hygiene::MAX_TTL.of_user(),
    Key {
        section: Section::User,
        name: "compression",
        kind: Kind::Choice(&["off", "read", "lz4"]),
        fallback: Fallback::Absent("the tenant's"),
        example: "lz4",
        purpose: "The same for this user's connections. Whoever has the same keys reads what this user has compressed.",
    },
    Key {
        section: Section::User,
        name: "compress_above",
        kind: Kind::Size { least: LEAST_ABOVE as u64, most: MAX_VALUE as u64 },
        fallback: Fallback::Absent("the tenant's"),
        example: "1KiB",
        purpose: "The same for this user's connections.",
    },
    Key {
        section: Section::Fleet,
        name: "upstream",
        kind: Kind::Text,
        fallback: Fallback::Absent("each tenant's own upstream"),
        example: "main",
        purpose: "The upstream that keeps the budgets of all tenants. The proxy's user there needs EVAL, EVALSHA, \
                  SCRIPT LOAD, TIME,\nHMGET, HMSET and PEXPIRE for the keys tenantry@fleet:*.",
    },
    Key {
        section: Section::Fleet,
        name: "interval",
        kind: Kind::Duration { least: 20, most: SECOND },
        fallback: Fallback::Text("100ms"),
        example: "",
        purpose: "How often each process asks for another slice: twice as often while there is less than is wanted, not at \
                  all while\nit is idle. What the fleet grants too much or too little when its load moves comes in \
                  this time.",
    },
    Key {
        section: Section::Downstream,
        name: "max_connections",
        kind: Kind::Integer { least: 1, most: 1_000_000 },
        fallback: Fallback::Integer(10_000),
        example: "",
        purpose: "Client connections at a time, over all listeners.",
    },
    Key {
        section: Section::Downstream,
        name: "max_request",
        kind: Kind::Size { least: 16 * KIB, most: LARGEST_REQUEST },
        fallback: Fallback::Text("1GiB"),
        example: "",
        purpose: "Bytes of one request (Redis: client-query-buffer-limit).",
    },
    Key {
        section: Section::Downstream,
        name: "max_bulk",
        kind: Kind::Size { least: KIB, most: LARGEST_REQUEST },
        fallback: Fallback::Text("512MiB"),
        example: "",
        purpose: "Bytes of one argument, and of a key with its prefix (Redis: proto-max-bulk-len). Not \
                  above max_request,\n\
                  and not above the upstream's proto-max-bulk-len.",
    },
    Key {
        section: Section::Downstream,
        name: "max_output",
        kind: Kind::Size { least: 16 * KIB, most: TIB },
        fallback: Fallback::Text("1GiB"),
        example: "",
        purpose: "Bytes of replies held for a client that does not read them; beyond it the client is \
                  closed\n(Redis: client-output-buffer-limit normal).",
    },
    Key {
        section: Section::Downstream,
        name: "max_output_soft",
        kind: Kind::Size { least: 16 * KIB, most: TIB },
        fallback: Fallback::Absent("no such limit"),
        example: "64MiB",
        purpose: "Bytes beyond which it is closed as well if it stays beyond them for max_output_soft_for. Not above \
                  max_output.",
    },
    Key {
        section: Section::Downstream,
        name: "max_output_soft_for",
        kind: Kind::Duration { least: 1, most: HOUR },
        fallback: Fallback::Text("60s"),
        example: "",
        purpose: "How long that is.",
    },
    Key {
        section: Section::Downstream,
        name: "max_subscriber_output",
        kind: Kind::Size { least: 16 * KIB, most: TIB },
        fallback: Fallback::Text("32MiB"),
        example: "",
        purpose: "The same for a client that is subscribed, tracks keys or monitors (Redis: \
                  client-output-buffer-limit pubsub).",
    },
    Key {
        section: Section::Downstream,
        name: "max_subscriber_output_soft",
        kind: Kind::Size { least: 16 * KIB, most: TIB },
        fallback: Fallback::Absent("8MiB, or max_subscriber_output if that is less"),
        example: "8MiB",
        purpose: "Bytes beyond which it is closed as well if it stays beyond them for max_subscriber_output_soft_for. \
                  Not above\nmax_subscriber_output.",
    },
    Key {
        section: Section::Downstream,
        name: "max_subscriber_output_soft_for",
        kind: Kind::Duration { least: 1, most: HOUR },
        fallback: Fallback::Text("60s"),
        example: "",
        purpose: "How long that is.",
    },
    Key {
        section: Section::Downstream,
        name: "max_pipeline",
        kind: Kind::Integer { least: 1, most: 1_000_000 },
        fallback: Fallback::Integer(10_000),
        example: "",
        purpose: "Replies owed to one client before it is no longer read.",
    },
    Key {
        section: Section::Start,
        name: "wait_for_upstream",
        kind: Kind::Truth,
        fallback: Fallback::Truth(false),
        example: "",
        purpose: "true: listeners open only once every upstream has answered.",
    },
    Key {
        section: Section::Log,
        name: "format",
        kind: Kind::Choice(&["pretty", "json"]),
        fallback: Fallback::Text("pretty"),
        example: "",
        purpose: "For people, or one JSON object per line.",
    },
    Key {
        section: Section::Log,
        name: "level",
        kind: Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        fallback: Fallback::Text("info"),
        example: "",
        purpose: "The least important level that is written. Keys and values appear at debug and below \
                  only.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_can_be_taken_for_a_service_link() {
        // An orchestrator sets TENANTRY_PORT and the like for a service of that name; those are ignored.
        for key in KEYS {
            assert!(!key.name.contains("port") && !key.name.contains("service"), "{}", key.name);
        }
    }

    #[test]
    fn a_key_without_default_has_an_example() {
        for key in KEYS {
            let needs_example = matches!(key.fallback, Fallback::Absent(_) | Fallback::Required);
            assert_eq!(needs_example, !key.example.is_empty(), "{}", key.name);
        }
    }

    #[test]
    fn names_are_unique_in_a_section() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(
                !KEYS[..at].iter().any(|other| other.section == key.section && other.name == key.name),
                "{key:?}"
            );
        }
    }
}
