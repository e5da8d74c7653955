//! What a tenant may read while its upstream is not there, beside what a server without keys replies: byte for byte,
//! in both protocol versions.

use bytes::BytesMut;
use tenantry::command::{Absent, CommandSpec, Flags, Group, Release, Service, TABLE, identify};
use tenantry::resp::{OwnedRequest, Version};

use crate::servers::RedisServer;
use crate::wire::{Client, show};

/// Requests that have such a reply, in every form that decides what it is.
const COVERED: &str = "
BITCOUNT k
BITCOUNT k 0 -1 BIT
BITFIELD_RO k
BITFIELD_RO k GET u8 0
BITFIELD_RO k get i16 8 GET u8 #2
BITPOS k 0
BITPOS k 1
BITPOS k 1 0 -1 BIT
DUMP k
EXISTS a
EXISTS a b c
EXPIRETIME k
GEODIST k a b
GEODIST k a b km
GEOHASH k
GEOHASH k a b
GEOPOS k
GEOPOS k a b
GEORADIUSBYMEMBER_RO k a 1 km WITHDIST
GEORADIUS_RO k 1 2 3 km WITHCOORD
GEOSEARCH k FROMMEMBER a BYRADIUS 1 km
GEOSEARCH k FROMLONLAT 1 2 BYBOX 1 1 km WITHHASH
GET k
GETBIT k 7
GETRANGE k 0 -1
HEXISTS k f
HGET k f
HGETALL k
HKEYS k
HLEN k
HMGET k f
HMGET k f g h
HRANDFIELD k
HRANDFIELD k 2
HRANDFIELD k -2 WITHVALUES
HSTRLEN k f
HVALS k
LCS a b
LCS a b LEN
LCS a b IDX
LCS a b IDX MINMATCHLEN 2 WITHMATCHLEN
LINDEX k 0
LLEN k
LPOS k a
LPOS k a RANK 2 MAXLEN 3
LPOS k a COUNT 0
LPOS k a RANK 1 count 2 MAXLEN 9
LRANGE k 0 -1
MEMORY USAGE k
MEMORY USAGE k SAMPLES 1
MGET a
MGET a b c
OBJECT ENCODING k
OBJECT FREQ k
OBJECT IDLETIME k
OBJECT REFCOUNT k
PEXPIRETIME k
PFCOUNT a
PFCOUNT a b
PTTL k
SCARD k
SDIFF a b
SINTER a b
SINTERCARD 2 a b LIMIT 1
SISMEMBER k a
SMEMBERS k
SMISMEMBER k a
SMISMEMBER k a b c
SORT_RO k
SORT_RO k BY w* LIMIT 0 5 GET # GET v* ALPHA
SRANDMEMBER k
SRANDMEMBER k 2
SRANDMEMBER k -2
STRLEN k
SUBSTR k 0 -1
SUNION a b
TOUCH a b
TTL k
TYPE k
XLEN k
XRANGE k - +
XRANGE k - + COUNT 2
XREAD STREAMS k 0
XREAD COUNT 2 STREAMS a b 0 0
XREVRANGE k + -
ZCARD k
ZCOUNT k -inf +inf
ZDIFF 2 a b
ZDIFF 2 a b WITHSCORES
ZINTER 2 a b WEIGHTS 1 2 AGGREGATE MAX WITHSCORES
ZINTERCARD 2 a b
ZLEXCOUNT k - +
ZMSCORE k a
ZMSCORE k a b c
ZRANDMEMBER k
ZRANDMEMBER k 2
ZRANDMEMBER k -2 WITHSCORES
ZRANGE k 0 -1
ZRANGE k 0 -1 REV WITHSCORES
ZRANGE k - + BYLEX LIMIT 0 1
ZRANGEBYLEX k - +
ZRANGEBYSCORE k -inf +inf WITHSCORES
ZRANK k a
ZREVRANGE k 0 -1 WITHSCORES
ZREVRANGEBYLEX k + -
ZREVRANGEBYSCORE k +inf -inf
ZREVRANK k a
ZSCORE k a
ZUNION 2 a b
ZUNION 2 a b WITHSCORES
";

/// Commands that have none, and requests of others.
const EXCLUDED: &[(&str, &[&str])] = &[
    ("a walk that ends is taken for a complete one", &["HSCAN k 0", "SSCAN k 0", "ZSCAN k 0"]),
    ("Redis replies an error", &["XINFO CONSUMERS k g", "XINFO GROUPS k", "XINFO STREAM k", "XPENDING k g"]),
    ("it names no key", &["LOLWUT"]),
    ("it waits for a key", &["XREAD BLOCK 0 STREAMS k $", "XREAD COUNT 1 block 0 STREAMS k $"]),
    ("Redis 7.0 does not have it", &["ZRANK k a WITHSCORE", "ZREVRANK k a WITHSCORE"]),
];

/// Why no request of a command is covered that is not excluded by name.
fn is_excluded_by_kind(row: &CommandSpec) -> bool {
    // What the proxy composes is about all keys of the tenant; what it does not serve has no reply at all.
    let is_sent = row.service() == Service::Forward;
    let is_of_module = matches!(
        row.group,
        Group::ModuleBloom | Group::ModuleJson | Group::ModuleSearch | Group::ModuleTimeSeries
    );
    // Nothing could be compared with the server that this test starts.
    let is_newer = match row.since.redis {
        Release::In(release) => release_of(release) > (7, 0),
        Release::Absent | Release::Undated | Release::Module => true,
    };
    !is_sent || is_of_module || is_newer
}

fn release_of(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|number| number.parse().expect("a number"));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

fn request_of(line: &str) -> OwnedRequest {
    OwnedRequest::from_args(&line.split(' ').collect::<Vec<_>>()).expect("a request has words")
}

fn row_of(line: &str) -> &'static CommandSpec {
    identify(&request_of(line).as_request()).unwrap_or_else(|error| panic!("{line}: {error:?}"))
}

fn absent(line: &str, version: Version) -> Option<String> {
    let mut reply = BytesMut::new();
    Absent::of(row_of(line), &request_of(line).as_request(), version)?.write(&mut reply);
    Some(show(&reply))
}

fn covered() -> impl Iterator<Item = &'static str> {
    COVERED.lines().filter(|line| !line.is_empty())
}

#[test]
fn what_there_is_without_the_upstream_is_what_a_server_without_keys_replies() {
    let server = RedisServer::start();
    let clients = [(Version::Resp2, server.client()), (Version::Resp3, Client::tcp_resp3(server.port))];
    for (version, mut client) in clients {
        for line in covered() {
            assert_eq!(Some(client.ask(line)), absent(line, version), "{line} in {version:?}");
        }
    }
}

#[test]
fn what_is_excluded_has_no_reply() {
    for (why, lines) in EXCLUDED {
        for line in *lines {
            assert_eq!(None, absent(line, Version::Resp2), "{line}: {why}");
        }
    }
}

#[test]
fn every_command_that_only_reads_is_covered_or_excluded_for_a_reason() {
    let only_reads = TABLE.iter().filter(|row| row.flags.contains(Flags::READONLY));
    for row in only_reads {
        let is_covered = covered().any(|line| row_of(line).name == row.name);
        let mut excluded = EXCLUDED.iter().flat_map(|(_, lines)| *lines);
        let is_excluded = excluded.any(|line| row_of(line).name == row.name) || is_excluded_by_kind(row);
        assert!(is_covered || is_excluded, "{} is neither", row.name);
    }
}
