//! The two sides of the comparison, and what is stored behind each of them.

use std::collections::BTreeMap;

use super::compare::are_alike;
use super::exceptions::Likeness;
use super::generate::Case;
use super::grammar::{Grammar, quote};
use super::store::Store;
use crate::wire::{Client, NoFrame, Tree, show};

/// Keys of a server with everything about them that must stay the same.
pub(super) type Snapshot = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// Where commands are sent, and the Redis that stores what they write.
pub(super) struct Side {
    /// For reports.
    pub(super) name: &'static str,
    /// The port that commands are sent to.
    port: u16,
    resp2: Client,
    resp3: Client,
    /// The Redis behind it.
    pub(super) store: Store,
    /// What stored names of this side's data begin with.
    prefix: &'static [u8],
}

impl Side {
    pub(super) fn new(name: &'static str, port: u16, store: Store, prefix: &'static [u8]) -> Self {
        Self { name, port, resp2: Client::tcp(port), resp3: Client::tcp_resp3(port), store, prefix }
    }

    /// The prefix without its separator.
    pub(super) fn stem(&self) -> &'static str {
        let prefix = std::str::from_utf8(self.prefix).expect("prefixes are text");
        prefix.strip_suffix(':').unwrap_or(prefix)
    }

    /// Sends one case and returns its reply.
    pub(super) fn answer(&mut self, case: &Case) -> Result<Vec<u8>, NoFrame> {
        let client = if case.is_resp3 { &mut self.resp3 } else { &mut self.resp2 };
        let sent = client.try_send(&crate::wire::command(&case.argv));
        sent.map_err(|_| NoFrame::Closed(Vec::new()))?;
        client.try_frame()
    }

    /// New connections, after one was lost or fell behind.
    pub(super) fn reconnect(&mut self) {
        self.resp2 = Client::tcp(self.port);
        self.resp3 = Client::tcp_resp3(self.port);
    }

    /// Removes everything behind this side, whoever it belongs to.
    pub(super) fn clear(&mut self) {
        self.store.order(&["FLUSHALL"]);
    }

    /// Removes what is stored under this side's prefix.
    pub(super) fn clear_own(&mut self) {
        let own = self.store.keys().into_iter().filter(|key| key.starts_with(self.prefix)).collect();
        self.store.delete(own);
    }

    /// Loads the data of the grammar under this side's prefix.
    pub(super) fn load(&mut self, grammar: &Grammar) {
        load(&mut self.store, grammar, self.prefix);
    }

    /// All data of this side under the names its client uses.
    pub(super) fn snapshot(&mut self) -> Snapshot {
        self.store
            .keys()
            .into_iter()
            .filter_map(|key| {
                Some((key.strip_prefix(self.prefix)?.to_vec(), contents(self.store.owner(&key), &key)))
            })
            .collect()
    }
}

/// Loads the data of the grammar with `prefix` before every key.
pub(super) fn load(store: &mut Store, grammar: &Grammar, prefix: &[u8]) {
    let load = store.load_of(load_commands(grammar, prefix));
    let failed = store.send(&load).into_iter().find(|reply| reply.starts_with(b"-"));
    assert_eq!(None, failed.map(|reply| show(&reply)), "the data cannot be loaded");
}

/// The commands that load the data of the grammar with `prefix` before every key.
pub(super) fn load_commands(grammar: &Grammar, prefix: &[u8]) -> impl Iterator<Item = Vec<Vec<u8>>> {
    grammar.load.iter().map(move |argv| {
        let mut argv = argv.clone();
        let place = place_of_key(&argv);
        argv[place] = [prefix, &argv[place]].concat();
        argv
    })
}

/// Where a command of the tests' own has its key.
pub(super) fn place_of_key(argv: &[Vec<u8>]) -> usize {
    match argv[0].as_slice() {
        b"XGROUP" | b"DEBUG" => 2,
        b"XREADGROUP" => argv.len() - 2,
        _ => 1,
    }
}

/// Loads keys of the same names for a tenant nobody asks for: of the same types but with other contents, and
/// something under every name that is missing for the tenant under test.
pub(super) fn load_look_alikes(store: &mut Store, grammar: &Grammar, prefix: &[u8]) {
    load(store, grammar, prefix);
    for (kind, keys) in &grammar.keys {
        for key in keys {
            let key = [prefix, key.as_slice()].concat();
            let change: Vec<&[u8]> = match kind.as_str() {
                "list" | "nums" => vec![b"RPUSH", &key, b"of somebody else"],
                "hash" => vec![b"HSET", &key, b"of somebody else", b"1"],
                "set" | "iset" => vec![b"SADD", &key, b"of somebody else"],
                "zset" | "lex" | "geo" => vec![b"ZADD", &key, b"0", b"of somebody else"],
                "stream" => vec![b"XADD", &key, b"999-1", b"of somebody", b"else"],
                "hll" => vec![b"PFADD", &key, b"of somebody else"],
                _ => vec![b"APPEND", &key, b"of somebody else"],
            };
            // A name may stand under two kinds; then the second change is refused, and the first is enough.
            store.owner(&key).call(&change);
        }
    }
}

/// What a key that must not change looks like.
pub(super) fn dump_of(store: &mut Store, prefix: &[u8]) -> Snapshot {
    let keys = store.keys().into_iter().filter(|key| key.starts_with(prefix));
    let mut dump = Snapshot::new();
    for key in keys {
        let facts = [b"DUMP".as_slice(), b"PEXPIRETIME"].map(|fact| store.owner(&key).call(&[fact, &key]));
        dump.insert(key, facts.to_vec());
    }
    dump
}

fn contents(store: &mut Client, key: &[u8]) -> Vec<Vec<u8>> {
    let kind = store.call(&[b"TYPE".as_slice(), key]);
    let value = match kind.as_slice() {
        b"+string\r\n" => vec![store.call(&[b"GET", key])],
        b"+list\r\n" => vec![store.call(&[b"LRANGE", key, b"0", b"-1"])],
        b"+hash\r\n" => vec![store.call(&[b"HGETALL", key])],
        b"+set\r\n" => {
            let mut members = Tree::of(&store.call(&[b"SMEMBERS", key])).elements().to_vec();
            members.sort();
            members.iter().map(|member| member.payload().to_vec()).collect()
        }
        b"+zset\r\n" => vec![store.call(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"])],
        _ => vec![
            store.call(&[b"XRANGE".as_slice(), key, b"-", b"+"]),
            store.call(&[b"XINFO".as_slice(), b"GROUPS", key]),
        ],
    };
    let expiry = store.call(&[b"PEXPIRETIME".as_slice(), key]);
    [vec![kind], value, vec![expiry]].concat()
}

/// What differs between two sides, in words; nothing if they hold the same.
pub(super) fn differences(left: &Snapshot, right: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    for key in left.keys().chain(right.keys().filter(|key| !left.contains_key(*key))) {
        match (left.get(key), right.get(key)) {
            (Some(one), Some(other)) if have_same_facts(one, other) => {}
            (one, other) => found.push(format!("{}: {} against {}", quote(key), facts(one), facts(other))),
        }
    }
    found
}

/// The last fact is the expiry: relative ones were set at two different moments.
fn have_same_facts(one: &[Vec<u8>], other: &[Vec<u8>]) -> bool {
    let (Some((expiry, one)), Some((other_expiry, other))) = (one.split_last(), other.split_last()) else {
        return false;
    };
    one == other && are_alike(Likeness::Near(2000), expiry, other_expiry)
}

fn facts(facts: Option<&Vec<Vec<u8>>>) -> String {
    facts.map_or_else(
        || "nothing".into(),
        |facts| facts.iter().map(|fact| show(fact)).collect::<Vec<_>>().join(" "),
    )
}
