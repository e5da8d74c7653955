//! No command is forgotten: every command of the running server is drawn or stands here with its reason.

use std::collections::BTreeSet;

use super::exceptions::Exceptions;
use super::grammar::Grammar;
use super::place::Place;
use super::scenes::Playwright;
use super::script::name_of;
use crate::servers::{Proxy, RedisServer};
use crate::texts;
use crate::wire::{Client, Tree, show};

/// Commands that are drawn in sessions only (`scenes.txt`): the state of the connection, waiting, messages, and
/// what would be told of the whole server.
pub(super) const IN_SESSIONS: &[&str] = &[
    "ACL CAT",
    "ACL WHOAMI",
    "ASKING",
    "AUTH",
    "BLMOVE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "CLIENT CACHING",
    "CLIENT GETNAME",
    "CLIENT GETREDIR",
    "CLIENT ID",
    "CLIENT INFO",
    "CLIENT KILL",
    "CLIENT LIST",
    "CLIENT NO-EVICT",
    "CLIENT PAUSE",
    "CLIENT REPLY",
    "CLIENT SETNAME",
    "CLIENT TRACKING",
    "CLIENT TRACKINGINFO",
    "CLIENT UNBLOCK",
    "CLIENT UNPAUSE",
    "CLUSTER COUNT-FAILURE-REPORTS",
    "CLUSTER INFO",
    "CLUSTER KEYSLOT",
    "CLUSTER LINKS",
    "CLUSTER MYID",
    "CLUSTER NODES",
    "CLUSTER REPLICAS",
    "CLUSTER SHARDS",
    "CLUSTER SLAVES",
    "CLUSTER SLOTS",
    "COMMAND",
    "COMMAND COUNT",
    "COMMAND DOCS",
    "COMMAND INFO",
    "COMMAND LIST",
    "CONFIG GET",
    "CONFIG SET",
    "DBSIZE",
    "DISCARD",
    "ECHO",
    "EXEC",
    "FLUSHALL",
    "FLUSHDB",
    "HELLO",
    "INFO",
    "KEYS",
    "LATENCY DOCTOR",
    "LATENCY GRAPH",
    "LATENCY HISTOGRAM",
    "LATENCY HISTORY",
    "LATENCY LATEST",
    "LATENCY RESET",
    "MODULE LIST",
    "MONITOR",
    "MOVE",
    "MULTI",
    "PING",
    "PSUBSCRIBE",
    "PUBSUB CHANNELS",
    "PUBSUB NUMPAT",
    "PUBSUB SHARDCHANNELS",
    "PUNSUBSCRIBE",
    "QUIT",
    "RANDOMKEY",
    "READONLY",
    "READWRITE",
    "RESET",
    "ROLE",
    "SCAN",
    "SELECT",
    "SLOWLOG GET",
    "SLOWLOG LEN",
    "SLOWLOG RESET",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WAIT",
    "WATCH",
];

/// Commands that no tenant is offered, and why.
pub(super) const REFUSED: &[(&str, &[&str])] = &[
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
            "CLUSTER COUNTKEYSINSLOT",
            "CLUSTER DELSLOTS",
            "CLUSTER DELSLOTSRANGE",
            "CLUSTER FAILOVER",
            "CLUSTER FLUSHSLOTS",
            "CLUSTER FORGET",
            "CLUSTER GETKEYSINSLOT",
            "CLUSTER MEET",
            "CLUSTER REPLICATE",
            "CLUSTER RESET",
            "CLUSTER SAVECONFIG",
            "CLUSTER SET-CONFIG-EPOCH",
            "CLUSTER SETSLOT",
            "CONFIG RESETSTAT",
            "CONFIG REWRITE",
            "DEBUG",
            "FAILOVER",
            "FUNCTION DUMP",
            "FUNCTION RESTORE",
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

/// Whether no tenant is offered a command.
pub(super) fn is_refused(name: &str) -> bool {
    REFUSED.iter().any(|(_, names)| names.contains(&name))
}

/// Names that only dispatch on their first argument; their mistakes are drawn under `unknown`.
const CONTAINERS: [&str; 14] = [
    "ACL", "CLIENT", "CLUSTER", "CONFIG", "FUNCTION", "LATENCY", "MEMORY", "MODULE", "OBJECT", "PUBSUB",
    "SCRIPT", "SLOWLOG", "XGROUP", "XINFO",
];

/// Sessions that are drawn to see what is drawn: as many as a run plays.
const SESSIONS: usize = 2_000;

#[test]
fn every_command_of_the_server_is_drawn_or_refused_by_design() {
    let redis = RedisServer::start();
    let offered = commands_of(&mut redis.client());
    let mut known: BTreeSet<String> = Grammar::read().commands.into_keys().collect();
    known.remove("unknown");
    known.extend(REFUSED.iter().flat_map(|(_, names)| *names).chain(IN_SESSIONS).map(ToString::to_string));
    known.extend(CONTAINERS.map(str::to_owned));
    let forgotten: Vec<_> = offered.difference(&known).collect();
    let invented: Vec<_> = known.difference(&offered).collect();
    assert!(forgotten.is_empty(), "neither drawn nor refused by design: {forgotten:?}");
    assert!(invented.is_empty(), "unknown to the server: {invented:?}");
}

#[test]
fn sessions_have_every_command_that_is_drawn() {
    let mut playwright = Playwright::new(Place::Standalone, 1);
    let mut missing: BTreeSet<String> = Grammar::read().commands.into_keys().collect();
    missing.remove("unknown");
    missing.extend(IN_SESSIONS.iter().map(ToString::to_string));
    for _ in 0..SESSIONS {
        for argv in playwright.draw().steps.iter().flat_map(|step| &step.commands) {
            missing.remove(&name_of(argv));
        }
    }
    assert_eq!(BTreeSet::new(), missing, "in no session");
}

/// Whatever tenants do not have answers an error that names it, changes nothing
/// and leaves the connection in order.
#[test]
fn commands_that_are_not_served_say_so_and_reach_no_upstream() {
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    let (mut direct, mut acme, mut store) = (own.client(), proxy.acme(), shared.client());
    assert_eq!("+OK\\r\\n", acme.ask("SET x 1"));
    let mut wrong = Vec::new();
    for (reason, names) in REFUSED {
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

/// Every command and subcommand that a server lists.
pub(super) fn commands_of(redis: &mut Client) -> BTreeSet<String> {
    let reply = Tree::of(&redis.call(&["COMMAND", "LIST"]));
    reply.elements().iter().map(|name| written(name.payload())).collect()
}

/// The list of exceptions says the truth about transactions: these are refused there, and abort them.
#[test]
fn commands_that_are_not_drawn_in_transactions_abort_them() {
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    let mut direct = own.client();
    let mut wrong = Vec::new();
    for name in Exceptions::of(Place::Standalone).refused_in_transactions() {
        let mut acme = proxy.acme();
        assert_eq!("+OK\\r\\n", acme.ask("MULTI"));
        let reply = show(&acme.call(&argv_of(name, &mut direct)));
        let end = acme.ask("EXEC");
        if reply != texts::NOT_IN_TRANSACTION || !end.starts_with("-EXECABORT ") {
            wrong.push(format!("{name} answers {reply}, EXEC {end}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
