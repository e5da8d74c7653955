//! What a real server says of itself, cut to what a tenant may see: `COMMAND` and its kin, `ACL CAT`,
//! `CONFIG GET`, `INFO`; and the cluster of one node beside a real one.
//!
//! A second implementation, over trees instead of bytes, says what has to be left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tenantry::command::{Located, Service, TABLE, find, identify, locate};
use tenantry::resp::reply::ReplyWriter;
use tenantry::resp::{OwnedRequest, Progress, ReplyScanner, Version};
use tenantry::session::Persona;
use tenantry::session::cluster::{Endpoint, Node};
use tenantry::session::info::{ClientCounts, TenantFacts, Traffic, info_text};
use tenantry::tenant::directory::{
    DatabaseKind, Directory, Namespace, OnUnavailable, Order, ReadFrom, TenantEntry,
};
use tenantry::tenant::prefix::TenantName;
use tenantry::tenant::{UpstreamLimits, scope};
use tenantry::upstream::Greeting;

use crate::servers::{self, RedisServer};
use crate::wire::{Client, PATIENCE, Tree, show};

// ---- Replies as trees ----

fn bytes(tree: &Tree) -> Vec<u8> {
    match tree {
        Tree::Leaf(bytes) => bytes.clone(),
        Tree::Node(kind, elements) => {
            let length = if *kind == b'%' { elements.len() / 2 } else { elements.len() };
            let head = format!("{}{length}\r\n", char::from(*kind)).into_bytes();
            elements.iter().map(bytes).fold(head, |all, one| [all, one].concat())
        }
    }
}

fn text(tree: &Tree) -> String {
    String::from_utf8(tree.payload().to_vec()).expect("UTF-8")
}

/// The same aggregate with other elements.
fn with(tree: &Tree, elements: Vec<Tree>) -> Tree {
    let Tree::Node(kind, _) = tree else { panic!("no aggregate: {tree:?}") };
    Tree::Node(*kind, elements)
}

/// Whether tenants are served what `COMMAND` calls `name`; a container, if one of its subcommands is.
fn is_served(name: &str) -> bool {
    let is_it = |row: &str| row.to_ascii_lowercase().replace(' ', "|") == name;
    let is_inside =
        |row: &str| row.to_ascii_lowercase().split_once(' ').is_some_and(|(first, _)| first == name);
    TABLE.iter().any(|row| {
        let is_refused = matches!(row.service(), Service::Denied | Service::AdminOnly | Service::NotYet(_));
        (is_it(row.name) || is_inside(row.name)) && !is_refused
    })
}

fn served_entries(entries: &Tree, null: Option<&[u8]>) -> Tree {
    let mut kept = Vec::new();
    for entry in entries.elements() {
        let Tree::Node(_, parts) = entry else {
            kept.push(entry.clone());
            continue;
        };
        if is_served(&text(&parts[0])) {
            let mut parts = parts.clone();
            parts[9] = served_entries(&parts[9], None);
            kept.push(with(entry, parts));
        } else {
            kept.extend(null.map(|null| Tree::Leaf(null.to_vec())));
        }
    }
    with(entries, kept)
}

fn served_docs(docs: &Tree) -> Tree {
    let mut kept = Vec::new();
    for pair in docs.elements().chunks(2).filter(|pair| is_served(&text(&pair[0]))) {
        let mut facts = Vec::new();
        for fact in pair[1].elements().chunks(2) {
            let subcommands = text(&fact[0]) == "subcommands";
            facts
                .extend([fact[0].clone(), if subcommands { served_docs(&fact[1]) } else { fact[1].clone() }]);
        }
        kept.extend([pair[0].clone(), with(&pair[1], facts)]);
    }
    with(docs, kept)
}

fn served_names(names: &Tree) -> Tree {
    with(names, names.elements().iter().filter(|name| is_served(&text(name))).cloned().collect())
}

// ---- The filter ----

/// Database 0 of tenant acme, which has 16.
fn namespace() -> Arc<Namespace> {
    let name = TenantName::parse("acme").expect("a name");
    let entry = TenantEntry {
        prefix: name.default_prefix(),
        name: name.clone(),
        upstream: 0,
        databases: 16,
        database_kind: DatabaseKind::Virtual,
        has_cluster_persona: false,
        order: Order::Strict,
        read_from: ReadFrom::Primary,
        on_unavailable: OnUnavailable::Error,
        weight: 1,
        has_listener: true,
        rules: tenantry::tenant::Rules::default(),
        users: Vec::new(),
        limits: None,
    };
    let directory = Directory::new(&[entry]).expect("a directory");
    let binding = directory.listener_binding(&name).expect("a listener");
    Arc::clone(binding.namespace(0).expect("in range"))
}

/// What the tenant reads when the server answers `reply` to `words`.
fn cut(words: &[&str], reply: &[u8]) -> Vec<u8> {
    let request = OwnedRequest::from_args(words).expect("words");
    let spec = identify(&request.as_request()).expect("known");
    assert_eq!(Service::Forward, spec.service(), "{words:?}");
    let mut located = Located::new();
    locate(spec, &request.as_request(), &mut located).expect("well formed");
    let limits = UpstreamLimits { max_bulk: 1 << 20, max_request: 1 << 20 };
    let namespace = namespace();
    let scoped = scope(spec, request.as_request(), &located, &namespace, limits, None).expect("fits");
    let mut out = BytesMut::new();
    scoped.reply_plan().strip(reply, &mut out).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert_eq!(Ok(Progress::Complete(out.len())), ReplyScanner::default().advance(&out), "{words:?}");
    out.to_vec()
}

/// Asks in both protocols and compares what is left with what `expected` leaves of the whole reply.
#[track_caller]
fn assert_cut(server: &RedisServer, line: &str, expected: fn(&Tree, Version) -> Tree) {
    let words: Vec<&str> = line.split(' ').collect();
    for (version, mut client) in
        [(Version::Resp2, server.client()), (Version::Resp3, Client::tcp_resp3(server.port))]
    {
        let reply = client.call(&words);
        let expected = bytes(&expected(&Tree::of(&reply), version));
        assert_eq!(show(&expected), show(&cut(&words, &reply)), "{line}, {version:?}");
    }
}

fn null(version: Version) -> &'static [u8] {
    match version {
        Version::Resp2 => b"$-1\r\n",
        Version::Resp3 => b"_\r\n",
    }
}

// ---- Commands ----

#[test]
fn entries_of_commands_are_those_of_the_server_less_what_is_refused() {
    let server = RedisServer::start();
    for line in ["COMMAND", "COMMAND INFO"] {
        assert_cut(&server, line, |reply, _| served_entries(reply, None));
    }
    let line =
        "COMMAND INFO get debug nosuch config config|get config|rewrite acl shutdown xgroup client|list";
    assert_cut(&server, line, |reply, version| served_entries(reply, Some(null(version))));
    assert_cut(&server, "COMMAND INFO get set mget client|id", |reply, _| reply.clone());
}

#[test]
fn an_unserved_command_is_answered_for_as_an_unknown_one() {
    let server = RedisServer::start();
    for mut client in [server.client(), Client::tcp_resp3(server.port)] {
        for [unserved, unknown] in [
            ["COMMAND INFO debug", "COMMAND INFO nosuch"],
            ["COMMAND INFO config|rewrite", "COMMAND INFO config|nosuch"],
            ["COMMAND DOCS debug shutdown", "COMMAND DOCS nosuch"],
            ["COMMAND LIST FILTERBY PATTERN debug", "COMMAND LIST FILTERBY PATTERN nosuch"],
        ] {
            let words: Vec<&str> = unserved.split(' ').collect();
            let reply = client.call(&words);
            assert_eq!(client.ask(unknown), show(&cut(&words, &reply)), "{unserved}");
        }
    }
}

#[test]
fn documentation_is_that_of_the_server_less_what_is_refused() {
    let server = RedisServer::start();
    for line in ["COMMAND DOCS", "COMMAND DOCS config debug get acl|list acl|whoami"] {
        assert_cut(&server, line, |reply, _| served_docs(reply));
    }
    assert_cut(&server, "COMMAND DOCS set xgroup object", |reply, _| reply.clone());
}

#[test]
fn lists_of_names_are_those_of_the_server_less_what_is_refused() {
    let server = RedisServer::start();
    for line in [
        "COMMAND LIST",
        "COMMAND LIST FILTERBY ACLCAT dangerous",
        "COMMAND LIST FILTERBY PATTERN c*",
        "COMMAND LIST FILTERBY MODULE nosuch",
        "ACL CAT dangerous",
        "ACL CAT admin",
        "ACL CAT connection",
    ] {
        assert_cut(&server, line, |reply, _| served_names(reply));
    }
    // All of these are served, or no commands.
    for line in ["COMMAND LIST FILTERBY PATTERN h*get", "ACL CAT stream", "ACL CAT"] {
        assert_cut(&server, line, |reply, _| reply.clone());
    }
}

/// Commands of Redis 7.0 that no tenant is ever served, whatever the proxy learns; together with those that it
/// will serve one day, this is all that a listing hides.
const REFUSED: &[&str] = &[
    "acl|deluser",
    "acl|dryrun",
    "acl|getuser",
    "acl|list",
    "acl|load",
    "acl|log",
    "acl|save",
    "acl|setuser",
    "acl|users",
    "bgrewriteaof",
    "bgsave",
    "cluster|addslots",
    "cluster|addslotsrange",
    "cluster|bumpepoch",
    "cluster|countkeysinslot",
    "cluster|delslots",
    "cluster|delslotsrange",
    "cluster|failover",
    "cluster|flushslots",
    "cluster|forget",
    "cluster|getkeysinslot",
    "cluster|meet",
    "cluster|replicate",
    "cluster|reset",
    "cluster|saveconfig",
    "cluster|set-config-epoch",
    "cluster|setslot",
    "config|resetstat",
    "config|rewrite",
    "debug",
    "failover",
    "function|dump",
    "function|restore",
    "memory|doctor",
    "memory|malloc-stats",
    "memory|purge",
    "memory|stats",
    "migrate",
    "module|load",
    "module|loadex",
    "module|unload",
    "pfselftest",
    "psync",
    "replconf",
    "replicaof",
    "restore-asking",
    "save",
    "script|debug",
    "shutdown",
    "slaveof",
    "swapdb",
    "sync",
];

#[test]
fn what_is_hidden_is_what_no_tenant_is_served() {
    let server = RedisServer::start();
    let reply = server.client().call(&["COMMAND", "LIST"]);
    let names = |reply: &[u8]| -> BTreeSet<String> { Tree::of(reply).elements().iter().map(text).collect() };
    let (all, shown) = (names(&reply), names(&cut(&["COMMAND", "LIST"], &reply)));
    let waits = |name: &&String| find(name).is_some_and(|row| matches!(row.service(), Service::NotYet(_)));
    let hidden: Vec<&str> = all.difference(&shown).filter(|name| !waits(name)).map(String::as_str).collect();
    assert_eq!(REFUSED, hidden);
}

#[test]
fn commands_are_counted_as_they_are_shown() {
    let server = RedisServer::start();
    let mut client = server.client();
    let listed = Tree::of(&client.call(&["COMMAND", "LIST"]));
    let commands = listed.elements().iter().map(text).collect();
    let persona = Persona::from_greeting(&Greeting { commands, ..Greeting::default() });
    let shown = Tree::of(&cut(&["COMMAND"], &client.call(&["COMMAND"])));
    assert_eq!(shown.elements().len(), persona.served_commands());
}

// ---- CONFIG GET ----

/// All parameters of Redis 7.0 that a tenant reads; it hides all others.
const PARAMETERS: &[&str] = &[
    "appendonly",
    "busy-reply-threshold",
    "cluster-enabled",
    "databases",
    "lua-time-limit",
    "maxmemory",
    "maxmemory-policy",
    "notify-keyspace-events",
    "proto-max-bulk-len",
    "replica-read-only",
    "save",
    "slave-read-only",
    "timeout",
];

#[test]
fn a_tenant_reads_the_parameters_that_clients_ask_for() {
    // Another number than the tenant has.
    let server = RedisServer::start_with(&["--databases", "3", "--requirepass", ""]);
    let all_but_databases = |reply: &Tree, _: Version| {
        let shown = |pair: &&[Tree]| PARAMETERS.contains(&text(&pair[0]).to_ascii_lowercase().as_str());
        let pairs = reply.elements().chunks(2).filter(shown).flat_map(|pair| {
            let is_databases = text(&pair[0]) == "databases";
            let value = if is_databases { Tree::Leaf(b"$2\r\n16\r\n".to_vec()) } else { pair[1].clone() };
            [pair[0].clone(), value]
        });
        with(reply, pairs.collect())
    };
    for line in ["CONFIG GET *", "CONFIG GET max* dir", "CONFIG GET requirepass", "CONFIG GET nosuch"] {
        assert_cut(&server, line, all_but_databases);
    }
    assert_cut(&server, "CONFIG GET MaxMemory TIMEOUT s?ve", |reply, _| reply.clone());
    let shown = Tree::of(&cut(&["CONFIG", "GET", "*"], &server.client().call(&["CONFIG", "GET", "*"])));
    let shown: BTreeSet<String> = shown.elements().chunks(2).map(|pair| text(&pair[0])).collect();
    assert_eq!(PARAMETERS, shown.iter().map(String::as_str).collect::<Vec<_>>());
}

// ---- INFO ----

fn facts() -> TenantFacts<'static> {
    TenantFacts {
        tenant: "acme",
        uptime: Duration::from_secs(100),
        port: 6380,
        has_cluster_persona: false,
        clients: ClientCounts { connected: 1, blocked: 2, tracking: 3 },
        traffic: Traffic { connections: 4, commands: 5, commands_per_second: 6, bytes_in: 7, bytes_out: 8 },
        channels: 9,
        patterns: 10,
        keys: &[(0, 11), (3, 12)],
    }
}

/// All that a tenant reads of Redis 7.0; a field that stands alone has the server's value, and every other
/// field of the server is hidden.
const INFORMATION: &str = "\
# Server
redis_version
redis_mode:standalone
os:Linux
arch_bits
multiplexing_api
process_id:{process_id}
run_id:{run_id}
tcp_port:6380
uptime_in_seconds:100
uptime_in_days:0

# Clients
connected_clients:1
cluster_connections:0
blocked_clients:2
tracking_clients:3

# Memory
used_memory:0
used_memory_human:0B
maxmemory
maxmemory_human
maxmemory_policy

# Persistence
loading
async_loading
rdb_bgsave_in_progress:0
aof_enabled
aof_rewrite_in_progress:0

# Stats
total_connections_received:4
total_commands_processed:5
instantaneous_ops_per_sec:6
total_net_input_bytes:7
total_net_output_bytes:8
pubsub_channels:9
pubsub_patterns:10

# Replication
role:master
connected_slaves:0
master_failover_state:no-failover
master_replid:{master_replid}
master_replid2:0000000000000000000000000000000000000000
master_repl_offset:0
second_repl_offset:-1
repl_backlog_active:0
repl_backlog_first_byte_offset:0
repl_backlog_histlen:0

# CPU

# Modules

# Commandstats

# Errorstats

# Latencystats

# Cluster
cluster_enabled:0

# Keyspace
db0:keys=11,expires=0,avg_ttl=0
db3:keys=12,expires=0,avg_ttl=0
";

/// The value of a field.
fn field<'t>(text: &'t str, name: &str) -> &'t str {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// What the server answers to `INFO` with these sections.
fn information(client: &mut Client, sections: &[&str]) -> String {
    text(&Tree::of(&client.call(&[&["INFO"], sections].concat()))) + "\r\n"
}

#[test]
fn a_tenant_reads_of_the_server_what_the_policy_says() {
    let server = RedisServer::start();
    let mut client = server.client();
    client.call(&["SET", "k", "v"]);
    let upstream = information(&mut client, &["everything"]);
    let shown = info_text(&upstream, &facts(), [b"all".as_slice()].into_iter());
    let mut expected = String::new();
    for line in INFORMATION.lines() {
        let line = match line.split_once(':') {
            None if line.is_empty() || line.starts_with('#') => line.to_owned(),
            None => format!("{line}:{}", field(&upstream, line)),
            // Derived; that it is not the server's is checked below.
            Some((name, value)) if value.starts_with('{') => format!("{name}:{}", field(&shown, name)),
            Some(_) if line == "os:Linux" => {
                format!("os:{}", field(&upstream, "os").split(' ').next().expect("a word"))
            }
            Some(_) => line.to_owned(),
        };
        expected.extend([line.as_str(), "\r\n"]);
    }
    assert_eq!(expected, shown);
    for name in ["process_id", "run_id", "master_replid"] {
        assert_ne!(field(&upstream, name), field(&shown, name));
    }
    for name in ["run_id", "master_replid"] {
        assert_eq!(field(&upstream, name).len(), field(&shown, name).len());
    }
}

#[test]
fn sections_are_selected_and_laid_out_as_the_server_does_it() {
    let server = RedisServer::start();
    let mut client = server.client();
    let upstream = information(&mut client, &["everything"]);
    // What is left when every field is taken out.
    let layout = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.contains(':')).map(str::to_owned).collect()
    };
    for sections in [
        &[][..],
        &["default"],
        &["all"],
        &["everything"],
        &["server"],
        &["SERVER", "keyspace", "nosuch"],
        &["keyspace", "server", "Server"],
        &["modules"],
        &["module_list", "cpu"],
        &["default", "latencystats"],
        &["commandstats", "errorstats"],
        &["nosuch", "all"],
        &["nosuch"],
        &["debug"],
    ] {
        let asked = information(&mut client, sections);
        let shown = info_text(&upstream, &facts(), sections.iter().map(|section| section.as_bytes()));
        assert_eq!(layout(asked.trim_end()), layout(shown.trim_end()), "{sections:?}");
    }
    assert_eq!("", info_text(&upstream, &facts(), [b"nosuch".as_slice()].into_iter()));
}

// ---- The cluster of one node ----

/// A real one; it announces what `Node` is told.
fn cluster() -> RedisServer {
    let bus = servers::free_port().to_string();
    let announced = ["--cluster-announce-ip", "10.1.2.3", "--cluster-announce-port", "6380"];
    let own = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-announce-bus-port", "16380"];
    let server = RedisServer::start_with(&[announced.as_slice(), &own].concat());
    let mut client = server.client();
    assert_eq!("+OK", client.ask("CLUSTER ADDSLOTSRANGE 0 16383").trim_end_matches("\\r\\n"));
    let deadline = servers::now() + PATIENCE;
    while !client.ask("CLUSTER INFO").contains("cluster_state:ok") {
        assert!(servers::now() < deadline, "the cluster does not get ready");
        // It looks at its state ten times a second and tells nobody; in the meantime it waits for a replica.
        assert_eq!(":0\\r\\n", client.ask("WAIT 1 20"));
    }
    server
}

#[test]
fn a_tenants_cluster_says_what_a_cluster_of_one_node_says() {
    let server = cluster();
    let id = text(&Tree::of(&server.client().call(&["CLUSTER", "MYID"])));
    let node = Node { id: id.clone(), ..Node::of_tenant("acme", Endpoint::of_address("10.1.2.3:6380")) };
    let of_node = ["CLUSTER REPLICAS", "CLUSTER SLAVES", "CLUSTER COUNT-FAILURE-REPORTS"];
    let of_node = of_node.iter().flat_map(|command| [format!("{command} {id}"), format!("{command} nosuch")]);
    let lines = [
        "CLUSTER SLOTS",
        "CLUSTER SHARDS",
        "CLUSTER NODES",
        "CLUSTER INFO",
        "CLUSTER MYID",
        "CLUSTER LINKS",
        "CLUSTER HELP",
        "CLUSTER KEYSLOT foo",
        "CLUSTER KEYSLOT a{b}c",
        "CLUSTER KEYSLOT {}{a}",
        "CLUSTER KEYSLOT a{b",
        "CLUSTER KEYSLOT {a}{b}",
        "ASKING",
        "READONLY",
        "READWRITE",
    ];
    for line in lines.into_iter().map(str::to_owned).chain(of_node) {
        let words: Vec<&str> = line.split(' ').collect();
        let request = OwnedRequest::from_args(&words).expect("words");
        let spec = identify(&request.as_request()).expect("known");
        for (version, mut client) in
            [(Version::Resp2, server.client()), (Version::Resp3, Client::tcp_resp3(server.port))]
        {
            let mut out = BytesMut::new();
            assert!(
                node.answer(spec, &request.as_request(), &mut ReplyWriter::new(&mut out, version)),
                "{line}"
            );
            assert_eq!(show(&client.call(&words)), show(&out), "{line}, {version:?}");
        }
    }
}
