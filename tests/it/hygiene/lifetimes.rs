//! `default_ttl` and `max_ttl` beside a Redis that has neither: replies are the same, and keys have a time to live.

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tenantry::command::{TABLE, find};
use tenantry::tenant::lifetime::{self, Lifetime, Statement};

use super::{ask_all, proxy_with};
use crate::servers::{
    Deployment, Kind, Protocol, RedisServer, on_every_deployment, on_every_deployment_and_protocol,
};
use crate::wire::{Client, Tree, show};

on_every_deployment_and_protocol! {
    a_key_that_is_created_gets_the_default_time_to_live,
}

on_every_deployment! {
    a_time_to_live_is_no_longer_than_it_may_be,
    keys_in_several_slots_get_their_times_to_live,
    what_watches_keys_or_blocks_sees_to_times_to_live_as_well,
}

const HOUR: i64 = 3_600_000;

/// What one command does, on keys of one slot.
struct Scene {
    /// What is there before.
    before: &'static str,
    /// The command.
    line: &'static str,
    /// The key that it writes.
    key: &'static str,
}

const fn scene(before: &'static str, line: &'static str, key: &'static str) -> Scene {
    Scene { before, line, key }
}

/// Each command that may create a key and that a Redis 7.0 knows.
const SCENES: &[Scene] = &[
    scene("", "APPEND {t}k v", "{t}k"),
    scene("", "BITFIELD {t}k SET u8 0 1", "{t}k"),
    scene("SET {t}s v", "BITOP NOT {t}k {t}s", "{t}k"),
    scene("", "DECR {t}k", "{t}k"),
    scene("", "DECRBY {t}k 2", "{t}k"),
    scene("", "GEOADD {t}k 13.4 52.5 berlin", "{t}k"),
    scene("GEOADD {t}s 13.4 52.5 berlin", "GEORADIUS {t}s 13 52 100 km STORE {t}k", "{t}k"),
    scene("GEOADD {t}s 13.4 52.5 berlin", "GEORADIUSBYMEMBER {t}s berlin 100 km STORE {t}k", "{t}k"),
    scene("GEOADD {t}s 13.4 52.5 berlin", "GEOSEARCHSTORE {t}k {t}s FROMMEMBER berlin BYRADIUS 9 km", "{t}k"),
    scene("", "GETSET {t}k v", "{t}k"),
    scene("", "HINCRBY {t}k f 1", "{t}k"),
    scene("", "HINCRBYFLOAT {t}k f 1.5", "{t}k"),
    scene("", "HMSET {t}k f v", "{t}k"),
    scene("", "HSET {t}k f v", "{t}k"),
    scene("", "HSETNX {t}k f v", "{t}k"),
    scene("", "INCR {t}k", "{t}k"),
    scene("", "INCRBY {t}k 2", "{t}k"),
    scene("", "INCRBYFLOAT {t}k 1.5", "{t}k"),
    scene("RPUSH {t}s a b", "BLMOVE {t}s {t}k LEFT LEFT 0", "{t}k"),
    scene("RPUSH {t}s a b", "BRPOPLPUSH {t}s {t}k 0", "{t}k"),
    scene("RPUSH {t}s a b", "LMOVE {t}s {t}k LEFT LEFT", "{t}k"),
    scene("RPUSH {t}s a b", "RPOPLPUSH {t}s {t}k", "{t}k"),
    scene("", "LPUSH {t}k a b", "{t}k"),
    scene("", "RPUSH {t}k a b", "{t}k"),
    scene("", "MSET {t}k v {t}l w", "{t}k"),
    scene("", "MSETNX {t}k v {t}l w", "{t}k"),
    scene("", "PFADD {t}k a", "{t}k"),
    scene("PFADD {t}s a", "PFMERGE {t}k {t}s", "{t}k"),
    scene("", "SADD {t}k a", "{t}k"),
    scene("SADD {t}s a", "SDIFFSTORE {t}k {t}s", "{t}k"),
    scene("SADD {t}s a", "SINTERSTORE {t}k {t}s", "{t}k"),
    scene("SADD {t}s a", "SUNIONSTORE {t}k {t}s", "{t}k"),
    scene("SADD {t}s a b", "SMOVE {t}s {t}k a", "{t}k"),
    scene("", "SETBIT {t}k 7 1", "{t}k"),
    scene("", "SETNX {t}k v", "{t}k"),
    scene("", "SETRANGE {t}k 0 v", "{t}k"),
    scene("", "SET {t}k v", "{t}k"),
    scene("", "SET {t}k v KEEPTTL", "{t}k"),
    scene("", "SET {t}k v GET", "{t}k"),
    scene("", "SET {t}k v EX 900", "{t}k"),
    scene("", "SET {t}k v EX", "{t}none"),
    scene("RPUSH {t}s 2 1", "SORT {t}s STORE {t}k", "{t}k"),
    scene("", "XADD {t}k 1-1 f v", "{t}k"),
    scene("", "XGROUP CREATE {t}k g 0 MKSTREAM", "{t}k"),
    scene("", "ZADD {t}k 1 a", "{t}k"),
    scene("", "ZADD {t}k INCR 1 a", "{t}k"),
    scene("ZADD {t}s 1 a", "ZDIFFSTORE {t}k 1 {t}s", "{t}k"),
    scene("", "ZINCRBY {t}k 1 a", "{t}k"),
    scene("ZADD {t}s 1 a", "ZINTERSTORE {t}k 1 {t}s", "{t}k"),
    scene("ZADD {t}s 1 a", "ZRANGESTORE {t}k {t}s 0 -1", "{t}k"),
    scene("ZADD {t}s 1 a", "ZUNIONSTORE {t}k 1 {t}s", "{t}k"),
    scene("SET {t}s v", "LPUSH {t}s a", "{t}s"),
    scene("SADD {t}s a", "PFADD {t}k", "{t}k"),
];

#[test]
fn every_command_that_may_create_a_key_has_a_scene() {
    let server = RedisServer::start();
    let known = Tree::of(&server.client().call(&["COMMAND", "LIST"]));
    let known: BTreeSet<String> =
        known.elements().iter().map(|name| String::from_utf8_lossy(name.payload()).to_uppercase()).collect();
    let creates = |lifetime: Lifetime| {
        matches!(lifetime, Lifetime::Creates(_) | Lifetime::MayState(_) | Lifetime::States(Statement::Set))
    };
    let expected: BTreeSet<&str> = TABLE
        .iter()
        .filter(|row| known.contains(&row.name.replace(' ', "|")) && lifetime::of(row).is_some_and(creates))
        .map(|row| row.name)
        .collect();
    let played = SCENES.iter().map(|scene| {
        let words: Vec<&str> = scene.line.split(' ').collect();
        find(&words[..2].join(" ")).or_else(|| find(words[0])).expect("a row").name
    });
    assert_eq!(expected, played.collect());
}

fn pttl(client: &mut Client, key: &str) -> i64 {
    let reply = client.ask(&format!("PTTL {key}"));
    reply.trim_start_matches(':').trim_end_matches("\\r\\n").parse().expect("PTTL is a number")
}

/// Plays a scene by itself, again when the key has a time to live already, and in a transaction.
fn play(scene: &Scene, (direct, client): (&mut Client, &mut Client), ways: [&str; 3]) {
    let Scene { before, line, key } = scene;
    for client in [&mut *direct, &mut *client] {
        client.ask("FLUSHALL");
        ask_all(client, before);
    }
    assert_eq!(direct.ask(line), client.ask(line), "{line} {}", ways[0]);
    assert_has_one_by_default(direct, client, (key, line), ways[0]);
    for client in [&mut *direct, &mut *client] {
        client.ask(&format!("PEXPIRE {key} 100000"));
        ask_all(client, before);
    }
    assert_eq!(direct.ask(line), client.ask(line), "{line} {}", ways[1]);
    let (kept, ours) = (pttl(direct, key), pttl(client, key));
    assert_eq!(
        kept > 0 && kept <= 100_000,
        ours > 0 && ours <= 100_000,
        "{line} {}: {kept}, {ours}",
        ways[1]
    );
    assert_has_one_by_default(direct, client, (key, line), ways[1]);
    for client in [&mut *direct, &mut *client] {
        client.ask(&format!("DEL {key}"));
        ask_all(client, before);
    }
    for line in ["MULTI", line, "GET {t}none", line, "EXEC"] {
        assert_eq!(direct.ask(line), client.ask(line), "{line} {}", ways[2]);
    }
    assert_has_one_by_default(direct, client, (key, line), ways[2]);
}

/// The key is there if it is in the other Redis, with a time to live.
fn assert_has_one_by_default(direct: &mut Client, client: &mut Client, (key, line): (&str, &str), way: &str) {
    let (theirs, ours) = (pttl(direct, key), pttl(client, key));
    if theirs == -2 {
        return assert_eq!(-2, ours, "{line} {way}");
    }
    assert!(ours > 0 && ours <= HOUR, "{line} {way}: {ours}");
}

fn a_key_that_is_created_gets_the_default_time_to_live(kind: Kind, protocol: Protocol) {
    let (own, deployment) = (RedisServer::start(), Deployment::start(kind));
    let proxy = proxy_with(deployment.url(), r#"default_ttl = "1h""#);
    let mut direct = protocol.connect(own.port);
    let mut client = protocol.connect(proxy.acme_port());
    for scene in SCENES {
        play(scene, (&mut direct, &mut client), ["alone", "again", "in a transaction"]);
    }
}

fn a_time_to_live_is_no_longer_than_it_may_be(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = proxy_with(deployment.url(), r#"max_ttl = "1h""#);
    let mut client = proxy.acme();
    let far = "4000000000";
    let dump = client.call(&["SET", "d", "v"]);
    assert_eq!("+OK\\r\\n", show(&dump));
    let payload = Tree::of(&client.call(&["DUMP", "d"])).payload().to_vec();
    for line in [
        "SET k v EX 1000000",
        "SET k v PX 1000000000",
        &format!("SET k v EXAT {far}"),
        &format!("SET k v PXAT {far}000"),
        "SETEX k 1000000 v",
        "PSETEX k 1000000000 v",
        "EXPIRE k 1000000",
        "PEXPIRE k 1000000000",
        &format!("EXPIREAT k {far}"),
        &format!("PEXPIREAT k {far}000"),
        "GETEX k EX 1000000",
        &format!("GETEX k EXAT {far}"),
        "SET k v",
        "LPUSH l v",
    ] {
        let reply = client.ask(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        let key = line.split(' ').nth(1).expect("a key");
        let ours = pttl(&mut client, key);
        assert!(ours > HOUR - 60_000 && ours <= HOUR, "{line}: {ours}");
    }
    for (ttl, option) in [("1000000000", "REPLACE"), ("0", "REPLACE"), ("4000000000000", "ABSTTL")] {
        client.ask("DEL k");
        let reply = client.call(&[b"RESTORE".as_slice(), b"k", ttl.as_bytes(), &payload, option.as_bytes()]);
        assert_eq!("+OK\\r\\n", show(&reply), "{ttl} {option}");
        let ours = pttl(&mut client, "k");
        assert!(ours > HOUR - 60_000 && ours <= HOUR, "{ttl} {option}: {ours}");
    }
    let refused = "-ERR PERSIST is refused: keys live for at most 3600000 ms (max_ttl)\\r\\n";
    assert_eq!(refused, client.ask("PERSIST k"));
    assert_eq!(refused, client.ask("GETEX k PERSIST"));
}

fn keys_in_several_slots_get_their_times_to_live(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = proxy_with(deployment.url(), r#"default_ttl = "1h""#);
    let mut client = proxy.acme();
    assert_eq!("+OK\\r\\n", client.ask("MSET a 1 b 2 c 3 a 4 d 5"));
    assert_eq!(
        "*4\\r\\n$1\\r\\n4\\r\\n$1\\r\\n2\\r\\n$1\\r\\n3\\r\\n$1\\r\\n5\\r\\n",
        client.ask("MGET a b c d")
    );
    for key in ["a", "b", "c", "d"] {
        let ours = pttl(&mut client, key);
        assert!(ours > 0 && ours <= HOUR, "{key}: {ours}");
    }
    assert_eq!("-ERR wrong number of arguments for \\'mset\\' command\\r\\n", client.ask("MSET a 1 b"));
}

/// A transaction of the proxy's own would end what the client watches, and would not block.
fn what_watches_keys_or_blocks_sees_to_times_to_live_as_well(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = proxy_with(deployment.url(), r#"default_ttl = "1h""#);
    let (mut client, mut other) = (proxy.acme(), proxy.acme());
    assert_eq!("+OK\\r\\n", client.ask("WATCH {t}w"));
    assert_eq!(":1\\r\\n", client.ask("LPUSH {t}l a"));
    assert!(pttl(&mut client, "{t}l") > 0);
    assert_eq!("+OK\\r\\n", other.ask("SET {t}w v"));
    for (line, expected) in [("MULTI", "+OK\\r\\n"), ("LPUSH {t}l b", "+QUEUED\\r\\n"), ("EXEC", "*-1\\r\\n")]
    {
        assert_eq!(expected, client.ask(line));
    }
    client.send(b"BLMOVE {t}s {t}d LEFT LEFT 0\r\nPTTL {t}d\r\n");
    let mut node = deployment.client_for("acme:{t}s");
    proxy.wait_for("a client that blocks", || {
        show(&node.call(&["INFO", "clients"])).contains("blocked_clients:1")
    });
    assert_eq!(":1\\r\\n", other.ask("RPUSH {t}s v"));
    assert_eq!("$1\\r\\nv\\r\\n", show(&client.frame()));
    let reply = show(&client.frame());
    let ours: i64 = reply.trim_start_matches(':').trim_end_matches("\\r\\n").parse().expect("a number");
    assert!(ours > 0 && ours <= HOUR, "{ours}");
}

/// What Redis says when the transaction of the proxy is refused is what it says of the command.
#[test]
fn a_redis_without_room_says_so_in_its_own_words() {
    let redis = RedisServer::start_with(&["--maxmemory", "1"]);
    let proxy = proxy_with(redis.url(), r#"default_ttl = "1h""#);
    let (mut client, mut direct) = (proxy.acme(), redis.client());
    for line in ["LPUSH l v", "SET k v", "MSET a 1 b 2"] {
        assert_eq!(direct.ask(line), client.ask(line), "{line}");
    }
    // What takes no memory is refused in transactions only.
    assert_eq!("+OK\\r\\n", direct.ask("CONFIG SET maxmemory 0"));
    assert_eq!(":1\\r\\n", client.ask("SADD s a"));
    assert_eq!("+OK\\r\\n", direct.ask("CONFIG SET maxmemory 1"));
    assert_eq!(":1\\r\\n", client.ask("SMOVE s t a"));
    assert!(pttl(&mut client, "t") > 0);
}

#[test]
fn a_client_that_wants_no_reply_gets_none() {
    let redis = RedisServer::start();
    let proxy = proxy_with(redis.url(), r#"default_ttl = "1h""#);
    let mut client = proxy.acme();
    client.send(
        b"CLIENT REPLY SKIP\r\nLPUSH l v\r\nSET k v\r\nCLIENT REPLY OFF\r\nLPUSH l w\r\nCLIENT REPLY ON\r\n",
    );
    client.send(b"LLEN l\r\n");
    let replies: Vec<String> = client.frames(3).iter().map(|frame| show(frame)).collect();
    assert_eq!(vec!["+OK\\r\\n", "+OK\\r\\n", ":2\\r\\n"], replies);
}

/// Words that a client may put together in any way, and the server judges.
const WORDS: &[&str] = &[
    "EX 900",
    "PX 900000",
    "EXAT 4000000000",
    "KEEPTTL",
    "NX",
    "XX",
    "GET",
    "ex",
    "EX 0",
    "EX x",
    "px -1",
    "foo",
    "GT",
];

/// Some words after a command.
fn requests() -> impl Strategy<Value = String> {
    let starts = prop::sample::select(vec![
        "SET k v",
        "SET k",
        "GETEX k",
        "EXPIRE k 900",
        "PEXPIREAT k 4000000000000",
        "SETEX k 900 v",
        "SETNX k v",
        "GETSET k v",
        "APPEND k v",
        "DEL k",
        "MSET k v",
        "MSET k",
    ]);
    let words = prop::collection::vec(prop::sample::select(WORDS), 0..4);
    (starts, words).prop_map(|(start, words)| {
        // Its conditions ask whether the key has a time to live, and that is what differs.
        let words = if start.contains("EXPIRE") { &[] } else { &words[..] };
        [&[start], words].concat().join(" ")
    })
}

#[test]
fn whatever_a_client_says_it_reads_what_redis_says_and_the_key_has_a_time_to_live() {
    let (own, redis) = (RedisServer::start(), RedisServer::start());
    let proxy = proxy_with(redis.url(), r#"default_ttl = "1h""#);
    let clients = RefCell::new((own.client(), proxy.acme()));
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(requests(), 1..6), |lines| {
        let (direct, client) = &mut *clients.borrow_mut();
        direct.ask("DEL k");
        client.ask("DEL k");
        for line in &lines {
            prop_assert_eq!(direct.ask(line), client.ask(line), "{} of {:?}", line, lines);
            let (theirs, ours) = (pttl(direct, "k"), pttl(client, "k"));
            match theirs {
                -2 => prop_assert_eq!(-2, ours, "{} of {:?}", line, lines),
                -1 => prop_assert!(ours > 0 && ours <= HOUR, "{} of {:?}: {}", line, lines, ours),
                _ => prop_assert!(
                    (theirs - ours).abs() < 60_000,
                    "{} of {:?}: {} {}",
                    line,
                    lines,
                    theirs,
                    ours
                ),
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
