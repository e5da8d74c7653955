//! What clients of a tenant read that rather has nothing than an error while its upstream is not there.

use crate::cluster::{bulk, setup_for, tag_of};
use crate::servers::{Proxy, RedisCluster, RedisServer, Setup};
use crate::texts::{PERHAPS_EXECUTED, UNAVAILABLE};
use crate::wire::{Client, show, words};

/// A tenant that would rather have nothing; the others want to know.
const LENIENT: &str = r#"
[tenant.lenient]
on_unavailable = "nil"
[[tenant.lenient.user]]
name = "lenient"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
"#;

fn lenient(proxy: &Proxy, version: u8) -> Client {
    let mut client = proxy.open();
    let greeting = client.ask(&format!("HELLO {version} AUTH lenient acme-secret"));
    assert!(!greeting.starts_with('-'), "{greeting}");
    client
}

fn proxy_before(redis: &RedisServer, upstream_lines: &str) -> Proxy {
    Proxy::start(&Setup {
        sections: LENIENT,
        upstream_lines: upstream_lines.into(),
        ..Setup::for_upstream(redis.url())
    })
}

fn degraded(proxy: &Proxy) -> Vec<String> {
    let page = proxy.admin("/metrics").expect("the admin port answers").body;
    let lines = page.lines().filter_map(|line| line.strip_prefix("tenantry_degraded_replies_total"));
    lines.map(str::to_owned).collect()
}

/// Nobody tries to connect again while the test runs.
const AWAY: &str = "reconnect_min = \"1h\"\nreconnect_max = \"1h\"";

#[test]
fn reads_of_a_tenant_that_wants_it_are_answered_as_if_there_were_no_such_key() {
    let mut redis = RedisServer::start();
    let proxy = proxy_before(&redis, AWAY);
    let (mut old, mut new, mut acme) = (lenient(&proxy, 2), lenient(&proxy, 3), proxy.acme());
    assert_eq!("+OK\\r\\n", old.ask("SET k v"));
    assert_eq!("$1\\r\\nv\\r\\n", new.ask("GET k"), "what is there is read");
    redis.kill();
    let reads = [
        ("GET k", "$-1\\r\\n", "_\\r\\n"),
        ("MGET k l", "*2\\r\\n$-1\\r\\n$-1\\r\\n", "*2\\r\\n_\\r\\n_\\r\\n"),
        ("HGETALL k", "*0\\r\\n", "%0\\r\\n"),
        ("SMEMBERS k", "*0\\r\\n", "~0\\r\\n"),
        ("GEOPOS k a", "*1\\r\\n*-1\\r\\n", "*1\\r\\n_\\r\\n"),
        ("SMISMEMBER k a b", "*2\\r\\n:0\\r\\n:0\\r\\n", "*2\\r\\n:0\\r\\n:0\\r\\n"),
        ("ZRANGE k 0 -1 WITHSCORES", "*0\\r\\n", "*0\\r\\n"),
        ("EXISTS k l", ":0\\r\\n", ":0\\r\\n"),
        ("TTL k", ":-2\\r\\n", ":-2\\r\\n"),
        ("TYPE k", "+none\\r\\n", "+none\\r\\n"),
    ];
    for (line, in_resp2, in_resp3) in reads {
        assert_eq!(in_resp2, old.ask(line), "{line}");
        assert_eq!(in_resp3, new.ask(line), "{line}");
        assert!(acme.ask(line).starts_with(UNAVAILABLE), "the other tenant is told: {line}");
    }
    let count = 2 * reads.len();
    proxy.wait_for("them to be counted, and none of the other tenant", || {
        degraded(&proxy) == [format!("{{tenant=\"lenient\"}} {count}")]
    });
}

#[test]
fn writes_walks_and_whatever_a_client_would_act_upon_get_the_error() {
    let mut redis = RedisServer::start();
    let proxy = proxy_before(&redis, AWAY);
    let (mut lenient, mut watching) = (lenient(&proxy, 2), lenient(&proxy, 2));
    assert_eq!("+OK\\r\\n", watching.ask("WATCH k"));
    redis.kill();
    assert_eq!("$-1\\r\\n", lenient.ask("GET k"));
    for line in [
        "SET k v",
        "GETSET k v",
        "GETEX k",
        "GETDEL k",
        "DEL k",
        "INCR k",
        "SORT k STORE l",
        "PUBLISH c m",
        "SCAN 0",
        "HSCAN k 0",
        "SSCAN k 0",
        "ZSCAN k 0",
        "KEYS *",
        "DBSIZE",
        "RANDOMKEY",
        "XREAD BLOCK 0 STREAMS k $",
        "BLPOP k 0",
        "WATCH k",
        "XINFO STREAM k",
        "TIME",
    ] {
        let reply = lenient.ask(line);
        assert!(reply.starts_with(UNAVAILABLE), "{line}: {reply}");
    }
    assert_eq!("+OK\\r\\n", lenient.ask("MULTI"));
    assert_eq!("+QUEUED\\r\\n", lenient.ask("GET k"));
    assert!(lenient.ask("EXEC").starts_with(UNAVAILABLE));
    let reply = watching.ask("GET k");
    assert!(reply.starts_with(UNAVAILABLE), "its transaction would be about it: {reply}");
}

#[test]
fn reads_under_way_when_the_upstream_dies_or_is_overdue_are_answered_in_their_turn() {
    let mut redis = RedisServer::start();
    let proxy =
        proxy_before(&redis, "reply_timeout = \"300ms\"\nreconnect_min = \"1ms\"\nreconnect_max = \"10ms\"");
    let mut client = lenient(&proxy, 2);
    assert_eq!("+OK\\r\\n", client.ask("SET k v"));
    let pipeline =
        [words("GET k"), words("INCR n"), words("MGET a b"), words("ECHO hi"), words("HGETALL h")].concat();
    for is_killed in [false, true] {
        redis.freeze();
        client.send(&pipeline);
        if is_killed {
            redis.kill();
        }
        assert_eq!("$-1\\r\\n", show(&client.frame()));
        let written = show(&client.frame());
        assert!(written.starts_with(UNAVAILABLE), "{written}");
        assert_eq!("*2\\r\\n$-1\\r\\n$-1\\r\\n", show(&client.frame()));
        assert_eq!("$2\\r\\nhi\\r\\n", show(&client.frame()));
        assert_eq!("*0\\r\\n", show(&client.frame()));
        if !is_killed {
            assert!(written.contains(PERHAPS_EXECUTED), "{written}");
            redis.thaw();
            proxy.wait_for("the upstream", || client.ask("GET k") == bulk("v"));
        }
    }
}

#[test]
fn a_change_of_protocol_behind_a_read_does_not_change_what_it_is_answered() {
    let mut redis = RedisServer::start();
    let proxy = proxy_before(&redis, AWAY);
    let mut client = lenient(&proxy, 2);
    assert_eq!("$-1\\r\\n", client.ask("GET k"));
    redis.freeze();
    client.send(&[words("GET k"), words("HELLO 3"), words("GET k")].concat());
    redis.wait_for_unread(b"*2\r\n$3\r\nGET\r\n$9\r\nlenient:k\r\n".len());
    redis.kill();
    assert_eq!("$-1\\r\\n", show(&client.frame()));
    assert!(show(&client.frame()).starts_with('%'));
    assert_eq!("_\\r\\n", show(&client.frame()));
}

#[test]
fn a_node_that_says_it_cannot_serve_is_no_better_than_one_that_is_away() {
    let redis = RedisServer::start();
    let proxy = proxy_before(&redis, "");
    let (mut client, mut acme) = (lenient(&proxy, 2), proxy.acme());
    let mut direct = redis.client();
    assert_eq!("+OK\\r\\n", direct.ask("CONFIG SET replica-serve-stale-data no"));
    assert_eq!("+OK\\r\\n", direct.ask("REPLICAOF 127.0.0.1 1"));
    assert!(acme.ask("GET k").starts_with("-MASTERDOWN "));
    assert_eq!("$-1\\r\\n", client.ask("GET k"));
    assert!(client.ask("SET k v").starts_with("-READONLY "));
    assert_eq!("+OK\\r\\n", direct.ask("REPLICAOF NO ONE"));
    assert_eq!("+OK\\r\\n", client.ask("SET k v"));
    // What is wrong with a request is told.
    assert!(client.ask("HGETALL k").starts_with("-WRONGTYPE "));
}

#[test]
fn of_a_request_for_several_nodes_what_is_on_those_that_are_there_is_read() {
    let mut cluster = RedisCluster::start_without_replicas();
    let mut setup = setup_for(&cluster, "max_redirects = 0");
    setup.sections = LENIENT;
    let proxy = Proxy::start(&setup);
    let mut client = lenient(&proxy, 3);
    let [gone, stays, _] = cluster.primaries()[..] else { panic!("a cluster has three primaries") };
    let (gone_tag, stays_tag) = (tag_of(&cluster, gone), tag_of(&cluster, stays));
    let keys = [format!("{{{gone_tag}}}a"), format!("{{{stays_tag}}}b"), format!("{{{gone_tag}}}c")];
    for key in &keys {
        assert_eq!("+OK\\r\\n", client.ask(&format!("SET {key} v")));
    }
    cluster.kill(gone);
    assert_eq!("*3\\r\\n_\\r\\n$1\\r\\nv\\r\\n_\\r\\n", client.ask(&format!("MGET {}", keys.join(" "))));
    assert_eq!(":1\\r\\n", client.ask(&format!("EXISTS {}", keys.join(" "))));
    let reply = client.ask(&format!("DEL {}", keys.join(" ")));
    assert!(reply.starts_with(UNAVAILABLE) || reply.starts_with("-CLUSTERDOWN "), "{reply}");
}

#[test]
fn before_anybody_has_said_which_nodes_there_are_reads_find_nothing() {
    let port = crate::servers::free_port();
    let mut setup = Setup::for_upstream(format!("redis+cluster://127.0.0.1:{port}"));
    setup.sections = LENIENT;
    let proxy = Proxy::start_unready(&setup);
    let mut client = lenient(&proxy, 2);
    assert_eq!("$-1\\r\\n", client.ask("GET k"));
    assert_eq!("*2\\r\\n$-1\\r\\n$-1\\r\\n", client.ask("MGET a b"));
    assert!(client.ask("SET k v").starts_with(UNAVAILABLE));
    assert_eq!("+OK\\r\\n", client.ask("MULTI"));
    assert_eq!("+QUEUED\\r\\n", client.ask("GET k"));
    assert!(client.ask("EXEC").starts_with(UNAVAILABLE));
}
