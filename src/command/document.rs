//! `docs/commands.md`, written from the table.

use std::fmt::Write as _;

use super::absent;
use super::service::Service;
use super::spec::{CommandSpec, Connection, Group, NameSpec, Release, ReplyRule, Verdict};
use super::table::TABLE;
use super::values::{BY_NAME, Shows, Unless, Values};

const INTRODUCTION: &str = "\
# Commands

Every command and subcommand that Tenantry knows, and what this version does with it. A command that is
not listed is answered as Redis answers an unknown command. The page is written from the table in
`src/command/table.rs` (`TENANTRY_BLESS=1 cargo test document` writes it again), which a test compares
with a running server.

- **forwarded, names rewritten**: sent to the server with the tenant's prefix on every key, channel and
  pattern; the prefix is taken off the reply.
- **over a connection of its own**: sent over an upstream connection that serves this client alone, for as long as
  it is needed.
- **forwarded unchanged**: sent as it is; it has no names.
- **forwarded, the reply cut to what tenants may see**: sent as it is; what the answer lists and tenants are
  not served is left out.
- **forwarded in the proxy's words**: the request is written anew, for the tenant's part of what it is about.
- **queued by the proxy, sent in one piece**: what stands between `MULTI` and `EXEC` is checked when it comes
  and leaves with `EXEC`.
- **answered for the tenant's part**: the answer is composed, of several upstream requests or of what the proxy
  knows of the tenant's clients.
- **answered by the proxy**: the server never sees it.
- **refused: NOPERM**: no tenant may use it; the error is that of a user without the permission.
- **refused for now**: an error says what this version lacks. A later version will serve it.

Whatever a request looks like, each of its arguments that the server would take for a name is rewritten:
every repetition of an option, and keys that the server's own `COMMAND GETKEYS` overlooks. The texts of
errors, including those for malformed requests, are the server's.

A tenant or user may be allowed less than this, and keys be given times to live: [hygiene.md](hygiene.md).
";

const DIFFERENCES_INTRODUCTION: &str = "
## Differences from Redis

Everything else is byte for byte what a Redis answers that holds only this tenant's data; what the test that
compares them looks away from is in `tests/it/oracle/exceptions.txt`. Errors that begin with
`UNAVAILABLE` or `RATELIMITED` are the proxy's own ([errors.md](errors.md)): a connection of one's own that
could not be had in time (`max_leases`, `lease_wait`), a server that cannot be reached, a reply that was lost, a
limit of the tenant.

";

const CLUSTER_INTRODUCTION: &str = "
### Differences on a cluster

In front of a Redis Cluster everything above holds, and besides these. A tenant with `colocate = true` has all its
keys in one slot, and reads none of the errors below.

";

const NOT_SERVED: &str = "
`SWAPDB` is refused wherever databases lie. Native ones are shared by all tenants, so the server would swap
those of everybody; of virtual ones the number is part of every key's name, so swapping two would be renaming
each of their keys, which cannot be done at once.
";

const DEGRADATION: &str = "
## Degradation

While an upstream is not there, requests are answered with errors. A tenant with `on_unavailable = \"nil\"` rather has
nothing, as from a cache that misses: for these commands it reads what Redis replies when there is no such key.

";

const NOT_DEGRADED: &str = "
That is instead of the errors that begin with `UNAVAILABLE upstream`, of those that say that no node is known for the
keys, and of `LOADING`, `MASTERDOWN` and `CLUSTERDOWN`; after the request has been sent again as often as it may be. Of
a request that is cut on a cluster, the part that fails is answered so and the rest is read. What is wrong with a request
that is not sent is not found out. Each is counted in `tenantry_degraded_replies_total`.

Everything else is answered with the error all the same:

- **writes**, and whatever else may change something: nobody is told that it did;
- **transactions, and reads while keys are watched**: what they read decides what is written;
- **blocking commands**: their clients would ask again at once;
- **walks** (`SCAN`, `HSCAN`, `SSCAN`, `ZSCAN`, `KEYS`) and what is about all keys (`DBSIZE`, `RANDOMKEY`): who lists
  nothing takes that for all there is, and one walk would end early and pass for complete;
- **`XINFO`, `XPENDING`**: Redis replies an error when there is no such key;
- **commands of modules, and those that Redis 7.0 does not have**: no server says what they would reply.
";

/// Something that a client reads otherwise than from a Redis of its own.
struct Difference {
    /// The commands, as the table names them.
    commands: &'static [&'static str],
    /// What is different.
    here: &'static str,
    /// Why.
    because: &'static str,
}

const fn differs(commands: &'static [&'static str], here: &'static str, because: &'static str) -> Difference {
    Difference { commands, here, because }
}

/// Where a served command differs from Redis because the upstream is a cluster.
const CLUSTER_DIFFERENCES: &[Difference] = &[
    differs(
        &[
            "MSETNX",
            "RENAME",
            "COPY",
            "SMOVE",
            "LMOVE",
            "SUNION",
            "ZINTERSTORE",
            "PFCOUNT",
            "BITOP",
            "BLPOP",
            "XREAD",
        ],
        "`CROSSSLOT Keys in request don't hash to the same slot`, unless the keys do; the same for every other command with \
         several keys but those of the next entry, and at `EXEC` for a transaction whose keys do not. Keys with one hash tag \
         (`{user:7}:a`, `{user:7}:b`) do",
        "the server refuses it: it would have to happen on several nodes at once",
    ),
    differs(
        &["MGET", "MSET", "DEL", "UNLINK", "EXISTS", "TOUCH", "JSON.MGET"],
        "keys may be anywhere, but what is done to those of different slots is not done at one moment; if some of it fails, \
         the error is the reply and the rest is done",
        "they are cut into one request for each slot",
    ),
    differs(
        &["WATCH"],
        "keys of one node at a time. `EXEC` answers null also if a watched key has moved to another node, and `CROSSSLOT` if \
         the transaction is for another one; so does a command that blocks on a key of another node",
        "each node knows its own keys and connections only",
    ),
    differs(
        &["CLIENT TRACKING"],
        "refused",
        "each node knows its own connections only, and this version has one for a client",
    ),
    differs(
        &["SCAN", "KEYS", "DBSIZE", "RANDOMKEY", "FLUSHDB", "FLUSHALL"],
        "a key whose slot moves between nodes meanwhile may be missed by `SCAN`, or come twice; the others begin again if nodes \
         change, three times at most",
        "nodes are walked one after the other",
    ),
    differs(&["CLIENT UNBLOCK"], "does not end a `WAIT`", "it is several, one on each primary"),
    differs(
        &["SORT", "SORT_RO"],
        "`BY` and `GET` with patterns are refused, by releases before 7.4 also where all keys have one tag",
        "the server cannot know which slots the pattern leads to",
    ),
    differs(
        &["PUBLISH"],
        "after a tenant's channels have moved to another node, by resharding or a failover, it counts those that have \
         subscribed since, and so do `PUBSUB CHANNELS` and `NUMSUB` if the former node is no primary any more. Messages \
         reach all",
        "each node counts its own subscribers, and these stay where they are: moved, they would lose messages or hear \
         them twice",
    ),
    differs(
        &["SSUBSCRIBE"],
        "a message that is published while its channel moves to another node may be lost",
        "the former node ends the subscription, and the next one must be asked for it",
    ),
];

/// Where a served command differs from Redis. Refused commands say so in their own rows, and remarks there say
/// what concerns one command alone.
const DIFFERENCES: &[Difference] = &[
    differs(
        &["EXEC"],
        "what only the server can refuse (out of memory, read only) is told by `EXEC`, as `EXECABORT`, and not by the \
         command when it is queued",
        "a transaction takes no connection: it is sent when `EXEC` comes",
    ),
    differs(
        &["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"],
        "an error inside `MULTI`, which aborts it",
        "Redis puts pushes inside the reply to `EXEC`, and a RESP2 client's subscriptions are on another connection than \
         its transaction",
    ),
    differs(
        &["KEYS", "SCAN", "RANDOMKEY", "DBSIZE", "FLUSHDB", "FLUSHALL", "MOVE", "INFO", "CONFIG SET"],
        "an error inside `MULTI`, which aborts it",
        "the answer takes several requests, which are no transaction",
    ),
    differs(
        &[
            "AUTH",
            "HELLO",
            "CLIENT REPLY",
            "CLIENT TRACKING",
            "CLIENT CACHING",
            "CLIENT LIST",
            "MONITOR",
            "SLOWLOG GET",
        ],
        "an error inside `MULTI`, which aborts it; the same for `COMMAND COUNT`, for all that is answered from the tenant's clients, and for \
         `SELECT` of native databases",
        "the server that runs the transaction would not run these, or they would change the connection half way",
    ),
    differs(
        &["HELLO"],
        "cannot change the protocol version while keys are watched or tracked, or something is subscribed to",
        "the server speaks the old version on the client's own connection already",
    ),
    differs(
        &["KEYS", "DBSIZE", "RANDOMKEY", "FLUSHDB", "FLUSHALL"],
        "not atomic: keys that come or go meanwhile may be in the answer or not, and those that come during a flush may \
         stay. They take as long as all tenants' keys need to be looked at",
        "the server knows no part of a keyspace, so it is walked in pages and others are served in between",
    ),
    differs(
        &["KEYS"],
        "an error if the names take more than 256 MiB",
        "they would be held in the memory of all tenants",
    ),
    differs(
        &["SCAN"],
        "cursors are numbers below 2^52 in no order, and a page may have more or fewer keys than `COUNT`",
        "the server's own tell how many keys all tenants have",
    ),
    differs(
        &["FLUSHDB", "FLUSHALL"],
        "who tracks keys is told of each key and then of all, where Redis tells of all at once; keyspace notifications \
         tell of each key. `ASYNC` and `SYNC` do the same",
        "the tenant's keys are deleted one by one, in the background",
    ),
    differs(
        &["MOVE"],
        "between virtual databases, keyspace notifications say `rename_from` and `rename_to`",
        "the number of the database is part of the key's name upstream",
    ),
    differs(
        &["CLIENT TRACKING"],
        "a key is not invalidated by a change of the same name in another virtual database, as Redis does; with `BCAST` it \
         is, in all the tenant's databases",
        "upstream these are keys of different names",
    ),
    differs(
        &["SUBSCRIBE", "CLIENT TRACKING", "WATCH"],
        "the connection to the server can be lost while the client's stays: who is subscribed or tracks keys is closed, \
         and `EXEC` after `WATCH` answers null",
        "the server has forgotten what it knew of the client",
    ),
    differs(
        &["SUBSCRIBE", "PSUBSCRIBE"],
        "100,000 names for one client, of them 1000 patterns. Subkey notifications (Redis 8.8) are not delivered",
        "the server goes through all patterns of a client for each that is added, and others wait; their names and \
         payloads are other ones",
    ),
    differs(
        &["WATCH", "CLIENT TRACKING"],
        "1000 watched keys and 64 prefixes for one client",
        "the server compares all with all, and others wait",
    ),
    differs(
        &["SUBSCRIBE", "PSUBSCRIBE", "CLIENT TRACKING"],
        "what a RESP3 client's own command makes it hear comes before the command's reply; Redis 7.0 writes it into the \
         midst of the reply",
        "the protocol has pushes between replies only",
    ),
    differs(
        &["CLIENT TRACKING"],
        "`BCAST` without a prefix, after one with prefixes: each key is told of once, where Redis tells of it once for each \
         prefix that it has",
        "the tenant's own prefix covers the others, and the server takes none that overlap",
    ),
    differs(
        &["PUBSUB NUMPAT"],
        "counts the patterns of this process' clients",
        "the server counts those of all tenants and lists none",
    ),
    differs(
        &["CLIENT LIST", "CLIENT INFO", "CLIENT KILL", "CLIENT PAUSE", "MONITOR"],
        "about the tenant's clients of this process. Fields about buffers and memory are 0, `events` is `r`, `fd` is the client's id",
        "the server sees the proxy's connections; several instances know nothing of each other",
    ),
    differs(
        &["MONITOR"],
        "shows a command when it is sent or answered, and one of a transaction when it is queued",
        "the proxy tells it, not the server",
    ),
    differs(
        &["SLOWLOG GET"],
        "entries have the command's name and no arguments. What counts is how long the server took to reply; from when \
         on, the operator says (`slow_command`)",
        "keeping the words of every request, in case it turns out slow, is a copy of all traffic",
    ),
    differs(
        &["LATENCY LATEST", "LATENCY HISTORY", "LATENCY HISTOGRAM", "LATENCY DOCTOR"],
        "as on a server whose monitor is off; the histogram is empty",
        "times per command and tenant would be counted on the path of every command",
    ),
    differs(
        &["INFO"],
        "only fields that concern the tenant, with its own numbers. `expires` and `avg_ttl` of a database are 0, so is \
         `used_memory`. Numbers of keys may be as old as ten counts take, but those of `INFO keyspace` are not",
        "the rest is about all tenants, and these would take a look at each key",
    ),
    differs(
        &["CONFIG GET", "CONFIG SET"],
        "the parameters that clients ask for. `notify-keyspace-events` may be set to what it is, or to less, without \
         effect",
        "the server has one value for all tenants",
    ),
    differs(
        &["COMMAND", "COMMAND COUNT", "COMMAND LIST", "ACL CAT"],
        "leave out what no tenant is served",
        "a client that asks what there is must be able to use it",
    ),
    differs(
        &["ROLE", "MODULE LIST"],
        "a primary without replicas, no modules",
        "addresses and paths are the operator's",
    ),
    differs(
        &["CLUSTER SLOTS", "CLUSTER NODES", "READONLY"],
        "with `cluster_persona`, and the rest of `CLUSTER` that clients use, as a cluster of one node that owns every \
         slot, where the client is connected to; without it as a server without cluster support",
        "clients that only speak to clusters can be served, although the upstream is none",
    ),
    differs(
        &["WAIT", "WAITAOF"],
        "wait for all that was written before, by whomever, and not only for the client's own writes",
        "the client's writes went over a connection that others use as well",
    ),
    differs(
        &["RESTORE"],
        "refused if the server's `sanitize-dump-payload` is `no`, its default, or not known; the operator can decide \
         otherwise (`restore` under `[upstream.NAME]`)",
        "a forged payload can crash a server that does not check it, for all tenants",
    ),
    differs(&["MEMORY USAGE"], "includes the tenant's prefix", "that is what the key takes"),
    differs(
        &["CLIENT NO-EVICT"],
        "the client is not closed because of `max_client_memory`, and because of `max_memory` only when nobody else is left",
        "the memory is the proxy's, and all tenants share it",
    ),
    differs(
        &["CLIENT NO-TOUCH"],
        "accepted without effect: reads count for eviction",
        "it is about a connection that is not the client's",
    ),
];

const VALUES_INTRODUCTION: &str = "
## Where values are compressed

With `compression` under `[tenant.NAME]` or for a user, longer string values are stored compressed
([operations.md](operations.md#how-do-i-store-values-compressed)). Commands about strings, and about keys of any type, are
then one of these; all others are as ever, since values of other types are stored as they come.

";

/// What is said of a class of commands where values are compressed.
fn where_compressed(values: Values) -> &'static str {
    match values {
        Values::Understood { shows: Shows::Nothing, .. } => "write values, which are compressed",
        Values::Understood { after_key: 0, .. } => "read values, which are shown as they were written",
        Values::Understood { .. } => "write values and show those that were there, as they were written",
        Values::Refused(Unless::Never) => {
            "refused: they would see how values are stored, or change a part of what is stored"
        }
        Values::Refused(Unless::ComparesShort) => {
            "refused if they compare with a digest, or with a value above 64 bytes; so is `SET` with `IFEQ` and its \
             kind. Shorter values are never compressed"
        }
        Values::Refused(Unless::FollowsNothing) => {
            "refused with a pattern in `BY` or `GET` that leads to strings; one that leads to fields of hashes is not"
        }
        Values::Uncompressed => "as ever: numbers and HyperLogLogs are never compressed",
        Values::HandedOn => {
            "as ever: the value stays as it is stored. A payload of `DUMP` holds it so, and must be restored for a tenant \
             that can read it"
        }
        Values::Described => "as ever: they tell about the value as it is stored",
        Values::Whatever | Values::Elsewhere => "as ever: they do not look at values",
    }
}

fn list_values(page: &mut String) {
    let names_of =
        |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let mut told: Vec<(&'static str, Vec<&str>)> = Vec::new();
    for (values, names) in BY_NAME {
        let what = where_compressed(*values);
        match told.iter_mut().find(|(same, _)| *same == what) {
            Some((_, more)) => more.extend(*names),
            None => told.push((what, names.to_vec())),
        }
    }
    for (what, names) in told {
        push(page, format_args!("- {}: {what}.\n", names_of(&names)));
    }
}

/// The document.
pub fn commands_markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str(DIFFERENCES_INTRODUCTION);
    list(&mut page, DIFFERENCES);
    page.push_str(CLUSTER_INTRODUCTION);
    list(&mut page, CLUSTER_DIFFERENCES);
    page.push_str(NOT_SERVED);
    page.push_str(VALUES_INTRODUCTION);
    list_values(&mut page);
    page.push_str(DEGRADATION);
    for (reply, commands) in absent::documented() {
        push(&mut page, format_args!("- {reply}: {}\n", quoted(commands)));
    }
    page.push_str(NOT_DEGRADED);
    for (group, title) in CHAPTERS {
        push(
            &mut page,
            format_args!("\n## {title}\n\n| Command | Since | What happens | Remarks |\n|---|---|---|---|\n"),
        );
        let rows = TABLE.iter().filter(|row| row.group == *group && row.verdict != Verdict::Container);
        for row in rows {
            let (since, service) = (since(row), service(row));
            push(
                &mut page,
                format_args!("| `{}` | {since} | {service} | {} |\n", row.name, escaped(row.note)),
            );
        }
    }
    page
}

fn list(page: &mut String, differences: &[Difference]) {
    for Difference { commands, here, because } in differences {
        let names = quoted(commands);
        push(page, format_args!("- {names}: {here}.\n  *Why:* {because}.\n"));
    }
}

fn quoted(commands: &[&str]) -> String {
    commands.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// All groups, in the order of the document.
const CHAPTERS: &[(Group, &str)] = &[
    (Group::Generic, "Keys"),
    (Group::String, "Strings"),
    (Group::Bitmap, "Bitmaps"),
    (Group::Hash, "Hashes"),
    (Group::List, "Lists"),
    (Group::Set, "Sets"),
    (Group::SortedSet, "Sorted sets"),
    (Group::Geo, "Geospatial indexes"),
    (Group::HyperLogLog, "HyperLogLog"),
    (Group::Stream, "Streams"),
    (Group::Array, "Arrays"),
    (Group::VectorSet, "Vector sets"),
    (Group::PubSub, "Publish and subscribe"),
    (Group::Transactions, "Transactions"),
    (Group::Scripting, "Scripts and functions"),
    (Group::Connection, "Connection"),
    (Group::Server, "Server"),
    (Group::Cluster, "Cluster"),
    (Group::ModuleJson, "Module: JSON"),
    (Group::ModuleBloom, "Module: Bloom, Cuckoo, Count-Min, Top-K, T-Digest"),
    (Group::ModuleTimeSeries, "Module: time series"),
    (Group::ModuleSearch, "Module: search"),
];

/// Appends to a string, which cannot fail.
fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes any text");
}

fn service(row: &CommandSpec) -> String {
    match row.service() {
        Service::Forward if row.connection == Connection::BlockingIfBlock => {
            "forwarded, names rewritten; with `BLOCK` over a connection of its own".to_owned()
        }
        Service::Forward if matches!(row.connection, Connection::Blocking | Connection::Transaction) => {
            "forwarded, names rewritten, over a connection of its own".to_owned()
        }
        Service::Forward if matches!(row.reply, ReplyRule::Listing(_)) => {
            "forwarded, the reply cut to what tenants may see".to_owned()
        }
        Service::Forward if row.names.iter().all(|rule| matches!(rule, NameSpec::Described { .. })) => {
            "forwarded unchanged".to_owned()
        }
        Service::Forward => "forwarded, names rewritten".to_owned(),
        Service::Guarded => "forwarded, names rewritten, if the server checks payloads".to_owned(),
        Service::Reworded => "forwarded in the proxy's words".to_owned(),
        Service::Local => "answered by the proxy".to_owned(),
        Service::Tied => tied(row).to_owned(),
        Service::Composed => "answered for the tenant's part".to_owned(),
        Service::Denied | Service::AdminOnly => "refused: NOPERM".to_owned(),
        Service::NotYet(lack) => format!("refused for now: {}", lack.reason()),
    }
}

/// What keeps a connection to its client.
fn tied(row: &CommandSpec) -> &'static str {
    match row.name {
        "MULTI" | "EXEC" | "DISCARD" => "queued by the proxy, sent in one piece",
        "UNWATCH" => "over the connection that watches",
        _ => "over a connection of its own",
    }
}

fn since(row: &CommandSpec) -> String {
    if let (Release::In(redis), true) = (row.since.redis, row.since.redis == row.since.valkey) {
        return redis.to_owned();
    }
    let named = |server: &str, release: Release| match release {
        Release::Absent => None,
        Release::In(release) => Some(format!("{server} {release}")),
        Release::Undated => Some(server.to_owned()),
        Release::Module => Some(format!("{server} module")),
    };
    if row.is_ours() {
        return "Tenantry".to_owned();
    }
    let servers = [named("Redis", row.since.redis), named("Valkey", row.since.valkey)];
    servers.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Text as a cell of a table.
fn escaped(note: &str) -> String {
    note.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_that_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
        let page = commands_markdown();
        if std::env::var_os("TENANTRY_BLESS").is_some() {
            std::fs::write(path, &page).expect("docs/commands.md is written");
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == page,
            "docs/commands.md is not that of the table: run TENANTRY_BLESS=1 cargo test document"
        );
    }

    #[test]
    fn what_differs_is_served() {
        for name in DIFFERENCES.iter().flat_map(|difference| difference.commands) {
            assert!(super::super::find(name).is_some_and(CommandSpec::is_served), "{name}");
        }
    }

    #[test]
    fn every_command_has_a_line() {
        let page = commands_markdown();
        for row in TABLE.iter().filter(|row| row.verdict != Verdict::Container) {
            assert_eq!(page.matches(&format!("| `{}` |", row.name)).count(), 1, "{}", row.name);
        }
    }
}
