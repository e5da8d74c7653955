//! `INFO` for a tenant: the upstream's text with the fields that are about the server's other tenants taken
//! out or replaced by the tenant's own.
//!
//! The world is closed: a field that `SECTIONS` does not list is not shown, nor is a section. What is listed
//! stands where the upstream put it, in the upstream's layout, so a client that parses the text of its release
//! still can. Pure: the numbers are handed in.

use std::time::Duration;

use super::pseudonym::pseudonym;

/// What a tenant reads about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantFacts<'a> {
    /// The tenant's name; pseudonyms are derived from it.
    pub tenant: &'a str,
    /// How long the proxy has run.
    pub uptime: Duration,
    /// The port that the client is connected to.
    pub port: u16,
    /// Whether the tenant sees a cluster of one node.
    pub has_cluster_persona: bool,
    /// Its connections.
    pub clients: ClientCounts,
    /// What went through them.
    pub traffic: Traffic,
    /// Channels with a subscriber of the tenant's.
    pub channels: u64,
    /// Patterns that one of its clients is subscribed to.
    pub patterns: u64,
    /// Databases and their number of keys, in ascending order.
    pub keys: &'a [(u32, u64)],
}

/// A tenant's connections at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// All of them.
    pub connected: u64,
    /// Those that wait in a blocking command.
    pub blocked: u64,
    /// Those with client-side caches.
    pub tracking: u64,
}

/// A tenant's traffic since the proxy started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections accepted.
    pub connections: u64,
    /// Requests answered.
    pub commands: u64,
    /// Requests in the last second.
    pub commands_per_second: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
}

/// What becomes of a field. One that is not listed is dropped.
#[derive(Clone, Copy, Debug)]
enum Policy {
    /// It stays: it tells of the software, of limits, or of a state that every tenant meets anyway.
    Keep,
    /// Its first word stays; what follows describes the host.
    FirstWord,
    /// Always this: true of what the tenant sees, and clients or `redis-cli --stat` want the field.
    Fixed(&'static str),
    /// The tenant's own.
    Own(fn(&TenantFacts<'_>) -> String),
    /// 40 digits that change when the upstream's do.
    Pseudonym,
}

use Policy::{FirstWord, Fixed, Keep, Own, Pseudonym};

/// A section of the text.
struct Section {
    /// As the heading has it.
    title: &'static str,
    /// What selects it, and what is an alias of it.
    words: &'static [&'static str],
    /// Whether it is shown when no section is asked for.
    is_default: bool,
    fields: &'static [(&'static str, Policy)],
}

const fn section(
    title: &'static str,
    words: &'static [&'static str],
    fields: &'static [(&'static str, Policy)],
) -> Section {
    Section { title, words, is_default: true, fields }
}

/// A section that has to be asked for, and of which only the heading is left.
const fn statistics(title: &'static str, words: &'static [&'static str]) -> Section {
    Section { title, words, is_default: false, fields: &[] }
}

/// The sections of Redis 7 and 8 and Valkey, and what of them a tenant reads.
const SECTIONS: &[Section] = &[
    section("Server", &["server"], SERVER),
    section("Clients", &["clients"], CLIENTS),
    section("Memory", &["memory"], MEMORY),
    section("Persistence", &["persistence"], PERSISTENCE),
    section("Threads", &["threads"], &[]),
    section("Stats", &["stats"], STATS),
    section("Replication", &["replication"], REPLICATION),
    section("CPU", &["cpu"], &[]),
    section("Modules", &["modules", "module_list"], &[]),
    statistics("Commandstats", &["commandstats"]),
    section("Errorstats", &["errorstats"], &[]),
    statistics("Latencystats", &["latencystats"]),
    section("Cluster", &["cluster"], &[("cluster_enabled", Own(cluster_enabled))]),
    section(KEYSPACE, &["keyspace"], &[]),
    section("Keysizes", &["keysizes"], &[]),
];

/// The section whose lines are all the tenant's own.
const KEYSPACE: &str = "Keyspace";

const SERVER: &[(&str, Policy)] = &[
    ("redis_version", Keep),
    ("server_name", Keep),
    ("valkey_version", Keep),
    ("valkey_release_stage", Keep),
    ("redis_mode", Own(mode)),
    ("server_mode", Own(mode)),
    ("os", FirstWord),
    ("arch_bits", Keep),
    ("multiplexing_api", Keep),
    ("process_id", Own(process_id)),
    ("run_id", Pseudonym),
    ("tcp_port", Own(|facts| facts.port.to_string())),
    ("uptime_in_seconds", Own(|facts| facts.uptime.as_secs().to_string())),
    ("uptime_in_days", Own(|facts| (facts.uptime.as_secs() / SECONDS_OF_A_DAY).to_string())),
];

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

const CLIENTS: &[(&str, Policy)] = &[
    ("connected_clients", Own(|facts| facts.clients.connected.to_string())),
    ("cluster_connections", Fixed("0")),
    ("blocked_clients", Own(|facts| facts.clients.blocked.to_string())),
    ("tracking_clients", Own(|facts| facts.clients.tracking.to_string())),
];

/// What a tenant uses of the server's memory is not known without measuring each of its keys; without the
/// field `redis-cli --stat` prints the smallest of all numbers.
const MEMORY: &[(&str, Policy)] = &[
    ("used_memory", Fixed("0")),
    ("used_memory_human", Fixed("0B")),
    ("maxmemory", Keep),
    ("maxmemory_human", Keep),
    ("maxmemory_policy", Keep),
];

/// While the upstream loads, all tenants read `-LOADING`; clients wait until this says that it is over.
const PERSISTENCE: &[(&str, Policy)] = &[
    ("loading", Keep),
    ("async_loading", Keep),
    ("rdb_bgsave_in_progress", Fixed("0")),
    ("aof_enabled", Keep),
    ("aof_rewrite_in_progress", Fixed("0")),
];

const STATS: &[(&str, Policy)] = &[
    ("total_connections_received", Own(|facts| facts.traffic.connections.to_string())),
    ("total_commands_processed", Own(|facts| facts.traffic.commands.to_string())),
    ("instantaneous_ops_per_sec", Own(|facts| facts.traffic.commands_per_second.to_string())),
    ("total_net_input_bytes", Own(|facts| facts.traffic.bytes_in.to_string())),
    ("total_net_output_bytes", Own(|facts| facts.traffic.bytes_out.to_string())),
    ("pubsub_channels", Own(|facts| facts.channels.to_string())),
    ("pubsub_patterns", Own(|facts| facts.patterns.to_string())),
];

/// A master that nobody replicates, as `ROLE` says, whatever is behind the proxy.
const REPLICATION: &[(&str, Policy)] = &[
    ("role", Fixed("master")),
    ("connected_slaves", Fixed("0")),
    ("master_failover_state", Fixed("no-failover")),
    ("master_replid", Pseudonym),
    ("master_replid2", Fixed("0000000000000000000000000000000000000000")),
    ("master_repl_offset", Fixed("0")),
    ("second_repl_offset", Fixed("-1")),
    ("repl_backlog_active", Fixed("0")),
    ("repl_backlog_first_byte_offset", Fixed("0")),
    ("repl_backlog_histlen", Fixed("0")),
];

fn mode(facts: &TenantFacts<'_>) -> String {
    if facts.has_cluster_persona { "cluster" } else { "standalone" }.to_owned()
}

fn cluster_enabled(facts: &TenantFacts<'_>) -> String {
    u8::from(facts.has_cluster_persona).to_string()
}

/// A number that a process could have: the beginning of a pseudonym. The proxy's own tells of the host.
fn process_id(facts: &TenantFacts<'_>) -> String {
    let digits = pseudonym(&["process", facts.tenant]);
    digits
        .get(..4)
        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        .unwrap_or_default()
        .saturating_add(1)
        .to_string()
}

/// What `INFO` answers to the tenant of `facts`, asked for `sections` (the request's arguments). `upstream` is
/// the text of `INFO everything`.
pub fn info_text<'a>(
    upstream: &str,
    facts: &TenantFacts<'_>,
    sections: impl Iterator<Item = &'a [u8]>,
) -> String {
    let selection = Selection::of(sections);
    let mut text = String::new();
    let mut current: Option<&Section> = None;
    for line in upstream.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            current = SECTIONS.iter().find(|section| section.title == title && selection.has(section));
            if let Some(section) = current {
                open(section, facts, &mut text);
            }
        } else if let (Some(section), Some((field, value))) = (current, line.split_once(':'))
            && let Some((_, policy)) = section.fields.iter().find(|(listed, _)| *listed == field)
        {
            push_field(&mut text, field, &shown(*policy, field, value, facts));
        }
    }
    text
}

/// A blank line before every section but the first, its heading, and what the upstream has no lines for.
fn open(section: &Section, facts: &TenantFacts<'_>, text: &mut String) {
    if !text.is_empty() {
        text.push_str("\r\n");
    }
    text.push_str("# ");
    text.push_str(section.title);
    text.push_str("\r\n");
    if section.title == KEYSPACE {
        for (database, keys) in facts.keys.iter().filter(|(_, keys)| *keys > 0) {
            push_field(text, &format!("db{database}"), &format!("keys={keys},expires=0,avg_ttl=0"));
        }
    }
}

fn push_field(text: &mut String, field: &str, value: &str) {
    for part in [field, ":", value, "\r\n"] {
        text.push_str(part);
    }
}

fn shown(policy: Policy, field: &str, value: &str, facts: &TenantFacts<'_>) -> String {
    match policy {
        Keep => value.to_owned(),
        FirstWord => value.split(' ').next().unwrap_or_default().to_owned(),
        Fixed(text) => text.to_owned(),
        Own(of) => of(facts),
        Pseudonym => pseudonym(&[field, value, facts.tenant]),
    }
}

/// Which sections a request asks for.
#[derive(Default)]
struct Selection {
    has_default: bool,
    has_all: bool,
    named: Vec<&'static str>,
}

impl Selection {
    /// Redis' rules: no argument is `default`, words may be repeated in any case, unknown ones select nothing.
    fn of<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut selection = Self::default();
        let mut is_bare = true;
        for argument in arguments {
            is_bare = false;
            let is = |word: &str| argument.eq_ignore_ascii_case(word.as_bytes());
            if is("default") {
                selection.has_default = true;
            } else if is("all") || is("everything") {
                // What `everything` adds, the sections of modules, no tenant reads.
                selection.has_all = true;
            } else if let Some(section) =
                SECTIONS.iter().find(|section| section.words.iter().any(|word| is(word)))
                && !selection.named.contains(&section.title)
            {
                selection.named.push(section.title);
            }
        }
        selection.has_default |= is_bare;
        selection
    }

    fn has(&self, section: &Section) -> bool {
        self.has_all || self.has_default && section.is_default || self.named.contains(&section.title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a Redis 7.0.15 says, shortened.
    const UPSTREAM: &str = "# Server\r\nredis_version:7.0.15\r\nos:Linux 6.1.0-amd64 x86_64\r\nprocess_id:17\r\n\
        run_id:93ecec91875670403a9a3e0822461e0633239245\r\ntcp_port:7791\r\nuptime_in_seconds:9\r\n\
        uptime_in_days:0\r\nexecutable:/usr/bin/redis-server\r\n\r\n\
        # Clients\r\nconnected_clients:1000\r\nmaxclients:10000\r\n\r\n\
        # Memory\r\nused_memory:1138416\r\nused_memory_rss:12009472\r\nmaxmemory:0\r\n\r\n\
        # CPU\r\nused_cpu_sys:0.258107\r\n\r\n\
        # Commandstats\r\ncmdstat_get:calls=2\r\n\r\n\
        # search_version\r\nsearch_version:2.6.20\r\n\r\n\
        # Cluster\r\ncluster_enabled:0\r\n\r\n\
        # Keyspace\r\ndb0:keys=70000,expires=3,avg_ttl=9\r\n";

    fn facts() -> TenantFacts<'static> {
        TenantFacts {
            tenant: "acme",
            uptime: Duration::from_secs(2 * SECONDS_OF_A_DAY + 1),
            port: 6380,
            clients: ClientCounts { connected: 3, blocked: 2, tracking: 1 },
            keys: &[(0, 3), (1, 0), (2, 5)],
            ..TenantFacts::default()
        }
    }

    fn asked(facts: &TenantFacts<'_>, sections: &[&str]) -> String {
        info_text(UPSTREAM, facts, sections.iter().map(|section| section.as_bytes()))
    }

    #[test]
    fn what_is_the_servers_is_dropped_or_replaced() {
        let expected = "# Clients\r\nconnected_clients:3\r\n\r\n# Memory\r\nused_memory:0\r\nmaxmemory:0\r\n\r\n\
            # CPU\r\n\r\n# Commandstats\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n\
            # Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\ndb2:keys=5,expires=0,avg_ttl=0\r\n";
        let sections = ["memory", "clients", "cpu", "commandstats", "cluster", "keyspace"];
        assert_eq!(expected, asked(&facts(), &sections));
    }

    #[test]
    fn the_server_section_is_that_of_the_proxy() {
        let text = asked(&facts(), &["server"]);
        let run_id = pseudonym(&["run_id", "93ecec91875670403a9a3e0822461e0633239245", "acme"]);
        let expected = format!(
            "# Server\r\nredis_version:7.0.15\r\nos:Linux\r\nprocess_id:{}\r\nrun_id:{run_id}\r\ntcp_port:6380\r\n\
             uptime_in_seconds:172801\r\nuptime_in_days:2\r\n",
            process_id(&facts()),
        );
        assert_eq!(expected, text);
    }

    #[test]
    fn tenants_cannot_tell_that_they_share_a_server() {
        let other = TenantFacts { tenant: "globex", ..facts() };
        let run_id = |facts: &TenantFacts<'_>| {
            let text = asked(facts, &["server"]);
            text.lines().find(|line| line.starts_with("run_id:")).map(str::to_owned)
        };
        assert_ne!(run_id(&facts()), run_id(&other));
        assert_eq!(run_id(&facts()), run_id(&facts()));
    }

    #[test]
    fn sections_are_selected_as_redis_selects_them() {
        let titles = |sections: &[&str]| -> Vec<String> {
            let text = asked(&facts(), sections);
            text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect()
        };
        let by_default = vec!["Server", "Clients", "Memory", "CPU", "Cluster", "Keyspace"];
        let all = vec!["Server", "Clients", "Memory", "CPU", "Commandstats", "Cluster", "Keyspace"];
        for (sections, expected) in [
            (&[][..], &by_default),
            (&["default"], &by_default),
            (&["nosuch", "DEFAULT"], &by_default),
            (&["all"], &all),
            (&["everything"], &all),
            (&["default", "commandstats"], &all),
            (&["keyspace", "SERVER", "server", "nosuch"], &vec!["Server", "Keyspace"]),
            (&["nosuch"], &vec![]),
            (&["search_version"], &vec![]),
        ] {
            assert_eq!(*expected, titles(sections), "{sections:?}");
        }
        assert_eq!("", asked(&facts(), &["nosuch"]));
    }

    #[test]
    fn a_cluster_persona_is_shown_in_both_places() {
        let facts = TenantFacts { has_cluster_persona: true, ..facts() };
        assert_eq!("# Cluster\r\ncluster_enabled:1\r\n", asked(&facts, &["cluster"]));
        assert_eq!("cluster", mode(&facts));
    }
}
