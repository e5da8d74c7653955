//! The one table of everything that is measured: name, kind, labels, description.
//!
//! The `# HELP` lines, the recorder's descriptions and `docs/metrics.md` all come from here, so a metric
//! cannot exist without its documentation. Names start with `tenantry_` (those of the operating system's
//! process with `process_`, as Prometheus' own clients spell them), units are base units, counters end in
//! `_total`. A label is one of [`Label`]: a name from the configuration, a command of the table, or a closed
//! set; never a key, a user or an address.

use super::label::{
    BreakerPhase, Direction, ErrorCode, FailurePhase, LeaseReason, LimitAction, LimitKind, LossOutcome,
    NodeRole, Overrun, ResendCause, RetryVerdict, Shed, UpstreamState,
};

/// What the value of a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from zero at start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, a sum and a count; each only grows.
    Histogram,
}

impl Kind {
    /// The word of the `# TYPE` line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a metric is split by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A tenant of the configuration, or `-` while a connection has none.
    Tenant,
    /// A command of the table, or `-` for an unknown one.
    Cmd,
    /// An upstream of the configuration.
    Upstream,
    /// An [`ErrorCode`].
    Err,
    /// A [`Direction`].
    Direction,
    /// An [`UpstreamState`].
    State,
    /// A [`FailurePhase`].
    Phase,
    /// A [`LossOutcome`].
    Outcome,
    /// A [`LeaseReason`].
    Reason,
    /// A [`ResendCause`].
    Cause,
    /// A [`RetryVerdict`].
    Verdict,
    /// A [`NodeRole`].
    Role,
    /// A [`LimitKind`].
    Limit,
    /// A [`LimitAction`].
    Action,
    /// A [`BreakerPhase`].
    Breaker,
    /// An [`Overrun`].
    Bound,
    /// A [`Shed`].
    What,
    /// The version of this program.
    Version,
}

impl Label {
    const ALL: [Self; 18] = [
        Self::Tenant,
        Self::Cmd,
        Self::Upstream,
        Self::Err,
        Self::Direction,
        Self::State,
        Self::Phase,
        Self::Outcome,
        Self::Reason,
        Self::Cause,
        Self::Verdict,
        Self::Role,
        Self::Limit,
        Self::Action,
        Self::Breaker,
        Self::Bound,
        Self::What,
        Self::Version,
    ];

    /// The label's name in the exposition.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Cmd => "cmd",
            Self::Upstream => "upstream",
            Self::Err => "err",
            Self::Direction => "direction",
            Self::State => "state",
            Self::Phase => "phase",
            Self::Outcome => "outcome",
            Self::Reason => "reason",
            Self::Cause => "cause",
            Self::Verdict => "verdict",
            Self::Role => "role",
            Self::Limit => "limit",
            Self::Action => "action",
            Self::Breaker => "breaker",
            Self::Bound => "bound",
            Self::What => "what",
            Self::Version => "version",
        }
    }

    /// For the reference: which values it can have.
    fn values(self) -> String {
        match self {
            Self::Tenant => "tenants of the configuration; `-` while a connection belongs to none".to_owned(),
            Self::Cmd => {
                "commands of the table, lower case, subcommands as `config\\|get`; `-` for unknown ones"
                    .to_owned()
            }
            Self::Upstream => "upstreams of the configuration".to_owned(),
            Self::Err => listed(ErrorCode::ALL.iter().map(|value| value.label())),
            Self::Direction => listed(Direction::ALL.iter().map(|value| value.label())),
            Self::State => listed(UpstreamState::ALL.iter().map(|value| value.label())),
            Self::Phase => listed(FailurePhase::ALL.iter().map(|value| value.label())),
            Self::Outcome => listed(LossOutcome::ALL.iter().map(|value| value.label())),
            Self::Reason => listed(LeaseReason::ALL.iter().map(|value| value.label())),
            Self::Cause => listed(ResendCause::ALL.iter().map(|value| value.label())),
            Self::Verdict => listed(RetryVerdict::ALL.iter().map(|value| value.label())),
            Self::Role => listed(NodeRole::ALL.iter().map(|value| value.label())),
            Self::Limit => listed(LimitKind::ALL.iter().map(|value| value.label())),
            Self::Action => listed(LimitAction::ALL.iter().map(|value| value.label())),
            Self::Breaker => listed(BreakerPhase::ALL.iter().map(|value| value.label())),
            Self::Bound => listed(Overrun::ALL.iter().map(|value| value.label())),
            Self::What => listed(Shed::ALL.iter().map(|value| value.label())),
            Self::Version => "the version of this program".to_owned(),
        }
    }
}

fn listed(values: impl Iterator<Item = &'static str>) -> String {
    values.map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
}

/// One metric: all series that share a name.
#[derive(Debug)]
pub struct Family {
    /// Full name, unit and `_total` included.
    pub name: &'static str,
    /// What its value does.
    pub kind: Kind,
    /// What it is split by, in the order of the exposition; at most three.
    pub labels: &'static [Label],
    /// One sentence for the `# HELP` line and the reference.
    pub description: &'static str,
}

/// Writes the table: one static per metric, and all of them in `ALL`.
macro_rules! families {
    ($($ident:ident = $kind:ident $name:literal [$($label:ident),*] $description:literal;)+) => {
        $(
            #[doc = $description]
            pub static $ident: Family = Family {
                name: $name,
                kind: Kind::$kind,
                labels: &[$(Label::$label),*],
                description: $description,
            };
        )+

        /// Every metric, in the order of the reference.
        pub static ALL: &[&Family] = &[$(&$ident,)+];
    };
}

families! {
    COMMANDS = Counter "tenantry_commands_total" [Tenant, Cmd]
        "Requests read from clients, whether forwarded, answered by the proxy or refused.";
    ERROR_REPLIES = Counter "tenantry_error_replies_total" [Tenant, Err]
        "Error replies given to clients, from Redis or from the proxy, by their first word.";
    BYTES = Counter "tenantry_bytes_total" [Tenant, Direction]
        "Bytes read from and written to clients (downstream) and Redis (upstream).";
    CLIENT_SECONDS = Histogram "tenantry_client_seconds" [Tenant]
        "Time of a request as its client sees it: request read to reply handed to the client's socket.";
    UPSTREAM_SECONDS = Histogram "tenantry_upstream_seconds" [Tenant]
        "Time of a request at the upstream: flushed to reply read; without requests that the proxy answers.";
    PROXY_SECONDS = Histogram "tenantry_proxy_seconds" [Tenant]
        "Time that the proxy added: client-seen time minus upstream time.";
    DEGRADED_REPLIES = Counter "tenantry_degraded_replies_total" [Tenant]
        "Reads that were answered as if there were no such key, because the upstream was not there and their tenant wants that.";
    TENANT_VIOLATIONS = Counter "tenantry_tenant_violations_total" [Tenant]
        "Requests or replies found outside their tenant and stopped; must stay 0, alert on any other value.";
    LIMITED_REQUESTS = Counter "tenantry_limited_requests_total" [Tenant, Limit, Action]
        "Requests that met a limit of their tenant or user, by what was done about them; connections likewise.";
    LIMIT_DELAY_SECONDS = Histogram "tenantry_limit_delay_seconds" [Tenant]
        "Time that requests had to wait because they exceeded a rate.";
    COMPRESSION_INPUT = Counter "tenantry_compression_input_bytes_total" [Tenant]
        "Bytes of the values that were stored compressed, as clients wrote them.";
    COMPRESSION_OUTPUT = Counter "tenantry_compression_output_bytes_total" [Tenant]
        "Bytes of the same values as they were sent to Redis.";
    CONNECTIONS = Gauge "tenantry_connections" [Tenant]
        "Open client connections.";
    CONNECTION_LIMIT = Gauge "tenantry_connection_limit" [Tenant]
        "Connections that the tenant may have at a time; only of tenants that have such a limit.";
    CONNECTIONS_OPENED = Counter "tenantry_connections_opened_total" []
        "Client connections accepted.";
    CONNECTIONS_REFUSED = Counter "tenantry_connections_refused_total" []
        "Client connections turned away at once, by a limit.";
    AUTHENTICATION_FAILURES = Counter "tenantry_authentication_failures_total" []
        "AUTH or HELLO with a wrong user or password.";
    PROTOCOL_ERRORS = Counter "tenantry_protocol_errors_total" []
        "Client connections closed because they sent bytes that are not RESP.";
    UPSTREAM_UP = Gauge "tenantry_upstream_up" [Upstream]
        "1 if any primary of the upstream can be reached as far as is known, else 0.";
    UPSTREAM_PRIMARIES_AWAY = Gauge "tenantry_upstream_primaries_away" [Upstream]
        "Primaries of the upstream that cannot be reached; their part of the keys is not served.";
    UPSTREAM_CONNECTIONS = Gauge "tenantry_upstream_connections" [Upstream, State]
        "Connections to the upstream by what they are doing.";
    UPSTREAM_CONNECTS = Counter "tenantry_upstream_connects_total" [Upstream]
        "Connections to the upstream that finished their handshake.";
    UPSTREAM_FAILURES = Counter "tenantry_upstream_failures_total" [Upstream, Phase]
        "Connections to the upstream, or attempts at one, that ended by a failure.";
    UPSTREAM_LOST = Counter "tenantry_upstream_requests_lost_total" [Upstream, Outcome]
        "Requests lost with a connection to the upstream. Their clients got an error that says the outcome, unless they were sent again.";
    UPSTREAM_RESENT = Counter "tenantry_upstream_requests_resent_total" [Upstream, Cause]
        "Requests sent again because their node was not the right one, not ready, or lost before it could run them.";
    UPSTREAM_RETRIES = Counter "tenantry_upstream_retries_total" [Upstream, Verdict]
        "Requests that were to be sent again after a pause because their node failed, by whether the retry budget had one left.";
    UPSTREAM_RETRIES_LEFT = Gauge "tenantry_upstream_retries_left" [Upstream]
        "Requests that may be sent again within the upstream's retry budget; only for upstreams that are not one node.";
    TOPOLOGY_REFRESHES = Counter "tenantry_topology_refreshes_total" [Upstream]
        "Times that somebody was asked which nodes a cluster or a group of sentinels has.";
    TOPOLOGY_CHANGES = Counter "tenantry_topology_changes_total" [Upstream]
        "Times that the answer was another one than before.";
    TOPOLOGY_AGE = Gauge "tenantry_topology_age_seconds" [Upstream]
        "Time since the last convincing answer; before the first one, since the start.";
    TOPOLOGY_NODES = Gauge "tenantry_topology_nodes" [Upstream, Role]
        "Nodes by that answer; replicas only if they can be read from.";
    TOPOLOGY_UNSERVED = Gauge "tenantry_topology_unserved_slots" [Upstream]
        "Slots that nobody owns; requests for their keys are answered CLUSTERDOWN.";
    BREAKER_NODES = Gauge "tenantry_breaker_nodes" [Upstream, Breaker]
        "Nodes by what is asked of them: everything, nothing, one probe at a time; `/breakers` says which they are.";
    BREAKER_TRANSITIONS = Counter "tenantry_breaker_transitions_total" [Upstream, Breaker]
        "Times that a node's breaker became this.";
    BREAKER_REJECTED = Counter "tenantry_breaker_rejected_total" [Upstream]
        "Requests that were not sent because the breaker of their node was not closed.";
    LEASES = Gauge "tenantry_leases" [Upstream, Reason]
        "Clients that have a connection to the upstream of their own, by why.";
    LEASES_REFUSED = Counter "tenantry_leases_refused_total" [Upstream]
        "Clients that got no connection of their own within `lease_wait`; their command was not sent.";
    CLIENTS_EVICTED = Counter "tenantry_clients_evicted_total" [Bound]
        "Clients closed because of what they made the proxy hold: replies that they did not read, or most of the memory while it was short.";
    REFUSED_FOR_MEMORY = Counter "tenantry_refused_for_memory_total" [What]
        "Connections and requests refused because the process was short of memory.";
    MEMORY_CEILING = Gauge "tenantry_memory_ceiling_bytes" []
        "What the process may take (`max_memory`); compare with `process_resident_memory_bytes`.";
    MEMORY_LEVEL = Gauge "tenantry_memory_level" []
        "How short memory is: 0 normal, 1 elevated, 2 tight, 3 critical; from 2 on something is refused.";
    CLIENT_MEMORY = Gauge "tenantry_client_memory_bytes" []
        "Unfinished requests and unread replies of all clients that hold 16 KiB or more.";
    FLEET_ASKS = Counter "tenantry_fleet_asks_total" [Tenant]
        "Times that a slice of a budget of the whole fleet was asked for.";
    FLEET_GRANTS = Counter "tenantry_fleet_grants_total" [Tenant]
        "Times that something of it was granted.";
    FLEET_FAILURES = Counter "tenantry_fleet_failures_total" [Tenant]
        "Times that there was no answer, or nobody to ask.";
    FLEET_GRANT_AGE = Gauge "tenantry_fleet_grant_age_seconds" [Tenant]
        "Time since the last answer about the budget that has waited longest; grows while nobody wants anything.";
    FLEET_ALONE = Gauge "tenantry_fleet_budgets_alone" [Tenant]
        "Budgets of the fleet of which this process lives on its last slices, because nobody answers.";
    BUILD_INFO = Gauge "tenantry_build_info" [Version]
        "Always 1; the label says which version is running.";
    PROCESS_MEMORY = Gauge "process_resident_memory_bytes" []
        "Resident memory (Linux only).";
    PROCESS_CPU = Counter "process_cpu_seconds_total" []
        "User and system CPU time (Linux only).";
    PROCESS_FDS = Gauge "process_open_fds" []
        "Open file descriptors (Linux only).";
    PROCESS_START = Gauge "process_start_time_seconds" []
        "When the process started, in seconds since 1970-01-01 UTC (Linux only).";
}

/// `docs/metrics.md`, written from the table.
pub fn reference() -> String {
    let metrics = ALL.iter().map(|family| {
        let labels = listed(family.labels.iter().map(|label| label.name()));
        format!("| `{}` | {} | {labels} | {} |", family.name, family.kind.word(), family.description)
    });
    let labels = Label::ALL.iter().map(|label| format!("| `{}` | {} |", label.name(), label.values()));
    let lines: Vec<String> = metrics.chain([LABELS_HEAD.to_owned()]).chain(labels).collect();
    format!("{HEAD}{}\n", lines.join("\n"))
}

const HEAD: &str = "\
# Metrics

Served as Prometheus text on the admin port at `/metrics`. This page is generated from `src/metrics/names.rs`;
`TENANTRY_BLESS=1 cargo test --test metrics_doc` writes it anew.

A series appears with its first count, so their number is bounded by tenants × commands in use. Those of the
process and of the upstreams, and `tenantry_tenant_violations_total`, are there from the start;
`tenantry_topology_…` only for upstreams that are not one node. Workers publish what they count a few times
a second: a figure may be that much behind.

Histogram buckets end at 25, 50, 100, 250 and 500 µs, 1, 2.5, 5, 10, 25, 50, 100, 250 and 500 ms, 1, 2.5, 5
and 10 s (and `+Inf`).

| metric | kind | labels | what it is |
|---|---|---|---|
";

const LABELS_HEAD: &str = "
## Labels

Never a key, a channel, a user or a client's address.

| label | values |
|---|---|";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_follow_the_conventions() {
        let mut seen = HashSet::new();
        for family in ALL {
            assert!(seen.insert(family.name), "{} is there twice", family.name);
            assert!(
                family.name.starts_with("tenantry_") || family.name.starts_with("process_"),
                "{}",
                family.name
            );
            assert_eq!(family.name.ends_with("_total"), family.kind == Kind::Counter, "{}", family.name);
            assert!(family.kind != Kind::Histogram || family.name.ends_with("_seconds"), "{}", family.name);
            assert!(family.labels.len() <= 3, "{}", family.name);
        }
    }

    #[test]
    fn descriptions_are_one_sentence_on_one_line() {
        for family in ALL {
            assert!(family.description.ends_with('.'), "{}", family.name);
            assert!(!family.description.contains(['\n', '|', '\\']), "{}", family.name);
        }
    }
}
