//! No command is forgotten: every command of the running server is drawn or stands here with its reason.

use std::collections::BTreeSet;

use super::grammar::Grammar;
use crate::servers::{Proxy, RedisServer};
use crate::texts;
use crate::wire::{Client, Tree};

/// Commands that the oracle does not draw.
pub(super) const NOT_DRAWN: &[(&str, &[&str])] = &[
    (
        "state of the session, answered by the proxy: compared line by line in the tests of tenants and protocol",
        &[
            "ACL WHOAMI",
            "CLIENT GETREDIR",
            "CLUSTER INFO",
            "CLUSTER KEYSLOT",
            "CLUSTER MYID",
            "CLUSTER NODES",
            "CLUSTER REPLICAS",
            "CLUSTER SHARDS",
            "CLUSTER SLAVES",
            "CLUSTER SLOTS",
            "MODULE LIST",
            "ASKING",
            "AUTH",
            "CLIENT GETNAME",
            "CLIENT ID",
            "CLIENT NO-EVICT",
            "CLIENT REPLY",
            "CLIENT SETNAME",
            "ECHO",
            "HELLO",
            "PING",
            "QUIT",
            "READONLY",
            "READWRITE",
            "RESET",
            "ROLE",
            "SELECT",
        ],
    ),
    (
        "not offered yet: waits for something, or needs an upstream connection of its own",
        &[
            "BLMOVE",
            "BLMPOP",
            "BLPOP",
            "BRPOP",
            "BRPOPLPUSH",
            "BZMPOP",
            "BZPOPMAX",
            "BZPOPMIN",
            "CLIENT CACHING",
            "CLIENT TRACKING",
            "CLIENT TRACKINGINFO",
            "DISCARD",
            "EXEC",
            "MONITOR",
            "MULTI",
            "PSUBSCRIBE",
            "PUNSUBSCRIBE",
            "SSUBSCRIBE",
            "SUBSCRIBE",
            "SUNSUBSCRIBE",
            "UNSUBSCRIBE",
            "UNWATCH",
            "WAIT",
            "WATCH",
        ],
    ),
    (
        "not offered yet: runs code that names keys itself",
        &[
            "EVAL",
            "EVALSHA",
            "EVALSHA_RO",
            "EVAL_RO",
            "FCALL",
            "FCALL_RO",
            "FUNCTION DELETE",
            "FUNCTION FLUSH",
            "FUNCTION KILL",
            "FUNCTION LIST",
            "FUNCTION LOAD",
            "FUNCTION STATS",
            "SCRIPT EXISTS",
            "SCRIPT FLUSH",
            "SCRIPT KILL",
            "SCRIPT LOAD",
        ],
    ),
    (
        "not offered yet: tells about the whole server and must be cut down to the tenant",
        &[
            "CLIENT INFO",
            "CLIENT KILL",
            "CLIENT LIST",
            "CLIENT PAUSE",
            "CLIENT UNBLOCK",
            "CLIENT UNPAUSE",
            "COMMAND COUNT",
            "COMMAND DOCS",
            "COMMAND GETKEYS",
            "COMMAND GETKEYSANDFLAGS",
            "COMMAND INFO",
            "COMMAND LIST",
            "CONFIG GET",
            "DBSIZE",
            "FLUSHALL",
            "FLUSHDB",
            "INFO",
            "KEYS",
            "MOVE",
            "PUBSUB CHANNELS",
            "PUBSUB NUMPAT",
            "PUBSUB SHARDCHANNELS",
            "RANDOMKEY",
            "SCAN",
            "SLOWLOG GET",
            "SLOWLOG LEN",
            "SLOWLOG RESET",
        ],
    ),
    (
        "denied to tenants",
        &[
            "ACL DELUSER",
            "ACL DRYRUN",
            "ACL GETUSER",
            "ACL LIST",
            "ACL LOAD",
            "ACL LOG",
            "ACL SAVE",
            "ACL SETUSER",
            "ACL USERS",
            "BGREWRITEAOF",
            "BGSAVE",
            "CLUSTER ADDSLOTS",
            "CLUSTER ADDSLOTSRANGE",
            "CLUSTER BUMPEPOCH",
            "CLUSTER COUNT-FAILURE-REPORTS",
            "CLUSTER COUNTKEYSINSLOT",
            "CLUSTER DELSLOTS",
            "CLUSTER DELSLOTSRANGE",
            "CLUSTER FAILOVER",
            "CLUSTER FLUSHSLOTS",
            "CLUSTER FORGET",
            "CLUSTER GETKEYSINSLOT",
            "CLUSTER LINKS",
            "CLUSTER MEET",
            "CLUSTER REPLICATE",
            "CLUSTER RESET",
            "CLUSTER SAVECONFIG",
            "CLUSTER SET-CONFIG-EPOCH",
            "CLUSTER SETSLOT",
            "CONFIG RESETSTAT",
            "CONFIG REWRITE",
            "CONFIG SET",
            "DEBUG",
            "FAILOVER",
            "FUNCTION DUMP",
            "FUNCTION RESTORE",
            "LATENCY DOCTOR",
            "LATENCY GRAPH",
            "LATENCY HISTOGRAM",
            "LATENCY HISTORY",
            "LATENCY LATEST",
            "LATENCY RESET",
            "MEMORY DOCTOR",
            "MEMORY MALLOC-STATS",
            "MEMORY PURGE",
            "MEMORY STATS",
            "MIGRATE",
            "MODULE LOAD",
            "MODULE LOADEX",
            "MODULE UNLOAD",
            "PFSELFTEST",
            "PSYNC",
            "REPLCONF",
            "REPLICAOF",
            "RESTORE-ASKING",
            "SAVE",
            "SCRIPT DEBUG",
            "SHUTDOWN",
            "SLAVEOF",
            "SWAPDB",
            "SYNC",
        ],
    ),
];

/// Names that only dispatch on their first argument; their mistakes are drawn under `unknown`.
const CONTAINERS: [&str; 14] = [
    "ACL", "CLIENT", "CLUSTER", "CONFIG", "FUNCTION", "LATENCY", "MEMORY", "MODULE", "OBJECT", "PUBSUB",
    "SCRIPT", "SLOWLOG", "XGROUP", "XINFO",
];

#[test]
fn every_command_of_the_server_is_drawn_or_has_a_reason_not_to_be() {
    let redis = RedisServer::start();
    let reply = Tree::of(&redis.client().call(&["COMMAND", "LIST"]));
    let offered: BTreeSet<String> = reply.elements().iter().map(|name| written(name.payload())).collect();
    let mut known: BTreeSet<String> = Grammar::read().commands.into_keys().collect();
    known.remove("unknown");
    known.extend(NOT_DRAWN.iter().flat_map(|(_, names)| *names).map(ToString::to_string));
    known.extend(CONTAINERS.map(str::to_owned));
    known.insert("COMMAND".into());
    let forgotten: Vec<_> = offered.difference(&known).collect();
    let invented: Vec<_> = known.difference(&offered).collect();
    assert!(forgotten.is_empty(), "neither drawn nor left out with a reason: {forgotten:?}");
    assert!(invented.is_empty(), "unknown to the server: {invented:?}");
}

/// Whatever is left out above because tenants do not have it answers an error that names it, changes nothing
/// and leaves the connection in order.
#[test]
fn commands_that_are_not_served_say_so_and_reach_no_upstream() {
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    let (mut direct, mut acme, mut store) = (own.client(), proxy.acme(), shared.client());
    assert_eq!("+OK\\r\\n", acme.ask("SET x 1"));
    let mut wrong = Vec::new();
    for (reason, names) in NOT_DRAWN.iter().filter(|(reason, _)| !reason.starts_with("state of the session"))
    {
        for name in *names {
            let argv = argv_of(name, &mut direct);
            let reply = String::from_utf8_lossy(&acme.call(&argv)).into_owned();
            let spelled = name.to_lowercase().replace(' ', "|");
            let is_refused = if *reason == "denied to tenants" {
                reply == texts::no_permission(&spelled)
            } else {
                reply.starts_with(&format!("{}'{spelled}' ", texts::REFUSED))
                    && reply.contains(texts::NOT_YET)
            };
            if !is_refused {
                wrong.push(format!("{} answers {reply}", argv.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!("$1\\r\\n1\\r\\n", acme.ask("GET x"));
    assert_eq!("*1\\r\\n$6\\r\\nacme:x\\r\\n", store.ask("KEYS *"));
}

/// The command with as many arguments as the server wants at least.
fn argv_of(name: &str, direct: &mut Client) -> Vec<String> {
    let reply = Tree::of(&direct.call(&["COMMAND", "INFO", &name.replace(' ', "|")]));
    let arity = reply.elements()[0].elements()[1].payload().to_vec();
    let arity: i64 = String::from_utf8_lossy(&arity).parse().expect("arity is a number");
    let mut argv: Vec<String> = name.split(' ').map(str::to_owned).collect();
    argv.resize(usize::try_from(arity.abs()).unwrap(), "1".to_owned());
    argv
}

fn written(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_uppercase().replace('|', " ")
}
